//! Lease tokens: what the installation signed and nothing else, and what a licensor's root says of it.

mod vendor;

use std::collections::{BTreeMap, BTreeSet};

use leasehold_keys::{
    activation::{Activation, HostLine, HostRole, LicenseId},
    definition::{Holder, KeyKind, Role},
    host::{HostId, HostVerdicts},
    installation::InstallationKey,
    lease_token::{HOLDER_MAX_BYTES, KEYS_MAX, LICENSES_MAX, LeaseToken, Subject, TokenFault},
    name::KeyName,
    root::Root,
    time::WallTime,
    trust::Trust,
};
use vendor::{activation, at, definition, ed, facts, grant, host, issuing, now, root, sign, signed_root, trust};

const CLIENT: &str = "I3_ACCESS_CLIENT";

fn key(byte: u8) -> InstallationKey {
    InstallationKey::from_seed([byte; 32]).unwrap()
}

fn name(text: &str) -> KeyName {
    text.parse().unwrap()
}

fn token() -> LeaseToken {
    LeaseToken {
        installation: key(1).public(),
        fencing: 4_711,
        issued: now(),
        ttl_ms: 60_000,
        subject: Subject::User { user: "Müller".parse().unwrap(), station: Some("station-012".parse().unwrap()) },
        application: "Interaction Desktop".parse().unwrap(),
        holder: "name:acd-server-2".into(),
        licenses: BTreeSet::from([activation().license_id]),
        keys: BTreeMap::from([(name(CLIENT), 1)]),
    }
}

/// A host line that records the installation of `key(1)`.
fn our_host() -> HostLine {
    HostLine { id: HostId::new(&facts().with_installation(&key(1).public()), [7; 16]), ..host() }
}

fn file() -> Activation {
    Activation { hosts: vec![our_host()], ..activation() }
}

fn issued(file: &Activation) -> Vec<u8> {
    sign(&file.render(), &[&issuing()])
}

/// What comes of a token over these files.
fn judged(token: &LeaseToken, notes: &[Vec<u8>]) -> Result<bool, TokenFault> {
    let bytes = token.sign(&key(1)).unwrap();
    let read = LeaseToken::verify(&bytes).unwrap();
    assert_eq!(read, *token);
    read.vouched(&trust(), notes, now(), &mut HostVerdicts::default()).map(|vouched| vouched.is_bound)
}

#[test]
fn a_token_is_read_as_it_was_made() {
    let subjects = [
        Subject::User { user: "agent-007".parse().unwrap(), station: None },
        Subject::Station("board-1".parse().unwrap()),
        Subject::Units,
    ];
    for subject in subjects {
        let token = LeaseToken { subject, ..token() };
        assert_eq!(LeaseToken::verify(&token.sign(&key(1)).unwrap()), Ok(token));
    }
    let none = LeaseToken { licenses: BTreeSet::new(), keys: BTreeMap::new(), ..token() };
    assert_eq!(LeaseToken::verify(&none.sign(&key(1)).unwrap()), Ok(none));
    assert_eq!(token().expires(), now().plus_ms(60_000));
    assert_eq!(token().sign(&key(2)), Err(TokenFault::AnotherInstallation));
}

#[test]
fn no_bit_of_a_token_can_be_changed_and_nothing_can_be_cut() {
    let bytes = token().sign(&key(1)).unwrap();
    assert!(bytes.len() < 320, "{} bytes", bytes.len());
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(LeaseToken::verify(&flipped).is_err(), "bit {bit}");
    }
    for length in 0..bytes.len() {
        assert!(LeaseToken::verify(&bytes[..length]).is_err(), "{length} bytes");
    }
    assert_eq!(LeaseToken::verify(&[&bytes[..], &[0]].concat()), Err(TokenFault::BadSignature));
    // Another installation's key in its place, with the old signature.
    let mut theirs = bytes.clone();
    theirs[8..40].copy_from_slice(key(2).public().as_bytes());
    assert_eq!(LeaseToken::verify(&theirs), Err(TokenFault::BadSignature));
    assert!(matches!(LeaseToken::verify(&vec![0; 70_000]), Err(TokenFault::Malformed(_))));
}

/// What an installation signs is bounded and has one spelling.
#[test]
fn what_is_not_laid_out_as_a_token_is_refused_though_it_is_signed() {
    let good = token().sign(&key(1)).unwrap();
    let payload = &good[..good.len() - 64];
    let signed = |payload: &[u8]| [payload, &key(1).sign("lease-token", &[payload])].concat();
    assert_eq!(signed(payload), good);
    let malformed = |payload: &[u8]| matches!(LeaseToken::verify(&signed(payload)), Err(TokenFault::Malformed(_)));
    assert!(malformed(&[payload, &[0]].concat()), "a byte more");
    assert!(malformed(&payload[..payload.len() - 1]), "a byte less");
    for (at, what) in [(7, "version"), (64, "kind of subject"), (66, "length of a text")] {
        let mut changed = payload.to_vec();
        changed[at] ^= 0x40;
        assert!(malformed(&changed), "{what}");
    }
    let mut other = payload.to_vec();
    other[8..40].copy_from_slice(&[0; 32]);
    assert!(malformed(&other), "a key of small order");
    for purpose in ["witness", "lease-token2"] {
        let bytes = [payload, &key(1).sign(purpose, &[payload])].concat();
        assert_eq!(LeaseToken::verify(&bytes), Err(TokenFault::BadSignature), "{purpose}");
    }
    let beyond = |token: &LeaseToken| matches!(token.sign(&key(1)), Err(TokenFault::Malformed(_)));
    assert!(beyond(&LeaseToken { holder: "x".repeat(HOLDER_MAX_BYTES + 1), ..token() }));
    assert!(beyond(&LeaseToken { holder: String::new(), ..token() }));
    let licenses = (0..=LICENSES_MAX as u128).map(|n| LicenseId(uuid::Uuid::from_u128(n))).collect();
    assert!(beyond(&LeaseToken { licenses, ..token() }));
    let keys = (0..=KEYS_MAX).map(|n| (name(&format!("KEY_{n}")), 1)).collect();
    assert!(beyond(&LeaseToken { keys, ..token() }));
}

