//! A daemon that answers as it is told to: for each kind of request a function. What nobody scripted is unimplemented.

use std::{
    any::{Any, TypeId},
    collections::BTreeMap,
    io::{self, Write},
    path::PathBuf,
    sync::{Arc, Mutex},
};

use jiff::tz::TimeZone;
use leasehold_cli::{Surroundings, clock::Clock, exit::ExitCode, run};
use leasehold_proto::v1::{
    self,
    administration_server::{Administration, AdministrationServer},
    leasing_server::{Leasing, LeasingServer},
};
use tokio_stream::{Stream, wrappers::UnixListenerStream};
use tonic::{Request, Response, Status, Streaming};

type Handler = Box<dyn Fn(Box<dyn Any>) -> Result<Box<dyn Any>, Status> + Send>;

/// The script: functions by the type of the request.
#[derive(Clone, Default)]
pub(crate) struct Script {
    handlers: Arc<Mutex<BTreeMap<TypeId, Handler>>>,
}

impl Script {
    /// Answers every request of this type from now on.
    pub(crate) fn on<Q: 'static, A: 'static>(&self, handler: impl Fn(Q) -> Result<A, Status> + Send + 'static) {
        let boxed: Handler = Box::new(move |request| {
            let request = request.downcast::<Q>().expect("handlers are kept by the type of the request");
            handler(*request).map(|answer| Box::new(answer) as Box<dyn Any>)
        });
        self.handlers.lock().unwrap().insert(TypeId::of::<Q>(), boxed);
    }

    fn answer<Q: 'static, A: 'static>(&self, request: Request<Q>) -> Result<Response<A>, Status> {
        let handlers = self.handlers.lock().unwrap();
        let Some(handler) = handlers.get(&TypeId::of::<Q>()) else {
            return Err(Status::unimplemented("not in the script"));
        };
        let answer = handler(Box::new(request.into_inner()))?;
        Ok(Response::new(*answer.downcast::<A>().expect("the script answers in the type of the call")))
    }
}

/// A service all of whose calls are answered by the script, with what it has besides such calls.
macro_rules! service {
    ($service:ident { $($besides:tt)* } $($name:ident: $request:ident -> $answer:ident,)*) => {
        #[tonic::async_trait]
        impl $service for Script {
            $($besides)*
            $(async fn $name(&self, request: Request<v1::$request>) -> Result<Response<v1::$answer>, Status> {
                self.answer(request)
            })*
        }
    };
}

service! {
    Administration {
        type ExportUsageStream = tokio_stream::Iter<std::vec::IntoIter<Result<v1::ExportUsageResponse, Status>>>;

        async fn export_usage(
            &self,
            request: Request<v1::ExportUsageRequest>,
        ) -> Result<Response<Self::ExportUsageStream>, Status> {
            let parts: Vec<v1::ExportUsageResponse> = self.answer(request)?.into_inner();
            Ok(Response::new(tokio_stream::iter(parts.into_iter().map(Ok).collect::<Vec<_>>())))
        }
    }
    get_status: GetStatusRequest -> GetStatusResponse,
    get_host_id: GetHostIdRequest -> GetHostIdResponse,
    load_file: LoadFileRequest -> LoadFileResponse,
    unload: UnloadRequest -> UnloadResponse,
    promote: PromoteRequest -> PromoteResponse,
    stand_by: StandByRequest -> StandByResponse,
    list_licenses: ListLicensesRequest -> ListLicensesResponse,
    list_pools: ListPoolsRequest -> ListPoolsResponse,
    set_pool_rule: SetPoolRuleRequest -> SetPoolRuleResponse,
    set_share: SetShareRequest -> SetShareResponse,
    list_shares: ListSharesRequest -> ListSharesResponse,
    create_entity: CreateEntityRequest -> EntityResponse,
    change_entity: ChangeEntityRequest -> EntityResponse,
    delete_entity: DeleteEntityRequest -> EntityResponse,
    list_entities: ListEntitiesRequest -> ListEntitiesResponse,
    assign: AssignRequest -> AssignResponse,
    unassign: UnassignRequest -> AssignResponse,
    list_assignments: ListAssignmentsRequest -> ListAssignmentsResponse,
    list_leases: ListLeasesRequest -> ListLeasesResponse,
    revoke_leases: RevokeLeasesRequest -> RevokeLeasesResponse,
    list_denials: ListDenialsRequest -> ListDenialsResponse,
    check_compliance: CheckComplianceRequest -> CheckComplianceResponse,
    list_audit: ListAuditRequest -> ListAuditResponse,
    verify_audit: VerifyAuditRequest -> VerifyAuditResponse,
    snapshot_database: SnapshotDatabaseRequest -> SnapshotDatabaseResponse,
    list_usage: ListUsageRequest -> ListUsageResponse,
    seal_usage: SealUsageRequest -> SealUsageResponse,
    send_usage: SendUsageRequest -> SendUsageResponse,
    verify_usage: VerifyUsageRequest -> VerifyUsageResponse,
    take_usage_receipt: TakeUsageReceiptRequest -> TakeUsageReceiptResponse,
    doctor: DoctorRequest -> DoctorResponse,
    get_standing: GetStandingRequest -> GetStandingResponse,
    check_in: CheckInRequest -> CheckInResponse,
    make_check_in_request: MakeCheckInRequestRequest -> MakeCheckInRequestResponse,
    take_check_in_answer: TakeCheckInAnswerRequest -> TakeCheckInAnswerResponse,
}

