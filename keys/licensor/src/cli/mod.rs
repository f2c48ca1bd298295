//! The commands of `licensor`: each reads its arguments, asks the library, and prints.

#[macro_use]
mod output;

mod account;
pub(crate) mod args;
mod catalog;
mod check_in;
pub(crate) mod exit;
mod order;
mod passphrase;
mod serve;
mod show;
mod table;
mod usage;

use std::{fs, path::Path};

use leasehold_keys::{activation::LicenseId, name::Label, note::NOTE_MAX_BYTES, refusal::Reason, time::WallTime};
use licensor::{
    ledger::IssuedFile,
    workshop::{CreateOptions, Issued, Workshop, receipts_due},
};
use serde_json::json;

use self::{
    args::{Arguments, Command, RootCommand},
    exit::{Exit, Fault},
    table::Table,
};

/// Does what the arguments say. `clock` is read once, but by a command that runs for days.
pub(crate) fn run(arguments: Arguments, clock: fn() -> WallTime) -> Result<(), Fault> {
    let now = clock();
    let Arguments { dir, passphrase_file, json, command } = arguments;
    let passphrase_file = passphrase_file.as_deref();
    match command {
        Command::Init(init) => {
            let protection = passphrase::for_new(passphrase_file, init.no_passphrase)?;
            let options = CreateOptions {
                root_keys: init.root_keys,
                threshold: init.threshold,
                years: init.years,
                ml_dsa: init.ml_dsa,
                may_lie_there: passphrase_file.map(Path::to_owned),
                ..CreateOptions::new(init.name, protection)
            };
            let workshop = Workshop::create(&dir, &options, now)?;
            tell_founded(&workshop, &options, json);
        }
        Command::Catalog(command) => catalog::run(&command, json)?,
        Command::Issue(issue) => {
            refuse_existing(issue.out.as_deref())?;
            let catalog = catalog::find(&issue.catalog)?;
            let mut workshop = Workshop::open(&dir, None)?;
            let order = order::from_arguments(&issue, &catalog, &workshop)?;
            passphrase::unlock(&mut workshop, passphrase_file)?;
            let issued = workshop.issue(&catalog, &order, now)?;
            tell_issued(&workshop, &issued, issue.out.as_deref(), json)?;
        }
        Command::Deactivate(deactivate) => {
            refuse_existing(deactivate.out.as_deref())?;
            let license_id = license_id(&deactivate.license_id)?;
            let issued_by = operator(deactivate.issued_by.as_deref())?;
            let mut workshop = Workshop::open(&dir, None)?;
            passphrase::unlock(&mut workshop, passphrase_file)?;
            let issued = workshop.deactivate(license_id, &issued_by, now)?;
            tell_issued(&workshop, &issued, deactivate.out.as_deref(), json)?;
        }
        Command::Receipt(receipt) => {
            let mut workshop = Workshop::open(&dir, None)?;
            if let Some(request) = receipt.request {
                workshop.know_installation(&read(&request)?, now)?;
            }
            let bytes = read(&receipt.file)?;
            let taken = match receipt.any_installation {
                true => workshop.take_receipt_of_any(&bytes, now)?,
                false => workshop.take_receipt(&bytes, now)?,
            };
            let (license, sequence) = (taken.receipt.license_id, taken.receipt.sequence);
            if json {
                print_json(&json!({
                    "license-id": license.to_string(), "sequence": sequence,
                    "installation-id": taken.receipt.installation_id.to_string(),
                    "closed": taken.receipt.closed.to_string(), "new": taken.new,
                    "received": taken.received, "due": taken.due,
                }));
            } else if taken.new {
                let installation = taken.receipt.installation_id.to_string();
                let names = workshop.ledger().machine_names()?;
                let machine = names.get(&installation).map_or("", String::as_str);
                say!(
                    "License {license} was closed at {} on {machine} (installation {installation}).",
                    taken.receipt.closed
                );
                say!("The receipt is in the records.");
                if taken.received < taken.due {
                    say!("{} of {} received: the license's other machine owes its receipt.", taken.received, taken.due);
                }
            } else {
                say!("The receipt for license {license} was in the records already; nothing changed.");
            }
        }
        Command::Show { file } => show::unverified(&read(&file)?, json)?,
        Command::Verify { file, root } => {
            let roots = root.iter().map(|path| read(path)).collect::<Result<Vec<_>, _>>()?;
            show::verified(&read(&file)?, &roots, &dir, now, json)?;
        }
        Command::List { account, active } => list(&Workshop::open(&dir, None)?, account.as_deref(), active, now, json)?,
        Command::Export { license_id: id, sequence, out } => {
            refuse_existing(Some(&out))?;
            let file = Workshop::open(&dir, None)?.write_again(license_id(&id)?, sequence, &out)?;
            if json {
                print_json(
                    &json!({ "license-id": file.license_id.to_string(), "sequence": file.sequence, "file": out }),
                );
            } else {
                say!("Wrote file {} of license {} to {}.", file.sequence, file.license_id, out.display());
            }
        }
        Command::Root(RootCommand::Show { note }) => {
            let workshop = Workshop::open(&dir, None)?;
            if note {
                say_part!("{}", workshop.root_note());
            } else {
                show::root(workshop.trust().root(), json);
            }
        }
        Command::Usage(command) => usage::run(command, &dir, passphrase_file, json, now)?,
        Command::CheckIn(command) => check_in::run(command, &dir, passphrase_file, json, now)?,
        Command::Account(command) => account::run(command, &dir, json, now)?,
        Command::TimeNote { out } => check_in::time_note(out.as_deref(), &dir, passphrase_file, json, now)?,
        Command::Serve(serve) => serve::run(&serve, &dir, passphrase_file, clock)?,
    }
    Ok(())
}

