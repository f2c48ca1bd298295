//! The licensor's workspace folder: private keys, the root note, the records and the files issued.
//!
//! ```text
//! licensor.db        the records (SQLite)
//! root.i3root        the newest root: built into daemons and clients, or given to them as a file
//! keys/NAME.key      private keys; those of the root belong on other media once the root is made
//! issued/*.i3lic     the files issued; each is in the records too and can be written again
//! usage/             usage files received, by license and installation
//! aside/             usage files refused because another of their segment was there before
//! ```

mod fault;
mod files;
mod found;
mod signers;
mod usage;

use std::{
    fs,
    path::{Path, PathBuf},
};

use leasehold_keys::{
    activation::{Activation, LicenseId},
    digest::Sha256,
    host::{FactorState, HostFacts, HostId},
    installation::InstallationId,
    key::SigningKey,
    name::Label,
    note::{self, Note, NoteKind},
    receipt::DeactivationReceipt,
    root::KeyRole,
    time::WallTime,
    trust::{Trust, Verified},
};
use uuid::Uuid;

pub use self::{
    fault::WorkshopFault,
    files::write_whole,
    found::{CreateOptions, KEYS_MAX},
};
pub(crate) use self::{
    files::{file_name, sync_folder},
    signers::Signers,
};
use crate::{
    calendar::whole_second,
    catalog::Catalog,
    ledger::{IssuedFile, Ledger},
    order::{self, Frame, IssueOrder},
    vault::Passphrase,
};

const LEDGER: &str = "licensor.db";
const ROOT: &str = "root.i3root";
const KEYS: &str = "keys";
const ISSUED: &str = "issued";

/// A file as it was issued.
#[derive(Clone, Debug)]
pub struct Issued {
    /// The whole signed note.
    pub note: String,
    /// What it says, read back from the note as a daemon would.
    pub activation: Verified<Activation>,
    /// Where it lies.
    pub path: PathBuf,
}

impl Issued {
    /// Writes the file to another place too.
    ///
    /// # Errors
    ///
    /// [`WorkshopFault::NotWritten`], which says how to write it later.
    pub fn write_to(&self, path: &Path) -> Result<(), WorkshopFault> {
        write_whole(path, self.note.as_bytes()).map_err(|fault| WorkshopFault::NotWritten {
            license_id: self.activation.license_id,
            sequence: self.activation.sequence,
            fault: Box::new(fault),
        })
    }
}

/// A receipt as it was taken.
#[derive(Clone, Debug)]
pub struct TakenReceipt {
    /// What it says.
    pub receipt: DeactivationReceipt,
    /// False where it was in the records before.
    pub new: bool,
    /// How many machines' receipts are in the records now.
    pub received: u32,
    /// How many machines the license was issued for, each of which owes one.
    pub due: u32,
}

/// How many receipts close a license for good: one from each machine that its closing file names, one at least.
///
/// # Errors
///
/// Where the file in the records cannot be read.
pub fn receipts_due(closing: &IssuedFile) -> Result<u32, WorkshopFault> {
    let hosts = Activation::read_unverified(closing.note.as_bytes())?.hosts.len();
    Ok(u32::try_from(hosts).unwrap_or(u32::MAX).max(1))
}

/// A licensor's folder, open.
#[derive(Debug)]
pub struct Workshop {
    dir: PathBuf,
    ledger: Ledger,
    roots: Vec<String>,
    trust: Trust,
    passphrase: Option<Passphrase>,
}

impl Workshop {
    /// Makes a new workshop in `dir`, which must not be there or be empty: root, issuing, check-in, receipt and usage
    /// keys and root 1, signed by all root keys (VENDOR-1). With a passphrase this takes a second or two.
    ///
    /// # Errors
    ///
    /// Where the folder is in use, an option is out of range, or something cannot be written. Nothing is left behind.
    pub fn create(dir: &Path, options: &CreateOptions, now: WallTime) -> Result<Self, WorkshopFault> {
        found::found(dir, options, now)?;
        let mut workshop = Self::open(dir, None)?;
        workshop.passphrase = options.passphrase();
        Ok(workshop)
    }

