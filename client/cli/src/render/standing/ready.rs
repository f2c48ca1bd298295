//! Before the day on which enforcement begins: whether the site is ready for it.

use serde::Serialize;

use super::StandingDocument;
use crate::{
    clock::Clock,
    render::{At, usage::UsageStatusDocument},
};

/// Whether the site is ready for the day on which enforcement begins.
#[derive(Clone, Debug, Serialize)]
pub struct ReadinessDocument {
    /// The first such day to come.
    pub ramp: At,
    /// All of the following.
    pub ready: bool,
    /// The daemon is licensed and grants.
    pub running: bool,
    /// Usage files go to the licensor.
    pub uploading: bool,
    /// The last check-in of every such license was answered with good standing.
    pub checking_in: bool,
    /// What is missing, in words.
    pub missing: Vec<String>,
}

impl ReadinessDocument {
    /// Looks; none where enforcement has begun for every license, or applies to none. `now` is what dates go by.
    pub(in crate::render) fn of(
        standing: &StandingDocument,
        usage: Option<&UsageStatusDocument>,
        grants: bool,
        now: At,
    ) -> Option<Self> {
        let coming: Vec<_> =
            standing.licenses.iter().filter(|license| license.ramp.is_some_and(|ramp| ramp.0 > now.0)).collect();
        let ramp = coming.iter().filter_map(|license| license.ramp).min_by_key(|ramp| ramp.0)?;
        let mut missing = Vec::new();
        if !grants {
            missing.push("no license file is in effect, or the daemon does not grant yet".to_owned());
        }
        let delivery = match usage {
            Some(usage) if usage.mode != "automatic" => Err("usage files are not sent to the licensor".to_owned()),
            Some(usage) => match &usage.failure {
                Some(failure) => Err(format!("usage files do not go out: {}", failure.message)),
                None => match usage.held.first() {
                    Some(held) => Err(held.message.clone()),
                    None => Ok(()),
                },
            },
            None => Ok(()),
        };
        let uploading = delivery.map_err(|why| missing.push(why)).is_ok();
        let before = missing.len();
        for license in coming {
            let (product, check_in) = (&license.product, license.check_in.as_ref());
            let why = match check_in {
                Some(check_in) if check_in.failure.is_some() => {
                    let message = check_in.failure.as_ref().map_or("", |failure| failure.message.as_str());
                    format!("{product} does not check in: {message}")
                }
                Some(check_in) if check_in.last_good.is_none() => format!("{product} has not checked in yet"),
                _ => match license.verdict.as_deref() {
                    Some("good") | None => continue,
                    Some(other) => format!("the licensor answers the check-ins of {product}: {other}"),
                },
            };
            missing.push(why);
        }
        let checking_in = missing.len() == before;
        Some(Self { ramp, ready: missing.is_empty(), running: grants, uploading, checking_in, missing })
    }

    /// `enforcement begins 2026-12-01 01:00 (in 9 days); ready: running, uploading, checking in`.
    pub(in crate::render) fn shown(&self, clock: &Clock) -> String {
        let begins = format!("enforcement begins {}", clock.moment_and_distance(self.ramp.0));
        if self.ready {
            return format!("{begins}; ready for it: running, uploading, checking in");
        }
        format!("{begins}; NOT ready for it: {}", self.missing.join("; "))
    }
}
