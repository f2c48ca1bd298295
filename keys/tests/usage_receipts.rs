//! Usage receipts: who may sign them, for how long, and for which file.

mod vendor;

use leasehold_keys::{
    activation::LicenseId,
    dev::DevLicensor,
    key::SigningKey,
    note::NoteKind,
    refusal::{Reason, Refusal},
    root::{KeyRole, RevokedKey, Root},
    trust::Trust,
    usage::{Acknowledged, SegmentName, UsageReceipt, verify},
};
use vendor::{at, ed, issuing, now, pq, role, root, sign, signed_root, trust};

const FILE: &[u8] = include_bytes!("usage-vectors/good-closed.usg");

fn name() -> SegmentName {
    verify(FILE).unwrap().name()
}

fn receipt() -> UsageReceipt {
    let file = verify(FILE).unwrap();
    UsageReceipt {
        license_id: file.header().license,
        name: file.name(),
        sha256: leasehold_keys::digest::Sha256::of(FILE),
        size: u32::try_from(FILE.len()).unwrap(),
        received: at("2026-11-22T04:18:00Z"),
    }
}

fn receipt_key() -> SigningKey {
    ed("acme.example/receipt-2026")
}

fn signed() -> Vec<u8> {
    receipt().sign(&[&receipt_key()]).unwrap().into_bytes()
}

fn reason<T>(judged: Result<T, Refusal>) -> Option<Reason> {
    judged.err().map(|refusal| refusal.kind())
}

fn under(change: impl FnOnce(&mut Root)) -> Trust {
    let mut root = root();
    change(&mut root);
    Trust::anchored(&signed_root(&root, &["a", "b"])).unwrap()
}

#[test]
fn a_receipt_is_read_as_it_was_written_and_answers_for_one_file() {
    let note = signed();
    assert_eq!(NoteKind::claimed(&note), Some(NoteKind::UsageReceipt));
    let read = trust().usage_receipt(&note, now()).unwrap();
    assert_eq!(*read, receipt());
    assert_eq!(read.signed_by(), ["acme.example/receipt-2026"]);
    assert_eq!(read.fits(name(), FILE), Ok(()));
    let acknowledged = Acknowledged::from(&*read);
    assert_eq!((acknowledged.segment, acknowledged.sha256), (1, receipt().sha256));
    let other = SegmentName { segment: 2, ..name() };
    assert_eq!(reason(read.fits(other, FILE)), Some(Reason::AnotherFile));
    assert_eq!(reason(read.fits(name(), &FILE[1..])), Some(Reason::AnotherFile));
    assert_eq!(reason(read.fits_digest(name(), receipt().sha256, 7)), Some(Reason::AnotherFile));
}

#[test]
fn only_a_receipt_key_that_stands_may_sign() {
    let (trust, text) = (trust(), receipt().render());
    let by = |key: &SigningKey| reason(trust.usage_receipt(&sign(&text, &[key]), now()));
    assert_eq!(by(&receipt_key()), None);
    assert_eq!(by(&issuing()), Some(Reason::WrongRole));
    assert_eq!(by(&ed("acme.example/check-in-2026")), Some(Reason::WrongRole));
    assert_eq!(by(&ed("acme.example/root-a")), Some(Reason::WrongRole));
    assert_eq!(by(&ed("mallory.example/receipt-2026")), Some(Reason::UnknownKey));
    let impostor = SigningKey::from_seed(receipt_key().public().name(), receipt_key().public().algorithm(), &[9; 32]);
    assert_eq!(by(&impostor.unwrap()), Some(Reason::WrongKeyId));
    let refusal = trust.usage_receipt(&sign(&text, &[&issuing()]), now()).unwrap_err();
    assert!(refusal.what().ends_with("is an issuing key, not a receipt key"), "{refusal}");
    // Nor does a receipt key issue what is no receipt.
    assert_eq!(reason(trust.activation(&signed(), now())), Some(Reason::WrongKind));
    assert_eq!(reason(trust.usage_receipt(&vendor::issued(&vendor::activation()), now())), Some(Reason::WrongKind));
}

