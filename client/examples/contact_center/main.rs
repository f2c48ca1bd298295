//! A day at a contact center, played on a license server in some twenty seconds.
//!
//! Start the server with `cargo run --release --bin leaseholdd -- dev`, and in another terminal:
//!
//! ```text
//! cargo run --release -p leasehold-client --example contact_center
//! ```
//!
//! Stations are switched on, managers and agents log on, the pool of concurrent seats runs out in a logon storm, an
//! agent moves to a second computer, one waits and gets the seat that another frees, and everybody goes home. Each
//! scene says what must hold and fails the play where it does not. With `--admin unix:///…` the board shows the
//! server's own counts. It needs the sample site of `leaseholdd dev`, with nobody else logged on.

mod board;

use std::{collections::BTreeMap, process::ExitCode, time::Duration};

use anyhow::{Context, bail, ensure};
use board::{Board, now};
use clap::Parser;
use leasehold_client::{
    AcquireError, Client, ClientEvent, Connection, Endpoint, LeaseGuard, LeaseState, Logon, StationUse, Units, reason,
};
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};

const CLIENT_KEY: &str = "I3_ACCESS_CLIENT";
const CLIENT_POOL: &str = "I3_ACCESS_CLIENT_CONCURRENT";
/// Keys that let an application connect for a purpose, in units.
const SESSION_KIND: &str = "session";
const STATIONS: u32 = 39;
const REMOTE_STATION: &str = "remote-01";
const MANAGERS: u32 = 5;
const EARLY_AGENTS: u32 = 10;
const AGENTS: u32 = 60;
const SEATS: usize = 25;
const SESSION_UNITS: u32 = 4;
/// What happens at once happens within this, on a machine that is busy with other things too.
const AT_ONCE: Duration = Duration::from_secs(10);

/// Plays a day at a contact center on a license server.
#[derive(Debug, Parser)]
struct Arguments {
    /// A license server; may be given several times, best first.
    #[arg(
        long,
        value_name = "URL",
        env = "LEASEHOLD_SERVER",
        value_delimiter = ',',
        default_value = "http://127.0.0.1:7127"
    )]
    server: Vec<Endpoint>,
    /// The server's Unix socket, to show its own counts of seats.
    #[arg(long, value_name = "URL")]
    admin: Option<Endpoint>,
    /// Without pauses.
    #[arg(long)]
    fast: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    match play(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("The play failed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn play(arguments: Arguments) -> anyhow::Result<()> {
    let begun = now();
    let client = Client::builder()
        .servers(arguments.server)
        .name("contact-center-play")
        .application("Contact Center Play")
        .connect()
        .await
        .context("is the server running? Start it with `cargo run --release --bin leaseholdd -- dev`")?;
    let board = Board::new(arguments.admin.as_ref()).await.context("the board cannot be shown")?;
    let mut day = Day {
        client: client.clone(),
        board,
        is_fast: arguments.fast,
        stations: Vec::new(),
        managers: Vec::new(),
        agents: BTreeMap::new(),
        units: Vec::new(),
        granted: 0,
        refused: 0,
    };
    let outcome = tokio::select! {
        outcome = day.run() => outcome,
        _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("it was interrupted")),
    };
    // Whatever happened, nobody stays logged on.
    let closed = client.shutdown().await;
    outcome?;
    closed?;
    println!(
        "\nThe play is over: {} leases granted, {} refused, none left behind, in {:.1} s. Every expectation held.",
        day.granted,
        day.refused,
        begun.elapsed().as_secs_f64()
    );
    Ok(())
}

/// The day: who is logged on, and what was counted.
struct Day {
    client: Client,
    board: Board,
    is_fast: bool,
    stations: Vec<LeaseGuard>,
    managers: Vec<LeaseGuard>,
    agents: BTreeMap<String, LeaseGuard>,
    units: Vec<LeaseGuard>,
    granted: usize,
    refused: usize,
}

