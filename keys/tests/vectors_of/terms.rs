//! Vectors of the activation file's text and terms, all well signed.

use std::collections::BTreeSet;

use leasehold_keys::{
    activation::{Activation as File, HostLine, HostRole, LicenseId, Model, Superseded, Units},
    definition::{Holder, KeyKind, Role},
    name::KeyName,
    refusal::Reason,
    time::WallTime,
};

use crate::{
    Judged::Activation,
    Vector, accepted, refused,
    vendor::{activation, at, definition, grant, host, issued, issuing, sign},
};

/// The good file's text with one place changed, signed.
fn text(from: &str, to: &str) -> Vec<u8> {
    let text = activation().render();
    assert!(text.contains(from), "{from}");
    sign(&text.replacen(from, to, 1), &[&issuing()])
}

/// The good file with its terms changed, signed.
fn terms(change: impl FnOnce(&mut File)) -> Vec<u8> {
    let mut file = activation();
    change(&mut file);
    issued(&file)
}

fn names(names: &[&str]) -> BTreeSet<KeyName> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

/// A file that is granted virtual cloud and has no host.
fn cloud(change: impl FnOnce(&mut File)) -> Vec<u8> {
    terms(|file| {
        let key = |name: &str, role| {
            let mut key = definition(name, KeyKind::Feature, &[Holder::Server]);
            key.role = Some(role);
            key
        };
        file.hosts.clear();
        file.definitions.push(key("I3_FEATURE_VIRTUAL_CLOUD", Role::VirtualCloud));
        file.definitions.push(key("I3_FEATURE_TRACKING_LOCAL", Role::UsageLocal));
        let mut call_port = definition("I3_ACCESS_ACD_MEDIA_1", KeyKind::Access, &[Holder::User, Holder::Station]);
        call_port.call_port = true;
        file.definitions.push(call_port);
        file.grants.push(grant("I3_FEATURE_VIRTUAL_CLOUD", 1));
        change(file);
    })
}

pub(crate) fn all() -> Vec<Vector> {
    [fields(), values(), terms_of_one_file(), keys(), hosts()].into_iter().flatten().collect()
}

fn fields() -> Vec<Vector> {
    let of = |name, reason, bytes| refused(name, Activation, reason, bytes);
    vec![
        of("unknown-field", Reason::UnknownField, text("sequence = 12", "sequence = 12\nseats = 5")).at_line(4),
        of("unknown-field-in-a-grant", Reason::UnknownField, text("units = 50", "units = 50\nuntil = \"never\"")),
        of("unknown-table", Reason::UnknownField, text("[[grant]]", "[[grants]]")),
        of("missing-field", Reason::MissingField, text("product = \"CIC\"\n", "")),
        of("missing-field-in-a-grant", Reason::MissingField, text("units = 50\n", "")).at_line(23),
        of("missing-holders", Reason::MissingField, text("holders = [\"user\"]\n", "")),
        of("field-twice", Reason::DuplicateField, text("sequence = 12", "sequence = 12\nsequence = 13")).at_line(4),
        of("table-twice", Reason::DuplicateField, text("[[grant]]", "[versions]\nfrom = \"1.0\"\n\n[[grant]]")),
        of("text-for-a-count", Reason::WrongType, text("sequence = 12", "sequence = \"12\"")).at_line(3),
        of("fraction-for-a-count", Reason::WrongType, text("sequence = 12", "sequence = 12.0")).at_line(3),
        of("count-for-a-text", Reason::WrongType, text("account = \"Contoso\"", "account = 5")),
        of("text-for-an-array", Reason::WrongType, text("holders = [\"user\"]", "holders = \"user\"")),
        of("table-for-tables", Reason::WrongType, text("[[grant]]", "[grant]")),
        of(
            "date-time-for-a-text",
            Reason::WrongType,
            text("issued = \"2026-11-01T00:00:00Z\"", "issued = 2026-11-01T00:00:00Z"),
        ),
        of("no-toml", Reason::MalformedToml, text("sequence = 12", "sequence: 12")).at_line(3),
        of("no-value", Reason::MalformedToml, text("sequence = 12", "sequence =")).at_line(3),
        accepted("comments-and-other-spelling", Activation, text("sequence = 12", "# Twelve.\n'sequence'=12 # twelve")),
    ]
}

