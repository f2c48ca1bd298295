//! Everything of the table that is not a rate: flatness, delays, renewals, overload, restart, an activation file under load.

use leaseholdd::clock::stopwatch_us;
use serde::Serialize;

use crate::{
    load::{self, Attached, Fault, Flooded, Pools, Unary},
    measure::{Figures, How, Plan, Round, Who, median, round},
    renewer::{Renewals, Renewer},
    site::{FILL, FULL, KEY, SIZES, Site},
};

/// What was found. Nothing where it was not asked for.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Qualities {
    pub(crate) seats: Vec<Step>,
    pub(crate) leases: Vec<Step>,
    pub(crate) half: Option<Half>,
    pub(crate) renewing: Option<Renewing>,
    pub(crate) overload: Vec<Overload>,
    pub(crate) restart: Option<Restart>,
    pub(crate) file: Option<FileUnderLoad>,
}

/// Processor time of the server an operation, at a size; medians.
#[derive(Debug, Serialize)]
pub(crate) struct Step {
    /// Seats of the pool, or live leases.
    pub(crate) size: u32,
    pub(crate) streams_us: f64,
    pub(crate) unary_us: f64,
}

/// Acquires at half the top rate.
#[derive(Debug, Serialize)]
pub(crate) struct Half {
    /// Acquires a second; as many releases beside them.
    pub(crate) per_s: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
}

/// All leases of one stream renewed at once, again and again.
#[derive(Debug, Serialize)]
pub(crate) struct Renewing {
    pub(crate) leases: u64,
    /// For all of them.
    pub(crate) took_ms: f64,
    pub(crate) beats: u64,
    /// What the daemon wrote to disk meanwhile, all in all.
    pub(crate) written_bytes: u64,
}

/// Far more asked than can be granted.
#[derive(Debug, Serialize)]
pub(crate) struct Overload {
    pub(crate) what: &'static str,
    pub(crate) in_flight: usize,
    pub(crate) answers_per_s: f64,
    pub(crate) flooded: Flooded,
    pub(crate) renewals: Renewals,
}

/// A restart with live leases.
#[derive(Debug, Serialize)]
pub(crate) struct Restart {
    pub(crate) leases: u64,
    /// From the start of the process to the first grant, after SIGKILL; the median.
    pub(crate) until_granting_ms: f64,
    /// Resident memory of the daemon after the restart.
    pub(crate) resident_mib: f64,
    /// Of that, beyond a daemon without leases, for each lease.
    pub(crate) bytes_a_lease: f64,
}

/// An activation file loaded while leases come and go at half the top rate.
#[derive(Debug, Serialize)]
pub(crate) struct FileUnderLoad {
    pub(crate) loads: u32,
    pub(crate) per_s: f64,
    /// The longest that an acquire took, the median over the rounds: with files …
    pub(crate) longest_ms: f64,
    /// … and in rounds without, in between.
    pub(crate) without_ms: f64,
}

/// Leases that stand beside in the small case.
const FEW: u32 = 100;

/// Measures all that is asked for.
pub(crate) async fn all(plan: &Plan, site: &mut Site, figures: &[Figures]) -> Result<Qualities, Fault> {
    let mut found = Qualities::default();
    if plan.wants("seats") {
        found.seats = seats(plan, site).await?;
    }
    if plan.wants("half") || plan.wants("file") {
        let top = match figures.iter().find(|line| {
            (line.of.who, line.of.how, line.of.pools) == (Who::Daemon, How::Streams(8), Pools::One(KEY))
                && line.of.in_flight == 256
        }) {
            Some(line) => line.operations_per_s,
            None => by_streams(plan, site, KEY, 256).await?.per_s,
        };
        // Half of the operations are acquires.
        let per_s = top / 4.0;
        if plan.wants("half") {
            found.half = Some(half(plan, site, per_s).await?);
        }
        if plan.wants("file") {
            found.file = Some(file(plan, site, per_s).await?);
        }
    }
    if plan.wants("overload") {
        found.overload = overload(plan, site).await?;
    }
    if plan.wants("leases") || plan.wants("renewals") || plan.wants("restart") {
        large(plan, site, &mut found).await?;
    }
    Ok(found)
}

