//! Usage files by what anyone may call: what is sealed is opened again, a day of a large site stays small, and what was
//! not committed can be given up at any point.

use std::collections::BTreeSet;

use leasehold_keys::{
    activation::{HostRole, LicenseId},
    installation::InstallationKey,
    name::KeyName,
    time::{DAY_MS, WallTime},
    usage::{
        Begun, Clocks, End, FILE_MAX_BYTES, ITEMS_MAX, Item, KeySet, Names, Opening, Pseudonym, PseudonymKey,
        RECORD_MAX_BYTES, Remark, RemarkCode, SealFault, Segment, Sequence, Tail, UsagePrivateKey, UsagePublicKey,
        User, open, verify,
    },
};
use proptest::{collection, prelude::*};

fn installation() -> InstallationKey {
    InstallationKey::from_seed([1; 32]).unwrap()
}

fn noon() -> Clocks {
    let noon = "2026-11-22T12:00:00Z".parse().unwrap();
    Clocks { trusted: noon, wall: noon }
}

fn midnight() -> Clocks {
    let midnight = "2026-11-22T00:00:00Z".parse().unwrap();
    Clocks { trusted: midnight, wall: midnight }
}

fn opening(recipients: &[UsagePublicKey]) -> Opening<'_> {
    Opening {
        license: LicenseId("7f3c9a52-1f0e-4b1e-9c55-0d2f6a3b8e41".parse().unwrap()),
        role: Some(HostRole::Primary),
        begun: Begun::First,
        start: midnight(),
        names: Names::Plain,
        recipients,
    }
}

