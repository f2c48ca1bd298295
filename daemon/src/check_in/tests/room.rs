//! Check-ins on their task, beside the real core and the real watched folder.

use std::fs;

use leasehold_keys::{check_in::CheckInStanding, time::WallTime};

use super::site::{DAY_MS, HOUR_MS, House, WALL_MS};
use crate::way_out::Named;

#[tokio::test(flavor = "multi_thread")]
async fn a_site_checks_in_at_its_start_and_twice_a_day() {
    let house = House::open().await;
    let home = house.home();
    let site = home.start().await;
    site.asked().await;
    let row = site.row().await;
    assert_eq!((row.last_good, row.counter), (Some(WallTime::from_ms(WALL_MS)), 1));
    // The answer is stored before the next attempt is set.
    let later = |next: WallTime| next.as_ms() > WALL_MS + 60_000;
    site.until(async |site| site.check_ins.view(house.license).next.is_some_and(later)).await;
    let view = site.check_ins.view(house.license);
    assert_eq!(view.failure, None);
    let next = view.next.unwrap().as_ms() - WALL_MS;
    assert!((648..=792).contains(&(next / 60_000)), "{next}");
    assert_eq!(house.script.answered(), 1);
    // Not before, and then by itself.
    home.set_time(next - 60_000);
    house.set_time(next + 1_000);
    site.until(async |site| site.clock.trusted().as_ms() == WALL_MS + next - 60_000).await;
    assert_eq!(house.script.answered(), 1);
    home.set_time(next + 1_000);
    site.until(async |site| site.row().await.answer.is_some_and(|answer| answer.counter == 2)).await;
    let installed = house.workshop.ledger().check_ins().unwrap();
    assert_eq!(installed.len(), 1, "the licensor knows one installation");
    site.stop().await;
    // And at the next start, from where it was.
    let site = home.start().await;
    site.until(async |site| site.row().await.answer.is_some_and(|answer| answer.counter == 3)).await;
    assert_eq!(site.row().await.verdict, Some(leasehold_engine::standing::Verdict::Good));
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_file_is_an_occasion_and_a_newer_one_comes_with_the_answer() {
    let mut house = House::open().await;
    let home = house.home();
    let site = home.start().await;
    site.asked().await;
    // The administrator has something else under the name that the licensor gives.
    let newer = house.issue_again();
    let name = {
        let done = site.check_in().await.unwrap();
        assert_eq!((done.taken.files.len(), done.taken.left_out.len()), (1, 0), "{done:?}");
        done.taken.files[0].clone()
    };
    assert_eq!(fs::read_to_string(home.watched().join(&name)).unwrap(), newer);
    assert!(home.watched().join("base.i3lic").is_file(), "nothing that lay there is touched");
    let license = house.license;
    site.until(async |site| {
        let sequence = site.core.read(move |engine, now| {
            engine.licenses(now).into_iter().find(|view| view.license == license).map(|view| view.terms.sequence)
        });
        sequence.await.unwrap() == Some(2)
    })
    .await;
    // It is in effect, and that was an occasion; the licensor sends nothing more.
    site.until(async |site| site.row().await.counter >= 3).await;
    let done = site.check_in().await.unwrap();
    assert_eq!((done.taken.files.len(), done.taken.roots.len()), (0, 0));
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_answer_sets_a_wrong_clock_right_and_the_mark_is_stored() {
    let house = House::open().await;
    let home = house.home();
    let site = home.start().await;
    site.asked().await;
    site.stop().await;
    // The clock chip dies while it is off: half a year ahead. The first answer sets it right.
    let jump = 180 * DAY_MS;
    home.set_clocks(HOUR_MS, HOUR_MS + jump);
    house.set_time(HOUR_MS);
    let site = home.start().await;
    assert_eq!(site.core.read(|_, now| now).await.unwrap().confirmed().as_ms(), WALL_MS);
    site.until(async |site| site.clock.trusted().as_ms() < WALL_MS + 2 * HOUR_MS).await;
    assert_eq!((site.clock.evidence().unconfirmed, site.clock.evidence().withdrawn), (None, 1));
    site.until(async |site| site.row().await.last_good == Some(WallTime::from_ms(WALL_MS + HOUR_MS))).await;
    let now = site.core.read(|_, now| now).await.unwrap();
    assert_eq!((now.wall, now.unconfirmed_ms), (site.clock.trusted(), 0));
    site.stop().await;
    // It is stored: with its clock set right it goes on from there.
    home.set_clocks(0, HOUR_MS + 60_000);
    let site = home.start().await;
    assert!(site.clock.trusted().as_ms() < WALL_MS + 2 * HOUR_MS, "{}", site.clock.trusted());
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_answer_confirms_a_clock_that_was_right() {
    let house = House::open().await;
    let home = house.home();
    let site = home.start().await;
    site.asked().await;
    site.stop().await;
    home.set_clocks(0, 90 * DAY_MS);
    house.set_time(90 * DAY_MS);
    let site = home.start().await;
    site.until(async |site| site.clock.evidence().unconfirmed.is_none()).await;
    let now = site.core.read(|_, now| now).await.unwrap();
    assert_eq!((now.wall.as_ms(), now.unconfirmed_ms), (WALL_MS + 90 * DAY_MS, 0));
    site.until(async |site| site.row().await.last_good == Some(now.wall)).await;
    assert_eq!(site.standing().await.stage.number(), 1, "good at any stage is stage 1 at once");
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_licensor_holds_a_license_and_says_why() {
    use licensor::ledger::{AccountState, Remarked};
    let mut house = House::open().await;
    let home = house.home();
    let site = home.start().await;
    site.asked().await;
    let remarked = Remarked { reason: "bill 4711 is open".into(), at: house.now(), by: "tests".into() };
    house.workshop.set_account_state(house.license, &AccountState::Hold(remarked.clone())).unwrap();
    let trouble = site.check_in().await.unwrap_err();
    assert_eq!(trouble.code(), "server-refused");
    assert!(trouble.to_string().contains("bill 4711 is open"), "{trouble}");
    let revoked = AccountState::Revoked { from: house.now(), remarked };
    house.workshop.set_account_state(house.license, &revoked).unwrap();
    let done = site.check_in().await.unwrap();
    assert_eq!(done.standing, CheckInStanding::Revoked { from: house.now() });
    assert_eq!(site.standing().await.target.number(), 6);
    // It began one stage down, as nothing was known of it, so that 12 hours have to pass.
    assert_eq!(site.standing().await.stage.number(), 1, "under the brake");
    home.set_time(12 * HOUR_MS);
    house.set_time(12 * HOUR_MS);
    site.until(async |site| site.standing().await.stage.number() == 2).await;
    site.stop().await;
    let site = home.start().await;
    assert_eq!(site.standing().await.target.number(), 6, "it counts after a restart");
    house.workshop.set_account_state(house.license, &AccountState::Good).unwrap();
    site.check_in().await.unwrap();
    assert_eq!(site.standing().await.stage.number(), 1);
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_waits_for_no_licensor() {
    use licensor::serve::faults::Fault;
    let house = House::open().await;
    let home = house.home();
    let site = home.start().await;
    site.asked().await;
    house.script.add(Fault::Late(std::sync::Arc::default()));
    let (check_ins, answered) = (site.check_ins.clone(), house.script.answered());
    let asking = tokio::spawn(async move { check_ins.now(None).await });
    site.until(async |_| house.script.answered() > answered).await;
    tokio::time::timeout(home.network.patience.idle / 2, site.stop()).await.expect("at once");
    assert!(asking.await.unwrap().is_err());
}
