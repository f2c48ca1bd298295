//! Activation files as text: strict reading and one way of writing. What must hold beyond single fields is in
//! [`crate::activation_rules`].

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use crate::{
    activation::{
        Activation, FileKind, Grant, HostLine, HostRole, Level, LicenseId, Model, Part, ProductVersion, Superseded,
        Units, VersionRange,
    },
    activation_rules::Lines,
    definition::{Application, Billing, Holder, KeyDefinition, KeyKind, MediaLevel, Role, Terms},
    host::HostId,
    name::Label,
    note::{Note, NoteKind},
    refusal::{Reason, Refusal, quote},
    render::{Text, quoted},
    strict::{Table, Value, read_document},
};

/// The most bytes of an endpoint or destination.
const ADDRESS_MAX_BYTES: usize = 512;

const MODELS: [(&str, Model); 3] =
    [("perpetual", Model::Perpetual), ("subscription", Model::Subscription), ("mixed", Model::Mixed)];
const LEVELS: [(&str, Level); 4] = [
    ("production", Level::Production),
    ("development", Level::Development),
    ("trial", Level::Trial),
    ("evaluation", Level::Evaluation),
];
const FILE_KINDS: [(&str, FileKind); 2] = [("base", FileKind::Base), ("add-on", FileKind::AddOn)];
const HOST_ROLES: [(&str, HostRole); 2] = [("primary", HostRole::Primary), ("switchover", HostRole::Switchover)];
const KEY_KINDS: [(&str, KeyKind); 6] = [
    ("server", KeyKind::Server),
    ("access", KeyKind::Access),
    ("feature", KeyKind::Feature),
    ("engine", KeyKind::Engine),
    ("session", KeyKind::Session),
    ("hardware", KeyKind::Hardware),
];
const HOLDERS: [(&str, Holder); 3] = [("user", Holder::User), ("station", Holder::Station), ("server", Holder::Server)];
const ROLES: [(&str, Role); 7] = [
    ("basic-station", Role::BasicStation),
    ("client", Role::Client),
    ("organization", Role::Organization),
    ("updates", Role::Updates),
    ("usage-upload", Role::UsageUpload),
    ("usage-local", Role::UsageLocal),
    ("virtual-cloud", Role::VirtualCloud),
];
const TERMS: [(&str, Terms); 2] = [("permanent", Terms::Permanent), ("timed", Terms::Timed)];
const BILLINGS: [(&str, Billing); 3] =
    [("none", Billing::None), ("business-user", Billing::BusinessUser), ("agent", Billing::Agent)];

