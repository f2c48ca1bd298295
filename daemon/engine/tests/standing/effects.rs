//! What each stage does to pools, leases and those who wait: calls never end, supervisor keys leave and come back, stage 6
//! leaves two call ports.

use leasehold_engine::{
    command::{Acquire, Ask, Command, Origin},
    decision::{LeaseView, Told},
    ids::{HolderId, LeaseId, Ticket},
    refusal::{EndReason, Refusal},
    standing::Stage,
    view::LeaseFilter,
};
use leasehold_keys::{activation::Units, name::Method};

use crate::{
    site::{Story, time},
    support::{caller, label, logon, station, unary, units, user},
};

const SUPERVISED: &str = "file 2020-06-01 7; at 2020-06-21T23:00:00; =3";

/// A day's TTL, so that nothing lapses while stages go by.
fn acquire(story: &mut Story, from: Origin, ask: Ask) -> Result<LeaseView, Refusal> {
    let acquire = story.site.acquire_command(from, ask);
    story.site.acquire(Acquire { ttl_ms: 86_400_000, ..acquire }).unwrap()
}

fn granted(story: &mut Story, from: Origin, ask: Ask) -> LeaseId {
    acquire(story, from, ask).unwrap_or_else(|refusal| panic!("{}", refusal.message())).id
}

fn waits(story: &mut Story, ask: Ask) -> Ticket {
    let acquire = story.site.acquire_command(unary("acd"), ask);
    let ticket = acquire.ticket;
    let got = story.site.acquire(Acquire { wait_ms: 3_600_000, ttl_ms: 86_400_000, ..acquire });
    assert!(got.is_none(), "{got:?}");
    ticket
}

fn live(story: &Story) -> Vec<LeaseId> {
    let filter = LeaseFilter { limit: 1_000, ..LeaseFilter::default() };
    story.site.engine.leases(story.site.now(), &filter).unwrap().iter().map(|held| held.lease.id).collect()
}

fn view(story: &Story, id: LeaseId) -> LeaseView {
    let filter = LeaseFilter { after: id.0 - 1, limit: 1, ..LeaseFilter::default() };
    let held = story.site.engine.leases(story.site.now(), &filter).unwrap();
    held.into_iter().map(|held| held.lease).find(|lease| lease.id == id).unwrap_or_else(|| panic!("lease {id} is gone"))
}

fn keys(story: &Story, id: LeaseId) -> Vec<String> {
    view(story, id).keys.iter().map(|held| held.key.to_string()).collect()
}

fn ended(story: &Story, id: LeaseId) -> Option<EndReason> {
    story.site.events.iter().find_map(|event| match event.what {
        Told::Ended { lease, reason, .. } if lease == id => Some(reason),
        _ => None,
    })
}

/// Keeps all leases of an application's unary calls alive.
fn renew(story: &mut Story, leases: &[LeaseId]) {
    story.site.run(Command::Renew { from: unary("acd"), leases: leases.to_vec() }).unwrap();
}

/// Time passes, with a renewal every half day.
fn until(story: &mut Story, date: &str, leases: &[LeaseId]) {
    while story.site.now().wall < time(date) {
        let left = u64::try_from(time(date).as_ms() - story.site.now().wall.as_ms()).unwrap();
        story.run(left.min(12 * 3_600_000));
        renew(story, leases);
    }
}

fn people(story: &mut Story, method: Method, given: &[(&str, &[&str])]) {
    for (name, keys) in given {
        story.site.add_user(name, method);
        story.site.assign(true, user(name), keys).unwrap();
    }
}

