//! Plays one scenario: reads its steps, makes commands of them, and writes down what came of each.

use std::collections::BTreeMap;

use leasehold_engine::{
    Engine, Limits,
    command::{
        Acquire, Act, Ask, Assign, Attach, CallerInfo, Command, EntitlementQuery, Entity, EntityChange, EntityName,
        HostFinding, Origin, Place, Release, Revoked, ShareName,
    },
    decision::Reply,
    ids::{HolderId, LeaseId, RequestId, RunId, Ticket},
    refusal::Refusal,
    row::{Row, StationKind},
    view::LeaseFilter,
};
use leasehold_keys::{
    activation::{FileKind, Level, Model, Superseded, VersionRange},
    name::{KeyName, Label, Method, PoolName},
};

use crate::{
    support::{self, Site, as_stored, assert_same, but_for_numbers, files, label},
    told,
};

/// An application server of the scenario.
#[derive(Clone, Debug)]
struct Server {
    info: CallerInfo,
    /// `None`: it calls without a stream.
    stream: Option<HolderId>,
    attached: bool,
}

/// What a name of a lease stands for.
#[derive(Clone, Debug)]
struct Asked {
    acquire: Acquire,
    lease: Option<LeaseId>,
}

pub(crate) struct Stage {
    site: Site,
    limits: Limits,
    servers: BTreeMap<String, Server>,
    asked: BTreeMap<String, Asked>,
    tickets: BTreeMap<Ticket, String>,
    last_refusal: Option<Refusal>,
    /// Where the changes of this step begin, and those of the one before.
    step_began: usize,
    undo_from: usize,
    /// Lines beside the step's own result.
    lines: Vec<String>,
}

/// The words of a step: plain ones in order, and `name=value`.
struct Words<'a> {
    plain: std::collections::VecDeque<&'a str>,
    named: BTreeMap<&'a str, &'a str>,
}

impl<'a> Words<'a> {
    fn of(text: &'a str) -> Self {
        let (named, plain) = text.split_whitespace().partition::<Vec<_>, _>(|word| word.contains('='));
        Self { plain: plain.into(), named: named.into_iter().filter_map(|word| word.split_once('=')).collect() }
    }

    fn next(&mut self) -> &'a str {
        self.plain.pop_front().expect("the step needs one more word")
    }

    fn named(&mut self, name: &str) -> Option<&'a str> {
        self.named.remove(name)
    }

    /// The word after a preposition.
    fn after(&mut self, word: &str) -> Option<&'a str> {
        let at = self.plain.iter().position(|other| *other == word)?;
        self.plain.remove(at);
        Some(self.plain.remove(at).expect("a preposition stands before a word"))
    }

    fn has(&mut self, word: &str) -> bool {
        let at = self.plain.iter().position(|other| *other == word);
        at.is_some_and(|at| self.plain.remove(at).is_some())
    }

    fn end(&self) {
        assert!(self.plain.is_empty() && self.named.is_empty(), "not understood: {:?} {:?}", self.plain, self.named);
    }
}

/// `90s`, `10m`, `3h`, `2d`, `500ms`.
fn ms(text: &str) -> u64 {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = digits.parse().unwrap_or_else(|_| panic!("`{text}` is no time"));
    match &text[digits.len()..] {
        "ms" => number,
        "s" => number * 1_000,
        "m" => number * 60_000,
        "h" => number * 3_600_000,
        "d" => number * 86_400_000,
        "y" => number * 365 * 86_400_000,
        unit => panic!("`{unit}` is no unit of time"),
    }
}

/// `+3d`, `-10m`: milliseconds from now.
fn signed_ms(text: &str) -> i64 {
    let size = i64::try_from(ms(text.trim_start_matches(['+', '-']))).unwrap();
    if text.starts_with('-') { -size } else { size }
}

fn list(text: &str) -> Vec<Label> {
    text.split(',').filter(|name| !name.is_empty()).map(label).collect()
}

fn method(text: &str) -> Method {
    match text {
        "assignable" => Method::Assignable,
        "concurrent" => Method::Concurrent,
        other => panic!("`{other}` is no method"),
    }
}

fn station_kind(text: &str) -> StationKind {
    StationKind::ALL.into_iter().find(|kind| kind.as_str() == text).unwrap_or_else(|| panic!("`{text}` is no kind"))
}

fn host(text: &str) -> HostFinding {
    match text {
        "primary" => HostFinding::Primary,
        "switchover" => HostFinding::Switchover,
        "unbound" => HostFinding::Unbound,
        "other" => HostFinding::Other("platform: changed.".into()),
        other => panic!("`{other}` is no finding"),
    }
}

impl Stage {
    pub(crate) fn new() -> Self {
        let limits = Limits::default();
        let mut stage = Self {
            site: Site::empty(limits),
            limits,
            servers: BTreeMap::new(),
            asked: BTreeMap::new(),
            tickets: BTreeMap::new(),
            last_refusal: None,
            step_began: 0,
            undo_from: 0,
            lines: Vec::new(),
        };
        stage.forget_told();
        stage
    }

    fn forget_told(&mut self) {
        self.site.answers.clear();
        self.site.events.clear();
        self.site.notices.clear();
    }

