//! Days of a site by chance: logons, logoffs, leases that nobody renews, keys that change, licenses that
//! ask for usage and do not, clocks that step, disks that
//! are full, files that somebody spoils, stops, kills, and deaths at any change of the disk. `LEASEHOLD_TEST_DAYS` and
//! `LEASEHOLD_TEST_SEED` take others than the usual ones.

use std::{collections::BTreeMap, fs};

use leasehold_engine::ids::LeaseId;

use super::{
    oracle::{Moment, Oracle},
    site::{GRANTS, Lost, MEDIA, Site},
};
use crate::usage::{heart::Course, naming::NamesSetting};

const USERS: usize = 12;
const HOUR_MS: u64 = 3_600_000;

/// Numbers by chance, the same for the same seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, most: u64) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ z >> 31) % most
    }

    fn one_in(&mut self, most: u64) -> bool {
        self.below(most) == 0
    }

    fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).unwrap()
    }
}

struct Days {
    site: Site,
    oracle: Oracle,
    chance: Chance,
    users: Vec<String>,
    /// Leases that nobody renews any more.
    forgotten: Vec<LeaseId>,
    /// Processes that ended, by how.
    ends: BTreeMap<&'static str, u64>,
    not_stored: u32,
    lapses: usize,
    /// A lease that is on its way out, by whichever process.
    releasing: Option<LeaseId>,
    /// Nothing more befalls anything.
    calm: bool,
}

impl Days {
    fn pass(&mut self, ms: u64) {
        self.site.lease_ms += ms;
        self.site.wall_ms += ms.cast_signed();
    }

    /// The next process, some time later; somebody may have been at the files.
    fn rise(&mut self, ended: &'static str) {
        let (mut ended, last) = (ended, self.site.moment());
        loop {
            self.site.kill();
            *self.ends.entry(ended).or_default() += 1;
            ended = "death at its start";
            if !self.calm && self.chance.one_in(3) {
                self.spoil();
            }
            let minutes = self.chance.below(90);
            self.site.wall_ms += (minutes * 60_000).cast_signed();
            if !self.calm && self.chance.one_in(4) {
                self.site.fate.die_at_next_start(self.chance.below(8));
            }
            if self.site.start().is_ok() {
                // The process that ended may have found some lapsed with whatever it did last, and knew their renewals.
                self.note_lapses(self.releasing, &[last]);
                self.oracle.restarted();
                return;
            }
        }
    }

