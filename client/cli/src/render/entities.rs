//! Users, stations, workgroups and organizations: lists, one in full, and changes.

use leasehold_proto::v1;
use serde::Serialize;

use super::{
    Document, NoticeDocument, SubjectDocument,
    assignments::{AssignmentDocument, write_assignments},
    given,
    leases::{HeldLeaseDocument, write_leases},
    or_empty,
    page::{Page, Tone, counted},
    table::Cell,
};

/// A user.
#[derive(Clone, Debug, Serialize)]
pub struct UserDocument {
    /// The name.
    pub name: String,
    /// The name shown to people.
    pub display_name: Option<String>,
    /// `assignable` or `concurrent`.
    pub method: String,
    /// The organization.
    pub organization: Option<String>,
    /// The workgroups.
    pub workgroups: Vec<String>,
    /// The configured interaction types, in order of preference.
    pub interaction_types: Vec<String>,
    /// Live leases.
    pub leases: u32,
    /// The keys given to the user.
    pub assignments: Vec<AssignmentDocument>,
}

/// A station.
#[derive(Clone, Debug, Serialize)]
pub struct StationDocument {
    /// The name.
    pub name: String,
    /// `workstation`, `managed-workstation`, `standalone-fax`, `standalone-phone`, `remote`, `dynamic-remote`, `device`.
    pub station_kind: String,
    /// Whether it may be used.
    pub enabled: bool,
    /// The organization.
    pub organization: Option<String>,
    /// The user that a device belongs to.
    pub owner: Option<String>,
    /// The keys given to the station.
    pub assignments: Vec<AssignmentDocument>,
}

/// A workgroup.
#[derive(Clone, Debug, Serialize)]
pub struct WorkgroupDocument {
    /// The name.
    pub name: String,
    /// The ID by which the contact center knows it.
    pub service_id: Option<String>,
    /// The interaction types that it routes.
    pub interaction_types: Vec<String>,
    /// How many users are in it.
    pub members: u32,
}

/// An organization.
#[derive(Clone, Debug, Serialize)]
pub struct OrganizationDocument {
    /// The name.
    pub name: String,
    /// The organization above it; null for a top.
    pub parent: Option<String>,
    /// How many users and stations are in it.
    pub members: u32,
}

/// Any of the four, told apart by `kind`.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum EntityDocument {
    /// A user.
    User(UserDocument),
    /// A station.
    Station(StationDocument),
    /// A workgroup.
    Workgroup(WorkgroupDocument),
    /// An organization.
    Organization(OrganizationDocument),
}

