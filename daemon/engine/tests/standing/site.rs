//! A site under enforcement, driven by steps in words.

use leasehold_engine::{
    command::{Act, CheckedIn, Command, HostFinding},
    row::{Change, Row},
    standing::{Stage, Verdict},
    time::{HOUR_MS, WallTime},
};
use leasehold_keys::{
    activation::{Activation, FileKind, Grant, Level, LicenseId},
    digest::Sha256,
};

use crate::support::{Site, administrator, files, label};

pub(crate) const BEGIN: &str = "2020-05-01";

/// A time of a story: a date, with a time of day that may have milliseconds.
pub(crate) fn time(text: &str) -> WallTime {
    let (date, clock) = text.split_once('T').unwrap_or((text, "00:00:00"));
    let (clock, ms) = clock.split_once('.').unwrap_or((clock, "0"));
    let whole: WallTime = format!("{date}T{clock}Z").parse().unwrap_or_else(|fault| panic!("`{text}`: {fault}"));
    whole.plus_ms(ms.parse().unwrap())
}

/// A length of a story: hours, minutes and seconds, with milliseconds.
fn length(text: &str) -> u64 {
    let (clock, ms) = text.split_once('.').unwrap_or((text, "0"));
    let mut parts = clock.split(':').map(|part| part.parse::<u64>().unwrap());
    let (hours, minutes, seconds) = (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap());
    ((hours * 60 + minutes) * 60 + seconds) * 1_000 + ms.parse::<u64>().unwrap()
}

/// What a base file says of enforcement.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    pub(crate) cloud: bool,
    pub(crate) ramp: Option<WallTime>,
    pub(crate) grace_days: Option<u32>,
}

/// A base file of one of two products; each is in effect from 2015 to 2100.
pub(crate) fn base_file(number: u8, sequence: u32, terms: Terms, grants: &[Grant]) -> Activation {
    let mut grants = grants.to_vec();
    if terms.cloud {
        grants.push(files::grant("VIRTUAL_CLOUD 1"));
    }
    let begin = time("2015-01-01");
    Activation {
        license_id: files::license(number),
        sequence,
        product: label(if number == 1 { "CIC" } else { "IVR" }),
        kind: FileKind::Base,
        level: Level::Production,
        issued: begin,
        not_before: begin,
        not_after: WallTime::PERPETUAL_END,
        ramp: terms.ramp,
        grace_days: terms.grace_days,
        check_in_endpoint: Some("https://licensor.example/v1/check-in".into()),
        ..files::base(&grants)
    }
}

pub(crate) fn verdict(site: &mut Site, number: u8, at: WallTime, verdict: Verdict) -> bool {
    let license_id = files::license(number);
    let counter = site.engine.standing_row(license_id).map_or(0, |row| row.counter) + 1;
    let answer = Sha256::of(format!("{number} {counter}").as_bytes());
    let previous = site.engine.standing_row(license_id).and_then(|row| row.answer).map(|last| last.sha256);
    let told = CheckedIn { license_id, counter, previous, answer, at, verdict, message: String::new() };
    site.run(Command::CheckedIn(told)).is_ok()
}

/// A site of a story.
pub(crate) struct Story {
    pub(crate) site: Site,
    sequences: [u32; 2],
    pub(crate) grants: Vec<Grant>,
}

impl Story {
    pub(crate) fn new() -> Self {
        Self::granting(&["CLIENT 10", "SESSION 10"])
    }

    pub(crate) fn granting(grants: &[&str]) -> Self {
        let mut site = Site::empty(leasehold_engine::Limits::default());
        site.wall_ms = time(BEGIN).as_ms();
        Self { site, sequences: [0; 2], grants: grants.iter().map(|text| files::grant(text)).collect() }
    }

    pub(crate) fn stage(&self) -> Stage {
        self.site.engine.standing(self.site.now()).stage
    }

    pub(crate) fn load(&mut self, number: u8, terms: Terms) {
        let sequence = &mut self.sequences[usize::from(number) - 1];
        *sequence += 1;
        let file = base_file(number, *sequence, terms, &self.grants);
        let verdicts = self.site.drop_file(&format!("base{number}.i3lic"), &file, HostFinding::Primary);
        let own = verdicts.iter().find(|verdict| verdict.name.starts_with(&format!("base{number}")));
        assert!(own.is_some_and(|own| own.verdict.is_ok()), "{verdicts:?}");
    }

