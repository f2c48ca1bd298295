//! A server for tests: the real engine, the real database, the heart and the real files, driven step by step, with a process
//! that can die at every change of the disk.

use std::sync::Arc;

use leasehold_engine::{
    Engine, Limits,
    command::{
        Acquire, Act, Ask, Assign, CallerInfo, Command, Entity, EntityName, FolderFile, HostFinding, Origin, Place,
        Release,
    },
    decision::{LeaseView, Outcome, Reply},
    ids::{Identity, LeaseId, RequestId, Ticket},
    refusal::Refusal,
    row::{Change, Row, UsageSegmentRow},
    time::{LeaseTime, Now, WallTime},
};
use leasehold_keys::{
    activation::Activation,
    dev::DevLicensor,
    installation::InstallationKey,
    name::{Label, Method},
    trust::{Trust, Verified},
    usage::{Clocks, RemarkCode, UsagePrivateKey, UsagePublicKey},
};
use tempfile::TempDir;

use super::{
    super::{
        copies::{Copies, Worked, stored},
        disk::{Disk, fate::Fate},
        draft::Outside,
        heart::{Course, Heart},
        look::{glance, look},
        naming::{NamesSetting, Naming},
    },
    oracle::Moment,
};
use crate::{
    clock::evidence::Evidence,
    core::tests::licensor_granting,
    storage::{CommitFault, Database, Durable, Reader, StateDir, Store},
};

pub(super) const CLIENT: &str = "I3_ACCESS_CLIENT";
pub(super) const MEDIA: &str = "I3_ACCESS_ACD_MEDIA_1";
pub(super) const GRANTS: &[(&str, u32)] = &[
    ("I3_FEATURE_VIRTUAL_CLOUD", 1),
    ("I3_ACCESS_CLIENT_CONCURRENT", 100_000),
    ("I3_ACCESS_ACD_MEDIA_1_CONCURRENT", 100_000),
];
/// 2030-03-17T22:00:00Z: the first midnight comes soon, and clocks can step back for years.
const START_MS: i64 = 1_900_015_200_000;
pub(super) const TTL_MS: u64 = 86_400_000;

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lost {
    /// The process has died.
    Dead,
    /// The commit certainly failed.
    NotStored,
}

/// An answer to a command, and those to acquires.
pub(super) type Answered = (Result<Reply, Refusal>, Vec<(Ticket, Result<LeaseView, Refusal>)>);

/// What a running process has.
struct Up {
    engine: Engine,
    store: Store,
    reader: Reader,
    heart: Heart,
    copies: Copies,
    _state: StateDir,
}

pub(super) struct Site {
    dir: TempDir,
    pub(super) licensor: DevLicensor,
    trust: Trust,
    file: Arc<Verified<Activation>>,
    /// The number of the newest file.
    sequence: u32,
    /// The customer's own key.
    pub(super) reader: UsagePrivateKey,
    installation: InstallationKey,
    naming: Naming,
    up: Option<Up>,
    /// Held by somebody else.
    locked: Option<rusqlite::Connection>,
    pub(super) fate: Arc<Fate>,
    pub(super) lease_ms: u64,
    /// Trusted time.
    pub(super) wall_ms: i64,
    /// How far the wall clock is from it.
    pub(super) own_wall_off_ms: i64,
    last_request: u128,
}

pub(super) fn label(text: &str) -> Label {
    text.parse().unwrap()
}

pub(super) fn caller() -> Origin {
    Origin::Unary(CallerInfo {
        identity: Identity::Name(label("acd")),
        instance: String::new(),
        application: label("ACD"),
        version: None,
        host: "acd-1".to_owned(),
    })
}

