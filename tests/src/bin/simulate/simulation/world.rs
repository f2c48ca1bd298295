//! The world: one daemon at a time on one disk, its application servers, its administrators, the network between, and time.
//! A step is one thing that one of them does. Everything follows from the seed and the steps' numbers.

mod admins;
mod daemon;
mod network;

use std::{cell::RefCell, rc::Rc};

use leasehold_engine::command::Reached;
use leaseholdd::clock::Hands;

use super::{
    apps::{App, Down, Letter, Manners, Up},
    chance::Chance,
    disk::{Disk, Fault},
    oracle::Oracle,
    tally::Kind,
    vendor,
};
use daemon::Life;

/// How a seed's world is disposed.
#[derive(Clone, Copy, Debug)]
struct Nature {
    manners: Manners,
    variant: usize,
    /// Of steps in a thousand: how many are trouble.
    trouble: u64,
    /// Time leaps by hours and days, now and then.
    leaps: bool,
    /// The wall clock gains so many milliseconds in a second.
    skew: i64,
}

/// What an administrator has put where.
#[derive(Clone, Copy, Debug)]
struct Folder {
    /// Sequence of the base file, and of the add-on.
    sequences: [usize; vendor::LICENSES],
    present: [bool; vendor::LICENSES],
    /// The base file is for this host.
    here: bool,
    revoked: bool,
}

/// A world.
pub(crate) struct World {
    seed: u64,
    nature: Nature,
    disk: Rc<RefCell<Disk>>,
    hands: Hands,
    boot_ms: u64,
    wall_ms: i64,
    life: Option<Life>,
    pub(crate) oracle: Oracle,
    apps: Vec<App>,
    up: Vec<Letter<Up>>,
    down: Vec<Letter<Down>>,
    last_conn: u32,
    folder: Folder,
    admin_busy: bool,
    /// The folder could not be judged.
    folder_due: bool,
    /// What happened, line by line, where it is told.
    pub(crate) story: Option<Vec<String>>,
    since_recount: u32,
    /// How often the daemon was started.
    lives: u64,
    /// What a witness was told last (03, Witness).
    said: Option<Reached>,
}

impl World {
    /// The world of a seed, set up and at peace.
    pub(crate) fn new(seed: u64, tell: bool) -> Self {
        let mut chance = Chance::of(seed, 0);
        let manners = Manners {
            users: 3 + chance.index(5),
            stations: 2 + chance.index(2),
            wait: chance.pick(&[0, 0, 15, 50]),
            unary: chance.pick(&[0, 15, 50]),
            lies: chance.pick(&[0, 40, 100]),
        };
        let nature = Nature {
            manners,
            variant: chance.index(vendor::VARIANTS),
            trouble: chance.pick(&[4, 12, 40]),
            leaps: chance.one_in(3),
            skew: chance.pick(&[0, 0, 3, -3, 100]),
        };
        let apps = 2 + chance.index(4);
        let mut world = Self {
            seed,
            nature,
            disk: Rc::new(RefCell::new(Disk::new())),
            hands: Hands::default(),
            boot_ms: 1_000_000,
            wall_ms: vendor::start().as_ms(),
            life: None,
            oracle: Oracle::new(),
            apps: (0..apps).map(App::new).collect(),
            up: Vec::new(),
            down: Vec::new(),
            last_conn: 0,
            folder: Folder { sequences: [1, 0], present: [true, false], here: true, revoked: false },
            admin_busy: false,
            folder_due: false,
            story: tell.then(Vec::new),
            since_recount: 0,
            lives: 0,
            said: None,
        };
        world.hands.set(world.boot_ms, world.wall_ms);
        world.start();
        world.settle_in(&mut chance);
        world
    }

    fn tell(&mut self, line: impl FnOnce() -> String) {
        if let Some(story) = &mut self.story {
            story.push(line());
        }
    }

    fn happened(&mut self, kind: Kind) {
        self.oracle.tally.happened(kind);
    }

