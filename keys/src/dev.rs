//! A licensor for development, demonstrations and tests: one root, one key for each purpose, made from a seed. What it signs is
//! as good as its seed is secret, so nothing but a daemon that says `dev` in its status may trust it.

use std::fmt;

use crate::{
    activation::Activation,
    check_in::{CheckInAnswer, TimeNote},
    digest::Sha256,
    key::{Algorithm, SEED_BYTES, SigningKey},
    note,
    refusal::Refusal,
    root::{KeyRole, Policy, Required, RoleKey, Root},
    time::WallTime,
    trust::Trust,
    usage::{UsagePrivateKey, UsageReceipt},
};

/// A licensor made from a seed.
pub struct DevLicensor {
    issuing: SigningKey,
    receipt: SigningKey,
    check_in: SigningKey,
    usage_seed: [u8; SEED_BYTES],
    root: String,
}

impl fmt::Debug for DevLicensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DevLicensor").field("issuing", &self.issuing).finish_non_exhaustive()
    }
}

impl DevLicensor {
    /// The licensor of a seed. Its root has version 1 and lasts until 2100.
    ///
    /// # Errors
    /// None that a seed can cause.
    pub fn from_seed(seed: &[u8; SEED_BYTES]) -> Result<Self, Refusal> {
        let key =
            |name: &str| SigningKey::from_seed(name, Algorithm::Ed25519, &Sha256::of_parts(&[seed, name.as_bytes()]).0);
        let (anchor, issuing) = (key("dev.leasehold/root")?, key("dev.leasehold/issuing")?);
        let (receipt, check_in) = (key("dev.leasehold/receipt")?, key("dev.leasehold/check-in")?);
        let usage_seed = Sha256::of_parts(&[seed, b"usage"]).0;
        let listed = |key: &SigningKey, role| RoleKey {
            key: key.public().clone(),
            role,
            epoch: 1,
            not_before: WallTime::default(),
            not_after: WallTime::PERPETUAL_END,
        };
        let one = Required { ed25519: 1, ml_dsa_65: 0 };
        let root = Root {
            version: 1,
            expires: WallTime::PERPETUAL_END,
            usage_key: *UsagePrivateKey::from_seed(usage_seed.into()).public().as_bytes(),
            policy: Policy { root: one, activation: one, check_in: one, receipt: one },
            root_keys: vec![anchor.public().clone()],
            role_keys: vec![
                listed(&issuing, KeyRole::Issuing),
                listed(&receipt, KeyRole::Receipt),
                listed(&check_in, KeyRole::CheckIn),
            ],
            revoked: Vec::new(),
        };
        let root = note::sign(&root.render(), &[&anchor])?;
        Ok(Self { issuing, receipt, check_in, usage_seed, root })
    }

    /// The bytes of its root note.
    pub fn root(&self) -> &[u8] {
        self.root.as_bytes()
    }

    /// Trust in its root.
    ///
    /// # Errors
    /// None: it reads what it wrote.
    pub fn trust(&self) -> Result<Trust, Refusal> {
        Trust::anchored(self.root())
    }

    /// A signed activation file.
    ///
    /// # Errors
    /// What a daemon would refuse in the terms, or a text beyond the limits of notes.
    pub fn issue(&self, activation: &Activation) -> Result<Vec<u8>, Refusal> {
        activation.check()?;
        Ok(note::sign(&activation.render(), &[&self.issuing])?.into_bytes())
    }

    /// A signed answer to a check-in.
    ///
    /// # Errors
    /// A text beyond the limits of notes.
    pub fn answer(&self, answer: &CheckInAnswer) -> Result<Vec<u8>, Refusal> {
        Ok(answer.sign(&[&self.check_in])?.into_bytes())
    }

    /// A signed time note.
    ///
    /// # Errors
    /// None that a time can cause.
    pub fn time_note(&self, time: WallTime) -> Result<Vec<u8>, Refusal> {
        Ok(TimeNote { time }.sign(&[&self.check_in])?.into_bytes())
    }

    /// The key that opens what is sealed to its root's usage key.
    pub fn usage_key(&self) -> UsagePrivateKey {
        UsagePrivateKey::from_seed(self.usage_seed.into())
    }

    /// A signed receipt for a usage file.
    ///
    /// # Errors
    /// A text beyond the limits of notes.
    pub fn receipt(&self, receipt: &UsageReceipt) -> Result<Vec<u8>, Refusal> {
        Ok(receipt.sign(&[&self.receipt])?.into_bytes())
    }
}
