//! 03, Witness: a state that was restored or copied is found out by what its installation signed before, and an honest one
//! is never accused, whatever was killed or undone in between.

mod support;

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
};

use leasehold_engine::{
    EPOCHS_KEPT, EVIDENCE_KEPT,
    command::{Command, Reached, Witnessed},
    decision::{Notice, Reply},
    ids::{Identity, RequestId},
    row::{Change, Row, WitnessKind, WitnessRow},
    time::DAY_MS,
};
use support::{Site, label, unary, units};

/// A server on a site's disk.
struct Server {
    site: Site,
    /// So many changes are durable.
    durable: usize,
}

impl Server {
    /// The first start of a new site.
    fn first(epoch: u64) -> Self {
        let site = Site::with(&["SESSION 1000000"]);
        Self::on(&site, &site.changes.clone(), epoch)
    }

    /// A start on a disk.
    fn on(like: &Site, disk: &[Change], epoch: u64) -> Self {
        let site = like.started_on(disk, epoch);
        let durable = site.changes.len();
        Self { site, durable }
    }

    /// A stop in order, and a start.
    fn restarted(&self, epoch: u64) -> Self {
        Self::on(&self.site, &self.site.changes, epoch)
    }

    /// A kill, and a start on what was durable.
    fn killed(&self, epoch: u64) -> Self {
        Self::on(&self.site, &self.site.changes[..self.durable], epoch)
    }

    fn commit(&mut self) {
        self.durable = self.site.changes.len();
    }

    fn grant(&mut self) -> u64 {
        let mut acquire = self.site.acquire_command(unary("acd"), units("SESSION", 1));
        // A disk that was put back remembers its answers: no request of this test is asked twice (LEASE-3).
        static REQUESTS: AtomicU64 = AtomicU64::new(1);
        acquire.request = RequestId(u128::from(REQUESTS.fetch_add(1, Ordering::Relaxed)).to_be_bytes());
        self.site.acquire(acquire).expect("it does not wait").expect("there are seats").id.0
    }

    fn grants(&mut self, count: usize) -> u64 {
        (0..count).map(|_| self.grant()).last().expect("one at least")
    }

    /// What is signed: it waits until everything is durable.
    fn sign(&mut self) -> Reached {
        self.commit();
        self.site.engine.reached().expect("an epoch has begun")
    }

    fn show(&mut self, shown: Reached, fresh: u64) -> Option<WitnessRow> {
        let by = Identity::Name(label("acd"));
        let witnessed = Witnessed { by, host: "app-host".into(), shown, fresh };
        match self.site.run(Command::Witnessed(witnessed)) {
            Ok(Reply::Witnessed(news)) => news.map(|news| *news),
            other => panic!("what is shown is judged: {other:?}"),
        }
    }

    fn found(&mut self, shown: Reached, fresh: u64) -> Option<WitnessKind> {
        self.show(shown, fresh).map(|row| row.kind)
    }

    fn count(&self) -> u64 {
        self.site.engine.witness_evidence().count
    }
}

/// What comes after what, as application servers compare it.
fn order(reached: Reached) -> (u64, u64) {
    (reached.epoch, reached.fencing)
}

#[test]
fn honest_restarts_accuse_nobody() {
    let mut server = Server::first(1);
    let mut said = vec![server.sign()];
    for start in 2..30 {
        server.grants(start % 4 + 1);
        said.push(server.sign());
        // Granted and not durable: acknowledged to nobody.
        server.grants(start % 3 + 1);
        server = if start % 2 == 0 { server.killed(start as u64) } else { server.restarted(start as u64) };
        said.push(server.sign());
        for shown in &said {
            assert_eq!(server.found(*shown, 99), None, "{shown:?} at start {start}");
        }
    }
    assert_eq!(server.count(), 0);
    assert!(said.windows(2).all(|pair| order(pair[0]) <= order(pair[1])), "it only ever rises: {said:?}");
    server.site.check();
}

