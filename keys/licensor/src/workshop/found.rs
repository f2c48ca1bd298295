//! The founding of a workshop: its keys, its first root, its records (VENDOR-1). It is made apart and moved to
//! its place, so that half a licensor is never found.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use leasehold_keys::{
    key::SigningKey,
    note,
    root::{KeyRole, Policy, Required, RoleKey, Root},
    time::{DAY_MS, WallTime},
    trust::Trust,
};
use uuid::Uuid;

use super::{ISSUED, KEYS, LEDGER, ROOT, WorkshopFault, files::sync_folder, write_whole};
use crate::{
    calendar::{midnight, plus_years},
    ledger::Ledger,
    vault::{KeyAlgorithm, Passphrase, PrivateKey, Protection, Purpose},
};

/// The most root keys: with ML-DSA-65 beside Ed25519, that is all the signatures that a note holds.
pub const KEYS_MAX: u32 = 8;
/// Bytes of a licensor's name: key names add to it.
const NAME_MAX_BYTES: usize = 80;

/// How a workshop is to be.
#[derive(Clone, Debug)]
pub struct CreateOptions {
    /// The licensor's name, a domain such as `acme.example`: 1 to 80 of `a-z A-Z 0-9 . -`. Key names begin with it.
    pub name: String,
    /// Root keys: 1 to [`KEYS_MAX`]. Default 3.
    pub root_keys: u32,
    /// Root keys needed to sign a root. Default 2.
    pub threshold: u32,
    /// Years for which root and role keys count: 1 to 50. Default 5.
    pub years: u32,
    /// True: every note needs an ML-DSA-65 signature beside the Ed25519 one. Default false.
    pub ml_dsa: bool,
    /// How private keys are kept.
    pub protection: Protection,
    /// A file that may lie in the folder already: that of the passphrase.
    pub may_lie_there: Option<PathBuf>,
}

impl CreateOptions {
    /// The usual options for this licensor.
    pub fn new(name: impl Into<String>, protection: Protection) -> Self {
        Self { name: name.into(), root_keys: 3, threshold: 2, years: 5, ml_dsa: false, protection, may_lie_there: None }
    }

    pub(super) fn passphrase(&self) -> Option<Passphrase> {
        match &self.protection {
            Protection::Passphrase(passphrase) => Some(passphrase.clone()),
            Protection::None => None,
        }
    }

    fn check(&self) -> Result<(), WorkshopFault> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '-';
        let fault = if self.name.is_empty() || self.name.len() > NAME_MAX_BYTES || !self.name.chars().all(allowed) {
            "the licensor's name must be 1 to 80 letters, digits, dots and hyphens, such as acme.example"
        } else if !(1..=KEYS_MAX).contains(&self.root_keys) {
            "there must be 1 to 8 root keys"
        } else if !(1..=self.root_keys).contains(&self.threshold) {
            "the threshold must be 1 or more, and no more than there are root keys"
        } else if !(1..=50).contains(&self.years) {
            "the root must last 1 to 50 years"
        } else {
            return Ok(());
        };
        Err(WorkshopFault::Options(fault))
    }
}

/// The file of a key: what follows the licensor's name.
pub(super) fn key_file_name(key_name: &str) -> String {
    let own = key_name.rsplit_once('/').map_or(key_name, |(_, own)| own);
    // Names come from a signed root, and still must not lead out of the folder.
    let safe: String = own.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect();
    format!("{safe}.key")
}

