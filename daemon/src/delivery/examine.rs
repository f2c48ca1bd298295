//! The doctor at work: goes the way out once, slowly, and says what came of each step. No usage file is touched.

use http::HeaderMap;
use leasehold_engine::time::WallTime;

use super::{
    attempt::{self, Peer, ahead_s},
    doctor::{Outcome, Report, Step, StepKind},
    secrets::Surroundings,
    settings::{Destination, Settings},
    trouble::Trouble,
    way::Patience,
};
use crate::clock::stopwatch_us;

/// How far clocks may be apart. Servers of buckets refuse at 15 minutes.
const CLOCKS_MAX_S: i64 = 300;

/// Steps so far.
struct Steps {
    steps: Vec<Step>,
    since_us: u64,
}

impl Steps {
    fn passed(&mut self, kind: StepKind, found: String) {
        let now = stopwatch_us();
        let ms = now.saturating_sub(self.since_us) / 1_000;
        self.since_us = now;
        self.steps.push(Step { kind, outcome: Outcome::Passed { found, ms } });
    }

    fn not_needed(&mut self, kind: StepKind, why: &'static str) {
        self.steps.push(Step { kind, outcome: Outcome::NotNeeded(why) });
    }

    /// Takes the result of a step; where it failed, nothing after it is reached.
    fn take<T>(&mut self, kind: StepKind, result: Result<T, Trouble>, found: impl FnOnce(&T) -> String) -> Option<T> {
        match result {
            Ok(well) => {
                self.passed(kind, found(&well));
                Some(well)
            }
            Err(trouble) => {
                self.steps.push(Step { kind, outcome: Outcome::Failed(trouble) });
                None
            }
        }
    }
}

/// Tests every step. `now`: trusted time.
pub(super) async fn examine(
    settings: &Settings,
    surroundings: &Surroundings,
    licensed: Option<&str>,
    probe: &str,
    patience: Patience,
    now: WallTime,
) -> Report {
    let mut steps = Steps { steps: Vec::new(), since_us: stopwatch_us() };
    let destination = attempt::destination(settings, licensed);
    let shown = destination.as_ref().ok().map(ToString::to_string);
    // Ends where a step fails.
    let _ = go(&mut steps, destination, settings, surroundings, probe, patience, now).await;
    let Steps { mut steps, .. } = steps;
    for kind in StepKind::ALL {
        if !steps.iter().any(|step| step.kind == kind) {
            steps.push(Step { kind, outcome: Outcome::NotReached });
        }
    }
    steps.sort_by_key(|step| step.kind);
    Report { destination: shown, proxy: settings.proxy.as_ref().map(ToString::to_string), steps }
}

async fn go(
    steps: &mut Steps,
    destination: Result<Destination, Trouble>,
    settings: &Settings,
    surroundings: &Surroundings,
    probe: &str,
    patience: Patience,
    now: WallTime,
) -> Option<()> {
    let configured = match destination {
        Err(trouble) => Err(trouble),
        Ok(destination) => {
            let (settings, surroundings) = (settings.clone(), surroundings.clone());
            let reading = move || {
                let way = attempt::way(&destination, &settings, &surroundings, patience)?;
                let peer = Peer::new(&destination, &settings, &surroundings, way.clone())?;
                Ok((destination, way, peer))
            };
            super::blocking(reading).await
        }
    };
    let (_, way, peer) =
        steps.take(StepKind::Configuration, configured, |(destination, ..)| destination.to_string())?;

    let addresses = steps.take(StepKind::Name, way.resolve().await, |addresses| {
        let addresses: Vec<String> = addresses.iter().map(|address| address.ip().to_string()).collect();
        format!("{} is {}", way.first().host, addresses.join(", "))
    })?;
    let stream = steps.take(StepKind::Connection, way.connect(&addresses).await, |stream| {
        stream.peer_addr().map_or_else(|_| way.first().to_string(), |address| address.to_string())
    })?;
    let stream = match &way.via {
        Some(via) => steps.take(StepKind::Proxy, way.tunnel(stream).await, |_| {
            format!("{} lets through to {}", via.origin, way.to)
        })?,
        None => {
            steps.not_needed(StepKind::Proxy, "no proxy is configured");
            stream
        }
    };
    let secured = way.secure(stream).await;
    steps.take(StepKind::Tls, secured, |stream| {
        let version = stream.get_ref().1.protocol_version().and_then(|version| version.as_str());
        format!("{} with {}", version.unwrap_or("TLS"), way.to.host)
    })?;

    let headers: HeaderMap = match &peer {
        Peer::Endpoint(endpoint) => {
            let well = endpoint.health().await;
            let answer = steps.take(StepKind::Destination, well, |_| "the endpoint takes files".into())?;
            steps.not_needed(StepKind::Credentials, "the endpoint wants none");
            answer.headers
        }
        Peer::Bucket(bucket) => {
            let look = bucket.look(probe).await.map_err(|trouble| peer.timed(trouble, now));
            // Who must not even ask is told so by name; that the bucket is there was not seen then.
            let kind = match &look {
                Err(Trouble::WrongCredentials { .. }) => StepKind::Credentials,
                Err(Trouble::ClockOff { .. }) => StepKind::Clock,
                _ => StepKind::Destination,
            };
            steps.take(kind, look, |()| "the bucket answers".into())?;
            let wrote = bucket.probe(probe).await.map_err(|trouble| peer.timed(trouble, now));
            steps.take(StepKind::Credentials, wrote, |()| format!("{probe} was written"))?;
            bucket.last_head()
        }
    };
    let clocks = match ahead_s(&headers, now) {
        None => {
            steps.not_needed(StepKind::Clock, "the server does not tell the time");
            return Some(());
        }
        Some(ahead_s) if ahead_s.abs() > CLOCKS_MAX_S => Err(Trouble::ClockOff { ahead_s }),
        Some(ahead_s) => Ok(ahead_s),
    };
    steps.take(StepKind::Clock, clocks, |ahead_s| format!("{} s apart", ahead_s.abs())).map(|_| ())
}
