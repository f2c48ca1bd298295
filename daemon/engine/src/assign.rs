//! Keys given to users and stations, and taken away (ALLOC-1 to ALLOC-5, ALLOC-10, ALLOC-16, STATION-5, ADMIN-3).

use std::collections::BTreeSet;

use leasehold_keys::{
    definition::{Holder, Terms},
    name::{Label, Method},
    time::WallTime,
};

use crate::{
    command::{Assign, EntityName},
    decision::{Administered, AssignOutcome},
    engine::Turn,
    ids::{AssignmentId, Identity, KeyId, PoolId, StationId, Subject, UserId},
    refusal::{EndReason, Refusal},
    room::Claimant,
    row::{AssignmentRow, Row, StationKind},
    words::counted,
};

/// Pairs of subject and key in one act.
const PAIRS_MAX: usize = 10_000;

impl Turn<'_> {
    /// ADMIN-3: all pairs or none, or best effort with a result for each; a dry run shows the effect and leaves nothing.
    pub(crate) fn assign(&mut self, by: &Identity, assign: Assign) -> Result<Administered, Refusal> {
        let pairs = assign.subjects.len().saturating_mul(assign.keys.len());
        if pairs == 0 || pairs > PAIRS_MAX {
            let fault = format!("name at least one subject and one key, and at most {PAIRS_MAX} pairs of them");
            return Err(Refusal::Malformed { field: "subjects".into(), fault });
        }
        let (start, changes) = (self.save(), self.out.changes.len());
        let mut done = Administered { applied: true, ..Administered::default() };
        let mut touched: BTreeSet<Subject> = BTreeSet::new();
        let mut refused = false;
        let order = self.order_of_keys(&assign);
        for subject in &assign.subjects {
            let mut outcomes: Vec<(usize, AssignOutcome)> = Vec::with_capacity(order.len());
            for &place in &order {
                let key = &assign.keys[place];
                let before = self.save();
                let result = self.assign_one(subject, key, &assign, &mut touched);
                refused |= result.is_err();
                if result.is_err() {
                    self.roll_back(&before);
                }
                let message = self.pair_message(subject, key);
                let method = self.subject(subject).ok().map(|(subject, _)| self.method_of(subject));
                let outcome = AssignOutcome { subject: subject.clone(), key: key.clone(), method, result, message };
                outcomes.push((place, outcome));
            }
            outcomes.sort_by_key(|(place, _)| *place);
            done.assignments.extend(outcomes.into_iter().map(|(_, outcome)| outcome));
        }
        // Leases are looked at when all keys are in place: a user may swap one for another in one act.
        let how = EndReason::Unassigned;
        for subject in touched.clone() {
            // STATION-5: refused as a whole if the pool that a device would move to has no seat.
            for device in self.devices_of(subject) {
                self.follow_owner(device)?;
            }
            self.look_again_at(subject, how);
        }
        let changed = done.assignments.iter().filter(|outcome| outcome.result == Ok(true)).count();
        if assign.dry_run || refused && !assign.best_effort {
            self.roll_back(&start);
            done.applied = false;
        } else if changed > 0 {
            self.audit_assignments(by, changes);
        }
        done.message = match (done.applied, assign.give) {
            (true, _) if pairs == 1 && changed == 1 => {
                format!("1 assignment was {}.", if assign.give { "made" } else { "taken away" })
            }
            (true, true) => {
                format!("{changed} of {} made.", counted(pairs as u64, "assignment was", "assignments were"))
            }
            (true, false) => {
                format!("{changed} of {} taken away.", counted(pairs as u64, "assignment was", "assignments were"))
            }
            (false, _) if assign.dry_run => {
                let pairs = counted(pairs as u64, "assignment", "assignments");
                format!("{changed} of {pairs} would change. Nothing was changed.")
            }
            (false, _) => "Nothing was changed, because not all of it could be.".into(),
        };
        Ok(done)
    }

    /// The places of an act's keys in the order in which they are given or taken: media levels come first, the highest first
    /// when given and the lowest when taken, so that what a user is left with in between never covers fewer interaction
    /// types than in the end (MEDIA-1).
    fn order_of_keys(&self, assign: &Assign) -> Vec<usize> {
        let state = &self.engine.state;
        let level = |place: &usize| {
            let key = state.catalog.find(assign.keys[*place].as_str());
            state.media_level(key.into_iter())
        };
        let mut order: Vec<usize> = (0..assign.keys.len()).collect();
        if assign.give {
            order.sort_by_key(|place| std::cmp::Reverse(level(place)));
        } else {
            order.sort_by_key(|place| (level(place).is_none(), level(place)));
        }
        order
    }

    fn assign_one(
        &mut self,
        name: &EntityName,
        key: &Label,
        assign: &Assign,
        touched: &mut BTreeSet<Subject>,
    ) -> Result<bool, Refusal> {
        let (subject, holder) = self.subject(name)?;
        let found = self.engine.state.catalog.find(key.as_str());
        let Some(key) = found.or_else(|| self.recorded_key(assign.give, key)) else {
            return Err(Refusal::KeyUnknown(key.to_string()));
        };
        let level = self.level_of(subject);
        let changed = if assign.give {
            self.give(subject, holder, key, assign.until)?
        } else {
            let key = self.held_of_family(subject, key);
            self.take_away(subject, key)
        };
        // A user may have more types than are covered, since a timed key ended: that is no matter of other keys.
        let gives_level = || assign.give && self.engine.state.media_level(std::iter::once(key)).is_some();
        if changed
            && let Subject::User(user) = subject
            && (gives_level() || self.level_of(subject) < level)
        {
            self.check_types_of(user)?;
        }
        if changed {
            touched.insert(subject);
        }
        Ok(changed)
    }

    /// A key that no file defines any more can still be taken away.
    fn recorded_key(&self, give: bool, key: &Label) -> Option<KeyId> {
        if give {
            return None;
        }
        self.engine.state.key_ids.get(&key.as_str().parse().ok()?).copied()
    }

    fn pair_message(&self, subject: &EntityName, key: &Label) -> String {
        let state = &self.engine.state;
        let Ok((id, _)) = self.subject(subject) else {
            return String::new();
        };
        let Some(key) = state.catalog.find(key.as_str()) else {
            return String::new();
        };
        // A device takes the key that fits its owner's.
        let key = self.device_key(id, key).unwrap_or(key);
        let pool = PoolId { key, method: self.method_of(id) };
        let capacity = state.capacity(pool);
        match pool.method {
            Method::Assignable => format!("{} of {capacity} taken", state.held(pool)),
            Method::Concurrent => {
                let given = state.pools.get(&pool).map_or(0, |pool| pool.assigned.len());
                format!("given to {given}, of whom {capacity} can be logged on at once")
            }
        }
    }

    fn method_of(&self, subject: Subject) -> Method {
        match subject {
            Subject::User(id) => self.engine.state.users.get(&id).map_or(Method::Assignable, |user| user.row.method),
            // Stations are never concurrent (ALLOC-3).
            Subject::Station(_) => Method::Assignable,
        }
    }

    /// Gives one key. False where it was given already (ALLOC-10).
    fn give(&mut self, subject: Subject, holder: Holder, key: KeyId, until: Option<WallTime>) -> Result<bool, Refusal> {
        let key = self.device_key(subject, key)?;
        let state = &self.engine.state;
        if state.assignments_of(subject).is_some_and(|assignments| assignments.contains_key(&key)) {
            return Ok(false);
        }
        state.check_holder(key, holder)?;
        self.check_terms(key, until)?;
        self.check_application(subject, key)?;
        let method = self.method_of(subject);
        self.take_assignment(subject, key, method, until)?;
        Ok(true)
    }

    /// Takes an assignable seat, or notes that a concurrent one may be taken at logon (ALLOC-2, ALLOC-3, ALLOC-5).
    fn take_assignment(
        &mut self,
        subject: Subject,
        key: KeyId,
        method: Method,
        until: Option<WallTime>,
    ) -> Result<(), Refusal> {
        let state = &self.engine.state;
        let pool = PoolId { key, method };
        if !state.is_granted(pool) {
            return Err(if state.is_licensed(key) {
                Refusal::MethodMismatch { subject: state.subject_name(subject), key: state.key_name(key), method }
            } else {
                state.not_licensed(key, self.now)
            });
        }
        if method == Method::Assignable {
            let claimant = Claimant {
                lineage: state.lineage(state.organization_of(subject)),
                assigns: true,
                ..Claimant::default()
            };
            state.room(&self.engine.queue, pool, 1, &claimant, self.now)?;
        }
        self.change_site(|site| site.last_assignment += 1);
        let id = AssignmentId(self.engine.state.site.last_assignment);
        let row = AssignmentRow { id, subject, key, method, since: self.now.wall, until };
        self.change(None, Some(Row::Assignment(row)));
        Ok(())
    }

    /// Takes one key away. False where it was not given.
    fn take_away(&mut self, subject: Subject, key: KeyId) -> bool {
        let state = &self.engine.state;
        let row = state
            .assignments_of(subject)
            .and_then(|assignments| assignments.get(&key))
            .and_then(|id| state.assignments.get(id))
            .cloned();
        let Some(row) = row else { return false };
        self.change(Some(Row::Assignment(row)), None);
        true
    }

    fn check_terms(&self, key: KeyId, until: Option<WallTime>) -> Result<(), Refusal> {
        let Some(definition) = self.engine.state.catalog.get(key) else {
            return Ok(());
        };
        let refuse = |fault: &str| {
            let fault = format!("an assignment of {} {fault}", definition.def.name);
            Err(Refusal::Malformed { field: "until".into(), fault })
        };
        match (definition.def.terms, until) {
            (Terms::Timed, None) => refuse("needs an end, and none is given"),
            (Terms::Permanent, Some(_)) => refuse("has no end, and one is given"),
            (Terms::Timed, Some(until)) if until <= self.engine.state.dated(self.now) => {
                refuse("must end in the future")
            }
            (Terms::Timed, Some(_)) | (Terms::Permanent, None) => Ok(()),
        }
    }

    /// 01, `application`: by default one permanent key of an application at once; automatic management, which would take
    /// the other away, is off.
    fn check_application(&self, subject: Subject, key: KeyId) -> Result<(), Refusal> {
        let state = &self.engine.state;
        let Subject::User(user) = subject else {
            return Ok(());
        };
        let Some(definition) = state.catalog.get(key) else {
            return Ok(());
        };
        let Some(application) =
            definition.def.application.as_ref().filter(|_| definition.def.terms == Terms::Permanent)
        else {
            return Ok(());
        };
        for other in state.assignments_of(subject).into_iter().flat_map(|assignments| assignments.keys()) {
            let Some(held) = state.catalog.get(*other) else {
                continue;
            };
            let Some(held_application) = held.def.application.as_ref().filter(|_| held.def.terms == Terms::Permanent)
            else {
                continue;
            };
            if held_application.name == application.name && !(held_application.several && application.several) {
                let Some(user) = state.users.get(&user) else {
                    return Ok(());
                };
                return Err(Refusal::ApplicationHeld {
                    user: user.row.name.clone(),
                    key: definition.def.name.clone(),
                    held: held.def.name.clone(),
                    application: application.name.clone(),
                });
            }
        }
        Ok(())
    }

    /// ALLOC-1: converts all of a user's keys in one step or not at all; live leases' seats move in the same step
    /// (ALLOC-16).
    pub(crate) fn convert(&mut self, user: UserId, method: Method) -> Result<(), Refusal> {
        let subject = Subject::User(user);
        let rows: Vec<AssignmentRow> = self
            .engine
            .state
            .assignments_of(subject)
            .into_iter()
            .flat_map(|assignments| assignments.values())
            .filter_map(|id| self.engine.state.assignments.get(id).cloned())
            .filter(|row| row.method != method)
            .collect();
        for row in &rows {
            self.change(Some(Row::Assignment(row.clone())), None);
        }
        let converted: Vec<KeyId> = rows.iter().map(|row| row.key).collect();
        for row in rows {
            self.take_assignment(subject, row.key, method, row.until)?;
        }
        let needed: Vec<_> = self.engine.state.leases_of(subject).to_vec();
        for id in needed {
            let held_before: Vec<KeyId> = self
                .engine
                .state
                .leases
                .get(&id)
                .map(|lease| lease.row.terms.keys.iter().map(|held| held.key).collect())
                .unwrap_or_default();
            self.look_again(id, EndReason::Unassigned);
            let state = &self.engine.state;
            let lost = match state.leases.get(&id) {
                None => held_before.first().copied(),
                Some(lease) => {
                    held_before.iter().copied().find(|key| !lease.row.terms.keys.iter().any(|held| held.key == *key))
                }
            };
            if let Some(lost) = lost {
                // A live lease would lose a right: the conversion as a whole is refused. What is lost may have come with
                // another key, or gone with the lease; to blame is a pool that is full (ALLOC-14).
                let full = |key: &KeyId| {
                    let pool = state.pools.get(&PoolId { key: *key, method });
                    held_before.contains(key) && pool.is_some_and(|pool| pool.free(method) == 0)
                };
                let key = converted.iter().copied().find(full).unwrap_or(lost);
                if state.enforced_away(key, false) {
                    return Err(state.enforced(key));
                }
                return Err(state.exhausted(PoolId { key, method }, 1, 0, self.now));
            }
        }
        Ok(())
    }

    // Devices (STATION-5).

    /// The device key that a device takes: of keys that follow the owner's, the one whose leader the owner holds.
    fn device_key(&self, subject: Subject, key: KeyId) -> Result<KeyId, Refusal> {
        let state = &self.engine.state;
        let Subject::Station(station) = subject else {
            return Ok(key);
        };
        let Some(owner) =
            state.stations.get(&station).filter(|s| s.row.kind == StationKind::Device).and_then(|s| s.row.owner)
        else {
            return Ok(key);
        };
        let Some(leader) = state.catalog.get(key).and_then(|definition| definition.follows) else {
            return Ok(key);
        };
        self.following(owner, key).ok_or_else(|| Refusal::NotAssigned {
            subject: state.subject_name(Subject::User(owner)),
            key: state.key_name(leader),
        })
    }

    /// Of the device keys of one application, the one that follows a key which the owner holds; `preferred` first.
    fn following(&self, owner: UserId, preferred: KeyId) -> Option<KeyId> {
        let state = &self.engine.state;
        let held = state.owner_keys(owner, self.now);
        let family = state.catalog.get(preferred).map(|definition| &definition.def.application);
        let fits = |key: KeyId| {
            state
                .catalog
                .get(key)
                .and_then(|definition| definition.follows)
                .is_some_and(|leader| held.contains_key(&leader))
        };
        if fits(preferred) {
            return Some(preferred);
        }
        state
            .catalog
            .all()
            .filter(|(_, definition)| family == Some(&definition.def.application))
            .map(|(key, _)| key)
            .find(|key| fits(*key))
    }

    /// Which key a device gives up under a key's name: that one, or what it holds of the same family, since it may have been
    /// given in that one's place.
    fn held_of_family(&self, subject: Subject, key: KeyId) -> KeyId {
        let state = &self.engine.state;
        let application = |key: KeyId| {
            let definition = state.catalog.get(key).filter(|definition| definition.follows.is_some())?;
            definition.def.application.as_ref().map(|application| &application.name)
        };
        let Some(assignments) = state.assignments_of(subject).filter(|held| !held.contains_key(&key)) else {
            return key;
        };
        let (Subject::Station(_), Some(family)) = (subject, application(key)) else {
            return key;
        };
        assignments.keys().copied().find(|held| application(*held) == Some(family)).unwrap_or(key)
    }

    /// A user's devices.
    pub(crate) fn devices_of(&self, subject: Subject) -> Vec<StationId> {
        match subject {
            Subject::User(user) => self.engine.state.devices.get(&user).into_iter().flatten().copied().collect(),
            Subject::Station(_) => Vec::new(),
        }
    }

    /// Gives a device the key that its owner's present key asks for, in place of the one it has.
    pub(crate) fn follow_owner(&mut self, device: StationId) -> Result<(), Refusal> {
        let subject = Subject::Station(device);
        let state = &self.engine.state;
        let Some(station) = state.stations.get(&device) else {
            return Ok(());
        };
        let owner = station.row.owner;
        let current = station
            .assignments
            .keys()
            .copied()
            .find(|key| state.catalog.get(*key).is_some_and(|definition| definition.follows.is_some()));
        let (Some(current), Some(owner)) = (current, owner) else {
            return Ok(());
        };
        // An owner without any such key leaves the device what it has, without effect, until the owner has one again.
        if let Some(next) = self.following(owner, current).filter(|next| *next != current) {
            // The new seat before the old one goes.
            self.take_assignment(subject, next, Method::Assignable, None)?;
            self.take_away(subject, current);
        }
        self.look_again_at(subject, EndReason::Unassigned);
        Ok(())
    }
}
