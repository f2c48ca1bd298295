//! Usage categories: what a user counts as by the keys that are applied (004, Categories and licenses).

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use leasehold_keys::{
    definition::{Billing, KeyDefinition},
    name::{KeyName, Label},
    usage::KeySet,
};

/// A category that is billed. Ordered as bills list them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Category {
    /// Holds the client key and none that makes an agent.
    BusinessUser,
    /// Holds a key that makes an agent, or any add-on key.
    Agent,
    /// An agent add-on, by the name that the catalog gives it.
    AddOn(Label),
}

impl fmt::Display for Category {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Category::BusinessUser => f.write_str("Business User"),
            Category::Agent => f.write_str("Agent"),
            Category::AddOn(name) => write!(f, "{name}"),
        }
    }
}

/// What each key is billed as, by its name and its aliases.
#[derive(Clone, Debug, Default)]
pub struct Tariff {
    keys: BTreeMap<KeyName, Billing>,
}

impl Tariff {
    /// A tariff of these definitions. Of several with one name, the first counts.
    pub fn new<'d>(definitions: impl IntoIterator<Item = &'d KeyDefinition>) -> Self {
        let mut tariff = Self::default();
        for definition in definitions {
            for name in std::iter::once(&definition.name).chain(&definition.aliases) {
                tariff.keys.entry(name.clone()).or_insert_with(|| definition.billing.clone());
            }
        }
        tariff
    }

    /// What a user counts as while `keys` are applied: Business User or Agent or neither, and each add-on besides.
    pub fn categories(&self, keys: &KeySet) -> BTreeSet<Category> {
        let mut categories = BTreeSet::new();
        for billing in keys.iter().filter_map(|key| self.keys.get(key)) {
            match billing {
                Billing::None => {}
                Billing::BusinessUser => {
                    categories.insert(Category::BusinessUser);
                }
                Billing::Agent => {
                    categories.insert(Category::Agent);
                }
                Billing::AddOn(name) => {
                    categories.insert(Category::Agent);
                    categories.insert(Category::AddOn(name.clone()));
                }
            }
        }
        if categories.contains(&Category::Agent) {
            categories.remove(&Category::BusinessUser);
        }
        categories
    }

    /// True where the key is known, billed or not.
    pub fn knows(&self, key: &KeyName) -> bool {
        self.keys.contains_key(key)
    }
}
