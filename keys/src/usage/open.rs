//! Opening a usage file with a private key. What is opened was verified first, in the very same bytes.

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use zeroize::Zeroizing;

use super::{
    content::Decoder,
    damage::{Damage, DamageReason},
    file::{SealedBody, SegmentFile, salvage},
    header::HEAD_BYTES,
    item::Item,
    key::UsagePrivateKey,
    wrap::ContentKey,
};

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenedRecord {
    /// Its index in the file, from 1.
    pub record: u64,
    /// Its items, in their order.
    pub items: Vec<Item>,
}

/// A file with all that it says.
#[derive(Clone, Debug)]
pub struct Opened<'a> {
    /// The file, verified up to its end or to its damage.
    pub file: SegmentFile<'a>,
    /// What its records say, up to the damage.
    pub records: Vec<OpenedRecord>,
    /// The first damage: of the file itself, or found on opening.
    pub damage: Option<Damage>,
}

impl Opened<'_> {
    /// Every item, in order.
    pub fn items(&self) -> impl Iterator<Item = &Item> {
        self.records.iter().flat_map(|record| &record.items)
    }
}

/// Verifies a file and opens all of it that is whole. [`Opened::damage`] tells what is not.
///
/// # Errors
/// Damage of the header; `not-a-recipient`, `wrapped-key`, `key-commitment`.
pub fn open<'a>(bytes: &'a [u8], key: &UsagePrivateKey) -> Result<Opened<'a>, Damage> {
    let file = salvage(bytes)?;
    let mut damage = file.damage().cloned();
    let mut records = Vec::new();
    for record in file.open(key)? {
        match record {
            Ok(record) => records.push(record),
            // It lies before the damage that was found without a key, which ends the whole records.
            Err(found) => damage = Some(found),
        }
    }
    Ok(Opened { file, records, damage })
}

impl<'a> SegmentFile<'a> {
    /// Opens record by record, so that no more than one is held at once; ends after the first that cannot be opened.
    ///
    /// # Errors
    /// `not-a-recipient`, `wrapped-key`, `key-commitment`.
    pub fn open(
        &self,
        key: &UsagePrivateKey,
    ) -> Result<impl Iterator<Item = Result<OpenedRecord, Damage>> + use<'a, '_>, Damage> {
        let mut content_key = Some(self.content_key(key)?);
        let mut decoder = Decoder::new(self.header().names, self.header().start.trusted);
        Ok(self.sealed_bodies().map_while(move |sealed| {
            let record = open_record(&sealed, content_key.as_ref()?, &mut decoder);
            if record.is_err() {
                content_key = None;
            }
            Some(record)
        }))
    }

    /// The content key for the holder of `key`, held against the header's commitment.
    fn content_key(&self, key: &UsagePrivateKey) -> Result<LessSafeKey, Damage> {
        let id = key.public().id();
        let refuse = |reason, what: String| Err(Damage::header(reason, HEAD_BYTES, what));
        let Some(recipient) = self.header().recipients.iter().find(|recipient| recipient.key == id) else {
            let names: Vec<String> =
                self.header().recipients.iter().map(|recipient| recipient.key.to_string()).collect();
            let what = format!("The file is sealed to the usage keys {}, and this is {id}", names.join(", "));
            return refuse(DamageReason::NotARecipient, what);
        };
        let Some(content) = ContentKey::unwrap(recipient, &self.header_bytes()[..HEAD_BYTES], key) else {
            return refuse(
                DamageReason::WrappedKey,
                format!("The content key cannot be opened for the usage key {id}"),
            );
        };
        if content.commitment() != self.header().commitment {
            return refuse(
                DamageReason::KeyCommitment,
                format!("The usage key {id} is given another content key than the header commits to"),
            );
        }
        UnboundKey::new(&CHACHA20_POLY1305, &*content.0)
            .map(LessSafeKey::new)
            .or_else(|_| refuse(DamageReason::WrappedKey, "The content key cannot be used".into()))
    }
}

fn open_record(sealed: &SealedBody<'_>, key: &LessSafeKey, decoder: &mut Decoder) -> Result<OpenedRecord, Damage> {
    let record = sealed.place.index;
    let refuse = |reason, what: String| Damage::record(reason, record, sealed.offset, what);
    let mut body = Zeroizing::new(sealed.body.to_vec());
    let associated = sealed.place.associated_data(body.len());
    let nonce = Nonce::assume_unique_for_key(sealed.place.nonce());
    let content = key.open_in_place(nonce, Aad::from(associated), &mut body).map_err(|_| {
        let what = "The record is not what was sealed at this place with the file's key: it was changed or put in";
        refuse(DamageReason::RecordSealed, what.into())
    })?;
    let items = decoder
        .decode(content)
        .map_err(|why| refuse(DamageReason::BadContent, format!("The record cannot be read, since {why}")))?;
    Ok(OpenedRecord { record, items })
}
