//! The site that is measured: a licensor, a file with one large pool of sessions, users, and the daemon on it.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use leasehold_keys::{
    activation::{Grant, HostRole, Units},
    host::HostFacts,
    request::HostRequest,
    time::DAY_MS,
};
use leasehold_proto::v1::{self, administration_client::AdministrationClient, entity, leasing_client::LeasingClient};
use leaseholdd::clock::{Clock, stopwatch_us};
use licensor::{
    catalog::Catalog,
    order::{HostOrder, IssueOrder},
    vault::Protection,
    workshop::{CreateOptions, Workshop},
};
use tempfile::TempDir;
use tonic::{
    Code,
    transport::{Channel, Endpoint},
};

use crate::{
    children::Process,
    load::{self, Fault},
};

/// Seats of the one large pool …
pub(crate) const SEATS: u32 = 100_000;
/// … of this key.
pub(crate) const KEY: &str = "I3_SESSION_CALL";
/// A key of its own to see that leases are granted.
const PROBE: &str = "I3_SESSION_FAX";
/// Users of the site.
const USERS: u32 = 1_000;

/// How long the daemon may take to come up.
const UP_WITHIN_US: u64 = 60_000_000;

/// The site, and its daemon.
pub(crate) struct Site {
    dir: TempDir,
    daemon: Option<Process>,
    /// Where streams and calls go.
    pub(crate) tcp: String,
}

