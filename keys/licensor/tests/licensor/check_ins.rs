//! Check-ins over loopback: heads and chains, duplicates, accounts, and what is refused.

use leasehold_keys::{
    activation::{HostRole, LicenseId},
    check_in::{CheckInRequest, CheckInStanding},
    digest::Sha256,
    note,
    root::KeyRole,
    time::{DAY_MS, HOUR_MS, SECOND_MS},
    trust::Trust,
};
use licensor::{
    catalog::Catalog,
    ledger::{Installed, Misfit},
    order::IssueOrder,
    vault::{KeyAlgorithm, PrivateKey, Protection, Purpose},
    workshop::Workshop,
};

use crate::{
    check_in_site::{House, Site},
    orders::{grant, with_grants},
    serve::{Answer, join},
    support::{Machine, noon},
};

const GOOD: CheckInStanding = CheckInStanding::Good;
const DUPLICATE: CheckInStanding = CheckInStanding::Duplicate;

impl House {
    pub(crate) fn row(&self, site: &Site) -> Installed {
        let rows = self.workshop.ledger().check_ins().unwrap();
        let id = site.machine().key().id();
        rows.into_iter().find(|row| row.license_id == site.license && row.installation.id() == id).unwrap()
    }

    fn misfit(&self, site: &Site) -> Option<Misfit> {
        self.row(site).duplicate.map(|(misfit, _)| misfit)
    }

    /// The newest file, issued again for these machines.
    fn re_issue(&mut self, seeds: &[(u8, HostRole)]) {
        let hosts = seeds.iter().map(|(seed, role)| Machine::new("cic", *seed).as_host(*role)).collect();
        let order = IssueOrder { license_id: Some(self.license), hosts, ..with_grants() };
        let now = self.clock.now();
        self.workshop.issue(&Catalog::pureconnect(), &order, now).unwrap();
    }
}

#[tokio::test]
async fn a_site_in_good_standing_is_told_so_and_its_chain_goes_on() {
    let house = House::open().await;
    let mut site = house.site(1);
    let mut before = None;
    for counter in 1..=5 {
        assert_eq!(house.check_in(&mut site).await, GOOD);
        let row = house.row(&site);
        // The head is the last answer that the site quoted, which is the one before this.
        assert_eq!((row.head, row.head_counter), (before, counter - 1));
        assert_eq!((row.duplicate, row.requests, row.last), (None, counter, house.clock.now()));
        before = site.previous;
    }
    assert!(house.workshop.ledger().check_in_remarks().unwrap().is_empty());
    let health = house.client.get("/v1/health").await;
    assert_eq!(health.status, 200);
    house.serving.stop().await.unwrap();
}

#[tokio::test]
async fn an_answer_names_its_request_in_every_way() {
    let house = House::open().await;
    let mut site = house.site(1);
    let request = site.request();
    let told = house.asked(&site, &request).await.answer;
    assert_eq!((told.request, told.nonce, told.counter), (request.sha256(), request.nonce, 1));
    assert_eq!((told.license_id, told.installation), (house.license, site.machine().key().id()));
    assert_eq!((told.time, told.message), (noon(), None));
    assert!(told.roots.is_empty() && told.files.is_empty());
}

#[tokio::test]
async fn lost_answers_never_make_an_honest_site_a_duplicate() {
    let house = House::open().await;
    let mut site = house.site(1);
    // The first answers are lost; then later ones; and one comes that was given long before.
    for round in 0..3 {
        for _ in 0..70 {
            let request = site.request();
            assert_eq!(house.asked(&site, &request).await.answer.standing, GOOD, "{round}");
            house.clock.goes_on(60 * SECOND_MS);
        }
        assert_eq!(house.check_in(&mut site).await, GOOD);
    }
    assert_eq!(house.misfit(&site), None);
    // The same, where the daemon was restarted before it knew its counter again: it counts on from the last answer.
    let known = site.counter;
    for _ in 0..5 {
        site.counter = known;
        let request = site.request();
        assert_eq!(house.asked(&site, &request).await.answer.standing, GOOD);
        house.clock.goes_on(HOUR_MS);
    }
    assert_eq!(house.check_in(&mut site).await, GOOD);
    assert_eq!(house.check_in(&mut site).await, GOOD);
}

