//! Answers: the licensor says how a license stands, to one request of one installation.

use std::fmt;

use super::{
    parts::{Message, Nonce},
    request::{CheckInRequest, Outstanding},
};
use crate::{
    activation::LicenseId,
    activation_text,
    digest::Sha256,
    installation::InstallationId,
    key::SigningKey,
    note::{self, NoteKind},
    refusal::{Reason, Refusal},
    render::Text,
    strict::{Value, read_document},
    time::WallTime,
    verified::Verified,
};

/// The most roots, and the most files, that an answer names.
pub const LISTED_MAX: usize = 24;

/// How a license stands (05, Standing).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckInStanding {
    /// In good standing: the period begins anew.
    Good,
    /// More installations than were licensed seem to run: the period goes on until the licensor clears it.
    Duplicate,
    /// The license is withdrawn.
    Revoked {
        /// From when.
        from: WallTime,
    },
}

impl CheckInStanding {
    /// `good`, `duplicate`, `revoked`.
    pub const fn word(self) -> &'static str {
        match self {
            CheckInStanding::Good => "good",
            CheckInStanding::Duplicate => "duplicate",
            CheckInStanding::Revoked { .. } => "revoked",
        }
    }
}

impl fmt::Display for CheckInStanding {
    /// `good`, `duplicate`, `revoked from 2026-12-01T00:00:00Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())?;
        match self {
            CheckInStanding::Revoked { from } => write!(f, " from {from}"),
            CheckInStanding::Good | CheckInStanding::Duplicate => Ok(()),
        }
    }
}

/// What an answer says. It counts only where it [fits](Self::fits) the request that is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckInAnswer {
    /// The digest of the request note that it answers.
    pub request: Sha256,
    /// That request's nonce.
    pub nonce: Nonce,
    /// Its license.
    pub license_id: LicenseId,
    /// Its installation.
    pub installation: InstallationId,
    /// Its counter.
    pub counter: u64,
    /// When it was answered, by the licensor's clock.
    pub time: WallTime,
    /// How the license stands.
    pub standing: CheckInStanding,
    /// The digests of newer roots, the oldest first; they come beside it.
    pub roots: Vec<Sha256>,
    /// The digests of newer activation files for this license; they come beside it.
    pub files: Vec<Sha256>,
    /// Words for the administrator.
    pub message: Option<Message>,
}

impl CheckInAnswer {
    /// The text of the note.
    pub fn render(&self) -> String {
        let mut text = Text::new(NoteKind::CheckInAnswer);
        text.text("request", self.request);
        text.text("nonce", self.nonce);
        text.text("license-id", self.license_id);
        text.text("installation-id", self.installation);
        text.bare("counter", self.counter);
        text.text("time", self.time);
        text.text("standing", self.standing.word());
        if let CheckInStanding::Revoked { from } = self.standing {
            text.text("from", from);
        }
        text.list("roots", &self.roots);
        text.list("files", &self.files);
        if let Some(message) = &self.message {
            text.words("message", message.as_str());
        }
        text.finish()
    }

    /// The note, signed by check-in keys of the root.
    ///
    /// # Errors
    /// What would not be read again.
    pub fn sign(&self, keys: &[&SigningKey]) -> Result<String, Refusal> {
        let text = self.render();
        Self::parse(&text)?;
        note::sign(&text, keys)
    }

