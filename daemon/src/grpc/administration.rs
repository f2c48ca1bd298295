//! The `Administration` service: for people and tools on the Unix socket. Each call checks who asks (LEASE-9), gives the
//! engine an act or a question, and puts the answer into words. Every act is audited by the engine.

mod check_in;
mod faults;
mod usage;

use std::time::Duration;

use leasehold_engine::{
    command::{Act, Command},
    decision::{Administered, Reply},
    ids::Identity,
    refusal::Refusal,
};
use leasehold_keys::name::Label;
use leasehold_proto::v1::{self, administration_server};
use prost::Message;
use tonic::{Code, Request, Response, Status};

use self::faults::{load_fault, read_fault};
use super::{
    Daemon,
    convert::{self, Known, administration as wire, timestamp},
    listen::known,
    status,
};
use crate::{
    core::Refused,
    folder::{Checked, EntryState, FolderEntry, LoadFault},
    receipts::Receipts,
    storage::ReadFault,
};

/// Answers stay below what clients take by default, 4 MiB: a page that would be larger ends earlier.
const PAGE_BYTES: usize = 3 * 1024 * 1024;

/// The audit log's word for a file that was placed in the watched folder.
const LOAD: &str = "load file";
/// Its word for one that was not.
const LOAD_REFUSED: &str = "load file refused";

/// How long an answer waits for the folder to be judged anew.
const FOLDER_WITHIN: Duration = Duration::from_secs(10);

/// The service. Cheap to clone.
#[derive(Clone)]
pub(super) struct Administration {
    daemon: Daemon,
}

impl Administration {
    pub(super) fn new(daemon: Daemon) -> Self {
        Self { daemon }
    }

    /// LEASE-9: administration is for the users that the configuration names, known by the Unix socket.
    fn administrator<T>(&self, request: &Request<T>) -> Result<Identity, Status> {
        match known(request) {
            Known::Uid(uid) if self.daemon.facts.administrators.borrow().contains(&uid) => Ok(Identity::Uid(uid)),
            Known::Uid(uid) => Err(status::not_an_administrator(&format!(
                "User ID {uid} is not an administrator of this server. Ask as root or as one of the users of the setting \
                 `administrators`, or have this user added there."
            ))),
            Known::OnlyByName => Err(status::not_an_administrator(
                "Administration is not done over TCP, where a caller is known by what it says only. Use the Unix socket of this server, \
                 on the same machine and as one of its administrators.",
            )),
        }
    }

