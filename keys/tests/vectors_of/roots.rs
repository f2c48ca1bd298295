//! Vectors of roots and their succession.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use leasehold_keys::{
    digest::Sha256,
    refusal::Reason,
    root::{KeyRole, Required, RevokedKey, Root},
};

use crate::{
    Judged::{Anchor, Successor},
    Vector, accepted, refused,
    vendor::{at, ed, issuing, now, pq, role, root, sign, signed_root},
};

/// Root 1 with the issuing key revoked, another to be revoked later, and keys outside their windows.
pub(crate) fn revoking() -> Root {
    let mut root = root();
    let later = ed("acme.example/issuing-later");
    root.role_keys.push(role(&later, KeyRole::Issuing, 2));
    for (name, from, to) in [
        ("acme.example/issuing-2020", "2020-01-01T00:00:00Z", "2021-01-01T00:00:00Z"),
        ("acme.example/issuing-ends-now", "2020-01-01T00:00:00Z", crate::vendor::NOW),
        ("acme.example/issuing-2027", "2027-01-01T00:00:00Z", "2029-01-01T00:00:00Z"),
    ] {
        let mut key = role(&ed(name), KeyRole::Issuing, 1);
        (key.not_before, key.not_after) = (at(from), at(to));
        root.role_keys.push(key);
    }
    root.revoked = vec![
        RevokedKey { sha256: issuing().public().sha256(), from: now() },
        RevokedKey { sha256: later.public().sha256(), from: at("2027-01-01T00:00:00Z") },
    ];
    root
}

/// Root 1, expired at the very moment of judgement.
pub(crate) fn expired() -> Root {
    Root { expires: now(), ..root() }
}

/// The next root, with `keys` as its root keys.
fn next(version: u32, keys: &[&str]) -> Root {
    let root_keys = keys.iter().map(|name| ed(&format!("acme.example/root-{name}")).public().clone()).collect();
    Root { version, root_keys, ..root() }
}

/// A root whose text has one of its own root keys written otherwise, signed by the others.
fn with_key(point: [u8; 32]) -> Vec<u8> {
    let text = root().render();
    let name = "acme.example/root-c";
    let good = ed(name).public().to_string();
    assert!(text.contains(&good));
    let typed = [&[1][..], &point].concat();
    let id = Sha256::of(&[name.as_bytes(), b"\n", &typed].concat());
    let forged = format!("{name}+{}+{}", &id.to_string()[..8], BASE64_STANDARD.encode(typed));
    sign(&text.replace(&good, &forged), &[&ed("acme.example/root-a"), &ed("acme.example/root-b")])
}

fn changed(from: &str, to: &str) -> Vec<u8> {
    let text = root().render();
    assert!(text.contains(from), "{from}");
    sign(&text.replacen(from, to, 1), &[&ed("acme.example/root-a"), &ed("acme.example/root-b")])
}

fn with_usage_key(usage_key: [u8; 32]) -> Vec<u8> {
    signed_root(&Root { usage_key, ..root() }, &["a", "b"])
}

