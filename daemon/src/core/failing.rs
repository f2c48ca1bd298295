//! LEASE-11, while nothing can be stored: what was not committed is taken back, renewals and questions go on,
//! everything else is refused with the reason, and writing is tried again.

use std::sync::Arc;

use leasehold_engine::{
    command::Command,
    decision::{Event, Outcome},
    row::{Change, Row},
    time::{LeaseTime, Now},
};

use super::{
    Refused,
    answer::To,
    batch::{Batch, IfUndone},
    deciding::{Asked, Deciding},
    writing::{FromWriter, ToWriter},
};

/// Writing is tried again after so long, doubled each time …
const FIRST_RETRY_MS: u64 = 1_000;
/// … up to this.
const LONGEST_RETRY_MS: u64 = 30_000;
/// Owed changes are reduced to their net effect when there are so many.
const NET_AT: usize = 65_536;

/// The state of the core while storage fails.
pub(super) struct Failing {
    why: Arc<str>,
    /// Effects of renewals that are in memory and not yet stored. Losing them loses nothing that was promised.
    owed: Vec<Change>,
    /// Told when the changes are stored.
    events: Vec<Event>,
    tried_at: LeaseTime,
    retry_at: LeaseTime,
    wait_ms: u64,
    /// The writer is trying now.
    trying: bool,
}

impl Failing {
    fn new(why: Arc<str>, now: LeaseTime) -> Self {
        Self {
            why,
            owed: Vec::new(),
            events: Vec::new(),
            tried_at: now,
            retry_at: now.plus_ms(FIRST_RETRY_MS),
            wait_ms: FIRST_RETRY_MS,
            trying: false,
        }
    }

    /// The daemon starts on a store that can be read and not yet written.
    pub(super) fn at_start(why: &str, now: LeaseTime) -> Self {
        Self::new(why.into(), now)
    }

    pub(super) fn owe(&mut self, outcome: Outcome) {
        self.owed.extend(outcome.changes);
        self.events.extend(outcome.events);
        if self.owed.len() >= NET_AT {
            self.owed = crate::storage::net(std::mem::take(&mut self.owed));
        }
    }

    /// When writing is to be tried again; `None` while it is being tried.
    pub(super) fn next_try(&self) -> Option<LeaseTime> {
        (!self.trying).then_some(self.retry_at)
    }

    fn refusal(&self) -> Refused {
        Refused::StorageUnavailable(self.why.to_string())
    }
}

/// A commit has failed, and batches that were formed on top of it may still be on their way.
pub(super) struct Fencing {
    /// What was not committed so far, in order.
    batches: Vec<Batch>,
    why: Arc<str>,
}

impl Deciding {
    pub(super) fn hear(&mut self, word: FromWriter, now: Now) {
        match word {
            FromWriter::Failed(batches, why) => match &mut self.fencing {
                Some(fencing) => fencing.batches.extend(batches),
                None => {
                    self.fencing = Some(Fencing { batches, why });
                    // Batches on their way were formed on top of what failed; behind the fence there are none.
                    let _ = self.writer.send(ToWriter::Fence);
                }
            },
            FromWriter::Fenced => self.fenced(now),
            FromWriter::Recovered => self.recovered(now),
            FromWriter::FailsStill(changes, why) => {
                let Some(failing) = &mut self.failing else { return };
                tracing::warn!("storage still fails: {why}");
                let later = std::mem::replace(&mut failing.owed, changes);
                failing.owed.extend(later);
                failing.why = why;
                failing.trying = false;
                failing.wait_ms = (failing.wait_ms * 2).min(LONGEST_RETRY_MS);
                failing.retry_at = failing.tried_at.plus_ms(failing.wait_ms);
            }
        }
    }

    /// Nothing is decided until all that a failed commit took with it is known.
    pub(super) fn is_fencing(&self) -> bool {
        self.fencing.is_some()
    }

