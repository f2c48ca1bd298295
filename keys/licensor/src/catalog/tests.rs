//! 004's part tables and the faults that a catalog's author can make.

use std::collections::BTreeSet;

use leasehold_keys::{
    activation::{Grant, Level, Units},
    definition::{Billing, Holder, KeyKind, MediaLevel, Role},
};

use super::*;

fn units(number: &str, assigned: u32, pooled: u32) -> PartUnits {
    PartUnits { number: number.parse().unwrap(), assigned, pooled }
}

fn written(grants: &[Grant]) -> BTreeSet<String> {
    grants.iter().map(|grant| format!("{} {}", grant.pool, grant.units)).collect()
}

fn set(lines: &[&str]) -> BTreeSet<String> {
    lines.iter().map(|line| (*line).to_owned()).collect()
}

fn key(name: &str) -> KeyDefinition {
    let catalog = Catalog::pureconnect();
    catalog.key(&name.parse().unwrap()).unwrap_or_else(|| panic!("{name}")).clone()
}

fn names(names: &[&str]) -> BTreeSet<KeyName> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

#[test]
fn the_part_tables_of_the_source() {
    // Part, assigned and pooled as 004's tables order them; what the order grants.
    let rows: [(&str, u32, u32, &str, &[&str]); 7] = [
        ("SW-001-4.0-AL01", 0, 25, "Basic Station", &["I3_LICENSE_BASIC_STATION 25"]),
        ("SW-001-4.0-AL02", 5, 0, "Business Client", &["I3_LICENSE_BASIC_STATION 5", "I3_ACCESS_CLIENT 5"]),
        (
            "SW-001-4.0-AL03",
            5,
            25,
            "Phone-only Call Center",
            &["I3_LICENSE_BASIC_STATION 30", "I3_ACCESS_ACD_MEDIA_1 5", "I3_ACCESS_ACD_MEDIA_1_CONCURRENT 25"],
        ),
        (
            "SW-001-4.0-AL04",
            5,
            25,
            "Contact Center Level 1",
            &[
                "I3_LICENSE_BASIC_STATION 30",
                "I3_ACCESS_CLIENT 5",
                "I3_ACCESS_ACD_MEDIA_1 5",
                "I3_ACCESS_CLIENT_CONCURRENT 25",
                "I3_ACCESS_ACD_MEDIA_1_CONCURRENT 25",
            ],
        ),
        (
            "SW-001-4.0-AA01",
            2,
            0,
            "Interaction Supervisor Add-on",
            &[
                "I3_ACCESS_DIALER_SUPERVISOR_PLUGIN 2",
                "I3_ACCESS_WORKGROUP_SUPERVISOR_PLUGIN 2",
                "I3_ACCESS_HISTORICAL_REPORT_SUPERVISOR_PLUGIN 2",
            ],
        ),
        (
            "SW-001-4.0-AA02",
            1,
            1,
            "Interaction Scripter Add-on",
            &["I3_ACCESS_INTERACTION_SCRIPTER_ADDON 1", "I3_ACCESS_INTERACTION_SCRIPTER_ADDON_CONCURRENT 1"],
        ),
        (
            "SW-001-4.0-AA17",
            2,
            2,
            "Interaction Report Assistant",
            &[
                "I3_ACCESS_REPORT_ASSISTANT_SUPERVISOR_PLUGIN 2",
                "I3_ACCESS_REPORT_ASSISTANT_SUPERVISOR_PLUGIN_CONCURRENT 2",
            ],
        ),
    ];
    let catalog = Catalog::pureconnect();
    for (number, assigned, pooled, description, grants) in rows {
        assert_eq!(catalog.parts()[&number.parse::<Label>().unwrap()].description.as_str(), description);
        assert_eq!(written(&catalog.expand(&[units(number, assigned, pooled)]).unwrap()), set(grants), "{number}");
        // The tables print one unit's keys as (1): one assigned unit gives one of each key, none of them concurrent.
        let one = catalog.expand(&[units(number, 1, 0)]).unwrap();
        let assignable: Vec<_> = grants.iter().filter(|line| !line.contains("_CONCURRENT")).collect();
        assert_eq!(one.len(), assignable.len(), "{number}");
        assert!(one.iter().all(
            |grant| grant.units == Units::Count(1) && grant.pool.method == leasehold_keys::name::Method::Assignable
        ));
    }
    assert_eq!(catalog.parts().len(), rows.len());

    // All rows in one order: units of one pool add up over parts.
    let all: Vec<_> = rows.iter().map(|(number, assigned, pooled, ..)| units(number, *assigned, *pooled)).collect();
    let sum = written(&catalog.expand(&all).unwrap());
    for line in ["I3_LICENSE_BASIC_STATION 90", "I3_ACCESS_CLIENT 10", "I3_ACCESS_ACD_MEDIA_1_CONCURRENT 50"] {
        assert!(sum.contains(line), "{line} in {sum:?}");
    }
    assert!(!sum.iter().any(|line| line.starts_with("I3_LICENSE_BASIC_STATION_CONCURRENT")));
}

