//! The vectors themselves: how each bad file is made from a good one.

use super::{
    super::{
        checksum::crc32c,
        header::{HEAD_BYTES, SIGNATURE_BYTES},
        record::{FRAME_HEAD_BYTES, Place, RecordType, TAG_BYTES},
        varint,
        wrap::ContentKey,
        *,
    },
    *,
};
use crate::{digest::Sha256, installation::InstallationId};

/// A file and how it must be judged.
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) bytes: Vec<u8>,
    /// Whose key opens it; damage may show only then.
    pub(super) key: &'static str,
    /// The damage and the record it shows at.
    pub(super) damage: Option<(DamageReason, Option<u64>)>,
    /// How it ends, where it is told.
    pub(super) end: Option<&'static str>,
}

fn good(name: &'static str, end: &'static str, bytes: Vec<u8>) -> Case {
    Case { name, bytes, key: "licensor", damage: None, end: Some(end) }
}

fn bad(name: &'static str, reason: DamageReason, record: impl Into<Option<u64>>, bytes: Vec<u8>) -> Case {
    Case { name, bytes, key: "licensor", damage: Some((reason, record.into())), end: None }
}

/// A record with another index and a fitting checksum.
fn renumbered(record: &[u8], index: u64) -> Vec<u8> {
    changed(record, |bytes| bytes[4..12].copy_from_slice(&index.to_be_bytes()))
}

/// A record that was changed, with a fitting checksum.
fn changed(record: &[u8], change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = record[..record.len() - 4].to_vec();
    change(&mut bytes);
    let checksum = crc32c(&bytes);
    bytes.extend(checksum.to_be_bytes());
    bytes
}

/// The good file with its records as `with` leaves them.
fn records(with: impl FnOnce(&mut Vec<Vec<u8>>)) -> Vec<u8> {
    let mut made = first(true);
    with(&mut made.records);
    made.bytes()
}

/// The good file with a changed header that its installation signed.
fn header(with: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    header_by(&installation(), with)
}

fn header_by(installation: &InstallationKey, with: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = first(true).header;
    bytes.truncate(bytes.len() - SIGNATURE_BYTES);
    with(&mut bytes);
    let signature = installation.sign("usage-header", &[&bytes]);
    bytes.extend(signature);
    bytes
}

/// A file of one record with this plain content, rightly sealed.
fn content(names: Names, plain: &[u8]) -> Vec<u8> {
    let recipients = both();
    let opening = Opening { names, ..opening(&recipients) };
    let (segment, mut bytes) = Segment::begin_with(&installation(), &opening, None, entropy(0)).unwrap();
    let place = Place { segment: 1, index: 1, chain: segment.tail().head.chain };
    bytes.extend(sealed(&place, &place, plain));
    bytes
}

/// A record at `place`, sealed as for another one.
fn sealed(place: &Place, bound_to: &Place, plain: &[u8]) -> Vec<u8> {
    use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
    let key = LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, &*entropy(0).content).unwrap());
    let mut body = plain.to_vec();
    let associated = bound_to.associated_data(body.len() + TAG_BYTES);
    let nonce = Nonce::assume_unique_for_key(bound_to.nonce());
    key.seal_in_place_append_tag(nonce, Aad::from(associated), &mut body).unwrap();
    place.frame(RecordType::Events, &body)
}

pub(super) fn cases() -> Vec<Case> {
    [good_files(), headers(), chains(), openings(), contents()].into_iter().flatten().collect()
}

