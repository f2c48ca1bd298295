//! Pools and shares as they stand, and those that are used beyond what is licensed (ADMIN-1, COMPLY-1).

use leasehold_keys::{
    activation::Units,
    definition::{KeyKind, Role},
    name::{KeyName, Label, Method, PoolName},
};

use crate::{
    command::ShareName,
    engine::Engine,
    ids::{OrganizationId, PoolId, ShareHolder},
    refusal::Refusal,
    row::{AssignmentRow, PoolStateRow},
    standing::Stage,
    time::Now,
    view::{ExceededView, PoolView, ShareView},
};

use super::{label_of, numbered};

impl Engine {
    /// Pools, by name; of one key, or as one organization uses them.
    ///
    /// # Errors
    /// `KEY_UNKNOWN`, `ORGANIZATION_UNKNOWN`.
    pub fn pools(&self, now: Now, key: Option<&KeyName>, organization: Option<&str>) -> Result<Vec<PoolView>, Refusal> {
        let wanted = key
            .map(|name| self.state.catalog.find(name.as_str()).ok_or_else(|| Refusal::KeyUnknown(name.to_string())))
            .transpose()?;
        let organization = organization
            .map(|name| {
                let id = name.parse::<Label>().ok().and_then(|name| self.state.organization_names.get(&name).copied());
                id.ok_or_else(|| Refusal::OrganizationUnknown(name.to_string()))
            })
            .transpose()?;
        let mut pools: Vec<PoolView> = self
            .state
            .pools
            .iter()
            .filter(|(id, _)| wanted.is_none_or(|key| id.key == key))
            .filter(|(id, pool)| {
                pool.capacity != Units::Count(0)
                    || !pool.assigned.is_empty()
                    || pool.leased > 0
                    || wanted == Some(id.key)
            })
            .map(|(id, _)| self.pool_view(*id, organization, now))
            .collect();
        pools.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(pools)
    }

    fn pool_view(&self, id: PoolId, organization: Option<OrganizationId>, now: Now) -> PoolView {
        let state = &self.state;
        let definition = state.catalog.get(id.key).map(|definition| &definition.def);
        let name = state.pool_name(id);
        let empty = crate::pool::Pool::default();
        let pool = state.pools.get(&id).unwrap_or(&empty);
        let plays_organization = state.catalog.plays(id.key, Role::Organization) && id.method == Method::Assignable;
        let (assigned, in_use) = match organization {
            None if plays_organization => (0, state.organizations.len() as u64),
            None => (pool.assigned.len() as u64, pool.held(id.method)),
            Some(organization) => {
                let mine =
                    |row: &&AssignmentRow| state.lineage(state.organization_of(row.subject)).contains(&organization);
                let assigned =
                    pool.assigned.iter().filter_map(|id| state.assignments.get(id)).filter(mine).count() as u64;
                (assigned, state.share_use(id, &ShareHolder::Organization(organization)))
            }
        };
        let message = match pool.state {
            Some(row) if row.closes.is_some_and(|at| at > now.lease) => format!(
                "closes in {}: its activation file has ended or ends",
                crate::words::duration(row.closes.map_or(0, |at| at.ms_since(now.lease)))
            ),
            Some(PoolStateRow { over_since: Some(since), .. }) => {
                let how_long = crate::words::duration(now.lease.ms_since(since));
                let call_port = state.catalog.is_call_port(id.key);
                let alone = pool.excess(id.method) > 0;
                format!(
                    "over its capacity {}for {how_long}; after 24 h the excess {} ended, newest first",
                    if alone { "" } else { "together with the other call ports " },
                    if call_port { "leases that are not in use are" } else { "leases are" },
                )
            }
            _ if state.cut(id).is_some() => {
                let stage = state.enforcement.stage;
                let jointly = if stage == Stage::Unlicensed { ", two of all call ports together" } else { "" };
                format!("limited to {} of {} by enforcement stage {stage}{jointly}", pool.capacity, pool.granted)
            }
            _ if state.enforced_away(id.key, false) && pool.capacity != Units::Count(0) => {
                format!("refused at enforcement stage {}", state.enforcement.stage)
            }
            _ if pool.capacity == Units::Count(0) => "not granted; assignments stay recorded".to_string(),
            _ => String::new(),
        };
        PoolView {
            title: definition.map(|def| def.title.clone()).unwrap_or_else(|| label_of(&name)),
            kind: definition.map_or(KeyKind::Access, |def| def.kind),
            group: definition.and_then(|def| def.group.clone()),
            capacity: pool.capacity,
            set_aside: pool.reserved(),
            assigned,
            in_use,
            waiting: pool.waiting(None),
            peak_today: pool.peak_today,
            denied_today: pool.denied_today,
            idle_ms: pool.rule.map_or(0, |rule| rule.idle_ms),
            idle_always: pool.rule.is_some_and(|rule| rule.idle_always),
            message,
            name,
        }
    }

