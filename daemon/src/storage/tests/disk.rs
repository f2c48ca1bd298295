//! Disks that are full or fail, and what a stop in the middle leaves on them (LEASE-11).

use super::*;

/// As a full disk does it: the database may not grow.
fn limit_pages(store: &Store, pages: i64) {
    let _: i64 = store.db.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |row| row.get(0)).unwrap();
}

#[test]
fn a_full_disk_fails_certainly_and_leaves_nothing() {
    let place = Place::new();
    let mut store = place.open();
    commit(&mut store, &added(&[audit_entry(1)]), 1).unwrap();
    limit_pages(&store, 1);
    let many: Vec<Row> = (0..2_000).map(|id| Row::Lease(Box::new(lease(id + 1, LeaseSubject::Units)))).collect();
    let rows: Vec<Row> = [audit_entry(2)].into_iter().chain(many).collect();
    let fault = commit(&mut store, &added(&rows), 2).unwrap_err();
    assert!(matches!(&fault, CommitFault::NotDone(why) if why.contains("full")), "{fault:?}");
    limit_pages(&store, 1_000_000);
    store.retry(&added(&[audit_entry(2)]), now(3), &Evidence::default()).unwrap();
    assert!(matches!(
        store.reader().verify_audit().unwrap(),
        AuditVerdict { entries: 2, first_bad: None, head: Some(_) }
    ));
    store.close().unwrap();
    let (mark, rows, _) = place.load();
    assert_eq!((mark, rows.len()), (at(3), 0));
}

#[test]
fn the_log_is_kept_short_while_it_is_written() {
    let place = Place::new();
    let mut store = place.open();
    let log = place.state.database().with_extension("db-wal");
    for round in 0..60 {
        let rows: Vec<Row> =
            (0..2_000).map(|id| Row::Lease(Box::new(lease(id + 1 + round, LeaseSubject::Units)))).collect();
        commit(&mut store, &added(&rows), round).unwrap();
        store.tidy().unwrap();
    }
    assert!(fs::metadata(log).unwrap().len() < 90 << 20);
    store.close().unwrap();
    assert_eq!(place.load().1.len(), 2_059);
}

#[test]
fn what_a_stop_in_the_middle_left_is_settled_before_anything_is_written() {
    let place = Place::new();
    let mut store = place.open();
    commit(&mut store, &added(&one_of_each()), 5).unwrap();
    // As a crash leaves it: the files as they are while the store is open.
    let elsewhere = TempDir::new().unwrap();
    let copy = StateDir::open(&elsewhere.path().join("state")).unwrap();
    for name in ["leasehold.db", "leasehold.db-wal"] {
        fs::copy(place.state.path().join(name), copy.path().join(name)).unwrap();
    }
    let database = Database::open(&copy).unwrap();
    assert!(database.was_unclean());
    let mut rows = Vec::new();
    database.load(Some(&place.trust), now(0).wall, |row| rows.push(row)).unwrap();
    assert_eq!(rows, one_of_each());
    let store = database.into_store().unwrap();
    assert_eq!(store.fault(), None);
    assert_eq!(fs::metadata(copy.path().join("leasehold.db-wal")).unwrap().len(), 0, "it was checkpointed and emptied");
    store.close().unwrap();
    assert!(!Database::open(&copy).unwrap().was_unclean());
}

#[test]
fn a_sync_that_fails_is_told_from_a_fault_before_it() {
    let sqlite = |code| rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
    for certain in [ffi::SQLITE_FULL, ffi::SQLITE_BUSY, ffi::SQLITE_READONLY, ffi::SQLITE_IOERR_WRITE] {
        assert!(matches!(classify("write", &sqlite(certain)), CommitFault::NotDone(_)), "{certain}");
    }
    for open in [ffi::SQLITE_IOERR_FSYNC, ffi::SQLITE_IOERR_DIR_FSYNC] {
        assert!(matches!(classify("write", &sqlite(open)), CommitFault::Unsure(_)), "{open}");
    }
}
