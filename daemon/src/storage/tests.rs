//! Every kind of row there and back, restart, damage, versions, tampering, and disks that fail.

use std::{collections::BTreeSet, fs, os::unix::fs::PermissionsExt, sync::Arc};

use leasehold_engine::{
    ids::*,
    refusal::{EndReason, Holding},
    row::*,
    standing::{Answer, Asked, Stage, Verdict},
    time::WallTime,
};
use leasehold_keys::{
    activation::{HostRole, LicenseId},
    digest::Sha256,
    marks::Mark,
    name::Method,
    trust::Trust,
};
use tempfile::TempDir;
use uuid::Uuid;

use super::*;
use crate::core::tests::licensor;

mod disk;
mod marks;
mod records;

fn at(ms: u64) -> LeaseTime {
    LeaseTime::from_ms(ms)
}

fn now(ms: u64) -> Now {
    Now { lease: at(ms), wall: WallTime::from_ms(1_800_000_000_000), unconfirmed_ms: 0 }
}

fn text<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

fn pool(key: u32, method: Method) -> PoolId {
    PoolId { key: KeyId(key), method }
}

fn lease(id: u64, subject: LeaseSubject) -> LeaseRow {
    let terms = Terms {
        needed: vec![KeyId(3)],
        keys: vec![
            HeldKey { key: KeyId(3), source: Source::User },
            HeldKey { key: KeyId(4), source: Source::Included(KeyId(3)) },
        ],
        seats: vec![Seat { pool: pool(3, Method::Concurrent), units: 1, shared: true }],
        types: vec![text("call"), text("chat")],
        ..Terms::default()
    };
    LeaseRow {
        id: LeaseId(id),
        holder: HolderId(9),
        subject,
        application: text("Interaction Desktop"),
        terms: Arc::new(terms),
        ttl_ms: 60_000,
        granted_wall: WallTime::from_ms(1_790_000_000_123),
        granted: at(5),
        idle_since: None,
        ends: None,
        request: None,
        ended: None,
        graced: None,
    }
}

fn audit_entry(id: u64) -> Row {
    Row::Audit(Box::new(AuditRow {
        id: AuditId(id),
        at: WallTime::from_ms(id.cast_signed()),
        identity: Identity::Uid(1_000),
        action: "assign".to_owned(),
        subject: format!("user agent-{id:03}"),
        before: String::new(),
        after: "{}".to_owned(),
        reason: "new hire".to_owned(),
    }))
}

fn denial(id: u64, at: WallTime) -> Row {
    Row::Denial(Box::new(DenialRow {
        id: DenialId(id),
        at,
        identity: Identity::Name(text("acd")),
        application: text("Dialer"),
        subject: "user agent-001".to_owned(),
        key: "I3_ACCESS_CLIENT".to_owned(),
        reason: "POOL_EXHAUSTED".to_owned(),
        message: "no seat is free".to_owned(),
        count: 3,
        capacity: Some("5".to_owned()),
        held: 5,
        holders: Holding::default(),
    }))
}

/// A license that was never asked about, but for the last word on it.
fn fresh_standing(license: u128, verdict: Option<Verdict>) -> StandingRow {
    StandingRow {
        license_id: LicenseId(Uuid::from_u128(license)),
        stage: Stage::Functional,
        reached: WallTime::from_ms(-1),
        stepped_down: None,
        last_good: None,
        verdict,
        counter: 0,
        answer: None,
        asked: None,
        message: String::new(),
    }
}

