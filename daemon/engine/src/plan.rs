//! What a request would get now: the decision behind Acquire, Explain and the second look at live leases. Looks, never
//! changes.

use std::collections::{BTreeMap, BTreeSet};

use leasehold_keys::{
    activation::{ProductVersion, Units},
    definition::{Holder, KeyKind, Role},
    name::{Label, Method},
};

use crate::{
    command::{Ask, Place as At},
    ids::{KeyId, LeaseId, PoolId, StationId, Subject},
    queue::{Place, Queue},
    refusal::Refusal,
    room::Claimant,
    row::{HeldKey, LeaseSubject, Seat, Source, StationKind, Terms},
    state::State,
    time::Now,
    view::Step,
    words::{are, counted},
};

/// A request with names resolved.
#[derive(Clone, Debug)]
pub(crate) struct Want {
    pub subject: LeaseSubject,
    pub needed: Vec<KeyId>,
    /// For [`LeaseSubject::Units`].
    pub units: Option<(KeyId, u32)>,
    pub application: Label,
    pub version: Option<ProductVersion>,
}

/// What it would get.
#[derive(Debug)]
pub(crate) struct Plan {
    pub terms: Terms,
    /// Primary leases on other computers that end with it (ALLOC-8).
    pub displaces: Vec<LeaseId>,
}

/// Why it gets nothing, and what it could wait for.
#[derive(Debug)]
pub(crate) struct Blocked {
    pub refusal: Refusal,
    /// Full pools; empty where waiting would not help.
    pub pools: Vec<(PoolId, u32)>,
    /// Pools with room, in which the request would take a seat that it needs.
    pub ready: Vec<PoolId>,
}

impl Blocked {
    /// What a waiter stays listed for: what it lacks, and what it had lacked before and is free now. Without the latter a
    /// request for several keys would lose each as it waits for the next (03, Queue and shares).
    pub(crate) fn waits_for(&self, before: &[(PoolId, u32)]) -> Vec<(PoolId, u32)> {
        let mut pools = self.pools.clone();
        let lacks = |id: PoolId| self.pools.iter().any(|(pool, _)| *pool == id);
        pools.extend(before.iter().filter(|(id, _)| self.ready.contains(id) && !lacks(*id)));
        pools.sort();
        pools.dedup();
        pools
    }
}

impl From<Refusal> for Blocked {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, pools: Vec::new(), ready: Vec::new() }
    }
}

/// One look at one request.
pub(crate) struct Planner<'a> {
    pub state: &'a State,
    pub queue: &'a Queue,
    pub now: Now,
    /// The request's place in the queue, where it waits or may wait.
    pub place: Option<Place>,
    /// A live lease that is looked at again: what it holds counts as its own.
    pub own: Option<LeaseId>,
    /// Judge as if there were room in every pool.
    pub roomy: bool,
    /// Collects the steps for `explain`.
    pub steps: Option<Vec<Step>>,
}

