//! Every field that can be wrong, and messages that nobody would write.

use leasehold_engine::command::{Act, Ask, Entity, EntityName, Origin, Place};
use leasehold_keys::name::Method;
use proptest::prelude::*;

use super::*;

const UID: Known = Known::Uid(1000);

fn said() -> v1::Caller {
    v1::Caller { name: "acd".into(), application: "ACD Server".into(), ..Default::default() }
}

fn unary() -> Origin {
    Origin::Unary(caller(UID, Some(&said())).unwrap())
}

fn field_of<T>(checked: Checked<T>) -> String {
    match checked {
        Err(Refusal::Malformed { field, fault }) => {
            assert!(!fault.is_empty() && !fault.ends_with('.'), "`{field}` {fault:?}");
            field.into_owned()
        }
        Err(other) => panic!("{other:?} is no fault of a field"),
        Ok(_) => panic!("it was taken"),
    }
}

fn logon() -> v1::AcquireRequest {
    let logon = v1::UserLogon { user: "agent-001".into(), ..Default::default() };
    v1::AcquireRequest {
        request_id: vec![1; 16],
        subject: Some(v1::acquire_request::Subject::Logon(logon)),
        ..Default::default()
    }
}

#[test]
fn identities_are_what_the_transport_knows() {
    let by_name = caller(Known::OnlyByName, Some(&said())).unwrap();
    assert_eq!(by_name.identity.to_string(), "name:acd");
    assert_eq!(by_name.instance, "");
    let by_uid = caller(UID, Some(&v1::Caller { instance: "2".into(), ..said() })).unwrap();
    assert_eq!((by_uid.identity.to_string().as_str(), by_uid.instance.as_str()), ("uid:1000", "acd/2"));
    let twice = v1::Caller { instance: "acd".into(), ..said() };
    assert_eq!(caller(UID, Some(&twice)).unwrap().instance, "acd");
    let nameless = caller(UID, Some(&v1::Caller { name: String::new(), ..said() })).unwrap();
    assert_eq!(nameless.instance, "");
    let long = v1::Caller { name: "ä".repeat(128), instance: "b".repeat(256), ..said() };
    assert_eq!(caller(UID, Some(&long)).unwrap().instance.len(), 256);
    assert_eq!(identity(UID, None).unwrap(), Identity::Uid(1000));
    assert_eq!(field_of(identity(Known::OnlyByName, None)), "caller");
}

#[test]
fn faults_of_a_caller_name_the_field() {
    let long = "x".repeat(257);
    let table = [
        ("caller.name", v1::Caller { name: String::new(), ..said() }),
        ("caller.name", v1::Caller { name: long.clone(), ..said() }),
        ("caller.name", v1::Caller { name: "a\u{7}b".into(), ..said() }),
        ("caller.application", v1::Caller { application: String::new(), ..said() }),
        ("caller.application", v1::Caller { application: " Desktop".into(), ..said() }),
        ("caller.version", v1::Caller { version: "newest".into(), ..said() }),
        ("caller.version", v1::Caller { version: "1.2.3.4.5".into(), ..said() }),
        ("caller.instance", v1::Caller { instance: "a\nb".into(), ..said() }),
        ("caller.host", v1::Caller { host: long, ..said() }),
    ];
    for (field, said) in table {
        assert_eq!(field_of(caller(Known::OnlyByName, Some(&said))), field);
    }
    assert_eq!(field_of(caller(UID, None)), "caller");
}

