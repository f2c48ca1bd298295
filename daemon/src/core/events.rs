//! What attached application servers are told without asking. Bounded: the latest word per lease, so a reader that is
//! slow gets fewer words, and one that is too slow is cut; what it missed it learns when it attaches again.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use leasehold_engine::{
    decision::{Event, StandingTold, Told},
    ids::{HolderId, LeaseId},
};
use tokio::sync::Notify;

/// Why a stream gets no more events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// It did not read what waited for it, and more came than is kept.
    TooSlow,
    /// Another stream of the same run, or a new run in its place, has attached.
    Displaced,
    /// The core has ended.
    Stopped,
}

/// What waits for one holder: the latest per topic.
#[derive(Debug, Default)]
struct Waiting {
    leases: BTreeMap<LeaseId, Told>,
    site_keys: bool,
    standing: Option<Box<StandingTold>>,
    cut: Option<Cut>,
}

#[derive(Debug, Default)]
struct Slot {
    /// Which attaching this is; see [`EventReceiver::attaching`].
    attaching: u64,
    waiting: Mutex<Waiting>,
    wake: Notify,
}

impl Slot {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cut(&self, why: Cut) {
        let mut waiting = self.lock();
        waiting.cut.get_or_insert(why);
        waiting.leases.clear();
        drop(waiting);
        self.wake.notify_one();
    }

    fn tell(&self, told: Told, most: usize) {
        let mut waiting = self.lock();
        if waiting.cut.is_some() {
            return;
        }
        match told {
            Told::SiteKeysChanged => waiting.site_keys = true,
            Told::Standing(told) => {
                // From where it was when it was last told.
                let before = waiting.standing.as_ref().map_or(told.before, |held| held.before);
                waiting.standing = Some(Box::new(StandingTold { before, ..*told }));
            }
            Told::Ended { lease, .. } | Told::Warned { lease, .. } => merge(&mut waiting.leases, lease, told),
            Told::Changed { ref lease, .. } => merge(&mut waiting.leases, lease.id, told),
        }
        if waiting.leases.len() > most {
            drop(waiting);
            return self.cut(Cut::TooSlow);
        }
        drop(waiting);
        self.wake.notify_one();
    }
}

/// Ended beats Changed beats Warned; of two changes, one is made that tells both.
fn merge(leases: &mut BTreeMap<LeaseId, Told>, lease: LeaseId, told: Told) {
    let Some(held) = leases.get_mut(&lease) else {
        leases.insert(lease, told);
        return;
    };
    match (&mut *held, told) {
        (Told::Ended { .. }, _) => {}
        (Told::Changed { lease, .. }, Told::Warned { reason, ends_in_ms, .. }) => {
            lease.ends_in_ms = Some((ends_in_ms, reason));
        }
        (
            Told::Changed { added: held_added, removed: held_removed, .. },
            Told::Changed { lease, mut added, mut removed },
        ) => {
            added.extend(held_added.drain(..).filter(|key| !removed.contains(key)));
            removed.extend(held_removed.drain(..).filter(|key| !added.contains(key)));
            for keys in [&mut added, &mut removed] {
                keys.sort();
                keys.dedup();
            }
            *held = Told::Changed { lease, added, removed };
        }
        (_, told) => *held = told,
    }
}

/// The events of one holder, for the stream that carries it.
#[derive(Debug)]
pub struct EventReceiver {
    slot: Arc<Slot>,
    holder: HolderId,
    hub: Arc<Hub>,
}

impl EventReceiver {
    /// The holder, and which of its attachings this stream is: the end of a stream that was displaced detaches nobody.
    pub(super) fn attaching(&self) -> (HolderId, u64) {
        (self.holder, self.slot.attaching)
    }

    /// Waits for events and appends them to `into`, by lease. Answers of the same commit are sent before its events.
    /// Safe to cancel.
    ///
    /// # Errors
    /// [`Cut`]: nothing more comes, and the stream is to be closed.
    pub async fn recv(&mut self, into: &mut Vec<Told>) -> Result<(), Cut> {
        // A word between the look and this wait has left its permit.
        while !self.try_recv(into)? {
            self.slot.wake.notified().await;
        }
        Ok(())
    }

    /// Appends the events that are there to `into`, by lease; false where there are none.
    ///
    /// # Errors
    /// [`Cut`]: nothing more comes, and the stream is to be closed.
    pub fn try_recv(&mut self, into: &mut Vec<Told>) -> Result<bool, Cut> {
        let mut waiting = self.slot.lock();
        if let Some(cut) = waiting.cut {
            return Err(cut);
        }
        if !waiting.site_keys && waiting.standing.is_none() && waiting.leases.is_empty() {
            return Ok(false);
        }
        into.extend(waiting.standing.take().map(Told::Standing));
        into.extend(std::mem::take(&mut waiting.leases).into_values());
        if std::mem::take(&mut waiting.site_keys) {
            into.push(Told::SiteKeysChanged);
        }
        Ok(true)
    }
}

