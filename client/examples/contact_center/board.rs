//! The board on the wall: every pool with its seats, redrawn in place on a terminal, in plain lines elsewhere.
//!
//! Without an administrator's connection it shows only the seats that this play holds itself.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, IsTerminal, Write},
    time::Duration,
};

use leasehold_client::{AcquireError, KeySource, Lease, LeaseGuard, connect};
use leasehold_proto::v1::{self, administration_client::AdministrationClient};
use tokio::time::{Instant, sleep};
use tonic::{Status, transport::Channel};

/// Redrawn at most this often while many things happen at once.
const REDRAW_EVERY: Duration = Duration::from_millis(60);
const BAR_WIDTH: u64 = 30;

pub(crate) struct Board {
    is_terminal: bool,
    lines_drawn: usize,
    drawn_at: Option<Instant>,
    admin: Option<AdministrationClient<Channel>>,
    rows: BTreeMap<String, Row>,
    /// Who sits in each pool, as far as the play knows: a user's second lease takes no second seat.
    seated: BTreeMap<String, BTreeMap<String, u64>>,
    /// The pools that the play has touched; others are not shown.
    touched: BTreeSet<String>,
    capacities: BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) capacity: String,
    pub(crate) in_use: u64,
    pub(crate) waiting: u64,
}

/// How long things take is shown to people, and decides nothing.
#[expect(clippy::disallowed_methods, reason = "a program for show, with no lease time of its own")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

impl Board {
    pub(crate) async fn new(admin: Option<&leasehold_client::Endpoint>) -> anyhow::Result<Self> {
        let admin = match admin {
            Some(endpoint) => Some(AdministrationClient::new(connect(endpoint).await?)),
            None => None,
        };
        Ok(Self {
            is_terminal: io::stdout().is_terminal(),
            lines_drawn: 0,
            drawn_at: None,
            admin,
            rows: BTreeMap::new(),
            seated: BTreeMap::new(),
            touched: BTreeSet::new(),
            capacities: BTreeMap::new(),
        })
    }

    /// Whether it shows what the server says, rather than what the play knows.
    pub(crate) fn is_official(&self) -> bool {
        self.admin.is_some()
    }

    /// A lease was granted.
    pub(crate) fn seat(&mut self, guard: &LeaseGuard) {
        let lease = guard.lease();
        // A seat that was assigned is the assignment's, not the lease's: only the server counts those.
        self.touched.extend(lease.keys.iter().filter(|held| !held.pool.is_empty()).map(|held| held.pool.clone()));
        for (pool, holder, units) in seats(&lease) {
            self.touched.insert(pool.clone());
            self.seated.entry(pool).or_default().insert(holder, units);
        }
    }

    /// A lease is over, and its holder has no other.
    pub(crate) fn free(&mut self, lease: &Lease) {
        for (pool, holder, _) in seats(lease) {
            if let Some(holders) = self.seated.get_mut(&pool) {
                holders.remove(&holder);
            }
        }
    }

    /// A refusal tells more than that.
    pub(crate) fn learn(&mut self, error: &AcquireError) {
        if let AcquireError::Refused(refusal) = error
            && let (Some(pool), Some(capacity)) = (refusal.facts.get("pool"), refusal.facts.get("capacity"))
        {
            self.touched.insert(pool.clone());
            self.capacities.insert(pool.clone(), capacity.clone());
        }
    }

    /// How many hold a seat of this pool: by the server's count where it can be asked, else by the play's own.
    pub(crate) async fn in_use(&mut self, pool: &str) -> anyhow::Result<u64> {
        self.look().await?;
        Ok(self.rows.get(pool).map_or(0, |row| row.in_use))
    }

    /// Every pool's count, to compare the end with the beginning.
    pub(crate) async fn counts(&mut self) -> anyhow::Result<BTreeMap<String, u64>> {
        self.look().await?;
        Ok(self.rows.iter().map(|(pool, row)| (pool.clone(), row.in_use)).collect())
    }

    async fn look(&mut self) -> anyhow::Result<()> {
        if let Some(admin) = &mut self.admin {
            let pools = list_pools(admin).await?;
            self.rows = pools
                .into_iter()
                .map(|pool| {
                    let row = Row { capacity: pool.capacity, in_use: pool.in_use, waiting: pool.waiting };
                    (pool.name, row)
                })
                .collect();
        } else {
            self.rows = self
                .touched
                .iter()
                .filter(|pool| self.seated.contains_key(*pool))
                .map(|pool| {
                    let in_use = self.seated.get(pool).map_or(0, |holders| holders.values().sum());
                    let capacity = self.capacities.get(pool).cloned().unwrap_or_default();
                    (pool.clone(), Row { capacity, in_use, waiting: 0 })
                })
                .collect();
        }
        Ok(())
    }

