//! When a license checks in, and what a restart remembers. Pure, but for one file.

use std::collections::BTreeSet;

use leasehold_engine::time::{HOUR_MS, LeaseTime, Now, WallTime};
use leasehold_keys::{
    activation::LicenseId,
    check_in::{CheckInAnswer, CheckInStanding, Nonce, Outstanding},
    digest::Sha256,
};
use uuid::Uuid;

use super::super::{
    Trouble,
    heart::{ANSWER_MAX_MS, Heart, Next, Occasion},
    memory,
};
use crate::way_out::{self, WAIT_MAX_MS, WAIT_MIN_MS};

const HOUR: u64 = HOUR_MS.unsigned_abs();
const ONE: LicenseId = LicenseId(Uuid::from_u128(1));
const TWO: LicenseId = LicenseId(Uuid::from_u128(2));

fn at(lease_ms: u64) -> Now {
    let wall = WallTime::from_ms(1_900_000_000_000 + i64::try_from(lease_ms).unwrap());
    Now { lease: LeaseTime::from_ms(lease_ms), wall, unconfirmed_ms: 0 }
}

fn occasion(licenses: &[LicenseId], sequence: u8) -> Occasion {
    Occasion {
        licenses: licenses.iter().copied().collect(),
        files: BTreeSet::from([(ONE, Sha256([sequence; 32]))]),
        active: true,
    }
}

fn refused() -> Trouble {
    way_out::Trouble::Refused { at: "acme.example:443".into() }.into()
}

/// A heart that has checked in one license at 0.
fn answered(roll: f64) -> Heart {
    let mut heart = Heart::default();
    heart.look(occasion(&[ONE], 1), at(0));
    assert_eq!(heart.next(at(0)), Next::Ask(ONE), "at once after a start");
    heart.answered(ONE, at(0), roll);
    heart
}

