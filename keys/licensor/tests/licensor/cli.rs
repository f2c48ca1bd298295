//! The program as a vendor runs it: what it prints, what it refuses, and how it ends.

use leasehold_keys::trust::Trust;

use crate::support::{Desk, Machine};

/// The output with what changes from run to run replaced.
fn redact(desk_output: &str, license_id: &str) -> String {
    let mut text = desk_output.replace(license_id, "[license]");
    let now: Vec<String> = text
        .split_whitespace()
        .filter(|word| word.len() == 20 && word.starts_with("20") && word.ends_with('Z'))
        .map(str::to_owned)
        .collect();
    for time in now {
        text = text.replace(&time, "[now]");
        text = text.replace(&time[..10], "[today]");
        text = text.replace(&format!("-{}", &time[..4]), "-[year]");
    }
    text
}

fn license_of(desk: &Desk, file: &str) -> String {
    desk.run(&["show", file, "--json"]).json()["license-id"].as_str().unwrap().to_owned()
}

#[test]
fn issuing_prints_what_was_issued() {
    let desk = Desk::furnished();
    let issued = desk.issue(&[
        "--server",
        "basic",
        "--part",
        "SW-001-4.0-AL04=5,25",
        "--part",
        "SW-001-4.0-AA01=2",
        "--grant",
        "I3_SESSION_CALL=100",
        "--switchover-request",
        "b.request",
        "--switchover-server",
        "basic",
        "--maintenance-end",
        "2027-12-31",
        "--system-type",
        "Media Server Based",
        "--out",
        "site.i3lic",
    ]);
    assert_eq!(issued.code, 0, "{issued:?}");
    let expected = "\
Issued: site.i3lic

Activation file
  license      [license], file 1
  account      Example Ltd, site Cologne
  product      CIC (PureConnect), versions 4.0 to 2022.4
  terms        production, perpetual, base
  issued       [now]
  counts       [today] to 2100-01-01
  maintenance  until 2027-12-31
  system type  Media Server Based
  primary      cic-01, 3 of 5 factors of h1-3C0G2-08104-0G208…
  switchover   cic-02, 3 of 5 factors of h1-3C104-0G208-1040G…
  catalog      version 1; needs root 1
Parts ordered
  SW-001-4.0-AL04  Contact Center Level 1         5 assigned, 25 pooled
  SW-001-4.0-AA01  Interaction Supervisor Add-on  2 assigned, 0 pooled
Grants
  I3_ACCESS_ACD_MEDIA_1                          5    ACD Access, Media 1
  I3_ACCESS_ACD_MEDIA_1_CONCURRENT               25   ACD Access, Media 1
  I3_ACCESS_CLIENT                               5    Client Access
  I3_ACCESS_CLIENT_CONCURRENT                    25   Client Access
  I3_ACCESS_DIALER_SUPERVISOR_PLUGIN             2    Supervisor Plug-In: Interaction Dialer
  I3_ACCESS_HISTORICAL_REPORT_SUPERVISOR_PLUGIN  2    Supervisor Plug-In: Historical Reporting
  I3_ACCESS_WORKGROUP_SUPERVISOR_PLUGIN          2    Supervisor Plug-In: Workgroup
  I3_FEATURE_SIP                                 1    SIP
  I3_FEATURE_SWITCHOVER                          1    Switchover
  I3_LICENSE_BASIC_STATION                       30   Basic Station
  I3_LICENSE_CIC_SERVER_BASIC                    1    CIC Basic Server
  I3_LICENSE_CIC_SWITCHOVER_BASIC                1    CIC Basic Switchover Server
  I3_SESSION_CALL                                100  Call Port
Verified: signed by acme.example/issuing-[year], by root 1.
";
    let id = license_of(&desk, "site.i3lic");
    assert_eq!(redact(&issued.out, &id), expected);

    // The customer has the file and the root, no licensor's folder.
    let trust = Trust::anchored(&desk.read("acme/root.i3root")).unwrap();
    assert_eq!(trust.root().version, 1);
    let verified = desk.run(&["--dir", "nowhere", "verify", "site.i3lic", "--root", "acme/root.i3root"]);
    assert_eq!(verified.code, 0, "{verified:?}");
    let (_, same) = expected.split_once("\n\n").unwrap();
    assert_eq!(redact(&verified.out, &id), same);
    // The copy in the folder is the same file.
    assert_eq!(desk.read(&format!("acme/issued/{id}-1.i3lic")), desk.read("site.i3lic"));
}

