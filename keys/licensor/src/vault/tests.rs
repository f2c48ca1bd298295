//! Keys at rest: what comes back, and what does not.

use super::*;

fn sealed() -> Protection {
    Protection::Passphrase(Passphrase::new("correct horse").unwrap())
}

#[test]
fn a_key_comes_back_as_it_was_kept() {
    let dir = tempfile::tempdir().unwrap();
    for (index, algorithm) in
        [KeyAlgorithm::Ed25519, KeyAlgorithm::MlDsa65, KeyAlgorithm::X25519].into_iter().enumerate()
    {
        for (protection, name) in [(Protection::None, "clear"), (sealed(), "sealed")] {
            let path = dir.path().join(format!("{name}-{index}.key"));
            let key = PrivateKey::generate("acme.example/k", Purpose::Issuing, algorithm).unwrap();
            key.store(&path, &protection).unwrap();
            let again = PrivateKey::load(&path, Some(&Passphrase::to_try("correct horse"))).unwrap();
            assert_eq!(*again.seed, *key.seed);
            assert_eq!(is_sealed(&path).unwrap(), name == "sealed");
            // A key file is never overwritten.
            assert!(matches!(key.store(&path, &protection), Err(VaultFault::Io { .. })));
        }
    }
}

#[test]
fn a_sealed_key_opens_to_its_passphrase_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("k.key");
    let key = PrivateKey::generate("acme.example/k", Purpose::Root, KeyAlgorithm::Ed25519).unwrap();
    key.store(&path, &sealed()).unwrap();
    assert!(matches!(PrivateKey::load(&path, None), Err(VaultFault::PassphraseNeeded { .. })));
    let wrong = Passphrase::to_try("correct horsf");
    assert!(matches!(PrivateKey::load(&path, Some(&wrong)), Err(VaultFault::WrongPassphrase { .. })));
    // No byte of the secret stands in the file.
    let text = fs::read_to_string(&path).unwrap();
    assert!(!text.contains(&BASE64.encode(*key.seed)));
}

#[test]
fn the_head_is_bound_to_the_secret() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("k.key");
    PrivateKey::generate("acme.example/k", Purpose::CheckIn, KeyAlgorithm::Ed25519)
        .unwrap()
        .store(&path, &sealed())
        .unwrap();
    let text = fs::read_to_string(&path).unwrap();
    for (from, to) in [("\"check-in\"", "\"issuing\""), ("acme.example/k", "acme.example/l")] {
        fs::write(&path, text.replace(from, to)).unwrap();
        let fault = PrivateKey::load(&path, Some(&Passphrase::to_try("correct horse"))).unwrap_err();
        assert!(matches!(fault, VaultFault::WrongPassphrase { .. }), "{fault}");
    }
    for (from, to) in [
        ("argon2-passes = 3", "argon2-passes = 4000000000"),
        ("argon2-memory-kib = 65536", "argon2-memory-kib = 4000000000"),
        ("\"argon2id-chacha20-poly1305\"", "\"rot13\""),
        ("licensor-key/1", "licensor-key/2"),
        ("nonce = ", "nunce = "),
    ] {
        fs::write(&path, text.replace(from, to)).unwrap();
        let fault = PrivateKey::load(&path, Some(&Passphrase::to_try("correct horse"))).unwrap_err();
        assert!(matches!(fault, VaultFault::Malformed { .. }), "{from}: {fault}");
    }
}

#[cfg(unix)]
#[test]
fn a_key_that_others_can_read_is_not_used() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("k.key");
    let key = PrivateKey::generate("acme.example/k", Purpose::Root, KeyAlgorithm::Ed25519).unwrap();
    key.store(&path, &Protection::None).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
    for mode in [0o640, 0o604, 0o620] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        assert!(
            matches!(PrivateKey::load(&path, None), Err(VaultFault::WrongMode { mode: found, .. }) if found == mode)
        );
    }
}
