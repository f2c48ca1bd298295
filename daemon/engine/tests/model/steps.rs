//! Random steps. A step names things by small numbers and short lists, so that what is left after shrinking reads like a
//! story; what it stands for is settled when it is played.

use leasehold_engine::row::StationKind;
use proptest::{collection::vec, prelude::*, sample::select};

use crate::site::{At, Key, Name, Subject, What};

pub(crate) const USERS: [Name; 5] = ["ann", "bob", "cid", "dan", "eve"];
pub(crate) const STATIONS: [Name; 4] = ["desk", "door", "attic", "wall"];
pub(crate) const ORGANIZATIONS: [Name; 2] = ["acme", "beta"];
pub(crate) const COMPUTERS: [Name; 2] = ["pc1", "pc2"];
pub(crate) const NUMBERS: [Name; 2] = ["555-1", "555-2"];
/// Keys that users and stations are given.
const GIVEN: [Key; 8] = ["CLIENT", "TRACKER", "BASIC_STATION", "DESIGNER", "MONITOR", "RECORDER", "ANALYZER", "DIRECT"];
const UNITS: [Key; 3] = ["SESSION", "SPEECH", "SCREEN_RECORDING"];
/// What a base file may grant, beside what it always does.
pub(crate) const GRANTED: [(Key, bool); 17] = [
    ("CLIENT", false),
    ("CLIENT", true),
    ("TRACKER", false),
    ("TRACKER", true),
    ("BASIC_STATION", false),
    ("DESIGNER", false),
    ("DESIGNER", true),
    ("MONITOR", true),
    ("DIRECT", true),
    ("RECORDER", false),
    ("RECORDER", true),
    ("ANALYZER", false),
    ("ANALYZER", true),
    ("RECORDER_SERVER", false),
    ("ANALYZER_SERVER", false),
    ("SESSION", false),
    ("SPEECH", false),
];

/// Who asks, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct By {
    /// Of the callers there are.
    pub(crate) caller: usize,
    /// On its stream, where it has one.
    pub(crate) stream: bool,
}

/// Which request ID an acquire carries.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Again {
    /// A new one.
    Fresh,
    /// All of an earlier request once more; the number counts back from the last.
    Whole(usize),
    /// The ID of an earlier request, with this body.
    Id(usize),
}

/// A lease by its age: 0 is the last one granted.
pub(crate) type Nth = usize;

#[derive(Clone, Debug)]
pub(crate) enum Step {
    Attach {
        caller: usize,
        new_run: bool,
    },
    Detach {
        caller: usize,
    },
    Beat {
        caller: usize,
    },
    Acquire {
        by: By,
        what: What,
        ttl_s: u64,
        wait_s: u64,
        priority: u8,
        again: Again,
    },
    Cancel {
        by: By,
        nth: usize,
    },
    Abandon {
        nth: usize,
    },
    Release {
        by: By,
        leases: Vec<Nth>,
        requests: Vec<Nth>,
    },
    Renew {
        by: By,
        leases: Vec<Nth>,
    },
    SetIdle {
        by: By,
        leases: Vec<Nth>,
        idle: bool,
    },
    TakeOver {
        caller: usize,
        leases: Vec<Nth>,
    },
    Received {
        caller: usize,
        nth: usize,
    },
    Assign {
        give: bool,
        subjects: Vec<Subject>,
        keys: Vec<Key>,
        best_effort: bool,
        dry_run: bool,
    },
    AddUser {
        name: Name,
        concurrent: bool,
    },
    Convert {
        name: Name,
        concurrent: bool,
    },
    DeleteUser {
        name: Name,
    },
    AddStation {
        name: Name,
        kind: StationKind,
    },
    Enable {
        name: Name,
        enabled: bool,
    },
    DeleteStation {
        name: Name,
    },
    Revoke {
        leases: Vec<Nth>,
    },
    RevokeUser {
        name: Name,
    },
    Regrant {
        pool: (Key, bool),
        units: u32,
    },
    /// Nobody looks meanwhile.
    Sleep {
        ms: u64,
    },
    /// With a tick whenever the engine asks for one.
    Pass {
        ms: u64,
    },
}

