//! Vectors of the envelope and of who signed.

use base64::{Engine as _, prelude::BASE64_STANDARD, prelude::BASE64_STANDARD_NO_PAD, prelude::BASE64_URL_SAFE};
use leasehold_keys::{
    key::SigningKey,
    note::{NOTE_MAX_BYTES, NOTE_MAX_LINES},
    refusal::Reason,
};

use crate::{
    Judged::{Activation, HybridActivation, UnderExpired, UnderRevocation},
    Vector, accepted, refused,
    vendor::{activation, at, ed, issued, issuing, pq, root, sign, signed_root},
};

const DASH: &str = "— ";

/// A good file, as text and its one signature line, without their LFs between.
fn good() -> (String, String) {
    let note = String::from_utf8(issued(&activation())).unwrap();
    let (text, line) = note.split_once("\n\n— ").unwrap();
    (format!("{text}\n"), format!("{DASH}{}", line.trim_end()))
}

fn note(text: &str, lines: &[&str]) -> Vec<u8> {
    let lines: String = lines.iter().map(|line| format!("{line}\n")).collect();
    format!("{text}\n{lines}").into_bytes()
}

fn replaced(from: &str, to: &str) -> Vec<u8> {
    let whole = String::from_utf8(issued(&activation())).unwrap();
    assert!(whole.contains(from), "{from}");
    whole.replacen(from, to, 1).into_bytes()
}

/// The good signature line with its decoded bytes changed.
fn with_signature(change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let (text, line) = good();
    let (head, encoded) = line.rsplit_once(' ').unwrap();
    let mut bytes = BASE64_STANDARD.decode(encoded).unwrap();
    change(&mut bytes);
    note(&text, &[&format!("{head} {}", BASE64_STANDARD.encode(bytes))])
}

fn with_encoding(change: impl FnOnce(&str) -> String) -> Vec<u8> {
    let (text, line) = good();
    let (head, encoded) = line.rsplit_once(' ').unwrap();
    note(&text, &[&format!("{head} {}", change(encoded))])
}

/// Adds the group's order to the scalar of the signature: the same value, a second spelling.
fn plus_order(signature: &mut [u8]) {
    const ORDER: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let mut carry = 0;
    for (byte, order) in signature.iter_mut().zip(ORDER) {
        let sum = u16::from(*byte) + u16::from(order) + carry;
        *byte = sum.to_le_bytes()[0];
        carry = sum >> 8;
    }
    assert_eq!(carry, 0);
}

/// The lines of `count` keys that no root lists.
fn strangers(count: usize, text: &str) -> Vec<String> {
    (0..count)
        .map(|n| {
            let key = ed(&format!("stranger.example/{n}"));
            signature_line(&key, text)
        })
        .collect()
}

fn signature_line(key: &SigningKey, text: &str) -> String {
    let note = String::from_utf8(sign(text, &[key])).unwrap();
    note.trim_end().rsplit_once('\n').unwrap().1.to_owned()
}

fn refs(lines: &[String]) -> Vec<&str> {
    lines.iter().map(String::as_str).collect()
}

pub(crate) fn all() -> Vec<Vector> {
    [shape(), lines(), signers()].into_iter().flatten().collect()
}

