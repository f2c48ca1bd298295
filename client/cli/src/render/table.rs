//! Tables for people: aligned columns without borders, as wide as the terminal. Names and numbers are never broken; only
//! prose is. Where the columns do not fit, each row becomes a few lines of its own.

use std::fmt::Write as _;

use comfy_table::{
    Attribute, Cell as TableCell, CellAlignment, Color, ColumnConstraint, ContentArrangement, Table, Width, presets,
};

use super::page::{Tone, clean, number, paint};

/// Blanks between columns.
const GAP: u16 = 2;
/// Prose narrower than this cannot be read: rows are shown as lines instead.
const PROSE_MIN: u16 = 20;

/// One cell of a table.
#[derive(Clone, Debug)]
pub struct Cell {
    text: String,
    tone: Tone,
    shape: Shape,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// Names and words, whole or not at all.
    Word,
    /// A quantity, at the right of its column.
    Quantity,
    /// Sentences and lists, which may be broken between words.
    Prose,
}

impl Cell {
    /// A name or a word, from the left; never broken.
    #[must_use]
    pub fn text(text: impl AsRef<str>) -> Self {
        Self { text: clean(text.as_ref()).into_owned(), tone: Tone::Plain, shape: Shape::Word }
    }

    /// A sentence or a list, which may take several lines.
    #[must_use]
    pub fn prose(text: impl AsRef<str>) -> Self {
        Self { shape: Shape::Prose, ..Self::text(text) }
    }

    /// A count, from the right.
    #[must_use]
    pub fn number(value: impl Into<u64>) -> Self {
        Self::right(number(value.into()))
    }

    /// A count where 0 says nothing and is shown dimmed.
    #[must_use]
    pub fn number_or_dim(value: impl Into<u64>, tone: Tone) -> Self {
        let value = value.into();
        Self::number(value).tone(if value == 0 { Tone::Dim } else { tone })
    }

    /// Text that is a quantity, from the right.
    #[must_use]
    pub fn right(text: impl Into<String>) -> Self {
        Self { text: text.into(), tone: Tone::Plain, shape: Shape::Quantity }
    }

    /// The same in another tone.
    #[must_use]
    pub fn tone(mut self, tone: Tone) -> Self {
        self.tone = tone;
        self
    }

    fn into_table_cell(self) -> TableCell {
        let empty = self.text.is_empty();
        let mut cell = TableCell::new(self.text);
        if self.shape == Shape::Quantity {
            cell = cell.set_alignment(CellAlignment::Right);
        }
        // An empty cell in a tone would leave blanks at the end of its line.
        let tone = if empty { Tone::Plain } else { self.tone };
        match tone {
            Tone::Plain => cell,
            Tone::Strong => cell.add_attribute(Attribute::Bold),
            Tone::Good => cell.fg(Color::DarkGreen),
            Tone::Warn => cell.fg(Color::DarkYellow).add_attribute(Attribute::Bold),
            Tone::Bad => cell.fg(Color::DarkRed).add_attribute(Attribute::Bold),
            Tone::Note => cell.fg(Color::DarkCyan).add_attribute(Attribute::Bold),
            Tone::Dim => cell.add_attribute(Attribute::Dim),
        }
    }
}

/// What is known of a column before it is laid out.
struct Column<'a> {
    index: usize,
    heading: &'a str,
    shape: Shape,
    /// The widest content.
    content: u16,
    /// The longest word of the heading, which may be broken between words.
    heading_word: u16,
    /// False where every cell is empty or dimmed, as zeros are.
    says_something: bool,
}

impl Column<'_> {
    fn least(&self) -> u16 {
        match self.shape {
            Shape::Prose => self.content.min(PROSE_MIN).max(self.heading_word),
            Shape::Word | Shape::Quantity => self.content.max(self.heading_word),
        }
    }
}

/// A table as text, and the headings of columns for which there was no room though they say something.
pub(super) struct LaidOut {
    pub(super) text: String,
    pub(super) left_out: Vec<String>,
}

/// Lays rows out for a terminal of this width; without a width nothing is broken. Columns that are empty in every row are
/// left out. Where the others do not fit, those in `give_way` go, the first one first, until they do.
pub(super) fn lay_out(headings: &[&str], rows: Vec<Vec<Cell>>, width: Option<u16>, give_way: &[&str]) -> LaidOut {
    let mut columns = columns(headings, &rows);
    let Some(width) = width else { return LaidOut { text: as_table(&columns, rows, None), left_out: Vec::new() } };
    if least(&columns) > width {
        // Columns of nothing but zeros are the first to go.
        columns.retain(|column| column.says_something);
    }
    let mut left_out = Vec::new();
    for heading in give_way {
        if least(&columns) <= width {
            break;
        }
        if columns.iter().any(|column| column.heading == *heading) {
            columns.retain(|column| column.heading != *heading);
            left_out.push((*heading).to_owned());
        }
    }
    if least(&columns) <= width {
        return LaidOut { text: as_table(&columns, rows, Some(width)), left_out };
    }
    // As lines there is room for all of them.
    let columns = self::columns(headings, &rows);
    LaidOut { text: as_lines(&columns, rows, width), left_out: Vec::new() }
}

