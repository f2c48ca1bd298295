//! USAGE-1 to USAGE-6 and USAGE-9 as far as they are the engine's: which events logons and logoffs leave, with which
//! counter, keys and time, and that they are exactly what the leases did.

mod support;

use std::collections::BTreeMap;

use leasehold_engine::{
    command::{Act, Ask, Command, EntityName, HostFinding, Origin, Place, Revoked, UsageStep},
    ids::{LeaseId, UserId},
    row::{Change, LeaseRow, LeaseSubject, Row, UsageEventRow, UsageKind, UsageSegmentRow},
    time::{HOUR_MS, WallTime},
};
use leasehold_keys::{digest::Sha256, name::Method};
use support::{Site, caller, files, label, logon, unary, user};

const USAGE: &str = "USAGE_UPLOAD 1";

/// One event in words: `12:00 logon ann 1 CLIENT TRACKER`.
fn told(site: &Site, row: &UsageEventRow) -> String {
    let at = row.at.to_string();
    let clock = at.get(11..16).unwrap_or(&at);
    let what = match row.what {
        UsageKind::Logon => "logon",
        UsageKind::Logoff => "logoff",
        UsageKind::KeysChanged => "keys",
    };
    let mut keys: Vec<String> = row.keys.iter().map(|key| site.engine.key_name(*key).to_string()).collect();
    keys.sort();
    format!("{clock} {what} {} {} {}", row.user, row.counter, keys.join(" "))
}

fn events(site: &Site) -> Vec<String> {
    site.engine.unsealed_usage(usize::MAX).iter().map(|row| told(site, row)).collect()
}

/// What the events must be, read from the changes of leases alone: after each beginning or end of a logon comes its event,
/// with the user's live leases counted afresh. Returns how many were compared.
fn compare_with_leases(changes: &[Change]) -> usize {
    let live = |row: &Option<Row>| match row {
        Some(Row::Lease(row)) if row.ended.is_none() => Some((**row).clone()),
        _ => None,
    };
    let mut sessions: BTreeMap<UserId, BTreeMap<LeaseId, LeaseRow>> = BTreeMap::new();
    let mut expected: Vec<(UsageKind, u32)> = Vec::new();
    let mut found: Vec<(UsageKind, u32)> = Vec::new();
    for change in changes {
        match (live(&change.before), live(&change.after)) {
            (None, Some(row)) => {
                if let LeaseSubject::Logon { user, .. } = &row.subject {
                    let own = sessions.entry(*user).or_default();
                    own.insert(row.id, row.clone());
                    expected.push((UsageKind::Logon, u32::try_from(own.len()).unwrap()));
                }
            }
            (Some(row), None) => {
                if let LeaseSubject::Logon { user, .. } = &row.subject {
                    let own = sessions.entry(*user).or_default();
                    own.remove(&row.id);
                    expected.push((UsageKind::Logoff, u32::try_from(own.len()).unwrap()));
                }
            }
            _ => {}
        }
        if let (None, Some(Row::UsageEvent(row))) = (&change.before, &change.after)
            && row.what != UsageKind::KeysChanged
        {
            found.push((row.what, row.counter));
        }
    }
    assert_eq!(found, expected);
    found.len()
}

fn primary(user: &str, computer: &str, application: &str) -> Ask {
    Ask::Logon {
        user: label(user),
        place: Place::None,
        computer: Some(label(computer)),
        needed: Vec::new(),
        application: Some(label(application)),
    }
}

fn log_on(site: &mut Site, from: &Origin, ask: Ask) -> LeaseId {
    let acquire = site.acquire_command(from.clone(), ask);
    site.acquire(acquire).expect("nobody waits here").unwrap_or_else(|refusal| panic!("{refusal:?}")).id
}

