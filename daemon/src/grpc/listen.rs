//! Where the daemon listens: loopback TCP in plaintext and a Unix socket, nothing else until there is TLS. Binding, stated
//! limits, and who a peer is. What is asked is the services' matter.

use std::{
    fs, io,
    net::SocketAddr,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpStream, UnixListener},
    sync::mpsc,
    task::JoinSet,
};
use tokio_stream::Stream;
use tonic::Request;

use super::{
    connection::{Address, Connection, Doors, Origin, Patience, Peer},
    convert::Known,
};

/// Where and how to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Loopback addresses; port 0 takes a free one.
    pub tcp: Vec<SocketAddr>,
    /// The Unix socket.
    pub socket: Option<SocketSettings>,
    /// The stated limits.
    pub limits: Limits,
}

/// The Unix socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketSettings {
    /// Its path, at most 100 bytes.
    pub path: PathBuf,
    /// Who may connect, as a file mode such as 0o660.
    pub mode: u32,
    /// The group that the file is given: a name of `/etc/group`, or a number.
    pub group: Option<String>,
}

/// What tonic does not limit by itself (08, Security).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Open connections in all.
    pub connections: usize,
    /// Open connections of one address, or of one user on the Unix socket.
    pub connections_per_address: usize,
    /// Requests and streams that one connection has open at a time.
    pub streams_per_connection: u32,
    /// The most bytes of a request's headers.
    pub header_bytes: u32,
    /// A connection that asks nothing for so long after it was opened is closed.
    pub first_request: Duration,
    /// A connection that asks nothing for so long after its last answer is closed. An open stream is a request.
    pub idle: Duration,
    /// How often a silent connection is asked whether its peer lives, and how long that may take to say so.
    pub keepalive: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 4_096,
            connections_per_address: 2_048,
            streams_per_connection: 1_024,
            header_bytes: 8 * 1_024,
            first_request: Duration::from_secs(10),
            idle: Duration::from_secs(15 * 60),
            keepalive: Duration::from_secs(20),
        }
    }
}

impl Limits {
    fn patience(&self) -> Patience {
        Patience { first_request: self.first_request, idle: self.idle }
    }
}

/// Why the daemon cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenFault {
    /// There would be nothing to connect to.
    #[error("nothing is configured to listen on. Name a Unix socket, or a loopback address such as 127.0.0.1:7160")]
    Nowhere,
    /// Plaintext that leaves the machine.
    #[error(
        "{0} is not a loopback address. This version speaks plaintext only, so it listens on 127.0.0.1, [::1] and a Unix socket; let a \
         program on this machine forward what comes from outside"
    )]
    NotLoopback(SocketAddr),
    /// Somebody has the port.
    #[error("cannot listen on {address}: {fault}. {}", tcp_remedy(fault))]
    Tcp {
        /// The address.
        address: SocketAddr,
        /// Why.
        fault: io::Error,
    },
    /// Another server answers on the socket.
    #[error("another server listens on {0}. Stop it, or configure another socket")]
    SocketInUse(PathBuf),
    /// Something else lies at the socket's path.
    #[error("{0} exists and is not a socket. Move it away, or configure another socket")]
    NotASocket(PathBuf),
    /// No such group.
    #[error("there is no group `{0}` in /etc/group. Make it, or give the socket to a group by its number")]
    NoGroup(String),
    /// The socket cannot be made.
    #[error("cannot listen on {path}: {fault}. {}", socket_remedy(fault))]
    Socket {
        /// The path.
        path: PathBuf,
        /// Why.
        fault: io::Error,
    },
}

fn tcp_remedy(fault: &io::Error) -> &'static str {
    match fault.kind() {
        io::ErrorKind::AddrInUse => "Another program has the port (`ss -ltnp` shows which); choose another one",
        io::ErrorKind::PermissionDenied => {
            "The system does not let the daemon have this port: choose one of 1024 or above, or see what forbids it"
        }
        io::ErrorKind::AddrNotAvailable => "This machine does not have this address; 127.0.0.1 is there on every one",
        _ => "Choose another address or port, if the system's words do not help",
    }
}

