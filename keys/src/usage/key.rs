//! X25519 keys that usage files are sealed to: the licensor's, which the root names, and one of the customer's own.

use std::{fmt, str::FromStr};

use base64::Engine as _;
use x25519_dalek::{X25519_BASEPOINT_BYTES, x25519};
use zeroize::Zeroizing;

use crate::{
    digest::{Sha256, hex},
    key::random_seed,
    note::BASE64,
    refusal::{Reason, Refusal, quote},
};

/// p = 2^255 - 19, little-endian.
const P: [u8; 32] = {
    let mut p = [0xff; 32];
    p[0] = 0xed;
    p[31] = 0x7f;
    p
};

/// The public name of a usage key in a header: the first 16 bytes of a hash of it, written as 32 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub [u8; 16]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

/// A public usage key, written as the root writes its own: 32 bytes in base64.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UsagePublicKey([u8; 32]);

impl UsagePublicKey {
    /// A key from its 32 bytes.
    ///
    /// # Errors
    /// `small-order-key` where everyone would share one secret with it, `bad-key` where another key means the same.
    pub fn new(bytes: [u8; 32]) -> Result<Self, Refusal> {
        // A clamped scalar is a multiple of the cofactor, so it takes every point of small order to zero.
        if x25519([1; 32], bytes) == [0; 32] {
            return Err(Refusal::new(
                Reason::SmallOrderKey,
                "The X25519 key has a small order: anyone can open what is sealed to it",
            ));
        }
        if bytes.iter().rev().ge(P.iter().rev()) {
            return Err(Refusal::new(Reason::BadKey, "The X25519 key is not canonical"));
        }
        Ok(Self(bytes))
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Its name in headers.
    pub fn id(&self) -> KeyId {
        let mut id = [0; 16];
        id.copy_from_slice(&Sha256::of_parts(&[b"leasehold/usage-key-id/1\n", &self.0]).0[..16]);
        KeyId(id)
    }
}

impl fmt::Display for UsagePublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64.encode(self.0))
    }
}

impl fmt::Debug for UsagePublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UsagePublicKey({self})")
    }
}

impl FromStr for UsagePublicKey {
    type Err = Refusal;

    fn from_str(text: &str) -> Result<Self, Refusal> {
        let bytes = BASE64.decode(text).ok().and_then(|bytes| bytes.try_into().ok());
        Self::new(bytes.ok_or_else(|| {
            Refusal::new(Reason::BadKey, format!("{} is not 32 bytes in canonical base64", quote(text)))
        })?)
    }
}

/// A private usage key: 32 bytes, which X25519 clamps. Wiped when dropped.
pub struct UsagePrivateKey(Zeroizing<[u8; 32]>);

/// What the written form of a private key begins with.
const PRIVATE_PREFIX: &str = "leasehold-usage-private-key-1:";

impl UsagePrivateKey {
    /// The key of 32 secret bytes, such as the licensor's vault holds.
    pub fn from_seed(seed: Zeroizing<[u8; 32]>) -> Self {
        Self(seed)
    }

    /// A new key.
    ///
    /// # Errors
    /// `bad-key` where the operating system gives no random bytes.
    pub fn generate() -> Result<Self, Refusal> {
        Ok(Self(Zeroizing::new(random_seed()?)))
    }

    /// Its public half.
    pub fn public(&self) -> UsagePublicKey {
        UsagePublicKey(x25519(*self.0, X25519_BASEPOINT_BYTES))
    }

    /// The 32 secret bytes.
    pub(super) fn secret(&self) -> &[u8; 32] {
        &self.0
    }

    /// The written form, for a file that only its owner reads: one line without its LF.
    pub fn to_text(&self) -> Zeroizing<String> {
        let encoded = Zeroizing::new(BASE64.encode(*self.0));
        Zeroizing::new([PRIVATE_PREFIX, &encoded].concat())
    }

    /// Reads the written form; white space around it is no matter.
    ///
    /// # Errors
    /// `bad-key`; the text itself stands in no message.
    pub fn from_text(text: &str) -> Result<Self, Refusal> {
        let read = || {
            let bytes = Zeroizing::new(BASE64.decode(text.trim().strip_prefix(PRIVATE_PREFIX)?).ok()?);
            let mut seed = Zeroizing::new([0; 32]);
            (bytes.len() == seed.len()).then(|| seed.copy_from_slice(&bytes))?;
            Some(Self(seed))
        };
        read().ok_or_else(|| {
            Refusal::new(
                Reason::BadKey,
                format!("This is no private usage key: `{PRIVATE_PREFIX}` and 32 bytes in base64"),
            )
        })
    }
}

impl fmt::Debug for UsagePrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UsagePrivateKey({})", self.public().id())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7748, section 6.1: Alice's pair.
    #[test]
    fn the_public_half_is_that_of_rfc_7748() {
        let bytes = |text: &str| <[u8; 32]>::try_from(crate::digest::unhex(text).unwrap()).unwrap();
        let private = bytes("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a");
        let public = bytes("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a");
        assert_eq!(UsagePrivateKey::from_seed(Zeroizing::new(private)).public().as_bytes(), &public);
    }

    #[test]
    fn keys_of_small_order_or_with_two_spellings_are_refused() {
        let order_8 = [
            "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
            "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        ];
        let mut points: Vec<[u8; 32]> =
            order_8.iter().map(|text| crate::digest::unhex(text).unwrap().try_into().unwrap()).collect();
        for low in [0, 1] {
            let mut point = [0; 32];
            point[0] = low;
            points.push(point);
        }
        for low in [0xec, 0xed, 0xee] {
            let mut point = P;
            point[0] = low;
            points.push(point);
        }
        for point in points {
            for top in [0, 0x80] {
                let mut signed = point;
                signed[31] |= top;
                assert_eq!(UsagePublicKey::new(signed).unwrap_err().reason(), "small-order-key", "{signed:02x?}");
            }
        }
        let mut high = *UsagePrivateKey::from_seed(Zeroizing::new([7; 32])).public().as_bytes();
        high[31] |= 0x80;
        assert_eq!(UsagePublicKey::new(high).unwrap_err().reason(), "bad-key");
        let mut beyond = P;
        beyond[0] = 0xef;
        assert_eq!(UsagePublicKey::new(beyond).unwrap_err().reason(), "bad-key");
    }

    #[test]
    fn written_keys_are_read_again() {
        let key = UsagePrivateKey::generate().unwrap();
        assert_eq!(key.public().to_string().parse::<UsagePublicKey>().unwrap(), key.public());
        let text = format!("{}\n", *key.to_text());
        assert_eq!(UsagePrivateKey::from_text(&text).unwrap().public(), key.public());
        assert!(!format!("{key:?}").contains(key.to_text().strip_prefix(PRIVATE_PREFIX).unwrap()));
        for bad in ["", "leasehold-usage-private-key-1:", "leasehold-usage-private-key-1:AAAA", &text[1..]] {
            assert_eq!(UsagePrivateKey::from_text(bad).unwrap_err().reason(), "bad-key");
        }
    }
}
