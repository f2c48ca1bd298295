//! The way out, tested step by step: each step with its result, and the remedy for the first that fails (04).

use super::trouble::Trouble;

/// A step of the way out, in the order in which they are tested.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StepKind {
    /// Destination, proxy, authorities: what is configured can be used.
    Configuration,
    /// The host's name, or the proxy's where there is one, is known.
    Name,
    /// A connection is made there.
    Connection,
    /// The proxy makes a tunnel, with its authentication.
    Proxy,
    /// TLS with the server, whose certificate is believed.
    Tls,
    /// The bucket or the endpoint is there and answers.
    Destination,
    /// The bucket takes these credentials: a small object, `INSTALLATION.probe`, is written under the prefix.
    Credentials,
    /// The server's clock and trusted time here agree within five minutes.
    Clock,
}

impl StepKind {
    /// All of them.
    pub const ALL: [StepKind; 8] = [
        StepKind::Configuration,
        StepKind::Name,
        StepKind::Connection,
        StepKind::Proxy,
        StepKind::Tls,
        StepKind::Destination,
        StepKind::Credentials,
        StepKind::Clock,
    ];

    /// Its name in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            StepKind::Configuration => "configuration",
            StepKind::Name => "name",
            StepKind::Connection => "connection",
            StepKind::Proxy => "proxy",
            StepKind::Tls => "tls",
            StepKind::Destination => "destination",
            StepKind::Credentials => "credentials",
            StepKind::Clock => "clock",
        }
    }

    /// What is tested, in a few words.
    pub fn words(self) -> &'static str {
        match self {
            StepKind::Configuration => "what is configured can be used",
            StepKind::Name => "the name is found",
            StepKind::Connection => "a connection is made",
            StepKind::Proxy => "the proxy lets through",
            StepKind::Tls => "the server's certificate is believed",
            StepKind::Destination => "the bucket or endpoint answers",
            StepKind::Credentials => "the credentials are taken",
            StepKind::Clock => "the clocks agree",
        }
    }
}

/// What came of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome<T = Trouble> {
    /// It is well.
    Passed {
        /// What was found: an address, a version, a name.
        found: String,
        /// How long it took, in milliseconds.
        ms: u64,
    },
    /// It is not; the trouble says what to do.
    Failed(T),
    /// There is nothing to test here, as where no proxy is set.
    NotNeeded(&'static str),
    /// A step before it failed.
    NotReached,
}

/// One step and what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step<T = Trouble> {
    /// Which.
    pub kind: StepKind,
    /// What came of it.
    pub outcome: Outcome<T>,
}

/// All steps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report<T = Trouble> {
    /// Where files or check-ins go, for people; `None` where nothing says so.
    pub destination: Option<String>,
    /// The proxy, without its password.
    pub proxy: Option<String>,
    /// Every step of [`StepKind::ALL`], in that order.
    pub steps: Vec<Step<T>>,
}

impl<T> Report<T> {
    /// The first step that failed, and why.
    pub fn first_failure(&self) -> Option<(StepKind, &T)> {
        self.steps.iter().find_map(|step| match &step.outcome {
            Outcome::Failed(trouble) => Some((step.kind, trouble)),
            _ => None,
        })
    }

    /// True where a file, or a check-in, could go out now.
    pub fn is_well(&self) -> bool {
        self.first_failure().is_none()
    }
}
