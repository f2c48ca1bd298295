//! The one place where wire messages become the engine's values and back. Every field is checked here, once; a fault names
//! the field as the caller writes it and says what is allowed. No decision is made here.

use std::{borrow::Cow, str::FromStr};

use leasehold_engine::{
    command::CallerInfo,
    ids::{Identity, LeaseId, RequestId, RunId},
    refusal::Refusal,
    time::WallTime,
};
use leasehold_keys::{
    activation::LicenseId,
    name::{KeyName, LABEL_MAX_BYTES, Label, PoolName},
};
use leasehold_proto::v1;
use prost_types::Timestamp;

pub(crate) mod administration;
pub(crate) mod leasing;
#[cfg(test)]
mod tests;

/// The most leases, requests or pairs that one message may name.
pub(crate) const MOST_LEASES: usize = 10_000;
/// The most keys that one request may name.
pub(crate) const MOST_KEYS: usize = 100;
/// The most subjects of one question about entitlements.
pub(crate) const MOST_SUBJECTS: usize = 1_000;
/// The most rows of one page.
pub(crate) const MOST_ROWS: usize = 1_000;

/// A checked value, or what is wrong with the field.
pub(crate) type Checked<T> = Result<T, Refusal>;

/// A field that cannot be used: what is wrong with it, and what is allowed.
pub(crate) fn malformed(field: impl Into<Cow<'static, str>>, fault: impl Into<String>) -> Refusal {
    Refusal::Malformed { field: field.into(), fault: fault.into() }
}

/// Anything with a checked spelling; the fault is its own.
fn parsed<T: FromStr<Err: ToString>>(field: impl Into<Cow<'static, str>>, text: &str) -> Checked<T> {
    text.parse().map_err(|fault: T::Err| malformed(field, fault.to_string()))
}

/// A name: 1 to 256 bytes, no control character, no blank at either end.
pub(crate) fn label(field: impl Into<Cow<'static, str>>, text: &str) -> Checked<Label> {
    parsed(field, text)
}

/// A name, or nothing where the field is empty.
pub(crate) fn label_or_none(field: impl Into<Cow<'static, str>>, text: &str) -> Checked<Option<Label>> {
    if text.is_empty() { Ok(None) } else { label(field, text).map(Some) }
}

/// A remark: like a name, but may be empty.
pub(crate) fn remark(field: impl Into<Cow<'static, str>>, text: &str) -> Checked<String> {
    Ok(label_or_none(field, text)?.map_or_else(String::new, String::from))
}

/// At most `most` names.
pub(crate) fn labels(field: &'static str, texts: &[String], most: usize) -> Checked<Vec<Label>> {
    at_most(field, texts.len(), most)?;
    texts.iter().enumerate().map(|(at, text)| label(format!("{field}[{at}]"), text)).collect()
}

/// Why an administrator does something: 1 to 1,024 bytes, no control character, not blank.
pub(crate) fn reason(text: &str) -> Checked<String> {
    const MOST_BYTES: usize = 1_024;
    let fault = if text.trim().is_empty() {
        "it is empty; the audit log keeps why this was done".to_owned()
    } else if text.len() > MOST_BYTES {
        format!("it has {} bytes; at most {MOST_BYTES} are allowed", text.len())
    } else if let Some(bad) = text.chars().find(|c| c.is_control()) {
        format!("it holds the character {bad:?}, which is not allowed")
    } else {
        return Ok(text.trim().to_owned());
    };
    Err(malformed("reason", fault))
}

/// The name of a key.
pub(crate) fn key_name(field: impl Into<Cow<'static, str>>, text: &str) -> Checked<KeyName> {
    parsed(field, text)
}

/// At most `most` names of keys.
pub(crate) fn key_names(field: &'static str, texts: &[String], most: usize) -> Checked<Vec<KeyName>> {
    at_most(field, texts.len(), most)?;
    texts.iter().enumerate().map(|(at, text)| key_name(format!("{field}[{at}]"), text)).collect()
}

/// The name of a pool.
pub(crate) fn pool_name(field: &'static str, text: &str) -> Checked<PoolName> {
    parsed(field, text)
}

/// A license ID: a UUID.
pub(crate) fn license_id(field: &'static str, text: &str) -> Checked<LicenseId> {
    let id = uuid::Uuid::try_parse(text).map_err(|_| {
        malformed(field, "it is not a license ID, which is a UUID such as 0190c1f0-7b1a-7c3e-9d2f-4a5b6c7d8e9f")
    })?;
    Ok(LicenseId(id))
}

fn sixteen_bytes(field: impl Into<Cow<'static, str>>, bytes: &[u8]) -> Checked<[u8; 16]> {
    bytes.try_into().map_err(|_| {
        malformed(field, format!("it has {} bytes; a UUID of 16 bytes made by the caller is needed", bytes.len()))
    })
}

/// A request ID: 16 bytes.
pub(crate) fn request_id(field: impl Into<Cow<'static, str>>, bytes: &[u8]) -> Checked<RequestId> {
    sixteen_bytes(field, bytes).map(RequestId)
}

/// A request ID, or nothing where the field is empty.
pub(crate) fn request_id_or_none(field: &'static str, bytes: &[u8]) -> Checked<Option<RequestId>> {
    if bytes.is_empty() { Ok(None) } else { request_id(field, bytes).map(Some) }
}

/// A run of an application server: 16 bytes.
pub(crate) fn run_id(field: &'static str, bytes: &[u8]) -> Checked<RunId> {
    sixteen_bytes(field, bytes).map(RunId)
}

