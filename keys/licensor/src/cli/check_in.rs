//! `licensor check-in` and `licensor time-note`: who checked in, who counts as a duplicate, and answers by file.

use std::path::Path;

use leasehold_keys::{activation::LicenseId, check_in::CheckInRequest, time::WallTime, trust};
use licensor::{
    check_in::Answered,
    ledger::{CheckInRemark, Installed},
    workshop::{Workshop, write_whole},
};
use serde_json::{Value, json};

use super::{
    args::{CheckInCommand, Which},
    exit::{Exit, Fault},
    license_id, passphrase, print_json, read, refuse_existing,
    table::Table,
};

pub(super) fn run(
    command: CheckInCommand,
    dir: &Path,
    passphrase_file: Option<&Path>,
    json: bool,
    now: WallTime,
) -> Result<(), Fault> {
    match command {
        CheckInCommand::List { license, flagged } => {
            let license = license.as_deref().map(license_id).transpose()?;
            list(&Workshop::open(dir, None)?, license, flagged, json)
        }
        CheckInCommand::Show(which) => {
            let workshop = Workshop::open(dir, None)?;
            let row = find(&workshop, &which)?;
            show(&workshop, &row, json)
        }
        CheckInCommand::Clear(which) => {
            let mut workshop = Workshop::open(dir, None)?;
            let row = find(&workshop, &which)?;
            let row = workshop.clear_check_in(row.license_id, row.installation.id())?;
            if json {
                print_json(&row_json(&workshop, &row, &[])?);
                return Ok(());
            }
            say!("Installation {} of license {} is cleared.", row.installation.id(), row.license_id);
            say!("Its next request is believed, whatever answer it quotes, and answered by the account's state.");
            let others = beside(&workshop, &row)?;
            if others > 0 {
                say!(
                    "Besides it, {others} counted as licensed. Where it took the place of one: `licensor check-in forget {} INSTALLATION`.",
                    row.license_id
                );
            }
            Ok(())
        }
        CheckInCommand::Forget(which) => {
            let mut workshop = Workshop::open(dir, None)?;
            let row = find(&workshop, &which)?;
            workshop.forget_check_in(row.license_id, row.installation.id())?;
            if json {
                print_json(&json!({
                    "license-id": row.license_id.to_string(), "installation-id": row.installation.id().to_string(),
                }));
            } else {
                say!("Installation {} of license {} is forgotten.", row.installation.id(), row.license_id);
                say!("Should it ask again, it is a newcomer that quotes an answer nobody gave: a duplicate.");
            }
            Ok(())
        }
        CheckInCommand::Answer { request, out } => {
            refuse_existing(Some(&out))?;
            let bytes = read(&request)?;
            let mut workshop = Workshop::open(dir, None)?;
            passphrase::unlock_check_ins(&mut workshop, passphrase_file)?;
            let answered = workshop.check_ins(now)?.answer(&bytes, now)?;
            write_answer(&answered, &out, json)
        }
    }
}

/// `licensor time-note`.
pub(super) fn time_note(
    out: Option<&Path>,
    dir: &Path,
    passphrase_file: Option<&Path>,
    json: bool,
    now: WallTime,
) -> Result<(), Fault> {
    refuse_existing(out)?;
    let mut workshop = Workshop::open(dir, None)?;
    passphrase::unlock_check_ins(&mut workshop, passphrase_file)?;
    let note = workshop.time_note(now)?;
    let Some(out) = out else {
        say_part!("{note}");
        return Ok(());
    };
    write_whole(out, note.as_bytes())?;
    if json {
        print_json(&json!({ "time": now.to_string(), "file": out }));
    } else {
        say!("Time note: {}. It says that it is {now} or later, and holds for any site.", out.display());
    }
    Ok(())
}

