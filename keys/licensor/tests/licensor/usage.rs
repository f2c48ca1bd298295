//! `licensor usage` as a vendor runs it.

use std::fs;

use leasehold_keys::{activation::LicenseId, trust::Trust};

use crate::{
    support::{Desk, Ran, noon},
    usage_files::{CLIENT, MEDIA_1, Usg, Writer, john_smith, logoff, logon, present},
};

/// A desk that issued a license, and its ID.
fn desk() -> (Desk, LicenseId) {
    let desk = Desk::furnished();
    let issued = desk.issue(&["--part", "SW-001-4.0-AL04=5,25", "--json"]).json();
    let license = LicenseId(issued["license-id"].as_str().unwrap().parse().unwrap());
    (desk, license)
}

fn server(desk: &Desk, seed: u8, license: LicenseId) -> Writer {
    Writer::new(seed, license, &Trust::anchored(&desk.read("acme/root.i3root")).unwrap())
}

fn lay(desk: &Desk, folder: &str, file: &Usg) -> String {
    fs::create_dir_all(desk.path(folder)).unwrap();
    fs::write(desk.path(folder).join(&file.name), &file.bytes).unwrap();
    format!("{folder}/{}", file.name)
}

/// A command that tells what it found and ends with this code.
#[track_caller]
fn told(ran: &Ran, code: i32, words: &[&str]) {
    assert_eq!(ran.code, code, "{ran:?}");
    for word in words {
        assert!(ran.out.contains(word) || ran.err.contains(word), "`{word}` is not in {}{}", ran.out, ran.err);
    }
}

#[test]
fn a_day_is_opened_for_people_programs_and_spreadsheets() {
    let (desk, license) = desk();
    let mut server = server(&desk, 1, license);
    let path = lay(&desk, "in", &server.day(2, &john_smith()));
    let opened = desk.run(&["usage", "open", &path]);
    assert_eq!(opened.code, 0, "{opened:?}");
    let expected = format!(
        "\
{path}
  license       {license}: Example Ltd, site Cologne
  installation  {installation}, cic-01, primary
  segment       1, begun by first
  time          2026-11-02T00:00:00Z UTC, closed 2026-11-03T00:00:00Z
  users         by name

AT (UTC)             EVENT   USER        SESSIONS  COUNTS AS        KEYS
2026-11-02 08:00:00  logon   john.smith  1         Agent, Recorder  I3_ACCESS_ACD_MEDIA_1 I3_ACCESS_CLIENT I3_ACCESS_RECORDER
2026-11-02 08:30:00  logon   john.smith  2         Agent, Recorder  I3_ACCESS_ACD_MEDIA_1 I3_ACCESS_CLIENT I3_ACCESS_RECORDER
2026-11-02 15:00:00  logoff  john.smith  1         Agent, Recorder  I3_ACCESS_ACD_MEDIA_1 I3_ACCESS_CLIENT I3_ACCESS_RECORDER
2026-11-02 15:30:00  logon   john.smith  2         Agent, Recorder  I3_ACCESS_ACD_MEDIA_1 I3_ACCESS_CLIENT I3_ACCESS_RECORDER
2026-11-02 16:00:00  logoff  john.smith  1         Agent, Recorder  I3_ACCESS_ACD_MEDIA_1 I3_ACCESS_CLIENT I3_ACCESS_RECORDER
2026-11-02 16:30:00  logoff  john.smith  0         Agent, Recorder  I3_ACCESS_ACD_MEDIA_1 I3_ACCESS_CLIENT I3_ACCESS_RECORDER

Summary: 3 logons, 3 logoffs
  CATEGORY       USERS  MOST AT ONCE  FIRST AT (UTC)       USER-HOURS
  Business User  0      0                                  0.00
  Agent          1      1             2026-11-02 08:00:00  8.50
  Recorder       1      1             2026-11-02 08:00:00  8.50
  (anyone)       1      1             2026-11-02 08:00:00  8.50
",
        installation = server.installation(),
    );
    assert_eq!(opened.out, expected);

    let csv = desk.run(&["usage", "open", "in", "--format", "csv"]);
    let lines: Vec<&str> = csv.out.lines().collect();
    assert_eq!(lines[0], "file,license,installation,segment,record,event,at,user,sessions,keys,remark");
    let counters: Vec<&str> = lines[1..].iter().map(|line| line.split(',').nth(8).unwrap()).collect();
    assert_eq!(counters, ["1", "2", "1", "2", "1", "0"]);
    assert!(lines[1].ends_with(
        ",1,1,logon,2026-11-02T08:00:00.000Z,john.smith,1,I3_ACCESS_ACD_MEDIA_1;I3_ACCESS_CLIENT;I3_ACCESS_RECORDER,"
    ));

    let json = desk.run(&["usage", "open", &path, "--json"]).json();
    let items = json[0]["items"].as_array().unwrap();
    assert_eq!(items.len(), 6);
    assert_eq!((&items[5]["event"], &items[5]["sessions"]), (&"logoff".into(), &0.into()));
    assert_eq!(json[0]["end"]["closed"], "2026-11-03T00:00:00.000Z");
    assert_eq!(json[0]["damage"], serde_json::Value::Null);
    assert_eq!(desk.run(&["usage", "open", &path, "--format", "json"]).json(), json);
}

