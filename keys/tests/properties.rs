//! What must hold of any file: written terms are read again as they were; no bytes make a reader panic.

mod vendor;

use std::collections::BTreeSet;

use leasehold_keys::{
    activation::{Activation, FileKind, HostRole, Level, LicenseId, Model, Part, Superseded, Units},
    definition::{Application, Billing, Holder, KeyDefinition, KeyKind, MediaLevel, Role, Terms},
    dev::DevLicensor,
    host::HostId,
    key::PublicKey,
    name::{KeyName, Label, Method, PoolName},
    note::{self, Note},
    receipt::DeactivationReceipt,
    request::HostRequest,
    root::{RevokedKey, Root},
    time::{DAY_MS, SECOND_MS, WallTime},
    trust::Trust,
    usage::UsageReceipt,
};
use proptest::{collection, option, prelude::*, sample};
use vendor::{activation, definition, host, hybrid_root, issued, issuing, now, root, sign, signed_root};

fn label() -> impl Strategy<Value = Label> {
    r#"[A-Za-zäß"\\#'=\[\]日—-][ A-Za-z0-9äß"\\#'=.日—-]{0,40}[A-Za-z"\\]"#.prop_map(|text| text.parse().unwrap())
}

fn key_name() -> impl Strategy<Value = KeyName> {
    "[A-Z][A-Z0-9_.-]{0,30}X".prop_map(|text| text.parse().unwrap())
}

fn time() -> impl Strategy<Value = WallTime> {
    // 1970 to 9999, whole seconds.
    (0..253_402_300_800_i64).prop_map(|seconds| WallTime::from_ms(seconds * SECOND_MS))
}

fn key() -> impl Strategy<Value = KeyDefinition> {
    let kinds =
        [KeyKind::Server, KeyKind::Access, KeyKind::Feature, KeyKind::Engine, KeyKind::Session, KeyKind::Hardware];
    let roles = [Role::Client, Role::Organization, Role::Updates, Role::UsageUpload];
    let billing = prop_oneof![
        Just(Billing::None),
        Just(Billing::BusinessUser),
        Just(Billing::Agent),
        label().prop_map(Billing::AddOn)
    ];
    let levels = [MediaLevel::One, MediaLevel::Two, MediaLevel::Unlimited];
    let holders = sample::subsequence(vec![Holder::User, Holder::Station, Holder::Server], 1..=3);
    let application = (label(), any::<bool>()).prop_map(|(name, several)| Application { name, several });
    (
        (key_name(), label(), sample::select(kinds.to_vec()), holders),
        (option::of(sample::select(roles.to_vec())), option::of(label()), any::<bool>(), billing),
        (any::<bool>(), any::<bool>(), option::of(sample::select(levels.to_vec())), option::of(application)),
    )
        .prop_map(
            |(
                (name, title, kind, holders),
                (role, group, timed, billing),
                (supervisor, call_port, level, application),
            )| {
                KeyDefinition {
                    title,
                    holders: holders.into_iter().collect(),
                    role,
                    group,
                    terms: if timed { Terms::Timed } else { Terms::Permanent },
                    billing,
                    supervisor,
                    call_port,
                    level,
                    application,
                    ..definition(name.as_str(), kind, &[])
                }
            },
        )
}

/// Keys of distinct names; each refers only to later ones, so that there is no circle.
fn keys() -> impl Strategy<Value = Vec<KeyDefinition>> {
    (collection::vec(key(), 1..8), any::<u64>()).prop_map(|(mut keys, links)| {
        keys.sort_by(|a, b| a.name.cmp(&b.name));
        keys.dedup_by(|a, b| a.name == b.name);
        let names: Vec<KeyName> = keys.iter().map(|key| key.name.clone()).collect();
        let mut bits = (0..64).map(|bit| links >> bit & 1 == 1).cycle();
        let mut draw = || bits.next().unwrap_or_default();
        for (index, key) in keys.iter_mut().enumerate() {
            for later in &names[index + 1..] {
                for set in [&mut key.includes, &mut key.requires, &mut key.replaces] {
                    if draw() {
                        set.insert(later.clone());
                    }
                }
                if draw() {
                    key.follows = Some(later.clone());
                }
            }
            if draw() {
                key.aliases = BTreeSet::from([format!("{}.ALIAS", key.name).parse().unwrap()]);
            }
        }
        keys
    })
}

