//! Application servers: they ask, renew, retry, release, crash, hang and lie. What they know, they know from answers that
//! reached them.

use leasehold_engine::{command::CallerInfo, ids::LeaseId};

use super::{
    asked::{Asked, At, What, identity},
    chance::Chance,
    oracle::Oracle,
    tally::Kind,
    vendor::{AGENT, CLIENT, Key, SESSION, SPEECH, SUPER, TRACKER, TRUNK},
};

/// What goes up to the daemon.
#[derive(Clone, Debug)]
pub(crate) enum Up {
    Attach { run: u128 },
    Beat,
    Acquire { ask: usize, lie: bool },
    Release { leases: Vec<u64>, by: Vec<usize>, request: Option<u64>, unary: bool },
    Renew { leases: Vec<u64> },
    Idle { leases: Vec<u64>, idle: bool },
    TakeOver { leases: Vec<u64> },
    Received { asks: Vec<usize> },
    Cancel { ask: usize },
}

/// What comes down.
#[derive(Clone, Debug)]
pub(crate) enum Down {
    Attached { leases: Vec<u64>, predecessor: Vec<u64> },
    Granted { ask: usize, lease: u64, ended: bool },
    Waiting { ask: usize },
    Refused { ask: usize, for_good: bool },
    Over { leases: Vec<u64> },
    Cut,
}

/// A message on its way.
#[derive(Clone, Debug)]
pub(crate) struct Letter<T> {
    pub(crate) app: usize,
    /// The connection; 0 for calls of their own.
    pub(crate) conn: u32,
    pub(crate) run: u128,
    pub(crate) sent_ms: u64,
    pub(crate) what: T,
}

/// One application server.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) number: usize,
    pub(crate) identity: u8,
    pub(crate) instance: u8,
    pub(crate) caller: CallerInfo,
    pub(crate) run: u128,
    /// Its connection; 0: none.
    pub(crate) conn: u32,
    pub(crate) attached: bool,
    pub(crate) hangs_until: u64,
    /// Leases that it knows to be its own.
    pub(crate) leases: Vec<(u64, usize)>,
    /// Leases that it had, and that it may lie about.
    pub(crate) had: Vec<u64>,
    pub(crate) pending: Vec<usize>,
    pub(crate) waiting: Vec<usize>,
    pub(crate) to_acknowledge: Vec<usize>,
    pub(crate) inherits: Vec<u64>,
    releases: u64,
}

/// How the servers of a seed behave.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manners {
    pub(crate) users: usize,
    pub(crate) stations: usize,
    /// Of requests, so many in a hundred wait.
    pub(crate) wait: u64,
    pub(crate) unary: u64,
    pub(crate) lies: u64,
}

const TTLS_MS: [u64; 6] = [10_000, 10_000, 20_000, 60_000, 600_000, 86_400_000];

impl App {
    pub(crate) fn new(number: usize) -> Self {
        // Two share each identity, as instances of it.
        let (of, instance) = ((number / 2) as u8, (number % 2) as u8);
        let caller = CallerInfo {
            identity: identity(of),
            instance: format!("instance-{instance}"),
            application: format!("application-{}", number % 3).parse().expect("a label"),
            version: None,
            host: "host".into(),
        };
        Self {
            number,
            identity: of,
            instance,
            caller,
            run: (number as u128 + 1) << 64,
            conn: 0,
            attached: false,
            hangs_until: 0,
            leases: Vec::new(),
            had: Vec::new(),
            pending: Vec::new(),
            waiting: Vec::new(),
            to_acknowledge: Vec::new(),
            inherits: Vec::new(),
            releases: 0,
        }
    }

    /// The process is gone, and another one starts in its place.
    pub(crate) fn crash(&mut self) {
        self.run += 1;
        self.conn = 0;
        self.attached = false;
        for (lease, _) in self.leases.drain(..) {
            self.had.push(lease);
        }
        self.pending.clear();
        self.waiting.clear();
        self.to_acknowledge.clear();
        self.inherits.clear();
    }

    fn letter(&self, now_ms: u64, unary: bool, what: Up) -> Letter<Up> {
        let conn = if unary { 0 } else { self.conn };
        Letter { app: self.number, conn, run: self.run, sent_ms: now_ms, what }
    }