#[test]
fn show_asks_nobody_and_verify_does() {
    let desk = Desk::furnished();
    assert_eq!(desk.issue(&["--grant", "I3_SESSION_CALL=2", "--out", "a.i3lic"]).code, 0);
    let text = String::from_utf8(desk.read("a.i3lic")).unwrap();
    desk.write("forged.i3lic", &text.replace("units = 2", "units = 200"));
    let shown = desk.run(&["show", "forged.i3lic"]);
    assert_eq!(shown.code, 0);
    assert!(shown.out.contains("I3_SESSION_CALL  200") && shown.out.contains("NOT VERIFIED"), "{shown:?}");
    desk.run(&["verify", "forged.i3lic"]).refuses(3, &["signature"]);
    let json = desk.run(&["--json", "verify", "a.i3lic"]).json();
    assert_eq!((&json["verified"], &json["grants"]["I3_SESSION_CALL"]), (&true.into(), &2.into()));
    let json = desk.run(&["show", "--json", "forged.i3lic"]).json();
    assert_eq!((&json["verified"], &json["grants"]["I3_SESSION_CALL"]), (&false.into(), &200.into()));

    // Another licensor's root does not vouch for it.
    assert_eq!(desk.run(&["--dir", "other", "init", "--name", "other.example", "--no-passphrase"]).code, 0);
    desk.run(&["verify", "a.i3lic", "--root", "other/root.i3root"]).refuses(3, &["root"]);
    desk.run(&["--dir", "nowhere", "verify", "a.i3lic"]).refuses(2, &["no root to verify by", "--root"]);
    desk.run(&["verify", "missing.i3lic"]).refuses(5, &["missing.i3lic"]);
    desk.write("text.txt", "no note\n");
    desk.run(&["show", "text.txt"]).refuses(3, &["blank line"]);
}

#[test]
fn requests_and_roots_are_shown_too() {
    let desk = Desk::furnished();
    for command in ["show", "verify"] {
        let request = desk.run(&[command, "a.request"]);
        assert!(request.code == 0 && request.out.contains("cic-01") && request.out.contains("h1-"), "{request:?}");
        let root = desk.run(&[command, "acme/root.i3root"]);
        assert!(root.code == 0 && root.out.contains("acme.example/root-3"), "{root:?}");
    }
    let root = desk.run(&["root", "show"]);
    assert!(root.out.contains("needs 2 signatures by Ed25519") && root.out.contains("SHA-256"), "{root:?}");
    assert_eq!(desk.run(&["root", "show", "--note"]).out.into_bytes(), desk.read("acme/root.i3root"));
    assert_eq!(desk.run(&["root", "show", "--json"]).json()["root-keys"].as_array().unwrap().len(), 3);
}

