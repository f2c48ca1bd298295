//! `leasehold status`: how the server stands, what wants attention first.

use leasehold_proto::v1;
use serde::Serialize;

use super::{
    At, Document, NoticeDocument, given,
    page::{Page, Tone, counted, number},
    standing::{ReadinessDocument, StandingDocument},
    table::Cell,
    usage::UsageStatusDocument,
};
use crate::clock;

/// The document of `leasehold status`.
#[derive(Clone, Debug, Serialize)]
pub struct StatusDocument {
    /// The daemon's version.
    pub version: String,
    /// Tells this installation from all others.
    pub installation_id: String,
    /// `licensed`, `unlicensed` or `standby`.
    pub license_state: String,
    /// When the daemon started.
    pub started_at: Option<At>,
    /// When leases could be granted; null while it starts.
    pub ready_at: Option<At>,
    /// The licensor's root that is trusted.
    pub root: String,
    /// The enforcement stage, 1 to 6.
    pub enforcement_stage: u32,
    /// Live leases.
    pub leases: u64,
    /// Known users.
    pub users: u64,
    /// Known stations.
    pub stations: u64,
    /// Requests that wait for a seat.
    pub waiting: u64,
    /// Application servers that are attached.
    pub attached: u64,
    /// Requests refused since midnight.
    pub denials_today: u64,
    /// Whether the daemon can write.
    pub storage: StorageDocument,
    /// What dates go by; null where the daemon is too old to say it.
    pub clock: Option<ClockDocument>,
    /// Whether usage is collected, and how far its files have come; null where the daemon is too old to say it.
    pub usage: Option<UsageStatusDocument>,
    /// How far the state has come, and whether it was found behind; null where the daemon is too old to say it.
    pub witness: Option<WitnessDocument>,
    /// How the site stands with its licensor; null where the daemon is too old to say it.
    pub standing: Option<StandingDocument>,
    /// Whether the site is ready for the day on which enforcement begins; null where none is to come.
    pub readiness: Option<ReadinessDocument>,
    /// What wants attention, worst first.
    pub notices: Vec<NoticeDocument>,
    /// The folder into which license files are dropped.
    pub watched_folder: String,
    /// Where the daemon keeps its state.
    pub state_directory: String,
    /// Where the daemon listens.
    pub listening: Vec<String>,
    /// The files in the watched folder.
    pub folder: Vec<FolderEntryDocument>,
}

/// Whether the daemon can write.
#[derive(Clone, Debug, Serialize)]
pub struct StorageDocument {
    /// True where it can.
    pub ok: bool,
    /// What is wrong; null where nothing is.
    pub message: Option<String>,
}

/// What dates go by, and what the server's clock gave away.
#[derive(Clone, Debug, Serialize)]
pub struct ClockDocument {
    /// `in step`, `behind`, `ahead` or `unconfirmed`.
    pub state: String,
    /// What dates go by; setting the server's clock back lowers it only while it is unconfirmed.
    pub trusted: Option<At>,
    /// The server's clock.
    pub wall_clock: Option<At>,
    /// So far `trusted` is ahead of what is confirmed; 0 where all is.
    pub unconfirmed_ms: u64,
    /// After so much more of running it is confirmed; 0 where it is.
    pub confirmed_in_ms: u64,
    /// How often the server's clock fell behind.
    pub roll_backs: u64,
    /// The last time that it did; null where it never did.
    pub last_roll_back: Option<RollBackDocument>,
    /// How often a clock that was far ahead at a start was set right afterwards.
    pub withdrawn: u64,
}

/// The server's clock fell behind.
#[derive(Clone, Debug, Serialize)]
pub struct RollBackDocument {
    /// When, by what dates go by.
    pub at: At,
    /// How far, at most.
    pub by_ms: u64,
    /// When it was in step again; null while it is behind.
    pub over: Option<At>,
}

