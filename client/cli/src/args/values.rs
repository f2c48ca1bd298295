//! Values of arguments, checked when they are parsed: names, times, limits. A value that exists is valid.

use std::{fmt, str::FromStr, time::Duration};

use jiff::{SignedDuration, Span, Timestamp, Zoned, civil};

use crate::clock::Clock;

/// The longest name, in bytes.
const NAME_LIMIT_BYTES: usize = 256;
/// The longest reason, in bytes.
const REASON_LIMIT_BYTES: usize = 1_024;

/// A name: 1 to 256 bytes without control characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name(String);

impl Name {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Name {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        checked(text, NAME_LIMIT_BYTES, "a name").map(Self)
    }
}

/// A reason for people and the audit log: 1 to 1,024 bytes without control characters, not blank.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason(String);

impl Reason {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Reason {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.trim().is_empty() {
            return Err("a reason is needed: it is kept in the audit log".to_owned());
        }
        checked(text, REASON_LIMIT_BYTES, "a reason").map(Self)
    }
}

fn checked(text: &str, limit: usize, what: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err(format!("{what} cannot be empty"));
    }
    if text.len() > limit {
        return Err(format!("{what} has at most {limit} bytes; this one has {}", text.len()));
    }
    if text.chars().any(char::is_control) {
        return Err(format!("{what} cannot contain control characters"));
    }
    Ok(text.to_owned())
}

/// A name, or `none` to clear a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameOrNone(Option<Name>);

impl NameOrNone {
    /// The name; empty for none, as on the wire.
    #[must_use]
    pub fn wire(&self) -> String {
        self.0.as_ref().map_or_else(String::new, ToString::to_string)
    }
}

impl FromStr for NameOrNone {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "none" { Ok(Self(None)) } else { text.parse().map(|name| Self(Some(name))) }
    }
}

/// Names separated by commas, or `none` for an empty list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names(Vec<Name>);

impl Names {
    /// The names as they go on the wire.
    #[must_use]
    pub fn wire(&self) -> Vec<String> {
        self.0.iter().map(ToString::to_string).collect()
    }
}

impl FromStr for Names {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self(Vec::new()));
        }
        text.split(',').map(|part| part.trim().parse()).collect::<Result<_, _>>().map(Self)
    }
}

/// The idle time of a pool: 1 minute to 24 hours, or `none`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdleTime(u64);

impl IdleTime {
    /// In milliseconds; 0 for none.
    #[must_use]
    pub const fn ms(self) -> u64 {
        self.0
    }
}

impl FromStr for IdleTime {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self(0));
        }
        let allowed = "an idle time is 1m to 24h, such as 15m, or none";
        let duration: SignedDuration = text.parse().map_err(|_| allowed.to_owned())?;
        match u64::try_from(duration.as_millis()) {
            Ok(ms @ 60_000..=86_400_000) => Ok(Self(ms)),
            _ => Err(allowed.to_owned()),
        }
    }
}

/// The limit of a share, or `none`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit(Option<u32>);

impl Limit {
    /// The limit; `None` where there is none.
    #[must_use]
    pub const fn seats(self) -> Option<u32> {
        self.0
    }
}

impl FromStr for Limit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self(None));
        }
        text.parse().map(|seats| Self(Some(seats))).map_err(|_| "a limit is a count of seats, or none".to_owned())
    }
}

#[derive(Clone, Copy, Debug)]
enum Point {
    Distance(Span),
    Date(civil::Date),
    DateTime(civil::DateTime),
    Instant(Timestamp),
}

impl Point {
    fn parse(text: &str) -> Option<Self> {
        // An instant has an offset; a civil time has none; a bare date must not be read as a time of day.
        if let Ok(instant) = text.parse::<Timestamp>() {
            return Some(Self::Instant(instant));
        }
        if text.contains(':')
            && let Ok(time) = text.parse::<civil::DateTime>()
        {
            return Some(Self::DateTime(time));
        }
        if let Ok(date) = text.parse::<civil::Date>() {
            return Some(Self::Date(date));
        }
        text.parse::<Span>().ok().filter(|span| !span.is_negative()).map(Self::Distance)
    }
}

