//! The doctor of check-ins: goes the way to an endpoint once, slowly, and says what came of each step. Nothing is asked of the
//! licensor that it would remember.

use leasehold_engine::time::WallTime;

use super::{blocking, endpoint::Endpoint, trouble::Trouble};
use crate::way_out::{
    Network,
    doctor::{Report, StepKind},
    steps::Steps,
};

/// Tests every step. `now`: trusted time.
pub(super) async fn examine(endpoint: Result<Endpoint, Trouble>, network: &Network, now: WallTime) -> Report<Trouble> {
    let mut steps = Steps::new();
    let destination = endpoint.as_ref().ok().map(ToString::to_string);
    // Ends where a step fails.
    let _ = go(&mut steps, endpoint, network, now).await;
    let proxy = network.settings.proxy.as_ref().map(ToString::to_string);
    Report { destination, proxy, steps: steps.whole() }
}

async fn go(
    steps: &mut Steps<Trouble>,
    endpoint: Result<Endpoint, Trouble>,
    network: &Network,
    now: WallTime,
) -> Option<()> {
    let configured = match endpoint {
        Err(trouble) => Err(trouble),
        Ok(endpoint) => {
            let network = network.clone();
            blocking(move || Ok((endpoint.way(&network)?, endpoint))).await
        }
    };
    let (way, endpoint) = steps.take(StepKind::Configuration, configured, |(_, endpoint)| endpoint.to_string())?;
    steps.reach(&way).await?;
    let well = endpoint.health(&way).await;
    let answer = steps.take(StepKind::Destination, well, |_| "the endpoint answers check-ins".into())?;
    steps.not_needed(StepKind::Credentials, "the endpoint wants none: requests are signed");
    steps.clocks(&answer.headers, now);
    Some(())
}
