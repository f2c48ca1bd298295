//! The way out, one step after the other: name, connection, tunnel through the forward proxy, TLS, one request and its
//! answer. Each step fails by its own name, for deliveries and for the doctor alike. One connection for one request:
//! deliveries are few, and nothing is left open between them.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use http_body::Body;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf},
    net::{TcpStream, lookup_host},
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{ClientConfig, pki_types::ServerName},
};

use super::{
    BodyFault,
    address::{Origin, Secret},
    tls,
    trouble::{Doing, Trouble},
};

/// The most bytes of an answer, where none else are named: twice a signed note.
const ANSWER_MAX_BYTES: usize = 256 * 1_024;
/// The most bytes of a proxy's answer to CONNECT.
const TUNNEL_MAX_BYTES: usize = 16 * 1_024;

/// How long others are waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// For each step until the connection is there.
    pub step: Duration,
    /// Without a byte in either direction.
    pub idle: Duration,
    /// For a whole request with its answer.
    pub whole: Duration,
}

impl Default for Patience {
    /// 17 MiB in ten minutes is a quarter of a megabit a second.
    fn default() -> Self {
        Self { step: Duration::from_secs(15), idle: Duration::from_secs(60), whole: Duration::from_secs(600) }
    }
}

/// The forward proxy.
#[derive(Clone)]
pub(crate) struct Via {
    pub(crate) origin: Origin,
    pub(crate) authorization: Option<Secret>,
}

/// A way to one server.
#[derive(Clone)]
pub(crate) struct Way {
    pub(crate) to: Origin,
    pub(crate) via: Option<Via>,
    pub(crate) tls: Arc<ClientConfig>,
    pub(crate) patience: Patience,
    /// The most bytes of an answer.
    pub(crate) answer_max_bytes: usize,
}

/// The way shows neither its proxy's password nor anything of TLS.
impl std::fmt::Debug for Way {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Way").field("to", &self.to).finish_non_exhaustive()
    }
}

/// An answer, whole.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    /// True for what a licensor's endpoint answers to `GET /v1/health`. Other servers answer 200 to anything.
    pub(crate) fn says_ok(&self) -> bool {
        #[derive(Deserialize)]
        struct Health {
            status: String,
        }
        serde_json::from_slice(&self.body).is_ok_and(|health: Health| health.status == "ok")
    }
}

impl Way {
    pub(crate) fn new(to: Origin, via: Option<Via>, tls: Arc<ClientConfig>, patience: Patience) -> Self {
        Self { to, via, tls, patience, answer_max_bytes: ANSWER_MAX_BYTES }
    }

    /// Who is connected to: the proxy, or the server itself.
    pub(crate) fn first(&self) -> &Origin {
        self.via.as_ref().map_or(&self.to, |via| &via.origin)
    }

    /// A fault of reaching the first one, as the proxy's where there is one.
    fn at_first(&self, direct: impl FnOnce(String) -> Trouble, why: &str) -> Trouble {
        match &self.via {
            Some(via) => Trouble::ProxyUnreachable { proxy: via.origin.to_string(), why: why.to_owned() },
            None => direct(self.to.to_string()),
        }
    }

    pub(crate) async fn resolve(&self) -> Result<Vec<SocketAddr>, Trouble> {
        let first = self.first();
        let not_found = |why: String| {
            let host = first.host.clone();
            self.at_first(
                |_| Trouble::NameNotFound { host, why: why.clone() },
                &format!("its name is not found ({why})"),
            )
        };
        match timeout(self.patience.step, lookup_host((first.host.as_str(), first.port))).await {
            Err(_) => Err(self.at_first(
                |at| Trouble::TimedOut { at, doing: Doing::Name },
                "no answer came in time while its name was looked up",
            )),
            Ok(Err(fault)) => Err(not_found(fault.to_string())),
            Ok(Ok(addresses)) => {
                let addresses: Vec<_> = addresses.collect();
                if addresses.is_empty() { Err(not_found("it has no address".into())) } else { Ok(addresses) }
            }
        }
    }

