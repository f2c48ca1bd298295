//! Pools and shares: what was bought, and who may have how much of it.

use leasehold_proto::v1;
use serde::Serialize;

use super::{
    Capacity, Document, given, or_empty,
    page::{Page, Tone, counted},
    table::Cell,
};
use crate::clock;

/// The document of `leasehold pools`.
#[derive(Clone, Debug, Serialize)]
pub struct PoolsDocument {
    /// The pools.
    pub pools: Vec<PoolDocument>,
}

/// One pool.
#[derive(Clone, Debug, Serialize)]
pub struct PoolDocument {
    /// The pool's name.
    pub name: String,
    /// The key whose units it has.
    pub key: String,
    /// The key's title for people.
    pub title: Option<String>,
    /// `assignable` or `concurrent`.
    pub method: String,
    /// `server`, `access`, `feature`, `engine`, `session` or `hardware`.
    pub kind: String,
    /// The heading under which it is counted.
    pub group: Option<String>,
    /// What was bought.
    #[serde(flatten)]
    pub capacity: Capacity,
    /// Reserved for shares and not in use by them.
    pub set_aside: u64,
    /// Assignments; for concurrent pools the subjects that were given the key.
    pub assigned: u64,
    /// Seats and units that are taken.
    pub in_use: u64,
    /// Requests that wait for a seat.
    pub waiting: u64,
    /// The most in use since midnight.
    pub peak_today: u64,
    /// Requests refused since midnight.
    pub denied_today: u64,
    /// The idle time; null where there is none.
    pub idle_ms: Option<u64>,
    /// Whether idle leases end though nobody waits.
    pub idle_always: bool,
    /// What is wrong with the pool.
    pub message: Option<String>,
}

impl From<v1::Pool> for PoolDocument {
    fn from(pool: v1::Pool) -> Self {
        Self {
            name: pool.name,
            key: pool.key,
            title: given(pool.title),
            method: pool.method,
            kind: pool.kind,
            group: given(pool.group),
            capacity: Capacity::from_wire(&pool.capacity),
            set_aside: pool.set_aside,
            assigned: pool.assigned,
            in_use: pool.in_use,
            waiting: pool.waiting,
            peak_today: pool.peak_today,
            denied_today: pool.denied_today,
            idle_ms: Some(pool.idle_ms).filter(|ms| *ms > 0),
            idle_always: pool.idle_always,
            message: given(pool.message),
        }
    }
}

impl PoolDocument {
    fn idle(&self) -> String {
        match self.idle_ms {
            Some(ms) if self.idle_always => format!("{}, always", clock::duration(ms)),
            Some(ms) => clock::duration(ms),
            None => String::new(),
        }
    }
}

impl Document for PoolsDocument {
    fn write_text(&self, page: &mut Page<'_>) {
        if self.pools.is_empty() {
            page.line("there are no pools: no license file is in effect");
            return;
        }
        let rows = self
            .pools
            .iter()
            .map(|pool| {
                vec![
                    Cell::text(&pool.name),
                    Cell::text(&pool.method),
                    Cell::right(pool.capacity.beside(pool.in_use)).tone(pool.capacity.tone(pool.in_use)),
                    Cell::number_or_dim(pool.assigned, Tone::Plain),
                    Cell::number_or_dim(pool.set_aside, Tone::Plain),
                    Cell::number_or_dim(pool.waiting, Tone::Warn),
                    Cell::number_or_dim(pool.peak_today, Tone::Plain),
                    Cell::number_or_dim(pool.denied_today, Tone::Warn),
                    Cell::text(pool.idle()),
                    Cell::prose(or_empty(&pool.message)).tone(Tone::Warn),
                ]
            })
            .collect();
        page.table_giving_way(
            &[
                "POOL",
                "METHOD",
                "IN USE / LIMIT",
                "ASSIGNED",
                "SET ASIDE",
                "WAITING",
                "PEAK TODAY",
                "DENIED TODAY",
                "IDLE",
                "NOTE",
            ],
            rows,
            // A pool's name says its method; who waits is the last to be left out.
            &["METHOD", "PEAK TODAY", "SET ASIDE", "IDLE", "DENIED TODAY", "ASSIGNED", "WAITING"],
        );
    }
}

