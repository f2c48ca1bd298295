//! States that were put back or copied (03, Witness; LEASE-4), told by what application servers have seen, without any
//! cloud; and leases whose origin is proved (03, Signed leases).

use std::{
    fs,
    path::{Path, PathBuf},
};

use leasehold_client::{Client, Licensor, Logon, Units, VerifyError};
use leasehold_proto::v1;
use leasehold_tests::{
    App, Ask, Attached, Daemon, Site,
    programs::{leasehold, program},
    within,
};
use serde_json::Value;
use uuid::Uuid;

const CALLS: &str = "I3_SESSION_CALL";
const CLIENT: &str = "I3_ACCESS_CLIENT";
const USAGE: &str = "I3_FEATURE_USAGE_TRACKING_LOCAL";
const HOUR_MS: u64 = 3_600_000;

async fn licensed(site: &Site) -> Daemon {
    let daemon = Daemon::start(site).await;
    let grants = [(CALLS, 100), (CLIENT, 10), (USAGE, 1)];
    daemon.admin().await.load("base.i3lic", &site.issue(&site.order_of(&grants)).note).await;
    daemon
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// Somebody copies the state directory.
fn copied(site: &Site, name: &str) -> PathBuf {
    let to = site.dir().join(name);
    copy(&site.state(), &to);
    fs::set_permissions(&to, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    to
}

/// A stream of an application server that shows what it has kept.
async fn showing(app: &App, kept: &[v1::Witness]) -> Attached {
    Attached::open_showing(app, Uuid::new_v4().as_bytes().to_vec(), kept.to_vec()).await.expect("attached")
}

async fn take(attached: &mut Attached, count: u64) -> u64 {
    let mut last = 0;
    for _ in 0..count {
        last = attached.acquire(Ask::units(CALLS, 1)).await.expect("a call").lease_id;
    }
    last
}

fn of(status: &v1::GetStatusResponse) -> &v1::WitnessStatus {
    status.witness.as_ref().expect("a witness")
}

async fn evidence(daemon: &Daemon) -> v1::WitnessStatus {
    of(&daemon.admin().await.status().await).clone()
}

fn is_noticed(status: &v1::GetStatusResponse) -> bool {
    status.notices.iter().any(|notice| notice.reason == "STATE_RESTORED")
}

/// The database is put back to what it was before a day's work. The application server's own client finds it out by the
/// file that it keeps, though both were restarted; the licensor reads of it in the next usage file.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_older_database_is_told_by_the_next_contact() {
    let site = Site::new();
    let daemon = licensed(&site).await;
    assert_eq!(daemon.stop().await.code, Some(0));
    let backup = copied(&site, "backup");

    let daemon = Daemon::start(&site).await;
    let kept = site.dir().join("witnesses");
    let client = || {
        let servers = [daemon.socket().clone()];
        Client::builder().servers(servers).name("acd").application("ACD").host("acd-host").witness_file(&kept)
    };
    let acd = client().connect().await.expect("attached");
    let mut guards = Vec::new();
    for _ in 0..7 {
        guards.push(acd.acquire(Units::of(CALLS, 1)).await.expect("a call"));
    }
    let last = guards.last().expect("seven").id().get();
    let admin = daemon.admin().await;
    within("the statement is kept", async {
        while !fs::read_to_string(&kept).unwrap_or_default().contains(&format!(" {last} ")) {
            admin.status().await;
        }
    })
    .await;
    let before = evidence(&daemon).await;
    assert_eq!((before.epoch, before.highest_lease_id, before.evidence), (2, last, 0));
    drop(guards);
    acd.shutdown().await.expect("given back");
    assert_eq!(daemon.stop().await.code, Some(0));

    fs::rename(site.state(), site.dir().join("of-today")).unwrap();
    fs::rename(backup, site.state()).unwrap();
    let daemon = Daemon::start(&site).await;
    let restored = evidence(&daemon).await;
    assert_eq!((restored.highest_lease_id, restored.evidence), (0, 0), "alone it cannot know");
    let acd = Client::builder().servers([daemon.socket().clone()]).name("acd").application("ACD").host("acd-host");
    let acd = acd.witness_file(&kept).connect().await.expect("attached");
    let status = daemon.admin().await.status().await;
    let told = of(&status);
    let newest = told.newest.as_ref().expect("evidence");
    assert_eq!((told.evidence, newest.lease_id, newest.own_lease_id), (1, last, 0), "{newest:?}");
    assert!(newest.shown_by.starts_with("uid:") && newest.host == "acd-host", "{newest:?}");
    assert!(is_noticed(&status));
    daemon.logged(&["restored from an older copy", "look for a second server"]).await;
    // LEASE-4: no number that was given before is given again.
    let call = acd.acquire(Units::of(CALLS, 1)).await.expect("a call");
    assert_eq!(call.id().get(), last + 1);
    let audit = daemon.admin().await.audit().await;
    assert_eq!(audit.iter().filter(|entry| entry.action == "state found behind").count(), 1);
    let shell = leasehold(&site.socket(), ["status"]);
    assert!(shell.out.contains("found") && shell.out.contains("restored from an older copy"), "{}", shell.out);

    // To the licensor with the next usage record, though the daemon is killed right away.
    daemon.kill().await;
    let daemon = Daemon::start(&site).await;
    assert_eq!(evidence(&daemon).await.evidence, 1, "it was told once");
    assert_eq!(daemon.stop().await.code, Some(0));
    let remarks = remarks(&site);
    assert!(
        remarks.iter().all(|text| text.contains(&format!("lease {last} of epoch 2 was shown by uid:"))),
        "{remarks:?}"
    );
    assert!(!remarks.is_empty());
}

/// What usage files say of the server's state, as the licensor reads them.
fn remarks(site: &Site) -> Vec<String> {
    let output = std::process::Command::new(program("licensor"))
        .env_remove("LICENSOR_DIR")
        .arg("--dir")
        .arg(site.dir().join("licensor"))
        .args(["usage", "open", "--format", "json"])
        .arg(site.state().join("usage"))
        .output()
        .expect("licensor runs");
    let files: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let items = files.as_array().unwrap().iter().flat_map(|file| file["items"].as_array().unwrap());
    let remarks = items.filter(|item| item["remark"] == "state-restored");
    remarks.map(|item| item["text"].as_str().unwrap().to_owned()).collect()
}

/// Two servers work with one state directory's content. One application server that meets both has both told, though
/// neither granted anything that the other did not know of.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cloned_state_directory_is_told_as_soon_as_one_application_server_meets_both() {
    let (site, other) = (Site::new(), Site::new());
    let daemon = licensed(&site).await;
    take(&mut showing(&daemon.app("acd").await, &[]).await, 3).await;
    assert_eq!(daemon.stop().await.code, Some(0));
    other.use_state(copied(&site, "copied"));

    let (first, second) = (Daemon::start(&site).await, Daemon::start(&other).await);
    let met = showing(&first.app("acd").await, &[]).await.said(0).await.expect("a statement");
    let mut at_second = showing(&second.app("acd").await, std::slice::from_ref(&met)).await;
    let told = evidence(&second).await;
    assert_eq!((told.evidence, told.newest.expect("evidence").kind.as_str()), (1, "forked"));
    second.logged(&["Two servers have gone on from one state"]).await;
    let said = at_second.said(0).await.expect("a statement");
    assert!(said.epoch > met.epoch, "it is what the application server keeps: {said:?}");
    assert_eq!(evidence(&first).await.evidence, 0);
    let at_first = showing(&first.app("acd").await, &[said]).await;
    assert_eq!(evidence(&first).await.evidence, 1, "on the way back it is told too");
    assert!(!at_first.welcome.notices.is_empty(), "and says so to those who attach");
}