/// The answer where it was asked for, and what goes with it beside it.
fn write_answer(answered: &Answered, out: &Path, json: bool) -> Result<(), Fault> {
    let folder = out.parent().unwrap_or(Path::new(""));
    let root_name = |root: &String| {
        let version = trust::claimed_root_version(root.as_bytes()).unwrap_or_default();
        format!("root-{version}.i3root")
    };
    let roots = answered.reply.roots.iter().map(|root| (root_name(root), root));
    let files = answered.reply.files.iter().map(|file| (file.name.clone(), &file.note));
    let mut beside = Vec::new();
    for (name, note) in roots.chain(files) {
        let path = folder.join(name);
        // Named by what they are, so one that is there is the same.
        if !path.exists() {
            write_whole(&path, note.as_bytes())?;
        }
        beside.push(path);
    }
    write_whole(out, answered.reply.answer.as_bytes())?;
    let answer = &answered.answer;
    if json {
        print_json(&json!({
            "license-id": answer.license_id.to_string(), "installation-id": answer.installation.to_string(),
            "counter": answer.counter, "standing": answer.standing.word(), "answer": out, "beside": beside,
            "duplicate": answered.misfit.map(licensor::ledger::Misfit::word), "new": answered.new,
            "message": answer.message.as_ref().map(|message| message.as_str()),
        }));
        return Ok(());
    }
    say!("Answer: {}", out.display());
    say!("  license       {}", answer.license_id);
    say!("  installation  {}, request {}", answer.installation, answer.counter);
    say!("  standing      {}", answer.standing);
    if let Some(message) = &answer.message {
        say!("  message       {message}");
    }
    say!("Send it to the site: `leasehold check-in --answer FILE`. It counts once, within 14 days of the request.");
    for path in beside {
        say!("Newer than what the site has, for its watched folder: {}", path.display());
    }
    Ok(())
}

/// The installation that is meant.
fn find(workshop: &Workshop, which: &Which) -> Result<Installed, Fault> {
    let license = license_id(&which.license_id)?;
    let mut rows = workshop.ledger().check_ins()?;
    rows.retain(|row| row.license_id == license);
    let not_found = |words: String| Err(Fault::new(Exit::NotFound, words));
    if rows.is_empty() {
        workshop.last_sequence(license)?;
        return not_found(format!("no installation has checked in for license {license} yet"));
    }
    match &which.installation {
        Some(digits) => rows.retain(|row| row.installation.id().to_string().starts_with(digits.trim())),
        None if rows.len() > 1 => rows.retain(|row| row.duplicate.is_some()),
        None => {}
    }
    match <[Installed; 1]>::try_from(rows) {
        Ok([row]) => Ok(row),
        Err(rows) if rows.is_empty() && which.installation.is_some() => not_found(format!(
            "no such installation has checked in for license {license}; `licensor check-in list` shows those that did"
        )),
        Err(_) => Err(Fault::new(
            Exit::Usage,
            format!(
                "several installations of license {license} may be meant; name one by its digits from `licensor check-in list`"
            ),
        )),
    }
}

/// How many other installations of the license are admitted.
fn beside(workshop: &Workshop, row: &Installed) -> Result<usize, Fault> {
    let rows = workshop.ledger().check_ins()?;
    let other = |other: &&Installed| {
        other.license_id == row.license_id && other.installation != row.installation && other.admitted
    };
    Ok(rows.iter().filter(other).count())
}

fn list(workshop: &Workshop, license: Option<LicenseId>, flagged: bool, json: bool) -> Result<(), Fault> {
    let ledger = workshop.ledger();
    let wanted = |of: LicenseId| license.is_none_or(|license| license == of);
    let mut remarks = ledger.check_in_remarks()?;
    remarks.retain(|remark| wanted(remark.license_id));
    let remarked = |row: &Installed| remarks.iter().any(|remark| is_of(remark, row));
    let mut rows = ledger.check_ins()?;
    rows.retain(|row| wanted(row.license_id) && (!flagged || row.duplicate.is_some() || remarked(row)));
    if json {
        let rows: Vec<Value> =
            rows.iter().map(|row| row_json(workshop, row, &remarks)).collect::<Result<_, Fault>>()?;
        print_json(&json!(rows));
        return Ok(());
    }
    if rows.is_empty() {
        say!("{}", if flagged { "There is nothing to look into." } else { "No installation has checked in yet." });
        return Ok(());
    }
    let machines = ledger.machine_names()?;
    let mut table =
        Table::new(&["LICENSE", "ACCOUNT", "SITE", "INSTALLATION", "MACHINE", "LAST", "ANSWER", "FILE", "VERSION"]);
    for row in &rows {
        let issued = ledger.file(row.license_id, None)?;
        let id = row.installation.id().to_string();
        let request = last_request(row);
        table.row([
            row.license_id.to_string(),
            issued.as_ref().map_or(String::new(), |issued| issued.account.clone()),
            issued.as_ref().map_or(String::new(), |issued| issued.install_site.clone()),
            id.clone(),
            machines.get(&id).cloned().unwrap_or_default(),
            row.last.to_string(),
            ledger
                .last_answer(row.license_id, row.installation.id())?
                .map_or(String::new(), |(standing, _)| standing.to_string()),
            request.as_ref().map_or(String::new(), |request| request.sequence.to_string()),
            request.map_or(String::new(), |request| request.version.to_string()),
        ]);
    }
    say_part!("{table}");
    for row in &rows {
        let id = row.installation.id();
        if let Some((misfit, since)) = row.duplicate {
            say!("  - {id} counts as a duplicate since {since}: {misfit}.");
            say!("    If it is the one that is meant to run: licensor check-in clear {} {id}", row.license_id);
        }
        for remark in remarks.iter().filter(|remark| is_of(remark, row)) {
            say!("  - {id}: {} (seen {} times, last at {}).", remark.detail, remark.seen, remark.last);
        }
    }
    Ok(())
}

