//! The folder against a real one: hostile content, torn copies, roots in any order, notes. Time is given, and the
//! engine's verdicts are the simplest ones; its own rules are tested where they live.

mod notes;
mod roots;
mod with_core;

use std::{
    fs,
    os::unix::{ffi::OsStrExt as _, fs::symlink},
    path::PathBuf,
    sync::Arc,
};

use leasehold_engine::{
    command::FolderFile,
    decision::{FileVerdict, Taken},
    refusal::FileRefusal,
    time::{LeaseTime, Now},
};
use leasehold_keys::{activation::HostRole, dev::DevLicensor, time::WallTime};
use tempfile::TempDir;

use super::{
    entry::{EntryState, FolderView},
    inspector::Inspector,
    judge::{Accepted, AcceptedFile},
    look::{FILES_MAX, REST_MS},
};
use crate::{
    identity::{Identity, tests as identity},
    test_site::terms,
    trust_store::TrustStore,
};

/// A server with a watched folder and a licensor.
struct Site {
    dir: TempDir,
    inspector: Inspector,
    identity: Arc<Identity>,
    licensor: DevLicensor,
    now_ms: u64,
    wall: WallTime,
    unconfirmed_ms: u64,
    accepted: Accepted,
    /// What was last given to the engine.
    asked: Vec<FolderFile>,
    refuse: Option<FileRefusal>,
}

impl Site {
    fn new() -> Self {
        let licensor = DevLicensor::from_seed(&[7; 32]).unwrap();
        let root = licensor.root().to_vec();
        Self::trusting(&root, licensor)
    }

    fn trusting(root: &[u8], licensor: DevLicensor) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for folder in ["watched", "state"] {
            fs::create_dir(dir.path().join(folder)).unwrap();
        }
        let (state, anchor) = (dir.path().join("state"), dir.path().join("anchor"));
        fs::write(&anchor, root).unwrap();
        let trust = TrustStore::open(&state, Some(&anchor)).unwrap();
        let facts = identity::facts("4c4c4544-0051-4810-8052-b4c04f4d3132");
        let identity = Arc::new(Identity::with_facts(&state, facts, "acd-1".parse().unwrap()).unwrap());
        let inspector = Inspector::new(dir.path().join("watched"), &state, trust, identity.clone());
        Self {
            dir,
            inspector,
            identity,
            licensor,
            now_ms: 1_000,
            wall: "2026-11-22T04:20:00Z".parse().unwrap(),
            unconfirmed_ms: 0,
            accepted: Accepted::default(),
            asked: Vec::new(),
            refuse: None,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("watched").join(name)
    }