/// One of each kind and more where a column may be empty, in the order of loading; denials and audit entries apart.
fn one_of_each() -> Vec<Row> {
    let (_, file) = licensor();
    let file = Arc::new(file);
    let mark = Mark::of(&file);
    let mut logon = lease(
        1 << 40,
        LeaseSubject::Logon {
            user: UserId(5),
            station: Some(StationId(6)),
            remote_number: Some(text("+49 221 1")),
            computer: Some(text("pc-1")),
        },
    );
    logon.idle_since = Some(at(7));
    logon.ends = Some((at(8), EndReason::DevelopmentHourlyDisconnect));
    logon.request = Some((RequestId([7; 16]), u64::MAX - 1));
    logon.ended = Some((at(9), EndReason::LoggedOnElsewhere));
    logon.graced = Some(at(10));
    let auxiliary = LeaseSubject::Logon { user: UserId(5), station: None, remote_number: None, computer: None };
    vec![
        Row::Key(KeyRow { id: KeyId(3), name: text("I3_ACCESS_CLIENT") }),
        Row::Organization(OrganizationRow { id: OrganizationId(1), name: text("acme"), parent: None }),
        Row::Organization(OrganizationRow {
            id: OrganizationId(2),
            name: text("acme north"),
            parent: Some(OrganizationId(1)),
        }),
        Row::Workgroup(WorkgroupRow {
            id: WorkgroupId(3),
            name: text("sales"),
            service_id: Some(text("17")),
            types: BTreeSet::from([text("call"), text("chat")]),
        }),
        Row::User(UserRow {
            id: UserId(5),
            name: text("Müller, Jörg \"JM\" 'x'"),
            display_name: Some(text("Jörg")),
            method: Method::Concurrent,
            organization: Some(OrganizationId(2)),
            workgroups: BTreeSet::from([WorkgroupId(3)]),
            types: vec![text("chat"), text("call")],
        }),
        Row::Station(StationRow {
            id: StationId(6),
            name: text("station-001"),
            kind: StationKind::ManagedWorkstation,
            enabled: true,
            organization: None,
            owner: Some(UserId(5)),
        }),
        Row::Assignment(AssignmentRow {
            id: AssignmentId(11),
            subject: Subject::User(UserId(5)),
            key: KeyId(3),
            method: Method::Concurrent,
            since: WallTime::from_ms(12),
            until: Some(WallTime::from_ms(13)),
        }),
        Row::Assignment(AssignmentRow {
            id: AssignmentId(12),
            subject: Subject::Station(StationId(6)),
            key: KeyId(3),
            method: Method::Assignable,
            since: WallTime::from_ms(-1),
            until: None,
        }),
        Row::Share(ShareRow {
            pool: pool(3, Method::Concurrent),
            holder: ShareHolder::Application(text("Dialer")),
            reserve: 2,
            limit: None,
        }),
        Row::Share(ShareRow {
            pool: pool(3, Method::Concurrent),
            holder: ShareHolder::Organization(OrganizationId(1)),
            reserve: 1,
            limit: Some(4),
        }),
        Row::PoolRule(PoolRuleRow { pool: pool(3, Method::Concurrent), idle_ms: 900_000, idle_always: true }),
        Row::PoolState(PoolStateRow { pool: pool(3, Method::Assignable), over_since: Some(at(20)), closes: None }),
        Row::PoolState(PoolStateRow { pool: pool(3, Method::Concurrent), over_since: None, closes: Some(at(21)) }),
        Row::Holder(HolderRow {
            id: HolderId(8),
            identity: Identity::Uid(1_000),
            instance: String::new(),
            run: None,
            application: text("Portal"),
            version: None,
            host: String::new(),
            contact: at(1),
            graced: at(0),
        }),
        Row::Holder(HolderRow {
            id: HolderId(9),
            identity: Identity::Name(text("acd:2")),
            instance: "a".to_owned(),
            run: Some(RunId([1; 16])),
            application: text("ACD"),
            version: Some(text("2020.2.1")),
            host: "acd-1".to_owned(),
            contact: at(30),
            graced: at(31),
        }),
        Row::Lease(Box::new(lease(1, LeaseSubject::Units))),
        Row::Lease(Box::new(lease(2, LeaseSubject::Station(StationId(6))))),
        Row::Lease(Box::new(lease(3, auxiliary))),
        Row::Lease(Box::new(logon)),
        Row::File(FileRow {
            terms: file,
            name: "acme.i3lic".to_owned(),
            accepted: WallTime::from_ms(40),
            host_role: Some(HostRole::Switchover),
            absent_since: Some(at(41)),
            host_lost_since: Some(at(42)),
            unloaded: true,
            earlier: vec![Sha256::of(b"earlier")],
        }),
        Row::Mark(mark),
        Row::Mark(Mark { license_id: LicenseId(Uuid::max()), ..mark }),
        Row::Standing(Box::new(StandingRow {
            license_id: LicenseId(Uuid::from_u128(1)),
            stage: Stage::SupervisorDisabled,
            reached: WallTime::from_ms(50),
            stepped_down: Some(at(51)),
            last_good: Some(WallTime::from_ms(52)),
            verdict: Some(Verdict::Revoked { from: WallTime::from_ms(53) }),
            counter: 1 << 40,
            answer: Some(Answer { at: WallTime::from_ms(54), counter: 6, sha256: Sha256::of(b"answer") }),
            asked: Some(Asked {
                nonce: [9; 32],
                request: Sha256::of(b"request"),
                counter: 7,
                at: WallTime::from_ms(55),
            }),
            message: "Grüße vom Lizenzgeber".to_owned(),
        })),
        Row::Standing(Box::new(fresh_standing(2, None))),
        Row::Standing(Box::new(fresh_standing(3, Some(Verdict::Good)))),
        Row::Standing(Box::new(fresh_standing(4, Some(Verdict::Duplicate)))),
        Row::Site(SiteRow {
            last_lease: (1 << 40) + 1,
            last_assignment: 12,
            last_entity: 9,
            last_denial: 3,
            last_audit: 0,
            promoted: true,
            compliance_day: 20_000,
            last_usage_event: 8,
            usage_collecting: true,
            usage_era: 3,
        }),
        Row::Epoch(EpochRow {
            number: 7,
            id: u64::MAX - 1,
            began: WallTime::from_ms(50),
            after: 3,
            last: Some(1 << 40),
        }),
        Row::Epoch(EpochRow { number: 8, id: 5, began: WallTime::from_ms(51), after: 1 << 40, last: None }),
        Row::Witness(Box::new(WitnessRow {
            number: 1,
            kind: WitnessKind::Behind,
            epoch: 9,
            epoch_id: 1 << 63,
            fencing: 1 << 62,
            own_epoch: 8,
            own_fencing: 1 << 40,
            by: Identity::Name(text("acd:2")),
            host: "acd-1".to_owned(),
            first: WallTime::from_ms(52),
            first_lease: at(53),
            last: WallTime::from_ms(54),
        })),
        Row::Witness(Box::new(WitnessRow {
            number: 2,
            kind: WitnessKind::Forked,
            epoch: 8,
            epoch_id: 0,
            fencing: 0,
            own_epoch: 8,
            own_fencing: 0,
            by: Identity::Uid(0),
            host: String::new(),
            first: WallTime::from_ms(-52),
            first_lease: at(0),
            last: WallTime::from_ms(-52),
        })),
    ]
}

