//! C2SP signed notes: a text, a blank line, signature lines. Here the bytes are judged and signatures made; which keys
//! count, and how many are needed, is [`crate::trust`]'s matter.

use std::fmt;

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

use crate::{
    key::{PublicKey, SigningKey},
    refusal::{Reason, Refusal, quote},
};

/// The most bytes of a note.
pub const NOTE_MAX_BYTES: usize = 128 * 1024;
/// The most lines of a note, signature lines among them.
pub const NOTE_MAX_LINES: usize = 4_096;
/// The most bytes of a line of the text, without its LF.
pub const TEXT_LINE_MAX_BYTES: usize = 1_024;
/// The most bytes of a signature line, without its LF: one of ML-DSA-65 takes about 4,500.
pub const SIGNATURE_LINE_MAX_BYTES: usize = 6_144;
/// The most signatures of a note.
pub const SIGNATURES_MAX: usize = 16;
/// The most bytes of a key's name.
pub const SIGNER_NAME_MAX_BYTES: usize = 128;

/// What a signature line begins with: an em dash and a blank.
const SIGNATURE_PREFIX: &str = "— ";

/// Standard base64, padded, with no spare bits set: one spelling for each value.
pub(crate) const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical)
        .with_decode_allow_trailing_bits(false),
);

/// The kinds of note. The kind stands in the first line, inside the signed bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NoteKind {
    /// The licensor's anchor.
    Root,
    /// What was bought.
    Activation,
    /// A host asks for an activation file.
    Request,
    /// A host has given a license back.
    DeactivationReceipt,
    /// The licensor has a usage file.
    UsageReceipt,
    /// An installation asks how its license stands.
    CheckInRequest,
    /// The licensor says how a license stands.
    CheckInAnswer,
    /// The licensor says what time it is.
    Time,
}

impl NoteKind {
    /// Every kind.
    pub const ALL: [NoteKind; 8] = [
        NoteKind::Root,
        NoteKind::Activation,
        NoteKind::Request,
        NoteKind::DeactivationReceipt,
        NoteKind::UsageReceipt,
        NoteKind::CheckInRequest,
        NoteKind::CheckInAnswer,
        NoteKind::Time,
    ];

    /// The value of the `format` field.
    pub const fn format(self) -> &'static str {
        match self {
            NoteKind::Root => "leasehold/root/1",
            NoteKind::Activation => "leasehold/activation/1",
            NoteKind::Request => "leasehold/request/1",
            NoteKind::DeactivationReceipt => "leasehold/deactivation-receipt/1",
            NoteKind::UsageReceipt => "leasehold/usage-receipt/1",
            NoteKind::CheckInRequest => "leasehold/check-in-request/1",
            NoteKind::CheckInAnswer => "leasehold/check-in-answer/1",
            NoteKind::Time => "leasehold/time/1",
        }
    }

    /// The whole first line, without its LF.
    pub fn first_line(self) -> String {
        format!("format = \"{}\"", self.format())
    }

    /// The kind that a note says it is of, by its first line. Nothing is verified: for sorting files only.
    pub fn claimed(bytes: &[u8]) -> Option<NoteKind> {
        let line = bytes.split(|byte| *byte == b'\n').next()?;
        Self::ALL.into_iter().find(|kind| kind.first_line().as_bytes() == line)
    }
}

impl fmt::Display for NoteKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NoteKind::Root => "root",
            NoteKind::Activation => "activation file",
            NoteKind::Request => "host request",
            NoteKind::DeactivationReceipt => "deactivation receipt",
            NoteKind::UsageReceipt => "usage receipt",
            NoteKind::CheckInRequest => "check-in request",
            NoteKind::CheckInAnswer => "check-in answer",
            NoteKind::Time => "time note",
        })
    }
}

/// One signature line. It proves nothing until it is verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoteSignature<'a> {
    /// The name of the key.
    pub name: &'a str,
    /// The key ID.
    pub key_id: u32,
    /// The signature bytes after the key ID.
    pub signature: Vec<u8>,
    /// Its line, from 1.
    pub line: u32,
}

