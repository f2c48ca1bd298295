//! Strict reading of a note's TOML: every field is taken once by name and type, and whatever is left over is refused.
//! Every fault carries its line.

use std::{collections::BTreeSet, fmt::Display, ops::Range, str::FromStr};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use crate::{
    digest::Sha256,
    refusal::{Reason, Refusal, quote},
    time::WallTime,
};

/// Where lines begin.
struct Source<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl Source<'_> {
    fn line(&self, offset: usize) -> u32 {
        u32::try_from(self.starts.partition_point(|start| *start <= offset)).unwrap_or(u32::MAX)
    }
}

/// Reads `text` as TOML and hands its table to `read`; what `read` did not take is refused.
pub(crate) fn read_document<T>(
    text: &str,
    read: impl FnOnce(&mut Table<'_>) -> Result<T, Refusal>,
) -> Result<T, Refusal> {
    let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
    let source = Source { text, starts };
    let document = DeTable::parse(text).map_err(|fault| {
        let line = fault.span().map(|span| source.line(span.start));
        // The reader of TOML tells its reasons in words alone; a test holds it to these.
        let reason = match fault.message() {
            told if told.contains("duplicate key") => Reason::DuplicateField,
            told if told.contains("leading zero") => Reason::NotACount,
            _ => Reason::MalformedToml,
        };
        let message = fault.message().split('\n').next().unwrap_or_default();
        Refusal::at(reason, line, format!("The line is not strict TOML: {}", message.trim()))
    })?;
    let mut table = Table::new(&source, "", document.span(), document.get_ref());
    let value = read(&mut table)?;
    table.finish()?;
    Ok(value)
}

/// A table whose fields are taken one by one.
pub(crate) struct Table<'a> {
    source: &'a Source<'a>,
    /// The name of the table in messages; empty for the whole text.
    name: &'a str,
    line: u32,
    entries: &'a DeTable<'a>,
    taken: BTreeSet<&'static str>,
}

impl<'a> Table<'a> {
    fn new(source: &'a Source<'a>, name: &'a str, span: Range<usize>, entries: &'a DeTable<'a>) -> Self {
        Self { source, name, line: source.line(span.start), entries, taken: BTreeSet::new() }
    }

    /// Its first line.
    pub(crate) fn line(&self) -> u32 {
        self.line
    }

