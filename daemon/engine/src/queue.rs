//! Requests that wait for seats: by priority class, then arrival, with waiting that makes up for class (03, Queue and
//! shares). The order is one for all pools, so that two waiters can never block each other.

use std::collections::{BTreeMap, BTreeSet};

use leasehold_keys::name::Label;

use crate::{
    command::{Acquire, Ask, EntityName, Place as At},
    ids::{HolderId, PoolId, RequestId, Ticket},
    state::State,
    time::LeaseTime,
};

/// What has been first in a pool's queue for so long has freed units set aside for it.
pub(crate) const HEAD_AGE_MS: u64 = 10_000;
/// A place is kept for a caller that went away without a word.
pub(crate) const PLACE_KEPT_MS: u64 = 60_000;
/// So much waiting makes up for one priority class.
pub(crate) const CLASS_MS: u64 = 30_000;

/// A place in the queue: the moment of arrival, later by 30 s for each class, then the order of arrival. It never changes,
/// and still every waiter comes first in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    from_ms: u64,
    number: u64,
}

impl Place {
    /// True where the request at this place came before the other one, whatever their classes.
    pub(crate) const fn came_before(self, other: Place) -> bool {
        self.number < other.number
    }

    /// A place after all others, to judge a request before it has one.
    pub(crate) const LAST: Place = Place { from_ms: u64::MAX, number: u64::MAX };
}

/// A request that waits.
#[derive(Debug)]
pub(crate) struct Waiter {
    pub acquire: Acquire,
    /// By which its request is found.
    pub identity: u32,
    pub holder: HolderId,
    /// Everyone who waits for this answer: the same request may have come twice (LEASE-3).
    pub tickets: Vec<Ticket>,
    /// What it lacked when it was last looked at.
    pub pools: Vec<(PoolId, u32)>,
    pub deadline: LeaseTime,
    /// Since when nobody waits for it.
    pub abandoned: Option<LeaseTime>,
    /// The computer at which a newer logon of the same user was granted while nobody waited here (ALLOC-8).
    pub overtaken: Option<Label>,
}

/// How far the waiters of a pool have been gone through.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Walk {
    pub after: Option<Place>,
    /// Something changed meanwhile: it begins anew at its end.
    pub again: bool,
    /// The least that was free since it began, or since more came free.
    pub least: u64,
    /// More came free than it had to give: how far those whom it has passed have been looked at again. They come first, but only
    /// so many in a turn, so that the walk itself goes on though more comes free all the time. Beyond those a unit may go to one
    /// who comes after another whom it, with what was free before, would have fitted; the first of all is guarded by what is set
    /// aside for it.
    pub behind: Option<Option<Place>>,
}

/// All waiting requests.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    pub waiters: BTreeMap<Place, Waiter>,
    by_ticket: BTreeMap<Ticket, Place>,
    by_request: BTreeMap<(u32, RequestId), Place>,
    /// Waiters by the user and the station that they are about.
    by_subject: BTreeMap<EntityName, BTreeSet<Place>>,
    /// When each wait ends: at its deadline, or when its place is not kept any longer.
    ends: BTreeSet<(LeaseTime, Place)>,
    last_number: u64,
}

impl Waiter {
    fn ends(&self) -> LeaseTime {
        self.abandoned.map_or(self.deadline, |since| since.plus_ms(PLACE_KEPT_MS))
    }
}

impl Queue {
    pub(crate) fn by_request(&self, identity: u32, request: RequestId) -> Option<Place> {
        self.by_request.get(&(identity, request)).copied()
    }

    /// True where nobody waits at a place that is kept.
    pub(crate) fn is_away(&self, place: Place) -> bool {
        self.waiters.get(&place).is_none_or(|waiter| waiter.abandoned.is_some())
    }

    /// The same, of a waiter that someone waits for; 0 of others.
    pub(crate) fn wants(&self, place: Place, pool: PoolId) -> u64 {
        if self.is_away(place) { 0 } else { self.units_wanted(place, pool) }
    }

    /// Units of a pool that a waiter wants.
    pub(crate) fn units_wanted(&self, place: Place, pool: PoolId) -> u64 {
        let wanted =
            |waiter: &Waiter| waiter.pools.iter().find(|(id, _)| *id == pool).map(|(_, units)| u64::from(*units));
        self.waiters.get(&place).and_then(wanted).unwrap_or(0)
    }

    /// A new waiter takes its place.
    pub(crate) fn join(&mut self, identity: u32, waiter: Waiter, now: LeaseTime) -> Place {
        self.last_number += 1;
        let from_ms = now.as_ms() + u64::from(waiter.acquire.priority) * CLASS_MS;
        let place = Place { from_ms, number: self.last_number };
        for ticket in &waiter.tickets {
            self.by_ticket.insert(*ticket, place);
        }
        self.by_request.insert((identity, waiter.acquire.request), place);
        for subject in subjects(&waiter.acquire.ask) {
            self.by_subject.entry(subject).or_default().insert(place);
        }
        self.ends.insert((waiter.ends(), place));
        self.waiters.insert(place, waiter);
        place
    }

