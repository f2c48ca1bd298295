//! Whether a pool has room for one more claim, and the full account of why it has not (ALLOC-14).

use std::collections::BTreeSet;

use leasehold_keys::{
    activation::Units,
    name::{Label, Method},
};

use crate::{
    ids::{OrganizationId, PoolId, ShareHolder},
    pool::{Pool, Share},
    queue::{HEAD_AGE_MS, Place, Queue},
    refusal::{Exhausted, HolderLine, Holding, Limit, Refusal},
    row::LeaseSubject,
    state::State,
    time::Now,
};

/// On whose behalf seats are asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Claimant {
    /// The organization and those above it.
    pub lineage: Vec<OrganizationId>,
    /// The application; none for an assignment.
    pub application: Option<Label>,
    /// Its place in the queue; a claimant without one waits for nothing and overtakes nobody.
    pub place: Option<Place>,
    /// Seats that pass on to it from leases which end in the same step (ALLOC-8), with the application of each.
    pub passing: Vec<(PoolId, u64, Label)>,
    /// An administrator's assignment, which waiting requests do not hold up.
    pub assigns: bool,
    /// As if there were room in every pool: what else stands against a request?
    pub roomy: bool,
}

impl Claimant {
    /// Units of a share's use that end in the same step.
    fn passed_on(&self, id: PoolId, share: &Share) -> u64 {
        // The leases that end are of the same user, so of the same organizations.
        let of_share = |application: &Label| share.belongs_to(&self.lineage, Some(application));
        self.passing.iter().filter(|(pool, _, app)| *pool == id && of_share(app)).map(|(_, units, _)| units).sum()
    }
}

/// What stands for an application where seats are assigned (LEASE-12).
pub(crate) const ASSIGNED: &str = "assigned";
/// Oldest holders that a refusal names.
const OLDEST_NAMED: usize = 8;

impl State {
    /// Room for `units` more, or the refusal.
    pub(crate) fn room(
        &self,
        queue: &Queue,
        id: PoolId,
        units: u32,
        claimant: &Claimant,
        now: Now,
    ) -> Result<(), Refusal> {
        let Some(pool) = self.pools.get(&id).filter(|_| self.is_granted(id)) else {
            return Err(self.not_licensed(id.key, now));
        };
        // What is assigned is recorded all the same, and has effect when the site is in good standing.
        if !claimant.assigns && self.enforced_away(id.key, false) {
            return Err(self.enforced(id.key));
        }
        if claimant.roomy {
            return Ok(());
        }
        for share in
            pool.shares.iter().filter(|share| share.belongs_to(&claimant.lineage, claimant.application.as_ref()))
        {
            let used = share.used_without(claimant.passed_on(id, share));
            if let Some(limit) = share.row.limit
                && used + u64::from(units) > u64::from(limit)
            {
                return Err(Refusal::LimitReached(Limit::Share {
                    holder: self.share_holder_name(&share.row.holder),
                    pool: self.pool_name(id),
                    used,
                    limit,
                }));
            }
        }
        let passing: u64 = claimant.passing.iter().filter(|(pool, _, _)| *pool == id).map(|(_, units, _)| units).sum();
        // Of a pool above its capacity a seat that passes on is one of those too many (ALLOC-11).
        let mut free = pool.free_without(id.method, passing);
        if let Some(joint) = self.joint_call_ports
            && self.catalog.is_call_port(id.key)
        {
            let held = self.call_ports_held();
            let left = (joint + passing).saturating_sub(held);
            if left < u64::from(units).min(free) {
                return Err(self.joint_exhausted(id, units, joint, held, claimant.place, now));
            }
            free = free.min(left);
        }
        // Reserves are made of what is granted. Of what an enforcement stage leaves they could take all, and keep it from
        // those too whom they are for.
        let shares = if pool.capacity == pool.granted { &pool.shares[..] } else { &[] };
        let mut set_aside: u64 = shares
            .iter()
            .filter(|share| !share.belongs_to(&claimant.lineage, claimant.application.as_ref()))
            .map(|share| share.unused_reserve(claimant.passed_on(id, share)))
            .sum();
        if !claimant.assigns {
            set_aside = set_aside.saturating_add(match (pool.head, claimant.place) {
                (None, _) => 0,
                // A request that does not wait never overtakes: what those who wait want is theirs.
                (Some(_), None) => {
                    let mut wanted = 0_u64;
                    for place in &pool.waiters {
                        wanted = wanted.saturating_add(queue.wants(*place, id));
                        if wanted >= free {
                            break;
                        }
                    }
                    wanted
                }
                // What has been first for 10 s has freed units set aside for it.
                (Some((head, since)), Some(place)) if head < place && now.lease.ms_since(since) >= HEAD_AGE_MS => {
                    queue.units_wanted(head, id)
                }
                (Some(_), Some(_)) => 0,
            });
        }
        if free.saturating_sub(set_aside) >= u64::from(units) {
            return Ok(());
        }
        Err(self.exhausted_for(id, units, set_aside.min(free), claimant.place, now))
    }

    /// The bound on all call ports together of a site without a file (01, Levels). That of stage 6 is none of this: it ends
    /// nothing that runs.
    pub(crate) fn unlicensed_call_ports(&self) -> Option<u64> {
        self.joint_call_ports.filter(|_| !self.enforcement.limits_ports())
    }