fn show(workshop: &Workshop, row: &Installed, json: bool) -> Result<(), Fault> {
    let remarks = workshop.ledger().check_in_remarks()?;
    if json {
        let mut value = row_json(workshop, row, &remarks)?;
        value["request"] = json!(row.request);
        print_json(&value);
        return Ok(());
    }
    say!("Installation {} of license {}", row.installation.id(), row.license_id);
    say!("  first asked   {}", row.first);
    say!("  last asked    {}, {} requests", row.last, row.requests);
    let told = workshop.ledger().last_answer(row.license_id, row.installation.id())?;
    say!("  last answer   {}", told.map_or("none".to_owned(), |(standing, at)| format!("{standing}, at {at}")));
    say!("  account       {}", workshop.ledger().account_state(row.license_id)?.word());
    say!(
        "  counts        {}",
        if row.vouched {
            "as licensed, since it was cleared"
        } else if row.admitted {
            "as licensed"
        } else {
            "as one too many"
        }
    );
    say!(
        "  head          {}",
        row.head.map_or("none yet".to_owned(), |head| format!("{head}, request {}", row.head_counter))
    );
    if let Some((misfit, since)) = row.duplicate {
        say!("  duplicate     since {since}: {misfit}");
        say!("                to clear it: licensor check-in clear {} {}", row.license_id, row.installation.id());
    }
    for remark in remarks.iter().filter(|remark| is_of(remark, row)) {
        say!("  look into     {} (seen {} times, last at {})", remark.detail, remark.seen, remark.last);
    }
    say!();
    say!("Its last request:");
    say_part!("{}", row.request);
    Ok(())
}

fn is_of(remark: &CheckInRemark, row: &Installed) -> bool {
    remark.license_id == row.license_id && remark.installation == row.installation.id()
}

/// The last request, as it was verified when it came.
fn last_request(row: &Installed) -> Option<CheckInRequest> {
    CheckInRequest::verify(row.request.as_bytes()).ok().map(|request| request.into_inner())
}

fn row_json(workshop: &Workshop, row: &Installed, remarks: &[CheckInRemark]) -> Result<Value, Fault> {
    let ledger = workshop.ledger();
    let machines = ledger.machine_names()?;
    let id = row.installation.id().to_string();
    let issued = ledger.file(row.license_id, None)?;
    let told = ledger.last_answer(row.license_id, row.installation.id())?;
    let request = last_request(row);
    let remarks: Vec<Value> = remarks
        .iter()
        .filter(|remark| is_of(remark, row))
        .map(|remark| {
            json!({
                "what": remark.what, "detail": remark.detail, "seen": remark.seen,
                "first": remark.first.to_string(), "last": remark.last.to_string(),
            })
        })
        .collect();
    Ok(json!({
        "license-id": row.license_id.to_string(), "account": issued.as_ref().map(|issued| &issued.account),
        "install-site": issued.as_ref().map(|issued| &issued.install_site), "installation-id": id,
        "machine-name": machines.get(&id), "first": row.first.to_string(), "last": row.last.to_string(),
        "requests": row.requests, "admitted": row.admitted, "cleared": row.vouched,
        "head": row.head.map(|head| head.to_string()), "head-counter": row.head_counter,
        "duplicate": row.duplicate.map(|(misfit, _)| misfit.word()),
        "duplicate-since": row.duplicate.map(|(_, since)| since.to_string()),
        "account-state": ledger.account_state(row.license_id)?.word(),
        "answer": told.map(|(standing, _)| standing.word()), "answered": told.map(|(_, at)| at.to_string()),
        "sequence": request.as_ref().map(|request| request.sequence),
        "version": request.as_ref().map(|request| request.version.as_str()), "remarks": remarks,
    }))
}
