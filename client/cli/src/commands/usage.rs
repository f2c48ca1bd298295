//! Usage files through the daemon: lists, sealing, verifying, bundles, receipts, and the way out.

use std::{
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
};

use leasehold_keys::{digest::Sha256, usage::FILE_MAX_BYTES};
use leasehold_proto::v1::{self, export_usage_response::Part};
use tonic::Streaming;

use super::{Outcome, mixed};
use crate::{
    args::usage::{ExportArgs, ReceiptArgs, UsageCommand},
    exit::ExitCode,
    failure::Failure,
    output::Output,
    render::{
        RefusalDocument,
        usage::{
            DoctorDocument, ExportDocument, Manifest, ReceiptDocument, ReceiptOutcome, SealDocument, SendDocument,
            UsageListDocument, VerifyUsageDocument,
        },
    },
    session::Session,
};

/// The largest receipt, in bytes, as of every signed note.
const RECEIPT_LIMIT_BYTES: u64 = 128 * 1024;

/// `leasehold usage …`.
pub(super) async fn usage(command: UsageCommand, session: &Session, output: &mut Output) -> Outcome {
    match command {
        UsageCommand::List => list(session, output).await,
        UsageCommand::Seal => seal(session, output).await,
        UsageCommand::Send => send(session, output).await,
        // Files that are named are looked at without a daemon.
        UsageCommand::Verify(_) => verify(session, output).await,
        UsageCommand::Export(args) => export(args, session, output).await,
        UsageCommand::Receipt(args) => receipts(args, session, output).await,
    }
}

async fn list(session: &Session, output: &mut Output) -> Outcome {
    let mut usage = None;
    let files = crate::session::every_page(async |page_token| {
        let request = session.request(v1::ListUsageRequest { page_token, page_size: 0 });
        let page = session.answer(session.administration().list_usage(request).await)?;
        usage = page.usage;
        Ok((page.files, page.next_page_token))
    })
    .await?;
    let files = files.into_iter().map(Into::into).collect();
    output.show(&UsageListDocument { files, usage: usage.map(Into::into) })?;
    Ok(ExitCode::Done)
}

async fn seal(session: &Session, output: &mut Output) -> Outcome {
    let request = session.request(v1::SealUsageRequest {});
    let answer = session.answer(session.administration().seal_usage(request).await)?;
    output.show(&SealDocument { events: answer.events, message: answer.message })?;
    Ok(ExitCode::Done)
}

async fn send(session: &Session, output: &mut Output) -> Outcome {
    let request = session.long_request(v1::SendUsageRequest {});
    let answer = session.answer(session.administration().send_usage(request).await)?;
    let document = SendDocument::from(answer);
    output.show(&document)?;
    Ok(match &document.usage {
        Some(usage) if usage.failure.is_some() => ExitCode::WayOutBlocked,
        Some(usage) if !usage.held.is_empty() => ExitCode::PartlyDone,
        _ => ExitCode::Done,
    })
}

async fn verify(session: &Session, output: &mut Output) -> Outcome {
    let request = session.long_request(v1::VerifyUsageRequest {});
    let answer = session.answer(session.administration().verify_usage(request).await)?;
    let document = VerifyUsageDocument::from(answer);
    output.show(&document)?;
    Ok(if document.intact { ExitCode::Done } else { ExitCode::UsageDamaged })
}

/// `leasehold doctor`.
pub(super) async fn doctor(session: &Session, output: &mut Output) -> Outcome {
    let request = session.long_request(v1::DoctorRequest {});
    let answer = session.answer(session.administration().doctor(request).await)?;
    let document = DoctorDocument::from(answer);
    output.show(&document)?;
    Ok(if document.well { ExitCode::Done } else { ExitCode::WayOutBlocked })
}

async fn receipts(args: ReceiptArgs, session: &Session, output: &mut Output) -> Outcome {
    let mut receipts = Vec::new();
    let mut refusals = Vec::new();
    for path in args.files {
        let content = read_receipt(&path)?;
        let request = session.request(v1::TakeUsageReceiptRequest { content });
        let receipt = path.display().to_string();
        match session.answer(session.administration().take_usage_receipt(request).await) {
            Ok(answer) => receipts.push(ReceiptOutcome {
                receipt,
                usage_file: answer.file.map(Into::into),
                refusal: None,
                message: answer.message,
            }),
            // The others are taken all the same; where the daemon cannot be asked, nothing more is.
            Err(failure) if failure.exit == ExitCode::FileRefused => {
                refusals.push(failure.exit.number());
                let message = failure.message.clone();
                let refusal = Some(RefusalDocument::from(failure));
                receipts.push(ReceiptOutcome { receipt, usage_file: None, refusal, message });
            }
            Err(failure) => return Err(failure.into()),
        }
    }
    let refused = refusals.len() as u64;
    let taken = receipts.len() as u64 - refused;
    let first = receipts.iter().find_map(|outcome| outcome.refusal.clone());
    output.show(&ReceiptDocument { taken, refused, receipts })?;
    match first {
        None => Ok(ExitCode::Done),
        Some(first) => {
            let exit = mixed(taken, &refusals);
            Err(super::told_refusals(
                vec![first; refusals.len()],
                usize::try_from(taken + refused).unwrap_or(1),
                false,
                exit,
            )
            .into())
        }
    }
}

