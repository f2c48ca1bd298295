//! Pages of what is administered and of what is held.

use std::collections::BTreeMap;

use leasehold_keys::name::{KeyName, Label, Method};

use super::numbered;
use crate::{
    command::EntityName,
    engine::Engine,
    ids::{AssignmentId, KeyId, LeaseId, OrganizationId, Subject},
    refusal::Refusal,
    row::{AssignmentRow, LeaseRow, LeaseSubject},
    time::Now,
    view::{AssignmentView, EntityFilter, EntityKind, EntityView, HeldLeaseView, LeaseFilter},
};

impl Engine {
    /// A page of users, stations, workgroups or organizations, by name.
    ///
    /// # Errors
    /// `ORGANIZATION_UNKNOWN`.
    pub fn entities(&self, now: Now, filter: &EntityFilter) -> Result<Vec<EntityView>, Refusal> {
        use std::ops::Bound::{Excluded, Unbounded};
        let state = &self.state;
        let organization = filter
            .organization
            .as_ref()
            .map(|name| {
                let id = state.organization_names.get(name).copied();
                id.ok_or_else(|| Refusal::OrganizationUnknown(name.to_string()))
            })
            .transpose()?;
        let from = filter.after.as_ref().map_or(Unbounded, Excluded);
        let fits = |name: &Label| name.as_str().contains(&filter.name_contains);
        let member = |of: Option<OrganizationId>| organization.is_none_or(|wanted| state.lineage(of).contains(&wanted));
        let limit = filter.limit.clamp(1, 1_000);
        let views = match filter.kind {
            EntityKind::User => state
                .user_names
                .range::<Label, _>((from, Unbounded))
                .filter(|(name, id)| fits(name) && member(state.users.get(id).and_then(|user| user.row.organization)))
                .take(limit)
                .filter_map(|(name, _)| self.entity(now, &EntityName::User(name.clone())).ok())
                .collect(),
            EntityKind::Station => state
                .station_names
                .range::<Label, _>((from, Unbounded))
                .filter(|(name, id)| {
                    fits(name) && member(state.stations.get(id).and_then(|station| station.row.organization))
                })
                .take(limit)
                .filter_map(|(name, _)| self.entity(now, &EntityName::Station(name.clone())).ok())
                .collect(),
            EntityKind::Workgroup => state
                .workgroup_names
                .range::<Label, _>((from, Unbounded))
                .filter(|(name, _)| fits(name))
                .take(limit)
                .filter_map(|(name, _)| self.entity(now, &EntityName::Workgroup(name.clone())).ok())
                .collect(),
            EntityKind::Organization => state
                .organization_names
                .range::<Label, _>((from, Unbounded))
                .filter(|(name, _)| fits(name))
                .take(limit)
                .filter_map(|(name, _)| self.entity(now, &EntityName::Organization(name.clone())).ok())
                .collect(),
        };
        Ok(views)
    }