    /// Plays one step; gives its result, and a line for everything else that came of it.
    pub(crate) fn step(&mut self, step: &str) -> (String, Vec<String>) {
        let before = self.site.engine.lasting_rows();
        self.undo_from = self.step_began;
        self.step_began = self.site.changes.len();
        let result = self.play(step);
        for (ticket, answer) in std::mem::take(&mut self.site.answers) {
            let name = self.tickets.get(&ticket).cloned().unwrap_or_else(|| ticket.to_string());
            if let (Ok(view), Some(asked)) = (&answer, self.asked.get_mut(&name)) {
                asked.lease = Some(view.id);
            }
            self.lines.push(match &answer {
                Ok(view) => format!("{name} {}", told::lease(view)),
                Err(refusal) => {
                    self.last_refusal = Some(refusal.clone());
                    format!("{name} {}", told::refused(refusal))
                }
            });
        }
        for event in std::mem::take(&mut self.site.events) {
            let to = match event.to {
                None => "all".to_string(),
                Some(id) => self
                    .servers
                    .iter()
                    .find(|(_, server)| server.stream == Some(id))
                    .map_or_else(|| "unary".to_string(), |(name, _)| name.clone()),
            };
            let text = told::event(&event.what, |id| self.name_of(id));
            self.lines.push(format!("{to} told: {text}"));
        }
        for notice in std::mem::take(&mut self.site.notices) {
            self.lines.push(format!("log: {}", told::notice(&notice)));
        }
        let verb = step.split_whitespace().next().unwrap_or_default();
        if verb != "undo" && verb != "restart" {
            self.site.check();
            self.check_undo(&before, step);
        } else {
            let found = self.site.engine.discrepancies();
            assert!(found.is_empty(), "counts differ:\n{}", found.join("\n"));
        }
        (result, std::mem::take(&mut self.lines))
    }

    /// In a second engine with the rows of now, the step's changes are taken back: the rows of before must come out.
    fn check_undo(&self, before: &[Row], step: &str) {
        let made = &self.site.changes[self.step_began..];
        let mut engine = Engine::new(self.limits);
        for row in self.site.engine.lasting_rows() {
            engine.restore(row);
        }
        let recovery = engine.recover(self.site.now()).changes;
        engine.undo(made.iter().cloned().chain(recovery).collect());
        let after = but_for_numbers(as_stored(engine.lasting_rows()));
        assert_same(&but_for_numbers(as_stored(before.to_vec())), &after, &format!("undoing `{step}`"));
        // Time goes on after a commit that failed.
        engine.apply(self.site.now(), Command::Tick).0.unwrap();
        let found: Vec<String> = engine
            .discrepancies()
            .into_iter()
            .filter(|line| !line.contains("head") && !line.contains("waiters"))
            .collect();
        assert!(found.is_empty(), "counts differ after undoing `{step}`:\n{}", found.join("\n"));
    }

    fn name_of(&self, id: LeaseId) -> String {
        self.asked
            .iter()
            .find(|(_, asked)| asked.lease == Some(id))
            .map_or_else(|| format!("lease {id}"), |(name, _)| name.clone())
    }

    fn lease_of(&self, name: &str) -> LeaseId {
        match self.asked.get(name) {
            Some(asked) => asked.lease.unwrap_or_else(|| panic!("{name} has no lease yet")),
            None => LeaseId(name.trim_start_matches('#').parse().unwrap_or_else(|_| panic!("`{name}` is no lease"))),
        }
    }

    fn server(&mut self, name: &str) -> Server {
        if !self.servers.contains_key(name) {
            let info = support::caller(name);
            let stream = Some(self.site.attach(info.clone(), 1));
            self.servers.insert(name.to_string(), Server { info, stream, attached: true });
        }
        self.servers[name].clone()
    }

    fn origin(&mut self, words: &mut Words<'_>) -> Origin {
        let name = words.after("from").unwrap_or("acd");
        let server = self.server(name);
        match server.stream {
            Some(id) => Origin::Stream(id),
            None => Origin::Unary(server.info),
        }
    }

    fn replied(&mut self, reply: Result<Reply, Refusal>) -> String {
        match reply {
            Err(refusal) => self.no(refusal),
            Ok(Reply::Done) => "done".into(),
            Ok(Reply::Ticketed { waiting: None }) => "decided".into(),
            Ok(Reply::Ticketed { waiting: Some((place, pools)) }) => {
                let pools: Vec<String> = pools.iter().map(ToString::to_string).collect();
                format!("waits as {place} for {}", pools.join(" "))
            }
            Ok(Reply::Attached { leases, predecessor, displaced, .. }) => format!(
                "attached, {} leases, {} of predecessors{}",
                leases.len(),
                predecessor.len(),
                if displaced.is_some() { ", another stream displaced" } else { "" }
            ),
            Ok(Reply::Beaten(count)) => format!("{count} renewed"),
            Ok(Reply::Leases(outcomes)) => {
                let told: Vec<String> = outcomes
                    .into_iter()
                    .map(|(id, result)| {
                        let name = self.name_of(id);
                        match result {
                            Ok(()) => format!("{name} ok"),
                            Err(refusal) => format!("{name} {}", self.no(refusal)),
                        }
                    })
                    .collect();
                if told.is_empty() { "none".into() } else { told.join(", ") }
            }
            Ok(Reply::Released(outcomes)) => {
                let told: Vec<String> = outcomes
                    .into_iter()
                    .map(|outcome| match outcome.result {
                        Ok(()) => "released".to_string(),
                        Err(refusal) => self.no(refusal),
                    })
                    .collect();
                told.join(", ")
            }
            Ok(Reply::Administered(done)) => {
                if let Some(refusal) = done.assignments.iter().find_map(|outcome| outcome.result.clone().err()) {
                    self.last_refusal = Some(refusal);
                }
                told::act(&done)
            }
            Ok(Reply::Folder(verdicts)) => {
                let told: Vec<String> = verdicts
                    .iter()
                    .map(|file| match &file.verdict {
                        Ok(taken) => format!("{} {}", file.name, told::taken(taken)),
                        Err(refusal) => format!("{} rejected {}", file.name, refusal.reason()),
                    })
                    .collect();
                if told.is_empty() { "empty".into() } else { told.join(", ") }
            }
        }
    }

