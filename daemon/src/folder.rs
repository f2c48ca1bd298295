//! The watched folder (02, The watched folder): drop a file in, and within two seconds it is accepted or refused, and
//! says so. Single events are not trusted: each look sees the whole folder, and the whole set is judged and swapped in one
//! command to the core. What a set of files means for leases is the engine's matter.

mod entry;
mod forecast;
mod inspector;
mod judge;
mod look;
mod name;
mod note;
mod watch;

#[cfg(test)]
pub(crate) mod tests;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use leasehold_engine::{
    command::{FolderFile, HostFinding},
    decision::Taken,
    time::{DAY_MS, Now},
    view::LicenseView,
};
use leasehold_keys::{activation::Activation, digest::Sha256, refusal::Refusal, trust::Verified};
use tokio::{
    sync::{mpsc, oneshot, watch as channel},
    task::{JoinHandle, spawn_blocking},
};

pub use entry::{EntryState, FolderEntry, FolderView};

use crate::{
    clock::Clock,
    core::{Core, Refused},
    files::Room,
    identity::Identity,
    trust_store::TrustStore,
};
use inspector::Inspector;
use judge::Accepted;

/// How long an answer to [`Folder::load`] waits for the placed file's verdict.
const PLACED_MAX: Duration = Duration::from_secs(10);

/// Status warns so many days before the root expires.
const ROOT_WARNING_DAYS: i64 = 30;

/// Requests to the folder's task that wait; more are answered by a look that is due anyway.
const ASKS_MAX: usize = 64;

/// What the folder's task is asked.
enum Ask {
    /// Judge everything anew; the sender hears when that is done.
    Look(Option<oneshot::Sender<()>>),
    /// A file with this content was placed whole; the sender hears when it is judged.
    Placed(Sha256, oneshot::Sender<()>),
}

/// A handle to the watched folder. Cheap to clone.
#[derive(Clone)]
pub struct Folder {
    path: Arc<Path>,
    core: Core,
    clock: Clock,
    identity: Arc<Identity>,
    view: channel::Receiver<Arc<FolderView>>,
    trust: channel::Receiver<Arc<TrustStore>>,
    asks: mpsc::Sender<Ask>,
}

/// A file that was judged without being loaded.
#[derive(Clone, Debug)]
pub struct Checked {
    /// What would become of it.
    pub entry: FolderEntry,
    /// What it says, where its signatures are good and it is an activation file.
    pub terms: Option<Arc<Verified<Activation>>>,
    /// How its hosts compare with this one.
    pub host: Option<HostFinding>,
}

/// Why a file was neither judged nor placed.
#[derive(Debug, thiserror::Error)]
pub enum LoadFault {
    /// A file of this name cannot be loaded.
    #[error(
        "the file cannot be loaded under the name `{name}`: {fault}. Give it a name such as acme.i3lic, or root.i3root if it is a root"
    )]
    Name {
        /// The name.
        name: String,
        /// Why.
        fault: String,
    },
    /// Another license lies there under this name.
    #[error(
        "the file cannot be placed as `{name}`: under that name lies the accepted file of another license ({license}), which would be \
         missed. Give it another name"
    )]
    NameTaken {
        /// The name.
        name: String,
        /// The other license's ID.
        license: String,
    },
    /// The folder cannot be written.
    #[error(
        "the file cannot be placed in {folder}: {fault}. Check that the daemon may write there, or copy the file there yourself"
    )]
    Place {
        /// The folder.
        folder: PathBuf,
        /// Why.
        fault: String,
    },
    /// The core does not answer.
    #[error(transparent)]
    Core(#[from] Refused),
    /// It was placed, and its verdict takes longer than anyone should wait.
    #[error("the file is placed, but not judged yet; `leasehold status` will show what became of it")]
    NotYetJudged,
}