#[test]
fn a_restored_older_state_is_told_and_goes_on_above() {
    let mut server = Server::first(1);
    server.grants(3);
    server.commit();
    let backup = server.site.changes.clone();
    let last = server.grants(5);
    let shown = server.sign();
    assert_eq!((shown.epoch, shown.fencing), (1, last));

    let mut restored = Server::on(&server.site, &backup, 2);
    let own = restored.sign();
    let row = restored.show(shown, 77).expect("evidence");
    assert_eq!((row.number, row.kind, row.epoch, row.epoch_id, row.fencing), (1, WitnessKind::Behind, 1, 1, last));
    assert_eq!((row.own_epoch, row.own_fencing, row.host.as_str()), (own.epoch, own.fencing, "app-host"));
    assert_eq!((row.by.to_string(), row.first), ("name:acd".into(), restored.site.now().wall));
    assert_eq!(restored.grant(), last + 1, "numbers go on above what was seen");
    assert_eq!(restored.found(shown, 78), None, "it was told once");
    assert!(order(restored.sign()) > order(shown));
    assert_eq!(restored.site.notices.iter().filter(|notice| matches!(notice, Notice::StateBehind(_))).count(), 1);
    let words = row.message();
    assert!(words.contains("name:acd on app-host") && words.contains("restored from an older copy"), "{words}");
    // It is in the audit log, in the status, and is not forgotten by a restart.
    let audited = Site::every_row(&restored.site.changes);
    assert!(audited.iter().any(|row| matches!(row, Row::Audit(row) if row.action == "state found behind")));
    let mut again = restored.restarted(3);
    assert_eq!((again.count(), again.found(shown, 79)), (1, None));
    let noticed = |server: &Server| {
        let status = server.site.engine.status(server.site.now());
        status.notices.iter().filter(|(reason, _)| *reason == "STATE_RESTORED").count()
    };
    assert_eq!(noticed(&again), 1);
    again.site.sleep(29 * DAY_MS as u64);
    assert_eq!(noticed(&again), 1);
    again.site.sleep(2 * DAY_MS as u64);
    assert_eq!((noticed(&again), again.count()), (0, 1));
    again.site.check();
}

/// A start said something and died, and nothing but its epoch was lost with the restored state.
#[test]
fn a_lost_start_is_told_though_it_granted_nothing() {
    let mut server = Server::first(1);
    server.grants(3);
    server.commit();
    let backup = server.site.changes.clone();
    let mut later = server.restarted(2);
    let shown = later.sign();
    let mut restored = Server::on(&server.site, &backup, 3);
    assert_eq!(restored.found(shown, 77), Some(WitnessKind::Forked), "both call it epoch 2");
    // More of the lost history: it began another epoch.
    let mut latest = later.restarted(4).restarted(5);
    latest.grants(9);
    let shown = latest.sign();
    assert_eq!((shown.epoch, restored.sign().epoch), (4, 3));
    assert_eq!(restored.found(shown, 78), Some(WitnessKind::Behind));
    assert_eq!(restored.sign(), Reached { epoch: 5, epoch_id: 78, fencing: shown.fencing });
    assert_eq!(restored.count(), 2);
    restored.site.check();
}

#[test]
fn two_clones_that_one_application_server_meets_are_both_told() {
    let mut server = Server::first(1);
    server.grants(3);
    server.commit();
    let disk = server.site.changes.clone();
    // Nothing was granted since the copy: their random IDs alone tell them apart.
    let mut clones = [Server::on(&server.site, &disk, 10), Server::on(&server.site, &disk, 20)];
    let held = clones[0].sign();
    assert_eq!(clones[1].found(held, 21), Some(WitnessKind::Forked));
    let held = clones[1].sign();
    assert!(order(held) > order(clones[0].sign()), "the application server keeps this one");
    assert_eq!(clones[0].found(held, 11), Some(WitnessKind::Behind));
    let held = clones[0].sign();
    assert_eq!(clones[1].found(held, 22), Some(WitnessKind::Behind));
    // And so on, as long as both live.
    assert_eq!((clones[0].count(), clones[1].count()), (1, 2));
    clones.iter().for_each(|clone| clone.site.check());
}

/// The original was never stopped, and its copy began an epoch.
#[test]
fn a_copy_of_a_running_servers_state_is_told_on_the_way_there_or_back() {
    let mut original = Server::first(1);
    original.grants(3);
    original.commit();
    let mut copy = Server::on(&original.site, &original.site.changes.clone(), 2);
    let before = original.sign();
    assert_eq!(copy.found(before, 77), None, "the copy knows all of this");
    let held = copy.sign();
    assert_eq!(original.found(held, 11), Some(WitnessKind::Behind), "on the way back");
    // Had the original gone on first, the copy would have been told at once.
    let mut original = Server::first(1);
    original.commit();
    let mut copy = Server::on(&original.site, &original.site.changes.clone(), 2);
    original.grants(2);
    assert_eq!(copy.found(original.sign(), 77), Some(WitnessKind::Behind));
}

/// A machine was put back with its memory: the same epoch goes on, with lower numbers.
#[test]
fn a_machine_that_was_put_back_while_it_ran_is_told() {
    let mut server = Server::first(1);
    server.grants(2);
    // Both are the same start.
    let [mut snapshot, mut later] = [2, 2].map(|id| Server::on(&server.site, &server.site.changes, id));
    assert_eq!(later.sign(), snapshot.sign());
    let last = later.grants(4);
    let shown = later.sign();
    assert_eq!(snapshot.found(shown, 77), Some(WitnessKind::Behind));
    assert_eq!((snapshot.sign().epoch, snapshot.grant()), (shown.epoch + 1, last + 1));
}

