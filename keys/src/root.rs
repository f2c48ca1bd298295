//! The trust root: the licensor's keys, what each may sign and until when, and how many signatures each kind of note
//! needs (02, Trust). Whether a root may be believed is [`crate::trust`]'s matter.

use std::{collections::BTreeSet, fmt};

use base64::Engine as _;

use crate::{
    digest::Sha256,
    key::{Algorithm, PublicKey},
    note::{BASE64, NoteKind},
    refusal::{Reason, Refusal},
    render::Text,
    strict::{Table, Value, read_document},
    time::WallTime,
    usage::UsagePublicKey,
};

/// What a key other than a root key may sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyRole {
    /// Activation files.
    Issuing,
    /// Answers to check-ins.
    CheckIn,
    /// Receipts for usage files.
    Receipt,
}

impl KeyRole {
    const NAMES: [(&'static str, KeyRole); 3] =
        [("issuing", KeyRole::Issuing), ("check-in", KeyRole::CheckIn), ("receipt", KeyRole::Receipt)];

    /// A key of the role, with its article.
    pub(crate) const fn a_key(self) -> &'static str {
        match self {
            KeyRole::Issuing => "an issuing key",
            KeyRole::CheckIn => "a check-in key",
            KeyRole::Receipt => "a receipt key",
        }
    }
}

impl fmt::Display for KeyRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            KeyRole::Issuing => "issuing",
            KeyRole::CheckIn => "check-in",
            KeyRole::Receipt => "receipt",
        })
    }
}

/// A key of a role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleKey {
    /// The key; its name stands in the signature lines.
    pub key: PublicKey,
    /// What it may sign.
    pub role: KeyRole,
    /// Its epoch, from 1: roll-back marks order by (key epoch, sequence).
    pub epoch: u32,
    /// It counts from here.
    pub not_before: WallTime,
    /// It counts until here.
    pub not_after: WallTime,
}

/// A key that no longer counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RevokedKey {
    /// [`PublicKey::sha256`] of the key.
    pub sha256: Sha256,
    /// From when.
    pub from: WallTime,
}

/// How many signatures of distinct keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Required {
    /// By Ed25519 keys: 1 to 8.
    pub ed25519: u32,
    /// By ML-DSA-65 keys: 0 to 8.
    pub ml_dsa_65: u32,
}

impl Required {
    /// So many of an algorithm.
    pub const fn of(self, algorithm: Algorithm) -> u32 {
        match algorithm {
            Algorithm::Ed25519 => self.ed25519,
            Algorithm::MlDsa65 => self.ml_dsa_65,
        }
    }
}

/// How many signatures each kind of note needs. Required algorithms come from here and nowhere else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Roots: the threshold of root keys.
    pub root: Required,
    /// Activation files.
    pub activation: Required,
    /// Answers to check-ins.
    pub check_in: Required,
    /// Receipts for usage files.
    pub receipt: Required,
}

/// Everything that a root says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root {
    /// From 1, one more with each root.
    pub version: u32,
    /// From here on it takes no new activation files.
    pub expires: WallTime,
    /// The usage key: an X25519 public key that usage files are sealed to.
    pub usage_key: [u8; 32],
    /// Signatures needed.
    pub policy: Policy,
    /// Keys that sign roots.
    pub root_keys: Vec<PublicKey>,
    /// Keys that sign anything else.
    pub role_keys: Vec<RoleKey>,
    /// Keys that no longer count.
    pub revoked: Vec<RevokedKey>,
}

impl Root {
    /// The keys of a role.
    pub fn keys_of(&self, role: KeyRole) -> impl Iterator<Item = &RoleKey> {
        self.role_keys.iter().filter(move |key| key.role == role)
    }

    /// From when the key with this digest is revoked, where it is.
    pub fn revoked_from(&self, key: &Sha256) -> Option<WallTime> {
        self.revoked.iter().filter(|revoked| revoked.sha256 == *key).map(|revoked| revoked.from).min()
    }

    /// The text of the root note, to be signed by [`crate::note::sign`].
    pub fn render(&self) -> String {
        let mut text = Text::new(NoteKind::Root);
        text.bare("version", self.version);
        text.text("expires", self.expires);
        text.text("usage-key", BASE64.encode(self.usage_key));
        text.head("[signatures]");
        let Policy { root, activation, check_in, receipt } = self.policy;
        for (kind, needed) in [("root", root), ("activation", activation), ("check-in", check_in), ("receipt", receipt)]
        {
            text.bare(kind, format_args!("{{ ed25519 = {}, ml-dsa-65 = {} }}", needed.ed25519, needed.ml_dsa_65));
        }
        for key in &self.root_keys {
            text.head("[[root-key]]");
            text.key("key", key);
        }
        for key in &self.role_keys {
            text.head("[[role-key]]");
            text.text("role", key.role);
            text.bare("epoch", key.epoch);
            text.text("not-before", key.not_before);
            text.text("not-after", key.not_after);
            text.key("key", &key.key);
        }
        for revoked in &self.revoked {
            text.head("[[revoked]]");
            text.text("sha256", revoked.sha256);
            text.text("from", revoked.from);
        }
        text.finish()
    }

