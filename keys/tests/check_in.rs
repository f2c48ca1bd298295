//! Check-ins: who may sign answers and until when, which answer fits which request, and what comes beside it.

mod vendor;

use leasehold_keys::{
    check_in::{
        CheckInAnswer, CheckInReply, CheckInRequest, CheckInStanding, ClockEvidence, FileBeside, Message, Nonce,
        REPLY_MAX_BYTES, TimeNote,
    },
    dev::DevLicensor,
    digest::Sha256,
    installation::InstallationKey,
    note::NoteKind,
    refusal::{Reason, Refusal},
    root::Root,
    time::{DAY_MS, WallTime},
    trust::Presumed,
};
use proptest::prelude::*;
use vendor::{
    activation, at,
    check_in::{
        asked, check_in_key, check_in_root, first_request, full, good, installation, request, second_key, signed,
        strict_root, trust_in,
    },
    ed, issued, now, pq, root, sign, signed_root, trust,
};

fn reason<T>(judged: Result<T, Refusal>) -> Option<Reason> {
    judged.err().map(|refusal| refusal.kind())
}

#[test]
fn requests_and_answers_are_read_as_they_were_written() {
    for request in [request(), first_request()] {
        let signed = request.sign(&installation()).unwrap();
        assert_eq!(NoteKind::claimed(signed.bytes()), Some(NoteKind::CheckInRequest));
        assert_eq!(*signed, request);
        assert_eq!(*CheckInRequest::verify(signed.bytes()).unwrap(), request);
    }
    let duplicate = CheckInAnswer { standing: CheckInStanding::Duplicate, ..good() };
    for answer in [good(), duplicate, full()] {
        let note = signed(&answer);
        assert_eq!(NoteKind::claimed(&note), Some(NoteKind::CheckInAnswer));
        let read = trust().check_in_answer(&note, now()).unwrap();
        assert_eq!(*read, answer);
        assert_eq!(read.signed_by(), ["acme.example/check-in-2026"]);
        assert_eq!(read.fits_request(&asked()), Ok(()));
    }
    assert_eq!(good().standing.to_string(), "good");
    assert_eq!(full().standing.to_string(), "revoked from 2026-12-24T00:00:00Z");
}

#[test]
fn a_request_is_sent_as_its_whole_seconds() {
    let fine = CheckInRequest { created: WallTime::from_ms(now().as_ms() + 999), ..request() };
    let signed = fine.sign(&installation()).unwrap();
    assert_eq!(signed.created, now());
    let stranger = InstallationKey::from_seed([2; 32]).unwrap();
    assert_eq!(reason(request().sign(&stranger)), Some(Reason::NotItsInstallation));
    let beyond = CheckInRequest { fencing: u64::MAX, ..request() };
    assert!(beyond.sign(&installation()).is_err());
}

#[test]
fn nonces_differ() {
    let [one, two] = [Nonce::random().unwrap(), Nonce::random().unwrap()];
    assert_ne!(one, two);
    assert_eq!(one.to_string().parse(), Ok(one));
    for bad in ["", "a5", &one.to_string()[1..], &format!("{one}0"), &one.to_string().to_uppercase().replace('0', "A")]
    {
        assert!(bad.parse::<Nonce>().is_err(), "{bad}");
    }
}

#[test]
fn what_does_not_fit_is_named_in_words() {
    let asked = asked();
    let table: [(&str, CheckInAnswer); 5] = [
        ("another-nonce", CheckInAnswer { nonce: Nonce([0; 32]), ..good() }),
        ("another-request", CheckInAnswer { request: Sha256::of(b"another"), ..good() }),
        ("another-counter", CheckInAnswer { counter: 42, ..good() }),
        (
            "another-installation",
            CheckInAnswer { installation: InstallationKey::from_seed([3; 32]).unwrap().id(), ..good() },
        ),
        (
            "another-license",
            CheckInAnswer { license_id: leasehold_keys::activation::LicenseId(uuid::Uuid::nil()), ..good() },
        ),
    ];
    for (code, answer) in table {
        let refusal = answer.fits_request(&asked).unwrap_err();
        assert_eq!(refusal.reason(), code);
        assert!(refusal.to_string().ends_with('.') && refusal.to_string().len() < 500, "{refusal}");
    }
    // What was kept of the request is enough to judge by.
    let kept = asked.outstanding();
    assert_eq!(good().fits(&kept), Ok(()));
    // The same request signed once more is the same bytes; another one with the same nonce is not.
    let again = CheckInRequest { epoch: 7, ..request() }.sign(&installation()).unwrap();
    assert_eq!(reason(good().fits_request(&again)), Some(Reason::AnotherRequest));
}

