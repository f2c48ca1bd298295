//! The `Leasing` service: each call checked, given to the core, and its answer put into words. The stream is in
//! `attach.rs`.

use std::sync::Arc;

use leasehold_engine::{
    SignableLease,
    command::{CallerInfo, Command, Origin},
    decision::Reply,
    ids::LeaseId,
    refusal::Refusal,
    time::WallTime,
};
use leasehold_keys::activation::LicenseId;
use leasehold_proto::v1::{self, leasing_server};
use tonic::{Request, Response, Status, Streaming};

use super::{
    attach::{self, Answers, Attached},
    convert::{self, Checked, MOST_KEYS, leasing as wire},
    listen::known,
    status,
};
use crate::{
    core::{Core, Refused},
    folder::Folder,
    witness::Witness,
};

/// The service. Cheap to clone.
#[derive(Clone)]
pub(super) struct Leasing {
    core: Core,
    witness: Witness,
    folder: Folder,
    attached: Arc<Attached>,
    installation_id: Arc<str>,
}

impl Leasing {
    pub(super) fn new(core: Core, witness: Witness, folder: Folder, installation_id: &str) -> Self {
        Self { core, witness, folder, attached: Arc::default(), installation_id: installation_id.into() }
    }
}

type Answer<T> = Result<Response<T>, Status>;

fn refused(refused: Refused) -> Status {
    status::status(&refused)
}

/// Who asks, where it is needed in full.
fn caller<T>(request: &Request<T>, said: Option<&v1::Caller>) -> Checked<CallerInfo> {
    convert::caller(known(request), said)
}

/// Who asks, for questions that take nothing.
fn asker<T>(request: &Request<T>, said: Option<&v1::Caller>) -> Result<(), Status> {
    convert::identity(known(request), said).map(drop).map_err(status::of_rule)
}

/// A wrong kind of answer is a fault of this program.
fn wrong(reply: &Reply) -> Status {
    tracing::error!(?reply, "The engine gave a wrong answer.");
    Status::internal("The server made a mistake; its log tells which.")
}

#[tonic::async_trait]
impl leasing_server::Leasing for Leasing {
    type AttachStream = Answers;

    async fn attach(&self, request: Request<Streaming<v1::AttachRequest>>) -> Answer<Self::AttachStream> {
        let known = known(&request);
        let answers = attach::serve(
            self.core.clone(),
            self.witness.clone(),
            self.attached.clone(),
            self.installation_id.clone(),
            known,
            request.into_inner(),
        );
        Ok(Response::new(answers))
    }

    async fn acquire(&self, request: Request<v1::AcquireRequest>) -> Answer<v1::AcquireResponse> {
        let message = request.get_ref();
        let caller = caller(&request, message.caller.as_ref()).map_err(status::of_rule)?;
        let identity = caller.identity.clone();
        let acquire = wire::acquire(Origin::Unary(caller), message).map_err(status::of_rule)?;
        // A call that is cancelled drops this future, which takes a waiting request out of its turn.
        let answer = self.core.acquire(acquire).await;
        match &answer {
            Ok(lease) => tracing::debug!(%identity, lease = %lease.id, "Granted."),
            Err(refusal) => tracing::debug!(%identity, %refusal, "Refused."),
        }
        let lease = answer.map_err(refused)?;
        self.witness.moved();
        let token = match message.sign {
            true => self.witness.token_of(identity, lease.id).await.unwrap_or_default(),
            false => Vec::new(),
        };
        Ok(Response::new(v1::AcquireResponse { lease: Some(v1::Lease { token, ..wire::lease(&lease) }) }))
    }

    async fn renew(&self, request: Request<v1::RenewRequest>) -> Answer<v1::RenewResponse> {
        let message = request.get_ref();
        let caller = caller(&request, message.caller.as_ref()).map_err(status::of_rule)?;
        let leases = convert::some_lease_ids("lease_ids", &message.lease_ids).map_err(status::of_rule)?;
        let command = Command::Renew { from: Origin::Unary(caller), leases };
        match self.core.submit(command).await.map_err(refused)? {
            Reply::Leases(outcomes) => {
                Ok(Response::new(v1::RenewResponse { outcomes: wire::lease_outcomes(&outcomes) }))
            }
            reply => Err(wrong(&reply)),
        }
    }

    async fn release(&self, request: Request<v1::ReleaseRequest>) -> Answer<v1::ReleaseResponse> {
        let message = request.get_ref();
        let caller = caller(&request, message.caller.as_ref()).map_err(status::of_rule)?;
        let identity = caller.identity.clone();
        let release = convert::request_id_or_none("request_id", &message.request_id)
            .and_then(|id| wire::release(Origin::Unary(caller), id, message))
            .map_err(status::of_rule)?;
        match self.core.submit(Command::Release(release)).await.map_err(refused)? {
            Reply::Released(outcomes) => {
                tracing::debug!(%identity, leases = outcomes.len(), "Released.");
                Ok(Response::new(v1::ReleaseResponse { outcomes: wire::release_outcomes(&outcomes) }))
            }
            reply => Err(wrong(&reply)),
        }
    }

    async fn set_idle(&self, request: Request<v1::SetIdleRequest>) -> Answer<v1::SetIdleResponse> {
        let message = request.get_ref();
        let caller = caller(&request, message.caller.as_ref()).map_err(status::of_rule)?;
        // Nothing is remembered of it: saying it twice is saying it once.
        convert::request_id_or_none("request_id", &message.request_id).map_err(status::of_rule)?;
        let leases = convert::some_lease_ids("lease_ids", &message.lease_ids).map_err(status::of_rule)?;
        let command = Command::SetIdle { from: Origin::Unary(caller), leases, idle: message.idle };
        match self.core.submit(command).await.map_err(refused)? {
            Reply::Leases(outcomes) => {
                Ok(Response::new(v1::SetIdleResponse { outcomes: wire::lease_outcomes(&outcomes) }))
            }
            reply => Err(wrong(&reply)),
        }
    }

