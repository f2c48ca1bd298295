//! `licensor usage bill`: what each license used in a billing period.

use std::{collections::BTreeSet, path::Path};

use jiff::{civil::Date, tz::TimeZone};
use leasehold_keys::{activation::LicenseId, time::WallTime, usage::Names};
use licensor::{
    billing::{Count, Lack, LackKind, Period},
    intake::RECEIVED,
    reading::{self, Billed, Source},
    workshop::Workshop,
};
use serde_json::{Value, json};

use super::{
    super::{
        args::UsageBill,
        exit::{Exit, Fault},
        license_id, print_json,
        table::Table,
    },
    exact, finding_json, hours, license_words, named, on_the_wall, span, time_zone,
};

/// What is to be billed.
pub(super) struct Order {
    period: Period,
    zone: TimeZone,
    zone_name: String,
    license: Option<LicenseId>,
}

impl Order {
    /// Reads the arguments; all that is wrong with them is told.
    pub(super) fn read(arguments: &UsageBill) -> Result<Self, Fault> {
        let period = arguments.period.parse::<Period>().map_err(|fault| format!("--period: {fault}"));
        let zone = time_zone(&arguments.time_zone).map_err(|fault| format!("--time-zone: {}", fault.message));
        let license = arguments
            .license
            .as_deref()
            .map(license_id)
            .transpose()
            .map_err(|fault| format!("--license: {}", fault.message));
        match (period, zone, license) {
            (Ok(period), Ok(zone), Ok(license)) => {
                let zone_name = zone.iana_name().unwrap_or(&arguments.time_zone).to_owned();
                Ok(Self { period, zone, zone_name, license })
            }
            (period, zone, license) => {
                let faults = [period.err(), zone.err(), license.err()];
                Err(Fault::usage(&faults.into_iter().flatten().collect::<Vec<_>>()))
            }
        }
    }
}

/// The files named, or those that were received.
pub(super) fn files(arguments: &UsageBill, dir: &Path) -> Result<Vec<Source>, Fault> {
    if !arguments.files.is_empty() {
        return named(&arguments.files);
    }
    let mut received = dir.join(RECEIVED);
    if let Some(license) = &arguments.license {
        received.push(license_id(license)?.to_string());
    }
    if !received.is_dir() {
        return Err(Fault::new(
            Exit::NotFound,
            format!(
                "no usage files were received in {}; name the files, or the folder that `licensor serve --state` keeps them in",
                received.display()
            ),
        ));
    }
    named(&[received])
}

pub(super) fn run(
    workshop: &Workshop,
    files: &[Source],
    order: &Order,
    json: bool,
    now: WallTime,
) -> Result<(), Fault> {
    let keys = workshop.usage_keys()?;
    let mut gathering = reading::gather(files, false, Some(workshop))?;
    gathering.files.retain(|file| order.license.is_none_or(|license| license == file.license_id));
    let bills = reading::bill(&gathering, workshop, &keys, order.period, &order.zone, now)?;
    let begins = order.period.bounds(&order.zone).from;
    // Where files tell of it all the same, it is this machine's clock that is behind.
    if now < begins && bills.iter().all(|billed| billed.bill.installations.is_empty()) {
        return Err(Fault::new(
            Exit::Refused,
            format!(
                "the period {} begins on {} only; a period is named by the month in which it ends",
                order.period,
                order.period.first_day()
            ),
        ));
    }
    // What is missing between files is told by day in the bill; here is what is wrong with those that are there.
    let findings: Vec<_> = gathering.report.findings.iter().filter(|finding| finding.file.is_some()).collect();
    let machines = workshop.ledger().machine_names()?;
    if json {
        let bills = bills.iter().map(|billed| bill_json(billed, workshop, order)).collect::<Result<Vec<_>, _>>()?;
        let findings: Vec<_> = findings.iter().map(|finding| finding_json(finding)).collect();
        print_json(&json!({ "bills": bills, "findings": findings }));
    } else {
        for (index, billed) in bills.iter().enumerate() {
            if index > 0 {
                say!();
            }
            let issued = workshop.ledger().file(billed.bill.license_id, None)?;
            tell(billed, &license_words(billed.bill.license_id, issued.as_ref()), &machines, order);
        }
        if bills.is_empty() {
            say!("No file here is of the license that is asked for, or has a header that holds.");
        }
        if !findings.is_empty() {
            say!("\nFindings");
            for finding in &findings {
                say!("  - {finding}");
            }
        }
    }
    let unread: usize = bills.iter().map(|billed| billed.unread.len()).sum();
    match unread {
        0 if bills.is_empty() => Err(Fault::new(Exit::NotFound, "there is nothing to bill")),
        0 => Ok(()),
        1 => {
            Err(Fault::new(Exit::Refused, "1 file could not be read to its end; the bill does without the rest of it"))
        }
        count => Err(Fault::new(
            Exit::Refused,
            format!("{count} files could not be read to their end; the bill does without the rest of them"),
        )),
    }
}

