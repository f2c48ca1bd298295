//! The order that an earlier file must have come from, so that a re-issue says only what changes: the switchover server
//! that was not known yet, a new end, a replaced machine (VENDOR-5).

use std::collections::BTreeMap;

use leasehold_keys::{
    activation::{Activation, Grant, Level, Units},
    name::{Label, PoolName},
};

use super::{HostOrder, IssueOrder, OrderLevel};
use crate::catalog::{Catalog, PartUnits, Sum};

/// The order of `file`, to be issued from `catalog` again. None for development and evaluation files, whose level says
/// more than the file does: their terms are given anew.
///
/// Grants that neither a server item nor the parts explain are single grants. Where the catalog has changed since, its
/// parts grant what they grant now.
pub(crate) fn as_before(catalog: &Catalog, file: &Activation, issued_by: Label) -> Option<IssueOrder> {
    let level = match file.level {
        Level::Production => OrderLevel::Production,
        Level::Trial => OrderLevel::Trial,
        Level::Development | Level::Evaluation => return None,
    };
    let parts: Vec<PartUnits> = file
        .parts
        .iter()
        .map(|part| PartUnits { number: part.number.clone(), assigned: part.assigned, pooled: part.pooled })
        .collect();
    let mut left: BTreeMap<PoolName, Units> =
        file.grants.iter().map(|grant| (grant.pool.clone(), grant.units)).collect();
    let mut explained = Sum::default();
    // What a part no longer explains stays granted, as a single grant; the order itself tells unknown parts.
    let _ = catalog.add_parts(&mut explained, &parts);
    let (of_parts, _) = explained.finish();
    take(&mut left, &of_parts);
    let server = items(catalog, &mut left, false);
    let switchover_server = items(catalog, &mut left, true);
    let hosts = file.hosts.iter().map(|host| HostOrder {
        need: host.need,
        machine_name: host.machine_name.clone(),
        ..HostOrder::typed(host.role, host.id.clone())
    });
    Some(IssueOrder {
        license_id: Some(file.license_id),
        level,
        model: file.model,
        kind: file.kind,
        versions: Some(file.versions),
        server,
        switchover_server,
        parts,
        grants: left.into_iter().map(|(pool, units)| Grant { pool, units }).collect(),
        hosts: hosts.collect(),
        not_before: Some(file.not_before),
        not_after: Some(file.not_after),
        maintenance_end: file.maintenance_end,
        re_register: file.re_register,
        ramp: file.ramp,
        grace_days: file.grace_days,
        check_in_endpoint: file.check_in_endpoint.clone(),
        usage_destination: file.usage_destination.clone(),
        system_type: file.system_type.clone(),
        supersedes: file.supersedes.clone(),
        ..IssueOrder::new(file.account.clone(), file.install_site.clone(), issued_by)
    })
}

/// The server item that is wholly among what is left, which it then leaves.
fn items(catalog: &Catalog, left: &mut BTreeMap<PoolName, Units>, switchover: bool) -> Option<Label> {
    for (name, item) in catalog.server_items() {
        let pools = if switchover { &item.switchover_grants } else { &item.grants };
        let grants: Vec<Grant> =
            pools.iter().map(|(pool, units)| Grant { pool: pool.clone(), units: Units::Count(*units) }).collect();
        let covered = |grant: &Grant| left.get(&grant.pool).is_some_and(|units| *units >= grant.units);
        if !grants.is_empty() && grants.iter().all(covered) {
            take(left, &grants);
            return Some(name.clone());
        }
    }
    None
}

/// Takes units away; a pool without any left goes. Of an unlimited pool nothing can be taken.
fn take(from: &mut BTreeMap<PoolName, Units>, grants: &[Grant]) {
    for grant in grants {
        if let (Some(Units::Count(have)), Units::Count(taken)) = (from.get(&grant.pool).copied(), grant.units) {
            match have.saturating_sub(taken) {
                0 => _ = from.remove(&grant.pool),
                rest => _ = from.insert(grant.pool.clone(), Units::Count(rest)),
            }
        }
    }
}
