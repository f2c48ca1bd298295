//! Clients that mean ill, or are broken: each runs into a limit that is stated, and whoever behaves goes on renewing and
//! acquiring beside them. What they cost in time and memory is measured by `bench --only hostility`.

use std::time::Duration;

use leasehold_proto::v1::{self, attach_request::Message};
use leasehold_tests::{App, Ask, Attached, Daemon, Site, within};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional},
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::JoinSet,
};

const CALLS: &str = "I3_SESSION_CALL";

/// What an HTTP/2 client says first, with settings that change nothing.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00";

async fn site_with_calls(site: &Site) -> Daemon {
    let daemon = Daemon::start(site).await;
    daemon.admin().await.load("base.i3lic", &site.issue(&site.order_of(&[(CALLS, 10)])).note).await;
    daemon
}

fn ids(standing: &[v1::HeldLease]) -> Vec<u64> {
    standing.iter().flat_map(|row| &row.lease).map(|lease| lease.lease_id).collect()
}

async fn raw(site: &Site) -> TcpStream {
    TcpStream::connect(("127.0.0.1", site.port())).await.expect("the port is listened on")
}

/// Reads until the other side closes.
async fn closed(mut stream: TcpStream) {
    let mut buffer = [0; 256];
    while let Ok(1..) = stream.read(&mut buffer).await {}
}

/// Two hundred connections where thirty-two are allowed: all others are closed at once, those that are served go on, and
/// there is room again when they go.
#[tokio::test]
async fn connections_beyond_the_limit_are_closed_and_the_others_go_on() {
    const ALL: usize = 200;
    const ALLOWED: usize = 32;
    let site = Site::new();
    site.configure(&format!("[limits]\nconnections_per_address = {ALLOWED}\n"));
    let daemon = site_with_calls(&site).await;
    let app = daemon.app("acd").await;
    let lease = app.acquire(Ask::units(CALLS, 1)).await.unwrap();

    let mut open = JoinSet::new();
    for _ in 0..ALL {
        open.spawn(closed(raw(&site).await));
    }
    // One place is the application server's own.
    for _ in ALLOWED - 1..ALL {
        within("connections beyond the limit to be closed", open.join_next()).await;
    }
    app.renew_one(lease.lease_id).await.unwrap();
    // The Unix socket has limits of its own.
    assert_eq!(daemon.admin().await.leases().await.len(), 1);

    open.shutdown().await;
    within("room for another one", async {
        loop {
            let Ok(channel) = leasehold_client::connect(daemon.tcp()).await else { continue };
            if App::new(channel, "other").site_keys(&[]).await.is_ok() {
                return;
            }
        }
    })
    .await;
    app.release(lease.lease_id).await.unwrap();
}

/// Connections that say nothing, or their first words and nothing more, are closed after ten seconds.
#[tokio::test]
async fn connections_that_ask_nothing_are_closed() {
    let site = Site::new();
    let daemon = site_with_calls(&site).await;
    let mut open = JoinSet::new();
    for words in [b"".as_slice(), PREFACE, &PREFACE[..20]] {
        for _ in 0..10 {
            let mut stream = raw(&site).await;
            stream.write_all(words).await.unwrap();
            open.spawn(closed(stream));
        }
    }
    let app = daemon.app("acd").await;
    let lease = app.acquire(Ask::units(CALLS, 1)).await.unwrap();
    while within("a connection that asks nothing to be closed", open.join_next()).await.is_some() {}
    app.renew_one(lease.lease_id).await.unwrap();
}

