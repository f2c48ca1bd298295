//! From the items of one installation to when each user was active and with which keys (USAGE-3, USAGE-9).
//!
//! A user's run goes from the rise of the session counter above 0 to its return to 0. Within a run each item steps the
//! counter at the item's own time, which may lie before that of the item told before it: the logoff of a lease that
//! expired carries its last renewal. Other keys hold from their item's time too, though not from before the keys that
//! they take the place of.

use std::collections::{BTreeMap, BTreeSet};

use leasehold_keys::{time::WallTime, usage::Item};

/// A user, by number.
pub(super) type UserIndex = usize;
/// A set of keys, by number.
pub(super) type KeysIndex = usize;

/// A stretch of time in which one user was active with the same keys. Never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) from: i64,
    pub(super) until: i64,
    pub(super) keys: KeysIndex,
}

/// A run that has not ended.
#[derive(Clone, Debug)]
struct Run {
    /// The time of the logon that began it, before which nothing of it lies. A run that a file opened with may have ended
    /// before that file.
    logon: Option<i64>,
    counter: u32,
    /// Changes of the counter with their times, as told.
    steps: Vec<(i64, i64)>,
    /// Keys with the time from which they hold: times never go back.
    told: Vec<(i64, KeysIndex)>,
}

impl Run {
    fn step(&mut self, at: i64, counter: u32) {
        let change = i64::from(counter) - i64::from(self.counter);
        self.counter = counter;
        if change != 0 {
            self.steps.push((self.logon.map_or(at, |logon| at.max(logon)), change));
        }
    }

    fn tell(&mut self, at: i64, keys: KeysIndex) {
        match self.told.last_mut() {
            Some((_, last)) if *last == keys => {}
            Some((latest, last)) if at <= *latest => *last = keys,
            _ => self.told.push((at, keys)),
        }
    }

    /// When the user was active: the steps in the order of their times, rises first.
    fn spans(mut self, mut emit: impl FnMut(Span)) {
        self.steps.sort_by_key(|(at, change)| (*at, -change));
        let (mut sum, mut since) = (0, None);
        for (at, change) in self.steps {
            sum += change;
            match since {
                None if sum > 0 => since = Some(at),
                Some(from) if sum <= 0 => {
                    since = None;
                    // Whoever logged on was there, if only for a millisecond.
                    split(&self.told, from, at.max(from + i64::from(self.logon.is_some())), &mut emit);
                }
                _ => {}
            }
        }
    }
}

/// Cuts an active stretch where the keys change.
fn split(told: &[(i64, KeysIndex)], from: i64, until: i64, emit: &mut impl FnMut(Span)) {
    for (index, (at, keys)) in told.iter().enumerate() {
        // The first keys hold from the beginning, whatever the clocks said.
        let begins = if index == 0 { from } else { (*at).max(from) };
        let ends = told.get(index + 1).map_or(until, |(next, _)| (*next).min(until));
        if begins < ends {
            emit(Span { from: begins, until: ends, keys: *keys });
        }
    }
}

/// The users of one installation, as its files are read one after the other.
#[derive(Clone, Debug, Default)]
pub(super) struct Runs {
    open: BTreeMap<UserIndex, Run>,
}

impl Runs {
    /// Takes a user's item; `at` is the beginning of the file for one that is present.
    pub(super) fn take(
        &mut self,
        item: &Item,
        at: WallTime,
        user: UserIndex,
        counter: u32,
        keys: KeysIndex,
        mut emit: impl FnMut(UserIndex, Span),
    ) {
        let at = at.as_ms();
        if counter == 0 {
            if let Some(mut run) = self.open.remove(&user) {
                run.step(at, 0);
                run.spans(|span| emit(user, span));
            }
            return;
        }
        let logon = (!matches!(item, Item::Present { .. })).then_some(at);
        let run =
            self.open.entry(user).or_insert_with(|| Run { logon, counter: 0, steps: Vec::new(), told: Vec::new() });
        run.step(at, counter);
        run.tell(at, keys);
    }

    /// Ends the runs of all users but those present, as a file opens.
    pub(super) fn keep(&mut self, present: &BTreeSet<UserIndex>, at: WallTime, emit: impl FnMut(UserIndex, Span)) {
        let (kept, gone) = std::mem::take(&mut self.open).into_iter().partition(|(user, _)| present.contains(user));
        self.open = kept;
        end_all(gone, at, emit);
    }

    /// Ends every run at `at`: beyond it nothing is known.
    pub(super) fn cut(&mut self, at: WallTime, emit: impl FnMut(UserIndex, Span)) {
        end_all(std::mem::take(&mut self.open), at, emit);
    }
}

fn end_all(runs: BTreeMap<UserIndex, Run>, at: WallTime, mut emit: impl FnMut(UserIndex, Span)) {
    for (user, mut run) in runs {
        run.step(at.as_ms(), 0);
        run.spans(|span| emit(user, span));
    }
}
