//! From what was ordered to what is granted: parts, server items, development sizes and single grants become one list of
//! pools with their units.

use std::collections::BTreeMap;

use leasehold_keys::{
    activation::{Grant, Units},
    definition::{Holder, KeyKind, Role},
    name::{KeyName, Label, Method, PoolName},
};

use super::{Catalog, DevelopmentSize};

/// Units of a part, by the way they were ordered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartUnits {
    /// The part number.
    pub number: Label,
    /// Units taken as assigned licenses.
    pub assigned: u32,
    /// Units taken as pooled licenses.
    pub pooled: u32,
}

/// Why an order does not fit the catalog. Each says what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OrderFault {
    /// No such part.
    #[error("part {number} is not in the catalog of {product}; `licensor catalog show` lists its parts")]
    UnknownPart {
        /// As it was ordered.
        number: Label,
        /// The catalog's product.
        product: Label,
    },
    /// The same part twice.
    #[error("part {0} is named twice; give its units once, as NUMBER=ASSIGNED,POOLED")]
    PartTwice(Label),
    /// Neither assigned nor pooled units.
    #[error("part {0} has neither assigned nor pooled units; give at least one or leave the part out")]
    NoUnits(Label),
    /// The part is not sold this way.
    #[error("part {number} is not sold as {way} licenses; order its units the other way")]
    NotSoldSo {
        /// The part.
        number: Label,
        /// `assigned` or `pooled`.
        way: &'static str,
    },
    /// No such key.
    #[error("key {key} is not in the catalog of {product}; `licensor catalog show` lists its keys")]
    UnknownKey {
        /// As it was ordered.
        key: KeyName,
        /// The catalog's product.
        product: Label,
    },
    /// A concurrent pool of a key that users do not hold.
    #[error("{key} has no concurrent pool, since users do not hold it; grant {key} instead of {key}_CONCURRENT")]
    NoConcurrentPool {
        /// The key.
        key: KeyName,
    },
    /// A single grant of 0.
    #[error("{pool} is granted 0 units; give at least 1, or leave it out")]
    NoGrant {
        /// The pool.
        pool: PoolName,
    },
    /// A pool named twice among the single grants.
    #[error("{pool} is granted twice; give its units once")]
    GrantTwice {
        /// The pool, by the key's own name.
        pool: PoolName,
    },
    /// More than a grant can say.
    #[error("the units of {pool} come to more than 4294967295; lower them, or grant it `unlimited`")]
    TooMany {
        /// The pool.
        pool: PoolName,
    },
    /// No such server item.
    #[error("there is no server item `{item}` of {product}; choose one of {choices}")]
    UnknownServerItem {
        /// As it was ordered.
        item: Label,
        /// The catalog's product.
        product: Label,
        /// What there is.
        choices: String,
    },
    /// The server item cannot be the second of a pair.
    #[error("server item `{0}` cannot be the second server of a switchover pair")]
    NoSwitchover(Label),
}

/// Adds up units by pool.
#[derive(Debug, Default)]
pub(crate) struct Sum {
    units: BTreeMap<PoolName, Units>,
    overflowed: Vec<PoolName>,
}

impl Sum {
    /// Adds `each` units `times` over.
    pub(crate) fn add(&mut self, pool: &PoolName, each: Units, times: u32) {
        let added = match each {
            Units::Count(each) => each.checked_mul(times).map(Units::Count),
            Units::Unlimited => Some(Units::Unlimited),
        };
        let before = self.units.get(pool).copied().unwrap_or(Units::Count(0));
        let sum = match (before, added) {
            (Units::Unlimited, _) | (_, Some(Units::Unlimited)) => Some(Units::Unlimited),
            (Units::Count(before), Some(Units::Count(added))) => before.checked_add(added).map(Units::Count),
            (_, None) => None,
        };
        match sum {
            Some(sum) => _ = self.units.insert(pool.clone(), sum),
            None => self.overflowed.push(pool.clone()),
        }
    }

    pub(crate) fn add_all(&mut self, pools: &BTreeMap<PoolName, u32>, times: u32) {
        for (pool, each) in pools {
            self.add(pool, Units::Count(*each), times);
        }
    }

    pub(crate) fn contains(&self, pool: &PoolName) -> bool {
        self.units.contains_key(pool)
    }

    /// The grants by pool name, and a fault for each sum that no file can hold.
    pub(crate) fn finish(self) -> (Vec<Grant>, Vec<OrderFault>) {
        let grants = self.units.into_iter().map(|(pool, units)| Grant { pool, units }).collect();
        let faults = self.overflowed.into_iter().map(|pool| OrderFault::TooMany { pool }).collect();
        (grants, faults)
    }
}

impl Catalog {
    /// What the parts grant, in the order of pool names (VENDOR-2).
    ///
    /// # Errors
    ///
    /// Every fault of the order.
    pub fn expand(&self, parts: &[PartUnits]) -> Result<Vec<Grant>, Vec<OrderFault>> {
        let mut sum = Sum::default();
        let mut faults = self.add_parts(&mut sum, parts);
        let (grants, overflow) = sum.finish();
        faults.extend(overflow);
        if faults.is_empty() { Ok(grants) } else { Err(faults) }
    }

