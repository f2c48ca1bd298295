//! Standing and check-ins: every stage as a person reads it, files that are written and taken, and the notice on every answer.

use std::fs;

use leasehold_cli::exit::ExitCode;
use leasehold_proto::v1;
use serde_json::Value;
use tonic::{Code, Status};

use crate::{
    scripted::{Daemon, Script},
    sessions::session,
    site::{
        self, at,
        standing::{failed, good, outcome, silent, stands},
    },
};

/// The small site at some stage.
fn at_stage(stage: u32) -> Script {
    let script = site::script();
    put(&script, silent(stage));
    script
}

fn put(script: &Script, standing: v1::Standing) {
    stands(script, standing.clone());
    script.on(move |_: v1::GetStatusRequest| {
        Ok(v1::GetStatusResponse {
            enforcement_stage: standing.stage,
            standing: Some(standing.clone()),
            ..site::status()
        })
    });
}

#[tokio::test]
async fn in_good_standing() {
    let daemon = Daemon::start(site::script());
    let lines =
        ["standing", "standing --at 2026-12-20", "standing --offline 5d", "standing --at 2026-11-01", "check-in"];
    insta::assert_snapshot!(session(&daemon, &lines).await);
}

#[tokio::test]
async fn each_stage() {
    let mut text = String::new();
    for stage in 2..=6 {
        let daemon = Daemon::start(at_stage(stage));
        text.push_str(&session(&daemon, &["standing", "pools NO_SUCH_KEY", "org list"]).await);
    }
    insta::assert_snapshot!(text);
}

#[tokio::test]
async fn status_tells_of_it() {
    let script = site::script();
    let daemon = Daemon::start(script.clone());
    let mut text = String::new();
    let mut shown = async |what: &str, standing: v1::Standing, usage: Option<v1::UsageStatus>| {
        put(&script, standing.clone());
        script.on(move |_: v1::GetStatusRequest| {
            let usage = usage.clone().or(site::status().usage);
            Ok(v1::GetStatusResponse { standing: Some(standing.clone()), folder: Vec::new(), usage, ..site::status() })
        });
        let status = daemon.run("status").await.stdout;
        let lines: Vec<&str> = status
            .lines()
            .filter(|line| {
                let told = ["Leasehold", "notice", "hint", "Enforcement", "Check-in", "Ready"];
                told.iter().any(|word| line.starts_with(word))
            })
            .collect();
        text.push_str(&format!("{what}:\n{}\n\n", lines.join("\n")));
    };
    let uploading = v1::UsageStatus { failure: None, notices: Vec::new(), held: Vec::new(), ..site::usage::status() };
    shown("in good standing", good(), None).await;
    shown("stage 2", silent(2), None).await;
    shown("stage 6", silent(6), None).await;
    let before_ramp = |standing: v1::Standing| {
        let mut standing = standing;
        standing.licenses[0].ramp = at("2026-12-01T00:00:00Z");
        standing
    };
    shown("before the ramp, ready", before_ramp(good()), Some(uploading.clone())).await;
    let mut never = before_ramp(silent(1));
    never.licenses[0].next = None;
    never.licenses[0].verdict.clear();
    let check_in = never.licenses[0].check_in.as_mut().unwrap();
    (check_in.last_contact, check_in.last_good) = (None, None);
    shown("before the ramp, not ready", never.clone(), None).await;
    never.licenses[0].check_in.as_mut().unwrap().failure = None;
    shown("before the ramp, not tried yet", never, Some(uploading)).await;
    shown("nothing asks for it", v1::Standing { stage: 1, target: 1, ..Default::default() }, None).await;
    insta::assert_snapshot!(text);
}

#[tokio::test]
async fn revoked_duplicate_and_braked() {
    let mut text = String::new();
    for verdict in ["revoked", "duplicate"] {
        let mut standing = silent(4);
        let license = &mut standing.licenses[0];
        license.verdict = verdict.into();
        license.licensor_message = "please call your account manager".into();
        let check_in = license.check_in.as_mut().unwrap();
        (check_in.failure, check_in.last_contact) = (None, at("2026-11-22T01:00:00Z"));
        if verdict == "revoked" {
            license.revoked_from = at("2026-11-20T00:00:00Z");
            license.target = 6;
            license.braked_ms = 4 * 3_600_000;
            license.next = license.next.take().map(|next| v1::StageAhead { at: at("2026-11-22T07:00:00Z"), ..next });
            standing.target = 6;
        } else {
            license.check_in.as_mut().unwrap().request_by_hand = at("2026-11-21T08:00:00Z");
            // A second product that stands well.
            let mut second = good().licenses.remove(0);
            (second.license_id, second.product) = ("0a11".into(), "Reporting".into());
            standing.licenses.push(second);
        }
        let script = site::script();
        put(&script, standing.clone());
        script.on(move |_: v1::CheckInRequest| {
            let outcome = v1::CheckInOutcome {
                verdict: verdict.into(),
                files_taken: Vec::new(),
                message: "the licensor's books say so".into(),
                ..outcome()
            };
            Ok(v1::CheckInResponse { outcomes: vec![outcome], standing: Some(standing.clone()) })
        });
        let daemon = Daemon::start(script);
        text.push_str(&session(&daemon, &["standing", "check-in"]).await);
    }
    insta::assert_snapshot!(text);
}