#[test]
fn stage_4_takes_supervisor_keys_from_live_leases_and_refuses_them_and_a_good_answer_gives_them_back() {
    for method in [Method::Assignable, Method::Concurrent] {
        let grants: &[&str] = match method {
            Method::Assignable => &["CLIENT 10", "SUPERVISOR 3", "SESSION 10"],
            Method::Concurrent => &["CLIENT_CONCURRENT 10", "SUPERVISOR_CONCURRENT 3", "SESSION 10"],
        };
        let mut story = Story::granting(grants);
        story.steps("file 2020-06-01 7");
        let both: &[&str] = &["CLIENT", "SUPERVISOR"];
        people(&mut story, method, &[("ann", both), ("bob", both), ("cid", &["CLIENT"])]);
        story.steps(SUPERVISED);
        let ann = granted(&mut story, unary("acd"), logon("ann", &["CLIENT"]));
        let bob = granted(&mut story, unary("acd"), logon("bob", &["SUPERVISOR"]));
        let cid = granted(&mut story, unary("acd"), logon("cid", &["CLIENT"]));
        story.site.events.clear();
        until(&mut story, "2020-06-22", &[ann, bob, cid]);
        assert_eq!(story.stage(), Stage::SupervisorDisabled);
        assert_eq!(keys(&story, ann), ["CLIENT"]);
        assert_eq!(ended(&story, bob), Some(EndReason::Enforced));
        assert_eq!(keys(&story, cid), ["CLIENT"]);
        let told = story.site.events.iter().any(|event| {
            matches!(&event.what, Told::Changed { lease, removed, .. } if lease.id == ann && removed.len() == 1)
        });
        assert!(told, "{:?}", story.site.events);
        let refusal = acquire(&mut story, unary("acd"), logon("bob", &["SUPERVISOR"])).unwrap_err();
        assert_eq!(refusal.reason(), "ENFORCED");
        for told in ["SUPERVISOR", "stage 4", "CIC", "2020-06-01", "leasehold check-in"] {
            assert!(refusal.message().contains(told), "`{told}` is missing in: {}", refusal.message());
        }
        assert!(refusal.facts().contains(&("stage", "4".to_string())), "{:?}", refusal.facts());
        // Without need of it, the rest is granted and the refusal is listed.
        let bob = granted(&mut story, unary("acd"), logon("bob", &["CLIENT"]));
        let missing = view(&story, bob).missing;
        assert_eq!(
            missing.iter().map(|(key, why)| (key.as_str(), why.reason())).collect::<Vec<_>>(),
            [("SUPERVISOR", "ENFORCED")]
        );
        story.site.check();
        // Over a restart too, and back at once.
        story.step("restart");
        story.settle();
        assert_eq!(keys(&story, ann), ["CLIENT"]);
        story.site.events.clear();
        story.step("good");
        story.settle();
        assert_eq!(keys(&story, ann), ["CLIENT", "SUPERVISOR"]);
        assert_eq!(keys(&story, bob), ["CLIENT", "SUPERVISOR"]);
        assert_eq!(view(&story, bob).missing, []);
        story.site.check();
    }
}

/// A bundle keeps what it includes but for the supervisor key, and what requires that one goes with it.
#[test]
fn a_supervisor_key_that_a_station_or_a_remote_logon_brings_goes_too() {
    let mut story = Story::granting(&["CLIENT 10", "SUPERVISOR 5", "BASIC_STATION 5"]);
    story.steps("file 2020-06-01 7");
    people(&mut story, Method::Assignable, &[("ann", &["CLIENT", "SUPERVISOR"])]);
    story.site.add_station("desk", leasehold_engine::row::StationKind::Workstation);
    story.site.assign(true, station("desk"), &["BASIC_STATION"]).unwrap();
    story.steps("at 2020-06-22; =4");
    let ask = Ask::Logon {
        user: label("ann"),
        place: leasehold_engine::command::Place::Station(label("desk")),
        computer: None,
        needed: Vec::new(),
        application: None,
    };
    let lease = granted(&mut story, unary("acd"), ask);
    assert_eq!(keys(&story, lease), ["BASIC_STATION", "CLIENT"]);
    // What is assigned meanwhile is recorded, and has no effect yet.
    people(&mut story, Method::Assignable, &[("bob", &["SUPERVISOR"])]);
    let refusal = acquire(&mut story, unary("acd"), logon("bob", &[])).unwrap_err();
    assert_eq!(refusal.reason(), "ENFORCED");
    story.site.check();
}

