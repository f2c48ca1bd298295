//! Bad input, at the layer where it enters: a refusal that says what is wrong and what is allowed, and nothing else changes.

use leasehold_proto::v1::{self, acquire_request::Subject, attach_request::Message, entity::Entity};
use leasehold_tests::{Ask, Attached, Daemon, Refused, Site, admin, within};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, UnixStream},
};
use tonic::Code;
use uuid::Uuid;

const CALLS: &str = "I3_SESSION_CALL";
const CLIENT: &str = "I3_ACCESS_CLIENT";

async fn site_with_calls(site: &Site) -> Daemon {
    let daemon = Daemon::start(site).await;
    let units = [(CALLS, 10), ("I3_ACCESS_CLIENT_CONCURRENT", 5)];
    daemon.admin().await.load("base.i3lic", &site.issue(&site.order_of(&units)).note).await;
    daemon
}

fn malformed(refused: &Refused, field: &str) {
    assert_eq!((refused.code, refused.reason.as_str()), (Code::InvalidArgument, "MALFORMED"), "{refused:?}");
    assert_eq!(refused.fact("field"), field, "{refused:?}");
    assert!(refused.message.contains(&format!("`{field}`")), "{}", refused.message);
}

/// Unknown users, stations, keys and leases: NOT_FOUND, with the name.
#[tokio::test]
async fn what_nobody_knows_is_not_found() {
    let site = Site::new();
    let daemon = site_with_calls(&site).await;
    let (app, admin) = (daemon.app("acd").await, daemon.admin().await);
    admin.user("ann", "concurrent").await;
    admin.give(&[CLIENT], &["ann"]).await;
    let cases = [
        (app.acquire(Ask::logon("nobody")).await.unwrap_err(), "USER_UNKNOWN", "user", "nobody"),
        (app.acquire(Ask::logon("ann").at("nowhere")).await.unwrap_err(), "STATION_UNKNOWN", "station", "nowhere"),
        (app.acquire(Ask::station("nowhere")).await.unwrap_err(), "STATION_UNKNOWN", "station", "nowhere"),
        (app.acquire(Ask::units("I3_NONE", 1)).await.unwrap_err(), "KEY_UNKNOWN", "key", "I3_NONE"),
        (app.acquire(Ask::logon("ann").needing(&["I3_NONE"])).await.unwrap_err(), "KEY_UNKNOWN", "key", "I3_NONE"),
        (app.renew_one(4_711).await.unwrap_err(), "LEASE_UNKNOWN", "lease_id", "4711"),
        (admin.try_assign(&["I3_NONE"], vec![admin::user("ann")]).await.unwrap_err(), "KEY_UNKNOWN", "key", "I3_NONE"),
        (admin.try_assign(&[CLIENT], vec![admin::user("nobody")]).await.unwrap_err(), "USER_UNKNOWN", "user", "nobody"),
        (admin.try_delete(admin::station("nowhere")).await.unwrap_err(), "STATION_UNKNOWN", "station", "nowhere"),
    ];
    for (refused, reason, fact, value) in cases {
        assert_eq!((refused.code, refused.reason.as_str()), (Code::NotFound, reason), "{refused:?}");
        assert_eq!(refused.fact(fact), value, "{refused:?}");
        assert!(refused.message.contains(value), "{refused:?}");
    }
    assert_eq!(admin.leases().await.len(), 0);
}

