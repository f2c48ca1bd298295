//! Answers to questions: what is, and what would be. Nothing changes, and lists come in the order of names or numbers.

mod lists;
mod pools;
mod rights;

use leasehold_keys::name::{KeyName, Label, Method, PoolName};

use crate::{
    command::{Acquire, Origin},
    decision::{HeldKeyView, LeaseView, SourceView},
    engine::{Engine, Turn},
    files::{title, warning_days},
    grants::{FileState, ends},
    ids::{HolderId, KeyId, LeaseId, PoolId, Subject},
    plan::Planner,
    queue::Place,
    refusal::{EndReason, Refusal},
    row::{LeaseRow, LeaseSubject, Source},
    time::{LeaseTime, Now},
    view::{Explanation, LicenseView, SiteState, StatusView, Step},
};

impl Turn<'_> {
    /// A lease as its holder sees it.
    pub(crate) fn view(&self, id: LeaseId) -> Result<LeaseView, Refusal> {
        let state = &self.engine.state;
        let row = state.leases.get(&id).map(|lease| &lease.row).or_else(|| state.ended.get(&id));
        row.map(|row| self.engine.lease_view(row, self.now)).ok_or(Refusal::LeaseUnknown(id))
    }
}

impl Engine {
    /// When a lease ends whatever is renewed: at its own end, or when a pool that a needed key of it comes from closes
    /// (LEVEL-5).
    fn ends_by_itself(&self, row: &LeaseRow) -> Option<(LeaseTime, EndReason)> {
        let by_stage = self.state.ends_with_stage(row).map(|at| (at, EndReason::Enforced));
        if self.state.watched_pools.is_empty() || row.ended.is_some() {
            return row.ends.into_iter().chain(by_stage).min();
        }
        let needed = |key: KeyId| row.terms.needed.is_empty() || row.terms.needed.contains(&key);
        let by_assignment = row.terms.keys.iter().filter(|held| matches!(held.source, Source::User | Source::Station));
        let closing = by_assignment
            .map(|held| PoolId { key: held.key, method: Method::Assignable })
            .chain(row.terms.seats.iter().map(|seat| seat.pool))
            .filter(|pool| needed(pool.key))
            .filter_map(|pool| self.state.pools.get(&pool)?.state?.closes)
            .map(|at| (at, EndReason::LicenseEnded));
        closing.chain(row.ends).chain(by_stage).min()
    }

    pub(crate) fn lease_view(&self, row: &LeaseRow, now: Now) -> LeaseView {
        let state = &self.state;
        let (user, station, remote_number, computer) = match &row.subject {
            LeaseSubject::Logon { user, station, remote_number, computer } => {
                (Some(*user), *station, remote_number.clone(), computer.clone())
            }
            LeaseSubject::Station(station) => (None, Some(*station), None, None),
            LeaseSubject::Units => (None, None, None, None),
        };
        let given_to = |source: Source| match source {
            Source::User => user.map(Subject::User),
            Source::Station => station.map(Subject::Station),
            Source::Included(_) | Source::Logon | Source::Units => None,
        };
        let mut keys: Vec<HeldKeyView> = row
            .terms
            .keys
            .iter()
            .map(|held| HeldKeyView {
                key: state.key_name(held.key),
                assigned: given_to(held.source)
                    .and_then(|subject| state.assignments_of(subject)?.get(&held.key))
                    .and_then(|id| state.assignments.get(id))
                    .filter(|row| row.method == Method::Assignable)
                    .map(|row| state.pool_name(row.pool())),
                source: match held.source {
                    Source::User => SourceView::User,
                    Source::Station => SourceView::Station,
                    Source::Included(outer) => SourceView::Included(state.key_name(outer)),
                    Source::Logon => SourceView::Logon,
                    Source::Units => SourceView::Units,
                },
                seat: row
                    .terms
                    .seats
                    .iter()
                    .find(|seat| seat.pool.key == held.key && held.source != Source::Station)
                    .map(|seat| (state.pool_name(seat.pool), seat.units)),
            })
            .collect();
        keys.sort_by(|a, b| a.key.cmp(&b.key));
        let mut missing: Vec<(KeyName, Refusal)> =
            row.terms.missing.iter().map(|(key, refusal)| (state.key_name(*key), refusal.clone())).collect();
        missing.sort_by(|a, b| a.0.cmp(&b.0));
        let renewed = state.leases.get(&row.id).map_or(row.granted, |lease| {
            let by_beat =
                state.holders.get(&row.holder).filter(|holder| holder.row.run.is_some()).map(|holder| holder.contact);
            by_beat.map_or(lease.renewed, |contact| contact.max(lease.renewed))
        });
        LeaseView {
            id: row.id,
            holder: row.holder,
            ended: row.ended.map(|(_, how)| how),
            user: user.and_then(|id| state.users.get(&id)).map(|user| user.row.name.clone()),
            station: station.and_then(|id| state.stations.get(&id)).map(|station| station.row.name.clone()),
            remote_number,
            computer,
            application: row.application.clone(),
            keys,
            missing,
            warnings: row.terms.warnings.clone(),
            types: row.terms.types.clone(),
            ttl_ms: row.ttl_ms,
            ends_in_ms: self.ends_by_itself(row).map(|(at, why)| (at.ms_since(now.lease), why)),
            granted: row.granted_wall,
            idle: row.idle_since.is_some(),
            renewed_ms_ago: now.lease.ms_since(renewed),
        }
    }

