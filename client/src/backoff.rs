//! How long to wait before trying again: decorrelated jitter, so that the clients of a daemon that restarts do not
//! come back in step.

use std::time::Duration;

use rand::RngExt;

const SHORTEST_MS: u64 = 50;
/// Between tries of one request.
const LONGEST_MS: u64 = 5_000;
/// Between dials: short, so that a restart does not cost leases of the shortest TTL (10 s) their confirmation.
const LONGEST_DIAL_MS: u64 = 1_000;

/// Waits grow at random from 50 ms to a limit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Backoff {
    last_ms: u64,
    longest_ms: u64,
}

impl Backoff {
    /// For requests: at most 5 s.
    pub(crate) fn new() -> Self {
        Self { last_ms: SHORTEST_MS, longest_ms: LONGEST_MS }
    }

    /// For connections: at most 1 s.
    pub(crate) fn between_dials() -> Self {
        Self { last_ms: SHORTEST_MS, longest_ms: LONGEST_DIAL_MS }
    }

    /// The next wait: between 50 ms and three times the last one.
    pub(crate) fn next(&mut self) -> Duration {
        let upper = self.last_ms.saturating_mul(3).clamp(SHORTEST_MS + 1, self.longest_ms);
        self.last_ms = rand::rng().random_range(SHORTEST_MS..=upper);
        Duration::from_millis(self.last_ms)
    }

    /// A first wait: short, and only there to spread clients that all lost the same server.
    pub(crate) fn spread() -> Duration {
        Duration::from_millis(rand::rng().random_range(0..=SHORTEST_MS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_stay_within_their_bounds_and_reach_the_upper_half() {
        for (mut backoff, longest) in [(Backoff::new(), LONGEST_MS), (Backoff::between_dials(), LONGEST_DIAL_MS)] {
            let waits: Vec<u64> =
                (0..2_000).map(|_| u64::try_from(backoff.next().as_millis()).expect("small")).collect();
            assert!(waits.iter().all(|wait| (SHORTEST_MS..=longest).contains(wait)));
            assert!(waits[0] <= 3 * SHORTEST_MS, "the first wait is short");
            assert!(waits.iter().any(|wait| *wait > longest / 2), "waits grow");
            assert!(waits.windows(2).any(|pair| pair[0] != pair[1]), "waits differ");
        }
    }
}
