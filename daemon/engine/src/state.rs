//! What the engine remembers. The tables are lasting rows and change only through [`State::absorb`], which keeps every
//! count and index beside them; so a decision, its replay at a restart and its undoing go through one piece of code.

mod identities;
mod leases;

use std::collections::{BTreeMap, BTreeSet};

use leasehold_keys::{
    activation::{LicenseId, Units},
    digest::Sha256,
    marks::Mark,
    name::{KeyName, Label, Method, PoolName},
    time::WallTime,
};

use crate::{
    catalog::Catalog,
    ids::{
        AssignmentId, HolderId, Identity, KeyId, LeaseId, OrganizationId, PoolId, RequestId, RunId, StationId, Subject,
        UserId, WorkgroupId,
    },
    intern::Interner,
    pool::{Pool, Share},
    row::{
        AssignmentRow, Change, FileRow, HolderRow, LeaseRow, LeaseSubject, OrganizationRow, Row, SiteRow, StationRow,
        UserRow, WorkgroupRow,
    },
    standing::{Enforced, StandingRow},
    time::LeaseTime,
    usage::Usage,
};

/// A user with all that hangs on it.
#[derive(Debug)]
pub(crate) struct User {
    pub row: UserRow,
    /// Live leases, oldest first.
    pub leases: Vec<LeaseId>,
    pub assignments: BTreeMap<KeyId, AssignmentId>,
    /// Concurrent seats: how many leases use each. A pool is in here while at least one does (ALLOC-7).
    pub seats: BTreeMap<PoolId, u32>,
}

/// A station with all that hangs on it.
#[derive(Debug)]
pub(crate) struct Station {
    pub row: StationRow,
    pub leases: Vec<LeaseId>,
    pub assignments: BTreeMap<KeyId, AssignmentId>,
}

/// A run of an application server.
#[derive(Debug)]
pub(crate) struct Holder {
    pub row: HolderRow,
    /// The last contact; `row.contact` follows once a minute (LEASE-7).
    pub contact: LeaseTime,
    pub attached: bool,
    pub leases: BTreeSet<LeaseId>,
    /// Leases of it that have ended while their answers are still remembered.
    pub ended: u64,
}

/// A live lease. Only the renewal and the timer are not in its row.
#[derive(Debug)]
pub(crate) struct Lease {
    pub row: LeaseRow,
    pub renewed: LeaseTime,
    /// The moment under which it stands in [`State::timers`].
    pub timer: LeaseTime,
}

/// Everything.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub site: SiteRow,
    pub key_names: BTreeMap<KeyId, KeyName>,
    pub key_ids: BTreeMap<KeyName, KeyId>,
    pub catalog: Catalog,
    pub organizations: BTreeMap<OrganizationId, OrganizationRow>,
    pub organization_names: BTreeMap<Label, OrganizationId>,
    pub workgroups: BTreeMap<WorkgroupId, WorkgroupRow>,
    pub workgroup_names: BTreeMap<Label, WorkgroupId>,
    pub users: BTreeMap<UserId, User>,
    pub user_names: BTreeMap<Label, UserId>,
    pub stations: BTreeMap<StationId, Station>,
    pub station_names: BTreeMap<Label, StationId>,
    /// Devices by their owner (STATION-5).
    pub devices: BTreeMap<UserId, BTreeSet<StationId>>,
    pub assignments: BTreeMap<AssignmentId, AssignmentRow>,
    /// Ends of timed assignments, by milliseconds of trusted time.
    pub assignment_ends: BTreeSet<(i64, AssignmentId)>,
    pub pools: BTreeMap<PoolId, Pool>,
    pub holders: BTreeMap<HolderId, Holder>,
    pub holder_ids: BTreeMap<(Identity, String, Option<RunId>), HolderId>,
    /// Boxed: a tree that only grows at its end leaves nearly half of its room empty.
    pub leases: BTreeMap<LeaseId, Box<Lease>>,
    /// When leases that ended in this minute, and in the one before, were last renewed: their end may be taken back.
    pub renewals_of_ended: [BTreeMap<LeaseId, LeaseTime>; 2],
    /// When to look at each live lease again.
    pub timers: BTreeSet<(LeaseTime, LeaseId)>,
    /// Idle leases, longest first.
    pub idle: BTreeSet<(LeaseTime, LeaseId)>,
    /// Seats of leases that were warned that they are beyond a lowered capacity (ALLOC-11).
    pub warned: BTreeSet<(PoolId, LeaseId)>,
    /// Leases that have ended while their answers are still remembered.
    pub ended: BTreeMap<LeaseId, LeaseRow>,
    /// The same by when they ended, to be forgotten after 24 h.
    pub ended_at: BTreeSet<(LeaseTime, LeaseId)>,
    pub answers: BTreeMap<(u32, RequestId), LeaseId>,
    /// Answers remembered of each number in `identities`, those of releases among them.
    pub answer_counts: BTreeMap<u32, u64>,
    /// Identities that have a holder or an answer that is remembered.
    pub identities: BTreeMap<Identity, u32>,
    /// How far they have been looked at, where they are too many for one look.
    pub identities_looked: Option<Identity>,
    last_identity: u32,
    pub files: BTreeMap<LicenseId, FileRow>,
    pub marks: BTreeMap<LicenseId, Mark>,
    /// Keys that the roots revoke, with the date from which. Told at every start; not a row.
    pub revoked: BTreeMap<Sha256, WallTime>,
    pub interner: Interner,
    /// Pools with an idle rule, with the time of each.
    pub idle_rules: BTreeMap<PoolId, u64>,
    /// Files whose host was lost and matches again. Told anew whenever the folder is judged; not a row.
    pub matched_again: BTreeSet<LicenseId>,
    /// A development file is in effect (LEVEL-2).
    pub development: bool,
    /// Pools with something freed since they were last offered to their waiters.
    pub freed: BTreeSet<PoolId>,
    /// Pools over their capacity (ALLOC-11), or closing (LEVEL-5).
    pub watched_pools: BTreeSet<PoolId>,
    /// All call ports together may hold so many, while the site is unlicensed (01, Levels).
    pub joint_call_ports: Option<u64>,
    /// What is remembered of check-ins, by license ID; of licenses without a file too.
    pub standings: BTreeMap<LicenseId, StandingRow>,
    /// What the standing of the licenses in effect comes to (05).
    pub enforcement: Enforced,
    /// Events, segments, and whether there are to be any (04).
    pub usage: Usage,
}

