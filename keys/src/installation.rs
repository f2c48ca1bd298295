//! The installation key: an Ed25519 key made at a daemon's first start. It names this installation to the licensor and
//! signs what the installation says. What is signed states its purpose and lengths, so that no signature serves twice.

use std::{
    fmt, fs,
    io::{self, Read as _, Write as _},
    path::Path,
    str::FromStr,
};

use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use serde::{Deserialize, Serialize};

use crate::{
    digest::{Sha256, hex, unhex},
    host::prefixed,
    key::{Algorithm, PublicKey, SEED_BYTES, SigningKey, random_seed},
    refusal::{Reason, Refusal},
};

/// An installation's public identity: the first 16 bytes of SHA-256 over its public key, as 32 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct InstallationId([u8; 16]);

impl InstallationId {
    /// The ID of the installation with this public key.
    pub(crate) fn of(key: &[u8]) -> Self {
        let mut id = [0; 16];
        id.copy_from_slice(&Sha256::of(key).0[..16]);
        Self(id)
    }
}

/// Why a text is no installation ID or key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is not {0} digits 0-9 a-f")]
pub struct NotHex(usize);

impl NotHex {
    /// Not so many digits.
    pub(crate) fn digits(digits: usize) -> Self {
        Self(digits)
    }
}

impl fmt::Display for InstallationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl FromStr for InstallationId {
    type Err = NotHex;

    fn from_str(text: &str) -> Result<Self, NotHex> {
        unhex(text).and_then(|bytes| bytes.try_into().ok()).map(Self).ok_or(NotHex(32))
    }
}

impl TryFrom<String> for InstallationId {
    type Error = NotHex;

    fn try_from(text: String) -> Result<Self, NotHex> {
        text.parse()
    }
}

impl From<InstallationId> for String {
    fn from(id: InstallationId) -> Self {
        id.to_string()
    }
}

/// An installation's public key, written as 64 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstallationPublicKey([u8; 32]);

impl InstallationPublicKey {
    /// A key from its 32 bytes.
    ///
    /// # Errors
    /// `small-order-key`, `bad-key`.
    pub fn new(bytes: [u8; 32]) -> Result<Self, Refusal> {
        PublicKey::new("installation", Algorithm::Ed25519, &bytes)?;
        Ok(Self(bytes))
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The installation that it is the key of.
    pub fn id(&self) -> InstallationId {
        InstallationId::of(&self.0)
    }

    /// As the key of notes, under the name `installation-ID`.
    pub fn as_note_key(&self) -> Result<PublicKey, Refusal> {
        PublicKey::new(&note_name(self.id()), Algorithm::Ed25519, &self.0)
    }

    /// True where `signature` is this installation's for `purpose` over `parts`.
    pub fn verifies(&self, purpose: &str, parts: &[&[u8]], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.0).verify(&statement(purpose, parts), signature).is_ok()
    }
}

impl fmt::Display for InstallationPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

/// The name of an installation's key on its notes.
pub(crate) fn note_name(id: InstallationId) -> String {
    format!("installation-{id}")
}

/// The bytes that are signed: `leasehold/PURPOSE/1`, LF, then each part after its length in four bytes.
fn statement(purpose: &str, parts: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("leasehold/{purpose}/1\n").into_bytes();
    for part in parts {
        prefixed(&mut bytes, part);
    }
    bytes
}

/// Why the key's file was not read or written.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileFault {
    /// The operating system's refusal.
    #[error("the installation key {path} cannot be used: {source}. Check its owner and mode")]
    Io {
        /// The file.
        path: String,
        /// What the system says.
        source: io::Error,
    },
    /// Others may read it.
    #[error("the installation key {path} has mode {mode:04o}, so others may read it. Run `chmod 600` on it")]
    Mode {
        /// The file.
        path: String,
        /// Its mode.
        mode: u32,
    },
    /// Not 32 bytes, or no regular file.
    #[error(
        "{path} is not an installation key of 32 bytes. Restore it from a backup; a new key makes this another installation"
    )]
    NotAKey {
        /// The file.
        path: String,
    },
}

