//! Every state and every trouble says what it is and what to do; destinations are read strictly.

use leasehold_engine::time::WallTime;

use super::super::{Destination, Failure, FileState, Held, bucket_endpoint};
use crate::way_out::{Doing, Trouble, Unverified, doctor::StepKind};

fn all() -> Vec<Trouble> {
    let s = || "something".to_owned();
    vec![
        Trouble::NoDestination,
        Trouble::BadDestination { said: s(), why: s() },
        Trouble::Setting { setting: "network.ca".into(), path: "/x".into(), why: s() },
        Trouble::NoCredentials,
        Trouble::NoAuthorities,
        Trouble::NameNotFound { host: s(), why: s() },
        Trouble::Refused { at: s() },
        Trouble::Unreachable { at: s(), why: s() },
        Trouble::TimedOut { at: s(), doing: Doing::Name },
        Trouble::ProxyUnreachable { proxy: s(), why: s() },
        Trouble::ProxyAuthentication { proxy: s(), sent: true },
        Trouble::ProxyRefused { proxy: s(), to: s(), status: 403 },
        Trouble::ProxyGarbage { proxy: s() },
        Trouble::TlsUnverified { at: s(), why: Unverified::Revoked },
        Trouble::TlsFailed { at: s(), why: s() },
        Trouble::CutOff { at: s(), why: s() },
        Trouble::WrongCredentials { said: s() },
        Trouble::NotThere { what: s(), said: s() },
        Trouble::Redirected { to: s() },
        Trouble::ServerRefused { status: 409, said: s() },
        Trouble::ServerBusy { status: 503, said: s(), retry_after_s: None },
        Trouble::Garbage { at: s(), why: s() },
        Trouble::ReceiptForOther { why: s() },
        Trouble::ReceiptNotSigned { why: s() },
        Trouble::ReceiptForbidden { said: s() },
        Trouble::ClockOff { ahead_s: -400 },
        Trouble::Disk { path: "/x".into(), why: s() },
        Trouble::FileDamaged { path: "/x".into() },
        Trouble::NotNoted { why: s() },
    ]
}

#[test]
fn every_trouble_has_a_code_words_and_a_remedy_and_is_remembered_as_it_is() {
    let mut codes = std::collections::BTreeSet::new();
    for trouble in all() {
        assert!(codes.insert(trouble.code()), "{}", trouble.code());
        assert!(trouble.to_string().len() > 15 && trouble.remedy().len() > 10, "{trouble:?}");
        let kept = serde_json::to_value(&trouble).unwrap();
        assert_eq!(kept["trouble"], trouble.code());
        assert_eq!(serde_json::from_value::<Trouble>(kept).unwrap(), trouble);
    }
    assert!(Trouble::ClockOff { ahead_s: -400 }.to_string().contains("400 s behind"));
    assert!(Trouble::ClockOff { ahead_s: 400 }.to_string().contains("400 s ahead"));
}

#[test]
fn a_trouble_is_of_the_way_or_of_files_which_are_named() {
    let failure =
        |trouble| Failure { at: WallTime::from_ms(0), trouble, attempts: 1, again: WallTime::from_ms(60_000) };
    for trouble in all() {
        let state = FileState::of(&trouble);
        assert_eq!(state.is_none(), trouble.is_of_the_way(), "{trouble:?}");
        let Some(state) = state else { continue };
        let mut held = Held { state, failure: failure(trouble), files: vec!["a.usg".into()] };
        assert!(held.to_string().starts_with("1 usage file is ") && held.to_string().contains("(a.usg): "), "{held}");
        held.files.extend(["b.usg", "c.usg", "d.usg", "e.usg"].map(str::to_owned));
        assert!(held.to_string().starts_with("5 usage files are "), "{held}");
        assert!(held.to_string().contains("(a.usg, b.usg, c.usg and 2 more): "), "{held}");
    }
}

#[test]
fn every_state_and_step_has_a_name_and_words() {
    let states = [
        (FileState::Open, "open"),
        (FileState::Closed, "closed"),
        (FileState::Uploading, "uploading"),
        (FileState::Uploaded, "uploaded"),
        (FileState::Acknowledged, "acknowledged"),
        (FileState::Refused, "refused"),
        (FileState::WrongReceipt, "wrong-receipt"),
        (FileState::Damaged, "damaged"),
        (FileState::HeldUp, "held-up"),
        (FileState::Overdue, "overdue"),
    ];
    for (state, name) in states {
        assert_eq!(state.to_string(), name);
        assert!(state.words().len() > 5);
    }
    let names: std::collections::BTreeSet<_> = StepKind::ALL.iter().map(|kind| kind.as_str()).collect();
    assert_eq!(names.len(), StepKind::ALL.len());
    assert!(StepKind::ALL.is_sorted());
}

#[test]
fn destinations_are_read_strictly_and_shown_as_they_are() {
    for (said, shown) in [
        ("s3://acme-usage", "s3://acme-usage"),
        ("s3://acme-usage/", "s3://acme-usage"),
        ("s3://acme.usage.2026/eu/site-7/", "s3://acme.usage.2026/eu/site-7"),
        ("https://licenses.acme.example", "https://licenses.acme.example"),
        ("https://Licenses.Acme.example:443/", "https://licenses.acme.example"),
        ("https://licenses.acme.example:8443/a/v1/usage/", "https://licenses.acme.example:8443/a"),
        ("https://[::1]:8443", "https://[::1]:8443"),
        ("https://192.0.2.7/usage", "https://192.0.2.7/usage"),
    ] {
        assert_eq!(said.parse::<Destination>().unwrap().to_string(), shown);
    }
    for bad in [
        "",
        "acme-usage",
        "http://licenses.acme.example",
        "s3://",
        "s3://ab",
        "s3://Acme-Usage",
        "s3://-acme",
        "s3://acme..usage",
        "s3://acme-usage//x",
        "s3://acme-usage/../x",
        "s3://acme-usage/a b",
        "s3://key:secret@acme-usage",
        "https://",
        "https://user:secret@licenses.acme.example",
        "https://licenses.acme.example:0",
        "https://licenses.acme.example:99999",
        "https://licenses.acme.example/?a=b",
        "https://licenses.acme.example/a#b",
        "https://licenses.acme.example//",
        "https://licenses.acme.example/..",
        "https://licenses_acme example/",
    ] {
        assert!(bad.parse::<Destination>().is_err(), "{bad}");
    }
    assert_eq!(bucket_endpoint("https://minio.acme.example:9000/").unwrap().to_string(), "minio.acme.example:9000");
    for bad in ["http://minio:9000", "https://minio/path", "minio:9000", "https://a@minio"] {
        assert!(bucket_endpoint(bad).is_err(), "{bad}");
    }
}
