//! What requests give away besides their chain: it is written down to be looked into, and makes no duplicate.

use leasehold_keys::{
    check_in::{CheckInRequest, CheckInStanding, WitnessEvidence, WitnessKind},
    digest::Sha256,
    host::{HostFacts, HostId},
    time::{DAY_MS, HOUR_MS},
    usage::Head,
};
use licensor::{catalog::Catalog, order::IssueOrder};

use crate::{
    check_in_site::{House, Site},
    orders::with_grants,
    support::noon,
    usage_files::Writer,
};

impl House {
    /// A check-in with a changed request; what is to be looked into afterwards.
    async fn says(&self, site: &mut Site, change: impl FnOnce(&mut CheckInRequest)) -> Vec<(String, String)> {
        self.clock.goes_on(HOUR_MS);
        let mut request = site.says();
        change(&mut request);
        let request = request.sign(site.machine().key()).unwrap();
        let told = self.asked(site, &request).await;
        assert_eq!(told.answer.standing, CheckInStanding::Good);
        site.take(&told);
        let remarks = self.workshop.ledger().check_in_remarks().unwrap();
        remarks.into_iter().map(|remark| (remark.what, remark.detail)).collect()
    }
}

#[tokio::test]
async fn what_witnesses_and_clocks_gave_away_is_written_down_once() {
    let house = House::open().await;
    let mut site = house.site(1);
    let evidence = WitnessEvidence { kind: WitnessKind::Behind, count: 1, newest: noon() };
    assert!(house.says(&mut site, |_| {}).await.is_empty());
    for _ in 0..3 {
        let told = house.says(&mut site, |request| request.witness = vec![evidence]).await;
        assert_eq!(told.len(), 1);
        assert!(told[0].0 == "witness" && told[0].1.contains("a later state than its own"), "{told:?}");
    }
    assert_eq!(house.workshop.ledger().check_in_remarks().unwrap()[0].seen, 1);
    let told = house
        .says(&mut site, |request| {
            request.witness = vec![evidence];
            (request.clock.roll_backs, request.clock.last_roll_back_ms) = (2, 86_400_000);
        })
        .await;
    assert!(
        told.iter().any(|(what, detail)| what == "clock" && detail.contains("2 times, last by 86400 s")),
        "{told:?}"
    );
}

#[tokio::test]
async fn another_machine_under_the_same_installation_is_written_down() {
    let house = House::open().await;
    let mut site = house.site(1);
    assert!(house.says(&mut site, |_| {}).await.is_empty());
    let facts = HostFacts {
        platform: Some("4c4c4544-0042-4b10-8051-c4c04f583199".to_owned()),
        system: Some("0123456789abcdef".to_owned()),
        network: vec!["52:54:00:99:99:99".to_owned()],
        ..HostFacts::default()
    };
    let salt = *site.machine().host_id().salt();
    let moved = HostId::new(&facts.with_installation(&site.machine().key().public()), salt);
    let told = house.says(&mut site, |request| request.host_id = moved).await;
    assert_eq!(told, [("host".to_owned(), "its machine changed in: platform, network".to_owned())]);
}

#[tokio::test]
async fn a_usage_chain_that_contradicts_what_was_received_is_written_down() {
    let mut house = House::open().await;
    let mut server = Writer::new(1, house.license, house.workshop.trust());
    let files = [server.day(20, &[]), server.day(21, &[])];
    let mut intake = house.workshop.intake(house.workshop.dir(), noon()).unwrap();
    let ends: Vec<Head> = files
        .iter()
        .map(|file| {
            let taken = intake.take(&file.name, &file.bytes, licensor::intake::Sent::Plain, noon()).unwrap().file;
            Head { segment: taken.name.segment, records: taken.records, chain: taken.end_chain }
        })
        .collect();
    let mut site = house.site(1);
    let at = |head: Head| move |request: &mut CheckInRequest| request.usage_head = Some(head);
    // It is where the files end, and goes on from there.
    assert!(house.says(&mut site, at(ends[1])).await.is_empty());
    let later = Head { segment: 3, records: 4, chain: Sha256::of(b"later") };
    assert!(house.says(&mut site, at(later)).await.is_empty());
    // Back to the first segment, of which the second was received.
    let told = house.says(&mut site, at(ends[0])).await;
    assert!(told.len() == 1 && told[0].1.contains("a file of segment 2 was received before"), "{told:?}");
    let other = Head { chain: Sha256::of(b"other"), ..ends[1] };
    let told = house.says(&mut site, at(other)).await;
    assert!(told[0].1.contains("the file of segment 2 that was received ends after"), "{told:?}");
    house.says(&mut site, at(later)).await;
    let forked = Head { chain: Sha256::of(b"forked"), ..later };
    let told = house.says(&mut site, at(forked)).await;
    assert!(told[0].1.contains("in the request before"), "{told:?}");
    // Cleared, it is forgotten.
    house.workshop.clear_check_in(house.license, site.machine().key().id()).unwrap();
    assert!(house.workshop.ledger().check_in_remarks().unwrap().is_empty());
}

#[tokio::test]
async fn a_closed_license_that_is_in_use_gets_its_closing_file_and_is_written_down() {
    let mut house = House::open().await;
    let mut site = house.site(1);
    let now = house.clock.now();
    let closing = house.workshop.deactivate(house.license, &"anna".parse().unwrap(), now).unwrap();
    let told = house.says(&mut site, |_| {}).await;
    assert_eq!(told[0].0, "closed");
    let request = site.request();
    let told = house.asked(&site, &request).await;
    assert_eq!(told.answer.files, [closing.activation.sha256()]);
}

#[tokio::test]
async fn a_site_whose_usage_files_do_not_come_is_told() {
    let order =
        IssueOrder { usage_destination: Some("https://licenses.acme.example/usage".to_owned()), ..with_grants() };
    let mut house = House::of(&order).await;
    let mut site = house.site(1);
    let mut message = async |house: &House| {
        house.clock.goes_on(HOUR_MS);
        let request = site.request();
        let told = house.asked(&site, &request).await;
        assert_eq!(told.answer.standing, CheckInStanding::Good);
        site.take(&told);
        told.answer.message.map(|message| message.to_string())
    };
    assert_eq!(message(&house).await, None);
    house.clock.goes_on(37 * DAY_MS);
    assert_eq!(message(&house).await, None);
    house.clock.goes_on(2 * DAY_MS);
    assert!(message(&house).await.unwrap().contains("No usage file of this license has come in since 2026-11-22"));
    // What is issued without a destination owes none.
    let now = house.clock.now();
    let order = IssueOrder { license_id: Some(house.license), ..with_grants() };
    house.workshop.issue(&Catalog::pureconnect(), &order, now).unwrap();
    assert_eq!(message(&house).await, None);
}
