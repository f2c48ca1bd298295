//! What goes over the wire: all pages of a list, names from files, only the fields that were given.

use std::sync::{Arc, Mutex};

use leasehold_cli::exit::ExitCode;
use leasehold_proto::v1;

use crate::{
    scripted::{Daemon, Script},
    site,
};

/// Keeps the requests of one kind.
fn record<Q: Clone + Send + 'static, A: Default + Send + 'static>(script: &Script) -> Arc<Mutex<Vec<Q>>> {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&seen);
    script.on(move |request: Q| {
        kept.lock().unwrap().push(request);
        Ok(A::default())
    });
    seen
}

#[tokio::test]
async fn every_page_of_a_list_is_fetched() {
    let script = site::script();
    script.on(|request: v1::ListAssignmentsRequest| {
        let page: u32 = request.page_token.parse().unwrap_or(0);
        let subject = v1::EntityRef { entity: Some(v1::entity_ref::Entity::User(format!("agent-{page}"))) };
        Ok(v1::ListAssignmentsResponse {
            assignments: vec![v1::Assignment { subject: Some(subject), active: true, ..Default::default() }],
            next_page_token: if page < 4 { (page + 1).to_string() } else { String::new() },
        })
    });
    let daemon = Daemon::start(script);
    let ended = daemon.run("assignments --json").await;
    let json: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    let names: Vec<&str> =
        json["assignments"].as_array().unwrap().iter().map(|row| row["subject"]["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["agent-0", "agent-1", "agent-2", "agent-3", "agent-4"]);
}

#[tokio::test]
async fn a_page_that_repeats_itself_is_an_error_and_not_for_ever() {
    let script = site::script();
    script.on(|_: v1::ListLeasesRequest| {
        Ok(v1::ListLeasesResponse { leases: Vec::new(), next_page_token: "again".to_owned() })
    });
    let ended = Daemon::start(script).run("leases").await;
    assert_eq!(ended.exit, ExitCode::Unexpected);
    assert!(ended.stderr.contains("same page of the list twice"), "{}", ended.stderr);
}

#[tokio::test]
async fn subjects_come_from_arguments_files_and_standard_input_each_once() {
    let script = site::script();
    let seen = record::<v1::AssignRequest, v1::AssignResponse>(&script);
    let daemon = Daemon::start(script);
    let stations = daemon.path("stations.txt");
    std::fs::write(&stations, "\u{feff}wallboard-1\r\n\r\nwallboard-2\r\n").unwrap();
    let stations = stations.display().to_string();
    let arguments = ["assign", "K1", "K2", "K1", "--user", "a", "b", "--users-from", "-", "--stations-from", &stations];
    let ended = daemon.run_with(&arguments, "b\nAnn O'Neil\n", None).await;
    assert_eq!(ended.exit, ExitCode::Done, "{}", ended.stderr);
    let request = seen.lock().unwrap().pop().unwrap();
    assert_eq!(request.keys, ["K1", "K2"]);
    use v1::entity_ref::Entity::{Station, User};
    let subjects: Vec<_> = request.subjects.into_iter().filter_map(|subject| subject.entity).collect();
    assert_eq!(
        subjects,
        [
            User("a".into()),
            User("b".into()),
            User("Ann O'Neil".into()),
            Station("wallboard-1".into()),
            Station("wallboard-2".into()),
        ]
    );
}

#[tokio::test]
async fn an_empty_list_of_subjects_assigns_nothing() {
    let script = site::script();
    let seen = record::<v1::AssignRequest, v1::AssignResponse>(&script);
    let daemon = Daemon::start(script);
    let ended = daemon.run_with(&["assign", "K1", "--users-from", "-"], "\n\n", None).await;
    assert_eq!(ended.exit, ExitCode::Usage);
    assert!(seen.lock().unwrap().is_empty());
}

#[tokio::test]
async fn what_is_not_given_is_not_sent() {
    let script = site::script();
    let seen = record::<v1::ChangeEntityRequest, v1::EntityResponse>(&script);
    let daemon = Daemon::start(script);
    daemon.run("user set agent-001 --organization none").await;
    let entity = seen.lock().unwrap().pop().unwrap().entity.unwrap().entity;
    let expected = v1::User { name: "agent-001".into(), organization: Some(String::new()), ..Default::default() };
    assert_eq!(entity, Some(v1::entity::Entity::User(expected)));
}

#[tokio::test]
async fn half_of_a_share_keeps_the_other_half() {
    let script = site::script();
    let seen = record::<v1::SetShareRequest, v1::SetShareResponse>(&script);
    let daemon = Daemon::start(script);
    daemon.run("share set I3_ACCESS_CLIENT_CONCURRENT --organization north --reserve 2").await;
    daemon.run("share set I3_ACCESS_CLIENT_CONCURRENT --organization north --limit none").await;
    let sent: Vec<(u32, Option<u32>)> = seen
        .lock()
        .unwrap()
        .iter()
        .filter_map(|request| request.share.as_ref())
        .map(|share| (share.reserve, share.limit))
        .collect();
    assert_eq!(sent, [(2, Some(2)), (1, None)]);
}

#[tokio::test]
async fn an_explanation_asks_as_the_application_would() {
    let script = site::script();
    let seen = record::<v1::ExplainRequest, v1::ExplainResponse>(&script);
    let daemon = Daemon::start(script);
    daemon.run("explain a --remote 0421-555 --computer pc-1 --keys K1,K2 --application Portal --application-version 2020.2").await;
    daemon.run("explain --for-station wallboard-1 --keys K3").await;
    let requests: Vec<v1::AcquireRequest> =
        seen.lock().unwrap().drain(..).filter_map(|request| request.acquire).collect();
    let caller = requests[0].caller.clone().unwrap();
    assert_eq!((caller.application.as_str(), caller.version.as_str()), ("Portal", "2020.2"));
    assert!(requests.iter().all(|request| request.request_id.len() == 16));
    assert_eq!(
        requests[0].subject,
        Some(v1::acquire_request::Subject::Logon(v1::UserLogon {
            user: "a".into(),
            at: Some(v1::user_logon::At::DynamicRemoteNumber("0421-555".into())),
            computer: "pc-1".into(),
            needed_keys: vec!["K1".into(), "K2".into()],
            application: "Portal".into(),
        }))
    );
    assert_eq!(
        requests[1].subject,
        Some(v1::acquire_request::Subject::Station(v1::StationUse {
            station: "wallboard-1".into(),
            needed_keys: vec!["K3".into()],
        }))
    );
}

/// Denials and audit entries are dated by the time that the server goes by; the reader's clock, which says 2026-11-22 here,
/// may be far from it.
#[tokio::test]
async fn a_distance_back_counts_from_the_time_that_the_server_goes_by() {
    const TRUSTED_S: i64 = 1_700_000_000;
    let script = site::script();
    script.on(|_: v1::GetStatusRequest| {
        let trusted = Some(prost_types::Timestamp { seconds: TRUSTED_S, nanos: 0 });
        let clock = Some(v1::ClockStatus { trusted, ..Default::default() });
        Ok(v1::GetStatusResponse { clock, ..Default::default() })
    });
    let denials = record::<v1::ListDenialsRequest, v1::ListDenialsResponse>(&script);
    let audit = record::<v1::ListAuditRequest, v1::ListAuditResponse>(&script);
    let daemon = Daemon::start(script);
    for command in ["denials --since 2h", "audit --since 2h", "denials --since 2026-11-21T00:00:00Z"] {
        let ended = daemon.run(command).await;
        assert_eq!(ended.exit, ExitCode::Done, "{command}: {}", ended.stderr);
    }
    let seconds = |since: &Option<prost_types::Timestamp>| since.as_ref().unwrap().seconds;
    let asked: Vec<_> = denials.lock().unwrap().iter().map(|request| seconds(&request.since)).collect();
    assert_eq!(asked, [TRUSTED_S - 7_200, 1_795_219_200], "an instant is what it is");
    let asked: Vec<_> = audit.lock().unwrap().iter().map(|request| seconds(&request.since)).collect();
    assert_eq!(asked, [TRUSTED_S - 7_200]);
}
