//! How a site stands with its licensor, and how its check-ins go, as administrators are shown it.

use leasehold_engine::{
    standing::{LicenseStanding, SiteStanding, Stage, StageAhead, Verdict},
    time::{Now, WallTime},
};
use leasehold_keys::{activation::LicenseId, check_in::CheckInStanding};
use leasehold_proto::v1;

use crate::{
    check_in::{Done, Failure, Outcome, Trouble, View},
    grpc::convert::timestamp,
    way_out::{Named, doctor::Report},
};

/// What the standing is made of.
pub(crate) struct Seen<'a> {
    pub(crate) standing: &'a SiteStanding,
    /// What the engine says of a stage that is not the first.
    pub(crate) told: Option<String>,
    /// How check-ins of each license go, in the order of the standing's; and where they go.
    pub(crate) check_ins: &'a [(View, Option<String>)],
    /// Why usage files do not go out.
    pub(crate) usage_trouble: Option<String>,
    pub(crate) now: Now,
}

/// The standing of the site.
pub(crate) fn site(seen: &Seen<'_>) -> v1::Standing {
    let standing = seen.standing;
    v1::Standing {
        applies: !standing.licenses.is_empty(),
        stage: standing.stage.number().into(),
        target: standing.target.number().into(),
        name: standing.stage.title().to_owned(),
        message: message(seen),
        licenses: standing.licenses.iter().zip(seen.check_ins).map(|(it, way)| license(it, way, seen.now)).collect(),
        leases_end_in_ms: standing.leases_end_in_ms.unwrap_or(0),
    }
}

/// What is limited and what to do; before enforcement begins whether the site is ready for it.
fn message(seen: &Seen<'_>) -> String {
    if seen.standing.licenses.is_empty() {
        return "No license in effect asks for check-ins, and nothing is limited.".to_owned();
    }
    if let Some(told) = seen.told.as_ref().filter(|_| seen.standing.stage > Stage::Functional) {
        return told.clone();
    }
    let date = seen.now.confirmed();
    let begins = seen.standing.licenses.iter().filter_map(|license| license.ramp).filter(|ramp| *ramp > date).min();
    let next = seen.standing.licenses.iter().filter_map(|license| license.next.as_ref()).min_by_key(|next| next.at);
    match begins {
        Some(begins) => {
            let lacks = lacks(seen);
            if lacks.is_empty() {
                format!(
                    "Enforcement begins on {begins}. This site is ready for it: it runs, sends its usage and checks in."
                )
            } else {
                format!("Enforcement begins on {begins}. This site is NOT ready for it: {}.", lacks.join("; "))
            }
        }
        None => match (unlike_good(seen), next) {
            (told, _) if !told.is_empty() => told.join(" "),
            (_, Some(next)) => format!("In good standing. {}", next.message()),
            (_, None) => "In good standing.".to_owned(),
        },
    }
}

/// What the licensor answers that is not good, though nothing is limited by it yet.
fn unlike_good(seen: &Seen<'_>) -> Vec<String> {
    let told = seen.standing.licenses.iter().filter_map(|license| {
        let next = license.next.as_ref().map_or_else(String::new, |next| format!(" {}", next.message()));
        let said = license.row.as_ref().map(|row| row.message.trim()).filter(|message| !message.is_empty());
        let said = said.map_or_else(String::new, |said| format!(" The licensor says: {said}."));
        let what = match license.verdict? {
            Verdict::Good => return None,
            Verdict::Duplicate => format!(
                "The licensor takes {} for a duplicate: it was asked on behalf of this installation from another state, as by a copy \
                 of this machine or after its database was restored. Check-ins do not count until the licensor clears that; call it.",
                license.product
            ),
            Verdict::Revoked { from } => format!(
                "The licensor has revoked {}, from {from} on. Until then nothing is limited by it; call the licensor.",
                license.product
            ),
        };
        Some(format!("{what}{said}{next}"))
    });
    told.collect()
}

/// What a site lacks to be ready for enforcement.
fn lacks(seen: &Seen<'_>) -> Vec<String> {
    let mut lacks = Vec::new();
    if let Some(why) = &seen.usage_trouble {
        lacks.push(format!("usage files do not go out ({why})"));
    }
    for (license, (view, _)) in seen.standing.licenses.iter().zip(seen.check_ins) {
        match (&view.failure, license.verdict) {
            (Some(failure), _) => lacks.push(format!("{} does not check in ({})", license.product, failure.trouble)),
            (None, None) => lacks.push(format!("{} has not checked in yet", license.product)),
            (None, Some(Verdict::Good)) => {}
            (None, Some(verdict)) => {
                lacks.push(format!("the licensor answers the check-ins of {}: {}", license.product, word(verdict)));
            }
        }
    }
    lacks
}