#[test]
fn stage_5_leaves_a_fifth_of_each_pool_of_call_ports_and_two_at_least() {
    for (granted, left) in
        [(50, 10), (54, 10), (55, 11), (14, 2), (15, 3), (11, 2), (10, 2), (9, 2), (3, 2), (2, 2), (1, 1)]
    {
        let mut story = Story::granting(&[&format!("SESSION {granted}"), "SPEECH 100", "CLIENT 100"]);
        story.steps("file 2020-06-01 7; at 2020-06-29; =5");
        let capacity = |story: &Story, pool: &str| {
            let pools = story.site.engine.pools(story.site.now(), None, None).unwrap();
            pools.into_iter().find(|view| view.name.to_string() == pool).unwrap().capacity
        };
        assert_eq!(capacity(&story, "SESSION"), Units::Count(left), "of {granted}");
        assert_eq!((capacity(&story, "SPEECH"), capacity(&story, "CLIENT")), (Units::Count(100), Units::Count(100)));
        assert!(acquire(&mut story, unary("acd"), units("SESSION", left)).is_ok());
        let refusal = acquire(&mut story, unary("acd"), units("SESSION", 1)).unwrap_err();
        assert_eq!(refusal.reason(), "POOL_EXHAUSTED");
        if left < granted {
            for told in [format!("{left} of {left}"), format!("grant {granted}"), "stage 5".into(), "check-in".into()] {
                assert!(refusal.message().contains(&told), "`{told}` is missing in: {}", refusal.message());
            }
        }
        assert!(acquire(&mut story, unary("acd"), units("SPEECH", 100)).is_ok());
        story.site.check();
        story.step("good");
        assert_eq!(capacity(&story, "SESSION"), Units::Count(granted));
    }
}

/// The promise: ports that are held through all stages stay, in use and idle, for as long as they are renewed.
#[test]
fn no_stage_ever_ends_a_call_port() {
    let mut story = Story::granting(&["SESSION 20", "TRUNK 10"]);
    story.steps("file 2020-06-01 7; at 2020-06-01");
    let mut ports: Vec<LeaseId> = (0..20).map(|_| granted(&mut story, unary("acd"), units("SESSION", 1))).collect();
    ports.push(granted(&mut story, unary("acd"), units("TRUNK", 10)));
    let idle = ports[..5].to_vec();
    story.site.run(Command::SetIdle { from: unary("acd"), leases: idle, idle: true }).unwrap();
    for (date, stage) in [("2020-06-08", 2), ("2020-06-15", 3), ("2020-06-22", 4), ("2020-06-29", 5), ("2020-07-06", 6)]
    {
        until(&mut story, date, &ports);
        assert_eq!((story.stage().number(), live(&story)), (stage, ports.clone()));
        story.step("restart");
        story.settle();
        // Marking it idle, or active again, is no reason either.
        let some = ports[5..8].to_vec();
        for idle in [true, false, true] {
            story.site.run(Command::SetIdle { from: unary("acd"), leases: some.clone(), idle }).unwrap();
        }
        story.settle();
        assert_eq!(live(&story), ports);
        story.site.check();
    }
    until(&mut story, "2020-07-20", &ports);
    assert_eq!((story.stage().number(), live(&story)), (6, ports.clone()));
    assert!(story.site.events.iter().all(|event| !matches!(event.what, Told::Ended { .. } | Told::Warned { .. })));
    // Enforcement is no excess of use over what is licensed.
    assert_eq!(story.site.engine.compliance().1, []);
    // New ones are refused until the count is below the limit: of both pools together at stage 6.
    let refused = |story: &mut Story, key| acquire(story, unary("acd"), units(key, 1)).unwrap_err().reason();
    for id in &ports[1..] {
        assert_eq!(refused(&mut story, "SESSION"), "POOL_EXHAUSTED");
        assert_eq!(refused(&mut story, "TRUNK"), "POOL_EXHAUSTED");
        story.site.release(unary("acd"), *id).unwrap();
    }
    granted(&mut story, unary("acd"), units("TRUNK", 1));
    assert_eq!(refused(&mut story, "TRUNK"), "POOL_EXHAUSTED");
    assert_eq!(refused(&mut story, "SESSION"), "POOL_EXHAUSTED");
    story.site.check();
    story.step("good");
    granted(&mut story, unary("acd"), units("SESSION", 19));
    granted(&mut story, unary("acd"), units("TRUNK", 9));
    story.site.check();
}