    /// Says something, above the board.
    pub(crate) async fn say(&mut self, text: &str) -> anyhow::Result<()> {
        self.look().await?;
        let mut out = io::stdout().lock();
        self.erase(&mut out)?;
        writeln!(out, "{text}")?;
        self.draw(&mut out)?;
        Ok(())
    }

    /// Redraws the board, unless it was a moment ago. Elsewhere than on a terminal nothing is drawn.
    pub(crate) async fn refresh(&mut self) -> anyhow::Result<()> {
        if !self.is_terminal || self.drawn_at.is_some_and(|at| at.elapsed() < REDRAW_EVERY) {
            return Ok(());
        }
        self.look().await?;
        let mut out = io::stdout().lock();
        self.erase(&mut out)?;
        self.draw(&mut out)?;
        Ok(())
    }

    /// The board in plain lines, where it is not redrawn.
    pub(crate) async fn print(&mut self) -> anyhow::Result<()> {
        self.look().await?;
        if !self.is_terminal {
            let mut out = io::stdout().lock();
            for line in self.lines() {
                writeln!(out, "    {line}")?;
            }
        }
        Ok(())
    }

    fn erase(&mut self, out: &mut impl Write) -> io::Result<()> {
        if self.lines_drawn > 0 {
            // Up to its first line, and clear from there.
            write!(out, "\x1b[{}A\x1b[J", self.lines_drawn)?;
            self.lines_drawn = 0;
        }
        Ok(())
    }

    fn draw(&mut self, out: &mut impl Write) -> io::Result<()> {
        if self.is_terminal {
            let lines = self.lines();
            writeln!(out)?;
            for line in &lines {
                writeln!(out, "  {line}")?;
            }
            self.lines_drawn = lines.len() + 1;
            self.drawn_at = Some(now());
        }
        out.flush()
    }

    fn lines(&self) -> Vec<String> {
        let shown: Vec<_> = self.rows.iter().filter(|(pool, _)| self.touched.contains(*pool)).collect();
        let width = shown.iter().map(|(pool, _)| pool.chars().count()).max().unwrap_or_default();
        shown
            .into_iter()
            .map(|(pool, row)| {
                let of = match row.capacity.as_str() {
                    "" => String::new(),
                    capacity => format!(" of {capacity}"),
                };
                let waiting = if row.waiting > 0 { format!(", {} waiting", row.waiting) } else { String::new() };
                format!("{pool:width$}  {}  {:>4}{of}{waiting}", bar(row), row.in_use)
            })
            .collect()
    }
}

/// Asks again for a while: the play outlasts a restart of the server, and so does the board.
async fn list_pools(admin: &mut AdministrationClient<Channel>) -> Result<Vec<v1::Pool>, Status> {
    let mut tries_left = 50;
    loop {
        match admin.list_pools(v1::ListPoolsRequest::default()).await {
            Ok(response) => return Ok(response.into_inner().pools),
            Err(status) if tries_left == 0 => return Err(status),
            Err(_) => tries_left -= 1,
        }
        sleep(Duration::from_millis(100)).await;
    }
}

fn bar(row: &Row) -> String {
    let full = match row.capacity.parse::<u64>() {
        Ok(capacity) if capacity > 0 => (row.in_use.min(capacity) * BAR_WIDTH).div_ceil(capacity),
        // Unlimited or not known: a seat is a mark.
        _ => row.in_use.min(BAR_WIDTH),
    };
    (0..BAR_WIDTH).map(|at| if at < full { '#' } else { '.' }).collect()
}

/// The pool, the holder and the units of each seat that a lease takes itself.
fn seats(lease: &Lease) -> impl Iterator<Item = (String, String, u64)> + '_ {
    lease.keys.iter().filter(|held| held.units > 0).map(|held| {
        let holder = match held.source {
            KeySource::Units => format!("lease {}", lease.id),
            // One seat for all leases of a user (ALLOC-7).
            _ if lease.user.is_empty() => format!("station {}", lease.station),
            _ => format!("user {}", lease.user),
        };
        (held.pool.clone(), holder, u64::from(held.units))
    })
}
