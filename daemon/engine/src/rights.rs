//! Which keys are in effect: what is licensed, which assignments count, what is included, what lacks its prerequisites.
//! Looks, never changes.

use std::collections::{BTreeMap, BTreeSet};

use leasehold_keys::{
    activation::{ProductVersion, Units, VersionRange},
    definition::Holder,
    name::{KeyName, Method},
};

use crate::{
    ids::{KeyId, PoolId, Subject, UserId},
    refusal::Refusal,
    row::{AssignmentRow, Source},
    state::State,
    time::Now,
};

/// Keys held directly, each with where it comes from; and those that were given but have no effect, with the reason.
#[derive(Debug, Default)]
pub(crate) struct Given {
    pub held: BTreeMap<KeyId, Source>,
    pub without_effect: BTreeMap<KeyId, Refusal>,
}

impl State {
    pub(crate) fn is_granted(&self, pool: PoolId) -> bool {
        self.capacity(pool) != Units::Count(0)
    }

    /// True where some pool of the key is granted.
    pub(crate) fn is_licensed(&self, key: KeyId) -> bool {
        [Method::Assignable, Method::Concurrent].into_iter().any(|method| self.is_granted(PoolId { key, method }))
    }

    /// True where a pool still serves what is held on it: granted, or closing (LEVEL-5).
    pub(crate) fn serves(&self, pool: PoolId, now: Now, held_before: bool) -> bool {
        self.is_granted(pool)
            || held_before
                && self
                    .pools
                    .get(&pool)
                    .and_then(|pool| pool.state)
                    .and_then(|state| state.closes)
                    .is_some_and(|closes| now.lease < closes)
    }

    /// True where a site-wide or counted key is granted, and what it requires of the site (SITE-2).
    pub(crate) fn site_has(&self, key: KeyId) -> bool {
        self.missing_for_site(key).is_none()
    }

    /// What a site-wide key lacks: itself, or the first key that it requires.
    pub(crate) fn missing_for_site(&self, key: KeyId) -> Option<KeyId> {
        let mut open = vec![key];
        let mut seen = BTreeSet::new();
        while let Some(key) = open.pop() {
            if !seen.insert(key) {
                continue;
            }
            let granted = self.is_licensed(key)
                || self.catalog.all().any(|(outer, _)| self.catalog.includes(outer, key) && self.is_licensed(outer));
            if !granted {
                return Some(key);
            }
            if let Some(definition) = self.catalog.get(key) {
                open.extend(definition.requires.iter().copied());
            }
        }
        None
    }

    /// SITE-6: the ranges of the files that grant the key, where none covers the version.
    pub(crate) fn uncovered(&self, key: KeyId, version: Option<ProductVersion>, now: Now) -> Option<Vec<VersionRange>> {
        let version = version?;
        let name = self.key_name(key);
        let ranges: Vec<VersionRange> = self
            .files_in_effect(now)
            .filter(|file| file.terms.grants.iter().any(|grant| grant.pool.key == name))
            .map(|file| file.terms.versions)
            .collect();
        let covered = ranges.is_empty() || ranges.iter().any(|range| range.covers(version));
        (!covered).then_some(ranges)
    }

    pub(crate) fn version_refusal(&self, key: KeyId, version: Option<ProductVersion>, now: Now) -> Option<Refusal> {
        let covered = self.uncovered(key, version, now)?;
        Some(Refusal::VersionNotCovered {
            key: self.key_name(key),
            version: version.map(|version| version.to_string()).unwrap_or_default(),
            covered,
        })
    }

    pub(crate) fn not_licensed(&self, key: KeyId, now: Now) -> Refusal {
        Refusal::NotLicensed { key: self.key_name(key), unlicensed_site: self.files_in_effect(now).next().is_none() }
    }

    /// True where an assignment counts: in an assignable pool that is over its capacity the oldest do (ALLOC-11).
    pub(crate) fn assignment_counts(&self, row: &AssignmentRow, now: Now, held_before: bool) -> bool {
        if row.until.is_some_and(|until| until <= self.dated(now)) {
            return false;
        }
        if row.method == Method::Concurrent {
            return self.serves(row.pool(), now, held_before);
        }
        let Some(pool) = self.pools.get(&row.pool()) else {
            return false;
        };
        match pool.capacity {
            Units::Unlimited => true,
            Units::Count(0) => self.serves(row.pool(), now, held_before),
            // What runs goes on where enforcement limits ports (05).
            Units::Count(_) if held_before && self.enforcement.limits_ports() && self.catalog.is_call_port(row.key) => {
                true
            }
            Units::Count(_) => pool.last_counted.is_none_or(|last| row.id <= last),
        }
    }

    /// Keys given to a subject, sorted into those that count and those that do not.
    pub(crate) fn given(
        &self,
        subject: Subject,
        source: Source,
        version: Option<ProductVersion>,
        now: Now,
        held_before: impl Fn(KeyId) -> bool,
    ) -> Given {
        self.given_as(subject, source, version, now, held_before, true)
    }

