//! What administrators are shown of usage, and what they ask of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use jiff::tz::TimeZone;
use leasehold_engine::{UsagePlan, row::UsageSegmentRow, time::WallTime};
use leasehold_keys::{
    installation::InstallationId,
    usage::{Bounds, End, Finding, FindingReason, Period, SegmentName, Standing},
};
use leasehold_proto::v1;

use crate::{
    delivery::{self, Deadline, Failure, FileState, FileView, Held, Mode, Nearness},
    grpc::convert::{Checked, malformed, timestamp},
    usage::{self, bundle::Gap, proof::Proof},
    way_out::{
        Named,
        doctor::{Outcome, Report, Step},
    },
};

/// What the status is made of.
pub(crate) struct Seen<'a> {
    pub(crate) plan: &'a UsagePlan,
    /// Events that are not sealed, and the time of the oldest.
    pub(crate) backlog: (usize, Option<WallTime>),
    pub(crate) sealing: &'a usage::State,
    pub(crate) delivery: &'a delivery::State,
    pub(crate) files: &'a [FileView],
    pub(crate) zone: &'a TimeZone,
}

/// A billing period by its name.
pub(crate) fn period(text: &str) -> Checked<Period> {
    text.parse().map_err(|fault| malformed("period", format!("{fault}")))
}

/// The name of a zone.
pub(crate) fn zone_name(zone: &TimeZone) -> String {
    match zone.iana_name() {
        Some("Etc/UTC") => "UTC".to_owned(),
        Some(name) => name.to_owned(),
        None => "the zone of this machine".to_owned(),
    }
}

/// How usage stands.
pub(crate) fn status(seen: &Seen<'_>) -> v1::UsageStatus {
    let Seen { plan, backlog, sealing, delivery, files, zone } = seen;
    let last_closed = files.iter().filter_map(|file| file.row.closed).max();
    let mut counts: BTreeMap<FileState, (u64, u64)> = BTreeMap::new();
    for file in *files {
        let count = counts.entry(file.state).or_default();
        *count = (count.0 + 1, count.1 + file.row.bytes);
    }
    let mode = mode(plan);
    v1::UsageStatus {
        mode: mode.as_str().to_owned(),
        message: mode_words(mode, plan, delivery.destination.as_deref()),
        backlog: backlog.0 as u64,
        oldest_event: backlog.1.map(timestamp),
        last_sealed: sealing.last_sealed.max(last_closed).map(timestamp),
        files: counts
            .into_iter()
            .map(|(state, (files, bytes))| v1::UsageCount { state: state.to_string(), files, bytes })
            .collect(),
        destination: delivery.destination.clone().unwrap_or_default(),
        failure: delivery.failure.as_ref().map(failure),
        last_acknowledged: delivery.last_acknowledged.map(timestamp),
        deadlines: delivery.deadlines.iter().map(deadline).collect(),
        time_zone: zone_name(zone),
        notices: notices(seen),
        held: delivery.held.iter().map(held).collect(),
    }
}

fn mode(plan: &UsagePlan) -> Mode {
    match (plan.upload, plan.collecting) {
        (true, _) => Mode::Automatic,
        (false, true) => Mode::Local,
        (false, false) => Mode::NotCollected,
    }
}

fn mode_words(mode: Mode, plan: &UsagePlan, destination: Option<&str>) -> String {
    let license = plan.license.map_or_else(String::new, |license| format!("; license {license} asks for it"));
    match mode {
        Mode::NotCollected => "not collected: no license in effect asks for it".to_owned(),
        Mode::Local => format!("collected and kept here, to be sent by hand{license}"),
        Mode::Automatic => match destination {
            Some(destination) => format!("collected and sent to {destination}{license}"),
            None => format!("collected, to be sent by itself{license}"),
        },
    }
}

