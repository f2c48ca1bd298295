//! Answers to questions: what is, and what would be. Nothing changes, and lists come in the order of names or numbers.

use std::collections::BTreeMap;

use leasehold_keys::{
    activation::Units,
    definition::{KeyKind, Role},
    name::{KeyName, Label, Method, PoolName},
    time::WallTime,
};

use crate::{
    command::{Acquire, EntitlementQuery, EntityName, Origin, ShareName},
    decision::{HeldKeyView, LeaseView, SourceView},
    engine::{Engine, Turn},
    files::{title, warning_days},
    grants::{FileState, ends},
    ids::{AssignmentId, HolderId, KeyId, LeaseId, OrganizationId, PoolId, ShareHolder, Subject},
    plan::Planner,
    queue::Place,
    refusal::Refusal,
    row::{AssignmentRow, LeaseRow, LeaseSubject, Source},
    time::Now,
    view::{
        AssignmentView, EntitlementView, EntityFilter, EntityKind, EntityView, ExceededView, Explanation,
        HeldLeaseView, InstallView, KeyEntitlementView, LeaseFilter, LicenseView, PoolView, ShareView, SiteKeyView,
        SiteState, StatusView, Step,
    },
};

impl Turn<'_> {
    /// A lease as its holder sees it.
    pub(crate) fn view(&self, id: LeaseId) -> Result<LeaseView, Refusal> {
        let state = &self.engine.state;
        let row = state.leases.get(&id).map(|lease| &lease.row).or_else(|| state.ended.get(&id));
        row.map(|row| self.engine.lease_view(row, self.now)).ok_or(Refusal::LeaseUnknown(id))
    }
}

impl Engine {
    pub(crate) fn lease_view(&self, row: &LeaseRow, now: Now) -> LeaseView {
        let state = &self.state;
        let (user, station, remote_number, computer) = match &row.subject {
            LeaseSubject::Logon { user, station, remote_number, computer } => {
                (Some(*user), *station, remote_number.clone(), computer.clone())
            }
            LeaseSubject::Station(station) => (None, Some(*station), None, None),
            LeaseSubject::Units => (None, None, None, None),
        };
        let given_to = |source: Source| match source {
            Source::User => user.map(Subject::User),
            Source::Station => station.map(Subject::Station),
            Source::Included(_) | Source::Logon | Source::Units => None,
        };
        let mut keys: Vec<HeldKeyView> = row
            .terms
            .keys
            .iter()
            .map(|held| HeldKeyView {
                key: state.key_name(held.key),
                assigned: given_to(held.source)
                    .and_then(|subject| state.assignments_of(subject)?.get(&held.key))
                    .and_then(|id| state.assignments.get(id))
                    .filter(|row| row.method == Method::Assignable)
                    .map(|row| state.pool_name(row.pool())),
                source: match held.source {
                    Source::User => SourceView::User,
                    Source::Station => SourceView::Station,
                    Source::Included(outer) => SourceView::Included(state.key_name(outer)),
                    Source::Logon => SourceView::Logon,
                    Source::Units => SourceView::Units,
                },
                seat: row
                    .terms
                    .seats
                    .iter()
                    .find(|seat| seat.pool.key == held.key && held.source != Source::Station)
                    .map(|seat| (state.pool_name(seat.pool), seat.units)),
            })
            .collect();
        keys.sort_by(|a, b| a.key.cmp(&b.key));
        let mut missing: Vec<(KeyName, Refusal)> =
            row.terms.missing.iter().map(|(key, refusal)| (state.key_name(*key), refusal.clone())).collect();
        missing.sort_by(|a, b| a.0.cmp(&b.0));
        let renewed = state.leases.get(&row.id).map_or(row.granted, |lease| {
            let by_beat =
                state.holders.get(&row.holder).filter(|holder| holder.row.run.is_some()).map(|holder| holder.contact);
            by_beat.map_or(lease.renewed, |contact| contact.max(lease.renewed))
        });
        LeaseView {
            id: row.id,
            holder: row.holder,
            ended: row.ended.map(|(_, how)| how),
            user: user.and_then(|id| state.users.get(&id)).map(|user| user.row.name.clone()),
            station: station.and_then(|id| state.stations.get(&id)).map(|station| station.row.name.clone()),
            remote_number,
            computer,
            application: row.application.clone(),
            keys,
            missing,
            warnings: row.terms.warnings.clone(),
            types: row.terms.types.clone(),
            ttl_ms: row.ttl_ms,
            ends_in_ms: row.ends.map(|(at, why)| (at.ms_since(now.lease), why)),
            granted: row.granted_wall,
            idle: row.idle_since.is_some(),
            renewed_ms_ago: now.lease.ms_since(renewed),
        }
    }

