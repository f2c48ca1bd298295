//! Live leases, and what came of revoking them.

use leasehold_proto::v1;
use serde::Serialize;

use super::{
    At, Document, NoticeDocument, RefusalDocument, given, or_empty,
    page::{Page, Tone, counted, number},
    table::Cell,
};
use crate::clock;

/// A lease.
#[derive(Clone, Debug, Serialize)]
pub struct LeaseDocument {
    /// Rises with every grant for ever; 0 in an explanation.
    pub lease_id: u64,
    /// `live` or `ended`.
    pub state: &'static str,
    /// The user.
    pub user: Option<String>,
    /// The station.
    pub station: Option<String>,
    /// The telephone number of a dynamic remote logon.
    pub remote_number: Option<String>,
    /// The user's computer.
    pub computer: Option<String>,
    /// The application.
    pub application: Option<String>,
    /// The keys that are held.
    pub keys: Vec<HeldKeyDocument>,
    /// Keys given to the subject that could not be had.
    pub missing: Vec<MissingKeyDocument>,
    /// What wants attention.
    pub warnings: Vec<NoticeDocument>,
    /// Interaction types that the user may receive (MEDIA-3).
    pub interaction_types: Vec<String>,
    /// How long it lives without being renewed.
    pub ttl_ms: u64,
    /// When it ends whatever is renewed; null: it does not.
    pub ends_in_ms: Option<u64>,
    /// Why it ends then, or has ended.
    pub end_reason: Option<String>,
    /// When it was granted.
    pub granted_at: Option<At>,
    /// Whether its application marked it idle.
    pub idle: bool,
}

/// A key that a lease holds.
#[derive(Clone, Debug, Serialize)]
pub struct HeldKeyDocument {
    /// The key.
    pub key: String,
    /// `user`, `station`, `included`, `logon` or `units`.
    pub source: &'static str,
    /// The pool in which the key counts; null for one that comes with another.
    pub pool: Option<String>,
    /// The seats or units that the lease itself takes there; null where the key rests upon an assignment.
    pub units: Option<u32>,
    /// The key that it comes with; null where it comes by itself.
    pub via: Option<String>,
}

/// A key that could not be had.
#[derive(Clone, Debug, Serialize)]
pub struct MissingKeyDocument {
    /// The key.
    pub key: String,
    /// Why.
    pub refusal: Option<RefusalDocument>,
}

impl From<v1::HeldKey> for HeldKeyDocument {
    fn from(held: v1::HeldKey) -> Self {
        let source = match held.source() {
            v1::KeySource::Unspecified => "unspecified",
            v1::KeySource::User => "user",
            v1::KeySource::Station => "station",
            v1::KeySource::Included => "included",
            v1::KeySource::Logon => "logon",
            v1::KeySource::Units => "units",
        };
        Self {
            key: held.key,
            source,
            pool: given(held.pool),
            units: Some(held.units).filter(|units| *units > 0),
            via: given(held.via),
        }
    }
}

impl From<v1::Lease> for LeaseDocument {
    fn from(lease: v1::Lease) -> Self {
        let state = match lease.state() {
            v1::LeaseState::Unspecified => "unspecified",
            v1::LeaseState::Live => "live",
            v1::LeaseState::Ended => "ended",
        };
        Self {
            lease_id: lease.lease_id,
            state,
            user: given(lease.user),
            station: given(lease.station),
            remote_number: given(lease.remote_number),
            computer: given(lease.computer),
            application: given(lease.application),
            keys: lease.keys.into_iter().map(Into::into).collect(),
            missing: lease
                .missing
                .into_iter()
                .map(|missing| MissingKeyDocument { key: missing.key, refusal: missing.refusal.map(Into::into) })
                .collect(),
            warnings: lease.warnings.into_iter().map(Into::into).collect(),
            interaction_types: lease.interaction_types,
            ttl_ms: lease.ttl_ms,
            ends_in_ms: Some(lease.ends_in_ms).filter(|ms| *ms > 0),
            end_reason: given(lease.end_reason),
            granted_at: At::from_wire(lease.granted_at),
            idle: lease.idle,
        }
    }
}

/// A lease and its holder.
#[derive(Clone, Debug, Serialize)]
pub struct HeldLeaseDocument {
    /// The lease.
    #[serde(flatten)]
    pub lease: LeaseDocument,
    /// Who holds it, and how that is known: `uid:1000`, `name:acd-2`.
    pub identity: String,
    /// Tells several processes of one name apart.
    pub instance: Option<String>,
    /// The machine that the holder runs on.
    pub host: Option<String>,
    /// Whether the holder's stream is up.
    pub attached: bool,
    /// When it was last renewed.
    pub last_renewed_ms_ago: u64,
}

impl HeldLeaseDocument {
    /// From the wire; `None` where there is no lease in it.
    #[must_use]
    pub fn from_wire(held: v1::HeldLease) -> Option<Self> {
        Some(Self {
            lease: held.lease?.into(),
            identity: held.identity,
            instance: given(held.instance),
            host: given(held.host),
            attached: held.attached,
            last_renewed_ms_ago: held.last_renewed_ms_ago,
        })
    }

