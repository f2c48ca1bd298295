//! The stable reasons of refusals (specification part 3), the exit code that each gets, and what to do next.
//! What was refused and why is the daemon's sentence; here is only the remedy, in commands that can be typed.

use std::collections::BTreeMap;

use crate::exit::ExitCode;

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// Why the daemon refused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Reason { $($(#[$doc])* $name,)* }

        impl Reason {
            /// Every reason that this program knows.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Reads a reason from the wire; `None` where a newer daemon says one that is not known here.
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$name),)* _ => None }
            }

            /// The reason as it is on the wire.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

reasons! {
    /// Every seat of the pool is taken.
    PoolExhausted = "POOL_EXHAUSTED",
    /// The subject was not given the key.
    NotAssigned = "NOT_ASSIGNED",
    /// No accepted file grants the key.
    NotLicensed = "NOT_LICENSED",
    /// The station lacks its basic station key (STATION-1).
    StationNotLicensed = "STATION_NOT_LICENSED",
    /// The key may not be given to such a subject (ALLOC-4).
    HolderNotAllowed = "HOLDER_NOT_ALLOWED",
    /// The user's allocation method has no pool of that key (ALLOC-1).
    MethodMismatch = "METHOD_MISMATCH",
    /// A key that this one requires has no effect.
    PrerequisiteMissing = "PREREQUISITE_MISSING",
    /// A limit that an administrator set is reached.
    LimitReached = "LIMIT_REACHED",
    /// The activation file covers other product versions (SITE-6).
    VersionNotCovered = "VERSION_NOT_COVERED",
    /// The enforcement stage forbids it.
    Enforced = "ENFORCED",
    /// The user holds a key of that application already, and may hold one only.
    ApplicationHeld = "APPLICATION_HELD",
    /// The user has logged on at another computer since this logon began to wait.
    LoggedOnElsewhere = "LOGGED_ON_ELSEWHERE",
    /// Something of that name exists already.
    AlreadyExists = "ALREADY_EXISTS",
    /// Something else still refers to it.
    InUse = "IN_USE",
    /// The request cannot be understood.
    Malformed = "MALFORMED",
    /// No such user.
    UserUnknown = "USER_UNKNOWN",
    /// No such station.
    StationUnknown = "STATION_UNKNOWN",
    /// No such workgroup.
    WorkgroupUnknown = "WORKGROUP_UNKNOWN",
    /// No such organization.
    OrganizationUnknown = "ORGANIZATION_UNKNOWN",
    /// No file defines the key.
    KeyUnknown = "KEY_UNKNOWN",
    /// No such pool.
    PoolUnknown = "POOL_UNKNOWN",
    /// No lease of that number was ever granted, or it is long gone.
    LeaseUnknown = "LEASE_UNKNOWN",
    /// No accepted file has that license ID.
    LicenseUnknown = "LICENSE_UNKNOWN",
    /// The lease has ended.
    LeaseEnded = "LEASE_ENDED",
    /// The lease is another caller's (LEASE-9).
    NotYourLease = "NOT_YOUR_LEASE",
    /// The request ID was used for something else (LEASE-3).
    RequestIdReused = "REQUEST_ID_REUSED",
    /// No lease came of that acquire request.
    RequestUnknown = "REQUEST_UNKNOWN",
    /// The caller's account is not one of the daemon's administrators, or it asks over TCP.
    NotAnAdministrator = "NOT_AN_ADMINISTRATOR",
    /// Another file of that name lies in the watched folder.
    NameTaken = "NAME_TAKEN",
    /// The watched folder cannot be written by the daemon.
    FolderNotWritable = "FOLDER_NOT_WRITABLE",
    /// The file is in the watched folder, and its verdict is not there yet.
    NotYetJudged = "NOT_YET_JUDGED",
    /// A snapshot of that name exists already.
    SnapshotExists = "SNAPSHOT_EXISTS",
    /// The receipt is for a usage file that is not here, or is another than ours.
    ReceiptForOther = "RECEIPT_FOR_OTHER",
    /// No receipt key of the licensor signed it.
    ReceiptNotSigned = "RECEIPT_NOT_SIGNED",
    /// It is no receipt for a usage file.
    ReceiptUnreadable = "RECEIPT_UNREADABLE",
    /// The usage file is being written.
    UsageFileOpen = "USAGE_FILE_OPEN",
    /// The billing period has not begun.
    PeriodNotBegun = "PERIOD_NOT_BEGUN",
    /// No usage file touches the billing period.
    NoUsageFiles = "NO_USAGE_FILES",
    /// A usage file was changed while it was read.
    UsageFileChanged = "USAGE_FILE_CHANGED",
    /// No license in effect has usage files sent by themselves.
    NotSentByItself = "NOT_SENT_BY_ITSELF",
    /// Nothing could be sealed.
    NotSealed = "NOT_SEALED",
    /// The daemon could not sign the request note.
    NotSigned = "NOT_SIGNED",
    /// No license in effect, or not that one, asks for check-ins.
    NoCheckIns = "NO_CHECK_INS",
    /// The call was withdrawn.
    Cancelled = "CANCELLED",
    /// The daemon cannot write.
    StorageUnavailable = "STORAGE_UNAVAILABLE",
    /// The daemon is starting.
    Starting = "STARTING",
    /// The daemon is stopping.
    Draining = "DRAINING",
    /// The daemon is a standby.
    NotActive = "NOT_ACTIVE",
    /// Too much is asked at once.
    Overloaded = "OVERLOADED",
}

