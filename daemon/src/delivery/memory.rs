//! What is remembered of attempts, in `usage-delivery.json` of the state directory, so that a restart neither hammers nor
//! starts waiting anew; and when the next one is due.

use std::{collections::BTreeMap, path::Path};

use leasehold_engine::time::{LeaseTime, Now, WallTime};
use serde::{Deserialize, Serialize};

use super::state::Failure;
use crate::{
    files::{self, ReadFault},
    way_out::{Trouble, WAIT_MAX_MS, next_wait_ms},
};

/// The file in the state directory.
pub(super) const FILE: &str = "usage-delivery.json";
/// The most bytes of it: thousands of files that wait.
const FILE_MAX_BYTES: u64 = 16 * 1_024 * 1_024;

/// Attempts with one file, or with the way out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub(super) struct Attempts {
    /// Failed ones in a row.
    failed: u32,
    wait_ms: u64,
    /// The lease time at which the next is due.
    due_ms: u64,
    /// When the last was made.
    at: WallTime,
    /// Why it failed; `None` where what was waited for was not there yet.
    trouble: Option<Trouble>,
    /// When the file was last sent whole to a bucket.
    pub(super) sent: Option<WallTime>,
    /// An attempt of before the settings were changed may have brought it there.
    maybe_arrived: bool,
}

impl Attempts {
    /// When the next is due. Where lease time went back, as after a database was brought back, the wait still ends.
    pub(super) fn due(&self, now: Now) -> LeaseTime {
        LeaseTime::from_ms(self.due_ms.min(now.lease.as_ms().saturating_add(self.wait_ms)))
    }

    pub(super) fn is_due(&self, now: Now) -> bool {
        self.due(now) <= now.lease
    }

    /// Waits again, after a failure or because what is waited for is not there.
    fn wait(&mut self, trouble: Option<Trouble>, now: Now, roll: f64) {
        let asked_s = match &trouble {
            Some(Trouble::ServerBusy { retry_after_s, .. }) => retry_after_s.unwrap_or(0),
            _ => 0,
        };
        self.wait_ms = next_wait_ms(self.wait_ms, roll).max(asked_s.saturating_mul(1_000)).min(WAIT_MAX_MS);
        self.due_ms = now.lease.as_ms().saturating_add(self.wait_ms);
        self.at = now.wall;
        self.failed = if trouble.is_some() { self.failed.saturating_add(1) } else { 0 };
        self.trouble = trouble;
    }

    /// The file may be there since an attempt that failed.
    pub(super) fn may_have_arrived(&self) -> bool {
        self.maybe_arrived || self.trouble.as_ref().is_some_and(Trouble::may_have_arrived)
    }

    /// For people: about when it is tried again is told by the wall clock of now.
    pub(super) fn failure(&self, now: Now) -> Option<Failure> {
        let ms = self.due(now).as_ms().saturating_sub(now.lease.as_ms());
        Some(Failure {
            at: self.at,
            trouble: self.trouble.clone()?,
            attempts: self.failed,
            again: now.wall.plus_ms(i64::try_from(ms).unwrap_or(i64::MAX)),
        })
    }
}

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub(super) struct Memory {
    /// Where the attempts went: others than those count anew.
    destination: String,
    /// A digest of what they were made with: with other settings nothing waits.
    settings: String,
    /// Failures that all files share.
    way: Option<Attempts>,
    /// By name.
    files: BTreeMap<String, Attempts>,
}

impl Memory {
    /// As it was at the last stop. What cannot be read is forgotten, with a word, and then nothing is tried for a minute.
    pub(super) fn open(state_directory: &Path, now: Now) -> Self {
        let path = state_directory.join(FILE);
        let read = match files::read(&path, FILE_MAX_BYTES) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|fault| fault.to_string()),
            Err(ReadFault::Missing) => Ok(Self::default()),
            Err(fault) => Err(fault.to_string()),
        };
        read.unwrap_or_else(|fault| {
            tracing::warn!(
                "{} cannot be read: {fault}. When usage files were last tried is forgotten; they go on in a minute",
                path.display()
            );
            let mut memory = Self::default();
            let mut way = Attempts::default();
            way.wait(None, now, 0.0);
            memory.way = Some(way);
            memory
        })
    }

    /// Puts it on disk.
    pub(super) fn keep(&self, state_directory: &Path) -> Result<(), Trouble> {
        let path = state_directory.join(FILE);
        let text = serde_json::to_vec(self).map_err(|fault| Trouble::NotNoted { why: fault.to_string() })?;
        files::replace(&path, &text, 0o600).map_err(|fault| Trouble::Disk { path, why: fault.to_string() })
    }

    /// From now on files go there; where that is elsewhere than before, nothing waits.
    pub(super) fn go_to(&mut self, destination: &str) {
        if self.destination != destination {
            destination.clone_into(&mut self.destination);
            self.way = None;
            self.files.clear();
        }
    }

    /// From now on attempts are made with these settings; where they are others than before, nothing waits and nothing of
    /// before is complained of. What may be there already is still asked for first.
    pub(super) fn go_with(&mut self, settings: &str) {
        if self.settings != settings {
            settings.clone_into(&mut self.settings);
            self.way = None;
            for attempts in self.files.values_mut() {
                let maybe_arrived = attempts.may_have_arrived();
                *attempts = Attempts { sent: attempts.sent, maybe_arrived, ..Attempts::default() };
            }
        }
    }

    /// Forgets files that wait no more.
    pub(super) fn retain(&mut self, waits: impl Fn(&str) -> bool) {
        self.files.retain(|name, _| waits(name));
    }

    pub(super) fn way(&self) -> Option<&Attempts> {
        self.way.as_ref()
    }

    pub(super) fn file(&self, name: &str) -> Option<&Attempts> {
        self.files.get(name)
    }

    /// Whoever asks wants to see an attempt now.
    pub(super) fn hurry(&mut self) {
        for attempts in self.way.iter_mut().chain(self.files.values_mut()) {
            attempts.due_ms = 0;
        }
    }

    /// An attempt failed.
    pub(super) fn failed(&mut self, name: &str, trouble: Trouble, now: Now, roll: f64) {
        if trouble.is_of_the_way() {
            let may_have_arrived = trouble.may_have_arrived();
            self.way.get_or_insert_default().wait(Some(trouble.clone()), now, roll);
            if may_have_arrived {
                let attempts = self.files.entry(name.to_owned()).or_default();
                (attempts.trouble, attempts.at, attempts.failed) = (Some(trouble), now.wall, attempts.failed + 1);
            }
        } else {
            self.way = None;
            self.files.entry(name.to_owned()).or_default().wait(Some(trouble), now, roll);
        }
    }

    /// A file is in the bucket, and its receipt is waited for.
    pub(super) fn sent(&mut self, name: &str, now: Now) {
        self.way = None;
        let attempts = self.files.entry(name.to_owned()).or_default();
        *attempts = Attempts { sent: Some(now.wall), ..Attempts::default() };
        attempts.wait(None, now, 0.0);
    }

    /// Its receipt is not there yet.
    pub(super) fn not_yet(&mut self, name: &str, now: Now, roll: f64) {
        self.way = None;
        self.files.entry(name.to_owned()).or_default().wait(None, now, roll);
    }

    /// The licensor has signed for it.
    pub(super) fn done(&mut self, name: &str) {
        self.way = None;
        self.files.remove(name);
    }
}
