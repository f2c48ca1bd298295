//! The configuration: built-in defaults, then the file, then `LEASEHOLD_*` environment variables. All faults are told at
//! once, each with its place and what is allowed; unknown keys are faults. The shipped file, `packaging/leaseholdd.toml`,
//! is the manual.

mod settings;

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use config::{Environment, File, FileFormat, Value, ValueKind};
use toml::de::{DeTable, DeValue};

use settings::{SETTINGS, Setting};

use crate::{check_in, delivery, grpc, trust_store, usage, way_out};

/// The file that is read where none is named, if it is there.
pub const DEFAULT_FILE: &str = "/etc/leasehold/leaseholdd.toml";

/// Environment variables begin with this; `LEASEHOLD_LISTEN_TCP` is the setting `listen.tcp`.
const PREFIX: &str = "LEASEHOLD_";

/// Variables that begin like ours and are others': of the client's programs, of the tests, and of the build.
const OTHERS: &[&str] = &["LEASEHOLD_SERVER", "LEASEHOLD_ROOT", "LEASEHOLD_TEST"];

/// How the log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people, to standard error.
    Text,
    /// One JSON object a line, to standard error.
    Json,
    /// To the systemd journal, with its fields.
    Journald,
}

/// The whole configuration, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where the daemon keeps its state.
    pub state_dir: PathBuf,
    /// The watched folder for signed files.
    pub folder: PathBuf,
    /// The licensor's first root, where none is built in.
    pub root: Option<PathBuf>,
    /// What the privileged step before the start has found out about the host.
    pub host_facts: Option<PathBuf>,
    /// User IDs that may administer over the Unix socket (LEASE-9).
    pub administrators: BTreeSet<u32>,
    /// Where it listens.
    pub listen: Listen,
    /// How it logs.
    pub log: Log,
    /// What usage files say, and to whom.
    pub usage: usage::Settings,
    /// Where usage files go, and how.
    pub delivery: delivery::Settings,
    /// Where this server checks in.
    pub check_in: check_in::Settings,
    /// The way out to the licensor, of usage files and check-ins alike.
    pub network: way_out::Settings,
    /// The site's time zone: by it billing periods begin and end.
    pub time_zone: delivery::Zone,
    /// Stated bounds.
    pub limits: Limits,
}

/// Where the daemon listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// Loopback addresses; port 0 takes a free one.
    pub tcp: Vec<SocketAddr>,
    /// The Unix socket.
    pub unix: Option<PathBuf>,
    /// Who may connect there, as a file mode.
    pub unix_mode: u32,
    /// The group that the socket is given.
    pub unix_group: Option<String>,
}

/// How the daemon logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// In which form.
    pub format: LogFormat,
    /// What, as `tracing` filters are written.
    pub filter: String,
}

/// Stated bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Commands that wait in the core's queue.
    pub queue: usize,
    /// Leases about which one stream may have unread events.
    pub events_per_stream: usize,
    /// Answers remembered per identity (LEASE-3).
    pub answers_per_identity: u64,
    /// Requests waiting per pool.
    pub waiting_per_pool: usize,
    /// Open connections in all.
    pub connections: usize,
    /// Open connections of one address or user.
    pub connections_per_address: usize,
    /// Requests and streams that one connection has open at a time.
    pub streams_per_connection: u32,
    /// The most bytes of a request's headers.
    pub header_bytes: u32,
    /// A connection that asks nothing for so long after it was opened is closed.
    pub first_request_ms: u64,
    /// A connection that asks nothing for so long after its last answer is closed.
    pub idle_ms: u64,
    /// How often a silent connection is asked whether its peer lives.
    pub keepalive_ms: u64,
}

/// One fault of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where: the file and line, or the environment variable.
    pub place: String,
    /// What is wrong, and what is allowed.
    pub what: String,
}

/// All faults of the configuration, in the order of their places.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Faults(pub Vec<Fault>);

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.len();
        let noun = if count == 1 { "fault" } else { "faults" };
        write!(f, "the configuration has {count} {noun}:")?;
        for Fault { place, what } in &self.0 {
            write!(f, "\n  {place}: {what}")?;
        }
        Ok(())
    }
}

