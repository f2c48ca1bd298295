//! Days of a site by chance: logons, logoffs, leases that nobody renews, keys that change, clocks that step, disks that
//! are full, files that somebody spoils, stops, kills, and deaths at any change of the disk. `LEASEHOLD_TEST_DAYS` and
//! `LEASEHOLD_TEST_SEED` take others than the usual ones.

use std::fs;

use leasehold_engine::ids::LeaseId;

use super::{
    oracle::{Live, Oracle, Window},
    site::{Lost, MEDIA, Site},
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
    deaths: u32,
    not_stored: u32,
    /// Nothing more befalls anything.
    calm: bool,
}

impl Days {
    fn pass(&mut self, ms: u64) {
        self.site.lease_ms += ms;
        self.site.wall_ms += ms.cast_signed();
    }

    /// The next process, some time later; somebody may have been at the files.
    fn rise(&mut self) {
        loop {
            self.site.kill();
            self.deaths += 1;
            if !self.calm && self.chance.one_in(3) {
                self.spoil();
            }
            let minutes = self.chance.below(90);
            self.site.wall_ms += (minutes * 60_000).cast_signed();
            if !self.calm && self.chance.one_in(4) {
                self.site.fate.die_at_next_start(self.chance.below(8));
            }
            if self.site.start().is_ok() {
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
    fn ask<T>(&mut self, mut what: impl FnMut(&mut Site) -> Result<T, Lost>) -> Option<(T, Window)> {
        let from = self.site.wall_ms;
        loop {
            match what(&mut self.site) {
                Ok(answer) => return Some((answer, Some((from, self.site.wall_ms)))),
                Err(Lost::NotStored) => {
                    self.not_stored += 1;
                    return None;
                }
                Err(Lost::Dead) => self.rise(),
            }
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
                let asked = self.ask(|site| site.log_on(request, &user, application));
                if let Some((lease, window)) = asked {
                    let application = application.to_owned();
                    self.oracle.logged_on(Live { lease, user, application }, window);
                }
            }
            5..=8 => {
                if self.oracle.live.is_empty() {
                    return;
                }
                let lease = self.oracle.live[self.chance.index(self.oracle.live.len())].lease;
                if let Some(((), window)) = self.ask(|site| site.release(lease)) {
                    let was_forgotten = self.forgotten.contains(&lease);
                    self.forgotten.retain(|other| *other != lease);
                    self.oracle.logged_off(lease, window.filter(|_| !was_forgotten));
                }
            }
            _ => {
                let user = self.users[self.chance.index(self.users.len())].clone();
                let give = self.chance.one_in(2);
                self.ask(|site| site.assign(std::slice::from_ref(&user), MEDIA, give));
            }
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
        self.ask(|site| site.renew(&leases));
        if self.chance.one_in(6) && !leases.is_empty() {
            let lease = leases[self.chance.index(leases.len())];
            self.forgotten.push(lease);
        }
    }

    fn turn(&mut self) {
        loop {
            match self.site.tick().and_then(|()| self.site.turn(Course::Running)) {
                Ok(()) => return,
                Err(Lost::NotStored) => {
                    self.not_stored += 1;
                    return;
                }
                Err(Lost::Dead) => self.rise(),
            }
        }
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
                    self.rise();
                }
                6 => self.rise(),
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
    let chance = Chance(number("LEASEHOLD_TEST_SEED", 1));
    let mut all = Days {
        site,
        oracle: Oracle::default(),
        chance,
        users,
        forgotten: Vec::new(),
        deaths: 0,
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
    all.site.turn(Course::Ending).unwrap();
    // What is still to be mended is mended once the disk is tried again.
    all.pass(60_000);
    all.site.turn(Course::Ending).unwrap();
    assert_eq!(all.site.waiting(), 0);
    // Leases that nobody renews may have ended; whoever releases them now finds that out.
    for lease in all.forgotten.clone() {
        let ((), _) = all.ask(|site| site.release(lease)).unwrap();
        all.oracle.logged_off(lease, None);
    }
    all.site.kill();
    all.site.start().unwrap();
    all.pass(60_000);
    all.site.turn(Course::Running).unwrap();
    all.site.turn(Course::Ending).unwrap();
    let rows = all.site.rows();
    let tally = all.oracle.compare(&all.site, &rows);
    assert!(all.deaths as u64 >= days / 4 && tally.logons as u64 >= days, "{tally:?}");
    println!("{days} days, {} processes ended, {} commits failed: {tally:?}", all.deaths, all.not_stored);
}