impl Site {
    /// A licensed server with these users, who hold the client key.
    pub(super) fn new(users: &[String], names: NamesSetting) -> Self {
        let (licensor, file) = licensor_granting(1, GRANTS);
        let dir = tempfile::tempdir().unwrap();
        let trust = licensor.trust().unwrap();
        let mut site = Self {
            naming: Naming::open(names, dir.path()).unwrap(),
            dir,
            licensor,
            trust,
            file: Arc::new(file),
            sequence: 1,
            reader: UsagePrivateKey::from_seed([9; 32].into()),
            installation: InstallationKey::from_seed([5; 32]).unwrap(),
            up: None,
            locked: None,
            fate: Arc::default(),
            lease_ms: 0,
            wall_ms: START_MS,
            own_wall_off_ms: 0,
            last_request: 0,
        };
        site.start().unwrap();
        site.license(GRANTS).unwrap();
        for name in users {
            let entity = Entity::User {
                name: label(name),
                display_name: None,
                method: Method::Concurrent,
                organization: None,
                workgroups: Vec::new(),
                types: Vec::new(),
            };
            site.run(Command::Administer { by: Identity::Uid(0), act: Act::Create(entity) }).unwrap().0.unwrap();
        }
        for some in users.chunks(5_000) {
            site.assign(some, CLIENT, true).unwrap();
        }
        site
    }

    /// A newer file of these grants lies in the folder; [`Site::look_into_folder`] is to follow.
    pub(super) fn put_license(&mut self, grants: &[(&str, u32)]) {
        self.sequence += 1;
        self.file = Arc::new(licensor_granting(self.sequence, grants).1);
    }

    /// Accepts what lies in the folder.
    pub(super) fn look_into_folder(&mut self) -> Result<(), Lost> {
        let file = FolderFile { name: "acme.i3lic".to_owned(), terms: self.file.clone(), host: HostFinding::Unbound };
        let Ok(Reply::Folder(verdicts)) = self.run(Command::Folder(vec![file]))?.0 else { panic!() };
        assert!(verdicts[0].verdict.is_ok(), "{verdicts:?}");
        Ok(())
    }

    /// A newer file of these grants takes the place of the one before.
    pub(super) fn license(&mut self, grants: &[(&str, u32)]) -> Result<(), Lost> {
        self.put_license(grants);
        self.look_into_folder()
    }

    pub(super) fn assign(&mut self, users: &[String], key: &str, give: bool) -> Result<(), Lost> {
        let subjects = users.iter().map(|name| EntityName::User(label(name))).collect();
        let assign = Assign { subjects, keys: vec![label(key)], give, best_effort: false, dry_run: false, until: None };
        let answer = self.run(Command::Administer { by: Identity::Uid(0), act: Act::Assign(assign) })?;
        let Ok(Reply::Administered(done)) = answer.0 else { panic!("{answer:?}") };
        assert!(done.assignments.iter().all(|outcome| outcome.result.is_ok()), "{done:?}");
        Ok(())
    }

    pub(super) fn now(&self) -> Now {
        Now { lease: LeaseTime::from_ms(self.lease_ms), wall: WallTime::from_ms(self.wall_ms), unconfirmed_ms: 0 }
    }

    pub(super) fn folder(&self) -> std::path::PathBuf {
        self.dir.path().join("state/usage")
    }

    /// A process starts on what is on disk.
    pub(super) fn start(&mut self) -> Result<(), Lost> {
        self.fate.revive();
        let state = StateDir::open(&self.dir.path().join("state")).unwrap();
        let database = Database::open(&state).unwrap();
        self.lease_ms = database.mark().lease.as_ms();
        let now = self.now();
        let mut engine = Engine::new(Limits::default());
        assert_eq!(database.load(Some(&self.trust), now.wall, |row| engine.restore(row)).unwrap(), []);
        let recovered = engine.recover(now);
        let store = database.into_store().unwrap().impatient();
        let reader = store.reader();
        let mut disk = Disk::new(state.path());
        disk.fate = self.fate.clone();
        let copies = Copies::new(disk, reader.clone());
        let mut up = Up { engine, store, reader, heart: Heart::new(), copies, _state: state };
        let rows: Vec<UsageSegmentRow> = up.engine.usage_segments().cloned().collect();
        up.copies.start(&rows);
        self.up = Some(up);
        self.commit(recovered.changes)
    }

    /// A copy of the database as it is now, between two commits.
    pub(super) fn keep_database(&self) -> TempDir {
        let copy = tempfile::tempdir().unwrap();
        for entry in self.databases() {
            std::fs::copy(&entry, copy.path().join(entry.file_name().unwrap())).unwrap();
        }
        copy
    }