    fn no(&mut self, refusal: Refusal) -> String {
        let text = told::refused(&refusal);
        self.last_refusal = Some(refusal);
        text
    }

    fn run(&mut self, command: Command) -> String {
        let reply = self.site.run(command);
        self.replied(reply)
    }

    fn act(&mut self, act: Act) -> String {
        self.run(Command::Administer { by: support::administrator(), act })
    }

    fn play(&mut self, step: &str) -> String {
        let (head, tail) = step.trim_end_matches(" :").split_once(" : ").unwrap_or((step.trim_end_matches(" :"), ""));
        let mut words = Words::of(head);
        let result = match words.next() {
            "grants" => {
                let rest = step.trim_start_matches("grants");
                let (options, grants) = rest.split_once(" : ").unwrap_or(("", rest));
                let mut words = Words::of(options);
                let result = self.file("base.i3lic", &mut words, grants);
                words.end();
                self.site.events.clear();
                return if result == "base.i3lic accepted" { String::new() } else { result };
            }
            "file" => {
                let name = words.next();
                self.file(name, &mut words, tail)
            }
            "remove" => {
                let name = words.next();
                self.site.folder.retain(|file| file.name != name);
                self.folder()
            }
            "folder" => self.folder(),
            "host" => {
                let (name, finding) = (words.next(), host(words.next()));
                for file in self.site.folder.iter_mut().filter(|file| file.name == name) {
                    file.host = finding.clone();
                }
                self.folder()
            }
            "why-rejected" => match self.site.run(Command::Folder(self.site.folder.clone())) {
                Ok(Reply::Folder(verdicts)) => verdicts
                    .iter()
                    .filter_map(|file| file.verdict.as_ref().err())
                    .map(|refusal| refusal.message())
                    .collect::<Vec<_>>()
                    .join(" / "),
                other => panic!("{other:?}"),
            },
            "revoke-signer" => {
                let key = self.site.folder.first().expect("a file").terms.key_sha256();
                let from = self.site.now().wall.plus_ms(words.named("in").map_or(0, signed_ms));
                self.site.revoked = vec![(key, from)];
                self.run(Command::Revocations(self.site.revoked.clone()))
            }
            "limits" => {
                let waiting = words.named("waiting").map_or(10_000, |n| n.parse().unwrap());
                let answers = words.named("answers").map_or(1_000_000, |n| n.parse().unwrap());
                self.limits = Limits { waiting_per_pool: waiting, answers_per_identity: answers };
                self.site = Site::empty(self.limits);
                self.forget_told();
                "done".into()
            }
            "server" => {
                let name = words.next().to_string();
                let mut info = support::caller(words.named("app").unwrap_or(&name));
                if let Some(identity) = words.named("identity") {
                    info.identity = identity.parse().unwrap();
                }
                info.instance = words.named("instance").unwrap_or_default().to_string();
                info.version = words.named("version").map(|version| version.parse().unwrap());
                if words.has("unary") {
                    self.servers.insert(name, Server { info, stream: None, attached: false });
                    words.end();
                    return "known".into();
                }
                let run = words.named("run").map_or(1, |run| run.parse().unwrap());
                let reply = self.site.run(Command::Attach(Attach { caller: info.clone(), run: RunId([run; 16]) }));
                let stream = match &reply {
                    Ok(Reply::Attached { holder, .. }) => Some(*holder),
                    _ => None,
                };
                self.servers.insert(name, Server { info, stream, attached: true });
                self.replied(reply)
            }
            "detach" => {
                let name = words.next();
                let id = self.server(name).stream.expect("a stream");
                self.servers.get_mut(name).expect("known").attached = false;
                self.run(Command::Detach(id))
            }
            "beat" => {
                let id = self.server(words.next()).stream.expect("a stream");
                self.run(Command::Beat(id))
            }
            "takeover" => {
                let id = self.server(words.next()).stream.expect("a stream");
                let leases = words.plain.drain(..).map(|name| self.lease_of(name)).collect();
                self.run(Command::TakeOver { holder: id, leases })
            }
            "user" | "station" | "workgroup" | "org" => return self.create(head),
            "set" => return self.change(head),
            "delete" => {
                let name = entity_name(&mut words);
                self.act(Act::Delete(name))
            }
            verb @ ("assign" | "unassign") => {
                let keys = list(words.next());
                let mut subjects = Vec::new();
                while !words.plain.is_empty() && matches!(words.plain[0], "user" | "station" | "workgroup") {
                    let kind = words.next();
                    for name in words.next().split(',') {
                        subjects.push(match kind {
                            "user" => support::user(name),
                            "station" => support::station(name),
                            _ => EntityName::Workgroup(label(name)),
                        });
                    }
                }
                let assign = Assign {
                    subjects,
                    keys,
                    give: verb == "assign",
                    best_effort: words.has("best-effort"),
                    dry_run: words.has("dry-run"),
                    until: words.named("until").map(|at| self.site.now().wall.plus_ms(signed_ms(at))),
                };
                self.act(Act::Assign(assign))
            }
            "logon" | "use" | "take" => return self.acquire(head),
            "again" => {
                let name = words.next();
                let mut acquire = self.asked[name].acquire.clone();
                acquire.ticket = self.site.ticket();
                if let Some(wait) = words.named("wait") {
                    acquire.wait_ms = ms(wait);
                }
                if let Some(ttl) = words.named("ttl") {
                    acquire.ttl_ms = ms(ttl);
                }
                if words.plain.front() == Some(&"from") {
                    acquire.from = self.origin(&mut words);
                }
                self.tickets.insert(acquire.ticket, name.to_string());
                self.asked.get_mut(name).expect("known").acquire.ticket = acquire.ticket;
                self.ask(name, acquire)
            }
            "explain" => {
                let acquire = self.acquire_of(head.trim_start_matches("explain ")).1;
                let (decision, steps) = told::explanation(&self.site.engine.explain(self.site.now(), &acquire));
                self.lines.extend(steps);
                return decision;
            }
            "cancel" => {
                let from = self.origin(&mut words);
                let request = self.asked[words.next()].acquire.request;
                self.run(Command::CancelWait { from, request })
            }
            "abandon" => {
                let ticket = self.asked[words.next()].acquire.ticket;
                self.run(Command::Abandon(ticket))
            }
            "release" => {
                let from = self.origin(&mut words);
                let request = words.named("request").map(|id| RequestId([id.parse().unwrap(); 16]));
                let leases = words.plain.drain(..).map(|name| self.lease_of(name)).collect();
                self.run(Command::Release(Release { from, request, leases, acquired_by: Vec::new() }))
            }
            "release-request" => {
                let from = self.origin(&mut words);
                let acquired_by = words.plain.drain(..).map(|name| self.asked[name].acquire.request).collect();
                self.run(Command::Release(Release { from, request: None, leases: Vec::new(), acquired_by }))
            }
            "renew" => {
                let from = self.origin(&mut words);
                let leases = words.plain.drain(..).map(|name| self.lease_of(name)).collect();
                self.run(Command::Renew { from, leases })
            }
            verb @ ("idle" | "active") => {
                let from = self.origin(&mut words);
                let leases = words.plain.drain(..).map(|name| self.lease_of(name)).collect();
                self.run(Command::SetIdle { from, leases, idle: verb == "idle" })
            }
            "received" => {
                let holder = self.server(words.after("from").unwrap_or("acd")).stream.expect("a stream");
                let requests = words.plain.drain(..).map(|name| self.asked[name].acquire.request).collect();
                self.run(Command::AnswersReceived { holder, requests })
            }
            // 004, License allocation scenario.
            "fifty" => {
                let (method, key) = (method(words.next()), words.next());
                self.fifty_seats(method, key)
            }
            // Time.
            "wait" => {
                self.wait(ms(words.next()), true);
                String::new()
            }
            "silence" => {
                self.wait(ms(words.next()), false);
                String::new()
            }
            "sleep" => {
                self.site.sleep(ms(words.next()));
                String::new()
            }
            "wall" => {
                self.site.wall_ms += signed_ms(words.next());
                self.run(Command::Tick)
            }
            // At a start the wall clock is far ahead of what was known: trusted time goes by it, unconfirmed …
            "jump" => {
                let ms = signed_ms(words.next());
                self.site.wall_ms += ms;
                self.site.unconfirmed_ms += u64::try_from(ms).unwrap();
                self.site.restart();
                for server in self.servers.values_mut() {
                    server.attached = false;
                }
                self.run(Command::Tick)
            }
            // … until it has run for long enough …
            "confirm" => {
                self.site.unconfirmed_ms = 0;
                self.run(Command::Tick)
            }
            // … or the wall clock falls back.
            "withdraw" => {
                self.site.wall_ms -= i64::try_from(std::mem::take(&mut self.site.unconfirmed_ms)).unwrap();
                self.run(Command::Tick)
            }
            "tick" => self.run(Command::Tick),
            // An application server that crashes and starts again and again, each time as a new run.
            "crash-loop" => {
                let info = support::caller(words.next());
                let runs: u8 = words.next().parse().unwrap();
                for run in 1..=runs {
                    let attach = Attach { caller: info.clone(), run: RunId([run; 16]) };
                    match self.site.run(Command::Attach(attach)) {
                        Ok(Reply::Attached { holder, .. }) => self.site.run(Command::Detach(holder)).unwrap(),
                        other => panic!("{other:?}"),
                    };
                    self.site.pass(1_000);
                }
                "over".into()
            }
            // So many requests for units, one by one, that wait.
            "crowd" => {
                let (count, units, key): (u32, u32, _) =
                    (words.next().parse().unwrap(), words.next().parse().unwrap(), label(words.next()));
                let from = self.origin(&mut words);
                let mut waiting = 0;
                for _ in 0..count {
                    let ask = Ask::Units { key: key.clone(), units };
                    let mut acquire = self.site.acquire_command(from.clone(), ask);
                    acquire.wait_ms = 600_000;
                    waiting += u32::from(self.site.acquire(acquire).is_none());
                }
                format!("{waiting} wait")
            }
            // So many callers, each of its own identity, ask for a unit in vain, and give back what they never had.
            "strangers" => {
                let (count, key): (u32, _) = (words.next().parse().unwrap(), label(words.next()));
                let mut refused = 0;
                for number in 0..count {
                    let from = Origin::Unary(support::caller(&format!("stranger-{number}")));
                    let acquire = self.site.acquire_command(from.clone(), Ask::Units { key: key.clone(), units: 1 });
                    let request = Some(self.site.request());
                    refused += u32::from(matches!(self.site.acquire(acquire), Some(Err(_))));
                    let leases = vec![LeaseId(1)];
                    self.site.run(Command::Release(Release { from, request, leases, acquired_by: vec![] })).unwrap();
                }
                self.site.answers.clear();
                format!("{refused} refused")
            }
            "restart" => {
                // Lease time goes on from the stored mark; the wall clock ran on.
                self.site.wall_ms += words.named("down").map_or(0, signed_ms);
                self.site.restart();
                for server in self.servers.values_mut() {
                    server.attached = false;
                }
                "up".into()
            }
            "undo" => {
                let made = self.site.changes.split_off(self.undo_from);
                self.site.engine.undo(made);
                "undone".into()
            }
            // Pools.
            "share" => {
                let pool: PoolName = words.next().parse().unwrap();
                let holder = match words.next() {
                    "org" => ShareName::Organization(label(words.next())),
                    "app" => ShareName::Application(label(words.next())),
                    other => panic!("`{other}` holds no share"),
                };
                let share = match (words.named("reserve"), words.named("limit")) {
                    (None, None) => None,
                    (reserve, limit) => {
                        Some((reserve.map_or(0, |n| n.parse().unwrap()), limit.map(|n| n.parse().unwrap())))
                    }
                };
                self.act(Act::SetShare { pool, holder, share })
            }
            "idle-rule" => {
                let pool: PoolName = words.next().parse().unwrap();
                let idle_ms = ms(words.next());
                let idle_always = words.has("always");
                self.act(Act::SetPoolRule { pool, idle_ms, idle_always })
            }
            "revoke" => {
                let what = match words.next() {
                    "user" => Revoked::User(label(words.next())),
                    "station" => Revoked::Station(label(words.next())),
                    name => Revoked::Leases(vec![self.lease_of(name)]),
                };
                let reason = label(&Vec::from(std::mem::take(&mut words.plain)).join(" "));
                self.act(Act::Revoke { what, reason })
            }
            "unload" => {
                let license = files::license(words.next().parse().unwrap());
                self.act(Act::Unload { license, reason: "test".into() })
            }
            "stand-by" => self.act(Act::StandBy { reason: label("failback") }),
            "promote" => self.act(Act::Promote { reason: "test".into() }),
            _ => return self.ask_about(step),
        };
        words.end();
        result
    }