async fn by_streams(plan: &Plan, site: &Site, key: &'static str, in_flight: usize) -> Result<Round, Fault> {
    let address = &site.tcp;
    round(site.daemon()?, plan.seconds, async |window| {
        load::streams(address, Pools::One(key), 8, in_flight, window).await
    })
    .await
}

async fn by_unary(plan: &Plan, site: &Site, key: &'static str, in_flight: usize) -> Result<Round, Fault> {
    let address = &site.tcp;
    round(site.daemon()?, plan.seconds, async |window| {
        load::unary(address, Unary::Lease(Pools::One(key)), in_flight, plan.share, window).await
    })
    .await
}

/// As many in flight as the smallest pool allows; the same for all.
async fn seats(plan: &Plan, site: &Site) -> Result<Vec<Step>, Fault> {
    const IN_FLIGHT: usize = 8;
    let mut taken = SIZES.map(|_| (Vec::new(), Vec::new()));
    for _ in 0..plan.rounds {
        for ((key, size), (streams, unary)) in SIZES.iter().zip(&mut taken) {
            streams.push(by_streams(plan, site, key, IN_FLIGHT).await?.server_us);
            unary.push(by_unary(plan, site, key, IN_FLIGHT).await?.server_us);
            eprintln!("a pool of {size} seats: {:.1} µs", streams.last().copied().unwrap_or(0.0));
        }
    }
    let steps = SIZES.iter().zip(&taken).map(|((_, size), (streams, unary))| Step {
        size: *size,
        streams_us: median(streams),
        unary_us: median(unary),
    });
    Ok(steps.collect())
}

async fn half(plan: &Plan, site: &Site, per_s: f64) -> Result<Half, Fault> {
    let mut rounds = Vec::new();
    for _ in 0..plan.rounds {
        rounds.push(at_rate(plan, site, per_s).await?);
    }
    let of = |what: fn(&Round) -> f64| median(&rounds.iter().map(what).collect::<Vec<f64>>());
    let half =
        Half { per_s: of(|round| round.per_s), p50_us: of(|round| round.p50_us), p99_us: of(|round| round.p99_us) };
    eprintln!("{:.0} acquires/s: p99 {:.0} µs", half.per_s, half.p99_us);
    Ok(half)
}

async fn at_rate(plan: &Plan, site: &Site, per_s: f64) -> Result<Round, Fault> {
    let address = &site.tcp;
    round(site.daemon()?, plan.seconds, async |window| load::paced(address, KEY, 8, per_s, window).await).await
}

async fn file(plan: &Plan, site: &mut Site, per_s: f64) -> Result<FileUnderLoad, Fault> {
    let (mut with, mut without, mut rates) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..plan.rounds {
        let file = site.next_file(2 + number)?;
        let before = at_rate(plan, site, per_s).await?;
        let site = &*site;
        // Placed where the window is half over.
        let loads = async {
            tokio::time::sleep(std::time::Duration::from_secs_f64(0.15 + plan.seconds * 0.7)).await;
            site.load("base", file).await
        };
        let (during, loaded) = tokio::join!(at_rate(plan, site, per_s), loads);
        loaded?;
        let during = during?;
        eprintln!("longest with a file {:.1} ms, without {:.1} ms", during.longest_us / 1e3, before.longest_us / 1e3);
        with.push(during.longest_us / 1e3);
        without.push(before.longest_us / 1e3);
        rates.push(during.per_s);
    }
    let (longest_ms, without_ms) = (median(&with), median(&without));
    Ok(FileUnderLoad { loads: plan.rounds, per_s: median(&rates), longest_ms, without_ms })
}

async fn overload(plan: &Plan, site: &Site) -> Result<Vec<Overload>, Fault> {
    /// Leases that are renewed meanwhile.
    const LEASES: u32 = 1_000;
    /// Ten times what the top rate is measured with; and more than the queue of the core takes.
    const CASES: [(&str, &str, usize, usize); 2] =
        [("a full pool, 10 × in flight", FULL, 16, 160), ("more than the queue takes", KEY, 24, 4_096)];
    let mut all = Vec::new();
    for (what, key, streams, each) in CASES {
        let attached = load::attached(&site.tcp, streams).await?;
        let renewer = Renewer::start(&site.tcp, LEASES, plan.seconds).await?;
        let until_us = stopwatch_us() + (plan.seconds * 1e6) as u64;
        let flooded = load::flood(attached, key, each, until_us).await?;
        let renewals = renewer.found().await?;
        let answers = flooded.granted + flooded.refused.values().sum::<u64>();
        let answers_per_s = answers as f64 / plan.seconds;
        eprintln!("{what}: {answers_per_s:.0} answers/s; renewals' p99 {:.1} ms", renewals.p99_ms());
        all.push(Overload { what, in_flight: streams * each, answers_per_s, flooded, renewals });
    }
    Ok(all)
}