service! {
    Leasing {
        type AttachStream = std::pin::Pin<Box<dyn Stream<Item = Result<v1::AttachResponse, Status>> + Send>>;

        async fn attach(
            &self,
            _: Request<Streaming<v1::AttachRequest>>,
        ) -> Result<Response<Self::AttachStream>, Status> {
            Err(Status::unimplemented("administrators do not attach"))
        }
    }
    acquire: AcquireRequest -> AcquireResponse,
    renew: RenewRequest -> RenewResponse,
    release: ReleaseRequest -> ReleaseResponse,
    set_idle: SetIdleRequest -> SetIdleResponse,
    entitlements: EntitlementsRequest -> EntitlementsResponse,
    site_keys: SiteKeysRequest -> SiteKeysResponse,
    explain: ExplainRequest -> ExplainResponse,
    sign_leases: SignLeasesRequest -> SignLeasesResponse,
    activation_files: ActivationFilesRequest -> ActivationFilesResponse,
}

/// A scripted daemon that listens.
pub(crate) struct Daemon {
    folder: tempfile::TempDir,
}

/// What a command printed and how it ended.
pub(crate) struct Ended {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) exit: ExitCode,
}

impl Daemon {
    /// Listens on a Unix socket in a folder of its own.
    pub(crate) fn start(script: Script) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = tokio::net::UnixListener::bind(folder.path().join("leasehold.sock")).unwrap();
        let server = tonic::transport::Server::builder()
            .add_service(AdministrationServer::new(script.clone()))
            .add_service(LeasingServer::new(script))
            .serve_with_incoming(UnixListenerStream::new(listener));
        tokio::spawn(server);
        Self { folder }
    }

    /// Its address.
    pub(crate) fn address(&self) -> String {
        format!("unix://{}", self.path("leasehold.sock").display())
    }

    /// A path in its folder, for files of a test.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs a command line, split at blanks, with nothing on standard input and no terminal.
    pub(crate) async fn run(&self, line: &str) -> Ended {
        let arguments: Vec<&str> = line.split_whitespace().collect();
        self.run_with(&arguments, "", None).await
    }

    /// Runs a command.
    pub(crate) async fn run_with(&self, arguments: &[&str], stdin: &str, width: Option<u16>) -> Ended {
        let address = self.address();
        let mut whole = vec!["leasehold", "--server", &address];
        whole.extend_from_slice(arguments);
        run_alone(&whole, stdin, width).await
    }
}

/// Runs a whole command line, from 2026-11-22 04:00 at +01:00.
pub(crate) async fn run_alone(arguments: &[&str], stdin: &str, width: Option<u16>) -> Ended {
    let (stdout, stderr) = (Sink::default(), Sink::default());
    let now = "2026-11-22T03:00:00Z".parse().unwrap();
    let exit = run(
        arguments,
        Surroundings {
            clock: Clock::fixed(now, TimeZone::fixed(jiff::tz::offset(1))),
            width,
            stdin: Box::new(io::Cursor::new(stdin.to_owned())),
            stdout: Box::new(stdout.clone()),
            stderr: Box::new(stderr.clone()),
        },
    )
    .await;
    Ended { stdout: stdout.plain(), stderr: stderr.plain(), exit }
}

#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Sink {
    fn plain(&self) -> String {
        let bytes = self.0.lock().unwrap().clone();
        anstream::adapter::strip_str(&String::from_utf8(bytes).expect("output is UTF-8")).to_string()
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
