//! Installation keys on disk, and what they sign: requests, receipts, statements.

mod vendor;

use std::{fs, os::unix::fs::PermissionsExt as _};

use leasehold_keys::{
    digest::Sha256,
    installation::{InstallationKey, KeyFileFault},
    note::NoteKind,
    receipt::DeactivationReceipt,
    request::{self, HostRequest},
};
use vendor::{activation, host, now};

fn key(byte: u8) -> InstallationKey {
    InstallationKey::from_seed([byte; 32]).unwrap()
}

fn request() -> String {
    request::make(&key(1), host().id, "srv-17".parse().unwrap(), Some("CIC".parse().unwrap()), now()).unwrap()
}

fn receipt(of: &InstallationKey) -> DeactivationReceipt {
    DeactivationReceipt {
        license_id: activation().license_id,
        sequence: 13,
        sha256: Sha256::of(b"the closing file"),
        installation_id: of.id(),
        closed: now(),
    }
}

#[test]
fn a_key_is_stored_for_its_owner_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("installation.key");
    key(1).store(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
    assert_eq!(InstallationKey::load(&path).unwrap().id(), key(1).id());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    // A key that is there is never replaced.
    assert!(matches!(key(2).store(&path), Err(KeyFileFault::Io { .. })));
    assert_eq!(InstallationKey::load(&path).unwrap().id(), key(1).id());
    for mode in [0o640, 0o604, 0o610] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        assert!(matches!(InstallationKey::load(&path), Err(KeyFileFault::Mode { mode: got, .. }) if got == mode));
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&path, [0; 31]).unwrap();
    assert!(matches!(InstallationKey::load(&path), Err(KeyFileFault::NotAKey { .. })));
    assert!(matches!(InstallationKey::load(folder.path()), Err(KeyFileFault::NotAKey { .. })));
    assert!(matches!(InstallationKey::load(&folder.path().join("none")), Err(KeyFileFault::Io { .. })));
}

#[test]
fn a_key_left_unfinished_by_a_crash_is_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("installation.key");
    fs::write(folder.path().join("installation.key.new"), [7; 9]).unwrap();
    key(3).store(&path).unwrap();
    assert_eq!(InstallationKey::load(&path).unwrap().id(), key(3).id());
}

#[test]
fn generated_keys_differ() {
    let [a, b] = [InstallationKey::generate().unwrap(), InstallationKey::generate().unwrap()];
    assert_ne!(a.id(), b.id());
    assert_eq!(a.id().to_string(), Sha256::of(a.public().as_bytes()).to_string()[..32]);
    assert_eq!(a.id().to_string().parse(), Ok(a.id()));
}

#[test]
fn no_signature_serves_for_another_purpose_or_other_parts() {
    let (key, parts) = (key(1), [&b"ab"[..], b"c"]);
    let signature = key.sign("usage-checkpoint", &parts);
    let public = key.public();
    assert!(public.verifies("usage-checkpoint", &parts, &signature));
    assert!(!public.verifies("lease", &parts, &signature));
    assert!(!public.verifies("usage-checkpoint", &[b"a", b"bc"], &signature));
    assert!(!public.verifies("usage-checkpoint", &[b"abc"], &signature));
    assert!(!public.verifies("usage-checkpoint", &parts, &signature[..63]));
    assert!(!self::key(2).public().verifies("usage-checkpoint", &parts, &signature));
}

#[test]
fn a_request_is_read_as_it_was_made() {
    let note = request();
    assert_eq!(NoteKind::claimed(note.as_bytes()), Some(NoteKind::Request));
    let verified = HostRequest::verify(note.as_bytes()).unwrap();
    assert_eq!(verified.installation_id(), key(1).id());
    assert_eq!((&verified.host_id, verified.created), (&host().id, now()));
    assert_eq!((verified.machine_name.as_str(), verified.product.as_ref().unwrap().as_str()), ("srv-17", "CIC"));
}

#[test]
fn a_request_that_was_changed_is_refused() {
    let note = request();
    let other = request::make(&key(2), host().id, "srv-17".parse().unwrap(), None, now()).unwrap();
    let (text, _) = note.split_once("\n\n").unwrap();
    let (_, signatures) = other.split_once("\n\n").unwrap();
    let id = key(1).id().to_string();
    let table = [
        ("changed", note.replace("srv-17", "srv-18"), "bad-signature"),
        ("signed by another", format!("{text}\n\n{signatures}"), "not-its-installation"),
        ("another ID", note.replacen(&format!("id = \"{id}\""), &format!("id = \"{}\"", key(2).id()), 1), "bad-value"),
        ("another name of its key", note.replacen(&format!("installation-{id}+"), "installation-0+", 1), "bad-key"),
        ("unknown field", note.replacen("created", "wish = 1\ncreated", 1), "unknown-field"),
        ("another kind", note.replacen("request/1", "root/1", 1), "wrong-kind"),
    ];
    for (name, bytes, reason) in table {
        assert_ne!(bytes, note, "{name}");
        assert_eq!(HostRequest::verify(bytes.as_bytes()).unwrap_err().reason(), reason, "{name}");
    }
    for at in (0..note.len() * 8).step_by(5) {
        let mut bytes = note.clone().into_bytes();
        bytes[at / 8] ^= 1 << (at % 8);
        assert!(HostRequest::verify(&bytes).is_err(), "bit {at}");
    }
}

#[test]
fn a_receipt_is_the_installations_own() {
    let note = receipt(&key(1)).sign(&key(1)).unwrap();
    let verified = DeactivationReceipt::verify(note.as_bytes(), &key(1).public()).unwrap();
    assert_eq!(*verified, receipt(&key(1)));
    assert_eq!(receipt(&key(1)).sign(&key(2)).unwrap_err().reason(), "not-its-installation");
    let table = [
        ("by another", receipt(&key(2)).sign(&key(2)).unwrap(), "not-its-installation"),
        ("changed", note.replace("sequence = 13", "sequence = 12"), "bad-signature"),
        ("a request", request(), "wrong-kind"),
    ];
    for (name, bytes, reason) in table {
        assert_eq!(
            DeactivationReceipt::verify(bytes.as_bytes(), &key(1).public()).unwrap_err().reason(),
            reason,
            "{name}"
        );
    }
}
