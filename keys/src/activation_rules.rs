//! What must hold of one activation file beyond its single fields (02, The activation file; 01, Key definitions). What
//! concerns several files at once is judged where the set of files is known.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    activation::{Activation, HostRole, Model, Units},
    definition::{Holder, KeyDefinition, KeyKind, Role},
    name::{KeyName, Method},
    refusal::{Reason, Refusal},
    time::DAY_MS,
};

/// Where things stand in the text, for messages; empty where there is no text yet.
#[derive(Default)]
pub(crate) struct Lines {
    pub(crate) not_after: Option<u32>,
    pub(crate) ramp: Option<u32>,
    pub(crate) grace_days: Option<u32>,
    pub(crate) hosts: Vec<u32>,
    pub(crate) grants: Vec<u32>,
    pub(crate) definitions: Vec<u32>,
}

impl Activation {
    /// Judges the terms before they are signed: all that a daemon will judge of this file alone.
    ///
    /// # Errors
    /// The first fault, without a line.
    pub fn check(&self) -> Result<(), Refusal> {
        // Some rules are the reader's, field by field; reading the own text applies them all.
        Activation::parse(&self.render()).map(|_| ()).map_err(|fault| Refusal::new(fault.kind(), fault.what()))
    }

    pub(crate) fn check_with(&self, lines: &Lines) -> Result<(), Refusal> {
        self.check_dates(lines)?;
        self.check_supersedes()?;
        let keys = self.check_definitions(lines)?;
        self.check_grants(&keys, lines)?;
        self.check_hosts(&keys, lines)?;
        self.check_virtual_cloud(&keys, lines)
    }

    fn check_dates(&self, lines: &Lines) -> Result<(), Refusal> {
        if self.not_after <= self.not_before {
            return Err(Refusal::at(
                Reason::DatesReversed,
                lines.not_after,
                format!("not-after {} does not lie after not-before {}", self.not_after, self.not_before),
            ));
        }
        if self.grace_days == Some(0) {
            return Err(Refusal::at(
                Reason::BadGraceDays,
                lines.grace_days,
                "grace-days is 0; a stage lasts 1 day or more",
            ));
        }
        match self.ramp {
            Some(ramp) if ramp.as_ms().rem_euclid(DAY_MS) != 0 => {
                Err(Refusal::at(Reason::RampNotMidnight, lines.ramp, format!("ramp {ramp} is not midnight UTC")))
            }
            _ => Ok(()),
        }
    }

    fn check_supersedes(&self) -> Result<(), Refusal> {
        match self
            .supersedes
            .iter()
            .find(|other| other.license_id == self.license_id && other.sequence >= self.sequence)
        {
            None => Ok(()),
            Some(other) => Err(Refusal::new(
                Reason::SupersedesItself,
                format!(
                    "Sequence {} of this license supersedes sequence {} of the same license",
                    self.sequence, other.sequence
                ),
            )),
        }
    }

