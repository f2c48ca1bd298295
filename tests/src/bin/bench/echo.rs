//! The same service stack with nothing behind it: every call is answered at once and empty, every message of a stream with
//! one of the same kind. What the daemon costs beyond it is the daemon's own. On request it keeps a journal of what it
//! answers on streams: see `journal.rs`.

use std::{path::Path, pin::Pin, process::ExitCode, time::Duration};

use leasehold_proto::v1::{
    self,
    attach_request::Message as Asked,
    attach_response::Message as Answer,
    leasing_server::{Leasing, LeasingServer},
};
use tokio::{net::TcpListener, sync::mpsc};
use tokio_stream::{
    Stream, StreamExt as _,
    wrappers::{TcpListenerStream, UnboundedReceiverStream},
};
use tonic::{Request, Response, Status, Streaming, transport::Server};

use crate::journal::Journal;

/// The settings of the daemon's own server.
const STREAMS_PER_CONNECTION: u32 = 1_024;
const HEADER_BYTES: u32 = 8 * 1_024;
const KEEPALIVE: Duration = Duration::from_secs(20);

/// Serves until it is killed; says its address first.
pub(crate) async fn serve(journal: Option<&Path>) -> ExitCode {
    let journal = match journal.map(Journal::open).transpose() {
        Ok(journal) => journal,
        Err(fault) => {
            eprintln!("the echo has no journal: {fault}");
            return ExitCode::FAILURE;
        }
    };
    let listener = match TcpListener::bind("127.0.0.1:0").await {
        Ok(listener) => listener,
        Err(fault) => {
            eprintln!("the echo cannot listen: {fault}");
            return ExitCode::FAILURE;
        }
    };
    match listener.local_addr() {
        Ok(address) => println!("http://{address}"),
        Err(_) => return ExitCode::FAILURE,
    }
    let connections = TcpListenerStream::new(listener).map(|connection| {
        connection.inspect(|stream| {
            // Answered late rather than not at all where the system does not allow it.
            let _ = stream.set_nodelay(true);
        })
    });
    let served = Server::builder()
        .max_concurrent_streams(STREAMS_PER_CONNECTION)
        .http2_max_header_list_size(HEADER_BYTES)
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE))
        .add_service(LeasingServer::new(Echo { journal }))
        .serve_with_incoming(connections)
        .await;
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("the echo ended: {fault}");
            ExitCode::FAILURE
        }
    }
}

struct Echo {
    journal: Option<Journal>,
}

/// Answers every message of a stream. A lease of this number is what all are granted.
fn answer(asked: v1::AttachRequest, lease_id: u64) -> Option<v1::AttachResponse> {
    let message = match asked.message? {
        Asked::Hello(_) => Answer::Welcome(v1::Welcome::default()),
        Asked::Acquire(v1::AcquireRequest { request_id, .. }) => {
            let lease = v1::Lease { lease_id, ..Default::default() };
            Answer::Acquired(v1::AcquireAnswer { request_id, outcome: Some(v1::acquire_answer::Outcome::Lease(lease)) })
        }
        Asked::Release(v1::ReleaseRequest { request_id, .. }) => {
            let outcomes = vec![v1::ReleaseOutcome { lease_id: 1, ..Default::default() }];
            Answer::Released(v1::ReleaseAnswer { request_id, outcomes, refusal: None })
        }
        Asked::Beat(v1::Beat { number }) => Answer::Beat(v1::BeatAnswer { number, ..Default::default() }),
        Asked::CancelWait(_) | Asked::SetIdle(_) | Asked::TakeOver(_) => return None,
    };
    Some(v1::AttachResponse { message: Some(message), answer_number: 0 })
}

/// The same by way of the journal.
async fn keep(
    journal: Journal,
    mut asked: Streaming<v1::AttachRequest>,
    to: mpsc::UnboundedSender<Result<v1::AttachResponse, Status>>,
) {
    while let Ok(Some(asked)) = asked.message().await {
        match asked.message.clone() {
            Some(Asked::Acquire(acquire)) => {
                let id = journal.next();
                let Some(answer) = answer(asked, id) else { continue };
                journal.acquired(id, &acquire.request_id, answer, &to);
            }
            Some(Asked::Release(release)) => {
                let id = release.lease_ids.first().copied().unwrap_or(0);
                let Some(answer) = answer(asked, id) else { continue };
                journal.released(id, answer, &to);
            }
            _ => {
                let Some(answer) = answer(asked, 0) else { continue };
                journal.said(answer, &to);
            }
        }
    }
}

fn not_served<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented("the echo does not serve this"))
}

#[tonic::async_trait]
impl Leasing for Echo {
    type AttachStream = Pin<Box<dyn Stream<Item = Result<v1::AttachResponse, Status>> + Send>>;

    async fn attach(
        &self,
        request: Request<Streaming<v1::AttachRequest>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        if let Some(journal) = &self.journal {
            let (to, answers) = mpsc::unbounded_channel();
            tokio::spawn(keep(journal.clone(), request.into_inner(), to));
            return Ok(Response::new(Box::pin(UnboundedReceiverStream::new(answers))));
        }
        let answers = request.into_inner().filter_map(|asked| asked.map(|asked| answer(asked, 1)).transpose());
        Ok(Response::new(Box::pin(answers)))
    }

    async fn acquire(&self, _: Request<v1::AcquireRequest>) -> Result<Response<v1::AcquireResponse>, Status> {
        Ok(Response::new(v1::AcquireResponse::default()))
    }

    async fn release(&self, _: Request<v1::ReleaseRequest>) -> Result<Response<v1::ReleaseResponse>, Status> {
        not_served()
    }

    async fn renew(&self, _: Request<v1::RenewRequest>) -> Result<Response<v1::RenewResponse>, Status> {
        not_served()
    }

    async fn set_idle(&self, _: Request<v1::SetIdleRequest>) -> Result<Response<v1::SetIdleResponse>, Status> {
        not_served()
    }

    async fn entitlements(
        &self,
        _: Request<v1::EntitlementsRequest>,
    ) -> Result<Response<v1::EntitlementsResponse>, Status> {
        not_served()
    }

    async fn site_keys(&self, _: Request<v1::SiteKeysRequest>) -> Result<Response<v1::SiteKeysResponse>, Status> {
        not_served()
    }

    async fn explain(&self, _: Request<v1::ExplainRequest>) -> Result<Response<v1::ExplainResponse>, Status> {
        not_served()
    }

    async fn sign_leases(&self, _: Request<v1::SignLeasesRequest>) -> Result<Response<v1::SignLeasesResponse>, Status> {
        not_served()
    }

    async fn activation_files(
        &self,
        _: Request<v1::ActivationFilesRequest>,
    ) -> Result<Response<v1::ActivationFilesResponse>, Status> {
        not_served()
    }
}
