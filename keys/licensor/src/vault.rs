//! Private keys at rest: one small text file for each, readable by its owner only and sealed with a passphrase unless
//! that was waived. The container is told in `FORMAT.md`. What the keys sign is not this file's matter.

#[cfg(test)]
mod tests;

use std::{
    fmt,
    fs::{self, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use argon2::Argon2;
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use leasehold_keys::{
    key::{Algorithm, SEED_BYTES, SigningKey},
    usage::UsagePrivateKey,
};
use ring::{
    aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    rand::{SecureRandom as _, SystemRandom},
};
use serde::{Deserialize, Serialize};
use x25519_dalek::{X25519_BASEPOINT_BYTES, x25519};
use zeroize::Zeroizing;

/// The first field of every key file.
const FORMAT: &str = "leasehold/licensor-key/1";
/// Memory of one derivation, in KiB.
const MEMORY_KIB: u32 = 64 * 1_024;
/// The most that a file may ask for, so that a hostile one cannot take the machine's memory.
const MEMORY_MAX_KIB: u32 = 1_024 * 1_024;
/// Passes over the memory.
const PASSES: u32 = 3;
/// The most that a file may ask for.
const PASSES_MAX: u32 = 64;
const SALT_BYTES: usize = 16;
/// No key file is longer; ML-DSA public keys take some 2,700 bytes.
const FILE_MAX_BYTES: u64 = 16 * 1_024;

/// The words that open private keys. Never printed, wiped when it goes.
#[derive(Clone)]
pub struct Passphrase(Zeroizing<String>);

impl Passphrase {
    /// The fewest bytes of a new passphrase.
    pub const MIN_BYTES: usize = 8;

    /// A passphrase for new keys.
    ///
    /// # Errors
    ///
    /// [`VaultFault::ShortPassphrase`] below [`Passphrase::MIN_BYTES`] bytes.
    pub fn new(text: impl Into<String>) -> Result<Self, VaultFault> {
        let text = Zeroizing::new(text.into());
        if text.len() < Self::MIN_BYTES {
            return Err(VaultFault::ShortPassphrase);
        }
        Ok(Self(text))
    }

    /// A passphrase as it was given, to try on keys that exist.
    pub fn to_try(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(..)")
    }
}

/// How private keys are kept.
#[derive(Clone, Debug)]
pub enum Protection {
    /// Sealed with a passphrase.
    Passphrase(Passphrase),
    /// In the clear, behind the file's mode alone: for development.
    None,
}

/// Why a private key cannot be kept or had.
#[derive(Debug, thiserror::Error)]
pub enum VaultFault {
    /// Too short for a new passphrase.
    #[error("the passphrase is shorter than {} bytes; choose a longer one", Passphrase::MIN_BYTES)]
    ShortPassphrase,
    /// The file could not be read or written.
    #[error("{}: {fault}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        fault: io::Error,
    },
    /// Others than the owner may read or write it.
    #[error("{} can be read or written by others (mode {mode:04o}); if nobody else has read it, run: chmod 600 {}", path.display(), path.display())]
    WrongMode {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Not a key file, or a damaged one.
    #[error("{} is no key file that can be used: {reason}; restore it from your backup", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The file is sealed, and no passphrase was given.
    #[error("{} is sealed with a passphrase; give it by --passphrase-file, LICENSOR_PASSPHRASE or at the prompt", path.display())]
    PassphraseNeeded {
        /// The file.
        path: PathBuf,
    },
    /// The passphrase does not open it.
    #[error("the passphrase does not open {}; try again (or the file was changed: then restore it from your backup)", path.display())]
    WrongPassphrase {
        /// The file.
        path: PathBuf,
    },
    /// The system gives no random bytes, or a primitive failed.
    #[error("the system's cryptography failed: {0}")]
    Primitive(&'static str),
}

/// What a private key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Purpose {
    /// Signs roots; kept offline.
    Root,
    /// Signs activation files.
    Issuing,
    /// Signs answers to check-ins.
    CheckIn,
    /// Signs receipts for usage files.
    Receipt,
    /// Opens usage files.
    Usage,
}

/// What a private key is used by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyAlgorithm {
    /// Signatures by RFC 8032.
    #[serde(rename = "ed25519")]
    Ed25519,
    /// Signatures by FIPS 204.
    #[serde(rename = "ml-dsa-65")]
    MlDsa65,
    /// Key agreement by RFC 7748.
    #[serde(rename = "x25519")]
    X25519,
}

/// A private key with its name. Its secret is wiped when it goes.
pub struct PrivateKey {
    name: String,
    purpose: Purpose,
    algorithm: KeyAlgorithm,
    seed: Zeroizing<[u8; SEED_BYTES]>,
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey({}, {:?})", self.name, self.algorithm)
    }
}

