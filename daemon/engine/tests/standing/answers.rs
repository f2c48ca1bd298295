//! Answers and requests as they are remembered: order, repetition, bounds; and what is forgotten.

use leasehold_engine::{
    command::{CheckedIn, Command},
    decision::Reply,
    refusal::Refusal,
    standing::{Asked, Stage, StandingRow, Verdict},
    time::{DAY_MS, WallTime},
};
use leasehold_keys::digest::Sha256;

use crate::{
    site::{Story, time},
    support::files::license,
};

fn answer(counter: u64, verdict: Verdict, at: WallTime) -> CheckedIn {
    let hash = Sha256::of(format!("{counter} {verdict:?}").as_bytes());
    CheckedIn { license_id: license(1), counter, previous: None, answer: hash, at, verdict, message: String::new() }
}

/// An answer to a request that was made on top of the last answer.
fn take(story: &mut Story, answer: CheckedIn) -> Result<Reply, Refusal> {
    let previous = story.site.engine.standing_row(license(1)).and_then(|row| row.answer).map(|last| last.sha256);
    story.site.run(Command::CheckedIn(CheckedIn { previous, ..answer }))
}

fn row(story: &Story) -> StandingRow {
    story.site.engine.standing_row(license(1)).unwrap().clone()
}

#[test]
fn an_answer_that_was_overtaken_changes_nothing() {
    let mut story = Story::new();
    story.steps("file 2020-06-01 7; at 2020-06-10");
    take(&mut story, answer(5, Verdict::Revoked { from: time("2020-07-01") }, time("2020-06-10"))).unwrap();
    let (before, changes) = (row(&story), story.site.changes.len());
    let refusal = take(&mut story, answer(4, Verdict::Good, time("2020-06-10"))).unwrap_err();
    assert!(refusal.message().contains("request 4"), "{}", refusal.message());
    // The same answer once more is taken for what it is.
    take(&mut story, answer(5, Verdict::Revoked { from: time("2020-07-01") }, time("2020-06-10"))).unwrap();
    assert_eq!((row(&story), story.site.changes.len()), (before, changes));
    story.site.check();
}

/// The licensor lets go of what it answered beside the line that went on: whoever went on from there would be a copy to it.
#[test]
fn an_answer_to_a_request_beside_the_line_changes_nothing() {
    let mut story = Story::new();
    story.steps("file 2020-06-01 7; at 2020-06-10");
    take(&mut story, answer(5, Verdict::Good, time("2020-06-10"))).unwrap();
    let first = row(&story).answer.unwrap().sha256;
    // Requests 6 and 7 were both made on top of it; 6 is answered first.
    let (six, seven) = (answer(6, Verdict::Good, time("2020-06-10")), answer(7, Verdict::Good, time("2020-06-11")));
    let on_top = |answer: CheckedIn| Command::CheckedIn(CheckedIn { previous: Some(first), ..answer });
    story.site.run(on_top(six)).unwrap();
    let before = row(&story);
    let refusal = story.site.run(on_top(seven)).unwrap_err();
    assert!(refusal.message().contains("request 7"), "{}", refusal.message());
    assert_eq!(row(&story), before);
    story.site.check();
}

#[test]
fn a_license_that_was_never_heard_of_is_refused() {
    let mut story = Story::new();
    let refusal = take(&mut story, answer(1, Verdict::Good, time("2020-05-01"))).unwrap_err();
    assert_eq!(refusal.reason(), "LICENSE_UNKNOWN");
    let asked = Asked { nonce: [1; 32], request: Sha256::of(b"r"), counter: 1, at: time("2020-05-01") };
    let asked = story.site.run(Command::Asked { license_id: license(1), asked });
    assert_eq!(asked.unwrap_err().reason(), "LICENSE_UNKNOWN");
    assert_eq!(story.site.engine.standing_row(license(1)), None);
}

#[test]
fn a_request_by_file_is_kept_over_restarts_until_it_or_a_later_one_is_answered() {
    let mut story = Story::new();
    story.steps("file 2020-06-01 7; at 2020-06-10");
    let asked = |counter: u8, at: &str| Asked {
        nonce: [counter; 32],
        request: Sha256::of(&[counter]),
        counter: counter.into(),
        at: time(at),
    };
    let ask = |story: &mut Story, asked: Asked| {
        story.site.run(Command::Asked { license_id: license(1), asked }).unwrap();
    };
    ask(&mut story, asked(3, "2020-06-10"));
    story.step("restart");
    assert_eq!((row(&story).asked, row(&story).counter), (Some(asked(3, "2020-06-10")), 3));
    take(&mut story, answer(3, Verdict::Good, time("2020-06-10"))).unwrap();
    assert_eq!((row(&story).asked, row(&story).counter), (None, 3));
    // Any answer takes it, to an earlier or a later request: it quotes another one than the last. The next request by file
    // takes its place too.
    ask(&mut story, asked(5, "2020-06-10"));
    take(&mut story, answer(4, Verdict::Good, time("2020-06-10"))).unwrap();
    assert_eq!((row(&story).asked, row(&story).counter), (None, 5));
    ask(&mut story, asked(4, "2020-06-10"));
    ask(&mut story, asked(5, "2020-06-10"));
    assert_eq!(row(&story).asked, Some(asked(5, "2020-06-10")));
    take(&mut story, answer(6, Verdict::Good, time("2020-06-10"))).unwrap();
    assert_eq!((row(&story).asked, row(&story).counter), (None, 6));
    // Fourteen days, and no more.
    let mut now = story.site.now();
    let open = |now| asked(1, "2020-06-10").is_open(now);
    now.wall = time("2020-06-24");
    assert!(open(now));
    now.wall = time("2020-06-24T00:00:00.001");
    assert!(!open(now));
}

