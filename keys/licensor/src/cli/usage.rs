//! `licensor usage`: usage files verified, answered for and listed; opening and billing are in files of their own.

mod bill;
mod open;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use jiff::tz::TimeZone;
use leasehold_keys::{
    activation::LicenseId,
    time::WallTime,
    usage::{End, Finding},
};
use licensor::{
    intake::{Intake, IntakeFault, Sent},
    ledger::{IssuedFile, UsageFile},
    reading::{self, Source},
    workshop::{Workshop, WorkshopFault, write_whole},
};
use serde_json::{Value, json};

use super::{
    args::{UsageCommand, UsageFormat},
    exit::{Exit, Fault},
    license_id, passphrase, print_json,
    table::Table,
};

pub(super) fn run(
    command: UsageCommand,
    dir: &Path,
    passphrase_file: Option<&Path>,
    json: bool,
    now: WallTime,
) -> Result<(), Fault> {
    match command {
        UsageCommand::Open { files, format } => {
            let format = format.unwrap_or(if json { UsageFormat::Json } else { UsageFormat::Text });
            let files = named(&files)?;
            let mut workshop = Workshop::open(dir, None)?;
            passphrase::unlock_usage(&mut workshop, passphrase_file)?;
            open::run(&workshop, &files, format)
        }
        UsageCommand::Verify { files, whole } => verify(&named(&files)?, whole, dir, json),
        UsageCommand::Bill(arguments) => {
            let order = bill::Order::read(&arguments)?;
            let mut workshop = Workshop::open(dir, None)?;
            let files = bill::files(&arguments, dir)?;
            passphrase::unlock_usage(&mut workshop, passphrase_file)?;
            bill::run(&workshop, &files, &order, json, now)
        }
        UsageCommand::Receipt { files, r#final, state } => {
            let files = named(&files)?;
            let mut workshop = Workshop::open(dir, None)?;
            passphrase::unlock_receipts(&mut workshop, passphrase_file)?;
            let mut intake = workshop.intake(state.as_deref().unwrap_or(dir), now)?;
            receipts(&mut intake, &files, if r#final { Sent::Final } else { Sent::Plain }, json, now)
        }
        UsageCommand::List { license } => {
            let license = license.as_deref().map(license_id).transpose()?;
            list(&Workshop::open(dir, None)?, license, json)
        }
    }
}

/// The files that are named; that there is none at all is a slip.
fn named(paths: &[PathBuf]) -> Result<Vec<Source>, Fault> {
    let files = reading::find(paths).map_err(not_there)?;
    if files.is_empty() {
        let named: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
        return Err(Fault::new(Exit::NotFound, format!("there is no usage file (*.usg) in {}", named.join(", "))));
    }
    Ok(files)
}

/// What is not there has an exit code of its own.
fn not_there(fault: WorkshopFault) -> Fault {
    match &fault {
        WorkshopFault::Io { fault: io, .. } if io.kind() == std::io::ErrorKind::NotFound => {
            Fault::new(Exit::NotFound, fault.to_string())
        }
        _ => fault.into(),
    }
}

fn verify(files: &[Source], whole: bool, dir: &Path, json: bool) -> Result<(), Fault> {
    // The records tell which files may be gone; without them every one is asked for.
    let workshop = match Workshop::open(dir, None) {
        Ok(workshop) => Some(workshop),
        Err(WorkshopFault::NoWorkshop(_)) => None,
        Err(fault) => return Err(fault.into()),
    };
    let report = reading::gather(files, whole, workshop.as_ref())?.report;
    if json {
        let installations: Vec<_> = report
            .installations
            .iter()
            .map(|standing| {
                json!({
                    "installation-id": standing.installation.to_string(), "files": standing.files,
                    "first-segment": standing.first, "head": standing.head.to_string(),
                    "end": end_word(&standing.end), "signed-records": standing.signed_records,
                })
            })
            .collect();
        let findings: Vec<_> = report.findings.iter().map(finding_json).collect();
        print_json(&json!({ "installations": installations, "findings": findings }));
    } else {
        let mut table = Table::new(&["INSTALLATION", "FILES", "SEGMENTS", "RECORDS OF THE LAST", "ITS END"]);
        for standing in &report.installations {
            table.row([
                standing.installation.to_string(),
                standing.files.to_string(),
                span((standing.first, standing.head.segment)),
                match standing.head.records {
                    records if records == standing.signed_records => records.to_string(),
                    records => format!("{records}, {} of them signed for", standing.signed_records),
                },
                end_word(&standing.end).to_owned(),
            ]);
        }
        if !report.installations.is_empty() {
            say_part!("{table}");
        }
        for finding in &report.findings {
            say!("  - {finding}");
        }
        if report.findings.is_empty() {
            say!("Nothing is missing, damaged or changed.");
        }
    }
    match report.findings.len() {
        0 => Ok(()),
        1 => Err(Fault::new(Exit::Refused, "1 finding, told above")),
        count => Err(Fault::new(Exit::Refused, format!("{count} findings, told above"))),
    }
}

fn finding_json(finding: &Finding) -> Value {
    json!({
        "reason": finding.reason.code(), "damage": finding.damage.map(|damage| damage.code()), "file": finding.file,
        "installation-id": finding.installation.map(|id| id.to_string()), "segment": finding.segment,
        "record": finding.record, "what": finding.what,
    })
}

const fn end_word(end: &End) -> &'static str {
    match end {
        End::Closed(_) => "closed",
        End::Open => "open",
        End::Torn(_) => "torn",
    }
}

