//! Counting: distinct users, the most at once, and user-hours of each category in a stretch of time, over all
//! installations of a license. A user who is logged on at two of them counts once, with the keys of both.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use leasehold_keys::{
    installation::InstallationId,
    name::KeyName,
    time::WallTime,
    usage::{Item, KeySet, User},
};

use super::{
    category::{Category, Tariff},
    runs::{KeysIndex, Runs, Span, UserIndex},
};

/// How much of a category was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Count {
    /// Distinct users.
    pub users: u64,
    /// The most at any one moment.
    pub peak: u64,
    /// The first moment of that many.
    pub peak_at: Option<WallTime>,
    /// Time of all users together, in milliseconds.
    pub user_ms: u64,
}

/// What was used in a stretch of time.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Counts {
    /// Whoever was logged on, in whatever category or none.
    pub anyone: Count,
    /// Business User and Agent always, add-ons where they were used.
    pub categories: BTreeMap<Category, Count>,
    /// Keys that were applied and that no catalog or file knows: they count as nothing.
    pub unknown_keys: BTreeSet<KeyName>,
}

/// Half-open stretches of time in milliseconds.
type Stretches = Vec<Range<i64>>;

/// Whoever was active.
const ANYONE: usize = 0;
const BUSINESS_USER: usize = 1;
const AGENT: usize = 2;
/// Where the categories of add-ons begin.
const ADD_ONS: usize = 3;

/// Usage being counted. Feed each installation's files in the order of their numbers; of several installations, in any.
#[derive(Clone, Debug)]
pub struct Tally {
    window: Range<i64>,
    tariff: Tariff,
    users: BTreeMap<User, UserIndex>,
    keys: BTreeMap<KeySet, KeysIndex>,
    /// Of each set of keys.
    slots_of: Vec<Vec<usize>>,
    add_ons: Vec<Category>,
    unknown_keys: BTreeSet<KeyName>,
    /// Of each user, of each slot.
    used: Vec<Vec<Stretches>>,
    installations: BTreeMap<InstallationId, Runs>,
}

impl Tally {
    /// Counts what lies in `window`, by `tariff`.
    pub fn new(window: Range<WallTime>, tariff: Tariff) -> Self {
        Self {
            window: window.start.as_ms()..window.end.as_ms(),
            tariff,
            users: BTreeMap::new(),
            keys: BTreeMap::new(),
            slots_of: Vec::new(),
            add_ons: Vec::new(),
            unknown_keys: BTreeSet::new(),
            used: Vec::new(),
            installations: BTreeMap::new(),
        }
    }

    /// A file of `installation` opens at `start`. Items are then taken with [`Opened::take`].
    pub fn open(&mut self, installation: InstallationId, start: WallTime) -> Opened<'_> {
        Opened { tally: self, installation, start, present: Some(BTreeSet::new()) }
    }

    /// What is known of `installation` ends at `at`: a file is missing or damaged there. Who was logged on counts until
    /// then, and again from the file that shows them next.
    pub fn cut(&mut self, installation: InstallationId, at: WallTime) {
        let Self { installations, used, slots_of, window, .. } = self;
        if let Some(runs) = installations.get_mut(&installation) {
            runs.cut(at, |user, span| note(used, slots_of, window, user, span));
        }
    }

    /// The counts.
    pub fn finish(mut self) -> Counts {
        // Whoever is logged on still is so up to the end of what is known; the caller cuts where that is earlier.
        let end = WallTime::from_ms(self.window.end);
        for installation in self.installations.keys().copied().collect::<Vec<_>>() {
            self.cut(installation, end);
        }
        let slots = ADD_ONS + self.add_ons.len();
        let mut counts = vec![Count::default(); slots];
        let mut steps: Vec<Vec<(i64, i64)>> = vec![Vec::new(); slots];
        for mut used in std::mem::take(&mut self.used) {
            used.resize(slots, Vec::new());
            let mut used: Vec<Stretches> = used.into_iter().map(merged).collect();
            // At one server an agent and at another none: an agent.
            used[BUSINESS_USER] = without(&used[BUSINESS_USER], &used[AGENT]);
            for (slot, stretches) in used.iter().enumerate() {
                let excluded = slot == BUSINESS_USER && !used[AGENT].is_empty();
                counts[slot].users += u64::from(!stretches.is_empty() && !excluded);
                for stretch in stretches {
                    counts[slot].user_ms += (stretch.end - stretch.start).unsigned_abs();
                    steps[slot].extend([(stretch.start, 1), (stretch.end, -1)]);
                }
            }
        }
        for (count, mut steps) in counts.iter_mut().zip(steps) {
            // Who leaves makes room before who comes at the same moment.
            steps.sort_unstable();
            let mut now = 0;
            for (at, step) in steps {
                now += step;
                if now > i64::try_from(count.peak).unwrap_or(i64::MAX) {
                    count.peak = now.unsigned_abs();
                    count.peak_at = Some(WallTime::from_ms(at));
                }
            }
        }
        let fixed = [Category::BusinessUser, Category::Agent];
        let categories = fixed.into_iter().chain(self.add_ons);
        Counts {
            anyone: counts[ANYONE],
            categories: categories
                .zip(counts.into_iter().skip(BUSINESS_USER))
                .filter(|(category, count)| count.users > 0 || !matches!(category, Category::AddOn(_)))
                .collect(),
            unknown_keys: self.unknown_keys,
        }
    }

    fn user(&mut self, user: &User) -> UserIndex {
        if let Some(index) = self.users.get(user) {
            return *index;
        }
        let index = self.used.len();
        self.used.push(Vec::new());
        self.users.insert(user.clone(), index);
        index
    }

    fn keys(&mut self, keys: &KeySet) -> KeysIndex {
        if let Some(index) = self.keys.get(keys) {
            return *index;
        }
        self.unknown_keys.extend(keys.iter().filter(|key| !self.tariff.knows(key)).cloned());
        let mut slots = vec![ANYONE];
        for category in self.tariff.categories(keys) {
            slots.push(match category {
                Category::BusinessUser => BUSINESS_USER,
                Category::Agent => AGENT,
                add_on => {
                    let known = self.add_ons.iter().position(|known| *known == add_on);
                    ADD_ONS
                        + known.unwrap_or_else(|| {
                            self.add_ons.push(add_on);
                            self.add_ons.len() - 1
                        })
                }
            });
        }
        let index = self.slots_of.len();
        self.slots_of.push(slots);
        self.keys.insert(keys.clone(), index);
        index
    }
}

