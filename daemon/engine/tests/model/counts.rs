//! After a command: everything that can be listed and counted, on paper and in the engine.

use super::*;

impl Play {
    pub(super) fn check_leases(&self, views: &[HeldLeaseView]) {
        for view in views {
            let id = view.lease.id.0;
            let Some(lease) = self.paper.leases.iter().find(|lease| lease.id == id) else {
                panic!("the engine has a lease that the model has not: {:?}", view.lease);
            };
            assert_eq!(held_of(&view.lease), lease.held, "lease {id}");
            assert_eq!(view.lease.renewed_ms_ago, self.paper.now_ms - lease.heard_ms, "last renewal of lease {id}");
            assert_eq!(view.identity, Self::identity(lease.owner.caller), "lease {id}");
            assert_eq!(view.instance, lease.owner.caller.instance, "lease {id}");
            assert_eq!(view.lease.idle, lease.idle_since_ms.is_some(), "idle: lease {id}");
            assert_eq!(view.lease.computer.as_ref().map(|label| label.as_str()), lease.what.computer());
        }
        assert_eq!(views.len(), self.paper.leases.len(), "the model has leases that the engine has not");
    }

    /// Nobody waits who need not.
    pub(super) fn check_waiting(&mut self) {
        let now_ms = self.paper.now_ms;
        self.paper.waiting.retain(|waiting| waiting.away_since_ms.is_none_or(|since| since + 60_000 > now_ms));
        for waiting in &self.paper.waiting {
            if waiting.away_since_ms.is_some() {
                continue;
            }
            let others: Vec<&Waiting> = self
                .paper
                .waiting
                .iter()
                .filter(|other| other.request != waiting.request || other.owner != waiting.owner)
                .collect();
            let first =
                others.iter().all(|other| waiting.priority <= other.priority && waiting.arrival < other.arrival);
            let sought: Vec<Pool> = if first {
                Vec::new()
            } else {
                others.iter().flat_map(|other| self.paper.pools_of(&other.what)).collect()
            };
            assert!(
                !matches!(self.paper.decide(&waiting.what, &sought), Decision::Granted(_)),
                "there is room for {waiting:?}, and it waits"
            );
        }
    }

    pub(super) fn assignments(&self) -> Vec<AssignmentView> {
        laws::all_assignments(&self.site.engine, self.site.now())
    }

    /// The same keys given to the same subjects; the order is the engine's, as long as what is new comes last.
    pub(super) fn check_assignments(&mut self) {
        let views = self.assignments();
        for view in &views {
            let (to, pool) = (subject_of(&view.subject), pool_of(&view.pool));
            let Some(given) = self.paper.given.iter_mut().find(|given| given.to == to && given.pool == pool) else {
                panic!("the engine has an assignment that the model has not: {view:?}");
            };
            given.order = view.id.0;
        }
        assert_eq!(
            views.len(),
            self.paper.given.len(),
            "the model has assignments that the engine has not: {:?}",
            self.paper.given
        );
        for view in &views {
            let (to, pool) = (subject_of(&view.subject), pool_of(&view.pool));
            let given = self.paper.given.iter().find(|given| given.to == to && given.pool == pool).unwrap();
            let active = self.paper.active(given);
            assert_eq!(view.inactive.is_none(), active, "whether {view:?} has effect (ALLOC-11)");
        }
    }

    pub(super) fn check_pools(&mut self) {
        for view in self.site.engine.pools(self.site.now(), None, None).unwrap() {
            let pool = pool_of(&view.name);
            let capacity = match view.capacity {
                Units::Count(count) => u64::from(count),
                Units::Unlimited => u64::MAX,
            };
            assert_eq!(capacity, self.paper.capacity(pool), "capacity of {}", view.name);
            assert_eq!(view.assigned, self.paper.assigned(pool), "assigned of {}", view.name);
            assert_eq!(view.in_use, self.paper.in_use(pool), "in use of {}", view.name);
            let above = view.in_use > capacity;
            let known = self.above.iter().any(|(other, _)| *other == pool);
            if above && !known {
                self.above.push((pool, self.paper.now_ms));
            }
            if !above {
                self.above.retain(|(other, _)| *other != pool);
            }
        }
        let status = self.site.engine.status(self.site.now());
        assert_eq!(status.leases, self.paper.leases.len() as u64);
        assert_eq!(status.users, self.paper.users.len() as u64);
        assert_eq!(status.stations, self.paper.stations.len() as u64);
    }

    /// A longer look at what must hold whatever was done.
    pub(super) fn look(&mut self, last: bool) {
        self.site.check();
        laws::a_restart_shows_the_same(&self.site);
        let recent = std::mem::take(&mut self.recent);
        if self.tally.commands.is_multiple_of(32) || last {
            laws::undone_is_not_done(&self.rows_then, self.site.now(), &recent);
            self.tally.undone += recent.len() as u64;
        }
        self.rows_then = self.site.engine.lasting_rows();
    }
}
