//! How the site stands with its licensor, check-ins now, and check-ins by file.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
};

use leasehold_proto::v1;

use super::{Outcome, audit::wire_time, mixed, text};
use crate::{
    args::check_in::{CheckInArgs, StandingArgs},
    args::values::Name,
    exit::ExitCode,
    failure::Failure,
    output::Output,
    render::{
        At,
        check_in::{CheckInAnswerDocument, CheckInDocument, CheckInRequestDocument},
        standing::StandingListDocument,
    },
    session::Session,
};

/// The largest answer, in bytes, as of every signed note.
const ANSWER_LIMIT_BYTES: u64 = 128 * 1024;
/// Where the daemon suggests nothing.
const REQUEST_NAME: &str = "site.check-in";

/// `leasehold standing`.
pub(super) async fn standing(args: StandingArgs, session: &Session, output: &mut Output) -> Outcome {
    // Stages go by the time that the server goes by, which may be far from the clock of the machine on which this runs.
    let request = session.request(v1::GetStatusRequest {});
    let status = session.answer(session.administration().get_status(request).await)?;
    let now = status.clock.and_then(|clock| At::from_wire(clock.trusted));
    let clock = now.map_or_else(|| output.clock().clone(), |now| output.clock().at(now.0));
    let until = match (args.at, args.offline) {
        (Some(at), _) => Some(at.resolve(&clock).map_err(|message| wrong("--at", &message))?),
        (None, Some(ahead)) => Some(ahead.resolve(&clock).map_err(|message| wrong("--offline", &message))?),
        (None, None) => None,
    };
    let until = until.map(At);
    let request = session.request(v1::GetStandingRequest { until: until.map(wire_time) });
    let answer = session.answer(session.administration().get_standing(request).await)?;
    let Some(standing) = answer.standing else {
        return Err(Failure::incomplete_answer("the standing").into());
    };
    let ahead: Vec<_> = answer.ahead.into_iter().map(crate::render::standing::StageAheadDocument::from).collect();
    let worst = ahead.iter().map(|ahead| ahead.stage).max().unwrap_or(0).max(standing.stage);
    let stage_by_then = until.map(|_| worst);
    output.show(&StandingListDocument { standing: standing.into(), now, until, stage_by_then, ahead })?;
    Ok(ExitCode::Done)
}

fn wrong(option: &str, message: &str) -> Failure {
    Failure::new(ExitCode::Usage, format!("{option}: {message}"))
}

/// `leasehold check-in`.
pub(super) async fn check_in(args: CheckInArgs, session: &Session, output: &mut Output) -> Outcome {
    match (args.request, args.answer) {
        (Some(path), _) => request(path, args.license.as_ref(), session, output).await,
        (None, Some(path)) => answer(&path, session, output).await,
        (None, None) => now(args.license.as_ref(), session, output).await,
    }
}

async fn now(license: Option<&Name>, session: &Session, output: &mut Output) -> Outcome {
    let request = session.long_request(v1::CheckInRequest { license_id: text(license) });
    let answer = session.answer(session.administration().check_in(request).await)?;
    let document = CheckInDocument::from(answer);
    output.show(&document)?;
    let good = document.outcomes.iter().filter(|outcome| outcome.is_good()).count();
    let others = vec![ExitCode::NotInGoodStanding.number(); document.outcomes.len() - good];
    Ok(mixed(good as u64, &others))
}

async fn request(path: PathBuf, license: Option<&Name>, session: &Session, output: &mut Output) -> Outcome {
    // Looked at before the daemon is asked: a request takes the place of an earlier one, which may be on its way.
    let folder = path.is_dir();
    if !folder && path.symlink_metadata().is_ok() {
        return Err(exists(&path).into());
    }
    let request = session.request(v1::MakeCheckInRequestRequest { license_id: text(license) });
    let answer = session.answer(session.administration().make_check_in_request(request).await)?;
    if answer.note.is_empty() {
        return Err(Failure::incomplete_answer("the request").into());
    }
    let path = if folder { path.join(plain(&answer.suggested_name)) } else { path };
    write_new(&path, &answer.note)?;
    output.show(&CheckInRequestDocument {
        file: path.display().to_string(),
        answer_by: At::from_wire(answer.answer_by),
    })?;
    Ok(ExitCode::Done)
}

/// The suggested name, where it is a plain one.
fn plain(name: &str) -> &str {
    let path = Path::new(name);
    let is_plain = path.file_name().is_some_and(|last| last == path.as_os_str());
    if is_plain && !name.chars().any(char::is_control) { name } else { REQUEST_NAME }
}

fn write_new(path: &Path, note: &[u8]) -> Result<(), Failure> {
    let file = OpenOptions::new().write(true).create_new(true).open(path);
    file.and_then(|mut file| file.write_all(note)).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => exists(path),
        _ => Failure::file("write", path, &error),
    })
}

fn exists(path: &Path) -> Failure {
    Failure::new(ExitCode::Usage, format!("{} exists already", path.display()))
        .with_hint("name another file: a request is never overwritten, since its answer may be on its way")
}

async fn answer(path: &Path, session: &Session, output: &mut Output) -> Outcome {
    let request = session.request(v1::TakeCheckInAnswerRequest { note: read(path)? });
    let answer = session.answer(session.administration().take_check_in_answer(request).await)?;
    let document = CheckInAnswerDocument::from(answer);
    output.show(&document)?;
    Ok(match &document.outcome {
        Some(outcome) if outcome.code.is_some() => ExitCode::FileRefused,
        Some(outcome) if !outcome.is_good() => ExitCode::NotInGoodStanding,
        _ => ExitCode::Done,
    })
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let fail = |error: io::Error| Failure::file("read", path, &error);
    if !std::fs::metadata(path).map_err(fail)?.is_file() {
        return Err(Failure::new(ExitCode::Usage, format!("{} is not a plain file", path.display())));
    }
    let mut content = Vec::new();
    File::open(path).map_err(fail)?.take(ANSWER_LIMIT_BYTES + 1).read_to_end(&mut content).map_err(fail)?;
    if content.len() as u64 > ANSWER_LIMIT_BYTES {
        let message = format!("{} is larger than 128 KiB: no answer is", path.display());
        return Err(Failure::new(ExitCode::FileRefused, message));
    }
    Ok(content)
}
