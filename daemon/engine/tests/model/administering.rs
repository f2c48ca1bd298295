//! Steps of administrators, and of the licensor's files.

use super::*;

impl Play {
    pub(super) fn act(&mut self, act: Act) -> Decided {
        let rows = self.site.engine.lasting_rows();
        let (reply, outcome, over) = self.command(Command::Administer { by: administrator(), act });
        self.end_over(&over);
        if reply.is_err() && over.is_empty() && outcome.answers.is_empty() {
            laws::only_a_denial(&outcome.changes);
            laws::same_rows(&rows, &self.site.engine.lasting_rows());
        }
        (reply, outcome, over)
    }

    /// Reasons why a pair cannot be given; empty where it can.
    pub(super) fn why_not_give(paper: &Paper, subject: Subject, key: Key) -> Vec<Why> {
        let concurrent = match subject {
            Subject::User(name) => match paper.user(name) {
                Some(user) => user.concurrent,
                None => return vec![("USER_UNKNOWN", None)],
            },
            Subject::Station(name) if paper.station(name).is_none() => return vec![("STATION_UNKNOWN", None)],
            Subject::Station(_) => false,
        };
        let kind = match subject {
            Subject::User(_) => leasehold_keys::definition::Holder::User,
            Subject::Station(_) => leasehold_keys::definition::Holder::Station,
        };
        if !fact(key).holders.contains(&kind) {
            return vec![("HOLDER_NOT_ALLOWED", Some(key))];
        }
        if paper.is_given(subject, key) {
            return Vec::new();
        }
        let pool = Pool { key, concurrent };
        let other = Pool { key, concurrent: !concurrent };
        if paper.capacity(pool) == 0 {
            return if paper.capacity(other) > 0 {
                vec![("METHOD_MISMATCH", Some(key)), ("NOT_LICENSED", Some(key))]
            } else {
                vec![("NOT_LICENSED", Some(key))]
            };
        }
        if !concurrent && paper.in_use(pool) >= paper.capacity(pool) {
            return vec![("POOL_EXHAUSTED", Some(key))];
        }
        Vec::new()
    }

    pub(super) fn assign(&mut self, give: bool, subjects: &[Subject], keys: &[Key], best_effort: bool, dry_run: bool) {
        let act = Act::Assign(Assign {
            subjects: subjects.iter().copied().map(entity).collect(),
            keys: labels(keys),
            give,
            best_effort,
            dry_run,
            until: None,
        });
        let (reply, outcome, over) = self.act(act);
        let mut paper = self.paper.clone();
        let mut order = paper.given.iter().map(|given| given.order).max().unwrap_or(0);
        let mut failed = false;
        let mut added = Vec::new();
        let done = match reply {
            Ok(Reply::Administered(done)) => done,
            Err(refusal) => {
                let whys: Vec<Why> = subjects
                    .iter()
                    .flat_map(|subject| keys.iter().map(move |key| (*subject, *key)))
                    .flat_map(|(subject, key)| Self::why_not_give(&paper, subject, key))
                    .collect();
                assert!(is_one_of(&refusal, &whys), "assigning was refused {refusal:?}; the model: {whys:?}");
                self.settle(&outcome, &over, true);
                return;
            }
            other => panic!("an act is answered as one: {other:?}"),
        };
        assert_eq!(done.assignments.len(), subjects.len() * keys.len(), "an outcome for each pair (ADMIN-3)");
        for pair in &done.assignments {
            let subject = subject_of(&pair.subject);
            let key = *keys.iter().find(|key| **key == pair.key.as_str()).unwrap();
            let had = paper.is_given(subject, key);
            let whys = if give {
                Self::why_not_give(&paper, subject, key)
            } else {
                let whys = Self::why_not_give(&paper, subject, key);
                whys.into_iter().filter(|(why, _)| why.ends_with("_UNKNOWN")).collect()
            };
            match &pair.result {
                Ok(changed) => {
                    assert!(whys.is_empty(), "{pair:?} was done; the model: {whys:?}");
                    assert_eq!(*changed, had != give, "{pair:?} (ALLOC-10)");
                    if give && !had {
                        order += 1;
                        let concurrent = matches!(subject, Subject::User(name) if paper.user(name).unwrap().concurrent);
                        paper.given.push(Given { order, to: subject, pool: Pool { key, concurrent } });
                        added.push((subject, key));
                    } else if !give {
                        paper.given.retain(|given| given.to != subject || given.pool.key != key);
                    }
                }
                Err(refusal) => {
                    failed = true;
                    assert!(is_one_of(refusal, &whys), "{pair:?}; the model: {whys:?}");
                }
            }
        }
        let applied = !dry_run && (best_effort || !failed);
        assert_eq!(done.applied, applied, "{done:?}");
        if applied {
            self.paper.given = paper.given;
        }
        self.settle(&outcome, &over, true);
        if applied {
            for (subject, key) in added {
                self.check_tried(subject, key);
            }
        }
    }