#[test]
fn a_licensors_root_stands_behind_a_token_or_does_not() {
    let good = issued(&file());
    assert_eq!(judged(&token(), std::slice::from_ref(&good)), Ok(true));
    let mut older = file();
    older.sequence -= 1;
    older.grants = vec![grant("I3_SESSION", 1)];
    older.definitions = vec![definition("I3_SESSION", KeyKind::Session, &[Holder::Server])];
    assert_eq!(judged(&token(), &[good.clone(), issued(&older)]), Ok(true), "the highest sequence counts");

    let license = activation().license_id;
    let another_license = Activation { license_id: LicenseId(uuid::Uuid::from_u128(9)), ..file() };
    let other_key = LeaseToken { keys: BTreeMap::from([(name("I3_ACCESS_RECORDER"), 1)]), ..token() };
    let unsigned = sign(&file().render(), &[&ed("evil.example/issuing-2026")]);
    let theirs = HostLine { id: HostId::new(&facts().with_installation(&key(2).public()), [8; 16]), ..host() };
    let no_more = LeaseToken { issued: at("2200-01-01T00:00:00Z"), ..token() };
    let table: Vec<(&str, LeaseToken, Vec<Vec<u8>>, TokenFault)> = vec![
        ("no file", token(), vec![], TokenFault::LicenseMissing(license)),
        ("another's file", token(), vec![issued(&another_license)], TokenFault::LicenseMissing(license)),
        (
            "a key that it does not grant",
            other_key,
            vec![good.clone()],
            TokenFault::KeyNotGranted(name("I3_ACCESS_RECORDER")),
        ),
        (
            "for another installation",
            token(),
            vec![issued(&Activation { hosts: vec![theirs.clone()], ..activation() })],
            TokenFault::NotItsInstallation(license),
        ),
        ("no longer in force", no_more, vec![good.clone()], TokenFault::NotInForce(license)),
    ];
    for (what, token, notes, fault) in table {
        assert_eq!(judged(&token, &notes), Err(fault), "{what}");
    }
    for (what, note) in [
        ("signed by a stranger", unsigned),
        ("changed", {
            let mut changed = good.clone();
            changed[200] ^= 1;
            changed
        }),
    ] {
        assert!(matches!(judged(&token(), &[note]), Err(TokenFault::File(_))), "{what}");
    }
    // A pair's file names both servers.
    let pair =
        Activation { hosts: vec![HostLine { role: HostRole::Switchover, ..theirs }, our_host()], ..activation() };
    assert_eq!(judged(&token(), &[issued(&pair)]), Ok(true));
}

#[test]
fn a_key_that_comes_with_another_is_granted_with_it() {
    let mut bundle = file();
    bundle.definitions[0].includes.insert(name("I3_ACCESS_ONE"));
    let mut one = definition("I3_ACCESS_ONE", KeyKind::Access, &[Holder::User]);
    one.includes.insert(name("I3_ACCESS_TWO"));
    bundle.definitions.extend([one, definition("I3_ACCESS_TWO", KeyKind::Access, &[Holder::User])]);
    let with = |key: &str| LeaseToken { keys: BTreeMap::from([(name(key), 0)]), ..token() };
    assert_eq!(judged(&with("I3_ACCESS_TWO"), &[issued(&bundle)]), Ok(true));
    assert_eq!(
        judged(&with("I3_ACCESS_THREE"), &[issued(&bundle)]),
        Err(TokenFault::KeyNotGranted(name("I3_ACCESS_THREE")))
    );
}

#[test]
fn a_file_without_a_host_binds_nobody() {
    let mut cloud = file();
    cloud.hosts.clear();
    cloud.grants.push(grant("I3_FEATURE_VIRTUAL_CLOUD", 1));
    let mut feature = definition("I3_FEATURE_VIRTUAL_CLOUD", KeyKind::Feature, &[Holder::Server]);
    feature.role = Some(Role::VirtualCloud);
    cloud.definitions.push(feature);
    assert_eq!(judged(&token(), &[issued(&cloud)]), Ok(false));
    // Nor does a host line that records no installation.
    let mut facts = facts();
    facts.installation = None;
    let unrecorded = HostLine { id: HostId::new(&facts, [9; 16]), ..host() };
    assert_eq!(judged(&token(), &[issued(&Activation { hosts: vec![unrecorded], ..activation() })]), Ok(false));
}

#[test]
fn a_revoked_key_stands_behind_nothing_from_its_date() {
    let next = Root {
        version: 2,
        revoked: vec![leasehold_keys::root::RevokedKey { sha256: issuing().public().sha256(), from: now() }],
        ..root()
    };
    let trust = trust().succeed(&signed_root(&next, &["a", "b"])).unwrap();
    let vouched = |trust: &Trust, now: WallTime| {
        token().vouched(trust, &[issued(&file())], now, &mut HostVerdicts::default()).map(|vouched| vouched.files.len())
    };
    assert_eq!(vouched(&trust, now().plus_ms(-1_000)), Ok(1));
    assert!(matches!(vouched(&trust, now()), Err(TokenFault::File(refusal)) if refusal.reason() == "key-revoked"));
}
