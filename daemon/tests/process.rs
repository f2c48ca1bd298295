//! The daemon as a process: ready, reload, drain, exit codes, a crash, and a disk whose syncs fail. Everything waits on
//! what the daemon says; nothing sleeps.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    net::TcpListener,
    os::unix::net::{UnixDatagram, UnixStream},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::OnceLock,
    time::Duration,
};

use leasehold_keys::dev::DevLicensor;
use rusqlite::Connection;
use tempfile::TempDir;

/// Nothing here takes so long unless it hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// A shim that makes syncs fail while the file named by FAIL_SYNC is there.
const SHIM: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>
static int failing(void) { const char *f = getenv("FAIL_SYNC"); return f && access(f, F_OK) == 0; }
int fsync(int fd) {
  int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
  if (failing()) { errno = EIO; return -1; }
  return real(fd);
}
int fdatasync(int fd) {
  int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
  if (failing()) { errno = EIO; return -1; }
  return real(fd);
}
"#;

fn shim() -> &'static Path {
    static SHIM_FILE: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = SHIM_FILE.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let (source, object) = (dir.path().join("shim.c"), dir.path().join("shim.so"));
        fs::write(&source, SHIM).unwrap();
        let built = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&object).arg(&source).arg("-ldl").status();
        assert!(built.unwrap().success(), "a C compiler is needed to build the daemon anyway");
        (dir, object)
    });
    path
}

/// Where a daemon runs, over its restarts.
struct Site {
    dir: TempDir,
}

