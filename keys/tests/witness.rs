//! Witness statements: an installation's own, unchanged, and nobody else's.

use leasehold_keys::{
    installation::InstallationKey,
    witness::{NUMBER_MAX, Statement, StatementFault},
};

fn key(byte: u8) -> InstallationKey {
    InstallationKey::from_seed([byte; 32]).unwrap()
}

fn statement() -> Statement {
    Statement { installation: key(1).id(), epoch: 7, epoch_id: 0x0123_4567_89ab_cdef, fencing: 4_711 }
}

/// What is signed, part by part.
fn parts(epoch: u64, fencing: u64) -> [Vec<u8>; 4] {
    let numbers = [epoch, statement().epoch_id, fencing].map(|number| number.to_be_bytes().to_vec());
    let [epoch, id, fencing] = numbers;
    [key(1).id().as_bytes().to_vec(), epoch, id, fencing]
}

#[test]
fn a_statement_is_the_installations_own() {
    let signature = statement().sign(&key(1)).unwrap();
    assert_eq!(statement().verify(&signature, &key(1).public()), Ok(()));
    // Ed25519 signs the same bytes in the same way: what FORMAT.md shows.
    let shown: String = signature.iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(include_str!("../FORMAT.md").contains(&shown[..64]), "{shown}");
}

#[test]
fn another_installation_neither_signs_nor_vouches() {
    let theirs = Statement { installation: key(2).id(), ..statement() };
    assert_eq!(statement().sign(&key(2)), Err(StatementFault::AnotherInstallation));
    let signature = theirs.sign(&key(2)).unwrap();
    assert_eq!(theirs.verify(&signature, &key(1).public()), Err(StatementFault::AnotherInstallation));
    // Their signature under our name.
    assert_eq!(statement().verify(&signature, &key(1).public()), Err(StatementFault::BadSignature));
    assert_eq!(statement().verify(&signature, &key(2).public()), Err(StatementFault::AnotherInstallation));
}

#[test]
fn no_bit_of_a_statement_can_be_changed() {
    let signature = statement().sign(&key(1)).unwrap();
    let public = key(1).public();
    for bit in 0..64 {
        let changed = [
            Statement { epoch: statement().epoch ^ (1 << bit), ..statement() },
            Statement { epoch_id: statement().epoch_id ^ (1 << bit), ..statement() },
            Statement { fencing: statement().fencing ^ (1 << bit), ..statement() },
        ];
        for changed in changed {
            assert!(changed.verify(&signature, &public).is_err(), "{changed:?}");
        }
    }
    for bit in 0..512 {
        let mut flipped = signature;
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(statement().verify(&flipped, &public), Err(StatementFault::BadSignature), "bit {bit}");
    }
    for length in 0..64 {
        assert_eq!(statement().verify(&signature[..length], &public), Err(StatementFault::BadSignature), "{length}");
    }
    let longer = [&signature[..], &[0]].concat();
    assert_eq!(statement().verify(&longer, &public), Err(StatementFault::BadSignature));
}

#[test]
fn a_signature_for_another_purpose_does_not_serve() {
    let parts = parts(statement().epoch, statement().fencing);
    let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
    let public = key(1).public();
    assert_eq!(statement().verify(&key(1).sign("witness", &parts), &public), Ok(()));
    for purpose in ["usage-checkpoint", "lease-token", "witness2", ""] {
        let signature = key(1).sign(purpose, &parts);
        assert_eq!(statement().verify(&signature, &public), Err(StatementFault::BadSignature), "{purpose}");
    }
    let joined = key(1).sign("witness", &[&parts.concat()]);
    assert_eq!(statement().verify(&joined, &public), Err(StatementFault::BadSignature));
}

#[test]
fn numbers_that_no_installation_comes_to_are_refused() {
    let table = [
        (0, 1, false),
        (1, 0, true),
        (1, NUMBER_MAX, true),
        (1, NUMBER_MAX + 1, false),
        (NUMBER_MAX, 1, true),
        (NUMBER_MAX + 1, 1, false),
        (u64::MAX, u64::MAX, false),
    ];
    for (epoch, fencing, good) in table {
        let statement = Statement { epoch, fencing, ..statement() };
        assert_eq!(statement.sign(&key(1)).is_ok(), good, "{statement:?}");
        // Though its key signs it: what was signed by whoever has the key must not push numbers to their end.
        let parts = parts(epoch, fencing);
        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        let forced = key(1).sign("witness", &parts);
        let expected = if good { Ok(()) } else { Err(StatementFault::OutOfRange) };
        assert_eq!(statement.verify(&forced, &key(1).public()), expected, "{statement:?}");
    }
}
