//! One site on disk: a licensor, the daemon's state directory, watched folder, configuration and clock. All sites of a run
//! are copies of one that is made first, since keys and host IDs are costly by design.

use std::{
    cell::{Cell, RefCell},
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use leasehold_keys::{
    activation::{Grant, HostLine, HostRole, LicenseId, Units},
    name::Label,
    request::HostRequest,
    time::{DAY_MS, WallTime},
};
use leaseholdd::identity::Identity;
use licensor::{
    catalog::Catalog,
    order::{HostOrder, IssueOrder},
    vault::Protection,
    workshop::{CreateOptions, Issued, Workshop},
};
use tempfile::TempDir;

/// 1 January 2030: when stories begin.
pub const BEGIN_WALL_MS: i64 = 1_893_456_000_000;
/// The boot-time clock then.
const BEGIN_BOOT_MS: u64 = 1_000_000;
/// The same when a daemon starts after its machine was off.
const BOOTED_MS: u64 = 7_000;

/// The first site, as files.
struct Template {
    files: Vec<(PathBuf, Vec<u8>)>,
    folders: Vec<PathBuf>,
    request: Vec<u8>,
}

impl Template {
    fn get() -> &'static Self {
        static TEMPLATE: OnceLock<Template> = OnceLock::new();
        TEMPLATE.get_or_init(Self::make)
    }

    fn make() -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let now = WallTime::from_ms(BEGIN_WALL_MS);
        let options = CreateOptions::new("tests.example", Protection::None);
        drop(Workshop::create(&dir.path().join("licensor"), &options, now).expect("a licensor"));
        private_folder(&dir.path().join("state"));
        let machine = dir.path().join("machine");
        write_machine(&machine, 1);
        let identity = Identity::open(&dir.path().join("state"), None, &machine).expect("an identity");
        let request = identity.request_note(None, None, now).expect("a request");
        // Compared once here, so that no daemon has to.
        let id = HostRequest::verify(request.as_bytes()).expect("our own request").host_id.clone();
        identity.find(&[HostLine { role: HostRole::Primary, id, need: 3, machine_name: None }]);
        let (mut files, mut folders) = (Vec::new(), Vec::new());
        collect(dir.path(), Path::new(""), &mut files, &mut folders);
        Self { files, folders, request: request.into_bytes() }
    }
}

fn collect(root: &Path, under: &Path, files: &mut Vec<(PathBuf, Vec<u8>)>, folders: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(root.join(under)).expect("a folder of the first site") {
        let entry = entry.expect("an entry of the first site");
        let path = under.join(entry.file_name());
        if entry.path().is_dir() {
            folders.push(path.clone());
            collect(root, &path, files, folders);
        } else {
            files.push((path, fs::read(entry.path()).expect("a file of the first site")));
        }
    }
}

/// The files of a machine by which it is told apart from others. Made up, as containers show nothing of themselves; the
/// daemon is told that its machine's file system begins there.
fn write_machine(machine: &Path, number: u32) {
    let files = [
        ("sys/class/dmi/id/product_uuid", format!("7e57ab1e-{number:04}-4a00-8000-00000000c0de")),
        ("etc/machine-id", format!("7e57ab1e{number:024}")),
        ("proc/self/mountinfo", "22 1 8:1 / / rw - ext4 /dev/sda1 rw".to_owned()),
        ("sys/dev/block/8:1/wwid", format!("naa.7e57ab1e{number:08}")),
        ("sys/class/net/eth0/device/driver", String::new()),
        ("sys/class/net/eth0/type", "1".to_owned()),
        ("sys/class/net/eth0/addr_assign_type", "0".to_owned()),
        ("sys/class/net/eth0/address", format!("02:00:5e:10:00:{number:02}")),
    ];
    for (path, text) in files {
        let path = machine.join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder of the machine");
        fs::write(&path, format!("{text}\n")).expect("a file of the machine");
    }
}

fn private_folder(path: &Path) {
    fs::create_dir_all(path).expect("a folder");
    fs::set_permissions(path, fs::Permissions::from_mode(0o700)).expect("a private folder");
}

