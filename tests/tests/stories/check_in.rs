//! Check-ins through the real daemon and the real programs (05): what the licensor answers counts, over restarts too, and comes
//! back at once; off the network the same goes by file. The licensor's own endpoint answers, by the story's clock.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use leasehold_keys::{
    activation::{LicenseId, Model},
    time::{DAY_MS, WallTime},
};
use leasehold_proto::v1;
use leasehold_tests::{Admin, App, Ask, Daemon, Site, programs::leasehold};
use licensor::{
    ledger::{AccountState, Remarked},
    order::IssueOrder,
    serve::{self, Desks, Serving},
};
use tokio::net::TcpListener;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

const HOUR_MS: u64 = 3_600_000;
const DAY: u64 = 24 * HOUR_MS;
const CLOUD: &str = "I3_FEATURE_VIRTUAL_CLOUD";
const CALLS: &str = "I3_SESSION_CALL";

/// The licensor's endpoint.
struct Endpoint {
    port: u16,
    clock: Arc<AtomicI64>,
    serving: Option<Serving>,
}

impl Endpoint {
    async fn open(site: &Site) -> Self {
        let signed = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
        fs::write(site.dir().join("ca.pem"), signed.cert.pem()).expect("it is written");
        site.configure(&format!("[network]\nca = {:?}\n", site.dir().join("ca.pem")));
        let key = PrivateKeyDer::try_from(signed.signing_key.serialize_der()).expect("a key");
        let tls = serve::tls::config(vec![signed.cert.der().clone()], key).expect("TLS");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let now = site.now();
        let desks = site.licensor(|workshop| {
            let intake = workshop.intake(workshop.dir(), now).expect("an intake");
            Desks::new(intake).with_check_ins(workshop.check_ins(now).expect("a desk"))
        });
        let clock = Arc::new(AtomicI64::new(site.now().as_ms()));
        let told = clock.clone();
        let time = Arc::new(move || WallTime::from_ms(told.load(Ordering::Relaxed)));
        let serving = serve::start(listener, tls, desks, time).expect("it serves");
        Self { port, clock, serving: Some(serving) }
    }

    /// Time passes, for the licensor and the site.
    fn advance(&self, site: &Site, ms: u64) {
        // The licensor first: nobody is to find it behind.
        self.clock.store(site.now().as_ms() + i64::try_from(ms).expect("not so long"), Ordering::Relaxed);
        site.advance(ms);
    }

    /// The licensor cannot be reached any more.
    async fn close(&mut self) {
        if let Some(serving) = self.serving.take() {
            serving.stop().await.expect("it ends");
        }
    }
}

/// A subscription that asks for check-ins: enforcement began with the story, and a stage is a day long.
fn order(site: &Site, endpoint: Option<&Endpoint>) -> IssueOrder {
    IssueOrder {
        model: Model::Subscription,
        maintenance_end: None,
        not_after: Some(site.now().plus_ms(365 * DAY_MS)),
        // Stories begin at midnight.
        ramp: Some(site.now()),
        grace_days: Some(1),
        check_in_endpoint: Some(
            endpoint.map_or_else(|| "https://127.0.0.1:1".to_owned(), |it| format!("https://localhost:{}", it.port)),
        ),
        ..site.order_of(&[(CLOUD, 1), (CALLS, 10)])
    }
}

fn standing(status: &v1::GetStatusResponse) -> &v1::Standing {
    status.standing.as_ref().expect("a standing")
}

fn check_in(status: &v1::GetStatusResponse) -> &v1::CheckInStatus {
    standing(status).licenses[0].check_in.as_ref().expect("how it checks in")
}

fn verdict(status: &v1::GetStatusResponse) -> &str {
    standing(status).licenses.first().map_or("", |license| license.verdict.as_str())
}

fn reasons(status: &v1::GetStatusResponse) -> Vec<&str> {
    status.notices.iter().map(|notice| notice.reason.as_str()).collect()
}

async fn checks_in(admin: &Admin) -> v1::CheckInOutcome {
    let answer = admin.calls.clone().check_in(v1::CheckInRequest::default()).await.expect("an answer").into_inner();
    answer.outcomes.into_iter().next().expect("of the license")
}

fn license(text: &str) -> LicenseId {
    LicenseId(text.parse().expect("a license ID"))
}

