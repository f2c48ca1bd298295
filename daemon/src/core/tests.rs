//! The core from the outside: order, durability, failing storage, streams.

use std::{path::PathBuf, sync::Arc, time::Duration};

use leasehold_engine::{
    Limits,
    command::{Act, Ask, Attach, CallerInfo, Entity, FolderFile, HostFinding, Origin, Release},
    decision::Told,
    ids::{Identity, LeaseId, RequestId, RunId},
    refusal::{EndReason, Refusal},
    view::LeaseFilter,
};
use leasehold_keys::{
    activation::{Activation, HostLine, HostRole, Model},
    dev::DevLicensor,
    host::HostId,
    trust::Verified,
};
use rusqlite::Connection;
use tempfile::TempDir;

use super::*;
use crate::{storage::StateDir, test_site};

/// Units of the pool that the tests take from.
pub(crate) const SESSIONS: u32 = 50;
const KEY: &str = "I3_SESSION_RECORDER";
const CLOUD: &str = "I3_FEATURE_VIRTUAL_CLOUD";

/// A licensor, and a file of its that needs no host.
pub(crate) fn licensor() -> (DevLicensor, Verified<Activation>) {
    licensor_of(SESSIONS)
}

/// The same with so many units.
pub(crate) fn licensor_of(sessions: u32) -> (DevLicensor, Verified<Activation>) {
    licensor_granting(1, &[(CLOUD, 1), (KEY, sessions)])
}

/// The same with these grants, as this sequence of its file.
pub(crate) fn licensor_granting(sequence: u32, grants: &[(&str, u32)]) -> (DevLicensor, Verified<Activation>) {
    // Only a cloud's file may name no host. Whether this host is the one is told to the engine, not found out here.
    let host = || HostLine {
        role: HostRole::Primary,
        id: HostId::new(&crate::identity::tests::facts("4c4c4544"), Default::default()),
        need: 1,
        machine_name: None,
    };
    let hosts = if grants.iter().any(|(key, _)| *key == CLOUD) { Vec::new() } else { vec![host()] };
    let terms = Activation { model: Model::Subscription, hosts, ..test_site::terms(sequence, grants) };
    let licensor = DevLicensor::from_seed(&[7; 32]).unwrap();
    let bytes = licensor.issue(&terms).unwrap();
    let file = licensor.trust().unwrap().activation(&bytes, terms.issued).unwrap();
    (licensor, file)
}

fn caller(name: &str) -> CallerInfo {
    CallerInfo {
        identity: Identity::Name(name.parse().unwrap()),
        instance: String::new(),
        application: "ACD".parse().unwrap(),
        version: None,
        host: "acd-1".to_owned(),
    }
}

fn request(number: u32) -> RequestId {
    RequestId(u128::from(number).to_be_bytes())
}

fn units(from: Origin, number: u32, units: u32, wait_ms: u64) -> Acquire {
    let ask = Ask::Units { key: KEY.parse().unwrap(), units };
    Acquire { from, request: request(number), ask, ttl_ms: 60_000, wait_ms, priority: 0, ticket: Ticket(0) }
}

fn unary() -> Origin {
    Origin::Unary(caller("acd"))
}

fn release(from: Origin, leases: Vec<LeaseId>) -> Command {
    Command::Release(Release { from, request: None, leases, acquired_by: Vec::new() })
}

/// A server's state directory and clock, over restarts.
struct Site {
    _dir: TempDir,
    state: StateDir,
    clock: PathBuf,
}

const WALL_MS: i64 = 1_795_400_000_000;

