//! What is measured, in which order, and what is kept of it.

use std::path::PathBuf;

use leaseholdd::clock::stopwatch_us;
use serde::Serialize;

use crate::{
    children::{self, Process},
    load::{self, Attached, Fault, Timings, Unary, Window},
    machine::Machine,
    site::{KEY, Site},
};

/// What to do.
pub(crate) struct Plan {
    pub(crate) seconds: f64,
    pub(crate) rounds: u32,
    pub(crate) leases: u32,
    pub(crate) share: usize,
    pub(crate) only: String,
    pub(crate) dir: PathBuf,
}

/// Who is asked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Who {
    Echo,
    Daemon,
}

/// How it is asked.
#[derive(Clone, Copy)]
enum How {
    Unary,
    Streams(usize),
}

/// One line of the table.
struct Scenario {
    name: &'static str,
    who: Who,
    how: How,
    in_flight: usize,
}

const fn line(name: &'static str, who: Who, how: How, in_flight: usize) -> Scenario {
    Scenario { name, who, how, in_flight }
}

/// Everything that is measured. Each of the daemon's lines stands beside the same of the echo.
const SCENARIOS: [Scenario; 10] = [
    line("unary, empty echo", Who::Echo, How::Unary, 1),
    line("unary, acquire + release", Who::Daemon, How::Unary, 1),
    line("unary, empty echo", Who::Echo, How::Unary, 16),
    line("unary, acquire + release", Who::Daemon, How::Unary, 16),
    line("unary, empty echo", Who::Echo, How::Unary, 64),
    line("unary, acquire + release", Who::Daemon, How::Unary, 64),
    line("8 streams, echo", Who::Echo, How::Streams(8), 256),
    line("8 streams, acquire + release", Who::Daemon, How::Streams(8), 256),
    line("8 streams, echo", Who::Echo, How::Streams(8), 2_048),
    line("8 streams, acquire + release", Who::Daemon, How::Streams(8), 2_048),
];

/// Figures of one line; medians over the rounds.
#[derive(Debug, Serialize)]
pub(crate) struct Figures {
    pub(crate) name: &'static str,
    pub(crate) in_flight: usize,
    /// An acquire is one operation, and a release is one.
    pub(crate) operations_per_s: f64,
    /// The slowest and the fastest round.
    pub(crate) from_per_s: f64,
    pub(crate) to_per_s: f64,
    pub p50_us: f64,
    pub p99_us: f64,
    /// Processor time an operation.
    pub(crate) server_us: f64,
    pub(crate) generator_us: f64,
    /// Beside the line before it: the same stack with nothing behind it.
    pub(crate) of_echo: Option<f64>,
}

/// A restart with live leases.
#[derive(Debug, Serialize)]
pub(crate) struct Restart {
    pub(crate) leases: u64,
    /// From the start of the process to the first grant, after SIGKILL; the median.
    pub(crate) until_granting_ms: f64,
    /// Resident memory of the daemon after the restart.
    pub(crate) resident_mib: f64,
}

/// Everything that was found.
#[derive(Debug, Serialize)]
pub(crate) struct Results {
    pub(crate) machine: Machine,
    pub(crate) seconds: f64,
    pub(crate) rounds: u32,
    /// Unary calls in flight on one connection, at most.
    pub(crate) share: usize,
    pub(crate) figures: Vec<Figures>,
    pub(crate) restart: Restart,
}

/// The value below which `percent` of all lie. Sorts.
pub(crate) fn percentile(values: &mut [u32], percent: usize) -> u32 {
    values.sort_unstable();
    let at = (values.len() * percent / 100).min(values.len().saturating_sub(1));
    values.get(at).copied().unwrap_or(0)
}

fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

/// One round of one line.
struct Round {
    per_s: f64,
    p50_us: f64,
    p99_us: f64,
    server_us: f64,
    generator_us: f64,
}

