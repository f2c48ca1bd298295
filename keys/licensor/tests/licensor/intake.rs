//! Taking usage files by the library: what is answered for, what is refused, and what is set aside.

use std::{fs, path::PathBuf};

use leasehold_keys::{activation::LicenseId, usage::UsagePrivateKey};
use licensor::{
    catalog::Catalog,
    intake::{Intake, IntakeFault, Sent, Taken},
    vault::Protection,
    workshop::{CreateOptions, Workshop},
};

use crate::{
    orders::with_grants,
    support::{noon, time, workshop},
    usage_files::{CLIENT, Usg, Writer, john_smith, logon},
};

struct Desk {
    dir: tempfile::TempDir,
    workshop: Workshop,
    license: LicenseId,
    intake: Intake,
}

impl Desk {
    fn new() -> Self {
        let (dir, mut workshop) = workshop();
        let license = workshop.issue(&Catalog::pureconnect(), &with_grants(), noon()).unwrap().activation.license_id;
        let intake = workshop.intake(workshop.dir(), noon()).unwrap();
        Self { dir, workshop, license, intake }
    }

    fn server(&self) -> Writer {
        Writer::new(1, self.license, self.workshop.trust())
    }

    fn take(&mut self, file: &Usg) -> Result<Taken, IntakeFault> {
        self.intake.take(&file.name, &file.bytes, Sent::Plain, noon())
    }

    fn code(&mut self, name: &str, bytes: &[u8]) -> &'static str {
        self.intake.take(name, bytes, Sent::Plain, noon()).unwrap_err().code()
    }

    fn kept(&self, folder: &str, name: &str) -> PathBuf {
        let installation = self.server().installation();
        self.dir.path().join("acme").join(folder).join(self.license.to_string()).join(installation).join(name)
    }
}

#[test]
fn a_whole_file_is_kept_and_answered_for_once_and_the_same_again() {
    let mut desk = Desk::new();
    let file = desk.server().day(2, &john_smith());
    let taken = desk.take(&file).unwrap();
    assert!(taken.new);
    assert_eq!(fs::read(desk.kept("usage", &file.name)).unwrap(), file.bytes);
    let receipt = desk.workshop.trust().usage_receipt(taken.file.receipt.as_bytes(), noon()).unwrap();
    receipt.fits(file.name.parse().unwrap(), &file.bytes).unwrap();
    assert_eq!((receipt.license_id, receipt.received), (desk.license, noon()));

    // Days later, by another program: the same receipt.
    let mut again = desk.workshop.intake(desk.workshop.dir(), noon()).unwrap();
    let second = again.take(&file.name, &file.bytes, Sent::Plain, time("2026-12-01T00:00:00Z")).unwrap();
    assert_eq!(second, Taken { new: false, ..taken.clone() });
    assert_eq!(again.receipt(&file.name).unwrap().unwrap().receipt, taken.file.receipt);
    assert_eq!(desk.workshop.ledger().usage_files().unwrap(), std::slice::from_ref(&taken.file));

    // Whoever holds a receipt may let go of the file: it is brought back here where it was lost.
    fs::remove_file(desk.kept("usage", &file.name)).unwrap();
    assert!(!desk.take(&file).unwrap().new);
    assert_eq!(fs::read(desk.kept("usage", &file.name)).unwrap(), file.bytes);
    assert!(desk.workshop.ledger().usage_flags().unwrap().is_empty());
}