    async fn read<T: Send + 'static>(
        &self,
        question: impl FnOnce(&leasehold_engine::Engine, leasehold_engine::time::Now) -> T + Send + 'static,
    ) -> Result<T, Status> {
        self.daemon.core.read(question).await.map_err(|refused| status::status(&refused))
    }

    /// Does an act and waits until it is durable. One line for the log (08, Telemetry); no contents of files.
    async fn act(&self, by: Identity, action: &'static str, act: Act) -> Result<Administered, Status> {
        let done = self.daemon.core.submit(Command::Administer { by: by.clone(), act }).await;
        match done {
            Ok(Reply::Administered(done)) => {
                tracing::info!(%by, action, applied = done.applied, "{}", done.message);
                Ok(done)
            }
            Ok(reply) => {
                tracing::error!(?reply, "The engine gave a wrong answer.");
                Err(Status::internal("The server made a mistake; its log tells which."))
            }
            Err(refused) => {
                tracing::info!(%by, action, refusal = %refused, "Refused.");
                Err(status::status(&refused))
            }
        }
    }

    /// Notes something in the audit log that is no act of the engine, once it is done or refused: what there is now as
    /// JSON, and why.
    async fn note(
        &self,
        by: Identity,
        action: &'static str,
        subject: String,
        after: String,
        reason: String,
    ) -> Result<(), Status> {
        self.act(by, action, Act::Note { action: action.to_owned(), subject, after, reason }).await.map(drop)
    }

    /// Keeps in the audit log what came of loading a file.
    async fn note_load(&self, by: Identity, name: &Label, done: &Result<Checked, LoadFault>) -> Result<(), Status> {
        let name = name.to_string();
        match done {
            Ok(checked) if checked.entry.state == EntryState::Refused => {
                let why = format!("{}: {}", checked.entry.reason, checked.entry.message);
                self.note(by, LOAD_REFUSED, name, wire::loaded(checked), why).await
            }
            Ok(checked) => self.note(by, LOAD, name, wire::loaded(checked), String::new()).await,
            // It lies in the folder, whatever becomes of it.
            Err(fault @ LoadFault::NotYetJudged) => {
                self.note(by, LOAD, name, "{\"state\":\"waiting\"}".to_owned(), fault.to_string()).await
            }
            Err(fault @ (LoadFault::NameTaken { .. } | LoadFault::Place { .. })) => {
                self.note(by, LOAD_REFUSED, name, String::new(), fault.to_string()).await
            }
            // No file that could be loaded under that name, or nobody who could judge it: nothing was tried.
            Err(LoadFault::Name { .. } | LoadFault::Core(_)) => Ok(()),
        }
    }

    async fn entity_answer(&self, act: Act, action: &'static str, by: Identity) -> Result<v1::EntityResponse, Status> {
        let subject = wire::subject_of(&act);
        let done = self.act(by, action, act).await?;
        // It may be gone again by now; the act is done all the same.
        let entity = match subject {
            None => None,
            Some(subject) => self.read(move |engine, now| engine.entity(now, &subject).ok()).await?,
        };
        Ok(v1::EntityResponse {
            entity: entity.as_ref().map(wire::entity_of),
            warnings: done.warnings.iter().map(convert::leasing::warning).collect(),
            message: done.message,
        })
    }

    /// Runs a question to the database, which blocks, beside the tasks that serve.
    async fn records<T: Send + 'static>(
        &self,
        question: impl FnOnce(&crate::storage::Reader) -> Result<T, ReadFault> + Send + 'static,
    ) -> Result<T, Status> {
        let records = self.daemon.records.clone();
        match tokio::task::spawn_blocking(move || question(&records)).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(fault)) => Err(read_fault(&fault)),
            Err(_) => Err(status::status(&Refused::Draining)),
        }
    }

    async fn folder_judged(&self) {
        if tokio::time::timeout(FOLDER_WITHIN, self.daemon.folder.rescan()).await.is_err() {
            tracing::warn!("The watched folder takes long to be judged.");
        }
    }
}

fn rule<T>(checked: Result<T, Refusal>) -> Result<T, Status> {
    checked.map_err(status::of_rule)
}

fn entry(entry: &FolderEntry) -> v1::FolderEntry {
    v1::FolderEntry {
        name: entry.name.clone(),
        state: entry.state.as_str().to_owned(),
        reason: entry.reason.to_string(),
        message: entry.message.clone(),
    }
}