#[test]
fn a_license_goes_its_way_to_the_receipt() {
    let desk = Desk::furnished();
    assert_eq!(desk.issue(&["--grant", "I3_SESSION_CALL=2", "--out", "1.i3lic"]).code, 0);
    let id = license_of(&desk, "1.i3lic");
    // Account and site are as before; the sequence comes from the records.
    let again = desk.run(&[
        "issue",
        "--license-id",
        &id,
        "--request",
        "a.request",
        "--grant",
        "I3_SESSION_CALL=4",
        "--out",
        "2.i3lic",
    ]);
    assert!(again.out.contains("file 2") && again.out.contains("Example Ltd, site Cologne"), "{again:?}");
    let exchange = desk.issue(&["--supersedes", &id, "--grant", "I3_SESSION_FAX=1", "--json"]).json();
    assert_eq!(
        (&exchange["supersedes"][0]["license-id"], &exchange["supersedes"][0]["sequence"]),
        (&id.as_str().into(), &2.into())
    );

    let closed = desk.run(&["deactivate", &id, "--out", "3.i3lic"]);
    assert!(
        closed.code == 0 && closed.out.contains("CLOSES THE LICENSE") && closed.out.contains("file 3"),
        "{closed:?}"
    );
    desk.run(&["deactivate", &id]).refuses(3, &["is closed", "issue a new license"]);

    let machine = Machine::new("cic-01", 1);
    desk.write("good.receipt", &machine.receipt(&desk.read("3.i3lic")));
    desk.write("early.receipt", &machine.receipt(&desk.read("2.i3lic")));
    desk.write("foreign.receipt", &Machine::new("x", 8).receipt(&desk.read("3.i3lic")));
    desk.run(&["receipt", "early.receipt"]).refuses(3, &["does not close"]);
    desk.run(&["receipt", "foreign.receipt"]).refuses(3, &["not known here", "--request"]);
    desk.run(&["receipt", "a.request"]).refuses(3, &["this is a host request, not a deactivation receipt"]);
    desk.run(&["receipt", "3.i3lic"]).refuses(3, &["this is an activation file", "loaded the closing file"]);
    // Known by its request, but on no machine of this license.
    desk.write("other.receipt", &Machine::new("cic-02", 2).receipt(&desk.read("3.i3lic")));
    desk.run(&["receipt", "other.receipt", "--request", "b.request"])
        .refuses(3, &["none of the machines", "--any-installation"]);
    let verified = desk.run(&["verify", "good.receipt"]);
    assert!(verified.out.contains("closed by file 3"), "{verified:?}");
    let taken = desk.run(&["receipt", "good.receipt"]);
    assert!(taken.out.contains("on cic-01") && taken.out.contains("in the records"), "{taken:?}");
    assert!(desk.run(&["receipt", "good.receipt"]).out.contains("already"));

    let listed = desk.run(&["list"]);
    let states: Vec<_> = listed
        .out
        .lines()
        .filter(|line| line.contains(&id))
        .map(|line| line.split_whitespace().nth(3).unwrap())
        .collect();
    assert_eq!(states, ["closed", "superseded", "superseded"], "{listed:?}");
    let rows = desk.run(&["list", "--json", "--active"]).json();
    assert_eq!(rows.as_array().unwrap().len(), 1);
    assert_eq!(rows[0]["issued-by"], "anna");
    assert!(desk.run(&["list", "--account", "Nobody"]).out.contains("No files match"));

    let exported = desk.run(&["export", &id, "--sequence", "2", "--out", "again.i3lic"]);
    assert_eq!((exported.code, desk.read("again.i3lic")), (0, desk.read("2.i3lic")));
    desk.run(&["export", &id, "--sequence", "9", "--out", "nine.i3lic"]).refuses(5, &["has no file 9"]);
}

#[test]
fn a_typed_host_id_needs_the_request_with_the_receipt() {
    let desk = Desk::furnished();
    let machine = Machine::new("typed", 5);
    let issued = desk.run(&[
        "issue",
        "--account",
        "A",
        "--site",
        "S",
        "--host",
        &machine.host_id().to_string(),
        "--machine-name",
        "by hand",
        "--grant",
        "I3_SESSION_CALL=2",
        "--out",
        "1.i3lic",
    ]);
    assert!(issued.out.contains("by hand, 3 of 5"), "{issued:?}");
    assert_eq!(desk.run(&["deactivate", &license_of(&desk, "1.i3lic"), "--out", "2.i3lic"]).code, 0);
    desk.write("typed.receipt", &machine.receipt(&desk.read("2.i3lic")));
    desk.write("typed.request", &machine.request());
    desk.run(&["receipt", "typed.receipt"]).refuses(3, &["--request"]);
    assert_eq!(desk.run(&["receipt", "typed.receipt", "--request", "typed.request"]).code, 0);
}

#[test]
fn a_pair_is_closed_by_both_receipts() {
    let desk = Desk::furnished();
    let pair = ["--switchover-request", "b.request", "--grant", "I3_SESSION_CALL=2", "--out", "1.i3lic"];
    assert_eq!(desk.issue(&pair).code, 0);
    let id = license_of(&desk, "1.i3lic");
    assert_eq!(desk.run(&["deactivate", &id, "--out", "2.i3lic"]).code, 0);
    for (name, seed) in [("cic-01", 1), ("cic-02", 2), ("cic-03", 3)] {
        desk.write(&format!("{name}.receipt"), &Machine::new(name, seed).receipt(&desk.read("2.i3lic")));
    }
    desk.write("c.request", &Machine::new("cic-03", 3).request());
    let state = || desk.run(&["list", "--json"]).json()[0]["state"].as_str().unwrap().to_owned();
    assert_eq!(state(), "closing");
    let first = desk.run(&["receipt", "cic-01.receipt"]);
    assert!(first.out.contains("1 of 2 received"), "{first:?}");
    assert_eq!(desk.run(&["receipt", "cic-01.receipt", "--json"]).json()["received"], 1);
    assert_eq!(state(), "1 of 2 received");
    // A machine whose key was lost: somebody vouches for it.
    desk.run(&["receipt", "cic-03.receipt", "--request", "c.request"]).refuses(3, &["nothing was recorded"]);
    assert_eq!(state(), "1 of 2 received");
    assert_eq!(desk.run(&["receipt", "cic-03.receipt", "--any-installation"]).code, 0);
    assert_eq!(state(), "closed");
    assert_eq!(desk.run(&["receipt", "cic-02.receipt", "--json"]).json()["new"], true);
}

