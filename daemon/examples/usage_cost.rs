//! What usage costs: processor time per grant over the whole commit path, with usage collected and without, in turns so that
//! what else happens on the machine meets both. `cargo run --release -p leaseholdd --example usage_cost -- [ROUNDS] [GRANTS]
//! [IN_FLIGHT] [ONE]`.
//! ONE: only without (1) or only with (2), for a profiler. It judges nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
};

use leasehold_engine::{
    Limits,
    command::{
        Acquire, Act, Ask, Assign, Attach, CallerInfo, Command, Entity, EntityName, FolderFile, HostFinding, Origin,
        Place, Release,
    },
    decision::Reply,
    ids::{HolderId, Identity as CallerIdentity, RequestId, RunId, Ticket},
};
use leasehold_keys::{
    activation::{Activation, FileKind, Grant, HostLine, HostRole, Level, LicenseId, Model, Units},
    dev::DevLicensor,
    host::{HostFacts, HostId},
    name::{Label, Method},
    time::WallTime,
};
use leaseholdd::{
    clock::Clock,
    core::{Answer, Bounds, Core, Ended, Phase, ReplyReceiver, ReplySender, Restored, replies, restore},
    identity::Identity,
    storage::StateDir,
    usage::{Ground, NamesSetting, Settings, Usage},
};
use licensor::catalog::Catalog;

const CLIENT: &str = "I3_ACCESS_CLIENT";
const USERS: usize = 2_000;

/// A server with users, and a stream to it.
struct Server {
    core: Core,
    ended: Ended,
    usage: Usage,
    _state: StateDir,
    holder: HolderId,
    to: ReplySender,
    from: ReplyReceiver,
    users: Vec<Label>,
    request: u128,
}

fn label(text: &str) -> Label {
    text.parse().unwrap_or_else(|_| unreachable!("plain words are labels"))
}

fn file(licensor: &DevLicensor, collects: bool) -> anyhow::Result<FolderFile> {
    let catalog = Catalog::pureconnect();
    let grant = |pool: &str, count| anyhow::Ok(Grant { pool: pool.parse()?, units: Units::Count(count) });
    let mut grants = vec![grant("I3_ACCESS_CLIENT_CONCURRENT", 1_000_000)?];
    if collects {
        grants.push(grant("I3_FEATURE_USAGE_TRACKING_UPLOAD", 1)?);
    }
    let issued: WallTime = "2026-11-22T04:19:00Z".parse()?;
    let facts = HostFacts { platform: Some("4c4c4544-0042-3510-8054-b4c04f584432".into()), ..HostFacts::default() };
    let id = HostId::new(&facts, Default::default());
    let terms = Activation {
        license_id: LicenseId(uuid::Uuid::from_u128(1)),
        sequence: 1,
        supersedes: Default::default(),
        issued,
        account: "Acme".parse()?,
        install_site: "Indianapolis".parse()?,
        product: catalog.product().clone(),
        product_line: catalog.product_line().clone(),
        versions: catalog.versions(),
        model: Model::Subscription,
        level: Level::Production,
        kind: FileKind::Base,
        system_type: None,
        companion_of: None,
        not_before: issued,
        not_after: WallTime::PERPETUAL_END,
        maintenance_end: None,
        re_register: None,
        ramp: None,
        grace_days: None,
        check_in_endpoint: None,
        usage_destination: None,
        hosts: vec![HostLine { role: HostRole::Primary, id, need: 1, machine_name: None }],
        parts: Vec::new(),
        definitions: catalog.definitions_for(&grants),
        grants,
        catalog_version: 1,
        root_version: 1,
    };
    let terms = licensor.trust()?.activation(&licensor.issue(&terms)?, issued)?;
    Ok(FolderFile { name: "bench.i3lic".to_owned(), terms: Arc::new(terms), host: HostFinding::Primary })
}

