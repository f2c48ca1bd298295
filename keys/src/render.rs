//! Writing of a note's TOML: one order, one spelling, lines that people can read.

use std::fmt::{Display, Write as _};

use crate::{key::PublicKey, note::NoteKind};

/// Arrays that would be longer on one line go one element to a line.
const ONE_LINE_MAX_BYTES: usize = 100;
/// Bytes of a chunk of a long text.
const CHUNK_BYTES: usize = 96;

/// A text that grows field by field.
pub(crate) struct Text(String);

impl Text {
    /// A text of this kind, with its first line.
    pub(crate) fn new(kind: NoteKind) -> Self {
        Self(kind.first_line() + "\n")
    }

    /// A table, or an element of an array of tables; `head` with its brackets.
    pub(crate) fn head(&mut self, head: &str) {
        self.0 += &format!("\n{head}\n");
    }

    /// A field whose value is text.
    pub(crate) fn text(&mut self, field: &str, value: impl Display) {
        self.bare(field, quoted(&value.to_string()));
    }

    /// A field whose value is text, where it is there.
    pub(crate) fn text_if(&mut self, field: &str, value: Option<impl Display>) {
        if let Some(value) = value {
            self.text(field, value);
        }
    }

    /// A field whose value needs no quotes, or has them.
    pub(crate) fn bare(&mut self, field: &str, value: impl Display) {
        let _ = writeln!(self.0, "{field} = {value}");
    }

    /// `field = true`; false is left out.
    pub(crate) fn flag(&mut self, field: &str, value: bool) {
        if value {
            self.bare(field, true);
        }
    }

    /// An array of texts; an empty one is left out.
    pub(crate) fn list(&mut self, field: &str, values: impl IntoIterator<Item: Display>) {
        let values: Vec<String> = values.into_iter().map(|value| quoted(&value.to_string())).collect();
        if values.is_empty() {
            return;
        }
        let one_line = values.join(", ");
        if field.len() + one_line.len() + 5 <= ONE_LINE_MAX_BYTES {
            self.bare(field, format_args!("[{one_line}]"));
        } else {
            self.bare(field, format_args!("[\n  {},\n]", values.join(",\n  ")));
        }
    }

    /// A text that has no characters to escape, in chunks where it is long.
    pub(crate) fn long(&mut self, field: &str, value: &str) {
        if field.len() + value.len() + 5 <= ONE_LINE_MAX_BYTES || !value.is_ascii() {
            return self.text(field, value);
        }
        let chunks: Vec<&str> = (0..value.len())
            .step_by(CHUNK_BYTES)
            .filter_map(|at| value.get(at..value.len().min(at + CHUNK_BYTES)))
            .collect();
        self.list(field, chunks);
    }

    /// Words of people, in chunks where they are long.
    pub(crate) fn words(&mut self, field: &str, value: &str) {
        let (mut chunks, mut rest) = (Vec::new(), value);
        while !rest.is_empty() {
            let whole = |at: &usize| rest.is_char_boundary(*at);
            let (chunk, after) = rest.split_at((1..=CHUNK_BYTES).rev().find(whole).unwrap_or(rest.len()));
            chunks.push(chunk);
            rest = after;
        }
        match chunks[..] {
            [] | [_] => self.text(field, value),
            _ => self.list(field, chunks),
        }
    }

    /// A public key.
    pub(crate) fn key(&mut self, field: &str, key: &PublicKey) {
        // A name may hold any letters; only its ASCII spelling can be cut anywhere.
        self.long(field, &key.to_string());
    }

    /// The whole text.
    pub(crate) fn finish(self) -> String {
        self.0
    }
}

/// A TOML basic string.
pub(crate) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => out.extend(['\\', character]),
            c if c.is_control() || c == '\u{feff}' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
