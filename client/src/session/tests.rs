//! The session under given times.

use std::sync::Arc;

use leasehold_proto::v1::{acquire_answer::Outcome, attach_response};
use tokio::sync::Semaphore;

use super::*;
use crate::{
    lease::LeaseState,
    request::{Acquire, Logon},
};

/// A session, and what keeps it going.
struct Played {
    session: Session,
    handle: Arc<Handle>,
    _inbox: tokio::sync::mpsc::UnboundedReceiver<Command>,
}

type Answer = oneshot::Receiver<Result<LeaseGuard, AcquireError>>;

impl Played {
    fn new() -> Self {
        let (commands, inbox) = tokio::sync::mpsc::unbounded_channel();
        let patience = std::time::Duration::from_secs(10);
        let handle = Arc::new(Handle { commands, permits: Arc::new(Semaphore::new(100)), patience });
        let events = broadcast::Sender::new(8);
        let site_keys = watch::Sender::new(SiteKeys::default());
        let session = Session::new(Arc::downgrade(&handle), events, site_keys, Witnesses::default());
        Self { session, handle, _inbox: inbox }
    }

    /// Asks for a lease; the deadline is far away.
    fn ask(&mut self, user: &str, now: u64) -> (Uuid, Answer) {
        let id = Uuid::new_v4();
        let permit = Arc::clone(&self.handle.permits).try_acquire_owned().expect("free");
        let (reply, answer) = oneshot::channel();
        let message = Acquire::from(Logon::user(user)).into_message(id);
        let (begun, deadline) = (Moment(now), Moment(now + 100_000));
        self.session.acquire(Acquiring { id, message, begun, deadline, reply, permit }, Moment(now));
        (id, answer)
    }

    fn grant(&mut self, id: Uuid, lease_id: u64, now: u64) {
        let lease = v1::Lease { lease_id, ttl_ms: 60_000, ..v1::Lease::default() };
        let request_id = id.as_bytes().to_vec();
        let granted = v1::AcquireAnswer { request_id, outcome: Some(Outcome::Lease(lease)) };
        receive(&mut self.session, attach_response::Message::Acquired(granted), now);
    }
}

/// One lease, granted at 1,000, on a connection that began then too.
fn holding_one_lease() -> (Played, LeaseGuard) {
    let mut played = Played::new();
    assert!(played.session.attached(&welcome(&[]), Moment(1_000)).is_empty());
    assert_eq!(beat(&mut played.session), Some(1), "at once");
    answer_beat(&mut played.session, 1, 1_000);
    let (id, mut answer) = played.ask("u", 1_000);
    assert!(matches!(next(&mut played.session), Some(Message::Acquire(_))));
    played.grant(id, 7, 1_200);
    let guard = answer.try_recv().expect("answered").expect("granted");
    (played, guard)
}

fn welcome(leases: &[u64]) -> v1::Welcome {
    v1::Welcome { lease_ids: leases.to_vec(), beat_every_ms: 20_000, ..v1::Welcome::default() }
}

fn receive(session: &mut Session, message: attach_response::Message, now: u64) {
    let answer = v1::AttachResponse { message: Some(message), answer_number: 0 };
    assert_eq!(session.received(answer, Moment(now)), Turn::Stay);
}

fn answer_beat(session: &mut Session, number: u64, now: u64) {
    let answer = v1::BeatAnswer { number, renewed: 1, refusal: None };
    receive(session, attach_response::Message::Beat(answer), now);
}

fn next(session: &mut Session) -> Option<Message> {
    session.next_message().and_then(|request| request.message)
}

fn beat(session: &mut Session) -> Option<u64> {
    match next(session) {
        Some(Message::Beat(beat)) => Some(beat.number),
        _ => None,
    }
}

