//! Who this server is: the installation's key, the facts of the host, its host ID, and how a file's hosts compare with
//! it (02, Host IDs). What a mismatch means for leases is the engine's matter.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use leasehold_engine::command::HostFinding;
use leasehold_keys::{
    activation::{HostLine, HostRole},
    digest::Sha256,
    host::{Factor, FactorState, HostFacts, HostId, HostVerdicts, collect_linux::collect},
    installation::{InstallationId, InstallationKey, InstallationPublicKey, KeyFileFault},
    name::Label,
    refusal::Refusal,
    request,
    time::WallTime,
};
use serde::{Deserialize, Serialize};

use crate::files::{self, ReadFault};

pub mod facts_file;

const KEY_FILE: &str = "installation.key";
const HOST_ID_FILE: &str = "host-id.json";
const VERDICTS_FILE: &str = "host-verdicts.json";

/// The most bytes of this module's own files.
const FILE_MAX_BYTES: u64 = 256 * 1_024;

/// Why the identity cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum IdentityFault {
    /// The installation's key.
    #[error(transparent)]
    Key(#[from] KeyFileFault),
    /// The installation's key cannot be made.
    #[error("the installation key cannot be made: {0}")]
    Make(Refusal),
    /// Another of the files.
    #[error(
        "{path} cannot be used: {fault}. Check the owner and mode of the state directory, and that its disk has room"
    )]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        fault: String,
    },
    /// Another of the files does not say what this module writes.
    #[error(
        "{path} cannot be understood: {fault}. Move it away and start again: it is made anew, and files issued before still match"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Why.
        fault: String,
    },
    /// The operating system gives no random bytes.
    #[error("the operating system gives no random bytes for the host ID's salt")]
    Random,
}

/// The host ID as it was last made, and of which facts.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct KeptHostId {
    host_id: HostId,
    facts: Sha256,
}

/// One factor, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FactorView {
    /// Which.
    pub factor: Factor,
    /// False: it is missing, and counts as missing wherever it is compared.
    pub present: bool,
    /// Where it comes from, or why it is missing. Never the fact itself.
    pub message: &'static str,
}

/// Who this server is.
#[derive(Debug)]
pub struct Identity {
    key: InstallationKey,
    facts: HostFacts,
    host_id: HostId,
    machine_name: Label,
    verdicts: Mutex<HostVerdicts>,
    state_directory: PathBuf,
}

impl Identity {
    /// The identity that the state directory holds; made at the first start. The facts are collected of the machine whose
    /// file system begins at `machine`, `/` but in tests; `facts_file` is what the privileged pre-start step wrote, for
    /// what cannot be read here.
    ///
    /// Takes some tenths of a second where the facts have changed since the last start.
    ///
    /// # Errors
    /// See [`IdentityFault`]. A facts file that is missing, or that cannot be believed, is none: its facts are missing.
    pub fn open(state_directory: &Path, facts_file: Option<&Path>, machine: &Path) -> Result<Self, IdentityFault> {
        let mut facts = collect(machine);
        if let Some(path) = facts_file {
            match facts_file::read(path) {
                Ok(collected) => facts = facts_file::fill_in(facts, collected, machine),
                Err(fault) => {
                    tracing::warn!(path = %path.display(), "The host facts of the pre-start step are not used: {fault}")
                }
            }
        }
        Self::with_facts(state_directory, facts, machine_name())
    }

    /// Where the key of the installation belongs, where it is not there.
    pub fn missing_key(state_directory: &Path) -> Option<PathBuf> {
        let path = state_directory.join(KEY_FILE);
        matches!(path.try_exists(), Ok(false)).then_some(path)
    }

