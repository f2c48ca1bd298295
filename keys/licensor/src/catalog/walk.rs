//! Walks a TOML document and keeps every fault it meets with its line, so that a catalog's author sees them all at once.
//! Knows nothing of catalogs.

use std::{collections::BTreeMap, fmt::Display, str::FromStr};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::CatalogFault;

/// The document and the faults found in it so far.
pub(super) struct Walk<'t> {
    text: &'t str,
    faults: Vec<CatalogFault>,
}

impl<'t> Walk<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { text, faults: Vec::new() }
    }

    /// Where a byte of the document is, as a line from 1.
    fn line(&self, offset: usize) -> usize {
        self.text.as_bytes().iter().take(offset).filter(|byte| **byte == b'\n').count() + 1
    }

    pub(super) fn fault(&mut self, at: &Mark, reason: impl Into<String>) {
        let line = self.line(at.offset);
        self.faults.push(CatalogFault { line, place: at.place.clone(), reason: reason.into() });
    }

    /// A fault of the document as TOML.
    pub(super) fn syntax(&mut self, fault: &toml::de::Error) {
        let offset = fault.span().map_or(0, |span| span.start);
        self.fault(&Mark { place: String::new(), offset }, fault.message().replace('\n', "; "));
    }

    /// All faults by line.
    pub(super) fn into_faults(mut self) -> Vec<CatalogFault> {
        self.faults.sort_by(|a, b| (a.line, &a.place, &a.reason).cmp(&(b.line, &b.place, &b.reason)));
        self.faults
    }
}

/// Where something stands: its dotted place, and its first byte.
#[derive(Clone, Debug)]
pub(super) struct Mark {
    pub(super) place: String,
    offset: usize,
}

impl Mark {
    /// A place of which no more is known than the document.
    pub(super) fn document(place: &str) -> Self {
        Self { place: place.to_owned(), offset: 0 }
    }

    /// The same spot under another place, within it.
    pub(super) fn named(&self, place: &str) -> Self {
        Self { place: place.to_owned(), offset: self.offset }
    }
}

/// Where every field of the document stands, by dotted place.
pub(super) type Marks = BTreeMap<String, Mark>;

/// The marks of a whole document.
pub(super) fn marks(document: &DeTable<'_>) -> Marks {
    let mut marks = Marks::new();
    let mut open = vec![(String::new(), document)];
    while let Some((above, table)) = open.pop() {
        for (name, value) in table {
            let name_of = name.get_ref();
            let place = if above.is_empty() { name_of.to_string() } else { format!("{above}.{name_of}") };
            if let Some(below) = value.get_ref().as_table() {
                open.push((place.clone(), below));
            }
            marks.insert(place.clone(), Mark { place, offset: name.span().start });
        }
    }
    marks
}

/// One value with its place.
pub(super) struct Spot<'t> {
    pub(super) at: Mark,
    value: &'t DeValue<'t>,
}

impl<'t> Spot<'t> {
    fn wrong(&self, walk: &mut Walk<'_>, wanted: &str) {
        walk.fault(&self.at, format!("is {}; write {wanted}", article(self.value.type_str())));
    }

    pub(super) fn is_text(&self) -> bool {
        self.value.is_str()
    }

    pub(super) fn is_table(&self) -> bool {
        self.value.is_table()
    }