fn values() -> Vec<Vector> {
    let of = |name, reason, bytes| refused(name, Activation, reason, bytes);
    let count = |name, spelled: &str| of(name, Reason::NotACount, text("units = 50", &format!("units = {spelled}")));
    let time = |name, spelled: &str| {
        of(name, Reason::NotATime, text("issued = \"2026-11-01T00:00:00Z\"", &format!("issued = \"{spelled}\"")))
            .at_line(4)
    };
    let value = |name, from: &str, to: &str| of(name, Reason::BadValue, text(from, to));
    vec![
        count("count-minus-1", "-1"),
        count("count-plus-1", "+1"),
        count("count-2-to-the-32", "4294967296").at_line(25),
        count("count-beyond-64-bits", "99999999999999999999999999"),
        count("count-with-underscore", "1_000"),
        count("count-hexadecimal", "0x10"),
        count("count-minus-0", "-0"),
        count("count-01", "01").at_line(25),
        accepted("count-2-to-the-32-less-1", Activation, text("units = 50", "units = 4294967295")),
        accepted("count-0", Activation, text("units = 50", "units = 0")),
        accepted("count-unlimited", Activation, text("units = 50", "units = \"unlimited\"")),
        value("count-of-another-word", "units = 50", "units = \"infinite\""),
        time("second-60", "2026-11-01T00:00:60Z"),
        time("another-utc-offset", "2026-11-01T00:00:00+01:00"),
        time("utc-offset-of-zero", "2026-11-01T00:00:00+00:00"),
        time("time-with-fraction", "2026-11-01T00:00:00.5Z"),
        time("time-without-t", "2026-11-01 00:00:00Z"),
        time("time-with-small-z", "2026-11-01T00:00:00z"),
        time("no-such-day", "2026-02-30T00:00:00Z"),
        time("hour-24", "2026-11-01T24:00:00Z"),
        value("license-id-in-capitals", "7f3c9a52", "7F3C9A52"),
        value("license-id-no-uuid", "7f3c9a52-", "7f3c9a52"),
        value("sequence-0", "sequence = 12", "sequence = 0"),
        value("unknown-model", "\"subscription\"", "\"rental\""),
        value("unknown-level", "\"production\"", "\"PRODUCTION\""),
        value("versions-reversed", "from = \"4.0\"", "from = \"2021.0\""),
        value("no-version", "from = \"4.0\"", "from = \"4.0-beta\""),
        value("empty-account", "\"Contoso\"", "\"\""),
        value("account-of-257-bytes", "\"Contoso\"", &format!("\"{}\"", "x".repeat(257))),
        value("escaped-control-character", "\"Contoso\"", r#""Con\u0000toso""#),
        value("escaped-line-feed", "\"Contoso\"", r#""Con\ntoso""#),
        value("key-with-a-blank", "name = \"I3_ACCESS_CLIENT\"", "name = \"I3 ACCESS\""),
        value("key-named-like-a-pool", "name = \"I3_ACCESS_CLIENT\"", "name = \"I3_ACCESS_CLIENT_CONCURRENT\""),
        value("holder-twice", "[\"user\"]", "[\"user\", \"user\"]"),
        value("unknown-holder", "[\"user\"]", "[\"nobody\"]"),
        value("endpoint-with-a-blank", "catalog-version", "check-in-endpoint = \"https://a b\"\ncatalog-version"),
    ]
}

fn terms_of_one_file() -> Vec<Vector> {
    let of = |name, reason, bytes| refused(name, Activation, reason, bytes);
    let own = activation().license_id;
    let other = LicenseId("00000000-0000-4000-8000-000000000001".parse().unwrap());
    let supersedes =
        |license_id, sequence| terms(|file| _ = file.supersedes.insert(Superseded { license_id, sequence }));
    let local = |file: &mut File| file.grants.push(grant("I3_FEATURE_TRACKING_LOCAL", 1));
    let unlimited = |pool: &str| {
        let pool = pool.to_owned();
        cloud(move |file| {
            let mut grant = grant(&pool, 0);
            grant.units = Units::Unlimited;
            file.grants.push(grant);
        })
    };
    vec![
        of("not-after-is-not-before", Reason::DatesReversed, terms(|file| file.not_after = file.not_before))
            .at_line(14),
        of("not-after-before-not-before", Reason::DatesReversed, terms(|file| file.not_after = WallTime::default())),
        of("supersedes-its-own-sequence", Reason::SupersedesItself, supersedes(own, 12)),
        of("supersedes-a-later-sequence", Reason::SupersedesItself, supersedes(own, 13)),
        accepted("supersedes-an-earlier-sequence", Activation, supersedes(own, 11)),
        accepted("supersedes-another-license", Activation, supersedes(other, 99)),
        of("supersedes-one-license-twice", Reason::DuplicateSupersedes, {
            let line = format!("\n[[supersedes]]\nlicense-id = \"{other}\"\nsequence = 1\n");
            text("\n[[host]]", &format!("{line}{line}\n[[host]]"))
        }),
        of("grace-of-0-days", Reason::BadGraceDays, terms(|file| file.grace_days = Some(0))),
        of("ramp-at-one", Reason::RampNotMidnight, terms(|file| file.ramp = Some(at("2026-12-01T01:00:00Z"))))
            .at_line(15),
        accepted(
            "ramp-at-midnight",
            Activation,
            terms(|file| {
                file.ramp = Some(at("2026-12-01T00:00:00Z"));
                file.grace_days = Some(1);
            }),
        ),
        accepted("deactivation", Activation, terms(|file| file.grants.clear())),
        accepted(
            "deactivation-without-host",
            Activation,
            terms(|file| {
                file.grants.clear();
                file.hosts.clear();
                file.definitions.clear();
            }),
        ),
        accepted("virtual-cloud", Activation, cloud(|_| ())),
        of("virtual-cloud-with-local-usage", Reason::VirtualCloudLocalUsage, cloud(local)),
        of("virtual-cloud-perpetual", Reason::VirtualCloudPerpetual, cloud(|file| file.model = Model::Perpetual)),
        of(
            "virtual-cloud-unlimited-call-port",
            Reason::VirtualCloudUnlimitedCallPort,
            unlimited("I3_ACCESS_ACD_MEDIA_1"),
        ),
        of(
            "virtual-cloud-unlimited-concurrent-call-port",
            Reason::VirtualCloudUnlimitedCallPort,
            unlimited("I3_ACCESS_ACD_MEDIA_1_CONCURRENT"),
        ),
        accepted("virtual-cloud-unlimited-otherwise", Activation, unlimited("I3_ACCESS_CLIENT")),
        of(
            "virtual-cloud-of-0-units",
            Reason::NoHost,
            cloud(|file| file.grants.last_mut().unwrap().units = Units::Count(0)),
        ),
    ]
}

fn keys() -> Vec<Vector> {
    let of = |name, reason, bytes| refused(name, Activation, reason, bytes);
    let key = |name: &str| definition(name, KeyKind::Access, &[Holder::User]);
    let with =
        |change: fn(&mut leasehold_keys::definition::KeyDefinition)| terms(|file| change(&mut file.definitions[0]));
    let circle = |requires: bool| {
        terms(|file| {
            for (name, next) in [("B", "C"), ("C", "D"), ("D", "B"), ("A", "B")] {
                let mut key = key(name);
                let set = if requires { &mut key.requires } else { &mut key.includes };
                *set = names(&[next]);
                file.definitions.push(key);
            }
        })
    };
    vec![
        of(
            "duplicate-grant",
            Reason::DuplicateGrant,
            terms(|file| file.grants.push(grant("I3_ACCESS_CLIENT_CONCURRENT", 1))),
        )
        .at_line(27),
        accepted("both-pools-of-one-key", Activation, terms(|file| file.grants.push(grant("I3_ACCESS_CLIENT", 1)))),
        of(
            "duplicate-definition",
            Reason::DuplicateDefinition,
            terms(|file| file.definitions.push(key("I3_ACCESS_CLIENT"))),
        )
        .at_line(32),
        of(
            "alias-of-another-key",
            Reason::DuplicateDefinition,
            terms(|file| {
                let mut other = key("OTHER");
                other.aliases = names(&["I3_ACCESS_CLIENT"]);
                file.definitions.push(other);
            }),
        ),
        of("alias-of-itself", Reason::DuplicateDefinition, with(|key| key.aliases = names(&["I3_ACCESS_CLIENT"]))),
        of(
            "grant-of-an-undefined-key",
            Reason::UndefinedKey,
            terms(|file| file.grants.push(grant("I3_ACCESS_OTHER", 1))),
        ),
        of(
            "grant-by-an-alias",
            Reason::UndefinedKey,
            terms(|file| {
                file.definitions[0].aliases = names(&["I3_CLIENT_ACCESS"]);
                file.grants.push(grant("I3_CLIENT_ACCESS", 1));
            }),
        ),
        of("includes-an-undefined-key", Reason::UndefinedKey, with(|key| key.includes = names(&["OTHER"]))),
        of("requires-an-undefined-key", Reason::UndefinedKey, with(|key| key.requires = names(&["OTHER"]))),
        of("replaces-an-undefined-key", Reason::UndefinedKey, with(|key| key.replaces = names(&["OTHER"]))),
        of("follows-an-undefined-key", Reason::UndefinedKey, with(|key| key.follows = Some("OTHER".parse().unwrap()))),
        of("includes-itself", Reason::CircularKey, with(|key| key.includes = names(&["I3_ACCESS_CLIENT"]))),
        of("requires-itself", Reason::CircularKey, with(|key| key.requires = names(&["I3_ACCESS_CLIENT"]))),
        of("replaces-itself", Reason::CircularKey, with(|key| key.replaces = names(&["I3_ACCESS_CLIENT"]))),
        of("follows-itself", Reason::CircularKey, with(|key| key.follows = Some("I3_ACCESS_CLIENT".parse().unwrap()))),
        of("includes-in-a-circle", Reason::CircularKey, circle(false)).at_line(38),
        of("requires-in-a-circle", Reason::CircularKey, circle(true)),
        accepted(
            "includes-one-key-by-two-ways",
            Activation,
            terms(|file| {
                for (name, next) in [("A", &["B", "C"][..]), ("B", &["D"]), ("C", &["D"]), ("D", &[])] {
                    let mut key = key(name);
                    key.includes = names(next);
                    file.definitions.push(key);
                }
            }),
        ),
        of("no-holders", Reason::NoHolder, with(|key| key.holders.clear())).at_line(27),
        of("concurrent-pool-of-stations", Reason::NotConcurrent, with(|key| key.holders = [Holder::Station].into())),
        of("concurrent-pool-of-a-feature", Reason::NotConcurrent, with(|key| key.kind = KeyKind::Feature)),
        of("basic-station-held-by-users", Reason::HoldersUnfit, with(|key| key.role = Some(Role::BasicStation))),
        of(
            "two-basic-stations",
            Reason::RoleUnfit,
            terms(|file| {
                for name in ["A", "B"] {
                    let mut key = definition(name, KeyKind::Access, &[Holder::Station]);
                    key.role = Some(Role::BasicStation);
                    file.definitions.push(key);
                }
            }),
        ),
    ]
}

fn hosts() -> Vec<Vector> {
    let of = |name, reason, bytes| refused(name, Activation, reason, bytes);
    let switchover = || HostLine { role: HostRole::Switchover, ..host() };
    let id = host().id.to_string();
    vec![
        of("no-host", Reason::NoHost, terms(|file| file.hosts.clear())),
        of("switchover-without-primary", Reason::NoHost, terms(|file| file.hosts = vec![switchover()])),
        accepted("primary-and-switchover", Activation, terms(|file| file.hosts.push(switchover()))),
        of("two-primary-hosts", Reason::DuplicateHostRole, terms(|file| file.hosts.push(host()))).at_line(23),
        of(
            "two-switchover-hosts",
            Reason::DuplicateHostRole,
            terms(|file| file.hosts.extend([switchover(), switchover()])),
        ),
        of("need-6-of-5", Reason::NeedOutOfRange, text("need = 3", "need = 6")).at_line(20),
        of("need-0-of-5", Reason::NeedOutOfRange, text("need = 3", "need = 0")),
        of("need-259-of-5", Reason::NeedOutOfRange, text("need = 3", "need = 259")),
        of("host-id-with-a-wrong-character", Reason::BadHostId, {
            let other = if &id[3..4] == "0" { "1" } else { "0" };
            text(&id[..4], &format!("{}{other}", &id[..3]))
        })
        .at_line(21),
    ]
}
