//! An administrator, over the daemon's socket.

use leasehold_proto::v1::{self, administration_client::AdministrationClient, entity, entity_ref};
use tonic::transport::Channel;

use crate::{Refused, app, within};

/// An administrator. Calls that a story expects to succeed panic where they do not; `try_` ones give the refusal.
#[derive(Clone)]
pub struct Admin {
    /// The raw client.
    pub calls: AdministrationClient<Channel>,
}

/// A call, waited for.
macro_rules! call {
    ($self:ident . $method:ident ( $message:expr )) => {
        within(stringify!($method), $self.calls.clone().$method($message)).await.map(tonic::Response::into_inner)
    };
}

/// A user by name.
pub fn user(name: &str) -> v1::EntityRef {
    v1::EntityRef { entity: Some(entity_ref::Entity::User(name.to_owned())) }
}

/// A station by name.
pub fn station(name: &str) -> v1::EntityRef {
    v1::EntityRef { entity: Some(entity_ref::Entity::Station(name.to_owned())) }
}

/// Texts as the wire has them.
pub fn texts(values: &[&str]) -> Vec<String> {
    values.iter().map(|value| (*value).to_owned()).collect()
}

/// Texts as the wire has them, where they may be left out.
pub fn list(values: &[&str]) -> Option<v1::StringList> {
    Some(v1::StringList { values: texts(values) })
}

impl Admin {
    /// Over a connection.
    pub fn new(channel: Channel) -> Self {
        Self { calls: AdministrationClient::new(channel).max_decoding_message_size(16 << 20) }
    }

    /// How the server stands.
    pub async fn status(&self) -> v1::GetStatusResponse {
        call!(self.get_status(v1::GetStatusRequest {})).expect("a status")
    }

    /// Loads a file, and what became of it.
    ///
    /// # Errors
    /// Where it could not be placed; a file that is refused is no error.
    pub async fn try_load(&self, name: &str, note: &str) -> Result<v1::FolderEntry, Refused> {
        let message = v1::LoadFileRequest { name: name.to_owned(), content: note.into(), check_only: false };
        Ok(call!(self.load_file(message))?.entry.expect("an entry"))
    }

    /// Loads a file that is accepted.
    pub async fn load(&self, name: &str, note: &str) {
        let entry = self.try_load(name, note).await.expect("the file is placed");
        assert_eq!(entry.state, "accepted", "{entry:?}");
    }

    /// Creates or changes anything.
    ///
    /// # Errors
    /// What the daemon refuses.
    pub async fn try_create(&self, entity: entity::Entity) -> Result<v1::EntityResponse, Refused> {
        let message = v1::CreateEntityRequest { entity: Some(v1::Entity { entity: Some(entity) }) };
        Ok(call!(self.create_entity(message))?)
    }

    /// Changes something.
    ///
    /// # Errors
    /// What the daemon refuses.
    pub async fn try_change(&self, entity: entity::Entity) -> Result<v1::EntityResponse, Refused> {
        let message = v1::ChangeEntityRequest { entity: Some(v1::Entity { entity: Some(entity) }) };
        Ok(call!(self.change_entity(message))?)
    }

    /// Deletes something.
    ///
    /// # Errors
    /// What the daemon refuses.
    pub async fn try_delete(&self, entity: v1::EntityRef) -> Result<v1::EntityResponse, Refused> {
        Ok(call!(self.delete_entity(v1::DeleteEntityRequest { entity: Some(entity) }))?)
    }

    /// A user, by method: `assignable` or `concurrent`.
    pub async fn user(&self, name: &str, method: &str) {
        let user = v1::User { name: name.to_owned(), method: Some(method.to_owned()), ..v1::User::default() };
        self.try_create(entity::Entity::User(user)).await.expect("a user");
    }

    /// Users `agent-001` and on, by method; their names.
    pub async fn agents(&self, count: usize, method: &str) -> Vec<String> {
        let names: Vec<String> = (1..=count).map(|number| format!("agent-{number:03}")).collect();
        let made = names.iter().map(|name| {
            let admin = self.clone();
            let (name, method) = (name.clone(), method.to_owned());
            tokio::spawn(async move { admin.user(&name, &method).await })
        });
        for one in made.collect::<Vec<_>>() {
            one.await.expect("a user");
        }
        names
    }

    /// A station of a kind; the warnings that came with it.
    pub async fn station(&self, name: &str, kind: &str) -> Vec<v1::Warning> {
        let station = v1::Station { name: name.to_owned(), kind: Some(kind.to_owned()), ..v1::Station::default() };
        self.try_create(entity::Entity::Station(station)).await.expect("a station").warnings
    }

    /// A workgroup that routes these interaction types.
    pub async fn workgroup(&self, name: &str, types: &[&str]) {
        let group = v1::Workgroup { name: name.to_owned(), interaction_types: list(types), ..v1::Workgroup::default() };
        self.try_create(entity::Entity::Workgroup(group)).await.expect("a workgroup");
    }

    /// An organization.
    ///
    /// # Errors
    /// What the daemon refuses.
    pub async fn try_organization(&self, name: &str) -> Result<v1::EntityResponse, Refused> {
        let organization = v1::Organization { name: name.to_owned(), ..v1::Organization::default() };
        self.try_create(entity::Entity::Organization(organization)).await
    }

    /// Gives keys, all or nothing.
    ///
    /// # Errors
    /// The first refusal.
    pub async fn try_assign(&self, keys: &[&str], subjects: Vec<v1::EntityRef>) -> Result<usize, Refused> {
        let message = v1::AssignRequest { subjects, keys: texts(keys), ..v1::AssignRequest::default() };
        outcome(call!(self.assign(message))?)
    }

