//! Usage files of random contents, written by `leasehold-keys`.

use leasehold_keys::{
    activation::{HostRole, LicenseId},
    installation::InstallationKey,
    name::{KeyName, Label},
    time::WallTime,
    usage::{
        Begun, Clocks, Item, KeySet, Names, Opening, PseudonymKey, Remark, RemarkCode, Segment, Tail, UsagePrivateKey,
        User, salvage,
    },
};

const DAY_MS: i64 = 86_400_000;
/// 2026-11-22T00:00:00Z
pub(super) const BEGIN_MS: i64 = 1_795_305_600_000;

/// The same numbers from the same seed: SplitMix64.
pub(super) struct Chance(pub(super) u64);

impl Chance {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(super) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).expect("below a usize")
    }

    pub(super) fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    pub(super) fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }

    pub(super) fn bytes<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| self.next().to_be_bytes()[0])
    }

    /// Mostly of that day, at times at the ends of what 64 bits hold.
    pub(super) fn time(&mut self, day_ms: i64) -> WallTime {
        WallTime::from_ms(match self.below(40) {
            0 => *self.pick(&[i64::MIN, i64::MAX, 0, -1, i64::MIN + 1]),
            1 => self.next().cast_signed(),
            _ => day_ms + self.next().cast_signed() % DAY_MS,
        })
    }

    fn count(&mut self) -> u32 {
        match self.below(20) {
            0 => u32::MAX,
            1 => u32::try_from(self.next() >> 32).expect("32 bits"),
            _ => 1 + u32::try_from(self.below(9)).expect("small"),
        }
    }
}

/// A written file under its name.
pub(super) struct File {
    pub(super) name: String,
    pub(super) bytes: Vec<u8>,
}

/// An installation and who may read what it writes.
pub(super) struct Writer {
    pub(super) installation: InstallationKey,
    pub(super) keys: Vec<UsagePrivateKey>,
    pseudonyms: PseudonymKey,
    users: Vec<String>,
    applied: Vec<KeyName>,
}

impl Writer {
    pub(super) fn new(chance: &mut Chance) -> Self {
        let mut users = ["tina", "john.smith", "Jürgen Groß", "李 小龍", "~not a pseudonym", "a\"b\\c", "👩‍💻"]
            .map(str::to_owned)
            .to_vec();
        users.push("x".repeat(256));
        users.extend((0..30).map(|number| format!("user-{number:03}")));
        let mut applied: Vec<KeyName> = ["I3_ACCESS_CLIENT", "I3_ACCESS_ACD_MEDIA_1", "I3_ACCESS_RECORDER", "k", "-._"]
            .iter()
            .map(|name| name.parse().expect("a key"))
            .collect();
        applied.push("K".repeat(128).parse().expect("a key"));
        applied.extend((0..40).map(|number| format!("ADD_ON_{number}").parse().expect("a key")));
        Self {
            installation: InstallationKey::from_seed(chance.bytes()).expect("a key"),
            keys: (0..4).map(|_| UsagePrivateKey::generate().expect("a key")).collect(),
            pseudonyms: PseudonymKey::generate().expect("a key"),
            users,
            applied,
        }
    }

    fn user(&self, chance: &mut Chance, names: Names) -> User {
        let name: Label = chance.pick(&self.users).parse().expect("a label");
        match names {
            Names::Plain => User::Plain(name),
            Names::Pseudonyms(_) => User::Pseudonym(self.pseudonyms.pseudonym(&name)),
        }
    }

    fn item(&self, chance: &mut Chance, names: Names, day_ms: i64, may_be_present: &mut bool) -> Item {
        let at = chance.time(day_ms);
        if chance.one_in(12) {
            let text = chance
                .pick(&["", "The wall clock was set back", "Grüße \u{2028} \u{202e}", &"ß".repeat(256)])
                .to_string();
            return Item::Remark(Remark { at, code: RemarkCode(chance.count() - 1), text });
        }
        *may_be_present &= !chance.one_in(10);
        let (user, counter) = (self.user(chance, names), chance.count());
        let keys: KeySet = (0..chance.below(7)).map(|_| chance.pick(&self.applied).clone()).collect();
        match chance.below(3) {
            _ if *may_be_present => Item::Present { since: at, user, counter, keys },
            0 => Item::Logon { at, user, counter, keys },
            1 => Item::Logoff { at, user, counter: counter - 1, keys },
            _ => Item::KeysChanged { at, user, counter, keys },
        }
    }

    /// A segment after another: events, checkpoints, and often a close.
    pub(super) fn segment(&self, chance: &mut Chance, previous: Option<&Tail>) -> (File, Tail) {
        let number = previous.map_or(1, |tail| tail.head.segment + 1);
        let day_ms = BEGIN_MS + i64::from(number) * DAY_MS;
        let names = if chance.one_in(2) { Names::Plain } else { Names::Pseudonyms(self.pseudonyms.id()) };
        let recipients: Vec<_> = self.keys[..=chance.below(4)].iter().map(UsagePrivateKey::public).collect();
        let later = [Begun::Midnight, Begun::Restart, Begun::Size, Begun::Abandoned, Begun::Changed];
        let opening = Opening {
            license: LicenseId(uuid::Uuid::from_bytes(chance.bytes())),
            role: *chance.pick(&[None, Some(HostRole::Primary), Some(HostRole::Switchover)]),
            begun: previous.map_or(Begun::First, |_| *chance.pick(&later)),
            start: Clocks { trusted: chance.time(day_ms), wall: chance.time(day_ms) },
            names,
            recipients: &recipients,
        };
        let (mut segment, mut bytes) = Segment::begin(&self.installation, &opening, previous).expect("a segment");
        let now = Clocks { trusted: chance.time(day_ms), wall: chance.time(day_ms) };
        let mut may_be_present = true;
        for _ in 0..chance.below(8) {
            if chance.one_in(4) {
                bytes.extend(segment.checkpoint(&self.installation, now).expect("a checkpoint").record);
                continue;
            }
            let most = if chance.one_in(6) { 300 } else { 12 };
            let items: Vec<Item> =
                (0..=chance.below(most)).map(|_| self.item(chance, names, day_ms, &mut may_be_present)).collect();
            let mut left = &items[..];
            while !left.is_empty() {
                let sealed = segment.seal(left).expect("a record");
                left = &left[sealed.taken..];
                bytes.extend(sealed.record);
            }
        }
        let mut tail = *segment.tail();
        let closed = match chance.below(3) {
            0 => Some(segment.close(&self.installation, now)),
            1 => Some(tail.close(&self.installation, now)), // its content key was lost
            _ => None,
        };
        if let Some(closed) = closed {
            let closed = closed.expect("a close");
            bytes.extend(closed.record);
            tail = closed.tail;
        }
        let name = salvage(&bytes).expect("what was written").name().to_string();
        (File { name, bytes }, tail)
    }

    pub(super) fn chain(&self, chance: &mut Chance) -> Vec<File> {
        let (mut files, mut previous) = (Vec::new(), None);
        for _ in 0..=chance.below(5) {
            let (file, tail) = self.segment(chance, previous.as_ref());
            files.push(file);
            previous = Some(tail);
        }
        files
    }
}