impl Planner<'_> {
    pub(crate) fn step(&mut self, rule: &'static str, passed: bool, message: impl FnOnce() -> String) {
        if let Some(steps) = &mut self.steps {
            let step = Step { rule, passed, message: message() };
            // Keys are gone through anew after each that cannot be had.
            if !steps.contains(&step) {
                steps.push(step);
            }
        }
    }

    /// Resolves the names of a request.
    pub(crate) fn resolve(
        &mut self,
        ask: &Ask,
        caller: &Label,
        version: Option<ProductVersion>,
    ) -> Result<Want, Refusal> {
        let keys = |state: &State, names: &[Label]| -> Result<Vec<KeyId>, Refusal> {
            let mut keys = BTreeSet::new();
            for name in names {
                keys.insert(state.catalog.find(name.as_str()).ok_or_else(|| Refusal::KeyUnknown(name.to_string()))?);
            }
            Ok(keys.into_iter().collect())
        };
        let station_id = |state: &State, name: &Label| {
            state.station_names.get(name).copied().ok_or_else(|| Refusal::StationUnknown(name.to_string()))
        };
        match ask {
            Ask::Logon { user, place, computer, needed, application } => {
                let id =
                    self.state.user_names.get(user).copied().ok_or_else(|| Refusal::UserUnknown(user.to_string()))?;
                let (station, remote_number) = match place {
                    At::None => (None, None),
                    At::Station(name) => (Some(station_id(self.state, name)?), None),
                    At::DynamicRemote(number) => (None, Some(number.clone())),
                };
                Ok(Want {
                    subject: LeaseSubject::Logon { user: id, station, remote_number, computer: computer.clone() },
                    needed: keys(self.state, needed)?,
                    units: None,
                    application: application.clone().unwrap_or_else(|| caller.clone()),
                    version,
                })
            }
            Ask::Station { station, needed } => Ok(Want {
                subject: LeaseSubject::Station(station_id(self.state, station)?),
                needed: keys(self.state, needed)?,
                units: None,
                application: caller.clone(),
                version,
            }),
            Ask::Units { key, units } => {
                let id = self.state.catalog.find(key.as_str()).ok_or_else(|| Refusal::KeyUnknown(key.to_string()))?;
                Ok(Want {
                    subject: LeaseSubject::Units,
                    needed: vec![id],
                    units: Some((id, *units)),
                    application: caller.clone(),
                    version,
                })
            }
        }
    }

    /// Decides a request.
    pub(crate) fn plan(&mut self, want: &Want) -> Result<Plan, Blocked> {
        match &want.subject {
            LeaseSubject::Logon { user, station, remote_number, computer } => {
                self.plan_logon(want, *user, *station, remote_number.is_some(), computer.as_ref())
            }
            LeaseSubject::Station(station) => self.plan_station(want, *station),
            LeaseSubject::Units => self.plan_units(want),
        }
    }

    /// SITE-5: all of the units or none.
    fn plan_units(&mut self, want: &Want) -> Result<Plan, Blocked> {
        let Some((key, units)) = want.units else {
            // A live lease of units is looked at again: nothing about it depends on assignments.
            return Err(Refusal::RequestUnknown.into());
        };
        let state = self.state;
        let pool = PoolId { key, method: Method::Assignable };
        if state.catalog.kind(key).is_some_and(KeyKind::is_site_wide) {
            return Err(Refusal::HolderNotAllowed {
                key: state.key_name(key),
                subject: Holder::Server,
                allowed: Vec::new(),
            }
            .into());
        }
        state.check_holder(key, Holder::Server)?;
        if !state.is_granted(pool) {
            let refusal = state.not_licensed(key, self.now);
            self.step("SITE-5", false, || refusal.message());
            return Err(refusal.into());
        }
        if state.enforced_away(key, false) {
            let refusal = state.enforced(key);
            self.step("05", false, || refusal.message());
            return Err(refusal.into());
        }
        if let Some(refusal) = state.version_refusal(key, want.version, self.now) {
            self.step("SITE-6", false, || refusal.message());
            return Err(refusal.into());
        }
        let missing: Vec<_> = state
            .catalog
            .get(key)
            .into_iter()
            .flat_map(|definition| &definition.requires)
            .filter(|required| !state.site_has(**required))
            .map(|required| state.key_name(*required))
            .collect();
        if !missing.is_empty() {
            return Err(Refusal::PrerequisiteMissing { key: state.key_name(key), missing }.into());
        }
        let claimant = Claimant {
            application: Some(want.application.clone()),
            place: self.place,
            roomy: self.roomy,
            ..Claimant::default()
        };
        if let Err(refusal) = state.room(self.queue, pool, units, &claimant, self.now) {
            self.step("SITE-5", false, || refusal.message());
            return Err(Blocked { pools: waitable(&refusal, pool, units), refusal, ready: Vec::new() });
        }
        self.step("SITE-5", true, || {
            let count = counted(units.into(), "unit", "units");
            format!("{count} of {} {} free", state.pool_name(pool), are(units.into()))
        });
        Ok(Plan {
            terms: Terms {
                needed: want.needed.clone(),
                keys: vec![HeldKey { key, source: Source::Units }],
                seats: vec![Seat { pool, units, shared: false }],
                warnings: state.level_warnings(),
                ..Terms::default()
            },
            displaces: Vec::new(),
        })
    }

    /// A station's own use: the keys given to it, which hold their seats already (ALLOC-3).
    fn plan_station(&mut self, want: &Want, station: StationId) -> Result<Plan, Blocked> {
        self.check_station(station, false)?;
        let state = self.state;
        let held_before = self.held_before();
        let mut given = state.given(Subject::Station(station), Source::Station, want.version, self.now, |key| {
            held_before.contains(&key)
        });
        let (held, dropped) = state.effective(&given.held);
        for (key, missing) in dropped {
            given.without_effect.insert(key, Refusal::PrerequisiteMissing { key: state.key_name(key), missing });
        }
        let subject = Subject::Station(station);
        self.check_needed(want, &held, &given.without_effect, subject)?;
        Ok(Plan {
            terms: Terms {
                needed: want.needed.clone(),
                keys: held_keys(&held),
                missing: given.without_effect.into_iter().filter(|(key, _)| !held.contains_key(key)).collect(),
                warnings: state.level_warnings(),
                ..Terms::default()
            },
            displaces: Vec::new(),
        })
    }

    /// STATION-1, STATION-3: whether a station may be used at all.
    pub(crate) fn check_station(&mut self, id: StationId, logon: bool) -> Result<(), Refusal> {
        let state = self.state;
        let Some(station) = state.stations.get(&id) else {
            return Err(Refusal::StationUnknown(id.to_string()));
        };
        let name = station.row.name.clone();
        if !station.row.enabled {
            let refusal = Refusal::StationNotLicensed { station: name, key: None };
            self.step("STATION-1", false, || refusal.message());
            return Err(refusal);
        }
        let (now, held_before) = (self.now, self.own.is_some());
        let counts = |key: KeyId| {
            station
                .assignments
                .get(&key)
                .and_then(|id| state.assignments.get(id))
                .is_some_and(|row| state.assignment_counts(row, now, held_before))
        };
        // Held directly or as part of another key of the station.
        let has = |key: KeyId| {
            counts(key) || station.assignments.keys().any(|outer| state.catalog.includes(*outer, key) && counts(*outer))
        };
        let mut needed: Vec<(&'static str, Role)> = Vec::new();
        if station.row.kind != StationKind::Device {
            needed.push(("STATION-1", Role::BasicStation));
        }
        if logon && station.row.kind == StationKind::Remote {
            needed.push(("STATION-3", Role::Client));
        }
        for (rule, role) in needed {
            let mut keys = state.catalog.with_role(role).peekable();
            // A product without such a key does not ask for it.
            let Some(&first) = keys.peek() else { continue };
            if keys.any(has) {
                self.step(rule, true, || format!("station {name} holds {}", state.key_name(first)));
            } else {
                let refusal = Refusal::StationNotLicensed { station: name, key: Some(state.key_name(first)) };
                self.step(rule, false, || refusal.message());
                return Err(refusal);
            }
        }
        Ok(())
    }

    /// Keys that the lease which is looked at again holds already: they stay as long as their pool serves (LEVEL-5).
    pub(crate) fn held_before(&self) -> BTreeSet<KeyId> {
        let lease = self.own.and_then(|id| self.state.leases.get(&id));
        lease.map(|lease| lease.row.terms.keys.iter().map(|held| held.key).collect()).unwrap_or_default()
    }

    /// Every needed key is held, or why not (ALLOC-6).
    pub(crate) fn check_needed(
        &mut self,
        want: &Want,
        held: &BTreeMap<KeyId, Source>,
        missing: &BTreeMap<KeyId, Refusal>,
        subject: Subject,
    ) -> Result<(), Refusal> {
        let state = self.state;
        if want.needed.is_empty() && held.is_empty() {
            let refusal = missing
                .values()
                .next()
                .cloned()
                .unwrap_or_else(|| Refusal::NothingAssigned { subject: state.subject_name(subject) });
            self.step("ALLOC-6", false, || refusal.message());
            return Err(refusal);
        }
        for needed in &want.needed {
            if held.contains_key(needed) {
                continue;
            }
            let outer =
                missing.iter().find(|(key, _)| state.catalog.includes(**key, *needed)).map(|(_, refusal)| refusal);
            let refusal = missing.get(needed).or(outer).map(|refusal| cause(state, missing, refusal).clone());
            let refusal = refusal.unwrap_or_else(|| {
                let comes_with = held.keys().any(|outer| state.catalog.includes(*outer, *needed));
                if comes_with && state.enforced_away(*needed, true) {
                    state.enforced(*needed)
                } else if state.is_licensed(*needed) || state.site_has(*needed) {
                    Refusal::NotAssigned { subject: state.subject_name(subject), key: state.key_name(*needed) }
                } else {
                    state.not_licensed(*needed, self.now)
                }
            });
            self.step("ALLOC-6", false, || refusal.message());
            return Err(refusal);
        }
        Ok(())
    }
}