    /// A commit certainly failed, and everything since is here: takes it back, tells those who wait, and goes on with
    /// renewals.
    pub(super) fn fenced(&mut self, now: Now) {
        let Some(Fencing { batches, why }) = self.fencing.take() else { return };
        tracing::error!(
            "storing failed: {why}. Nothing was changed by it. Renewals and questions go on; everything else is refused until \
             writing works again, which is tried by itself. Free disk space, or see to the disk, under the state directory"
        );
        let mut failing = Failing::new(why.clone(), now.lease);
        let refusal = failing.refusal();
        self.shared.fault.send_replace(Some(why));
        self.shared.show_health();

        let mut undone = Vec::new();
        let mut again = Vec::new();
        let mut abandoned = Vec::new();
        for batch in batches {
            if batch.is_recovery {
                // The leases of this start keep their grace: it comes first, so that nothing under it is taken back.
                failing.owed.extend(batch.changes);
                failing.events.extend(batch.events);
            } else {
                undone.extend(batch.changes);
            }
            for pending in batch.replies {
                match pending.undone {
                    IfUndone::Refuse => pending.to.send(Err(refusal.clone())),
                    IfUndone::Again(command) => again.push((command, pending.to)),
                    IfUndone::Abandon(ticket) => {
                        abandoned.push(ticket);
                        pending.to.send(Err(refusal.clone()));
                    }
                    IfUndone::Nothing => {}
                }
            }
            for question in batch.questions {
                question(Err(refusal.clone()));
            }
        }
        self.failing = Some(failing);
        self.engine.undo(undone);
        for (ticket, to) in self.tickets.drain() {
            abandoned.push(ticket);
            to.send(Err(refusal.clone()));
        }
        let mut batch = Batch::new(now);
        for ticket in abandoned {
            self.decide_failing(Command::Abandon(ticket), To::Nobody, &mut batch);
        }
        for (command, to) in again {
            self.decide_failing(*command, to, &mut batch);
        }
        self.hand_over(batch);
    }

    /// Decides what can be decided without storing.
    pub(super) fn decide_failing(&mut self, command: Command, to: To, batch: &mut Batch) {
        let Some(refusal) = self.failing.as_ref().map(Failing::refusal) else { return };
        match &command {
            Command::Acquire(_)
            | Command::Release(_)
            | Command::SetIdle { .. }
            | Command::TakeOver { .. }
            | Command::Administer { .. }
            | Command::Folder(_)
            | Command::Revocations(_)
            | Command::Usage(_)
            | Command::CheckedIn(_)
            | Command::Asked { .. }
            | Command::SettleDenials
            | Command::Tick => return to.send(Err(refusal)),
            Command::Attach(_)
            | Command::Beat(_)
            | Command::Renew { .. }
            | Command::Detach(_)
            | Command::Abandon(_)
            | Command::CancelWait { .. }
            | Command::AnswersReceived { .. } => {}
        }
        let asked = Asked::of(&command);
        let (result, mut outcome) = self.engine.apply(batch.now, command);
        let answers = std::mem::take(&mut outcome.answers);
        // A stream that comes back to its run renews; a new run would need a row. What ends by time may end.
        let grants =
            |change: &Change| change.before.is_none() && matches!(change.after, Some(Row::Holder(_) | Row::Lease(_)));
        if answers.iter().any(|(_, answer)| answer.is_ok()) || outcome.changes.iter().any(grants) {
            self.engine.undo(outcome.changes);
            for (ticket, _) in answers {
                if let Some(caller) = self.tickets.remove(&ticket) {
                    caller.send(Err(refusal.clone()));
                }
            }
            return to.send(Err(refusal));
        }
        batch.notices.append(&mut outcome.notices);
        if let Some(failing) = &mut self.failing {
            failing.owe(outcome);
        }
        self.sort(asked, to, IfUndone::Refuse, result.map_err(Refused::Rule), answers, batch);
    }

    /// Asks the writer to try again, where it is time; at the end once more at any time.
    pub(super) fn retry_if_due(&mut self, now: Now, last: bool) {
        let Some(failing) = &mut self.failing else { return };
        if !failing.trying && (last || failing.retry_at <= now.lease) {
            failing.trying = true;
            failing.tried_at = now.lease;
            let owed = crate::storage::net(std::mem::take(&mut failing.owed));
            let _ = self.writer.send(ToWriter::Retry(owed, now, self.shared.clock.evidence()));
        }
    }

    fn recovered(&mut self, now: Now) {
        let Some(failing) = self.failing.take() else { return };
        tracing::info!("storage works again; leases are granted");
        self.shared.fault.send_replace(None);
        self.shared.show_health();
        let mut batch = Batch::new(now);
        batch.changes = failing.owed;
        batch.events = failing.events;
        self.hand_over(batch);
    }
}