    /// Connects to the first address that answers.
    pub(crate) async fn connect(&self, addresses: &[SocketAddr]) -> Result<TcpStream, Trouble> {
        let mut last = None;
        for address in addresses {
            let trouble = match timeout(self.patience.step, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => {
                    // Small requests go out at once; where the system cannot, they go a little later.
                    let _ = stream.set_nodelay(true);
                    return Ok(stream);
                }
                Ok(Err(fault)) if fault.kind() == io::ErrorKind::ConnectionRefused => {
                    self.at_first(|at| Trouble::Refused { at }, "it refuses connections")
                }
                Ok(Err(fault)) => {
                    let why = fault.to_string();
                    self.at_first(|at| Trouble::Unreachable { at, why: why.clone() }, &why)
                }
                Err(_) => self.at_first(
                    |at| Trouble::TimedOut { at, doing: Doing::Connection },
                    "no answer came in time while the connection was opened",
                ),
            };
            last = Some(trouble);
        }
        Err(last
            .unwrap_or_else(|| Trouble::Unreachable { at: self.first().to_string(), why: "it has no address".into() }))
    }

    /// Has the proxy make a tunnel, where there is one.
    pub(crate) async fn tunnel(&self, mut stream: TcpStream) -> Result<TcpStream, Trouble> {
        let Some(via) = &self.via else { return Ok(stream) };
        let proxy = via.origin.to_string();
        let asked =
            timeout(self.patience.step, ask_for_tunnel(&mut stream, &self.to, via.authorization.as_ref())).await;
        match asked {
            Err(_) => Err(Trouble::TimedOut { at: proxy, doing: Doing::Tunnel }),
            Ok(Err(fault)) if fault.kind() == io::ErrorKind::InvalidData => Err(Trouble::ProxyGarbage { proxy }),
            Ok(Err(fault)) => {
                let why = format!("it ended the connection when it was asked for a tunnel ({fault})");
                Err(Trouble::ProxyUnreachable { proxy, why })
            }
            Ok(Ok(200..=299)) => Ok(stream),
            // Some proxies say 401 where they mean 407.
            Ok(Ok(401 | 407)) => Err(Trouble::ProxyAuthentication { proxy, sent: via.authorization.is_some() }),
            Ok(Ok(status)) => Err(Trouble::ProxyRefused { proxy, to: self.to.to_string(), status }),
        }
    }

    pub(crate) async fn secure(&self, stream: TcpStream) -> Result<TlsStream<TcpStream>, Trouble> {
        let at = self.to.to_string();
        let name = ServerName::try_from(self.to.host.clone())
            .map_err(|why| Trouble::NameNotFound { host: self.to.host.clone(), why: why.to_string() })?;
        match timeout(self.patience.step, TlsConnector::from(self.tls.clone()).connect(name, stream)).await {
            Err(_) => Err(Trouble::TimedOut { at, doing: Doing::Tls }),
            Ok(Err(fault)) => Err(tls::trouble(&at, &fault)),
            Ok(Ok(stream)) => Ok(stream),
        }
    }