    /// As a crash of the file system, or a hand, leaves one of the newest files.
    fn spoil(&mut self) {
        let Ok(entries) = fs::read_dir(self.site.folder()) else { return };
        let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        files.sort();
        // Older ones may have left the database.
        let Some(file) = files.last() else { return };
        match self.chance.below(5) {
            0 => fs::remove_file(file).unwrap(),
            1 => fs::write(file, b"").unwrap(),
            2 => {
                let mut bytes = fs::read(file).unwrap();
                bytes.truncate(bytes.len() * 2 / 3);
                fs::write(file, bytes).unwrap();
            }
            3 => {
                let mut bytes = fs::read(file).unwrap();
                bytes.extend(b"something else");
                fs::write(file, bytes).unwrap();
            }
            _ => {
                let mut bytes = fs::read(file).unwrap();
                let at = self.chance.index(bytes.len().max(1));
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1;
                }
                fs::write(file, bytes).unwrap();
            }
        }
    }

    /// Asks until there is an answer, through every death; `None` where it was certainly not stored.
    fn ask<T>(&mut self, mut what: impl FnMut(&mut Site) -> Result<T, Lost>) -> (Option<T>, Vec<Moment>) {
        let mut moments = Vec::new();
        loop {
            moments.push(self.site.moment());
            match what(&mut self.site) {
                Ok(answer) => return (Some(answer), moments),
                Err(Lost::NotStored) => {
                    self.not_stored += 1;
                    return (None, moments);
                }
                Err(Lost::Dead) => self.rise("death at a change of the disk"),
            }
        }
    }

    /// Tells the oracle what has lapsed in a step, but for `own`, which was ended in it.
    fn note_lapses(&mut self, own: Option<LeaseId>, moments: &[Moment]) {
        let there = self.site.leases();
        let live = self.oracle.live.iter().map(|live| live.lease);
        let lapsed: Vec<LeaseId> = live.filter(|lease| !there.contains(lease) && Some(*lease) != own).collect();
        self.forgotten.retain(|lease| !lapsed.contains(lease));
        self.lapses += lapsed.len();
        self.oracle.lapsed(&lapsed, moments);
    }

    /// A license that asks for usage, or one that does not.
    fn license(&mut self, asks: bool) {
        self.site.put_license(if asks { GRANTS } else { &GRANTS[1..] });
        let (done, moments) = self.ask(Site::look_into_folder);
        // What is due ends before the license is looked at.
        self.note_lapses(None, &moments);
        if done.is_some() {
            self.oracle.collects(asks);
        }
    }

    fn act(&mut self) {
        match self.chance.below(10) {
            0..=4 => {
                let user = self.users[self.chance.index(self.users.len())].clone();
                let taken: Vec<&str> = self
                    .oracle
                    .live
                    .iter()
                    .filter(|live| live.user == user)
                    .map(|live| live.application.as_str())
                    .collect();
                let free = ["Desktop", "Connect", "ICBM"].into_iter().find(|name| !taken.contains(name));
                let Some(application) = free else { return };
                let request = self.site.next_request();
                let (lease, moments) = self.ask(|site| site.log_on(request, &user, application));
                self.note_lapses(None, &moments);
                if let Some(lease) = lease {
                    self.oracle.logged_on(lease, &user, application, &moments);
                }
            }
            5..=8 => {
                if self.oracle.live.is_empty() {
                    return;
                }
                let lease = self.oracle.live[self.chance.index(self.oracle.live.len())].lease;
                // Whom nobody renews, few release; the others lapse.
                if self.forgotten.contains(&lease) && !self.chance.one_in(4) {
                    return;
                }
                self.release(lease);
            }
            _ => {
                let user = self.users[self.chance.index(self.users.len())].clone();
                let give = self.chance.one_in(2);
                let (done, moments) = self.ask(|site| site.assign(std::slice::from_ref(&user), MEDIA, give));
                self.note_lapses(None, &moments);
                if done.is_some() {
                    self.oracle.assigned(&user, give, &moments);
                }
            }
        }
    }

    fn release(&mut self, lease: LeaseId) {
        // Whoever lapses by now has not been released.
        let (done, moments) = self.ask(Site::tick);
        self.note_lapses(None, &moments);
        if done.is_none() || self.oracle.live.iter().all(|live| live.lease != lease) {
            return;
        }
        self.releasing = Some(lease);
        let (done, moments) = self.ask(|site| site.release(lease));
        self.releasing = None;
        self.note_lapses(Some(lease), &moments);
        if done.is_some() {
            self.forgotten.retain(|other| *other != lease);
            self.oracle.logged_off(lease, &moments);
        }
    }

    /// All disks have room.
    fn clear(&mut self) {
        self.site.set_database_full(false);
        self.site.set_database_stuck(false);
        self.site.fate.set_full(false);
    }

    fn renew(&mut self) {
        // The core keeps renewals that it cannot store; this site has none.
        self.clear();
        let leases: Vec<LeaseId> =
            self.oracle.live.iter().map(|live| live.lease).filter(|lease| !self.forgotten.contains(lease)).collect();
        let (done, moments) = self.ask(|site| site.renew(&leases));
        assert!(done.is_some(), "there is room");
        self.note_lapses(None, &moments);
        self.oracle.renewed(&leases, &moments);
        if self.chance.one_in(6) && !leases.is_empty() {
            let lease = leases[self.chance.index(leases.len())];
            self.forgotten.push(lease);
        }
    }

    fn turn(&mut self) {
        let (_, moments) = self.ask(|site| site.tick().and_then(|()| site.turn(Course::Running)));
        self.note_lapses(None, &moments);
    }

    fn day(&mut self) {
        for slot in 0..12 {
            let ms = HOUR_MS + self.chance.below(2 * HOUR_MS);
            self.pass(ms);
            match self.chance.below(24) {
                0 => self.site.fate.die_after(self.chance.below(12)),
                1 => self.site.set_database_full(true),
                7 => self.site.set_database_stuck(true),
                2 => self.site.fate.set_full(true),
                3 => self.site.own_wall_off_ms = self.chance.below(400 * 86_400_000).cast_signed() - 200 * 86_400_000,
                4 => self.site.wall_ms += self.chance.below(6 * 86_400_000).cast_signed() - 3 * 86_400_000,
                5 => {
                    // An orderly stop, as far as it comes.
                    let _ = self.site.turn(Course::Ending);
                    self.rise("stop");
                }
                6 => self.rise("kill"),
                // Off, and mostly on again before anybody looks.
                8 | 9 => {
                    self.license(!self.oracle.is_collecting());
                    for _ in 0..self.chance.below(3) {
                        self.act();
                    }
                    if !self.oracle.is_collecting() && !self.chance.one_in(4) {
                        self.license(true);
                    }
                }
                _ => {}
            }
            for _ in 0..self.chance.below(5) {
                self.act();
                let ms = self.chance.below(60_000);
                self.pass(ms);
            }
            self.turn();
            if self.chance.one_in(2) {
                self.clear();
            }
            if slot % 4 == 3 {
                self.renew();
            }
        }
    }
}

fn number(name: &str, usual: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

#[test]
fn days_by_chance_lose_nothing_and_double_nothing() {
    let days = number("LEASEHOLD_TEST_DAYS", 25);
    let users: Vec<String> = (0..USERS).map(|number| format!("agent Müller {number:02}")).collect();
    let site = Site::new(&users, NamesSetting::Plain);
    let oracle = Oracle::new(&users);
    let chance = Chance(number("LEASEHOLD_TEST_SEED", 1));
    let mut all = Days {
        site,
        oracle,
        chance,
        users,
        forgotten: Vec::new(),
        ends: BTreeMap::new(),
        lapses: 0,
        releasing: None,
        not_stored: 0,
        calm: false,
    };
    for _ in 0..days {
        all.day();
    }
    all.calm = true;
    all.site.fate.spare();
    all.clear();
    all.pass(60_000);
    all.turn();
    all.license(true);
    all.turn();
    all.site.turn(Course::Ending).unwrap();
    // What is still to be mended is mended once the disk is tried again.
    all.pass(60_000);
    all.site.turn(Course::Ending).unwrap();
    assert_eq!(all.site.waiting(), 0);
    for lease in all.forgotten.clone() {
        all.release(lease);
    }
    all.rise("kill");
    all.pass(60_000);
    all.turn();
    all.site.turn(Course::Ending).unwrap();
    let rows = all.site.rows();
    let tally = all.oracle.compare(&all.site, &rows);
    let deaths: u64 = all.ends.values().sum();
    assert!(deaths >= days / 4 && tally.logons as u64 >= days, "{tally:?}");
    assert!(tally.gaps as u64 >= days / 25 && tally.key_changes as u64 >= days / 25, "{tally:?}");
    let Days { ends, not_stored, lapses, .. } = all;
    println!(
        "{days} days, {deaths} processes ended {ends:?}, {not_stored} commits failed, {lapses} leases lapsed; lost 0, \
         doubled 0: {tally:?}"
    );
}
