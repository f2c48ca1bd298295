//! Asking for leases: pipelining, lost connections, refusals, deadlines, cancellation.

use std::{
    future::Future,
    pin::{Pin, pin},
    time::Duration,
};

use leasehold_client::{AcquireError, Logon, Obstacle, RequestError, StationUse, Subject, Units};
use leasehold_proto::v1::{self, acquire_answer::Outcome, attach_request::Message};
use tonic::{Code, Status};

use crate::script::{Server, client, endpoint, folder, lease, refusal, soon, status};

#[tokio::test]
async fn requests_are_pipelined_and_answered_in_any_order() {
    let folder = folder();
    let place = endpoint(&folder, "a");
    let mut server = Server::start(&place);
    let client = client([place]).build().expect("a client");
    let mut stream = server.welcome(&[]).await;

    let asking: Vec<_> = (0..50)
        .map(|number| {
            let client = client.clone();
            tokio::spawn(async move {
                let guard = client.acquire(Logon::user(format!("agent-{number:03}"))).await?;
                assert_eq!(guard.lease().user, format!("agent-{number:03}"));
                Ok::<_, AcquireError>(guard)
            })
        })
        .collect();
    // All fifty are on the wire before the first is answered.
    let mut acquires = Vec::new();
    for _ in 0..50 {
        acquires.push(stream.next_acquire().await);
    }
    for (number, acquire) in (1..).zip(acquires.iter().rev()) {
        stream.grant(acquire, number);
    }
    let mut ids = Vec::new();
    let mut guards = Vec::new();
    for task in asking {
        let guard = soon("an answer", task).await.expect("no panic").expect("granted");
        ids.push(guard.id().get());
        guards.push(guard);
    }
    ids.sort_unstable();
    assert_eq!(ids, (1..=50).collect::<Vec<u64>>());
}

#[tokio::test]
async fn what_is_asked_for_arrives_whole() {
    let folder = folder();
    let place = endpoint(&folder, "a");
    let mut server = Server::start(&place);
    let client = client([place]).version("2020.2.1").instance("1").host("srv").build().expect("a client");
    let mut stream = server.welcome(&[]).await;
    let caller = stream.hello.caller.clone().expect("a caller");
    assert_eq!(
        (caller.name, caller.application, caller.version, caller.instance, caller.host),
        (
            "acd-server-2".to_owned(),
            "Interaction Desktop".to_owned(),
            "2020.2.1".to_owned(),
            "1".to_owned(),
            "srv".to_owned()
        )
    );
    assert_eq!(stream.hello.run_id.len(), 16);

    let logon = Logon::user("u")
        .station("s")
        .computer("c")
        .needing(["K"])
        .application("Portal")
        .wait(Duration::from_secs(2))
        .ttl(Duration::from_secs(30))
        .priority(3);
    let (first, second, third) =
        tokio::join!(client.acquire(logon), client.acquire(StationUse::of("s").needing(["W"])), async {
            for lease_id in 1..=2 {
                let acquire = stream.next_acquire().await;
                assert!(acquire.caller.is_none(), "hello has said it");
                match acquire.subject.clone().expect("a subject") {
                    v1::acquire_request::Subject::Logon(logon) => {
                        assert_eq!(logon.user, "u");
                        assert_eq!(logon.at, Some(v1::user_logon::At::Station("s".to_owned())));
                        assert_eq!((logon.computer, logon.application), ("c".to_owned(), "Portal".to_owned()));
                        assert_eq!(logon.needed_keys, ["K"]);
                        assert_eq!((acquire.ttl_ms, acquire.wait_ms, acquire.priority), (30_000, 2_000, 3));
                    }
                    v1::acquire_request::Subject::Station(station) => {
                        assert_eq!((station.station, station.needed_keys), ("s".to_owned(), vec!["W".to_owned()]));
                        assert_eq!((acquire.ttl_ms, acquire.wait_ms, acquire.priority), (0, 0, 0));
                    }
                    v1::acquire_request::Subject::Units(_) => panic!("not asked for"),
                }
                stream.grant(&acquire, lease_id);
            }
        });
    let _ = (first.expect("granted"), second.expect("granted"), third);
}

#[tokio::test]
async fn a_connection_lost_in_the_middle_keeps_request_and_run() {
    let folder = folder();
    let place = endpoint(&folder, "a");
    let mut server = Server::start(&place);
    let client = client([place]).build().expect("a client");
    let mut first = server.welcome(&[]).await;

    let asking = tokio::spawn(async move { client.acquire(Logon::user("u").ttl(Duration::from_secs(30))).await });
    let asked = first.next_acquire().await;
    let run = first.hello.run_id.clone();
    first.fail(Status::unavailable("cut"));

    // The daemon had granted it: the lease is named, and the same request brings the same answer.
    let mut second = server.welcome(&[7]).await;
    assert_eq!(second.hello.run_id, run);
    let again = second.next_acquire().await;
    assert_eq!(again, asked, "the same ID, and the same body");
    second.grant(&again, 7);
    let guard = soon("an answer", asking).await.expect("no panic").expect("granted");
    assert_eq!(guard.id().get(), 7);
    drop(guard);
    assert_eq!(second.next_release().await.lease_ids, [7], "once, and only now");
}