#[test]
fn stage_6_ends_other_leases_when_idle_and_after_twelve_hours() {
    let mut story = Story::granting(&["CLIENT 10", "SPEECH 10", "SESSION 5", "TRACKER_CONCURRENT 5"]);
    story.steps("file 2020-06-01 7");
    people(&mut story, Method::Assignable, &[("ann", &["CLIENT"]), ("bob", &["CLIENT"]), ("cid", &["CLIENT"])]);
    people(&mut story, Method::Concurrent, &[("dot", &["TRACKER"])]);
    story.steps("at 2020-07-05T23:00:00; =5");
    let ann = granted(&mut story, unary("acd"), logon("ann", &[]));
    let bob = granted(&mut story, unary("acd"), logon("bob", &[]));
    let cid = granted(&mut story, unary("acd"), logon("cid", &[]));
    let dot = granted(&mut story, unary("acd"), logon("dot", &[]));
    let speech = granted(&mut story, unary("acd"), units("SPEECH", 2));
    let port = granted(&mut story, unary("acd"), units("SESSION", 1));
    story.site.run(Command::SetIdle { from: unary("acd"), leases: vec![ann, port], idle: true }).unwrap();
    story.site.events.clear();
    story.steps("at 2020-07-05T23:59:59.999; =5");
    assert_eq!(live(&story), [ann, bob, cid, dot, speech, port]);
    story.steps("run 0:00:00.001; =6");
    assert_eq!(ended(&story, ann), Some(EndReason::Enforced), "idle already");
    assert_eq!(live(&story), [bob, cid, dot, speech, port]);
    assert_eq!(view(&story, bob).ends_in_ms, Some((12 * 3_600_000, EndReason::Enforced)));
    assert_eq!(view(&story, port).ends_in_ms, None);
    let warned =
        |id| {
            story.site.events.iter().any(
                |event| matches!(event.what, Told::Warned { lease, reason: EndReason::Enforced, .. } if lease == id),
            )
        };
    assert!(warned(bob) && warned(speech) && !warned(port));
    // Nothing else is granted, whoever holds what.
    for ask in [logon("ann", &[]), logon("bob", &["CLIENT"]), logon("dot", &[]), units("SPEECH", 1)] {
        let refusal = acquire(&mut story, unary("acd"), ask).unwrap_err();
        assert_eq!(refusal.reason(), "ENFORCED");
        assert!(refusal.message().contains("stage 6"), "{}", refusal.message());
    }
    granted(&mut story, unary("acd"), units("SESSION", 1));
    // An idle one ends at once, and the rest after twelve hours, counted over a restart.
    story.site.run(Command::SetIdle { from: unary("acd"), leases: vec![cid], idle: true }).unwrap();
    assert_eq!(ended(&story, cid), Some(EndReason::Enforced));
    story.steps("run 6:00:00; restart; run 5:59:59.999");
    assert_eq!(live(&story).len(), 5);
    story.site.check();
    story.steps("run 0:00:00.001");
    for id in [bob, dot, speech] {
        assert_eq!(ended(&story, id), Some(EndReason::Enforced));
    }
    assert_eq!(live(&story).len(), 2);
    story.site.check();
    story.step("good");
    granted(&mut story, unary("acd"), logon("ann", &["CLIENT"]));
    granted(&mut story, unary("acd"), units("SPEECH", 10));
    story.site.check();
}

