//! Deactivation receipts: for each license that was closed here, a note signed by the installation that the site sends
//! to the licensor (02, The activation file).

use std::{
    io,
    path::{Path, PathBuf},
};

use leasehold_keys::{
    activation::Activation, installation::InstallationKey, receipt::DeactivationReceipt, refusal::Refusal,
    time::WallTime, trust::Verified,
};

use crate::files::{self, ReadFault, Room};

/// The folder of receipts in the state directory.
const FOLDER: &str = "receipts";

/// Why a receipt was not written.
#[derive(Debug, thiserror::Error)]
pub enum ReceiptFault {
    /// The file does not close anything, or the key cannot sign.
    #[error("the deactivation receipt cannot be signed: {0}")]
    Sign(#[from] Refusal),
    /// It cannot be put on disk.
    #[error(
        "the deactivation receipt {path} cannot be written: {fault}. It is tried again at the next look at the folder"
    )]
    Write {
        /// Where it belongs.
        path: PathBuf,
        /// Why.
        fault: io::Error,
    },
}

/// Where the receipts lie.
#[derive(Clone, Debug)]
pub struct Receipts {
    folder: PathBuf,
}

impl Receipts {
    /// The receipts of a state directory.
    pub fn of(state_directory: &Path) -> Self {
        Self { folder: state_directory.join(FOLDER) }
    }

    /// The folder in which they lie.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The receipt of a file that closed its license, where it is there.
    pub fn receipt_of(&self, closing: &Verified<Activation>) -> Option<PathBuf> {
        let path = self.folder.join(receipt_name(closing));
        path.is_file().then_some(path)
    }

    /// What is to be done with the receipt of a file that has closed its license, for people.
    pub fn told(&self, closing: &Verified<Activation>) -> String {
        match self.receipt_of(closing) {
            Some(path) => format!("Send {} to the licensor.", path.display()),
            None if self.is_owed(closing) => "Its receipt cannot be written yet; the log says why.".to_owned(),
            // It may have been taken away since, so this does not say that the license never ran here.
            None => "No receipt of it is here; one is due only where this server ran the license.".to_owned(),
        }
    }

    /// Notes that a receipt is owed once this file has closed its license, since that runs here. Whether it did cannot be
    /// told after a stop between the closing and the receipt.
    ///
    /// # Errors
    /// See [`ReceiptFault`].
    pub fn owe(&self, closing: &Verified<Activation>) -> Result<(), ReceiptFault> {
        if self.is_owed(closing) {
            return Ok(());
        }
        let name = owed_name(closing);
        let fault = |fault: io::Error| ReceiptFault::Write { path: self.folder.join(&name), fault };
        files::make_private_folder(&self.folder).map_err(fault)?;
        Room::open(&self.folder).and_then(|room| room.replace(name.as_ref(), b"", 0o600)).map_err(fault)
    }

    /// True where a receipt is owed for a file, or was written.
    pub fn is_owed(&self, closing: &Verified<Activation>) -> bool {
        self.receipt_of(closing).is_some() || self.folder.join(owed_name(closing)).is_file()
    }

    /// Writes the receipt of a file that closed its license ID. `None` where none is owed, or it is there already: a
    /// receipt keeps the date of the closing, however often the file is seen again.
    ///
    /// # Errors
    /// See [`ReceiptFault`].
    pub fn write(
        &self,
        closing: &Verified<Activation>,
        key: &InstallationKey,
        now: WallTime,
    ) -> Result<Option<PathBuf>, ReceiptFault> {
        if !self.is_owed(closing) {
            return Ok(None);
        }
        let name = receipt_name(closing);
        let path = self.folder.join(&name);
        let fault = |fault: io::Error| ReceiptFault::Write { path: path.clone(), fault };
        files::make_private_folder(&self.folder).map_err(fault)?;
        let room = Room::open(&self.folder).map_err(fault)?;
        match room.stamp(name.as_ref()) {
            Err(ReadFault::Missing) => {}
            _ => return Ok(None),
        }
        let receipt = DeactivationReceipt {
            license_id: closing.license_id,
            sequence: closing.sequence,
            sha256: closing.sha256(),
            installation_id: key.id(),
            closed: now,
        };
        let note = receipt.sign(key)?;
        room.replace(name.as_ref(), note.as_bytes(), 0o600).map_err(fault)?;
        // What stays behind does no harm.
        let _ = room.remove(owed_name(closing).as_ref());
        Ok(Some(path))
    }
}

fn receipt_name(closing: &Activation) -> String {
    format!("{}-{}.i3receipt", closing.license_id, closing.sequence)
}

fn owed_name(closing: &Activation) -> String {
    format!("{}-{}.owed", closing.license_id, closing.sequence)
}

#[cfg(test)]
mod tests;
