//! The exit codes of `leasehold`, which scripts may rely on. A code is never given a second meaning.

/// How a command ended, as the exit status of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum ExitCode {
    /// What was asked was done.
    Done = 0,
    /// Something that should not happen: a fault of this program, of the daemon, or of the machine.
    Unexpected = 1,
    /// The command line or a value in it is wrong. Nothing was changed.
    Usage = 2,
    /// A licensing rule stands against it. Nothing was changed. `explain` ends so where the logon would be refused.
    Refused = 3,
    /// A named user, station, key, pool, lease, license or local file does not exist.
    NotFound = 4,
    /// The daemon cannot be reached, or did not answer in time.
    Unreachable = 5,
    /// The caller, or this user account, may not do that.
    Permission = 6,
    /// `compliance` found a pool above what is licensed (COMPLY-1).
    ComplianceExceeded = 7,
    /// `audit verify` found that the audit log is not what was written.
    AuditDamaged = 8,
    /// A signed file was refused, whether it was loaded or only checked; a usage receipt likewise.
    FileRefused = 9,
    /// Of several things some were done and some refused; the output says which. `usage export` ends so where the bundle
    /// lacks something.
    PartlyDone = 10,
    /// The daemon answers but cannot do it now: it is starting, draining, overloaded, a standby, or its disk is full.
    /// Nothing was changed; the same command may succeed later.
    NotNow = 11,
    /// `usage verify` found that usage files are not what was written.
    UsageDamaged = 12,
    /// `doctor` found a step of the way out that fails, or `usage send` that nothing goes out.
    WayOutBlocked = 13,
    /// `check-in` failed, or was answered, and not with good standing.
    NotInGoodStanding = 14,
}

impl ExitCode {
    /// Every code, in ascending order.
    pub const ALL: [Self; 15] = [
        Self::Done,
        Self::Unexpected,
        Self::Usage,
        Self::Refused,
        Self::NotFound,
        Self::Unreachable,
        Self::Permission,
        Self::ComplianceExceeded,
        Self::AuditDamaged,
        Self::FileRefused,
        Self::PartlyDone,
        Self::NotNow,
        Self::UsageDamaged,
        Self::WayOutBlocked,
        Self::NotInGoodStanding,
    ];

    /// The number that the shell sees.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The name in JSON errors.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Unexpected => "unexpected",
            Self::Usage => "usage",
            Self::Refused => "refused",
            Self::NotFound => "not_found",
            Self::Unreachable => "unreachable",
            Self::Permission => "permission",
            Self::ComplianceExceeded => "compliance_exceeded",
            Self::AuditDamaged => "audit_damaged",
            Self::FileRefused => "file_refused",
            Self::PartlyDone => "partly_done",
            Self::NotNow => "not_now",
            Self::UsageDamaged => "usage_damaged",
            Self::WayOutBlocked => "way_out_blocked",
            Self::NotInGoodStanding => "not_in_good_standing",
        }
    }

    /// One line for `--help` and the man page.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Unexpected => "unexpected: a fault of this program, the daemon or the machine",
            Self::Usage => "the command line, or a value in it, is wrong",
            Self::Refused => "refused by a licensing rule (explain: the logon would be refused)",
            Self::NotFound => "a named user, station, key, pool, lease, license or file does not exist",
            Self::Unreachable => "the daemon cannot be reached or did not answer in time",
            Self::Permission => "not permitted",
            Self::ComplianceExceeded => "compliance: a pool is above what is licensed",
            Self::AuditDamaged => "audit verify: the log is not what was written",
            Self::FileRefused => "a signed file was refused",
            Self::PartlyDone => "of several things some were done and some refused",
            Self::NotNow => "the daemon cannot do it now (starting, draining, overloaded, standby, disk full)",
            Self::UsageDamaged => "usage verify: usage files are not what was written",
            Self::WayOutBlocked => "doctor, usage send: the way out fails",
            Self::NotInGoodStanding => "check-in: it failed, or was not answered with good standing",
        }
    }

    /// The table of exit codes at the end of `--help`.
    #[must_use]
    pub fn help_text() -> String {
        let mut text = String::from("Exit codes:");
        for code in Self::ALL {
            text.push_str(&format!("\n  {:>2}  {}", code.number(), code.meaning()));
        }
        text
    }
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        Self::from(code.number())
    }
}

#[cfg(test)]
mod tests {
    use super::ExitCode;

    #[test]
    fn codes_are_listed_once_and_in_order() {
        let numbers: Vec<u8> = ExitCode::ALL.iter().map(|code| code.number()).collect();
        assert_eq!(numbers, (0..15).collect::<Vec<u8>>());
    }
}
