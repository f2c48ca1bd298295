//! Vectors of check-ins: requests, answers, replies, time notes.

use leasehold_keys::{
    check_in::{CheckInAnswer, CheckInReply, CheckInStanding, FileBeside, LISTED_MAX, TimeNote},
    digest::Sha256,
    installation::InstallationKey,
    refusal::Reason,
};

use crate::{
    Judged::{Answer, Reply, Request, StrictAnswer, Time},
    Vector, accepted, refused,
    vendor::{
        activation,
        check_in::{asked, check_in_key, first_request, full, good, installation, request, second_key, signed},
        ed, issued, issuing, now, pq, sign,
    },
};

/// The request with something changed, signed by its installation.
fn other_request(from: &str, to: &str) -> Vec<u8> {
    let text = request().render();
    assert!(text.contains(from), "{from}");
    let key = installation();
    // The key signs notes under its own name.
    let seeded = leasehold_keys::key::SigningKey::from_seed(
        &format!("installation-{}", key.id()),
        leasehold_keys::key::Algorithm::Ed25519,
        &[1; 32],
    );
    sign(&text.replacen(from, to, 1), &[&seeded.unwrap()])
}

fn other_answer(answer: &CheckInAnswer, from: &str, to: &str) -> Vec<u8> {
    let text = answer.render();
    assert!(text.contains(from), "{from}");
    sign(&text.replacen(from, to, 1), &[&check_in_key()])
}

fn by(key: &str) -> Vec<u8> {
    sign(&good().render(), &[&ed(key)])
}

fn requests() -> Vec<Vector> {
    let bytes = asked().bytes().to_vec();
    let text = String::from_utf8(bytes.clone()).unwrap();
    let another = InstallationKey::from_seed([2; 32]).unwrap();
    let mut of_another = request();
    of_another.installation = another.public();
    let of_another = String::from_utf8(of_another.sign(&another).unwrap().bytes().to_vec()).unwrap();
    let spliced = format!("{}\n\n{}", of_another.split_once("\n\n— ").unwrap().0, &text[text.find("— ").unwrap()..]);
    let bad = |name, reason, from: &str, to: &str| refused(name, Request, reason, other_request(from, to));
    let id = installation().id().to_string();
    vec![
        accepted("check-in-request", Request, bytes.clone()),
        accepted(
            "check-in-request-that-is-the-first",
            Request,
            first_request().sign(&installation()).unwrap().bytes().to_vec(),
        ),
        accepted(
            "check-in-request-with-the-highest-number",
            Request,
            other_request("fencing = 9007199254740993", "fencing = 9223372036854775807"),
        ),
        bad(
            "check-in-request-with-a-number-beyond-63-bits",
            Reason::NotACount,
            "fencing = 9007199254740993",
            "fencing = 9223372036854775808",
        ),
        bad("check-in-request-counted-plus-1", Reason::NotACount, "counter = 41", "counter = +41"),
        bad("check-in-request-counted-with-underscore", Reason::NotACount, "counter = 41", "counter = 4_1"),
        bad("check-in-request-counted-0", Reason::BadValue, "counter = 41", "counter = 0"),
        bad("check-in-request-counted-as-text", Reason::WrongType, "counter = 41", "counter = \"41\""),
        bad("check-in-request-of-file-0", Reason::BadValue, "sequence = 12", "sequence = 0"),
        bad("check-in-request-under-root-0", Reason::BadValue, "root-version = 1", "root-version = 0"),
        bad("check-in-request-nonce-short", Reason::BadValue, "nonce = \"a5", "nonce = \""),
        bad("check-in-request-nonce-in-capitals", Reason::BadValue, "nonce = \"a5", "nonce = \"A5"),
        bad("check-in-request-without-nonce", Reason::MissingField, "nonce = ", "# nonce = "),
        bad("check-in-request-of-another-role", Reason::BadValue, "role = \"primary\"", "role = \"third\""),
        bad("check-in-request-of-another-id", Reason::BadValue, &id, &another.id().to_string()),
        bad(
            "check-in-request-with-its-key-misnamed",
            Reason::BadKey,
            &format!("\"installation-{id}+"),
            "\"installation-0+",
        ),
        bad("check-in-request-head-spelled-otherwise", Reason::BadValue, "usage-head = \"3/", "usage-head = \"03/"),
        bad("check-in-request-without-clock", Reason::MissingField, "[clock]", "[clocks]"),
        bad("check-in-request-with-a-field-more", Reason::UnknownField, "[clock]", "[clock]\nzone = \"CET\""),
        bad("check-in-request-time-with-offset", Reason::NotATime, "04:18:00Z", "05:18:00+01:00"),
        bad("check-in-request-with-witness-unknown", Reason::BadValue, "kind = \"behind\"", "kind = \"ahead\""),
        bad("check-in-request-with-witness-twice", Reason::BadValue, "kind = \"behind\"", "kind = \"forked\""),
        bad("check-in-request-with-witness-0-times", Reason::BadValue, "count = 4", "count = 0"),
        bad("check-in-request-with-a-bad-host-id", Reason::BadHostId, "host-id = [\n  \"h1-", "host-id = [\n  \"h2-"),
        refused(
            "check-in-request-changed",
            Request,
            Reason::BadSignature,
            text.replace("epoch = 6", "epoch = 7").into(),
        ),
        refused("check-in-request-signed-by-another", Request, Reason::NotItsInstallation, spliced.into()),
        refused("check-in-request-cut", Request, Reason::MalformedSignatureLine, bytes[..bytes.len() - 1].to_vec()),
        refused("check-in-answer-as-a-request", Request, Reason::WrongKind, signed(&good())),
    ]
}

