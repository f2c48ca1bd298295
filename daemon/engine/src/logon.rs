//! What a user's logon would get: rights of user and station together, which of a concurrent user's keys take seats, and the
//! leases that it displaces (ALLOC-6 to ALLOC-9, ALLOC-15, STATION-4). Looks, never changes.

use std::collections::BTreeMap;

use leasehold_keys::{
    definition::Role,
    name::{Label, Method},
};

use crate::{
    ids::{KeyId, LeaseId, PoolId, StationId, Subject, UserId},
    plan::{Blocked, Plan, Planner, Want, held_keys, waitable},
    refusal::Refusal,
    room::Claimant,
    row::{LeaseSubject, Seat, Source, Terms},
    words::counted,
};

impl Planner<'_> {
    /// ALLOC-6 to ALLOC-9, ALLOC-15, STATION-4, MEDIA-2.
    pub(crate) fn plan_logon(
        &mut self,
        want: &Want,
        user_id: UserId,
        station: Option<StationId>,
        remote: bool,
        computer: Option<&Label>,
    ) -> Result<Plan, Blocked> {
        let state = self.state;
        let Some(user) = state.users.get(&user_id) else {
            return Err(Refusal::UserUnknown(user_id.to_string()).into());
        };
        if let Some(station) = station {
            self.check_station(station, true)?;
        }
        let displaces = self.displaced(user_id, computer);
        let claimant = Claimant {
            lineage: state.lineage(user.row.organization),
            application: Some(want.application.clone()),
            place: self.place,
            passing: self.passing(&displaces),
            assigns: false,
            roomy: self.roomy,
        };
        let held_before = self.held_before();

        // What the station brings, and what the way of logging on brings: neither takes a seat of the user's (ALLOC-9).
        let mut brought = BTreeMap::new();
        let mut missing: BTreeMap<KeyId, Refusal> = BTreeMap::new();
        if let Some(station) = station {
            let given = state.given(Subject::Station(station), Source::Station, want.version, self.now, |key| {
                held_before.contains(&key)
            });
            brought.extend(given.held);
            missing.extend(given.without_effect);
        }
        let mut seats: Vec<Seat> = Vec::new();
        if remote {
            seats.extend(self.remote_seat(want, &claimant)?);
            // STATION-4: the user needs no client key.
            let roles = [Role::BasicStation, Role::Client];
            brought.extend(
                roles
                    .into_iter()
                    .flat_map(|role| state.catalog.with_role(role))
                    .filter(|key| !state.enforced_away(*key, held_before.contains(key)))
                    .map(|key| (key, Source::Logon)),
            );
        }

        let given =
            state.given(Subject::User(user_id), Source::User, want.version, self.now, |key| held_before.contains(&key));
        missing.extend(given.without_effect);
        let method = user.row.method;
        let mut own: BTreeMap<KeyId, Source> = given.held;
        let mut full: Vec<(PoolId, u32, KeyId)> = Vec::new();
        let (held, shared) = loop {
            let mut direct = own.clone();
            direct.extend(brought.iter().map(|(key, source)| (*key, *source)));
            let (held, dropped) = state.effective(&direct);
            let lost: Vec<KeyId> = own.keys().filter(|key| dropped.contains_key(*key)).copied().collect();
            for (key, lacking) in &dropped {
                missing.entry(*key).or_insert_with(|| Refusal::PrerequisiteMissing {
                    key: state.key_name(*key),
                    missing: lacking.clone(),
                });
            }
            if !lost.is_empty() {
                for key in lost {
                    own.remove(&key);
                }
                continue;
            }
            if method == Method::Assignable {
                break (held, Vec::new());
            }
            match self.concurrent_seats(want, user_id, &own, &brought, &claimant) {
                Ok(shared) => break (held, shared),
                Err((key, refusal)) => {
                    full.extend(
                        waitable(&refusal, PoolId { key, method }, 1)
                            .into_iter()
                            .map(|(pool, units)| (pool, units, key)),
                    );
                    missing.insert(key, refusal);
                    own.remove(&key);
                }
            }
        };
        seats.extend(shared.into_iter().map(|pool| Seat { pool, units: 1, shared: true }));
        seats.sort();

        if let Err(refusal) = self.check_needed(want, &held, &missing, Subject::User(user_id)) {
            let helps = |key: KeyId| {
                want.needed.is_empty()
                    || want.needed.iter().any(|needed| {
                        key == *needed
                            || state.catalog.includes(key, *needed)
                            || self
                                .state
                                .catalog
                                .get(*needed)
                                .is_some_and(|definition| definition.requires.contains(&key))
                    })
            };
            let pools = full.iter().filter(|(_, _, key)| helps(*key)).map(|(pool, units, _)| (*pool, *units)).collect();
            let has_seat = |pool: &PoolId| user.seats.contains_key(pool);
            let ready = seats.iter().map(|seat| seat.pool).filter(|pool| !has_seat(pool));
            let ready = ready.filter(|pool| pool.method == Method::Assignable || helps(pool.key)).collect();
            return Err(Blocked { refusal, pools, ready });
        }
        let (types, media_warnings) = self.media(user_id, &held);
        let mut warnings = state.level_warnings();
        warnings.extend(media_warnings);
        self.step("ALLOC-6", true, || {
            format!(
                "{} held, {} could not be had",
                counted(held.len() as u64, "key is", "keys are"),
                missing.keys().filter(|key| !held.contains_key(*key)).count()
            )
        });
        Ok(Plan {
            terms: Terms {
                needed: want.needed.clone(),
                keys: held_keys(&held),
                seats,
                missing: missing
                    .into_iter()
                    .filter(|(key, _)| !held.contains_key(key))
                    .map(|(key, refusal)| (key, refusal.for_the_record()))
                    .collect(),
                warnings,
                types,
            },
            displaces,
        })
    }

    /// ALLOC-8: the user's primary leases on other computers.
    fn displaced(&self, user: UserId, computer: Option<&Label>) -> Vec<LeaseId> {
        let Some(here) = computer else {
            return Vec::new();
        };
        let elsewhere = |id: &&LeaseId| {
            Some(**id) != self.own
                && self.state.leases.get(id).is_some_and(|lease| {
                    matches!(&lease.row.subject, LeaseSubject::Logon { computer: Some(there), .. } if there != here)
                })
        };
        self.state.leases_of(Subject::User(user)).iter().filter(elsewhere).copied().collect()
    }

    /// Seats that pass on to this logon: those of its own lease, and those that only displaced leases use.
    fn passing(&self, displaces: &[LeaseId]) -> Vec<(PoolId, u64, Label)> {
        displaces
            .iter()
            .chain(self.own.as_ref())
            .filter_map(|id| self.state.leases.get(id))
            .flat_map(|lease| {
                let own = lease.row.terms.seats.iter().filter(|seat| !seat.shared);
                own.map(|seat| (seat.pool, u64::from(seat.units), lease.row.application.clone()))
            })
            .collect()
    }

    /// STATION-4: a free basic station seat for the length of the logon.
    fn remote_seat(&mut self, want: &Want, claimant: &Claimant) -> Result<Option<Seat>, Blocked> {
        let state = self.state;
        let Some(key) = state.catalog.with_role(Role::BasicStation).next() else {
            return Ok(None);
        };
        let pool = PoolId { key, method: Method::Assignable };
        if self.own.is_none()
            && let Some(refusal) = state.version_refusal(key, want.version, self.now)
        {
            return Err(refusal.into());
        }
        let held = self.own.is_some() && state.serves(pool, self.now, true);
        if !held && let Err(refusal) = state.room(self.queue, pool, 1, claimant, self.now) {
            self.step("STATION-4", false, || refusal.message());
            return Err(Blocked { pools: waitable(&refusal, pool, 1), refusal, ready: Vec::new() });
        }
        self.step("STATION-4", true, || {
            format!("a seat of {} is free for the dynamic remote logon", state.pool_name(pool))
        });
        Ok(Some(Seat { pool, units: 1, shared: false }))
    }

    /// ALLOC-15: which of a concurrent user's keys take a seat, or the first for which there is none.
    fn concurrent_seats(
        &mut self,
        want: &Want,
        user: UserId,
        own: &BTreeMap<KeyId, Source>,
        brought: &BTreeMap<KeyId, Source>,
        claimant: &Claimant,
    ) -> Result<Vec<PoolId>, (KeyId, Refusal)> {
        let state = self.state;
        let (by_station, _) = state.effective(brought);
        let serves_need =
            |key: KeyId| want.needed.iter().any(|needed| *needed == key || state.catalog.includes(key, *needed));
        let mut order: Vec<KeyId> = own.keys().copied().collect();
        order.sort_by_key(|key| {
            (!serves_need(*key), state.catalog.get(*key).map_or(u32::MAX, |definition| definition.place))
        });
        let mut pools = Vec::new();
        for key in order {
            if by_station.contains_key(&key) {
                self.step("ALLOC-9", true, || {
                    format!("{} comes with the station and takes no seat", state.key_name(key))
                });
                continue;
            }
            if let Some(outer) = own.keys().find(|outer| state.catalog.includes(**outer, key)) {
                self.step("ALLOC-15", true, || {
                    format!("{} comes with {} and takes no seat", state.key_name(key), state.key_name(*outer))
                });
                continue;
            }
            let pool = PoolId { key, method: Method::Concurrent };
            if state.users.get(&user).is_some_and(|user| user.seats.contains_key(&pool)) {
                self.step("ALLOC-7", true, || format!("the user has a seat in {} already", state.pool_name(pool)));
            } else {
                if let Err(refusal) = state.room(self.queue, pool, 1, claimant, self.now) {
                    self.step("ALLOC-6", false, || refusal.message());
                    return Err((key, refusal));
                }
                self.step("ALLOC-5", true, || format!("a seat of {} is free", state.pool_name(pool)));
            }
            pools.push(pool);
        }
        Ok(pools)
    }
}