pub(crate) fn all() -> Vec<Vector> {
    let of = |name, reason, bytes| refused(name, Anchor, reason, bytes);
    let identity = {
        let mut point = [0; 32];
        point[0] = 1;
        point
    };
    let order_eight = [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5, 0xdf,
        0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x85,
    ];
    let not_canonical = {
        let mut point = [0xff; 32];
        point[0] = 0xf0;
        point[31] = 0x7f;
        point
    };
    let twice = {
        let mut root = root();
        // One key under a second name: it must not be counted twice.
        let again = leasehold_keys::key::PublicKey::new(
            "acme.example/root-d",
            leasehold_keys::key::Algorithm::Ed25519,
            ed("acme.example/root-a").public().key(),
        )
        .unwrap();
        root.root_keys.push(again);
        root
    };
    let both_roles = {
        let mut root = root();
        root.role_keys.push(role(&issuing(), KeyRole::CheckIn, 1));
        root
    };
    let hybrid = {
        let mut root = root();
        root.policy.root.ml_dsa_65 = 1;
        root.root_keys.push(pq("acme.example/root-pq").public().clone());
        root
    };
    let self_revoking = {
        let mut root = root();
        root.revoked.push(RevokedKey { sha256: ed("acme.example/root-a").public().sha256(), from: now() });
        root
    };
    let reversed = {
        let mut root = root();
        root.role_keys[0].not_after = root.role_keys[0].not_before;
        root
    };
    let greedy = {
        let mut root = root();
        root.policy.root = Required { ed25519: 4, ml_dsa_65: 0 };
        root
    };
    let hybrid_keys = [ed("acme.example/root-a"), ed("acme.example/root-b"), pq("acme.example/root-pq")];
    let anchors = vec![
        accepted("root", Anchor, signed_root(&root(), &["a", "b"])),
        accepted("root-signed-by-all-three", Anchor, signed_root(&root(), &["c", "a", "b"])),
        accepted("root-expired-as-an-anchor", Anchor, signed_root(&expired(), &["a", "b"])),
        accepted("root-hybrid", Anchor, sign(&hybrid.render(), &hybrid_keys.iter().collect::<Vec<_>>())),
        of("root-ml-dsa-stripped", Reason::NewThreshold, signed_root(&hybrid, &["a", "b"])),
        of("root-small-order-identity", Reason::SmallOrderKey, with_key(identity)),
        of("root-small-order-eight", Reason::SmallOrderKey, with_key(order_eight)),
        of("root-key-not-canonical", Reason::BadKey, with_key(not_canonical)),
        of("root-below-the-threshold", Reason::NewThreshold, signed_root(&root(), &["a"])),
        of(
            "root-signed-by-the-issuing-key-too",
            Reason::NewThreshold,
            sign(&root().render(), &[&ed("acme.example/root-a"), &issuing()]),
        ),
        of("root-one-key-listed-twice", Reason::KeyListedTwice, signed_root(&twice, &["a"])),
        of("root-one-key-in-two-roles", Reason::KeyListedTwice, signed_root(&both_roles, &["a", "b"])),
        of("root-one-key-counted-twice", Reason::DuplicateSignature, {
            let note = String::from_utf8(signed_root(&root(), &["a"])).unwrap();
            let line = note.trim_end().rsplit_once('\n').unwrap().1.to_owned();
            format!("{note}{line}\n").into_bytes()
        }),
        of("root-threshold-out-of-reach", Reason::BadThreshold, signed_root(&greedy, &["a", "b", "c"])),
        of("root-threshold-of-none", Reason::BadThreshold, changed("root = { ed25519 = 2,", "root = { ed25519 = 0,")),
        of(
            "root-activation-without-ed25519",
            Reason::BadThreshold,
            changed("activation = { ed25519 = 1,", "activation = { ed25519 = 0,"),
        ),
        of("root-of-version-0", Reason::BadValue, changed("version = 1", "version = 0")),
        of("root-epoch-0", Reason::BadValue, changed("epoch = 1", "epoch = 0")),
        of("root-unknown-field", Reason::UnknownField, changed("version = 1", "version = 1\nvalid = true")).at_line(3),
        of("root-without-policy", Reason::MissingField, changed("receipt = { ed25519 = 1, ml-dsa-65 = 0 }\n", "")),
        of("root-unknown-role", Reason::BadValue, changed("role = \"issuing\"", "role = \"root\"")),
        of(
            "root-key-id-wrong",
            Reason::BadKey,
            changed(&format!("{:08x}", ed("acme.example/root-c").public().id()), "00000000"),
        ),
        of("root-usage-key-too-short", Reason::BadKey, changed("usage-key = \"CQkJ", "usage-key = \"")),
        of("root-usage-key-of-small-order", Reason::SmallOrderKey, with_usage_key([0; 32])),
        of("root-usage-key-not-canonical", Reason::BadKey, with_usage_key([0xff; 32])),
        of("root-revokes-its-root-key", Reason::BadKey, signed_root(&self_revoking, &["a", "b"])),
        of("root-window-reversed", Reason::DatesReversed, signed_root(&reversed, &["a", "b"])),
        of("an-activation-as-a-root", Reason::WrongKind, crate::vendor::issued(&crate::vendor::activation()))
            .at_line(1),
    ];
    anchors.into_iter().chain(successors()).collect()
}

fn successors() -> Vec<Vector> {
    let of = |name, reason, bytes| refused(name, Successor, reason, bytes);
    let other_keys = ["b", "c", "d"];
    let new_keys = ["d", "e", "f"];
    let mut other_bytes = root();
    other_bytes.expires = at("2031-01-01T00:00:00Z");
    vec![
        accepted("next-root", Successor, signed_root(&next(2, &["a", "b", "c"]), &["a", "b"])),
        accepted("next-root-with-one-new-key", Successor, signed_root(&next(2, &other_keys), &["b", "c"])),
        accepted("next-root-with-all-keys-new", Successor, signed_root(&next(2, &new_keys), &["a", "b", "d", "e"])),
        accepted("next-root-the-same-again", Successor, signed_root(&root(), &["a", "b"])),
        of("next-root-skips-a-version", Reason::RootSkipsVersion, signed_root(&next(3, &["a", "b", "c"]), &["a", "b"])),
        of(
            "next-root-skips-a-version-with-strange-keys",
            Reason::RootSkipsVersion,
            signed_root(&next(3, &new_keys), &["d", "e"]),
        ),
        of(
            "next-root-signed-by-the-old-keys-only",
            Reason::NewThreshold,
            signed_root(&next(2, &new_keys), &["a", "b"]),
        ),
        of(
            "next-root-signed-by-the-new-keys-only",
            Reason::OldThreshold,
            signed_root(&next(2, &new_keys), &["d", "e"]),
        ),
        of("next-root-one-old-key-short", Reason::OldThreshold, signed_root(&next(2, &new_keys), &["a", "d", "e"])),
        of("next-root-one-new-key-short", Reason::NewThreshold, signed_root(&next(2, &new_keys), &["a", "b", "d"])),
        of(
            "next-root-signed-by-the-issuing-key",
            Reason::OldThreshold,
            sign(&next(2, &new_keys).render(), &[&issuing()]),
        ),
        of("next-root-of-the-same-version", Reason::RootVersionReused, signed_root(&other_bytes, &["a", "b"])),
        of("next-root-of-version-0", Reason::RootSuperseded, {
            let text = root().render().replacen("version = 1", "version = 0", 1);
            sign(&text, &[&ed("acme.example/root-d")])
        }),
        of("next-root-changed", Reason::BadSignature, {
            let note = String::from_utf8(signed_root(&next(2, &["a", "b", "c"]), &["a", "b"])).unwrap();
            note.replacen("2030", "2040", 1).into_bytes()
        }),
    ]
}
