//! A bill: what a license used in a period, and how much of the period its files tell of.

use std::collections::BTreeSet;

use jiff::{civil::Date, tz::TimeZone};
use leasehold_keys::{
    activation::LicenseId,
    installation::InstallationId,
    time::WallTime,
    usage::{Bounds, Item, Names, Period, Remark},
};

use super::{
    category::Tariff,
    coverage::{Coverage, Known, Lack, LackKind, Seen},
    tally::{self, Counts, Tally},
};

/// What a license used in a period.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bill {
    /// The license.
    pub license_id: LicenseId,
    /// The period.
    pub period: Period,
    /// When that is.
    pub bounds: Bounds,
    /// What was used.
    pub counts: Counts,
    /// Whose files there are.
    pub installations: Vec<Seen>,
    /// What they do not tell.
    pub lacks: Vec<Lack>,
    /// What servers said of themselves in the period.
    pub remarks: Vec<(InstallationId, Remark)>,
    /// How the files name users. More than one: a user may have been counted under each.
    pub names: BTreeSet<Names>,
    /// True where the period had not ended when the bill was made.
    pub so_far: bool,
}

impl Bill {
    /// Days that are lacking for this reason, each once.
    pub fn days(&self, kind: LackKind) -> BTreeSet<Date> {
        let lacks = self.lacks.iter().filter(|lack| lack.kind == kind);
        let days = |lack: &Lack| {
            let last = lack.last_day;
            lack.first_day.series(jiff::ToSpan::day(1)).take_while(move |day| *day <= last)
        };
        lacks.flat_map(days).collect()
    }

    /// Those of [`Bill::days`] of which a part is known.
    pub fn days_in_part(&self, kind: LackKind) -> BTreeSet<Date> {
        let lacks = || self.lacks.iter().filter(|lack| lack.kind == kind);
        let ends = |lack: &Lack| {
            let first = lack.first_in_part.then_some(lack.first_day);
            first.into_iter().chain(lack.last_in_part.then_some(lack.last_day))
        };
        let whole = |day: Date| {
            lacks().any(|lack| (lack.first_day..=lack.last_day).contains(&day) && !ends(lack).any(|end| end == day))
        };
        lacks().flat_map(ends).filter(|day| !whole(*day)).collect()
    }
}

/// What is known of a file before its items.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opening {
    /// Whose it is.
    pub installation: InstallationId,
    /// Its number.
    pub segment: u32,
    /// True where its header quotes the end of the file before, as that file is here.
    pub continues: bool,
    /// When it begins.
    pub start: WallTime,
    /// How it names users.
    pub names: Names,
}

/// A bill in the making. Files come in the order of their numbers, one installation after the other.
#[derive(Clone, Debug)]
pub struct Billing {
    license_id: LicenseId,
    period: Period,
    bounds: Bounds,
    tally: Tally,
    coverage: Coverage,
    remarks: Vec<(InstallationId, Remark)>,
    names: BTreeSet<Names>,
}

impl Billing {
    /// A bill of this license for a period in the site's time zone, by what its keys are billed as.
    pub fn new(license_id: LicenseId, period: Period, zone: &TimeZone, tariff: Tariff) -> Self {
        let bounds = period.bounds(zone);
        Self {
            license_id,
            period,
            bounds,
            tally: Tally::new(bounds.from..bounds.until, tariff),
            coverage: Coverage::new(bounds.from..bounds.until, zone.clone()),
            remarks: Vec::new(),
            names: BTreeSet::new(),
        }
    }

    /// A file opens.
    pub fn open(&mut self, opening: Opening) -> OpenFile<'_> {
        let Opening { installation, segment, continues, start, .. } = opening;
        if let Some(end) = self.coverage.breaks_before(installation, segment, continues) {
            self.tally.cut(installation, end);
        }
        let file = self.tally.open(installation, start);
        OpenFile {
            file,
            coverage: &mut self.coverage,
            remarks: &mut self.remarks,
            names: &mut self.names,
            bounds: self.bounds,
            opening,
            latest: start,
        }
    }

    /// The bill, as it stands at `now`.
    pub fn finish(mut self, now: WallTime) -> Bill {
        let (installations, lacks) = self.coverage.finish(now);
        for seen in &installations {
            self.tally.cut(seen.installation, seen.until);
        }
        Bill {
            license_id: self.license_id,
            period: self.period,
            bounds: self.bounds,
            counts: self.tally.finish(),
            installations,
            lacks,
            remarks: self.remarks,
            names: self.names,
            so_far: now < self.bounds.until,
        }
    }
}

/// A file whose items are being billed.
#[derive(Debug)]
pub struct OpenFile<'b> {
    file: tally::Opened<'b>,
    coverage: &'b mut Coverage,
    remarks: &'b mut Vec<(InstallationId, Remark)>,
    names: &'b mut BTreeSet<Names>,
    bounds: Bounds,
    opening: Opening,
    latest: WallTime,
}

impl OpenFile<'_> {
    /// Takes the next items.
    pub fn take(&mut self, items: &[Item]) {
        for item in items {
            if !matches!(item, Item::Present { .. }) {
                self.latest = self.latest.max(item.at());
            }
            if item.user().is_some() {
                self.names.insert(self.opening.names);
            }
            if let Item::Remark(remark) = item
                && (self.bounds.from..self.bounds.until).contains(&remark.at)
            {
                self.remarks.push((self.opening.installation, remark.clone()));
            }
        }
        self.file.take(items);
    }

    /// The file is read: it was closed at `closed`, or is known up to its last item. `damaged`: not all of it could be
    /// read, or relied on.
    pub fn close(self, closed: Option<WallTime>, damaged: bool) {
        let Opening { installation, segment, continues, start, .. } = self.opening;
        self.file.close(!damaged);
        let until = closed.filter(|_| !damaged).unwrap_or(self.latest);
        self.coverage.take(installation, segment, continues, start, Known { until, damaged });
    }
}
