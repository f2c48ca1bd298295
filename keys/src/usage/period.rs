//! Billing periods (04, Delivery): from the 28th, 00:00, to the next 28th, 00:00, in the site's time zone (004, Manual upload
//! method). The one place for them: whoever bundles, delivers, warns or bills goes by this. No clock is read here.

use std::{fmt, str::FromStr};

use jiff::{
    civil::{Date, date},
    tz::TimeZone,
};

use crate::time::WallTime;

/// The day of the month on which a period begins and the one before ends.
const FIRST_DAY: i8 = 28;
/// The day of the next month before which its files are due.
const DUE_DAY: i8 = 4;

/// A billing period, named by the month in which it ends: `2026-11` runs from 28 October to 27 November.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Period {
    year: i16,
    month: i8,
}

/// Why a text names no period.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no billing period; name the month in which it ends, such as 2026-11")]
pub struct NotAPeriod(String);

impl FromStr for Period {
    type Err = NotAPeriod;

    /// Exactly `YYYY-MM`, from 1971 to 9998.
    fn from_str(text: &str) -> Result<Self, NotAPeriod> {
        let digits = |part: &str, length: usize| {
            let plain = part.len() == length && part.bytes().all(|byte| byte.is_ascii_digit());
            part.parse::<i16>().ok().filter(|_| plain)
        };
        let read = || {
            let (year, month) = text.split_once('-')?;
            let (year, month) = (digits(year, 4)?, i8::try_from(digits(month, 2)?).ok()?);
            ((1971..=9998).contains(&year) && (1..=12).contains(&month)).then_some(Self { year, month })
        };
        read().ok_or_else(|| NotAPeriod(text.chars().take(40).collect()))
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.year, self.month)
    }
}

impl Period {
    /// The period that `time` lies in.
    pub fn of(time: WallTime, zone: &TimeZone) -> Option<Self> {
        let day = jiff::Timestamp::from_millisecond(time.as_ms()).ok()?.to_zoned(zone.clone()).date();
        let own = Self { year: day.year(), month: day.month() };
        if day.day() < FIRST_DAY { Some(own) } else { Some(own.next()) }
    }

    /// The period after this one.
    #[must_use]
    pub fn next(self) -> Self {
        match self.month {
            12 => Self { year: self.year + 1, month: 1 },
            month => Self { month: month + 1, ..self },
        }
    }

    fn before(self) -> Self {
        match self.month {
            1 => Self { year: self.year - 1, month: 12 },
            month => Self { month: month - 1, ..self },
        }
    }

    /// The first day: a 28th.
    pub fn first_day(self) -> Date {
        let Self { year, month } = self.before();
        date(year, month, FIRST_DAY)
    }

    /// The last day: a 27th.
    pub fn last_day(self) -> Date {
        date(self.year, self.month, FIRST_DAY - 1)
    }

    /// The day before which the files are due: the 4th of the month after.
    pub fn due_day(self) -> Date {
        let Self { year, month } = self.next();
        date(year, month, DUE_DAY)
    }

    /// The moments from and until which it runs in a time zone. Where a change of clocks leaves out midnight, a day
    /// begins with the first moment after it; where it brings midnight twice, with the first.
    pub fn bounds(self, zone: &TimeZone) -> Bounds {
        Bounds {
            from: midnight(self.first_day(), zone),
            until: midnight(date(self.year, self.month, FIRST_DAY), zone),
            due: midnight(self.due_day(), zone),
        }
    }

    /// Its days in their order.
    pub fn days(self) -> impl Iterator<Item = Date> {
        let last = self.last_day();
        self.first_day().series(jiff::ToSpan::day(1)).take_while(move |day| *day <= last)
    }
}

/// When a period runs in a time zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// From here on.
    pub from: WallTime,
    /// Up to here, and not with it.
    pub until: WallTime,
    /// Its files are to be there before.
    pub due: WallTime,
}

impl Bounds {
    /// True for what began in it, or began before and had not ended when it began; `ended`: `None` while it goes on. What
    /// ended at the very moment at which the period begins does not touch it.
    pub fn touches(&self, began: WallTime, ended: Option<WallTime>) -> bool {
        began < self.until && (began >= self.from || ended.is_none_or(|ended| ended > self.from))
    }
}

/// When a day begins.
pub fn midnight(day: Date, zone: &TimeZone) -> WallTime {
    let begins = day.to_zoned(zone.clone()).and_then(|noted| noted.start_of_day());
    // Only days at the very ends of the calendar begin nowhere; periods are read from 1971 to 9998.
    WallTime::from_ms(begins.map_or(0, |begins| begins.timestamp().as_millisecond()))
}

#[cfg(test)]
mod tests {
    use crate::time::HOUR_MS;

    use super::*;

    fn period(text: &str) -> Period {
        text.parse().unwrap()
    }

    fn zone(name: &str) -> TimeZone {
        TimeZone::get(name).unwrap()
    }

