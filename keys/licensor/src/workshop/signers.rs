//! The workshop's private keys as they are needed: those of a role that may sign now, and those that open usage files.

use std::{
    fs,
    path::{Path, PathBuf},
};

use leasehold_keys::{
    key::SigningKey,
    root::{KeyRole, RoleKey},
    time::WallTime,
    trust::Trust,
    usage::UsagePrivateKey,
};

use super::{KEYS, Workshop, WorkshopFault, found};
use crate::vault::{self, PrivateKey, Purpose, VaultFault, is_sealed};

impl Workshop {
    /// True where issuing needs a passphrase that was not given yet.
    ///
    /// # Errors
    ///
    /// Where the issuing key's file cannot be read.
    pub fn is_locked(&self) -> Result<bool, WorkshopFault> {
        self.is_locked_for(KeyRole::Issuing)
    }

    /// True where signing as this role needs a passphrase that was not given yet.
    ///
    /// # Errors
    ///
    /// Where a key file of the role cannot be read.
    pub fn is_locked_for(&self, role: KeyRole) -> Result<bool, WorkshopFault> {
        if self.passphrase.is_some() {
            return Ok(false);
        }
        for key in self.trust.root().keys_of(role) {
            let path = self.key_path(key.key.name());
            if is_sealed(&path).map_err(|fault| missing_key(fault, role, path))? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// True where opening usage files needs a passphrase that was not given yet.
    ///
    /// # Errors
    ///
    /// Where no usage key is there, or a key file cannot be read.
    pub fn is_locked_for_usage(&self) -> Result<bool, WorkshopFault> {
        if self.passphrase.is_some() {
            return Ok(false);
        }
        for path in self.usage_key_files()? {
            if is_sealed(&path)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The private keys that usage files are sealed to, that of the newest root and those of earlier ones.
    ///
    /// # Errors
    ///
    /// [`WorkshopFault::MissingUsageKey`] where none is there; any other where one cannot be opened.
    pub fn usage_keys(&self) -> Result<Vec<UsagePrivateKey>, WorkshopFault> {
        let files = self.usage_key_files()?;
        files.iter().map(|path| Ok(PrivateKey::load(path, self.passphrase.as_ref())?.usage()?)).collect()
    }

    fn usage_key_files(&self) -> Result<Vec<PathBuf>, WorkshopFault> {
        let folder = self.dir.join(KEYS);
        let io = |fault| WorkshopFault::Io { path: folder.clone(), fault };
        let mut files = Vec::new();
        for entry in fs::read_dir(&folder).map_err(io)? {
            let path = entry.map_err(io)?.path();
            let is_key = path.extension().is_some_and(|extension| extension == "key");
            // A key of another purpose that cannot be read is told where it is needed.
            if is_key && vault::purpose(&path).is_ok_and(|purpose| purpose == Purpose::Usage) {
                files.push(path);
            }
        }
        files.sort();
        if files.is_empty() { Err(WorkshopFault::MissingUsageKey(folder)) } else { Ok(files) }
    }

    /// The keys of a role that may sign now.
    pub(super) fn signing_keys(&self, role: KeyRole, now: WallTime) -> Result<Vec<SigningKey>, WorkshopFault> {
        standing(&self.trust, role, now)?.into_iter().map(|key| self.signing_key(key)).collect()
    }

    /// The keys of a role, for a program that signs over days: which of them may sign is judged at each moment.
    ///
    /// # Errors
    ///
    /// Where the keys that may sign now cannot be used.
    pub(crate) fn signers(&self, role: KeyRole, now: WallTime) -> Result<Signers, WorkshopFault> {
        let root = self.trust.root();
        let coming = root.keys_of(role).filter(|key| now < key.not_after);
        // One whose time has not come may still lie elsewhere.
        let keys = coming.filter(|key| self.key_path(key.key.name()).exists());
        let keys = keys.map(|key| self.signing_key(key)).collect::<Result<_, _>>()?;
        let signers = Signers { role, trust: self.trust.clone(), folder: self.dir.join(KEYS), keys };
        signers.at(now)?;
        Ok(signers)
    }

    fn signing_key(&self, key: &RoleKey) -> Result<SigningKey, WorkshopFault> {
        let path = self.key_path(key.key.name());
        let key =
            PrivateKey::load(&path, self.passphrase.as_ref()).map_err(|fault| missing_key(fault, key.role, path))?;
        Ok(key.signing()?)
    }

    fn key_path(&self, name: &str) -> PathBuf {
        key_path(&self.dir.join(KEYS), name)
    }
}

/// Private keys of a role, opened.
#[derive(Debug)]
pub(crate) struct Signers {
    role: KeyRole,
    trust: Trust,
    folder: PathBuf,
    keys: Vec<SigningKey>,
}

impl Signers {
    /// The roots by which it is judged who may sign.
    pub(crate) fn trust(&self) -> &Trust {
        &self.trust
    }

    /// Those that may sign at `now`.
    pub(crate) fn at(&self, now: WallTime) -> Result<Vec<&SigningKey>, WorkshopFault> {
        let held = |listed: &RoleKey| {
            let key = self.keys.iter().find(|key| key.public().sha256() == listed.key.sha256());
            let path = key_path(&self.folder, listed.key.name());
            key.ok_or(WorkshopFault::MissingKey { role: self.role, path })
        };
        standing(&self.trust, self.role, now)?.into_iter().map(held).collect()
    }
}

fn key_path(folder: &Path, name: &str) -> PathBuf {
    folder.join(found::key_file_name(name))
}

/// The keys of a role that may sign at `now`, one of each algorithm: those of the highest epoch.
fn standing(trust: &Trust, role: KeyRole, now: WallTime) -> Result<Vec<&RoleKey>, WorkshopFault> {
    let root = trust.root();
    let stands = |key: &&RoleKey| {
        let revoked = trust.revoked_from(&key.key.sha256()).is_some_and(|from| from <= now);
        key.not_before <= now && now < key.not_after && !revoked
    };
    let standing: Vec<_> = root.keys_of(role).filter(stands).collect();
    let newest = standing.iter().map(|key| key.epoch).max();
    let keys: Vec<_> = standing.into_iter().filter(|key| Some(key.epoch) == newest).collect();
    if keys.is_empty() { Err(WorkshopFault::NoKey { role, version: root.version, now }) } else { Ok(keys) }
}

/// Says what to do about a key that is not there.
fn missing_key(fault: VaultFault, role: KeyRole, path: PathBuf) -> WorkshopFault {
    match fault {
        VaultFault::Io { fault, .. } if fault.kind() == std::io::ErrorKind::NotFound => {
            WorkshopFault::MissingKey { role, path }
        }
        fault => fault.into(),
    }
}
