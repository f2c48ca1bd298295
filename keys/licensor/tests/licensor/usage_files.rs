//! A server that writes usage files, as far as a licensor can tell.

use leasehold_keys::{
    activation::{HostRole, LicenseId},
    installation::InstallationKey,
    name::KeyName,
    trust::Trust,
    usage::{Begun, Clocks, Item, KeySet, Names, Opening, Segment, Tail, UsagePublicKey, User},
};

use crate::support::time;

pub(crate) const CLIENT: &str = "I3_ACCESS_CLIENT";
pub(crate) const MEDIA_1: &str = "I3_ACCESS_ACD_MEDIA_1";
pub(crate) const RECORDER: &str = "I3_ACCESS_RECORDER";

/// The file of a segment.
#[derive(Clone, Debug)]
pub(crate) struct Usg {
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
}

/// A server of a license.
pub(crate) struct Writer {
    key: InstallationKey,
    seed: u8,
    license: LicenseId,
    recipient: UsagePublicKey,
    tail: Option<Tail>,
}

impl Writer {
    pub(crate) fn new(seed: u8, license: LicenseId, trust: &Trust) -> Self {
        let recipient = UsagePublicKey::new(trust.root().usage_key).unwrap();
        Self { key: InstallationKey::from_seed([seed; 32]).unwrap(), seed, license, recipient, tail: None }
    }

    pub(crate) fn installation(&self) -> String {
        self.key.id().to_string()
    }

    /// A copy of this server, as of now.
    pub(crate) fn copy(&self) -> Self {
        let Self { seed, license, recipient, tail, .. } = *self;
        Self { key: InstallationKey::from_seed([seed; 32]).unwrap(), seed, license, recipient, tail }
    }

    /// A day's file, from its midnight to the next.
    pub(crate) fn day(&mut self, day: u32, items: &[Item]) -> Usg {
        let start = format!("2026-11-{day:02}T00:00:00Z");
        self.file(&start, Some(&format!("2026-11-{:02}T00:00:00Z", day + 1)), items)
    }

    /// A file; without an end it is not closed.
    pub(crate) fn file(&mut self, start: &str, end: Option<&str>, items: &[Item]) -> Usg {
        let at = |text: &str| Clocks { trusted: time(text), wall: time(text) };
        let opening = Opening {
            license: self.license,
            role: Some(HostRole::Primary),
            begun: if self.tail.is_none() { Begun::First } else { Begun::Midnight },
            start: at(start),
            names: Names::Plain,
            recipients: &[self.recipient],
        };
        let (mut segment, mut bytes) = Segment::begin(&self.key, &opening, self.tail.as_ref()).unwrap();
        let mut rest = items;
        while !rest.is_empty() {
            let sealed = segment.seal(rest).unwrap();
            bytes.extend(sealed.record);
            rest = &rest[sealed.taken..];
        }
        let mut tail = *segment.tail();
        if let Some(end) = end {
            let closed = segment.close(&self.key, at(end)).unwrap();
            bytes.extend(closed.record);
            tail = closed.tail;
        }
        self.tail = Some(tail);
        let name = leasehold_keys::usage::verify(&bytes).unwrap().name().to_string();
        Usg { name, bytes }
    }
}

pub(crate) fn keys(names: &[&str]) -> KeySet {
    names.iter().map(|name| name.parse::<KeyName>().unwrap()).collect()
}

pub(crate) fn user(name: &str) -> User {
    User::Plain(name.parse().unwrap())
}

pub(crate) fn logon(at: &str, who: &str, counter: u32, held: &[&str]) -> Item {
    Item::Logon { at: time(at), user: user(who), counter, keys: keys(held) }
}

pub(crate) fn logoff(at: &str, who: &str, counter: u32, held: &[&str]) -> Item {
    Item::Logoff { at: time(at), user: user(who), counter, keys: keys(held) }
}

pub(crate) fn present(since: &str, who: &str, counter: u32, held: &[&str]) -> Item {
    Item::Present { since: time(since), user: user(who), counter, keys: keys(held) }
}

/// 004's John Smith, on 2 November 2026.
pub(crate) fn john_smith() -> Vec<Item> {
    let held = [CLIENT, MEDIA_1, RECORDER];
    vec![
        logon("2026-11-02T08:00:00Z", "john.smith", 1, &held),
        logon("2026-11-02T08:30:00Z", "john.smith", 2, &held),
        logoff("2026-11-02T15:00:00Z", "john.smith", 1, &held),
        logon("2026-11-02T15:30:00Z", "john.smith", 2, &held),
        logoff("2026-11-02T16:00:00Z", "john.smith", 1, &held),
        logoff("2026-11-02T16:30:00Z", "john.smith", 0, &held),
    ]
}
