//! Steps that ask for leases.

use super::*;

impl Stage {
    /// `logon NAME USER [at STATION] [number N] [on PC] [needing K,K]`, `use NAME STATION`, `take NAME N KEY`.
    pub(super) fn acquire_of(&mut self, text: &str) -> (String, Acquire) {
        let mut words = Words::of(text);
        let from = self.origin(&mut words);
        let verb = words.next();
        let name = words.next().to_string();
        let needed = words.after("needing").map_or(Vec::new(), list);
        let ask = match verb {
            "logon" => {
                let user = label(words.next());
                let computer = words.after("on").map(label);
                let place = match (words.after("at"), words.after("number")) {
                    (Some(station), None) => Place::Station(label(station)),
                    (None, Some(number)) => Place::DynamicRemote(label(number)),
                    _ => Place::None,
                };
                Ask::Logon { user, place, computer, needed, application: words.named("app").map(label) }
            }
            "use" => Ask::Station { station: label(words.next()), needed },
            _ => {
                let units = words.next().parse().unwrap();
                Ask::Units { key: label(words.next()), units }
            }
        };
        let mut acquire = self.site.acquire_command(from, ask);
        if let Some(ttl) = words.named("ttl") {
            acquire.ttl_ms = ms(ttl);
        }
        if let Some(wait) = words.named("wait") {
            acquire.wait_ms = ms(wait);
        }
        if let Some(priority) = words.named("priority") {
            acquire.priority = priority.parse().unwrap();
        }
        words.end();
        (name, acquire)
    }

    pub(super) fn acquire(&mut self, text: &str) -> String {
        let (name, acquire) = self.acquire_of(text);
        self.asked.insert(name.clone(), Asked { acquire: acquire.clone(), lease: None });
        self.tickets.insert(acquire.ticket, name.clone());
        self.ask(&name, acquire)
    }

    pub(super) fn ask(&mut self, name: &str, acquire: Acquire) -> String {
        let ticket = acquire.ticket;
        let reply = self.site.run(Command::Acquire(Box::new(acquire)));
        match self.site.answers.remove(&ticket) {
            Some(Ok(view)) => {
                self.asked.get_mut(name).expect("asked").lease = Some(view.id);
                told::lease(&view)
            }
            Some(Err(refusal)) => self.no(refusal),
            None => self.replied(reply),
        }
    }
}