impl Day {
    async fn run(&mut self) -> anyhow::Result<()> {
        self.introduce().await?;
        let before = self.board.counts().await?;
        self.switch_stations_on().await?;
        self.managers_log_on().await?;
        self.early_agents_log_on().await?;
        self.take_session_units().await?;
        let turned_away = self.logon_storm().await?;
        self.second_computer().await?;
        self.wait_for_a_seat(turned_away).await?;
        self.everybody_goes_home(&before).await
    }

    async fn introduce(&mut self) -> anyhow::Result<()> {
        let connection = self.client.connection().borrow().clone();
        let Connection::Attached { server, installation_id } = connection else {
            bail!("the server went away: {connection:?}");
        };
        let mut site_keys = self.client.site_keys();
        let licensed = timeout(AT_ONCE, site_keys.wait_for(|keys| keys.known))
            .await
            .context("the server does not say which keys the site has")??
            .keys
            .values()
            .filter(|key| key.licensed)
            .count();
        let seen = if self.board.is_official() { "the server's counts" } else { "what this play holds" };
        self.board
            .say(&format!(
                "Attached to {server} (installation {installation_id}); the site has {licensed} site-wide keys. The \
                 board shows {seen}."
            ))
            .await?;
        self.pause(1_000).await;
        Ok(())
    }

    async fn switch_stations_on(&mut self) -> anyhow::Result<()> {
        let mut switching = JoinSet::new();
        for number in 1..=STATIONS {
            let client = self.client.clone();
            switching.spawn(async move { client.acquire(StationUse::of(station(number))).await });
        }
        while let Some(outcome) = switching.join_next().await {
            let guard = outcome?.context("a station with its own key must always be usable")?;
            self.keep(&guard);
            self.stations.push(guard);
            self.board.refresh().await?;
        }
        self.scene(&format!("{STATIONS} stations are switched on: assignable seats, taken when they were configured."))
            .await
    }

    async fn managers_log_on(&mut self) -> anyhow::Result<()> {
        for number in 1..=MANAGERS {
            let user = format!("manager-{number:02}");
            let mut logon = Logon::user(&user).computer(format!("PC-M{number}")).needing([CLIENT_KEY]);
            if number == MANAGERS {
                // From home, with all calls to one fixed number (STATION-3).
                logon = logon.station(REMOTE_STATION);
            }
            let guard = self
                .client
                .acquire(logon)
                .await
                .with_context(|| format!("{user} has a seat of their own and must always be able to log on"))?;
            ensure!(guard.lease().holds(CLIENT_KEY), "{user} logged on without {CLIENT_KEY}");
            self.keep(&guard);
            self.managers.push(guard);
            self.board.refresh().await?;
            self.pause(150).await;
        }
        self.scene(&format!(
            "{MANAGERS} managers are logged on, one from home at {REMOTE_STATION}: assignable seats of their own."
        ))
        .await
    }

    async fn early_agents_log_on(&mut self) -> anyhow::Result<()> {
        for number in 1..=EARLY_AGENTS {
            let guard = self
                .client
                .acquire(agent_logon(number))
                .await
                .with_context(|| format!("{} finds no seat though {SEATS} were free", agent(number)))?;
            self.keep(&guard);
            self.agents.insert(agent(number), guard);
            self.board.refresh().await?;
            self.pause(250).await;
        }
        self.scene(&format!("{EARLY_AGENTS} early agents are logged on: concurrent seats, one for each of their keys."))
            .await
    }

    async fn take_session_units(&mut self) -> anyhow::Result<()> {
        let key = {
            let site_keys = self.client.site_keys();
            let known = site_keys.borrow();
            known
                .keys
                .iter()
                .find(|(_, key)| key.kind == SESSION_KIND && key.licensed)
                .map(|(name, key)| (name.clone(), key.units.clone()))
        };
        let Some((key, bought)) = key else { bail!("the site has no session key") };
        let guard = self
            .client
            .acquire(Units::of(&key, SESSION_UNITS))
            .await
            .with_context(|| format!("{SESSION_UNITS} units of {key} must be free, of {bought}"))?;
        let taken: u32 = guard.lease().keys.iter().filter(|held| held.key == key).map(|held| held.units).sum();
        ensure!(taken == SESSION_UNITS, "{taken} units of {key} were taken, not {SESSION_UNITS}");
        self.keep(&guard);
        self.units.push(guard);
        // All or nothing: with some taken, all of them are one too many.
        if let Ok(all) = bought.parse::<u32>() {
            let outcome = self.client.acquire(Units::of(&key, all)).await;
            self.expect_exhausted(outcome, &format!("all {all} units of {key}"))?;
        }
        self.scene(&format!("The play itself took {SESSION_UNITS} units of {key}, of {bought}: all or nothing.")).await
    }

