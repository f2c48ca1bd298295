//! Delivery on its task, beside the real core and the real usage room: what becomes of files from their close to their end.

use std::{fs, sync::Arc, time::Duration};

use leasehold_engine::{command::Command, time::WallTime};
use leasehold_keys::activation::{Grant, Model, Units};
use licensor::{
    catalog::Catalog,
    order::IssueOrder,
    serve,
    vault::Protection,
    workshop::{CreateOptions, Workshop},
};
use tokio::net::TcpListener;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use super::{
    super::{FileState, Mode, Nearness},
    server::{Act, Authority, Flaw, Server, problem, receipt},
    site::{CLOUD, DAY_MS, HOUR_MS, Home, LOCAL, MINUTE_MS, WALL_MS},
};
use crate::{
    core::tests::licensor_granting,
    way_out::{Trouble, doctor::StepKind},
};

fn states(files: &[super::super::FileView]) -> Vec<FileState> {
    files.iter().map(|file| file.state).collect()
}

/// A home whose files go to a scripted server, and that server.
async fn home(grants: &[(&str, u32)], script: Vec<Act>) -> (Home, Server) {
    let authority = Authority::new();
    let server = Server::start(&authority, Flaw::None, script).await;
    (Home::sending_to(grants, authority, &server), server)
}

