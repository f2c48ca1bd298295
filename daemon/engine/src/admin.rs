//! Administrators' acts on users, stations, workgroups, organizations, pools and licenses (ADMIN-1, ADMIN-2, ADMIN-12).
//! Each leaves one entry in the audit log, with what was before and after; a refused act leaves nothing.

use std::collections::BTreeSet;

use leasehold_keys::{
    activation::Units,
    definition::{Holder, Role},
    name::{Label, Method, PoolName},
};
use serde::Serialize;

use crate::{
    command::{Act, Entity, EntityChange, EntityName, Revoked, ShareName},
    decision::{Administered, Reply},
    engine::Turn,
    ids::{AuditId, Identity, LeaseId, OrganizationId, ShareHolder, StationId, Subject, UserId, WorkgroupId},
    plan::types_of,
    refusal::{EndReason, Limit, Refusal},
    row::{
        AssignmentRow, AuditRow, OrganizationRow, PoolRuleRow, Row, ShareRow, StationKind, StationRow, UserRow,
        Warning, WorkgroupRow,
    },
    state::MAX_ORGANIZATION_DEPTH,
};

/// Leases that one revocation may end.
const REVOKE_MAX: usize = 10_000;
/// Users, and stations, that one site may have.
const ENTITIES_MAX: usize = 1_000_000;
/// Configured interaction types of a user or workgroup.
const TYPES_MAX: usize = 32;
/// Workgroups of one user.
const WORKGROUPS_MAX: usize = 256;

fn json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

