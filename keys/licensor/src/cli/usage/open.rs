//! `licensor usage open`: what usage files say, for people, programs and spreadsheets.

use std::path::Path;

use jiff::tz::TimeZone;
use leasehold_keys::{
    activation::HostRole,
    time::WallTime,
    usage::{self, End, Header, Item, KeySet, Names, SegmentFile, UsagePrivateKey},
};
use licensor::{
    billing::{Category, Count, Counts, Tally, Tariff},
    reading::{self, Source},
    workshop::Workshop,
};
use serde_json::{Value, json};

use super::{
    super::{
        args::UsageFormat,
        exit::{Exit, Fault},
        table::Table,
    },
    exact, hours, license_words, on_the_wall,
};

pub(super) fn run(workshop: &Workshop, files: &[Source], format: UsageFormat) -> Result<(), Fault> {
    let keys = workshop.usage_keys()?;
    let mut faults = Vec::new();
    match format {
        UsageFormat::Json => say_part!("["),
        UsageFormat::Csv => say!("file,license,installation,segment,record,event,at,user,sessions,keys,remark"),
        UsageFormat::Text => {}
    }
    for (index, source) in files.iter().enumerate() {
        let bytes = reading::read(source)?;
        let path = &source.shown();
        let shown = match usage::salvage(&bytes) {
            Ok(file) => {
                let shown = Shown { path, file: &file, keys: &keys, workshop };
                if index > 0 && format == UsageFormat::Text {
                    say!();
                }
                match format {
                    UsageFormat::Text => shown.text()?,
                    UsageFormat::Json => {
                        say_part!("{}\n", if index == 0 { "" } else { "," });
                        shown.json()?
                    }
                    UsageFormat::Csv => shown.csv(),
                }
            }
            Err(damage) => Some(damage.to_string()),
        };
        faults.extend(shown.map(|fault| format!("{}: {fault}", path.display())));
    }
    if format == UsageFormat::Json {
        say!("\n]");
    }
    match &faults[..] {
        [] => Ok(()),
        [one] => Err(Fault::new(Exit::Refused, one.clone())),
        many => Err(Fault::new(
            Exit::Refused,
            format!(
                "{} files could not be read to their end:{}",
                many.len(),
                many.iter().map(|fault| format!("\n  - {fault}")).collect::<String>()
            ),
        )),
    }
}

/// A file being shown. Each way of showing gives what is wrong with it, once all that is whole is printed.
struct Shown<'a> {
    path: &'a Path,
    file: &'a SegmentFile<'a>,
    keys: &'a [UsagePrivateKey],
    workshop: &'a Workshop,
}