/// Counts of 0 or beyond limits, times out of range, missing fields, wrong lengths: each names its field.
#[tokio::test]
async fn values_out_of_range_are_named() {
    let site = Site::new();
    let daemon = site_with_calls(&site).await;
    let app = daemon.app("acd").await;
    let with = |change: &dyn Fn(&mut v1::AcquireRequest)| {
        let mut ask = Ask::units(CALLS, 1);
        change(&mut ask.0);
        ask
    };
    let cases = [
        (Ask::units(CALLS, 0), "units.units"),
        (Ask::units(CALLS, 1_000_001), "units.units"),
        (Ask::units(CALLS, u32::MAX), "units.units"),
        (Ask::units("", 1), "units.key"),
        (Ask::units(CALLS, 1).ttl_ms(9_999), "ttl_ms"),
        (Ask::units(CALLS, 1).ttl_ms(86_400_001), "ttl_ms"),
        (Ask::units(CALLS, 1).ttl_ms(u64::MAX), "ttl_ms"),
        (Ask::units(CALLS, 1).waiting_ms(3_600_001), "wait_ms"),
        (Ask::units(CALLS, 1).priority(10), "priority"),
        (with(&|ask| ask.request_id.clear()), "request_id"),
        (with(&|ask| ask.request_id = vec![1; 15]), "request_id"),
        (with(&|ask| ask.request_id = vec![1; 4_096]), "request_id"),
        (with(&|ask| ask.subject = None), "subject"),
        (Ask::logon(""), "logon.user"),
        (Ask::station(""), "station.station"),
    ];
    for (ask, field) in cases {
        let shown = format!("{:?}", ask.0);
        let refused = app.acquire(ask).await.expect_err(&shown);
        malformed(&refused, field);
    }
    malformed(&app.renew(&[]).await.unwrap_err(), "lease_ids");
    malformed(&app.renew(&[0]).await.unwrap_err(), "lease_ids[0]");
    malformed(&app.renew(&vec![7; 10_001]).await.unwrap_err(), "lease_ids");
    malformed(&app.release_all(&vec![7; 10_001]).await.unwrap_err(), "lease_ids");
    assert_eq!(app.renew(&vec![7; 10_000]).await.unwrap().len(), 10_000, "an answer for each");
    let anonymous = v1::AcquireRequest { caller: None, ..Ask::units(CALLS, 1).0 };
    let refused = within("an answer", app.leasing.clone().acquire(anonymous)).await.unwrap_err();
    malformed(&refused.into(), "caller");
    let mut nameless = app.clone();
    nameless.caller.name.clear();
    malformed(&nameless.acquire(Ask::units(CALLS, 1)).await.unwrap_err(), "caller.name");
    let versions = app.clone().version("not a version");
    malformed(&versions.acquire(Ask::units(CALLS, 1)).await.unwrap_err(), "caller.version");
    assert_eq!(daemon.admin().await.pool(CALLS).await.in_use, 0);
}

/// Names with control characters or of more than 256 bytes, wherever a name may stand.
#[tokio::test]
async fn names_are_checked_wherever_they_stand() {
    let site = Site::new();
    let daemon = site_with_calls(&site).await;
    let (app, admin) = (daemon.app("acd").await, daemon.admin().await);
    let (long, longest) = ("ä".repeat(129), "ä".repeat(128));
    for bad in ["tab\tin it", "line\nfeed", "\u{7}", "zero\0byte", "del\u{7f}", " blank before", long.as_str()] {
        malformed(&app.acquire(Ask::logon(bad)).await.unwrap_err(), "logon.user");
        malformed(&app.acquire(Ask::logon("ann").at(bad)).await.unwrap_err(), "logon.station");
        malformed(&app.acquire(Ask::logon("ann").at_number(bad)).await.unwrap_err(), "logon.dynamic_remote_number");
        malformed(&app.acquire(Ask::logon("ann").on(bad)).await.unwrap_err(), "logon.computer");
        malformed(&app.acquire(Ask::logon("ann").needing(&[bad])).await.unwrap_err(), "logon.needed_keys[0]");
        let caller = app.clone().application(bad);
        malformed(&caller.acquire(Ask::logon("ann")).await.unwrap_err(), "caller.application");
        let user = v1::User { name: bad.to_owned(), ..v1::User::default() };
        let refused = admin.try_create(Entity::User(user)).await.unwrap_err();
        assert_eq!(refused.reason, "MALFORMED", "{refused:?}");
    }
    admin.user(&longest, "concurrent").await;
    admin.give(&[CLIENT], &[&longest]).await;
    assert_eq!(app.acquire(Ask::logon(&longest)).await.expect("256 bytes").user, longest);
    let user = v1::User { name: longest.clone(), ..v1::User::default() };
    let refused = admin.try_create(Entity::User(user)).await.unwrap_err();
    assert_eq!((refused.code, refused.reason.as_str()), (Code::AlreadyExists, "ALREADY_EXISTS"));
}

/// Messages too large, and lists too long: refused in words, and the connection goes on.
#[tokio::test]
async fn messages_that_are_too_large_are_refused_in_words() {
    let site = Site::new();
    let daemon = site_with_calls(&site).await;
    let app = daemon.app("acd").await;
    let mut large = Ask::logon("ann");
    if let Some(Subject::Logon(logon)) = &mut large.0.subject {
        logon.computer = "x".repeat(70 * 1_024);
    }
    let refused = app.acquire(large.clone()).await.unwrap_err();
    assert_eq!((refused.code, refused.reason.as_str()), (Code::InvalidArgument, "MALFORMED"), "{refused:?}");
    assert!(refused.message.contains("too large") && refused.message.contains("65536"), "{}", refused.message);
    let many: Vec<u64> = (1 << 56..(1 << 56) + 600_000).collect();
    let refused = app.renew(&many).await.unwrap_err();
    assert!(refused.message.contains("too large"), "{refused:?}");
    app.acquire(Ask::units(CALLS, 1)).await.expect("nothing else changes");

    // A stream is ended by it, with the same words; its leases stand.
    let mut stream = Attached::over(daemon.over_tcp().await, "stream").await.unwrap();
    let lease = stream.acquire(Ask::units(CALLS, 1)).await.unwrap();
    stream.send(Message::Acquire(large.0)).await;
    let ended = stream.find("the end", |_| None::<()>).await.unwrap_err();
    assert!(ended.message.contains("too large"), "{ended:?}");
    let again = Attached::open_as(&daemon.app("stream").await, stream.run_id.clone()).await.unwrap();
    assert_eq!(again.welcome.lease_ids, [lease.lease_id]);
}

