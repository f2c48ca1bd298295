//! Taking usage files: verified, kept, recorded, answered with a signed receipt (04, Delivery; VENDOR-9). Whether a file
//! comes over the network or by hand is no matter here.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use leasehold_keys::{
    activation::LicenseId,
    digest::Sha256,
    root::KeyRole,
    time::WallTime,
    trust::Trust,
    usage::{self, Damage, End, KeyId, SegmentName, UsagePublicKey, UsageReceipt},
};

use crate::{
    calendar::whole_second,
    ledger::{Ledger, LedgerFault, UsageFile, UsageFlag},
    workshop::{Signers, Workshop, WorkshopFault, sync_folder, write_whole},
};

/// Below the state folder: files that were answered for, by license and installation.
pub const RECEIVED: &str = "usage";
/// Below the state folder: files that were refused since another of the same segment was there before.
pub const ASIDE: &str = "aside";

/// Why a usage file is not taken. The message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum IntakeFault {
    /// Its name is none of a usage file.
    #[error(
        "`{0}` is not the name of a usage file: INSTALLATION-SEGMENT-YYYYMMDD.usg; send it under the name that the server gave it"
    )]
    Name(String),
    /// It is damaged.
    #[error("{0}")]
    Damaged(#[from] Damage),
    /// It goes by another file's name.
    #[error("by its header this file is {0}; send it under that name")]
    Misnamed(SegmentName),
    /// More may follow.
    #[error(
        "the file is not closed yet ({0}): only a whole segment can be answered for; the server closes it at 00:00 UTC and at each restart; send it then. Where the key that would have closed it is lost, send it as final"
    )]
    NotClosed(&'static str),
    /// Nobody here could read it.
    #[error(
        "the file is not sealed to a usage key of this licensor, so it tells nothing here; check that the server trusts this licensor's root"
    )]
    OtherRecipient,
    /// It reports on a license that was never issued here.
    #[error(
        "license {0}, which the file reports on, was not issued by this licensor; check where the site sends its usage files"
    )]
    UnknownLicense(LicenseId),
    /// Another file of the same segment was answered for.
    #[error(
        "another file of segment {} of installation {} was received at {received} (SHA-256 {known}); this one is set aside and looked into: the server was restored from a copy or cloned. Keep both files and tell the licensor",
        name.segment, name.installation
    )]
    Fork {
        /// The file.
        name: SegmentName,
        /// What was answered for.
        known: Sha256,
        /// When.
        received: WallTime,
    },
    /// The licensor's own trouble: nothing is wrong with the file.
    #[error("{0}")]
    Failed(#[from] WorkshopFault),
}

impl From<LedgerFault> for IntakeFault {
    fn from(fault: LedgerFault) -> Self {
        IntakeFault::Failed(fault.into())
    }
}

impl IntakeFault {
    /// A stable code for programs.
    pub fn code(&self) -> &'static str {
        match self {
            IntakeFault::Name(_) => "bad-name",
            IntakeFault::Damaged(damage) => damage.reason(),
            IntakeFault::Misnamed(_) => "misnamed",
            IntakeFault::NotClosed(_) => "not-closed",
            IntakeFault::OtherRecipient => "other-recipient",
            IntakeFault::UnknownLicense(_) => "unknown-license",
            IntakeFault::Fork { .. } => "fork",
            IntakeFault::Failed(_) => "failed",
        }
    }
}

/// What whoever sends a file says of its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// Nothing: only a close shows that no more follows.
    Plain,
    /// No more follows, even where no record closes it: the installation key that would have signed that is lost. What was
    /// cut off from such a file can be found no other way than what was cut off from the end of a chain (FORMAT.md, 6.6), so
    /// taking it gives nothing away; refusing it would leave the customer with a file that nobody ever answers for.
    Final,
}

/// A file that is kept and answered for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// What is recorded of it, its receipt among it.
    pub file: UsageFile,
    /// False where it had been taken before.
    pub new: bool,
}

/// Where usage files are taken.
#[derive(Debug)]
pub struct Intake {
    state: PathBuf,
    ledger: Ledger,
    trust: Trust,
    signers: Signers,
    recipients: Vec<KeyId>,
}

impl Workshop {
    /// Opens the intake, which keeps files below `state`. It signs receipts over days without being asked for the
    /// passphrase again.
    ///
    /// # Errors
    ///
    /// Where the receipt key cannot be used now.
    pub fn intake(&self, state: &Path, now: WallTime) -> Result<Intake, WorkshopFault> {
        let recipients = self.trust().chain().filter_map(|root| UsagePublicKey::new(root.usage_key).ok());
        Ok(Intake {
            state: state.to_owned(),
            ledger: self.open_ledger_again()?,
            trust: self.trust().clone(),
            signers: self.signers(KeyRole::Receipt, now)?,
            recipients: recipients.map(|key| key.id()).collect(),
        })
    }
}

