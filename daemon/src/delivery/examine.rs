//! The doctor at work: goes the way out once, slowly, and says what came of each step. No usage file is touched.

use http::HeaderMap;
use leasehold_engine::time::WallTime;

use super::{
    attempt::{self, Peer},
    settings::{Destination, Settings},
};
use crate::way_out::{
    Network, Trouble,
    doctor::{Report, StepKind},
    steps::Steps,
};

/// Tests every step. `now`: trusted time.
pub(super) async fn examine(
    settings: &Settings,
    network: &Network,
    licensed: Option<&str>,
    probe: &str,
    now: WallTime,
) -> Report {
    let mut steps = Steps::new();
    let destination = attempt::destination(settings, licensed);
    let shown = destination.as_ref().ok().map(ToString::to_string);
    // Ends where a step fails.
    let _ = go(&mut steps, destination, settings, network, probe, now).await;
    Report { destination: shown, proxy: network.settings.proxy.as_ref().map(ToString::to_string), steps: steps.whole() }
}

async fn go(
    steps: &mut Steps,
    destination: Result<Destination, Trouble>,
    settings: &Settings,
    network: &Network,
    probe: &str,
    now: WallTime,
) -> Option<()> {
    let configured = match destination {
        Err(trouble) => Err(trouble),
        Ok(destination) => {
            let (settings, network) = (settings.clone(), network.clone());
            let reading = move || {
                let way = attempt::way(&destination, &settings, &network)?;
                let peer = Peer::new(&destination, &settings, &network.surroundings, way.clone())?;
                Ok((destination, way, peer))
            };
            super::blocking(reading).await
        }
    };
    let (_, way, peer) =
        steps.take(StepKind::Configuration, configured, |(destination, ..)| destination.to_string())?;

    steps.reach(&way).await?;

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
    steps.clocks(&headers, now);
    Some(())
}
