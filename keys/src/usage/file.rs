//! Verifying a usage file without any private key: its header, its chain, its signatures, and where it ends.

use super::{
    checksum::crc32c,
    damage::{Damage, DamageReason},
    head::{Head, Tail},
    header::{Clocks, HEADER_MAX_BYTES, Header},
    name::SegmentName,
    record::{
        FILE_MAX_BYTES, FRAME_BYTES, FRAME_HEAD_BYTES, Place, RECORD_MAX_BYTES, RecordType, SIGNED_BODY_BYTES,
        TAG_BYTES,
    },
    varint::Reader,
};
use crate::digest::Sha256;

/// How a file ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// With the record that closes it: nothing can follow.
    Closed(Clocks),
    /// After a whole record: more may follow.
    Open,
    /// Within a record. No damage in the newest file of a server, which copies the tail again from what it stored.
    Torn(Torn),
}

/// A last record that is not whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Torn {
    /// Its index, from 1.
    pub record: u64,
    /// The byte at which it begins.
    pub offset: usize,
    /// How it is torn: the end of a sentence.
    pub what: &'static str,
}

/// A usage file whose header is verified, with its records up to the end or to the first damage.
#[derive(Clone, Debug)]
pub struct SegmentFile<'a> {
    bytes: &'a [u8],
    header: Header,
    header_bytes: usize,
    records: Vec<Spot>,
    end_chain: Sha256,
    end_offset: usize,
    signed_records: u64,
    end: End,
    damage: Option<Damage>,
}

/// A record's place in the file.
#[derive(Clone, Copy, Debug)]
struct Spot {
    offset: usize,
    body_bytes: usize,
    kind: RecordType,
    /// The chain value before it.
    chain: Sha256,
}

/// A sealed body, and where it stands.
pub(super) struct SealedBody<'a> {
    pub(super) place: Place,
    pub(super) offset: usize,
    pub(super) body: &'a [u8],
}

/// Verifies a file: header, checksums, chain, signatures. A last record that is not whole is told in
/// [`SegmentFile::end`]. Records after the last signature are held together by the chain alone until the next one; see
/// [`SegmentFile::signed_records`].
///
/// # Errors
/// The first damage.
pub fn verify(bytes: &[u8]) -> Result<SegmentFile<'_>, Damage> {
    let file = salvage(bytes)?;
    match file.damage {
        Some(damage) => Err(damage),
        None => Ok(file),
    }
}

/// As [`verify`], but keeps what stands before damage within the records, which [`SegmentFile::damage`] tells.
///
/// # Errors
/// Damage of the header, without which nothing can be told.
pub fn salvage(bytes: &[u8]) -> Result<SegmentFile<'_>, Damage> {
    if bytes.len() > FILE_MAX_BYTES {
        let what = format!("The file has {} bytes; a usage file has at most {FILE_MAX_BYTES}", bytes.len());
        return Err(Damage::header(DamageReason::FileTooLarge, FILE_MAX_BYTES, what));
    }
    let (header, header_bytes) = Header::read(bytes)?;
    debug_assert!(header_bytes <= HEADER_MAX_BYTES);
    let mut file = SegmentFile {
        bytes,
        end_chain: Sha256::of(&bytes[..header_bytes]),
        header,
        header_bytes,
        records: Vec::new(),
        end_offset: header_bytes,
        signed_records: 0,
        end: End::Open,
        damage: None,
    };
    while file.end_offset < bytes.len() {
        match file.next_record() {
            Ok(Next::Record) => {}
            Ok(Next::Torn(torn)) => {
                file.end = End::Torn(torn);
                break;
            }
            Err(damage) => {
                file.damage = Some(damage);
                break;
            }
        }
    }
    Ok(file)
}

enum Next {
    Record,
    Torn(Torn),
}

