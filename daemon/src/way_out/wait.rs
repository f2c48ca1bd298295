//! How long is waited after a failure: a minute at first and an hour at most, by decorrelated jitter, so that many servers
//! that lost the licensor together do not come back together.

/// The shortest wait.
pub(crate) const WAIT_MIN_MS: u64 = 60_000;
/// The longest wait.
pub(crate) const WAIT_MAX_MS: u64 = 3_600_000;

/// The wait after one of `before`, for a `roll` of 0 up to 1: anything from the shortest to three times the last.
pub(crate) fn next_wait_ms(before: u64, roll: f64) -> u64 {
    let most = before.saturating_mul(3).clamp(WAIT_MIN_MS, WAIT_MAX_MS);
    let spread = (most - WAIT_MIN_MS) as f64 * roll.clamp(0.0, 1.0);
    WAIT_MIN_MS + spread as u64
}
