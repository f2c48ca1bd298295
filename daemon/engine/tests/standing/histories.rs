//! Random histories of answers, restarts, clock steps and file changes, beside a naive reading of part 05 that shares nothing
//! with the engine: dates as whole milliseconds, grace periods counted one by one.

use leasehold_engine::{
    command::Command,
    standing::Verdict,
    time::{HOUR_MS, WallTime},
};
use proptest::{
    collection::vec,
    prelude::*,
    test_runner::{Config, TestRng, TestRunner},
};

use crate::{
    site::{Story, Terms, verdict},
    support::files::license,
};

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;

#[derive(Clone, Debug)]
enum Op {
    Run(i64),
    Restart,
    Off(i64),
    Jump(i64),
    Settle { confirm: bool },
    Lower(i64),
    Good { license: usize, older: i64 },
    Duplicate { license: usize },
    Revoked { license: usize, from: i64 },
    File { license: usize, cloud: bool, ramp: Option<i64>, grace: Option<u32> },
    Unload { license: usize },
    Lose,
    Undo,
}

/// One license on paper.
#[derive(Clone, Default)]
struct Paper {
    /// Its file's words, while it is in effect.
    file: Option<(Option<i64>, Option<u32>)>,
    good: Option<i64>,
    duplicate: bool,
    revoked: Option<i64>,
    /// Stage and last step down, once anything is stored.
    stored: Option<(u8, Option<i64>)>,
}

impl Paper {
    fn target(&self, now: i64) -> u8 {
        if self.revoked.is_some_and(|from| now >= from) {
            return 6;
        }
        let Some((Some(ramp), Some(grace))) = self.file else { return 1 };
        if now < ramp {
            return 1;
        }
        let mut end = match self.good {
            Some(good) if good > ramp => good,
            _ => ramp,
        };
        let mut stage = 1;
        while stage < 6 {
            end += i64::from(grace) * DAY;
            if now < end {
                return stage;
            }
            stage += 1;
        }
        6
    }

    fn look(&mut self, now: i64, lease: i64) {
        if self.file.is_none() {
            return;
        }
        let target = self.target(now);
        self.stored = Some(match self.stored {
            None if target == 1 => (1, None),
            None => (2, Some(lease)),
            Some((stage, down)) if target <= stage => (target, down),
            Some((stage, Some(down))) if lease - down < 12 * HOUR => (stage, Some(down)),
            Some((stage, _)) => (stage + 1, Some(lease)),
        });
    }

    fn stage(&self) -> u8 {
        if self.file.is_none() { 1 } else { self.stored.map_or(1, |(stage, _)| stage) }
    }
}