    /// The identity of a machine with these facts.
    ///
    /// # Errors
    /// See [`IdentityFault`].
    pub fn with_facts(state_directory: &Path, facts: HostFacts, machine_name: Label) -> Result<Self, IdentityFault> {
        let key = installation_key(&state_directory.join(KEY_FILE))?;
        let facts = facts.with_installation(&key.public()).normal();
        let host_id = host_id(&state_directory.join(HOST_ID_FILE), &facts)?;
        // A cache that cannot be read is made anew.
        let verdicts = read_json(&state_directory.join(VERDICTS_FILE)).ok().flatten().unwrap_or_default();
        Ok(Self {
            key,
            facts,
            host_id,
            machine_name,
            verdicts: Mutex::new(verdicts),
            state_directory: state_directory.to_owned(),
        })
    }

    /// The installation's key, which signs receipts and requests.
    pub fn installation(&self) -> &InstallationKey {
        &self.key
    }

    /// What the licensor knows this installation by.
    pub fn installation_id(&self) -> InstallationId {
        self.key.id()
    }

    /// The installation's public key.
    pub fn public_key(&self) -> InstallationPublicKey {
        self.key.public()
    }

    /// The host ID; the same as long as the facts are, and with the same salt when they change.
    pub fn host_id(&self) -> &HostId {
        &self.host_id
    }

    /// What people call this machine: its host name.
    pub fn machine_name(&self) -> &Label {
        &self.machine_name
    }

    /// Each factor, present or missing.
    pub fn factors(&self) -> Vec<FactorView> {
        Factor::ALL
            .into_iter()
            .map(|factor| {
                let present = self.host_id.records(factor);
                FactorView { factor, present, message: factor_message(factor, present) }
            })
            .collect()
    }

    /// A request note for the licensor, signed by the installation.
    ///
    /// # Errors
    /// Where the key cannot sign.
    pub fn request_note(
        &self,
        product: Option<Label>,
        machine_name: Option<Label>,
        now: WallTime,
    ) -> Result<String, Refusal> {
        let name = machine_name.unwrap_or_else(|| self.machine_name.clone());
        request::make(&self.key, self.host_id.clone(), name, product, now)
    }

    /// How a file's hosts compare with this one. Takes some tenths of a second for a host ID that was not compared
    /// before, and blocks for it.
    pub fn find(&self, hosts: &[HostLine]) -> HostFinding {
        if hosts.is_empty() {
            return HostFinding::Unbound;
        }
        let mut verdicts = self.verdicts.lock().unwrap_or_else(PoisonError::into_inner);
        let news = hosts.iter().any(|line| verdicts.known(&line.id, &self.facts).is_none());
        let compared: Vec<_> = hosts.iter().map(|line| (line, verdicts.compare(&line.id, &self.facts))).collect();
        if news {
            let path = self.state_directory.join(VERDICTS_FILE);
            if let Err(fault) = write_json(&path, &*verdicts) {
                // It is a cache: without it the next start takes longer, no more.
                tracing::warn!(path = %path.display(), "Host comparisons cannot be kept: {fault}");
            }
        }
        let role = |wanted| compared.iter().any(|(line, found)| line.role == wanted && found.matches(line.need));
        if role(HostRole::Primary) {
            return HostFinding::Primary;
        }
        if role(HostRole::Switchover) {
            return HostFinding::Switchover;
        }
        let words: Vec<String> = compared
            .iter()
            .map(|(line, found)| {
                let named = line.machine_name.as_ref().map_or_else(String::new, |name| format!(" ({name})"));
                let part = match line.role {
                    HostRole::Primary => "primary",
                    HostRole::Switchover => "switchover",
                };
                let why = if found.same() >= line.need.max(1) {
                    "neither platform nor network is the same here, and the others travel in a copied image".to_owned()
                } else {
                    format!("{} of 5 facts are the same here and {} are needed", found.same(), line.need)
                };
                format!("Its {part} host{named}: {why} ({found}).")
            })
            .collect();
        HostFinding::Other(words.join(" "))
    }

