//! The client library of Leasehold, an on-premises license server, for application servers that ask it for leases.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use leasehold_client::{AcquireError, Client, LeaseState, Logon, reason};
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     // One client for the whole process: all leases share its stream.
//!     let client = Client::builder()
//!         .servers(["unix:///run/leasehold/leasehold.sock".parse()?, "http://127.0.0.1:7127".parse()?])
//!         .name("acd-server-2")
//!         .application("Interaction Desktop")
//!         .version("2020.2.1")
//!         .connect()
//!         .await?;
//!
//!     // An agent logs on, and waits up to half a minute where no seat is free.
//!     let logon = Logon::user("agent-007")
//!         .station("station-012")
//!         .computer("PC-0815")
//!         .needing(["I3_ACCESS_CLIENT"])
//!         .wait(Duration::from_secs(30));
//!     let seat = match client.acquire(logon).await {
//!         Ok(seat) => seat,
//!         Err(AcquireError::Refused(refusal)) if refusal.reason == reason::POOL_EXHAUSTED => {
//!             // One plain sentence: what is full, who holds it, what would help.
//!             println!("{}", refusal.message);
//!             return Ok(());
//!         }
//!         Err(other) => return Err(other.into()),
//!     };
//!     println!("lease {} holds {} keys", seat.id(), seat.lease().keys.len());
//!
//!     // The agent works for as long as the lease lives; it is renewed in the background.
//!     let workday = tokio::signal::ctrl_c();
//!     tokio::select! {
//!         // Such as LOGGED_ON_ELSEWHERE: tell the agent, and do not ask again by yourself.
//!         ended = seat.ended() => println!("{ended}"),
//!         _ = workday => {
//!             // Before something new begins, such as a call: has the server confirmed the lease of late?
//!             if seat.state() == LeaseState::Confirmed {
//!                 println!("one more call would have been fine");
//!             }
//!             seat.release().await?;
//!         }
//!     }
//!     client.shutdown().await?;
//!     Ok(())
//! }
//! ```
//!
//! # What it promises
//!
//! - **Nothing is granted twice, and nothing is left behind.** A request keeps its ID over lost connections, restarts
//!   and servers until it is answered (LEASE-3). A future that is dropped, or runs out of time, takes its request out
//!   of the queue and gives back what it may have been granted. A dropped guard gives its lease back.
//! - **A restart of the daemon goes unnoticed.** The client comes back with the same run, goes on with its leases, and
//!   asks again what was not answered. A guard ends only when a server says so.
//! - **A restart of the application may go unnoticed too.** A new run takes its predecessor's leases over as guards with
//!   [`take_over`](Client::take_over), within 10 s of attaching (LEASE-13); the rest end then.
//! - **A holder knows when it does not know.** From 0.8 × TTL after the last successful renewal was sent, a lease is
//!   [`Unconfirmed`](LeaseState::Unconfirmed) until the next one (LEASE-5): what runs goes on, nothing new starts.
//! - **Refusals are answers.** They are never asked again, save those by which a server says that it cannot decide now
//!   (`STARTING`, `DRAINING`, `NOT_ACTIVE`, `STORAGE_UNAVAILABLE`, `OVERLOADED`), which are, with jitter, until the
//!   caller's deadline. A lease that ended `LOGGED_ON_ELSEWHERE` is never taken again by itself (ALLOC-8).
//! - **A server that was put back is found out.** The client keeps the highest statement that each installation signed of
//!   how far it had come, in [a file](ClientBuilder::witness_file) where it is given one, and shows it whenever it attaches.
//! - **Where a lease comes from can be proved.** A lease comes with a [token](Lease::token) where it is asked for
//!   [signed](Logon::signed). With the feature `verify` the application checks it against its licensor's root.
//! - **The site's standing is told.** A site of which its licensor has not heard for long is limited in six stages. Each
//!   change comes as [`ClientEvent::StandingChanged`], with a message to be shown; so does a stage of 3 or worse at attaching.
//!   What it refuses is refused [`ENFORCED`](reason::ENFORCED); no stage ends a live call port.
//! - **Everything is bounded.** At most [1,024](ClientBuilder::in_flight) requests are in flight, each under a
//!   deadline; events for slow listeners are dropped, oldest first.
//!
//! Only servers on the same machine are reached yet: over a Unix socket, or on loopback.

mod backoff;
mod beats;
mod client;
mod clock;
mod command;
mod convert;
mod endpoint;
mod event;
mod guard;
mod holdings;
mod keeper;
mod lease;
mod link;
mod question;
mod refusal;
mod request;
mod requests;
mod session;
mod signed;
#[cfg(feature = "verify")]
mod verify;
mod witnesses;

pub use client::{Client, ClientBuilder};
pub use endpoint::{DEFAULT_PORT, DEFAULT_SOCKET, Endpoint, EndpointError, Unreachable, connect};
pub use event::{ClientEvent, Events, Standing};
pub use guard::LeaseGuard;
pub use keeper::Connection;
pub use lease::{HeldKey, KeySource, Lease, LeaseEvent, LeaseId, LeaseState, MissingKey, SiteKey, SiteKeys, Warning};
pub use question::{Entitlement, ExplainStep, Explanation, KeyEntitlement, Subject};
pub use refusal::{AcquireError, ConnectError, Ended, Invalid, Obstacle, Refusal, RequestError, Unreleased, reason};
pub use request::{Acquire, Logon, StationUse, Units};
pub use signed::ActivationFiles;
/// The status codes of [`Refusal::code`].
pub use tonic::Code;
#[cfg(feature = "verify")]
pub use verify::{BadRoot, Licensor, VerifiedLease, VerifyError};
