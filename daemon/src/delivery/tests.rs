//! Delivery against servers that do all that servers do: scripted ones on loopback, the licensor's own, and a real bucket
//! behind a real proxy. Clocks stand still until a test moves them; nothing sleeps.

mod bucket;
mod deadlines;
mod doctor;
mod faults;
mod proxies;
mod room;
mod schedule;
pub(crate) mod server;
mod site;
mod words;
