//! Where a license server listens, and how it is reached.
//!
//! Only what needs no encryption is allowed: a Unix socket, or plaintext HTTP/2 on a loopback address. Nothing here
//! retries, fails over or knows what is said over the connection.

use std::{
    error::Error,
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use tonic::transport::Channel;

/// The TCP port that a daemon listens on by default.
pub const DEFAULT_PORT: u16 = 7127;
/// The Unix socket that a daemon listens on by default.
pub const DEFAULT_SOCKET: &str = "/run/leasehold/leasehold.sock";

/// How long a connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// A quiet connection is probed this often, in use or not: without it a partition is never noticed.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(5);
/// A probe unanswered for this long ends the connection. Interval and timeout together stay under 0.8 times the
/// shortest TTL (10 s), so that a holder has time to go elsewhere.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(2);
/// `sun_path` on Linux, less its terminating zero.
const SOCKET_PATH_LIMIT_BYTES: usize = 107;

/// The address of a license server: a Unix socket, or a port on a loopback address.
///
/// Written `unix:///run/leasehold/leasehold.sock` or `http://127.0.0.1:7127`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint(Place);

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Place {
    Unix(PathBuf),
    Loopback(SocketAddr),
}

impl Endpoint {
    /// The Unix socket at this path, which must be absolute and at most 107 bytes long.
    ///
    /// # Errors
    ///
    /// [`EndpointError::SocketPath`] where it is not.
    pub fn unix(path: impl Into<PathBuf>) -> Result<Self, EndpointError> {
        let path = path.into();
        let refused = |why| EndpointError::SocketPath { path: path.display().to_string(), why };
        let Some(text) = path.to_str() else {
            return Err(refused("it is not valid UTF-8"));
        };
        if !path.is_absolute() {
            return Err(refused("it is not absolute: write unix:// and then the whole path from /"));
        }
        if text.len() > SOCKET_PATH_LIMIT_BYTES {
            return Err(refused("it is longer than the 107 bytes that the system allows for a socket"));
        }
        if text.contains('\0') {
            return Err(refused("it contains a zero byte"));
        }
        Ok(Self(Place::Unix(path)))
    }

    /// A port on a loopback address.
    ///
    /// # Errors
    ///
    /// [`EndpointError::NotLoopback`] where the address is another, [`EndpointError::Port`] where the port is 0.
    pub fn loopback(address: SocketAddr) -> Result<Self, EndpointError> {
        if !address.ip().is_loopback() {
            return Err(EndpointError::NotLoopback { host: address.ip().to_string() });
        }
        if address.port() == 0 {
            return Err(EndpointError::Port { endpoint: format!("http://{address}") });
        }
        Ok(Self(Place::Loopback(address)))
    }

    /// Where a daemon listens unless it is told otherwise, best first: [`DEFAULT_SOCKET`], then [`DEFAULT_PORT`] on
    /// 127.0.0.1.
    #[must_use]
    pub fn defaults() -> Vec<Self> {
        vec![
            Self(Place::Unix(PathBuf::from(DEFAULT_SOCKET))),
            Self(Place::Loopback(SocketAddr::from((Ipv4Addr::LOCALHOST, DEFAULT_PORT)))),
        ]
    }

    /// The path of the Unix socket, where it is one. Administration is served there only.
    #[must_use]
    pub fn socket_path(&self) -> Option<&Path> {
        match &self.0 {
            Place::Unix(path) => Some(path),
            Place::Loopback(_) => None,
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Place::Unix(path) => write!(f, "unix://{}", path.display()),
            Place::Loopback(address) => write!(f, "http://{address}"),
        }
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        if let Some(path) = text.strip_prefix("unix://") {
            return Self::unix(path);
        }
        let Some(rest) = text.strip_prefix("http://") else {
            return Err(match text.strip_prefix("https://") {
                Some(_) => EndpointError::Encrypted { endpoint: text.to_owned() },
                None => EndpointError::Scheme { endpoint: text.to_owned() },
            });
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if let Ok(address) = authority.parse::<SocketAddr>() {
            return Self::loopback(address);
        }
        let no_port = || EndpointError::Port { endpoint: text.to_owned() };
        // An address without a port, before "host:port": the colons of IPv6 are not a port's.
        let bare = authority.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(authority);
        if let Ok(address) = bare.parse::<IpAddr>() {
            return Err(if address.is_loopback() {
                no_port()
            } else {
                EndpointError::NotLoopback { host: bare.to_owned() }
            });
        }
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        };
        // A name could resolve to anything; this one is loopback by definition (RFC 6761), and is not looked up.
        if host != "localhost" {
            return Err(EndpointError::NotLoopback { host: host.to_owned() });
        }
        let port = port.and_then(|port| port.parse::<u16>().ok()).ok_or_else(no_port)?;
        Self::loopback(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
    }
}

/// Why an address was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EndpointError {
    /// It begins neither with `unix://` nor with `http://`.
    #[error(
        "the server address \"{endpoint}\" is refused: it must be unix:///path/leasehold.sock or http://127.0.0.1:PORT"
    )]
    Scheme {
        /// The address as given.
        endpoint: String,
    },
    /// It asks for encryption.
    #[error(
        "the server address \"{endpoint}\" is refused: encrypted connections are not supported yet; use the server's \
         Unix socket or its loopback port on the same machine"
    )]
    Encrypted {
        /// The address as given.
        endpoint: String,
    },
    /// It is not on this machine.
    #[error(
        "the server \"{host}\" is refused: without encryption only this machine is reached; use 127.0.0.1, [::1] or \
         the server's Unix socket"
    )]
    NotLoopback {
        /// The host as given.
        host: String,
    },
    /// It lacks a port, or its port is not 1 to 65,535.
    #[error(
        "the server address \"{endpoint}\" is refused: it needs a port from 1 to 65535, such as http://127.0.0.1:7127"
    )]
    Port {
        /// The address as given.
        endpoint: String,
    },
    /// Its path cannot be that of a socket.
    #[error("the socket path \"{path}\" is refused: {why}")]
    SocketPath {
        /// The path as given.
        path: String,
        /// What is wrong with it.
        why: &'static str,
    },
}