/// A note whose shape is right; nothing in it is verified yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note<'a> {
    /// The signed bytes: whole lines, the last LF among them, without the blank line.
    pub text: &'a str,
    /// The signature lines, in their order.
    pub signatures: Vec<NoteSignature<'a>>,
}

impl<'a> Note<'a> {
    /// Takes a note apart, within the limits of `FORMAT.md`.
    ///
    /// # Errors
    /// The first thing that is wrong, with its line.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Refusal> {
        let all = plain_text(bytes)?;
        let Some(blank) = all.rfind("\n\n") else {
            return Err(Refusal::new(
                Reason::NoBlankLine,
                "There is no blank line between the text and its signatures, so this is no signed file or only a part of one",
            ));
        };
        let (text, rest) = (&all[..=blank], &all[blank + 2..]);
        let text_lines = lines_of(text);
        if let Some((index, line)) = text.lines().enumerate().find(|(_, line)| line.len() > TEXT_LINE_MAX_BYTES) {
            return Err(Refusal::at(
                Reason::LineTooLong,
                nth(index),
                format!("The line has {} bytes; at most {TEXT_LINE_MAX_BYTES} are allowed", line.len()),
            ));
        }
        let looks_signed = rest.lines().any(|line| line.starts_with(['—', '-', '–', '―', '−']));
        if !looks_signed {
            return Err(Refusal::new(Reason::NoSignature, "No signature follows the text"));
        }
        let Some(rest) = rest.strip_suffix('\n') else {
            return Err(Refusal::at(
                Reason::MalformedSignatureLine,
                nth(text_lines + lines_of(rest)),
                "The last line is not ended by a line feed, so the file may be cut off",
            ));
        };
        let mut signatures: Vec<NoteSignature<'a>> = Vec::new();
        for (index, line) in rest.split('\n').enumerate() {
            let number = nth(text_lines + 1 + index);
            if index == SIGNATURES_MAX {
                return Err(Refusal::at(
                    Reason::TooManySignatures,
                    number,
                    format!("There are more than {SIGNATURES_MAX} signatures"),
                ));
            }
            let signature = signature_line(line, number)?;
            if signatures.iter().any(|other| (other.name, other.key_id) == (signature.name, signature.key_id)) {
                return Err(Refusal::at(
                    Reason::DuplicateSignature,
                    number,
                    format!("The key {} has a signature line already", quote(signature.name)),
                ));
            }
            signatures.push(signature);
        }
        Ok(Self { text, signatures })
    }

    /// Refuses a note of another kind by its first line.
    pub(crate) fn expect_kind(&self, kind: NoteKind) -> Result<(), Refusal> {
        if self.text.split('\n').next() == Some(&kind.first_line()) {
            return Ok(());
        }
        let what = match NoteKind::claimed(self.text.as_bytes()) {
            Some(other) => format!("This is of the kind `{other}`, and a note of the kind `{kind}` belongs here"),
            None => {
                format!("The first line is not `{}`, as that of every note of the kind `{kind}` is", kind.first_line())
            }
        };
        Err(Refusal::at(Reason::WrongKind, 1, what))
    }

    /// The signature of this very key, by name and key ID.
    pub(crate) fn signature_of(&self, key: &PublicKey) -> Option<&NoteSignature<'a>> {
        self.signatures.iter().find(|signature| signature.name == key.name() && signature.key_id == key.id())
    }
}

/// Signs `text` with each of `keys`, in their order, and gives the whole note.
///
/// # Errors
/// Where the text or the outcome would not be read again by [`Note::parse`]: no LF at the end, limits passed, no key,
/// one key twice.
pub fn sign(text: &str, keys: &[&SigningKey]) -> Result<String, Refusal> {
    if text.is_empty() {
        return Err(Refusal::new(Reason::Empty, "There is no text to sign"));
    }
    if !text.ends_with('\n') {
        return Err(Refusal::new(Reason::NoBlankLine, "The text to sign does not end with a line feed"));
    }
    let mut note = format!("{text}\n");
    for key in keys {
        let public = key.public();
        let mut bytes = public.id().to_be_bytes().to_vec();
        bytes.extend(key.sign(text.as_bytes())?);
        note += &format!("{SIGNATURE_PREFIX}{} {}\n", public.name(), BASE64.encode(bytes));
    }
    let parsed = Note::parse(note.as_bytes())?;
    debug_assert_eq!(parsed.text, text);
    Ok(note)
}