impl Site {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(&dir.path().join("state")).unwrap();
        let site = Self { clock: dir.path().join("clock"), _dir: dir, state };
        site.set_time(0);
        site
    }

    /// Moves time; the core loop sees it by itself.
    fn set_time(&self, ms: i64) {
        let new = self.clock.with_extension("new");
        std::fs::write(&new, format!("{ms} {}", WALL_MS + ms)).unwrap();
        std::fs::rename(new, &self.clock).unwrap();
    }

    /// Reads what is stored into an engine, and starts the core on it.
    fn start(&self) -> (Core, Ended) {
        let (core, ended) = self.begin();
        core.set_phase(Phase::Serving);
        (core, ended)
    }

    /// The same, and it does not serve yet.
    fn begin(&self) -> (Core, Ended) {
        self.begin_slowly(|| ())
    }

    /// The same, with something that happens between the reading and the start of the core.
    fn begin_slowly(&self, meanwhile: impl FnOnce()) -> (Core, Ended) {
        let clock = Clock::manual(self.clock.clone());
        let trust = licensor().0.trust().unwrap();
        let restored = restore(&self.state, &trust, Limits::default(), &clock).unwrap();
        assert_eq!(restored.left_out, []);
        meanwhile();
        Core::start(restored.engine, restored.store.impatient(), clock, Bounds::default()).unwrap()
    }

    async fn licensed(&self) -> (Core, Ended) {
        let (core, ended) = self.start();
        let file =
            FolderFile { name: "acme.i3lic".to_owned(), terms: Arc::new(licensor().1), host: HostFinding::Unbound };
        let Reply::Folder(verdicts) = core.submit(Command::Folder(vec![file])).await.unwrap() else { panic!() };
        assert!(verdicts[0].verdict.is_ok(), "{verdicts:?}");
        (core, ended)
    }

    fn database(&self) -> Connection {
        Connection::open(self.state.database()).unwrap()
    }

    fn stored(&self, sql: &str) -> i64 {
        self.database().query_row(sql, [], |row| row.get(0)).unwrap()
    }

    /// Holds the database's write lock: every commit fails, certainly and at once.
    fn block(&self) -> Connection {
        let db = self.database();
        db.busy_timeout(Duration::from_secs(10)).unwrap();
        db.execute_batch("BEGIN IMMEDIATE").unwrap();
        db
    }
}

fn stop(core: Core, ended: Ended) {
    core.stop();
    ended.wait();
}

async fn in_use(core: &Core) -> u64 {
    let pools = core.read(|engine, now| engine.pools(now, Some(&KEY.parse().unwrap()), None)).await.unwrap().unwrap();
    pools.iter().map(|pool| pool.in_use).sum()
}

