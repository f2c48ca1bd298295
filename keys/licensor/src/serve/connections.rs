//! Connections of the endpoint: TLS, HTTP/1.1 and HTTP/2 by what the client speaks, bounds, and the orderly stop. What is
//! asked on them is no matter here.

use std::{sync::Arc, time::Duration};

use axum::{Extension, Router};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{
        conn::auto,
        graceful::{GracefulShutdown, Watcher},
    },
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig};

use super::Peer;

/// Connections at once; further ones wait in the system's queue.
const CONNECTIONS_MAX: usize = 512;
/// How long the TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long the head of a request may take, and how long a connection may wait for the next one.
const HEAD: Duration = Duration::from_secs(20);
/// How often a silent HTTP/2 connection is asked whether it is alive, and how long that may take.
const ALIVE: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(10));
/// Requests at once on one HTTP/2 connection.
const STREAMS_MAX: u32 = 8;
const HEAD_MAX_BYTES: u32 = 16 * 1_024;
/// How long requests under way may take once the endpoint is to stop.
const ENDING: Duration = Duration::from_secs(20);
/// What is waited where the system gives no connection, as when files are used up.
const BREATH: Duration = Duration::from_millis(200);

/// Serves until `stopped` says so.
pub(super) async fn serve(
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    router: Router,
    mut stopped: watch::Receiver<bool>,
) {
    let acceptor = TlsAcceptor::from(tls);
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let ending = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    loop {
        let accepted = async {
            let place = room.clone().acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            // Also where whoever could stop it is gone.
            _ = stopped.changed() => break,
            accepted = accepted => accepted,
        };
        while connections.try_join_next().is_some() {}
        match accepted {
            Ok((stream, peer)) => {
                let router = router.clone().layer(Extension(Peer(peer)));
                let (acceptor, watcher) = (acceptor.clone(), ending.watcher());
                connections.spawn(async move {
                    let _place = place;
                    if let Err(fault) = connection(stream, acceptor, router, watcher).await {
                        tracing::debug!(%peer, fault, "connection ended");
                    }
                });
            }
            Err(fault) => {
                tracing::warn!(%fault, "no connection was accepted");
                sleep(BREATH).await;
            }
        }
    }
    drop(listener);
    if timeout(ENDING, ending.shutdown()).await.is_err() {
        tracing::warn!("requests were under way still when the endpoint stopped");
    }
    connections.shutdown().await;
}

async fn connection(stream: TcpStream, acceptor: TlsAcceptor, router: Router, watcher: Watcher) -> Result<(), String> {
    let stream = timeout(HANDSHAKE, acceptor.accept(stream))
        .await
        .map_err(|_| "the TLS handshake took too long".to_owned())?
        .map_err(|fault| format!("TLS: {fault}"))?;
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD).max_buf_size(64 * 1_024);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(ALIVE.0)
        .keep_alive_timeout(ALIVE.1)
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEAD_MAX_BYTES);
    let connection = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    watcher.watch(connection).await.map_err(|fault| fault.to_string())
}