impl State {
    pub(crate) fn pool(&mut self, id: PoolId) -> &mut Pool {
        self.pools.entry(id).or_default()
    }

    pub(crate) fn held(&self, id: PoolId) -> u64 {
        self.pools.get(&id).map_or(0, |pool| pool.held(id.method))
    }

    pub(crate) fn capacity(&self, id: PoolId) -> Units {
        self.pools.get(&id).map_or(Units::Count(0), |pool| pool.capacity)
    }

    pub(crate) fn pool_name(&self, id: PoolId) -> PoolName {
        PoolName { key: self.key_name(id.key), method: id.method }
    }

    /// The key's name. Every number in a row has its name; should a damaged database lack one, the number shows.
    pub(crate) fn key_name(&self, id: KeyId) -> KeyName {
        self.key_names.get(&id).cloned().unwrap_or_else(|| {
            format!("key-{id}").parse().unwrap_or_else(|_| unreachable!("digits and a hyphen are a key's name"))
        })
    }

    /// The organization and all above it, nearest first. At most 64: deeper trees are refused.
    pub(crate) fn lineage(&self, of: Option<OrganizationId>) -> Vec<OrganizationId> {
        let mut line = Vec::new();
        let mut next = of;
        while let Some(id) = next {
            if line.len() == MAX_ORGANIZATION_DEPTH || line.contains(&id) {
                break;
            }
            line.push(id);
            next = self.organizations.get(&id).and_then(|row| row.parent);
        }
        line
    }

    /// Levels of organizations below one: 0 where none is.
    pub(crate) fn levels_below(&self, id: OrganizationId) -> usize {
        let mut level: Vec<OrganizationId> = vec![id];
        for depth in 0..MAX_ORGANIZATION_DEPTH {
            let below = |row: &&OrganizationRow| row.parent.is_some_and(|parent| level.contains(&parent));
            let next: Vec<OrganizationId> = self.organizations.values().filter(below).map(|row| row.id).collect();
            if next.is_empty() {
                return depth;
            }
            level = next;
        }
        MAX_ORGANIZATION_DEPTH
    }

    pub(crate) fn organization_of(&self, subject: Subject) -> Option<OrganizationId> {
        match subject {
            Subject::User(id) => self.users.get(&id).and_then(|user| user.row.organization),
            Subject::Station(id) => self.stations.get(&id).and_then(|station| station.row.organization),
        }
    }

    pub(crate) fn subject_of(lease: &LeaseSubject) -> Option<Subject> {
        match lease {
            LeaseSubject::Logon { user, .. } => Some(Subject::User(*user)),
            LeaseSubject::Station(station) => Some(Subject::Station(*station)),
            LeaseSubject::Units => None,
        }
    }

    pub(crate) fn assignments_of(&self, subject: Subject) -> Option<&BTreeMap<KeyId, AssignmentId>> {
        match subject {
            Subject::User(id) => self.users.get(&id).map(|user| &user.assignments),
            Subject::Station(id) => self.stations.get(&id).map(|station| &station.assignments),
        }
    }