/// What needs many leases: they stand in a second site, so that both sizes are measured in turns.
async fn large(plan: &Plan, few: &Site, found: &mut Qualities) -> Result<(), Fault> {
    let mut many = Site::new(&plan.dir).await?;
    // Restarted, so that both are compared in the same condition.
    many.restart().await?;
    let empty_kib = many.daemon()?.resident_kib();
    // They stand for a day, and hang on one stream.
    let mut filler = Attached::new(&many.tcp, "filler").await?;
    let began = stopwatch_us();
    filler.fill(FILL, plan.leases).await?;
    let filled_kib = many.daemon()?.resident_kib();
    eprintln!(
        "{} leases taken in {:.1} s; {} MiB resident",
        plan.leases,
        (stopwatch_us() - began) as f64 / 1e6,
        filled_kib / 1_024
    );
    if plan.wants("renewals") {
        found.renewing = Some(renewing(&many, &mut filler).await?);
    }
    if plan.wants("leases") {
        let mut other = Attached::new(&few.tcp, "filler").await?;
        other.fill(FILL, FEW.min(plan.leases)).await?;
        let mut taken = [(FEW, few), (plan.leases, &many)].map(|(size, site)| (size, site, Vec::new(), Vec::new()));
        for _ in 0..plan.rounds {
            for (size, site, streams, unary) in &mut taken {
                streams.push(by_streams(plan, site, FILL, 256).await?.server_us);
                unary.push(by_unary(plan, site, FILL, 64).await?.server_us);
                eprintln!("{size} leases: {:.1} µs", streams.last().copied().unwrap_or(0.0));
            }
        }
        let step = |(size, _, streams, unary): &(u32, &Site, Vec<f64>, Vec<f64>)| Step {
            size: *size,
            streams_us: median(streams),
            unary_us: median(unary),
        };
        found.leases = taken.iter().map(step).collect();
    }
    drop(filler);
    if plan.wants("restart") {
        found.restart = Some(restart(&mut many, plan, empty_kib).await?);
    }
    Ok(())
}

async fn renewing(site: &Site, stream: &mut Attached) -> Result<Renewing, Fault> {
    const BEATS: u64 = 20;
    let before = site.daemon()?.written_bytes();
    let mut took = Vec::new();
    let mut leases = 0;
    for number in 1..=BEATS {
        let (took_us, renewed) = stream.beat(number).await?;
        took.push(took_us as f64 / 1_000.0);
        leases = renewed;
    }
    let written_bytes = site.daemon()?.written_bytes() - before;
    Ok(Renewing { leases, took_ms: median(&took), beats: BEATS, written_bytes })
}

async fn restart(site: &mut Site, plan: &Plan, empty_kib: u64) -> Result<Restart, Fault> {
    let mut took = Vec::new();
    let mut resident = Vec::new();
    for _ in 0..plan.rounds {
        took.push(site.restart().await?);
        let leases = site.leases().await?;
        if leases < u64::from(plan.leases) {
            return Err(format!("of {} leases {leases} stand after a restart", plan.leases).into());
        }
        resident.push(site.daemon()?.resident_kib() as f64);
        eprintln!(
            "restart with {leases} leases: {:.0} ms, {:.0} MiB",
            took.last().copied().unwrap_or(0.0),
            resident.last().copied().unwrap_or(0.0) / 1_024.0
        );
    }
    let leases = site.leases().await?;
    let resident_kib = median(&resident);
    Ok(Restart {
        leases,
        until_granting_ms: median(&took),
        resident_mib: resident_kib / 1_024.0,
        bytes_a_lease: (resident_kib - empty_kib as f64) * 1_024.0 / leases as f64,
    })
}
