//! Someone who renews while others ask for too much: a process of its own, so that its times are not those of a busy load
//! generator. It beats for its leases on a stream and renews one more by unary calls, and says how long each took.

use std::{ffi::OsString, io, process::ExitCode, time::Duration};

use leasehold_proto::v1;
use leaseholdd::clock::stopwatch_us;
use serde::{Deserialize, Serialize};

use crate::{
    children::Process,
    load::{self, Attached, Fault},
    measure::percentile,
    site::FILL,
};

/// How often it renews.
const EVERY: Duration = Duration::from_millis(10);

/// What it found; times in microseconds.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Renewals {
    pub(crate) renewals: usize,
    pub(crate) stream_p50_us: u32,
    pub(crate) stream_p99_us: u32,
    pub(crate) unary_p50_us: u32,
    pub(crate) unary_p99_us: u32,
    pub(crate) longest_us: u32,
    /// Everything that was not a renewal.
    pub(crate) faults: Vec<String>,
}

impl Renewals {
    /// The slower of the two ways.
    pub(crate) fn p99_ms(&self) -> f64 {
        f64::from(self.stream_p99_us.max(self.unary_p99_us)) / 1_000.0
    }
}

/// One that runs.
pub(crate) struct Renewer {
    process: Process,
    lines: io::Lines<io::BufReader<std::process::ChildStdout>>,
}

impl Renewer {
    /// Starts it, with so many leases; it renews for so long once it has them. Waits until it does.
    pub(crate) async fn start(address: &str, leases: u32, seconds: f64) -> Result<Self, Fault> {
        let arguments = ["renew", address, &leases.to_string(), &seconds.to_string()].map(OsString::from).to_vec();
        tokio::task::spawn_blocking(move || {
            let (process, mut lines) = Process::that_says(arguments)?;
            match lines.next().transpose()?.as_deref() {
                Some("renewing") => Ok(Self { process, lines }),
                other => Err(format!("whoever renews has not begun: {other:?}").into()),
            }
        })
        .await?
    }

    /// What it found, at its end.
    pub(crate) async fn found(mut self) -> Result<Renewals, Fault> {
        tokio::task::spawn_blocking(move || {
            let line = self.lines.next().transpose()?.ok_or("whoever renews has said nothing")?;
            drop(self.process);
            Ok(serde_json::from_str(&line)?)
        })
        .await?
    }
}

/// The process itself.
pub(crate) async fn run(address: &str, leases: u32, seconds: f64) -> ExitCode {
    match renew(address, leases, seconds).await.and_then(|found| Ok(serde_json::to_string(&found)?)) {
        Ok(found) => {
            println!("{found}");
            ExitCode::SUCCESS
        }
        Err(fault) => {
            eprintln!("whoever renews has failed: {fault}");
            ExitCode::FAILURE
        }
    }
}

async fn renew(address: &str, leases: u32, seconds: f64) -> Result<Renewals, Fault> {
    let mut stream = Attached::new(address, "renewer").await?;
    stream.fill(FILL, leases).await?;
    let mut unary = load::connect(address).await?;
    let caller = Some(load::caller("renewer-unary"));
    let granted = unary.acquire(load::acquire(FILL, caller.clone(), 600_000)).await?.into_inner();
    let lease_ids = vec![granted.lease.ok_or("a grant without a lease")?.lease_id];
    println!("renewing");

    let until_us = stopwatch_us() + (seconds * 1e6) as u64;
    let mut found = Renewals::default();
    let (mut by_stream, mut by_unary) = (Vec::new(), Vec::new());
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let short = |us: u64| u32::try_from(us).unwrap_or(u32::MAX);
    for number in 1.. {
        ticks.tick().await;
        if stopwatch_us() > until_us {
            break;
        }
        let (took_us, renewed) = stream.beat(number).await?;
        if renewed != u64::from(leases) {
            found.faults.push(format!("{renewed} of {leases} leases were renewed"));
        }
        by_stream.push(short(took_us));
        let asked_us = stopwatch_us();
        let asked = v1::RenewRequest { caller: caller.clone(), lease_ids: lease_ids.clone() };
        match unary.renew(asked).await {
            Ok(_) => by_unary.push(short(stopwatch_us() - asked_us)),
            Err(status) => found.faults.push(format!("{:?}: {}", status.code(), status.message())),
        }
    }
    found.renewals = by_stream.len() + by_unary.len();
    found.stream_p50_us = percentile(&mut by_stream, 50);
    found.stream_p99_us = percentile(&mut by_stream, 99);
    found.unary_p50_us = percentile(&mut by_unary, 50);
    found.unary_p99_us = percentile(&mut by_unary, 99);
    found.longest_us = by_stream.last().copied().max(by_unary.last().copied()).unwrap_or(0);
    Ok(found)
}