    fn put(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path(name), bytes).unwrap();
    }

    /// A good file for this host.
    fn file(&self, sequence: u32) -> Vec<u8> {
        let mut terms = terms(sequence, &[("I3_ACCESS_CLIENT", 5)]);
        terms.hosts = vec![identity::line(HostRole::Primary, self.identity.host_id())];
        self.licensor.issue(&terms).unwrap()
    }

    /// One look, with every file taken unless `refuse` says otherwise; true where there was news.
    fn look(&mut self) -> bool {
        let Ok(look) = self.inspector.look(self.now_ms, &self.accepted) else {
            return false;
        };
        let now = Now { lease: LeaseTime::from_ms(self.now_ms), wall: self.wall, unconfirmed_ms: self.unconfirmed_ms };
        let inspection = self.inspector.judge(look, now, &self.accepted);
        self.asked.clone_from(&inspection.files);
        let verdicts: Vec<FileVerdict> = inspection
            .files
            .iter()
            .map(|file| FileVerdict {
                name: file.name.clone(),
                verdict: self.refuse.clone().map_or(Ok(Taken::Accepted), Err),
            })
            .collect();
        self.inspector.conclude(inspection, &verdicts, self.wall);
        if self.refuse.is_none() {
            let taken = self.asked.iter().map(|file| AcceptedFile {
                name: file.name.clone(),
                license: file.terms.license_id,
                rank: (file.terms.key_epoch(), file.terms.sequence),
                sha256: file.terms.sha256(),
                terms: file.terms.clone(),
            });
            self.accepted = Accepted(taken.collect());
        }
        true
    }

    /// A look, and another when everything that lay still has rested.
    fn settle(&mut self) -> Arc<FolderView> {
        self.look();
        self.later(REST_MS);
        self.inspector.view()
    }

    fn later(&mut self, ms: u64) -> bool {
        self.now_ms += ms;
        self.look()
    }

    /// State and reason of a name; empty where the name is not shown.
    fn fate(&self, name: &str) -> (&'static str, String) {
        let view = self.inspector.view();
        let found = view.entries.iter().find(|entry| entry.name == name);
        found.map_or(("", String::new()), |entry| (entry.state.as_str(), entry.reason.to_string()))
    }

    fn message(&self, name: &str) -> String {
        let view = self.inspector.view();
        view.entries.iter().find(|entry| entry.name == name).map_or_else(String::new, |entry| entry.message.clone())
    }

    fn note(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.path(&format!("{name}.rejected.txt"))).ok()
    }

    fn asked(&self) -> Vec<&str> {
        self.asked.iter().map(|file| file.name.as_str()).collect()
    }
}

fn accepted() -> (&'static str, String) {
    ("accepted", String::new())
}

fn refused(reason: &str) -> (&'static str, String) {
    ("refused", reason.to_owned())
}

#[test]
fn a_file_counts_once_it_rests() {
    let mut site = Site::new();
    site.put("acme.I3Lic", &site.file(1));
    assert!(site.look());
    assert_eq!(site.fate("acme.I3Lic").0, "waiting");
    assert!(!site.later(REST_MS - 1), "nothing new before it has rested");
    site.later(1);
    assert_eq!(site.fate("acme.I3Lic"), accepted());
    assert_eq!(site.asked(), ["acme.I3Lic"]);
}

#[test]
fn a_file_that_was_accepted_before_need_not_rest_again() {
    let mut site = Site::new();
    let bytes = site.file(1);
    site.put("acme.i3lic", &bytes);
    site.settle();
    fs::remove_file(site.path("acme.i3lic")).unwrap();
    site.put("acme.i3lic", &bytes);
    site.later(10);
    assert_eq!(site.fate("acme.i3lic"), accepted());
}

