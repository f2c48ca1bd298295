//! Orders of every level: what they grant and when they end (LEVEL-1 to LEVEL-4).

use leasehold_keys::{
    activation::{FileKind, Level, Units},
    definition::{Holder, KeyKind, Role},
    name::Method,
};
use licensor::{
    catalog::{Catalog, DevelopmentSize},
    order::{DevelopmentTerms, IssueOrder, OrderLevel, TermsFault},
};

use crate::{
    orders::{faults, grant, granted, order_without_request, part, with_grants},
    support::{label, noon, order, time, workshop},
};

#[test]
fn small_and_large_development_licenses_hold_what_the_source_says() {
    let catalog = Catalog::pureconnect();
    for (size, units) in [(DevelopmentSize::Small, 8), (DevelopmentSize::Large, 30)] {
        let (_dir, mut workshop) = workshop();
        let order = IssueOrder { level: OrderLevel::Development { size, terms: DevelopmentTerms::Ordered }, ..order() };
        let file = workshop.issue(&catalog, &order, noon()).unwrap().activation;
        let grants = granted(&file);
        for key in catalog.keys() {
            let assignable = grants.get(key.name.as_str()).copied();
            let concurrent = grants.get(&format!("{}_CONCURRENT", key.name)).copied();
            let payment = matches!(key.role, Some(Role::UsageUpload | Role::UsageLocal | Role::VirtualCloud));
            match key.kind {
                KeyKind::Access => {
                    assert_eq!(assignable, Some(Units::Count(units)), "{}", key.name);
                    let users = key.holders.contains(&Holder::User).then_some(Units::Count(units));
                    assert_eq!(concurrent, users, "{}", key.name);
                }
                KeyKind::Session => {
                    assert_eq!(assignable, Some(Units::Count(units)), "{}", key.name)
                }
                KeyKind::Feature => assert_eq!(assignable.is_some(), !payment, "{}", key.name),
                KeyKind::Engine | KeyKind::Hardware => assert_eq!(assignable, None, "{}", key.name),
                KeyKind::Server => {}
            }
        }
        let server = if size == DevelopmentSize::Small {
            "I3_LICENSE_CIC_SERVER_BASIC"
        } else {
            "I3_LICENSE_CIC_SERVER_ADVANCED"
        };
        let servers: Vec<_> = grants.keys().filter(|pool| pool.starts_with("I3_LICENSE_CIC_S")).collect();
        assert_eq!(servers, [server]);
        assert_eq!(grants["I3_FEATURE_SIP"], Units::Count(1));
        assert_eq!(file.level, Level::Development);
        assert_eq!(file.not_after, time("2027-11-22T12:34:56Z"));
    }
}

#[test]
fn development_licenses_last_as_they_came_about() {
    let small =
        |terms| IssueOrder { level: OrderLevel::Development { size: DevelopmentSize::Small, terms }, ..order() };
    let (_dir, mut workshop) = workshop();
    let catalog = Catalog::pureconnect();
    let rows = [
        (DevelopmentTerms::Ordered, "2027-11-22T12:34:56Z"),
        (DevelopmentTerms::Partner, "2026-12-22T12:34:56Z"),
        (DevelopmentTerms::WithServer(label("intermediate")), "2100-01-01T00:00:00Z"),
    ];
    for (terms, end) in rows {
        assert_eq!(workshop.issue(&catalog, &small(terms), noon()).unwrap().activation.not_after, time(end));
    }
    let mismatch = faults(&small(DevelopmentTerms::WithServer(label("advanced"))));
    assert_eq!(mismatch.len(), 1);
    assert_eq!(
        mismatch[0].to_string(),
        "server item `advanced` comes with a large one, not with a small development license"
    );
    // The bundle is what it is; engines and hardware may be added.
    let more = IssueOrder {
        grants: vec![grant("I3_ACCESS_CLIENT", 1), grant("I3_ENGINE_ANALYZER", 2)],
        parts: vec![part("SW-001-4.0-AL01", 1, 0)],
        not_after: Some(time("2028-01-01T00:00:00Z")),
        ..small(DevelopmentTerms::Ordered)
    };
    let told: Vec<_> = faults(&more).iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), 3, "{told:?}");
    let engine = IssueOrder { grants: vec![grant("I3_ENGINE_ANALYZER", 2)], ..small(DevelopmentTerms::Ordered) };
    assert_eq!(
        granted(&workshop.issue(&catalog, &engine, noon()).unwrap().activation)["I3_ENGINE_ANALYZER"],
        Units::Count(2)
    );
}

