//! A site for tests: real signed files, a fixed catalog, two clocks that are moved by hand, and everything that came of the
//! commands kept for a look. After every command the engine's counts can be checked against its rows.
#![expect(dead_code, reason = "each test binary uses its own part")]

pub(crate) mod catalog;
pub(crate) mod files;

use std::collections::BTreeMap;

use leasehold_engine::{
    Engine, Limits,
    command::{
        Acquire, Act, Ask, Assign, Attach, CallerInfo, Command, Entity, EntityName, FolderFile, HostFinding, Origin,
        Place, Release,
    },
    decision::{Administered, Event, FileVerdict, LeaseView, Notice, Outcome, Reply},
    ids::{HolderId, Identity, LeaseId, RequestId, RunId, Ticket},
    refusal::Refusal,
    row::{Change, Row, StationKind},
    time::{LeaseTime, Now, WallTime},
    view::PoolView,
};
use leasehold_keys::{
    activation::{Activation, Grant, Units},
    digest::Sha256,
    name::{Label, Method},
};

pub(crate) fn label(text: &str) -> Label {
    text.parse().unwrap_or_else(|fault| panic!("`{text}`: {fault}"))
}

pub(crate) fn labels(text: &[&str]) -> Vec<Label> {
    text.iter().map(|text| label(text)).collect()
}

pub(crate) fn user(name: &str) -> EntityName {
    EntityName::User(label(name))
}

pub(crate) fn station(name: &str) -> EntityName {
    EntityName::Station(label(name))
}

/// The administrator of every test.
pub(crate) fn administrator() -> Identity {
    Identity::Uid(0)
}

/// A caller of an application, known by its name.
pub(crate) fn caller(application: &str) -> CallerInfo {
    CallerInfo {
        identity: Identity::Name(label(application)),
        instance: String::new(),
        application: label(application),
        version: None,
        host: "app-host".into(),
    }
}

/// One site, its clocks, and what came of the commands so far.
pub(crate) struct Site {
    pub(crate) engine: Engine,
    /// Lease time, in milliseconds.
    pub(crate) lease_ms: u64,
    /// Trusted time, in milliseconds.
    pub(crate) wall_ms: i64,
    /// So much of it is not confirmed.
    pub(crate) unconfirmed_ms: u64,
    /// Every change that was made, in order.
    pub(crate) changes: Vec<Change>,
    /// Answers by ticket, the last one of each.
    pub(crate) answers: BTreeMap<Ticket, Result<LeaseView, Refusal>>,
    /// What holders were told.
    pub(crate) events: Vec<Event>,
    /// What the log was told.
    pub(crate) notices: Vec<Notice>,
    /// The files of the watched folder.
    pub(crate) folder: Vec<FolderFile>,
    /// What the roots revoke.
    pub(crate) revoked: Vec<(Sha256, WallTime)>,
    last_ticket: u64,
    last_request: u128,
}

impl Site {
    /// A site without files.
    pub(crate) fn empty(limits: Limits) -> Self {
        let mut site = Self {
            engine: Engine::new(limits),
            lease_ms: 1_000_000,
            wall_ms: files::start().as_ms(),
            unconfirmed_ms: 0,
            changes: Vec::new(),
            answers: BTreeMap::new(),
            events: Vec::new(),
            notices: Vec::new(),
            folder: Vec::new(),
            revoked: Vec::new(),
            last_ticket: 0,
            last_request: 0,
        };
        let now = site.now();
        let outcome = site.engine.recover(now);
        site.keep(outcome);
        site
    }

    /// A site with one base file of these grants: `["CLIENT_CONCURRENT 50", "SESSION 10"]`.
    pub(crate) fn with(grants: &[&str]) -> Self {
        let mut site = Self::empty(Limits::default());
        let grants: Vec<Grant> = grants.iter().map(|text| files::grant(text)).collect();
        let verdicts = site.drop_file("base.i3lic", &files::base(&grants), HostFinding::Primary);
        assert!(verdicts.iter().all(|verdict| verdict.verdict.is_ok()), "{verdicts:?}");
        site
    }

    pub(crate) fn now(&self) -> Now {
        let (lease, wall) = (LeaseTime::from_ms(self.lease_ms), WallTime::from_ms(self.wall_ms));
        Now { lease, wall, unconfirmed_ms: self.unconfirmed_ms }
    }