#[test]
fn an_order_tells_all_its_faults() {
    let catalog = Catalog::pureconnect();
    let order = [
        units("SW-001-4.0-AL99", 1, 0),
        units("SW-001-4.0-AL01", 0, 0),
        units("SW-001-4.0-AL04", u32::MAX, 1),
        units("SW-001-4.0-AL04", 1, 1),
    ];
    let faults = catalog.expand(&order).unwrap_err();
    let pool = |name: &str| name.parse().unwrap();
    assert_eq!(
        faults,
        [
            OrderFault::UnknownPart { number: "SW-001-4.0-AL99".parse().unwrap(), product: "CIC".parse().unwrap() },
            OrderFault::NoUnits("SW-001-4.0-AL01".parse().unwrap()),
            OrderFault::PartTwice("SW-001-4.0-AL04".parse().unwrap()),
            OrderFault::TooMany { pool: pool("I3_LICENSE_BASIC_STATION") },
        ]
    );
}

#[test]
fn process_automation_levels_bring_what_is_below_them() {
    assert!(key("I3_ACCESS_IPA_DIRECT_ROUTED").includes.is_empty());
    assert_eq!(key("I3_ACCESS_IPA_GROUP_ROUTED").includes, names(&["I3_ACCESS_IPA_DIRECT_ROUTED"]));
    assert_eq!(key("I3_ACCESS_IPA_PROCESS_MONITOR").includes, names(&["I3_ACCESS_IPA_GROUP_ROUTED"]));
    assert_eq!(key("I3_ACCESS_IPA_PROCESS_DESIGNER").includes, names(&["I3_ACCESS_IPA_PROCESS_MONITOR"]));
    for (name, stations_too) in [
        ("I3_ACCESS_IPA_DIRECT_ROUTED", true),
        ("I3_ACCESS_IPA_GROUP_ROUTED", true),
        ("I3_ACCESS_IPA_PROCESS_MONITOR", false),
        ("I3_ACCESS_IPA_PROCESS_DESIGNER", false),
    ] {
        assert!(key(name).holders.contains(&Holder::User), "{name}");
        assert_eq!(key(name).holders.contains(&Holder::Station), stations_too, "{name}");
    }
}