    pub(super) fn add_user(&mut self, name: Name, concurrent: bool) {
        let entity = Entity::User {
            name: label(name),
            display_name: None,
            method: method(concurrent),
            organization: None,
            workgroups: Vec::new(),
            types: Vec::new(),
        };
        let (reply, outcome, over) = self.act(Act::Create(entity));
        if self.paper.user(name).is_some() {
            assert!(matches!(reply, Err(Refusal::AlreadyExists { .. })), "{reply:?}");
        } else {
            assert!(reply.is_ok(), "{reply:?}");
            self.paper.users.push(User { name, concurrent });
        }
        self.settle(&outcome, &over, false);
    }

    pub(super) fn convert(&mut self, name: Name, concurrent: bool) {
        let change = EntityChange::User {
            name: label(name),
            display_name: None,
            method: Some(method(concurrent)),
            organization: None,
            workgroups: None,
            types: None,
        };
        let (reply, outcome, over) = self.act(Act::Change(change));
        let Some(user) = self.paper.user(name).cloned() else {
            assert!(matches!(reply, Err(Refusal::UserUnknown(_))), "{reply:?}");
            self.settle(&outcome, &over, false);
            return;
        };
        if user.concurrent == concurrent {
            assert!(reply.is_ok(), "{reply:?}");
            self.settle(&outcome, &over, true);
            return;
        }
        let subject = Subject::User(name);
        let keys: Vec<Key> = self.paper.given_to(subject).iter().map(|given| given.pool.key).collect();
        let before: Vec<Lease> =
            self.paper.leases.iter().filter(|lease| lease.what.user() == Some(name)).cloned().collect();
        let mut must: Vec<Why> = Vec::new();
        let mut may: Vec<Why> = Vec::new();
        for key in keys.iter().copied() {
            let pool = Pool { key, concurrent };
            if self.paper.capacity(pool) == 0 {
                must.extend([("METHOD_MISMATCH", Some(key)), ("NOT_LICENSED", Some(key))]);
            } else if !concurrent && self.paper.in_use(pool) >= self.paper.capacity(pool) {
                must.push(("POOL_EXHAUSTED", Some(key)));
            } else if concurrent
                && self.paper.in_use(pool) >= self.paper.capacity(pool)
                && before.iter().any(|lease| lease.has(key))
            {
                // ALLOC-16; where a station or another key brings it no seat is wanted.
                may.push(("POOL_EXHAUSTED", Some(key)));
            }
        }
        match reply {
            Ok(_) => {
                assert!(must.is_empty(), "{name} was converted; the model: {must:?}");
                let paper = &mut self.paper;
                paper.users.iter_mut().find(|user| user.name == name).unwrap().concurrent = concurrent;
                for given in paper.given.iter_mut().filter(|given| given.to == subject) {
                    given.pool.concurrent = concurrent;
                }
                self.settle(&outcome, &over, true);
                for old in before.iter().filter(|old| !over.iter().any(|(id, _)| *id == old.id)) {
                    let Some(lease) = self.owner_of(old.id) else {
                        panic!("{old:?} ended with a conversion (ALLOC-16)")
                    };
                    for (key, _) in &old.held {
                        assert!(lease.has(key), "{key} did not move with the method (ALLOC-16): {lease:?}");
                    }
                }
            }
            Err(refusal) => {
                must.extend(may);
                assert!(is_one_of(&refusal, &must), "converting {name}: {refusal:?}; the model: {must:?}");
                self.settle(&outcome, &over, false);
            }
        }
    }

    pub(super) fn delete(&mut self, subject: Subject) {
        let (reply, outcome, mut over) = self.act(Act::Delete(entity(subject)));
        let known = match subject {
            Subject::User(name) => self.paper.user(name).is_some(),
            Subject::Station(name) => self.paper.station(name).is_some(),
        };
        assert_eq!(reply.is_ok(), known, "{reply:?}");
        if known {
            let of = |lease: &Lease| match subject {
                Subject::User(name) => lease.what.user() == Some(name),
                Subject::Station(name) => lease.what.station() == Some(name),
            };
            let ids: Vec<u64> = self.paper.leases.iter().filter(|lease| of(lease)).map(|lease| lease.id).collect();
            for id in ids {
                self.paper.end(id, EndReason::SubjectDeleted);
                over.push((id, vec![EndReason::SubjectDeleted]));
            }
            self.paper.given.retain(|given| given.to != subject);
            match subject {
                Subject::User(name) => self.paper.users.retain(|user| user.name != name),
                Subject::Station(name) => self.paper.stations.retain(|station| station.name != name),
            }
        }
        self.settle(&outcome, &over, true);
    }