    /// Everybody else at once. Returns the agents that found no seat.
    async fn logon_storm(&mut self) -> anyhow::Result<Vec<u32>> {
        let begun = now();
        let mut storm = JoinSet::new();
        for number in EARLY_AGENTS + 1..=AGENTS {
            let client = self.client.clone();
            storm.spawn(async move { (number, client.acquire(agent_logon(number)).await) });
        }
        let mut turned_away = Vec::new();
        let mut words = String::new();
        while let Some(outcome) = storm.join_next().await {
            match outcome? {
                (number, Ok(guard)) => {
                    self.keep(&guard);
                    self.agents.insert(agent(number), guard);
                }
                (number, outcome) => {
                    words = self.expect_exhausted(outcome, &agent(number))?;
                    turned_away.push(number);
                }
            }
            self.board.refresh().await?;
        }
        let took = begun.elapsed();
        ensure!(
            self.agents.len() == SEATS,
            "{} agents have a seat, not {SEATS}: is somebody else logged on? {words}",
            self.agents.len()
        );
        let in_use = self.board.in_use(CLIENT_POOL).await?;
        ensure!(in_use == SEATS as u64, "{in_use} seats of {CLIENT_POOL} are in use, not {SEATS}");
        turned_away.sort_unstable();
        self.scene(&format!(
            "A storm of {} logons in {:.0} ms: {SEATS} agents sit, {} were turned away, each being told:\n    {words}",
            AGENTS - EARLY_AGENTS,
            took.as_secs_f64() * 1_000.0,
            turned_away.len()
        ))
        .await?;
        Ok(turned_away)
    }

    /// The pool is full, and still an agent may move: the seat passes on (ALLOC-8).
    async fn second_computer(&mut self) -> anyhow::Result<()> {
        let user = agent(1);
        let first = self.agents.remove(&user).context("the first agent is logged on")?;
        let moving = Logon::user(&user).computer("PC-SECOND").needing([CLIENT_KEY]);
        let second = self
            .client
            .acquire(moving)
            .await
            .with_context(|| format!("{user} must be able to move to a second computer"))?;
        let ended = timeout(AT_ONCE, first.ended())
            .await
            .with_context(|| format!("{user}'s lease at the first computer has not ended"))?;
        ensure!(
            ended.reason == reason::LOGGED_ON_ELSEWHERE,
            "{user}'s lease at the first computer ended for another reason: {ended}"
        );
        ensure!(second.id() > first.id(), "the later grant {} has the lower number", second.id());
        ensure!(second.state() == LeaseState::Confirmed, "{user}'s new lease is not confirmed");
        self.board.free(&first.lease());
        self.keep(&second);
        self.agents.insert(user.clone(), second);
        let in_use = self.board.in_use(CLIENT_POOL).await?;
        ensure!(in_use == SEATS as u64, "{in_use} seats of {CLIENT_POOL} are in use after the move, not {SEATS}");
        self.scene(&format!(
            "{user} moved to a second computer though the pool is full. The first was told:\n    {ended}"
        ))
        .await
    }

