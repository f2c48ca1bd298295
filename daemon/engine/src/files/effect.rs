//! What the accepted files come to: the catalog, each pool's capacity, and since when a pool is over it or closes (ALLOC-11,
//! LEVEL-5, LEVEL-6).

use super::*;

impl Turn<'_> {
    /// Makes definitions, capacities and their consequences follow the accepted files.
    pub(crate) fn refresh_grants(&mut self) {
        self.refresh(true);
    }

    /// The same; `steps`: what time has made of the standing of the licenses (05) is noted too.
    pub(crate) fn refresh(&mut self, steps: bool) {
        let before = self.site_keys_licensed();
        self.compile_catalog();
        self.audit_states();
        let now = self.now;
        self.look_at_standing(steps);
        let (grants, joint) = self.engine.state.grants_at(now);
        let joint = joint.or(self.engine.state.enforcement.call_ports_in_all());
        let ports_freed =
            std::mem::replace(&mut self.engine.state.joint_call_ports, joint).is_some() && joint.is_none();
        self.engine.state.development = self.engine.state.is_development(now);
        let mut pools: Vec<_> = self.engine.state.pools.keys().copied().collect();
        pools.extend(grants.keys().copied());
        pools.sort();
        pools.dedup();
        let mut changed = false;
        for id in pools {
            let granted = grants.get(&id).copied().unwrap_or(Units::Count(0));
            let capacity = self.engine.state.counted(id, granted);
            let call_port = self.engine.state.catalog.is_call_port(id.key);
            let pool = self.engine.state.pool(id);
            let old = pool.set_capacity(capacity, granted);
            changed |= old != capacity;
            if old < capacity || ports_freed && call_port {
                self.engine.state.freed.insert(id);
            }
        }
        self.follow_usage();
        self.engine.next_file_boundary = self.engine.state.file_boundaries(now).first().copied();
        let closing = self.closing_within_the_hour();
        let ids: Vec<_> = self.engine.state.pools.keys().copied().collect();
        for id in ids {
            self.judge_pool(id, closing.get(&id).copied());
        }
        if self.site_keys_licensed() != before {
            self.out.events.push(Event { to: None, what: Told::SiteKeysChanged });
        }
        if changed {
            self.check_compliance(false);
        }
    }

    fn site_keys_licensed(&self) -> Vec<(KeyId, bool, Units)> {
        let state = &self.engine.state;
        state
            .catalog
            .all()
            .filter(|(_, definition)| definition.def.kind.is_site_wide() || definition.def.kind.is_counted())
            .map(|(key, _)| {
                let pool = crate::ids::PoolId { key, method: leasehold_keys::name::Method::Assignable };
                (key, state.site_has(key) && !state.enforced_away(key, false), state.capacity(pool))
            })
            .collect()
    }

    fn compile_catalog(&mut self) {
        // When several accepted files define one key, the highest catalog version wins.
        let mut definitions: BTreeMap<_, (u32, KeyDefinition)> = BTreeMap::new();
        for row in self.engine.state.files.values() {
            for def in &row.terms.definitions {
                let version = row.terms.catalog_version;
                let slot = definitions.entry(def.name.clone()).or_insert_with(|| (version, def.clone()));
                if slot.0 < version {
                    *slot = (version, def.clone());
                }
            }
        }
        if definitions.is_empty()
            && let Some(def) = built_in_call_port()
        {
            definitions.insert(def.name.clone(), (0, def));
        }
        for name in definitions.keys() {
            if !self.engine.state.key_ids.contains_key(name) {
                let id = KeyId(u32::try_from(self.engine.state.key_names.len()).unwrap_or(u32::MAX).saturating_add(1));
                self.change(None, Some(Row::Key(KeyRow { id, name: name.clone() })));
            }
        }
        let definitions = definitions.into_values().map(|(_, def)| def).collect();
        let numbers = &self.engine.state.key_ids;
        self.engine.state.catalog = Catalog::compile(definitions, |name| numbers.get(name).copied());
    }

    /// Pools that a file's end within the hour takes to nothing, with the moment in lease time.
    fn closing_within_the_hour(&self) -> BTreeMap<crate::ids::PoolId, crate::time::LeaseTime> {
        let mut closing = BTreeMap::new();
        let state = &self.engine.state;
        let date = state.dated(self.now);
        for moment in state.file_boundaries(self.now) {
            let ahead_ms = moment.as_ms() - date.as_ms();
            if ahead_ms > HOUR_MS {
                break;
            }
            let then = Now { wall: moment, lease: self.now.lease, unconfirmed_ms: 0 };
            // Without any file call ports fall to two, not to nothing.
            let (grants, _) = state.grants_at(then);
            let at = self.now.lease.plus_ms(u64::try_from(ahead_ms).unwrap_or(0));
            for (id, pool) in &state.pools {
                if pool.capacity != Units::Count(0) && !grants.contains_key(id) {
                    closing.entry(*id).or_insert(at);
                }
            }
        }
        closing
    }

    /// ALLOC-11 and LEVEL-5 for one pool: remembers since when it is over its capacity, and when it closes.
    fn judge_pool(&mut self, id: crate::ids::PoolId, closes_at: Option<crate::time::LeaseTime>) {
        let state = &self.engine.state;
        let Some(pool) = state.pools.get(&id) else {
            return;
        };
        let before = pool.state;
        let gone = pool.capacity == Units::Count(0);
        // Going through a great pool takes a while, and it is seldom asked.
        let in_use = (gone || closes_at.is_some()) && !self.engine.closed(id);
        let over = !gone && state.is_over(id);
        let over_since = over.then(|| before.and_then(|state| state.over_since).unwrap_or(self.now.lease));
        let closes = if gone && in_use {
            Some(before.and_then(|state| state.closes).unwrap_or(self.now.lease.plus_ms(CLOSING_MS)))
        } else if in_use {
            closes_at
        } else {
            None
        };
        let after = (over_since.is_some() || closes.is_some()).then_some(PoolStateRow { pool: id, over_since, closes });
        if before == after {
            return;
        }
        self.change(before.map(Row::PoolState), after.map(Row::PoolState));
        if closes.is_some() && before.and_then(|state| state.closes).is_none() {
            // Those who hold it are told, in pieces.
            self.engine.closing_told.remove(&id);
        }
    }
}