impl From<v1::ClockStatus> for ClockDocument {
    fn from(clock: v1::ClockStatus) -> Self {
        let over = At::from_wire(clock.last_roll_back_over);
        let by_ms = clock.last_roll_back_by_ms;
        Self {
            state: clock.state,
            trusted: At::from_wire(clock.trusted),
            wall_clock: At::from_wire(clock.wall_clock),
            unconfirmed_ms: clock.unconfirmed_ms,
            confirmed_in_ms: clock.confirmed_in_ms,
            roll_backs: clock.roll_backs,
            last_roll_back: At::from_wire(clock.last_roll_back).map(|at| RollBackDocument { at, by_ms, over }),
            withdrawn: clock.withdrawn,
        }
    }
}

impl ClockDocument {
    fn shown(&self, clock: &clock::Clock) -> String {
        let mut text = match (self.state.as_str(), self.trusted) {
            ("in step", _) | (_, None) => self.state.clone(),
            (state, Some(trusted)) => format!("{state}; dates go by {}", clock.moment(trusted.0)),
        };
        if let Some(last) = &self.last_roll_back {
            let (by, at) = (clock::duration(last.by_ms), clock.moment(last.at.0));
            text.push_str(&match self.roll_backs {
                1 => format!("; fell behind once, by {by} on {at}"),
                count => format!("; fell behind {} times, last by {by} on {at}", number(count)),
            });
        }
        text
    }
}

/// How far the server's state has come, and what application servers have shown of it.
#[derive(Clone, Debug, Serialize)]
pub struct WitnessDocument {
    /// The epoch of the state: each start begins one.
    pub epoch: u64,
    /// The highest lease ID.
    pub highest_lease_id: u64,
    /// How often something was shown that the state did not know.
    pub evidence: u64,
    /// The newest of it; null where there is none.
    pub newest: Option<EvidenceDocument>,
}

/// Something that the installation had signed, and its state did not know.
#[derive(Clone, Debug, Serialize)]
pub struct EvidenceDocument {
    /// `behind`, or `forked` where another server went on from the same state.
    pub kind: String,
    /// The epoch that was shown.
    pub epoch: u64,
    /// The highest lease ID in it that was shown.
    pub lease_id: u64,
    /// The epoch of the state then.
    pub own_epoch: u64,
    /// The highest lease ID of the state then.
    pub own_lease_id: u64,
    /// The application server that showed it first.
    pub shown_by: String,
    /// The machine that it runs on; null where it does not say.
    pub host: Option<String>,
    /// When it was shown first.
    pub first: Option<At>,
    /// When more of it was shown last.
    pub last: Option<At>,
    /// All of it in words, and what to do.
    pub message: String,
}

impl From<v1::WitnessStatus> for WitnessDocument {
    fn from(witness: v1::WitnessStatus) -> Self {
        Self {
            epoch: witness.epoch,
            highest_lease_id: witness.highest_lease_id,
            evidence: witness.evidence,
            newest: witness.newest.map(|newest| EvidenceDocument {
                kind: newest.kind,
                epoch: newest.epoch,
                lease_id: newest.lease_id,
                own_epoch: newest.own_epoch,
                own_lease_id: newest.own_lease_id,
                shown_by: newest.shown_by,
                host: given(newest.host),
                first: At::from_wire(newest.first),
                last: At::from_wire(newest.last),
                message: newest.message,
            }),
        }
    }
}

impl WitnessDocument {
    /// Nothing where nothing was found, as on nearly every server.
    fn shown(&self, clock: &clock::Clock) -> String {
        let Some(newest) = &self.newest else { return String::new() };
        let times = match self.evidence {
            1 => "once".to_owned(),
            count => format!("{} times", number(count)),
        };
        let last = newest.last.map_or_else(String::new, |at| format!(", last on {}", clock.moment(at.0)));
        format!("found {} {times}{last}, by {}", newest.kind, newest.shown_by)
    }
}

/// A file in the watched folder and what became of it.
#[derive(Clone, Debug, Serialize)]
pub struct FolderEntryDocument {
    /// The file's name.
    pub name: String,
    /// `accepted`, `refused`, `superseded` or `waiting`.
    pub state: String,
    /// Why it was refused, in capitals; null where it was not.
    pub reason: Option<String>,
    /// The same in a sentence.
    pub message: Option<String>,
}

impl From<v1::FolderEntry> for FolderEntryDocument {
    fn from(entry: v1::FolderEntry) -> Self {
        Self { name: entry.name, state: entry.state, reason: given(entry.reason), message: given(entry.message) }
    }
}

