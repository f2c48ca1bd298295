//! Keys of notes: Ed25519 by `ring`, ML-DSA-65 (FIPS 204) by `ml-dsa`, in the written form of C2SP verifier keys.
//! Private keys are 32-byte seeds; keeping them secret on disk is the caller's matter.

use std::{fmt, str::FromStr, sync::Arc};

use base64::Engine as _;
use ml_dsa::{
    KeyExport as _, MlDsa65,
    signature::{Keypair as _, Signer as _, Verifier as _},
};
use ring::{
    rand::{SecureRandom as _, SystemRandom},
    signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey},
};

use crate::{
    digest::Sha256,
    note::{BASE64, is_signer_name},
    refusal::{Reason, Refusal, quote},
};

/// Bytes of a private key's seed, of either algorithm.
pub const SEED_BYTES: usize = 32;

/// A signature algorithm of notes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// RFC 8032; required always.
    Ed25519,
    /// FIPS 204; required where a root's policy says so.
    MlDsa65,
}

impl Algorithm {
    /// The bytes that stand for the algorithm in key IDs and written keys.
    pub const fn type_bytes(self) -> &'static [u8] {
        match self {
            Algorithm::Ed25519 => b"\x01",
            Algorithm::MlDsa65 => b"\xffleasehold/ml-dsa-65/v1",
        }
    }

    /// Bytes of a public key.
    pub const fn key_bytes(self) -> usize {
        match self {
            Algorithm::Ed25519 => 32,
            Algorithm::MlDsa65 => 1_952,
        }
    }

    /// Bytes of a signature.
    pub const fn signature_bytes(self) -> usize {
        match self {
            Algorithm::Ed25519 => 64,
            Algorithm::MlDsa65 => 3_309,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Algorithm::Ed25519 => "Ed25519",
            Algorithm::MlDsa65 => "ML-DSA-65",
        })
    }
}

/// A named public key. Written `NAME+IDHEX+BASE64`, the base64 holding the type bytes and the key.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey {
    name: Arc<str>,
    algorithm: Algorithm,
    key: Arc<[u8]>,
}

impl PublicKey {
    /// A key from its parts.
    ///
    /// # Errors
    /// `bad-key` where the name or length is wrong or the encoding is not canonical, `small-order-key` for an Ed25519
    /// key under which anyone can sign.
    pub fn new(name: &str, algorithm: Algorithm, key: &[u8]) -> Result<Self, Refusal> {
        if !is_signer_name(name) {
            return Err(Refusal::new(Reason::BadKey, format!("{} cannot be the name of a key", quote(name))));
        }
        if key.len() != algorithm.key_bytes() {
            return Err(Refusal::new(
                Reason::BadKey,
                format!(
                    "The {algorithm} key {} has {} bytes instead of {}",
                    quote(name),
                    key.len(),
                    algorithm.key_bytes()
                ),
            ));
        }
        if algorithm == Algorithm::Ed25519 {
            if has_small_order(key) {
                return Err(Refusal::new(
                    Reason::SmallOrderKey,
                    format!("The Ed25519 key {} has a small order: anyone can sign for it", quote(name)),
                ));
            }
            if !is_canonical(key) {
                return Err(Refusal::new(Reason::BadKey, format!("The Ed25519 key {} is not canonical", quote(name))));
            }
        }
        Ok(Self { name: name.into(), algorithm, key: key.into() })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its algorithm.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The key itself, without the type bytes.
    pub fn key(&self) -> &[u8] {
        &self.key
    }

    /// The key ID: the first four bytes of SHA-256 over name, LF, type bytes, key.
    pub fn id(&self) -> u32 {
        let digest = Sha256::of_parts(&[self.name.as_bytes(), b"\n", self.algorithm.type_bytes(), &self.key]);
        let [a, b, c, d, ..] = digest.0;
        u32::from_be_bytes([a, b, c, d])
    }

    /// SHA-256 over type bytes and key: what a revocation names, and what makes two keys the same whatever their names.
    pub fn sha256(&self) -> Sha256 {
        Sha256::of_parts(&[self.algorithm.type_bytes(), &self.key])
    }

    /// True where `signature` is this key's over `message`.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match self.algorithm {
            Algorithm::Ed25519 => UnparsedPublicKey::new(&ED25519, &self.key).verify(message, signature).is_ok(),
            Algorithm::MlDsa65 => {
                let Ok(encoded) = ml_dsa::EncodedVerifyingKey::<MlDsa65>::try_from(&self.key[..]) else {
                    return false;
                };
                let Ok(signature) = ml_dsa::Signature::<MlDsa65>::try_from(signature) else {
                    return false;
                };
                ml_dsa::VerifyingKey::<MlDsa65>::decode(&encoded).verify(message, &signature).is_ok()
            }
        }
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [self.algorithm.type_bytes(), &self.key].concat();
        write!(f, "{}+{:08x}+{}", self.name, self.id(), BASE64.encode(bytes))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({}+{:08x}, {})", self.name, self.id(), self.algorithm)
    }
}