    /// Another caller waits for the same answer, perhaps for longer.
    pub(crate) fn add_ticket(&mut self, place: Place, ticket: Ticket, deadline: LeaseTime) {
        if let Some(waiter) = self.waiters.get_mut(&place) {
            self.ends.remove(&(waiter.ends(), place));
            waiter.tickets.push(ticket);
            (waiter.abandoned, waiter.overtaken) = (None, None);
            waiter.deadline = waiter.deadline.max(deadline);
            self.ends.insert((waiter.ends(), place));
            self.by_ticket.insert(ticket, place);
        }
    }

    /// A caller is gone; the place of the last one is kept for a while.
    pub(crate) fn drop_ticket(&mut self, ticket: Ticket, now: LeaseTime) -> Option<Place> {
        let place = self.by_ticket.remove(&ticket)?;
        let waiter = self.waiters.get_mut(&place)?;
        waiter.tickets.retain(|other| *other != ticket);
        if waiter.tickets.is_empty() {
            self.ends.remove(&(waiter.ends(), place));
            waiter.abandoned = Some(now);
            self.ends.insert((waiter.ends(), place));
        }
        Some(place)
    }

    /// Takes a waiter out.
    pub(crate) fn leave(&mut self, identity: u32, place: Place) -> Option<Waiter> {
        let waiter = self.waiters.remove(&place)?;
        self.ends.remove(&(waiter.ends(), place));
        for ticket in &waiter.tickets {
            self.by_ticket.remove(ticket);
        }
        self.by_request.remove(&(identity, waiter.acquire.request));
        for subject in subjects(&waiter.acquire.ask) {
            if let Some(places) = self.by_subject.get_mut(&subject) {
                places.remove(&place);
                if places.is_empty() {
                    self.by_subject.remove(&subject);
                }
            }
        }
        Some(waiter)
    }

    /// Waiters that a change of this user or station may concern, in order.
    pub(crate) fn about(&self, subject: &EntityName) -> impl Iterator<Item = Place> {
        self.by_subject.get(subject).into_iter().flatten().copied()
    }
}

impl State {
    /// Lists a waiter in the pools that it lacks, and no longer in those it had lacked before.
    pub(crate) fn list_waiter(
        &mut self,
        queue: &Queue,
        place: Place,
        before: &[(PoolId, u32)],
        after: &[(PoolId, u32)],
        now: LeaseTime,
    ) {
        for (id, _) in before {
            let pool = self.pool(*id);
            pool.waiters.remove(&place);
            pool.away.remove(&place);
        }
        for (id, _) in after {
            let pool = self.pool(*id);
            pool.waiters.insert(place);
            if queue.is_away(place) {
                pool.away.insert(place);
            }
        }
        for (id, _) in before.iter().chain(after) {
            self.find_head(queue, *id, now);
        }
    }

    /// The last caller of a waiter went, or one came back.
    pub(crate) fn note_caller(&mut self, queue: &Queue, place: Place, now: LeaseTime) {
        let pools = queue.waiters.get(&place).map(|waiter| waiter.pools.clone()).unwrap_or_default();
        for (id, _) in pools {
            let pool = self.pool(id);
            if queue.is_away(place) {
                pool.away.insert(place);
            } else {
                pool.away.remove(&place);
            }
            self.find_head(queue, id, now);
            // What was set aside for it is for others; or it was passed over while nobody waited for it.
            self.freed.insert(id);
        }
    }

    /// The first waiter of a pool that someone still waits for.
    pub(crate) fn find_head(&mut self, queue: &Queue, id: PoolId, now: LeaseTime) {
        let Some(pool) = self.pools.get_mut(&id) else {
            return;
        };
        // One that waits for room in its own share alone stands in nobody's way.
        let first = pool.waiters.iter().find(|place| queue.wants(**place, id) > 0).copied();
        pool.head = match (first, pool.head) {
            (Some(first), Some((head, since))) if first == head => Some((head, since)),
            (Some(first), _) => Some((first, now)),
            (None, _) => None,
        };
    }
}

impl Queue {
    /// The soonest moment at which a wait ends.
    pub(crate) fn next_deadline(&self) -> Option<LeaseTime> {
        self.ends.first().map(|(at, _)| *at)
    }

    /// Waits that are over: their deadline has come, or nobody came back for their place.
    pub(crate) fn due(&self, now: LeaseTime, most: usize) -> Vec<Place> {
        self.ends.iter().take_while(|(at, _)| *at <= now).take(most).map(|(_, place)| *place).collect()
    }

    /// The index of ends as the waiters say it should be, for a second opinion.
    pub(crate) fn ends_are_true(&self) -> bool {
        self.ends == self.waiters.iter().map(|(place, waiter)| (waiter.ends(), *place)).collect()
    }
}

/// The user and the station that a request is about.
fn subjects(ask: &Ask) -> Vec<EntityName> {
    match ask {
        Ask::Logon { user, place: At::Station(station), .. } => {
            vec![EntityName::User(user.clone()), EntityName::Station(station.clone())]
        }
        Ask::Logon { user, .. } => vec![EntityName::User(user.clone())],
        Ask::Station { station, .. } => vec![EntityName::Station(station.clone())],
        Ask::Units { .. } => Vec::new(),
    }
}
