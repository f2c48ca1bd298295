//! What a request says of this server (05, The exchange): gathered at one moment from the engine, the identity and the clock.

use leasehold_engine::{Engine, row, standing::LicenseStanding, time::Now};
use leasehold_keys::{
    activation::{HostRole, LicenseId},
    check_in::{CheckInRequest, ClockEvidence, Nonce, WitnessEvidence, WitnessKind},
    digest::Sha256,
    installation::InstallationId,
    name::Label,
    trust::Verified,
    usage::{Head, SegmentName},
};

use super::trouble::Trouble;
use crate::{clock::evidence, files, identity::Identity};

/// Where the operating system tells the time since the machine's start from others.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// What the engine knows, at one moment.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    pub(super) standing: LicenseStanding,
    /// The digest of the file in effect.
    pub(super) file: Sha256,
    pub(super) role: Option<HostRole>,
    pub(super) usage_head: Option<Head>,
    /// The highest lease ID that was ever given.
    pub(super) fencing: u64,
    /// The number of this start.
    pub(super) epoch: u64,
    pub(super) witness: Vec<WitnessEvidence>,
    pub(super) now: Now,
}

/// What there is to say of a license; `None` where it does not check in.
pub(super) fn facts(engine: &Engine, license: LicenseId, installation: InstallationId, now: Now) -> Option<Facts> {
    let standing = engine.standing(now).licenses.into_iter().find(|it| it.license == license)?;
    let file = engine.licenses(now).into_iter().find(|view| view.license == license)?;
    let heads = engine.usage_segments().filter_map(|row| {
        let name: SegmentName = row.file.parse().ok()?;
        let head = Head { segment: name.segment, records: row.records, chain: row.head };
        (name.installation == installation).then_some(head)
    });
    Some(Facts {
        standing,
        file: file.terms.sha256(),
        role: file.host_role,
        usage_head: heads.max(),
        fencing: engine.last_lease().0,
        epoch: engine.reached().map_or(0, |reached| reached.epoch),
        witness: witnessed(engine),
        now,
    })
}

/// What application servers have shown this state, by kind: how often, and when last.
fn witnessed(engine: &Engine) -> Vec<WitnessEvidence> {
    let mut found: Vec<WitnessEvidence> = Vec::new();
    for row in engine.witnessed() {
        let kind = match row.kind {
            row::WitnessKind::Forked => WitnessKind::Forked,
            row::WitnessKind::Behind => WitnessKind::Behind,
        };
        match found.iter_mut().find(|evidence| evidence.kind == kind) {
            Some(evidence) => (evidence.count, evidence.newest) = (evidence.count + 1, evidence.newest.max(row.last)),
            None => found.push(WitnessEvidence { kind, count: 1, newest: row.last }),
        }
    }
    found.sort_by_key(|evidence| evidence.kind);
    found
}

/// What else is to be said, which does not change with the license.
pub(super) struct Speaker<'a> {
    pub(super) identity: &'a Identity,
    pub(super) boot_id: &'a Label,
    pub(super) root_version: u32,
    pub(super) clock: evidence::Standing,
}

/// The signed request. `counter`: higher than any that was used.
pub(super) fn signed(facts: &Facts, counter: u64, speaker: &Speaker<'_>) -> Result<Verified<CheckInRequest>, Trouble> {
    let not_signed = |why: String| Trouble::NotSigned { why };
    let evidence = &speaker.clock.evidence;
    let request = CheckInRequest {
        // A jump of the clock that is taken back later must not make of this a request from the future.
        created: facts.now.confirmed(),
        nonce: Nonce::random().map_err(|refusal| not_signed(refusal.to_string()))?,
        license_id: facts.standing.license,
        sequence: facts.standing.sequence,
        file: facts.file,
        root_version: speaker.root_version,
        role: facts.role,
        installation: speaker.identity.public_key(),
        host_id: speaker.identity.host_id().clone(),
        counter,
        previous_answer: facts.standing.row.as_ref().and_then(|row| row.answer).map(|answer| answer.sha256),
        usage_head: facts.usage_head,
        fencing: facts.fencing,
        epoch: facts.epoch,
        witness: facts.witness.clone(),
        boot_id: speaker.boot_id.clone(),
        version: env!("CARGO_PKG_VERSION").parse().map_err(|_| not_signed("the version is no label".to_owned()))?,
        clock: ClockEvidence {
            wall: speaker.clock.wall,
            roll_backs: evidence.roll_backs,
            last_roll_back_ms: evidence.last_roll_back.map_or(0, |episode| episode.by_ms),
            unconfirmed_ms: evidence.unconfirmed.map_or(0, |jump| jump.ahead_ms),
            withdrawn: evidence.withdrawn,
        },
    };
    request.sign(speaker.identity.installation()).map_err(|refusal| not_signed(refusal.to_string()))
}

/// The operating system's name for the time since the machine's start; `unknown` where it has none.
pub(super) fn boot_id() -> Label {
    let read = files::read(std::path::Path::new(BOOT_ID), 256).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let named = read.and_then(|text| text.trim().parse().ok());
    named.or_else(|| "unknown".parse().ok()).expect("a plain word is a label")
}
