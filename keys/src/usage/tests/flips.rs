//! Every flipped bit and every cut of a small file shows.

use super::{super::*, *};

fn small() -> Vec<u8> {
    let recipients = [private("licensor").public()];
    let (mut segment, mut bytes) =
        Segment::begin_with(&installation(), &opening(&recipients), None, entropy(0)).unwrap();
    bytes.extend(segment.seal(&john_smith()).unwrap().record);
    bytes.extend(segment.checkpoint(&installation(), clocks("16:40:00")).unwrap().record);
    bytes.extend(segment.seal(&john_smith()).unwrap().record);
    bytes.extend(segment.close(&installation(), clocks("23:59:59")).unwrap().record);
    bytes
}

/// True where the file passes as closed.
fn passes(bytes: &[u8]) -> bool {
    verify(bytes).is_ok_and(|file| matches!(file.end(), End::Closed(_)))
}

#[test]
fn every_bit_flip_shows_without_a_key() {
    let mut bytes = small();
    assert!(passes(&bytes));
    let key = private("licensor");
    for bit in 0..bytes.len() * 8 {
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(!passes(&bytes), "bit {bit}");
        // Whatever is still opened is what was sealed.
        if let Ok(opened) = open(&bytes, &key) {
            assert!(opened.items().zip(john_smith().iter().cycle()).all(|(got, sealed)| got == sealed), "bit {bit}");
            assert!(opened.items().count() <= 12);
        }
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
}

#[test]
fn every_cut_shows_and_leaves_what_is_whole() {
    let bytes = small();
    let whole = verify(&bytes).unwrap();
    for length in 0..bytes.len() {
        assert!(!passes(&bytes[..length]), "{length} bytes");
        assert!(!passes(&bytes[bytes.len() - length..]), "the last {length} bytes");
        match verify(&bytes[..length]) {
            Ok(file) => {
                assert_eq!(whole.chain_after(file.records()), Some(file.head().chain));
                assert_eq!(matches!(file.end(), End::Torn(_)), file.tail().bytes < length as u64);
            }
            Err(damage) => {
                assert_eq!(damage.kind(), DamageReason::HeaderCut.min(damage.kind()));
                assert!(damage.at_record().is_none() && length < 329, "{length}: {damage}");
            }
        }
    }
}

#[test]
fn a_tail_of_zeros_is_torn_and_copied_again() {
    let bytes = small();
    let second = verify(&bytes).unwrap().chain_after(1);
    for zeros in [1, 3, 40, 5_000] {
        let made = [&bytes[..329], &[0; 5_000][..zeros]].concat();
        let file = verify(&made).unwrap();
        assert_eq!((file.records(), file.tail().bytes), (0, 329));
        assert!(matches!(file.end(), End::Torn(Torn { record: 1, offset: 329, .. })));
        let again = [&bytes[..usize::try_from(file.tail().bytes).unwrap()], &bytes[329..]].concat();
        assert_eq!(verify(&again).unwrap().chain_after(1), second);
    }
}
