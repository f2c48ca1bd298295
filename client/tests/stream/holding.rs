//! Holding leases: how they end, how they go back, and what the holder is told.

use std::time::Duration;

use leasehold_client::{AcquireError, ClientEvent, LeaseEvent, LeaseGuard, LeaseState, Logon, RequestError};
use leasehold_proto::v1::{self, attach_request::Message, event::Event};
use tonic::{Code, Status};

use crate::script::{Attach, Server, client, endpoint, folder, lease, refusal, soon};

async fn logon(client: &leasehold_client::Client, stream: &mut Attach, user: &str, number: u64) -> LeaseGuard {
    let (guard, ()) = tokio::join!(client.acquire(Logon::user(user)), async {
        let asked = stream.next_acquire().await;
        stream.grant(&asked, number);
    });
    guard.expect("granted")
}

#[tokio::test]
async fn a_dropped_guard_gives_its_lease_back_even_over_a_lost_connection() {
    let folder = folder();
    let place = endpoint(&folder, "a");
    let mut server = Server::start(&place);
    let client = client([place]).build().expect("a client");
    let mut stream = server.welcome(&[]).await;
    let guard = logon(&client, &mut stream, "u", 1).await;
    drop(guard);
    let release = stream.next_release().await;
    assert_eq!(release.lease_ids, [1]);
    stream.fail(Status::unavailable("cut before the answer"));

    let mut stream = server.welcome(&[1]).await;
    let again = stream.next_release().await;
    assert_eq!(again, release, "the same request");
    assert_eq!(stream.acknowledged, 0, "answers are counted anew on each stream");
    stream.released(&again);
    // Answered, it is not sent once more.
    let other = logon(&client, &mut stream, "v", 2).await;
    assert_eq!(other.id().get(), 2);
}

#[tokio::test]
async fn a_seat_goes_back_before_the_next_request_is_made() {
    let folder = folder();
    let place = endpoint(&folder, "a");
    let mut server = Server::start(&place);
    let client = client([place]).build().expect("a client");
    let mut stream = server.welcome(&[]).await;
    let guard = logon(&client, &mut stream, "u", 1).await;
    // Both reach the keeper at once.
    let (next, ()) = tokio::join!(
        async {
            drop(guard);
            client.acquire(Logon::user("v")).await
        },
        async {
            assert_eq!(stream.next_release().await.lease_ids, [1]);
            let asked = stream.next_acquire().await;
            stream.grant(&asked, 2);
        }
    );
    assert_eq!(next.expect("granted").id().get(), 2);
}

#[tokio::test]
async fn a_release_waits_for_its_answer_and_is_final() {
    let folder = folder();
    let place = endpoint(&folder, "a");
    let mut server = Server::start(&place);
    let client = client([place]).build().expect("a client");
    let mut stream = server.welcome(&[]).await;
    let guard = logon(&client, &mut stream, "u", 1).await;
    let mut watch = guard.watch();
    let (released, ()) = tokio::join!(guard.release(), async {
        let release = stream.next_release().await;
        assert_eq!(release.lease_ids, [1]);
        stream.released(&release);
    });
    assert_eq!(released, Ok(()));
    assert!(matches!(&*watch.borrow_and_update(), LeaseState::Ended(ended) if ended.reason == "RELEASED"));
    let next = logon(&client, &mut stream, "v", 2).await;
    assert_eq!(stream.acknowledged, 2, "the answers to acquire and release had arrived");
    drop(next);
}

