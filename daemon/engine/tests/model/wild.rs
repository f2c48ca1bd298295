//! Every kind of command in any order, with no model: only what must hold after each, whatever it did.

use leasehold_engine::{
    Engine, Limits,
    command::{
        Acquire, Act, Ask, Assign, Attach, CallerInfo, Command, Entity, EntityChange, EntityName, FolderFile,
        HostFinding, Origin, Place, Release, Revoked, ShareName,
    },
    decision::Reply,
    ids::{HolderId, LeaseId, RequestId, RunId},
    refusal::Refusal,
    row::{Row, StationKind},
    time::LeaseTime,
};
use leasehold_keys::{activation::Level, name::Method};
use proptest::{collection::vec, prelude::*, sample::select};

use crate::{
    laws,
    steps::{COMPUTERS, NUMBERS, ORGANIZATIONS, STATIONS, USERS},
    support::{Site, administrator, caller, files, label, labels},
};

const KEYS: [&str; 14] = [
    "CLIENT",
    "TRACKER",
    "BASIC_STATION",
    "DESIGNER",
    "MONITOR",
    "RECORDER",
    "ANALYZER",
    "V360_UC",
    "V360_AGENT",
    "V360_BUNDLE",
    "UNITY",
    "MEDIA_1",
    "MEDIA_2",
    "LIVE",
];
const WALLS: [&str; 3] = ["WALL_LIVE", "WALL_ANALYTICS", "DAY_PASS"];
const UNITS: [&str; 3] = ["SESSION", "SPEECH", "SCREEN_RECORDING"];
const TYPES: [&str; 3] = ["call", "chat", "email"];
const GROUPS: [&str; 2] = ["sales", "help"];
const APPLICATIONS: [&str; 3] = ["acd", "portal", "Dialer"];

/// One raw step; numbers stand for what there is when it is played.
#[derive(Clone, Debug)]
pub(crate) enum Wild {
    Attach {
        application: &'static str,
        run: u8,
    },
    Beat(usize),
    Detach(usize),
    TakeOver(usize),
    /// On the nth stream, or by a unary call; with the nth request ID before, or a new one.
    Acquire {
        stream: Option<usize>,
        ask: Ask,
        wait_s: u64,
        ttl_s: u64,
        priority: u8,
        again: Option<u64>,
    },
    Release {
        stream: Option<usize>,
        lease: u64,
        request: Option<u64>,
    },
    Renew {
        stream: Option<usize>,
        lease: u64,
    },
    Idle {
        stream: Option<usize>,
        lease: u64,
        idle: bool,
    },
    Received {
        stream: usize,
        request: u64,
    },
    Cancel {
        stream: Option<usize>,
        request: u64,
    },
    Abandon(u64),
    Revoke(u64),
    Act(Act),
    /// The next sequence of the base file: pools with so many units.
    File {
        grants: Vec<(&'static str, u32)>,
        level: Level,
    },
    NoFiles,
    Sleep(u64),
    Pass(u64),
    Restart,
}

fn user() -> impl Strategy<Value = &'static str> {
    select(&USERS[..])
}

fn key() -> impl Strategy<Value = &'static str> {
    prop_oneof![6 => select(&KEYS[..]), 1 => select(&WALLS[..])]
}

fn name() -> impl Strategy<Value = EntityName> {
    prop_oneof![
        6 => user().prop_map(|name| EntityName::User(label(name))),
        3 => select(&STATIONS[..]).prop_map(|name| EntityName::Station(label(name))),
    ]
}

fn any_name() -> impl Strategy<Value = EntityName> {
    prop_oneof![
        4 => name(),
        1 => select(&GROUPS[..]).prop_map(|name| EntityName::Workgroup(label(name))),
        1 => select(&ORGANIZATIONS[..]).prop_map(|name| EntityName::Organization(label(name))),
    ]
}