/// LEASE-13: the ten seconds are counted from the first attaching; a stream that breaks and comes back within them gives no
/// more.
#[test]
fn a_reconnect_gives_no_more_time_to_take_over() {
    let mut played = Played::new();
    let session = &mut played.session;
    let after = |leases: &[u64]| v1::Welcome { predecessor_lease_ids: leases.to_vec(), ..welcome(&[]) };
    session.attached(&after(&[7, 8]), Moment(1_000));
    session.detached(Obstacle::Silence);
    session.attached(&after(&[8]), Moment(9_000));
    let left = |session: &Session, now| session.predecessors.borrow().at(Moment(now)).len();
    assert_eq!((left(session, 10_999), left(session, 11_000)), (1, 0));
    // A server that has not seen this run before, such as the second of a list, counts from its own.
    session.detached(Obstacle::Silence);
    session.attached(&after(&[8]), Moment(60_000));
    assert_eq!((left(session, 69_999), left(session, 70_000)), (1, 0));
}

#[test]
fn silence_unconfirms_a_lease_a_reconnect_restores_it_and_nothing_ends_it() {
    let (mut played, guard) = holding_one_lease();
    let session = &mut played.session;
    let watch = guard.watch();
    assert_eq!(session.next_wake(), Some(Moment(21_000)), "the next beat");

    assert!(session.tick(Moment(21_000)));
    assert_eq!(beat(session), Some(2));
    answer_beat(session, 2, 21_300);
    assert!(session.tick(Moment(41_000)));
    assert_eq!(beat(session), Some(3));

    // No answer: after 10 s the server is given up.
    assert!(session.tick(Moment(50_999)));
    assert!(!session.tick(Moment(51_000)), "silence");
    session.detached(Obstacle::Silence);
    assert!(session.tick(Moment(68_999)));
    assert_eq!(*watch.borrow(), LeaseState::Confirmed);
    assert_eq!(session.next_wake(), Some(Moment(69_000)), "0.8 x TTL after the beat of 21,000");
    assert!(session.tick(Moment(69_000)));
    assert_eq!(*watch.borrow(), LeaseState::Unconfirmed);
    // However long it lasts.
    assert!(session.tick(Moment(9_000_000)));
    assert_eq!(*watch.borrow(), LeaseState::Unconfirmed);

    assert!(session.attached(&welcome(&[7]), Moment(9_000_100)).is_empty());
    assert_eq!(*watch.borrow(), LeaseState::Unconfirmed, "it is there, but not renewed yet");
    assert_eq!(beat(session), Some(1), "renewed first of all");
    answer_beat(session, 1, 9_000_200);
    assert_eq!(*watch.borrow(), LeaseState::Confirmed);
    assert!(!session.has_messages());
}

#[test]
fn a_beat_goes_ahead_of_a_storm() {
    let (mut played, guard) = holding_one_lease();
    let session = &mut played.session;
    session.dropped(&[guard.id()], Moment(21_000));
    assert!(session.tick(Moment(21_000)));
    assert_eq!(beat(session), Some(2));
    assert!(matches!(next(session), Some(Message::Release(_))));
}

#[test]
fn many_leases_go_back_in_few_messages_of_a_bounded_size() {
    let (mut played, _guard) = holding_one_lease();
    let session = &mut played.session;
    let leases: Vec<u64> = (1..=9_000).collect();
    session.give_back(&leases, Moment(2_000));
    let mut sizes = Vec::new();
    while let Some(Message::Release(release)) = next(session) {
        sizes.push(release.lease_ids.len());
    }
    assert_eq!(sizes, [4_000, 4_000, 1_000]);
}

#[test]
fn a_lease_that_the_server_does_not_name_is_unconfirmed_until_it_was_asked() {
    let (mut played, guard) = holding_one_lease();
    let session = &mut played.session;
    let watch = guard.watch();
    session.detached(Obstacle::Silence);
    assert_eq!(session.attached(&welcome(&[]), Moment(2_000)), [7]);
    assert_eq!(*watch.borrow(), LeaseState::Unconfirmed);
    // It lives after all.
    session.doubts(&[7], vec![v1::LeaseOutcome { lease_id: 7, refusal: None }], Moment(2_100));
    assert_eq!(*watch.borrow(), LeaseState::Confirmed);
    // Or the server says nothing of it.
    session.detached(Obstacle::Silence);
    assert_eq!(session.attached(&welcome(&[]), Moment(3_000)), [7]);
    session.doubts(&[7], Vec::new(), Moment(3_100));
    assert!(matches!(&*watch.borrow(), LeaseState::Ended(ended) if ended.reason == reason::GONE));
}