    /// Questions that change nothing.
    fn ask_about(&mut self, step: &str) -> String {
        let now = self.site.now();
        let engine = &self.site.engine;
        let mut words = Words::of(step);
        let result = match words.next() {
            "pool" => {
                let name: PoolName = words.next().parse().unwrap();
                let org = words.named("org");
                let pools = engine.pools(now, Some(&name.key), org).unwrap();
                let name =
                    PoolName { key: pools.first().map_or(name.key.clone(), |pool| pool.name.key.clone()), ..name };
                match pools.iter().find(|pool| pool.name == name) {
                    None => "no such pool".into(),
                    Some(pool) => {
                        let mut text = format!("{} of {}", pool.in_use, pool.capacity);
                        if pool.assigned > 0 {
                            text += &format!(", assigned {}", pool.assigned);
                        }
                        if pool.set_aside > 0 {
                            text += &format!(", set aside {}", pool.set_aside);
                        }
                        if pool.waiting > 0 {
                            text += &format!(", waiting {}", pool.waiting);
                        }
                        if !pool.message.is_empty() {
                            text += &format!("; {}", pool.message);
                        }
                        text
                    }
                }
            }
            "lease" => {
                let id = self.lease_of(words.next());
                let filter = LeaseFilter { after: id.0 - 1, limit: 1, ..LeaseFilter::default() };
                let held = engine.leases(now, &filter).unwrap();
                match held.first().filter(|held| held.lease.id == id) {
                    None => "not live".into(),
                    Some(held) => {
                        let mut text = told::lease(&held.lease);
                        if let Some((ends, why)) = held.lease.ends_in_ms {
                            text += &format!("; ends in {} {}", leasehold_engine::words::duration(ends), why.as_str());
                        }
                        text
                    }
                }
            }
            "remedies" => {
                let id = self.lease_of(words.next());
                let filter = LeaseFilter { after: id.0 - 1, limit: 1, ..LeaseFilter::default() };
                for held in engine.leases(now, &filter).unwrap() {
                    self.lines.extend(held.lease.warnings.iter().map(leasehold_engine::row::Warning::message));
                    let told = held.lease.missing.iter().map(|(key, refusal)| format!("{key}: {}", refusal.message()));
                    self.lines.extend(told);
                }
                String::new()
            }
            "leases" => {
                let filter = LeaseFilter {
                    user: words.named("user").map(label),
                    station: words.named("station").map(label),
                    pool: words.named("pool").map(|pool| pool.parse().unwrap()),
                    application: words.named("app").map(label),
                    holder: words.named("holder").map(str::to_string),
                    after: 0,
                    limit: 1_000,
                };
                let held = engine.leases(now, &filter).unwrap();
                let names: Vec<String> = held.iter().map(|held| self.name_of(held.lease.id)).collect();
                if names.is_empty() { "none".into() } else { names.join(" ") }
            }
            "shares" => {
                for share in engine.shares(None) {
                    let holder = match &share.holder {
                        ShareName::Organization(name) | ShareName::Application(name) => name,
                    };
                    let limit = share.limit.map_or("-".to_string(), |limit| limit.to_string());
                    let line = format!(
                        "{} {holder}: {} used, reserve {}, limit {limit}",
                        share.pool, share.in_use, share.reserve
                    );
                    self.lines.push(line);
                }
                String::new()
            }
            "user-keys" | "station-keys" => {
                let kind = step.split('-').next().unwrap();
                let name = words.next();
                let name = if kind == "user" { support::user(name) } else { support::station(name) };
                let assignments = match engine.entity(now, &name).unwrap() {
                    leasehold_engine::view::EntityView::User { assignments, .. }
                    | leasehold_engine::view::EntityView::Station { assignments, .. } => assignments,
                    other => panic!("{other:?}"),
                };
                let told: Vec<String> = assignments
                    .iter()
                    .map(|row| if row.inactive.is_some() { format!("({})", row.pool) } else { row.pool.to_string() })
                    .collect();
                if told.is_empty() { "none".into() } else { told.join(" ") }
            }
            "licensed" => {
                let keys: Vec<KeyName> = words.plain.drain(..).map(|key| key.parse().unwrap()).collect();
                let views = engine.site_keys(now, &keys);
                match views {
                    Err(refusal) => told::refused(&refusal),
                    Ok(views) => {
                        let told: Vec<String> = views
                            .iter()
                            .map(|view| match view.licensed {
                                true => format!("{} yes {}", view.key, view.units),
                                false => format!("{} no: {}", view.key, view.reason),
                            })
                            .collect();
                        told.join("; ")
                    }
                }
            }
            "may-install" => {
                let release = now.wall.plus_ms(signed_ms(words.next()));
                let view = engine.may_install(now, release);
                format!("{}: {}", if view.may_install { "yes" } else { "no" }, view.reason)
            }
            "entitled" => {
                let keys: Vec<KeyName> = list(words.next()).iter().map(|key| key.as_str().parse().unwrap()).collect();
                let subject = entity_name(&mut words);
                let query = EntitlementQuery { subjects: vec![subject], keys };
                match engine.entitlements(now, &query) {
                    Err(refusal) => told::refused(&refusal),
                    Ok(views) => match &views[0].keys {
                        Err(refusal) => told::refused(refusal),
                        Ok(keys) => keys
                            .iter()
                            .map(|key| {
                                let mut text = format!("{} {} of {}", key.key, key.holding, key.members);
                                if !key.reason.is_empty() {
                                    text += &format!(" ({})", key.reason);
                                }
                                text
                            })
                            .collect::<Vec<_>>()
                            .join("; "),
                    },
                }
            }
            "why" => self.last_refusal.as_ref().map_or("nothing was refused".into(), Refusal::message),
            "retry" => match self.last_refusal.as_ref().and_then(Refusal::retry_after_ms) {
                None => "unknown".into(),
                Some(ms) => format!("{ms} ms"),
            },
            "denials" => {
                for row in Site::every_row(&self.site.changes) {
                    if let Row::Denial(row) = row {
                        self.lines.push(format!(
                            "{} x{} {} {} {}; held {}",
                            row.reason, row.count, row.identity, row.subject, row.key, row.held
                        ));
                    }
                }
                String::new()
            }
            "audit" => {
                for row in Site::every_row(&self.site.changes) {
                    if let Row::Audit(row) = row {
                        self.lines.push(format!("{} {} {} {}", row.identity, row.action, row.subject, row.reason));
                    }
                }
                String::new()
            }
            "status" => {
                let status = engine.status(now);
                for (reason, sentence) in &status.notices {
                    self.lines.push(format!("{reason} {sentence}"));
                }
                format!("{:?}", status.state).to_lowercase()
            }
            "licenses" => {
                for view in engine.licenses(now) {
                    self.lines.push(format!("{} {}", view.file_name, view.state));
                }
                String::new()
            }
            // How many of each sort are remembered, where there are any.
            "sizes" => {
                let sizes = engine.sizes().into_iter().filter(|(_, count)| *count > 0);
                let told: Vec<String> = sizes.map(|(what, count)| format!("{count} {what}")).collect();
                if told.is_empty() { "nothing".into() } else { told.join(", ") }
            }
            "compliance" => {
                let (_, exceeded) = engine.compliance(now);
                let told: Vec<String> =
                    exceeded.iter().map(|one| format!("{} {} of {}", one.pool, one.used, one.licensed)).collect();
                if told.is_empty() { "nothing exceeded".into() } else { told.join(", ") }
            }
            other => panic!("`{other}` is no step"),
        };
        words.end();
        result
    }