    #[test]
    fn a_period_is_named_by_the_month_in_which_it_ends() {
        for bad in ["", "2026", "2026-13", "2026-00", "2026-1", "26-11", "+026-11", "2026-11-01", "1970-01", "9999-01"]
        {
            assert_eq!(bad.parse::<Period>(), Err(NotAPeriod(bad.to_owned())));
        }
        // 004's example, and what the specification says of November.
        let rows = [
            ("2026-05", "2026-04-28", "2026-05-27", "2026-06-04"),
            ("2026-11", "2026-10-28", "2026-11-27", "2026-12-04"),
            ("2026-12", "2026-11-28", "2026-12-27", "2027-01-04"),
            ("2027-01", "2026-12-28", "2027-01-27", "2027-02-04"),
        ];
        for (name, first, last, due) in rows {
            let period = period(name);
            assert_eq!(period.to_string(), name);
            assert_eq!(period.first_day().to_string(), first);
            assert_eq!(period.last_day().to_string(), last);
            assert_eq!(period.due_day().to_string(), due);
        }
    }

    #[test]
    fn periods_follow_the_lengths_of_months_and_leap_years() {
        let days = |name: &str| period(name).days().count();
        assert_eq!(days("2026-03"), 28, "28 February to 27 March of a common year");
        assert_eq!(days("2028-03"), 29, "28 and 29 February are in it");
        assert_eq!((days("2026-02"), days("2028-02")), (31, 31));
        assert_eq!((days("2026-05"), days("2026-06")), (30, 31));
        assert!(period("2028-03").days().any(|day| day == date(2028, 2, 29)));
        assert_eq!(days("2100-03"), 28, "a century that is no leap year");
    }

    #[test]
    fn each_period_ends_where_the_next_begins_in_every_zone() {
        let zones =
            ["UTC", "Europe/Berlin", "America/Los_Angeles", "Asia/Kathmandu", "Pacific/Apia", "America/Sao_Paulo"];
        for name in zones {
            let zone = zone(name);
            let mut period = period("2010-01");
            for _ in 0..240 {
                let (bounds, next) = (period.bounds(&zone), period.next());
                assert_eq!(bounds.until, next.bounds(&zone).from, "{name} {period}");
                assert!(bounds.from < bounds.until && bounds.until < bounds.due);
                assert_eq!(Period::of(bounds.from, &zone), Some(period));
                assert_eq!(Period::of(bounds.until.plus_ms(-1), &zone), Some(period));
                assert_eq!(Period::of(bounds.until, &zone), Some(next));
                period = next;
            }
        }
    }

    #[test]
    fn daylight_saving_makes_a_period_an_hour_longer_or_shorter() {
        let hours = |name: &str, at: &str| {
            let Bounds { from, until, .. } = period(name).bounds(&zone(at));
            (until.as_ms() - from.as_ms()) / HOUR_MS
        };
        // 29 March and 25 October 2026 in Berlin; 8 March and 1 November in New York.
        assert_eq!(hours("2026-04", "Europe/Berlin"), 31 * 24 - 1);
        assert_eq!(hours("2026-10", "Europe/Berlin"), 30 * 24 + 1);
        assert_eq!(hours("2026-03", "America/New_York"), 28 * 24 - 1);
        assert_eq!(hours("2026-11", "America/New_York"), 31 * 24 + 1);
        assert_eq!(hours("2026-11", "UTC"), 31 * 24);
        let berlin = period("2026-11").bounds(&zone("Europe/Berlin"));
        assert_eq!(berlin.from.to_string(), "2026-10-27T23:00:00Z");
        assert_eq!(berlin.until.to_string(), "2026-11-27T23:00:00Z");
    }

    #[test]
    fn what_touches_a_period_has_a_moment_in_it() {
        let bounds = period("2026-11").bounds(&zone("Europe/Berlin"));
        let (from, until) = (bounds.from, bounds.until);
        let rows = [
            (from.plus_ms(-5), Some(from), false),
            (from.plus_ms(-5), Some(from.plus_ms(1)), true),
            (from.plus_ms(-5), None, true),
            (from, Some(from), true),
            (until.plus_ms(-1), Some(until.plus_ms(9)), true),
            (until, None, false),
            // A clock that was set back: it began in it all the same.
            (from.plus_ms(9), Some(from.plus_ms(-9)), true),
        ];
        for (began, ended, touches) in rows {
            assert_eq!(bounds.touches(began, ended), touches, "{began} {ended:?}");
        }
    }

    #[test]
    fn a_day_without_midnight_begins_with_its_first_moment() {
        // Lebanon leaves out the hour from 00:00 to 01:00 on 28 March 2021.
        let beirut = zone("Asia/Beirut");
        assert_eq!(period("2021-04").bounds(&beirut).from.to_string(), "2021-03-27T22:00:00Z");
        assert_eq!(period("2021-03").bounds(&beirut).until.to_string(), "2021-03-27T22:00:00Z");
        // Cuba had 00:00 to 01:00 twice on 28 October 2012.
        let havana = zone("America/Havana");
        assert_eq!(period("2012-11").bounds(&havana).from.to_string(), "2012-10-28T04:00:00Z");
        // Samoa skipped 30 December 2011: the period has one day less.
        let apia = period("2012-01").bounds(&zone("Pacific/Apia"));
        assert_eq!((apia.until.as_ms() - apia.from.as_ms()) / HOUR_MS, 30 * 24);
    }
}
