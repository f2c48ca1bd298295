//! What an application asks for, checked before it is sent.
//!
//! What a server alone can judge (whether a user exists, whether a seat is free) is left to it.

use std::time::Duration;

use leasehold_proto::v1;
use uuid::Uuid;

use crate::{clock::millis, refusal::Invalid};

const TTL_RANGE: std::ops::RangeInclusive<Duration> = Duration::from_secs(10)..=Duration::from_secs(86_400);
const LONGEST_WAIT: Duration = Duration::from_secs(3_600);
const MOST_UNITS: u32 = 1_000_000;
const LAST_PRIORITY: u32 = 9;
const LONGEST_NAME_BYTES: usize = 256;

/// How a lease is asked for, whatever it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Terms {
    ttl: Option<Duration>,
    wait: Duration,
    priority: u32,
    sign: bool,
}

/// The settings that every kind of request has.
macro_rules! terms {
    () => {
        /// Waits in the queue for as long as this; at most an hour. By default a request does not wait.
        #[must_use]
        pub fn wait(mut self, longest: Duration) -> Self {
            self.terms.wait = longest;
            self
        }

        /// How long the lease lives without a renewal: 10 s to 24 h, by default 60 s. A shorter one frees the seats
        /// of a crashed holder sooner; a longer one outlasts longer interruptions unnoticed.
        #[must_use]
        pub fn ttl(mut self, ttl: Duration) -> Self {
            self.terms.ttl = Some(ttl);
            self
        }

        /// The class in the queue: 0 (the default, served first) to 9.
        #[must_use]
        pub fn priority(mut self, class: u32) -> Self {
            self.terms.priority = class;
            self
        }

        /// Has the lease come with a token that the server's installation signs: the guard's
        /// [`lease`](crate::LeaseGuard::lease) has it. It costs the server as much again as the grant.
        #[must_use]
        pub fn signed(mut self) -> Self {
            self.terms.sign = true;
            self
        }
    };
}

/// A user's logon: all keys given to the user come with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logon {
    user: String,
    at: Option<v1::user_logon::At>,
    computer: String,
    needed_keys: Vec<String>,
    application: String,
    terms: Terms,
}

impl Logon {
    /// A logon of this user.
    #[must_use]
    pub fn user(user: impl Into<String>) -> Self {
        Self {
            user: user.into(),
            at: None,
            computer: String::new(),
            needed_keys: Vec::new(),
            application: String::new(),
            terms: Terms::default(),
        }
    }

    /// At this station.
    #[must_use]
    pub fn station(mut self, station: impl Into<String>) -> Self {
        self.at = Some(v1::user_logon::At::Station(station.into()));
        self
    }

    /// From a telephone of any number, which takes a basic station seat for as long as the lease lives. Instead of a
    /// station.
    #[must_use]
    pub fn dynamic_remote(mut self, number: impl Into<String>) -> Self {
        self.at = Some(v1::user_logon::At::DynamicRemoteNumber(number.into()));
        self
    }

    /// On this computer, which makes the logon primary: it ends the user's primary leases on other computers
    /// (ALLOC-8).
    #[must_use]
    pub fn computer(mut self, computer: impl Into<String>) -> Self {
        self.computer = computer.into();
        self
    }

    /// Without these keys the logon makes no sense: all of them are held, or nothing is taken (ALLOC-6).
    #[must_use]
    pub fn needing<K: Into<String>>(mut self, keys: impl IntoIterator<Item = K>) -> Self {
        self.needed_keys.extend(keys.into_iter().map(Into::into));
        self
    }

    /// The application that the user runs, where it is not the client's own.
    #[must_use]
    pub fn application(mut self, application: impl Into<String>) -> Self {
        self.application = application.into();
        self
    }

    terms!();
}

/// A station's own use of keys that are given to it, such as a wallboard's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StationUse {
    station: String,
    needed_keys: Vec<String>,
    terms: Terms,
}

impl StationUse {
    /// Use of this station.
    #[must_use]
    pub fn of(station: impl Into<String>) -> Self {
        Self { station: station.into(), needed_keys: Vec::new(), terms: Terms::default() }
    }

    /// Without these keys the use makes no sense.
    #[must_use]
    pub fn needing<K: Into<String>>(mut self, keys: impl IntoIterator<Item = K>) -> Self {
        self.needed_keys.extend(keys.into_iter().map(Into::into));
        self
    }

    terms!();
}

/// Units of a session, engine or hardware key for the application server itself: all or nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Units {
    key: String,
    units: u32,
    terms: Terms,
}

impl Units {
    /// So many units of this key; 1 to 1,000,000.
    #[must_use]
    pub fn of(key: impl Into<String>, units: u32) -> Self {
        Self { key: key.into(), units, terms: Terms::default() }
    }

    terms!();
}

/// One request for a lease, of whatever kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acquire {
    subject: v1::acquire_request::Subject,
    terms: Terms,
}

impl From<Logon> for Acquire {
    fn from(logon: Logon) -> Self {
        let Logon { user, at, computer, needed_keys, application, terms } = logon;
        let subject = v1::UserLogon { user, at, computer, needed_keys, application };
        Self { subject: v1::acquire_request::Subject::Logon(subject), terms }
    }
}