    /// One step.
    pub(crate) fn step(&mut self, number: u64) {
        let mut chance = Chance::of(self.seed, number + 1);
        let chance = &mut chance;
        self.oracle.tally.steps += 1;
        if self.story.is_some() {
            let at = self.lease_now();
            self.tell(|| format!("-- step {number}, lease time {at}"));
        }
        self.one_thing(chance);
        self.since_recount += 1;
        if self.since_recount >= 48 && self.is_at_rest() {
            self.recount();
        }
    }

    fn one_thing(&mut self, chance: &mut Chance) {
        if chance.below(1_000) < self.nature.trouble {
            return self.trouble(chance);
        }
        if self.life.is_none() && chance.percent(40) {
            return self.start();
        }
        let first = match chance.below(100) {
            0..=21 => 0,
            22..=41 => 1,
            42..=58 => 2,
            59..=70 => 3,
            71..=91 => 4,
            92..=96 => 5,
            _ => 6,
        };
        for turn in 0..7 {
            let done = match (first + turn) % 7 {
                0 => self.decide(chance),
                1 => self.write(chance),
                2 => self.carry_up(chance),
                3 => self.carry_down(chance),
                4 => self.app_acts(chance),
                5 => self.time_passes(chance),
                _ => self.administer(chance),
            };
            if done {
                return;
            }
        }
    }

    fn app_acts(&mut self, chance: &mut Chance) -> bool {
        let number = chance.index(self.apps.len());
        let foreign: Vec<u64> = if chance.percent(10) {
            let others = self.apps.iter().filter(|other| other.identity != self.apps[number].identity);
            others.flat_map(|other| other.leases.iter().map(|(lease, _)| *lease)).collect()
        } else {
            Vec::new()
        };
        let app = &mut self.apps[number];
        if app.hangs_until > self.boot_ms {
            return false;
        }
        let letter =
            app.act(chance, &self.nature.manners, self.boot_ms, &mut self.last_conn, &mut self.oracle, &foreign);
        let Some(letter) = letter else { return false };
        self.tell(|| format!("app {number} sends {:?}", letter.what));
        if self.up.len() < 64 {
            self.up.push(letter);
        } else {
            self.oracle.tally.happened(Kind::Dropped);
        }
        true
    }

    /// Time passes: mostly little, now and then much.
    fn time_passes(&mut self, chance: &mut Chance) -> bool {
        let ms = match chance.below(100) {
            0..=44 => chance.between(1, 900),
            45..=74 => chance.between(900, 9_000),
            75..=89 => chance.between(9_000, 40_000),
            90..=95 => chance.between(40_000, 130_000),
            96..=97 => chance.between(130_000, 1_300_000),
            _ if self.nature.leaps => chance.between(1, 50) * 3_600_000,
            _ => chance.between(100, 30_000),
        };
        self.pass(ms);
        true
    }

    fn pass(&mut self, ms: u64) {
        if ms > 100_000 {
            // Nobody decides something and has it stored hours later.
            self.pump();
        }
        self.boot_ms += ms;
        let gains = i64::try_from(ms).unwrap_or(0) * self.nature.skew / 1_000;
        self.wall_ms += i64::try_from(ms).unwrap_or(0) + gains;
        if gains != 0 {
            self.happened(Kind::Skew);
        }
        self.hands.set(self.boot_ms, self.wall_ms);
        let now = self.lease_now();
        self.oracle.at(now);
        self.tell(|| format!("{ms} ms pass"));
    }

