//! What must be in the files, from acknowledged answers alone; and whether it is: every event once, in its order, with its
//! counter, keys and time, and at the head of every file who is there. Of the engine it asks only which leases live, since
//! nobody acknowledges a lease that lapses.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fs,
};

use leasehold_engine::{ids::LeaseId, row::UsageSegmentRow};
use leasehold_keys::{
    digest::Sha256,
    usage::{End, Item, Sequence, open},
};

use super::site::{CLIENT, MEDIA, Site};

/// When something may have happened: one moment, unless a process died over it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moment {
    pub(super) lease_ms: u64,
    /// Trusted time.
    pub(super) wall_ms: i64,
}

#[derive(Clone, Debug)]
pub(super) struct Live {
    pub(super) lease: LeaseId,
    pub(super) user: String,
    pub(super) application: String,
    granted: Vec<Moment>,
    /// Lease time of its last renewal, as the engine may remember it.
    seen: BTreeSet<u64>,
}

/// A user's sessions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Sessions {
    counter: u32,
    keys: BTreeSet<&'static str>,
    /// When the oldest may have begun.
    since: BTreeSet<i64>,
}

/// What the files tell of a user next.
#[derive(Clone, Debug)]
enum Next {
    Event {
        kind: &'static str,
        at: BTreeSet<i64>,
        after: Sessions,
    },
    /// Collecting has begun again, and this is how it was by then.
    Gap(Sessions),
}

#[derive(Debug)]
pub(super) struct Oracle {
    pub(super) live: Vec<Live>,
    collecting: bool,
    /// Who has the media key besides the client's.
    media: BTreeSet<String>,
    told: BTreeMap<String, VecDeque<Next>>,
}

/// What was found, for a last look by a person.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) files: usize,
    pub(super) bytes: u64,
    pub(super) logons: usize,
    pub(super) logoffs: usize,
    pub(super) key_changes: usize,
    pub(super) presences: usize,
    /// Users whose sessions went on otherwise when collecting began again.
    pub(super) gaps: usize,
    /// Events whose time could be one only.
    pub(super) exact: usize,
    pub(super) because: BTreeMap<String, usize>,
}

impl Oracle {
    /// `users`: everybody; collecting has begun.
    pub(super) fn new(users: &[String]) -> Self {
        let told = users.iter().map(|user| (user.clone(), VecDeque::new())).collect();
        Self { live: Vec::new(), collecting: true, media: BTreeSet::new(), told }
    }

    pub(super) fn is_collecting(&self) -> bool {
        self.collecting
    }

    pub(super) fn logged_on(&mut self, lease: LeaseId, user: &str, application: &str, moments: &[Moment]) {
        assert!(self.live.iter().all(|other| other.lease != lease), "{lease:?} is one that was given before");
        self.live.push(Live {
            lease,
            user: user.to_owned(),
            application: application.to_owned(),
            granted: moments.to_vec(),
            seen: moments.iter().map(|moment| moment.lease_ms).collect(),
        });
        self.tell("logon", user, walls(moments));
    }

    pub(super) fn logged_off(&mut self, lease: LeaseId, moments: &[Moment]) {
        let live = self.gone(lease);
        self.tell("logoff", &live.user, walls(moments));
    }

    /// These have ended without anybody's doing, at one of these moments.
    pub(super) fn lapsed(&mut self, leases: &[LeaseId], moments: &[Moment]) {
        let mut ends: BTreeMap<String, (usize, BTreeSet<i64>)> = BTreeMap::new();
        for lease in leases {
            let live = self.live.iter().find(|live| live.lease == *lease).unwrap();
            let (count, at) = ends.entry(live.user.clone()).or_default();
            *count += 1;
            at.extend(moments.iter().flat_map(|moment| live.used_until(*moment)));
        }
        for lease in leases {
            // Which of a user's ended first is not known; they end by the same rule.
            let live = self.gone(*lease);
            let at = ends[&live.user].1.clone();
            self.tell("logoff", &live.user, at);
        }
    }

