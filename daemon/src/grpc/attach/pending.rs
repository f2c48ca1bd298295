//! What one stream has asked and not yet been told, and which answers it has not yet said it got. Numbers only; nothing
//! here decides or sends.

use std::collections::VecDeque;

use leasehold_engine::ids::RequestId;

/// What an answer will be to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// An acquire; `waits` once it has joined the queue.
    Acquire {
        request: RequestId,
        waits: bool,
        /// It comes with its token.
        sign: bool,
    },
    Release(RequestId),
    Beat(u64),
    SetIdle(RequestId),
    TakeOver(RequestId),
    /// Something whose answer the caller is not told: it follows from another one.
    Quiet,
}

/// Commands that have no final answer yet, by tag. A tag is used again once its last answer is in.
#[derive(Debug, Default)]
pub(super) struct Pending {
    slots: Vec<Option<Asked>>,
    free: Vec<usize>,
    waiting: usize,
}

impl Pending {
    /// Notes a command and gives its tag.
    pub(super) fn insert(&mut self, asked: Asked) -> u64 {
        let at = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        if let Some(slot) = self.slots.get_mut(at) {
            *slot = Some(asked);
        }
        at as u64
    }

    /// The command of a tag; it is forgotten.
    pub(super) fn take(&mut self, tag: u64) -> Option<Asked> {
        let at = usize::try_from(tag).ok()?;
        let asked = self.slots.get_mut(at)?.take()?;
        self.free.push(at);
        if matches!(asked, Asked::Acquire { waits: true, .. }) {
            self.waiting -= 1;
        }
        Some(asked)
    }

    /// Notes that an acquire waits in the queue. `None` where the tag is no acquire, or waits already.
    pub(super) fn now_waits(&mut self, tag: u64) -> Option<RequestId> {
        match self.slots.get_mut(usize::try_from(tag).ok()?)? {
            Some(Asked::Acquire { request, waits, .. }) if !*waits => {
                *waits = true;
                self.waiting += 1;
                Some(*request)
            }
            _ => None,
        }
    }

    /// Acquires that wait in the queue.
    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Commands that are answered as soon as they are durable.
    pub(super) fn in_hand(&self) -> usize {
        self.slots.len() - self.free.len() - self.waiting
    }
}

/// Answers that changed something, numbered from 1, until the stream says that it has them (LEASE-3).
#[derive(Debug, Default)]
pub(super) struct Numbered {
    last: u64,
    unacknowledged: VecDeque<(u64, RequestId)>,
}

impl Numbered {
    /// The most answers that are kept here; the engine forgets older ones by their age.
    const MOST: usize = 65_536;

    /// The number of the next answer.
    pub(super) fn next(&mut self, request: RequestId) -> u64 {
        self.last += 1;
        if self.unacknowledged.len() >= Self::MOST {
            self.unacknowledged.pop_front();
        }
        self.unacknowledged.push_back((self.last, request));
        self.last
    }

    /// Up to `most` requests whose answers have arrived, given that all up to `number` have. Those are forgotten here.
    pub(super) fn received(&mut self, number: u64, most: usize) -> Vec<RequestId> {
        let count = self.unacknowledged.iter().take(most).take_while(|(answer, _)| *answer <= number).count();
        self.unacknowledged.drain(..count).map(|(_, request)| request).collect()
    }

    /// True where an answer up to `number` waits to be acknowledged.
    pub(super) fn has(&self, number: u64) -> bool {
        self.unacknowledged.front().is_some_and(|(answer, _)| *answer <= number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(n: u8) -> RequestId {
        RequestId([n; 16])
    }

    #[test]
    fn tags_are_used_again_only_after_their_last_answer() {
        let mut pending = Pending::default();
        let first = pending.insert(Asked::Acquire { request: request(1), waits: false, sign: true });
        let second = pending.insert(Asked::Beat(9));
        assert_eq!((pending.in_hand(), pending.waiting()), (2, 0));
        assert_eq!(pending.now_waits(first), Some(request(1)));
        assert_eq!(pending.now_waits(first), None, "told at most once");
        assert_eq!(pending.now_waits(second), None);
        assert_eq!((pending.in_hand(), pending.waiting()), (1, 1));
        assert_eq!(pending.take(second), Some(Asked::Beat(9)));
        assert_eq!(pending.take(second), None);
        assert_eq!(pending.insert(Asked::Quiet), second);
        assert_eq!(pending.take(first), Some(Asked::Acquire { request: request(1), waits: true, sign: true }));
        assert_eq!((pending.in_hand(), pending.waiting()), (1, 0));
        assert_eq!(pending.take(77), None);
    }

    #[test]
    fn what_is_acknowledged_is_forgotten_in_order() {
        let mut numbered = Numbered::default();
        for n in 1..=4 {
            assert_eq!(numbered.next(request(n)), u64::from(n));
        }
        assert!(!numbered.has(0));
        assert_eq!(numbered.received(3, 2), [request(1), request(2)]);
        assert!(numbered.has(3));
        assert_eq!(numbered.received(3, 2), [request(3)]);
        assert!(!numbered.has(3));
        assert_eq!(numbered.received(u64::MAX, 9), [request(4)]);
        assert_eq!(numbered.received(u64::MAX, 9), []);
        assert_eq!(numbered.next(request(5)), 5);
    }
}