#[test]
fn the_twelve_add_on_categories_of_the_source() {
    let rows: [(&str, &[&str]); 12] = [
        ("Analyzer", &["I3_ACCESS_ANALYZER"]),
        ("CX Insights", &["I3_ACCESS_ANALYTICS_CORE"]),
        ("Dialer", &["I3_ACCESS_DIALER_ADDON"]),
        ("Feedback", &["I3_ACCESS_FEEDBACK"]),
        ("Multi Channel", &["I3_ACCESS_ACD_MEDIA_3_PLUS"]),
        ("Quality Manager", &["I3_ACCESS_RECORDER_QUALITYMONITORING", "I3_ACCESS_RECORDER_QUALITYMONITORING_AGENT"]),
        ("Recorder", &["13_ACCESS_RECORDER"]),
        ("Salesforce Agent", &["13_LICENSE_SALESFORCE", "13_LICENSE_SALESFORCE_BUSINESSUSER"]),
        ("Social Media ACD", &["I3_ACCESS_ACD_SOCIAL_MEDIA"]),
        (
            "Supervisor",
            &[
                "I3_ACCESS_WORKGROUP_SUPERVISOR_PLUGIN",
                "I3_ACCESS_DIALER_SUPERVISOR_PLUS",
                "I3_ACCESS_HISTORICAL_REPORT_SUPERVISOR_PLUGIN",
                "I3_ACCESS_REPORT_ASSISTANT_SUPERVISOR_PLUGIN",
                "I3_ACCESS_SYSTEM_STATUS_SUPERVISOR_PLUGIN",
            ],
        ),
        ("Web Portal Agent", &["13_ACCESS_IWP_USER_AGENT"]),
        ("Web Portal Supervisor", &["13_ACCESS_IWP_USER_ENTERPRISE"]),
    ];
    let catalog = Catalog::pureconnect();
    for (category, keys) in rows {
        let expected: BTreeSet<_> = keys.iter().map(|name| key(name).name).collect();
        let found: BTreeSet<_> = catalog
            .keys()
            .filter(|key| matches!(&key.billing, Billing::AddOn(name) if name.as_str() == category))
            .map(|key| key.name.clone())
            .collect();
        assert_eq!(found, expected, "{category}");
    }
    let categories: BTreeSet<_> = catalog
        .keys()
        .filter_map(|key| match &key.billing {
            Billing::AddOn(name) => Some(name.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(categories.len(), rows.len());
    assert_eq!(key("I3_CLIENT_ACCESS").billing, Billing::BusinessUser);
    assert_eq!(key("I3_ACCESS_ACD_MEDIA_1").billing, Billing::Agent);
}

#[test]
fn keys_that_the_rules_name() {
    assert_eq!(key("I3_CLIENT_ACCESS").name, key("I3_ACCESS_CLIENT").name);
    assert_eq!(key("I3_FEATURE_USAGE_TRACKING").name, key("I3_FEATURE_USAGE_TRACKING_UPLOAD").name);
    assert_eq!(key("I3_LICENSE_BASIC_STATION").holders, BTreeSet::from([Holder::Station]));
    assert_eq!(
        key("I3_ACCESS_ANALYZER").requires,
        names(&["I3_LICENSE_ANALYZER_SERVER", "I3_LICENSE_RECORDER_SERVER", "I3_ACCESS_RECORDER"])
    );
    for name in ["I3_ACCESS_IWP_USER_AGENT", "I3_ACCESS_IWP_USER_ENTERPRISE", "I3_FEATURE_IWP_SCHEDULED_REPORTS"] {
        assert_eq!(key(name).requires, names(&["I3_LICENSE_IWP_SERVER", "I3_TENANT_IWP_ORGANIZATION"]), "{name}");
    }
    assert!(key("I3_FEATURE_MARQUEE").requires.is_empty());
    for (name, level) in [
        ("I3_ACCESS_ACD_MEDIA_1", MediaLevel::One),
        ("I3_ACCESS_ACD_MEDIA_2", MediaLevel::Two),
        ("I3_ACCESS_ACD_MEDIA_3_PLUS", MediaLevel::Unlimited),
    ] {
        assert_eq!(key(name).level, Some(level), "{name}");
    }
    for (name, role) in [
        ("I3_LICENSE_BASIC_STATION", Role::BasicStation),
        ("I3_ACCESS_CLIENT", Role::Client),
        ("I3_TENANT_IWP_ORGANIZATION", Role::Organization),
        ("I3_FEATURE_SU_ALLOWED", Role::Updates),
        ("I3_FEATURE_USAGE_TRACKING_UPLOAD", Role::UsageUpload),
        ("I3_FEATURE_USAGE_TRACKING_LOCAL", Role::UsageLocal),
        ("I3_FEATURE_VIRTUAL_CLOUD", Role::VirtualCloud),
    ] {
        assert_eq!(key(name).role, Some(role), "{name}");
    }
    let catalog = Catalog::pureconnect();
    assert!(catalog.keys().any(|key| key.call_port && key.kind == KeyKind::Session));
    for kind in
        [KeyKind::Server, KeyKind::Access, KeyKind::Feature, KeyKind::Engine, KeyKind::Session, KeyKind::Hardware]
    {
        assert!(catalog.keys().any(|key| key.kind == kind), "{kind:?}");
    }
    let supervisors: Vec<_> = catalog.keys().filter(|key| key.supervisor).collect();
    assert!(supervisors.iter().all(|key| { key.group.as_ref().is_some_and(|group| group.as_str() == "supervisor") }));
    assert_eq!(supervisors.len(), 6);
}

#[test]
fn definitions_follow_references_to_their_end() {
    let catalog = Catalog::pureconnect();
    let grant = |pool: &str| Grant { pool: pool.parse().unwrap(), units: Units::Count(1) };
    let found: BTreeSet<_> = catalog
        .definitions_for(&[grant("I3_ACCESS_IPA_PROCESS_DESIGNER"), grant("I3_ACCESS_ANALYZER_CONCURRENT")])
        .into_iter()
        .map(|key| key.name)
        .collect();
    let expected = names(&[
        "I3_ACCESS_IPA_PROCESS_DESIGNER",
        "I3_ACCESS_IPA_PROCESS_MONITOR",
        "I3_ACCESS_IPA_GROUP_ROUTED",
        "I3_ACCESS_IPA_DIRECT_ROUTED",
        "I3_ACCESS_ANALYZER",
        "I3_LICENSE_ANALYZER_SERVER",
        "I3_LICENSE_RECORDER_SERVER",
        "I3_ACCESS_RECORDER",
        // The rules ask for these two whether or not they were bought.
        "I3_LICENSE_BASIC_STATION",
        "I3_ACCESS_CLIENT",
    ]);
    assert_eq!(found, expected);
    assert!(catalog.definitions_for(&[]).is_empty());
}

#[test]
fn the_two_shipped_catalogs_agree_on_keys_they_share() {
    let cic = Catalog::pureconnect();
    let media =
        Catalog::all_shipped().into_iter().find(|catalog| catalog.product().as_str() == "Media Server").unwrap();
    assert_eq!(media.companion_of(), Some(cic.product()));
    let mut shared = 0;
    for key in media.keys() {
        if let Some(same) = cic.key(&key.name) {
            assert_eq!(same, key);
            shared += 1;
        }
    }
    assert_eq!(shared, 4);
}

/// A catalog of two keys, with `more` after it.
fn with(more: &str) -> String {
    format!(
        r#"format = "leasehold/catalog/1"
product = "P"
product-line = "L"
version = 1
versions = {{ from = "1.0", through = "2.0" }}
levels = ["production"]

[key.A]
title = "A"
kind = "access"

[key.S]
title = "S"
kind = "session"

{more}"#
    )
}

fn faults(text: &str) -> Vec<String> {
    Catalog::parse(text).expect_err("the catalog is faulty").iter().map(ToString::to_string).collect()
}

#[test]
fn a_small_catalog_reads() {
    let catalog = Catalog::parse(&with("")).unwrap();
    assert_eq!(catalog.levels(), [Level::Production]);
    assert_eq!(catalog.keys().count(), 2);
}

#[test]
fn each_fault_has_its_line_and_its_remedy() {
    let rows = [
        ("[key.B]\ntitle = \"B\"", "line 16: key.B: `kind` is missing"),
        (
            "[key.B]\ntitle = \"B\"\nkind = \"acess\"",
            "line 18: key.B.kind: `acess` is not one of server, access, feature, engine, session, hardware",
        ),
        (
            "[key.B]\ntitle = \"B\"\nkind = \"access\"\nholder = [\"user\"]",
            "line 19: key.B.holder: `holder` is not a field known here",
        ),
        (
            "[key.B]\ntitle = \"B\"\nkind = \"access\"\nholders = []",
            "line 19: key.B.holders: names nobody; a key that none can hold is no use",
        ),
        (
            "[key.B]\ntitle = \"B\"\nkind = \"access\"\nrequires = [\"C\"]",
            "line 19: key.B.requires: C is defined nowhere in this catalog; add [key.C] or correct the name",
        ),
        (
            "[key.B]\ntitle = \"B\"\nkind = \"access\"\nincludes = [\"B\"]",
            "line 19: key.B.includes: names the key itself",
        ),
        (
            "[key.B]\ntitle = \"B\"\nkind = \"access\"\naliases = [\"A\"]",
            "line 19: key.B.aliases: A is the name of a key already",
        ),
        (
            "[key.B]\ntitle = \"B\"\nkind = \"access\"\naliases = [\"C\", \"C\"]",
            "line 19: key.B.aliases: C stands here twice",
        ),
        (
            "[key.B]\ntitle = \"B\"\nkind = \"feature\"\nholders = [\"user\"]",
            "line 19: key.B.holders: only access keys are held by users and stations; this one is the server's",
        ),
        (
            "[key.B]\ntitle = \"B\"\nkind = \"access\"\nrole = \"basic-station\"",
            "line 16: key.B.holders: a basic station key is held by stations only",
        ),
        ("[key.B]\ntitle = \"B\"\nkind = \"access\"\nlevel = 3", "line 19: key.B.level: is not 1, 2 or \"unlimited\""),
        (
            "[key.B]\ntitle = \"B\"\nkind = \"access\"\ncall-port = true",
            "line 19: key.B.call-port: call ports are counted: a session, engine or hardware key",
        ),
        (
            "[key.B]\ntitle = \"B\"\nkind = \"access\"\nsupervisor = 1",
            "line 19: key.B.supervisor: is an integer; write true or false",
        ),
        (
            "[key.B_CONCURRENT]\ntitle = \"B\"\nkind = \"access\"",
            "line 16: key.B_CONCURRENT: `B_CONCURRENT` cannot be a name: a key's name must not end in _CONCURRENT: that names the key's concurrent pool",
        ),
        ("[part.P1]\ndescription = \"D\"", "line 16: part.P1: grants nothing; give `assigned`, `pooled` or both"),
        (
            "[part.P1]\ndescription = \"D\"\nassigned = { A = 0 }",
            "line 18: part.P1.assigned.A: is not a whole number from 1 to 4294967295",
        ),
        (
            "[part.P1]\ndescription = \"D\"\npooled = { S_CONCURRENT = 1 }",
            "line 18: part.P1.pooled.S_CONCURRENT: there is no concurrent pool of a key that users do not hold",
        ),
        (
            "[part.P1]\ndescription = \"D\"\nassigned = { Z = 1 }",
            "line 18: part.P1.assigned.Z: Z is defined nowhere in this catalog; add [key.Z] or correct the name",
        ),
        ("[key.A]\ntitle = \"again\"", "line 16: duplicate key"),
        ("[key", "line 16: unclosed table, expected `]`"),
    ];
    for (more, expected) in rows {
        let all = faults(&with(more));
        assert!(all.iter().any(|fault| fault == expected), "{more}\nexpected: {expected}\ngot: {all:#?}");
    }
}

#[test]
fn circles_are_told_once_with_their_way() {
    let text = with(
        r#"[key.X]
title = "X"
kind = "access"
includes = ["Y"]
[key.Y]
title = "Y"
kind = "access"
includes = ["Z"]
[key.Z]
title = "Z"
kind = "access"
includes = ["X"]
"#,
    );
    assert_eq!(faults(&text), ["line 19: key.X.includes: a circle: X → Y → Z → X"]);
}

#[test]
fn all_faults_come_at_once() {
    let text = "format = \"leasehold/catalog/2\"\nversion = 0\nlevels = []\nextra = 1\n[key.A]\nkind = \"access\"\nincludes = [\"B\"]\n";
    let all = faults(text);
    assert_eq!(all.len(), 9, "{all:#?}");
}

#[test]
fn no_mutilation_of_a_catalog_is_more_than_faulty() {
    let lines: Vec<&str> = PURECONNECT.lines().collect();
    let count = lines.len();
    let mut faulty = 0;
    for cut in (0..count).step_by(3) {
        let without: String =
            lines.iter().enumerate().filter(|(index, _)| *index != cut).map(|(_, line)| format!("{line}\n")).collect();
        for text in [without.as_str(), &PURECONNECT[..PURECONNECT.len() * cut / count]] {
            if let Err(faults) = Catalog::parse(text) {
                faulty += 1;
                assert!(faults.iter().all(|fault| (1..=count + 1).contains(&fault.line)), "{faults:?}");
                assert!(!faults.is_empty());
            }
        }
    }
    assert!(faulty > count / 3, "{faulty}");
}
