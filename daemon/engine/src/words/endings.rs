//! Endings, warnings, refused files and notices in words, with their stable names.

use leasehold_keys::{activation::Level, name::Label};

use crate::{
    decision::Notice,
    refusal::{EndReason, FileRefusal},
    row::Warning,
};

use super::{Facts, are, counted, in_days, list};

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
            EndReason::Enforced => {
                "enforcement took its keys, since the site has not checked in with its licensor in good standing"
            }
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
            EndReason::Enforced,
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
            Notice::Standing(_) => "STANDING",
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
                "{title} ({pool}): {used} {} in use and {licensed} {} licensed. New ones are refused until the count falls; \
                 after 24 hours the excess leases are ended, newest first.",
                are(*used),
                are(*licensed)
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
            Notice::Standing(told) => told.message(),
            Notice::ComplianceChecked { pools, exceeded } => {
                format!("Compliance check: {}, {exceeded} over capacity.", counted(*pools, "pool", "pools"))
            }
        }
    }
}
