//! Orders that many tests begin with.

use std::collections::BTreeMap;

use leasehold_keys::activation::{Activation, Grant, HostRole, Units};
use licensor::{
    catalog::{Catalog, PartUnits},
    order::{HostOrder, IssueOrder, TermsFault},
    workshop::WorkshopFault,
};

use crate::support::{Machine, label, noon, order, workshop};

pub(crate) fn part(number: &str, assigned: u32, pooled: u32) -> PartUnits {
    PartUnits { number: label(number), assigned, pooled }
}

pub(crate) fn grant(pool: &str, units: u32) -> Grant {
    Grant { pool: pool.parse().unwrap(), units: Units::Count(units) }
}

pub(crate) fn granted(file: &Activation) -> BTreeMap<String, Units> {
    file.grants.iter().map(|grant| (grant.pool.to_string(), grant.units)).collect()
}

pub(crate) fn with_grants() -> IssueOrder {
    IssueOrder { grants: vec![grant("I3_SESSION_CALL", 10)], ..order() }
}

/// The faults of an order that must be refused.
#[track_caller]
pub(crate) fn faults(order: &IssueOrder) -> Vec<TermsFault> {
    let (_dir, mut workshop) = workshop();
    match workshop.issue(&Catalog::pureconnect(), order, noon()) {
        Err(WorkshopFault::Terms(faults)) => {
            // Nothing that was refused leaves a trace.
            assert!(workshop.ledger().issued().unwrap().is_empty());
            faults
        }
        other => panic!("{other:?}"),
    }
}

pub(crate) fn order_without_request() -> IssueOrder {
    IssueOrder { hosts: vec![HostOrder::typed(HostRole::Primary, Machine::new("m", 7).host_id())], ..order() }
}
