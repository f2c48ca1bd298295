//! The licensor's HTTPS endpoint (VENDOR-9): usage files in, signed receipts out; check-ins answered. One router for each concern, each with
//! its own state, merged in [`start`]; TLS, bounds on connections and the orderly stop are the same for all.

mod body;
mod check_ins;
mod connections;
#[cfg(any(debug_assertions, feature = "scripted-faults"))]
pub mod faults;
mod problem;
pub mod tls;
mod uploads;

use std::{io, net::SocketAddr, sync::Arc};

use axum::{
    Extension, Router,
    body::Body,
    extract::Request,
    http::{StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use leasehold_keys::time::WallTime;
use tokio::{
    net::TcpListener,
    sync::watch,
    task::{JoinError, JoinHandle},
};
use tokio_rustls::rustls::ServerConfig;

use self::{body::hear_out, problem::Problem};
use crate::{check_in::CheckIns, intake::Intake};

/// Where the endpoint has the time from.
pub type Clock = Arc<dyn Fn() -> WallTime + Send + Sync>;

/// What the endpoint serves.
#[derive(Debug)]
pub struct Desks {
    intake: Intake,
    check_ins: Option<CheckIns>,
    #[cfg(any(debug_assertions, feature = "scripted-faults"))]
    script: faults::Script,
}

impl Desks {
    /// Usage files, and no check-ins: those are answered by 503.
    pub fn new(intake: Intake) -> Self {
        Self {
            intake,
            check_ins: None,
            #[cfg(any(debug_assertions, feature = "scripted-faults"))]
            script: faults::Script::default(),
        }
    }

    /// Check-ins besides.
    #[must_use]
    pub fn with_check_ins(self, check_ins: CheckIns) -> Self {
        Self { check_ins: Some(check_ins), ..self }
    }

    /// Check-ins answered wrongly, as the script says. For tests.
    #[cfg(any(debug_assertions, feature = "scripted-faults"))]
    #[must_use]
    pub fn with_faults(self, script: faults::Script) -> Self {
        Self { script, ..self }
    }
}

impl From<Intake> for Desks {
    fn from(intake: Intake) -> Self {
        Self::new(intake)
    }
}

/// Who is at the other end.
#[derive(Clone, Copy, Debug)]
struct Peer(SocketAddr);

/// An endpoint that is running. Dropped, it stops too, without waiting for what is under way.
#[derive(Debug)]
pub struct Serving {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Serving {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no new connections, lets requests under way end, for 20 seconds at most, and stops.
    ///
    /// # Errors
    ///
    /// Where it had ended by a panic.
    pub async fn stop(self) -> Result<(), JoinError> {
        let _ = self.stop.send(true);
        self.task.await
    }
}

/// Serves on `listener` from now on, on the tokio runtime of the caller.
///
/// # Errors
///
/// Where the listener has no address.
pub fn start(
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    desks: impl Into<Desks>,
    clock: Clock,
) -> io::Result<Serving> {
    let address = listener.local_addr()?;
    let (stop, stopped) = watch::channel(false);
    let task = tokio::spawn(connections::serve(listener, tls, router(desks.into(), clock), stopped));
    Ok(Serving { address, stop, task })
}

fn router(desks: Desks, clock: Clock) -> Router {
    let uploads = uploads::Desk::new(desks.intake, clock.clone());
    let check_ins = check_ins::Desk::new(
        desks.check_ins,
        clock,
        #[cfg(any(debug_assertions, feature = "scripted-faults"))]
        desks.script,
    );
    Router::new()
        .merge(health(uploads.clone(), check_ins.clone()))
        .merge(uploads::routes(uploads))
        .merge(check_ins::routes(check_ins))
        .fallback(|body: Body| async {
            hear_out(body).await;
            Problem::new(StatusCode::NOT_FOUND, "no-such-path", "nothing is served under this path")
        })
        .method_not_allowed_fallback(|body: Body| async {
            hear_out(body).await;
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "no-such-method", "this path is not served by that method")
        })
        .layer(middleware::from_fn(log))
}

/// `GET /v1/health`: whether usage files can be taken now, and check-ins answered where they are.
fn health(uploads: uploads::Desk, check_ins: check_ins::Desk) -> Router {
    let answer = |healthy: bool| {
        let (status, word) =
            if healthy { (StatusCode::OK, "ok") } else { (StatusCode::SERVICE_UNAVAILABLE, "failing") };
        (status, [(header::CONTENT_TYPE, "application/json")], format!("{{\"status\":\"{word}\"}}\n"))
    };
    let look = async move || answer(uploads.is_well().await && check_ins.is_well().await);
    Router::new().route("/v1/health", get(look))
}

async fn log(Extension(Peer(peer)): Extension<Peer>, request: Request, next: Next) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let response = next.run(request).await.into_response();
    tracing::info!(%peer, %method, path, status = response.status().as_u16(), "answered");
    response
}