fn read_receipt(path: &Path) -> Result<Vec<u8>, Failure> {
    let fail = |error: std::io::Error| Failure::file("read", path, &error);
    if !std::fs::metadata(path).map_err(fail)?.is_file() {
        return Err(Failure::new(ExitCode::Usage, format!("{} is not a plain file", path.display())));
    }
    let mut content = Vec::new();
    let file = std::fs::File::open(path).map_err(fail)?;
    file.take(RECEIPT_LIMIT_BYTES + 1).read_to_end(&mut content).map_err(fail)?;
    if content.len() as u64 > RECEIPT_LIMIT_BYTES {
        return Err(Failure::new(
            ExitCode::FileRefused,
            format!("{} is larger than 128 KiB: no receipt is", path.display()),
        ));
    }
    Ok(content)
}

async fn export(args: ExportArgs, session: &Session, output: &mut Output) -> Outcome {
    let path = args.output.unwrap_or_else(|| PathBuf::from(format!("usage-{}.tar", args.period)));
    if !args.check && !args.force && path.symlink_metadata().is_ok() {
        return Err(exists(&path).into());
    }
    let request =
        session.long_request(v1::ExportUsageRequest { period: args.period.to_string(), manifest_only: args.check });
    let mut parts = session.answer(session.administration().export_usage(request).await)?;
    let Some(Part::Manifest(manifest)) = next(&mut parts, session).await? else {
        return Err(Failure::incomplete_answer("the manifest of the bundle").into());
    };
    let manifest = Manifest::from(manifest);
    let complete = manifest.complete;
    let file = if args.check {
        None
    } else {
        let mut bundle = Bundle::begin(&path, &manifest)?;
        for file in &manifest.files {
            let mut bytes = Vec::new();
            while (bytes.len() as u64) < file.bytes {
                match next(&mut parts, session).await? {
                    Some(Part::Piece(piece)) if piece.name == file.name && !piece.bytes.is_empty() => {
                        bytes.extend_from_slice(&piece.bytes);
                    }
                    _ => return Err(Failure::incomplete_answer(&format!("a part of {}", file.name)).into()),
                }
                if bytes.len() > FILE_MAX_BYTES {
                    return Err(Failure::incomplete_answer(&format!("the end of {}", file.name)).into());
                }
            }
            if Sha256::of(&bytes).to_string() != file.sha256 {
                let message = format!("{} arrived with another SHA-256 than the manifest states", file.name);
                return Err(Failure::new(ExitCode::Unexpected, message).with_hint("run the command again").into());
            }
            bundle.add(&file.name, &bytes, file.began.map_or(0, |began| began.0.as_second()))?;
        }
        bundle.end(args.force)?;
        Some(path.display().to_string())
    };
    output.show(&ExportDocument { file, manifest })?;
    Ok(if complete { ExitCode::Done } else { ExitCode::PartlyDone })
}

async fn next(parts: &mut Streaming<v1::ExportUsageResponse>, session: &Session) -> Result<Option<Part>, Failure> {
    let part = session.answer(parts.message().await.map(tonic::Response::new))?;
    Ok(part.and_then(|part| part.part))
}

fn exists(path: &Path) -> Failure {
    Failure::new(ExitCode::Usage, format!("{} exists already", path.display())).with_hint("--force overwrites it")
}

/// A bundle that is being written beside where it will be: it is there whole, or not at all.
struct Bundle<'p> {
    path: &'p Path,
    tar: tar::Builder<tempfile::NamedTempFile>,
}

impl<'p> Bundle<'p> {
    fn begin(path: &'p Path, manifest: &Manifest) -> Result<Self, Failure> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let file = tempfile::Builder::new().prefix(".leasehold-").suffix(".part").tempfile_in(folder);
        let file = file.map_err(|error| Failure::file("write", path, &error))?;
        let mut bundle = Self { path, tar: tar::Builder::new(file) };
        let mut text = serde_json::to_vec_pretty(manifest)
            .map_err(|error| Failure::new(ExitCode::Unexpected, format!("the manifest cannot be written: {error}")))?;
        text.push(b'\n');
        // As of the newest file in it: the end of the period may be to come.
        let newest = manifest.files.iter().filter_map(|file| file.closed.or(file.began)).map(|at| at.0).max();
        bundle.add("manifest.json", &text, newest.map_or(0, |at| at.as_second()))?;
        Ok(bundle)
    }

    /// The same bytes make the same bundle: nothing of this machine and of this moment is in it.
    fn add(&mut self, name: &str, bytes: &[u8], second: i64) -> Result<(), Failure> {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(u64::try_from(second).unwrap_or(0));
        let added = self.tar.append_data(&mut header, name, bytes);
        added.map_err(|error| Failure::file("write", self.path, &error))
    }

    fn end(self, overwrite: bool) -> Result<(), Failure> {
        let fail = |error: std::io::Error| Failure::file("write", self.path, &error);
        let mut file = self.tar.into_inner().map_err(fail)?;
        file.flush().and_then(|()| file.as_file().sync_all()).map_err(fail)?;
        let placed = if overwrite { file.persist(self.path) } else { file.persist_noclobber(self.path) };
        match placed {
            Ok(_) => Ok(()),
            Err(fault) if fault.error.kind() == std::io::ErrorKind::AlreadyExists => Err(exists(self.path)),
            Err(fault) => Err(fail(fault.error)),
        }
    }
}
