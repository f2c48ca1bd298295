//! What a catalog's fields mean to each other: names that must be defined, circles, roles, holders, pools.

use std::collections::{BTreeMap, BTreeSet};

use leasehold_keys::{
    activation::Level,
    definition::{Holder, KeyDefinition, KeyKind, Role},
    name::{KeyName, Method, PoolName},
};

use super::{
    Catalog,
    walk::{Mark, Marks, Walk},
};

/// Reports every fault between fields, and fills in the catalog's aliases.
pub(super) fn whole(walk: &mut Walk<'_>, marks: &Marks, catalog: &mut Catalog) {
    let mut check = Check { walk, marks };
    catalog.aliases = check.aliases(&catalog.keys);
    check.references(catalog);
    check.circles(&catalog.keys, "includes", |key| &key.includes);
    check.circles(&catalog.keys, "requires", |key| &key.requires);
    check.roles(&catalog.keys);
    for key in catalog.keys.values() {
        check.shape(key);
    }
    check.pools(catalog);
    if catalog.levels.contains(&Level::Evaluation) && catalog.evaluations.is_empty() {
        check.fault("", "the level evaluation is allowed, but no [evaluation.NAME] says what it holds");
    }
}

struct Check<'w, 't, 'm> {
    walk: &'w mut Walk<'t>,
    marks: &'m Marks,
}

