//! A vendor's desk: a licensor in a folder of its own, machines that ask, and the program run as a vendor runs it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use leasehold_keys::{
    activation::{Activation, HostRole},
    digest::Sha256,
    host::{HostFacts, HostId},
    installation::InstallationKey,
    name::Label,
    receipt::DeactivationReceipt,
    request::{self, HostRequest},
    time::WallTime,
};
use licensor::{
    order::{HostOrder, IssueOrder},
    vault::Protection,
    workshop::{CreateOptions, Workshop},
};

/// A moment at which nothing is special.
pub(crate) fn noon() -> WallTime {
    "2026-11-22T12:34:56Z".parse().unwrap()
}

pub(crate) fn time(text: &str) -> WallTime {
    text.parse().unwrap()
}

pub(crate) fn label(text: &str) -> Label {
    text.parse().unwrap()
}

/// A machine that asks for licenses.
pub(crate) struct Machine {
    key: InstallationKey,
    name: &'static str,
    seed: u8,
}

impl Machine {
    pub(crate) fn new(name: &'static str, seed: u8) -> Self {
        Self { key: InstallationKey::from_seed([seed; 32]).unwrap(), name, seed }
    }

    pub(crate) fn key(&self) -> &InstallationKey {
        &self.key
    }

    pub(crate) fn host_id(&self) -> HostId {
        let facts = HostFacts {
            platform: Some(format!("4c4c4544-0042-4b10-8051-c4c04f5831{:02x}", self.seed)),
            system: Some("0123456789abcdef".to_owned()),
            network: vec!["52:54:00:12:34:56".to_owned()],
            ..HostFacts::default()
        };
        HostId::new(&facts.with_installation(&self.key.public()), [self.seed; 16])
    }

    pub(crate) fn request(&self) -> String {
        request::make(&self.key, self.host_id(), label(self.name), Some(label("CIC")), noon()).unwrap()
    }

    pub(crate) fn receipt(&self, closing_file: &[u8]) -> String {
        let file = Activation::read_unverified(closing_file).unwrap();
        let receipt = DeactivationReceipt {
            license_id: file.license_id,
            sequence: file.sequence,
            sha256: Sha256::of(closing_file),
            installation_id: self.key.id(),
            closed: time("2026-11-23T08:00:00Z"),
        };
        receipt.sign(&self.key).unwrap()
    }

    pub(crate) fn as_host(&self, role: HostRole) -> HostOrder {
        let request = HostRequest::verify(self.request().as_bytes()).unwrap();
        HostOrder::requested(role, &request)
    }
}

/// A workshop without passphrases in a temporary folder.
pub(crate) fn workshop() -> (tempfile::TempDir, Workshop) {
    let dir = tempfile::tempdir().unwrap();
    let options = CreateOptions::new("acme.example", Protection::None);
    let workshop = Workshop::create(&dir.path().join("acme"), &options, noon()).unwrap();
    (dir, workshop)
}

/// An order of one machine that grants nothing yet.
pub(crate) fn order() -> IssueOrder {
    IssueOrder {
        hosts: vec![Machine::new("cic-01", 1).as_host(HostRole::Primary)],
        ..IssueOrder::new(label("Example Ltd"), label("Cologne"), label("anna"))
    }
}

/// A folder in which the program is run.
pub(crate) struct Desk {
    dir: tempfile::TempDir,
}

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    pub(crate) fn json(&self) -> serde_json::Value {
        assert_eq!(self.code, 0, "{self:?}");
        serde_json::from_str(&self.out).unwrap_or_else(|fault| panic!("{fault}: {self:?}"))
    }

    /// Asserts that the program refused with this code, and said each of `words`.
    #[track_caller]
    pub(crate) fn refuses(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, code, "{self:?}");
        assert!(self.out.is_empty(), "{self:?}");
        for word in words {
            assert!(self.err.contains(word), "`{word}` is not in: {}", self.err);
        }
    }
}

impl Desk {
    /// A desk without a licensor.
    pub(crate) fn empty() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    /// A desk with a licensor whose keys are not sealed, and the requests of two machines.
    pub(crate) fn furnished() -> Self {
        let desk = Self::empty();
        let made = desk.run(&["init", "--dir", "acme", "--name", "acme.example", "--no-passphrase"]);
        assert_eq!(made.code, 0, "{made:?}");
        desk.write("a.request", &Machine::new("cic-01", 1).request());
        desk.write("b.request", &Machine::new("cic-02", 2).request());
        desk
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    /// Runs the program here; `acme` is the licensor's folder.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        self.run_with(arguments, &[])
    }

    pub(crate) fn run_with(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Ran {
        let output = command(self.dir.path()).args(arguments).envs(environment.iter().copied()).output().unwrap();
        ran(&output)
    }

    /// Issues a file with the usual account, site and machine; `more` arguments besides.
    pub(crate) fn issue(&self, more: &[&str]) -> Ran {
        let usual = ["issue", "--account", "Example Ltd", "--site", "Cologne", "--request", "a.request"];
        self.run(&[&usual[..], more].concat())
    }
}

fn command(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_licensor"));
    command.current_dir(dir).env_clear().env("LICENSOR_DIR", "acme").env("LICENSOR_OPERATOR", "anna");
    command.stdin(std::process::Stdio::null());
    command
}

fn ran(output: &Output) -> Ran {
    Ran {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout.clone()).unwrap(),
        err: String::from_utf8(output.stderr.clone()).unwrap(),
    }
}