prop_compose! {
    fn terms()(
        keys in keys(),
        units in collection::vec(prop_oneof![any::<u32>().prop_map(Units::Count), Just(Units::Unlimited)], 16),
        labels in (label(), label(), label(), label()),
        optional in (option::of(label()), option::of(label()), option::of(label())),
        times in (time(), time(), 0..i64::from(u32::MAX), option::of(time()), option::of(time())),
        ramp in option::of((0..40_000_i64, 1..=u32::MAX)),
        (sequence, catalog_version, supersedes) in (1..u32::MAX, any::<u32>(), collection::btree_map(any::<u128>(), any::<u32>(), 0..3)),
        parts in collection::vec((label(), label(), any::<u32>(), any::<u32>()), 0..4),
        (model, level, kind) in (
            sample::select(vec![Model::Perpetual, Model::Subscription, Model::Mixed]),
            sample::select(vec![Level::Production, Level::Development, Level::Trial, Level::Evaluation]),
            sample::select(vec![FileKind::Base, FileKind::AddOn]),
        ),
        (switchover, need) in (any::<bool>(), 1..=5_u8),
        endpoint in option::of("https://[a-z.]{1,30}/[a-z\"\\\\]{0,9}"),
    ) -> Activation {
        let mut units = units.into_iter();
        let mut grants = Vec::new();
        for key in &keys {
            let concurrent = key.kind == KeyKind::Access && key.holders.contains(&Holder::User);
            for method in [Method::Assignable, Method::Concurrent].into_iter().take(1 + usize::from(concurrent)) {
                let pool = PoolName { key: key.name.clone(), method };
                grants.extend(units.next().map(|units| leasehold_keys::activation::Grant { pool, units }));
            }
        }
        let mut hosts = vec![host()];
        hosts[0].need = need;
        hosts[0].machine_name = optional.2;
        if switchover {
            hosts.push(leasehold_keys::activation::HostLine { role: HostRole::Switchover, ..host() });
        }
        let (account, install_site, product, product_line) = labels;
        let license = |id: u128| LicenseId(format!("{id:032x}").parse().unwrap());
        Activation {
            sequence,
            supersedes: supersedes.into_iter().map(|(id, sequence)| Superseded { license_id: license(id), sequence }).collect(),
            issued: times.0,
            account,
            install_site,
            product,
            product_line,
            model,
            level,
            kind,
            system_type: optional.0,
            companion_of: optional.1,
            not_before: times.1,
            not_after: times.1.plus_ms((times.2 + 1) * SECOND_MS),
            maintenance_end: times.3,
            re_register: times.4,
            ramp: ramp.map(|(day, _)| WallTime::from_ms(day * DAY_MS)),
            grace_days: ramp.map(|(_, days)| days),
            usage_destination: endpoint.clone(),
            check_in_endpoint: endpoint,
            hosts,
            parts: parts
                .into_iter()
                .map(|(number, description, assigned, pooled)| Part { number, description, assigned, pooled })
                .collect(),
            grants,
            definitions: keys,
            catalog_version,
            ..activation()
        }
    }
}

