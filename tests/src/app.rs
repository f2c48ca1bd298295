//! An application server that asks by unary calls, as a foreign client would; and how a request is put together.

use leasehold_proto::v1::{self, acquire_request::Subject, leasing_client::LeasingClient, user_logon::At};
use tonic::transport::Channel;
use uuid::Uuid;

use crate::{Refused, within};

/// A request for a lease.
#[derive(Clone, Debug)]
pub struct Ask(pub v1::AcquireRequest);

impl Ask {
    fn about(subject: Subject) -> Self {
        Self(v1::AcquireRequest {
            request_id: Uuid::new_v4().as_bytes().to_vec(),
            subject: Some(subject),
            ..Default::default()
        })
    }

    /// A user's logon, without a station or computer.
    pub fn logon(user: &str) -> Self {
        Self::about(Subject::Logon(v1::UserLogon { user: user.to_owned(), ..Default::default() }))
    }

    /// A station's own use.
    pub fn station(station: &str) -> Self {
        Self::about(Subject::Station(v1::StationUse { station: station.to_owned(), needed_keys: Vec::new() }))
    }

    /// Units for the server itself.
    pub fn units(key: &str, units: u32) -> Self {
        Self::about(Subject::Units(v1::ServerUnits { key: key.to_owned(), units }))
    }

    fn change_logon(mut self, change: impl FnOnce(&mut v1::UserLogon)) -> Self {
        match &mut self.0.subject {
            Some(Subject::Logon(logon)) => change(logon),
            other => panic!("only a logon has that, not {other:?}"),
        }
        self
    }

    /// At a station.
    #[must_use]
    pub fn at(self, station: &str) -> Self {
        self.change_logon(|logon| logon.at = Some(At::Station(station.to_owned())))
    }

    /// At a telephone number.
    #[must_use]
    pub fn at_number(self, number: &str) -> Self {
        self.change_logon(|logon| logon.at = Some(At::DynamicRemoteNumber(number.to_owned())))
    }

    /// On a computer: a primary logon.
    #[must_use]
    pub fn on(self, computer: &str) -> Self {
        self.change_logon(|logon| logon.computer = computer.to_owned())
    }

    /// For an application other than the caller's own.
    #[must_use]
    pub fn by(self, application: &str) -> Self {
        self.change_logon(|logon| logon.application = application.to_owned())
    }

    /// With keys without which it makes no sense.
    #[must_use]
    pub fn needing(mut self, keys: &[&str]) -> Self {
        let keys = keys.iter().map(|key| (*key).to_owned()).collect();
        match &mut self.0.subject {
            Some(Subject::Logon(logon)) => logon.needed_keys = keys,
            Some(Subject::Station(usage)) => usage.needed_keys = keys,
            other => panic!("no keys can be named for {other:?}"),
        }
        self
    }

    /// With a time to live.
    #[must_use]
    pub fn ttl_ms(mut self, ms: u64) -> Self {
        self.0.ttl_ms = ms;
        self
    }

    /// Waiting in the queue.
    #[must_use]
    pub fn waiting_ms(mut self, ms: u64) -> Self {
        self.0.wait_ms = ms;
        self
    }

    /// In a class of the queue.
    #[must_use]
    pub fn priority(mut self, class: u32) -> Self {
        self.0.priority = class;
        self
    }

    /// Its request ID.
    pub fn id(&self) -> Vec<u8> {
        self.0.request_id.clone()
    }
}

/// An application server. Cheap to clone: clones are the same one.
#[derive(Clone)]
pub struct App {
    /// The raw client.
    pub leasing: LeasingClient<Channel>,
    /// Who it says it is.
    pub caller: v1::Caller,
}

impl App {
    /// One of this name over a connection.
    pub fn new(channel: Channel, name: &str) -> Self {
        let caller = v1::Caller {
            name: name.to_owned(),
            application: "Interaction Desktop".to_owned(),
            ..v1::Caller::default()
        };
        Self { leasing: LeasingClient::new(channel), caller }
    }

    /// The same with another application's name.
    #[must_use]
    pub fn application(mut self, application: &str) -> Self {
        self.caller.application = application.to_owned();
        self
    }

    /// The same with a product version.
    #[must_use]
    pub fn version(mut self, version: &str) -> Self {
        self.caller.version = version.to_owned();
        self
    }

    /// The request as it goes out, for stories that send it themselves.
    pub fn message(&self, ask: &Ask) -> v1::AcquireRequest {
        v1::AcquireRequest { caller: Some(self.caller.clone()), ..ask.0.clone() }
    }