/// A moment in the past from which on something is listed.
#[derive(Clone, Copy, Debug)]
pub struct Moment(Point);

impl Moment {
    /// Whether it depends on what time it is: a distance back, and no date.
    #[must_use]
    pub const fn is_distance(self) -> bool {
        matches!(self.0, Point::Distance(_))
    }

    /// The moment by this clock.
    ///
    /// # Errors
    ///
    /// In words, where the time lies outside of the calendar.
    pub fn resolve(self, clock: &Clock) -> Result<Timestamp, String> {
        resolve(self.0, clock, |now, span| now.checked_sub(span), Ok)
    }
}

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Point::parse(text).map(Self).ok_or_else(|| {
            "a time is a distance back (2h, 3d), a local date or time (2026-11-22, 2026-11-22 03:00) or an instant \
             (2026-11-22T03:00:00Z)"
                .to_owned()
        })
    }
}

/// A moment in the future at which something ends. A date includes its day.
#[derive(Clone, Copy, Debug)]
pub struct Until(Point);

impl Until {
    /// The moment by this clock.
    ///
    /// # Errors
    ///
    /// In words, where it is not in the future, or outside of the calendar.
    pub fn resolve(self, clock: &Clock) -> Result<Timestamp, String> {
        let at = resolve(self.0, clock, |now, span| now.checked_add(span), civil::Date::tomorrow)?;
        if at <= clock.now().timestamp() {
            return Err(format!("{} has passed", clock.end(at)));
        }
        Ok(at)
    }
}

impl FromStr for Until {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Point::parse(text).map(Self).ok_or_else(|| {
            "an end is a local date (2026-12-31, that day included), a local time (2026-12-31 18:00), an instant \
             (2026-12-31T18:00:00Z) or a distance (30d)"
                .to_owned()
        })
    }
}

/// So long from now, of some length.
#[derive(Clone, Copy, Debug)]
pub struct Ahead(Span);

impl Ahead {
    /// The moment by this clock.
    ///
    /// # Errors
    ///
    /// In words, where it lies outside of the calendar.
    pub fn resolve(self, clock: &Clock) -> Result<Timestamp, String> {
        resolve(Point::Distance(self.0), clock, |now, span| now.checked_add(span), Ok)
    }
}

impl FromStr for Ahead {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match Point::parse(text) {
            Some(Point::Distance(span)) if !span.is_zero() => Ok(Self(span)),
            _ => Err("so long a time is written 20d, 6w or 36h".to_owned()),
        }
    }
}

fn resolve(
    point: Point,
    clock: &Clock,
    step: impl Fn(&Zoned, Span) -> Result<Zoned, jiff::Error>,
    day: impl Fn(civil::Date) -> Result<civil::Date, jiff::Error>,
) -> Result<Timestamp, String> {
    let zone = clock.now().time_zone().clone();
    let at = match point {
        Point::Instant(at) => return Ok(at),
        Point::Distance(span) => step(clock.now(), span),
        Point::DateTime(time) => time.to_zoned(zone),
        Point::Date(date) => day(date).and_then(|date| date.to_zoned(zone)),
    };
    at.map(|at| at.timestamp()).map_err(|_| "the time lies outside of the calendar".to_owned())
}

