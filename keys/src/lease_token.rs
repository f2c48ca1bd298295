//! Lease tokens: a lease in a form that can be shown elsewhere, signed by the installation that granted it, and the check
//! that a licensor's root stands behind its keys (03, Signed leases). A token proves origin, not counts: how many seats
//! are taken is known to the server alone.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use crate::{
    activation::{Activation, LicenseId},
    host::{Factor, FactorState, HostFacts, HostVerdicts},
    installation::{InstallationKey, InstallationPublicKey},
    name::{KeyName, Label},
    refusal::Refusal,
    time::WallTime,
    trust::{Trust, Verified},
};

/// What the installation signs a token for.
const PURPOSE: &str = "lease-token";
/// What every token begins with; the last byte is the version.
const MAGIC: &[u8; 8] = b"I3LEASE\x01";
/// Bytes of the signature at its end.
const SIGNATURE_BYTES: usize = 64;
/// The most bytes of a token.
pub const TOKEN_MAX_BYTES: usize = 64 * 1_024;
/// The most licenses that a token names.
pub const LICENSES_MAX: usize = 64;
/// The most keys that a token names.
pub const KEYS_MAX: usize = 256;
/// The most bytes of a holder's name.
pub const HOLDER_MAX_BYTES: usize = 1_024;

/// What a lease is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// A user, perhaps at a station.
    User {
        /// The user's name.
        user: Label,
        /// The station's name.
        station: Option<Label>,
    },
    /// A station by itself.
    Station(Label),
    /// Units for the application server.
    Units,
}

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseToken {
    /// The installation that granted the lease and signed the token.
    pub installation: InstallationPublicKey,
    /// The lease's number, which is its fencing number.
    pub fencing: u64,
    /// When the token was made, by the server's trusted time: the lease was live then.
    pub issued: WallTime,
    /// How long the lease stands without a renewal, in milliseconds.
    pub ttl_ms: u64,
    /// What it is for.
    pub subject: Subject,
    /// The application that it serves.
    pub application: Label,
    /// Whose it is: an identity as the server knows it, such as `name:acd-server-2`. At most [`HOLDER_MAX_BYTES`].
    pub holder: String,
    /// The licenses that grant its keys, at most [`LICENSES_MAX`].
    pub licenses: BTreeSet<LicenseId>,
    /// The keys that it holds, each with the units that the lease itself takes; at most [`KEYS_MAX`].
    pub keys: BTreeMap<KeyName, u32>,
}

/// Why a token, or what is said to stand behind it, is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenFault {
    /// It is no token, it was cut, or it is of a later version.
    #[error("this is not a lease token: {0}")]
    Malformed(&'static str),
    /// The signature does not fit: it was changed.
    #[error("the signature does not fit the token: it was changed, or it is forged")]
    BadSignature,
    /// It is of another installation than the one that is asked.
    #[error("the token was signed by another installation")]
    AnotherInstallation,
    /// An activation file is not the licensor's.
    #[error("an activation file that was to stand behind the token does not count: {0}")]
    File(Refusal),
    /// There is no activation file for a license that it names.
    #[error("the token rests on license {0}, of which no activation file was shown")]
    LicenseMissing(LicenseId),
    /// No file grants a key.
    #[error("the token names the key {0}, which none of its activation files grants")]
    KeyNotGranted(KeyName),
    /// A file is for another installation.
    #[error("the activation file of license {0} is for another installation than the one that signed the token")]
    NotItsInstallation(LicenseId),
    /// A file had not begun, or had ended, when the token was made.
    #[error("the activation file of license {0} was not in force when the token was made")]
    NotInForce(LicenseId),
}

/// What stands behind a token.
#[derive(Clone, Debug)]
pub struct Vouched {
    /// The activation files that grant its keys, one for each license.
    pub files: Vec<Verified<Activation>>,
    /// True where each of them that names hosts names this installation. False where one has no host, or its host line
    /// does not record the installation: then any installation may have the file. False also for a lease without keys.
    pub is_bound: bool,
}

impl LeaseToken {
    /// When the lease ends without a renewal that the token does not know of.
    pub fn expires(&self) -> WallTime {
        self.issued.plus_ms(i64::try_from(self.ttl_ms).unwrap_or(i64::MAX))
    }

