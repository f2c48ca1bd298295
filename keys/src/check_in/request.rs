//! Requests: an installation says who it is, what it has and what it answered last, and asks how its license stands.

use super::{
    answer::CheckInAnswer,
    parts::{ClockEvidence, Nonce, WitnessEvidence, WitnessKind},
};
use crate::{
    activation::{HostRole, LicenseId},
    activation_text,
    digest::Sha256,
    host::HostId,
    installation::{InstallationId, InstallationKey, InstallationPublicKey, note_name},
    key::Algorithm,
    name::Label,
    note::{self, Note, NoteKind},
    refusal::{Reason, Refusal},
    render::Text,
    request::signed_by_itself,
    root,
    strict::{Table, Value, read_document},
    time::WallTime,
    usage::Head,
    verified::Verified,
};

/// What a request says. Each number is at most 2⁶³ − 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckInRequest {
    /// When it was made, by the daemon's trusted time.
    pub created: WallTime,
    /// What the answer must repeat.
    pub nonce: Nonce,
    /// The license that it asks for.
    pub license_id: LicenseId,
    /// The sequence of the activation file in effect.
    pub sequence: u32,
    /// The digest of that file: whoever knows the license ID alone cannot ask.
    pub file: Sha256,
    /// The version of the root in force.
    pub root_version: u32,
    /// The part that this server plays in the license; `None` where the file names no host.
    pub role: Option<HostRole>,
    /// The installation that asks.
    pub installation: InstallationPublicKey,
    /// Its machine's host ID.
    pub host_id: HostId,
    /// From 1; higher than that of the request whose answer is quoted in `previous_answer`.
    pub counter: u64,
    /// The digest of the last answer that counted; `None` before the first.
    pub previous_answer: Option<Sha256>,
    /// The head of the installation's usage chain; `None` where it writes none.
    pub usage_head: Option<Head>,
    /// The highest fencing number that was granted; 0 where none was.
    pub fencing: u64,
    /// The number of the daemon's start that grants now.
    pub epoch: u64,
    /// What the operating system calls the time since the machine's start.
    pub boot_id: Label,
    /// The version of the daemon.
    pub version: Label,
    /// What is known of the machine's clock.
    pub clock: ClockEvidence,
    /// What witnesses gave away, each kind once.
    pub witness: Vec<WitnessEvidence>,
}

/// What the asker keeps of a request to know its answer by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outstanding {
    /// The digest of the whole request note.
    pub request: Sha256,
    /// Its nonce.
    pub nonce: Nonce,
    /// Its license.
    pub license_id: LicenseId,
    /// Its installation.
    pub installation: InstallationId,
    /// Its counter.
    pub counter: u64,
}

impl Verified<CheckInRequest> {
    /// What an answer to it must fit.
    pub fn outstanding(&self) -> Outstanding {
        Outstanding {
            request: self.sha256(),
            nonce: self.nonce,
            license_id: self.license_id,
            installation: self.installation.id(),
            counter: self.counter,
        }
    }

    /// An answer to it that says what `answer` says of standing, and names it in all else.
    pub fn answered(&self, time: WallTime, standing: super::CheckInStanding) -> CheckInAnswer {
        let Outstanding { request, nonce, license_id, installation, counter } = self.outstanding();
        CheckInAnswer {
            request,
            nonce,
            license_id,
            installation,
            counter,
            time,
            standing,
            roots: Vec::new(),
            files: Vec::new(),
            message: None,
        }
    }
}

impl CheckInRequest {
    /// The text of the note.
    pub fn render(&self) -> String {
        let mut text = Text::new(NoteKind::CheckInRequest);
        text.text("created", self.created);
        text.text("nonce", self.nonce);
        text.text("license-id", self.license_id);
        text.bare("sequence", self.sequence);
        text.text("file", self.file);
        text.bare("root-version", self.root_version);
        text.text_if("role", self.role.map(role_word));
        text.text("installation-id", self.installation.id());
        // A key that was read is one that can be written.
        if let Ok(key) = self.installation.as_note_key() {
            text.key("installation-key", &key);
        }
        text.long("host-id", &self.host_id.to_string());
        text.bare("counter", self.counter);
        text.text_if("previous-answer", self.previous_answer);
        text.text_if("usage-head", self.usage_head);
        text.bare("fencing", self.fencing);
        text.bare("epoch", self.epoch);
        text.text("boot-id", &self.boot_id);
        text.text("version", &self.version);
        text.head("[clock]");
        text.text("wall", self.clock.wall);
        text.bare("roll-backs", self.clock.roll_backs);
        text.bare("last-roll-back-ms", self.clock.last_roll_back_ms);
        text.bare("unconfirmed-ms", self.clock.unconfirmed_ms);
        text.bare("withdrawn", self.clock.withdrawn);
        for witness in &self.witness {
            text.head("[[witness]]");
            text.text("kind", witness.kind);
            text.bare("count", witness.count);
            text.text("newest", witness.newest);
        }
        text.finish()
    }

