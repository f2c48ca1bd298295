//! The one place that reads the wall clock and the time zone, and the words for moments and durations.
//! What it says is for people: documents for programs carry RFC 3339 in UTC.

use jiff::{Timestamp, Zoned, tz::TimeZone};

/// The present moment and the zone in which moments are shown, read once for each command.
#[derive(Clone, Debug)]
pub struct Clock {
    now: Zoned,
}

impl Clock {
    /// The machine's clock, in the zone of `TZ` or of the system.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the place that reads the time, to show moments to people")]
    pub fn system() -> Self {
        Self { now: Zoned::now() }
    }

    /// A clock that stands still, for tests.
    #[must_use]
    pub fn fixed(now: Timestamp, zone: TimeZone) -> Self {
        Self { now: now.to_zoned(zone) }
    }

    /// The same zone at another moment.
    #[must_use]
    pub fn at(&self, now: Timestamp) -> Self {
        Self::fixed(now, self.now.time_zone().clone())
    }

    /// The moment of the command.
    #[must_use]
    pub fn now(&self) -> &Zoned {
        &self.now
    }

    /// `2026-11-22 04:42:10`, in local time.
    #[must_use]
    pub fn moment(&self, at: Timestamp) -> String {
        self.local(at).strftime("%Y-%m-%d %H:%M:%S").to_string()
    }

    /// `2026-11-22 04:42 (3 min ago)`, in local time.
    #[must_use]
    pub fn moment_and_distance(&self, at: Timestamp) -> String {
        format!("{} ({})", self.minute(at), self.distance(at))
    }

    /// `2026-11-22 04:42`, in local time.
    #[must_use]
    pub fn minute(&self, at: Timestamp) -> String {
        self.local(at).strftime("%Y-%m-%d %H:%M").to_string()
    }

    /// `2026-11-22`, in local time.
    #[must_use]
    pub fn date(&self, at: Timestamp) -> String {
        self.local(at).strftime("%Y-%m-%d").to_string()
    }

    /// `2026-11-22`, or `no end` for the dates from 2100 on by which files say so.
    #[must_use]
    pub fn end_date(&self, at: Timestamp) -> String {
        // By UTC, as files are written: west of Greenwich the same moment still lies in 2099.
        if at.to_zoned(TimeZone::UTC).year() >= 2100 { "no end".to_owned() } else { self.date(at) }
    }

    /// `2026-12-31 18:00`, or `2026-12-31 24:00` for the end of a day, which is how people think of it.
    #[must_use]
    pub fn end(&self, at: Timestamp) -> String {
        let local = self.local(at);
        match local.date().yesterday() {
            Ok(day) if local.time() == jiff::civil::Time::midnight() => format!("{day} 24:00"),
            _ => local.strftime("%Y-%m-%d %H:%M").to_string(),
        }
    }

    /// `3 min ago`, `in 2 days`, `just now`.
    #[must_use]
    pub fn distance(&self, at: Timestamp) -> String {
        let ms = self.now.timestamp().as_millisecond().saturating_sub(at.as_millisecond());
        match ms {
            ms if ms < -999 => format!("in {}", duration(ms.unsigned_abs())),
            ms => ago(u64::try_from(ms).unwrap_or(0)),
        }
    }

    /// The name of the zone, such as `Europe/Berlin` or `+02:00`.
    #[must_use]
    pub fn zone(&self) -> String {
        match self.now.time_zone().iana_name() {
            Some("Etc/UTC") => "UTC".to_owned(),
            Some(name) => name.to_owned(),
            None => self.now.strftime("%:z").to_string(),
        }
    }

    fn local(&self, at: Timestamp) -> Zoned {
        at.to_zoned(self.now.time_zone().clone())
    }
}

/// `3 min ago`, or `just now` below a second.
#[must_use]
pub fn ago(ms: u64) -> String {
    if ms < 1_000 { "just now".to_owned() } else { format!("{} ago", duration(ms)) }
}

/// A duration in its two largest units: `45 s`, `3 min`, `1 h 20 min`, `2 days 4 h`. What is below the second unit is cut.
#[must_use]
pub fn duration(ms: u64) -> String {
    let seconds = ms / 1_000;
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    let day_word = if days == 1 { "day" } else { "days" };
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, minutes) if minutes < 5 && !seconds.is_multiple_of(60) => {
            format!("{minutes} min {} s", seconds % 60)
        }
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, 0) => format!("{hours} h"),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, 0, _) => format!("{days} {day_word}"),
        (days, hours, _) if days < 7 => format!("{days} {day_word} {hours} h"),
        (days, _, _) => format!("{days} {day_word}"),
    }
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::{Clock, duration};

    #[test]
    fn durations_in_two_units() {
        for (ms, expected) in [
            (0, "0 s"),
            (999, "0 s"),
            (45_000, "45 s"),
            (90_000, "1 min 30 s"),
            (180_000, "3 min"),
            (901_000, "15 min"),
            (3_600_000, "1 h"),
            (4_800_000, "1 h 20 min"),
            (86_400_000, "1 day"),
            (187_200_000, "2 days 4 h"),
            (864_000_000, "10 days"),
        ] {
            assert_eq!(duration(ms), expected, "{ms} ms");
        }
    }

    #[test]
    fn moments_in_the_zone_of_the_reader() {
        let zone = TimeZone::fixed(jiff::tz::offset(1));
        let clock = Clock::fixed("2026-03-01T02:00:00Z".parse().unwrap(), zone);
        let at = "2026-03-01T01:57:00Z".parse().unwrap();
        assert_eq!(clock.moment(at), "2026-03-01 02:57:00");
        assert_eq!(clock.moment_and_distance(at), "2026-03-01 02:57 (3 min ago)");
        assert_eq!(clock.distance("2026-03-03T02:00:00Z".parse().unwrap()), "in 2 days");
        assert_eq!(clock.end_date("2100-01-01T00:00:00Z".parse().unwrap()), "no end");
        assert_eq!(clock.end("2026-12-31T23:00:00Z".parse().unwrap()), "2026-12-31 24:00");
        assert_eq!(clock.end("2026-12-31T17:30:00Z".parse().unwrap()), "2026-12-31 18:30");
        assert_eq!(clock.zone(), "+01:00");
    }
}
