//! Moments of the UTC calendar that terms are made of. No clock is read here.

use jiff::{Span, Timestamp, tz::TimeZone};
use leasehold_keys::time::{DAY_MS, SECOND_MS, WallTime};

/// `time` without its fraction of a second, which signed files do not have.
pub(crate) fn whole_second(time: WallTime) -> WallTime {
    WallTime::from_ms(time.as_ms().div_euclid(SECOND_MS) * SECOND_MS)
}

/// Midnight UTC at or before `time`.
pub(crate) fn midnight(time: WallTime) -> WallTime {
    WallTime::from_ms(time.as_ms().div_euclid(DAY_MS) * DAY_MS)
}

/// The same moment in a later year of the UTC calendar; the last of February where the day is missing there.
pub(crate) fn plus_years(time: WallTime, years: i64) -> WallTime {
    let later = Timestamp::from_millisecond(time.as_ms())
        .and_then(|time| time.to_zoned(TimeZone::UTC).checked_add(Span::new().try_years(years)?))
        .map(|later| later.timestamp().as_millisecond());
    WallTime::from_ms(later.unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn years_are_those_of_the_calendar() {
        let rows = [
            ("2026-11-22T12:34:56Z", 1, "2027-11-22T12:34:56Z"),
            ("2027-03-01T00:00:00Z", 1, "2028-03-01T00:00:00Z"),
            ("2028-02-29T08:00:00Z", 1, "2029-02-28T08:00:00Z"),
            ("2028-02-29T08:00:00Z", 4, "2032-02-29T08:00:00Z"),
        ];
        for (from, years, to) in rows {
            assert_eq!(plus_years(from.parse().unwrap(), years).to_string(), to);
        }
    }

    #[test]
    fn signed_files_hold_whole_seconds_and_days_begin_at_midnight() {
        let time = WallTime::from_ms(1_795_350_896_789);
        assert_eq!(whole_second(time).as_ms(), 1_795_350_896_000);
        assert_eq!(midnight(time).as_ms() % DAY_MS, 0);
        assert!(midnight(time) <= time && time < midnight(time).plus_ms(DAY_MS));
        assert_eq!(midnight(WallTime::from_ms(-1)).as_ms(), -DAY_MS);
    }
}
