//! Answers that must not be believed, each by the licensor's real endpoint with a scripted fault: none changes anything.

use std::sync::Arc;

use leasehold_engine::standing::Verdict;
use leasehold_keys::{
    activation::LicenseId,
    check_in::{CheckInStanding, Nonce},
    digest::Sha256,
    key::{Algorithm, SigningKey},
    time::WallTime,
};
use licensor::serve::faults::{Change, Fault};
use tokio::sync::Notify;
use uuid::Uuid;

use super::site::{DAY_MS, HOUR_MS, Home, House, Site, WALL_MS};
use crate::way_out::Named;

/// A licensor, and a site that has checked in at its start.
async fn site() -> (House, Home, Site) {
    let house = House::open().await;
    let home = house.home();
    let site = home.start().await;
    site.asked().await;
    (house, home, site)
}

/// One attempt that fails so, changes nothing, and is told; the next one is good.
async fn fails(site: &Site, house: &House, fault: Fault, code: &str) {
    let (before, told) = (site.row().await, format!("{fault:?}"));
    let (clock, evidence) = (site.clock.trusted(), site.clock.evidence());
    house.script.add(fault);
    let trouble = site.check_in().await.expect_err(&told);
    assert_eq!(trouble.code(), code, "{told}: {trouble}");
    assert!(!trouble.remedy().is_empty() && !trouble.remedy().ends_with('.'), "{}", trouble.remedy());
    assert_eq!(site.row().await, before, "{told}");
    assert_eq!((site.clock.trusted(), site.clock.evidence()), (clock, evidence), "{told}");
    let failure = site.check_ins.view(house.license).failure.expect("it is shown");
    assert_eq!(failure.trouble, trouble);
    let done = site.check_in().await.unwrap();
    assert_eq!(done.standing, CheckInStanding::Good);
    assert_eq!(site.check_ins.view(house.license).failure, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replayed_answer() {
    let (house, _home, site) = site().await;
    fails(&site, &house, Fault::Replayed, "another-counter").await;
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_comes_late() {
    let (house, home, site) = site().await;
    let before = site.row().await;
    let until = Arc::new(Notify::new());
    house.script.add(Fault::Late(until.clone()));
    let answered = house.script.answered();
    let (check_ins, script) = (site.check_ins.clone(), house.script.clone());
    let asking = tokio::spawn(async move { check_ins.now(None).await });
    site.until(async |_| script.answered() > answered).await;
    // What happens between is an hour for the site, five minutes and a second, or none.
    home.set_time(301_000);
    until.notify_one();
    let outcome = asking.await.unwrap().unwrap().remove(0);
    let trouble = outcome.result.unwrap_err();
    assert_eq!(trouble.code(), "late-answer", "{trouble}");
    assert_eq!(site.row().await, before);
    assert_eq!(site.check_in().await.unwrap().standing, CheckInStanding::Good);
    site.stop().await;
}

/// The answer to an older request, which was lost, comes as that to a newer one.
#[tokio::test(flavor = "multi_thread")]
async fn answers_out_of_order() {
    let (house, _home, site) = site().await;
    house.script.add(Fault::Lost);
    assert_eq!(site.check_in().await.unwrap_err().code(), "cut-off");
    fails(&site, &house, Fault::Replayed, "another-counter").await;
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncated_answer() {
    let (house, _home, site) = site().await;
    for length in [0, 1, 40, 300] {
        fails(&site, &house, Fault::Truncated(length), "not-a-reply").await;
    }
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_with_another_bit() {
    let (house, _home, site) = site().await;
    let before = site.row().await;
    for bit in (3..9_000).step_by(1_499) {
        house.script.add(Fault::BitFlipped(bit));
        let trouble = site.check_in().await.expect_err(&format!("bit {bit}"));
        assert!(matches!(trouble, super::super::Trouble::Answer { .. }), "{trouble:?}");
        assert_eq!(site.row().await, before, "bit {bit}");
    }
    fails(&site, &house, Fault::BitFlipped(9_000), "bad-signature").await;
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_to_another_nonce() {
    let (house, _home, site) = site().await;
    let good = vec![house.key("check-in-2030.key")];
    fails(&site, &house, Fault::Says(Change::Nonce(Nonce([7; 32])), good.clone()), "another-nonce").await;
    fails(&site, &house, Fault::Says(Change::Request(Sha256::of(b"x")), good), "another-request").await;
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_to_another_site() {
    let (house, _home, site) = site().await;
    let good = vec![house.key("check-in-2030.key")];
    let other = Change::License(LicenseId(Uuid::nil()));
    fails(&site, &house, Fault::Says(other, good), "another-license").await;
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_to_another_installation() {
    let (house, _home, site) = site().await;
    let good = vec![house.key("check-in-2030.key")];
    let other = Change::Installation("ffffffffffffffffffffffffffffffff".parse().unwrap());
    fails(&site, &house, Fault::Says(other, good), "another-installation").await;
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_by_keys_of_the_wrong_role() {
    let (house, _home, site) = site().await;
    for name in ["receipt-2030.key", "issuing-2030.key", "root-1.key"] {
        fails(&site, &house, Fault::SignedBy(vec![house.key(name)]), "wrong-role").await;
    }
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_nobody_signed_or_a_stranger_did() {
    let (house, _home, site) = site().await;
    fails(&site, &house, Fault::Unsigned, "no-signature").await;
    let (stranger, _) = SigningKey::generate("mallory.example/check-in", Algorithm::Ed25519).unwrap();
    fails(&site, &house, Fault::SignedBy(vec![Arc::new(stranger)]), "unknown-key").await;
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_by_an_expired_check_in_key() {
    let (house, home, site) = site().await;
    let before = site.row().await;
    // Years later by the site's clock, and the licensor still signs with its old key.
    home.set_time(6 * 365 * DAY_MS);
    site.until(async |site| site.clock.trusted() > WallTime::from_ms(WALL_MS + 5 * 365 * DAY_MS)).await;
    let trouble = site.check_in().await.unwrap_err();
    assert_eq!(trouble.code(), "key-expired", "{trouble}");
    let after = site.row().await;
    assert_eq!((after.answer, after.last_good, after.verdict), (before.answer, before.last_good, before.verdict));
    assert!(house.script.answered() >= 2);
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_and_too_much_of_it() {
    let (house, _home, site) = site().await;
    fails(&site, &house, Fault::Garbage(b"<html>Please log on</html>".to_vec()), "not-a-reply").await;
    fails(&site, &house, Fault::Garbage(Vec::new()), "not-a-reply").await;
    fails(&site, &house, Fault::TooLarge, "garbage").await;
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_licensors_own_trouble() {
    let (house, _home, site) = site().await;
    for (status, code) in [(500, "server-error"), (503, "server-error"), (403, "server-refused"), (404, "not-there")] {
        fails(&site, &house, Fault::Status(status), code).await;
    }
    fails(&site, &house, Fault::Lost, "cut-off").await;
    site.stop().await;
}

/// What is signed and fits counts, though it is not welcome; and the licensor sees that it never said so.
#[tokio::test(flavor = "multi_thread")]
async fn an_unwelcome_answer_counts_too() {
    let (house, home, site) = site().await;
    let good = vec![house.key("check-in-2030.key")];
    let last_good = site.row().await.last_good;
    home.set_time(HOUR_MS);
    house.set_time(HOUR_MS);
    house.script.add(Fault::Says(Change::Standing(CheckInStanding::Duplicate), good));
    let outcome = site.check_in().await.unwrap();
    assert_eq!(outcome.standing, CheckInStanding::Duplicate);
    let row = site.row().await;
    assert_eq!((row.last_good, row.verdict), (last_good, Some(Verdict::Duplicate)), "the period goes on");
    assert_eq!(site.check_ins.view(house.license).failure, None, "that is no failure");
    // The next request quotes an answer that the licensor has no record of.
    assert_eq!(site.check_in().await.unwrap().standing, CheckInStanding::Duplicate);
    site.stop().await;
}
