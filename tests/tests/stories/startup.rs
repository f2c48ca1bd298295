//! Daemons that must not come up: each says which file, what is wrong, and what to do, and changes nothing.

use std::{fs, net::TcpListener, os::unix::fs::PermissionsExt as _};

use leasehold_tests::{Ask, Daemon, Site};
use rusqlite::Connection;

const CALLS: &str = "I3_SESSION_CALL";
/// `leaseholdd --help` lists them.
const CONFIGURATION: Option<i32> = Some(3);
const STATE: Option<i32> = Some(4);
const LISTEN: Option<i32> = Some(5);

/// A state directory that another daemon holds: the second one names the first, which never notices.
#[tokio::test]
async fn a_second_daemon_is_told_who_was_first() {
    let site = Site::new();
    let daemon = Daemon::start(&site).await;
    daemon.admin().await.load("base.i3lic", &site.issue(&site.order_of(&[(CALLS, 1)])).note).await;
    let app = daemon.app("acd").await;
    let lease = app.acquire(Ask::units(CALLS, 1)).await.unwrap();
    let refused = Daemon::fails(&site).await;
    assert_eq!(refused.code, STATE, "{}", refused.log);
    assert!(refused.log.contains(&format!("process {}", daemon.pid())), "{}", refused.log);
    app.renew_one(lease.lease_id).await.expect("the first one never noticed");
    assert!(site.socket().exists());
}

/// A state directory that cannot be written: /proc is so for everyone, root too.
#[tokio::test]
async fn a_state_directory_that_cannot_be_written_is_refused() {
    let site = Site::new();
    site.use_state("/proc/self");
    let refused = Daemon::fails(&site).await;
    assert_eq!(refused.code, STATE, "{}", refused.log);
    assert!(refused.log.contains("/proc/self") && refused.log.contains("state directory"), "{}", refused.log);
    site.use_state("/proc/leasehold");
    let refused = Daemon::fails(&site).await;
    assert_eq!(refused.code, STATE, "{}", refused.log);
    assert!(refused.log.contains("install -d -m 0700"), "what to do: {}", refused.log);
}

/// A database of a newer version is left as it is.
#[tokio::test]
async fn a_database_from_a_newer_version_is_refused() {
    let site = Site::new();
    Daemon::start(&site).await.stop().await;
    let path = site.state().join("leasehold.db");
    let db = Connection::open(&path).unwrap();
    db.pragma_update(None, "user_version", 4_711).unwrap();
    drop(db);
    let before = fs::read(&path).unwrap();
    let refused = Daemon::fails(&site).await;
    assert_eq!(refused.code, STATE, "{}", refused.log);
    for words in ["4711", "newer version", "leasehold.db"] {
        assert!(refused.log.contains(words), "{words} in {}", refused.log);
    }
    assert_eq!(fs::read(&path).unwrap(), before);
}

/// A database that is damaged: what it says to do brings the daemon back, from a snapshot with everything in it.
#[tokio::test]
async fn a_damaged_database_says_how_to_recover() {
    let site = Site::new();
    let daemon = Daemon::start(&site).await;
    let admin = daemon.admin().await;
    admin.load("base.i3lic", &site.issue(&site.order_of(&[(CALLS, 7)])).note).await;
    admin.agents(200, "concurrent").await;
    daemon.stop().await;
    let path = site.state().join("leasehold.db");
    let whole = fs::read(&path).unwrap();

    // No copy yet: it says what is lost without one.
    let mut bytes = whole.clone();
    bytes[16..].fill(0x5a);
    fs::write(&path, &bytes).unwrap();
    let refused = Daemon::fails(&site).await;
    assert_eq!(refused.code, STATE, "{}", refused.log);
    assert!(refused.log.contains("damaged") && refused.log.contains("There is no copy"), "{}", refused.log);
    assert_eq!(fs::read(&path).unwrap(), bytes, "it is left as it is");

    fs::write(&path, &whole).unwrap();
    let daemon = Daemon::start(&site).await;
    leasehold_tests::programs::leasehold(&site.socket(), ["db", "snapshot", "before.db"]).done();
    daemon.stop().await;
    fs::write(&path, &bytes).unwrap();
    let refused = Daemon::fails(&site).await;
    assert!(refused.log.contains("before.db") && refused.log.contains("install -o "), "{}", refused.log);

    for name in ["leasehold.db", "leasehold.db-wal", "leasehold.db-shm"] {
        let _ = fs::remove_file(site.state().join(name));
    }
    fs::copy(site.state().join("snapshots/before.db"), &path).unwrap();
    let daemon = Daemon::start(&site).await;
    let admin = daemon.admin().await;
    assert_eq!(admin.pool(CALLS).await.capacity, "7");
    assert_eq!(admin.status().await.users, 200);
}