    fn folder(&mut self) -> String {
        let folder = self.site.folder.clone();
        self.run(Command::Folder(folder))
    }

    fn file(&mut self, name: &str, words: &mut Words<'_>, grants: &str) -> String {
        let grants: Vec<_> =
            grants.split(',').map(str::trim).filter(|text| !text.is_empty()).map(files::grant).collect();
        let mut terms = files::base(&grants);
        let wall = self.site.now().wall;
        let at = |text: &str| wall.plus_ms(signed_ms(text));
        if let Some(number) = words.named("license") {
            terms.license_id = files::license(number.parse().unwrap());
        }
        if let Some(sequence) = words.named("seq") {
            terms.sequence = sequence.parse().unwrap();
        }
        if let Some(level) = words.named("level") {
            terms.level = match level {
                "production" => Level::Production,
                "development" => Level::Development,
                "trial" => Level::Trial,
                "evaluation" => Level::Evaluation,
                other => panic!("`{other}` is no level"),
            };
        }
        if words.has("add-on") {
            terms.kind = FileKind::AddOn;
        }
        if let Some(product) = words.named("product") {
            terms.product = label(product);
        }
        terms.companion_of = words.named("companion").map(label);
        if let Some(from) = words.named("begins") {
            terms.not_before = at(from);
        }
        if let Some(until) = words.named("ends") {
            terms.not_after = at(until);
        }
        if let Some(issued) = words.named("issued") {
            terms.issued = at(issued);
            terms.not_before = terms.not_before.min(at(issued));
        }
        terms.maintenance_end = words.named("maintenance").map(at);
        terms.re_register = words.named("re-register").map(at);
        if let Some(versions) = words.named("versions") {
            let (from, through) = versions.split_once('-').unwrap();
            terms.versions = VersionRange { from: from.parse().unwrap(), through: through.parse().unwrap() };
        }
        if let Some(old) = words.named("supersedes") {
            let (license, sequence) = old.split_once('/').unwrap();
            terms.supersedes.insert(Superseded {
                license_id: files::license(license.parse().unwrap()),
                sequence: sequence.parse().unwrap(),
            });
        }
        if let Some(version) = words.named("catalog") {
            terms.catalog_version = version.parse().unwrap();
        }
        // A changed definition: `without=TRACKER:includes` and the like are spelled as what a test needs.
        if let Some(key) = words.named("tracker-for") {
            for def in terms.definitions.iter_mut().filter(|def| def.name.as_str() == "TRACKER") {
                def.holders = match key {
                    "user" => [leasehold_keys::definition::Holder::User].into(),
                    "station" => [leasehold_keys::definition::Holder::Station].into(),
                    other => panic!("`{other}` holds nothing"),
                };
            }
        }
        if let Some(account) = words.named("account") {
            terms.account = label(account);
        }
        terms.model = Model::Subscription;
        let finding = words.named("host").map_or(HostFinding::Primary, host);
        if finding == HostFinding::Unbound {
            terms.hosts.clear();
        }
        let reply = self.site.drop_file(name, &terms, finding);
        self.replied(Ok(Reply::Folder(reply)))
    }

