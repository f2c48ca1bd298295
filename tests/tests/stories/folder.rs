//! The watched folder through the real file system: what is dropped in is accepted or refused, and says so (02).

use std::{fs, os::unix::fs::symlink};

use leasehold_keys::{activation::HostRole, note, request::HostRequest};
use leasehold_tests::{Ask, Daemon, Site, programs::leasehold, site::label};
use licensor::{
    order::{HostOrder, IssueOrder},
    vault::Protection,
    workshop::{CreateOptions, Workshop},
};

const CALLS: &str = "I3_SESSION_CALL";

/// A file that is dropped in is accepted, and its successor takes its place in one step.
#[tokio::test]
async fn a_dropped_file_counts_and_its_successor_replaces_it() {
    let site = Site::new();
    let daemon = Daemon::start(&site).await;
    let admin = daemon.admin().await;
    let first = site.issue(&site.order_of(&[(CALLS, 2)]));
    site.drop_in("Acme.I3Lic", first.note.as_bytes());
    daemon.logged(&["Accepted", "Acme.I3Lic"]).await;
    assert_eq!(admin.pool(CALLS).await.capacity, "2");

    let next = site.reissue(first.activation.license_id, &[(CALLS, 5)]);
    site.drop_in("acme-2.i3lic", next.note.as_bytes());
    daemon.logged(&["Accepted", "acme-2.i3lic"]).await;
    daemon.logged(&["Superseded", "Acme.I3Lic"]).await;
    assert_eq!(admin.pool(CALLS).await.capacity, "5", "it replaces and does not add up");
    let status = admin.status().await;
    let states: Vec<_> = status.folder.iter().map(|entry| (entry.name.as_str(), entry.state.as_str())).collect();
    assert_eq!(states, [("Acme.I3Lic", "superseded"), ("acme-2.i3lic", "accepted")]);
}

/// Swapped, torn, forged, for another host, rolled back, of another licensor, under an old key: each is refused in words
/// beside the file and in status, and live leases are untouched.
#[tokio::test]
async fn bad_files_are_refused_in_words_and_change_nothing() {
    let site = Site::new();
    let daemon = Daemon::start(&site).await;
    let admin = daemon.admin().await;
    let first = site.issue(&site.order_of(&[(CALLS, 3)]));
    let license = first.activation.license_id;
    let second = site.reissue(license, &[(CALLS, 5)]);
    site.drop_in("base.i3lic", second.note.as_bytes());
    daemon.logged(&["Accepted", "base.i3lic"]).await;
    let app = daemon.app("telephony").await;
    let lease = app.acquire(Ask::units(CALLS, 5)).await.unwrap();

    let forged = second.note.replace("units = 5", "units = 500").replace("count = 5", "count = 500");
    let forged = if forged == second.note { second.note.replacen(" = 5", " = 500", 1) } else { forged };
    assert_ne!(forged, second.note);
    let torn = &second.note[..second.note.len() / 2];

    // For another machine: a host ID with other facts.
    let elsewhere = Site::new();
    let other_host = {
        elsewhere.become_another_host();
        let theirs = Daemon::start(&elsewhere).await;
        let ran = leasehold(&elsewhere.socket(), ["request"]).done();
        theirs.stop().await;
        let request = HostRequest::verify(ran.out.as_bytes()).expect("a request note");
        let hosts = vec![HostOrder::requested(HostRole::Primary, &request)];
        site.issue(&IssueOrder { hosts, ..site.order_of(&[(CALLS, 50)]) })
    };
    // Of a licensor that this site does not know, with the same names.
    let stranger = {
        let dir = tempfile::tempdir().unwrap();
        let options = CreateOptions::new("tests.example", Protection::None);
        let mut workshop = Workshop::create(&dir.path().join("w"), &options, site.now()).unwrap();
        let order = site.order_of(&[(CALLS, 50)]);
        workshop.issue(&licensor::catalog::Catalog::pureconnect(), &order, site.now()).unwrap().note
    };
    let root = site.licensor(|workshop| workshop.root_note().to_owned());

    let cases: [(&str, &[u8], &str); 8] = [
        ("torn.i3lic", torn.as_bytes(), ""),
        ("forged.i3lic", forged.as_bytes(), "sign"),
        ("other-host.i3lic", other_host.note.as_bytes(), "facts are the same here"),
        ("stranger.i3lic", stranger.as_bytes(), "another key"),
        ("root.i3lic", root.as_bytes(), ""),
        ("empty.i3lic", b"", ""),
        ("crlf.i3lic", b"format = \"leasehold/activation/1\"\r\n\r\n", ""),
        ("binary.i3lic", &[0xff, 0xfe, 0x00, 0x01], ""),
    ];
    for (name, bytes, words) in cases {
        site.drop_in(name, bytes);
        let message = daemon.logged(&["Refused: ", name]).await;
        assert!(message.contains(words), "{name}: {message}");
        let note = site.rejection(name).unwrap_or_else(|| panic!("no note beside {name}"));
        assert!(note.contains(name) && note.contains("Reason: ") && note.contains(words), "{name}: {note}");
        let entry = admin.entry_when(name, "refused").await;
        assert!(!entry.reason.is_empty() && !entry.message.is_empty(), "{entry:?}");
        app.renew_one(lease.lease_id).await.expect("live leases are untouched");
        assert_eq!(admin.pool(CALLS).await.capacity, "5", "{name}");
    }
    // Rolled back, beside the newer sequence and in its place.
    site.drop_in("rolled-back.i3lic", first.note.as_bytes());
    let message = daemon.logged(&["Refused: ", "rolled-back.i3lic"]).await;
    assert!(message.contains("sequence 1") && message.contains("sequence 2"), "{message}");
    let mark = daemon.mark();
    site.drop_in("base.i3lic", first.note.as_bytes());
    daemon.logged_after(mark, &["Refused: ", "base.i3lic"]).await;
    assert!(site.rejection("base.i3lic").is_some_and(|note| note.contains("sequence 2")));
    assert_eq!(admin.pool(CALLS).await.capacity, "5", "the copy in the state directory rules");
    app.renew_one(lease.lease_id).await.unwrap();

    // The note goes with its file.
    let mark = daemon.mark();
    fs::remove_file(site.folder().join("torn.i3lic")).unwrap();
    daemon.logged_after(mark, &["Gone", "torn.i3lic"]).await;
    assert_eq!(site.rejection("torn.i3lic"), None);
}

