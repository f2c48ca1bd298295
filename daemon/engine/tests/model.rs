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
#[path = "model/wild.rs"]
mod wild;

use std::{cell::Cell, fmt::Write, sync::Once};

use proptest::{
    collection::vec,
    strategy::Strategy,
    test_runner::{Config, TestError, TestRng, TestRunner},
};

/// Cases beside the model, before the variable multiplies them.
const CASES: u32 = 240;
/// Cases without it.
const WILD_CASES: u32 = 120;

fn times(cases: u32) -> u32 {
    let times = std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(1_u32);
    cases.saturating_mul(times.max(1))
}

/// The same cases on every run, unless `LEASEHOLD_SEED` names others.
fn runner(cases: u32) -> TestRunner {
    let config = Config {
        cases,
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

thread_local! {
    /// This thread's panics are looked at by proptest, and by nobody else.
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Runs cases, and tells a failure as a story.
fn run<S: Strategy>(cases: u32, strategy: &S, play: impl Fn(S::Value), tell: impl Fn(&S::Value) -> String) {
    // Shrinking fails a thousand times on its way: only the last word is of interest.
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let told = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !QUIET.get() {
                told(panic);
            }
        }));
    });
    QUIET.set(true);
    let found = runner(cases).run(strategy, |case| {
        play(case);
        Ok(())
    });
    QUIET.set(false);
    match found {
        Ok(()) => {}
        Err(TestError::Fail(why, case)) => panic!("{why}\n{}", tell(&case)),
        Err(TestError::Abort(why)) => panic!("{why}"),
    }
}

#[test]
fn the_engine_does_what_the_specification_says() {
    let played = Cell::new(play::Tally::default());
    let cases = times(CASES);
    run(
        cases,
        &(steps::grants(), vec(steps::step(), 1..60)),
        |(grants, steps)| played.set(played.get().plus(play::play(&grants, &steps))),
        |(grants, steps)| {
            let mut story = String::new();
            for (pool, units) in steps::GRANTED.iter().zip(grants).filter(|(_, units)| **units != Some(1)) {
                let _ = writeln!(story, "    {pool:?}: {units:?}");
            }
            for step in steps {
                let _ = writeln!(story, "    Step::{step:?},");
            }
            story
        },
    );
    println!("{cases} cases: {:?}", played.get());
}

#[test]
fn what_must_hold_holds_whatever_is_done() {
    let played = Cell::new(0_u64);
    let cases = times(WILD_CASES);
    run(
        cases,
        &wild::steps(),
        |steps| played.set(played.get() + wild::play(&steps)),
        |steps| steps.iter().fold(String::new(), |story, step| story + &format!("    Wild::{step:?},\n")),
    );
    println!("{cases} cases: {} commands", played.get());
}
