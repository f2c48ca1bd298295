//! Bundles and usage files on disk: what is written, what is refused, and what is found without a daemon.

use std::{fs, io::Read as _, path::Path};

use leasehold_cli::exit::ExitCode;
use leasehold_proto::v1;
use serde_json::Value;

use crate::{
    scripted::{Daemon, run_alone},
    site::{
        self,
        usage::{CLOSED, EDITED, closed_name},
    },
};

fn entries(bundle: &Path) -> Vec<(String, Vec<u8>)> {
    let mut archive = tar::Archive::new(fs::File::open(bundle).unwrap());
    let read = |entry: std::io::Result<tar::Entry<'_, fs::File>>| {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().display().to_string();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        (name, bytes)
    };
    archive.entries().unwrap().map(read).collect()
}

#[tokio::test]
async fn a_bundle_holds_its_manifest_and_the_files_byte_for_byte() {
    let daemon = Daemon::start(site::script());
    let (one, two) = (daemon.path("one.tar"), daemon.path("two.tar"));
    for bundle in [&one, &two] {
        let line = format!("usage export --period 2026-10 -o {}", bundle.display());
        let ended = daemon.run(&line).await;
        assert_eq!(ended.exit, ExitCode::Done, "{}{}", ended.stdout, ended.stderr);
    }
    assert_eq!(fs::read(&one).unwrap(), fs::read(&two).unwrap(), "nothing of this moment is in it");
    let found = entries(&one);
    let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["manifest.json", &closed_name()]);
    assert_eq!(found[1].1, CLOSED);
    // Nothing in it is stamped later than its newest file was closed: a period ends later than it is bundled.
    let stamps: Vec<u64> = tar::Archive::new(fs::File::open(&one).unwrap())
        .entries()
        .unwrap()
        .map(|entry| entry.unwrap().header().mtime().unwrap())
        .collect();
    let closed = "2026-11-22T00:00:00Z".parse::<jiff::Timestamp>().unwrap().as_second();
    assert_eq!(stamps[0], u64::try_from(closed).unwrap());
    assert!(stamps[1] <= stamps[0], "{stamps:?}");
    let manifest: Value = serde_json::from_slice(&found[0].1).unwrap();
    assert_eq!((&manifest["complete"], &manifest["files"][0]["name"]), (&true.into(), &closed_name().into()));
    // Nothing else is left in the folder, and what is there is not overwritten.
    let again = daemon.run(&format!("usage export --period 2026-10 -o {}", one.display())).await;
    assert_eq!(again.exit, ExitCode::Usage);
    let forced = daemon.run(&format!("usage export --period 2026-11 --force -o {}", one.display())).await;
    assert_eq!(forced.exit, ExitCode::PartlyDone, "the period is not over");
    assert!(
        fs::read_dir(daemon.path(""))
            .unwrap()
            .all(|entry| { !entry.unwrap().file_name().to_string_lossy().starts_with(".leasehold-") })
    );
    // And it can be verified as it is, without a daemon.
    let ended = run_alone(&["leasehold", "usage", "verify", &one.display().to_string()], "", None).await;
    assert_eq!(ended.exit, ExitCode::Done, "{}", ended.stdout);
    assert!(ended.stdout.contains("1 file"), "{}", ended.stdout);
}

#[tokio::test]
async fn a_bundle_that_breaks_off_leaves_nothing() {
    let script = site::script();
    script.on(|_: v1::ExportUsageRequest| {
        let file = v1::UsageFile { name: closed_name(), bytes: 9_999, ..Default::default() };
        let manifest = v1::UsageManifest { period: "2026-10".into(), files: vec![file], ..Default::default() };
        let part = v1::export_usage_response::Part::Manifest(manifest);
        Ok(vec![v1::ExportUsageResponse { part: Some(part) }])
    });
    let daemon = Daemon::start(script);
    let ended = daemon.run(&format!("usage export --period 2026-10 -o {}", daemon.path("x.tar").display())).await;
    assert_eq!(ended.exit, ExitCode::Unexpected);
    assert!(ended.stderr.contains("lacks a part of"), "{}", ended.stderr);
    let left: Vec<_> = fs::read_dir(daemon.path("")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["leasehold.sock"]);
}

#[tokio::test]
async fn files_are_verified_without_a_daemon() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().display().to_string();
    let verify = |extra: &'static [&'static str]| {
        let arguments: Vec<String> =
            ["leasehold", "usage", "verify", &path].iter().chain(extra).map(|part| (*part).to_owned()).collect();
        async move {
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            run_alone(&arguments, "", None).await
        }
    };
    assert_eq!(verify(&[]).await.exit, ExitCode::NotFound, "there is nothing to verify");
    fs::create_dir(folder.path().join("november")).unwrap();
    let file = folder.path().join("november").join(closed_name());
    fs::write(&file, CLOSED).unwrap();
    let ended = verify(&["--json"]).await;
    assert_eq!(ended.exit, ExitCode::Done, "{}", ended.stdout);
    let json: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(
        (&json["intact"], &json["files"], &json["installations"][0]["end"]),
        (&true.into(), &1.into(), &"closed".into())
    );
    fs::write(&file, EDITED).unwrap();
    let ended = verify(&[]).await;
    assert_eq!(ended.exit, ExitCode::UsageDamaged);
    assert!(ended.stdout.contains("NOT as it was written") && ended.stdout.contains("record "), "{}", ended.stdout);
    fs::remove_file(&file).unwrap();
    fs::write(folder.path().join("november/other.usg"), b"no usage file").unwrap();
    let ended = verify(&["--json"]).await;
    let json: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!((ended.exit, &json["findings"][0]["damage"]), (ExitCode::UsageDamaged, &"not-a-usage-file".into()));
}

#[tokio::test]
async fn receipts_are_taken_and_refused_one_by_one() {
    let daemon = Daemon::start(site::script());
    let (good, bad) = (daemon.path("good.receipt"), daemon.path("bad.receipt"));
    fs::write(&good, "signed").unwrap();
    fs::write(&bad, "forged").unwrap();
    let line = format!("usage receipt {} {} --json", bad.display(), good.display());
    let ended = daemon.run(&line).await;
    assert_eq!(ended.exit, ExitCode::PartlyDone, "{}", ended.stderr);
    let json: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!((&json["taken"], &json["refused"]), (&1.into(), &1.into()));
    assert_eq!(json["receipts"][0]["refusal"]["reason"], "RECEIPT_NOT_SIGNED");
    assert_eq!(json["receipts"][1]["usage_file"]["state"], "acknowledged");
    let ended = daemon.run(&format!("usage receipt {}", bad.display())).await;
    assert_eq!(ended.exit, ExitCode::FileRefused, "{}", ended.stderr);
    assert!(ended.stderr.contains("did not sign"), "{}", ended.stderr);
    assert_eq!(daemon.run("usage receipt /nowhere/at/all").await.exit, ExitCode::NotFound);
}
