//! Roots from one start to the next: chains, roll-backs, damage.

use std::fs;

use leasehold_keys::{
    key::{Algorithm, SigningKey},
    note,
    root::{KeyRole, Policy, Required, RevokedKey, RoleKey, Root},
};
use tempfile::TempDir;

use super::*;

/// A licensor that has published several roots; root N has the root key N.
pub(crate) struct Roots {
    pub(crate) issuing: SigningKey,
    seed: u8,
}

impl Roots {
    pub(crate) fn of_seed(seed: u8) -> Self {
        let issuing = SigningKey::from_seed("acme.example/issuing", Algorithm::Ed25519, &[seed; 32]);
        Self { issuing: issuing.unwrap(), seed }
    }

    fn key(&self, version: u32) -> SigningKey {
        let seed = [self.seed ^ u8::try_from(version).unwrap().wrapping_mul(37); 32];
        let name = format!("acme.example/root-{version}");
        SigningKey::from_seed(&name, Algorithm::Ed25519, &seed).unwrap()
    }

    /// Root `version`, signed by its own key and that of the root before it.
    pub(crate) fn root(&self, version: u32) -> Vec<u8> {
        self.root_with(version, &[], WallTime::PERPETUAL_END)
    }

    pub(crate) fn root_with(&self, version: u32, revoked: &[RevokedKey], expires: WallTime) -> Vec<u8> {
        let own = self.key(version);
        let one = Required { ed25519: 1, ml_dsa_65: 0 };
        let root = Root {
            version,
            expires,
            usage_key: [9; 32],
            policy: Policy { root: one, activation: one, check_in: one, receipt: one },
            root_keys: vec![own.public().clone()],
            role_keys: vec![RoleKey {
                key: self.issuing.public().clone(),
                role: KeyRole::Issuing,
                epoch: 1,
                not_before: WallTime::default(),
                not_after: WallTime::PERPETUAL_END,
            }],
            revoked: revoked.to_vec(),
        };
        let before = (version > 1).then(|| self.key(version - 1));
        let signers: Vec<&SigningKey> = before.iter().chain([&own]).collect();
        note::sign(&root.render(), &signers).unwrap().into_bytes()
    }
}

struct State {
    dir: TempDir,
}

impl State {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn configured(&self, root: &[u8]) -> Result<TrustStore, TrustFault> {
        let path = self.dir.path().join("configured.i3root");
        fs::write(&path, root).unwrap();
        TrustStore::with_built_in(self.dir.path(), Some(&path), None)
    }

    fn built_in(&self, root: &[u8]) -> Result<TrustStore, TrustFault> {
        TrustStore::with_built_in(self.dir.path(), None, Some(root))
    }

