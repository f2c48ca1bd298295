//! The vendor's side of `leaseholdd dev`: a licensor in a folder, and a sample file that it issues for this host.

use std::path::Path;

use leasehold_keys::{
    activation::{Grant, HostRole, Model, Units},
    name::Label,
    request::HostRequest,
    time::{DAY_MS, WallTime},
};
use licensor::{
    catalog::{Catalog, PartUnits},
    order::{HostOrder, IssueOrder},
    vault::Protection,
    workshop::{CreateOptions, Issued, Workshop},
};

use super::DevFault;

/// The licensor's name; RFC 2606 keeps it free.
pub(super) const LICENSOR: &str = "dev.example";
pub(super) const ACCOUNT: &str = "Example Corporation";
pub(super) const SITE: &str = "Indianapolis";

/// Parts of the sample order: number, assigned, pooled.
const PARTS: [(&str, u32, u32); 3] = [
    // Each unit of these brings a basic station too.
    ("SW-001-4.0-AL04", 5, 25),
    ("SW-001-4.0-AL02", 1, 0),
    ("SW-001-4.0-AL01", 9, 0),
];

/// Grants of the sample order besides its parts.
const GRANTS: [(&str, u32); 9] = [
    ("I3_ACCESS_TRACKER_CONCURRENT", 10),
    ("I3_SESSION_CALL", 20),
    ("I3_FEATURE_RECORDER", 1),
    ("I3_FEATURE_DIALER", 1),
    ("I3_LICENSE_IWP_SERVER", 1),
    ("I3_TENANT_IWP_ORGANIZATION", 5),
    ("I3_ACCESS_WORKGROUP_SUPERVISOR_PLUGIN", 2),
    // Usage is collected and sent to the licensor …
    ("I3_FEATURE_USAGE_TRACKING_UPLOAD", 1),
    // … and the site checks in with it.
    ("I3_FEATURE_VIRTUAL_CLOUD", 1),
];

/// Days of a stage of enforcement.
const GRACE_DAYS: u32 = 7;
/// Days that the subscription lasts.
const SUBSCRIBED_DAYS: i64 = 365;

/// The licensor of a folder; made there where there is none. Its private keys have no passphrase.
pub(super) fn workshop(dir: &Path, now: WallTime) -> Result<Workshop, DevFault> {
    if dir.join("licensor.db").exists() {
        return Ok(Workshop::open(dir, None)?);
    }
    Ok(Workshop::create(dir, &CreateOptions::new(LICENSOR, Protection::None), now)?)
}

/// Issues the sample file for the host of a request: PureConnect by subscription, with seats for a small contact center.
/// Enforcement begins today, and the site checks in at `endpoint`.
pub(super) fn issue(
    workshop: &mut Workshop,
    request: &[u8],
    endpoint: &str,
    now: WallTime,
) -> Result<Issued, DevFault> {
    let request = HostRequest::verify(request)?;
    let order = IssueOrder {
        server: Some(label("basic")),
        parts: PARTS
            .into_iter()
            .map(|(number, assigned, pooled)| PartUnits { number: label(number), assigned, pooled })
            .collect(),
        grants: GRANTS
            .into_iter()
            .filter_map(|(pool, units)| Some(Grant { pool: pool.parse().ok()?, units: Units::Count(units) }))
            .collect(),
        hosts: vec![HostOrder::requested(HostRole::Primary, &request)],
        model: Model::Subscription,
        not_after: Some(midnight(now.plus_ms(SUBSCRIBED_DAYS * DAY_MS))),
        maintenance_end: Some(midnight(now.plus_ms(SUBSCRIBED_DAYS * DAY_MS))),
        ramp: Some(midnight(now)),
        grace_days: Some(GRACE_DAYS),
        check_in_endpoint: Some(endpoint.to_owned()),
        ..IssueOrder::new(label(ACCOUNT), label(SITE), label("leaseholdd dev"))
    };
    Ok(workshop.issue(&Catalog::pureconnect(), &order, now)?)
}

/// The beginning of a day, as vendors date things.
fn midnight(time: WallTime) -> WallTime {
    time.plus_ms(-time.as_ms().rem_euclid(DAY_MS))
}

/// A label of this module's own words.
pub(super) fn label(text: &str) -> Label {
    text.parse().expect("the words of the sample are labels")
}
