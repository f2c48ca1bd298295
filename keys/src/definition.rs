//! Key definitions: what each license key means (01, Key definitions). They are compiled by the licensor from a product
//! catalog and travel inside the activation file, under the same signature as the grants. The daemon knows no product
//! by name.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::name::{KeyName, Label};

/// What sort of right a key is (004, server license attributes).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyKind {
    /// Lets a subsystem start; held by the site (SITE-2).
    Server,
    /// Lets a user or station use a set of capabilities.
    Access,
    /// Switches a capability of the site on (SITE-1).
    Feature,
    /// Limits a resource that the system uses; counted in units (SITE-5).
    Engine,
    /// Lets an application connect for a purpose; counted in units (SITE-5).
    Session,
    /// Lets hardware be used; counted in units (SITE-5).
    Hardware,
}

impl KeyKind {
    /// Held by the site as a whole: licensed or not (SITE-1).
    pub const fn is_site_wide(self) -> bool {
        matches!(self, KeyKind::Server | KeyKind::Feature)
    }

    /// Taken in units by an application server (SITE-5).
    pub const fn is_counted(self) -> bool {
        matches!(self, KeyKind::Engine | KeyKind::Session | KeyKind::Hardware)
    }
}

/// The sorts of subject that may hold a key (ALLOC-4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Holder {
    /// A person who logs on.
    User,
    /// A workstation, phone, fax, remote phone or device.
    Station,
    /// An application server itself, or the site.
    Server,
}

/// The part that a key plays in the rules. The rules name 004's keys for the reader; the daemon goes by the role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Every active station but a device needs it (STATION-1).
    BasicStation,
    /// A remote station needs it for a user's logon; a dynamic remote logon does not (STATION-3, STATION-4).
    Client,
    /// Each organization takes one (SITE-3).
    Organization,
    /// Answers whether a version may be installed (SITE-4).
    Updates,
    /// Usage is collected and uploaded (USAGE-1, USAGE-2).
    UsageUpload,
    /// Usage is collected and kept for a manual upload (USAGE-2).
    UsageLocal,
    /// No host binding; check-ins and upload are required instead (02, 05).
    VirtualCloud,
}

/// The application that a key belongs to, and whether a user may hold several of its permanent keys (000).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Application {
    /// The application's name.
    pub name: Label,
    /// True: may stand beside other keys of the application that may as well.
    pub several: bool,
}

/// Whether an assignment of the key carries an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Terms {
    /// Assigned until it is unassigned.
    #[default]
    Permanent,
    /// Each assignment names its end.
    Timed,
}

/// The usage category of a key (004, Categories and licenses).
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Billing {
    /// Not billed by use.
    #[default]
    None,
    /// A business user, where no agent key is held.
    BusinessUser,
    /// An agent.
    Agent,
    /// An agent with this add-on category.
    AddOn(Label),
}

/// How many interaction types a media key covers (MEDIA-1). Ordered: the higher covers more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MediaLevel {
    /// One type.
    One,
    /// Two types.
    Two,
    /// Any number of types.
    Unlimited,
}

/// Everything that the rules need to know of one key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyDefinition {
    /// The key's own name.
    pub name: KeyName,
    /// What people call it, such as "Interaction Tracker". At most 256 bytes.
    pub title: Label,
    /// What sort of right it is.
    pub kind: KeyKind,
    /// Which subjects may hold it (ALLOC-4). Never empty.
    pub holders: BTreeSet<Holder>,
    /// Keys whose rights come with it, transitively, without a seat in their pools. Never itself, never in a circle.
    pub includes: BTreeSet<KeyName>,
    /// Keys that must be effective for the same subject, or licensed for the site where they are site-wide or counted
    /// keys, before this one has effect. Never itself, never in a circle.
    pub requires: BTreeSet<KeyName>,
    /// Keys unassigned when this one is assigned under automatic license management (ADMIN-6).
    pub replaces: BTreeSet<KeyName>,
    /// Its application, where it has one.
    pub application: Option<Application>,
    /// Its part in the rules, where it plays one.
    pub role: Option<Role>,
    /// The heading of license metrics under which it is counted (001): `users`, `clients`, `supervisor`, `devices`.
    pub group: Option<Label>,
    /// Permanent or timed assignments.
    pub terms: Terms,
    /// Its usage category.
    pub billing: Billing,
    /// Refused from enforcement stage 4 (05).
    pub supervisor: bool,
    /// Limited in enforcement stages 5 and 6, and in the unlicensed state (01, Levels).
    pub call_port: bool,
    /// For media keys: how many interaction types (MEDIA-1).
    pub level: Option<MediaLevel>,
    /// For a device's key: a device whose owner effectively holds this other key takes this device key (STATION-5).
    pub follows: Option<KeyName>,
    /// Other names of the same key.
    pub aliases: BTreeSet<KeyName>,
}
