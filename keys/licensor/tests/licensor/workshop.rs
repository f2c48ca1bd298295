//! The library as the daemon's `dev` mode and other tests use it: orders of every level, re-issue, closing, receipts.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use leasehold_keys::{
    activation::{FileKind, Grant, HostRole, Level, LicenseId, Model, Superseded, Units},
    refusal::Reason,
    root::KeyRole,
    time::WallTime,
    trust::Trust,
};
use licensor::{
    catalog::Catalog,
    order::{HostOrder, IssueOrder, TermsFault},
    vault::{Passphrase, Protection, VaultFault},
    workshop::{CreateOptions, Workshop, WorkshopFault},
};

use crate::orders::{faults, grant, granted, order_without_request, part, with_grants};
use crate::support::{Machine, label, noon, order, time, workshop};

#[test]
fn an_order_of_parts_becomes_a_file_that_a_daemon_accepts() {
    let (_dir, mut workshop) = workshop();
    let order = IssueOrder {
        server: Some(label("basic")),
        parts: vec![part("SW-001-4.0-AL04", 5, 25)],
        grants: vec![grant("I3_CLIENT_ACCESS", 2)],
        ..order()
    };
    let issued = workshop.issue(&Catalog::pureconnect(), &order, noon()).unwrap();

    // A daemon knows nothing but the root note and the file.
    let trust = Trust::anchored(workshop.root_note().as_bytes()).unwrap();
    let file = trust.activation(&fs::read(&issued.path).unwrap(), noon()).unwrap();
    assert_eq!(file.bytes(), issued.note.as_bytes());
    assert_eq!(*file, *issued.activation);
    let expected = [
        ("I3_LICENSE_CIC_SERVER_BASIC", 1),
        ("I3_FEATURE_SIP", 1),
        ("I3_LICENSE_BASIC_STATION", 30),
        ("I3_ACCESS_CLIENT", 7),
        ("I3_ACCESS_ACD_MEDIA_1", 5),
        ("I3_ACCESS_CLIENT_CONCURRENT", 25),
        ("I3_ACCESS_ACD_MEDIA_1_CONCURRENT", 25),
    ];
    let expected: BTreeMap<_, _> = expected.map(|(pool, units)| (pool.to_owned(), Units::Count(units))).into();
    assert_eq!(granted(&file), expected);
    assert_eq!(
        (file.sequence, file.level, file.model, file.kind),
        (1, Level::Production, Model::Perpetual, FileKind::Base)
    );
    assert_eq!((file.not_before, file.not_after), (time("2026-11-22T00:00:00Z"), WallTime::PERPETUAL_END));
    assert_eq!(file.parts[0].description.as_str(), "Contact Center Level 1");
    assert_eq!(file.hosts[0].machine_name, Some(label("cic-01")));
    assert_eq!(file.definitions.len(), 5);

    let rows = workshop.ledger().issued().unwrap();
    assert_eq!(rows.len(), 1);
    assert_eq!((rows[0].issued_by.as_str(), rows[0].note.as_str()), ("anna", issued.note.as_str()));
    assert_eq!(rows[0].sha256, file.sha256());
}

#[test]
fn a_re_issue_takes_the_next_sequence_from_the_records() {
    let (dir, mut workshop) = workshop();
    let catalog = Catalog::pureconnect();
    let first = workshop.issue(&catalog, &with_grants(), noon()).unwrap();
    let id = first.activation.license_id;
    let again = IssueOrder {
        license_id: Some(id),
        switchover_server: Some(label("basic")),
        hosts: vec![
            Machine::new("cic-02", 2).as_host(HostRole::Switchover),
            Machine::new("cic-01", 1).as_host(HostRole::Primary),
        ],
        ..with_grants()
    };
    // Another program at the same folder: sequences come from the records, not from memory.
    let mut other = Workshop::open(&dir.path().join("acme"), None).unwrap();
    assert_eq!(other.issue(&catalog, &again, noon()).unwrap().activation.sequence, 2);
    let third = workshop.issue(&catalog, &again, noon()).unwrap();
    assert_eq!((third.activation.license_id, third.activation.sequence), (id, 3));
    assert_eq!(
        third.activation.hosts.iter().map(|host| host.role).collect::<Vec<_>>(),
        [HostRole::Primary, HostRole::Switchover]
    );

    let unknown = LicenseId("7f3c9a52-1f0e-4b1e-9c55-0d2f6a3b8e41".parse().unwrap());
    let order = IssueOrder { license_id: Some(unknown), ..with_grants() };
    assert!(
        matches!(workshop.issue(&catalog, &order, noon()), Err(WorkshopFault::UnknownLicense(named)) if named == unknown)
    );
    let media = Catalog::all_shipped().remove(0);
    let order = IssueOrder { license_id: Some(id), server: Some(label("media")), ..order_without_request() };
    assert!(matches!(workshop.issue(&media, &order, noon()), Err(WorkshopFault::OtherProduct { .. })));
    // A refused order uses up no sequence.
    let faulty = IssueOrder { license_id: Some(id), grants: vec![grant("I3_NONE", 1)], ..order };
    assert!(workshop.issue(&catalog, &faulty, noon()).is_err());
    assert_eq!(workshop.last_sequence(id).unwrap(), 3);
}

