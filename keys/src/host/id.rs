//! The host ID of version `h1` as a value and as text, and its comparison with the facts of a machine.

use std::{fmt, str::FromStr};

use argon2::{Algorithm, Argon2, Params, Version};
use serde::{Deserialize, Serialize};

use super::{Factor, HostFacts, prefixed};
use crate::digest::Sha256;

/// The most network addresses of a host ID.
pub const NETWORK_MAX: usize = 8;

/// Memory of one hash, in KiB.
const ARGON2_MEMORY_KIB: u32 = 19 * 1_024;
/// Passes over it.
const ARGON2_PASSES: u32 = 4;
/// Lanes; one, so that every machine takes the same time.
const ARGON2_LANES: u32 = 1;

const SALT_BYTES: usize = 16;
const VALUE_BYTES: usize = 10;
const CHECK_BYTES: usize = 4;
const VERSION: &str = "h1";
/// Characters between two hyphens.
const GROUP: usize = 5;
/// Crockford's base32: no I, L, O or U, which hands and eyes confuse with 1, 0 and V.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

type Value = [u8; VALUE_BYTES];

/// A machine's identity, as `leasehold host-id` prints it: `h1-` and groups of five characters.
///
/// Reading takes any letter case, blanks and hyphens anywhere, `O` for 0, `I` and `L` for 1.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostId {
    salt: [u8; SALT_BYTES],
    /// Platform, system, disk, installation; none where the fact was missing.
    single: [Option<Value>; 4],
    /// At most [`NETWORK_MAX`], sorted, each once.
    network: Vec<Value>,
}

/// Why a text is no host ID.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadHostId {
    /// It does not begin with `h1`.
    #[error("it does not begin with h1, the only version of host IDs that is known")]
    Version,
    /// A character that none has.
    #[error("it holds the character {0:?}, which no host ID has")]
    Character(char),
    /// Too short, too long, or not as a host ID is laid out.
    #[error("it is not complete, or holds more than a host ID")]
    Layout,
    /// The checksum does not fit: something was copied wrongly.
    #[error("its checksum does not fit: one or more characters were copied wrongly")]
    Checksum,
}

impl HostId {
    /// The ID of a machine with these facts. Takes one Argon2id hash for each fact and network address.
    pub fn new(facts: &HostFacts, salt: [u8; SALT_BYTES]) -> Self {
        let facts = facts.normal();
        let hashes = |factor: Factor| facts.values(factor).iter().map(move |value| hash(&salt, factor, value));
        let single =
            [Factor::Platform, Factor::System, Factor::Disk, Factor::Installation].map(|factor| hashes(factor).next());
        let mut network: Vec<Value> = hashes(Factor::Network).collect();
        network.sort();
        network.dedup();
        Self { salt, single, network }
    }

    /// What has stayed the same on a machine with these facts. Takes one Argon2id hash for each fact and network
    /// address of the machine: see [`super::HostVerdicts`] for not doing so at each start.
    pub fn compare(&self, facts: &HostFacts) -> Comparison {
        let facts = facts.normal();
        let state = |factor: Factor| {
            let recorded = self.recorded(factor);
            let values = facts.values(factor);
            if recorded.is_empty() || values.is_empty() {
                FactorState::Missing
            } else if values.iter().any(|value| recorded.contains(&hash(&self.salt, factor, value))) {
                FactorState::Same
            } else {
                FactorState::Changed
            }
        };
        Comparison {
            platform: state(Factor::Platform),
            system: state(Factor::System),
            disk: state(Factor::Disk),
            installation: state(Factor::Installation),
            network: state(Factor::Network),
        }
    }

    /// The salt of this ID.
    pub fn salt(&self) -> &[u8; SALT_BYTES] {
        &self.salt
    }

    /// True where the fact was there when the ID was made.
    pub fn records(&self, factor: Factor) -> bool {
        !self.recorded(factor).is_empty()
    }

    /// The factors that another ID with the same salt has otherwise; `None` where the salts differ, which tells nothing. What
    /// one of them lacks, and network addresses of which one is shared, are no difference.
    pub fn differs_in(&self, other: &HostId) -> Option<Vec<Factor>> {
        let differs = |factor: &Factor| {
            let (one, two) = (self.recorded(*factor), other.recorded(*factor));
            !one.is_empty() && !two.is_empty() && !one.iter().any(|value| two.contains(value))
        };
        (self.salt == other.salt).then(|| Factor::ALL.into_iter().filter(differs).collect())
    }

