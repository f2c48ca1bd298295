//! A connection to the daemon for the length of one command: deadlines on calls, all pages of a list, failures in words.

use std::time::Duration;

use leasehold_client::{Endpoint, connect};
use leasehold_proto::v1::{administration_client::AdministrationClient, leasing_client::LeasingClient};
use tonic::{Request, Response, Status, transport::Channel};

use crate::{args::Globals, exit::ExitCode, failure::Failure};

/// The largest answer that is accepted, in bytes: a page of 1,000 rows with room for long names.
const ANSWER_LIMIT_BYTES: usize = 16 * 1024 * 1024;
/// Checks and copies of everything that is stored may take as long as this.
const LONG_WAIT: Duration = Duration::from_secs(600);
/// What is said besides is not waited for longer.
const BRIEF_WAIT: Duration = Duration::from_secs(1);

/// One command's connection.
pub struct Session {
    channel: Channel,
    endpoint: Endpoint,
    timeout: Duration,
}

impl Session {
    /// Connects.
    ///
    /// # Errors
    ///
    /// [`ExitCode::Unreachable`] or [`ExitCode::Permission`], with the cause in words.
    pub async fn open(globals: &Globals) -> Result<Self, Failure> {
        let channel = connect(&globals.server)
            .await
            .map_err(|error| Failure::unreachable(&globals.server.to_string(), &error.cause))?;
        Ok(Self { channel, endpoint: globals.server.clone(), timeout: globals.timeout })
    }

    /// The administration service.
    #[must_use]
    pub fn administration(&self) -> AdministrationClient<Channel> {
        AdministrationClient::new(self.channel.clone()).max_decoding_message_size(ANSWER_LIMIT_BYTES)
    }

    /// The leasing service.
    #[must_use]
    pub fn leasing(&self) -> LeasingClient<Channel> {
        LeasingClient::new(self.channel.clone()).max_decoding_message_size(ANSWER_LIMIT_BYTES)
    }

    /// A request with the deadline of the command line.
    #[must_use]
    pub fn request<T>(&self, message: T) -> Request<T> {
        self.with_deadline(message, self.timeout)
    }

    /// A request that may take minutes.
    #[must_use]
    pub fn long_request<T>(&self, message: T) -> Request<T> {
        self.with_deadline(message, self.timeout.max(LONG_WAIT))
    }

    /// A request whose answer is not worth much waiting.
    #[must_use]
    pub fn brief_request<T>(&self, message: T) -> Request<T> {
        self.with_deadline(message, self.timeout.min(BRIEF_WAIT))
    }

    fn with_deadline<T>(&self, message: T, timeout: Duration) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(timeout);
        request
    }

    /// The message of an answer, or its refusal in words.
    ///
    /// # Errors
    ///
    /// The refusal.
    pub fn answer<T>(&self, answer: Result<Response<T>, Status>) -> Result<T, Failure> {
        answer.map(Response::into_inner).map_err(|status| Failure::from_status(&status, &self.endpoint.to_string()))
    }
}

/// Fetches every page of a list: `fetch` takes a page token and returns rows and the next token.
///
/// # Errors
///
/// Whatever `fetch` fails with, or [`ExitCode::Unexpected`] where the daemon repeats a token.
pub async fn every_page<T>(
    mut fetch: impl AsyncFnMut(String) -> Result<(Vec<T>, String), Failure>,
) -> Result<Vec<T>, Failure> {
    let mut all = Vec::new();
    let mut token = String::new();
    loop {
        let (rows, next) = fetch(token.clone()).await?;
        all.extend(rows);
        if next.is_empty() {
            return Ok(all);
        }
        if next == token {
            return Err(Failure::new(ExitCode::Unexpected, "the daemon sent the same page of the list twice"));
        }
        token = next;
    }
}
