//! The content key of a segment, sealed to each recipient by HPKE (RFC 9180): base mode, DHKEM(X25519, HKDF-SHA256),
//! HKDF-SHA256, ChaCha20-Poly1305.

use std::convert::Infallible;

use hpke::{
    Deserializable as _, OpModeR, OpModeS, Serializable as _,
    aead::ChaCha20Poly1305,
    kdf::HkdfSha256,
    kem::X25519HkdfSha256,
    rand_core::{TryCryptoRng, TryRng},
    setup_receiver, setup_sender_with_rng,
};
use zeroize::Zeroizing;

use super::{
    header::Recipient,
    key::{UsagePrivateKey, UsagePublicKey},
};
use crate::digest::Sha256;

/// The algorithms of a file, as their registries number them: HPKE's KEM, KDF and AEAD, the last for records too.
pub(super) const SUITE: [u16; 3] = [0x0020, 0x0001, 0x0003];

/// Bytes of a content key.
pub(super) const CONTENT_KEY_BYTES: usize = 32;
/// Bytes of a content key that is sealed: the key and a tag.
pub(super) const WRAPPED_BYTES: usize = 48;

/// The key that the records of one segment are sealed with. Wiped when dropped; one key serves one segment.
pub(super) struct ContentKey(pub(super) Zeroizing<[u8; CONTENT_KEY_BYTES]>);

impl ContentKey {
    /// What the header commits to, so that no two recipients get two keys.
    pub(super) fn commitment(&self) -> Sha256 {
        Sha256::of_parts(&[b"leasehold/usage-content-key/1\n", &*self.0])
    }

    /// Seals the key to `recipient`; `head` is the header up to its recipients. `random` serves this recipient in this
    /// segment and nothing else.
    pub(super) fn wrap(
        &self,
        recipient: &UsagePublicKey,
        head: &[u8],
        random: Zeroizing<[u8; 32]>,
    ) -> Option<Recipient> {
        let public = <X25519HkdfSha256 as hpke::Kem>::PublicKey::from_bytes(recipient.as_bytes()).ok()?;
        let (encapsulated, mut context) = setup_sender_with_rng::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(
            &OpModeS::Base,
            &public,
            &info(head),
            &mut Given(random),
        )
        .ok()?;
        let key = recipient.id();
        let wrapped = context.seal(&*self.0, &key.0).ok()?.try_into().ok()?;
        Some(Recipient { key, encapsulated: encapsulated.to_bytes().into(), wrapped })
    }

    /// Opens what [`Self::wrap`] made.
    pub(super) fn unwrap(recipient: &Recipient, head: &[u8], key: &UsagePrivateKey) -> Option<Self> {
        let private = <X25519HkdfSha256 as hpke::Kem>::PrivateKey::from_bytes(key.secret()).ok()?;
        let encapsulated = <X25519HkdfSha256 as hpke::Kem>::EncappedKey::from_bytes(&recipient.encapsulated).ok()?;
        let mut context = setup_receiver::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(
            &OpModeR::Base,
            &private,
            &encapsulated,
            &info(head),
        )
        .ok()?;
        let opened = Zeroizing::new(context.open(&recipient.wrapped, &recipient.key.0).ok()?);
        let mut content = Zeroizing::new([0; CONTENT_KEY_BYTES]);
        (opened.len() == content.len()).then(|| content.copy_from_slice(&opened))?;
        Some(Self(content))
    }
}

/// What HPKE binds the content key to.
fn info(head: &[u8]) -> Vec<u8> {
    [b"leasehold/usage-recipient/1\n", head].concat()
}

/// Random bytes that were drawn before, where drawing could fail. HPKE asks for the 32 bytes of one key.
struct Given(Zeroizing<[u8; 32]>);

impl TryRng for Given {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        for chunk in out.chunks_mut(32) {
            chunk.copy_from_slice(&self.0[..chunk.len()]);
            // Nothing is given twice, however much is asked for.
            *self.0 = Sha256::of_parts(&[b"leasehold/usage-random/1\n", &*self.0]).0;
        }
        Ok(())
    }
}

