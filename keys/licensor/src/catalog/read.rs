//! Reads a catalog's text field by field. A faulty field is reported and read as its default, so that one pass finds
//! everything; a catalog with any fault is never handed out. What fields mean to each other is checked in `check`.

use std::collections::{BTreeMap, BTreeSet};

use leasehold_keys::{
    activation::{Level, ProductVersion, VersionRange},
    definition::{Application, Billing, Holder, KeyDefinition, KeyKind, MediaLevel, Role, Terms},
    name::{KeyName, Label, PoolName},
};
use toml::de::DeTable;

use super::{
    Catalog, CatalogFault, DevelopmentSize, Evaluation, PartDefinition, ServerItem, check,
    walk::{Fields, Spot, Walk, marks},
};

/// The first field of every catalog.
const FORMAT: &str = "leasehold/catalog/1";

/// The words for levels, as in activation files.
const LEVELS: [(&str, Level); 4] = [
    ("production", Level::Production),
    ("development", Level::Development),
    ("trial", Level::Trial),
    ("evaluation", Level::Evaluation),
];

pub(super) fn catalog(text: &str) -> Result<Catalog, Vec<CatalogFault>> {
    let mut walk = Walk::new(text);
    let (document, syntax) = DeTable::parse_recoverable(text);
    for fault in &syntax {
        walk.syntax(fault);
    }
    // What a broken document says cannot be relied on: only the breaks are reported.
    if syntax.is_empty() {
        let marks = marks(document.get_ref());
        if let Some(mut catalog) = (Reader { walk: &mut walk }).catalog(Fields::root(document.get_ref())) {
            check::whole(&mut walk, &marks, &mut catalog);
            let faults = walk.into_faults();
            return if faults.is_empty() { Ok(catalog) } else { Err(faults) };
        }
    }
    Err(walk.into_faults())
}

struct Reader<'w, 't> {
    walk: &'w mut Walk<'t>,
}

impl Reader<'_, '_> {
    /// `None` only where a name that must be there is not, and has no default.
    fn catalog(&mut self, mut root: Fields<'_>) -> Option<Catalog> {
        if let Some(spot) = root.required(self.walk, "format") {
            spot.word(self.walk, &[(FORMAT, ())]);
        }
        let product: Option<Label> = self.name(&mut root, "product");
        let product_line: Option<Label> = self.name(&mut root, "product-line");
        let companion_of = self.optional_name(&mut root, "companion-of");
        let version = root.required(self.walk, "version").and_then(|spot| spot.count(self.walk)).unwrap_or(1);
        let versions = root.required(self.walk, "versions").and_then(|spot| self.versions(&spot));
        let levels = self.levels(&mut root);
        let server_items = self.section(&mut root, "server-item", Self::server_item);
        let parts = self.section(&mut root, "part", Self::part);
        let evaluations = self.section(&mut root, "evaluation", Self::evaluation);
        let keys = self.section(&mut root, "key", |reader, fields, name: &KeyName| reader.key(fields, name));
        root.end(self.walk);
        let zero: Option<ProductVersion> = "0".parse().ok();
        let versions = match (versions, zero) {
            (Some(versions), _) => versions,
            (None, Some(zero)) => VersionRange { from: zero, through: zero },
            (None, None) => return None,
        };
        let product = product.or_else(|| "?".parse().ok())?;
        let product_line = product_line.or_else(|| "?".parse().ok())?;
        Some(Catalog {
            product,
            product_line,
            companion_of,
            version,
            versions,
            levels,
            server_items,
            parts,
            evaluations,
            keys,
            aliases: BTreeMap::new(),
        })
    }

