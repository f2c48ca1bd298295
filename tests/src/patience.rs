//! How long a story waits for an event that must come: long enough for a busy machine, and never longer than needed.

use std::{future::Future, time::Duration};

/// What must come, comes within this time.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// What `future` gives.
///
/// # Panics
/// Where it takes longer than [`PATIENCE`]: the message says what was waited for.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what}: not within {} s", PATIENCE.as_secs()),
    }
}
