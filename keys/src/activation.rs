//! The activation file's terms: what was bought, for which hosts, from when to when (02, The activation file).

use std::{collections::BTreeSet, fmt};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    definition::KeyDefinition,
    name::{Label, PoolName},
    time::WallTime,
};

/// A license's identity, stable over re-issues.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LicenseId(pub Uuid);

impl fmt::Display for LicenseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How it is paid for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Model {
    /// Bought once.
    Perpetual,
    /// Paid by use.
    Subscription,
    /// Some of each.
    Mixed,
}

/// What the system may be used for (LEVEL-1 to LEVEL-4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// LEVEL-1.
    Production,
    /// LEVEL-2: leases end hourly.
    Development,
    /// LEVEL-3: ends 60 days after issue.
    Trial,
    /// LEVEL-4: takes no add-ons.
    Evaluation,
}

/// Whether the file stands alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileKind {
    /// One per product at a time.
    Base,
    /// Adds to the base file of the same product.
    AddOn,
}

/// Units of a grant or a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Units {
    /// So many.
    Count(u32),
    /// As many as are used (ALLOC-12).
    Unlimited,
}

impl fmt::Display for Units {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Units::Count(count) => count.fmt(f),
            Units::Unlimited => f.write_str("unlimited"),
        }
    }
}

/// Units of one pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// The pool they go to.
    pub pool: PoolName,
    /// How many.
    pub units: Units,
}

/// A product version: numbers with dots, compared part by part, missing parts as 0. 1 to 4 parts of 0 to 65535.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ProductVersion([u16; 4]);

impl std::str::FromStr for ProductVersion {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refuse =
            || format!("`{}` is not a version like 4.0 or 2020.2.1", text.chars().take(40).collect::<String>());
        let mut parts = [0_u16; 4];
        for (count, part) in text.split('.').enumerate() {
            let plain = !part.is_empty() && part.len() <= 5 && part.bytes().all(|b| b.is_ascii_digit());
            let slot = parts.get_mut(count).filter(|_| plain).ok_or_else(refuse)?;
            *slot = part.parse().map_err(|_| refuse())?;
        }
        Ok(Self(parts))
    }
}

impl TryFrom<String> for ProductVersion {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<ProductVersion> for String {
    fn from(version: ProductVersion) -> Self {
        version.to_string()
    }
}

impl fmt::Display for ProductVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ProductVersion([a, b, c, d]) = self;
        match (c, d) {
            (0, 0) => write!(f, "{a}.{b}"),
            (_, 0) => write!(f, "{a}.{b}.{c}"),
            _ => write!(f, "{a}.{b}.{c}.{d}"),
        }
    }
}

/// The versions that a file covers, both ends included (SITE-6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct VersionRange {
    /// The oldest.
    pub from: ProductVersion,
    /// The newest.
    pub through: ProductVersion,
}

impl VersionRange {
    /// True where `version` lies in the range.
    pub fn covers(&self, version: ProductVersion) -> bool {
        self.from <= version && version <= self.through
    }
}

impl fmt::Display for VersionRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}", self.from, self.through)
    }
}

/// The part that a server plays in a switchover pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HostRole {
    /// Serves.
    Primary,
    /// Stands by until it is promoted.
    Switchover,
}

/// One server that the file is bound to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostLine {
    /// Its part.
    pub role: HostRole,
    /// Its host ID, as `leasehold host-id` prints it.
    pub id: crate::host::HostId,
    /// How many of the five factors must match: 1 to 5, default 3.
    pub need: u8,
    /// What people call the machine.
    pub machine_name: Option<Label>,
}

/// A part as it was ordered; shown to people only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// The part number, such as `SW-001-4.0-AL04`.
    pub number: Label,
    /// What it is.
    pub description: Label,
    /// Units taken as assigned licenses.
    pub assigned: u32,
    /// Units taken as pooled (concurrent) licenses.
    pub pooled: u32,
}

/// A file that this one takes the place of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Superseded {
    /// Its license ID; may be another than the file's own.
    pub license_id: LicenseId,
    /// Its highest sequence that is superseded; below the file's own sequence where the license ID is the same.
    pub sequence: u32,
}

/// Everything that an activation file says.
///
/// A file without grants is a deactivation: it closes its license ID.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Activation {
    /// Stable over re-issues.
    pub license_id: LicenseId,
    /// Rises with each re-issue; from 1.
    pub sequence: u32,
    /// What it takes the place of, besides lower sequences of its own license ID.
    pub supersedes: BTreeSet<Superseded>,
    /// When the licensor issued it.
    pub issued: WallTime,
    /// The customer.
    pub account: Label,
    /// The customer's site.
    pub install_site: Label,
    /// The product, such as `CIC`. One base file at a time for each.
    pub product: Label,
    /// The product line, such as `PureConnect`.
    pub product_line: Label,
    /// The versions that it covers (SITE-6).
    pub versions: VersionRange,
    /// How it is paid for.
    pub model: Model,
    /// What it may be used for.
    pub level: Level,
    /// Base or add-on.
    pub kind: FileKind,
    /// Such as `Media Server Based` (004).
    pub system_type: Option<Label>,
    /// For a server that serves another product's server, as a media server does: that product. Virtual cloud here
    /// needs virtual cloud there (02).
    pub companion_of: Option<Label>,
    /// Grants count from here.
    pub not_before: WallTime,
    /// Grants count until here; 2100-01-01 for perpetual.
    pub not_after: WallTime,
    /// The last release date that may be installed (SITE-4).
    pub maintenance_end: Option<WallTime>,
    /// Passing it warns, no more (LEVEL-1).
    pub re_register: Option<WallTime>,
    /// Enforcement begins here (05); midnight UTC.
    pub ramp: Option<WallTime>,
    /// Length of an enforcement stage in days (05); 1 or more.
    pub grace_days: Option<u32>,
    /// Where the site checks in (05).
    pub check_in_endpoint: Option<String>,
    /// Where usage files go (04).
    pub usage_destination: Option<String>,
    /// The servers that it is bound to; at most one of each role.
    pub hosts: Vec<HostLine>,
    /// What was ordered, for people.
    pub parts: Vec<Part>,
    /// What is granted; each pool at most once.
    pub grants: Vec<Grant>,
    /// The definitions of every key that is granted or referred to; each name and alias at most once.
    pub definitions: Vec<KeyDefinition>,
    /// The version of the catalog that the definitions come from; the highest wins over several files.
    pub catalog_version: u32,
    /// The root version whose keys signed it; a daemon with an older root says which root to drop in.
    pub root_version: u32,
}

impl Activation {
    /// True for a file that closes its license ID.
    pub fn is_deactivation(&self) -> bool {
        self.grants.is_empty()
    }
}