fn shape() -> Vec<Vector> {
    let (text, line) = good();
    let whole = String::from_utf8(issued(&activation())).unwrap();
    let of = |name, reason, bytes| refused(name, Activation, reason, bytes);
    let mut exact = whole.clone().into_bytes();
    exact.resize(NOTE_MAX_BYTES + 1, b'#');
    let comments = |count: usize| {
        let lines: String = (0..count).map(|_| "#\n").collect();
        sign(&format!("{text}{lines}"), &[&issuing()])
    };
    let text_lines = text.lines().count();
    let long = |bytes: usize| format!("{text}#{}\n", "x".repeat(bytes - 1));
    vec![
        accepted("good", Activation, whole.clone().into_bytes()),
        of("crlf", Reason::CarriageReturn, whole.replace('\n', "\r\n").into_bytes()).at_line(1),
        of("one-carriage-return", Reason::CarriageReturn, replaced("account = \"Contoso\"", "account = \"Contoso\"\r"))
            .at_line(5),
        of("byte-order-mark", Reason::ByteOrderMark, format!("\u{feff}{whole}").into_bytes()).at_line(1),
        of("byte-order-mark-within", Reason::ByteOrderMark, replaced("Contoso", "Con\u{feff}toso")).at_line(5),
        of("nul", Reason::ControlCharacter, replaced("Contoso", "Con\0toso")).at_line(5),
        of("tab", Reason::ControlCharacter, replaced("account =", "account\t=")).at_line(5),
        of("del", Reason::ControlCharacter, replaced("Contoso", "Con\u{7f}toso")).at_line(5),
        of("c1-control", Reason::ControlCharacter, replaced("Contoso", "Con\u{85}toso")).at_line(5),
        of("empty", Reason::Empty, Vec::new()),
        of("128-kib-and-one", Reason::TooLarge, exact),
        of("4097-lines", Reason::TooManyLines, {
            let lines: String = (0..NOTE_MAX_LINES - 1 - text_lines).map(|_| "#\n").collect();
            let longer = format!("{text}{lines}");
            assert_eq!(longer.lines().count() + 2, NOTE_MAX_LINES + 1);
            note(&longer, &[&signature_line(&issuing(), &text)])
        }),
        accepted("4096-lines", Activation, comments(NOTE_MAX_LINES - 2 - text_lines)),
        of("text-line-of-1025-bytes", Reason::LineTooLong, note(&long(1_025), &[&line]))
            .at_line(u32::try_from(text_lines + 1).unwrap()),
        accepted("text-line-of-1024-bytes", Activation, sign(&long(1_024), &[&issuing()])),
        of(
            "signature-line-too-long",
            Reason::LineTooLong,
            note(&text, &[&line, &format!("{DASH}x {}", "A".repeat(8_192))]),
        ),
        of("no-blank-line", Reason::NoBlankLine, format!("{}{line}\n", text.replace("\n\n", "\n")).into_bytes()),
        of("invalid-utf8", Reason::NotUtf8, {
            let at = whole.find("Contoso").unwrap();
            let mut bytes = whole.clone().into_bytes();
            bytes[at] = 0xff;
            bytes
        })
        .at_line(5),
        of("overlong-utf8", Reason::NotUtf8, [&b"\xc1\x81"[..], whole.as_bytes()].concat()).at_line(1),
        of("no-signature", Reason::NoSignature, format!("{text}\n").into_bytes()),
        of("text-alone", Reason::NoSignature, text.clone().into_bytes()),
        of("last-line-without-line-feed", Reason::MalformedSignatureLine, whole.trim_end().as_bytes().to_vec()),
        of(
            "no-format-line",
            Reason::WrongKind,
            sign(&text.replacen("format = \"leasehold/activation/1\"\n", "", 1), &[&issuing()]),
        )
        .at_line(1),
        of("later-format", Reason::WrongKind, sign(&text.replacen("activation/1", "activation/2", 1), &[&issuing()]))
            .at_line(1),
        of(
            "format-line-spelled-otherwise",
            Reason::WrongKind,
            sign(&text.replacen("format = ", "format= ", 1), &[&issuing()]),
        )
        .at_line(1),
        of("a-root-as-an-activation", Reason::WrongKind, signed_root(&root(), &["a", "b"])).at_line(1),
        of("a-root-signed-by-the-issuing-key", Reason::WrongKind, sign(&root().render(), &[&issuing()])).at_line(1),
    ]
}