fn tell_founded(workshop: &Workshop, options: &CreateOptions, json: bool) {
    let root = workshop.trust().root();
    if json {
        return print_json(&json!({
            "dir": workshop.dir(), "root-version": root.version, "root-sha256": root.sha256().to_string(),
            "expires": root.expires.to_string(),
        }));
    }
    say!("Made licensor {} in {}.", options.name, workshop.dir().display());
    say!("  root.i3root root {}, good until {}, SHA-256 {}", root.version, root.expires, root.sha256());
    say!(
        "  keys/       private keys, {}",
        match options.protection {
            licensor::vault::Protection::None => "NOT sealed: for development only",
            licensor::vault::Protection::Passphrase(_) => "sealed with your passphrase",
        }
    );
    say!();
    say!("Next:");
    say!(
        "  - Copy keys/root-*.key to media that you keep apart and offline, each with another person, and delete them here."
    );
    say!("    {} of {} are needed to make the next root; issuing needs none.", options.threshold, options.root_keys);
    say!("  - Build root.i3root into your daemon and client (LEASEHOLD_ROOT), or give it to sites as a file.");
    say!("  - Issue a file: licensor issue --account NAME --site NAME --request FILE --part NUMBER=ASSIGNED,POOLED");
}

fn tell_issued(workshop: &Workshop, issued: &Issued, out: Option<&Path>, json: bool) -> Result<(), Fault> {
    if let Some(out) = out {
        issued.write_to(out)?;
    }
    let path = out.unwrap_or(&issued.path);
    if json {
        let mut value = show::activation_json(&issued.activation);
        value["file"] = json!(path);
        value["sha256"] = json!(issued.activation.sha256().to_string());
        print_json(&value);
        return Ok(());
    }
    let what = if issued.activation.is_deactivation() { "Closing file" } else { "Issued" };
    say!("{what}: {}", path.display());
    say!();
    show::print_activation(&issued.activation);
    say!("{}", show::signers_line(issued.activation.signed_by(), Some(workshop.trust().root().version)));
    if issued.activation.is_deactivation() {
        say!();
        say!(
            "The site loads this file; its daemon then writes a deactivation receipt. Take it with: licensor receipt FILE"
        );
    }
    Ok(())
}