#[test]
fn faults_of_an_acquire_name_the_field() {
    use v1::{acquire_request::Subject, user_logon::At};
    let with = |subject| v1::AcquireRequest { subject: Some(subject), ..logon() };
    let user = |user: v1::UserLogon| with(Subject::Logon(user));
    let named = || v1::UserLogon { user: "agent-001".into(), ..Default::default() };
    let units = |key: &str, units| with(Subject::Units(v1::ServerUnits { key: key.into(), units }));
    let table = [
        ("request_id", v1::AcquireRequest { request_id: Vec::new(), ..logon() }),
        ("request_id", v1::AcquireRequest { request_id: vec![0; 17], ..logon() }),
        ("ttl_ms", v1::AcquireRequest { ttl_ms: 9_999, ..logon() }),
        ("ttl_ms", v1::AcquireRequest { ttl_ms: 86_400_001, ..logon() }),
        ("wait_ms", v1::AcquireRequest { wait_ms: 3_600_001, ..logon() }),
        ("priority", v1::AcquireRequest { priority: 10, ..logon() }),
        ("priority", v1::AcquireRequest { priority: 256, ..logon() }),
        ("subject", v1::AcquireRequest { subject: None, ..logon() }),
        ("logon.user", user(v1::UserLogon { user: String::new(), ..named() })),
        ("logon.station", user(v1::UserLogon { at: Some(At::Station("s\u{202e}".into())), ..named() })),
        (
            "logon.dynamic_remote_number",
            user(v1::UserLogon { at: Some(At::DynamicRemoteNumber(String::new())), ..named() }),
        ),
        ("logon.computer", user(v1::UserLogon { computer: "pc\t1".into(), ..named() })),
        ("logon.needed_keys[1]", user(v1::UserLogon { needed_keys: vec!["K".into(), String::new()], ..named() })),
        ("logon.needed_keys", user(v1::UserLogon { needed_keys: vec!["K".into(); 101], ..named() })),
        ("logon.application", user(v1::UserLogon { application: " ".into(), ..named() })),
        ("station.station", with(Subject::Station(v1::StationUse::default()))),
        ("units.key", units("", 1)),
        ("units.units", units("K", 0)),
        ("units.units", units("K", 1_000_001)),
    ];
    for (field, message) in table {
        assert_eq!(field_of(leasing::acquire(unary(), &message)), field);
    }
}

#[test]
fn an_acquire_becomes_a_command() {
    let acquire = leasing::acquire(unary(), &logon()).unwrap();
    assert_eq!((acquire.ttl_ms, acquire.wait_ms, acquire.priority), (60_000, 0, 0));
    assert_eq!(acquire.request, RequestId([1; 16]));
    let Ask::Logon { user, place: Place::None, computer: None, needed, application: None } = acquire.ask else {
        panic!("{acquire:?}")
    };
    assert_eq!((user.as_str(), needed.len()), ("agent-001", 0));
    let edges = v1::AcquireRequest { ttl_ms: 10_000, wait_ms: 3_600_000, priority: 9, ..logon() };
    let acquire = leasing::acquire(unary(), &edges).unwrap();
    assert_eq!((acquire.ttl_ms, acquire.wait_ms, acquire.priority), (10_000, 3_600_000, 9));
    let unnumbered = v1::AcquireRequest { request_id: Vec::new(), ..logon() };
    assert!(leasing::explained(unary(), &unnumbered).is_ok(), "what is only explained needs no request ID");
}