#[tokio::test(flavor = "multi_thread")]
async fn files_go_oldest_first_and_are_receipted() {
    let (home, server) = home(CLOUD, Vec::new()).await;
    let mut site = home.start().await;
    let open = site.files(|files| files.len() == 1).await;
    assert_eq!(states(&open), [FileState::Open]);
    assert_eq!(open[0].remedy(Mode::Automatic), "");
    home.set_time(DAY_MS);
    site.files(|files| files.len() == 2 && files[0].row.acknowledged.is_some()).await;
    home.set_time(2 * DAY_MS);
    let files = site.files(|files| files.len() == 3 && files[1].row.acknowledged.is_some()).await;
    assert_eq!(states(&files), [FileState::Acknowledged, FileState::Acknowledged, FileState::Open]);
    let names: Vec<String> =
        files[..2].iter().map(|file| format!("PUT /v1/usage/{}?final=true", file.row.file)).collect();
    assert_eq!(server.asked(), names);
    for file in &files[..2] {
        assert!(!file.row.stored && file.row.uploaded.is_some() && file.path.is_file());
        let kept = fs::read(file.receipt.as_ref().unwrap()).unwrap();
        let receipt = home.trust.usage_receipt_accepted_before(&kept, file.row.acknowledged.unwrap()).unwrap();
        assert_eq!(Some(receipt.sha256), file.row.sha256);
        assert_eq!(file.kept_until, Some(file.row.acknowledged.unwrap().plus_ms(400 * DAY_MS)));
        assert_eq!((file.due, &file.failure), (None, &None));
    }
    let state = site.until(|state| state.waiting == 0).await;
    assert_eq!((state.mode, state.destination), (Mode::Automatic, Some(server.url())));
    assert_eq!(state.last_acknowledged, files[1].row.acknowledged);
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_destination_of_the_activation_file_counts_where_none_is_configured() {
    let authority = Authority::new();
    let server = Server::start(&authority, Flaw::None, Vec::new()).await;
    let mut home = Home::new(CLOUD);
    home.network.settings.ca = Some(authority.file());
    let mut site = home.start().await;
    home.set_time(DAY_MS);
    let state = site.until(|state| state.failure.is_some()).await;
    assert_eq!(state.failure.unwrap().trouble, Trouble::NoDestination);
    assert_eq!(state.destination, None);
    // The next file names one.
    let (licensor, file) = licensor_granting(2, CLOUD);
    let mut terms = (*file).clone();
    terms.usage_destination = Some(server.url());
    let bytes = licensor.issue(&terms).unwrap();
    let file = licensor.trust().unwrap().activation(&bytes, WallTime::from_ms(WALL_MS)).unwrap();
    site.license(Arc::new(file)).await;
    home.set_time(DAY_MS + 10 * MINUTE_MS);
    site.files(|files| files[0].row.acknowledged.is_some()).await;
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_waits_a_minute_and_a_restart_neither_forgets_nor_hammers() {
    let (home, server) = home(CLOUD, vec![Act::HangUp, Act::HangUp]).await;
    let mut site = home.start().await;
    home.set_time(DAY_MS);
    let state = site.until(|state| state.failure.is_some()).await;
    let failure = state.failure.unwrap();
    assert_eq!((failure.trouble.code(), failure.attempts), ("tls-failed", 1));
    let wait = failure.again.as_ms() - failure.at.as_ms();
    assert!((MINUTE_MS..=3 * MINUTE_MS).contains(&wait), "{wait}");
    let files = site.delivery.files().await.unwrap();
    assert_eq!(files[0].state, FileState::Closed);
    assert_eq!(files[0].failure.as_ref().unwrap().trouble.code(), "tls-failed");
    assert!(files[0].remedy(Mode::Automatic).contains("does not speak TLS"));
    site.stop().await;

    // It is remembered; and while the clock stands still, nothing is tried.
    let mut site = home.start().await;
    let again = site.until(|state| state.failure.is_some()).await.failure.unwrap();
    assert_eq!((again.trouble, again.attempts), (failure.trouble, 1));
    site.files(|files| files.len() == 3).await;
    home.set_time(DAY_MS + 3 * MINUTE_MS);
    let state = site.until(|state| state.failure.as_ref().is_some_and(|failure| failure.attempts == 2)).await;
    let failure = state.failure.unwrap();
    assert_eq!(server.asked().len(), 0);
    // At the third time it is well, and what waited goes at once.
    home.set_time(failure.again.as_ms() - WALL_MS + 1_000);
    let files = site.files(|files| files.len() == 3 && files[1].row.acknowledged.is_some()).await;
    assert_eq!(server.asked().len(), 2);
    assert_eq!(files[0].failure, None);
    site.until(|state| state.failure.is_none()).await;
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stalls_holds_up_nobody_and_a_stop_gives_the_attempt_up() {
    let (home, server) = home(CLOUD, vec![Act::Stall]).await;
    let mut site = home.start().await;
    home.set_time(DAY_MS);
    server.hears().await;
    let files = site.files(|files| files[0].state == FileState::Uploading).await;
    assert_eq!(site.state.borrow().uploading.as_ref(), Some(&files[0].row.file));
    // What leases need of the core goes on; and so does what administrators ask.
    site.core.submit(Command::Tick).await.unwrap();
    assert_eq!(site.delivery.files().await.unwrap().len(), 2);
    // Well before the attempt would end by itself.
    tokio::time::timeout(home.network.patience.idle / 2, site.stop()).await.unwrap();
    // The file of the day, and that which the stop closed: each once more, and no more.
    let mut site = home.start().await;
    site.files(|files| files.len() == 3 && files[..2].iter().all(|file| file.row.acknowledged.is_some())).await;
    assert_eq!(server.asked().len(), 3);
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_is_asked_for_and_the_file_goes_once() {
    let (home, server) = home(CLOUD, vec![Act::SignAndCut]).await;
    let mut site = home.start().await;
    home.set_time(DAY_MS);
    let failure = site.until(|state| state.failure.is_some()).await.failure.unwrap();
    assert_eq!(failure.trouble.code(), "cut-off");
    site.stop().await;
    let mut site = home.start().await;
    home.set_time(DAY_MS + 4 * MINUTE_MS);
    let files = site.files(|files| files[0].row.acknowledged.is_some()).await;
    let name = &files[0].row.file;
    let first: Vec<String> = server.asked().into_iter().take(2).collect();
    assert_eq!(first, [format!("PUT /v1/usage/{name}?final=true"), format!("GET /v1/usage/{name}/receipt")]);
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_for_another_file_or_from_another_key_is_no_receipt() {
    let (home, server) = home(CLOUD, vec![Act::SignOther, Act::SignAsOther]).await;
    let mut site = home.start().await;
    home.set_time(DAY_MS);
    let files = site.files(|files| files[0].state == FileState::WrongReceipt).await;
    let failure = files[0].failure.clone().unwrap();
    assert_eq!(failure.trouble.code(), "receipt-for-other");
    assert!(failure.trouble.to_string().contains("SHA-256"), "{}", failure.trouble);
    assert!(failure.trouble.remedy().contains("stays here until a receipt for it comes"));
    let so_far = (files[0].state, files[0].row.uploaded, files[0].receipt.as_ref());
    assert_eq!(so_far, (FileState::WrongReceipt, None, None));
    // Nobody has copied this one.
    assert!(!failure.trouble.to_string().contains("opy"), "{}", failure.trouble);
    // One file that is answered badly stops no other, so that the way is not the trouble; and it is told all the same.
    let state = site.until(|state| !state.held.is_empty()).await;
    assert_eq!(state.failure, None);
    assert_eq!((state.held.len(), state.held[0].state), (1, FileState::WrongReceipt));
    assert_eq!(state.held[0].files, [files[0].row.file.clone()]);
    assert!(state.held[0].to_string().contains(&files[0].row.file), "{}", state.held[0]);
    home.set_time(DAY_MS + 4 * MINUTE_MS);
    let files = site
        .files(|files| files[0].failure.as_ref().is_some_and(|failure| failure.trouble.code() == "receipt-not-signed"))
        .await;
    let failure = files[0].failure.clone().unwrap();
    assert_eq!(failure.attempts, 2);
    assert!(failure.trouble.remedy().contains("newest root"), "{}", failure.trouble.remedy());
    assert!(!failure.trouble.to_string().contains("opy"), "{}", failure.trouble);
    assert_eq!(files[0].remedy(Mode::Automatic), failure.trouble.remedy());
    // Leases go on all the while; the file goes when its receipt is right.
    site.core.submit(Command::Tick).await.unwrap();
    home.set_time(failure.again.as_ms() - WALL_MS + 1_000);
    site.files(|files| files[0].row.acknowledged.is_some()).await;
    assert_eq!(server.asked().len(), 3);
    site.until(|state| state.held.is_empty()).await;
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mended_settings_begin_anew_after_a_restart_and_whoever_asks_waits_for_nothing() {
    let authority = Authority::new();
    let server = Server::start(&authority, Flaw::None, Vec::new()).await;
    let mut home = Home::sending_to(CLOUD, Authority::new(), &server);
    let mut site = home.start().await;
    home.set_time(DAY_MS);
    let failure = site.until(|state| state.failure.is_some()).await.failure.unwrap();
    assert_eq!(failure.trouble.code(), "tls-unverified");
    // Asked for, it is tried at once though its time has not come.
    let mut attempts = failure.attempts;
    for _ in 0..2 {
        assert!(site.delivery.send_now(Duration::from_secs(60)).await);
        let failure = site.until(|state| state.failure.as_ref().is_some_and(|it| it.attempts > attempts)).await;
        attempts = failure.failure.unwrap().attempts;
    }
    site.stop().await;
    // While nothing was mended, the wait goes on over a restart; the memory holds no secret.
    let kept = fs::read_to_string(home.path().join("usage-delivery.json")).unwrap();
    assert!(kept.contains("\"settings\"") && !kept.contains("ca.pem"), "{kept}");
    let mut site = home.start().await;
    site.until(|state| state.failure.is_some()).await;
    site.stop().await;
    home.network.settings.ca = Some(authority.file());
    let mut site = home.start().await;
    let files = site.files(|files| files[0].row.acknowledged.is_some()).await;
    assert_eq!(files[0].failure, None);
    assert!(site.delivery.send_now(Duration::from_secs(60)).await, "where nothing waits, nobody waits");
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_refused_does_not_hold_up_the_next() {
    let (home, server) = home(CLOUD, Vec::new()).await;
    let mut site = home.start().await;
    site.files(|files| files.len() == 1).await;
    server.then(problem(409, "fork", "another file of segment 1 was received"));
    home.set_time(DAY_MS);
    let files = site.files(|files| files[0].state == FileState::Refused).await;
    let failure = files[0].failure.clone().unwrap();
    assert!(failure.trouble.to_string().contains("another file of segment 1 was received (fork)"));
    let held = site.until(|state| !state.held.is_empty()).await.held;
    assert_eq!((held[0].state, held[0].failure.trouble.code()), (FileState::Refused, "server-refused"));
    // It is refused as often as it is tried.
    for _ in 0..4 {
        server.then(problem(409, "fork", "another file of segment 1 was received"));
        server.then(Act::Sign);
    }
    home.set_time(2 * DAY_MS);
    let files = site.files(|files| files.len() == 3 && files[1].row.acknowledged.is_some()).await;
    assert_eq!(files[0].row.acknowledged, None);
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_torn_file_is_mended_and_then_goes() {
    let (home, server) = home(CLOUD, vec![Act::HangUp]).await;
    let mut site = home.start().await;
    home.set_time(DAY_MS);
    site.until(|state| state.failure.is_some()).await;
    let files = site.closed(1).await;
    fs::write(&files[0].path, "torn").unwrap();
    home.set_time(DAY_MS + 4 * MINUTE_MS);
    let files = site.files(|files| files[0].state == FileState::Damaged).await;
    assert_eq!(files[0].failure.as_ref().unwrap().trouble.code(), "file-damaged");
    site.until(|state| state.held.iter().any(|held| held.state == FileState::Damaged)).await;
    assert_eq!(server.asked().len(), 0);
    let again = files[0].failure.as_ref().unwrap().again;
    home.set_time(again.as_ms() - WALL_MS + 1_000);
    site.files(|files| files[0].row.acknowledged.is_some()).await;
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn usage_that_is_kept_here_is_never_sent_and_never_deleted() {
    let (home, server) = home(LOCAL, Vec::new()).await;
    let mut site = home.start().await;
    home.set_time(DAY_MS);
    let files = site.closed(1).await;
    assert_eq!(files[0].state, FileState::Closed);
    assert!(files[0].remedy(Mode::Local).contains("send it by hand"), "{}", files[0].remedy(Mode::Local));
    site.delivery.hurry().await;
    let state = site.until(|state| state.mode == Mode::Local && state.waiting == 1).await;
    assert_eq!(state.failure, None);

    // The receipt comes by hand. Others are refused by name, and change nothing.
    let bytes = fs::read(&files[0].path).unwrap();
    let name = files[0].row.file.clone();
    let foreign = site.delivery.take_receipt(receipt(&name, &bytes, 8)).await.unwrap_err();
    assert_eq!(foreign.code(), "receipt-not-signed");
    let other = site.delivery.take_receipt(receipt(&name, b"other", 7)).await.unwrap_err();
    assert_eq!(other.code(), "receipt-for-other");
    let elsewhere = name.replace("-00000001-", "-00000099-");
    let unknown = site.delivery.take_receipt(receipt(&elsewhere, &bytes, 7)).await.unwrap_err();
    assert!(unknown.to_string().contains("no such file is kept here"), "{unknown}");
    assert_eq!(site.delivery.take_receipt(b"hello".to_vec()).await.unwrap_err().code(), "garbage");
    assert_eq!(site.delivery.files().await.unwrap()[0].receipt, None);
    let row = site.delivery.take_receipt(receipt(&name, &bytes, 7)).await.unwrap();
    assert_eq!(row.file, name);
    let files = site.delivery.files().await.unwrap();
    assert_eq!((files[0].state, files[0].kept_until), (FileState::Acknowledged, None));
    assert!(files[0].receipt.is_some());
    // Years later it is there still.
    home.set_time(1_000 * DAY_MS);
    site.files(|files| files.len() == 3).await;
    site.until(|state| state.waiting == 1).await;
    assert!(files[0].path.is_file());
    assert_eq!(server.asked().len(), 0);
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_old_enough_goes_and_its_receipt_stays() {
    let (mut home, _server) = home(CLOUD, Vec::new()).await;
    home.settings.keep_days = 3;
    let mut site = home.start().await;
    home.set_time(DAY_MS);
    let files = site.files(|files| files.len() == 2 && files[0].row.acknowledged.is_some()).await;
    home.set_time(4 * DAY_MS - HOUR_MS);
    site.files(|files| files.len() == 3 && files[1].row.acknowledged.is_some()).await;
    assert!(files[0].path.is_file());
    home.set_time(4 * DAY_MS + 2 * HOUR_MS);
    let left = site.files(|files| files[0].row.number == 2).await;
    assert!(!files[0].path.exists());
    let kept = files[0].receipt.as_ref().unwrap();
    let bytes = fs::read(kept).unwrap();
    site.stop().await;
    // For whoever verifies what is left, it is a file that was acknowledged and then taken away.
    let receipt = home.trust.usage_receipt_accepted_before(&bytes, WallTime::from_ms(WALL_MS + 5 * DAY_MS)).unwrap();
    assert_eq!(receipt.name.segment, 1);
    assert_eq!(left.first().unwrap().row.number, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_overdue_is_told() {
    let (home, server) = home(CLOUD, Vec::new()).await;
    // 2030-03-17 and later: the period 2030-03 ends on the 28th, due before 4 April in Berlin.
    let mut site = home.start().await;
    site.files(|files| files.len() == 1).await;
    for _ in 0..40 {
        server.then(Act::HangUp);
    }
    home.set_time(DAY_MS);
    site.until(|state| state.failure.is_some()).await;
    assert_eq!(site.state.borrow().deadlines, []);
    // 29 March: six days.
    home.set_time(12 * DAY_MS);
    let state = site.until(|state| !state.deadlines.is_empty()).await;
    assert_eq!((state.deadlines[0].nearness, state.deadlines[0].days_left), (Nearness::SevenDays, 6));
    assert!(
        state.deadlines[0].to_string().starts_with("the usage files of 2030-03 are due before 2030-04-04, in 6 days")
    );
    let files = site.delivery.files().await.unwrap();
    assert_eq!(files[0].due.unwrap().to_string(), "2030-04-03T22:00:00Z");
    home.set_time(17 * DAY_MS + 11 * HOUR_MS);
    let state = site.until(|state| state.deadlines.iter().any(|deadline| deadline.nearness == Nearness::Over)).await;
    assert!(state.deadlines[0].to_string().contains("were due before 2030-04-04"), "{}", state.deadlines[0]);
    let files = site.delivery.files().await.unwrap();
    assert_eq!(files[0].state, FileState::Overdue);
    assert!(!files[0].remedy(Mode::Automatic).is_empty());
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_for_the_receipt_is_told_and_costs_no_second_upload_for_ever() {
    let (home, server) = home(CLOUD, Vec::new()).await;
    let mut site = home.start().await;
    site.files(|files| files.len() == 1).await;
    // Where receipts belong stands something else.
    fs::create_dir_all(home.path().join("usage")).unwrap();
    fs::write(home.path().join("usage/receipts"), "in the way").unwrap();
    home.set_time(DAY_MS);
    let files = site.files(|files| files[0].state == FileState::HeldUp).await;
    let failure = files[0].failure.clone().unwrap();
    assert_eq!(failure.trouble.code(), "disk");
    assert!(failure.trouble.to_string().contains("receipts"), "{}", failure.trouble);
    assert!(failure.trouble.remedy().contains("make room"));
    site.until(|state| state.held.iter().any(|held| held.failure.trouble.code() == "disk")).await;
    assert_eq!(files[0].row.acknowledged, None, "what is not kept is not taken");
    fs::remove_file(home.path().join("usage/receipts")).unwrap();
    home.set_time(failure.again.as_ms() - WALL_MS + 1_000);
    site.files(|files| files[0].row.acknowledged.is_some()).await;
    assert!(server.asked().len() <= 2, "{:?}", server.asked());
    site.stop().await;
}

/// A licensor's own endpoint, in this process.
#[tokio::test(flavor = "multi_thread")]
async fn the_licensors_own_endpoint_takes_the_day_and_signs_for_it() {
    let now = WallTime::from_ms(WALL_MS);
    let dir = tempfile::tempdir().unwrap();
    let mut workshop =
        Workshop::create(dir.path(), &CreateOptions::new("acme.example", Protection::None), now).unwrap();
    let label = |text: &str| text.parse().unwrap();
    let grant = |(pool, units): &(&str, u32)| Grant { pool: pool.parse().unwrap(), units: Units::Count(*units) };
    let order = IssueOrder {
        server: Some(label("basic")),
        model: Model::Subscription,
        grants: CLOUD.iter().map(grant).collect(),
        not_after: Some("2031-03-17T00:00:00Z".parse().unwrap()),
        ramp: Some("2030-04-01T00:00:00Z".parse().unwrap()),
        grace_days: Some(30),
        check_in_endpoint: Some("https://acme.example".to_owned()),
        ..IssueOrder::new(label("Acme"), label("Indianapolis"), label("tests"))
    };
    let issued = workshop.issue(&Catalog::pureconnect(), &order, now).unwrap();
    let trust = workshop.trust().clone();
    let file = trust.activation(issued.note.as_bytes(), now).unwrap();

    let mut home = Home::of(trust, file);
    let (certificate, key) = home.authority.certificate(Flaw::None);
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let tls = serve::tls::config(vec![certificate], key).unwrap();
    let intake = workshop.intake(workshop.dir(), now).unwrap();
    let serving = serve::start(listener, tls, intake, Arc::new(move || now)).unwrap();
    let url = format!("https://localhost:{}/v1/usage/", serving.address().port());
    home.settings.destination = Some(url.parse().unwrap());

    let mut site = home.start().await;
    let report = site.delivery.doctor().await.unwrap();
    // All is well there but the time, which this server has from the system.
    let (kind, trouble) = report.first_failure().unwrap();
    assert_eq!((kind, trouble.code()), (StepKind::Clock, "clock-off"), "{report:#?}");
    home.set_time(DAY_MS);
    let files = site.files(|files| files.len() == 2 && files[0].row.acknowledged.is_some()).await;
    site.stop().await;
    serving.stop().await.unwrap();
    let received = workshop.ledger().usage_files().unwrap();
    assert_eq!(received.len(), 1);
    assert_eq!(
        (received[0].name.to_string(), Some(received[0].sha256)),
        (files[0].row.file.clone(), files[0].row.sha256)
    );
    let kept = fs::read(files[0].receipt.as_ref().unwrap()).unwrap();
    assert_eq!(kept, received[0].receipt.as_bytes());
}
