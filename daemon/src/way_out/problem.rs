//! How the licensor's endpoint refuses (RFC 9457), in words that harm no log.

use http::header;
use serde::Deserialize;

use super::Answer;

/// The most characters of a server's words that are kept.
const WORDS_MAX: usize = 300;

/// What an answer says that is no success.
#[derive(Deserialize)]
struct Problem {
    #[serde(default)]
    code: String,
    #[serde(default)]
    detail: String,
}

/// Why the server refuses, in its own words; where it has none, its status in words.
pub(crate) fn said(answer: &Answer) -> String {
    let problem: Option<Problem> = serde_json::from_slice(&answer.body).ok();
    let spoken = problem.map(|problem| match (problem.detail, problem.code) {
        (detail, code) if code.is_empty() => detail,
        (detail, code) if detail.is_empty() => code,
        (detail, code) => format!("{detail} ({code})"),
    });
    let spoken = spoken.map(|words| plain(&words)).filter(|words| !words.is_empty());
    spoken.unwrap_or_else(|| answer.status.canonical_reason().unwrap_or("no words").to_owned())
}

/// The text of a header; empty where there is none.
pub(crate) fn header_of(answer: &Answer, name: header::HeaderName) -> String {
    plain(answer.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default())
}

/// A server's words as one line.
pub(crate) fn plain(words: &str) -> String {
    let words = words.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ").chars().take(WORDS_MAX).collect()
}