#[test]
fn lists_have_bounds() {
    let release = |leases: usize, requests: usize| {
        let message = v1::ReleaseRequest {
            lease_ids: vec![1; leases],
            acquire_request_ids: vec![vec![0; 16]; requests],
            ..Default::default()
        };
        leasing::release(unary(), None, &message)
    };
    assert!(release(10_000, 0).is_ok() && release(0, 10_000).is_ok() && release(1, 0).is_ok());
    assert_eq!(field_of(release(0, 0)), "lease_ids");
    assert_eq!(field_of(release(10_001, 0)), "lease_ids");
    assert_eq!(field_of(release(5_001, 5_000)), "lease_ids");
    assert_eq!(field_of(release(0, 10_001)), "acquire_request_ids");
    let short = v1::ReleaseRequest { acquire_request_ids: vec![vec![0; 16], vec![0; 3]], ..Default::default() };
    assert_eq!(field_of(leasing::release(unary(), None, &short)), "acquire_request_ids[1]");
    assert_eq!(field_of(lease_ids("lease_ids", &[5, 0])), "lease_ids[1]");
    assert_eq!(field_of(some_lease_ids("lease_ids", &[])), "lease_ids");
    assert_eq!(field_of(page_size(1_001)), "page_size");
    assert_eq!((page_size(0).unwrap(), page_size(1).unwrap(), page_size(1_000).unwrap()), (1_000, 1, 1_000));
    assert_eq!(field_of(numbered_page("+5")), "page_token");
    assert_eq!(field_of(numbered_page("x")), "page_token");
    assert_eq!((numbered_page("").unwrap(), numbered_page("17").unwrap()), (None, Some(17)));

    let subject = v1::Subject { subject: Some(v1::subject::Subject::User("a".into())) };
    let ask = |subjects: Vec<v1::Subject>, keys: Vec<String>| {
        leasing::entitlements(&v1::EntitlementsRequest { subjects, keys, ..Default::default() })
    };
    assert!(ask(vec![subject.clone(); 1_000], vec!["K".into(); 100]).is_ok());
    assert_eq!(field_of(ask(Vec::new(), vec!["K".into()])), "subjects");
    assert_eq!(field_of(ask(vec![subject.clone(); 1_001], vec!["K".into()])), "subjects");
    assert_eq!(field_of(ask(vec![subject.clone()], Vec::new())), "keys");
    assert_eq!(field_of(ask(vec![subject.clone()], vec!["K".into(); 101])), "keys");
    assert_eq!(field_of(ask(vec![subject.clone()], vec!["K".into(), "no key".into()])), "keys[1]");
    assert_eq!(field_of(ask(vec![subject, v1::Subject::default()], vec!["K".into()])), "subjects[1]");
}

#[test]
fn moments_are_checked_and_come_back() {
    let at = WallTime::from_ms(-1);
    assert_eq!(timestamp(at), Timestamp { seconds: -1, nanos: 999_000_000 });
    assert_eq!(wall_time("since", &timestamp(at)).unwrap(), at);
    for bad in [
        Timestamp { seconds: i64::MAX, nanos: 0 },
        Timestamp { seconds: 0, nanos: -1 },
        Timestamp { seconds: 0, nanos: 1_000_000_000 },
    ] {
        assert_eq!(field_of(wall_time("since", &bad)), "since");
    }
}

#[test]
fn a_change_of_stage_is_told_with_all_that_is_known_of_it() {
    use leasehold_engine::{
        decision::{StandingTold, Told},
        refusal::{Cause, Enforcement},
        standing::{Stage, StageAhead},
    };
    let (license, since) =
        (license_id("license_id", "0190c1f0-7b1a-7c3e-9d2f-4a5b6c7d8e9f").unwrap(), WallTime::from_ms(0));
    let why = Enforcement {
        stage: Stage::PortsLimited,
        license,
        product: "PureConnect".parse().unwrap(),
        cause: Cause::Never,
        since,
    };
    let told = |told: StandingTold| match leasing::told(&Told::Standing(Box::new(told))) {
        Some(v1::event::Event::StandingChanged(changed)) => changed,
        other => panic!("{other:?}"),
    };
    let next = StageAhead { stage: Stage::Unlicensed, at: WallTime::from_ms(5_000), license };
    let (before, stage) = (Stage::SupervisorDisabled, Stage::PortsLimited);
    let down = told(StandingTold { before, stage, why: Some(why), next: Some(next), leases_end_in_ms: None });
    assert_eq!(
        (down.before, down.stage, down.name.as_str(), down.reason.as_str()),
        (4, 5, "ports limited", "ENFORCED")
    );
    assert_eq!((down.next_stage, down.next_at, down.leases_end_in_ms), (6, Some(timestamp(next.at)), 0));
    assert!(down.message.contains("PureConnect") && down.message.contains("20 %"), "{}", down.message);
    let (before, stage) = (Stage::Unlicensed, Stage::Functional);
    let back = told(StandingTold { before, stage, why: None, next: None, leases_end_in_ms: None });
    assert_eq!((back.before, back.stage, back.reason.as_str(), back.next_stage), (6, 1, "STANDING", 0));
    assert!(back.next_at.is_none() && back.message.contains("good standing"), "{}", back.message);
}

fn user_entity(user: v1::User) -> Option<v1::Entity> {
    Some(v1::Entity { entity: Some(v1::entity::Entity::User(user)) })
}