fn answers() -> Vec<Vector> {
    let good = good();
    let another = |change: &dyn Fn(&mut CheckInAnswer)| {
        let mut answer = good.clone();
        change(&mut answer);
        signed(&answer)
    };
    let duplicate = CheckInAnswer { standing: CheckInStanding::Duplicate, ..good.clone() };
    let lists = |count: u8| CheckInAnswer { roots: (0..count).map(|n| Sha256([n; 32])).collect(), ..good.clone() };
    let many = u8::try_from(LISTED_MAX).unwrap();
    let (one, two, three) = (check_in_key(), second_key(), pq("acme.example/check-in-2026"));
    vec![
        accepted("check-in-answer", Answer, signed(&good)),
        accepted("check-in-answer-duplicate", Answer, signed(&duplicate)),
        accepted("check-in-answer-full", Answer, signed(&full())),
        accepted("check-in-answer-with-24-roots", Answer, signed(&lists(many))),
        refused("check-in-answer-with-25-roots", Answer, Reason::BadValue, signed(&lists(many + 1))),
        refused("check-in-answer-to-another-nonce", Answer, Reason::AnotherNonce, another(&|a| a.nonce.0[0] ^= 1)),
        refused(
            "check-in-answer-to-another-request",
            Answer,
            Reason::AnotherRequest,
            another(&|a| a.request.0[31] ^= 1),
        ),
        refused(
            "check-in-answer-of-another-license",
            Answer,
            Reason::AnotherLicense,
            other_answer(&good, "license-id = \"7f", "license-id = \"7e"),
        ),
        refused(
            "check-in-answer-of-another-installation",
            Answer,
            Reason::AnotherInstallation,
            another(&|a| a.installation = InstallationKey::from_seed([2; 32]).unwrap().id()),
        ),
        refused("check-in-answer-of-another-counter", Answer, Reason::AnotherCounter, another(&|a| a.counter = 40)),
        refused(
            "check-in-answer-counted-0",
            Answer,
            Reason::BadValue,
            other_answer(&good, "counter = 41", "counter = 0"),
        ),
        refused("check-in-answer-by-an-issuing-key", Answer, Reason::WrongRole, by("acme.example/issuing-2026")),
        refused("check-in-answer-by-a-receipt-key", Answer, Reason::WrongRole, by("acme.example/receipt-2026")),
        refused("check-in-answer-by-a-root-key", Answer, Reason::WrongRole, by("acme.example/root-a")),
        refused("check-in-answer-by-its-installation", Answer, Reason::UnknownKey, {
            let text = String::from_utf8(asked().bytes().to_vec()).unwrap();
            format!("{}\n{}", good.render(), &text[text.find("— ").unwrap()..]).into()
        }),
        refused("check-in-answer-by-an-unknown-key", Answer, Reason::UnknownKey, by("mallory.example/check-in-2026")),
        refused("check-in-answer-by-an-expired-key", Answer, Reason::KeyExpired, by("acme.example/check-in-2020")),
        refused(
            "check-in-answer-by-a-key-that-ends-now",
            Answer,
            Reason::KeyExpired,
            by("acme.example/check-in-ends-now"),
        ),
        refused(
            "check-in-answer-by-a-key-of-next-year",
            Answer,
            Reason::KeyNotYetValid,
            by("acme.example/check-in-2027"),
        ),
        refused("check-in-answer-by-a-revoked-key", Answer, Reason::KeyRevoked, by("acme.example/check-in-stolen")),
        refused(
            "check-in-answer-changed",
            Answer,
            Reason::BadSignature,
            String::from_utf8(signed(&duplicate)).unwrap().replace("\"duplicate\"", "\"good\"").into(),
        ),
        refused("check-in-answer-unsigned", Answer, Reason::NoSignature, format!("{}\n", good.render()).into()),
        refused("check-in-answer-cut", Answer, Reason::NoBlankLine, signed(&good)[..200].to_vec()),
        refused(
            "check-in-answer-revoked-without-date",
            Answer,
            Reason::MissingField,
            other_answer(&good, "standing = \"good\"", "standing = \"revoked\""),
        ),
        refused(
            "check-in-answer-good-with-a-date",
            Answer,
            Reason::UnknownField,
            other_answer(&full(), "standing = \"revoked\"", "standing = \"good\""),
        ),
        refused(
            "check-in-answer-standing-unknown",
            Answer,
            Reason::BadValue,
            other_answer(&good, "standing = \"good\"", "standing = \"better\""),
        ),
        refused(
            "check-in-answer-with-a-digest-twice",
            Answer,
            Reason::BadValue,
            another(&|a| a.files = vec![Sha256([1; 32]); 2]),
        ),
        refused(
            "check-in-answer-with-words-of-two-lines",
            Answer,
            Reason::BadValue,
            other_answer(&good, "standing", "message = \"a\\nb\"\nstanding"),
        ),
        refused(
            "check-in-answer-with-1001-bytes-of-words",
            Answer,
            Reason::BadValue,
            other_answer(&good, "standing", &format!("message = \"{}\"\nstanding", "x".repeat(1_001))),
        ),
        refused("check-in-request-as-an-answer", Answer, Reason::WrongKind, asked().bytes().to_vec()),
        refused("activation-as-a-check-in-answer", Answer, Reason::WrongKind, issued(&activation())),
        accepted("check-in-answer-signed-as-asked", StrictAnswer, sign(&good.render(), &[&one, &two, &three])),
        refused(
            "check-in-answer-below-the-threshold",
            StrictAnswer,
            Reason::BelowThreshold,
            sign(&good.render(), &[&one, &three]),
        ),
        refused(
            "check-in-answer-ml-dsa-stripped",
            StrictAnswer,
            Reason::MlDsaRequired,
            sign(&good.render(), &[&one, &two]),
        ),
        refused(
            "check-in-answer-beside-an-issuing-key",
            StrictAnswer,
            Reason::WrongRole,
            sign(&good.render(), &[&one, &issuing(), &three]),
        ),
    ]
}