fn length() -> impl Strategy<Value = i64> {
    prop_oneof![
        Just(1),
        Just(999),
        Just(12 * HOUR),
        Just(12 * HOUR - 1),
        Just(DAY),
        Just(DAY - 1),
        1..HOUR,
        1..DAY,
        1..(20 * DAY),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let license = || 0..2_usize;
    let date = || -40 * DAY..60 * DAY;
    prop_oneof![
        8 => length().prop_map(Op::Run),
        2 => Just(Op::Restart),
        2 => (1..400 * DAY).prop_map(Op::Off),
        1 => (DAY..3_650 * DAY).prop_map(Op::Jump),
        2 => any::<bool>().prop_map(|confirm| Op::Settle { confirm }),
        1 => (1..500 * DAY).prop_map(Op::Lower),
        4 => (license(), prop_oneof![Just(0), 0..14 * DAY]).prop_map(|(license, older)| Op::Good { license, older }),
        1 => license().prop_map(|license| Op::Duplicate { license }),
        1 => (license(), date()).prop_map(|(license, from)| Op::Revoked { license, from }),
        3 => (license(), prop::bool::weighted(0.85), prop::option::weighted(0.9, -60..30_i64), prop::option::weighted(0.9, prop_oneof![Just(1), Just(7), 1..40_u32]))
            .prop_map(|(license, cloud, ramp, grace)| Op::File { license, cloud, ramp, grace }),
        1 => license().prop_map(|license| Op::Unload { license }),
        1 => Just(Op::Lose),
        1 => Just(Op::Undo),
    ]
}

struct Play {
    story: Story,
    papers: [Paper; 2],
    /// A file of the license was accepted once.
    known: [bool; 2],
    steps: u64,
}

impl Play {
    fn now(&self) -> (i64, i64) {
        (self.story.site.now().confirmed().as_ms(), i64::try_from(self.story.site.lease_ms).unwrap())
    }

    fn look(&mut self) {
        let (now, lease) = self.now();
        for paper in &mut self.papers {
            paper.look(now, lease);
        }
    }

    fn run(&mut self, mut ms: i64) {
        while ms > 0 {
            let step = ms.min(HOUR_MS);
            self.story.site.sleep(u64::try_from(step).unwrap());
            ms -= step;
            self.story.settle();
            self.look();
            self.compare();
        }
    }

    fn compare(&mut self) {
        self.steps += 1;
        let standing = self.story.site.engine.standing(self.story.site.now());
        let worst = self.papers.iter().map(Paper::stage).max().unwrap();
        assert_eq!(standing.stage.number(), worst, "at {}", self.story.site.now().confirmed());
        for (number, paper) in (1..).zip(&self.papers) {
            let found = standing.licenses.iter().find(|it| it.license == license(number));
            assert_eq!(found.is_some(), paper.file.is_some());
            if let Some(found) = found {
                let (now, _) = self.now();
                assert_eq!((found.stage.number(), found.target.number()), (paper.stage(), paper.target(now)));
            }
        }
    }

    fn op(&mut self, op: &Op) {
        let site = &mut self.story.site;
        let confirmed = site.now().confirmed().as_ms();
        match op {
            Op::Run(ms) => return self.run(*ms),
            Op::Restart => site.restart(),
            Op::Off(ms) => {
                site.wall_ms += ms;
                site.restart();
            }
            Op::Jump(ms) => {
                site.wall_ms += ms;
                site.unconfirmed_ms += u64::try_from(*ms).unwrap();
                site.restart();
            }
            Op::Settle { confirm } => {
                if !confirm {
                    site.wall_ms = confirmed;
                }
                site.unconfirmed_ms = 0;
                self.story.settle();
            }
            Op::Lower(ms) => {
                site.wall_ms = confirmed - ms;
                site.unconfirmed_ms = 0;
                self.story.settle();
            }
            Op::Good { license: number, older } => {
                self.look();
                let at = confirmed - older;
                let taken = verdict(&mut self.story.site, number_of(*number), WallTime::from_ms(at), Verdict::Good);
                assert_eq!(taken, self.known[*number]);
                let paper = &mut self.papers[*number];
                if taken {
                    // Stored before it is judged by the answer.
                    begin_on_paper(paper, confirmed, self.story.site.lease_ms);
                    paper.good = match paper.good {
                        Some(good) if good <= confirmed && good > at => Some(good),
                        _ => Some(at),
                    };
                    (paper.duplicate, paper.revoked) = (false, None);
                }
            }
            Op::Duplicate { license: number } => {
                self.look();
                let taken =
                    verdict(&mut self.story.site, number_of(*number), WallTime::from_ms(confirmed), Verdict::Duplicate);
                assert_eq!(taken, self.known[*number]);
                if taken {
                    begin_on_paper(&mut self.papers[*number], confirmed, self.story.site.lease_ms);
                    self.papers[*number].duplicate = true;
                }
            }
            Op::Revoked { license: number, from } => {
                self.look();
                let from = confirmed + from;
                let told = Verdict::Revoked { from: WallTime::from_ms(from) };
                let taken = verdict(&mut self.story.site, number_of(*number), WallTime::from_ms(confirmed), told);
                assert_eq!(taken, self.known[*number]);
                if taken {
                    begin_on_paper(&mut self.papers[*number], confirmed, self.story.site.lease_ms);
                    let paper = &mut self.papers[*number];
                    paper.revoked = Some(from);
                    if confirmed < from {
                        // It is as good as any answer until then.
                        paper.good = Some(confirmed);
                    }
                }
            }
            Op::File { license: number, cloud, ramp, grace } => {
                self.look();
                let ramp = ramp.map(|days| (confirmed.div_euclid(DAY) + days) * DAY);
                let terms = Terms { cloud: *cloud, ramp: ramp.map(WallTime::from_ms), grace_days: *grace };
                self.story.load(number_of(*number), terms);
                self.known[*number] = true;
                self.papers[*number].file = cloud.then_some((ramp, *grace));
            }
            Op::Unload { license: number } => {
                self.look();
                if self.known[*number] {
                    self.story.unload(license(number_of(*number)));
                    self.papers[*number].file = None;
                }
            }
            Op::Lose => {
                self.story.lose();
                for paper in &mut self.papers {
                    *paper = Paper { file: paper.file, ..Paper::default() };
                }
            }
            Op::Undo => {
                // Whatever a tick does is taken back, and done again.
                site.sleep(1);
                let (_, outcome) = site.engine.apply(site.now(), Command::Tick);
                site.engine.undo(outcome.changes);
                assert_eq!(site.engine.discrepancies(), [""; 0]);
                self.story.settle();
            }
        }
        self.story.settle();
        self.look();
        self.compare();
    }
}

fn number_of(license: usize) -> u8 {
    u8::try_from(license).unwrap() + 1
}

/// An answer to a license of which nothing is stored begins its row, though its file is not in effect.
fn begin_on_paper(paper: &mut Paper, now: i64, lease: u64) {
    if paper.stored.is_none() {
        let file = paper.file.take();
        let unheard = Paper { file, ..Paper::default() };
        paper.stored =
            Some(if unheard.target(now) == 1 { (1, None) } else { (2, Some(i64::try_from(lease).unwrap())) });
        paper.file = file;
    }
}

#[test]
fn random_histories_are_as_part_05_reads() {
    let times = std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(1_u32).max(1);
    let config = Config {
        cases: 150 * times,
        failure_persistence: None,
        max_shrink_iters: 500,
        max_shrink_time: 20_000,
        ..Config::default()
    };
    let mut seed = [0x35; 32];
    if let Some(number) = std::env::var("LEASEHOLD_SEED").ok().and_then(|text| text.parse::<u64>().ok()) {
        seed[..8].copy_from_slice(&number.to_le_bytes());
    }
    let algorithm = config.rng_algorithm;
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(algorithm, &seed));
    let compared = std::cell::Cell::new([0_u64; 7]);
    runner
        .run(&vec(op(), 1..40), |ops| {
            let mut play = Play { story: Story::new(), papers: Default::default(), known: [false; 2], steps: 0 };
            let first = Op::File { license: 0, cloud: true, ramp: Some(10), grace: Some(7) };
            for op in std::iter::once(&first).chain(&ops) {
                play.op(op);
                let mut counts = compared.get();
                counts[usize::from(play.story.stage().number())] += 1;
                counts[0] += std::mem::take(&mut play.steps);
                compared.set(counts);
            }
            play.story.site.check();
            Ok(())
        })
        .unwrap_or_else(|fault| panic!("{fault}"));
    let counts = compared.get();
    println!("{} looks compared; after steps the site was at stages 1 to 6 so often: {:?}", counts[0], &counts[1..]);
    assert!(counts[1..].iter().all(|count| *count > 20), "some stage was hardly seen: {counts:?}");
}