impl EntityDocument {
    /// From the wire; `None` where it is none of the four.
    #[must_use]
    pub fn from_wire(entity: Option<v1::Entity>) -> Option<Self> {
        use v1::entity::Entity;
        let values = |list: Option<v1::StringList>| list.map_or_else(Vec::new, |list| list.values);
        let assignments =
            |list: Vec<v1::Assignment>| list.into_iter().filter_map(AssignmentDocument::from_wire).collect();
        Some(match entity?.entity? {
            Entity::User(user) => Self::User(UserDocument {
                name: user.name,
                display_name: user.display_name.and_then(given),
                method: user.method.unwrap_or_default(),
                organization: user.organization.and_then(given),
                workgroups: values(user.workgroups),
                interaction_types: values(user.interaction_types),
                leases: user.leases,
                assignments: assignments(user.assignments),
            }),
            Entity::Station(station) => Self::Station(StationDocument {
                name: station.name,
                station_kind: station.kind.unwrap_or_default(),
                enabled: station.enabled.unwrap_or(true),
                organization: station.organization.and_then(given),
                owner: station.owner.and_then(given),
                assignments: assignments(station.assignments),
            }),
            Entity::Workgroup(workgroup) => Self::Workgroup(WorkgroupDocument {
                name: workgroup.name,
                service_id: workgroup.service_id.and_then(given),
                interaction_types: values(workgroup.interaction_types),
                members: workgroup.members,
            }),
            Entity::Organization(organization) => Self::Organization(OrganizationDocument {
                name: organization.name,
                parent: organization.parent.and_then(given),
                members: organization.members,
            }),
        })
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::User(user) => &user.name,
            Self::Station(station) => &station.name,
            Self::Workgroup(workgroup) => &workgroup.name,
            Self::Organization(organization) => &organization.name,
        }
    }

    fn cells(&self) -> Vec<Cell> {
        match self {
            Self::User(user) => vec![
                Cell::text(&user.name),
                Cell::prose(or_empty(&user.display_name)),
                Cell::text(&user.method),
                Cell::text(or_empty(&user.organization)),
                Cell::prose(user.workgroups.join(", ")),
                Cell::prose(user.interaction_types.join(", ")),
                Cell::number_or_dim(user.leases, Tone::Good),
                Cell::prose(keys_text(&user.assignments)),
            ],
            Self::Station(station) => vec![
                Cell::text(&station.name),
                Cell::text(&station.station_kind),
                if station.enabled { Cell::text("enabled") } else { Cell::text("disabled").tone(Tone::Warn) },
                Cell::text(or_empty(&station.organization)),
                Cell::text(or_empty(&station.owner)),
                Cell::prose(keys_text(&station.assignments)),
            ],
            Self::Workgroup(workgroup) => vec![
                Cell::text(&workgroup.name),
                Cell::text(or_empty(&workgroup.service_id)),
                Cell::prose(workgroup.interaction_types.join(", ")),
                Cell::number_or_dim(workgroup.members, Tone::Plain),
            ],
            Self::Organization(organization) => vec![
                Cell::text(&organization.name),
                Cell::text(or_empty(&organization.parent)),
                Cell::number_or_dim(organization.members, Tone::Plain),
            ],
        }
    }

    fn write_in_full(&self, page: &mut Page<'_>) {
        match self {
            Self::User(user) => page.fields(&[
                ("User", user.name.clone()),
                ("Display name", or_empty(&user.display_name).to_owned()),
                ("Method", user.method.clone()),
                ("Organization", or_empty(&user.organization).to_owned()),
                ("Workgroups", user.workgroups.join(", ")),
                ("Interaction types", user.interaction_types.join(", ")),
            ]),
            Self::Station(station) => page.fields(&[
                ("Station", station.name.clone()),
                ("Kind", station.station_kind.clone()),
                ("State", if station.enabled { "enabled" } else { "disabled" }.to_owned()),
                ("Organization", or_empty(&station.organization).to_owned()),
                ("Owner", or_empty(&station.owner).to_owned()),
            ]),
            Self::Workgroup(workgroup) => page.fields(&[
                ("Workgroup", workgroup.name.clone()),
                ("Service ID", or_empty(&workgroup.service_id).to_owned()),
                ("Interaction types", workgroup.interaction_types.join(", ")),
                ("Members", workgroup.members.to_string()),
            ]),
            Self::Organization(organization) => page.fields(&[
                ("Organization", organization.name.clone()),
                ("Below", or_empty(&organization.parent).to_owned()),
                ("Members", organization.members.to_string()),
            ]),
        }
    }
}

/// The keys of a row; those without effect are marked.
fn keys_text(assignments: &[AssignmentDocument]) -> String {
    let keys: Vec<String> = assignments
        .iter()
        .map(|given| if given.active { given.key.clone() } else { format!("{} (inactive)", given.key) })
        .collect();
    keys.join(", ")
}

/// Which of the four a list is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntityKind {
    /// Users.
    User,
    /// Stations.
    Station,
    /// Workgroups.
    Workgroup,
    /// Organizations.
    Organization,
}

impl EntityKind {
    /// As it is on the wire.
    #[must_use]
    pub const fn wire(self) -> v1::EntityKind {
        match self {
            Self::User => v1::EntityKind::User,
            Self::Station => v1::EntityKind::Station,
            Self::Workgroup => v1::EntityKind::Workgroup,
            Self::Organization => v1::EntityKind::Organization,
        }
    }