/// A file whose items are being taken.
#[derive(Debug)]
pub struct Opened<'t> {
    tally: &'t mut Tally,
    installation: InstallationId,
    start: WallTime,
    /// Who is logged on as the file opens; none once that is all told.
    present: Option<BTreeSet<UserIndex>>,
}

impl Opened<'_> {
    /// Takes the next items of the file.
    pub fn take<'i>(&mut self, items: impl IntoIterator<Item = &'i Item>) {
        for item in items {
            let (Some(user), Some(counter), Some(keys)) = (item.user(), item.counter(), item.keys()) else {
                continue;
            };
            let is_present = matches!(item, Item::Present { .. });
            if !is_present {
                self.all_present_told();
            }
            let (user, keys) = (self.tally.user(user), self.tally.keys(keys));
            // Since when someone is logged on is told for people: what came before the file stands in another.
            let at = if is_present { self.start } else { item.at() };
            if let Some(present) = self.present.as_mut() {
                present.insert(user);
            }
            let Tally { installations, used, slots_of, window, .. } = &mut *self.tally;
            installations.entry(self.installation).or_default().take(item, at, user, counter, keys, |user, span| {
                note(used, slots_of, window, user, span);
            });
        }
    }

    /// The file is read to its end, or to its damage: then some who were logged on may not have been told.
    pub fn close(mut self, whole: bool) {
        if whole {
            self.all_present_told();
        }
    }

    fn all_present_told(&mut self) {
        let Some(present) = self.present.take() else {
            return;
        };
        let Tally { installations, used, slots_of, window, .. } = &mut *self.tally;
        if let Some(runs) = installations.get_mut(&self.installation) {
            runs.keep(&present, self.start, |user, span| note(used, slots_of, window, user, span));
        }
    }
}

/// Notes a span in each slot of its keys, as far as it lies in the window.
fn note(used: &mut [Vec<Stretches>], slots_of: &[Vec<usize>], window: &Range<i64>, user: UserIndex, span: Span) {
    let stretch = span.from.max(window.start)..span.until.min(window.end);
    let (Some(used), Some(slots)) = (used.get_mut(user), slots_of.get(span.keys)) else {
        return;
    };
    if stretch.is_empty() {
        return;
    }
    for slot in slots {
        if used.len() <= *slot {
            used.resize(slot + 1, Vec::new());
        }
        match used[*slot].last_mut() {
            Some(last) if last.end == stretch.start => last.end = stretch.end,
            _ => used[*slot].push(stretch.clone()),
        }
    }
}

/// The same time in order and without overlaps.
fn merged(mut stretches: Stretches) -> Stretches {
    stretches.sort_unstable_by_key(|stretch| (stretch.start, stretch.end));
    let mut merged: Stretches = Vec::new();
    for stretch in stretches {
        match merged.last_mut() {
            Some(last) if stretch.start <= last.end => last.end = last.end.max(stretch.end),
            _ => merged.push(stretch),
        }
    }
    merged
}

/// What is in `stretches` and not in `taken`; both are in order and without overlaps.
fn without(stretches: &[Range<i64>], taken: &[Range<i64>]) -> Stretches {
    let mut left = Vec::new();
    let mut taken = taken.iter().peekable();
    for stretch in stretches {
        let mut from = stretch.start;
        while let Some(cut) = taken.peek() {
            if cut.start >= stretch.end {
                break;
            }
            if from < cut.start {
                left.push(from..cut.start);
            }
            from = from.max(cut.end);
            if cut.end > stretch.end {
                break;
            }
            taken.next();
        }
        if from < stretch.end {
            left.push(from..stretch.end);
        }
    }
    left
}
