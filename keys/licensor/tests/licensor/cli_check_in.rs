//! `licensor check-in`, `account`, `time-note` and `serve` as a vendor runs them.

use leasehold_keys::{
    activation::LicenseId,
    check_in::{CheckInAnswer, CheckInRequest, CheckInStanding, ClockEvidence, Nonce},
    digest::Sha256,
    time::WallTime,
    trust::{Trust, Verified},
};

use crate::support::{Desk, Machine, label};

/// The moment at which the program runs, near enough for keys that last years.
fn today() -> WallTime {
    let desk = Desk::furnished();
    let said = desk.run(&["time-note", "--out", "now.note", "--json"]).json();
    said["time"].as_str().unwrap().parse().unwrap()
}

/// A site off the network.
struct Site {
    machine: Machine,
    license: LicenseId,
    file: Sha256,
    trust: Trust,
    now: WallTime,
    counter: u64,
    previous: Option<Sha256>,
}

impl Site {
    fn of(desk: &Desk, license: &str, seed: u8) -> Self {
        Self {
            machine: Machine::new("cic-01", seed),
            license: LicenseId(license.parse().unwrap()),
            file: Sha256::of(&desk.read(&format!("acme/issued/{license}-1.i3lic"))),
            trust: Trust::anchored(&desk.read("acme/root.i3root")).unwrap(),
            now: today(),
            counter: 0,
            previous: None,
        }
    }

    fn request(&mut self, desk: &Desk, name: &str) -> Verified<CheckInRequest> {
        self.counter += 1;
        self.now = self.now.plus_ms(1_000);
        let clock =
            ClockEvidence { wall: self.now, roll_backs: 0, last_roll_back_ms: 0, unconfirmed_ms: 0, withdrawn: 0 };
        let request = CheckInRequest {
            created: self.now,
            nonce: Nonce::random().unwrap(),
            license_id: self.license,
            sequence: 1,
            file: self.file,
            root_version: 1,
            role: None,
            installation: self.machine.key().public(),
            host_id: self.machine.host_id(),
            counter: self.counter,
            previous_answer: self.previous,
            usage_head: None,
            fencing: 0,
            epoch: 1,
            boot_id: label("boot"),
            version: label("0.1.0"),
            clock,
            witness: Vec::new(),
        };
        let request = request.sign(self.machine.key()).unwrap();
        desk.write(name, std::str::from_utf8(request.bytes()).unwrap());
        request
    }

    fn answer(&mut self, desk: &Desk, name: &str, request: &Verified<CheckInRequest>) -> CheckInAnswer {
        let answer = self.trust.check_in_answer(&desk.read(name), today()).unwrap();
        answer.fits_request(request).unwrap();
        self.previous = Some(answer.sha256());
        answer.into_inner()
    }
}

fn licensed() -> (Desk, String) {
    let desk = Desk::furnished();
    let issued = desk.issue(&["--grant", "I3_SESSION_CALL=2", "--json"]).json();
    let license = issued["license-id"].as_str().unwrap().to_owned();
    (desk, license)
}