#[test]
fn entities_are_created_with_defaults_and_changed_in_part() {
    let named = || v1::User { name: "agent-001".into(), ..Default::default() };
    let Act::Create(created) =
        administration::create(&v1::CreateEntityRequest { entity: user_entity(named()) }).unwrap()
    else {
        panic!()
    };
    let Entity::User { method, organization, workgroups, .. } = created else { panic!() };
    assert_eq!((method, organization, workgroups.len()), (Method::Assignable, None, 0));
    let change = v1::User { organization: Some(String::new()), method: Some("concurrent".into()), ..named() };
    let act = administration::change(&v1::ChangeEntityRequest { entity: user_entity(change) }).unwrap();
    let Act::Change(leasehold_engine::command::EntityChange::User {
        method,
        organization,
        display_name,
        workgroups,
        ..
    }) = &act
    else {
        panic!()
    };
    assert_eq!(
        (*method, organization, display_name, workgroups),
        (Some(Method::Concurrent), &Some(None), &None, &None)
    );
    assert_eq!(administration::subject_of(&act), Some(EntityName::User("agent-001".parse().unwrap())));

    let table = [
        ("entity", None),
        ("entity", Some(v1::Entity::default())),
        ("user.name", user_entity(v1::User::default())),
        ("user.method", user_entity(v1::User { method: Some("both".into()), ..named() })),
        (
            "user.workgroups[0]",
            user_entity(v1::User { workgroups: Some(v1::StringList { values: vec![String::new()] }), ..named() }),
        ),
    ];
    for (field, entity) in table {
        assert_eq!(field_of(administration::create(&v1::CreateEntityRequest { entity })), field);
    }
    let station = v1::Station { name: "s".into(), kind: Some("toaster".into()), ..Default::default() };
    let entity = Some(v1::Entity { entity: Some(v1::entity::Entity::Station(station)) });
    assert_eq!(field_of(administration::create(&v1::CreateEntityRequest { entity })), "station.kind");
}

#[test]
fn faults_of_administration_name_the_field() {
    let user = |name: &str| v1::EntityRef { entity: Some(v1::entity_ref::Entity::User(name.into())) };
    let group = v1::EntityRef { entity: Some(v1::entity_ref::Entity::Workgroup("w".into())) };
    let assign = |subjects: Vec<v1::EntityRef>, keys: usize| {
        administration::assign(&v1::AssignRequest { subjects, keys: vec!["K".into(); keys], ..Default::default() })
    };
    assert!(assign(vec![user("a"); 100], 100).is_ok());
    assert_eq!(field_of(assign(vec![user("a"); 101], 100)), "subjects");
    assert_eq!(field_of(assign(Vec::new(), 1)), "subjects");
    assert_eq!(field_of(assign(vec![user("a")], 0)), "keys");
    assert_eq!(field_of(assign(vec![user("a"), group], 1)), "subjects[1]");
    assert_eq!(field_of(assign(vec![user("")], 1)), "subjects[0].user");

    let revoke = |lease_ids: Vec<u64>, user: &str, reason: &str| {
        let message =
            v1::RevokeLeasesRequest { lease_ids, user: user.into(), reason: reason.into(), ..Default::default() };
        administration::revoke(&message)
    };
    assert!(revoke(vec![1], "", "maintenance").is_ok() && revoke(Vec::new(), "a", "maintenance").is_ok());
    assert_eq!(field_of(revoke(vec![1], "a", "maintenance")), "lease_ids");
    assert_eq!(field_of(revoke(Vec::new(), "", "maintenance")), "lease_ids");
    assert_eq!(field_of(revoke(vec![1], "", "")), "reason");

    let rule =
        |idle_ms| administration::pool_rule(&v1::SetPoolRuleRequest { pool: "K".into(), idle_ms, idle_always: false });
    assert!(rule(0).is_ok() && rule(60_000).is_ok());
    assert_eq!(field_of(rule(59_999)), "idle_ms");

    let share = v1::Share {
        pool: "K".into(),
        holder: Some(v1::share::Holder::Organization("acme".into())),
        reserve: 3,
        limit: Some(2),
        in_use: 0,
    };
    let set = |share| administration::share(&v1::SetShareRequest { share: Some(share), remove: false });
    assert_eq!(field_of(set(share.clone())), "share.limit");
    assert_eq!(field_of(set(v1::Share { holder: None, ..share })), "share.holder");

    let file = |name: &str, bytes| {
        administration::file(&v1::LoadFileRequest { name: name.into(), content: vec![0; bytes], check_only: true })
    };
    assert!(file("acme.i3lic", 131_072).is_ok());
    assert_eq!(field_of(file("../acme.i3lic", 1)), "name");
    assert_eq!(field_of(file(".acme.i3lic", 1)), "name");
    assert_eq!(field_of(file("acme.i3lic", 0)), "content");
    assert_eq!(field_of(file("acme.i3lic", 131_073)), "content");

    let unload = |id: &str, reason: &str| {
        administration::unload(&v1::UnloadRequest { license_id: id.into(), reason: reason.into() })
    };
    assert_eq!(field_of(unload("acme", "sold")), "license_id");
    assert_eq!(field_of(unload("0190c1f0-7b1a-7c3e-9d2f-4a5b6c7d8e9f", " ")), "reason");
    let list = v1::ListEntitiesRequest { kind: 9, ..Default::default() };
    assert_eq!(field_of(administration::entity_filter(&list)), "kind");
}

