//! What the files of a license cover, and which days of a period they do not (04, Reading and billing).

use std::{collections::BTreeMap, ops::Range};

use jiff::{civil::Date, tz::TimeZone};
use leasehold_keys::{installation::InstallationId, time::WallTime};

/// Why something is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LackKind {
    /// Files are not there.
    Missing,
    /// Files are there, and cannot be relied on or not be read to their end.
    Damaged,
}

/// Days of a period of which not all is known.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lack {
    /// The first, by the site's calendar.
    pub first_day: Date,
    /// The last.
    pub last_day: Date,
    /// Why.
    pub kind: LackKind,
    /// Whose files; none where no installation has any.
    pub installation: Option<InstallationId>,
    /// Which of them, the first and the last.
    pub segments: Option<(u32, u32)>,
    /// From then on.
    pub from: WallTime,
    /// Up to then; none where nothing later is known either.
    pub until: Option<WallTime>,
    /// True where `from` lies within the first day, so that the begin of that day is known.
    pub first_in_part: bool,
    /// True where `until` lies within the last day, so that the end of that day is known.
    pub last_in_part: bool,
}

impl Lack {
    /// True where of its first or its last day a part is known.
    pub fn is_in_part(&self) -> bool {
        self.first_in_part || self.last_in_part
    }
}

/// An installation of which files are there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Whose they are.
    pub installation: InstallationId,
    /// How many.
    pub files: u32,
    /// The numbers of the first and the last.
    pub segments: (u32, u32),
    /// When the first begins.
    pub from: WallTime,
    /// When the last ends, as far as it is known.
    pub until: WallTime,
}

/// How far a file can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Known {
    /// Up to here.
    pub(super) until: WallTime,
    /// Records are damaged or missing after that.
    pub(super) damaged: bool,
}

#[derive(Clone, Debug)]
struct Reach {
    seen: Seen,
    /// Of the file before, where it can be continued.
    damaged: bool,
}

/// Coverage being worked out. Files come in the order of their numbers, per installation.
#[derive(Clone, Debug)]
pub(super) struct Coverage {
    window: Range<WallTime>,
    zone: TimeZone,
    installations: BTreeMap<InstallationId, Reach>,
    stretches: Vec<Range<WallTime>>,
    /// True where some installation had files before those that are there.
    begun_before: bool,
    first: Option<WallTime>,
    lacks: Vec<Lack>,
}

impl Coverage {
    /// Of `window`, by the calendar of `zone`.
    pub(super) fn new(window: Range<WallTime>, zone: TimeZone) -> Self {
        Self {
            window,
            zone,
            installations: BTreeMap::new(),
            stretches: Vec::new(),
            begun_before: false,
            first: None,
            lacks: Vec::new(),
        }
    }

    /// Where the knowledge of an installation breaks before its file `segment`: none where that file continues the one
    /// before. `continues`: its header quotes the end of that one.
    pub(super) fn breaks_before(
        &self,
        installation: InstallationId,
        segment: u32,
        continues: bool,
    ) -> Option<WallTime> {
        let reach = self.installations.get(&installation)?;
        let next = reach.seen.segments.1.checked_add(1) == Some(segment);
        (!next || !continues || reach.damaged).then_some(reach.seen.until)
    }

    /// Takes a file that begins at `start`.
    pub(super) fn take(
        &mut self,
        installation: InstallationId,
        segment: u32,
        continues: bool,
        start: WallTime,
        known: Known,
    ) {
        let breaks = self.breaks_before(installation, segment, continues);
        self.first = Some(self.first.map_or(start, |first| first.min(start)));
        let known_until = known.until.max(start);
        match self.installations.get_mut(&installation) {
            None => {
                if segment > 1 {
                    self.begun_before = true;
                    let before = self.window.start..start;
                    self.lacking(before, LackKind::Missing, Some(installation), Some((1, segment - 1)), false);
                }
                let seen =
                    Seen { installation, files: 1, segments: (segment, segment), from: start, until: known_until };
                self.installations.insert(installation, Reach { seen, damaged: known.damaged });
            }
            Some(reach) => {
                let (last, until, damaged) = (reach.seen.segments.1, reach.seen.until, reach.damaged);
                reach.seen.files += 1;
                reach.seen.segments.1 = segment;
                reach.seen.until = known_until;
                reach.damaged = known.damaged;
                let between = until..start.max(until.plus_ms(1));
                if breaks.is_none() {
                    // What was used while the daemon was down, its leases tell.
                    self.stretches.push(until.min(start)..start);
                } else if last.saturating_add(1) < segment {
                    let segments = Some((last + 1, segment - 1));
                    self.lacking(between, LackKind::Missing, Some(installation), segments, false);
                } else {
                    let at = if damaged { last } else { segment };
                    self.lacking(between, LackKind::Damaged, Some(installation), Some((at, at)), false);
                }
            }
        }
        self.stretches.push(start..known_until);
    }