/// How long to wait for an answer: more than nothing, at most a day.
///
/// # Errors
///
/// In words, where it is not.
pub fn parse_wait(text: &str) -> Result<Duration, String> {
    let allowed = "a time to wait is 1ms to 24h, such as 30s or 5m";
    let duration: SignedDuration = text.parse().map_err(|_| allowed.to_owned())?;
    match Duration::try_from(duration) {
        Ok(wait) if wait >= Duration::from_millis(1) && wait <= Duration::from_secs(86_400) => Ok(wait),
        _ => Err(allowed.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::{Ahead, Clock, IdleTime, Limit, Moment, Name, Names, Until};

    fn clock() -> Clock {
        Clock::fixed("2026-03-01T12:00:00Z".parse().unwrap(), TimeZone::fixed(jiff::tz::offset(1)))
    }

    #[test]
    fn names_have_bounds() {
        assert!("agent-001".parse::<Name>().is_ok());
        assert!("ü".repeat(128).parse::<Name>().is_ok());
        for (bad, why) in [
            (String::new(), "cannot be empty"),
            ("ü".repeat(129), "at most 256 bytes; this one has 258"),
            ("a\u{1b}[31m".to_owned(), "control characters"),
            ("a\nb".to_owned(), "control characters"),
        ] {
            let error = bad.parse::<Name>().unwrap_err();
            assert!(error.contains(why), "{bad:?}: {error}");
        }
        assert_eq!("call, chat".parse::<Names>().unwrap().wire(), ["call", "chat"]);
        assert!("none".parse::<Names>().unwrap().wire().is_empty());
        assert!("call,,chat".parse::<Names>().is_err());
    }

    #[test]
    fn times_ahead() {
        let at = |text: &str| text.parse::<Ahead>().unwrap().resolve(&clock()).unwrap().to_string();
        assert_eq!(at("20d"), "2026-03-21T12:00:00Z");
        assert_eq!(at("2w"), "2026-03-15T12:00:00Z");
        for bad in ["", "0d", "-3d", "2026-12-20", "soon"] {
            assert!(bad.parse::<Ahead>().is_err(), "{bad}");
        }
        assert!("9999y".parse::<Ahead>().unwrap().resolve(&clock()).is_err());
    }

    #[test]
    fn idle_times_and_limits() {
        assert_eq!("15m".parse::<IdleTime>().unwrap().ms(), 900_000);
        assert_eq!("24h".parse::<IdleTime>().unwrap().ms(), 86_400_000);
        assert_eq!("none".parse::<IdleTime>().unwrap().ms(), 0);
        for bad in ["59s", "25h", "0", "-5m", "soon", ""] {
            assert!(bad.parse::<IdleTime>().is_err(), "{bad}");
        }
        assert_eq!("none".parse::<Limit>().unwrap().seats(), None);
        assert_eq!("10".parse::<Limit>().unwrap().seats(), Some(10));
        assert!("-1".parse::<Limit>().is_err());
    }

    #[test]
    fn moments_lie_behind() {
        for (text, expected) in [
            ("2h", "2026-03-01T10:00:00Z"),
            ("3d", "2026-02-26T12:00:00Z"),
            ("90 minutes", "2026-03-01T10:30:00Z"),
            ("2026-02-28", "2026-02-27T23:00:00Z"),
            ("2026-02-28 03:00", "2026-02-28T02:00:00Z"),
            ("2026-02-28T03:00:00Z", "2026-02-28T03:00:00Z"),
        ] {
            let moment: Moment = text.parse().unwrap();
            assert_eq!(moment.resolve(&clock()).unwrap().to_string(), expected, "{text}");
            assert_eq!(moment.is_distance(), !text.starts_with("2026"), "{text}");
        }
        for bad in ["", "yesterday", "2026-13-01", "-2h", "12"] {
            assert!(bad.parse::<Moment>().is_err(), "{bad}");
        }
    }

    #[test]
    fn ends_lie_ahead_and_include_their_day() {
        for (text, expected) in [
            ("2026-03-01", "2026-03-01T23:00:00Z"),
            ("2026-12-31", "2026-12-31T23:00:00Z"),
            ("30d", "2026-03-31T12:00:00Z"),
        ] {
            let until: Until = text.parse().unwrap();
            assert_eq!(until.resolve(&clock()).unwrap().to_string(), expected, "{text}");
        }
        let past: Until = "2026-02-28".parse().unwrap();
        assert!(past.resolve(&clock()).unwrap_err().contains("2026-02-28 24:00 has passed"));
    }
}