proptest! {
    #[test]
    fn terms_are_read_as_they_were_written(terms in terms()) {
        // Times beyond the year 9999 have no spelling.
        prop_assume!(terms.not_after < WallTime::from_ms(253_402_300_800_000));
        prop_assert_eq!(terms.check(), Ok(()));
        let file = issued(&terms);
        let read = vendor::trust().activation(&file, now());
        prop_assert_eq!(read.map(|read| read.into_inner()), Ok(terms.clone()));
        let again = Activation::read_unverified(&file).unwrap().render();
        prop_assert_eq!(again, terms.render());
    }

    #[test]
    fn roots_are_read_as_they_were_written(
        version in 1..u32::MAX,
        expires in time(),
        revoked in collection::vec((any::<[u8; 32]>(), time()), 0..4),
        hybrid in any::<bool>(),
    ) {
        let root = Root {
            version,
            expires,
            revoked: revoked.into_iter().map(|(sha256, from)| RevokedKey { sha256: leasehold_keys::digest::Sha256(sha256), from }).collect(),
            ..if hybrid { hybrid_root() } else { root() }
        };
        let read = Trust::anchored(&signed_root(&root, &["a", "c"])).unwrap();
        prop_assert_eq!(&**read.root(), &root);
    }

    #[test]
    fn no_bytes_make_a_reader_panic(bytes in collection::vec(any::<u8>(), 0..2_000)) {
        read_all(&bytes);
    }

    #[test]
    fn no_text_makes_a_reader_panic(text in "[\\PC\n]{0,400}", kind in 0..note::NoteKind::ALL.len()) {
        let first = note::NoteKind::ALL[kind].first_line();
        read_all(format!("{first}\n{text}\n\n— a/b AAAAAAAA\n").as_bytes());
    }

    #[test]
    fn no_spliced_file_makes_a_reader_panic_or_passes(
        file in 0..4_usize,
        cuts in collection::vec((any::<sample::Index>(), any::<sample::Index>(), any::<sample::Index>()), 1..4),
    ) {
        let good = [
            issued(&activation()),
            signed_root(&root(), &["a", "b"]),
            sign(&activation().render(), &[&issuing()]),
            signed_root(&hybrid_root(), &["b", "c"]),
        ];
        let original = &good[file];
        let mut bytes = original.clone();
        for (from, to, at) in cuts {
            // A piece of the file moves elsewhere in it, as TOML or as letters.
            let (from, to) = (from.index(bytes.len()), to.index(bytes.len()));
            let piece = bytes[from.min(to)..from.max(to)].to_vec();
            let at = at.index(bytes.len());
            bytes.splice(at..at, piece.into_iter().take(500));
        }
        read_all(&bytes);
        let (trust, root) = (vendor::trust(), Trust::anchored(&bytes));
        prop_assert!(bytes == *original || trust.activation(&bytes, now()).is_err());
        prop_assert!(bytes == *original || root.is_err());
    }

    #[test]
    fn host_ids_are_read_as_they_were_written(text in "\\PC{0,300}") {
        if let Ok(id) = text.parse::<HostId>() {
            prop_assert_eq!(id.to_string().parse::<HostId>(), Ok(id));
        }
    }
}

/// Puts bytes through every reader, unverified ones among them.
fn read_all(bytes: &[u8]) {
    let _ = Note::parse(bytes);
    let _ = Activation::read_unverified(bytes);
    let _ = HostRequest::verify(bytes);
    let _ = Trust::anchored(bytes);
    let _ = leasehold_keys::trust::claimed_root_version(bytes);
    let _ = DeactivationReceipt::verify(
        bytes,
        &leasehold_keys::installation::InstallationKey::from_seed([1; 32]).unwrap().public(),
    );
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = Root::parse(text);
        let _ = HostRequest::parse(text);
        let _ = UsageReceipt::parse(text);
        let _ = text.parse::<HostId>();
        let _ = text.parse::<PublicKey>();
        let _ = text.parse::<WallTime>();
    }
}

#[test]
fn the_largest_file_is_read_in_bounded_time() {
    // Deep nesting, many keys and a long circle: each as large as a note can be.
    let mut nested = activation().render();
    nested += &format!("deep = {}", "[".repeat(1_000));
    nested += "\n";
    assert!(Activation::read_unverified(&sign(&nested, &[&issuing()])).is_err());
    let mut file = activation();
    for n in 0..600 {
        let mut key = definition(&format!("K{n}"), KeyKind::Access, &[Holder::User]);
        key.includes = BTreeSet::from([format!("K{}", (n + 1) % 600).parse().unwrap()]);
        file.definitions.push(key);
    }
    let refusal = Activation::read_unverified(&issued(&file)).unwrap_err();
    assert_eq!(refusal.reason(), "circular-key");
    file.definitions.last_mut().unwrap().includes.clear();
    assert!(Activation::read_unverified(&issued(&file)).is_ok());
}

#[test]
fn the_licensor_for_development_issues_what_its_root_accepts() {
    let licensor = DevLicensor::from_seed(&[5; 32]).unwrap();
    let file = licensor.issue(&activation()).unwrap();
    assert_eq!(*licensor.trust().unwrap().activation(&file, now()).unwrap(), activation());
    assert!(vendor::trust().activation(&file, now()).is_err());
    let mut bad = activation();
    bad.hosts.clear();
    assert_eq!(licensor.issue(&bad).unwrap_err().reason(), "no-host");
}
