//! What the daemon's own tests, and its example, start from: a licensor's terms. Nothing is tested here.

use leasehold_keys::{
    activation::{Activation, FileKind, Grant, Level, LicenseId, Model, Units},
    time::WallTime,
};
use licensor::catalog::Catalog;
use uuid::Uuid;

/// The license of [`terms`].
pub(crate) const LICENSE: LicenseId = LicenseId(Uuid::from_u128(0x7f3c9a52_1f0e_4b1e_9c55_0d2f6a3b8e41));

/// Terms of a base file without hosts, which only a closing file may have.
pub(crate) fn terms(sequence: u32, grants: &[(&str, u32)]) -> Activation {
    let catalog = Catalog::pureconnect();
    let grants: Vec<Grant> =
        grants.iter().map(|(pool, units)| Grant { pool: pool.parse().unwrap(), units: Units::Count(*units) }).collect();
    let issued: WallTime = "2026-01-01T00:00:00Z".parse().unwrap();
    Activation {
        license_id: LICENSE,
        sequence,
        supersedes: Default::default(),
        issued,
        account: "Acme".parse().unwrap(),
        install_site: "Indianapolis".parse().unwrap(),
        product: catalog.product().clone(),
        product_line: catalog.product_line().clone(),
        versions: catalog.versions(),
        model: Model::Perpetual,
        level: Level::Production,
        kind: FileKind::Base,
        system_type: None,
        companion_of: None,
        not_before: issued,
        not_after: WallTime::PERPETUAL_END,
        maintenance_end: None,
        re_register: None,
        ramp: None,
        grace_days: None,
        check_in_endpoint: None,
        usage_destination: None,
        hosts: Vec::new(),
        parts: Vec::new(),
        definitions: catalog.definitions_for(&grants),
        grants,
        catalog_version: 1,
        root_version: 1,
    }
}