/// Texts that people and programs send: names, near misses, and anything at all.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        "[A-Z_0-9]{1,12}",
        any::<String>(),
        Just("x".repeat(300)),
        Just("K_CONCURRENT_CONCURRENT".to_owned()),
    ]
}

fn texts_of() -> impl Strategy<Value = Vec<String>> {
    proptest::collection::vec(text(), 0..4)
}

fn said_by_anyone() -> impl Strategy<Value = Option<v1::Caller>> {
    let caller = (text(), text(), text(), text(), text()).prop_map(|(name, application, version, instance, host)| {
        v1::Caller { name, application, version, instance, host }
    });
    proptest::option::of(caller)
}

fn acquire_of_anyone() -> impl Strategy<Value = v1::AcquireRequest> {
    use v1::{acquire_request::Subject, user_logon::At};
    let at = proptest::option::of(prop_oneof![text().prop_map(At::Station), text().prop_map(At::DynamicRemoteNumber)]);
    let logon = (text(), at, text(), texts_of(), text()).prop_map(|(user, at, computer, needed_keys, application)| {
        Subject::Logon(v1::UserLogon { user, at, computer, needed_keys, application })
    });
    let station = (text(), texts_of())
        .prop_map(|(station, needed_keys)| Subject::Station(v1::StationUse { station, needed_keys }));
    let units = (text(), any::<u32>()).prop_map(|(key, units)| Subject::Units(v1::ServerUnits { key, units }));
    let id = prop_oneof![Just(vec![7; 16]), proptest::collection::vec(any::<u8>(), 0..20)];
    let number = || prop_oneof![Just(0), 0_u64..100_000, any::<u64>()];
    (id, said_by_anyone(), proptest::option::of(prop_oneof![logon, station, units]), number(), number(), 0_u32..20)
        .prop_map(|(request_id, caller, subject, ttl_ms, wait_ms, priority)| v1::AcquireRequest {
            request_id,
            caller,
            subject,
            ttl_ms,
            wait_ms,
            priority,
            sign: priority % 2 == 1,
        })
}

fn malformed_or_fine<T>(checked: &Checked<T>) -> bool {
    matches!(checked, Ok(_) | Err(Refusal::Malformed { .. }))
}