    /// Decides one command, and keeps what came of it.
    pub(crate) fn run(&mut self, command: Command) -> Result<Reply, Refusal> {
        let now = self.now();
        let (reply, outcome) = self.engine.apply(now, command);
        self.keep(outcome);
        reply
    }

    fn keep(&mut self, outcome: Outcome) {
        self.changes.extend(outcome.changes);
        self.answers.extend(outcome.answers);
        self.events.extend(outcome.events);
        self.notices.extend(outcome.notices);
    }

    /// Puts a signed file into the folder, in place of one of the same name, and judges the folder.
    pub(crate) fn drop_file(&mut self, name: &str, terms: &Activation, host: HostFinding) -> Vec<FileVerdict> {
        let terms = files::Licensor::get().issue(terms);
        self.folder.retain(|file| file.name != name);
        self.folder.push(FolderFile { name: name.to_string(), terms, host });
        self.judge_folder()
    }

    /// Judges the folder as it is.
    pub(crate) fn judge_folder(&mut self) -> Vec<FileVerdict> {
        match self.run(Command::Folder(self.folder.clone())) {
            Ok(Reply::Folder(verdicts)) => verdicts,
            other => panic!("a folder is always judged: {other:?}"),
        }
    }

    /// Time passes on both clocks, with a tick at each moment that the engine asks for.
    pub(crate) fn pass(&mut self, ms: u64) {
        let end = self.lease_ms + ms;
        // A look at all holders or identities goes on in the next ticks, and may find nothing.
        let mut looks = 0;
        loop {
            let next = self.engine.next_wakeup(self.now()).map_or(end, LeaseTime::as_ms).max(self.lease_ms).min(end);
            self.sleep(next - self.lease_ms);
            let before = self.changes.len();
            self.run(Command::Tick).unwrap();
            let again = self.engine.next_wakeup(self.now()).map(LeaseTime::as_ms);
            if self.lease_ms == end && again.is_none_or(|at| at > end) {
                return;
            }
            let goes_on = again.is_some_and(|at| at <= self.lease_ms) && self.changes.len() == before;
            looks = if goes_on { looks + 1 } else { 0 };
            assert!(looks <= 64, "a tick at {} changes nothing and asks for another at once", self.lease_ms);
        }
    }

    /// Time passes on both clocks, and nobody looks.
    pub(crate) fn sleep(&mut self, ms: u64) {
        self.lease_ms += ms;
        self.wall_ms += i64::try_from(ms).unwrap();
    }

    /// The next ticket that is free.
    pub(crate) fn ticket(&mut self) -> Ticket {
        self.last_ticket += 1;
        Ticket(self.last_ticket)
    }

    /// The next request ID that is free.
    pub(crate) fn request(&mut self) -> RequestId {
        self.last_request += 1;
        RequestId(self.last_request.to_be_bytes())
    }

    /// The last request ID that was given out, as a number.
    pub(crate) fn last_request(&self) -> u128 {
        self.last_request
    }

    /// Opens a stream; the run tells processes of one application apart.
    pub(crate) fn attach(&mut self, caller: CallerInfo, run: u8) -> HolderId {
        match self.run(Command::Attach(Attach { caller, run: RunId([run; 16]) })) {
            Ok(Reply::Attached { holder, .. }) => holder,
            other => panic!("attaching always succeeds here: {other:?}"),
        }
    }

    pub(crate) fn administer(&mut self, act: Act) -> Result<Administered, Refusal> {
        match self.run(Command::Administer { by: administrator(), act })? {
            Reply::Administered(done) => Ok(done),
            other => panic!("an act is answered as one: {other:?}"),
        }
    }

    pub(crate) fn add_user(&mut self, name: &str, method: Method) {
        let name = label(name);
        let entity = Entity::User {
            name,
            display_name: None,
            method,
            organization: None,
            workgroups: Vec::new(),
            types: Vec::new(),
        };
        self.administer(Act::Create(entity)).unwrap();
    }

    pub(crate) fn add_station(&mut self, name: &str, kind: StationKind) {
        let entity = Entity::Station { name: label(name), kind, enabled: true, organization: None, owner: None };
        self.administer(Act::Create(entity)).unwrap();
    }