    /// Asks for a lease.
    ///
    /// # Errors
    /// What the daemon refuses.
    pub async fn acquire(&self, ask: Ask) -> Result<v1::Lease, Refused> {
        let answer = within("an answer", self.leasing.clone().acquire(self.message(&ask))).await?;
        Ok(answer.into_inner().lease.expect("an answer holds a lease"))
    }

    /// Renews leases; what became of each.
    ///
    /// # Errors
    /// Where the call as a whole is refused.
    pub async fn renew(&self, leases: &[u64]) -> Result<Vec<Result<(), Refused>>, Refused> {
        let message = v1::RenewRequest { caller: Some(self.caller.clone()), lease_ids: leases.to_vec() };
        let answer = within("an answer", self.leasing.clone().renew(message)).await?;
        Ok(answer.into_inner().outcomes.into_iter().map(|outcome| done(outcome.refusal)).collect())
    }

    /// Renews one lease.
    ///
    /// # Errors
    /// What the daemon refuses.
    pub async fn renew_one(&self, lease: u64) -> Result<(), Refused> {
        self.renew(&[lease]).await?.pop().expect("an answer for each")
    }

    /// Gives one lease back.
    ///
    /// # Errors
    /// What the daemon refuses.
    pub async fn release(&self, lease: u64) -> Result<(), Refused> {
        self.release_all(&[lease]).await?.pop().expect("an answer for each")
    }

    /// Gives leases back; what became of each.
    ///
    /// # Errors
    /// Where the call as a whole is refused.
    pub async fn release_all(&self, leases: &[u64]) -> Result<Vec<Result<(), Refused>>, Refused> {
        let message =
            v1::ReleaseRequest { caller: Some(self.caller.clone()), lease_ids: leases.to_vec(), ..Default::default() };
        let answer = within("an answer", self.leasing.clone().release(message)).await?;
        Ok(answer.into_inner().outcomes.into_iter().map(|outcome| done(outcome.refusal)).collect())
    }

    /// Gives back what an acquire request was granted (LEASE-14).
    ///
    /// # Errors
    /// What the daemon refuses.
    pub async fn release_request(&self, request: &[u8]) -> Result<u64, Refused> {
        let message = v1::ReleaseRequest {
            caller: Some(self.caller.clone()),
            acquire_request_ids: vec![request.to_vec()],
            ..Default::default()
        };
        let answer = within("an answer", self.leasing.clone().release(message)).await?;
        let outcome = answer.into_inner().outcomes.pop().expect("an answer for each");
        done(outcome.refusal).map(|()| outcome.lease_id)
    }

    /// Marks a lease idle or active.
    ///
    /// # Errors
    /// What the daemon refuses.
    pub async fn set_idle(&self, lease: u64, idle: bool) -> Result<(), Refused> {
        let message = v1::SetIdleRequest {
            caller: Some(self.caller.clone()),
            lease_ids: vec![lease],
            idle,
            ..Default::default()
        };
        let answer = within("an answer", self.leasing.clone().set_idle(message)).await?;
        done(answer.into_inner().outcomes.pop().expect("an answer for each").refusal)
    }

    /// Site-wide keys.
    ///
    /// # Errors
    /// What the daemon refuses.
    pub async fn site_keys(&self, keys: &[&str]) -> Result<Vec<v1::SiteKey>, Refused> {
        let keys = keys.iter().map(|key| (*key).to_owned()).collect();
        let message = v1::SiteKeysRequest { caller: Some(self.caller.clone()), keys, release_date: None };
        Ok(within("an answer", self.leasing.clone().site_keys(message)).await?.into_inner().keys)
    }

    /// The decision, step by step.
    ///
    /// # Errors
    /// Where the question itself is refused.
    pub async fn explain(&self, ask: &Ask) -> Result<v1::ExplainResponse, Refused> {
        let message = v1::ExplainRequest { acquire: Some(self.message(ask)) };
        Ok(within("an answer", self.leasing.clone().explain(message)).await?.into_inner())
    }
}

pub(crate) fn done(refusal: Option<v1::Refusal>) -> Result<(), Refused> {
    refusal.map_or(Ok(()), |refusal| Err(refusal.into()))
}

/// What a lease holds, by key: the pool in which it has a seat or units, or nothing where it needs none.
pub fn held(lease: &v1::Lease) -> Vec<(&str, &str)> {
    let mut held: Vec<_> = lease.keys.iter().map(|key| (key.key.as_str(), key.pool.as_str())).collect();
    held.sort_unstable();
    held
}