impl Server {
    async fn start(dir: &Path, collects: bool) -> anyhow::Result<Self> {
        let licensor = DevLicensor::from_seed(&[7; 32])?;
        let trust = licensor.trust()?;
        let state = StateDir::open(dir)?;
        let clock = Clock::system();
        let Restored { engine, store, .. } = restore(&state, &trust, Limits::default(), &clock)?;
        let reader = store.reader();
        let (core, ended) = Core::start(engine, store, clock.clone(), Bounds::default())?;
        core.set_phase(Phase::Serving);
        let ground = Ground {
            state_directory: dir.to_owned(),
            core: core.clone(),
            clock,
            reader,
            identity: Arc::new(Identity::open(dir, None, Path::new("/"))?),
            licensor: Box::new(move || trust.root().usage_key),
        };
        let usage = Usage::start(Settings { names: NamesSetting::Plain, reader: None }, ground)?;
        core.submit(Command::Folder(vec![file(&licensor, collects)?])).await?;
        let users: Vec<Label> = (0..USERS).map(|number| label(&format!("agent-{number:05}@example.com"))).collect();
        let by = || CallerIdentity::Uid(0);
        for name in &users {
            let act = Act::Create(Entity::User {
                name: name.clone(),
                display_name: None,
                method: Method::Concurrent,
                organization: None,
                workgroups: Vec::new(),
                types: Vec::new(),
            });
            core.submit(Command::Administer { by: by(), act }).await?;
        }
        let subjects = users.iter().cloned().map(EntityName::User).collect();
        let act = Act::Assign(Assign {
            subjects,
            keys: vec![label(CLIENT)],
            give: true,
            best_effort: false,
            dry_run: false,
            until: None,
        });
        core.submit(Command::Administer { by: by(), act }).await?;
        let caller = CallerInfo {
            identity: CallerIdentity::Name(label("acd")),
            instance: String::new(),
            application: label("bench"),
            version: None,
            host: String::new(),
        };
        let attached = core.submit(Command::Attach(Attach { caller, run: RunId([1; 16]) })).await?;
        let Reply::Attached { holder, .. } = attached else { anyhow::bail!("not attached") };
        let (to, from) = replies(8_192);
        Ok(Self { core, ended, usage, _state: state, holder, to, from, users, request: 0 })
    }

    /// The tag of its answers is its request's number.
    fn log_on(&mut self) -> anyhow::Result<()> {
        self.request += 1;
        let user = self.users[usize::try_from(self.request)? % USERS].clone();
        let acquire = Acquire {
            from: Origin::Stream(self.holder),
            request: RequestId(self.request.to_be_bytes()),
            ask: Ask::Logon {
                user,
                place: Place::None,
                computer: None,
                needed: vec![label(CLIENT)],
                application: None,
            },
            ttl_ms: 3_600_000,
            wait_ms: 0,
            priority: 0,
            ticket: Ticket(0),
        };
        let tag = u64::try_from(self.request)?;
        Ok(self.core.submit_to(Command::Acquire(Box::new(acquire)), &self.to, tag)?)
    }

    /// Logs on and off so many times; all is sealed at the end.
    async fn round(&mut self, grants: u64, in_flight: u64) -> anyhow::Result<()> {
        let (mut begun, mut done, mut answers, mut received) = (0, 0, Vec::new(), Vec::new());
        while begun < in_flight.min(grants) {
            begun += 1;
            self.log_on()?;
        }
        while done < grants {
            self.from.recv_many(&mut answers, 4_096).await;
            for tagged in std::mem::take(&mut answers) {
                match (tagged.tag, tagged.answer?) {
                    (0, _) => {}
                    (tag, Answer::Lease(lease)) => {
                        let release = Release {
                            from: Origin::Stream(self.holder),
                            request: None,
                            leases: vec![lease.id],
                            acquired_by: Vec::new(),
                        };
                        received.push(RequestId(u128::from(tag).to_be_bytes()));
                        self.core.submit_to(Command::Release(release), &self.to, tag)?;
                    }
                    (_, Answer::Reply(_)) => {
                        done += 1;
                        if begun < grants {
                            begun += 1;
                            self.log_on()?;
                        }
                    }
                }
            }
            if received.len() >= 64 {
                let requests = std::mem::take(&mut received);
                self.core.submit_to(Command::AnswersReceived { holder: self.holder, requests }, &self.to, 0)?;
            }
        }
        let mut state = self.usage.watch();
        loop {
            let waiting = self.core.read(|engine, _| engine.usage_backlog().0).await?;
            // What is left, fewer than a record's worth, is sealed in the next round.
            if waiting < 256 {
                return Ok(());
            }
            state.changed().await?;
        }
    }

