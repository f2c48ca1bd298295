//! Who takes part in the play: an application server that holds calls and a manager's seat, beats as it should, writes down
//! what it is told, and tries at each stage what still goes.

use leasehold_engine::{
    command::{Acquire, Ask, Attach, CallerInfo, Command, Origin, Place, Release},
    decision::{LeaseView, Reply, Told},
    ids::{HolderId, Identity, LeaseId, RequestId, RunId, Ticket},
};

use crate::{
    core::{Core, EventReceiver, Refused},
    dev::{
        DevFault,
        sample::{CALLS, CLIENT, SUPERVISOR, user_name},
        vendor::label,
    },
};

/// What the application server calls itself.
pub(super) const NAME: &str = "acd-1";
/// Calls that are held throughout.
pub(super) const CALLS_HELD: u32 = 3;
/// More of them that are tried at each stage.
pub(super) const CALLS_TRIED: u32 = 5;
/// The longest time to live that there is: days go by between two beats.
const TTL_MS: u64 = 86_400_000;

/// The application server and what it holds.
pub(super) struct Cast {
    core: Core,
    holder: HolderId,
    events: Option<EventReceiver>,
    /// The lease with the call ports.
    pub(super) calls: LeaseId,
    /// The manager's seat, with the supervisor key.
    pub(super) seat: LeaseId,
    /// Beats that were answered.
    pub(super) beats: u64,
}

/// What came of a try.
pub(super) struct Tried {
    /// What was tried, for people.
    pub(super) what: String,
    /// Granted (and given back), or why not.
    pub(super) result: Result<(), String>,
}

impl Cast {
    /// Attaches, makes the calls, and logs the manager on.
    pub(super) async fn enter(core: &Core) -> Result<Self, DevFault> {
        let caller = CallerInfo {
            identity: Identity::Name(label(NAME)),
            instance: String::new(),
            application: label("the play"),
            version: None,
            host: String::new(),
        };
        let run = RunId(*uuid::Uuid::new_v4().as_bytes());
        let Reply::Attached { holder, .. } = core.submit(Command::Attach(Attach { caller, run })).await? else {
            return Err(DevFault::Play(format!("{NAME} cannot attach")));
        };
        let events = Some(core.subscribe(holder));
        let mut cast = Self { core: core.clone(), holder, events, calls: LeaseId(0), seat: LeaseId(0), beats: 0 };
        cast.calls = cast.acquire(ports(CALLS_HELD)).await?.id;
        cast.seat = cast.acquire(logon("manager", 1, &[CLIENT])).await?.id;
        Ok(cast)
    }

    async fn acquire(&self, ask: Ask) -> Result<LeaseView, Refused> {
        let acquire = Acquire {
            from: Origin::Stream(self.holder),
            request: RequestId(*uuid::Uuid::new_v4().as_bytes()),
            ask,
            ttl_ms: TTL_MS,
            wait_ms: 0,
            priority: 0,
            // The core fills it in.
            ticket: Ticket(0),
        };
        self.core.acquire(acquire).await
    }

    /// Renews everything.
    pub(super) async fn beat(&mut self) -> Result<(), DevFault> {
        self.core.submit(Command::Beat(self.holder)).await?;
        self.beats += 1;
        Ok(())
    }

    /// What it was told since it was last asked, in plain words.
    pub(super) fn told(&mut self) -> Result<Vec<String>, DevFault> {
        let mut told = Vec::new();
        if let Some(events) = &mut self.events {
            events.try_recv(&mut told).map_err(|_| DevFault::Play(format!("{NAME} was cut off")))?;
        }
        Ok(told.iter().filter_map(|told| self.words(told)).collect())
    }

    fn words(&self, told: &Told) -> Option<String> {
        let whose = |lease: LeaseId| match lease {
            lease if lease == self.calls => "the calls'".to_owned(),
            lease if lease == self.seat => format!("{}'s", user_name("manager", 1)),
            lease => format!("{lease}:"),
        };
        let list = |keys: &[_]| keys.iter().map(ToString::to_string).collect::<Vec<String>>().join(", ");
        match told {
            Told::Standing(standing) => Some(standing.message()),
            Told::Changed { lease, added, removed } => {
                let mut words = format!("{} lease", whose(lease.id));
                for (what, keys) in [("loses", removed), ("has again", added)] {
                    if !keys.is_empty() {
                        words.push_str(&format!(" {what} {}", list(keys)));
                    }
                }
                Some(words + ".")
            }
            Told::Ended { lease, reason, .. } => {
                Some(format!("{} lease has ended ({}): {}.", whose(*lease), reason.as_str(), reason.message()))
            }
            Told::Warned { lease, reason, ends_in_ms } => Some(format!(
                "{} lease ends in {} at the latest ({}).",
                whose(*lease),
                leasehold_engine::words::duration(*ends_in_ms),
                reason.as_str()
            )),
            Told::SiteKeysChanged => None,
        }
    }

    /// Tries what an ordinary day brings, and gives back what it gets.
    pub(super) async fn tries(&self) -> Result<Vec<Tried>, DevFault> {
        let (supervisor, agent) = (user_name("manager", 2), user_name("agent", 1));
        let asks = [
            (format!("{agent} logs on"), logon("agent", 1, &[CLIENT])),
            (format!("{supervisor} logs on as a supervisor"), logon("manager", 2, &[CLIENT, SUPERVISOR])),
            (format!("{CALLS_TRIED} more calls"), ports(CALLS_TRIED)),
        ];
        let mut tries = Vec::new();
        for (what, ask) in asks {
            let result = match self.acquire(ask).await {
                Ok(lease) => {
                    let request = Some(RequestId(*uuid::Uuid::new_v4().as_bytes()));
                    let (from, leases) = (Origin::Stream(self.holder), vec![lease.id]);
                    let release = Release { from, request, leases, acquired_by: Vec::new() };
                    self.core.submit(Command::Release(release)).await?;
                    Ok(())
                }
                Err(Refused::Rule(refusal)) => Err(refusal.message()),
                Err(other) => return Err(other.into()),
            };
            tries.push(Tried { what, result });
        }
        Ok(tries)
    }

    /// Its two leases as they are: the calls, the seat.
    pub(super) async fn leases(&self) -> Result<[Option<LeaseView>; 2], DevFault> {
        let (holder, ids) = (self.holder, [self.calls, self.seat]);
        let views = self.core.read(move |engine, now| engine.leases_of_run(now, holder, &ids)).await?;
        let of = |id: LeaseId| views.iter().find(|view| view.id == id && view.ended.is_none()).cloned();
        Ok([of(self.calls), of(self.seat)])
    }
}

impl Drop for Cast {
    fn drop(&mut self) {
        if let Some(events) = self.events.take() {
            self.core.detach(events);
        }
    }
}

fn ports(units: u32) -> Ask {
    Ask::Units { key: label(CALLS), units }
}

fn logon(kind: &str, number: u32, needed: &[&str]) -> Ask {
    Ask::Logon {
        user: user_name(kind, number),
        place: Place::None,
        computer: None,
        needed: needed.iter().map(|key| label(key)).collect(),
        application: None,
    }
}
