//! What the licensor signs settles what no clock of the machine can.

use super::*;

/// An answer to a question that was asked a moment ago.
fn answer(machine: &Machine) -> Testimony {
    Testimony { earliest: machine.real, latest: Some(machine.real.plus_ms(1_200)) }
}

/// A note that was signed so long ago.
fn note(machine: &Machine, ago_ms: u64) -> Testimony {
    Testimony { earliest: machine.real.plus_ms(-signed(ago_ms)), latest: None }
}

fn off_ms(machine: &Machine) -> i64 {
    machine.now.wall.as_ms() - machine.real.as_ms()
}

#[test]
fn an_answer_confirms_a_jump_that_was_right() {
    let mut machine = Machine::first_start();
    machine.restart(90 * DAY, 0);
    assert_eq!(machine.said(), [Finding::Unconfirmed(90 * DAY)]);
    machine.tell(answer(&machine));
    assert_eq!(machine.said(), [Finding::Vouched]);
    assert_eq!((off_ms(&machine), machine.now.unconfirmed_ms), (0, 0));
    // Nothing is withdrawn afterwards.
    machine.set(-signed(80 * DAY));
    assert_eq!(machine.said(), [Finding::RolledBack(80 * DAY)]);
    assert_eq!(machine.watch.evidence().withdrawn, 0);
}

#[test]
fn an_answer_takes_back_a_jump_that_was_wrong() {
    let mut machine = Machine::first_start();
    machine.restart(HOUR, signed(90 * DAY));
    machine.said();
    machine.tell(answer(&machine));
    let said = machine.said();
    assert!(matches!(said[0], Finding::SetBack(ms) if ms.abs_diff(90 * DAY) < 2_000), "{said:?}");
    assert_eq!((off_ms(&machine), machine.now.unconfirmed_ms), (1_200, 0));
    assert_eq!(machine.watch.evidence().withdrawn, 1);
    // It is stored so: the next start with the wrong clock is a jump like the first, and with the right one there is none.
    machine.restart(HOUR, signed(90 * DAY));
    assert!(matches!(machine.said()[0], Finding::Unconfirmed(_)));
    machine.tell(answer(&machine));
    machine.restart(HOUR, 0);
    assert_eq!((off_ms(&machine), machine.now.unconfirmed_ms), (0, 0));
}

#[test]
fn an_answer_takes_back_even_what_twelve_hours_had_confirmed_and_nothing_else_does() {
    let mut machine = Machine::first_start();
    machine.restart(HOUR, signed(YEAR));
    machine.run(13 * HOUR);
    assert_eq!(machine.now.unconfirmed_ms, 0);
    machine.set(0);
    machine.tell(note(&machine, 0));
    assert_eq!(off_ms(&machine), signed(YEAR), "a note lowers nothing");
    machine.said();
    machine.tell(answer(&machine));
    let said = machine.said();
    assert!(matches!(said.as_slice(), [Finding::SetBack(_), Finding::InStep]), "{said:?}");
    assert_eq!(off_ms(&machine), 1_200);
    assert!(machine.watch.evidence().last_roll_back.is_some_and(|episode| episode.over.is_some()));
}

#[test]
fn clocks_of_honest_machines_are_some_minutes_apart_and_that_moves_nothing() {
    for off in [-signed(5 * MINUTE), -1, 0, 1, signed(5 * MINUTE)] {
        let mut machine = Machine::first_start();
        machine.real = machine.real.plus_ms(off);
        machine.off_ms = -off;
        machine.tell(Testimony { earliest: machine.real, latest: Some(machine.real) });
        assert_eq!((machine.now.wall, machine.said()), (BEGIN, Vec::new()), "{off}");
    }
    for (off, found) in [(signed(5 * MINUTE) + 1, "on"), (-signed(5 * MINUTE) - 1, "back")] {
        let mut machine = Machine::first_start();
        machine.real = machine.real.plus_ms(off);
        machine.off_ms = -off;
        machine.tell(Testimony { earliest: machine.real, latest: Some(machine.real) });
        let said = machine.said();
        match found {
            "on" => assert_eq!(said, [Finding::SetOn(5 * MINUTE + 1)]),
            _ => assert_eq!(said, [Finding::SetBack(5 * MINUTE + 1)]),
        }
        assert_eq!(off_ms(&machine), 0);
    }
}

