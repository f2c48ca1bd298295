//! What another stage does to those who hold leases or wait: supervisor keys leave and come back, stage 6 ends what is not a
//! call port, and nobody waits for what is refused. In pieces, so that no grant waits for it.

use std::ops::Bound;

use super::Stage;
use crate::{
    engine::{Engine, Turn},
    ids::LeaseId,
    queue::Place,
    refusal::EndReason,
    row::LeaseSubject,
    time::LeaseTime,
    upkeep::PIECE,
    waiting::WAITERS_PER_TURN,
};

/// Leases looked at in one turn; of them a piece at most is changed.
const LOOKED_AT: usize = PIECE * 16;

/// How far leases and waiting requests have been gone through.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sweep {
    /// Leases after this one are still to be looked at; none: all have been.
    leases: Option<LeaseId>,
    /// Waiting requests after this one; none: from the first.
    place: Option<Place>,
    /// All waiting requests have been looked at.
    places_done: bool,
    /// It began after the end of what stage 6 leaves.
    last: bool,
}

impl Engine {
    /// Leases and waiting requests are to be gone through from the first. A site to which no enforcement ever applied has
    /// nothing to go through.
    pub(crate) fn begin_sweep(&mut self) {
        if self.state.standings.is_empty() {
            return;
        }
        self.sweep = Some(Sweep { leases: Some(LeaseId(0)), ..Sweep::default() });
        self.stage_ended = false;
    }

    /// When what stage 6 leaves is to end.
    pub(crate) fn stage_end_due(&self) -> Option<LeaseTime> {
        self.state.enforcement.ends.filter(|_| !self.stage_ended)
    }
}

impl Turn<'_> {
    /// Goes through a piece of leases and waiting requests, where there are any to go through.
    pub(crate) fn sweep(&mut self) {
        if self.engine.stage_end_due().is_some_and(|at| at <= self.now.lease)
            && self.engine.sweep.is_none_or(|sweep| !sweep.last)
        {
            self.engine.sweep = Some(Sweep { leases: Some(LeaseId(0)), last: true, ..Sweep::default() });
        }
        let Some(mut sweep) = self.engine.sweep.take() else {
            return;
        };
        self.sweep_waiting(&mut sweep);
        self.sweep_leases(&mut sweep);
        if sweep.leases.is_some() || !sweep.places_done {
            self.engine.sweep = Some(sweep);
        } else if sweep.last {
            self.engine.stage_ended = true;
        }
    }

    fn sweep_waiting(&mut self, sweep: &mut Sweep) {
        if sweep.places_done || self.engine.state.enforcement.stage < Stage::SupervisorDisabled {
            sweep.places_done = true;
            return;
        }
        let begin = sweep.place.map_or(Bound::Unbounded, Bound::Excluded);
        let waiters = self.engine.queue.waiters.range((begin, Bound::Unbounded));
        let piece: Vec<Place> = waiters.map(|(place, _)| *place).take(WAITERS_PER_TURN).collect();
        sweep.places_done = piece.len() < WAITERS_PER_TURN;
        sweep.place = piece.last().copied().or(sweep.place);
        for place in piece {
            self.reconsider(place);
        }
    }

    fn sweep_leases(&mut self, sweep: &mut Sweep) {
        let Some(after) = sweep.leases else {
            return;
        };
        let leases = self.engine.state.leases.range((Bound::Excluded(after), Bound::Unbounded));
        let looked: Vec<LeaseId> = leases.map(|(id, _)| *id).take(LOOKED_AT).collect();
        sweep.leases = looked.last().copied().filter(|_| looked.len() == LOOKED_AT);
        let mut changed = 0;
        for id in looked {
            changed += usize::from(self.enforce_on(id));
            if changed == PIECE {
                sweep.leases = Some(id);
                return;
            }
        }
    }

    /// Makes one lease what the stage leaves of it. True where that was some work.
    fn enforce_on(&mut self, id: LeaseId) -> bool {
        let state = &self.engine.state;
        let Some(row) = state.leases.get(&id).map(|lease| &lease.row) else {
            return false;
        };
        let loses = row.terms.keys.iter().any(|held| state.enforced_away(held.key, true));
        if row.subject == LeaseSubject::Units {
            if loses && !state.is_call_port_lease(row) {
                self.end(id, EndReason::Enforced, None);
                return true;
            }
        } else if loses || state.could_regain(row) {
            self.look_again(id, EndReason::Enforced);
            self.end_beyond_stage(id);
            self.warn_of_stage(id);
            return true;
        }
        self.end_beyond_stage(id) || self.warn_of_stage(id)
    }

    /// Stage 6 ends a lease that is not a call port where it is idle, or where the 12 hours are over.
    pub(crate) fn end_beyond_stage(&mut self, id: LeaseId) -> bool {
        let state = &self.engine.state;
        let Some(row) = state.leases.get(&id).map(|lease| &lease.row) else {
            return false;
        };
        let ends = state.ends_with_stage(row).is_some_and(|at| row.idle_since.is_some() || at <= self.now.lease);
        if ends {
            self.end(id, EndReason::Enforced, None);
        }
        ends
    }

    fn warn_of_stage(&mut self, id: LeaseId) -> bool {
        let state = &self.engine.state;
        let ends = state.leases.get(&id).and_then(|lease| state.ends_with_stage(&lease.row));
        if let Some(at) = ends {
            self.warn(id, EndReason::Enforced, at.ms_since(self.now.lease));
        }
        ends.is_some()
    }
}