    /// Opens a workshop. Without a passphrase everything but signing with sealed keys works.
    ///
    /// # Errors
    ///
    /// Where there is none, others may enter it, or its records or root are damaged.
    pub fn open(dir: &Path, passphrase: Option<Passphrase>) -> Result<Self, WorkshopFault> {
        if !dir.join(LEDGER).is_file() {
            let was_one = [KEYS, ROOT].iter().any(|name| dir.join(name).exists());
            let fault = if was_one { WorkshopFault::LostRecords } else { WorkshopFault::NoWorkshop };
            return Err(fault(dir.to_owned()));
        }
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let io = |fault| WorkshopFault::Io { path: dir.to_owned(), fault };
            let mode = fs::metadata(dir).map_err(io)?.permissions().mode() & 0o7777;
            if mode & 0o077 != 0 {
                return Err(WorkshopFault::WrongMode { path: dir.to_owned(), mode });
            }
        }
        let ledger = Ledger::open(&dir.join(LEDGER))?;
        let roots = ledger.roots()?;
        let trust = Trust::from_chain(&roots)?;
        Ok(Self { dir: dir.to_owned(), ledger, roots, trust, passphrase })
    }

    /// Gives the passphrase later.
    pub fn unlock(&mut self, passphrase: Passphrase) {
        self.passphrase = Some(passphrase);
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The newest root note.
    pub fn root_note(&self) -> &str {
        self.roots.last().map_or("", String::as_str)
    }

    /// Trust in this licensor's roots.
    pub fn trust(&self) -> &Trust {
        &self.trust
    }

    /// The records.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    pub(crate) fn ledger_mut(&mut self) -> &mut Ledger {
        &mut self.ledger
    }

    /// Issues a file: checks the order, signs, reads the outcome back as a daemon would, records it, and writes it to
    /// `issued/`. For a license in the records the next sequence is taken.
    ///
    /// # Errors
    ///
    /// [`WorkshopFault::Terms`] with every fault of the order; any other where it cannot be signed or kept. Nothing is
    /// recorded then.
    pub fn issue(&mut self, catalog: &Catalog, order: &IssueOrder, now: WallTime) -> Result<Issued, WorkshopFault> {
        let license_id = match order.license_id {
            Some(license_id) => self.re_issuable(catalog, license_id)?.license_id,
            None => LicenseId(Uuid::new_v4()),
        };
        let root_version = self.trust.root().version;
        let issued = whole_second(now);
        let issued = self.sign_and_keep(license_id, &order.issued_by, now, |sequence| {
            let frame = Frame { license_id, sequence, issued, root_version };
            order::terms(catalog, order, &frame).map_err(WorkshopFault::Terms)
        })?;
        // Their receipts can be verified from now on.
        for host in &order.hosts {
            if let Some(key) = &host.installation {
                let name = host.machine_name.as_ref().map_or("", Label::as_str);
                self.ledger.add_installation(key, name, now)?;
            }
        }
        Ok(issued)
    }

    /// The order that the newest file of a license came from, so that a re-issue says only what changes. Its issuer is
    /// `issued_by`.
    ///
    /// # Errors
    ///
    /// Where the license is unknown, closed or another product's, or its level does not tell its order
    /// ([`WorkshopFault::TermsAnew`]).
    pub fn order_before(
        &self,
        catalog: &Catalog,
        license_id: LicenseId,
        issued_by: Label,
    ) -> Result<IssueOrder, WorkshopFault> {
        let last = self.re_issuable(catalog, license_id)?;
        let file = Activation::read_unverified(last.note.as_bytes())?;
        let level = order::level_word(file.level);
        order::as_before(catalog, &file, issued_by).ok_or(WorkshopFault::TermsAnew { license_id, level })
    }

    /// The newest file of a license that may be issued again.
    fn re_issuable(&self, catalog: &Catalog, license_id: LicenseId) -> Result<IssuedFile, WorkshopFault> {
        let last = self.newest(license_id)?;
        if last.closes {
            return Err(WorkshopFault::Closed(license_id));
        }
        if last.product != catalog.product().as_str() {
            return Err(WorkshopFault::OtherProduct { license_id, product: last.product });
        }
        Ok(last)
    }

    /// Issues the file that closes a license: its next sequence, without grants (VENDOR-7).
    ///
    /// # Errors
    ///
    /// Where the license is unknown or closed, or the file cannot be signed or kept.
    pub fn deactivate(
        &mut self,
        license_id: LicenseId,
        issued_by: &Label,
        now: WallTime,
    ) -> Result<Issued, WorkshopFault> {
        let last = self.newest(license_id)?;
        if last.closes {
            return Err(WorkshopFault::Closed(license_id));
        }
        let last = Activation::read_unverified(last.note.as_bytes())?;
        let root_version = self.trust.root().version;
        let issued = whole_second(now);
        self.sign_and_keep(license_id, issued_by, now, |sequence| {
            Ok(Activation {
                sequence,
                issued,
                root_version,
                grants: Vec::new(),
                parts: Vec::new(),
                // The definitions stay: without a file in effect a site has two units of the call ports that they name.
                ..last
            })
        })
    }

    fn sign_and_keep(
        &mut self,
        license_id: LicenseId,
        issued_by: &Label,
        now: WallTime,
        terms: impl FnOnce(u32) -> Result<Activation, WorkshopFault>,
    ) -> Result<Issued, WorkshopFault> {
        let keys = self.signing_keys(KeyRole::Issuing, now)?;
        let trust = &self.trust;
        let (note, activation) = self.ledger.issue(license_id, |sequence| {
            let activation = terms(sequence)?;
            let signers: Vec<&SigningKey> = keys.iter().collect();
            let note = note::sign(&activation.render(), &signers)?;
            // What a daemon would refuse must not leave the house.
            let read_back = trust.activation(note.as_bytes(), now)?;
            let file = IssuedFile {
                license_id,
                sequence,
                closes: activation.is_deactivation(),
                account: activation.account.to_string(),
                install_site: activation.install_site.to_string(),
                product: activation.product.to_string(),
                level: order::level_word(activation.level).to_owned(),
                kind: order::kind_word(activation.kind).to_owned(),
                not_after: activation.not_after,
                issued: activation.issued,
                issued_by: issued_by.to_string(),
                sha256: Sha256::of(note.as_bytes()),
                note: note.clone(),
                receipt_taken: None,
                receipts: 0,
            };
            Ok::<_, WorkshopFault>((file, (note, read_back)))
        })?;
        let path = self.dir.join(ISSUED).join(file_name(license_id, activation.sequence));
        let issued = Issued { note, activation, path };
        issued.write_to(&issued.path)?;
        Ok(issued)
    }

    fn newest(&self, license_id: LicenseId) -> Result<IssuedFile, WorkshopFault> {
        self.ledger.file(license_id, None)?.ok_or(WorkshopFault::UnknownLicense(license_id))
    }

    /// The highest sequence issued for a license.
    ///
    /// # Errors
    ///
    /// [`WorkshopFault::UnknownLicense`].
    pub fn last_sequence(&self, license_id: LicenseId) -> Result<u32, WorkshopFault> {
        Ok(self.newest(license_id)?.sequence)
    }

    /// Writes a file that was issued before to `path` again, the newest of its license where no sequence is named.
    ///
    /// # Errors
    ///
    /// Where it is not in the records or cannot be written.
    pub fn write_again(
        &self,
        license_id: LicenseId,
        sequence: Option<u32>,
        path: &Path,
    ) -> Result<IssuedFile, WorkshopFault> {
        let file = match (self.ledger.file(license_id, sequence)?, sequence) {
            (Some(file), _) => file,
            (None, None) => return Err(WorkshopFault::UnknownLicense(license_id)),
            (None, Some(sequence)) => {
                self.newest(license_id)?;
                return Err(WorkshopFault::UnknownSequence { license_id, sequence });
            }
        };
        write_whole(path, file.note.as_bytes())?;
        Ok(file)
    }

    /// Verifies a customer's deactivation receipt: it must be signed by an installation that some host request named.
    ///
    /// # Errors
    ///
    /// [`WorkshopFault::UnknownInstallation`], or what is wrong with the note.
    pub fn verify_receipt(&self, bytes: &[u8]) -> Result<Verified<DeactivationReceipt>, WorkshopFault> {
        let note = Note::parse(bytes)?;
        match NoteKind::claimed(bytes) {
            Some(NoteKind::Activation) => return Err(WorkshopFault::NotAReceipt("an activation file")),
            Some(NoteKind::Root) => return Err(WorkshopFault::NotAReceipt("a root")),
            Some(NoteKind::Request) => return Err(WorkshopFault::NotAReceipt("a host request")),
            Some(NoteKind::UsageReceipt) => return Err(WorkshopFault::NotAReceipt("a receipt for a usage file")),
            Some(NoteKind::CheckInRequest) => return Err(WorkshopFault::NotAReceipt("a request of a check-in")),
            Some(NoteKind::CheckInAnswer) => return Err(WorkshopFault::NotAReceipt("an answer to a check-in")),
            Some(NoteKind::Time) => return Err(WorkshopFault::NotAReceipt("a time note")),
            Some(NoteKind::DeactivationReceipt) | None => {}
        }
        let signer = note.signatures.first().map_or_else(String::new, |signature| signature.name.to_owned());
        let id = signer.strip_prefix("installation-").unwrap_or(&signer).parse();
        let known = match id {
            Ok(id) => self.ledger.installation(id)?,
            Err(_) => None,
        };
        let key = known.ok_or(WorkshopFault::UnknownInstallation(signer))?;
        Ok(DeactivationReceipt::verify(bytes, &key)?)
    }

    /// Takes a receipt that verifies into the records (VENDOR-7): it must be for the very closing file that was issued,
    /// and from a machine that the license was issued for. That machine is known by its installation, which its host ID
    /// records. Takes an Argon2id hash for each host of the license.
    ///
    /// # Errors
    ///
    /// Where any of that does not hold. Taking it a second time changes nothing.
    pub fn take_receipt(&mut self, bytes: &[u8], now: WallTime) -> Result<TakenReceipt, WorkshopFault> {
        self.take(bytes, now, false)
    }

    /// [`Self::take_receipt`] from any installation that is known: where a machine lost its installation key and made
    /// another, or its host ID records none. Who calls vouches for the machine.
    ///
    /// # Errors
    ///
    /// As of [`Self::take_receipt`], but for the machine.
    pub fn take_receipt_of_any(&mut self, bytes: &[u8], now: WallTime) -> Result<TakenReceipt, WorkshopFault> {
        self.take(bytes, now, true)
    }

    fn take(&mut self, bytes: &[u8], now: WallTime, any: bool) -> Result<TakenReceipt, WorkshopFault> {
        let receipt = self.verify_receipt(bytes)?;
        let file = self
            .ledger
            .file(receipt.license_id, Some(receipt.sequence))?
            .ok_or(WorkshopFault::UnknownSequence { license_id: receipt.license_id, sequence: receipt.sequence })?;
        if !file.closes {
            return Err(WorkshopFault::ReceiptMismatch("a file that does not close its license; nothing was recorded"));
        }
        if file.sha256 != receipt.sha256 {
            return Err(WorkshopFault::ReceiptMismatch(
                "other bytes than the closing file that was issued; nothing was recorded; ask the customer which file was loaded",
            ));
        }
        let (license_id, installation) = (receipt.license_id, receipt.installation_id);
        if !any && !self.is_on_a_host_of(&file, installation)? {
            return Err(WorkshopFault::OtherInstallation { license_id, installation });
        }
        let note = String::from_utf8_lossy(bytes);
        let new = self.ledger.add_receipt(&receipt, now, &note)?;
        let received = self.ledger.file(license_id, Some(receipt.sequence))?.map_or(0, |file| file.receipts);
        Ok(TakenReceipt { receipt: receipt.into_inner(), new, received, due: receipts_due(&file)? })
    }

    /// Whether a known installation is on one of the hosts that a closing file names, which are those of the last file
    /// that granted. A license without hosts runs anywhere.
    fn is_on_a_host_of(&self, closing: &IssuedFile, installation: InstallationId) -> Result<bool, WorkshopFault> {
        let Some(key) = self.ledger.installation(installation)? else {
            return Ok(false);
        };
        let facts = HostFacts::default().with_installation(&key);
        let hosts = Activation::read_unverified(closing.note.as_bytes())?.hosts;
        let is_on = |id: &HostId| id.compare(&facts).installation == FactorState::Same;
        Ok(hosts.is_empty() || hosts.iter().any(|host| is_on(&host.id)))
    }

    /// Makes the installation of a host request known, so that its receipts can be verified.
    ///
    /// # Errors
    ///
    /// Where the request does not verify.
    pub fn know_installation(&mut self, request: &[u8], now: WallTime) -> Result<(), WorkshopFault> {
        let request = leasehold_keys::request::HostRequest::verify(request)?;
        let host = order::HostOrder::requested(leasehold_keys::activation::HostRole::Primary, &request);
        if let Some(key) = host.installation {
            self.ledger.add_installation(&key, request.machine_name.as_str(), now)?;
        }
        Ok(())
    }
}