    fn check_definitions(&self, lines: &Lines) -> Result<BTreeMap<&KeyName, &KeyDefinition>, Refusal> {
        let line = |index: usize| lines.definitions.get(index).copied();
        let mut names = BTreeSet::new();
        for (index, key) in self.definitions.iter().enumerate() {
            for name in std::iter::once(&key.name).chain(&key.aliases) {
                if !names.insert(name) {
                    return Err(Refusal::at(
                        Reason::DuplicateDefinition,
                        line(index),
                        format!("The key {name} is defined twice, as name or alias"),
                    ));
                }
            }
        }
        let keys: BTreeMap<&KeyName, &KeyDefinition> = self.definitions.iter().map(|key| (&key.name, key)).collect();
        let mut basic_station = None;
        for (index, key) in self.definitions.iter().enumerate() {
            for other in key.includes.iter().chain(&key.requires).chain(&key.replaces).chain(&key.follows) {
                if !keys.contains_key(other) {
                    return Err(Refusal::at(
                        Reason::UndefinedKey,
                        line(index),
                        format!("The key {} refers to {other}, which is not defined", key.name),
                    ));
                }
            }
            if key.holders.is_empty() {
                return Err(Refusal::at(Reason::NoHolder, line(index), format!("The key {} has no holders", key.name)));
            }
            if key.replaces.contains(&key.name) || key.follows.as_ref() == Some(&key.name) {
                return Err(Refusal::at(
                    Reason::CircularKey,
                    line(index),
                    format!("The key {} replaces or follows itself", key.name),
                ));
            }
            if key.role == Some(Role::BasicStation) {
                if key.holders != BTreeSet::from([Holder::Station]) {
                    return Err(Refusal::at(
                        Reason::HoldersUnfit,
                        line(index),
                        format!("The key {} plays the basic station, so stations alone can hold it", key.name),
                    ));
                }
                if let Some(other) = basic_station.replace(&key.name) {
                    return Err(Refusal::at(
                        Reason::RoleUnfit,
                        line(index),
                        format!("Both {other} and {} play the basic station", key.name),
                    ));
                }
            }
        }
        circle(&keys, |key| &key.includes, "includes", self, lines)?;
        circle(&keys, |key| &key.requires, "requires", self, lines)?;
        Ok(keys)
    }

    fn check_grants(&self, keys: &BTreeMap<&KeyName, &KeyDefinition>, lines: &Lines) -> Result<(), Refusal> {
        let mut pools = BTreeSet::new();
        for (index, grant) in self.grants.iter().enumerate() {
            let refuse = |reason, what: String| Err(Refusal::at(reason, lines.grants.get(index).copied(), what));
            let Some(key) = keys.get(&grant.pool.key) else {
                let alias = self.definitions.iter().find(|key| key.aliases.contains(&grant.pool.key));
                let hint = alias.map_or(String::new(), |key| {
                    format!("; it is another name of {}, and grants go by the key's own name", key.name)
                });
                return refuse(
                    Reason::UndefinedKey,
                    format!("The granted key {} is not defined{hint}", grant.pool.key),
                );
            };
            if !pools.insert(&grant.pool) {
                return refuse(Reason::DuplicateGrant, format!("{} is granted twice", grant.pool));
            }
            let user_access = key.kind == KeyKind::Access && key.holders.contains(&Holder::User);
            if grant.pool.method == Method::Concurrent && !user_access {
                return refuse(
                    Reason::NotConcurrent,
                    format!("{} is a concurrent pool, and {} is no access key that users hold", grant.pool, key.name),
                );
            }
        }
        Ok(())
    }

    fn check_hosts(&self, keys: &BTreeMap<&KeyName, &KeyDefinition>, lines: &Lines) -> Result<(), Refusal> {
        let mut roles = BTreeSet::new();
        for (index, host) in self.hosts.iter().enumerate() {
            let line = lines.hosts.get(index).copied();
            if !roles.insert(host.role) {
                return Err(Refusal::at(Reason::DuplicateHostRole, line, "Two hosts have one role"));
            }
            if !(1..=5).contains(&host.need) {
                return Err(Refusal::at(
                    Reason::NeedOutOfRange,
                    line,
                    format!("need is {}; of the five factors, 1 to 5 can be needed", host.need),
                ));
            }
        }
        // A closing file binds nothing: the license it closes may have had no host.
        let unbound = self.is_deactivation() || self.reaches_role(keys, Role::VirtualCloud);
        let none_needed = unbound && self.hosts.is_empty();
        if roles.contains(&HostRole::Primary) || none_needed {
            return Ok(());
        }
        Err(Refusal::new(
            Reason::NoHost,
            "The file has no primary host, and it grants no key that would let it run without one",
        ))
    }

