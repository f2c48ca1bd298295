//! The administrator's program against the real daemon: what it prints, and its exit codes.

use std::fs;

use leasehold_tests::{
    Ask, Attached, Daemon, Site,
    programs::{Ran, leasehold},
};
use serde_json::Value;

const CALLS: &str = "I3_SESSION_CALL";
const CLIENT: &str = "I3_ACCESS_CLIENT";
const CLIENTS: &str = "I3_ACCESS_CLIENT_CONCURRENT";

/// The whole of a shell session at one site.
struct Shell<'a>(&'a Site);

impl Shell<'_> {
    fn run(&self, line: &str) -> Ran {
        leasehold(&self.0.socket(), line.split_whitespace())
    }

    fn ok(&self, line: &str) -> String {
        let ran = self.run(line);
        assert_eq!(ran.code, 0, "{line}: {ran:?}");
        ran.out
    }

    fn json(&self, line: &str) -> Value {
        let ran = self.run(&format!("{line} --json"));
        assert_eq!(ran.code, 0, "{line}: {ran:?}");
        ran.json()
    }

    fn fails(&self, line: &str, code: i32, reason: &str) -> Value {
        let ran = self.run(line);
        assert_eq!(ran.code, code, "{line}: {ran:?}");
        assert!(!ran.err.is_empty(), "{line}: a word about it");
        let error = self.run(&format!("{line} --json")).error();
        assert_eq!(error["exit_code"], code, "{line}: {error}");
        assert_eq!(error["reason"].as_str().unwrap_or_default(), reason, "{line}: {error}");
        error
    }
}

/// A working day of an administrator, command by command.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_site_is_administered_from_the_shell() {
    let site = Site::new();
    let daemon = Daemon::start(&site).await;
    let shell = Shell(&site);
    let issued = site.issue(&site.order_of(&[(CLIENT, 3), (CLIENTS, 1), (CALLS, 4), ("I3_LICENSE_BASIC_STATION", 2)]));
    let license = issued.activation.license_id.to_string();
    let file = site.dir().join("acme.i3lic");
    fs::write(&file, &issued.note).unwrap();
    let file = file.display();

    assert_eq!(shell.json("status")["license_state"], "unlicensed");
    assert_eq!(shell.json(&format!("load {file} --check"))["state"], "accepted");
    assert_eq!(shell.json("status")["license_state"], "unlicensed", "only checked");
    assert!(shell.ok(&format!("load {file}")).contains("acme.i3lic"));
    let status = shell.json("status");
    assert_eq!((&status["license_state"], &status["storage"]["ok"]), (&"licensed".into(), &true.into()));
    assert!(shell.ok("status").contains("acme.i3lic"));
    assert!(shell.ok("licenses").contains(&license));
    assert!(shell.ok(&format!("licenses {license}")).contains("Example Corporation"));

    for name in ["ann", "bob"] {
        shell.ok(&format!("user add {name} --method concurrent"));
    }
    shell.ok("user add carol");
    shell.ok("station add desk-1");
    shell.ok("workgroup add sales --interaction-types call");
    shell.ok(&format!("assign {CLIENT} --user ann bob carol"));
    shell.ok("assign I3_LICENSE_BASIC_STATION --station desk-1");
    assert!(shell.ok("assignments --user carol").contains(CLIENT));
    let pools = shell.json("pools");
    let clients = find(&pools, CLIENTS);
    assert!(clients.is_some(), "{pools}");

    let mut stream = Attached::over(daemon.over_tcp().await, "acd-server-2").await.unwrap();
    let lease = stream.acquire(Ask::logon("ann").at("desk-1").needing(&[CLIENT])).await.unwrap().lease_id;
    let leases = shell.ok("leases");
    assert!(leases.contains("ann") && leases.contains("name:acd-server-2"), "{leases}");
    assert!(shell.json("leases --user ann").to_string().contains(&lease.to_string()));
    assert_eq!(shell.run("explain bob").code, 3, "the only seat is taken");
    assert!(shell.run("explain bob").out.contains("ALLOC-"), "step by step");
    shell.ok("explain carol");
    let refused = stream.acquire(Ask::logon("bob").needing(&[CLIENT])).await.unwrap_err();
    assert_eq!(refused.reason, "POOL_EXHAUSTED");

    let error = shell.fails("assign I3_NONE --user ann", 4, "KEY_UNKNOWN");
    assert_eq!(error["facts"]["key"], "I3_NONE");
    shell.fails(&format!("assign {CLIENT} --user nobody"), 4, "USER_UNKNOWN");
    shell.fails("user add ann", 3, "ALREADY_EXISTS");
    shell.fails("revoke 4711 --reason why", 4, "LEASE_UNKNOWN");
    assert_eq!(shell.run("assign").code, 2, "a wrong command line");
    assert_eq!(shell.run("load /nowhere/at/all.i3lic").code, 4);

    shell.ok(&format!("revoke {lease} --reason maintenance"));
    let told = stream.end_of(lease).await.unwrap();
    assert!(told.reason == "REVOKED" && told.message.contains("maintenance"), "{told:?}");
    stream.acquire(Ask::logon("bob").needing(&[CLIENT])).await.expect("the seat came free");

    let denials = shell.ok("denials");
    assert!(denials.contains("POOL_EXHAUSTED") || denials.contains("bob"), "{denials}");
    assert!(shell.json("denials").to_string().contains("bob"));
    shell.ok("compliance");
    assert!(shell.ok("audit").contains("maintenance"));
    assert!(shell.ok("audit verify").contains("intact"));
    let snapshot = shell.json("db snapshot monday.db");
    let path = snapshot["path"].as_str().expect("a path");
    assert!(fs::metadata(path).unwrap().len() > 0);
    shell.fails("db snapshot monday.db", 3, "SNAPSHOT_EXISTS");

    let torn = site.dir().join("torn.i3lic");
    fs::write(&torn, &issued.note[..issued.note.len() - 20]).unwrap();
    let ran = shell.run(&format!("load {} --check", torn.display()));
    assert_eq!(ran.code, 9, "{ran:?}");
    assert_eq!(shell.run(&format!("load {}", torn.display())).code, 9);
    assert!(!site.folder().join("torn.i3lic").exists(), "a refused file is not placed");

    shell.ok(&format!("unload {license} --reason moved"));
    assert_eq!(shell.json("status")["license_state"], "unlicensed");
    shell.fails("unload 7f3c9a52-1f0e-4b1e-9c55-0d2f6a3b8e41 --reason why", 4, "LICENSE_UNKNOWN");
    daemon.stop().await;
    let ran = shell.run("status");
    assert_eq!(ran.code, 5, "{ran:?}");
    assert!(ran.err.contains("leasehold.sock"), "{}", ran.err);
}