/// The document of `leasehold pool set`.
#[derive(Clone, Debug, Serialize)]
pub struct PoolRuleDocument {
    /// The pool with its new rule.
    pub pool: PoolDocument,
}

impl Document for PoolRuleDocument {
    fn write_text(&self, page: &mut Page<'_>) {
        let pool = &self.pool;
        page.line(&match (pool.idle_ms, pool.idle_always) {
            (None, _) => format!("{} has no idle time: idle leases are kept", pool.name),
            (Some(ms), true) => {
                format!("leases idle for {} lose their seat in {}, always", clock::duration(ms), pool.name)
            }
            (Some(ms), false) => format!(
                "leases idle for {} lose their seat in {} while others wait for it",
                clock::duration(ms),
                pool.name
            ),
        });
    }
}

/// A reservation and limit of one holder in one pool.
#[derive(Clone, Debug, Serialize)]
pub struct ShareDocument {
    /// The pool.
    pub pool: String,
    /// `organization` or `application`.
    pub holder_kind: &'static str,
    /// The holder's name.
    pub holder: String,
    /// Seats kept free for the holder.
    pub reserve: u32,
    /// The most it may have; null where there is no limit.
    pub limit: Option<u32>,
    /// Seats it has.
    pub in_use: u64,
}

impl ShareDocument {
    /// From the wire; `None` where it names no holder.
    #[must_use]
    pub fn from_wire(share: v1::Share) -> Option<Self> {
        let (holder_kind, holder) = match share.holder? {
            v1::share::Holder::Organization(name) => ("organization", name),
            v1::share::Holder::Application(name) => ("application", name),
        };
        Some(Self {
            pool: share.pool,
            holder_kind,
            holder,
            reserve: share.reserve,
            limit: share.limit,
            in_use: share.in_use,
        })
    }

    fn text(&self) -> String {
        let limit = self.limit.map_or_else(|| "no limit".to_owned(), |limit| format!("at most {limit}"));
        format!(
            "{} {} in {}: {} reserved, {limit}, {} in use",
            self.holder_kind,
            self.holder,
            self.pool,
            counted(self.reserve.into(), "seat", "seats"),
            self.in_use
        )
    }
}

/// The document of `leasehold share list`.
#[derive(Clone, Debug, Serialize)]
pub struct SharesDocument {
    /// The shares.
    pub shares: Vec<ShareDocument>,
}

impl Document for SharesDocument {
    fn write_text(&self, page: &mut Page<'_>) {
        if self.shares.is_empty() {
            page.line("no shares are set: everybody may take any free seat");
            return;
        }
        let rows = self
            .shares
            .iter()
            .map(|share| {
                let limit = Capacity { capacity: share.limit.map(u64::from), unlimited: false };
                vec![
                    Cell::text(&share.pool),
                    Cell::text(share.holder_kind),
                    Cell::text(&share.holder),
                    Cell::number_or_dim(share.reserve, Tone::Plain),
                    Cell::right(limit.beside(share.in_use)).tone(limit.tone(share.in_use)),
                ]
            })
            .collect();
        page.table(&["POOL", "KIND", "HOLDER", "RESERVED", "IN USE / LIMIT"], rows);
    }
}

/// The document of `leasehold share set` and `rm`.
#[derive(Clone, Debug, Serialize)]
pub struct ShareChangeDocument {
    /// The share as it is now, or as it was.
    pub share: ShareDocument,
    /// True where it was removed.
    pub removed: bool,
}

impl Document for ShareChangeDocument {
    fn write_text(&self, page: &mut Page<'_>) {
        let share = &self.share;
        if self.removed {
            page.line(&format!(
                "{} {} has no reservation and no limit in {} any more",
                share.holder_kind, share.holder, share.pool
            ));
        } else {
            page.line(&share.text());
        }
    }
}