fn time_notes() -> Vec<Vector> {
    let note = TimeNote { time: now() };
    let text = note.render();
    vec![
        accepted("time-note", Time, sign(&text, &[&check_in_key()])),
        refused("time-note-by-an-issuing-key", Time, Reason::WrongRole, sign(&text, &[&issuing()])),
        refused(
            "time-note-by-an-expired-key",
            Time,
            Reason::KeyExpired,
            sign(&text, &[&ed("acme.example/check-in-2020")]),
        ),
        refused(
            "time-note-changed",
            Time,
            Reason::BadSignature,
            String::from_utf8(sign(&text, &[&check_in_key()])).unwrap().replace("2026-11", "2027-11").into(),
        ),
        refused(
            "time-note-of-no-time",
            Time,
            Reason::NotATime,
            sign(&text.replace("04:19", "4:19"), &[&check_in_key()]),
        ),
        refused(
            "time-note-for-a-site",
            Time,
            Reason::UnknownField,
            sign(&format!("{text}license-id = \"x\"\n"), &[&check_in_key()]),
        ),
        refused("check-in-answer-as-a-time-note", Time, Reason::WrongKind, signed(&good())),
    ]
}

fn replies() -> Vec<Vector> {
    let answer = String::from_utf8(signed(&good())).unwrap();
    let file = |name: &str| FileBeside { name: name.to_owned(), note: "a file\n".to_owned() };
    let written = |reply: &CheckInReply| reply.write().unwrap();
    let plain = CheckInReply { answer: answer.clone(), roots: Vec::new(), files: Vec::new() };
    let with = |files: Vec<FileBeside>| CheckInReply { files, roots: vec!["a root\n".to_owned()], ..plain.clone() };
    let bad = |name, bytes: Vec<u8>| refused(name, Reply, Reason::NotAReply, bytes);
    vec![
        accepted("reply", Reply, written(&plain)),
        accepted("reply-with-roots-and-files", Reply, written(&with(vec![file("7f3c9a52-13.i3lic")]))),
        accepted("reply-with-the-answer-alone", Reply, serde_json::json!({ "answer": answer }).to_string().into()),
        accepted(
            "reply-that-says-more",
            Reply,
            serde_json::json!({ "answer": answer, "news": ["a field of a later version"] }).to_string().into(),
        ),
        bad("reply-empty", Vec::new()),
        bad("reply-of-a-proxy", b"<html><body>Log in to the network</body></html>".to_vec()),
        bad("reply-without-answer", b"{\"roots\": []}".to_vec()),
        bad("reply-with-an-answer-of-another-type", b"{\"answer\": 1}".to_vec()),
        bad("reply-with-two-answers", b"{\"answer\": \"a\", \"answer\": \"b\"}".to_vec()),
        bad("reply-cut", written(&plain)[..300].to_vec()),
        bad("reply-and-more", [&written(&plain)[..], b"{}"].concat()),
        bad("reply-with-a-file-above", written(&with(vec![file("../x.i3lic")]))),
        bad("reply-with-a-hidden-file", written(&with(vec![file(".x.i3lic")]))),
        bad("reply-with-a-file-without-name", written(&with(vec![file("")]))),
    ]
}

pub(crate) fn all() -> Vec<Vector> {
    [requests(), answers(), time_notes(), replies()].into_iter().flatten().collect()
}
