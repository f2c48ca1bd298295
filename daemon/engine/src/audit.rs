//! What the audit log says of a thing before and after an act: names, not numbers, as JSON for people and programs. The
//! field names are kept for ever, as the log is.

use leasehold_keys::{
    name::{Label, Method},
    time::WallTime,
};
use serde::Serialize;

use crate::{
    engine::Turn,
    ids::{AuditId, Identity, LeaseId, OrganizationId, ShareHolder, Subject},
    row::{
        AssignmentRow, AuditRow, LeaseSubject, OrganizationRow, PoolRuleRow, Row, ShareRow, StationRow, UserRow,
        WorkgroupRow,
    },
    state::State,
};

/// Leases that one entry tells of; of more the count.
const LEASES_TOLD: usize = 20;

#[derive(Serialize)]
struct User<'a> {
    name: &'a Label,
    display_name: Option<&'a Label>,
    method: Method,
    organization: Option<Label>,
    workgroups: Vec<Label>,
    interaction_types: &'a [Label],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    keys: Vec<String>,
}

#[derive(Serialize)]
struct Station<'a> {
    name: &'a Label,
    kind: &'static str,
    enabled: bool,
    organization: Option<Label>,
    owner: Option<Label>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    keys: Vec<String>,
}

#[derive(Serialize)]
struct Workgroup<'a> {
    name: &'a Label,
    service_id: Option<&'a Label>,
    interaction_types: Vec<&'a Label>,
}

#[derive(Serialize)]
struct Organization<'a> {
    name: &'a Label,
    parent: Option<Label>,
}

#[derive(Serialize)]
struct Assignment {
    key: String,
    pool: String,
    subject: String,
    until: Option<WallTime>,
}

#[derive(Serialize)]
struct PoolRule {
    pool: String,
    idle_ms: u64,
    idle_always: bool,
}

#[derive(Serialize)]
struct Share {
    pool: String,
    organization: Option<Label>,
    application: Option<Label>,
    reserve: u32,
    limit: Option<u32>,
}

#[derive(Serialize)]
struct Lease {
    lease: u64,
    subject: String,
    application: Label,
    holder: String,
}

#[derive(Serialize)]
struct Leases {
    ended: usize,
    leases: Vec<Lease>,
}

fn json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

impl State {
    fn organization_name(&self, id: Option<OrganizationId>) -> Option<Label> {
        id.and_then(|id| self.organizations.get(&id)).map(|row| row.name.clone())
    }

    /// A user.
    pub(crate) fn told_user(&self, row: &UserRow) -> String {
        self.told_user_with(row, Vec::new())
    }

    /// A user that goes, with the pools of the keys that go along.
    pub(crate) fn told_user_and_keys(&self, row: &UserRow) -> String {
        self.told_user_with(row, self.pools_of(Subject::User(row.id)))
    }

    fn told_user_with(&self, row: &UserRow, keys: Vec<String>) -> String {
        let workgroups = row.workgroups.iter().filter_map(|id| self.workgroups.get(id));
        json(&User {
            name: &row.name,
            display_name: row.display_name.as_ref(),
            method: row.method,
            organization: self.organization_name(row.organization),
            workgroups: workgroups.map(|row| row.name.clone()).collect(),
            interaction_types: &row.types,
            keys,
        })
    }

    /// A station.
    pub(crate) fn told_station(&self, row: &StationRow) -> String {
        self.told_station_with(row, Vec::new())
    }

    /// A station that goes, with the pools of the keys that go along.
    pub(crate) fn told_station_and_keys(&self, row: &StationRow) -> String {
        self.told_station_with(row, self.pools_of(Subject::Station(row.id)))
    }

    fn told_station_with(&self, row: &StationRow, keys: Vec<String>) -> String {
        json(&Station {
            name: &row.name,
            kind: row.kind.as_str(),
            enabled: row.enabled,
            organization: self.organization_name(row.organization),
            owner: row.owner.and_then(|id| self.users.get(&id)).map(|user| user.row.name.clone()),
            keys,
        })
    }

    fn pools_of(&self, subject: Subject) -> Vec<String> {
        let assignments = self.assignments_of(subject).into_iter().flat_map(|assignments| assignments.values());
        let rows = assignments.filter_map(|id| self.assignments.get(id));
        rows.map(|row| self.pool_name(row.pool()).to_string()).collect()
    }