    /// Reads and judges the text of a root.
    ///
    /// # Errors
    /// The first fault with its line. A root that reads well is not believed yet: see [`crate::trust::Trust`].
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        let root = read_document(text, |table| {
            table.required("format")?.one_of(&[(NoteKind::Root.format(), ())])?;
            let version = table.required("version")?;
            if version.count()? == 0 {
                return Err(version.refuse(Reason::BadValue, "is 0; versions begin at 1"));
            }
            Ok(Self {
                version: version.count()?,
                expires: table.required("expires")?.time()?,
                usage_key: usage_key(&table.required("usage-key")?)?,
                policy: table.required("signatures")?.table("signatures", policy)?,
                root_keys: table.tables("root-key", |table| key(&table.required("key")?))?,
                role_keys: table.tables("role-key", role_key)?,
                revoked: table.tables("revoked", revoked)?,
            })
        })?;
        root.check()?;
        Ok(root)
    }

    /// What must hold of a root as a whole.
    ///
    /// # Errors
    /// `key-listed-twice`, `bad-threshold`.
    pub fn check(&self) -> Result<(), Refusal> {
        let mut seen = BTreeSet::new();
        for key in self.root_keys.iter().chain(self.role_keys.iter().map(|key| &key.key)) {
            if !seen.insert(key.sha256()) {
                return Err(Refusal::new(
                    Reason::KeyListedTwice,
                    format!("The key {} is listed twice, under one name or two", key.name()),
                ));
            }
        }
        let mut labels = BTreeSet::new();
        for key in self.root_keys.iter().chain(self.role_keys.iter().map(|key| &key.key)) {
            if !labels.insert((key.name(), key.id())) {
                return Err(Refusal::new(
                    Reason::KeyListedTwice,
                    format!("Two keys have the name {} and one key ID", key.name()),
                ));
            }
        }
        if let Some(key) = self.root_keys.iter().find(|key| self.revoked_from(&key.sha256()).is_some()) {
            return Err(Refusal::new(
                Reason::BadKey,
                format!("The root key {} is listed and revoked at once", key.name()),
            ));
        }
        if let Some(key) = self.role_keys.iter().find(|key| key.not_after <= key.not_before) {
            return Err(Refusal::new(
                Reason::DatesReversed,
                format!("The window of the key {} ends before it begins", key.key.name()),
            ));
        }
        for algorithm in [Algorithm::Ed25519, Algorithm::MlDsa65] {
            let there = self.root_keys.iter().filter(|key| key.algorithm() == algorithm).count();
            let needed = self.policy.root.of(algorithm);
            if usize::try_from(needed).unwrap_or(usize::MAX) > there {
                return Err(Refusal::new(
                    Reason::BadThreshold,
                    format!("The root needs {needed} {algorithm} signatures and lists {there} such root keys"),
                ));
            }
        }
        Ok(())
    }
}

/// A key, as a text or an array of its chunks.
pub(crate) fn key(value: &Value<'_>) -> Result<PublicKey, Refusal> {
    value.chunks()?.parse().map_err(|fault: Refusal| Refusal::at(fault.kind(), value.line(), fault.what()))
}

fn usage_key(value: &Value<'_>) -> Result<[u8; 32], Refusal> {
    let bytes = BASE64.decode(value.text()?).ok().and_then(|bytes| bytes.try_into().ok());
    let bytes = bytes.ok_or_else(|| value.refuse(Reason::BadKey, "is not 32 bytes in canonical base64"))?;
    let key = UsagePublicKey::new(bytes).map_err(|fault| Refusal::at(fault.kind(), value.line(), fault.what()))?;
    Ok(*key.as_bytes())
}

fn policy(table: &mut Table<'_>) -> Result<Policy, Refusal> {
    Ok(Policy {
        root: required(&table.required("root")?)?,
        activation: required(&table.required("activation")?)?,
        check_in: required(&table.required("check-in")?)?,
        receipt: required(&table.required("receipt")?)?,
    })
}

fn required(value: &Value<'_>) -> Result<Required, Refusal> {
    value.table("signatures", |table| {
        let (ed25519, ml_dsa_65) = (table.required("ed25519")?, table.required("ml-dsa-65")?);
        if !(1..=8).contains(&ed25519.count()?) {
            return Err(ed25519.refuse(Reason::BadThreshold, "must be 1 to 8"));
        }
        if ml_dsa_65.count()? > 8 {
            return Err(ml_dsa_65.refuse(Reason::BadThreshold, "must be 0 to 8"));
        }
        Ok(Required { ed25519: ed25519.count()?, ml_dsa_65: ml_dsa_65.count()? })
    })
}

fn role_key(table: &mut Table<'_>) -> Result<RoleKey, Refusal> {
    let epoch = table.required("epoch")?;
    if epoch.count()? == 0 {
        return Err(epoch.refuse(Reason::BadValue, "is 0; epochs begin at 1"));
    }
    Ok(RoleKey {
        role: table.required("role")?.one_of(&KeyRole::NAMES)?,
        epoch: epoch.count()?,
        not_before: table.required("not-before")?.time()?,
        not_after: table.required("not-after")?.time()?,
        key: key(&table.required("key")?)?,
    })
}

fn revoked(table: &mut Table<'_>) -> Result<RevokedKey, Refusal> {
    Ok(RevokedKey { sha256: table.required("sha256")?.sha256()?, from: table.required("from")?.time()? })
}
