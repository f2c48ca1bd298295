//! Due days against a table: periods from the 28th to the 28th, due before the 4th, in the site's time zone.

use leasehold_engine::{row::UsageSegmentRow, time::WallTime};

use super::{
    super::{Nearness, Zone, deadline, deadlines},
    site::row,
};

fn time(text: &str) -> WallTime {
    text.parse().unwrap()
}

/// A segment of these moments; an empty text: it is being written.
fn segment(number: u32, began: &str, closed: &str) -> UsageSegmentRow {
    let closed = (!closed.is_empty()).then(|| time(closed));
    UsageSegmentRow { began: time(began), closed, ..row(number) }
}

/// `2026-05 SevenDays 7 1` for each.
fn told(rows: &[UsageSegmentRow], now: &str, zone: &str) -> Vec<String> {
    let found = deadlines(rows, time(now), &Zone::named(zone).unwrap().time_zone());
    found
        .iter()
        .map(|found| format!("{} {:?} {} {}", found.period, found.nearness, found.days_left, found.files))
        .collect()
}

/// 004: of April 28th to May 27th, by June 4th.
#[test]
fn it_is_told_seven_three_and_one_day_before_and_after() {
    let rows = [segment(1, "2026-05-10T00:00:00Z", "2026-05-11T00:00:00Z")];
    for (now, expected) in [
        ("2026-05-27T23:59:59Z", None),
        ("2026-05-28T00:00:00Z", Some("2026-05 SevenDays 7 1")),
        ("2026-05-31T23:59:59Z", Some("2026-05 SevenDays 4 1")),
        ("2026-06-01T00:00:00Z", Some("2026-05 ThreeDays 3 1")),
        ("2026-06-02T00:00:00Z", Some("2026-05 ThreeDays 2 1")),
        ("2026-06-03T00:00:00Z", Some("2026-05 OneDay 1 1")),
        ("2026-06-03T23:59:59Z", Some("2026-05 OneDay 1 1")),
        ("2026-06-04T00:00:00Z", Some("2026-05 Over 0 1")),
        ("2026-12-31T00:00:00Z", Some("2026-05 Over -210 1")),
    ] {
        let expected: Vec<String> = expected.into_iter().map(str::to_owned).collect();
        assert_eq!(told(&rows, now, "UTC"), expected, "{now}");
    }
}

#[test]
fn the_day_turns_in_the_sites_time_zone() {
    let rows = [segment(1, "2026-05-10T00:00:00Z", "2026-05-11T00:00:00Z")];
    let over = |now: &str, zone: &str| told(&rows, now, zone)[0].contains("Over");
    assert!(!over("2026-06-03T21:59:59Z", "Europe/Berlin") && over("2026-06-03T22:00:00Z", "Europe/Berlin"));
    assert!(!over("2026-06-04T04:59:59Z", "America/Chicago") && over("2026-06-04T05:00:00Z", "America/Chicago"));
    // Over a change of clocks, and over the end of a year.
    let rows = [segment(1, "2026-12-10T00:00:00Z", "2026-12-11T00:00:00Z")];
    assert_eq!(told(&rows, "2026-12-28T12:00:00Z", "Europe/Berlin"), ["2026-12 SevenDays 7 1"]);
    let rows = [segment(1, "2026-03-10T00:00:00Z", "2026-03-11T00:00:00Z")];
    assert_eq!(told(&rows, "2026-03-27T23:00:00Z", "Europe/Berlin"), ["2026-03 SevenDays 7 1"]);
    let due = deadline::due(&rows[0], &Zone::named("Europe/Berlin").unwrap().time_zone()).unwrap();
    assert_eq!((due.0.to_string(), due.1.to_string()), ("2026-04-03T22:00:00Z".into(), "2026-04-04".into()));
}

#[test]
fn a_file_counts_in_each_period_that_it_touches() {
    // A day in UTC holds midnight in Chicago.
    let rows = [segment(1, "2026-05-28T00:00:00Z", "2026-05-29T00:00:00Z")];
    assert_eq!(told(&rows, "2026-06-05T00:00:00Z", "UTC"), Vec::<String>::new(), "of 2026-06 alone");
    assert_eq!(told(&rows, "2026-06-05T00:00:00Z", "America/Chicago"), ["2026-05 Over 0 1"]);
    // What closes with the period's last moment is not in the next.
    let rows = [segment(1, "2026-05-27T00:00:00Z", "2026-05-28T00:00:00Z")];
    assert_eq!(told(&rows, "2026-07-03T00:00:00Z", "UTC"), ["2026-05 Over -29 1"]);
    // A server that stood still over two periods.
    let rows = [segment(1, "2026-05-10T00:00:00Z", "2026-07-10T00:00:00Z"), segment(2, "2026-07-10T00:00:00Z", "")];
    let expected = ["2026-05 Over -57 1", "2026-06 Over -27 1", "2026-07 SevenDays 4 1"];
    assert_eq!(told(&rows, "2026-07-31T00:00:00Z", "UTC"), expected);
    // A clock that went back leaves no file without a period.
    let rows = [segment(1, "2026-05-10T00:00:00Z", "2026-05-01T00:00:00Z")];
    assert_eq!(told(&rows, "2026-06-05T00:00:00Z", "UTC"), ["2026-05 Over -1 1"]);
}

#[test]
fn what_is_acknowledged_or_just_being_written_is_not_told() {
    let acknowledged = UsageSegmentRow {
        acknowledged: Some(time("2026-05-12T00:00:00Z")),
        ..segment(1, "2026-05-10T00:00:00Z", "2026-05-11T00:00:00Z")
    };
    let open = segment(2, "2026-05-27T00:00:00Z", "");
    let rows = [acknowledged, open];
    assert!(told(&rows, "2026-05-28T00:00:00Z", "UTC").is_empty());
    assert_eq!(told(&rows, "2026-06-01T00:00:00Z", "UTC"), ["2026-05 ThreeDays 3 1"], "it should have closed by then");
    assert!(told(&[], "2026-06-04T00:00:00Z", "UTC").is_empty());
}

#[test]
fn it_is_told_in_words() {
    let rows = [
        segment(1, "2026-11-10T00:00:00Z", "2026-11-11T00:00:00Z"),
        segment(2, "2026-11-11T00:00:00Z", "2026-11-12T00:00:00Z"),
    ];
    let say = |rows: &[UsageSegmentRow], now: &str| {
        deadlines(rows, time(now), &Zone::named("UTC").unwrap().time_zone())[0].to_string()
    };
    let (first, both) = (&rows[0].file, &rows[..]);
    assert_eq!(
        say(both, "2026-12-01T08:00:00Z"),
        format!(
            "the usage files of 2026-11 are due before 2026-12-04, in 3 days: 2 files have no receipt, the oldest {first}"
        )
    );
    assert_eq!(
        say(&rows[..1], "2026-12-03T08:00:00Z"),
        format!("the usage files of 2026-11 are due before 2026-12-04, in 1 day: {first} has no receipt")
    );
    assert!(say(both, "2026-12-04T08:00:00Z").starts_with("the usage files of 2026-11 were due before 2026-12-04: "));
    assert!(Nearness::OneDay < Nearness::Over);
}

#[test]
fn a_zone_is_this_machines_or_one_of_the_iana() {
    assert_eq!(Zone::named("").unwrap(), Zone::Machine);
    assert_eq!(Zone::named("Europe/Berlin").unwrap().time_zone().iana_name(), Some("Europe/Berlin"));
    assert!(Zone::named("Europe/Atlantis").is_err());
    // Whatever it is, there is one.
    let _ = Zone::Machine.time_zone();
}