/// Not a database at all, and one of another program.
#[tokio::test]
async fn a_foreign_database_is_not_touched() {
    let site = Site::new();
    let path = site.state().join("leasehold.db");
    let db = Connection::open(&path).unwrap();
    db.execute_batch("CREATE TABLE songs (title TEXT); INSERT INTO songs VALUES ('a');").unwrap();
    drop(db);
    let refused = Daemon::fails(&site).await;
    assert_eq!(refused.code, STATE, "{}", refused.log);
    assert!(refused.log.contains("not a database of leaseholdd"), "{}", refused.log);
    let db = Connection::open(&path).unwrap();
    assert_eq!(db.query_row("SELECT count(*) FROM songs", [], |row| row.get::<_, i64>(0)).unwrap(), 1);
}

/// A port in use is named.
#[tokio::test]
async fn a_port_in_use_is_named() {
    let site = Site::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    site.use_port(taken.local_addr().unwrap().port());
    let refused = Daemon::fails(&site).await;
    assert_eq!(refused.code, LISTEN, "{}", refused.log);
    assert!(refused.log.contains(&format!("127.0.0.1:{}", site.port())), "{}", refused.log);
    assert!(!site.state().join("leasehold.db").exists(), "a daemon that cannot listen changes nothing");
    drop(taken);
    Daemon::start(&site).await;
}

/// All faults of the configuration at once, each with its place and what is allowed.
#[tokio::test]
async fn configuration_faults_come_all_at_once() {
    let site = Site::new();
    site.configure("[limits]\nqueue = 1\nconnections = \"many\"\n[nonsense]\nword = 1\n");
    let refused = Daemon::fails(&site).await;
    assert_eq!(refused.code, CONFIGURATION, "{}", refused.log);
    for words in ["limits.queue", "1,024 to", "limits.connections", "\"many\" was found", "nonsense.word", "line "] {
        assert!(refused.log.contains(words), "{words} in {}", refused.log);
    }
    assert!(refused.log.contains("3 faults"), "{}", refused.log);
}

/// A root that is missing, and one that is none: without an anchor nothing starts.
#[tokio::test]
async fn without_a_root_nothing_starts() {
    let site = Site::new();
    fs::write(site.dir().join("licensor/root.i3root"), "not a root\n").unwrap();
    let refused = Daemon::fails(&site).await;
    assert_eq!(refused.code, CONFIGURATION, "{}", refused.log);
    assert!(refused.log.contains("root"), "{}", refused.log);
    fs::remove_file(site.dir().join("licensor/root.i3root")).unwrap();
    let refused = Daemon::fails(&site).await;
    assert_eq!(refused.code, CONFIGURATION, "{}", refused.log);
}

/// The state directory is closed to others at the start.
#[tokio::test]
async fn the_state_directory_is_closed_to_others() {
    let site = Site::new();
    fs::set_permissions(site.state(), fs::Permissions::from_mode(0o755)).unwrap();
    let daemon = Daemon::start(&site).await;
    daemon.logged(&["was open to others"]).await;
    assert_eq!(fs::metadata(site.state()).unwrap().permissions().mode() & 0o7777, 0o700);
    for name in ["leasehold.db", "installation.key", "lock"] {
        let mode = fs::metadata(site.state().join(name)).unwrap().permissions().mode() & 0o077;
        assert_eq!(mode, 0, "{name}");
    }
}
