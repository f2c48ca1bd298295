//! A value together with the bytes it was read from and the keys that vouch for them.

use std::{fmt, ops::Deref, sync::Arc};

use crate::digest::Sha256;

/// A value that came out of bytes whose signatures were verified. Only the verifier makes it.
#[derive(Clone, PartialEq, Eq)]
pub struct Verified<T> {
    value: T,
    bytes: Arc<[u8]>,
    sha256: Sha256,
    signed_by: Vec<String>,
    key_epoch: u32,
    key_sha256: Sha256,
}

impl<T> Verified<T> {
    pub(crate) fn new(value: T, bytes: &[u8], signers: Signers) -> Self {
        Self {
            value,
            bytes: bytes.into(),
            sha256: Sha256::of(bytes),
            signed_by: signers.names,
            key_epoch: signers.epoch,
            key_sha256: signers.key_sha256,
        }
    }

    /// The bytes of the whole note, as they were verified.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// SHA-256 of [`Self::bytes`], as `sha256sum` prints it for the file.
    pub fn sha256(&self) -> Sha256 {
        self.sha256
    }

    /// The names of the keys whose signatures counted, in the order of the signature lines.
    pub fn signed_by(&self) -> &[String] {
        &self.signed_by
    }

    /// The highest epoch of the Ed25519 keys that counted; 0 for notes that no role key signs.
    pub fn key_epoch(&self) -> u32 {
        self.key_epoch
    }

    /// [`crate::key::PublicKey::sha256`] of the key that gave the epoch.
    pub fn key_sha256(&self) -> Sha256 {
        self.key_sha256
    }

    /// The value alone.
    pub fn into_inner(self) -> T {
        self.value
    }
}

impl<T> Deref for Verified<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: fmt::Debug> fmt::Debug for Verified<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verified")
            .field("value", &self.value)
            .field("sha256", &self.sha256)
            .field("signed_by", &self.signed_by)
            .finish()
    }
}

/// Whose signatures counted.
pub(crate) struct Signers {
    pub(crate) names: Vec<String>,
    pub(crate) epoch: u32,
    pub(crate) key_sha256: Sha256,
}
