//! Usage files over HTTP: `PUT /v1/usage/NAME`, and `GET /v1/usage/NAME/receipt` for one that got lost.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::{Path, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, put},
};
use leasehold_keys::usage::{FILE_MAX_BYTES, SegmentName};
use tokio::{sync::Semaphore, time::timeout};
use tokio_stream::StreamExt as _;

use super::{Clock, problem::Problem};
use crate::intake::{Intake, IntakeFault};

/// Files that are received at once, each of which may take 17 MiB of memory.
const UPLOADS_MAX: usize = 16;
/// How long a file waits for its turn.
const TURN: Duration = Duration::from_secs(10);
/// How long the next piece of a file may take.
const PIECE: Duration = Duration::from_secs(20);
/// How long a whole file may take: 17 MiB at a megabit a second.
const WHOLE: Duration = Duration::from_secs(180);

/// Where uploads go.
#[derive(Clone)]
pub(super) struct Desk {
    intake: Arc<Mutex<Intake>>,
    turns: Arc<Semaphore>,
    clock: Clock,
}

impl Desk {
    pub(super) fn new(intake: Intake, clock: Clock) -> Self {
        Self { intake: Arc::new(Mutex::new(intake)), turns: Arc::new(Semaphore::new(UPLOADS_MAX)), clock }
    }

    /// Works with the intake, where waiting for disks holds up no other connection.
    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Intake) -> Result<T, IntakeFault> + Send + 'static,
    ) -> Result<T, Problem> {
        let intake = self.intake.clone();
        // What a panic left undone, its transaction took back.
        let done =
            tokio::task::spawn_blocking(move || work(&mut intake.lock().unwrap_or_else(PoisonError::into_inner)));
        let done = done.await.map_err(|fault| {
            tracing::error!(%fault, "taking a file ended unforeseen");
            Problem::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "failed",
                "the licensor's program failed; tell the licensor",
            )
        })?;
        done.map_err(|fault| {
            if let IntakeFault::Failed(fault) = &fault {
                tracing::error!(%fault, "no usage file can be taken");
            }
            fault.into()
        })
    }

    /// True where a file could be taken now.
    pub(super) async fn is_well(&self) -> bool {
        let now = (self.clock)();
        self.work(move |intake| intake.check(now)).await.is_ok()
    }
}

pub(super) fn routes(desk: Desk) -> Router {
    Router::new().route("/v1/usage/{name}", put(take)).route("/v1/usage/{name}/receipt", get(receipt)).with_state(desk)
}

async fn take(
    State(desk): State<Desk>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    // Before anything is received.
    name.parse::<SegmentName>().map_err(|_| IntakeFault::Name(name.chars().take(120).collect()))?;
    let stated = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if stated.is_some_and(|length| length > FILE_MAX_BYTES) {
        return Err(too_large());
    }
    let Ok(Ok(_turn)) = timeout(TURN, desk.turns.clone().acquire_owned()).await else {
        return Err(Problem::busy());
    };
    let bytes = timeout(WHOLE, receive(body, stated.unwrap_or(0))).await.map_err(|_| too_slow())??;
    let now = (desk.clock)();
    let sent = name.clone();
    let taken = desk.work(move |intake| intake.take(&sent, &bytes, now)).await.inspect_err(|problem| {
        tracing::warn!(file = name, code = problem.code, why = problem.detail, "usage file refused");
    })?;
    tracing::info!(file = name, license = %taken.file.license_id, new = taken.new, "usage file received");
    let status = if taken.new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, note(taken.file.receipt)).into_response())
}

/// The whole body, at most as long as a file may be.
async fn receive(body: Body, stated: usize) -> Result<Vec<u8>, Problem> {
    let mut bytes = Vec::with_capacity(stated.min(FILE_MAX_BYTES));
    let mut pieces = body.into_data_stream();
    loop {
        match timeout(PIECE, pieces.next()).await {
            Err(_) => return Err(too_slow()),
            Ok(None) => return Ok(bytes),
            Ok(Some(Err(fault))) => {
                let detail = format!("the file did not arrive whole ({fault}); send it again");
                return Err(Problem::new(StatusCode::BAD_REQUEST, "cut-off", detail));
            }
            Ok(Some(Ok(piece))) if bytes.len() + piece.len() > FILE_MAX_BYTES => return Err(too_large()),
            Ok(Some(Ok(piece))) => bytes.extend_from_slice(&piece),
        }
    }
}

fn too_large() -> Problem {
    let detail = format!("a usage file has at most {FILE_MAX_BYTES} bytes");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "file-too-large", detail)
}

fn too_slow() -> Problem {
    Problem::new(StatusCode::REQUEST_TIMEOUT, "too-slow", "the file came too slowly; send it again")
}

async fn receipt(State(desk): State<Desk>, Path(name): Path<String>) -> Result<Response, Problem> {
    let found = desk.work(move |intake| intake.receipt(&name)).await?;
    match found {
        Some(file) => Ok(note(file.receipt).into_response()),
        None => Err(Problem::new(
            StatusCode::NOT_FOUND,
            "no-receipt",
            "no file was received under this name; send it with PUT /v1/usage/NAME",
        )),
    }
}

/// A signed note as an answer.
fn note(receipt: String) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], receipt)
}
