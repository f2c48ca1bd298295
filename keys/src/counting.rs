//! Which signatures of a note count, and whether they are enough. What a key may sign is told by the caller.

use std::collections::BTreeMap;

use crate::{
    digest::Sha256,
    key::{Algorithm, PublicKey},
    note::Note,
    refusal::{Reason, Refusal, quote},
    root::Required,
    verified::Signers,
};

/// Whether a known key's signature counts for the note at hand.
pub(crate) enum Standing {
    /// It does, with this epoch.
    Counts(u32),
    /// It does not; the text follows the key's name.
    Not(Reason, String),
}

/// Verifies every signature of a known key and counts those that stand, each key once. A known key whose signature
/// fails refuses the note; those of unknown keys are ignored.
pub(crate) fn counted<'k>(
    note: &Note<'_>,
    known: impl Iterator<Item = (&'k PublicKey, Standing)>,
    required: Required,
    root_version: u32,
) -> Result<Signers, Refusal> {
    let known: Vec<(&PublicKey, Standing)> = known.collect();
    let mut good: BTreeMap<Sha256, (u32, &PublicKey)> = BTreeMap::new();
    let mut names = Vec::new();
    // What would have counted under other circumstances, for the most helpful refusal.
    let mut idle: BTreeMap<Algorithm, (Reason, String, u32)> = BTreeMap::new();
    let mut seen = false;
    for signature in &note.signatures {
        let Some((key, standing)) =
            known.iter().find(|(key, _)| key.name() == signature.name && key.id() == signature.key_id)
        else {
            continue;
        };
        seen = true;
        let (algorithm, length) = (key.algorithm(), signature.signature.len());
        if length != algorithm.signature_bytes() {
            return Err(Refusal::at(
                Reason::WrongSignatureLength,
                signature.line,
                format!(
                    "The {algorithm} signature of {} has {length} bytes instead of {}",
                    key.name(),
                    algorithm.signature_bytes()
                ),
            ));
        }
        if !key.verifies(note.text.as_bytes(), &signature.signature) {
            return Err(Refusal::at(
                Reason::BadSignature,
                signature.line,
                format!("The signature of {} does not fit the text: the file was changed, or it is forged", key.name()),
            ));
        }
        match standing {
            Standing::Counts(epoch) => {
                if good.insert(key.sha256(), (*epoch, key)).is_none() {
                    names.push(key.name().to_owned());
                }
            }
            Standing::Not(reason, why) => {
                idle.entry(algorithm)
                    .or_insert_with(|| (*reason, format!("The key {} {why}", key.name()), signature.line));
            }
        }
    }
    for algorithm in [Algorithm::Ed25519, Algorithm::MlDsa65] {
        let there = good.values().filter(|(_, key)| key.algorithm() == algorithm).count();
        let needed = required.of(algorithm);
        if there >= usize::try_from(needed).unwrap_or(usize::MAX) {
            continue;
        }
        if let Some((reason, what, line)) = idle.remove(&algorithm) {
            return Err(Refusal::at(reason, line, what));
        }
        if !seen {
            return Err(nobody_known(note, &known, root_version));
        }
        let reason = if algorithm == Algorithm::Ed25519 { Reason::BelowThreshold } else { Reason::MlDsaRequired };
        return Err(Refusal::new(
            reason,
            format!("Root {root_version} asks for {needed} {algorithm} signatures of distinct keys, and {there} count"),
        ));
    }
    let newest = good
        .iter()
        .filter(|(_, (_, key))| key.algorithm() == Algorithm::Ed25519)
        .max_by_key(|(sha256, (epoch, _))| (*epoch, **sha256));
    match newest {
        Some((key_sha256, (epoch, _))) => Ok(Signers { names, epoch: *epoch, key_sha256: *key_sha256 }),
        None => Err(Refusal::new(Reason::BelowThreshold, "No Ed25519 signature counts")),
    }
}

fn nobody_known(note: &Note<'_>, known: &[(&PublicKey, Standing)], root_version: u32) -> Refusal {
    if let Some(signature) =
        note.signatures.iter().find(|signature| known.iter().any(|(key, _)| key.name() == signature.name))
    {
        return Refusal::at(
            Reason::WrongKeyId,
            signature.line,
            format!(
                "Root {root_version} lists the name {} with another key than {:08x}",
                quote(signature.name),
                signature.key_id
            ),
        );
    }
    let names: Vec<String> = note.signatures.iter().take(3).map(|signature| quote(signature.name)).collect();
    Refusal::new(
        Reason::UnknownKey,
        format!("It is signed by {}, which root {root_version} does not list", names.join(", ")),
    )
}