    fn recorded(&self, factor: Factor) -> &[Value] {
        match factor {
            Factor::Platform => self.single[0].as_slice(),
            Factor::System => self.single[1].as_slice(),
            Factor::Disk => self.single[2].as_slice(),
            Factor::Installation => self.single[3].as_slice(),
            Factor::Network => &self.network,
        }
    }

    /// Presence byte, salt, values: everything but the checksum.
    fn body(&self) -> Vec<u8> {
        let mut present = u8::try_from(self.network.len()).unwrap_or(u8::MAX) << 4;
        for (bit, value) in self.single.iter().enumerate() {
            present |= u8::from(value.is_some()) << bit;
        }
        let mut body = vec![present];
        body.extend(self.salt);
        for value in self.single.iter().flatten().chain(&self.network) {
            body.extend(value);
        }
        body
    }
}

/// One factor's hash: Argon2id over the length-prefixed name and value, cut to 80 bits.
fn hash(salt: &[u8; SALT_BYTES], factor: Factor, value: &str) -> Value {
    let mut input = Vec::new();
    prefixed(&mut input, factor.name().as_bytes());
    prefixed(&mut input, value.as_bytes());
    let params = Params::new(ARGON2_MEMORY_KIB, ARGON2_PASSES, ARGON2_LANES, Some(32)).unwrap_or_default();
    let mut full = [0; 32];
    // Fails for lengths out of range only, and these are constants or come from a bounded file.
    let hashed = Argon2::new(Algorithm::Argon2id, Version::V0x13, params).hash_password_into(&input, salt, &mut full);
    debug_assert!(hashed.is_ok());
    let mut value = [0; VALUE_BYTES];
    value.copy_from_slice(&full[..VALUE_BYTES]);
    value
}

/// The first four bytes of SHA-256 over a stated purpose and the body.
fn checksum(body: &[u8]) -> [u8; CHECK_BYTES] {
    let [a, b, c, d, ..] = Sha256::of_parts(&[b"leasehold/host-id/h1\n", body]).0;
    [a, b, c, d]
}

impl fmt::Display for HostId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = self.body();
        bytes.extend(checksum(&bytes));
        f.write_str(VERSION)?;
        for (index, character) in encode(&bytes).into_iter().enumerate() {
            if index % GROUP == 0 {
                f.write_str("-")?;
            }
            write!(f, "{character}")?;
        }
        Ok(())
    }
}

impl FromStr for HostId {
    type Err = BadHostId;

    fn from_str(text: &str) -> Result<Self, BadHostId> {
        let mut characters = text.chars().filter(|c| !c.is_whitespace() && *c != '-');
        let version = [characters.next(), characters.next()];
        if !matches!(version, [Some('h' | 'H'), Some('1' | 'l' | 'I' | 'i' | 'L')]) {
            return Err(BadHostId::Version);
        }
        let bytes = decode(characters)?;
        let (body, check) = bytes.split_last_chunk::<CHECK_BYTES>().ok_or(BadHostId::Layout)?;
        if checksum(body) != *check {
            return Err(BadHostId::Checksum);
        }
        let (present, rest) = body.split_first().ok_or(BadHostId::Layout)?;
        let (salt, values) = rest.split_first_chunk::<SALT_BYTES>().ok_or(BadHostId::Layout)?;
        let (values, []) = values.as_chunks::<VALUE_BYTES>() else {
            return Err(BadHostId::Layout);
        };
        let mut values = values.iter().copied();
        let mut single = [None; 4];
        for (bit, slot) in single.iter_mut().enumerate() {
            if present >> bit & 1 == 1 {
                *slot = Some(values.next().ok_or(BadHostId::Layout)?);
            }
        }
        let network: Vec<Value> = values.collect();
        let sorted = network.is_sorted_by(|a, b| a < b);
        if network.len() != usize::from(present >> 4) || network.len() > NETWORK_MAX || !sorted {
            return Err(BadHostId::Layout);
        }
        Ok(Self { salt: *salt, single, network })
    }
}