    fn create(&mut self, text: &str) -> String {
        let mut words = Words::of(text);
        let kind = words.next();
        let names: Vec<Label> = list(words.next());
        let mut result = String::new();
        let method = if kind == "user" { Some(method(words.next())) } else { None };
        let station = if kind == "station" { Some(station_kind(words.next())) } else { None };
        let organization = words.named("org").map(label);
        let workgroups = words.named("workgroups").map_or(Vec::new(), list);
        let types = words.named("types").map_or(Vec::new(), list);
        let owner = words.named("owner").map(label);
        let parent = words.named("under").map(label);
        let enabled = !words.has("disabled");
        words.end();
        for name in names {
            let entity = match kind {
                "user" => Entity::User {
                    name,
                    display_name: None,
                    method: method.unwrap(),
                    organization: organization.clone(),
                    workgroups: workgroups.clone(),
                    types: types.clone(),
                },
                "station" => Entity::Station {
                    name,
                    kind: station.unwrap(),
                    enabled,
                    organization: organization.clone(),
                    owner: owner.clone(),
                },
                "workgroup" => Entity::Workgroup { name, service_id: None, types: types.clone() },
                _ => Entity::Organization { name, parent: parent.clone() },
            };
            result = self.act(Act::Create(entity));
        }
        result
    }

