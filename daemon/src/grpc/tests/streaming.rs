//! What goes over an attached stream.

use leasehold_proto::v1::{acquire_answer::Outcome, attach_request::Message as Say, attach_response::Message as Heard};

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn acquires_and_releases_are_answered_by_their_request() {
    let site = Site::serving().await;
    let (mut stream, welcome) = Stream::attach(&site, "a", 1).await;
    assert_eq!(welcome.installation_id, site.folder.identity().installation_id().to_string());
    assert!(welcome.beat_every_ms > 0 && welcome.lease_ids.is_empty());
    for request in 1..=3 {
        stream.acquire(request, 1, 0).await;
    }
    let mut granted = Vec::new();
    for _ in 0..3 {
        match stream.acquired().await {
            (request, Outcome::Lease(lease), number) => granted.push((number, request, lease.lease_id)),
            (request, Outcome::Refusal(refusal), number) => {
                assert_eq!((refusal.reason.as_str(), number, request.len()), ("POOL_EXHAUSTED", 0, 16));
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(granted.iter().map(|(number, ..)| *number).collect::<Vec<_>>(), [1, 2], "two of three, in order");

    stream.say(Say::Beat(v1::Beat { number: 77 })).await;
    assert_eq!(
        stream.next().await.message,
        Some(Heard::Beat(v1::BeatAnswer { number: 77, renewed: 2, refusal: None }))
    );

    // The same request again gets the same answer.
    let (_, request, lease) = granted[0].clone();
    stream.acquire(request[0], 1, 0).await;
    let (again, outcome, number) = stream.acquired().await;
    let Outcome::Lease(same) = outcome else { panic!("{outcome:?}") };
    assert_eq!((again, same.lease_id, number), (request.clone(), lease, 3));

    let idle =
        v1::SetIdleRequest { request_id: vec![8; 16], lease_ids: vec![lease, 999], idle: true, ..Default::default() };
    stream.say(Say::SetIdle(idle)).await;
    let next = stream.next().await;
    let Some(Heard::IdleSet(answer)) = next.message else { panic!("{next:?}") };
    assert_eq!((answer.outcomes[0].refusal.clone(), answer.outcomes[1].lease_id), (None, 999));
    assert_eq!(answer.outcomes[1].refusal.as_ref().unwrap().reason, "LEASE_UNKNOWN");

    let release = |id: u8| v1::ReleaseRequest {
        request_id: vec![id; 16],
        lease_ids: vec![lease],
        acquire_request_ids: vec![granted[1].1.clone()],
        ..Default::default()
    };
    for id in [9, 10] {
        stream.say(Say::Release(release(id))).await;
        let next = stream.next().await;
        let Some(Heard::Released(answer)) = next.message else { panic!("{next:?}") };
        assert_eq!(answer.request_id, vec![id; 16]);
        assert!(
            answer.refusal.is_none() && answer.outcomes.iter().all(|outcome| outcome.refusal.is_none()),
            "{answer:?}"
        );
        assert_eq!(answer.outcomes[1].lease_id, granted[1].2, "released by the request that was granted it");
    }
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_answers_are_forgotten() {
    let site = Site::serving().await;
    let (mut stream, _) = Stream::attach(&site, "a", 1).await;
    stream.acquire(1, 1, 0).await;
    let (_, Outcome::Lease(first), number) = stream.acquired().await else { panic!() };
    let message = v1::AttachRequest { message: Some(Say::Beat(v1::Beat { number: 1 })), answers_received: number };
    stream.to.send(message).await.unwrap();
    assert!(matches!(stream.next().await.message, Some(Heard::Beat(_))));
    stream.acquire(1, 1, 0).await;
    let (_, Outcome::Lease(second), _) = stream.acquired().await else { panic!() };
    assert_ne!(first.lease_id, second.lease_id, "the request ID is free again");
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_of_one_message_do_not_end_the_stream() {
    let site = Site::serving().await;
    let (mut stream, _) = Stream::attach(&site, "a", 1).await;
    let malformed = v1::AcquireRequest { ttl_ms: 5, ..call_ports("", 1, 1) };
    stream.say(Say::Acquire(malformed)).await;
    let (request, Outcome::Refusal(refusal), 0) = stream.acquired().await else { panic!() };
    assert_eq!(
        (request, refusal.reason.as_str(), refusal.facts["field"].as_str()),
        (vec![1; 16], "MALFORMED", "ttl_ms")
    );
    stream.say(Say::Release(v1::ReleaseRequest { request_id: vec![2; 16], ..Default::default() })).await;
    let next = stream.next().await;
    let Some(Heard::Released(answer)) = next.message else { panic!("{next:?}") };
    assert_eq!(answer.refusal.unwrap().facts["field"], "lease_ids");
    stream.say(Say::SetIdle(v1::SetIdleRequest { request_id: vec![3; 16], ..Default::default() })).await;
    let next = stream.next().await;
    let Some(Heard::IdleSet(answer)) = next.message else { panic!("{next:?}") };
    let refusal = answer.refusal.unwrap();
    assert_eq!((refusal.reason.as_str(), refusal.facts["field"].as_str()), ("MALFORMED", "lease_ids"));
    stream.say(Say::TakeOver(v1::TakeOver { request_id: vec![4; 16], lease_ids: vec![0] })).await;
    let next = stream.next().await;
    let Some(Heard::TakenOver(answer)) = next.message else { panic!("{next:?}") };
    assert_eq!(answer.refusal.unwrap().facts["field"], "lease_ids[0]");
    stream.acquire(4, 1, 0).await;
    assert!(matches!(stream.acquired().await, (_, Outcome::Lease(_), 1)));
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_begins_with_one_hello() {
    let site = Site::serving().await;
    let mut hasty = Stream::open(&site).await;
    hasty.acquire(1, 1, 0).await;
    let status = hasty.end().await;
    assert_eq!(
        (status.code(), status.get_details_bad_request().unwrap().field_violations[0].field.as_str()),
        (Code::InvalidArgument, "hello")
    );

    let mut nameless = Stream::open(&site).await;
    nameless.hello("", 1).await;
    assert_eq!(nameless.end().await.code(), Code::InvalidArgument);

    let (mut twice, _) = Stream::attach(&site, "a", 1).await;
    twice.hello("a", 1).await;
    assert_eq!(twice.end().await.code(), Code::InvalidArgument);

    let (mut empty, _) = Stream::attach(&site, "a", 1).await;
    empty.to.send(v1::AttachRequest::default()).await.unwrap();
    assert_eq!(empty.end().await.code(), Code::InvalidArgument);

    let (mut large, _) = Stream::attach(&site, "a", 1).await;
    let release =
        v1::ReleaseRequest { request_id: vec![1; 16], lease_ids: vec![u64::MAX; 9_000], ..Default::default() };
    large.say(Say::Release(release)).await;
    let status = large.end().await;
    assert_eq!((status.code(), reason(&status).as_str()), (Code::InvalidArgument, "MALFORMED"));
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_stream_takes_the_place_of_an_older_one() {
    let site = Site::serving().await;
    let (mut first, _) = Stream::attach(&site, "a", 1).await;
    first.acquire(1, 1, 0).await;
    let (_, Outcome::Lease(lease), _) = first.acquired().await else { panic!() };

    // The same run reconnects and goes on with its leases.
    let (mut again, welcome) = Stream::attach(&site, "a", 1).await;
    assert_eq!(welcome.lease_ids, [lease.lease_id]);
    let status = first.end().await;
    assert_eq!((status.code(), reason(&status).as_str()), (Code::Aborted, "DISPLACED"));
    again.say(Say::Beat(v1::Beat { number: 1 })).await;
    assert_eq!(again.next().await.message, Some(Heard::Beat(v1::BeatAnswer { number: 1, renewed: 1, refusal: None })));

    // A new run takes over what its predecessor left.
    let (mut new, welcome) = Stream::attach(&site, "a", 2).await;
    assert_eq!((welcome.lease_ids.len(), welcome.predecessor_lease_ids), (0, vec![lease.lease_id]));
    assert_eq!(reason(&again.end().await), "DISPLACED");
    new.say(Say::TakeOver(v1::TakeOver { request_id: vec![5; 16], lease_ids: Vec::new() })).await;
    let next = new.next().await;
    let Some(Heard::TakenOver(answer)) = next.message else { panic!("{next:?}") };
    assert_eq!((answer.outcomes[0].lease_id, answer.outcomes[0].refusal.clone()), (lease.lease_id, None));
    assert_eq!((answer.refusal, answer.leases), (None, vec![lease.clone()]), "in full: the new run has never seen it");
    // Asked again, as after a lost answer, it is told again.
    new.say(Say::TakeOver(v1::TakeOver { request_id: vec![5; 16], lease_ids: vec![lease.lease_id] })).await;
    let Some(Heard::TakenOver(answer)) = new.next().await.message else { panic!() };
    assert_eq!(answer.leases, [lease]);
    new.say(Say::Beat(v1::Beat { number: 2 })).await;
    assert_eq!(new.next().await.message, Some(Heard::Beat(v1::BeatAnswer { number: 2, renewed: 1, refusal: None })));

    // Another name is another application server.
    let (_other, welcome) = Stream::attach(&site, "b", 1).await;
    assert!(welcome.lease_ids.is_empty() && welcome.predecessor_lease_ids.is_empty());
    new.say(Say::Beat(v1::Beat { number: 3 })).await;
    assert_eq!(new.next().await.message, Some(Heard::Beat(v1::BeatAnswer { number: 3, renewed: 1, refusal: None })));
    let status = site.administration().await.get_status(v1::GetStatusRequest {}).await.unwrap().into_inner();
    assert_eq!(status.attached, 2, "the ends of older streams detached nobody");
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_is_told_once_and_served_when_a_seat_is_free() {
    let site = Site::serving().await;
    let (mut holder, _) = Stream::attach(&site, "a", 1).await;
    holder.acquire(1, 2, 0).await;
    let (_, Outcome::Lease(lease), _) = holder.acquired().await else { panic!() };
    let (mut waiter, _) = Stream::attach(&site, "b", 1).await;
    for request in [1, 2] {
        waiter.acquire(request, 1, 60_000).await;
        let (id, Outcome::Waiting(place), 0) = waiter.acquired().await else { panic!() };
        assert_eq!(
            (id, place.position, place.pools),
            (vec![request; 16], u32::from(request), vec!["CALL_PORT".to_owned()])
        );
    }
    waiter.say(Say::CancelWait(v1::CancelWait { request_id: vec![1; 16] })).await;
    let (id, Outcome::Refusal(refusal), 0) = waiter.acquired().await else { panic!() };
    assert_eq!((id, refusal.reason.as_str()), (vec![1; 16], "CANCELLED"));
    let release = v1::ReleaseRequest { request_id: vec![9; 16], lease_ids: vec![lease.lease_id], ..Default::default() };
    holder.say(Say::Release(release)).await;
    let (id, Outcome::Lease(_), 1) = waiter.acquired().await else { panic!() };
    assert_eq!(id, vec![2; 16]);
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unary_call_waits_for_a_seat() {
    let site = Site::serving().await;
    let mut tcp = site.leasing().await;
    let held = tcp.acquire(call_ports("a", 1, 2)).await.unwrap().into_inner().lease.unwrap();
    let mut waiting = tcp.clone();
    let waiter =
        tokio::spawn(
            async move { waiting.acquire(v1::AcquireRequest { wait_ms: 60_000, ..call_ports("b", 1, 1) }).await },
        );
    // It waits when the pool says so.
    let mut administration = site.administration().await;
    while administration.get_status(v1::GetStatusRequest {}).await.unwrap().into_inner().waiting == 0 {
        tokio::task::yield_now().await;
    }
    let release = v1::ReleaseRequest { caller: named("a"), lease_ids: vec![held.lease_id], ..Default::default() };
    tcp.release(release).await.unwrap();
    assert!(waiter.await.unwrap().unwrap().into_inner().lease.is_some());
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopping_daemon_tells_its_streams() {
    let site = Site::serving().await;
    let (mut stream, _) = Stream::attach(&site, "a", 1).await;
    stream.acquire(1, 1, 0).await;
    assert!(matches!(stream.acquired().await, (_, Outcome::Lease(_), 1)));
    site.core.set_phase(Phase::Draining);
    let next = stream.next().await;
    let Some(Heard::Event(v1::Event { event: Some(v1::event::Event::Drain(_)) })) = next.message else {
        panic!("{next:?}")
    };
    stream.acquire(2, 1, 0).await;
    let (_, Outcome::Refusal(refusal), 0) = stream.acquired().await else { panic!() };
    assert_eq!(refusal.reason, "DRAINING");
    stream.say(Say::Beat(v1::Beat { number: 1 })).await;
    assert_eq!(
        stream.next().await.message,
        Some(Heard::Beat(v1::BeatAnswer { number: 1, renewed: 1, refusal: None })),
        "renewals go on"
    );
    site.core.stop();
    assert_eq!(reason(&stream.end().await), "DRAINING");
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_stream_detaches_and_what_was_asked_is_answered() {
    let site = Site::serving().await;
    let (stream, _) = Stream::attach(&site, "a", 1).await;
    let Stream { to, mut from } = stream;
    let acquire = v1::AcquireRequest { caller: None, ..call_ports("", 1, 1) };
    to.send(v1::AttachRequest { message: Some(Say::Acquire(acquire)), answers_received: 0 }).await.unwrap();
    drop(to);
    let answer = from.message().await.unwrap().unwrap();
    assert!(matches!(answer.message, Some(Heard::Acquired(_))), "{answer:?}");
    assert!(from.message().await.unwrap().is_none(), "a clean end");
    let status = site.administration().await.get_status(v1::GetStatusRequest {}).await.unwrap().into_inner();
    assert_eq!((status.attached, status.leases), (0, 1), "its leases stand for their time to live");
    site.stop().await;
}
