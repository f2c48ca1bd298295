//! The room on its thread, beside the real core: what becomes of a segment from its first event to its last.

use std::{fs, path::PathBuf, sync::Arc, time::Duration};

use leasehold_engine::{
    Limits,
    command::{Acquire, Act, Ask, Assign, Command, Entity, EntityName, FolderFile, HostFinding, Place, Release},
    decision::Reply,
    ids::{Identity as CallerIdentity, LeaseId, RequestId, Ticket},
    row::UsageSegmentRow,
};
use leasehold_keys::{
    name::Method,
    time::WallTime,
    usage::{End, Item, RemarkCode, UsagePrivateKey, open, verify},
};
use tempfile::TempDir;

use super::{
    super::{Ground, NamesSetting, Progress, ProgressFault, Settings, State, Usage, heart::Course, proof::prove},
    site::{CLIENT, Site, caller, label},
};
use crate::{
    clock::Clock,
    core::{Bounds, Core, Ended, Phase, restore, tests::licensor_granting},
    identity::{Identity, tests::facts},
    storage::StateDir,
};

/// 2030-03-17T12:00:00Z.
const WALL_MS: i64 = 1_899_979_200_000;
const GRANTS: &[(&str, u32)] = &[("I3_ACCESS_CLIENT_CONCURRENT", 100), ("I3_FEATURE_VIRTUAL_CLOUD", 1)];
const USERS: [&str; 2] = ["Ann Example", "Bob Example"];

struct Home {
    dir: TempDir,
}

struct Server {
    core: Core,
    ended: Ended,
    usage: Usage,
    state: tokio::sync::watch::Receiver<State>,
    _state_dir: StateDir,
}

impl Home {
    fn new() -> Self {
        let place = Self { dir: tempfile::tempdir().unwrap() };
        place.set_time(0);
        place
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    fn set_time(&self, ms: i64) {
        let new = self.dir.path().join("clock.new");
        fs::write(&new, format!("{ms} {}", WALL_MS + ms)).unwrap();
        fs::rename(new, self.dir.path().join("clock")).unwrap();
    }

    fn start(&self, names: NamesSetting) -> Server {
        let state = StateDir::open(&self.path()).unwrap();
        let clock = Clock::manual(self.dir.path().join("clock"));
        let trust = licensor_granting(1, GRANTS).0.trust().unwrap();
        let restored = restore(&state, &trust, Limits::default(), &clock).unwrap();
        let reader = restored.store.reader();
        let (core, ended) = Core::start(restored.engine, restored.store, clock.clone(), Bounds::default()).unwrap();
        core.set_phase(Phase::Serving);
        let identity = Identity::with_facts(&self.path(), facts("4c4c4544"), label("acd-1")).unwrap();
        let ground = Ground {
            state_directory: self.path(),
            core: core.clone(),
            clock,
            reader,
            identity: Arc::new(identity),
            licensor: Box::new(move || trust.root().usage_key),
        };
        let settings = Settings { names, reader: Some(own_key().public()) };
        let usage = Usage::start(settings, ground).unwrap();
        Server { core, ended, state: usage.watch(), usage, _state_dir: state }
    }

    /// The items of a file as the customer opens it, and its end.
    fn read(&self, row: &UsageSegmentRow) -> (Vec<Item>, End) {
        let bytes = fs::read(self.path().join("usage").join(&row.file)).unwrap();
        let opened = open(&bytes, &own_key()).unwrap();
        assert_eq!(opened.damage, None);
        (opened.items().cloned().collect(), opened.file.end().clone())
    }
}

fn own_key() -> UsagePrivateKey {
    UsagePrivateKey::from_seed([3; 32].into())
}

/// `logon Ann Example 1`.
fn told(items: &[Item]) -> Vec<String> {
    let one = |item: &Item| match (item.user(), item.counter()) {
        (Some(user), Some(counter)) => format!("{} {user} {counter}", item.kind()),
        _ => item.kind().to_owned(),
    };
    items.iter().map(one).collect()
}

impl Server {
    async fn license(&self, sequence: u32, grants: &[(&str, u32)]) {
        let terms = Arc::new(licensor_granting(sequence, grants).1);
        let host = if terms.hosts.is_empty() { HostFinding::Unbound } else { HostFinding::Primary };
        let file = FolderFile { name: "acme.i3lic".to_owned(), terms, host };
        let Reply::Folder(verdicts) = self.core.submit(Command::Folder(vec![file])).await.unwrap() else { panic!() };
        assert!(verdicts[0].verdict.is_ok(), "{verdicts:?}");
    }