#[test]
fn the_licensors_message_is_bounded_between_letters() {
    let mut story = Story::new();
    story.steps("file 2020-06-01 7");
    let told = CheckedIn { message: "aü".repeat(400), ..answer(1, Verdict::Good, time("2020-05-01")) };
    take(&mut story, told).unwrap();
    let kept = row(&story).message;
    assert!((997..=1_000).contains(&kept.len()) && "aü".repeat(400).starts_with(&kept), "{} bytes", kept.len());
}

/// What no file names is kept for 400 days, and what a file names for ever.
#[test]
fn standings_are_forgotten_only_when_no_file_names_them_any_more() {
    let mut story = Story::new();
    story.steps("file 2020-06-01 7; file2 2020-06-01 7; at 2020-05-10; good; good2; unload");
    // The file of the first goes: another one that supersedes it takes its place.
    let gone = story.site.engine.lasting_rows().into_iter().find_map(|row| match row {
        leasehold_engine::row::Row::File(file) if file.terms.license_id == license(1) => {
            Some(leasehold_engine::row::Row::File(file))
        }
        _ => None,
    });
    story.site.folder.remove(0);
    story.site.changes.push(leasehold_engine::row::Change { before: gone, after: None });
    story.step("restart");
    let days = |story: &mut Story, days: i64| {
        story.site.wall_ms = time("2020-05-10").plus_ms(days * DAY_MS).as_ms();
        story.site.pass(120_000);
    };
    days(&mut story, 399);
    assert!(story.site.engine.standing_row(license(1)).is_some());
    days(&mut story, 400);
    assert_eq!(story.site.engine.standing_row(license(1)), None);
    days(&mut story, 4_000);
    assert!(story.site.engine.standing_row(license(2)).is_some());
    story.site.check();
}

/// What was not committed is taken back: the step is taken again by the next look, and nothing is gained or lost.
#[test]
fn a_step_that_was_not_committed_is_taken_again() {
    let mut story = Story::new();
    story.steps("file 2020-06-01 7; at 2020-06-28T23:59:59.999; =4");
    story.site.sleep(1);
    let rows = story.site.engine.lasting_rows();
    let (_, outcome) = story.site.engine.apply(story.site.now(), Command::Tick);
    assert_eq!(story.stage(), Stage::PortsLimited);
    assert!(!outcome.changes.is_empty());
    story.site.engine.undo(outcome.changes);
    assert_eq!(story.stage(), Stage::SupervisorDisabled);
    assert_eq!(story.site.engine.lasting_rows(), rows);
    assert_eq!(story.site.engine.discrepancies(), [""; 0]);
    let now = story.site.now();
    assert!(story.site.engine.next_wakeup(now).unwrap() <= now.lease);
    story.site.run(Command::Tick).unwrap();
    assert_eq!(story.stage(), Stage::PortsLimited);
    // A good answer that was not committed restores nothing.
    let (_, outcome) = {
        let told = answer(9, Verdict::Good, time("2020-06-29"));
        story.site.engine.apply(story.site.now(), Command::CheckedIn(told))
    };
    assert_eq!(story.stage(), Stage::Functional);
    story.site.engine.undo(outcome.changes);
    assert_eq!(story.stage(), Stage::PortsLimited);
    story.site.check();
}

/// A standby serves nothing and need not check in: it begins where it left off when it is promoted.
#[test]
fn a_standby_does_not_go_down_before_it_serves() {
    use leasehold_engine::command::{Act, HostFinding};
    let mut story = Story::new();
    let terms = crate::site::Terms { cloud: true, ramp: Some(time("2020-05-10")), grace_days: Some(7) };
    let mut file = crate::site::base_file(1, 1, terms, &story.grants);
    file.hosts.push(leasehold_keys::activation::HostLine {
        role: leasehold_keys::activation::HostRole::Switchover,
        ..file.hosts[0].clone()
    });
    story.site.drop_file("base1.i3lic", &file, HostFinding::Switchover);
    story.steps("at 2020-08-01; =1");
    assert_eq!(story.site.engine.standing_row(license(1)), None);
    story.site.administer(Act::Promote { reason: "the other one burns".into() }).unwrap();
    story.settle();
    story.steps("=2; run 11:59:59.999; =2; run 0:00:00.001; =3; good; =1");
    story.site.check();
}
