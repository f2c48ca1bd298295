//! Wall-clock time as signed files, audit entries and people use it. Lease time is another type, in the engine.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A moment in UTC, in milliseconds since 1970-01-01T00:00:00Z.
///
/// Signed files hold whole seconds written `2026-11-22T04:19:00Z`; no other offset, no fraction, no leap second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WallTime {
    ms: i64,
}

/// One second, in milliseconds.
pub const SECOND_MS: i64 = 1_000;
/// One hour, in milliseconds.
pub const HOUR_MS: i64 = 3_600 * SECOND_MS;
/// One day of 24 hours, in milliseconds.
pub const DAY_MS: i64 = 24 * HOUR_MS;

impl WallTime {
    /// The end of a perpetual license: 2100-01-01T00:00:00Z.
    pub const PERPETUAL_END: WallTime = WallTime { ms: 4_102_444_800_000 };

    /// A moment from milliseconds since 1970, UTC.
    pub const fn from_ms(ms: i64) -> Self {
        Self { ms }
    }

    /// Milliseconds since 1970, UTC.
    pub const fn as_ms(self) -> i64 {
        self.ms
    }

    /// This moment moved by `ms` milliseconds, held at the ends of the range.
    #[must_use]
    pub const fn plus_ms(self, ms: i64) -> Self {
        Self { ms: self.ms.saturating_add(ms) }
    }
}

impl fmt::Display for WallTime {
    /// RFC 3339 in UTC to the second: `2026-11-22T04:19:00Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_second(self.ms.div_euclid(SECOND_MS)) {
            Ok(time) => write!(f, "{time}"),
            Err(_) => write!(f, "{} ms", self.ms),
        }
    }
}

/// Why a text is no time of a signed file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a UTC time like 2026-11-22T04:19:00Z")]
pub struct NotATime(pub String);

impl FromStr for WallTime {
    type Err = NotATime;

    /// Exactly `YYYY-MM-DDTHH:MM:SSZ`.
    fn from_str(text: &str) -> Result<Self, NotATime> {
        let refuse = || NotATime(text.chars().take(40).collect());
        let shape = "dddd-dd-ddTdd:dd:ddZ";
        let fits = text.len() == shape.len()
            && text.bytes().zip(shape.bytes()).all(|(got, want)| match want {
                b'd' => got.is_ascii_digit(),
                other => got == other,
            });
        // A second of 60 would be folded into the next minute by the date library; signed files have no leap second.
        if !fits || &text[17..19] == "60" {
            return Err(refuse());
        }
        let time: jiff::Timestamp = text.parse().map_err(|_| refuse())?;
        Ok(Self { ms: time.as_millisecond() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_signed_files_have_one_spelling() {
        for good in ["2026-11-22T04:19:00Z", "2100-01-01T00:00:00Z", "2024-02-29T23:59:59Z"] {
            assert_eq!(good.parse::<WallTime>().unwrap().to_string(), good);
        }
        for bad in [
            "2026-11-22T04:19:60Z",
            "2026-11-22T04:19:00+01:00",
            "2026-11-22T04:19:00+00:00",
            "2026-11-22t04:19:00Z",
            "2026-11-22T04:19:00.5Z",
            "2026-02-29T00:00:00Z",
            "2026-11-22 04:19:00Z",
            "2026-11-22T24:00:00Z",
            "",
        ] {
            assert!(bad.parse::<WallTime>().is_err(), "{bad}");
        }
    }
}
