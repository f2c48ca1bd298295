//! The folder from one look to the next: look, judge every file, hand the good ones to the engine as one set, and tell
//! what became of each. No task, no event and no clock is here: whoever drives it passes the time.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    path::PathBuf,
    sync::Arc,
};

use leasehold_engine::{
    command::FolderFile,
    decision::{FileVerdict, Taken},
    time::Now,
};
use leasehold_keys::{activation::Activation, digest::Sha256, time::WallTime, trust::Verified};

use super::{
    entry::{EntryState, FolderEntry, FolderView},
    judge::{self, Accepted},
    look::{Content, Look, Scanner},
    name::{Sort, note_of, shown},
    note::Notes,
};
use crate::{identity::Identity, receipts::Receipts, trust_store::TrustStore};

/// The whole folder is judged anew after so long though nothing changed in it: keys begin and end to count.
const JUDGE_AGAIN_MS: u64 = 60_000;

/// What is said of a name that is not looked at.
const IGNORED: &str = "Its name ends neither in .i3lic, as activation files do, nor in .i3root, as roots do, so it is not looked at. \
                       Rename it, or take it away.";
/// What is said besides of a file that does not count and has taken the place of one that does.
const DISPLACED: &str =
    " The accepted file that it took the place of runs on for 72 hours from the copy that is kept: put it back.";

/// Sees the folder through.
#[derive(Debug)]
pub(super) struct Inspector {
    scanner: Scanner,
    pub(super) trust: TrustStore,
    pub(super) identity: Arc<Identity>,
    receipts: Receipts,
    notes: Notes,
    /// What each name last gave to the set.
    given: BTreeMap<OsString, FolderFile>,
    /// Files that this daemon placed: they are whole, and need not rest.
    placed: BTreeSet<Sha256>,
    judged_at_ms: Option<u64>,
    view: Arc<FolderView>,
}

/// A look at the folder, judged as far as it can be without the engine.
#[derive(Debug)]
pub(super) struct Inspection {
    /// The whole set of verified files.
    pub(super) files: Vec<FolderFile>,
    fates: Vec<Fate>,
    /// Names under which another file was accepted that lies nowhere else now.
    displaced: BTreeSet<OsString>,
    look: Look,
}

/// What is known of one name before the engine has spoken.
#[derive(Debug)]
enum Fate {
    /// All there is to know.
    Known(OsString, FolderEntry),
    /// The engine decides on the file at this index; the same content may lie there under an earlier name.
    Asked(OsString, usize, Option<String>),
}

impl Inspector {
    pub(super) fn new(
        folder: PathBuf,
        state_directory: &std::path::Path,
        trust: TrustStore,
        identity: Arc<Identity>,
    ) -> Self {
        Self {
            notes: Notes::new(folder.clone(), state_directory),
            scanner: Scanner::new(folder),
            trust,
            identity,
            receipts: Receipts::of(state_directory),
            given: BTreeMap::new(),
            placed: BTreeSet::new(),
            judged_at_ms: None,
            view: Arc::default(),
        }
    }

    pub(super) fn folder(&self) -> &std::path::Path {
        self.scanner.folder()
    }

    /// The folder at its last look.
    pub(super) fn view(&self) -> Arc<FolderView> {
        self.view.clone()
    }

    /// A file with these bytes was put there whole.
    pub(super) fn placed(&mut self, digest: Sha256) {
        self.placed.insert(digest);
    }

    /// Judge everything at the next look, whether it changed or not.
    pub(super) fn judge_anew(&mut self) {
        self.judged_at_ms = None;
    }

    /// Looks at the folder at `now_ms` of a clock that only rises. `Err`: nothing changed, and there is nothing to ask;
    /// look again after so long, if that is set.
    ///
    /// Reads files: not for an async task.
    pub(super) fn look(&mut self, now_ms: u64, accepted: &Accepted) -> Result<Look, Option<u64>> {
        let mut known = accepted.known();
        known.digests.extend(self.placed.iter().copied());
        let look = self.scanner.look(now_ms, &known);
        let due = self.judged_at_ms.is_none_or(|at| now_ms.saturating_sub(at) >= JUDGE_AGAIN_MS);
        if !look.changed && !due {
            return Err(look.again_ms);
        }
        self.judged_at_ms = Some(now_ms);
        Ok(look)
    }

