//! What a billing period needs of the usage files, and what of it is not there (04, Delivery, Manual). Pure: no clock is read
//! here, and no file.

use std::{collections::BTreeMap, fmt};

use leasehold_engine::{row::UsageSegmentRow, time::WallTime};
use leasehold_keys::{
    installation::InstallationId,
    usage::{Bounds, SegmentName},
};

/// The files that touch a period.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needed {
    /// Those that are closed, by number.
    pub files: Vec<UsageSegmentRow>,
    /// What is not among them.
    pub gaps: Vec<Gap>,
}

/// Something of a period that a bundle lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gap {
    /// The period goes on.
    NotOver {
        /// The day with which it ends, by the site's calendar.
        last_day: String,
    },
    /// The file is being written.
    Open {
        /// Which.
        file: String,
    },
    /// The file cannot be read, or is not what was written.
    Missing {
        /// Which.
        file: String,
        /// Why.
        why: String,
    },
    /// Older files were acknowledged and taken away.
    TakenAway {
        /// Whose they were.
        installation: InstallationId,
        /// The number of the last of them.
        last: u32,
    },
}

impl Gap {
    /// A stable code.
    pub fn kind(&self) -> &'static str {
        match self {
            Gap::NotOver { .. } => "period-not-over",
            Gap::Open { .. } => "open",
            Gap::Missing { .. } => "missing",
            Gap::TakenAway { .. } => "taken-away",
        }
    }

    /// The file, where one is meant.
    pub fn file(&self) -> Option<&str> {
        match self {
            Gap::Open { file } | Gap::Missing { file, .. } => Some(file),
            Gap::NotOver { .. } | Gap::TakenAway { .. } => None,
        }
    }
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Gap::NotOver { last_day } => {
                write!(
                    f,
                    "the period goes on: what is used until the end of {last_day} is not in it; bundle it again after that"
                )
            }
            Gap::Open { file } => {
                write!(
                    f,
                    "{file} is still being written; it is closed at 00:00 UTC, or at the next start of the daemon"
                )
            }
            Gap::Missing { file, why } => write!(f, "{file} cannot be bundled: {why}"),
            Gap::TakenAway { installation, last } => write!(
                f,
                "the files of {installation} up to segment {last} are no longer here: the licensor signed for them, and their \
                 time was over"
            ),
        }
    }
}

/// The files of a period, of those that are kept. `last_day`: of the period, for people.
pub fn needed(rows: &[UsageSegmentRow], bounds: &Bounds, last_day: &str, now: WallTime) -> Needed {
    let mut needed = Needed::default();
    if now < bounds.until {
        needed.gaps.push(Gap::NotOver { last_day: last_day.to_owned() });
    }
    let mut oldest: BTreeMap<InstallationId, (u32, WallTime)> = BTreeMap::new();
    for row in rows {
        if let Ok(name) = row.file.parse::<SegmentName>() {
            oldest.entry(name.installation).or_insert((name.segment, row.began));
        }
    }
    for (installation, (segment, began)) in oldest {
        // The one before it ended when this one began; whether it touched the period is not known any more.
        if segment > 1 && began > bounds.from && began < bounds.until {
            needed.gaps.push(Gap::TakenAway { installation, last: segment - 1 });
        }
    }
    for row in rows.iter().filter(|row| bounds.touches(row.began, row.closed)) {
        match row.closed {
            Some(_) => needed.files.push(row.clone()),
            None => needed.gaps.push(Gap::Open { file: row.file.clone() }),
        }
    }
    needed
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;
    use leasehold_keys::{digest::Sha256, usage::Period};

    use super::*;
    use crate::test_site::LICENSE;

    fn row(number: u32, began: &str, closed: Option<&str>) -> UsageSegmentRow {
        let began: WallTime = began.parse().unwrap();
        let installation: InstallationId = "0123456789abcdef0123456789abcdef".parse().unwrap();
        UsageSegmentRow {
            number,
            file: SegmentName::of(installation, number, began).to_string(),
            license: LICENSE,
            began,
            because: "midnight".into(),
            records: 1,
            records_before: 0,
            events: 0,
            bytes: 1,
            head: Sha256([0; 32]),
            closed: closed.map(|closed| closed.parse().unwrap()),
            sha256: None,
            uploaded: None,
            acknowledged: None,
            stored: true,
        }
    }

    fn of(rows: &[UsageSegmentRow], now: &str) -> (Vec<u32>, Vec<&'static str>) {
        let period: Period = "2026-11".parse().unwrap();
        let bounds = period.bounds(&TimeZone::get("Europe/Berlin").unwrap());
        let needed = needed(rows, &bounds, "2026-11-27", now.parse().unwrap());
        let numbers = needed.files.iter().map(|row| row.number).collect();
        (numbers, needed.gaps.iter().map(Gap::kind).collect())
    }

    #[test]
    fn the_files_that_touch_the_period_are_needed() {
        // Berlin: from 27 October 23:00 UTC to 27 November 23:00 UTC.
        let rows = [
            row(1, "2026-10-26T00:00:00Z", Some("2026-10-27T00:00:00Z")),
            row(2, "2026-10-27T00:00:00Z", Some("2026-10-28T00:00:00Z")),
            row(3, "2026-10-28T00:00:00Z", Some("2026-10-28T12:00:00Z")),
            row(4, "2026-11-27T00:00:00Z", Some("2026-11-28T00:00:00Z")),
            row(5, "2026-11-28T00:00:00Z", None),
        ];
        assert_eq!(of(&rows, "2026-11-28T09:00:00Z"), (vec![2, 3, 4], vec![]));
        // The last day by UTC ends an hour after the period.
        let rows = [row(4, "2026-11-27T00:00:00Z", None)];
        assert_eq!(of(&rows, "2026-11-27T23:30:00Z").1, ["taken-away", "open"]);
        let rows = [row(1, "2026-11-20T00:00:00Z", None)];
        assert_eq!(of(&rows, "2026-11-20T23:30:00Z"), (vec![], vec!["period-not-over", "open"]));
    }
}