/// An installation's key pair.
pub struct InstallationKey {
    seed: [u8; SEED_BYTES],
    pair: Ed25519KeyPair,
}

impl InstallationKey {
    /// The key of a seed.
    ///
    /// # Errors
    /// `bad-key` where the seed gives no key, which does not happen with 32 random bytes.
    pub fn from_seed(seed: [u8; SEED_BYTES]) -> Result<Self, Refusal> {
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed)
            .map_err(|_| Refusal::new(Reason::BadKey, "The seed gives no Ed25519 key"))?;
        Ok(Self { seed, pair })
    }

    /// A new key.
    ///
    /// # Errors
    /// `bad-key` where the operating system gives no random bytes.
    pub fn generate() -> Result<Self, Refusal> {
        Self::from_seed(random_seed()?)
    }

    /// Reads the key from its file of 32 bytes.
    ///
    /// # Errors
    /// A file that cannot be read, that others may read, or that holds no key.
    pub fn load(path: &Path) -> Result<Self, KeyFileFault> {
        let shown = || path.display().to_string();
        let io = |source| KeyFileFault::Io { path: shown(), source };
        let file = fs::File::open(path).map_err(io)?;
        let facts = file.metadata().map_err(io)?;
        if !facts.is_file() || facts.len() != SEED_BYTES as u64 {
            return Err(KeyFileFault::NotAKey { path: shown() });
        }
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = facts.permissions().mode() & 0o7777;
            if mode & 0o077 != 0 {
                return Err(KeyFileFault::Mode { path: shown(), mode });
            }
        }
        let mut seed = [0; SEED_BYTES];
        (&file).read_exact(&mut seed).map_err(io)?;
        Self::from_seed(seed).map_err(|_| KeyFileFault::NotAKey { path: shown() })
    }

    /// Writes the key to a new file of mode 0600, whole or not at all, and waits until it is on disk. A file that is
    /// there is left alone and is an error.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn store(&self, path: &Path) -> Result<(), KeyFileFault> {
        let io = |source| KeyFileFault::Io { path: path.display().to_string(), source };
        let mut unfinished = path.as_os_str().to_owned();
        unfinished.push(".new");
        let unfinished = Path::new(&unfinished);
        // One left by a crash holds a key that nobody has seen.
        match fs::remove_file(unfinished) {
            Err(fault) if fault.kind() != io::ErrorKind::NotFound => return Err(io(fault)),
            _ => {}
        }
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        {
            use std::os::unix::fs::OpenOptionsExt as _;
            options.mode(0o600);
        }
        let mut file = options.open(unfinished).map_err(io)?;
        file.write_all(&self.seed).and_then(|()| file.sync_all()).map_err(io)?;
        // A second name, unlike a rename, never takes the place of a key that is there.
        let named = fs::hard_link(unfinished, path);
        fs::remove_file(unfinished).and(named).map_err(io)?;
        #[cfg(unix)]
        {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(io)?;
        }
        Ok(())
    }

    /// Its public half.
    pub fn public(&self) -> InstallationPublicKey {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(self.pair.public_key().as_ref());
        InstallationPublicKey(bytes)
    }

    /// The installation's ID.
    pub fn id(&self) -> InstallationId {
        self.public().id()
    }

    /// Signs `parts` for `purpose`, such as `usage-checkpoint`: see `FORMAT.md`, Installation signatures.
    pub fn sign(&self, purpose: &str, parts: &[&[u8]]) -> [u8; 64] {
        let mut signature = [0; 64];
        signature.copy_from_slice(self.pair.sign(&statement(purpose, parts)).as_ref());
        signature
    }

    /// As the key that signs this installation's notes.
    pub(crate) fn as_note_key(&self) -> Result<SigningKey, Refusal> {
        SigningKey::from_seed(&note_name(self.id()), Algorithm::Ed25519, &self.seed)
    }
}

impl fmt::Debug for InstallationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InstallationKey({})", self.id())
    }
}