impl Intake {
    /// Takes a file that was sent under `name`: the same bytes get their receipt again, other bytes under the number of
    /// a segment that was taken are set aside and flagged. What is answered for is on disk and in the records.
    ///
    /// # Errors
    ///
    /// Where nothing is answered for.
    pub fn take(&mut self, name: &str, bytes: &[u8], sent: Sent, now: WallTime) -> Result<Taken, IntakeFault> {
        let name: SegmentName = name.parse().map_err(|_| IntakeFault::Name(name.chars().take(120).collect()))?;
        let file = usage::verify(bytes)?;
        let header = file.header();
        if file.name() != name {
            return Err(IntakeFault::Misnamed(file.name()));
        }
        if self.ledger.file(header.license, None)?.is_none() {
            return Err(IntakeFault::UnknownLicense(header.license));
        }
        if !header.recipients.iter().any(|recipient| self.recipients.contains(&recipient.key)) {
            return Err(IntakeFault::OtherRecipient);
        }
        let end = match file.end() {
            End::Closed(clocks) => clocks.trusted,
            // When its last event was, only its content tells.
            End::Open if sent == Sent::Final => header.start.trusted,
            End::Open => return Err(IntakeFault::NotClosed("it ends without the record that closes it")),
            End::Torn(torn) => return Err(IntakeFault::NotClosed(torn.what)),
        };
        let sha256 = Sha256::of(bytes);
        let new = UsageFile {
            license_id: header.license,
            name,
            sha256,
            // A verified file has at most 17 MiB.
            size: u32::try_from(bytes.len()).unwrap_or(u32::MAX),
            records: file.records(),
            start: header.start.trusted,
            end,
            previous_end: header.previous_end,
            end_chain: file.head().chain,
            received: whole_second(now),
            receipt: String::new(),
        };
        let Self { state, ledger, trust, signers, .. } = self;
        let intake = ledger.usage_intake()?;
        match intake.find(name.installation, name.segment)? {
            Some(known) if known.sha256 == sha256 => {
                // Who was told that it is here must find it here.
                let path = received_path(state, &known);
                if !path.exists() {
                    keep(state, &path, bytes)?;
                }
                let good = trust.usage_receipt(known.receipt.as_bytes(), now).is_ok();
                let file = if good { known } else { signed(known, signers, now)? };
                intake.add(&file)?;
                intake.commit()?;
                Ok(Taken { file, new: false })
            }
            Some(known) => {
                let path = aside_path(state, &new);
                if !path.exists() {
                    keep(state, &path, bytes)?;
                }
                intake.flag(&flag(&new, true, now))?;
                intake.commit()?;
                Err(IntakeFault::Fork { name, known: known.sha256, received: known.received })
            }
            None => {
                let file = signed(new, signers, now)?;
                let neighbor = |segment: Option<u32>| match segment {
                    Some(segment) => intake.find(name.installation, segment),
                    None => Ok(None),
                };
                let before = neighbor(name.segment.checked_sub(1))?;
                let after = neighbor(name.segment.checked_add(1))?;
                let fits = before.is_none_or(|before| before.end_chain == file.previous_end)
                    && after.is_none_or(|after| after.previous_end == file.end_chain);
                if !fits {
                    intake.flag(&flag(&file, false, now))?;
                }
                keep(state, &received_path(state, &file), bytes)?;
                intake.add(&file)?;
                intake.commit()?;
                Ok(Taken { file, new: true })
            }
        }
    }

    /// The receipt of a file that was taken.
    ///
    /// # Errors
    ///
    /// [`IntakeFault::Name`], or where the records cannot be read.
    pub fn receipt(&self, name: &str) -> Result<Option<UsageFile>, IntakeFault> {
        let name: SegmentName = name.parse().map_err(|_| IntakeFault::Name(name.chars().take(120).collect()))?;
        let found = self.ledger.usage_file(name.installation, name.segment)?;
        Ok(found.filter(|file| file.name == name))
    }

    /// Asserts that a file could be taken at `now`, as far as the records and the receipt key are concerned.
    ///
    /// # Errors
    ///
    /// Where it could not.
    pub fn check(&self, now: WallTime) -> Result<(), IntakeFault> {
        self.ledger.roots()?;
        self.signers.at(now)?;
        Ok(())
    }
}

/// The file with a receipt that is signed now.
fn signed(file: UsageFile, signers: &Signers, now: WallTime) -> Result<UsageFile, WorkshopFault> {
    let receipt = UsageReceipt {
        license_id: file.license_id,
        name: file.name,
        sha256: file.sha256,
        size: file.size,
        received: file.received,
    };
    let receipt = receipt.sign(&signers.at(now)?)?;
    Ok(UsageFile { receipt, ..file })
}

fn flag(file: &UsageFile, refused: bool, now: WallTime) -> UsageFlag {
    UsageFlag {
        installation: file.name.installation,
        segment: file.name.segment,
        sha256: file.sha256,
        license_id: file.license_id,
        refused,
        seen: whole_second(now),
    }
}

fn received_path(state: &Path, file: &UsageFile) -> PathBuf {
    let folder = state.join(RECEIVED).join(file.license_id.to_string()).join(file.name.installation.to_string());
    folder.join(file.name.to_string())
}

/// Several files may claim one segment: each under a part of its digest.
fn aside_path(state: &Path, file: &UsageFile) -> PathBuf {
    let folder = state.join(ASIDE).join(file.license_id.to_string()).join(file.name.installation.to_string());
    let digest: String = file.sha256.to_string().chars().take(16).collect();
    let name = file.name.to_string();
    folder.join(format!("{}-{digest}.usg", name.strip_suffix(".usg").unwrap_or(&name)))
}

/// Writes a file below `state`, making the folders on its way, and waits until all of it is on disk.
fn keep(state: &Path, path: &Path, bytes: &[u8]) -> Result<(), WorkshopFault> {
    let Some(folder) = path.parent() else {
        return write_whole(path, bytes);
    };
    let missing: Vec<&Path> = folder.ancestors().take_while(|above| *above != state).collect();
    for folder in missing.into_iter().rev() {
        let io = |fault| WorkshopFault::Io { path: folder.to_owned(), fault };
        let mut builder = fs::DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        match builder.create(folder) {
            Ok(()) => sync_folder(folder.parent().unwrap_or(state)).map_err(io)?,
            Err(fault) if fault.kind() == io::ErrorKind::AlreadyExists => {}
            Err(fault) => return Err(io(fault)),
        }
    }
    write_whole(path, bytes)
}