impl Site {
    /// Makes everything under `above` and starts the daemon.
    pub(crate) async fn new(above: &Path) -> Result<Self, Fault> {
        let dir = tempfile::Builder::new().prefix("leasehold-bench-").tempdir_in(above)?;
        let path = dir.path();
        let clock = Clock::system();
        for folder in ["state", "licenses"] {
            fs::create_dir(path.join(folder))?;
            fs::set_permissions(path.join(folder), fs::Permissions::from_mode(0o700))?;
        }
        // A machine that shows nothing of itself, such as a container, could not be bound to.
        let facts = HostFacts { network: vec!["instance leasehold-bench".to_owned()], ..HostFacts::default() };
        fs::write(path.join("host-facts.json"), serde_json::to_vec(&facts)?)?;
        fs::set_permissions(path.join("host-facts.json"), fs::Permissions::from_mode(0o600))?;
        let options = CreateOptions::new("bench.example", Protection::None);
        let mut workshop = Workshop::create(&path.join("licensor"), &options, clock.trusted())?;
        let config = format!(
            "state_dir = {:?}\nfolder = {:?}\nroot = {:?}\nhost_facts = {:?}\n[listen]\ntcp = \"127.0.0.1:0\"\nunix = {:?}\n\
             unix_mode = \"0600\"\n",
            path.join("state"),
            path.join("licenses"),
            path.join("licensor/root.i3root"),
            path.join("host-facts.json"),
            path.join("leasehold.sock"),
        );
        fs::write(path.join("leaseholdd.toml"), config)?;

        let mut site = Self { dir, daemon: None, tcp: String::new() };
        site.spawn()?;
        site.up(false).await?;
        let mut admin = site.admin().await?;
        let asked = v1::GetHostIdRequest { request_note: true, ..Default::default() };
        let request = admin.get_host_id(asked).await?.into_inner().request_note;
        let request = HostRequest::verify(request.as_bytes())?;
        let grant = |pool: &str, units| Ok::<_, Fault>(Grant { pool: pool.parse()?, units: Units::Count(units) });
        let order = IssueOrder {
            server: Some("basic".parse()?),
            grants: vec![grant(KEY, SEATS)?, grant(PROBE, 10)?],
            hosts: vec![HostOrder::requested(HostRole::Primary, &request)],
            maintenance_end: Some(clock.trusted().plus_ms(365 * DAY_MS)),
            ..IssueOrder::new("Benchmark".parse()?, "Here".parse()?, "bench".parse()?)
        };
        let issued = workshop.issue(&Catalog::pureconnect(), &order, clock.trusted())?;
        let file = v1::LoadFileRequest { name: "bench.i3lic".into(), content: issued.note.into(), check_only: false };
        admin.load_file(file).await?;
        for number in 1..=USERS {
            let user = v1::User { name: format!("user-{number}"), ..Default::default() };
            let entity = Some(v1::Entity { entity: Some(entity::Entity::User(user)) });
            admin.create_entity(v1::CreateEntityRequest { entity }).await?;
        }
        site.up(true).await?;
        Ok(site)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Where the state is, whose disk is measured.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The daemon's process.
    pub(crate) fn daemon(&self) -> Result<&Process, Fault> {
        self.daemon.as_ref().ok_or_else(|| "the daemon does not run".into())
    }

    fn spawn(&mut self) -> io::Result<()> {
        self.daemon = Some(Process::daemon(&self.path("leaseholdd.toml"), &self.path("log"))?);
        Ok(())
    }

    async fn socket(&self) -> Result<Channel, tonic::transport::Error> {
        Endpoint::from_shared(format!("unix:{}", self.path("leasehold.sock").display()))?.connect().await
    }

    async fn admin(&self) -> Result<AdministrationClient<Channel>, Fault> {
        Ok(AdministrationClient::new(self.socket().await?))
    }

    /// Leases that stand.
    pub(crate) async fn leases(&self) -> Result<u64, Fault> {
        Ok(self.admin().await?.get_status(v1::GetStatusRequest {}).await?.into_inner().leases)
    }

    /// Waits until the daemon answers; where `granting`, until it has granted a lease.
    async fn up(&mut self, granting: bool) -> Result<(), Fault> {
        const PAUSE: Duration = Duration::from_millis(1);
        let began = stopwatch_us();
        loop {
            if self.answers(granting).await? {
                break;
            }
            let ended = self.daemon.as_mut().and_then(Process::ended);
            if ended.is_some() || stopwatch_us() - began > UP_WITHIN_US {
                let log = fs::read_to_string(self.path("log")).unwrap_or_default();
                return Err(format!("the daemon does not come up ({ended:?}); its log:\n{log}").into());
            }
            tokio::time::sleep(PAUSE).await;
        }
        let status = self.admin().await?.get_status(v1::GetStatusRequest {}).await?.into_inner();
        let tcp = status.listening.into_iter().find(|address| address.starts_with("http://"));
        self.tcp = tcp.ok_or("the daemon listens on no port")?;
        Ok(())
    }

    async fn answers(&self, granting: bool) -> Result<bool, Fault> {
        let Ok(channel) = self.socket().await else { return Ok(false) };
        if !granting {
            let status = AdministrationClient::new(channel).get_status(v1::GetStatusRequest {}).await;
            return Ok(status.is_ok());
        }
        let mut client = LeasingClient::new(channel);
        let probe = load::acquire(PROBE, Some(load::caller("probe")), 10_000);
        match client.acquire(probe).await {
            Ok(granted) => {
                let lease_ids = granted.into_inner().lease.map(|lease| lease.lease_id).into_iter().collect();
                let caller = Some(load::caller("probe"));
                client.release(v1::ReleaseRequest { caller, lease_ids, ..Default::default() }).await?;
                Ok(true)
            }
            Err(status) if matches!(status.code(), Code::Unavailable | Code::NotFound | Code::FailedPrecondition) => {
                Ok(false)
            }
            Err(status) => Err(status.into()),
        }
    }

    /// SIGKILL, and a new start: milliseconds until a lease is granted.
    pub(crate) async fn restart(&mut self) -> Result<f64, Fault> {
        if let Some(daemon) = self.daemon.take() {
            daemon.kill()?;
        }
        let began = stopwatch_us();
        self.spawn()?;
        self.up(true).await?;
        Ok((stopwatch_us() - began) as f64 / 1_000.0)
    }
}