#[tokio::test]
async fn the_same_request_again_gets_the_same_answer() {
    let house = House::open().await;
    let mut site = house.site(1);
    let request = site.request();
    let first = house.asked(&site, &request).await;
    house.clock.goes_on(HOUR_MS);
    let again = house.asked(&site, &request).await;
    assert_eq!(again.reply, first.reply);
    // Quoted meanwhile, it is still the same.
    site.take(&first);
    assert_eq!(house.check_in(&mut site).await, GOOD);
    assert_eq!(house.asked(&site, &request).await.reply, first.reply);
    assert_eq!(house.check_in(&mut site).await, GOOD);
}

#[tokio::test]
async fn a_restored_older_state_is_a_duplicate() {
    let house = House::open().await;
    let mut site = house.site(1);
    house.check_in(&mut site).await;
    let backup = site.clone();
    for _ in 0..3 {
        assert_eq!(house.check_in(&mut site).await, GOOD);
    }
    let mut restored = backup;
    assert_eq!(house.check_in(&mut restored).await, DUPLICATE);
    assert_eq!(house.misfit(&site), Some(Misfit::Chain));
    // It stays one, whichever state asks, until the licensor clears it.
    assert_eq!(house.check_in(&mut restored).await, DUPLICATE);
    assert_eq!(house.check_in(&mut site).await, DUPLICATE);
    let request = site.request();
    let told = house.asked(&site, &request).await;
    let message = told.answer.message.unwrap();
    assert!(message.as_str().contains("ask the licensor to clear it"), "{message}");
}

#[tokio::test]
async fn a_state_that_lost_its_check_ins_is_a_duplicate() {
    let house = House::open().await;
    let mut site = house.site(1);
    let mut lost = site.clone();
    house.check_in(&mut site).await;
    house.check_in(&mut site).await;
    assert_eq!(house.check_in(&mut lost).await, DUPLICATE);
    assert_eq!(house.misfit(&site), Some(Misfit::Lost));
}

#[tokio::test]
async fn a_restored_state_that_knows_the_head_but_counts_from_before_is_a_duplicate() {
    let house = House::open().await;
    let mut site = house.site(1);
    house.check_in(&mut site).await;
    let told = site.previous;
    house.check_in(&mut site).await;
    site.previous = told;
    site.counter = 0;
    assert_eq!(house.check_in(&mut site).await, DUPLICATE);
    assert_eq!(house.misfit(&site), Some(Misfit::Counter));
}

#[tokio::test]
async fn a_clone_is_a_duplicate_as_soon_as_both_have_quoted_an_answer() {
    let house = House::open().await;
    let mut site = house.site(1);
    house.check_in(&mut site).await;
    house.check_in(&mut site).await;
    let mut clone = site.clone();
    // Both go on from one head: that could be a site that lost an answer.
    assert_eq!(house.check_in(&mut site).await, GOOD);
    assert_eq!(house.check_in(&mut clone).await, GOOD);
    assert_eq!(house.check_in(&mut site).await, GOOD);
    // The clone quotes what was told to nobody who quoted it in time.
    assert_eq!(house.check_in(&mut clone).await, DUPLICATE);
    assert_eq!(house.check_in(&mut site).await, DUPLICATE);
    assert_eq!(house.misfit(&site), Some(Misfit::Chain));
}

