//! The daemon's gRPC surface: it turns messages into commands and questions, and answers into messages. Every licensing
//! decision is the engine's; every word about a refusal is the engine's too.

mod administration;
mod attach;
mod connection;
mod convert;
mod health;
mod leasing;
mod listen;
mod sizes;
mod status;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeSet,
    path::PathBuf,
    sync::{Arc, OnceLock},
};

use leasehold_engine::time::WallTime;
use leasehold_proto::v1::{self, administration_server::AdministrationServer};
use tokio::sync::watch;
use tonic::transport::Server;

pub(crate) use listen::group_id;
pub use listen::{Bound, Limits, ListenFault, Settings, SocketSettings};

use crate::{
    check_in::CheckIns,
    clock::Clock,
    core::Core,
    delivery::{Delivery, Zone},
    folder::Folder,
    storage::Reader,
    usage::Usage,
    witness::Witness,
};

/// What administrators are told of this process, and who they are now.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The site's time zone, in which billing periods run.
    pub time_zone: Zone,
    /// When the process started.
    pub started_at: WallTime,
    /// Where its state lies.
    pub state_directory: PathBuf,
    /// User IDs that may administer (LEASE-9), from each change on. Nobody else may: name root and the daemon's own user
    /// here too.
    pub administrators: watch::Receiver<BTreeSet<u32>>,
}

/// The rooms that the services ask.
pub struct Rooms {
    /// The core.
    pub core: Core,
    /// The watched folder.
    pub folder: Folder,
    /// Usage as it is sealed …
    pub usage: Usage,
    /// … and delivered.
    pub delivery: Delivery,
    /// Check-ins.
    pub check_ins: CheckIns,
    /// What the core has stored.
    pub records: Reader,
    /// The clock of the core.
    pub clock: Clock,
}

/// What the services ask. Cheap to clone.
#[derive(Clone)]
struct Daemon {
    core: Core,
    folder: Folder,
    usage: Usage,
    delivery: Delivery,
    check_ins: CheckIns,
    records: Reader,
    clock: Clock,
    facts: Arc<Facts>,
    listening: Arc<[String]>,
    /// When leases could be granted for the first time.
    ready_at: Arc<OnceLock<WallTime>>,
}

/// Why serving ended before it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum ServeFault {
    /// The descriptors for reflection are not readable: this program was built wrongly.
    #[error("the service descriptions cannot be served: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// The transport failed.
    #[error("the server ended: {0}")]
    Transport(#[from] tonic::transport::Error),
}

/// Serves everything on what is bound until `stop` is ready; then takes no more connections and waits for those that
/// are open to close. Streams end when the core does. Whoever calls it bounds that wait.
///
/// It may be called before the core serves: requests are refused as STARTING until then, and health says so.
///
/// # Errors
/// See [`ServeFault`].
pub async fn serve(bound: Bound, rooms: Rooms, facts: Facts, stop: impl Future<Output = ()>) -> Result<(), ServeFault> {
    let Rooms { core, folder, usage, delivery, check_ins, records, clock } = rooms;
    let limits = bound.limits;
    let daemon = Daemon {
        core: core.clone(),
        records,
        clock: clock.clone(),
        facts: Arc::new(facts),
        listening: bound.addresses().into(),
        ready_at: Arc::default(),
        folder,
        usage,
        delivery,
        check_ins,
    };
    let installation_id = daemon.folder.identity().installation_id().to_string();
    let (reporter, health) = tonic_health::server::health_reporter();
    health::follow(reporter, core.health(), clock, daemon.ready_at.clone()).await;
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(v1::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let witness = Witness::start(core.clone(), daemon.folder.identity().clone(), daemon.usage.clone());
    let leasing = leasing::Leasing::new(core, witness, daemon.folder.clone(), &installation_id);
    let leasing = sizes::BySize::new(leasing);
    let administration = AdministrationServer::new(administration::Administration::new(daemon));
    Server::builder()
        .max_concurrent_streams(limits.streams_per_connection)
        .http2_max_header_list_size(limits.header_bytes)
        .http2_keepalive_interval(Some(limits.keepalive))
        .http2_keepalive_timeout(Some(limits.keepalive))
        .layer(connection::Note)
        .add_service(leasing)
        .add_service(administration.max_decoding_message_size(sizes::LARGE))
        .add_service(health.max_decoding_message_size(sizes::SMALL))
        .add_service(reflection().build_v1()?.max_decoding_message_size(sizes::SMALL))
        .add_service(reflection().build_v1alpha()?.max_decoding_message_size(sizes::SMALL))
        .serve_with_incoming_shutdown(bound.accept(), stop)
        .await?;
    Ok(())
}
