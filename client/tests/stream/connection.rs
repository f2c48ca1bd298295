//! Finding a server: failover, drain, refusals at the door, site keys, what installations said.

use std::time::Duration;

use leasehold_client::{AcquireError, ClientEvent, ConnectError, Connection, LeaseState, Logon, Obstacle};
use leasehold_proto::v1::{self, event::Event};
use tonic::{Code, Status};

use crate::script::{Server, client, endpoint, folder, refusal, soon, status};

#[tokio::test]
async fn the_next_server_is_tried_where_one_fails_and_leases_go_along() {
    let folder = folder();
    let (a, b, nowhere) = (endpoint(&folder, "a"), endpoint(&folder, "b"), endpoint(&folder, "nowhere"));
    let (mut server_a, mut server_b) = (Server::start(&a), Server::start(&b));
    let client = client([nowhere, a.clone(), b.clone()]).build().expect("a client");
    let mut connection = client.connection();

    server_a.attach().await.fail(status(Code::Unavailable, "NOT_ACTIVE"));
    let mut stream = server_b.welcome(&[]).await;
    let attached = |server| Connection::Attached { server, installation_id: "test-installation".to_owned() };
    let at_b = attached(b);
    soon("attached to b", connection.wait_for(|now| *now == at_b)).await.expect("the client lives");
    let (guard, ()) = tokio::join!(client.acquire(Logon::user("u")), async {
        let asked = stream.next_acquire().await;
        stream.grant(&asked, 1);
    });
    let guard = guard.expect("granted");
    server_b.crash();

    let stream = server_a.welcome(&[1]).await;
    assert_eq!(stream.hello.highest_lease_id, 1);
    let at_a = attached(a);
    soon("attached to a", connection.wait_for(|now| *now == at_a)).await.expect("the client lives");
    assert_eq!(guard.state(), LeaseState::Confirmed);
}

#[tokio::test]
async fn a_server_that_drains_is_left_with_its_last_answers() {
    let folder = folder();
    let (a, b) = (endpoint(&folder, "a"), endpoint(&folder, "b"));
    let (mut server_a, mut server_b) = (Server::start(&a), Server::start(&b));
    let client = client([a, b]).build().expect("a client");
    let mut events = client.events();
    let mut draining = server_a.welcome(&[]).await;
    let ask = |user: &'static str| {
        let client = client.clone();
        tokio::spawn(async move { client.acquire(Logon::user(user)).await })
    };
    let (answered, unanswered) = (ask("u"), ask("v"));
    let (first, second) = (draining.next_acquire().await, draining.next_acquire().await);
    draining.tell(Event::Drain(v1::Drain { message: "stopping".to_owned() }));
    assert!(draining.next_or_end().await.is_none(), "nothing new is sent");
    draining.grant(&first, 1);
    draining.fail(Status::unavailable("stopped"));

    let mut stream = server_b.welcome(&[1]).await;
    assert_eq!(stream.next_acquire().await, second, "what was not answered goes on elsewhere");
    stream.grant(&second, 2);
    let mut numbers = Vec::new();
    for task in [answered, unanswered] {
        numbers.push(soon("an answer", task).await.expect("no panic").expect("granted").id().get());
    }
    numbers.sort_unstable();
    assert_eq!(numbers, [1, 2]);
    assert!(!server_a.has_been_asked(), "not where it was told to leave");
    assert!(matches!(soon("attached", events.next()).await, Some(ClientEvent::Attached { .. })));
    assert!(
        matches!(soon("drain", events.next()).await, Some(ClientEvent::Drain { message }) if &*message == "stopping")
    );
}

#[tokio::test]
async fn a_standby_is_left_for_the_active_server() {
    let folder = folder();
    let (a, b) = (endpoint(&folder, "a"), endpoint(&folder, "b"));
    let (mut standby, mut active) = (Server::start(&a), Server::start(&b));
    let client = client([a, b]).build().expect("a client");
    let mut stream = standby.welcome(&[]).await;
    let asking = tokio::spawn(async move { client.acquire(Logon::user("u")).await });
    let asked = stream.next_acquire().await;
    stream.refuse(&asked, refusal(Code::Unavailable, "NOT_ACTIVE"));
    let mut stream = active.welcome(&[]).await;
    let again = stream.next_acquire().await;
    assert_eq!(again, asked);
    stream.grant(&again, 1);
    assert!(soon("an answer", asking).await.expect("no panic").is_ok());
}