    pub(super) fn add_station(&mut self, name: Name, kind: leasehold_engine::row::StationKind) {
        let entity = Entity::Station { name: label(name), kind, enabled: true, organization: None, owner: None };
        let (reply, outcome, over) = self.act(Act::Create(entity));
        if self.paper.station(name).is_some() {
            assert!(matches!(reply, Err(Refusal::AlreadyExists { .. })), "{reply:?}");
        } else {
            assert!(reply.is_ok(), "{reply:?}");
            self.paper.stations.push(Station { name, kind, enabled: true });
        }
        self.settle(&outcome, &over, false);
    }

    pub(super) fn enable(&mut self, name: Name, enabled: bool) {
        let change = EntityChange::Station {
            name: label(name),
            kind: None,
            enabled: Some(enabled),
            organization: None,
            owner: None,
        };
        let (reply, outcome, mut over) = self.act(Act::Change(change));
        if self.paper.station(name).is_none() {
            assert!(matches!(reply, Err(Refusal::StationUnknown(_))), "{reply:?}");
        } else {
            assert!(reply.is_ok(), "{reply:?}");
            self.paper.stations.iter_mut().find(|station| station.name == name).unwrap().enabled = enabled;
            if !enabled {
                let at: Vec<u64> = self
                    .paper
                    .leases
                    .iter()
                    .filter(|lease| lease.what.station() == Some(name))
                    .map(|lease| lease.id)
                    .collect();
                for id in at {
                    self.paper.end(id, EndReason::StationNotLicensed);
                    over.push((id, vec![EndReason::StationNotLicensed]));
                }
            }
        }
        self.settle(&outcome, &over, true);
    }

    pub(super) fn revoke(&mut self, leases: &[usize]) {
        let ids: Vec<u64> = leases.iter().map(|nth| self.nth(*nth)).collect();
        let what = Revoked::Leases(ids.iter().copied().map(LeaseId).collect());
        self.revoked(what, &ids);
    }

    pub(super) fn revoke_user(&mut self, name: Name) {
        let of = |lease: &&Lease| lease.what.user() == Some(name);
        let ids: Vec<u64> = self.paper.leases.iter().filter(of).map(|lease| lease.id).collect();
        self.revoked(Revoked::User(label(name)), &ids);
    }

    pub(super) fn revoked(&mut self, what: Revoked, ids: &[u64]) {
        let (reply, outcome, mut over) = self.act(Act::Revoke { what, reason: label("because") });
        if reply.is_ok() {
            for id in ids {
                if self.owner_of(*id).is_some() {
                    self.paper.end(*id, EndReason::Revoked);
                    over.push((*id, vec![EndReason::Revoked]));
                }
            }
        } else {
            assert!(ids.iter().all(|id| self.owner_of(*id).is_none()), "nothing was revoked: {reply:?}");
        }
        self.settle(&outcome, &over, false);
    }

    /// Loads what the paper grants as the next sequence of the base file.
    pub(super) fn load(&mut self) -> (Outcome, Ends) {
        self.sequence += 1;
        let grants: Vec<Grant> = self
            .paper
            .grants
            .iter()
            .map(|(pool, units)| Grant { pool: pool_name(*pool), units: units.map_or(Units::Unlimited, Units::Count) })
            .collect();
        let mut base = files::base(&grants);
        base.sequence = self.sequence;
        let terms = files::Licensor::get().issue(&base);
        self.site.folder = vec![leasehold_engine::command::FolderFile {
            name: "base.i3lic".into(),
            terms,
            host: HostFinding::Primary,
        }];
        let (reply, outcome, over) = self.command(Command::Folder(self.site.folder.clone()));
        self.end_over(&over);
        let Ok(Reply::Folder(verdicts)) = reply else { panic!("a folder is judged: {reply:?}") };
        assert!(verdicts.iter().all(|verdict| verdict.verdict.is_ok()), "{verdicts:?}");
        (outcome, over)
    }

    /// Changes one pool's capacity: never to nothing, which is another rule (LEVEL-5).
    pub(super) fn regrant(&mut self, pool: Pool, units: u32) {
        match self.paper.grants.iter_mut().find(|(granted, _)| *granted == pool) {
            Some(grant) => grant.1 = Some(units),
            None => self.paper.grants.push((pool, Some(units))),
        }
        let (outcome, over) = self.load();
        self.settle(&outcome, &over, true);
    }
}