impl Folder {
    /// Starts to watch `path`. The first look is made at once: wait for it by [`Folder::judged`]. The task ends when
    /// every handle is dropped.
    ///
    /// A folder that is not there, or cannot be read, is no error: it is shown, and looked for again each second.
    pub fn start(
        path: PathBuf,
        state_directory: &Path,
        core: Core,
        clock: Clock,
        trust: TrustStore,
        identity: Arc<Identity>,
    ) -> (Self, JoinHandle<()>) {
        let (asks, asked) = mpsc::channel(ASKS_MAX);
        let (view, view_seen) = channel::channel(Arc::default());
        let (trusted, trust_seen) = channel::channel(Arc::new(trust.clone()));
        let inspector = Inspector::new(path.clone(), state_directory, trust, identity.clone());
        let task = tokio::spawn(watch::run(inspector, core.clone(), clock.clone(), asked, view, trusted));
        let folder = Self { path: path.into(), core, clock, identity, view: view_seen, trust: trust_seen, asks };
        (folder, task)
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its files, and what became of each.
    pub fn view(&self) -> Arc<FolderView> {
        self.view.borrow().clone()
    }

    /// [`Self::view`], and every change of it.
    pub fn watch(&self) -> channel::Receiver<Arc<FolderView>> {
        self.view.clone()
    }

    /// The trust in force: its `Display` is what status shows.
    pub fn trust(&self) -> Arc<TrustStore> {
        self.trust.borrow().clone()
    }

    /// What wants attention, worst first: a stable reason and a sentence for each.
    pub fn notices(&self) -> Vec<(&'static str, String)> {
        let (view, store, now) = (self.view(), self.trust(), self.clock.trusted());
        let mut notices = Vec::new();
        if let Some(fault) = &view.fault {
            notices.push(("FOLDER_UNREADABLE", fault.clone()));
        }
        if let Some(why) = &view.undecided {
            let what = format!("What lies in the watched folder is not decided on now: {why}.");
            notices.push(("FOLDER_UNDECIDED", what));
        }
        let (version, expires) = (store.trust().root().version, store.trust().root().expires);
        let remedy = "Drop the licensor's newer root into the watched folder; what runs goes on meanwhile.";
        if expires <= now {
            let what = format!("Root {version} expired at {expires}, and new license files are refused. {remedy}");
            notices.push(("ROOT_EXPIRED", what));
        } else if expires <= now.plus_ms(ROOT_WARNING_DAYS * DAY_MS) {
            let what =
                format!("Root {version} expires at {expires}; from then on new license files are refused. {remedy}");
            notices.push(("ROOT_EXPIRES_SOON", what));
        }
        notices
    }

    /// Who this server is.
    pub fn identity(&self) -> &Arc<Identity> {
        &self.identity
    }

    /// Waits until the folder was looked at once, and either judged as a whole or not to be decided on now, since
    /// nothing can be stored: a start must not wait for that (LEASE-11).
    pub async fn judged(&self) {
        // An error means that the task has ended, and nothing more will be judged.
        let _ = self.view.clone().wait_for(|view| view.judged > 0 || view.undecided.is_some()).await;
    }

    /// Judges the whole folder anew, and waits until that is done: after an administrator has unloaded a license, or
    /// promoted this server.
    pub async fn rescan(&self) {
        let (done, heard) = oneshot::channel();
        if self.asks.send(Ask::Look(Some(done))).await.is_ok() {
            let _ = heard.await;
        }
    }

    /// Asks for a look without waiting for it.
    pub fn look_soon(&self) {
        // A full queue means that looks are due anyway.
        let _ = self.asks.try_send(Ask::Look(None));
    }

    /// Says what would become of a file, without loading it.
    ///
    /// # Errors
    /// A name that cannot be loaded, or a core that does not answer. A bad file is no error: see [`Checked::entry`].
    pub async fn check(&self, name: &str, bytes: Vec<u8>) -> Result<Checked, LoadFault> {
        if let Some(fault) = name::fault_of_placed(name) {
            return Err(LoadFault::Name { name: name::shown(name.as_ref()), fault });
        }
        let (licenses, now) = self.core.read(|engine, now| (engine.licenses(now), now)).await?;
        let (trust, identity, name) = (self.trust(), self.identity.clone(), name.to_owned());
        let checked = spawn_blocking(move || check(&name, &bytes, &trust, &identity, now, &licenses)).await;
        checked.map_err(|_| LoadFault::Core(Refused::Draining))
    }

    /// Checks a file and, where nothing speaks against it, places it in the folder in one step and waits for its
    /// verdict.
    ///
    /// # Errors
    /// See [`LoadFault`]. A bad file is no error and is not placed: see [`Checked::entry`].
    pub async fn load(&self, name: &str, bytes: Vec<u8>) -> Result<Checked, LoadFault> {
        let mut checked = self.check(name, bytes.clone()).await?;
        if checked.entry.state == EntryState::Refused {
            return Ok(checked);
        }
        self.place(name, bytes.clone()).await?;
        let (done, heard) = oneshot::channel();
        self.asks.send(Ask::Placed(Sha256::of(&bytes), done)).await.map_err(|_| Refused::Draining)?;
        match tokio::time::timeout(PLACED_MAX, heard).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => return Err(LoadFault::NotYetJudged),
        }
        match self.view().entries.iter().find(|entry| entry.name == name) {
            Some(entry) if entry.state != EntryState::Waiting => checked.entry = entry.clone(),
            _ => return Err(LoadFault::NotYetJudged),
        }
        Ok(checked)
    }