/// The name of a value in a table of names; every value stands in its table.
fn name_of<T: PartialEq>(known: &[(&'static str, T)], value: &T) -> &'static str {
    known.iter().find(|(_, other)| other == value).map_or("", |(name, _)| name)
}

impl Activation {
    /// The text of the activation file, to be signed by [`crate::note::sign`]. [`Self::check`] says whether it will be
    /// accepted.
    pub fn render(&self) -> String {
        let mut text = Text::new(NoteKind::Activation);
        text.text("license-id", self.license_id);
        text.bare("sequence", self.sequence);
        text.text("issued", self.issued);
        text.text("account", &self.account);
        text.text("install-site", &self.install_site);
        text.text("product", &self.product);
        text.text("product-line", &self.product_line);
        let VersionRange { from, through } = self.versions;
        text.bare("versions", format_args!("{{ from = \"{from}\", through = \"{through}\" }}"));
        text.text("model", name_of(&MODELS, &self.model));
        text.text("level", name_of(&LEVELS, &self.level));
        text.text("kind", name_of(&FILE_KINDS, &self.kind));
        text.text_if("system-type", self.system_type.as_ref());
        text.text_if("companion-of", self.companion_of.as_ref());
        text.text("not-before", self.not_before);
        text.text("not-after", self.not_after);
        text.text_if("maintenance-end", self.maintenance_end);
        text.text_if("re-register", self.re_register);
        text.text_if("ramp", self.ramp);
        if let Some(days) = self.grace_days {
            text.bare("grace-days", days);
        }
        text.text_if("check-in-endpoint", self.check_in_endpoint.as_ref());
        text.text_if("usage-destination", self.usage_destination.as_ref());
        text.bare("catalog-version", self.catalog_version);
        text.bare("root-version", self.root_version);
        for superseded in &self.supersedes {
            text.head("[[supersedes]]");
            text.text("license-id", superseded.license_id);
            text.bare("sequence", superseded.sequence);
        }
        for host in &self.hosts {
            text.head("[[host]]");
            text.text("role", name_of(&HOST_ROLES, &host.role));
            text.text_if("machine-name", host.machine_name.as_ref());
            text.bare("need", host.need);
            text.text("id", &host.id);
        }
        for part in &self.parts {
            text.head("[[part]]");
            text.text("number", &part.number);
            text.text("description", &part.description);
            text.bare("assigned", part.assigned);
            text.bare("pooled", part.pooled);
        }
        for grant in &self.grants {
            text.head("[[grant]]");
            text.text("key", &grant.pool);
            match grant.units {
                Units::Count(count) => text.bare("units", count),
                Units::Unlimited => text.text("units", "unlimited"),
            }
        }
        for key in &self.definitions {
            render_definition(&mut text, key);
        }
        text.finish()
    }

    /// Reads and judges the text of an activation file.
    pub(crate) fn parse(text: &str) -> Result<Self, Refusal> {
        let mut lines = Lines::default();
        let activation = read_document(text, |table| read(table, &mut lines))?;
        activation.check_with(&lines)?;
        Ok(activation)
    }

    /// What an activation file says, without asking who signed it: for a licensor's eyes and for tests of the reader.
    /// A daemon takes [`crate::trust::Trust::activation`].
    ///
    /// # Errors
    /// The first fault of the note or its text.
    pub fn read_unverified(bytes: &[u8]) -> Result<Self, Refusal> {
        let note = Note::parse(bytes)?;
        note.expect_kind(NoteKind::Activation)?;
        Self::parse(note.text)
    }
}

fn render_definition(text: &mut Text, key: &KeyDefinition) {
    text.head("[[key]]");
    text.text("name", &key.name);
    if key.title.as_str() != key.name.as_str() {
        text.text("title", &key.title);
    }
    text.text("kind", name_of(&KEY_KINDS, &key.kind));
    if key.holders.is_empty() {
        text.bare("holders", "[]");
    }
    text.list("holders", key.holders.iter().map(|holder| name_of(&HOLDERS, holder)));
    text.list("includes", &key.includes);
    text.list("requires", &key.requires);
    text.list("replaces", &key.replaces);
    if let Some(application) = &key.application {
        let several = if application.several { ", several = true" } else { "" };
        text.bare("application", format_args!("{{ name = {}{several} }}", quoted(application.name.as_str())));
    }
    text.text_if("role", key.role.map(|role| name_of(&ROLES, &role)));
    text.text_if("group", key.group.as_ref());
    if key.terms != Terms::default() {
        text.text("terms", name_of(&TERMS, &key.terms));
    }
    match &key.billing {
        Billing::None => {}
        Billing::AddOn(category) => text.bare("billing", format_args!("{{ add-on = {} }}", quoted(category.as_str()))),
        other => text.text("billing", name_of(&BILLINGS, other)),
    }
    text.flag("supervisor", key.supervisor);
    text.flag("call-port", key.call_port);
    match key.level {
        None => {}
        Some(MediaLevel::One) => text.bare("level", 1),
        Some(MediaLevel::Two) => text.bare("level", 2),
        Some(MediaLevel::Unlimited) => text.text("level", "unlimited"),
    }
    text.text_if("follows", key.follows.as_ref());
    text.list("aliases", &key.aliases);
}

fn read(table: &mut Table<'_>, lines: &mut Lines) -> Result<Activation, Refusal> {
    table.required("format")?.one_of(&[(NoteKind::Activation.format(), ())])?;
    let sequence = table.required("sequence")?;
    if sequence.count()? == 0 {
        return Err(sequence.refuse(Reason::BadValue, "is 0; sequences begin at 1"));
    }
    let not_after = table.required("not-after")?;
    lines.not_after = Some(not_after.line());
    let label = |value: Option<Value<'_>>| value.map(|value| value.parsed::<Label>()).transpose();
    let time = |value: Option<Value<'_>>| value.map(|value| value.time()).transpose();
    let address = |value: Option<Value<'_>>| value.map(|value| address(&value)).transpose();
    let (ramp, grace_days) = (table.optional("ramp"), table.optional("grace-days"));
    lines.ramp = ramp.as_ref().map(Value::line);
    lines.grace_days = grace_days.as_ref().map(Value::line);
    Ok(Activation {
        license_id: LicenseId(uuid(&table.required("license-id")?)?),
        sequence: sequence.count()?,
        issued: table.required("issued")?.time()?,
        account: table.required("account")?.parsed()?,
        install_site: table.required("install-site")?.parsed()?,
        product: table.required("product")?.parsed()?,
        product_line: table.required("product-line")?.parsed()?,
        versions: versions(&table.required("versions")?)?,
        model: table.required("model")?.one_of(&MODELS)?,
        level: table.required("level")?.one_of(&LEVELS)?,
        kind: table.required("kind")?.one_of(&FILE_KINDS)?,
        system_type: label(table.optional("system-type"))?,
        companion_of: label(table.optional("companion-of"))?,
        not_before: table.required("not-before")?.time()?,
        not_after: not_after.time()?,
        maintenance_end: time(table.optional("maintenance-end"))?,
        re_register: time(table.optional("re-register"))?,
        ramp: time(ramp)?,
        grace_days: grace_days.map(|value| value.count()).transpose()?,
        check_in_endpoint: address(table.optional("check-in-endpoint"))?,
        usage_destination: address(table.optional("usage-destination"))?,
        catalog_version: table.required("catalog-version")?.count()?,
        root_version: table.required("root-version")?.count()?,
        supersedes: supersedes(table)?,
        hosts: table.tables("host", |table| {
            lines.hosts.push(table.line());
            host(table)
        })?,
        parts: table.tables("part", part)?,
        grants: table.tables("grant", |table| {
            lines.grants.push(table.line());
            grant(table)
        })?,
        definitions: table.tables("key", |table| {
            lines.definitions.push(table.line());
            definition(table)
        })?,
    })
}

/// A license ID in its one spelling: lower case, with hyphens.
pub(crate) fn uuid(value: &Value<'_>) -> Result<Uuid, Refusal> {
    let text = value.text()?;
    let uuid = Uuid::try_parse(text).ok().filter(|uuid| uuid.to_string() == text);
    uuid.ok_or_else(|| {
        value.refuse(
            Reason::BadValue,
            format_args!("is {}, which is not a UUID in lower case with hyphens", quote(text)),
        )
    })
}

/// A host ID, in one text or in chunks.
pub(crate) fn host_id(value: &Value<'_>) -> Result<HostId, Refusal> {
    value.chunks()?.parse().map_err(|fault| value.refuse(Reason::BadHostId, format_args!("is not a host ID: {fault}")))
}

fn address(value: &Value<'_>) -> Result<String, Refusal> {
    let text = value.text()?;
    let good = !text.is_empty()
        && text.len() <= ADDRESS_MAX_BYTES
        && !text.contains(|c: char| c.is_whitespace() || c.is_control());
    if good {
        return Ok(text.to_owned());
    }
    Err(value.refuse(
        Reason::BadValue,
        format_args!("is {}, which is not an address of 1 to {ADDRESS_MAX_BYTES} bytes without blanks", quote(text)),
    ))
}

fn versions(value: &Value<'_>) -> Result<VersionRange, Refusal> {
    let range = value.table("versions", |table| {
        let (from, through): (ProductVersion, ProductVersion) =
            (table.required("from")?.parsed()?, table.required("through")?.parsed()?);
        Ok(VersionRange { from, through })
    })?;
    if range.through < range.from {
        return Err(value.refuse(Reason::BadValue, format_args!("runs from {} back to {}", range.from, range.through)));
    }
    Ok(range)
}

fn supersedes(table: &mut Table<'_>) -> Result<BTreeSet<Superseded>, Refusal> {
    let mut by_license = BTreeMap::new();
    table.tables("supersedes", |table| {
        let id = table.required("license-id")?;
        let license_id = LicenseId(uuid(&id)?);
        let sequence = table.required("sequence")?.count()?;
        match by_license.insert(license_id, sequence) {
            None => Ok(()),
            Some(_) => Err(Refusal::at(
                Reason::DuplicateSupersedes,
                id.line(),
                format!("The license {license_id} is superseded twice"),
            )),
        }
    })?;
    Ok(by_license.into_iter().map(|(license_id, sequence)| Superseded { license_id, sequence }).collect())
}

fn host(table: &mut Table<'_>) -> Result<HostLine, Refusal> {
    let need = table.required("need")?;
    let count = need.count()?;
    Ok(HostLine {
        role: table.required("role")?.one_of(&HOST_ROLES)?,
        id: host_id(&table.required("id")?)?,
        need: u8::try_from(count).ok().filter(|need| (1..=5).contains(need)).ok_or_else(|| {
            need.refuse(Reason::NeedOutOfRange, format_args!("is {count}; of the five factors, 1 to 5 can be needed"))
        })?,
        machine_name: table.optional("machine-name").map(|value| value.parsed()).transpose()?,
    })
}

fn part(table: &mut Table<'_>) -> Result<Part, Refusal> {
    Ok(Part {
        number: table.required("number")?.parsed()?,
        description: table.required("description")?.parsed()?,
        assigned: table.required("assigned")?.count()?,
        pooled: table.required("pooled")?.count()?,
    })
}

fn grant(table: &mut Table<'_>) -> Result<Grant, Refusal> {
    let units = table.required("units")?;
    let units = if units.is_integer() {
        Units::Count(units.count()?)
    } else {
        units.one_of(&[("unlimited", Units::Unlimited)])?
    };
    Ok(Grant { pool: table.required("key")?.parsed()?, units })
}

fn definition(table: &mut Table<'_>) -> Result<KeyDefinition, Refusal> {
    let name = table.required("name")?;
    let title = table.optional("title").unwrap_or_else(|| name.clone());
    let set = |value: Option<Value<'_>>| value.map_or_else(|| Ok(BTreeSet::new()), |value| value.set());
    let flag = |value: Option<Value<'_>>| value.map_or(Ok(false), |value| value.flag());
    Ok(KeyDefinition {
        title: title.parsed()?,
        name: name.parsed()?,
        kind: table.required("kind")?.one_of(&KEY_KINDS)?,
        holders: holders(&table.required("holders")?)?,
        includes: set(table.optional("includes"))?,
        requires: set(table.optional("requires"))?,
        replaces: set(table.optional("replaces"))?,
        application: table
            .optional("application")
            .map(|value| value.table("key.application", application))
            .transpose()?,
        role: table.optional("role").map(|value| value.one_of(&ROLES)).transpose()?,
        group: table.optional("group").map(|value| value.parsed()).transpose()?,
        terms: table.optional("terms").map_or(Ok(Terms::default()), |value| value.one_of(&TERMS))?,
        billing: table.optional("billing").map_or(Ok(Billing::None), |value| billing(&value))?,
        supervisor: flag(table.optional("supervisor"))?,
        call_port: flag(table.optional("call-port"))?,
        level: table.optional("level").map(|value| media_level(&value)).transpose()?,
        follows: table.optional("follows").map(|value| value.parsed()).transpose()?,
        aliases: set(table.optional("aliases"))?,
    })
}

fn holders(value: &Value<'_>) -> Result<BTreeSet<Holder>, Refusal> {
    let mut holders = BTreeSet::new();
    for element in value.elements("an array of texts")? {
        if !holders.insert(element.one_of(&HOLDERS)?) {
            return Err(element.refuse(Reason::BadValue, format_args!("names {} twice", quote(element.text()?))));
        }
    }
    Ok(holders)
}

fn application(table: &mut Table<'_>) -> Result<Application, Refusal> {
    let several = table.optional("several").map_or(Ok(false), |value| value.flag())?;
    Ok(Application { name: table.required("name")?.parsed()?, several })
}

fn billing(value: &Value<'_>) -> Result<Billing, Refusal> {
    if value.is_table() {
        return value.table("key.billing", |table| Ok(Billing::AddOn(table.required("add-on")?.parsed()?)));
    }
    let names = BILLINGS.each_ref().map(|(name, billing)| (*name, billing));
    value.one_of(&names).cloned()
}

fn media_level(value: &Value<'_>) -> Result<MediaLevel, Refusal> {
    if !value.is_integer() {
        return value.one_of(&[("unlimited", MediaLevel::Unlimited)]);
    }
    match value.count()? {
        1 => Ok(MediaLevel::One),
        2 => Ok(MediaLevel::Two),
        other => Err(value.refuse(Reason::BadValue, format_args!("is {other}; it must be 1, 2 or \"unlimited\""))),
    }
}
