//! The daemon's exit codes, for service managers and scripts.

/// Why the process ended. The numbers are stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 0: asked to stop, and everything was made durable before; or a command did what it was to do.
    Done = 0,
    /// 1: something failed that has no code of its own; the message says what.
    Failed = 1,
    /// 2: the command line was not understood.
    Usage = 2,
    /// 3: the configuration has faults; each was reported. Starting again without a change is useless.
    Configuration = 3,
    /// 4: the state directory cannot be used: missing rights, locked by another process, damaged, or written by a newer
    /// version. Starting again without a change is useless.
    State = 4,
    /// 5: an address to listen on is in use or not allowed.
    Listen = 5,
    /// 6: a sync failed, so that what is on disk is not known to the process. Starting again reads it.
    StorageUnsure = 6,
    /// 7: stopping took longer than its 10 s; what was acknowledged is durable.
    StopTimedOut = 7,
}

impl Exit {
    /// The number that the system sees.
    pub const fn code(self) -> i32 {
        self as i32
    }
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        std::process::ExitCode::from(exit as u8)
    }
}