    /// Takes keys, all or nothing.
    ///
    /// # Errors
    /// The first refusal.
    pub async fn try_unassign(&self, keys: &[&str], subjects: Vec<v1::EntityRef>) -> Result<usize, Refused> {
        let message = v1::UnassignRequest { subjects, keys: texts(keys), ..v1::UnassignRequest::default() };
        outcome(call!(self.unassign(message))?)
    }

    /// Gives keys to users.
    pub async fn give<U: AsRef<str>>(&self, keys: &[&str], users: &[U]) {
        let users = users.iter().map(|name| user(name.as_ref())).collect();
        self.try_assign(keys, users).await.expect("keys for users");
    }

    /// Gives keys to stations.
    pub async fn give_stations(&self, keys: &[&str], stations: &[&str]) {
        let stations = stations.iter().map(|name| station(name)).collect();
        self.try_assign(keys, stations).await.expect("keys for stations");
    }

    /// A pool by its name.
    pub async fn pool(&self, name: &str) -> v1::Pool {
        let pools = self.pools().await;
        let found = pools.iter().find(|pool| pool.name == name).cloned();
        found.unwrap_or_else(|| panic!("no pool {name} in {pools:?}"))
    }

    /// A pool, once `is` holds of it: what time does by itself, it does a moment after time has passed.
    pub async fn pool_when(&self, name: &str, is: impl Fn(&v1::Pool) -> bool) -> v1::Pool {
        within(&format!("a change of pool {name}"), async {
            loop {
                let found = self.pools().await.into_iter().find(|pool| pool.name == name);
                if let Some(pool) = found.filter(&is) {
                    return pool;
                }
            }
        })
        .await
    }

    /// The status, once `is` holds of it.
    pub async fn status_when(&self, what: &str, is: impl Fn(&v1::GetStatusResponse) -> bool) -> v1::GetStatusResponse {
        within(what, async {
            loop {
                let status = self.status().await;
                if is(&status) {
                    return status;
                }
            }
        })
        .await
    }

    /// A file of the watched folder, once status shows it in this state.
    pub async fn entry_when(&self, name: &str, state: &str) -> v1::FolderEntry {
        let shown = |status: &v1::GetStatusResponse| {
            status.folder.iter().find(|entry| entry.name == name && entry.state == state).cloned()
        };
        let status = self.status_when(&format!("{name} is {state}"), |status| shown(status).is_some()).await;
        shown(&status).expect("it was there")
    }

    /// All pools.
    pub async fn pools(&self) -> Vec<v1::Pool> {
        call!(self.list_pools(v1::ListPoolsRequest::default())).expect("pools").pools
    }

    /// Sets a share.
    ///
    /// # Errors
    /// What the daemon refuses.
    pub async fn try_share(&self, share: v1::Share) -> Result<v1::Share, Refused> {
        let message = v1::SetShareRequest { share: Some(share), remove: false };
        Ok(call!(self.set_share(message))?.share.expect("a share"))
    }

    /// Sets a pool's idle time.
    pub async fn idle(&self, pool: &str, idle_ms: u64, always: bool) {
        let message = v1::SetPoolRuleRequest { pool: pool.to_owned(), idle_ms, idle_always: always };
        call!(self.set_pool_rule(message)).expect("a pool rule");
    }

    /// All live leases.
    pub async fn leases(&self) -> Vec<v1::HeldLease> {
        let (mut leases, mut page_token) = (Vec::new(), String::new());
        loop {
            let message = v1::ListLeasesRequest { page_token, ..v1::ListLeasesRequest::default() };
            let page = call!(self.list_leases(message)).expect("leases");
            leases.extend(page.leases);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return leases;
            }
        }
    }

    /// Ends leases of a user.
    pub async fn revoke_user(&self, name: &str, reason: &str) {
        let message = v1::RevokeLeasesRequest {
            user: name.to_owned(),
            reason: reason.to_owned(),
            ..v1::RevokeLeasesRequest::default()
        };
        let outcomes = call!(self.revoke_leases(message)).expect("an answer").outcomes;
        assert!(!outcomes.is_empty(), "nothing was revoked");
        for outcome in outcomes {
            app::done(outcome.refusal).expect("revoked");
        }
    }

    /// What was refused, newest first.
    pub async fn denials(&self) -> Vec<v1::Denial> {
        call!(self.list_denials(v1::ListDenialsRequest::default())).expect("denials").denials
    }

    /// Pools above what is licensed.
    pub async fn compliance(&self) -> v1::CheckComplianceResponse {
        call!(self.check_compliance(v1::CheckComplianceRequest {})).expect("a check")
    }

    /// The audit log, newest first.
    pub async fn audit(&self) -> Vec<v1::AuditEntry> {
        call!(self.list_audit(v1::ListAuditRequest::default())).expect("the audit log").entries
    }

    /// The licenses, those that are over too.
    pub async fn licenses(&self) -> Vec<v1::License> {
        call!(self.list_licenses(v1::ListLicensesRequest { include_ended: true })).expect("licenses").licenses
    }
}

/// How many changed, or the first refusal.
fn outcome(answer: v1::AssignResponse) -> Result<usize, Refused> {
    if let Some(refusal) = answer.outcomes.iter().find_map(|outcome| outcome.refusal.clone()) {
        assert!(!answer.applied, "all or nothing");
        return Err(refusal.into());
    }
    assert!(answer.applied, "nothing was refused");
    Ok(answer.outcomes.iter().filter(|outcome| outcome.changed).count())
}