impl Shown<'_> {
    fn header(&self) -> &Header {
        self.file.header()
    }

    /// Each record's items in turn.
    fn each(&self, mut show: impl FnMut(u64, &[Item])) -> Option<String> {
        let mut fault = self.file.damage().map(ToString::to_string);
        match reading::records(self.file, self.keys) {
            Ok(records) => {
                for record in records {
                    match record {
                        Ok(record) => show(record.record, &record.items),
                        Err(damage) => fault = Some(damage.to_string()),
                    }
                }
            }
            Err(why) => fault = Some(why),
        }
        fault
    }

    fn text(&self) -> Result<Option<String>, Fault> {
        let header = self.header();
        let id = header.installation.id();
        let issued = self.workshop.ledger().file(header.license, None)?;
        let machine = self.workshop.ledger().machine_names()?.remove(&id.to_string());
        say!("{}", self.path.display());
        let mut table = Table::new(&[]);
        let mut line = |field: &str, value: String| table.row([format!("  {field}"), value]);
        line("license", license_words(header.license, issued.as_ref()));
        let machine = machine.map_or(String::new(), |machine| format!(", {machine}"));
        let role = header.role.map_or(String::new(), |role| format!(", {}", role_word(role)));
        line("installation", format!("{id}{machine}{role}"));
        line("segment", format!("{}, begun by {}", header.segment, header.begun));
        let end = match self.file.end() {
            End::Closed(clocks) => format!("closed {}", clocks.trusted),
            End::Open => "not closed".to_owned(),
            End::Torn(torn) => format!("torn in record {}: {}", torn.record, torn.what),
        };
        line("time", format!("{} UTC, {end}", header.start.trusted));
        let off_ms = header.start.wall.as_ms().saturating_sub(header.start.trusted.as_ms());
        if off_ms.abs() >= 1_000 {
            line("wall clock", format!("{} at that moment", header.start.wall));
        }
        line(
            "users",
            match header.names {
                Names::Plain => "by name".to_owned(),
                Names::Pseudonyms(key) => format!("by pseudonyms of the customer's key {key}"),
            },
        );
        say_part!("{table}");
        say!();

        // Where nothing can be opened, nothing is counted, and least of all zeros.
        if let Err(why) = reading::records(self.file, self.keys) {
            say!("NOT OPENED. {why}");
            return Ok(Some(why));
        }
        let tariff = self.workshop.tariff(header.license)?;
        let until = self.until();
        let mut tally = Tally::new(header.start.trusted..until, tariff.clone());
        let mut counted = tally.open(id, header.start.trusted);
        let mut table = Table::new(&["AT (UTC)", "EVENT", "USER", "SESSIONS", "COUNTS AS", "KEYS"]);
        let (mut logons, mut logoffs, mut events) = (0_u64, 0_u64, 0_u64);
        let fault = self.each(|_, items| {
            counted.take(items);
            for item in items {
                events += 1;
                logons += u64::from(matches!(item, Item::Logon { .. }));
                logoffs += u64::from(matches!(item, Item::Logoff { .. }));
                table.row(row(item, &tariff));
            }
        });
        counted.close(fault.is_none());
        match &fault {
            Some(why) if events == 0 => {
                say!("NOT READ. {why}");
                return Ok(fault);
            }
            _ if events == 0 => say!("Nobody was logged on."),
            Some(why) => {
                say_part!("{table}");
                say!("NOT READ TO ITS END. {why}");
            }
            None => say_part!("{table}"),
        }
        tally.cut(id, until);
        say!();
        summary(&tally.finish(), logons, logoffs);
        Ok(fault)
    }

    /// When it ends, or a moment after all that it tells.
    fn until(&self) -> WallTime {
        let start = self.header().start.trusted;
        match self.file.end() {
            End::Closed(clocks) => clocks.trusted,
            End::Open | End::Torn(_) => {
                let mut latest = start;
                self.each(|_, items| {
                    let told = items.iter().filter(|item| !matches!(item, Item::Present { .. })).map(Item::at).max();
                    latest = told.map_or(latest, |told| latest.max(told));
                });
                latest.plus_ms(1)
            }
        }
    }

    fn json(&self) -> Result<Option<String>, Fault> {
        let header = self.header();
        let mut items = Vec::new();
        let fault = self.each(|record, told| items.extend(told.iter().map(|item| item_json(record, item))));
        let end = match self.file.end() {
            End::Closed(clocks) => json!({ "closed": exact(clocks.trusted) }),
            End::Open => json!({ "closed": null }),
            End::Torn(torn) => json!({ "closed": null, "torn-record": torn.record, "torn": torn.what }),
        };
        let value = json!({
            "file": self.path, "license-id": header.license.to_string(),
            "installation-id": header.installation.id().to_string(), "role": header.role.map(role_word),
            "segment": header.segment, "begun": header.begun.to_string(),
            "start": exact(header.start.trusted), "start-wall": exact(header.start.wall), "end": end,
            "records": self.file.records(), "head": self.file.head().to_string(),
            "pseudonym-key": match header.names {
                Names::Plain => None,
                Names::Pseudonyms(key) => Some(key.to_string()),
            },
            "items": items, "damage": fault,
        });
        say_part!("{value:#}");
        Ok(fault)
    }

    fn csv(&self) -> Option<String> {
        let header = self.header();
        let (license, installation) = (header.license.to_string(), header.installation.id().to_string());
        let (file, segment) = (self.path.display().to_string(), header.segment.to_string());
        self.each(|record, items| {
            for item in items {
                let (keys, remark) = match item {
                    Item::Remark(remark) => (String::new(), format!("{}: {}", remark.code, remark.text)),
                    _ => (item.keys().map_or(String::new(), |keys| joined(keys, ";")), String::new()),
                };
                let fields = [
                    file.clone(),
                    license.clone(),
                    installation.clone(),
                    segment.clone(),
                    record.to_string(),
                    item.kind().to_owned(),
                    exact(item.at()),
                    item.user().map_or(String::new(), ToString::to_string),
                    item.counter().map_or(String::new(), |counter| counter.to_string()),
                    keys,
                    remark,
                ];
                say!("{}", fields.map(|field| csv_field(&field)).join(","));
            }
        })
    }
}