/// 004's table of John Smith: 1 2 1 2 1 0, active from the first logon to the last logoff.
#[test]
fn john_smith_counts_one_two_one_two_one_zero() {
    let mut site = Site::with(&[USAGE, "CLIENT 5", "TRACKER 5"]);
    site.add_user("john.smith", Method::Assignable);
    site.assign(true, user("john.smith"), &["CLIENT", "TRACKER"]).unwrap();
    let server = Origin::Stream(site.attach(caller("acd"), 1));
    let beat = |site: &mut Site| {
        let Origin::Stream(holder) = server else { unreachable!("it is a stream") };
        site.run(Command::Beat(holder)).unwrap();
    };
    // Half hours from 8 a.m.: the site's clock starts at noon, the distances are those of the table.
    let wait = |site: &mut Site, half_hours: u64| {
        for _ in 0..half_hours * 60 {
            site.sleep(30_000);
            beat(site);
        }
    };
    let icbm = log_on(&mut site, &server, primary("john.smith", "pc", "ICBM"));
    wait(&mut site, 1);
    let connect = log_on(&mut site, &server, primary("john.smith", "pc", "Connect"));
    wait(&mut site, 13);
    site.release(server.clone(), icbm).unwrap();
    wait(&mut site, 1);
    let desktop = log_on(&mut site, &server, primary("john.smith", "pc", "Desktop"));
    wait(&mut site, 1);
    site.release(server.clone(), connect).unwrap();
    wait(&mut site, 1);
    site.release(server.clone(), desktop).unwrap();
    assert_eq!(
        events(&site),
        [
            "12:00 logon john.smith 1 CLIENT TRACKER",
            "12:30 logon john.smith 2 CLIENT TRACKER",
            "19:00 logoff john.smith 1 CLIENT TRACKER",
            "19:30 logon john.smith 2 CLIENT TRACKER",
            "20:00 logoff john.smith 1 CLIENT TRACKER",
            "20:30 logoff john.smith 0 CLIENT TRACKER",
        ]
    );
    assert_eq!(compare_with_leases(&site.changes), 6);
    site.check();
}

/// ALLOC-8: the counter does not touch 0 when a logon takes the place of another.
#[test]
fn a_second_computer_never_brings_the_counter_to_zero() {
    let mut site = Site::with(&[USAGE, "CLIENT_CONCURRENT 1"]);
    site.add_user("ann", Method::Concurrent);
    site.assign(true, user("ann"), &["CLIENT"]).unwrap();
    log_on(&mut site, &unary("acd"), primary("ann", "pc1", "acd"));
    site.sleep(1_000);
    log_on(&mut site, &unary("acd"), primary("ann", "pc2", "acd"));
    assert_eq!(events(&site), ["12:00 logon ann 1 CLIENT", "12:00 logon ann 2 CLIENT", "12:00 logoff ann 1 CLIENT"]);
    site.check();
}

/// USAGE-9: an expired lease was used until its last renewal, and never for less than nothing.
#[test]
fn the_logoff_of_an_expired_lease_carries_its_last_renewal() {
    let mut site = Site::with(&[USAGE, "CLIENT 2"]);
    for name in ["ann", "bob"] {
        site.add_user(name, Method::Assignable);
        site.assign(true, user(name), &["CLIENT"]).unwrap();
    }
    let holder = site.attach(caller("acd"), 1);
    let by_stream = log_on(&mut site, &Origin::Stream(holder), logon("ann", &[]));
    let by_call = log_on(&mut site, &unary("web"), logon("bob", &[]));
    site.sleep(50_000);
    let heard = site.now().wall;
    site.run(Command::Beat(holder)).unwrap();
    site.run(Command::Renew { from: unary("web"), leases: vec![by_call] }).unwrap();
    site.sleep(50_000);
    site.pass(HOUR_MS.unsigned_abs());
    let rows = site.engine.unsealed_usage(usize::MAX);
    let ends: Vec<(&str, WallTime)> =
        rows.iter().filter(|row| row.what == UsageKind::Logoff).map(|row| (row.user.as_str(), row.at)).collect();
    assert_eq!(ends.len(), 2, "both have expired: {rows:?}");
    for (name, at) in ends {
        assert_eq!(at, heard, "{name}");
    }
    assert!(by_stream < by_call);
    // A clock that was set back by a year between the logon and the end makes no negative session.
    let mut site = Site::with(&[USAGE, "CLIENT 2"]);
    site.add_user("ann", Method::Assignable);
    site.assign(true, user("ann"), &["CLIENT"]).unwrap();
    log_on(&mut site, &unary("web"), logon("ann", &[]));
    let began = site.now().wall;
    site.wall_ms -= 365 * 24 * HOUR_MS;
    site.pass(HOUR_MS.unsigned_abs());
    let rows = site.engine.unsealed_usage(usize::MAX);
    assert!(rows.iter().all(|row| row.at <= began), "{rows:?}");
    site.check();
}

/// USAGE-9: keys that change within a session are events, and what changes nothing is none.
#[test]
fn keys_that_change_within_a_session_are_events() {
    let mut site = Site::with(&[USAGE, "CLIENT 2", "TRACKER 2"]);
    site.add_user("ann", Method::Assignable);
    site.assign(true, user("ann"), &["CLIENT"]).unwrap();
    log_on(&mut site, &unary("acd"), logon("ann", &[]));
    site.assign(true, user("ann"), &["TRACKER"]).unwrap();
    site.assign(true, user("ann"), &["TRACKER"]).unwrap();
    site.assign(false, user("ann"), &["TRACKER"]).unwrap();
    assert_eq!(
        events(&site),
        ["12:00 logon ann 1 CLIENT", "12:00 keys ann 1 CLIENT TRACKER", "12:00 keys ann 1 CLIENT"]
    );
    site.check();
}

