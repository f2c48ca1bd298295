//! Plays seeded worlds against the real engine and core, and says what was broken: see `simulation/mod.rs`.

use std::{process::ExitCode, time::Duration};

use clap::Parser;
mod simulation;

use simulation::{
    Played, Steps, play_safely, shrink,
    tally::{Kind, Tally},
};

/// Plays seeded worlds. Exit code 1 where a law was broken.
#[derive(Parser)]
#[command(max_term_width = 100)]
struct Options {
    /// How many seeds.
    #[arg(long, default_value_t = 1_000)]
    seeds: u64,
    /// Steps of each seed.
    #[arg(long, default_value_t = 1_000)]
    steps: u64,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// Replay this one seed, and tell the last of what happened.
    #[arg(long)]
    seed: Option<u64>,
    /// With --seed: only these steps, separated by commas, as a shrunk seed names them.
    #[arg(long, value_delimiter = ',')]
    only: Vec<u64>,
    /// With --seed: tell so many of the last lines.
    #[arg(long, default_value_t = 60)]
    lines: usize,
    /// Stop at the first seed that breaks a law, and do not shrink it.
    #[arg(long)]
    first: bool,
}

/// The processor time of this process so far.
#[expect(clippy::disallowed_methods, reason = "how fast it goes is measured, and nothing depends on it")]
fn busy() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

fn main() -> ExitCode {
    let options = Options::parse();
    if let Some(seed) = options.seed {
        return replay(seed, &options);
    }
    let (began, mut tally, mut broken) = (busy(), Tally::default(), 0_u64);
    for seed in options.from..options.from.saturating_add(options.seeds) {
        let Played { tally: one, violation, .. } = play_safely(seed, &Steps::First(options.steps), false);
        tally.add(&one);
        let Some((step, how)) = violation else { continue };
        broken += 1;
        println!("seed {seed} breaks a law at step {step} (it is the {} played)\n  {how}", nth(tally.seeds));
        if options.first {
            break;
        }
        if broken <= 5 {
            let (kept, how) = shrink(seed, step, &how);
            let only: Vec<String> = kept.iter().map(u64::to_string).collect();
            println!("  shrunk to {} steps: {how}\n  replay: --seed {seed} --only {}", kept.len(), only.join(","));
        }
    }
    print(&tally, broken, busy() - began);
    if broken > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn nth(number: u64) -> String {
    format!("{number}.")
}

fn replay(seed: u64, options: &Options) -> ExitCode {
    let steps = if options.only.is_empty() { Steps::First(options.steps) } else { Steps::These(options.only.clone()) };
    let Played { violation, story, .. } = play_safely(seed, &steps, true);
    for line in story.iter().skip(story.len().saturating_sub(options.lines)) {
        println!("{line}");
    }
    match violation {
        Some((step, how)) => {
            println!("seed {seed} breaks a law at step {step}\n  {how}");
            ExitCode::FAILURE
        }
        None => {
            println!("seed {seed} breaks no law");
            ExitCode::SUCCESS
        }
    }
}

fn print(tally: &Tally, broken: u64, took: Duration) {
    let seconds = took.as_secs_f64();
    let Tally { seeds, steps, granted, refused, judged, commits, recounts, .. } = tally;
    println!(
        "{seeds} seeds, {steps} steps, {broken} of them break a law; {seconds:.1} s of one core, {:.0} steps/s",
        *steps as f64 / seconds
    );
    println!(
        "{granted} leases granted, {refused} refusals ({judged} judged strictly), {commits} commits, {recounts} full recounts"
    );
    println!("{:<44} {:>12} {:>10}", "fault", "times", "of seeds");
    for kind in Kind::ALL {
        let at = *kind as usize;
        let share = 100.0 * tally.in_seeds[at] as f64 / (*seeds).max(1) as f64;
        println!("{:<44} {:>12} {:>9.1}%", kind.name(), tally.faults[at], share);
    }
}