fn method() -> impl Strategy<Value = Method> {
    prop_oneof![Just(Method::Concurrent), Just(Method::Assignable)]
}

fn organization() -> impl Strategy<Value = Option<&'static str>> {
    proptest::option::of(select(&ORGANIZATIONS[..]))
}

fn entity() -> impl Strategy<Value = Entity> {
    let types = || vec(select(&TYPES[..]), 0..3).prop_map(|types| labels(&types));
    prop_oneof![
        5 => (user(), method(), organization(), vec(select(&GROUPS[..]), 0..2), types()).prop_map(
            |(name, method, organization, workgroups, types)| Entity::User {
                name: label(name),
                display_name: None,
                method,
                organization: organization.map(label),
                workgroups: labels(&workgroups),
                types,
            }
        ),
        4 => (select(&STATIONS[..]), select(&StationKind::ALL[..]), organization(), proptest::option::of(user())).prop_map(
            |(name, kind, organization, owner)| Entity::Station {
                name: label(name),
                kind,
                enabled: true,
                organization: organization.map(label),
                owner: owner.filter(|_| kind == StationKind::Device).map(label),
            }
        ),
        1 => (select(&GROUPS[..]), types())
            .prop_map(|(name, types)| Entity::Workgroup { name: label(name), service_id: None, types }),
        2 => (select(&ORGANIZATIONS[..]), organization())
            .prop_map(|(name, parent)| Entity::Organization { name: label(name), parent: parent.map(label) }),
    ]
}

fn change() -> impl Strategy<Value = EntityChange> {
    prop_oneof![
        (
            user(),
            proptest::option::of(method()),
            proptest::option::of(organization()),
            proptest::option::of(vec(select(&TYPES[..]), 0..3))
        )
            .prop_map(|(name, method, organization, types)| EntityChange::User {
                name: label(name),
                display_name: None,
                method,
                organization: organization.map(|inner| inner.map(label)),
                workgroups: None,
                types: types.map(|types| labels(&types)),
            }),
        (
            select(&STATIONS[..]),
            proptest::option::of(select(&StationKind::ALL[..])),
            proptest::option::of(any::<bool>()),
            proptest::option::of(organization())
        )
            .prop_map(|(name, kind, enabled, organization)| EntityChange::Station {
                name: label(name),
                kind,
                enabled,
                organization: organization.map(|inner| inner.map(label)),
                owner: None,
            }),
        (select(&ORGANIZATIONS[..]), organization()).prop_map(|(name, parent)| EntityChange::Organization {
            name: label(name),
            parent: Some(parent.map(label)),
        }),
    ]
}

fn pool() -> impl Strategy<Value = leasehold_keys::name::PoolName> {
    let names = vec!["CLIENT_CONCURRENT", "TRACKER_CONCURRENT", "CLIENT", "BASIC_STATION", "SESSION", "SPEECH"];
    select(names).prop_map(|name| name.parse().unwrap())
}

fn act() -> impl Strategy<Value = Act> {
    let share = (0..3_u32, proptest::option::of(0..4_u32));
    let whose = prop_oneof![
        select(&ORGANIZATIONS[..]).prop_map(|name| ShareName::Organization(label(name))),
        select(&APPLICATIONS[..]).prop_map(|name| ShareName::Application(label(name))),
    ];
    prop_oneof![
        8 => entity().prop_map(Act::Create),
        5 => change().prop_map(Act::Change),
        2 => any_name().prop_map(Act::Delete),
        14 => (vec(name(), 1..4), vec(key(), 1..3), prop::bool::weighted(0.75), any::<bool>(), prop::bool::weighted(0.15),
            prop::bool::weighted(0.15))
            .prop_map(|(subjects, keys, give, best_effort, dry_run, timed)| Act::Assign(Assign {
                subjects,
                keys: labels(&keys),
                give,
                best_effort,
                dry_run,
                until: timed.then(|| files::start().plus_ms(5_400_000)),
            })),
        1 => user().prop_map(|name| Act::Revoke { what: Revoked::User(label(name)), reason: label("because") }),
        1 => select(&STATIONS[..])
            .prop_map(|name| Act::Revoke { what: Revoked::Station(label(name)), reason: label("because") }),
        2 => (pool(), select(vec![0_u64, 30_000, 300_000]), any::<bool>())
            .prop_map(|(pool, idle_ms, idle_always)| Act::SetPoolRule { pool, idle_ms, idle_always }),
        3 => (pool(), whose, proptest::option::weighted(0.8, share))
            .prop_map(|(pool, holder, share)| Act::SetShare { pool, holder, share }),
        1 => Just(Act::Unload { license: files::license(1), reason: "a test".into() }),
    ]
}

