//! What the configuration says of delivery, checked: destinations, the forward proxy, the bucket's address, how long files are
//! kept. No file is read here.

use std::{fmt, path::PathBuf, str::FromStr};

use percent_encoding::percent_decode_str;
use zeroize::Zeroizing;

/// The port of TLS where none is named.
const TLS_PORT: u16 = 443;

/// A text that nobody is to see: it is wiped after use and prints as dots.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes it.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The text.
    pub(super) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// A host and its port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// A name, or an address; that of IPv6 without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

impl Origin {
    /// As it stands in a URL of `https`: without the port that goes without saying.
    pub(super) fn authority(&self) -> String {
        let whole = self.to_string();
        match self.port {
            TLS_PORT => whole.strip_suffix(":443").unwrap_or(&whole).to_owned(),
            _ => whole,
        }
    }

    fn read(authority: &str, port: Option<u16>) -> Result<Self, &'static str> {
        let read: http::uri::Authority = authority.parse().map_err(|_| "it names no host")?;
        if authority.contains('@') {
            return Err("a name and password do not belong into it");
        }
        let named = match (read.port_u16(), authority.ends_with(':'), port) {
            (Some(0), ..) | (_, true, _) => return Err("it names no port that there is"),
            (None, ..) if has_port(authority) => return Err("it names no port that there is"),
            (Some(port), ..) => port,
            (None, _, Some(port)) => port,
            (None, ..) => return Err("it names no port"),
        };
        let host = read.host();
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if host.is_empty() || tokio_rustls::rustls::pki_types::ServerName::try_from(host).is_err() {
            return Err("it names no host");
        }
        Ok(Self { host: host.to_ascii_lowercase(), port: named })
    }
}

/// True where something stands behind the colon that follows a host.
fn has_port(authority: &str) -> bool {
    authority.rsplit(']').next().is_some_and(|rest| rest.contains(':'))
}

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

fn is_segment(part: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.=+".contains(&byte);
    !part.is_empty() && part != "." && part != ".." && part.bytes().all(plain)
}

/// The forward proxy: `http://NAME:PASSWORD@HOST:PORT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    /// Where it listens.
    pub origin: Origin,
    /// Who we are to it.
    pub user: Option<String>,
    /// The password, where it stands there and not in a file.
    pub password: Option<Secret>,
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.user {
            Some(user) => write!(f, "http://{user}@{}", self.origin),
            None => write!(f, "http://{}", self.origin),
        }
    }
}

/// Why a text is no proxy. It never repeats the text, which may hold a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotAProxy(pub &'static str);

impl FromStr for Proxy {
    type Err = NotAProxy;

    fn from_str(text: &str) -> Result<Self, NotAProxy> {
        let rest = text.strip_prefix("http://").ok_or(NotAProxy("it does not begin with http://"))?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (who, authority) = rest.rsplit_once('@').map_or((None, rest), |(who, at)| (Some(who), at));
        let origin = Origin::read(authority, None).map_err(NotAProxy)?;
        let decode = |part: &str| {
            let text = percent_decode_str(part).decode_utf8().ok()?.into_owned();
            (!text.chars().any(char::is_control)).then_some(text)
        };
        let bad = NotAProxy("its name or password is not written as in a URL");
        let (user, password) = match who.map(|who| who.split_once(':').map_or((who, None), |(u, p)| (u, Some(p)))) {
            None => (None, None),
            Some((user, password)) => {
                let user = decode(user).filter(|user| !user.is_empty() && !user.contains(':')).ok_or(bad.clone())?;
                let password = password.map(|password| decode(password).map(Secret::new).ok_or(bad)).transpose()?;
                (Some(user), password)
            }
        };
        Ok(Self { origin, user, password })
    }
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
    /// The way out.
    pub proxy: Option<Proxy>,
    /// Where its password is.
    pub proxy_password_file: Option<PathBuf>,
    /// Certificate authorities beside the system's.
    pub ca: Option<PathBuf>,
    /// Days after its receipt that a file is kept.
    pub keep_days: u32,
    /// The bucket.
    pub s3: BucketSettings,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            destination: None,
            proxy: None,
            proxy_password_file: None,
            ca: None,
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