#[tokio::test]
async fn an_ended_lease_says_why_and_nothing_is_asked_again() {
    let folder = folder();
    let place = endpoint(&folder, "a");
    let mut server = Server::start(&place);
    let client = client([place]).build().expect("a client");
    let mut stream = server.welcome(&[]).await;
    let guard = logon(&client, &mut stream, "u", 1).await;
    let (mut of_lease, mut of_client) = (guard.events(), client.events());
    assert_eq!(guard.state(), LeaseState::Confirmed);

    stream.tell(Event::LeaseWarned(v1::LeaseWarned {
        lease_id: 1,
        reason: "IDLE".to_owned(),
        message: "m".to_owned(),
        ends_in_ms: 60_000,
    }));
    stream.tell(Event::LeaseEnded(v1::LeaseEnded {
        lease_id: 1,
        reason: "LOGGED_ON_ELSEWHERE".to_owned(),
        message: "The user logged on at PC-2.".to_owned(),
    }));
    let ended = soon("the end", guard.ended()).await;
    assert_eq!(ended.to_string(), "The user logged on at PC-2. (LOGGED_ON_ELSEWHERE)");
    assert_eq!(guard.state(), LeaseState::Ended(ended.clone()));
    assert!(matches!(
        soon("a warning", of_lease.next()).await,
        Some(LeaseEvent::Warned { ends_in: Some(ends_in), .. }) if ends_in == Duration::from_secs(60)
    ));
    assert_eq!(soon("the end", of_lease.next()).await, Some(LeaseEvent::Ended(ended.clone())));
    assert_eq!(soon("nothing more", of_lease.next()).await, None);
    assert!(matches!(soon("a warning", of_client.next()).await, Some(ClientEvent::LeaseWarned { .. })));
    assert_eq!(soon("the end", of_client.next()).await, Some(ClientEvent::LeaseEnded { lease: guard.id(), ended }));

    // Neither a release nor another acquire: the next message is the next request.
    assert_eq!(guard.release().await, Ok(()));
    let _ = logon(&client, &mut stream, "v", 2).await;
}

#[tokio::test]
async fn keys_join_and_leave_a_live_lease() {
    let folder = folder();
    let place = endpoint(&folder, "a");
    let mut server = Server::start(&place);
    let client = client([place]).build().expect("a client");
    let mut stream = server.welcome(&[]).await;
    let guard = logon(&client, &mut stream, "u", 1).await;
    let mut events = guard.events();
    assert!(!guard.lease().holds("K"));

    let held = v1::HeldKey { key: "K".to_owned(), ..v1::HeldKey::default() };
    let changed = v1::Lease { keys: vec![held], ..lease(&v1::AcquireRequest::default(), 1) };
    stream.tell(Event::LeaseChanged(v1::LeaseChanged {
        lease: Some(changed),
        added: vec!["K".to_owned()],
        removed: Vec::new(),
    }));
    assert_eq!(
        soon("the change", events.next()).await,
        Some(LeaseEvent::Changed { added: vec!["K".to_owned()], removed: Vec::new() })
    );
    assert!(guard.lease().holds("K"));
}

#[tokio::test]
async fn an_idle_mark_is_set_or_refused() {
    let folder = folder();
    let place = endpoint(&folder, "a");
    let mut server = Server::start(&place);
    let client = client([place]).build().expect("a client");
    let mut stream = server.welcome(&[]).await;
    let guard = logon(&client, &mut stream, "u", 1).await;
    for (idle, refused) in [(true, None), (false, Some(refusal(Code::PermissionDenied, "NOT_YOUR_LEASE")))] {
        let (outcome, ()) = tokio::join!(guard.set_idle(idle), async {
            match stream.next().await {
                Message::SetIdle(request) => {
                    assert_eq!((request.lease_ids.as_slice(), request.idle), ([1].as_slice(), idle));
                    stream.idle_set(&request, refused.clone());
                }
                other => panic!("not an idle mark: {other:?}"),
            }
        });
        match refused {
            None => assert_eq!(outcome, Ok(())),
            Some(_) => {
                assert!(matches!(outcome, Err(RequestError::Refused(refusal)) if refusal.reason == "NOT_YOUR_LEASE"))
            }
        }
        assert!(guard.lease().idle, "as the server last agreed");
    }
}

#[tokio::test]
async fn a_live_guard_survives_a_restart_unnoticed() {
    let folder = folder();
    let place = endpoint(&folder, "a");
    let mut server = Server::start(&place);
    let client = client([place.clone()]).build().expect("a client");
    let mut stream = server.welcome(&[]).await;
    let guard = logon(&client, &mut stream, "u", 41).await;
    let watch = guard.watch();
    let run = stream.hello.run_id.clone();
    server.crash();

    let mut server = Server::start(&place);
    let mut stream = server.welcome(&[41]).await;
    assert_eq!((stream.hello.run_id.clone(), stream.hello.highest_lease_id), (run, 41));
    let _other = logon(&client, &mut stream, "v", 42).await;
    assert_eq!(guard.state(), LeaseState::Confirmed);
    assert!(!watch.has_changed().expect("the guard is here"), "nothing was said of it");
}