    /// It does something; what it sends.
    pub(crate) fn act(
        &mut self,
        chance: &mut Chance,
        manners: &Manners,
        now_ms: u64,
        last_conn: &mut u32,
        oracle: &mut Oracle,
        foreign: &[u64],
    ) -> Option<Letter<Up>> {
        if self.conn == 0 {
            *last_conn += 1;
            self.conn = *last_conn;
            self.attached = false;
            return Some(self.letter(now_ms, false, Up::Attach { run: self.run }));
        }
        if !self.attached && chance.percent(20) {
            // The answer may be lost: the same run says hello again.
            return Some(self.letter(now_ms, false, Up::Attach { run: self.run }));
        }
        let roll = chance.below(100);
        let what = match roll {
            0..=19 => Up::Beat,
            20..=49 => return self.asks(chance, manners, now_ms, oracle),
            50..=66 => self.releases(chance, manners)?,
            67..=76 => return self.retries(chance, now_ms, oracle),
            77..=81 => {
                let asks: Vec<usize> = self.to_acknowledge.drain(..).collect();
                Up::Received { asks }
            }
            82..=86 => {
                let leases = self.some_leases(chance)?;
                let unary = chance.percent(50);
                return Some(self.letter(now_ms, unary, Up::Renew { leases }));
            }
            87..=88 => Up::Idle { leases: self.some_leases(chance)?, idle: chance.percent(70) },
            89..=90 => {
                let ask = *self.waiting.first()?;
                Up::Cancel { ask }
            }
            91..=93 if !self.inherits.is_empty() => {
                let leases = if chance.percent(60) { Vec::new() } else { self.inherits.clone() };
                Up::TakeOver { leases }
            }
            94..=99 if chance.percent(manners.lies) => return self.lies(chance, now_ms, oracle, foreign),
            _ => Up::Beat,
        };
        let unary = matches!(what, Up::Release { unary: true, .. });
        Some(self.letter(now_ms, unary, what))
    }

    fn some_leases(&mut self, chance: &mut Chance) -> Option<Vec<u64>> {
        if self.leases.is_empty() {
            return None;
        }
        let one = self.leases[chance.index(self.leases.len())].0;
        Some(if chance.percent(70) { vec![one] } else { self.leases.iter().map(|(lease, _)| *lease).collect() })
    }

    fn asks(&mut self, chance: &mut Chance, manners: &Manners, now_ms: u64, oracle: &mut Oracle) -> Option<Letter<Up>> {
        let mut needed: Vec<Key> = Vec::new();
        let what = match chance.below(10) {
            0..=5 => {
                let at = match chance.below(10) {
                    0..=5 => At::Nowhere,
                    6..=8 => At::Station(chance.index(manners.stations)),
                    _ => At::Number,
                };
                let computer = chance.percent(60).then(|| chance.index(3));
                if chance.percent(65) {
                    needed.push(chance.pick(&[CLIENT, TRACKER, AGENT, SUPER]));
                }
                if chance.percent(15) {
                    needed.push(chance.pick(&[CLIENT, TRACKER]));
                }
                What::Logon { user: chance.index(manners.users), at, computer }
            }
            6 => {
                if chance.percent(50) {
                    needed.push(chance.pick(&[CLIENT, TRACKER]));
                }
                What::Station(chance.index(manners.stations))
            }
            _ => {
                let key = chance.pick(&[SESSION, SESSION, TRUNK, SPEECH]);
                What::Units { key, units: u32::try_from(chance.between(1, 3)).unwrap_or(1) }
            }
        };
        let waits = chance.percent(manners.wait);
        let unary = chance.percent(manners.unary);
        let ask = oracle.asked.len();
        oracle.asked.push(Asked {
            app: self.number,
            identity: self.identity,
            unary,
            what,
            needed,
            ttl_ms: chance.pick(&TTLS_MS),
            wait_ms: if waits { chance.pick(&[1_000, 15_000, 60_000, 600_000]) } else { 0 },
            priority: u8::try_from(chance.below(3)).unwrap_or(0),
            reused: false,
            received: false,
            release_asked: false,
            first_submitted: 0,
            waits: None,
            perhaps_waits: false,
            cancelled: false,
            last_refused: 0,
            lease: None,
            forgotten: false,
        });
        self.pending.push(ask);
        Some(self.letter(now_ms, unary, Up::Acquire { ask, lie: false }))
    }

