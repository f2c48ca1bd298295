//! Where the daemon's trust comes from and is kept: the first root, built in or configured, and the newer ones that it
//! vouched for, in `roots/` of the state directory (02, Trust). What a root means is the keys crate's matter.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fmt, io,
    path::{Path, PathBuf},
};

use leasehold_keys::{
    digest::Sha256,
    key::PublicKey,
    note::NOTE_MAX_BYTES,
    refusal::{Reason, Refusal},
    time::WallTime,
    trust::Trust,
};

use crate::files::{self, ReadFault, Room};

/// The root that was named by `LEASEHOLD_ROOT` when this daemon was built; empty where none was.
const BUILT_IN: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/built-in.i3root"));

/// True where a licensor built its root into this daemon: no other anchor counts then.
pub fn is_built_in() -> bool {
    !BUILT_IN.is_empty()
}

/// True where a state directory keeps roots already, as far as this process can see.
pub(crate) fn keeps_roots(state_directory: &Path) -> bool {
    kept_roots(&state_directory.join(FOLDER)).is_ok_and(|kept| !kept.is_empty())
}

/// Reads a configured root, and sees that it is one.
///
/// # Errors
/// [`TrustFault::Unreadable`], [`TrustFault::BadAnchor`].
pub(crate) fn read_anchor(path: &Path) -> Result<(), TrustFault> {
    let unreadable = |fault: ReadFault| TrustFault::Unreadable { path: path.to_owned(), fault: fault.to_string() };
    let bytes = files::read(path, NOTE_MAX_BYTES as u64).map_err(unreadable)?;
    let bad = |refusal| TrustFault::BadAnchor { place: path.display().to_string(), refusal };
    Trust::anchored(&bytes).map(|_| ()).map_err(bad)
}

/// The folder of roots in the state directory.
const FOLDER: &str = "roots";

/// The most roots that are kept: one a month for forty years.
const ROOTS_MAX: usize = 500;

/// Where the first root comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anchor {
    /// Built in by the licensor: nobody at the site can exchange it.
    BuiltIn,
    /// Read from the configured path: whoever may write there decides whose files count.
    Configured,
    /// The configured path cannot be read; the copy that was kept of it is used.
    Kept,
}

/// Why the daemon has no trust to start with.
#[derive(Debug, thiserror::Error)]
pub enum TrustFault {
    /// Nothing names a root.
    #[error(
        "this build of leaseholdd has no root of a licensor built in, and the configuration names none. Set `root` in the configuration \
         to the root file that the licensor sent"
    )]
    NoRoot,
    /// The configured root cannot be read.
    #[error("the root {path} cannot be read: {fault}. Check the setting `root`, and that the daemon may read the file")]
    Unreadable {
        /// The configured path.
        path: PathBuf,
        /// Why.
        fault: String,
    },
    /// The first root is not a good root.
    #[error("the root {place} cannot be trusted: {refusal}")]
    BadAnchor {
        /// `built in`, or its path.
        place: String,
        /// Why.
        refusal: Refusal,
    },
    /// A root that was kept does not follow from the first one.
    #[error(
        "the kept root {path} does not follow from the root that is {anchor}: {refusal} If it was damaged, put it back from a backup or \
         drop the licensor's newer roots into the watched folder after removing it. If this server was given to another licensor, remove \
         the folder it is in"
    )]
    BadChain {
        /// The kept root.
        path: PathBuf,
        /// `built in` or `configured`.
        anchor: &'static str,
        /// Why.
        refusal: Refusal,
    },
    /// A file in the folder of roots cannot be read.
    #[error(
        "the kept root {path} cannot be read: {fault}. It may hold a revocation, so nothing starts without it: give it back to the \
         daemon's user or put it back from a backup; what is no file is to be moved away"
    )]
    KeptUnreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        fault: String,
    },
    /// The folder of roots cannot be used.
    #[error("the folder of roots {path} cannot be used: {fault}. Check its owner and mode, and that its disk has room")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        fault: String,
    },
}

/// What became of a root that was offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offered {
    /// It is in force now, and kept.
    Adopted(u32),
    /// It was held before, and is in force.
    InForce(u32),
    /// It was held before, and a newer one is in force.
    Older(u32),
}