fn socket_remedy(fault: &io::Error) -> &'static str {
    match (fault.kind(), fault.raw_os_error()) {
        (io::ErrorKind::NotFound, _) => "Make its directory, and give it to the daemon's user",
        // Whoever may write in the directory, and is refused nevertheless, was about to give the socket away.
        (_, Some(code)) if code == rustix::io::Errno::PERM.raw_os_error() => {
            "The daemon's user must be a member of the group that the socket is to be given to (listen.unix_group)"
        }
        (io::ErrorKind::PermissionDenied, _) => "Let the daemon's user write in its directory",
        (io::ErrorKind::InvalidInput, _) => "Choose a shorter path: at most 100 bytes",
        _ => "See that its directory is there, and that the daemon may write in it",
    }
}

/// A Unix socket's file; removed when nobody listens any more, unless another one has taken its place.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    inode: (u64, u64),
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|file| (file.dev(), file.ino()) == self.inode) {
            // A file that stays behind is found to be stale at the next start.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Addresses that are bound and not yet served.
#[derive(Debug)]
pub struct Bound {
    tcp: Vec<(SocketAddr, TcpListener)>,
    socket: Option<(UnixListener, SocketFile)>,
    pub(super) limits: Limits,
}

impl Bound {
    /// Binds all addresses. Connections that come before they are served wait in the system's queue.
    ///
    /// # Errors
    /// See [`ListenFault`].
    pub async fn bind(settings: &Settings) -> Result<Self, ListenFault> {
        if settings.tcp.is_empty() && settings.socket.is_none() {
            return Err(ListenFault::Nowhere);
        }
        let mut tcp = Vec::new();
        for address in &settings.tcp {
            if !address.ip().to_canonical().is_loopback() {
                return Err(ListenFault::NotLoopback(*address));
            }
            let fault = |fault| ListenFault::Tcp { address: *address, fault };
            let listener = TcpListener::bind(address).await.map_err(fault)?;
            tcp.push((listener.local_addr().map_err(fault)?, listener));
        }
        let socket = settings.socket.as_ref().map(bind_socket).transpose()?;
        Ok(Self { tcp, socket, limits: settings.limits })
    }

    /// The TCP addresses, with the ports that were taken.
    pub fn tcp(&self) -> Vec<SocketAddr> {
        self.tcp.iter().map(|(address, _)| *address).collect()
    }

    /// What it listens on, as clients write it: `http://127.0.0.1:7160`, `unix:///run/leasehold/leasehold.sock`.
    pub fn addresses(&self) -> Vec<String> {
        let socket = self.socket.iter().map(|(_, file)| format!("unix://{}", file.path.display()));
        socket.chain(self.tcp.iter().map(|(address, _)| format!("http://{address}"))).collect()
    }

    /// Accepts connections from now on, until what is returned is dropped.
    pub(super) fn accept(self) -> Incoming {
        /// Connections that are accepted and not yet served.
        const BACKLOG: usize = 64;
        let (to, connections) = mpsc::channel(BACKLOG);
        let doors = Doors::new(self.limits.connections, self.limits.connections_per_address);
        let patience = self.limits.patience();
        let mut tasks = JoinSet::new();
        for (_, listener) in self.tcp {
            tasks.spawn(accept_tcp(listener, doors.clone(), patience, to.clone()));
        }
        if let Some((listener, file)) = self.socket {
            tasks.spawn(accept_unix(listener, file, doors, patience, to));
        }
        Incoming { connections, _tasks: tasks }
    }
}

/// Accepted connections.
#[derive(Debug)]
pub(super) struct Incoming {
    connections: mpsc::Receiver<Connection>,
    /// Aborted when this is dropped, which closes the listeners.
    _tasks: JoinSet<()>,
}

impl Stream for Incoming {
    type Item = Result<Connection, io::Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.connections.poll_recv(context).map(|connection| connection.map(Ok))
    }
}

