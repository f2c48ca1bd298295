//! The messages of the `Leasing` service.

use leasehold_engine::{
    command::{Acquire, Ask, Attach, EntitlementQuery, EntityName, Origin, Place, Release},
    decision::{HeldKeyView, LeaseView, ReleaseOutcome, SourceView, Told},
    ids::{LeaseId, RequestId, Ticket},
    refusal::Refusal,
    row::Warning,
    view::{EntitlementView, Explanation, InstallView, SiteKeyView},
    words::duration,
};
use leasehold_keys::{
    activation::LicenseId,
    definition::KeyKind,
    name::{KeyName, PoolName},
    witness::Statement,
};
use leasehold_proto::v1;

use super::{
    Checked, Known, MOST_KEYS, MOST_LEASES, MOST_SUBJECTS, at_most, caller, key_names, label, label_or_none, labels,
    lease_ids, license_id, malformed, or_empty, request_id, run_id, some_lease_ids, texts, timestamp,
};
use crate::{
    grpc::status,
    witness::{Said, Shown},
};

/// The time that a lease stands where the request names none, in milliseconds.
pub(crate) const DEFAULT_TTL_MS: u64 = 60_000;
/// The range of the time that a lease stands, in milliseconds.
pub(crate) const TTL_MS: std::ops::RangeInclusive<u64> = 10_000..=86_400_000;
/// The longest wait in the queue, in milliseconds.
pub(crate) const MOST_WAIT_MS: u64 = 3_600_000;
/// The most units of one lease.
pub(crate) const MOST_UNITS: u32 = 1_000_000;

/// Statements of installations that an application server may show.
const MOST_WITNESSES: usize = 64;
/// Leases that one call signs.
const MOST_SIGNED: usize = 1_000;
/// Licenses that one call names.
const MOST_LICENSES: usize = 64;

/// An application server's introduction.
pub(crate) struct Introduction {
    /// The command that it makes.
    pub(crate) attach: Attach,
    /// Site-wide keys that it wants to be told of; empty: all.
    pub(crate) watched: Vec<KeyName>,
    /// What installations signed, as it shows it.
    pub(crate) shown: Vec<Shown>,
}

/// The first message of a stream. The highest lease ID that it has seen says nothing: without the installation's signature
/// it is a claim. What it shows that cannot be understood is left out, since an application server that keeps something
/// damaged must not be locked out.
pub(crate) fn hello(known: Known, hello: &v1::Hello) -> Checked<Introduction> {
    Ok(Introduction {
        attach: Attach { caller: caller(known, hello.caller.as_ref())?, run: run_id("run_id", &hello.run_id)? },
        watched: key_names("watch_site_keys", &hello.watch_site_keys, MOST_KEYS)?,
        shown: hello.witnesses.iter().take(MOST_WITNESSES).filter_map(shown).collect(),
    })
}

fn shown(witness: &v1::Witness) -> Option<Shown> {
    let &v1::Witness { epoch, epoch_id, lease_id, .. } = witness;
    let installation = witness.installation_id.parse().ok()?;
    let statement = Statement { installation, epoch, epoch_id, fencing: lease_id };
    Some(Shown { statement, signature: witness.signature.clone() })
}

/// What the installation says, for an application server to keep.
pub(crate) fn said(said: &Said) -> v1::Witness {
    let Said { statement, signature } = said;
    v1::Witness {
        installation_id: statement.installation.to_string(),
        epoch: statement.epoch,
        epoch_id: statement.epoch_id,
        lease_id: statement.fencing,
        signature: signature.to_vec(),
    }
}

/// Leases that are to be signed: 1 to 1,000.
pub(crate) fn to_sign(ids: &[u64]) -> Checked<Vec<LeaseId>> {
    at_most("lease_ids", ids.len(), MOST_SIGNED)?;
    some_lease_ids("lease_ids", ids)
}

/// License IDs: at most 64.
pub(crate) fn license_ids(texts: &[String]) -> Checked<Vec<LicenseId>> {
    at_most("license_ids", texts.len(), MOST_LICENSES)?;
    texts.iter().map(|text| license_id("license_ids", text)).collect()
}

/// A request for one lease. The core fills in the ticket.
pub(crate) fn acquire(from: Origin, message: &v1::AcquireRequest) -> Checked<Acquire> {
    let request = request_id("request_id", &message.request_id)?;
    decided(from, request, message)
}

/// A request for one lease that is only to be explained: it needs no request ID.
pub(crate) fn explained(from: Origin, message: &v1::AcquireRequest) -> Checked<Acquire> {
    decided(from, RequestId([0; 16]), message)
}

