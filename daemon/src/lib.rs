//! `leaseholdd`, the license server: adapters round the engine. A request goes one way: a message becomes a command, the
//! core loop decides it, storage makes it durable, and only then is it answered.

pub mod check_in;
pub mod clock;
pub mod config;
pub mod core;
pub mod delivery;
pub mod dev;
pub mod exit;
mod files;
pub mod folder;
pub mod grpc;
pub mod identity;
pub mod log;
pub mod receipts;
pub mod run;
pub mod storage;
#[cfg(test)]
mod test_site;
pub mod trust_store;
pub mod usage;
pub mod way_out;
pub mod witness;
