//! The one place where refusals, warnings and endings become sentences: what was refused, why, who holds it, and what to
//! do next (ALLOC-14). Also their stable names and facts, for programs.

use std::fmt::Write;

use leasehold_keys::{
    activation::{Level, Units},
    definition::{Holder, MediaLevel},
    name::Label,
};

use crate::{
    decision::Notice,
    refusal::{EndReason, Exhausted, FileRefusal, Holding, Limit, Refusal},
    row::Warning,
};

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

/// `in 7 days`, `in 1 day`, `within a day`.
pub fn in_days(days: i64) -> String {
    match days {
        ..=0 => "within a day".into(),
        1 => "in 1 day".into(),
        _ => format!("in {days} days"),
    }
}

impl Refusal {
    /// The stable reason in capitals (03, Services).
    pub const fn reason(&self) -> &'static str {
        match self {
            Refusal::PoolExhausted(_) => "POOL_EXHAUSTED",
            Refusal::NotAssigned { .. } => "NOT_ASSIGNED",
            Refusal::NothingAssigned { .. } => "NOT_ASSIGNED",
            Refusal::NotLicensed { .. } => "NOT_LICENSED",
            Refusal::StationNotLicensed { .. } => "STATION_NOT_LICENSED",
            Refusal::HolderNotAllowed { .. } => "HOLDER_NOT_ALLOWED",
            Refusal::MethodMismatch { .. } => "METHOD_MISMATCH",
            Refusal::PrerequisiteMissing { .. } => "PREREQUISITE_MISSING",
            Refusal::LimitReached(_) => "LIMIT_REACHED",
            Refusal::VersionNotCovered { .. } => "VERSION_NOT_COVERED",
            Refusal::ApplicationHeld { .. } => "APPLICATION_HELD",
            Refusal::UserUnknown(_) => "USER_UNKNOWN",
            Refusal::StationUnknown(_) => "STATION_UNKNOWN",
            Refusal::WorkgroupUnknown(_) => "WORKGROUP_UNKNOWN",
            Refusal::OrganizationUnknown(_) => "ORGANIZATION_UNKNOWN",
            Refusal::KeyUnknown(_) => "KEY_UNKNOWN",
            Refusal::LicenseUnknown(_) => "LICENSE_UNKNOWN",
            Refusal::LeaseUnknown(_) => "LEASE_UNKNOWN",
            Refusal::RequestUnknown => "REQUEST_UNKNOWN",
            Refusal::LeaseEnded { .. } => "LEASE_ENDED",
            Refusal::NotYourLease(_) => "NOT_YOUR_LEASE",
            Refusal::RequestIdReused => "REQUEST_ID_REUSED",
            Refusal::Malformed { .. } => "MALFORMED",
            Refusal::AlreadyExists { .. } => "ALREADY_EXISTS",
            Refusal::InUse { .. } => "IN_USE",
            Refusal::NotActive => "NOT_ACTIVE",
            Refusal::Overloaded { .. } => "OVERLOADED",
            Refusal::StorageUnavailable => "STORAGE_UNAVAILABLE",
            Refusal::Cancelled => "CANCELLED",
        }
    }

    /// When it is worth trying again, in milliseconds, where that is known.
    pub fn retry_after_ms(&self) -> Option<u64> {
        match self {
            Refusal::PoolExhausted(full) => full.frees_in_ms,
            Refusal::Overloaded { retry_after_ms, .. } => Some(*retry_after_ms),
            Refusal::StorageUnavailable => Some(1_000),
            _ => None,
        }
    }

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

    /// The facts, by stable names.
    pub fn facts(&self) -> Facts {
        match self {
            Refusal::PoolExhausted(full) => {
                let mut facts = vec![
                    ("pool", full.pool.to_string()),
                    ("key", full.pool.key.to_string()),
                    ("capacity", full.capacity.to_string()),
                    ("in_use", full.held.to_string()),
                    ("wanted", full.wanted.to_string()),
                    ("set_aside", full.set_aside.to_string()),
                    ("waiting", full.waiting.to_string()),
                ];
                if let Some(oldest) = full.holders.oldest.first() {
                    facts.push(("oldest_holder", oldest.who.clone()));
                }
                if let Some(ms) = full.frees_in_ms {
                    facts.push(("frees_in_ms", ms.to_string()));
                }
                facts
            }
            Refusal::NotAssigned { subject, key } => {
                vec![("subject", subject.clone()), ("key", key.to_string())]
            }
            Refusal::NothingAssigned { subject } => vec![("subject", subject.clone())],
            Refusal::NotLicensed { key, unlicensed_site } => {
                vec![("key", key.to_string()), ("unlicensed_site", unlicensed_site.to_string())]
            }
            Refusal::StationNotLicensed { station, key } => {
                let mut facts = vec![("station", station.to_string())];
                facts.extend(key.as_ref().map(|key| ("key", key.to_string())));
                facts
            }
            Refusal::HolderNotAllowed { key, subject, .. } => {
                vec![("key", key.to_string()), ("subject_kind", format!("{subject:?}").to_lowercase())]
            }
            Refusal::MethodMismatch { subject, key, method } => {
                vec![("subject", subject.clone()), ("key", key.to_string()), ("method", method.to_string())]
            }
            Refusal::PrerequisiteMissing { key, missing } => {
                vec![
                    ("key", key.to_string()),
                    ("missing", missing.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")),
                ]
            }
            Refusal::LimitReached(limit) => limit.facts(),
            Refusal::VersionNotCovered { key, version, covered } => vec![
                ("key", key.to_string()),
                ("version", version.clone()),
                ("covered", covered.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
            ],
            Refusal::ApplicationHeld { user, key, held, application } => vec![
                ("user", user.to_string()),
                ("key", key.to_string()),
                ("held", held.to_string()),
                ("application", application.to_string()),
            ],
            Refusal::UserUnknown(name) => vec![("user", name.clone())],
            Refusal::StationUnknown(name) => vec![("station", name.clone())],
            Refusal::WorkgroupUnknown(name) => vec![("workgroup", name.clone())],
            Refusal::OrganizationUnknown(name) => vec![("organization", name.clone())],
            Refusal::KeyUnknown(name) => vec![("key", name.clone())],
            Refusal::LicenseUnknown(id) => vec![("license_id", id.clone())],
            Refusal::LeaseUnknown(lease) | Refusal::NotYourLease(lease) => {
                vec![("lease_id", lease.to_string())]
            }
            Refusal::LeaseEnded { lease, how } => {
                let mut facts = vec![("lease_id", lease.to_string())];
                facts.extend(how.map(|how| ("how", how.as_str().to_string())));
                facts
            }
            Refusal::Malformed { field, fault } => {
                vec![("field", field.to_string()), ("fault", fault.clone())]
            }
            Refusal::AlreadyExists { what, name } => {
                vec![("what", what.to_string()), ("name", name.to_string())]
            }
            Refusal::InUse { what, by } => vec![("what", what.clone()), ("by", by.clone())],
            Refusal::Overloaded { what, most, .. } => {
                vec![("what", what.to_string()), ("most", most.to_string())]
            }
            Refusal::RequestUnknown
            | Refusal::RequestIdReused
            | Refusal::NotActive
            | Refusal::StorageUnavailable
            | Refusal::Cancelled => Vec::new(),
        }
    }
}

const fn are(count: u64) -> &'static str {
    if count == 1 { "is" } else { "are" }
}