    fn trouble(&mut self, chance: &mut Chance) {
        let roll = chance.below(100);
        self.tell(|| format!("trouble {roll}"));
        match roll {
            0..=35 => self.arm(chance),
            36..=47 => self.kill(Kind::Killed),
            48..=51 => self.stop(),
            52..=63 => {
                self.happened(Kind::WallStep);
                let by = match chance.below(4) {
                    0 => i64::try_from(chance.between(1, 7_200_000)).unwrap_or(0),
                    1 => i64::try_from(chance.between(1, 20 * 365)).unwrap_or(0) * 86_400_000,
                    2 => -i64::try_from(chance.between(1, 7_200_000)).unwrap_or(0),
                    _ => -i64::try_from(chance.between(1, 20 * 365)).unwrap_or(0) * 86_400_000,
                };
                // Not before the vendor was, and not after the files end.
                let (first, last) = (vendor::start().as_ms() - 300 * 86_400_000, 4_000_000_000_000);
                self.wall_ms = (self.wall_ms + by).clamp(first, last);
                self.hands.set(self.boot_ms, self.wall_ms);
            }
            64..=66 => {
                self.happened(Kind::Suspended);
                self.pass(chance.between(60_000, 3_000_000));
            }
            67..=78 => {
                let number = chance.index(self.apps.len());
                self.happened(Kind::AppCrashed);
                self.apps[number].crash();
                if chance.percent(60) {
                    // The system closes its connections.
                    self.hang_up(number);
                }
            }
            79..=86 => {
                let number = chance.index(self.apps.len());
                self.happened(Kind::AppHung);
                self.apps[number].hangs_until = self.boot_ms + chance.between(5_000, 200_000);
            }
            _ => {
                let number = chance.index(self.apps.len());
                self.happened(Kind::Cut);
                self.hang_up(number);
                if chance.percent(70) {
                    self.apps[number].hears(Down::Cut);
                }
            }
        }
    }

    fn arm(&mut self, chance: &mut Chance) {
        let mut disk = self.disk.borrow_mut();
        if disk.full {
            // Somebody makes room.
            disk.full = false;
            return;
        }
        let fault = match chance.below(10) {
            0..=1 => Fault::Full,
            2 => Fault::Busy,
            3..=4 => Fault::SyncFails { reached: chance.percent(50) },
            5 => Fault::Torn,
            6 => Fault::KilledUnsynced { reached: false },
            7 => Fault::KilledUnsynced { reached: true },
            8 => Fault::KilledUnanswered,
            _ => {
                disk.unsettled = 1 + u32::try_from(chance.below(3)).unwrap_or(0);
                drop(disk);
                return self.kill(Kind::Killed);
            }
        };
        disk.armed = Some(fault);
    }

    /// Nothing is under way: all that was decided is durable and answered.
    fn is_at_rest(&self) -> bool {
        self.life.as_ref().is_some_and(|life| {
            life.core.all_written()
                && !life.core.has_unheard()
                && life.core.core().queued() == 0
                && life.core.core().grants_available()
        }) && !self.oracle.failing
            && !self.folder_due
    }

    fn recount(&mut self) {
        self.since_recount = 0;
        let Some(life) = &self.life else { return };
        let now = life.now();
        self.oracle.recount(life.core.engine(), now, &self.disk.borrow().rows);
    }

    /// The end: what was broken is mended, nobody asks any more, and everything comes to rest.
    pub(crate) fn finish(&mut self) {
        {
            let mut disk = self.disk.borrow_mut();
            (disk.full, disk.armed, disk.unsettled) = (false, None, 0);
        }
        for _ in 0..8 {
            if self.life.is_none() {
                self.start();
            }
            self.pass(31_000);
            self.pump();
            if self.oracle.violation.is_some() || self.is_at_rest() {
                break;
            }
        }
        if self.oracle.violation.is_none() && !self.is_at_rest() {
            let why = self.life.as_ref().map(|life| life.core.core().storage_fault().borrow().clone());
            self.oracle.broken("LEASE-11", || format!("storage works, and nothing is granted: {why:?}"));
        }
        if self.oracle.violation.is_some() {
            return;
        }
        self.recount();
        // Nobody renews: every wait ends, and then every lease, whatever its TTL (LEASE-6).
        for _ in 0..2 {
            self.pass(28 * 3_600_000);
            self.pump();
        }
        self.pass(61_000);
        self.pump();
        if self.oracle.violation.is_none() && !self.oracle.books.leases.is_empty() {
            let left = self.oracle.books.leases.iter().next().map(|(id, lease)| format!("lease {id}: {lease:?}"));
            self.oracle.broken("LEASE-6", || format!("nobody renews, and seats are held for ever: {left:?}"));
        }
        self.recount();
    }
}