    async fn entitlements(&self, request: Request<v1::EntitlementsRequest>) -> Answer<v1::EntitlementsResponse> {
        let message = request.get_ref();
        asker(&request, message.caller.as_ref())?;
        let query = wire::entitlements(message).map_err(status::of_rule)?;
        let views = self
            .core
            .read(move |engine, now| engine.entitlements(now, &query))
            .await
            .map_err(refused)?
            .map_err(status::of_rule)?;
        Ok(Response::new(v1::EntitlementsResponse { subjects: views.iter().map(wire::entitlement).collect() }))
    }

    async fn site_keys(&self, request: Request<v1::SiteKeysRequest>) -> Answer<v1::SiteKeysResponse> {
        let message = request.get_ref();
        asker(&request, message.caller.as_ref())?;
        let keys = convert::key_names("keys", &message.keys, MOST_KEYS).map_err(status::of_rule)?;
        let release = message
            .release_date
            .as_ref()
            .map(|at| convert::wall_time("release_date", at))
            .transpose()
            .map_err(status::of_rule)?;
        let (views, install) = self
            .core
            .read(move |engine, now| {
                (engine.site_keys(now, &keys), release.map(|release| engine.may_install(now, release)))
            })
            .await
            .map_err(refused)?;
        Ok(Response::new(wire::site_keys(&views.map_err(status::of_rule)?, install)))
    }

    async fn explain(&self, request: Request<v1::ExplainRequest>) -> Answer<v1::ExplainResponse> {
        let Some(message) = request.get_ref().acquire.as_ref() else {
            return Err(status::of_rule(convert::malformed(
                "acquire",
                "it is missing; say which request is to be explained",
            )));
        };
        let caller = caller(&request, message.caller.as_ref()).map_err(status::of_rule)?;
        let acquire = wire::explained(Origin::Unary(caller), message).map_err(status::of_rule)?;
        let explanation = self.core.read(move |engine, now| engine.explain(now, &acquire)).await.map_err(refused)?;
        Ok(Response::new(wire::explanation(&explanation)))
    }

    async fn sign_leases(&self, request: Request<v1::SignLeasesRequest>) -> Answer<v1::SignLeasesResponse> {
        let message = request.get_ref();
        let identity = convert::identity(known(&request), message.caller.as_ref()).map_err(status::of_rule)?;
        let leases = wire::to_sign(&message.lease_ids).map_err(status::of_rule)?;
        let question = move |engine: &leasehold_engine::Engine, now: leasehold_engine::time::Now| {
            let one =
                |lease: &LeaseId| (*lease, engine.signable(now, &identity, *lease).map(|lease| (lease, now.wall)));
            leases.iter().map(one).collect::<Vec<_>>()
        };
        let found = self.core.read(question).await.map_err(refused)?;
        let witness = self.witness.clone();
        // A thousand signatures take longer than a task may hold its thread.
        let signed = tokio::task::spawn_blocking(move || {
            let one = |(lease, found): (LeaseId, Result<(SignableLease, WallTime), Refusal>)| match found {
                Ok((signable, now)) => match witness.token(&signable, now) {
                    Some(token) => v1::SignedLease { lease_id: lease.0, token, refusal: None },
                    None => v1::SignedLease {
                        lease_id: lease.0,
                        token: Vec::new(),
                        refusal: Some(v1::Refusal {
                            code: tonic::Code::Internal.into(),
                            reason: "NOT_SIGNED".to_owned(),
                            message: format!("Lease {} cannot be signed; the server's log tells why.", lease.0),
                            ..v1::Refusal::default()
                        }),
                    },
                },
                Err(refusal) => {
                    v1::SignedLease { lease_id: lease.0, token: Vec::new(), refusal: Some(status::wire(&refusal)) }
                }
            };
            found.into_iter().map(one).collect()
        });
        let leases = signed.await.map_err(|_| refused(Refused::Draining))?;
        Ok(Response::new(v1::SignLeasesResponse { leases }))
    }

    async fn activation_files(
        &self,
        request: Request<v1::ActivationFilesRequest>,
    ) -> Answer<v1::ActivationFilesResponse> {
        let message = request.get_ref();
        asker(&request, message.caller.as_ref())?;
        let wanted = wire::license_ids(&message.license_ids).map_err(status::of_rule)?;
        let files = self
            .core
            .read(move |engine, now| {
                let wanted = |id: &LicenseId| wanted.is_empty() || wanted.contains(id);
                let views = engine.licenses(now).into_iter();
                views
                    .filter(|view| view.is_in_effect() && wanted(&view.license))
                    .map(|view| view.terms)
                    .collect::<Vec<_>>()
            })
            .await
            .map_err(refused)?;
        let trust = self.folder.trust();
        let newer = trust.trust().chain().filter(|root| root.version > message.root_version);
        Ok(Response::new(v1::ActivationFilesResponse {
            roots: newer.map(|root| root.bytes().to_vec()).collect(),
            files: files
                .iter()
                .map(|file| v1::ActivationNote { license_id: file.license_id.to_string(), note: file.bytes().to_vec() })
                .collect(),
        }))
    }
}