    /// Those of these leases that are live and belong to this run, as their holder sees them.
    pub fn leases_of_run(&self, now: Now, holder: HolderId, leases: &[LeaseId]) -> Vec<LeaseView> {
        leases
            .iter()
            .filter_map(|id| self.state.leases.get(id))
            .filter(|lease| lease.row.holder == holder)
            .map(|lease| self.lease_view(&lease.row, now))
            .collect()
    }

    /// The site at a glance.
    pub fn status(&self, now: Now) -> StatusView {
        let state = &self.state;
        let site_state = if state.is_standby(now) {
            SiteState::Standby
        } else if state.files_in_effect(now).next().is_some() {
            SiteState::Licensed
        } else {
            SiteState::Unlicensed
        };
        StatusView {
            state: site_state,
            stage: state.enforcement.stage,
            development: state.development,
            leases: state.leases.len() as u64,
            users: state.users.len() as u64,
            stations: state.stations.len() as u64,
            waiting: self.queue.waiters.values().filter(|waiter| waiter.abandoned.is_none()).count() as u64,
            attached: state.holders.values().filter(|holder| holder.attached).count() as u64,
            denials_today: self.denials.today,
            notices: self.notices(site_state, now),
        }
    }

    /// The highest lease ID that was ever given, which is the highest fencing number (LEASE-4); 0 where none was.
    pub fn last_lease(&self) -> LeaseId {
        LeaseId(self.state.site.last_lease)
    }

    fn notices(&self, site: SiteState, now: Now) -> Vec<(&'static str, String)> {
        let mut notices = Vec::new();
        match site {
            SiteState::Unlicensed => notices.push((
                "UNLICENSED",
                "No activation file is in effect: two call ports can be used and nothing else. Drop a file into the watched folder."
                    .to_string(),
            )),
            SiteState::Standby => notices.push((
                "STANDBY",
                "This is the switchover server and stands by. `leasehold promote` makes it the active one.".to_string(),
            )),
            SiteState::Licensed => {}
        }
        if let Some(told) = self.standing_told(self.state.enforcement.stage, now).filter(|told| told.why.is_some()) {
            notices.push((told.reason(), told.message()));
        }
        if let Some(evidence) = self.recent_evidence(now) {
            notices.push((crate::words::STATE_RESTORED, evidence.message()));
        }
        for row in self.state.files.values() {
            let about = title(row);
            match self.state.file_state(row, now) {
                FileState::InEffect => {
                    if row.absent_since.is_some() {
                        notices.push(("FILE_ABSENT", format!(
                            "{about} is gone from the watched folder; its grants leave 72 h after it was missed. Put it back, or \
                             `leasehold unload` it."
                        )));
                    }
                    if self.state.host_lost(row) {
                        notices.push(("HOST_LOST", format!(
                            "This host no longer matches {about}; it runs on for 72 h. Send the licensor a new request made with \
                             `leasehold request`."
                        )));
                    }
                    if let Some(days) = warning_days(row, self.state.dated(now)) {
                        let when = crate::words::in_days(days);
                        notices.push(("FILE_ENDS_SOON", format!("{about} ends {when}. Ask the licensor for its successor.")));
                    }
                    if row.terms.re_register.is_some_and(|date| date <= now.wall) {
                        notices.push(("RE_REGISTER", format!("{about} asks to be registered again with the licensor. Nothing is limited.")));
                    }
                }
                FileState::Ended => notices.push(("FILE_ENDED", format!("{about} has ended. Drop its successor into the watched folder."))),
                FileState::Missing => notices.push(("FILE_MISSING", format!(
                    "{about} has been gone from the watched folder for 72 h and its grants are gone. Put it back."
                ))),
                FileState::HostLost => notices.push(("HOST_LOST", format!(
                    "This host has not matched {about} for 72 h and its grants are gone. Send the licensor a new request made with \
                     `leasehold request`."
                ))),
                FileState::Revoked => notices.push(("REVOKED", format!("The key that signed {about} is revoked. Ask the licensor for a new file."))),
                FileState::BaseMissing => notices.push(("BASE_MISSING", format!("{about} is an add-on, and no base file that takes add-ons is in effect."))),
                FileState::NotYet => notices.push(("NOT_YET", format!("{about} begins on {}.", row.terms.not_before))),
                FileState::Unloaded | FileState::Deactivated => {}
            }
        }
        for exceeded in self.compliance().1 {
            notices.push((
                "LICENSE_EXCEEDED",
                format!(
                    "{} ({}): {} {} in use and {} {} licensed.",
                    exceeded.title,
                    exceeded.pool,
                    exceeded.used,
                    crate::words::are(exceeded.used),
                    exceeded.licensed,
                    crate::words::are(exceeded.licensed)
                ),
            ));
        }
        if self.state.development {
            notices.push((
                "NOT_FOR_PRODUCTION",
                "A development license is in effect: it is not for production, and every lease ends after one hour."
                    .to_string(),
            ));
        }
        notices
    }

