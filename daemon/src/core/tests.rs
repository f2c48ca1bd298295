//! The core from the outside: order, durability, failing storage, streams.

use leasehold_engine::time::WallTime;
use leasehold_keys::{
    activation::{Activation, FileKind, Grant, Level, LicenseId, Model, Units},
    dev::DevLicensor,
    trust::Verified,
};
use licensor::catalog::Catalog;
use uuid::Uuid;

/// Units of the pool that the tests take from.
pub(crate) const SESSIONS: u32 = 50;

/// A licensor, and a file of its that needs no host.
pub(crate) fn licensor() -> (DevLicensor, Verified<Activation>) {
    let catalog = Catalog::pureconnect();
    let grant = |pool: &str, units| Grant { pool: pool.parse().unwrap(), units: Units::Count(units) };
    let grants = vec![grant("I3_FEATURE_VIRTUAL_CLOUD", 1), grant("I3_SESSION_RECORDER", SESSIONS)];
    let issued: WallTime = "2026-11-22T04:19:00Z".parse().unwrap();
    let terms = Activation {
        license_id: LicenseId(Uuid::from_u128(0x1b2c_3d4e)),
        sequence: 1,
        supersedes: Default::default(),
        issued,
        account: "Acme".parse().unwrap(),
        install_site: "Indianapolis".parse().unwrap(),
        product: catalog.product().clone(),
        product_line: catalog.product_line().clone(),
        versions: catalog.versions(),
        model: Model::Subscription,
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
    };
    let licensor = DevLicensor::from_seed(&[7; 32]).unwrap();
    let bytes = licensor.issue(&terms).unwrap();
    let file = licensor.trust().unwrap().activation(&bytes, issued).unwrap();
    (licensor, file)
}