/// The original goes on while a copy is put to work: it is told when they meet it again, and the copy by what was granted
/// since.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_of_a_server_that_goes_on_is_told_by_what_it_missed() {
    let (site, other) = (Site::new(), Site::new());
    let daemon = licensed(&site).await;
    assert_eq!(daemon.stop().await.code, Some(0));
    other.use_state(copied(&site, "copied"));
    let daemon = Daemon::start(&site).await;
    let mut attached = showing(&daemon.app("acd").await, &[]).await;
    let last = take(&mut attached, 5).await;
    let said = attached.said(last).await.expect("a statement");
    let copy = Daemon::start(&other).await;
    let mut at_copy = showing(&copy.app("acd").await, &[said]).await;
    assert_eq!(evidence(&copy).await.evidence, 1);
    assert_eq!(take(&mut at_copy, 1).await, last + 1);
}

/// Restarts, kills, lost answers, and everything that was ever said, in any order: nobody is accused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn honest_restarts_and_kills_accuse_nobody() {
    let site = Site::new();
    let mut daemon = licensed(&site).await;
    let mut said: Vec<v1::Witness> = Vec::new();
    for turn in 0..8_u64 {
        let app = daemon.app("acd").await;
        let mut attached = match said.len().checked_sub(1 + usize::try_from(turn % 3).unwrap()) {
            Some(at) => showing(&app, &said[at..=at]).await,
            None => showing(&app, &[]).await,
        };
        said.push(attached.said(0).await.expect("a statement"));
        let last = take(&mut attached, turn % 3 + 1).await;
        said.push(attached.said(last).await.expect("a statement"));
        // More is acknowledged than is ever said, and some is asked for that nobody is told of.
        take(&mut attached, 2).await;
        for _ in 0..3 {
            attached.send(v1::attach_request::Message::Acquire(Ask::units(CALLS, 1).0)).await;
        }
        if turn % 4 == 3 {
            assert_eq!(daemon.stop().await.code, Some(0));
        } else {
            daemon.kill().await;
        }
        daemon = Daemon::start(&site).await;
    }
    let app = daemon.app("acd").await;
    for one in &said {
        drop(showing(&app, std::slice::from_ref(one)).await);
    }
    let status = daemon.admin().await.status().await;
    assert_eq!((of(&status).evidence, is_noticed(&status)), (0, false));
    assert_eq!(of(&status).epoch, 9);
    let order = |one: &v1::Witness| (one.epoch, one.lease_id);
    assert!(said.windows(2).all(|pair| order(&pair[0]) <= order(&pair[1])), "it only rises: {said:?}");
    assert!(!daemon.log().contains("older copy"));
}