#[test]
fn nothing_else_is_answered_for() {
    let mut desk = Desk::new();
    let mut server = desk.server();
    let file = server.day(2, &john_smith());
    for name in ["x.usg", "", "../../etc/passwd", &file.name.to_uppercase()] {
        assert_eq!(desk.code(name, &file.bytes), "bad-name", "{name}");
    }
    let other_segment = file.name.replace("-00000001-", "-00000002-");
    assert_eq!(desk.code(&other_segment, &file.bytes), "misnamed");
    assert_eq!(desk.code(&file.name, b""), "not-a-usage-file");
    assert_eq!(desk.code(&file.name, &file.bytes[..100]), "header-cut");
    let mut edited = file.bytes.clone();
    edited[100] ^= 1;
    assert_eq!(desk.code(&file.name, &edited), "header-signature");
    let end = file.bytes.len();
    assert_eq!(desk.code(&file.name, &file.bytes[..end - 1]), "not-closed");
    assert_eq!(desk.code(&file.name, &[&file.bytes[..], b"x"].concat()), "after-close");
    let open = desk.server().file("2026-11-02T00:00:00Z", None, &john_smith());
    assert_eq!(desk.code(&open.name, &open.bytes), "not-closed");
    let stranger = LicenseId(uuid::Uuid::from_u128(1));
    let unknown = Writer::new(1, stranger, desk.workshop.trust()).day(2, &[]);
    assert_eq!(desk.code(&unknown.name, &unknown.bytes), "unknown-license");

    // Sealed to a key that this licensor does not hold, nothing could be billed by it.
    let elsewhere = tempfile::tempdir().unwrap();
    let other = CreateOptions::new("other.example", Protection::None);
    let other = Workshop::create(&elsewhere.path().join("other"), &other, noon()).unwrap();
    let foreign = Writer::new(1, desk.license, other.trust()).day(2, &[]);
    assert_eq!(desk.code(&foreign.name, &foreign.bytes), "other-recipient");

    assert!(desk.workshop.ledger().usage_files().unwrap().is_empty());
    assert!(!desk.dir.path().join("acme/usage").exists() && !desk.dir.path().join("acme/aside").exists());
    assert_eq!(desk.intake.receipt(&file.name).unwrap(), None);
}

/// The key that would have closed it is lost: nobody would ever answer for it otherwise.
#[test]
fn a_file_that_nobody_can_close_any_more_is_taken_where_the_server_says_that_it_is_final() {
    let mut desk = Desk::new();
    let open = desk.server().file("2026-11-02T00:00:00Z", None, &john_smith());
    assert_eq!(desk.code(&open.name, &open.bytes), "not-closed");
    // Half a record is not what a server has stored, whatever it says.
    let torn = &open.bytes[..open.bytes.len() - 1];
    assert_eq!(desk.intake.take(&open.name, torn, Sent::Final, noon()).unwrap_err().code(), "not-closed");
    let taken = desk.intake.take(&open.name, &open.bytes, Sent::Final, noon()).unwrap();
    assert!(taken.new);
    let receipt = desk.workshop.trust().usage_receipt(taken.file.receipt.as_bytes(), noon()).unwrap();
    receipt.fits(open.name.parse().unwrap(), &open.bytes).unwrap();
    // Had it gone on all the same, that would show.
    let longer = desk.server().day(2, &john_smith());
    assert_eq!(longer.name, open.name);
    assert_eq!(desk.code(&longer.name, &longer.bytes), "fork");
}

