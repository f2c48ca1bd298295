//! What usage comes to: periods, categories and counts (04, Reading and billing). Pure: no file, clock or key is
//! touched here; who opens the files feeds their items in order.
//!
//! - A user is active while the session counter is above 0; a logon lasts a millisecond at least.
//! - A logoff counts from its own time, also where items of a later time were told before it.
//! - A file that continues the one before restates who is present. Where one is missing or damaged, whoever was logged
//!   on counts up to where knowledge ends and again from the next file: what is not known is named, never guessed.
//! - In distinct counts a user who was an agent at any moment of the period is no business user; peaks and hours go by
//!   the moment.

mod bill;
mod category;
mod coverage;
mod runs;
mod tally;

#[cfg(test)]
mod oracle;
#[cfg(test)]
mod tests;

pub use bill::{Bill, Billing, OpenFile, Opening};
pub use category::{Category, Tariff};
pub use coverage::{Lack, LackKind, Seen};
pub use leasehold_keys::usage::{Bounds, NotAPeriod, Period};
pub use tally::{Count, Counts, Opened, Tally};
