//! The services over real sockets, with the core, the engine and a database beneath them: who may do what, what streams
//! are told, and what is refused before anyone decides.

mod administering;
mod reaching;
mod streaming;
mod telling;

use std::{fs, path::PathBuf, sync::Arc};

use leasehold_keys::{
    activation::{Activation, HostRole},
    dev::DevLicensor,
};
use leasehold_proto::v1::{self, administration_client::AdministrationClient, leasing_client::LeasingClient};
use tempfile::TempDir;
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Code, Status, Streaming,
    transport::{Channel, Endpoint},
};
use tonic_types::StatusExt as _;

use super::*;
use crate::{
    check_in::{self, CheckIns},
    core::{Bounds, Ended, Phase, Restored, restore},
    delivery,
    identity::{Identity, tests as identity},
    storage::StateDir,
    test_site::terms,
    trust_store::TrustStore,
    usage,
    way_out::Network,
};

/// A daemon in this process, on a free port and a Unix socket.
struct Site {
    dir: TempDir,
    core: Core,
    folder: Folder,
    licensor: DevLicensor,
    tcp: String,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<Result<(), ServeFault>>,
    ended: Ended,
    _state: StateDir,
}

fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

impl Site {
    /// Serves, and this user administers.
    async fn serving() -> Self {
        let site = Self::starting([own_uid()].into()).await;
        site.core.set_phase(Phase::Serving);
        site
    }

    /// Listens, and is not ready yet.
    async fn starting(administrators: BTreeSet<u32>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (watched, anchor) = (dir.path().join("watched"), dir.path().join("anchor"));
        fs::create_dir(&watched).unwrap();
        let licensor = DevLicensor::from_seed(&[7; 32]).unwrap();
        fs::write(&anchor, licensor.root()).unwrap();
        let state = StateDir::open(&dir.path().join("state")).unwrap();
        let trust = TrustStore::open(state.path(), Some(&anchor)).unwrap();
        let facts = identity::facts("4c4c4544-0051-4810-8052-b4c04f4d3132");
        let identity = Arc::new(Identity::with_facts(state.path(), facts, "acd-1".parse().unwrap()).unwrap());
        let clock = Clock::system();
        let limits = leasehold_engine::Limits::default();
        let Restored { engine, store, .. } = restore(&state, trust.trust(), limits, &clock).unwrap();
        let records = store.reader();
        let (core, ended) = Core::start(engine, store, clock.clone(), Bounds::default()).unwrap();
        let installation = identity.installation_id().to_string();
        let (folder, _watching) =
            Folder::start(watched, state.path(), core.clone(), clock.clone(), trust, identity.clone());
        folder.judged().await;
        let (usage, delivery) = usage_rooms(&state, &core, &clock, &records, &folder, identity, installation);

        let ground = check_in::Ground {
            state_directory: state.path().to_owned(),
            core: core.clone(),
            clock: clock.clone(),
            folder: folder.clone(),
            network: Network::default(),
        };
        let check_ins = CheckIns::start(check_in::Settings::default(), ground);

        let socket = SocketSettings { path: dir.path().join("leasehold.sock"), mode: 0o600, group: None };
        let tcp = vec!["127.0.0.1:0".parse().unwrap()];
        let settings = Settings { tcp, socket: Some(socket), limits: Limits::default() };
        let bound = Bound::bind(&settings).await.unwrap();
        let tcp = format!("http://{}", bound.tcp()[0]);
        let facts = Facts {
            time_zone: Zone::Named(jiff::tz::TimeZone::UTC),
            started_at: clock.trusted(),
            state_directory: state.path().to_owned(),
            administrators: watch::Sender::new(administrators).subscribe(),
        };
        let (stop, stopped) = oneshot::channel();
        let until = async {
            let _ = stopped.await;
        };
        let rooms = Rooms { core: core.clone(), folder: folder.clone(), usage, delivery, check_ins, records, clock };
        let serving = tokio::spawn(serve(bound, rooms, facts, until));
        Self { dir, core, folder, licensor, tcp, stop, serving, ended, _state: state }
    }

    async fn stop(self) {
        self.core.set_phase(Phase::Draining);
        let _ = self.stop.send(());
        self.core.stop();
        let ended = self.ended;
        tokio::task::spawn_blocking(move || ended.wait()).await.unwrap();
        // Clients that are still there are not waited for here.
        self.serving.abort();
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("leasehold.sock")
    }

    async fn over_socket(&self) -> Channel {
        let endpoint = Endpoint::new(format!("unix://{}", self.socket().display())).unwrap();
        endpoint.connect().await.unwrap()
    }

    async fn over_tcp(&self) -> Channel {
        Endpoint::new(self.tcp.clone()).unwrap().connect().await.unwrap()
    }

    async fn leasing(&self) -> LeasingClient<Channel> {
        LeasingClient::new(self.over_tcp().await)
    }

    async fn administration(&self) -> AdministrationClient<Channel> {
        AdministrationClient::new(self.over_socket().await)
    }