#[tokio::test]
async fn an_unknown_installation_never_moves_a_known_ones_head() {
    let house = House::open().await;
    let mut site = house.site(1);
    house.check_in(&mut site).await;
    house.check_in(&mut site).await;
    let before = house.row(&site);
    // It claims the known one's last answer, or none; it is one too many either way.
    let (mut liar, mut newcomer) = (house.site(8), house.site(9));
    liar.previous = site.previous;
    liar.counter = site.counter;
    assert_eq!(house.check_in(&mut liar).await, DUPLICATE);
    assert_eq!(house.check_in(&mut newcomer).await, DUPLICATE);
    assert_eq!((house.misfit(&liar), house.misfit(&newcomer)), (Some(Misfit::Unknown), Some(Misfit::Crowded)));
    let request = house.asked(&newcomer.clone(), &newcomer.request()).await;
    assert!(request.answer.message.unwrap().as_str().contains("as many servers as the license is for"));
    assert_eq!(house.row(&site), before);
    assert_eq!(house.check_in(&mut site).await, GOOD);
}

#[tokio::test]
async fn the_machine_of_the_file_has_its_place_whoever_came_first() {
    let mut house = House::open().await;
    // Somebody who has the file was first.
    let mut first = house.site(9);
    assert_eq!(house.check_in(&mut first).await, GOOD);
    let mut meant = house.site(1);
    assert_eq!(house.check_in(&mut meant).await, GOOD);
    assert_eq!(house.check_in(&mut first).await, DUPLICATE);
    assert_eq!(house.misfit(&first), Some(Misfit::Moved));
    // The license is issued for another machine: the old one goes once the new one has come.
    house.re_issue(&[(5, HostRole::Primary)]);
    assert_eq!(house.check_in(&mut meant).await, GOOD);
    let mut moved = house.site(5);
    assert_eq!(house.check_in(&mut moved).await, GOOD);
    assert_eq!(house.check_in(&mut meant).await, DUPLICATE);
    assert_eq!(house.misfit(&meant), Some(Misfit::Moved));
    // And back.
    house.re_issue(&[(1, HostRole::Primary)]);
    assert_eq!(house.check_in(&mut meant).await, GOOD);
    assert_eq!(house.check_in(&mut moved).await, DUPLICATE);
}

#[tokio::test]
async fn both_servers_of_a_pair_check_in_and_no_third() {
    let hosts = [(1, HostRole::Primary), (2, HostRole::Switchover)];
    let hosts = hosts.map(|(seed, role)| Machine::new("cic", seed).as_host(role)).to_vec();
    let order = IssueOrder {
        hosts,
        grants: vec![grant("I3_SESSION_CALL", 10), grant("I3_FEATURE_SWITCHOVER", 1)],
        ..with_grants()
    };
    let house = House::of(&order).await;
    let (mut one, mut two, mut three) = (house.site(1), house.site(2), house.site(3));
    for _ in 0..3 {
        assert_eq!(house.check_in(&mut one).await, GOOD);
        assert_eq!(house.check_in(&mut two).await, GOOD);
        assert_eq!(house.check_in(&mut three).await, DUPLICATE);
    }
    assert_eq!(
        (house.row(&one).host_role, house.row(&two).host_role),
        (Some(HostRole::Primary), Some(HostRole::Switchover))
    );
}

#[tokio::test]
async fn what_is_cleared_is_believed_once_more_and_then_judged_as_before() {
    let mut house = House::open().await;
    let mut site = house.site(1);
    house.check_in(&mut site).await;
    let mut restored = site.clone();
    house.check_in(&mut site).await;
    house.check_in(&mut site).await;
    assert_eq!(house.check_in(&mut restored).await, DUPLICATE);
    let id = site.machine().key().id();
    house.workshop.clear_check_in(house.license, id).unwrap();
    // The restored state is the one that runs from now on.
    assert_eq!(house.check_in(&mut restored).await, GOOD);
    assert_eq!(house.check_in(&mut restored).await, GOOD);
    assert_eq!(house.check_in(&mut site).await, DUPLICATE);

    // One too many is cleared, and the first one forgotten.
    let mut newcomer = house.site(9);
    assert_eq!(house.check_in(&mut newcomer).await, DUPLICATE);
    let other = newcomer.machine().key().id();
    house.workshop.clear_check_in(house.license, other).unwrap();
    assert_eq!(house.check_in(&mut newcomer).await, GOOD);
    house.workshop.forget_check_in(house.license, id).unwrap();
    assert_eq!(house.check_in(&mut newcomer).await, GOOD);
    assert!(house.workshop.forget_check_in(house.license, id).unwrap_err().to_string().contains("never checked in"));
    assert!(house.workshop.clear_check_in(house.license, id).is_err());
    // What was forgotten quotes an answer that nobody remembers.
    assert_eq!(house.check_in(&mut restored).await, DUPLICATE);
    assert_eq!(house.misfit(&restored), Some(Misfit::Unknown));
}

