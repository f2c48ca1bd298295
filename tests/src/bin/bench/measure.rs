//! What is measured, in which order, and what is kept of it: rates beside the echo and beside other programs. Everything
//! else is in `qualities.rs` and `hostility.rs`.

use std::path::PathBuf;

use leaseholdd::clock::stopwatch_us;
use serde::Serialize;

use crate::{
    children::{self, Process},
    hostility::{self, Attack},
    load::{self, Fault, Pools, Timings, Unary, Window},
    machine::Machine,
    qualities::{self, Qualities},
    rivals::{Rival, Rivals},
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    Echo,
    /// The echo that keeps a journal.
    Journal,
    Daemon,
    Rival(Rival),
}

/// How it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    Unary,
    Streams(usize),
}

/// One line of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) who: Who,
    pub(crate) how: How,
    pub(crate) pools: Pools,
    pub(crate) in_flight: usize,
}

const ONE: Pools = Pools::One(KEY);

const fn line(name: &'static str, who: Who, how: How, pools: Pools, in_flight: usize) -> Scenario {
    Scenario { name, who, how, pools, in_flight }
}

/// All rates that are measured.
pub(crate) const SCENARIOS: [Scenario; 20] = [
    line("unary, empty echo", Who::Echo, How::Unary, ONE, 1),
    line("unary, one pool", Who::Daemon, How::Unary, ONE, 1),
    line("unary, empty echo", Who::Echo, How::Unary, ONE, 64),
    line("unary, one pool", Who::Daemon, How::Unary, ONE, 64),
    line("unary, 1,000 pools", Who::Daemon, How::Unary, Pools::Many, 64),
    line("8 streams, echo", Who::Echo, How::Streams(8), ONE, 256),
    line("8 streams, journal echo", Who::Journal, How::Streams(8), ONE, 256),
    line("8 streams, one pool", Who::Daemon, How::Streams(8), ONE, 256),
    line("8 streams, 1,000 pools", Who::Daemon, How::Streams(8), Pools::Many, 256),
    line("8 streams, journal echo", Who::Journal, How::Streams(8), ONE, 2_048),
    line("8 streams, one pool", Who::Daemon, How::Streams(8), ONE, 2_048),
    line("Redis, one pool", Who::Rival(Rival::Redis), How::Unary, ONE, 64),
    line("Redis, 1,000 pools", Who::Rival(Rival::Redis), How::Unary, Pools::Many, 64),
    line("Redis, one pool", Who::Rival(Rival::Redis), How::Unary, ONE, 256),
    line("Redis, 1,000 pools", Who::Rival(Rival::Redis), How::Unary, Pools::Many, 256),
    line("PostgreSQL, one pool", Who::Rival(Rival::Postgres), How::Unary, ONE, 64),
    line("PostgreSQL, 1,000 pools", Who::Rival(Rival::Postgres), How::Unary, Pools::Many, 64),
    line("etcd, one pool", Who::Rival(Rival::Etcd), How::Unary, ONE, 64),
    line("etcd, 1,000 pools", Who::Rival(Rival::Etcd), How::Unary, Pools::Many, 64),
    line("etcd, one pool", Who::Rival(Rival::Etcd), How::Unary, ONE, 256),
];

/// Figures of one line; medians over the rounds.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Figures {
    #[serde(skip)]
    pub(crate) of: Scenario,
    pub(crate) name: &'static str,
    pub(crate) in_flight: usize,
    /// An acquire is one operation, and a release is one.
    pub(crate) operations_per_s: f64,
    /// The slowest and the fastest round.
    pub(crate) from_per_s: f64,
    pub(crate) to_per_s: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    /// Processor time an operation.
    pub(crate) server_us: f64,
    pub(crate) generator_us: f64,
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
    /// Rivals that are not installed, in words.
    pub(crate) missing: Vec<String>,
    pub(crate) qualities: Qualities,
    pub(crate) attacks: Vec<Attack>,
}

impl Results {
    /// The figures of a line, where it was measured.
    pub(crate) fn figures(&self, who: Who, how: How, pools: Pools, in_flight: usize) -> Option<&Figures> {
        let is = |of: &Scenario| of.who == who && of.how == how && of.pools == pools && of.in_flight == in_flight;
        self.figures.iter().find(|figures| is(&figures.of))
    }
}

/// The value below which `percent` of all lie. Sorts.
pub(crate) fn percentile(values: &mut [u32], percent: usize) -> u32 {
    values.sort_unstable();
    let at = (values.len() * percent / 100).min(values.len().saturating_sub(1));
    values.get(at).copied().unwrap_or(0)
}

pub(crate) fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

/// One round of one line.
#[derive(Clone, Copy)]
pub(crate) struct Round {
    pub(crate) per_s: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) longest_us: f64,
    pub(crate) server_us: f64,
    pub(crate) generator_us: f64,
}