impl From<StationUse> for Acquire {
    fn from(station_use: StationUse) -> Self {
        let StationUse { station, needed_keys, terms } = station_use;
        let subject = v1::StationUse { station, needed_keys };
        Self { subject: v1::acquire_request::Subject::Station(subject), terms }
    }
}

impl From<Units> for Acquire {
    fn from(units: Units) -> Self {
        let Units { key, units, terms } = units;
        let subject = v1::ServerUnits { key, units };
        Self { subject: v1::acquire_request::Subject::Units(subject), terms }
    }
}

impl Acquire {
    /// How long it may wait in the queue.
    pub(crate) fn longest_wait(&self) -> Duration {
        self.terms.wait
    }

    pub(crate) fn check(&self) -> Result<(), Invalid> {
        let Terms { ttl, wait, priority, sign: _ } = self.terms;
        if ttl.is_some_and(|ttl| !TTL_RANGE.contains(&ttl)) {
            return Err(Invalid::new("ttl", "must be 10 s to 24 h"));
        }
        if wait > LONGEST_WAIT {
            return Err(Invalid::new("wait", "must be at most an hour"));
        }
        if priority > LAST_PRIORITY {
            return Err(Invalid::new("priority", "must be 0 to 9"));
        }
        match &self.subject {
            v1::acquire_request::Subject::Logon(logon) => {
                check_name("user", &logon.user)?;
                match &logon.at {
                    Some(v1::user_logon::At::Station(station)) => check_name("station", station)?,
                    Some(v1::user_logon::At::DynamicRemoteNumber(number)) => {
                        check_name("dynamic remote number", number)?;
                    }
                    None => {}
                }
                check_optional_name("computer", &logon.computer)?;
                check_optional_name("application", &logon.application)?;
                logon.needed_keys.iter().try_for_each(|key| check_name("needed key", key))
            }
            v1::acquire_request::Subject::Station(station) => {
                check_name("station", &station.station)?;
                station.needed_keys.iter().try_for_each(|key| check_name("needed key", key))
            }
            v1::acquire_request::Subject::Units(units) => {
                check_name("key", &units.key)?;
                if !(1..=MOST_UNITS).contains(&units.units) {
                    return Err(Invalid::new("units", "must be 1 to 1,000,000"));
                }
                Ok(())
            }
        }
    }

    /// The message, which stays the same however often it is sent: its ID with another body would be refused
    /// (LEASE-3).
    pub(crate) fn into_message(self, id: Uuid) -> v1::AcquireRequest {
        v1::AcquireRequest {
            request_id: id.as_bytes().to_vec(),
            caller: None,
            subject: Some(self.subject),
            ttl_ms: self.terms.ttl.map_or(0, millis),
            wait_ms: millis(self.terms.wait),
            priority: self.terms.priority,
            sign: self.terms.sign,
        }
    }
}

/// Names are 1 to 256 bytes without control characters.
pub(crate) fn check_name(field: &'static str, name: &str) -> Result<(), Invalid> {
    if name.is_empty() {
        return Err(Invalid::new(field, "must not be empty"));
    }
    check_optional_name(field, name)
}

pub(crate) fn check_optional_name(field: &'static str, name: &str) -> Result<(), Invalid> {
    if name.len() > LONGEST_NAME_BYTES {
        return Err(Invalid::new(field, "must be at most 256 bytes long"));
    }
    if name.chars().any(char::is_control) {
        return Err(Invalid::new(field, "must not contain control characters"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_server_would_take_is_not_sent() {
        let second = Duration::from_secs(1);
        let cases: Vec<(Acquire, &str)> = vec![
            (Logon::user("").into(), "user must not be empty"),
            (Logon::user("a\nb").into(), "user must not contain control"),
            (Logon::user("u".repeat(257)).into(), "user must be at most 256 bytes"),
            (Logon::user("u").station("").into(), "station must not be empty"),
            (Logon::user("u").needing([""]).into(), "needed key must not be empty"),
            (Logon::user("u").ttl(second * 9).into(), "ttl must be 10 s to 24 h"),
            (Logon::user("u").ttl(second * 86_401).into(), "ttl must be 10 s to 24 h"),
            (Logon::user("u").wait(second * 3_601).into(), "wait must be at most an hour"),
            (Logon::user("u").priority(10).into(), "priority must be 0 to 9"),
            (StationUse::of("").into(), "station must not be empty"),
            (Units::of("K", 0).into(), "units must be 1 to"),
            (Units::of("K", 1_000_001).into(), "units must be 1 to"),
        ];
        for (acquire, said) in cases {
            let invalid = acquire.check().expect_err(said).to_string();
            assert!(invalid.starts_with(said), "{invalid}");
        }
        let fine: Vec<Acquire> = vec![
            Logon::user("u").station("s").computer("c").needing(["K"]).ttl(second * 10).into(),
            Logon::user("u").dynamic_remote("+13175550100").wait(second * 3_600).priority(9).into(),
            StationUse::of("s").needing(["K"]).into(),
            Units::of("K", 1_000_000).into(),
        ];
        for acquire in fine {
            assert_eq!(acquire.check(), Ok(()));
        }
    }
}
