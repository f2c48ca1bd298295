//! A naive model of the specification beside the real engine, under random commands; and, whatever the model says, the
//! promises that must hold after every command. `PROPTEST_CASES` multiplies the number of cases played: 1 by itself.
//!
//! The model knows the rules of 01 and 03 from their text. Where that leaves a choice, the model takes any answer that the
//! text allows, and says so.

#[path = "model/laws.rs"]
mod laws;
#[path = "model/play.rs"]
mod play;
#[path = "model/regressions.rs"]
mod regressions;
#[path = "model/site.rs"]
mod site;
#[path = "model/steps.rs"]
mod steps;
mod support;

use std::{cell::Cell, fmt::Write};

use proptest::{
    collection::vec,
    test_runner::{Config, TestError, TestRng, TestRunner},
};

/// Cases of each test, before the variable multiplies them.
const CASES: u32 = 300;

fn cases() -> u32 {
    let times = std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(1_u32);
    CASES.saturating_mul(times.max(1))
}

/// The same cases on every run, unless `LEASEHOLD_SEED` names others.
fn runner() -> TestRunner {
    let config = Config {
        cases: cases(),
        failure_persistence: None,
        max_shrink_iters: 2_000,
        max_shrink_time: 20_000,
        ..Config::default()
    };
    let mut seed = [0x4c; 32];
    if let Some(number) = std::env::var("LEASEHOLD_SEED").ok().and_then(|text| text.parse::<u64>().ok()) {
        seed[..8].copy_from_slice(&number.to_le_bytes());
    }
    let algorithm = config.rng_algorithm;
    TestRunner::new_with_rng(config, TestRng::from_seed(algorithm, &seed))
}

#[test]
fn the_engine_does_what_the_specification_says() {
    let steps = vec(steps::step(), 1..60);
    let played = Cell::new(play::Tally::default());
    // Shrinking fails a thousand times on its way: only the last word is of interest.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let found = runner().run(&(steps::grants(), steps), |(grants, steps)| {
        let tally = play::play(&grants, &steps);
        played.set(played.get().plus(tally));
        Ok(())
    });
    std::panic::set_hook(hook);
    match found {
        Ok(()) => println!("{} cases: {:?}", cases(), played.get()),
        Err(TestError::Fail(why, (grants, steps))) => {
            let mut story = String::new();
            for (pool, units) in steps::GRANTED.iter().zip(&grants).filter(|(_, units)| **units != Some(1)) {
                let _ = writeln!(story, "    {pool:?}: {units:?}");
            }
            for step in steps {
                let _ = writeln!(story, "    Step::{step:?},");
            }
            panic!("{why}\n{story}");
        }
        Err(TestError::Abort(why)) => panic!("{why}"),
    }
}