    fn kept(&self) -> Vec<String> {
        let names = fs::read_dir(self.dir.path().join("roots")).unwrap();
        let mut names: Vec<_> = names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn version(store: &TrustStore) -> u32 {
    store.trust().root().version
}

#[test]
fn newer_roots_are_kept_over_restarts() {
    let (state, acme) = (State::new(), Roots::of_seed(1));
    let mut store = state.built_in(&acme.root(1)).unwrap();
    assert_eq!(store.to_string(), "acme.example, version 1, built in");
    assert_eq!(store.offer(&acme.root(2)).unwrap(), Offered::Adopted(2));
    assert_eq!(store.offer(&acme.root(3)).unwrap(), Offered::Adopted(3));
    assert_eq!(store.offer(&acme.root(3)).unwrap(), Offered::InForce(3));
    assert_eq!(store.offer(&acme.root(2)).unwrap(), Offered::Older(2));
    assert_eq!(state.kept(), ["0002.root", "0003.root"]);
    assert_eq!(version(&state.built_in(&acme.root(1)).unwrap()), 3);
}

#[test]
fn a_root_that_skips_or_forks_is_refused_and_changes_nothing() {
    let (state, acme) = (State::new(), Roots::of_seed(1));
    let mut store = state.built_in(&acme.root(1)).unwrap();
    let forked = acme.root_with(1, &[], WallTime::from_ms(4_000_000_000_000));
    for (root, reason) in [
        (acme.root(3), Reason::RootSkipsVersion),
        (Roots::of_seed(2).root(2), Reason::OldThreshold),
        (forked, Reason::RootVersionReused),
        (b"no root".to_vec(), Reason::NoBlankLine),
    ] {
        match store.offer(&root) {
            Err(OfferFault::Refused(refusal)) => assert_eq!(refusal.kind(), reason),
            other => panic!("{other:?} instead of {reason:?}"),
        }
    }
    assert_eq!((version(&store), state.kept().len()), (1, 0));
}

#[test]
fn a_configured_root_says_so_and_its_copy_outlives_the_path() {
    let (state, acme) = (State::new(), Roots::of_seed(1));
    let store = state.configured(&acme.root(1)).unwrap();
    assert_eq!(store.to_string(), "acme.example, version 1, configured, not built in");
    fs::remove_file(state.dir.path().join("configured.i3root")).unwrap();
    let gone = state.dir.path().join("configured.i3root");
    let again = TrustStore::with_built_in(state.dir.path(), Some(&gone), None).unwrap();
    assert_eq!((again.anchor(), version(&again)), (Anchor::Kept, 1));
}

#[test]
fn without_any_root_the_start_is_refused_in_words() {
    let state = State::new();
    let fault = TrustStore::with_built_in(state.dir.path(), None, None).unwrap_err();
    assert!(matches!(fault, TrustFault::NoRoot), "{fault}");
    let gone = state.dir.path().join("gone.i3root");
    let fault = TrustStore::with_built_in(state.dir.path(), Some(&gone), None).unwrap_err();
    assert!(matches!(fault, TrustFault::Unreadable { .. }), "{fault}");
}

#[test]
fn an_older_anchor_does_not_roll_back_what_was_kept() {
    let (state, acme) = (State::new(), Roots::of_seed(1));
    let revoked = RevokedKey { sha256: acme.issuing.public().sha256(), from: WallTime::from_ms(5_000) };
    let second = acme.root_with(2, &[revoked], WallTime::PERPETUAL_END);
    let mut store = state.configured(&acme.root(1)).unwrap();
    store.offer(&second).unwrap();
    let again = state.configured(&acme.root(1)).unwrap();
    assert_eq!(version(&again), 2);
    assert_eq!(again.revocations(), [(revoked.sha256, revoked.from)]);
}

#[test]
fn a_newer_configured_root_keeps_the_ones_before_it() {
    let (state, acme) = (State::new(), Roots::of_seed(1));
    state.configured(&acme.root(1)).unwrap();
    let store = state.configured(&acme.root(2)).unwrap();
    assert_eq!((version(&store), store.trust().chain().count()), (2, 2));
}

#[test]
fn a_planted_older_root_does_not_count_beside_a_built_in_one() {
    let (state, acme, thief) = (State::new(), Roots::of_seed(1), Roots::of_seed(2));
    state.built_in(&acme.root(2)).unwrap();
    fs::write(state.dir.path().join("roots/0001.root"), thief.root(1)).unwrap();
    let store = state.built_in(&acme.root(2)).unwrap();
    assert_eq!(store.trust().chain().count(), 1);
}

#[test]
fn kept_roots_of_another_licensor_or_damaged_ones_stop_the_start() {
    let (state, acme, other) = (State::new(), Roots::of_seed(1), Roots::of_seed(2));
    state.built_in(&acme.root(1)).unwrap().offer(&acme.root(2)).unwrap();
    let fault = state.built_in(&other.root(1)).unwrap_err();
    assert!(matches!(fault, TrustFault::BadChain { .. }), "{fault}");
    let kept = state.dir.path().join("roots/0002.root");
    let mut torn = fs::read(&kept).unwrap();
    torn.truncate(torn.len() / 2);
    fs::write(&kept, torn).unwrap();
    let fault = state.built_in(&acme.root(1)).unwrap_err();
    assert!(matches!(fault, TrustFault::BadChain { .. }), "{fault}");
    fs::remove_file(&kept).unwrap();
    fs::create_dir(&kept).unwrap();
    let fault = state.built_in(&acme.root(1)).unwrap_err();
    assert!(matches!(fault, TrustFault::KeptUnreadable { .. }) && fault.to_string().contains("moved away"), "{fault}");
}

#[test]
fn a_root_that_cannot_be_kept_is_not_put_in_force() {
    let (state, acme) = (State::new(), Roots::of_seed(1));
    let mut store = state.built_in(&acme.root(1)).unwrap();
    fs::remove_dir(state.dir.path().join("roots")).unwrap();
    assert!(matches!(store.offer(&acme.root(2)), Err(OfferFault::NotKept(_))));
    assert_eq!(version(&store), 1);
}
