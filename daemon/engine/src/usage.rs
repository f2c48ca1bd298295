//! What usage files will say (04): events of logons and logoffs, told in the same step as the lease changes that they
//! report (USAGE-6), and the list of segments that they were sealed into. Sealing, files and delivery are the daemon's.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use leasehold_keys::{
    activation::{HostRole, LicenseId},
    definition::Role,
    name::{KeyName, Label},
    time::WallTime,
};

use crate::{
    command::UsageStep,
    decision::Reply,
    engine::{Engine, Turn},
    ids::{KeyId, UsageEventId, UserId},
    refusal::{EndReason, Refusal},
    row::{LeaseRow, LeaseSubject, Row, UsageBefore, UsageEventRow, UsageKind, UsageSegmentRow},
    state::State,
    time::{LeaseTime, Now},
};

/// What the state remembers of usage.
#[derive(Debug, Default)]
pub(crate) struct Usage {
    /// Events that no segment holds yet. What cannot be sealed waits here and in the database: an event is never dropped,
    /// and each came with a commit, so they are bounded by what the disk takes. By their numbers.
    pub unsealed: VecDeque<UsageEventRow>,
    /// Segments whose file is still kept.
    pub segments: BTreeMap<u32, UsageSegmentRow>,
}

/// What the grants in effect ask for (USAGE-1, USAGE-2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UsagePlan {
    /// Events are collected and files written.
    pub collecting: bool,
    /// How often collecting has begun. A file tells of one era only: between two of them nobody was watching.
    pub era: u32,
    /// Files are uploaded without being asked for. Never where the grants keep usage local.
    pub upload: bool,
    /// The license ID that files name: of the first file in effect that asks for usage.
    pub license: Option<LicenseId>,
    /// The part that this host plays in that file; `None` for a file without hosts.
    pub role: Option<HostRole>,
    /// Where the licensor wants them, as that file says.
    pub destination: Option<String>,
}

/// A user who is logged on, as a usage file opens with (USAGE-5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsagePresence {
    /// Who.
    pub user: Label,
    /// Since when: the oldest of the sessions that are left.
    pub since: WallTime,
    /// Sessions.
    pub counter: u32,
    /// The keys applied.
    pub keys: Arc<[KeyId]>,
}