/// What nobody signed, or another did, counts for nothing and locks nobody out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_installation_did_not_sign_counts_for_nothing() {
    let site = Site::new();
    let daemon = licensed(&site).await;
    let app = daemon.app("acd").await;
    let mut attached = showing(&app, &[]).await;
    let last = take(&mut attached, 2).await;
    let said = attached.said(last).await.expect("a statement");
    let signature = |at: usize| {
        let mut signature = said.signature.clone();
        signature[at] ^= 1;
        signature
    };
    let forged = [
        v1::Witness { lease_id: said.lease_id + 1, ..said.clone() },
        v1::Witness { epoch: said.epoch + 1, ..said.clone() },
        v1::Witness { epoch_id: said.epoch_id ^ 1, ..said.clone() },
        v1::Witness { lease_id: u64::MAX, epoch: u64::MAX, ..said.clone() },
        v1::Witness { lease_id: 900, signature: signature(0), ..said.clone() },
        v1::Witness { lease_id: 900, signature: signature(63), ..said.clone() },
        v1::Witness { lease_id: 900, signature: Vec::new(), ..said.clone() },
        v1::Witness { lease_id: 900, signature: vec![0; 10_000], ..said.clone() },
        v1::Witness { installation_id: "0".repeat(32), lease_id: 900, ..said.clone() },
        v1::Witness { installation_id: "x".repeat(5_000), lease_id: 900, ..said.clone() },
        v1::Witness::default(),
    ];
    for forged in &forged {
        drop(showing(&app, std::slice::from_ref(forged)).await);
    }
    let mut attached = showing(&app, &forged).await;
    assert_eq!(evidence(&daemon).await.evidence, 0);
    assert_eq!(take(&mut attached, 1).await, last + 1);
}