/// A line of the table.
fn row(item: &Item, tariff: &Tariff) -> [String; 6] {
    let at = on_the_wall(item.at(), &TimeZone::UTC);
    match item {
        Item::Remark(remark) => {
            [at, "remark".to_owned(), String::new(), String::new(), remark.code.to_string(), remark.text.clone()]
        }
        _ => {
            let categories = item.keys().map(|keys| tariff.categories(keys)).unwrap_or_default();
            let categories: Vec<String> = categories.iter().map(Category::to_string).collect();
            [
                if matches!(item, Item::Present { .. }) { format!("since {at}") } else { at },
                item.kind().to_owned(),
                item.user().map_or(String::new(), ToString::to_string),
                item.counter().map_or(String::new(), |counter| counter.to_string()),
                if categories.is_empty() { "-".to_owned() } else { categories.join(", ") },
                item.keys().map_or(String::new(), |keys| joined(keys, " ")),
            ]
        }
    }
}

fn summary(counts: &Counts, logons: u64, logoffs: u64) {
    say!("Summary: {logons} logons, {logoffs} logoffs");
    let mut table = Table::new(&["  CATEGORY", "USERS", "MOST AT ONCE", "FIRST AT (UTC)", "USER-HOURS"]);
    let mut row = |name: String, count: &Count| {
        table.row([
            format!("  {name}"),
            count.users.to_string(),
            count.peak.to_string(),
            count.peak_at.map_or(String::new(), |at| on_the_wall(at, &TimeZone::UTC)),
            hours(count.user_ms),
        ]);
    };
    for (category, count) in &counts.categories {
        row(category.to_string(), count);
    }
    row("(anyone)".to_owned(), &counts.anyone);
    say_part!("{table}");
    if !counts.unknown_keys.is_empty() {
        let keys: Vec<_> = counts.unknown_keys.iter().map(ToString::to_string).collect();
        say!("  Counted as nothing, since neither the license's files nor a catalog knows them: {}", keys.join(", "));
    }
}

fn item_json(record: u64, item: &Item) -> Value {
    let mut value = json!({ "record": record, "event": item.kind(), "at": exact(item.at()) });
    match item {
        Item::Remark(remark) => {
            value["remark"] = json!(remark.code.to_string());
            value["text"] = json!(remark.text);
        }
        _ => {
            value["user"] = json!(item.user().map(ToString::to_string));
            value["sessions"] = json!(item.counter());
            let keys: Vec<_> = item.keys().into_iter().flat_map(KeySet::iter).map(ToString::to_string).collect();
            value["keys"] = json!(keys);
        }
    }
    value
}

fn joined(keys: &KeySet, by: &str) -> String {
    keys.iter().map(ToString::to_string).collect::<Vec<_>>().join(by)
}

/// A field as RFC 4180 has it.
fn csv_field(text: &str) -> String {
    if text.contains(['"', ',', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
}

const fn role_word(role: HostRole) -> &'static str {
    match role {
        HostRole::Primary => "primary",
        HostRole::Switchover => "switchover",
    }
}
