//! The folder's own task before the real core: events of the file system, the engine's verdicts, loading by request, a
//! restart. Waits for what is shown, never for a time.

use std::{fs, path::PathBuf, sync::Arc, time::Duration};

use leasehold_engine::{
    Limits,
    command::{Act, Command},
    ids::Identity as Caller,
};
use leasehold_keys::{
    activation::{Activation, FileKind, HostRole, LicenseId, Units},
    dev::DevLicensor,
    note,
    root::RevokedKey,
    time::WallTime,
};
use tempfile::TempDir;
use tokio::task::JoinHandle;

use crate::{
    clock::Clock,
    core::{Bounds, Core, Ended, Restored, restore},
    folder::{EntryState, Folder, FolderEntry, LoadFault},
    identity::{Identity, tests as identity},
    storage::StateDir,
    test_site::{LICENSE, terms},
    trust_store::{TrustStore, tests::Roots},
};

/// No test waits so long unless it fails.
const PATIENCE: Duration = Duration::from_secs(30);

struct Server {
    folder: Folder,
    core: Core,
    identity: Arc<Identity>,
    task: JoinHandle<()>,
    ended: Ended,
    /// Keeps the state directory locked.
    state: StateDir,
}

/// A server that can be stopped and started again in one directory.
struct House {
    dir: TempDir,
    licensor: DevLicensor,
}

impl House {
    fn new() -> Self {
        let licensor = DevLicensor::from_seed(&[7; 32]).unwrap();
        let root = licensor.root().to_vec();
        Self::trusting(&root, licensor)
    }

    fn trusting(root: &[u8], licensor: DevLicensor) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("watched")).unwrap();
        fs::write(dir.path().join("anchor"), root).unwrap();
        Self { dir, licensor }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("watched").join(name)
    }

    fn start(&self) -> Server {
        let state = StateDir::open(&self.dir.path().join("state")).unwrap();
        let trust = TrustStore::open(state.path(), Some(&self.dir.path().join("anchor"))).unwrap();
        let facts = identity::facts("4c4c4544-0051-4810-8052-b4c04f4d3132");
        let identity = Arc::new(Identity::with_facts(state.path(), facts, "acd-1".parse().unwrap()).unwrap());
        let clock = Clock::system();
        let Restored { engine, store, .. } = restore(&state, trust.trust(), Limits::default(), &clock).unwrap();
        let (core, ended) = Core::start(engine, store, clock.clone(), Bounds::default()).unwrap();
        let watched = self.dir.path().join("watched");
        let (folder, task) = Folder::start(watched, state.path(), core.clone(), clock, trust, identity.clone());
        Server { folder, core, identity, task, ended, state }
    }

    /// A file for the server's host.
    fn file(&self, server: &Server, sequence: u32, change: impl FnOnce(&mut Activation)) -> Vec<u8> {
        let mut terms = terms(sequence, &[("I3_ACCESS_CLIENT", 5)]);
        terms.hosts = vec![identity::line(HostRole::Primary, server.identity.host_id())];
        change(&mut terms);
        self.licensor.issue(&terms).unwrap()
    }
}

impl Server {
    /// The entry of a name once it is in this state.
    async fn entry(&self, name: &str, state: EntryState) -> FolderEntry {
        let mut view = self.folder.watch();
        let is = |entry: &&FolderEntry| entry.name == name && entry.state == state;
        let found =
            tokio::time::timeout(PATIENCE, view.wait_for(|view| view.entries.iter().any(|entry| is(&entry)))).await;
        let view = found.unwrap_or_else(|_| panic!("{name} is not {state:?}: {:?}", self.folder.view())).unwrap();
        view.entries.iter().find(is).unwrap().clone()
    }

    /// Each accepted file with its state and whether that says that the file is gone.
    async fn states(&self) -> Vec<(String, &'static str, bool)> {
        self.core
            .read(|engine, now| {
                engine
                    .licenses(now)
                    .iter()
                    .map(|view| {
                        (view.file_name.clone(), view.state, view.message.contains("gone from the watched folder"))
                    })
                    .collect()
            })
            .await
            .unwrap()
    }