/// Streams that do not begin with a Hello, or whose Hello is bad.
#[tokio::test]
async fn a_stream_begins_with_a_hello() {
    let site = Site::new();
    let daemon = site_with_calls(&site).await;
    let app = daemon.app("acd").await;
    let beat = v1::AttachRequest { message: Some(Message::Beat(v1::Beat { number: 1 })), answers_received: 0 };
    let answer = app.leasing.clone().attach(tokio_stream::iter([beat])).await.unwrap();
    let refused = within("the end", answer.into_inner().message()).await.unwrap_err();
    malformed(&refused.into(), "hello");
    for run_id in [Vec::new(), vec![7; 17]] {
        let refused = Attached::open_as(&app, run_id).await.err().expect("refused");
        malformed(&refused, "run_id");
    }
    // On the stream itself, the answer carries the request's ID, and the stream goes on.
    let mut stream = Attached::open(&app).await.unwrap();
    let refused = stream.acquire(Ask::units(CALLS, 0)).await.unwrap_err();
    malformed(&refused, "units.units");
    stream.acquire(Ask::units(CALLS, 1)).await.expect("the stream goes on");
    assert_eq!(stream.take_over(&[4_711]).await.unwrap().len(), 1, "an answer for each");
    assert_eq!(stream.beat().await, Ok(1));
}

/// Garbage on the sockets ends its own connection and nothing else.
#[tokio::test]
async fn garbage_ends_its_own_connection() {
    let site = Site::new();
    let daemon = site_with_calls(&site).await;
    let app = daemon.app("acd").await;
    let lease = app.acquire(Ask::units(CALLS, 1)).await.unwrap();
    let port = site.port();
    for garbage in [
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        vec![0xff; 65_536],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff".to_vec(),
    ] {
        let mut tcp = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        // The other side may have gone before everything was written.
        let _ = tcp.write_all(&garbage).await;
        let mut unix = UnixStream::connect(site.socket()).await.unwrap();
        let _ = unix.write_all(&garbage).await;
        let mut rest = Vec::new();
        let _ = within("the end of a TCP connection", tcp.read_to_end(&mut rest)).await;
        let _ = within("the end of a socket's connection", unix.read_to_end(&mut rest)).await;
        app.renew_one(lease.lease_id).await.expect("others are served");
    }
}

/// Administration is for the socket's peers alone (LEASE-9).
#[tokio::test]
async fn administration_is_refused_over_tcp() {
    let site = Site::new();
    let daemon = site_with_calls(&site).await;
    let admin = leasehold_tests::Admin::new(daemon.over_tcp().await);
    let refused: Refused = admin.calls.clone().get_status(v1::GetStatusRequest {}).await.unwrap_err().into();
    assert_eq!((refused.code, refused.reason.as_str()), (Code::PermissionDenied, "NOT_AN_ADMINISTRATOR"));
    let refused = admin.try_assign(&[CLIENT], vec![admin::user("ann")]).await.unwrap_err();
    assert_eq!(refused.code, Code::PermissionDenied);
    let refused = admin.try_organization("evil").await.unwrap_err();
    assert_eq!(refused.code, Code::PermissionDenied);
}

/// A request ID with another body, on the stream too, and a release of both kinds at once.
#[tokio::test]
async fn reused_request_ids_are_refused_on_streams_too() {
    let site = Site::new();
    let daemon = site_with_calls(&site).await;
    let mut stream = Attached::over(daemon.over_tcp().await, "acd").await.unwrap();
    let ask = Ask::units(CALLS, 1);
    stream.acquire(ask.clone()).await.unwrap();
    let mut other = ask.clone().ttl_ms(20_000);
    other.0.request_id = ask.id();
    assert_eq!(stream.acquire(other).await.unwrap_err().reason, "REQUEST_ID_REUSED");
    let app = daemon.app("acd").await;
    let refused = app.release_request(&[1; 3]).await.unwrap_err();
    malformed(&refused, "acquire_request_ids[0]");
    let unknown = app.release_request(Uuid::new_v4().as_bytes()).await.unwrap_err();
    assert_eq!((unknown.code, unknown.reason.as_str()), (Code::NotFound, "REQUEST_UNKNOWN"));
    assert_eq!(daemon.admin().await.pool(CALLS).await.in_use, 1);
}