#[tokio::test]
async fn connecting_says_why_there_is_no_server() {
    let folder = folder();
    let (a, nowhere) = (endpoint(&folder, "a"), endpoint(&folder, "nowhere"));
    match soon("an outcome", client([nowhere]).patience(Duration::from_millis(100)).connect()).await {
        Err(ConnectError::NoServer { obstacle: Obstacle::Unreachable(unreachable), .. }) => {
            assert!(unreachable.cause.contains("No such file"), "{unreachable}");
        }
        other => panic!("{other:?}"),
    }

    let mut server = Server::start(&a);
    let refusing = async { server.attach().await.fail(status(Code::FailedPrecondition, "VERSION_NOT_COVERED")) };
    match soon("an outcome", async { tokio::join!(client([a]).connect(), refusing).0 }).await {
        Err(ConnectError::Refused(refusal)) => assert_eq!(refusal.reason, "VERSION_NOT_COVERED"),
        other => panic!("{other:?}"),
    }
    assert!(matches!(client([]).build(), Err(ConnectError::Invalid(_))));
}

#[tokio::test]
async fn who_displaces_whom_is_not_fought_out() {
    let folder = folder();
    let place = endpoint(&folder, "a");
    let mut server = Server::start(&place);
    let client = client([place]).patience(Duration::from_millis(300)).build().expect("a client");
    let mut events = client.events();
    let stream = server.welcome(&[]).await;
    assert_eq!(stream.hello.caller.as_ref().map(|caller| caller.instance.as_str()), Some("acd-server-2"));
    assert!(matches!(soon("attached", events.next()).await, Some(ClientEvent::Attached { .. })));
    stream.fail(status(Code::Aborted, "DISPLACED"));
    assert!(matches!(
        soon("detached", events.next()).await,
        Some(ClientEvent::Detached { obstacle: Obstacle::Refused(refusal) }) if refusal.reason == "DISPLACED"
    ));
    // It rests, for longer than this request has.
    match soon("the deadline", client.acquire(Logon::user("u"))).await {
        Err(AcquireError::NoAnswer { obstacle: Obstacle::Refused(refusal), .. }) => {
            assert_eq!(refusal.reason, "DISPLACED");
        }
        other => panic!("{other:?}"),
    }
    assert!(!server.has_been_asked(), "it has not come back");
}

#[tokio::test]
async fn site_keys_are_known_and_followed() {
    let folder = folder();
    let place = endpoint(&folder, "a");
    let mut server = Server::start(&place);
    let key = |name: &str, licensed| v1::SiteKey { key: name.to_owned(), licensed, ..v1::SiteKey::default() };
    server.prepared.lock().expect("whole").site_keys = vec![key("A", true), key("B", false)];
    let client = client([place]).watching(["A", "B"]).build().expect("a client");
    let mut site_keys = client.site_keys();
    assert!(!site_keys.borrow().known);
    let mut stream = server.welcome(&[]).await;
    assert_eq!(stream.hello.watch_site_keys, ["A", "B"]);
    {
        let known = soon("the keys", site_keys.wait_for(|keys| keys.known)).await.expect("the client lives");
        assert!(known.licensed("A") && !known.licensed("B") && !known.licensed("C"));
    }
    stream.tell(Event::SiteKeysChanged(v1::SiteKeysChanged { keys: vec![key("B", true)] }));
    let known = soon("the change", site_keys.wait_for(|keys| keys.licensed("B"))).await.expect("the client lives");
    assert!(known.licensed("A"), "the others stay");
}

#[tokio::test]
async fn the_standing_of_the_site_is_told_and_kept() {
    let folder = folder();
    let place = endpoint(&folder, "a");
    let mut server = Server::start(&place);
    let client = client([place]).build().expect("a client");
    let (mut events, mut standing) = (client.events(), client.standing());
    let mut stream = server.welcome(&[]).await;
    let next_at = std::time::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let told = |before, stage, next_stage| {
        Event::StandingChanged(v1::StandingChanged {
            before,
            stage,
            name: "obtrusive warning".to_owned(),
            reason: "STANDING".to_owned(),
            message: "No check-in was answered for 14 days.".to_owned(),
            next_stage,
            next_at: Some(next_at.into()),
            leases_end_in_ms: 0,
        })
    };
    stream.tell(told(2, 3, 4));
    let heard = loop {
        match soon("the standing", events.next()).await {
            Some(ClientEvent::StandingChanged { standing }) => break standing,
            Some(_) => {}
            None => panic!("no more events"),
        }
    };
    assert_eq!((heard.before, heard.stage, &*heard.name, &*heard.reason), (2, 3, "obtrusive warning", "STANDING"));
    assert_eq!((heard.next, heard.leases_end_in), (Some((4, next_at)), None));
    assert_eq!(&*heard.message, "No check-in was answered for 14 days.");
    {
        let kept = soon("the standing", standing.wait_for(Option::is_some)).await.expect("the client lives");
        assert_eq!(*kept, Some(heard));
    }
    // Said of a stage that has no next one.
    stream.tell(told(5, 6, 0));
    let worst = soon("the worst", standing.wait_for(|it| it.as_ref().is_some_and(|it| it.stage == 6))).await;
    assert_eq!(worst.expect("the client lives").as_ref().and_then(|standing| standing.next), None);
    // Attached anew, it goes by what it is told then.
    drop(stream);
    let _stream = server.welcome(&[]).await;
    soon("nothing", standing.wait_for(Option::is_none)).await.expect("the client lives");
}

