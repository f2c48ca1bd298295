//! Check-ins over HTTP: `POST /v1/check-in` with the request note; back comes the answer with what is newer.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::post,
};
use tokio::{sync::Semaphore, time::timeout};

#[cfg(any(debug_assertions, feature = "scripted-faults"))]
use super::faults::Script;
use super::{
    Clock,
    body::{Sent, hear_out, receive},
    problem::Problem,
};
use crate::check_in::{Answered, CheckInFault, CheckIns};

/// Requests that are received at once, each of at most 128 KiB.
const REQUESTS_MAX: usize = 64;
/// How long a request waits for its turn.
const TURN: Duration = Duration::from_secs(10);

/// Where check-ins go.
#[derive(Clone)]
pub(super) struct Desk {
    check_ins: Option<Arc<Mutex<CheckIns>>>,
    turns: Arc<Semaphore>,
    clock: Clock,
    #[cfg(any(debug_assertions, feature = "scripted-faults"))]
    script: Script,
}

impl Desk {
    pub(super) fn new(
        check_ins: Option<CheckIns>,
        clock: Clock,
        #[cfg(any(debug_assertions, feature = "scripted-faults"))] script: Script,
    ) -> Self {
        Self {
            check_ins: check_ins.map(|check_ins| Arc::new(Mutex::new(check_ins))),
            turns: Arc::new(Semaphore::new(REQUESTS_MAX)),
            clock,
            #[cfg(any(debug_assertions, feature = "scripted-faults"))]
            script,
        }
    }

    /// Works at the desk, where waiting for disks holds up no other connection.
    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut CheckIns) -> Result<T, CheckInFault> + Send + 'static,
    ) -> Result<T, Problem> {
        let Some(check_ins) = self.check_ins.clone() else {
            let detail = "check-ins are not answered here; ask the licensor where they are";
            return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not-served", detail));
        };
        // What a panic left undone, its transaction took back.
        let done =
            tokio::task::spawn_blocking(move || work(&mut check_ins.lock().unwrap_or_else(PoisonError::into_inner)));
        let done = done.await.map_err(|fault| {
            tracing::error!(%fault, "answering a check-in ended unforeseen");
            let detail = "the licensor's program failed; tell the licensor";
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "failed", detail)
        })?;
        done.map_err(|fault| {
            if let CheckInFault::Failed(fault) = &fault {
                tracing::error!(%fault, "no check-in can be answered");
            }
            fault.into()
        })
    }

    /// True where a check-in could be answered now, or none are to be.
    pub(super) async fn is_well(&self) -> bool {
        let now = (self.clock)();
        self.check_ins.is_none() || self.work(move |check_ins| check_ins.check(now)).await.is_ok()
    }
}

pub(super) fn routes(desk: Desk) -> Router {
    Router::new().route("/v1/check-in", post(answer)).with_state(desk)
}

async fn answer(State(desk): State<Desk>, headers: HeaderMap, body: Body) -> Result<Response, Problem> {
    let stated = Sent::CheckIn.stated(&headers)?;
    let Ok(Ok(_turn)) = timeout(TURN, desk.turns.clone().acquire_owned()).await else {
        hear_out(body).await;
        return Err(Problem::busy("check-ins"));
    };
    let bytes = receive(body, stated, Sent::CheckIn).await?;
    let now = (desk.clock)();
    let answered = desk.work(move |check_ins| check_ins.answer(&bytes, now)).await.inspect_err(|problem| {
        tracing::warn!(code = problem.code, why = problem.detail, "check-in refused");
    })?;
    log(&answered);
    #[cfg(any(debug_assertions, feature = "scripted-faults"))]
    if let Some(changed) = desk.script.play(&answered).await {
        return Ok(changed);
    }
    reply(&answered)
}

/// The reply as it ought to be.
pub(super) fn reply(answered: &Answered) -> Result<Response, Problem> {
    let bytes = answered.reply.write().map_err(|refusal| Problem::from(CheckInFault::Refused(refusal)))?;
    Ok(([(header::CONTENT_TYPE, "application/json")], bytes).into_response())
}

fn log(answered: &Answered) {
    let (license, installation) = (answered.answer.license_id, answered.answer.installation);
    let (standing, counter, new) = (answered.answer.standing, answered.answer.counter, answered.new);
    match answered.misfit {
        Some(misfit) => {
            tracing::warn!(%license, %installation, counter, new, %standing, why = %misfit, "check-in answered");
        }
        None => tracing::info!(%license, %installation, counter, new, %standing, "check-in answered"),
    }
}
