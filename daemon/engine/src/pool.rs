//! One pool: how much there is, who has it, what is set aside for whom.

use std::collections::{BTreeMap, BTreeSet};

use leasehold_keys::{
    activation::Units,
    name::{Label, Method},
};

use crate::{
    ids::{AssignmentId, LeaseId, OrganizationId, ShareHolder},
    queue::Place,
    row::{PoolRuleRow, PoolStateRow, ShareRow},
    time::LeaseTime,
};

/// A part of a pool that belongs to an organization or an application.
#[derive(Clone, Debug)]
pub(crate) struct Share {
    pub row: ShareRow,
    /// Seats that it holds.
    pub used: u64,
}

#[derive(Debug)]
pub(crate) struct Pool {
    /// What the files in effect grant.
    pub capacity: Units,
    /// Assignments, oldest first. In a concurrent pool they take no seat (ALLOC-5).
    pub assigned: BTreeSet<AssignmentId>,
    /// Seats and units that leases hold; a user's shared seat counts once (ALLOC-7).
    pub leased: u64,
    /// Leases that use it, oldest first.
    pub holders: BTreeSet<LeaseId>,
    /// Those leases by application.
    pub by_application: BTreeMap<Label, u64>,
    pub shares: Vec<Share>,
    pub rule: Option<PoolRuleRow>,
    pub state: Option<PoolStateRow>,
    /// Requests that wait for it, first first.
    pub waiters: BTreeSet<Place>,
    /// The first of them that someone still waits for, and since when it is the first.
    pub head: Option<(Place, LeaseTime)>,
    /// Since midnight UTC or the start.
    pub peak_today: u64,
    pub denied_today: u64,
}

impl Default for Pool {
    fn default() -> Self {
        Self {
            capacity: Units::Count(0),
            assigned: BTreeSet::new(),
            leased: 0,
            holders: BTreeSet::new(),
            by_application: BTreeMap::new(),
            shares: Vec::new(),
            rule: None,
            state: None,
            waiters: BTreeSet::new(),
            head: None,
            peak_today: 0,
            denied_today: 0,
        }
    }
}

impl Pool {
    /// Seats taken: assignments (ALLOC-2, ALLOC-3) and leases.
    pub(crate) fn held(&self, method: Method) -> u64 {
        match method {
            Method::Assignable => self.assigned.len() as u64 + self.leased,
            Method::Concurrent => self.leased,
        }
    }

    /// Seats free of all claims; for an unlimited pool as many as can be counted (ALLOC-12).
    pub(crate) fn free(&self, method: Method) -> u64 {
        self.free_without(method, 0)
    }

    /// The same, as if so many seats had ended.
    pub(crate) fn free_without(&self, method: Method, ended: u64) -> u64 {
        match self.capacity {
            Units::Unlimited => u64::MAX,
            Units::Count(capacity) => u64::from(capacity).saturating_sub(self.held(method).saturating_sub(ended)),
        }
    }

    /// By how much it is over its capacity (ALLOC-11).
    pub(crate) fn excess(&self, method: Method) -> u64 {
        match self.capacity {
            Units::Unlimited => 0,
            Units::Count(capacity) => self.held(method).saturating_sub(u64::from(capacity)),
        }
    }

    pub(crate) fn note_peak(&mut self, method: Method) {
        self.peak_today = self.peak_today.max(self.held(method));
    }

    /// Moves the use of the shares of these organizations, or of this application.
    pub(crate) fn use_shares(
        &mut self,
        lineage: &[OrganizationId],
        application: Option<&Label>,
        units: u64,
        more: bool,
    ) {
        for share in &mut self.shares {
            let mine = match &share.row.holder {
                ShareHolder::Organization(id) => lineage.contains(id),
                ShareHolder::Application(name) => application == Some(name),
            };
            if mine {
                share.used = if more { share.used + units } else { share.used.saturating_sub(units) };
            }
        }
    }

    /// Units reserved by shares and not yet in use by them.
    pub(crate) fn reserved(&self) -> u64 {
        self.shares.iter().map(|share| share.unused_reserve(0)).sum()
    }
}

impl Share {
    /// Its use, as if so many units had ended.
    pub(crate) fn used_without(&self, ended: u64) -> u64 {
        self.used.saturating_sub(ended)
    }

    /// What is still set aside for it, as if so many units had ended.
    pub(crate) fn unused_reserve(&self, ended: u64) -> u64 {
        u64::from(self.row.reserve).saturating_sub(self.used_without(ended))
    }

    pub(crate) fn belongs_to(&self, lineage: &[OrganizationId], application: Option<&Label>) -> bool {
        match &self.row.holder {
            ShareHolder::Organization(id) => lineage.contains(id),
            ShareHolder::Application(name) => application == Some(name),
        }
    }
}
