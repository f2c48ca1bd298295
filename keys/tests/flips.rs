//! Of a file with exactly the required signatures, every single-bit flip and every truncation is refused (02).

mod vendor;

use leasehold_keys::{time::WallTime, trust::Trust};
use vendor::{activation, hybrid_root, issued, issuing, now, pq, root, sign, signed_root, trust};

/// Judges `bytes` with bit `at` flipped.
fn flipped(bytes: &mut [u8], at: usize, judge: impl FnOnce(&[u8]) -> bool) -> bool {
    bytes[at / 8] ^= 1 << (at % 8);
    let accepted = judge(bytes);
    bytes[at / 8] ^= 1 << (at % 8);
    accepted
}

#[test]
fn every_bit_flip_of_an_activation_file_is_refused() {
    let (trust, now) = (trust(), now());
    let mut bytes = issued(&activation());
    assert!(trust.activation(&bytes, now).is_ok());
    for at in 0..bytes.len() * 8 {
        assert!(!flipped(&mut bytes, at, |bytes| trust.activation(bytes, now).is_ok()), "bit {at}");
    }
}

#[test]
fn every_truncation_of_an_activation_file_is_refused() {
    let (trust, now) = (trust(), now());
    let bytes = issued(&activation());
    for length in 0..bytes.len() {
        assert!(trust.activation(&bytes[..length], now).is_err(), "{length} bytes");
        assert!(trust.activation(&bytes[bytes.len() - length..], now).is_err(), "the last {length} bytes");
    }
}

#[test]
fn bit_flips_and_truncations_of_a_hybrid_file_are_refused() {
    let trust = Trust::anchored(&signed_root(&hybrid_root(), &["a", "b"])).unwrap();
    let mut bytes = sign(&activation().render(), &[&issuing(), &pq("acme.example/issuing-2026")]);
    let accepted = |bytes: &[u8]| trust.activation(bytes, now()).is_ok();
    assert!(accepted(&bytes));
    // ML-DSA-65 takes its time, so a part of the bits: a step that is prime meets every place in a byte.
    for at in (0..bytes.len() * 8).step_by(37) {
        assert!(!flipped(&mut bytes, at, accepted), "bit {at}");
    }
    for length in (0..bytes.len()).step_by(11) {
        assert!(!accepted(&bytes[..length]), "{length} bytes");
    }
}

#[test]
fn bit_flips_and_truncations_of_roots_are_refused() {
    let mut bytes = signed_root(&root(), &["a", "b"]);
    let anchors = |bytes: &[u8]| Trust::anchored(bytes).is_ok();
    assert!(anchors(&bytes));
    for at in (0..bytes.len() * 8).step_by(3) {
        assert!(!flipped(&mut bytes, at, anchors), "bit {at}");
    }
    for length in 0..bytes.len() {
        assert!(!anchors(&bytes[..length]), "{length} bytes");
    }
    let trust = trust();
    let mut next = root();
    next.version = 2;
    next.expires = WallTime::PERPETUAL_END;
    let mut bytes = signed_root(&next, &["b", "c"]);
    assert!(trust.succeed(&bytes).is_ok());
    for at in (0..bytes.len() * 8).step_by(3) {
        assert!(!flipped(&mut bytes, at, |bytes| trust.succeed(bytes).is_ok()), "bit {at}");
    }
}