impl Config {
    /// The built-in defaults.
    pub fn built_in() -> Self {
        Self {
            state_dir: "/var/lib/leasehold".into(),
            folder: "/etc/leasehold/licenses".into(),
            root: None,
            host_facts: None,
            administrators: BTreeSet::from([0, rustix::process::geteuid().as_raw()]),
            listen: Listen {
                tcp: vec![SocketAddr::from(([127, 0, 0, 1], 7127))],
                unix: Some("/run/leasehold/leasehold.sock".into()),
                unix_mode: 0o660,
                unix_group: None,
            },
            log: Log { format: LogFormat::Text, filter: "info".to_owned() },
            usage: usage::Settings { names: usage::NamesSetting::Plain, reader: None },
            delivery: delivery::Settings::default(),
            check_in: check_in::Settings::default(),
            network: way_out::Settings::default(),
            time_zone: delivery::Zone::Machine,
            limits: Limits {
                queue: 65_536,
                events_per_stream: 16_384,
                answers_per_identity: 1_000_000,
                waiting_per_pool: 10_000,
                connections: 4_096,
                connections_per_address: 2_048,
                streams_per_connection: 1_024,
                header_bytes: 8_192,
                first_request_ms: 10_000,
                idle_ms: 900_000,
                keepalive_ms: 20_000,
            },
        }
    }

    /// Reads the configuration: `file`, or [`DEFAULT_FILE`] where that is there, and the process's environment.
    ///
    /// # Errors
    /// All [`Faults`].
    pub fn load(file: Option<&Path>) -> Result<Self, Faults> {
        let environment = std::env::vars_os().filter_map(|(name, value)| {
            let name = name.into_string().ok().filter(|name| name.starts_with(PREFIX))?;
            Some((name, value.to_string_lossy().into_owned()))
        });
        let default = Path::new(DEFAULT_FILE);
        // One that cannot be seen may be there, and its settings are not to be done without.
        let file = file.or_else(|| (!matches!(default.try_exists(), Ok(false))).then_some(default));
        Self::read(file, environment.collect())
    }

    fn read(file: Option<&Path>, environment: BTreeMap<String, String>) -> Result<Self, Faults> {
        let text = match file.map(|path| (path, std::fs::read_to_string(path))) {
            None => None,
            Some((path, Ok(text))) => Some((path, text)),
            Some((path, Err(fault))) => {
                let what = format!("cannot be read: {fault}. Name another file with --config, or none");
                return Err(Faults(vec![Fault { place: path.display().to_string(), what }]));
            }
        };
        let mut lines = BTreeMap::new();
        let mut sources = config::Config::builder();
        if let Some((path, text)) = &text {
            match DeTable::parse(text) {
                Ok(table) => lines_of(table.get_ref(), text, "", &mut lines),
                Err(fault) => {
                    let line = fault.span().map_or(1, |span| line_of(text, span.start));
                    let what = format!("is not TOML: {}", fault.message());
                    return Err(Faults(vec![Fault { place: format!("{} line {line}", path.display()), what }]));
                }
            }
            sources = sources.add_source(File::from_str(text, FileFormat::Toml));
        }
        let (known, mut faults) = split_environment(environment);
        let variables = known.iter().map(|(setting, (_, value))| (setting.replace('.', "__"), value.clone()));
        let environment = Environment::default().separator("__").source(Some(variables.collect()));
        let sources = sources.add_source(environment).build();
        let merged = match sources {
            Ok(merged) => merged.cache,
            Err(fault) => {
                return Err(Faults(vec![Fault { place: "configuration".to_owned(), what: fault.to_string() }]));
            }
        };

        let place = |setting: &str| match (known.get(setting), lines.get(setting), &text) {
            (Some((name, _)), ..) => format!("environment variable {name}"),
            (None, Some(line), Some((path, _))) => format!("{} line {line}: `{setting}`", path.display()),
            _ => format!("`{setting}`"),
        };
        let mut config = Self::built_in();
        let mut leaves = Vec::new();
        leaves_of(&merged, "", &mut leaves);
        for (path, value) in leaves {
            match SETTINGS.iter().find(|setting| setting.path == path) {
                Some(Setting { read, allowed, .. }) => {
                    if let Err(found) = read(&mut config, value) {
                        faults.push(Fault { place: place(&path), what: format!("{found}; {allowed}") });
                    }
                }
                None => faults.push(Fault { place: place(&path), what: unknown(&path) }),
            }
        }
        if config.listen.tcp.is_empty() && config.listen.unix.is_none() {
            let what = "there is nothing to listen on; name a Unix socket in `listen.unix` or a loopback address in `listen.tcp`";
            faults.push(Fault { place: place("listen.unix"), what: what.to_owned() });
        }
        faults.sort_by_key(|fault| natural(&fault.place));
        if faults.is_empty() { Ok(config) } else { Err(Faults(faults)) }
    }