    fn change(&mut self, text: &str) -> String {
        let mut words = Words::of(text.trim_start_matches("set "));
        let kind = words.next();
        let name = label(words.next());
        let optional = |text: &str| (text != "none").then(|| label(text));
        let change = match kind {
            "user" => EntityChange::User {
                name,
                display_name: None,
                method: words.named("method").map(method),
                organization: words.named("org").map(optional),
                workgroups: words.named("workgroups").map(list),
                types: words.named("types").map(list),
            },
            "station" => EntityChange::Station {
                name,
                kind: words.named("kind").map(station_kind),
                enabled: words.named("enabled").map(|text| text == "true"),
                organization: words.named("org").map(optional),
                owner: words.named("owner").map(optional),
            },
            "workgroup" => EntityChange::Workgroup { name, service_id: None, types: words.named("types").map(list) },
            "org" => EntityChange::Organization { name, parent: words.named("under").map(optional) },
            other => panic!("`{other}` cannot be set"),
        };
        words.end();
        self.act(Act::Change(change))
    }

    /// `logon NAME USER [at STATION] [number N] [on PC] [needing K,K]`, `use NAME STATION`, `take NAME N KEY`.
    fn acquire_of(&mut self, text: &str) -> (String, Acquire) {
        let mut words = Words::of(text);
        let from = self.origin(&mut words);
        let verb = words.next();
        let name = words.next().to_string();
        let needed = words.after("needing").map_or(Vec::new(), list);
        let ask = match verb {
            "logon" => {
                let user = label(words.next());
                let computer = words.after("on").map(label);
                let place = match (words.after("at"), words.after("number")) {
                    (Some(station), None) => Place::Station(label(station)),
                    (None, Some(number)) => Place::DynamicRemote(label(number)),
                    _ => Place::None,
                };
                Ask::Logon { user, place, computer, needed, application: words.named("app").map(label) }
            }
            "use" => Ask::Station { station: label(words.next()), needed },
            _ => {
                let units = words.next().parse().unwrap();
                Ask::Units { key: label(words.next()), units }
            }
        };
        let mut acquire = self.site.acquire_command(from, ask);
        if let Some(ttl) = words.named("ttl") {
            acquire.ttl_ms = ms(ttl);
        }
        if let Some(wait) = words.named("wait") {
            acquire.wait_ms = ms(wait);
        }
        if let Some(priority) = words.named("priority") {
            acquire.priority = priority.parse().unwrap();
        }
        words.end();
        (name, acquire)
    }