/// A stream whose reader has stopped: it is cut after ten seconds and its leases stand; others never notice.
#[tokio::test]
async fn a_stream_that_is_not_read_is_cut() {
    const ASKED: usize = 20_000;
    let site = Site::new();
    let daemon = site_with_calls(&site).await;
    let one = daemon.app("slow").await;
    let mut slow = Attached::open(&one).await.unwrap();
    let lease = slow.acquire(Ask::units(CALLS, 10)).await.unwrap();
    let mut other = Attached::over(daemon.over_tcp().await, "other").await.unwrap();
    let floods = async {
        // Each is refused, in many words. It is no longer read from once too much is unanswered.
        for _ in 0..ASKED {
            let asked = slow.send(Message::Acquire(one.message(&Ask::units(CALLS, 1))));
            if tokio::time::timeout(Duration::from_secs(1), asked).await.is_err() {
                break;
            }
        }
    };
    let beats = async {
        for _ in 0..100 {
            other.beat().await.unwrap();
        }
    };
    tokio::join!(floods, beats);
    daemon.logged(&["A stream was ended.", "did not read"]).await;
    let standing = daemon.admin().await.leases().await;
    assert_eq!(ids(&standing), [lease.lease_id], "LEASE-14");
    other.beat().await.unwrap();
}

/// Sixteen streams are allowed on a connection and thirty-two opened, without a Hello: the others wait for their turn, the
/// silent ones end after ten seconds, and another connection is served all the time.
#[tokio::test]
async fn a_connection_has_no_more_streams_than_it_may() {
    const ALLOWED: usize = 16;
    let site = Site::new();
    site.configure(&format!("[limits]\nstreams_per_connection = {ALLOWED}\n"));
    let daemon = site_with_calls(&site).await;
    let flooding = daemon.app("flood").await;
    // The client knows the limit once it was answered; before, it would ask for more and be refused those.
    flooding.site_keys(&[]).await.unwrap();
    let mut streams = JoinSet::new();
    for _ in 0..2 * ALLOWED {
        let mut leasing = flooding.leasing.clone();
        streams.spawn(async move {
            let silent = tokio_stream::pending::<v1::AttachRequest>();
            let mut answers = leasing.attach(silent).await?.into_inner();
            answers.message().await
        });
    }
    let app = daemon.app("acd").await;
    let lease = app.acquire(Ask::units(CALLS, 1)).await.unwrap();
    let mut ended = 0;
    while let Some(end) = within("a stream without a Hello to end", streams.join_next()).await {
        let refused = end.unwrap().unwrap_err();
        assert_eq!(refused.code(), tonic::Code::DeadlineExceeded, "{refused:?}");
        ended += 1;
        app.renew_one(lease.lease_id).await.unwrap();
    }
    assert_eq!(ended, 2 * ALLOWED);
    app.release(lease.lease_id).await.unwrap();
}

/// A machine that vanishes in the middle of a stream, without a word: the daemon finds out by itself and closes.
#[tokio::test]
async fn a_peer_that_vanishes_is_noticed() {
    let site = Site::new();
    let daemon = site_with_calls(&site).await;
    let proxy = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = proxy.local_addr().unwrap();
    let (vanish, vanished) = oneshot::channel::<()>();
    let mut behind = raw(&site).await;
    let between = tokio::spawn(async move {
        let (mut before, _) = proxy.accept().await.unwrap();
        tokio::select! {
            _ = copy_bidirectional(&mut before, &mut behind) => panic!("the connection ended by itself"),
            _ = vanished => {}
        }
        // Bytes are still taken from the daemon, and nothing is ever said to it.
        closed(behind).await;
        before
    });
    let channel = leasehold_client::connect(&format!("http://{address}").parse().unwrap()).await.unwrap();
    let mut stream = Attached::over(channel, "acd").await.unwrap();
    let lease = stream.acquire(Ask::units(CALLS, 1)).await.unwrap();
    vanish.send(()).unwrap();
    // A silent peer is asked after 20 s and given up 20 s later.
    tokio::time::timeout(Duration::from_secs(90), between).await.expect("a peer that vanished to be noticed").unwrap();
    let standing = daemon.admin().await.leases().await;
    assert_eq!(ids(&standing), [lease.lease_id], "LEASE-14");
}