    /// True where this host matches a file, one or two facts do not, and a file with a new baseline would be better: a
    /// fact has changed, or one is there now that was missing. Answers from comparisons made before.
    pub fn offers_rebaseline(&self, hosts: &[HostLine]) -> bool {
        let verdicts = self.verdicts.lock().unwrap_or_else(PoisonError::into_inner);
        hosts.iter().any(|line| {
            let Some(found) = verdicts.known(&line.id, &self.facts) else { return false };
            let news = |(factor, state): &(Factor, FactorState)| {
                *state == FactorState::Changed || line.id.records(*factor) != self.host_id.records(*factor)
            };
            found.offers_rebaseline(line.need) && found.states().iter().any(news)
        })
    }
}

fn factor_message(factor: Factor, present: bool) -> &'static str {
    match (factor, present) {
        (Factor::Platform, true) => "the SMBIOS UUID of the machine",
        (Factor::Platform, false) => {
            "the SMBIOS UUID can be read by root alone, or the vendor left a default; run the pre-start step `leaseholdd collect-host-facts` as root"
        }
        (Factor::System, true) => "the machine ID, hashed for this application",
        (Factor::System, false) => "there is no machine ID in /etc/machine-id",
        (Factor::Disk, true) => "the system disk's serial number or WWN, or its file system's UUID",
        (Factor::Disk, false) => "the system disk names neither a serial number nor a file system's UUID",
        (Factor::Installation, true) => "this installation's key, made at its first start",
        (Factor::Installation, false) => "this installation has no key",
        (Factor::Network, true) => "permanent network addresses, or the cloud's instance ID",
        (Factor::Network, false) => "no network device with a permanent address was found",
    }
}

/// The key of a file, made at the first start.
fn installation_key(path: &Path) -> Result<InstallationKey, IdentityFault> {
    match InstallationKey::load(path) {
        Err(KeyFileFault::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            let key = InstallationKey::generate().map_err(IdentityFault::Make)?;
            key.store(path)?;
            Ok(key)
        }
        other => Ok(other?),
    }
}

/// The host ID that is kept, or one made of these facts with the salt that is kept, or a new one.
fn host_id(path: &Path, facts: &HostFacts) -> Result<HostId, IdentityFault> {
    let fault = |fault: String| IdentityFault::File { path: path.to_owned(), fault };
    let kept: Option<KeptHostId> = match read_json(path) {
        Ok(kept) => kept,
        Err(FileFault::Read(why)) => return Err(fault(why)),
        Err(FileFault::Damaged(fault)) => return Err(IdentityFault::Damaged { path: path.to_owned(), fault }),
    };
    let digest = facts.digest();
    let salt = match kept {
        Some(kept) if kept.facts == digest => return Ok(kept.host_id),
        Some(kept) => *kept.host_id.salt(),
        None => new_salt()?,
    };
    let host_id = HostId::new(facts, salt);
    write_json(path, &KeptHostId { host_id: host_id.clone(), facts: digest })
        .map_err(|error| fault(error.to_string()))?;
    Ok(host_id)
}

fn new_salt() -> Result<[u8; 16], IdentityFault> {
    use ring::rand::SecureRandom as _;
    let mut salt = [0; 16];
    ring::rand::SystemRandom::new().fill(&mut salt).map_err(|_| IdentityFault::Random)?;
    Ok(salt)
}

/// The host's name, as far as it can stand in a note.
fn machine_name() -> Label {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    name.parse().or_else(|_| "unnamed".parse()).expect("a plain word is a label")
}

/// Why one of the files was not read.
enum FileFault {
    /// The system says so.
    Read(String),
    /// It is something else.
    Damaged(String),
}

fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<Option<T>, FileFault> {
    match files::read(path, FILE_MAX_BYTES) {
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|fault| FileFault::Damaged(fault.to_string())),
        Err(ReadFault::Missing) => Ok(None),
        Err(fault @ ReadFault::Io(_)) => Err(FileFault::Read(fault.to_string())),
        Err(fault) => Err(FileFault::Damaged(fault.to_string())),
    }
}

fn write_json<T: Serialize>(path: &Path, value: &T) -> io::Result<()> {
    let mut text = serde_json::to_vec_pretty(value).map_err(io::Error::other)?;
    text.push(b'\n');
    files::replace(path, &text, 0o600)
}

#[cfg(test)]
pub(crate) mod tests;
