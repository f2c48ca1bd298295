//! What one turn of the core loop leaves: changes to make durable, and everything that may be seen only afterwards.

use std::sync::Arc;

use leasehold_engine::{
    command::Command,
    decision::{Event, Notice, Outcome},
    ids::{HolderId, Ticket},
    row::{Change, Row},
    time::Now,
};

use super::{
    Answer, Deferred, Refused,
    answer::To,
    events::{Cut, Hub},
};
use crate::clock::evidence::Evidence;

/// An answer that waits for its commit.
pub(super) struct Pending {
    pub(super) to: To,
    pub(super) answer: Result<Answer, Refused>,
    pub(super) undone: IfUndone,
}

/// What is to be done about an answer whose commit has failed.
pub(super) enum IfUndone {
    /// Its caller is told that nothing was stored.
    Refuse,
    /// A renewal: it is decided again, since renewals go on.
    Again(Box<Command>),
    /// An acquire was granted: its caller is told, and its place in the queue given up.
    Abandon(Ticket),
    /// The word that a request waits: the request itself is refused.
    Nothing,
}

/// Who is attached, as it changes.
pub(super) enum Attachment {
    Opened(HolderId, u64),
    Closed(HolderId, Cut),
}

pub(super) struct Batch {
    pub(super) now: Now,
    pub(super) changes: Vec<Change>,
    pub(super) attachments: Vec<Attachment>,
    pub(super) replies: Vec<Pending>,
    pub(super) questions: Vec<Deferred>,
    pub(super) events: Vec<Event>,
    pub(super) notices: Vec<Notice>,
    /// Store the marks of time though nothing else changed.
    pub(super) mark_due: bool,
    /// What a start brings: where it cannot be stored it is owed, and not taken back (LEASE-7).
    pub(super) is_recovery: bool,
    /// What is known of the wall clock at the end of the batch.
    pub(super) evidence: Evidence,
}

impl Batch {
    pub(super) fn new(now: Now) -> Self {
        Self {
            now,
            changes: Vec::new(),
            attachments: Vec::new(),
            replies: Vec::new(),
            questions: Vec::new(),
            events: Vec::new(),
            notices: Vec::new(),
            mark_due: false,
            is_recovery: false,
            evidence: Evidence::default(),
        }
    }

    /// Takes all of an outcome but its answers.
    pub(super) fn take(&mut self, outcome: Outcome) {
        let Outcome { answers: _, changes, events, notices } = outcome;
        if self.changes.is_empty() {
            self.changes = changes;
        } else {
            self.changes.extend(changes);
        }
        self.events.extend(events);
        self.notices.extend(notices);
    }

    pub(super) fn must_be_stored(&self) -> bool {
        self.mark_due || !self.changes.is_empty()
    }

    pub(super) fn is_empty(&self) -> bool {
        !self.must_be_stored()
            && self.attachments.is_empty()
            && self.replies.is_empty()
            && self.questions.is_empty()
            && self.events.is_empty()
            && self.notices.is_empty()
    }

    /// Everything that is now durable, or needs not be, is seen: answers before events, so that nobody hears of a lease
    /// that it was not yet given.
    pub(super) fn deliver(self, hub: &Arc<Hub>) {
        for attachment in self.attachments {
            match attachment {
                Attachment::Opened(holder, attaching) => hub.open(holder, attaching),
                Attachment::Closed(holder, why) => hub.close(holder, why),
            }
        }
        for pending in self.replies {
            pending.to.send(pending.answer);
        }
        for question in self.questions {
            question(Ok(()));
        }
        for event in self.events {
            hub.tell(event);
        }
        for change in &self.changes {
            if let Some(Row::Audit(entry)) = &change.after {
                crate::log::administered(entry);
            }
        }
        for notice in &self.notices {
            crate::log::notice(notice);
        }
    }
}
