//! Status, host IDs, request notes, signed files, unloading and promotion.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    path::Path,
};

use leasehold_proto::v1;

use super::{Outcome, text};
use crate::{
    args::{LicensesArgs, LoadArgs, PromoteArgs, RequestArgs, StandByArgs, UnloadArgs},
    exit::ExitCode,
    failure::Failure,
    output::Output,
    render::{
        DoneDocument,
        licenses::{HostIdDocument, LicensesDocument, LoadDocument, RequestNoteDocument},
        status::StatusDocument,
    },
    session::Session,
};

/// The largest signed file, in bytes.
const FILE_LIMIT_BYTES: u64 = 128 * 1024;

/// `leasehold status`.
pub(super) async fn status(session: &Session, output: &mut Output) -> Outcome {
    let request = session.request(v1::GetStatusRequest {});
    let status = session.answer(session.administration().get_status(request).await)?;
    output.show(&StatusDocument::from(status))?;
    Ok(ExitCode::Done)
}

/// `leasehold host-id`.
pub(super) async fn host_id(session: &Session, output: &mut Output) -> Outcome {
    let request = session.request(v1::GetHostIdRequest::default());
    let answer = session.answer(session.administration().get_host_id(request).await)?;
    output.show(&HostIdDocument::from(answer))?;
    Ok(ExitCode::Done)
}

/// `leasehold request`.
pub(super) async fn request(args: RequestArgs, session: &Session, output: &mut Output) -> Outcome {
    let request = session.request(v1::GetHostIdRequest {
        request_note: true,
        product: text(args.product.as_ref()),
        machine_name: text(args.machine_name.as_ref()),
    });
    let answer = session.answer(session.administration().get_host_id(request).await)?;
    if answer.request_note.is_empty() {
        return Err(Failure::incomplete_answer("the request note").into());
    }
    if let Some(path) = &args.output {
        write_note(path, &answer.request_note, args.force)?;
    }
    output.show(&RequestNoteDocument {
        host_id: answer.host_id,
        machine_name: answer.machine_name,
        request_note: answer.request_note,
        file: args.output.map(|path| path.display().to_string()),
    })?;
    Ok(ExitCode::Done)
}

fn write_note(path: &Path, note: &str, overwrite: bool) -> Result<(), Failure> {
    let mut options = OpenOptions::new();
    if overwrite {
        options.create(true).truncate(true)
    } else {
        options.create_new(true)
    };
    options.write(true).open(path).and_then(|mut file| file.write_all(note.as_bytes())).map_err(|error| {
        match error.kind() {
            io::ErrorKind::AlreadyExists => Failure::new(ExitCode::Usage, format!("{} exists already", path.display()))
                .with_hint("--force overwrites it"),
            _ => Failure::file("write", path, &error),
        }
    })
}

/// `leasehold load`.
pub(super) async fn load(args: LoadArgs, session: &Session, output: &mut Output) -> Outcome {
    let name = match args.file.file_name().and_then(|name| name.to_str()) {
        Some(name) => name.to_owned(),
        None => {
            let message = format!("{} has no file name that can be used in the watched folder", args.file.display());
            return Err(Failure::new(ExitCode::Usage, message).into());
        }
    };
    let content = read_signed_file(&args.file)?;
    let request = session.request(v1::LoadFileRequest { name: name.clone(), content, check_only: args.check });
    let answer = session.answer(session.administration().load_file(request).await).map_err(|mut failure| {
        // Whatever the daemon holds against a file, a script sees it as this one thing.
        if matches!(failure.exit, ExitCode::Refused | ExitCode::Usage) {
            failure.exit = ExitCode::FileRefused;
        }
        failure
    })?;
    let entry = answer.entry.ok_or_else(|| Failure::incomplete_answer("the verdict on the file"))?;
    let document = LoadDocument {
        name: if entry.name.is_empty() { name } else { entry.name },
        check_only: args.check,
        state: entry.state,
        reason: crate::render::given(entry.reason),
        message: crate::render::given(entry.message),
        license: answer.license.map(Into::into),
        effects: answer.effects.into_iter().map(Into::into).collect(),
    };
    output.show(&document)?;
    if document.state != "refused" {
        return Ok(ExitCode::Done);
    }
    let why = document.message.as_deref().or(document.reason.as_deref()).unwrap_or("the daemon gives no reason");
    let mut failure = Failure::new(ExitCode::FileRefused, format!("{} is refused: {why}", document.name));
    failure.hint = Some(file_hint(document.reason.as_deref().unwrap_or_default()).to_owned());
    failure.reason = document.reason;
    Err(failure.into())
}