fn tell(billed: &Billed, license: &str, machines: &std::collections::BTreeMap<String, String>, order: &Order) {
    let Billed { bill, unread } = billed;
    let wall = |time: WallTime| on_the_wall(time, &order.zone);
    say!("Period {}: {} to {}, {}", bill.period, bill.period.first_day(), bill.period.last_day(), order.zone_name);
    say!("  license  {license}");
    let so_far = if bill.so_far { "; SO FAR, the period has not ended" } else { "" };
    say!("  files    due before {}{so_far}", bill.period.due_day());
    say!();
    let mut table = Table::new(&["CATEGORY", "USERS", "MOST AT ONCE", "FIRST AT", "USER-HOURS"]);
    let mut row = |name: String, count: &Count| {
        table.row([
            name,
            count.users.to_string(),
            count.peak.to_string(),
            count.peak_at.map_or(String::new(), wall),
            hours(count.user_ms),
        ]);
    };
    for (category, count) in &bill.counts.categories {
        row(category.to_string(), count);
    }
    row("(anyone)".to_owned(), &bill.counts.anyone);
    say_part!("{table}");
    say!();
    if bill.installations.is_empty() {
        say!("No file tells of this period.");
    } else {
        let mut table = Table::new(&["INSTALLATION", "MACHINE", "FILES", "SEGMENTS", "FROM", "UNTIL"]);
        for seen in &bill.installations {
            let id = seen.installation.to_string();
            table.row([
                id.clone(),
                machines.get(&id).cloned().unwrap_or_else(|| "(not known here)".to_owned()),
                seen.files.to_string(),
                span(seen.segments),
                wall(seen.from),
                wall(seen.until),
            ]);
        }
        say_part!("{table}");
    }
    say!();
    for (kind, word) in [(LackKind::Missing, "missing"), (LackKind::Damaged, "damaged")] {
        let (days, in_part) = (bill.days(kind).len(), bill.days_in_part(kind).len());
        let days = match (days, in_part) {
            (0, _) => "none".to_owned(),
            (days, 0) => days.to_string(),
            (days, in_part) if days == in_part => format!("{days} in part"),
            (days, in_part) => format!("{days}, {in_part} of them in part"),
        };
        say!("Days {word}: {days}");
        for lack in bill.lacks.iter().filter(|lack| lack.kind == kind) {
            say!("  - {}", lack_words(lack, &order.zone));
        }
    }
    for file in unread {
        say!("Not read: {}: {}", file.path.display(), file.why);
    }
    if !bill.counts.unknown_keys.is_empty() {
        let keys: Vec<_> = bill.counts.unknown_keys.iter().map(ToString::to_string).collect();
        say!("Not billed, since neither the license's files nor a catalog knows them: {}", keys.join(", "));
    }
    if bill.names.len() > 1 {
        say!(
            "CAREFUL: the files name users in {} ways ({}), and a user who appears in several was counted in each.",
            bill.names.len(),
            names_words(&bill.names).join("; ")
        );
    }
    for (installation, remark) in &bill.remarks {
        let text = if remark.text.is_empty() { String::new() } else { format!(": {}", remark.text) };
        say!("Remark of {installation} at {}: {}{text}", wall(remark.at), remark.code);
    }
}

fn lack_words(lack: &Lack, zone: &TimeZone) -> String {
    let mut days = days_words(lack.first_day, lack.last_day);
    if lack.is_in_part() {
        days.push_str(&format!(", {}", part_words(lack, zone)));
    }
    match (lack.installation, lack.segments) {
        (Some(installation), Some(segments)) if segments.0 == segments.1 => {
            format!("{days}: segment {} of {installation}", segments.0)
        }
        (Some(installation), Some(segments)) => format!("{days}: segments {} of {installation}", span(segments)),
        (Some(installation), None) => format!("{days}: {installation}"),
        (None, _) => format!("{days}: no file of any installation tells of it"),
    }
}

