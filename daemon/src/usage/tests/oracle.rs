//! What must be in the files, from acknowledged answers alone; and whether it is.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use leasehold_engine::{ids::LeaseId, row::UsageSegmentRow};
use leasehold_keys::{
    digest::Sha256,
    usage::{End, Item, KeySet, Sequence, open},
};

use super::site::Site;

/// Between which moments something happened; none where it is not known.
pub(super) type Window = Option<(i64, i64)>;

#[derive(Clone, Debug)]
pub(super) struct Live {
    pub(super) lease: LeaseId,
    pub(super) user: String,
    pub(super) application: String,
}

#[derive(Debug, Default)]
pub(super) struct Oracle {
    pub(super) live: Vec<Live>,
    logons: BTreeMap<String, Vec<Window>>,
    logoffs: BTreeMap<String, Vec<Window>>,
}

/// What was found, for a last look by a person.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) files: usize,
    pub(super) bytes: u64,
    pub(super) logons: usize,
    pub(super) logoffs: usize,
    pub(super) because: BTreeMap<String, usize>,
}

impl Oracle {
    pub(super) fn logged_on(&mut self, live: Live, window: Window) {
        self.logons.entry(live.user.clone()).or_default().push(window);
        assert!(self.live.iter().all(|other| other.lease != live.lease), "{live:?} is one that was given before");
        self.live.push(live);
    }

    pub(super) fn logged_off(&mut self, lease: LeaseId, window: Window) {
        let at = self.live.iter().position(|live| live.lease == lease).unwrap();
        let live = self.live.swap_remove(at);
        self.logoffs.entry(live.user).or_default().push(window);
    }

    /// Compares with the files as the licensor opens them. All must be closed.
    pub(super) fn compare(&self, site: &Site, rows: &[UsageSegmentRow]) -> Tally {
        let mut tally = Tally::default();
        let mut sequence = Sequence::new();
        let mut walk = Walk::default();
        let licensor = site.licensor.usage_key();
        let mut on_disk: BTreeSet<String> = fs::read_dir(site.folder())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        for row in rows {
            assert!(on_disk.remove(&row.file), "{} is not there", row.file);
            let bytes = fs::read(site.folder().join(&row.file)).unwrap();
            assert_eq!(row.sha256, Some(Sha256::of(&bytes)), "{}", row.file);
            assert_eq!(row.bytes, bytes.len() as u64);
            for user in self.logons.keys() {
                let name = user.as_bytes();
                assert!(!bytes.windows(name.len()).any(|some| some == name), "{user} stands in {}", row.file);
            }
            sequence.add(&row.file, &bytes);
            let opened = open(&bytes, &licensor).unwrap();
            assert_eq!(opened.damage, None, "{}", row.file);
            assert!(matches!(opened.file.end(), End::Closed(_)), "{}", row.file);
            assert_eq!(opened.file.records(), row.records);
            assert_eq!(opened.file.head().chain, row.head);
            let items: Vec<Item> = opened.items().cloned().collect();
            assert_eq!(items, open(&bytes, &site.reader).unwrap().items().cloned().collect::<Vec<_>>());
            let events = items.iter().filter(|item| !matches!(item, Item::Present { .. } | Item::Remark(_)));
            assert_eq!(events.count() as u64, row.events, "{}", row.file);
            walk.through(&row.file, &items);
            tally.files += 1;
            tally.bytes += row.bytes;
            *tally.because.entry(row.because.clone()).or_default() += 1;
        }
        assert_eq!(on_disk, BTreeSet::new(), "files that no row knows");
        let report = sequence.finish();
        assert_eq!(report.findings, []);
        for (user, logons) in &self.logons {
            let (ons, offs) = walk.events.remove(&site.called(user)).unwrap_or_default();
            tally.logons += ons.len();
            tally.logoffs += offs.len();
            assert_eq!(ons.len(), logons.len(), "logons of {user}: {ons:?} {logons:?}");
            for (at, window) in ons.iter().zip(logons) {
                assert!(fits(*at, *window), "a logon of {user} at {at}, not within {window:?}");
            }
            let expected = self.logoffs.get(user).cloned().unwrap_or_default();
            assert_eq!(offs.len(), expected.len(), "logoffs of {user}: {offs:?} {expected:?}");
            let mut left = offs;
            for window in expected.iter().filter(|window| window.is_some()) {
                let at = left.iter().position(|at| fits(*at, *window));
                let at = at.unwrap_or_else(|| panic!("no logoff of {user} within {window:?} among {left:?}"));
                left.remove(at);
            }
        }
        assert!(walk.events.is_empty(), "nobody asked for these: {:?}", walk.events);
        for (user, (counter, _)) in &walk.state {
            let live = self.live.iter().filter(|live| site.called(&live.user) == *user).count();
            assert_eq!(*counter as usize, live, "sessions of {user} at the end");
        }
        tally
    }
}

fn fits(at: i64, window: Window) -> bool {
    window.is_none_or(|(from, to)| (from..=to).contains(&at))
}

/// Goes through all files in order and keeps every user's counter and keys.
#[derive(Debug, Default)]
struct Walk {
    state: BTreeMap<String, (u32, KeySet)>,
    /// Times of logons and of logoffs.
    events: BTreeMap<String, (Vec<i64>, Vec<i64>)>,
}

impl Walk {
    fn through(&mut self, file: &str, items: &[Item]) {
        let present: BTreeMap<String, (u32, KeySet)> = items
            .iter()
            .filter_map(|item| match item {
                Item::Present { user, counter, keys, .. } => Some((user.to_string(), (*counter, keys.clone()))),
                _ => None,
            })
            .collect();
        // USAGE-5: a file opens with all who are logged on after what the files before it told.
        let there: BTreeMap<String, (u32, KeySet)> = self
            .state
            .iter()
            .filter(|(_, (counter, _))| *counter > 0)
            .map(|(user, state)| (user.clone(), state.clone()))
            .collect();
        assert_eq!(there, present, "{file}");
        for item in items {
            self.step(file, item);
        }
    }

    fn step(&mut self, file: &str, item: &Item) {
        let (Some(user), Some(counter), Some(keys)) = (item.user(), item.counter(), item.keys()) else { return };
        let user = user.to_string();
        let (before, _) = self.state.get(&user).cloned().unwrap_or_default();
        let at = item.at().as_ms();
        match item {
            Item::Present { .. } | Item::Remark(_) => return,
            Item::Logon { .. } => {
                assert_eq!(counter, before + 1, "{file}: {item:?}");
                self.events.entry(user.clone()).or_default().0.push(at);
            }
            Item::Logoff { .. } => {
                assert_eq!(counter + 1, before, "{file}: {item:?}");
                self.events.entry(user.clone()).or_default().1.push(at);
            }
            Item::KeysChanged { .. } => assert_eq!(counter, before, "{file}: {item:?}"),
        }
        self.state.insert(user, (counter, keys.clone()));
    }
}
