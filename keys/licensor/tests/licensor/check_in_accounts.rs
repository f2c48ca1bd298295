//! Check-ins of licenses that are withdrawn or on hold.

use leasehold_keys::{activation::LicenseId, check_in::CheckInStanding};
use licensor::ledger::{AccountState, Remarked};

use crate::{
    check_in_site::House,
    support::{noon, time},
};

const GOOD: CheckInStanding = CheckInStanding::Good;

fn remarked(reason: &str) -> Remarked {
    Remarked { reason: reason.to_owned(), at: noon(), by: "anna".to_owned() }
}

#[tokio::test]
async fn a_withdrawn_license_is_told_from_when_and_why() {
    let mut house = House::open().await;
    let mut site = house.site(1);
    assert_eq!(house.check_in(&mut site).await, GOOD);
    let from = time("2026-12-24T00:00:00Z");
    let state = AccountState::Revoked { from, remarked: remarked("Contract 4711 has ended") };
    house.workshop.set_account_state(house.license, &state).unwrap();
    let request = site.request();
    let told = house.asked(&site, &request).await;
    assert_eq!(told.answer.standing, CheckInStanding::Revoked { from });
    assert_eq!(told.answer.message.as_ref().unwrap().as_str(), "Contract 4711 has ended");
    site.take(&told);
    assert_eq!(house.check_in(&mut site).await, CheckInStanding::Revoked { from });
    house.workshop.set_account_state(house.license, &AccountState::Good).unwrap();
    assert_eq!(house.check_in(&mut site).await, GOOD);
    let unknown = LicenseId(uuid::Uuid::from_u128(5));
    assert!(house.workshop.set_account_state(unknown, &AccountState::Good).is_err());
}

#[tokio::test]
async fn the_same_request_is_answered_anew_once_the_license_stands_otherwise() {
    let mut house = House::open().await;
    let mut site = house.site(1);
    let request = site.request();
    let good = house.asked(&site, &request).await;
    let from = noon();
    let state = AccountState::Revoked { from, remarked: remarked("Unpaid for a year") };
    house.workshop.set_account_state(house.license, &state).unwrap();
    let revoked = house.asked(&site, &request).await;
    assert_eq!(revoked.answer.standing, CheckInStanding::Revoked { from });
    // Whichever of the two it took, it goes on from.
    for told in [&good, &revoked] {
        house.workshop.set_account_state(house.license, &AccountState::Good).unwrap();
        let mut site = site.clone();
        site.take(told);
        let request = site.request();
        assert_eq!(house.asked(&site, &request).await.answer.standing, GOOD);
        house.workshop.clear_check_in(house.license, site.machine().key().id()).unwrap();
    }
}

#[tokio::test]
async fn a_license_on_hold_is_not_answered_and_loses_nothing() {
    let mut house = House::open().await;
    let mut site = house.site(1);
    assert_eq!(house.check_in(&mut site).await, GOOD);
    let state = AccountState::Hold(remarked("Invoice 2026-11 is open"));
    house.workshop.set_account_state(house.license, &state).unwrap();
    let before = house.row(&site);
    for _ in 0..3 {
        let refused = house.post(site.request().bytes()).await;
        refused.refuses(402, "on-hold", "Invoice 2026-11 is open");
    }
    assert_eq!(house.row(&site), before);
    house.workshop.set_account_state(house.license, &AccountState::Good).unwrap();
    assert_eq!(house.check_in(&mut site).await, GOOD);
}