    /// What frees one of an unlicensed site's call ports frees them all (01, Levels).
    pub(crate) fn free_jointly(&self, freed: &mut BTreeSet<PoolId>) {
        if self.joint_call_ports.is_some() && freed.iter().any(|id| self.catalog.is_call_port(id.key)) {
            freed.extend(self.pools.keys().filter(|id| self.catalog.is_call_port(id.key)));
        }
    }

    /// An unlicensed site's call ports are one pool: all of them are in the account.
    fn joint_exhausted(
        &self,
        id: PoolId,
        units: u32,
        joint: u64,
        held: u64,
        place: Option<Place>,
        now: Now,
    ) -> Refusal {
        match self.exhausted_for(id, units, 0, place, now) {
            Refusal::PoolExhausted(account) => Refusal::PoolExhausted(Box::new(Exhausted {
                capacity: Units::Count(u32::try_from(joint).unwrap_or(u32::MAX)),
                held,
                cut: account.cut.clone().or_else(|| self.cut_to(id, joint)),
                ..*account
            })),
            other => other,
        }
    }

    /// The pools of an unlicensed site's call ports, which are one for all purposes.
    pub(crate) fn call_ports(&self) -> impl Iterator<Item = (PoolId, &Pool)> {
        self.pools.iter().filter(|(id, _)| self.catalog.is_call_port(id.key)).map(|(id, pool)| (*id, pool))
    }

    pub(crate) fn call_ports_held(&self) -> u64 {
        self.call_ports().map(|(id, pool)| pool.held(id.method)).sum()
    }

    pub(crate) fn share_holder_name(&self, holder: &ShareHolder) -> String {
        match holder {
            ShareHolder::Organization(id) => self
                .organizations
                .get(id)
                .map_or_else(|| format!("organization number {id}"), |row| format!("organization {}", row.name)),
            ShareHolder::Application(name) => format!("application {name}"),
        }
    }

    /// The account of a full pool.
    pub(crate) fn exhausted(&self, id: PoolId, wanted: u32, set_aside: u64, now: Now) -> Refusal {
        self.exhausted_for(id, wanted, set_aside, None, now)
    }

    /// The same for a claimant at this place in the queue: those who come after it do not wait before it.
    fn exhausted_for(&self, id: PoolId, wanted: u32, set_aside: u64, place: Option<Place>, now: Now) -> Refusal {
        let pool = self.pools.get(&id);
        Refusal::PoolExhausted(Box::new(Exhausted {
            pool: self.pool_name(id),
            capacity: pool.map_or(Units::Count(0), |pool| pool.capacity),
            held: self.held(id),
            wanted,
            set_aside,
            waiting: pool.map_or(0, |pool| pool.waiting(place)),
            holders: self.holding(id),
            frees_in_ms: self.frees_in_ms(id, now),
            cut: self.cut(id),
        }))
    }

    /// Who holds a pool: counts by application and the eight oldest (LEASE-12).
    pub(crate) fn holding(&self, id: PoolId) -> Holding {
        let Some(pool) = self.pools.get(&id) else {
            return Holding::default();
        };
        let mut by_application: Vec<(String, u64)> =
            pool.by_application.iter().map(|(name, count)| (name.to_string(), *count)).collect();
        let mut oldest = Vec::new();
        if id.method == Method::Assignable && !pool.assigned.is_empty() {
            by_application.push((ASSIGNED.into(), pool.assigned.len() as u64));
            for row in pool.assigned.iter().take(OLDEST_NAMED).filter_map(|id| self.assignments.get(id)) {
                oldest.push(HolderLine { who: self.subject_name(row.subject), since: row.since, lease: None });
            }
        }
        for row in
            pool.holders.iter().take(OLDEST_NAMED - oldest.len()).filter_map(|id| self.leases.get(id)).map(|l| &l.row)
        {
            let who = match &row.subject {
                LeaseSubject::Units => self
                    .holders
                    .get(&row.holder)
                    .map_or_else(|| row.application.to_string(), |holder| holder.row.identity.to_string()),
                subject => State::subject_of(subject).map(|subject| self.subject_name(subject)).unwrap_or_default(),
            };
            oldest.push(HolderLine { who, since: row.granted_wall, lease: Some(row.id) });
        }
        by_application.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        Holding { by_application, oldest }
    }

    /// The soonest known end among the oldest holders: a stated end, or a lapse where the holder has been silent so long
    /// that its lease counts as unconfirmed (LEASE-5).
    fn frees_in_ms(&self, id: PoolId, now: Now) -> Option<u64> {
        let pool = self.pools.get(&id)?;
        pool.holders
            .iter()
            .take(OLDEST_NAMED)
            .filter_map(|id| self.leases.get(id))
            .filter_map(|lease| {
                let lapse = self.lapse(&lease.row, lease.renewed);
                let silent = lapse.ms_since(now.lease) < lease.row.ttl_ms * 3 / 10 + 5_000;
                let stated = lease.row.ends.map(|(at, _)| at);
                let at = if silent { Some(stated.map_or(lapse, |at| at.min(lapse))) } else { stated };
                at.map(|at| at.ms_since(now.lease))
            })
            .min()
    }
}