/// A sentence begins with a capital.
fn sentence(text: String) -> String {
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().collect::<String>() + letters.as_str())
}

fn exhausted(account: &Exhausted) -> String {
    let Exhausted { pool, capacity, held, wanted, set_aside, waiting, holders, frees_in_ms } = account;
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

fn holding(holders: &Holding) -> Option<String> {
    let oldest = holders.oldest.first()?;
    let by: Vec<String> =
        holders.by_application.iter().take(3).map(|(application, count)| format!("{application} ({count})")).collect();
    Some(format!("Held by {}; longest by {} since {}.", list(&by), oldest.who, oldest.since))
}

impl Limit {
    fn message(&self) -> String {
        match self {
            Limit::Share { holder, pool, used, limit } => sentence(format!(
                "{holder} may hold {limit} of {pool} and holds {used}. Raise its limit with `leasehold share set`, or free one."
            )),
            Limit::Organizations { key, licensed, configured } => format!(
                "{configured} organizations are configured and {licensed} are licensed by {key}. Delete one, or ask the licensor \
                 for more."
            ),
            Limit::InteractionTypes { user, level, wanted } => {
                let most = match level {
                    MediaLevel::One => "one interaction type",
                    MediaLevel::Two => "two interaction types",
                    MediaLevel::Unlimited => "any number of interaction types",
                };
                format!(
                    "User {user} has a media level for {most}, and {wanted} were configured. Configure fewer, or assign a higher level."
                )
            }
            Limit::Reservations { pool, fault } => {
                format!("The share of {pool} cannot be set: {fault}.")
            }
            Limit::Stored { what, most } => format!("There may be at most {most} {what}."),
        }
    }

    fn facts(&self) -> Facts {
        match self {
            Limit::Share { holder, pool, used, limit } => vec![
                ("holder", holder.clone()),
                ("pool", pool.to_string()),
                ("in_use", used.to_string()),
                ("limit", limit.to_string()),
            ],
            Limit::Organizations { key, licensed, configured } => {
                vec![("key", key.to_string()), ("limit", licensed.to_string()), ("in_use", configured.to_string())]
            }
            Limit::InteractionTypes { user, wanted, .. } => {
                vec![("user", user.to_string()), ("wanted", wanted.to_string())]
            }
            Limit::Reservations { pool, .. } => vec![("pool", pool.to_string())],
            Limit::Stored { what, most } => {
                vec![("what", what.to_string()), ("limit", most.to_string())]
            }
        }
    }
}

impl EndReason {
    /// How it ended, as the second half of a sentence.
    pub const fn message(self) -> &'static str {
        match self {
            EndReason::Released => "its holder gave it back",
            EndReason::Expired => "it was not renewed in time",
            EndReason::LoggedOnElsewhere => "the user logged on at another computer",
            EndReason::Unassigned => "a key that it needs was unassigned",
            EndReason::SubjectDeleted => "its user or station was deleted",
            EndReason::Revoked => "an administrator ended it",
            EndReason::Idle => "it stood idle while others waited",
            EndReason::DevelopmentHourlyDisconnect => "a development license ends every lease after one hour",
            EndReason::LicenseEnded => "the activation file that granted its keys has ended",
            EndReason::CapacityLowered => "more seats were in use than are licensed, for more than 24 hours",
            EndReason::HolderRestarted => "its application server was restarted and did not take it over",
            EndReason::StationNotLicensed => "its station was switched off or lost its basic station key",
        }
    }

    /// The reason of a stable name.
    pub fn from_name(name: &str) -> Option<Self> {
        [
            EndReason::Released,
            EndReason::Expired,
            EndReason::LoggedOnElsewhere,
            EndReason::Unassigned,
            EndReason::SubjectDeleted,
            EndReason::Revoked,
            EndReason::Idle,
            EndReason::DevelopmentHourlyDisconnect,
            EndReason::LicenseEnded,
            EndReason::CapacityLowered,
            EndReason::HolderRestarted,
            EndReason::StationNotLicensed,
        ]
        .into_iter()
        .find(|reason| reason.as_str() == name)
    }
}

