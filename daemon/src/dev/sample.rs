//! The sample site of `leaseholdd dev`: users, stations, a workgroup and organizations, made through the same commands that
//! an administrator's tool sends.

use leasehold_engine::{
    command::{Act, Assign, Command, Entity, EntityName},
    decision::{Administered, Reply},
    ids::Identity,
    refusal::Refusal,
    row::StationKind,
};
use leasehold_keys::name::{Label, Method};

use super::vendor::label;
use crate::core::{Core, Refused};

/// Agents, who take concurrent seats.
pub(super) const AGENTS: u32 = 60;
/// Agents with the tracker key as well.
pub(super) const TRACKERS: u32 = 20;
/// Managers, who have assigned seats.
pub(super) const MANAGERS: u32 = 5;
/// Managers with the supervisor key as well.
pub(super) const SUPERVISORS: u32 = 2;
/// Workstations; with the remote station they take every basic station seat.
pub(super) const WORKSTATIONS: u32 = 39;

pub(super) const CLIENT: &str = "I3_ACCESS_CLIENT";
pub(super) const MEDIA: &str = "I3_ACCESS_ACD_MEDIA_1";
pub(super) const TRACKER: &str = "I3_ACCESS_TRACKER";
pub(super) const SUPERVISOR: &str = "I3_ACCESS_WORKGROUP_SUPERVISOR_PLUGIN";
/// A key of call ports.
pub(super) const CALLS: &str = "I3_SESSION_CALL";
pub(super) const STATION: &str = "I3_LICENSE_BASIC_STATION";

/// Organizations, each with the one above it.
const ORGANIZATIONS: [(&str, Option<&str>); 3] =
    [("example", None), ("north", Some("example")), ("south", Some("example"))];

/// Why the sample site was not made.
#[derive(Debug, thiserror::Error)]
pub enum SampleFault {
    /// The core does not answer, or refuses.
    #[error("the sample site cannot be made: {0}")]
    Refused(#[from] Refused),
    /// A key could not be given.
    #[error("the sample site cannot be made: {key} cannot be given to {subject}: {why}")]
    NotGiven {
        /// The key.
        key: Label,
        /// To whom.
        subject: String,
        /// Why.
        why: String,
    },
}

/// Makes the sample site. What is there already, from an earlier run in the same folder, stays as it is.
pub(super) async fn make(core: &Core) -> Result<(), SampleFault> {
    for (name, parent) in ORGANIZATIONS {
        create(core, Entity::Organization { name: label(name), parent: parent.map(label) }).await?;
    }
    create(core, Entity::Workgroup { name: label("sales"), service_id: None, types: vec![label("call")] }).await?;
    for number in 1..=AGENTS {
        let organization = if number <= AGENTS / 2 { "north" } else { "south" };
        create(core, user("agent", number, Method::Concurrent, organization)).await?;
    }
    for number in 1..=MANAGERS {
        create(core, user("manager", number, Method::Assignable, "example")).await?;
    }
    for number in 1..=WORKSTATIONS {
        create(core, station(numbered("station", 3, number), StationKind::Workstation)).await?;
    }
    create(core, station(remote(), StationKind::Remote)).await?;

    let agents = |most| users("agent", most);
    give(core, agents(AGENTS), &[CLIENT, MEDIA]).await?;
    give(core, agents(TRACKERS), &[TRACKER]).await?;
    give(core, users("manager", MANAGERS), &[CLIENT]).await?;
    give(core, users("manager", SUPERVISORS), &[SUPERVISOR]).await?;
    let stations = (1..=WORKSTATIONS).map(|number| EntityName::Station(numbered("station", 3, number))).collect();
    give(core, stations, &[STATION]).await?;
    // STATION-3: a remote station holds the client key too.
    give(core, vec![EntityName::Station(remote())], &[STATION, CLIENT]).await
}

fn user(kind: &str, number: u32, method: Method, organization: &str) -> Entity {
    let agent = kind == "agent";
    Entity::User {
        name: user_name(kind, number),
        display_name: None,
        method,
        organization: Some(label(organization)),
        workgroups: if agent { vec![label("sales")] } else { Vec::new() },
        types: if agent { vec![label("call")] } else { Vec::new() },
    }
}

fn station(name: Label, kind: StationKind) -> Entity {
    Entity::Station { name, kind, enabled: true, organization: Some(label("example")), owner: None }
}

fn users(kind: &str, most: u32) -> Vec<EntityName> {
    (1..=most).map(|number| EntityName::User(user_name(kind, number))).collect()
}

/// `agent-001`, `manager-01`.
pub(super) fn user_name(kind: &str, number: u32) -> Label {
    numbered(kind, if kind == "manager" { 2 } else { 3 }, number)
}

fn numbered(kind: &str, digits: usize, number: u32) -> Label {
    label(&format!("{kind}-{number:0digits$}"))
}

fn remote() -> Label {
    label("remote-01")
}

async fn create(core: &Core, entity: Entity) -> Result<(), SampleFault> {
    match administer(core, Act::Create(entity)).await {
        Ok(_) | Err(Refused::Rule(Refusal::AlreadyExists { .. })) => Ok(()),
        Err(refused) => Err(refused.into()),
    }
}

async fn give(core: &Core, subjects: Vec<EntityName>, keys: &[&str]) -> Result<(), SampleFault> {
    let keys = keys.iter().map(|key| label(key)).collect();
    let assign = Assign { subjects, keys, give: true, best_effort: false, dry_run: false, until: None };
    let done = administer(core, Act::Assign(assign)).await?;
    match done.assignments.into_iter().find_map(|outcome| Some((outcome.key, outcome.subject, outcome.result.err()?))) {
        None => Ok(()),
        Some((key, subject, refusal)) => {
            Err(SampleFault::NotGiven { key, subject: shown(&subject), why: refusal.message() })
        }
    }
}

fn shown(subject: &EntityName) -> String {
    match subject {
        EntityName::User(name) => format!("user {name}"),
        EntityName::Station(name) => format!("station {name}"),
        EntityName::Workgroup(name) => format!("workgroup {name}"),
        EntityName::Organization(name) => format!("organization {name}"),
    }
}

/// As an administrator on this machine would: by this process's own user.
async fn administer(core: &Core, act: Act) -> Result<Administered, Refused> {
    let by = Identity::Uid(rustix::process::geteuid().as_raw());
    match core.submit(Command::Administer { by, act }).await? {
        Reply::Administered(done) => Ok(done),
        // The engine answers an act in no other way.
        _ => Ok(Administered::default()),
    }
}