#[test]
fn every_wrong_argument_is_told_at_once() {
    let desk = Desk::furnished();
    let refused = desk.run(&[
        "issue",
        "--account",
        "",
        "--site",
        "x ",
        "--level",
        "prod",
        "--model",
        "rent",
        "--kind",
        "extra",
        "--part",
        "AL04=x",
        "--grant",
        "FOO",
        "--grant",
        "I3_SESSION_CALL=-1",
        "--grant",
        "I3_SESSION_FAX=+1",
        "--host",
        "abc",
        "--need",
        "9x",
        "--not-after",
        "2027-13-01",
        "--versions",
        "4",
        "--supersedes",
        "nobody",
    ]);
    let options = [
        "--account",
        "--site",
        "--level",
        "--model",
        "--kind",
        "--part",
        "--grant",
        "--host",
        "--need",
        "--not-after",
        "--versions",
        "--supersedes",
    ];
    refused.refuses(2, &options);
    assert_eq!(refused.err.lines().count(), 1 + 14, "{}", refused.err);
    assert!(desk.run(&["list"]).out.contains("No files were issued yet"));
}

#[test]
fn every_fault_of_an_order_is_told_at_once() {
    let desk = Desk::furnished();
    let order = ["issue", "--account", "A", "--site", "S"];
    let run = |more: &[&str]| desk.run(&[&order[..], more].concat());
    run(&["--part", "SW-001-4.0-AL99=1", "--grant", "I3_NONE=1", "--part", "SW-001-4.0-AL01=0,0"]).refuses(
        3,
        &[
            "part SW-001-4.0-AL99 is not in the catalog of CIC",
            "key I3_NONE is not in the catalog",
            "neither assigned nor pooled",
            "no primary host",
            "licensor catalog show",
        ],
    );
    run(&["--level", "evaluation", "--kind", "add-on", "--request", "a.request"])
        .refuses(3, &["an evaluation cannot be an add-on"]);
    run(&["--grant", "I3_SESSION_CALL=0", "--request", "a.request"]).refuses(3, &["0 units"]);
    run(&["--grant", "I3_SESSION_CALL=4294967296", "--request", "a.request"]).refuses(2, &["4294967295"]);
    run(&["--catalog", "nowhere.toml"]).refuses(5, &["no built-in catalog", "`CIC`"]);
    run(&["--partner", "--request", "a.request", "--server", "basic"]).refuses(2, &["goes with a --level"]);
    run(&["--request", "missing.request"]).refuses(2, &["missing.request"]);
    desk.run(&["issue", "--license-id", "7f3c9a52-1f0e-4b1e-9c55-0d2f6a3b8e41", "--request", "a.request"])
        .refuses(5, &["not in the records"]);
}

#[test]
fn a_file_that_is_there_is_not_written_over() {
    let desk = Desk::furnished();
    desk.write("there.i3lic", "mine");
    desk.issue(&["--grant", "I3_SESSION_CALL=2", "--out", "there.i3lic"]).refuses(1, &["there already"]);
    assert_eq!(desk.read("there.i3lic"), b"mine");
    assert!(desk.run(&["list"]).out.contains("No files"));
}

#[test]
fn catalogs_are_listed_shown_and_checked() {
    let desk = Desk::empty();
    let listed = desk.run(&["catalog", "list"]);
    assert!(listed.out.contains("CIC") && listed.out.contains("Media Server"), "{listed:?}");
    let shown = desk.run(&["catalog", "show", "cic"]);
    for line in [
        "  SW-001-4.0-AL04  Contact Center Level 1",
        "    1 assigned = I3_ACCESS_ACD_MEDIA_1 1, I3_ACCESS_CLIENT 1, I3_LICENSE_BASIC_STATION 1",
        "Keys: session",
    ] {
        assert!(shown.out.lines().any(|shown| shown == line), "{line} in {}", shown.out);
    }
    let json = desk.run(&["catalog", "show", "--json"]).json();
    assert_eq!(json["parts"]["SW-001-4.0-AL04"]["pooled"]["I3_ACCESS_CLIENT_CONCURRENT"], 1);

    desk.write("good.toml", licensor::catalog::PURECONNECT);
    assert!(desk.run(&["catalog", "check", "good.toml"]).out.contains("82 keys, 7 parts"));
    let bad = licensor::catalog::PURECONNECT
        .replace("kind = \"engine\"", "kind = \"engin\"")
        .replace("version = 1\n", "version = 0\n");
    desk.write("bad.toml", &bad);
    desk.run(&["catalog", "check", "bad.toml"])
        .refuses(3, &["bad.toml has 4 faults", "line 10: version", "`engin` is not one of"]);
    desk.run(&["catalog", "check", "missing.toml"]).refuses(5, &["missing.toml"]);
}

