//! A check-in for tests: one request, the same in each run, and the answers to it.

use leasehold_keys::{
    activation::HostRole,
    check_in::{CheckInAnswer, CheckInRequest, CheckInStanding, ClockEvidence, Nonce, WitnessEvidence, WitnessKind},
    digest::Sha256,
    installation::InstallationKey,
    key::SigningKey,
    root::{KeyRole, RevokedKey, Root},
    time::HOUR_MS,
    trust::{Trust, Verified},
    usage::Head,
};

use super::{HOST_ID, activation, at, ed, issued, now, pq, role, root, sign, signed_root};

pub(crate) fn installation() -> InstallationKey {
    InstallationKey::from_seed([1; 32]).unwrap()
}

/// A request in which every field occurs.
pub(crate) fn request() -> CheckInRequest {
    CheckInRequest {
        created: now().plus_ms(-60_000),
        nonce: Nonce([0xa5; 32]),
        license_id: activation().license_id,
        sequence: 12,
        file: Sha256::of(&issued(&activation())),
        root_version: 1,
        role: Some(HostRole::Primary),
        installation: installation().public(),
        host_id: HOST_ID.trim().parse().unwrap(),
        counter: 41,
        previous_answer: Some(Sha256::of(b"the answer before")),
        usage_head: Some(Head { segment: 3, records: 148, chain: Sha256::of(b"the usage chain") }),
        fencing: 9_007_199_254_740_993,
        epoch: 6,
        boot_id: "4e6d3c1a-6f0e-4b62-9b3f-2f0d2f8b9a11".parse().unwrap(),
        version: "0.1.0".parse().unwrap(),
        clock: ClockEvidence {
            wall: now().plus_ms(-61_000),
            roll_backs: 2,
            last_roll_back_ms: 3_600_000,
            unconfirmed_ms: 0,
            withdrawn: 1,
        },
        witness: vec![
            WitnessEvidence { kind: WitnessKind::Forked, count: 1, newest: now().plus_ms(-HOUR_MS) },
            WitnessEvidence { kind: WitnessKind::Behind, count: 4, newest: now().plus_ms(-2 * HOUR_MS) },
        ],
    }
}

/// The first request of an installation that has nothing to tell.
pub(crate) fn first_request() -> CheckInRequest {
    CheckInRequest {
        role: None,
        counter: 1,
        previous_answer: None,
        usage_head: None,
        fencing: 0,
        clock: ClockEvidence { wall: now(), roll_backs: 0, last_roll_back_ms: 0, unconfirmed_ms: 0, withdrawn: 0 },
        witness: Vec::new(),
        ..request()
    }
}

pub(crate) fn asked() -> Verified<CheckInRequest> {
    request().sign(&installation()).unwrap()
}

/// The answer that all is well.
pub(crate) fn good() -> CheckInAnswer {
    asked().answered(now(), CheckInStanding::Good)
}

/// An answer in which every field occurs.
pub(crate) fn full() -> CheckInAnswer {
    CheckInAnswer {
        standing: CheckInStanding::Revoked { from: at("2026-12-24T00:00:00Z") },
        roots: vec![Sha256::of(b"root 2"), Sha256::of(b"root 3")],
        files: vec![Sha256::of(b"file 13")],
        message: Some(
            "Vertrag 4711 endet am 24. Dezember (\"Köln\"). Wer weitermachen möchte, melde sich bitte bis dahin bei \
             uns: licenses@acme.example"
                .parse()
                .unwrap(),
        ),
        ..good()
    }
}

pub(crate) fn check_in_key() -> SigningKey {
    ed("acme.example/check-in-2026")
}

pub(crate) fn signed(answer: &CheckInAnswer) -> Vec<u8> {
    sign(&answer.render(), &[&check_in_key()])
}

/// Root 1, expired at the very moment of judgement, with check-in keys outside their windows, and one that is revoked.
pub(crate) fn check_in_root() -> Root {
    let mut root = root();
    root.expires = now();
    for (name, from, to) in [
        ("acme.example/check-in-2020", "2020-01-01T00:00:00Z", "2021-01-01T00:00:00Z"),
        ("acme.example/check-in-ends-now", "2020-01-01T00:00:00Z", super::NOW),
        ("acme.example/check-in-2027", "2027-01-01T00:00:00Z", "2029-01-01T00:00:00Z"),
    ] {
        let mut key = role(&ed(name), KeyRole::CheckIn, 1);
        (key.not_before, key.not_after) = (at(from), at(to));
        root.role_keys.push(key);
    }
    let stolen = ed("acme.example/check-in-stolen");
    root.role_keys.push(role(&stolen, KeyRole::CheckIn, 2));
    root.revoked = vec![RevokedKey { sha256: stolen.public().sha256(), from: now() }];
    root
}

/// The same of a vendor that asks for two Ed25519 signatures and one of ML-DSA-65 on answers, and on nothing else.
pub(crate) fn strict_root() -> Root {
    let mut root = root();
    (root.policy.check_in.ed25519, root.policy.check_in.ml_dsa_65) = (2, 1);
    root.role_keys.push(role(&second_key(), KeyRole::CheckIn, 1));
    root.role_keys.push(role(&pq("acme.example/check-in-2026"), KeyRole::CheckIn, 1));
    root
}

pub(crate) fn second_key() -> SigningKey {
    ed("acme.example/check-in-second")
}

pub(crate) fn trust_in(root: &Root) -> Trust {
    Trust::anchored(&signed_root(root, &["a", "b"])).unwrap()
}
