//! Check-ins by file, and time notes: what counts once, what does not, and that neither lowers the clock.

use leasehold_engine::time::WallTime;
use leasehold_keys::check_in::CheckInStanding;
use licensor::check_in::CheckIns as Desk;

use super::{
    super::{ByHand, Endpoint, Trouble},
    site::{DAY_MS, HOUR_MS, Home, House, Site, WALL_MS},
};
use crate::way_out::Named;

/// A licensor, its desk for files, and a site that reaches nobody.
async fn off_the_network() -> (House, Desk, Home, Site) {
    let house = House::open().await;
    let desk = house.workshop.check_ins(house.now()).unwrap();
    let mut home = house.home();
    home.settings.endpoint = Some(nowhere());
    let site = home.start().await;
    site.asked().await;
    (house, desk, home, site)
}

/// A name with a part longer than names have: no resolver is asked for it.
fn nowhere() -> Endpoint {
    let origin = crate::way_out::Origin { host: "x".repeat(64), port: 443 };
    Endpoint { origin, path: String::new() }
}

async fn request(site: &Site) -> Vec<u8> {
    site.check_ins.make_request(None).await.unwrap().note.bytes().to_vec()
}

async fn refused(site: &Site, note: &[u8], code: &str) -> Trouble {
    let before = site.row().await;
    let trouble = site.check_ins.take_by_hand(note.to_vec()).await.unwrap_err();
    assert_eq!(trouble.code(), code, "{trouble}");
    assert_eq!(site.row().await, before);
    trouble
}

#[tokio::test(flavor = "multi_thread")]
async fn a_carried_answer_counts_once_over_a_restart_too() {
    let (house, mut desk, home, site) = off_the_network().await;
    assert_eq!(site.row().await.last_good, None);
    let carried = site.check_ins.make_request(None).await.unwrap();
    assert_eq!(carried.answer_by.as_ms(), WALL_MS + 14 * DAY_MS);
    house.set_time(HOUR_MS);
    let answer = desk.answer(carried.note.bytes(), house.now()).unwrap().reply.answer.into_bytes();
    site.stop().await;
    home.set_time(10 * DAY_MS);
    let site = home.start().await;
    let ByHand::Answer(license, done) = site.check_ins.take_by_hand(answer.clone()).await.unwrap() else { panic!() };
    assert_eq!((license, done.standing), (house.license, CheckInStanding::Good));
    let row = site.row().await;
    assert_eq!((row.last_good, row.asked), (Some(WallTime::from_ms(WALL_MS + HOUR_MS)), None));
    refused(&site, &answer, "not-asked").await;
    // And what it said is quoted by the next request, so that the licensor knows the chain.
    let next = request(&site).await;
    let answered = desk.answer(&next, house.now()).unwrap();
    assert_eq!((answered.answer.standing, answered.misfit), (CheckInStanding::Good, None));
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_carried_answer_counts_for_fourteen_days() {
    let (house, mut desk, home, site) = off_the_network().await;
    let answer = desk.answer(&request(&site).await, house.now()).unwrap().reply.answer.into_bytes();
    home.set_time(14 * DAY_MS + 1_000);
    site.until(async |site| site.clock.trusted().as_ms() > WALL_MS + 14 * DAY_MS).await;
    let trouble = refused(&site, &answer, "answer-too-old").await;
    assert!(trouble.remedy().contains("--request"), "{}", trouble.remedy());
    home.set_time(14 * DAY_MS);
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_request_takes_the_place_of_an_older_one() {
    let (house, mut desk, _home, site) = off_the_network().await;
    let older = request(&site).await;
    let newer = request(&site).await;
    let answer = |desk: &mut Desk, note: &[u8]| desk.answer(note, house.now()).unwrap().reply.answer.into_bytes();
    let (to_older, to_newer) = (answer(&mut desk, &older), answer(&mut desk, &newer));
    refused(&site, &to_older, "another-counter").await;
    assert!(matches!(site.check_ins.take_by_hand(to_newer).await, Ok(ByHand::Answer(..))));
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_carried_wrongly_changes_nothing() {
    let (house, mut desk, _home, site) = off_the_network().await;
    // Another machine's answer, for the same license.
    let other_home = house.home();
    let other = other_home.start().await;
    other.asked().await;
    let others = desk.answer(&request(&other).await, house.now()).unwrap().reply.answer.into_bytes();
    let own = request(&site).await;
    let answer = desk.answer(&own, house.now()).unwrap().reply.answer;
    refused(&site, &others, "another-installation").await;
    let tail = answer.len() - 9;
    let mut bent = answer.clone().into_bytes();
    bent[tail] ^= 1;
    assert!(matches!(site.check_ins.take_by_hand(bent).await, Err(Trouble::Answer { .. })));
    refused(&site, &answer.as_bytes()[..200], "no-blank-line").await;
    refused(&site, &own, "wrong-kind").await;
    refused(&site, b"", "empty").await;
    assert!(matches!(site.check_ins.take_by_hand(answer.into_bytes()).await, Ok(ByHand::Answer(..))));
    other.stop().await;
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn neither_a_carried_answer_nor_a_time_note_lowers_the_clock() {
    let (house, mut desk, home, site) = off_the_network().await;
    home.set_time(5 * DAY_MS);
    site.until(async |site| site.clock.trusted().as_ms() == WALL_MS + 5 * DAY_MS).await;
    let answer = desk.answer(&request(&site).await, house.now()).unwrap().reply.answer.into_bytes();
    site.check_ins.take_by_hand(answer).await.unwrap();
    let note = house.workshop.time_note(house.now()).unwrap().into_bytes();
    assert!(matches!(site.check_ins.take_by_hand(note).await, Ok(ByHand::Time(time)) if time == house.now()));
    assert_eq!(site.clock.trusted().as_ms(), WALL_MS + 5 * DAY_MS);
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_note_settles_a_jump_of_the_clock() {
    let (house, _desk, home, site) = off_the_network().await;
    site.stop().await;
    home.set_clocks(0, 90 * DAY_MS);
    let site = home.start().await;
    let note = |house: &House| house.workshop.time_note(house.now()).unwrap().into_bytes();
    assert!(site.clock.evidence().unconfirmed.is_some());
    // One of a month ago covers two of three months; one of the day before covers all.
    house.set_time(60 * DAY_MS);
    site.check_ins.take_by_hand(note(&house)).await.unwrap();
    let now = site.core.read(|_, now| now).await.unwrap();
    assert_eq!(now.confirmed().as_ms(), WALL_MS + 60 * DAY_MS);
    house.set_time(89 * DAY_MS + HOUR_MS);
    site.check_ins.take_by_hand(note(&house)).await.unwrap();
    let now = site.core.read(|_, now| now).await.unwrap();
    assert_eq!((now.wall.as_ms(), now.unconfirmed_ms), (WALL_MS + 90 * DAY_MS, 0));
    refused(&site, &note(&House::open().await), "wrong-key-id").await;
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_that_asks_for_no_check_ins_makes_no_request() {
    use super::super::NoRequest;
    let house = House::open().await;
    let home = house.home();
    std::fs::remove_file(home.watched().join("base.i3lic")).unwrap();
    let site = home.start().await;
    assert!(matches!(site.check_ins.make_request(None).await, Err(NoRequest::NotNeeded)));
    assert!(matches!(site.check_ins.make_request(Some(house.license)).await, Err(NoRequest::NotNeeded)));
    assert!(site.check_ins.now(None).await.unwrap().is_empty());
    assert_eq!(house.script.answered(), 0);
    assert!(site.check_ins.doctor().await.unwrap().is_empty());
    site.stop().await;
}
