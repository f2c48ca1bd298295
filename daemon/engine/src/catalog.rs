//! Key definitions made ready for decisions: numbers instead of names, inclusions closed, aliases resolved. Built from
//! the accepted files whenever they change; old leases keep what they were granted (LEVEL-6).

use std::collections::{BTreeMap, BTreeSet};

use leasehold_keys::{
    definition::{Holder, KeyDefinition, KeyKind, Role},
    name::{KeyName, Label},
};

use crate::ids::KeyId;

/// The call-port key of a site that never had an activation file (01, Levels).
pub(crate) const BUILT_IN_CALL_PORT: &str = "CALL_PORT";

/// One key's definition.
#[derive(Clone, Debug)]
pub(crate) struct Definition {
    /// As the file says it.
    pub def: KeyDefinition,
    /// Everything that it includes, directly or not, without itself; sorted.
    pub includes: BTreeSet<KeyId>,
    /// What it requires directly.
    pub requires: Vec<KeyId>,
    /// STATION-5.
    pub follows: Option<KeyId>,
    /// ALLOC-15: a key's place comes before that of the keys it includes; else by name.
    pub place: u32,
}

/// All keys that the site knows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Catalog {
    by_name: BTreeMap<KeyName, KeyId>,
    definitions: BTreeMap<KeyId, Definition>,
    roles: BTreeMap<Role, BTreeSet<KeyId>>,
}

impl Catalog {
    /// Compiles definitions. `number` gives each name its lasting number; a name without one is left out, which happens
    /// only while numbers are being handed out.
    pub(crate) fn compile(definitions: Vec<KeyDefinition>, number: impl Fn(&KeyName) -> Option<KeyId>) -> Self {
        let mut catalog = Catalog::default();
        for def in &definitions {
            if let Some(id) = number(&def.name) {
                catalog.by_name.insert(def.name.clone(), id);
            }
        }
        // A name proper beats an alias of another key.
        for def in &definitions {
            if let Some(id) = number(&def.name) {
                for alias in &def.aliases {
                    catalog.by_name.entry(alias.clone()).or_insert(id);
                }
            }
        }
        let resolve = |names: &BTreeSet<KeyName>, catalog: &Catalog| -> BTreeSet<KeyId> {
            names.iter().filter_map(|name| catalog.by_name.get(name).copied()).collect()
        };
        let mut direct: BTreeMap<KeyId, BTreeSet<KeyId>> = BTreeMap::new();
        for def in &definitions {
            if let Some(id) = catalog.by_name.get(&def.name) {
                direct.insert(*id, resolve(&def.includes, &catalog));
            }
        }
        let places = places(&direct, &definitions, &catalog);
        for def in definitions {
            let Some(&id) = catalog.by_name.get(&def.name) else {
                continue;
            };
            let definition = Definition {
                includes: closure(id, &direct),
                requires: resolve(&def.requires, &catalog).into_iter().collect(),
                follows: def.follows.as_ref().and_then(|name| catalog.by_name.get(name).copied()),
                place: places.get(&id).copied().unwrap_or(u32::MAX),
                def,
            };
            if let Some(role) = definition.def.role {
                catalog.roles.entry(role).or_default().insert(id);
            }
            catalog.definitions.insert(id, definition);
        }
        catalog
    }

    /// The key of a name or an alias.
    pub(crate) fn find(&self, name: &str) -> Option<KeyId> {
        // A pool's name is taken for its key: applications sometimes pass `..._CONCURRENT` on.
        let key = name.strip_suffix(leasehold_keys::name::CONCURRENT_SUFFIX).unwrap_or(name);
        self.by_name.get(&key.parse::<KeyName>().ok()?).copied()
    }

    pub(crate) fn get(&self, key: KeyId) -> Option<&Definition> {
        self.definitions.get(&key)
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = (KeyId, &Definition)> {
        self.definitions.iter().map(|(id, definition)| (*id, definition))
    }

    /// The keys that play a part; usually one or none.
    pub(crate) fn with_role(&self, role: Role) -> impl Iterator<Item = KeyId> + '_ {
        self.roles.get(&role).into_iter().flatten().copied()
    }

    pub(crate) fn plays(&self, key: KeyId, role: Role) -> bool {
        self.roles.get(&role).is_some_and(|keys| keys.contains(&key))
    }

    pub(crate) fn kind(&self, key: KeyId) -> Option<KeyKind> {
        self.get(key).map(|definition| definition.def.kind)
    }

    pub(crate) fn is_call_port(&self, key: KeyId) -> bool {
        self.get(key).is_some_and(|definition| definition.def.call_port)
    }

    /// True for a key that is refused from enforcement stage 4 on.
    pub(crate) fn is_supervisor(&self, key: KeyId) -> bool {
        self.get(key).is_some_and(|definition| definition.def.supervisor)
    }

    /// True where `outer` includes `inner`, directly or not.
    pub(crate) fn includes(&self, outer: KeyId, inner: KeyId) -> bool {
        self.get(outer).is_some_and(|definition| definition.includes.contains(&inner))
    }
}

/// The definition of the one key of a site that never had a file.
pub(crate) fn built_in_call_port() -> Option<KeyDefinition> {
    Some(KeyDefinition {
        name: BUILT_IN_CALL_PORT.parse().ok()?,
        title: "Call port".parse::<Label>().ok()?,
        kind: KeyKind::Session,
        holders: BTreeSet::from([Holder::Server]),
        includes: BTreeSet::new(),
        requires: BTreeSet::new(),
        replaces: BTreeSet::new(),
        application: None,
        role: None,
        group: None,
        terms: leasehold_keys::definition::Terms::Permanent,
        billing: leasehold_keys::definition::Billing::None,
        supervisor: false,
        call_port: true,
        level: None,
        follows: None,
        aliases: BTreeSet::new(),
    })
}

fn closure(of: KeyId, direct: &BTreeMap<KeyId, BTreeSet<KeyId>>) -> BTreeSet<KeyId> {
    let mut found = BTreeSet::new();
    let mut open = vec![of];
    while let Some(key) = open.pop() {
        for &next in direct.get(&key).into_iter().flatten() {
            if next != of && found.insert(next) {
                open.push(next);
            }
        }
    }
    found
}

/// Places keys so that each comes before what it includes, and otherwise by name: at each step the first name of those
/// whose includers are all placed.
fn places(
    direct: &BTreeMap<KeyId, BTreeSet<KeyId>>,
    definitions: &[KeyDefinition],
    catalog: &Catalog,
) -> BTreeMap<KeyId, u32> {
    let mut waiting_for: BTreeMap<KeyId, usize> = BTreeMap::new();
    for inner in direct.values().flatten() {
        *waiting_for.entry(*inner).or_default() += 1;
    }
    let name_of: BTreeMap<KeyId, &KeyName> =
        definitions.iter().filter_map(|def| catalog.by_name.get(&def.name).map(|id| (*id, &def.name))).collect();
    let mut ready: BTreeSet<(&KeyName, KeyId)> =
        name_of.iter().filter(|(id, _)| !waiting_for.contains_key(id)).map(|(id, name)| (*name, *id)).collect();
    let mut places = BTreeMap::new();
    while let Some((_, key)) = ready.pop_first() {
        places.insert(key, u32::try_from(places.len()).unwrap_or(u32::MAX));
        for inner in direct.get(&key).into_iter().flatten() {
            if let Some(count) = waiting_for.get_mut(inner) {
                *count -= 1;
                if *count == 0
                    && let Some(name) = name_of.get(inner)
                {
                    ready.insert((name, *inner));
                }
            }
        }
    }
    places
}