#[test]
fn windows_count_once_and_revocation_always() {
    let (trust, note) = (trust(), signed());
    let (late, early) = (at("2028-01-01T00:00:00Z"), at("2025-12-31T23:59:59Z"));
    assert_eq!(reason(trust.usage_receipt(&note, late)), Some(Reason::KeyExpired));
    assert_eq!(reason(trust.usage_receipt(&note, early)), Some(Reason::KeyNotYetValid));
    assert_eq!(reason(trust.usage_receipt_accepted_before(&note, late)), None);
    let revoking = under(|root| {
        root.revoked.push(RevokedKey { sha256: receipt_key().public().sha256(), from: at("2026-11-22T00:00:00Z") });
    });
    assert_eq!(reason(revoking.usage_receipt(&note, now())), Some(Reason::KeyRevoked));
    assert_eq!(reason(revoking.usage_receipt_accepted_before(&note, now())), Some(Reason::KeyRevoked));
    assert_eq!(reason(revoking.usage_receipt(&note, at("2026-11-21T23:59:59Z"))), None);
    // An expired root takes no new files, but what was used under it can be settled.
    let expired = under(|root| root.expires = at("2026-11-01T00:00:00Z"));
    assert_eq!(reason(expired.usage_receipt(&note, now())), None);
}

#[test]
fn the_policy_of_receipts_counts_and_no_other() {
    let hybrid = under(|root| {
        root.policy.receipt.ml_dsa_65 = 1;
        root.role_keys.push(role(&pq("acme.example/receipt-2026"), KeyRole::Receipt, 1));
    });
    assert_eq!(reason(hybrid.usage_receipt(&signed(), now())), Some(Reason::MlDsaRequired));
    let both = receipt().sign(&[&receipt_key(), &pq("acme.example/receipt-2026")]).unwrap();
    assert_eq!(reason(hybrid.usage_receipt(both.as_bytes(), now())), None);
    let strict_elsewhere = under(|root| root.policy.activation.ed25519 = 2);
    assert_eq!(reason(strict_elsewhere.usage_receipt(&signed(), now())), None);
}

#[test]
fn every_field_is_judged() {
    let text = receipt().render();
    let judged = |from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        reason(trust().usage_receipt(&sign(&text.replacen(from, to, 1), &[&receipt_key()]), now()))
    };
    assert_eq!(judged("segment = 1\n", "segment = 2\n"), Some(Reason::BadValue));
    assert_eq!(judged("segment = 1\n", "segment = 01\n"), Some(Reason::NotACount));
    assert_eq!(judged("segment = 1\n", ""), Some(Reason::MissingField));
    assert_eq!(judged("segment = 1\n", "segment = 1\nsegment = 1\n"), Some(Reason::DuplicateField));
    assert_eq!(judged("-00000001-", "-00000002-"), Some(Reason::BadValue));
    assert_eq!(judged(".usg", ".i3lic"), Some(Reason::BadValue));
    assert_eq!(judged("installation-id = \"3", "installation-id = \"4"), Some(Reason::BadValue));
    assert_eq!(judged("size = ", "size = -"), Some(Reason::NotACount));
    assert_eq!(judged("size = ", "bytes = 1\nsize = "), Some(Reason::UnknownField));
    assert_eq!(
        judged("received = \"2026-11-22T04:18:00Z", "received = \"2026-11-22 04:18:00Z"),
        Some(Reason::NotATime)
    );
    assert_eq!(judged("license-id = \"7f3c", "license-id = \"7F3C"), Some(Reason::BadValue));
}

#[test]
fn every_bit_flip_and_truncation_is_refused() {
    let (trust, mut bytes) = (trust(), signed());
    for bit in 0..bytes.len() * 8 {
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(trust.usage_receipt(&bytes, now()).is_err(), "bit {bit}");
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
    for length in 0..bytes.len() {
        assert!(trust.usage_receipt(&bytes[..length], now()).is_err(), "{length} bytes");
    }
}

#[test]
fn the_licensor_for_development_answers_for_files_and_opens_them() {
    let licensor = DevLicensor::from_seed(&[5; 32]).unwrap();
    let trust = licensor.trust().unwrap();
    let note = licensor.receipt(&receipt()).unwrap();
    assert_eq!(*trust.usage_receipt(&note, now()).unwrap(), receipt());
    assert_eq!(licensor.usage_key().public().as_bytes(), &trust.root().usage_key);
    let other = UsageReceipt { license_id: LicenseId(uuid::Uuid::nil()), ..receipt() };
    assert_ne!(licensor.receipt(&other).unwrap(), note);
}