    /// A workgroup.
    pub(crate) fn told_workgroup(&self, row: &WorkgroupRow) -> String {
        json(&Workgroup {
            name: &row.name,
            service_id: row.service_id.as_ref(),
            interaction_types: row.types.iter().collect(),
        })
    }

    /// An organization.
    pub(crate) fn told_organization(&self, row: &OrganizationRow) -> String {
        json(&Organization { name: &row.name, parent: self.organization_name(row.parent) })
    }

    /// A key given.
    pub(crate) fn told_assignment(&self, row: &AssignmentRow) -> String {
        json(&Assignment {
            key: self.key_name(row.key).to_string(),
            pool: self.pool_name(row.pool()).to_string(),
            subject: self.subject_name(row.subject),
            until: row.until,
        })
    }

    /// A pool's rule.
    pub(crate) fn told_pool_rule(&self, row: &PoolRuleRow) -> String {
        let PoolRuleRow { pool, idle_ms, idle_always } = *row;
        json(&PoolRule { pool: self.pool_name(pool).to_string(), idle_ms, idle_always })
    }

    /// A share of a pool.
    pub(crate) fn told_share(&self, row: &ShareRow) -> String {
        let (organization, application) = match &row.holder {
            ShareHolder::Organization(id) => (self.organization_name(Some(*id)), None),
            ShareHolder::Application(name) => (None, Some(name.clone())),
        };
        let pool = self.pool_name(row.pool).to_string();
        json(&Share { pool, organization, application, reserve: row.reserve, limit: row.limit })
    }

    /// Live leases that are to end: the first of them.
    pub(crate) fn told_leases(&self, leases: &[LeaseId]) -> String {
        let live = || leases.iter().filter_map(|id| self.leases.get(id));
        let told = live().take(LEASES_TOLD).map(|lease| {
            let row = &lease.row;
            let subject = match &row.subject {
                LeaseSubject::Logon { user, station: Some(station), .. } => {
                    let user = self.subject_name(Subject::User(*user));
                    format!("{user} at {}", self.subject_name(Subject::Station(*station)))
                }
                LeaseSubject::Logon { user, station: None, .. } => self.subject_name(Subject::User(*user)),
                LeaseSubject::Station(station) => self.subject_name(Subject::Station(*station)),
                LeaseSubject::Units => "units".to_string(),
            };
            let holder = self.holders.get(&row.holder);
            Lease {
                lease: row.id.0,
                subject,
                application: row.application.clone(),
                holder: holder.map_or_else(String::new, |holder| holder.row.identity.to_string()),
            }
        });
        json(&Leases { ended: live().count(), leases: told.collect() })
    }
}

impl Turn<'_> {
    /// One entry (06): who, what, to what, before and after as JSON (empty: nothing), and the reason given.
    pub(crate) fn audit(
        &mut self,
        by: &Identity,
        action: &str,
        subject: &str,
        before: &str,
        after: &str,
        reason: &str,
    ) {
        self.change_site(|site| site.last_audit += 1);
        let row = AuditRow {
            id: AuditId(self.engine.state.site.last_audit),
            at: self.now.wall,
            identity: by.clone(),
            action: action.into(),
            subject: subject.into(),
            before: before.into(),
            after: after.into(),
            reason: reason.into(),
        };
        self.change(None, Some(Row::Audit(Box::new(row))));
    }

    /// An entry for each assignment that was made or taken away since there were so many changes, whatever brought it
    /// about: a device's key follows its owner's.
    pub(crate) fn audit_assignments(&mut self, by: &Identity, since: usize) {
        let moved: Vec<(&'static str, AssignmentRow)> = self
            .out
            .changes
            .iter()
            .skip(since)
            .filter_map(|change| match (&change.before, &change.after) {
                (None, Some(Row::Assignment(row))) => Some(("assign", row.clone())),
                (Some(Row::Assignment(row)), None) => Some(("unassign", row.clone())),
                _ => None,
            })
            .collect();
        for (action, row) in moved {
            let state = &self.engine.state;
            let subject = format!("{} for {}", state.key_name(row.key), state.subject_name(row.subject));
            let told = state.told_assignment(&row);
            let (before, after) = if action == "assign" { ("", told.as_str()) } else { (told.as_str(), "") };
            self.audit(by, action, &subject, before, after, "");
        }
    }
}