impl Turn<'_> {
    pub(crate) fn administer(&mut self, by: &Identity, act: Act) -> Result<Reply, Refusal> {
        let start = self.save();
        match self.act(by, act) {
            Ok(done) => Ok(Reply::Administered(done)),
            Err(refusal) => {
                self.roll_back(&start);
                Err(refusal)
            }
        }
    }

    fn act(&mut self, by: &Identity, act: Act) -> Result<Administered, Refusal> {
        match act {
            Act::Create(entity) => self.create(by, entity),
            Act::Change(change) => self.change_entity(by, change),
            Act::Delete(name) => self.delete(by, &name),
            Act::Assign(assign) => self.assign(by, assign),
            Act::Revoke { what, reason } => self.revoke(by, what, &reason),
            Act::SetPoolRule { pool, idle_ms, idle_always } => self.set_pool_rule(by, &pool, idle_ms, idle_always),
            Act::SetShare { pool, holder, share } => self.set_share(by, &pool, &holder, share),
            Act::Unload { license, reason } => {
                let title = self.unload(license)?;
                self.audit(by, "unload", &license.to_string(), "", "", &reason);
                Ok(done(format!("{title} is unloaded: its grants are gone, and leases on them end within the hour.")))
            }
            Act::Promote { reason } => self.promote(by, &reason),
            Act::Note { action, subject } => {
                self.audit(by, &action, &subject, "", "", "");
                Ok(done(String::new()))
            }
        }
    }

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

    // Names.

    pub(crate) fn user_id(&self, name: &Label) -> Result<UserId, Refusal> {
        self.engine.state.user_names.get(name).copied().ok_or_else(|| Refusal::UserUnknown(name.to_string()))
    }

    pub(crate) fn station_id(&self, name: &Label) -> Result<StationId, Refusal> {
        self.engine.state.station_names.get(name).copied().ok_or_else(|| Refusal::StationUnknown(name.to_string()))
    }

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

    fn organization_id(&self, name: Option<&Label>) -> Result<Option<OrganizationId>, Refusal> {
        name.map(|name| {
            let known = self.engine.state.organization_names.get(name).copied();
            known.ok_or_else(|| Refusal::OrganizationUnknown(name.to_string()))
        })
        .transpose()
    }

    // Users, stations, workgroups, organizations.

    fn create(&mut self, by: &Identity, entity: Entity) -> Result<Administered, Refusal> {
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
                self.audit(by, "user add", name.as_str(), "", &json(&row), "");
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
                self.audit(by, "station add", name.as_str(), "", &json(&row), "");
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
                self.audit(by, "workgroup add", name.as_str(), "", &json(&row), "");
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
                self.audit(by, "org add", name.as_str(), "", &json(&row), "");
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
        if keys.any(|key| station.assignments.contains_key(&key)) {
            return Vec::new();
        }
        vec![Warning::StationWithoutKey { station: station.row.name.clone(), key: state.key_name(key) }]
    }

    fn change_entity(&mut self, by: &Identity, change: EntityChange) -> Result<Administered, Refusal> {
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
                    self.check_types(&after)?;
                }
                if let Some(method) = method {
                    after.method = method;
                }
                self.audit(by, "user set", name.as_str(), &json(&before), &json(&after), "");
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
                self.audit(by, "station set", name.as_str(), &json(&before), &json(&after), "");
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
                self.audit(by, "workgroup set", name.as_str(), &json(&before), &json(&after), "");
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
                    if above.len() >= MAX_ORGANIZATION_DEPTH {
                        return Err(Refusal::LimitReached(Limit::Stored {
                            what: "levels of organizations".into(),
                            most: MAX_ORGANIZATION_DEPTH as u64,
                        }));
                    }
                }
                self.audit(by, "org set", name.as_str(), &json(&before), &json(&after), "");
                self.change(Some(Row::Organization(before)), Some(Row::Organization(after)));
                self.engine.state.recount_shares();
                Ok(done(format!("Organization {name} is changed.")))
            }
        }
    }

    /// MEDIA-1: a user whose own media key covers so many types may have so many configured.
    fn check_types(&self, user: &UserRow) -> Result<(), Refusal> {
        let state = &self.engine.state;
        let keys = state
            .assignments_of(Subject::User(user.id))
            .into_iter()
            .flat_map(|assignments| assignments.keys().copied());
        let Some(level) = state.media_level(keys) else {
            return Ok(());
        };
        if user.types.len() > types_of(level) {
            let wanted = user.types.len() as u64;
            return Err(Refusal::LimitReached(Limit::InteractionTypes { user: user.name.clone(), level, wanted }));
        }
        Ok(())
    }

    /// ADMIN-2: deleting releases what is held.
    fn delete(&mut self, by: &Identity, name: &EntityName) -> Result<Administered, Refusal> {
        match name {
            EntityName::User(name) => {
                let id = self.user_id(name)?;
                let devices: Vec<StationId> = self
                    .engine
                    .state
                    .devices
                    .get(&id)
                    .map(|devices| devices.iter().copied().collect())
                    .unwrap_or_default();
                self.clear_subject(Subject::User(id));
                for device in devices {
                    if let Some(row) = self.engine.state.stations.get(&device).map(|station| station.row.clone()) {
                        let after = StationRow { owner: None, ..row.clone() };
                        self.change(Some(Row::Station(row)), Some(Row::Station(after)));
                    }
                }
                if let Some(row) = self.engine.state.users.get(&id).map(|user| user.row.clone()) {
                    self.audit(by, "user rm", name.as_str(), &json(&row), "", "");
                    self.change(Some(Row::User(row)), None);
                }
                Ok(done(format!("User {name} is deleted; what they held is free.")))
            }
            EntityName::Station(name) => {
                let id = self.station_id(name)?;
                self.clear_subject(Subject::Station(id));
                if let Some(row) = self.engine.state.stations.get(&id).map(|station| station.row.clone()) {
                    self.audit(by, "station rm", name.as_str(), &json(&row), "", "");
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
                    return Err(Refusal::InUse { what: format!("Workgroup {name}"), by: format!("{members} users") });
                }
                self.audit(by, "workgroup rm", name.as_str(), &json(&row), "", "");
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
            let by = format!("{users} users, {stations} stations and {below} organizations");
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
        self.audit(by, "org rm", name.as_str(), &json(&row), "", "");
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

    // Leases, pools, shares, the server's part.

    fn revoke(&mut self, by: &Identity, what: Revoked, reason: &Label) -> Result<Administered, Refusal> {
        let (leases, subject): (Vec<LeaseId>, String) = match what {
            Revoked::Leases(leases) => {
                let list = leases.iter().take(20).map(ToString::to_string).collect::<Vec<_>>().join(",");
                (leases, format!("leases {list}"))
            }
            Revoked::User(name) => {
                let id = self.user_id(&name)?;
                (self.engine.state.leases_of(Subject::User(id)).to_vec(), format!("user {name}"))
            }
            Revoked::Station(name) => {
                let id = self.station_id(&name)?;
                (self.engine.state.leases_of(Subject::Station(id)).to_vec(), format!("station {name}"))
            }
        };
        if leases.len() > REVOKE_MAX {
            let fault = format!("at most {REVOKE_MAX} leases can be ended at once");
            return Err(Refusal::Malformed { field: "lease_ids".into(), fault });
        }
        let mut outcomes = Vec::new();
        let mut ended = 0;
        for id in leases {
            let result = if self.engine.state.leases.contains_key(&id) {
                self.end(id, EndReason::Revoked, Some(reason.clone()));
                ended += 1;
                Ok(())
            } else if id.0 == 0 || id.0 > self.engine.state.site.last_lease {
                Err(Refusal::LeaseUnknown(id))
            } else {
                let how = self.engine.state.how_ended(id).or_else(|| self.engine.recently_ended.get(&id).copied());
                Err(Refusal::LeaseEnded { lease: id, how })
            };
            outcomes.push((id, result));
        }
        if ended > 0 {
            self.audit(by, "revoke", &subject, "", "", reason.as_str());
        }
        Ok(Administered {
            message: format!("{ended} leases are ended; their holders are told: {reason}"),
            leases: outcomes,
            applied: ended > 0,
            ..Administered::default()
        })
    }

    fn known_pool(&self, name: &PoolName) -> Result<crate::ids::PoolId, Refusal> {
        self.engine.state.pool_id(name).ok_or_else(|| Refusal::KeyUnknown(name.to_string()))
    }

    fn set_pool_rule(
        &mut self,
        by: &Identity,
        name: &PoolName,
        idle_ms: u64,
        always: bool,
    ) -> Result<Administered, Refusal> {
        let id = self.known_pool(name)?;
        if idle_ms != 0 && !(60_000..=86_400_000).contains(&idle_ms) {
            let fault = "an idle time is 0 (none), or from 60,000 to 86,400,000 ms".into();
            return Err(Refusal::Malformed { field: "idle_ms".into(), fault });
        }
        let before = self.engine.state.pools.get(&id).and_then(|pool| pool.rule);
        let after = (idle_ms > 0).then_some(PoolRuleRow { pool: id, idle_ms, idle_always: always });
        if before != after {
            let told = |rule: Option<PoolRuleRow>| rule.map(|rule| json(&rule)).unwrap_or_default();
            self.audit(by, "pool set", &name.to_string(), &told(before), &told(after), "");
            self.change(before.map(Row::PoolRule), after.map(Row::PoolRule));
        }
        Ok(done(match after {
            None => format!("Idle leases on {name} are left alone."),
            Some(rule) if rule.idle_always => {
                format!("Leases on {name} that stand idle for {} end.", crate::words::duration(idle_ms))
            }
            Some(_) => format!(
                "Leases on {name} that stand idle for {} end while others wait.",
                crate::words::duration(idle_ms)
            ),
        }))
    }

    fn set_share(
        &mut self,
        by: &Identity,
        name: &PoolName,
        holder: &ShareName,
        share: Option<(u32, Option<u32>)>,
    ) -> Result<Administered, Refusal> {
        let id = self.known_pool(name)?;
        let holder = match holder {
            ShareName::Application(application) => ShareHolder::Application(application.clone()),
            ShareName::Organization(organization) => match self.organization_id(Some(organization))? {
                Some(id) => ShareHolder::Organization(id),
                None => return Err(Refusal::OrganizationUnknown(organization.to_string())),
            },
        };
        let refuse = |fault: String| Refusal::LimitReached(Limit::Reservations { pool: name.clone(), fault });
        let (before, others, capacity) = match self.engine.state.pools.get(&id) {
            None => (None, 0, Units::Count(0)),
            Some(pool) => (
                pool.shares.iter().find(|share| share.row.holder == holder).map(|share| share.row.clone()),
                pool.shares
                    .iter()
                    .filter(|share| share.row.holder != holder)
                    .map(|share| u64::from(share.row.reserve))
                    .sum(),
                pool.capacity,
            ),
        };
        let after = match share {
            None => None,
            Some((reserve, limit)) => {
                if limit.is_some_and(|limit| limit < reserve) {
                    return Err(refuse(format!("its limit would lie below its own reservation of {reserve}")));
                }
                let sum = others + u64::from(reserve);
                if let Units::Count(count) = capacity
                    && sum > u64::from(count)
                {
                    return Err(refuse(format!("{sum} seats would be reserved, and the pool has {count}")));
                }
                Some(ShareRow { pool: id, holder: holder.clone(), reserve, limit })
            }
        };
        let subject = format!("{name} for {}", self.engine.state.share_holder_name(&holder));
        if before != after {
            let told = |row: &Option<ShareRow>| row.as_ref().map(json).unwrap_or_default();
            self.audit(by, "share set", &subject, &told(&before), &told(&after), "");
            self.change(before.map(Row::Share), after.clone().map(Row::Share));
        }
        Ok(done(match after {
            None => format!("The share of {subject} is taken away."),
            Some(ShareRow { reserve, limit: Some(limit), .. }) => {
                format!("{reserve} seats are set aside and at most {limit} may be held: {subject}.")
            }
            Some(ShareRow { reserve, limit: None, .. }) => format!("{reserve} seats are set aside: {subject}."),
        }))
    }

    fn promote(&mut self, by: &Identity, reason: &str) -> Result<Administered, Refusal> {
        if self.engine.state.site.promoted || !self.engine.state.is_standby(self.now) {
            return Ok(Administered {
                message: "This server is the active one already.".into(),
                ..Administered::default()
            });
        }
        self.change_site(|site| site.promoted = true);
        self.audit(by, "promote", "this server", "", "", reason);
        Ok(done("This server is the active one now. Be sure that its partner is stopped: two must never serve one file's seats.".into()))
    }

    /// The sort of subject behind a name that keys can be given to.
    pub(crate) fn subject(&self, name: &EntityName) -> Result<(Subject, Holder), Refusal> {
        match name {
            EntityName::User(name) => Ok((Subject::User(self.user_id(name)?), Holder::User)),
            EntityName::Station(name) => Ok((Subject::Station(self.station_id(name)?), Holder::Station)),
            EntityName::Workgroup(_) | EntityName::Organization(_) => Err(Refusal::Malformed {
                field: "subjects".into(),
                fault: "keys are given to users and stations only".into(),
            }),
        }
    }
}

fn done(message: String) -> Administered {
    Administered { message, applied: true, ..Administered::default() }
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
