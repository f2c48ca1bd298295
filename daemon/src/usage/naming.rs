//! How users are called in usage files (USAGE-8): by their names, or by pseudonyms under a key that stays with the
//! customer. The key lies in the state directory, one line of text, 0600. It is one for a license: whoever moves to another
//! server copies the file there before its first start, and distinct counts stay exact.

use std::path::{Path, PathBuf};

use leasehold_keys::{
    name::Label,
    refusal::Refusal,
    usage::{Names, NotAPseudonymKey, PseudonymKey, User},
};

use crate::files::{self, ReadFault};

/// The file of the key in the state directory.
pub const PSEUDONYM_KEY_FILE: &str = "usage-pseudonym.key";

/// The most bytes of that file.
const FILE_MAX_BYTES: u64 = 1_024;

/// What the configuration says of names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NamesSetting {
    /// `plain`: as they are, sealed to the licensor and to the customer's own key.
    Plain,
    /// `pseudonym`: whoever opens a file sees pseudonyms.
    Pseudonym,
}

/// Why users cannot be named as the configuration says.
#[derive(Debug, thiserror::Error)]
pub(super) enum NamingFault {
    /// The file of the key cannot be read or written.
    #[error("{path} cannot be used: {fault}. Give it to the daemon's user, mode 0600, and see that its disk has room")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        fault: String,
    },
    /// It holds something else.
    #[error(
        "{path} holds no pseudonym key: {fault}. Bring it back from a backup or from the license's former server; only where pseudonyms \
         need not be the same as before, move it away, and a new key is made"
    )]
    Damaged {
        /// Which.
        path: PathBuf,
        /// Why.
        fault: NotAPseudonymKey,
    },
    /// The system gives no random bytes.
    #[error("a pseudonym key cannot be made: {0}")]
    Make(Refusal),
}

/// How users are called.
#[derive(Debug)]
pub(super) enum Naming {
    Plain,
    Pseudonyms(PseudonymKey),
}

impl Naming {
    /// As the setting says, with the key that is kept, or a new one where none is and one is needed.
    pub(super) fn open(setting: NamesSetting, state_directory: &Path) -> Result<Self, NamingFault> {
        match setting {
            NamesSetting::Plain => Ok(Naming::Plain),
            NamesSetting::Pseudonym => pseudonym_key(state_directory).map(Naming::Pseudonyms),
        }
    }

    /// What a header says of it.
    pub(super) fn names(&self) -> Names {
        match self {
            Naming::Plain => Names::Plain,
            Naming::Pseudonyms(key) => Names::Pseudonyms(key.id()),
        }
    }

    pub(super) fn user(&self, name: &Label) -> User {
        match self {
            Naming::Plain => User::Plain(name.clone()),
            Naming::Pseudonyms(key) => User::Pseudonym(key.pseudonym(name)),
        }
    }
}

fn pseudonym_key(state_directory: &Path) -> Result<PseudonymKey, NamingFault> {
    let path = state_directory.join(PSEUDONYM_KEY_FILE);
    let fault = |fault: String| NamingFault::File { path: path.clone(), fault };
    let bytes = match files::read(&path, FILE_MAX_BYTES) {
        Ok(bytes) => zeroize::Zeroizing::new(bytes),
        Err(ReadFault::Missing) => {
            let key = PseudonymKey::generate().map_err(NamingFault::Make)?;
            let text = zeroize::Zeroizing::new(format!("{}\n", *key.to_text()));
            files::replace(&path, text.as_bytes(), 0o600).map_err(|why| fault(why.to_string()))?;
            return Ok(key);
        }
        Err(why) => return Err(fault(why.to_string())),
    };
    // What is no text is no key, and is not shown.
    let text = std::str::from_utf8(&bytes).unwrap_or_default();
    PseudonymKey::from_text(text).map_err(|fault| NamingFault::Damaged { path: path.clone(), fault })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_key_is_made_when_it_is_first_needed_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(PSEUDONYM_KEY_FILE);
        let tina: Label = "tina".parse().unwrap();
        let plain = Naming::open(NamesSetting::Plain, dir.path()).unwrap();
        assert_eq!((plain.names(), plain.user(&tina)), (Names::Plain, User::Plain(tina.clone())));
        assert!(!path.exists());
        let first = Naming::open(NamesSetting::Pseudonym, dir.path()).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        // Moved to another server it gives the same pseudonyms.
        let other = tempfile::tempdir().unwrap();
        std::fs::copy(&path, other.path().join(PSEUDONYM_KEY_FILE)).unwrap();
        let moved = Naming::open(NamesSetting::Pseudonym, other.path()).unwrap();
        assert_eq!((first.names(), first.user(&tina)), (moved.names(), moved.user(&tina)));
        assert!(matches!(first.user(&tina), User::Pseudonym(_)));
    }

    #[test]
    fn a_damaged_key_is_told_and_never_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(PSEUDONYM_KEY_FILE);
        std::fs::write(&path, "leasehold-pseudonym-key-1:AAAA\n").unwrap();
        let said = Naming::open(NamesSetting::Pseudonym, dir.path()).unwrap_err().to_string();
        assert!(said.contains("holds no pseudonym key") && !said.contains("AAAA"), "{said}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "leasehold-pseudonym-key-1:AAAA\n");
    }
}