impl Reason {
    /// The exit code of a command that was refused for this reason.
    #[must_use]
    pub const fn exit(self) -> ExitCode {
        match self {
            Self::PoolExhausted
            | Self::NotAssigned
            | Self::NotLicensed
            | Self::StationNotLicensed
            | Self::HolderNotAllowed
            | Self::MethodMismatch
            | Self::PrerequisiteMissing
            | Self::LimitReached
            | Self::VersionNotCovered
            | Self::Enforced
            | Self::ApplicationHeld
            | Self::LoggedOnElsewhere
            | Self::AlreadyExists
            | Self::InUse
            | Self::NameTaken
            | Self::SnapshotExists
            | Self::PeriodNotBegun
            | Self::NotSentByItself
            | Self::NoCheckIns
            | Self::LeaseEnded => ExitCode::Refused,
            Self::ReceiptForOther | Self::ReceiptNotSigned | Self::ReceiptUnreadable => ExitCode::FileRefused,
            Self::UserUnknown
            | Self::StationUnknown
            | Self::WorkgroupUnknown
            | Self::OrganizationUnknown
            | Self::KeyUnknown
            | Self::PoolUnknown
            | Self::LeaseUnknown
            | Self::RequestUnknown
            | Self::NoUsageFiles
            | Self::LicenseUnknown => ExitCode::NotFound,
            Self::NotYourLease | Self::NotAnAdministrator => ExitCode::Permission,
            Self::FolderNotWritable | Self::NotSigned => ExitCode::Unexpected,
            Self::RequestIdReused | Self::Malformed => ExitCode::Usage,
            Self::StorageUnavailable
            | Self::Starting
            | Self::Draining
            | Self::NotActive
            | Self::Overloaded
            | Self::NotYetJudged
            | Self::UsageFileOpen
            | Self::UsageFileChanged
            | Self::NotSealed
            | Self::Cancelled => ExitCode::NotNow,
        }
    }