#[tokio::test]
async fn a_server_that_crashes_in_the_middle_is_asked_again_when_it_is_back() {
    let folder = folder();
    let place = endpoint(&folder, "a");
    let mut server = Server::start(&place);
    let client = client([place.clone()]).build().expect("a client");
    let mut first = server.welcome(&[]).await;
    let asking = tokio::spawn(async move { client.acquire(Logon::user("u")).await });
    let asked = first.next_acquire().await;
    server.crash();

    let mut server = Server::start(&place);
    let mut second = server.welcome(&[]).await;
    let again = second.next_acquire().await;
    assert_eq!(again, asked);
    second.grant(&again, 1);
    assert!(soon("an answer", asking).await.expect("no panic").is_ok());
}

#[tokio::test]
async fn only_what_no_server_decided_is_asked_again() {
    let folder = folder();
    let place = endpoint(&folder, "a");
    let mut server = Server::start(&place);
    let client = client([place]).build().expect("a client");
    let mut stream = server.welcome(&[]).await;

    for temporary in ["STARTING", "DRAINING", "NOT_ACTIVE", "STORAGE_UNAVAILABLE", "OVERLOADED"] {
        let asking = tokio::spawn({
            let client = client.clone();
            async move { client.acquire(Logon::user("u")).await }
        });
        let asked = stream.next_acquire().await;
        stream.refuse(&asked, refusal(Code::Unavailable, temporary));
        let again = stream.next_acquire().await;
        assert_eq!(again, asked, "{temporary}");
        let mut full = refusal(Code::ResourceExhausted, "POOL_EXHAUSTED");
        full.facts.insert("pool".to_owned(), "P".to_owned());
        full.retry_after_ms = 1_500;
        stream.refuse(&again, full);
        match soon("an answer", asking).await.expect("no panic") {
            Err(AcquireError::Refused(refusal)) => {
                assert_eq!(refusal.reason, "POOL_EXHAUSTED");
                assert_eq!(refusal.code, Code::ResourceExhausted);
                assert_eq!(refusal.facts["pool"], "P");
                assert_eq!(refusal.retry_after, Some(Duration::from_millis(1_500)));
                assert!(!refusal.is_temporary());
            }
            other => panic!("{temporary}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_caller_that_goes_away_takes_its_request_along() {
    let folder = folder();
    let place = endpoint(&folder, "a");
    let mut server = Server::start(&place);
    let client = client([place]).build().expect("a client");
    let mut stream = server.welcome(&[]).await;

    let waiting = tokio::spawn({
        let client = client.clone();
        async move { client.acquire(Units::of("K", 3).wait(Duration::from_secs(60))).await }
    });
    let asked = stream.next_acquire().await;
    let place_in_queue = v1::Waiting { position: 1, pools: vec!["K".to_owned()] };
    stream.acquired(&asked.request_id, Outcome::Waiting(place_in_queue));
    waiting.abort();
    match stream.next().await {
        Message::CancelWait(cancel) => assert_eq!(cancel.request_id, asked.request_id),
        other => panic!("not a cancellation: {other:?}"),
    }
    let release = stream.next_release().await;
    assert_eq!(release.acquire_request_ids, std::slice::from_ref(&asked.request_id));
    // It was granted at the same time: it comes back by its number too.
    stream.grant(&asked, 9);
    assert_eq!(stream.next_release().await.lease_ids, [9]);
}

#[tokio::test]
async fn a_deadline_is_kept_and_says_what_stood_in_the_way() {
    let folder = folder();
    let (place, nowhere) = (endpoint(&folder, "a"), endpoint(&folder, "nowhere"));
    let patience = Duration::from_millis(200);

    let alone = client([nowhere]).patience(patience).build().expect("a client");
    match soon("the deadline", alone.acquire(Logon::user("u"))).await {
        Err(AcquireError::NoAnswer { waited, obstacle: Obstacle::Unreachable(unreachable) }) => {
            assert!(waited >= patience, "{waited:?}");
            assert!(unreachable.to_string().contains("No such file"), "{unreachable}");
        }
        other => panic!("{other:?}"),
    }

    let mut server = Server::start(&place);
    let client = client([place]).patience(patience).build().expect("a client");
    let mut stream = server.welcome(&[]).await;
    let (outcome, asked) = tokio::join!(client.acquire(Logon::user("u")), async {
        let asked = stream.next_acquire().await;
        let again = {
            stream.refuse(&asked, refusal(Code::Unavailable, "STORAGE_UNAVAILABLE"));
            stream.next_acquire().await
        };
        assert_eq!(again, asked);
        asked
    });
    match outcome {
        Err(AcquireError::NoAnswer { obstacle: Obstacle::Refused(refusal), .. }) => {
            assert_eq!(refusal.reason, "STORAGE_UNAVAILABLE");
        }
        other => panic!("{other:?}"),
    }
    match stream.next().await {
        Message::CancelWait(cancel) => assert_eq!(cancel.request_id, asked.request_id),
        other => panic!("not a cancellation: {other:?}"),
    }
    assert_eq!(stream.next_release().await.acquire_request_ids, [asked.request_id]);
}

#[tokio::test]
async fn no_more_is_in_flight_than_allowed() {
    let folder = folder();
    let place = endpoint(&folder, "a");
    let mut server = Server::start(&place);
    let client = client([place]).in_flight(1).build().expect("a client");
    let mut stream = server.welcome(&[]).await;
    let (held, ()) = tokio::join!(client.acquire(Logon::user("first")), async {
        let asked = stream.next_acquire().await;
        stream.grant(&asked, 1);
    });
    let mut second = pin!(client.acquire(Logon::user("second")));
    let mut third = pin!(client.acquire(Logon::user("third")));
    begin(second.as_mut()).await;
    begin(third.as_mut()).await;
    drop(held.expect("granted"));

    let asked = stream.next_acquire().await;
    // A release needs no place. Had the third been sent, it would stand before it.
    assert_eq!(stream.next_release().await.lease_ids, [1]);
    stream.grant(&asked, 2);
    let second = soon("an answer", second).await.expect("granted");
    let (third, ()) = tokio::join!(third, async {
        let asked = stream.next_acquire().await;
        stream.grant(&asked, 3);
    });
    assert_eq!((second.id().get(), third.expect("granted").id().get()), (2, 3));
}

/// Polls it once: it has done what it can do without an answer.
async fn begin<T>(future: Pin<&mut impl Future<Output = T>>) {
    tokio::select! {
        biased;
        _ = future => panic!("nothing has answered"),
        () = std::future::ready(()) => {}
    }
}

#[tokio::test]
async fn a_lease_that_ended_before_its_answer_is_no_lease() {
    let folder = folder();
    let place = endpoint(&folder, "a");
    let mut server = Server::start(&place);
    let client = client([place]).build().expect("a client");
    let mut stream = server.welcome(&[]).await;

    let (outcome, ()) = tokio::join!(client.acquire(Logon::user("u")), async {
        let asked = stream.next_acquire().await;
        let ended = v1::Lease {
            state: v1::LeaseState::Ended.into(),
            end_reason: "LOGGED_ON_ELSEWHERE".to_owned(),
            ..lease(&asked, 5)
        };
        stream.acquired(&asked.request_id, Outcome::Lease(ended));
    });
    assert!(matches!(outcome, Err(AcquireError::Ended(ended)) if ended.reason == "LOGGED_ON_ELSEWHERE"));

    // The same where the event is ahead of the answer.
    let (outcome, ()) = tokio::join!(client.acquire(Logon::user("u")), async {
        let asked = stream.next_acquire().await;
        stream.tell(v1::event::Event::LeaseEnded(v1::LeaseEnded {
            lease_id: 6,
            reason: "REVOKED".to_owned(),
            message: String::new(),
        }));
        stream.grant(&asked, 6);
    });
    assert!(matches!(outcome, Err(AcquireError::Ended(ended)) if ended.reason == "REVOKED"));
}

#[tokio::test]
async fn questions_are_asked_again_until_somebody_decides() {
    let folder = folder();
    let place = endpoint(&folder, "a");
    let mut server = Server::start(&place);
    server
        .prepared
        .lock()
        .expect("whole")
        .failures
        .extend([status(Code::Unavailable, "STARTING"), Status::unavailable("cut")]);
    let client = client([place]).build().expect("a client");
    let _stream = server.welcome(&[]).await;
    let answers = soon("an answer", client.entitlements([Subject::user("u"), Subject::station("s")], ["K"]))
        .await
        .expect("an answer");
    assert_eq!(answers.iter().map(|answer| answer.any_of).collect::<Vec<_>>(), [true, true]);

    server.prepared.lock().expect("whole").failures.push_back(status(Code::NotFound, "USER_UNKNOWN"));
    match soon("an answer", client.explain(Logon::user("u"))).await {
        Err(RequestError::Refused(refusal)) => {
            assert_eq!((refusal.reason.as_str(), refusal.code), ("USER_UNKNOWN", Code::NotFound));
            assert_eq!(refusal.facts["pool"], "P");
            assert_eq!(refusal.to_string(), "Refused by the script: USER_UNKNOWN. (USER_UNKNOWN)");
        }
        other => panic!("{other:?}"),
    }
}