#[test]
fn only_check_in_keys_that_stand_may_sign() {
    let trust = trust_in(&check_in_root());
    let by = |name: &str, now| reason(trust.check_in_answer(&sign(&good().render(), &[&ed(name)]), now));
    // The root has expired: answers still count under it.
    assert_eq!(by("acme.example/check-in-2026", now()), None);
    assert_eq!(by("acme.example/check-in-2020", now()), Some(Reason::KeyExpired));
    assert_eq!(by("acme.example/check-in-2027", now()), Some(Reason::KeyNotYetValid));
    assert_eq!(by("acme.example/check-in-stolen", now()), Some(Reason::KeyRevoked));
    assert_eq!(by("acme.example/check-in-stolen", now().plus_ms(-1)), None);
    assert_eq!(by("acme.example/issuing-2026", now()), Some(Reason::WrongRole));
    let refusal = trust.check_in_answer(&sign(&good().render(), &[&ed("acme.example/receipt-2026")]), now());
    assert!(refusal.unwrap_err().what().ends_with("is a receipt key, not a check-in key"));
    // Nor does a check-in key sign anything else.
    let file = sign(&activation().render(), &[&check_in_key()]);
    assert_eq!(reason(vendor::trust().activation(&file, now())), Some(Reason::WrongRole));
}

#[test]
fn a_clock_that_is_not_confirmed_does_not_shut_out_the_answer_that_sets_it_right() {
    let trust = trust_in(&check_in_root());
    let answer = |name: &str| sign(&good().render(), &[&ed(name)]);
    let judged = |name: &str, earliest: &str, latest: &str| {
        reason(trust.check_in_answer(&answer(name), Presumed { earliest: at(earliest), latest: at(latest) }))
    };
    let (key, mark) = ("acme.example/check-in-2026", "2026-11-22T00:00:00Z");
    // A dead clock chip says 2099; the line that is confirmed says that the key stands.
    assert_eq!(judged(key, mark, "2099-01-01T00:00:00Z"), None);
    assert_eq!(judged(key, "2099-01-01T00:00:00Z", "2099-01-01T00:00:00Z"), Some(Reason::KeyExpired));
    // A machine that was off for two years: its mark is before the key began.
    let next = "acme.example/check-in-2027";
    assert_eq!(judged(next, mark, "2027-06-01T00:00:00Z"), None);
    assert_eq!(judged(next, mark, mark), Some(Reason::KeyNotYetValid));
    // One that has ended by the confirmed line has ended, whatever the clock says.
    assert_eq!(judged("acme.example/check-in-2020", mark, "2099-01-01T00:00:00Z"), Some(Reason::KeyExpired));
    // A revocation counts by either.
    assert_eq!(judged("acme.example/check-in-stolen", "2026-01-01T00:00:00Z", vendor::NOW), Some(Reason::KeyRevoked));
    let note = TimeNote { time: now() }.sign(&[&check_in_key()]).unwrap();
    let presumed = Presumed { earliest: at(mark), latest: at("2099-01-01T00:00:00Z") };
    assert_eq!(*trust.time_note(note.as_bytes(), presumed).unwrap(), TimeNote { time: now() });
    assert_eq!(reason(trust.time_note(note.as_bytes(), at("2099-01-01T00:00:00Z"))), Some(Reason::KeyExpired));
}

#[test]
fn the_policy_of_check_ins_counts_and_no_other() {
    let strict = trust_in(&strict_root());
    let (one, two, three) = (check_in_key(), second_key(), pq("acme.example/check-in-2026"));
    let by = |keys: &[&leasehold_keys::key::SigningKey]| {
        reason(strict.check_in_answer(good().sign(keys).unwrap().as_bytes(), now()))
    };
    assert_eq!(by(&[&one, &two, &three]), None);
    assert_eq!(by(&[&one, &three]), Some(Reason::BelowThreshold));
    assert_eq!(by(&[&one, &two]), Some(Reason::MlDsaRequired));
    let mut elsewhere = root();
    elsewhere.policy.activation.ed25519 = 2;
    elsewhere.policy.receipt.ed25519 = 2;
    assert_eq!(reason(trust_in(&elsewhere).check_in_answer(&signed(&good()), now())), None);
}