/// Five bits to a character, the highest first; spare bits at the end are zero.
fn encode(bytes: &[u8]) -> Vec<char> {
    let bits = |index: usize| -> u8 {
        (0..5).fold(0, |value, offset| {
            let at = index * 5 + offset;
            let bit = bytes.get(at / 8).map_or(0, |byte| byte >> (7 - at % 8) & 1);
            value << 1 | bit
        })
    };
    (0..(bytes.len() * 8).div_ceil(5)).map(|index| char::from(ALPHABET[usize::from(bits(index))])).collect()
}

fn decode(characters: impl Iterator<Item = char>) -> Result<Vec<u8>, BadHostId> {
    // 16 + 1 + 12 * 10 + 4 bytes at most; anything longer is refused before it takes memory.
    const CHARACTERS_MAX: usize = 240;
    let mut bytes = Vec::new();
    let (mut held, mut held_bits) = (0_u32, 0);
    for (index, character) in characters.enumerate() {
        if index >= CHARACTERS_MAX {
            return Err(BadHostId::Layout);
        }
        let read = match character.to_ascii_uppercase() {
            'O' => '0',
            'I' | 'L' => '1',
            other => other,
        };
        let digit =
            ALPHABET.iter().position(|known| char::from(*known) == read).ok_or(BadHostId::Character(character))?;
        held = held << 5 | u32::try_from(digit).unwrap_or(0);
        held_bits += 5;
        if held_bits >= 8 {
            held_bits -= 8;
            bytes.push(u8::try_from(held >> held_bits & 0xff).unwrap_or(0));
            held &= (1 << held_bits) - 1;
        }
    }
    // A whole character that carries nothing, or spare bits that are set, would be a second spelling.
    if held_bits >= 5 || held != 0 { Err(BadHostId::Layout) } else { Ok(bytes) }
}

impl TryFrom<String> for HostId {
    type Error = BadHostId;

    fn try_from(text: String) -> Result<Self, BadHostId> {
        text.parse()
    }
}

impl From<HostId> for String {
    fn from(id: HostId) -> Self {
        id.to_string()
    }
}

/// What became of one factor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FactorState {
    /// As recorded.
    Same,
    /// Another than recorded.
    Changed,
    /// Not there now, or not there when the ID was made.
    Missing,
}

impl fmt::Display for FactorState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FactorState::Same => "same",
            FactorState::Changed => "changed",
            FactorState::Missing => "missing",
        })
    }
}

/// A host ID beside the facts of a machine. Displayed, it lists each factor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Comparison {
    /// The SMBIOS UUID.
    pub platform: FactorState,
    /// The machine ID.
    pub system: FactorState,
    /// The system disk.
    pub disk: FactorState,
    /// The installation's key.
    pub installation: FactorState,
    /// The network addresses.
    pub network: FactorState,
}

impl Comparison {
    /// Each factor with its state, in order.
    pub fn states(&self) -> [(Factor, FactorState); 5] {
        [
            (Factor::Platform, self.platform),
            (Factor::System, self.system),
            (Factor::Disk, self.disk),
            (Factor::Installation, self.installation),
            (Factor::Network, self.network),
        ]
    }

    /// How many factors are the same.
    pub fn same(&self) -> u8 {
        self.states().iter().map(|(_, state)| u8::from(*state == FactorState::Same)).sum()
    }

    /// True where at least `need` factors are the same, and platform or network is among them: system, disk and
    /// installation all travel in a copied image.
    pub fn matches(&self, need: u8) -> bool {
        self.same() >= need.max(1) && [self.platform, self.network].contains(&FactorState::Same)
    }

    /// True where it matches and one or two factors do not: time to ask for a file with a new baseline.
    pub fn offers_rebaseline(&self, need: u8) -> bool {
        self.matches(need) && (3..5).contains(&self.same())
    }

    /// One sentence for an administrator on why the file is not for this host, with what to do.
    pub fn refusal_message(&self, need: u8) -> String {
        let why = if self.same() >= need.max(1) {
            "neither platform nor network is the same, and all else travels in a copied image".to_owned()
        } else {
            format!("{} of 5 factors are the same and {need} are needed", self.same())
        };
        format!(
            "The file is not for this host: {why} ({self}). If this is the right server and its hardware was changed, run `leasehold \
             request` here and send the licensor the new host request."
        )
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (factor, state)) in self.states().into_iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{factor} {state}")?;
        }
        Ok(())
    }
}