    /// Shares, of one pool or of all.
    pub fn shares(&self, pool: Option<&PoolName>) -> Vec<ShareView> {
        let wanted = pool.map(|name| self.state.pool_id(name));
        let mut shares: Vec<ShareView> = self
            .state
            .pools
            .iter()
            .filter(|(id, _)| wanted.is_none_or(|wanted| wanted == Some(**id)))
            .flat_map(|(id, pool)| pool.shares.iter().map(move |share| (id, share)))
            .map(|(id, share)| ShareView {
                pool: self.state.pool_name(*id),
                holder: match &share.row.holder {
                    ShareHolder::Application(name) => ShareName::Application(name.clone()),
                    ShareHolder::Organization(id) => ShareName::Organization(
                        self.state
                            .organizations
                            .get(id)
                            .map_or_else(|| numbered("organization", id.0), |row| row.name.clone()),
                    ),
                },
                reserve: share.row.reserve,
                limit: share.row.limit,
                in_use: share.used,
            })
            .collect();
        shares.sort_by(|a, b| a.pool.cmp(&b.pool));
        shares
    }

    /// COMPLY-1: pools checked, and those that are used beyond their capacity.
    pub fn compliance(&self) -> (u64, Vec<ExceededView>) {
        let state = &self.state;
        let mut exceeded: Vec<ExceededView> = self.call_ports_exceeded().into_iter().collect();
        let jointly = |id: PoolId| !exceeded.is_empty() && state.catalog.is_call_port(id.key);
        let mut found = Vec::new();
        let mut checked = 0;
        for (id, pool) in &state.pools {
            let Units::Count(capacity) = pool.granted else {
                continue;
            };
            // A pool of which nothing is left is no pool, though it may be remembered.
            checked += u64::from(capacity > 0 || pool.held(id.method) > 0);
            if jointly(*id) {
                continue;
            }
            let plays = state.catalog.plays(id.key, Role::Organization) && id.method == Method::Assignable;
            let used = match plays {
                // SITE-3 counts organizations where any are licensed.
                true if capacity == 0 => 0,
                true => state.organizations.len() as u64,
                false => pool.held(id.method),
            };
            if used > u64::from(capacity) {
                let pool = state.pool_name(*id);
                let title = state
                    .catalog
                    .get(id.key)
                    .map_or_else(|| label_of(&pool), |definition| definition.def.title.clone());
                found.push(ExceededView { pool, title, licensed: u64::from(capacity), used });
            }
        }
        exceeded.append(&mut found);
        exceeded.sort_by(|a, b| a.pool.cmp(&b.pool));
        (checked, exceeded)
    }

    /// An unlicensed site's call ports are one pool, so that one error tells of them all: it names the first that is in use.
    fn call_ports_exceeded(&self) -> Option<ExceededView> {
        let state = &self.state;
        let licensed = state.unlicensed_call_ports()?;
        let used = state.call_ports_held();
        let in_use = state.call_ports().filter(|(_, pool)| pool.leased > 0 || !pool.assigned.is_empty());
        let mut pools: Vec<PoolName> = in_use.map(|(id, _)| state.pool_name(id)).collect();
        pools.sort();
        let pool = pools.first().filter(|_| used > licensed)?.clone();
        let title = match (pools.len(), state.pool_id(&pool).and_then(|id| state.catalog.get(id.key))) {
            (1, Some(definition)) => definition.def.title.clone(),
            _ => "all call ports together".parse().unwrap_or_else(|_| label_of(&pool)),
        };
        Some(ExceededView { pool, title, licensed, used })
    }
}