#[test]
fn every_bit_flip_and_truncation_is_refused() {
    let trust = trust();
    let time = TimeNote { time: now() }.sign(&[&check_in_key()]).unwrap().into_bytes();
    type Judge<'j> = &'j dyn Fn(&[u8]) -> bool;
    let answer = |bytes: &[u8]| trust.check_in_answer(bytes, now()).is_ok();
    let request = |bytes: &[u8]| CheckInRequest::verify(bytes).is_ok();
    let note = |bytes: &[u8]| trust.time_note(bytes, now()).is_ok();
    let table: [(&str, Vec<u8>, Judge<'_>); 4] = [
        ("answer", signed(&good()), &answer),
        ("full answer", signed(&full()), &answer),
        ("request", asked().bytes().to_vec(), &request),
        ("time note", time, &note),
    ];
    for (name, mut bytes, accepted) in table {
        assert!(accepted(&bytes), "{name}");
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(!accepted(&bytes), "{name}, bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        for length in 0..bytes.len() {
            assert!(!accepted(&bytes[..length]), "{name}, {length} bytes");
            assert!(!accepted(&bytes[bytes.len() - length..]), "{name}, the last {length} bytes");
        }
    }
}

/// The root after root 1, with another check-in key.
fn next_root() -> Root {
    let mut next = Root { version: 2, ..root() };
    next.role_keys.push(vendor::role(&ed("acme.example/check-in-2"), leasehold_keys::root::KeyRole::CheckIn, 2));
    next
}

#[test]
fn an_answer_may_be_signed_by_a_key_of_a_root_that_comes_beside_it() {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let answer = text(sign(&good().render(), &[&ed("acme.example/check-in-2")]));
    let (one, two) = (text(signed_root(&root(), &["a", "b"])), text(signed_root(&next_root(), &["b", "c"])));
    let forged = Root { version: 3, ..next_root() };
    let forged = text(sign(&forged.render(), &[&ed("mallory.example/root-a"), &ed("mallory.example/root-b")]));
    let reply = CheckInReply { answer, roots: vec![one, two, forged], files: Vec::new() };
    let held = trust();
    assert_eq!(reason(held.check_in_answer(reply.answer.as_bytes(), now())), Some(Reason::UnknownKey));
    let (newer, refused) = reply.succeeded(&held);
    assert_eq!(newer.root().version, 2);
    assert_eq!(refused.iter().map(Refusal::kind).collect::<Vec<_>>(), [Reason::OldThreshold]);
    assert!(newer.check_in_answer(reply.answer.as_bytes(), now()).is_ok());
    // Held already, they change nothing.
    let (same, refused) = CheckInReply { roots: reply.roots[..2].to_vec(), ..reply }.succeeded(&newer);
    assert_eq!((same.root().version, refused), (2, Vec::new()));
}

#[test]
fn only_files_that_the_answer_names_are_taken_from_beside_it() {
    let file = String::from_utf8(issued(&activation())).unwrap();
    let named = FileBeside { name: "new.i3lic".to_owned(), note: file.clone() };
    let slipped = FileBeside { name: "old.i3lic".to_owned(), note: format!("{file}\n") };
    let answer = CheckInAnswer { files: vec![Sha256::of(file.as_bytes())], ..good() };
    let reply = CheckInReply { answer: String::new(), roots: Vec::new(), files: vec![slipped, named.clone()] };
    let taken = reply.files_of(&answer);
    assert_eq!(taken[1], Ok(&named));
    let refusal = taken[0].as_ref().unwrap_err();
    assert!(refusal.kind() == Reason::NotInAnswer && refusal.what().contains("old.i3lic"), "{refusal}");
}

#[test]
fn a_reply_beyond_its_bounds_is_neither_read_nor_written() {
    let mut bytes = CheckInReply { answer: "a".to_owned(), roots: Vec::new(), files: Vec::new() }.write().unwrap();
    bytes.resize(REPLY_MAX_BYTES, b' ');
    assert!(CheckInReply::read(&bytes).is_ok());
    bytes.push(b' ');
    assert_eq!(reason(CheckInReply::read(&bytes)), Some(Reason::TooLarge));
    let large = CheckInReply { answer: "x".repeat(REPLY_MAX_BYTES), roots: Vec::new(), files: Vec::new() };
    assert_eq!(reason(large.write()), Some(Reason::TooLarge));
    let refusal = CheckInReply::read(b"<html>\x1b[2J</html>").unwrap_err();
    assert!(refusal.to_string().contains("`<html>\\u{1b}[2J</html>`"), "{refusal}");
}

#[test]
fn messages_are_one_line_of_plain_words() {
    for good in ["Pay", &"x".repeat(1_000), "Köln — \"today\"", "a\u{a0}b"] {
        let message: Message = good.parse().unwrap();
        let answer = CheckInAnswer { message: Some(message.clone()), ..self::good() };
        let read = trust().check_in_answer(&signed(&answer), now()).unwrap();
        assert_eq!(read.message.as_ref(), Some(&message));
    }
    // The most that escapes and chunks can make of it.
    for letter in ["\"", "\\", "ß", "漢"] {
        let words = letter.repeat(1_000 / letter.len());
        let answer = CheckInAnswer { message: Some(words.parse().unwrap()), ..good() };
        assert_eq!(*trust().check_in_answer(&signed(&answer), now()).unwrap(), answer);
    }
    for bad in ["", " a", "a ", "a\nb", "a\u{202e}b", &"x".repeat(1_001), "\u{7f}"] {
        assert!(bad.parse::<Message>().is_err(), "{bad:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn what_is_said_is_read_as_it_was_said(
        numbers in proptest::array::uniform8(0..=u64::from(u32::MAX) << 31),
        digests in proptest::collection::vec(any::<[u8; 32]>(), 4..=8),
        words in "[ -~äß漢]{0,300}",
        seconds in 0_i64..4_000_000_000,
        choice in 0_usize..3,
    ) {
        let time = WallTime::from_ms(seconds * 1_000);
        let request = CheckInRequest {
            created: time,
            nonce: Nonce(digests[0]),
            counter: numbers[0].max(1),
            fencing: numbers[1],
            epoch: numbers[2],
            previous_answer: (choice > 0).then_some(Sha256(digests[1])),
            clock: ClockEvidence {
                wall: time,
                roll_backs: numbers[3],
                last_roll_back_ms: numbers[4],
                unconfirmed_ms: numbers[5],
                withdrawn: numbers[6],
            },
            ..request()
        };
        let request = request.clone().sign(&installation()).map(|signed| (request, signed));
        let (said, signed) = request.unwrap();
        prop_assert_eq!(&*signed, &said);
        let standing =
            [CheckInStanding::Good, CheckInStanding::Duplicate, CheckInStanding::Revoked { from: time }][choice];
        let mut files: Vec<Sha256> = digests.into_iter().map(Sha256).collect();
        files.sort();
        files.dedup();
        let answer = CheckInAnswer { files, message: words.trim().parse().ok(), ..signed.answered(time, standing) };
        let read = trust().check_in_answer(&self::signed(&answer), now()).unwrap();
        prop_assert_eq!(&*read, &answer);
        prop_assert_eq!(read.fits_request(&signed), Ok(()));
    }
}

#[test]
fn a_time_note_says_what_time_it_was() {
    let note = TimeNote { time: now() }.sign(&[&check_in_key()]).unwrap();
    assert_eq!(note.lines().nth(1), Some("time = \"2026-11-22T04:19:00Z\""));
    assert_eq!(trust().time_note(note.as_bytes(), now()).unwrap().time, now());
    // An old one is as true as it was.
    assert!(trust().time_note(note.as_bytes(), now().plus_ms(300 * DAY_MS)).is_ok());
}

#[test]
fn the_licensor_for_development_answers_and_tells_the_time() {
    let licensor = DevLicensor::from_seed(&[5; 32]).unwrap();
    let trust = licensor.trust().unwrap();
    let note = licensor.answer(&good()).unwrap();
    assert_eq!(*trust.check_in_answer(&note, now()).unwrap(), good());
    assert_eq!(trust.time_note(&licensor.time_note(now()).unwrap(), now()).unwrap().time, now());
}