/// Measures everything.
pub(crate) async fn everything(plan: &Plan) -> Result<Results, Fault> {
    let mut site = Site::new(&plan.dir).await?;
    let machine = Machine::this(site.dir())?;
    let (echo, echo_at) = Process::echo()?;
    let chosen: Vec<&Scenario> = SCENARIOS.iter().filter(|scenario| scenario.name.contains(&plan.only)).collect();
    let mut rounds: Vec<Vec<Round>> = chosen.iter().map(|_| Vec::new()).collect();
    for number in 1..=plan.rounds {
        for (scenario, rounds) in chosen.iter().zip(&mut rounds) {
            let (process, address) = match scenario.who {
                Who::Echo => (&echo, echo_at.as_str()),
                Who::Daemon => (site.daemon()?, site.tcp.as_str()),
            };
            let round = round(scenario, process, address, plan).await?;
            eprintln!(
                "round {number} of {}: {} ({} in flight): {:.0}/s",
                plan.rounds, scenario.name, scenario.in_flight, round.per_s
            );
            rounds.push(round);
        }
    }
    let mut figures: Vec<Figures> = Vec::new();
    let mut echo = None;
    for (scenario, rounds) in chosen.iter().zip(&rounds) {
        let of = |what: fn(&Round) -> f64| rounds.iter().map(what).collect::<Vec<f64>>();
        let rates = of(|round| round.per_s);
        let operations_per_s = median(&rates);
        let of_echo = echo
            .filter(|(who, in_flight, _)| (*who, *in_flight) == (Who::Echo, scenario.in_flight))
            .filter(|_| scenario.who == Who::Daemon)
            .map(|(.., echo)| operations_per_s / echo);
        echo = Some((scenario.who, scenario.in_flight, operations_per_s));
        figures.push(Figures {
            name: scenario.name,
            in_flight: scenario.in_flight,
            operations_per_s,
            from_per_s: rates.iter().copied().fold(f64::INFINITY, f64::min),
            to_per_s: rates.iter().copied().fold(0.0, f64::max),
            p50_us: median(&of(|round| round.p50_us)),
            p99_us: median(&of(|round| round.p99_us)),
            server_us: median(&of(|round| round.server_us)),
            generator_us: median(&of(|round| round.generator_us)),
            of_echo,
        });
    }
    let restart = restart(&mut site, plan).await?;
    Ok(Results { machine, seconds: plan.seconds, rounds: plan.rounds, share: plan.share, figures, restart })
}

async fn round(scenario: &Scenario, process: &Process, address: &str, plan: &Plan) -> Result<Round, Fault> {
    const CONNECTING_US: u64 = 100_000;
    let lasts_us = (plan.seconds * 1e6) as u64;
    let from_us = stopwatch_us() + CONNECTING_US + lasts_us / 5;
    let window = Window { from_us, until_us: from_us + lasts_us };
    // Read when the window opens and when it closes, so that neither warming up nor the end counts.
    let times = async {
        let mut read = Vec::new();
        for at_us in [window.from_us, window.until_us] {
            tokio::time::sleep(std::time::Duration::from_micros(at_us.saturating_sub(stopwatch_us()))).await;
            read.push((process.processor_s(), children::own_processor_s()));
        }
        read
    };
    let work = async {
        match (scenario.how, scenario.who) {
            (How::Unary, Who::Echo) => load::unary(address, Unary::Empty, scenario.in_flight, plan.share, window).await,
            (How::Unary, Who::Daemon) => {
                load::unary(address, Unary::Lease(KEY), scenario.in_flight, plan.share, window).await
            }
            (How::Streams(streams), _) => load::streams(address, KEY, streams, scenario.in_flight, window).await,
        }
    };
    let (times, done) = tokio::join!(times, work);
    let Timings { mut each_us } = done?;
    let count = each_us.len() as f64;
    let spent = |of: fn(&(f64, f64)) -> f64| match times.as_slice() {
        [before, after] => (of(after) - of(before)) * 1e6 / count,
        _ => 0.0,
    };
    Ok(Round {
        per_s: count / plan.seconds,
        p50_us: f64::from(percentile(&mut each_us, 50)),
        p99_us: f64::from(percentile(&mut each_us, 99)),
        server_us: spent(|(server, _)| *server),
        generator_us: spent(|(_, generator)| *generator),
    })
}

async fn restart(site: &mut Site, plan: &Plan) -> Result<Restart, Fault> {
    Attached::new(&site.tcp, "filler").await?.fill(KEY, plan.leases).await?;
    let mut took = Vec::new();
    for _ in 0..plan.rounds {
        took.push(site.restart().await?);
        let leases = site.leases().await?;
        if leases < u64::from(plan.leases) {
            return Err(format!("of {} leases {leases} stand after a restart", plan.leases).into());
        }
        eprintln!("restart with {leases} leases: {:.0} ms", took.last().copied().unwrap_or(0.0));
    }
    Ok(Restart {
        leases: site.leases().await?,
        until_granting_ms: median(&took),
        resident_mib: site.daemon()?.resident_kib() as f64 / 1_024.0,
    })
}