/// The fields before the secret, in their order in the file.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct KeyFile {
    format: String,
    name: String,
    purpose: Purpose,
    algorithm: KeyAlgorithm,
    public: String,
    protection: Seal,
    #[serde(skip_serializing_if = "Option::is_none")]
    argon2_memory_kib: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    argon2_passes: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    salt: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nonce: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Seal {
    #[serde(rename = "argon2id-chacha20-poly1305")]
    Argon2idChaCha20Poly1305,
    None,
}

impl PrivateKey {
    /// A new key.
    ///
    /// # Errors
    ///
    /// [`VaultFault::Primitive`] where the system gives no random bytes.
    pub fn generate(name: impl Into<String>, purpose: Purpose, algorithm: KeyAlgorithm) -> Result<Self, VaultFault> {
        let mut seed = Zeroizing::new([0; SEED_BYTES]);
        random(&mut *seed)?;
        Ok(Self { name: name.into(), purpose, algorithm, seed })
    }

    /// The key's name, as in signature lines.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The public half.
    ///
    /// # Errors
    ///
    /// [`VaultFault::Primitive`] where the name cannot be a key's.
    pub fn public(&self) -> Result<Vec<u8>, VaultFault> {
        Ok(match self.algorithm {
            KeyAlgorithm::X25519 => x25519(*self.seed, X25519_BASEPOINT_BYTES).to_vec(),
            KeyAlgorithm::Ed25519 | KeyAlgorithm::MlDsa65 => self.signing()?.public().key().to_vec(),
        })
    }

    /// The same as a key that signs notes.
    ///
    /// # Errors
    ///
    /// [`VaultFault::Primitive`] where the name cannot be a key's, or the key signs nothing.
    pub fn signing(&self) -> Result<SigningKey, VaultFault> {
        let algorithm = match self.algorithm {
            KeyAlgorithm::Ed25519 => Algorithm::Ed25519,
            KeyAlgorithm::MlDsa65 => Algorithm::MlDsa65,
            KeyAlgorithm::X25519 => return Err(VaultFault::Primitive("a usage key signs nothing")),
        };
        SigningKey::from_seed(&self.name, algorithm, &self.seed)
            .map_err(|_| VaultFault::Primitive("the seed or the name gives no key"))
    }

    /// The same as a key that opens usage files.
    ///
    /// # Errors
    ///
    /// [`VaultFault::Primitive`] where it is a key that signs.
    pub fn usage(&self) -> Result<UsagePrivateKey, VaultFault> {
        match self.algorithm {
            KeyAlgorithm::X25519 => Ok(UsagePrivateKey::from_seed(self.seed.clone())),
            KeyAlgorithm::Ed25519 | KeyAlgorithm::MlDsa65 => {
                Err(VaultFault::Primitive("a key that signs opens nothing"))
            }
        }
    }