fn list(workshop: &Workshop, account: Option<&str>, active: bool, now: WallTime, json: bool) -> Result<(), Fault> {
    let files = workshop.ledger().issued()?;
    let state = |file: &IssuedFile| {
        let newest =
            files.iter().filter(|other| other.license_id == file.license_id).max_by_key(|other| other.sequence);
        Ok::<_, Fault>(match newest {
            _ if file.closes => match (file.receipts, receipts_due(file)?) {
                (0, _) => "closing".to_owned(),
                (received, due) if received < due => format!("{received} of {due} received"),
                _ => "closed".to_owned(),
            },
            Some(newest) if newest.sequence > file.sequence => "superseded".to_owned(),
            _ if file.not_after <= now => "ended".to_owned(),
            _ => "active".to_owned(),
        })
    };
    let mut shown = Vec::new();
    for file in files.iter().filter(|file| account.is_none_or(|account| file.account == account)) {
        let state = state(file)?;
        if !active || state == "active" {
            shown.push((file, state));
        }
    }
    if json {
        let rows: Vec<_> = shown
            .iter()
            .map(|(file, state)| {
                json!({
                    "license-id": file.license_id.to_string(), "sequence": file.sequence, "state": state,
                    "account": file.account, "install-site": file.install_site, "product": file.product,
                    "level": file.level, "kind": file.kind, "issued": file.issued.to_string(),
                    "issued-by": file.issued_by, "not-after": file.not_after.to_string(),
                    "sha256": file.sha256.to_string(),
                    "receipt-taken": file.receipt_taken.map(|time| time.to_string()), "receipts": file.receipts,
                })
            })
            .collect();
        print_json(&json!(rows));
        return Ok(());
    }
    if shown.is_empty() {
        say!("No files{}.", if files.is_empty() { " were issued yet" } else { " match" });
        return Ok(());
    }
    let mut table =
        Table::new(&["ISSUED", "LICENSE", "SEQ", "STATE", "ACCOUNT", "SITE", "PRODUCT", "LEVEL", "ENDS", "BY"]);
    for (file, state) in shown {
        table.row([
            show::date(file.issued),
            file.license_id.to_string(),
            file.sequence.to_string(),
            state,
            file.account.clone(),
            file.install_site.clone(),
            file.product.clone(),
            if file.kind == "base" { file.level.clone() } else { format!("{} {}", file.level, file.kind) },
            show::date(file.not_after),
            file.issued_by.clone(),
        ]);
    }
    say_part!("{table}");
    Ok(())
}

/// A file that is there is never written over: it may be the only copy that a customer has.
fn refuse_existing(out: Option<&Path>) -> Result<(), Fault> {
    match out {
        Some(out) if out.exists() => {
            Err(Fault::new(Exit::Failed, format!("{} is there already; name another file", out.display())))
        }
        _ => Ok(()),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Fault> {
    // A link that the vendor names is meant; the reader follows none.
    let file = fs::canonicalize(path).map_err(|fault| {
        let exit = if fault.kind() == std::io::ErrorKind::NotFound { Exit::NotFound } else { Exit::Failed };
        Fault::new(exit, format!("{}: {fault}", path.display()))
    })?;
    leasehold_keys::file::read(&file).map_err(|refusal| match refusal.kind() {
        Reason::TooLarge => Fault::new(
            Exit::Refused,
            format!("{} is larger than {} KiB, the most of a signed file", path.display(), NOTE_MAX_BYTES / 1_024),
        ),
        _ => Fault::new(Exit::Failed, format!("{}: {refusal}", path.display())),
    })
}

/// A license ID as people type it.
fn license_id(text: &str) -> Result<LicenseId, Fault> {
    uuid::Uuid::parse_str(text.trim())
        .map(LicenseId)
        .map_err(|_| Fault::new(Exit::Usage, format!("`{text}` is no license ID; `licensor list` shows them")))
}

/// A date, or a moment in UTC, as people type it.
fn date(text: &str) -> Result<WallTime, String> {
    let time = if text.len() == "2027-01-31".len() { format!("{text}T00:00:00Z") } else { text.to_owned() };
    time.parse().map_err(|_| format!("`{text}` is no date like 2027-01-31 and no UTC time like 2027-01-31T12:00:00Z"))
}

/// Who is at work: as named, or the user that is logged on.
fn operator(named: Option<&str>) -> Result<Label, Fault> {
    let name = named.map(str::to_owned).or_else(|| std::env::var("USER").ok()).unwrap_or_else(|| "unknown".to_owned());
    name.parse().map_err(|fault| Fault::new(Exit::Usage, format!("--issued-by: `{name}`: {fault}")))
}

fn print_json(value: &serde_json::Value) {
    say!("{value:#}");
}