/// What to do about a refused file. Its reasons are many (specification part 2) and the daemon's sentence has the remedy
/// of each; where a command helps, it is here.
fn file_hint(reason: &str) -> &'static str {
    if reason.contains("host") {
        "nothing was changed, live leases are untouched; `leasehold request -o FILE` makes the note with which the \
         licensor issues a file for this host"
    } else if reason.contains("root") || matches!(reason, "unknown-key" | "wrong-key-id") {
        "nothing was changed, live leases are untouched; load the licensor's newer root by `leasehold load`, then this \
         file again"
    } else if matches!(reason, "rolled-back" | "same-sequence-other-bytes" | "second-base" | "unloaded") {
        "nothing was changed, live leases are untouched; `leasehold licenses --all` shows what was accepted before"
    } else {
        "nothing was changed, live leases are untouched"
    }
}

fn read_signed_file(path: &Path) -> Result<Vec<u8>, Failure> {
    let fail = |error: io::Error| Failure::file("read", path, &error);
    // Looked at before it is opened: opening a FIFO would wait for its writer.
    if !std::fs::metadata(path).map_err(fail)?.is_file() {
        return Err(Failure::new(ExitCode::FileRefused, format!("{} is not a plain file", path.display())));
    }
    let mut content = Vec::new();
    File::open(path).and_then(|file| file.take(FILE_LIMIT_BYTES + 1).read_to_end(&mut content)).map_err(fail)?;
    if content.len() as u64 > FILE_LIMIT_BYTES {
        let message = format!("{} is larger than 128 KiB: no signed file is", path.display());
        return Err(Failure::new(ExitCode::FileRefused, message)
            .with_hint("is it the file that the licensor sent, and not an archive with it inside?"));
    }
    Ok(content)
}

/// `leasehold licenses`.
pub(super) async fn list(args: LicensesArgs, session: &Session, output: &mut Output) -> Outcome {
    let include_ended = args.all || args.license_id.is_some();
    let request = session.request(v1::ListLicensesRequest { include_ended });
    let answer = session.answer(session.administration().list_licenses(request).await)?;
    let mut licenses = answer.licenses;
    if let Some(wanted) = &args.license_id {
        licenses.retain(|license| license.license_id.eq_ignore_ascii_case(wanted.as_str()));
        if licenses.is_empty() {
            let message = format!("no accepted file has the license ID {wanted}");
            return Err(Failure::new(ExitCode::NotFound, message)
                .with_hint("`leasehold licenses --all` lists the license IDs")
                .into());
        }
    }
    output.show(&LicensesDocument {
        licenses: licenses.into_iter().map(Into::into).collect(),
        folder: answer.folder.into_iter().map(Into::into).collect(),
        in_full: args.license_id.is_some(),
    })?;
    Ok(ExitCode::Done)
}

/// `leasehold unload`.
pub(super) async fn unload(args: UnloadArgs, session: &Session, output: &mut Output) -> Outcome {
    let request = session.request(v1::UnloadRequest {
        license_id: args.license_id.to_string(),
        reason: args.reason.as_str().to_owned(),
    });
    let answer = session.answer(session.administration().unload(request).await)?;
    let fallback = || format!("the grants of license {} are gone; a newer file brings them back", args.license_id);
    output.show(&DoneDocument { message: crate::render::given(answer.message).unwrap_or_else(fallback) })?;
    Ok(ExitCode::Done)
}

/// `leasehold promote`.
pub(super) async fn promote(args: PromoteArgs, session: &Session, output: &mut Output) -> Outcome {
    let request = session.request(v1::PromoteRequest { reason: args.reason.as_str().to_owned() });
    let answer = session.answer(session.administration().promote(request).await)?;
    let fallback = || "this server is the active one now".to_owned();
    output.show(&DoneDocument { message: crate::render::given(answer.message).unwrap_or_else(fallback) })?;
    Ok(ExitCode::Done)
}

/// `leasehold stand-by`.
pub(super) async fn stand_by(args: StandByArgs, session: &Session, output: &mut Output) -> Outcome {
    let request = session.request(v1::StandByRequest { reason: args.reason.as_str().to_owned() });
    let answer = session.answer(session.administration().stand_by(request).await)?;
    let fallback = || "this server stands by".to_owned();
    output.show(&DoneDocument { message: crate::render::given(answer.message).unwrap_or_else(fallback) })?;
    Ok(ExitCode::Done)
}
