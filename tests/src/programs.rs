//! Where the programs under test lie, and how the administrator's one is run. They are built beside the tests.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::Value;

/// The program of this name in the folder that cargo puts binaries into: two above the test executable.
///
/// # Panics
/// Where it was not built: cargo builds another package's program only for the whole workspace.
pub fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("the system says which program this is");
    let path = test.parent().and_then(Path::parent).map(|folder| folder.join(name)).expect("cargo's target folder");
    assert!(
        path.is_file(),
        "{} was not built. Run the tests with `cargo test --workspace`, or `cargo build --workspace` first",
        path.display()
    );
    path
}

/// What a run of `leasehold` came to.
#[derive(Debug)]
pub struct Ran {
    /// The exit code, which means something.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Ran {
    pub(crate) fn of(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("programs print UTF-8");
        Self { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
    }

    /// The one JSON document of standard output.
    ///
    /// # Panics
    /// Where it is no document, or more than one.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|fault| panic!("no JSON document ({fault}): {self:?}"))
    }

    /// The one JSON document of standard error: what was refused.
    ///
    /// # Panics
    /// Where it is no document, or more than one.
    pub fn error(&self) -> Value {
        let document: Value =
            serde_json::from_str(&self.err).unwrap_or_else(|fault| panic!("no JSON document ({fault}): {self:?}"));
        document["error"].clone()
    }

    /// The same, where it did what it was to do.
    ///
    /// # Panics
    /// Where the exit code is another than 0.
    pub fn done(self) -> Self {
        assert_eq!(self.code, 0, "{self:?}");
        self
    }
}

/// Runs `leasehold` against a daemon's socket. It blocks, as a shell would.
pub fn leasehold<A: AsRef<OsStr>>(socket: &Path, arguments: impl IntoIterator<Item = A>) -> Ran {
    let output = Command::new(program("leasehold"))
        .env_remove("LEASEHOLD_SERVER")
        .arg("--server")
        .arg(format!("unix://{}", socket.display()))
        .args(arguments)
        .output()
        .expect("leasehold runs");
    Ran::of(output)
}
