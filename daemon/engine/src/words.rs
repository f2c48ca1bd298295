//! The one place where refusals, warnings and endings become sentences: what was refused, why, who holds it, and what to
//! do next (ALLOC-14). Also their stable names and facts, for programs.

mod endings;
mod facts;
mod standing;

use std::fmt::Write;

use leasehold_keys::{
    activation::Units,
    definition::{Holder, MediaLevel},
};

use crate::refusal::{Exhausted, Holding, Limit, Refusal};

/// Facts by name, for `google.rpc.ErrorInfo`.
pub type Facts = Vec<(&'static str, String)>;

fn list<T: ToString>(items: &[T]) -> String {
    let words: Vec<String> = items.iter().map(ToString::to_string).collect();
    match words.split_last() {
        None => String::new(),
        Some((only, [])) => only.clone(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
    }
}

/// A length of time as people say it: `45 s`, `12 min`, `3 h`, `2 days`.
pub fn duration(ms: u64) -> String {
    let seconds = ms.div_ceil(1_000);
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7_199 => format!("{} min", seconds / 60),
        7_200..=172_799 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// `1 user`, `2 users`.
pub fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// `in 7 days`, `in 1 day`, `within a day`.
pub fn in_days(days: i64) -> String {
    match days {
        ..=0 => "within a day".into(),
        1 => "in 1 day".into(),
        _ => format!("in {days} days"),
    }
}

impl Refusal {
    /// One plain sentence, or two, for a person.
    pub fn message(&self) -> String {
        match self {
            Refusal::PoolExhausted(full) => exhausted(full),
            Refusal::NotAssigned { subject, key } => format!(
                "{key} is not given to {subject}. An administrator can give it with `leasehold assign {key}`."
            ),
            Refusal::NothingAssigned { subject } => format!(
                "No license key is given to {subject}. An administrator can give some with `leasehold assign`."
            ),
            Refusal::NotLicensed { key, unlicensed_site: true } => format!(
                "{key} cannot be used: no activation file is in effect on this server. Drop one into the watched folder; \
                 `leasehold licenses` tells what became of earlier ones."
            ),
            Refusal::NotLicensed { key, unlicensed_site: false } => format!(
                "{key} is not granted by any activation file in effect. `leasehold licenses` shows what is; the licensor can \
                 issue a file with it."
            ),
            Refusal::StationNotLicensed { station, key: Some(key) } => format!(
                "Station {station} does not hold {key}, without which nobody can log on there. Give it with \
                 `leasehold assign {key} --station {station}`."
            ),
            Refusal::StationNotLicensed { station, key: None } => {
                format!("Station {station} is switched off. Switch it on with `leasehold station set {station} --enabled true`.")
            }
            Refusal::HolderNotAllowed { key, allowed, .. } if allowed.is_empty() => format!(
                "{key} is held by the site as a whole and not in units. Ask for it with SiteKeys."
            ),
            Refusal::HolderNotAllowed { key, subject, allowed } => {
                let allowed: Vec<&str> = allowed.iter().map(|holder| holder_words(*holder).1).collect();
                format!("{key} cannot be held by {}: only by {}.", holder_words(*subject).0, list(&allowed))
            }
            Refusal::MethodMismatch { subject, key, method } if subject.starts_with("station") => format!(
                "Stations hold keys by the {method} method, and there are no {method} units of {key} for {subject}. Ask the \
                 licensor for {method} units."
            ),
            Refusal::MethodMismatch { subject, key, method } => format!(
                "There are no {method} units of {key}, and {subject} holds all keys by the {method} method. Change the user's \
                 method, which converts all keys at once, or ask the licensor for {method} units."
            ),
            Refusal::PrerequisiteMissing { key, missing } => {
                format!("{key} has no effect without {}. License or assign what is missing first.", list(missing))
            }
            Refusal::LimitReached(limit) => limit.message(),
            Refusal::VersionNotCovered { key, version, covered } => format!(
                "{key} is not licensed for product version {version}: the activation files cover {}. Ask the licensor for a \
                 file that covers {version}, or run a covered version.",
                list(covered)
            ),
            Refusal::ApplicationHeld { user, key, held, application } => format!(
                "User {user} already holds {held} of {application}, and {key} cannot stand beside it. Unassign {held} first."
            ),
            Refusal::LoggedOnElsewhere { user, computer } => format!(
                "User {user} has logged on at {computer} since this logon began to wait. Log on here again to come back."
            ),
            Refusal::UserUnknown(name) => {
                format!("There is no user `{name}`. Add it with `leasehold user add`; names are compared letter by letter.")
            }
            Refusal::StationUnknown(name) => {
                format!("There is no station `{name}`. Add it with `leasehold station add`; names are compared letter by letter.")
            }
            Refusal::WorkgroupUnknown(name) => {
                format!("There is no workgroup `{name}`. `leasehold workgroup list` shows those there are.")
            }
            Refusal::OrganizationUnknown(name) => {
                format!("There is no organization `{name}`. `leasehold org list` shows those there are.")
            }
            Refusal::KeyUnknown(name) => format!(
                "No accepted activation file defines a key `{name}`. `leasehold pools` shows the keys there are."
            ),
            Refusal::LicenseUnknown(id) => format!(
                "No activation file with the license ID {id} has been accepted. `leasehold licenses --all` shows those that have."
            ),
            Refusal::LeaseUnknown(lease) => format!("Lease {lease} was never granted by this server."),
            Refusal::RequestUnknown => {
                "No lease came of that request, or its answer is no longer remembered. Nothing needs to be released.".into()
            }
            Refusal::LeaseEnded { lease, how: Some(how) } => {
                format!("Lease {lease} has ended: {}. Acquire a new one.", how.message())
            }
            Refusal::LeaseEnded { lease, how: None } => format!("Lease {lease} ended some time ago. Acquire a new one."),
            Refusal::NotYourLease(lease) => format!(
                "Lease {lease} belongs to another application server. `leasehold leases` shows to whom."
            ),
            Refusal::Enforced { key, why } => why.refuses(key),
            Refusal::RequestIdReused => {
                "This request ID came before with another content. Use a new ID for each request, and the same ID only to repeat \
                 it."
                    .into()
            }
            Refusal::Malformed { field, fault } => format!("`{field}` is refused: {fault}."),
            Refusal::AlreadyExists { what, name } => format!("There is a {what} `{name}` already. Change it with `set`."),
            Refusal::InUse { what, by } => format!("{what} cannot be deleted: {by} refer to it. Change or delete them first."),
            Refusal::NotActive => {
                "This server is the switchover server of its activation file and stands by. Ask the active server, or promote \
                 this one with `leasehold promote`."
                    .into()
            }
            Refusal::Overloaded { what, most, retry_after_ms } => format!(
                "There are too many {what} (at most {most}). Try again in {}.",
                duration(*retry_after_ms)
            ),
            Refusal::StorageUnavailable => {
                "Nothing can be granted at the moment, because the server cannot write to its disk; leases that are held go on. \
                 `leasehold status` tells why."
                    .into()
            }
            Refusal::Cancelled => "The request was withdrawn by its caller.".into(),
        }
    }
}

pub(crate) const fn are(count: u64) -> &'static str {
    if count == 1 { "is" } else { "are" }
}

/// A sentence begins with a capital.
fn sentence(text: String) -> String {
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().collect::<String>() + letters.as_str())
}

fn exhausted(account: &Exhausted) -> String {
    let Exhausted { pool, capacity, held, wanted, set_aside, waiting, holders, frees_in_ms, cut } = account;
    let full = matches!(capacity, Units::Count(count) if *held >= u64::from(*count));
    let mut text = match *wanted {
        2.. => format!("{wanted} units of {pool} were asked for"),
        _ if full => format!("All seats of {pool} are taken"),
        _ => format!("No seat of {pool} is free for this request"),
    };
    let _ = write!(text, ": {held} of {capacity} {} in use", are(*held));
    if *set_aside > 0 {
        let _ = write!(text, ", {set_aside} {} set aside for others", are(*set_aside));
    }
    match waiting {
        0 => {}
        1 => text.push_str(", 1 request waits before this one"),
        _ => {
            let _ = write!(text, ", {waiting} requests wait before this one");
        }
    }
    text.push('.');
    if let Some((granted, why)) = cut {
        text.push(' ');
        text.push_str(&why.cuts(*granted));
    }
    if let Some(sentence) = holding(holders) {
        text.push(' ');
        text.push_str(&sentence);
    }
    match frees_in_ms {
        Some(ms) => {
            let _ = write!(text, " The next seat that frees itself does so in about {}.", duration(*ms));
        }
        None if account.is_assigned() => {
            text.push_str(" A seat comes free when the key is taken from one who holds it.")
        }
        None if *wanted > 1 => text.push_str(" Units come free when their holders give them back."),
        None => text.push_str(" A seat comes free when one of its holders logs off or gives it back."),
    }
    let _ = match account.is_assigned() {
        true => write!(text, " `leasehold assignments --key {}` lists them.", pool.key),
        false => write!(text, " `leasehold leases --pool {pool}` lists them."),
    };
    text
}

impl Exhausted {
    /// True where assignments hold the seats, as against leases.
    fn is_assigned(&self) -> bool {
        self.holders.by_application.first().is_some_and(|(who, _)| who == crate::room::ASSIGNED)
    }
}

/// A sort of holder with its article, and in the plural.
const fn holder_words(holder: Holder) -> (&'static str, &'static str) {
    match holder {
        Holder::User => ("a user", "users"),
        Holder::Station => ("a station", "stations"),
        Holder::Server => ("an application server", "application servers"),
    }
}

/// Who holds seats: an application by its name, or assignments.
fn named(who: &str) -> &str {
    if who == crate::room::ASSIGNED { "assignments" } else { who }
}

fn holding(holders: &Holding) -> Option<String> {
    let oldest = holders.oldest.first()?;
    let by: Vec<String> =
        holders.by_application.iter().take(3).map(|(who, count)| format!("{} ({count})", named(who))).collect();
    Some(format!("Held by {}; longest by {} since {}.", list(&by), oldest.who, oldest.since))
}

impl Limit {
    fn message(&self) -> String {
        match self {
            Limit::Share { holder, pool, used, limit } => sentence(format!(
                "{holder} may hold {limit} of {pool} and holds {used}. Raise its limit with `leasehold share set`, or free one."
            )),
            Limit::Organizations { key, licensed, configured } => format!(
                "{} configured, and {key} licenses {licensed}. Delete one, or ask the licensor for more.",
                counted(*configured, "organization is", "organizations are")
            ),
            Limit::InteractionTypes { user, level, wanted } => {
                let most = match level {
                    MediaLevel::One => "one interaction type",
                    MediaLevel::Two => "two interaction types",
                    MediaLevel::Unlimited => "any number of interaction types",
                };
                format!(
                    "The media level of user {user} would be for {most}, and {wanted} {} configured. Configure fewer with \
                     `leasehold user set {user} --types`, or give a key of a higher level first.",
                    are(*wanted)
                )
            }
            Limit::Reservations { pool, fault } => {
                format!("The share of {pool} cannot be set: {fault}.")
            }
            Limit::Stored { what, most } => format!("There may be at most {most} {what}."),
        }
    }
}
