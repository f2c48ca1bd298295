//! Check-ins answered wrongly, one after another, as a script says: for tests of whoever checks in. A release build has none of
//! it: it is there in a debug build, and in others with the feature `scripted-faults`, which no package asks for.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    body::Body,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use leasehold_keys::{
    activation::LicenseId,
    check_in::{CheckInAnswer, CheckInReply, Nonce, REPLY_MAX_BYTES},
    digest::Sha256,
    installation::InstallationId,
    key::SigningKey,
};
use tokio::sync::Notify;

use super::check_ins;
use crate::check_in::Answered;

/// What is wrong with one answer. The licensor has answered by then: its records are as after a good one.
#[derive(Clone)]
pub enum Fault {
    /// Nothing.
    None,
    /// It is held back until the notice comes.
    Late(Arc<Notify>),
    /// The connection breaks before it.
    Lost,
    /// The reply to the request before, once more. Nothing, where there was none.
    Replayed,
    /// The first bytes of the reply alone.
    Truncated(usize),
    /// One bit of the answer note is another, counted from its beginning and round its end.
    BitFlipped(usize),
    /// The signature lines are gone.
    Unsigned,
    /// It is signed, with these keys: of another role, expired, or unknown.
    SignedBy(Vec<Arc<SigningKey>>),
    /// It says something else, and is signed with these keys.
    Says(Change, Vec<Arc<SigningKey>>),
    /// These bytes, with 200.
    Garbage(Vec<u8>),
    /// More than a reply may have.
    TooLarge,
    /// This status, and no more.
    Status(u16),
}

/// What an answer says that is not so.
#[derive(Clone, Debug)]
pub enum Change {
    /// Another nonce.
    Nonce(Nonce),
    /// It answers the request with this digest.
    Request(Sha256),
    /// It is for another installation.
    Installation(InstallationId),
    /// It is for another license.
    License(LicenseId),
    /// It has another counter.
    Counter(u64),
    /// It has another time.
    Time(leasehold_keys::time::WallTime),
    /// Another standing.
    Standing(leasehold_keys::check_in::CheckInStanding),
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Fault::None => "None",
            Fault::Late(_) => "Late",
            Fault::Lost => "Lost",
            Fault::Replayed => "Replayed",
            Fault::Truncated(_) => "Truncated",
            Fault::BitFlipped(_) => "BitFlipped",
            Fault::Unsigned => "Unsigned",
            Fault::SignedBy(_) => "SignedBy",
            Fault::Says(..) => "Says",
            Fault::Garbage(_) => "Garbage",
            Fault::TooLarge => "TooLarge",
            Fault::Status(_) => "Status",
        })
    }
}

/// The faults to come: one for each check-in that is answered; after the last, all is well. A clone is the same script, so that a
/// test adds to it while the endpoint runs.
#[derive(Clone, Debug, Default)]
pub struct Script {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    next: VecDeque<Fault>,
    last: Option<Vec<u8>>,
    played: usize,
}

impl Script {
    /// A script of these.
    pub fn of(faults: impl IntoIterator<Item = Fault>) -> Self {
        let script = Self::default();
        faults.into_iter().for_each(|fault| script.add(fault));
        script
    }

    /// One more at its end.
    pub fn add(&self, fault: Fault) {
        self.state().next.push_back(fault);
    }

    /// How many check-ins were answered, rightly or wrongly.
    pub fn answered(&self) -> usize {
        self.state().played
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is sent in place of the reply; `None` for the reply itself.
    pub(super) async fn play(&self, answered: &Answered) -> Option<Response> {
        let right = answered.reply.write().unwrap_or_default();
        let (fault, before) = {
            let mut state = self.state();
            state.played += 1;
            (state.next.pop_front().unwrap_or(Fault::None), state.last.replace(right.clone()))
        };
        let with_note =
            |note: String| CheckInReply { answer: note, ..answered.reply.clone() }.write().unwrap_or_default();
        let note = &answered.reply.answer;
        let bytes = match fault {
            Fault::None => return None,
            Fault::Late(until) => {
                until.notified().await;
                return check_ins::reply(answered).ok();
            }
            Fault::Lost => {
                let broken = tokio_stream::once(Err::<Vec<u8>, _>(std::io::Error::other("lost on purpose")));
                return Some(([(header::CONTENT_LENGTH, "1")], Body::from_stream(broken)).into_response());
            }
            Fault::Replayed => before.unwrap_or_default(),
            Fault::Truncated(length) => right[..right.len().min(length)].to_vec(),
            Fault::BitFlipped(bit) => {
                let mut bytes = note.clone().into_bytes();
                let at = bit % (bytes.len() * 8);
                bytes[at / 8] ^= 1 << (at % 8);
                with_note(String::from_utf8_lossy(&bytes).into_owned())
            }
            Fault::Unsigned => with_note(note.split_inclusive("\n\n").next().unwrap_or_default().to_owned()),
            Fault::SignedBy(keys) => with_note(signed(&answered.answer, &keys)),
            Fault::Says(change, keys) => with_note(signed(&changed(&answered.answer, change), &keys)),
            Fault::Garbage(bytes) => bytes,
            Fault::TooLarge => vec![b' '; REPLY_MAX_BYTES + 1],
            Fault::Status(status) => {
                return Some(StatusCode::from_u16(status).unwrap_or(StatusCode::IM_A_TEAPOT).into_response());
            }
        };
        Some(([(header::CONTENT_TYPE, "application/json")], bytes).into_response())
    }
}

fn signed(answer: &CheckInAnswer, keys: &[Arc<SigningKey>]) -> String {
    answer.sign(&keys.iter().map(AsRef::as_ref).collect::<Vec<_>>()).unwrap_or_default()
}

fn changed(answer: &CheckInAnswer, change: Change) -> CheckInAnswer {
    let answer = answer.clone();
    match change {
        Change::Nonce(nonce) => CheckInAnswer { nonce, ..answer },
        Change::Request(request) => CheckInAnswer { request, ..answer },
        Change::Installation(installation) => CheckInAnswer { installation, ..answer },
        Change::License(license_id) => CheckInAnswer { license_id, ..answer },
        Change::Counter(counter) => CheckInAnswer { counter, ..answer },
        Change::Time(time) => CheckInAnswer { time, ..answer },
        Change::Standing(standing) => CheckInAnswer { standing, ..answer },
    }
}