#[test]
fn a_request_by_file_is_answered_by_file() {
    let (desk, license) = licensed();
    let mut site = Site::of(&desk, &license, 1);
    assert!(desk.run(&["check-in", "list"]).out.contains("No installation has checked in yet"));
    let request = site.request(&desk, "1.request");
    let answered = desk.run(&["check-in", "answer", "--request", "1.request", "--out", "1.answer"]);
    assert!(answered.code == 0 && answered.out.contains("standing      good"), "{answered:?}");
    assert!(answered.out.contains("leasehold check-in --answer"), "{answered:?}");
    assert_eq!(site.answer(&desk, "1.answer", &request).standing, CheckInStanding::Good);
    // What is there is never written over, and the same request gets the same answer.
    desk.run(&["check-in", "answer", "--request", "1.request", "--out", "1.answer"]).refuses(1, &["there already"]);
    let again = desk.run(&["check-in", "answer", "--request", "1.request", "--out", "again.answer", "--json"]).json();
    assert_eq!((&again["new"], &again["standing"]), (&false.into(), &"good".into()));
    assert_eq!(desk.read("again.answer"), desk.read("1.answer"));
    let verified = desk.run(&["verify", "1.answer"]);
    assert!(verified.code == 0 && verified.out.contains("Verified: signed by acme.example/check-in-"), "{verified:?}");
    let verified = desk.run(&["verify", "1.request", "--json"]).json();
    assert_eq!((&verified["verified"], &verified["kind-of-note"]), (&true.into(), &"check-in-request".into()));

    // A newer file goes beside the answer.
    let again = ["issue", "--license-id", &license, "--request", "a.request", "--grant", "I3_SESSION_CALL=4"];
    assert_eq!(desk.run(&again).code, 0);
    let request = site.request(&desk, "2.request");
    std::fs::create_dir(desk.path("out")).unwrap();
    let answered = desk.run(&["check-in", "answer", "--request", "2.request", "--out", "out/2.answer"]);
    assert!(answered.out.contains("for its watched folder: out/"), "{answered:?}");
    assert_eq!(site.answer(&desk, "out/2.answer", &request).files.len(), 1);
    let name = format!("{license}-2.i3lic");
    assert_eq!(desk.read(&format!("out/{name}")), desk.read(&format!("acme/issued/{name}")));

    desk.run(&["check-in", "answer", "--request", "a.request", "--out", "x"]).refuses(3, &["host request"]);
    desk.run(&["check-in", "answer", "--request", "none", "--out", "x"]).refuses(5, &["none"]);
}

#[test]
fn duplicates_are_listed_shown_and_cleared() {
    let (desk, license) = licensed();
    desk.run(&["check-in", "show", &license]).refuses(5, &["no installation has checked in"]);
    desk.run(&["check-in", "show", "00000000-0000-4000-8000-000000000001"]).refuses(5, &["not in the records"]);
    let answer = |site: &mut Site, name: &str| {
        let request = site.request(&desk, name);
        let out = format!("{name}.answer");
        let answered = desk.run(&["check-in", "answer", "--request", name, "--out", &out]);
        assert_eq!(answered.code, 0, "{answered:?}");
        site.answer(&desk, &out, &request).standing
    };
    let (mut site, mut newcomer) = (Site::of(&desk, &license, 1), Site::of(&desk, &license, 9));
    assert_eq!(answer(&mut site, "a1"), CheckInStanding::Good);
    assert!(desk.run(&["check-in", "list", "--flagged"]).out.contains("nothing to look into"));
    assert_eq!(answer(&mut newcomer, "n1"), CheckInStanding::Duplicate);
    let id = newcomer.machine.key().id().to_string();
    let listed = desk.run(&["check-in", "list"]);
    assert!(listed.out.contains("Example Ltd") && listed.out.contains("cic-01"), "{listed:?}");
    assert!(listed.out.contains(&format!("licensor check-in clear {license} {id}")), "{listed:?}");
    let flagged = desk.run(&["check-in", "list", "--flagged", "--json"]).json();
    assert_eq!(flagged.as_array().unwrap().len(), 1);
    assert_eq!((&flagged[0]["duplicate"], &flagged[0]["answer"]), (&"crowded".into(), &"duplicate".into()));
    let shown = desk.run(&["check-in", "show", &license]);
    assert!(shown.out.contains("as one too many") && shown.out.contains("[clock]"), "{shown:?}");
    desk.run(&["check-in", "show", &license, "ffff"]).refuses(5, &["check-in list"]);

    let cleared = desk.run(&["check-in", "clear", &license, &id[..8]]);
    assert!(cleared.out.contains("is cleared") && cleared.out.contains("check-in forget"), "{cleared:?}");
    desk.run(&["check-in", "clear", &license]).refuses(2, &["several installations", "name one"]);
    let first = site.machine.key().id().to_string();
    assert!(desk.run(&["check-in", "forget", &license, &first]).out.contains("is forgotten"));
    assert_eq!(answer(&mut newcomer, "n2"), CheckInStanding::Good);
    assert_eq!(desk.run(&["check-in", "show", &license, "--json"]).json()["cleared"], true);
}

