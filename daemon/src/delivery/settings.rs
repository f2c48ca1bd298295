//! What the configuration says of delivery, checked: destinations, the bucket's address, how long files are kept. Files
//! that are named are read only where they are looked through before a start.

use std::{fmt, path::PathBuf, str::FromStr};

use super::secrets::bucket_keys;
use crate::way_out::{Origin, Surroundings, TLS_PORT, Trouble, is_segment};

/// Where usage files go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// `s3://BUCKET/PREFIX`.
    Bucket {
        /// The bucket.
        bucket: String,
        /// What its objects' names begin with, without slashes at its ends; may be empty.
        prefix: String,
    },
    /// `https://HOST/PATH`: the licensor's endpoint. Files go to `/v1/usage/NAME` below it.
    Endpoint {
        /// The host.
        origin: Origin,
        /// The path, without `/v1/usage` and without a slash at its end; mostly empty.
        path: String,
    },
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Destination::Bucket { bucket, prefix } if prefix.is_empty() => write!(f, "s3://{bucket}"),
            Destination::Bucket { bucket, prefix } => write!(f, "s3://{bucket}/{prefix}"),
            Destination::Endpoint { origin, path } => write!(f, "https://{}{path}", origin.authority()),
        }
    }
}

/// Why a text is no destination.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotADestination(pub &'static str);

impl FromStr for Destination {
    type Err = NotADestination;

    fn from_str(text: &str) -> Result<Self, NotADestination> {
        if let Some(rest) = text.strip_prefix("s3://") {
            let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
            if !is_bucket(bucket) {
                return Err(NotADestination("a bucket's name has 3 to 63 of a-z, 0-9, - and ."));
            }
            let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
            if !prefix.is_empty() && !prefix.split('/').all(is_segment) {
                return Err(NotADestination(
                    "the parts of a prefix are made of letters, digits and - _ . = +, and are not . or ..",
                ));
            }
            Ok(Destination::Bucket { bucket: bucket.to_owned(), prefix: prefix.to_owned() })
        } else if let Some(rest) = text.strip_prefix("https://") {
            let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            let origin = Origin::read(authority, Some(TLS_PORT)).map_err(NotADestination)?;
            let path = path.strip_suffix('/').unwrap_or(path);
            let path = path.strip_suffix("/v1/usage").unwrap_or(path);
            if !path.is_empty() && !path.strip_prefix('/').is_some_and(|path| path.split('/').all(is_segment)) {
                return Err(NotADestination("its path is made of letters, digits and - _ . = +, without a query"));
            }
            Ok(Destination::Endpoint { origin, path: path.to_owned() })
        } else {
            Err(NotADestination("it begins neither with s3:// nor with https://"))
        }
    }
}

fn is_bucket(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    (3..=63).contains(&name.len())
        && name.bytes().all(|byte| plain(byte) || byte == b'-' || byte == b'.')
        && name.bytes().next().is_some_and(plain)
        && name.bytes().last().is_some_and(plain)
        && !name.contains("..")
}

/// Where and how the bucket is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketSettings {
    /// The server; `None`: Amazon's of the region.
    pub endpoint: Option<Origin>,
    /// The region that requests are signed for.
    pub region: String,
    /// The file with the credentials.
    pub credentials: Option<PathBuf>,
}

/// What the configuration says of delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Goes before the activation file's.
    pub destination: Option<Destination>,
    /// Days after its receipt that a file is kept.
    pub keep_days: u32,
    /// The bucket.
    pub s3: BucketSettings,
}

impl Settings {
    /// What of the files that settings name cannot be used as it is now, by setting. Reads them.
    pub(crate) fn unusable(&self) -> Option<(&'static str, Trouble)> {
        self.s3.credentials.as_ref()?;
        let trouble = bucket_keys(self, &Surroundings::default()).err()?;
        Some(("usage.s3.credentials", trouble))
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            destination: None,
            keep_days: 400,
            s3: BucketSettings { endpoint: None, region: "us-east-1".to_owned(), credentials: None },
        }
    }
}

/// Reads the address of a server for buckets: `https://HOST:PORT`.
///
/// # Errors
/// What is wrong with it.
pub fn bucket_endpoint(text: &str) -> Result<Origin, &'static str> {
    let rest = text.strip_prefix("https://").ok_or("it does not begin with https://")?;
    Origin::read(rest.strip_suffix('/').unwrap_or(rest), Some(TLS_PORT))
}