    /// `on`: nothing later is known either.
    fn lacking(
        &mut self,
        stretch: Range<WallTime>,
        kind: LackKind,
        installation: Option<InstallationId>,
        segments: Option<(u32, u32)>,
        on: bool,
    ) {
        let stretch = stretch.start.max(self.window.start)..stretch.end.min(self.window.end);
        let Some((first_day, last_day)) = self.days(&stretch) else { return };
        let until = Some(stretch.end).filter(|_| !on);
        self.lacks.push(Lack {
            first_day,
            last_day,
            kind,
            installation,
            segments,
            from: stretch.start,
            until,
            first_in_part: !self.begins_a_day(stretch.start),
            last_in_part: until.is_some_and(|until| !self.begins_a_day(until)),
        });
    }

    /// True at the very begin of a day of the site's calendar, which is not 00:00 in every zone.
    fn begins_a_day(&self, time: WallTime) -> bool {
        let zoned = |time: jiff::Timestamp| time.to_zoned(self.zone.clone());
        jiff::Timestamp::from_millisecond(time.as_ms())
            .ok()
            .and_then(|time| zoned(time).start_of_day().ok())
            .is_some_and(|start| start.timestamp().as_millisecond() == time.as_ms())
    }

    /// The days that a stretch touches.
    fn days(&self, stretch: &Range<WallTime>) -> Option<(Date, Date)> {
        let day = |time: WallTime| {
            let time = jiff::Timestamp::from_millisecond(time.as_ms()).ok()?;
            Some(time.to_zoned(self.zone.clone()).date())
        };
        (stretch.start < stretch.end).then_some(())?;
        Some((day(stretch.start)?, day(stretch.end.plus_ms(-1))?))
    }

    /// The installations, and what is lacking up to `now`.
    pub(super) fn finish(mut self, now: WallTime) -> (Vec<Seen>, Vec<Lack>) {
        for reach in self.installations.values().cloned().collect::<Vec<_>>() {
            if reach.damaged {
                let (at, last) = (reach.seen.until, reach.seen.segments.1);
                let installation = Some(reach.seen.installation);
                self.lacking(at..at.plus_ms(1), LackKind::Damaged, installation, Some((last, last)), true);
            }
        }
        // Days that no installation covers. Before the first segment of all there was nothing to tell.
        let begun = match self.first.filter(|_| !self.begun_before) {
            Some(first) => first.max(self.window.start),
            None => self.window.start,
        };
        let mut stretches = std::mem::take(&mut self.stretches);
        stretches.sort_by_key(|stretch| (stretch.start, stretch.end));
        let end = self.window.end.min(now);
        let mut from = begun;
        let mut uncovered = Vec::new();
        for stretch in &stretches {
            if from < stretch.start {
                uncovered.push(from..stretch.start.min(end));
            }
            from = from.max(stretch.end);
        }
        uncovered.push(from..end);
        for stretch in uncovered {
            let told =
                |day: (Date, Date)| self.lacks.iter().any(|lack| lack.first_day <= day.0 && day.1 <= lack.last_day);
            // What is known of each installation's own chain says more.
            if self.days(&stretch).is_some_and(|days| !told(days)) {
                let on = stretch.end == end && end < self.window.end;
                self.lacking(stretch, LackKind::Missing, None, None, on);
            }
        }
        self.lacks.sort();
        (self.installations.into_values().map(|reach| reach.seen).collect(), self.lacks)
    }
}
