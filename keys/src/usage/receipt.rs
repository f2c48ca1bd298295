//! Usage receipts: the licensor states that it has a usage file, so that the customer may let go of it (04, Delivery).

use super::name::SegmentName;
use crate::{
    activation::LicenseId,
    activation_text::uuid,
    digest::Sha256,
    installation::InstallationId,
    key::SigningKey,
    note::{self, NoteKind},
    refusal::{Reason, Refusal},
    render::Text,
    strict::read_document,
    time::WallTime,
};

/// What a usage receipt says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageReceipt {
    /// The license that the file reports on.
    pub license_id: LicenseId,
    /// The file: installation, segment and day.
    pub name: SegmentName,
    /// The digest of the file.
    pub sha256: Sha256,
    /// Its bytes.
    pub size: u32,
    /// When the licensor had all of it.
    pub received: WallTime,
}

impl UsageReceipt {
    /// The installation that wrote the file.
    pub fn installation(&self) -> InstallationId {
        self.name.installation
    }

    /// The text of the note.
    pub fn render(&self) -> String {
        let mut text = Text::new(NoteKind::UsageReceipt);
        text.text("license-id", self.license_id);
        text.text("installation-id", self.name.installation);
        text.bare("segment", self.name.segment);
        text.text("name", self.name);
        text.text("sha256", self.sha256);
        text.bare("size", self.size);
        text.text("received", self.received);
        text.finish()
    }

    /// The note, signed by receipt keys of the root.
    ///
    /// # Errors
    /// What would not be read again.
    pub fn sign(&self, keys: &[&SigningKey]) -> Result<String, Refusal> {
        note::sign(&self.render(), keys)
    }

    /// Refuses a receipt that is not for this very file.
    ///
    /// # Errors
    /// `another-file`, with what differs.
    pub fn fits(&self, name: SegmentName, bytes: &[u8]) -> Result<(), Refusal> {
        self.fits_digest(name, Sha256::of(bytes), bytes.len() as u64)
    }

    /// As [`Self::fits`], by a digest that was taken before.
    ///
    /// # Errors
    /// `another-file`, with what differs.
    pub fn fits_digest(&self, name: SegmentName, sha256: Sha256, size: u64) -> Result<(), Refusal> {
        let what = if name != self.name {
            format!("The receipt is for {}, not for {name}", self.name)
        } else if (sha256, size) != (self.sha256, u64::from(self.size)) {
            format!(
                "The receipt for {name} is for {} bytes with the SHA-256 {}, and the file here has {size} bytes with the \
                 SHA-256 {sha256}",
                self.size, self.sha256
            )
        } else {
            return Ok(());
        };
        Err(Refusal::new(Reason::AnotherFile, what))
    }

    /// Reads the text of a receipt; [`crate::trust::Trust::usage_receipt`] verifies.
    ///
    /// # Errors
    /// The first fault with its line.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        read_document(text, |table| {
            table.required("format")?.one_of(&[(NoteKind::UsageReceipt.format(), ())])?;
            let license_id = LicenseId(uuid(&table.required("license-id")?)?);
            let installation = table.required("installation-id")?;
            let segment = table.required("segment")?;
            let name = table.required("name")?;
            let named: SegmentName = name.parsed()?;
            if installation.parsed::<InstallationId>()? != named.installation || segment.count()? != named.segment {
                return Err(name.refuse(Reason::BadValue, "names another installation or segment than the receipt"));
            }
            Ok(Self {
                license_id,
                name: named,
                sha256: table.required("sha256")?.sha256()?,
                size: table.required("size")?.count()?,
                received: table.required("received")?.time()?,
            })
        })
    }
}