fn ask() -> impl Strategy<Value = Ask> {
    let place = prop_oneof![
        4 => Just(Place::None),
        3 => select(&STATIONS[..]).prop_map(|name| Place::Station(label(name))),
        2 => select(&NUMBERS[..]).prop_map(|name| Place::DynamicRemote(label(name))),
    ];
    let computer = proptest::option::of(select(&COMPUTERS[..]));
    let application = proptest::option::weighted(0.2, Just("Dialer"));
    let needed = || prop_oneof![2 => Just(Vec::new()), 1 => vec(key(), 1..3)];
    prop_oneof![
        8 => (user(), place, computer, needed(), application).prop_map(|(user, place, computer, needed, application)| {
            Ask::Logon {
                user: label(user),
                place,
                computer: computer.map(label),
                needed: labels(&needed),
                application: application.map(label),
            }
        }),
        1 => (select(&STATIONS[..]), needed())
            .prop_map(|(station, needed)| Ask::Station { station: label(station), needed: labels(&needed) }),
        3 => (select(&UNITS[..]), 1..4_u32).prop_map(|(key, units)| Ask::Units { key: label(key), units }),
    ]
}

fn file() -> impl Strategy<Value = Wild> {
    let pools = vec![
        "CLIENT",
        "CLIENT_CONCURRENT",
        "TRACKER",
        "TRACKER_CONCURRENT",
        "BASIC_STATION",
        "DESIGNER_CONCURRENT",
        "MONITOR_CONCURRENT",
        "RECORDER_CONCURRENT",
        "ANALYZER_CONCURRENT",
        "RECORDER_SERVER",
        "ANALYZER_SERVER",
        "V360_UC",
        "V360_AGENT",
        "V360_BUNDLE",
        "UNITY",
        "MEDIA_1",
        "MEDIA_2",
        "LIVE",
        "WALL_LIVE",
        "ORGANIZATION",
        "PORTAL_SERVER",
        "SESSION",
        "SPEECH",
        "SCREEN_RECORDING",
        "DAY_PASS",
    ];
    let grants = vec(0..4_u32, pools.len())
        .prop_map(move |units| pools.iter().copied().zip(units).filter(|(_, units)| *units > 0).collect::<Vec<_>>());
    (grants, prop::bool::weighted(0.1)).prop_map(|(grants, development)| Wild::File {
        grants,
        level: if development { Level::Development } else { Level::Production },
    })
}