/// USAGE-3: whatever ends a session is a logoff: an administrator, the user's deletion, a lost file.
#[test]
fn every_way_to_end_a_session_is_a_logoff() {
    let mut site = Site::with(&[USAGE, "CLIENT 3"]);
    for name in ["ann", "bob"] {
        site.add_user(name, Method::Assignable);
        site.assign(true, user(name), &["CLIENT"]).unwrap();
        log_on(&mut site, &unary("acd"), logon(name, &[]));
    }
    site.administer(Act::Revoke { what: Revoked::User(label("ann")), reason: label("needed elsewhere") }).unwrap();
    site.administer(Act::Delete(EntityName::User(label("bob")))).unwrap();
    assert_eq!(
        events(&site),
        [
            "12:00 logon ann 1 CLIENT",
            "12:00 logon bob 1 CLIENT",
            "12:00 logoff ann 0 CLIENT",
            "12:00 logoff bob 0 CLIENT"
        ]
    );
    assert_eq!(compare_with_leases(&site.changes), 4);
    site.check();
}

/// USAGE-1: without a key that asks for usage none is collected; stations and units are never.
#[test]
fn usage_is_collected_only_where_the_grants_ask_for_it() {
    let mut site = Site::with(&["CLIENT 3", "SESSION 5"]);
    site.add_user("ann", Method::Assignable);
    site.assign(true, user("ann"), &["CLIENT"]).unwrap();
    log_on(&mut site, &unary("acd"), logon("ann", &[]));
    log_on(&mut site, &unary("acd"), support::units("SESSION", 2));
    assert_eq!(events(&site), [""; 0]);
    assert!(!site.engine.usage_plan(site.now()).collecting);

    // It begins with a file that asks for it: who is logged on then is told by the presences, not by an event.
    let mut terms = files::base(&["CLIENT 3", "SESSION 5", USAGE].map(files::grant));
    terms.sequence = 2;
    site.drop_file("base.i3lic", &terms, HostFinding::Primary);
    let plan = site.engine.usage_plan(site.now());
    assert_eq!((plan.collecting, plan.upload, plan.license), (true, true, Some(files::license(1))));
    let present = site.engine.usage_presences();
    assert_eq!(present.len(), 1);
    assert_eq!((present[0].user.as_str(), present[0].counter, present[0].since), ("ann", 1, files::start()));
    log_on(&mut site, &unary("acd"), support::units("SESSION", 2));
    assert_eq!(events(&site), [""; 0]);
    log_on(&mut site, &unary("acd"), logon("ann", &[]));
    assert_eq!(events(&site), ["12:00 logon ann 2 CLIENT"]);
}

/// What happens between two eras of collecting is told by nobody, so each beginning is another era: in the very step in which
/// the grants change, and never by a restart.
#[test]
fn each_beginning_of_collecting_is_another_era() {
    let mut site = Site::with(&[USAGE, "CLIENT 3"]);
    let mut sequence = 1;
    let mut license = |site: &mut Site, grants: &[&str]| {
        sequence += 1;
        let mut terms = files::base(&grants.iter().map(|grant| files::grant(grant)).collect::<Vec<_>>());
        terms.sequence = sequence;
        site.drop_file("base.i3lic", &terms, HostFinding::Primary);
    };
    let state = |site: &Site| {
        let plan = site.engine.usage_plan(site.now());
        (plan.collecting, plan.era)
    };
    let mut leases = BTreeMap::new();
    for name in ["ann", "bob", "tina"] {
        site.add_user(name, Method::Assignable);
        site.assign(true, user(name), &["CLIENT"]).unwrap();
        leases.insert(name, log_on(&mut site, &unary("acd"), logon(name, &[])));
    }
    assert_eq!(state(&site), (true, 1));
    site.restart();
    // Another file that asks for it too is no beginning.
    license(&mut site, &[USAGE, "CLIENT 4"]);
    assert_eq!(state(&site), (true, 1));
    license(&mut site, &["CLIENT 3"]);
    assert_eq!(state(&site), (false, 1));
    site.release(unary("acd"), leases["ann"]).unwrap();
    site.restart();
    assert_eq!(state(&site), (false, 1));
    let before = site.changes.len();
    license(&mut site, &[USAGE, "CLIENT 3"]);
    assert_eq!(state(&site), (true, 2));
    // A commit that failed was no beginning, and the next one is the same.
    let undone = site.changes.split_off(before);
    site.engine.undo(undone);
    assert_eq!(state(&site), (false, 1));
    license(&mut site, &[USAGE, "CLIENT 3"]);
    assert_eq!(state(&site), (true, 2));
    site.release(unary("acd"), leases["bob"]).unwrap();
    let rows = site.engine.unsealed_usage(usize::MAX);
    let told: Vec<(u32, &str, u32)> = rows.iter().map(|row| (row.era, row.user.as_str(), row.counter)).collect();
    // Nothing tells of ann's end; whoever opens the second era does without her.
    assert_eq!(told, [(1, "ann", 1), (1, "bob", 1), (1, "tina", 1), (2, "bob", 0)]);
    site.run(Command::Usage(UsageStep { sealed_through: Some(rows[2].id), ..UsageStep::default() })).unwrap();
    let present = site.engine.usage_presences();
    assert_eq!(present.iter().map(|some| some.user.as_str()).collect::<Vec<_>>(), ["bob", "tina"]);
    site.restart();
    assert_eq!((state(&site), site.engine.unsealed_usage(1)[0].era), ((true, 2), 2));
    site.check();
}