fn good_files() -> Vec<Case> {
    let whole = first(true).bytes();
    let recipients = [private("licensor").public()];
    let key = PseudonymKey::from_seed(Zeroizing::new([7; 32]));
    let named = Opening { role: None, names: Names::Pseudonyms(key.id()), ..opening(&recipients) };
    let (mut segment, mut pseudonyms) = Segment::begin_with(&installation(), &named, None, entropy(0)).unwrap();
    let tina = User::Pseudonym(key.pseudonym(&"tina".parse().unwrap()));
    let items = [Item::Logon { at: at("08:00:00"), user: tina, counter: 1, keys: keys(&["I3_ACCESS_CLIENT"]) }];
    pseudonyms.extend(segment.seal(&items).unwrap().record);
    let far = [i64::MIN, i64::MAX, 0].map(|ms| {
        let text = "Grüße".into();
        Item::Remark(Remark { at: WallTime::from_ms(ms), code: RemarkCode(u32::MAX), text })
    });
    pseudonyms.extend(segment.seal(&far).unwrap().record);
    let torn = whole[..whole.len() - 20].to_vec();
    let mut zeros = first(false).bytes();
    zeros.extend([0; 700]);
    let mut flipped = whole.clone();
    let last = flipped.len() - 30;
    flipped[last] ^= 1;
    let cut_in_length = [first(false).bytes(), vec![0, 0, 1]].concat();
    vec![
        good("good-closed", "closed", whole),
        good("good-open", "open", first(false).bytes()),
        good("header-alone", "open", first(false).header),
        good("pseudonyms-and-far-times", "open", pseudonyms),
        good("torn-tail", "torn", torn),
        good("torn-in-a-length", "torn", cut_in_length),
        good("torn-into-zeros", "torn", zeros),
        good("torn-last-checksum", "torn", flipped),
        Case { key: "reader", ..good("opened-by-the-reader", "closed", first(true).bytes()) },
    ]
}

fn headers() -> Vec<Case> {
    use DamageReason::*;
    let edit = |offset: usize| {
        let mut bytes = first(true).bytes();
        bytes[offset] ^= 1;
        bytes
    };
    let put = |offset: usize, value: &[u8]| {
        let value = value.to_vec();
        header(move |bytes| bytes[offset..offset + value.len()].copy_from_slice(&value))
    };
    let twice = header(|bytes| {
        let first = bytes[HEAD_BYTES..HEAD_BYTES + 96].to_vec();
        bytes[HEAD_BYTES + 96..].copy_from_slice(&first);
    });
    let none = header(|bytes| {
        bytes.truncate(HEAD_BYTES);
        bytes[8..10].copy_from_slice(&233_u16.to_be_bytes());
        bytes[168] = 0;
    });
    let five = header(|bytes| {
        bytes.extend([5; 3 * 96]);
        bytes[8..10].copy_from_slice(&713_u16.to_be_bytes());
        bytes[168] = 5;
    });
    let mut order_8 = [0; 32];
    order_8.copy_from_slice(
        &crate::digest::unhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05").unwrap(),
    );
    vec![
        bad("empty", NotAUsageFile, None, Vec::new()),
        bad("another-file", NotAUsageFile, None, b"format = \"leasehold/activation/1\"\n".to_vec()),
        bad("magic-of-a-later-version", LaterVersion, None, edit(6)),
        bad("magic-changed", NotAUsageFile, None, edit(0)),
        bad("content-of-a-later-version", LaterVersion, None, put(16, &[2])),
        bad("unknown-kem", UnknownSuite, None, put(10, &[0, 0x21])),
        bad("unknown-kdf", UnknownSuite, None, put(12, &[0, 2])),
        bad("unknown-aead", UnknownSuite, None, put(14, &[0, 1])),
        bad("header-cut-in-the-magic", HeaderCut, None, first(true).header[..5].to_vec()),
        bad("header-cut-in-the-signature", HeaderCut, None, first(true).header[..400].to_vec()),
        bad("header-length-changed", BadHeader, None, edit(9)),
        bad("segment-changed", HeaderSignature, None, edit(23)),
        bad("records-before-changed", HeaderSignature, None, edit(31)),
        bad("start-changed", HeaderSignature, None, edit(39)),
        bad("license-changed", HeaderSignature, None, edit(80)),
        bad("previous-end-changed", HeaderSignature, None, edit(104)),
        bad("commitment-changed", HeaderSignature, None, edit(136)),
        bad("recipient-changed", HeaderSignature, None, edit(170)),
        bad("header-signature-changed", HeaderSignature, None, edit(361 + 20)),
        bad("header-signed-by-another", HeaderSignature, None, header_by(&stranger(), |_| ())),
        bad("installation-key-of-small-order", SmallOrderKey, None, put(48, &order_8)),
        bad("installation-key-not-canonical", BadHeader, None, put(48, &[0xff; 32])),
        bad("no-recipient", BadHeader, None, none),
        bad("five-recipients", BadHeader, None, five),
        bad("a-recipient-twice", BadHeader, None, twice),
        bad("role-unknown", BadHeader, None, put(17, &[3])),
        bad("beginning-unknown", BadHeader, None, put(18, &[7])),
        bad("names-unknown", BadHeader, None, put(19, &[2])),
        bad("plain-names-with-a-pseudonym-key", BadHeader, None, put(96, &[1])),
        bad("segment-0", BadHeader, None, put(20, &[0; 4])),
        bad("segment-beyond-8-digits", BadHeader, None, put(18, &[3, 0, 0x05, 0xf5, 0xe1, 0x00])),
        bad("first-but-not-number-1", BadHeader, None, put(20, &[0, 0, 0, 2])),
        bad("number-1-but-not-first", BadHeader, None, put(18, &[2])),
        bad("first-with-records-before", BadHeader, None, put(31, &[1])),
        bad("first-with-a-previous-end", BadHeader, None, put(104, &[1])),
    ]
}