pub(crate) fn step() -> impl Strategy<Value = Wild> {
    let stream = || proptest::option::weighted(0.6, 0..3_usize);
    let nth = || 0..5_u64;
    prop_oneof![
        22 => (stream(), ask(), select(vec![0_u64, 5, 40, 200]), select(vec![10_u64, 60, 3_600]), select(vec![5_u8, 0, 9]),
            proptest::option::weighted(0.15, nth()))
            .prop_map(|(stream, ask, wait_s, ttl_s, priority, again)| {
                Wild::Acquire { stream, ask, wait_s, ttl_s, priority, again }
            }),
        14 => act().prop_map(Wild::Act),
        7 => (stream(), nth(), proptest::option::weighted(0.3, nth()))
            .prop_map(|(stream, lease, request)| Wild::Release { stream, lease, request }),
        2 => (stream(), nth()).prop_map(|(stream, lease)| Wild::Renew { stream, lease }),
        3 => (stream(), nth(), any::<bool>()).prop_map(|(stream, lease, idle)| Wild::Idle { stream, lease, idle }),
        2 => (0..3_usize, nth()).prop_map(|(stream, request)| Wild::Received { stream, request }),
        1 => (stream(), nth()).prop_map(|(stream, request)| Wild::Cancel { stream, request }),
        1 => nth().prop_map(Wild::Abandon),
        1 => nth().prop_map(Wild::Revoke),
        3 => (select(&APPLICATIONS[..2]), 1..4_u8).prop_map(|(application, run)| Wild::Attach { application, run }),
        2 => (0..3_usize).prop_map(Wild::Beat),
        1 => (0..3_usize).prop_map(Wild::Detach),
        1 => (0..3_usize).prop_map(Wild::TakeOver),
        2 => file(),
        1 => Just(Wild::NoFiles),
        3 => select(vec![1_000_u64, 9_000, 30_000, 71_000]).prop_map(Wild::Sleep),
        5 => select(vec![1_000_u64, 9_000, 12_000, 71_000, 600_000]).prop_map(Wild::Pass),
        1 => select(vec![3_600_000_u64, 10_800_000, 93_600_000]).prop_map(Wild::Pass),
        1 => Just(Wild::Restart),
    ]
}

/// How a case begins: with a file, so that there is something to hold.
pub(crate) fn steps() -> impl Strategy<Value = Vec<Wild>> {
    (file(), vec(entity(), 4..8), vec(step(), 1..50)).prop_map(|(file, entities, steps)| {
        let mut all = vec![file];
        all.extend(entities.into_iter().map(|entity| Wild::Act(Act::Create(entity))));
        all.extend(steps);
        all
    })
}

struct Run {
    site: Site,
    twin: Engine,
    streams: Vec<HolderId>,
    sequence: u32,
    requests: u64,
    tickets: u64,
    highest: u64,
    dead: std::collections::BTreeSet<u64>,
    recent: Vec<Command>,
    rows_then: Vec<Row>,
    commands: u64,
}

/// Plays one case; gives how many commands it took.
pub(crate) fn play(steps: &[Wild]) -> u64 {
    let site = Site::empty(Limits::default());
    let mut twin = Engine::new(Limits::default());
    twin.recover(site.now());
    let mut run = Run {
        rows_then: site.engine.lasting_rows(),
        site,
        twin,
        streams: Vec::new(),
        sequence: 0,
        requests: 0,
        tickets: 0,
        highest: 0,
        dead: std::collections::BTreeSet::new(),
        recent: Vec::new(),
        commands: 0,
    };
    for step in steps {
        run.step(step);
    }
    run.look();
    run.commands
}

