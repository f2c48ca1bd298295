//! The time of the play: the hands of a clock that goes as a machine's does, until it is held and moved by days.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::task::JoinHandle;

use crate::clock::{Clock, Hands, stopwatch_us};

/// How often the hands are moved.
const BEAT: Duration = Duration::from_millis(5);
/// Boot time at the beginning: a machine that has been up for a while.
const UP_MS: u64 = 3_600_000;

/// Moves the hands; they stand still once it is dropped.
pub(crate) struct Pace {
    hands: Hands,
    at: Arc<Mutex<At>>,
    going: JoinHandle<()>,
}

#[derive(Clone, Copy)]
struct At {
    boot_ms: u64,
    wall_ms: i64,
    /// Nobody moves them but [`Pace::advance`].
    held: bool,
}

impl Pace {
    /// From this moment on, as fast as time goes.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub(crate) fn from(clock: &Clock) -> Self {
        let hands = Hands::default();
        let at = At { boot_ms: UP_MS, wall_ms: clock.trusted().as_ms(), held: false };
        hands.set(at.boot_ms, at.wall_ms);
        let at = Arc::new(Mutex::new(at));
        let (moved, read) = (hands.clone(), at.clone());
        let going = tokio::spawn(async move {
            let (mut before_us, mut left_us) = (stopwatch_us(), 0);
            loop {
                tokio::time::sleep(BEAT).await;
                let now_us = stopwatch_us();
                left_us += now_us.saturating_sub(before_us);
                before_us = now_us;
                let mut at = read.lock().unwrap_or_else(PoisonError::into_inner);
                if at.held {
                    left_us = 0;
                } else {
                    at.forward(left_us / 1_000, &moved);
                    left_us %= 1_000;
                }
            }
        });
        Self { hands, at, going }
    }

    /// A clock that reads these hands.
    pub(crate) fn clock(&self) -> Clock {
        Clock::of_hands(self.hands.clone())
    }

    /// They stand still from now on, but for [`Pace::advance`]; or go again.
    pub(super) fn hold(&self, held: bool) {
        self.at.lock().unwrap_or_else(PoisonError::into_inner).held = held;
    }

    /// Moves them by so much.
    pub(super) fn advance(&self, ms: u64) {
        self.at.lock().unwrap_or_else(PoisonError::into_inner).forward(ms, &self.hands);
    }
}

impl At {
    fn forward(&mut self, ms: u64, hands: &Hands) {
        self.boot_ms = self.boot_ms.saturating_add(ms);
        self.wall_ms = self.wall_ms.saturating_add_unsigned(ms);
        hands.set(self.boot_ms, self.wall_ms);
    }
}

impl Drop for Pace {
    fn drop(&mut self) {
        self.going.abort();
    }
}
