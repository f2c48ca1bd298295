//! (Skeleton of the interface; the rules follow.)
use leasehold_keys::{name::{KeyName, PoolName}, time::WallTime};
use crate::{command::*, decision::*, ids::*, refusal::*, row::*, time::*, view::*};

/// Stated bounds.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Answers remembered per identity (LEASE-3).
    pub answers_per_identity: u64,
    /// Requests waiting per pool.
    pub waiting_per_pool: usize,
}
impl Default for Limits { fn default() -> Self { Self { answers_per_identity: 1_000_000, waiting_per_pool: 10_000 } } }

/// The engine.
pub struct Engine { }
#[allow(unused_variables, missing_docs)]
impl Engine {
    /// An empty site.
    pub fn new(limits: Limits) -> Self { todo!() }
    /// Takes one stored row, in any order; then [`Engine::recover`].
    pub fn restore(&mut self, row: Row) { todo!() }
    /// After all rows are restored and before the first command: LEASE-7. `now.lease` is the stored mark.
    pub fn recover(&mut self, now: Now) -> Outcome { todo!() }
    /// Decides one command.
    pub fn apply(&mut self, now: Now, command: Command) -> (Result<Reply, Refusal>, Outcome) { todo!() }
    /// Takes changes back that were certainly not committed (LEASE-11). Give all changes of the batch, in order. Returns tickets of
    /// requests that were waiting and whose grant is undone: they are to be answered STORAGE_UNAVAILABLE by the core loop anyway.
    pub fn undo(&mut self, changes: Vec<Change>) { todo!() }
    /// When `Command::Tick` is wanted next, in lease time.
    pub fn next_wakeup(&self, now: Now) -> Option<LeaseTime> { todo!() }
    /// True for commands that need no storage (renewals): they go on while storage fails.
    pub fn status(&self, now: Now) -> StatusView { todo!() }
    pub fn licenses(&self, now: Now) -> Vec<LicenseView> { todo!() }
    pub fn pools(&self, now: Now, key: Option<&KeyName>, organization: Option<&str>) -> Result<Vec<PoolView>, Refusal> { todo!() }
    pub fn shares(&self, pool: Option<&PoolName>) -> Vec<ShareView> { todo!() }
    pub fn entities(&self, now: Now, filter: &EntityFilter) -> Result<Vec<EntityView>, Refusal> { todo!() }
    pub fn entity(&self, now: Now, name: &EntityName) -> Result<EntityView, Refusal> { todo!() }
    pub fn assignments(&self, now: Now, key: Option<&KeyName>, subject: Option<&EntityName>, after: AssignmentId, limit: usize) -> Result<Vec<AssignmentView>, Refusal> { todo!() }
    pub fn leases(&self, now: Now, filter: &LeaseFilter) -> Result<Vec<HeldLeaseView>, Refusal> { todo!() }
    pub fn site_keys(&self, now: Now, keys: &[KeyName]) -> Result<Vec<SiteKeyView>, Refusal> { todo!() }
    pub fn may_install(&self, now: Now, release: WallTime) -> InstallView { todo!() }
    pub fn entitlements(&self, now: Now, query: &EntitlementQuery) -> Result<Vec<EntitlementView>, Refusal> { todo!() }
    pub fn explain(&self, now: Now, acquire: &Acquire) -> Explanation { todo!() }
    pub fn compliance(&self, now: Now) -> (u64, Vec<ExceededView>) { todo!() }
}