/// What wants attention: check-ins that fail, with what to do.
pub(crate) fn notices(seen: &Seen<'_>) -> Vec<v1::Notice> {
    let failing = seen.standing.licenses.iter().zip(seen.check_ins);
    let failing = failing.filter_map(|(license, (view, _))| Some((license, view.failure.as_ref()?)));
    // A stage that is told tells why, too.
    let unlike_good = if seen.standing.stage == Stage::Functional { unlike_good(seen) } else { Vec::new() };
    let unlike_good =
        unlike_good.into_iter().map(|message| v1::Notice { reason: "NOT_IN_GOOD_STANDING".to_owned(), message });
    let told = failing.map(|(license, failure)| v1::Notice {
        reason: "CHECK_IN_FAILED".to_owned(),
        message: format!(
            "Check-ins of {} fail: {}. To do: {}.",
            license.product,
            failure.trouble,
            failure.trouble.remedy()
        ),
    });
    unlike_good.chain(told).collect()
}

const fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Good => "good",
        Verdict::Duplicate => "duplicate",
        Verdict::Revoked { .. } => "revoked",
    }
}

fn license(standing: &LicenseStanding, (view, endpoint): &(View, Option<String>), now: Now) -> v1::LicenseStanding {
    let row = standing.row.as_ref();
    v1::LicenseStanding {
        license_id: standing.license.to_string(),
        product: standing.product.to_string(),
        account: standing.account.to_string(),
        stage: standing.stage.number().into(),
        target: standing.target.number().into(),
        ramp: standing.ramp.map(timestamp),
        grace_days: standing.grace_days.unwrap_or(0),
        since: standing.since.map(timestamp),
        verdict: standing.verdict.map_or_else(String::new, |verdict| word(verdict).to_owned()),
        revoked_from: match standing.verdict {
            Some(Verdict::Revoked { from }) => Some(timestamp(from)),
            _ => None,
        },
        licensor_message: row.map_or_else(String::new, |row| row.message.clone()),
        next: standing.next.as_ref().map(ahead),
        braked_ms: standing.braked_ms.unwrap_or(0),
        check_in: Some(v1::CheckInStatus {
            endpoint: endpoint.clone().unwrap_or_default(),
            last_contact: row.and_then(|row| row.answer).map(|answer| timestamp(answer.at)),
            last_good: standing.last_good.map(timestamp),
            next_attempt: view.next.map(timestamp),
            failure: view.failure.as_ref().map(failure),
            request_by_hand: row
                .and_then(|row| row.asked)
                .filter(|asked| asked.is_open(now))
                .map(|asked| timestamp(asked.at)),
            counter: row.map_or(0, |row| row.counter),
        }),
    }
}

fn failure(failure: &Failure) -> v1::CheckInFailure {
    v1::CheckInFailure {
        code: failure.trouble.code().to_owned(),
        message: failure.trouble.to_string(),
        remedy: failure.trouble.remedy(),
        at: Some(timestamp(failure.at)),
        attempts: failure.attempts,
    }
}

/// A stage to come.
pub(crate) fn ahead(ahead: &StageAhead) -> v1::StageAhead {
    v1::StageAhead {
        stage: ahead.stage.number().into(),
        name: ahead.stage.title().to_owned(),
        at: Some(timestamp(ahead.at)),
        license_id: ahead.license.to_string(),
    }
}

/// What came of checking in.
pub(crate) fn outcome(outcome: &Outcome) -> v1::CheckInOutcome {
    match &outcome.result {
        Ok(done) => answered(outcome.license, done),
        Err(trouble) => failed(&outcome.license.to_string(), trouble),
    }
}

/// An answer that counted.
pub(crate) fn answered(license: LicenseId, done: &Done) -> v1::CheckInOutcome {
    let mut message = match done.standing {
        CheckInStanding::Good => "the licensor finds this license in good standing".to_owned(),
        CheckInStanding::Duplicate => {
            "the licensor finds that more than one installation uses this license, or that this one was rolled back"
                .to_owned()
        }
        CheckInStanding::Revoked { from } => format!("the licensor has revoked this license from {from} on"),
    };
    if !done.message.is_empty() {
        message.push_str(&format!("; it says: {}", done.message));
    }
    let remedy = match done.standing {
        CheckInStanding::Good => done.taken.left_out.join("; "),
        CheckInStanding::Duplicate => "ask the licensor to clear the duplicate, and check in again".to_owned(),
        CheckInStanding::Revoked { .. } => "ask the licensor to restore the license, and check in again".to_owned(),
    };
    v1::CheckInOutcome {
        license_id: license.to_string(),
        verdict: done.standing.word().to_owned(),
        message,
        remedy,
        code: String::new(),
        roots_taken: done.taken.roots.clone(),
        files_taken: done.taken.files.clone(),
    }
}

