//! A bounded part of the simulation, so that every run of the tests plays some of it: seeds that once broke a law, and a
//! few more. The whole is `cargo run --release -p leasehold-tests --bin simulate`.

#[path = "../src/bin/simulate/simulation/mod.rs"]
#[expect(dead_code, reason = "shrinking and counting are the program's")]
mod simulation;

use simulation::{Steps, play_safely};

/// Seeds that broke a law once, one a line: the seed, its steps, and after `#` what it found.
const KEPT: &str = include_str!("simulation.seeds");

fn holds(seed: u64, steps: u64) {
    if let Some((step, how)) = play_safely(seed, &Steps::First(steps), false).violation {
        panic!(
            "seed {seed} breaks a law at step {step}: {how}\n\
             cargo run --release -p leasehold-tests --bin simulate -- --seed {seed} --steps {steps}"
        );
    }
}

#[test]
fn seeds_that_once_broke_a_law_break_none() {
    let lines = KEPT.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    let mut played = 0;
    for line in lines.filter(|line| !line.is_empty()) {
        let mut numbers = line.split_whitespace().map(|number| number.parse::<u64>().unwrap());
        let (Some(seed), Some(steps), None) = (numbers.next(), numbers.next(), numbers.next()) else {
            panic!("`{line}` is not `SEED STEPS`");
        };
        holds(seed, steps);
        played += 1;
    }
    assert!(played > 0);
}

#[test]
fn more_seeds_break_none() {
    for seed in 1_000_000..1_000_040 {
        holds(seed, 500);
    }
}

#[test]
fn the_same_seed_is_the_same_world() {
    let (one, other) = (play_safely(7, &Steps::First(300), true), play_safely(7, &Steps::First(300), true));
    assert_eq!(one.story, other.story);
}
