//! One accepted connection: who its peer is, how many there may be, and when one that asks nothing is closed. What is
//! asked over it is not seen here.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream},
    time::Sleep,
};
use tonic::{
    body::Body,
    codegen::{Service, http},
    transport::server::Connected,
};

use super::sizes;

/// Where a connection comes from, as far as the system vouches for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Origin {
    /// This machine's loopback interface: any program on it.
    Loopback(SocketAddr),
    /// The Unix socket: the kernel names the user.
    Socket {
        /// The user ID of the peer.
        uid: u32,
    },
}

/// The origin and activity of a connection, for its requests.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) origin: Origin,
    activity: Arc<Activity>,
}

#[derive(Debug, Default)]
struct Activity {
    /// Requests ever begun.
    begun: AtomicU64,
    /// Requests whose answer is not out yet.
    in_flight: AtomicUsize,
}

/// How long a connection may ask nothing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// Until its first request.
    pub(super) first_request: Duration,
    /// Between requests. An open stream is a request.
    pub(super) idle: Duration,
}

#[derive(Debug)]
enum Io {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// An accepted connection.
#[derive(Debug)]
pub(super) struct Connection {
    io: Io,
    peer: Peer,
    patience: Patience,
    /// Running while nothing is asked; with the count of requests at which it began.
    timer: Option<(u64, Pin<Box<Sleep>>)>,
    _place: Place,
}

impl Connection {
    pub(super) fn tcp(stream: TcpStream, from: SocketAddr, patience: Patience, place: Place) -> Self {
        Self::new(Io::Tcp(stream), Origin::Loopback(from), patience, place)
    }

    pub(super) fn unix(stream: UnixStream, uid: u32, patience: Patience, place: Place) -> Self {
        Self::new(Io::Unix(stream), Origin::Socket { uid }, patience, place)
    }

    fn new(io: Io, origin: Origin, patience: Patience, place: Place) -> Self {
        let peer = Peer { origin, activity: Arc::default() };
        Self { io, peer, patience, timer: None, _place: place }
    }

