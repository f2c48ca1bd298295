//! How the small site stands with its licensor, at whatever stage a test puts it.

use super::at;
use crate::scripted::Script;
use leasehold_proto::v1;

pub(crate) const LICENSE: &str = "7f3c9a52-1f0e-4b1e-9c55-0d2f6a3b8e41";

const NAMES: [&str; 6] =
    ["fully functional", "quiet warning", "obtrusive warning", "supervisor disabled", "ports limited", "unlicensed"];

/// Midnight UTC at which the stages follow each other: the site was last heard of on 15 November.
const FROM: [&str; 6] = [
    "2026-11-15T00:00:00Z",
    "2026-11-22T00:00:00Z",
    "2026-11-29T00:00:00Z",
    "2026-12-06T00:00:00Z",
    "2026-12-13T00:00:00Z",
    "2026-12-20T00:00:00Z",
];

fn name(stage: u32) -> String {
    NAMES[stage as usize - 1].into()
}

fn ahead(stage: u32) -> v1::StageAhead {
    v1::StageAhead { stage, name: name(stage), at: at(FROM[stage as usize - 1]), license_id: LICENSE.into() }
}

/// A site in good standing.
pub(crate) fn good() -> v1::Standing {
    v1::Standing {
        applies: true,
        stage: 1,
        target: 1,
        name: name(1),
        message: "In good standing. Without a good check-in stage 2 (quiet warning) follows on 2026-11-28T23:10:00Z."
            .into(),
        licenses: vec![v1::LicenseStanding {
            license_id: LICENSE.into(),
            product: "PureConnect".into(),
            account: "Acme Ltd".into(),
            stage: 1,
            target: 1,
            ramp: at("2026-06-01T00:00:00Z"),
            grace_days: 7,
            since: at("2026-11-21T23:10:00Z"),
            verdict: "good".into(),
            next: Some(v1::StageAhead { at: at("2026-11-28T23:10:00Z"), ..ahead(2) }),
            check_in: Some(v1::CheckInStatus {
                endpoint: "https://check-in.licensor.example".into(),
                last_contact: at("2026-11-21T23:10:00Z"),
                last_good: at("2026-11-21T23:10:00Z"),
                next_attempt: at("2026-11-22T11:02:00Z"),
                counter: 912,
                ..Default::default()
            }),
            ..Default::default()
        }],
        ..Default::default()
    }
}

/// A site whose check-ins fail, at a stage.
pub(crate) fn silent(stage: u32) -> v1::Standing {
    let mut standing = good();
    standing.stage = stage;
    standing.target = stage;
    standing.name = name(stage);
    standing.message = format!(
        "Enforcement stage {stage} ({}): PureConnect last checked in with its licensor in good standing on \
         2026-11-15T00:00:00Z, which is too long ago.",
        name(stage)
    );
    if stage == 6 {
        standing.leases_end_in_ms = 5 * 3_600_000;
    }
    let license = &mut standing.licenses[0];
    license.stage = stage;
    license.target = stage;
    license.since = at("2026-11-15T00:00:00Z");
    license.next = (stage < 6).then(|| ahead(stage + 1));
    license.check_in = Some(v1::CheckInStatus {
        endpoint: "https://check-in.licensor.example".into(),
        last_contact: at("2026-11-15T00:00:00Z"),
        last_good: at("2026-11-15T00:00:00Z"),
        next_attempt: at("2026-11-22T03:20:00Z"),
        failure: Some(v1::CheckInFailure {
            code: "name-not-found".into(),
            message: "no address is known for check-in.licensor.example".into(),
            remedy: "see that the server can resolve names, or set a proxy with `check_in.proxy`".into(),
            at: at("2026-11-22T02:48:00Z"),
            attempts: 9,
        }),
        counter: 921,
        ..Default::default()
    });
    standing
}

/// The stages to come after that of a standing, as far as `until` lets: by the calendar, or one each 12 hours.
fn to_come(standing: &v1::Standing, until: Option<prost_types::Timestamp>) -> Vec<v1::StageAhead> {
    let license = &standing.licenses[0];
    let from = license.since.map_or(0, |since| since.seconds);
    let braked = at("2026-11-22T07:00:00Z").map_or(0, |at| at.seconds);
    let at = |stage: u32| match standing.target {
        target if target > standing.stage => braked + i64::from(stage - standing.stage - 1) * 43_200,
        _ => from + i64::from(stage - 1) * 7 * 86_400,
    };
    let stages = (standing.stage + 1..=6).map(|stage| v1::StageAhead {
        at: Some(prost_types::Timestamp { seconds: at(stage), nanos: 0 }),
        ..ahead(stage)
    });
    stages.filter(|ahead| until.is_none_or(|until| ahead.at.is_some_and(|at| at.seconds <= until.seconds))).collect()
}

/// Puts the site there.
pub(crate) fn stands(script: &Script, standing: v1::Standing) {
    script.on(move |request: v1::GetStandingRequest| {
        Ok(v1::GetStandingResponse { ahead: to_come(&standing, request.until), standing: Some(standing.clone()) })
    });
}

/// An answer in good standing that brought a newer file.
pub(crate) fn outcome() -> v1::CheckInOutcome {
    v1::CheckInOutcome {
        license_id: LICENSE.into(),
        verdict: "good".into(),
        message: "the licensor finds this license in good standing".into(),
        files_taken: vec!["7f3c9a52-13.i3lic".into()],
        ..Default::default()
    }
}

/// A check-in that reached nobody.
pub(crate) fn failed() -> v1::CheckInOutcome {
    v1::CheckInOutcome {
        license_id: LICENSE.into(),
        code: "name-not-found".into(),
        message: "no address is known for check-in.licensor.example".into(),
        remedy: "see that the server can resolve names, or set a proxy with `check_in.proxy`".into(),
        ..Default::default()
    }
}

/// Answers for every call about check-ins.
pub(super) fn about_check_ins(script: &Script) {
    stands(script, good());
    script.on(|_: v1::CheckInRequest| Ok(v1::CheckInResponse { outcomes: vec![outcome()], standing: Some(good()) }));
    script.on(|_: v1::MakeCheckInRequestRequest| {
        Ok(v1::MakeCheckInRequestResponse {
            note: b"leasehold/check-in-request/1\n\n\xe2\x80\x94 site AbC=\n".to_vec(),
            suggested_name: "acme-913.check-in".into(),
            answer_by: at("2026-12-06T03:00:00Z"),
        })
    });
    script.on(|request: v1::TakeCheckInAnswerRequest| match request.note.as_slice() {
        b"forged" => Ok(v1::TakeCheckInAnswerResponse {
            kind: "answer".into(),
            outcome: Some(v1::CheckInOutcome {
                code: "not-signed".into(),
                message: "the answer is not signed by a check-in key of the root".into(),
                remedy: "see that it comes from the licensor".into(),
                ..Default::default()
            }),
            message: "nothing has changed: the answer is not signed by a check-in key of the root".into(),
            standing: Some(good()),
        }),
        b"time" => Ok(v1::TakeCheckInAnswerResponse {
            kind: "time-note".into(),
            message: "the time note of 2026-11-22T02:59:00Z confirms the server's clock".into(),
            standing: Some(good()),
            ..Default::default()
        }),
        _ => Ok(v1::TakeCheckInAnswerResponse {
            kind: "answer".into(),
            outcome: Some(outcome()),
            message: "the answer counts".into(),
            standing: Some(good()),
        }),
    });
}
