//! Writing a segment. The content key never leaves the [`Segment`], which hands each record out once and forgets it: a
//! segment whose record was not committed is dropped, closed by its [`Tail`], and the next one begun.

use zeroize::Zeroizing;

use super::{
    content::Encoder,
    head::{Head, Tail},
    header::{Begun, Clocks, Header, Names, RECIPIENTS_MAX},
    item::Item,
    key::UsagePublicKey,
    name::SEGMENT_MAX,
    record::{CLOSE_BYTES, FILE_MAX_BYTES, FRAME_BYTES, Place, RECORD_MAX_BYTES, ROTATE_BYTES, RecordType, TAG_BYTES},
    wrap::ContentKey,
};
use crate::{
    activation::{HostRole, LicenseId},
    digest::Sha256,
    installation::InstallationKey,
    key::random_seed,
};

/// What a new segment is to say of itself.
#[derive(Clone, Debug)]
pub struct Opening<'a> {
    /// The license that it reports on.
    pub license: LicenseId,
    /// The server's role in the license.
    pub role: Option<HostRole>,
    /// Why it begins; [`Begun::First`] exactly where nothing is continued.
    pub begun: Begun,
    /// Now.
    pub start: Clocks,
    /// How users are named.
    pub names: Names,
    /// Who can open it: 1 to [`RECIPIENTS_MAX`] distinct keys.
    pub recipients: &'a [UsagePublicKey],
}

/// A record to store, and what becomes of the segment by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// The bytes to append to the file.
    pub record: Vec<u8>,
    /// How many items it took, from the first on. It may be none where the names of many new keys filled it: seal what
    /// is left again.
    pub taken: usize,
    /// The end of the segment after it, to be stored in the same transaction.
    pub tail: Tail,
}

