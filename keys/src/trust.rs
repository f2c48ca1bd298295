//! Trust: which bytes may be believed. The one place where signatures are verified and [`Verified`] is made; verified
//! bytes are parsed here, and nothing is read a second time (02, Trust). Whether a license binds here and now is
//! decided elsewhere.

use std::sync::Arc;

pub use crate::verified::Verified;
use crate::{
    activation::Activation,
    check_in::{CheckInAnswer, TimeNote},
    counting::{Standing, counted},
    digest::Sha256,
    note::{Note, NoteKind},
    refusal::{Reason, Refusal},
    root::{KeyRole, Root},
    time::WallTime,
    usage::UsageReceipt,
    verified::Signers,
};

/// The roots that are believed: an anchor, and each successor that the one before it vouches for.
#[derive(Clone, Debug)]
pub struct Trust {
    /// Oldest first; never empty.
    chain: Vec<Arc<Verified<Root>>>,
    current: Arc<Verified<Root>>,
}

/// When a file is judged.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Judged {
    /// For the first time: expiry and windows count.
    New,
    /// After it was accepted once: revocation alone counts.
    Again,
}

/// A moment that is not known exactly, because the machine's clock is not confirmed: it lies between these two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Presumed {
    /// The line that is confirmed.
    pub earliest: WallTime,
    /// Trusted time with what is not confirmed yet.
    pub latest: WallTime,
}

impl From<WallTime> for Presumed {
    /// A moment that is known.
    fn from(now: WallTime) -> Self {
        Self { earliest: now, latest: now }
    }
}

impl Trust {
    /// Trust in one root, which was built in or is configured. It must be signed by its own threshold.
    ///
    /// # Errors
    /// What is wrong with the root; its expiry is not judged.
    pub fn anchored(root: &[u8]) -> Result<Self, Refusal> {
        let note = Note::parse(root)?;
        note.expect_kind(NoteKind::Root)?;
        // An anchor is trusted for where it comes from, so its own keys are all that can be asked.
        let parsed = Root::parse(note.text)?;
        let signers = own_threshold(&note, &parsed)?;
        let current = Arc::new(Verified::new(parsed, root, signers));
        Ok(Self { chain: vec![current.clone()], current })
    }

    /// Trust in a chain of roots, the anchor first, each the successor of the one before.
    ///
    /// # Errors
    /// As [`Self::anchored`] and [`Self::succeed`]; `empty` for no root at all.
    pub fn from_chain<B: AsRef<[u8]>>(roots: &[B]) -> Result<Self, Refusal> {
        let Some((anchor, successors)) = roots.split_first() else {
            return Err(Refusal::new(Reason::Empty, "No root is there to trust"));
        };
        successors.iter().try_fold(Self::anchored(anchor.as_ref())?, |trust, root| trust.succeed(root.as_ref()))
    }

    /// Trust with the next root: version N + 1, signed by the threshold of both the old and the new root keys. A root
    /// that is held already changes nothing. Expiry of either is not judged.
    ///
    /// # Errors
    /// `root-skips-version`, `root-version-reused`, `root-superseded`, `old-threshold`, `new-threshold`, or what is
    /// wrong with the note.
    pub fn succeed(&self, root: &[u8]) -> Result<Self, Refusal> {
        if self.chain.iter().any(|held| held.bytes() == root) {
            return Ok(self.clone());
        }
        let note = Note::parse(root)?;
        note.expect_kind(NoteKind::Root)?;
        let held = self.current.version;
        let misfit = |version: u32| {
            let next = held.saturating_add(1);
            if version > next {
                Some(Refusal::new(
                    Reason::RootSkipsVersion,
                    format!("This is root {version} and root {held} is in force; root {next} must come first"),
                ))
            } else if version < held {
                Some(Refusal::new(
                    Reason::RootSuperseded,
                    format!("This is root {version} and root {held} is in force"),
                ))
            } else {
                None
            }
        };
        if let Err(refusal) = root_threshold(&note, &self.current) {
            if refusal.kind() == Reason::BadSignature {
                return Err(refusal);
            }
            // Unverified, the version serves only to name the more helpful of two refusals.
            return Err(claimed_count(note.text, "version").and_then(misfit).unwrap_or_else(|| {
                Refusal::new(
                    Reason::OldThreshold,
                    format!("Root {held}, which is in force, does not vouch for this root: {}", refusal.what()),
                )
            }));
        }
        let next = Root::parse(note.text)?;
        if let Some(refusal) = misfit(next.version) {
            return Err(refusal);
        }
        if next.version == held {
            return Err(Refusal::new(
                Reason::RootVersionReused,
                format!("This is another root {held} than the one in force"),
            ));
        }
        let signers = own_threshold(&note, &next)?;
        let current = Arc::new(Verified::new(next, root, signers));
        let chain = self.chain.iter().cloned().chain([current.clone()]).collect();
        Ok(Self { chain, current })
    }

