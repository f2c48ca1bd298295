//! The journal of the echo that keeps one: for each acquire the row of a lease is put, for each release it goes, by the
//! daemon's own storage, all that waits in one commit; then they are answered. No rule is looked at: what the daemon costs
//! beyond it is the price of deciding.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread,
};

use leasehold_engine::{
    ids::{HolderId, KeyId, LeaseId, PoolId, RequestId},
    row::{Change, HeldKey, LeaseRow, LeaseSubject, Row, Seat, SiteRow, Source, Terms},
    time::{LeaseTime, Now},
};
use leasehold_keys::name::{Label, Method};
use leasehold_proto::v1;
use leaseholdd::{
    clock::{Clock, evidence::Evidence},
    storage::{Database, Durable as _, StateDir, Store},
};
use tokio::sync::mpsc::UnboundedSender;
use tonic::Status;

use crate::load::Fault;

/// Entries of one commit, at most: as many as the daemon decides in one go.
const BATCH: usize = 4_096;

/// What an answer goes to.
pub(crate) type Answers = UnboundedSender<Result<v1::AttachResponse, Status>>;

struct Entry {
    change: Option<Change>,
    answer: v1::AttachResponse,
    to: Answers,
}

/// The journal, open for writing.
#[derive(Clone)]
pub(crate) struct Journal {
    to: mpsc::Sender<Entry>,
    last: Arc<AtomicU64>,
    terms: Arc<Terms>,
    application: Label,
    clock: Clock,
}

impl Journal {
    /// Makes one in this folder.
    pub(crate) fn open(dir: &Path) -> Result<Self, Fault> {
        let dir = StateDir::open(dir)?;
        let store = Database::open(&dir)?.into_store()?;
        let (to, entries) = mpsc::channel();
        let clock = Clock::system();
        let writing = clock.clone();
        thread::Builder::new().name("journal".into()).spawn(move || {
            write(store, &entries, &writing);
            drop(dir);
        })?;
        let key = KeyId(1);
        let seat = Seat { pool: PoolId { key, method: Method::Concurrent }, units: 1, shared: false };
        let held = HeldKey { key, source: Source::Units };
        let terms = Terms { needed: vec![key], keys: vec![held], seats: vec![seat], ..Terms::default() };
        Ok(Self { to, last: Arc::default(), terms: Arc::new(terms), application: "bench".parse()?, clock })
    }

    fn row(&self, id: u64, request: &[u8]) -> Row {
        let now = self.clock.now();
        Row::Lease(Box::new(LeaseRow {
            id: LeaseId(id),
            holder: HolderId(1),
            subject: LeaseSubject::Units,
            application: self.application.clone(),
            terms: self.terms.clone(),
            ttl_ms: 60_000,
            granted_wall: now.wall,
            granted: now.lease,
            idle_since: None,
            ends: None,
            request: request.try_into().ok().map(|request| (RequestId(request), id)),
            ended: None,
            graced: None,
        }))
    }

    /// The number of a new lease.
    pub(crate) fn next(&self) -> u64 {
        self.last.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Puts the row of a lease, then answers.
    pub(crate) fn acquired(&self, id: u64, request: &[u8], answer: v1::AttachResponse, to: &Answers) {
        let change = Change { before: None, after: Some(self.row(id, request)) };
        self.put(Some(change), answer, to);
    }

    /// Takes it away, then answers.
    pub(crate) fn released(&self, id: u64, answer: v1::AttachResponse, to: &Answers) {
        let change = Change { before: Some(self.row(id, &[])), after: None };
        self.put(Some(change), answer, to);
    }

    /// Answers after everything before it.
    pub(crate) fn said(&self, answer: v1::AttachResponse, to: &Answers) {
        self.put(None, answer, to);
    }

    fn put(&self, change: Option<Change>, answer: v1::AttachResponse, to: &Answers) {
        // The journal ends only with the process.
        let _ = self.to.send(Entry { change, answer, to: to.clone() });
    }
}

fn write(mut store: Store, entries: &mpsc::Receiver<Entry>, clock: &Clock) {
    let mut site = SiteRow::default();
    while let Ok(first) = entries.recv() {
        let mut changes = Vec::new();
        let mut answers = Vec::new();
        for entry in std::iter::once(first).chain(entries.try_iter()).take(BATCH) {
            if let Some(change) = entry.change {
                if let Some(Row::Lease(row)) = &change.after {
                    site.last_lease = site.last_lease.max(row.id.0);
                }
                changes.push(change);
            }
            answers.push((entry.answer, entry.to));
        }
        if !changes.is_empty() {
            changes.push(Change { before: Some(Row::Site(site)), after: Some(Row::Site(site)) });
            let now = Now { lease: LeaseTime::from_ms(1), ..clock.now() };
            if let Err(fault) = store.commit(std::iter::once(changes.as_slice()), now, &Evidence::default()) {
                eprintln!("the journal cannot be written: {fault}");
                return;
            }
        }
        for (answer, to) in answers {
            // A stream that is gone needs no answer.
            let _ = to.send(Ok(answer));
        }
        if let Err(fault) = store.tidy() {
            eprintln!("the journal cannot be kept short: {fault}");
            return;
        }
    }
}