impl FromStr for PublicKey {
    type Err = Refusal;

    fn from_str(text: &str) -> Result<Self, Refusal> {
        let refuse = |why: &str| Refusal::new(Reason::BadKey, format!("{} is not a public key: {why}", quote(text)));
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(id), Some(encoded)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(refuse("it is not written NAME+ID+BASE64"));
        };
        let bytes = BASE64.decode(encoded).map_err(|_| refuse("its base64 is not canonical"))?;
        let known = [Algorithm::Ed25519, Algorithm::MlDsa65];
        let Some((algorithm, key)) =
            known.into_iter().find_map(|algorithm| Some((algorithm, bytes.strip_prefix(algorithm.type_bytes())?)))
        else {
            return Err(refuse("its algorithm is neither Ed25519 nor ML-DSA-65"));
        };
        let public = Self::new(name, algorithm, key)?;
        if format!("{:08x}", public.id()) != id {
            return Err(refuse("its key ID does not fit its name and key"));
        }
        Ok(public)
    }
}

/// A private key that signs notes.
pub struct SigningKey {
    public: PublicKey,
    secret: Secret,
}

enum Secret {
    Ed25519(Ed25519KeyPair),
    MlDsa65(Box<ml_dsa::SigningKey<MlDsa65>>),
}

impl SigningKey {
    /// The key of a seed: for Ed25519 the private key of RFC 8032, for ML-DSA-65 the seed ξ of FIPS 204.
    ///
    /// # Errors
    /// `bad-key` where the name cannot be a key's.
    pub fn from_seed(name: &str, algorithm: Algorithm, seed: &[u8; SEED_BYTES]) -> Result<Self, Refusal> {
        match algorithm {
            Algorithm::Ed25519 => {
                let pair = Ed25519KeyPair::from_seed_unchecked(seed)
                    .map_err(|_| Refusal::new(Reason::BadKey, "The seed gives no Ed25519 key"))?;
                let public = PublicKey::new(name, algorithm, pair.public_key().as_ref())?;
                Ok(Self { public, secret: Secret::Ed25519(pair) })
            }
            Algorithm::MlDsa65 => {
                let pair = ml_dsa::SigningKey::<MlDsa65>::from_seed(&(*seed).into());
                let public = PublicKey::new(name, algorithm, &pair.verifying_key().to_bytes())?;
                Ok(Self { public, secret: Secret::MlDsa65(Box::new(pair)) })
            }
        }
    }

    /// A new key, and its seed for the caller to keep.
    ///
    /// # Errors
    /// `bad-key` where the name cannot be a key's, or the system gives no random bytes.
    pub fn generate(name: &str, algorithm: Algorithm) -> Result<(Self, [u8; SEED_BYTES]), Refusal> {
        let seed = random_seed()?;
        Ok((Self::from_seed(name, algorithm, &seed)?, seed))
    }

    /// Its public half.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Signs; the same message gives the same signature.
    ///
    /// # Errors
    /// `bad-key` where the algorithm fails, which a good seed does not.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Refusal> {
        match &self.secret {
            Secret::Ed25519(pair) => Ok(pair.sign(message).as_ref().to_vec()),
            Secret::MlDsa65(pair) => match pair.try_sign(message) {
                Ok(signature) => Ok(signature.encode().to_vec()),
                Err(_) => Err(Refusal::new(Reason::BadKey, format!("{} cannot sign", quote(self.public.name())))),
            },
        }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({:?})", self.public)
    }
}

/// 32 bytes from the operating system.
pub(crate) fn random_seed() -> Result<[u8; SEED_BYTES], Refusal> {
    let mut seed = [0; SEED_BYTES];
    SystemRandom::new()
        .fill(&mut seed)
        .map_err(|_| Refusal::new(Reason::BadKey, "The operating system gives no random bytes"))?;
    Ok(seed)
}