    /// All accepted files, by license ID.
    pub fn licenses(&self, now: Now) -> Vec<LicenseView> {
        let view = |row: &crate::row::FileRow| {
            let state = self.state.file_state(row, now);
            let message = match state {
                FileState::InEffect if row.absent_since.is_some() => "gone from the watched folder; runs on for 72 h",
                FileState::InEffect if self.state.host_lost(row) => "this host no longer matches; runs on for 72 h",
                FileState::InEffect => "",
                FileState::NotYet => "its time has not come",
                FileState::Ended => "its time is over",
                FileState::Missing => "gone from the watched folder for more than 72 h",
                FileState::Unloaded => "unloaded by an administrator; the next sequence can be loaded",
                FileState::Deactivated => "closed; its receipt is in the state directory",
                FileState::HostLost => "this host has not matched for more than 72 h",
                FileState::Revoked => "the key that signed it is revoked",
                FileState::BaseMissing => "no base file that takes add-ons is in effect",
            };
            LicenseView {
                license: row.terms.license_id,
                terms: std::sync::Arc::clone(&row.terms),
                file_name: row.name.clone(),
                state: state.as_str(),
                message: message.to_string(),
                host_role: row.host_role,
                ends: ends(row),
                parts: row.terms.parts.clone(),
                grants: row.terms.grants.clone(),
            }
        };
        self.state.files.values().map(view).collect()
    }

    /// The decision that an acquire would get now, step by step (ADMIN-13).
    pub fn explain(&self, now: Now, acquire: &Acquire) -> Explanation {
        let (application, version) = match &acquire.from {
            Origin::Unary(caller) => (caller.application.clone(), caller.version),
            Origin::Stream(id) => match self.state.holders.get(id) {
                Some(holder) => (holder.row.application.clone(), holder.row.version),
                None => (numbered("holder", id.0), None),
            },
        };
        let place = (acquire.wait_ms > 0).then_some(Place::LAST);
        let mut planner = Planner {
            state: &self.state,
            queue: &self.queue,
            now,
            place,
            own: None,
            roomy: false,
            steps: Some(Vec::new()),
        };
        if self.state.is_standby(now) {
            return Explanation {
                steps: vec![Step { rule: "02", passed: false, message: Refusal::NotActive.message() }],
                decision: Err(Refusal::NotActive),
            };
        }
        let want = match planner.resolve(&acquire.ask, &application, version) {
            Ok(want) => want,
            Err(refusal) => {
                let steps = vec![Step { rule: "ALLOC-14", passed: false, message: refusal.message() }];
                return Explanation { steps, decision: Err(refusal) };
            }
        };
        let planned = planner.plan(&want);
        let mut steps = planner.steps.take().unwrap_or_default();
        let decision = match planned {
            Err(blocked) => Err(blocked.refusal),
            Ok(plan) => {
                for old in &plan.displaces {
                    steps.push(Step {
                        rule: "ALLOC-8",
                        passed: true,
                        message: format!("lease {old} of the same user on another computer would end"),
                    });
                }
                let ends = self.state.development.then(|| {
                    (
                        now.lease.plus_ms(crate::time::HOUR_MS.unsigned_abs()),
                        crate::refusal::EndReason::DevelopmentHourlyDisconnect,
                    )
                });
                let row = LeaseRow {
                    id: LeaseId(0),
                    holder: crate::ids::HolderId(0),
                    subject: want.subject,
                    application: want.application,
                    terms: std::sync::Arc::new(plan.terms),
                    ttl_ms: acquire.ttl_ms,
                    granted_wall: now.wall,
                    granted: now.lease,
                    idle_since: None,
                    ends,
                    request: None,
                    ended: None,
                    graced: None,
                };
                Ok(self.lease_view(&row, now))
            }
        };
        Explanation { steps, decision }
    }
}

fn label_of(pool: &PoolName) -> Label {
    pool.to_string().parse().unwrap_or_else(|_| unreachable!("a pool's name is a label"))
}

fn numbered(what: &str, number: u32) -> Label {
    format!("{what} number {number}").parse().unwrap_or_else(|_| unreachable!("letters and digits are a label"))
}