fn lines() -> Vec<Vector> {
    let (text, line) = good();
    let of = |name, reason, bytes| refused(name, Activation, reason, bytes);
    let many = strangers(16, &text);
    let fifteen = [&[line.as_str()][..], &refs(&many)[..15]].concat();
    let seventeen = [&[line.as_str()][..], &refs(&many)].concat();
    let dashed = |dash: &str| note(&text, &[&line.replacen('—', dash, 1)]);
    let malformed = Reason::MalformedSignatureLine;
    vec![
        of("17-signatures", Reason::TooManySignatures, note(&text, &seventeen)),
        accepted("16-signatures", Activation, note(&text, &fifteen)),
        of("duplicate-signature-line", Reason::DuplicateSignature, note(&text, &[&line, &line])),
        of(
            "two-signatures-of-one-key",
            Reason::DuplicateSignature,
            note(&text, &[&line, &signature_line(&issuing(), "other\n")]),
        ),
        of("hyphen-for-em-dash", malformed, dashed("-")),
        of("en-dash-for-em-dash", malformed, dashed("–")),
        of("no-blank-after-the-dash", malformed, note(&text, &[&line.replacen("— ", "—", 1)])),
        of("no-name", malformed, note(&text, &[&line.replacen("acme.example/issuing-2026", "", 1)])),
        of("plus-in-the-name", malformed, note(&text, &[&line, &format!("{DASH}a+b AAAAAAAA")])),
        of("blank-in-the-name", malformed, note(&text, &[&line, &format!("{DASH}a\u{a0}b AAAAAAAA")])),
        of("text-after-a-second-blank-line", Reason::NoSignature, note(&text, &[&line, "", "x"])),
        of("text-after-the-signatures", malformed, note(&text, &[&line, "account = \"Other\""])),
        of("blank-after-the-signature", Reason::BadBase64, note(&text, &[&format!("{line} ")])),
        of(
            "url-safe-base64",
            Reason::BadBase64,
            with_encoding(|encoded| {
                let bytes = BASE64_STANDARD.decode(encoded).unwrap();
                let other = BASE64_URL_SAFE.encode(bytes);
                assert_ne!(other, encoded, "the vector's signature has no character that differs");
                other
            }),
        ),
        of(
            "unpadded-base64",
            Reason::BadBase64,
            with_encoding(|encoded| {
                let other = BASE64_STANDARD_NO_PAD.encode(BASE64_STANDARD.decode(encoded).unwrap());
                assert_ne!(other, encoded);
                other
            }),
        ),
        of(
            "non-canonical-base64",
            Reason::BadBase64,
            with_encoding(|encoded| {
                // The last character before the padding carries spare bits; one of them is set.
                let (head, padding) = encoded.split_at(encoded.find('=').unwrap());
                let (head, last) = head.split_at(head.len() - 1);
                let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
                let next = alphabet.find(last).unwrap() + 1;
                format!("{head}{}{padding}", &alphabet[next..=next])
            }),
        ),
        of(
            "base64-broken-by-a-blank",
            Reason::BadBase64,
            with_encoding(|encoded| encoded.replacen("A", " A", 1) + " "),
        ),
        of("signature-too-long", Reason::WrongSignatureLength, with_signature(|bytes| bytes.push(0))),
        of("signature-too-short", Reason::WrongSignatureLength, with_signature(|bytes| bytes.truncate(67))),
        of("key-id-alone", Reason::WrongSignatureLength, with_signature(|bytes| bytes.truncate(4))),
        of("three-bytes", Reason::WrongSignatureLength, with_signature(|bytes| bytes.truncate(3))),
        of("s-plus-l", Reason::BadSignature, with_signature(|bytes| plus_order(&mut bytes[4 + 32..]))),
        of("signature-of-zeros", Reason::BadSignature, with_signature(|bytes| bytes[4..].fill(0))),
        of("changed-text", Reason::BadSignature, replaced("units = 50", "units = 99")),
        of("spliced-signature", Reason::BadSignature, {
            let mut other = activation();
            other.sequence = 13;
            note(&other.render(), &[&line])
        }),
    ]
}

