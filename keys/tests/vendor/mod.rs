//! A vendor for tests: every key from a fixed seed, so that every file is the same in each run.
#![expect(dead_code, reason = "each test file uses its own part")]

pub(crate) mod check_in;

use leasehold_keys::{
    activation::{Activation, FileKind, Grant, HostLine, HostRole, Level, LicenseId, Model, Units, VersionRange},
    definition::{Billing, Holder, KeyDefinition, KeyKind, Terms},
    digest::Sha256,
    host::{HostFacts, HostId},
    key::{Algorithm, SigningKey},
    note,
    root::{KeyRole, Policy, Required, RoleKey, Root},
    time::{DAY_MS, WallTime},
    trust::Trust,
};

/// The moment at which files are judged.
pub(crate) const NOW: &str = "2026-11-22T04:19:00Z";

pub(crate) fn at(text: &str) -> WallTime {
    text.parse().unwrap()
}

pub(crate) fn now() -> WallTime {
    at(NOW)
}

/// The key of a name, the same in each run.
pub(crate) fn key(name: &str, algorithm: Algorithm) -> SigningKey {
    let seed = Sha256::of(format!("test seed of {name} for {algorithm}").as_bytes());
    SigningKey::from_seed(name, algorithm, seed.as_bytes()).unwrap()
}

pub(crate) fn ed(name: &str) -> SigningKey {
    key(name, Algorithm::Ed25519)
}

pub(crate) fn pq(name: &str) -> SigningKey {
    key(name, Algorithm::MlDsa65)
}

pub(crate) fn role(key: &SigningKey, role: KeyRole, epoch: u32) -> RoleKey {
    RoleKey {
        key: key.public().clone(),
        role,
        epoch,
        not_before: at("2026-01-01T00:00:00Z"),
        not_after: at("2028-01-01T00:00:00Z"),
    }
}

pub(crate) const ONE: Required = Required { ed25519: 1, ml_dsa_65: 0 };

/// Root 1: two of three root keys, one key of each role.
pub(crate) fn root() -> Root {
    Root {
        version: 1,
        expires: at("2030-01-01T00:00:00Z"),
        usage_key: [9; 32],
        policy: Policy { root: Required { ed25519: 2, ml_dsa_65: 0 }, activation: ONE, check_in: ONE, receipt: ONE },
        root_keys: ["a", "b", "c"].map(|name| ed(&format!("acme.example/root-{name}")).public().clone()).to_vec(),
        role_keys: vec![
            role(&issuing(), KeyRole::Issuing, 1),
            role(&ed("acme.example/check-in-2026"), KeyRole::CheckIn, 1),
            role(&ed("acme.example/receipt-2026"), KeyRole::Receipt, 1),
        ],
        revoked: Vec::new(),
    }
}

pub(crate) fn issuing() -> SigningKey {
    ed("acme.example/issuing-2026")
}

/// `root` signed by the root keys of these letters.
pub(crate) fn signed_root(root: &Root, letters: &[&str]) -> Vec<u8> {
    let keys: Vec<SigningKey> = letters.iter().map(|name| ed(&format!("acme.example/root-{name}"))).collect();
    sign(&root.render(), &keys.iter().collect::<Vec<_>>())
}

pub(crate) fn sign(text: &str, keys: &[&SigningKey]) -> Vec<u8> {
    note::sign(text, keys).unwrap().into_bytes()
}

/// Trust in root 1.
pub(crate) fn trust() -> Trust {
    Trust::anchored(&signed_root(&root(), &["a", "b"])).unwrap()
}

/// Root 1 of a vendor that asks for ML-DSA-65 on activation files as well.
pub(crate) fn hybrid_root() -> Root {
    let mut root = root();
    root.policy.activation.ml_dsa_65 = 1;
    root.role_keys.push(role(&pq("acme.example/issuing-2026"), KeyRole::Issuing, 1));
    root
}

pub(crate) fn facts() -> HostFacts {
    HostFacts {
        platform: Some("4c4c4544-0051-3510-8052-b4c04f564433".into()),
        system: Some("d6f6a2a9a0ff4f0e8a4f2a3b7f9f0f11".into()),
        disk: Some("naa.5000c500a1b2c3d4".into()),
        installation: Some("aa".repeat(32)),
        network: vec!["52:54:00:12:34:56".into()],
    }
}

/// The host ID of [`facts`], as text so that most tests need no Argon2.
pub(crate) const HOST_ID: &str = include_str!("host_id.txt");

pub(crate) fn host() -> HostLine {
    HostLine { role: HostRole::Primary, id: HOST_ID.trim().parse::<HostId>().unwrap(), need: 3, machine_name: None }
}

pub(crate) fn definition(name: &str, kind: KeyKind, holders: &[Holder]) -> KeyDefinition {
    KeyDefinition {
        name: name.parse().unwrap(),
        title: name.parse().unwrap(),
        kind,
        holders: holders.iter().copied().collect(),
        includes: Default::default(),
        requires: Default::default(),
        replaces: Default::default(),
        application: None,
        role: None,
        group: None,
        terms: Terms::Permanent,
        billing: Billing::None,
        supervisor: false,
        call_port: false,
        level: None,
        follows: None,
        aliases: Default::default(),
    }
}

pub(crate) fn grant(pool: &str, units: u32) -> Grant {
    Grant { pool: pool.parse().unwrap(), units: Units::Count(units) }
}

/// A small file that is good in every way.
pub(crate) fn activation() -> Activation {
    Activation {
        license_id: LicenseId("7f3c9a52-1f0e-4b1e-9c55-0d2f6a3b8e41".parse().unwrap()),
        sequence: 12,
        supersedes: Default::default(),
        issued: at("2026-11-01T00:00:00Z"),
        account: "Contoso".parse().unwrap(),
        install_site: "Köln".parse().unwrap(),
        product: "CIC".parse().unwrap(),
        product_line: "PureConnect".parse().unwrap(),
        versions: VersionRange { from: "4.0".parse().unwrap(), through: "2020.4".parse().unwrap() },
        model: Model::Subscription,
        level: Level::Production,
        kind: FileKind::Base,
        system_type: None,
        companion_of: None,
        not_before: at("2026-11-01T00:00:00Z"),
        not_after: at("2026-11-01T00:00:00Z").plus_ms(365 * DAY_MS),
        maintenance_end: None,
        re_register: None,
        ramp: None,
        grace_days: None,
        check_in_endpoint: None,
        usage_destination: None,
        hosts: vec![host()],
        parts: Vec::new(),
        grants: vec![grant("I3_ACCESS_CLIENT_CONCURRENT", 50)],
        definitions: vec![definition("I3_ACCESS_CLIENT", KeyKind::Access, &[Holder::User])],
        catalog_version: 3,
        root_version: 1,
    }
}

/// An activation file signed by the issuing key.
pub(crate) fn issued(activation: &Activation) -> Vec<u8> {
    sign(&activation.render(), &[&issuing()])
}