/// At most 10,000 leases, none of them 0.
pub(crate) fn lease_ids(field: &'static str, ids: &[u64]) -> Checked<Vec<LeaseId>> {
    at_most(field, ids.len(), MOST_LEASES)?;
    if let Some(at) = ids.iter().position(|id| *id == 0) {
        return Err(malformed(format!("{field}[{at}]"), "it is 0; leases are numbered from 1"));
    }
    Ok(ids.iter().copied().map(LeaseId).collect())
}

/// At least one lease, at most 10,000.
pub(crate) fn some_lease_ids(field: &'static str, ids: &[u64]) -> Checked<Vec<LeaseId>> {
    if ids.is_empty() {
        return Err(malformed(field, format!("it is empty; 1 to {MOST_LEASES} leases are allowed")));
    }
    lease_ids(field, ids)
}

fn at_most(field: &'static str, found: usize, most: usize) -> Checked<()> {
    if found > most {
        return Err(malformed(field, format!("it has {found} entries; at most {most} are allowed")));
    }
    Ok(())
}

/// A page's size: 0 stands for 1,000, the most.
pub(crate) fn page_size(size: u32) -> Checked<usize> {
    match usize::try_from(size).unwrap_or(usize::MAX) {
        0 => Ok(MOST_ROWS),
        size if size <= MOST_ROWS => Ok(size),
        size => {
            Err(malformed("page_size", format!("it is {size}; 1 to {MOST_ROWS} are allowed, and 0 for {MOST_ROWS}")))
        }
    }
}

/// A page token that is a number; empty for the first page.
pub(crate) fn numbered_page(token: &str) -> Checked<Option<u64>> {
    if token.is_empty() {
        return Ok(None);
    }
    match token.parse() {
        Ok(number) if token.bytes().all(|b| b.is_ascii_digit()) => Ok(Some(number)),
        _ => Err(malformed("page_token", "it is not one that this call has given; leave it empty for the first page")),
    }
}

/// A moment of wall-clock time, in the years 1 to 9999.
pub(crate) fn wall_time(field: &'static str, at: &Timestamp) -> Checked<WallTime> {
    const YEARS_1_TO_9999: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;
    if !YEARS_1_TO_9999.contains(&at.seconds) || !(0..=999_999_999).contains(&at.nanos) {
        return Err(malformed(field, "it is not a moment in the years 1 to 9999"));
    }
    Ok(WallTime::from_ms(at.seconds * 1_000 + i64::from(at.nanos) / 1_000_000))
}

/// A moment for the wire.
pub(crate) fn timestamp(at: WallTime) -> Timestamp {
    let nanos = i32::try_from(at.as_ms().rem_euclid(1_000) * 1_000_000).unwrap_or(0);
    Timestamp { seconds: at.as_ms().div_euclid(1_000), nanos }
}

/// How the transport knows the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    /// The kernel named the user ID of the Unix socket's peer.
    Uid(u32),
    /// Nothing is known: loopback TCP.
    OnlyByName,
}

/// Who a caller is (LEASE-9): by its user ID on the Unix socket, where its name is a remark that tells its processes
/// apart; by its name on loopback TCP, where it must give one.
pub(crate) fn caller(known: Known, caller: Option<&v1::Caller>) -> Checked<CallerInfo> {
    let Some(caller) = caller else {
        return Err(malformed(
            "caller",
            "it is missing; say at least the name and the application of the program that asks",
        ));
    };
    let application = label("caller.application", &caller.application)?;
    let version = match caller.version.as_str() {
        "" => None,
        text => Some(parsed("caller.version", text)?),
    };
    let instance = remark("caller.instance", &caller.instance)?;
    let host = remark("caller.host", &caller.host)?;
    let (identity, instance) = match known {
        Known::Uid(uid) => {
            let name = remark("caller.name", &caller.name)?;
            // The name tells the programs of one user apart, so that they do not displace each other.
            let instance = if name.is_empty() || instance == name {
                instance
            } else if instance.is_empty() {
                name
            } else {
                format!("{name}/{instance}")
            };
            // Two remarks of full length would not fit where one does.
            (Identity::Uid(uid), instance.parse::<Label>().map_or_else(|_| shortened(&instance), String::from))
        }
        Known::OnlyByName => (Identity::Name(label("caller.name", &caller.name)?), instance),
    };
    Ok(CallerInfo { identity, instance, application, version, host })
}

/// The identity alone, for questions that take nothing: on the Unix socket nothing needs to be said.
pub(crate) fn identity(known: Known, said: Option<&v1::Caller>) -> Checked<Identity> {
    match (known, said) {
        (Known::Uid(uid), None) => Ok(Identity::Uid(uid)),
        (Known::Uid(_), Some(_)) | (Known::OnlyByName, _) => Ok(caller(known, said)?.identity),
    }
}

/// The first bytes of `text` that fit into a remark, cut between characters.
fn shortened(text: &str) -> String {
    text.chars()
        .scan(0, |bytes, c| {
            *bytes += c.len_utf8();
            (*bytes <= LABEL_MAX_BYTES).then_some(c)
        })
        .collect::<String>()
        .trim_end()
        .to_owned()
}

/// The text of a name that may be missing.
pub(crate) fn or_empty(label: Option<&Label>) -> String {
    label.map_or_else(String::new, |label| label.as_str().to_owned())
}

/// Texts of names.
pub(crate) fn texts<'a>(labels: impl IntoIterator<Item = &'a Label>) -> Vec<String> {
    labels.into_iter().map(|label| label.as_str().to_owned()).collect()
}