/// A site. Its folder goes away with it.
pub struct Site {
    dir: TempDir,
    workshop: RefCell<Workshop>,
    boot_ms: Cell<u64>,
    /// What time it really is.
    real_ms: Cell<i64>,
    /// The machine's wall clock is off by so much.
    wall_off_ms: Cell<i64>,
    /// 0 until a daemon has taken one.
    pub(crate) port: Cell<u16>,
    /// In place of the site's own.
    state: RefCell<Option<PathBuf>>,
    extra: RefCell<String>,
    /// What the privileged step is said to have found out.
    facts: RefCell<Option<PathBuf>>,
}

impl Default for Site {
    fn default() -> Self {
        Self::new()
    }
}

impl Site {
    /// A site without a license. Its daemon has never run.
    pub fn new() -> Self {
        let template = Template::get();
        let dir = tempfile::Builder::new().prefix("leasehold-").tempdir().expect("a temporary folder");
        for folder in &template.folders {
            private_folder(&dir.path().join(folder));
        }
        for (path, bytes) in &template.files {
            let path = dir.path().join(path);
            fs::write(&path, bytes).expect("a file of the site");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("a private file");
        }
        private_folder(&dir.path().join("licenses"));
        let workshop = Workshop::open(&dir.path().join("licensor"), None).expect("the licensor");
        let site = Self {
            dir,
            workshop: RefCell::new(workshop),
            boot_ms: Cell::new(BEGIN_BOOT_MS),
            real_ms: Cell::new(BEGIN_WALL_MS),
            wall_off_ms: Cell::new(0),
            port: Cell::new(0),
            state: RefCell::default(),
            extra: RefCell::default(),
            facts: RefCell::default(),
        };
        site.write_clock();
        site
    }

    /// Everything of the site.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The daemon's state directory.
    pub fn state(&self) -> PathBuf {
        self.state.borrow().clone().unwrap_or_else(|| self.dir().join("state"))
    }

    /// The next start takes this state directory.
    pub fn use_state(&self, path: impl Into<PathBuf>) {
        self.state.replace(Some(path.into()));
    }

    /// The next start takes this port.
    pub fn use_port(&self, port: u16) {
        self.port.set(port);
    }

    /// The watched folder.
    pub fn folder(&self) -> PathBuf {
        self.dir().join("licenses")
    }

    /// The daemon's Unix socket.
    pub fn socket(&self) -> PathBuf {
        self.dir().join("leasehold.sock")
    }

    /// The daemon's TCP port: 0 before its first start; later starts take the same.
    pub fn port(&self) -> u16 {
        self.port.get()
    }

    /// The daemon's configuration file, as the next start reads it.
    pub fn config_file(&self) -> PathBuf {
        self.dir().join("leaseholdd.toml")
    }

    pub(crate) fn clock_file(&self) -> PathBuf {
        self.dir().join("clock")
    }

    /// Adds text to the end of the configuration file: a table such as `[limits]` and what is in it.
    pub fn configure(&self, text: &str) {
        self.extra.borrow_mut().push_str(text);
    }

    pub(crate) fn write_config(&self) {
        let text = format!(
            "state_dir = {:?}\nfolder = {:?}\nroot = {:?}\nhost_facts = {:?}\n\
             [listen]\ntcp = [\"127.0.0.1:{}\"]\nunix = {:?}\nunix_mode = \"0600\"\n\
             [log]\nformat = \"json\"\nfilter = \"info,leaseholdd=debug\"\n{}",
            self.state(),
            self.folder(),
            self.dir().join("licensor/root.i3root"),
            self.facts.borrow().as_deref().unwrap_or(Path::new("")),
            self.port.get(),
            self.socket(),
            self.extra.borrow(),
        );
        fs::write(self.config_file(), text).expect("the configuration is written");
    }

    /// What time it really is: the licensor's clock is right, whatever the machine's says.
    pub fn now(&self) -> WallTime {
        WallTime::from_ms(self.real_ms.get())
    }

    /// Time passes: really, on the boot-time clock and on the wall clock. The one way to come to a date.
    pub fn advance(&self, ms: u64) {
        self.boot_ms.set(self.boot_ms.get() + ms);
        self.real_ms.set(self.real_ms.get() + i64::try_from(ms).expect("less than a geological age"));
        self.write_clock();
    }

    /// Somebody sets the wall clock; no time passes (LEASE-8).
    pub fn step_wall(&self, ms: i64) {
        self.wall_off_ms.set(self.wall_off_ms.get() + ms);
        self.write_clock();
    }

    /// The wall clock is set right, as by NTP.
    pub fn set_wall_right(&self) {
        self.step_wall(-self.wall_off_ms.get());
    }