#[tokio::test]
async fn check_ins_that_fail() {
    let script = at_stage(3);
    let outcomes = [vec![failed()], vec![outcome(), v1::CheckInOutcome { license_id: "0a11".into(), ..failed() }]];
    let mut text = String::new();
    for outcomes in outcomes {
        script.on(move |_: v1::CheckInRequest| {
            Ok(v1::CheckInResponse { outcomes: outcomes.clone(), standing: Some(silent(3)) })
        });
        let daemon = Daemon::start(script.clone());
        text.push_str(&session(&daemon, &["check-in"]).await);
    }
    // No license asks for any.
    script.on(|_: v1::CheckInRequest| -> Result<v1::CheckInResponse, Status> {
        site::refused(Code::FailedPrecondition, "NO_CHECK_INS", "No license in effect asks for check-ins.", &[])
    });
    let daemon = Daemon::start(script);
    text.push_str(&session(&daemon, &["check-in"]).await);
    insta::assert_snapshot!(text);
}

#[tokio::test]
async fn by_file() {
    let daemon = Daemon::start(site::script());
    let (request, answer) = (daemon.path("site.check-in"), daemon.path("site.answer"));
    let (time, forged) = (daemon.path("time.note"), daemon.path("forged.answer"));
    fs::write(&answer, "signed").unwrap();
    fs::write(&time, "time").unwrap();
    fs::write(&forged, "forged").unwrap();
    let lines = [
        format!("check-in --request {}", request.display()),
        format!("check-in --request {}", request.display()),
        format!("check-in --request {}", daemon.path("").display()),
        format!("check-in --answer {}", answer.display()),
        format!("check-in --answer {}", time.display()),
        format!("check-in --answer {}", forged.display()),
        format!("check-in --answer {}", daemon.path("none").display()),
    ];
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    insta::assert_snapshot!(session(&daemon, &lines).await);
    assert!(fs::read_to_string(&request).unwrap().ends_with("— site AbC=\n"));
    assert!(daemon.path("acme-913.check-in").is_file(), "in a folder it has the name that the daemon suggests");
}

#[tokio::test]
async fn a_request_that_would_be_overwritten_is_not_asked_for() {
    let script = site::script();
    script.on(|_: v1::MakeCheckInRequestRequest| -> Result<v1::MakeCheckInRequestResponse, Status> {
        panic!("the daemon is asked, and the earlier request is worth nothing any more")
    });
    let daemon = Daemon::start(script);
    fs::write(daemon.path("there"), "an earlier one").unwrap();
    let ended = daemon.run(&format!("check-in --request {}", daemon.path("there").display())).await;
    assert_eq!(ended.exit, ExitCode::Usage, "{}", ended.stderr);
    assert_eq!(fs::read_to_string(daemon.path("there")).unwrap(), "an earlier one");
    let script = site::script();
    script.on(|_: v1::MakeCheckInRequestRequest| {
        let name = "../../etc/passwd".into();
        Ok(v1::MakeCheckInRequestResponse { note: b"note".to_vec(), suggested_name: name, answer_by: None })
    });
    let daemon = Daemon::start(script);
    let ended = daemon.run(&format!("check-in --request {}", daemon.path("").display())).await;
    assert_eq!(ended.exit, ExitCode::Done, "{}", ended.stderr);
    assert!(daemon.path("site.check-in").is_file(), "a name that leads elsewhere is not followed");
}

#[tokio::test]
async fn from_stage_3_on_every_answer_says_so() {
    for stage in 1..=6 {
        let daemon = Daemon::start(at_stage(stage));
        for command in ["pools", "leases", "user list", "audit verify", "user rm nobody", "doctor"] {
            let ended = daemon.run(command).await;
            assert_eq!(
                ended.stderr.contains("notice: enforcement stage"),
                stage >= 3,
                "{stage} {command}: {}",
                ended.stderr
            );
            assert!(!ended.stdout.contains("notice: enforcement"), "{command}");
        }
        // These show it themselves.
        for command in ["status", "standing", "check-in"] {
            assert!(!daemon.run(command).await.stderr.contains("enforcement"), "{stage} {command}");
        }
    }
}

#[tokio::test]
async fn with_json_the_notice_is_a_document_of_its_own() {
    let daemon = Daemon::start(at_stage(3));
    let ended = daemon.run("pools --json").await;
    serde_json::from_str::<Value>(&ended.stdout).expect("standard output is the promised document");
    let notice: Value = serde_json::from_str(&ended.stderr).expect("standard error is one document");
    assert_eq!((&notice["notice"]["stage"], &notice["notice"]["name"]), (&3.into(), &"obtrusive warning".into()));
    let failed = daemon.run("user rm nobody --json").await;
    let error: Value = serde_json::from_str(&failed.stderr).expect("and stays one where the command failed");
    assert_eq!(error["error"]["exit_code"], 4);
}

#[tokio::test]
async fn a_daemon_that_cannot_tell_changes_nothing() {
    let script = at_stage(3);
    let calls: [fn() -> Status; 3] = [
        || Status::unimplemented("an older daemon"),
        || Status::permission_denied("not for you"),
        || Status::internal("broken"),
    ];
    for call in calls {
        script.on(move |_: v1::GetStandingRequest| -> Result<v1::GetStandingResponse, Status> { Err(call()) });
        let daemon = Daemon::start(script.clone());
        let ended = daemon.run("pools").await;
        assert_eq!((ended.exit, ended.stderr.as_str()), (ExitCode::Done, ""));
    }
    script.on(|_: v1::GetStandingRequest| Ok(v1::GetStandingResponse::default()));
    let daemon = Daemon::start(script);
    assert_eq!(daemon.run("pools").await.stderr, "");
    assert_eq!(daemon.run("standing").await.exit, ExitCode::Unexpected, "it is asked for that, and says nothing");
}
