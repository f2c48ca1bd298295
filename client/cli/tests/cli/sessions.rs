//! Sessions as an administrator would read them: the command, what it prints, how it ends. One snapshot a family.

use std::fmt::Write as _;

use leasehold_cli::exit::ExitCode;

use crate::{
    scripted::{Daemon, Ended},
    site,
};

/// The commands' output as one text; the address of the test's socket is replaced.
pub(crate) async fn session(daemon: &Daemon, lines: &[&str]) -> String {
    let mut text = String::new();
    for line in lines {
        let ended = daemon.run(line).await;
        transcribe(&mut text, line, &ended, daemon);
    }
    text
}

fn transcribe(text: &mut String, line: &str, ended: &Ended, daemon: &Daemon) {
    let folder = daemon.path("").display().to_string();
    let shown = |output: &str| output.replace(folder.trim_end_matches('/'), "[FOLDER]");
    let _ = writeln!(text, "$ leasehold {}", shown(line));
    text.push_str(&shown(&ended.stdout));
    for line in shown(&ended.stderr).lines() {
        let _ = writeln!(text, "! {line}");
    }
    if ended.exit != ExitCode::Done {
        let _ = writeln!(text, "exit {} ({})", ended.exit.number(), ended.exit.name());
    }
    text.push('\n');
}

#[tokio::test]
async fn status_and_host() {
    let daemon = Daemon::start(site::script());
    insta::assert_snapshot!(session(&daemon, &["status", "host-id", "request --product PureConnect"]).await);
}

#[tokio::test]
async fn request_notes_in_files() {
    let daemon = Daemon::start(site::script());
    let path = daemon.path("request.txt").display().to_string();
    let lines = [format!("request -o {path}"), format!("request -o {path}"), format!("request -o {path} --force")];
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    insta::assert_snapshot!(session(&daemon, &lines).await);
    assert!(std::fs::read_to_string(&path).unwrap().ends_with("— acme AbC=\n"));
}

#[tokio::test]
async fn licenses() {
    let daemon = Daemon::start(site::script());
    let good = daemon.path("acme.i3lic");
    let bad = daemon.path("branch.i3lic");
    let big = daemon.path("big.zip");
    std::fs::write(&good, "signed").unwrap();
    std::fs::write(&bad, "forged").unwrap();
    std::fs::write(&big, vec![0; 128 * 1024 + 1]).unwrap();
    let lines = [
        "licenses".to_owned(),
        "licenses 7F3C9A52-1f0e-4b1e-9c55-0d2f6a3b8e41".to_owned(),
        "licenses 0000".to_owned(),
        format!("load {} --check", good.display()),
        format!("load {}", good.display()),
        format!("load {}", bad.display()),
        format!("load {}", big.display()),
        format!("load {}", daemon.path("none.i3lic").display()),
        format!("load {}", daemon.path("").display()),
        "unload 7f3c9a52-1f0e-4b1e-9c55-0d2f6a3b8e41 --reason moved".to_owned(),
        "unload 1234 --reason moved".to_owned(),
        "promote --reason maintenance".to_owned(),
        "stand-by --reason restored".to_owned(),
    ];
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    insta::assert_snapshot!(session(&daemon, &lines).await);
}

#[tokio::test]
async fn pools_and_shares() {
    let daemon = Daemon::start(site::script());
    insta::assert_snapshot!(
        session(
            &daemon,
            &[
                "pools",
                "pools I3_SESSION_CALL",
                "pools NO_SUCH_KEY",
                "pool set I3_ACCESS_CLIENT_CONCURRENT --idle 15m",
                "pool set I3_ACCESS_CLIENT_CONCURRENT --idle 1h --always",
                "pool set I3_ACCESS_CLIENT_CONCURRENT --idle none",
                "pool set I3_ACCESS_CLIENT_CONCURRENT --idle none --always",
                "pool set NOPE --idle none",
                "share list",
                "share set I3_ACCESS_CLIENT_CONCURRENT --organization north --reserve 2",
                "share set I3_ACCESS_CLIENT_CONCURRENT --organization north --limit none",
                "share set I3_ACCESS_CLIENT_CONCURRENT --application Portal --limit 1",
                "share rm I3_ACCESS_CLIENT_CONCURRENT --organization north",
            ]
        )
        .await
    );
}