impl Turn<'_> {
    /// Tells a lease that began (`Logon`) or ended (`Logoff`), after the change. `at`: when.
    pub(crate) fn tell_usage(&mut self, what: UsageKind, lease: &LeaseRow, at: WallTime) {
        let state = &self.engine.state;
        let LeaseSubject::Logon { user, .. } = &lease.subject else {
            return;
        };
        if !state.site.usage_collecting {
            return;
        }
        let others = state.sessions(*user).filter(|other| other.id != lease.id);
        let before = match what {
            UsageKind::Logoff => before(others.chain([lease])),
            _ => before(others),
        };
        self.tell_user(what, *user, at, before);
    }

    /// Tells that a user goes on with other keys than `old` ones, where that is so, after the change.
    pub(crate) fn tell_keys_changed(&mut self, user: UserId, old: Arc<[KeyId]>) {
        let state = &self.engine.state;
        if state.applied_keys(user) == old {
            return;
        }
        let since = state.sessions(user).map(|lease| lease.granted_wall).min();
        let before = since.map(|since| UsageBefore { since, keys: old });
        self.tell_user(UsageKind::KeysChanged, user, self.now.wall, before);
    }

    fn tell_user(&mut self, what: UsageKind, user: UserId, at: WallTime, before: Option<UsageBefore>) {
        let state = &self.engine.state;
        let Some(row) = state.users.get(&user) else {
            return;
        };
        let counter = u32::try_from(row.leases.len()).unwrap_or(u32::MAX);
        let keys = match &before {
            // At counter 0 the keys are those that were applied until then.
            Some(before) if counter == 0 => before.keys.clone(),
            _ => state.applied_keys(user),
        };
        let id = UsageEventId(state.last_usage_event() + 1);
        let (era, user) = (state.site.usage_era, row.row.name.clone());
        let event = UsageEventRow { id, era, at, what, user, counter, keys, before };
        self.change(None, Some(Row::UsageEvent(event)));
    }

    /// The lease's user and the keys applied to that one, where that is told at all.
    pub(crate) fn applied_to(&self, lease: &LeaseRow) -> Option<(UserId, Arc<[KeyId]>)> {
        match &lease.subject {
            LeaseSubject::Logon { user, .. } if self.engine.state.site.usage_collecting => {
                Some((*user, self.engine.state.applied_keys(*user)))
            }
            _ => None,
        }
    }

    /// USAGE-1: collecting follows the grants as they stand. Who stayed and who left while there was none is not known, so
    /// that each beginning is another era.
    pub(crate) fn follow_usage(&mut self) {
        let collecting = self.engine.state.wants_usage();
        self.change_site(|site| {
            if collecting && !site.usage_collecting {
                site.usage_era = site.usage_era.saturating_add(1);
            }
            site.usage_collecting = collecting;
        });
    }

    /// When a lease's use ended: where it expired, with its last renewal, though never before its grant (USAGE-9).
    pub(crate) fn end_of_use(&self, lease: &LeaseRow, how: EndReason) -> WallTime {
        if how != EndReason::Expired {
            return self.now.wall;
        }
        let seen = self.engine.state.last_seen(lease);
        let ago = i64::try_from(self.now.lease.ms_since(seen)).unwrap_or(i64::MAX);
        self.now.wall.plus_ms(-ago).max(lease.granted_wall).min(self.now.wall)
    }

    /// Takes over what the daemon's usage room has sealed, written or delivered.
    pub(crate) fn usage_step(&mut self, step: UsageStep) -> Result<Reply, Refusal> {
        for row in step.records {
            self.change(None, Some(Row::UsageRecord(row)));
        }
        for row in step.segments {
            let before = self.engine.state.usage.segments.get(&row.number).cloned().map(Box::new);
            self.change(before.map(Row::UsageSegment), Some(Row::UsageSegment(Box::new(row))));
        }
        for number in step.forgotten {
            if let Some(row) = self.engine.state.usage.segments.get(&number).cloned() {
                self.change(Some(Row::UsageSegment(Box::new(row))), None);
            }
        }
        if let Some(through) = step.sealed_through {
            let unsealed = &self.engine.state.usage.unsealed;
            let sealed: Arc<[UsageEventRow]> =
                unsealed.range(..unsealed.partition_point(|row| row.id <= through)).cloned().collect();
            if !sealed.is_empty() {
                self.change(Some(Row::UsageEvents(sealed)), None);
            }
            // Before the last number could be forgotten with the event that had it.
            self.change_site(|site| site.last_usage_event = site.last_usage_event.max(through.0));
        }
        Ok(Reply::Done)
    }
}

impl State {
    /// The highest number of a usage event. It is no row of its own, so that an event costs no second one.
    fn last_usage_event(&self) -> u64 {
        let waiting = self.usage.unsealed.back().map_or(0, |row| row.id.0);
        waiting.max(self.site.last_usage_event)
    }

    /// The keys applied to a user: of all live sessions together, by number.
    pub(crate) fn applied_keys(&self, user: UserId) -> Arc<[KeyId]> {
        keys_of(self.sessions(user))
    }

    /// A user's live sessions.
    fn sessions(&self, user: UserId) -> impl Iterator<Item = &LeaseRow> + Clone {
        let leases = self.users.get(&user).map_or(&[][..], |user| &user.leases);
        leases.iter().filter_map(|id| self.leases.get(id)).map(|lease| &lease.row)
    }

    /// When a live lease was last heard of.
    fn last_seen(&self, lease: &LeaseRow) -> LeaseTime {
        let renewed = self.leases.get(&lease.id).map_or(lease.granted, |lease| lease.renewed);
        let beats = self.holders.get(&lease.holder).filter(|holder| holder.row.run.is_some());
        beats.map_or(renewed, |holder| holder.contact.max(renewed))
    }

    /// Which of the keys that ask for usage the site has: upload, local, virtual cloud.
    fn usage_roles(&self) -> [bool; 3] {
        [Role::UsageUpload, Role::UsageLocal, Role::VirtualCloud]
            .map(|role| self.catalog.with_role(role).any(|key| self.site_has(key)))
    }

    /// USAGE-1: the grants ask for usage.
    fn wants_usage(&self) -> bool {
        self.usage_roles().contains(&true)
    }

