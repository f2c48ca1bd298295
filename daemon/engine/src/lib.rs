//! Every licensing decision, and nothing else.
//!
//! [`Engine::apply`] is a pure function of (state, [`time::Now`], [`command::Command`]): it reads no clock, file, socket
//! or random number, and no hash map's order shows in what it does. The same commands give the same answers and the same
//! [`row::Change`]s. Rules are cited by their identifiers (ALLOC-6, LEASE-7 …).

pub mod command;
pub mod decision;
pub mod ids;
pub mod refusal;
pub mod row;
pub mod standing;
pub mod time;
pub mod view;
pub mod words;

mod admin;
mod answers;
mod assign;
mod audit;
mod catalog;
mod denial;
mod engine;
mod entities;
mod excess;
mod files;
mod grants;
mod holder;
mod intern;
mod lease;
mod logon;
mod media;
mod plan;
mod pool;
mod proof;
mod query;
mod queue;
mod rights;
mod room;
mod state;
mod upkeep;
mod usage;
mod waiting;

pub use engine::{Engine, Limits};
pub use usage::{UsagePlan, UsagePresence};