impl Run {
    fn command(&mut self, command: Command) -> Result<Reply, Refusal> {
        self.commands += 1;
        let now = self.site.now();
        self.recent.push(command.clone());
        let said = self.twin.apply(now, command.clone());
        let act = matches!(command, Command::Administer { .. });
        let before = act.then(|| self.site.engine.lasting_rows());
        let (reply, outcome) = self.site.engine.apply(now, command);
        assert_eq!(format!("{said:?}"), format!("{:?}", (&reply, &outcome)), "the same commands do not do the same");
        laws::changes_follow_each_other(&outcome.changes);
        if let (Some(before), Err(_)) = (before, &reply)
            && outcome.answers.is_empty()
            && outcome.events.is_empty()
        {
            laws::only_a_denial(&outcome.changes);
            laws::same_rows(&before, &self.site.engine.lasting_rows());
        }
        for change in &outcome.changes {
            // LEASE-4: numbers rise, and what has ended does not come back.
            match (&change.before, &change.after) {
                (None, Some(Row::Lease(row))) => {
                    assert!(row.id.0 > self.highest, "lease {} after {}", row.id, self.highest);
                    self.highest = row.id.0;
                }
                (Some(Row::Lease(row)), Some(Row::Lease(after))) => {
                    assert!(row.ended.is_none() || after.ended.is_some(), "lease {} came back", row.id);
                    if after.ended.is_some() {
                        self.dead.insert(row.id.0);
                    }
                }
                (Some(Row::Lease(row)), None) => {
                    self.dead.insert(row.id.0);
                }
                _ => {}
            }
            if let Some(Row::Lease(row)) = &change.after
                && row.ended.is_none()
            {
                assert!(!self.dead.contains(&row.id.0), "lease {} came back", row.id);
            }
        }
        self.site.changes.extend(outcome.changes);
        let found = self.site.engine.discrepancies();
        assert!(found.is_empty(), "counts differ:\n{}", found.join("\n"));
        if self.commands.is_multiple_of(24) {
            self.look();
        }
        reply
    }

    fn look(&mut self) {
        self.site.check();
        laws::a_restart_shows_the_same(&self.site);
        let recent = std::mem::take(&mut self.recent);
        laws::undone_is_not_done(&self.rows_then, self.site.now(), &recent);
        self.rows_then = self.site.engine.lasting_rows();
    }

    fn origin(&self, stream: Option<usize>) -> Origin {
        match stream.and_then(|nth| self.streams.get(nth)) {
            Some(holder) => Origin::Stream(*holder),
            None => Origin::Unary(CallerInfo { instance: "u".into(), ..caller("acd") }),
        }
    }

    fn request(&self, back: u64) -> RequestId {
        RequestId(u128::from(self.requests.saturating_sub(back)).to_be_bytes())
    }

    fn lease(&self, back: u64) -> LeaseId {
        LeaseId(self.highest.saturating_sub(back))
    }

