//! One story, and a death at each change of the disk in it: every write to a file, every sync, every rename, and before and
//! after every commit.

use super::{
    oracle::{Moment, Oracle},
    site::{Lost, MEDIA, Site},
};
use crate::usage::{heart::Course, naming::NamesSetting};

const USERS: [&str; 3] = ["ann of points", "bob of points", "tina of points"];

struct Story {
    site: Site,
    oracle: Oracle,
    deaths: u32,
}

impl Story {
    fn new(names: NamesSetting) -> Self {
        let users: Vec<String> = USERS.iter().map(|name| (*name).to_owned()).collect();
        Self { site: Site::new(&users, names), oracle: Oracle::new(&users), deaths: 0 }
    }

    fn rise(&mut self) {
        loop {
            self.deaths += 1;
            self.site.kill();
            self.site.wall_ms += 30_000;
            if self.site.start().is_ok() {
                self.oracle.restarted();
                return;
            }
        }
    }

    fn ask<T>(&mut self, mut what: impl FnMut(&mut Site) -> Result<T, Lost>) -> (T, Vec<Moment>) {
        let mut moments = Vec::new();
        loop {
            moments.push(self.site.moment());
            match what(&mut self.site) {
                Ok(answer) => return (answer, moments),
                Err(Lost::Dead) => self.rise(),
                Err(Lost::NotStored) => panic!("this disk has room"),
            }
        }
    }

    fn log_on(&mut self, user: &str, application: &str) {
        let request = self.site.next_request();
        let (lease, moments) = self.ask(|site| site.log_on(request, user, application));
        self.oracle.logged_on(lease, user, application, &moments);
    }

    fn log_off(&mut self, user: &str, application: &str) {
        let found = self.oracle.live.iter().find(|live| live.user == user && live.application == application);
        let lease = found.unwrap().lease;
        let ((), moments) = self.ask(|site| site.release(lease));
        self.oracle.logged_off(lease, &moments);
    }

    fn turn(&mut self, minutes: u64, course: Course) {
        self.site.lease_ms += minutes * 60_000;
        self.site.wall_ms += (minutes * 60_000).cast_signed();
        self.ask(|site| site.tick().and_then(|()| site.turn(course)));
    }

    fn run(&mut self) {
        self.turn(1, Course::Running);
        self.log_on(USERS[0], "ICBM");
        self.log_on(USERS[1], "ICBM");
        self.turn(1, Course::Running);
        self.turn(1, Course::Running);
        self.log_on(USERS[0], "Connect");
        let ((), moments) = self.ask(|site| site.assign(&[USERS[0].to_owned()], MEDIA, true));
        self.oracle.assigned(USERS[0], true, &moments);
        self.log_off(USERS[1], "ICBM");
        // Over midnight, with events that wait.
        self.turn(180, Course::Running);
        self.log_on(USERS[2], "ICBM");
        self.turn(2, Course::Running);
        // A stop in order, and one in the middle.
        self.turn(2, Course::Ending);
        self.rise();
        self.log_off(USERS[0], "ICBM");
        self.rise();
        self.turn(1, Course::Running);
        self.log_off(USERS[2], "ICBM");
        // Longer than records stay in the database; nobody's lease is that long.
        for _ in 0..8 {
            for live in self.oracle.live.clone() {
                let ((), moments) = self.ask(|site| site.renew(&[live.lease]));
                self.oracle.renewed(&[live.lease], &moments);
            }
            self.turn(24 * 60, Course::Running);
        }
        self.log_off(USERS[0], "Connect");
    }

    fn finish(mut self) -> u32 {
        self.site.fate.spare();
        self.turn(2, Course::Running);
        self.turn(1, Course::Ending);
        self.turn(1, Course::Ending);
        assert_eq!(self.site.waiting(), 0);
        let rows = self.site.rows();
        assert!(rows.iter().any(|row| !row.stored), "records have left the database");
        let tally = self.oracle.compare(&self.site, &rows);
        assert_eq!((tally.logons, tally.logoffs), (4, 4));
        assert_eq!(tally.key_changes, 1);
        self.deaths
    }
}

#[test]
fn a_death_at_any_change_of_the_disk_loses_nothing_and_doubles_nothing() {
    let mut story = Story::new(NamesSetting::Plain);
    let before = story.site.fate.changes();
    story.run();
    let changes = story.site.fate.changes() - before;
    let orderly = story.finish();
    assert_eq!(orderly, 2);
    assert!(changes > 100, "{changes}");
    // A release build tries them all; a debug build, which takes its time, every third.
    let every = if cfg!(debug_assertions) { 3 } else { 1 };
    let mut tried = 0;
    for at in (0..changes).filter(|at| at % every == 0) {
        let names = if at % 2 == 0 { NamesSetting::Plain } else { NamesSetting::Pseudonym };
        let mut story = Story::new(names);
        story.site.fate.die_after(at);
        story.run();
        let deaths = story.finish();
        assert_eq!(deaths, orderly + 1, "at change {at} of {changes}");
        tried += 1;
    }
    println!("a death at {tried} of {changes} changes of the disk");
}