    /// Time passes with a look every hour, and at the end.
    pub(crate) fn run(&mut self, mut ms: u64) {
        let hour = HOUR_MS.unsigned_abs();
        while ms > 0 {
            // Looks fall on full hours of the date, as a daemon's fall on what comes with them.
            let to_hour = hour - u64::try_from(self.site.now().confirmed().as_ms().rem_euclid(HOUR_MS)).unwrap();
            let due =
                self.site.engine.next_wakeup(self.site.now()).map(|at| at.as_ms().saturating_sub(self.site.lease_ms));
            // What the engine asks for at once or within the minute is its own business; steps of stages are what counts.
            let ahead = self.site.engine.standing_ahead(self.site.now(), self.site.now().confirmed().plus_ms(HOUR_MS));
            let to_stage = ahead
                .first()
                .map(|ahead| u64::try_from(ahead.at.as_ms() - self.site.now().confirmed().as_ms()).unwrap());
            assert!(due.is_none_or(|due| due <= 60_000), "the next tick is at most a minute away");
            let step = ms.min(to_hour).min(to_stage.filter(|to| *to > 0).unwrap_or(hour));
            self.site.sleep(step);
            ms -= step;
            self.settle();
        }
    }

    /// Ticks until nothing is to be done at once.
    pub(crate) fn settle(&mut self) {
        for _ in 0..10_000 {
            self.site.run(Command::Tick).unwrap();
            let now = self.site.now();
            if self.site.engine.next_wakeup(now).is_none_or(|at| at > now.lease) {
                return;
            }
        }
        panic!("ticks without end");
    }

    pub(crate) fn until(&mut self, at: WallTime) {
        let ms = at.as_ms() - self.site.now().confirmed().as_ms();
        self.run(u64::try_from(ms).unwrap_or_else(|_| panic!("{at} is past")));
    }

    /// The standing is gone from the store.
    pub(crate) fn lose(&mut self) {
        for row in self.site.engine.lasting_rows() {
            if matches!(row, Row::Standing(_)) {
                self.site.changes.push(Change { before: Some(row), after: None });
            }
        }
        self.site.restart();
    }

    pub(crate) fn jump(&mut self, to: WallTime) {
        self.site.unconfirmed_ms += u64::try_from(to.as_ms() - self.site.wall_ms).unwrap();
        self.site.wall_ms = to.as_ms();
        self.site.restart();
    }

    pub(crate) fn lower(&mut self, to: WallTime) {
        assert_eq!(self.site.unconfirmed_ms, 0);
        self.site.wall_ms = to.as_ms();
        self.settle();
    }

    pub(crate) fn unload(&mut self, license: LicenseId) {
        let act = Act::Unload { license, reason: "a test".into() };
        self.site.run(Command::Administer { by: administrator(), act }).unwrap();
        self.settle();
    }

    /// One step in words.
    pub(crate) fn step(&mut self, text: &str) {
        let (verb, rest) = text.split_once(' ').unwrap_or((text, ""));
        if let Some(stage) = verb.strip_prefix('=') {
            assert_eq!(self.stage().number().to_string(), stage, "the stage at {}", self.site.now().confirmed());
            return;
        }
        let (verb, number) = verb.strip_suffix('2').map_or((verb, 1), |verb| (verb, 2));
        let now = self.site.now().confirmed();
        match verb {
            "file" => {
                let (ramp, grace) = rest.split_once(' ').unwrap();
                let given = |text: &str| (text != "-").then(|| text.to_owned());
                let terms = Terms {
                    cloud: true,
                    ramp: given(ramp).map(|text| time(&text)),
                    grace_days: given(grace).map(|text| text.parse().unwrap()),
                };
                self.load(number, terms);
            }
            "plain" => self.load(number, Terms { cloud: false, ramp: None, grace_days: None }),
            "at" => self.until(time(rest)),
            "run" => self.run(length(rest)),
            "off" => {
                self.site.wall_ms = time(rest).as_ms();
                self.site.restart();
            }
            "restart" => self.site.restart(),
            "lose" => self.lose(),
            "jump" => self.jump(time(rest)),
            "confirm" => {
                self.site.unconfirmed_ms = 0;
                self.settle();
            }
            "withdraw" => {
                self.site.wall_ms = now.as_ms();
                self.site.unconfirmed_ms = 0;
                self.settle();
            }
            "lower" => self.lower(time(rest)),
            "good" => {
                let at = if rest.is_empty() { now } else { time(rest) };
                assert!(verdict(&mut self.site, number, at, Verdict::Good));
            }
            "duplicate" => assert!(verdict(&mut self.site, number, now, Verdict::Duplicate)),
            "revoked" => assert!(verdict(&mut self.site, number, now, Verdict::Revoked { from: time(rest) })),
            "unload" => self.unload(files::license(number)),
            other => panic!("there is no step `{other}`"),
        }
    }

    pub(crate) fn steps(&mut self, text: &str) {
        for step in text.split(';') {
            self.step(step.trim());
        }
    }
}