#[test]
fn what_is_no_signed_file_is_told_without_waiting_for_it() {
    let desk = Desk::furnished();
    desk.write("large.i3lic", &"x".repeat(200_000));
    desk.run(&["show", "large.i3lic"]).refuses(3, &["large.i3lic is larger than 128 KiB"]);
    let pipe = std::process::Command::new("mkfifo").arg(desk.path("pipe.i3lic")).status().unwrap();
    assert!(pipe.success());
    desk.run(&["show", "pipe.i3lic"]).refuses(1, &["pipe.i3lic", "not a file"]);
    desk.run(&["catalog", "check", "pipe.i3lic"]).refuses(1, &["pipe.i3lic"]);
    desk.issue(&["--switchover-request", "pipe.i3lic"]).refuses(2, &["pipe.i3lic", "not a file"]);
}

#[test]
fn a_reader_that_stops_reading_is_no_fault() {
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_licensor"))
        .args(["catalog", "show"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    // More than a pipe holds may not be printed; the pipe is closed before the program starts to print, or soon after.
    drop(child.stdout.take());
    let ended = child.wait_with_output().unwrap();
    assert!(ended.status.success() && ended.stderr.is_empty(), "{ended:?}");
}

#[test]
fn help_tells_the_exit_codes() {
    let help = Desk::empty().run(&["--help"]);
    assert!(help.code == 0 && help.out.contains("Exit codes: 0 done"), "{help:?}");
    assert_eq!(Desk::empty().run(&["isue"]).code, 2);
}

#[test]
fn the_switchover_server_can_be_named_later() {
    let desk = Desk::furnished();
    let first = desk.issue(&[
        "--server",
        "advanced",
        "--part",
        "SW-001-4.0-AL04=5,25",
        "--grant",
        "I3_CLIENT_ACCESS=3",
        "--grant",
        "I3_SESSION_CALL=100",
        "--maintenance-end",
        "2027-12-31",
        "--out",
        "1.i3lic",
    ]);
    assert_eq!(first.code, 0, "{first:?}");
    let id = license_of(&desk, "1.i3lic");
    let reissue = |more: &[&str]| desk.run(&[&["issue", "--json", "--license-id", &id], more].concat()).json();
    let (one, two) = (
        desk.run(&["show", "--json", "1.i3lic"]).json(),
        reissue(&["--switchover-request", "b.request", "--switchover-server", "advanced"]),
    );
    assert_eq!(two["sequence"], 2);
    for same in ["account", "versions", "not-after", "maintenance-end", "parts", "level", "model"] {
        assert_eq!(one[same], two[same], "{same}");
    }
    assert_eq!(two["hosts"].as_array().unwrap().len(), 2);
    let mut expected = one["grants"].clone();
    expected["I3_LICENSE_CIC_SWITCHOVER_ADVANCED"] = 1.into();
    expected["I3_FEATURE_SWITCHOVER"] = 1.into();
    assert_eq!(two["grants"], expected);

    // Once more, with nothing said and with one machine replaced: nothing is counted twice.
    let three = reissue(&["--request", "b.request"]);
    assert_eq!((&three["grants"], &three["parts"]), (&two["grants"], &two["parts"]));
    assert_eq!(three["hosts"][0]["machine-name"], "cic-02");
    // What is granted is said whole.
    let four = reissue(&["--grant", "I3_SESSION_CALL=7"]);
    assert_eq!(four["grants"].as_object().unwrap().len(), 1);
    // With a level, all is given anew.
    let five = reissue(&["--level", "trial", "--request", "a.request", "--grant", "I3_SESSION_CALL=7"]);
    assert_eq!(
        (&five["level"], &five["maintenance-end"], &five["account"]),
        (&"trial".into(), &().into(), &"Example Ltd".into())
    );
    assert_eq!(reissue(&["--level", "evaluation", "--request", "a.request"])["level"], "evaluation");
    desk.run(&["issue", "--license-id", &id, "--request", "a.request"]).refuses(2, &["evaluation license", "--level"]);
}