/// The same sequence with other bytes: two files of the licensor's that say different things under one number.
#[tokio::test]
async fn one_sequence_has_one_content() {
    let site = Site::new();
    let daemon = Daemon::start(&site).await;
    let admin = daemon.admin().await;
    let first = site.issue(&site.order_of(&[(CALLS, 3)]));
    site.drop_in("base.i3lic", first.note.as_bytes());
    daemon.logged(&["Accepted", "base.i3lic"]).await;
    // The licensor's books were restored from a copy, and it issues the sequence once more: signed, and other.
    let key = site.licensor(|workshop| {
        let keys = workshop.dir().join("keys");
        let name = fs::read_dir(&keys)
            .unwrap()
            .flatten()
            .find(|entry| entry.file_name().to_string_lossy().contains("issuing"));
        licensor::vault::PrivateKey::load(&name.expect("an issuing key").path(), None).unwrap().signing().unwrap()
    });
    let mut twin = (*first.activation).clone();
    twin.account = label("Another Corporation");
    let twin = note::sign(&twin.render(), &[&key]).unwrap();
    site.drop_in("twin.i3lic", twin.as_bytes());
    let message = daemon.logged(&["Refused: ", "twin.i3lic"]).await;
    assert!(message.contains("sequence"), "{message}");
    assert_eq!(admin.licenses().await.iter().filter(|license| license.account == "Another Corporation").count(), 0);
}

