//! What the licensor of the simulated world sells: eight keys, and signed files that grant them in small numbers. All
//! files are signed once for the process; a world picks among them.

use std::{
    collections::BTreeSet,
    sync::{Arc, OnceLock},
};

use leasehold_engine::time::{DAY_MS, WallTime};
use leasehold_keys::{
    activation::{Activation, FileKind, Grant, HostLine, HostRole, Level, LicenseId, Model, Units, VersionRange},
    definition::{Billing, Holder, KeyDefinition, KeyKind, Role, Terms},
    dev::DevLicensor,
    digest::Sha256,
    host::{HostFacts, HostId},
    name::{KeyName, Label, Method, PoolName},
    trust::Verified,
};

use super::chance::Chance;

/// A key of the world, by its place in [`KEYS`].
pub(crate) type Key = usize;

pub(crate) const BASIC: Key = 0;
pub(crate) const CLIENT: Key = 1;
pub(crate) const TRACKER: Key = 2;
pub(crate) const AGENT: Key = 3;
/// Brings [`AGENT`] with it.
pub(crate) const SUPER: Key = 4;
pub(crate) const SESSION: Key = 5;
pub(crate) const TRUNK: Key = 6;
pub(crate) const SPEECH: Key = 7;
pub(crate) const KEYS: [&str; 8] =
    ["BASIC_STATION", "CLIENT", "TRACKER", "AGENT", "SUPER", "SESSION", "TRUNK", "SPEECH"];

/// A pool: twice its key, plus 1 where it is the concurrent one.
pub(crate) type Pool = usize;
pub(crate) const POOLS: usize = KEYS.len() * 2;

pub(crate) const fn pool(key: Key, concurrent: bool) -> Pool {
    key * 2 + concurrent as usize
}

pub(crate) const fn is_call_port(pool: Pool) -> bool {
    pool == self::pool(SESSION, false) || pool == self::pool(TRUNK, false)
}

pub(crate) fn pool_title(pool: Pool) -> String {
    format!("{}{}", KEYS[pool / 2], if pool % 2 == 1 { "_CONCURRENT" } else { "" })
}

/// Capacities by pool; `u64::MAX`: unlimited.
pub(crate) type Caps = [u64; POOLS];

/// The world begins here.
pub(crate) const START: &str = "2026-11-22T12:00:00Z";

pub(crate) fn start() -> WallTime {
    START.parse().expect("a moment")
}

/// Which pools the licensor sells.
const SOLD: [Pool; 11] = [
    pool(BASIC, false),
    pool(CLIENT, false),
    pool(CLIENT, true),
    pool(TRACKER, false),
    pool(TRACKER, true),
    pool(AGENT, false),
    pool(AGENT, true),
    pool(SUPER, true),
    pool(SESSION, false),
    pool(TRUNK, false),
    pool(SPEECH, false),
];

/// The base license and the add-on.
pub(crate) const LICENSES: usize = 2;
/// Files of each license, one sequence after the other.
pub(crate) const SEQUENCES: usize = 32;
/// Rows of files with capacities of their own.
pub(crate) const VARIANTS: usize = 4;

/// One signed file.
#[derive(Clone, Debug)]
pub(crate) struct File {
    pub(crate) terms: Arc<Verified<Activation>>,
    pub(crate) caps: Caps,
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Vendor {
    files: Vec<File>,
    pub(crate) issuing_key: Sha256,
    pub(crate) key_labels: Vec<Label>,
}

impl Vendor {
    pub(crate) fn get() -> &'static Vendor {
        static ONE: OnceLock<Vendor> = OnceLock::new();
        ONE.get_or_init(Vendor::new)
    }

    fn new() -> Self {
        let licensor = DevLicensor::from_seed(&[7; 32]).expect("a seed");
        let trust = licensor.trust().expect("its own root");
        let facts = HostFacts { platform: Some("4c4c4544-0042-3510-8054-b4c04f584432".into()), ..HostFacts::default() };
        let host = HostId::new(&facts, Default::default());
        let mut files = Vec::new();
        for variant in 0..VARIANTS {
            for license in 0..LICENSES {
                for sequence in 1..=SEQUENCES {
                    let caps = caps(variant, license, sequence);
                    let activation = activation(license, sequence, &caps, &host);
                    let bytes = licensor.issue(&activation).expect("terms in order");
                    let terms = Arc::new(trust.activation(&bytes, start()).expect("a file of its own"));
                    files.push(File { terms, caps });
                }
            }
        }
        let issuing_key = files[0].terms.key_sha256();
        let key_labels = KEYS.iter().map(|name| name.parse().expect("a label")).collect();
        Self { files, issuing_key, key_labels }
    }

