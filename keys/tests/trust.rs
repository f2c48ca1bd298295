//! Chains of roots, restarts, revocation and roll-back marks (02, Trust).

mod vendor;

use leasehold_keys::{
    activation::Activation,
    key::{Algorithm, SigningKey},
    marks::{Mark, MarkVerdict, judge, standing},
    refusal::Reason,
    root::{KeyRole, RevokedKey, Root},
    time::{DAY_MS, WallTime},
    trust::{Trust, Verified, claimed_root_version},
};
use vendor::{activation, at, ed, issued, issuing, now, role, root, sign, signed_root, trust};

/// A year after the root and every key have expired.
const MUCH_LATER: &str = "2031-01-01T00:00:00Z";

fn new_issuing() -> SigningKey {
    ed("acme.example/issuing-2027")
}

/// Root 2: root key a goes, d comes; the issuing key of epoch 2 takes the place of the first.
fn second() -> Root {
    let mut root = root();
    root.version = 2;
    root.root_keys = ["b", "c", "d"].map(|name| ed(&format!("acme.example/root-{name}")).public().clone()).to_vec();
    root.role_keys[0] = role(&new_issuing(), KeyRole::Issuing, 2);
    root
}

fn third(revoked: Vec<RevokedKey>) -> Root {
    Root { version: 3, revoked, ..second() }
}

fn chain(revoked: Vec<RevokedKey>) -> Trust {
    Trust::from_chain(&[
        signed_root(&root(), &["a", "b"]),
        signed_root(&second(), &["b", "c"]),
        signed_root(&third(revoked), &["c", "d"]),
    ])
    .unwrap()
}

fn revoke(key: &SigningKey, from: WallTime) -> Vec<RevokedKey> {
    vec![RevokedKey { sha256: key.public().sha256(), from }]
}

fn with_sequence(sequence: u32, key: &SigningKey) -> Vec<u8> {
    let mut file = activation();
    file.sequence = sequence;
    sign(&file.render(), &[key])
}

fn kind<T>(outcome: Result<T, leasehold_keys::refusal::Refusal>) -> Option<Reason> {
    outcome.err().map(|refusal| refusal.kind())
}

#[test]
fn a_chain_is_kept_and_read_again() {
    let trust = chain(Vec::new());
    assert_eq!(trust.root().version, 3);
    assert_eq!(trust.root().signed_by(), ["acme.example/root-c", "acme.example/root-d"]);
    let bytes: Vec<&[u8]> = trust.chain().map(Verified::bytes).collect();
    assert_eq!(bytes.len(), 3);
    assert_eq!(Trust::from_chain(&bytes).unwrap().root().version, 3);
    assert_eq!(bytes.iter().map(|bytes| claimed_root_version(bytes)).collect::<Vec<_>>(), [Some(1), Some(2), Some(3)]);
    // Any root that is held already changes nothing; another of its version is refused.
    assert_eq!(trust.succeed(bytes[0]).unwrap().root().version, 3);
    assert_eq!(kind(trust.succeed(&signed_root(&root(), &["a", "c"]))), Some(Reason::RootSuperseded));
    assert_eq!(kind(Trust::from_chain::<&[u8]>(&[])), Some(Reason::Empty));
    assert_eq!(kind(Trust::from_chain(&[bytes[0], bytes[2]])), Some(Reason::RootSkipsVersion));
}

#[test]
fn a_refused_successor_leaves_trust_as_it_was() {
    let trust = trust();
    let refusal = trust.succeed(&signed_root(&third(Vec::new()), &["c", "d"])).unwrap_err();
    assert_eq!(refusal.reason(), "root-skips-version");
    assert!(refusal.to_string().contains("root 2 must come first"), "{refusal}");
    assert_eq!(trust.root().version, 1);
}

#[test]
fn roots_succeed_an_expired_root() {
    let mut old = root();
    old.expires = at("2020-01-01T00:00:00Z");
    let trust = Trust::anchored(&signed_root(&old, &["a", "b"])).unwrap();
    let file = with_sequence(1, &new_issuing());
    assert_eq!(kind(trust.activation(&issued(&activation()), now())), Some(Reason::RootExpired));
    let trust = trust.succeed(&signed_root(&second(), &["b", "c"])).unwrap();
    assert!(trust.activation(&file, now()).is_ok());
}

#[test]
fn what_was_accepted_stands_over_expiry_and_rotation() {
    let file = issued(&activation());
    let accepted = trust().activation(&file, now()).unwrap();
    let later = at(MUCH_LATER);
    assert_eq!(kind(trust().activation(&file, later)), Some(Reason::KeyExpired));
    assert_eq!(trust().accepted_before(&file, later).unwrap(), accepted);
    // The key is in no root but the first, and nobody revoked it.
    let rotated = chain(Vec::new());
    assert_eq!(kind(rotated.activation(&file, now())), Some(Reason::UnknownKey));
    let again = rotated.accepted_before(&file, later).unwrap();
    assert_eq!((again.key_epoch(), again.sha256()), (1, accepted.sha256()));
    assert_eq!(rotated.stands_until(&again), None);
    // A client that begins with the newest root never saw that key.
    let fresh = Trust::anchored(&signed_root(&third(Vec::new()), &["c", "d"])).unwrap();
    assert_eq!(kind(fresh.accepted_before(&file, now())), Some(Reason::UnknownKey));
}