    async fn licensed(&self) {
        self.license(1, GRANTS).await;
        for name in USERS {
            let entity = Entity::User {
                name: label(name),
                display_name: None,
                method: Method::Concurrent,
                organization: None,
                workgroups: Vec::new(),
                types: Vec::new(),
            };
            self.act(Act::Create(entity)).await;
        }
        let subjects = USERS.iter().map(|name| EntityName::User(label(name))).collect();
        let (give, keys) = (true, vec![label(CLIENT)]);
        self.act(Act::Assign(Assign { subjects, keys, give, best_effort: false, dry_run: false, until: None })).await;
    }

    async fn act(&self, act: Act) {
        self.core.submit(Command::Administer { by: CallerIdentity::Uid(0), act }).await.unwrap();
    }

    async fn log_on(&self, request: u8, user: &str) -> LeaseId {
        let ask = Ask::Logon {
            user: label(user),
            place: Place::None,
            computer: Some(label("pc")),
            needed: vec![label(CLIENT)],
            application: None,
        };
        let acquire = Acquire {
            from: caller(),
            request: RequestId([request; 16]),
            ask,
            ttl_ms: 86_400_000,
            wait_ms: 0,
            priority: 0,
            ticket: Ticket(0),
        };
        self.core.acquire(acquire).await.unwrap().id
    }

    async fn release(&self, lease: LeaseId) {
        let release = Release { from: caller(), request: None, leases: vec![lease], acquired_by: Vec::new() };
        self.core.submit(Command::Release(release)).await.unwrap();
    }

    /// Waits until the room is so.
    async fn until(&mut self, what: impl FnMut(&State) -> bool) -> State {
        let waited = tokio::time::timeout(Duration::from_secs(60), self.state.wait_for(what)).await;
        waited.expect("within a minute").unwrap().clone()
    }

    /// Waits until the room is through with what it was doing: it hears this between two turns.
    async fn turned(&self) {
        let fault = self.usage.progress(u32::MAX, Progress::Forgotten).await.unwrap_err();
        assert!(matches!(fault, ProgressFault::Unknown(_)), "{fault}");
    }

    /// Waits until the segments are so, and what they say is written.
    async fn rows(&mut self, what: impl Fn(&[UsageSegmentRow]) -> bool) -> Vec<UsageSegmentRow> {
        loop {
            self.state.borrow_and_update();
            let rows = self.usage.segments().await.unwrap();
            if what(&rows) {
                self.turned().await;
                return rows;
            }
            tokio::time::timeout(Duration::from_secs(60), self.state.changed()).await.expect("a minute").unwrap();
        }
    }

    async fn stop(self) {
        self.usage.stop().await;
        self.kill().await;
    }