#[tokio::test]
async fn a_newer_file_comes_beside_the_answer() {
    let mut house = House::open().await;
    let mut site = house.site(1);
    house.re_issue(&[(1, HostRole::Primary)]);
    let request = site.request();
    let told = house.asked(&site, &request).await;
    let newest = house.workshop.ledger().file(house.license, None).unwrap().unwrap();
    assert_eq!(told.answer.files, [newest.sha256]);
    assert_eq!(told.reply.files[0].name, format!("{}-2.i3lic", house.license));
    let file = house.workshop.trust().activation(told.reply.files[0].note.as_bytes(), noon()).unwrap();
    assert_eq!((file.license_id, file.sequence, file.sha256()), (house.license, 2, newest.sha256));
    site.take(&told);
    (site.sequence, site.file) = (2, newest.sha256);
    let request = site.request();
    assert!(house.asked(&site, &request).await.answer.files.is_empty());
}

/// Publishes root 2, whose only check-in key is a new one.
fn with_next_root(workshop: Workshop) -> Workshop {
    let keys = workshop.dir().join("keys");
    let anchor = |name: &str| PrivateKey::load(&keys.join(name), None).unwrap().signing().unwrap();
    let new = PrivateKey::generate("acme.example/check-in-next", Purpose::CheckIn, KeyAlgorithm::Ed25519).unwrap();
    new.store(&keys.join("check-in-next.key"), &Protection::None).unwrap();
    let mut root = (**workshop.trust().root()).clone();
    root.version = 2;
    for key in root.role_keys.iter_mut().filter(|key| key.role == KeyRole::CheckIn) {
        (key.key, key.epoch) = (new.signing().unwrap().public().clone(), 2);
    }
    let note = note::sign(&root.render(), &[&anchor("root-1.key"), &anchor("root-3.key")]).unwrap();
    let db = rusqlite::Connection::open(workshop.dir().join("licensor.db")).unwrap();
    let row = (2, noon().as_ms(), Sha256::of(note.as_bytes()).to_string(), &note);
    db.execute("INSERT INTO root (version, made_ms, sha256, note) VALUES (?1, ?2, ?3, ?4)", row).unwrap();
    Workshop::open(workshop.dir(), None).unwrap()
}

#[tokio::test]
async fn newer_roots_come_beside_the_answer_that_their_keys_sign() {
    let house = House::after(&with_grants(), with_next_root).await;
    let mut site = house.site(1);
    site.trust = Trust::anchored(house.workshop.ledger().roots().unwrap()[0].as_bytes()).unwrap();
    let request = site.request();
    let told = house.asked(&site, &request).await;
    assert_eq!(told.answer.roots, [house.workshop.trust().root().sha256()]);
    assert!(told.reply.answer.contains("— acme.example/check-in-next "), "{}", told.reply.answer);
    let before = site.trust.check_in_answer(told.reply.answer.as_bytes(), noon()).unwrap_err();
    assert_eq!(before.reason(), "unknown-key");
    site.take(&told);
    (site.trust, _) = told.reply.succeeded(&site.trust);
    assert_eq!(site.trust.root().version, 2);
    let request = site.request();
    assert!(house.asked(&site, &request).await.answer.roots.is_empty());
}