    pub(super) fn renewed(&mut self, leases: &[LeaseId], moments: &[Moment]) {
        let last = moments.last().unwrap().lease_ms;
        for live in self.live.iter_mut().filter(|live| leases.contains(&live.lease)) {
            live.seen = BTreeSet::from([last]);
        }
    }

    /// Another process does not know when leases were renewed.
    pub(super) fn restarted(&mut self) {
        for live in &mut self.live {
            live.seen = live.granted.iter().map(|moment| moment.lease_ms).collect();
        }
    }

    pub(super) fn assigned(&mut self, user: &str, give: bool, moments: &[Moment]) {
        let changes = if give { self.media.insert(user.to_owned()) } else { self.media.remove(user) };
        if changes && self.sessions(user).counter > 0 {
            self.tell("keys-changed", user, walls(moments));
        }
    }

    pub(super) fn collects(&mut self, collects: bool) {
        if collects && !self.collecting {
            let now: Vec<(String, Sessions)> =
                self.told.keys().map(|user| (user.clone(), self.sessions(user))).collect();
            for (user, sessions) in now {
                self.told.get_mut(&user).unwrap().push_back(Next::Gap(sessions));
            }
        }
        self.collecting = collects;
    }

    fn gone(&mut self, lease: LeaseId) -> Live {
        let at = self.live.iter().position(|live| live.lease == lease).unwrap();
        self.live.remove(at)
    }

    fn keys(&self, user: &str) -> BTreeSet<&'static str> {
        [CLIENT].into_iter().chain(self.media.contains(user).then_some(MEDIA)).collect()
    }

    fn sessions(&self, user: &str) -> Sessions {
        let own: Vec<BTreeSet<i64>> =
            self.live.iter().filter(|live| live.user == user).map(|live| walls(&live.granted)).collect();
        let latest = own.iter().filter_map(|some| some.last()).min().copied();
        let since = own.iter().flatten().copied().filter(|at| Some(*at) <= latest).collect();
        Sessions { counter: u32::try_from(own.len()).unwrap(), keys: self.keys(user), since }
    }

    fn tell(&mut self, kind: &'static str, user: &str, at: BTreeSet<i64>) {
        if self.collecting {
            let after = self.sessions(user);
            self.told.get_mut(user).unwrap().push_back(Next::Event { kind, at, after });
        }
    }

    /// Compares with the files as the licensor opens them. All must be closed.
    pub(super) fn compare(&self, site: &Site, rows: &[UsageSegmentRow]) -> Tally {
        let mut tally = Tally::default();
        let mut sequence = Sequence::new();
        let left = self.told.iter().map(|(user, told)| (site.called(user), told.clone())).collect();
        let mut walk = Walk { now: BTreeMap::new(), left };
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
            for user in self.told.keys() {
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
            walk.through(&row.file, &items, &mut tally);
            tally.files += 1;
            tally.bytes += row.bytes;
            *tally.because.entry(row.because.clone()).or_default() += 1;
        }
        assert_eq!(
            on_disk,
            BTreeSet::new(),
            "files that no row knows, or that were set aside though nothing was restored"
        );
        let report = sequence.finish();
        assert_eq!(report.findings, []);
        walk.finish();
        for user in self.told.keys() {
            let found = walk.now.remove(&site.called(user)).unwrap_or_default();
            assert_eq!(found.counter, self.sessions(user).counter, "sessions of {user} at the end");
        }
        tally
    }
}

impl Live {
    /// USAGE-9: when it was last heard of, where it is found lapsed at `moment`; never before its grant.
    fn used_until(&self, moment: Moment) -> impl Iterator<Item = i64> {
        let began = walls(&self.granted);
        self.seen.iter().flat_map(move |seen| {
            let ago = moment.lease_ms.saturating_sub(*seen).cast_signed();
            let at = moment.wall_ms - ago;
            began.clone().into_iter().map(move |began| at.max(began).min(moment.wall_ms))
        })
    }
}

