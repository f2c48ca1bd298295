//! The site that is measured: a licensor, a file with one large pool, a thousand small ones and some for what is measured beside, and the daemon on it.

use std::{
    fs, io,
    ops::Range,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::OnceLock,
    time::Duration,
};

use leasehold_keys::{
    activation::{FileKind, Grant, HostRole, Units},
    host::HostFacts,
    request::HostRequest,
    time::DAY_MS,
};
use leasehold_proto::v1::{self, administration_client::AdministrationClient, leasing_client::LeasingClient};
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
pub(crate) const KEY: &str = "SEATS_100000";
/// Small pools …
pub(crate) const MANY_POOLS: usize = 1_000;
/// … of so many seats each.
pub(crate) const MANY_SEATS: u32 = 100;
/// Keys of other sizes, from which flatness is seen.
pub(crate) const SIZES: [(&str, u32); 3] = [("SEATS_10", 10), ("SEATS_1000", 1_000), (KEY, SEATS)];
/// The key of leases that only stand there …
pub(crate) const FILL: &str = "FILL";
/// … and of how many there can be.
pub(crate) const FILL_SEATS: u32 = 2_000_000;
/// A key of which all is taken soon.
pub(crate) const FULL: &str = "FULL";
const FULL_SEATS: u32 = 100;
/// A key of its own to see that leases are granted.
const PROBE: &str = "PROBE";
/// A key of which every file grants another number.
const CHANGING: &str = "CHANGING";

/// The key of one of the many pools, from 0.
pub(crate) fn many_key(number: usize) -> &'static str {
    static KEYS: OnceLock<Vec<String>> = OnceLock::new();
    let keys = KEYS.get_or_init(|| (0..MANY_POOLS).map(|number| format!("POOL_{number:04}")).collect());
    keys.get(number).map_or(KEY, String::as_str)
}

/// Keys of the base file with their seats.
fn keys() -> Vec<(&'static str, u32)> {
    SIZES.into_iter().chain([(FILL, FILL_SEATS), (FULL, FULL_SEATS), (PROBE, 10)]).collect()
}

/// Keys of one add-on file; a file has no room for all.
const KEYS_OF_ADD_ON: usize = 250;

/// A product of which nothing is known but its keys, all of them for units.
fn catalog() -> Result<Catalog, Fault> {
    let mut text = "format = \"leasehold/catalog/1\"\nproduct = \"Bench\"\nproduct-line = \"Bench\"\nversion = 1\n\
                    versions = { from = \"1.0\", through = \"1.1\" }\nlevels = [\"production\"]\n\
                    [server-item.bench]\ntitle = \"Bench\"\ngrants = { SERVER = 1 }\n\
                    [key.SERVER]\ntitle = \"Server\"\nkind = \"server\"\n"
        .to_owned();
    let many = (0..MANY_POOLS).map(many_key);
    for key in keys().iter().map(|(key, _)| *key).chain(many).chain([CHANGING]) {
        text.push_str(&format!("[key.{key}]\ntitle = \"{key}\"\nkind = \"session\"\n"));
    }
    Catalog::parse(&text).map_err(|faults| format!("the benchmark's catalog: {faults:?}").into())
}

/// How long the daemon may take to come up.
const UP_WITHIN_US: u64 = 60_000_000;

fn grant(pool: &str, units: u32) -> Result<Grant, Fault> {
    Ok(Grant { pool: pool.parse()?, units: Units::Count(units) })
}

/// The site, and its daemon.
pub(crate) struct Site {
    dir: TempDir,
    daemon: Option<Process>,
    /// Where streams and calls go.
    pub(crate) tcp: String,
    vendor: Vendor,
}

/// Who issues the site's files.
struct Vendor {
    workshop: Workshop,
    catalog: Catalog,
    clock: Clock,
    /// The order of the file that is in effect.
    order: Option<IssueOrder>,
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
        let workshop = Workshop::create(&path.join("licensor"), &options, clock.trusted())?;
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

        let vendor = Vendor { workshop, catalog: catalog()?, clock, order: None };
        let mut site = Self { dir, daemon: None, tcp: String::new(), vendor };
        site.spawn()?;
        site.up(false).await?;
        let asked = v1::GetHostIdRequest { request_note: true, ..Default::default() };
        let request = site.admin().await?.get_host_id(asked).await?.into_inner().request_note;
        let request = HostRequest::verify(request.as_bytes())?;
        let grants = keys().into_iter().map(|(key, units)| grant(key, units)).collect::<Result<_, _>>()?;
        let order = IssueOrder {
            server: Some("bench".parse()?),
            grants,
            hosts: vec![HostOrder::requested(HostRole::Primary, &request)],
            maintenance_end: Some(site.vendor.clock.trusted().plus_ms(365 * DAY_MS)),
            ..IssueOrder::new("Benchmark".parse()?, "Here".parse()?, "bench".parse()?)
        };
        site.vendor.order = Some(order);
        let file = site.next_file(1)?;
        site.load("base", file).await?;
        for first in (0..MANY_POOLS).step_by(KEYS_OF_ADD_ON) {
            let file = site.add_on(first..MANY_POOLS.min(first + KEYS_OF_ADD_ON))?;
            site.load(&format!("add-on-{first}"), file).await?;
        }
        site.up(true).await?;
        Ok(site)
    }

    /// The next file of the site's license; it grants `changing` units of a key that nobody uses.
    pub(crate) fn next_file(&mut self, changing: u32) -> Result<Vec<u8>, Fault> {
        let Vendor { workshop, catalog, clock, order } = &mut self.vendor;
        let known = order.as_ref().ok_or("nothing was ordered")?;
        let mut now = known.clone();
        now.grants.push(grant(CHANGING, changing)?);
        let issued = workshop.issue(catalog, &now, clock.trusted())?;
        if let Some(order) = order {
            order.license_id = Some(issued.activation.license_id);
        }
        Ok(issued.note.into())
    }

    /// A file with some of the small pools.
    fn add_on(&mut self, pools: Range<usize>) -> Result<Vec<u8>, Fault> {
        let Vendor { workshop, catalog, clock, order } = &mut self.vendor;
        let base = order.clone().ok_or("nothing was ordered")?;
        let grants = pools.map(|number| grant(many_key(number), MANY_SEATS)).collect::<Result<_, _>>()?;
        let order = IssueOrder { license_id: None, kind: FileKind::AddOn, server: None, grants, ..base };
        Ok(workshop.issue(catalog, &order, clock.trusted())?.note.into())
    }

    /// Places a file and waits for its verdict.
    pub(crate) async fn load(&self, name: &str, content: Vec<u8>) -> Result<(), Fault> {
        let file = v1::LoadFileRequest { name: format!("{name}.i3lic"), content, check_only: false };
        self.admin().await?.load_file(file).await?;
        Ok(())
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