fn keys(names: &[&str]) -> KeySet {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

/// Seals all of `items`, in as many records as it takes.
fn seal_all(segment: &mut Segment, file: &mut Vec<u8>, mut items: &[Item]) -> u32 {
    let mut records = 0;
    while !items.is_empty() {
        let sealed = segment.seal(items).unwrap();
        assert!(sealed.record.len() <= RECORD_MAX_BYTES && sealed.taken <= ITEMS_MAX);
        file.extend(sealed.record);
        items = &items[sealed.taken..];
        records += 1;
    }
    records
}

fn user() -> impl Strategy<Value = User> {
    prop_oneof![
        "[a-c]".prop_map(|name| User::Plain(name.parse().unwrap())),
        "[A-Za-zäß日][A-Za-z0-9äß日. ]{0,60}[A-Z]".prop_map(|name| User::Plain(name.parse().unwrap())),
    ]
}

fn key_set() -> impl Strategy<Value = KeySet> {
    prop_oneof![collection::vec("K[1-5]", 0..4), collection::vec("[A-Z][A-Z0-9_.-]{0,100}X", 0..300),]
        .prop_map(|names| names.iter().map(|name| name.parse::<KeyName>().unwrap()).collect())
}

fn item() -> impl Strategy<Value = Item> {
    let near = 1_795_305_600_000..1_795_392_000_000_i64;
    let time = prop_oneof![9 => near, 1 => any::<i64>()].prop_map(WallTime::from_ms);
    (0..4_u8, time, user(), 1..=u32::MAX, key_set(), "[ -~ä日]{0,120}").prop_map(
        |(kind, at, user, counter, keys, text)| match kind {
            0 => Item::Logon { at, user, counter, keys },
            1 => Item::Logoff { at, user, counter: counter - 1, keys },
            2 => Item::KeysChanged { at, user, counter, keys },
            _ => Item::Remark(Remark { at, code: RemarkCode(counter), text }),
        },
    )
}

fn present() -> impl Strategy<Value = Item> {
    (any::<i64>(), user(), 1..=u32::MAX, key_set()).prop_map(|(since, user, counter, keys)| Item::Present {
        since: WallTime::from_ms(since),
        user,
        counter,
        keys,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn what_is_sealed_is_opened_by_each_recipient(
        present in collection::vec(present(), 0..5),
        items in collection::vec(item(), 1..60),
        cut in 0..60_usize,
        checkpoint: bool,
        closed: bool,
    ) {
        let (installation, readers) = (installation(), [(); 4].map(|()| UsagePrivateKey::generate().unwrap()));
        let recipients = readers.each_ref().map(UsagePrivateKey::public);
        let (mut segment, mut file) = Segment::begin(&installation, &opening(&recipients), None).unwrap();
        let sealed = [present, items].concat();
        let (first, rest) = sealed.split_at(cut.min(sealed.len()));
        seal_all(&mut segment, &mut file, first);
        if checkpoint {
            file.extend(segment.checkpoint(&installation, noon()).unwrap().record);
        }
        seal_all(&mut segment, &mut file, rest);
        let mut tail = *segment.tail();
        if closed {
            let end = segment.close(&installation, noon()).unwrap();
            file.extend(end.record);
            tail = end.tail;
        }
        let verified = verify(&file).unwrap();
        prop_assert_eq!(verified.tail(), tail);
        prop_assert_eq!(verified.end(), if closed { &End::Closed(noon()) } else { &End::Open });
        for reader in &readers {
            let opened = open(&file, reader).unwrap();
            prop_assert!(opened.damage.is_none());
            prop_assert!(opened.items().eq(&sealed));
        }
    }

    #[test]
    fn no_bytes_make_a_reader_panic(bytes in collection::vec(any::<u8>(), 0..2_000), magic: bool) {
        let mut bytes = bytes;
        if magic && bytes.len() > 17 {
            bytes[..17].copy_from_slice(b"I3USG\0\x01\0\x01\x49\0\x20\0\x01\0\x03\x01");
        }
        let _ = verify(&bytes);
        let _ = open(&bytes, &UsagePrivateKey::from_seed([7; 32].into()));
        let mut sequence = Sequence::new();
        sequence.add("x.usg", &bytes);
        prop_assert!(!sequence.finish().findings.is_empty());
    }
}

/// 20,000 users with four logons and logoffs each, over a working day: names as directories have them.
fn large_day(name: impl Fn(u32) -> User) -> Vec<Item> {
    let sets: Vec<KeySet> = (0..40)
        .map(|number: u32| {
            let extra = [format!("I3_ACCESS_ADDON_{number}"), "I3_ACCESS_CLIENT".to_owned()];
            extra
                .iter()
                .map(|key| key.parse::<KeyName>().unwrap())
                .chain(keys(&["I3_ACCESS_ACD_MEDIA_1"]).iter().cloned())
                .collect()
        })
        .collect();
    let mut items = Vec::new();
    for number in 0..20_000_u32 {
        let (user, keys) = (name(number), || sets[(number * 7 % 40) as usize].clone());
        for session in 0..4_i64 {
            // Spread without a pattern that deltas could gain from.
            let jitter = i64::from(number.wrapping_mul(2_654_435_761) >> 8) % (3 * 3_600_000);
            let on = midnight().trusted.plus_ms(6 * 3_600_000 + session * 4 * 3_600_000 + jitter);
            let off = on.plus_ms(900_000 + jitter / 5);
            items.push(Item::Logon { at: on, user: user.clone(), counter: 1, keys: keys() });
            items.push(Item::Logoff { at: off, user: user.clone(), counter: 0, keys: keys() });
        }
    }
    items.sort_by_key(Item::at);
    items
}

/// Seals a day as a server does: whenever 256 events are there or 60 s have passed, and a checkpoint with each block.
fn day_as_written(items: &[Item], names: Names) -> Vec<u8> {
    let (installation, reader) = (installation(), UsagePrivateKey::from_seed([9; 32].into()));
    let recipients = [reader.public(), UsagePrivateKey::from_seed([8; 32].into()).public()];
    let opening = Opening { names, ..opening(&recipients) };
    let (mut segment, mut file) = Segment::begin(&installation, &opening, None).unwrap();
    let mut rest = items;
    for minute in 0..=24 * 60 {
        let until = midnight().trusted.plus_ms(minute * 60_000);
        let due = rest.iter().take_while(|item| item.at() <= until).count();
        if due > 0 {
            seal_all(&mut segment, &mut file, &rest[..due]);
            file.extend(segment.checkpoint(&installation, Clocks { trusted: until, wall: until }).unwrap().record);
            rest = &rest[due..];
        }
    }
    assert!(rest.is_empty());
    file.extend(segment.close(&installation, midnight()).unwrap().record);
    assert!(open(&file, &reader).unwrap().items().eq(items));
    file
}

/// USAGE-7.
#[test]
fn a_day_of_a_large_site_fits_in_3_mib() {
    let names = large_day(|number| User::Plain(format!("CONTOSO\\firstname.lastname{number:05}").parse().unwrap()));
    assert_eq!(names.len(), 160_000);
    let plain = day_as_written(&names, Names::Plain);
    let key = PseudonymKey::from_seed([7; 32].into());
    let hidden = large_day(|number| User::Pseudonym(key.pseudonym(&format!("u{number}").parse().unwrap())));
    let pseudonyms = day_as_written(&hidden, Names::Pseudonyms(key.id()));
    println!("plain names: {} bytes; pseudonyms: {} bytes", plain.len(), pseudonyms.len());
    assert!(plain.len() < 3 << 20 && pseudonyms.len() < 3 << 20, "{} {}", plain.len(), pseudonyms.len());
    // Room to spare for names that are longer and sessions that overlap.
    assert!(plain.len() < 5 << 19, "{}", plain.len());
}

#[test]
fn no_name_and_no_key_shows_in_a_file() {
    let (installation, reader) = (installation(), UsagePrivateKey::generate().unwrap());
    let recipients = [reader.public()];
    let (mut segment, mut file) = Segment::begin(&installation, &opening(&recipients), None).unwrap();
    let user = User::Plain("ermintrude".parse().unwrap());
    let items = [Item::Logon { at: noon().trusted, user, counter: 1, keys: keys(&["I3_ACCESS_CLIENT"]) }];
    file.extend(segment.seal(&items).unwrap().record);
    for needle in [&b"ermintrude"[..], b"I3_ACCESS"] {
        assert!(!file.windows(needle.len()).any(|window| window == needle));
    }
    // Two segments with the same content have nothing sealed in common.
    let (mut again, header) = Segment::begin(&installation, &opening(&recipients), None).unwrap();
    let record = again.seal(&items).unwrap().record;
    assert_ne!(&file[header.len() + 13..][..40], &record[13..53]);
}

#[test]
fn users_with_more_keys_than_a_record_holds_names_of_are_told_over_several_records() {
    let (installation, reader) = (installation(), UsagePrivateKey::generate().unwrap());
    let recipients = [reader.public()];
    let (mut segment, mut file) = Segment::begin(&installation, &opening(&recipients), None).unwrap();
    let many: KeySet = (0..2_000).map(|number| format!("{}{number:04}", "K".repeat(100)).parse().unwrap()).collect();
    let user = User::Plain("a".parse().unwrap());
    let items = [Item::Logon { at: noon().trusted, user, counter: 1, keys: many }];
    let names = segment.seal(&items).unwrap();
    assert_eq!(names.taken, 0);
    file.extend(names.record);
    assert!(seal_all(&mut segment, &mut file, &items) >= 2);
    assert!(open(&file, &reader).unwrap().items().eq(&items));
}

#[test]
fn a_segment_fills_up_and_can_still_be_closed() {
    let (installation, reader) = (installation(), UsagePrivateKey::generate().unwrap());
    let recipients = [reader.public()];
    let (mut segment, mut file) = Segment::begin(&installation, &opening(&recipients), None).unwrap();
    let items: Vec<Item> = (0..120)
        .map(|_| Item::Remark(Remark { at: noon().trusted, code: RemarkCode(9), text: "x".repeat(512) }))
        .collect();
    let mut large = false;
    loop {
        match segment.seal(&items) {
            Ok(sealed) => file.extend(sealed.record),
            Err(fault) => {
                assert_eq!(fault, SealFault::Full);
                break;
            }
        }
        large |= segment.is_large();
    }
    assert!(large);
    while let Ok(sealed) = segment.checkpoint(&installation, noon()) {
        file.extend(sealed.record);
    }
    file.extend(segment.close(&installation, noon()).unwrap().record);
    assert!(file.len() <= FILE_MAX_BYTES && file.len() > FILE_MAX_BYTES - 100);
    assert!(matches!(verify(&file).unwrap().end(), End::Closed(_)));
}

#[test]
fn what_no_reader_takes_is_refused_and_changes_nothing() {
    let (installation, reader) = (installation(), UsagePrivateKey::generate().unwrap());
    let recipients = [reader.public()];
    let (mut segment, mut file) = Segment::begin(&installation, &opening(&recipients), None).unwrap();
    let at = noon().trusted;
    let john = || User::Plain("john".parse().unwrap());
    let good = Item::Logon { at, user: john(), counter: 1, keys: keys(&["K"]) };
    let remark = |text: String| Item::Remark(Remark { at, code: RemarkCode(1), text });
    for bad in [
        Item::Logon { at, user: john(), counter: 0, keys: keys(&["K"]) },
        Item::KeysChanged { at, user: john(), counter: 0, keys: keys(&["K"]) },
        Item::Logon { at, user: User::Pseudonym(Pseudonym([1; 16])), counter: 1, keys: keys(&["K"]) },
        Item::Present { since: at, user: john(), counter: 1, keys: keys(&["K"]) },
        remark("x".repeat(513)),
        remark("a\nb".into()),
    ] {
        let before = *segment.tail();
        let fault = segment.seal(&[good.clone(), bad.clone()]).unwrap_err();
        assert!(matches!(fault, SealFault::Item { index: 1, .. }), "{bad:?}: {fault}");
        assert_eq!(*segment.tail(), before);
    }
    assert_eq!(segment.seal(&[]), Err(SealFault::Nothing));
    file.extend(segment.seal(std::slice::from_ref(&good)).unwrap().record);
    assert!(open(&file, &reader).unwrap().items().eq([&good]));
}

#[test]
fn openings_that_no_header_can_hold_are_refused() {
    let installation = installation();
    let readers = [(); 5].map(|()| UsagePrivateKey::generate().unwrap().public());
    let refused = |opening: &Opening<'_>, previous: Option<&Tail>| {
        matches!(Segment::begin(&installation, opening, previous), Err(SealFault::Opening(_)))
    };
    assert!(refused(&opening(&[]), None));
    assert!(refused(&opening(&readers), None));
    assert!(refused(&opening(&[readers[0], readers[0]]), None));
    assert!(refused(&Opening { begun: Begun::Restart, ..opening(&readers[..1]) }, None));
    let (segment, _) = Segment::begin(&installation, &opening(&readers[..1]), None).unwrap();
    assert!(refused(&opening(&readers[..1]), Some(segment.tail())));
    let foreign = InstallationKey::from_seed([2; 32]).unwrap();
    let next = Opening { begun: Begun::Midnight, ..opening(&readers[..1]) };
    assert!(Segment::begin(&foreign, &next, Some(segment.tail())).is_err());
    assert!(segment.tail().close(&foreign, noon()).is_err());
    let end = segment.close(&installation, noon()).unwrap().tail;
    assert!(matches!(end.close(&installation, noon()), Err(SealFault::Closing(_))));
}

/// A sealing that was not committed: the segment is dropped, closed by what was committed, and the next one begun.
#[test]
fn an_abandoned_segment_is_closed_by_its_tail_and_continued() {
    let (installation, reader) = (installation(), UsagePrivateKey::generate().unwrap());
    let recipients = [reader.public()];
    let (mut segment, mut one) = Segment::begin(&installation, &opening(&recipients), None).unwrap();
    let logon = |counter| Item::Logon {
        at: noon().trusted,
        user: User::Plain("john".parse().unwrap()),
        counter,
        keys: keys(&["K"]),
    };
    let kept = segment.seal(&[logon(1)]).unwrap();
    one.extend(&kept.record);
    let lost = segment.seal(&[logon(2)]).unwrap();
    assert_ne!(lost.tail, kept.tail);
    drop(segment);
    // The tail was stored as text, with the record that it belongs to.
    let stored = serde_json::to_string(&kept.tail).unwrap();
    let tail: Tail = serde_json::from_str(&stored).unwrap();
    assert!(!stored.contains("john"));
    let closed = tail.close(&installation, noon()).unwrap();
    one.extend(&closed.record);
    let next = Opening { begun: Begun::Abandoned, ..opening(&recipients) };
    let (mut segment, mut two) = Segment::begin(&installation, &next, Some(&closed.tail)).unwrap();
    two.extend(segment.seal(&[logon(2)]).unwrap().record);
    let mut sequence = Sequence::new().of(installation.id()).seen(installation.id(), kept.tail.head);
    let (first, second) = (verify(&one).unwrap(), verify(&two).unwrap());
    assert_eq!((first.header().segment, second.header().segment, second.header().records_before), (1, 2, 2));
    sequence.add(&first.name().to_string(), &one);
    sequence.add(&second.name().to_string(), &two);
    let report = sequence.finish();
    assert_eq!(report.findings, []);
    assert_eq!(report.installations[0].head, segment.tail().head);
    let told: BTreeSet<u32> = [&one, &two]
        .iter()
        .flat_map(|file| open(file, &reader).unwrap().items().map(Item::counter).collect::<Vec<_>>())
        .flatten()
        .collect();
    assert_eq!(told, BTreeSet::from([1, 2]));
}

#[test]
fn days_are_named_after_their_start() {
    let (installation, reader) = (installation(), UsagePrivateKey::generate().unwrap());
    let recipients = [reader.public()];
    let mut start = midnight();
    start.trusted = start.trusted.plus_ms(DAY_MS - 1);
    let opening = Opening { start, role: None, ..opening(&recipients) };
    let (_, header) = Segment::begin(&installation, &opening, None).unwrap();
    let file = verify(&header).unwrap();
    assert_eq!(file.name().to_string(), format!("{}-00000001-20261122.usg", installation.id()));
    assert_eq!((file.header().role, file.header().start), (None, start));
}
