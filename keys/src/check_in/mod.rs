//! Check-in (05, The exchange): a request signed by the installation, an answer signed by the licensor's check-in keys, what
//! comes beside it, and notes that tell the time. When to ask, and what an answer changes, is the daemon's matter; how a
//! license stands is the licensor's.

mod answer;
mod parts;
mod reply;
mod request;
mod time_note;

pub use self::{
    answer::{CheckInAnswer, CheckInStanding, LISTED_MAX},
    parts::{ClockEvidence, MESSAGE_MAX_BYTES, Message, MessageFault, Nonce, WitnessEvidence, WitnessKind},
    reply::{CheckInReply, FileBeside, REPLY_MAX_BYTES},
    request::{CheckInRequest, Outstanding},
    time_note::TimeNote,
};