#[test]
fn another_file_of_a_known_segment_is_set_aside_and_told() {
    let mut desk = Desk::new();
    let mut server = desk.server();
    let first = server.day(2, &john_smith());
    let mut clone = server.copy();
    let second = server.day(3, &[]);
    let forked = clone.day(3, &[logon("2026-11-03T08:00:00Z", "eve", 1, &[CLIENT])]);
    let after_fork = clone.day(4, &[]);
    assert_eq!(second.name, forked.name);
    for file in [&first, &second] {
        assert!(desk.take(file).unwrap().new);
    }
    for _ in 0..2 {
        let fault = desk.take(&forked).unwrap_err();
        assert!(matches!(&fault, IntakeFault::Fork { received, .. } if *received == noon()), "{fault}");
        assert!(fault.to_string().contains("restored from a copy or cloned"), "{fault}");
    }
    // The one that was answered for stays what it is.
    assert_eq!(fs::read(desk.kept("usage", &second.name)).unwrap(), second.bytes);
    let aside: Vec<_> = fs::read_dir(desk.kept("aside", "")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(aside.len(), 1);
    assert_eq!(fs::read(&aside[0]).unwrap(), forked.bytes);
    assert!(!desk.take(&second).unwrap().new);

    // What the clone writes next is taken, so that a restored server is not shut out for good, and is told as well.
    assert!(desk.take(&after_fork).unwrap().new);
    let flags = desk.workshop.ledger().usage_flags().unwrap();
    let told: Vec<_> = flags.iter().map(|flag| (flag.segment, flag.refused)).collect();
    assert_eq!(told, [(2, true), (3, false)]);
}

#[test]
fn files_may_come_in_any_order() {
    let mut desk = Desk::new();
    let mut server = desk.server();
    let files: Vec<Usg> = (2..8).map(|day| server.day(day, &[])).collect();
    for index in [3, 0, 5, 1, 4, 2] {
        assert!(desk.take(&files[index]).unwrap().new);
    }
    assert!(desk.workshop.ledger().usage_flags().unwrap().is_empty());
    let acknowledged = desk
        .workshop
        .ledger()
        .usage_acknowledged(files[0].name.parse::<leasehold_keys::usage::SegmentName>().unwrap().installation);
    assert_eq!(acknowledged.unwrap().iter().map(|file| file.segment).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
}

#[test]
fn one_segment_is_answered_for_once_however_many_bring_it() {
    let desk = Desk::new();
    let server = desk.server();
    // Eight servers that claim one segment, each on two ways at once.
    let files: Vec<Usg> = (0..8)
        .map(|who| server.copy().day(2, &[logon("2026-11-02T08:00:00Z", &format!("u{who}"), 1, &[CLIENT])]))
        .collect();
    let dir = desk.workshop.dir();
    let bring = |file: &Usg| {
        let mut intake = Workshop::open(dir, None).unwrap().intake(dir, noon()).unwrap();
        intake.take(&file.name, &file.bytes, Sent::Plain, noon()).map(|taken| taken.file.sha256)
    };
    let answers: Vec<Result<_, IntakeFault>> = std::thread::scope(|scope| {
        let threads: Vec<_> = files.iter().chain(&files).map(|file| scope.spawn(move || bring(file))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let answered: Vec<_> = answers.iter().filter_map(|answer| answer.as_ref().ok()).collect();
    assert_eq!(answered.len(), 2, "{answers:?}");
    assert_eq!(answered[0], answered[1]);
    assert_eq!(desk.workshop.ledger().usage_files().unwrap().len(), 1);
    assert_eq!(desk.workshop.ledger().usage_flags().unwrap().len(), 7);
}

#[test]
fn receipts_are_signed_by_keys_that_count_now_or_not_at_all() {
    let mut desk = Desk::new();
    let mut server = desk.server();
    let file = server.day(2, &[]);
    desk.take(&file).unwrap();
    // Keys and root last five years.
    let late = time("2031-11-22T00:00:00Z");
    let next = server.day(3, &[]);
    assert_eq!(desk.intake.take(&next.name, &next.bytes, Sent::Plain, late).unwrap_err().code(), "failed");
    assert!(desk.intake.check(noon()).is_ok() && desk.intake.check(late).is_err());
    assert!(desk.workshop.intake(desk.workshop.dir(), late).is_err());
}

#[test]
fn ml_dsa_signs_receipts_too_where_the_root_asks_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let options = CreateOptions { ml_dsa: true, ..CreateOptions::new("acme.example", Protection::None) };
    let mut workshop = Workshop::create(&dir.path().join("acme"), &options, noon()).unwrap();
    let license = workshop.issue(&Catalog::pureconnect(), &with_grants(), noon()).unwrap().activation.license_id;
    let file = Writer::new(1, license, workshop.trust()).day(2, &[]);
    let taken =
        workshop.intake(workshop.dir(), noon()).unwrap().take(&file.name, &file.bytes, Sent::Plain, noon()).unwrap();
    let receipt = workshop.trust().usage_receipt(taken.file.receipt.as_bytes(), noon()).unwrap();
    assert_eq!(receipt.signed_by().len(), 2);
}

#[test]
fn the_workshop_opens_what_is_sealed_to_its_root() {
    let desk = Desk::new();
    let file = desk.server().day(2, &john_smith());
    let keys: Vec<UsagePrivateKey> = desk.workshop.usage_keys().unwrap();
    let opened = leasehold_keys::usage::open(&file.bytes, &keys[0]).unwrap();
    assert_eq!(opened.items().cloned().collect::<Vec<_>>(), john_smith());
}