/// Links, FIFOs, folders, editors' leavings and files too large never disturb what runs.
#[tokio::test]
async fn what_is_no_file_disturbs_nothing() {
    let site = Site::new();
    let daemon = Daemon::start(&site).await;
    let admin = daemon.admin().await;
    let issued = site.issue(&site.order_of(&[(CALLS, 3)]));
    fs::write(site.dir().join("outside.i3lic"), &issued.note).unwrap();
    symlink(site.dir().join("outside.i3lic"), site.folder().join("link.i3lic")).unwrap();
    symlink("/etc/passwd", site.folder().join("link.i3lic.rejected.txt")).unwrap();
    fs::create_dir(site.folder().join("folder.i3lic")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        site.folder().join("pipe.i3lic"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .unwrap();
    fs::write(site.folder().join("large.i3lic"), vec![b'a'; 128 * 1_024 + 1]).unwrap();
    for leaving in [".base.i3lic.swp", "base.i3lic~", "base.i3lic.tmp", "#base.i3lic#", "readme.txt"] {
        fs::write(site.folder().join(leaving), &issued.note).unwrap();
    }
    for name in ["link.i3lic", "folder.i3lic", "pipe.i3lic", "large.i3lic"] {
        daemon.logged(&["Refused: ", name]).await;
    }
    assert!(!fs::read_to_string("/etc/passwd").unwrap().contains("Leasehold"), "never through a link");
    site.drop_in("base.i3lic", issued.note.as_bytes());
    daemon.logged(&["Accepted", "base.i3lic"]).await;
    let names: Vec<_> = admin.status().await.folder.into_iter().map(|entry| entry.name).collect();
    assert_eq!(names, ["base.i3lic", "folder.i3lic", "large.i3lic", "link.i3lic", "pipe.i3lic", "readme.txt"]);
}

/// Absence is reported and its grants leave after 72 hours; `unload` takes them at once; a new sequence brings them back.
#[tokio::test]
async fn a_file_that_is_gone_runs_on_for_three_days() {
    let site = Site::new();
    let daemon = Daemon::start(&site).await;
    let admin = daemon.admin().await;
    let first = site.issue(&site.order_of(&[(CALLS, 3)]));
    site.drop_in("base.i3lic", first.note.as_bytes());
    daemon.logged(&["Accepted", "base.i3lic"]).await;
    let mark = daemon.mark();
    fs::remove_file(site.folder().join("base.i3lic")).unwrap();
    daemon.logged_after(mark, &["base.i3lic", "gone from the watched folder"]).await;
    // An emptied folder at boot is noticed and reported, and changes nothing yet.
    daemon.stop().await;
    let daemon = Daemon::start(&site).await;
    let admin_after = daemon.admin().await;
    assert_eq!(admin_after.pool(CALLS).await.capacity, "3");
    assert!(admin_after.status().await.notices.iter().any(|notice| notice.reason == "FILE_ABSENT"));
    site.advance(71 * 3_600_000);
    assert_eq!(admin_after.pool(CALLS).await.capacity, "3");
    site.advance(2 * 3_600_000);
    // What is left is an unlicensed site's: two call ports.
    admin_after.pool_when(CALLS, |pool| pool.capacity == "2").await;
    daemon.app("telephony").await.acquire(Ask::units(CALLS, 3)).await.expect_err("its grants have left");
    drop(admin);

    site.drop_in("base.i3lic", first.note.as_bytes());
    daemon.logged(&["Accepted", "base.i3lic"]).await;
    assert_eq!(admin_after.pool(CALLS).await.capacity, "3", "put back");
    let id = first.activation.license_id.to_string();
    leasehold(&site.socket(), ["unload", &id, "--reason", "moved to another server"]).done();
    assert_eq!(admin_after.pool(CALLS).await.capacity, "2", "at once");
    let next = site.reissue(first.activation.license_id, &[(CALLS, 4)]);
    site.drop_in("base.i3lic", next.note.as_bytes());
    daemon.logged(&["Accepted", "sequence 2"]).await;
    assert_eq!(admin_after.pool(CALLS).await.capacity, "4");
}

/// Deactivation: the next sequence without grants ends the license, and the receipt verifies in the licensor's books.
#[tokio::test]
async fn a_deactivation_leaves_a_receipt() {
    let site = Site::new();
    let daemon = Daemon::start(&site).await;
    let first = site.issue(&site.order_of(&[(CALLS, 3)]));
    site.drop_in("base.i3lic", first.note.as_bytes());
    daemon.logged(&["Accepted", "base.i3lic"]).await;
    let closing = site.deactivate(first.activation.license_id);
    site.drop_in("base.i3lic", closing.note.as_bytes());
    daemon.logged(&["The license is closed"]).await;
    let listed = leasehold(&site.socket(), ["--json", "licenses", "--all"]).done().json();
    let said = listed["licenses"][0]["message"].as_str().expect("a message").to_owned();
    let receipt = fs::read_dir(site.state().join("receipts")).unwrap().next().unwrap().unwrap().path();
    assert_eq!(said, format!("closed. Send {} to the licensor.", receipt.display()));
    let receipt = fs::read(receipt).unwrap();
    let taken = site.licensor(|workshop| workshop.take_receipt(&receipt, site.now())).unwrap();
    assert!(taken.new);
    assert_eq!(taken.receipt.sequence, 2);
    daemon.app("telephony").await.acquire(Ask::units(CALLS, 3)).await.expect_err("its grants have left");
}

/// A host that no longer matches runs on for 72 hours with warnings, once.
#[tokio::test]
async fn a_host_that_has_changed_runs_on_for_three_days() {
    let site = Site::new();
    let daemon = Daemon::start(&site).await;
    let issued = site.issue(&site.order_of(&[(CALLS, 3)]));
    daemon.admin().await.load("base.i3lic", &issued.note).await;
    daemon.stop().await;
    site.become_another_host();
    let daemon = Daemon::start(&site).await;
    let admin = daemon.admin().await;
    daemon.app("telephony").await.acquire(Ask::units(CALLS, 1)).await.expect("a site is not closed for that");
    let status = admin.status().await;
    let notice = status.notices.iter().find(|notice| notice.reason == "HOST_LOST").expect("a warning");
    assert!(notice.message.contains("72 h") || notice.message.contains("71 h"), "{notice:?}");
    site.advance(73 * 3_600_000);
    admin.pool_when(CALLS, |pool| pool.capacity == "2").await;
    assert_eq!(admin.status().await.license_state, "unlicensed", "three days are over");
}

/// 02, Host IDs: the facts that the privileged step left on the licensed machine, carried to another one with the state
/// directory, make no second server of it: what the daemon sees itself goes first.
#[tokio::test]
async fn facts_that_were_carried_over_make_no_second_machine() {
    let licensed = Site::new();
    let issued = licensed.issue(&licensed.order_of(&[(CALLS, 3)]));
    let elsewhere = Site::new();
    elsewhere.become_another_host();
    elsewhere.carry_facts_from(&licensed);
    let daemon = Daemon::start(&elsewhere).await;
    elsewhere.drop_in("base.i3lic", issued.note.as_bytes());
    let said = daemon.logged(&["Refused", "base.i3lic"]).await;
    for words in ["platform changed", "system changed", "disk changed", "network changed"] {
        assert!(said.contains(words), "{words} in {said}");
    }
    daemon.app("telephony").await.acquire(Ask::units(CALLS, 1)).await.expect_err("it is bound to another machine");
}