/// Segments from and to, as people write them.
fn span((first, last): (u32, u32)) -> String {
    if first == last { first.to_string() } else { format!("{first} to {last}") }
}

fn receipts(intake: &mut Intake, files: &[Source], sent: Sent, json: bool, now: WallTime) -> Result<(), Fault> {
    let mut rows = Vec::new();
    let mut refused = 0_usize;
    let mut failed = None;
    for source in files {
        let path = source.shown();
        match receipt(intake, source, sent, now) {
            Ok((receipt, new)) => {
                if !json {
                    let again = if new { "" } else { " (received before)" };
                    say!("{}: receipt in {}{again}", path.display(), receipt.display());
                }
                rows.push(json!({ "file": path, "receipt": receipt, "new": new }));
            }
            Err(IntakeFault::Failed(fault)) => {
                failed = Some(not_there(fault));
                break;
            }
            Err(fault) => {
                refused += 1;
                if !json {
                    say!("{}: NO receipt: {fault}", path.display());
                }
                rows.push(json!({ "file": path, "refused": fault.code(), "why": fault.to_string() }));
            }
        }
    }
    if json {
        print_json(&json!(rows));
    }
    match (failed, refused) {
        (Some(fault), _) => Err(fault),
        (None, 0) => Ok(()),
        (None, 1) => Err(Fault::new(Exit::Refused, "1 file is not answered for, as told above")),
        (None, count) => Err(Fault::new(Exit::Refused, format!("{count} files are not answered for, as told above"))),
    }
}

/// Takes a file and writes its receipt beside it, or beside its bundle.
fn receipt(intake: &mut Intake, source: &Source, sent: Sent, now: WallTime) -> Result<(PathBuf, bool), IntakeFault> {
    let bytes = reading::read(source)?;
    let taken = intake.take(&source.name(), &bytes, sent, now)?;
    let receipt = source.beside(".receipt");
    write_whole(&receipt, taken.file.receipt.as_bytes())?;
    Ok((receipt, taken.new))
}