async fn holds_calls(app: &App, leases: &[u64]) {
    for lease in leases {
        app.renew_one(*lease).await.expect("a live call goes on");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_licensor_answers_counts_over_restarts_and_comes_back_at_once() {
    let site = Site::new();
    let endpoint = Endpoint::open(&site).await;
    let daemon = Daemon::start(&site).await;
    let admin = daemon.admin().await;
    let issued = site.issue(&order(&site, Some(&endpoint)));
    admin.load("base.i3lic", &issued.note).await;
    // A change of files is an occasion.
    let status = admin.status_when("a good answer", |status| verdict(status) == "good").await;
    assert_eq!((standing(&status).stage, check_in(&status).counter), (1, 1));
    assert_eq!(check_in(&status).endpoint, format!("https://localhost:{}", endpoint.port));
    assert!(check_in(&status).failure.is_none() && check_in(&status).next_attempt.is_some());
    // The stages to come without another answer, a day each.
    let ahead = admin.calls.clone().get_standing(v1::GetStandingRequest::default()).await.unwrap().into_inner().ahead;
    let days = |at: &v1::StageAhead| (at.at.expect("a date").seconds * 1_000 - site.now().as_ms()) / DAY_MS;
    let told: Vec<_> = ahead.iter().map(|at| (at.stage, days(at))).collect();
    assert_eq!(told, [(2, 1), (3, 2), (4, 3), (5, 4), (6, 5)]);
    let app = daemon.app("acd").await;
    let mut calls = Vec::new();
    for _ in 0..5 {
        calls.push(app.acquire(Ask::units(CALLS, 1).ttl_ms(DAY)).await.expect("a port").lease_id);
    }

    // A bill stays open: check-ins are not answered, and that is told, with the licensor's words.
    let id = license(&standing(&status).licenses[0].license_id);
    let remarked = Remarked { reason: "bill 4711 is open".to_owned(), at: site.now(), by: "tests".to_owned() };
    site.licensor(|workshop| workshop.set_account_state(id, &AccountState::Hold(remarked.clone()))).unwrap();
    endpoint.advance(&site, 14 * HOUR_MS);
    let failed = |status: &v1::GetStatusResponse| check_in(status).failure.clone();
    let status = admin.status_when("a failure", |status| failed(status).is_some()).await;
    let failure = failed(&status).unwrap();
    assert_eq!(failure.code, "server-refused");
    assert!(failure.message.contains("bill 4711 is open") && !failure.remedy.is_empty(), "{failure:?}");
    assert!(reasons(&status).contains(&"CHECK_IN_FAILED"), "{status:?}");
    daemon.logged(&["the check-in failed", "bill 4711 is open", "To do:"]).await;
    // A day after the last good one: the quiet warning; and a restart knows both.
    endpoint.advance(&site, 11 * HOUR_MS);
    let status = admin.status_when("stage 2", |status| standing(status).stage == 2).await;
    assert!(reasons(&status).contains(&"STANDING"), "{status:?}");
    holds_calls(&app, &calls).await;
    daemon.kill().await;
    let daemon = Daemon::start(&site).await;
    let admin = daemon.admin().await;
    let status = admin.status().await;
    assert_eq!((standing(&status).stage, verdict(&status)), (2, "good"));
    assert!(failed(&status).is_some(), "{status:?}");

    // Then it is withdrawn. One stage down in twelve hours, whatever the answer says.
    let revoked = AccountState::Revoked { from: site.now(), remarked };
    site.licensor(|workshop| workshop.set_account_state(id, &revoked)).unwrap();
    let outcome = checks_in(&admin).await;
    assert_eq!((outcome.verdict.as_str(), outcome.code.as_str()), ("revoked", ""));
    let status = admin.status_when("its target", |status| standing(status).target == 6).await;
    assert_eq!(standing(&status).stage, 2);
    daemon.stop().await;
    let daemon = Daemon::start(&site).await;
    let (admin, app) = (daemon.admin().await, daemon.app("acd").await);
    assert_eq!(standing(&admin.status().await).target, 6, "it counts after a restart");
    for stage in 3..=6 {
        endpoint.advance(&site, 12 * HOUR_MS);
        let status = admin.status_when("the next stage", |status| standing(status).stage >= stage).await;
        assert_eq!(standing(&status).stage, stage, "{:?}", standing(&status).message);
        holds_calls(&app, &calls).await;
    }
    assert_eq!(app.acquire(Ask::units(CALLS, 1)).await.unwrap_err().reason, "POOL_EXHAUSTED");

    // And restored: everything is back with the answer.
    site.licensor(|workshop| workshop.set_account_state(id, &AccountState::Good)).unwrap();
    let ran = tokio::task::spawn_blocking({
        let socket = site.socket();
        move || leasehold(&socket, ["check-in", "--json"])
    });
    assert_eq!(ran.await.unwrap().done().json()["outcomes"][0]["verdict"], "good");
    let status = admin.status().await;
    assert_eq!((standing(&status).stage, verdict(&status)), (1, "good"));
    app.acquire(Ask::units(CALLS, 5)).await.expect("all ten ports count again");
    holds_calls(&app, &calls).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_site_without_a_network_checks_in_by_file() {
    let site = Site::new();
    let daemon = Daemon::start(&site).await;
    let admin = daemon.admin().await;
    admin.load("base.i3lic", &site.issue(&order(&site, None)).note).await;
    let status = admin
        .status_when("a failure", |status| {
            standing(status)
                .licenses
                .first()
                .is_some_and(|it| it.check_in.as_ref().is_some_and(|it| it.failure.is_some()))
        })
        .await;
    assert_eq!(check_in(&status).failure.as_ref().unwrap().code, "refused");
    let (socket, request, answer) = (site.socket(), site.dir().join("site.check-in"), site.dir().join("site.answer"));
    let run = async |arguments: Vec<String>| {
        let socket = socket.clone();
        tokio::task::spawn_blocking(move || leasehold(&socket, arguments)).await.unwrap()
    };
    run(vec!["check-in".into(), "--request".into(), request.display().to_string()]).await.done();
    // At the licensor's desk, a day later.
    site.advance(DAY);
    let mut desk = site.licensor(|workshop| workshop.check_ins(site.now())).expect("a desk");
    let answered = desk.answer(&fs::read(&request).unwrap(), site.now()).expect("an answer");
    fs::write(&answer, &answered.reply.answer).unwrap();
    // The daemon starts anew meanwhile.
    daemon.kill().await;
    let daemon = Daemon::start(&site).await;
    let admin = daemon.admin().await;
    let take = || run(vec!["check-in".into(), "--answer".into(), answer.display().to_string(), "--json".into()]);
    let taken = take().await.done();
    assert_eq!(taken.json()["outcome"]["verdict"], "good", "{taken:?}");
    let status = admin.status().await;
    assert_eq!((verdict(&status), standing(&status).stage), ("good", 1));
    let again = take().await;
    assert_ne!(again.code, 0, "it counts once: {again:?}");
    let audit = admin.audit().await;
    let of = |action: &str| audit.iter().filter(|entry| entry.action == action).count();
    assert_eq!((of("check-in request"), of("check-in answer")), (1, 1), "{audit:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_licensor_that_is_gone_is_told_once_an_attempt_and_readiness_waits_for_nobody() {
    let site = Site::new();
    let mut endpoint = Endpoint::open(&site).await;
    site.drop_in("base.i3lic", site.issue(&order(&site, Some(&endpoint))).note.as_bytes());
    let daemon = Daemon::start(&site).await;
    let admin = daemon.admin().await;
    admin.status_when("a good answer", |status| verdict(status) == "good").await;
    endpoint.close().await;
    daemon.stop().await;
    let daemon = Daemon::start(&site).await;
    let admin = daemon.admin().await;
    let failures = |status: &v1::GetStatusResponse| check_in(status).failure.as_ref().map_or(0, |it| it.attempts);
    for attempts in 1..=3 {
        admin.status_when("an attempt", |status| failures(status) >= attempts).await;
        let told = daemon.log().matches("the check-in failed").count();
        assert_eq!(told, usize::try_from(attempts).unwrap(), "{}", daemon.log());
        let next = check_in(&admin.status().await).next_attempt.expect("it is tried again");
        let wait_ms = next.seconds * 1_000 - site.now().as_ms();
        assert!((55_000..=3_600_000).contains(&wait_ms), "{wait_ms}");
        // No attempt is due before, and one is then.
        endpoint.advance(&site, u64::try_from(wait_ms).unwrap() + 1_000);
    }
    let doctor = admin.calls.clone().doctor(v1::DoctorRequest {}).await.unwrap().into_inner();
    let failed = doctor.steps.iter().find(|step| step.name == "check-in-connection").expect("a step of check-ins");
    assert_eq!((failed.state.as_str(), failed.code.as_str(), doctor.well), ("failed", "refused", false));
}