    /// One of them.
    ///
    /// # Errors
    /// `USER_UNKNOWN` and its like.
    pub fn entity(&self, now: Now, name: &EntityName) -> Result<EntityView, Refusal> {
        let state = &self.state;
        let organization_name =
            |id: Option<OrganizationId>| id.and_then(|id| state.organizations.get(&id)).map(|row| row.name.clone());
        let assignments = |assignments: &BTreeMap<KeyId, AssignmentId>| -> Vec<AssignmentView> {
            let mut views: Vec<AssignmentView> = assignments
                .values()
                .filter_map(|id| state.assignments.get(id))
                .map(|row| self.assignment_view(row, now))
                .collect();
            views.sort_by(|a, b| a.key.cmp(&b.key));
            views
        };
        match name {
            EntityName::User(name) => {
                let user = state.user_names.get(name).and_then(|id| state.users.get(id));
                let user = user.ok_or_else(|| Refusal::UserUnknown(name.to_string()))?;
                let workgroups =
                    user.row.workgroups.iter().filter_map(|id| state.workgroups.get(id)).map(|row| row.name.clone());
                let mut workgroups: Vec<Label> = workgroups.collect();
                workgroups.sort();
                Ok(EntityView::User {
                    row: user.row.clone(),
                    organization: organization_name(user.row.organization),
                    workgroups,
                    assignments: assignments(&user.assignments),
                    leases: user.leases.len() as u64,
                })
            }
            EntityName::Station(name) => {
                let station = state.station_names.get(name).and_then(|id| state.stations.get(id));
                let station = station.ok_or_else(|| Refusal::StationUnknown(name.to_string()))?;
                Ok(EntityView::Station {
                    row: station.row.clone(),
                    organization: organization_name(station.row.organization),
                    owner: station.row.owner.and_then(|id| state.users.get(&id)).map(|user| user.row.name.clone()),
                    assignments: assignments(&station.assignments),
                })
            }
            EntityName::Workgroup(name) => {
                let row = state.workgroup_names.get(name).and_then(|id| state.workgroups.get(id));
                let row = row.ok_or_else(|| Refusal::WorkgroupUnknown(name.to_string()))?;
                let members = state.users.values().filter(|user| user.row.workgroups.contains(&row.id)).count() as u64;
                Ok(EntityView::Workgroup { row: row.clone(), members })
            }
            EntityName::Organization(name) => {
                let row = state.organization_names.get(name).and_then(|id| state.organizations.get(id));
                let row = row.ok_or_else(|| Refusal::OrganizationUnknown(name.to_string()))?;
                let users =
                    state.users.values().filter(|user| state.lineage(user.row.organization).contains(&row.id)).count();
                let stations = state
                    .stations
                    .values()
                    .filter(|station| state.lineage(station.row.organization).contains(&row.id))
                    .count();
                Ok(EntityView::Organization {
                    row: row.clone(),
                    parent: organization_name(row.parent),
                    members: (users + stations) as u64,
                })
            }
        }
    }

    fn assignment_view(&self, row: &AssignmentRow, now: Now) -> AssignmentView {
        let state = &self.state;
        let inactive = if !state.is_granted(row.pool()) {
            Some("no activation file in effect grants it; it comes back with one".to_string())
        } else if state.enforced_away(row.key, false) {
            let stage = state.enforcement.stage;
            Some(format!("enforcement stage {stage} refuses it; it comes back with a good check-in"))
        } else if !state.assignment_counts(row, now, false) {
            Some("the pool is over its capacity, and this is one of the newest assignments".to_string())
        } else {
            None
        };
        AssignmentView {
            id: row.id,
            subject: self.subject_entity(row.subject),
            key: state.key_name(row.key),
            pool: state.pool_name(row.pool()),
            since: row.since,
            until: row.until,
            inactive,
        }
    }

    fn subject_entity(&self, subject: Subject) -> EntityName {
        match subject {
            Subject::User(id) => EntityName::User(
                self.state.users.get(&id).map_or_else(|| numbered("user", id.0), |user| user.row.name.clone()),
            ),
            Subject::Station(id) => EntityName::Station(
                self.state
                    .stations
                    .get(&id)
                    .map_or_else(|| numbered("station", id.0), |station| station.row.name.clone()),
            ),
        }
    }

    /// A page of assignments, oldest first.
    ///
    /// # Errors
    /// `KEY_UNKNOWN`, `USER_UNKNOWN`, `STATION_UNKNOWN`.
    pub fn assignments(
        &self,
        now: Now,
        key: Option<&KeyName>,
        subject: Option<&EntityName>,
        after: AssignmentId,
        limit: usize,
    ) -> Result<Vec<AssignmentView>, Refusal> {
        let key = key
            .map(|name| {
                let found = self.state.catalog.find(name.as_str()).or_else(|| self.state.key_ids.get(name).copied());
                found.ok_or_else(|| Refusal::KeyUnknown(name.to_string()))
            })
            .transpose()?;
        let subject = subject.map(|name| self.known_subject(name)).transpose()?;
        Ok(self
            .state
            .assignments
            .range((std::ops::Bound::Excluded(after), std::ops::Bound::Unbounded))
            .map(|(_, row)| row)
            .filter(|row| key.is_none_or(|key| row.key == key) && subject.is_none_or(|subject| row.subject == subject))
            .take(limit.clamp(1, 1_000))
            .map(|row| self.assignment_view(row, now))
            .collect())
    }