#[test]
fn hosts_are_needed_and_judged() {
    assert_eq!(faults(&IssueOrder { hosts: Vec::new(), ..with_grants() }), [TermsFault::NoHost]);
    let second = Machine::new("cic-02", 2);
    let alone = IssueOrder { hosts: vec![second.as_host(HostRole::Switchover)], ..with_grants() };
    assert_eq!(faults(&alone), [TermsFault::SwitchoverAlone]);
    let twice = IssueOrder { hosts: vec![second.as_host(HostRole::Primary); 2], ..with_grants() };
    assert_eq!(faults(&twice), [TermsFault::HostTwice("primary")]);
    let host = HostOrder { need: 5, ..second.as_host(HostRole::Primary) };
    let never = TermsFault::HostNeverMatches { role: "primary", held: 4, need: 5 };
    assert_eq!(faults(&IssueOrder { hosts: vec![host], ..with_grants() }), [never]);
    for need in [0, 6] {
        let host = HostOrder { need, ..second.as_host(HostRole::Primary) };
        assert_eq!(faults(&IssueOrder { hosts: vec![host], ..with_grants() }), [TermsFault::Need(need)]);
    }
    let host = HostOrder { product: Some(label("Other")), ..second.as_host(HostRole::Primary) };
    assert!(matches!(
        faults(&IssueOrder { hosts: vec![host], ..with_grants() })[..],
        [TermsFault::RequestForOther { .. }]
    ));
}

#[test]
fn virtual_cloud_needs_a_subscription_and_enforcement_and_no_host() {
    let cloud = IssueOrder {
        hosts: Vec::new(),
        model: Model::Subscription,
        grants: vec![grant("I3_FEATURE_VIRTUAL_CLOUD", 1), grant("I3_SESSION_CALL", 100)],
        not_after: Some(time("2027-12-01T00:00:00Z")),
        ramp: Some(time("2027-01-01T00:00:00Z")),
        grace_days: Some(7),
        check_in_endpoint: Some("https://licensor.example/check-in".to_owned()),
        ..order()
    };
    let (_dir, mut workshop) = workshop();
    let file = workshop.issue(&Catalog::pureconnect(), &cloud, noon()).unwrap().activation;
    assert!(file.hosts.is_empty());
    // Its closing file needs no host either.
    assert!(workshop.deactivate(file.license_id, &label("anna"), noon()).unwrap().activation.is_deactivation());

    let bad = IssueOrder {
        model: Model::Perpetual,
        grants: vec![
            grant("I3_FEATURE_VIRTUAL_CLOUD", 1),
            grant("I3_FEATURE_USAGE_TRACKING_LOCAL", 1),
            Grant { pool: "I3_SESSION_CALL".parse().unwrap(), units: Units::Unlimited },
        ],
        ramp: Some(time("2027-01-01T00:00:01Z")),
        grace_days: Some(0),
        check_in_endpoint: None,
        ..cloud
    };
    let told = faults(&bad);
    assert_eq!(told.iter().filter(|fault| matches!(fault, TermsFault::VirtualCloud(_))).count(), 3);
    assert!(told.contains(&TermsFault::GraceZero));
    assert!(told.contains(&TermsFault::RampNotMidnight(time("2027-01-01T00:00:01Z"))));
    assert_eq!(told.len(), 6, "{told:?}");
}

#[test]
fn other_orders_that_make_no_file() {
    assert_eq!(faults(&order()), [TermsFault::NoGrants]);
    let subscription = IssueOrder { model: Model::Subscription, ..with_grants() };
    assert_eq!(faults(&subscription), [TermsFault::EndNeeded("subscription")]);
    let reversed = IssueOrder { not_after: Some(time("2026-11-22T00:00:00Z")), ..with_grants() };
    assert!(matches!(faults(&reversed)[..], [TermsFault::DatesReversed { .. }]));
    let bad = IssueOrder {
        server: Some(label("huge")),
        parts: vec![part("AL99", 1, 0)],
        grants: vec![grant("NONE", 1), grant("I3_LICENSE_BASIC_STATION_CONCURRENT", 1), grant("I3_SESSION_FAX", 0)],
        ..order()
    };
    assert_eq!(faults(&bad).len(), 5);
    // An alias and the name are one pool.
    let twice = IssueOrder { grants: vec![grant("I3_ACCESS_CLIENT", 1), grant("I3_CLIENT_ACCESS", 1)], ..order() };
    assert_eq!(faults(&twice).len(), 1);
}

