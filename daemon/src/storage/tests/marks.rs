//! The marks of time: stored with every commit, read back, and brought along from an older schema.

use super::*;
use crate::clock::{
    TimeMark,
    evidence::{RollBack, Unconfirmed},
};

#[test]
fn both_marks_and_what_is_known_of_the_wall_clock_come_back() {
    let place = Place::new();
    let new = Database::open(&place.state).unwrap();
    assert_eq!(new.mark(), TimeMark::default());
    let mut store = new.into_store().unwrap();
    let evidence = Evidence {
        unconfirmed: Some(Unconfirmed { ahead_ms: 90_000_000, since: at(3) }),
        older: Some(Unconfirmed { ahead_ms: 2_000_000, since: at(2) }),
        withdrawn: 1,
        roll_backs: 2,
        last_roll_back: Some(RollBack { at: WallTime::from_ms(-5), by_ms: 700_000, over: None }),
    };
    store.commit(std::iter::empty(), now(7), &Evidence::default()).unwrap();
    store.commit(std::iter::empty(), now(8), &evidence).unwrap();
    store.commit(std::iter::empty(), now(9), &evidence).unwrap();
    store.close().unwrap();
    let mark = Database::open(&place.state).unwrap().mark();
    assert_eq!(mark, TimeMark { lease: at(9), trusted: Some(now(0).wall), evidence });
    let over = RollBack { over: Some(WallTime::from_ms(6)), ..evidence.last_roll_back.unwrap() };
    let evidence = Evidence { unconfirmed: None, older: None, last_roll_back: Some(over), ..evidence };
    let mut store = place.open();
    store.commit(std::iter::empty(), now(10), &evidence).unwrap();
    store.close().unwrap();
    assert_eq!(Database::open(&place.state).unwrap().mark().evidence, evidence);
}

/// A first start that is killed before its first commit: after any of its steps the next start takes the database up.
#[test]
fn a_first_start_that_was_killed_is_no_damage() {
    let place = Place::new();
    drop(Database::open(&place.state).unwrap());
    assert_eq!(Database::open(&place.state).unwrap().mark(), TimeMark::default());
    // Between the first schema and the next one; its log is left, as by a kill.
    for steps in 1..=opening::MIGRATIONS.len() {
        let place = Place::new();
        opening::migrate_by(&place.outside(), &place.state.database(), &opening::MIGRATIONS[..steps]).unwrap();
        assert_eq!(Database::open(&place.state).unwrap().mark(), TimeMark::default());
        assert_eq!(place.load().1, []);
    }
    // What was lost later is damage as before.
    let place = Place::new();
    drop(Database::open(&place.state).unwrap());
    place.outside().execute("DELETE FROM meta", []).unwrap();
    assert!(matches!(Database::open(&place.state), Err(OpenFault::Damaged { .. })));
}

/// Denials are pruned by what is sure: a clock chip that says 2099 takes none away.
#[test]
fn an_unconfirmed_date_prunes_nothing() {
    let place = Place::new();
    let mut store = place.open();
    commit(&mut store, &added(&[denial(1, now(0).wall)]), 1).unwrap();
    let later = now(1 + PRUNE_EVERY_MS);
    let years_ms = 70 * 365 * leasehold_engine::time::DAY_MS;
    let jumped = Now { wall: later.wall.plus_ms(years_ms), unconfirmed_ms: years_ms.unsigned_abs(), ..later };
    store.commit(std::iter::empty(), jumped, &Evidence::default()).unwrap();
    let kept =
        |store: &Store| store.reader().denials(&DenialQuery { limit: 9, ..DenialQuery::default() }).unwrap().len();
    assert_eq!(kept(&store), 1);
    let confirmed = Now { lease: at(1 + 2 * PRUNE_EVERY_MS), unconfirmed_ms: 0, ..jumped };
    store.commit(std::iter::empty(), confirmed, &Evidence::default()).unwrap();
    assert_eq!(kept(&store), 0);
}

#[test]
fn a_database_of_the_first_schema_is_brought_up_to_date() {
    let place = Place::new();
    let db = place.outside();
    db.execute_batch(opening::MIGRATIONS[0]).unwrap();
    db.execute_batch("PRAGMA application_id = 0x4c534844; PRAGMA user_version = 1; INSERT INTO meta VALUES (1, 77)")
        .unwrap();
    drop(db);
    let mark = Database::open(&place.state).unwrap().mark();
    assert_eq!(mark, TimeMark { lease: at(77), ..TimeMark::default() }, "trusted time begins with the wall clock");
    let mut store = place.open();
    commit(&mut store, &[], 78).unwrap();
    store.close().unwrap();
    let (trusted, confirmed): (String, String) = place
        .outside()
        .query_row("SELECT trusted_utc, confirmed_utc FROM clock_readable", [], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap();
    assert_eq!((trusted.as_str(), confirmed.as_str()), ("2027-01-15 08:00:00", "2027-01-15 08:00:00"));
}

#[test]
fn a_lease_of_the_second_schema_has_had_no_grace() {
    let place = Place::new();
    let db = place.outside();
    db.execute_batch(&opening::MIGRATIONS[..2].concat()).unwrap();
    db.execute_batch(
        "PRAGMA application_id = 0x4c534844; PRAGMA user_version = 2; INSERT INTO meta VALUES (1, 77, NULL);
         INSERT INTO leases VALUES (7, 9, NULL, NULL, NULL, NULL, 'ivr', '{\"needed\":[],\"keys\":[],\"seats\":[],
           \"missing\":[],\"warnings\":[],\"types\":[]}', 60000, 5, 5, NULL, NULL, NULL, NULL, NULL, NULL, NULL)",
    )
    .unwrap();
    drop(db);
    let (_, rows, _) = place.load();
    let [Row::Lease(lease)] = rows.as_slice() else { panic!("{rows:?}") };
    assert_eq!((lease.id, lease.graced), (LeaseId(7), None));
}