#[test]
fn hostile_content_is_refused_and_disturbs_nothing() {
    let mut site = Site::new();
    site.put("good.i3lic", &site.file(1));
    let make_fifo = |name: &str| {
        use rustix::fs::{CWD, FileType, Mode, mknodat};
        mknodat(CWD, site.path(name), FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    };
    make_fifo("fifo.i3lic");
    make_fifo("fifo.i3root");
    symlink("/dev/zero", site.path("zero.i3lic")).unwrap();
    symlink("nowhere", site.path("dangling.i3lic")).unwrap();
    symlink("good.i3lic", site.path("link.i3lic")).unwrap();
    fs::create_dir(site.path("folder.i3lic")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(site.path("socket.i3lic")).unwrap();
    site.put("empty.i3lic", b"");
    site.put("big.i3lic", &vec![b'x'; 128 * 1_024 + 1]);
    site.put("zeros.i3lic", &[0; 4_096]);
    let sparse = fs::File::create(site.path("sparse.i3lic")).unwrap();
    sparse.set_len(1 << 40).unwrap();
    fs::write(site.path("two\nlines.i3lic"), site.file(1)).unwrap();
    let not_text = std::ffi::OsStr::from_bytes(b"\xff\xfe.i3lic");
    fs::write(site.dir.path().join("watched").join(not_text), b"x").unwrap();
    for ignored in [".hidden.i3lic", "acme.i3lic~", "acme.i3lic.swp", "acme.i3lic.part", "notes.txt"] {
        site.put(ignored, b"draft");
    }

    site.settle();

    assert_eq!(site.fate("good.i3lic"), accepted());
    for (name, reason) in [
        ("fifo.i3lic", "not-a-regular-file"),
        ("fifo.i3root", "not-a-regular-file"),
        ("zero.i3lic", "not-a-regular-file"),
        ("dangling.i3lic", "not-a-regular-file"),
        ("link.i3lic", "not-a-regular-file"),
        ("folder.i3lic", "not-a-regular-file"),
        ("socket.i3lic", "not-a-regular-file"),
        ("empty.i3lic", "empty"),
        ("big.i3lic", "too-large"),
        ("sparse.i3lic", "too-large"),
        ("zeros.i3lic", "control-character"),
        ("two\\u{a}lines.i3lic", "bad-name"),
        ("\u{fffd}\u{fffd}.i3lic", "bad-name"),
    ] {
        assert_eq!(site.fate(name), refused(reason), "{name}");
    }
    assert_eq!(site.fate("notes.txt").0, "ignored");
    assert_eq!(site.inspector.view().entries.len(), 15);
    assert_eq!(site.asked(), ["good.i3lic"]);
    let note = site.note("folder.i3lic").unwrap();
    assert!(note.contains("This is a folder, not a regular file. Put the file itself there"), "{note}");
}

#[test]
fn a_file_that_cannot_be_read_says_so() {
    use std::os::unix::fs::PermissionsExt as _;
    let mut site = Site::new();
    site.put("secret.i3lic", &site.file(1));
    fs::set_permissions(site.path("secret.i3lic"), fs::Permissions::from_mode(0o000)).unwrap();
    site.settle();
    // Root reads everything.
    let expected = if rustix::process::geteuid().is_root() { accepted() } else { refused("unreadable") };
    assert_eq!(site.fate("secret.i3lic"), expected);
}

#[test]
fn a_torn_copy_waits_and_is_judged_when_it_is_whole() {
    let mut site = Site::new();
    let bytes = site.file(1);
    site.put("acme.i3lic", &bytes[..bytes.len() / 2]);
    site.look();
    for part in [bytes.len() / 2 + 10, bytes.len() - 1] {
        site.put("acme.i3lic", &bytes[..part]);
        site.later(200);
        assert_eq!(site.fate("acme.i3lic").0, "waiting");
    }
    assert_eq!(site.note("acme.i3lic"), None);
    site.put("acme.i3lic", &bytes);
    site.later(200);
    site.later(REST_MS);
    assert_eq!(site.fate("acme.i3lic"), accepted());
}

#[test]
fn a_torn_copy_that_rests_is_refused_until_it_is_completed() {
    let mut site = Site::new();
    let bytes = site.file(1);
    site.put("acme.i3lic", &bytes[..bytes.len() / 2]);
    site.settle();
    assert_eq!(site.fate("acme.i3lic").0, "refused");
    assert!(site.note("acme.i3lic").unwrap().starts_with("Leasehold refused acme.i3lic."));
    site.put("acme.i3lic", &bytes);
    site.settle();
    assert_eq!(site.fate("acme.i3lic"), accepted());
    assert_eq!(site.note("acme.i3lic"), None);
}

#[test]
fn what_a_name_gave_goes_on_while_it_is_being_replaced() {
    let mut site = Site::new();
    site.put("acme.i3lic", &site.file(1));
    site.settle();
    let next = site.file(2);
    site.put("acme.i3lic", &next[..100]);
    site.later(10);
    assert_eq!(site.fate("acme.i3lic").0, "waiting");
    assert_eq!(site.asked.iter().map(|file| file.terms.sequence).collect::<Vec<_>>(), [1]);
    site.put("acme.i3lic", &next);
    site.settle();
    assert_eq!(site.asked.iter().map(|file| file.terms.sequence).collect::<Vec<_>>(), [2]);
}

#[test]
fn a_file_that_never_rests_is_refused_in_the_end() {
    let mut site = Site::new();
    for length in 0..70 {
        site.put("log.i3lic", &vec![b'x'; length + 1]);
        site.later(1_000);
    }
    assert_eq!(site.fate("log.i3lic"), refused("still-changing"));
    site.settle();
    assert_eq!(site.fate("log.i3lic"), refused("no-blank-line"));
}

#[test]
fn a_forged_file_is_refused_and_takes_nothing_away() {
    let mut site = Site::new();
    let good = site.file(1);
    site.put("acme.i3lic", &good);
    site.settle();
    let text = String::from_utf8(site.file(2)).unwrap();
    site.put("forged.i3lic", text.replace("units = 5", "units = 500").as_bytes());
    site.put("thief.i3lic", &DevLicensor::from_seed(&[8; 32]).unwrap().issue(&terms(9, &[])).unwrap());
    site.settle();
    assert_ne!(text, text.replace("units = 5", "units = 500"), "the forgery changes something");
    assert_eq!(site.fate("forged.i3lic"), refused("bad-signature"));
    assert_eq!(site.fate("thief.i3lic"), refused("wrong-key-id"));
    assert_eq!(site.asked(), ["acme.i3lic"]);
    let note = site.note("forged.i3lic").unwrap();
    assert!(note.contains("the file was changed, or it is forged. Copy the file again"), "{note}");
}

#[test]
fn a_file_of_another_host_says_what_differs() {
    let mut site = Site::new();
    let mut terms = terms(1, &[("I3_ACCESS_CLIENT", 5)]);
    let elsewhere = tempfile::tempdir().unwrap();
    let other = identity::open(&elsewhere, identity::facts("9999aaaa-0001-4810-8052-b4c04f4d3132"));
    let mut line = identity::line(HostRole::Primary, other.host_id());
    line.need = 5;
    terms.hosts = vec![line];
    site.put("other.i3lic", &site.licensor.issue(&terms).unwrap());
    site.settle();
    let found = &site.asked[0].host;
    let leasehold_engine::command::HostFinding::Other(words) = found else { panic!("{found:?}") };
    assert!(words.contains("3 of 5 facts are the same here and 5 are needed"), "{words}");
    assert!(words.contains("platform changed, system same, disk same, installation changed, network same"), "{words}");
}

#[test]
fn one_content_under_two_names_is_one_file() {
    let mut site = Site::new();
    let bytes = site.file(1);
    site.put("a.i3lic", &bytes);
    site.put("b.i3lic", &bytes);
    site.settle();
    assert_eq!((site.fate("a.i3lic"), site.fate("b.i3lic")), (accepted(), accepted()));
    assert_eq!(site.asked(), ["a.i3lic"]);
    fs::remove_file(site.path("a.i3lic")).unwrap();
    site.later(1_000);
    assert_eq!(site.asked(), ["b.i3lic"]);
}

#[test]
fn a_folder_that_is_gone_is_told_and_comes_back() {
    let mut site = Site::new();
    site.put("acme.i3lic", &site.file(1));
    site.settle();
    let (folder, away) = (site.dir.path().join("watched"), site.dir.path().join("away"));
    fs::rename(&folder, &away).unwrap();
    let kept = site.accepted.clone();
    site.later(1_000);
    assert!(site.inspector.view().fault.as_deref().unwrap().contains("go on for 72 hours"));
    assert_eq!(site.asked().len(), 0);
    fs::rename(&away, &folder).unwrap();
    // The engine still knows the file.
    site.accepted = kept;
    site.later(1_000);
    assert_eq!((site.inspector.view().fault.clone(), site.fate("acme.i3lic")), (None, accepted()));
}

#[test]
fn a_folder_too_full_keeps_what_was_accepted() {
    let mut site = Site::new();
    site.put("zz.i3lic", &site.file(1));
    site.settle();
    for number in 0..FILES_MAX {
        site.put(&format!("{number:04}.i3lic"), b"x");
    }
    site.settle();
    assert_eq!(site.fate("zz.i3lic"), accepted());
    let full = site.inspector.view().entries.iter().filter(|entry| entry.reason == "folder-full").count();
    assert_eq!(full, 1);
}

#[test]
fn a_closing_file_leaves_a_receipt() {
    let mut site = Site::new();
    let mut closing = terms(5, &[]);
    closing.hosts = vec![identity::line(HostRole::Primary, site.identity.host_id())];
    let closing = site.licensor.issue(&closing).unwrap();
    site.put("base.i3lic", &site.file(4));
    site.settle();
    site.put("close.i3lic", &closing);
    site.settle();
    assert_eq!(site.fate("close.i3lic"), accepted());
    let receipts: Vec<_> =
        fs::read_dir(site.dir.path().join("state/receipts")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(receipts.len(), 1);
    assert!(site.message("close.i3lic").ends_with(&format!("Send {} to the licensor.", receipts[0].display())));
}

#[test]
fn a_closing_file_of_a_license_that_never_ran_here_leaves_no_receipt() {
    let mut site = Site::new();
    let mut closing = terms(5, &[]);
    let elsewhere = tempfile::tempdir().unwrap();
    let other = identity::open(&elsewhere, identity::facts("9999aaaa-0001-4810-8052-b4c04f4d3132"));
    let mut line = identity::line(HostRole::Primary, other.host_id());
    line.need = 5;
    closing.hosts = vec![line];
    site.put("close.i3lic", &site.licensor.issue(&closing).unwrap());
    site.settle();
    assert_eq!(site.fate("close.i3lic"), accepted());
    let message = site.message("close.i3lic");
    assert!(message.contains("No receipt of it is here") && !message.contains("72 h"), "{message}");
    assert!(!site.dir.path().join("state/receipts").exists());
}

#[test]
fn a_spoilt_file_does_not_take_the_accepted_one_of_its_name_away() {
    let mut site = Site::new();
    let good = site.file(2);
    site.put("acme.i3lic", &good);
    site.settle();
    site.put("acme.i3lic", &good[..200]);
    site.settle();
    assert_eq!(site.fate("acme.i3lic").0, "refused");
    assert_eq!(site.asked.iter().map(|file| file.terms.sequence).collect::<Vec<_>>(), [2]);
    let told = "The file that was accepted under this name runs on from the copy that is kept.";
    assert!(site.message("acme.i3lic").contains(told));
    assert!(site.note("acme.i3lic").unwrap().contains(told));
    // A good file in its place is another matter: what it displaces is gone, and that is told.
    site.refuse = Some(FileRefusal::RolledBack { offered: 1, accepted: 2 });
    site.put("acme.i3lic", &site.file(1));
    site.settle();
    assert_eq!(site.asked.iter().map(|file| file.terms.sequence).collect::<Vec<_>>(), [1]);
    assert!(site.note("acme.i3lic").unwrap().contains("runs on for 72 hours"), "{:?}", site.note("acme.i3lic"));
}

#[test]
fn a_root_under_a_license_files_name_is_told_its_own() {
    let mut site = Site::new();
    site.put("root.i3lic", site.licensor.root());
    site.put("root.note", site.licensor.root());
    site.settle();
    assert!(site.message("root.i3lic").contains("rename it to end in .i3root"), "{}", site.message("root.i3lic"));
    assert_eq!((site.fate("root.note").0, site.note("root.note")), ("ignored", None));
    assert!(site.message("root.note").contains(".i3root"));
}

#[test]
fn nothing_new_asks_nothing() {
    let mut site = Site::new();
    site.put("acme.i3lic", &site.file(1));
    site.settle();
    assert!(!site.later(1_000));
    assert!(site.later(61_000), "keys begin and end to count, so all is judged again each minute");
    assert_eq!(site.inspector.view().entries[0].state, EntryState::Accepted);
}
