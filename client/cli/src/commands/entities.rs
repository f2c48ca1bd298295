//! Users, stations, workgroups and organizations: adding, changing, removing, listing and showing them.

use leasehold_proto::v1::{self, entity::Entity, entity_ref};

use super::{Outcome, leases::fetch_leases, text};
use crate::{
    args::{
        subjects::{
            OrganizationCommand, OrganizationFields, RemoveArgs, StationCommand, StationFields, UserCommand,
            UserFields, WorkgroupCommand, WorkgroupFields,
        },
        values::{Name, NameOrNone, Names},
    },
    exit::ExitCode,
    failure::Failure,
    output::Output,
    render::{
        SubjectDocument,
        entities::{
            ChangeDocument, ChangesDocument, EntitiesDocument, EntityDocument, EntityInFullDocument, EntityKind,
        },
    },
    session::{Session, every_page},
};

/// `leasehold user …`.
pub(super) async fn user(command: UserCommand, session: &Session, output: &mut Output) -> Outcome {
    match command {
        UserCommand::Add { name, fields } => add(Entity::User(wire_user(&name, fields)), session, output).await,
        UserCommand::Set { name, fields } => set(Entity::User(wire_user(&name, fields)), session, output).await,
        UserCommand::Rm(args) => remove(args, entity_ref::Entity::User, session, output).await,
        UserCommand::List(args) => {
            list(EntityKind::User, args.contains.as_ref(), args.organization.as_ref(), session, output).await
        }
        UserCommand::Show(args) => show(EntityKind::User, &args.name, session, output).await,
    }
}

/// `leasehold station …`.
pub(super) async fn station(command: StationCommand, session: &Session, output: &mut Output) -> Outcome {
    match command {
        StationCommand::Add { name, fields } => {
            add(Entity::Station(wire_station(&name, fields)), session, output).await
        }
        StationCommand::Set { name, fields } => {
            set(Entity::Station(wire_station(&name, fields)), session, output).await
        }
        StationCommand::Rm(args) => remove(args, entity_ref::Entity::Station, session, output).await,
        StationCommand::List(args) => {
            list(EntityKind::Station, args.contains.as_ref(), args.organization.as_ref(), session, output).await
        }
        StationCommand::Show(args) => show(EntityKind::Station, &args.name, session, output).await,
    }
}

/// `leasehold workgroup …`.
pub(super) async fn workgroup(command: WorkgroupCommand, session: &Session, output: &mut Output) -> Outcome {
    match command {
        WorkgroupCommand::Add { name, fields } => {
            add(Entity::Workgroup(wire_workgroup(&name, fields)), session, output).await
        }
        WorkgroupCommand::Set { name, fields } => {
            set(Entity::Workgroup(wire_workgroup(&name, fields)), session, output).await
        }
        WorkgroupCommand::Rm(args) => remove(args, entity_ref::Entity::Workgroup, session, output).await,
        WorkgroupCommand::List(args) => {
            list(EntityKind::Workgroup, args.contains.as_ref(), None, session, output).await
        }
        WorkgroupCommand::Show(args) => show(EntityKind::Workgroup, &args.name, session, output).await,
    }
}

/// `leasehold org …`.
pub(super) async fn organization(command: OrganizationCommand, session: &Session, output: &mut Output) -> Outcome {
    match command {
        OrganizationCommand::Add { name, fields } => {
            add(Entity::Organization(wire_organization(&name, fields)), session, output).await
        }
        OrganizationCommand::Set { name, fields } => {
            set(Entity::Organization(wire_organization(&name, fields)), session, output).await
        }
        OrganizationCommand::Rm(args) => remove(args, entity_ref::Entity::Organization, session, output).await,
        OrganizationCommand::List(args) => {
            list(EntityKind::Organization, args.contains.as_ref(), None, session, output).await
        }
        OrganizationCommand::Show(args) => show(EntityKind::Organization, &args.name, session, output).await,
    }
}

fn wire_names(names: Option<Names>) -> Option<v1::StringList> {
    names.map(|names| v1::StringList { values: names.wire() })
}

fn wire_name(name: Option<NameOrNone>) -> Option<String> {
    name.map(|name| name.wire())
}

fn wire_user(name: &Name, fields: UserFields) -> v1::User {
    v1::User {
        name: name.to_string(),
        method: fields.method.map(|method| method.as_str().to_owned()),
        organization: wire_name(fields.organization),
        workgroups: wire_names(fields.workgroups),
        interaction_types: wire_names(fields.interaction_types),
        display_name: fields.display_name.map(|name| name.to_string()),
        ..Default::default()
    }
}

fn wire_station(name: &Name, fields: StationFields) -> v1::Station {
    v1::Station {
        name: name.to_string(),
        kind: fields.kind.map(|kind| kind.as_str().to_owned()),
        enabled: fields.enabled,
        organization: wire_name(fields.organization),
        owner: wire_name(fields.owner),
        ..Default::default()
    }
}

fn wire_workgroup(name: &Name, fields: WorkgroupFields) -> v1::Workgroup {
    v1::Workgroup {
        name: name.to_string(),
        service_id: fields.service_id.map(|id| id.to_string()),
        interaction_types: wire_names(fields.interaction_types),
        members: 0,
    }
}

fn wire_organization(name: &Name, fields: OrganizationFields) -> v1::Organization {
    v1::Organization { name: name.to_string(), parent: wire_name(fields.parent), members: 0 }
}

