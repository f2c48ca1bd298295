//! Pseudonyms of users (USAGE-8): the same user has the same one wherever the key is, so that distinct counts stay
//! exact; only who holds the key can tell whose it is, by trying the names that they know.

use std::{fmt, str::FromStr};

use base64::Engine as _;
use ring::hmac;
use zeroize::Zeroizing;

use crate::{
    digest::{Sha256, hex, unhex},
    key::random_seed,
    name::Label,
    note::BASE64,
    refusal::Refusal,
};

/// What stands for a user's name: written `~` and 32 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pseudonym(pub [u8; 16]);

impl fmt::Display for Pseudonym {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "~{}", hex(&self.0))
    }
}

/// Why a text is no pseudonym.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is not ~ and 32 digits 0-9 a-f")]
pub struct NotAPseudonym;

impl FromStr for Pseudonym {
    type Err = NotAPseudonym;

    fn from_str(text: &str) -> Result<Self, NotAPseudonym> {
        let bytes = text.strip_prefix('~').and_then(unhex).and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or(NotAPseudonym)
    }
}

/// The public name of a pseudonym key: files that name the same one use the same pseudonyms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PseudonymKeyId(pub [u8; 8]);

impl fmt::Display for PseudonymKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

/// The secret that pseudonyms are made with: one per license, moved to a new server as text. Wiped when dropped.
pub struct PseudonymKey(Zeroizing<[u8; 32]>);

/// What the written form begins with.
const PREFIX: &str = "leasehold-pseudonym-key-1:";
/// Bytes of the checksum in the written form.
const CHECK_BYTES: usize = 4;

/// Why a text is no pseudonym key. It says nothing of the text, which may be secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAPseudonymKey {
    /// Another beginning, length or alphabet.
    #[error("it is not `{PREFIX}` and 48 characters of base64")]
    Shape,
    /// A slip of the pen.
    #[error("a character of it is wrong: its checksum does not fit")]
    Checksum,
}

impl PseudonymKey {
    /// The key of 32 random bytes.
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

    /// What stands for `user`.
    pub fn pseudonym(&self, user: &Label) -> Pseudonym {
        Pseudonym(self.mac(b"leasehold/usage-pseudonym/1\n", user.as_str().as_bytes()))
    }

    /// Its public name.
    pub fn id(&self) -> PseudonymKeyId {
        PseudonymKeyId(self.mac(b"leasehold/usage-pseudonym-key-id/1\n", b""))
    }

    /// The written form, for a file that only its owner reads and for moving: one line without its LF.
    pub fn to_text(&self) -> Zeroizing<String> {
        let mut bytes = Zeroizing::new(self.0.to_vec());
        bytes.extend(checksum(&self.0));
        let encoded = Zeroizing::new(BASE64.encode(&*bytes));
        Zeroizing::new([PREFIX, &encoded].concat())
    }

    /// Reads the written form; white space around it is no matter.
    ///
    /// # Errors
    /// What is wrong, without the text.
    pub fn from_text(text: &str) -> Result<Self, NotAPseudonymKey> {
        let encoded = text.trim().strip_prefix(PREFIX).ok_or(NotAPseudonymKey::Shape)?;
        let bytes = Zeroizing::new(BASE64.decode(encoded).map_err(|_| NotAPseudonymKey::Shape)?);
        let (seed, check) = bytes.split_last_chunk::<CHECK_BYTES>().ok_or(NotAPseudonymKey::Shape)?;
        let mut key = Zeroizing::new([0; 32]);
        if seed.len() != key.len() {
            return Err(NotAPseudonymKey::Shape);
        }
        key.copy_from_slice(seed);
        if checksum(&key) == *check { Ok(Self(key)) } else { Err(NotAPseudonymKey::Checksum) }
    }

    /// HMAC-SHA-256 over a stated purpose and `message`, cut to `N` bytes.
    fn mac<const N: usize>(&self, purpose: &[u8], message: &[u8]) -> [u8; N] {
        let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, &*self.0));
        context.update(purpose);
        context.update(message);
        let mut cut = [0; N];
        cut.copy_from_slice(&context.sign().as_ref()[..N]);
        cut
    }
}

impl fmt::Debug for PseudonymKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PseudonymKey({})", self.id())
    }
}

/// The first four bytes of SHA-256 over a stated purpose and the key.
fn checksum(key: &[u8; 32]) -> [u8; CHECK_BYTES] {
    let [a, b, c, d, ..] = Sha256::of_parts(&[b"leasehold/pseudonym-key/1\n", key]).0;
    [a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> PseudonymKey {
        PseudonymKey::from_seed(Zeroizing::new([byte; 32]))
    }

    #[test]
    fn a_user_has_one_pseudonym_under_a_key_and_another_under_another() {
        let (tina, sam): (Label, Label) = ("tina".parse().unwrap(), "sam".parse().unwrap());
        assert_eq!(key(1).pseudonym(&tina), key(1).pseudonym(&tina));
        assert_ne!(key(1).pseudonym(&tina), key(1).pseudonym(&sam));
        assert_ne!(key(1).pseudonym(&tina), key(2).pseudonym(&tina));
        assert_ne!(key(1).id(), key(2).id());
        let written = key(1).pseudonym(&tina).to_string();
        assert_eq!(written.parse(), Ok(key(1).pseudonym(&tina)));
        assert_eq!(written[1..].parse::<Pseudonym>(), Err(NotAPseudonym));
    }

    #[test]
    fn a_written_key_is_read_again_and_slips_are_noticed() {
        let text = key(3).to_text();
        assert_eq!(PseudonymKey::from_text(&format!(" {}\n", *text)).unwrap().id(), key(3).id());
        assert_eq!(PseudonymKey::from_text("").unwrap_err(), NotAPseudonymKey::Shape);
        assert_eq!(PseudonymKey::from_text(&text[..text.len() - 4]).unwrap_err(), NotAPseudonymKey::Shape);
        let mut slips = 0;
        for at in PREFIX.len()..text.len() {
            let mut slip = text.to_string();
            let other = if slip.as_bytes()[at] == b'A' { "B" } else { "A" };
            slip.replace_range(at..=at, other);
            assert_eq!(PseudonymKey::from_text(&slip).unwrap_err(), NotAPseudonymKey::Checksum);
            slips += 1;
        }
        assert_eq!(slips, 48);
    }
}