fn decided(from: Origin, request: RequestId, message: &v1::AcquireRequest) -> Checked<Acquire> {
    let ttl_ms = match message.ttl_ms {
        0 => DEFAULT_TTL_MS,
        ms if TTL_MS.contains(&ms) => ms,
        ms => {
            return Err(malformed(
                "ttl_ms",
                format!(
                    "it is {ms}; {} to {} ms are allowed, and 0 for {DEFAULT_TTL_MS}",
                    TTL_MS.start(),
                    TTL_MS.end()
                ),
            ));
        }
    };
    if message.wait_ms > MOST_WAIT_MS {
        return Err(malformed("wait_ms", format!("it is {}; at most {MOST_WAIT_MS} ms are allowed", message.wait_ms)));
    }
    let priority = u8::try_from(message.priority)
        .ok()
        .filter(|class| *class <= 9)
        .ok_or_else(|| malformed("priority", format!("it is {}; 0 (first) to 9 are allowed", message.priority)))?;
    let ask = ask(message.subject.as_ref())?;
    Ok(Acquire { from, request, ask, ttl_ms, wait_ms: message.wait_ms, priority, ticket: Ticket(0) })
}

fn ask(subject: Option<&v1::acquire_request::Subject>) -> Checked<Ask> {
    use v1::{acquire_request::Subject, user_logon::At};
    match subject {
        None => Err(malformed("subject", "it is missing; one of logon, station and units is needed")),
        Some(Subject::Logon(logon)) => Ok(Ask::Logon {
            user: label("logon.user", &logon.user)?,
            place: match &logon.at {
                None => Place::None,
                Some(At::Station(station)) => Place::Station(label("logon.station", station)?),
                Some(At::DynamicRemoteNumber(number)) => {
                    Place::DynamicRemote(label("logon.dynamic_remote_number", number)?)
                }
            },
            computer: label_or_none("logon.computer", &logon.computer)?,
            needed: labels("logon.needed_keys", &logon.needed_keys, MOST_KEYS)?,
            application: label_or_none("logon.application", &logon.application)?,
        }),
        Some(Subject::Station(usage)) => Ok(Ask::Station {
            station: label("station.station", &usage.station)?,
            needed: labels("station.needed_keys", &usage.needed_keys, MOST_KEYS)?,
        }),
        Some(Subject::Units(units)) => {
            if units.units == 0 || units.units > MOST_UNITS {
                return Err(malformed("units.units", format!("it is {}; 1 to {MOST_UNITS} are allowed", units.units)));
            }
            Ok(Ask::Units { key: label("units.key", &units.key)?, units: units.units })
        }
    }
}

/// Leases and requests to give back; at least one.
pub(crate) fn release(from: Origin, request: Option<RequestId>, message: &v1::ReleaseRequest) -> Checked<Release> {
    let leases = lease_ids("lease_ids", &message.lease_ids)?;
    at_most("acquire_request_ids", message.acquire_request_ids.len(), MOST_LEASES)?;
    let acquired_by = message
        .acquire_request_ids
        .iter()
        .enumerate()
        .map(|(at, bytes)| request_id(format!("acquire_request_ids[{at}]"), bytes))
        .collect::<Checked<Vec<_>>>()?;
    match leases.len() + acquired_by.len() {
        0 => Err(malformed("lease_ids", format!("it is empty; name 1 to {MOST_LEASES} leases or acquire requests"))),
        1..=MOST_LEASES => Ok(Release { from, request, leases, acquired_by }),
        all => Err(malformed(
            "lease_ids",
            format!("{all} leases and acquire requests are named; at most {MOST_LEASES} are allowed"),
        )),
    }
}

/// A question about entitlements.
pub(crate) fn entitlements(message: &v1::EntitlementsRequest) -> Checked<EntitlementQuery> {
    if message.subjects.is_empty() {
        return Err(malformed("subjects", format!("it is empty; 1 to {MOST_SUBJECTS} are allowed")));
    }
    if message.keys.is_empty() {
        return Err(malformed("keys", format!("it is empty; 1 to {MOST_KEYS} are allowed")));
    }
    at_most("subjects", message.subjects.len(), MOST_SUBJECTS)?;
    let subjects =
        message.subjects.iter().enumerate().map(|(at, subject)| asked_subject(at, subject)).collect::<Checked<_>>()?;
    Ok(EntitlementQuery { subjects, keys: key_names("keys", &message.keys, MOST_KEYS)? })
}

fn asked_subject(at: usize, message: &v1::Subject) -> Checked<EntityName> {
    use v1::subject::Subject;
    let field = |kind: &str| format!("subjects[{at}].{kind}");
    match &message.subject {
        None => Err(malformed(
            format!("subjects[{at}]"),
            "it is empty; one of user, station, workgroup and organization is needed",
        )),
        Some(Subject::User(name)) => label(field("user"), name).map(EntityName::User),
        Some(Subject::Station(name)) => label(field("station"), name).map(EntityName::Station),
        Some(Subject::Workgroup(name)) => label(field("workgroup"), name).map(EntityName::Workgroup),
        Some(Subject::Organization(name)) => label(field("organization"), name).map(EntityName::Organization),
    }
}