async fn accept_tcp(listener: TcpListener, doors: Doors, patience: Patience, to: mpsc::Sender<Connection>) {
    loop {
        match listener.accept().await {
            Ok((stream, from)) => {
                let Some(place) = doors.enter(Address::Ip(from.ip())) else { continue };
                if let Err(fault) = quick(&stream) {
                    tracing::debug!(%from, %fault, "A connection was lost before it was served.");
                    continue;
                }
                if to.send(Connection::tcp(stream, from, patience, place)).await.is_err() {
                    return;
                }
            }
            Err(fault) => not_accepted(&fault).await,
        }
    }
}

/// Small answers leave at once.
fn quick(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)
}

async fn accept_unix(
    listener: UnixListener,
    _file: SocketFile,
    doors: Doors,
    patience: Patience,
    to: mpsc::Sender<Connection>,
) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let uid = match stream.peer_cred() {
                    Ok(peer) => peer.uid(),
                    Err(fault) => {
                        tracing::warn!(%fault, "A connection was refused: the system does not say whose it is.");
                        continue;
                    }
                };
                let Some(place) = doors.enter(Address::Uid(uid)) else { continue };
                if to.send(Connection::unix(stream, uid, patience, place)).await.is_err() {
                    return;
                }
            }
            Err(fault) => not_accepted(&fault).await,
        }
    }
}

/// Out of file descriptors, as a rule: trying again at once would only burn time.
async fn not_accepted(fault: &io::Error) {
    const AGAIN_AFTER: Duration = Duration::from_millis(200);
    tracing::warn!(%fault, "A connection could not be accepted.");
    tokio::time::sleep(AGAIN_AFTER).await;
}

/// Binds the socket under a name of its own, sets who may connect, and only then puts it in its place: at no moment is it
/// open to more users than it should be.
fn bind_socket(settings: &SocketSettings) -> Result<(UnixListener, SocketFile), ListenFault> {
    let SocketSettings { path, mode, group } = settings;
    let fault = |fault| ListenFault::Socket { path: path.clone(), fault };
    let group = group.as_deref().map(group_id).transpose()?;
    make_room(path)?;
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().ok_or_else(|| fault(io::Error::from(io::ErrorKind::InvalidInput)))?);
    name.push(format!(".{}", std::process::id()));
    let making = path.with_file_name(name);
    let _ = fs::remove_file(&making);
    let listener = UnixListener::bind(&making).map_err(fault)?;
    let in_place = || -> io::Result<SocketFile> {
        if group.is_some() {
            std::os::unix::fs::chown(&making, None, group)?;
        }
        fs::set_permissions(&making, fs::Permissions::from_mode(*mode))?;
        let made = fs::symlink_metadata(&making)?;
        fs::rename(&making, path)?;
        Ok(SocketFile { path: path.clone(), inode: (made.dev(), made.ino()) })
    };
    match in_place() {
        Ok(file) => Ok((listener, file)),
        Err(cause) => {
            let _ = fs::remove_file(&making);
            Err(fault(cause))
        }
    }
}

/// A socket that nobody listens on was left by a server that did not stop in order, and may be replaced.
fn make_room(path: &Path) -> Result<(), ListenFault> {
    let fault = |fault| ListenFault::Socket { path: path.to_owned(), fault };
    let there = match fs::symlink_metadata(path) {
        Ok(there) => there,
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(cause) => return Err(fault(cause)),
    };
    if !there.file_type().is_socket() {
        return Err(ListenFault::NotASocket(path.to_owned()));
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_) => Err(ListenFault::SocketInUse(path.to_owned())),
        Err(stale) if stale.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        Err(cause) => Err(fault(cause)),
    }
}

