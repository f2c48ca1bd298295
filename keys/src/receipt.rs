//! Deactivation receipts: an installation states, for the licensor's records, that it loaded the file that closes a
//! license (02, Deactivation).

use crate::{
    activation::LicenseId,
    digest::Sha256,
    installation::{InstallationId, InstallationKey, InstallationPublicKey},
    note::{self, Note, NoteKind},
    refusal::{Reason, Refusal},
    render::Text,
    request::signed_by_itself,
    strict::read_document,
    time::WallTime,
    verified::Verified,
};

/// What a deactivation receipt says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeactivationReceipt {
    /// The license that was closed.
    pub license_id: LicenseId,
    /// The sequence of the closing file.
    pub sequence: u32,
    /// The digest of the closing file.
    pub sha256: Sha256,
    /// The installation that closed it.
    pub installation_id: InstallationId,
    /// When.
    pub closed: WallTime,
}

impl DeactivationReceipt {
    fn render(&self) -> String {
        let mut text = Text::new(NoteKind::DeactivationReceipt);
        text.text("license-id", self.license_id);
        text.bare("sequence", self.sequence);
        text.text("sha256", self.sha256);
        text.text("installation-id", self.installation_id);
        text.text("closed", self.closed);
        text.finish()
    }

    /// The signed note. The caller names its own installation in [`Self::installation_id`].
    ///
    /// # Errors
    /// `not-its-installation` where the receipt names another installation.
    pub fn sign(&self, installation: &InstallationKey) -> Result<String, Refusal> {
        if self.installation_id != installation.id() {
            return Err(Refusal::new(
                Reason::NotItsInstallation,
                "The receipt names another installation than the one that signs",
            ));
        }
        note::sign(&self.render(), &[&installation.as_note_key()?])
    }

    /// Verifies a receipt by the public key that the licensor knows of the installation, then reads it.
    ///
    /// # Errors
    /// The first fault; `not-its-installation` where that key did not sign or another installation is named.
    pub fn verify(
        bytes: &[u8],
        installation: &InstallationPublicKey,
    ) -> Result<Verified<DeactivationReceipt>, Refusal> {
        let note = Note::parse(bytes)?;
        note.expect_kind(NoteKind::DeactivationReceipt)?;
        let signers = signed_by_itself(&note, &installation.as_note_key()?)?;
        let receipt = Self::parse(note.text)?;
        if receipt.installation_id != installation.id() {
            return Err(Refusal::new(
                Reason::NotItsInstallation,
                "The receipt names another installation than the one that signed",
            ));
        }
        Ok(Verified::new(receipt, bytes, signers))
    }

    fn parse(text: &str) -> Result<Self, Refusal> {
        read_document(text, |table| {
            table.required("format")?.one_of(&[(NoteKind::DeactivationReceipt.format(), ())])?;
            Ok(Self {
                license_id: LicenseId(crate::activation_text::uuid(&table.required("license-id")?)?),
                sequence: table.required("sequence")?.count()?,
                sha256: table.required("sha256")?.sha256()?,
                installation_id: table.required("installation-id")?.parsed()?,
                closed: table.required("closed")?.time()?,
            })
        })
    }
}