impl From<v1::GetStatusResponse> for StatusDocument {
    fn from(status: v1::GetStatusResponse) -> Self {
        let clock: Option<ClockDocument> = status.clock.map(Into::into);
        let usage: Option<UsageStatusDocument> = status.usage.map(Into::into);
        let standing: Option<StandingDocument> = status.standing.map(Into::into);
        let grants = status.ready_at.is_some() && status.license_state == "licensed";
        let now = clock.as_ref().and_then(|clock| clock.trusted);
        let readiness = standing
            .as_ref()
            .zip(now)
            .and_then(|(standing, now)| ReadinessDocument::of(standing, usage.as_ref(), grants, now));
        Self {
            version: status.version,
            installation_id: status.installation_id,
            license_state: status.license_state,
            started_at: At::from_wire(status.started_at),
            ready_at: At::from_wire(status.ready_at),
            root: status.root,
            enforcement_stage: status.enforcement_stage,
            leases: status.leases,
            users: status.users,
            stations: status.stations,
            waiting: status.waiting,
            attached: status.attached,
            denials_today: status.denials_today,
            storage: StorageDocument { ok: status.storage_ok, message: given(status.storage_message) },
            witness: status.witness.map(Into::into),
            clock,
            usage,
            standing,
            readiness,
            notices: status.notices.into_iter().map(Into::into).collect(),
            watched_folder: status.watched_folder,
            state_directory: status.state_directory,
            listening: status.listening,
            folder: status.folder.into_iter().map(Into::into).collect(),
        }
    }
}

impl Document for StatusDocument {
    fn write_text(&self, page: &mut Page<'_>) {
        self.write_headline(page);
        if !self.storage.ok {
            let why = self.storage.message.as_deref().unwrap_or("the state directory cannot be written");
            page.marked(Tone::Bad, "storage", &format!("{why}; new grants are refused, renewals go on"));
        }
        for notice in &self.notices {
            page.marked(Tone::Warn, "notice", &notice.message);
        }
        if let Some(message) = self.unsaid_stage(page.clock()) {
            page.marked(Tone::Warn, "notice", &message);
        }
        let told = |remedy: &&str| self.notices.iter().any(|notice| notice.message.contains(*remedy));
        for remedy in self.standing.iter().flat_map(StandingDocument::remedies).filter(|remedy| !told(remedy)) {
            page.marked(Tone::Note, "hint", &format!("check-ins fail: {remedy}"));
        }
        for entry in self.refused_files() {
            let reason = entry.reason.as_deref().map_or_else(String::new, |reason| format!(" ({reason})"));
            page.marked(Tone::Warn, "notice", &format!("the file {} was refused{reason}: see below", entry.name));
        }
        if self.license_state == "unlicensed" {
            page.marked(
                Tone::Note,
                "hint",
                "`leasehold request -o FILE` makes the note that the licensor needs; `leasehold load FILE` loads what \
                 comes back",
            );
        }
        page.gap();
        let clock = page.clock();
        let up = self.started_at.map_or_else(String::new, |at| {
            let ms = clock.now().timestamp().as_millisecond().saturating_sub(at.0.as_millisecond());
            format!("{}, since {}", clock::duration(u64::try_from(ms).unwrap_or(0)), clock.moment(at.0))
        });
        let usage = self.usage.as_ref().map_or_else(Vec::new, |usage| usage.fields(clock));
        let witness = self.witness.as_ref().map_or_else(String::new, |witness| witness.shown(clock));
        let enforcement = self.enforcement(clock);
        let clock = self.clock.as_ref().map_or_else(String::new, |status| status.shown(clock));
        let mut fields = vec![
            ("Running", up),
            ("Leases", format!("{} live, {} waiting", number(self.leases), number(self.waiting))),
            ("Attached", counted(self.attached, "application server", "application servers")),
            (
                "Subjects",
                format!("{}, {}", counted(self.users, "user", "users"), counted(self.stations, "station", "stations")),
            ),
            ("Denied today", number(self.denials_today)),
        ];
        fields.extend(enforcement);
        fields.extend([("Clock", clock), ("State", witness)]);
        fields.extend(usage);
        fields.extend([
            ("Root", self.root.clone()),
            ("Installation", self.installation_id.clone()),
            ("Listening", self.listening.join(", ")),
            ("Watched folder", self.watched_folder.clone()),
            ("State directory", self.state_directory.clone()),
        ]);
        page.fields(&fields);
        if !self.folder.is_empty() {
            page.gap();
            write_folder(&self.folder, page);
        }
    }
}

