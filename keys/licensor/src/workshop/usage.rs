//! What the workshop knows of a license that its usage is read by.

use leasehold_keys::activation::{Activation, LicenseId};

use super::{LEDGER, Workshop, WorkshopFault};
use crate::{billing::Tariff, catalog::Catalog, ledger::Ledger};

impl Workshop {
    /// The records once more, for work on another thread.
    pub(crate) fn open_ledger_again(&self) -> Result<Ledger, WorkshopFault> {
        Ok(Ledger::open(&self.dir.join(LEDGER))?)
    }

    /// What the keys of a license are billed as: by its own files, the newest first, then by the other files of the same
    /// account and site, since a user's keys may come from any of them, then by the catalogs that are built in.
    ///
    /// # Errors
    ///
    /// Where the records cannot be read.
    pub fn tariff(&self, license_id: LicenseId) -> Result<Tariff, WorkshopFault> {
        let mut files = self.ledger.issued()?;
        let site = files
            .iter()
            .find(|file| file.license_id == license_id)
            .map(|file| (file.account.clone(), file.install_site.clone()));
        files.retain(|file| {
            site.as_ref().is_some_and(|(account, site)| (account, site) == (&file.account, &file.install_site))
        });
        files.sort_by_key(|file| (file.license_id != license_id, std::cmp::Reverse((file.issued, file.sequence))));
        let mut definitions = Vec::new();
        for file in files {
            definitions.extend(Activation::read_unverified(file.note.as_bytes())?.definitions);
        }
        let shipped = Catalog::all_shipped();
        Ok(Tariff::new(definitions.iter().chain(shipped.iter().flat_map(Catalog::keys))))
    }
}
