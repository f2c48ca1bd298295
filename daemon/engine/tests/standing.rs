//! Part 05: the stages at their edges, what each does to those who hold leases and wait, and random histories beside a naive
//! reading.

#[path = "standing/answers.rs"]
mod answers;
#[path = "standing/crowd.rs"]
mod crowd;
#[path = "standing/effects.rs"]
mod effects;
#[path = "standing/histories.rs"]
mod histories;
#[path = "standing/site.rs"]
mod site;
mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};

use leasehold_engine::{standing::Stage, time::WallTime};
use site::{Story, time};

#[test]
fn the_stages_change_at_their_edges_and_nowhere_else() {
    let (mut cases, mut failed) = (0, Vec::new());
    for line in include_str!("standing/edges.txt").lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (name, steps) = line.split_once(": ").unwrap();
        cases += 1;
        let played = catch_unwind(AssertUnwindSafe(|| {
            let mut story = Story::new();
            story.steps(steps);
            story.site.check();
        }));
        if played.is_err() {
            failed.push(name);
        }
    }
    assert!(failed.is_empty(), "{} of {cases} cases failed: {failed:#?}", failed.len());
    assert!(cases >= 60, "{cases} cases");
}

/// The engine asks for a tick at each edge itself, to the millisecond, and does nothing before.
#[test]
fn the_example_holds_to_the_millisecond_by_the_engines_own_wakeups() {
    let mut story = Story::new();
    story.steps("file 2020-06-01 7");
    let edges = ["2020-06-08", "2020-06-15", "2020-06-22", "2020-06-29", "2020-07-06"];
    for (edge, stage) in edges.iter().zip(&Stage::ALL[1..]) {
        story.until(time(edge).plus_ms(-90_000));
        let mut before = story.stage();
        loop {
            let now = story.site.now();
            let wakeup = story.site.engine.next_wakeup(now).unwrap();
            story.site.sleep(wakeup.ms_since(now.lease));
            story.site.run(leasehold_engine::command::Command::Tick).unwrap();
            if story.stage() != before {
                break;
            }
            before = story.stage();
            assert!(story.site.now().wall <= time(edge), "stage {stage} is late: {}", story.site.now().wall);
        }
        assert_eq!((story.stage(), story.site.now().wall), (*stage, time(edge)));
    }
}

/// Whatever comes first after an edge, a tick or a request, is decided at the new stage.
#[test]
fn no_request_is_decided_at_a_stage_that_is_over() {
    let mut story = Story::granting(&["CLIENT 10", "SUPERVISOR 10"]);
    story.site.add_user("ann", leasehold_keys::name::Method::Assignable);
    story.steps("file 2020-06-01 7");
    story.site.assign(true, support::user("ann"), &["SUPERVISOR"]).unwrap();
    story.steps("at 2020-06-21T23:59:59.999; =3");
    let ask = |story: &mut Story| {
        let acquire = story.site.acquire_command(support::unary("acd"), support::logon("ann", &["SUPERVISOR"]));
        story.site.acquire(acquire).unwrap()
    };
    assert!(ask(&mut story).is_ok());
    story.site.sleep(1);
    assert_eq!(ask(&mut story).unwrap_err().reason(), "ENFORCED");
}

#[test]
fn the_stages_to_come_are_told_with_their_dates() {
    let mut story = Story::new();
    story.steps("file 2020-06-01 7; at 2020-06-03");
    let ahead = |story: &Story, until: &str| -> Vec<(u8, WallTime)> {
        let ahead = story.site.engine.standing_ahead(story.site.now(), time(until));
        ahead.iter().map(|ahead| (ahead.stage.number(), ahead.at)).collect()
    };
    let dates = [
        (2, time("2020-06-08")),
        (3, time("2020-06-15")),
        (4, time("2020-06-22")),
        (5, time("2020-06-29")),
        (6, time("2020-07-06")),
    ];
    assert_eq!(ahead(&story, "2020-12-20"), dates);
    assert_eq!(ahead(&story, "2020-06-22"), dates[..3]);
    assert_eq!(ahead(&story, "2020-06-21T23:59:59.999"), dates[..2]);
    assert_eq!(ahead(&story, "2020-06-03"), []);
    // Twenty days without contact, from a good check-in on.
    story.steps("good");
    assert_eq!(ahead(&story, "2020-06-23"), [(2, time("2020-06-10")), (3, time("2020-06-17"))]);
    // Under the brake, and with a revocation ahead.
    story.steps("revoked 2020-06-05");
    assert_eq!(
        ahead(&story, "2020-12-20"),
        [
            (2, time("2020-06-05")),
            (3, time("2020-06-05T12:00:00")),
            (4, time("2020-06-06")),
            (5, time("2020-06-06T12:00:00")),
            (6, time("2020-06-07")),
        ]
    );
    // What was foretold comes.
    for (stage, at) in [(2, "2020-06-05"), (4, "2020-06-06"), (6, "2020-06-07")] {
        story.until(time(at));
        assert_eq!(story.stage().number(), stage);
    }
    assert_eq!(ahead(&story, "2030-01-01"), []);
}

#[test]
fn the_standing_tells_what_an_administrator_needs() {
    let mut story = Story::new();
    assert_eq!(story.site.engine.standing(story.site.now()), leasehold_engine::standing::SiteStanding::default());
    story.steps("file 2020-06-01 7; file2 - -; at 2020-06-10; good2; at 2020-06-16");
    let standing = story.site.engine.standing(story.site.now());
    assert_eq!((standing.stage, standing.target), (Stage::ObtrusiveWarning, Stage::ObtrusiveWarning));
    let [cic, ivr] = &standing.licenses[..] else { panic!("{standing:?}") };
    assert_eq!(
        (cic.product.as_str(), cic.stage, cic.since),
        ("CIC", Stage::ObtrusiveWarning, Some(time("2020-06-01")))
    );
    assert_eq!((cic.ramp, cic.grace_days, cic.last_good), (Some(time("2020-06-01")), Some(7), None));
    assert_eq!(cic.endpoint.as_deref(), Some("https://licensor.example/v1/check-in"));
    let next = cic.next.unwrap();
    assert_eq!((next.stage, next.at), (Stage::SupervisorDisabled, time("2020-06-22")));
    assert_eq!((ivr.stage, ivr.since, ivr.next), (Stage::Functional, None, None));
    assert_eq!(ivr.last_good, Some(time("2020-06-10")));
    let status = story.site.engine.status(story.site.now());
    assert_eq!(status.stage, Stage::ObtrusiveWarning);
    let (reason, words) = status.notices.iter().find(|(reason, _)| *reason == "STANDING").unwrap();
    for told in ["stage 3", "CIC", "2020-06-01", "Nothing is limited", "leasehold check-in", "2020-06-22", "stage 4"] {
        assert!(words.contains(told), "{reason}: `{told}` is missing in: {words}");
    }
    // The brake shows.
    story.steps("off 2021-01-01");
    let standing = story.site.engine.standing(story.site.now());
    assert_eq!((standing.stage, standing.target), (Stage::SupervisorDisabled, Stage::Unlicensed));
    assert_eq!(standing.licenses[0].braked_ms, Some(12 * 3_600_000));
}