    /// One waits; another logs off; the seat goes to the one who waits.
    async fn wait_for_a_seat(&mut self, turned_away: Vec<u32>) -> anyhow::Result<()> {
        let number = *turned_away.first().context("somebody was turned away")?;
        let user = agent(number);
        let mut events = self.client.events();
        let waiting = tokio::spawn({
            let client = self.client.clone();
            async move { client.acquire(agent_logon(number).wait(Duration::from_secs(60))).await }
        });
        let position = timeout(AT_ONCE, async {
            loop {
                match events.next().await {
                    Some(ClientEvent::Waiting { subject, position, .. }) if *subject == *user => break Some(position),
                    Some(_) => {}
                    None => break None,
                }
            }
        })
        .await
        .with_context(|| format!("{user} was not told of a place in the queue"))?
        .context("the client has ended")?;
        ensure!(position == 1, "{user} is at place {position} of an empty queue");
        self.board.say(&format!("{user} waits for a seat, at place {position}.")).await?;
        self.pause(2_000).await;
        ensure!(!waiting.is_finished(), "{user} got a seat though none was free");

        let leaver = agent(2);
        let guard = self.agents.remove(&leaver).context("the second agent is logged on")?;
        let lease = guard.lease();
        guard.release().await.with_context(|| format!("{leaver} cannot log off"))?;
        self.board.free(&lease);
        let seated = timeout(AT_ONCE, waiting)
            .await
            .with_context(|| format!("{user} still waits though {leaver} logged off"))??
            .with_context(|| format!("{user} waited and got no seat"))?;
        self.keep(&seated);
        self.agents.insert(user.clone(), seated);
        let in_use = self.board.in_use(CLIENT_POOL).await?;
        ensure!(in_use == SEATS as u64, "{in_use} seats of {CLIENT_POOL} are in use after the exchange, not {SEATS}");
        self.scene(&format!("{leaver} logged off, and {user} has the seat at once.")).await
    }

    async fn everybody_goes_home(&mut self, before: &BTreeMap<String, u64>) -> anyhow::Result<()> {
        self.board.say("Everybody goes home.").await?;
        while let Some((user, guard)) = self.agents.pop_first() {
            let lease = guard.lease();
            guard.release().await.with_context(|| format!("{user} cannot log off"))?;
            self.board.free(&lease);
            self.board.refresh().await?;
            self.pause(80).await;
        }
        // The rest just goes: dropped guards give their leases back too, and the shutdown waits for it.
        let rest: Vec<LeaseGuard> =
            self.managers.drain(..).chain(self.stations.drain(..)).chain(self.units.drain(..)).collect();
        for guard in rest {
            self.board.free(&guard.lease());
        }
        self.client.shutdown().await?;
        let after = self.board.counts().await?;
        if self.board.is_official() {
            ensure!(after == *before, "the server's counts have not gone back: {before:?} before, {after:?} now");
        } else {
            ensure!(after.values().all(|in_use| *in_use == 0), "seats are left: {after:?}");
        }
        self.scene("All seats are free again.").await
    }

    // ---- stagecraft

    fn keep(&mut self, guard: &LeaseGuard) {
        self.granted += 1;
        self.board.seat(guard);
    }

    /// What was asked for must have been refused for want of seats; returns the server's words.
    fn expect_exhausted(&mut self, outcome: Result<LeaseGuard, AcquireError>, what: &str) -> anyhow::Result<String> {
        match outcome {
            Err(AcquireError::Refused(refusal)) if refusal.reason == reason::POOL_EXHAUSTED => {
                ensure!(!refusal.message.is_empty(), "{what} was refused without a word");
                self.refused += 1;
                self.board.learn(&AcquireError::Refused(refusal.clone()));
                Ok(refusal.message)
            }
            Err(error) => Err(error).with_context(|| format!("{what} must be refused as POOL_EXHAUSTED")),
            Ok(guard) => bail!("{what} must be refused, and got lease {}", guard.id()),
        }
    }

    async fn scene(&mut self, text: &str) -> anyhow::Result<()> {
        self.board.say(text).await?;
        self.board.print().await?;
        self.pause(1_500).await;
        Ok(())
    }

    async fn pause(&self, ms: u64) {
        if !self.is_fast {
            sleep(Duration::from_millis(ms)).await;
        }
    }
}

fn agent(number: u32) -> String {
    format!("agent-{number:03}")
}

fn station(number: u32) -> String {
    format!("station-{number:03}")
}

/// An agent at a computer of their own, and at a station while there are stations.
fn agent_logon(number: u32) -> Logon {
    let logon = Logon::user(agent(number)).computer(format!("PC-{number:03}")).needing([CLIENT_KEY]);
    if number <= STATIONS { logon.station(station(number)) } else { logon }
}
