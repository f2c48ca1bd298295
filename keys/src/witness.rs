//! Witness statements: how far an installation had come, said and signed by itself. Application servers keep the highest
//! and show it when they attach (03, Witness). What a statement means to an installation is its engine's matter.

use crate::installation::{InstallationId, InstallationKey, InstallationPublicKey};

/// What the installation signs a statement for.
const PURPOSE: &str = "witness";

/// The highest number that a statement may name: all beyond is nobody's, and leaves room to go on above it.
pub const NUMBER_MAX: u64 = 1 << 62;

/// How far an installation had come: everything up to `fencing` was durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Statement {
    /// The installation that says so.
    pub installation: InstallationId,
    /// The number of the epoch; each start of the daemon begins one. 1 to [`NUMBER_MAX`].
    pub epoch: u64,
    /// Random for each epoch, so that two epochs of one number are told apart.
    pub epoch_id: u64,
    /// The highest fencing number that was durable; 0 to [`NUMBER_MAX`].
    pub fencing: u64,
}

/// Why a statement does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StatementFault {
    /// It is about another installation than the key's.
    #[error("the statement is about another installation")]
    AnotherInstallation,
    /// A number that no installation comes to.
    #[error("the statement names a number out of range")]
    OutOfRange,
    /// The signature does not fit: it was changed, cut, or is somebody else's.
    #[error("the signature does not fit the statement")]
    BadSignature,
}

impl Statement {
    fn is_in_range(&self) -> bool {
        (1..=NUMBER_MAX).contains(&self.epoch) && self.fencing <= NUMBER_MAX
    }

    fn parts(&self) -> ([u8; 16], [u8; 8], [u8; 8], [u8; 8]) {
        let numbers = [self.epoch, self.epoch_id, self.fencing].map(u64::to_be_bytes);
        (*self.installation.as_bytes(), numbers[0], numbers[1], numbers[2])
    }

    /// The installation's signature over it.
    ///
    /// # Errors
    /// [`StatementFault::AnotherInstallation`], [`StatementFault::OutOfRange`].
    pub fn sign(&self, key: &InstallationKey) -> Result<[u8; 64], StatementFault> {
        if self.installation != key.id() {
            return Err(StatementFault::AnotherInstallation);
        }
        if !self.is_in_range() {
            return Err(StatementFault::OutOfRange);
        }
        let (installation, epoch, id, fencing) = self.parts();
        Ok(key.sign(PURPOSE, &[&installation, &epoch, &id, &fencing]))
    }

    /// Verifies that the installation with this key signed it.
    ///
    /// # Errors
    /// See [`StatementFault`].
    pub fn verify(&self, signature: &[u8], key: &InstallationPublicKey) -> Result<(), StatementFault> {
        if self.installation != key.id() {
            return Err(StatementFault::AnotherInstallation);
        }
        if !self.is_in_range() {
            return Err(StatementFault::OutOfRange);
        }
        let (installation, epoch, id, fencing) = self.parts();
        if !key.verifies(PURPOSE, &[&installation, &epoch, &id, &fencing], signature) {
            return Err(StatementFault::BadSignature);
        }
        Ok(())
    }
}