    pub(crate) fn leases_of(&self, subject: Subject) -> &[LeaseId] {
        match subject {
            Subject::User(id) => self.users.get(&id).map_or(&[], |user| &user.leases),
            Subject::Station(id) => self.stations.get(&id).map_or(&[], |station| &station.leases),
        }
    }

    /// `user agent-001`, `station station-001`.
    pub(crate) fn subject_name(&self, subject: Subject) -> String {
        match subject {
            Subject::User(id) => self
                .users
                .get(&id)
                .map_or_else(|| format!("user number {id}"), |user| format!("user {}", user.row.name)),
            Subject::Station(id) => self
                .stations
                .get(&id)
                .map_or_else(|| format!("station number {id}"), |station| format!("station {}", station.row.name)),
        }
    }

    /// Applies one change of rows, with all that hangs on it.
    pub(crate) fn absorb(&mut self, change: &Change) {
        match (&change.before, &change.after) {
            (Some(Row::Lease(before)), Some(Row::Lease(after))) => self.replace_lease(before, after),
            (before, after) => {
                let graced = |row: &Option<Row>| match row {
                    Some(Row::Holder(row)) => Some((row.id, row.graced)),
                    _ => None,
                };
                let moved = graced(before).zip(graced(after)).filter(|(old, new)| old != new).map(|(old, _)| old.0);
                if let Some(row) = before {
                    self.remove(row, after.is_some());
                }
                if let Some(row) = after {
                    self.insert(row);
                }
                // All its leases end at another time now (LEASE-7).
                for lease in moved.map(|id| self.leases_of_holder(id)).unwrap_or_default() {
                    self.rewind_timer(lease);
                }
            }
        }
    }

    fn remove(&mut self, row: &Row, replaced: bool) {
        match row {
            Row::Key(row) => {
                self.key_names.remove(&row.id);
                self.key_ids.remove(&row.name);
            }
            Row::Organization(row) => {
                self.organization_names.remove(&row.name);
                self.organizations.remove(&row.id);
            }
            Row::Workgroup(row) => {
                self.workgroup_names.remove(&row.name);
                self.workgroups.remove(&row.id);
            }
            Row::User(row) => {
                self.user_names.remove(&row.name);
                if !replaced {
                    self.users.remove(&row.id);
                }
            }
            Row::Station(row) => {
                self.station_names.remove(&row.name);
                if let Some(owner) = row.owner
                    && let Some(devices) = self.devices.get_mut(&owner)
                {
                    devices.remove(&row.id);
                    if devices.is_empty() {
                        self.devices.remove(&owner);
                    }
                }
                if !replaced {
                    self.stations.remove(&row.id);
                }
            }
            Row::Assignment(row) => self.remove_assignment(row),
            Row::Share(row) => {
                let pool = self.pool(row.pool);
                pool.shares.retain(|share| share.row.holder != row.holder);
                self.freed.insert(row.pool);
            }
            Row::PoolRule(row) => {
                self.pool(row.pool).rule = None;
                self.idle_rules.remove(&row.pool);
            }
            Row::PoolState(row) => {
                self.pool(row.pool).state = None;
                self.watched_pools.remove(&row.pool);
            }
            Row::Holder(row) => {
                if !replaced {
                    self.holder_ids.remove(&(row.identity.clone(), row.instance.clone(), row.run));
                    self.holders.remove(&row.id);
                }
            }
            Row::Lease(row) => self.remove_lease(row),
            Row::File(row) => {
                self.files.remove(&row.terms.license_id);
            }
            Row::Mark(mark) => {
                self.marks.remove(&mark.license_id);
            }
            Row::UsageEvent(row) => {
                let unsealed = &mut self.usage.unsealed;
                // Taken back: it is the newest.
                match unsealed.back() {
                    Some(last) if last.id == row.id => drop(unsealed.pop_back()),
                    _ => unsealed.retain(|other| other.id != row.id),
                }
            }
            Row::UsageEvents(rows) => {
                if let Some(last) = rows.last() {
                    let unsealed = &mut self.usage.unsealed;
                    unsealed.drain(..unsealed.partition_point(|row| row.id <= last.id));
                }
            }
            Row::UsageSegment(row) => {
                self.usage.segments.remove(&row.number);
            }
            Row::Standing(row) => {
                self.standings.remove(&row.license_id);
            }
            Row::Site(_) => self.site = SiteRow::default(),
            Row::UsageRecord(_) | Row::Denial(_) | Row::Audit(_) => {}
        }
    }

