//! A fixed catalog with one key of every sort that the rules speak of.

use std::collections::BTreeSet;

use leasehold_keys::{
    definition::{Application, Billing, Holder, KeyDefinition, KeyKind, MediaLevel, Role, Terms},
    name::KeyName,
};

fn key(text: &str) -> KeyName {
    text.parse().unwrap()
}

fn keys(names: &[&str]) -> BTreeSet<KeyName> {
    names.iter().map(|name| key(name)).collect()
}

const USER: &[Holder] = &[Holder::User];
const STATION: &[Holder] = &[Holder::Station];
const BOTH: &[Holder] = &[Holder::User, Holder::Station];
const SERVER: &[Holder] = &[Holder::Server];

/// A definition without anything special.
pub(crate) fn plain(name: &str, kind: KeyKind, holders: &[Holder]) -> KeyDefinition {
    KeyDefinition {
        name: key(name),
        title: name.to_lowercase().replace('_', " ").parse().unwrap(),
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
    }
}

fn access(name: &str, holders: &[Holder]) -> KeyDefinition {
    plain(name, KeyKind::Access, holders)
}

fn application(name: &str, several: bool) -> Option<Application> {
    Some(Application { name: name.parse().unwrap(), several })
}

/// All keys. Access keys may be granted in both pools; the others in the assignable one.
pub(crate) fn definitions() -> Vec<KeyDefinition> {
    let media = |name, level| KeyDefinition { level: Some(level), ..access(name, BOTH) };
    vec![
        KeyDefinition {
            role: Some(Role::BasicStation),
            aliases: keys(&["I3_LICENSE_BASIC_STATION"]),
            ..access("BASIC_STATION", STATION)
        },
        KeyDefinition {
            role: Some(Role::Client),
            aliases: keys(&["I3_ACCESS_CLIENT", "I3_CLIENT_ACCESS"]),
            ..access("CLIENT", BOTH)
        },
        media("MEDIA_1", MediaLevel::One),
        media("MEDIA_2", MediaLevel::Two),
        media("MEDIA_3", MediaLevel::Unlimited),
        KeyDefinition { aliases: keys(&["I3_ACCESS_TRACKER"]), ..access("TRACKER", BOTH) },
        // Process automation: each level brings the ones below it.
        access("DIRECT", USER),
        KeyDefinition { includes: keys(&["DIRECT"]), ..access("GROUP", USER) },
        KeyDefinition { includes: keys(&["GROUP"]), ..access("MONITOR", USER) },
        KeyDefinition { includes: keys(&["MONITOR"]), ..access("DESIGNER", USER) },
        // A chain of prerequisites over users' keys and the site's.
        access("RECORDER", USER),
        KeyDefinition {
            requires: keys(&["ANALYZER_SERVER", "RECORDER_SERVER", "RECORDER"]),
            ..access("ANALYZER", USER)
        },
        plain("RECORDER_SERVER", KeyKind::Server, SERVER),
        KeyDefinition { requires: keys(&["RECORDER_SERVER"]), ..plain("ANALYZER_SERVER", KeyKind::Server, SERVER) },
        // The portal works with its server and an organization; the marquee alone.
        plain("PORTAL_SERVER", KeyKind::Server, SERVER),
        KeyDefinition {
            role: Some(Role::Organization),
            requires: keys(&["PORTAL_SERVER"]),
            ..plain("ORGANIZATION", KeyKind::Feature, SERVER)
        },
        KeyDefinition { requires: keys(&["PORTAL_SERVER", "ORGANIZATION"]), ..access("PORTAL", USER) },
        plain("MARQUEE", KeyKind::Feature, SERVER),
        // A bundle; a UC user's key may stand beside an agent's, the bundle stands alone.
        KeyDefinition { application: application("Vision360", true), ..access("V360_UC", USER) },
        KeyDefinition {
            application: application("Vision360", true),
            includes: keys(&["V360_UC"]),
            ..access("V360_AGENT", USER)
        },
        KeyDefinition {
            application: application("Vision360", false),
            includes: keys(&["V360_AGENT", "UNITY"]),
            ..access("V360_BUNDLE", USER)
        },
        access("UNITY", USER),
        KeyDefinition { terms: Terms::Timed, ..access("DAY_PASS", USER) },
        KeyDefinition { terms: Terms::Timed, ..media("MEDIA_LOAN", MediaLevel::Unlimited) },
        KeyDefinition { supervisor: true, ..access("SUPERVISOR", USER) },
        // Devices follow what their owner holds.
        access("LIVE", USER),
        access("ANALYTICS", USER),
        KeyDefinition {
            application: application("Wallboard", false),
            follows: Some(key("LIVE")),
            ..access("WALL_LIVE", STATION)
        },
        KeyDefinition {
            application: application("Wallboard", false),
            follows: Some(key("ANALYTICS")),
            ..access("WALL_ANALYTICS", STATION)
        },
        KeyDefinition {
            application: application("Wallboard", false),
            follows: Some(key("DAY_PASS")),
            ..access("WALL_DAY", STATION)
        },
        // Bundles that bring a media level, and the basic station key.
        KeyDefinition { includes: keys(&["MEDIA_2"]), ..access("AGENT_BUNDLE", USER) },
        KeyDefinition { includes: keys(&["BASIC_STATION"]), ..access("DESK_BUNDLE", STATION) },
        // Counted in units.
        KeyDefinition { call_port: true, ..plain("SESSION", KeyKind::Session, SERVER) },
        KeyDefinition { call_port: true, ..plain("TRUNK", KeyKind::Session, SERVER) },
        plain("SPEECH", KeyKind::Engine, SERVER),
        plain("FAX_PORT", KeyKind::Hardware, SERVER),
        KeyDefinition { requires: keys(&["RECORDER_SERVER"]), ..plain("SCREEN_RECORDING", KeyKind::Session, SERVER) },
        KeyDefinition {
            role: Some(Role::Updates),
            aliases: keys(&["I3_FEATURE_SU_ALLOWED"]),
            ..plain("UPDATES", KeyKind::Feature, SERVER)
        },
        KeyDefinition { role: Some(Role::UsageUpload), ..plain("USAGE_UPLOAD", KeyKind::Feature, SERVER) },
        KeyDefinition { role: Some(Role::UsageLocal), ..plain("USAGE_LOCAL", KeyKind::Feature, SERVER) },
        KeyDefinition { role: Some(Role::VirtualCloud), ..plain("VIRTUAL_CLOUD", KeyKind::Feature, SERVER) },
    ]
}
