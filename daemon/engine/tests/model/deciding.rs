//! What a request gets on paper: granted with what, or refused with any of several right reasons.

use super::*;

impl Site {
    /// What an acquire would get now, where seats of `blocked` pools are for others who wait.
    pub(crate) fn decide(&self, what: &What, blocked: &[Pool]) -> Decision {
        match what {
            What::Logon { user, at, needed, .. } => self.decide_logon(what, user, at, needed, blocked),
            What::Station { station, needed } => self.decide_station(station, needed),
            What::Units { key, units } => self.decide_units(key, *units, blocked),
        }
    }

    fn decide_units(&self, key: Key, units: u32, blocked: &[Pool]) -> Decision {
        let Some(known) = facts().iter().find(|fact| fact.key == key) else {
            return Decision::Refused(vec![("KEY_UNKNOWN", None)]);
        };
        let pool = assignable(key);
        if !matches!(known.kind, KeyKind::Session | KeyKind::Engine | KeyKind::Hardware) {
            return Decision::Refused(vec![("HOLDER_NOT_ALLOWED", Some(key))]);
        }
        if self.capacity(pool) == 0 {
            return Decision::Refused(vec![("NOT_LICENSED", Some(key))]);
        }
        if !known.requires.iter().all(|required| self.site_has(required)) {
            return Decision::Refused(vec![("PREREQUISITE_MISSING", Some(key))]);
        }
        if self.free_without(pool, &[]) < u64::from(units) || blocked.contains(&pool) {
            return Decision::Refused(vec![("POOL_EXHAUSTED", Some(key))]);
        }
        Decision::Granted(vec![(key, Some((pool, units)))])
    }

    fn decide_station(&self, name: Name, needed: &[Key]) -> Decision {
        let Some(station) = self.station(name) else { return Decision::Refused(vec![("STATION_UNKNOWN", None)]) };
        let mut whys: Vec<Why> = self.station_fault(station, false).into_iter().collect();
        let rights = self.station_rights(name);
        for key in needed.iter().copied().filter(|key| !rights.contains(key)) {
            whys.extend(self.why_not_given(Subject::Station(name), key, &rights));
        }
        if rights.is_empty() {
            whys.push(("NOT_ASSIGNED", None));
            whys.extend(self.given_to(Subject::Station(name)).iter().flat_map(|given| self.why_inactive(given)));
        }
        if whys.is_empty() {
            Decision::Granted(rights.into_iter().map(|key| (key, None)).collect())
        } else {
            Decision::Refused(whys)
        }
    }

    /// Every reason that may be told for a key that is given and has no effect.
    fn why_inactive(&self, given: &Given) -> Vec<Why> {
        let key = given.pool.key;
        if self.capacity(given.pool) == 0 {
            vec![("NOT_LICENSED", Some(key))]
        } else {
            vec![("POOL_EXHAUSTED", Some(key))]
        }
    }

    /// Every reason that may be told for a needed key that is not had. Some way to it may be a key that includes it.
    fn why_not_given(&self, subject: Subject, key: Key, have: &[Key]) -> Vec<Why> {
        let Some(known) = facts().iter().find(|fact| fact.key == key) else { return vec![("KEY_UNKNOWN", None)] };
        let mut whys = Vec::new();
        let ways: Vec<&Given> = self
            .given_to(subject)
            .into_iter()
            .filter(|given| given.pool.key == key || included_in(given.pool.key).contains(&key))
            .collect();
        if ways.is_empty() {
            whys.push(("NOT_ASSIGNED", Some(key)));
            let methods = [false, true].map(|concurrent| Pool { key, concurrent });
            if methods.iter().all(|pool| self.capacity(*pool) == 0) {
                whys.push(("NOT_LICENSED", Some(key)));
            }
            let kind = if matches!(subject, Subject::User(_)) { Holder::User } else { Holder::Station };
            if !known.holders.contains(&kind) {
                whys.push(("HOLDER_NOT_ALLOWED", Some(key)));
            }
        }
        for way in ways {
            let told = |why: &'static str| [(why, Some(key)), (why, Some(way.pool.key))];
            if self.capacity(way.pool) == 0 {
                whys.extend(told("NOT_LICENSED"));
                continue;
            }
            let missing: Vec<Key> = fact(way.pool.key)
                .requires
                .iter()
                .copied()
                .filter(|required| !have.contains(required) && !self.site_has(required))
                .collect();
            if !missing.is_empty() {
                whys.extend(told("PREREQUISITE_MISSING"));
                // The prerequisite may itself be given and find no seat.
                whys.extend(missing.iter().map(|required| ("POOL_EXHAUSTED", Some(*required))));
            }
            // No seat, or an assignment beyond the capacity.
            whys.extend(told("POOL_EXHAUSTED"));
        }
        whys
    }