    fn insert(&mut self, row: &Row) {
        match row {
            Row::Key(row) => {
                self.key_names.insert(row.id, row.name.clone());
                self.key_ids.insert(row.name.clone(), row.id);
            }
            Row::Organization(row) => {
                self.organization_names.insert(row.name.clone(), row.id);
                self.organizations.insert(row.id, row.clone());
            }
            Row::Workgroup(row) => {
                self.workgroup_names.insert(row.name.clone(), row.id);
                self.workgroups.insert(row.id, row.clone());
            }
            Row::User(row) => {
                self.user_names.insert(row.name.clone(), row.id);
                self.users.entry(row.id).and_modify(|user| user.row = row.clone()).or_insert_with(|| User {
                    row: row.clone(),
                    leases: Vec::new(),
                    assignments: BTreeMap::new(),
                    seats: BTreeMap::new(),
                });
            }
            Row::Station(row) => {
                self.station_names.insert(row.name.clone(), row.id);
                if let Some(owner) = row.owner {
                    self.devices.entry(owner).or_default().insert(row.id);
                }
                self.stations
                    .entry(row.id)
                    .and_modify(|station| station.row = row.clone())
                    .or_insert_with(|| Station { row: row.clone(), leases: Vec::new(), assignments: BTreeMap::new() });
            }
            Row::Assignment(row) => self.insert_assignment(row),
            Row::Share(row) => {
                let used = self.share_use(row.pool, &row.holder);
                let pool = self.pool(row.pool);
                pool.shares.push(Share { row: row.clone(), used });
                pool.shares.sort_by(|a, b| a.row.holder.cmp(&b.row.holder));
                self.freed.insert(row.pool);
            }
            Row::PoolRule(row) => {
                self.pool(row.pool).rule = Some(*row);
                if row.idle_ms > 0 {
                    self.idle_rules.insert(row.pool, row.idle_ms);
                }
            }
            Row::PoolState(row) => {
                self.pool(row.pool).state = Some(*row);
                self.watched_pools.insert(row.pool);
            }
            Row::Holder(row) => {
                self.identity_number(&row.identity);
                self.holder_ids.insert((row.identity.clone(), row.instance.clone(), row.run), row.id);
                self.holders
                    .entry(row.id)
                    .and_modify(|holder| {
                        holder.row = row.clone();
                        holder.contact = holder.contact.max(row.contact);
                    })
                    .or_insert_with(|| Holder {
                        row: row.clone(),
                        contact: row.contact,
                        attached: false,
                        leases: BTreeSet::new(),
                        ended: 0,
                    });
            }
            Row::Lease(row) => self.insert_lease(row),
            Row::File(row) => {
                self.files.insert(row.terms.license_id, row.clone());
            }
            Row::Mark(mark) => {
                self.marks.insert(mark.license_id, *mark);
            }
            Row::Standing(row) => {
                self.standings.insert(row.license_id, (**row).clone());
            }
            Row::Site(row) => self.site = *row,
            Row::UsageEvent(row) => {
                self.usage.unsealed.push_back(row.clone());
            }
            Row::UsageEvents(rows) => {
                for row in rows.iter().rev() {
                    self.usage.unsealed.push_front(row.clone());
                }
            }
            Row::UsageSegment(row) => {
                self.usage.segments.insert(row.number, (**row).clone());
            }
            Row::UsageRecord(_) | Row::Denial(_) | Row::Audit(_) => {}
        }
    }

    fn insert_assignment(&mut self, row: &AssignmentRow) {
        match row.subject {
            Subject::User(id) => {
                if let Some(user) = self.users.get_mut(&id) {
                    user.assignments.insert(row.key, row.id);
                }
            }
            Subject::Station(id) => {
                if let Some(station) = self.stations.get_mut(&id) {
                    station.assignments.insert(row.key, row.id);
                }
            }
        }
        let lineage = self.lineage(self.organization_of(row.subject));
        let pool = self.pool(row.pool());
        pool.assign(row.id);
        if row.method == Method::Assignable {
            pool.use_shares(&lineage, None, 1, true);
            pool.note_peak(row.method);
        }
        if let Some(until) = row.until {
            self.assignment_ends.insert((until.as_ms(), row.id));
        }
        self.assignments.insert(row.id, row.clone());
    }

    fn remove_assignment(&mut self, row: &AssignmentRow) {
        match row.subject {
            Subject::User(id) => {
                if let Some(user) = self.users.get_mut(&id) {
                    user.assignments.remove(&row.key);
                }
            }
            Subject::Station(id) => {
                if let Some(station) = self.stations.get_mut(&id) {
                    station.assignments.remove(&row.key);
                }
            }
        }
        let lineage = self.lineage(self.organization_of(row.subject));
        let pool = self.pool(row.pool());
        pool.unassign(row.id);
        if row.method == Method::Assignable {
            pool.use_shares(&lineage, None, 1, false);
            self.freed.insert(row.pool());
        }
        if let Some(until) = row.until {
            self.assignment_ends.remove(&(until.as_ms(), row.id));
        }
        self.assignments.remove(&row.id);
    }
}

/// Organizations may lie so deep.
pub(crate) const MAX_ORGANIZATION_DEPTH: usize = 64;