    /// Those of these leases that are live and belong to this run, as their holder sees them.
    pub fn leases_of_run(&self, now: Now, holder: HolderId, leases: &[LeaseId]) -> Vec<LeaseView> {
        leases
            .iter()
            .filter_map(|id| self.state.leases.get(id))
            .filter(|lease| lease.row.holder == holder)
            .map(|lease| self.lease_view(&lease.row, now))
            .collect()
    }

    /// The site at a glance.
    pub fn status(&self, now: Now) -> StatusView {
        let state = &self.state;
        let site_state = if state.is_standby(now) {
            SiteState::Standby
        } else if state.files_in_effect(now).next().is_some() {
            SiteState::Licensed
        } else {
            SiteState::Unlicensed
        };
        StatusView {
            state: site_state,
            development: state.development,
            leases: state.leases.len() as u64,
            users: state.users.len() as u64,
            stations: state.stations.len() as u64,
            waiting: self.queue.waiters.len() as u64,
            attached: state.holders.values().filter(|holder| holder.attached).count() as u64,
            denials_today: self.denials.today,
            notices: self.notices(site_state, now),
        }
    }

    fn notices(&self, site: SiteState, now: Now) -> Vec<(&'static str, String)> {
        let mut notices = Vec::new();
        match site {
            SiteState::Unlicensed => notices.push((
                "UNLICENSED",
                "No activation file is in effect: two call ports can be used and nothing else. Drop a file into the watched folder."
                    .to_string(),
            )),
            SiteState::Standby => notices.push((
                "STANDBY",
                "This is the switchover server and stands by. `leasehold promote` makes it the active one.".to_string(),
            )),
            SiteState::Licensed => {}
        }
        for row in self.state.files.values() {
            let about = title(row);
            match self.state.file_state(row, now) {
                FileState::InEffect => {
                    if row.absent_since.is_some() {
                        notices.push(("FILE_ABSENT", format!(
                            "{about} is gone from the watched folder; its grants leave 72 h after it was missed. Put it back, or \
                             `leasehold unload` it."
                        )));
                    }
                    if self.state.host_lost(row) {
                        notices.push(("HOST_LOST", format!(
                            "This host no longer matches {about}; it runs on for 72 h. Send the licensor a new request made with \
                             `leasehold request`."
                        )));
                    }
                    if let Some(days) = warning_days(row, now.wall) {
                        let when = crate::words::in_days(days);
                        notices.push(("FILE_ENDS_SOON", format!("{about} ends {when}. Ask the licensor for its successor.")));
                    }
                    if row.terms.re_register.is_some_and(|date| date <= now.wall) {
                        notices.push(("RE_REGISTER", format!("{about} asks to be registered again with the licensor. Nothing is limited.")));
                    }
                }
                FileState::Ended => notices.push(("FILE_ENDED", format!("{about} has ended. Drop its successor into the watched folder."))),
                FileState::Missing => notices.push(("FILE_MISSING", format!(
                    "{about} has been gone from the watched folder for 72 h and its grants are gone. Put it back."
                ))),
                FileState::HostLost => notices.push(("HOST_LOST", format!(
                    "This host has not matched {about} for 72 h and its grants are gone. Send the licensor a new request made with \
                     `leasehold request`."
                ))),
                FileState::Revoked => notices.push(("REVOKED", format!("The key that signed {about} is revoked. Ask the licensor for a new file."))),
                FileState::BaseMissing => notices.push(("BASE_MISSING", format!("{about} is an add-on, and no base file that takes add-ons is in effect."))),
                FileState::NotYet => notices.push(("NOT_YET", format!("{about} begins on {}.", row.terms.not_before))),
                FileState::Unloaded | FileState::Deactivated => {}
            }
        }
        for exceeded in self.compliance(now).1 {
            notices.push((
                "LICENSE_EXCEEDED",
                format!(
                    "{} ({}): {} are in use and {} are licensed.",
                    exceeded.title, exceeded.pool, exceeded.used, exceeded.licensed
                ),
            ));
        }
        if self.state.development {
            notices.push((
                "NOT_FOR_PRODUCTION",
                "A development license is in effect: it is not for production, and every lease ends after one hour."
                    .to_string(),
            ));
        }
        notices
    }