    /// Judges all that a look found. May hash for a host ID that is new: not for an async task.
    pub(super) fn judge(&mut self, look: Look, now: Now, accepted: &Accepted) -> Inspection {
        let mut fates = Vec::new();
        // Roots first: the files may need them.
        let roots: Vec<_> = look
            .candidates
            .iter()
            .filter(|found| found.sort == Sort::Root)
            .filter_map(|found| match &found.content {
                Content::Bytes(bytes) => Some((found.name.as_os_str(), &bytes[..])),
                Content::Waiting | Content::Refused(..) => None,
            })
            .collect();
        let before = self.trust.trust().root().version;
        for (name, entry) in judge::roots(&mut self.trust, &roots) {
            fates.push(Fate::Known(name, entry));
        }
        let after = self.trust.trust().root().version;
        if after > before {
            tracing::info!(root = %self.trust, "A newer root is in force");
        }
        let mut files: Vec<FolderFile> = Vec::new();
        let mut given = BTreeMap::new();
        let (mut spoilt, mut replaced) = (Vec::new(), Vec::new());
        for found in &look.candidates {
            let name = shown(&found.name);
            let mut refuse = |reason, message| {
                let mut entry = FolderEntry::refused(name.clone(), reason, message);
                if let Some(file) = accepted.under(&name).filter(|_| found.sort == Sort::Activation) {
                    entry.message += " The file that was accepted under this name runs on from the copy that is kept.";
                    spoilt.push(file);
                }
                Fate::Known(found.name.clone(), entry)
            };
            match &found.content {
                Content::Refused(reason, message) => fates.push(refuse(reason, message.clone())),
                Content::Waiting => {
                    // While it is being replaced, what it was goes on; the engine is asked with the whole set.
                    if let Some(file) = self.given.get(&found.name) {
                        given.insert(found.name.clone(), file.clone());
                        if !files.iter().any(|other| other.terms.sha256() == file.terms.sha256()) {
                            files.push(file.clone());
                        }
                    }
                    let entry = FolderEntry::new(
                        name,
                        EntryState::Waiting,
                        "The file is still being written; it is judged when it rests.",
                    );
                    fates.push(Fate::Known(found.name.clone(), entry));
                }
                Content::Bytes(bytes) if found.sort == Sort::Activation => {
                    match judge::verify(self.trust.trust(), bytes, now, accepted) {
                        Err(refusal) => fates.push(refuse(refusal.reason(), judge::words_of(&refusal, bytes))),
                        Ok(terms) => {
                            if let Some(file) = accepted.under(&name).filter(|file| file.sha256 != terms.sha256()) {
                                replaced.push((found.name.clone(), file));
                            }
                            if terms.is_deactivation() && accepted.granted(terms.license_id) {
                                // Before it is closed: whether it ever ran here cannot be told afterwards.
                                self.owe_receipt(&terms);
                            }
                            let twin = files.iter().position(|other| other.terms.sha256() == terms.sha256());
                            let index = twin.unwrap_or(files.len());
                            let same_as = twin.and_then(|twin| files.get(twin)).map(|other| other.name.clone());
                            let file = match twin.and_then(|twin| files.get(twin)) {
                                Some(other) => other.clone(),
                                None => FolderFile { name, host: self.identity.find(&terms.hosts), terms },
                            };
                            if twin.is_none() {
                                files.push(file.clone());
                            }
                            given.insert(found.name.clone(), file);
                            fates.push(Fate::Asked(found.name.clone(), index, same_as));
                        }
                    }
                }
                // Told above.
                Content::Bytes(_) => {}
            }
        }
        // Something stands under their names, if nothing good: they are not gone from the folder.
        for file in spoilt {
            if !files.iter().any(|other| other.terms.sha256() == file.sha256) {
                let (name, terms) = (file.name.clone(), file.terms.clone());
                files.push(FolderFile { name, host: self.identity.find(&terms.hosts), terms });
            }
        }
        let is_gone = |file: &judge::AcceptedFile| !files.iter().any(|other| other.terms.sha256() == file.sha256);
        let displaced = replaced.into_iter().filter(|(_, file)| is_gone(file)).map(|(name, _)| name).collect();
        for name in &look.ignored {
            let entry = FolderEntry::new(shown(name), EntryState::Ignored, IGNORED);
            fates.push(Fate::Known(name.clone(), entry));
        }
        self.given = given;
        Inspection { files, fates, displaced, look }
    }