#[test]
fn what_a_daemon_would_refuse_is_not_issued() {
    let (_dir, mut workshop) = workshop();
    // Beyond what the catalog and the order's rules look at: a line of the note that is too long.
    let order = IssueOrder { check_in_endpoint: Some("x".repeat(5_000)), ..with_grants() };
    let fault = workshop.issue(&Catalog::pureconnect(), &order, noon()).unwrap_err();
    assert!(matches!(&fault, WorkshopFault::Refused(refusal) if refusal.kind() == Reason::LineTooLong), "{fault}");
    assert!(workshop.ledger().issued().unwrap().is_empty());
}

#[test]
fn another_license_can_be_superseded_but_not_the_own() {
    let (_dir, mut workshop) = workshop();
    let catalog = Catalog::pureconnect();
    let old = workshop.issue(&catalog, &with_grants(), noon()).unwrap().activation.license_id;
    let superseded = Superseded { license_id: old, sequence: 1 };
    let exchange = IssueOrder { supersedes: [superseded].into(), ..with_grants() };
    assert_eq!(workshop.issue(&catalog, &exchange, noon()).unwrap().activation.supersedes, [superseded].into());
    let own = IssueOrder { license_id: Some(old), ..exchange };
    assert!(
        matches!(workshop.issue(&catalog, &own, noon()), Err(WorkshopFault::Terms(faults)) if faults == [TermsFault::SupersedesItself])
    );
}

#[test]
fn a_closed_license_takes_its_receipt_and_nothing_else() {
    let (_dir, mut workshop) = workshop();
    let catalog = Catalog::pureconnect();
    let machine = Machine::new("cic-01", 1);
    let first = workshop.issue(&catalog, &with_grants(), noon()).unwrap();
    let id = first.activation.license_id;
    let closing = workshop.deactivate(id, &label("ben"), noon()).unwrap();
    assert!(closing.activation.is_deactivation());
    assert_eq!(
        closing.activation.definitions, first.activation.definitions,
        "an unlicensed site still knows its call ports"
    );
    assert_eq!((closing.activation.sequence, closing.activation.account.as_str()), (2, "Example Ltd"));
    assert!(matches!(workshop.deactivate(id, &label("ben"), noon()), Err(WorkshopFault::Closed(_))));
    let again = IssueOrder { license_id: Some(id), ..with_grants() };
    assert!(matches!(workshop.issue(&catalog, &again, noon()), Err(WorkshopFault::Closed(_))));

    let receipt = machine.receipt(closing.note.as_bytes());
    // From a machine that nobody knows; for the file that was open; for other bytes; torn.
    let stranger = Machine::new("x", 9).receipt(closing.note.as_bytes());
    assert!(matches!(workshop.take_receipt(stranger.as_bytes(), noon()), Err(WorkshopFault::UnknownInstallation(_))));
    let open = machine.receipt(first.note.as_bytes());
    assert!(matches!(workshop.take_receipt(open.as_bytes(), noon()), Err(WorkshopFault::ReceiptMismatch(_))));
    let forged = receipt.replace("2026-11-23", "2026-11-24");
    assert!(matches!(workshop.take_receipt(forged.as_bytes(), noon()), Err(WorkshopFault::Refused(_))));
    assert_eq!(workshop.ledger().issued().unwrap()[0].receipt_taken, None);

    assert!(workshop.take_receipt(receipt.as_bytes(), noon()).unwrap().new);
    assert!(!workshop.take_receipt(receipt.as_bytes(), noon()).unwrap().new);
    let rows = workshop.ledger().issued().unwrap();
    assert_eq!(rows.iter().map(|row| row.receipt_taken).collect::<Vec<_>>(), [Some(noon()), None]);
}

#[test]
fn a_lost_file_can_be_written_again() {
    let (dir, mut workshop) = workshop();
    let issued = workshop.issue(&Catalog::pureconnect(), &with_grants(), noon()).unwrap();
    fs::remove_file(&issued.path).unwrap();
    let path = dir.path().join("again.i3lic");
    workshop.write_again(issued.activation.license_id, None, &path).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), issued.note);
    let missing = workshop.write_again(issued.activation.license_id, Some(2), &path);
    assert!(matches!(missing, Err(WorkshopFault::UnknownSequence { sequence: 2, .. })));
}