    async fn stop(self) -> anyhow::Result<()> {
        self.usage.stop().await;
        self.core.stop();
        Ok(tokio::task::spawn_blocking(move || self.ended.wait()).await?)
    }
}

/// Nanoseconds that the threads of this process have had a processor, by their names.
fn processor_ns() -> BTreeMap<String, u64> {
    let mut by_name = BTreeMap::new();
    for task in std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
        let read = |name| std::fs::read_to_string(task.path().join(name)).ok();
        let ns = read("schedstat").and_then(|text| text.split_whitespace().next()?.parse::<u64>().ok());
        if let (Some(name), Some(ns)) = (read("comm"), ns) {
            *by_name.entry(name.trim().to_owned()).or_default() += ns;
        }
    }
    by_name
}

/// The middle of the lower half: what others do on the machine only ever adds.
fn quartile(mut ns: Vec<u64>) -> u64 {
    ns.sort_unstable();
    ns.get(ns.len() / 4).copied().unwrap_or(0)
}

async fn bench(rounds: usize, grants: u64, in_flight: u64, one: u64) -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let mut servers =
        [Server::start(&dir.path().join("off"), false).await?, Server::start(&dir.path().join("on"), true).await?];
    // Of each server, round by round, the time per grant of each thread.
    let mut rounds_of: [Vec<BTreeMap<String, u64>>; 2] = [Vec::new(), Vec::new()];
    for round in 0..=rounds {
        // Each goes first as often as the other.
        for which in if round % 2 == 0 { [0, 1] } else { [1, 0] } {
            if (which == 0 && one == 2) || (which == 1 && one == 1) {
                continue;
            }
            let before = processor_ns();
            servers[which].round(grants, in_flight).await?;
            let mut took = processor_ns();
            for (name, ns) in &mut took {
                *ns = ns.saturating_sub(before.get(name).copied().unwrap_or(0)) / grants;
            }
            // The first round warms up.
            if round > 0 {
                rounds_of[which].push(took);
            }
        }
    }
    let names: BTreeSet<String> = rounds_of.iter().flatten().flat_map(|took| took.keys().cloned()).collect();
    for name in names {
        let of = |which: usize| {
            quartile(rounds_of[which].iter().map(|took| took.get(&name).copied().unwrap_or(0)).collect())
        };
        println!("{name:>16}  {:>6} ns without usage  {:>6} ns with it", of(0), of(1));
    }
    let all = |which: usize| quartile(rounds_of[which].iter().map(|took| took.values().sum()).collect());
    let (off, on) = (all(0).max(1), all(1));
    println!(
        "processor time of a logon and its logoff, {in_flight} in flight: {off} ns without usage, {on} ns with it, {:+.1} %",
        (on as f64 / off as f64 - 1.0) * 100.0
    );
    for server in servers {
        server.stop().await?;
    }
    let files = std::fs::read_dir(dir.path().join("on/usage"))?.flatten();
    let bytes: u64 = files.filter_map(|file| Some(file.metadata().ok()?.len())).sum();
    println!("{:.1} bytes of usage file for each event", bytes as f64 / (2 * grants * (rounds as u64 + 1)) as f64);
    Ok(())
}

fn main() -> anyhow::Result<()> {
    let numbers: Vec<u64> = std::env::args().skip(1).map(|text| text.parse()).collect::<Result<_, _>>()?;
    let number = |at: usize, default: u64| numbers.get(at).copied().unwrap_or(default);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(bench(usize::try_from(number(0, 15))?, number(1, 50_000), number(2, 256), number(3, 0)))
}
