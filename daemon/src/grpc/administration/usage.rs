//! Usage files for administrators: lists, sealing at once, verifying, bundles, receipts and the way out. What is asked of the
//! usage room, of delivery and of the disk is put into words here; nothing is decided.

use std::time::Duration;

use leasehold_engine::{UsagePlan, time::WallTime};
use leasehold_keys::{digest::Sha256, note::NOTE_MAX_BYTES, usage::FILE_MAX_BYTES};
use leasehold_proto::v1::{self, export_usage_response::Part};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};

use super::{Administration, page, rule};
use crate::{
    core::Refused,
    delivery::FileView,
    files,
    grpc::{
        convert::{self, administration::usage as wire},
        status,
    },
    usage::{
        SealNowFault,
        bundle::{self, Gap, Needed},
        proof,
    },
    way_out::Trouble,
};

/// Files go out in pieces of so many bytes.
const PIECE_BYTES: usize = 1_024 * 1_024;
/// Whoever has files sent waits for it no longer than this.
const SEND_WITHIN: Duration = Duration::from_secs(20);
/// An open file that is being appended to is looked at again so often …
const LOOKS_MAX: u32 = 8;
/// … so much later.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

pub(super) type Pieces = ReceiverStream<Result<v1::ExportUsageResponse, Status>>;

impl Administration {
    async fn usage_plan(&self) -> Result<(UsagePlan, (usize, Option<WallTime>), WallTime), Status> {
        self.read(|engine, now| (engine.usage_plan(now), engine.usage_backlog(), now.wall)).await
    }

    async fn usage_views(&self) -> Result<Vec<FileView>, Status> {
        self.daemon.delivery.files().await.map_err(|refused| status::status(&refused))
    }

    /// For the status, and above the list of files.
    pub(super) async fn usage_status(&self) -> Result<v1::UsageStatus, Status> {
        let views = self.usage_views().await?;
        self.usage_status_of(&views).await
    }

    async fn usage_status_of(&self, views: &[FileView]) -> Result<v1::UsageStatus, Status> {
        let (plan, backlog, _) = self.usage_plan().await?;
        let (sealing, delivery) =
            (self.daemon.usage.watch().borrow().clone(), self.daemon.delivery.watch().borrow().clone());
        let zone = self.daemon.facts.time_zone.time_zone();
        let seen =
            wire::Seen { plan: &plan, backlog, sealing: &sealing, delivery: &delivery, files: views, zone: &zone };
        Ok(wire::status(&seen))
    }

    pub(super) async fn usage_list(&self, request: &v1::ListUsageRequest) -> Result<v1::ListUsageResponse, Status> {
        let limit = rule(convert::page_size(request.page_size))?;
        let after = rule(convert::numbered_page(&request.page_token))?.unwrap_or(0);
        let (plan, ..) = self.usage_plan().await?;
        let mut views = self.usage_views().await?;
        let usage = self.usage_status_of(&views).await?;
        views.retain(|view| u64::from(view.row.number) > after);
        views.truncate(limit);
        let missing = self.daemon.usage.watch().borrow().missing.clone();
        let (files, next_page_token) =
            page(&views, limit, |view| wire::file(view, &plan, &missing), |view| view.row.number.to_string());
        Ok(v1::ListUsageResponse { files, next_page_token, usage: Some(usage) })
    }

    pub(super) async fn usage_seal(&self) -> Result<v1::SealUsageResponse, Status> {
        let events = self.daemon.usage.seal().await.map_err(|fault| match fault {
            SealNowFault::Core(refused) => status::status(&refused),
            fault @ SealNowFault::Trouble(_) => {
                status::failed(Code::FailedPrecondition, "NOT_SEALED", &format!("{fault}."))
            }
        })?;
        let state = self.daemon.usage.watch().borrow().clone();
        let message = match events {
            0 if !state.collecting => "no usage is collected: no license in effect asks for it".to_owned(),
            0 => "nothing waits: every event is sealed".to_owned(),
            _ if state.disk.is_some() || state.behind > 0 => {
                format!("{events} events are sealed in the database; the file gets them when it can be written")
            }
            1 => "1 event is sealed".to_owned(),
            _ => format!("{events} events are sealed"),
        };
        Ok(v1::SealUsageResponse { events, message })
    }