#[tokio::test]
async fn subjects() {
    let daemon = Daemon::start(site::script());
    insta::assert_snapshot!(
        session(
            &daemon,
            &[
                "user list",
                "user show agent-001",
                "user show agent-00",
                "user add agent-004 --method concurrent --workgroups Support,Sales",
                "user add agent-001",
                "user set agent-002 --method assignable",
                "user set agent-002",
                "user rm agent-002 nobody agent-001",
                "user rm nobody",
                "station list --contains wall",
                "station add station-9",
                "station show wallboard-1",
                "workgroup list",
                "workgroup show Support",
                "org list",
                "org set north --parent none",
            ]
        )
        .await
    );
}

#[tokio::test]
async fn assignments() {
    let daemon = Daemon::start(site::script());
    insta::assert_snapshot!(
        session(
            &daemon,
            &[
                "assign I3_ACCESS_CLIENT --user agent-001",
                "assign I3_ACCESS_CLIENT --user agent-001 agent-003 --station wallboard-1 --until 2026-12-31",
                "assign I3_ACCESS_CLIENT --user agent-001 --dry-run",
                "assign I3_ACCESS_CLIENT --user agent-001 nobody",
                "assign I3_ACCESS_CLIENT --user agent-001 nobody --best-effort",
                "assign I3_ACCESS_CLIENT --user agent-001 --until 2026-11-01",
                "unassign I3_SESSION_CALL --user agent-001",
                "unassign I3_ACCESS_CLIENT --user agent-001 agent-002 --dry-run",
                "assignments",
                "assignments --user agent-003",
            ]
        )
        .await
    );
}

#[tokio::test]
async fn leases() {
    let daemon = Daemon::start(site::script());
    insta::assert_snapshot!(
        session(
            &daemon,
            &[
                "leases",
                "leases --user agent-002",
                "leases --user agent-009",
                "revoke 1041 --reason forgotten",
                "revoke 1041 1042 1041 --reason forgotten",
                "revoke 7 1041 --reason forgotten",
                "revoke 7 --reason forgotten",
                "revoke --user agent-001 --reason forgotten",
                "revoke --user agent-002 --reason forgotten",
                "explain agent-002 --station station-1",
                "explain agent-003 --station station-1 --keys I3_ACCESS_CLIENT",
            ]
        )
        .await
    );
}

#[tokio::test]
async fn the_past() {
    let daemon = Daemon::start(site::script());
    insta::assert_snapshot!(
        session(
            &daemon,
            &[
                "denials --since 2h",
                "denials --since 2h --pool I3_ACCESS_CLIENT_CONCURRENT",
                "compliance",
                "audit",
                "audit verify",
                "db snapshot monday.sqlite"
            ]
        )
        .await
    );
}

#[tokio::test]
async fn usage() {
    let daemon = Daemon::start(site::script());
    let (bundle, receipt, forged) =
        (daemon.path("usage.tar"), daemon.path("41.receipt"), daemon.path("forged.receipt"));
    std::fs::write(&receipt, "signed").unwrap();
    std::fs::write(&forged, "forged").unwrap();
    let lines = [
        "usage list".to_owned(),
        "usage seal".to_owned(),
        "usage send".to_owned(),
        "usage verify".to_owned(),
        "usage export --period 2026-11 --check".to_owned(),
        format!("usage export --period 2026-10 -o {}", bundle.display()),
        format!("usage export --period 2026-10 -o {}", bundle.display()),
        format!("usage verify {}", bundle.display()),
        format!("usage verify {} --whole", bundle.display()),
        format!("usage receipt {} {}", receipt.display(), forged.display()),
        "doctor".to_owned(),
    ];
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    insta::assert_snapshot!(session(&daemon, &lines).await);
}
