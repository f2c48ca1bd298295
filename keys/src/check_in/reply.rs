//! What comes back over HTTPS: the answer, and beside it the roots and files that it names. The object is not signed; each note
//! in it is, and is judged by itself.

use serde::{Deserialize, Serialize};

use super::answer::CheckInAnswer;
use crate::{
    digest::Sha256,
    refusal::{Reason, Refusal, quote},
    trust::Trust,
};

/// The most bytes of a reply.
pub const REPLY_MAX_BYTES: usize = 4 * 1024 * 1024;
/// The most bytes of a name in it.
const NAME_MAX_BYTES: usize = 128;

/// A reply to a check-in: JSON, at most [`REPLY_MAX_BYTES`]. Fields that are not known are ignored, so that a licensor may say
/// more some day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckInReply {
    /// The answer note.
    pub answer: String,
    /// Newer root notes, the oldest first.
    #[serde(default)]
    pub roots: Vec<String>,
    /// Newer activation files of the license.
    #[serde(default)]
    pub files: Vec<FileBeside>,
}

/// An activation file in a reply.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileBeside {
    /// What to call it in the watched folder: 1 to 128 of `A-Z a-z 0-9 . _ -`, not beginning with a dot.
    pub name: String,
    /// The file.
    pub note: String,
}

impl CheckInReply {
    /// Reads a reply. Nothing in it is verified.
    ///
    /// # Errors
    /// `too-large`; `not-a-reply` where it is no such object, or names a file in a way that leads out of a folder.
    pub fn read(bytes: &[u8]) -> Result<Self, Refusal> {
        if bytes.len() > REPLY_MAX_BYTES {
            return Err(too_large(bytes.len()));
        }
        let reply: Self = serde_json::from_slice(bytes).map_err(|fault| {
            let begins = String::from_utf8_lossy(&bytes[..bytes.len().min(60)]).into_owned();
            Refusal::new(
                Reason::NotAReply,
                format!("What came back is no reply to a check-in ({fault}); it begins {}", quote(&begins)),
            )
        })?;
        match reply.files.iter().find(|file| !is_plain(&file.name)) {
            None => Ok(reply),
            Some(file) => Err(Refusal::new(
                Reason::NotAReply,
                format!("The reply names a file {}, and no file can be called so", quote(&file.name)),
            )),
        }
    }

    /// The bytes to send.
    ///
    /// # Errors
    /// `too-large`.
    pub fn write(&self) -> Result<Vec<u8>, Refusal> {
        let bytes = serde_json::to_vec(self)
            .map_err(|fault| Refusal::new(Reason::NotAReply, format!("The reply cannot be written: {fault}")))?;
        if bytes.len() > REPLY_MAX_BYTES { Err(too_large(bytes.len())) } else { Ok(bytes) }
    }

    /// `trust` with those of its roots that follow, for an answer may be signed by keys that only the newest of them lists.
    /// Beside it, why a root was not taken. A root that a trusted one vouches for is believed wherever it comes from, so none
    /// needs to be in the answer.
    pub fn succeeded(&self, trust: &Trust) -> (Trust, Vec<Refusal>) {
        let (mut trust, mut refused) = (trust.clone(), Vec::new());
        for root in &self.roots {
            match trust.succeed(root.as_bytes()) {
                Ok(newer) => trust = newer,
                // One that is older than the root in force was taken before.
                Err(refusal) if refusal.kind() == Reason::RootSuperseded => {}
                Err(refusal) => refused.push(refusal),
            }
        }
        (trust, refused)
    }

    /// The files that a verified answer names; each that it does not name is refused, and the others are taken all the same.
    pub fn files_of(&self, answer: &CheckInAnswer) -> Vec<Result<&FileBeside, Refusal>> {
        let judge = |file: &'_ FileBeside| answer.files.contains(&Sha256::of(file.note.as_bytes()));
        let refusal = |file: &FileBeside| {
            Refusal::new(
                Reason::NotInAnswer,
                format!("The file {} came beside the answer, which does not name it", quote(&file.name)),
            )
        };
        self.files.iter().map(|file| if judge(file) { Ok(file) } else { Err(refusal(file)) }).collect()
    }
}

fn too_large(bytes: usize) -> Refusal {
    Refusal::new(
        Reason::TooLarge,
        format!("The reply has {bytes} bytes; a reply to a check-in has at most {REPLY_MAX_BYTES}"),
    )
}

fn is_plain(name: &str) -> bool {
    (1..=NAME_MAX_BYTES).contains(&name.len())
        && !name.starts_with('.')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}