    /// The root in force.
    pub fn root(&self) -> &Verified<Root> {
        &self.current
    }

    /// Every root that is held, the anchor first: what [`Self::from_chain`] takes.
    pub fn chain(&self) -> impl Iterator<Item = &Verified<Root>> {
        self.chain.iter().map(AsRef::as_ref)
    }

    /// Judges an activation file for the first time: signatures, the expiry of the root and the windows and revocation
    /// of the issuing keys at `now`, then everything that the text must say.
    ///
    /// # Errors
    /// The first fault.
    pub fn activation(&self, bytes: &[u8], now: WallTime) -> Result<Verified<Activation>, Refusal> {
        let note = Note::parse(bytes)?;
        note.expect_kind(NoteKind::Activation)?;
        let signers = self
            .signers(&note, &self.current, KeyRole::Issuing, now, Judged::New)
            .map_err(|refusal| self.with_claimed_root(&note, refusal))?;
        let activation = self.read_activation(&note)?;
        if self.current.expires <= now {
            return Err(Refusal::new(
                Reason::RootExpired,
                format!("Root {} expired at {}: it takes no new files", self.current.version, self.current.expires),
            ));
        }
        Ok(Verified::new(activation, bytes, signers))
    }

    /// Judges an activation file that was accepted before, at a restart: by any root that is held, without expiry and
    /// windows. A revocation counts, whichever root brought it.
    ///
    /// # Errors
    /// The first fault, as the newest root sees it.
    pub fn accepted_before(&self, bytes: &[u8], now: WallTime) -> Result<Verified<Activation>, Refusal> {
        let note = Note::parse(bytes)?;
        note.expect_kind(NoteKind::Activation)?;
        let signers = self.signers_by_any(&note, KeyRole::Issuing, now)?;
        Ok(Verified::new(self.read_activation(&note)?, bytes, signers))
    }

    /// Judges a usage receipt for the first time: signatures, and the windows and revocation of the receipt keys at
    /// `now`. The expiry of the root is not judged: what was sold before it is still to be reported.
    ///
    /// # Errors
    /// The first fault.
    pub fn usage_receipt(&self, bytes: &[u8], now: WallTime) -> Result<Verified<UsageReceipt>, Refusal> {
        let note = Note::parse(bytes)?;
        note.expect_kind(NoteKind::UsageReceipt)?;
        let signers = self.signers(&note, &self.current, KeyRole::Receipt, now, Judged::New)?;
        Ok(Verified::new(UsageReceipt::parse(note.text)?, bytes, signers))
    }

    /// Judges a usage receipt that was accepted before: by any root that is held, without windows. A revocation counts.
    ///
    /// # Errors
    /// The first fault, as the newest root sees it.
    pub fn usage_receipt_accepted_before(
        &self,
        bytes: &[u8],
        now: WallTime,
    ) -> Result<Verified<UsageReceipt>, Refusal> {
        let note = Note::parse(bytes)?;
        note.expect_kind(NoteKind::UsageReceipt)?;
        let signers = self.signers_by_any(&note, KeyRole::Receipt, now)?;
        Ok(Verified::new(UsageReceipt::parse(note.text)?, bytes, signers))
    }

