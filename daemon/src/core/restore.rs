//! From a state directory to an engine that holds what is stored, and the store that it goes on with. It recovers when the
//! core starts.

use leasehold_engine::{Engine, Limits};
use leasehold_keys::trust::Trust;

use crate::{
    clock::{Clock, TimeMark},
    storage::{Database, LeftOut, OpenFault, StateDir, Store},
};

/// What is stored, read.
pub struct Restored {
    /// For [`Core::start`](super::Core::start).
    pub engine: Engine,
    /// The same.
    pub store: Store,
    /// Rows that were read.
    pub rows: u64,
    /// Activation files that no longer verify.
    pub left_out: Vec<LeftOut>,
    /// The daemon before did not stop in order.
    pub unclean: bool,
    /// Nothing was ever stored: a first start, or one after a first start that did not get that far.
    pub new: bool,
}

/// Reads everything; from here on `clock` goes on from the stored marks (LEASE-7).
///
/// # Errors
/// See [`OpenFault`].
pub fn restore(state: &StateDir, trust: &Trust, limits: Limits, clock: &Clock) -> Result<Restored, OpenFault> {
    let database = Database::open(state)?;
    let mark = database.mark();
    clock.continue_from(mark);
    let mut engine = Engine::new(limits);
    let mut rows = 0;
    // What a wrong clock says is no reason to leave a file out.
    let left_out = database.load(Some(trust), clock.now().confirmed(), |row| {
        rows += 1;
        engine.restore(row);
    })?;
    let unclean = database.was_unclean();
    let new = mark == TimeMark::default();
    Ok(Restored { engine, store: database.into_store()?, rows, left_out, unclean, new })
}