    fn payload(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend(self.installation.as_bytes());
        out.extend(self.fencing.to_be_bytes());
        out.extend(self.issued.as_ms().to_be_bytes());
        out.extend(self.ttl_ms.to_be_bytes());
        let (kind, first, second) = match &self.subject {
            Subject::User { user, station } => (1, user.as_str(), station.as_ref().map_or("", Label::as_str)),
            Subject::Station(station) => (2, station.as_str(), ""),
            Subject::Units => (3, "", ""),
        };
        out.push(kind);
        for text in [first, second, self.application.as_str(), &self.holder] {
            put_text(&mut out, text);
        }
        put_count(&mut out, self.licenses.len());
        for license in &self.licenses {
            out.extend(license.0.as_bytes());
        }
        put_count(&mut out, self.keys.len());
        for (key, units) in &self.keys {
            put_text(&mut out, key.as_str());
            out.extend(units.to_be_bytes());
        }
        out
    }

    /// The token: what it says, and the installation's signature.
    ///
    /// # Errors
    /// [`TokenFault::AnotherInstallation`] where it names another than the key's; [`TokenFault::Malformed`] beyond a bound.
    pub fn sign(&self, key: &InstallationKey) -> Result<Vec<u8>, TokenFault> {
        if self.installation != key.public() {
            return Err(TokenFault::AnotherInstallation);
        }
        let mut bytes = self.payload();
        let signature = key.sign(PURPOSE, &[&bytes]);
        bytes.extend(signature);
        // Whatever cannot be read again is not given out.
        Self::verify(&bytes).map(|_| bytes)
    }

    /// Reads a token and verifies that the installation that it names signed it. Who that is, the token itself does not
    /// prove: see [`Self::vouched`].
    ///
    /// # Errors
    /// [`TokenFault::Malformed`], [`TokenFault::BadSignature`].
    pub fn verify(bytes: &[u8]) -> Result<Self, TokenFault> {
        if bytes.len() > TOKEN_MAX_BYTES {
            return Err(TokenFault::Malformed("it is too long"));
        }
        let (payload, signature) = bytes
            .len()
            .checked_sub(SIGNATURE_BYTES)
            .and_then(|at| bytes.split_at_checked(at))
            .ok_or(TokenFault::Malformed("it is too short"))?;
        let key = payload
            .strip_prefix(MAGIC)
            .ok_or(TokenFault::Malformed("it does not begin as one, or is of a later version"))?
            .first_chunk()
            .ok_or(TokenFault::Malformed("it is too short"))?;
        let key =
            InstallationPublicKey::new(*key).map_err(|_| TokenFault::Malformed("its installation key is none"))?;
        if !key.verifies(PURPOSE, &[payload], signature) {
            return Err(TokenFault::BadSignature);
        }
        Self::read_unverified(payload).ok_or(TokenFault::Malformed("what it says is not laid out as it should be"))
    }

    /// Reads what a token says, its bytes but for the signature. It proves nothing: see [`Self::verify`].
    pub fn read_unverified(payload: &[u8]) -> Option<Self> {
        let mut from = Reader(payload.get(MAGIC.len()..)?);
        let installation = InstallationPublicKey::new(from.array()?).ok()?;
        let fencing = u64::from_be_bytes(from.array()?);
        let issued = WallTime::from_ms(i64::from_be_bytes(from.array()?));
        let ttl_ms = u64::from_be_bytes(from.array()?);
        let [kind] = from.array()?;
        let (first, second) = (from.text()?, from.text()?);
        let application = from.text()?.parse().ok()?;
        let holder = from.text()?.to_owned();
        let subject = match (kind, first, second) {
            (1, user, "") => Subject::User { user: user.parse().ok()?, station: None },
            (1, user, station) => Subject::User { user: user.parse().ok()?, station: Some(station.parse().ok()?) },
            (2, station, "") => Subject::Station(station.parse().ok()?),
            (3, "", "") => Subject::Units,
            _ => return None,
        };
        let mut licenses = BTreeSet::new();
        for _ in 0..from.count(LICENSES_MAX)? {
            ascending(licenses.last(), LicenseId(Uuid::from_bytes(from.array()?))).map(|id| licenses.insert(id))?;
        }
        let mut keys = BTreeMap::new();
        for _ in 0..from.count(KEYS_MAX)? {
            let key = ascending(keys.last_key_value().map(|(key, _)| key), from.text()?.parse().ok()?)?;
            keys.insert(key, u32::from_be_bytes(from.array()?));
        }
        let plain = !holder.is_empty() && holder.len() <= HOLDER_MAX_BYTES && !holder.chars().any(char::is_control);
        (plain && from.0.is_empty()).then_some(Self {
            installation,
            fencing,
            issued,
            ttl_ms,
            subject,
            application,
            holder,
            licenses,
            keys,
        })
    }