fn gaps(columns: &[Column<'_>]) -> u16 {
    GAP * u16::try_from(columns.len().saturating_sub(1)).unwrap_or(u16::MAX / GAP)
}

fn least(columns: &[Column<'_>]) -> u16 {
    columns.iter().map(Column::least).fold(gaps(columns), u16::saturating_add)
}

fn columns<'a>(headings: &[&'a str], rows: &[Vec<Cell>]) -> Vec<Column<'a>> {
    let longest = |words: &mut dyn Iterator<Item = &str>| words.map(columns_of).max().unwrap_or(0);
    headings
        .iter()
        .enumerate()
        .map(|(index, heading)| {
            let mut cells = rows.iter().filter_map(|row| row.get(index));
            let content = longest(&mut cells.clone().map(|cell| cell.text.as_str()));
            let says_something = cells.clone().any(|cell| !cell.text.is_empty() && cell.tone != Tone::Dim);
            let shape = cells.find(|cell| !cell.text.is_empty()).map_or(Shape::Word, |cell| cell.shape);
            Column { index, heading, shape, content, heading_word: longest(&mut heading.split(' ')), says_something }
        })
        .filter(|column| column.content > 0)
        .collect()
}

fn columns_of(text: &str) -> u16 {
    u16::try_from(text.chars().count()).unwrap_or(u16::MAX)
}

