//! Who is licensed for what, with no lease taken: site-wide keys, entitlements, versions (SITE-1, SITE-2, SITE-4).

use std::collections::{BTreeMap, BTreeSet};

use leasehold_keys::{
    definition::{KeyKind, Role},
    name::{KeyName, Method},
    time::WallTime,
};

use crate::{
    command::{EntitlementQuery, EntityName},
    engine::Engine,
    ids::{KeyId, PoolId, Subject},
    refusal::Refusal,
    row::Source,
    time::Now,
    view::{EntitlementView, InstallView, KeyEntitlementView, SiteKeyView},
};

/// Members of several groups that one question may make the core look at: others wait meanwhile.
const MEMBERS_IN_ONE_QUESTION: usize = 20_000;

/// Who was looked at in one question already: groups overlap.
#[derive(Default)]
struct LookedAt {
    groups: usize,
    rights: BTreeMap<Subject, BTreeSet<KeyId>>,
}

impl Engine {
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
                let away = state.enforced_away(key, false);
                let reason = match missing {
                    _ if standby => Refusal::NotActive.message(),
                    None if away => state.enforced(key).message(),
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
                    licensed: missing.is_none() && !standby && !away,
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
        let mut looked_at = LookedAt::default();
        Ok(query
            .subjects
            .iter()
            .map(|subject| {
                let keys = self.entitlement(now, subject, &keys, &mut looked_at);
                EntitlementView { subject: subject.clone(), keys }
            })
            .collect())
    }

    fn entitlement(
        &self,
        now: Now,
        subject: &EntityName,
        keys: &[(KeyName, KeyId)],
        looked_at: &mut LookedAt,
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
        let group = matches!(subject, EntityName::Workgroup(_) | EntityName::Organization(_));
        if group {
            looked_at.groups += 1;
            if looked_at.groups > 1 && looked_at.rights.len() + members.len() > MEMBERS_IN_ONE_QUESTION {
                let fault = format!(
                    "with the groups before it, it has more than {MEMBERS_IN_ONE_QUESTION} members; ask about it in a call of its own"
                );
                return Err(Refusal::Malformed { field: "subjects".into(), fault });
            }
        }
        for member in &members {
            if !looked_at.rights.contains_key(member) {
                let asked = self.holds_now(*member, now).into_keys().filter(|key| keys.iter().any(|(_, it)| it == key));
                looked_at.rights.insert(*member, asked.collect());
            }
        }
        let held = |member: &Subject, key: &KeyId| looked_at.rights.get(member).is_some_and(|held| held.contains(key));
        let count = u32::try_from(members.len()).unwrap_or(u32::MAX);
        Ok(keys
            .iter()
            .map(|(name, key)| {
                let holding =
                    u32::try_from(members.iter().filter(|member| held(member, key)).count()).unwrap_or(u32::MAX);
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
        if state.enforced_away(key, false) {
            return state.enforced(key).message();
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
}
