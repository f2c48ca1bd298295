//! Users, stations, workgroups and organizations: made, changed, deleted (ADMIN-2, STATION-2, MEDIA-1, SITE-3).

use std::collections::BTreeSet;

use leasehold_keys::{
    activation::Units,
    definition::Role,
    name::{Label, Method},
};

use crate::{
    admin::done,
    command::{Entity, EntityChange, EntityName},
    decision::Administered,
    engine::Turn,
    ids::{Identity, OrganizationId, ShareHolder, StationId, Subject, UserId, WorkgroupId},
    refusal::{EndReason, Limit, Refusal},
    row::{AssignmentRow, OrganizationRow, Row, ShareRow, StationKind, StationRow, UserRow, Warning, WorkgroupRow},
    state::MAX_ORGANIZATION_DEPTH,
    words::counted,
};

/// Users, and stations, that one site may have.
const ENTITIES_MAX: usize = 1_000_000;
/// Configured interaction types of a user or workgroup.
const TYPES_MAX: usize = 32;
/// Workgroups of one user.
const WORKGROUPS_MAX: usize = 256;

impl Turn<'_> {
    fn workgroup_ids(&self, names: &[Label]) -> Result<BTreeSet<WorkgroupId>, Refusal> {
        if names.len() > WORKGROUPS_MAX {
            return Err(Refusal::LimitReached(Limit::Stored {
                what: "workgroups of one user".into(),
                most: WORKGROUPS_MAX as u64,
            }));
        }
        let find = |name: &Label| {
            self.engine
                .state
                .workgroup_names
                .get(name)
                .copied()
                .ok_or_else(|| Refusal::WorkgroupUnknown(name.to_string()))
        };
        names.iter().map(find).collect()
    }

    pub(crate) fn create(&mut self, by: &Identity, entity: Entity) -> Result<Administered, Refusal> {
        match entity {
            Entity::User { name, display_name, method, organization, workgroups, types } => {
                self.check_new(
                    "user",
                    &name,
                    self.engine.state.user_names.contains_key(&name),
                    self.engine.state.users.len(),
                )?;
                let organization = self.organization_id(organization.as_ref())?;
                let workgroups = self.workgroup_ids(&workgroups)?;
                let types = checked_types(types)?;
                let id = UserId(self.next_entity());
                let row = UserRow { id, name: name.clone(), display_name, method, organization, workgroups, types };
                let told = self.engine.state.told_user(&row);
                self.audit(by, "user add", name.as_str(), "", &told, "");
                self.change(None, Some(Row::User(row)));
                Ok(done(format!("User {name} is added; keys are taken by the {method} method.")))
            }
            Entity::Station { name, kind, enabled, organization, owner } => {
                let taken = self.engine.state.station_names.contains_key(&name);
                self.check_new("station", &name, taken, self.engine.state.stations.len())?;
                let organization = self.organization_id(organization.as_ref())?;
                let owner = owner.as_ref().map(|owner| self.user_id(owner)).transpose()?;
                check_owner(kind, owner)?;
                let id = StationId(self.next_entity());
                let row = StationRow { id, name: name.clone(), kind, enabled, organization, owner };
                let told = self.engine.state.told_station(&row);
                self.audit(by, "station add", name.as_str(), "", &told, "");
                self.change(None, Some(Row::Station(row)));
                let mut done = done(format!("Station {name} is added."));
                done.warnings = self.station_warnings(id);
                Ok(done)
            }
            Entity::Workgroup { name, service_id, types } => {
                let taken = self.engine.state.workgroup_names.contains_key(&name);
                self.check_new("workgroup", &name, taken, self.engine.state.workgroups.len())?;
                let types = checked_types(types)?.into_iter().collect();
                let id = WorkgroupId(self.next_entity());
                let row = WorkgroupRow { id, name: name.clone(), service_id, types };
                let told = self.engine.state.told_workgroup(&row);
                self.audit(by, "workgroup add", name.as_str(), "", &told, "");
                self.change(None, Some(Row::Workgroup(row)));
                Ok(done(format!("Workgroup {name} is added.")))
            }
            Entity::Organization { name, parent } => {
                let taken = self.engine.state.organization_names.contains_key(&name);
                self.check_new("organization", &name, taken, self.engine.state.organizations.len())?;
                let parent = self.organization_id(parent.as_ref())?;
                if self.engine.state.lineage(parent).len() >= MAX_ORGANIZATION_DEPTH {
                    return Err(Refusal::LimitReached(Limit::Stored {
                        what: "levels of organizations".into(),
                        most: MAX_ORGANIZATION_DEPTH as u64,
                    }));
                }
                self.check_organization_count()?;
                let id = OrganizationId(self.next_entity());
                let row = OrganizationRow { id, name: name.clone(), parent };
                let told = self.engine.state.told_organization(&row);
                self.audit(by, "org add", name.as_str(), "", &told, "");
                self.change(None, Some(Row::Organization(row)));
                Ok(done(format!("Organization {name} is added.")))
            }
        }
    }

    fn check_new(&self, what: &'static str, name: &Label, taken: bool, count: usize) -> Result<(), Refusal> {
        if taken {
            return Err(Refusal::AlreadyExists { what: what.into(), name: name.clone() });
        }
        if count >= ENTITIES_MAX {
            return Err(Refusal::LimitReached(Limit::Stored {
                what: format!("{what}s").into(),
                most: ENTITIES_MAX as u64,
            }));
        }
        Ok(())
    }

    /// SITE-3: each organization takes one unit of the key that plays that part, where one is granted. A site that has
    /// bought none may have organizations all the same: shares and limits go by them (STATION-6), and what needs the key
    /// does not work without it.
    fn check_organization_count(&self) -> Result<(), Refusal> {
        let state = &self.engine.state;
        let configured = state.organizations.len() as u64;
        for key in state.catalog.with_role(Role::Organization) {
            let licensed = state.capacity(crate::ids::PoolId { key, method: Method::Assignable });
            if let Units::Count(count @ 1..) = licensed
                && configured + 1 > u64::from(count)
            {
                let key = state.key_name(key);
                return Err(Refusal::LimitReached(Limit::Organizations { key, licensed, configured }));
            }
        }
        Ok(())
    }

    /// STATION-2: saving an enabled station without the key that it needs succeeds, with a warning.
    fn station_warnings(&self, id: StationId) -> Vec<Warning> {
        let state = &self.engine.state;
        let Some(station) = state.stations.get(&id) else {
            return Vec::new();
        };
        if !station.row.enabled || station.row.kind == StationKind::Device {
            return Vec::new();
        }
        let mut keys = state.catalog.with_role(Role::BasicStation).peekable();
        let Some(&key) = keys.peek() else {
            return Vec::new();
        };
        let has = |key| station.assignments.keys().any(|held| *held == key || state.catalog.includes(*held, key));
        if keys.any(has) {
            return Vec::new();
        }
        vec![Warning::StationWithoutKey { station: station.row.name.clone(), key: state.key_name(key) }]
    }

    pub(crate) fn change_entity(&mut self, by: &Identity, change: EntityChange) -> Result<Administered, Refusal> {
        match change {
            EntityChange::User { name, display_name, method, organization, workgroups, types } => {
                let id = self.user_id(&name)?;
                let Some(before) = self.engine.state.users.get(&id).map(|user| user.row.clone()) else {
                    return Err(Refusal::UserUnknown(name.to_string()));
                };
                let mut after = before.clone();
                if let Some(display_name) = display_name {
                    after.display_name = display_name;
                }
                if let Some(organization) = organization {
                    after.organization = self.organization_id(organization.as_ref())?;
                }
                if let Some(workgroups) = workgroups {
                    after.workgroups = self.workgroup_ids(&workgroups)?;
                }
                if let Some(types) = types {
                    after.types = checked_types(types)?;
                    self.engine.state.check_types(&after)?;
                }
                if let Some(method) = method {
                    after.method = method;
                }
                let (was, is) = (self.engine.state.told_user(&before), self.engine.state.told_user(&after));
                self.audit(by, "user set", name.as_str(), &was, &is, "");
                let moved = before.organization != after.organization;
                let converted = before.method != after.method;
                let media = before.workgroups != after.workgroups || before.types != after.types;
                self.change(Some(Row::User(before)), Some(Row::User(after.clone())));
                if moved {
                    self.engine.state.recount_shares();
                }
                if converted {
                    self.convert(id, after.method)?;
                } else if media {
                    self.look_again_at(Subject::User(id), EndReason::Unassigned);
                }
                Ok(done(format!("User {name} is changed.")))
            }
            EntityChange::Station { name, kind, enabled, organization, owner } => {
                let id = self.station_id(&name)?;
                let Some(before) = self.engine.state.stations.get(&id).map(|station| station.row.clone()) else {
                    return Err(Refusal::StationUnknown(name.to_string()));
                };
                let mut after = before.clone();
                if let Some(kind) = kind {
                    after.kind = kind;
                }
                if let Some(enabled) = enabled {
                    after.enabled = enabled;
                }
                if let Some(organization) = organization {
                    after.organization = self.organization_id(organization.as_ref())?;
                }
                if let Some(owner) = owner {
                    after.owner = owner.as_ref().map(|owner| self.user_id(owner)).transpose()?;
                }
                check_owner(after.kind, after.owner)?;
                let (was, is) = (self.engine.state.told_station(&before), self.engine.state.told_station(&after));
                self.audit(by, "station set", name.as_str(), &was, &is, "");
                let moved = before.organization != after.organization;
                let owned = before.owner != after.owner;
                self.change(Some(Row::Station(before)), Some(Row::Station(after)));
                if moved {
                    self.engine.state.recount_shares();
                }
                if owned {
                    self.follow_owner(id)?;
                }
                self.look_again_at(Subject::Station(id), EndReason::StationNotLicensed);
                let mut done = done(format!("Station {name} is changed."));
                done.warnings = self.station_warnings(id);
                Ok(done)
            }
            EntityChange::Workgroup { name, service_id, types } => {
                let known =
                    self.engine.state.workgroup_names.get(&name).and_then(|id| self.engine.state.workgroups.get(id));
                let Some(before) = known.cloned() else {
                    return Err(Refusal::WorkgroupUnknown(name.to_string()));
                };
                let mut after = before.clone();
                if let Some(service_id) = service_id {
                    after.service_id = service_id;
                }
                if let Some(types) = types {
                    after.types = checked_types(types)?.into_iter().collect();
                }
                let (was, is) = (self.engine.state.told_workgroup(&before), self.engine.state.told_workgroup(&after));
                self.audit(by, "workgroup set", name.as_str(), &was, &is, "");
                // Live leases keep the types they were told: a workgroup may have thousands of members. The next logon tells.
                self.change(Some(Row::Workgroup(before)), Some(Row::Workgroup(after)));
                Ok(done(format!("Workgroup {name} is changed; it counts from each member's next logon.")))
            }
            EntityChange::Organization { name, parent } => {
                let Some(id) = self.organization_id(Some(&name))? else {
                    return Err(Refusal::OrganizationUnknown(name.to_string()));
                };
                let Some(before) = self.engine.state.organizations.get(&id).cloned() else {
                    return Err(Refusal::OrganizationUnknown(name.to_string()));
                };
                let mut after = before.clone();
                if let Some(parent) = parent {
                    after.parent = self.organization_id(parent.as_ref())?;
                    let above = self.engine.state.lineage(after.parent);
                    if above.contains(&id) {
                        let fault = "an organization cannot lie below itself".into();
                        return Err(Refusal::Malformed { field: "parent".into(), fault });
                    }
                    if above.len() + self.engine.state.levels_below(id) >= MAX_ORGANIZATION_DEPTH {
                        return Err(Refusal::LimitReached(Limit::Stored {
                            what: "levels of organizations".into(),
                            most: MAX_ORGANIZATION_DEPTH as u64,
                        }));
                    }
                }
                let (was, is) =
                    (self.engine.state.told_organization(&before), self.engine.state.told_organization(&after));
                self.audit(by, "org set", name.as_str(), &was, &is, "");
                self.change(Some(Row::Organization(before)), Some(Row::Organization(after)));
                self.engine.state.recount_shares();
                Ok(done(format!("Organization {name} is changed.")))
            }
        }
    }

    /// ADMIN-2: deleting releases what is held.
    pub(crate) fn delete(&mut self, by: &Identity, name: &EntityName) -> Result<Administered, Refusal> {
        match name {
            EntityName::User(name) => {
                let id = self.user_id(name)?;
                let devices = self.devices_of(Subject::User(id));
                let user = self.engine.state.users.get(&id);
                let told = user.map_or_else(String::new, |user| self.engine.state.told_user_and_keys(&user.row));
                self.clear_subject(Subject::User(id));
                for device in devices {
                    if let Some(row) = self.engine.state.stations.get(&device).map(|station| station.row.clone()) {
                        let after = StationRow { owner: None, ..row.clone() };
                        self.change(Some(Row::Station(row)), Some(Row::Station(after)));
                    }
                }
                if let Some(row) = self.engine.state.users.get(&id).map(|user| user.row.clone()) {
                    self.audit(by, "user rm", name.as_str(), &told, "", "");
                    self.change(Some(Row::User(row)), None);
                }
                Ok(done(format!("User {name} is deleted; what they held is free.")))
            }
            EntityName::Station(name) => {
                let id = self.station_id(name)?;
                let station = self.engine.state.stations.get(&id);
                let told =
                    station.map_or_else(String::new, |station| self.engine.state.told_station_and_keys(&station.row));
                self.clear_subject(Subject::Station(id));
                if let Some(row) = self.engine.state.stations.get(&id).map(|station| station.row.clone()) {
                    self.audit(by, "station rm", name.as_str(), &told, "", "");
                    self.change(Some(Row::Station(row)), None);
                }
                Ok(done(format!("Station {name} is deleted; what it held is free.")))
            }
            EntityName::Workgroup(name) => {
                let Some(row) = self
                    .engine
                    .state
                    .workgroup_names
                    .get(name)
                    .and_then(|id| self.engine.state.workgroups.get(id))
                    .cloned()
                else {
                    return Err(Refusal::WorkgroupUnknown(name.to_string()));
                };
                let members =
                    self.engine.state.users.values().filter(|user| user.row.workgroups.contains(&row.id)).count();
                if members > 0 {
                    return Err(Refusal::InUse {
                        what: format!("Workgroup {name}"),
                        by: counted(members as u64, "user", "users"),
                    });
                }
                let told = self.engine.state.told_workgroup(&row);
                self.audit(by, "workgroup rm", name.as_str(), &told, "", "");
                self.change(Some(Row::Workgroup(row)), None);
                Ok(done(format!("Workgroup {name} is deleted.")))
            }
            EntityName::Organization(name) => self.delete_organization(by, name),
        }
    }

    fn delete_organization(&mut self, by: &Identity, name: &Label) -> Result<Administered, Refusal> {
        let state = &self.engine.state;
        let Some(row) = state.organization_names.get(name).and_then(|id| state.organizations.get(id)).cloned() else {
            return Err(Refusal::OrganizationUnknown(name.to_string()));
        };
        let users = state.users.values().filter(|user| user.row.organization == Some(row.id)).count();
        let stations = state.stations.values().filter(|station| station.row.organization == Some(row.id)).count();
        let below = state.organizations.values().filter(|other| other.parent == Some(row.id)).count();
        if users + stations + below > 0 {
            let by = format!(
                "{}, {} and {}",
                counted(users as u64, "user", "users"),
                counted(stations as u64, "station", "stations"),
                counted(below as u64, "organization", "organizations")
            );
            return Err(Refusal::InUse { what: format!("Organization {name}"), by });
        }
        let holder = ShareHolder::Organization(row.id);
        let shares: Vec<ShareRow> = state
            .pools
            .values()
            .flat_map(|pool| {
                pool.shares.iter().filter(|share| share.row.holder == holder).map(|share| share.row.clone())
            })
            .collect();
        for share in shares {
            self.change(Some(Row::Share(share)), None);
        }
        let told = self.engine.state.told_organization(&row);
        self.audit(by, "org rm", name.as_str(), &told, "", "");
        self.change(Some(Row::Organization(row)), None);
        Ok(done(format!("Organization {name} is deleted.")))
    }

    /// Ends a subject's leases and assignments.
    fn clear_subject(&mut self, subject: Subject) {
        for lease in self.engine.state.leases_of(subject).to_vec() {
            self.end(lease, EndReason::SubjectDeleted, None);
        }
        let assignments: Vec<AssignmentRow> = self
            .engine
            .state
            .assignments_of(subject)
            .into_iter()
            .flat_map(|assignments| assignments.values())
            .filter_map(|id| self.engine.state.assignments.get(id).cloned())
            .collect();
        for row in assignments {
            self.change(Some(Row::Assignment(row)), None);
        }
    }
}

fn checked_types(types: Vec<Label>) -> Result<Vec<Label>, Refusal> {
    let mut seen = BTreeSet::new();
    if types.len() > TYPES_MAX {
        let fault = format!("at most {TYPES_MAX} interaction types can be named");
        return Err(Refusal::Malformed { field: "interaction_types".into(), fault });
    }
    Ok(types.into_iter().filter(|kind| seen.insert(kind.clone())).collect())
}

fn check_owner(kind: StationKind, owner: Option<UserId>) -> Result<(), Refusal> {
    if owner.is_some() && kind != StationKind::Device {
        let fault = "only a station of the kind `device` belongs to a user".into();
        return Err(Refusal::Malformed { field: "owner".into(), fault });
    }
    Ok(())
}