    /// A file for this host: concurrent seats and units, and the keys of the site.
    fn file(&self, sequence: u32, grants: &[(&str, u32)]) -> Vec<u8> {
        let hosts = vec![identity::line(HostRole::Primary, self.folder.identity().host_id())];
        let terms = Activation { hosts, ..terms(sequence, grants) };
        self.licensor.issue(&terms).unwrap()
    }
}

/// Sealing, and delivery that has nowhere to go.
fn usage_rooms(
    state: &StateDir,
    core: &Core,
    clock: &Clock,
    records: &Reader,
    folder: &Folder,
    identity: Arc<Identity>,
    installation: String,
) -> (Usage, Delivery) {
    let settings = usage::Settings { names: usage::NamesSetting::Plain, reader: None };
    let trusted = folder.clone();
    let ground = usage::Ground {
        state_directory: state.path().to_owned(),
        core: core.clone(),
        clock: clock.clone(),
        reader: records.clone(),
        identity,
        licensor: Box::new(move || trusted.trust().trust().root().usage_key),
    };
    let usage = Usage::start(settings, ground).unwrap();
    let trusted = folder.clone();
    let ground = delivery::Ground {
        state_directory: state.path().to_owned(),
        core: core.clone(),
        clock: clock.clone(),
        usage: usage.clone(),
        trust: Box::new(move || trusted.trust().trust().clone()),
        installation,
        zone: Zone::default(),
        network: Network::default(),
    };
    (usage.clone(), Delivery::start(delivery::Settings::default(), ground))
}

fn named(name: &str) -> Option<v1::Caller> {
    Some(v1::Caller {
        name: name.into(),
        application: "ACD Server".into(),
        host: "acd-1.example".into(),
        ..Default::default()
    })
}

/// Units of the key that even an unlicensed site has two of.
fn call_ports(name: &str, request: u8, units: u32) -> v1::AcquireRequest {
    v1::AcquireRequest {
        request_id: vec![request; 16],
        caller: named(name),
        subject: Some(v1::acquire_request::Subject::Units(v1::ServerUnits { key: "CALL_PORT".into(), units })),
        ..Default::default()
    }
}

fn reason(status: &Status) -> String {
    status.get_details_error_info().map(|info| info.reason).unwrap_or_default()
}

fn refused<T: std::fmt::Debug>(answer: Result<T, Status>) -> (Code, String, String) {
    let status = answer.unwrap_err();
    (status.code(), reason(&status), status.message().to_owned())
}

/// Longer than anything here takes: a test that waits in vain is to say so.
const LONG: std::time::Duration = std::time::Duration::from_secs(30);

/// An attached application server, as a client without a library would write it.
struct Stream {
    to: mpsc::Sender<v1::AttachRequest>,
    from: Streaming<v1::AttachResponse>,
}

impl Stream {
    /// A stream that has said nothing yet.
    async fn open(site: &Site) -> Self {
        let (to, messages) = mpsc::channel(64);
        let mut client = site.leasing().await;
        let from = client.attach(ReceiverStream::new(messages)).await.unwrap().into_inner();
        Self { to, from }
    }

    async fn attach(site: &Site, name: &str, run: u8) -> (Self, v1::Welcome) {
        let mut stream = Self::open(site).await;
        stream.hello(name, run).await;
        match stream.next().await.message {
            Some(v1::attach_response::Message::Welcome(welcome)) => (stream, welcome),
            other => panic!("no welcome: {other:?}"),
        }
    }

    async fn hello(&self, name: &str, run: u8) {
        let hello = v1::Hello { caller: named(name), run_id: vec![run; 16], ..Default::default() };
        self.say(v1::attach_request::Message::Hello(hello)).await;
    }

    async fn say(&self, message: v1::attach_request::Message) {
        self.to.send(v1::AttachRequest { message: Some(message), answers_received: 0 }).await.unwrap();
    }

    async fn next(&mut self) -> v1::AttachResponse {
        let next = tokio::time::timeout(LONG, self.from.message()).await.expect("nothing comes");
        next.unwrap().expect("the stream has ended")
    }

    async fn acquire(&self, request: u8, units: u32, wait_ms: u64) {
        let acquire = v1::AcquireRequest { wait_ms, caller: None, ..call_ports("", request, units) };
        self.say(v1::attach_request::Message::Acquire(acquire)).await;
    }

    /// The next answer to an acquire, with its number.
    async fn acquired(&mut self) -> (Vec<u8>, v1::acquire_answer::Outcome, u64) {
        let next = self.next().await;
        match next.message {
            Some(v1::attach_response::Message::Acquired(answer)) => {
                (answer.request_id, answer.outcome.unwrap(), next.answer_number)
            }
            other => panic!("no answer to an acquire: {other:?}"),
        }
    }

    /// Waits for the end of the stream.
    async fn end(&mut self) -> Status {
        loop {
            match tokio::time::timeout(LONG, self.from.message()).await.expect("it does not end") {
                Ok(Some(_)) => {}
                Ok(None) => return Status::ok(""),
                Err(status) => return status,
            }
        }
    }
}
