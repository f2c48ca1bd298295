//! Where answers go: to one caller that waits, or down a stream with a tag. Nothing here decides when.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use leasehold_engine::{
    decision::{LeaseView, Reply},
    refusal::Refusal,
};
use tokio::sync::{mpsc, oneshot};

/// Why there is no answer to a command.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Refused {
    /// A licensing rule says no.
    #[error("{}", .0.message())]
    Rule(Refusal),
    /// Too much waits already.
    #[error("the server has more requests waiting than it takes; try again shortly")]
    Overloaded,
    /// What would change something cannot be stored (LEASE-11); the text says why.
    #[error("the server cannot store changes now ({0}); renewals go on, and it tries again by itself")]
    StorageUnavailable(String),
    /// The server reads its state and its files.
    #[error("the server is starting; try again shortly")]
    Starting,
    /// The server is stopping.
    #[error("the server is stopping; use another, or try again when it is back")]
    Draining,
}

/// An answer of the core.
#[derive(Debug, PartialEq)]
pub enum Answer {
    /// To every command but an acquire; and to an acquire that waits ([`Reply::Ticketed`]), whose outcome follows.
    Reply(Reply),
    /// An acquire was granted, now or at its first asking.
    Lease(Box<LeaseView>),
}

/// An answer on a stream.
#[derive(Debug)]
pub struct Tagged {
    /// The tag that the stream gave its command.
    pub tag: u64,
    /// The answer.
    pub answer: Result<Answer, Refused>,
}

impl Tagged {
    /// False for the word that an acquire waits: another answer with the same tag follows.
    pub fn is_last(&self) -> bool {
        !matches!(self.answer, Ok(Answer::Reply(Reply::Ticketed { waiting: Some(_) })))
    }
}

/// One stream's way for answers. Bounded by what the stream has asked and not yet been answered.
#[derive(Clone, Debug)]
pub struct ReplySender {
    answers: mpsc::UnboundedSender<Tagged>,
    outstanding: Arc<AtomicUsize>,
    most: usize,
}

/// The stream's end of it.
#[derive(Debug)]
pub struct ReplyReceiver {
    answers: mpsc::UnboundedReceiver<Tagged>,
    outstanding: Arc<AtomicUsize>,
}

/// A way for the answers of one stream, for at most `most` commands that are not yet answered.
pub fn replies(most: usize) -> (ReplySender, ReplyReceiver) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let outstanding = Arc::new(AtomicUsize::new(0));
    (
        ReplySender { answers: sender, outstanding: outstanding.clone(), most },
        ReplyReceiver { answers: receiver, outstanding },
    )
}

impl ReplySender {
    /// Counts one more command in; false where the stream has too many unanswered.
    pub(super) fn reserve(&self) -> bool {
        if self.outstanding.fetch_add(1, Ordering::Relaxed) < self.most {
            return true;
        }
        self.outstanding.fetch_sub(1, Ordering::Relaxed);
        false
    }

    pub(super) fn release(&self) {
        self.outstanding.fetch_sub(1, Ordering::Relaxed);
    }

    fn send(&self, tagged: Tagged) {
        // A stream that is gone needs no answer; its leases stay with its run (LEASE-14).
        let _ = self.answers.send(tagged);
    }
}

impl ReplyReceiver {
    fn count_out(&self, answered: &[Tagged]) {
        let last = answered.iter().filter(|tagged| tagged.is_last()).count();
        self.outstanding.fetch_sub(last, Ordering::Relaxed);
    }

    /// The next answer; `None` when the core and all senders are gone. Safe to cancel.
    pub async fn recv(&mut self) -> Option<Tagged> {
        let tagged = self.answers.recv().await?;
        self.count_out(std::slice::from_ref(&tagged));
        Some(tagged)
    }

    /// The next answer, where one is there.
    pub fn try_recv(&mut self) -> Option<Tagged> {
        let tagged = self.answers.try_recv().ok()?;
        self.count_out(std::slice::from_ref(&tagged));
        Some(tagged)
    }

    /// Waits for answers and appends up to `most` of them to `into`; 0 when the core and all senders are gone. One
    /// call takes all that a commit has made ready. Safe to cancel.
    pub async fn recv_many(&mut self, into: &mut Vec<Tagged>, most: usize) -> usize {
        let before = into.len();
        let count = self.answers.recv_many(into, most).await;
        self.count_out(into.get(before..).unwrap_or_default());
        count
    }

    /// Commands that are not yet answered.
    pub fn outstanding(&self) -> usize {
        self.outstanding.load(Ordering::Relaxed)
    }
}

/// Where one answer goes.
#[derive(Debug)]
pub(super) enum To {
    /// A caller that waits.
    Caller(oneshot::Sender<Result<Answer, Refused>>),
    /// A stream.
    Stream(ReplySender, u64),
    /// The daemon's own commands.
    Nobody,
}

impl To {
    pub(super) fn send(self, answer: Result<Answer, Refused>) {
        match self {
            // A caller that has given up needs no answer (LEASE-14).
            To::Caller(caller) => drop(caller.send(answer)),
            To::Stream(stream, tag) => stream.send(Tagged { tag, answer }),
            To::Nobody => {}
        }
    }

    /// Another way to the same stream, for the word that a request waits; a caller is told the outcome only.
    pub(super) fn for_waiting(&self) -> Option<To> {
        match self {
            To::Stream(stream, tag) => Some(To::Stream(stream.clone(), *tag)),
            To::Caller(_) | To::Nobody => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stream_is_bounded_by_what_it_has_unanswered() {
        let (sender, mut receiver) = replies(2);
        assert!(sender.reserve() && sender.reserve());
        assert!(!sender.reserve());
        let waiting = Reply::Ticketed { waiting: Some((1, Vec::new())) };
        To::Stream(sender.clone(), 7).send(Ok(Answer::Reply(waiting)));
        assert!(!receiver.recv().await.unwrap().is_last());
        assert!(!sender.reserve(), "a waiting request is not answered yet");
        To::Stream(sender.clone(), 7).send(Err(Refused::Overloaded));
        let mut all = Vec::new();
        assert_eq!(receiver.recv_many(&mut all, 10).await, 1);
        assert_eq!((all[0].tag, all[0].is_last()), (7, true));
        assert!(sender.reserve());
    }
}
