//! Text for people: sentences, fields and tables. Styles are ANSI codes in the text; the
//! stream that it is written to takes them out where they do not belong.

use std::{borrow::Cow, fmt::Write as _};

use anstyle::{AnsiColor, Style};

use super::table::{self, Cell};
use crate::clock::Clock;

/// How a piece of text is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// As it is.
    Plain,
    /// A heading, or the word that counts.
    Strong,
    /// In order.
    Good,
    /// Wants attention.
    Warn,
    /// Refused or broken.
    Bad,
    /// A remark.
    Note,
    /// Of less weight.
    Dim,
}

impl Tone {
    pub(super) const fn style(self) -> Style {
        match self {
            Self::Plain => Style::new(),
            Self::Strong => Style::new().bold(),
            Self::Good => Style::new().fg_color(Some(anstyle::Color::Ansi(AnsiColor::Green))),
            Self::Warn => Style::new().bold().fg_color(Some(anstyle::Color::Ansi(AnsiColor::Yellow))),
            Self::Bad => Style::new().bold().fg_color(Some(anstyle::Color::Ansi(AnsiColor::Red))),
            Self::Note => Style::new().bold().fg_color(Some(anstyle::Color::Ansi(AnsiColor::Cyan))),
            Self::Dim => Style::new().dimmed(),
        }
    }
}

/// The text in its tone.
#[must_use]
pub fn paint(tone: Tone, text: &str) -> String {
    let style = tone.style();
    format!("{style}{text}{style:#}")
}

/// The text without control characters, which could steer a terminal: line breaks become spaces, others are marked.
#[must_use]
pub fn clean(text: &str) -> Cow<'_, str> {
    if text.chars().any(char::is_control) {
        Cow::Owned(
            text.chars()
                .map(|c| {
                    if c == '\n' {
                        ' '
                    } else if c.is_control() {
                        '\u{fffd}'
                    } else {
                        c
                    }
                })
                .collect(),
        )
    } else {
        Cow::Borrowed(text)
    }
}

/// `1 lease`, `12 leases`, `1,000 leases`: a count and its noun in the right number.
#[must_use]
pub fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{} {}", number(count), if count == 1 { one } else { many })
}

/// A number with its thousands apart: `12,000`.
#[must_use]
pub fn number(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A size for people: `812 B`, `1.2 KiB`, `3.0 MiB`.
#[must_use]
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 3] = ["KiB", "MiB", "GiB"];
    if bytes < 1_024 {
        return format!("{bytes} B");
    }
    // Tenths, rounded; where they come to the next unit, in that one.
    let tenths = |unit: u32| u128::from(bytes).saturating_mul(10).saturating_add((1_u128 << unit) / 2) >> unit;
    let (mut unit, mut shown) = (0, tenths(10));
    while shown >= 10_240 && unit < UNITS.len() - 1 {
        unit += 1;
        shown = tenths(10 * (u32::try_from(unit).unwrap_or(0) + 1));
    }
    format!("{}.{} {}", shown / 10, shown % 10, UNITS.get(unit).unwrap_or(&"GiB"))
}

/// Text in the making.
pub struct Page<'a> {
    clock: &'a Clock,
    width: Option<u16>,
    text: String,
}

impl<'a> Page<'a> {
    /// An empty page; without a width nothing is wrapped.
    #[must_use]
    pub fn new(clock: &'a Clock, width: Option<u16>) -> Self {
        Self { clock, width, text: String::new() }
    }

    /// The clock by which moments are told.
    #[must_use]
    pub fn clock(&self) -> &'a Clock {
        self.clock
    }

    /// The text, ending with a line break.
    #[must_use]
    pub fn into_text(self) -> String {
        self.text
    }

    /// A sentence on a line of its own.
    pub fn line(&mut self, text: &str) {
        self.styled(&clean(text));
    }

    /// A sentence in one tone.
    pub fn line_in(&mut self, tone: Tone, text: &str) {
        self.styled(&paint(tone, &clean(text)));
    }

    /// A word in its tone and a colon, then a sentence: `hint: …`.
    pub fn marked(&mut self, tone: Tone, mark: &str, text: &str) {
        self.styled(&format!("{} {}", paint(tone, &format!("{mark}:")), clean(text)));
    }

    fn styled(&mut self, text: &str) {
        self.text.push_str(text);
        self.text.push('\n');
    }

    /// Text of several lines as it is, for what is made to be copied. Controls other than line breaks are marked.
    pub fn verbatim(&mut self, text: &str) {
        for line in text.lines() {
            self.styled(&clean(line));
        }
    }

    /// An empty line, unless the page is empty.
    pub fn gap(&mut self) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
    }

    /// Labels and values, aligned. Empty values are left out.
    pub fn fields(&mut self, fields: &[(&str, String)]) {
        let widest = fields.iter().filter(|field| !field.1.is_empty()).map(|field| field.0.len()).max().unwrap_or(0);
        for (label, value) in fields.iter().filter(|field| !field.1.is_empty()) {
            let label = paint(Tone::Dim, &format!("{label:<widest$}"));
            // Writing to a string cannot fail.
            let _ = writeln!(self.text, "{label}  {}", clean(value));
        }
    }

    /// An aligned table; where the terminal is too narrow for its columns, a few lines for each row.
    pub fn table(&mut self, headings: &[&str], rows: Vec<Vec<Cell>>) {
        self.text.push_str(&table::lay_out(headings, rows, self.width, &[]).text);
    }

    /// The same; where the terminal is too narrow, these columns give way first, in this order, and are named below.
    pub fn table_giving_way(&mut self, headings: &[&str], rows: Vec<Vec<Cell>>, give_way: &[&str]) {
        let laid = table::lay_out(headings, rows, self.width, give_way);
        self.text.push_str(&laid.text);
        if !laid.left_out.is_empty() {
            let named = laid.left_out.join(", ").to_lowercase();
            self.line_in(Tone::Dim, &format!("no room for {named}: a wider terminal or --json shows it"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{clean, counted, number};

    #[test]
    fn names_cannot_steer_the_terminal() {
        assert_eq!(clean("a\u{1b}[2Jb\nc"), "a\u{fffd}[2Jb c");
        assert_eq!(clean("plain ü"), "plain ü");
    }

    #[test]
    fn numbers_and_nouns() {
        assert_eq!(number(0), "0");
        assert_eq!(number(999), "999");
        assert_eq!(number(1_234_567), "1,234,567");
        assert_eq!(counted(1, "lease", "leases"), "1 lease");
        assert_eq!(counted(2, "lease", "leases"), "2 leases");
    }
}
