//! The doctor on the way out: each step is gone once, slowly, and what came of it is noted. What lies behind the way is
//! examined by who sends there.

use http::{HeaderMap, header};
use jiff::fmt::rfc2822::DateTimeParser;
use leasehold_engine::time::WallTime;
use leasehold_keys::time::SECOND_MS;

use super::{
    Named, Trouble, Way,
    doctor::{Outcome, Step, StepKind},
};
use crate::clock::stopwatch_us;

/// How far clocks may be apart. Servers of buckets refuse at 15 minutes.
const CLOCKS_MAX_S: i64 = 300;

/// Steps so far.
pub(crate) struct Steps<T = Trouble> {
    steps: Vec<Step<T>>,
    since_us: u64,
}

impl<T: Named + From<Trouble>> Steps<T> {
    pub(crate) fn new() -> Self {
        Self { steps: Vec::new(), since_us: stopwatch_us() }
    }

    pub(crate) fn passed(&mut self, kind: StepKind, found: String) {
        let now = stopwatch_us();
        let ms = now.saturating_sub(self.since_us) / 1_000;
        self.since_us = now;
        self.steps.push(Step { kind, outcome: Outcome::Passed { found, ms } });
    }

    pub(crate) fn not_needed(&mut self, kind: StepKind, why: &'static str) {
        self.steps.push(Step { kind, outcome: Outcome::NotNeeded(why) });
    }

    /// Takes the result of a step; where it failed, nothing after it is reached.
    pub(crate) fn take<V>(
        &mut self,
        kind: StepKind,
        result: Result<V, T>,
        found: impl FnOnce(&V) -> String,
    ) -> Option<V> {
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

    /// Name, connection, proxy and TLS.
    pub(crate) async fn reach(&mut self, way: &Way) -> Option<()> {
        let addresses = self.take(StepKind::Name, way.resolve().await.map_err(T::from), |addresses| {
            let addresses: Vec<String> = addresses.iter().map(|address| address.ip().to_string()).collect();
            format!("{} is {}", way.first().host, addresses.join(", "))
        })?;
        let connected = way.connect(&addresses).await.map_err(T::from);
        let stream = self.take(StepKind::Connection, connected, |stream| {
            stream.peer_addr().map_or_else(|_| way.first().to_string(), |address| address.to_string())
        })?;
        let stream = match &way.via {
            Some(via) => self.take(StepKind::Proxy, way.tunnel(stream).await.map_err(T::from), |_| {
                format!("{} lets through to {}", via.origin, way.to)
            })?,
            None => {
                self.not_needed(StepKind::Proxy, "no proxy is configured");
                stream
            }
        };
        let secured = way.secure(stream).await.map_err(T::from);
        self.take(StepKind::Tls, secured, |stream| {
            let version = stream.get_ref().1.protocol_version().and_then(|version| version.as_str());
            format!("{} with {}", version.unwrap_or("TLS"), way.to.host)
        })
        .map(drop)
    }

    /// The server's clock, as the head of its answer tells it, against trusted time.
    pub(crate) fn clocks(&mut self, headers: &HeaderMap, now: WallTime) {
        let Some(ahead_s) = ahead_s(headers, now) else {
            return self.not_needed(StepKind::Clock, "the server does not tell the time");
        };
        let clocks = if ahead_s.abs() > CLOCKS_MAX_S { Err(Trouble::ClockOff { ahead_s }.into()) } else { Ok(ahead_s) };
        let _ = self.take(StepKind::Clock, clocks, |ahead_s| format!("{} s apart", ahead_s.abs()));
    }

    /// Every step, those too that were not reached.
    pub(crate) fn whole(self) -> Vec<Step<T>> {
        let mut steps = self.steps;
        for kind in StepKind::ALL {
            if !steps.iter().any(|step| step.kind == kind) {
                steps.push(Step { kind, outcome: Outcome::NotReached });
            }
        }
        steps.sort_by_key(|step| step.kind);
        steps
    }
}

/// Seconds that `now` is ahead of a server's clock, where its answer tells the time.
pub(crate) fn ahead_s(headers: &HeaderMap, now: WallTime) -> Option<i64> {
    let date = headers.get(header::DATE)?.to_str().ok()?;
    let date = DateTimeParser::new().parse_timestamp(date).ok()?;
    Some(now.as_ms().div_euclid(SECOND_MS) - date.as_second())
}