    /// Without a word to the room.
    async fn kill(self) {
        self.core.stop();
        tokio::task::spawn_blocking(move || self.ended.wait()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_segment_begins_grows_closes_and_the_next_opens_with_who_is_there() {
    let place = Home::new();
    let mut server = place.start(NamesSetting::Plain);
    assert!(!server.state.borrow().collecting);
    server.licensed().await;
    let rows = server.rows(|rows| rows.len() == 1).await;
    assert_eq!((rows[0].because.as_str(), rows[0].records), ("first", 0));
    let ann = server.log_on(1, USERS[0]).await;
    server.log_on(2, USERS[1]).await;
    // Not before a minute is over …
    server.until(|state| state.waiting == 2).await;
    assert_eq!(server.usage.segments().await.unwrap()[0].events, 0);
    place.set_time(61_000);
    let rows = server.rows(|rows| rows[0].events == 2).await;
    server.until(|state| state.waiting == 0 && state.behind == 0).await;
    let (items, end) = place.read(&rows[0]);
    assert_eq!((told(&items), end), (vec!["logon Ann Example 1".into(), "logon Bob Example 1".into()], End::Open));
    // … and at the end at once.
    server.release(ann).await;
    server.stop().await;
    let (items, end) = place.read(&rows[0]);
    assert_eq!(told(&items).last().unwrap(), "logoff Ann Example 0");
    assert!(matches!(end, End::Closed(_)));

    let mut server = place.start(NamesSetting::Plain);
    let rows = server.rows(|rows| rows.len() == 2).await;
    assert_eq!((rows[1].because.as_str(), rows[1].number), ("restart", 2));
    server.until(|state| state.behind == 0 && state.collecting).await;
    assert_eq!(told(&place.read(&rows[1]).0), ["present Bob Example 1"]);
    // The license does without: the segment closes and none begins.
    server.license(2, &GRANTS[..1]).await;
    let rows = server.rows(|rows| rows.last().unwrap().closed.is_some()).await;
    assert_eq!(rows.len(), 2);
    server.license(3, GRANTS).await;
    let rows = server.rows(|rows| rows.len() == 3).await;
    assert_eq!(rows[2].because, "changed");
    server.stop().await;
    assert_eq!(told(&place.read(&rows[2]).0), ["present Bob Example 1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_delivered_leaves_the_database_and_then_the_folder() {
    let place = Home::new();
    let mut server = place.start(NamesSetting::Plain);
    server.licensed().await;
    server.log_on(1, USERS[0]).await;
    server.rows(|rows| rows.len() == 1).await;
    // Over midnight, and again.
    place.set_time(12 * 3_600_000);
    server.rows(|rows| rows.len() == 2).await;
    place.set_time(36 * 3_600_000);
    let rows = server.rows(|rows| rows.len() == 3).await;
    assert_eq!(rows[1].because, "midnight");
    let at = WallTime::from_ms(WALL_MS);
    let fault = server.usage.progress(3, Progress::Uploaded(at)).await.unwrap_err();
    assert!(matches!(fault, ProgressFault::Open(3)), "{fault}");
    assert!(matches!(server.usage.progress(9, Progress::Uploaded(at)).await, Err(ProgressFault::Unknown(9))));
    assert!(matches!(server.usage.progress(1, Progress::Forgotten).await, Err(ProgressFault::Stays(1))));
    server.usage.progress(1, Progress::Uploaded(at)).await.unwrap();
    server.usage.progress(1, Progress::Acknowledged(at)).await.unwrap();
    let row = server.usage.segments().await.unwrap().remove(0);
    assert_eq!((row.uploaded, row.acknowledged, row.stored), (Some(at), Some(at), false));
    assert!(server.usage.path(&row).exists());
    server.usage.progress(1, Progress::Forgotten).await.unwrap();
    assert!(!server.usage.path(&row).exists());
    let numbers: Vec<u32> = server.usage.segments().await.unwrap().iter().map(|row| row.number).collect();
    assert_eq!(numbers, [2, 3]);
    // A week after its close what was found whole leaves the database, though nobody has answered for it.
    let second = server.usage.path(&rows[1]);
    fs::write(&second, "torn").unwrap();
    server.usage.check(2);
    server.turned().await;
    // Longer than a lease lasts: nobody is there any more.
    place.set_time(9 * 86_400_000);
    let rows = server.rows(|rows| rows.iter().any(|row| row.number == 2 && !row.stored)).await;
    verify(&fs::read(&second).unwrap()).unwrap();
    assert_eq!(rows[0].acknowledged, None);
    // Now the file is all there is.
    fs::remove_file(&second).unwrap();
    server.usage.check(2);
    let state = server.until(|state| !state.missing.is_empty()).await;
    assert_eq!(state.missing, [rows[0].file.clone()]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_room_for_files_leases_go_on_and_files_are_made_up_for() {
    let place = Home::new();
    fs::create_dir(place.path()).unwrap();
    // Where the folder should be stands something else.
    fs::write(place.path().join("usage"), "in the way").unwrap();
    let mut server = place.start(NamesSetting::Pseudonym);
    server.licensed().await;
    let said = server.until(|state| state.disk.is_some()).await.disk.unwrap();
    assert!(said.contains("cannot be written in") && said.contains("Nothing is lost"), "{said}");
    let ann = server.log_on(1, USERS[0]).await;
    server.usage.remark(RemarkCode::CLOCK_ROLLED_BACK, "by 3 days\nand more");
    place.set_time(61_000);
    server.rows(|rows| rows.first().is_some_and(|row| row.events == 1)).await;
    fs::remove_file(place.path().join("usage")).unwrap();
    place.set_time(90_000);
    server.until(|state| state.disk.is_none() && state.behind == 0).await;
    server.release(ann).await;
    server.stop().await;
    let rows: Vec<_> = fs::read_dir(place.path().join("usage")).unwrap().map(|file| file.unwrap().path()).collect();
    assert_eq!(rows.len(), 1);
    let bytes = fs::read(&rows[0]).unwrap();
    let opened = open(&bytes, &own_key()).unwrap();
    let items: Vec<Item> = opened.items().cloned().collect();
    assert!(!told(&items).iter().any(|item| item.contains("Ann")), "{items:?}");
    let pseudonym = items.iter().find_map(Item::user).unwrap().to_string();
    let mut said = told(&items);
    said.sort();
    assert_eq!(said, [format!("logoff {pseudonym} 0"), format!("logon {pseudonym} 1"), "remark".into()]);
    let Some(Item::Remark(remark)) = items.iter().find(|item| item.kind() == "remark") else { panic!() };
    assert_eq!(remark.text, "by 3 days and more");
    for entry in fs::read_dir(place.path().join("usage")).unwrap() {
        let bytes = fs::read(entry.unwrap().path()).unwrap();
        assert!(!bytes.windows(3).any(|some| some == b"Ann"));
    }
}

/// An older database is put back under the files: what they hold and it does not is kept beside what replaces it, and told.
#[tokio::test(flavor = "multi_thread")]
async fn an_older_database_replaces_nothing_that_was_sealed() {
    let place = Home::new();
    let mut server = place.start(NamesSetting::Plain);
    server.licensed().await;
    server.rows(|rows| rows.len() == 1).await;
    server.stop().await;
    let older = place.dir.path().join("older");
    fs::create_dir(&older).unwrap();
    let databases = || {
        let entries = fs::read_dir(place.path()).unwrap().map(|entry| entry.unwrap());
        entries.filter(|entry| entry.file_name().to_str().unwrap().starts_with("leasehold.db")).collect::<Vec<_>>()
    };
    for entry in databases() {
        fs::copy(entry.path(), older.join(entry.file_name())).unwrap();
    }
    let mut server = place.start(NamesSetting::Plain);
    server.rows(|rows| rows.len() == 2).await;
    let ann = server.log_on(1, USERS[0]).await;
    server.release(ann).await;
    assert_eq!(server.usage.seal().await.unwrap(), 2);
    let rows = server.rows(|rows| rows.last().is_some_and(|row| row.events == 2)).await;
    let second = rows[1].clone();
    // A kill: its records are not signed.
    server.kill().await;
    let evidence = fs::read(place.path().join("usage").join(&second.file)).unwrap();
    assert_eq!(verify(&evidence).unwrap().end(), &End::Open);

    for entry in databases() {
        fs::remove_file(entry.path()).unwrap();
    }
    for entry in fs::read_dir(&older).unwrap().map(|entry| entry.unwrap()) {
        fs::copy(entry.path(), place.path().join(entry.file_name())).unwrap();
    }
    let mut server = place.start(NamesSetting::Plain);
    let aside = format!("{}.aside-1", second.file);
    let state = server.until(|state| !state.aside.is_empty() && state.behind == 0).await;
    assert_eq!((state.aside, state.missing), (vec![aside.clone()], Vec::new()));
    let rows = server.rows(|rows| rows.last().unwrap().records > 0).await;
    assert_eq!((rows.len(), &rows[1].file), (2, &second.file));
    let (items, _) = place.read(&rows[1]);
    let [Item::Remark(remark)] = &items[..] else { panic!("{items:?}") };
    assert_eq!(remark.code, RemarkCode::STATE_RESTORED);
    assert!(remark.text.contains(&aside), "{remark:?}");
    let folder = place.path().join("usage");
    assert_eq!(fs::read(folder.join(&aside)).unwrap(), evidence);
    let found = prove(&folder, &rows).unwrap().report.findings;
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((found[0].file.as_deref(), found[0].segment), (Some(aside.as_str()), Some(2)));
    server.stop().await;

    // The same again finds another name, and what is damaged or torn takes none.
    for entry in fs::read_dir(&older).unwrap().map(|entry| entry.unwrap()) {
        fs::copy(entry.path(), place.path().join(entry.file_name())).unwrap();
    }
    let mut torn = fs::read(folder.join(&rows[0].file)).unwrap();
    torn.extend(b"torn");
    fs::write(folder.join(&rows[0].file), torn).unwrap();
    let mut server = place.start(NamesSetting::Plain);
    let state = server.until(|state| state.aside.len() > 1 && state.behind == 0).await;
    assert_eq!(state.aside, [aside.clone(), format!("{}.aside-2", second.file)]);
    server.usage.check(1);
    server.turned().await;
    assert!(matches!(place.read(&rows[0]).1, End::Closed(_)));
    assert_eq!(fs::read(folder.join(&aside)).unwrap(), evidence);
    server.stop().await;
}

/// A restored database whose newest segment is open: its file has gone on since, and nothing of that is signed.
#[test]
fn a_file_that_has_gone_on_since_is_set_aside() {
    let users = ["ann".to_owned()];
    let mut site = Site::new(&users, NamesSetting::Plain);
    site.turn(Course::Running).unwrap();
    let older = site.keep_database();
    let request = site.next_request();
    site.log_on(request, &users[0], "Desktop").unwrap();
    site.turn(Course::Running).unwrap();
    site.lease_ms += 60_000;
    site.turn(Course::Running).unwrap();
    let row = site.rows().remove(0);
    let evidence = fs::read(site.folder().join(&row.file)).unwrap();
    site.put_back(&older);
    site.turn(Course::Running).unwrap();
    let aside = format!("{}.aside-1", row.file);
    assert_eq!(site.aside(), std::slice::from_ref(&aside));
    assert_eq!(fs::read(site.folder().join(&aside)).unwrap(), evidence);
    assert_ne!(fs::read(site.folder().join(&row.file)).unwrap(), evidence);
    let newest = site.rows().remove(1);
    let opened = fs::read(site.folder().join(&newest.file)).unwrap();
    let opened = open(&opened, &site.reader).unwrap();
    assert_eq!(told(&opened.items().cloned().collect::<Vec<_>>()), ["remark"]);
    // A process that starts again tells it again, until the file is gone.
    site.kill();
    site.start().unwrap();
    assert_eq!(site.aside(), std::slice::from_ref(&aside));
    site.turn(Course::Running).unwrap();
    let row = site.rows().remove(2);
    let opened = fs::read(site.folder().join(&row.file)).unwrap();
    let opened = open(&opened, &site.reader).unwrap();
    let Some(Item::Remark(remark)) = opened.items().next() else { panic!("{row:?}") };
    assert!(remark.text.contains(&aside), "{remark:?}");
    fs::remove_file(site.folder().join(&aside)).unwrap();
    site.lease_ms += 3_600_000;
    site.turn(Course::Running).unwrap();
    assert_eq!(site.aside(), [""; 0]);
}

/// The key that signs was lost: another installation goes on with the same database, from its own first segment.
#[tokio::test(flavor = "multi_thread")]
async fn another_installation_begins_its_own_chain() {
    let place = Home::new();
    let mut server = place.start(NamesSetting::Plain);
    server.licensed().await;
    server.rows(|rows| rows.len() == 1).await;
    server.log_on(1, USERS[0]).await;
    // As by a kill: its segment stays open.
    server.kill().await;
    fs::remove_file(place.path().join("installation.key")).unwrap();
    let mut server = place.start(NamesSetting::Plain);
    let rows = server.rows(|rows| rows.len() == 2).await;
    server.stop().await;
    assert!(rows[0].closed.is_some() && rows[1].because == "first", "{rows:?}");
    let name = super::super::draft::named(&rows[1]).unwrap();
    assert_eq!((rows[1].number, name.segment), (2, 1));
    let (items, end) = place.read(&rows[1]);
    // Nobody was there when it took over from what is sealed; that she logged on was not sealed yet.
    assert_eq!(told(&items), ["logon Ann Example 1"]);
    assert!(matches!(end, End::Closed(_)));
    assert!(matches!(place.read(&rows[0]).1, End::Open));
}
