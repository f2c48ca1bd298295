//! What a terminal changes: the width of tables, and nothing that is said.

use crate::{scripted::Daemon, site};

#[tokio::test]
async fn tables_fit_the_terminal_and_are_whole_without_one() {
    let daemon = Daemon::start(site::script());
    for command in ["pools", "leases", "licenses", "denials", "audit"] {
        for width in [80, 100, 140] {
            let shown = daemon.run_with(&[command], "", Some(width)).await.stdout;
            assert!(shown.lines().count() > 2, "{command}: {shown}");
            for line in shown.lines() {
                assert!(line.chars().count() <= usize::from(width), "{command} in {width} columns: {line}");
            }
        }
    }
    let piped = daemon.run_with(&["leases"], "", None).await.stdout;
    assert_eq!(piped.lines().count(), 3, "one line a lease and one of headings:\n{piped}");
}

#[tokio::test]
async fn eighty_columns() {
    let daemon = Daemon::start(site::script());
    let mut text = String::new();
    for command in ["status", "pools", "leases", "denials", "audit", "usage list", "doctor", "standing"] {
        text.push_str(&format!("$ leasehold {command}\n"));
        let words: Vec<&str> = command.split(' ').collect();
        text.push_str(&daemon.run_with(&words, "", Some(80)).await.stdout);
        text.push('\n');
    }
    insta::assert_snapshot!(text);
}
