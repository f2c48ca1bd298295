//! Giving keys to users and stations, taking them away, and listing who was given what.

use std::collections::BTreeSet;

use leasehold_proto::v1::{self, entity_ref::Entity};

use super::{Outcome, audit::wire_time, mixed, subjects_file, text};
use crate::{
    args::subjects::{AssignArgs, AssignmentsArgs, KeysAndSubjects, UnassignArgs},
    exit::ExitCode,
    failure::Failure,
    output::Output,
    render::{
        At,
        assignments::{AssignDocument, AssignmentDocument, AssignmentsDocument, Direction, OutcomeDocument},
    },
    session::{Session, every_page},
};

/// The most pairs of subject and key in one call.
const PAIRS_LIMIT: usize = 10_000;

struct Pairs {
    subjects: Vec<v1::EntityRef>,
    keys: Vec<String>,
}

/// `leasehold assign`.
pub(super) async fn assign(args: AssignArgs, session: &Session, output: &mut Output) -> Outcome {
    let until = match args.until {
        Some(until) => {
            let at = until.resolve(output.clock());
            Some(At(at.map_err(|message| Failure::new(ExitCode::Usage, format!("--until: {message}")))?))
        }
        None => None,
    };
    let (best_effort, dry_run) = (args.pairs.best_effort, args.pairs.dry_run);
    let pairs = pairs(&args.pairs, output)?;
    let request = session.request(v1::AssignRequest {
        subjects: pairs.subjects,
        keys: pairs.keys,
        best_effort,
        dry_run,
        until: until.map(wire_time),
    });
    let answer = session.answer(session.administration().assign(request).await)?;
    conclude(Direction::Assign, answer, dry_run, until, output)
}

/// `leasehold unassign`.
pub(super) async fn unassign(args: UnassignArgs, session: &Session, output: &mut Output) -> Outcome {
    let (best_effort, dry_run) = (args.pairs.best_effort, args.pairs.dry_run);
    let pairs = pairs(&args.pairs, output)?;
    let request =
        session.request(v1::UnassignRequest { subjects: pairs.subjects, keys: pairs.keys, best_effort, dry_run });
    let answer = session.answer(session.administration().unassign(request).await)?;
    conclude(Direction::Unassign, answer, dry_run, None, output)
}

/// The subjects in the order given, each once, and the keys likewise.
fn pairs(args: &KeysAndSubjects, output: &mut Output) -> Result<Pairs, Failure> {
    let is_stdin = |path: &Option<std::path::PathBuf>| path.as_deref() == Some(std::path::Path::new("-"));
    if is_stdin(&args.users_from) && is_stdin(&args.stations_from) {
        return Err(Failure::new(ExitCode::Usage, "standard input can be read once: users or stations, not both"));
    }
    let mut users = args.users.clone();
    if let Some(path) = &args.users_from {
        users.extend(subjects_file::read(path, output)?);
    }
    let mut stations = args.stations.clone();
    if let Some(path) = &args.stations_from {
        stations.extend(subjects_file::read(path, output)?);
    }
    let mut seen = BTreeSet::new();
    let mut subjects = Vec::new();
    for (is_user, name) in users.iter().map(|name| (true, name)).chain(stations.iter().map(|name| (false, name))) {
        if seen.insert((is_user, name.as_str())) {
            let entity = if is_user { Entity::User(name.to_string()) } else { Entity::Station(name.to_string()) };
            subjects.push(v1::EntityRef { entity: Some(entity) });
        }
    }
    if subjects.is_empty() {
        return Err(Failure::new(ExitCode::Usage, "no users and no stations were given: the list is empty"));
    }
    let mut seen = BTreeSet::new();
    let keys: Vec<String> = args.keys.iter().filter(|key| seen.insert(key.as_str())).map(ToString::to_string).collect();
    let count = subjects.len().saturating_mul(keys.len());
    if count > PAIRS_LIMIT {
        let message = format!("{count} pairs of subject and key are more than the {PAIRS_LIMIT} that go at once");
        return Err(Failure::new(ExitCode::Usage, message).with_hint("split the list, or use fewer keys in a run"));
    }
    Ok(Pairs { subjects, keys })
}

fn conclude(
    action: Direction,
    answer: v1::AssignResponse,
    dry_run: bool,
    until: Option<At>,
    output: &mut Output,
) -> Outcome {
    let outcomes: Vec<OutcomeDocument> = answer.outcomes.into_iter().filter_map(OutcomeDocument::from_wire).collect();
    let refusals: Vec<_> = outcomes.iter().filter_map(|outcome| outcome.refusal.clone()).collect();
    let changed = outcomes.iter().filter(|outcome| outcome.changed && outcome.refusal.is_none()).count() as u64;
    let refused = refusals.len() as u64;
    let applied = answer.applied && !dry_run;
    let document = AssignDocument {
        action,
        applied,
        dry_run,
        changed,
        unchanged: outcomes.len() as u64 - changed - refused,
        refused,
        until,
        outcomes,
    };
    output.show(&document)?;
    if refusals.is_empty() {
        return Ok(ExitCode::Done);
    }
    let done = if applied || dry_run { document.changed + document.unchanged } else { 0 };
    let codes: Vec<u8> = refusals.iter().map(|refusal| refusal.exit_code).collect();
    let exit = mixed(done, &codes);
    let pairs = document.outcomes.len();
    Err(super::told_refusals(refusals, pairs, document.stopped(), exit).into())
}

/// `leasehold assignments`.
pub(super) async fn list(args: AssignmentsArgs, session: &Session, output: &mut Output) -> Outcome {
    let subject = match (&args.user, &args.station) {
        (Some(user), _) => Some(Entity::User(user.to_string())),
        (None, Some(station)) => Some(Entity::Station(station.to_string())),
        (None, None) => None,
    };
    let subject = subject.map(|entity| v1::EntityRef { entity: Some(entity) });
    let assignments = fetch(text(args.key.as_ref()), subject, session).await?;
    output.show(&AssignmentsDocument { assignments })?;
    Ok(ExitCode::Done)
}

async fn fetch(
    key: String,
    subject: Option<v1::EntityRef>,
    session: &Session,
) -> Result<Vec<AssignmentDocument>, Failure> {
    let assignments = every_page(async |page_token| {
        let request = session.request(v1::ListAssignmentsRequest {
            key: key.clone(),
            subject: subject.clone(),
            page_token,
            page_size: 0,
        });
        let page = session.answer(session.administration().list_assignments(request).await)?;
        Ok((page.assignments, page.next_page_token))
    })
    .await?;
    Ok(assignments.into_iter().filter_map(AssignmentDocument::from_wire).collect())
}