fn walls(moments: &[Moment]) -> BTreeSet<i64> {
    moments.iter().map(|moment| moment.wall_ms).collect()
}

/// Goes through all files in order, and keeps for every user what was told so far and what is left to tell.
#[derive(Debug)]
struct Walk {
    now: BTreeMap<String, Sessions>,
    left: BTreeMap<String, VecDeque<Next>>,
}

impl Walk {
    fn through(&mut self, file: &str, items: &[Item], tally: &mut Tally) {
        let present: BTreeMap<String, &Item> = items
            .iter()
            .filter(|item| matches!(item, Item::Present { .. }))
            .map(|item| (item.user().unwrap().to_string(), item))
            .collect();
        tally.presences += present.len();
        assert!(present.keys().all(|user| self.left.contains_key(user)), "{file}: {present:?}");
        // USAGE-5: a file opens with all who are logged on after what the files before it told, or, where nobody watched
        // since, with those who are there then.
        for (user, left) in &mut self.left {
            let item = present.get(user);
            while !self.now.get(user).map_or(item.is_none(), |now| now.is_as(item.copied())) {
                let Some(Next::Gap(_)) = left.front() else {
                    panic!(
                        "{file}: {user} is {item:?} and was {:?}; next comes {:?}",
                        self.now.get(user),
                        left.front()
                    );
                };
                let Some(Next::Gap(then)) = left.pop_front() else { unreachable!() };
                tally.gaps += 1;
                self.now.insert(user.clone(), then);
            }
        }
        for item in items {
            self.step(file, item, tally);
        }
    }

    fn step(&mut self, file: &str, item: &Item, tally: &mut Tally) {
        let Some(user) = item.user().filter(|_| !matches!(item, Item::Present { .. })).map(ToString::to_string) else {
            return;
        };
        let left = self.left.get_mut(&user).unwrap_or_else(|| panic!("{file}: nobody asked for {item:?}"));
        let now = self.now.entry(user).or_default();
        now.pass_gaps(left);
        let Some(Next::Event { kind, at, after }) = left.pop_front() else {
            panic!("{file}: {item:?} was never, or is told twice");
        };
        // At counter 0 the keys are those that were applied until then.
        assert_eq!((item.kind(), item.counter().unwrap()), (kind, after.counter), "{file}: {item:?}, not {after:?}");
        assert!(after.has_keys_of(item), "{file}: {item:?}, not {after:?}");
        assert!(at.contains(&item.at().as_ms()), "{file}: {item:?}, at {}, not {at:?}", item.at().as_ms());
        tally.exact += usize::from(at.len() == 1);
        match item {
            Item::Logon { .. } => tally.logons += 1,
            Item::Logoff { .. } => tally.logoffs += 1,
            _ => tally.key_changes += 1,
        }
        *now = after;
    }

    fn finish(&mut self) {
        for (user, left) in &mut self.left {
            self.now.entry(user.clone()).or_default().pass_gaps(left);
            assert!(left.is_empty(), "lost of {user}: {left:?}");
        }
    }
}

impl Sessions {
    /// Nothing shows that nobody watched, where it went on the same.
    fn pass_gaps(&self, left: &mut VecDeque<Next>) {
        while let Some(Next::Gap(then)) = left.front()
            && then.counter == self.counter
            && (then.counter == 0 || then.keys == self.keys)
        {
            left.pop_front();
        }
    }

    fn has_keys_of(&self, item: &Item) -> bool {
        item.keys().unwrap().iter().map(|key| key.as_str()).eq(self.keys.iter().copied())
    }

    fn is_as(&self, present: Option<&Item>) -> bool {
        match present {
            None => self.counter == 0,
            Some(item) => {
                item.counter() == Some(self.counter)
                    && self.has_keys_of(item)
                    && self.since.contains(&item.at().as_ms())
            }
        }
    }
}