    fn holder(&self) -> String {
        let mut text = self.identity.clone();
        if let Some(instance) = &self.instance {
            text.push_str(&format!(" ({instance})"));
        }
        if let Some(host) = &self.host {
            text.push_str(&format!(" on {host}"));
        }
        text
    }

    fn note(&self) -> String {
        let mut notes = Vec::new();
        if !self.attached {
            notes.push("holder not attached".to_owned());
        }
        if self.lease.idle {
            notes.push("idle".to_owned());
        }
        if let Some(ms) = self.lease.ends_in_ms {
            let why = self.lease.end_reason.as_ref().map_or_else(String::new, |why| format!(" ({why})"));
            notes.push(format!("ends in {}{why}", clock::duration(ms)));
        }
        if !self.lease.missing.is_empty() {
            notes.push(format!("without {}", self.lease.missing_text()));
        }
        notes.join("; ")
    }
}

impl LeaseDocument {
    /// The keys that count in a pool first, then those that came along.
    #[must_use]
    pub fn keys_text(&self) -> String {
        let (seated, others): (Vec<_>, Vec<_>) = self.keys.iter().partition(|held| held.pool.is_some());
        let text = |held: &&HeldKeyDocument| match held.units {
            Some(units) if units > 1 => format!("{} ×{}", held.key, number(units.into())),
            _ => held.key.clone(),
        };
        seated.iter().chain(&others).map(text).collect::<Vec<_>>().join(", ")
    }

    fn missing_text(&self) -> String {
        self.missing.iter().map(|missing| missing.key.as_str()).collect::<Vec<_>>().join(", ")
    }
}

/// The document of `leasehold leases`.
#[derive(Clone, Debug, Serialize)]
pub struct LeasesDocument {
    /// The leases.
    pub leases: Vec<HeldLeaseDocument>,
}

impl Document for LeasesDocument {
    fn write_text(&self, page: &mut Page<'_>) {
        if self.leases.is_empty() {
            page.line("no live leases");
            return;
        }
        write_leases(&self.leases, page);
    }
}

/// The leases as a table.
pub(super) fn write_leases(leases: &[HeldLeaseDocument], page: &mut Page<'_>) {
    let clock = page.clock();
    let rows = leases
        .iter()
        .map(|held| {
            let lease = &held.lease;
            vec![
                Cell::right(lease.lease_id.to_string()),
                Cell::text(or_empty(&lease.user)),
                Cell::text(lease.station.as_deref().or(lease.remote_number.as_deref()).unwrap_or_default()),
                Cell::text(or_empty(&lease.computer)),
                Cell::prose(or_empty(&lease.application)),
                Cell::prose(lease.keys_text()),
                Cell::prose(held.holder()),
                Cell::text(lease.granted_at.map_or_else(String::new, |at| clock.distance(at.0))),
                Cell::text(clock::ago(held.last_renewed_ms_ago)),
                Cell::prose(held.note()),
            ]
        })
        .collect();
    page.table(
        &["LEASE", "USER", "STATION", "COMPUTER", "APPLICATION", "KEYS", "HELD BY", "GRANTED", "RENEWED", "NOTE"],
        rows,
    );
}

/// The document of `leasehold revoke`.
#[derive(Clone, Debug, Serialize)]
pub struct RevokeDocument {
    /// The reason that the holders were told.
    pub reason: String,
    /// Leases that were ended.
    pub revoked: u64,
    /// Leases that were not.
    pub refused: u64,
    /// What came of each.
    pub outcomes: Vec<RevokeOutcomeDocument>,
    /// Whose leases were asked for, for people: `agent-001`, `station s-1`; empty where they were given by number.
    #[serde(skip)]
    pub of: String,
}

/// What came of revoking one lease.
#[derive(Clone, Debug, Serialize)]
pub struct RevokeOutcomeDocument {
    /// The lease.
    pub lease_id: u64,
    /// Why it was not revoked; null where it was.
    pub refusal: Option<RefusalDocument>,
}

impl Document for RevokeDocument {
    fn write_text(&self, page: &mut Page<'_>) {
        if self.outcomes.is_empty() {
            page.line(&format!("{} has no live leases: nothing was revoked", self.of));
            return;
        }
        let ids: Vec<String> = self
            .outcomes
            .iter()
            .filter(|outcome| outcome.refusal.is_none())
            .map(|outcome| outcome.lease_id.to_string())
            .collect();
        match ids.len() {
            0 => {}
            1 => page.line(&format!("lease {} is revoked; its holder is told: {}", ids[0], self.reason)),
            _ => page.line(&format!(
                "{} are revoked; their holders are told: {} (leases {})",
                counted(self.revoked, "lease", "leases"),
                self.reason,
                ids.join(", ")
            )),
        }
        for outcome in &self.outcomes {
            if let Some(refusal) = &outcome.refusal {
                page.marked(Tone::Bad, "not revoked", &format!("lease {}: {}", outcome.lease_id, refusal.message));
            }
        }
    }
}