#[test]
fn a_revocation_works_from_its_date_over_the_whole_chain() {
    let file = issued(&activation());
    let from = at("2027-03-01T00:00:00Z");
    let trust = chain(revoke(&issuing(), from));
    let just_before = from.plus_ms(-1);
    let accepted = trust.accepted_before(&file, just_before).unwrap();
    assert_eq!(trust.stands_until(&accepted), Some(from));
    let refusal = trust.accepted_before(&file, from).unwrap_err();
    assert_eq!(refusal.reason(), "key-revoked");
    // A later root that no longer lists the revocation does not take it back.
    let forgetful = Root { version: 4, ..third(Vec::new()) };
    let trust = trust.succeed(&signed_root(&forgetful, &["c", "d"])).unwrap();
    assert_eq!(kind(trust.accepted_before(&file, from)), Some(Reason::KeyRevoked));
    assert_eq!(trust.revoked_from(&issuing().public().sha256()), Some(from));
}

#[test]
fn with_two_signatures_needed_one_revoked_key_is_one_too_many() {
    let mut root = root();
    root.policy.activation.ed25519 = 2;
    root.role_keys.push(role(&new_issuing(), KeyRole::Issuing, 2));
    let from = now().plus_ms(DAY_MS);
    root.revoked = revoke(&issuing(), from);
    let trust = Trust::anchored(&signed_root(&root, &["a", "b"])).unwrap();
    let text = activation().render();
    assert_eq!(kind(trust.activation(&sign(&text, &[&issuing()]), now())), Some(Reason::BelowThreshold));
    let file = trust.activation(&sign(&text, &[&issuing(), &new_issuing()]), now()).unwrap();
    assert_eq!(file.signed_by(), ["acme.example/issuing-2026", "acme.example/issuing-2027"]);
    assert_eq!((file.key_epoch(), file.key_sha256()), (2, new_issuing().public().sha256()));
    assert_eq!(trust.stands_until(&file), Some(from));
    assert_eq!(kind(trust.accepted_before(file.bytes(), from)), Some(Reason::KeyRevoked));
}

#[test]
fn one_key_under_two_names_counts_once() {
    // The parser refuses such a root; were the same key to sign twice in another way, it is its digest that counts.
    let key = ed("acme.example/root-a");
    let again = SigningKey::from_seed(
        "acme.example/other-name",
        Algorithm::Ed25519,
        leasehold_keys::digest::Sha256::of(b"test seed of acme.example/root-a for Ed25519").as_bytes(),
    )
    .unwrap();
    assert_eq!(key.public().sha256(), again.public().sha256());
    assert_ne!(key.public().id(), again.public().id());
    assert_eq!(kind(Trust::anchored(&sign(&root().render(), &[&key, &again]))), Some(Reason::NewThreshold));
}

#[test]
fn the_refusal_says_which_root_to_drop_in() {
    let mut file = activation();
    file.root_version = 3;
    let refusal = trust().activation(&issued(&file), now()).unwrap_err();
    assert_eq!((refusal.reason(), refusal.line()), ("root-version-ahead", Some(16)));
    assert!(refusal.to_string().contains("needs root 3, and this server holds root 1"), "{refusal}");
    let refusal = trust().activation(&sign(&file.render(), &[&new_issuing()]), now()).unwrap_err();
    assert_eq!(refusal.reason(), "unknown-key");
    assert!(refusal.to_string().contains("says that it needs root 3"), "{refusal}");
}

fn verified(trust: &Trust, bytes: &[u8]) -> Verified<Activation> {
    trust.accepted_before(bytes, now()).unwrap()
}

#[test]
fn marks_order_by_epoch_then_sequence() {
    let trust = chain(Vec::new());
    let old = |sequence| verified(&trust, &with_sequence(sequence, &issuing()));
    let new = |sequence| verified(&trust, &with_sequence(sequence, &new_issuing()));
    let mark = Some(Mark::of(&old(5)));
    assert_eq!(judge(&None, &old(1)), MarkVerdict::Newer);
    assert_eq!(judge(&mark, &old(6)), MarkVerdict::Newer);
    assert_eq!(judge(&mark, &old(5)), MarkVerdict::Same);
    assert_eq!(judge(&mark, &new(1)), MarkVerdict::Newer, "a later epoch begins anew");
    let lower = judge(&mark, &old(4));
    assert_eq!(lower, MarkVerdict::Superseded { key_epoch: 1, sequence: 5 });
    assert_eq!(lower.reason(), Some("lower-sequence"));
    let mark = Some(Mark::of(&new(1)));
    assert_eq!(judge(&mark, &old(99)), MarkVerdict::Superseded { key_epoch: 2, sequence: 1 });
    let mut other = activation();
    other.sequence = 5;
    other.account = "Other".parse().unwrap();
    let mark = Some(Mark::of(&old(5)));
    let verdict = judge(&mark, &verified(&trust, &issued(&other)));
    assert_eq!(verdict, MarkVerdict::SameSequenceOtherBytes { accepted: old(5).sha256() });
    assert_eq!(verdict.reason(), Some("same-sequence-other-bytes"));
    other.license_id = leasehold_keys::activation::LicenseId("00000000-0000-4000-8000-000000000001".parse().unwrap());
    assert_eq!(judge(&mark, &verified(&trust, &issued(&other))), MarkVerdict::Newer, "a mark of another license");
}

#[test]
fn marks_of_a_revoked_key_are_dropped() {
    let from = now().plus_ms(DAY_MS);
    let trust = chain(revoke(&issuing(), from));
    let stolen = Mark::of(&verified(&trust, &with_sequence(u32::MAX, &issuing())));
    let good = Mark::of(&verified(&trust, &with_sequence(7, &new_issuing())));
    assert_eq!(standing([stolen, good], &trust, now()), [stolen, good]);
    assert_eq!(standing([stolen, good], &trust, from), [good]);
    let stored = serde_json::to_string(&good).unwrap();
    assert_eq!(serde_json::from_str::<Mark>(&stored).unwrap(), good);
}