/// A lease as its holder is shown it.
pub(crate) fn lease(view: &LeaseView) -> v1::Lease {
    let (ends_in_ms, end_reason) = match (view.ended, view.ends_in_ms) {
        (Some(ended), _) => (0, ended.as_str()),
        (None, Some((ms, reason))) => (ms, reason.as_str()),
        (None, None) => (0, ""),
    };
    v1::Lease {
        lease_id: view.id.0,
        state: match view.ended {
            None => v1::LeaseState::Live,
            Some(_) => v1::LeaseState::Ended,
        }
        .into(),
        user: or_empty(view.user.as_ref()),
        station: or_empty(view.station.as_ref()),
        computer: or_empty(view.computer.as_ref()),
        application: view.application.as_str().to_owned(),
        keys: view.keys.iter().map(held_key).collect(),
        missing: view
            .missing
            .iter()
            .map(|(key, refusal)| v1::MissingKey { key: key.to_string(), refusal: Some(status::wire(refusal)) })
            .collect(),
        warnings: view.warnings.iter().map(warning).collect(),
        interaction_types: texts(&view.types),
        ttl_ms: view.ttl_ms,
        ends_in_ms,
        end_reason: end_reason.to_owned(),
        granted_at: Some(timestamp(view.granted)),
        idle: view.idle,
        remote_number: or_empty(view.remote_number.as_ref()),
        token: Vec::new(),
    }
}

fn held_key(held: &HeldKeyView) -> v1::HeldKey {
    let (source, via) = match &held.source {
        SourceView::User => (v1::KeySource::User, String::new()),
        SourceView::Station => (v1::KeySource::Station, String::new()),
        SourceView::Included(key) => (v1::KeySource::Included, key.to_string()),
        SourceView::Logon => (v1::KeySource::Logon, String::new()),
        SourceView::Units => (v1::KeySource::Units, String::new()),
    };
    let (pool, units) = match (&held.seat, &held.assigned) {
        (Some((pool, units)), _) => (pool.to_string(), *units),
        (None, Some(pool)) => (pool.to_string(), 0),
        (None, None) => (String::new(), 0),
    };
    v1::HeldKey { key: held.key.to_string(), source: source.into(), pool, units, via }
}

/// Something to know that stands in nobody's way.
pub(crate) fn warning(warning: &Warning) -> v1::Warning {
    v1::Warning {
        reason: warning.reason().to_owned(),
        message: warning.message(),
        facts: warning.facts().into_iter().map(|(name, fact)| (name.to_owned(), fact)).collect(),
    }
}

/// What became of each lease, in the order asked.
pub(crate) fn lease_outcomes(outcomes: &[(LeaseId, Result<(), Refusal>)]) -> Vec<v1::LeaseOutcome> {
    outcomes
        .iter()
        .map(|(lease, result)| v1::LeaseOutcome { lease_id: lease.0, refusal: result.as_ref().err().map(status::wire) })
        .collect()
}

/// What became of each lease and request that was to be released, in the order asked.
pub(crate) fn release_outcomes(outcomes: &[ReleaseOutcome]) -> Vec<v1::ReleaseOutcome> {
    outcomes
        .iter()
        .map(|outcome| v1::ReleaseOutcome {
            lease_id: outcome.lease.map_or(0, |lease| lease.0),
            acquire_request_id: outcome.acquired_by.map_or_else(Vec::new, |request| request.0.to_vec()),
            refusal: outcome.result.as_ref().err().map(status::wire),
        })
        .collect()
}

/// A place in the queue.
pub(crate) fn waiting(position: u32, pools: &[PoolName]) -> v1::Waiting {
    v1::Waiting { position, pools: pools.iter().map(ToString::to_string).collect() }
}

/// A site-wide or counted key.
pub(crate) fn site_key(view: &SiteKeyView) -> v1::SiteKey {
    v1::SiteKey {
        key: view.key.to_string(),
        licensed: view.licensed,
        units: view.units.to_string(),
        reason: view.reason.clone(),
        kind: key_kind(view.kind).to_owned(),
    }
}

/// A watched key that the present files do not define.
pub(crate) fn unknown_site_key(key: &KeyName, refusal: &Refusal) -> v1::SiteKey {
    v1::SiteKey { key: key.to_string(), units: "0".to_owned(), reason: refusal.message(), ..Default::default() }
}