    fn acquire(&mut self, text: &str) -> String {
        let (name, acquire) = self.acquire_of(text);
        self.asked.insert(name.clone(), Asked { acquire: acquire.clone(), lease: None });
        self.tickets.insert(acquire.ticket, name.clone());
        self.ask(&name, acquire)
    }

    fn ask(&mut self, name: &str, acquire: Acquire) -> String {
        let ticket = acquire.ticket;
        let reply = self.site.run(Command::Acquire(Box::new(acquire)));
        match self.site.answers.remove(&ticket) {
            Some(Ok(view)) => {
                self.asked.get_mut(name).expect("asked").lease = Some(view.id);
                told::lease(&view)
            }
            Some(Err(refusal)) => self.no(refusal),
            None => self.replied(reply),
        }
    }

    /// 200 users are given the key, and all who hold it log on; tells how far that went.
    fn fifty_seats(&mut self, method: Method, key: &str) -> String {
        let (mut given, mut on) = (0, 0);
        for number in 1..=200 {
            let name = format!("agent-{number:03}");
            self.site.add_user(&name, method);
            given += u32::from(self.site.assign(true, support::user(&name), &[key]).is_ok());
            let from = self.origin(&mut Words::of(""));
            let acquire = self.site.acquire_command(from, support::logon(&name, &[key]));
            on += u32::from(matches!(self.site.acquire(acquire), Some(Ok(_))));
            if number % 50 == 1 {
                self.site.check();
            }
        }
        self.site.answers.clear();
        format!("{given} of 200 are given it, {on} are logged on")
    }

    /// Time passes, with a beat of every attached server each 20 s, or in silence.
    fn wait(&mut self, ms: u64, beating: bool) {
        let mut left = ms;
        while left > 0 {
            let piece = if beating { left.min(20_000) } else { left };
            self.site.pass(piece);
            left -= piece;
            if beating {
                let streams: Vec<HolderId> =
                    self.servers.values().filter(|server| server.attached).filter_map(|server| server.stream).collect();
                for id in streams {
                    self.site.run(Command::Beat(id)).unwrap();
                }
            }
        }
    }
}

fn entity_name(words: &mut Words<'_>) -> EntityName {
    let kind = words.next();
    let name = label(words.next());
    match kind {
        "user" => EntityName::User(name),
        "station" => EntityName::Station(name),
        "workgroup" => EntityName::Workgroup(name),
        "org" => EntityName::Organization(name),
        other => panic!("`{other}` is no sort of thing"),
    }
}