    /// A field that may be absent.
    pub(crate) fn optional(&mut self, field: &'static str) -> Option<Value<'a>> {
        self.taken.insert(field);
        let value = self.entries.get(field)?;
        Some(Value { source: self.source, table: self.name, field, span: value.span(), value: value.get_ref() })
    }

    /// A field that must be there.
    pub(crate) fn required(&mut self, field: &'static str) -> Result<Value<'a>, Refusal> {
        self.optional(field).ok_or_else(|| {
            let place =
                if self.name.is_empty() { "The text".to_owned() } else { format!("This [{}] table", self.name) };
            let line = (!self.name.is_empty()).then_some(self.line);
            Refusal::at(Reason::MissingField, line, format!("{place} has no field `{field}`"))
        })
    }

    /// An array of tables, each read by `read`; none where the field is absent.
    pub(crate) fn tables<T>(
        &mut self,
        field: &'static str,
        mut read: impl FnMut(&mut Table<'_>) -> Result<T, Refusal>,
    ) -> Result<Vec<T>, Refusal> {
        let Some(value) = self.optional(field) else {
            return Ok(Vec::new());
        };
        value.elements("an array of tables")?.iter().map(|element| element.table(field, &mut read)).collect()
    }

    /// Refuses whatever was not taken.
    fn finish(self) -> Result<(), Refusal> {
        let unknown = |name: &str| !self.taken.contains(name);
        match self.entries.iter().find(|(key, _)| unknown(key.get_ref())) {
            None => Ok(()),
            Some((key, _)) => {
                let place = if self.name.is_empty() { String::new() } else { format!(" in [{}]", self.name) };
                let line = self.source.line(key.span().start);
                Err(Refusal::at(
                    Reason::UnknownField,
                    line,
                    format!("The field {}{place} is not known", quote(key.get_ref())),
                ))
            }
        }
    }
}

/// One value, with its place.
#[derive(Clone)]
pub(crate) struct Value<'a> {
    source: &'a Source<'a>,
    table: &'a str,
    field: &'static str,
    span: Range<usize>,
    value: &'a DeValue<'a>,
}

impl<'a> Value<'a> {
    /// Its line.
    pub(crate) fn line(&self) -> u32 {
        self.source.line(self.span.start)
    }

    /// A refusal at its place; `what` follows the field's name.
    pub(crate) fn refuse(&self, reason: Reason, what: impl Display) -> Refusal {
        let dot = if self.table.is_empty() { "" } else { "." };
        Refusal::at(reason, self.line(), format!("`{}{dot}{}` {what}", self.table, self.field))
    }

    fn wrong_type(&self, wanted: &str) -> Refusal {
        self.refuse(
            Reason::WrongType,
            format_args!("is of the type {} where {wanted} is expected", self.value.type_str()),
        )
    }

    /// A text.
    pub(crate) fn text(&self) -> Result<&'a str, Refusal> {
        match self.value {
            DeValue::String(text) => Ok(text),
            _ => Err(self.wrong_type("a text")),
        }
    }

    /// A text that `T` reads.
    pub(crate) fn parsed<T: FromStr<Err: Display>>(&self) -> Result<T, Refusal> {
        let text = self.text()?;
        text.parse().map_err(|fault: T::Err| self.refuse(Reason::BadValue, format_args!("is {}: {fault}", quote(text))))
    }

    /// A text that is one of the named values.
    pub(crate) fn one_of<T: Copy>(&self, known: &[(&str, T)]) -> Result<T, Refusal> {
        let text = self.text()?;
        known.iter().find(|(name, _)| *name == text).map(|(_, value)| *value).ok_or_else(|| {
            let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
            self.refuse(Reason::BadValue, format_args!("is {}; it must be one of: {}", quote(text), names.join(", ")))
        })
    }

    /// A UTC time.
    pub(crate) fn time(&self) -> Result<WallTime, Refusal> {
        let text = self.text()?;
        text.parse().map_err(|_| {
            self.refuse(
                Reason::NotATime,
                format_args!("is {}, which is not a UTC time like 2026-11-22T04:19:00Z", quote(text)),
            )
        })
    }

    /// A count of 0 to 4294967295 in plain decimal digits.
    pub(crate) fn count(&self) -> Result<u32, Refusal> {
        let raw = self.source.text.get(self.span.clone()).unwrap_or_default();
        if !matches!(self.value, DeValue::Integer(_)) {
            return Err(self.wrong_type("a count"));
        }
        let plain = raw.bytes().all(|byte| byte.is_ascii_digit()) && (raw == "0" || !raw.starts_with('0'));
        raw.parse().ok().filter(|_| plain).ok_or_else(|| {
            self.refuse(
                Reason::NotACount,
                format_args!("is {}, which is not a count of 0 to 4294967295 in plain digits", quote(raw)),
            )
        })
    }

    /// A number of 0 to 9223372036854775807, the most of TOML, in plain decimal digits.
    pub(crate) fn number(&self) -> Result<u64, Refusal> {
        let raw = self.source.text.get(self.span.clone()).unwrap_or_default();
        if !matches!(self.value, DeValue::Integer(_)) {
            return Err(self.wrong_type("a number"));
        }
        let plain = raw.bytes().all(|byte| byte.is_ascii_digit()) && (raw == "0" || !raw.starts_with('0'));
        raw.parse().ok().filter(|number| plain && i64::try_from(*number).is_ok()).ok_or_else(|| {
            self.refuse(
                Reason::NotACount,
                format_args!("is {}, which is not a number of 0 to {} in plain digits", quote(raw), i64::MAX),
            )
        })
    }

    /// Yes or no.
    pub(crate) fn flag(&self) -> Result<bool, Refusal> {
        match self.value {
            DeValue::Boolean(flag) => Ok(*flag),
            _ => Err(self.wrong_type("true or false")),
        }
    }

    /// True where it is written as a count.
    pub(crate) fn is_integer(&self) -> bool {
        matches!(self.value, DeValue::Integer(_))
    }

    /// True where it is a table.
    pub(crate) fn is_table(&self) -> bool {
        matches!(self.value, DeValue::Table(_))
    }

    /// A text, or an array of texts that are parts of one.
    pub(crate) fn chunks(&self) -> Result<String, Refusal> {
        match self.value {
            DeValue::String(text) => Ok(text.to_string()),
            DeValue::Array(_) => self.elements("a text or an array of texts")?.iter().map(Value::text).collect(),
            _ => Err(self.wrong_type("a text or an array of texts")),
        }
    }

    /// A SHA-256 digest.
    pub(crate) fn sha256(&self) -> Result<Sha256, Refusal> {
        self.parsed()
    }

    /// A set of texts that `T` reads; one given twice is refused.
    pub(crate) fn set<T: FromStr<Err: Display> + Ord>(&self) -> Result<BTreeSet<T>, Refusal> {
        let mut set = BTreeSet::new();
        for element in self.elements("an array of texts")? {
            if !set.insert(element.parsed()?) {
                return Err(element.refuse(Reason::BadValue, format_args!("names {} twice", quote(element.text()?))));
            }
        }
        Ok(set)
    }

    /// Its elements.
    pub(crate) fn elements(&self, wanted: &str) -> Result<Vec<Value<'a>>, Refusal> {
        let DeValue::Array(array) = self.value else {
            return Err(self.wrong_type(wanted));
        };
        let element = |element: &'a Spanned<DeValue<'a>>| Value {
            span: element.span(),
            value: element.get_ref(),
            ..self.clone()
        };
        Ok(array.iter().map(element).collect())
    }

    /// A table, read by `read`; what it did not take is refused.
    pub(crate) fn table<T>(
        &self,
        name: &str,
        read: impl FnOnce(&mut Table<'_>) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let DeValue::Table(entries) = self.value else {
            return Err(self.wrong_type("a table"));
        };
        let mut table = Table::new(self.source, name, self.span.clone(), entries);
        let value = read(&mut table)?;
        table.finish()?;
        Ok(value)
    }
}
