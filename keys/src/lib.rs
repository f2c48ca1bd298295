//! What is bought, and the proof that it was: signed notes, the trust root, activation files and host IDs.
//!
//! Nothing here counts seats or talks to anyone. Every byte that comes from outside is verified first and then the very
//! same bytes are parsed; [`trust::Verified`] can be made only by the verifier. Formats are told byte by byte in
//! `FORMAT.md`.

pub mod activation;
mod activation_rules;
mod activation_text;
pub mod check_in;
mod counting;
pub mod definition;
pub mod dev;
pub mod digest;
pub mod file;
pub mod host;
pub mod installation;
pub mod key;
pub mod marks;
pub mod name;
pub mod note;
pub mod receipt;
pub mod refusal;
mod render;
pub mod request;
pub mod root;
mod strict;
pub mod time;
pub mod trust;
pub mod usage;
mod verified;