    /// The name of one.
    #[must_use]
    pub const fn one(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Station => "station",
            Self::Workgroup => "workgroup",
            Self::Organization => "organization",
        }
    }

    /// The name of many, which is the field of the list in JSON.
    #[must_use]
    pub const fn many(self) -> &'static str {
        match self {
            Self::User => "users",
            Self::Station => "stations",
            Self::Workgroup => "workgroups",
            Self::Organization => "organizations",
        }
    }

    /// The command of this program.
    #[must_use]
    pub const fn command(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Station => "station",
            Self::Workgroup => "workgroup",
            Self::Organization => "org",
        }
    }

    const fn headings(self) -> &'static [&'static str] {
        match self {
            Self::User => &["USER", "DISPLAY NAME", "METHOD", "ORGANIZATION", "WORKGROUPS", "TYPES", "LEASES", "KEYS"],
            Self::Station => &["STATION", "KIND", "STATE", "ORGANIZATION", "OWNER", "KEYS"],
            Self::Workgroup => &["WORKGROUP", "SERVICE ID", "TYPES", "MEMBERS"],
            Self::Organization => &["ORGANIZATION", "BELOW", "MEMBERS"],
        }
    }
}

/// The document of `leasehold user list` and its like: one field, named for what the list is of.
#[derive(Clone, Debug)]
pub struct EntitiesDocument {
    /// What the list is of.
    pub kind: EntityKind,
    /// The entities.
    pub entities: Vec<EntityDocument>,
}

impl Serialize for EntitiesDocument {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap;
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry(self.kind.many(), &self.entities)?;
        map.end()
    }
}

impl Document for EntitiesDocument {
    fn write_text(&self, page: &mut Page<'_>) {
        if self.entities.is_empty() {
            page.line(&format!("no {} found", self.kind.many()));
            return;
        }
        page.table(self.kind.headings(), self.entities.iter().map(EntityDocument::cells).collect());
    }
}

/// The document of `leasehold user show` and its like.
#[derive(Clone, Debug, Serialize)]
pub struct EntityInFullDocument {
    /// The entity.
    #[serde(flatten)]
    pub entity: EntityDocument,
    /// Its live leases (users and stations).
    pub held_leases: Vec<HeldLeaseDocument>,
}

impl Document for EntityInFullDocument {
    fn write_text(&self, page: &mut Page<'_>) {
        self.entity.write_in_full(page);
        let assignments = match &self.entity {
            EntityDocument::User(user) => &user.assignments,
            EntityDocument::Station(station) => &station.assignments,
            EntityDocument::Workgroup(_) | EntityDocument::Organization(_) => return,
        };
        page.gap();
        if assignments.is_empty() {
            page.line("no keys are given to it");
        } else {
            write_assignments(assignments, false, page);
        }
        page.gap();
        if self.held_leases.is_empty() {
            page.line("no live leases");
        } else {
            write_leases(&self.held_leases, page);
        }
    }
}

/// The document of `add`, `set` and `rm`.
#[derive(Clone, Debug, Serialize)]
pub struct ChangesDocument {
    /// What was changed, in the order asked.
    pub changes: Vec<ChangeDocument>,
}

/// One change.
#[derive(Clone, Debug, Serialize)]
pub struct ChangeDocument {
    /// `added`, `changed` or `removed`.
    pub change: &'static str,
    /// What it is about.
    pub subject: SubjectDocument,
    /// The entity as it is now; null where it is gone.
    pub entity: Option<EntityDocument>,
    /// What wants attention, such as a station without its basic station key (STATION-2).
    pub warnings: Vec<NoticeDocument>,
    /// The same in a sentence, with what else followed from it.
    pub message: String,
}

impl ChangeDocument {
    /// From the wire.
    #[must_use]
    pub fn from_wire(change: &'static str, subject: SubjectDocument, answer: v1::EntityResponse) -> Self {
        let message =
            given(answer.message).unwrap_or_else(|| format!("{} {} is {change}.", subject.kind, subject.name));
        Self {
            change,
            subject,
            entity: EntityDocument::from_wire(answer.entity),
            warnings: answer.warnings.into_iter().map(Into::into).collect(),
            message,
        }
    }
}

impl Document for ChangesDocument {
    fn write_text(&self, page: &mut Page<'_>) {
        for change in &self.changes {
            page.line(&change.message);
            for warning in &change.warnings {
                page.marked(Tone::Warn, "warning", &warning.message);
            }
        }
        if self.changes.len() > 10 {
            page.line(&format!("{} in all", counted(self.changes.len() as u64, "change", "changes")));
        }
    }
}
