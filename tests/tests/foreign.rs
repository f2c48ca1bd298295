//! Clients in other languages against the real daemon: Python (grpcio) from generated code, Node (grpc-js) from the protos
//! as they are. What they check is in `tests/foreign`; here they are run, and revoked from when they ask for it. The second
//! reader of usage files is held against the first in `foreign/usage.rs`.
//!
//! They need what `tests/foreign/install` installs. Without it the tests say that they were skipped, or fail where
//! `LEASEHOLD_REQUIRE_FOREIGN` is set.

#[path = "foreign/usage.rs"]
mod usage;

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use leasehold_proto::v1;
use leasehold_tests::{Daemon, Site, within};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::Command,
};

/// Where `tests/foreign/install` installs to: the target folder, which this test lies in.
fn installed() -> PathBuf {
    let test = std::env::current_exe().expect("the system says which program this is");
    // target/debug/deps/foreign-…
    test.ancestors().nth(3).expect("cargo's target folder").join("foreign")
}

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Says that a test is skipped, or fails it where that must not be.
fn skip(needs: &str) {
    let message = format!("needs {needs} (run tests/foreign/install)");
    assert!(std::env::var_os("LEASEHOLD_REQUIRE_FOREIGN").is_none(), "{message}");
    eprintln!("skipped: {message}");
}

/// Runs a client, unless `needs` is not installed.
async fn run(language: &str, needs: &str, command: impl FnOnce(&Path) -> Command) {
    let installed = installed();
    if !(installed.join("installed").is_file() && installed.join(needs).exists()) {
        skip(&format!("{language} with its gRPC packages"));
        return;
    }
    let site = Site::new();
    let daemon = Daemon::start(&site).await;
    let admin = daemon.admin().await;
    let units = [("I3_SESSION_CALL", 3), ("I3_ACCESS_CLIENT_CONCURRENT", 1), ("I3_FEATURE_RECORDER", 1)];
    admin.load("site.i3lic", &site.issue(&site.order_of(&units)).note).await;
    for name in ["agent-1", "agent-2"] {
        admin.user(name, "concurrent").await;
    }
    admin.give(&["I3_ACCESS_CLIENT"], &["agent-1"]).await;

    let mut child = command(&installed)
        .arg(daemon.tcp().to_string())
        .arg(here("../proto"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("the client runs");
    let mut said = BufReader::new(child.stdout.take().expect("its standard output")).lines();
    let mut done = false;
    while let Some(line) = within("a word of the client", said.next_line()).await.expect("text") {
        match line.split_once(' ') {
            Some(("revoke", lease)) => {
                let reason = "for the test".to_owned();
                let lease_ids = vec![lease.parse().expect("a lease")];
                let revoke = v1::RevokeLeasesRequest { lease_ids, reason, ..Default::default() };
                let outcomes = admin.calls.clone().revoke_leases(revoke).await.expect("revoked").into_inner().outcomes;
                assert_eq!(outcomes.iter().filter(|outcome| outcome.refusal.is_some()).count(), 0, "{outcomes:?}");
            }
            None if line == "done" => done = true,
            _ => panic!("the {language} client said {line:?}"),
        }
    }
    let ended = within("the end of the client", child.wait()).await.expect("it ends");
    assert!(ended.success() && done, "the {language} client found what it told above: {ended}");
    // Whatever the client took it gave back.
    assert_eq!(admin.status().await.leases, 0);
}

#[tokio::test]
async fn python_with_grpcio() {
    run("Python", "python/bin/python", |installed| {
        let mut command = Command::new(installed.join("python/bin/python"));
        command.arg(here("foreign/client.py"));
        command
    })
    .await;
}

#[tokio::test]
async fn node_with_grpc_js() {
    run("Node", "node_modules/@grpc/grpc-js", |installed| {
        let mut command = Command::new("node");
        command.env("NODE_PATH", installed.join("node_modules")).arg(here("foreign/client.js"));
        command
    })
    .await;
}