#[test]
fn names_do_not_break_the_columns_of_spreadsheets() {
    let (desk, license) = desk();
    let odd = "O'Neil, \"Pat\" 日本";
    let items = [logon("2026-11-02T08:00:00Z", odd, 1, &[CLIENT]), logoff("2026-11-02T09:00:00Z", odd, 0, &[CLIENT])];
    let path = lay(&desk, "in", &server(&desk, 1, license).day(2, &items));
    let csv = desk.run(&["usage", "open", &path, "--format", "csv"]);
    assert!(csv.out.contains(",\"O'Neil, \"\"Pat\"\" 日本\",1,"), "{csv:?}");
}

#[test]
fn what_is_whole_of_a_damaged_file_is_shown_and_the_damage_told() {
    let (desk, license) = desk();
    let mut server = server(&desk, 1, license);
    let mut file = server.day(2, &john_smith());
    let cut = file.bytes.len() - 20;
    file.bytes.truncate(cut);
    let torn = lay(&desk, "torn", &file);
    // A torn tail is no damage yet: the server copies it again.
    told(&desk.run(&["usage", "open", &torn]), 0, &["torn in record 2", "8.50"]);
    let at = file.bytes.len() - 150;
    file.bytes[at] ^= 1;
    let edited = lay(&desk, "edited", &file);
    told(&desk.run(&["usage", "open", &edited, "--json"]), 3, &["checksum", "\"items\": []"]);
    told(&desk.run(&["usage", "open", "a.request"]), 3, &["does not begin as a usage file does"]);
    told(&desk.run(&["usage", "open", "nothing.usg"]), 5, &["nothing.usg"]);
    fs::create_dir(desk.path("empty")).unwrap();
    told(&desk.run(&["usage", "open", "empty"]), 5, &["there is no usage file (*.usg) in empty"]);
    told(&desk.run(&["--dir", "nowhere", "usage", "open", &torn]), 5, &["no licensor's folder"]);
    // Without its usage key a licensor reads nothing.
    let key = fs::read_dir(desk.path("acme/keys"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.to_string_lossy().contains("usage-"))
        .unwrap();
    fs::remove_file(key).unwrap();
    told(&desk.run(&["usage", "open", &torn]), 4, &["no private usage key", "backup"]);
}

#[test]
fn a_file_for_another_licensor_says_so() {
    let (desk, license) = desk();
    assert_eq!(desk.run(&["--dir", "other", "init", "--name", "other.example", "--no-passphrase"]).code, 0);
    let trust = Trust::anchored(&desk.read("other/root.i3root")).unwrap();
    let path = lay(&desk, "in", &Writer::new(1, license, &trust).day(2, &john_smith()));
    let opened = desk.run(&["usage", "open", &path]);
    told(&opened, 3, &["sealed to the usage keys", "meant for another licensor"]);
    assert!(opened.out.contains("NOT OPENED. The file is sealed to"), "{opened:?}");
    assert!(!opened.out.contains("Nobody") && !opened.out.contains("Summary"), "{opened:?}");
    let bill = desk.run(&["usage", "bill", "--period", "2026-11", "--time-zone", "UTC", &path]);
    told(&bill, 3, &["Days damaged: 1", "segment 1", "Not read: ", "1 file could not be read to its end"]);
}

#[test]
fn sealed_keys_ask_for_the_passphrase() {
    let desk = Desk::empty();
    desk.write("pass", "correct horse\n");
    let init = [
        "init",
        "--dir",
        "acme",
        "--name",
        "acme.example",
        "--passphrase-file",
        "pass",
        "--root-keys",
        "1",
        "--threshold",
        "1",
    ];
    assert_eq!(desk.run(&init).code, 0);
    let trust = Trust::anchored(&desk.read("acme/root.i3root")).unwrap();
    let license = LicenseId(uuid::Uuid::from_u128(9));
    let path = lay(&desk, "in", &Writer::new(1, license, &trust).day(2, &john_smith()));
    told(&desk.run(&["usage", "open", &path]), 4, &["is sealed with a passphrase", "--passphrase-file"]);
    told(&desk.run(&["usage", "receipt", &path]), 4, &["is sealed with a passphrase"]);
    told(&desk.run(&["usage", "open", &path, "--passphrase-file", "pass"]), 0, &["not in the records", "8.50"]);
    // Verifying takes no key.
    assert_eq!(desk.run(&["usage", "verify", &path]).code, 0);
}

#[test]
fn verify_tells_what_is_missing_damaged_or_changed() {
    let (desk, license) = desk();
    let mut server = server(&desk, 1, license);
    let files: Vec<Usg> =
        (2..7).map(|day| server.day(day, &[logon(&format!("2026-11-0{day}T08:00:00Z"), "a", 1, &[CLIENT])])).collect();
    for file in &files {
        lay(&desk, "all", file);
    }
    let good = desk.run(&["usage", "verify", "all", "--whole"]);
    told(&good, 0, &["1 to 5", "closed", "Nothing is missing, damaged or changed."]);
    for outside in ["nowhere", "acme"] {
        let json = desk.run(&["--dir", outside, "usage", "verify", "all", "--json"]).json();
        assert_eq!(json["installations"][0]["files"], 5);
        assert_eq!(json["findings"].as_array().unwrap().len(), 0);
    }

    // A later part alone is fine, unless all is asked for.
    for file in &files[2..] {
        lay(&desk, "late", file);
    }
    assert_eq!(desk.run(&["usage", "verify", "late"]).code, 0);
    told(
        &desk.run(&["usage", "verify", "late", "--whole"]),
        3,
        &["Segments 1 to 2", "missing", "1 finding, told above"],
    );

    // One gone, one edited.
    fs::remove_file(desk.path("all").join(&files[1].name)).unwrap();
    let mut edited = files[3].clone();
    let middle = edited.bytes.len() - 130;
    edited.bytes[middle] ^= 4;
    lay(&desk, "all", &edited);
    let found = desk.run(&["usage", "verify", "all"]);
    told(&found, 3, &["Segment 2 of the installation", "is missing", &files[3].name, "2 findings, told above"]);
    let json = desk.run(&["usage", "verify", "all", "--json"]);
    let findings: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(findings["findings"][0]["reason"], "missing-segments");
    assert_eq!(findings["findings"][1]["reason"], "damaged");

    // What was answered for may be gone, and must not be another.
    lay(&desk, "two", &files[1]);
    assert_eq!(desk.run(&["usage", "receipt", "two"]).code, 0);
    lay(&desk, "all", &files[3]);
    assert_eq!(desk.run(&["usage", "verify", "all"]).code, 0);
    assert_eq!(desk.run(&["--dir", "nowhere", "usage", "verify", "all"]).code, 3, "without the records it is missing");
}

#[test]
fn receipts_are_written_beside_the_files() {
    let (desk, license) = desk();
    let mut server = server(&desk, 1, license);
    let (first, mut clone) = (server.day(2, &john_smith()), server.copy());
    let open = server.file("2026-11-03T00:00:00Z", None, &[]);
    let path = lay(&desk, "in", &first);
    let open = lay(&desk, "in", &open);
    let ran = desk.run(&["usage", "receipt", "in"]);
    told(&ran, 3, &["1 file is not answered for", &format!("{open}: NO receipt: the file is not closed yet")]);
    assert!(!desk.path(&format!("{open}.receipt")).exists());
    let receipt = desk.read(&format!("{path}.receipt"));
    let trust = Trust::anchored(&desk.read("acme/root.i3root")).unwrap();
    // The program's clock is the machine's.
    let signed = trust.usage_receipt_accepted_before(&receipt, noon()).unwrap();
    signed.fits(first.name.parse().unwrap(), &first.bytes).unwrap();
    told(&desk.run(&["verify", &format!("{path}.receipt")]), 0, &["Usage receipt", &first.name, "receipt-20"]);
    let again = desk.run(&["usage", "receipt", &path]);
    told(&again, 0, &["received before"]);
    assert_eq!(desk.read(&format!("{path}.receipt")), receipt);

    // A clone's file of the same segment.
    let second = lay(&desk, "second", &clone.day(3, &[]));
    assert_eq!(desk.run(&["usage", "receipt", &second]).code, 0);
    let mut third = Writer::new(1, license, &trust);
    third.day(2, &john_smith());
    let fork = lay(&desk, "fork", &third.day(3, &[logon("2026-11-03T08:00:00Z", "eve", 1, &[CLIENT])]));
    let refused = desk.run(&["usage", "receipt", &fork, "--json"]);
    assert_eq!(refused.code, 3);
    let rows: serde_json::Value = serde_json::from_str(&refused.out).unwrap();
    assert_eq!(rows[0]["refused"], "fork");
    let listed = desk.run(&["usage", "list"]);
    told(&listed, 0, &["Example Ltd", "cic-01", "1 to 2", "sent another file of its segment 2", "set aside"]);
    let json = desk.run(&["usage", "list", "--json"]).json();
    assert_eq!(json["installations"][0]["files"].as_array().unwrap().len(), 2);
    assert_eq!(json["flags"][0]["flag"], "fork");
    let nobody = uuid::Uuid::from_u128(5).to_string();
    told(&desk.run(&["usage", "list", "--license", &nobody]), 5, &["is not in the records"]);
    let unheard = desk.issue(&["--part", "SW-001-4.0-AL04=5,25", "--json"]).json();
    let unheard = unheard["license-id"].as_str().unwrap();
    told(&desk.run(&["usage", "list", "--license", unheard]), 0, &["No usage files were received yet."]);
}

#[test]
fn a_period_is_billed_from_what_was_received() {
    let (desk, license) = desk();
    let mut server = server(&desk, 1, license);
    let jane = [CLIENT, MEDIA_1, "I3_ACCESS_ACD_MEDIA_3_PLUS", "I3_ACCESS_FEEDBACK"];
    // Logged on before the period, which begins at 23:00 UTC in Berlin.
    lay(
        &desk,
        "in",
        &server.file(
            "2026-10-27T00:00:00Z",
            Some("2026-10-28T00:00:00Z"),
            &[logon("2026-10-27T22:00:00Z", "tina", 1, &[CLIENT])],
        ),
    );
    lay(
        &desk,
        "in",
        &server.file(
            "2026-10-28T00:00:00Z",
            Some("2026-10-29T00:00:00Z"),
            &[
                present("2026-10-27T22:00:00Z", "tina", 1, &[CLIENT]),
                logoff("2026-10-28T01:00:00Z", "tina", 0, &[CLIENT]),
                logon("2026-10-28T09:00:00Z", "sam", 1, &[CLIENT, MEDIA_1]),
                logon("2026-10-28T10:00:00Z", "jane", 1, &jane),
                logoff("2026-10-28T11:00:00Z", "jane", 0, &jane),
                logoff("2026-10-28T11:30:00Z", "sam", 0, &[CLIENT, MEDIA_1, "NOBODY_KNOWS"]),
                logon("2026-10-28T12:00:00Z", "max", 1, &["NOBODY_KNOWS"]),
                logoff("2026-10-28T12:30:00Z", "max", 0, &["NOBODY_KNOWS"]),
            ],
        ),
    );
    let lost = server.file("2026-10-29T00:00:00Z", Some("2026-10-31T00:00:00Z"), &[]);
    lay(&desk, "in", &server.file("2026-10-31T00:00:00Z", Some("2026-11-28T00:00:00Z"), &[]));
    let arguments = ["usage", "bill", "--period", "2026-11", "--time-zone", "Europe/Berlin"];
    told(&desk.run(&arguments), 5, &["no usage files were received"]);
    assert_eq!(desk.run(&["usage", "receipt", "in"]).code, 0);
    let billed = desk.run(&arguments);
    assert_eq!(billed.code, 0, "{billed:?}");
    let installation = server.installation();
    let so_far = if billed.out.contains("SO FAR") { "; SO FAR, the period has not ended" } else { "" };
    let expected = format!(
        "\
Period 2026-11: 2026-10-28 to 2026-11-27, Europe/Berlin
  license  {license}: Example Ltd, site Cologne
  files    due before 2026-12-04{so_far}

CATEGORY       USERS  MOST AT ONCE  FIRST AT             USER-HOURS
Business User  1      1             2026-10-28 00:00:00  2.00
Agent          2      2             2026-10-28 11:00:00  3.50
Feedback       1      1             2026-10-28 11:00:00  1.00
Multi Channel  1      1             2026-10-28 11:00:00  1.00
(anyone)       4      2             2026-10-28 11:00:00  6.00

INSTALLATION                      MACHINE  FILES  SEGMENTS  FROM                 UNTIL
{installation}  cic-01   3      1 to 4    2026-10-27 01:00:00  2026-11-28 01:00:00

Days missing: 3, 2 of them in part
  - 2026-10-29 to 2026-10-31, not known from 2026-10-29 01:00 to 2026-10-31 01:00: segment 3 of {installation}
Days damaged: none
Not billed, since neither the license's files nor a catalog knows them: NOBODY_KNOWS
"
    );
    assert_eq!(billed.out, expected);

    let json = desk.run(&[&arguments[..], &["--json"]].concat()).json();
    assert_eq!(json["bills"][0]["days-missing-in-part"], serde_json::json!(["2026-10-29", "2026-10-31"]));
    let lack = &json["bills"][0]["lacks"][0];
    assert_eq!(
        (&lack["from"], &lack["until"], &lack["in-part"]),
        (&"2026-10-29T00:00:00.000Z".into(), &"2026-10-31T00:00:00.000Z".into(), &true.into())
    );
    // A period of which nobody can know anything.
    let ahead = desk.run(&["usage", "bill", "--period", "2099-11", "--time-zone", "Europe/Berlin"]);
    told(&ahead, 3, &["the period 2099-11 begins on 2099-10-28 only"]);

    // The lost file turns up.
    lay(&desk, "in", &lost);
    let json = desk.run(&[&arguments[..], &["in", "--json", "--license", &license.to_string()]].concat()).json();
    let bill = &json["bills"][0];
    assert_eq!(bill["days-missing"].as_array().unwrap().len(), 0);
    assert_eq!(
        (&bill["from"], &bill["until"]),
        (&"2026-10-27T23:00:00.000Z".into(), &"2026-11-27T23:00:00.000Z".into())
    );
    assert_eq!(bill["due"], "2026-12-03T23:00:00.000Z");
    assert_eq!((&bill["categories"]["Agent"]["users"], &bill["categories"]["Agent"]["peak"]), (&2.into(), &2.into()));
    assert_eq!(bill["categories"]["Agent"]["user-hours"], 3.5);
    assert_eq!(json["findings"].as_array().unwrap().len(), 0);
    // The period before has the hour from 22:00 to 23:00 UTC, and all of its earlier days before the first file.
    let before =
        desk.run(&["usage", "bill", "--period", "2026-10", "--time-zone", "Europe/Berlin", "in", "--json"]).json();
    assert_eq!(before["bills"][0]["categories"]["Business User"]["user-hours"], 1.0);
    let nobody = uuid::Uuid::from_u128(5).to_string();
    told(&desk.run(&[&arguments[..], &["in", "--license", &nobody]].concat()), 5, &["nothing to bill"]);
}

#[test]
fn a_bundle_is_read_as_its_files_are() {
    let (desk, license) = desk();
    let mut server = server(&desk, 1, license);
    let files: Vec<Usg> = vec![server.day(2, &john_smith()), server.day(3, &[])];
    let mut tar = tar::Builder::new(fs::File::create(desk.path("november.tar")).unwrap());
    let mut add = |name: &str, bytes: &[u8]| {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, bytes).unwrap();
    };
    add("manifest.json", b"{}");
    for file in &files {
        add(&file.name, &file.bytes);
        lay(&desk, "in", file);
    }
    tar.finish().unwrap();
    let same = |arguments: &[&str]| {
        let of = |from: &str| desk.run(&[arguments, &[from]].concat());
        let (bundle, folder) = (of("november.tar"), of("in"));
        assert_eq!(bundle.code, 0, "{bundle:?}");
        assert_eq!(bundle.out.replace("november.tar/", "in/"), folder.out);
    };
    same(&["usage", "open"]);
    same(&["usage", "open", "--json"]);
    same(&["usage", "verify", "--whole", "--json"]);
    same(&["usage", "bill", "--period", "2026-11", "--time-zone", "UTC", "--json"]);
    let receipts = desk.run(&["usage", "receipt", "november.tar"]);
    told(&receipts, 0, &[&format!("november.tar/{}: receipt in {}.receipt", files[0].name, files[0].name)]);
    assert!(files.iter().all(|file| desk.path(&format!("{}.receipt", file.name)).is_file()));
    // One that breaks off, one that is none, one with nothing in it.
    let whole = fs::read(desk.path("november.tar")).unwrap();
    fs::write(desk.path("half.tar"), &whole[..1_600]).unwrap();
    let half = desk.run(&["usage", "verify", "half.tar"]);
    assert!(half.code != 0 && half.err.contains("half.tar"), "{half:?}");
    desk.write("letter.tar", &"Dear licensor, ".repeat(99));
    assert_ne!(desk.run(&["usage", "verify", "letter.tar"]).code, 0);
    fs::write(desk.path("empty.tar"), [0; 1_024]).unwrap();
    told(&desk.run(&["usage", "verify", "empty.tar"]), 5, &["there is no usage file (*.usg) in empty.tar"]);
}

#[test]
fn every_wrong_argument_of_a_bill_is_told_at_once() {
    let (desk, license) = desk();
    let path = lay(&desk, "in", &server(&desk, 1, license).day(2, &[]));
    let wrong = ["usage", "bill", "--period", "November", "--time-zone", "Berlin", "--license", "x", &path];
    desk.run(&wrong)
        .refuses(2, &["--period: `November`", "2026-11", "--time-zone: `Berlin`", "Europe/Berlin", "--license: `x`"]);
}

#[test]
fn two_files_of_one_segment_are_told_and_the_one_answered_for_is_billed() {
    let (desk, license) = desk();
    let mut honest = server(&desk, 1, license);
    let mut clone = honest.copy();
    let good = lay(&desk, "good", &honest.day(2, &john_smith()));
    lay(&desk, "bad", &clone.day(2, &[]));
    assert_eq!(desk.run(&["usage", "receipt", &good]).code, 0);
    let billed = desk.run(&["usage", "bill", "--period", "2026-11", "--time-zone", "UTC", "bad", "good"]);
    told(&billed, 0, &["Recorder       1", "8.50", "Findings", "both are segment 1"]);
}