/// The rows that fit into one answer, and the token of the page after them: the last row's, where some rows did not fit or
/// where there are as many as were asked for, so that there may be more.
fn page<R, T: Message>(
    rows: &[R],
    limit: usize,
    row: impl Fn(&R) -> T,
    token: impl Fn(&R) -> String,
) -> (Vec<T>, String) {
    let mut room = PAGE_BYTES;
    let mut out = Vec::with_capacity(rows.len());
    for found in rows {
        let message = row(found);
        // A row of its own page, however large it is: or the list would end there.
        match room.checked_sub(message.encoded_len() + 8) {
            Some(left) => room = left,
            None if out.is_empty() => room = 0,
            None => break,
        }
        out.push(message);
    }
    let more = out.len() < rows.len() || rows.len() >= limit;
    let next = match out.len().checked_sub(1).and_then(|last| rows.get(last)) {
        Some(last) if more => token(last),
        _ => String::new(),
    };
    (out, next)
}

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl administration_server::Administration for Administration {
    async fn get_status(&self, request: Request<v1::GetStatusRequest>) -> Answer<v1::GetStatusResponse> {
        self.administrator(&request)?;
        let (view, witness) =
            self.read(|engine, now| (engine.status(now), (engine.reached(), engine.witness_evidence()))).await?;
        let Daemon { core, folder, facts, .. } = &self.daemon;
        let storage_fault = core.storage_fault().borrow().clone();
        let seen = folder.view();
        let standing = self.daemon.clock.standing();
        let usage = self.usage_status().await?;
        let mut answer = wire::status_of(&view);
        answer.notices.extend(usage.notices.iter().cloned());
        let (with_licensor, of_check_ins) = self.standing().await?;
        answer.notices.extend(of_check_ins);
        let of_daemon = folder.notices().into_iter().chain(standing.notices());
        let of_daemon =
            of_daemon.into_iter().map(|(reason, message)| v1::Notice { reason: reason.to_owned(), message });
        answer.notices.splice(0..0, of_daemon);
        if let Some(fault) = &storage_fault {
            answer
                .notices
                .insert(0, v1::Notice { reason: "STORAGE_UNAVAILABLE".to_owned(), message: fault.to_string() });
        }
        Ok(Response::new(v1::GetStatusResponse {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            installation_id: folder.identity().installation_id().to_string(),
            started_at: Some(timestamp(facts.started_at)),
            ready_at: self.daemon.ready_at.get().copied().map(timestamp),
            root: folder.trust().to_string(),
            watched_folder: folder.path().display().to_string(),
            state_directory: facts.state_directory.display().to_string(),
            listening: self.daemon.listening.to_vec(),
            folder: seen.entries.iter().map(entry).collect(),
            clock: Some(wire::clock(&standing)),
            storage_ok: storage_fault.is_none(),
            usage: Some(usage),
            witness: Some(wire::witness(witness.0, &witness.1)),
            standing: Some(with_licensor),
            storage_message: storage_fault.map_or_else(String::new, |fault| fault.to_string()),
            ..answer
        }))
    }

    async fn get_host_id(&self, request: Request<v1::GetHostIdRequest>) -> Answer<v1::GetHostIdResponse> {
        let by = self.administrator(&request)?;
        let message = request.into_inner();
        let (product, machine_name) = rule(wire::request_note(&message))?;
        let identity = self.daemon.folder.identity();
        let request_note = if message.request_note {
            let now = self.daemon.clock.trusted();
            let made = identity.request_note(product, machine_name.clone(), now);
            let made = made.map_err(|fault| status::failed(Code::Internal, "NOT_SIGNED", &fault.to_string()))?;
            self.note(by, "request note", identity.host_id().to_string(), String::new(), String::new()).await?;
            made
        } else {
            String::new()
        };
        Ok(Response::new(v1::GetHostIdResponse {
            host_id: identity.host_id().to_string(),
            factors: identity
                .factors()
                .into_iter()
                .map(|view| v1::HostFactor {
                    name: view.factor.to_string(),
                    state: if view.present { "present" } else { "missing" }.to_owned(),
                    message: view.message.to_owned(),
                })
                .collect(),
            request_note,
            machine_name: machine_name.unwrap_or_else(|| identity.machine_name().clone()).to_string(),
        }))
    }

    async fn load_file(&self, request: Request<v1::LoadFileRequest>) -> Answer<v1::LoadFileResponse> {
        let by = self.administrator(&request)?;
        let message = request.into_inner();
        let name = rule(wire::file(&message))?;
        let folder = &self.daemon.folder;
        let held = self.read(|engine, now| engine.licenses(now)).await?;
        let done = if message.check_only {
            folder.check(name.as_str(), message.content).await
        } else {
            let done = folder.load(name.as_str(), message.content).await;
            self.note_load(by.clone(), &name, &done).await?;
            done
        };
        let checked = done.map_err(|fault| {
            tracing::info!(%by, file = %name, %fault, "Not loaded.");
            load_fault(&fault)
        })?;
        tracing::info!(%by, file = %name, state = checked.entry.state.as_str(), check_only = message.check_only, "{}", checked.entry.message);
        let license = checked.terms.map(|terms| v1::License {
            file_name: name.to_string(),
            state: checked.entry.state.as_str().to_owned(),
            message: checked.entry.message.clone(),
            host: wire::host(checked.host.as_ref()),
            ..wire::terms(&terms)
        });
        let effects = license.as_ref().map(|license| wire::effects(&held, license)).unwrap_or_default();
        Ok(Response::new(v1::LoadFileResponse { entry: Some(entry(&checked.entry)), license, effects }))
    }

    async fn unload(&self, request: Request<v1::UnloadRequest>) -> Answer<v1::UnloadResponse> {
        let by = self.administrator(&request)?;
        let done = self.act(by, "unload", rule(wire::unload(request.get_ref()))?).await?;
        self.folder_judged().await;
        Ok(Response::new(v1::UnloadResponse { message: done.message }))
    }

    async fn promote(&self, request: Request<v1::PromoteRequest>) -> Answer<v1::PromoteResponse> {
        let by = self.administrator(&request)?;
        let done = self.act(by, "promote", rule(wire::promote(request.get_ref()))?).await?;
        self.folder_judged().await;
        self.daemon.check_ins.look();
        Ok(Response::new(v1::PromoteResponse { message: done.message }))
    }

    async fn stand_by(&self, request: Request<v1::StandByRequest>) -> Answer<v1::StandByResponse> {
        let by = self.administrator(&request)?;
        let done = self.act(by, "stand by", rule(wire::stand_by(request.get_ref()))?).await?;
        self.folder_judged().await;
        Ok(Response::new(v1::StandByResponse { message: done.message }))
    }

    async fn list_licenses(&self, request: Request<v1::ListLicensesRequest>) -> Answer<v1::ListLicensesResponse> {
        self.administrator(&request)?;
        let all = request.get_ref().include_ended;
        let mut views = self
            .read(move |engine, now| {
                let mut views = engine.licenses(now);
                views.retain(|view| all || !wire::is_over(view));
                views
            })
            .await?;
        let receipts = Receipts::of(&self.daemon.facts.state_directory);
        for view in views.iter_mut().filter(|view| view.state == "deactivated") {
            view.message = format!("closed. {}", receipts.told(&view.terms));
        }
        let licenses = views.iter().map(wire::license).collect();
        let folder = self.daemon.folder.view().entries.iter().map(entry).collect();
        Ok(Response::new(v1::ListLicensesResponse { licenses, folder }))
    }

    async fn list_pools(&self, request: Request<v1::ListPoolsRequest>) -> Answer<v1::ListPoolsResponse> {
        self.administrator(&request)?;
        let key = rule(wire::key_or_none("key", &request.get_ref().key))?;
        let organization = rule(convert::label_or_none("organization", &request.get_ref().organization))?;
        let views = self
            .read(move |engine, now| engine.pools(now, key.as_ref(), organization.as_ref().map(|label| label.as_str())))
            .await?;
        Ok(Response::new(v1::ListPoolsResponse { pools: rule(views)?.iter().map(wire::pool).collect() }))
    }

    async fn set_pool_rule(&self, request: Request<v1::SetPoolRuleRequest>) -> Answer<v1::SetPoolRuleResponse> {
        let by = self.administrator(&request)?;
        let (act, pool) = rule(wire::pool_rule(request.get_ref()))?;
        self.act(by, "pool rule", act).await?;
        let views =
            self.read(move |engine, now| engine.pools(now, Some(&pool.key), None).map(|views| (pool, views))).await?;
        let (pool, views) = rule(views)?;
        let shown = views.iter().find(|view| view.name == pool).map(wire::pool);
        Ok(Response::new(v1::SetPoolRuleResponse { pool: shown }))
    }

    async fn set_share(&self, request: Request<v1::SetShareRequest>) -> Answer<v1::SetShareResponse> {
        let by = self.administrator(&request)?;
        let (act, pool, holder) = rule(wire::share(request.get_ref()))?;
        self.act(by, "share", act).await?;
        let views = self.read(move |engine, _| engine.shares(Some(&pool))).await?;
        let share = views.iter().find(|view| view.holder == holder).map(wire::share_of);
        Ok(Response::new(v1::SetShareResponse { share }))
    }

    async fn list_shares(&self, request: Request<v1::ListSharesRequest>) -> Answer<v1::ListSharesResponse> {
        self.administrator(&request)?;
        let pool = rule(wire::pool_or_none("pool", &request.get_ref().pool))?;
        let views = self.read(move |engine, _| engine.shares(pool.as_ref())).await?;
        Ok(Response::new(v1::ListSharesResponse { shares: views.iter().map(wire::share_of).collect() }))
    }

    async fn create_entity(&self, request: Request<v1::CreateEntityRequest>) -> Answer<v1::EntityResponse> {
        let by = self.administrator(&request)?;
        let act = rule(wire::create(request.get_ref()))?;
        self.entity_answer(act, "create", by).await.map(Response::new)
    }

    async fn change_entity(&self, request: Request<v1::ChangeEntityRequest>) -> Answer<v1::EntityResponse> {
        let by = self.administrator(&request)?;
        let act = rule(wire::change(request.get_ref()))?;
        self.entity_answer(act, "change", by).await.map(Response::new)
    }

    async fn delete_entity(&self, request: Request<v1::DeleteEntityRequest>) -> Answer<v1::EntityResponse> {
        let by = self.administrator(&request)?;
        let act = rule(wire::delete(request.get_ref()))?;
        self.entity_answer(act, "delete", by).await.map(Response::new)
    }

    async fn list_entities(&self, request: Request<v1::ListEntitiesRequest>) -> Answer<v1::ListEntitiesResponse> {
        self.administrator(&request)?;
        let filter = rule(wire::entity_filter(request.get_ref()))?;
        let limit = filter.limit;
        let views = rule(self.read(move |engine, now| engine.entities(now, &filter)).await?)?;
        let (entities, next_page_token) = page(&views, limit, wire::entity_of, wire::entity_page);
        Ok(Response::new(v1::ListEntitiesResponse { entities, next_page_token }))
    }

    async fn assign(&self, request: Request<v1::AssignRequest>) -> Answer<v1::AssignResponse> {
        let by = self.administrator(&request)?;
        let done = self.act(by, "assign", rule(wire::assign(request.get_ref()))?).await?;
        Ok(Response::new(wire::assigned(&done)))
    }

    async fn unassign(&self, request: Request<v1::UnassignRequest>) -> Answer<v1::AssignResponse> {
        let by = self.administrator(&request)?;
        let done = self.act(by, "unassign", rule(wire::unassign(request.get_ref()))?).await?;
        Ok(Response::new(wire::assigned(&done)))
    }

    async fn list_assignments(
        &self,
        request: Request<v1::ListAssignmentsRequest>,
    ) -> Answer<v1::ListAssignmentsResponse> {
        self.administrator(&request)?;
        let filter = rule(wire::assignment_filter(request.get_ref()))?;
        let limit = filter.limit;
        let views = self
            .read(move |engine, now| {
                engine.assignments(now, filter.key.as_ref(), filter.subject.as_ref(), filter.after, filter.limit)
            })
            .await?;
        let (assignments, next_page_token) = page(&rule(views)?, limit, wire::assignment, |view| view.id.to_string());
        Ok(Response::new(v1::ListAssignmentsResponse { assignments, next_page_token }))
    }

    async fn list_leases(&self, request: Request<v1::ListLeasesRequest>) -> Answer<v1::ListLeasesResponse> {
        self.administrator(&request)?;
        let filter = rule(wire::lease_filter(request.get_ref()))?;
        let limit = filter.limit;
        let views = rule(self.read(move |engine, now| engine.leases(now, &filter)).await?)?;
        let (leases, next_page_token) = page(&views, limit, wire::held_lease, |view| view.lease.id.to_string());
        Ok(Response::new(v1::ListLeasesResponse { leases, next_page_token }))
    }

    async fn revoke_leases(&self, request: Request<v1::RevokeLeasesRequest>) -> Answer<v1::RevokeLeasesResponse> {
        let by = self.administrator(&request)?;
        let done = self.act(by, "revoke", rule(wire::revoke(request.get_ref()))?).await?;
        Ok(Response::new(v1::RevokeLeasesResponse { outcomes: convert::leasing::lease_outcomes(&done.leases) }))
    }

    async fn list_denials(&self, request: Request<v1::ListDenialsRequest>) -> Answer<v1::ListDenialsResponse> {
        self.administrator(&request)?;
        let query = rule(wire::denial_query(request.get_ref()))?;
        // What is folded and counted in this minute is stored first (LEASE-12). Where that cannot be, what is there is shown.
        if let Err(refused) = self.daemon.core.submit(Command::SettleDenials).await {
            tracing::debug!(refusal = %refused, "Denials of this minute are not counted in full.");
        }
        let limit = query.limit;
        let rows = self.records(move |records| records.denials(&query)).await?;
        let (denials, next_page_token) = page(&rows, limit, wire::denial, |row| row.id.to_string());
        Ok(Response::new(v1::ListDenialsResponse { denials, next_page_token }))
    }

    async fn check_compliance(
        &self,
        request: Request<v1::CheckComplianceRequest>,
    ) -> Answer<v1::CheckComplianceResponse> {
        let by = self.administrator(&request)?;
        let (pools, exceeded) = self.read(|engine, _| engine.compliance()).await?;
        tracing::info!(%by, pools, exceeded = exceeded.len(), "Compliance was checked.");
        Ok(Response::new(v1::CheckComplianceResponse {
            exceeded: exceeded.iter().map(wire::exceeded).collect(),
            pools_checked: u32::try_from(pools).unwrap_or(u32::MAX),
        }))
    }

    async fn list_audit(&self, request: Request<v1::ListAuditRequest>) -> Answer<v1::ListAuditResponse> {
        self.administrator(&request)?;
        let query = rule(wire::audit_query(request.get_ref()))?;
        let limit = query.limit;
        let rows = self.records(move |records| records.audit(&query)).await?;
        let (entries, next_page_token) = page(&rows, limit, wire::audit_entry, |row| row.id.to_string());
        Ok(Response::new(v1::ListAuditResponse { entries, next_page_token }))
    }

    async fn verify_audit(&self, request: Request<v1::VerifyAuditRequest>) -> Answer<v1::VerifyAuditResponse> {
        let by = self.administrator(&request)?;
        let verdict = self.records(|records| records.verify_audit()).await?;
        let answer = wire::audit_verdict(&verdict);
        tracing::info!(%by, entries = answer.entries, intact = answer.intact, "{}", answer.message);
        Ok(Response::new(answer))
    }

    async fn snapshot_database(
        &self,
        request: Request<v1::SnapshotDatabaseRequest>,
    ) -> Answer<v1::SnapshotDatabaseResponse> {
        let by = self.administrator(&request)?;
        let name = rule(wire::plain_name("file_name", &request.get_ref().file_name))?;
        let copied = name.clone();
        let path = self.records(move |records| records.snapshot(copied.as_str())).await?;
        let bytes = tokio::fs::metadata(&path).await.map_or(0, |file| file.len());
        let after = serde_json::json!({ "path": path.display().to_string(), "bytes": bytes }).to_string();
        self.note(by, "snapshot", name.to_string(), after, String::new()).await?;
        Ok(Response::new(v1::SnapshotDatabaseResponse { path: path.display().to_string(), bytes }))
    }

    async fn list_usage(&self, request: Request<v1::ListUsageRequest>) -> Answer<v1::ListUsageResponse> {
        self.administrator(&request)?;
        self.usage_list(request.get_ref()).await.map(Response::new)
    }

    async fn seal_usage(&self, request: Request<v1::SealUsageRequest>) -> Answer<v1::SealUsageResponse> {
        let by = self.administrator(&request)?;
        let answer = self.usage_seal().await?;
        tracing::info!(%by, events = answer.events, "Usage was sealed at once.");
        Ok(Response::new(answer))
    }

    async fn send_usage(&self, request: Request<v1::SendUsageRequest>) -> Answer<v1::SendUsageResponse> {
        let by = self.administrator(&request)?;
        let answer = self.usage_send().await?;
        tracing::info!(%by, files = answer.files, left = answer.left, "Usage files were tried at once.");
        Ok(Response::new(answer))
    }

    async fn verify_usage(&self, request: Request<v1::VerifyUsageRequest>) -> Answer<v1::VerifyUsageResponse> {
        let by = self.administrator(&request)?;
        let answer = self.usage_verify().await?;
        let (files, findings) = (answer.files, answer.findings.len());
        if findings == 0 {
            tracing::info!(%by, files, "Usage files were verified.");
        } else {
            tracing::warn!(%by, files, findings, "Usage files were verified, and are not what was written.");
        }
        Ok(Response::new(answer))
    }

    type ExportUsageStream = usage::Pieces;

    async fn export_usage(&self, request: Request<v1::ExportUsageRequest>) -> Answer<Self::ExportUsageStream> {
        let by = self.administrator(&request)?;
        let request = request.into_inner();
        let pieces = self.usage_export(&request).await?;
        if !request.manifest_only {
            self.note(by, "usage export", request.period, String::new(), String::new()).await?;
        }
        Ok(Response::new(pieces))
    }

    async fn take_usage_receipt(
        &self,
        request: Request<v1::TakeUsageReceiptRequest>,
    ) -> Answer<v1::TakeUsageReceiptResponse> {
        let by = self.administrator(&request)?;
        let (answer, taken) = self.usage_receipt(request.into_inner().content).await?;
        let sha256 = taken.sha256.map(|sha256| sha256.to_string());
        let after = serde_json::json!({ "state": "acknowledged", "sha256": sha256 }).to_string();
        self.note(by, "usage receipt", taken.file, after, String::new()).await?;
        Ok(Response::new(answer))
    }

    async fn get_standing(&self, request: Request<v1::GetStandingRequest>) -> Answer<v1::GetStandingResponse> {
        self.administrator(&request)?;
        self.standing_ahead(request.get_ref()).await.map(Response::new)
    }

    async fn check_in(&self, request: Request<v1::CheckInRequest>) -> Answer<v1::CheckInResponse> {
        let by = self.administrator(&request)?;
        let answer = self.check_in_now(request.get_ref()).await?;
        tracing::info!(%by, licenses = answer.outcomes.len(), "A check-in was asked for.");
        Ok(Response::new(answer))
    }

    async fn make_check_in_request(
        &self,
        request: Request<v1::MakeCheckInRequestRequest>,
    ) -> Answer<v1::MakeCheckInRequestResponse> {
        let by = self.administrator(&request)?;
        let answer = self.check_in_request(request.get_ref()).await?;
        self.note(by, "check-in request", answer.suggested_name.clone(), String::new(), String::new()).await?;
        Ok(Response::new(answer))
    }

    async fn take_check_in_answer(
        &self,
        request: Request<v1::TakeCheckInAnswerRequest>,
    ) -> Answer<v1::TakeCheckInAnswerResponse> {
        let by = self.administrator(&request)?;
        let answer = self.check_in_answer(request.into_inner().note).await?;
        let outcome = answer.outcome.as_ref();
        if outcome.is_none_or(|outcome| outcome.code.is_empty()) {
            let subject = outcome.map_or_else(|| "time note".to_owned(), |outcome| outcome.license_id.clone());
            let after = outcome.map_or_else(String::new, |it| serde_json::json!({ "verdict": it.verdict }).to_string());
            self.note(by, "check-in answer", subject, after, String::new()).await?;
        }
        Ok(Response::new(answer))
    }

    async fn doctor(&self, request: Request<v1::DoctorRequest>) -> Answer<v1::DoctorResponse> {
        let by = self.administrator(&request)?;
        let answer = self.way_out().await?;
        tracing::info!(%by, well = answer.well, "The way out of usage files was tested.");
        Ok(Response::new(answer))
    }
}
