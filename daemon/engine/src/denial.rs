//! Denials (LEASE-12): who asked, for what, why it was refused, who held the seats. A storm is folded per caller, key and
//! minute.

use std::collections::BTreeMap;

use crate::{
    command::{Acquire, Ask, Place},
    engine::Turn,
    ids::{DenialId, Identity},
    refusal::Refusal,
    row::{DenialRow, Row},
    time::{DAY_MS, WallTime},
    words::counted,
};

const MINUTE_MS: i64 = 60_000;
/// Storms that are folded at once; beyond, the day's count alone rises.
const FOLDS_MAX: usize = 10_000;

/// Denials of the running minute.
#[derive(Debug, Default)]
pub(crate) struct Denials {
    folds: BTreeMap<(Identity, String, &'static str), Fold>,
    day: i64,
    /// Since midnight UTC.
    pub today: u64,
}

#[derive(Debug)]
struct Fold {
    row: DenialRow,
    stored: u64,
}

impl Denials {
    /// Changes were taken back: what was stored is not known to be, and every count is stored again.
    pub(crate) fn forget_stored(&mut self) {
        for fold in self.folds.values_mut() {
            fold.stored = 0;
        }
    }

    /// Begins a new day; true where it did.
    pub(crate) fn turn_day(&mut self, wall: WallTime) -> bool {
        let day = wall.as_ms().div_euclid(DAY_MS);
        if day == self.day {
            return false;
        }
        self.day = day;
        self.today = 0;
        true
    }
}

impl Turn<'_> {
    /// Records a refusal of a lease.
    pub(crate) fn deny(&mut self, acquire: &Acquire, identity: &Identity, refusal: &Refusal) {
        if !is_denial(refusal) {
            return;
        }
        self.engine.denials.today += 1;
        let full = match refusal {
            Refusal::PoolExhausted(full) => Some(full),
            _ => None,
        };
        if let Some(pool) = full.and_then(|full| self.engine.state.pool_id(&full.pool)) {
            self.engine.state.pool(pool).denied_today += 1;
        }
        let key =
            refusal.facts().iter().find(|(name, _)| *name == "key").map(|(_, key)| key.clone()).unwrap_or_default();
        let slot = (identity.clone(), key.clone(), refusal.reason());
        if let Some(fold) = self.engine.denials.folds.get_mut(&slot)
            && self.now.wall.as_ms() - fold.row.at.as_ms() < MINUTE_MS
            && self.now.wall >= fold.row.at
        {
            fold.row.count += 1;
            return;
        }
        if self.engine.denials.folds.len() >= FOLDS_MAX {
            return;
        }
        if let Some(mut fold) = self.engine.denials.folds.remove(&slot) {
            self.store_fold(&mut fold);
        }
        self.change_site(|site| site.last_denial += 1);
        let application = match &acquire.ask {
            Ask::Logon { application: Some(application), .. } => Some(application.clone()),
            _ => None,
        };
        let Ok(caller) = self.caller_application(&acquire.from) else {
            return;
        };
        let row = DenialRow {
            id: DenialId(self.engine.state.site.last_denial),
            at: self.now.wall,
            identity: identity.clone(),
            application: application.unwrap_or(caller),
            subject: subject(&acquire.ask),
            key,
            reason: refusal.reason().to_string(),
            message: refusal.message(),
            count: 1,
            capacity: full.map(|full| full.capacity.to_string()),
            held: full.map_or(0, |full| full.held),
            holders: full.map(|full| full.holders.clone()).unwrap_or_default(),
        };
        self.change(None, Some(Row::Denial(Box::new(row.clone()))));
        self.engine.denials.folds.insert(slot, Fold { row, stored: 1 });
    }

    fn caller_application(&self, from: &crate::command::Origin) -> Result<leasehold_keys::name::Label, Refusal> {
        match from {
            crate::command::Origin::Unary(caller) => Ok(caller.application.clone()),
            crate::command::Origin::Stream(id) => {
                self.engine.state.holders.get(id).map(|holder| holder.row.application.clone()).ok_or(
                    Refusal::Malformed { field: "hello".into(), fault: "the stream has not said who it is".into() },
                )
            }
        }
    }

    fn store_fold(&mut self, fold: &mut Fold) {
        if fold.row.count > fold.stored {
            let before = DenialRow { count: fold.stored, ..fold.row.clone() };
            fold.stored = fold.row.count;
            self.change(Some(Row::Denial(Box::new(before))), Some(Row::Denial(Box::new(fold.row.clone()))));
        }
    }

    /// Stores the counts of the running minute, which goes on.
    pub(crate) fn settle_denials(&mut self) {
        let mut folds = std::mem::take(&mut self.engine.denials.folds);
        for fold in folds.values_mut() {
            self.store_fold(fold);
        }
        self.engine.denials.folds = folds;
    }

    /// Stores the counts of minutes that are over.
    pub(crate) fn store_denials(&mut self) {
        let now = self.now.wall.as_ms();
        let over: Vec<_> = self
            .engine
            .denials
            .folds
            .iter()
            .filter(|(_, fold)| !(0..MINUTE_MS).contains(&(now - fold.row.at.as_ms())))
            .map(|(slot, _)| slot.clone())
            .collect();
        for slot in over {
            if let Some(mut fold) = self.engine.denials.folds.remove(&slot) {
                self.store_fold(&mut fold);
            }
        }
    }
}

/// Refusals that tell something about licenses, as against faults of the caller or of the moment.
fn is_denial(refusal: &Refusal) -> bool {
    match refusal {
        Refusal::PoolExhausted(_)
        | Refusal::NotAssigned { .. }
        | Refusal::NothingAssigned { .. }
        | Refusal::NotLicensed { .. }
        | Refusal::StationNotLicensed { .. }
        | Refusal::HolderNotAllowed { .. }
        | Refusal::MethodMismatch { .. }
        | Refusal::PrerequisiteMissing { .. }
        | Refusal::LimitReached(_)
        | Refusal::VersionNotCovered { .. }
        | Refusal::Enforced { .. }
        | Refusal::ApplicationHeld { .. }
        | Refusal::UserUnknown(_)
        | Refusal::StationUnknown(_)
        | Refusal::KeyUnknown(_) => true,
        // The user is logged on, at another computer.
        Refusal::LoggedOnElsewhere { .. }
        | Refusal::WorkgroupUnknown(_)
        | Refusal::OrganizationUnknown(_)
        | Refusal::LicenseUnknown(_)
        | Refusal::LeaseUnknown(_)
        | Refusal::RequestUnknown
        | Refusal::LeaseEnded { .. }
        | Refusal::NotYourLease(_)
        | Refusal::RequestIdReused
        | Refusal::Malformed { .. }
        | Refusal::AlreadyExists { .. }
        | Refusal::InUse { .. }
        | Refusal::NotActive
        | Refusal::Overloaded { .. }
        | Refusal::StorageUnavailable
        | Refusal::Cancelled => false,
    }
}

fn subject(ask: &Ask) -> String {
    match ask {
        Ask::Logon { user, place: Place::Station(station), .. } => format!("user {user} at station {station}"),
        Ask::Logon { user, place: Place::DynamicRemote(number), .. } => format!("user {user} at number {number}"),
        Ask::Logon { user, place: Place::None, .. } => format!("user {user}"),
        Ask::Station { station, .. } => format!("station {station}"),
        Ask::Units { key, units } => format!("{} of {key}", counted((*units).into(), "unit", "units")),
    }
}