/// A lease that comes with its token: the application has the licensor's root built in, and believes nothing else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signed_lease_is_verified_against_the_licensors_root() {
    let site = Site::new();
    let daemon = licensed(&site).await;
    let admin = daemon.admin().await;
    admin.user("agent-007", "assignable").await;
    admin.give(&[CLIENT], &["agent-007"]).await;
    let servers = [daemon.socket().clone()];
    let acd = Client::builder().servers(servers).name("acd").application("ACD").connect().await.expect("attached");
    let plain = acd.acquire(Units::of(CALLS, 1)).await.expect("a call");
    assert_eq!(plain.lease().token, None);
    let seat = acd.acquire(Logon::user("agent-007").needing([CLIENT]).signed()).await.expect("a seat");
    let token = seat.lease().token.clone().expect("a token");

    let root = fs::read(site.dir().join("licensor/root.i3root")).unwrap();
    let licensor = Licensor::from_root(&root).expect("a root");
    let verified = acd.verify(&licensor, &token).await.expect("the licensor stands behind it");
    assert_eq!((verified.id, verified.user.as_str(), verified.application.as_str()), (seat.id(), "agent-007", "ACD"));
    assert_eq!(verified.installation_id, daemon.admin().await.status().await.installation_id);
    assert!(verified.is_bound && verified.keys.contains_key(CLIENT), "{verified:?}");
    assert!(verified.holder.starts_with("uid:") && verified.ttl.as_secs() == 60, "{verified:?}");

    // Any lease of one's own can be signed later, and none of another's.
    let later = acd.sign(plain.id()).await.expect("a token");
    let verified = acd.verify(&licensor, &later).await.expect("it verifies");
    assert_eq!((verified.keys.get(CALLS), verified.user.as_str()), (Some(&1), ""));
    let mut stranger = daemon.app("stranger").await;
    let asked =
        v1::SignLeasesRequest { caller: Some(stranger.caller.clone()), lease_ids: vec![plain.id().get(), 9_999] };
    let signed = stranger.leasing.sign_leases(asked).await.expect("an answer for each").into_inner().leases;
    let reasons: Vec<String> = signed.into_iter().map(|one| one.refusal.expect("refused").reason).collect();
    assert_eq!(reasons, ["NOT_YOUR_LEASE", "LEASE_UNKNOWN"]);
    let unary =
        stranger.acquire(Ask(v1::AcquireRequest { sign: true, ..Ask::units(CALLS, 1).0 })).await.expect("a call");
    assert!(acd.verify(&licensor, &unary.token).await.is_ok());

    // Tampered with, cut, too old, or another licensor's: not believed.
    let files = acd.activation_files([] as [&str; 0]).await.expect("the files");
    let now = std::time::UNIX_EPOCH + std::time::Duration::from_millis(site.now().as_ms().unsigned_abs());
    assert!(licensor.verify(&token, &files, now).is_ok());
    for at in (0..token.len()).step_by(7) {
        let mut changed = token.clone();
        changed[at] ^= 0x10;
        assert!(matches!(licensor.verify(&changed, &files, now), Err(VerifyError::NotBelieved(_))), "byte {at}");
        assert!(licensor.verify(&token[..at], &files, now).is_err(), "{at} bytes");
    }
    let later = now + std::time::Duration::from_secs(61);
    assert!(matches!(licensor.verify(&token, &files, later), Err(VerifyError::Expired(_))));
    let mut changed = files.clone();
    for note in changed.files.values_mut() {
        let grant = note.windows(3).position(|window| window == b"100").expect("the count of calls");
        note[grant] = b'9';
    }
    assert!(matches!(licensor.verify(&token, &changed, now), Err(VerifyError::NotBelieved(_))), "a changed file");
    changed.files.clear();
    assert!(matches!(licensor.verify(&token, &changed, now), Err(VerifyError::NotBelieved(_))), "no file");
    let stranger = leasehold_keys::dev::DevLicensor::from_seed(&[9; 32]).unwrap();
    let stranger = Licensor::from_root(stranger.root()).expect("a root");
    assert!(matches!(stranger.verify(&token, &files, now), Err(VerifyError::NotBelieved(_))), "another licensor");

    // A lease that is over is not signed.
    let id = seat.id();
    seat.release().await.expect("given back");
    assert!(acd.sign(id).await.is_err());
    site.advance(2 * HOUR_MS);
}