    /// The file of a license; sequences beyond the last are the last.
    pub(crate) fn file(&self, variant: usize, license: usize, sequence: usize) -> &File {
        let sequence = sequence.clamp(1, SEQUENCES);
        &self.files[(variant * LICENSES + license) * SEQUENCES + sequence - 1]
    }
}

pub(crate) fn license(number: usize) -> LicenseId {
    LicenseId(format!("00000000-0000-4000-8000-0000000000{number:02x}").parse().expect("a license ID"))
}

/// What a file grants: few of everything, so that there is never enough.
fn caps(variant: usize, license: usize, sequence: usize) -> Caps {
    let mut chance = Chance::of(0x1ea5_e401_d000 + variant as u64, (license * 1_000 + sequence) as u64);
    let mut caps = [0; POOLS];
    for pool in SOLD {
        caps[pool] = match (license, chance.below(20)) {
            // The add-on has a few pools, and few of each.
            (1, 0..=13) => 0,
            (1, _) => chance.between(1, 3),
            // Now and then one is not for sale at all, or without end.
            (_, 0) if sequence > 1 => 0,
            (_, 1) => u64::MAX,
            _ => chance.between(1, 6),
        };
    }
    if license == 1 && caps.iter().all(|count| *count == 0) {
        caps[pool(SESSION, false)] = 1;
    }
    caps
}

fn activation(license: usize, sequence: usize, caps: &Caps, host: &HostId) -> Activation {
    let begin = start().plus_ms(-400 * DAY_MS);
    let grants = (0..POOLS).filter(|pool| caps[*pool] > 0).map(|pool| Grant {
        pool: pool_name(pool),
        units: u32::try_from(caps[pool]).map_or(Units::Unlimited, Units::Count),
    });
    Activation {
        license_id: self::license(license + 1),
        sequence: u32::try_from(sequence).expect("few sequences"),
        supersedes: BTreeSet::new(),
        issued: begin,
        account: "Contoso".parse().expect("a label"),
        install_site: "Main".parse().expect("a label"),
        product: "CIC".parse().expect("a label"),
        product_line: "PureConnect".parse().expect("a label"),
        versions: VersionRange {
            from: "4.0".parse().expect("a version"),
            through: "2020.4".parse().expect("a version"),
        },
        model: Model::Subscription,
        level: Level::Production,
        kind: if license == 0 { FileKind::Base } else { FileKind::AddOn },
        system_type: None,
        companion_of: None,
        not_before: begin,
        not_after: WallTime::PERPETUAL_END,
        maintenance_end: None,
        re_register: None,
        ramp: None,
        grace_days: None,
        check_in_endpoint: None,
        usage_destination: None,
        hosts: vec![HostLine { role: HostRole::Primary, id: host.clone(), need: 1, machine_name: None }],
        parts: Vec::new(),
        grants: grants.collect(),
        definitions: definitions(),
        catalog_version: 1,
        root_version: 1,
    }
}

pub(crate) fn pool_name(pool: Pool) -> PoolName {
    let method = if pool % 2 == 1 { Method::Concurrent } else { Method::Assignable };
    PoolName { key: KEYS[pool / 2].parse().expect("a key"), method }
}

fn definitions() -> Vec<KeyDefinition> {
    let name = |key: Key| -> KeyName { KEYS[key].parse().expect("a key") };
    let plain = |key: Key, kind: KeyKind, holders: &[Holder]| KeyDefinition {
        name: name(key),
        title: KEYS[key].to_lowercase().replace('_', " ").parse().expect("a label"),
        kind,
        holders: holders.iter().copied().collect(),
        includes: BTreeSet::new(),
        requires: BTreeSet::new(),
        replaces: BTreeSet::new(),
        application: None,
        role: None,
        group: None,
        terms: Terms::Permanent,
        billing: Billing::None,
        supervisor: false,
        call_port: false,
        level: None,
        follows: None,
        aliases: BTreeSet::new(),
    };
    let both = [Holder::User, Holder::Station];
    let units = |key, kind, call_port| KeyDefinition { call_port, ..plain(key, kind, &[Holder::Server]) };
    vec![
        KeyDefinition { role: Some(Role::BasicStation), ..plain(BASIC, KeyKind::Access, &[Holder::Station]) },
        KeyDefinition { role: Some(Role::Client), ..plain(CLIENT, KeyKind::Access, &both) },
        plain(TRACKER, KeyKind::Access, &both),
        plain(AGENT, KeyKind::Access, &[Holder::User]),
        KeyDefinition { includes: BTreeSet::from([name(AGENT)]), ..plain(SUPER, KeyKind::Access, &[Holder::User]) },
        units(SESSION, KeyKind::Session, true),
        units(TRUNK, KeyKind::Session, true),
        units(SPEECH, KeyKind::Engine, false),
    ]
}
