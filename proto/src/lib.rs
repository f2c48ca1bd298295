//! The wire contract: what is generated from `leasehold/v1/*.proto`, and its descriptors for server reflection.
//!
//! No domain type is known here; one conversion file on each side of the wire turns messages into commands.

/// Package `leasehold.v1`.
#[expect(
    missing_docs,
    clippy::all,
    clippy::allow_attributes,
    reason = "generated; the .proto files carry the documentation"
)]
pub mod v1 {
    tonic::include_proto!("leasehold.v1");

    /// The encoded file descriptor set, for server reflection.
    pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/leasehold.v1.bin"));
}

/// The domain of `google.rpc.ErrorInfo` in every refusal.
pub const ERROR_DOMAIN: &str = "leasehold";