/// A group by its number, or by its name in `/etc/group`. Directory services are not asked: name those groups by number.
///
/// # Errors
/// [`ListenFault::NoGroup`].
pub(crate) fn group_id(group: &str) -> Result<u32, ListenFault> {
    if let Ok(id) = group.parse() {
        return Ok(id);
    }
    let groups = fs::read_to_string("/etc/group").unwrap_or_default();
    group_in(&groups, group).ok_or_else(|| ListenFault::NoGroup(group.to_owned()))
}

fn group_in(groups: &str, wanted: &str) -> Option<u32> {
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(wanted)).then(|| fields.nth(1)?.parse().ok()).flatten()
    })
}

/// How the transport knows the caller of a request (LEASE-9). A request that comes from nowhere known is one of unknown
/// origin, and may do no more than one from loopback.
pub(super) fn known<T>(request: &Request<T>) -> Known {
    match request.extensions().get::<Peer>().map(|peer| peer.origin) {
        Some(Origin::Socket { uid }) => Known::Uid(uid),
        Some(Origin::Loopback(_)) | None => Known::OnlyByName,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on_socket(path: PathBuf) -> Settings {
        let socket = SocketSettings { path, mode: 0o660, group: None };
        Settings { tcp: Vec::new(), socket: Some(socket), limits: Limits::default() }
    }

    fn on_tcp(address: &str) -> Settings {
        Settings { tcp: vec![address.parse().unwrap()], socket: None, limits: Limits::default() }
    }

    #[tokio::test]
    async fn only_loopback_is_listened_on_without_tls() {
        for outside in ["0.0.0.0:0", "192.0.2.1:0", "[::]:0", "[::ffff:192.0.2.1]:0"] {
            assert!(matches!(Bound::bind(&on_tcp(outside)).await, Err(ListenFault::NotLoopback(_))), "{outside}");
        }
        let bound = Bound::bind(&on_tcp("127.0.0.1:0")).await.unwrap();
        let taken = bound.tcp()[0];
        assert_ne!(taken.port(), 0);
        assert_eq!(bound.addresses(), [format!("http://{taken}")]);
        assert!(
            matches!(Bound::bind(&on_tcp(&taken.to_string())).await, Err(ListenFault::Tcp { .. })),
            "the port is taken"
        );
        let nowhere = Settings { tcp: Vec::new(), socket: None, limits: Limits::default() };
        assert!(matches!(Bound::bind(&nowhere).await, Err(ListenFault::Nowhere)));
    }

    #[tokio::test]
    async fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("leasehold.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "a socket's file outlives its listener");
        let bound = Bound::bind(&on_socket(path.clone())).await.unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o660);
        assert_eq!(bound.addresses(), [format!("unix://{}", path.display())]);
        assert!(matches!(Bound::bind(&on_socket(path.clone())).await, Err(ListenFault::SocketInUse(_))));
        assert!(std::os::unix::net::UnixStream::connect(&path).is_ok(), "the refused one took nothing away");
        drop(bound);
        assert!(!path.exists());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn what_is_no_socket_is_never_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notes.txt");
        fs::write(&path, "mine").unwrap();
        assert!(matches!(Bound::bind(&on_socket(path.clone())).await, Err(ListenFault::NotASocket(_))));
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
        let nowhere = dir.path().join("missing").join("leasehold.sock");
        let Err(fault) = Bound::bind(&on_socket(nowhere)).await else { panic!("there is no such directory") };
        assert!(fault.to_string().contains("Make its directory"), "{fault}");
        let long = dir.path().join("x".repeat(120));
        let Err(fault) = Bound::bind(&on_socket(long)).await else { panic!("the path is too long") };
        assert!(fault.to_string().contains("a shorter path"), "{fault}");
    }

    #[test]
    fn groups_go_by_number_or_name() {
        assert_eq!(group_id("1234").unwrap(), 1234);
        assert!(matches!(group_id("no such group here"), Err(ListenFault::NoGroup(_))));
        assert_eq!(group_in("root:x:0:\nleasehold:x:990:a,b\n", "leasehold"), Some(990));
        assert_eq!(group_in("root:x:0:\nbroken\n", "broken"), None);
    }
}