/// A server could not be reached at all: nothing was asked, nothing was answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot reach the license server at {endpoint}: {cause}")]
pub struct Unreachable {
    /// The server.
    pub endpoint: Endpoint,
    /// The system's own words, such as `Connection refused (os error 111)`.
    pub cause: String,
}

/// Connects to a server, within 3 seconds.
///
/// The channel probes a quiet connection every 5 s and gives it up when a probe stays unanswered for 2 s. It connects
/// anew by itself at the next call after it was lost.
///
/// # Errors
///
/// [`Unreachable`] where nothing listens there, access is denied, or it took too long.
pub async fn connect(endpoint: &Endpoint) -> Result<Channel, Unreachable> {
    let unreachable = |cause: String| Unreachable { endpoint: endpoint.clone(), cause };
    let dial = tonic::transport::Endpoint::from_shared(endpoint.to_string())
        .map_err(|error| unreachable(innermost(&error)))?
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .keep_alive_while_idle(true);
    // The connect timeout does not cover Unix sockets, whose backlog can be full.
    match tokio::time::timeout(CONNECT_TIMEOUT, dial.connect()).await {
        Ok(Ok(channel)) => Ok(channel),
        Ok(Err(error)) => Err(unreachable(innermost(&error))),
        Err(_) => Err(unreachable(format!("no connection within {} s", CONNECT_TIMEOUT.as_secs()))),
    }
}

/// The last cause in a chain of errors says what happened; those above it say where.
pub(crate) fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_sockets_and_loopback_only() {
        for (text, shown) in [
            ("unix:///run/leasehold/leasehold.sock", "unix:///run/leasehold/leasehold.sock"),
            ("http://127.0.0.1:7127", "http://127.0.0.1:7127"),
            ("http://127.0.0.1:7127/", "http://127.0.0.1:7127"),
            ("http://127.8.0.1:1", "http://127.8.0.1:1"),
            ("http://[::1]:7127", "http://[::1]:7127"),
            ("http://localhost:7127", "http://127.0.0.1:7127"),
        ] {
            assert_eq!(text.parse::<Endpoint>().map(|endpoint| endpoint.to_string()), Ok(shown.to_owned()), "{text}");
        }
    }

    #[test]
    fn refuses_everything_else_saying_what_is_wrong() {
        for (text, said) in [
            ("", "must be unix:"),
            ("127.0.0.1:7127", "must be unix:"),
            ("https://127.0.0.1:7127", "encrypted connections are not supported yet"),
            ("http://10.1.2.3:7127", "\"10.1.2.3\" is refused"),
            ("http://0.0.0.0:7127", "\"0.0.0.0\" is refused"),
            ("http://10.1.2.3", "\"10.1.2.3\" is refused"),
            ("http://license-server:7127", "\"license-server\" is refused"),
            ("http://localhost.example.com:7127", "is refused"),
            ("http://[2001:db8::1]:7127", "\"2001:db8::1\" is refused"),
            ("http://127.0.0.1", "needs a port"),
            ("http://[::1]", "needs a port"),
            ("http://127.0.0.1:0", "needs a port"),
            ("http://localhost", "needs a port"),
            ("http://localhost:70000", "needs a port"),
            ("http://127.0.0.1:7127/path", "is refused"),
            ("unix://relative.sock", "not absolute"),
            ("unix:///run/\0/x", "zero byte"),
        ] {
            let refusal = text.parse::<Endpoint>().expect_err(text).to_string();
            assert!(refusal.contains(said), "{text}: {refusal}");
        }
        let long = format!("unix:///{}", "a".repeat(107));
        assert!(long.parse::<Endpoint>().expect_err("too long").to_string().contains("107 bytes"));
    }

    #[tokio::test]
    async fn says_in_the_systems_words_why_nothing_answers() {
        let folder = tempfile::tempdir().expect("a folder");
        let endpoint = Endpoint::unix(folder.path().join("none.sock")).expect("an endpoint");
        let refused = connect(&endpoint).await.expect_err("nothing listens there");
        assert!(refused.to_string().contains("No such file or directory"), "{refused}");
    }
}