/// COMPLY-1 and the audit chain in exit codes: 7 where a pool is above what is licensed, 8 where the log was changed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exit_codes_tell_of_compliance_and_tampering() {
    let site = Site::new();
    let daemon = Daemon::start(&site).await;
    let shell = Shell(&site);
    let first = site.issue(&site.order_of(&[(CALLS, 4)]));
    daemon.admin().await.load("base.i3lic", &first.note).await;
    daemon.app("telephony").await.acquire(Ask::units(CALLS, 4)).await.unwrap();
    assert_eq!(shell.run("compliance").code, 0);
    daemon.admin().await.load("base.i3lic", &site.reissue(first.activation.license_id, &[(CALLS, 3)]).note).await;
    let ran = shell.run("compliance");
    assert_eq!(ran.code, 7, "{ran:?}");
    assert!(ran.out.contains(CALLS), "{ran:?}");

    shell.ok("user add ann");
    shell.ok("user add bob");
    daemon.stop().await;
    let db = rusqlite::Connection::open(site.state().join("leasehold.db")).unwrap();
    let changed = db.execute("UPDATE audit SET subject = 'eve' WHERE subject = 'ann'", []).unwrap();
    assert_eq!(changed, 1);
    drop(db);
    let _daemon = Daemon::start(&site).await;
    let ran = shell.run("audit verify");
    assert_eq!(ran.code, 8, "{ran:?}");
}

/// A pool of a document of `pools --json`, wherever it stands.
fn find<'v>(document: &'v Value, pool: &str) -> Option<&'v Value> {
    match document {
        Value::Array(values) => values.iter().find_map(|value| find(value, pool)),
        Value::Object(fields) if fields.get("pool").or(fields.get("name")).is_some_and(|name| name == pool) => {
            Some(document)
        }
        Value::Object(fields) => fields.values().find_map(|value| find(value, pool)),
        _ => None,
    }
}
