//! Plays one scenario: reads its steps, makes commands of them, and writes down what came of each.

mod acts;
mod course;
mod leasing;
mod questions;
mod words;

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

use words::*;

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
            Ok(Reply::Witnessed(evidence)) => evidence.map_or_else(|| "known".into(), |row| row.kind.as_str().into()),
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
            _ => return self.course(head),
        };
        words.end();
        result
    }
}