impl Drop for EventReceiver {
    fn drop(&mut self) {
        let mut slots = self.hub.lock();
        if slots.get(&self.holder).is_some_and(|slot| Arc::ptr_eq(slot, &self.slot)) {
            slots.remove(&self.holder);
        }
    }
}

/// Everyone who is attached.
#[derive(Debug)]
pub(super) struct Hub {
    slots: Mutex<HashMap<HolderId, Arc<Slot>>>,
    most: usize,
}

impl Hub {
    pub(super) fn new(most: usize) -> Self {
        Self { slots: Mutex::default(), most }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<HolderId, Arc<Slot>>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to keep events for a holder that has just attached, before its stream knows; cuts an older stream.
    pub(super) fn open(&self, holder: HolderId, attaching: u64) {
        let older = self.lock().insert(holder, Arc::new(Slot { attaching, ..Slot::default() }));
        if let Some(older) = older {
            older.cut(Cut::Displaced);
        }
    }

    /// The events kept since [`Hub::open`].
    pub(super) fn subscribe(self: &Arc<Self>, holder: HolderId) -> EventReceiver {
        let slot = self.lock().entry(holder).or_default().clone();
        EventReceiver { slot, holder, hub: self.clone() }
    }

    /// Nobody is attached there any more.
    pub(super) fn close(&self, holder: HolderId, why: Cut) {
        let slot = self.lock().remove(&holder);
        if let Some(slot) = slot {
            slot.cut(why);
        }
    }

    /// Ends all subscriptions.
    pub(super) fn close_all(&self) {
        let slots = std::mem::take(&mut *self.lock());
        for slot in slots.into_values() {
            slot.cut(Cut::Stopped);
        }
    }

    pub(super) fn tell(&self, event: Event) {
        match event.to {
            Some(holder) => {
                let slot = self.lock().get(&holder).cloned();
                if let Some(slot) = slot {
                    slot.tell(event.what, self.most);
                }
            }
            None => {
                let slots: Vec<_> = self.lock().values().cloned().collect();
                for slot in slots {
                    slot.tell(event.what.clone(), self.most);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use leasehold_engine::refusal::EndReason;

    use super::*;

    const HOLDER: HolderId = HolderId(1);

    fn warned(lease: u64) -> Event {
        let what = Told::Warned { lease: LeaseId(lease), reason: EndReason::Idle, ends_in_ms: 5 };
        Event { to: Some(HOLDER), what }
    }

    fn ended(lease: u64) -> Event {
        Event { to: Some(HOLDER), what: Told::Ended { lease: LeaseId(lease), reason: EndReason::Idle, words: None } }
    }

    #[tokio::test]
    async fn the_latest_word_per_lease_is_kept_and_an_end_is_final() {
        let hub = Arc::new(Hub::new(10));
        hub.open(HOLDER, 1);
        hub.tell(warned(1));
        hub.tell(ended(1));
        hub.tell(warned(1));
        hub.tell(warned(2));
        hub.tell(Event { to: None, what: Told::SiteKeysChanged });
        let mut told = Vec::new();
        let mut receiver = hub.subscribe(HOLDER);
        receiver.recv(&mut told).await.unwrap();
        assert_eq!(told, [ended(1).what, warned(2).what, Told::SiteKeysChanged]);
    }

    #[tokio::test]
    async fn a_reader_that_is_too_slow_is_cut() {
        let hub = Arc::new(Hub::new(2));
        hub.open(HOLDER, 2);
        let mut receiver = hub.subscribe(HOLDER);
        for lease in 1..=3 {
            hub.tell(warned(lease));
        }
        assert_eq!(receiver.recv(&mut Vec::new()).await, Err(Cut::TooSlow));
    }

    #[tokio::test]
    async fn a_new_stream_of_the_same_run_displaces_the_old_one() {
        let hub = Arc::new(Hub::new(2));
        hub.open(HOLDER, 3);
        let mut old = hub.subscribe(HOLDER);
        hub.open(HOLDER, 4);
        assert_eq!(old.recv(&mut Vec::new()).await, Err(Cut::Displaced));
        drop(old);
        hub.tell(warned(1));
        let mut told = Vec::new();
        hub.subscribe(HOLDER).recv(&mut told).await.unwrap();
        assert_eq!(told.len(), 1);
    }
}