    /// All steps, and one request with its answer.
    pub(crate) async fn ask<B>(&self, request: Request<B>) -> Result<Answer, Trouble>
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let addresses = self.resolve().await?;
        let stream = self.connect(&addresses).await?;
        let stream = self.tunnel(stream).await?;
        let stream = self.secure(stream).await?;
        self.ask_on(stream, request).await
    }

    /// One request with its answer, on a connection that is there.
    pub(crate) async fn ask_on<B>(
        &self,
        stream: TlsStream<TcpStream>,
        mut request: Request<B>,
    ) -> Result<Answer, Trouble>
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let at = self.to.to_string();
        let headers = request.headers_mut();
        if !headers.contains_key(header::HOST) {
            let host = HeaderValue::from_str(&self.to.authority());
            headers.insert(header::HOST, host.unwrap_or(HeaderValue::from_static("")));
        }
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        headers.insert(header::USER_AGENT, HeaderValue::from_static(concat!("leaseholdd/", env!("CARGO_PKG_VERSION"))));
        // HTTP/1.1 asks for a path.
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str()).to_owned();
        *request.uri_mut() = path
            .parse()
            .map_err(|_| Trouble::BadDestination { said: at.clone(), why: "its path cannot be asked for".into() })?;

        let moved = Arc::new(AtomicU64::new(0));
        let stream = TokioIo::new(Watched { stream, moved: moved.clone() });
        let (mut sender, connection) = http1::handshake(stream).await.map_err(|fault| fault_of(&at, &fault))?;
        // Ends with this set, at the latest when the answer is there.
        let mut drives = JoinSet::new();
        drives.spawn(connection);
        let mut exchange = Box::pin(async {
            let answer = sender.send_request(request).await.map_err(|fault| fault_of(&at, &fault))?;
            let (head, body) = answer.into_parts();
            let body = Limited::new(body, self.answer_max_bytes).collect().await.map_err(|fault| {
                if fault.downcast_ref::<LengthLimitError>().is_some() {
                    let why = format!("it is longer than {} bytes", self.answer_max_bytes);
                    return Trouble::Garbage { at: at.clone(), why };
                }
                match fault.downcast_ref::<hyper::Error>() {
                    Some(fault) => fault_of(&at, fault),
                    None => Trouble::CutOff { at: at.clone(), why: fault.to_string() },
                }
            })?;
            Ok(Answer { status: head.status, headers: head.headers, body: body.to_bytes() })
        });
        let (idle, mut last, mut waited) = (self.patience.idle, 0, Duration::ZERO);
        loop {
            if let Ok(answer) = timeout(idle, &mut exchange).await {
                return answer;
            }
            let now = moved.load(Ordering::Relaxed);
            waited += idle;
            if now == last || waited >= self.patience.whole {
                return Err(Trouble::TimedOut { at: at.clone(), doing: Doing::Exchange });
            }
            last = now;
        }
    }
}

/// Asks for a tunnel; the status of the answer. `InvalidData` where that is no answer of a proxy.
async fn ask_for_tunnel(stream: &mut TcpStream, to: &Origin, authorization: Option<&Secret>) -> io::Result<u16> {
    let mut request = zeroize::Zeroizing::new(format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n"));
    if let Some(authorization) = authorization {
        request.push_str("Proxy-Authorization: ");
        request.push_str(authorization.expose());
        request.push_str("\r\n");
    }
    request.push_str("\r\n");
    stream.write_all(request.as_bytes()).await?;
    let no_answer = || io::Error::from(io::ErrorKind::InvalidData);
    let mut head = Vec::new();
    // Byte by byte: what follows the head is the server's.
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            // An answer that refuses may end without its head's end.
            Err(fault) if fault.kind() == io::ErrorKind::UnexpectedEof && head.contains(&b'\n') => break,
            Err(fault) => return Err(fault),
        }
        if head.len() > TUNNEL_MAX_BYTES || !b"HTTP/1.".starts_with(head.get(..head.len().min(7)).unwrap_or_default()) {
            return Err(no_answer());
        }
    }
    let status = head.split(|byte| *byte == b' ').nth(1).and_then(|status| std::str::from_utf8(status).ok());
    let status = status.and_then(|status| status.get(..3)?.parse().ok());
    status.filter(|status| (200..600).contains(status)).ok_or_else(no_answer)
}

/// What a fault of HTTP means.
fn fault_of(at: &str, fault: &hyper::Error) -> Trouble {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = std::error::Error::source(fault);
    while let Some(inner) = cause {
        if let Some(BodyFault(trouble)) = inner.downcast_ref::<BodyFault>() {
            return trouble.clone();
        }
        if let Some(io) = inner.downcast_ref::<io::Error>() {
            if io.get_ref().is_some_and(|inner| inner.is::<tokio_rustls::rustls::Error>()) {
                return tls::trouble(at, io);
            }
            return Trouble::CutOff { at: at.to_owned(), why: io.to_string() };
        }
        cause = inner.source();
    }
    if fault.is_parse() || fault.is_parse_too_large() {
        return Trouble::Garbage { at: at.to_owned(), why: format!("it is no HTTP ({fault})") };
    }
    Trouble::CutOff { at: at.to_owned(), why: fault.to_string() }
}

/// Counts the bytes that pass, so that a slow line is told from a dead one.
struct Watched {
    stream: TlsStream<TcpStream>,
    moved: Arc<AtomicU64>,
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, into);
        self.moved.fetch_add((into.filled().len() - before) as u64, Ordering::Relaxed);
        polled
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, bytes);
        if let Poll::Ready(Ok(written)) = &polled {
            self.moved.fetch_add(*written as u64, Ordering::Relaxed);
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
