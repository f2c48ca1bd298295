//! Where the passphrase comes from: a file, the environment, the terminal, in this order. Never an argument, which other
//! users of the machine could read.

use std::{fs, io::IsTerminal as _, path::Path};

use leasehold_keys::root::KeyRole;
use licensor::{
    vault::{Passphrase, Protection},
    workshop::Workshop,
};

use super::exit::{Exit, Fault};

const VARIABLE: &str = "LICENSOR_PASSPHRASE";

/// How a new licensor keeps its keys.
pub(crate) fn for_new(file: Option<&Path>, waived: bool) -> Result<Protection, Fault> {
    if waived {
        return Ok(Protection::None);
    }
    let text = match given(file)? {
        Some(text) => text,
        None if std::io::stdin().is_terminal() => {
            let first = ask("New passphrase: ")?;
            if ask("Once more: ")? != first {
                return Err(Fault::new(Exit::Usage, "the two passphrases differ; try again"));
            }
            first
        }
        None => {
            return Err(Fault::new(
                Exit::Locked,
                format!(
                    "no passphrase is given; use --passphrase-file or {VARIABLE} (or --no-passphrase for development)"
                ),
            ));
        }
    };
    Ok(Protection::Passphrase(Passphrase::new(text)?))
}

/// Opens the issuing keys where they are sealed.
pub(crate) fn unlock(workshop: &mut Workshop, file: Option<&Path>) -> Result<(), Fault> {
    if workshop.is_locked()? { give(workshop, file) } else { Ok(()) }
}

/// Opens the receipt keys where they are sealed.
pub(crate) fn unlock_receipts(workshop: &mut Workshop, file: Option<&Path>) -> Result<(), Fault> {
    if workshop.is_locked_for(KeyRole::Receipt)? { give(workshop, file) } else { Ok(()) }
}

/// Opens the check-in keys where they are sealed.
pub(crate) fn unlock_check_ins(workshop: &mut Workshop, file: Option<&Path>) -> Result<(), Fault> {
    if workshop.is_locked_for(KeyRole::CheckIn)? { give(workshop, file) } else { Ok(()) }
}

/// Opens the usage keys where they are sealed.
pub(crate) fn unlock_usage(workshop: &mut Workshop, file: Option<&Path>) -> Result<(), Fault> {
    if workshop.is_locked_for_usage()? { give(workshop, file) } else { Ok(()) }
}

fn give(workshop: &mut Workshop, file: Option<&Path>) -> Result<(), Fault> {
    if let Some(text) = given(file)? {
        workshop.unlock(Passphrase::to_try(text));
    } else if std::io::stdin().is_terminal() {
        workshop.unlock(Passphrase::to_try(ask("Passphrase: ")?));
    }
    // Without one, whoever needs a key says what is missing.
    Ok(())
}

fn given(file: Option<&Path>) -> Result<Option<String>, Fault> {
    match file {
        Some(path) => {
            let text = fs::read_to_string(path)
                .map_err(|fault| Fault::new(Exit::Failed, format!("{}: {fault}", path.display())))?;
            Ok(Some(text.lines().next().unwrap_or_default().to_owned()))
        }
        None => Ok(std::env::var(VARIABLE).ok()),
    }
}

fn ask(prompt: &str) -> Result<String, Fault> {
    rpassword::prompt_password(prompt)
        .map_err(|fault| Fault::new(Exit::Failed, format!("the terminal gives no passphrase: {fault}")))
}
