//! The file in which a privileged pre-start step leaves the facts of the host, so that the daemon itself needs no
//! privilege to know them. Only a file that root or the daemon's own user wrote is believed, and only for what the daemon
//! cannot read itself.

use std::{
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use leasehold_keys::host::{HostFacts, collect_linux::collect};

use crate::files::{self, ReadFault};

/// The most bytes of the file.
const MAX_BYTES: u64 = 64 * 1_024;

/// Why a facts file is not used.
#[derive(Debug, thiserror::Error)]
pub enum FactsFileFault {
    /// It cannot be read.
    #[error("{0}")]
    Unreadable(String),
    /// Somebody else could have written it.
    #[error(
        "it belongs to user {owner} and has mode {mode:04o}; it must belong to root or to the daemon's user, and nobody else may write it"
    )]
    NotTrusted {
        /// Its owner.
        owner: u32,
        /// Its mode.
        mode: u32,
    },
    /// It is not what the pre-start step writes.
    #[error("it is not a facts file of this version: {0}. Run `leaseholdd collect-host-facts` again")]
    Malformed(String),
}

/// Why the facts were not written.
#[derive(Debug, thiserror::Error)]
#[error("the host facts cannot be written to {path}: {fault}")]
pub struct CollectFault {
    /// The file.
    pub path: PathBuf,
    /// Why.
    pub fault: io::Error,
}

/// The pre-start step `leaseholdd collect-host-facts --out FILE`: collects what this process may read and leaves it in
/// `out`, which the owner of its folder, and nobody else, may read. Says what was found, never the facts themselves.
///
/// # Errors
/// Where the file cannot be written.
pub fn collect_to(out: &Path) -> Result<HostFacts, CollectFault> {
    let facts = collect(Path::new("/")).normal();
    write(out, &facts).map_err(|fault| CollectFault { path: out.to_owned(), fault })?;
    Ok(facts)
}

/// As [`collect_to`], but where `other` has other facts in place of those collected, they are written; true then.
pub(crate) fn collect_to_or_else(
    out: &Path,
    other: impl FnOnce(HostFacts) -> Option<HostFacts>,
) -> Result<bool, CollectFault> {
    let facts = collect(Path::new("/")).normal();
    let other = other(facts.clone());
    write(out, other.as_ref().unwrap_or(&facts)).map_err(|fault| CollectFault { path: out.to_owned(), fault })?;
    Ok(other.is_some())
}

/// Writes the file: whole, mode 0600, given to the owner of its folder where this process may do so.
fn write(out: &Path, facts: &HostFacts) -> io::Result<()> {
    let mut text = serde_json::to_vec_pretty(facts).map_err(io::Error::other)?;
    text.push(b'\n');
    let (room, name) = files::room_of(out)?;
    room.replace(name, &text, 0o600)?;
    match room.give_to_owner(name) {
        // Whoever runs this without privilege is, as a rule, the daemon's own user.
        Err(fault) if fault.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        other => other,
    }
}

/// Reads the file.
///
/// # Errors
/// See [`FactsFileFault`].
pub fn read(path: &Path) -> Result<HostFacts, FactsFileFault> {
    let unreadable = |fault: ReadFault| FactsFileFault::Unreadable(fault.to_string());
    let (room, name) = files::room_of(path).map_err(|fault| unreadable(fault.into()))?;
    let (bytes, facts) = room.read_with_facts(name, MAX_BYTES).map_err(unreadable)?;
    let (owner, mode) = (facts.uid(), facts.mode() & 0o7777);
    let own = rustix::process::geteuid().as_raw();
    if (owner != 0 && owner != own) || mode & 0o022 != 0 {
        return Err(FactsFileFault::NotTrusted { owner, mode });
    }
    serde_json::from_slice(&bytes).map_err(|fault| FactsFileFault::Malformed(fault.to_string()))
}

/// What the daemon sees itself, with what it cannot read from the pre-start step. Its own sight goes first: a file that was
/// carried over from another machine makes nothing of this one but what only root can read.
pub(super) fn fill_in(seen: HostFacts, collected: HostFacts, machine: &Path) -> HostFacts {
    let hidden = seen.network.is_empty() || hides_instance(machine);
    HostFacts {
        platform: seen.platform.or(collected.platform),
        system: seen.system.or(collected.system),
        disk: seen.disk.or(collected.disk),
        installation: None,
        network: if hidden && !collected.network.is_empty() { collected.network } else { seen.network },
    }
}

/// True on the cloud whose instance ID only root can read: network addresses are all that the daemon sees there.
fn hides_instance(machine: &Path) -> bool {
    let dmi = machine.join("sys/class/dmi/id");
    let vendor = std::fs::read_to_string(dmi.join("sys_vendor")).unwrap_or_default();
    vendor.trim() == "Google" && std::fs::read(dmi.join("product_serial")).is_err()
}
