//! Every item of "Must be refused" (02) as a named vector with its reason. The vectors also lie in `vectors/` with an
//! index, for other implementations; `LEASEHOLD_WRITE_VECTORS=1 cargo test -p leasehold-keys` writes them anew.

mod vendor;
mod vectors_of {
    pub(crate) mod check_ins;
    pub(crate) mod envelope;
    pub(crate) mod roots;
    pub(crate) mod terms;
}

use std::{collections::BTreeSet, fmt::Write as _, fs, path::PathBuf};

use leasehold_keys::{
    check_in::{CheckInReply, CheckInRequest},
    refusal::{Reason, Refusal},
    trust::Trust,
};
use vendor::{hybrid_root, now, root, signed_root, trust};

/// How a vector is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Judged {
    /// As an activation file under root 1.
    Activation,
    /// As an activation file under a root 1 that asks for ML-DSA-65 as well.
    HybridActivation,
    /// As an activation file under a root 1 that revokes the issuing key.
    UnderRevocation,
    /// As an activation file under a root 1 that has expired.
    UnderExpired,
    /// As the first root.
    Anchor,
    /// As a root after root 1.
    Successor,
    /// As a request of a check-in.
    Request,
    /// As an answer to `check-in-request.note`, under an expired root 1 with more check-in keys.
    Answer,
    /// As such an answer, under a root 1 that asks for more signatures on answers.
    StrictAnswer,
    /// As a time note, under the root of answers.
    Time,
    /// As a reply to a check-in.
    Reply,
}

impl Judged {
    fn name(self) -> &'static str {
        match self {
            Judged::Activation => "activation",
            Judged::HybridActivation => "activation-hybrid",
            Judged::UnderRevocation => "activation-under-revocation",
            Judged::UnderExpired => "activation-under-expired-root",
            Judged::Anchor => "root-anchor",
            Judged::Successor => "root-successor",
            Judged::Request => "check-in-request",
            Judged::Answer => "check-in-answer",
            Judged::StrictAnswer => "check-in-answer-strict",
            Judged::Time => "time-note",
            Judged::Reply => "check-in-reply",
        }
    }

    /// The root that it is judged under.
    fn root(self) -> Option<Vec<u8>> {
        let letters = ["a", "b"];
        match self {
            Judged::Activation | Judged::Successor => Some(signed_root(&root(), &letters)),
            Judged::HybridActivation => Some(signed_root(&hybrid_root(), &letters)),
            Judged::UnderRevocation => Some(signed_root(&vectors_of::roots::revoking(), &letters)),
            Judged::UnderExpired => Some(signed_root(&vectors_of::roots::expired(), &letters)),
            Judged::Answer | Judged::Time => Some(signed_root(&vendor::check_in::check_in_root(), &letters)),
            Judged::StrictAnswer => Some(signed_root(&vendor::check_in::strict_root(), &letters)),
            Judged::Anchor | Judged::Request | Judged::Reply => None,
        }
    }

    fn judge(self, bytes: &[u8]) -> Result<(), Refusal> {
        let trust = self.root().map(|root| Trust::anchored(&root).unwrap());
        match (self, trust) {
            (Judged::Successor, Some(trust)) => trust.succeed(bytes).map(|_| ()),
            (Judged::Answer | Judged::StrictAnswer, Some(trust)) => {
                trust.check_in_answer(bytes, now())?.fits_request(&vendor::check_in::asked())
            }
            (Judged::Time, Some(trust)) => trust.time_note(bytes, now()).map(|_| ()),
            (Judged::Request, _) => CheckInRequest::verify(bytes).map(|_| ()),
            (Judged::Reply, _) => CheckInReply::read(bytes).map(|_| ()),
            (_, Some(trust)) => trust.activation(bytes, now()).map(|_| ()),
            (_, None) => Trust::anchored(bytes).map(|_| ()),
        }
    }
}

/// One vector.
struct Vector {
    name: &'static str,
    judged: Judged,
    /// The code of the refusal; `None` where it must be accepted.
    reason: Option<Reason>,
    /// The line that the refusal must name, where the vector pins it.
    line: Option<u32>,
    bytes: Vec<u8>,
}

fn refused(name: &'static str, judged: Judged, reason: Reason, bytes: Vec<u8>) -> Vector {
    Vector { name, judged, reason: Some(reason), line: None, bytes }
}

fn accepted(name: &'static str, judged: Judged, bytes: Vec<u8>) -> Vector {
    Vector { name, judged, reason: None, line: None, bytes }
}

impl Vector {
    fn at_line(mut self, line: u32) -> Self {
        self.line = Some(line);
        self
    }