    pub(crate) fn known_subject(&self, name: &EntityName) -> Result<Subject, Refusal> {
        match name {
            EntityName::User(name) => {
                let id = self.state.user_names.get(name).copied();
                id.map(Subject::User).ok_or_else(|| Refusal::UserUnknown(name.to_string()))
            }
            EntityName::Station(name) => {
                let id = self.state.station_names.get(name).copied();
                id.map(Subject::Station).ok_or_else(|| Refusal::StationUnknown(name.to_string()))
            }
            EntityName::Workgroup(_) | EntityName::Organization(_) => Err(Refusal::Malformed {
                field: "subject".into(),
                fault: "keys are given to users and stations only".into(),
            }),
        }
    }

    /// A page of live leases, oldest first (ADMIN-12).
    ///
    /// # Errors
    /// `USER_UNKNOWN`, `STATION_UNKNOWN`, `KEY_UNKNOWN`.
    pub fn leases(&self, now: Now, filter: &LeaseFilter) -> Result<Vec<HeldLeaseView>, Refusal> {
        let state = &self.state;
        let after = std::ops::Bound::Excluded(LeaseId(filter.after));
        let rest = std::ops::Bound::Unbounded;
        let user = filter.user.as_ref().map(|name| self.known_subject(&EntityName::User(name.clone()))).transpose()?;
        let station =
            filter.station.as_ref().map(|name| self.known_subject(&EntityName::Station(name.clone()))).transpose()?;
        let pool = filter
            .pool
            .as_ref()
            .map(|name| state.pool_id(name).ok_or_else(|| Refusal::KeyUnknown(name.to_string())))
            .transpose()?;
        // The narrowest list there is, so that a question about one user does not go through a million leases.
        let candidates: Box<dyn Iterator<Item = LeaseId>> = if let Some(subject) = user.or(station) {
            Box::new(state.leases_of(subject).iter().copied().filter(|id| id.0 > filter.after))
        } else if let Some(pool) = pool {
            self.leases_on(pool, LeaseId(filter.after))
        } else {
            Box::new(state.leases.range((after, rest)).map(|(id, _)| *id))
        };
        let fits = |row: &LeaseRow| {
            let at_station = station.is_none_or(|wanted| match &row.subject {
                LeaseSubject::Logon { station, .. } => station.map(Subject::Station) == Some(wanted),
                LeaseSubject::Station(station) => Subject::Station(*station) == wanted,
                LeaseSubject::Units => false,
            });
            let on_pool = pool.is_none_or(|pool| {
                row.terms.seats.iter().any(|seat| seat.pool == pool)
                    || pool.method == Method::Assignable && row.terms.keys.iter().any(|held| held.key == pool.key)
            });
            let application = filter.application.as_ref().is_none_or(|application| row.application == *application);
            let holder = filter.holder.as_ref().is_none_or(|wanted| {
                state.holders.get(&row.holder).is_some_and(|holder| holder.row.identity.to_string() == *wanted)
            });
            at_station && on_pool && application && holder
        };
        Ok(candidates
            .filter_map(|id| state.leases.get(&id))
            .map(|lease| &lease.row)
            .filter(|row| fits(row))
            .take(filter.limit.clamp(1, 1_000))
            .filter_map(|row| {
                let holder = state.holders.get(&row.holder)?;
                Some(HeldLeaseView {
                    lease: self.lease_view(row, now),
                    identity: holder.row.identity.clone(),
                    instance: holder.row.instance.clone(),
                    host: holder.row.host.clone(),
                    attached: holder.attached,
                })
            })
            .collect())
    }
}
