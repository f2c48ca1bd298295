//! What people read of it: the audit log and its chain, denials, snapshots, views.

use super::*;

#[test]
fn a_snapshot_has_a_plain_name_and_is_never_overwritten() {
    let place = Place::new();
    let store = place.open();
    let reader = store.reader();
    for bad in ["", ".", "..", "../x", "a/b", ".hidden", "-x", "ä", "a b", &"x".repeat(65)] {
        assert!(matches!(reader.snapshot(bad), Err(ReadFault::Name(_))), "{bad}");
    }
    let copy = reader.snapshot("2026-11-22.before").unwrap();
    assert_eq!(copy, place.state.path().join("snapshots/2026-11-22.before.db"));
    assert_eq!(fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(matches!(reader.snapshot("2026-11-22.before"), Err(ReadFault::Exists(_))));
    assert_eq!(fs::read_dir(copy.parent().unwrap()).unwrap().count(), 1);
}

fn tampered(tamper: &str) -> AuditVerdict {
    let place = Place::new();
    let mut store = place.open();
    let site = |last_audit| Row::Site(SiteRow { last_audit, ..SiteRow::default() });
    commit(&mut store, &added(&[audit_entry(1), audit_entry(2), site(2)]), 1).unwrap();
    store.close().unwrap();
    // The chain goes on over a restart.
    let mut store = place.open();
    commit(&mut store, &added(&[audit_entry(3), site(3)]), 2).unwrap();
    let reader = store.reader();
    assert!(matches!(reader.verify_audit().unwrap(), AuditVerdict { entries: 3, first_bad: None, head: Some(_) }));
    place.outside().execute_batch(tamper).unwrap();
    reader.verify_audit().unwrap()
}

#[test]
fn every_tampering_with_the_audit_log_is_found() {
    let first_bad = |tamper| tampered(tamper).first_bad.map(|(id, _)| id.0);
    assert_eq!(first_bad("UPDATE audit SET subject = 'user x' WHERE id = 3"), Some(3));
    assert_eq!(first_bad("UPDATE audit SET at_ms = 9 WHERE id = 2"), Some(1), "the link covers both");
    assert_eq!(first_bad("UPDATE audit SET action = 'assignuser', subject = ' agent-001' WHERE id = 1"), Some(1));
    assert_eq!(first_bad("DELETE FROM audit WHERE id = 1"), Some(1));
    assert_eq!(first_bad("DELETE FROM audit WHERE id = 3"), Some(3));
    assert_eq!(first_bad("DELETE FROM audit WHERE id = 3; DELETE FROM audit_links WHERE first = 3"), Some(3));
    assert_eq!(first_bad("DELETE FROM audit_links WHERE first = 1"), Some(1));
    assert_eq!(
        first_bad(
            "INSERT INTO audit SELECT 4, at_ms, identity, action, subject, before, after, reason FROM audit WHERE id = 1"
        ),
        Some(4)
    );
}

#[test]
fn an_audit_entry_is_never_written_over() {
    let place = Place::new();
    let mut store = place.open();
    commit(&mut store, &added(&[audit_entry(1)]), 1).unwrap();
    assert!(matches!(commit(&mut store, &added(&[audit_entry(1)]), 2), Err(CommitFault::NotDone(_))));
    commit(&mut store, &added(&[audit_entry(2)]), 3).unwrap();
    assert!(matches!(
        store.reader().verify_audit().unwrap(),
        AuditVerdict { entries: 2, first_bad: None, head: Some(_) }
    ));
}

#[test]
fn denials_are_read_newest_first_in_pages_and_old_ones_go() {
    let place = Place::new();
    let mut store = place.open();
    let wall = now(0).wall;
    let old = wall.plus_ms(-DENIALS_KEPT_MS - 1);
    let rows: Vec<Row> = (1..=5).map(|id| denial(id, if id == 1 { old } else { wall })).collect();
    commit(&mut store, &added(&rows), 1).unwrap();
    let reader = store.reader();
    let ids = |query: &DenialQuery| reader.denials(query).unwrap().iter().map(|row| row.id.0).collect::<Vec<_>>();
    // The first commit looked for old ones; the next look is a minute later.
    commit(&mut store, &[], 1 + PRUNE_EVERY_MS).unwrap();
    assert_eq!(ids(&DenialQuery { limit: 2, ..DenialQuery::default() }), [5, 4]);
    assert_eq!(ids(&DenialQuery { limit: 9, before: Some(DenialId(4)), ..DenialQuery::default() }), [3, 2]);
    let of_others = DenialQuery { limit: 9, subject: Some("user x".to_owned()), ..DenialQuery::default() };
    assert_eq!(ids(&of_others), Vec::<u64>::new());
    let of_key = DenialQuery { limit: 9, key: Some("I3_ACCESS_CLIENT".to_owned()), ..DenialQuery::default() };
    assert_eq!(ids(&of_key).len(), 4);
    let newest = reader.denials(&DenialQuery { limit: 1, ..DenialQuery::default() }).unwrap();
    assert_eq!(Row::Denial(Box::new(newest[0].clone())), rows[4]);
    let audited = reader.audit(&AuditQuery { limit: 1, ..AuditQuery::default() }).unwrap();
    assert_eq!(audited, []);
}

#[test]
fn views_for_people_can_be_read() {
    let place = Place::new();
    let mut store = place.open();
    commit(&mut store, &added(&one_of_each()), 5).unwrap();
    let db = place.outside();
    let line: (String, String, String, String) = db
        .query_row(
            "SELECT kind, user, keys, state FROM leases_readable WHERE station IS NOT NULL AND user IS NOT NULL",
            [],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)),
        )
        .unwrap();
    assert_eq!(line.0, "logon");
    assert!(line.1.starts_with("Müller"));
    assert!(line.2.starts_with("I3_ACCESS_CLIENT"));
    assert_eq!(line.3, "ended: LOGGED_ON_ELSEWHERE");
    for view in [
        "assignments_readable",
        "shares_readable",
        "denials_readable",
        "audit_readable",
        "pools_readable",
        "standings_readable",
    ] {
        db.prepare(&format!("SELECT * FROM {view}")).unwrap();
    }
}
