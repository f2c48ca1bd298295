//! How large a message may be, by method: 64 KiB, and 4 MiB for calls that take long lists and for administration (08,
//! Security). A message beyond it is refused before it is decoded, in words.

use std::task::{Context, Poll};

use leasehold_proto::v1::{self, leasing_server::LeasingServer};
use tonic::{
    Code, Status,
    body::Body,
    codegen::{BoxFuture, Service, http},
    server::NamedService,
};

use super::{convert::malformed, leasing::Leasing, status};

/// The most bytes of most messages, those of streams among them.
pub(crate) const SMALL: usize = 64 * 1024;
/// The most bytes of messages that carry long lists or files.
pub(crate) const LARGE: usize = 4 * 1024 * 1024;

/// Calls of the `Leasing` service that take up to 10,000 leases or 1,000 names.
const LARGE_METHODS: [&str; 4] = [
    "/leasehold.v1.Leasing/Renew",
    "/leasehold.v1.Leasing/Release",
    "/leasehold.v1.Leasing/SetIdle",
    "/leasehold.v1.Leasing/Entitlements",
];

/// The `Leasing` service with its limits by method.
#[derive(Clone)]
pub(super) struct BySize {
    small: LeasingServer<Leasing>,
    large: LeasingServer<Leasing>,
}

impl BySize {
    pub(super) fn new(service: Leasing) -> Self {
        Self {
            small: LeasingServer::new(service.clone()).max_decoding_message_size(SMALL),
            large: LeasingServer::new(service).max_decoding_message_size(LARGE),
        }
    }
}

impl NamedService for BySize {
    const NAME: &'static str = v1::leasing_server::SERVICE_NAME;
}

impl Service<http::Request<Body>> for BySize {
    type Response = http::Response<Body>;
    type Error = std::convert::Infallible;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        if LARGE_METHODS.contains(&request.uri().path()) { self.large.call(request) } else { self.small.call(request) }
    }
}

/// A fault of the message itself in this service's words: which the transport gives codes and sentences of its own.
pub(super) fn in_words(fault: Status) -> Status {
    let fault_of_message = match fault.code() {
        Code::OutOfRange => Some(format!(
            "it is too large: messages have at most {SMALL} bytes, and {LARGE} where they carry long lists or files; send several"
        )),
        Code::Internal if fault.message().starts_with("failed to decode Protobuf message") => Some(format!(
            "it does not decode ({})",
            fault.message().trim_start_matches("failed to decode Protobuf message: ")
        )),
        _ => None,
    };
    match fault_of_message {
        Some(words) => status::of_rule(malformed("message", words)),
        None => fault,
    }
}

/// Puts the faults of messages that were refused before any service saw them into words.
pub(super) fn answer_in_words(answer: http::Response<Body>) -> http::Response<Body> {
    let Some(fault) = Status::from_header_map(answer.headers()) else { return answer };
    match fault.code() {
        Code::OutOfRange | Code::Internal => in_words(fault).into_http(),
        _ => answer,
    }
}