    /// USAGE-1 and USAGE-2, from the grants as they stand.
    pub(crate) fn usage_plan(&self, now: Now) -> UsagePlan {
        let (collecting, era) = (self.site.usage_collecting, self.site.usage_era);
        let [upload, local, cloud] = self.usage_roles();
        if !(upload || local || cloud) {
            return UsagePlan { collecting, era, ..UsagePlan::default() };
        }
        let asking = |key: &KeyName| {
            self.catalog.find(key.as_str()).and_then(|key| self.catalog.get(key)).is_some_and(|definition| {
                matches!(definition.def.role, Some(Role::UsageUpload | Role::UsageLocal | Role::VirtualCloud))
            })
        };
        let file = self.files_in_effect(now).find(|file| file.terms.grants.iter().any(|grant| asking(&grant.pool.key)));
        UsagePlan {
            collecting,
            era,
            upload: cloud || (upload && !local),
            license: file.map(|file| file.terms.license_id),
            role: file.and_then(|file| file.host_role),
            destination: file.and_then(|file| file.terms.usage_destination.clone()),
        }
    }
}

/// Of sessions that a user had; `None` where there are none.
fn before<'l>(sessions: impl Iterator<Item = &'l LeaseRow> + Clone) -> Option<UsageBefore> {
    let since = sessions.clone().map(|lease| lease.granted_wall).min()?;
    Some(UsageBefore { since, keys: keys_of(sessions) })
}

impl UsageEventRow {
    /// The user as a segment opens with them that tells this event first.
    fn presence_before(&self) -> Option<UsagePresence> {
        let UsageBefore { since, keys } = self.before.clone()?;
        let counter = match self.what {
            UsageKind::Logon => self.counter.saturating_sub(1),
            UsageKind::Logoff => self.counter.saturating_add(1),
            UsageKind::KeysChanged => self.counter,
        };
        Some(UsagePresence { user: self.user.clone(), since, counter, keys })
    }
}

fn keys_of<'l>(leases: impl Iterator<Item = &'l LeaseRow>) -> Arc<[KeyId]> {
    let mut leases = leases;
    let Some(first) = leases.next() else {
        return Arc::from([]);
    };
    // Terms list their keys by number, so that one session needs no sorting.
    let Some(second) = leases.next() else {
        return first.terms.keys.iter().map(|held| held.key).collect();
    };
    let all = [first, second].into_iter().chain(leases);
    let keys: BTreeSet<KeyId> = all.flat_map(|lease| lease.terms.keys.iter().map(|held| held.key)).collect();
    keys.into_iter().collect()
}

impl Engine {
    /// What the grants ask for now (USAGE-1, USAGE-2).
    pub fn usage_plan(&self, now: Now) -> UsagePlan {
        self.state.usage_plan(now)
    }

    /// The oldest events that are not sealed, at most so many.
    pub fn unsealed_usage(&self, most: usize) -> Vec<UsageEventRow> {
        self.state.usage.unsealed.iter().take(most).cloned().collect()
    }

    /// How many events are not sealed, and the time of the oldest.
    pub fn usage_backlog(&self) -> (usize, Option<WallTime>) {
        let unsealed = &self.state.usage.unsealed;
        (unsealed.len(), unsealed.front().map(|row| row.at))
    }

    /// The users who were logged on after all events that are sealed, and before those that wait, by name (USAGE-5): a
    /// segment that begins opens with these, so that its chain tells every session from its first to its last moment. Of whom
    /// no event waits, it is told how they are now: nobody knows how they were before collecting began the last time.
    pub fn usage_presences(&self) -> Vec<UsagePresence> {
        let users = self.state.user_names.values().filter_map(|id| Some((id, self.state.users.get(id)?)));
        let live = users.filter_map(|(id, user)| {
            let UsageBefore { since, keys } = before(self.state.sessions(*id))?;
            let counter = u32::try_from(user.leases.len()).unwrap_or(u32::MAX);
            let name = user.row.name.clone();
            Some((name.clone(), Some(UsagePresence { user: name, since, counter, keys })))
        });
        let mut users: BTreeMap<Label, Option<UsagePresence>> = live.collect();
        // The first event that waits tells how it was before; so from the last to the first.
        for event in self.state.usage.unsealed.iter().rev() {
            users.insert(event.user.clone(), event.presence_before());
        }
        users.into_values().flatten().collect()
    }

    /// Segments that are still kept, by number.
    pub fn usage_segments(&self) -> impl Iterator<Item = &UsageSegmentRow> {
        self.state.usage.segments.values()
    }

    /// The name of a key in an event.
    pub fn key_name(&self, key: KeyId) -> KeyName {
        self.state.key_name(key)
    }
}