#[test]
fn more_of_the_same_raises_numbers_and_is_no_other_evidence() {
    let mut server = Server::first(1);
    server.commit();
    let backup = server.site.changes.clone();
    server.grants(5);
    let early = server.sign();
    server.grants(50);
    let late = server.sign();
    let mut restored = Server::on(&server.site, &backup, 2);
    assert_eq!(restored.found(early, 77), Some(WitnessKind::Behind));
    assert_eq!(restored.found(late, 78), None);
    let evidence = restored.site.engine.witness_evidence();
    assert_eq!((evidence.count, evidence.newest.map(|row| row.fencing)), (1, Some(late.fencing)));
    assert_eq!(restored.grant(), late.fencing + 1);
    restored.site.check();
}

/// A disk that was full: nothing is kept of the evidence, and the next who shows it is heard.
#[test]
fn evidence_that_could_not_be_stored_is_found_again() {
    let mut server = Server::first(1);
    server.commit();
    let backup = server.site.changes.clone();
    server.grants(5);
    let shown = server.sign();
    let mut restored = Server::on(&server.site, &backup, 2);
    let own = restored.sign();
    assert!(restored.found(shown, 77).is_some());
    restored.site.undo_since(restored.durable);
    assert_eq!((restored.count(), restored.site.engine.reached()), (0, Some(own)));
    assert_eq!(restored.found(shown, 78), Some(WitnessKind::Behind));
    restored.site.check();
}

#[test]
fn evidence_shortly_before_a_stop_is_said_again() {
    let mut server = Server::first(1);
    server.commit();
    let backup = server.site.changes.clone();
    server.grants(5);
    let shown = server.sign();
    let mut restored = Server::on(&server.site, &backup, 2);
    restored.show(shown, 77).expect("evidence");
    let unsaid = |server: &Server| server.site.engine.evidence_perhaps_unsaid(server.site.now()).len();
    assert_eq!(unsaid(&restored.restarted(3)), 1);
    restored.site.sleep(119_999);
    assert_eq!(unsaid(&restored.restarted(3)), 1);
    restored.site.sleep(1);
    assert_eq!(unsaid(&restored.restarted(3)), 0);
}

#[test]
fn without_an_epoch_nothing_is_said_and_nobody_is_judged() {
    let mut server = Server { site: Site::with(&["SESSION 10"]), durable: 0 };
    assert_eq!(server.site.engine.reached(), None);
    assert_eq!(server.found(Reached { epoch: 9, epoch_id: 9, fencing: 900 }, 77), None);
    assert_eq!(server.grant(), 1);
}

/// What is remembered is bounded; what is forgotten is not judged, but for numbers that were never given.
#[test]
fn epochs_and_evidence_are_bounded() {
    let mut server = Server::first(1);
    server.grants(3);
    let oldest = server.sign();
    for start in 2..=EPOCHS_KEPT as u64 + 5 {
        server = Server::on(
            &server.site,
            &Site::every_row(&server.site.changes).into_iter().map(made).collect::<Vec<_>>(),
            start,
        );
    }
    let count =
        |server: &Server, kind: fn(&Row) -> bool| server.site.engine.lasting_rows().into_iter().filter(kind).count();
    assert_eq!(count(&server, |row| matches!(row, Row::Epoch(_))), EPOCHS_KEPT);
    assert_eq!(server.found(oldest, 77), None);
    assert_eq!(server.found(Reached { epoch_id: 4_444, ..oldest }, 77), None, "nobody remembers which it was");
    assert_eq!(server.found(Reached { fencing: 4, ..oldest }, 77), Some(WitnessKind::Behind));
    for number in 0..EVIDENCE_KEPT as u64 + 3 {
        let shown = Reached { epoch: 5_000, epoch_id: number, fencing: 10 };
        server.show(shown, 80).expect("evidence");
    }
    assert_eq!(count(&server, |row| matches!(row, Row::Witness(_))), EVIDENCE_KEPT);
    assert_eq!(server.count(), EVIDENCE_KEPT as u64 + 4);
    server.site.check();
}

fn made(row: Row) -> Change {
    Change { before: None, after: Some(row) }
}

/// xorshift: the same walks in each run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % sides as u64) as usize
    }
}

/// A naive reading: a disk knows what its own line of servers has said or could have said of each epoch, and what it was
/// shown; whatever goes beyond is evidence, once for each epoch.
#[derive(Clone, Default)]
struct Knows {
    own: BTreeMap<u64, u64>,
    shown: BTreeMap<u64, u64>,
}