/// The y coordinates, little-endian, of the points of order 1, 2, 4 and 8 of edwards25519, and those of them that are
/// written a second time as y + p. The sign bit of the last byte does not count.
const SMALL_ORDER_Y: [[u8; 32]; 7] = {
    let zero = [0; 32];
    let mut one = [0; 32];
    one[0] = 1;
    let mut minus_one = [0xff; 32];
    minus_one[0] = 0xec;
    minus_one[31] = 0x7f;
    let mut p = minus_one;
    p[0] = 0xed;
    let mut p_plus_one = minus_one;
    p_plus_one[0] = 0xee;
    [zero, one, minus_one, p, p_plus_one, ORDER_8_A, ORDER_8_B]
};

const ORDER_8_A: [u8; 32] = [
    0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5, 0xdf, 0xac,
    0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
];
const ORDER_8_B: [u8; 32] = [
    0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a, 0x20, 0x53,
    0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
];

/// True for every encoding of a point of small order: `ring` verifies forged signatures under such keys.
fn has_small_order(key: &[u8]) -> bool {
    let mut y = [0; 32];
    y.copy_from_slice(key);
    y[31] &= 0x7f;
    SMALL_ORDER_Y.contains(&y)
}

/// True where y lies below p = 2^255 - 19.
fn is_canonical(key: &[u8]) -> bool {
    let top = key[31] & 0x7f == 0x7f && key[1..31].iter().all(|byte| *byte == 0xff);
    !(top && key[0] >= 0xed)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every encoding of a point of small order, with either sign bit.
    fn small_order() -> impl Iterator<Item = [u8; 32]> {
        SMALL_ORDER_Y.into_iter().flat_map(|y| {
            let mut signed = y;
            signed[31] |= 0x80;
            [y, signed]
        })
    }

    #[test]
    fn keys_of_small_order_are_refused() {
        for point in small_order() {
            let refusal = PublicKey::new("a", Algorithm::Ed25519, &point).unwrap_err();
            assert_eq!(refusal.reason(), "small-order-key", "{point:02x?}");
        }
    }

    /// The reason for the list: with R and S that anyone can write, ring verifies under such keys.
    #[test]
    fn ring_verifies_forgeries_under_keys_of_small_order() {
        let forged = |point: &[u8; 32]| {
            (0..64_u8).any(|message| {
                small_order().any(|r| {
                    let signature = [r, [0; 32]].concat();
                    UnparsedPublicKey::new(&ED25519, point).verify(&[message], &signature).is_ok()
                })
            })
        };
        let forgeable = small_order().filter(forged).count();
        assert!(forgeable >= 8, "{forgeable}");
    }

    #[test]
    fn a_written_key_is_read_again_and_no_other_spelling_is() {
        for algorithm in [Algorithm::Ed25519, Algorithm::MlDsa65] {
            let key = SigningKey::from_seed("acme.example/a", algorithm, &[7; 32]).unwrap();
            let written = key.public().to_string();
            assert_eq!(&written.parse::<PublicKey>().unwrap(), key.public());
            let (name, rest) = written.split_once('+').unwrap();
            let (id, encoded) = rest.split_once('+').unwrap();
            for wrong in [
                format!("acme.example/b+{id}+{encoded}"),
                format!("{name}+{}+{encoded}", id.to_uppercase()),
                format!("{name}+00000000+{encoded}"),
                format!("{name}+{id}+{}", encoded.trim_end_matches('=').to_owned() + "*"),
                format!("{name}+{id}+"),
                format!("{name}+{id}"),
                format!("+{id}+{encoded}"),
                format!("{written} "),
            ] {
                assert_eq!(wrong.parse::<PublicKey>().unwrap_err().reason(), "bad-key", "{wrong}");
            }
        }
    }

    /// The public key of Go's checksum database, which is a C2SP verifier key that others made.
    #[test]
    fn a_verifier_key_of_another_implementation_is_read() {
        let written = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8";
        let key: PublicKey = written.parse().unwrap();
        assert_eq!((key.name(), key.algorithm(), key.id()), ("sum.golang.org", Algorithm::Ed25519, 0x033d_e0ae));
        assert_eq!(key.to_string(), written);
    }

    #[test]
    fn signatures_verify_over_their_message_alone() {
        for algorithm in [Algorithm::Ed25519, Algorithm::MlDsa65] {
            let key = SigningKey::from_seed("a", algorithm, &[1; 32]).unwrap();
            let signature = key.sign(b"text").unwrap();
            assert_eq!(signature.len(), algorithm.signature_bytes());
            assert_eq!(signature, key.sign(b"text").unwrap());
            assert!(key.public().verifies(b"text", &signature));
            assert!(!key.public().verifies(b"test", &signature));
            assert!(!key.public().verifies(b"text", &signature[1..]));
        }
    }
}