impl Check<'_, '_, '_> {
    fn fault(&mut self, place: &str, reason: impl Into<String>) {
        // The nearest place above that has a mark; the document itself otherwise.
        let mut near = place;
        let mark = loop {
            match (self.marks.get(near), near.rsplit_once('.')) {
                (Some(mark), _) => break mark.named(place),
                (None, Some((above, _))) => near = above,
                (None, None) => break Mark::document(place),
            }
        };
        self.walk.fault(&mark, reason);
    }

    fn aliases(&mut self, keys: &BTreeMap<KeyName, KeyDefinition>) -> BTreeMap<KeyName, KeyName> {
        let mut aliases: BTreeMap<KeyName, KeyName> = BTreeMap::new();
        for key in keys.values() {
            for alias in &key.aliases {
                let place = format!("key.{}.aliases", key.name);
                if keys.contains_key(alias) {
                    self.fault(&place, format!("{alias} is the name of a key already"));
                } else if let Some(other) = aliases.insert(alias.clone(), key.name.clone()) {
                    self.fault(&place, format!("{alias} is an alias of {other} already"));
                }
            }
        }
        aliases
    }

    fn references(&mut self, catalog: &Catalog) {
        for key in catalog.keys.values() {
            let lists = [("includes", &key.includes), ("requires", &key.requires), ("replaces", &key.replaces)];
            let follows = key.follows.iter().map(|name| ("follows", name));
            for (field, name) in
                lists.into_iter().flat_map(|(field, names)| names.iter().map(move |name| (field, name))).chain(follows)
            {
                let place = format!("key.{}.{field}", key.name);
                if *name == key.name {
                    self.fault(&place, "names the key itself");
                } else {
                    self.defined(catalog, &place, name);
                }
            }
        }
    }

    fn defined(&mut self, catalog: &Catalog, place: &str, name: &KeyName) -> bool {
        if catalog.keys.contains_key(name) {
            return true;
        }
        match catalog.aliases.get(name) {
            Some(own) => self.fault(place, format!("{name} is an alias; write {own}")),
            None => self.fault(
                place,
                format!("{name} is defined nowhere in this catalog; add [key.{name}] or correct the name"),
            ),
        }
        false
    }

    /// Reports each circle once, at the first of its keys by name.
    fn circles(
        &mut self,
        keys: &BTreeMap<KeyName, KeyDefinition>,
        field: &str,
        next: impl Fn(&KeyDefinition) -> &BTreeSet<KeyName>,
    ) {
        for start in keys.values() {
            // Breadth first from each key: the shortest way back to it, if there is one.
            let mut came_from: BTreeMap<&KeyName, &KeyName> = BTreeMap::new();
            let mut open = vec![&start.name];
            let mut back = None;
            while back.is_none() && !open.is_empty() {
                let mut further = Vec::new();
                for at in open {
                    for name in keys.get(at).map(&next).into_iter().flatten() {
                        if *name == start.name && *at != start.name {
                            back = Some(at);
                        } else if !came_from.contains_key(name) {
                            came_from.insert(name, at);
                            further.push(name);
                        }
                    }
                }
                open = further;
            }
            let Some(mut at) = back else { continue };
            let mut way = vec![&start.name, at];
            while let Some(before) = came_from.get(at).filter(|_| *at != start.name) {
                way.push(before);
                at = before;
            }
            if way.iter().all(|name| **name >= start.name) {
                let way: Vec<_> = way.iter().rev().map(|name| name.as_str()).collect();
                self.fault(&format!("key.{}.{field}", start.name), format!("a circle: {}", way.join(" → ")));
            }
        }
    }

    fn roles(&mut self, keys: &BTreeMap<KeyName, KeyDefinition>) {
        let mut players: BTreeMap<Role, &KeyName> = BTreeMap::new();
        for key in keys.values() {
            let Some(role) = key.role else { continue };
            if let Some(other) = players.insert(role, &key.name) {
                self.fault(
                    &format!("key.{}.role", key.name),
                    format!("{other} plays this part already; only one key can"),
                );
            }
        }
    }

    /// What a single definition cannot be.
    fn shape(&mut self, key: &KeyDefinition) {
        let place = |field: &str| format!("key.{}.{field}", key.name);
        let server_only = BTreeSet::from([Holder::Server]);
        match key.kind {
            KeyKind::Access if key.holders.contains(&Holder::Server) && key.holders.len() > 1 => {
                self.fault(&place("holders"), "an access key is held by users and stations, or by servers alone");
            }
            KeyKind::Access => {}
            _ if !key.holders.is_empty() && key.holders != server_only => {
                self.fault(
                    &place("holders"),
                    "only access keys are held by users and stations; this one is the server's",
                );
            }
            _ => {}
        }
        let station_only = BTreeSet::from([Holder::Station]);
        let wanted_kind = |role| match role {
            Role::BasicStation | Role::Client => KeyKind::Access,
            _ => KeyKind::Feature,
        };
        if let Some(role) = key.role {
            if key.kind != wanted_kind(role) {
                self.fault(&place("role"), "this part is not played by a key of this kind");
            }
            if role == Role::BasicStation && key.holders != station_only {
                self.fault(&place("holders"), "a basic station key is held by stations only");
            }
        }
        if key.call_port && !key.kind.is_counted() {
            self.fault(&place("call-port"), "call ports are counted: a session, engine or hardware key");
        }
        if key.level.is_some() && key.kind != KeyKind::Access {
            self.fault(&place("level"), "only access keys have a media level");
        }
        if key.supervisor && key.kind != KeyKind::Access {
            self.fault(&place("supervisor"), "only access keys are a supervisor's");
        }
        if key.follows.is_some() && key.holders != station_only {
            self.fault(&place("follows"), "only a key that stations alone hold can follow its owner's key");
        }
    }

    fn pools(&mut self, catalog: &Catalog) {
        let items = catalog.server_items.iter().flat_map(|(name, item)| {
            [
                (format!("server-item.{name}.grants"), &item.grants),
                (format!("server-item.{name}.switchover-grants"), &item.switchover_grants),
            ]
        });
        let parts = catalog.parts.iter().flat_map(|(number, part)| {
            [(format!("part.{number}.assigned"), &part.assigned), (format!("part.{number}.pooled"), &part.pooled)]
        });
        let evaluations = catalog
            .evaluations
            .iter()
            .map(|(name, evaluation)| (format!("evaluation.{name}.grants"), &evaluation.grants));
        let all: Vec<_> = items.chain(parts).chain(evaluations).collect();
        for (place, pools) in all {
            for pool in pools.keys() {
                self.pool(catalog, &format!("{place}.{pool}"), pool);
            }
        }
    }

    fn pool(&mut self, catalog: &Catalog, place: &str, pool: &PoolName) {
        if !self.defined(catalog, place, &pool.key) {
            return;
        }
        let concurrent = pool.method == Method::Concurrent;
        if concurrent && catalog.key(&pool.key).is_some_and(|key| !key.holders.contains(&Holder::User)) {
            self.fault(place, "there is no concurrent pool of a key that users do not hold");
        }
    }
}
