//! The licensor's receipts (04): verified, compared with the file, and kept in `usage/receipts/` for good, so that
//! `usage verify` and audits find them when their files are gone.

use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
};

use leasehold_engine::{row::UsageSegmentRow, time::WallTime};
use leasehold_keys::{
    note::NOTE_MAX_BYTES,
    refusal::{Reason, Refusal},
    trust::{Trust, Verified},
    usage::{SegmentName, UsageReceipt},
};

use crate::{
    files::{self, ReadFault, Room},
    way_out::Trouble,
};

/// Below `usage/` of the state directory.
const FOLDER: &str = "receipts";

/// Where receipts lie.
#[derive(Clone, Debug)]
pub(super) struct Receipts {
    folder: PathBuf,
}

/// How a receipt came, which is what there is to do about one that is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Brought {
    /// Delivery fetched it: nobody has copied anything.
    ByItself,
    /// Somebody gave it.
    ByHand,
}

impl Brought {
    fn words(self, refusal: &Refusal) -> String {
        match (self, refusal.line()) {
            (Brought::ByHand, _) => refusal.to_string(),
            (Brought::ByItself, Some(line)) => format!("line {line}: {}", refusal.what()),
            (Brought::ByItself, None) => refusal.what().to_owned(),
        }
    }
}

/// Verifies a receipt. `row`: the file that it must be for; the licensor's other receipts are true too, but not of it.
pub(super) fn verified(
    bytes: &[u8],
    trust: &Trust,
    row: &UsageSegmentRow,
    now: WallTime,
    brought: Brought,
) -> Result<Verified<UsageReceipt>, Trouble> {
    let receipt = trust.usage_receipt(bytes, now).map_err(|refusal| unverified(&refusal, brought))?;
    fits(&receipt, row, brought)?;
    Ok(receipt)
}

/// What a refusal of a note means.
pub(super) fn unverified(refusal: &Refusal, brought: Brought) -> Trouble {
    let why = brought.words(refusal);
    match refusal.kind() {
        Reason::UnknownKey
        | Reason::WrongKeyId
        | Reason::WrongRole
        | Reason::BadSignature
        | Reason::WrongSignatureLength
        | Reason::KeyRevoked
        | Reason::KeyExpired
        | Reason::KeyNotYetValid
        | Reason::BelowThreshold => Trouble::ReceiptNotSigned { why },
        _ => Trouble::Garbage { at: "the licensor".into(), why: format!("it is no receipt: {why}") },
    }
}

/// Refuses a receipt that is not for this very file.
pub(super) fn fits(receipt: &UsageReceipt, row: &UsageSegmentRow, brought: Brought) -> Result<(), Trouble> {
    let other = |why: String| Trouble::ReceiptForOther { why };
    let name: SegmentName = row.file.parse().map_err(|_| other(format!("{} is no name of a usage file", row.file)))?;
    let sha256 = row.sha256.ok_or_else(|| other(format!("{name} is still being written")))?;
    receipt.fits_digest(name, sha256, row.bytes).map_err(|refusal| other(brought.words(&refusal)))?;
    if receipt.license_id != row.license {
        return Err(other(format!("it is for license {}, and {name} reports on {}", receipt.license_id, row.license)));
    }
    Ok(())
}

impl Receipts {
    /// Of a folder of usage files.
    pub(super) fn of(usage_folder: &Path) -> Self {
        Self { folder: usage_folder.join(FOLDER) }
    }

    /// Where the receipt of a file belongs.
    pub(super) fn path(&self, file: &str) -> PathBuf {
        self.folder.join(format!("{file}.receipt"))
    }

    /// The files of which receipts are kept.
    pub(super) fn names(&self) -> BTreeSet<String> {
        let names = Room::open(&self.folder).and_then(|room| room.names(usize::MAX)).unwrap_or_default().0;
        names.iter().filter_map(|name| Some(name.to_str()?.strip_suffix(".receipt")?.to_owned())).collect()
    }

    /// The receipt that is kept of a file.
    pub(super) fn kept(&self, file: &str) -> Result<Option<Vec<u8>>, Trouble> {
        let path = self.path(file);
        match files::read(&path, NOTE_MAX_BYTES as u64) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(ReadFault::Missing) => Ok(None),
            Err(fault) => Err(Trouble::Disk { path, why: fault.to_string() }),
        }
    }

    /// Keeps a receipt that was verified; on disk when this returns.
    pub(super) fn keep(&self, file: &str, receipt: &Verified<UsageReceipt>) -> Result<(), Trouble> {
        let path = self.path(file);
        let fault = |why: io::Error| Trouble::Disk { path: path.clone(), why: why.to_string() };
        files::make_private_folder(&self.folder).map_err(fault)?;
        let room = Room::open(&self.folder).map_err(fault)?;
        room.replace(format!("{file}.receipt").as_ref(), receipt.bytes(), 0o600).map_err(fault)
    }
}
