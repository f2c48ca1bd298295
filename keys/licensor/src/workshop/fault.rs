//! Why a workshop cannot do what was asked.

use std::{io, path::PathBuf};

use leasehold_keys::{
    activation::LicenseId, installation::InstallationId, name::Label, refusal::Refusal, root::KeyRole, time::WallTime,
};

use crate::{ledger::LedgerFault, order::TermsFault, vault::VaultFault};

/// Why the workshop cannot do what was asked. Each says what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum WorkshopFault {
    /// There is no workshop.
    #[error("{} is no licensor's folder; make one with `licensor init --dir {} --name NAME`", .0.display(), .0.display())]
    NoWorkshop(PathBuf),
    /// The records are gone from a workshop that is there.
    #[error(
        "licensor.db is missing in {}, though a licensor's keys or root are there: restore it from your backup. It alone knows which files were issued",
        .0.display()
    )]
    LostRecords(PathBuf),
    /// The file of a private key is gone.
    #[error(
        "the private {role} key {} is missing; put it back from your backup ({} without it, and no other key takes its place)",
        path.display(),
        match role {
            KeyRole::Issuing => "nothing can be issued",
            KeyRole::CheckIn => "no check-in can be answered",
            KeyRole::Receipt => "no usage file can be answered for",
        }
    )]
    MissingKey {
        /// What it signs.
        role: KeyRole,
        /// Where it ought to be.
        path: PathBuf,
    },
    /// No private usage key is there.
    #[error("there is no private usage key in {}; put it back from your backup: without it no usage file can be read", .0.display())]
    MissingUsageKey(PathBuf),
    /// The folder is in use for something.
    #[error("{} is there already and is not empty; name a new folder", .0.display())]
    NotEmpty(PathBuf),
    /// The options of a new workshop.
    #[error("{0}")]
    Options(&'static str),
    /// A file or folder.
    #[error("{}: {fault}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system said.
        #[source]
        fault: io::Error,
    },
    /// Issued and recorded, and then the disk would not take the file.
    #[error(
        "file {sequence} of license {license_id} is issued and in the records, but it could not be written ({fault}); do not issue it again, write it with `licensor export {license_id} --sequence {sequence} --out FILE`"
    )]
    NotWritten {
        /// The license.
        license_id: LicenseId,
        /// The file's sequence.
        sequence: u32,
        /// What went wrong.
        #[source]
        fault: Box<WorkshopFault>,
    },
    /// The folder may be read by others.
    #[error("{} can be entered by others (mode {mode:04o}); run: chmod 700 {}", path.display(), path.display())]
    WrongMode {
        /// The folder.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The private keys.
    #[error(transparent)]
    Vault(#[from] VaultFault),
    /// The records.
    #[error(transparent)]
    Ledger(#[from] LedgerFault),
    /// The order, with all its faults.
    #[error("the order is refused:{}", bullets(.0))]
    Terms(Vec<TermsFault>),
    /// The daemon would refuse what was made, or a note that came in is refused.
    #[error("{0}")]
    Refused(#[from] Refusal),
    /// No key of a role may sign now.
    #[error(
        "no {role} key of root {version} may sign at {now}: each has ended or is revoked. A newer root with a newer {role} key is needed; check this machine's clock first"
    )]
    NoKey {
        /// The role.
        role: KeyRole,
        /// The root's version.
        version: u32,
        /// When.
        now: WallTime,
    },
    /// The license is not in the records.
    #[error("license {0} is not in the records; `licensor list` shows those that are")]
    UnknownLicense(LicenseId),
    /// The license has no file of this sequence.
    #[error("license {license_id} has no file {sequence} in the records; `licensor list` shows those that are")]
    UnknownSequence {
        /// The license.
        license_id: LicenseId,
        /// The sequence asked for.
        sequence: u32,
    },
    /// A closed license takes no further file.
    #[error("license {0} is closed; issue a new license instead")]
    Closed(LicenseId),
    /// A re-issue is of the same product.
    #[error("license {license_id} is for {product}; re-issue it from that product's catalog, or issue a new license")]
    OtherProduct {
        /// The license.
        license_id: LicenseId,
        /// Its product.
        product: String,
    },
    /// A re-issue of a development or evaluation file.
    #[error(
        "license {license_id} is a {level} license, whose file does not say all of its order; give its terms anew, with --level"
    )]
    TermsAnew {
        /// The license.
        license_id: LicenseId,
        /// Its level.
        level: &'static str,
    },
    /// The installation never checked in for the license.
    #[error(
        "installation {installation} never checked in for license {license_id}; `licensor check-in list` shows those that did"
    )]
    NotCheckedIn {
        /// The license.
        license_id: LicenseId,
        /// Who was named.
        installation: InstallationId,
    },
    /// Nothing was issued to the account.
    #[error("no license was issued to `{0}`; `licensor list` shows the accounts")]
    UnknownAccount(Label),
    /// The receipt is from a machine that sent no request.
    #[error(
        "installation {0} is not known here, so its receipt cannot be verified; give the machine's host request with --request"
    )]
    UnknownInstallation(String),
    /// The note is of another kind.
    #[error(
        "this is {0}, not a deactivation receipt; the site's daemon writes the receipt once it has loaded the closing file"
    )]
    NotAReceipt(&'static str),
    /// The receipt is from a machine that the license was not issued for.
    #[error(
        "installation {installation} is on none of the machines that license {license_id} was issued for, so its receipt does not close the license; nothing was recorded. Where a machine's installation key was lost and made anew, take its receipt with --any-installation"
    )]
    OtherInstallation {
        /// Who signed.
        installation: InstallationId,
        /// The license.
        license_id: LicenseId,
    },
    /// The receipt is for a file that does not close a license, or for other bytes.
    #[error("the receipt is for {0}")]
    ReceiptMismatch(&'static str),
}

fn bullets(faults: &[TermsFault]) -> String {
    faults.iter().map(|fault| format!("\n  - {fault}")).collect()
}
