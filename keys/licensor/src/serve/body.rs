//! Bodies of requests: received whole, or heard out before a refusal. A client that still sends when the answer comes
//! often sees a broken connection instead of the words.

use std::time::Duration;

use axum::{
    body::Body,
    http::{HeaderMap, StatusCode, header},
};
use leasehold_keys::{note::NOTE_MAX_BYTES, usage::FILE_MAX_BYTES};
use tokio::time::timeout;
use tokio_stream::StreamExt as _;

use super::problem::Problem;

/// How long the next piece of a body may take.
const PIECE: Duration = Duration::from_secs(20);
/// How long all of it may take: 17 MiB at a megabit a second.
const WHOLE: Duration = Duration::from_secs(180);

/// What is sent, and so how long it may be.
#[derive(Clone, Copy)]
pub(super) enum Sent {
    /// A usage file.
    UsageFile,
    /// A request of a check-in.
    CheckIn,
}

impl Sent {
    /// The most bytes of it.
    const fn most(self) -> usize {
        match self {
            Sent::UsageFile => FILE_MAX_BYTES,
            Sent::CheckIn => NOTE_MAX_BYTES,
        }
    }

    const fn what(self) -> &'static str {
        match self {
            Sent::UsageFile => "file",
            Sent::CheckIn => "request",
        }
    }

    pub(super) fn too_large(self) -> Problem {
        let (code, what) = match self {
            Sent::UsageFile => ("file-too-large", "usage file"),
            Sent::CheckIn => ("too-large", "request of a check-in"),
        };
        let detail = format!("a {what} has at most {} bytes", self.most());
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, code, detail)
    }

    fn too_slow(self) -> Problem {
        let detail = format!("the {} came too slowly; send it again", self.what());
        Problem::new(StatusCode::REQUEST_TIMEOUT, "too-slow", detail)
    }

    /// Refuses what says of itself that it is too long, else gives the length that it states.
    pub(super) fn stated(self, headers: &HeaderMap) -> Result<usize, Problem> {
        let stated = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
        if stated.is_some_and(|length| length > self.most()) { Err(self.too_large()) } else { Ok(stated.unwrap_or(0)) }
    }
}

/// The whole body, at most as long as what is sent may be. `stated`: how long it says it is.
pub(super) async fn receive(body: Body, stated: usize, sent: Sent) -> Result<Vec<u8>, Problem> {
    let mut bytes = Vec::with_capacity(stated.min(sent.most()));
    pieces(body, sent, |piece| bytes.extend_from_slice(piece)).await?;
    Ok(bytes)
}

/// Hears a body out, as long as that of a usage file may take, and forgets it.
pub(super) async fn hear_out(body: Body) {
    // What is wrong with it is not what is to be told.
    let _ = pieces(body, Sent::UsageFile, |_| {}).await;
}

async fn pieces(body: Body, sent: Sent, mut take: impl FnMut(&[u8])) -> Result<(), Problem> {
    let mut pieces = body.into_data_stream();
    let mut left = sent.most();
    let all = async {
        loop {
            match timeout(PIECE, pieces.next()).await {
                Err(_) => return Err(sent.too_slow()),
                Ok(None) => return Ok(()),
                Ok(Some(Err(fault))) => {
                    let detail = format!("the {} did not arrive whole ({fault}); send it again", sent.what());
                    return Err(Problem::new(StatusCode::BAD_REQUEST, "cut-off", detail));
                }
                Ok(Some(Ok(piece))) => {
                    left = left.checked_sub(piece.len()).ok_or_else(|| sent.too_large())?;
                    take(&piece);
                }
            }
        }
    };
    timeout(WHOLE, all).await.unwrap_or_else(|_| Err(sent.too_slow()))
}