    /// What to do next, with the names from the refusal's facts filled in where it carries them.
    #[must_use]
    pub fn hint(self, facts: &BTreeMap<String, String>) -> String {
        let fact = |name: &str, blank: &str| facts.get(name).map_or_else(|| blank.to_owned(), |value| quoted(value));
        match self {
            // The daemon's sentence names the list of the holders; how a seat is freed is said here.
            Self::PoolExhausted => {
                let pool = facts.get("pool").or_else(|| facts.get("key"));
                let key = facts.get("key").or(pool).map_or_else(|| "KEY".to_owned(), |value| quoted(value));
                if pool.is_none_or(|pool| pool.ends_with("_CONCURRENT")) {
                    "`leasehold revoke LEASE --reason TEXT` ends a lease and frees its seat".to_owned()
                } else {
                    format!(
                        "`leasehold unassign {key} --user USER` frees a seat that was given, `leasehold revoke LEASE \
                         --reason TEXT` one that a lease holds"
                    )
                }
            }
            Self::LoggedOnElsewhere => {
                let (_, user) = subject(facts);
                format!("`leasehold leases --user {user}` shows where the user is logged on now")
            }
            Self::NotAssigned => {
                let (kind, name) = subject(facts);
                format!("`leasehold assign {} --{kind} {name}` gives it", fact("key", "KEY"))
            }
            Self::NotLicensed if facts.get("unlicensed_site").is_some_and(|unlicensed| unlicensed == "true") => {
                "no license file is in effect: `leasehold status` shows why, `leasehold load FILE` loads one".to_owned()
            }
            Self::NotLicensed => "`leasehold pools` lists what is licensed and `leasehold status` the files that were \
                                  refused; a new file is loaded by `leasehold load FILE`"
                .to_owned(),
            Self::StationNotLicensed => format!(
                "the station needs its basic station key: `leasehold assign {} --station {}`",
                fact("key", "KEY"),
                fact("station", "STATION")
            ),
            Self::HolderNotAllowed => {
                "the definition of the key names who may hold it; give it to a user instead of a \
                                       station, or the other way round"
                    .to_owned()
            }
            Self::MethodMismatch => {
                let (_, user) = subject(facts);
                let key = fact("key", "KEY");
                format!(
                    "`leasehold user show {user}` shows the user's method and `leasehold pools {key}` the methods that \
                     are licensed; `leasehold user set {user} --method METHOD` converts all keys of the user"
                )
            }
            Self::PrerequisiteMissing => {
                let missing = facts.get("missing").map_or_else(
                    || "MISSING-KEY".to_owned(),
                    |keys| keys.split(',').map(|key| quoted(key.trim())).collect::<Vec<_>>().join(" "),
                );
                format!("give or license the missing first: `leasehold assign {missing} …`, or a file that grants it")
            }
            Self::LimitReached => limit(facts),
            Self::VersionNotCovered => {
                "`leasehold licenses` shows the versions covered; the licensor issues a file for a newer one".to_owned()
            }
            Self::Enforced => "`leasehold standing` shows the stage, why it was reached and what ends it".to_owned(),
            Self::ApplicationHeld => format!(
                "take the other key away first: `leasehold unassign {} --user {}`",
                fact("held", "OTHER-KEY"),
                fact("user", "USER")
            ),
            Self::AlreadyExists => "to change what exists use `set` instead of `add`".to_owned(),
            Self::InUse => "remove or change what refers to it first".to_owned(),
            Self::Malformed => "`leasehold help COMMAND` says what is allowed".to_owned(),
            Self::UserUnknown => known("user", facts),
            Self::StationUnknown => known("station", facts),
            Self::WorkgroupUnknown => known("workgroup", facts),
            Self::OrganizationUnknown => "`leasehold org list` shows the known ones".to_owned(),
            Self::KeyUnknown | Self::PoolUnknown => "`leasehold pools` lists the keys and their pools".to_owned(),
            Self::LeaseUnknown => "`leasehold leases` lists the live leases and their numbers".to_owned(),
            Self::RequestUnknown => "`leasehold leases` lists the live leases".to_owned(),
            Self::LicenseUnknown => "`leasehold licenses --all` lists the license IDs".to_owned(),
            Self::LeaseEnded => "nothing is left to do; `leasehold leases` lists those that live".to_owned(),
            Self::NotYourLease => {
                "an administrator ends it by `leasehold revoke LEASE --reason TEXT` over the Unix socket".to_owned()
            }
            Self::RequestIdReused => "run the command again: each run makes a new request ID".to_owned(),
            Self::NotAnAdministrator => {
                "run it as root or as an account that the daemon's setting `administrators` names, \
                                         with --server unix:///run/leasehold/leasehold.sock"
                    .to_owned()
            }
            Self::NameTaken => "rename the file and load it again".to_owned(),
            Self::FolderNotWritable => {
                "let the daemon's account write to the watched folder, which `leasehold status` \
                                        names, or put the file there yourself"
                    .to_owned()
            }
            Self::NotYetJudged => "`leasehold status` shows the verdict when it is there".to_owned(),
            Self::SnapshotExists => "choose another name: snapshots are never overwritten".to_owned(),
            Self::ReceiptForOther => {
                "`leasehold usage list --json` shows the files that are here, with their hashes; show the receipt to the licensor"
                    .to_owned()
            }
            Self::ReceiptNotSigned => {
                "see that it comes from the licensor; where the licensor has a newer root, load that first: `leasehold load FILE`"
                    .to_owned()
            }
            Self::ReceiptUnreadable => {
                "is it the .receipt file that the licensor sent, whole, and not a bundle or a mail around it?".to_owned()
            }
            Self::UsageFileOpen => "it is closed at 00:00 UTC and at the next start of the daemon".to_owned(),
            Self::PeriodNotBegun => {
                "a period is named by the month in which it ends: 2026-11 runs from 28 October to 27 November".to_owned()
            }
            Self::NoUsageFiles => {
                "`leasehold usage list` shows the files that are here, `leasehold status` whether usage is collected".to_owned()
            }
            Self::UsageFileChanged => "run the command again; `leasehold usage verify` looks through the files".to_owned(),
            Self::NotSentByItself => {
                "`leasehold usage export --period YYYY-MM` bundles what a period needs, `leasehold usage receipt` takes the answer"
                    .to_owned()
            }
            Self::NotSealed => "`leasehold status` says what stands in the way; what was used waits in the database".to_owned(),
            Self::NotSigned => "the daemon's log tells more: `journalctl -u leaseholdd`".to_owned(),
            Self::NoCheckIns => {
                "nothing is to be done: enforcement applies only where a license grants I3_FEATURE_VIRTUAL_CLOUD; \
                 `leasehold standing` shows which"
                    .to_owned()
            }
            Self::Cancelled => "run the command again".to_owned(),
            Self::StorageUnavailable => {
                "look at free space and rights of the state directory, which `leasehold status` \
                                         names; renewals go on meanwhile"
                    .to_owned()
            }
            Self::Starting => "wait a moment and try again; `leasehold status` says when it is ready".to_owned(),
            Self::Draining => "the daemon is stopping: try again when it is back".to_owned(),
            Self::NotActive => match facts.get("active") {
                Some(active) => format!("the active server is {}: ask there (--server)", clean(active)),
                None => "ask the active server (--server), or make this one active: `leasehold promote --reason TEXT`"
                    .to_owned(),
            },
            Self::Overloaded => "wait a moment and try again".to_owned(),
        }
    }
}