/// What wants attention, worst first.
fn notices(seen: &Seen<'_>) -> Vec<v1::Notice> {
    let Seen { sealing, delivery, plan, .. } = seen;
    let mut notices = Vec::new();
    let mut tell = |reason: &str, message: String| notices.push(v1::Notice { reason: reason.to_owned(), message });
    if let Some(why) = &sealing.trouble {
        tell("USAGE_NOT_SEALED", format!("{why}. Leases go on; what was used waits in the database."));
    }
    if let Some(why) = &sealing.disk {
        tell(
            "USAGE_NOT_WRITTEN",
            // What becomes of it meanwhile is among its words.
            format!("{}.", capital(why)),
        );
    }
    if let Some(first) = sealing.aside.first() {
        let count = sealing.aside.len();
        tell(
            "USAGE_FILE_ASIDE",
            format!(
                "{count} usage {} set aside, such as {first}: {} events that the database does not know, so it was restored from an \
                 older copy. Send {} to the licensor, and take {} away once that is done.",
                if count == 1 { "file was" } else { "files were" },
                if count == 1 { "it holds" } else { "they hold" },
                if count == 1 { "it" } else { "them" },
                if count == 1 { "it" } else { "them" },
            ),
        );
    }
    match sealing.missing.as_slice() {
        [] => {}
        [file] => tell(
            "USAGE_FILE_MISSING",
            format!(
                "The usage file {file} is gone or is not what was written. Bring it back from a backup, or tell the licensor."
            ),
        ),
        files => tell(
            "USAGE_FILE_MISSING",
            format!(
                "{} usage files are gone or are not what was written, the first {}. Bring them back from a backup, or tell the \
                 licensor.",
                files.len(),
                files[0]
            ),
        ),
    }
    for deadline in &delivery.deadlines {
        let reason = if deadline.nearness == Nearness::Over { "USAGE_OVERDUE" } else { "USAGE_DUE_SOON" };
        let way = match (mode(plan), &delivery.failure) {
            (Mode::Automatic, _) => "`leasehold doctor` tests the way out.".to_owned(),
            _ => format!(
                "`leasehold usage export --period {}` bundles them; `leasehold usage receipt` takes the answer.",
                deadline.period
            ),
        };
        tell(reason, format!("{}. {way}", capital(&deadline.to_string())));
    }
    if let Some(failure) = &delivery.failure {
        tell(
            "USAGE_NOT_DELIVERED",
            format!(
                "Usage files do not go out: {}. To do: {}. `leasehold usage send` tries at once.",
                failure.trouble,
                failure.trouble.remedy()
            ),
        );
    }
    for held in &delivery.held {
        let remedy = held.failure.trouble.remedy();
        tell(
            "USAGE_HELD_UP",
            format!("{}. To do: {remedy}. `leasehold usage send` tries it again at once.", capital(&held.to_string())),
        );
    }
    if let Some(why) = &delivery.disk {
        tell("USAGE_NOT_KEPT", format!("{}.", capital(why)));
    }
    notices
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

fn failure(failure: &Failure) -> v1::UsageFailure {
    v1::UsageFailure {
        code: failure.trouble.code().to_owned(),
        message: failure.trouble.to_string(),
        remedy: failure.trouble.remedy(),
        at: Some(timestamp(failure.at)),
        attempts: failure.attempts,
        again: Some(timestamp(failure.again)),
    }
}

fn held(held: &Held) -> v1::UsageHeld {
    v1::UsageHeld {
        state: held.state.to_string(),
        failure: Some(failure(&held.failure)),
        files: held.files.clone(),
        message: held.to_string(),
    }
}

fn deadline(deadline: &Deadline) -> v1::UsageDeadline {
    v1::UsageDeadline {
        period: deadline.period.to_string(),
        due: Some(timestamp(deadline.due)),
        due_day: deadline.due_day.to_string(),
        days_left: deadline.days_left,
        files: u32::try_from(deadline.files).unwrap_or(u32::MAX),
        message: deadline.to_string(),
    }
}

/// A usage file. `missing`: the files that are gone for good.
pub(crate) fn file(view: &FileView, plan: &UsagePlan, missing: &[String]) -> v1::UsageFile {
    let row = &view.row;
    let path = |path: &Path| path.display().to_string();
    v1::UsageFile {
        name: row.file.clone(),
        number: row.number,
        day: day(row.began),
        began: Some(timestamp(row.began)),
        closed: row.closed.map(timestamp),
        because: row.because.clone(),
        records: row.records,
        events: row.events,
        bytes: row.bytes,
        state: view.state.to_string(),
        message: view.state.words().to_owned(),
        remedy: view.remedy(mode(plan)),
        uploaded: row.uploaded.map(timestamp),
        acknowledged: row.acknowledged.map(timestamp),
        due: view.due.map(timestamp),
        due_day: view.due_day.map_or_else(String::new, |day| day.to_string()),
        failure: view.failure.as_ref().map(failure),
        sha256: row.sha256.map_or_else(String::new, |sha256| sha256.to_string()),
        license_id: row.license.to_string(),
        path: path(&view.path),
        receipt: view.receipt.as_deref().map_or_else(String::new, path),
        kept_until: view.kept_until.map(timestamp),
        missing: missing.contains(&row.file),
    }
}

fn day(at: WallTime) -> String {
    at.to_string().split('T').next().unwrap_or_default().to_owned()
}

/// A period and what there is of it, before the files.
pub(crate) fn manifest(
    period: Period,
    bounds: &Bounds,
    zone: &TimeZone,
    now: WallTime,
    files: Vec<v1::UsageFile>,
    gaps: &[Gap],
) -> v1::UsageManifest {
    v1::UsageManifest {
        period: period.to_string(),
        from: Some(timestamp(bounds.from)),
        until: Some(timestamp(bounds.until)),
        due: Some(timestamp(bounds.due)),
        first_day: period.first_day().to_string(),
        last_day: period.last_day().to_string(),
        due_day: period.due_day().to_string(),
        time_zone: zone_name(zone),
        files,
        gaps: gaps
            .iter()
            .map(|gap| v1::UsageGap {
                kind: gap.kind().to_owned(),
                message: gap.to_string(),
                file: gap.file().unwrap_or_default().to_owned(),
            })
            .collect(),
        over: now >= bounds.until,
        installation_id: String::new(),
    }
}

/// What came of trying at once. `left`: those of `files` that still have no receipt; `over`: all were tried.
pub(crate) fn sent(files: usize, left: &[FileView], over: bool, usage: v1::UsageStatus) -> v1::SendUsageResponse {
    let receipted = files - left.len();
    let sent = left.iter().filter(|view| view.state == FileState::Uploaded).count();
    let counted = |count: usize| if count == 1 { "1 file".to_owned() } else { format!("{count} files") };
    let mut message = match (files, receipted, sent) {
        (0, ..) => "no closed usage file waits: there is nothing to send".to_owned(),
        (_, 0, 0) if over => format!("{}: nothing was receipted", counted(files)),
        (_, 0, 0) => counted(files),
        (_, receipted, 0) => format!("{receipted} of {} receipted by the licensor", counted(files)),
        (_, receipted, sent) => {
            format!("{}: {receipted} receipted by the licensor, {sent} sent and not receipted yet", counted(files))
        }
    };
    if !over {
        message.push_str("; it still goes on, and `leasehold usage list` shows how far it has come");
    }
    v1::SendUsageResponse { files: files as u64, message, left: left.len() as u64, usage: Some(usage) }
}

/// What this server knows as its own.
pub(crate) struct Known {
    /// Its installation.
    pub(crate) own: InstallationId,
    /// That, and those that it was before, of which it has files.
    pub(crate) installations: BTreeSet<InstallationId>,
    /// The files of the database.
    pub(crate) files: BTreeSet<String>,
}

impl Known {
    /// By what the database holds.
    pub(crate) fn of(own: InstallationId, rows: &[UsageSegmentRow]) -> Self {
        let names = rows.iter().filter_map(|row| row.file.parse::<SegmentName>().ok());
        Self {
            own,
            installations: names.map(|name| name.installation).chain([own]).collect(),
            files: rows.iter().map(|row| row.file.clone()).collect(),
        }
    }
}

/// What the files were found to be.
pub(crate) fn proof(proof: &Proof, behind: usize, known: &Known) -> v1::VerifyUsageResponse {
    let mut message = "compared with what the database knows, and with each other; no key was needed".to_owned();
    if behind > 0 {
        message.push_str(&format!("; {behind} of them lack what the database holds, and are written again"));
    }
    let foreign =
        proof.report.installations.iter().filter(|standing| !known.installations.contains(&standing.installation));
    let mut findings: Vec<_> = foreign.map(|standing| foreigner(standing, known.own)).collect();
    findings.extend(proof.report.findings.iter().map(|found| finding(found, known)));
    v1::VerifyUsageResponse {
        files: proof.files,
        records: proof.records,
        installations: proof.report.installations.iter().map(standing).collect(),
        findings,
        message,
    }
}

fn standing(standing: &Standing) -> v1::UsageStanding {
    v1::UsageStanding {
        installation_id: standing.installation.to_string(),
        first: standing.first,
        last: standing.head.segment,
        files: standing.files,
        records: standing.head.records,
        signed_records: standing.signed_records,
        end: match standing.end {
            End::Closed(_) => "closed",
            End::Open => "open",
            End::Torn(_) => "torn",
        }
        .to_owned(),
        head: standing.head.chain.to_string(),
    }
}

/// Files of a server that this one neither is nor was.
fn foreigner(standing: &Standing, own: InstallationId) -> v1::UsageFinding {
    let (first, last) = (standing.first, standing.head.segment);
    let which =
        if first == last { format!("A file (segment {last})") } else { format!("Files (segments {first} to {last})") };
    v1::UsageFinding {
        reason: FindingReason::Foreign.code().to_owned(),
        installation_id: standing.installation.to_string(),
        segment: first,
        message: format!(
            "{which} of the installation {} lie here, which is not this server's: that is {own}. They are not sent from here. Take \
             them out of usage/, and back to the server that wrote them.",
            standing.installation
        ),
        ..v1::UsageFinding::default()
    }
}

fn finding(finding: &Finding, known: &Known) -> v1::UsageFinding {
    v1::UsageFinding {
        reason: finding.reason.code().to_owned(),
        file: finding.file.clone().unwrap_or_default(),
        installation_id: finding.installation.map_or_else(String::new, |installation| installation.to_string()),
        segment: finding.segment.unwrap_or(0),
        record: finding.record.unwrap_or(0),
        damage: finding.damage.map_or_else(String::new, |damage| damage.code().to_owned()),
        message: told(finding, known),
    }
}

/// A finding in words. Its files are this server's own, which has more to mend them with than who holds copies.
fn told(finding: &Finding, known: &Known) -> String {
    const UNKNOWN: &str = "The database knows no such file, and nothing of it is written again. Where it is a copy, take it out of \
                           usage/; where the database was brought back from a backup, keep it, and tell the licensor.";
    const AGAIN: &str = "What the database still holds of it is written again; where it stays so, bring the file back from a \
                         backup, or tell the licensor.";
    let place = match (&finding.file, finding.record) {
        (Some(file), Some(record)) => format!("{file}, record {record}: "),
        (Some(file), None) => format!("{file}: "),
        (None, _) => String::new(),
    };
    match finding.reason {
        _ if finding.file.as_ref().is_some_and(|file| !known.files.contains(file)) => {
            format!("{place}{}. {UNKNOWN}", finding.what)
        }
        FindingReason::Damaged
        | FindingReason::MissingSegments
        | FindingReason::MissingRecords
        | FindingReason::Replaced => format!("{place}{}. {AGAIN}", finding.what),
        _ => finding.to_string(),
    }
}

/// The way out.
pub(crate) fn doctor(report: &Report, plan: &UsagePlan) -> v1::DoctorResponse {
    let asked = match mode(plan) {
        Mode::Automatic => "",
        Mode::Local => "; the license keeps usage here, so that nothing goes out by itself",
        Mode::NotCollected => "; no usage is collected, so that nothing goes out",
    };
    let message = match report.first_failure() {
        None => format!("usage files can go out: every step is well{asked}"),
        Some((kind, trouble)) => format!("usage files CANNOT go out ({}): {trouble}{asked}", kind.as_str()),
    };
    v1::DoctorResponse {
        destination: report.destination.clone().unwrap_or_default(),
        proxy: report.proxy.clone().unwrap_or_default(),
        steps: report.steps.iter().map(step).collect(),
        well: report.is_well(),
        message,
    }
}

/// A step of the doctor.
pub(crate) fn step<T: Named>(step: &Step<T>) -> v1::DoctorStep {
    let answer = v1::DoctorStep {
        name: step.kind.as_str().to_owned(),
        title: step.kind.words().to_owned(),
        ..v1::DoctorStep::default()
    };
    match &step.outcome {
        Outcome::Passed { found, ms } => {
            v1::DoctorStep { state: "passed".to_owned(), message: found.clone(), ms: *ms, ..answer }
        }
        Outcome::Failed(trouble) => v1::DoctorStep {
            state: "failed".to_owned(),
            message: trouble.to_string(),
            code: trouble.code().to_owned(),
            remedy: trouble.remedy(),
            ..answer
        },
        Outcome::NotNeeded(why) => {
            v1::DoctorStep { state: "not-needed".to_owned(), message: (*why).to_owned(), ..answer }
        }
        Outcome::NotReached => v1::DoctorStep { state: "not-reached".to_owned(), ..answer },
    }
}

#[cfg(test)]
mod tests {
    use leasehold_keys::{digest::Sha256, usage::Head};

    use super::*;

    fn installation(seed: u8) -> InstallationId {
        leasehold_keys::installation::InstallationKey::from_seed([seed; 32]).unwrap().id()
    }

    fn proof_of(whose: InstallationId, findings: Vec<Finding>) -> Proof {
        let head = Head { segment: 3, records: 7, chain: Sha256::of(b"") };
        let standing = Standing { installation: whose, first: 2, files: 2, head, end: End::Open, signed_records: 7 };
        let mut proof = Proof::default();
        proof.report.installations.push(standing);
        proof.report.findings = findings;
        proof
    }

    #[test]
    fn files_of_another_server_are_no_files_of_this_one() {
        let known = Known::of(installation(1), &[]);
        assert!(proof_shown(installation(1), &known).is_empty());
        let found = proof_shown(installation(2), &known);
        assert_eq!((found.len(), found[0].reason.as_str(), found[0].segment), (1, "foreign", 2));
        assert!(found[0].message.contains(&installation(1).to_string()), "{}", found[0].message);
        // It was this server once: its key was lost, and its files were kept.
        let row = UsageSegmentRow {
            number: 2,
            file: format!("{}-00000002-20261101.usg", installation(2)),
            license: leasehold_keys::activation::LicenseId(uuid::Uuid::from_u128(7)),
            began: WallTime::from_ms(0),
            because: "midnight".to_owned(),
            records: 7,
            records_before: 0,
            events: 2,
            bytes: 6,
            head: Sha256::of(b""),
            closed: None,
            sha256: None,
            uploaded: None,
            acknowledged: None,
            stored: true,
        };
        assert!(proof_shown(installation(2), &Known::of(installation(1), &[row])).is_empty());
    }

    fn proof_shown(whose: InstallationId, known: &Known) -> Vec<v1::UsageFinding> {
        proof(&proof_of(whose, Vec::new()), 0, known).findings
    }

    #[test]
    fn remedies_fit_what_the_database_knows() {
        let own = installation(1);
        let damaged = |file: &str| Finding {
            reason: FindingReason::Damaged,
            file: Some(file.to_owned()),
            installation: Some(own),
            segment: Some(2),
            record: None,
            damage: None,
            what: "The file ends within its header".to_owned(),
        };
        let known = Known { files: BTreeSet::from(["a.usg".to_owned()]), ..Known::of(own, &[]) };
        let shown = proof(&proof_of(own, vec![damaged("a.usg"), damaged("b.usg")]), 0, &known).findings;
        assert!(shown[0].message.contains("is written again; where it stays so"), "{}", shown[0].message);
        assert!(shown[1].message.contains("The database knows no such file"), "{}", shown[1].message);
    }
}