async fn everything(core: &Core) -> String {
    core.read(|engine, now| {
        let leases = engine.leases(now, &LeaseFilter { limit: 1_000, ..LeaseFilter::default() }).unwrap();
        let leases: Vec<_> =
            leases.iter().map(|held| (held.lease.id, &held.identity, held.lease.ended, &held.lease.keys)).collect();
        let pools = engine.pools(now, None, None).unwrap();
        let pools: Vec<_> = pools.iter().map(|pool| (&pool.name, pool.capacity, pool.in_use, pool.assigned)).collect();
        let status = engine.status(now);
        format!("{leases:?} {pools:?} {:?} {}", status.state, status.users)
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn what_is_answered_is_durable() {
    let site = Site::new();
    let (core, ended) = site.licensed().await;
    for number in 0..20 {
        let lease = core.acquire(units(unary(), number, 1, 0)).await.unwrap();
        let stored = site.stored(&format!("SELECT count(*) FROM leases WHERE id = {} AND ended_ms IS NULL", lease.id));
        assert_eq!(stored, 1);
        if number % 2 == 0 {
            core.submit(release(unary(), vec![lease.id])).await.unwrap();
            let live =
                site.stored(&format!("SELECT count(*) FROM leases WHERE id = {} AND ended_ms IS NULL", lease.id));
            assert_eq!(live, 0);
        }
    }
    stop(core, ended);
}

#[tokio::test]
async fn a_restart_reads_back_the_state_that_was_answered() {
    let site = Site::new();
    let (core, ended) = site.licensed().await;
    for number in 0..30 {
        core.acquire(units(unary(), number, 1, 0)).await.unwrap();
    }
    core.submit(release(unary(), vec![LeaseId(3), LeaseId(7)])).await.unwrap();
    let user = Entity::User {
        name: "agent-001".parse().unwrap(),
        display_name: None,
        method: leasehold_keys::name::Method::Concurrent,
        organization: None,
        workgroups: Vec::new(),
        types: Vec::new(),
    };
    core.submit(Command::Administer { by: Identity::Uid(0), act: Act::Create(user) }).await.unwrap();
    let before = everything(&core).await;
    assert!(before.contains("Licensed"), "{before}");
    stop(core, ended);
    let (core, ended) = site.start();
    assert_eq!(everything(&core).await, before);
    // Fencing numbers rise for ever (LEASE-4).
    assert_eq!(core.acquire(units(unary(), 99, 1, 0)).await.unwrap().id, LeaseId(31));
    stop(core, ended);
}

/// A kill during the first start, before anything is stored, leaves a first start.
#[tokio::test]
async fn a_first_start_may_be_cut_short() {
    let site = Site::new();
    let new = || {
        let trust = licensor().0.trust().unwrap();
        restore(&site.state, &trust, Limits::default(), &Clock::manual(site.clock.clone())).unwrap().new
    };
    assert!(new() && new());
    let (core, ended) = site.licensed().await;
    stop(core, ended);
    assert!(!new());
}

#[tokio::test]
async fn a_lost_answer_is_given_again_after_a_restart() {
    let site = Site::new();
    let (core, ended) = site.licensed().await;
    let first = core.acquire(units(unary(), 1, 1, 0)).await.unwrap();
    stop(core, ended);
    let (core, ended) = site.start();
    let again = core.acquire(units(unary(), 1, 1, 0)).await.unwrap();
    assert_eq!((again.id, again.ended), (first.id, None));
    assert_eq!(in_use(&core).await, 1);
    stop(core, ended);
}

/// LEASE-7, LEASE-6: the grace counts from when the daemon serves. A start that takes longer than a lease lives ends none,
/// and from ready on the bound is the usual one.
#[tokio::test]
async fn a_start_that_takes_long_ends_no_lease() {
    let site = Site::new();
    let (core, ended) = site.licensed().await;
    let mut acquire = units(unary(), 1, SESSIONS, 0);
    acquire.ttl_ms = 10_000;
    let lease = core.acquire(acquire).await.unwrap().id;
    stop(core, ended);

    let (core, ended) = site.begin();
    site.set_time(3_600_000);
    // Time's own turn, and what the look at the folder brings: each would end what is due.
    core.submit(Command::Tick).await.unwrap();
    core.submit(release(unary(), Vec::new())).await.unwrap();
    assert_eq!(in_use(&core).await, u64::from(SESSIONS));
    core.set_phase(Phase::Serving);
    core.submit(Command::Tick).await.unwrap();
    assert_eq!(in_use(&core).await, u64::from(SESSIONS));
    let renewed = core.submit(Command::Renew { from: unary(), leases: vec![lease] }).await.unwrap();
    assert_eq!(renewed, Reply::Leases(vec![(lease, Ok(()))]));

    // 1.1 × TTL + 5 s after that nobody has renewed, and a tenth of the TTL that spreads the ends after a restart.
    site.set_time(3_600_000 + 15_900);
    assert_eq!(in_use(&core).await, u64::from(SESSIONS));
    let stranger = || Origin::Unary(caller("stranger"));
    assert!(core.acquire(units(stranger(), 2, 1, 0)).await.is_err());
    site.set_time(3_600_000 + 17_000);
    core.acquire(units(stranger(), 3, 1, 0)).await.unwrap();
    stop(core, ended);
}

/// LEASE-7: what the start takes before the core runs (reading, settling the log, the host's facts) is no time in which a run
/// was silent: it gets its grace though its stored contact is old.
#[tokio::test]
async fn a_start_that_takes_long_takes_the_grace_from_no_run() {
    let site = Site::new();
    let (core, ended) = site.licensed().await;
    let stream = Stream::attach(&core, 1).await;
    let mut acquire = units(Origin::Stream(stream.holder), 1, SESSIONS, 0);
    acquire.ttl_ms = 10_000;
    core.submit(Command::Acquire(Box::new(acquire))).await.unwrap();
    // It beats to the end; its contact is stored once a minute, and that minute is not over.
    for seconds in [10, 20, 30, 40, 50] {
        site.set_time(seconds * 1_000);
        core.submit(Command::Beat(stream.holder)).await.unwrap();
    }
    assert_eq!(in_use(&core).await, u64::from(SESSIONS));
    stop(core, ended);
    assert_eq!(site.stored("SELECT max(contact_ms) FROM holders WHERE run IS NOT NULL"), 0);

    let (core, ended) = site.begin_slowly(|| site.set_time(90_000));
    core.submit(Command::Tick).await.unwrap();
    assert_eq!(in_use(&core).await, u64::from(SESSIONS));
    core.set_phase(Phase::Serving);
    core.submit(Command::Tick).await.unwrap();
    assert_eq!(in_use(&core).await, u64::from(SESSIONS));
    // It comes back, beats, and has its lease for as long as it goes on.
    let stream = Stream::attach(&core, 1).await;
    for seconds in [100, 110, 120, 130] {
        site.set_time(seconds * 1_000);
        core.submit(Command::Beat(stream.holder)).await.unwrap();
        assert_eq!(in_use(&core).await, u64::from(SESSIONS));
    }
    stop(core, ended);
}

#[tokio::test]
async fn lease_time_is_marked_once_a_minute_though_nothing_happens() {
    let site = Site::new();
    let (core, ended) = site.licensed().await;
    site.set_time(61_000);
    // The core loop sees the time by itself; each question goes through it.
    while site.stored("SELECT lease_time_ms FROM meta") < 61_000 {
        assert!(core.is_alive(Duration::from_secs(10)).await);
    }
    stop(core, ended);
}

/// A stream: its way for answers, its events, its number.
struct Stream {
    sender: ReplySender,
    receiver: ReplyReceiver,
    holder: HolderId,
}

impl Stream {
    async fn attach(core: &Core, run: u8) -> Self {
        let (sender, receiver) = replies(1_000);
        let attach = Attach { caller: caller("stream"), run: RunId([run; 16]) };
        let Reply::Attached { holder, .. } = core.submit(Command::Attach(attach)).await.unwrap() else { panic!() };
        Self { sender, receiver, holder }
    }

    fn ask(&self, core: &Core, number: u32, count: u32, wait_ms: u64) {
        let acquire = units(Origin::Stream(self.holder), number, count, wait_ms);
        core.submit_to(Command::Acquire(Box::new(acquire)), &self.sender, number.into()).unwrap();
    }

    async fn lease(&mut self, tag: u64) -> LeaseView {
        match self.receiver.recv().await.unwrap() {
            Tagged { tag: got, answer: Ok(Answer::Lease(lease)) } if got == tag => *lease,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_stream_is_answered_by_tag_and_a_waiting_request_twice() {
    let site = Site::new();
    let (core, ended) = site.licensed().await;
    let mut stream = Stream::attach(&core, 1).await;
    stream.ask(&core, 1, SESSIONS, 0);
    let all = stream.lease(1).await;
    stream.ask(&core, 2, 1, 60_000);
    let waits = stream.receiver.recv().await.unwrap();
    assert!(
        matches!(waits, Tagged { tag: 2, answer: Ok(Answer::Reply(Reply::Ticketed { waiting: Some((1, _)) })) }),
        "{waits:?}"
    );
    core.submit_to(release(Origin::Stream(stream.holder), vec![all.id]), &stream.sender, 3).unwrap();
    let (mut answers, mut leases) = (Vec::new(), 0);
    while answers.len() < 2 {
        stream.receiver.recv_many(&mut answers, 10).await;
    }
    for Tagged { tag, answer } in answers {
        match answer.unwrap() {
            Answer::Lease(_) => {
                assert_eq!(tag, 2);
                leases += 1;
            }
            Answer::Reply(reply) => assert!(tag == 3 && matches!(reply, Reply::Released(_))),
        }
    }
    assert_eq!(leases, 1);
    stop(core, ended);
}

#[tokio::test]
async fn a_caller_that_goes_while_it_waits_gets_no_seat() {
    let site = Site::new();
    let (core, ended) = site.licensed().await;
    let all = core.acquire(units(unary(), 1, SESSIONS, 0)).await.unwrap();
    let waiting = tokio::spawn({
        let core = core.clone();
        async move { core.acquire(units(unary(), 2, 1, 60_000)).await }
    });
    while core.read(|engine, now| engine.status(now).waiting).await.unwrap() == 0 {}
    waiting.abort();
    assert!(waiting.await.unwrap_err().is_cancelled());
    core.submit(release(unary(), vec![all.id])).await.unwrap();
    assert_eq!(in_use(&core).await, 0);
    stop(core, ended);
}

#[tokio::test]
async fn a_revoked_lease_is_told_to_its_stream_and_a_displaced_stream_detaches_nobody() {
    let site = Site::new();
    let (core, ended) = site.licensed().await;
    let mut stream = Stream::attach(&core, 1).await;
    let mut old_events = core.subscribe(stream.holder);
    stream.ask(&core, 1, 1, 0);
    let lease = stream.lease(1).await;
    // The same run again, before the old stream is known to be gone.
    let again = Stream::attach(&core, 1).await;
    assert_eq!(again.holder, stream.holder);
    assert_eq!(old_events.recv(&mut Vec::new()).await, Err(Cut::Displaced));
    core.detach(old_events);
    let attached = core.read(|engine, now| engine.status(now).attached).await.unwrap();
    assert_eq!(attached, 1);
    let mut events = core.subscribe(again.holder);
    let what = leasehold_engine::command::Revoked::Leases(vec![lease.id]);
    let act = Act::Revoke { what, reason: "maintenance".parse().unwrap() };
    core.submit(Command::Administer { by: Identity::Uid(0), act }).await.unwrap();
    let mut told = Vec::new();
    events.recv(&mut told).await.unwrap();
    assert!(
        matches!(&told[..], [Told::Ended { lease: ended, reason: EndReason::Revoked, words: Some(_) }] if *ended == lease.id),
        "{told:?}"
    );
    core.detach(events);
    assert_eq!(core.read(|engine, now| engine.status(now).attached).await.unwrap(), 0);
    stop(core, ended);
}

async fn until_grants(core: &Core, grant: bool) {
    core.health().wait_for(|health| health.grant == grant).await.unwrap();
}

/// LEASE-11, the whole way: a commit fails, is undone, renewals go on, writing is tried again.
#[tokio::test]
async fn a_commit_that_certainly_failed_is_undone_and_renewals_go_on() {
    let site = Site::new();
    let (core, ended) = site.licensed().await;
    let mut stream = Stream::attach(&core, 1).await;
    stream.ask(&core, 1, 1, 0);
    let held = stream.lease(1).await;
    let all_but_one = core.acquire(units(unary(), 2, SESSIONS - 1, 0)).await.unwrap();
    stream.ask(&core, 3, 1, 3_600_000);
    assert!(!stream.receiver.recv().await.unwrap().is_last());
    let before = everything(&core).await;

    let lock = site.block();
    // A release would satisfy the waiting request; neither becomes durable.
    let refused = core.submit(release(unary(), vec![all_but_one.id])).await.unwrap_err();
    assert!(matches!(&refused, Refused::StorageUnavailable(why) if why.contains("locked")), "{refused:?}");
    until_grants(&core, false).await;
    assert!(core.health().borrow().renew);
    assert!(core.storage_fault().borrow().is_some());
    let Tagged { tag: 3, answer: Err(Refused::StorageUnavailable(_)) } = stream.receiver.recv().await.unwrap() else {
        panic!("the waiting request is refused with the reason")
    };
    assert_eq!(everything(&core).await, before, "taken back");

    let refused = core.acquire(units(unary(), 4, 1, 0)).await.unwrap_err();
    assert!(matches!(refused, Refused::StorageUnavailable(_)));
    assert_eq!(core.submit(Command::Beat(stream.holder)).await, Ok(Reply::Beaten(1)));
    let renewed = core.submit(Command::Renew { from: unary(), leases: vec![all_but_one.id] }).await.unwrap();
    assert_eq!(renewed, Reply::Leases(vec![(all_but_one.id, Ok(()))]));
    // A stream that breaks comes back to its run; a new one finds no room to be stored.
    core.detach(core.subscribe(stream.holder));
    let mut stream = Stream::attach(&core, 1).await;
    let attach = Attach { caller: caller("other"), run: RunId([9; 16]) };
    assert!(matches!(core.submit(Command::Attach(attach)).await, Err(Refused::StorageUnavailable(_))));

    // Still locked after the first retry; free at the next.
    site.set_time(1_100);
    assert_eq!(core.submit(Command::Beat(stream.holder)).await, Ok(Reply::Beaten(1)));
    lock.execute_batch("ROLLBACK").unwrap();
    drop(lock);
    site.set_time(10_000);
    until_grants(&core, true).await;
    assert_eq!(*core.storage_fault().borrow(), None);
    assert_eq!(everything(&core).await, before);
    core.submit(release(unary(), vec![all_but_one.id])).await.unwrap();
    stream.ask(&core, 5, SESSIONS - 1, 0);
    let granted = stream.lease(5).await;
    let after = everything(&core).await;
    stop(core, ended);
    let (core, ended) = site.start();
    assert_eq!(everything(&core).await, after);
    assert_eq!(site.stored("SELECT count(*) FROM leases WHERE ended_ms IS NULL"), 2);
    assert!(granted.id > held.id);
    stop(core, ended);
}

#[tokio::test]
async fn batches_on_their_way_behind_a_failed_one_are_undone_with_it() {
    let site = Site::new();
    let (core, ended) = site.licensed().await;
    let mut stream = Stream::attach(&core, 1).await;
    let lock = site.block();
    // Several batches' worth, pushed while the first may be failing already.
    for number in 0..40 {
        stream.ask(&core, number, 1, 0);
    }
    for _ in 0..40 {
        let answer = stream.receiver.recv().await.unwrap().answer;
        assert!(matches!(answer, Err(Refused::StorageUnavailable(_))), "{answer:?}");
    }
    assert_eq!(in_use(&core).await, 0);
    drop(lock);
    site.set_time(60_000);
    until_grants(&core, true).await;
    stream.ask(&core, 0, SESSIONS, 0);
    stream.lease(0).await;
    assert_eq!(stream.receiver.outstanding(), 0);
    stop(core, ended);
}

#[tokio::test]
async fn a_refusal_does_not_wait_for_its_record_and_is_recorded() {
    let site = Site::new();
    let (core, ended) = site.licensed().await;
    core.acquire(units(unary(), 1, SESSIONS, 0)).await.unwrap();
    let refused = core.acquire(units(unary(), 2, 1, 0)).await.unwrap_err();
    let Refused::Rule(Refusal::PoolExhausted(_)) = refused else { panic!("{refused:?}") };
    stop(core, ended);
    assert_eq!(site.stored("SELECT count(*) FROM denials WHERE reason = 'POOL_EXHAUSTED'"), 1);
}

#[tokio::test]
async fn after_the_end_everything_is_refused_and_nothing_hangs() {
    let site = Site::new();
    let (core, ended) = site.licensed().await;
    core.acquire(units(unary(), 1, SESSIONS, 0)).await.unwrap();
    let waiting = tokio::spawn({
        let core = core.clone();
        async move { core.acquire(units(unary(), 2, 1, 60_000)).await }
    });
    while core.read(|engine, now| engine.status(now).waiting).await.unwrap() == 0 {}
    let mut events = core.subscribe(HolderId(1));
    core.set_phase(Phase::Draining);
    assert_eq!(core.acquire(units(unary(), 3, 1, 0)).await, Err(Refused::Draining));
    // What else goes on to the end.
    core.submit(release(unary(), Vec::new())).await.unwrap();
    stop(core.clone(), ended);
    assert_eq!(waiting.await.unwrap(), Err(Refused::Draining));
    assert_eq!(events.recv(&mut Vec::new()).await, Err(Cut::Stopped));
    assert_eq!(core.submit(Command::Tick).await, Err(Refused::Draining));
    assert!(core.read(|_, _| ()).await.is_err());
    assert!(!core.is_alive(Duration::from_secs(1)).await);
}
