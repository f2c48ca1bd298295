//! By when the licensor is to have usage files: before the 4th that follows a billing period, which runs from the 28th to the
//! next 28th, 00:00 in the site's time zone (04, Delivery). Pure: no clock is read here, and no file.

use std::{collections::BTreeMap, fmt};

use jiff::{Timestamp, civil::Date, tz::TimeZone};
use leasehold_engine::{row::UsageSegmentRow, time::WallTime};
pub use leasehold_keys::usage::Period;

/// The site's time zone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Zone {
    /// This machine's; UTC where it has none.
    #[default]
    Machine,
    /// One of the IANA database.
    Named(TimeZone),
}

impl Zone {
    /// The zone of an IANA name such as `Europe/Berlin`; the machine's for an empty one.
    ///
    /// # Errors
    /// There is none of this name.
    pub fn named(name: &str) -> Result<Self, jiff::Error> {
        if name.is_empty() { Ok(Zone::Machine) } else { TimeZone::get(name).map(Zone::Named) }
    }

    /// The zone itself.
    pub fn time_zone(&self) -> TimeZone {
        match self {
            Zone::Machine => TimeZone::try_system().unwrap_or(TimeZone::UTC),
            Zone::Named(zone) => zone.clone(),
        }
    }
}

/// How near a due day is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Nearness {
    /// Seven days or fewer.
    SevenDays,
    /// Three or two.
    ThreeDays,
    /// One.
    OneDay,
    /// It has come.
    Over,
}

impl Nearness {
    fn of(days_left: i64) -> Option<Self> {
        match days_left {
            ..=0 => Some(Nearness::Over),
            1 => Some(Nearness::OneDay),
            2..=3 => Some(Nearness::ThreeDays),
            4..=7 => Some(Nearness::SevenDays),
            _ => None,
        }
    }
}

/// A billing period of which the licensor lacks files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deadline {
    /// The period, named by the month in which it ends.
    pub period: Period,
    /// Before when its files are to be there.
    pub due: WallTime,
    /// That moment as a day of the site's calendar.
    pub due_day: Date,
    /// Days of the site's calendar until then: 0 on that day, below it after.
    pub days_left: i64,
    /// How near that is.
    pub nearness: Nearness,
    /// Files that touch the period and have no receipt.
    pub files: usize,
    /// The oldest of them.
    pub oldest: String,
}

impl fmt::Display for Deadline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { period, due_day, days_left, files, oldest, .. } = self;
        let lacks = match files {
            1 => format!("{oldest} has no receipt"),
            more => format!("{more} files have no receipt, the oldest {oldest}"),
        };
        match days_left {
            ..=0 => write!(f, "the usage files of {period} were due before {due_day}: {lacks}"),
            1 => write!(f, "the usage files of {period} are due before {due_day}, in 1 day: {lacks}"),
            days => write!(f, "the usage files of {period} are due before {due_day}, in {days} days: {lacks}"),
        }
    }
}

/// More periods than one file ever touches: a server that stood still for two years.
const PERIODS_MAX: usize = 24;

/// Before when the licensor is to have a file: the earliest due moment of the periods that it touches, and that moment as a
/// day of the site's calendar.
pub(super) fn due(row: &UsageSegmentRow, zone: &TimeZone) -> Option<(WallTime, Date)> {
    let period = Period::of(row.began, zone)?;
    Some((period.bounds(zone).due, period.due_day()))
}

/// The periods of which status warns at `now`, oldest first. A file that is still being written counts from three days
/// before: it closes within a day by itself.
pub fn deadlines(rows: &[UsageSegmentRow], now: WallTime, zone: &TimeZone) -> Vec<Deadline> {
    let Some(today) = date(now, zone) else { return Vec::new() };
    let mut found: BTreeMap<Period, Deadline> = BTreeMap::new();
    for row in rows.iter().filter(|row| row.acknowledged.is_none()) {
        for period in periods(row, now, zone) {
            let due_day = period.due_day();
            let days_left = days(today, due_day);
            let Some(nearness) = Nearness::of(days_left) else { continue };
            if row.closed.is_none() && nearness < Nearness::ThreeDays {
                continue;
            }
            let due = period.bounds(zone).due;
            let entry = found.entry(period).or_insert_with(|| Deadline {
                period,
                due,
                due_day,
                days_left,
                nearness,
                files: 0,
                oldest: row.file.clone(),
            });
            entry.files += 1;
        }
    }
    found.into_values().collect()
}

/// The periods that a file touches: from its begin up to its close, and not with that.
fn periods(row: &UsageSegmentRow, now: WallTime, zone: &TimeZone) -> impl Iterator<Item = Period> {
    let end = row.closed.unwrap_or(now).plus_ms(-1).max(row.began);
    let (first, last) = (Period::of(row.began, zone), Period::of(end, zone));
    std::iter::successors(first, |period| Some(period.next()))
        .take_while(move |period| Some(*period) <= last)
        .take(PERIODS_MAX)
}

fn date(time: WallTime, zone: &TimeZone) -> Option<Date> {
    Some(Timestamp::from_millisecond(time.as_ms()).ok()?.to_zoned(zone.clone()).date())
}

/// Days of the calendar from one to the other.
fn days(from: Date, to: Date) -> i64 {
    from.until(to).map_or(i64::MAX, |span| i64::from(span.get_days()))
}
