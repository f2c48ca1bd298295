//! What one stream is told: the core's answers by their requests, refusals, and events.

use leasehold_engine::{
    decision::{Reply, Told},
    ids::{LeaseId, RequestId},
    refusal::Refusal,
};
use leasehold_keys::name::KeyName;
use leasehold_proto::v1::{self, acquire_answer::Outcome, attach_response::Message as Response};
use tokio::sync::mpsc;
use tonic::Status;

use super::{Asked, End, MOST_IN_FULL, READER_GIVES_UP, Session};
use crate::{
    core::{Answer, Refused, Tagged},
    grpc::{convert::leasing, status},
};

impl Session<'_> {
    pub(super) async fn answer(&mut self, tagged: Tagged) -> Result<(), End> {
        let Tagged { tag, answer } = tagged;
        if let Ok(Answer::Reply(Reply::Ticketed { waiting })) = &answer {
            let Some((position, pools)) = waiting else { return Ok(()) };
            let Some(request) = self.pending.now_waits(tag) else { return Ok(()) };
            tracing::debug!(identity = %self.identity, position, "An acquire waits.");
            return self.acquired(request.0.to_vec(), Outcome::Waiting(leasing::waiting(*position, pools)), 0).await;
        }
        let Some(asked) = self.pending.take(tag) else { return Ok(()) };
        match (asked, answer) {
            (Asked::Quiet, _) => Ok(()),
            (Asked::Acquire { request, sign, .. }, Ok(Answer::Lease(lease))) => {
                tracing::debug!(identity = %self.identity, lease = %lease.id, "Granted.");
                self.owed = self.owed.max(Some(lease.id));
                self.witness.moved();
                if sign {
                    let (witness, identity) = (self.witness.clone(), self.identity.clone());
                    self.tokens.spawn(async move {
                        let token = witness.token_of(identity, lease.id).await.unwrap_or_default();
                        (request, v1::Lease { token, ..leasing::lease(&lease) })
                    });
                    return Ok(());
                }
                let number = self.numbered.next(request);
                self.acquired(request.0.to_vec(), Outcome::Lease(leasing::lease(&lease)), number).await
            }
            (Asked::Acquire { request, .. }, Err(refused)) => {
                tracing::debug!(identity = %self.identity, refusal = %refused, "Refused.");
                self.acquired(request.0.to_vec(), Outcome::Refusal(status::wire_of(&refused)), 0).await
            }
            (Asked::Release(request), Ok(Answer::Reply(Reply::Released(outcomes)))) => {
                tracing::debug!(identity = %self.identity, leases = outcomes.len(), "Released.");
                let number = self.number(request, outcomes.iter().any(|outcome| outcome.result.is_ok()));
                let outcomes = leasing::release_outcomes(&outcomes);
                let answer = v1::ReleaseAnswer { request_id: request.0.to_vec(), outcomes, refusal: None };
                self.send(Response::Released(answer), number).await
            }
            (Asked::Release(request), Err(refused)) => {
                let refusal = Some(status::wire_of(&refused));
                let answer = v1::ReleaseAnswer { request_id: request.0.to_vec(), outcomes: Vec::new(), refusal };
                self.send(Response::Released(answer), 0).await
            }
            (Asked::Beat(number), Ok(Answer::Reply(Reply::Beaten(renewed)))) => {
                self.send(Response::Beat(v1::BeatAnswer { number, renewed, refusal: None }), 0).await?;
                if self.said.has_changed().unwrap_or(false) { self.say().await } else { Ok(()) }
            }
            (Asked::Beat(number), Err(refused)) => self.beat_refused(number, &refused).await,
            (Asked::SetIdle(request), Ok(Answer::Reply(Reply::Leases(outcomes)))) => {
                let number = self.number(request, outcomes.iter().any(|(_, result)| result.is_ok()));
                let outcomes = leasing::lease_outcomes(&outcomes);
                let answer = v1::SetIdleAnswer { request_id: request.0.to_vec(), outcomes, refusal: None };
                self.send(Response::IdleSet(answer), number).await
            }
            (Asked::SetIdle(request), Err(refused)) => self.idle_refused(request.0.to_vec(), &refused).await,
            (Asked::TakeOver(request), Ok(Answer::Reply(Reply::Leases(outcomes)))) => {
                self.taken_over(request, &outcomes).await
            }
            (Asked::TakeOver(request), Err(refused)) => self.take_over_refused(request.0.to_vec(), &refused).await,
            (asked, Ok(answer)) => {
                tracing::error!(?asked, ?answer, "The engine gave a wrong answer.");
                Err(End::Broken(Status::internal("The server made a mistake; its log tells which. Attach again.")))
            }
        }
    }

    /// What the installation says of how far it has come.
    pub(super) async fn say(&mut self) -> Result<(), End> {
        let Some(said) = *self.said.borrow_and_update() else { return Ok(()) };
        if self.owed.is_some_and(|owed| owed.0 <= said.statement.fencing) {
            self.owed = None;
        }
        self.send(Response::Witness(leasing::said(&said)), 0).await
    }

    /// What was taken over, with the leases as they are now: the new run has never seen them.
    async fn taken_over(&mut self, request: RequestId, outcomes: &[(LeaseId, Result<(), Refusal>)]) -> Result<(), End> {
        let taken: Vec<LeaseId> =
            outcomes.iter().filter(|(_, result)| result.is_ok()).map(|(id, _)| *id).take(MOST_IN_FULL).collect();
        let (holder, number) = (self.holder, self.number(request, !taken.is_empty()));
        let question = move |engine: &leasehold_engine::Engine, now| {
            engine.leases_of_run(now, holder, &taken).iter().map(leasing::lease).collect::<Vec<_>>()
        };
        let leases = match self.core.read(question).await {
            Ok(leases) => leases,
            // They are taken over all the same; asked again it is told again.
            Err(refused) => return self.take_over_refused(request.0.to_vec(), &refused).await,
        };
        let outcomes = leasing::lease_outcomes(outcomes);
        let answer = v1::TakeOverAnswer { request_id: request.0.to_vec(), outcomes, refusal: None, leases };
        self.send(Response::TakenOver(answer), number).await
    }

    pub(super) async fn beat_refused(&mut self, number: u64, refused: &Refused) -> Result<(), End> {
        let refusal = Some(status::wire_of(refused));
        self.send(Response::Beat(v1::BeatAnswer { number, renewed: 0, refusal }), 0).await?;
        match refused {
            // The server is in trouble, and that passes: the leases stand for their time to live.
            Refused::Overloaded | Refused::StorageUnavailable(_) | Refused::Starting | Refused::Draining => Ok(()),
            // A holder whose beats are refused is attached no more: it is to attach again.
            Refused::Rule(_) => Err(End::Broken(status::status(refused))),
        }
    }

    pub(super) async fn idle_refused(&mut self, request_id: Vec<u8>, refused: &Refused) -> Result<(), End> {
        let refusal = Some(status::wire_of(refused));
        self.send(Response::IdleSet(v1::SetIdleAnswer { request_id, outcomes: Vec::new(), refusal }), 0).await
    }

    pub(super) async fn take_over_refused(&mut self, request_id: Vec<u8>, refused: &Refused) -> Result<(), End> {
        let answer =
            v1::TakeOverAnswer { request_id, refusal: Some(status::wire_of(refused)), ..v1::TakeOverAnswer::default() };
        self.send(Response::TakenOver(answer), 0).await
    }

    fn number(&mut self, request: RequestId, changed: bool) -> u64 {
        if changed { self.numbered.next(request) } else { 0 }
    }

    pub(super) async fn tell(&mut self, told: &Told) -> Result<(), End> {
        if let Some(event) = leasing::told(told) {
            return self.event(event).await;
        }
        // Told::SiteKeysChanged: the keys as they are now.
        let watched = self.watched.clone();
        let keys = self
            .core
            .read(move |engine, now| {
                if watched.is_empty() {
                    return engine
                        .site_keys(now, &[])
                        .unwrap_or_default()
                        .iter()
                        .map(leasing::site_key)
                        .collect::<Vec<_>>();
                }
                // One by one, so that a key which the present files do not define does not hide the others.
                let one = |key: &KeyName| match engine.site_keys(now, std::slice::from_ref(key)) {
                    Ok(views) => views.iter().map(leasing::site_key).collect(),
                    Err(refusal) => vec![leasing::unknown_site_key(key, &refusal)],
                };
                watched.iter().flat_map(one).collect()
            })
            .await;
        match keys {
            Ok(keys) => self.event(v1::event::Event::SiteKeysChanged(v1::SiteKeysChanged { keys })).await,
            // It attaches again and asks anew, rather than believe what is old.
            Err(refused) => Err(End::Broken(status::status(&refused))),
        }
    }

    pub(super) async fn event(&mut self, event: v1::event::Event) -> Result<(), End> {
        self.send(Response::Event(v1::Event { event: Some(event) }), 0).await
    }

    pub(super) async fn acquired(&mut self, request_id: Vec<u8>, outcome: Outcome, number: u64) -> Result<(), End> {
        self.send(Response::Acquired(v1::AcquireAnswer { request_id, outcome: Some(outcome) }), number).await
    }

    pub(super) async fn send(&mut self, message: Response, answer_number: u64) -> Result<(), End> {
        let message = v1::AttachResponse { answer_number, message: Some(message) };
        match self.outbound.try_send(message) {
            Ok(()) => Ok(()),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(End::Closed),
            Err(mpsc::error::TrySendError::Full(message)) => {
                match tokio::time::timeout(READER_GIVES_UP, self.outbound.send(message)).await {
                    Ok(Ok(())) => Ok(()),
                    Ok(Err(_)) => Err(End::Closed),
                    Err(_) => Err(End::TooSlow),
                }
            }
        }
    }
}
