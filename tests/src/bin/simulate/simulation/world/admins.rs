//! Administrators: they set the site up, give and take keys, load, lower, move and revoke.

use leasehold_engine::{
    command::{Act, Assign, Command, Entity, EntityChange, EntityName, Revoked},
    ids::{Identity, LeaseId},
    row::StationKind,
};
use leasehold_keys::name::Method;

use super::{
    World,
    network::{station_label, user_label},
};
use crate::simulation::{
    chance::Chance,
    oracle::{AdminAsk, SentWhat},
    tally::Kind,
    vendor::{self, AGENT, BASIC, CLIENT, Key, SESSION, SUPER, TRACKER, Vendor, pool_name},
};

impl World {
    fn act(&mut self, ask: AdminAsk, act: Act) {
        self.tell(|| format!("an administrator: {ask:?} {act:?}"));
        self.admin_busy = true;
        self.give_own(SentWhat::Admin(ask), Command::Administer { by: Identity::Uid(0), act });
    }

    /// Users, stations and keys to begin with; nothing goes wrong yet.
    pub(super) fn settle_in(&mut self, chance: &mut Chance) {
        for number in 0..self.nature.manners.users {
            self.create_user(number, chance.percent(70));
            self.pump();
            for _ in 0..chance.between(1, 4) {
                let key = chance.pick(&[CLIENT, CLIENT, TRACKER, AGENT, SUPER]);
                self.give_key(Some(number), None, key, true);
                self.pump();
            }
        }
        for number in 0..self.nature.manners.stations {
            self.create_station(number);
            self.pump();
            self.give_key(None, Some(number), BASIC, true);
            self.pump();
            if chance.percent(40) {
                self.give_key(None, Some(number), chance.pick(&[CLIENT, TRACKER]), true);
                self.pump();
            }
        }
    }

    fn create_user(&mut self, number: usize, concurrent: bool) {
        let user = Entity::User {
            name: user_label(number),
            display_name: None,
            method: if concurrent { Method::Concurrent } else { Method::Assignable },
            organization: None,
            workgroups: Vec::new(),
            types: Vec::new(),
        };
        self.act(AdminAsk::Other, Act::Create(user));
    }

    fn create_station(&mut self, number: usize) {
        let station = Entity::Station {
            name: station_label(number),
            kind: StationKind::Workstation,
            enabled: true,
            organization: None,
            owner: None,
        };
        self.act(AdminAsk::Other, Act::Create(station));
    }

    fn give_key(&mut self, user: Option<usize>, station: Option<usize>, key: Key, give: bool) {
        let users = user.map(|number| EntityName::User(user_label(number)));
        let stations = station.map(|number| EntityName::Station(station_label(number)));
        let assign = Assign {
            subjects: users.into_iter().chain(stations).collect(),
            keys: vec![Vendor::get().key_labels[key].clone()],
            give,
            best_effort: false,
            dry_run: false,
            until: None,
        };
        self.act(AdminAsk::Assign { user, station, key, give }, Act::Assign(assign));
    }

    /// One act; false where there is nobody to answer, or one is under way.
    pub(super) fn administer(&mut self, chance: &mut Chance) -> bool {
        if self.life.is_none() || self.admin_busy {
            return false;
        }
        let user = chance.index(self.nature.manners.users);
        let station = chance.index(self.nature.manners.stations);
        match chance.below(100) {
            0..=21 => {
                let key = chance.pick(&[CLIENT, TRACKER, AGENT, SUPER]);
                self.give_key(Some(user), None, key, true);
            }
            22..=36 => {
                self.happened(Kind::KeyTaken);
                let key = chance.pick(&[CLIENT, TRACKER, AGENT, SUPER]);
                self.give_key(Some(user), None, key, false);
            }
            37..=44 => self.give_key(None, Some(station), chance.pick(&[BASIC, BASIC, CLIENT, TRACKER]), true),
            45..=49 => {
                self.happened(Kind::KeyTaken);
                self.give_key(None, Some(station), chance.pick(&[BASIC, CLIENT, TRACKER]), false);
            }
            50..=55 => {
                self.happened(Kind::LeaseRevoked);
                let what = Revoked::User(user_label(user));
                let reason = "sent home".parse().expect("a label");
                self.act(AdminAsk::RevokeUser(user), Act::Revoke { what, reason });
            }
            56..=59 => {
                let leases = self.oracle.books.leases.len();
                let lease = self.oracle.books.leases.keys().nth(chance.index(leases.max(1))).copied();
                let Some(lease) = lease else { return false };
                self.happened(Kind::LeaseRevoked);
                let what = Revoked::Leases(vec![LeaseId(lease)]);
                let reason = "taken back".parse().expect("a label");
                self.act(AdminAsk::RevokeLease(lease), Act::Revoke { what, reason });
            }
            60..=66 => {
                self.happened(Kind::Converted);
                let concurrent = chance.percent(60);
                let change = EntityChange::User {
                    name: user_label(user),
                    display_name: None,
                    method: Some(if concurrent { Method::Concurrent } else { Method::Assignable }),
                    organization: None,
                    workgroups: None,
                    types: None,
                };
                self.act(AdminAsk::Convert { user, concurrent }, Act::Change(change));
            }
            67..=70 => {
                self.happened(Kind::Deleted);
                if chance.percent(70) {
                    self.act(AdminAsk::DeleteUser(user), Act::Delete(EntityName::User(user_label(user))));
                } else {
                    let name = EntityName::Station(station_label(station));
                    self.act(AdminAsk::DeleteStation(station), Act::Delete(name));
                }
            }
            71..=76 => self.create_user(user, chance.percent(70)),
            77..=78 => self.create_station(station),
            79..=81 => {
                let pool = pool_name(chance.pick(&[CLIENT * 2 + 1, TRACKER * 2 + 1, SESSION * 2]));
                let idle_ms = chance.pick(&[0, 60_000, 120_000]);
                let act = Act::SetPoolRule { pool, idle_ms, idle_always: chance.percent(50) };
                self.act(AdminAsk::Rule, act);
            }
            82..=97 => self.load(chance),
            _ => {
                self.happened(Kind::FileRevoked);
                let license = vendor::license(1 + chance.index(vendor::LICENSES));
                self.act(AdminAsk::Other, Act::Unload { license, reason: "not paid".into() });
            }
        }
        true
    }

    /// Something about the watched folder changes.
    fn load(&mut self, chance: &mut Chance) {
        let variant = self.nature.variant;
        match chance.below(20) {
            0..=9 => {
                let license = usize::from(chance.percent(40));
                let (old, new) = (self.folder.sequences[license], self.folder.sequences[license] + 1);
                let caps = |sequence| Vendor::get().file(variant, license, sequence).caps;
                let (before, after) = (caps(old.max(1)), caps(new));
                if old > 0 && before.iter().zip(&after).any(|(before, after)| after < before) {
                    self.happened(Kind::Lowered);
                }
                self.folder.sequences[license] = new.min(vendor::SEQUENCES);
                self.folder.present[license] = true;
            }
            10..=12 => {
                self.happened(Kind::FileGone);
                let license = usize::from(chance.percent(60));
                if self.folder.sequences[license] > 0 {
                    self.folder.present[license] = !self.folder.present[license];
                }
            }
            13..=15 => {
                self.happened(Kind::Moved);
                self.folder.here = !self.folder.here;
            }
            16 => {
                self.happened(Kind::FileRevoked);
                self.folder.revoked = !self.folder.revoked;
                self.give_revocations();
            }
            _ => {}
        }
        self.tell(|| "the folder is looked at".to_owned());
        self.give_folder();
    }
}