#[tokio::test]
async fn what_is_refused_is_refused_in_words_and_changes_nothing() {
    let house = House::open().await;
    let mut site = house.site(1);
    house.check_in(&mut site).await;
    let before = house.row(&site);
    let good = site.request();
    let text = String::from_utf8(good.bytes().to_vec()).unwrap();
    let refuses = async |body: &[u8], status, code: &str, words: &str| {
        house.post(body).await.refuses(status, code, words);
    };
    refuses(b"", 422, "empty", "empty").await;
    refuses(b"hello", 422, "no-blank-line", "signed file").await;
    refuses(&[0xff; 300], 422, "not-utf8", "UTF-8").await;
    refuses(site.machine().request().as_bytes(), 422, "wrong-kind", "host request").await;
    refuses(text.replace("fencing = 77", "fencing = 78").as_bytes(), 422, "bad-signature", "changed").await;
    let (_, signatures) = text.split_once("\n\n").unwrap();
    let mut stranger = house.site(8);
    let other = String::from_utf8(stranger.request().bytes().to_vec()).unwrap();
    let mixed = format!("{}\n\n{signatures}", other.split_once("\n\n").unwrap().0);
    refuses(mixed.as_bytes(), 422, "not-its-installation", "did not sign").await;
    for cut in [1, text.len() / 2, text.len() - 1] {
        assert_eq!(house.post(&text.as_bytes()[..cut]).await.status, 422, "{cut}");
    }

    let sign = |request: CheckInRequest| request.sign(site.machine().key()).unwrap();
    let license_id = LicenseId(uuid::Uuid::from_u128(1));
    let wrong = sign(CheckInRequest { license_id, ..(*good).clone() });
    refuses(wrong.bytes(), 403, "unknown-license", "not issued by this licensor").await;
    let wrong = sign(CheckInRequest { sequence: 9, ..(*good).clone() });
    refuses(wrong.bytes(), 403, "unknown-file", "a file 9").await;
    let wrong = sign(CheckInRequest { file: Sha256::of(b"guessed"), ..(*good).clone() });
    refuses(wrong.bytes(), 403, "unknown-file", "load the file").await;

    house.client.get("/v1/check-in").await.refuses(405, "no-such-method", "method");
    assert_eq!(house.row(&site), before);
    assert_eq!(house.workshop.ledger().check_ins().unwrap().len(), 1);
    assert_eq!(house.asked(&site, &good).await.answer.standing, GOOD);
}

#[tokio::test]
async fn what_is_too_large_is_refused_before_it_comes_and_while_it_does() {
    let house = House::open().await;
    let head = "POST /v1/check-in HTTP/1.1\r\nContent-Length: 131073";
    house.client.ask(head, b"").await.refuses(413, "too-large", "131072");
    let chunk = [format!("{:x}\r\n", 1 << 17).into_bytes(), vec![b'x'; 1 << 17], b"\r\n".to_vec()].concat();
    let body = [chunk.clone(), chunk, b"0\r\n\r\n".to_vec()].concat();
    let head = "POST /v1/check-in HTTP/1.1\r\nTransfer-Encoding: chunked";
    house.client.ask(head, &body).await.refuses(413, "too-large", "131072");
    assert!(house.workshop.ledger().check_ins().unwrap().is_empty());
}

#[tokio::test]
async fn a_request_that_was_overtaken_is_refused_and_flags_nobody() {
    let house = House::open().await;
    let mut site = house.site(1);
    house.check_in(&mut site).await;
    // Somebody carries it off as a file, and the site goes on over the network meanwhile.
    let carried = site.request();
    house.check_in(&mut site).await;
    house.check_in(&mut site).await;
    house.check_in(&mut site).await;
    house.post(carried.bytes()).await.refuses(409, "stale-request", "make a new request");
    // So is one that was heard on the way and is repeated.
    house.post(carried.bytes()).await.refuses(409, "stale-request", "later ones");
    // A restored state gains nothing by dating its request back.
    let mut restored = house.site(1);
    restored.counter = 1;
    let back = CheckInRequest { created: noon(), ..restored.says() }.sign(restored.machine().key()).unwrap();
    house.post(back.bytes()).await.refuses(409, "stale-request", "later ones");
    assert_eq!(house.misfit(&site), None);
    assert_eq!(house.check_in(&mut site).await, GOOD);
}

