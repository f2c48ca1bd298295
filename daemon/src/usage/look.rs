//! What the room sees of the engine: little at each look, and a consistent whole where something is to be sealed. Both
//! run on the core loop, and their answers are durable when they arrive.

use leasehold_engine::{
    Engine, UsagePlan, UsagePresence,
    row::{UsageEventRow, UsageSegmentRow},
    time::Now,
};

/// The most events of one step: 32 records. A commit stays small, and 30,000 events a second need four.
pub(super) const EVENTS_PER_STEP: usize = 8_192;

/// Whether there is anything to do.
#[derive(Clone, Debug)]
pub(super) struct Glance {
    pub(super) now: Now,
    /// Events that wait.
    pub(super) waiting: usize,
    pub(super) plan: UsagePlan,
    /// A segment's row has no close.
    pub(super) open: bool,
}

/// What a step needs to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wish {
    /// Who was logged on before the events that wait: a segment begins.
    pub(super) presences: bool,
    /// All segments.
    pub(super) rows: bool,
}

/// The engine at one moment.
#[derive(Clone, Debug)]
pub(super) struct View {
    pub(super) now: Now,
    pub(super) plan: UsagePlan,
    /// The oldest events that wait.
    pub(super) events: Vec<UsageEventRow>,
    /// No others wait.
    pub(super) is_all: bool,
    /// Who was logged on before those events; `None` where that was not asked.
    pub(super) presences: Option<Vec<UsagePresence>>,
    /// All segments, by number; `None` where they were not asked for.
    pub(super) rows: Option<Vec<UsageSegmentRow>>,
}

pub(super) fn glance(engine: &Engine, now: Now) -> Glance {
    Glance {
        now,
        waiting: engine.usage_backlog().0,
        plan: engine.usage_plan(now),
        open: engine.usage_segments().any(|row| row.closed.is_none()),
    }
}

pub(super) fn look(engine: &Engine, now: Now, wish: Wish) -> View {
    let events = engine.unsealed_usage(EVENTS_PER_STEP);
    let is_all = engine.usage_backlog().0 == events.len();
    View {
        now,
        plan: engine.usage_plan(now),
        presences: wish.presences.then(|| engine.usage_presences()),
        rows: wish.rows.then(|| engine.usage_segments().cloned().collect()),
        events,
        is_all,
    }
}
