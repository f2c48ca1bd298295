//! Bodies of requests: received whole, or heard out before a refusal. A client that still sends when the answer comes
//! often sees a broken connection instead of the words.

use std::time::Duration;

use axum::{body::Body, http::StatusCode};
use leasehold_keys::usage::FILE_MAX_BYTES;
use tokio::time::timeout;
use tokio_stream::StreamExt as _;

use super::problem::Problem;

/// How long the next piece of a body may take.
const PIECE: Duration = Duration::from_secs(20);
/// How long all of it may take: 17 MiB at a megabit a second.
const WHOLE: Duration = Duration::from_secs(180);

/// The whole body, at most as long as a usage file may be. `stated`: how long it says it is.
pub(super) async fn receive(body: Body, stated: usize) -> Result<Vec<u8>, Problem> {
    let mut bytes = Vec::with_capacity(stated.min(FILE_MAX_BYTES));
    pieces(body, |piece| bytes.extend_from_slice(piece)).await?;
    Ok(bytes)
}

/// Hears a body out, as long as that of a usage file may take, and forgets it.
pub(super) async fn hear_out(body: Body) {
    // What is wrong with it is not what is to be told.
    let _ = pieces(body, |_| {}).await;
}

async fn pieces(body: Body, mut take: impl FnMut(&[u8])) -> Result<(), Problem> {
    let mut pieces = body.into_data_stream();
    let mut left = FILE_MAX_BYTES;
    let all = async {
        loop {
            match timeout(PIECE, pieces.next()).await {
                Err(_) => return Err(too_slow()),
                Ok(None) => return Ok(()),
                Ok(Some(Err(fault))) => {
                    let detail = format!("the file did not arrive whole ({fault}); send it again");
                    return Err(Problem::new(StatusCode::BAD_REQUEST, "cut-off", detail));
                }
                Ok(Some(Ok(piece))) => {
                    left = left.checked_sub(piece.len()).ok_or_else(too_large)?;
                    take(&piece);
                }
            }
        }
    };
    timeout(WHOLE, all).await.unwrap_or_else(|_| Err(too_slow()))
}

pub(super) fn too_large() -> Problem {
    let detail = format!("a usage file has at most {FILE_MAX_BYTES} bytes");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "file-too-large", detail)
}

fn too_slow() -> Problem {
    Problem::new(StatusCode::REQUEST_TIMEOUT, "too-slow", "the file came too slowly; send it again")
}
