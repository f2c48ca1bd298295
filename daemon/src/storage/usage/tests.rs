//! Usage rows there and back: events cut in the middle of a commit's row, records that go with their segment.

use std::sync::Arc;

use leasehold_engine::{
    ids::{KeyId, UsageEventId},
    row::{Change, UsageKind},
    time::{LeaseTime, Now},
};
use leasehold_keys::digest::Sha256;
use uuid::Uuid;

use super::*;
use crate::{
    clock::evidence::Evidence,
    storage::{Database, Durable, StateDir, Store},
};

fn event(id: u64) -> UsageEventRow {
    UsageEventRow {
        id: UsageEventId(id),
        era: u32::try_from(id / 3).unwrap(),
        at: WallTime::from_ms(1_800_000_000_000 + id.cast_signed()),
        what: if id.is_multiple_of(2) { UsageKind::Logoff } else { UsageKind::Logon },
        user: format!("agent \"{id}\" ✓").parse().unwrap(),
        counter: 1,
        keys: Arc::from([KeyId(3), KeyId(9)]),
        before: before(id),
    }
}

/// None, one with the same keys, one with others.
fn before(id: u64) -> Option<UsageBefore> {
    let keys: &[KeyId] = if id % 3 == 1 { &[KeyId(3), KeyId(9)] } else { &[KeyId(3)] };
    (!id.is_multiple_of(3)).then(|| UsageBefore { since: WallTime::from_ms(1_700_000_000_000), keys: Arc::from(keys) })
}

fn segment(number: u32, stored: bool) -> UsageSegmentRow {
    UsageSegmentRow {
        number,
        file: format!("abc-{number:08}-20270115.usg"),
        license: LicenseId(Uuid::max()),
        began: WallTime::from_ms(1_800_000_000_000),
        because: "midnight".into(),
        records: 3,
        records_before: 17,
        events: 300,
        bytes: 4_711,
        head: Sha256::of(b"head"),
        closed: Some(WallTime::from_ms(1_800_086_400_000)),
        sha256: Some(Sha256::of(b"file")),
        uploaded: Some(WallTime::from_ms(1_800_086_400_001)),
        acknowledged: None,
        stored,
    }
}

fn record(segment: u32, place: u64) -> Row {
    Row::UsageRecord(UsageRecordRow { segment, place, bytes: Arc::from(format!("{segment}/{place} ").into_bytes()) })
}

fn put(row: Row) -> Change {
    Change { before: None, after: Some(row) }
}

fn take_away(row: Row) -> Change {
    Change { before: Some(row), after: None }
}

struct Place {
    _dir: tempfile::TempDir,
    state: StateDir,
    store: Store,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(&dir.path().join("state")).unwrap();
        let store = Database::open(&state).unwrap().into_store().unwrap();
        Self { _dir: dir, state, store }
    }

    fn commit(&mut self, changes: &[Change]) {
        let now = Now { lease: LeaseTime::from_ms(5), wall: WallTime::from_ms(1_800_000_000_000), unconfirmed_ms: 0 };
        self.store.commit(std::iter::once(changes), now, &Evidence::default()).unwrap();
    }

    fn rows(&self) -> Vec<Row> {
        let db = Connection::open(self.state.database()).unwrap();
        let mut rows = Vec::new();
        load(&db, &mut |row| rows.push(row)).unwrap();
        rows
    }

    fn count(&self, table: &str) -> u64 {
        let db = Connection::open(self.state.database()).unwrap();
        db.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get::<_, i64>(0)).unwrap().cast_unsigned()
    }

    fn file(&self, segment: u32) -> String {
        let db = Connection::open(self.state.database()).unwrap();
        let mut bytes = Vec::new();
        records(&db, segment, |record| bytes.extend_from_slice(record)).unwrap();
        String::from_utf8(bytes).unwrap()
    }
}

/// USAGE-6: what is sealed goes, what is not stays, wherever a commit's row is cut.
#[test]
fn events_of_a_commit_are_one_row_and_are_cut_where_the_seal_ends() {
    for through in 0..=8_u64 {
        let mut place = Place::new();
        let all: Vec<Change> = (1..=4).map(|id| put(Row::UsageEvent(event(id)))).collect();
        place.commit(&all);
        let later: Vec<Change> = (5..=8).map(|id| put(Row::UsageEvent(event(id)))).collect();
        place.commit(&later);
        assert_eq!(place.count("usage_events"), 2);
        // New events come in the same commit as the seal of old ones.
        let sealed: Arc<[UsageEventRow]> = (1..=through).map(event).collect();
        let mut seal = vec![take_away(Row::UsageEvents(sealed))];
        seal.push(put(Row::UsageEvent(event(9))));
        place.commit(&seal);
        let expected: Vec<Row> = (through + 1..=9).map(|id| Row::UsageEvent(event(id))).collect();
        assert_eq!(place.rows(), expected, "sealed through {through}");
    }
}

#[test]
fn records_go_with_their_segment_or_when_it_needs_them_no_more() {
    let mut place = Place::new();
    place.commit(&[
        put(Row::UsageSegment(Box::new(segment(1, true)))),
        put(record(1, 1)),
        put(record(1, 0)),
        put(Row::UsageSegment(Box::new(segment(2, true)))),
        put(record(2, 0)),
    ]);
    assert_eq!(
        place.rows(),
        [Row::UsageSegment(Box::new(segment(1, true))), Row::UsageSegment(Box::new(segment(2, true)))]
    );
    assert_eq!((place.file(1), place.file(2)), ("1/0 1/1 ".to_owned(), "2/0 ".to_owned()));
    let change = |row: &UsageSegmentRow, after: Option<UsageSegmentRow>| Change {
        before: Some(Row::UsageSegment(Box::new(row.clone()))),
        after: after.map(Box::new).map(Row::UsageSegment),
    };
    place.commit(&[change(&segment(1, true), Some(segment(1, false)))]);
    assert_eq!((place.count("usage_records"), place.file(1).as_str()), (1, ""));
    place.commit(&[change(&segment(2, true), None)]);
    assert_eq!(place.rows(), [Row::UsageSegment(Box::new(segment(1, false)))]);
    assert_eq!(place.count("usage_records"), 0);
}
