//! The program and what it keeps: the folder, its keys, its records.

use std::fs;

use crate::support::{Desk, Machine};

#[test]
fn sealed_keys_need_the_right_passphrase() {
    let desk = Desk::empty();
    desk.write("a.request", &Machine::new("cic-01", 1).request());
    desk.write("right", "correct horse\n");
    desk.write("wrong", "wrong horse\n");
    desk.write("short", "abc\n");
    let init = ["init", "--name", "acme.example", "--root-keys", "1", "--threshold", "1"];
    desk.run(&init).refuses(4, &["--passphrase-file", "--no-passphrase"]);
    desk.run(&[&init[..], &["--passphrase-file", "short"]].concat()).refuses(4, &["shorter than 8"]);
    assert!(!desk.path("acme").exists());
    let made = desk.run(&[&init[..], &["--passphrase-file", "right"]].concat());
    assert!(made.code == 0 && made.out.contains("sealed with your passphrase"), "{made:?}");
    desk.run(&[&init[..], &["--passphrase-file", "right"]].concat()).refuses(1, &["not empty"]);

    desk.issue(&["--grant", "I3_SESSION_CALL=2"]).refuses(4, &["is sealed", "LICENSOR_PASSPHRASE"]);
    desk.issue(&["--grant", "I3_SESSION_CALL=2", "--passphrase-file", "wrong"]).refuses(4, &["does not open"]);
    assert_eq!(desk.issue(&["--grant", "I3_SESSION_CALL=2", "--passphrase-file", "right"]).code, 0);
    let issue = ["issue", "--account", "A", "--site", "S", "--request", "a.request", "--grant", "I3_SESSION_CALL=2"];
    assert_eq!(desk.run_with(&issue, &[("LICENSOR_PASSPHRASE", "correct horse")]).code, 0);
    // Looking needs none.
    assert_eq!(desk.run(&["list", "--json"]).json().as_array().unwrap().len(), 2);
}

#[cfg(unix)]
#[test]
fn what_others_can_read_is_not_used() {
    use std::os::unix::fs::PermissionsExt as _;
    let desk = Desk::furnished();
    let key = fs::read_dir(desk.path("acme/keys"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.to_string_lossy().contains("issuing"))
        .unwrap();
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode(&key), mode(&desk.path("acme"))), (0o600, 0o700));
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    desk.issue(&["--grant", "I3_SESSION_CALL=2"]).refuses(4, &["can be read or written by others", "chmod 600"]);
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    fs::set_permissions(desk.path("acme"), fs::Permissions::from_mode(0o755)).unwrap();
    desk.issue(&["--grant", "I3_SESSION_CALL=2"]).refuses(4, &["chmod 700"]);
    fs::set_permissions(desk.path("acme"), fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(desk.issue(&["--grant", "I3_SESSION_CALL=2"]).code, 0);
}

#[test]
fn records_that_are_not_a_licensors_are_left_alone() {
    let desk = Desk::furnished();
    desk.run(&["--dir", "nowhere", "list"]).refuses(5, &["no licensor's folder", "licensor init"]);
    desk.write("acme/licensor.db", "not a database, but long enough to look like a file of some sort");
    desk.run(&["list"]).refuses(1, &["records"]);
}

#[test]
fn what_was_lost_is_to_be_restored() {
    let desk = Desk::furnished();
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&fs::metadata(desk.path("acme/licensor.db")).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    let key = fs::read_dir(desk.path("acme/keys"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.to_string_lossy().contains("issuing"))
        .unwrap();
    fs::remove_file(key).unwrap();
    desk.issue(&["--grant", "I3_SESSION_CALL=2"]).refuses(4, &["issuing key", "is missing", "backup"]);
    fs::remove_file(desk.path("acme/licensor.db")).unwrap();
    desk.run(&["list"]).refuses(5, &["licensor.db is missing", "restore it from your backup"]);
}

#[test]
fn the_passphrase_may_lie_in_the_folder_and_nothing_else() {
    let desk = Desk::empty();
    fs::create_dir(desk.path("acme")).unwrap();
    desk.write("acme/passphrase", "correct horse battery\n");
    desk.write("acme/other", "");
    let init = ["init", "--name", "acme.example", "--root-keys", "1", "--threshold", "1"];
    let arguments = [&init[..], &["--passphrase-file", "acme/passphrase"]].concat();
    desk.run(&arguments).refuses(1, &["not empty"]);
    fs::remove_file(desk.path("acme/other")).unwrap();
    let made = desk.run(&arguments);
    assert_eq!(made.code, 0, "{made:?}");
    assert!(desk.path("acme/root.i3root").exists() && desk.path("acme/passphrase").exists());
}

#[test]
fn a_licensor_can_be_made_in_the_folder_one_stands_in() {
    let desk = Desk::empty();
    let made = desk.run(&["--dir", ".", "init", "--name", "acme.example", "--no-passphrase"]);
    assert_eq!(made.code, 0, "{made:?}");
    assert_eq!(desk.run(&["--dir", ".", "root", "show", "--json"]).json()["version"], 1);
}

#[test]
fn a_file_that_cannot_be_written_is_issued_all_the_same_and_says_so() {
    let desk = Desk::furnished();
    let issued = desk.issue(&["--grant", "I3_SESSION_CALL=2", "--out", "no/such/folder/a.i3lic"]);
    issued.refuses(1, &["is issued and in the records", "do not issue it again", "licensor export"]);
    let rows = desk.run(&["list", "--json"]).json();
    let id = rows[0]["license-id"].as_str().unwrap();
    assert_eq!(desk.run(&["export", id, "--out", "a.i3lic"]).code, 0);
    assert_eq!(desk.run(&["verify", "a.i3lic"]).code, 0);
}