fn by() -> impl Strategy<Value = By> {
    (0..3_usize, prop::bool::weighted(0.7)).prop_map(|(caller, stream)| By { caller, stream })
}

fn user() -> impl Strategy<Value = Name> {
    prop_oneof![8 => select(&USERS[..4]), 1 => select(&USERS[..])]
}

fn station() -> impl Strategy<Value = Name> {
    prop_oneof![4 => select(&STATIONS[..2]), 1 => select(&STATIONS[..])]
}

fn nth() -> impl Strategy<Value = Nth> {
    prop_oneof![6 => 0..4_usize, 1 => 0..12_usize, 1 => Just(999)]
}

fn needed() -> impl Strategy<Value = Vec<Key>> {
    let key = || prop_oneof![9 => select(&GIVEN[..2]), 9 => select(&GIVEN[..]), 1 => Just("NO_SUCH_KEY")];
    prop_oneof![4 => Just(Vec::new()), 4 => vec(key(), 1), 1 => vec(key(), 2)]
}

fn what() -> impl Strategy<Value = What> {
    let at = prop_oneof![
        5 => Just(At::Nowhere),
        3 => station().prop_map(At::Station),
        1 => select(&NUMBERS[..]).prop_map(At::Number),
    ];
    let computer = prop_oneof![2 => Just(None), 3 => select(&COMPUTERS[..]).prop_map(Some)];
    prop_oneof![
        8 => (user(), at, computer, needed()).prop_map(|(user, at, computer, needed)| What::Logon { user, at, computer, needed }),
        1 => (station(), needed()).prop_map(|(station, needed)| What::Station { station, needed }),
        2 => (select(&UNITS[..]), 1..4_u32).prop_map(|(key, units)| What::Units { key, units }),
    ]
}

fn again() -> impl Strategy<Value = Again> {
    prop_oneof![12 => Just(Again::Fresh), 1 => (0..6_usize).prop_map(Again::Whole), 1 => (0..6_usize).prop_map(Again::Id)]
}

fn acquire() -> impl Strategy<Value = Step> {
    let ttl_s = prop_oneof![4 => Just(60_u64), 1 => Just(10), 2 => Just(3_600), 2 => Just(86_400)];
    let wait_s = prop_oneof![2 => Just(0_u64), 2 => select(vec![5_u64, 30, 200])];
    (by(), what(), ttl_s, wait_s, select(vec![5_u8, 2, 9]), again()).prop_map(
        |(by, what, ttl_s, wait_s, priority, again)| Step::Acquire { by, what, ttl_s, wait_s, priority, again },
    )
}

fn subject() -> impl Strategy<Value = Subject> {
    prop_oneof![4 => user().prop_map(Subject::User), 1 => station().prop_map(Subject::Station)]
}

fn assign() -> impl Strategy<Value = Step> {
    let one = |len| vec(select(&GIVEN[..]), 1..len);
    (prop::bool::weighted(0.7), vec(subject(), 1..4), one(4), any::<bool>(), prop::bool::weighted(0.1)).prop_map(
        |(give, subjects, keys, best_effort, dry_run)| Step::Assign { give, subjects, keys, best_effort, dry_run },
    )
}

fn people() -> impl Strategy<Value = Step> {
    let kind = select(vec![StationKind::Workstation, StationKind::Remote, StationKind::StandalonePhone]);
    prop_oneof![
        3 => (user(), any::<bool>()).prop_map(|(name, concurrent)| Step::AddUser { name, concurrent }),
        3 => (user(), any::<bool>()).prop_map(|(name, concurrent)| Step::Convert { name, concurrent }),
        1 => user().prop_map(|name| Step::DeleteUser { name }),
        1 => (station(), kind).prop_map(|(name, kind)| Step::AddStation { name, kind }),
        1 => (station(), any::<bool>()).prop_map(|(name, enabled)| Step::Enable { name, enabled }),
        1 => station().prop_map(|name| Step::DeleteStation { name }),
    ]
}