/// Measures everything.
pub(crate) async fn everything(plan: &Plan) -> Result<Results, Fault> {
    let mut site = Site::new(&plan.dir).await?;
    let machine = Machine::this(site.dir())?;
    let rivals = Rivals::start(&plan.dir).await?;
    for missing in &rivals.missing {
        eprintln!("left out: {missing}");
    }
    let figures = rates(plan, &site, &rivals).await?;
    // They idle from here on, and would do so at our expense.
    let missing = rivals.missing.clone();
    drop(rivals);
    let qualities = qualities::all(plan, &mut site, &figures).await?;
    let attacks = if plan.wants("hostility") { hostility::all(plan, &site).await? } else { Vec::new() };
    Ok(Results {
        machine,
        seconds: plan.seconds,
        rounds: plan.rounds,
        share: plan.share,
        figures,
        missing,
        qualities,
        attacks,
    })
}

impl Plan {
    /// True where something of this name is to be measured.
    pub(crate) fn wants(&self, name: &str) -> bool {
        let mut wanted = self.only.split(',').map(str::trim).filter(|part| !part.is_empty()).peekable();
        wanted.peek().is_none() || wanted.any(|part| name.contains(part))
    }
}

async fn rates(plan: &Plan, site: &Site, rivals: &Rivals) -> Result<Vec<Figures>, Fault> {
    let (echo, echo_at) = Process::echo(None)?;
    let journal_dir = tempfile::Builder::new().prefix("leasehold-journal-").tempdir_in(&plan.dir)?;
    let (journal, journal_at) = Process::echo(Some(journal_dir.path()))?;
    let is_there = |who| if let Who::Rival(rival) = who { rivals.process(rival).is_some() } else { true };
    let chosen: Vec<&Scenario> = SCENARIOS.iter().filter(|line| plan.wants(line.name) && is_there(line.who)).collect();
    let mut rounds: Vec<Vec<Round>> = chosen.iter().map(|_| Vec::new()).collect();
    for number in 1..=plan.rounds {
        for (scenario, rounds) in chosen.iter().zip(&mut rounds) {
            let Scenario { who, how, pools, in_flight, .. } = **scenario;
            let (process, address) = match who {
                Who::Echo => (&echo, echo_at.as_str()),
                Who::Journal => (&journal, journal_at.as_str()),
                Who::Daemon => (site.daemon()?, site.tcp.as_str()),
                Who::Rival(rival) => (rivals.process(rival).ok_or("the rival does not run")?, ""),
            };
            let round = round(process, plan.seconds, async |window| match (who, how) {
                (Who::Rival(rival), _) => rivals.load(rival, pools, in_flight, window).await,
                (Who::Echo, How::Unary) => load::unary(address, Unary::Empty, in_flight, plan.share, window).await,
                (_, How::Unary) => load::unary(address, Unary::Lease(pools), in_flight, plan.share, window).await,
                (_, How::Streams(streams)) => load::streams(address, pools, streams, in_flight, window).await,
            })
            .await
            .map_err(|fault| format!("{}: {fault}", scenario.name))?;
            eprintln!(
                "round {number} of {}: {} ({in_flight} in flight): {:.0}/s, {:.1} µs of the server each",
                plan.rounds, scenario.name, round.per_s, round.server_us
            );
            rounds.push(round);
        }
    }
    Ok(chosen.iter().zip(&rounds).map(|(scenario, rounds)| figures(scenario, rounds)).collect())
}

fn figures(scenario: &Scenario, rounds: &[Round]) -> Figures {
    let of = |what: fn(&Round) -> f64| rounds.iter().map(what).collect::<Vec<f64>>();
    let rates = of(|round| round.per_s);
    Figures {
        of: *scenario,
        name: scenario.name,
        in_flight: scenario.in_flight,
        operations_per_s: median(&rates),
        from_per_s: rates.iter().copied().fold(f64::INFINITY, f64::min),
        to_per_s: rates.iter().copied().fold(0.0, f64::max),
        p50_us: median(&of(|round| round.p50_us)),
        p99_us: median(&of(|round| round.p99_us)),
        server_us: median(&of(|round| round.server_us)),
        generator_us: median(&of(|round| round.generator_us)),
    }
}

/// One measurement: connects, warms up, and counts what begins and ends within the window.
pub(crate) async fn round(
    process: &Process,
    seconds: f64,
    work: impl AsyncFnOnce(Window) -> Result<Timings, Fault>,
) -> Result<Round, Fault> {
    const CONNECTING_US: u64 = 150_000;
    let lasts_us = (seconds * 1e6) as u64;
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
    let (times, done) = tokio::join!(times, work(window));
    let Timings { mut each_us } = done?;
    let count = each_us.len() as f64;
    let spent = |of: fn(&(f64, f64)) -> f64| match times.as_slice() {
        [before, after] => (of(after) - of(before)) * 1e6 / count,
        _ => 0.0,
    };
    Ok(Round {
        per_s: count / seconds,
        p50_us: f64::from(percentile(&mut each_us, 50)),
        p99_us: f64::from(percentile(&mut each_us, 99)),
        longest_us: f64::from(each_us.last().copied().unwrap_or(0)),
        server_us: spent(|(server, _)| *server),
        generator_us: spent(|(_, generator)| *generator),
    })
}
