//! Standing and the six stages (05): which stage each license has come to, and what the worst of them means for grants,
//! queues and live leases. Check-ins themselves are made outside; what was answered comes in as a command.

mod answered;
mod course;
mod effect;
mod heart;
mod row;
mod sweep;
mod view;

pub(crate) use course::Due;
pub(crate) use effect::Enforced;
pub use row::{Answer, Asked, NotAStage, Stage, StandingRow, Verdict};
pub(crate) use sweep::Sweep;
pub use view::{LicenseStanding, SiteStanding, StageAhead};
