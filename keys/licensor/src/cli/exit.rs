//! Exit codes and the error that carries one. The codes are part of the interface: scripts match on them.

use std::process::ExitCode;

use licensor::{check_in::CheckInFault, ledger::LedgerFault, vault::VaultFault, workshop::WorkshopFault};

/// How the program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// Done.
    Done = 0,
    /// A file, folder or the records could not be read or written.
    Failed = 1,
    /// The arguments are wrong (also clap's code).
    Usage = 2,
    /// An order, a note or a catalog is refused; the message lists why.
    Refused = 3,
    /// A private key cannot be used: passphrase missing or wrong, mode too open, key file damaged.
    Locked = 4,
    /// The licensor's folder, license or file is not there.
    NotFound = 5,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

/// What is told and how the program ends.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) exit: Exit,
    pub(crate) message: String,
}

impl Fault {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into() }
    }

    /// Several faults of the arguments at once.
    pub(crate) fn usage(faults: &[String]) -> Self {
        let message = match faults {
            [one] => one.clone(),
            many => format!(
                "the arguments are wrong:{}",
                many.iter().map(|fault| format!("\n  - {fault}")).collect::<String>()
            ),
        };
        Self::new(Exit::Usage, message)
    }
}

impl From<WorkshopFault> for Fault {
    fn from(fault: WorkshopFault) -> Self {
        let exit = match &fault {
            WorkshopFault::NoWorkshop(_)
            | WorkshopFault::LostRecords(_)
            | WorkshopFault::UnknownLicense(_)
            | WorkshopFault::UnknownAccount(_)
            | WorkshopFault::NotCheckedIn { .. }
            | WorkshopFault::UnknownSequence { .. } => Exit::NotFound,
            WorkshopFault::Options(_) | WorkshopFault::TermsAnew { .. } => Exit::Usage,
            WorkshopFault::NotEmpty(_)
            | WorkshopFault::NotWritten { .. }
            | WorkshopFault::Io { .. }
            | WorkshopFault::Ledger(_) => Exit::Failed,
            WorkshopFault::WrongMode { .. }
            | WorkshopFault::NoKey { .. }
            | WorkshopFault::MissingKey { .. }
            | WorkshopFault::MissingUsageKey(_) => Exit::Locked,
            WorkshopFault::Vault(VaultFault::Io { .. } | VaultFault::Primitive(_)) => Exit::Failed,
            WorkshopFault::Vault(_) => Exit::Locked,
            WorkshopFault::Terms(_)
            | WorkshopFault::Refused(_)
            | WorkshopFault::Closed(_)
            | WorkshopFault::OtherProduct { .. }
            | WorkshopFault::UnknownInstallation(_)
            | WorkshopFault::NotAReceipt(_)
            | WorkshopFault::OtherInstallation { .. }
            | WorkshopFault::ReceiptMismatch(_) => Exit::Refused,
        };
        Self::new(exit, fault.to_string())
    }
}

impl From<CheckInFault> for Fault {
    fn from(fault: CheckInFault) -> Self {
        let exit = match fault {
            CheckInFault::Failed(fault) => return fault.into(),
            CheckInFault::UnknownLicense(_) => Exit::NotFound,
            CheckInFault::Refused(_)
            | CheckInFault::UnknownFile { .. }
            | CheckInFault::OnHold { .. }
            | CheckInFault::Stale { .. }
            | CheckInFault::Crowd(_) => Exit::Refused,
        };
        Self::new(exit, fault.to_string())
    }
}

impl From<LedgerFault> for Fault {
    fn from(fault: LedgerFault) -> Self {
        WorkshopFault::from(fault).into()
    }
}

impl From<VaultFault> for Fault {
    fn from(fault: VaultFault) -> Self {
        WorkshopFault::from(fault).into()
    }
}

impl From<leasehold_keys::refusal::Refusal> for Fault {
    fn from(refusal: leasehold_keys::refusal::Refusal) -> Self {
        Self::new(Exit::Refused, refusal.to_string())
    }
}