    /// Proves that a licensor stands behind the token's keys: of each license that it names there is a file among
    /// `notes` that the licensor signed, that was in force, that is for this installation where it names hosts, and
    /// together they grant every key. Of several files of one license the highest sequence counts; others are not looked at.
    ///
    /// `now` is for revocations. A comparison with a host line takes some hundredths of a second, and none where
    /// `verdicts` knows it.
    ///
    /// # Errors
    /// See [`TokenFault`].
    pub fn vouched<B: AsRef<[u8]>>(
        &self,
        trust: &Trust,
        notes: &[B],
        now: WallTime,
        verdicts: &mut HostVerdicts,
    ) -> Result<Vouched, TokenFault> {
        let mut files: BTreeMap<LicenseId, Verified<Activation>> = BTreeMap::new();
        let mut refused = None;
        for note in notes {
            match trust.accepted_before(note.as_ref(), now) {
                Ok(file) if self.licenses.contains(&file.license_id) => {
                    let newest = files.get(&file.license_id).is_none_or(|held| held.sequence < file.sequence);
                    if newest {
                        files.insert(file.license_id, file);
                    }
                }
                Ok(_) => {}
                Err(refusal) => refused = Some(refusal),
            }
        }
        let mut is_bound = true;
        for license in &self.licenses {
            let Some(file) = files.get(license) else {
                return Err(refused.map_or(TokenFault::LicenseMissing(*license), TokenFault::File));
            };
            if !(file.not_before..file.not_after).contains(&self.issued) {
                return Err(TokenFault::NotInForce(*license));
            }
            is_bound &= self.is_for(file, verdicts)?;
        }
        let files: Vec<_> = files.into_values().collect();
        match self.keys.keys().find(|key| !is_granted(&files, key)) {
            Some(key) => Err(TokenFault::KeyNotGranted(key.clone())),
            None => Ok(Vouched { is_bound: is_bound && !files.is_empty(), files }),
        }
    }

    /// True where a host line of the file names this installation; false where none names any.
    fn is_for(&self, file: &Activation, verdicts: &mut HostVerdicts) -> Result<bool, TokenFault> {
        let facts = HostFacts::default().with_installation(&self.installation);
        let mut states = file
            .hosts
            .iter()
            .filter(|host| host.id.records(Factor::Installation))
            .map(|host| verdicts.compare(&host.id, &facts).installation);
        let all_record = file.hosts.iter().all(|host| host.id.records(Factor::Installation));
        if states.any(|state| state == FactorState::Same) {
            Ok(true)
        } else if !file.hosts.is_empty() && all_record {
            Err(TokenFault::NotItsInstallation(file.license_id))
        } else {
            Ok(false)
        }
    }
}

/// True where a file grants the key, or one that brings it along.
fn is_granted(files: &[Verified<Activation>], key: &KeyName) -> bool {
    let mut granted: BTreeSet<&KeyName> =
        files.iter().flat_map(|file| &file.grants).map(|grant| &grant.pool.key).collect();
    let mut open: Vec<&KeyName> = granted.iter().copied().collect();
    while let Some(next) = open.pop() {
        let definitions = files.iter().flat_map(|file| &file.definitions).filter(|it| it.name == *next);
        for included in definitions.flat_map(|definition| &definition.includes) {
            if granted.insert(included) {
                open.push(included);
            }
        }
    }
    granted.contains(key)
}

/// `next`, where it comes after `last`.
fn ascending<T: Ord>(last: Option<&T>, next: T) -> Option<T> {
    last.is_none_or(|last| *last < next).then_some(next)
}

fn put_count(out: &mut Vec<u8>, count: usize) {
    // Beyond the bounds it is not readable, which `sign` finds.
    out.extend(u16::try_from(count).unwrap_or(u16::MAX).to_be_bytes());
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_count(out, text.len());
    out.extend(text.as_bytes());
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn count(&mut self, most: usize) -> Option<usize> {
        let count = usize::from(u16::from_be_bytes(self.array()?));
        (count <= most).then_some(count)
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = usize::from(u16::from_be_bytes(self.array()?));
        std::str::from_utf8(self.take(length)?).ok()
    }
}
