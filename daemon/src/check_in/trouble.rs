//! Why a check-in failed, each with a stable code, what happened in words, and what to do.

use std::{fmt, path::PathBuf};

use leasehold_keys::refusal::Refusal;
use serde::{Deserialize, Serialize};

use crate::way_out::{self, Named};

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "check-in-trouble", rename_all_fields = "kebab-case")]
pub enum Trouble {
    /// Neither the activation file nor the configuration says where to check in.
    NoEndpoint,
    /// What is said there is no endpoint.
    BadEndpoint {
        /// What is said.
        said: String,
        /// What is wrong with it.
        why: String,
    },
    /// On the way there: name, connection, proxy, TLS, a line that breaks.
    Way(way_out::Trouble),
    /// Nothing answers check-ins there.
    NotThere {
        /// What is not there.
        what: String,
        /// The server's words.
        said: String,
    },
    /// The server sends elsewhere.
    Redirected {
        /// Where to; empty where it does not say.
        to: String,
    },
    /// The licensor does not answer this check-in.
    ServerRefused {
        /// The HTTP status.
        status: u16,
        /// Its words.
        said: String,
    },
    /// The server cannot now.
    ServerError {
        /// The HTTP status.
        status: u16,
        /// Its words.
        said: String,
        /// Seconds after which it wants to be asked again, where it said so.
        retry_after_s: Option<u64>,
    },
    /// What came back is no answer that counts: not readable, not signed by a check-in key of the licensor that is in force, or
    /// to another request.
    Answer {
        /// The stable reason, such as `another-nonce`.
        reason: String,
        /// What is wrong.
        why: String,
        /// What to do.
        remedy: String,
    },
    /// It came too late to count.
    Late {
        /// Seconds after its request.
        after_s: u64,
    },
    /// An answer by file to which no request is open.
    NotAsked {
        /// The license that it is for.
        license: String,
    },
    /// An answer by file came after more than 14 days.
    TooOld {
        /// When the request was made.
        asked: leasehold_engine::time::WallTime,
    },
    /// The installation could not sign its request.
    NotSigned {
        /// Why.
        why: String,
    },
    /// The state directory cannot be used.
    Disk {
        /// Where.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The daemon could not note the answer.
    NotNoted {
        /// Why.
        why: String,
    },
}

impl Trouble {
    /// A note that came over the network and is refused. Where keys would have a file copied again, it is asked again.
    pub(super) fn heard(refusal: &Refusal) -> Self {
        let remedy = match refusal.remedy() {
            damaged if damaged.starts_with("Copy the file again") => {
                "nothing: it is asked again; where it lasts, see what changes answers between this server and the licensor"
            }
            remedy => remedy,
        };
        Trouble::Answer {
            reason: refusal.reason().to_owned(),
            why: refusal.what().to_owned(),
            remedy: remedy.to_owned(),
        }
    }

    /// A note that was given by hand and is refused.
    pub(super) fn of(refusal: &Refusal) -> Self {
        Trouble::Answer {
            reason: refusal.reason().to_owned(),
            why: refusal.what().to_owned(),
            remedy: refusal.remedy().to_owned(),
        }
    }

    /// Seconds after which the server wants to be asked again.
    pub(super) fn retry_after_s(&self) -> Option<u64> {
        match self {
            Trouble::ServerError { retry_after_s, .. } => *retry_after_s,
            _ => None,
        }
    }
}

impl From<way_out::Trouble> for Trouble {
    fn from(trouble: way_out::Trouble) -> Self {
        Trouble::Way(trouble)
    }
}

impl Named for Trouble {
    fn code(&self) -> &str {
        match self {
            Trouble::NoEndpoint => "no-endpoint",
            Trouble::BadEndpoint { .. } => "bad-endpoint",
            Trouble::Way(trouble) => trouble.code(),
            Trouble::NotThere { .. } => "not-there",
            Trouble::Redirected { .. } => "redirected",
            Trouble::ServerRefused { .. } => "server-refused",
            Trouble::ServerError { .. } => "server-error",
            Trouble::Answer { reason, .. } => reason,
            Trouble::Late { .. } => "late-answer",
            Trouble::NotAsked { .. } => "not-asked",
            Trouble::TooOld { .. } => "answer-too-old",
            Trouble::NotSigned { .. } => "not-signed",
            Trouble::Disk { .. } => "disk",
            Trouble::NotNoted { .. } => "not-noted",
        }
    }

    fn remedy(&self) -> String {
        match self {
            Trouble::NoEndpoint => "ask the licensor for a file that names a check-in endpoint, or set `check_in.endpoint` in the \
                 configuration; without a network carry it by hand: `leasehold check-in --request FILE`"
                .into(),
            Trouble::BadEndpoint { .. } => {
                "set `check_in.endpoint` to https://HOST as the licensor says; it goes before what activation files name".into()
            }
            Trouble::Way(trouble) => trouble.remedy(),
            Trouble::NotThere { .. } | Trouble::Redirected { .. } => {
                "compare the endpoint with what the licensor says, and set `check_in.endpoint` to it".into()
            }
            Trouble::ServerRefused { .. } => "do what it says, or show it to the licensor; it is tried again".into(),
            Trouble::ServerError { .. } => "nothing: it is tried again; where it lasts, tell the licensor".into(),
            Trouble::Answer { remedy, .. } => remedy.trim_end_matches('.').to_owned(),
            Trouble::Late { .. } => {
                "nothing: it is asked again; where it lasts, see what holds up the line to the licensor".into()
            }
            Trouble::NotAsked { .. } | Trouble::TooOld { .. } => {
                "make a new request with `leasehold check-in --request FILE` and have the licensor answer that".into()
            }
            Trouble::NotSigned { .. } => "see that the installation's key in the state directory can be used".into(),
            Trouble::Disk { .. } => "make room, and see that the state directory belongs to the daemon's user".into(),
            Trouble::NotNoted { .. } => "see what the daemon says of its database; it is asked again, and that does no harm".into(),
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::NoEndpoint => f.write_str("nothing says where this server checks in"),
            Trouble::BadEndpoint { said, why } => write!(f, "`{said}` is no check-in endpoint: {why}"),
            Trouble::Way(trouble) => trouble.fmt(f),
            Trouble::NotThere { what, said } => write!(f, "{what} is not there: {said}"),
            Trouble::Redirected { to } if to.is_empty() => {
                f.write_str("the server says that check-ins are answered elsewhere, and not where")
            }
            Trouble::Redirected { to } => write!(f, "the server says that check-ins are answered elsewhere: {to}"),
            Trouble::ServerRefused { status, said } => write!(f, "the licensor does not answer ({status}): {said}"),
            Trouble::ServerError { status, said, .. } => {
                write!(f, "the licensor's server cannot answer now ({status}): {said}")
            }
            Trouble::Answer { why, .. } => write!(f, "what came back is no answer that counts: {why}"),
            Trouble::Late { after_s } => {
                write!(f, "the answer came {after_s} s after its request and counts no more: 300 s are allowed")
            }
            Trouble::NotAsked { license } => {
                write!(
                    f,
                    "no request by hand for license {license} is open to which this is the answer: none was made, or it was answered"
                )
            }
            Trouble::TooOld { asked } => {
                write!(f, "the request was made at {asked}, and its answer counts for 14 days only")
            }
            Trouble::NotSigned { why } => write!(f, "the request cannot be signed: {why}"),
            Trouble::Disk { path, why } => write!(f, "{} cannot be used: {why}", path.display()),
            Trouble::NotNoted { why } => write!(f, "the daemon could not note the answer: {why}"),
        }
    }
}
