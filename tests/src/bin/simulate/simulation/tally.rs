//! What a simulation counts: steps, what was injected, in how many seeds each kind of it occurred.

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident = $name:literal),* $(,)?) => {
        /// Everything that goes wrong, or is made to.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) enum Kind {
            $($(#[$doc])* $kind),*
        }

        impl Kind {
            /// All kinds, in the order in which they are told.
            pub(crate) const ALL: &[Kind] = &[$(Kind::$kind),*];

            /// The kind in words.
            pub(crate) const fn name(self) -> &'static str {
                match self {
                    $(Kind::$kind => $name),*
                }
            }
        }
    };
}

kinds! {
    /// A commit finds no space left.
    DiskFull = "storage: disk full",
    /// A commit finds the file locked.
    DiskBusy = "storage: file locked",
    /// The sync of a commit fails, and the process ends.
    SyncFailed = "storage: sync failed",
    /// A kill tears a write.
    TornWrite = "storage: torn write",
    /// A kill loses what was written and not synced.
    UnsyncedLost = "storage: unsynced write lost",
    /// A kill before the sync finds everything on disk nevertheless.
    UnsyncedKept = "storage: unsynced write kept",
    /// A kill between a commit and its answers.
    KilledUnanswered = "daemon killed between commit and answers",
    /// A kill at any other moment.
    Killed = "daemon killed",
    /// A stop in order.
    Stopped = "daemon stopped and started",
    /// A start on a storage that can be read and not written.
    Unsettled = "storage: cannot be settled at the start",
    /// A message is lost.
    Dropped = "network: message dropped",
    /// A message comes twice.
    Duplicated = "network: message duplicated",
    /// A message overtakes an earlier one.
    Reordered = "network: message reordered",
    /// A message takes longer than 10 s.
    Delayed = "network: message delayed",
    /// A connection is cut.
    Cut = "network: connection cut",
    /// The wall clock is set.
    WallStep = "clock: wall clock set",
    /// The wall clock runs fast or slow.
    Skew = "clock: wall clock skewed",
    /// The machine is suspended: boot time goes on while nothing runs.
    Suspended = "clock: suspended",
    /// An application server crashes, and forgets everything.
    AppCrashed = "application server crashed",
    /// An application server hangs.
    AppHung = "application server hung",
    /// A request is sent again with its request ID.
    Retried = "request retried",
    /// A request ID is used again with another body.
    Reused = "request ID reused with another body",
    /// A foreign lease is renewed, released or marked.
    Foreign = "foreign lease claimed",
    /// A lease that has ended is renewed or released.
    Stale = "ended lease claimed",
    /// A file with less in it is loaded.
    Lowered = "file with lower capacity",
    /// A file is for another host, or for this one again.
    Moved = "file moved to another host",
    /// A file is taken out of the folder, or put back.
    FileGone = "file gone from the folder",
    /// A license is unloaded, or its signing key revoked.
    FileRevoked = "license unloaded or revoked",
    /// A key is taken from its subject.
    KeyTaken = "key taken away",
    /// Leases are ended by an administrator.
    LeaseRevoked = "leases revoked",
    /// A user's method is changed.
    Converted = "method converted",
    /// A user or a station is deleted.
    Deleted = "subject deleted",
}

/// The counts of one world, or of all.
#[derive(Clone, Debug)]
pub(crate) struct Tally {
    /// Seeds played.
    pub(crate) seeds: u64,
    /// Steps taken: each is one thing that somebody does, one delivery, one turn of the core or of the writer.
    pub(crate) steps: u64,
    /// Leases granted, as far as they became durable.
    pub(crate) granted: u64,
    /// Refusals of leases.
    pub(crate) refused: u64,
    /// Refusals that the oracle judged strictly.
    pub(crate) judged: u64,
    /// Commits that became durable.
    pub(crate) commits: u64,
    /// Full recounts.
    pub(crate) recounts: u64,
    /// By kind: how often.
    pub(crate) faults: Vec<u64>,
    /// By kind: in how many seeds.
    pub(crate) in_seeds: Vec<u64>,
}

impl Default for Tally {
    fn default() -> Self {
        let none = vec![0; Kind::ALL.len()];
        Self {
            seeds: 0,
            steps: 0,
            granted: 0,
            refused: 0,
            judged: 0,
            commits: 0,
            recounts: 0,
            faults: none.clone(),
            in_seeds: none,
        }
    }
}

impl Tally {
    pub(crate) fn happened(&mut self, kind: Kind) {
        self.faults[kind as usize] += 1;
    }

    /// Adds the counts of one finished seed.
    pub(crate) fn add(&mut self, one: &Tally) {
        self.seeds += 1;
        self.steps += one.steps;
        self.granted += one.granted;
        self.refused += one.refused;
        self.judged += one.judged;
        self.commits += one.commits;
        self.recounts += one.recounts;
        for (kind, count) in one.faults.iter().enumerate() {
            self.faults[kind] += count;
            self.in_seeds[kind] += u64::from(*count > 0);
        }
    }
}