#[test]
fn accounts_are_put_on_hold_withdrawn_and_good_again() {
    let (desk, license) = licensed();
    let mut site = Site::of(&desk, &license, 1);
    assert!(desk.run(&["account", "list"]).out.contains("Every license is in good standing"));
    let held = desk.run(&["account", "hold", &license, "--reason", "Invoice 12 is open"]);
    assert!(held.code == 0 && held.out.contains("on hold"), "{held:?}");
    site.request(&desk, "1.request");
    desk.run(&["check-in", "answer", "--request", "1.request", "--out", "1.answer"])
        .refuses(3, &["Invoice 12 is open", "Settle it"]);
    let listed = desk.run(&["account", "list"]);
    assert!(listed.out.contains("Invoice 12") && listed.out.contains("anna"), "{listed:?}");

    let withdrawn =
        desk.run(&["account", "revoke", "--account", "Example Ltd", "--from", "2027-01-01", "--reason", "Ended"]);
    assert!(withdrawn.out.contains("withdrawn from 2027-01-01T00:00:00Z"), "{withdrawn:?}");
    let request = site.request(&desk, "2.request");
    let answered = desk.run(&["check-in", "answer", "--request", "2.request", "--out", "2.answer", "--json"]).json();
    assert_eq!((&answered["standing"], &answered["message"]), (&"revoked".into(), &"Ended".into()));
    let from = "2027-01-01T00:00:00Z".parse().unwrap();
    assert_eq!(site.answer(&desk, "2.answer", &request).standing, CheckInStanding::Revoked { from });
    let rows = desk.run(&["account", "list", "--json"]).json();
    assert_eq!((&rows[0]["state"], &rows[0]["from"]), (&"revoked".into(), &"2027-01-01T00:00:00Z".into()));
    assert_eq!(desk.run(&["account", "good", &license]).code, 0);
    assert!(desk.run(&["account", "list"]).out.contains("Every license"));

    desk.run(&["account", "hold", &license]).refuses(2, &["--reason"]);
    desk.run(&["account", "hold", "--reason", "x"]).refuses(2, &["LICENSE_ID"]);
    desk.run(&["account", "revoke", &license, "--from", "soon", "--reason", "x"]).refuses(2, &["--from", "soon"]);
    desk.run(&["account", "hold", &license, "--reason", "a\u{202e}b"]).refuses(2, &["--reason"]);
    desk.run(&["account", "good", "--account", "Nobody"]).refuses(5, &["Nobody", "licensor list"]);
    desk.run(&["account", "good", "00000000-0000-4000-8000-000000000001"]).refuses(5, &["not in the records"]);
}

#[test]
fn a_time_note_holds_for_any_site() {
    let desk = Desk::furnished();
    let trust = Trust::anchored(&desk.read("acme/root.i3root")).unwrap();
    let made = desk.run(&["time-note", "--out", "now.note"]);
    assert!(made.code == 0 && made.out.contains("holds for any site"), "{made:?}");
    let now = today();
    let note = trust.time_note(&desk.read("now.note"), now).unwrap();
    assert!((note.time.as_ms() - now.as_ms()).abs() < 600_000, "{} {now}", note.time);
    desk.run(&["time-note", "--out", "now.note"]).refuses(1, &["there already"]);
    let printed = desk.run(&["time-note"]);
    assert!(trust.time_note(printed.out.as_bytes(), now).is_ok(), "{printed:?}");
    let verified = desk.run(&["verify", "now.note"]);
    assert!(verified.out.contains("or later when this was signed"), "{verified:?}");
    assert!(desk.run(&["show", "now.note"]).out.contains("NOT VERIFIED"));
}

#[test]
fn without_the_check_in_key_nothing_is_answered_and_the_reason_is_told() {
    let (desk, license) = licensed();
    let mut site = Site::of(&desk, &license, 1);
    site.request(&desk, "1.request");
    let key = std::fs::read_dir(desk.path("acme/keys")).unwrap().map(|entry| entry.unwrap().path());
    let key = key.into_iter().find(|path| path.to_string_lossy().contains("check-in")).unwrap();
    std::fs::remove_file(key).unwrap();
    desk.run(&["check-in", "answer", "--request", "1.request", "--out", "1.answer"])
        .refuses(4, &["check-in key", "no check-in can be answered"]);
    desk.run(&["time-note"]).refuses(4, &["check-in key"]);
    assert!(!desk.path("1.answer").exists());
}
