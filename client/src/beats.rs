//! When to beat, so that every lease is renewed in time, and when a server has been silent for too long. Time is given.

use std::time::Duration;

use crate::clock::Moment;

/// Where the server does not say how often.
const DEFAULT_EVERY: Duration = Duration::from_secs(20);
/// Faster than this is not asked for, whatever the server says.
const SHORTEST_EVERY: Duration = Duration::from_millis(100);
/// A server that leaves a beat unanswered for this long is given up, though the connection stands.
pub(crate) const SILENCE: Duration = Duration::from_secs(10);

/// The beats of one connection.
#[derive(Debug)]
pub(crate) struct Beats {
    every: Duration,
    number: u64,
    last_at: Option<Moment>,
    /// The beat that has no answer yet; the next one waits for it.
    unanswered: Option<(u64, Moment)>,
}

impl Beats {
    pub(crate) fn new(every_ms: u64) -> Self {
        let every = if every_ms == 0 { DEFAULT_EVERY } else { Duration::from_millis(every_ms) };
        Self { every: every.max(SHORTEST_EVERY), number: 0, last_at: None, unanswered: None }
    }

    /// As often as the server wants, and twice before the shortest lease would be unconfirmed.
    fn every(&self, shortest_ttl: Option<Duration>) -> Duration {
        shortest_ttl.map_or(self.every, |ttl| self.every.min(ttl * 2 / 5))
    }

    /// When the next beat is due; at once after an attach.
    pub(crate) fn next_at(&self, shortest_ttl: Option<Duration>) -> Moment {
        match (self.unanswered, self.last_at) {
            (Some((_, sent_at)), _) => sent_at.plus(SILENCE),
            (None, Some(last_at)) => last_at.plus(self.every(shortest_ttl)),
            (None, None) => Moment::default(),
        }
    }

    /// The number of the beat to send now, where one is due.
    pub(crate) fn due(&mut self, shortest_ttl: Option<Duration>, now: Moment) -> Option<u64> {
        if self.unanswered.is_some() || now < self.next_at(shortest_ttl) {
            return None;
        }
        self.number += 1;
        self.last_at = Some(now);
        self.unanswered = Some((self.number, now));
        Some(self.number)
    }

    /// When the beat that was answered had been sent.
    pub(crate) fn answered(&mut self, number: u64) -> Option<Moment> {
        let (expected, sent_at) = self.unanswered?;
        if expected != number {
            return None;
        }
        self.unanswered = None;
        Some(sent_at)
    }

    pub(crate) fn silent(&self, now: Moment) -> bool {
        self.unanswered.is_some_and(|(_, sent_at)| now >= sent_at.plus(SILENCE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beats_at_once_then_as_often_as_the_server_or_the_shortest_lease_wants() {
        let mut beats = Beats::new(20_000);
        assert_eq!(beats.due(None, Moment(5)), Some(1));
        assert_eq!(beats.due(None, Moment(6_000)), None, "one at a time");
        assert_eq!(beats.answered(2), None, "no such beat");
        assert_eq!(beats.answered(1), Some(Moment(5)));
        assert_eq!(beats.next_at(None), Moment(20_005));
        let shortest = Some(Duration::from_secs(10));
        assert_eq!(beats.next_at(shortest), Moment(4_005));
        assert_eq!(beats.due(shortest, Moment(4_004)), None);
        assert_eq!(beats.due(shortest, Moment(4_005)), Some(2));
    }

    #[test]
    fn a_beat_unanswered_for_ten_seconds_is_silence() {
        let mut beats = Beats::new(1_000);
        assert_eq!(beats.due(None, Moment(100)), Some(1));
        assert!(!beats.silent(Moment(10_099)));
        assert_eq!(beats.next_at(None), Moment(10_100));
        assert!(beats.silent(Moment(10_100)));
        assert_eq!(beats.answered(1), Some(Moment(100)));
        assert!(!beats.silent(Moment(99_999)));
    }
}
