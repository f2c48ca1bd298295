//! The promise of `--json`: one document on standard output, with the fields that `JSON.md` shows.

use std::collections::BTreeMap;

use leasehold_cli::exit::ExitCode;
use serde_json::Value;

use crate::{scripted::Daemon, site};

const PROMISE: &str = include_str!("../../JSON.md");

/// The promised documents: the command line in each heading, and the JSON below it.
fn promised() -> BTreeMap<String, Value> {
    let mut documents = BTreeMap::new();
    for section in PROMISE.split("\n## `leasehold ").skip(1) {
        let (command, rest) = section.split_once("`\n").expect("a heading ends with the command");
        let json =
            rest.split_once("```json\n").and_then(|(_, rest)| rest.split_once("\n```")).expect("a block of JSON");
        let value = serde_json::from_str(json.0).unwrap_or_else(|error| panic!("{command}: {error}"));
        documents.insert(command.to_owned(), value);
    }
    documents
}

#[tokio::test]
async fn the_documents_are_as_promised() {
    let daemon = Daemon::start(site::script());
    for (name, content) in [("acme.i3lic", "signed"), ("forged.i3lic", "forged")] {
        std::fs::write(daemon.path(name), content).unwrap();
    }
    let promised = promised();
    assert!(promised.len() >= 20, "only {} documents are promised", promised.len());
    let folder = daemon.path("").display().to_string();
    let mut others = String::new();
    for (command, expected) in promised {
        let line = command.replace("FILE", &daemon.path("acme.i3lic").display().to_string());
        let line = line.replace("NOTE", &daemon.path("site.check-in").display().to_string());
        let ended = daemon.run(&format!("{line} --json")).await;
        // Files are shown under the path that was named.
        let shown: Value =
            serde_json::from_str(&ended.stdout.replace(&format!("{}/", folder.trim_end_matches('/')), ""))
                .unwrap_or_else(|error| panic!("{command}: {error}\n{}\n{}", ended.stdout, ended.stderr));
        let pretty = serde_json::to_string_pretty(&shown).unwrap_or_default();
        if shown != expected {
            others.push_str(&format!("leasehold {command} --json now prints\n{pretty}\n\n"));
        }
    }
    assert!(others.is_empty(), "{others}");
}

#[tokio::test]
async fn errors_are_json_on_standard_error() {
    let daemon = Daemon::start(site::script());
    let ended = daemon.run("user rm nobody --json").await;
    assert_eq!((ended.exit, ended.stdout.as_str()), (ExitCode::NotFound, ""));
    let error: Value = serde_json::from_str(&ended.stderr).unwrap();
    assert_eq!(
        error,
        serde_json::json!({"error": {
            "exit_code": 4,
            "kind": "not_found",
            "reason": "USER_UNKNOWN",
            "message": "there is no user nobody",
            "hint": "`leasehold user list --contains …` finds names; `leasehold user add nobody` makes a new one",
            "facts": {"user": "nobody"},
            "retry_after_ms": null,
        }})
    );
}

#[tokio::test]
async fn a_wrong_command_line_is_json_too() {
    let ended = crate::scripted::run_alone(&["leasehold", "revoke", "12", "--json"], "", None).await;
    assert_eq!((ended.exit, ended.stdout.as_str()), (ExitCode::Usage, ""));
    let error: Value = serde_json::from_str(&ended.stderr).unwrap();
    assert_eq!(error["error"]["kind"], "usage");
    assert!(error["error"]["message"].as_str().unwrap().contains("required"), "{error}");
}
