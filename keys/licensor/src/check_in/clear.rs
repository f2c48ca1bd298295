//! What operators decide about installations and licenses.

use leasehold_keys::{
    activation::LicenseId, check_in::TimeNote, installation::InstallationId, name::Label, root::KeyRole, time::WallTime,
};

use crate::{
    calendar::whole_second,
    ledger::{AccountState, Installed},
    workshop::{Workshop, WorkshopFault},
};

impl Workshop {
    /// Clears an installation: it is no duplicate any more, counts as one that the license is for, and whatever answer it
    /// quotes next is believed. Of clones, the one that asks first from now on is taken for the honest one.
    ///
    /// # Errors
    ///
    /// [`WorkshopFault::NotCheckedIn`].
    pub fn clear_check_in(
        &mut self,
        license: LicenseId,
        installation: InstallationId,
    ) -> Result<Installed, WorkshopFault> {
        let desk = self.ledger_mut().check_in_desk()?;
        let found = desk.installed(license)?.into_iter().find(|row| row.installation.id() == installation);
        let mut row = found.ok_or(WorkshopFault::NotCheckedIn { license_id: license, installation })?;
        row.vouched = row.vouched || !row.admitted;
        (row.admitted, row.adopt, row.duplicate) = (true, true, None);
        desk.put(&row)?;
        desk.forget_remarks(license, installation)?;
        desk.commit()?;
        Ok(row)
    }

    /// Forgets an installation that is no more, so that another one has its place. Should it ask again, it is a newcomer.
    ///
    /// # Errors
    ///
    /// [`WorkshopFault::NotCheckedIn`].
    pub fn forget_check_in(&mut self, license: LicenseId, installation: InstallationId) -> Result<(), WorkshopFault> {
        let desk = self.ledger_mut().check_in_desk()?;
        if !desk.forget(license, installation)? {
            return Err(WorkshopFault::NotCheckedIn { license_id: license, installation });
        }
        // Those that stood behind it are judged again.
        for mut row in desk.installed(license)? {
            row.judged = 0;
            desk.put(&row)?;
        }
        desk.commit()?;
        Ok(())
    }

    /// Says how a license stands with the licensor from now on; check-ins are answered by it.
    ///
    /// # Errors
    ///
    /// [`WorkshopFault::UnknownLicense`].
    pub fn set_account_state(&mut self, license: LicenseId, state: &AccountState) -> Result<(), WorkshopFault> {
        self.last_sequence(license)?;
        Ok(self.ledger().set_account_state(license, state)?)
    }

    /// The licenses that were issued to an account.
    ///
    /// # Errors
    ///
    /// [`WorkshopFault::UnknownAccount`] where there are none.
    pub fn licenses_of(&self, account: &Label) -> Result<Vec<LicenseId>, WorkshopFault> {
        let files = self.ledger().issued()?;
        let mut licenses: Vec<LicenseId> =
            files.iter().filter(|file| file.account == account.as_str()).map(|file| file.license_id).collect();
        licenses.sort();
        licenses.dedup();
        if licenses.is_empty() { Err(WorkshopFault::UnknownAccount(account.clone())) } else { Ok(licenses) }
    }

    /// A signed note that tells any site the time.
    ///
    /// # Errors
    ///
    /// Where the check-in key cannot be used now.
    pub fn time_note(&self, now: WallTime) -> Result<String, WorkshopFault> {
        let signers = self.signers(KeyRole::CheckIn, now)?;
        Ok(TimeNote { time: whole_second(now) }.sign(&signers.at(now)?)?)
    }
}
