//! Tests that must know a segment's random bytes, which nothing outside this module may choose: the vectors for other
//! readers, the worked example of `FORMAT.md`, and every flip and cut of a small file.

mod example;
mod flips;
mod vectors;
mod vectors_of;

use zeroize::Zeroizing;

use super::{write::Entropy, *};
use crate::{
    activation::{HostRole, LicenseId},
    installation::InstallationKey,
    time::WallTime,
};

pub(super) const LICENSE: &str = "7f3c9a52-1f0e-4b1e-9c55-0d2f6a3b8e41";

pub(super) fn installation() -> InstallationKey {
    InstallationKey::from_seed([1; 32]).unwrap()
}

pub(super) fn stranger() -> InstallationKey {
    InstallationKey::from_seed([2; 32]).unwrap()
}

/// The private key of a recipient: `licensor`, `reader` or `other`.
pub(super) fn private(name: &str) -> UsagePrivateKey {
    let byte = match name {
        "licensor" => 0x11,
        "reader" => 0x22,
        _ => 0x33,
    };
    UsagePrivateKey::from_seed(Zeroizing::new([byte; 32]))
}

pub(super) fn at(text: &str) -> WallTime {
    format!("2026-11-22T{text}Z").parse().unwrap()
}

pub(super) fn clocks(text: &str) -> Clocks {
    Clocks { trusted: at(text), wall: at(text).plus_ms(-250) }
}

/// Random bytes that are the same in each run; of each number others.
pub(super) fn entropy(number: u8) -> Entropy {
    let bytes = |purpose: u8| Zeroizing::new([number ^ purpose << 4; 32]);
    Entropy { content: bytes(0xa), encapsulation: [bytes(0xb), bytes(0xc), bytes(0xd), bytes(0xe)] }
}

pub(super) fn opening(recipients: &[UsagePublicKey]) -> Opening<'_> {
    Opening {
        license: LicenseId(LICENSE.parse().unwrap()),
        role: Some(HostRole::Primary),
        begun: Begun::First,
        start: clocks("07:59:00"),
        names: Names::Plain,
        recipients,
    }
}

pub(super) fn both() -> [UsagePublicKey; 2] {
    [private("licensor").public(), private("reader").public()]
}

pub(super) fn keys(names: &[&str]) -> KeySet {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

pub(super) fn user(name: &str) -> User {
    User::Plain(name.parse().unwrap())
}

/// John Smith's day, as the technical reference of the licensor tells it.
pub(super) fn john_smith() -> Vec<Item> {
    let applied = keys(&["I3_ACCESS_CLIENT", "I3_ACCESS_ACD_MEDIA_1", "I3_ACCESS_RECORDER"]);
    let (john, applied) = (|| user("john.smith"), || applied.clone());
    let on = |time, counter| Item::Logon { at: at(time), user: john(), counter, keys: applied() };
    let off = |time, counter| Item::Logoff { at: at(time), user: john(), counter, keys: applied() };
    vec![
        on("08:00:00", 1),
        on("08:30:00", 2),
        off("15:00:00", 1),
        on("15:30:00", 2),
        off("16:00:00", 1),
        off("16:30:00", 0),
    ]
}

/// A file as it grows, so that single records can be left out, moved or changed.
pub(super) struct Made {
    pub(super) header: Vec<u8>,
    pub(super) records: Vec<Vec<u8>>,
    pub(super) tail: Tail,
}

impl Made {
    pub(super) fn bytes(&self) -> Vec<u8> {
        [self.header.clone(), self.records.concat()].concat()
    }
}

/// A segment with those present, John Smith's day in two records, a checkpoint between them, a remark, and, where
/// `closed`, the end.
pub(super) fn segment(
    installation: &InstallationKey,
    opening: &Opening<'_>,
    previous: Option<&Tail>,
    number: u8,
    closed: bool,
) -> Made {
    let (mut segment, header) = Segment::begin_with(installation, opening, previous, entropy(number)).unwrap();
    let day = john_smith();
    let tina =
        Item::Present { since: at("06:00:00"), user: user("tina"), counter: 1, keys: keys(&["I3_ACCESS_CLIENT"]) };
    let jane = keys(&["I3_ACCESS_CLIENT", "I3_ACCESS_ACD_MEDIA_1", "I3_ACCESS_ACD_MEDIA_3_PLUS", "I3_ACCESS_FEEDBACK"]);
    let changed = Item::KeysChanged { at: at("16:15:00"), user: user("tina"), counter: 1, keys: jane.clone() };
    let expired = Item::Logoff { at: at("16:10:00"), user: user("tina"), counter: 0, keys: jane };
    let remark = Item::Remark(Remark {
        at: at("16:40:00"),
        code: RemarkCode::CLOCK_ROLLED_BACK,
        text: "The wall clock was set back by 3,600 s".into(),
    });
    let mut sealed = vec![
        segment.seal(&[tina]).unwrap(),
        segment.seal(&day[..3]).unwrap(),
        segment.checkpoint(installation, clocks("15:10:00")).unwrap(),
        segment.seal(&day[3..]).unwrap(),
        segment.seal(&[changed, expired, remark]).unwrap(),
    ];
    assert!(sealed[4].taken == 3 && sealed[4].tail == *segment.tail());
    if closed {
        sealed.push(segment.close(installation, clocks("23:59:59")).unwrap());
    }
    let tail = sealed.last().unwrap().tail;
    Made { header, records: sealed.into_iter().map(|sealed| sealed.record).collect(), tail }
}

/// The first segment of the sample installation.
pub(super) fn first(closed: bool) -> Made {
    segment(&installation(), &opening(&both()), None, 0, closed)
}