    /// Judges an answer to a check-in: signatures, and the windows and revocation of the check-in keys. The expiry of the root is
    /// not judged (02). Where the machine's clock is not confirmed, a key has expired if it has by the confirmed line, is not
    /// yet valid if it is not by the other, and is revoked if it is by either: a dead clock chip must not shut out the very
    /// answer that would set the time right. An answer says nothing before it [fits](CheckInAnswer::fits) the open request.
    ///
    /// # Errors
    /// The first fault.
    pub fn check_in_answer(&self, bytes: &[u8], now: impl Into<Presumed>) -> Result<Verified<CheckInAnswer>, Refusal> {
        let note = Note::parse(bytes)?;
        note.expect_kind(NoteKind::CheckInAnswer)?;
        let signers = self.check_in_signers(&note, now.into())?;
        Ok(Verified::new(CheckInAnswer::parse(note.text)?, bytes, signers))
    }

    /// Judges a time note, by the same keys and in the same way as [`Self::check_in_answer`].
    ///
    /// # Errors
    /// The first fault.
    pub fn time_note(&self, bytes: &[u8], now: impl Into<Presumed>) -> Result<Verified<TimeNote>, Refusal> {
        let note = Note::parse(bytes)?;
        note.expect_kind(NoteKind::Time)?;
        let signers = self.check_in_signers(&note, now.into())?;
        Ok(Verified::new(TimeNote::parse(note.text)?, bytes, signers))
    }

    fn check_in_signers(&self, note: &Note<'_>, now: Presumed) -> Result<Signers, Refusal> {
        self.signers(note, &self.current, KeyRole::CheckIn, now, Judged::New)
    }

    /// The keys of a role that signed, as any root that is held lists them, the newest first.
    fn signers_by_any(&self, note: &Note<'_>, role: KeyRole, now: WallTime) -> Result<Signers, Refusal> {
        let mut first = None;
        for root in self.chain.iter().rev() {
            match self.signers(note, root, role, now, Judged::Again) {
                Ok(signers) => return Ok(signers),
                Err(refusal) if matches!(refusal.kind(), Reason::BadSignature | Reason::WrongSignatureLength) => {
                    return Err(refusal);
                }
                // A key that a newer root has dropped is unknown there; an older one may say more.
                Err(refusal) if refusal.kind() == Reason::UnknownKey => first = first.or(Some(refusal)),
                Err(refusal) => first = first.filter(|first| first.kind() != Reason::UnknownKey).or(Some(refusal)),
            }
        }
        Err(first.unwrap_or_else(|| Refusal::new(Reason::UnknownKey, "No root is there to trust")))
    }

    /// From when a file that was accepted no longer stands, because too few of its keys are left unrevoked. Status
    /// counts down to it.
    pub fn stands_until(&self, file: &Verified<Activation>) -> Option<WallTime> {
        let mut dates: Vec<WallTime> =
            self.chain.iter().flat_map(|root| root.revoked.iter().map(|revoked| revoked.from)).collect();
        dates.sort();
        dates.dedup();
        dates.into_iter().find(|date| self.accepted_before(file.bytes(), *date).is_err())
    }

    /// From when a key is revoked, by any root that is held: a revocation once published stands.
    pub fn revoked_from(&self, key: &Sha256) -> Option<WallTime> {
        self.chain.iter().filter_map(|root| root.revoked_from(key)).min()
    }

    fn read_activation(&self, note: &Note<'_>) -> Result<Activation, Refusal> {
        let activation = Activation::parse(note.text)?;
        let held = self.current.version;
        if activation.root_version > held {
            let line = line_of_field(note.text, "root-version");
            let what = format!("The file needs root {}, and this server holds root {held}", activation.root_version);
            return Err(Refusal::at(Reason::RootVersionAhead, line, what));
        }
        Ok(activation)
    }