#[test]
fn ml_dsa_signs_beside_ed25519_where_the_root_asks_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let options = CreateOptions { ml_dsa: true, root_keys: 2, ..CreateOptions::new("acme.example", Protection::None) };
    let mut workshop = Workshop::create(&dir.path().join("acme"), &options, noon()).unwrap();
    let issued = workshop.issue(&Catalog::pureconnect(), &with_grants(), noon()).unwrap();
    assert_eq!(issued.activation.signed_by(), ["acme.example/issuing-2026", "acme.example/issuing-2026-ml-dsa"]);
    // Without the second signature line the file is worth nothing.
    let stripped: String =
        issued.note.lines().filter(|line| !line.contains("-ml-dsa ")).map(|line| format!("{line}\n")).collect();
    let refused = workshop.trust().activation(stripped.as_bytes(), noon()).unwrap_err();
    assert_eq!(refused.kind(), Reason::MlDsaRequired);
}

#[test]
fn a_workshop_needs_its_passphrase_to_sign_only() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("acme");
    let passphrase = Passphrase::new("correct horse").unwrap();
    let options = CreateOptions {
        root_keys: 1,
        threshold: 1,
        ..CreateOptions::new("acme.example", Protection::Passphrase(passphrase.clone()))
    };
    drop(Workshop::create(&path, &options, noon()).unwrap());
    let catalog = Catalog::pureconnect();
    let mut workshop = Workshop::open(&path, None).unwrap();
    assert!(workshop.is_locked().unwrap());
    assert!(workshop.ledger().issued().unwrap().is_empty());
    let fault = workshop.issue(&catalog, &with_grants(), noon()).unwrap_err();
    assert!(matches!(fault, WorkshopFault::Vault(VaultFault::PassphraseNeeded { .. })));
    workshop.unlock(Passphrase::to_try("wrong horse"));
    let fault = workshop.issue(&catalog, &with_grants(), noon()).unwrap_err();
    assert!(matches!(fault, WorkshopFault::Vault(VaultFault::WrongPassphrase { .. })));
    workshop.unlock(passphrase);
    assert_eq!(workshop.issue(&catalog, &with_grants(), noon()).unwrap().activation.sequence, 1);
}

#[test]
fn keys_count_for_their_window_only() {
    let (_dir, mut workshop) = workshop();
    let late = time("2031-11-22T00:00:00Z");
    assert!(matches!(
        workshop.issue(&Catalog::pureconnect(), &with_grants(), late),
        Err(WorkshopFault::NoKey { role: KeyRole::Issuing, .. })
    ));
}

#[test]
fn a_workshop_is_founded_whole_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let usual = CreateOptions::new("acme.example", Protection::None);
    for options in [
        CreateOptions { name: "acme example".to_owned(), ..usual.clone() },
        CreateOptions { root_keys: 0, ..usual.clone() },
        CreateOptions { root_keys: 9, ..usual.clone() },
        CreateOptions { threshold: 4, ..usual.clone() },
        CreateOptions { threshold: 0, ..usual.clone() },
        CreateOptions { years: 0, ..usual.clone() },
    ] {
        assert!(matches!(Workshop::create(&at("bad"), &options, noon()), Err(WorkshopFault::Options(_))));
    }
    fs::create_dir(at("full")).unwrap();
    fs::write(at("full").join("file"), "x").unwrap();
    assert!(matches!(Workshop::create(&at("full"), &usual, noon()), Err(WorkshopFault::NotEmpty(_))));
    assert!(matches!(Workshop::open(&at("full"), None), Err(WorkshopFault::NoWorkshop(_))));
    fs::create_dir(at("empty")).unwrap();
    let workshop = Workshop::create(&at("empty"), &usual, noon()).unwrap();
    assert_eq!(workshop.trust().root().policy.root.ed25519, 2);
    assert_eq!(workshop.trust().root().root_keys.len(), 3);
    let left: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "{left:?}");
    let inside: BTreeSet<_> =
        fs::read_dir(at("empty")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(inside, ["issued", "keys", "licensor.db", "root.i3root"].map(str::to_owned).into());
}

#[test]
fn no_sequence_serves_two_files_however_many_issue_at_once() {
    let (dir, mut workshop) = workshop();
    let catalog = Catalog::pureconnect();
    let id = workshop.issue(&catalog, &with_grants(), noon()).unwrap().activation.license_id;
    let order = IssueOrder { license_id: Some(id), ..with_grants() };
    let issue_some = || {
        let mut workshop = Workshop::open(&dir.path().join("acme"), None).unwrap();
        (0..5).map(|_| workshop.issue(&catalog, &order, noon()).unwrap().activation.sequence).collect::<Vec<_>>()
    };
    let sequences: BTreeSet<u32> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(issue_some)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(sequences, (2..=21).collect());
    assert_eq!(fs::read_dir(dir.path().join("acme/issued")).unwrap().count(), 21);
}
