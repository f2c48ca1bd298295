//! Addresses on the way out, as the configuration and activation files write them: hosts with ports, paths, the forward proxy.
//! Nothing is looked up here.

use std::{fmt, str::FromStr};

use percent_encoding::percent_decode_str;
use zeroize::Zeroizing;

/// The port of TLS where none is named.
pub(crate) const TLS_PORT: u16 = 443;

/// A text that nobody is to see: it is wiped after use and prints as dots.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes it.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The text.
    pub(crate) fn expose(&self) -> &str {
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
    pub(crate) fn authority(&self) -> String {
        let whole = self.to_string();
        match self.port {
            TLS_PORT => whole.strip_suffix(":443").unwrap_or(&whole).to_owned(),
            _ => whole,
        }
    }

    /// Reads `HOST` or `HOST:PORT`; `port` is what goes without saying.
    pub(crate) fn read(authority: &str, port: Option<u16>) -> Result<Self, &'static str> {
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

/// A part of a path or prefix that goes into a URL as it is.
pub(crate) fn is_segment(part: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.=+".contains(&byte);
    !part.is_empty() && part != "." && part != ".." && part.bytes().all(plain)
}