    /// Gives or takes keys; all or nothing.
    pub(crate) fn assign(&mut self, give: bool, subject: EntityName, keys: &[&str]) -> Result<(), Refusal> {
        let done = self.administer(Act::Assign(Assign {
            subjects: vec![subject],
            keys: labels(keys),
            give,
            best_effort: false,
            dry_run: false,
            until: None,
        }))?;
        done.assignments.into_iter().try_for_each(|outcome| outcome.result.map(|_| ()))
    }

    /// An acquire with the defaults of most tests: TTL 60 s, no wait, class 5.
    pub(crate) fn acquire_command(&mut self, from: Origin, ask: Ask) -> Acquire {
        Acquire { from, request: self.request(), ask, ttl_ms: 60_000, wait_ms: 0, priority: 5, ticket: self.ticket() }
    }

    /// Decides an acquire; `None` where it waits.
    pub(crate) fn acquire(&mut self, acquire: Acquire) -> Option<Result<LeaseView, Refusal>> {
        let ticket = acquire.ticket;
        match self.run(Command::Acquire(Box::new(acquire))) {
            Ok(_) => self.answers.get(&ticket).cloned(),
            Err(refusal) => Some(Err(refusal)),
        }
    }

    pub(crate) fn release(&mut self, from: Origin, lease: LeaseId) -> Result<Reply, Refusal> {
        self.run(Command::Release(Release { from, request: None, leases: vec![lease], acquired_by: Vec::new() }))
    }

    /// What must hold after every command: counts as counted afresh, no pool above its capacity, and the rows alone make
    /// the same engine again.
    pub(crate) fn check(&self) {
        let found = self.engine.discrepancies();
        assert!(found.is_empty(), "counts differ:\n{}", found.join("\n"));
        let rows = self.engine.lasting_rows();
        let mut again = replayed(&rows);
        assert_same(&rows, &again.lasting_rows(), "restoring the live rows");
        let logged = Self::rows_of(&self.changes);
        assert_same(
            &as_stored(rows.clone()),
            &as_stored(replayed(&logged).lasting_rows()),
            "replaying the log of changes",
        );
        let now = self.now();
        again.recover(now);
        again.apply(now, Command::Folder(self.folder.clone())).0.unwrap();
        again.apply(now, Command::Revocations(self.revoked.clone())).0.unwrap();
        let found = again.discrepancies();
        assert!(found.is_empty(), "counts differ after a restore:\n{}", found.join("\n"));
        if self.engine.next_wakeup(now).is_some_and(|at| at <= now.lease) {
            // Time has something to do in the live engine that a start does at once.
            return;
        }
        let pools = |engine: &Engine| -> Vec<_> {
            let told = |pool: PoolView| (pool.name, pool.capacity, pool.assigned, pool.in_use, pool.set_aside);
            let views = engine.pools(now, None, None).unwrap();
            views.into_iter().filter(|pool| pool.capacity != Units::Count(0)).map(told).collect()
        };
        assert_eq!(pools(&self.engine), pools(&again), "pools after a restore");
    }

    /// The rows that a log of changes leaves, kind by kind, without denials, audit entries and usage
    /// records, as a restart reads them.
    pub(crate) fn rows_of(changes: &[Change]) -> Vec<Row> {
        let rows = Self::every_row(changes);
        rows.into_iter().filter(|row| !matches!(row, Row::Denial(_) | Row::Audit(_) | Row::UsageRecord(_))).collect()
    }

    /// The rows that a log of changes leaves, kind by kind.
    pub(crate) fn every_row(changes: &[Change]) -> Vec<Row> {
        let mut rows: BTreeMap<(u8, String), Row> = BTreeMap::new();
        for change in changes {
            match (&change.before, &change.after) {
                (None, None) => panic!("an empty change"),
                (Some(Row::UsageEvents(sealed)), None) => {
                    for event in sealed.iter().cloned().map(Row::UsageEvent) {
                        assert_eq!(rows.remove(&name_of(&event)), Some(event), "an event is sealed that does not wait");
                    }
                }
                (None, Some(after)) => {
                    let old = rows.insert(name_of(after), after.clone());
                    assert!(old.is_none(), "a row is made that is there: {old:?}");
                }
                (Some(before), Some(after)) => {
                    assert_eq!(name_of(before), name_of(after), "a change of one row into another");
                    // The site's row stands before it is first written.
                    let old = rows.insert(name_of(after), after.clone());
                    assert!(
                        old.is_some() || matches!(after, Row::Site(_)),
                        "a row is changed that is not there: {after:?}"
                    );
                }
                (Some(before), None) => {
                    assert!(rows.remove(&name_of(before)).is_some(), "a row is removed that is not there: {before:?}");
                }
            }
        }
        rows.into_values().collect()
    }