#[tokio::test]
async fn a_lease_that_is_gone_after_a_reconnect_ends_with_what_the_server_says_of_it() {
    let folder = folder();
    let place = endpoint(&folder, "a");
    let mut server = Server::start(&place);
    let client = client([place]).build().expect("a client");
    let mut stream = server.welcome(&[]).await;
    let displaced = logon(&client, &mut stream, "u", 1).await;
    let unknown = logon(&client, &mut stream, "v", 2).await;
    let kept = logon(&client, &mut stream, "w", 3).await;
    let mut elsewhere = refusal(Code::FailedPrecondition, "LEASE_ENDED");
    elsewhere.facts.insert("how".to_owned(), "LOGGED_ON_ELSEWHERE".to_owned());
    server.prepared.lock().expect("whole").renewals =
        [(1, elsewhere), (2, refusal(Code::NotFound, "LEASE_UNKNOWN"))].into();
    stream.fail(Status::unavailable("cut"));

    let _stream = server.welcome(&[3]).await;
    assert_eq!(soon("the end", displaced.ended()).await.reason, "LOGGED_ON_ELSEWHERE");
    assert_eq!(soon("the end", unknown.ended()).await.reason, "GONE");
    assert_eq!(kept.state(), LeaseState::Confirmed);
}

#[tokio::test]
async fn a_lease_that_nobody_knows_goes_back() {
    let folder = folder();
    let place = endpoint(&folder, "a");
    let mut server = Server::start(&place);
    let client = client([place]).build().expect("a client");
    let mut stream = server.welcome(&[]).await;
    let asking = tokio::spawn({
        let client = client.clone();
        async move { client.acquire(Logon::user("u")).await }
    });
    let asked = stream.next_acquire().await;
    stream.fail(Status::unavailable("cut"));

    // One of the two is the request's own, but which?
    let mut stream = server.welcome(&[7, 8]).await;
    assert_eq!(stream.next_acquire().await, asked);
    stream.grant(&asked, 7);
    let guard = soon("an answer", asking).await.expect("no panic").expect("granted");
    assert_eq!(guard.id().get(), 7);
    assert_eq!(stream.next_release().await.lease_ids, [8]);
}

#[tokio::test]
async fn a_shutdown_gives_everything_back() {
    let folder = folder();
    let place = endpoint(&folder, "a");
    let mut server = Server::start(&place);
    let client = client([place]).build().expect("a client");
    let mut stream = server.welcome(&[]).await;
    let first = logon(&client, &mut stream, "u", 1).await;
    let second = logon(&client, &mut stream, "v", 2).await;
    let waiting = tokio::spawn({
        let client = client.clone();
        async move { client.acquire(Logon::user("w").wait(Duration::from_secs(60))).await }
    });
    let asked = stream.next_acquire().await;

    let closing = tokio::spawn({
        let client = client.clone();
        async move { client.shutdown().await }
    });
    assert!(matches!(stream.next().await, Message::CancelWait(cancel) if cancel.request_id == asked.request_id));
    let withdrawal = stream.next_release().await;
    assert_eq!(withdrawal.acquire_request_ids, [asked.request_id]);
    stream.released(&withdrawal);
    let release = stream.next_release().await;
    assert_eq!(release.lease_ids, [1, 2]);
    assert!(!closing.is_finished(), "it waits for the answer");
    stream.released(&release);
    assert_eq!(soon("the end", closing).await.expect("no panic"), Ok(()));
    assert!(matches!(soon("an answer", waiting).await.expect("no panic"), Err(AcquireError::Closed)));
    for guard in [first, second] {
        assert_eq!(soon("the end", guard.ended()).await.reason, "SHUTDOWN");
    }
    assert!(matches!(client.acquire(Logon::user("x")).await, Err(AcquireError::Closed)));
    assert_eq!(client.shutdown().await, Ok(()), "twice is once");
    assert!(stream.next_or_end().await.is_none(), "the stream is closed");
}

#[tokio::test]
async fn when_nobody_holds_the_client_any_more_its_leases_go_back_and_its_stream_ends() {
    let folder = folder();
    let place = endpoint(&folder, "a");
    let mut server = Server::start(&place);
    let client = client([place]).build().expect("a client");
    let mut stream = server.welcome(&[]).await;
    let guard = logon(&client, &mut stream, "u", 1).await;
    drop(client);
    assert_eq!(guard.state(), LeaseState::Confirmed, "a guard is enough to go on");
    drop(guard);
    let release = stream.next_release().await;
    assert_eq!(release.lease_ids, [1]);
    stream.released(&release);
    assert!(stream.next_or_end().await.is_none(), "the stream is closed");
}