impl Knows {
    fn expects_evidence(&self, shown: Reached) -> bool {
        let own = self.own.get(&shown.epoch_id).is_some_and(|reached| *reached >= shown.fencing);
        !own && !self.shown.contains_key(&shown.epoch_id)
    }
}

struct Player {
    server: Server,
    knows: Knows,
    /// What of it is durable.
    kept: Knows,
}

impl Player {
    fn begun(server: Server, mut knows: Knows) -> Self {
        let reached = server.site.engine.reached().expect("an epoch has begun");
        knows.own.insert(reached.epoch_id, reached.fencing);
        Self { server, kept: knows.clone(), knows }
    }

    fn note(&mut self) {
        let reached = self.server.site.engine.reached().expect("an epoch has begun");
        self.knows.own.insert(reached.epoch_id, reached.fencing);
    }

    fn commit(&mut self) {
        self.server.commit();
        self.kept = self.knows.clone();
    }
}

/// Servers, copies of servers, backups and application servers that meet them in any order.
#[test]
fn a_walk_through_starts_copies_and_kills_agrees_with_a_naive_reading() {
    let (mut accused, mut honest) = (0, 0);
    for seed in 1..=120_u64 {
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut ids = 1_000_u64;
        let mut id = || {
            ids += 1;
            ids
        };
        let mut players = vec![Player::begun(Server::first(id()), Knows::default())];
        let mut backups: Vec<(Vec<Change>, Knows)> = Vec::new();
        let mut hands: [Vec<Reached>; 3] = Default::default();
        // Half of the walks never copy anything: there nobody may be accused.
        let copies = seed % 2 == 0;
        for _ in 0..60 {
            let at = dice.roll(players.len());
            match dice.roll(if copies { 12 } else { 9 }) {
                0 | 1 => {
                    players[at].server.grants(1 + dice.roll(3));
                    players[at].note();
                }
                2 => players[at].commit(),
                3 | 4 => {
                    players[at].commit();
                    let said = players[at].server.sign();
                    let hand = &mut hands[dice.roll(3)];
                    if hand.last().is_none_or(|held| order(*held) <= order(said)) {
                        hand.push(said);
                    }
                }
                5 | 6 => {
                    let hand = &hands[dice.roll(3)];
                    let Some(shown) = hand.last().copied() else { continue };
                    let player = &mut players[at];
                    let expected = player.knows.expects_evidence(shown);
                    let news = player.server.show(shown, id());
                    assert_eq!(news.is_some(), expected, "seed {seed}: {shown:?} {news:?}");
                    if expected {
                        accused += 1;
                        // The epoch that was left is known no further than it had come.
                        let row = news.as_ref().expect("checked above");
                        assert!(row.own_fencing <= player.server.site.engine.reached().unwrap().fencing);
                    } else {
                        honest += 1;
                    }
                    let known = player.knows.own.get(&shown.epoch_id).is_some_and(|reached| *reached >= shown.fencing);
                    if !known {
                        let seen = player.knows.shown.entry(shown.epoch_id).or_default();
                        *seen = (*seen).max(shown.fencing);
                    }
                    let reached = player.server.site.engine.reached().unwrap();
                    assert!(order(reached) >= order(shown), "seed {seed}: {reached:?} after {shown:?}");
                    let next = player.server.grant();
                    assert!(next > shown.fencing, "seed {seed}: lease {next} after {shown:?}");
                    player.note();
                    assert_eq!(player.server.show(shown, 7), None, "seed {seed}: what was told is not told again");
                }
                7 => {
                    let player = &players[at];
                    players[at] = Player::begun(player.server.killed(id()), player.kept.clone());
                }
                8 if dice.roll(2) == 0 => {
                    let player = &mut players[at];
                    player.server.site.undo_since(player.server.durable);
                    player.knows = player.kept.clone();
                    player.note();
                }
                8 => {
                    let player = &players[at];
                    players[at] = Player::begun(player.server.restarted(id()), player.knows.clone());
                }
                9 => {
                    let player = &mut players[at];
                    player.commit();
                    backups.push((player.server.site.changes.clone(), player.kept.clone()));
                }
                10 => {
                    let Some((disk, knows)) = backups.last().cloned() else { continue };
                    let server = Server::on(&players[at].server.site, &disk, id());
                    players[at] = Player::begun(server, knows);
                }
                _ if players.len() < 3 => {
                    let player = &players[at];
                    let copy = Player::begun(player.server.killed(id()), player.kept.clone());
                    players.push(copy);
                }
                _ => {}
            }
        }
        for player in &players {
            if !copies {
                assert_eq!(player.server.count(), 0, "seed {seed}: an honest server is accused");
            }
            player.server.site.check();
        }
    }
    assert!(accused > 100 && honest > 300, "the walks are worth something: {accused} {honest}");
}