impl<'a> SegmentFile<'a> {
    /// Takes the record at the end so far.
    fn next_record(&mut self) -> Result<Next, Damage> {
        let offset = self.end_offset;
        let index = self.records() + 1;
        let place = Place { segment: self.header.segment, index, chain: self.end_chain };
        let rest = &self.bytes[offset..];
        let damage = |reason, what: String| Err(Damage::record(reason, index, offset, what));
        let torn = |what| Ok(Next::Torn(Torn { record: index, offset, what }));
        if let End::Closed(_) = self.end {
            return damage(
                DamageReason::AfterClose,
                format!("{} bytes follow the record that closes the file", rest.len()),
            );
        }
        if rest.iter().all(|byte| *byte == 0) {
            return torn("nothing but zeros is left");
        }
        let mut reader = Reader(rest);
        let Some(length) = reader.array().map(u32::from_be_bytes) else {
            return torn("the file ends within the record");
        };
        let body_bytes = usize::try_from(length).unwrap_or(usize::MAX);
        if !(TAG_BYTES + 1..=RECORD_MAX_BYTES - FRAME_BYTES).contains(&body_bytes) {
            return damage(
                DamageReason::RecordLength,
                format!("The record states a body of {length} bytes, which none has"),
            );
        }
        let Some(record) = rest.get(..FRAME_BYTES + body_bytes) else {
            return torn("the file ends within the record");
        };
        let (framed, checksum) = record.split_at(FRAME_HEAD_BYTES + body_bytes);
        if crc32c(framed).to_be_bytes() != *checksum {
            if record.len() == rest.len() {
                return torn("the last record does not fit its checksum");
            }
            return damage(DamageReason::RecordChecksum, "The record does not fit its checksum: it was changed".into());
        }
        let (Some(stated), Some(kind)) = (reader.array().map(u64::from_be_bytes), reader.byte()) else {
            return torn("the file ends within the record");
        };
        if stated != index {
            let what = if stated > index {
                format!("Record {index} should stand here and record {stated} does: records are missing or were moved")
            } else {
                format!("Record {index} should stand here and record {stated} does, a second time or out of its order")
            };
            return damage(DamageReason::RecordIndex, what);
        }
        let Some(kind) = RecordType::of(kind) else {
            return damage(DamageReason::RecordType, format!("The record is of the type {kind}, which is not known"));
        };
        if kind != RecordType::Events {
            let body = &framed[FRAME_HEAD_BYTES..];
            if body.len() != SIGNED_BODY_BYTES {
                let what = format!("The record has a body of {body_bytes} bytes instead of {SIGNED_BODY_BYTES}");
                return damage(DamageReason::RecordLength, what);
            }
            let Some(clocks) = place.signed_clocks(kind, body, &self.header.installation) else {
                let since = self.signed_records;
                let what = format!(
                    "The installation did not sign what stands before this record: something after record {since} was \
                     changed, taken out or put in"
                );
                return damage(DamageReason::ChainSignature, what);
            };
            self.signed_records = index;
            if kind == RecordType::Close {
                self.end = End::Closed(clocks);
            }
        }
        self.records.push(Spot { offset, body_bytes, kind, chain: self.end_chain });
        self.end_chain = place.after(record);
        self.end_offset += record.len();
        Ok(Next::Record)
    }

    /// What the header says.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The name that the file ought to have.
    pub fn name(&self) -> SegmentName {
        self.header.name()
    }

    /// Whole records, up to the end or the damage.
    pub fn records(&self) -> u64 {
        self.records.len() as u64
    }

    /// Records up to the last one that is signed: 0 where the header alone is. Those after it could have been written
    /// by anyone who holds the file, until a checkpoint, a close or the next segment vouches for them.
    pub fn signed_records(&self) -> u64 {
        self.signed_records
    }

    /// How it ends. With damage it says nothing.
    pub fn end(&self) -> &End {
        &self.end
    }

    /// Damage within the records, which [`verify`] refuses.
    pub fn damage(&self) -> Option<&Damage> {
        self.damage.as_ref()
    }

    /// The chain after its whole records.
    pub fn head(&self) -> Head {
        Head { segment: self.header.segment, records: self.records(), chain: self.end_chain }
    }

    /// The chain value after so many records, where there are as many.
    pub fn chain_after(&self, records: u64) -> Option<Sha256> {
        if records == self.records() {
            return Some(self.end_chain);
        }
        self.records.get(usize::try_from(records).ok()?).map(|spot| spot.chain)
    }

    /// The end that a writer would continue, up to the last whole record.
    pub fn tail(&self) -> Tail {
        Tail {
            installation: self.header.installation.id(),
            head: self.head(),
            records_before: self.header.records_before,
            bytes: self.end_offset as u64,
            closed: matches!(self.end, End::Closed(_)),
        }
    }

    /// The bytes of the header.
    pub(super) fn header_bytes(&self) -> &'a [u8] {
        &self.bytes[..self.header_bytes]
    }

    /// The sealed bodies, in order.
    pub(super) fn sealed_bodies(&self) -> impl Iterator<Item = SealedBody<'a>> + use<'a, '_> {
        let segment = self.header.segment;
        (1..).zip(&self.records).filter(|(_, spot)| spot.kind == RecordType::Events).map(move |(index, spot)| {
            SealedBody {
                place: Place { segment, index, chain: spot.chain },
                offset: spot.offset,
                body: &self.bytes[spot.offset + FRAME_HEAD_BYTES..][..spot.body_bytes],
            }
        })
    }
}
