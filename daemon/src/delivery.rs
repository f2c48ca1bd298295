//! Delivery (04): closed usage files go to the licensor, one at a time, oldest first; its signed receipts are taken and kept;
//! what is acknowledged and old enough goes. Sealing and the bookkeeping of segments is the usage room's. Leases never wait
//! for anything here.

mod deadline;
pub mod doctor;
mod state;
mod trouble;

pub use deadline::{Deadline, Nearness, Period, Zone, deadlines};
pub use state::{Failure, FileState, FileView, Mode, State};
pub use trouble::{Doing, Trouble, Unverified};
