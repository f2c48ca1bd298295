//! The licensor's HTTPS endpoint (07): `PUT /v1/usage/NAME?final=true` gives the receipt in its answer, `GET /v1/usage/NAME/receipt` gives
//! it once more where that answer was lost.

use std::path::Path;

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::Empty;
use leasehold_engine::row::UsageSegmentRow;
use leasehold_keys::note::NOTE_MAX_BYTES;

use super::file_body::{self, FileBody};
use crate::way_out::{
    Answer, Trouble, Way,
    problem::{self, header_of},
};

/// The endpoint, over a way to it.
pub(super) struct Endpoint {
    pub(super) way: Way,
    /// Goes before `/v1/usage`.
    pub(super) path: String,
}

impl Endpoint {
    /// Sends a file; the receipt that is in the answer, unread.
    pub(super) async fn send(&self, row: &UsageSegmentRow, file: &Path) -> Result<Bytes, Trouble> {
        let body = FileBody::new(file_body::open(file, row).await?, file, row.bytes);
        // Only closed segments are sent; one whose key was lost has no record that says so.
        let target = format!("{}/v1/usage/{}?final=true", self.path, row.file);
        let request = Request::builder()
            .method(Method::PUT)
            .uri(&target)
            .header(header::CONTENT_TYPE, "application/octet-stream")
            .header(header::CONTENT_LENGTH, row.bytes);
        let answer = self.way.ask(self.built(request.body(body))?).await?;
        match answer.status {
            StatusCode::OK | StatusCode::CREATED => self.note(answer),
            _ => Err(self.refused(&answer, &target)),
        }
    }

    /// The receipt of a file that may have arrived; `None` where it has not.
    pub(super) async fn receipt(&self, row: &UsageSegmentRow) -> Result<Option<Bytes>, Trouble> {
        let target = format!("{}/v1/usage/{}/receipt", self.path, row.file);
        let answer = self.get(&target).await?;
        match answer.status {
            StatusCode::OK => self.note(answer).map(Some),
            // What else may not be there, sending the file will tell.
            StatusCode::NOT_FOUND => Ok(None),
            _ => Err(self.refused(&answer, &target)),
        }
    }

    /// Whether the endpoint takes files now; with the head of its answer.
    pub(super) async fn health(&self) -> Result<Answer, Trouble> {
        let target = format!("{}/v1/health", self.path);
        let answer = self.get(&target).await?;
        match answer.status {
            StatusCode::OK if answer.says_ok() => Ok(answer),
            StatusCode::OK => {
                let why = "what it says of its health is not what a licensor's endpoint says".to_owned();
                Err(Trouble::Garbage { at: self.way.to.to_string(), why })
            }
            _ => Err(self.refused(&answer, &target)),
        }
    }

    async fn get(&self, target: &str) -> Result<Answer, Trouble> {
        self.way.ask(self.built(Request::builder().uri(target).body(Empty::<Bytes>::new()))?).await
    }

    fn built<B>(&self, request: http::Result<Request<B>>) -> Result<Request<B>, Trouble> {
        request.map_err(|why| Trouble::BadDestination { said: self.way.to.to_string(), why: why.to_string() })
    }

    /// What may be a note.
    fn note(&self, answer: Answer) -> Result<Bytes, Trouble> {
        let why = if answer.body.is_empty() {
            "it says that it has the file, and gives no receipt"
        } else if answer.body.len() > NOTE_MAX_BYTES {
            "it is too long for a receipt"
        } else {
            return Ok(answer.body);
        };
        Err(Trouble::Garbage { at: self.way.to.to_string(), why: why.into() })
    }

    fn refused(&self, answer: &Answer, target: &str) -> Trouble {
        let status = answer.status.as_u16();
        let said = problem::said(answer);
        match status {
            300..=399 => Trouble::Redirected { to: header_of(answer, header::LOCATION) },
            404 => Trouble::NotThere { what: format!("https://{}{target}", self.way.to.authority()), said },
            408 | 425 | 429 | 500.. => {
                let retry_after_s = header_of(answer, header::RETRY_AFTER).parse().ok();
                Trouble::ServerBusy { status, said, retry_after_s }
            }
            400..=499 => Trouble::ServerRefused { status, said },
            _ => Trouble::Garbage { at: self.way.to.to_string(), why: format!("its status is {status}") },
        }
    }
}