    fn file(&self) -> String {
        let suffix = match self.judged {
            Judged::Anchor | Judged::Successor => "root",
            Judged::Request | Judged::Answer | Judged::StrictAnswer | Judged::Time => "note",
            Judged::Reply => "json",
            _ => "i3lic",
        };
        format!("{}.{suffix}", self.name)
    }
}

fn all() -> Vec<Vector> {
    let of =
        [vectors_of::envelope::all(), vectors_of::roots::all(), vectors_of::terms::all(), vectors_of::check_ins::all()];
    of.into_iter().flatten().collect()
}

#[test]
fn every_vector_is_judged_as_it_must_be() {
    let mut wrong = String::new();
    for vector in all() {
        let outcome = vector.judged.judge(&vector.bytes);
        let got = outcome.as_ref().err().map(Refusal::kind);
        let line = outcome.as_ref().err().and_then(Refusal::line);
        if got != vector.reason || (vector.line.is_some() && line != vector.line) {
            let told = outcome.err().map(|refusal| refusal.to_string());
            writeln!(
                wrong,
                "{}: expected {:?} at {:?}, got {got:?} at {line:?}: {told:?}",
                vector.name, vector.reason, vector.line
            )
            .unwrap();
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn names_are_unique_and_every_reason_has_its_vector() {
    let vectors = all();
    let names: BTreeSet<&str> = vectors.iter().map(|vector| vector.name).collect();
    assert_eq!(names.len(), vectors.len());
    let shown: BTreeSet<Reason> = vectors.iter().filter_map(|vector| vector.reason).collect();
    // These concern files in a folder, receipts and what comes beside an answer, which have tests of their own.
    let elsewhere = [Reason::NotARegularFile, Reason::Unreadable, Reason::AnotherFile, Reason::NotInAnswer];
    let missing: Vec<&str> = Reason::ALL
        .iter()
        .filter(|reason| !shown.contains(reason) && !elsewhere.contains(reason))
        .map(|reason| reason.code())
        .collect();
    assert!(missing.is_empty(), "no vector for {missing:?}");
}

#[test]
fn refusals_are_sentences_for_an_administrator() {
    for vector in all() {
        let Err(refusal) = vector.judged.judge(&vector.bytes) else {
            continue;
        };
        let text = refusal.to_string();
        assert!(text.ends_with('.') && !refusal.what().ends_with('.'), "{}: {text}", vector.name);
        assert!(text.len() < 600 && !text.chars().any(char::is_control), "{}: {text}", vector.name);
    }
}

#[test]
fn the_stored_vectors_are_these() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    let roots = [
        Judged::Activation,
        Judged::HybridActivation,
        Judged::UnderRevocation,
        Judged::UnderExpired,
        Judged::Answer,
        Judged::StrictAnswer,
        Judged::Time,
    ];
    let mut index = format!("# Each file is judged at {} as told; no reason: it must be accepted.\n", vendor::NOW);
    let mut files = Vec::new();
    for judged in roots {
        let name = format!("under-{}.root", judged.name());
        writeln!(index, "\n[[root]]\njudged-as = \"{}\"\nroot = \"{name}\"", judged.name()).unwrap();
        if matches!(judged, Judged::Answer | Judged::StrictAnswer) {
            index += "request = \"check-in-request.note\"\n";
        }
        files.push((name, judged.root().unwrap()));
    }
    for vector in all() {
        writeln!(index, "\n[[vector]]\nfile = \"{}\"\njudged-as = \"{}\"", vector.file(), vector.judged.name())
            .unwrap();
        if let Some(reason) = vector.reason {
            writeln!(index, "reason = \"{}\"", reason.code()).unwrap();
        }
        files.push((vector.file(), vector.bytes));
    }
    files.push(("index.toml".into(), index.into_bytes()));
    if std::env::var_os("LEASEHOLD_WRITE_VECTORS").is_some() {
        fs::create_dir_all(&folder).unwrap();
        for (name, bytes) in &files {
            fs::write(folder.join(name), bytes).unwrap();
        }
    }
    for (name, bytes) in &files {
        let stored = fs::read(folder.join(name)).unwrap_or_else(|fault| panic!("{name}: {fault}"));
        assert!(stored == *bytes, "{name} differs from what the tests make");
    }
    let stored: BTreeSet<String> =
        fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    let attributes = ".gitattributes".to_owned();
    assert_eq!(stored, files.iter().map(|(name, _)| name.clone()).chain([attributes]).collect());
}

#[test]
fn the_good_file_is_good() {
    let verified = trust().activation(&vendor::issued(&vendor::activation()), now()).unwrap();
    assert_eq!(*verified, vendor::activation());
    assert_eq!(verified.signed_by(), ["acme.example/issuing-2026"]);
    assert_eq!(verified.key_epoch(), 1);
}
