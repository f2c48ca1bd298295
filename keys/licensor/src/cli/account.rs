//! `licensor account`: how licenses stand.

use std::path::Path;

use leasehold_keys::{activation::LicenseId, name::Label, time::WallTime};
use licensor::{
    ledger::{AccountState, Remarked},
    workshop::Workshop,
};
use serde_json::{Value, json};

use super::{
    args::{AccountCommand, Whose},
    date,
    exit::{Exit, Fault},
    license_id, operator, print_json,
    table::Table,
};

pub(super) fn run(command: AccountCommand, dir: &Path, json: bool, now: WallTime) -> Result<(), Fault> {
    let remarked = |reason: &str, by: Option<&str>| -> Result<Remarked, Fault> {
        let reason: Label = reason
            .parse()
            .map_err(|fault| Fault::new(Exit::Usage, format!("--reason cannot be told to the customer: {fault}")))?;
        Ok(Remarked { reason: reason.to_string(), at: now, by: operator(by)?.to_string() })
    };
    let (whose, state) = match command {
        AccountCommand::List => return list(&Workshop::open(dir, None)?, json),
        AccountCommand::Good { whose } => (whose, AccountState::Good),
        AccountCommand::Hold { whose, reason, issued_by } => {
            (whose, AccountState::Hold(remarked(&reason, issued_by.as_deref())?))
        }
        AccountCommand::Revoke { whose, from, reason, issued_by } => {
            let from = date(&from).map_err(|fault| Fault::new(Exit::Usage, format!("--from: {fault}")))?;
            (whose, AccountState::Revoked { from, remarked: remarked(&reason, issued_by.as_deref())? })
        }
    };
    let mut workshop = Workshop::open(dir, None)?;
    let licenses = named(&workshop, &whose)?;
    for license in &licenses {
        workshop.set_account_state(*license, &state)?;
    }
    if json {
        let rows: Vec<Value> = licenses.iter().map(|license| row_json(*license, &state)).collect();
        print_json(&json!(rows));
        return Ok(());
    }
    for license in licenses {
        match &state {
            AccountState::Good => say!("License {license} is in good standing: its next check-in is answered so."),
            AccountState::Hold(_) => {
                say!("License {license} is on hold: its check-ins are refused, and the site goes down its stages.");
            }
            AccountState::Revoked { from, .. } => {
                say!("License {license} is withdrawn from {from}: its next check-in is answered so.");
            }
        }
    }
    Ok(())
}

fn named(workshop: &Workshop, whose: &Whose) -> Result<Vec<LicenseId>, Fault> {
    match (&whose.license_id, &whose.account) {
        (Some(id), _) => Ok(vec![license_id(id)?]),
        (None, account) => {
            let account = account.as_deref().unwrap_or_default();
            let account: Label =
                account.parse().map_err(|fault| Fault::new(Exit::Usage, format!("--account: `{account}`: {fault}")))?;
            Ok(workshop.licenses_of(&account)?)
        }
    }
}

fn list(workshop: &Workshop, json: bool) -> Result<(), Fault> {
    let states = workshop.ledger().account_states()?;
    if json {
        let rows: Vec<Value> = states.iter().map(|(license, state)| row_json(*license, state)).collect();
        print_json(&json!(rows));
        return Ok(());
    }
    if states.is_empty() {
        say!("Every license is in good standing.");
        return Ok(());
    }
    let mut table = Table::new(&["LICENSE", "ACCOUNT", "SITE", "STATE", "FROM", "SAID", "BY", "REASON"]);
    for (license, state) in states {
        let file = workshop.ledger().file(license, None)?;
        let (from, remarked) = match &state {
            AccountState::Good => continue,
            AccountState::Hold(remarked) => (remarked.at, remarked),
            AccountState::Revoked { from, remarked } => (*from, remarked),
        };
        table.row([
            license.to_string(),
            file.as_ref().map_or(String::new(), |file| file.account.clone()),
            file.as_ref().map_or(String::new(), |file| file.install_site.clone()),
            state.word().to_owned(),
            super::show::date(from),
            remarked.at.to_string(),
            remarked.by.clone(),
            remarked.reason.clone(),
        ]);
    }
    say_part!("{table}");
    Ok(())
}

fn row_json(license: LicenseId, state: &AccountState) -> Value {
    let (from, remarked) = match state {
        AccountState::Good => (None, None),
        AccountState::Hold(remarked) => (None, Some(remarked)),
        AccountState::Revoked { from, remarked } => (Some(from.to_string()), Some(remarked)),
    };
    json!({
        "license-id": license.to_string(), "state": state.word(), "from": from,
        "reason": remarked.map(|remarked| &remarked.reason), "said": remarked.map(|remarked| remarked.at.to_string()),
        "by": remarked.map(|remarked| &remarked.by),
    })
}