    fn check_virtual_cloud(&self, keys: &BTreeMap<&KeyName, &KeyDefinition>, lines: &Lines) -> Result<(), Refusal> {
        if !self.reaches_role(keys, Role::VirtualCloud) {
            return Ok(());
        }
        if self.reaches_role(keys, Role::UsageLocal) {
            return Err(Refusal::new(
                Reason::VirtualCloudLocalUsage,
                "The file grants virtual cloud together with local usage tracking, and virtual cloud needs the automated upload",
            ));
        }
        if self.model == Model::Perpetual {
            return Err(Refusal::new(
                Reason::VirtualCloudPerpetual,
                "The file grants virtual cloud under the perpetual model, and it needs a subscription",
            ));
        }
        let unlimited = self.grants.iter().enumerate().find(|(_, grant)| {
            grant.units == Units::Unlimited && keys.get(&grant.pool.key).is_some_and(|key| key.call_port)
        });
        match unlimited {
            None => Ok(()),
            Some((index, grant)) => Err(Refusal::at(
                Reason::VirtualCloudUnlimitedCallPort,
                lines.grants.get(index).copied(),
                format!("{} is a call-port key and unlimited; with virtual cloud it needs a count", grant.pool),
            )),
        }
    }

    /// True where a granted key, or one that it includes, plays `role`. A grant of 0 units grants nothing.
    pub fn grants_role(&self, role: Role) -> bool {
        self.reaches_role(&self.definitions.iter().map(|key| (&key.name, key)).collect(), role)
    }

    fn reaches_role(&self, keys: &BTreeMap<&KeyName, &KeyDefinition>, role: Role) -> bool {
        let granted = self.grants.iter().filter(|grant| grant.units != Units::Count(0));
        let mut waiting: Vec<&KeyName> = granted.map(|grant| &grant.pool.key).collect();
        let mut seen = BTreeSet::new();
        while let Some(name) = waiting.pop() {
            let Some(key) = keys.get(name).filter(|_| seen.insert(name)) else {
                continue;
            };
            if key.role == Some(role) {
                return true;
            }
            waiting.extend(&key.includes);
        }
        false
    }
}

/// Refuses a key that reaches itself over `next`. Keys without an unvisited way onward are taken off until none is
/// left; what cannot be taken off stands in a circle or leads into one.
fn circle<'a>(
    keys: &BTreeMap<&'a KeyName, &'a KeyDefinition>,
    next: impl Fn(&'a KeyDefinition) -> &'a BTreeSet<KeyName>,
    verb: &str,
    file: &Activation,
    lines: &Lines,
) -> Result<(), Refusal> {
    let mut onward: BTreeMap<&KeyName, usize> = keys.iter().map(|(name, key)| (*name, next(key).len())).collect();
    let mut backward: BTreeMap<&KeyName, Vec<&KeyName>> = BTreeMap::new();
    for (name, key) in keys {
        for other in next(key) {
            backward.entry(other).or_default().push(name);
        }
    }
    let mut done: Vec<&KeyName> = onward.iter().filter(|(_, ways)| **ways == 0).map(|(name, _)| *name).collect();
    while let Some(name) = done.pop() {
        onward.remove(name);
        for before in backward.get(name).into_iter().flatten() {
            if let Some(ways) = onward.get_mut(before) {
                *ways -= 1;
                if *ways == 0 {
                    done.push(before);
                }
            }
        }
    }
    // From any key that is left, every step stays among those left, so enough steps end inside a circle.
    let Some(mut name) = onward.keys().next().copied() else {
        return Ok(());
    };
    for _ in 0..keys.len() {
        let step = keys.get(name).and_then(|key| next(key).iter().find(|other| onward.contains_key(other)));
        name = step.unwrap_or(name);
    }
    let index = file.definitions.iter().position(|key| key.name == *name);
    let line = index.and_then(|index| lines.definitions.get(index).copied());
    Err(Refusal::at(Reason::CircularKey, line, format!("The key {name} {verb} itself, directly or in a circle")))
}
