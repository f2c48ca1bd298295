//! Doors for tests into the program: time that a file tells, another machine's files. A release build has none: whoever
//! runs the daemon could stop its clock there, or pass one machine off as another.
//!
//! They are open in a debug build, and in others with the feature `test-doors`. No package asks for that feature: what
//! cargo unifies over a workspace must not open a release's doors. `cargo test --release --features leaseholdd/test-doors`
//! does.

use std::path::Path;

use leaseholdd::clock::Clock;

/// What tests may ask for on the command line.
#[derive(clap::Args)]
pub(crate) struct Doors {
    /// Take time from this file instead of the system's clocks.
    #[cfg(any(debug_assertions, feature = "test-doors"))]
    #[arg(long, value_name = "FILE", hide = true)]
    manual_clock: Option<std::path::PathBuf>,
    /// Take the facts of the host from the file system that begins here.
    #[cfg(any(debug_assertions, feature = "test-doors"))]
    #[arg(long, value_name = "FOLDER", hide = true)]
    machine: Option<std::path::PathBuf>,
}

#[cfg(any(debug_assertions, feature = "test-doors"))]
impl Doors {
    pub(crate) fn clock(&self) -> Clock {
        self.manual_clock.clone().map_or_else(Clock::system, Clock::manual)
    }

    pub(crate) fn machine(&self) -> &Path {
        self.machine.as_deref().unwrap_or(Path::new("/"))
    }
}

#[cfg(not(any(debug_assertions, feature = "test-doors")))]
impl Doors {
    pub(crate) fn clock(&self) -> Clock {
        Clock::system()
    }

    pub(crate) fn machine(&self) -> &Path {
        Path::new("/")
    }
}

#[cfg(test)]
mod tests {
    use clap::{Args as _, Command};

    use super::Doors;

    /// What is not known to the command line cannot be asked for.
    #[test]
    fn a_release_has_no_doors() {
        let command = Doors::augment_args(Command::new("run"));
        let known: Vec<&str> = command.get_arguments().filter_map(|argument| argument.get_long()).collect();
        let open = cfg!(any(debug_assertions, feature = "test-doors"));
        assert_eq!(known, if open { &["manual-clock", "machine"][..] } else { &[] });
    }
}