fn time() -> impl Strategy<Value = Step> {
    let ms = || select(vec![1_000_u64, 4_000, 9_000, 10_000, 12_000, 30_000, 55_000, 71_000, 120_000]);
    prop_oneof![
        9 => ms().prop_map(|ms| Step::Sleep { ms }),
        12 => ms().prop_map(|ms| Step::Pass { ms }),
        1 => select(vec![600_000_u64, 600_000, 600_000, 3_600_000, 10_800_000]).prop_map(|ms| Step::Pass { ms }),
    ]
}

pub(crate) fn step() -> impl Strategy<Value = Step> {
    let leases = || vec(nth(), 1..3);
    prop_oneof![
        24 => acquire(),
        8 => (by(), vec(nth(), 0..3), vec(nth(), 0..2))
            .prop_map(|(by, leases, requests)| Step::Release { by, leases, requests }),
        3 => (by(), leases()).prop_map(|(by, leases)| Step::Renew { by, leases }),
        3 => (0..3_usize).prop_map(|caller| Step::Beat { caller }),
        2 => (0..3_usize, prop::bool::weighted(0.3)).prop_map(|(caller, new_run)| Step::Attach { caller, new_run }),
        1 => (0..3_usize).prop_map(|caller| Step::Detach { caller }),
        1 => (0..3_usize, vec(nth(), 0..2)).prop_map(|(caller, leases)| Step::TakeOver { caller, leases }),
        1 => (0..3_usize, nth()).prop_map(|(caller, nth)| Step::Received { caller, nth }),
        1 => (by(), 0..3_usize).prop_map(|(by, nth)| Step::Cancel { by, nth }),
        1 => (0..3_usize).prop_map(|nth| Step::Abandon { nth }),
        1 => (by(), leases(), any::<bool>()).prop_map(|(by, leases, idle)| Step::SetIdle { by, leases, idle }),
        8 => assign(),
        4 => people(),
        1 => leases().prop_map(|leases| Step::Revoke { leases }),
        1 => user().prop_map(|name| Step::RevokeUser { name }),
        2 => (select(&GRANTED[..]), 1..4_u32).prop_map(|(pool, units)| Step::Regrant { pool, units }),
        7 => time(),
    ]
}

/// What the base file grants at the beginning: a few of each, some without end, some not at all.
pub(crate) fn grants() -> impl Strategy<Value = Vec<Option<u32>>> {
    let units = prop_oneof![2 => Just(Some(1)), 4 => (1..4_u32).prop_map(Some), 1 => Just(Some(0)), 1 => Just(None)];
    vec(units, GRANTED.len())
}

/// How the site begins: a handful of people with keys.
pub(crate) fn beginning() -> Vec<Step> {
    let give = |subjects: Vec<Subject>, keys: &[Key]| Step::Assign {
        give: true,
        subjects,
        keys: keys.to_vec(),
        best_effort: true,
        dry_run: false,
    };
    vec![
        Step::Attach { caller: 0, new_run: true },
        Step::Attach { caller: 1, new_run: true },
        Step::AddUser { name: "ann", concurrent: true },
        Step::AddUser { name: "bob", concurrent: true },
        Step::AddUser { name: "cid", concurrent: true },
        Step::AddUser { name: "dan", concurrent: false },
        Step::AddStation { name: "desk", kind: StationKind::Workstation },
        Step::AddStation { name: "door", kind: StationKind::Remote },
        give(vec![Subject::User("ann"), Subject::User("bob"), Subject::User("cid"), Subject::User("dan")], &["CLIENT"]),
        give(vec![Subject::User("ann"), Subject::User("bob")], &["TRACKER", "DESIGNER", "MONITOR"]),
        give(vec![Subject::User("cid")], &["TRACKER", "RECORDER", "ANALYZER"]),
        give(vec![Subject::Station("desk")], &["BASIC_STATION"]),
    ]
}
