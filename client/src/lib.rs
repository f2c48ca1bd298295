//! The client library of Leasehold, for application servers.

mod endpoint;

pub use endpoint::{DEFAULT_PORT, DEFAULT_SOCKET, Endpoint, EndpointError, Unreachable, connect};