fn list(workshop: &Workshop, license: Option<LicenseId>, json: bool) -> Result<(), Fault> {
    let ledger = workshop.ledger();
    let wanted = |of: LicenseId| license.is_none_or(|license| license == of);
    let mut installations: BTreeMap<(String, String), Vec<UsageFile>> = BTreeMap::new();
    for file in ledger.usage_files()?.into_iter().filter(|file| wanted(file.license_id)) {
        let of = (file.license_id.to_string(), file.name.installation.to_string());
        installations.entry(of).or_default().push(file);
    }
    let flags: Vec<_> = ledger.usage_flags()?.into_iter().filter(|flag| wanted(flag.license_id)).collect();
    let machines = ledger.machine_names()?;
    let machine = |installation: &str| machines.get(installation).cloned().unwrap_or_default();
    if let Some(license) = license
        && installations.is_empty()
        && flags.is_empty()
        && ledger.file(license, None)?.is_none()
    {
        return Err(Fault::new(
            Exit::NotFound,
            format!("license {license} is not in the records; `licensor list` shows those that were issued"),
        ));
    }
    if json {
        let rows: Vec<_> = installations
            .iter()
            .map(|((license, installation), files)| {
                let files: Vec<_> = files
                    .iter()
                    .map(|file| {
                        json!({
                            "name": file.name.to_string(), "segment": file.name.segment, "size": file.size,
                            "records": file.records, "from": file.start.to_string(), "until": file.end.to_string(),
                            "sha256": file.sha256.to_string(), "received": file.received.to_string(),
                        })
                    })
                    .collect();
                json!({
                    "license-id": license, "installation-id": installation, "machine-name": machine(installation),
                    "files": files,
                })
            })
            .collect();
        let flags: Vec<_> = flags
            .iter()
            .map(|flag| {
                json!({
                    "license-id": flag.license_id.to_string(), "installation-id": flag.installation.to_string(),
                    "segment": flag.segment, "sha256": flag.sha256.to_string(),
                    "flag": if flag.refused { "fork" } else { "chain" }, "seen": flag.seen.to_string(),
                })
            })
            .collect();
        print_json(&json!({ "installations": rows, "flags": flags }));
        return Ok(());
    }
    if installations.is_empty() && flags.is_empty() {
        say!("No usage files were received yet.");
        return Ok(());
    }
    let mut table =
        Table::new(&["LICENSE", "ACCOUNT", "SITE", "INSTALLATION", "MACHINE", "FILES", "SEGMENTS", "UNTIL"]);
    for ((license, installation), files) in &installations {
        let issued = match files.first() {
            Some(file) => ledger.file(file.license_id, None)?,
            None => None,
        };
        let segments: BTreeSet<u32> = files.iter().map(|file| file.name.segment).collect();
        let ends = (segments.first().copied().unwrap_or(0), segments.last().copied().unwrap_or(0));
        table.row([
            license.clone(),
            issued.as_ref().map_or(String::new(), |issued| issued.account.clone()),
            issued.as_ref().map_or(String::new(), |issued| issued.install_site.clone()),
            installation.clone(),
            machine(installation),
            files.len().to_string(),
            span(ends),
            files.last().map_or(String::new(), |file| file.end.to_string()),
        ]);
    }
    say_part!("{table}");
    for flag in &flags {
        let (installation, segment) = (flag.installation, flag.segment);
        if flag.refused {
            say!(
                "  - {}: installation {installation} sent another file of its segment {segment}, which is set aside (SHA-256 {}): it was restored from a copy or cloned, or the file is forged.",
                flag.seen,
                flag.sha256
            );
        } else {
            say!(
                "  - {}: segment {segment} of installation {installation} was taken, and its chain does not fit to that of its neighbor: it was restored from a copy or cloned.",
                flag.seen
            );
        }
    }
    Ok(())
}

/// `LICENSE: ACCOUNT, site SITE` as far as the records know it.
fn license_words(license_id: LicenseId, issued: Option<&IssuedFile>) -> String {
    match issued {
        Some(file) => format!("{license_id}: {}, site {}", file.account, file.install_site),
        None => format!("{license_id}: not in the records"),
    }
}

/// A time zone by its IANA name, from the system or from the program itself.
fn time_zone(name: &str) -> Result<TimeZone, Fault> {
    TimeZone::get(name).map_err(|_| {
        Fault::new(Exit::Usage, format!("`{name}` is no time zone; give its IANA name, such as Europe/Berlin or UTC"))
    })
}

/// A moment to the millisecond, RFC 3339 in UTC.
fn exact(time: WallTime) -> String {
    match jiff::Timestamp::from_millisecond(time.as_ms()) {
        Ok(time) => format!("{time:.3}"),
        Err(_) => format!("{} ms", time.as_ms()),
    }
}

/// A moment as a clock on the wall of that zone shows it.
fn on_the_wall(time: WallTime, zone: &TimeZone) -> String {
    match jiff::Timestamp::from_millisecond(time.as_ms()) {
        Ok(time) => time.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string(),
        Err(_) => format!("{} ms", time.as_ms()),
    }
}

/// User-hours to the hundredth.
fn hours(user_ms: u64) -> String {
    let hundredths = user_ms.saturating_add(18_000) / 36_000;
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}