/// One that did not.
pub(crate) fn failed(license: &str, trouble: &Trouble) -> v1::CheckInOutcome {
    v1::CheckInOutcome {
        license_id: license.to_owned(),
        message: trouble.to_string(),
        remedy: trouble.remedy(),
        code: trouble.code().to_owned(),
        ..v1::CheckInOutcome::default()
    }
}

/// The doctor's steps of check-ins, behind those of usage files.
pub(crate) fn doctor(answer: &mut v1::DoctorResponse, reports: &[Report<Trouble>]) {
    for report in reports {
        let to = report.destination.as_ref().map_or_else(String::new, |to| format!(" at {to}"));
        answer.steps.extend(report.steps.iter().map(|step| {
            let step = super::usage::step(step);
            v1::DoctorStep {
                name: format!("check-in-{}", step.name),
                title: format!("check-in: {}", step.title),
                ..step
            }
        }));
        let told = match report.first_failure() {
            None => format!("check-ins can be made{to}"),
            Some((kind, trouble)) => format!("check-ins CANNOT be made{to} ({}): {trouble}", kind.as_str()),
        };
        answer.message.push_str(&format!("; {told}"));
        answer.well &= report.is_well();
    }
}

/// Until when `ahead` looks where nobody says.
pub(crate) const EVER: WallTime = WallTime::from_ms(i64::MAX);

#[cfg(test)]
mod tests {
    use leasehold_engine::time::LeaseTime;
    use leasehold_keys::time::DAY_MS;
    use uuid::Uuid;

    use super::*;
    use crate::way_out;

    const NOW: WallTime = WallTime::from_ms(1_900_000_000_000);

    fn licensed(verdict: Option<Verdict>, ramp: WallTime) -> SiteStanding {
        let license = LicenseStanding {
            license: LicenseId(Uuid::from_u128(1)),
            sequence: 1,
            product: "PureConnect".parse().unwrap(),
            account: "Acme".parse().unwrap(),
            stage: Stage::Functional,
            target: Stage::Functional,
            since: Some(ramp),
            ramp: Some(ramp),
            grace_days: Some(7),
            endpoint: None,
            last_good: None,
            verdict,
            next: None,
            braked_ms: None,
            row: None,
        };
        SiteStanding { licenses: vec![license], ..SiteStanding::default() }
    }

    fn said(standing: &SiteStanding, view: View, usage_trouble: Option<&str>) -> (String, Vec<v1::Notice>) {
        let seen = Seen {
            standing,
            told: None,
            check_ins: &[(view, None)],
            usage_trouble: usage_trouble.map(str::to_owned),
            now: Now { lease: LeaseTime::from_ms(0), wall: NOW, unconfirmed_ms: 0 },
        };
        (site(&seen).message, notices(&seen))
    }

    #[test]
    fn before_the_ramp_it_is_said_whether_the_site_is_ready() {
        let ramp = NOW.plus_ms(DAY_MS);
        let good = licensed(Some(Verdict::Good), ramp);
        let (message, notices) = said(&good, View::default(), None);
        assert!(message.contains("is ready for it") && message.contains(&ramp.to_string()), "{message}");
        assert_eq!(notices, []);
        let refused = way_out::Trouble::Refused { at: "acme.example:443".into() };
        let failure = Failure { at: NOW, trouble: refused.into(), attempts: 3 };
        let failing = View { failure: Some(failure), next: None };
        let (message, notices) = said(&good, failing, Some("the bucket is gone"));
        for words in ["NOT ready", "usage files do not go out (the bucket is gone)", "acme.example:443 refuses"] {
            assert!(message.contains(words), "{message}");
        }
        assert_eq!(notices[0].reason, "CHECK_IN_FAILED");
        assert!(notices[0].message.contains("To do: let connections out"), "{}", notices[0].message);
        for (verdict, words) in [
            (None, "has not checked in yet"),
            (Some(Verdict::Duplicate), "duplicate"),
            (Some(Verdict::Revoked { from: NOW }), "revoked"),
        ] {
            let (message, notices) = said(&licensed(verdict, ramp), View::default(), None);
            assert!(message.contains("NOT ready") && message.contains(words), "{message}");
            let told: Vec<&str> = notices.iter().map(|notice| notice.reason.as_str()).collect();
            assert_eq!(told, if verdict.is_some() { vec!["NOT_IN_GOOD_STANDING"] } else { Vec::new() });
        }
        // Afterwards it is about standing alone; and a site without such a license is told that.
        let (message, _) = said(&licensed(Some(Verdict::Good), NOW), View::default(), Some("x"));
        assert_eq!(message, "In good standing.");
        let (message, notices) = said(&licensed(Some(Verdict::Duplicate), NOW), View::default(), None);
        assert!(message.starts_with("The licensor takes") && notices[0].message == message, "{message}");
        let (message, _) = said(&SiteStanding::default(), View::default(), None);
        assert!(message.starts_with("No license in effect asks"), "{message}");
    }
}