/// The engine itself asks for the moment at which the twelve hours are over.
#[test]
fn the_end_of_stage_6s_twelve_hours_is_asked_for_to_the_millisecond() {
    let mut story = Story::granting(&["SPEECH 10"]);
    story.steps("file 2020-06-01 7; at 2020-07-05T23:00:00; =5");
    let speech = granted(&mut story, unary("acd"), units("SPEECH", 2));
    story.steps("at 2020-07-06; =6; run 11:58:30");
    loop {
        let now = story.site.now();
        story.site.sleep(story.site.engine.next_wakeup(now).unwrap().ms_since(now.lease));
        story.site.run(Command::Tick).unwrap();
        if ended(&story, speech).is_some() {
            break;
        }
        assert!(story.site.now().wall < time("2020-07-06T12:00:00"), "late");
    }
    assert_eq!(story.site.now().wall, time("2020-07-06T12:00:00"));
}

#[test]
fn a_good_answer_within_the_twelve_hours_lets_everything_go_on() {
    let mut story = Story::granting(&["CLIENT 10", "SUPERVISOR 10"]);
    story.steps("file 2020-06-01 7");
    people(&mut story, Method::Assignable, &[("ann", &["CLIENT", "SUPERVISOR"])]);
    story.steps("at 2020-07-05T23:00:00");
    let ann = granted(&mut story, unary("acd"), logon("ann", &["CLIENT"]));
    story.steps("at 2020-07-06; =6; run 11:00:00; good; =1; run 2:00:00");
    assert_eq!(keys(&story, ann), ["CLIENT", "SUPERVISOR"]);
    assert_eq!(view(&story, ann).ends_in_ms, None);
    story.site.check();
}

#[test]
fn who_waits_for_what_is_refused_is_told_so_and_who_waits_for_a_port_gets_it_with_a_good_answer() {
    let mut story = Story::granting(&["SUPERVISOR_CONCURRENT 1", "CLIENT_CONCURRENT 1", "SESSION 10"]);
    story.steps("file 2020-06-01 7");
    people(
        &mut story,
        Method::Concurrent,
        &[("ann", &["SUPERVISOR"]), ("bob", &["SUPERVISOR"]), ("cid", &["CLIENT"]), ("dot", &["CLIENT"])],
    );
    story.steps("at 2020-06-21T23:30:00; =3");
    granted(&mut story, unary("acd"), logon("ann", &[]));
    let bob = waits(&mut story, logon("bob", &["SUPERVISOR"]));
    story.steps("at 2020-06-22; =4");
    assert_eq!(story.site.answers[&bob].as_ref().unwrap_err().reason(), "ENFORCED");
    // At stage 5 one may wait for a port.
    story.steps("at 2020-06-29; =5");
    let two = granted(&mut story, unary("acd"), units("SESSION", 2));
    let port = waits(&mut story, units("SESSION", 1));
    assert!(!story.site.answers.contains_key(&port));
    story.step("good");
    assert!(story.site.answers[&port].is_ok());
    // At stage 6 one may wait for one of two ports, and for nothing else.
    story.steps("at 2020-08-02T23:30:00; =5");
    let cid = granted(&mut story, unary("acd"), logon("cid", &[]));
    let dot = waits(&mut story, logon("dot", &["CLIENT"]));
    renew(&mut story, &[two]);
    story.steps("at 2020-08-03; =6");
    assert_eq!(story.site.answers[&dot].as_ref().unwrap_err().reason(), "ENFORCED");
    assert!(live(&story).contains(&cid));
    let taken = granted(&mut story, unary("acd"), units("SESSION", 2));
    let port = waits(&mut story, units("SESSION", 1));
    story.site.release(unary("acd"), taken).unwrap();
    assert!(story.site.answers[&port].is_ok());
    story.site.check();
}

