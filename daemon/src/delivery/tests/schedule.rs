//! When the next attempt is due, and what a restart remembers of it. Pure, but for one file.

use leasehold_engine::time::{LeaseTime, Now, WallTime};

use super::{
    super::memory::{FILE, Memory},
    site::{WALL_MS, row},
};
use crate::way_out::{Trouble, WAIT_MAX_MS, WAIT_MIN_MS, next_wait_ms};

fn at(lease_ms: u64) -> Now {
    Now { lease: LeaseTime::from_ms(lease_ms), wall: WallTime::from_ms(WALL_MS + lease_ms as i64), unconfirmed_ms: 0 }
}

fn cut() -> Trouble {
    Trouble::CutOff { at: "localhost:443".into(), why: "reset".into() }
}

#[test]
fn waits_grow_from_a_minute_to_an_hour_and_never_leave_that() {
    let rows = [(0, 0.0, 60_000), (0, 1.0, 60_000), (60_000, 1.0, 180_000), (180_000, 0.5, 300_000)];
    for (before, roll, expected) in rows {
        assert_eq!(next_wait_ms(before, roll), expected, "{before} {roll}");
    }
    for (before, roll) in [(WAIT_MAX_MS, 1.0), (u64::MAX, 1.0), (u64::MAX, 7.0), (5, -1.0), (0, f64::NAN)] {
        assert!((WAIT_MIN_MS..=WAIT_MAX_MS).contains(&next_wait_ms(before, roll)), "{before} {roll}");
    }
    // Servers that lost the licensor together come back apart.
    let waits: std::collections::BTreeSet<u64> =
        (0..100).map(|n| next_wait_ms(600_000, f64::from(n) / 100.0)).collect();
    assert_eq!(waits.len(), 100);
}

#[test]
fn what_is_remembered_survives_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let mut memory = Memory::open(dir.path(), at(0));
    assert_eq!(memory, Memory::default());
    memory.go_to("https://acme.example");
    memory.failed(&row(1).file, cut(), at(1_000), 0.0);
    memory.failed(&row(2).file, Trouble::ServerRefused { status: 409, said: "fork".into() }, at(2_000), 0.0);
    memory.failed(&row(1).file, cut(), at(3_000), 1.0);
    memory.keep(dir.path()).unwrap();
    let again = Memory::open(dir.path(), at(4_000));
    assert_eq!(again, memory);
    let way = again.way().unwrap();
    assert!(!way.is_due(at(62_999)) && way.is_due(at(63_000)));
    assert_eq!(way.failure(at(4_000)).unwrap().attempts, 1, "a file that was refused showed that the way was well");
    assert!(again.file(&row(1).file).unwrap().may_have_arrived());
    assert_eq!(again.file(&row(2).file).unwrap().failure(at(4_000)).unwrap().again, at(62_000).wall);
}

#[test]
fn a_clock_that_was_brought_back_makes_nobody_wait_longer() {
    let mut memory = Memory::default();
    memory.failed(&row(1).file, cut(), at(900_000_000), 0.0);
    let way = memory.way().unwrap();
    assert_eq!(way.due(at(0)), LeaseTime::from_ms(WAIT_MIN_MS));
}

#[test]
fn a_server_that_asks_for_time_gets_it_up_to_an_hour() {
    for (asked_s, expected_ms) in [(5, WAIT_MIN_MS), (600, 600_000), (999_999, WAIT_MAX_MS)] {
        let mut memory = Memory::default();
        let busy = Trouble::ServerBusy { status: 503, said: String::new(), retry_after_s: Some(asked_s) };
        memory.failed(&row(1).file, busy, at(0), 0.0);
        assert_eq!(memory.way().unwrap().due(at(0)).as_ms(), expected_ms);
    }
}

#[test]
fn another_destination_begins_anew_and_files_that_are_gone_are_forgotten() {
    let mut memory = Memory::default();
    memory.go_to("s3://acme-usage");
    memory.sent(&row(1).file, at(0));
    memory.failed(&row(2).file, cut(), at(0), 0.0);
    memory.go_to("s3://acme-usage");
    assert!(memory.way().is_some() && memory.file(&row(1).file).is_some());
    memory.retain(|name| name == row(2).file);
    assert!(memory.file(&row(1).file).is_none());
    memory.go_to("https://acme.example");
    assert!(memory.way().is_none() && memory.file(&row(2).file).is_none());
}

#[test]
fn other_settings_begin_anew_and_what_may_be_there_is_still_asked_for() {
    let mut memory = Memory::default();
    memory.go_to("s3://acme-usage");
    memory.go_with("one");
    memory.sent(&row(1).file, at(0));
    memory.failed(&row(2).file, cut(), at(0), 0.0);
    memory.failed(&row(3).file, Trouble::ServerRefused { status: 403, said: "no".into() }, at(0), 0.0);
    let before = memory.clone();
    memory.go_with("one");
    assert_eq!(memory, before);
    memory.go_with("two");
    assert!(memory.way().is_none());
    for number in 1..=3 {
        let attempts = memory.file(&row(number).file).unwrap();
        assert!(attempts.is_due(at(0)) && attempts.failure(at(0)).is_none());
        assert_eq!((attempts.sent.is_some(), attempts.may_have_arrived()), (number == 1, number == 2));
    }
}

#[test]
fn a_memory_that_cannot_be_read_waits_a_minute() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join(FILE), "{").unwrap();
    let memory = Memory::open(dir.path(), at(5));
    let way = memory.way().unwrap();
    assert!(!way.is_due(at(5)) && way.is_due(at(5 + WAIT_MIN_MS)));
    assert_eq!(way.failure(at(5)), None, "nothing failed");
}
