//! What requests and answers are made of: the nonce, evidence of clocks and witnesses, words for the administrator.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{
    digest::{hex, unhex},
    installation::NotHex,
    key::random_seed,
    name::is_hidden,
    refusal::Refusal,
    time::WallTime,
};

/// What an answer must repeat: 32 random bytes, made for one request, written as 64 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Nonce(pub [u8; 32]);

impl Nonce {
    /// A new one.
    ///
    /// # Errors
    /// `bad-key` where the operating system gives no random bytes.
    pub fn random() -> Result<Self, Refusal> {
        random_seed().map(Self)
    }
}

impl fmt::Display for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl FromStr for Nonce {
    type Err = NotHex;

    fn from_str(text: &str) -> Result<Self, NotHex> {
        unhex(text).and_then(|bytes| bytes.try_into().ok()).map(Self).ok_or(NotHex::digits(64))
    }
}

impl TryFrom<String> for Nonce {
    type Error = NotHex;

    fn try_from(text: String) -> Result<Self, NotHex> {
        text.parse()
    }
}

impl From<Nonce> for String {
    fn from(nonce: Nonce) -> Self {
        nonce.to_string()
    }
}

/// What the daemon knows of its machine's clock (05, Time). Each number is at most 2⁶³ − 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockEvidence {
    /// What the wall clock says, beside the trusted time of [`super::CheckInRequest::created`].
    pub wall: WallTime,
    /// How often the wall clock fell behind trusted time.
    pub roll_backs: u64,
    /// By how much it did the last time, in milliseconds; 0 where it never did.
    pub last_roll_back_ms: u64,
    /// How far trusted time is ahead of what is confirmed, in milliseconds.
    pub unconfirmed_ms: u64,
    /// How often a jump that was not confirmed was taken back.
    pub withdrawn: u64,
}

/// What an application server's memory of a grant gave away (03, Witness).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WitnessKind {
    /// Of one epoch, another history than this daemon's: a clone.
    Forked,
    /// A later history than this daemon's: it was restored from a copy, or is a clone.
    Behind,
}

impl WitnessKind {
    pub(super) const NAMES: [(&'static str, WitnessKind); 2] =
        [("forked", WitnessKind::Forked), ("behind", WitnessKind::Behind)];
}

impl fmt::Display for WitnessKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            WitnessKind::Forked => "forked",
            WitnessKind::Behind => "behind",
        })
    }
}

/// How often witnesses gave the same away. Each number is at most 2⁶³ − 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WitnessEvidence {
    /// What.
    pub kind: WitnessKind,
    /// How often; from 1.
    pub count: u64,
    /// The last time.
    pub newest: WallTime,
}

/// The most bytes of a [`Message`].
pub const MESSAGE_MAX_BYTES: usize = 1_000;

/// Words of the licensor for a site's administrator: 1 to 1,000 bytes on one line, no control characters, no directional
/// marks, no blank at either end.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Message(String);

/// Why a text is no message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is not 1 to {MESSAGE_MAX_BYTES} bytes on one line without control characters and outer blanks")]
pub struct MessageFault;

impl Message {
    /// The words.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Message {
    type Err = MessageFault;

    fn from_str(text: &str) -> Result<Self, MessageFault> {
        let good = !text.is_empty()
            && text.len() <= MESSAGE_MAX_BYTES
            && !text.contains(is_hidden)
            && !text.starts_with(char::is_whitespace)
            && !text.ends_with(char::is_whitespace);
        if good { Ok(Self(text.to_owned())) } else { Err(MessageFault) }
    }
}

impl TryFrom<String> for Message {
    type Error = MessageFault;

    fn try_from(text: String) -> Result<Self, MessageFault> {
        text.parse()
    }
}

impl From<Message> for String {
    fn from(message: Message) -> Self {
        message.0
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
