//! What readers are shown of the standing, and the stages to come (05, Standing).

use leasehold_keys::{activation::LicenseId, name::Label, time::WallTime};

use super::{Stage, StandingRow, Verdict};

/// The standing of the whole site.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SiteStanding {
    /// The stage that is in effect: the worst of all licenses.
    pub stage: Stage,
    /// The stage that it is on its way to, were there no brake.
    pub target: Stage,
    /// The licenses that enforcement applies to, by license ID. None: it does not apply, and the stage is 1.
    pub licenses: Vec<LicenseStanding>,
    /// While the stage is 6: leases other than call ports end in so many milliseconds of run time at the latest.
    pub leases_end_in_ms: Option<u64>,
}

/// The standing of one license that enforcement applies to.
#[derive(Clone, Debug, PartialEq)]
pub struct LicenseStanding {
    /// The license ID of the product's base file.
    pub license: LicenseId,
    /// The sequence of that file.
    pub sequence: u32,
    /// The product.
    pub product: Label,
    /// The account, for people.
    pub account: Label,
    /// The stage that it has come to.
    pub stage: Stage,
    /// The stage that it is on its way to, were there no brake.
    pub target: Stage,
    /// From when grace periods are counted: the later of ramp and last good check-in. None: the file names no ramp or grace.
    pub since: Option<WallTime>,
    /// Enforcement begins then.
    pub ramp: Option<WallTime>,
    /// Length of a stage in days.
    pub grace_days: Option<u32>,
    /// Where it checks in; none: nothing is configured, and attempts fail with that reason.
    pub endpoint: Option<String>,
    /// The last good check-in.
    pub last_good: Option<WallTime>,
    /// What the last answer said.
    pub verdict: Option<Verdict>,
    /// The next change for the worse that comes without a check-in, and when at the earliest; none: there is none.
    pub next: Option<StageAhead>,
    /// The brake holds it for so many more milliseconds of run time; none: it does not.
    pub braked_ms: Option<u64>,
    /// What is stored: counter, last answer, outstanding request, the licensor's message. None on a standby that never
    /// checked in.
    pub row: Option<StandingRow>,
}

/// A stage to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StageAhead {
    /// The stage.
    pub stage: Stage,
    /// When, by trusted time, if the daemon runs until then and no check-in is answered.
    pub at: WallTime,
    /// The license that brings it.
    pub license: LicenseId,
}