    /// All accepted files, by license ID.
    pub fn licenses(&self, now: Now) -> Vec<LicenseView> {
        let view = |row: &crate::row::FileRow| {
            let state = self.state.file_state(row, now);
            let message = match state {
                FileState::InEffect if row.absent_since.is_some() => "gone from the watched folder; runs on for 72 h",
                FileState::InEffect if self.state.host_lost(row) => "this host no longer matches; runs on for 72 h",
                FileState::InEffect => "",
                FileState::NotYet => "its time has not come",
                FileState::Ended => "its time is over",
                FileState::Missing => "gone from the watched folder for more than 72 h",
                FileState::Unloaded => "unloaded by an administrator; the next sequence can be loaded",
                FileState::Deactivated => "closed; its receipt is in the state directory",
                FileState::HostLost => "this host has not matched for more than 72 h",
                FileState::Revoked => "the key that signed it is revoked",
                FileState::BaseMissing => "no base file that takes add-ons is in effect",
            };
            LicenseView {
                license: row.terms.license_id,
                terms: std::sync::Arc::clone(&row.terms),
                file_name: row.name.clone(),
                state: state.as_str(),
                message: message.to_string(),
                host_role: row.host_role,
                ends: ends(row),
                parts: row.terms.parts.clone(),
                grants: row.terms.grants.clone(),
            }
        };
        self.state.files.values().map(view).collect()
    }

    /// Pools, by name; of one key, or as one organization uses them.
    ///
    /// # Errors
    /// `KEY_UNKNOWN`, `ORGANIZATION_UNKNOWN`.
    pub fn pools(&self, now: Now, key: Option<&KeyName>, organization: Option<&str>) -> Result<Vec<PoolView>, Refusal> {
        let wanted = key
            .map(|name| self.state.catalog.find(name.as_str()).ok_or_else(|| Refusal::KeyUnknown(name.to_string())))
            .transpose()?;
        let organization = organization
            .map(|name| {
                let id = name.parse::<Label>().ok().and_then(|name| self.state.organization_names.get(&name).copied());
                id.ok_or_else(|| Refusal::OrganizationUnknown(name.to_string()))
            })
            .transpose()?;
        let mut pools: Vec<PoolView> = self
            .state
            .pools
            .iter()
            .filter(|(id, _)| wanted.is_none_or(|key| id.key == key))
            .filter(|(id, pool)| {
                pool.capacity != Units::Count(0)
                    || !pool.assigned.is_empty()
                    || pool.leased > 0
                    || wanted == Some(id.key)
            })
            .map(|(id, _)| self.pool_view(*id, organization, now))
            .collect();
        pools.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(pools)
    }

    fn pool_view(&self, id: PoolId, organization: Option<OrganizationId>, now: Now) -> PoolView {
        let state = &self.state;
        let definition = state.catalog.get(id.key).map(|definition| &definition.def);
        let name = state.pool_name(id);
        let empty = crate::pool::Pool::default();
        let pool = state.pools.get(&id).unwrap_or(&empty);
        let plays_organization = state.catalog.plays(id.key, Role::Organization) && id.method == Method::Assignable;
        let (assigned, in_use) = match organization {
            None if plays_organization => (0, state.organizations.len() as u64),
            None => (pool.assigned.len() as u64, pool.held(id.method)),
            Some(organization) => {
                let mine =
                    |row: &&AssignmentRow| state.lineage(state.organization_of(row.subject)).contains(&organization);
                let assigned =
                    pool.assigned.iter().filter_map(|id| state.assignments.get(id)).filter(mine).count() as u64;
                (assigned, state.share_use(id, &ShareHolder::Organization(organization)))
            }
        };
        let message = match pool.state {
            Some(row) if row.closes.is_some_and(|at| at > now.lease) => format!(
                "closes in {}: its activation file has ended or ends",
                crate::words::duration(row.closes.map_or(0, |at| at.ms_since(now.lease)))
            ),
            Some(row) if row.over_since.is_some() => format!(
                "over its capacity for {}; after 24 h the excess leases are ended, newest first",
                crate::words::duration(row.over_since.map_or(0, |since| now.lease.ms_since(since)))
            ),
            _ if pool.capacity == Units::Count(0) => "not granted; assignments stay recorded".to_string(),
            _ => String::new(),
        };
        PoolView {
            title: definition.map(|def| def.title.clone()).unwrap_or_else(|| label_of(&name)),
            kind: definition.map_or(KeyKind::Access, |def| def.kind),
            group: definition.and_then(|def| def.group.clone()),
            capacity: pool.capacity,
            set_aside: pool.reserved(),
            assigned,
            in_use,
            waiting: pool.waiters.len() as u64,
            peak_today: pool.peak_today,
            denied_today: pool.denied_today,
            idle_ms: pool.rule.map_or(0, |rule| rule.idle_ms),
            idle_always: pool.rule.is_some_and(|rule| rule.idle_always),
            message,
            name,
        }
    }

