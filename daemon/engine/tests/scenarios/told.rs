//! What came of a step, as one line each: short enough for a table, exact enough to prove a rule.

use leasehold_engine::{
    decision::{Administered, LeaseView, Notice, SourceView, Taken, Told},
    refusal::Refusal,
    row::Warning,
    view::Explanation,
    words::duration,
};

pub(crate) fn refused(refusal: &Refusal) -> String {
    let key = refusal.facts().into_iter().find(|(name, _)| *name == "pool" || *name == "key");
    match key {
        Some((_, key)) => format!("refused {} {key}", refusal.reason()),
        None => format!("refused {}", refusal.reason()),
    }
}

/// `granted CLIENT* DIRECT<DESIGNER MEDIA_1@station`: `*` marks a seat of the lease's own or the user's.
pub(crate) fn lease(view: &LeaseView) -> String {
    let keys: Vec<String> = view
        .keys
        .iter()
        .map(|held| {
            let source = match &held.source {
                SourceView::User => String::new(),
                SourceView::Station => "@station".to_string(),
                SourceView::Included(outer) => format!("<{outer}"),
                SourceView::Logon => "@logon".to_string(),
                SourceView::Units => String::new(),
            };
            let seat = match &held.seat {
                None => String::new(),
                Some((_, 1)) => "*".to_string(),
                Some((_, units)) => format!("*{units}"),
            };
            format!("{}{source}{seat}", held.key)
        })
        .collect();
    let mut text = match view.ended {
        None => format!("granted {}", keys.join(" ")),
        Some(how) => format!("ended {}", how.as_str()),
    };
    if view.ended.is_some() {
        return text;
    }
    if !view.types.is_empty() {
        let types: Vec<&str> = view.types.iter().map(|kind| kind.as_str()).collect();
        text += &format!("; receives {}", types.join(" "));
    }
    for (key, refusal) in &view.missing {
        text += &format!("; not {key}: {}", refusal.reason());
    }
    for warning in &view.warnings {
        text += &format!("; {}", warned(warning));
    }
    text
}

fn warned(warning: &Warning) -> String {
    let facts: Vec<String> = warning.facts().into_iter().map(|(_, fact)| fact).collect();
    format!("warning {} {}", warning.reason(), facts.join(" ")).trim_end().to_string()
}

pub(crate) fn act(done: &Administered) -> String {
    let mut text = if done.applied { "done".to_string() } else { "not done".to_string() };
    for outcome in &done.assignments {
        let result = match &outcome.result {
            Ok(true) => outcome.message.clone(),
            Ok(false) => format!("as before, {}", outcome.message),
            Err(refusal) => refused(refusal),
        };
        text += &format!("; {result}");
    }
    for (id, result) in &done.leases {
        match result {
            Ok(()) => {}
            Err(refusal) => text += &format!("; {id} {}", refused(refusal)),
        }
    }
    for warning in &done.warnings {
        text += &format!("; {}", warned(warning));
    }
    text
}

pub(crate) fn event(told: &Told, name: impl Fn(leasehold_engine::ids::LeaseId) -> String) -> String {
    match told {
        Told::Ended { lease, reason, words } => match words {
            None => format!("{} ended {}", name(*lease), reason.as_str()),
            Some(words) => format!("{} ended {}: {words}", name(*lease), reason.as_str()),
        },
        Told::Warned { lease, reason, ends_in_ms } => {
            format!("{} ends in {} {}", name(*lease), duration(*ends_in_ms), reason.as_str())
        }
        Told::Changed { lease, added, removed } => {
            let added: Vec<String> = added.iter().map(|key| format!(" +{key}")).collect();
            let removed: Vec<String> = removed.iter().map(|key| format!(" -{key}")).collect();
            format!("{} changed{}{}", name(lease.id), added.concat(), removed.concat())
        }
        Told::SiteKeysChanged => "site keys changed".to_string(),
        Told::Standing(told) => format!("stage {}", told.stage.number()),
    }
}

pub(crate) fn notice(notice: &Notice) -> String {
    let reason = notice.reason();
    match notice {
        Notice::Exceeded { pool, licensed, used, .. } => format!("{reason} {pool} {used} of {licensed}"),
        Notice::FileEndsSoon { days, .. } => format!("{reason} in {days} days"),
        Notice::FileEnded { title, .. } => format!("{reason} {title}"),
        Notice::FileAbsent { name, hours_left } => format!("{reason} {name} {hours_left} h left"),
        Notice::HostLost { name, hours_left, .. } => format!("{reason} {name} {hours_left} h left"),
        Notice::Standing(told) => format!("{reason} {} to {}", told.before.number(), told.stage.number()),
        Notice::ComplianceChecked { exceeded, .. } => format!("{reason} {exceeded} exceeded"),
    }
}

pub(crate) const fn taken(taken: &Taken) -> &'static str {
    match taken {
        Taken::Accepted => "accepted",
        Taken::Known => "known",
        Taken::Superseded => "superseded",
        Taken::Deactivated => "deactivated",
    }
}

pub(crate) fn explanation(explanation: &Explanation) -> (String, Vec<String>) {
    let steps = explanation
        .steps
        .iter()
        .map(|step| format!("{} {} {}", step.rule, if step.passed { "yes" } else { "no" }, step.message))
        .collect();
    let decision = match &explanation.decision {
        Ok(view) => format!("would be {}", lease(view)),
        Err(refusal) => format!("would be {}", refused(refusal)),
    };
    (decision, steps)
}