impl Warning {
    /// The stable name.
    pub const fn reason(&self) -> &'static str {
        match self {
            Warning::MediaLimited { .. } => "MEDIA_LIMITED",
            Warning::StationWithoutKey { .. } => "STATION_NOT_LICENSED",
            Warning::NotForProduction => "NOT_FOR_PRODUCTION",
        }
    }

    /// One sentence for a person.
    pub fn message(&self) -> String {
        match self {
            Warning::MediaLimited { workgroup, types, remedy } => {
                format!("Workgroup {workgroup} routes {}, which this user will not receive. {remedy}", list(types))
            }
            Warning::StationWithoutKey { station, key } => format!(
                "Station {station} is saved, but has no dial tone: it needs {key}. Give it with `leasehold assign {key} --station \
                 {station}`."
            ),
            Warning::NotForProduction => {
                "This is a development license: it is not for production, and every lease ends after one hour.".into()
            }
        }
    }

    /// The facts, by stable names.
    pub fn facts(&self) -> Facts {
        match self {
            Warning::MediaLimited { workgroup, types, .. } => vec![
                ("workgroup", workgroup.to_string()),
                ("interaction_types", types.iter().map(Label::as_str).collect::<Vec<_>>().join(",")),
            ],
            Warning::StationWithoutKey { station, key } => {
                vec![("station", station.to_string()), ("key", key.to_string())]
            }
            Warning::NotForProduction => Vec::new(),
        }
    }
}

