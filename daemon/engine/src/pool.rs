//! One pool: how much there is, who has it, what is set aside for whom.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
};

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
    pub granted: Units,
    /// What counts of it: less than that where enforcement limits call ports (05, stages 5 and 6).
    pub capacity: Units,
    /// Assignments, oldest first. In a concurrent pool they take no seat (ALLOC-5).
    pub assigned: BTreeSet<AssignmentId>,
    /// Where there are more than the capacity: the newest that counts (ALLOC-11). Kept, since finding it is a walk as long as
    /// the capacity.
    pub last_counted: Option<AssignmentId>,
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
    /// Those of them whose caller is gone: their places are kept, and nobody waits there.
    pub away: BTreeSet<Place>,
    /// The first of them that someone still waits for, and since when it is the first.
    pub head: Option<(Place, LeaseTime)>,
    /// Since midnight UTC or the start.
    pub peak_today: u64,
    pub denied_today: u64,
}

impl Default for Pool {
    fn default() -> Self {
        Self {
            granted: Units::Count(0),
            capacity: Units::Count(0),
            assigned: BTreeSet::new(),
            last_counted: None,
            leased: 0,
            holders: BTreeSet::new(),
            by_application: BTreeMap::new(),
            shares: Vec::new(),
            rule: None,
            state: None,
            waiters: BTreeSet::new(),
            away: BTreeSet::new(),
            head: None,
            peak_today: 0,
            denied_today: 0,
        }
    }
}

impl Pool {
    /// One more assignment.
    pub(crate) fn assign(&mut self, id: AssignmentId) {
        self.assigned.insert(id);
        match self.last_counted {
            Some(last) if id < last => self.last_counted = self.assigned.range(..last).next_back().copied(),
            Some(_) => {}
            None => self.last_counted = self.find_last_counted(),
        }
    }

    /// One less.
    pub(crate) fn unassign(&mut self, id: AssignmentId) {
        self.assigned.remove(&id);
        if self.capacity >= Units::Count(u32::try_from(self.assigned.len()).unwrap_or(u32::MAX)) {
            self.last_counted = None;
        } else if let Some(last) = self.last_counted.filter(|last| id <= *last) {
            self.last_counted = self.assigned.range((Bound::Excluded(last), Bound::Unbounded)).next().copied();
        }
    }

    /// Another capacity, of so much that is granted; returns the one before.
    pub(crate) fn set_capacity(&mut self, capacity: Units, granted: Units) -> Units {
        self.granted = granted;
        let old = std::mem::replace(&mut self.capacity, capacity);
        if old != capacity {
            self.last_counted = self.find_last_counted();
        }
        old
    }

    /// The newest assignment that counts, from the rows alone: a walk from whichever end is nearer.
    pub(crate) fn find_last_counted(&self) -> Option<AssignmentId> {
        let Units::Count(capacity @ 1..) = self.capacity else {
            return None;
        };
        let capacity = usize::try_from(capacity).unwrap_or(usize::MAX);
        let beyond = self.assigned.len().checked_sub(capacity).filter(|beyond| *beyond > 0)?;
        if beyond < capacity {
            self.assigned.iter().nth_back(beyond).copied()
        } else {
            self.assigned.iter().nth(capacity - 1).copied()
        }
    }

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

    /// By how much it is over what is granted (ALLOC-11). What enforcement limits ends nothing that runs, and is none.
    pub(crate) fn excess(&self, method: Method) -> u64 {
        match self.granted {
            Units::Unlimited => 0,
            Units::Count(capacity) => self.held(method).saturating_sub(u64::from(capacity)),
        }
    }

    pub(crate) fn note_peak(&mut self, method: Method) {
        self.peak_today = self.peak_today.max(self.held(method));
    }

    /// Requests that wait before a place, or in all. One whose caller is gone is passed over and counts for nobody, though it
    /// has its place again if the caller comes back in time.
    pub(crate) fn waiting(&self, before: Option<Place>) -> u64 {
        let count = |places: &BTreeSet<Place>| match before {
            None | Some(Place::LAST) => places.len(),
            Some(place) => places.range(..place).count(),
        };
        (count(&self.waiters) - count(&self.away)) as u64
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