/// Why a root was not taken.
#[derive(Debug)]
pub enum OfferFault {
    /// It must not be taken.
    Refused(Refusal),
    /// It is good, but cannot be kept; without being kept it would be forgotten at the next start.
    NotKept(io::Error),
}

/// The daemon's trust, and where it is kept.
#[derive(Clone, Debug)]
pub struct TrustStore {
    trust: Trust,
    anchor: Anchor,
    folder: PathBuf,
}

impl TrustStore {
    /// Trust as it was at the last stop: the first root, then every kept root that follows from it, verified anew.
    ///
    /// A kept root older than the first one does not count: what is built in or configured now is the anchor. A newer
    /// one is never forgotten, so that a revocation is not either.
    ///
    /// # Errors
    /// See [`TrustFault`]; each says what to do.
    pub fn open(state_directory: &Path, configured: Option<&Path>) -> Result<Self, TrustFault> {
        Self::with_built_in(state_directory, configured, Some(BUILT_IN).filter(|root| !root.is_empty()))
    }

    /// As [`Self::open`], with this root built in.
    fn with_built_in(
        state_directory: &Path,
        configured: Option<&Path>,
        built_in: Option<&[u8]>,
    ) -> Result<Self, TrustFault> {
        let folder = state_directory.join(FOLDER);
        let folder_fault = |fault: io::Error| TrustFault::Folder { path: folder.clone(), fault: fault.to_string() };
        files::make_private_folder(&folder).map_err(folder_fault)?;
        let kept = kept_roots(&folder)?;
        let (anchor, bytes, place) = match (built_in, configured) {
            (Some(root), _) => (Anchor::BuiltIn, root.to_vec(), "built in".to_owned()),
            (None, None) => return Err(TrustFault::NoRoot),
            (None, Some(path)) => match files::read(path, NOTE_MAX_BYTES as u64) {
                Ok(root) => (Anchor::Configured, root, path.display().to_string()),
                // An unmounted share must not close a site, and the copy is as good as the path was.
                Err(fault) => match first_of_last_chain(&kept) {
                    Some(first) => (Anchor::Kept, first.bytes.clone(), folder.join(&first.name).display().to_string()),
                    None => {
                        return Err(TrustFault::Unreadable { path: path.to_owned(), fault: fault.to_string() });
                    }
                },
            },
        };
        let bad_anchor = |refusal| TrustFault::BadAnchor { place: place.clone(), refusal };
        let mut trust = Trust::anchored(&bytes).map_err(bad_anchor)?;
        let first = trust.root().version;
        if anchor != Anchor::BuiltIn
            && let Some(whole) = chain_through(&kept, &bytes)
        {
            // Where the anchor is the administrator's own choice, roots that they chose before it still explain the files
            // that were accepted under them.
            trust = whole;
        }
        for root in kept.iter().filter(|root| root.version >= first) {
            trust = trust.succeed(&root.bytes).map_err(|refusal| TrustFault::BadChain {
                path: folder.join(&root.name),
                anchor: if anchor == Anchor::BuiltIn { "built in" } else { "configured" },
                refusal,
            })?;
        }
        if !kept.iter().any(|root| root.version >= first) && anchor == Anchor::Configured {
            keep(&folder, first, &bytes).map_err(folder_fault)?;
        }
        Ok(Self { trust, anchor, folder })
    }

    /// Whose signatures count.
    pub fn trust(&self) -> &Trust {
        &self.trust
    }

    /// Where the first root came from.
    pub fn anchor(&self) -> Anchor {
        self.anchor
    }

    /// Every key that a held root revokes, with the earliest date from which.
    pub fn revocations(&self) -> Vec<(Sha256, WallTime)> {
        let mut dates: BTreeMap<Sha256, WallTime> = BTreeMap::new();
        for revoked in self.trust.chain().flat_map(|root| &root.revoked) {
            let from = dates.entry(revoked.sha256).or_insert(revoked.from);
            *from = revoked.from.min(*from);
        }
        dates.into_iter().collect()
    }