/// Why nothing was sealed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealFault {
    /// What the opening says cannot stand in a header.
    #[error("a usage segment cannot begin so: {0}")]
    Opening(&'static str),
    /// The operating system gives no random bytes, or the cryptography failed.
    #[error("usage cannot be sealed: {0}")]
    Crypto(&'static str),
    /// No further record fits: close the segment and begin the next one.
    #[error("the usage segment is full")]
    Full,
    /// An item that no record may hold.
    #[error("item {index} cannot stand in a usage record: {why}")]
    Item {
        /// Its index among those given.
        index: usize,
        /// Why.
        why: &'static str,
    },
    /// There is nothing to seal.
    #[error("there are no usage items to seal")]
    Nothing,
    /// The segment is closed, or another installation's.
    #[error("the usage segment cannot be closed: {0}")]
    Closing(&'static str),
}

/// A segment that is being written. It owns the content key; it can be neither copied nor wound back, so that no nonce
/// is used twice. Drop it where a record that it gave was not committed.
pub struct Segment {
    key: ContentKey,
    encoder: Encoder,
    tail: Tail,
}

/// The random bytes of a segment: drawn anew for each, and given only where a test must know them.
pub(super) struct Entropy {
    pub(super) content: Zeroizing<[u8; 32]>,
    pub(super) encapsulation: [Zeroizing<[u8; 32]>; RECIPIENTS_MAX],
}

impl Entropy {
    fn draw() -> Result<Self, SealFault> {
        let draw = || {
            random_seed()
                .map(Zeroizing::new)
                .map_err(|_| SealFault::Crypto("the operating system gives no random bytes"))
        };
        Ok(Self { content: draw()?, encapsulation: [draw()?, draw()?, draw()?, draw()?] })
    }
}

impl Segment {
    /// Begins a segment after the end of the one before, and gives the header to begin its file with.
    ///
    /// # Errors
    /// [`SealFault::Opening`], [`SealFault::Crypto`].
    pub fn begin(
        installation: &InstallationKey,
        opening: &Opening<'_>,
        previous: Option<&Tail>,
    ) -> Result<(Self, Vec<u8>), SealFault> {
        Self::begin_with(installation, opening, previous, Entropy::draw()?)
    }

    pub(super) fn begin_with(
        installation: &InstallationKey,
        opening: &Opening<'_>,
        previous: Option<&Tail>,
        entropy: Entropy,
    ) -> Result<(Self, Vec<u8>), SealFault> {
        let refuse = |why| Err(SealFault::Opening(why));
        let recipients = opening.recipients;
        if recipients.is_empty() || recipients.len() > RECIPIENTS_MAX {
            return refuse("it needs one to four recipients");
        }
        if recipients.iter().enumerate().any(|(index, key)| recipients[..index].contains(key)) {
            return refuse("one recipient is named twice");
        }
        if previous.is_none() != (opening.begun == Begun::First) {
            return refuse("the first segment continues none, and any other continues the one before");
        }
        if previous.is_some_and(|tail| tail.installation != installation.id()) {
            return refuse("it would continue the segments of another installation");
        }
        let segment = previous.map_or(0, |tail| tail.head.segment).saturating_add(1);
        if segment > SEGMENT_MAX {
            return refuse("the numbers of segments are used up");
        }
        let key = ContentKey(entropy.content);
        let mut header = Header {
            installation: installation.public(),
            license: opening.license,
            role: opening.role,
            segment,
            begun: opening.begun,
            start: opening.start,
            records_before: previous.map_or(0, |tail| tail.records_before.saturating_add(tail.head.records)),
            previous_end: previous.map_or(Sha256([0; 32]), |tail| tail.head.chain),
            names: opening.names,
            recipients: Vec::new(),
            commitment: key.commitment(),
        };
        let head = header.head(recipients.len());
        for (recipient, random) in recipients.iter().zip(entropy.encapsulation) {
            let wrapped = key.wrap(recipient, &head, random);
            header.recipients.push(wrapped.ok_or(SealFault::Crypto("HPKE failed"))?);
        }
        let bytes = header.sign(installation);
        let tail = Tail {
            installation: installation.id(),
            head: Head { segment, records: 0, chain: Sha256::of(&bytes) },
            records_before: header.records_before,
            bytes: bytes.len() as u64,
            closed: false,
        };
        let encoder = Encoder::new(opening.names, opening.start.trusted);
        Ok((Self { key, encoder, tail }, bytes))
    }

    /// Seals the first of `items`, as many as one record holds: at most [`super::ITEMS_MAX`].
    ///
    /// # Errors
    /// [`SealFault::Item`] and [`SealFault::Nothing`] change nothing; [`SealFault::Full`] asks for the next segment;
    /// after [`SealFault::Crypto`] the segment is to be dropped.
    pub fn seal(&mut self, items: &[Item]) -> Result<Sealed, SealFault> {
        let room = self.room().min(RECORD_MAX_BYTES).saturating_sub(FRAME_BYTES + TAG_BYTES);
        let (mut body, taken) = self.encoder.encode(items, room)?;
        let place = self.place();
        let sealing = ring::aead::UnboundKey::new(&ring::aead::CHACHA20_POLY1305, &*self.key.0)
            .map(ring::aead::LessSafeKey::new)
            .map_err(|_| SealFault::Crypto("ring refuses the content key"))?;
        let associated = place.associated_data(body.len() + TAG_BYTES);
        sealing
            .seal_in_place_append_tag(
                ring::aead::Nonce::assume_unique_for_key(place.nonce()),
                ring::aead::Aad::from(associated),
                &mut *body,
            )
            .map_err(|_| SealFault::Crypto("ring cannot seal the record"))?;
        let record = place.frame(RecordType::Events, &body);
        self.tail = advanced(&self.tail, &record, false);
        Ok(Sealed { record, taken, tail: self.tail })
    }

    /// Signs the chain up to here, so that an open file can be relied on so far.
    ///
    /// # Errors
    /// [`SealFault::Full`].
    pub fn checkpoint(&mut self, installation: &InstallationKey, now: Clocks) -> Result<Sealed, SealFault> {
        if self.room() < CLOSE_BYTES {
            return Err(SealFault::Full);
        }
        let place = self.place();
        let body = place.signed_body(RecordType::Checkpoint, now, installation);
        let record = place.frame(RecordType::Checkpoint, &body);
        self.tail = advanced(&self.tail, &record, false);
        Ok(Sealed { record, taken: 0, tail: self.tail })
    }

    /// Ends the segment and forgets its key.
    ///
    /// # Errors
    /// [`SealFault::Closing`] for the key of another installation.
    pub fn close(self, installation: &InstallationKey, now: Clocks) -> Result<Sealed, SealFault> {
        self.tail.close(installation, now)
    }

    /// The end of the segment so far.
    pub fn tail(&self) -> &Tail {
        &self.tail
    }

    /// True where it has reached the size at which it is to be closed (USAGE-4).
    pub fn is_large(&self) -> bool {
        self.tail.bytes >= ROTATE_BYTES as u64
    }

    /// Bytes that are left before the record that closes.
    fn room(&self) -> usize {
        let used = usize::try_from(self.tail.bytes).unwrap_or(usize::MAX);
        FILE_MAX_BYTES.saturating_sub(CLOSE_BYTES).saturating_sub(used)
    }

    fn place(&self) -> Place {
        next(&self.tail)
    }
}

impl std::fmt::Debug for Segment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Segment").field("tail", &self.tail).finish_non_exhaustive()
    }
}

impl Tail {
    /// Ends a segment whose key is gone: after a restart, or where it was abandoned. Nothing is sealed by it.
    ///
    /// # Errors
    /// [`SealFault::Closing`] where it is closed already or another installation's.
    pub fn close(&self, installation: &InstallationKey, now: Clocks) -> Result<Sealed, SealFault> {
        if self.closed {
            return Err(SealFault::Closing("it is closed already"));
        }
        if self.installation != installation.id() {
            return Err(SealFault::Closing("it is another installation's"));
        }
        let place = next(self);
        let body = place.signed_body(RecordType::Close, now, installation);
        let record = place.frame(RecordType::Close, &body);
        let tail = advanced(self, &record, true);
        Ok(Sealed { record, taken: 0, tail })
    }
}

/// The place of the next record.
fn next(tail: &Tail) -> Place {
    Place { segment: tail.head.segment, index: tail.head.records + 1, chain: tail.head.chain }
}

/// The end after one more record.
fn advanced(tail: &Tail, record: &[u8], closed: bool) -> Tail {
    let place = next(tail);
    Tail {
        head: Head { records: place.index, chain: place.after(record), ..tail.head },
        bytes: tail.bytes + record.len() as u64,
        closed,
        ..*tail
    }
}
