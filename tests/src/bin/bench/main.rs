//! The benchmark (09, Speed): the real daemon, echoes of the same service stack and other programs that count seats, each in
//! processes of its own, under the same load in interleaved rounds; medians are shown, and each row of the specification
//! beside what it demands. It fails only where it cannot measure: figures of a busy machine are lower bounds.

mod children;
mod demands;
mod echo;
mod hostility;
mod journal;
mod load;
mod machine;
mod measure;
mod qualities;
mod renewer;
mod report;
mod rivals;
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
    /// Live leases in the large case: those that are renewed, and across which the daemon is killed and started again.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(100..=1_000_000))]
    leases: u32,
    /// One short round of everything, to see that it runs: 0.3 s each, 10,000 leases.
    #[arg(long, conflicts_with_all = ["seconds", "rounds", "leases"])]
    smoke: bool,
    /// Unary calls in flight on one connection, at most.
    #[arg(long, default_value_t = 8, value_parser = share)]
    share: usize,
    /// Measure only what has one of these in its name, such as `streams,Redis`: lines of the table of rates, `seats`,
    /// `half`, `file`, `overload`, `leases`, `renewals`, `restart`, `hostility`.
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
    /// The echo.
    #[command(hide = true)]
    Echo {
        /// The folder of its journal, where it keeps one.
        #[arg(long)]
        journal: Option<PathBuf>,
    },
    /// Someone who renews.
    #[command(hide = true)]
    Renew {
        /// Where the daemon is.
        address: String,
        /// How many leases, by a stream.
        leases: u32,
        /// How long.
        seconds: f64,
    },
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
        Some(Child::Echo { journal }) => return runtime.block_on(echo::serve(journal.as_deref())),
        Some(Child::Renew { address, leases, seconds }) => {
            return runtime.block_on(renewer::run(address, *leases, *seconds));
        }
        None => {}
    }
    let (seconds, rounds, leases) =
        if arguments.smoke { (0.3, 1, 10_000) } else { (arguments.seconds, arguments.rounds, arguments.leases) };
    let plan = measure::Plan {
        seconds,
        rounds,
        leases,
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
