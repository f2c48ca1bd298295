//! What must hold after every command, whatever the model thinks of it.

use leasehold_engine::{
    Engine, Limits,
    command::Command,
    row::{Change, LeaseSubject, Row},
    time::Now,
    view::{AssignmentView, EntityFilter, EntityKind, EntityView, LeaseFilter},
};

use crate::support::{Site, as_stored};

pub(crate) fn all_assignments(engine: &Engine, now: Now) -> Vec<AssignmentView> {
    engine.assignments(now, None, None, leasehold_engine::ids::AssignmentId(0), 1_000).unwrap()
}

/// Storage applies changes one after the other: each begins where the last one of its row ended.
pub(crate) fn changes_follow_each_other(changes: &[Change]) {
    for change in changes {
        assert!(change.before.is_some() || change.after.is_some(), "an empty change");
    }
}

/// A refused command leaves its denial, and what goes with it: its number, and the row of a caller never seen before.
pub(crate) fn only_a_denial(changes: &[Change]) {
    for change in changes {
        let row = change.after.as_ref().or(change.before.as_ref()).unwrap();
        assert!(
            matches!(row, Row::Denial(_) | Row::Site(_) | Row::Holder(_)),
            "a refused command changes more than denials: {change:?}"
        );
    }
}

pub(crate) fn same_rows(before: &[Row], after: &[Row]) {
    let kept = |rows: &[Row]| -> Vec<Row> {
        rows.iter().filter(|row| !matches!(row, Row::Site(_) | Row::Holder(_))).cloned().collect()
    };
    let (before, after) = (kept(before), kept(after));
    for (a, b) in before.iter().zip(&after) {
        assert_eq!(a, b, "a refused command changed a row");
    }
    assert_eq!(before.len(), after.len(), "a refused command added or removed rows");
}

/// ALLOC-8: a seat that a user has before and after a command is never free in between.
pub(crate) fn seats_pass_on(before: &[Row], changes: &[Change]) {
    let mut live: Vec<leasehold_engine::row::LeaseRow> = Vec::new();
    for row in before {
        if let Row::Lease(lease) = row
            && lease.ended.is_none()
        {
            live.push((**lease).clone());
        }
    }
    let seats = |live: &[leasehold_engine::row::LeaseRow]| {
        let mut seats = Vec::new();
        for lease in live {
            if let LeaseSubject::Logon { user, .. } = &lease.subject {
                seats.extend(lease.terms.seats.iter().filter(|seat| seat.shared).map(|seat| (*user, seat.pool)));
            }
        }
        seats
    };
    let mut moments = vec![seats(&live)];
    for change in changes {
        match (&change.before, &change.after) {
            (_, Some(Row::Lease(after))) => {
                live.retain(|lease| lease.id != after.id);
                if after.ended.is_none() {
                    live.push((**after).clone());
                }
            }
            (Some(Row::Lease(gone)), None) => live.retain(|lease| lease.id != gone.id),
            _ => continue,
        }
        moments.push(seats(&live));
    }
    let (first, last) = (moments.first().unwrap().clone(), moments.last().unwrap().clone());
    for seat in first.iter().filter(|seat| last.contains(seat)) {
        assert!(moments.iter().all(|moment| moment.contains(seat)), "seat {seat:?} was free in between (ALLOC-8)");
    }
}

fn entities(engine: &Engine, now: Now) -> Vec<EntityView> {
    let kinds = [EntityKind::User, EntityKind::Station, EntityKind::Workgroup, EntityKind::Organization];
    kinds
        .into_iter()
        .flat_map(|kind| {
            let filter =
                EntityFilter { kind, name_contains: String::new(), organization: None, after: None, limit: 1_000 };
            engine.entities(now, &filter).unwrap()
        })
        .collect()
}

/// All rows that were made durable so far make an engine that shows the same.
pub(crate) fn a_restart_shows_the_same(site: &Site) {
    let now = site.now();
    let (again, outcome) = site.restarted(Limits::default(), now);
    let live = &site.engine;
    assert_eq!(entities(live, now), entities(&again, now), "entities after a restart");
    assert_eq!(all_assignments(live, now), all_assignments(&again, now), "assignments after a restart");
    assert_eq!(live.shares(None), again.shares(None), "shares after a restart");
    assert_eq!(live.licenses(now), again.licenses(now), "licenses after a restart");
    assert_eq!(live.status(now).state, again.status(now).state, "status after a restart");
    assert_eq!(live.status(now).leases, again.status(now).leases, "status after a restart");
    let leases = |engine: &Engine| -> Vec<_> {
        let filter = LeaseFilter { limit: 1_000, ..LeaseFilter::default() };
        let views = engine.leases(now, &filter).unwrap();
        views
            .into_iter()
            .map(|view| {
                (view.lease.id, view.lease.keys, view.lease.missing, view.lease.idle, view.identity, view.instance)
            })
            .collect()
    };
    assert_eq!(leases(live), leases(&again), "leases after a restart");
    // LEASE-7: recovery may change how long leases stand, and what files grant; it ends none at once.
    for change in &outcome.changes {
        assert!(
            !matches!((&change.before, &change.after), (Some(Row::Lease(_)), None)),
            "a restart ends a lease: {change:?}"
        );
    }
}

/// LEASE-11: commands whose changes are taken back have not been; and then life goes on.
pub(crate) fn undone_is_not_done(rows: &[Row], now: Now, commands: &[Command]) {
    let mut engine = Engine::new(Limits::default());
    for row in rows {
        engine.restore(row.clone());
    }
    engine.recover(now);
    let shown = |engine: &Engine| {
        let pools: Vec<_> = engine
            .pools(now, None, None)
            .unwrap()
            .into_iter()
            .map(|pool| (pool.name, pool.capacity, pool.set_aside, pool.assigned, pool.in_use))
            .collect();
        let leases = engine.leases(now, &LeaseFilter { limit: 1_000, ..LeaseFilter::default() }).unwrap();
        let leases: Vec<_> = leases.into_iter().map(|view| (view.lease.id, view.lease.keys, view.identity)).collect();
        (pools, leases, entities(engine, now), all_assignments(engine, now), engine.shares(None), engine.licenses(now))
    };
    let before = shown(&engine);
    let rows_before = engine.lasting_rows();
    let mut changes = Vec::new();
    for command in commands {
        changes.extend(engine.apply(now, command.clone()).1.changes);
    }
    engine.undo(changes);
    let found = engine.discrepancies();
    assert!(found.is_empty(), "counts differ after an undo:\n{}", found.join("\n"));
    // Numbers that were given out may stay given out: they rise, that is all.
    let but_numbers = |rows: Vec<Row>| as_stored(rows.into_iter().filter(|row| !matches!(row, Row::Site(_))).collect());
    crate::support::assert_same(&but_numbers(rows_before), &but_numbers(engine.lasting_rows()), "rows after an undo");
    let after = shown(&engine);
    assert_eq!(before, after, "views after an undo");
    for command in commands {
        let _ = engine.apply(now, command.clone());
        let found = engine.discrepancies();
        assert!(found.is_empty(), "counts differ after an undo and {command:?}:\n{}", found.join("\n"));
    }
}