/// The bytes as text, within the limits that hold for all of a note.
fn plain_text(bytes: &[u8]) -> Result<&str, Refusal> {
    if bytes.is_empty() {
        return Err(Refusal::new(Reason::Empty, "The file is empty"));
    }
    if bytes.len() > NOTE_MAX_BYTES {
        return Err(Refusal::new(
            Reason::TooLarge,
            format!("The file has {} bytes; a signed file has at most {NOTE_MAX_BYTES}", bytes.len()),
        ));
    }
    let line_at = |offset: usize| nth(bytes[..offset].iter().filter(|byte| **byte == b'\n').count());
    let text = std::str::from_utf8(bytes)
        .map_err(|fault| Refusal::at(Reason::NotUtf8, line_at(fault.valid_up_to()), "The line is not UTF-8 text"))?;
    for (offset, character) in text.char_indices() {
        let refused = match character {
            '\n' => continue,
            '\r' => (Reason::CarriageReturn, "The line has a carriage return"),
            '\u{feff}' => (Reason::ByteOrderMark, "The line holds a byte order mark"),
            other if other.is_control() => (Reason::ControlCharacter, "The line holds a control character"),
            _ => continue,
        };
        return Err(Refusal::at(refused.0, line_at(offset), refused.1));
    }
    let lines = lines_of(text);
    if lines > NOTE_MAX_LINES {
        return Err(Refusal::new(
            Reason::TooManyLines,
            format!("The file has {lines} lines; a signed file has at most {NOTE_MAX_LINES}"),
        ));
    }
    Ok(text)
}

fn signature_line(line: &str, number: u32) -> Result<NoteSignature<'_>, Refusal> {
    let refuse = |reason, what: String| Err(Refusal::at(reason, number, what));
    if line.len() > SIGNATURE_LINE_MAX_BYTES {
        return refuse(
            Reason::LineTooLong,
            format!("The signature line has {} bytes; at most {SIGNATURE_LINE_MAX_BYTES} are allowed", line.len()),
        );
    }
    let Some((name, encoded)) = line.strip_prefix(SIGNATURE_PREFIX).and_then(|rest| rest.split_once(' ')) else {
        return refuse(
            Reason::MalformedSignatureLine,
            format!("{} is not a signature line: an em dash, the key's name, base64", quote(line)),
        );
    };
    if !is_signer_name(name) {
        return refuse(Reason::MalformedSignatureLine, format!("{} cannot be the name of a key", quote(name)));
    }
    let Ok(bytes) = BASE64.decode(encoded) else {
        return refuse(Reason::BadBase64, format!("The signature of {} is not canonical base64", quote(name)));
    };
    match bytes.split_first_chunk::<4>() {
        Some((id, signature)) if !signature.is_empty() => {
            Ok(NoteSignature { name, key_id: u32::from_be_bytes(*id), signature: signature.to_vec(), line: number })
        }
        _ => refuse(Reason::WrongSignatureLength, format!("The signature of {} is too short to be one", quote(name))),
    }
}

/// The name of a key: 1 to 128 bytes without blanks, `+` or control characters.
pub(crate) fn is_signer_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= SIGNER_NAME_MAX_BYTES
        && !name.contains(|c: char| c.is_whitespace() || c == '+' || c.is_control())
}

/// Lines of a text, with a last one that no LF ends.
fn lines_of(text: &str) -> usize {
    text.bytes().filter(|byte| *byte == b'\n').count() + usize::from(!text.ends_with('\n') && !text.is_empty())
}

/// A line number from an index; no note has more lines than fit.
fn nth(index: usize) -> u32 {
    u32::try_from(index + 1).unwrap_or(u32::MAX)
}