    /// The note, signed by the installation, with what its answer must fit.
    ///
    /// # Errors
    /// `not-its-installation` where the request names another installation; what would not be read again.
    pub fn sign(&self, installation: &InstallationKey) -> Result<Verified<CheckInRequest>, Refusal> {
        if self.installation != installation.public() {
            return Err(Refusal::new(
                Reason::NotItsInstallation,
                "The request names another installation than the one that signs",
            ));
        }
        // Times are cut to whole seconds by it, so what is read again is what was sent.
        Self::verify(note::sign(&self.render(), &[&installation.as_note_key()?])?.as_bytes())
    }

    /// Reads a request and verifies that the installation that it names signed it.
    ///
    /// # Errors
    /// The first fault; `not-its-installation` where that key did not sign.
    pub fn verify(bytes: &[u8]) -> Result<Verified<CheckInRequest>, Refusal> {
        let note = Note::parse(bytes)?;
        note.expect_kind(NoteKind::CheckInRequest)?;
        // The key that must have signed stands in the text itself.
        let request = Self::parse(note.text)?;
        let signers = signed_by_itself(&note, &request.installation.as_note_key()?)?;
        Ok(Verified::new(request, bytes, signers))
    }

    /// Reads the text of a request. It proves nothing: see [`Self::verify`].
    ///
    /// # Errors
    /// The first fault with its line.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        read_document(text, |table| {
            table.required("format")?.one_of(&[(NoteKind::CheckInRequest.format(), ())])?;
            let host_id = table.required("host-id")?;
            Ok(Self {
                created: table.required("created")?.time()?,
                nonce: table.required("nonce")?.parsed()?,
                license_id: LicenseId(activation_text::uuid(&table.required("license-id")?)?),
                sequence: from_one(&table.required("sequence")?, |value| value.count())?,
                file: table.required("file")?.sha256()?,
                root_version: from_one(&table.required("root-version")?, |value| value.count())?,
                role: table.optional("role").map(|value| value.one_of(&ROLES)).transpose()?,
                installation: installation(table)?,
                host_id: activation_text::host_id(&host_id)?,
                counter: from_one(&table.required("counter")?, |value| value.number())?,
                previous_answer: table.optional("previous-answer").map(|value| value.sha256()).transpose()?,
                usage_head: table.optional("usage-head").map(|value| value.parsed()).transpose()?,
                fencing: table.required("fencing")?.number()?,
                epoch: table.required("epoch")?.number()?,
                boot_id: table.required("boot-id")?.parsed()?,
                version: table.required("version")?.parsed()?,
                clock: table.required("clock")?.table("clock", clock)?,
                witness: witnesses(table)?,
            })
        })
    }
}

const ROLES: [(&str, HostRole); 2] = [("primary", HostRole::Primary), ("switchover", HostRole::Switchover)];

fn role_word(role: HostRole) -> &'static str {
    match role {
        HostRole::Primary => "primary",
        HostRole::Switchover => "switchover",
    }
}

/// A number that is not 0.
fn from_one<N: PartialEq + Default>(
    value: &Value<'_>,
    read: impl FnOnce(&Value<'_>) -> Result<N, Refusal>,
) -> Result<N, Refusal> {
    let number = read(value)?;
    if number == N::default() {
        return Err(value.refuse(Reason::BadValue, "is 0; it begins at 1"));
    }
    Ok(number)
}

/// The installation's key under its own name, and its ID beside it.
fn installation(table: &mut Table<'_>) -> Result<InstallationPublicKey, Refusal> {
    let (id, key) = (table.required("installation-id")?, table.required("installation-key")?);
    let named = root::key(&key)?;
    let unfit = || key.refuse(Reason::BadKey, "is not an installation's Ed25519 key under its own name");
    let bytes = named.key().try_into().ok().filter(|_| named.algorithm() == Algorithm::Ed25519).ok_or_else(unfit)?;
    let installation = InstallationPublicKey::new(bytes)?;
    if named.name() != note_name(installation.id()) {
        return Err(unfit());
    }
    if id.parsed::<InstallationId>()? != installation.id() {
        return Err(id.refuse(Reason::BadValue, "is not the ID of the installation key below it"));
    }
    Ok(installation)
}

fn clock(table: &mut Table<'_>) -> Result<ClockEvidence, Refusal> {
    Ok(ClockEvidence {
        wall: table.required("wall")?.time()?,
        roll_backs: table.required("roll-backs")?.number()?,
        last_roll_back_ms: table.required("last-roll-back-ms")?.number()?,
        unconfirmed_ms: table.required("unconfirmed-ms")?.number()?,
        withdrawn: table.required("withdrawn")?.number()?,
    })
}

fn witnesses(table: &mut Table<'_>) -> Result<Vec<WitnessEvidence>, Refusal> {
    let mut seen = Vec::new();
    table.tables("witness", |table| {
        let kind = table.required("kind")?;
        let evidence = WitnessEvidence {
            kind: kind.one_of(&WitnessKind::NAMES)?,
            count: from_one(&table.required("count")?, |value| value.number())?,
            newest: table.required("newest")?.time()?,
        };
        if seen.contains(&evidence.kind) {
            return Err(kind.refuse(Reason::BadValue, format_args!("is {} twice", evidence.kind)));
        }
        seen.push(evidence.kind);
        Ok(evidence)
    })
}
