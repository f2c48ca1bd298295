//! A licensor for development, demonstrations and tests: one root, one issuing key, made from a seed. What it signs is
//! as good as its seed is secret, so nothing but a daemon that says `dev` in its status may trust it.

use crate::{
    activation::Activation,
    digest::Sha256,
    key::{Algorithm, SEED_BYTES, SigningKey},
    note,
    refusal::Refusal,
    root::{KeyRole, Policy, Required, RoleKey, Root},
    time::WallTime,
    trust::Trust,
};

/// A licensor made from a seed.
#[derive(Debug)]
pub struct DevLicensor {
    issuing: SigningKey,
    root: String,
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
        let one = Required { ed25519: 1, ml_dsa_65: 0 };
        let root = Root {
            version: 1,
            expires: WallTime::PERPETUAL_END,
            // Nobody holds the private half: usage of a development site is sealed away.
            usage_key: Sha256::of_parts(&[seed, b"usage"]).0,
            policy: Policy { root: one, activation: one, check_in: one, receipt: one },
            root_keys: vec![anchor.public().clone()],
            role_keys: vec![RoleKey {
                key: issuing.public().clone(),
                role: KeyRole::Issuing,
                epoch: 1,
                not_before: WallTime::default(),
                not_after: WallTime::PERPETUAL_END,
            }],
            revoked: Vec::new(),
        };
        let root = note::sign(&root.render(), &[&anchor])?;
        Ok(Self { issuing, root })
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
}