fn as_table(columns: &[Column<'_>], rows: Vec<Vec<Cell>>, width: Option<u16>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).enforce_styling();
    table.style_text_only();
    table.set_header(columns.iter().map(|column| {
        let cell = TableCell::new(column.heading).add_attribute(Attribute::Bold);
        if column.shape == Shape::Quantity { cell.set_alignment(CellAlignment::Right) } else { cell }
    }));
    for row in rows {
        let mut cells: Vec<Option<Cell>> = row.into_iter().map(Some).collect();
        table.add_row(columns.iter().map(|column| {
            let cell = cells.get_mut(column.index).and_then(Option::take);
            cell.map_or_else(|| TableCell::new(""), Cell::into_table_cell)
        }));
    }
    let whole = columns
        .iter()
        .map(|column| column.content.max(columns_of(column.heading)))
        .fold(gaps(columns), u16::saturating_add);
    let tight = width.is_some_and(|width| whole > width);
    match width {
        Some(width) if tight => table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width),
        _ => table.set_content_arrangement(ContentArrangement::Disabled),
    };
    let last = columns.len().saturating_sub(1);
    for (place, (laid, column)) in table.column_iter_mut().zip(columns).enumerate() {
        let gap = if place == last { 0 } else { GAP };
        laid.set_padding((0, gap));
        if tight {
            let least = Width::Fixed(column.least().saturating_add(gap));
            laid.set_constraint(match column.shape {
                Shape::Prose => ColumnConstraint::LowerBoundary(least),
                Shape::Word | Shape::Quantity => ColumnConstraint::Absolute(least),
            });
        }
    }
    let mut text = String::new();
    for line in table.lines() {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

/// The first cell on a line of its own, the others below it by their headings. What is 0 or empty is left out.
fn as_lines(columns: &[Column<'_>], rows: Vec<Vec<Cell>>, width: u16) -> String {
    const INDENT: &str = "  ";
    let mut text = String::new();
    for row in rows {
        let mut lines: Vec<(String, u16)> = Vec::new();
        for (place, column) in columns.iter().enumerate() {
            let Some(cell) = row.get(column.index).filter(|cell| !cell.text.is_empty() && cell.tone != Tone::Dim)
            else {
                continue;
            };
            if place == 0 {
                // A bare number says nothing at the beginning of a line.
                let name = match column.shape {
                    Shape::Quantity => format!("{} {}", column.heading.to_lowercase(), cell.text),
                    Shape::Word | Shape::Prose => cell.text.clone(),
                };
                let _ = writeln!(text, "{}", paint(Tone::Strong, &name));
                continue;
            }
            let heading = column.heading.to_lowercase();
            let needed = columns_of(&heading).saturating_add(1).saturating_add(columns_of(&cell.text));
            let value = if needed.saturating_add(columns_of(INDENT)) > width {
                broken(&cell.text, width, columns_of(INDENT) + columns_of(&heading) + 1)
            } else {
                cell.text.clone()
            };
            let shown = format!("{} {}", paint(Tone::Dim, &heading), paint(cell.tone, &value));
            match lines.last_mut() {
                Some((line, used)) if used.saturating_add(GAP).saturating_add(needed) <= width => {
                    let _ = write!(line, "{:1$}{shown}", "", usize::from(GAP));
                    *used += GAP + needed;
                }
                _ => lines.push((format!("{INDENT}{shown}"), columns_of(INDENT).saturating_add(needed))),
            }
        }
        for (line, _) in lines {
            let _ = writeln!(text, "{line}");
        }
    }
    text
}

/// The text broken between words; its first line begins after `used` columns, the others are indented.
fn broken(text: &str, width: u16, used: u16) -> String {
    const INDENT: &str = "    ";
    let mut used = used;
    let mut lines = String::new();
    for word in text.split(' ') {
        let needed = columns_of(word);
        if !lines.is_empty() && used.saturating_add(1).saturating_add(needed) > width {
            lines.push('\n');
            lines.push_str(INDENT);
            used = columns_of(INDENT);
        } else if !lines.is_empty() {
            lines.push(' ');
            used = used.saturating_add(1);
        }
        lines.push_str(word);
        used = used.saturating_add(needed);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::{Cell, Tone, lay_out};

    fn table_of(width: Option<u16>) -> String {
        let text = lay_out(
            &["POOL", "EMPTY", "TAKEN TODAY", "NOTE"],
            vec![
                vec![
                    Cell::text("A"),
                    Cell::text(""),
                    Cell::number(7_u64),
                    Cell::prose("all seats are taken by others who came first"),
                ],
                vec![
                    Cell::text("A_LONGER_NAME"),
                    Cell::text(""),
                    Cell::number(12_000_u64).tone(Tone::Bad),
                    Cell::prose("").tone(Tone::Warn),
                ],
            ],
            width,
            &[],
        )
        .text;
        anstream::adapter::strip_str(&text).to_string()
    }

    #[test]
    fn columns_are_aligned_and_empty_ones_left_out() {
        assert_eq!(
            table_of(None),
            "POOL           TAKEN TODAY  NOTE\n\
             A                        7  all seats are taken by others who came first\n\
             A_LONGER_NAME       12,000\n"
        );
    }

    #[test]
    fn prose_and_headings_are_broken_and_nothing_else_is() {
        assert_eq!(
            table_of(Some(50)),
            "POOL            TAKEN  NOTE\n\
            \x20               TODAY\n\
             A                   7  all seats are taken by\n\
            \x20                      others who came first\n\
             A_LONGER_NAME  12,000\n"
        );
    }

    #[test]
    fn columns_of_zeros_give_way() {
        let rows = |denied: u64| {
            vec![vec![Cell::text("A_POOL"), Cell::number_or_dim(denied, Tone::Warn), Cell::number(1_u64)]]
        };
        let shown = |denied, width| {
            let text = lay_out(&["POOL", "DENIED", "PEAK"], rows(denied), Some(width), &[]).text;
            anstream::adapter::strip_str(&text).to_string()
        };
        assert_eq!(shown(0, 20), "POOL    DENIED  PEAK\nA_POOL       0     1\n");
        assert_eq!(shown(0, 19), "POOL    PEAK\nA_POOL     1\n");
        assert_eq!(shown(7, 19), "A_POOL\n  denied 7  peak 1\n");
    }

    #[test]
    fn columns_give_way_in_their_order_and_are_named() {
        let shown = |width| {
            let row = vec![Cell::text("A_POOL"), Cell::number(7_u64), Cell::number(1_u64), Cell::number(3_u64)];
            let headings = ["POOL", "DENIED", "PEAK", "SEATS"];
            let laid = lay_out(&headings, vec![row], Some(width), &["PEAK", "DENIED"]);
            (anstream::adapter::strip_str(&laid.text).to_string(), laid.left_out)
        };
        let named = |headings: &[&str]| headings.iter().map(|heading| (*heading).to_owned()).collect::<Vec<_>>();
        assert_eq!(shown(27).1, named(&[]));
        assert_eq!(shown(26), ("POOL    DENIED  SEATS\nA_POOL       7      3\n".to_owned(), named(&["PEAK"])));
        assert_eq!(shown(20), ("POOL    SEATS\nA_POOL      3\n".to_owned(), named(&["PEAK", "DENIED"])));
        assert_eq!(shown(12).1, named(&[]), "as lines everything is said");
        assert!(shown(12).0.contains("denied 7"));
    }

    #[test]
    fn a_narrow_terminal_gets_lines() {
        assert_eq!(
            table_of(Some(30)),
            "A\n\
            \x20 taken today 7\n\
            \x20 note all seats are taken by\n\
            \x20   others who came first\n\
             A_LONGER_NAME\n\
            \x20 taken today 12,000\n"
        );
    }
}