    pub(super) fn text(&self, walk: &mut Walk<'_>) -> Option<&'t str> {
        let text = self.value.as_str();
        if text.is_none() {
            self.wrong(walk, "a text in quotes");
        }
        text
    }

    pub(super) fn parse<T>(&self, walk: &mut Walk<'_>) -> Option<T>
    where
        T: FromStr,
        T::Err: Display,
    {
        match self.text(walk)?.parse() {
            Ok(value) => Some(value),
            Err(fault) => {
                walk.fault(&self.at, fault.to_string());
                None
            }
        }
    }

    /// One of a few words.
    pub(super) fn word<T: Copy>(&self, walk: &mut Walk<'_>, words: &[(&str, T)]) -> Option<T> {
        let text = self.text(walk)?;
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        if found.is_none() {
            let all: Vec<_> = words.iter().map(|(word, _)| *word).collect();
            walk.fault(&self.at, format!("`{text}` is not one of {}", all.join(", ")));
        }
        found
    }

    pub(super) fn flag(&self, walk: &mut Walk<'_>) -> Option<bool> {
        let flag = self.value.as_bool();
        if flag.is_none() {
            self.wrong(walk, "true or false");
        }
        flag
    }

    /// A whole number from 1 to 2³²−1.
    pub(super) fn count(&self, walk: &mut Walk<'_>) -> Option<u32> {
        let count = self
            .value
            .as_integer()
            .and_then(|number| u32::from_str_radix(number.as_str(), number.radix()).ok())
            .filter(|count| *count > 0);
        if count.is_none() {
            walk.fault(&self.at, "is not a whole number from 1 to 4294967295");
        }
        count
    }

    pub(super) fn items(&self, walk: &mut Walk<'_>) -> Vec<Spot<'t>> {
        let Some(array) = self.value.as_array() else {
            self.wrong(walk, "a list in [ ]");
            return Vec::new();
        };
        array
            .iter()
            .map(|item| Spot {
                at: Mark { place: self.at.place.clone(), offset: item.span().start },
                value: item.get_ref(),
            })
            .collect()
    }

    pub(super) fn fields(&self, walk: &mut Walk<'_>) -> Option<Fields<'t>> {
        let table = self.value.as_table();
        if table.is_none() {
            self.wrong(walk, "a table");
        }
        Some(Fields::new(self.at.clone(), table?))
    }
}

/// A table whose fields are taken one by one; what is left over at the end is unknown.
pub(super) struct Fields<'t> {
    pub(super) at: Mark,
    left: BTreeMap<&'t str, (usize, &'t Spanned<DeValue<'t>>)>,
}

impl<'t> Fields<'t> {
    pub(super) fn root(table: &'t DeTable<'t>) -> Self {
        Self::new(Mark { place: String::new(), offset: 0 }, table)
    }

    fn new(at: Mark, table: &'t DeTable<'t>) -> Self {
        let left = table.iter().map(|(name, value)| (name.get_ref().as_ref(), (name.span().start, value))).collect();
        Self { at, left }
    }

    fn place_of(&self, name: &str) -> String {
        match self.at.place.as_str() {
            "" => name.to_owned(),
            place => format!("{place}.{name}"),
        }
    }

    pub(super) fn optional(&mut self, name: &str) -> Option<Spot<'t>> {
        let (offset, value) = self.left.remove(name)?;
        Some(Spot { at: Mark { place: self.place_of(name), offset }, value: value.get_ref() })
    }

    pub(super) fn required(&mut self, walk: &mut Walk<'_>, name: &str) -> Option<Spot<'t>> {
        let spot = self.optional(name);
        if spot.is_none() {
            walk.fault(&self.at, format!("`{name}` is missing"));
        }
        spot
    }

    /// Every remaining field by name.
    pub(super) fn rest(&mut self) -> Vec<(&'t str, Spot<'t>)> {
        let names: Vec<_> = self.left.keys().copied().collect();
        names.into_iter().filter_map(|name| Some((name, self.optional(name)?))).collect()
    }

    /// Faults for what nobody took.
    pub(super) fn end(mut self, walk: &mut Walk<'_>) {
        for (name, spot) in self.rest() {
            walk.fault(&spot.at, format!("`{name}` is not a field known here"));
        }
    }
}

fn article(kind: &str) -> String {
    match kind.as_bytes().first() {
        Some(b'a' | b'e' | b'i' | b'o' | b'u') => format!("an {kind}"),
        _ => format!("a {kind}"),
    }
}
