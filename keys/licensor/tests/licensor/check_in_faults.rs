//! Scripted faults: each makes an answer that whoever checks in must not believe, and says by what reason it is known.

use std::{path::Path, sync::Arc};

use leasehold_keys::{
    check_in::{CheckInReply, CheckInRequest, CheckInStanding, Nonce},
    digest::Sha256,
    key::SigningKey,
    refusal::Refusal,
    time::{HOUR_MS, WallTime},
    trust::Verified,
};
use licensor::{
    serve::faults::{Change, Fault},
    vault::PrivateKey,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    sync::Notify,
};

use crate::{
    check_in_site::{House, Site},
    serve::Answer,
    support::{Machine, time},
};

/// What a site makes of an answer: as the daemon does, step by step.
fn judged(site: &Site, request: &Verified<CheckInRequest>, answer: &Answer, now: WallTime) -> Result<(), Refusal> {
    assert_eq!(answer.status, 200);
    let reply = CheckInReply::read(&answer.body)?;
    let (trust, _) = reply.succeeded(&site.trust);
    trust.check_in_answer(reply.answer.as_bytes(), now)?.fits_request(request)
}

fn key(house: &House, name: &str) -> Arc<SigningKey> {
    let path = house.workshop.dir().join("keys").join(Path::new(name));
    Arc::new(PrivateKey::load(&path, None).unwrap().signing().unwrap())
}

#[tokio::test]
async fn every_fault_is_known_for_what_it_is() {
    let house = House::open().await;
    let mut site = house.site(1);
    assert_eq!(house.check_in(&mut site).await, CheckInStanding::Good);
    let good = vec![key(&house, "check-in-2026.key")];
    let says = |change| Fault::Says(change, good.clone());
    let other = Machine::new("other", 9).key().id();
    let (stranger, _) =
        SigningKey::generate("mallory.example/check-in", leasehold_keys::key::Algorithm::Ed25519).unwrap();
    let table = [
        (Fault::Replayed, "another-counter"),
        (Fault::Truncated(40), "not-a-reply"),
        (Fault::Truncated(0), "not-a-reply"),
        (Fault::BitFlipped(9_000), "bad-signature"),
        (Fault::Unsigned, "no-signature"),
        (Fault::SignedBy(vec![key(&house, "receipt-2026.key")]), "wrong-role"),
        (Fault::SignedBy(vec![key(&house, "issuing-2026.key")]), "wrong-role"),
        (Fault::SignedBy(vec![key(&house, "root-1.key")]), "wrong-role"),
        (Fault::SignedBy(vec![Arc::new(stranger)]), "unknown-key"),
        (says(Change::Nonce(Nonce([7; 32]))), "another-nonce"),
        (says(Change::Request(Sha256::of(b"x"))), "another-request"),
        (says(Change::Installation(other)), "another-installation"),
        (says(Change::License(leasehold_keys::activation::LicenseId(uuid::Uuid::nil()))), "another-license"),
        (says(Change::Counter(1)), "another-counter"),
        (Fault::Garbage(b"<html>Proxy login</html>".to_vec()), "not-a-reply"),
        (Fault::TooLarge, "too-large"),
    ];
    for (fault, reason) in table {
        let told = format!("{fault:?}");
        house.script.add(fault);
        house.clock.goes_on(HOUR_MS);
        let request = site.request();
        let answer = house.post(request.bytes()).await;
        let refusal = judged(&site, &request, &answer, site.clock.now()).unwrap_err();
        assert_eq!(refusal.reason(), reason, "{told}: {refusal}");
        // And the site is in good standing with its next one.
        let request = site.request();
        let answer = house.post(request.bytes()).await;
        judged(&site, &request, &answer, site.clock.now()).unwrap();
    }
    // A good key of the right role, and nothing changed in what it says: that is believed.
    house.script.add(Fault::SignedBy(good));
    let request = site.request();
    let answer = house.post(request.bytes()).await;
    judged(&site, &request, &answer, site.clock.now()).unwrap();
    // By the site's own clock the key has expired.
    let late = judged(&site, &request, &answer, time("2031-11-22T00:00:00Z")).unwrap_err();
    assert_eq!(late.reason(), "key-expired");
}

#[tokio::test]
async fn an_answer_can_be_held_back_lost_and_refused() {
    let house = House::open().await;
    let mut site = house.site(1);
    let until = Arc::new(Notify::new());
    house.script.add(Fault::Late(until.clone()));
    let request = site.request();
    let asking = tokio::spawn({
        let client =
            crate::serve::Client { address: house.client.address, certificate: house.client.certificate.clone() };
        let bytes = request.bytes().to_vec();
        async move { crate::check_in_site::post(&client, &bytes).await }
    });
    // Another one is answered meanwhile.
    while house.script.answered() == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(house.check_in(&mut site).await, CheckInStanding::Good);
    assert!(!asking.is_finished());
    until.notify_one();
    let answer = asking.await.unwrap();
    judged(&site, &request, &answer, site.clock.now()).unwrap();

    house.script.add(Fault::Status(502));
    assert_eq!(house.post(site.request().bytes()).await.status, 502);
    house.script.add(Fault::Lost);
    let mut stream = house.client.connect(&["http/1.1"]).await;
    let request = site.request();
    let head = "POST /v1/check-in HTTP/1.1\r\nHost: localhost\r\nConnection: close";
    stream.write_all(format!("{head}\r\nContent-Length: {}\r\n\r\n", request.bytes().len()).as_bytes()).await.unwrap();
    stream.write_all(request.bytes()).await.unwrap();
    let mut heard = Vec::new();
    let _ = stream.read_to_end(&mut heard).await;
    assert!(heard.is_empty(), "{heard:?}");
    assert_eq!(house.check_in(&mut site).await, CheckInStanding::Good);
    assert_eq!(house.script.answered(), 5);
}

#[tokio::test]
async fn every_bit_of_an_answer_counts() {
    let house = House::open().await;
    let mut site = house.site(1);
    let request = site.request();
    let told = house.asked(&site, &request).await;
    let mut bytes = told.reply.answer.into_bytes();
    for at in 0..bytes.len() * 8 {
        bytes[at / 8] ^= 1 << (at % 8);
        let judged = site.trust.check_in_answer(&bytes, site.clock.now());
        assert!(judged.is_err(), "bit {at}");
        bytes[at / 8] ^= 1 << (at % 8);
    }
}