/// What sort of right a key is.
pub(crate) const fn key_kind(kind: KeyKind) -> &'static str {
    match kind {
        KeyKind::Server => "server",
        KeyKind::Access => "access",
        KeyKind::Feature => "feature",
        KeyKind::Engine => "engine",
        KeyKind::Session => "session",
        KeyKind::Hardware => "hardware",
    }
}

/// Site-wide keys, and whether a release may be installed where that was asked.
pub(crate) fn site_keys(keys: &[SiteKeyView], install: Option<InstallView>) -> v1::SiteKeysResponse {
    let keys = keys.iter().map(site_key).collect();
    match install {
        None => v1::SiteKeysResponse { keys, ..Default::default() },
        Some(InstallView { may_install, reason, maintenance_end }) => v1::SiteKeysResponse {
            keys,
            may_install,
            may_install_reason: reason,
            maintenance_end: maintenance_end.map(timestamp),
        },
    }
}

/// Who holds what, in the order asked.
pub(crate) fn entitlement(view: &EntitlementView) -> v1::SubjectEntitlement {
    use v1::subject::Subject;
    let (subject, group) = match &view.subject {
        EntityName::User(name) => (Subject::User(name.to_string()), false),
        EntityName::Station(name) => (Subject::Station(name.to_string()), false),
        EntityName::Workgroup(name) => (Subject::Workgroup(name.to_string()), true),
        EntityName::Organization(name) => (Subject::Organization(name.to_string()), true),
    };
    let subject = Some(v1::Subject { subject: Some(subject) });
    match &view.keys {
        Err(refusal) => v1::SubjectEntitlement { subject, refusal: Some(status::wire(refusal)), ..Default::default() },
        Ok(keys) => {
            let keys: Vec<_> = keys
                .iter()
                .map(|key| v1::KeyEntitlement {
                    key: key.key.to_string(),
                    held: key.holding > 0,
                    held_by_all: key.members > 0 && key.holding == key.members,
                    members: if group { key.members } else { 0 },
                    members_holding: if group { key.holding } else { 0 },
                    reason: key.reason.clone(),
                })
                .collect();
            v1::SubjectEntitlement {
                subject,
                any_of: keys.iter().any(|key| key.held),
                all_of: !keys.is_empty() && keys.iter().all(|key| key.held_by_all),
                keys,
                refusal: None,
            }
        }
    }
}

/// A decision told step by step.
pub(crate) fn explanation(explanation: &Explanation) -> v1::ExplainResponse {
    use v1::explain_response::Decision;
    v1::ExplainResponse {
        steps: explanation
            .steps
            .iter()
            .map(|step| v1::ExplainStep {
                rule: step.rule.to_owned(),
                passed: step.passed,
                message: step.message.clone(),
            })
            .collect(),
        decision: Some(match &explanation.decision {
            Ok(view) => Decision::WouldGrant(lease(view)),
            Err(refusal) => Decision::WouldRefuse(status::wire(refusal)),
        }),
    }
}

/// What a stream is told, but for site-wide keys, whose present state the stream asks for first.
pub(crate) fn told(told: &Told) -> Option<v1::event::Event> {
    use v1::event::Event;
    match told {
        Told::Ended { lease, reason, words } => Some(Event::LeaseEnded(v1::LeaseEnded {
            lease_id: lease.0,
            reason: reason.as_str().to_owned(),
            message: match words {
                None => format!("Lease {lease} has ended: {}.", reason.message()),
                Some(words) => format!("Lease {lease} has ended: {} ({words}).", reason.message()),
            },
        })),
        Told::Warned { lease, reason, ends_in_ms } => Some(Event::LeaseWarned(v1::LeaseWarned {
            lease_id: lease.0,
            reason: reason.as_str().to_owned(),
            message: format!("Lease {lease} ends in {}: {}.", duration(*ends_in_ms), reason.message()),
            ends_in_ms: *ends_in_ms,
        })),
        Told::Changed { lease: view, added, removed } => Some(Event::LeaseChanged(v1::LeaseChanged {
            lease: Some(lease(view)),
            added: added.iter().map(ToString::to_string).collect(),
            removed: removed.iter().map(ToString::to_string).collect(),
        })),
        Told::Standing(told) => Some(Event::StandingChanged(v1::StandingChanged {
            before: told.before.number().into(),
            stage: told.stage.number().into(),
            name: told.stage.title().to_owned(),
            reason: told.reason().to_owned(),
            message: told.message(),
            next_stage: told.next.map_or(0, |next| next.stage.number().into()),
            next_at: told.next.map(|next| timestamp(next.at)),
            leases_end_in_ms: told.leases_end_in_ms.unwrap_or(0),
        })),
        Told::SiteKeysChanged => None,
    }
}