impl TryCryptoRng for Given {}

#[cfg(test)]
mod tests {
    use hpke::{Kem as _, aead::Aead as _, kdf::Kdf as _};

    use super::*;
    use crate::digest::unhex;

    fn bytes<const N: usize>(text: &str) -> [u8; N] {
        unhex(text).unwrap().try_into().unwrap()
    }

    /// RFC 9180, appendix A.2.1 and A.2.1.1, sequence number 0: both directions, by the calls that are used above.
    #[test]
    fn hpke_gives_the_known_answers() {
        let private: [u8; 32] = bytes("8057991eef8f1f1af18f4a9491d16a1ce333f695d4db8e38da75975c4478e0fb");
        let public: [u8; 32] = bytes("4310ee97d88cc1f088a5576c77ab0cf5c3ac797f3d95139c6c84b5429c59662a");
        let random = bytes("909a9b35d3dc4713a5e72a4da274b55d3d3821a37e5d099e74a647db583a904b");
        let encapsulated: [u8; 32] = bytes("1afa08d3dec047a643885163f1180476fa7ddb54c6a8029ea33f95796bf2ac4a");
        let sealed =
            unhex("1c5250d8034ec2b784ba2cfd69dbdb8af406cfe3ff938e131f0def8c8b60b4db21993c62ce81883d2dd1b51a28")
                .unwrap();
        let (info, aad) = (b"Ode on a Grecian Urn", b"Count-0");
        assert_eq!(UsagePrivateKey::from_seed(Zeroizing::new(private)).public().as_bytes(), &public);
        let recipient = <X25519HkdfSha256 as hpke::Kem>::PublicKey::from_bytes(&public).unwrap();
        let (made, mut sender) = setup_sender_with_rng::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(
            &OpModeS::Base,
            &recipient,
            info,
            &mut Given(Zeroizing::new(random)),
        )
        .unwrap();
        assert_eq!(<[u8; 32]>::from(made.to_bytes()), encapsulated);
        assert_eq!(sender.seal(b"Beauty is truth, truth beauty", aad).unwrap(), sealed);
        let mut receiver = setup_receiver::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(
            &OpModeR::Base,
            &<X25519HkdfSha256 as hpke::Kem>::PrivateKey::from_bytes(&private).unwrap(),
            &<X25519HkdfSha256 as hpke::Kem>::EncappedKey::from_bytes(&encapsulated).unwrap(),
            info,
        )
        .unwrap();
        assert_eq!(receiver.open(&sealed, aad).unwrap(), b"Beauty is truth, truth beauty");
        assert_eq!([X25519HkdfSha256::KEM_ID, HkdfSha256::KDF_ID, ChaCha20Poly1305::AEAD_ID], SUITE);
    }

    #[test]
    fn a_key_of_small_order_gets_nothing_sealed() {
        let key = ContentKey(Zeroizing::new([1; 32]));
        // The type refuses such keys; HPKE itself does too.
        let zero = <X25519HkdfSha256 as hpke::Kem>::PublicKey::from_bytes(&[0; 32]).unwrap();
        let made = setup_sender_with_rng::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(
            &OpModeS::Base,
            &zero,
            b"",
            &mut Given(key.0.clone()),
        );
        assert!(made.is_err());
        let owner = UsagePrivateKey::from_seed(Zeroizing::new([2; 32]));
        let mut wrapped = key.wrap(&owner.public(), b"head", Zeroizing::new([3; 32])).unwrap();
        assert_eq!(*ContentKey::unwrap(&wrapped, b"head", &owner).unwrap().0, *key.0);
        assert!(ContentKey::unwrap(&wrapped, b"dead", &owner).is_none());
        wrapped.encapsulated = [0; 32];
        assert!(ContentKey::unwrap(&wrapped, b"head", &owner).is_none());
    }
}