fn chains() -> Vec<Case> {
    use DamageReason::*;
    // Records: 1 present, 2 events, 3 checkpoint, 4 events, 5 events, 6 close.
    let second = segment(&installation(), &next(&first(true).tail), Some(&first(true).tail), 1, true);
    let elsewhere = second.records[1].clone();
    let other = segment(&stranger(), &opening(&both()), None, 0, true);
    let length = |value: u32| records(|records| records[1][..4].copy_from_slice(&value.to_be_bytes()));
    vec![
        bad("record-deleted", RecordIndex, 2, records(|records| drop(records.remove(1)))),
        bad("record-deleted-and-others-renumbered", ChainSignature, 2, {
            records(|records| {
                records.remove(1);
                for (index, record) in (2..).zip(records.iter_mut().skip(1)) {
                    *record = renumbered(record, index);
                }
            })
        }),
        bad("records-exchanged", RecordIndex, 4, records(|records| records.swap(3, 4))),
        bad("records-exchanged-and-renumbered", ChainSignature, 6, {
            records(|records| {
                records.swap(3, 4);
                records[3] = renumbered(&records[3], 4);
                records[4] = renumbered(&records[4], 5);
            })
        }),
        bad("record-doubled", RecordIndex, 3, records(|records| records.insert(2, records[1].clone()))),
        bad("record-edited", RecordChecksum, 2, records(|records| records[1][20] ^= 1)),
        bad("record-edited-with-its-checksum", ChainSignature, 3, {
            records(|records| records[1] = changed(&records[1], |bytes| bytes[20] ^= 1))
        }),
        bad("record-of-another-segment", ChainSignature, 3, records(|records| records[1] = elsewhere)),
        bad("checkpoint-of-another-installation", ChainSignature, 3, {
            records(|records| records[2] = other.records[2].clone())
        }),
        bad("checkpoint-as-a-close", ChainSignature, 3, {
            records(|records| records[2] = changed(&records[2], |bytes| bytes[12] = 3))
        }),
        bad("checkpoint-with-another-time", ChainSignature, 3, {
            records(|records| records[2] = changed(&records[2], |bytes| bytes[20] ^= 1))
        }),
        bad("checkpoint-too-long", RecordLength, 3, {
            records(|records| {
                records[2] = changed(&records[2], |bytes| {
                    bytes.push(0);
                    bytes[3] += 1;
                });
            })
        }),
        bad("type-unknown", RecordType, 2, {
            records(|records| records[1] = changed(&records[1], |bytes| bytes[12] = 4))
        }),
        bad("length-0", RecordLength, 2, length(0)),
        bad("length-of-a-tag", RecordLength, 2, length(16)),
        bad("length-beyond-64-kib", RecordLength, 2, length(65_520)),
        bad("length-of-4-gib", RecordLength, 2, length(u32::MAX)),
        bad("length-one-short", RecordChecksum, 2, {
            records(|records| {
                let length = u32::try_from(records[1].len() - 18).unwrap();
                records[1][..4].copy_from_slice(&length.to_be_bytes());
            })
        }),
        bad("a-record-after-the-close", AfterClose, 7, records(|records| records.push(renumbered(&records[3], 7)))),
        bad("a-byte-after-the-close", AfterClose, 7, records(|records| records.push(vec![0]))),
    ]
}