    /// What stands in the way of a start with these settings on this machine, as far as it can be told without starting: no
    /// root to trust, a group that does not exist, a file for the way out that is not there or holds nothing of use.
    ///
    /// # Errors
    /// All [`Faults`].
    pub fn check_machine(&self) -> Result<(), Faults> {
        let mut faults = Vec::new();
        let mut tell = |setting: &str, what: String| faults.push(Fault { place: format!("`{setting}`"), what });
        match &self.root {
            _ if trust_store::is_built_in() => {}
            None => tell("root", trust_store::TrustFault::NoRoot.to_string()),
            // The copy that is kept of it serves too.
            Some(path) if !trust_store::keeps_roots(&self.state_dir) => {
                if let Err(fault) = trust_store::read_anchor(path) {
                    tell("root", fault.to_string());
                }
            }
            Some(_) => {}
        }
        for (setting, fault) in way_out::unusable(&self.network).into_iter().chain(self.delivery.unusable()) {
            tell(setting, fault.to_string());
        }
        if let Some(fault) = self.listen.unix_group.as_deref().and_then(|group| grpc::group_id(group).err()) {
            tell("listen.unix_group", fault.to_string());
        }
        if faults.is_empty() { Ok(()) } else { Err(Faults(faults)) }
    }

    /// Settings of `newer` that differ and need a restart.
    pub fn needs_restart(&self, newer: &Self) -> Vec<&'static str> {
        let differs = |setting: &&Setting| (setting.differs)(self, newer) && !setting.reloads;
        SETTINGS.iter().filter(differs).map(|setting| setting.path).collect()
    }
}

/// Sorts line 9 before line 10.
fn natural(place: &str) -> (String, usize) {
    let mut parts = place.splitn(2, " line ");
    let file = parts.next().unwrap_or_default().to_owned();
    let line = parts.next().and_then(|rest| rest.split(':').next()?.parse().ok());
    (file, line.unwrap_or(0))
}

fn unknown(path: &str) -> String {
    let near = SETTINGS.iter().map(|setting| setting.path).filter(|known| {
        let tail = |text: &str| text.rsplit('.').next().unwrap_or_default().replace('-', "_");
        tail(known) == tail(path) || known.starts_with(path) || distance(known, path) <= 2
    });
    let near: Vec<_> = near.map(|known| format!("`{known}`")).collect();
    if near.is_empty() {
        let all: Vec<_> = SETTINGS.iter().map(|setting| setting.path).collect();
        return format!("there is no such setting; known are {}", all.join(", "));
    }
    format!("there is no such setting; did you mean {}?", near.join(" or "))
}

/// How many letters have to be put in, taken out or changed to make one of the other.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut next = vec![i + 1];
        for (j, to) in b.iter().enumerate() {
            let change = row.get(j).copied().unwrap_or(i) + usize::from(from != *to);
            let others = row.get(j + 1).copied().unwrap_or(i).min(next.get(j).copied().unwrap_or(i)) + 1;
            next.push(change.min(others));
        }
        row = next;
    }
    row.last().copied().unwrap_or(usize::MAX)
}

/// An environment variable: its name and value.
type Variable = (String, String);

/// Variables by setting; and those that set nothing.
fn split_environment(environment: BTreeMap<String, String>) -> (BTreeMap<&'static str, Variable>, Vec<Fault>) {
    let mut known = BTreeMap::new();
    let mut faults = Vec::new();
    for (name, value) in environment {
        let path = name.strip_prefix(PREFIX).unwrap_or(&name).to_ascii_lowercase();
        match SETTINGS.iter().find(|setting| setting.path.replace('.', "_") == path) {
            Some(setting) => {
                known.insert(setting.path, (name, value));
            }
            None if OTHERS.iter().any(|other| name.starts_with(other)) => {}
            None => faults.push(Fault { place: format!("environment variable {name}"), what: unknown(&path) }),
        }
    }
    (known, faults)
}

fn join(above: &str, key: &str) -> String {
    if above.is_empty() { key.to_owned() } else { format!("{above}.{key}") }
}

/// Every value that is no table, by its dotted path.
fn leaves_of<'v>(value: &'v Value, path: &str, into: &mut Vec<(String, &'v Value)>) {
    match &value.kind {
        ValueKind::Table(table) => {
            let mut keys: Vec<_> = table.keys().collect();
            keys.sort();
            for key in keys {
                if let Some(value) = table.get(key) {
                    leaves_of(value, &join(path, key), into);
                }
            }
        }
        _ => into.push((path.to_owned(), value)),
    }
}

/// The line of every key of the file, by its dotted path.
fn lines_of(table: &DeTable<'_>, text: &str, path: &str, into: &mut BTreeMap<String, usize>) {
    for (key, value) in table {
        let path = join(path, key.get_ref());
        into.insert(path.clone(), line_of(text, key.span().start));
        if let DeValue::Table(table) = value.get_ref() {
            lines_of(table, text, &path, into);
        }
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    text.as_bytes().iter().take(offset).filter(|byte| **byte == b'\n').count() + 1
}