impl FileRefusal {
    /// The stable reason.
    pub const fn reason(&self) -> &'static str {
        match self {
            FileRefusal::RolledBack { .. } => "rolled-back",
            FileRefusal::SameSequenceOtherBytes { .. } => "same-sequence-other-bytes",
            FileRefusal::OtherHost { .. } => "other-host",
            FileRefusal::SecondBase { .. } => "second-base",
            FileRefusal::NoBase { .. } => "no-base",
            FileRefusal::EvaluationTakesNoAddOns { .. } => "evaluation-takes-no-add-ons",
            FileRefusal::CompanionWithoutCloud { .. } => "companion-without-virtual-cloud",
            FileRefusal::Ended { .. } => "ended",
            FileRefusal::Unloaded => "unloaded",
        }
    }

    /// What is wrong and what to do, for `NAME.rejected.txt` and the log.
    pub fn message(&self) -> String {
        match self {
            FileRefusal::RolledBack { offered, accepted } => format!(
                "This file has sequence {offered}, and sequence {accepted} of the same license was accepted before. Older files are \
                 not taken again; ask the licensor for a new one if {accepted} is wrong."
            ),
            FileRefusal::SameSequenceOtherBytes { sequence } => format!(
                "A file with the same license and sequence {sequence} but another content was accepted before. Ask the licensor to \
                 issue the next sequence."
            ),
            FileRefusal::OtherHost { comparison } => format!(
                "This file is for another host. {comparison} If the hardware was changed, send the licensor a new request made with \
                 `leasehold request`."
            ),
            FileRefusal::SecondBase { product, other } => format!(
                "Another base file for {product} is in effect ({other}). Unload or deactivate it first, or ask the licensor for a file \
                 that supersedes it."
            ),
            FileRefusal::NoBase { product } => {
                format!("This is an add-on file, and no base file for {product} is in effect. Drop the base file in as well.")
            }
            FileRefusal::EvaluationTakesNoAddOns { product } => format!(
                "This is an add-on file, and the base file for {product} is an evaluation, which takes none. Ask the licensor for a \
                 production or trial file."
            ),
            FileRefusal::CompanionWithoutCloud { product } => format!(
                "This file is licensed by virtual cloud, and the file of the {product} server that it serves is not. Both must be."
            ),
            FileRefusal::Ended { not_after, level: Level::Trial } => {
                format!("This trial ended on {not_after}: trials end 60 days after issue. Ask the licensor for a production file.")
            }
            FileRefusal::Ended { not_after, .. } => {
                format!("This file ended on {not_after}. Ask the licensor for a new one.")
            }
            FileRefusal::Unloaded => {
                "This license was unloaded by an administrator. Ask the licensor for the next sequence to load it again.".into()
            }
        }
    }
}

impl Notice {
    /// The stable name.
    pub const fn reason(&self) -> &'static str {
        match self {
            Notice::Exceeded { .. } => "LICENSE_EXCEEDED",
            Notice::FileEndsSoon { .. } => "FILE_ENDS_SOON",
            Notice::FileEnded { .. } => "FILE_ENDED",
            Notice::FileAbsent { .. } => "FILE_ABSENT",
            Notice::HostLost { .. } => "HOST_LOST",
            Notice::ComplianceChecked { .. } => "COMPLIANCE_CHECKED",
        }
    }

    /// One sentence for the log.
    pub fn message(&self) -> String {
        match self {
            Notice::Exceeded { pool, title, licensed: 0, used } => format!(
                "{title} ({pool}): {used} are assigned or in use and none are licensed any more. Leases on it end within the \
                 hour; assignments stay recorded and have no effect."
            ),
            Notice::Exceeded { pool, title, licensed, used } => format!(
                "{title} ({pool}): {used} are in use and {licensed} are licensed. New ones are refused until the count falls; after 24 \
                 hours the excess leases are ended, newest first."
            ),
            Notice::FileEndsSoon { title, days, .. } => {
                format!(
                    "{title} ends {}. Ask the licensor for its successor and drop it into the watched folder.",
                    in_days(*days)
                )
            }
            Notice::FileEnded { title, .. } => format!(
                "{title} has ended: its grants are gone, and leases on them end within the hour. Drop its successor into the watched \
                 folder."
            ),
            Notice::FileAbsent { name, hours_left } => format!(
                "The accepted file {name} is gone from the watched folder; its grants leave in {hours_left} h. Put it back, or take it \
                 away at once with `leasehold unload`."
            ),
            Notice::HostLost { name, hours_left, comparison } => format!(
                "This host no longer matches {name}, which runs on for {hours_left} h. {comparison} Send the licensor a new request \
                 made with `leasehold request`."
            ),
            Notice::ComplianceChecked { pools, exceeded } => {
                format!("Compliance check: {pools} pools, {exceeded} of them over their capacity.")
            }
        }
    }
}