/// Great endings go in pieces, and grants go on between them.
#[test]
fn a_stage_goes_through_many_leases_and_many_who_wait_in_pieces() {
    const MANY: usize = 3_000;
    let mut story = Story::granting(&["SUPERVISOR 5000", "SPEECH 5000", "CLIENT 5000", "SESSION 5"]);
    story.steps("file 2020-06-01 7; at 2020-06-21T23:59:00");
    for number in 0..MANY {
        let name = format!("agent-{number}");
        people(&mut story, Method::Assignable, &[(&name, &["CLIENT", "SUPERVISOR"])]);
        granted(&mut story, unary("acd"), logon(&name, &["CLIENT"]));
    }
    granted(&mut story, unary("acd"), units("SPEECH", 5_000));
    let waiting: Vec<Ticket> = (0..1_500).map(|_| waits(&mut story, units("SPEECH", 1))).collect();
    let ticks = |story: &mut Story| {
        let mut ticks = 0;
        loop {
            let before = story.site.changes.len();
            story.site.run(Command::Tick).unwrap();
            let changed = story.site.changes[before..].iter();
            let leases =
                changed.filter(|change| matches!(change.after, Some(leasehold_engine::row::Row::Lease(_)))).count();
            assert!(leases <= 256, "{leases} leases in one turn");
            ticks += 1;
            let now = story.site.now();
            if story.site.engine.next_wakeup(now).is_none_or(|at| at > now.lease) {
                return ticks;
            }
            assert!(ticks < 100);
        }
    };
    story.site.sleep(60_000);
    assert!(ticks(&mut story) > 10);
    let supervised = |story: &Story| {
        let mut held = 0;
        let mut after = 0;
        loop {
            let filter = LeaseFilter { after, limit: 1_000, ..LeaseFilter::default() };
            let page = story.site.engine.leases(story.site.now(), &filter).unwrap();
            let Some(last) = page.last() else { return held };
            after = last.lease.id.0;
            held +=
                page.iter().filter(|held| held.lease.keys.iter().any(|key| key.key.as_str() == "SUPERVISOR")).count();
        }
    };
    assert_eq!(supervised(&story), 0);
    // Half way back, and a stage down again: nobody is left between.
    story.step("good");
    story.site.run(Command::Tick).unwrap();
    assert!((1..MANY).contains(&supervised(&story)));
    // A stop in the middle loses nobody.
    story.step("restart");
    assert!((1..MANY).contains(&supervised(&story)));
    ticks(&mut story);
    assert_eq!(supervised(&story), MANY);
    assert!(waiting.iter().all(|ticket| !story.site.answers.contains_key(ticket)));
    story.site.check();
}

#[test]
fn everyone_attached_hears_of_each_stage_and_who_attaches_later_of_stage_3_on() {
    let mut story = Story::new();
    story.steps("file 2020-06-01 7");
    let holder = story.site.attach(caller("acd"), 1);
    let told = |story: &mut Story| -> Vec<(Option<HolderId>, u8, u8)> {
        let events = std::mem::take(&mut story.site.events);
        let standing = events.into_iter().filter_map(|event| match event.what {
            Told::Standing(told) => Some((event.to, told.before.number(), told.stage.number())),
            _ => None,
        });
        standing.collect()
    };
    story.steps("at 2020-06-12");
    assert_eq!(told(&mut story), [(None, 1, 2)]);
    story.site.attach(caller("late"), 1);
    assert_eq!(told(&mut story), []);
    story.steps("at 2020-07-07; =6");
    assert_eq!(told(&mut story), [(None, 2, 3), (None, 3, 4), (None, 4, 5), (None, 5, 6)]);
    let late = story.site.attach(caller("later"), 1);
    assert_eq!(told(&mut story), [(Some(late), 6, 6)]);
    story.step("good");
    assert_eq!(told(&mut story), [(None, 6, 1)]);
    assert_ne!(holder, late);
    // The log is told the same, in words.
    let words: Vec<String> = story
        .site
        .notices
        .iter()
        .filter(|notice| notice.reason() == "STANDING")
        .map(leasehold_engine::decision::Notice::message)
        .collect();
    assert_eq!(words.len(), 6);
    for (words, told) in
        words.iter().zip(["quiet", "obtrusive", "Supervisor keys", "20 %", "Two call ports", "good standing again"])
    {
        assert!(words.contains(told), "`{told}` is missing in: {words}");
    }
    assert!(words[4].contains("12 h"), "{}", words[4]);
}

