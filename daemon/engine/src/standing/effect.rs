//! What the stage of the site does to keys and pools (05, Standing). Looks, never changes.

use leasehold_keys::activation::Units;

use super::Stage;
use crate::{
    grants::UNLICENSED_CALL_PORTS,
    ids::{KeyId, PoolId},
    refusal::{Enforcement, Refusal},
    row::LeaseRow,
    state::State,
    time::LeaseTime,
};

/// Leases other than call ports end so long after stage 6 began, at the latest.
pub(crate) const LEASES_KEPT_MS: u64 = 12 * 3_600_000;
/// Stage 5 leaves one call port of so many, but at least two.
const PORTS_LEFT_OF: u32 = 5;
const PORTS_LEFT_MIN: u32 = 2;

/// What the standing of the licenses in effect comes to.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Enforced {
    /// Some license in effect stands under enforcement.
    pub applies: bool,
    /// The worst stage of them.
    pub stage: Stage,
    /// What brought the site there; none at stage 1.
    pub why: Option<Enforcement>,
    /// At stage 6: when leases other than call ports end.
    pub ends: Option<LeaseTime>,
}

impl Enforced {
    /// Stages 5 and 6.
    pub(crate) fn limits_ports(&self) -> bool {
        self.stage >= Stage::PortsLimited
    }

    /// Stage 6: so many call ports of all pools together.
    pub(crate) fn call_ports_in_all(&self) -> Option<u64> {
        (self.stage == Stage::Unlicensed).then_some(UNLICENSED_CALL_PORTS.into())
    }
}

impl State {
    /// True where the stage refuses a key; `held_before`: to a lease that has it.
    pub(crate) fn enforced_away(&self, key: KeyId, held_before: bool) -> bool {
        let stage = self.enforcement.stage;
        if stage < Stage::SupervisorDisabled {
            return false;
        }
        let call_port = self.catalog.is_call_port(key);
        self.catalog.is_supervisor(key) && !(held_before && call_port)
            || stage == Stage::Unlicensed && !held_before && !call_port
    }

    /// The refusal of a key that the stage refuses.
    pub(crate) fn enforced(&self, key: KeyId) -> Refusal {
        match &self.enforcement.why {
            Some(why) => Refusal::Enforced { key: self.key_name(key), why: Box::new(why.clone()) },
            None => Refusal::NotLicensed { key: self.key_name(key), unlicensed_site: false },
        }
    }

    /// What counts of a pool's grant: of call ports less at stages 5 and 6.
    pub(crate) fn counted(&self, id: PoolId, granted: Units) -> Units {
        if !self.enforcement.limits_ports() || !self.catalog.is_call_port(id.key) {
            return granted;
        }
        match (self.enforcement.stage, granted) {
            (Stage::Unlicensed, Units::Count(units)) => Units::Count(units.min(UNLICENSED_CALL_PORTS)),
            (Stage::Unlicensed, Units::Unlimited) => Units::Count(UNLICENSED_CALL_PORTS),
            (_, Units::Count(units)) => Units::Count((units / PORTS_LEFT_OF).max(PORTS_LEFT_MIN).min(units)),
            // A fifth of what has no bound has none.
            (_, Units::Unlimited) => Units::Unlimited,
        }
    }

    /// What is granted of a pool of which less counts, and why.
    pub(crate) fn cut(&self, id: PoolId) -> Option<(Units, Box<Enforcement>)> {
        let pool = self.pools.get(&id).filter(|pool| pool.capacity != pool.granted)?;
        Some((pool.granted, Box::new(self.enforcement.why.clone()?)))
    }

    /// The same of a pool that is bounded together with others.
    pub(crate) fn cut_to(&self, id: PoolId, joint: u64) -> Option<(Units, Box<Enforcement>)> {
        self.enforcement.call_ports_in_all().filter(|in_all| *in_all == joint)?;
        let granted = self.pools.get(&id)?.granted;
        Some((granted, Box::new(self.enforcement.why.clone()?)))
    }

    /// True for a lease that holds a call port: no stage ends it.
    pub(crate) fn is_call_port_lease(&self, row: &LeaseRow) -> bool {
        row.terms.keys.iter().any(|held| self.catalog.is_call_port(held.key))
            || row.terms.seats.iter().any(|seat| self.catalog.is_call_port(seat.pool.key))
    }

    /// At stage 6: when a lease ends at the latest.
    pub(crate) fn ends_with_stage(&self, row: &LeaseRow) -> Option<LeaseTime> {
        self.enforcement.ends.filter(|_| row.ended.is_none() && !self.is_call_port_lease(row))
    }

    /// True for a lease that lost a key to a stage, or never had it, and could have it now.
    pub(crate) fn could_regain(&self, row: &LeaseRow) -> bool {
        let mut refused = row.terms.missing.iter().filter(|(_, why)| matches!(why, Refusal::Enforced { .. }));
        let holds = |key: KeyId| row.terms.keys.iter().any(|held| held.key == key);
        let mut included =
            row.terms.keys.iter().filter_map(|held| self.catalog.get(held.key)).flat_map(|it| &it.includes);
        refused.any(|(key, _)| !self.enforced_away(*key, false))
            || included
                .any(|inner| self.catalog.is_supervisor(*inner) && !holds(*inner) && !self.enforced_away(*inner, false))
    }
}
