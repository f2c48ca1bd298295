//! Receipts: signed, for this installation, once.

use std::fs;

use leasehold_keys::dev::DevLicensor;

use super::*;
use crate::test_site::terms;

#[test]
fn a_receipt_is_signed_and_keeps_its_date() {
    let dir = tempfile::tempdir().unwrap();
    let licensor = DevLicensor::from_seed(&[7; 32]).unwrap();
    let mut closing = terms(3, &[]);
    closing.hosts.clear();
    let bytes = licensor.issue(&closing).unwrap();
    let now: WallTime = "2026-11-22T04:19:00Z".parse().unwrap();
    let closing = licensor.trust().unwrap().activation(&bytes, now).unwrap();
    let key = InstallationKey::from_seed([5; 32]).unwrap();
    let receipts = Receipts::of(dir.path());

    assert_eq!(receipts.write(&closing, &key, now).unwrap(), None, "none is owed for what never ran here");
    assert_eq!(receipts.receipt_of(&closing), None);
    receipts.owe(&closing).unwrap();
    let path = receipts.write(&closing, &key, now).unwrap().expect("it is new");
    assert_eq!(receipts.receipt_of(&closing).as_ref(), Some(&path));
    assert_eq!(receipts.write(&closing, &key, now.plus_ms(1_000)).unwrap(), None);

    let note = fs::read(&path).unwrap();
    let receipt = DeactivationReceipt::verify(&note, &key.public()).unwrap();
    assert_eq!((receipt.license_id, receipt.sequence), (closing.license_id, 3));
    assert_eq!((receipt.sha256, receipt.closed), (closing.sha256(), now));

    assert_eq!(receipts.told(&closing), format!("Send {} to the licensor.", path.display()));
    // Whoever takes the receipt away does not make it a license that never ran.
    fs::remove_file(path).unwrap();
    let told = receipts.told(&closing);
    assert!(told.starts_with("No receipt of it is here") && !told.contains("never"), "{told}");
}

#[test]
fn a_receipt_that_cannot_be_written_is_told() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("receipts"), b"a file where the folder should be").unwrap();
    let licensor = DevLicensor::from_seed(&[7; 32]).unwrap();
    let bytes = licensor.issue(&terms(3, &[])).unwrap();
    let now = WallTime::from_ms(1_800_000_000_000);
    let closing = licensor.trust().unwrap().activation(&bytes, now).unwrap();
    let fault = Receipts::of(dir.path()).owe(&closing).unwrap_err();
    assert!(matches!(fault, ReceiptFault::Write { .. }), "{fault}");
}