fn due(heart: &Heart, now: u64) -> u64 {
    match heart.next(at(now)) {
        Next::Wait(Some(due)) => due.as_ms(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_twelve_hours_give_or_take_a_tenth() {
    for (roll, minutes) in [(0.0, 648), (0.5, 720), (1.0, 792)] {
        let heart = answered(roll);
        assert_eq!(due(&heart, 1), minutes * 60_000);
        assert_eq!(heart.next(at(minutes * 60_000)), Next::Ask(ONE));
    }
}

#[test]
fn a_site_without_such_a_license_never_asks() {
    let mut heart = Heart::default();
    assert_eq!(heart.next(at(0)), Next::Wait(None));
    heart.look(occasion(&[], 1), at(0));
    assert_eq!(heart.next(at(99 * HOUR)), Next::Wait(None));
    // And one whose license goes asks no more.
    let mut heart = answered(0.5);
    heart.look(occasion(&[], 2), at(HOUR));
    assert_eq!((heart.next(at(99 * HOUR)), heart.licenses()), (Next::Wait(None), Vec::new()));
}

#[test]
fn a_switchover_and_other_files_are_occasions_and_nothing_else_is() {
    let mut heart = answered(0.5);
    heart.look(occasion(&[ONE], 1), at(HOUR));
    assert_eq!(due(&heart, HOUR), 12 * HOUR);
    heart.look(occasion(&[ONE], 2), at(HOUR));
    assert_eq!(heart.next(at(HOUR)), Next::Ask(ONE), "another file");
    heart.answered(ONE, at(HOUR), 0.5);
    heart.look(Occasion { active: false, ..occasion(&[ONE], 2) }, at(2 * HOUR));
    assert_eq!(heart.next(at(2 * HOUR)), Next::Ask(ONE), "it stands by");
    heart.answered(ONE, at(2 * HOUR), 0.5);
    heart.look(occasion(&[ONE], 2), at(3 * HOUR));
    assert_eq!(heart.next(at(3 * HOUR)), Next::Ask(ONE), "it is promoted");
}

#[test]
fn after_a_failure_it_waits_a_minute_at_first_and_an_hour_at_most() {
    let mut heart = answered(0.5);
    let mut now = 12 * HOUR;
    let mut waits = Vec::new();
    for _ in 0..6 {
        heart.failed(ONE, refused(), at(now), 1.0);
        waits.push((due(&heart, now) - now) / 60_000);
        now = due(&heart, now);
    }
    assert_eq!(waits, [1, 3, 9, 27, 60, 60]);
    heart.failed(ONE, refused(), at(now), 0.0);
    assert_eq!(due(&heart, now) - now, WAIT_MIN_MS, "the dice decide");
    let view = heart.view(ONE, at(now + 1_000));
    let failure = view.failure.unwrap();
    assert_eq!((failure.attempts, failure.at, failure.trouble), (7, at(now).wall, refused()));
    assert_eq!(view.next, Some(at(now + WAIT_MIN_MS).wall));
    heart.answered(ONE, at(now), 0.5);
    assert_eq!((heart.view(ONE, at(now)).failure, due(&heart, now) - now), (None, 12 * HOUR));
}

#[test]
fn a_server_that_says_when_is_listened_to_up_to_an_hour() {
    for (says, waits) in [(600, 600_000), (86_400, WAIT_MAX_MS), (0, WAIT_MIN_MS)] {
        let mut heart = answered(0.5);
        let busy = Trouble::ServerError { status: 503, said: "busy".into(), retry_after_s: Some(says) };
        heart.failed(ONE, busy, at(HOUR), 0.0);
        assert_eq!(due(&heart, HOUR) - HOUR, waits);
    }
}

#[test]
fn licenses_wait_each_for_itself() {
    let mut heart = Heart::default();
    heart.look(occasion(&[ONE, TWO], 1), at(0));
    heart.failed(ONE, refused(), at(0), 0.0);
    assert_eq!(heart.next(at(0)), Next::Ask(TWO));
    heart.answered(TWO, at(0), 0.0);
    assert_eq!(due(&heart, 0), WAIT_MIN_MS);
    assert_eq!(heart.next(at(WAIT_MIN_MS)), Next::Ask(ONE));
}

#[test]
fn a_restart_remembers_failures_and_how_long_waits_have_grown_and_asks_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut heart = answered(0.5);
    for _ in 0..3 {
        heart.failed(ONE, refused(), at(HOUR), 1.0);
    }
    memory::keep(folder.path(), &heart.remembered()).unwrap();
    let remembered = memory::open(folder.path());
    assert_eq!(remembered, heart.remembered());
    let mut heart = Heart::new(remembered);
    assert_eq!(heart.remembered().len(), 1, "also where the license is not seen yet");
    heart.look(occasion(&[ONE], 1), at(2 * HOUR));
    assert_eq!(heart.next(at(2 * HOUR)), Next::Ask(ONE));
    let failure = heart.view(ONE, at(2 * HOUR)).failure.unwrap();
    assert_eq!((failure.attempts, failure.at), (3, at(HOUR).wall));
    heart.failed(ONE, refused(), at(2 * HOUR), 1.0);
    assert_eq!(due(&heart, 2 * HOUR), 2 * HOUR + 27 * 60_000);
    heart.answered(ONE, at(2 * HOUR), 0.5);
    assert!(heart.remembered().is_empty());

    for nonsense in ["{", "[]", "{\"x\": 1}", &"x".repeat(2_000_000)] {
        std::fs::write(folder.path().join(memory::FILE), nonsense).unwrap();
        assert!(memory::open(folder.path()).is_empty());
    }
}

fn asked() -> Outstanding {
    Outstanding {
        request: Sha256([1; 32]),
        nonce: Nonce([2; 32]),
        license_id: ONE,
        installation: "00112233445566778899aabbccddeeff".parse().unwrap(),
        counter: 7,
    }
}

fn answer() -> CheckInAnswer {
    let Outstanding { request, nonce, license_id, installation, counter } = asked();
    CheckInAnswer {
        request,
        nonce,
        license_id,
        installation,
        counter,
        time: at(0).wall,
        standing: CheckInStanding::Good,
        roots: Vec::new(),
        files: Vec::new(),
        message: None,
    }
}

#[test]
fn an_answer_counts_once_to_the_open_request_and_within_five_minutes() {
    let open = |heart: &mut Heart| heart.asked(asked(), at(1_000));
    let mut heart = answered(0.5);
    let code = |result: Result<u64, Trouble>| way_out::Named::code(&result.unwrap_err()).to_owned();
    assert_eq!(code(heart.judge(ONE, &answer(), at(1_000))), "not-asked");
    open(&mut heart);
    assert_eq!(heart.view(ONE, at(1_000)).next, None, "one is under way");
    assert_eq!(heart.judge(ONE, &answer(), at(1_000 + ANSWER_MAX_MS)), Ok(ANSWER_MAX_MS));
    assert_eq!(code(heart.judge(ONE, &answer(), at(1_000))), "not-asked", "once");
    open(&mut heart);
    let late = heart.judge(ONE, &answer(), at(1_001 + ANSWER_MAX_MS));
    assert_eq!(late, Err(Trouble::Late { after_s: 301 }));
    let table = [
        (CheckInAnswer { request: Sha256([9; 32]), ..answer() }, "another-request"),
        (CheckInAnswer { nonce: Nonce([9; 32]), ..answer() }, "another-nonce"),
        (CheckInAnswer { license_id: TWO, ..answer() }, "another-license"),
        (
            CheckInAnswer { installation: "ffffffffffffffffffffffffffffffff".parse().unwrap(), ..answer() },
            "another-installation",
        ),
        (CheckInAnswer { counter: 6, ..answer() }, "another-counter"),
    ];
    for (answer, reason) in table {
        open(&mut heart);
        assert_eq!(code(heart.judge(ONE, &answer, at(2_000))), reason);
    }
    // Another request takes the place of the one before, whose answer is late for good.
    open(&mut heart);
    heart.asked(Outstanding { counter: 8, nonce: Nonce([8; 32]), ..asked() }, at(2_000));
    assert_eq!(code(heart.judge(ONE, &answer(), at(2_000))), "another-counter");
    // And a failed attempt leaves none open.
    open(&mut heart);
    heart.failed(ONE, refused(), at(2_000), 0.0);
    assert_eq!(code(heart.judge(ONE, &answer(), at(2_000))), "not-asked");
}