    async fn stop(self) {
        drop(self.folder);
        self.task.await.unwrap();
        self.core.stop();
        tokio::task::spawn_blocking(|| self.ended.wait()).await.unwrap();
        drop(self.state);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_dropped_in_is_accepted_and_outlives_a_restart_and_its_absence() {
    let house = House::new();
    let server = house.start();
    server.folder.judged().await;
    fs::write(house.path("acme.i3lic"), house.file(&server, 1, |_| {})).unwrap();
    let entry = server.entry("acme.i3lic", EntryState::Accepted).await;
    assert_eq!(entry.message, "Acme, Indianapolis: CIC base file, sequence 1; this host is its primary.");
    server.stop().await;

    fs::remove_file(house.path("acme.i3lic")).unwrap();
    let server = house.start();
    server.folder.judged().await;
    assert_eq!(server.folder.view().entries, []);
    assert_eq!(server.states().await, [("acme.i3lic".to_owned(), "in effect", true)]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_is_checked_then_loaded_then_replaced() {
    let house = House::new();
    let server = house.start();
    let first = house.file(&server, 1, |_| {});
    let checked = server.folder.check("acme.i3lic", first.clone()).await.unwrap();
    assert_eq!((checked.entry.state, house.path("acme.i3lic").exists()), (EntryState::Accepted, false));

    let loaded = server.folder.load("acme.i3lic", first.clone()).await.unwrap();
    assert_eq!(loaded.entry.state, EntryState::Accepted);
    assert_eq!(fs::read(house.path("acme.i3lic")).unwrap(), first);

    let loaded = server.folder.load("acme.i3lic", house.file(&server, 2, |_| {})).await.unwrap();
    assert!(loaded.entry.message.contains("sequence 2"), "{}", loaded.entry.message);
    let back = server
        .folder
        .load("older.i3lic", house.file(&server, 1, |terms| terms.account = "Other".parse().unwrap()))
        .await
        .unwrap();
    assert_eq!((back.entry.state, back.entry.reason.as_ref()), (EntryState::Refused, "rolled-back"));
    assert!(!house.path("older.i3lic").exists(), "a refused file is not placed");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_load_does_not_displace_another_license_or_leave_the_folder() {
    let house = House::new();
    let server = house.start();
    server.folder.load("acme.i3lic", house.file(&server, 1, |_| {})).await.unwrap();
    let other = house.file(&server, 1, |terms| {
        terms.license_id = LicenseId(uuid::Uuid::from_u128(5));
        terms.kind = FileKind::AddOn;
    });
    let taken = server.folder.load("acme.i3lic", other.clone()).await;
    assert!(matches!(taken, Err(LoadFault::NameTaken { .. })), "{taken:?}");
    for name in ["../acme.i3lic", "acme.txt", ".acme.i3lic"] {
        let fault = server.folder.load(name, other.clone()).await;
        assert!(matches!(fault, Err(LoadFault::Name { .. })), "{name}");
    }
    let added = server.folder.load("more.i3lic", other).await.unwrap();
    assert_eq!(added.entry.state, EntryState::Accepted);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_accepted_file_that_is_torn_later_goes_on_from_its_copy() {
    let house = House::new();
    let server = house.start();
    let bytes = house.file(&server, 1, |_| {});
    server.folder.load("acme.i3lic", bytes.clone()).await.unwrap();
    fs::write(house.path("acme.i3lic"), &bytes[..200]).unwrap();
    server.entry("acme.i3lic", EntryState::Refused).await;
    let capacity = server.core.read(|engine, now| engine.pools(now, None, None).unwrap()[0].capacity).await.unwrap();
    assert_eq!(capacity, Units::Count(5));
    assert_eq!(server.states().await, [("acme.i3lic".to_owned(), "in effect", false)], "it is not gone");
    fs::write(house.path("acme.i3lic"), &bytes).unwrap();
    server.entry("acme.i3lic", EntryState::Accepted).await;
    assert_eq!(server.states().await, [("acme.i3lic".to_owned(), "in effect", false)]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_base_file_is_refused_in_the_engines_words() {
    let house = House::new();
    let server = house.start();
    server.folder.load("acme.i3lic", house.file(&server, 1, |_| {})).await.unwrap();
    let other = house.file(&server, 1, |terms| terms.license_id = LicenseId(uuid::Uuid::from_u128(5)));
    fs::write(house.path("second.i3lic"), other).unwrap();
    let entry = server.entry("second.i3lic", EntryState::Refused).await;
    assert_eq!(entry.reason, "second-base");
    let checked = server.folder.check("second.i3lic", fs::read(house.path("second.i3lic")).unwrap()).await.unwrap();
    assert_eq!(checked.entry, entry, "a check says what the load would");
    let note = fs::read_to_string(house.path("second.i3lic.rejected.txt")).unwrap();
    assert!(note.contains("Another base file for CIC is in effect"), "{note}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unloaded_license_is_shown_at_once_where_it_is_asked_for() {
    let house = House::new();
    let server = house.start();
    server.folder.load("acme.i3lic", house.file(&server, 1, |_| {})).await.unwrap();
    let act = Act::Unload { license: LICENSE, reason: "moved".to_owned() };
    server.core.submit(Command::Administer { by: Caller::Uid(0), act }).await.unwrap();
    server.folder.rescan().await;
    let entry = server.entry("acme.i3lic", EntryState::Refused).await;
    assert_eq!(entry.reason, "unloaded");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_license_is_closed_once_and_its_receipt_stays() {
    let house = House::new();
    let server = house.start();
    server.folder.load("acme.i3lic", house.file(&server, 1, |_| {})).await.unwrap();
    let closing = house.file(&server, 2, |terms| {
        terms.grants.clear();
        terms.definitions.clear();
    });
    server.folder.load("acme.i3lic", closing).await.unwrap();
    let receipts = house.dir.path().join("state/receipts");
    let receipt = receipts.join(format!("{LICENSE}-2.i3receipt"));
    let first = fs::read(&receipt).unwrap();
    server.folder.rescan().await;
    assert_eq!(fs::read(&receipt).unwrap(), first);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_root_that_revokes_the_issuing_key_takes_its_files_and_marks_along() {
    let acme = Roots::of_seed(1);
    let house = House::trusting(&acme.root(1), DevLicensor::from_seed(&[7; 32]).unwrap());
    let server = house.start();
    let mut bound = terms(9, &[("I3_ACCESS_CLIENT", 5)]);
    bound.hosts = vec![identity::line(HostRole::Primary, server.identity.host_id())];
    let file = note::sign(&bound.render(), &[&acme.issuing]).unwrap();
    server.folder.load("acme.i3lic", file.into_bytes()).await.unwrap();

    let revoked = |from| RevokedKey { sha256: acme.issuing.public().sha256(), from };
    let ahead = acme.root_with(2, &[revoked(WallTime::PERPETUAL_END)], WallTime::PERPETUAL_END);
    fs::write(house.path("two.i3root"), ahead).unwrap();
    server.entry("two.i3root", EntryState::Accepted).await;
    let entry = server.entry("acme.i3lic", EntryState::Accepted).await;
    assert!(
        entry.message.contains("Its key is revoked, and it counts until 2100-01-01T00:00:00Z"),
        "{}",
        entry.message
    );

    let now = acme.root_with(3, &[revoked(WallTime::default())], WallTime::PERPETUAL_END);
    fs::write(house.path("three.i3root"), now).unwrap();
    let entry = server.entry("acme.i3lic", EntryState::Refused).await;
    assert_eq!(entry.reason, "key-revoked");
    let pools = server.core.read(|engine, now| engine.pools(now, None, None).unwrap()).await.unwrap();
    let granted =
        pools.iter().any(|pool| pool.name.to_string() == "I3_ACCESS_CLIENT" && pool.capacity != Units::Count(0));
    assert!(!granted, "{pools:?}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_root_that_expires_is_told_ahead_and_afterwards() {
    for (expires, reason) in [
        (WallTime::from_ms(1_700_000_000_000), Some("ROOT_EXPIRED")),
        (Clock::system().trusted().plus_ms(3 * 86_400_000), Some("ROOT_EXPIRES_SOON")),
        (WallTime::PERPETUAL_END, None),
    ] {
        let expires = WallTime::from_ms(expires.as_ms() / 1_000 * 1_000);
        let root = Roots::of_seed(1).root_with(1, &[], expires);
        let house = House::trusting(&root, DevLicensor::from_seed(&[7; 32]).unwrap());
        let server = house.start();
        server.folder.judged().await;
        assert_eq!(server.folder.notices().first().map(|(reason, _)| *reason), reason);
        server.stop().await;
    }
}
