//! Now and then, in a quiet moment, the whole: counts, rows, capacities, and what should be over.

use leasehold_engine::{Engine, ids::LeaseId, row::Row, time::Now, view::LeaseFilter};
use leasehold_keys::activation::Units;

use super::Oracle;
use crate::simulation::{
    disk::Rows,
    vendor::{POOLS, is_call_port, pool_title},
};

impl Oracle {
    /// Everything decided is durable and answered: memory, disk and books must agree.
    pub(crate) fn recount(&mut self, engine: &Engine, now: Now, rows: &Rows) {
        self.tally.recounts += 1;
        for found in engine.discrepancies() {
            self.broken("counts", || found);
        }
        self.memory_is_disk(engine, rows);
        // What time has to do first may change both.
        if engine.next_wakeup(now).is_none_or(|at| at > now.lease) {
            self.pools_agree(engine, now);
            self.nothing_is_overdue(engine, now);
        }
    }

    fn memory_is_disk(&mut self, engine: &Engine, rows: &Rows) {
        let mut memory = engine.lasting_rows();
        // In the order of the kinds, then of the numbers; rows on disk are, too.
        let lasting =
            rows.iter().enumerate().filter(|(kind, _)| !matches!(kind, 13 | 14)).flat_map(|(_, rows)| rows.values());
        let comparable = |row: &Row| match row {
            Row::Lease(row) => {
                let mut row = row.clone();
                // What was acknowledged is forgotten in memory at once, and on disk with its lease.
                row.request = None;
                Row::Lease(row)
            }
            Row::Site(row) => {
                let mut row = *row;
                // An undo does not give numbers again that somebody may have seen.
                (row.last_entity, row.last_denial) = (0, 0);
                Row::Site(row)
            }
            other => other.clone(),
        };
        memory.sort_by_key(crate::simulation::disk::place);
        let (mut memory, mut disk) = (memory.iter(), lasting);
        loop {
            match (memory.next(), disk.next()) {
                (None, None) => return,
                // The site's row stands in memory before it is first written.
                (Some(Row::Site(_)), None) => {}
                (Some(a), Some(b)) if a == b || comparable(a) == comparable(b) => {}
                (a, b) => {
                    let (a, b) = (format!("{a:?}"), format!("{b:?}"));
                    return self.broken("LEASE-11", || format!("memory has {a}, and the disk has {b}"));
                }
            }
        }
    }

    /// LEASE-1, COMPLY-1, 02: counts and capacities as shown are those of the books.
    fn pools_agree(&mut self, engine: &Engine, now: Now) {
        let Ok(views) = engine.pools(now, None, None) else { return };
        let (most, least) = (self.books.most, self.books.least);
        let mut over = Vec::new();
        for pool in 0..POOLS {
            let title = pool_title(pool);
            let view = views.iter().find(|view| view.name.to_string() == title);
            let concurrent = pool % 2 == 1;
            let (mut in_use, mut capacity, mut assigned) = (0, 0, 0);
            if let Some(view) = view {
                in_use = view.in_use;
                assigned = view.assigned;
                capacity = match view.capacity {
                    Units::Unlimited => u64::MAX,
                    Units::Count(count) => count.into(),
                };
            }
            let held = self.books.held(pool);
            if in_use != held || !concurrent && assigned != self.books.assigned[pool] {
                let books = (self.books.assigned[pool], self.books.leased[pool]);
                self.broken("LEASE-1", || {
                    format!("{title} shows {in_use} in use and {assigned} assigned; durable are {books:?}")
                });
            }
            if capacity > most.caps[pool] || capacity < least.caps[pool] {
                self.broken("LEASE-1", || {
                    format!(
                        "{title} has {capacity}; the grants in force give {} to {}",
                        least.caps[pool], most.caps[pool]
                    )
                });
            }
            if held > most.caps[pool] && most == least && !(most.unlicensed && is_call_port(pool)) {
                over.push(title);
            }
        }
        if most == least {
            let mut told: Vec<String> = engine.compliance(now).1.iter().map(|it| it.pool.to_string()).collect();
            if most.unlicensed {
                let ports: Vec<String> = (0..POOLS).filter(|pool| is_call_port(*pool)).map(pool_title).collect();
                let joint = told.iter().any(|title| ports.contains(title));
                told.retain(|title| !ports.contains(title));
                if joint != (self.books.call_ports_held() > 2) {
                    self.broken("COMPLY-1", || format!("call ports of an unlicensed site: told {joint}"));
                }
            }
            told.sort();
            over.sort();
            if told != over {
                self.broken("COMPLY-1", || format!("told to be exceeded: {told:?}; exceeded: {over:?}"));
            }
        }
    }

    /// LEASE-5, LEASE-6: what should have lapsed has, and live leases are as durable.
    fn nothing_is_overdue(&mut self, engine: &Engine, now: Now) {
        let overdue = self.books.leases.iter().find(|(_, lease)| self.books.lapses_by(lease) < self.now);
        if let Some((id, lease)) = overdue {
            let told =
                format!("lease {id} should have lapsed by {}, at {}: {lease:?}", self.books.lapses_by(lease), self.now);
            self.broken("LEASE-6", || told);
        }
        let filter = LeaseFilter { limit: 1_000, ..LeaseFilter::default() };
        let live: Vec<LeaseId> = engine
            .leases(now, &filter)
            .map(|views| views.iter().map(|view| view.lease.id).collect())
            .unwrap_or_default();
        let durable: Vec<LeaseId> = self.books.leases.keys().map(|id| LeaseId(*id)).collect();
        if live != durable && durable.len() < 1_000 {
            self.broken("LEASE-2", || format!("live are {live:?}, and durable {durable:?}"));
        }
    }
}
