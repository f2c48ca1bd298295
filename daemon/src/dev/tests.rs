//! The first minutes, as a test: everything comes up, says what it made, and goes away.

use std::fs;

use leasehold_engine::{
    standing::Verdict,
    view::{EntityFilter, EntityKind},
};

use super::*;

async fn up(options: &Options) -> Site {
    Site::start(options, Clock::system()).await.unwrap_or_else(|fault| panic!("{fault}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sample_site_is_whole_and_goes_away() {
    let mut site = up(&Options { port: Some(0), ..Options::default() }).await;
    let running = site.running.as_ref().unwrap();
    let pools: Vec<String> =
        site.pools.iter().map(|pool| format!("{} {}/{}", pool.name, pool.assigned, pool.capacity)).collect();
    for expected in [
        "I3_LICENSE_BASIC_STATION 40/40",
        "I3_ACCESS_CLIENT 6/6",
        "I3_ACCESS_CLIENT_CONCURRENT 60/25",
        "I3_ACCESS_ACD_MEDIA_1_CONCURRENT 60/25",
        "I3_ACCESS_TRACKER_CONCURRENT 20/10",
        "I3_ACCESS_WORKGROUP_SUPERVISOR_PLUGIN 2/2",
        "I3_SESSION_CALL 0/20",
    ] {
        assert!(pools.iter().any(|pool| pool == expected), "{expected} is not among {pools:?}");
    }
    for (kind, most) in [(EntityKind::User, 65), (EntityKind::Station, 40), (EntityKind::Organization, 3)] {
        let filter = EntityFilter { kind, name_contains: String::new(), organization: None, after: None, limit: 1_000 };
        let found = running.core().read(move |engine, now| engine.entities(now, &filter)).await.unwrap().unwrap();
        assert_eq!(found.len(), most, "{kind:?}");
    }
    // One usage file is with the licensor, before anyone's eyes, and today's is being written.
    let mut delivery = running.delivery().watch();
    let gone = delivery.wait_for(|state| state.last_acknowledged.is_some());
    tokio::time::timeout(ACCEPTED_MAX, gone).await.expect("a receipt").unwrap();
    let files = running.delivery().files().await.unwrap();
    let states: Vec<&str> = files.iter().map(|file| file.state.as_str()).collect();
    assert_eq!(states, ["acknowledged", "open"]);
    assert!(files[0].receipt.is_some() && files[1].path.is_file());
    // It has checked in, with a day's length of a stage to go before anything comes of it.
    let standing = running.core().read(|engine, now| engine.standing(now)).await.unwrap();
    let license = &standing.licenses[0];
    assert_eq!((standing.stage.number(), license.grace_days, license.verdict), (1, Some(7), Some(Verdict::Good)));
    let story = site.story();
    assert!(story.contains(&format!("LEASEHOLD_SERVER=unix://{}", site.socket().display())), "{story}");
    assert!(site.tcp().starts_with("http://127.0.0.1:") && !site.tcp().ends_with(":0"));
    let dir = site.place.dir.clone();
    assert_eq!(site.stop().await, Exit::Done);
    assert!(!dir.exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_named_folder_is_gone_on_with_and_a_taken_port_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let options = Options {
        port: Some(taken.local_addr().unwrap().port()),
        dir: Some(dir.path().join("site")),
        ..Options::default()
    };
    let mut first = up(&options).await;
    assert!(first.story().contains("is taken") && first.story().contains("all of it stays"));
    let sample = fs::read(first.place.folder().join(SAMPLE)).unwrap();
    assert_eq!(first.stop().await, Exit::Done);
    let mut again = up(&options).await;
    assert_eq!(fs::read(again.place.folder().join(SAMPLE)).unwrap(), sample);
    assert_eq!(again.stop().await, Exit::Done);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_play_goes_down_through_all_stages_and_comes_back() {
    let pace = Pace::from(&Clock::system());
    let options = Options { port: Some(0), days_per_second: Some(12), ..Options::default() };
    let mut site = Site::start(&options, pace.clock()).await.unwrap_or_else(|fault| panic!("{fault}"));
    let mut told = Vec::new();
    play::play(&mut site, pace, 12, &mut told).await.unwrap_or_else(|fault| panic!("{fault}"));
    let told = String::from_utf8(told).unwrap();
    // Every seven days a stage, the calls in every one of them, and back.
    let summary: Vec<(&str, &str)> = told
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix("day ")?.trim_start().split_once("  "))
        .filter_map(|(day, rest)| Some((day, rest.split_once("stage ")?.1)))
        .collect();
    for (place, (day, stage)) in
        [("0", "1"), ("7", "2"), ("14", "3"), ("21", "4"), ("28", "5"), ("35", "6"), ("35", "1")]
            .into_iter()
            .enumerate()
    {
        let found = summary.get(place).unwrap_or_else(|| panic!("{told}"));
        assert!(
            found.0 == day && found.1.starts_with(stage) && found.1.contains("call ports 3 of"),
            "{found:?}\n{told}"
        );
    }
    for part in [
        "loses I3_ACCESS_WORKGROUP_SUPERVISOR_PLUGIN",
        "5 more calls: REFUSED",
        "lease has ended (ENFORCED)",
        "in good standing again",
        "its check-ins fail",
    ] {
        assert!(told.contains(part), "{part} is missing in\n{told}");
    }
    assert_eq!(site.stop().await, Exit::Done);
}

#[test]
fn a_folder_of_something_else_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("thesis.txt"), b"years of work").unwrap();
    let options = Options { dir: Some(dir.path().to_owned()), ..Options::default() };
    assert!(matches!(Place::make(&options), Err(DevFault::NotOurs(_))));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn facts_are_made_up_only_where_there_is_nothing_to_bind_to() {
    let bare = HostFacts { system: Some("5e8d7f".into()), ..HostFacts::default() };
    assert_eq!(invent(bare.clone()).unwrap().network.len(), 1);
    assert_eq!(invent(HostFacts { network: vec!["02:42:ac:11:00:02".into()], ..bare.clone() }), None);
    assert_eq!(invent(HostFacts { platform: Some("4c4c4544".into()), ..bare }), None);
}