    /// Another process finds that copy in the database's place.
    pub(super) fn put_back(&mut self, copy: &TempDir) {
        self.kill();
        for entry in self.databases() {
            std::fs::remove_file(entry).unwrap();
        }
        for entry in std::fs::read_dir(copy.path()).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), self.dir.path().join("state").join(entry.file_name())).unwrap();
        }
        self.start().unwrap();
    }

    fn databases(&self) -> Vec<std::path::PathBuf> {
        let entries = std::fs::read_dir(self.dir.path().join("state")).unwrap().map(|entry| entry.unwrap().path());
        entries.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("leasehold.db")).collect()
    }

    /// The process is killed.
    pub(super) fn kill(&mut self) {
        self.locked = None;
        self.up = None;
    }

    /// The database's disk is full, or is not: what needs no more room can still be stored.
    pub(super) fn set_database_full(&mut self, full: bool) {
        self.up.as_ref().unwrap().store.limit_pages(if full { 1 } else { 10_000_000 });
    }

    /// Nothing at all can be stored, or it can again: somebody holds a lock on the database.
    pub(super) fn set_database_stuck(&mut self, stuck: bool) {
        self.locked = None;
        self.locked = stuck.then(|| {
            let db = rusqlite::Connection::open(self.dir.path().join("state/leasehold.db")).unwrap();
            db.execute_batch("BEGIN IMMEDIATE").unwrap();
            db
        });
    }

    fn commit(&mut self, changes: Vec<Change>) -> Result<(), Lost> {
        let now = self.now();
        let up = self.up.as_mut().ok_or(Lost::Dead)?;
        if self.fate.dies_here() {
            return Err(Lost::Dead);
        }
        if changes.is_empty() {
            return Ok(());
        }
        match up.store.commit(std::iter::once(&changes[..]), now, &Evidence::default()) {
            Ok(()) => {}
            Err(CommitFault::NotDone(_)) => {
                up.engine.undo(changes);
                return Err(Lost::NotStored);
            }
            Err(CommitFault::Unsure(why)) => panic!("{why}"),
        }
        if self.fate.dies_here() { Err(Lost::Dead) } else { Ok(()) }
    }

    /// Decides a command and makes it durable.
    pub(super) fn run(&mut self, command: Command) -> Result<Answered, Lost> {
        let now = self.now();
        let up = self.up.as_mut().ok_or(Lost::Dead)?;
        let (reply, outcome) = up.engine.apply(now, command);
        let Outcome { answers, changes, .. } = outcome;
        self.commit(changes)?;
        Ok((reply, answers))
    }

    /// Does what the engine wants done by now.
    pub(super) fn tick(&mut self) -> Result<(), Lost> {
        loop {
            let now = self.now();
            let up = self.up.as_ref().ok_or(Lost::Dead)?;
            if up.engine.next_wakeup(now).is_none_or(|at| at > now.lease) {
                return Ok(());
            }
            self.run(Command::Tick)?.0.unwrap();
        }
    }

    pub(super) fn next_request(&mut self) -> RequestId {
        self.last_request += 1;
        RequestId(self.last_request.to_be_bytes())
    }

    pub(super) fn log_on(&mut self, request: RequestId, user: &str, application: &str) -> Result<LeaseId, Lost> {
        let ask = Ask::Logon {
            user: label(user),
            place: Place::None,
            computer: Some(label(&format!("pc of {user}"))),
            needed: vec![label(CLIENT)],
            application: Some(label(application)),
        };
        let acquire =
            Acquire { from: caller(), request, ask, ttl_ms: TTL_MS, wait_ms: 0, priority: 0, ticket: Ticket(1) };
        let (reply, answers) = self.run(Command::Acquire(Box::new(acquire)))?;
        match answers.into_iter().next() {
            Some((_, Ok(lease))) => Ok(lease.id),
            other => panic!("{reply:?} {other:?}"),
        }
    }

    pub(super) fn release(&mut self, lease: LeaseId) -> Result<(), Lost> {
        let release = Release { from: caller(), request: None, leases: vec![lease], acquired_by: Vec::new() };
        let (reply, _) = self.run(Command::Release(release))?;
        assert!(matches!(reply, Ok(Reply::Released(_))), "{reply:?}");
        Ok(())
    }

    /// Whether they stand still is not told.
    pub(super) fn renew(&mut self, leases: &[LeaseId]) -> Result<(), Lost> {
        self.run(Command::Renew { from: caller(), leases: leases.to_vec() })?.0.unwrap();
        Ok(())
    }

    /// The room's turns until nothing is due, as its thread makes them.
    pub(super) fn turn(&mut self, course: Course) -> Result<(), Lost> {
        loop {
            let more = self.seal(course)?;
            self.tend_files()?;
            if !more {
                return Ok(());
            }
        }
    }

    fn seal(&mut self, course: Course) -> Result<bool, Lost> {
        let now = self.now();
        let recipients = self.recipients();
        let own = WallTime::from_ms(self.wall_ms + self.own_wall_off_ms);
        let outside = Outside {
            installation: &self.installation,
            recipients: &recipients,
            naming: &self.naming,
            clocks: Clocks { trusted: now.wall, wall: own },
        };
        let up = self.up.as_mut().ok_or(Lost::Dead)?;
        let Some(wish) = up.heart.due(&glance(&up.engine, now), &outside, course) else { return Ok(false) };
        let view = look(&up.engine, now, wish);
        let unknown = up.heart.unknown_keys(&view);
        up.heart.learn(unknown.into_iter().map(|key| (key, up.engine.key_name(key))).collect());
        let hashed = up.heart.to_settle(&view).map(|row| stored(&up.reader, row.number).unwrap()).collect();
        let Some(step) = up.heart.compose(&view, hashed, &outside, course).unwrap() else { return Ok(false) };
        let done = self.run(Command::Usage(step));
        let up = self.up.as_mut().ok_or(Lost::Dead)?;
        match done {
            Ok(_) => {
                let writes = up.heart.committed();
                up.copies.write(writes);
                if self.fate.is_dead() { Err(Lost::Dead) } else { Ok(true) }
            }
            Err(lost) => {
                up.heart.failed();
                Err(lost)
            }
        }
    }

    /// Files that were set aside, as status tells them.
    pub(super) fn aside(&self) -> Vec<String> {
        self.up.as_ref().unwrap().copies.aside().to_vec()
    }

    fn tend_files(&mut self) -> Result<(), Lost> {
        loop {
            let now = self.now();
            let up = self.up.as_mut().ok_or(Lost::Dead)?;
            let rows: Vec<UsageSegmentRow> = up.engine.usage_segments().cloned().collect();
            let worked = up.copies.work(&rows, now);
            for text in up.copies.take_untold() {
                up.heart.remark(now.wall, RemarkCode::STATE_RESTORED, &text);
            }
            if self.fate.is_dead() {
                return Err(Lost::Dead);
            }
            match worked {
                Worked::Idle => return Ok(()),
                Worked::On => {}
                Worked::MayLeave(segment) => {
                    let row = rows.into_iter().find(|row| row.number == segment).unwrap();
                    let segments = vec![UsageSegmentRow { stored: false, ..row }];
                    let step = leasehold_engine::command::UsageStep { segments, ..Default::default() };
                    self.run(Command::Usage(step))?.0.unwrap();
                }
            }
        }
    }

    fn recipients(&self) -> Vec<UsagePublicKey> {
        let licensor = UsagePublicKey::new(self.trust.root().usage_key).unwrap();
        vec![licensor, self.reader.public()]
    }

    pub(super) fn rows(&self) -> Vec<UsageSegmentRow> {
        self.up.as_ref().unwrap().engine.usage_segments().cloned().collect()
    }

    /// The leases that live.
    pub(super) fn leases(&self) -> std::collections::BTreeSet<LeaseId> {
        let rows = self.up.as_ref().unwrap().engine.lasting_rows().into_iter();
        rows.filter_map(|row| match row {
            Row::Lease(row) if row.ended.is_none() => Some(row.id),
            _ => None,
        })
        .collect()
    }

    pub(super) fn moment(&self) -> Moment {
        Moment { lease_ms: self.lease_ms, wall_ms: self.wall_ms }
    }

    pub(super) fn waiting(&self) -> usize {
        self.up.as_ref().unwrap().engine.usage_backlog().0
    }

    /// What a user is called in the files.
    pub(super) fn called(&self, user: &str) -> String {
        self.naming.user(&label(user)).to_string()
    }
}