fn openings() -> Vec<Case> {
    use DamageReason::*;
    let made = first(false);
    let small = header(|bytes| bytes[HEAD_BYTES + 16..HEAD_BYTES + 48].fill(0));
    let swapped = header(|bytes| {
        let (one, two) = (bytes[HEAD_BYTES..][16..96].to_vec(), bytes[HEAD_BYTES + 96..][16..96].to_vec());
        bytes[HEAD_BYTES..][16..96].copy_from_slice(&two);
        bytes[HEAD_BYTES + 96..][16..96].copy_from_slice(&one);
    });
    // The reader is given another content key than the licensor and the commitment say.
    let two_faced = header(|bytes| {
        let other = ContentKey(Zeroizing::new([0x77; 32]));
        let wrapped = other.wrap(&private("reader").public(), &bytes[..HEAD_BYTES], Zeroizing::new([5; 32])).unwrap();
        bytes[HEAD_BYTES + 96 + 16..][..32].copy_from_slice(&wrapped.encapsulated);
        bytes[HEAD_BYTES + 96 + 48..][..48].copy_from_slice(&wrapped.wrapped);
    });
    let chain = Sha256::of(&made.header);
    let here = Place { segment: 1, index: 1, chain };
    let plain = [0x14, 0, 1, 0];
    let forged = |bound_to: &Place| [made.header.clone(), sealed(&here, bound_to, &plain)].concat();
    vec![
        Case { key: "other", ..bad("opened-by-a-stranger", NotARecipient, None, made.bytes()) },
        bad("encapsulated-key-of-small-order", WrappedKey, None, small),
        bad("content-keys-exchanged", WrappedKey, None, swapped),
        Case { key: "reader", ..bad("two-faced-to-the-reader", KeyCommitment, None, two_faced.clone()) },
        good("two-faced-to-the-licensor", "open", two_faced),
        good("sealed-by-hand", "open", forged(&here)),
        bad("sealed-for-another-index", RecordSealed, 1, forged(&Place { index: 2, ..here })),
        bad("sealed-for-another-chain", RecordSealed, 1, forged(&Place { chain: Sha256([0; 32]), ..here })),
        bad("record-edited-after-the-last-signature", RecordSealed, 5, {
            let mut made = first(false);
            made.records[4] = changed(&made.records[4], |bytes| bytes[FRAME_HEAD_BYTES] ^= 1);
            made.bytes()
        }),
    ]
}

fn contents() -> Vec<Case> {
    let op = |parts: &[&[u8]]| parts.concat();
    let plain = |name, bytes: Vec<u8>| bad(name, DamageReason::BadContent, 1, content(Names::Plain, &bytes));
    let user: &[u8] = &[0x01, 1, b'a'];
    let key: &[u8] = &[0x03, 1, b'K'];
    let set: &[u8] = &[0x04, 1, 0];
    let logon: &[u8] = &[0x11, 0, 0, 1, 0];
    let mut many = op(&[user, key, set]);
    many.extend(logon.repeat(257));
    let mut long = vec![0x14, 0, 1];
    varint::put(&mut long, 513);
    long.extend([b'x'; 513]);
    vec![
        good("content-of-one-logon", "open", content(Names::Plain, &op(&[user, key, set, logon]))),
        good("content-of-definitions-alone", "open", content(Names::Plain, &op(&[user, key]))),
        plain("item-kind-unknown", vec![0x20]),
        plain("item-cut", op(&[user, key, set, &logon[..3]])),
        plain("number-not-shortest", op(&[user, key, set, &[0x11, 0x80, 0, 0, 1, 0]])),
        plain("user-not-defined", op(&[user, key, set, &[0x11, 0, 1, 1, 0]])),
        plain("set-not-defined", op(&[user, key, set, &[0x11, 0, 0, 1, 1]])),
        plain("key-not-defined", op(&[user, key, &[0x04, 1, 1]])),
        plain("set-not-in-order", op(&[key, &[0x03, 1, b'L', 0x04, 2, 1, 0]])),
        plain("key-twice-in-a-set", op(&[key, &[0x04, 2, 0, 0]])),
        plain("counter-0-at-a-logon", op(&[user, key, set, &[0x11, 0, 0, 0, 0]])),
        plain("counter-beyond-32-bits", op(&[user, key, set, &[0x11, 0, 0, 0x80, 0x80, 0x80, 0x80, 0x10, 0]])),
        plain("present-after-a-logon", op(&[user, key, set, logon, &[0x10, 0, 0, 1, 0]])),
        plain("pseudonym-under-plain-names", op(&[&[0x02], &[7; 16]])),
        plain("user-with-an-empty-name", vec![0x01, 0]),
        plain("user-not-utf8", vec![0x01, 1, 0xff]),
        plain("key-with-a-blank", vec![0x03, 1, b' ']),
        plain("257-items", many),
        plain("remark-of-513-bytes", long),
        plain("remark-with-a-line-feed", vec![0x14, 0, 1, 1, b'\n']),
        bad(
            "plain-name-under-pseudonyms",
            DamageReason::BadContent,
            1,
            content(Names::Pseudonyms(PseudonymKeyId([1; 8])), user),
        ),
    ]
}