    /// Writes the key to a new file that only its owner may read.
    ///
    /// # Errors
    ///
    /// [`VaultFault::Io`] where the file exists or cannot be written.
    pub fn store(&self, path: &Path, protection: &Protection) -> Result<(), VaultFault> {
        let mut file = KeyFile {
            format: FORMAT.to_owned(),
            name: self.name.clone(),
            purpose: self.purpose,
            algorithm: self.algorithm,
            public: BASE64.encode(self.public()?),
            protection: Seal::None,
            argon2_memory_kib: None,
            argon2_passes: None,
            salt: None,
            nonce: None,
            secret: None,
        };
        let text = match protection {
            Protection::None => {
                let secret = Zeroizing::new(BASE64.encode(*self.seed));
                finish(&file, &secret)?
            }
            Protection::Passphrase(passphrase) => {
                let (mut salt, mut nonce) = ([0; SALT_BYTES], [0; NONCE_LEN]);
                random(&mut salt)?;
                random(&mut nonce)?;
                file.protection = Seal::Argon2idChaCha20Poly1305;
                file.argon2_memory_kib = Some(MEMORY_KIB);
                file.argon2_passes = Some(PASSES);
                file.salt = Some(BASE64.encode(salt));
                file.nonce = Some(BASE64.encode(nonce));
                let key = derive(passphrase, &salt, MEMORY_KIB, PASSES)?;
                let mut sealed = Zeroizing::new(self.seed.to_vec());
                key.seal_in_place_append_tag(
                    Nonce::assume_unique_for_key(nonce),
                    Aad::from(head(&file)?),
                    &mut *sealed,
                )
                .map_err(|_| VaultFault::Primitive("sealing failed"))?;
                finish(&file, &BASE64.encode(&*sealed))?
            }
        };
        write_private(path, text.as_bytes()).map_err(|fault| VaultFault::Io { path: path.to_owned(), fault })
    }

    /// Reads a key.
    ///
    /// # Errors
    ///
    /// See [`VaultFault`].
    pub fn load(path: &Path, passphrase: Option<&Passphrase>) -> Result<Self, VaultFault> {
        let file = read(path)?;
        let malformed = |reason: &str| VaultFault::Malformed { path: path.to_owned(), reason: reason.to_owned() };
        let decode = |field: Option<&String>| {
            field
                .and_then(|text| BASE64.decode(text).ok())
                .map(Zeroizing::new)
                .ok_or_else(|| malformed("a field is missing or no base64"))
        };
        let secret = decode(file.secret.as_ref())?;
        let seed = match file.protection {
            Seal::None => secret,
            Seal::Argon2idChaCha20Poly1305 => {
                let passphrase = passphrase.ok_or_else(|| VaultFault::PassphraseNeeded { path: path.to_owned() })?;
                let (memory, passes) = (file.argon2_memory_kib.unwrap_or(0), file.argon2_passes.unwrap_or(0));
                if !(8..=MEMORY_MAX_KIB).contains(&memory) || !(1..=PASSES_MAX).contains(&passes) {
                    return Err(malformed("its Argon2 parameters are out of range"));
                }
                let nonce: [u8; NONCE_LEN] = decode(file.nonce.as_ref())?
                    .as_slice()
                    .try_into()
                    .map_err(|_| malformed("its nonce has a wrong length"))?;
                let salt = decode(file.salt.as_ref())?;
                if salt.len() != SALT_BYTES {
                    return Err(malformed("its salt has a wrong length"));
                }
                let key = derive(passphrase, &salt, memory, passes)?;
                let mut sealed = secret;
                let head = head(&file)?;
                let opened = key
                    .open_in_place(Nonce::assume_unique_for_key(nonce), Aad::from(head), &mut sealed)
                    .map_err(|_| VaultFault::WrongPassphrase { path: path.to_owned() })?;
                Zeroizing::new(opened.to_vec())
            }
        };
        let seed: [u8; SEED_BYTES] =
            seed.as_slice().try_into().map_err(|_| malformed("its secret has a wrong length"))?;
        let key =
            Self { name: file.name, purpose: file.purpose, algorithm: file.algorithm, seed: Zeroizing::new(seed) };
        if BASE64.encode(key.public()?) != file.public {
            return Err(malformed("its public and private halves do not belong together"));
        }
        Ok(key)
    }
}

