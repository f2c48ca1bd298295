//! The network: letters lie about until they are carried, in any order, once, twice or never.

use leasehold_engine::{
    command::{Acquire, Ask, Attach, Command, Origin, Place, Release},
    ids::{HolderId, RequestId, RunId, Ticket},
};
use leasehold_keys::name::Label;

use super::World;
use crate::simulation::{
    apps::{Letter, Up, lease_ids},
    asked::{At, What, request_id},
    chance::Chance,
    oracle::{Sent, SentWhat},
    tally::Kind,
    vendor::Vendor,
};

pub(super) fn user_label(number: usize) -> Label {
    format!("user-{number}").parse().expect("a label")
}

pub(super) fn station_label(number: usize) -> Label {
    format!("station-{number}").parse().expect("a label")
}

impl World {
    /// Which letter is carried next; what is lost is lost.
    fn choose<T: Clone>(
        letters: &mut Vec<Letter<T>>,
        chance: &mut Chance,
        boot_ms: u64,
        told: &mut Vec<Kind>,
    ) -> Option<Letter<T>> {
        if letters.is_empty() {
            return None;
        }
        // Mostly in order.
        let at = if chance.percent(70) { 0 } else { chance.index(letters.len()) };
        if at > 0 {
            told.push(Kind::Reordered);
        }
        if boot_ms - letters[at].sent_ms > 10_000 {
            told.push(Kind::Delayed);
        }
        let roll = chance.below(100);
        if roll < 4 {
            told.push(Kind::Duplicated);
            return Some(letters[at].clone());
        }
        let letter = letters.remove(at);
        if roll < 8 {
            told.push(Kind::Dropped);
            return None;
        }
        Some(letter)
    }

    pub(super) fn carry_up(&mut self, chance: &mut Chance) -> bool {
        let mut told = Vec::new();
        let letter = Self::choose(&mut self.up, chance, self.boot_ms, &mut told);
        self.note(&told);
        let Some(letter) = letter else { return !told.is_empty() };
        self.tell(|| format!("carried up: {letter:?}"));
        self.arrives(letter);
        true
    }

    pub(super) fn carry_down(&mut self, chance: &mut Chance) -> bool {
        let mut told = Vec::new();
        let letter = Self::choose(&mut self.down, chance, self.boot_ms, &mut told);
        self.note(&told);
        let Some(letter) = letter else { return !told.is_empty() };
        let app = &mut self.apps[letter.app];
        // What a process before it asked, or what came by another connection, it does not hear.
        if letter.run == app.run && (letter.conn == app.conn || letter.conn == 0) {
            app.hears(letter.what);
        }
        true
    }

    fn note(&mut self, told: &[Kind]) {
        for kind in told {
            self.happened(*kind);
        }
    }

    fn arrives(&mut self, letter: Letter<Up>) {
        let app = &self.apps[letter.app];
        let Some(life) = &self.life else { return };
        let (identity, caller) = (app.identity, app.caller.clone());
        let unary = letter.conn == 0;
        let door = life.doors[letter.app].as_ref().filter(|door| door.conn == letter.conn);
        let holder = door.map(|door| door.holder);
        let at = self.lease_now();
        let sent = |holder, what| Sent { app: Some(letter.app), identity, holder, at, order: 0, waited: false, what };
        let origin = match (unary, holder) {
            (true, _) => Origin::Unary(caller.clone()),
            (false, Some(holder)) => Origin::Stream(HolderId(holder)),
            (false, None) => {
                if let Up::Attach { run } = letter.what {
                    let what = SentWhat::Attach { conn: letter.conn, run, instance: app.instance };
                    self.oracle.gone(|other| other == letter.app);
                    let attach = Attach { caller, run: RunId(run.to_be_bytes()) };
                    self.give(sent(None, what), Command::Attach(attach));
                }
                // Anything else on a stream that has not said who it is leads to nothing.
                return;
            }
        };
        let (what, command) = match letter.what {
            Up::Attach { run } => {
                let what = SentWhat::Attach { conn: letter.conn, run, instance: app.instance };
                self.oracle.gone(|other| other == letter.app);
                (what, Command::Attach(Attach { caller, run: RunId(run.to_be_bytes()) }))
            }
            Up::Beat => match holder {
                Some(holder) => (SentWhat::Beat, Command::Beat(HolderId(holder))),
                None => return,
            },
            Up::Acquire { ask, lie } => {
                let acquire = self.acquire(origin, ask, lie);
                let asked = &self.oracle.asked[ask];
                if let Some(story) = &mut self.story {
                    story.push(format!("request {ask}: {asked:?}"));
                }
                (SentWhat::Acquire { ask, lie }, Command::Acquire(Box::new(acquire)))
            }
            Up::Release { leases, by, request, .. } => {
                let release = Release {
                    from: origin,
                    // Far from the IDs of acquires.
                    request: request.map(|number| {
                        let number = u128::from(number) | (letter.app as u128 + 1) << 64 | letter.run << 96;
                        RequestId(number.to_be_bytes())
                    }),
                    leases: lease_ids(&leases),
                    acquired_by: by.iter().map(|ask| request_id(*ask)).collect(),
                };
                (SentWhat::Release { leases, by }, Command::Release(release))
            }
            Up::Renew { leases } => {
                let renew = Command::Renew { from: origin, leases: lease_ids(&leases) };
                (SentWhat::Renew { leases }, renew)
            }
            Up::Idle { leases, idle } => {
                let command = Command::SetIdle { from: origin, leases: lease_ids(&leases), idle };
                (SentWhat::Idle, command)
            }
            Up::TakeOver { leases } => match holder {
                Some(holder) => {
                    let command = Command::TakeOver { holder: HolderId(holder), leases: lease_ids(&leases) };
                    (SentWhat::TakeOver, command)
                }
                None => return,
            },
            Up::Received { asks } => match holder {
                Some(holder) => {
                    let requests = asks.iter().map(|ask| request_id(*ask)).collect();
                    (SentWhat::Received { asks }, Command::AnswersReceived { holder: HolderId(holder), requests })
                }
                None => return,
            },
            Up::Cancel { ask } => {
                (SentWhat::Cancel { ask }, Command::CancelWait { from: origin, request: request_id(ask) })
            }
        };
        self.give(sent(holder, what), command);
    }

    fn acquire(&self, from: Origin, ask: usize, lie: bool) -> Acquire {
        let asked = &self.oracle.asked[ask];
        let labels = &Vendor::get().key_labels;
        let needed: Vec<Label> = asked.needed.iter().map(|key| labels[*key].clone()).collect();
        let what = match &asked.what {
            What::Logon { user, at, computer } => Ask::Logon {
                user: user_label(*user),
                place: match at {
                    At::Nowhere => Place::None,
                    At::Station(number) => Place::Station(station_label(*number)),
                    At::Number => Place::DynamicRemote("+49 7071 1234".parse().expect("a label")),
                },
                computer: computer.map(|number| format!("computer-{number}").parse().expect("a label")),
                needed,
                application: None,
            },
            What::Station(number) => Ask::Station { station: station_label(*number), needed },
            What::Units { key, units } => Ask::Units { key: labels[*key].clone(), units: *units },
        };
        Acquire {
            from,
            request: request_id(ask),
            ask: what,
            ttl_ms: asked.ttl_ms + if lie { 1_000 } else { 0 },
            wait_ms: asked.wait_ms,
            priority: asked.priority,
            ticket: Ticket(0),
        }
    }
}