/// USAGE-2: which of the keys lets files go out by themselves.
#[test]
fn local_usage_wins_over_upload() {
    for (grants, collecting, upload) in [
        (vec![], false, false),
        (vec!["USAGE_UPLOAD 1"], true, true),
        (vec!["USAGE_LOCAL 1"], true, false),
        (vec!["USAGE_UPLOAD 1", "USAGE_LOCAL 1"], true, false),
    ] {
        let site = Site::with(&[&["CLIENT 1"], &grants[..]].concat());
        let plan = site.engine.usage_plan(site.now());
        assert_eq!((plan.collecting, plan.upload), (collecting, upload), "{grants:?}");
    }
}

/// USAGE-6: an event is there until the step that sealed it, and undoing that step brings it back.
#[test]
fn sealed_events_go_with_the_step_that_seals_them() {
    let mut site = Site::with(&[USAGE, "CLIENT 3"]);
    for name in ["ann", "bob"] {
        site.add_user(name, Method::Assignable);
        site.assign(true, user(name), &["CLIENT"]).unwrap();
        log_on(&mut site, &unary("acd"), logon(name, &[]));
    }
    let first = site.engine.unsealed_usage(1);
    let segment = UsageSegmentRow {
        number: 1,
        file: "x-00000001-20261122.usg".into(),
        license: files::license(1),
        began: site.now().wall,
        because: "first".into(),
        records: 1,
        records_before: 0,
        events: 1,
        bytes: 500,
        head: Sha256::of(b"head"),
        closed: None,
        sha256: None,
        uploaded: None,
        acknowledged: None,
        stored: true,
    };
    let step = UsageStep {
        records: Vec::new(),
        segments: vec![segment],
        forgotten: Vec::new(),
        sealed_through: first.last().map(|row| row.id),
    };
    let before = site.changes.len();
    site.run(Command::Usage(step.clone())).unwrap();
    assert_eq!(events(&site), ["12:00 logon bob 1 CLIENT"]);
    assert_eq!(site.engine.usage_segments().count(), 1);
    site.check();
    let undone = site.changes.split_off(before);
    site.engine.undo(undone);
    assert_eq!(events(&site).len(), 2);
    assert_eq!(site.engine.usage_segments().count(), 0);
    // A restart reads back what was not sealed.
    site.run(Command::Usage(step)).unwrap();
    site.restart();
    assert_eq!(events(&site), ["12:00 logon bob 1 CLIENT"]);
    site.run(Command::Usage(UsageStep { forgotten: vec![1], ..UsageStep::default() })).unwrap();
    assert_eq!(site.engine.usage_segments().count(), 0);
    site.check();
}

/// An act that is refused half way, or only tried, tells nothing.
#[test]
fn what_is_rolled_back_leaves_no_event() {
    let mut site = Site::with(&[USAGE, "CLIENT 3", "CLIENT_CONCURRENT 1", "TRACKER_CONCURRENT 1"]);
    site.add_user("ann", Method::Concurrent);
    site.assign(true, user("ann"), &["CLIENT", "TRACKER"]).unwrap();
    log_on(&mut site, &unary("acd"), logon("ann", &[]));
    let before = events(&site);
    let refused = site.administer(Act::Change(leasehold_engine::command::EntityChange::User {
        name: label("ann"),
        display_name: None,
        method: Some(Method::Assignable),
        organization: None,
        workgroups: None,
        types: None,
    }));
    assert!(refused.is_err(), "there are no assignable units of TRACKER");
    assert_eq!(events(&site), before);
    site.check();
}