/// Who was refused: the kind of subject and the name, from `user`, `station`, or a `subject` such as `user agent-001`.
fn subject(facts: &BTreeMap<String, String>) -> (&'static str, String) {
    if let Some(user) = facts.get("user") {
        return ("user", quoted(user));
    }
    if let Some(station) = facts.get("station") {
        return ("station", quoted(station));
    }
    match facts.get("subject").and_then(|subject| subject.split_once(' ')) {
        Some(("station", name)) => ("station", quoted(name)),
        Some(("user", name)) => ("user", quoted(name)),
        _ => ("user", "USER".to_owned()),
    }
}

/// Limits are of several kinds; the facts tell which one it is.
fn limit(facts: &BTreeMap<String, String>) -> String {
    match (facts.get("pool"), facts.get("user"), facts.get("key")) {
        (Some(pool), _, _) => {
            format!("`leasehold share list {}` shows the limits; `leasehold share set` changes one", quoted(pool))
        }
        (None, Some(user), _) => {
            format!("`leasehold user set {} --interaction-types …` configures fewer", quoted(user))
        }
        (None, None, Some(_)) => {
            "`leasehold org list` shows what is configured; `leasehold org rm` frees one".to_owned()
        }
        (None, None, None) => "remove what is not needed any more first".to_owned(),
    }
}

fn known(kind: &str, facts: &BTreeMap<String, String>) -> String {
    match facts.get(kind) {
        Some(name) => format!(
            "`leasehold {kind} list --contains …` finds names; `leasehold {kind} add {}` makes a new one",
            quoted(name)
        ),
        None => format!("`leasehold {kind} list` shows the known ones"),
    }
}

/// A value as it can be pasted into a shell.
fn quoted(value: &str) -> String {
    let value = clean(value);
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '/' | ':' | '@' | '+' | ',' | '=' | '%');
    if !value.is_empty() && !value.starts_with('-') && value.chars().all(plain) {
        value
    } else {
        format!("'{}'", value.replace('\'', r"'\''"))
    }
}

fn clean(value: &str) -> String {
    crate::render::page::clean(value).into_owned()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::Reason;

    fn facts(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn every_reason_reads_back_and_has_a_hint() {
        for reason in Reason::ALL {
            assert_eq!(Reason::parse(reason.as_str()), Some(*reason));
            assert!(reason.hint(&BTreeMap::new()).len() > 20, "{reason:?}");
            assert_ne!(reason.exit(), crate::exit::ExitCode::Done);
        }
        assert_eq!(Reason::parse("FROM_THE_FUTURE"), None);
    }

    #[test]
    fn what_frees_a_seat_is_said_and_what_the_daemon_says_is_not_repeated() {
        let concurrent = [("pool", "I3_ACCESS_CLIENT_CONCURRENT"), ("key", "I3_ACCESS_CLIENT")];
        let hint = Reason::PoolExhausted.hint(&facts(&concurrent));
        assert_eq!(hint, "`leasehold revoke LEASE --reason TEXT` ends a lease and frees its seat");
        let assigned = [("pool", "I3_ACCESS_CLIENT"), ("key", "I3_ACCESS_CLIENT")];
        let hint = Reason::PoolExhausted.hint(&facts(&assigned));
        assert!(hint.starts_with("`leasehold unassign I3_ACCESS_CLIENT --user USER` frees a seat"), "{hint}");
        // The daemon's own sentence ends with one of these.
        assert!(!hint.contains("leasehold assignments") && !hint.contains("leasehold leases"), "{hint}");
    }

    #[test]
    fn who_waited_here_and_logged_on_elsewhere_is_shown_where() {
        let reason = Reason::parse("LOGGED_ON_ELSEWHERE").unwrap();
        assert_eq!(reason.exit(), crate::exit::ExitCode::Refused);
        assert_eq!(
            reason.hint(&facts(&[("user", "agent-001"), ("computer", "pc-2")])),
            "`leasehold leases --user agent-001` shows where the user is logged on now"
        );
    }

    #[test]
    fn names_can_be_pasted_into_a_shell() {
        let hint = Reason::NotAssigned.hint(&facts(&[("key", "K"), ("user", "Ann O'Neil")]));
        assert_eq!(hint, r"`leasehold assign K --user 'Ann O'\''Neil'` gives it");
    }
}