    pub(super) async fn usage_send(&self) -> Result<v1::SendUsageResponse, Status> {
        let (plan, ..) = self.usage_plan().await?;
        if !plan.upload {
            return Err(status::failed(
                Code::FailedPrecondition,
                "NOT_SENT_BY_ITSELF",
                "No license in effect has usage files sent by themselves.",
            ));
        }
        let waits = |view: &FileView| view.row.closed.is_some() && view.row.acknowledged.is_none();
        let before: Vec<u32> =
            self.usage_views().await?.iter().filter(|view| waits(view)).map(|view| view.row.number).collect();
        let over = self.daemon.delivery.send_now(SEND_WITHIN).await;
        let mut views = self.usage_views().await?;
        let usage = self.usage_status_of(&views).await?;
        views.retain(|view| before.contains(&view.row.number) && waits(view));
        Ok(wire::sent(before.len(), &views, over, usage))
    }

    pub(super) async fn usage_verify(&self) -> Result<v1::VerifyUsageResponse, Status> {
        let mut looks = 0;
        let (proof, known) = loop {
            let rows = self.read(|engine, _| engine.usage_segments().cloned().collect::<Vec<_>>()).await?;
            let own = self.daemon.folder.identity().installation_id();
            let known = wire::Known::of(own, &rows);
            let folder = self.daemon.usage.folder().to_owned();
            let proof = blocking(move || proof::prove(&folder, &rows)).await?.map_err(|fault| {
                status::failed(
                    Code::Unavailable,
                    "STORAGE_UNAVAILABLE",
                    &format!("The folder {} cannot be read: {fault}.", self.daemon.usage.folder().display()),
                )
            })?;
            looks += 1;
            // What was stored a moment ago may not be in the file yet.
            if !proof.open_lags || looks >= LOOKS_MAX {
                break (proof, known);
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        };
        for segment in &proof.wrong {
            // What the database still holds of it is written again.
            self.daemon.usage.check(*segment);
        }
        let behind = self.daemon.usage.watch().borrow().behind;
        Ok(wire::proof(&proof, behind, &known))
    }

    pub(super) async fn usage_export(&self, request: &v1::ExportUsageRequest) -> Result<Pieces, Status> {
        let period = rule(wire::period(&request.period))?;
        let (plan, _, now) = self.usage_plan().await?;
        let zone = self.daemon.facts.time_zone.time_zone();
        let bounds = period.bounds(&zone);
        if now < bounds.from {
            return Err(status::failed(
                Code::FailedPrecondition,
                "PERIOD_NOT_BEGUN",
                &format!("The period {period} begins on {} only.", period.first_day()),
            ));
        }
        let views = self.usage_views().await?;
        let rows: Vec<_> = views.iter().map(|view| view.row.clone()).collect();
        let Needed { files, mut gaps } = bundle::needed(&rows, &bounds, &period.last_day().to_string(), now);
        let mut held = Vec::new();
        for row in files {
            let path = self.daemon.usage.path(&row);
            match blocking(move || whole(&path, row.sha256, row.bytes)).await? {
                Ok(_) => held.extend(views.iter().find(|view| view.row.number == row.number)),
                Err(why) => {
                    self.daemon.usage.check(row.number);
                    gaps.push(Gap::Missing { file: row.file, why });
                }
            }
        }
        if held.is_empty() {
            let why = gaps.iter().map(|gap| format!(" {gap}.")).collect::<String>();
            return Err(status::failed(
                Code::NotFound,
                "NO_USAGE_FILES",
                &format!(
                    "No closed usage file touches the period {period} ({} to {}).{why}",
                    period.first_day(),
                    period.last_day()
                ),
            ));
        }
        let missing = self.daemon.usage.watch().borrow().missing.clone();
        let shown = held.iter().map(|view| wire::file(view, &plan, &missing)).collect();
        let manifest = v1::UsageManifest {
            installation_id: self.daemon.folder.identity().installation_id().to_string(),
            ..wire::manifest(period, &bounds, &zone, now, shown, &gaps)
        };
        let (to, pieces) = mpsc::channel(4);
        let held: Vec<FileView> = if request.manifest_only { Vec::new() } else { held.into_iter().cloned().collect() };
        tokio::spawn(send(to, manifest, held));
        Ok(ReceiverStream::new(pieces))
    }

    pub(super) async fn usage_receipt(
        &self,
        content: Vec<u8>,
    ) -> Result<(v1::TakeUsageReceiptResponse, Taken), Status> {
        if content.len() > NOTE_MAX_BYTES {
            let fault = format!("it has {} bytes; a receipt has at most {NOTE_MAX_BYTES}", content.len());
            return Err(status::of_rule(convert::malformed("content", fault)));
        }
        let row = self.daemon.delivery.take_receipt(content).await.map_err(|trouble| refused_receipt(&trouble))?;
        let (plan, ..) = self.usage_plan().await?;
        let views = self.usage_views().await?;
        let view = views.iter().find(|view| view.row.number == row.number);
        let taken = Taken { file: row.file.clone(), sha256: row.sha256 };
        let answer = v1::TakeUsageReceiptResponse {
            file: view.map(|view| wire::file(view, &plan, &[])),
            message: format!("the licensor has signed for {}", row.file),
        };
        Ok((answer, taken))
    }

    pub(super) async fn way_out(&self) -> Result<v1::DoctorResponse, Status> {
        let (plan, ..) = self.usage_plan().await?;
        let report = self.daemon.delivery.doctor().await.map_err(|refused| status::status(&refused))?;
        let check_ins = self.daemon.check_ins.doctor().await.map_err(|refused| status::status(&refused))?;
        let mut answer = wire::doctor(&report, &plan);
        convert::administration::standing::doctor(&mut answer, &check_ins);
        Ok(answer)
    }
}

/// A file whose receipt was taken, for the audit log.
pub(super) struct Taken {
    pub(super) file: String,
    pub(super) sha256: Option<Sha256>,
}

/// Why a receipt was not taken; or why it could not be kept.
fn refused_receipt(trouble: &Trouble) -> Status {
    let (code, reason) = match trouble {
        Trouble::ReceiptForOther { .. } => (Code::FailedPrecondition, "RECEIPT_FOR_OTHER"),
        Trouble::ReceiptNotSigned { .. } => (Code::FailedPrecondition, "RECEIPT_NOT_SIGNED"),
        Trouble::Garbage { why, .. } => {
            return status::failed(Code::InvalidArgument, "RECEIPT_UNREADABLE", why);
        }
        _ => (Code::Unavailable, "STORAGE_UNAVAILABLE"),
    };
    status::failed(code, reason, &trouble.to_string())
}

/// The manifest, then the files; a file that has changed since the manifest was made ends it with a fault.
async fn send(
    to: mpsc::Sender<Result<v1::ExportUsageResponse, Status>>,
    manifest: v1::UsageManifest,
    held: Vec<FileView>,
) {
    // Where nobody listens any more, there is nothing left to do.
    let part = |part| Ok(v1::ExportUsageResponse { part: Some(part) });
    if to.send(part(Part::Manifest(manifest))).await.is_err() {
        return;
    }
    for FileView { path, row, .. } in held {
        let bytes = match blocking(move || whole(&path, row.sha256, row.bytes)).await {
            Ok(Ok(bytes)) => bytes,
            Ok(Err(why)) => {
                let message = format!("{} was changed while it was bundled: {why}.", row.file);
                let _ = to.send(Err(status::failed(Code::Aborted, "USAGE_FILE_CHANGED", &message))).await;
                return;
            }
            Err(status) => {
                let _ = to.send(Err(status)).await;
                return;
            }
        };
        for piece in bytes.chunks(PIECE_BYTES) {
            let piece = v1::UsagePiece { name: row.file.clone(), bytes: piece.to_vec() };
            if to.send(part(Part::Piece(piece))).await.is_err() {
                return;
            }
        }
    }
}

/// A closed file, where it is what was written.
fn whole(path: &std::path::Path, sha256: Option<Sha256>, size: u64) -> Result<Vec<u8>, String> {
    let bytes = files::read(path, FILE_MAX_BYTES as u64).map_err(|fault| fault.to_string())?;
    if bytes.len() as u64 != size || Some(Sha256::of(&bytes)) != sha256 {
        return Err("it is not what was written".to_owned());
    }
    Ok(bytes)
}

/// Does what waits for disks where it holds up nobody.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Status> {
    tokio::task::spawn_blocking(work).await.map_err(|_| status::status(&Refused::Draining))
}