#[tokio::test]
async fn requests_of_one_installation_at_once_are_each_answered() {
    let house = House::open().await;
    let mut site = house.site(1);
    house.check_in(&mut site).await;
    let requests: Vec<_> = (0..16).map(|_| site.request()).collect();
    let asked = requests.iter().map(|request| Box::pin(house.post(request.bytes()))).collect();
    let answers: Vec<Answer> = join(asked).await;
    let told: Vec<_> = requests.iter().zip(&answers).map(|(request, answer)| site.judge(request, answer)).collect();
    assert!(told.iter().all(|told| told.answer.standing == GOOD));
    // Whichever came last to the site is quoted.
    site.take(&told[3]);
    assert_eq!(house.check_in(&mut site).await, GOOD);
    assert_eq!(house.check_in(&mut site).await, GOOD);
}

#[tokio::test]
async fn many_sites_at_once_have_each_their_own_chain() {
    let mut house = House::open().await;
    let mut sites = Vec::new();
    for seed in 20..28 {
        let hosts = vec![Machine::new("cic", seed).as_host(HostRole::Primary)];
        let order = IssueOrder { hosts, ..with_grants() };
        let issued = house.workshop.issue(&Catalog::pureconnect(), &order, noon()).unwrap();
        let (license, file) = (issued.activation.license_id, issued.activation.sha256());
        sites.push(Site { license, file, ..house.site(seed) });
    }
    for _ in 0..4 {
        house.clock.goes_on(12 * HOUR_MS);
        let requests: Vec<_> = sites.iter_mut().map(Site::request).collect();
        let asked = requests.iter().map(|request| Box::pin(house.post(request.bytes()))).collect();
        for ((site, request), answer) in sites.iter_mut().zip(&requests).zip(join(asked).await) {
            let told = site.judge(request, &answer);
            assert_eq!(told.answer.standing, GOOD);
            site.take(&told);
        }
    }
    assert_eq!(house.workshop.ledger().check_ins().unwrap().len(), 8);
}

#[tokio::test]
async fn no_more_than_64_installations_of_a_license_are_remembered() {
    let house = House::open().await;
    let first = house.site(1);
    for machine in 1..=64 {
        let mut site = Site { machine, ..first.clone() };
        house.check_in(&mut site).await;
    }
    let mut one_more = Site { machine: 65, ..first.clone() };
    house.post(one_more.request().bytes()).await.refuses(403, "too-many-installations", "64");
    assert_eq!(house.workshop.ledger().check_ins().unwrap().len(), 64);
}

#[tokio::test]
async fn check_ins_are_signed_by_keys_that_count_now_or_not_at_all() {
    let house = House::open().await;
    let mut site = house.site(1);
    // Keys and root last five years.
    house.clock.goes_on(6 * 366 * DAY_MS);
    house.post(site.request().bytes()).await.refuses(503, "failed", "later");
    assert_eq!(house.client.get("/v1/health").await.status, 503);
    assert!(house.workshop.ledger().check_ins().unwrap().is_empty());
}

#[tokio::test]
async fn an_endpoint_without_check_ins_says_so() {
    let (_dir, workshop) = crate::support::workshop();
    let intake = workshop.intake(workshop.dir(), noon()).unwrap();
    let rcgen::CertifiedKey { cert, signing_key } = crate::serve::certificate();
    let key = tokio_rustls::rustls::pki_types::PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let tls = licensor::serve::tls::config(vec![cert.der().clone()], key).unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let serving = licensor::serve::start(listener, tls, intake, std::sync::Arc::new(noon)).unwrap();
    let client = crate::serve::Client { address: serving.address(), certificate: cert.der().clone() };
    crate::check_in_site::post(&client, b"x").await.refuses(503, "not-served", "not answered here");
    assert_eq!(client.get("/v1/health").await.status, 200);
}