    /// Tells what became of each file, now that the engine has given its verdicts in the order of
    /// [`Inspection::files`]. Writes notes and receipts. Gives the time after which to look again, if that is needed.
    pub(super) fn conclude(&mut self, inspection: Inspection, verdicts: &[FileVerdict], wall: WallTime) -> Option<u64> {
        let Inspection { files, fates, displaced, look } = inspection;
        self.placed.clear();
        for (file, verdict) in files.iter().zip(verdicts) {
            if verdict.verdict.is_ok() && file.terms.is_deactivation() && verdict.verdict != Ok(Taken::Superseded) {
                self.write_receipt(&file.terms, wall);
            }
        }
        let mut entries: BTreeMap<OsString, FolderEntry> = BTreeMap::new();
        for fate in fates {
            let (name, entry) = match fate {
                Fate::Known(name, entry) => (name, entry),
                Fate::Asked(name, index, same_as) => {
                    let Some((file, verdict)) = files.get(index).zip(verdicts.get(index)) else {
                        continue;
                    };
                    let mut entry = self.entry_of(&name, file, verdict);
                    if let Some(same_as) = same_as {
                        entry.message = format!("The same file as {same_as}. {}", entry.message);
                    }
                    if displaced.contains(&name) && matches!(verdict.verdict, Err(_) | Ok(Taken::Superseded)) {
                        entry.message += DISPLACED;
                    }
                    (name, entry)
                }
            };
            entries.insert(name, entry);
        }
        let refused: BTreeMap<OsString, &FolderEntry> = entries
            .iter()
            .filter(|(_, entry)| entry.state == EntryState::Refused)
            .map(|(name, entry)| (note_of(name), entry))
            .collect();
        self.notes.put(&refused, &look.notes);
        let entries: Vec<FolderEntry> = entries.into_values().collect();
        log_changes(&self.view, &entries, look.fault.as_deref());
        self.view = Arc::new(FolderView { entries, fault: look.fault, judged: self.view.judged + 1, undecided: None });
        look.again_ms
    }

    /// What the engine's verdict means for people.
    fn entry_of(&self, name: &std::ffi::OsStr, file: &FolderFile, verdict: &FileVerdict) -> FolderEntry {
        let name = shown(name);
        let closing = file.terms.is_deactivation();
        match &verdict.verdict {
            Ok(Taken::Superseded) => FolderEntry::new(
                name,
                EntryState::Superseded,
                "A newer file counts in its place. This one may be removed.",
            ),
            Ok(Taken::Accepted | Taken::Known | Taken::Deactivated) if closing => {
                FolderEntry::new(name, EntryState::Accepted, self.closing(&file.terms))
            }
            Ok(Taken::Accepted | Taken::Known | Taken::Deactivated) => FolderEntry::new(
                name,
                EntryState::Accepted,
                judge::described(&file.terms, &file.host, &self.identity, self.trust.trust()),
            ),
            Err(refusal) => FolderEntry::refused(name, refusal.reason(), refusal.message()),
        }
    }

    /// What there is to say of a file that has closed its license.
    fn closing(&self, closing: &Verified<Activation>) -> String {
        format!("It closes license {}. {}", closing.license_id, self.receipts.told(closing))
    }

    fn owe_receipt(&self, closing: &Verified<Activation>) {
        if let Err(fault) = self.receipts.owe(closing) {
            tracing::error!(license = %closing.license_id, "{fault}");
        }
    }

    /// A deactivation closes its license once, and a crash may fall between that and its receipt: so the receipt is
    /// seen to whenever the file is seen.
    fn write_receipt(&self, closing: &Verified<Activation>, wall: WallTime) {
        match self.receipts.write(closing, self.identity.installation(), wall) {
            Ok(Some(path)) => {
                tracing::info!(license = %closing.license_id, receipt = %path.display(), "The license is closed; send this receipt to the licensor");
            }
            Ok(None) => {}
            Err(fault) => tracing::error!(license = %closing.license_id, "{fault}"),
        }
    }
}

fn log_changes(before: &FolderView, entries: &[FolderEntry], fault: Option<&str>) {
    for entry in entries.iter().filter(|entry| !before.entries.contains(entry)) {
        let FolderEntry { name, state, reason, message } = entry;
        match state {
            EntryState::Refused => tracing::warn!(file = name, %reason, "Refused: {message}"),
            EntryState::Accepted => tracing::info!(file = name, "Accepted: {message}"),
            EntryState::Superseded => tracing::info!(file = name, "Superseded: {message}"),
            EntryState::Waiting => tracing::debug!(file = name, "Waiting: {message}"),
            EntryState::Ignored => tracing::info!(file = name, "Ignored: {message}"),
        }
    }
    for gone in before.entries.iter().filter(|old| !entries.iter().any(|entry| entry.name == old.name)) {
        tracing::info!(file = gone.name, "Gone from the watched folder");
    }
    if let Some(fault) = fault.filter(|fault| before.fault.as_deref() != Some(fault)) {
        tracing::error!("{fault}");
    }
}
