//! What a restart is to know of failed attempts, in `check-in.json` of the state directory: since when they fail and why, and
//! how long the waits have grown.

use std::{collections::BTreeMap, path::Path};

use leasehold_keys::activation::LicenseId;

use super::{heart::Attempts, trouble::Trouble};
use crate::files::{self, ReadFault};

/// The file in the state directory.
pub(super) const FILE: &str = "check-in.json";
/// The most bytes of it: hundreds of licenses.
const FILE_MAX_BYTES: u64 = 1_024 * 1_024;

/// As it was at the last stop. What cannot be read is forgotten, with a word.
pub(super) fn open(state_directory: &Path) -> BTreeMap<LicenseId, Attempts> {
    let path = state_directory.join(FILE);
    let read = match files::read(&path, FILE_MAX_BYTES) {
        Ok(bytes) => serde_json::from_slice::<BTreeMap<String, Attempts>>(&bytes).map_err(|fault| fault.to_string()),
        Err(ReadFault::Missing) => Ok(BTreeMap::new()),
        Err(fault) => Err(fault.to_string()),
    };
    let read = read.unwrap_or_else(|fault| {
        tracing::warn!("{} cannot be read: {fault}. Why check-ins failed before is forgotten", path.display());
        BTreeMap::new()
    });
    read.into_iter().filter_map(|(license, attempts)| Some((LicenseId(license.parse().ok()?), attempts))).collect()
}

/// Puts it on disk.
pub(super) fn keep(state_directory: &Path, attempts: &BTreeMap<LicenseId, Attempts>) -> Result<(), Trouble> {
    let path = state_directory.join(FILE);
    let named: BTreeMap<String, &Attempts> = attempts.iter().map(|(license, it)| (license.to_string(), it)).collect();
    let text = serde_json::to_vec(&named).map_err(|fault| Trouble::NotNoted { why: fault.to_string() })?;
    files::replace(&path, &text, 0o600).map_err(|fault| Trouble::Disk { path, why: fault.to_string() })
}
