//! What random steps once found, as short as shrinking made it. Each names the rule.

use crate::{
    play::Play,
    site::{At, Key, Name, Subject, What},
    steps::{Again, By, GRANTED, Step, beginning},
};

/// Plays steps on a site with one of everything, or as many as said.
fn story(grants: &[((Key, bool), Option<u32>)], steps: &[Step]) {
    let units = GRANTED.map(|pool| grants.iter().find(|(of, _)| *of == pool).map_or(Some(1), |(_, units)| *units));
    let mut play = Play::new(&units);
    for step in beginning().iter().chain(steps) {
        play.step(step);
    }
}

fn logon(user: Name, at: At, needed: &[Key]) -> What {
    What::Logon { user, at, computer: None, needed: needed.to_vec() }
}

/// An acquire by the first caller on its stream.
fn acquire(what: What, wait_s: u64) -> Step {
    let by = By { caller: 0, stream: true };
    Step::Acquire { by, what, ttl_s: 60, wait_s, priority: 5, again: Again::Fresh }
}

/// 03, Queue: what room alone would not bring is refused at once, not after a wait.
#[test]
fn nobody_waits_for_a_seat_beside_a_key_that_was_never_given() {
    story(&[], &[acquire(logon("ann", At::Number("555-1"), &["RECORDER"]), 5)]);
}

/// LEASE-13: a run that lost its first answer is told again what it may take over.
#[test]
fn a_run_that_attaches_again_is_told_of_its_predecessor_again() {
    story(
        &[],
        &[
            acquire(logon("ann", At::Nowhere, &[]), 0),
            Step::Attach { caller: 0, new_run: true },
            Step::Attach { caller: 0, new_run: false },
            Step::TakeOver { caller: 0, leases: vec![] },
        ],
    );
}

/// ADMIN-3, LEASE-5: an act that is refused as a whole, or only tried, leaves a lease as it was, its last renewal too.
#[test]
fn an_act_that_comes_to_nothing_costs_no_lease_its_renewal() {
    let by = By { caller: 0, stream: false };
    let take = |subjects: Vec<Subject>, dry_run| Step::Assign {
        give: false,
        subjects,
        keys: vec!["TRACKER"],
        best_effort: false,
        dry_run,
    };
    story(
        &[],
        &[
            Step::Acquire {
                by,
                what: logon("ann", At::Nowhere, &["TRACKER"]),
                ttl_s: 60,
                wait_s: 0,
                priority: 5,
                again: Again::Fresh,
            },
            Step::Sleep { ms: 55_000 },
            Step::Renew { by, leases: vec![0] },
            take(vec![Subject::User("ann"), Subject::User("eve")], false),
            take(vec![Subject::User("ann")], true),
            Step::Pass { ms: 55_000 },
        ],
    );
}

/// 03, Queue: a key given to a user who waits, or a seat taken by another lease of theirs, ends the wait at once.
#[test]
fn who_waits_is_looked_at_again_when_their_own_rights_change() {
    let one = [(("DESIGNER", true), Some(1)), (("DIRECT", true), Some(1))];
    let take = Step::Assign {
        give: false,
        subjects: vec![Subject::User("ann")],
        keys: vec!["MONITOR"],
        best_effort: false,
        dry_run: false,
    };
    let give = Step::Assign {
        give: true,
        subjects: vec![Subject::User("ann")],
        keys: vec!["DIRECT"],
        best_effort: false,
        dry_run: false,
    };
    let steps =
        [take, acquire(logon("bob", At::Nowhere, &[]), 0), acquire(logon("ann", At::Nowhere, &["DIRECT"]), 30), give];
    story(&one, &steps);
}

/// LEASE-6: a seat out of the queue is no sign that the run which waits for it is alive.
#[test]
fn a_grant_out_of_the_queue_renews_no_other_lease_of_the_run() {
    let other = By { caller: 1, stream: false };
    story(
        &[],
        &[
            acquire(logon("cid", At::Nowhere, &["RECORDER"]), 0),
            Step::Acquire {
                by: other,
                what: logon("bob", At::Nowhere, &["DESIGNER"]),
                ttl_s: 60,
                wait_s: 0,
                priority: 5,
                again: Again::Fresh,
            },
            acquire(logon("ann", At::Nowhere, &["DESIGNER"]), 30),
            Step::Sleep { ms: 1_000 },
            Step::Release { by: other, leases: vec![0], requests: vec![] },
        ],
    );
}

/// 03, Queue: whose stream is gone keeps the place for 60 s, and gets no seat that nobody would take.
#[test]
fn no_seat_goes_to_a_request_whose_stream_is_gone() {
    let by = By { caller: 1, stream: true };
    let what = logon("ann", At::Number("555-1"), &[]);
    story(
        &[],
        &[
            Step::Acquire { by, what, ttl_s: 60, wait_s: 5, priority: 5, again: Again::Fresh },
            Step::Detach { caller: 1 },
            Step::Regrant { pool: ("BASIC_STATION", false), units: 2 },
        ],
    );
}

/// ALLOC-14, ALLOC-16: a conversion that would cost a live lease a seat names the pool that is full, not just any key.
#[test]
fn a_refused_conversion_names_the_full_pool() {
    story(
        &[],
        &[
            acquire(logon("dan", At::Station("desk"), &["CLIENT"]), 0),
            acquire(logon("ann", At::Nowhere, &[]), 0),
            Step::Convert { name: "dan", concurrent: true },
        ],
    );
}