/// Everything that takes a message of bytes that decode to something.
fn survives(bytes: &[u8]) -> bool {
    use prost::Message as _;
    macro_rules! each {
        ($($message:ty => $convert:expr),+ $(,)?) => {
            $(if let Ok(message) = <$message>::decode(bytes) {
                let convert: fn(&$message) -> bool = $convert;
                if !convert(&message) {
                    return false;
                }
            })+
        };
    }
    each! {
        v1::Hello => |m| malformed_or_fine(&leasing::hello(Known::OnlyByName, m)),
        v1::AcquireRequest => |m| malformed_or_fine(&leasing::acquire(unary(), m)),
        v1::ReleaseRequest => |m| malformed_or_fine(&leasing::release(unary(), None, m)),
        v1::EntitlementsRequest => |m| malformed_or_fine(&leasing::entitlements(m)),
        v1::CreateEntityRequest => |m| malformed_or_fine(&administration::create(m)),
        v1::ChangeEntityRequest => |m| malformed_or_fine(&administration::change(m)),
        v1::DeleteEntityRequest => |m| malformed_or_fine(&administration::delete(m)),
        v1::AssignRequest => |m| malformed_or_fine(&administration::assign(m)),
        v1::UnassignRequest => |m| malformed_or_fine(&administration::unassign(m)),
        v1::RevokeLeasesRequest => |m| malformed_or_fine(&administration::revoke(m)),
        v1::SetPoolRuleRequest => |m| malformed_or_fine(&administration::pool_rule(m)),
        v1::SetShareRequest => |m| malformed_or_fine(&administration::share(m)),
        v1::UnloadRequest => |m| malformed_or_fine(&administration::unload(m)),
        v1::PromoteRequest => |m| malformed_or_fine(&administration::promote(m)),
        v1::StandByRequest => |m| malformed_or_fine(&administration::stand_by(m)),
        v1::LoadFileRequest => |m| malformed_or_fine(&administration::file(m)),
        v1::GetHostIdRequest => |m| malformed_or_fine(&administration::request_note(m)),
        v1::ListEntitiesRequest => |m| malformed_or_fine(&administration::entity_filter(m)),
        v1::ListAssignmentsRequest => |m| malformed_or_fine(&administration::assignment_filter(m)),
        v1::ListLeasesRequest => |m| malformed_or_fine(&administration::lease_filter(m)),
        v1::ListDenialsRequest => |m| malformed_or_fine(&administration::denial_query(m)),
        v1::ListAuditRequest => |m| malformed_or_fine(&administration::audit_query(m)),
    }
    true
}

/// Bytes that decode more often than chance would have it: fields of small numbers with short contents.
fn likely_bytes() -> impl Strategy<Value = Vec<u8>> {
    let field = (1_u8..16, prop_oneof![Just(0_u8), Just(2_u8)], proptest::collection::vec(any::<u8>(), 0..24))
        .prop_map(|(number, kind, content)| {
            let mut bytes = vec![number << 3 | kind];
            if kind == 2 {
                bytes.push(u8::try_from(content.len()).unwrap());
                bytes.extend(content);
            } else {
                bytes.push(content.first().copied().unwrap_or(0) & 0x7f);
            }
            bytes
        });
    proptest::collection::vec(field, 0..8).prop_map(|fields| fields.concat())
}

proptest! {
    #[test]
    fn whatever_decodes_is_taken_or_refused_by_its_field(bytes in likely_bytes()) {
        prop_assert!(survives(&bytes));
    }

    #[test]
    fn callers_are_taken_or_refused_by_their_field(said in said_by_anyone(), uid in any::<u32>()) {
        for known in [Known::Uid(uid), Known::OnlyByName] {
            let checked = caller(known, said.as_ref());
            prop_assert!(malformed_or_fine(&checked));
            if let Ok(caller) = checked {
                prop_assert!(caller.instance.len() <= LABEL_MAX_BYTES && !caller.instance.contains(char::is_control));
                prop_assert_eq!(matches!(caller.identity, Identity::Uid(_)), matches!(known, Known::Uid(_)));
            }
        }
    }

    #[test]
    fn acquires_that_are_taken_are_within_all_bounds(message in acquire_of_anyone()) {
        let checked = leasing::acquire(unary(), &message);
        prop_assert!(malformed_or_fine(&checked));
        if let Ok(acquire) = checked {
            prop_assert!((10_000..=86_400_000).contains(&acquire.ttl_ms));
            prop_assert!(acquire.wait_ms <= 3_600_000 && acquire.priority <= 9);
            if let Ask::Units { units, .. } = acquire.ask {
                prop_assert!((1..=1_000_000).contains(&units));
            }
        }
    }
}