    fn name<T>(&mut self, fields: &mut Fields<'_>, field: &str) -> Option<T>
    where
        T: std::str::FromStr,
        T::Err: std::fmt::Display,
    {
        fields.required(self.walk, field)?.parse(self.walk)
    }

    fn optional_name(&mut self, fields: &mut Fields<'_>, field: &str) -> Option<Label> {
        fields.optional(field)?.parse(self.walk)
    }

    /// A table of named tables.
    fn section<N, T>(
        &mut self,
        root: &mut Fields<'_>,
        section: &str,
        mut read: impl FnMut(&mut Self, &mut Fields<'_>, &N) -> Option<T>,
    ) -> BTreeMap<N, T>
    where
        N: std::str::FromStr + Ord,
        N::Err: std::fmt::Display,
    {
        let mut found = BTreeMap::new();
        let Some(mut all) = root.optional(section).and_then(|spot| spot.fields(self.walk)) else {
            return found;
        };
        for (text, spot) in all.rest() {
            let name = match text.parse::<N>() {
                Ok(name) => name,
                Err(fault) => {
                    self.walk.fault(&spot.at, format!("`{text}` cannot be a name: {fault}"));
                    continue;
                }
            };
            let Some(mut fields) = spot.fields(self.walk) else {
                continue;
            };
            if let Some(value) = read(self, &mut fields, &name) {
                found.insert(name, value);
            }
            fields.end(self.walk);
        }
        found
    }

    fn versions(&mut self, spot: &Spot<'_>) -> Option<VersionRange> {
        let mut fields = spot.fields(self.walk)?;
        let from = self.name(&mut fields, "from");
        let through = self.name(&mut fields, "through");
        fields.end(self.walk);
        let range = VersionRange { from: from?, through: through? };
        if range.from > range.through {
            self.walk.fault(&spot.at, format!("`from` {} lies above `through` {}", range.from, range.through));
        }
        Some(range)
    }

    fn levels(&mut self, root: &mut Fields<'_>) -> Vec<Level> {
        let Some(spot) = root.required(self.walk, "levels") else {
            return Vec::new();
        };
        let mut levels = Vec::new();
        for item in spot.items(self.walk) {
            let Some(level) = item.word(self.walk, &LEVELS) else {
                continue;
            };
            if levels.contains(&level) {
                self.walk.fault(&item.at, "the same level twice");
            }
            levels.push(level);
        }
        if levels.is_empty() {
            self.walk.fault(&spot.at, "names no level; a product without any cannot be issued");
        }
        levels
    }

    fn grants(&mut self, fields: &mut Fields<'_>, field: &str) -> BTreeMap<PoolName, u32> {
        let mut grants = BTreeMap::new();
        let Some(mut pools) = fields.optional(field).and_then(|spot| spot.fields(self.walk)) else {
            return grants;
        };
        for (text, spot) in pools.rest() {
            let units = spot.count(self.walk).unwrap_or(1);
            match text.parse::<PoolName>() {
                Ok(pool) => _ = grants.insert(pool, units),
                Err(fault) => self.walk.fault(&spot.at, format!("`{text}` is no name of a pool: {fault}")),
            }
        }
        grants
    }

    fn server_item(&mut self, fields: &mut Fields<'_>, _: &Label) -> Option<ServerItem> {
        let title = self.name(fields, "title");
        let grants = self.grants(fields, "grants");
        if grants.is_empty() {
            self.walk.fault(&fields.at, "grants nothing; give `grants` with a server key");
        }
        let switchover_grants = self.grants(fields, "switchover-grants");
        let sizes = [("small", DevelopmentSize::Small), ("large", DevelopmentSize::Large)];
        let development = fields.optional("development").and_then(|spot| spot.word(self.walk, &sizes));
        Some(ServerItem { title: title?, grants, switchover_grants, development })
    }

    fn part(&mut self, fields: &mut Fields<'_>, _: &Label) -> Option<PartDefinition> {
        let description = self.name(fields, "description");
        let assigned = self.grants(fields, "assigned");
        let pooled = self.grants(fields, "pooled");
        if assigned.is_empty() && pooled.is_empty() {
            self.walk.fault(&fields.at, "grants nothing; give `assigned`, `pooled` or both");
        }
        Some(PartDefinition { description: description?, assigned, pooled })
    }

    fn evaluation(&mut self, fields: &mut Fields<'_>, _: &Label) -> Option<Evaluation> {
        let title = self.name(fields, "title");
        let days = fields.required(self.walk, "days").and_then(|spot| spot.count(self.walk)).unwrap_or(1);
        let grants = self.grants(fields, "grants");
        if grants.is_empty() {
            self.walk.fault(&fields.at, "grants nothing; give `grants`");
        }
        Some(Evaluation { title: title?, days, grants })
    }

    /// `None` only for a key without a readable title, which nothing can stand in for.
    fn key(&mut self, fields: &mut Fields<'_>, name: &KeyName) -> Option<KeyDefinition> {
        let title: Label = self.name(fields, "title").or_else(|| name.as_str().parse().ok())?;
        let kinds = [
            ("server", KeyKind::Server),
            ("access", KeyKind::Access),
            ("feature", KeyKind::Feature),
            ("engine", KeyKind::Engine),
            ("session", KeyKind::Session),
            ("hardware", KeyKind::Hardware),
        ];
        let kind = fields.required(self.walk, "kind").and_then(|spot| spot.word(self.walk, &kinds));
        let roles = [
            ("basic-station", Role::BasicStation),
            ("client", Role::Client),
            ("organization", Role::Organization),
            ("updates", Role::Updates),
            ("usage-upload", Role::UsageUpload),
            ("usage-local", Role::UsageLocal),
            ("virtual-cloud", Role::VirtualCloud),
        ];
        let terms = [("permanent", Terms::Permanent), ("timed", Terms::Timed)];
        let kind = kind.unwrap_or(KeyKind::Access);
        Some(KeyDefinition {
            name: name.clone(),
            title,
            kind,
            holders: self.holders(fields, kind),
            includes: self.names(fields, "includes"),
            requires: self.names(fields, "requires"),
            replaces: self.names(fields, "replaces"),
            application: self.application(fields),
            role: fields.optional("role").and_then(|spot| spot.word(self.walk, &roles)),
            group: self.optional_name(fields, "group"),
            terms: fields.optional("terms").and_then(|spot| spot.word(self.walk, &terms)).unwrap_or_default(),
            billing: fields.optional("billing").and_then(|spot| self.billing(&spot)).unwrap_or_default(),
            supervisor: fields.optional("supervisor").and_then(|spot| spot.flag(self.walk)).unwrap_or_default(),
            call_port: fields.optional("call-port").and_then(|spot| spot.flag(self.walk)).unwrap_or_default(),
            level: fields.optional("level").and_then(|spot| self.media_level(&spot)),
            follows: fields.optional("follows").and_then(|spot| spot.parse(self.walk)),
            aliases: self.names(fields, "aliases"),
        })
    }

    /// Where the catalog names none: user and station for access keys, server for all others.
    fn holders(&mut self, fields: &mut Fields<'_>, kind: KeyKind) -> BTreeSet<Holder> {
        let words = [("user", Holder::User), ("station", Holder::Station), ("server", Holder::Server)];
        let Some(spot) = fields.optional("holders") else {
            return match kind {
                KeyKind::Access => [Holder::User, Holder::Station].into(),
                _ => [Holder::Server].into(),
            };
        };
        let holders: BTreeSet<_> =
            spot.items(self.walk).iter().filter_map(|item| item.word(self.walk, &words)).collect();
        if holders.is_empty() {
            self.walk.fault(&spot.at, "names nobody; a key that none can hold is no use");
        }
        holders
    }

    fn names(&mut self, fields: &mut Fields<'_>, field: &str) -> BTreeSet<KeyName> {
        let mut names = BTreeSet::new();
        let Some(spot) = fields.optional(field) else {
            return names;
        };
        for item in spot.items(self.walk) {
            let Some(name) = item.parse::<KeyName>(self.walk) else {
                continue;
            };
            if !names.insert(name.clone()) {
                self.walk.fault(&item.at, format!("{name} stands here twice"));
            }
        }
        names
    }

    fn application(&mut self, fields: &mut Fields<'_>) -> Option<Application> {
        let spot = fields.optional("application")?;
        if spot.is_text() {
            return Some(Application { name: spot.parse(self.walk)?, several: false });
        }
        let mut fields = spot.fields(self.walk)?;
        let name = self.name(&mut fields, "name");
        let several = fields.optional("several").and_then(|spot| spot.flag(self.walk)).unwrap_or_default();
        fields.end(self.walk);
        Some(Application { name: name?, several })
    }

    fn billing(&mut self, spot: &Spot<'_>) -> Option<Billing> {
        if !spot.is_table() {
            let words = [("none", 0), ("business-user", 1), ("agent", 2)];
            return Some(match spot.word(self.walk, &words)? {
                0 => Billing::None,
                1 => Billing::BusinessUser,
                _ => Billing::Agent,
            });
        }
        let mut fields = spot.fields(self.walk)?;
        let add_on = self.name(&mut fields, "add-on");
        fields.end(self.walk);
        add_on.map(Billing::AddOn)
    }

    fn media_level(&mut self, spot: &Spot<'_>) -> Option<MediaLevel> {
        if spot.is_text() {
            return spot.word(self.walk, &[("unlimited", MediaLevel::Unlimited)]);
        }
        let level = match spot.count(self.walk)? {
            1 => Some(MediaLevel::One),
            2 => Some(MediaLevel::Two),
            _ => None,
        };
        if level.is_none() {
            self.walk.fault(&spot.at, "is not 1, 2 or \"unlimited\"");
        }
        level
    }
}
