//! A server of HTTPS that does what its script says, and a forward proxy that does.

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use leasehold_keys::{dev::DevLicensor, digest::Sha256, usage::UsageReceipt};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional},
    net::{TcpListener, TcpStream},
    sync::Notify,
    task::JoinSet,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::pki_types::{CertificateDer, PrivateKeyDer},
    server::TlsStream,
};

/// A certificate authority of its own.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    dir: TempDir,
}

/// What is wrong with a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    None,
    OtherName,
    Expired,
    NotYet,
    /// Nobody knows who signed it.
    Stranger,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap();
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("ca.pem"), certificate.pem()).unwrap();
        Self { issuer: Issuer::new(params, key), dir }
    }

    /// What `network.ca` is to name.
    pub(crate) fn file(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    pub(crate) fn certificate(&self, flaw: Flaw) -> (CertificateDer<'static>, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let name = if flaw == Flaw::OtherName { "other.example" } else { "localhost" };
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        match flaw {
            Flaw::Expired => params.not_after = date_time_ymd(2001, 1, 1),
            Flaw::NotYet => params.not_before = date_time_ymd(2990, 1, 1),
            _ => {}
        }
        let certificate = match flaw {
            Flaw::Stranger => params.signed_by(&key, &Authority::new().issuer).unwrap(),
            _ => params.signed_by(&key, &self.issuer).unwrap(),
        };
        (certificate.der().clone(), key)
    }
}

/// What the server does with a connection.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// Takes the request and answers so.
    Say(u16, Vec<(&'static str, String)>, Vec<u8>),
    /// Takes the file and gives a receipt.
    Sign,
    /// Takes the file, and cuts off before it answers.
    SignAndCut,
    /// Gives a receipt for a file that has another byte.
    SignOther,
    /// Gives a receipt that somebody else signed.
    SignAsOther,
    /// Takes the request and says nothing more.
    Stall,
    /// Says nothing at all, not even of TLS.
    Mute,
    /// Ends before TLS.
    HangUp,
    /// Ends in the middle of the request.
    CutOff,
    /// Answers with these bytes.
    Raw(Vec<u8>),
    /// Ends in the middle of its own answer.
    CutAnswer,
}

/// A refusal as the licensor's endpoint words it.
pub(crate) fn problem(status: u16, code: &str, detail: &str) -> Act {
    let body = serde_json::json!({ "status": status, "code": code, "detail": detail }).to_string();
    Act::Say(status, vec![("content-type", "application/problem+json".into())], body.into_bytes())
}

pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) head: String,
    pub(crate) body: usize,
}

#[derive(Default)]
struct Desk {
    script: VecDeque<Act>,
    asked: Vec<Asked>,
    heard: Arc<Notify>,
    receipts: BTreeMap<String, Vec<u8>>,
}

/// See the module.
pub(crate) struct Server {
    address: SocketAddr,
    desk: Arc<Mutex<Desk>>,
    _tasks: JoinSet<()>,
}

impl Server {
    pub(crate) async fn start(authority: &Authority, flaw: Flaw, script: Vec<Act>) -> Self {
        let (certificate, key) = authority.certificate(flaw);
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        // The licensor's own: HTTP/2 is offered too, and is not what we speak.
        let tls = TlsAcceptor::from(licensor::serve::tls::config(vec![certificate], key).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let desk = Arc::new(Mutex::new(Desk { script: script.into(), ..Desk::default() }));
        let mut tasks = JoinSet::new();
        let shared = desk.clone();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, tls.clone(), shared.clone()));
            }
        });
        Self { address, desk, _tasks: tasks }
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// As a destination.
    pub(crate) fn url(&self) -> String {
        format!("https://localhost:{}", self.port())
    }

    pub(crate) fn then(&self, act: Act) {
        self.desk.lock().unwrap().script.push_back(act);
    }

    /// `PUT /v1/usage/X`, one for each request so far.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.desk.lock().unwrap().asked.iter().map(|asked| format!("{} {}", asked.method, asked.path)).collect()
    }

    /// Waits until the server has heard a request that nobody has waited for.
    pub(crate) async fn hears(&self) {
        let heard = self.desk.lock().unwrap().heard.clone();
        tokio::time::timeout(std::time::Duration::from_secs(60), heard.notified()).await.expect("within a minute");
    }

    pub(crate) fn with_asked<T>(&self, look: impl FnOnce(&[Asked]) -> T) -> T {
        look(&self.desk.lock().unwrap().asked)
    }
}

/// Reads a request; `None` where it ends before.
async fn request(stream: &mut TlsStream<TcpStream>) -> Option<(Asked, Vec<u8>)> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap();
    let mut line = head.split(' ');
    let (method, path) = (line.next()?.to_owned(), line.next()?.to_owned());
    let length = head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length:")?.trim().parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).await.ok()?;
    Some((Asked { method, path, head, body: body.len() }, body))
}