    /// Shares, of one pool or of all.
    pub fn shares(&self, pool: Option<&PoolName>) -> Vec<ShareView> {
        let wanted = pool.map(|name| self.state.pool_id(name));
        let mut shares: Vec<ShareView> = self
            .state
            .pools
            .iter()
            .filter(|(id, _)| wanted.is_none_or(|wanted| wanted == Some(**id)))
            .flat_map(|(id, pool)| pool.shares.iter().map(move |share| (id, share)))
            .map(|(id, share)| ShareView {
                pool: self.state.pool_name(*id),
                holder: match &share.row.holder {
                    ShareHolder::Application(name) => ShareName::Application(name.clone()),
                    ShareHolder::Organization(id) => ShareName::Organization(
                        self.state
                            .organizations
                            .get(id)
                            .map_or_else(|| numbered("organization", id.0), |row| row.name.clone()),
                    ),
                },
                reserve: share.row.reserve,
                limit: share.row.limit,
                in_use: share.used,
            })
            .collect();
        shares.sort_by(|a, b| a.pool.cmp(&b.pool));
        shares
    }

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

    fn known_subject(&self, name: &EntityName) -> Result<Subject, Refusal> {
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

    /// Whether site-wide and counted keys are licensed (SITE-1, SITE-2); none asked for: all.
    ///
    /// # Errors
    /// `KEY_UNKNOWN`.
    pub fn site_keys(&self, now: Now, keys: &[KeyName]) -> Result<Vec<SiteKeyView>, Refusal> {
        let state = &self.state;
        let wanted: Vec<KeyId> = if keys.is_empty() {
            state
                .catalog
                .all()
                .filter(|(_, definition)| definition.def.kind.is_site_wide() || definition.def.kind.is_counted())
                .map(|(key, _)| key)
                .collect()
        } else {
            keys.iter()
                .map(|name| state.catalog.find(name.as_str()).ok_or_else(|| Refusal::KeyUnknown(name.to_string())))
                .collect::<Result<_, _>>()?
        };
        let standby = state.is_standby(now);
        let mut views: Vec<SiteKeyView> = wanted
            .into_iter()
            .map(|key| {
                let missing = state.missing_for_site(key);
                let reason = match missing {
                    _ if standby => Refusal::NotActive.message(),
                    None => String::new(),
                    Some(other) if other == key => state.not_licensed(key, now).message(),
                    Some(other) => {
                        Refusal::PrerequisiteMissing { key: state.key_name(key), missing: vec![state.key_name(other)] }
                            .message()
                    }
                };
                SiteKeyView {
                    key: state.key_name(key),
                    kind: state.catalog.get(key).map_or(KeyKind::Access, |definition| definition.def.kind),
                    licensed: missing.is_none() && !standby,
                    units: state.capacity(PoolId { key, method: Method::Assignable }),
                    reason,
                }
            })
            .collect();
        if keys.is_empty() {
            views.sort_by(|a, b| a.key.cmp(&b.key));
        }
        Ok(views)
    }

    /// SITE-4: may a version released then be installed? The key that plays the part must be granted, and the release must
    /// not be later than the maintenance end of a file that grants it.
    pub fn may_install(&self, now: Now, release: WallTime) -> InstallView {
        let state = &self.state;
        let granting = state.files_in_effect(now).filter(|file| {
            file.terms.grants.iter().any(|grant| {
                state.catalog.find(grant.pool.key.as_str()).is_some_and(|key| state.catalog.plays(key, Role::Updates))
            })
        });
        let ends: Vec<Option<WallTime>> = granting.map(|file| file.terms.maintenance_end).collect();
        if ends.is_empty() {
            return InstallView {
                may_install: false,
                reason: "No activation file in effect grants updates. Ask the licensor for maintenance.".into(),
                maintenance_end: None,
            };
        }
        // A file that states no end has maintenance for as long as it is in effect.
        let unbounded = ends.iter().any(Option::is_none);
        let latest = if unbounded { None } else { ends.into_iter().flatten().max() };
        match latest {
            None => InstallView { may_install: true, reason: "Maintenance has no end.".into(), maintenance_end: None },
            Some(end) if release <= end => InstallView {
                may_install: true,
                reason: format!("The version was released before maintenance ends on {end}."),
                maintenance_end: Some(end),
            },
            Some(end) => InstallView {
                may_install: false,
                reason: format!(
                    "Maintenance ends on {end}, before the version's release on {release}. Ask the licensor to renew it."
                ),
                maintenance_end: Some(end),
            },
        }
    }

    /// Which subjects effectively hold which keys, with no lease taken (03, Services). A user with assignable keys holds
    /// those that count; a concurrent user those of their live leases; a station those given to it.
    ///
    /// # Errors
    /// `KEY_UNKNOWN`.
    pub fn entitlements(&self, now: Now, query: &EntitlementQuery) -> Result<Vec<EntitlementView>, Refusal> {
        let keys: Vec<(KeyName, KeyId)> = query
            .keys
            .iter()
            .map(|name| {
                let id = self.state.catalog.find(name.as_str()).ok_or_else(|| Refusal::KeyUnknown(name.to_string()))?;
                Ok((name.clone(), id))
            })
            .collect::<Result<_, Refusal>>()?;
        Ok(query
            .subjects
            .iter()
            .map(|subject| EntitlementView { subject: subject.clone(), keys: self.entitlement(now, subject, &keys) })
            .collect())
    }

    fn entitlement(
        &self,
        now: Now,
        subject: &EntityName,
        keys: &[(KeyName, KeyId)],
    ) -> Result<Vec<KeyEntitlementView>, Refusal> {
        let state = &self.state;
        let members: Vec<Subject> = match subject {
            EntityName::User(_) | EntityName::Station(_) => vec![self.known_subject(subject)?],
            EntityName::Workgroup(name) => {
                let id = *state.workgroup_names.get(name).ok_or_else(|| Refusal::WorkgroupUnknown(name.to_string()))?;
                let member = |user: &&crate::state::User| user.row.workgroups.contains(&id);
                state.users.values().filter(member).map(|user| Subject::User(user.row.id)).collect()
            }
            EntityName::Organization(name) => {
                let id = *state
                    .organization_names
                    .get(name)
                    .ok_or_else(|| Refusal::OrganizationUnknown(name.to_string()))?;
                let member = |user: &&crate::state::User| state.lineage(user.row.organization).contains(&id);
                state.users.values().filter(member).map(|user| Subject::User(user.row.id)).collect()
            }
        };
        let held: Vec<BTreeMap<KeyId, Source>> = members.iter().map(|member| self.holds_now(*member, now)).collect();
        let count = u32::try_from(members.len()).unwrap_or(u32::MAX);
        Ok(keys
            .iter()
            .map(|(name, key)| {
                let holding =
                    u32::try_from(held.iter().filter(|held| held.contains_key(key)).count()).unwrap_or(u32::MAX);
                let reason = match (&members[..], holding) {
                    (_, 1..) => String::new(),
                    ([one], 0) => self.why_not(*one, *key, now),
                    ([], 0) => "it has no members".to_string(),
                    (_, 0) => "none of its members holds it".to_string(),
                };
                KeyEntitlementView { key: name.clone(), members: count, holding, reason }
            })
            .collect())
    }

    fn holds_now(&self, subject: Subject, now: Now) -> BTreeMap<KeyId, Source> {
        let state = &self.state;
        let concurrent = match subject {
            Subject::User(id) => state.users.get(&id).is_some_and(|user| user.row.method == Method::Concurrent),
            Subject::Station(_) => false,
        };
        if concurrent {
            let leases = state.leases_of(subject).iter().filter_map(|id| state.leases.get(id));
            return leases.flat_map(|lease| lease.row.terms.keys.iter().map(|held| (held.key, held.source))).collect();
        }
        let given = state.given(subject, Source::User, None, now, |_| false);
        state.effective(&given.held).0
    }

    fn why_not(&self, subject: Subject, key: KeyId, now: Now) -> String {
        let state = &self.state;
        let given = state.assignments_of(subject).is_some_and(|assignments| {
            assignments.keys().any(|held| *held == key || state.catalog.includes(*held, key))
        });
        if !given {
            return Refusal::NotAssigned { subject: state.subject_name(subject), key: state.key_name(key) }.message();
        }
        if !state.is_licensed(key) && !state.site_has(key) {
            return state.not_licensed(key, now).message();
        }
        match subject {
            Subject::User(id) if state.users.get(&id).is_some_and(|user| user.row.method == Method::Concurrent) => {
                format!(
                    "{} is given {}, and is not logged on with it.",
                    state.subject_name(subject),
                    state.key_name(key)
                )
            }
            Subject::User(_) | Subject::Station(_) => format!(
                "{} is given to {}, and has no effect: something that it requires is missing, or its pool is over capacity.",
                state.key_name(key),
                state.subject_name(subject)
            ),
        }
    }

    /// The decision that an acquire would get now, step by step (ADMIN-13).
    pub fn explain(&self, now: Now, acquire: &Acquire) -> Explanation {
        let (application, version) = match &acquire.from {
            Origin::Unary(caller) => (caller.application.clone(), caller.version),
            Origin::Stream(id) => match self.state.holders.get(id) {
                Some(holder) => (holder.row.application.clone(), holder.row.version),
                None => (numbered("holder", id.0), None),
            },
        };
        let place = (acquire.wait_ms > 0).then_some(Place::LAST);
        let mut planner = Planner {
            state: &self.state,
            queue: &self.queue,
            now,
            place,
            own: None,
            roomy: false,
            steps: Some(Vec::new()),
        };
        if self.state.is_standby(now) {
            return Explanation {
                steps: vec![Step { rule: "02", passed: false, message: Refusal::NotActive.message() }],
                decision: Err(Refusal::NotActive),
            };
        }
        let want = match planner.resolve(&acquire.ask, &application, version) {
            Ok(want) => want,
            Err(refusal) => {
                let steps = vec![Step { rule: "ALLOC-14", passed: false, message: refusal.message() }];
                return Explanation { steps, decision: Err(refusal) };
            }
        };
        let planned = planner.plan(&want);
        let mut steps = planner.steps.take().unwrap_or_default();
        let decision = match planned {
            Err(blocked) => Err(blocked.refusal),
            Ok(plan) => {
                for old in &plan.displaces {
                    steps.push(Step {
                        rule: "ALLOC-8",
                        passed: true,
                        message: format!("lease {old} of the same user on another computer would end"),
                    });
                }
                let ends = self.state.development.then(|| {
                    (
                        now.lease.plus_ms(crate::time::HOUR_MS.unsigned_abs()),
                        crate::refusal::EndReason::DevelopmentHourlyDisconnect,
                    )
                });
                let row = LeaseRow {
                    id: LeaseId(0),
                    holder: crate::ids::HolderId(0),
                    subject: want.subject,
                    application: want.application,
                    terms: std::sync::Arc::new(plan.terms),
                    ttl_ms: acquire.ttl_ms,
                    granted_wall: now.wall,
                    granted: now.lease,
                    idle_since: None,
                    ends,
                    request: None,
                    ended: None,
                };
                Ok(self.lease_view(&row, now))
            }
        };
        Explanation { steps, decision }
    }

    /// COMPLY-1: pools checked, and those that are used beyond their capacity.
    pub fn compliance(&self, now: Now) -> (u64, Vec<ExceededView>) {
        let _ = now;
        let state = &self.state;
        let mut exceeded = Vec::new();
        let mut checked = 0;
        for (id, pool) in &state.pools {
            let Units::Count(capacity) = pool.capacity else {
                continue;
            };
            checked += 1;
            let plays = state.catalog.plays(id.key, Role::Organization) && id.method == Method::Assignable;
            let used = match plays {
                // SITE-3 counts organizations where any are licensed.
                true if capacity == 0 => 0,
                true => state.organizations.len() as u64,
                false => pool.held(id.method),
            };
            if used > u64::from(capacity) {
                let pool = state.pool_name(*id);
                let title = state
                    .catalog
                    .get(id.key)
                    .map_or_else(|| label_of(&pool), |definition| definition.def.title.clone());
                exceeded.push(ExceededView { pool, title, licensed: u64::from(capacity), used });
            }
        }
        exceeded.sort_by(|a, b| a.pool.cmp(&b.pool));
        (checked, exceeded)
    }
}

fn label_of(pool: &PoolName) -> Label {
    pool.to_string().parse().unwrap_or_else(|_| unreachable!("a pool's name is a label"))
}

fn numbered(what: &str, number: u32) -> Label {
    format!("{what} number {number}").parse().unwrap_or_else(|_| unreachable!("letters and digits are a label"))
}
