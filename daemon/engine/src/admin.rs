//! Administrators' acts on users, stations, workgroups, organizations, pools and licenses (ADMIN-1, ADMIN-2, ADMIN-12).
//! Each leaves one entry in the audit log, with what was before and after; a refused act leaves nothing.

use leasehold_keys::{
    activation::{HostRole, Units},
    definition::Holder,
    name::{Label, PoolName},
};

use crate::{
    command::{Act, EntityName, Revoked, ShareName},
    decision::{Administered, Event, Reply, Told},
    engine::Turn,
    ids::{Identity, LeaseId, OrganizationId, ShareHolder, StationId, Subject, UserId},
    refusal::{EndReason, Limit, Refusal},
    row::{FileRow, PoolRuleRow, Row, ShareRow},
    words::counted,
};

/// Leases that one revocation may end.
const REVOKE_MAX: usize = 10_000;

impl Turn<'_> {
    pub(crate) fn administer(&mut self, by: &Identity, act: Act) -> Result<Reply, Refusal> {
        let start = self.save();
        match self.act(by, act) {
            Ok(done) => Ok(Reply::Administered(done)),
            Err(refusal) => {
                self.roll_back(&start);
                Err(refusal)
            }
        }
    }

    fn act(&mut self, by: &Identity, act: Act) -> Result<Administered, Refusal> {
        match act {
            Act::Create(entity) => self.create(by, entity),
            Act::Change(change) => self.change_entity(by, change),
            Act::Delete(name) => self.delete(by, &name),
            Act::Assign(assign) => self.assign(by, assign),
            Act::Revoke { what, reason } => self.revoke(by, what, &reason),
            Act::SetPoolRule { pool, idle_ms, idle_always } => self.set_pool_rule(by, &pool, idle_ms, idle_always),
            Act::SetShare { pool, holder, share } => self.set_share(by, &pool, &holder, share),
            Act::Unload { license, reason } => {
                let row = self.engine.state.files.get(&license);
                let was = row.map(|row| (row.unloaded, self.engine.state.file_state(row, self.now)));
                let title = self.unload(license)?;
                if let Some((true, _)) = was {
                    return Ok(Administered { message: format!("{title} was unloaded before."), ..Default::default() });
                }
                let before = was.map_or_else(String::new, |(_, state)| format!("\"{}\"", state.as_str()));
                self.audit(by, "unload", &license.to_string(), &before, "\"unloaded\"", &reason);
                Ok(done(format!("{title} is unloaded: its grants are gone, and leases on them end within the hour.")))
            }
            Act::Promote { reason } => self.promote(by, &reason),
            Act::StandBy { reason } => self.stand_by(by, &reason),
            Act::Note { action, subject, after, reason } => {
                self.audit(by, &action, &subject, "", &after, &reason);
                Ok(done(String::new()))
            }
        }
    }

    pub(crate) fn user_id(&self, name: &Label) -> Result<UserId, Refusal> {
        self.engine.state.user_names.get(name).copied().ok_or_else(|| Refusal::UserUnknown(name.to_string()))
    }

    pub(crate) fn station_id(&self, name: &Label) -> Result<StationId, Refusal> {
        self.engine.state.station_names.get(name).copied().ok_or_else(|| Refusal::StationUnknown(name.to_string()))
    }

    pub(crate) fn organization_id(&self, name: Option<&Label>) -> Result<Option<OrganizationId>, Refusal> {
        name.map(|name| {
            let known = self.engine.state.organization_names.get(name).copied();
            known.ok_or_else(|| Refusal::OrganizationUnknown(name.to_string()))
        })
        .transpose()
    }

    fn revoke(&mut self, by: &Identity, what: Revoked, reason: &Label) -> Result<Administered, Refusal> {
        let (leases, subject): (Vec<LeaseId>, String) = match what {
            Revoked::Leases(leases) => {
                let list = leases.iter().take(20).map(ToString::to_string).collect::<Vec<_>>().join(",");
                (leases, format!("leases {list}"))
            }
            Revoked::User(name) => {
                let id = self.user_id(&name)?;
                (self.engine.state.leases_of(Subject::User(id)).to_vec(), format!("user {name}"))
            }
            Revoked::Station(name) => {
                let id = self.station_id(&name)?;
                (self.engine.state.leases_of(Subject::Station(id)).to_vec(), format!("station {name}"))
            }
        };
        if leases.len() > REVOKE_MAX {
            let fault = format!("at most {REVOKE_MAX} leases can be ended at once");
            return Err(Refusal::Malformed { field: "lease_ids".into(), fault });
        }
        let told = self.engine.state.told_leases(&leases);
        let mut outcomes = Vec::new();
        let mut ended = 0;
        for id in leases {
            let result = if self.engine.state.leases.contains_key(&id) {
                self.end(id, EndReason::Revoked, Some(reason.clone()));
                ended += 1;
                Ok(())
            } else if id.0 == 0 || id.0 > self.engine.state.site.last_lease {
                Err(Refusal::LeaseUnknown(id))
            } else {
                let how = self.engine.state.how_ended(id).or_else(|| self.engine.recently_ended.get(&id).copied());
                Err(Refusal::LeaseEnded { lease: id, how })
            };
            outcomes.push((id, result));
        }
        if ended > 0 {
            self.audit(by, "revoke", &subject, &told, "", reason.as_str());
        }
        Ok(Administered {
            message: match ended {
                1 => format!("1 lease is ended; its holder is told: {reason}"),
                _ => format!("{ended} leases are ended; their holders are told: {reason}"),
            },
            leases: outcomes,
            applied: ended > 0,
            ..Administered::default()
        })
    }

    fn known_pool(&self, name: &PoolName) -> Result<crate::ids::PoolId, Refusal> {
        self.engine.state.pool_id(name).ok_or_else(|| Refusal::KeyUnknown(name.to_string()))
    }

    fn set_pool_rule(
        &mut self,
        by: &Identity,
        name: &PoolName,
        idle_ms: u64,
        always: bool,
    ) -> Result<Administered, Refusal> {
        let id = self.known_pool(name)?;
        if idle_ms != 0 && !(60_000..=86_400_000).contains(&idle_ms) {
            let fault = "an idle time is 0 (none), or from 60,000 to 86,400,000 ms".into();
            return Err(Refusal::Malformed { field: "idle_ms".into(), fault });
        }
        let before = self.engine.state.pools.get(&id).and_then(|pool| pool.rule);
        let after = (idle_ms > 0).then_some(PoolRuleRow { pool: id, idle_ms, idle_always: always });
        if before != after {
            let told = |rule: Option<PoolRuleRow>| rule.map(|rule| self.engine.state.told_pool_rule(&rule));
            let (was, is) = (told(before).unwrap_or_default(), told(after).unwrap_or_default());
            self.audit(by, "pool set", &name.to_string(), &was, &is, "");
            self.change(before.map(Row::PoolRule), after.map(Row::PoolRule));
        }
        Ok(done(match after {
            None => format!("Idle leases on {name} are left alone."),
            Some(rule) if rule.idle_always => {
                format!("Leases on {name} that stand idle for {} end.", crate::words::duration(idle_ms))
            }
            Some(_) => format!(
                "Leases on {name} that stand idle for {} end while others wait.",
                crate::words::duration(idle_ms)
            ),
        }))
    }

    fn set_share(
        &mut self,
        by: &Identity,
        name: &PoolName,
        holder: &ShareName,
        share: Option<(u32, Option<u32>)>,
    ) -> Result<Administered, Refusal> {
        let id = self.known_pool(name)?;
        let holder = match holder {
            ShareName::Application(application) => ShareHolder::Application(application.clone()),
            ShareName::Organization(organization) => match self.organization_id(Some(organization))? {
                Some(id) => ShareHolder::Organization(id),
                None => return Err(Refusal::OrganizationUnknown(organization.to_string())),
            },
        };
        let refuse = |fault: String| Refusal::LimitReached(Limit::Reservations { pool: name.clone(), fault });
        let (before, others, capacity) = match self.engine.state.pools.get(&id) {
            None => (None, 0, Units::Count(0)),
            Some(pool) => (
                pool.shares.iter().find(|share| share.row.holder == holder).map(|share| share.row.clone()),
                pool.shares
                    .iter()
                    .filter(|share| share.row.holder != holder)
                    .map(|share| u64::from(share.row.reserve))
                    .sum(),
                pool.granted,
            ),
        };
        let after = match share {
            None => None,
            Some((reserve, limit)) => {
                if limit.is_some_and(|limit| limit < reserve) {
                    return Err(refuse(format!("its limit would lie below its own reservation of {reserve}")));
                }
                let sum = others + u64::from(reserve);
                if let Units::Count(count) = capacity
                    && sum > u64::from(count)
                {
                    return Err(refuse(format!("{sum} seats would be reserved, and the pool has {count}")));
                }
                Some(ShareRow { pool: id, holder: holder.clone(), reserve, limit })
            }
        };
        let subject = format!("{name} for {}", self.engine.state.share_holder_name(&holder));
        if before != after {
            let told = |row: &Option<ShareRow>| row.as_ref().map(|row| self.engine.state.told_share(row));
            let (was, is) = (told(&before).unwrap_or_default(), told(&after).unwrap_or_default());
            self.audit(by, "share set", &subject, &was, &is, "");
            self.change(before.map(Row::Share), after.clone().map(Row::Share));
        }
        Ok(done(match after {
            None => format!("The share of {subject} is taken away."),
            Some(ShareRow { reserve, limit: Some(limit), .. }) => {
                format!("{} set aside and at most {limit} may be held: {subject}.", seats_are(reserve))
            }
            Some(ShareRow { reserve, limit: None, .. }) => format!("{} set aside: {subject}.", seats_are(reserve)),
        }))
    }

    fn promote(&mut self, by: &Identity, reason: &str) -> Result<Administered, Refusal> {
        if self.engine.state.site.promoted || !self.engine.state.is_standby(self.now) {
            return Ok(Administered {
                message: "This server is the active one already.".into(),
                ..Administered::default()
            });
        }
        self.change_site(|site| site.promoted = true);
        self.audit(by, "promote", "this server", "\"standby\"", "\"active\"", reason);
        // The stage is known before the first lease is granted (05).
        self.refresh_grants();
        // What the site has is served here from now on (SITE-1).
        self.out.events.push(Event { to: None, what: Told::SiteKeysChanged });
        Ok(done("This server is the active one now. Be sure that its partner is stopped: two must never serve one file's seats.".into()))
    }

    /// 02: a promoted standby stands by again. Two servers must never serve one file's seats: who waits is refused, and
    /// live leases end, in pieces of which each asking brings one.
    fn stand_by(&mut self, by: &Identity, reason: &Label) -> Result<Administered, Refusal> {
        let unchanged = |message: &str| Ok(Administered { message: message.into(), ..Administered::default() });
        let standby = |file: &FileRow| file.host_role == Some(HostRole::Switchover);
        if !self.engine.state.files_in_effect(self.now).any(standby) {
            return unchanged(
                "Nothing is changed: no activation file in effect names this server as its switchover server.",
            );
        }
        let promoted = self.engine.state.site.promoted;
        if !promoted && self.engine.state.leases.is_empty() {
            return unchanged("This server stands by already.");
        }
        if promoted {
            self.change_site(|site| site.promoted = false);
            self.audit(by, "stand by", "this server", "\"active\"", "\"standby\"", reason.as_str());
            self.refresh_grants();
        }
        self.refuse_who_wait();
        let leases: Vec<LeaseId> = self.engine.state.leases.keys().take(REVOKE_MAX).copied().collect();
        if !leases.is_empty() {
            let told = self.engine.state.told_leases(&leases);
            self.audit(by, "revoke", "this server stands by", &told, "", reason.as_str());
        }
        for id in &leases {
            self.end(*id, EndReason::Revoked, Some(reason.clone()));
        }
        self.out.events.push(Event { to: None, what: Told::SiteKeysChanged });
        let ended = counted(leases.len() as u64, "lease is", "leases are");
        Ok(done(match self.engine.state.leases.len() {
            0 if leases.is_empty() => "This server stands by: it grants nothing until it is promoted.".into(),
            0 => format!("This server stands by: it grants nothing until it is promoted. {ended} ended."),
            left => format!(
                "This server stands by: it grants nothing until it is promoted. {ended} ended, and {left} still live: ask again before \
                 its partner is made active."
            ),
        }))
    }

    /// The sort of subject behind a name that keys can be given to.
    pub(crate) fn subject(&self, name: &EntityName) -> Result<(Subject, Holder), Refusal> {
        match name {
            EntityName::User(name) => Ok((Subject::User(self.user_id(name)?), Holder::User)),
            EntityName::Station(name) => Ok((Subject::Station(self.station_id(name)?), Holder::Station)),
            EntityName::Workgroup(_) | EntityName::Organization(_) => Err(Refusal::Malformed {
                field: "subjects".into(),
                fault: "keys are given to users and stations only".into(),
            }),
        }
    }
}

fn seats_are(count: u32) -> String {
    format!("{} {}", counted(count.into(), "seat", "seats"), if count == 1 { "is" } else { "are" })
}

pub(crate) fn done(message: String) -> Administered {
    Administered { message, applied: true, ..Administered::default() }
}