pub(super) fn found(dir: &Path, options: &CreateOptions, now: WallTime) -> Result<(), WorkshopFault> {
    options.check()?;
    let io = |path: &Path| {
        let path = path.to_owned();
        move |fault| WorkshopFault::Io { path, fault }
    };
    let known = options.may_lie_there.as_ref().and_then(|path| fs::canonicalize(path).ok());
    let is_other = |entry: io::Result<fs::DirEntry>| {
        entry.map_or(true, |entry| known.is_none() || fs::canonicalize(entry.path()).ok() != known)
    };
    let there = match fs::read_dir(dir).map(|mut entries| entries.any(is_other)) {
        Ok(true) => return Err(WorkshopFault::NotEmpty(dir.to_owned())),
        Ok(false) => true,
        Err(fault) if fault.kind() == io::ErrorKind::NotFound => false,
        Err(fault) => return Err(io(dir)(fault)),
    };
    // In a folder that is there, which may be the one that the caller stands in; beside one that is not.
    let near = match dir.parent() {
        _ if there => dir.to_owned(),
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    fs::create_dir_all(&near).map_err(io(&near))?;
    let beside = near.join(format!(".licensor-{}.tmp", Uuid::new_v4()));
    private_folder(&beside).map_err(io(&beside))?;
    let made = fill(&beside, options, now).and_then(|()| {
        if there {
            make_private(dir).map_err(io(dir))?;
            // Without its records a folder is no workshop: they come last.
            for name in [KEYS, ISSUED, ROOT, LEDGER] {
                fs::rename(beside.join(name), dir.join(name)).map_err(io(dir))?;
            }
            fs::remove_dir(&beside).map_err(io(&beside))?;
        } else {
            fs::rename(&beside, dir).map_err(io(dir))?;
        }
        sync_folder(&near).map_err(io(&near))
    });
    if made.is_err() {
        let _ = fs::remove_dir_all(&beside);
    }
    made
}

fn fill(dir: &Path, options: &CreateOptions, now: WallTime) -> Result<(), WorkshopFault> {
    for folder in [KEYS, ISSUED] {
        let folder = dir.join(folder);
        private_folder(&folder).map_err(|fault| WorkshopFault::Io { path: folder, fault })?;
    }
    // Servers whose clocks are behind take what is issued at once.
    let from = midnight(now).plus_ms(-DAY_MS);
    let until = plus_years(midnight(now), i64::from(options.years));
    let year = now.to_string().chars().take(4).collect::<String>();
    let algorithms: &[KeyAlgorithm] =
        if options.ml_dsa { &[KeyAlgorithm::Ed25519, KeyAlgorithm::MlDsa65] } else { &[KeyAlgorithm::Ed25519] };
    let keep = |own_name: String, purpose, algorithm| -> Result<PrivateKey, WorkshopFault> {
        let key = PrivateKey::generate(format!("{}/{own_name}", options.name), purpose, algorithm)?;
        key.store(&dir.join(KEYS).join(key_file_name(key.name())), &options.protection)?;
        Ok(key)
    };
    let suffix = |algorithm| {
        if algorithm == KeyAlgorithm::MlDsa65 { "-ml-dsa" } else { "" }
    };

    let mut root_keys = Vec::new();
    let mut role_keys = Vec::new();
    for algorithm in algorithms {
        for number in 1..=options.root_keys {
            let own_name = format!("root-{number}{}", suffix(*algorithm));
            root_keys.push(keep(own_name, Purpose::Root, *algorithm)?.signing()?);
        }
    }
    let roles = [
        (KeyRole::Issuing, Purpose::Issuing),
        (KeyRole::CheckIn, Purpose::CheckIn),
        (KeyRole::Receipt, Purpose::Receipt),
    ];
    for (role, purpose) in roles {
        for algorithm in algorithms {
            let key = keep(format!("{role}-{year}{}", suffix(*algorithm)), purpose, *algorithm)?;
            role_keys.push(RoleKey {
                key: key.signing()?.public().clone(),
                role,
                epoch: 1,
                not_before: from,
                not_after: until,
            });
        }
    }
    let usage = keep(format!("usage-{year}"), Purpose::Usage, KeyAlgorithm::X25519)?.public()?;
    let usage_key = usage.try_into().map_err(|_| WorkshopFault::Options("the usage key has a wrong length"))?;

    let ml_dsa_65 = |needed: u32| if options.ml_dsa { needed } else { 0 };
    let one = Required { ed25519: 1, ml_dsa_65: ml_dsa_65(1) };
    let root = Root {
        version: 1,
        expires: until,
        usage_key,
        policy: Policy {
            root: Required { ed25519: options.threshold, ml_dsa_65: ml_dsa_65(options.threshold) },
            activation: one,
            check_in: one,
            receipt: one,
        },
        root_keys: root_keys.iter().map(|key| key.public().clone()).collect(),
        role_keys,
        revoked: Vec::new(),
    };
    root.check()?;
    let signers: Vec<&SigningKey> = root_keys.iter().collect();
    let root_note = note::sign(&root.render(), &signers)?;
    Trust::anchored(root_note.as_bytes())?;
    Ledger::create(&dir.join(LEDGER))?.add_root(1, now, &root_note)?;
    write_whole(&dir.join(ROOT), root_note.as_bytes())
}

fn private_folder(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// Shuts others out of a folder that is there.
fn make_private(path: &Path) -> io::Result<()> {
    #[cfg(unix)]
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
    #[cfg(not(unix))]
    fs::metadata(path)?;
    Ok(())
}
