//! How a step is read: its words, and what they stand for.

use super::*;

/// The words of a step: plain ones in order, and `name=value`.
pub(super) struct Words<'a> {
    pub(super) plain: std::collections::VecDeque<&'a str>,
    pub(super) named: BTreeMap<&'a str, &'a str>,
}

impl<'a> Words<'a> {
    pub(super) fn of(text: &'a str) -> Self {
        let (named, plain) = text.split_whitespace().partition::<Vec<_>, _>(|word| word.contains('='));
        Self { plain: plain.into(), named: named.into_iter().filter_map(|word| word.split_once('=')).collect() }
    }

    pub(super) fn next(&mut self) -> &'a str {
        self.plain.pop_front().expect("the step needs one more word")
    }

    pub(super) fn named(&mut self, name: &str) -> Option<&'a str> {
        self.named.remove(name)
    }

    /// The word after a preposition.
    pub(super) fn after(&mut self, word: &str) -> Option<&'a str> {
        let at = self.plain.iter().position(|other| *other == word)?;
        self.plain.remove(at);
        Some(self.plain.remove(at).expect("a preposition stands before a word"))
    }

    pub(super) fn has(&mut self, word: &str) -> bool {
        let at = self.plain.iter().position(|other| *other == word);
        at.is_some_and(|at| self.plain.remove(at).is_some())
    }

    pub(super) fn end(&self) {
        assert!(self.plain.is_empty() && self.named.is_empty(), "not understood: {:?} {:?}", self.plain, self.named);
    }
}

/// `90s`, `10m`, `3h`, `2d`, `500ms`.
pub(super) fn ms(text: &str) -> u64 {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = digits.parse().unwrap_or_else(|_| panic!("`{text}` is no time"));
    match &text[digits.len()..] {
        "ms" => number,
        "s" => number * 1_000,
        "m" => number * 60_000,
        "h" => number * 3_600_000,
        "d" => number * 86_400_000,
        "y" => number * 365 * 86_400_000,
        unit => panic!("`{unit}` is no unit of time"),
    }
}

/// `+3d`, `-10m`: milliseconds from now.
pub(super) fn signed_ms(text: &str) -> i64 {
    let size = i64::try_from(ms(text.trim_start_matches(['+', '-']))).unwrap();
    if text.starts_with('-') { -size } else { size }
}

pub(super) fn list(text: &str) -> Vec<Label> {
    text.split(',').filter(|name| !name.is_empty()).map(label).collect()
}

pub(super) fn method(text: &str) -> Method {
    match text {
        "assignable" => Method::Assignable,
        "concurrent" => Method::Concurrent,
        other => panic!("`{other}` is no method"),
    }
}

pub(super) fn station_kind(text: &str) -> StationKind {
    StationKind::ALL.into_iter().find(|kind| kind.as_str() == text).unwrap_or_else(|| panic!("`{text}` is no kind"))
}

pub(super) fn host(text: &str) -> HostFinding {
    match text {
        "primary" => HostFinding::Primary,
        "switchover" => HostFinding::Switchover,
        "unbound" => HostFinding::Unbound,
        "other" => HostFinding::Other("platform: changed.".into()),
        other => panic!("`{other}` is no finding"),
    }
}

pub(super) fn entity_name(words: &mut Words<'_>) -> EntityName {
    let kind = words.next();
    let name = label(words.next());
    match kind {
        "user" => EntityName::User(name),
        "station" => EntityName::Station(name),
        "workgroup" => EntityName::Workgroup(name),
        "org" => EntityName::Organization(name),
        other => panic!("`{other}` is no sort of thing"),
    }
}
