//! The names of usage files: `<installation>-<segment, 8 digits>-<yyyymmdd>.usg` (USAGE-4).

use std::{fmt, str::FromStr};

use jiff::{civil::Date, tz::TimeZone};

use crate::{installation::InstallationId, time::WallTime};

/// The highest number of a segment: eight digits.
pub const SEGMENT_MAX: u32 = 99_999_999;

/// The name of a usage file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentName {
    /// The installation that wrote it.
    pub installation: InstallationId,
    /// Its number, 1 to [`SEGMENT_MAX`].
    pub segment: u32,
    /// The day on which it began, UTC by trusted time, in the years 1 to 9999.
    pub day: Date,
}

impl SegmentName {
    /// The name of a segment that begins at `start`; times beyond the calendar count as 1970-01-01.
    pub fn of(installation: InstallationId, segment: u32, start: WallTime) -> Self {
        let day = jiff::Timestamp::from_millisecond(start.as_ms())
            .map(|time| time.to_zoned(TimeZone::UTC).date())
            .ok()
            .filter(|day| day.year() >= 1)
            .unwrap_or(Date::constant(1970, 1, 1));
        Self { installation, segment, day }
    }
}

impl fmt::Display for SegmentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { installation, segment, day } = self;
        write!(f, "{installation}-{segment:08}-{:04}{:02}{:02}.usg", day.year(), day.month(), day.day())
    }
}

/// Why a text is not the name of a usage file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is not INSTALLATION-SEGMENT-YYYYMMDD.usg, with 32 digits 0-9 a-f, 8 decimal digits and a date")]
pub struct NotASegmentName;

impl FromStr for SegmentName {
    type Err = NotASegmentName;

    fn from_str(text: &str) -> Result<Self, NotASegmentName> {
        let read = || {
            let mut parts = text.strip_suffix(".usg")?.split('-');
            let (installation, segment, day) = (parts.next()?, digits(parts.next()?, 8)?, parts.next()?);
            if parts.next().is_some() || segment == 0 {
                return None;
            }
            let day = u64::from(digits(day, 8)?);
            let (year, month, date) = (day / 10_000, day / 100 % 100, day % 100);
            let day = Date::new(year.try_into().ok()?, month.try_into().ok()?, date.try_into().ok()?).ok()?;
            (day.year() >= 1).then_some(())?;
            Some(Self { installation: installation.parse().ok()?, segment, day })
        };
        read().ok_or(NotASegmentName)
    }
}

/// A number of exactly so many decimal digits.
fn digits(text: &str, length: usize) -> Option<u32> {
    let plain = text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one_spelling() {
        let name = "0123456789abcdef0123456789abcdef-00000042-20261122.usg";
        let read: SegmentName = name.parse().unwrap();
        assert_eq!((read.segment, read.day), (42, Date::constant(2026, 11, 22)));
        assert_eq!(read.to_string(), name);
        let midnight: WallTime = "2026-11-22T00:00:00Z".parse().unwrap();
        assert_eq!(SegmentName::of(read.installation, 42, midnight), read);
        assert_eq!(SegmentName::of(read.installation, 42, midnight.plus_ms(-1)).day, Date::constant(2026, 11, 21));
        for far in [i64::MIN, i64::MAX, -62_135_596_800_001] {
            assert_eq!(SegmentName::of(read.installation, 1, WallTime::from_ms(far)).day, Date::constant(1970, 1, 1));
        }
        for bad in [
            "0123456789abcdef0123456789abcdeF-00000042-20261122.usg",
            "0123456789abcdef0123456789abcdef-0000042-20261122.usg",
            "0123456789abcdef0123456789abcdef-00000000-20261122.usg",
            "0123456789abcdef0123456789abcdef-+0000042-20261122.usg",
            "0123456789abcdef0123456789abcdef-00000042-20260229.usg",
            "0123456789abcdef0123456789abcdef-00000042-00000101.usg",
            "0123456789abcdef0123456789abcdef-00000042-20261122",
            "0123456789abcdef0123456789abcdef-00000042-20261122.usg.usg",
            "0123456789abcdef0123456789abcdef-00000042-20261122-.usg",
            "a/0123456789abcdef0123456789abcdef-00000042-20261122.usg",
            "",
        ] {
            assert_eq!(bad.parse::<SegmentName>(), Err(NotASegmentName), "{bad}");
        }
    }
}