/// Files under names, and what is to be found in them: reason, segment, record.
pub(super) struct Set {
    pub(super) name: &'static str,
    pub(super) files: Vec<(String, Vec<u8>)>,
    pub(super) only: Option<InstallationId>,
    pub(super) excerpt: bool,
    pub(super) seen: Vec<(InstallationId, Head)>,
    pub(super) acknowledged: Vec<Acknowledged>,
    pub(super) findings: Vec<(FindingReason, Option<u32>, Option<u64>)>,
}

fn next(previous: &Tail) -> Opening<'static> {
    let begun = if previous.closed { Begun::Midnight } else { Begun::Restart };
    Opening { begun, ..opening(Vec::leak(both().to_vec())) }
}

/// Four segments: the second was left open by a crash, the last is still written.
fn four() -> Vec<Made> {
    let key = installation();
    let one = first(true);
    let two = segment(&key, &next(&one.tail), Some(&one.tail), 1, false);
    let three = segment(&key, &next(&two.tail), Some(&two.tail), 2, true);
    let four = segment(&key, &next(&three.tail), Some(&three.tail), 3, false);
    vec![one, two, three, four]
}

fn named(made: &Made) -> (String, Vec<u8>) {
    let bytes = made.bytes();
    let name = verify(&bytes).unwrap().name().to_string();
    (name, bytes)
}

fn set(name: &'static str, findings: &[(FindingReason, u32, Option<u64>)]) -> Set {
    Set {
        name,
        files: four().iter().map(named).collect(),
        only: None,
        excerpt: false,
        seen: Vec::new(),
        acknowledged: Vec::new(),
        findings: findings.iter().map(|(reason, segment, record)| (*reason, Some(*segment), *record)).collect(),
    }
}

