//! The vendor's side of Leasehold: product catalogs, the licensor's keys and root, and the signed files that it issues.
//!
//! [`workshop::Workshop`] is where it comes together; the program `licensor` is a thin layer of arguments over it. Time
//! comes in as an argument everywhere: only the program reads the clock.

pub mod billing;
mod calendar;
pub mod catalog;
pub mod check_in;
pub mod intake;
pub mod ledger;
pub mod order;
pub mod reading;
pub mod serve;
pub mod vault;
pub mod workshop;
