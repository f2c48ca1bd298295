//! Interaction types: which a user may receive, and what limits them (MEDIA-1 to MEDIA-3). Looks, never changes.

use std::collections::{BTreeMap, BTreeSet};

use leasehold_keys::{definition::MediaLevel, name::Label};

use crate::{
    engine::Turn,
    ids::{KeyId, Subject, UserId},
    plan::Planner,
    refusal::{Limit, Refusal},
    row::{Source, UserRow, Warning},
    state::State,
};

impl Planner<'_> {
    /// MEDIA-2, MEDIA-3: the interaction types that the user may receive, and what limits them.
    pub(crate) fn media(&mut self, user: UserId, held: &BTreeMap<KeyId, Source>) -> (Vec<Label>, Vec<Warning>) {
        let state = self.state;
        let Some(user) = state.users.get(&user) else {
            return (Vec::new(), Vec::new());
        };
        let level = state.media_level(held.keys().copied());
        let routed: BTreeSet<&Label> = user
            .row
            .workgroups
            .iter()
            .filter_map(|id| state.workgroups.get(id))
            .flat_map(|workgroup| &workgroup.types)
            .collect();
        let types = match level {
            None => Vec::new(),
            // With the highest level and nothing configured, whatever the workgroups route.
            Some(MediaLevel::Unlimited) if user.row.types.is_empty() => routed.into_iter().cloned().collect(),
            Some(level) => user.row.types.iter().take(types_of(level)).cloned().collect::<Vec<_>>(),
        };
        let mut warnings = Vec::new();
        for workgroup in user.row.workgroups.iter().filter_map(|id| state.workgroups.get(id)) {
            let lacking: Vec<Label> = workgroup.types.iter().filter(|kind| !types.contains(kind)).cloned().collect();
            if lacking.is_empty() {
                continue;
            }
            let allowed = level.map_or(0, types_of);
            let remedy = if level.is_none() {
                "Assign a media level key to the user or the station.".to_string()
            } else if types.len() + lacking.len() <= allowed
                || types.len() < allowed && workgroup.types.len() <= allowed
            {
                format!("Add the missing types with `leasehold user set {} --types`.", user.row.name)
            } else if workgroup.types.len() <= allowed {
                format!(
                    "Configure the types of this workgroup instead, with `leasehold user set {} --types`.",
                    user.row.name
                )
            } else {
                format!(
                    "A level for {} interaction types would cover it: assign a higher media level key.",
                    workgroup.types.len()
                )
            };
            self.step("MEDIA-2", false, || format!("workgroup {} routes types that are not covered", workgroup.name));
            warnings.push(Warning::MediaLimited { workgroup: workgroup.name.clone(), types: lacking, remedy });
        }
        (types, warnings)
    }
}

/// How many interaction types a level covers (MEDIA-1).
pub(crate) const fn types_of(level: MediaLevel) -> usize {
    match level {
        MediaLevel::One => 1,
        MediaLevel::Two => 2,
        MediaLevel::Unlimited => usize::MAX,
    }
}

impl State {
    /// The highest media level among keys and what comes with them.
    pub(crate) fn media_level(&self, keys: impl Iterator<Item = KeyId>) -> Option<MediaLevel> {
        let level = |key: KeyId| self.catalog.get(key).and_then(|definition| definition.def.level);
        let with_included = |key: KeyId| {
            let included = self.catalog.get(key).into_iter().flat_map(|definition| &definition.includes);
            std::iter::once(key).chain(included.copied())
        };
        keys.flat_map(with_included).filter_map(level).max()
    }

    /// MEDIA-1: a user whose own media keys cover so many types may have so many configured; the highest level counts. One
    /// without any may have what is wanted, and receives nothing (MEDIA-2).
    pub(crate) fn check_types(&self, user: &UserRow) -> Result<(), Refusal> {
        let assignments = self.assignments_of(Subject::User(user.id)).into_iter().flatten();
        let Some(level) = self.media_level(assignments.map(|(key, _)| *key)) else {
            return Ok(());
        };
        if user.types.len() > types_of(level) {
            let wanted = user.types.len() as u64;
            return Err(Refusal::LimitReached(Limit::InteractionTypes { user: user.name.clone(), level, wanted }));
        }
        Ok(())
    }
}

impl Turn<'_> {
    /// The same after a key came or went.
    pub(crate) fn check_types_of(&self, user: UserId) -> Result<(), Refusal> {
        let state = &self.engine.state;
        state.users.get(&user).map_or(Ok(()), |user| state.check_types(&user.row))
    }

    /// The level of the keys that are given to a user.
    pub(crate) fn level_of(&self, subject: Subject) -> Option<MediaLevel> {
        let state = &self.engine.state;
        state.media_level(state.assignments_of(subject).into_iter().flatten().map(|(key, _)| *key))
    }
}