async fn serve(stream: TcpStream, tls: TlsAcceptor, desk: Arc<Mutex<Desk>>) {
    let act = desk.lock().unwrap().script.pop_front();
    match act {
        Some(Act::HangUp) => return,
        Some(Act::Mute) => return std::future::pending().await,
        _ => {}
    }
    let Ok(mut stream) = tls.accept(stream).await else { return };
    if matches!(act, Some(Act::CutOff)) {
        // Some of the head, and no more.
        let _ = stream.read_u8().await;
        return;
    }
    let Some((asked, body)) = request(&mut stream).await else { return };
    let path = asked.path.clone();
    let name = path.split('?').next().unwrap().trim_end_matches("/receipt").rsplit('/').next().unwrap().to_owned();
    let receipt_asked = asked.method == "GET" && path.ends_with("/receipt");
    {
        let mut desk = desk.lock().unwrap();
        desk.asked.push(asked);
        desk.heard.notify_one();
    }
    let answer = match act.clone().unwrap_or(Act::Sign) {
        Act::Say(status, headers, body) => Some((status, headers, body)),
        Act::Sign if path.ends_with("/v1/health") => Some((200, date(0), b"{\"status\":\"ok\"}\n".to_vec())),
        Act::Sign | Act::SignAndCut | Act::SignOther | Act::SignAsOther | Act::CutAnswer => {
            let mut desk = desk.lock().unwrap();
            if !receipt_asked {
                let mut signed = body;
                if matches!(act, Some(Act::SignOther)) {
                    signed.push(0);
                }
                let seed = if matches!(act, Some(Act::SignAsOther)) { 8 } else { 7 };
                desk.receipts.insert(name.clone(), receipt(&name, &signed, seed));
            }
            match desk.receipts.get(&name) {
                Some(receipt) => Some((200, date(0), receipt.clone())),
                None => Some((404, Vec::new(), b"{\"code\":\"no-receipt\",\"detail\":\"no file\"}".to_vec())),
            }
        }
        _ => None,
    };
    match (act, answer) {
        (Some(Act::Stall), _) => return std::future::pending().await,
        (Some(Act::SignAndCut), _) => return,
        (Some(Act::Raw(bytes)), _) => {
            let _ = stream.write_all(&bytes).await;
        }
        (Some(Act::CutAnswer), _) => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nformat = ").await;
        }
        (_, Some((status, headers, body))) => {
            let mut head = format!("HTTP/1.1 {status} So\r\ncontent-length: {}\r\n", body.len());
            for (name, value) in headers {
                head.push_str(&format!("{name}: {value}\r\n"));
            }
            let _ = stream.write_all(format!("{head}\r\n").as_bytes()).await;
            let _ = stream.write_all(&body).await;
        }
        _ => {}
    }
    let _ = stream.shutdown().await;
}

/// The time of the tests, moved by so many seconds.
pub(crate) fn date(ahead_s: i64) -> Vec<(&'static str, String)> {
    let now = jiff::Timestamp::from_millisecond(super::site::WALL_MS).unwrap();
    let now = now + jiff::SignedDuration::from_secs(ahead_s);
    vec![("date", now.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string())]
}

/// A receipt for these bytes, by the licensor of a seed.
pub(crate) fn receipt(name: &str, bytes: &[u8], seed: u8) -> Vec<u8> {
    let license_id = match leasehold_keys::usage::verify(bytes.strip_suffix(&[0]).unwrap_or(bytes)) {
        Ok(file) => file.header().license,
        Err(_) => super::site::row(1).license,
    };
    let receipt = UsageReceipt {
        license_id,
        name: name.parse().unwrap(),
        sha256: Sha256::of(bytes),
        size: u32::try_from(bytes.len()).unwrap(),
        received: leasehold_keys::time::WallTime::from_ms(super::site::WALL_MS),
    };
    DevLicensor::from_seed(&[seed; 32]).unwrap().receipt(&receipt).unwrap()
}

/// What a scripted proxy does with a connection.
#[derive(Clone, Debug)]
pub(crate) enum Proxied {
    /// Makes the tunnel.
    Through,
    /// Answers this to CONNECT.
    Say(&'static str),
    /// Says nothing.
    Mute,
    /// Ends.
    HangUp,
}

/// A forward proxy that does one thing.
pub(crate) struct ProxyServer {
    pub(crate) address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
    _tasks: JoinSet<()>,
}

impl ProxyServer {
    pub(crate) async fn start(does: Proxied) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let heads = Arc::<Mutex<Vec<String>>>::default();
        let (mut tasks, shared) = (JoinSet::new(), heads.clone());
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(proxy(stream, does.clone(), shared.clone()));
            }
        });
        Self { address, heads, _tasks: tasks }
    }

    /// What it was asked.
    pub(crate) fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

async fn proxy(mut stream: TcpStream, does: Proxied, heads: Arc<Mutex<Vec<String>>>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = stream.read_u8().await else { return };
        head.push(byte);
    }
    let head = String::from_utf8(head).unwrap();
    let to = head.split(' ').nth(1).unwrap().to_owned();
    heads.lock().unwrap().push(head);
    match does {
        Proxied::Through => {
            let mut other = TcpStream::connect(to).await.unwrap();
            stream.write_all(b"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n").await.unwrap();
            let _ = copy_bidirectional(&mut stream, &mut other).await;
        }
        Proxied::Say(answer) => {
            let _ = stream.write_all(answer.as_bytes()).await;
        }
        Proxied::Mute => std::future::pending().await,
        Proxied::HangUp => {}
    }
}