#[test]
fn a_trial_ends_after_sixty_days_and_takes_add_ons() {
    let (_dir, mut workshop) = workshop();
    let catalog = Catalog::pureconnect();
    let trial = IssueOrder { level: OrderLevel::Trial, kind: FileKind::AddOn, ..with_grants() };
    assert_eq!(workshop.issue(&catalog, &trial, noon()).unwrap().activation.not_after, time("2027-01-21T12:34:56Z"));
    let earlier = IssueOrder { not_after: Some(time("2027-01-01T00:00:00Z")), ..trial.clone() };
    assert_eq!(workshop.issue(&catalog, &earlier, noon()).unwrap().activation.not_after, time("2027-01-01T00:00:00Z"));
    let later = IssueOrder { not_after: Some(time("2027-01-22T00:00:00Z")), ..trial };
    assert!(matches!(faults(&later)[..], [TermsFault::EndTooLate { .. }]));
}

#[test]
fn an_evaluation_is_fixed() {
    let (_dir, mut workshop) = workshop();
    let evaluation = IssueOrder { level: OrderLevel::Evaluation { configuration: None }, ..order() };
    let file = workshop.issue(&Catalog::pureconnect(), &evaluation, noon()).unwrap().activation;
    assert_eq!((file.level, granted(&file)["I3_ACCESS_CLIENT"]), (Level::Evaluation, Units::Count(5)));
    assert_eq!(file.not_after, time("2027-02-20T12:34:56Z"));
    let more = IssueOrder {
        kind: FileKind::AddOn,
        server: Some(label("basic")),
        parts: vec![part("SW-001-4.0-AL01", 1, 0)],
        grants: vec![grant("I3_SESSION_CALL", 1)],
        ..evaluation
    };
    assert_eq!(
        faults(&more),
        [
            TermsFault::EvaluationIsFixed("server items"),
            TermsFault::EvaluationIsFixed("parts"),
            TermsFault::EvaluationIsFixed("grants"),
            TermsFault::EvaluationAddOn,
        ]
    );
    let other = IssueOrder { level: OrderLevel::Evaluation { configuration: Some(label("huge")) }, ..order() };
    assert_eq!(faults(&other), [TermsFault::WhichEvaluation { choices: "small".to_owned() }]);
}

#[test]
fn a_catalog_says_which_levels_there_are() {
    let media = Catalog::all_shipped().remove(0);
    let (_dir, mut workshop) = workshop();
    let order = IssueOrder { level: OrderLevel::Evaluation { configuration: None }, ..order_without_request() };
    let fault = workshop.issue(&media, &order, noon()).unwrap_err().to_string();
    assert!(fault.contains("its catalog allows production, development, trial"), "{fault}");
    let order = IssueOrder { server: Some(label("media")), ..order_without_request() };
    let file = workshop.issue(&media, &order, noon()).unwrap().activation;
    assert_eq!(file.companion_of, Some(label("CIC")));
}

#[test]
fn concurrent_pools_are_of_users_keys_only() {
    let catalog = Catalog::pureconnect();
    let (_dir, mut workshop) = workshop();
    let order = IssueOrder {
        level: OrderLevel::Development { size: DevelopmentSize::Large, terms: DevelopmentTerms::Partner },
        ..order()
    };
    let file = workshop.issue(&catalog, &order, noon()).unwrap().activation;
    for grant in file.grants.iter().filter(|grant| grant.pool.method == Method::Concurrent) {
        assert!(catalog.key(&grant.pool.key).unwrap().holders.contains(&Holder::User), "{}", grant.pool);
    }
}
