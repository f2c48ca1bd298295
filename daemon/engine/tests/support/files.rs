//! Activation files that a real licensor signed: each goes through the verifier, as in the daemon.

use std::{collections::BTreeSet, sync::Arc, sync::OnceLock};

use leasehold_keys::{
    activation::{Activation, FileKind, Grant, HostLine, HostRole, Level, LicenseId, Model, Units, VersionRange},
    dev::DevLicensor,
    host::{HostFacts, HostId},
    name::PoolName,
    time::{DAY_MS, WallTime},
    trust::{Trust, Verified},
};

use super::catalog::definitions;

/// Wall-clock time of the first step of each test: noon, so that midnight is no boundary by accident.
pub(crate) const START: &str = "2026-11-22T12:00:00Z";

pub(crate) fn start() -> WallTime {
    START.parse().unwrap()
}

pub(crate) struct Licensor {
    licensor: DevLicensor,
    trust: Trust,
    host: HostId,
}

impl Licensor {
    pub(crate) fn get() -> &'static Licensor {
        static ONE: OnceLock<Licensor> = OnceLock::new();
        ONE.get_or_init(|| {
            let licensor = DevLicensor::from_seed(&[7; 32]).unwrap();
            let trust = licensor.trust().unwrap();
            // One factor is enough here: whether a host matches is told to the engine, not decided by it.
            let facts =
                HostFacts { platform: Some("4c4c4544-0042-3510-8054-b4c04f584432".into()), ..HostFacts::default() };
            Licensor { licensor, trust, host: HostId::new(&facts, Default::default()) }
        })
    }

    /// Signs and verifies.
    pub(crate) fn issue(&self, activation: &Activation) -> Arc<Verified<Activation>> {
        let bytes = self.licensor.issue(activation).unwrap_or_else(|refusal| panic!("{refusal:?}"));
        Arc::new(self.trust.activation(&bytes, start()).unwrap_or_else(|refusal| panic!("{refusal:?}")))
    }
}

pub(crate) fn license(number: u8) -> LicenseId {
    LicenseId(format!("00000000-0000-4000-8000-0000000000{number:02x}").parse().unwrap())
}

/// `CLIENT_CONCURRENT 50`, `SESSION unlimited`.
pub(crate) fn grant(text: &str) -> Grant {
    let (pool, units) = text.trim().split_once(' ').unwrap_or_else(|| panic!("`{text}` is not `POOL COUNT`"));
    let units = match units.trim() {
        "unlimited" => Units::Unlimited,
        count => Units::Count(count.parse().unwrap_or_else(|_| panic!("`{count}` is not a count"))),
    };
    let pool: PoolName = pool.parse().unwrap();
    // Grants go by a key's own name; stories may use another.
    let own = definitions().into_iter().find(|def| def.aliases.contains(&pool.key)).map(|def| def.name);
    Grant { pool: PoolName { key: own.unwrap_or(pool.key), ..pool }, units }
}

/// A base file that began ten days ago and ends in 355, for this host, with these grants. Change what a test is about.
pub(crate) fn base(grants: &[Grant]) -> Activation {
    let begin = start().plus_ms(-10 * DAY_MS);
    Activation {
        license_id: license(1),
        sequence: 1,
        supersedes: BTreeSet::new(),
        issued: begin,
        account: "Contoso".parse().unwrap(),
        install_site: "Main".parse().unwrap(),
        product: "CIC".parse().unwrap(),
        product_line: "PureConnect".parse().unwrap(),
        versions: VersionRange { from: "4.0".parse().unwrap(), through: "2020.4".parse().unwrap() },
        model: Model::Subscription,
        level: Level::Production,
        kind: FileKind::Base,
        system_type: None,
        companion_of: None,
        not_before: begin,
        not_after: begin.plus_ms(365 * DAY_MS),
        maintenance_end: None,
        re_register: None,
        ramp: None,
        grace_days: None,
        check_in_endpoint: None,
        usage_destination: None,
        hosts: vec![HostLine {
            role: HostRole::Primary,
            id: Licensor::get().host.clone(),
            need: 1,
            machine_name: None,
        }],
        parts: Vec::new(),
        grants: grants.to_vec(),
        definitions: definitions(),
        catalog_version: 1,
        root_version: 1,
    }
}
