//! The program itself, as a process: exit codes, the two output streams, a closed pipe, a daemon that is not there.

use std::process::{Output, Stdio};

use leasehold_proto::v1;
use tokio::process::Command;
use tonic::Code;

use crate::{
    scripted::{Daemon, Script},
    site,
};

async fn leasehold(server: &str, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_leasehold"))
        .args(arguments)
        .env("LEASEHOLD_SERVER", server)
        .env("TZ", "UTC")
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[tokio::test]
async fn results_go_to_one_stream_and_errors_to_the_other() {
    let daemon = Daemon::start(site::script());
    let done = leasehold(&daemon.address(), &["pools"]).await;
    assert_eq!(done.status.code(), Some(0));
    assert!(text(&done.stdout).contains("2/2") && done.stderr.is_empty());
    assert!(!text(&done.stdout).contains('\u{1b}'), "no styles in a pipe");

    let refused = leasehold(&daemon.address(), &["user", "rm", "nobody"]).await;
    assert_eq!(refused.status.code(), Some(4));
    assert!(refused.stdout.is_empty());
    assert_eq!(
        text(&refused.stderr),
        "error: there is no user nobody\nhint: `leasehold user list --contains …` finds names; `leasehold user add nobody` \
         makes a new one\n"
    );
}

#[tokio::test]
async fn each_ending_has_its_exit_code() {
    let script = site::script();
    script.on(|_: v1::VerifyAuditRequest| {
        Ok(v1::VerifyAuditResponse {
            entries: 9,
            intact: false,
            first_bad: 4,
            message: "its hash differs".into(),
            ..Default::default()
        })
    });
    let daemon = Daemon::start(script);
    let file = daemon.path("bad.i3lic");
    std::fs::write(&file, "forged").unwrap();
    let file = file.display().to_string();
    for (arguments, code) in [
        (vec!["status"], 0),
        (vec!["--help"], 0),
        (vec!["--version"], 0),
        (vec![], 2),
        (vec!["frobnicate"], 2),
        (vec!["unload", "x"], 2),
        (vec!["explain", "agent-003"], 3),
        (vec!["user", "rm", "nobody"], 4),
        (vec!["compliance"], 7),
        (vec!["audit", "verify"], 8),
        (vec!["load", file.as_str()], 9),
        (vec!["assign", "K", "--user", "a", "nobody", "--best-effort"], 10),
    ] {
        let ended = leasehold(&daemon.address(), &arguments).await;
        assert_eq!(ended.status.code(), Some(code), "{arguments:?}: {}", text(&ended.stderr));
    }
}

#[tokio::test]
async fn refusals_of_calls_have_exit_codes_too() {
    for (code, reason, exit) in [
        (Code::ResourceExhausted, "POOL_EXHAUSTED", 3),
        (Code::FailedPrecondition, "LEASE_ENDED", 3),
        (Code::PermissionDenied, "", 6),
        (Code::Unavailable, "STARTING", 11),
        (Code::ResourceExhausted, "OVERLOADED", 11),
        (Code::InvalidArgument, "", 2),
        (Code::Internal, "", 1),
    ] {
        let script = Script::default();
        script.on(move |_: v1::GetStatusRequest| -> Result<v1::GetStatusResponse, _> {
            site::refused(code, reason, "no", &[])
        });
        let daemon = Daemon::start(script);
        let ended = leasehold(&daemon.address(), &["status"]).await;
        assert_eq!(ended.status.code(), Some(exit), "{code:?} {reason}: {}", text(&ended.stderr));
        assert!(text(&ended.stderr).starts_with("error: no\n"), "{}", text(&ended.stderr));
    }
}

#[tokio::test]
async fn a_daemon_that_is_not_there_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let server = format!("unix://{}", folder.path().join("none.sock").display());
    let ended = leasehold(&server, &["status"]).await;
    assert_eq!(ended.status.code(), Some(5));
    let told = text(&ended.stderr);
    assert!(
        told.starts_with(&format!("error: no daemon listens at {server}: there is no such socket\nhint: ")),
        "{told}"
    );

    // A socket that nobody listens on any more, as a daemon that was killed leaves it.
    let path = folder.path().join("left.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let ended = leasehold(&format!("unix://{}", path.display()), &["status", "--json"]).await;
    assert_eq!(ended.status.code(), Some(5));
    let json: serde_json::Value = serde_json::from_slice(&ended.stderr).unwrap();
    assert_eq!(json["error"]["kind"], "unreachable");
    assert!(ended.stdout.is_empty());
}

#[tokio::test]
async fn an_answer_that_does_not_come_ends_in_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mute.sock");
    // It takes connections and never says a word.
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    let mute = tokio::spawn(async move {
        let mut taken = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            taken.push(stream);
        }
    });
    let ended = leasehold(&format!("unix://{}", path.display()), &["--timeout", "200ms", "status"]).await;
    assert_eq!(ended.status.code(), Some(5), "{}", text(&ended.stderr));
    mute.abort();
}

#[tokio::test]
async fn a_closed_pipe_is_no_error() {
    let daemon = Daemon::start(site::script());
    let mut child = Command::new(env!("CARGO_BIN_EXE_leasehold"))
        .args(["completions", "bash"])
        .env("LEASEHOLD_SERVER", daemon.address())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let ended = child.wait_with_output().await.unwrap();
    assert_eq!(text(&ended.stderr), "");
    assert_eq!(ended.status.code(), Some(0));
}

#[tokio::test]
async fn completions_and_man_pages_need_no_daemon() {
    let folder = tempfile::tempdir().unwrap();
    let server = format!("unix://{}", folder.path().join("none.sock").display());
    for shell in ["bash", "zsh", "fish"] {
        let ended = leasehold(&server, &["completions", shell]).await;
        assert_eq!(ended.status.code(), Some(0));
        assert!(text(&ended.stdout).contains("unassign"), "{shell}");
    }
    let page = leasehold(&server, &["man"]).await;
    assert!(text(&page.stdout).contains(".TH leasehold 1"), "{}", text(&page.stdout));
    assert!(text(&page.stdout).contains("a pool is above what is licensed"), "the exit codes are in the man page");
    let pages = folder.path().display().to_string();
    let ended = leasehold(&server, &["man", "--output", &pages]).await;
    assert_eq!(ended.status.code(), Some(0), "{}", text(&ended.stderr));
    for name in ["leasehold.1", "leasehold-assign.1", "leasehold-user-add.1"] {
        assert!(folder.path().join(name).is_file(), "{name}");
    }
}
