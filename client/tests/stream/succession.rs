//! A new run of an application takes over what its predecessor left.

use std::time::Duration;

use leasehold_client::{LeaseState, RequestError};
use leasehold_proto::v1::{self, attach_request::Message, event::Event};
use tonic::{Code, Status};

use crate::script::{Attach, Server, client, endpoint, folder, lease, refusal, soon};

fn left(user: &str, number: u64) -> v1::Lease {
    v1::Lease { user: user.to_owned(), ..lease(&v1::AcquireRequest::default(), number) }
}

/// A connected client whose predecessor left these leases.
async fn restarted(
    server: &mut Server,
    place: leasehold_client::Endpoint,
    leases: &[u64],
) -> (leasehold_client::Client, Attach) {
    let connecting = tokio::spawn(client([place]).connect());
    let mut stream = server.attach().await;
    stream.welcome_after(leases);
    (connecting.await.expect("no panic").expect("a server"), stream)
}

#[tokio::test]
async fn what_the_previous_run_left_is_taken_over_as_guards() {
    let folder = folder();
    let place = endpoint(&folder, "a");
    let mut server = Server::start(&place);
    let (client, mut stream) = restarted(&mut server, place, &[7, 8, 9]).await;
    let numbers: Vec<u64> = client.predecessors().iter().map(|lease| lease.get()).collect();
    assert_eq!(numbers, [7, 8, 9]);

    // 8 has ended by itself, and 9 does before it is in anybody's hands.
    let (guards, ()) = tokio::join!(client.take_over(), async {
        let request = stream.next_take_over().await;
        assert_eq!(request.lease_ids, [7, 8, 9]);
        let ended = v1::LeaseEnded { lease_id: 9, reason: "REVOKED".to_owned(), message: "m".to_owned() };
        stream.tell(Event::LeaseEnded(ended));
        stream.taken_over(&request, vec![left("agent-001", 7), left("agent-003", 9)]);
    });
    let guards = guards.expect("taken over");
    assert_eq!(guards.len(), 1);
    assert_eq!((guards[0].id().get(), guards[0].lease().user.as_str()), (7, "agent-001"));
    assert_eq!(guards[0].state(), LeaseState::Confirmed);
    assert!(!client.predecessors().contains(&guards[0].id()), "it is this run's own now");

    drop(guards);
    let release = stream.next_release().await;
    assert_eq!(release.lease_ids, [7]);
    stream.released(&release);
}

#[tokio::test]
async fn a_lost_answer_to_a_taking_over_is_asked_for_again() {
    let folder = folder();
    let place = endpoint(&folder, "a");
    let mut server = Server::start(&place);
    let (client, mut stream) = restarted(&mut server, place, &[7]).await;
    let taking = tokio::spawn({
        let client = client.clone();
        async move { client.take_over().await }
    });
    let request = stream.next_take_over().await;
    stream.fail(Status::unavailable("cut before the answer"));

    // The server did it: the lease is named as this run's own, and is not given back as a stranger.
    let mut stream = server.welcome(&[7]).await;
    assert_eq!(stream.next_take_over().await, request);
    stream.taken_over(&request, vec![left("agent-001", 7)]);
    let guards = soon("an answer", taking).await.expect("no panic").expect("taken over");
    assert_eq!(guards[0].id().get(), 7);
    let closing = tokio::spawn({
        let client = client.clone();
        async move { client.shutdown().await }
    });
    let release = stream.next_release().await;
    assert_eq!(release.lease_ids, [7]);
    stream.released(&release);
    assert_eq!(soon("the end", closing).await.expect("no panic"), Ok(()));
}

#[tokio::test]
async fn a_refused_taking_over_says_so_and_a_late_one_goes_back() {
    let folder = folder();
    let place = endpoint(&folder, "a");
    let mut server = Server::start(&place);
    let (client, mut stream) = restarted(&mut server, place, &[7]).await;
    let (refused, ()) = tokio::join!(client.take_over(), async {
        let request = stream.next_take_over().await;
        let refusal = Some(refusal(Code::InvalidArgument, "MALFORMED"));
        let answer = v1::TakeOverAnswer { request_id: request.request_id, refusal, ..v1::TakeOverAnswer::default() };
        stream.take_over_answered(answer);
    });
    assert!(matches!(refused, Err(RequestError::Refused(refusal)) if refusal.reason == "MALFORMED"));

    // Who asked does not wait any more.
    let asking = tokio::spawn({
        let client = client.clone();
        async move { client.take_over().await }
    });
    let request = stream.next_take_over().await;
    asking.abort();
    assert!(soon("the end", asking).await.is_err_and(|end| end.is_cancelled()));
    stream.taken_over(&request, vec![left("agent-001", 7)]);
    assert!(matches!(stream.next().await, Message::Release(release) if release.lease_ids == [7]));
}

#[tokio::test]
async fn without_a_predecessor_there_is_nothing_to_ask() {
    let folder = folder();
    let place = endpoint(&folder, "a");
    let mut server = Server::start(&place);
    let (client, _stream) = restarted(&mut server, place, &[]).await;
    assert!(client.predecessors().is_empty());
    let taken = tokio::time::timeout(Duration::from_secs(10), client.take_over()).await.expect("at once");
    assert!(taken.expect("nothing to refuse").is_empty());
}