    /// The machine is off for so long; its boot-time clock begins anew. The daemon must be down.
    pub fn power_off(&self, ms: u64) {
        self.advance(ms);
        self.boot_ms.set(BOOTED_MS);
        self.write_clock();
    }

    fn write_clock(&self) {
        let beside = self.dir().join(".clock");
        let wall_ms = self.real_ms.get() + self.wall_off_ms.get();
        fs::write(&beside, format!("{} {wall_ms}", self.boot_ms.get())).expect("the clock is written");
        fs::rename(&beside, self.clock_file()).expect("the clock is put in place");
    }

    /// Where the file system of the daemon's machine begins.
    pub fn machine(&self) -> PathBuf {
        self.dir().join("machine")
    }

    /// The machine turns into another one, as after a move: its platform, system, disk and network are others.
    pub fn become_another_host(&self) {
        write_machine(&self.machine(), 2);
    }

    /// Somebody carries another site's host facts here, in the form in which the privileged step before the start leaves
    /// them. The next start is pointed to them.
    pub fn carry_facts_from(&self, other: &Site) {
        let path = self.dir().join("host-facts.json");
        let facts = leasehold_keys::host::collect_linux::collect(&other.machine());
        fs::write(&path, serde_json::to_vec(&facts).expect("facts are JSON")).expect("the facts are written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("the facts are private");
        self.facts.replace(Some(path));
    }

    /// The usual order: a perpetual production base file for this host, without grants yet.
    pub fn order(&self) -> IssueOrder {
        let request = HostRequest::verify(&Template::get().request).expect("our own request");
        IssueOrder {
            hosts: vec![HostOrder::requested(HostRole::Primary, &request)],
            maintenance_end: Some(self.now().plus_ms(365 * DAY_MS)),
            ..IssueOrder::new(label("Example Corporation"), label("Indianapolis"), label("tests"))
        }
    }

    /// An order with these units; `u32::MAX` stands for unlimited.
    pub fn order_of(&self, units: &[(&str, u32)]) -> IssueOrder {
        IssueOrder { grants: grants(units), ..self.order() }
    }

    /// The licensor issues a file.
    pub fn issue(&self, order: &IssueOrder) -> Issued {
        self.issue_from(&Catalog::pureconnect(), order)
    }

    /// The licensor issues a file from another catalog.
    pub fn issue_from(&self, catalog: &Catalog, order: &IssueOrder) -> Issued {
        self.workshop.borrow_mut().issue(catalog, order, self.now()).expect("the licensor issues")
    }

    /// The licensor issues the next sequence of a license, with these units in place of those before.
    pub fn reissue(&self, license: LicenseId, units: &[(&str, u32)]) -> Issued {
        self.issue(&IssueOrder { license_id: Some(license), ..self.order_of(units) })
    }

    /// The licensor issues the file that closes a license.
    pub fn deactivate(&self, license: LicenseId) -> Issued {
        let issued = self.workshop.borrow_mut().deactivate(license, &label("tests"), self.now());
        issued.expect("the licensor deactivates")
    }

    /// The licensor's books.
    pub fn licensor<T>(&self, f: impl FnOnce(&mut Workshop) -> T) -> T {
        f(&mut self.workshop.borrow_mut())
    }

    /// Somebody copies a file into the watched folder, in one step.
    pub fn drop_in(&self, name: &str, bytes: &[u8]) {
        let beside = self.dir().join(".dropped");
        fs::write(&beside, bytes).expect("the file is written");
        fs::rename(&beside, self.folder().join(name)).expect("the file is moved in");
    }

    /// What is written beside a refused file.
    pub fn rejection(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.folder().join(format!("{name}.rejected.txt"))).ok()
    }
}

/// A name.
///
/// # Panics
/// Where it is none.
pub fn label(text: &str) -> Label {
    text.parse().expect("a label")
}

/// Grants by pool name; `u32::MAX` stands for unlimited.
///
/// # Panics
/// Where a name is no pool's.
pub fn grants(units: &[(&str, u32)]) -> Vec<Grant> {
    let grant = |(pool, units): &(&str, u32)| Grant {
        pool: pool.parse().expect("the name of a pool"),
        units: if *units == u32::MAX { Units::Unlimited } else { Units::Count(*units) },
    };
    units.iter().map(grant).collect()
}