/// True where the key file at `path` is sealed with a passphrase.
///
/// # Errors
///
/// See [`VaultFault`].
pub fn is_sealed(path: &Path) -> Result<bool, VaultFault> {
    Ok(read(path)?.protection != Seal::None)
}

/// What the key in the file at `path` is for, as the file says; nothing is opened.
///
/// # Errors
///
/// See [`VaultFault`].
pub fn purpose(path: &Path) -> Result<Purpose, VaultFault> {
    Ok(read(path)?.purpose)
}

fn read(path: &Path) -> Result<KeyFile, VaultFault> {
    let io = |fault| VaultFault::Io { path: path.to_owned(), fault };
    let malformed = |reason: String| VaultFault::Malformed { path: path.to_owned(), reason };
    let meta = fs::metadata(path).map_err(io)?;
    if let Some(mode) = open_to_others(&meta) {
        return Err(VaultFault::WrongMode { path: path.to_owned(), mode });
    }
    if !meta.is_file() || meta.len() > FILE_MAX_BYTES {
        return Err(malformed("it is not a file of the size of a key".to_owned()));
    }
    let text = Zeroizing::new(fs::read_to_string(path).map_err(io)?);
    let file: KeyFile = toml::from_str(&text).map_err(|fault| malformed(fault.message().to_owned()))?;
    if file.format != FORMAT {
        return Err(malformed(format!("its format is not {FORMAT}")));
    }
    Ok(file)
}

/// The lines before the secret: what the seal binds besides it.
fn head(file: &KeyFile) -> Result<String, VaultFault> {
    let bare = KeyFile {
        format: file.format.clone(),
        name: file.name.clone(),
        purpose: file.purpose,
        algorithm: file.algorithm,
        public: file.public.clone(),
        protection: file.protection,
        argon2_memory_kib: file.argon2_memory_kib,
        argon2_passes: file.argon2_passes,
        salt: file.salt.clone(),
        nonce: file.nonce.clone(),
        secret: None,
    };
    toml::to_string(&bare).map_err(|_| VaultFault::Primitive("the key file's head cannot be written"))
}

fn finish(file: &KeyFile, secret: &str) -> Result<Zeroizing<String>, VaultFault> {
    Ok(Zeroizing::new(format!("{}secret = \"{secret}\"\n", head(file)?)))
}

fn derive(passphrase: &Passphrase, salt: &[u8], memory_kib: u32, passes: u32) -> Result<LessSafeKey, VaultFault> {
    let fault = |_| VaultFault::Primitive("Argon2id failed");
    let params = argon2::Params::new(memory_kib, passes, 1, Some(32)).map_err(fault)?;
    let mut key = Zeroizing::new([0; 32]);
    Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params)
        .hash_password_into(passphrase.0.as_bytes(), salt, &mut *key)
        .map_err(fault)?;
    let key = UnboundKey::new(&CHACHA20_POLY1305, &*key).map_err(|_| VaultFault::Primitive("no sealing key"))?;
    Ok(LessSafeKey::new(key))
}

fn random(into: &mut [u8]) -> Result<(), VaultFault> {
    SystemRandom::new().fill(into).map_err(|_| VaultFault::Primitive("no random bytes"))
}

fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// The permission bits, where they let others than the owner at it.
#[cfg(unix)]
fn open_to_others(meta: &fs::Metadata) -> Option<u32> {
    let mode = std::os::unix::fs::PermissionsExt::mode(&meta.permissions()) & 0o7777;
    (mode & 0o077 != 0).then_some(mode)
}

#[cfg(not(unix))]
fn open_to_others(_: &fs::Metadata) -> Option<u32> {
    None
}