#[test]
fn requests_go_out_and_are_withdrawn_in_the_order_in_which_they_were_asked() {
    let mut played = Played::new();
    let asked: Vec<(Uuid, Answer)> = (0..20).map(|number| played.ask("u", number)).collect();
    let ids: Vec<Vec<u8>> = asked.iter().map(|(id, _)| id.as_bytes().to_vec()).collect();
    assert!(!played.session.has_messages(), "there is nobody to send to");
    played.session.attached(&welcome(&[]), Moment(100));
    assert_eq!(beat(&mut played.session), Some(1));
    let mut sent = Vec::new();
    while let Some(Message::Acquire(acquire)) = next(&mut played.session) {
        sent.push(acquire.request_id);
    }
    assert_eq!(sent, ids);

    played.session.close(Closing { deadline: Moment(5_100), replies: Vec::new() }, Moment(100));
    let mut withdrawn = Vec::new();
    while let Some(message) = next(&mut played.session) {
        if let Message::CancelWait(cancel) = message {
            withdrawn.push(cancel.request_id);
        }
    }
    assert_eq!(withdrawn, ids);
    assert_eq!(played.session.unreleased(), 20, "until the server has answered");
    for (_, mut answer) in asked {
        assert!(matches!(answer.try_recv(), Ok(Err(AcquireError::Closed))));
    }
}

#[test]
fn a_grant_is_as_old_as_the_first_time_it_was_asked_for() {
    let mut played = Played::new();
    played.session.attached(&welcome(&[]), Moment(1_000));
    let (id, mut answer) = played.ask("u", 1_000);
    played.session.detached(Obstacle::Silence);
    // The first answer was lost: the lease may have been granted to the first message.
    played.session.attached(&welcome(&[]), Moment(30_000));
    played.grant(id, 7, 30_100);
    let guard = answer.try_recv().expect("answered").expect("granted");
    let watch = guard.watch();
    played.session.tick(Moment(48_999));
    assert_eq!(*watch.borrow(), LeaseState::Confirmed);
    played.session.tick(Moment(49_000));
    assert_eq!(*watch.borrow(), LeaseState::Unconfirmed);
}

#[test]
fn what_was_never_sent_needs_no_withdrawal() {
    let mut played = Played::new();
    let (id, mut answer) = played.ask("u", 0);
    played.session.command(Command::Abandon(id), Moment(10));
    assert!(answer.try_recv().is_err());
    played.session.attached(&welcome(&[]), Moment(100));
    assert_eq!(beat(&mut played.session), Some(1));
    assert!(next(&mut played.session).is_none());
    assert_eq!(played.handle.permits.available_permits(), 100);
}

#[test]
fn what_a_stopping_server_put_off_goes_to_the_next_at_once() {
    let mut played = Played::new();
    played.session.attached(&welcome(&[]), Moment(1_000));
    let asked = [played.ask("u", 1_000), played.ask("v", 1_000)];
    for ((id, _), reason) in asked.iter().zip([reason::DRAINING, reason::OVERLOADED]) {
        let refusal = v1::Refusal { reason: reason.to_owned(), retry_after_ms: 5_000, ..v1::Refusal::default() };
        let answer = v1::AcquireAnswer { request_id: id.as_bytes().to_vec(), outcome: Some(Outcome::Refusal(refusal)) };
        receive(&mut played.session, attach_response::Message::Acquired(answer), 1_100);
    }
    played.session.detached(Obstacle::Silence);
    played.session.attached(&welcome(&[]), Moment(1_500));
    assert_eq!(beat(&mut played.session), Some(1));
    answer_beat(&mut played.session, 1, 1_500);
    let sent = |message| match message {
        Some(Message::Acquire(acquire)) => Some(acquire.request_id),
        _ => None,
    };
    assert_eq!(sent(next(&mut played.session)), Some(asked[0].0.as_bytes().to_vec()));
    assert!(!played.session.has_messages(), "who sheds load is obeyed");
    played.session.tick(Moment(6_100));
    assert_eq!(sent(next(&mut played.session)), Some(asked[1].0.as_bytes().to_vec()));
}