    /// Places a file in the folder: whole or not at all. It takes the place of one of the same name, unless that is the
    /// accepted file of another license. What it says is not judged here.
    ///
    /// # Errors
    /// See [`LoadFault`].
    pub async fn place(&self, name: &str, bytes: Vec<u8>) -> Result<(), LoadFault> {
        if let Some(fault) = name::fault_of_placed(name) {
            return Err(LoadFault::Name { name: name::shown(name.as_ref()), fault });
        }
        let accepted = accepted(&self.core).await?;
        let terms = self.trust().trust().activation(&bytes, self.clock.trusted()).ok();
        let displaced = accepted.0.iter().find(|file| file.name == name);
        if let Some(other) =
            displaced.filter(|other| terms.as_ref().is_some_and(|terms| terms.license_id != other.license))
        {
            return Err(LoadFault::NameTaken { name: name.to_owned(), license: other.license.to_string() });
        }
        let (folder, name) = (self.path.clone(), name.to_owned());
        let placed = spawn_blocking(move || Room::open(&folder)?.replace(name.as_ref(), &bytes, 0o644)).await;
        let fault = |fault: String| LoadFault::Place { folder: self.path.to_path_buf(), fault };
        placed.map_err(|error| fault(error.to_string()))?.map_err(|error| fault(error.to_string()))
    }
}

/// The files that the engine has accepted.
async fn accepted(core: &Core) -> Result<Accepted, Refused> {
    core.read(|engine, now| Accepted(engine.licenses(now).iter().map(Into::into).collect())).await
}

/// What would become of a file.
fn check(
    name: &str,
    bytes: &[u8],
    store: &TrustStore,
    identity: &Identity,
    now: Now,
    licenses: &[LicenseView],
) -> Checked {
    let only = |entry| Checked { entry, terms: None, host: None };
    let refused = |refusal: Refusal| FolderEntry::refused(name, refusal.reason(), refusal.to_string());
    if name::sort_of(name.as_ref()) == Some(name::Sort::Root) {
        return only(match store.trust().succeed(bytes) {
            Ok(next) => {
                FolderEntry::new(name, EntryState::Accepted, format!("Root {} would be in force.", next.root().version))
            }
            Err(refusal) => refused(refusal),
        });
    }
    let accepted = Accepted(licenses.iter().map(Into::into).collect());
    let terms = match judge::verify(store.trust(), bytes, now, &accepted) {
        Ok(terms) => terms,
        Err(refusal) => {
            return only(FolderEntry::refused(name, refusal.reason(), judge::words_of(&refusal, bytes)));
        }
    };
    let host = identity.find(&terms.hosts);
    let file = FolderFile { name: name.to_owned(), terms: terms.clone(), host: host.clone() };
    let entry = match forecast::forecast(licenses, store.revocations(), file, now) {
        Some(Err(refusal)) => FolderEntry::refused(name, refusal.reason(), refusal.message()),
        Some(Ok(Taken::Superseded)) => {
            FolderEntry::new(name, EntryState::Superseded, "A newer file counts in its place.")
        }
        Some(Ok(Taken::Accepted | Taken::Known | Taken::Deactivated)) | None => {
            let words = match (terms.is_deactivation(), accepted.granted(terms.license_id)) {
                (false, _) => judge::described(&terms, &host, identity, store.trust()),
                (true, true) => {
                    format!("It closes license {}; a receipt for the licensor is written then.", terms.license_id)
                }
                (true, false) => format!(
                    "It closes license {}, which this server does not run: nothing changes, and no receipt is due.",
                    terms.license_id
                ),
            };
            FolderEntry::new(name, EntryState::Accepted, words)
        }
    };
    Checked { entry, terms: Some(terms), host: Some(host) }
}