fn added(rows: &[Row]) -> Vec<Change> {
    rows.iter().map(|row| Change { before: None, after: Some(row.clone()) }).collect()
}

fn removed(rows: &[Row]) -> Vec<Change> {
    rows.iter().map(|row| Change { before: Some(row.clone()), after: None }).collect()
}

struct Place {
    _dir: TempDir,
    state: StateDir,
    trust: Trust,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(&dir.path().join("state")).unwrap();
        Self { _dir: dir, state, trust: licensor().0.trust().unwrap() }
    }

    fn open(&self) -> Store {
        Database::open(&self.state).unwrap().into_store().unwrap()
    }

    fn load(&self) -> (LeaseTime, Vec<Row>, Vec<LeftOut>) {
        let database = Database::open(&self.state).unwrap();
        let mut rows = Vec::new();
        let left_out = database.load(Some(&self.trust), now(0).wall, |row| rows.push(row)).unwrap();
        (database.mark().lease, rows, left_out)
    }

    fn outside(&self) -> Connection {
        Connection::open(self.state.database()).unwrap()
    }
}

fn commit(store: &mut Store, changes: &[Change], ms: u64) -> Result<(), CommitFault> {
    store.commit(std::iter::once(changes), now(ms), &Evidence::default())
}

#[test]
fn every_kind_of_row_comes_back_as_it_was() {
    let place = Place::new();
    let rows = one_of_each();
    let mut store = place.open();
    commit(&mut store, &added(&rows), 77).unwrap();
    store.close().unwrap();
    let (mark, loaded, left_out) = place.load();
    assert_eq!((mark, left_out), (at(77), Vec::new()));
    assert_eq!(fs::metadata(place.state.database()).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(loaded, rows);

    let mut store = place.open();
    commit(&mut store, &removed(&rows), 78).unwrap();
    store.close().unwrap();
    let (mark, loaded, _) = place.load();
    assert_eq!(mark, at(78));
    assert!(matches!(loaded.as_slice(), [Row::Site(_)]), "the site's row never goes: {loaded:?}");
}

#[test]
fn what_came_and_went_within_a_commit_is_not_written_and_the_last_word_counts() {
    let place = Place::new();
    let mut store = place.open();
    let (short, mut long) = (lease(1, LeaseSubject::Units), lease(2, LeaseSubject::Units));
    let row = |lease: &LeaseRow| Some(Row::Lease(Box::new(lease.clone())));
    let mut changes = vec![
        Change { before: None, after: row(&short) },
        Change { before: None, after: row(&long) },
        Change { before: row(&short), after: None },
    ];
    let before = row(&long);
    long.idle_since = Some(at(3));
    changes.push(Change { before, after: row(&long) });
    let kept = net(changes.clone());
    assert_eq!(kept, [Change { before: None, after: row(&long) }]);
    // Over two batches of one commit too.
    let (first, second) = changes.split_at(2);
    store.commit([first, second].into_iter(), now(1), &Evidence::default()).unwrap();
    store.close().unwrap();
    assert_eq!(place.load().1, [Row::Lease(Box::new(long))]);
}

#[test]
fn a_file_that_no_longer_verifies_is_left_out_and_told() {
    let place = Place::new();
    let mut store = place.open();
    commit(&mut store, &added(&one_of_each()), 1).unwrap();
    store.close().unwrap();
    place
        .outside()
        .execute("UPDATE files SET bytes = CAST(replace(CAST(bytes AS TEXT), 'Acme', 'Acmf') AS BLOB)", [])
        .unwrap();
    let (_, rows, left_out) = place.load();
    assert!(!rows.iter().any(|row| matches!(row, Row::File(_))));
    assert_eq!(left_out.len(), 1);
    assert_eq!(left_out[0].name, "acme.i3lic");
}

#[test]
fn a_database_of_a_newer_version_is_refused_and_not_touched() {
    let place = Place::new();
    place.open().close().unwrap();
    place.outside().pragma_update(None, "user_version", 99).unwrap();
    let Err(fault) = Database::open(&place.state) else { panic!("it was opened") };
    assert!(matches!(fault, OpenFault::Newer { found: 99, known: 7, .. }));
    assert!(fault.to_string().contains("a newer version has written it"), "{fault}");
    let version: i64 = place.outside().query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
    assert_eq!(version, 99);
}

#[test]
fn another_programs_database_is_refused() {
    let place = Place::new();
    place.outside().execute_batch("CREATE TABLE songs (title TEXT)").unwrap();
    assert!(matches!(Database::open(&place.state), Err(OpenFault::Foreign { .. })));
}

#[test]
fn a_damaged_database_is_refused_with_a_way_back() {
    let place = Place::new();
    let mut store = place.open();
    commit(&mut store, &added(&one_of_each()), 1).unwrap();
    let copy = store.reader().snapshot("monday").unwrap();
    store.close().unwrap();
    let path = place.state.database();
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.windows(19).position(|window| window == b"Interaction Desktop").unwrap();
    bytes[at / 4096 * 4096..][..200].fill(0xff);
    fs::write(&path, bytes).unwrap();
    let fault = match Database::open(&place.state) {
        Err(fault) => fault,
        Ok(database) => database.load(Some(&place.trust), now(0).wall, |_| {}).unwrap_err(),
    };
    assert!(matches!(fault, OpenFault::Damaged { .. }), "{fault}");
    assert!(fault.to_string().contains(&format!("-m 600 {}", copy.display())), "{fault}");
    // The way back works as it is printed, whether there is a log beside the database or not.
    let said = fault.to_string();
    let (_, way) = said.split_once("in their place: ").unwrap();
    let (way, _) = way.split_once(" . ").unwrap();
    assert!(std::process::Command::new("sh").args(["-c", way]).status().unwrap().success(), "{way}");
    let kept = fs::read_dir(place.state.path()).unwrap().flatten();
    assert_eq!(kept.filter(|entry| entry.file_name().to_string_lossy().starts_with("damaged-")).count(), 1);
    assert_eq!(place.load().1, one_of_each());
}
