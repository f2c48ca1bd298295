//! Product catalogs: a product's license keys with their definitions, its parts and what a unit of each grants, its
//! server items and evaluation configurations (VENDOR-2). The format is told in `FORMAT.md`.
//!
//! A catalog is data of the licensor. Nothing here signs, counts what an account has left, or reads a clock.

mod check;
mod expand;
mod read;
#[cfg(test)]
mod tests;
mod walk;

use std::{collections::BTreeMap, fmt};

use leasehold_keys::{
    activation::{Grant, Level, VersionRange},
    definition::{KeyDefinition, Role},
    name::{KeyName, Label, PoolName},
};

pub(crate) use self::expand::Sum;
pub use self::expand::{OrderFault, PartUnits};

/// The catalog of PureConnect's CIC server, as shipped.
pub const PURECONNECT: &str = include_str!("../../catalogs/pureconnect.toml");

/// The catalog of PureConnect's media server, as shipped.
pub const MEDIA_SERVER: &str = include_str!("../../catalogs/media-server.toml");

/// Something wrong in a catalog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CatalogFault {
    /// The line, from 1.
    pub line: usize,
    /// The dotted place, such as `key.I3_ACCESS_CLIENT.requires`; empty where the document as a whole is meant.
    pub place: String,
    /// What is wrong and what to write instead.
    pub reason: String,
}

impl fmt::Display for CatalogFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: ", self.line)?;
        if !self.place.is_empty() {
            write!(f, "{}: ", self.place)?;
        }
        f.write_str(&self.reason)
    }
}

/// What one unit of a part grants, by the way it was ordered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartDefinition {
    /// What it is.
    pub description: Label,
    /// Granted for each unit taken as an assigned license; empty where the part is not sold so.
    pub assigned: BTreeMap<PoolName, u32>,
    /// Granted for each unit taken as a pooled license; empty where the part is not sold so.
    pub pooled: BTreeMap<PoolName, u32>,
}

/// The two sizes of development license (LEVEL-2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DevelopmentSize {
    /// 8 of each access and session key.
    Small,
    /// 30 of each access and session key.
    Large,
}

impl DevelopmentSize {
    /// Units of each access and session key.
    pub const fn units(self) -> u32 {
        match self {
            DevelopmentSize::Small => 8,
            DevelopmentSize::Large => 30,
        }
    }
}

impl fmt::Display for DevelopmentSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DevelopmentSize::Small => "small",
            DevelopmentSize::Large => "large",
        })
    }
}

/// A server that an activation file can be for; one is selected for each file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerItem {
    /// What it is.
    pub title: Label,
    /// What it grants.
    pub grants: BTreeMap<PoolName, u32>,
    /// What it grants when it is the second server of a switchover pair; empty where it cannot be.
    pub switchover_grants: BTreeMap<PoolName, u32>,
    /// The development license that comes with it at no cost.
    pub development: Option<DevelopmentSize>,
}

/// A fixed evaluation configuration (LEVEL-4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evaluation {
    /// What it is.
    pub title: Label,
    /// How long it lasts, in days of 24 hours.
    pub days: u32,
    /// What it grants; nothing can be added.
    pub grants: BTreeMap<PoolName, u32>,
}

/// A checked catalog of one product: every name in it is defined, no key includes or requires itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Catalog {
    product: Label,
    product_line: Label,
    companion_of: Option<Label>,
    version: u32,
    versions: VersionRange,
    levels: Vec<Level>,
    server_items: BTreeMap<Label, ServerItem>,
    parts: BTreeMap<Label, PartDefinition>,
    evaluations: BTreeMap<Label, Evaluation>,
    keys: BTreeMap<KeyName, KeyDefinition>,
    aliases: BTreeMap<KeyName, KeyName>,
}

impl Catalog {
    /// Reads a catalog.
    ///
    /// # Errors
    ///
    /// Every fault in it, by line.
    pub fn parse(text: &str) -> Result<Self, Vec<CatalogFault>> {
        read::catalog(text)
    }

    /// The catalog of PureConnect's CIC server.
    ///
    /// # Panics
    ///
    /// Never: a test reads the shipped catalog.
    pub fn pureconnect() -> Self {
        shipped(PURECONNECT)
    }

    /// All catalogs that are built in.
    ///
    /// # Panics
    ///
    /// Never: a test reads the shipped catalogs.
    pub fn all_shipped() -> Vec<Self> {
        [MEDIA_SERVER, PURECONNECT].map(shipped).into()
    }

    /// The product, such as `CIC`.
    pub fn product(&self) -> &Label {
        &self.product
    }

    /// The product line, such as `PureConnect`.
    pub fn product_line(&self) -> &Label {
        &self.product_line
    }

    /// For a server that serves another product's server: that product.
    pub fn companion_of(&self) -> Option<&Label> {
        self.companion_of.as_ref()
    }

    /// The version that files carry; the highest wins where several files define one key.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// The product versions that a file covers where the order names none.
    pub fn versions(&self) -> VersionRange {
        self.versions
    }

    /// The levels that may be issued (VENDOR-2), in the order of the catalog.
    pub fn levels(&self) -> &[Level] {
        &self.levels
    }

    /// The server items by name.
    pub fn server_items(&self) -> &BTreeMap<Label, ServerItem> {
        &self.server_items
    }

    /// The parts by number.
    pub fn parts(&self) -> &BTreeMap<Label, PartDefinition> {
        &self.parts
    }

    /// The evaluation configurations by name.
    pub fn evaluations(&self) -> &BTreeMap<Label, Evaluation> {
        &self.evaluations
    }

    /// All keys in the order of their names.
    pub fn keys(&self) -> impl Iterator<Item = &KeyDefinition> {
        self.keys.values()
    }

    /// A key by its name or one of its aliases.
    pub fn key(&self, name: &KeyName) -> Option<&KeyDefinition> {
        self.keys.get(self.aliases.get(name).unwrap_or(name))
    }

    /// The definitions that a file with these grants carries, in the order of their names: every key granted, and
    /// every key that a carried definition refers to (`includes`, `requires`, `replaces`, `follows`).
    ///
    /// With any grant at all, the keys that play the basic station's and the client's part come along too: a site
    /// that owns none of them must still be told that it needs them (STATION-1, STATION-3).
    pub fn definitions_for(&self, grants: &[Grant]) -> Vec<KeyDefinition> {
        let mut open: Vec<&KeyDefinition> = grants.iter().filter_map(|grant| self.key(&grant.pool.key)).collect();
        if !grants.is_empty() {
            let needed = |key: &&KeyDefinition| matches!(key.role, Some(Role::BasicStation | Role::Client));
            open.extend(self.keys.values().filter(needed));
        }
        let mut found: BTreeMap<&KeyName, &KeyDefinition> = BTreeMap::new();
        while let Some(key) = open.pop() {
            if found.insert(&key.name, key).is_none() {
                let named = key.includes.iter().chain(&key.requires).chain(&key.replaces).chain(&key.follows);
                open.extend(named.filter_map(|name| self.keys.get(name)));
            }
        }
        found.into_values().cloned().collect()
    }
}

#[expect(clippy::panic, reason = "a broken shipped catalog is a fault of the build, and a test reads each of them")]
fn shipped(text: &str) -> Catalog {
    match Catalog::parse(text) {
        Ok(catalog) => catalog,
        Err(faults) => panic!("a shipped catalog is faulty: {faults:?}"),
    }
}