pub(super) fn sets() -> Vec<Set> {
    use FindingReason::*;
    let id = installation().id();
    let made = four();
    let names: Vec<String> = made.iter().map(|made| named(made).0).collect();
    let without = |mut set: Set, gone: &[usize]| {
        let kept = |index: &usize| !gone.contains(index);
        set.files = (0..set.files.len()).filter(kept).map(|index| set.files[index].clone()).collect();
        set
    };
    let acknowledged = |index: usize| Acknowledged {
        installation: id,
        segment: made[index].tail.head.segment,
        sha256: Sha256::of(&made[index].bytes()),
    };
    let swap = |mut set: Set, index: usize, bytes: Vec<u8>| {
        set.files[index].1 = bytes;
        set
    };
    // The third segment anew, without one of its records and with all signatures: what a dishonest server can write.
    let rewritten = |number: u8, less: bool| {
        let previous = &made[1].tail;
        let opening = next(previous);
        let (mut segment, mut bytes) =
            Segment::begin_with(&installation(), &opening, Some(previous), entropy(number)).unwrap();
        let records = if less { 1 } else { 5 };
        for _ in 0..records {
            bytes.extend(segment.seal(&john_smith()).unwrap().record);
        }
        bytes.extend(segment.close(&installation(), clocks("23:59:59")).unwrap().record);
        bytes
    };
    let cut = |index: usize, records: usize| {
        let mut bytes = made[index].header.clone();
        bytes.extend(made[index].records[..records].concat());
        bytes
    };
    let other = segment(&stranger(), &opening(&both()), None, 9, true);
    let longer = {
        let mut bytes = made[1].bytes();
        bytes.extend(made[1].tail.close(&installation(), clocks("20:00:00")).unwrap().record);
        bytes
    };
    let edited = {
        let mut bytes = made[2].bytes();
        bytes[made[2].header.len() + 20] ^= 1;
        bytes
    };
    let newest = made[3].tail.head;
    let fork = Head { chain: Sha256([1; 32]), ..newest };
    vec![
        set("whole", &[]),
        Set { seen: vec![(id, newest), (id, made[0].tail.head)], ..set("whole-up-to-the-head", &[]) },
        without(set("second-missing", &[(MissingSegments, 2, None)]), &[1]),
        without(set("second-and-third-missing", &[(MissingSegments, 2, None)]), &[1, 2]),
        without(set("first-missing", &[(MissingSegments, 1, None)]), &[0]),
        Set { excerpt: true, ..without(set("first-missing-of-an-excerpt", &[]), &[0]) },
        without(set("last-missing-and-nobody-knows", &[]), &[3]),
        Set {
            seen: vec![(id, newest)],
            ..without(set("last-missing-though-seen", &[(MissingSegments, 4, None)]), &[3])
        },
        Set { seen: vec![(id, newest)], ..without(set("all-missing", &[(MissingSegments, 1, None)]), &[0, 1, 2, 3]) },
        Set {
            acknowledged: vec![acknowledged(0), acknowledged(1)],
            ..without(set("acknowledged-and-deleted", &[]), &[0, 1])
        },
        Set {
            acknowledged: vec![acknowledged(0)],
            ..without(set("acknowledged-but-more-is-gone", &[(MissingSegments, 2, None)]), &[0, 1])
        },
        Set {
            acknowledged: vec![Acknowledged { sha256: Sha256([0; 32]), ..acknowledged(0) }],
            ..set("another-than-was-acknowledged", &[(Replaced, 1, None)])
        },
        swap(set("end-cut-off", &[(MissingRecords, 3, Some(5))]), 2, cut(2, 4)),
        swap(
            set("end-torn", &[(MissingRecords, 1, Some(6))]),
            0,
            first(true).bytes()[..first(true).bytes().len() - 9].into(),
        ),
        swap(set("torn-though-continued", &[(MissingRecords, 2, Some(6))]), 1, [made[1].bytes(), vec![0; 9]].concat()),
        swap(set("closed-after-it-was-continued", &[(Replaced, 2, Some(6))]), 1, longer),
        Set {
            seen: vec![(id, newest)],
            ..swap(set("newest-cut-off-though-seen", &[(MissingRecords, 4, Some(3))]), 3, cut(3, 2))
        },
        swap(set("newest-cut-off-and-nobody-knows", &[]), 3, cut(3, 2)),
        Set { seen: vec![(id, fork)], ..set("another-than-was-seen", &[(Replaced, 4, Some(5))]) },
        swap(set("rewritten", &[(Replaced, 3, None)]), 2, rewritten(8, false)),
        swap(set("rewritten-with-less", &[(MissingRecords, 3, Some(3))]), 2, rewritten(8, true)),
        swap(set("edited", &[(Damaged, 3, Some(1))]), 2, edited),
        swap(set("header-edited", &[(Damaged, 1, None), (MissingSegments, 1, None)]), 0, {
            let mut bytes = first(true).bytes();
            bytes[100] ^= 1;
            bytes
        }),
        swap(set("exchanged-files", &[(Misnamed, 1, None), (MissingSegments, 2, None)]), 1, made[0].bytes()),
        Set {
            files: [set("", &[]).files, vec![named(&other)]].concat(),
            only: Some(id),
            ..set("a-foreign-file", &[(Foreign, 1, None)])
        },
        Set { files: [set("", &[]).files, vec![named(&other)]].concat(), ..set("two-installations", &[]) },
        Set {
            files: [set("", &[]).files, vec![(names[2].clone(), rewritten(8, false))]].concat(),
            ..set("two-files-of-one-segment", &[(TwoFiles, 3, None)])
        },
        Set { files: set("", &[]).files.into_iter().rev().collect(), ..set("in-another-order", &[]) },
    ]
}