#[test]
fn a_clock_that_stood_still_while_it_was_off_is_set_on() {
    let mut machine = Machine::first_start();
    // Off for a month, and the clock says that no time has passed.
    machine.restart(30 * DAY, -signed(30 * DAY));
    assert_eq!((off_ms(&machine), machine.said()), (-signed(30 * DAY), Vec::new()));
    machine.tell(answer(&machine));
    assert_eq!(machine.said(), [Finding::SetOn(30 * DAY), Finding::RolledBack(30 * DAY)]);
    assert_eq!((off_ms(&machine), machine.reasons()), (0, vec!["CLOCK_ROLLED_BACK"]));
}

#[test]
fn a_note_is_worth_what_a_mark_of_its_time_would_have_been() {
    // 90 days off. A note of 30 days ago covers 60; one of a day and more is not enough for the rest; a day is.
    let mut machine = Machine::first_start();
    machine.restart(90 * DAY, 0);
    machine.said();
    machine.tell(note(&machine, 30 * DAY));
    assert_eq!(machine.said(), [Finding::PartlyConfirmed(30 * DAY)]);
    assert_eq!(machine.now.unconfirmed_ms, 30 * DAY);
    machine.tell(note(&machine, 40 * DAY));
    assert_eq!((machine.said(), machine.now.unconfirmed_ms), (Vec::new(), 30 * DAY), "an older one says nothing new");
    machine.tell(note(&machine, DAY + 1));
    assert_eq!(machine.said(), [Finding::PartlyConfirmed(DAY + 1)]);
    machine.tell(note(&machine, DAY));
    assert_eq!((machine.said(), machine.now.unconfirmed_ms), (vec![Finding::Vouched], 0));
    assert_eq!(off_ms(&machine), 0);
}

#[test]
fn a_note_from_before_the_jump_says_nothing() {
    let mut machine = Machine::first_start();
    machine.run(HOUR);
    machine.restart(0, signed(YEAR));
    machine.said();
    let before = (machine.now, *machine.watch.evidence());
    machine.tell(note(&machine, 0));
    machine.tell(note(&machine, 10 * DAY));
    assert_eq!((machine.now, *machine.watch.evidence()), before);
    assert_eq!(machine.said(), []);
}

#[test]
fn a_note_covers_the_older_part_of_two_jumps_first() {
    let mut machine = Machine::first_start();
    machine.restart(10 * DAY, 0);
    machine.run(2 * HOUR);
    machine.restart(20 * DAY, 0);
    machine.said();
    let both = *machine.watch.evidence();
    assert_eq!(both.unconfirmed.unwrap().ahead_ms, 30 * DAY);
    machine.tell(note(&machine, 24 * DAY));
    let after = *machine.watch.evidence();
    // The two hours ran on both lines.
    assert_eq!(after.unconfirmed.unwrap().ahead_ms, 24 * DAY);
    assert_eq!(after.older.unwrap().ahead_ms, both.older.unwrap().ahead_ms - 6 * DAY + 2 * HOUR - 2 * HOUR);
    machine.tell(note(&machine, 15 * DAY));
    let after = *machine.watch.evidence();
    assert_eq!((after.unconfirmed.unwrap().ahead_ms, after.older), (15 * DAY, None));
    assert_eq!(after.unconfirmed.unwrap().since, both.unconfirmed.unwrap().since, "its own 12 hours run on");
}

#[test]
fn a_note_of_later_than_now_sets_on() {
    let mut machine = Machine::first_start();
    machine.restart(60 * DAY, -signed(60 * DAY));
    machine.tell(note(&machine, DAY));
    assert_eq!(machine.said(), [Finding::SetOn(59 * DAY), Finding::RolledBack(59 * DAY)]);
    assert_eq!(off_ms(&machine), -signed(DAY));
}

#[test]
fn what_was_told_is_put_into_words() {
    for (finding, words) in [
        (Finding::Vouched, "the licensor has signed"),
        (Finding::SetBack(3 * HOUR), "3 h earlier"),
        (Finding::SetOn(2 * DAY), "2 days later"),
    ] {
        assert!(finding.to_string().contains(words), "{finding}");
    }
    assert!(Finding::Vouched.is_good() && !Finding::SetBack(1).is_good() && !Finding::SetOn(1).is_good());
}