#[test]
fn site_wide_keys_are_unlicensed_at_stage_6_and_their_watchers_hear_of_it() {
    let mut story = Story::granting(&["RECORDER_SERVER 1", "SESSION 10", "SCREEN_RECORDING 5"]);
    story.steps("file 2020-06-01 7; at 2020-07-05T23:59:59.999; =5");
    let licensed = |story: &Story, key: &str| {
        let views = story.site.engine.site_keys(story.site.now(), &[key.parse().unwrap()]).unwrap();
        (views[0].licensed, views[0].reason.clone())
    };
    assert!(licensed(&story, "RECORDER_SERVER").0);
    story.site.events.clear();
    story.steps("run 0:00:00.001; =6");
    assert!(story.site.events.iter().any(|event| event.what == Told::SiteKeysChanged));
    let (server, reason) = licensed(&story, "RECORDER_SERVER");
    assert!(!server && reason.contains("stage 6"), "{reason}");
    assert!(licensed(&story, "SESSION").0);
    story.step("good");
    assert!(licensed(&story, "RECORDER_SERVER").0);
}

/// A real lowering of what is granted is judged by what is granted, at any stage.
#[test]
fn excess_is_measured_by_what_is_granted() {
    let mut story = Story::granting(&["SESSION 10", "CLIENT_CONCURRENT 2"]);
    story.steps("file 2020-06-01 7; at 2020-06-29; =5");
    assert_eq!(story.site.engine.compliance().1, []);
    let pools = story.site.engine.pools(story.site.now(), None, None).unwrap();
    let session = pools.iter().find(|pool| pool.name.to_string() == "SESSION").unwrap();
    assert_eq!(session.message, "limited to 2 of 10 by enforcement stage 5 (ports limited)");
    people(&mut story, Method::Concurrent, &[("ann", &["CLIENT"]), ("bob", &["CLIENT"])]);
    granted(&mut story, unary("acd"), logon("ann", &[]));
    granted(&mut story, unary("acd"), logon("bob", &[]));
    story.grants =
        vec![crate::support::files::grant("SESSION 10"), crate::support::files::grant("CLIENT_CONCURRENT 1")];
    story.step("file 2020-06-01 7");
    assert_eq!(story.site.engine.compliance().1.len(), 1);
    story.site.check();
}

/// ALLOC-11 ends call ports that are idle; not while enforcement limits them.
#[test]
fn ports_beyond_a_lowered_grant_stay_while_enforcement_limits_them() {
    for (date, stage, stays) in [("2020-06-10", 2, false), ("2020-07-01", 5, true)] {
        let mut story = Story::granting(&["SESSION 10"]);
        story.steps("file 2020-06-01 7; at 2020-06-07");
        let ports: Vec<LeaseId> = (0..10).map(|_| granted(&mut story, unary("acd"), units("SESSION", 1))).collect();
        story.site.run(Command::SetIdle { from: unary("acd"), leases: ports.clone(), idle: true }).unwrap();
        until(&mut story, date, &ports);
        assert_eq!(story.stage().number(), stage);
        story.grants = vec![crate::support::files::grant("SESSION 4")];
        story.step("file 2020-06-01 7");
        let begun = story.site.now().wall;
        while story.site.now().wall < begun.plus_ms(26 * 3_600_000) {
            story.run(3_600_000);
            renew(&mut story, &ports);
        }
        assert_eq!(live(&story).len(), if stays { 10 } else { 4 });
        story.site.check();
    }
}