    /// Takes a newer root, keeps it, and puts it in force; or says why not.
    ///
    /// # Errors
    /// A root that does not follow from the one in force, or that cannot be kept. Nothing has changed then.
    pub fn offer(&mut self, root: &[u8]) -> Result<Offered, OfferFault> {
        let next = self.trust.succeed(root).map_err(OfferFault::Refused)?;
        let (before, after) = (self.trust.root().version, next.root().version);
        if after == before {
            let held = self.trust.chain().find(|held| held.bytes() == root).map_or(before, |held| held.version);
            return Ok(if held == before { Offered::InForce(held) } else { Offered::Older(held) });
        }
        if after > before && self.trust.chain().count() >= ROOTS_MAX {
            return Err(OfferFault::NotKept(io::Error::other(format!("{ROOTS_MAX} roots are kept already"))));
        }
        keep(&self.folder, after, root).map_err(OfferFault::NotKept)?;
        self.trust = next;
        Ok(Offered::Adopted(after))
    }
}

impl fmt::Display for TrustStore {
    /// For the status: `acme.example, version 3, built in`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let root = self.trust.root();
        let signer = root.root_keys.first().map_or("nobody", owner_of);
        let anchor = match self.anchor {
            Anchor::BuiltIn => "built in",
            Anchor::Configured => "configured, not built in",
            Anchor::Kept => "configured, not built in; the configured file cannot be read and its kept copy is used",
        };
        write!(f, "{signer}, version {}, {anchor}", root.version)
    }
}

/// The owner's part of a key's name: `acme.example` of `acme.example/root-1`.
fn owner_of(key: &PublicKey) -> &str {
    key.name().split('/').next().unwrap_or_default()
}

/// A root in the folder.
struct Kept {
    name: OsString,
    version: u32,
    bytes: Vec<u8>,
}

/// The roots that are kept, by version. Other files in the folder are left alone.
fn kept_roots(folder: &Path) -> Result<Vec<Kept>, TrustFault> {
    let fault = |fault: String| TrustFault::Folder { path: folder.to_owned(), fault };
    let room = Room::open(folder).map_err(|error| fault(error.to_string()))?;
    let (names, _) = room.names(ROOTS_MAX * 2).map_err(|error| fault(error.to_string()))?;
    let mut kept = Vec::new();
    for name in names {
        let Some(version) =
            name.to_str().and_then(|name| name.strip_suffix(".root")).and_then(|version| version.parse().ok())
        else {
            continue;
        };
        match room.read(&name, NOTE_MAX_BYTES as u64) {
            Ok((bytes, _)) => kept.push(Kept { name, version, bytes }),
            Err(ReadFault::Missing) => {}
            // A root that cannot be read may hold a revocation: going on without it would be a roll-back.
            Err(other) => {
                return Err(TrustFault::KeptUnreadable { path: folder.join(&name), fault: other.to_string() });
            }
        }
    }
    kept.sort_by_key(|root| root.version);
    Ok(kept)
}

/// The oldest root from which all later ones follow.
fn first_of_last_chain(kept: &[Kept]) -> Option<&Kept> {
    let roots: Vec<&[u8]> = kept.iter().map(|root| root.bytes.as_slice()).collect();
    (0..kept.len()).find(|first| Trust::from_chain(&roots[*first..]).is_ok()).and_then(|first| kept.get(first))
}

/// The chain of all kept roots, where it holds together and the anchor is one of them or follows the last.
fn chain_through(kept: &[Kept], anchor: &[u8]) -> Option<Trust> {
    let roots: Vec<&[u8]> = kept.iter().map(|root| root.bytes.as_slice()).collect();
    let trust = Trust::from_chain(&roots).ok()?;
    if trust.chain().any(|root| root.bytes() == anchor) { Some(trust) } else { trust.succeed(anchor).ok() }
}

fn keep(folder: &Path, version: u32, root: &[u8]) -> io::Result<()> {
    files::replace(&folder.join(format!("{version:04}.root")), root, 0o600)
}

/// True for refusals of roots that are merely old: nothing is wrong, and nothing needs to be done.
pub(crate) fn is_merely_old(refusal: &Refusal) -> bool {
    refusal.kind() == Reason::RootSuperseded
}

#[cfg(test)]
pub(crate) mod tests;