    /// The keys of `root` with this role that signed, where they are enough.
    fn signers(
        &self,
        note: &Note<'_>,
        root: &Root,
        role: KeyRole,
        now: impl Into<Presumed>,
        judged: Judged,
    ) -> Result<Signers, Refusal> {
        let now = now.into();
        let required = match role {
            KeyRole::Issuing => root.policy.activation,
            KeyRole::CheckIn => root.policy.check_in,
            KeyRole::Receipt => root.policy.receipt,
        };
        let roots = root
            .root_keys
            .iter()
            .map(|key| (key, Standing::Not(Reason::WrongRole, "is a root key, and those sign roots only".into())));
        let roles = root.role_keys.iter().map(|listed| {
            let not = |reason, why: String| Standing::Not(reason, why);
            let standing = match self.revoked_from(&listed.key.sha256()).filter(|from| *from <= now.latest) {
                Some(from) => not(Reason::KeyRevoked, format!("is revoked from {from}")),
                None if listed.role != role => {
                    not(Reason::WrongRole, format!("is {}, not {}", listed.role.a_key(), role.a_key()))
                }
                None if judged == Judged::New && listed.not_after <= now.earliest => {
                    not(Reason::KeyExpired, format!("expired at {}", listed.not_after))
                }
                None if judged == Judged::New && now.latest < listed.not_before => {
                    not(Reason::KeyNotYetValid, format!("is valid from {} only", listed.not_before))
                }
                None => Standing::Counts(listed.epoch),
            };
            (&listed.key, standing)
        });
        counted(note, roots.chain(roles), required, root.version)
    }

    /// Adds to a refusal for unknown keys which root the file says it needs.
    fn with_claimed_root(&self, note: &Note<'_>, refusal: Refusal) -> Refusal {
        let held = self.current.version;
        match claimed_count(note.text, "root-version") {
            Some(needed) if needed > held && matches!(refusal.kind(), Reason::UnknownKey | Reason::WrongKeyId) => {
                Refusal::new(
                    refusal.kind(),
                    format!(
                        "{}; it says that it needs root {needed}, and this server holds root {held}",
                        refusal.what()
                    ),
                )
            }
            _ => refusal,
        }
    }
}

/// The root keys of `root` that signed, where they are the threshold.
fn root_threshold(note: &Note<'_>, root: &Root) -> Result<Signers, Refusal> {
    let roots = root.root_keys.iter().map(|key| (key, Standing::Counts(0)));
    let roles = root
        .role_keys
        .iter()
        .map(|key| (&key.key, Standing::Not(Reason::WrongRole, format!("is a {} key, not a root key", key.role))));
    counted(note, roots.chain(roles), root.policy.root, root.version)
}

fn own_threshold(note: &Note<'_>, root: &Root) -> Result<Signers, Refusal> {
    root_threshold(note, root).map_err(|refusal| match refusal.kind() {
        Reason::BadSignature | Reason::WrongSignatureLength => refusal,
        _ => Refusal::new(Reason::NewThreshold, format!("Its own root keys did not sign it: {}", refusal.what())),
    })
}

/// The count that a line of an unverified text gives a field: for wording and sorting only.
fn claimed_count(text: &str, field: &str) -> Option<u32> {
    text.lines().find_map(|line| line.strip_prefix(field)?.trim_start().strip_prefix('=')?.trim().parse().ok())
}

/// The version that a root says it has. Nothing is verified: for putting several roots in order.
pub fn claimed_root_version(bytes: &[u8]) -> Option<u32> {
    let note = Note::parse(bytes).ok()?;
    note.expect_kind(NoteKind::Root).ok()?;
    claimed_count(note.text, "version")
}

fn line_of_field(text: &str, field: &str) -> Option<u32> {
    let index = text
        .lines()
        .position(|line| line.strip_prefix(field).is_some_and(|rest| rest.trim_start().starts_with('=')))?;
    u32::try_from(index + 1).ok()
}