#[tokio::test]
async fn a_site_key_that_is_gone_is_licensed_no_longer() {
    let folder = folder();
    let place = endpoint(&folder, "a");
    let mut server = Server::start(&place);
    let key = |name: &str, kind: &str| v1::SiteKey {
        key: name.to_owned(),
        licensed: true,
        kind: kind.to_owned(),
        ..v1::SiteKey::default()
    };
    server.prepared.lock().expect("whole").site_keys = vec![key("A", "feature"), key("B", "session")];
    // It watches all: what it is told is all that there is.
    let client = client([place]).build().expect("a client");
    let mut site_keys = client.site_keys();
    let mut stream = server.welcome(&[]).await;
    {
        let known = soon("the keys", site_keys.wait_for(|keys| keys.known)).await.expect("the client lives");
        assert_eq!(known.keys["B"].kind, "session");
    }
    stream.tell(Event::SiteKeysChanged(v1::SiteKeysChanged { keys: vec![key("A", "feature")] }));
    let known = soon("the change", site_keys.wait_for(|keys| !keys.licensed("B"))).await.expect("the client lives");
    assert!(known.licensed("A") && !known.keys.contains_key("B"));
}

/// What a server says of itself in these tests.
fn said(epoch: u64, lease_id: u64) -> v1::Witness {
    let installation_id = "0123456789abcdef0123456789abcdef".to_owned();
    v1::Witness { installation_id, epoch, epoch_id: 7, lease_id, signature: vec![9; 64] }
}

#[tokio::test]
async fn what_an_installation_said_is_remembered_over_runs_and_shown_to_it() {
    let folder = folder();
    let (place, file) = (endpoint(&folder, "a"), folder.path().join("witnesses"));
    let mut server = Server::start(&place);
    for (before, now) in [(None, said(2, 41)), (Some(said(2, 41)), said(2, 40)), (Some(said(2, 41)), said(3, 1))] {
        let client = client([place.clone()]).witness_file(&file).build().expect("a client");
        let mut stream = server.welcome(&[]).await;
        assert_eq!(stream.hello.witnesses, before.into_iter().collect::<Vec<_>>());
        stream.say(now);
        // Answers come in order: what comes before this one has been taken in.
        let (guard, ()) = tokio::join!(client.acquire(Logon::user("u").signed()), async {
            let asked = stream.next_acquire().await;
            assert!(asked.sign);
            stream.grant(&asked, 1);
        });
        drop(guard.expect("granted"));
        let (closed, ()) = tokio::join!(client.shutdown(), async {
            let release = stream.next_release().await;
            stream.released(&release);
        });
        assert_eq!(closed, Ok(()));
    }
    let client_of = |file: &std::path::Path| client([place.clone()]).witness_file(file).build();
    let third = client_of(&file).expect("a client");
    assert_eq!(server.welcome(&[]).await.hello.witnesses, [said(3, 1)]);
    drop(third);
    std::fs::write(&file, "x").expect("written");
    assert!(matches!(client_of(&file), Err(ConnectError::Witnesses { .. })));
}

/// Without a file they are kept for as long as the client lives.
#[tokio::test]
async fn what_an_installation_said_is_shown_after_a_reconnect() {
    let folder = folder();
    let place = endpoint(&folder, "a");
    let mut server = Server::start(&place);
    let client = client([place.clone()]).build().expect("a client");
    let mut stream = server.welcome(&[]).await;
    stream.say(said(2, 41));
    let (guard, ()) = tokio::join!(client.acquire(Logon::user("u")), async {
        let asked = stream.next_acquire().await;
        assert!(!asked.sign);
        stream.grant(&asked, 42);
    });
    let _guard = guard.expect("granted");
    server.crash();
    let mut server = Server::start(&place);
    assert_eq!(server.welcome(&[42]).await.hello.witnesses, [said(2, 41)]);
}
