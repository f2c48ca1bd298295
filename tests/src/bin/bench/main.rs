//! The benchmark (09, Speed): the real daemon and an empty echo of the same service stack, each in a process of its own,
//! under the same load in interleaved rounds; medians are shown. It measures and judges nothing: figures of a busy machine
//! are lower bounds.

mod children;
mod echo;
mod load;
mod machine;
mod measure;
mod report;
mod site;

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

/// Measures the daemon on this machine.
#[derive(Parser)]
struct Arguments {
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 4.0, value_parser = seconds)]
    seconds: f64,
    /// Rounds; each measures everything once.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=99))]
    rounds: u32,
    /// Live leases across which the daemon is killed and started again.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..=site::SEATS as i64))]
    leases: u32,
    /// Unary calls in flight on one connection, at most.
    #[arg(long, default_value_t = 8, value_parser = share)]
    share: usize,
    /// Measure only what has this in its name, such as `streams`.
    #[arg(long, default_value = "")]
    only: String,
    /// Where the daemon's state is kept meanwhile: the disk that is measured [default: the system's temporary folder].
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Print one JSON document instead of tables.
    #[arg(long)]
    json: bool,
    #[command(subcommand)]
    child: Option<Child>,
}

/// What this program runs as a child of itself, so that one build serves all.
#[derive(Subcommand)]
enum Child {
    /// The daemon.
    #[command(hide = true)]
    Daemon {
        /// Its configuration.
        config: PathBuf,
    },
    /// The empty echo.
    #[command(hide = true)]
    Echo,
}

fn share(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(share) if (1..=1_000).contains(&share) => Ok(share),
        _ => Err("1 to 1,000 calls are allowed".to_owned()),
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.1..=600.0).contains(&seconds) => Ok(seconds),
        _ => Err("0.1 to 600 seconds are allowed".to_owned()),
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(fault) => {
            eprintln!("the system gives no threads: {fault}");
            return ExitCode::FAILURE;
        }
    };
    match &arguments.child {
        Some(Child::Daemon { config }) => return children::daemon(&runtime, config),
        Some(Child::Echo) => return runtime.block_on(echo::serve()),
        None => {}
    }
    let plan = measure::Plan {
        seconds: arguments.seconds,
        rounds: arguments.rounds,
        leases: arguments.leases,
        share: arguments.share,
        only: arguments.only.clone(),
        dir: arguments.dir.clone().unwrap_or_else(std::env::temp_dir),
    };
    match runtime.block_on(measure::everything(&plan)) {
        Ok(results) => {
            let text = if arguments.json { report::json(&results) } else { report::tables(&results) };
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(fault) => {
            eprintln!("the benchmark ended: {fault}");
            ExitCode::FAILURE
        }
    }
}