    /// Ready when nothing has been asked for too long.
    fn poll_patience(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let activity = &self.peer.activity;
        if activity.in_flight.load(Ordering::Relaxed) > 0 {
            self.timer = None;
            return Poll::Pending;
        }
        let begun = activity.begun.load(Ordering::Relaxed);
        if self.timer.as_ref().is_none_or(|(since, _)| *since != begun) {
            let longest = if begun == 0 { self.patience.first_request } else { self.patience.idle };
            self.timer = Some((begun, Box::pin(tokio::time::sleep(longest))));
        }
        match &mut self.timer {
            Some((_, timer)) => timer.as_mut().poll(context),
            None => Poll::Pending,
        }
    }
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = match &mut self.io {
            Io::Tcp(stream) => Pin::new(stream).poll_read(context, into),
            Io::Unix(stream) => Pin::new(stream).poll_read(context, into),
        };
        // A peer that only sends pings, or its first bytes one by one, asks nothing either.
        if self.poll_patience(context).is_ready() {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "nothing was asked for too long")));
        }
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.io {
            Io::Tcp(stream) => Pin::new(stream).poll_write(context, bytes),
            Io::Unix(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.io {
            Io::Tcp(stream) => Pin::new(stream).poll_write_vectored(context, parts),
            Io::Unix(stream) => Pin::new(stream).poll_write_vectored(context, parts),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.io {
            Io::Tcp(stream) => stream.is_write_vectored(),
            Io::Unix(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Tcp(stream) => Pin::new(stream).poll_flush(context),
            Io::Unix(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Tcp(stream) => Pin::new(stream).poll_shutdown(context),
            Io::Unix(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

// ---- how many --------------------------------------------------------------------------------------------------------

/// Whose connections are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Address {
    Ip(IpAddr),
    Uid(u32),
}

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    by_address: HashMap<Address, usize>,
}

/// Counts open connections.
#[derive(Clone, Debug)]
pub(super) struct Doors {
    counts: Arc<Mutex<Counts>>,
    most: usize,
    most_per_address: usize,
    /// Said once, until one is let in again: a storm of connections is not to be a storm of log lines.
    complained: Arc<AtomicBool>,
}

/// An open connection's place in the count.
#[derive(Debug)]
pub(super) struct Place {
    doors: Doors,
    address: Address,
}

impl Doors {
    pub(super) fn new(most: usize, most_per_address: usize) -> Self {
        Self { counts: Arc::default(), most, most_per_address, complained: Arc::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for one more connection; `None` where there are too many.
    pub(super) fn enter(&self, address: Address) -> Option<Place> {
        let mut counts = self.lock();
        let here = counts.by_address.get(&address).copied().unwrap_or(0);
        if counts.all >= self.most || here >= self.most_per_address {
            let all = counts.all;
            drop(counts);
            if !self.complained.swap(true, Ordering::Relaxed) {
                tracing::warn!(
                    connections = all,
                    ?address,
                    from_there = here,
                    "Connections are refused: there are too many."
                );
            }
            return None;
        }
        counts.all += 1;
        counts.by_address.insert(address, here + 1);
        drop(counts);
        self.complained.store(false, Ordering::Relaxed);
        Some(Place { doors: self.clone(), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.doors.lock();
        counts.all = counts.all.saturating_sub(1);
        let left = counts.by_address.get(&self.address).map_or(0, |here| here.saturating_sub(1));
        if left == 0 {
            counts.by_address.remove(&self.address);
        } else {
            counts.by_address.insert(self.address, left);
        }
    }
}

// ---- what is in flight -----------------------------------------------------------------------------------------------

/// Notes each request of a connection from its beginning to the end of its answer.
#[derive(Clone, Debug)]
pub(super) struct Noting<S> {
    pub(super) inner: S,
}

/// The layer that makes [`Noting`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Note;

impl<S> tower::Layer<S> for Note {
    type Service = Noting<S>;

    fn layer(&self, inner: S) -> Noting<S> {
        Noting { inner }
    }
}

#[derive(Debug)]
struct InFlight(Arc<Activity>);

impl InFlight {
    fn of(request: &http::Request<Body>) -> Option<Self> {
        let activity = request.extensions().get::<Peer>()?.activity.clone();
        activity.in_flight.fetch_add(1, Ordering::Relaxed);
        activity.begun.fetch_add(1, Ordering::Relaxed);
        Some(Self(activity))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<S> Service<http::Request<Body>> for Noting<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>>,
    S::Future: Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = S::Error;
    type Future = Noted<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let noted = InFlight::of(&request);
        Noted { answer: Box::pin(self.inner.call(request)), noted }
    }
}

/// The future of a noted request.
pub(super) struct Noted<F> {
    answer: Pin<Box<F>>,
    noted: Option<InFlight>,
}

impl<F, E> Future for Noted<F>
where
    F: Future<Output = Result<http::Response<Body>, E>>,
{
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let answer = ready!(self.answer.as_mut().poll(context));
        let noted = self.noted.take();
        let noted_answer =
            |answer: http::Response<Body>| answer.map(|body| Body::new(NotedBody { body, _noted: noted }));
        Poll::Ready(answer.map(sizes::answer_in_words).map(noted_answer))
    }
}

/// The body of a noted request's answer.
struct NotedBody {
    body: Body,
    _noted: Option<InFlight>,
}

impl http_body::Body for NotedBody {
    type Data = <Body as http_body::Body>::Data;
    type Error = <Body as http_body::Body>::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Self::Data>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_counted_in_total_and_per_address() {
        let doors = Doors::new(3, 2);
        let (a, b) = (Address::Uid(1), Address::Ip(IpAddr::from([127, 0, 0, 1])));
        let first = doors.enter(a).unwrap();
        let _second = doors.enter(a).unwrap();
        assert!(doors.enter(a).is_none(), "per address");
        let _third = doors.enter(b).unwrap();
        assert!(doors.enter(b).is_none(), "in total");
        drop(first);
        assert!(doors.enter(b).is_some());
    }

    fn connection(patience: Patience) -> (Connection, UnixStream) {
        let (here, there) = UnixStream::pair().unwrap();
        let place = Doors::new(1, 1).enter(Address::Uid(0)).unwrap();
        (Connection::unix(here, 0, patience, place), there)
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_asks_nothing_is_closed() {
        use tokio::io::AsyncReadExt as _;
        let patience = Patience { first_request: Duration::from_secs(10), idle: Duration::from_secs(900) };
        let (mut connection, _there) = connection(patience);
        let fault = connection.read_u8().await.unwrap_err();
        assert_eq!(fault.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_with_an_open_stream_is_not_idle() {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let patience = Patience { first_request: Duration::from_secs(10), idle: Duration::from_secs(900) };
        let (mut connection, mut there) = connection(patience);
        let mut request = http::Request::new(Body::empty());
        request.extensions_mut().insert(connection.connect_info());
        let stream = InFlight::of(&request).unwrap();
        let wait = Duration::from_secs(100_000);
        assert!(tokio::time::timeout(wait, connection.read_u8()).await.is_err(), "nothing came, and nothing was cut");
        drop(stream);
        there.write_u8(7).await.unwrap();
        assert_eq!(connection.read_u8().await.unwrap(), 7);
        assert_eq!(connection.read_u8().await.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}