    fn decide_logon(&self, what: &What, name: Name, at: &At, needed: &[Key], blocked: &[Pool]) -> Decision {
        let mut unknown: Vec<Why> = Vec::new();
        let user = self.user(name);
        if user.is_none() {
            unknown.push(("USER_UNKNOWN", None));
        }
        let station = if let At::Station(station) = at { Some(*station) } else { None };
        if station.is_some_and(|station| self.station(station).is_none()) {
            unknown.push(("STATION_UNKNOWN", None));
        }
        if needed.iter().any(|key| !facts().iter().any(|fact| fact.key == *key)) {
            unknown.push(("KEY_UNKNOWN", None));
        }
        let (Some(user), true) = (user, unknown.is_empty()) else { return Decision::Refused(unknown) };

        let without = self.displaced_by(what);
        let mut whys: Vec<Why> = Vec::new();
        let mut brought: Vec<Key> = Vec::new();
        let mut number_seat = None;
        match at {
            At::Nowhere => {}
            At::Station(station) => {
                let station = self.station(station).unwrap();
                whys.extend(self.station_fault(station, true));
                brought = self.station_rights(station.name);
            }
            At::Number(_) => {
                let pool = assignable(BASIC);
                if self.capacity(pool) == 0 {
                    whys.push(("NOT_LICENSED", Some(BASIC)));
                } else if self.free_without(pool, &without) == 0 || blocked.contains(&pool) {
                    whys.push(("POOL_EXHAUSTED", Some(BASIC)));
                }
                // STATION-4: "the user needs no client key", so the logon brings that right along, and no seat for it.
                brought.extend([BASIC, CLIENT]);
                number_seat = Some((pool, 1));
            }
        }

        // ALLOC-6, ALLOC-7, ALLOC-9: which of the user's keys can be had at all?
        let subject = Subject::User(name);
        let mut own: Vec<Key> = Vec::new();
        for given in self.given_to(subject) {
            let had = brought.contains(&given.pool.key)
                || (self.active(given)
                    && (!given.pool.concurrent
                        || self.has_seat(name, given.pool)
                        || (self.free_without(given.pool, &without) > 0 && !blocked.contains(&given.pool))));
            if had {
                own.push(given.pool.key);
            }
        }
        self.drop_without_prerequisites(&mut own, &brought);

        let mut all = Self::closed(own.clone());
        all.extend(&brought);
        all.sort_unstable();
        all.dedup();
        for key in needed.iter().copied().filter(|key| !all.contains(key)) {
            whys.extend(self.why_not_given(subject, key, &all));
        }
        if all.is_empty() {
            let given = self.given_to(subject);
            if given.is_empty() {
                whys.push(("NOT_ASSIGNED", None));
            }
            for given in given {
                whys.extend(self.why_not_given(subject, given.pool.key, &all));
            }
        }
        if !whys.is_empty() {
            return Decision::Refused(whys);
        }
        let seat = |key: &Key| {
            let comes_along = brought.contains(key) || own.iter().any(|other| included_in(other).contains(key));
            (user.concurrent && !comes_along && own.contains(key)).then_some((Pool { key, concurrent: true }, 1))
        };
        let held = all.iter().map(|key| {
            let number = number_seat.filter(|_| *key == BASIC);
            (*key, number.or_else(|| seat(key)))
        });
        Decision::Granted(held.collect())
    }

    /// The same with room in every pool: would it be worth waiting?
    pub(crate) fn would_be_granted_with_room(&self, what: &What) -> bool {
        let mut roomy = self.clone();
        for (_, units) in &mut roomy.grants {
            *units = None;
        }
        matches!(roomy.decide(what, &[]), Decision::Granted(_))
    }

    /// Pools in which the request could take a seat.
    pub(crate) fn pools_of(&self, what: &What) -> Vec<Pool> {
        match what {
            What::Logon { user, at, .. } => {
                let mut pools: Vec<Pool> = self
                    .given_to(Subject::User(user))
                    .iter()
                    .map(|given| given.pool)
                    .filter(|pool| pool.concurrent)
                    .collect();
                if matches!(at, At::Number(_)) {
                    pools.push(assignable(BASIC));
                }
                pools
            }
            What::Station { .. } => Vec::new(),
            What::Units { key, .. } => vec![assignable(key)],
        }
    }

    /// Of them, those without which the request makes no sense.
    pub(crate) fn pools_needed(&self, what: &What) -> Vec<Pool> {
        let needed = what.needed();
        let serves = |pool: &Pool| {
            let for_it = |key: &Key| {
                pool.key == *key || included_in(pool.key).contains(key) || fact(key).requires.contains(&pool.key)
            };
            !pool.concurrent || needed.iter().any(for_it)
        };
        let pools = self.pools_of(what);
        if needed.is_empty() { pools } else { pools.into_iter().filter(serves).collect() }
    }

    /// Pools in which the request lacks a seat now.
    pub(crate) fn pools_lacked(&self, what: &What) -> Vec<Pool> {
        let without = self.displaced_by(what);
        let units = if let What::Units { units, .. } = what { *units } else { 1 };
        let lacks = |pool: &Pool| {
            self.free_without(*pool, &without) < u64::from(units)
                && !what.user().is_some_and(|user| self.has_seat(user, *pool))
        };
        self.pools_of(what).into_iter().filter(lacks).collect()
    }
}