    /// Refuses an answer that is not to this very request: a replayed one, one that was meant for another site, one to a
    /// question that nobody asked. Whether it came in time is the asker's matter.
    ///
    /// # Errors
    /// `another-license`, `another-installation`, `another-counter`, `another-nonce`, `another-request`: the first that
    /// differs, with what it is and what it ought to be.
    pub fn fits(&self, asked: &Outstanding) -> Result<(), Refusal> {
        let refuse = |reason, what: String| Err(Refusal::new(reason, what));
        if self.license_id != asked.license_id {
            return refuse(
                Reason::AnotherLicense,
                format!("The answer is for license {}, and {} was asked for", self.license_id, asked.license_id),
            );
        }
        if self.installation != asked.installation {
            return refuse(
                Reason::AnotherInstallation,
                format!("The answer is for installation {}, and this is {}", self.installation, asked.installation),
            );
        }
        if self.counter != asked.counter {
            return refuse(
                Reason::AnotherCounter,
                format!(
                    "The answer is to request {} of this installation, and request {} is open",
                    self.counter, asked.counter
                ),
            );
        }
        if self.nonce != asked.nonce {
            return refuse(
                Reason::AnotherNonce,
                format!("The answer does not repeat the nonce of request {}: it was made for another", asked.counter),
            );
        }
        if self.request != asked.request {
            return refuse(
                Reason::AnotherRequest,
                format!(
                    "The answer is to the request with the SHA-256 {}, and {} is open",
                    self.request, asked.request
                ),
            );
        }
        Ok(())
    }

    /// As [`Self::fits`], for who has the request at hand.
    ///
    /// # Errors
    /// As [`Self::fits`].
    pub fn fits_request(&self, request: &Verified<CheckInRequest>) -> Result<(), Refusal> {
        self.fits(&request.outstanding())
    }

    /// Reads the text of an answer; [`crate::trust::Trust::check_in_answer`] verifies.
    ///
    /// # Errors
    /// The first fault with its line.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        read_document(text, |table| {
            table.required("format")?.one_of(&[(NoteKind::CheckInAnswer.format(), ())])?;
            let counter = table.required("counter")?;
            if counter.number()? == 0 {
                return Err(counter.refuse(Reason::BadValue, "is 0; it begins at 1"));
            }
            let word = table.required("standing")?;
            let from = table.optional("from");
            let standing = match (word.one_of(&[("good", 'g'), ("duplicate", 'd'), ("revoked", 'r')])?, &from) {
                ('r', Some(from)) => CheckInStanding::Revoked { from: from.time()? },
                ('r', None) => {
                    return Err(word.refuse(Reason::MissingField, "is `revoked`, and there is no field `from`"));
                }
                (_, Some(from)) => {
                    return Err(from.refuse(Reason::UnknownField, "belongs to the standing `revoked` alone"));
                }
                ('d', None) => CheckInStanding::Duplicate,
                _ => CheckInStanding::Good,
            };
            Ok(Self {
                request: table.required("request")?.sha256()?,
                nonce: table.required("nonce")?.parsed()?,
                license_id: LicenseId(activation_text::uuid(&table.required("license-id")?)?),
                installation: table.required("installation-id")?.parsed()?,
                counter: counter.number()?,
                time: table.required("time")?.time()?,
                standing,
                roots: listed(table.optional("roots"))?,
                files: listed(table.optional("files"))?,
                message: table.optional("message").map(|value| message(&value)).transpose()?,
            })
        })
    }
}

/// Digests, each once, in their order.
fn listed(value: Option<Value<'_>>) -> Result<Vec<Sha256>, Refusal> {
    let Some(value) = value else {
        return Ok(Vec::new());
    };
    let elements = value.elements("an array of texts")?;
    if elements.len() > LISTED_MAX {
        return Err(value.refuse(
            Reason::BadValue,
            format_args!("has {} elements; at most {LISTED_MAX} are allowed", elements.len()),
        ));
    }
    let mut digests = Vec::new();
    for element in elements {
        let digest = element.sha256()?;
        if digests.contains(&digest) {
            return Err(element.refuse(Reason::BadValue, format_args!("names {digest} twice")));
        }
        digests.push(digest);
    }
    Ok(digests)
}

fn message(value: &Value<'_>) -> Result<Message, Refusal> {
    value.chunks()?.parse().map_err(|fault| value.refuse(Reason::BadValue, format_args!("is no message: {fault}")))
}
