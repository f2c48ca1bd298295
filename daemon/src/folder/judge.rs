//! Judging one file of the folder: signatures, terms, and whether it is for this host. Which of the good ones count
//! together is the engine's decision.

use std::{
    ffi::{OsStr, OsString},
    sync::Arc,
};

use leasehold_engine::{command::HostFinding, time::Now, view::LicenseView};
use leasehold_keys::{
    activation::{Activation, FileKind, LicenseId},
    digest::Sha256,
    note::NoteKind,
    refusal::Refusal,
    trust::{Trust, Verified, claimed_root_version},
};

use super::{
    entry::{EntryState, FolderEntry},
    look::KnownFiles,
    name::shown,
};
use crate::{
    identity::Identity,
    trust_store::{OfferFault, Offered, TrustStore, is_merely_old},
};

/// A file that the engine has accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AcceptedFile {
    pub(super) name: String,
    pub(super) license: LicenseId,
    /// Key epoch and sequence.
    pub(super) rank: (u32, u32),
    pub(super) sha256: Sha256,
    /// The copy that the engine keeps.
    pub(super) terms: Arc<Verified<Activation>>,
}

impl From<&LicenseView> for AcceptedFile {
    fn from(view: &LicenseView) -> Self {
        Self {
            name: view.file_name.clone(),
            license: view.license,
            rank: (view.terms.key_epoch(), view.terms.sequence),
            sha256: view.terms.sha256(),
            terms: view.terms.clone(),
        }
    }
}

/// All files that the engine has accepted.
#[derive(Clone, Debug, Default)]
pub(super) struct Accepted(pub(super) Vec<AcceptedFile>);

impl Accepted {
    /// What a look at the folder needs to know of them.
    pub(super) fn known(&self) -> KnownFiles {
        KnownFiles {
            names: self.0.iter().map(|file| file.name.clone().into()).collect(),
            digests: self.0.iter().map(|file| file.sha256).collect(),
        }
    }

    /// The file that was accepted under a name.
    pub(super) fn under(&self, name: &str) -> Option<&AcceptedFile> {
        self.0.iter().find(|file| file.name == name)
    }

    /// True where a license granted something here, before it is closed.
    pub(super) fn granted(&self, license: LicenseId) -> bool {
        self.0.iter().any(|file| file.license == license && !file.terms.is_deactivation())
    }
}

/// Verifies a file, and parses the same bytes.
///
/// Expiry of root and key is judged once: a file that was accepted, and an older one of its license, is judged by
/// revocation alone (02, Trust), and by the confirmed time, as the engine does and a restart: what a wrong clock says takes
/// no file away (05, Time).
pub(super) fn verify(
    trust: &Trust,
    bytes: &[u8],
    now: Now,
    accepted: &Accepted,
) -> Result<Arc<Verified<Activation>>, Refusal> {
    let refusal = match trust.activation(bytes, now.wall) {
        Ok(file) => return Ok(Arc::new(file)),
        Err(refusal) => refusal,
    };
    let digest = Sha256::of(bytes);
    let again = |known: bool| -> Result<Arc<Verified<Activation>>, Refusal> {
        let file = trust.accepted_before(bytes, now.confirmed())?;
        let older =
            |other: &AcceptedFile| other.license == file.license_id && other.rank > (file.key_epoch(), file.sequence);
        if known || accepted.0.iter().any(older) { Ok(Arc::new(file)) } else { Err(refusal.clone()) }
    };
    if accepted.0.iter().any(|file| file.sha256 == digest) {
        again(true)
    } else {
        again(false).map_err(|_| refusal.clone())
    }
}

/// A refusal in words; a root under the name of an activation file is told its own name.
pub(super) fn words_of(refusal: &Refusal, bytes: &[u8]) -> String {
    if NoteKind::claimed(bytes) == Some(NoteKind::Root) {
        return format!("{refusal} It is a root of a licensor: rename it to end in .i3root.");
    }
    refusal.to_string()
}

/// Offers the roots of the folder to the trust store, the oldest first, and tells what became of each.
pub(super) fn roots(store: &mut TrustStore, roots: &[(&OsStr, &[u8])]) -> Vec<(OsString, FolderEntry)> {
    let mut in_order: Vec<_> = roots.iter().map(|(name, bytes)| (claimed_root_version(bytes), *name, *bytes)).collect();
    // What has no version is refused whenever its turn comes.
    in_order.sort();
    let offered: Vec<_> = in_order.into_iter().map(|(_, name, bytes)| (name, store.offer(bytes))).collect();
    // Told last: what was adopted a moment ago may be superseded by now.
    let current = store.trust().root().version;
    offered.into_iter().map(|(name, offered)| (name.to_owned(), root_entry(&shown(name), offered, current))).collect()
}

fn root_entry(name: &str, offered: Result<Offered, OfferFault>, current: u32) -> FolderEntry {
    match offered {
        Ok(Offered::Adopted(version) | Offered::InForce(version)) if version == current => FolderEntry::new(
            name,
            EntryState::Accepted,
            format!("Root {version} is in force. It is kept; this file may be removed."),
        ),
        Ok(Offered::Adopted(version) | Offered::InForce(version) | Offered::Older(version)) => FolderEntry::new(
            name,
            EntryState::Superseded,
            format!("Root {current} is in force and follows from root {version}. This file may be removed."),
        ),
        Err(OfferFault::Refused(refusal)) if is_merely_old(&refusal) => {
            FolderEntry::new(name, EntryState::Superseded, refusal.to_string())
        }
        Err(OfferFault::Refused(refusal)) => FolderEntry::refused(name, refusal.reason(), refusal.to_string()),
        Err(OfferFault::NotKept(fault)) => FolderEntry::refused(
            name,
            "not-kept",
            format!(
                "The root is good, but the state directory cannot keep it: {fault}. It is tried again when that is mended."
            ),
        ),
    }
}

/// What there is to say of a file that counts: what it is, and what will make it count no more.
pub(super) fn described(file: &Verified<Activation>, host: &HostFinding, identity: &Identity, trust: &Trust) -> String {
    let kind = match file.kind {
        FileKind::Base => "base",
        FileKind::AddOn => "add-on",
    };
    let host = match host {
        HostFinding::Unbound => "it is bound to no host".to_owned(),
        HostFinding::Primary => "this host is its primary".to_owned(),
        HostFinding::Switchover => "this host is its switchover server".to_owned(),
        HostFinding::Other(comparison) => format!(
            "this host no longer matches it, and it runs on for 72 hours at most. {comparison} Send the licensor a new request made with \
             `leasehold request`"
        ),
    };
    let mut words = format!(
        "{}, {}: {} {kind} file, sequence {}; {host}.",
        file.account, file.install_site, file.product, file.sequence
    );
    if identity.offers_rebaseline(&file.hosts) {
        words += " The facts of this host have changed since it was issued: ask the licensor for a file with a new baseline, by a request \
                  made with `leasehold request`.";
    }
    if let Some(until) = trust.stands_until(file) {
        words += &format!(" Its key is revoked, and it counts until {until}: ask the licensor for a file signed anew.");
    }
    words
}
