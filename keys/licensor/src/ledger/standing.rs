//! How licenses stand with the licensor: what is not in good standing is told here, and by whom.

use leasehold_keys::{activation::LicenseId, time::WallTime};
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::{Ledger, LedgerFault, usage::license_id};

/// Beside the tables of check-ins, which came with them.
pub(super) const TABLES: &str = "
CREATE TABLE standing (
    license_id    TEXT PRIMARY KEY,
    state         TEXT NOT NULL CHECK (state IN ('hold', 'revoked')),
    from_ms       INTEGER,
    reason        TEXT NOT NULL,
    set_ms        INTEGER NOT NULL,
    set_by        TEXT NOT NULL,
    CHECK ((state = 'revoked') = (from_ms IS NOT NULL))
) STRICT;
";

/// How a license stands with the licensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccountState {
    /// Paid, or nobody said otherwise.
    Good,
    /// On hold, as while a bill is open: check-ins are not answered, and the site goes down its stages.
    Hold(Remarked),
    /// Withdrawn from a date: check-ins are answered so.
    Revoked {
        /// From when.
        from: WallTime,
        /// Why.
        remarked: Remarked,
    },
}

/// Who said so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remarked {
    /// Why, for the customer to read.
    pub reason: String,
    /// When it was said.
    pub at: WallTime,
    /// By whom.
    pub by: String,
}

impl AccountState {
    /// `good`, `hold`, `revoked`.
    pub const fn word(&self) -> &'static str {
        match self {
            AccountState::Good => "good",
            AccountState::Hold(_) => "hold",
            AccountState::Revoked { .. } => "revoked",
        }
    }
}

impl Ledger {
    /// How a license stands.
    ///
    /// # Errors
    ///
    /// See [`LedgerFault`].
    pub fn account_state(&self, license: LicenseId) -> Result<AccountState, LedgerFault> {
        state(&self.db, license)
    }

    /// The licenses that are not in good standing, by license.
    ///
    /// # Errors
    ///
    /// See [`LedgerFault`].
    pub fn account_states(&self) -> Result<Vec<(LicenseId, AccountState)>, LedgerFault> {
        let mut query = self.db.prepare(&format!("{SELECT} ORDER BY license_id"))?;
        let mut rows = query.query([])?;
        let mut states = Vec::new();
        while let Some(row) = rows.next()? {
            states.push((license_id(row, 0)?, read(row)?));
        }
        Ok(states)
    }

    /// Says how a license stands from now on.
    pub(crate) fn set_account_state(&self, license: LicenseId, state: &AccountState) -> Result<(), LedgerFault> {
        let (word, from, remarked) = match state {
            AccountState::Good => {
                self.db.execute("DELETE FROM standing WHERE license_id = ?1", [license.to_string()])?;
                return Ok(());
            }
            AccountState::Hold(remarked) => (state.word(), None, remarked),
            AccountState::Revoked { from, remarked } => (state.word(), Some(from.as_ms()), remarked),
        };
        self.db.execute(
            "INSERT OR REPLACE INTO standing (license_id, state, from_ms, reason, set_ms, set_by)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![license.to_string(), word, from, remarked.reason, remarked.at.as_ms(), remarked.by],
        )?;
        Ok(())
    }
}

const SELECT: &str = "SELECT license_id, state, from_ms, reason, set_ms, set_by FROM standing";

pub(super) fn state(db: &Connection, license: LicenseId) -> Result<AccountState, LedgerFault> {
    let sql = format!("{SELECT} WHERE license_id = ?1");
    let found = db.query_row(&sql, [license.to_string()], |row| Ok(read(row))).optional()?;
    found.unwrap_or(Ok(AccountState::Good))
}

fn read(row: &Row<'_>) -> Result<AccountState, LedgerFault> {
    let remarked = Remarked { reason: row.get(3)?, at: WallTime::from_ms(row.get(4)?), by: row.get(5)? };
    Ok(match row.get::<_, Option<i64>>(2)? {
        Some(from) => AccountState::Revoked { from: WallTime::from_ms(from), remarked },
        None => AccountState::Hold(remarked),
    })
}