    pub(crate) fn add_parts(&self, sum: &mut Sum, parts: &[PartUnits]) -> Vec<OrderFault> {
        let mut faults = Vec::new();
        for (index, part) in parts.iter().enumerate() {
            let number = &part.number;
            if parts.iter().take(index).any(|earlier| earlier.number == *number) {
                faults.push(OrderFault::PartTwice(number.clone()));
                continue;
            }
            let Some(definition) = self.parts.get(number) else {
                faults.push(OrderFault::UnknownPart { number: number.clone(), product: self.product.clone() });
                continue;
            };
            if part.assigned == 0 && part.pooled == 0 {
                faults.push(OrderFault::NoUnits(number.clone()));
            }
            let ways = [("assigned", &definition.assigned, part.assigned), ("pooled", &definition.pooled, part.pooled)];
            for (way, pools, units) in ways {
                if units > 0 && pools.is_empty() {
                    faults.push(OrderFault::NotSoldSo { number: number.clone(), way });
                } else if units > 0 {
                    sum.add_all(pools, units);
                }
            }
        }
        faults
    }

    pub(crate) fn add_server_item(&self, sum: &mut Sum, item: &Label, switchover: bool) -> Option<OrderFault> {
        let Some(definition) = self.server_items.get(item) else {
            let choices: Vec<_> = self.server_items.keys().map(Label::as_str).collect();
            let choices = if choices.is_empty() { "none".to_owned() } else { choices.join(", ") };
            return Some(OrderFault::UnknownServerItem { item: item.clone(), product: self.product.clone(), choices });
        };
        if !switchover {
            sum.add_all(&definition.grants, 1);
        } else if definition.switchover_grants.is_empty() {
            return Some(OrderFault::NoSwitchover(item.clone()));
        } else {
            sum.add_all(&definition.switchover_grants, 1);
        }
        None
    }

    /// Single grants, by the keys' own names or aliases. They add to what parts grant.
    pub(crate) fn add_grants(&self, sum: &mut Sum, grants: &[Grant]) -> Vec<OrderFault> {
        let mut faults = Vec::new();
        let mut seen = std::collections::BTreeSet::new();
        for grant in grants {
            let Some(key) = self.key(&grant.pool.key) else {
                faults.push(OrderFault::UnknownKey { key: grant.pool.key.clone(), product: self.product.clone() });
                continue;
            };
            let pool = PoolName { key: key.name.clone(), method: grant.pool.method };
            if !seen.insert(pool.clone()) {
                faults.push(OrderFault::GrantTwice { pool });
            } else if grant.units == Units::Count(0) {
                faults.push(OrderFault::NoGrant { pool });
            } else if pool.method == Method::Concurrent && !key.holders.contains(&Holder::User) {
                faults.push(OrderFault::NoConcurrentPool { key: pool.key });
            } else {
                sum.add(&pool, grant.units, 1);
            }
        }
        faults
    }

    /// What a development license of this size holds beside its server item (LEVEL-2): every feature key; 8 or 30 of
    /// each access and session key, and of the organization key, which is counted too. Access keys that users hold are
    /// granted so often in the assignable and again in the concurrent pool, so that both methods can be tried. One of
    /// each server key comes along, but for those of server items: without its server key no subsystem starts (SITE-2).
    ///
    /// Left out are the features that say how use is paid for (usage upload, usage local, virtual cloud), which exclude
    /// each other and belong to the order, and engine and hardware keys, which 004 does not count among them.
    pub(crate) fn add_development(&self, sum: &mut Sum, size: DevelopmentSize) {
        let count = Units::Count(size.units());
        let of_server_items: std::collections::BTreeSet<&KeyName> = self
            .server_items
            .values()
            .flat_map(|item| item.grants.keys().chain(item.switchover_grants.keys()))
            .map(|pool| &pool.key)
            .collect();
        for key in self.keys.values() {
            let payment = matches!(key.role, Some(Role::UsageUpload | Role::UsageLocal | Role::VirtualCloud));
            let assignable = PoolName { key: key.name.clone(), method: Method::Assignable };
            match key.kind {
                KeyKind::Access | KeyKind::Session => sum.add(&assignable, count, 1),
                KeyKind::Feature if key.role == Some(Role::Organization) => sum.add(&assignable, count, 1),
                // What a selected server item granted already is not doubled.
                KeyKind::Feature if !payment && !sum.contains(&assignable) => sum.add(&assignable, Units::Count(1), 1),
                KeyKind::Server if !of_server_items.contains(&key.name) => sum.add(&assignable, Units::Count(1), 1),
                KeyKind::Feature | KeyKind::Server | KeyKind::Engine | KeyKind::Hardware => {}
            }
            if key.kind == KeyKind::Access && key.holders.contains(&Holder::User) {
                sum.add(&PoolName { method: Method::Concurrent, ..assignable }, count, 1);
            }
        }
    }
}