impl StatusDocument {
    /// The stage and how check-ins go. Dates of the standing are told by the server's time.
    fn enforcement(&self, here: &clock::Clock) -> Vec<(&'static str, String)> {
        let now = self.clock.as_ref().and_then(|clock| clock.trusted);
        let clock = now.map_or_else(|| here.clone(), |now| here.at(now.0));
        let Some(standing) = &self.standing else {
            return vec![("Enforcement", format!("stage {} of 6", self.enforcement_stage))];
        };
        if !standing.applies {
            return vec![("Enforcement", format!("stage {} of 6; no license asks for check-ins", standing.stage))];
        }
        let mut stage = standing.shown();
        // Where all goes well that is not worth a word.
        if let Some(next) = standing.next().filter(|_| standing.stage >= 2 || !standing.remedies().is_empty()) {
            let follows = next.shown(&clock);
            stage.push_str(&format!("; without a good check-in {follows}"));
        }
        let mut fields = vec![("Enforcement", stage)];
        fields.extend(standing.contacts(&clock).into_iter().map(|contact| ("Check-in", contact)));
        if let Some(readiness) = &self.readiness {
            fields.push(("Ready", readiness.shown(&clock)));
        }
        fields
    }

    /// The stage, where the daemon's own notices do not tell of it.
    fn unsaid_stage(&self, clock: &clock::Clock) -> Option<String> {
        let told = |notice: &NoticeDocument| matches!(notice.reason.as_str(), "STANDING" | "ENFORCED");
        let standing = self.standing.as_ref().filter(|standing| standing.applies && standing.stage >= 2)?;
        (!self.notices.iter().any(told)).then(|| standing.in_brief(clock))
    }

    fn refused_files(&self) -> impl Iterator<Item = &FolderEntryDocument> {
        self.folder.iter().filter(|entry| entry.state == "refused")
    }

    fn write_headline(&self, page: &mut Page<'_>) {
        let wants = self.notices.len() as u64
            + u64::from(!self.storage.ok)
            + self.refused_files().count() as u64
            + u64::from(self.unsaid_stage(page.clock()).is_some());
        let state = if self.ready_at.is_none() {
            "is starting: it grants nothing yet".to_owned()
        } else {
            match self.license_state.as_str() {
                "licensed" => match self.standing.as_ref().filter(|standing| standing.stage >= 4) {
                    Some(standing) => {
                        format!("is LIMITED: enforcement stage {} of 6, {}", standing.stage, standing.name)
                    }
                    None => "is licensed and ready".to_owned(),
                },
                "unlicensed" => "is running UNLICENSED: no license file is in effect".to_owned(),
                "standby" => "is a standby: it grants nothing until it is promoted".to_owned(),
                other => format!("is {other}"),
            }
        };
        let tail = match wants {
            0 => String::new(),
            1 => "; 1 thing wants attention".to_owned(),
            many => format!("; {many} things want attention"),
        };
        let good = self.ready_at.is_some() && self.license_state == "licensed" && wants == 0;
        let tone = if good { Tone::Good } else { Tone::Warn };
        page.line_in(tone, &format!("Leasehold {} {state}{tail}", self.version));
    }
}

/// The files in the watched folder as a table.
pub(super) fn write_folder(folder: &[FolderEntryDocument], page: &mut Page<'_>) {
    let rows = folder
        .iter()
        .map(|entry| {
            let tone = match entry.state.as_str() {
                "accepted" => Tone::Good,
                "refused" => Tone::Bad,
                "waiting" => Tone::Warn,
                _ => Tone::Dim,
            };
            vec![
                Cell::text(&entry.name),
                Cell::text(&entry.state).tone(tone),
                Cell::prose(entry.message.as_deref().or(entry.reason.as_deref()).unwrap_or_default()),
            ]
        })
        .collect();
    page.table(&["FILE", "STATE", "WHY"], rows);
}