impl Site {
    fn new() -> Self {
        let site = Self { dir: tempfile::tempdir().unwrap() };
        let licensor = DevLicensor::from_seed(&[7; 32]).unwrap();
        fs::write(site.path("root"), licensor.root()).unwrap();
        fs::create_dir(site.path("licenses")).unwrap();
        site.configure("");
        site.set_time(0);
        site
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn configure(&self, more: &str) {
        let at = |name| self.path(name).display().to_string();
        let text = format!(
            "state_dir = {:?}\nfolder = {:?}\nroot = {:?}\n[listen]\ntcp = []\nunix = {:?}\n{more}",
            at("state"),
            at("licenses"),
            at("root"),
            at("socket")
        );
        fs::write(self.path("leaseholdd.toml"), text).unwrap();
    }

    fn set_time(&self, ms: i64) {
        let new = self.path("clock.new");
        fs::write(&new, format!("{ms} {}", 1_795_400_000_000 + ms)).unwrap();
        fs::rename(new, self.path("clock")).unwrap();
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_leaseholdd"));
        command.env_remove("NOTIFY_SOCKET").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        command
    }

    fn start(&self) -> Daemon {
        let notify = self.path("notify");
        let _ = fs::remove_file(&notify);
        let said = UnixDatagram::bind(&notify).unwrap();
        said.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut command = self.command();
        command.arg("run").arg("--config").arg(self.path("leaseholdd.toml"));
        command.arg("--manual-clock").arg(self.path("clock"));
        command.env("NOTIFY_SOCKET", &notify).env("LD_PRELOAD", shim()).env("FAIL_SYNC", self.path("fail-sync"));
        Daemon { child: command.spawn().unwrap(), said }
    }

    /// What `run` or another command says and how it ends, where it ends by itself.
    fn refused(&self, arguments: &[&str]) -> (i32, String) {
        let output = self.command().args(arguments).arg("--config").arg(self.path("leaseholdd.toml")).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    }
}

struct Daemon {
    child: Child,
    said: UnixDatagram,
}

impl Daemon {
    /// Waits until the service manager hears this.
    fn until(&self, wanted: &str) {
        let mut heard = Vec::new();
        let mut buffer = [0; 4_096];
        loop {
            let Ok(length) = self.said.recv(&mut buffer) else { panic!("`{wanted}` was not said, but {heard:?}") };
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if text.contains(wanted) {
                return;
            }
            assert!(!(text.contains("READY=1") && wanted.contains("renewing only")), "{text}");
            heard.push(text);
        }
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Everything that it has written since, to its end.
    fn end(mut self) -> (ExitStatus, String) {
        let mut log = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        (self.child.wait().unwrap(), log)
    }

    /// Reads its log up to a line with these words.
    fn read_until(&mut self, words: &str) -> String {
        let mut lines = BufReader::new(self.child.stderr.as_mut().unwrap());
        loop {
            let mut line = String::new();
            assert_ne!(lines.read_line(&mut line).unwrap(), 0, "the log ended without `{words}`");
            if line.contains(words) {
                return line;
            }
        }
    }

    fn stop(self) -> (ExitStatus, String) {
        self.signal(rustix::process::Signal::TERM);
        self.end()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn it_says_ready_and_stopping_and_leaves_everything_in_one_file() {
    let site = Site::new();
    let daemon = site.start();
    daemon.until("READY=1");
    assert!(site.path("socket").exists());
    daemon.signal(rustix::process::Signal::TERM);
    daemon.until("STOPPING=1");
    let (status, log) = daemon.end();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(site.path("state/leasehold.db").exists());
    assert!(!site.path("state/leasehold.db-wal").exists(), "the log was brought in and is gone");
    assert!(!site.path("socket").exists());
}

#[test]
fn a_second_daemon_on_the_same_state_is_refused_and_told_by_whom() {
    let site = Site::new();
    let daemon = site.start();
    daemon.until("READY=1");
    let (code, said) = site.refused(&["run"]);
    assert_eq!(code, 4, "{said}");
    assert!(said.contains(&format!("process {}", daemon.child.id())), "{said}");
}

#[test]
fn an_address_in_use_is_named() {
    let site = Site::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let text = fs::read_to_string(site.path("leaseholdd.toml")).unwrap();
    fs::write(site.path("leaseholdd.toml"), text.replace("tcp = []", &format!("tcp = [{address:?}]"))).unwrap();
    let (code, said) = site.refused(&["run"]);
    assert_eq!(code, 5, "{said}");
    assert!(said.contains(&address), "{said}");
    assert!(!site.path("state/leasehold.db").exists(), "nothing was changed");
}

#[test]
fn faults_of_the_configuration_are_told_all_at_once() {
    let site = Site::new();
    site.configure("[limits]\nqueue = 1\nwater = 2\n");
    for command in ["run", "check-config"] {
        let (code, said) = site.refused(&[command]);
        assert_eq!(code, 3, "{said}");
        assert!(said.contains("`limits.queue`") && said.contains("`limits.water`"), "{said}");
    }
    site.configure("");
    assert_eq!(site.refused(&["check-config"]), (0, String::new()));
}

#[test]
fn a_database_of_a_newer_version_is_refused() {
    let site = Site::new();
    let daemon = site.start();
    daemon.until("READY=1");
    daemon.stop();
    Connection::open(site.path("state/leasehold.db")).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let (code, said) = site.refused(&["run"]);
    assert_eq!(code, 4, "{said}");
    assert!(said.contains("a newer version has written it"), "{said}");
}

#[test]
fn a_reload_takes_over_the_filter_and_names_what_needs_a_restart() {
    let site = Site::new();
    let mut daemon = site.start();
    daemon.until("READY=1");
    site.configure("unix_mode = \"0600\"\n[log]\nfilter = \"warn\"\n");
    daemon.signal(rustix::process::Signal::HUP);
    let line = daemon.read_until("a restart is needed");
    assert!(line.contains("listen.unix_mode") && !line.contains("log.filter"), "{line}");
    site.configure("unix_mode = \"9\"\n");
    daemon.signal(rustix::process::Signal::HUP);
    daemon.read_until("nothing was reloaded");
    assert_eq!(daemon.stop().0.code(), Some(0));
}

/// 08, Security: what tonic does not limit by itself is limited as the configuration says.
#[test]
fn a_connection_that_asks_nothing_is_closed_when_the_configuration_says() {
    let site = Site::new();
    site.configure("[limits]\nfirst_request_ms = 1000\n");
    let daemon = site.start();
    daemon.until("READY=1");
    let mut silent = UnixStream::connect(site.path("socket")).unwrap();
    silent.set_read_timeout(Some(PATIENCE / 10)).unwrap();
    // The server says its own settings, and then that it is the end.
    silent.read_to_end(&mut Vec::new()).expect("closed long before the default of ten seconds");
    daemon.stop();
}

#[test]
fn after_a_crash_it_goes_on_from_what_was_stored() {
    let site = Site::new();
    let daemon = site.start();
    daemon.until("READY=1");
    site.set_time(61_000);
    let mark = || -> i64 {
        let db = Connection::open(site.path("state/leasehold.db")).unwrap();
        db.query_row("SELECT lease_time_ms FROM meta", [], |row| row.get(0)).unwrap()
    };
    while mark() < 61_000 {}
    drop(daemon);
    assert!(fs::metadata(site.path("state/leasehold.db-wal")).unwrap().len() > 0, "it was killed, not stopped");
    let daemon = site.start();
    daemon.until("READY=1");
    let (status, log) = daemon.stop();
    assert_eq!(status.code(), Some(0));
    assert!(log.contains("unclean=true"), "{log}");
    assert!(mark() >= 61_000);
}

/// LEASE-11: what is on disk is not known then, so the process ends; its successor reads it.
#[test]
fn a_failed_sync_ends_the_process_with_a_code_and_words() {
    let site = Site::new();
    let daemon = site.start();
    daemon.until("READY=1");
    fs::write(site.path("fail-sync"), "").unwrap();
    // The mark is due.
    site.set_time(61_000);
    let (status, log) = daemon.end();
    assert_eq!(status.code(), Some(6), "{log}");
    assert!(log.contains("leaves open what is on disk"), "{log}");
    fs::remove_file(site.path("fail-sync")).unwrap();
    let daemon = site.start();
    daemon.until("READY=1");
    assert_eq!(daemon.stop().0.code(), Some(0));
}

/// LEASE-11: after a stop in the middle nothing is granted before what is on disk was checkpointed; until then renewals
/// are served.
#[test]
fn what_a_crash_left_and_cannot_be_settled_means_renewals_only() {
    let site = Site::new();
    let daemon = site.start();
    daemon.until("READY=1");
    drop(daemon);
    fs::write(site.path("fail-sync"), "").unwrap();
    let daemon = site.start();
    daemon.until("renewing only");
    assert!(site.path("socket").exists());
    fs::remove_file(site.path("fail-sync")).unwrap();
    site.set_time(30_000);
    daemon.until("READY=1");
    assert_eq!(daemon.stop().0.code(), Some(0));
}
