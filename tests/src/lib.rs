//! The harness of the end-to-end stories: a site with a licensor of its own, the real daemon as a process, and clients of
//! both services. It checks nothing itself, and knows nothing of the daemon's insides.
//!
//! Times come from a manual clock that a story moves; nothing here sleeps. A story that waits does so for an event, and
//! fails with what it waited for when that does not come.

pub mod admin;
pub mod app;
pub mod daemon;
pub mod patience;
pub mod programs;
pub mod refused;
pub mod site;
pub mod stream;

pub use admin::Admin;
pub use app::{App, Ask};
pub use daemon::{Daemon, Stopped};
pub use patience::within;
pub use refused::Refused;
pub use site::Site;
pub use stream::Attached;
