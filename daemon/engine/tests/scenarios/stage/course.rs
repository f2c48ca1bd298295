//! Steps in which time passes, many come at once, or pools are set.

use super::*;

impl Stage {
    pub(super) fn course(&mut self, step: &str) -> String {
        let mut words = Words::of(step);
        let result = match words.next() {
            // 004, License allocation scenario.
            "fifty" => {
                let (method, key) = (method(words.next()), words.next());
                self.fifty_seats(method, key)
            }
            // Time.
            "wait" => {
                self.wait(ms(words.next()), true);
                String::new()
            }
            "silence" => {
                self.wait(ms(words.next()), false);
                String::new()
            }
            "sleep" => {
                self.site.sleep(ms(words.next()));
                String::new()
            }
            "wall" => {
                self.site.wall_ms += signed_ms(words.next());
                self.run(Command::Tick)
            }
            // At a start the wall clock is far ahead of what was known: trusted time goes by it, unconfirmed …
            "jump" => {
                let ms = signed_ms(words.next());
                self.site.wall_ms += ms;
                self.site.unconfirmed_ms += u64::try_from(ms).unwrap();
                self.site.restart();
                for server in self.servers.values_mut() {
                    server.attached = false;
                }
                self.run(Command::Tick)
            }
            // … until it has run for long enough …
            "confirm" => {
                self.site.unconfirmed_ms = 0;
                self.run(Command::Tick)
            }
            // … or the wall clock falls back.
            "withdraw" => {
                self.site.wall_ms -= i64::try_from(std::mem::take(&mut self.site.unconfirmed_ms)).unwrap();
                self.run(Command::Tick)
            }
            "tick" => self.run(Command::Tick),
            // An application server that crashes and starts again and again, each time as a new run; apart: as another instance.
            "crash-loop" => {
                let mut info = support::caller(words.next());
                let runs: u128 = words.next().parse().unwrap();
                let apart = words.has("apart");
                for run in 1..=runs {
                    if apart {
                        info.instance = run.to_string();
                    }
                    let attach = Attach { caller: info.clone(), run: RunId(run.to_be_bytes()) };
                    match self.site.run(Command::Attach(attach)) {
                        Ok(Reply::Attached { holder, .. }) => self.site.run(Command::Detach(holder)).unwrap(),
                        other => panic!("{other:?}"),
                    };
                    self.site.pass(1_000);
                }
                "over".into()
            }
            // So many requests for units, one by one, that wait.
            "crowd" => {
                let (count, units, key): (u32, u32, _) =
                    (words.next().parse().unwrap(), words.next().parse().unwrap(), label(words.next()));
                let from = self.origin(&mut words);
                let mut waiting = 0;
                for _ in 0..count {
                    let ask = Ask::Units { key: key.clone(), units };
                    let mut acquire = self.site.acquire_command(from.clone(), ask);
                    acquire.wait_ms = 600_000;
                    waiting += u32::from(self.site.acquire(acquire).is_none());
                }
                format!("{waiting} wait")
            }
            // So many callers, each of its own identity, ask for a unit in vain, and give back what they never had.
            "strangers" => {
                let (count, key): (u32, _) = (words.next().parse().unwrap(), label(words.next()));
                let mut refused = 0;
                for number in 0..count {
                    let from = Origin::Unary(support::caller(&format!("stranger-{number}")));
                    let acquire = self.site.acquire_command(from.clone(), Ask::Units { key: key.clone(), units: 1 });
                    let request = Some(self.site.request());
                    refused += u32::from(matches!(self.site.acquire(acquire), Some(Err(_))));
                    let leases = vec![LeaseId(1)];
                    self.site.run(Command::Release(Release { from, request, leases, acquired_by: vec![] })).unwrap();
                }
                self.site.answers.clear();
                format!("{refused} refused")
            }
            "restart" => {
                // Lease time goes on from the stored mark; the wall clock ran on.
                self.site.wall_ms += words.named("down").map_or(0, signed_ms);
                self.site.restart();
                for server in self.servers.values_mut() {
                    server.attached = false;
                }
                "up".into()
            }
            "undo" => {
                let made = self.site.changes.split_off(self.undo_from);
                self.site.engine.undo(made);
                "undone".into()
            }
            // Pools.
            "share" => {
                let pool: PoolName = words.next().parse().unwrap();
                let holder = match words.next() {
                    "org" => ShareName::Organization(label(words.next())),
                    "app" => ShareName::Application(label(words.next())),
                    other => panic!("`{other}` holds no share"),
                };
                let share = match (words.named("reserve"), words.named("limit")) {
                    (None, None) => None,
                    (reserve, limit) => {
                        Some((reserve.map_or(0, |n| n.parse().unwrap()), limit.map(|n| n.parse().unwrap())))
                    }
                };
                self.act(Act::SetShare { pool, holder, share })
            }
            "idle-rule" => {
                let pool: PoolName = words.next().parse().unwrap();
                let idle_ms = ms(words.next());
                let idle_always = words.has("always");
                self.act(Act::SetPoolRule { pool, idle_ms, idle_always })
            }
            "revoke" => {
                let what = match words.next() {
                    "user" => Revoked::User(label(words.next())),
                    "station" => Revoked::Station(label(words.next())),
                    name => Revoked::Leases(vec![self.lease_of(name)]),
                };
                let reason = label(&Vec::from(std::mem::take(&mut words.plain)).join(" "));
                self.act(Act::Revoke { what, reason })
            }
            "unload" => {
                let license = files::license(words.next().parse().unwrap());
                self.act(Act::Unload { license, reason: "test".into() })
            }
            "stand-by" => self.act(Act::StandBy { reason: label("failback") }),
            "promote" => self.act(Act::Promote { reason: "test".into() }),
            _ => return self.ask_about(step),
        };
        words.end();
        result
    }

    /// 200 users are given the key, and all who hold it log on; tells how far that went.
    fn fifty_seats(&mut self, method: Method, key: &str) -> String {
        let (mut given, mut on) = (0, 0);
        for number in 1..=200 {
            let name = format!("agent-{number:03}");
            self.site.add_user(&name, method);
            given += u32::from(self.site.assign(true, support::user(&name), &[key]).is_ok());
            let from = self.origin(&mut Words::of(""));
            let acquire = self.site.acquire_command(from, support::logon(&name, &[key]));
            on += u32::from(matches!(self.site.acquire(acquire), Some(Ok(_))));
            if number % 50 == 1 {
                self.site.check();
            }
        }
        self.site.answers.clear();
        format!("{given} of 200 are given it, {on} are logged on")
    }

    /// Time passes, with a beat of every attached server each 20 s, or in silence.
    fn wait(&mut self, ms: u64, beating: bool) {
        let mut left = ms;
        while left > 0 {
            let piece = if beating { left.min(20_000) } else { left };
            self.site.pass(piece);
            left -= piece;
            if beating {
                let streams: Vec<HolderId> =
                    self.servers.values().filter(|server| server.attached).filter_map(|server| server.stream).collect();
                for id in streams {
                    self.site.run(Command::Beat(id)).unwrap();
                }
            }
        }
    }
}
