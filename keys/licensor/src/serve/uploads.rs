//! Usage files over HTTP: `PUT /v1/usage/NAME?final=true`, and `GET /v1/usage/NAME/receipt` for one that got lost.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::{Path, RawQuery, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, put},
};
use leasehold_keys::usage::SegmentName;
use tokio::{sync::Semaphore, time::timeout};

use super::{
    Clock,
    body::{Sent, hear_out, receive},
    problem::Problem,
};
use crate::intake::{self, Intake, IntakeFault};

/// Files that are received at once, each of which may take 17 MiB of memory.
const UPLOADS_MAX: usize = 16;
/// How long a file waits for its turn.
const TURN: Duration = Duration::from_secs(10);

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
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    if name.parse::<SegmentName>().is_err() {
        hear_out(body).await;
        return Err(IntakeFault::Name(name.chars().take(120).collect()).into());
    }
    let stated = Sent::UsageFile.stated(&headers)?;
    let Ok(Ok(_turn)) = timeout(TURN, desk.turns.clone().acquire_owned()).await else {
        hear_out(body).await;
        return Err(Problem::busy("files"));
    };
    let bytes = receive(body, stated, Sent::UsageFile).await?;
    let now = (desk.clock)();
    let file = name.clone();
    let is_final = query.is_some_and(|query| query.split('&').any(|pair| pair == "final=true"));
    let sent = if is_final { intake::Sent::Final } else { intake::Sent::Plain };
    let taken = desk.work(move |intake| intake.take(&file, &bytes, sent, now)).await.inspect_err(|problem| {
        tracing::warn!(file = name, code = problem.code, why = problem.detail, "usage file refused");
    })?;
    tracing::info!(file = name, license = %taken.file.license_id, new = taken.new, "usage file received");
    let status = if taken.new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, note(taken.file.receipt)).into_response())
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