    fn files(&mut self, grants: &[(&'static str, u32)], level: Level) {
        self.sequence += 1;
        let grants: Vec<_> = grants.iter().map(|(pool, units)| files::grant(&format!("{pool} {units}"))).collect();
        let mut base = files::base(&grants);
        base.sequence = self.sequence;
        base.level = level;
        let terms = files::Licensor::get().issue(&base);
        self.site.folder = vec![FolderFile { name: "base.i3lic".into(), terms, host: HostFinding::Primary }];
        let _ = self.command(Command::Folder(self.site.folder.clone()));
    }

    fn step(&mut self, step: &Wild) {
        match step.clone() {
            Wild::Attach { application, run } => {
                let attach = Attach { caller: caller(application), run: RunId([run; 16]) };
                if let Ok(Reply::Attached { holder, .. }) = self.command(Command::Attach(attach)) {
                    self.streams.retain(|other| *other != holder);
                    self.streams.insert(0, holder);
                }
            }
            Wild::Beat(nth) => self.on(nth, Command::Beat),
            Wild::Detach(nth) => self.on(nth, Command::Detach),
            Wild::TakeOver(nth) => self.on(nth, |holder| Command::TakeOver { holder, leases: Vec::new() }),
            Wild::Acquire { stream, ask, wait_s, ttl_s, priority, again } => {
                let request = again.map(|back| self.request(back)).unwrap_or_else(|| {
                    self.requests += 1;
                    RequestId(u128::from(self.requests).to_be_bytes())
                });
                self.tickets += 1;
                let acquire = Acquire {
                    from: self.origin(stream),
                    request,
                    ask,
                    ttl_ms: ttl_s * 1_000,
                    wait_ms: wait_s * 1_000,
                    priority,
                    ticket: leasehold_engine::ids::Ticket(self.tickets),
                };
                let _ = self.command(Command::Acquire(Box::new(acquire)));
            }
            Wild::Release { stream, lease, request } => {
                let release = Release {
                    from: self.origin(stream),
                    request: None,
                    leases: vec![self.lease(lease)],
                    acquired_by: request.map(|back| self.request(back)).into_iter().collect(),
                };
                let _ = self.command(Command::Release(release));
            }
            Wild::Renew { stream, lease } => {
                let renew = Command::Renew { from: self.origin(stream), leases: vec![self.lease(lease)] };
                let _ = self.command(renew);
            }
            Wild::Idle { stream, lease, idle } => {
                let set = Command::SetIdle { from: self.origin(stream), leases: vec![self.lease(lease)], idle };
                let _ = self.command(set);
            }
            Wild::Received { stream, request } => {
                let requests = vec![self.request(request)];
                self.on(stream, |holder| Command::AnswersReceived { holder, requests });
            }
            Wild::Cancel { stream, request } => {
                let cancel = Command::CancelWait { from: self.origin(stream), request: self.request(request) };
                let _ = self.command(cancel);
            }
            Wild::Abandon(back) => {
                let ticket = leasehold_engine::ids::Ticket(self.tickets.saturating_sub(back));
                let _ = self.command(Command::Abandon(ticket));
            }
            Wild::Revoke(back) => {
                let what = Revoked::Leases(vec![self.lease(back)]);
                let act = Act::Revoke { what, reason: label("because") };
                let _ = self.command(Command::Administer { by: administrator(), act });
            }
            Wild::Act(act) => {
                let _ = self.command(Command::Administer { by: administrator(), act });
            }
            Wild::File { grants, level } => self.files(&grants, level),
            Wild::NoFiles => {
                self.site.folder.clear();
                let _ = self.command(Command::Folder(Vec::new()));
            }
            Wild::Sleep(ms) => self.site.sleep(ms),
            Wild::Pass(ms) => self.pass(ms),
            Wild::Restart => {
                self.look();
                self.site.restart();
                let now = self.site.now();
                let rows = self.site.engine.lasting_rows();
                // The twin starts from what the first wrote: the same, or the comparison would tell.
                let (twin, _) = self.site.restarted(Limits::default(), now);
                self.twin = twin;
                assert_eq!(format!("{rows:?}"), format!("{:?}", self.site.engine.lasting_rows()));
                self.rows_then = rows;
            }
        }
    }

    fn on(&mut self, nth: usize, command: impl FnOnce(HolderId) -> Command) {
        if let Some(holder) = self.streams.get(nth).copied() {
            let _ = self.command(command(holder));
        }
    }

    fn pass(&mut self, ms: u64) {
        let end = self.site.lease_ms + ms;
        let mut in_vain = 0;
        // Ticks wanted at one moment.
        let mut at_once = 0;
        loop {
            let now = self.site.lease_ms;
            let next = self.site.engine.next_wakeup(self.site.now()).map_or(end, LeaseTime::as_ms);
            let at = next.clamp(now, end);
            at_once = if at == now { at_once + 1 } else { 0 };
            assert!(at_once < 64, "no end of ticks at {now}");
            self.site.sleep(at - now);
            let rows = self.site.changes.len();
            assert_eq!(self.command(Command::Tick), Ok(Reply::Done));
            let again = self.site.engine.next_wakeup(self.site.now()).map(LeaseTime::as_ms);
            assert!(again.is_none_or(|again| again <= self.site.lease_ms + 60_000), "at most a minute away");
            let quiet = self.site.changes.len() == rows;
            in_vain = if quiet && again.is_some_and(|again| again <= self.site.lease_ms) { in_vain + 1 } else { 0 };
            assert!(in_vain < 8, "ticks at {} do nothing, and more are wanted", self.site.lease_ms);
            if self.site.lease_ms == end && again.is_none_or(|again| again > end) {
                return;
            }
        }
    }
}