    /// The engine that a restart would make of the log of changes, without the time that it takes.
    pub(crate) fn restarted(&self, limits: Limits, now: Now) -> (Engine, Outcome) {
        let mut engine = Engine::new(limits);
        for row in Self::rows_of(&self.changes) {
            engine.restore(row);
        }
        let outcome = engine.recover(now);
        (engine, outcome)
    }

    /// Stops and starts: what was not a row is forgotten.
    pub(crate) fn restart(&mut self) {
        let now = self.now();
        let (engine, outcome) = self.restarted(Limits::default(), now);
        self.engine = engine;
        self.keep(outcome);
        // As the daemon does before it serves.
        self.run(Command::Revocations(self.revoked.clone())).unwrap();
        self.judge_folder();
    }
}

fn replayed(rows: &[Row]) -> Engine {
    let mut engine = Engine::new(Limits::default());
    for row in rows {
        engine.restore(row.clone());
    }
    engine
}

/// Rows as storage has them: an answer that was acknowledged is forgotten in memory at once, and on disk with its lease.
pub(crate) fn as_stored(mut rows: Vec<Row>) -> Vec<Row> {
    for row in &mut rows {
        if let Row::Lease(lease) = row {
            lease.request = None;
        }
    }
    rows
}

/// Rows but for the numbers that were given: an undo never gives them again, since who heard of one may still use it.
pub(crate) fn but_for_numbers(mut rows: Vec<Row>) -> Vec<Row> {
    for row in &mut rows {
        if let Row::Site(site) = row {
            (site.last_entity, site.last_denial) = (0, 0);
        }
    }
    rows
}

pub(crate) fn assert_same(left: &[Row], right: &[Row], what: &str) {
    for (a, b) in left.iter().zip(right) {
        assert_eq!(a, b, "{what}");
    }
    assert_eq!(left.len(), right.len(), "{what}: rows");
}

/// Kind and key of a row, so that rows sort as storage gives them back.
fn name_of(row: &Row) -> (u8, String) {
    match row {
        Row::Key(row) => (0, format!("{:020}", row.id.0)),
        Row::Organization(row) => (1, format!("{:020}", row.id.0)),
        Row::Workgroup(row) => (2, format!("{:020}", row.id.0)),
        Row::User(row) => (3, format!("{:020}", row.id.0)),
        Row::Station(row) => (4, format!("{:020}", row.id.0)),
        Row::Assignment(row) => (5, format!("{:020}", row.id.0)),
        Row::Share(row) => (6, format!("{:020} {:?}", u64::from(row.pool), row.holder)),
        Row::PoolRule(row) => (7, format!("{:020}", u64::from(row.pool))),
        Row::PoolState(row) => (8, format!("{:020}", u64::from(row.pool))),
        Row::Holder(row) => (9, format!("{:020}", row.id.0)),
        Row::Lease(row) => (10, format!("{:020}", row.id.0)),
        Row::File(row) => (11, row.terms.license_id.to_string()),
        Row::Mark(row) => (12, row.license_id.to_string()),
        Row::Denial(row) => (13, format!("{:020}", row.id.0)),
        Row::Audit(row) => (14, format!("{:020}", row.id.0)),
        Row::UsageEvent(row) => (15, format!("{:020}", row.id.0)),
        Row::UsageEvents(_) => unreachable!("many rows in one have no name"),
        Row::UsageRecord(row) => (16, format!("{:020} {:020}", row.segment, row.place)),
        Row::UsageSegment(row) => (17, format!("{:020}", row.number)),
        Row::Standing(row) => (18, row.license_id.to_string()),
        Row::Site(_) => (19, String::new()),
    }
}

/// A unary caller as the origin of a command.
pub(crate) fn unary(application: &str) -> Origin {
    Origin::Unary(caller(application))
}

/// A logon of a user, nowhere in particular.
pub(crate) fn logon(user: &str, needed: &[&str]) -> Ask {
    Ask::Logon { user: label(user), place: Place::None, computer: None, needed: labels(needed), application: None }
}

/// Units of a key.
pub(crate) fn units(key: &str, units: u32) -> Ask {
    Ask::Units { key: label(key), units }
}