/// The reason behind a missing prerequisite, where that is among the keys that could not be had.
fn cause<'a>(state: &State, missing: &'a BTreeMap<KeyId, Refusal>, mut refusal: &'a Refusal) -> &'a Refusal {
    // Requirements have no circles; the bound is for a catalog that changed meanwhile.
    for _ in 0..missing.len() {
        let Refusal::PrerequisiteMissing { missing: lacking, .. } = refusal else {
            break;
        };
        let behind = lacking.iter().find_map(|name| missing.get(&state.catalog.find(name.as_str())?));
        match behind {
            Some(behind) => refusal = behind,
            None => break,
        }
    }
    refusal
}

pub(crate) fn held_keys(held: &BTreeMap<KeyId, Source>) -> Vec<HeldKey> {
    held.iter().map(|(key, source)| HeldKey { key: *key, source: *source }).collect()
}

/// The pool to wait for, where a refusal is one that passes by itself, and the pool could ever satisfy it.
pub(crate) fn waitable(refusal: &Refusal, pool: PoolId, units: u32) -> Vec<(PoolId, u32)> {
    match refusal {
        Refusal::PoolExhausted(full) if full.capacity >= Units::Count(units) => vec![(pool, units)],
        Refusal::LimitReached(crate::refusal::Limit::Share { limit, .. }) if *limit >= units => {
            // It lacks room in its own share, and wants nothing of the pool that others could have.
            vec![(pool, 0)]
        }
        _ => Vec::new(),
    }
}