/// `not known from 12:05 on`, by the site's clock; with the day where the lack has several.
fn part_words(lack: &Lack, zone: &TimeZone) -> String {
    let several = lack.first_day != lack.last_day;
    let at = |time: WallTime| {
        let wall = on_the_wall(time, zone);
        let minute = wall.get(..16).unwrap_or(&wall);
        if several { minute.to_owned() } else { minute.get(11..).unwrap_or(minute).to_owned() }
    };
    match (lack.first_in_part, lack.until.filter(|_| lack.last_in_part)) {
        (true, Some(until)) => format!("not known from {} to {}", at(lack.from), at(until)),
        (false, Some(until)) => format!("not known up to {}", at(until)),
        (_, None) => format!("not known from {} on", at(lack.from)),
    }
}

fn days_words(first: Date, last: Date) -> String {
    if first == last { first.to_string() } else { format!("{first} to {last}") }
}

fn names_words(names: &BTreeSet<Names>) -> Vec<String> {
    names
        .iter()
        .map(|names| match names {
            Names::Plain => "as they are".to_owned(),
            Names::Pseudonyms(key) => format!("pseudonyms of key {key}"),
        })
        .collect()
}

fn bill_json(billed: &Billed, workshop: &Workshop, order: &Order) -> Result<Value, Fault> {
    let Billed { bill, unread } = billed;
    let issued = workshop.ledger().file(bill.license_id, None)?;
    let count = |count: &Count| {
        json!({
            "users": count.users, "peak": count.peak, "peak-at": count.peak_at.map(exact),
            "user-hours": count.user_ms as f64 / 3_600_000.0,
            "user-ms": count.user_ms,
        })
    };
    let categories: serde_json::Map<_, _> =
        bill.counts.categories.iter().map(|(category, used)| (category.to_string(), count(used))).collect();
    let days = |kind| bill.days(kind).iter().map(ToString::to_string).collect::<Vec<_>>();
    let in_part = |kind| bill.days_in_part(kind).iter().map(ToString::to_string).collect::<Vec<_>>();
    let lacks: Vec<_> = bill.lacks.iter().map(lack_json).collect();
    let installations: Vec<_> = bill
        .installations
        .iter()
        .map(|seen| {
            json!({
                "installation-id": seen.installation.to_string(), "files": seen.files,
                "first-segment": seen.segments.0, "last-segment": seen.segments.1,
                "from": exact(seen.from), "until": exact(seen.until),
            })
        })
        .collect();
    let remarks: Vec<_> = bill
        .remarks
        .iter()
        .map(|(installation, remark)| {
            json!({
                "installation-id": installation.to_string(), "at": exact(remark.at), "code": remark.code.to_string(),
                "text": remark.text,
            })
        })
        .collect();
    Ok(json!({
        "license-id": bill.license_id.to_string(), "account": issued.as_ref().map(|file| &file.account),
        "install-site": issued.as_ref().map(|file| &file.install_site),
        "period": bill.period.to_string(), "time-zone": order.zone_name,
        "from": exact(bill.bounds.from), "until": exact(bill.bounds.until), "due": exact(bill.bounds.due),
        "so-far": bill.so_far,
        "categories": categories, "anyone": count(&bill.counts.anyone),
        "days-missing": days(LackKind::Missing), "days-damaged": days(LackKind::Damaged),
        "days-missing-in-part": in_part(LackKind::Missing), "days-damaged-in-part": in_part(LackKind::Damaged),
        "lacks": lacks,
        "installations": installations, "names": names_words(&bill.names), "remarks": remarks,
        "unknown-keys": bill.counts.unknown_keys.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "unread": unread.iter().map(|file| json!({ "file": file.path, "why": file.why })).collect::<Vec<_>>(),
    }))
}

fn lack_json(lack: &Lack) -> Value {
    json!({
        "first-day": lack.first_day.to_string(), "last-day": lack.last_day.to_string(),
        "from": exact(lack.from), "until": lack.until.map(exact), "in-part": lack.is_in_part(),
        "kind": match lack.kind {
            LackKind::Missing => "missing",
            LackKind::Damaged => "damaged",
        },
        "installation-id": lack.installation.map(|id| id.to_string()),
        "first-segment": lack.segments.map(|(first, _)| first), "last-segment": lack.segments.map(|(_, last)| last),
    })
}