    /// The same; `enforce`: with the stage of the site, which takes keys away.
    fn given_as(
        &self,
        subject: Subject,
        source: Source,
        version: Option<ProductVersion>,
        now: Now,
        held_before: impl Fn(KeyId) -> bool,
        enforce: bool,
    ) -> Given {
        let mut given = Given::default();
        for (key, id) in self.assignments_of(subject).into_iter().flatten() {
            let Some(row) = self.assignments.get(id) else {
                continue;
            };
            let before = held_before(*key);
            let refusal = if !self.serves(row.pool(), now, before) {
                Some(self.not_licensed(*key, now))
            } else if enforce && self.enforced_away(*key, before) {
                Some(self.enforced(*key))
            } else if !self.assignment_counts(row, now, before) {
                Some(self.exhausted(row.pool(), 1, 0, now))
            } else if let Some(leader) = self.lacking_leader(subject, *key, now) {
                Some(Refusal::PrerequisiteMissing { key: self.key_name(*key), missing: vec![self.key_name(leader)] })
            } else if before {
                None
            } else {
                self.version_refusal(*key, version, now)
            };
            match refusal {
                Some(refusal) => {
                    given.without_effect.insert(*key, refusal);
                }
                None => {
                    given.held.insert(*key, source);
                }
            }
        }
        given
    }

    /// STATION-5: the key of its owner that a device's key follows, where the owner does not hold it.
    fn lacking_leader(&self, subject: Subject, key: KeyId, now: Now) -> Option<KeyId> {
        let Subject::Station(station) = subject else {
            return None;
        };
        let owner = self.stations.get(&station)?.row.owner?;
        let leader = self.catalog.get(key)?.follows?;
        (!self.owner_keys(owner, now).contains_key(&leader)).then_some(leader)
    }

    /// What a device's owner holds, logged on or not. Enforcement is left out of it: what it takes comes back, and devices are
    /// not configured anew for it.
    pub(crate) fn owner_keys(&self, owner: UserId, now: Now) -> BTreeMap<KeyId, Source> {
        let given = self.given_as(Subject::User(owner), Source::User, None, now, |_| true, false);
        self.effective_as(&given.held, false).0
    }

    /// Closes keys under `includes` (ALLOC-9) and drops those whose prerequisites are missing, with what they lack. What
    /// is dropped brings nothing with it.
    pub(crate) fn effective(
        &self,
        direct: &BTreeMap<KeyId, Source>,
    ) -> (BTreeMap<KeyId, Source>, BTreeMap<KeyId, Vec<KeyName>>) {
        self.effective_as(direct, true)
    }

    fn effective_as(
        &self,
        direct: &BTreeMap<KeyId, Source>,
        enforce: bool,
    ) -> (BTreeMap<KeyId, Source>, BTreeMap<KeyId, Vec<KeyName>>) {
        let mut dropped: BTreeMap<KeyId, Vec<KeyName>> = BTreeMap::new();
        loop {
            let mut held: BTreeMap<KeyId, Source> = BTreeMap::new();
            for (key, source) in direct.iter().filter(|(key, _)| !dropped.contains_key(*key)) {
                held.insert(*key, *source);
            }
            let outer: Vec<KeyId> = held.keys().copied().collect();
            for key in outer {
                for inner in self.catalog.get(key).into_iter().flat_map(|definition| &definition.includes) {
                    // What a key that is held includes goes with it, but for what no one may hold.
                    let away = enforce && self.enforced_away(*inner, true);
                    if !dropped.contains_key(inner) && !away {
                        held.entry(*inner).or_insert(Source::Included(key));
                    }
                }
            }
            let mut settled = true;
            for key in held.keys() {
                let lacking: Vec<KeyName> = self
                    .catalog
                    .get(*key)
                    .into_iter()
                    .flat_map(|definition| &definition.requires)
                    .filter(|required| !self.requirement_met(**required, &held))
                    .map(|required| self.key_name(*required))
                    .collect();
                if !lacking.is_empty() {
                    dropped.insert(*key, lacking);
                    settled = false;
                }
            }
            if settled {
                return (held, dropped);
            }
        }
    }

    fn requirement_met(&self, required: KeyId, held: &BTreeMap<KeyId, Source>) -> bool {
        if held.contains_key(&required) {
            return true;
        }
        // A key that users hold must be effective for the same subject; one of the site must be licensed.
        let of_site = self
            .catalog
            .get(required)
            .is_some_and(|definition| definition.def.kind.is_site_wide() || definition.def.kind.is_counted());
        of_site && self.site_has(required)
    }

    /// ALLOC-4.
    pub(crate) fn check_holder(&self, key: KeyId, subject: Holder) -> Result<(), Refusal> {
        let Some(definition) = self.catalog.get(key) else {
            return Err(Refusal::KeyUnknown(self.key_name(key).to_string()));
        };
        if definition.def.holders.contains(&subject) {
            return Ok(());
        }
        Err(Refusal::HolderNotAllowed {
            key: self.key_name(key),
            subject,
            allowed: definition.def.holders.iter().copied().collect(),
        })
    }
}