    fn releases(&mut self, chance: &mut Chance, manners: &Manners) -> Option<Up> {
        self.releases += 1;
        let request = chance.percent(50).then_some(self.releases);
        let unary = chance.percent(manners.unary);
        if chance.percent(15) {
            // By its request, whose answer may not have come (LEASE-14).
            let ask = self.pending.last().copied().or_else(|| self.leases.last().map(|(_, ask)| *ask))?;
            self.pending.retain(|other| *other != ask);
            self.waiting.retain(|other| *other != ask);
            return Some(Up::Release { leases: Vec::new(), by: vec![ask], request, unary });
        }
        if self.leases.is_empty() {
            return None;
        }
        let at = chance.index(self.leases.len());
        let (lease, _) = self.leases.remove(at);
        self.had.push(lease);
        let mut leases = vec![lease];
        if chance.percent(10) {
            leases.extend(self.leases.drain(..).map(|(lease, _)| lease));
        }
        Some(Up::Release { leases, by: Vec::new(), request, unary })
    }

    fn retries(&mut self, chance: &mut Chance, now_ms: u64, oracle: &mut Oracle) -> Option<Letter<Up>> {
        if self.pending.is_empty() {
            return None;
        }
        let ask = self.pending[chance.index(self.pending.len())];
        oracle.tally.happened(Kind::Retried);
        let unary = oracle.asked[ask].unary;
        Some(self.letter(now_ms, unary, Up::Acquire { ask, lie: false }))
    }

    /// Claims what is not its own, or not any more.
    fn lies(&mut self, chance: &mut Chance, now_ms: u64, oracle: &mut Oracle, foreign: &[u64]) -> Option<Letter<Up>> {
        let roll = chance.below(3);
        if roll == 0 {
            let ask = self.pending.last().copied().or_else(|| self.leases.last().map(|(_, ask)| *ask))?;
            oracle.tally.happened(Kind::Reused);
            oracle.asked[ask].reused = true;
            let unary = oracle.asked[ask].unary;
            return Some(self.letter(now_ms, unary, Up::Acquire { ask, lie: true }));
        }
        let (kind, from) = if roll == 1 { (Kind::Foreign, foreign) } else { (Kind::Stale, &self.had[..]) };
        if from.is_empty() {
            return None;
        }
        let lease = from[chance.index(from.len())];
        oracle.tally.happened(kind);
        let unary = chance.percent(50);
        let leases = vec![lease];
        let what = match chance.below(3) {
            0 => Up::Renew { leases },
            1 => Up::Idle { leases, idle: true },
            _ => Up::Release { leases, by: Vec::new(), request: None, unary },
        };
        let unary = unary && !matches!(what, Up::Idle { .. });
        Some(self.letter(now_ms, unary, what))
    }

    /// Something has come down to it.
    pub(crate) fn hears(&mut self, what: Down) {
        match what {
            Down::Attached { leases, predecessor } => {
                self.attached = true;
                let kept: Vec<(u64, usize)> = std::mem::take(&mut self.leases);
                for (lease, ask) in kept {
                    // Leases of its own calls are not the run's.
                    if leases.contains(&lease) { self.leases.push((lease, ask)) } else { self.had.push(lease) }
                }
                self.inherits = predecessor;
            }
            Down::Granted { ask, lease, ended } => {
                if self.pending.contains(&ask) {
                    self.pending.retain(|other| *other != ask);
                    self.waiting.retain(|other| *other != ask);
                    self.to_acknowledge.push(ask);
                    if ended { self.had.push(lease) } else { self.leases.push((lease, ask)) }
                }
            }
            Down::Waiting { ask } => {
                if self.pending.contains(&ask) && !self.waiting.contains(&ask) {
                    self.waiting.push(ask);
                }
            }
            Down::Refused { ask, for_good } => {
                self.waiting.retain(|other| *other != ask);
                if for_good {
                    self.pending.retain(|other| *other != ask);
                }
            }
            Down::Over { leases } => {
                self.leases.retain(|(lease, _)| !leases.contains(lease));
                self.had.extend(leases);
            }
            Down::Cut => {
                self.conn = 0;
                self.attached = false;
                self.waiting.clear();
            }
        }
        if self.had.len() > 16 {
            self.had.drain(..8);
        }
        if self.pending.len() > 12 {
            self.pending.drain(..6);
        }
    }
}

pub(crate) fn lease_ids(leases: &[u64]) -> Vec<LeaseId> {
    leases.iter().map(|id| LeaseId(*id)).collect()
}