fn signers() -> Vec<Vector> {
    let (text, line) = good();
    let of = |name, reason, bytes| refused(name, Activation, reason, bytes);
    let check_in = ed("acme.example/check-in-2026");
    let bad_check_in = signature_line(&check_in, "something else\n");
    let stranger = ed("stranger.example/issuing");
    // The vendor's own name with a key of another's making.
    let imposter = {
        let seed = [3; 32];
        SigningKey::from_seed("acme.example/issuing-2026", leasehold_keys::key::Algorithm::Ed25519, &seed).unwrap()
    };
    let hybrid = sign(&text, &[&issuing(), &pq("acme.example/issuing-2026")]);
    let old = {
        let mut file = activation();
        file.root_version = 2;
        file
    };
    let edge = at("2030-01-01T00:00:00Z");
    assert!(edge > crate::vendor::now());
    vec![
        of("a-bad-signature-beside-a-good-one", Reason::BadSignature, note(&text, &[&line, &bad_check_in])),
        of("a-bad-signature-before-a-good-one", Reason::BadSignature, note(&text, &[&bad_check_in, &line])),
        accepted(
            "a-strange-signature-beside-a-good-one",
            Activation,
            note(&text, &[&signature_line(&stranger, "x\n"), &line]),
        ),
        accepted("the-right-name-twice", Activation, note(&text, &[&signature_line(&imposter, &text), &line])),
        of("the-right-name-with-the-wrong-key-id", Reason::WrongKeyId, sign(&text, &[&imposter])),
        of("the-right-signature-under-another-key-id", Reason::WrongKeyId, with_signature(|bytes| bytes[0] ^= 1)),
        of(
            "the-right-key-id-with-another-name",
            Reason::UnknownKey,
            note(&text, &[&line.replacen("issuing-2026", "issuing-2027", 1)]),
        ),
        of("an-unknown-key", Reason::UnknownKey, sign(&text, &[&stranger])),
        of("an-unknown-key-and-a-newer-root", Reason::UnknownKey, sign(&old.render(), &[&stranger])),
        of("a-check-in-key-signs", Reason::WrongRole, sign(&text, &[&check_in])),
        of("a-receipt-key-signs", Reason::WrongRole, sign(&text, &[&ed("acme.example/receipt-2026")])),
        of("root-keys-sign", Reason::WrongRole, sign(&text, &[&ed("acme.example/root-a"), &ed("acme.example/root-b")])),
        of("a-root-version-above-ours", Reason::RootVersionAhead, sign(&old.render(), &[&issuing()])),
        accepted("hybrid", HybridActivation, hybrid.clone()),
        accepted("hybrid-where-ed25519-is-enough", Activation, hybrid),
        refused("ml-dsa-stripped", HybridActivation, Reason::MlDsaRequired, issued(&activation())),
        refused(
            "ml-dsa-stripped-beside-a-check-in-key",
            HybridActivation,
            Reason::MlDsaRequired,
            sign(&text, &[&issuing(), &check_in]),
        ),
        refused(
            "ml-dsa-alone",
            HybridActivation,
            Reason::BelowThreshold,
            sign(&text, &[&pq("acme.example/issuing-2026")]),
        ),
        refused(
            "ml-dsa-over-another-text",
            HybridActivation,
            Reason::BadSignature,
            note(&text, &[&line, &signature_line(&pq("acme.example/issuing-2026"), "x\n")]),
        ),
        refused(
            "an-unknown-ml-dsa-key",
            HybridActivation,
            Reason::MlDsaRequired,
            note(&text, &[&line, &signature_line(&pq("stranger.example/pq"), &text)]),
        ),
        refused("a-revoked-key", UnderRevocation, Reason::KeyRevoked, issued(&activation())),
        accepted("a-key-revoked-from-a-later-date", UnderRevocation, sign(&text, &[&ed("acme.example/issuing-later")])),
        refused(
            "an-expired-key",
            UnderRevocation,
            Reason::KeyExpired,
            sign(&text, &[&ed("acme.example/issuing-2020")]),
        ),
        refused(
            "a-key-that-ends-now",
            UnderRevocation,
            Reason::KeyExpired,
            sign(&text, &[&ed("acme.example/issuing-ends-now")]),
        ),
        refused(
            "a-key-of-next-year",
            UnderRevocation,
            Reason::KeyNotYetValid,
            sign(&text, &[&ed("acme.example/issuing-2027")]),
        ),
        refused("under-an-expired-root", UnderExpired, Reason::RootExpired, issued(&activation())),
    ]
}
