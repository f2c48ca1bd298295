//! Host requests: a machine tells the licensor who it is, signed by its own installation key. That proves that the
//! key's holder wrote it, and nothing about who that is.

use crate::{
    host::HostId,
    installation::{InstallationId, InstallationKey, note_name},
    key::{Algorithm, PublicKey},
    name::Label,
    note::{self, Note, NoteKind},
    refusal::{Reason, Refusal},
    render::Text,
    root,
    strict::read_document,
    time::WallTime,
    verified::{Signers, Verified},
};

/// What a host request says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostRequest {
    /// When it was made.
    pub created: WallTime,
    /// What people call the machine.
    pub machine_name: Label,
    /// The product that a license is wanted for.
    pub product: Option<Label>,
    /// The machine's host ID.
    pub host_id: HostId,
    /// The installation's public key, under the name `installation-ID`.
    pub installation: PublicKey,
}

impl HostRequest {
    /// The installation that asks.
    pub fn installation_id(&self) -> InstallationId {
        id_of(&self.installation)
    }

    /// The text of the note.
    fn render(&self) -> String {
        let mut text = Text::new(NoteKind::Request);
        text.text("created", self.created);
        text.text("machine-name", &self.machine_name);
        text.text_if("product", self.product.as_ref());
        text.text("host-id", &self.host_id);
        text.text("installation-id", self.installation_id());
        text.key("installation-key", &self.installation);
        text.finish()
    }

    /// Reads the text of a request. It proves nothing: see [`Self::verify`].
    ///
    /// # Errors
    /// The first fault with its line.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        read_document(text, |table| {
            table.required("format")?.one_of(&[(NoteKind::Request.format(), ())])?;
            let host_id = table.required("host-id")?;
            let (id, key) = (table.required("installation-id")?, table.required("installation-key")?);
            let installation = root::key(&key)?;
            if installation.algorithm() != Algorithm::Ed25519 || installation.name() != note_name(id_of(&installation))
            {
                return Err(key.refuse(Reason::BadKey, "is not an installation's Ed25519 key under its own name"));
            }
            if id.parsed::<InstallationId>()? != id_of(&installation) {
                return Err(id.refuse(Reason::BadValue, "is not the ID of the installation key below it"));
            }
            Ok(Self {
                created: table.required("created")?.time()?,
                machine_name: table.required("machine-name")?.parsed()?,
                product: table.optional("product").map(|value| value.parsed()).transpose()?,
                host_id: crate::activation_text::host_id(&host_id)?,
                installation,
            })
        })
    }

    /// Reads a request and verifies that the installation that it names signed it.
    ///
    /// # Errors
    /// The first fault; `not-its-installation` where that key did not sign.
    pub fn verify(bytes: &[u8]) -> Result<Verified<HostRequest>, Refusal> {
        let note = Note::parse(bytes)?;
        note.expect_kind(NoteKind::Request)?;
        // The key that must have signed stands in the text itself.
        let request = Self::parse(note.text)?;
        let signers = signed_by_itself(&note, &request.installation)?;
        Ok(Verified::new(request, bytes, signers))
    }
}

fn id_of(key: &PublicKey) -> InstallationId {
    InstallationId::of(key.key())
}

/// Verifies the one signature that a self-signed note must carry.
pub(crate) fn signed_by_itself(note: &Note<'_>, key: &PublicKey) -> Result<Signers, Refusal> {
    let Some(signature) = note.signature_of(key) else {
        return Err(Refusal::new(Reason::NotItsInstallation, format!("The key {} did not sign it", key.name())));
    };
    if signature.signature.len() != key.algorithm().signature_bytes() {
        return Err(Refusal::at(Reason::WrongSignatureLength, signature.line, "The signature has a wrong length"));
    }
    if !key.verifies(note.text.as_bytes(), &signature.signature) {
        return Err(Refusal::at(
            Reason::BadSignature,
            signature.line,
            format!("The signature of {} does not fit the text: it was changed, or it is forged", key.name()),
        ));
    }
    Ok(Signers { names: vec![key.name().to_owned()], epoch: 0, key_sha256: key.sha256() })
}

/// Makes a host request, signed by the installation.
///
/// # Errors
/// `bad-key` where the key cannot sign.
pub fn make(
    installation: &InstallationKey,
    host_id: HostId,
    machine_name: Label,
    product: Option<Label>,
    created: WallTime,
) -> Result<String, Refusal> {
    let key = installation.as_note_key()?;
    let request = HostRequest { created, machine_name, product, host_id, installation: key.public().clone() };
    note::sign(&request.render(), &[&key])
}
