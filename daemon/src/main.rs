//! The program `leaseholdd`: reads its command line and configuration, and does what they say.

mod doors;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Parser, Subcommand};
use leaseholdd::{
    clock::Clock,
    config::{Config, Log, LogFormat},
    dev,
    exit::Exit,
    identity::facts_file,
    log, run,
};

use doors::Doors;

/// The Leasehold license server.
#[derive(Parser)]
#[command(version, about, after_help = AFTER_HELP)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "Exit codes: 0 done, 1 failed, 2 command line, 3 configuration, 4 state directory or database, \
                          5 address in use, 6 a sync failed (start again), 7 stopping took too long.";

#[derive(Subcommand)]
enum Command {
    /// Serve leases until told to stop (SIGTERM); SIGHUP reloads what can be reloaded.
    Run {
        #[command(flatten)]
        config: ConfigArgument,
        #[command(flatten)]
        doors: Doors,
    },
    /// Check the configuration and report every fault.
    CheckConfig {
        #[command(flatten)]
        config: ConfigArgument,
    },
    /// Collect the facts of this host for the host ID; run as root before the daemon starts.
    CollectHostFacts {
        /// Where to leave them, for the daemon's user alone.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Try it: a licensor, a license and a sample site on this machine, in a folder that is removed at the end.
    Dev(dev::Options),
}

#[derive(clap::Args)]
struct ConfigArgument {
    /// The configuration file [default: /etc/leasehold/leaseholdd.toml, where it exists].
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

fn main() -> ExitCode {
    // clap's own code for a command line that is not understood is 2: Exit::Usage.
    let done = match Arguments::parse().command {
        Command::Run { config, doors } => serve(config.config, &doors),
        Command::CheckConfig { config } => check(config.config),
        Command::CollectHostFacts { out } => collect(&out),
        Command::Dev(options) => try_it(&options),
    };
    done.into()
}

fn check(file: Option<PathBuf>) -> Exit {
    match Config::load(file.as_deref()).and_then(|config| config.check_machine()) {
        Ok(()) => {
            println!("The configuration is good.");
            Exit::Done
        }
        Err(faults) => {
            eprintln!("{faults}");
            Exit::Configuration
        }
    }
}

fn collect(out: &Path) -> Exit {
    match facts_file::collect_to(out) {
        Ok(facts) => {
            let found = [
                ("platform", facts.platform.is_some()),
                ("system", facts.system.is_some()),
                ("disk", facts.disk.is_some()),
                ("network", !facts.network.is_empty()),
            ];
            let words: Vec<_> = found
                .iter()
                .map(|(name, there)| format!("{name} {}", if *there { "found" } else { "missing" }))
                .collect();
            println!("Host facts in {}: {}.", out.display(), words.join(", "));
            Exit::Done
        }
        Err(fault) => {
            eprintln!("{fault}");
            Exit::Failed
        }
    }
}

fn try_it(options: &dev::Options) -> Exit {
    let log = Log { format: LogFormat::Text, filter: options.log_filter().to_owned() };
    if let Err(fault) = log::start(&log) {
        eprintln!("the log cannot be started: {fault}");
        return Exit::Failed;
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(fault) => {
            eprintln!("the system gives no threads: {fault}");
            return Exit::Failed;
        }
    };
    let exit = runtime.block_on(dev::run(options, Clock::system())).unwrap_or_else(|fault| {
        eprintln!("{fault}");
        fault.exit()
    });
    runtime.shutdown_background();
    exit
}

fn serve(file: Option<PathBuf>, doors: &Doors) -> Exit {
    let config = match Config::load(file.as_deref()) {
        Ok(config) => config,
        Err(faults) => {
            eprintln!("{faults}");
            return Exit::Configuration;
        }
    };
    let filter = match log::start(&config.log) {
        Ok(filter) => filter,
        Err(fault) => {
            eprintln!("the log cannot be started: {fault}");
            return Exit::Failed;
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(fault) => {
            eprintln!("the system gives no threads: {fault}");
            return Exit::Failed;
        }
    };
    let exit = runtime.block_on(run::run(config, file, doors.clock(), doors.machine(), filter));
    // What still blocks is not waited for: everything acknowledged is durable.
    runtime.shutdown_background();
    exit
}