async fn add(entity: Entity, session: &Session, output: &mut Output) -> Outcome {
    let subject = subject_of(&entity);
    let request = session.request(v1::CreateEntityRequest { entity: Some(v1::Entity { entity: Some(entity) }) });
    let answer = session.answer(session.administration().create_entity(request).await)?;
    output.show(&ChangesDocument { changes: vec![ChangeDocument::from_wire("added", subject, answer)] })?;
    Ok(ExitCode::Done)
}

async fn set(entity: Entity, session: &Session, output: &mut Output) -> Outcome {
    if changes_nothing(&entity) {
        return Err(Failure::new(ExitCode::Usage, "nothing to change was given")
            .with_hint("--help lists what can be changed")
            .into());
    }
    let subject = subject_of(&entity);
    let request = session.request(v1::ChangeEntityRequest { entity: Some(v1::Entity { entity: Some(entity) }) });
    let answer = session.answer(session.administration().change_entity(request).await)?;
    output.show(&ChangesDocument { changes: vec![ChangeDocument::from_wire("changed", subject, answer)] })?;
    Ok(ExitCode::Done)
}

fn subject_of(entity: &Entity) -> SubjectDocument {
    let (kind, name) = match entity {
        Entity::User(user) => ("user", &user.name),
        Entity::Station(station) => ("station", &station.name),
        Entity::Workgroup(workgroup) => ("workgroup", &workgroup.name),
        Entity::Organization(organization) => ("organization", &organization.name),
    };
    SubjectDocument { kind, name: name.clone() }
}

fn changes_nothing(entity: &Entity) -> bool {
    match entity {
        Entity::User(user) => *user == v1::User { name: user.name.clone(), ..Default::default() },
        Entity::Station(station) => *station == v1::Station { name: station.name.clone(), ..Default::default() },
        Entity::Workgroup(group) => *group == v1::Workgroup { name: group.name.clone(), ..Default::default() },
        Entity::Organization(organization) => organization.parent.is_none(),
    }
}

async fn remove(
    args: RemoveArgs,
    reference: fn(String) -> entity_ref::Entity,
    session: &Session,
    output: &mut Output,
) -> Outcome {
    let mut changes = Vec::new();
    let mut stopped = None;
    for name in &args.names {
        match remove_one(reference(name.to_string()), session).await {
            Ok(change) => changes.push(change),
            Err(failure) => {
                stopped = Some(failure);
                break;
            }
        }
    }
    let done = changes.len();
    if done > 0 {
        output.show(&ChangesDocument { changes })?;
    }
    match stopped {
        None => Ok(ExitCode::Done),
        Some(failure) if done == 0 => Err(failure.into()),
        Some(mut failure) => {
            let left = args.names.len() - done - 1;
            failure.message = format!("{} ({done} removed before it, {left} not tried)", failure.message);
            failure.exit = ExitCode::PartlyDone;
            Err(failure.into())
        }
    }
}

async fn remove_one(entity: entity_ref::Entity, session: &Session) -> Result<ChangeDocument, Failure> {
    let reference = v1::EntityRef { entity: Some(entity) };
    let subject = SubjectDocument::from_wire(Some(reference.clone()));
    let request = session.request(v1::DeleteEntityRequest { entity: Some(reference) });
    let answer = session.answer(session.administration().delete_entity(request).await)?;
    subject
        .map(|subject| ChangeDocument::from_wire("removed", subject, answer))
        .ok_or_else(|| Failure::new(ExitCode::Usage, "nothing to remove was named"))
}

async fn list(
    kind: EntityKind,
    contains: Option<&Name>,
    organization: Option<&Name>,
    session: &Session,
    output: &mut Output,
) -> Outcome {
    let entities = fetch(kind, text(contains), text(organization), session).await?;
    output.show(&EntitiesDocument { kind, entities })?;
    Ok(ExitCode::Done)
}

async fn show(kind: EntityKind, name: &Name, session: &Session, output: &mut Output) -> Outcome {
    // There is no call for one entity: the list of those whose names contain it has it, and exactly one is it.
    let mut found = fetch(kind, name.to_string(), String::new(), session).await?;
    found.retain(|entity| entity.name() == name.as_str());
    let Some(entity) = found.pop() else {
        let what = kind.one();
        return Err(Failure::new(ExitCode::NotFound, format!("there is no {what} {name}"))
            .with_hint(format!("`leasehold {} list --contains …` finds names", kind.command()))
            .into());
    };
    let filter = match kind {
        EntityKind::User => Some(v1::ListLeasesRequest { user: name.to_string(), ..Default::default() }),
        EntityKind::Station => Some(v1::ListLeasesRequest { station: name.to_string(), ..Default::default() }),
        EntityKind::Workgroup | EntityKind::Organization => None,
    };
    let held_leases = match filter {
        Some(filter) => fetch_leases(filter, session).await?,
        None => Vec::new(),
    };
    output.show(&EntityInFullDocument { entity, held_leases })?;
    Ok(ExitCode::Done)
}

async fn fetch(
    kind: EntityKind,
    name_contains: String,
    organization: String,
    session: &Session,
) -> Result<Vec<EntityDocument>, Failure> {
    let entities = every_page(async |page_token| {
        let request = session.request(v1::ListEntitiesRequest {
            kind: kind.wire().into(),
            name_contains: name_contains.clone(),
            organization: organization.clone(),
            page_token,
            page_size: 0,
        });
        let page = session.answer(session.administration().list_entities(request).await)?;
        Ok((page.entities, page.next_page_token))
    })
    .await?;
    Ok(entities.into_iter().filter_map(|entity| EntityDocument::from_wire(Some(entity))).collect())
}
