//! The endpoint over loopback: what a server's delivery meets, and what anyone else does.

use std::{
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    process::{Command, Stdio},
    sync::Arc,
};

use leasehold_keys::{activation::LicenseId, trust::Trust};
use licensor::{
    catalog::Catalog,
    serve::{self, Serving},
    workshop::Workshop,
};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, ServerName},
    },
};

use crate::{
    orders::with_grants,
    support::{Desk, noon, workshop},
    usage_files::{CLIENT, Usg, Writer, john_smith, logon},
};

/// What was answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// Asserts a refusal by its status and code, with words.
    #[track_caller]
    pub(crate) fn refuses(&self, status: u16, code: &str, words: &str) {
        assert_eq!(self.status, status, "{self:?}");
        assert!(self.head.contains("content-type: application/problem+json"), "{self:?}");
        let problem: serde_json::Value = serde_json::from_slice(&self.body).unwrap();
        assert_eq!((&problem["code"], &problem["status"]), (&code.into(), &status.into()));
        assert!(problem["detail"].as_str().unwrap().contains(words), "{problem}");
    }
}

/// A client that trusts one certificate.
pub(crate) struct Client {
    pub(crate) address: SocketAddr,
    pub(crate) certificate: CertificateDer<'static>,
}

impl Client {
    pub(crate) async fn connect(&self, protocols: &[&str]) -> TlsStream<TcpStream> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots);
        let mut config = builder.with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        let stream = TcpStream::connect(self.address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
    }

    pub(crate) async fn ask(&self, head: &str, body: &[u8]) -> Answer {
        let mut stream = self.connect(&["http/1.1"]).await;
        let head = format!("{head}\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        // A server that has heard enough may close before all is sent.
        let _ = stream.write_all(body).await;
        answer(stream).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask(&format!("GET {path} HTTP/1.1"), b"").await
    }

    async fn put(&self, name: &str, body: &[u8]) -> Answer {
        self.ask(&format!("PUT /v1/usage/{name} HTTP/1.1\r\nContent-Length: {}", body.len()), body).await
    }
}

async fn answer(mut stream: TlsStream<TcpStream>) -> Answer {
    let mut bytes = Vec::new();
    // An end without the closing words of TLS is one too.
    let _ = stream.read_to_end(&mut bytes).await;
    let at = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or_else(|| panic!("{bytes:?}"));
    let head = String::from_utf8(bytes[..at].to_vec()).unwrap().to_lowercase();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head, body: bytes[at + 4..].to_vec() }
}

/// A certificate for localhost.
pub(crate) fn certificate() -> CertifiedKey<rcgen::KeyPair> {
    generate_simple_self_signed(["localhost".to_owned()]).unwrap()
}

/// An endpoint in this process.
struct Endpoint {
    _dir: tempfile::TempDir,
    workshop: Workshop,
    license: LicenseId,
    serving: Serving,
    client: Client,
}

async fn endpoint() -> Endpoint {
    let (dir, mut workshop) = workshop();
    let license = workshop.issue(&Catalog::pureconnect(), &with_grants(), noon()).unwrap().activation.license_id;
    let intake = workshop.intake(workshop.dir(), noon()).unwrap();
    let CertifiedKey { cert, signing_key } = certificate();
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let tls = serve::tls::config(vec![cert.der().clone()], key).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let serving = serve::start(listener, tls, intake, Arc::new(noon)).unwrap();
    let client = Client { address: serving.address(), certificate: cert.der().clone() };
    Endpoint { _dir: dir, workshop, license, serving, client }
}

impl Endpoint {
    fn server(&self) -> Writer {
        Writer::new(1, self.license, self.workshop.trust())
    }

    fn fits(&self, answer: &Answer, file: &Usg) {
        let receipt = self.workshop.trust().usage_receipt(&answer.body, noon()).unwrap();
        receipt.fits(file.name.parse().unwrap(), &file.bytes).unwrap();
    }
}

#[tokio::test]
async fn a_file_is_sent_and_its_receipt_had_again() {
    let endpoint = endpoint().await;
    let client = &endpoint.client;
    let file = endpoint.server().day(2, &john_smith());
    let receipt_path = format!("/v1/usage/{}/receipt", file.name);
    client.get(&receipt_path).await.refuses(404, "no-receipt", "PUT");
    let sent = client.put(&file.name, &file.bytes).await;
    assert_eq!(sent.status, 201, "{sent:?}");
    assert!(sent.head.contains("content-type: text/plain; charset=utf-8"), "{sent:?}");
    endpoint.fits(&sent, &file);
    let again = client.put(&file.name, &file.bytes).await;
    assert_eq!((again.status, &again.body), (200, &sent.body));
    let lost = client.get(&receipt_path).await;
    assert_eq!((lost.status, &lost.body), (200, &sent.body));
    assert_eq!(endpoint.workshop.ledger().usage_files().unwrap().len(), 1);
    endpoint.serving.stop().await.unwrap();
}

#[tokio::test]
async fn what_is_refused_is_refused_in_words() {
    let endpoint = endpoint().await;
    let client = &endpoint.client;
    let mut server = endpoint.server();
    let file = server.day(2, &john_smith());
    let mut clone = server.copy();
    client.put("today.usg", &file.bytes).await.refuses(400, "bad-name", "INSTALLATION-SEGMENT-YYYYMMDD.usg");
    let other = file.name.replace("-00000001-", "-00000009-");
    client.put(&other, &file.bytes).await.refuses(422, "misnamed", &file.name);
    let cut = &file.bytes[..file.bytes.len() - 1];
    client.put(&file.name, cut).await.refuses(422, "not-closed", "00:00 UTC");
    client.put(&format!("{}?final=true", file.name), cut).await.refuses(422, "not-closed", "00:00 UTC");
    client.put(&file.name, b"hello").await.refuses(422, "not-a-usage-file", "usage file");
    let unknown = Writer::new(1, LicenseId(uuid::Uuid::from_u128(1)), endpoint.workshop.trust()).day(2, &[]);
    client.put(&unknown.name, &unknown.bytes).await.refuses(403, "unknown-license", "not issued by this licensor");

    let second = server.day(3, &[]);
    assert_eq!(client.put(&second.name, &second.bytes).await.status, 201);
    let fork = clone.day(3, &[logon("2026-11-03T08:00:00Z", "eve", 1, &[CLIENT])]);
    client.put(&fork.name, &fork.bytes).await.refuses(409, "fork", "restored from a copy or cloned");
    assert!(endpoint.workshop.ledger().usage_flags().unwrap()[0].refused);

    client.get("/").await.refuses(404, "no-such-path", "nothing is served");
    client.get(&format!("/v1/usage/{}", file.name)).await.refuses(405, "no-such-method", "method");
    client.get("/v1/usage/x/receipt").await.refuses(400, "bad-name", "`x`");
    let health = client.get("/v1/health").await;
    assert_eq!((health.status, health.text()), (200, "{\"status\":\"ok\"}\n"));
}

#[tokio::test]
async fn what_is_too_large_is_refused_before_and_while_it_comes() {
    let endpoint = endpoint().await;
    let client = &endpoint.client;
    let file = endpoint.server().day(2, &[]);
    // By what it says of itself: not a byte of it is waited for.
    let head = format!("PUT /v1/usage/{} HTTP/1.1\r\nContent-Length: 17825793", file.name);
    client.ask(&head, b"").await.refuses(413, "file-too-large", "17825792");
    // By what comes: chunks say nothing of their sum. The server stops listening once it is too much, which may be before
    // all is sent.
    let mut stream = client.connect(&["http/1.1"]).await;
    let head = format!("PUT /v1/usage/{} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n", file.name);
    stream.write_all(head.as_bytes()).await.unwrap();
    let (mut reading, mut writing) = tokio::io::split(stream);
    let sending = async {
        let chunk = [format!("{:x}\r\n", 1 << 20).into_bytes(), vec![0; 1 << 20], b"\r\n".to_vec()].concat();
        for _ in 0..40 {
            if writing.write_all(&chunk).await.is_err() {
                // The server has heard enough: what it says of it is to be read.
                std::future::pending::<()>().await;
            }
        }
    };
    let listening = async {
        let mut answer = vec![0; 512];
        let read = reading.read(&mut answer).await.unwrap_or(0);
        String::from_utf8_lossy(&answer[..read]).into_owned()
    };
    let answer = tokio::select! {
        () = sending => panic!("all of 40 MiB was taken"),
        answer = listening => answer,
    };
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(endpoint.workshop.ledger().usage_files().unwrap().is_empty());
}

#[tokio::test]
async fn a_client_that_is_still_sending_hears_why_it_is_refused() {
    let endpoint = endpoint().await;
    let client = &endpoint.client;
    let body = vec![0; 8 << 20];
    client.put("today.usg", &body).await.refuses(400, "bad-name", "today.usg");
    let head = |path: &str| format!("PUT {path} HTTP/1.1\r\nContent-Length: {}", body.len());
    client.ask(&head("/usage/today.usg"), &body).await.refuses(404, "no-such-path", "nothing is served");
    client.ask(&head("/v1/health"), &body).await.refuses(405, "no-such-method", "method");
}

#[tokio::test]
async fn an_upload_that_breaks_off_leaves_nothing() {
    let endpoint = endpoint().await;
    let client = &endpoint.client;
    let file = endpoint.server().day(2, &john_smith());
    let mut stream = client.connect(&["http/1.1"]).await;
    let head = format!(
        "PUT /v1/usage/{} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n",
        file.name,
        file.bytes.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&file.bytes[..200]).await.unwrap();
    stream.shutdown().await.unwrap();
    drop(stream);
    // The next one finds everything as it was.
    let sent = client.put(&file.name, &file.bytes).await;
    assert_eq!(sent.status, 201, "{sent:?}");
    endpoint.fits(&sent, &file);
}

#[tokio::test]
async fn many_at_once_get_each_their_own_receipt() {
    let endpoint = endpoint().await;
    let mut server = endpoint.server();
    let files: Vec<Usg> = (1..29).map(|day| server.day(day, &[])).collect();
    let client = &endpoint.client;
    let answers: Vec<Answer> = {
        let mut asked = Vec::new();
        for file in &files {
            asked.push(client.put(&file.name, &file.bytes));
        }
        let mut tasks = Vec::new();
        for ask in asked {
            tasks.push(Box::pin(ask));
        }
        join(tasks).await
    };
    for (answer, file) in answers.iter().zip(&files) {
        assert_eq!(answer.status, 201, "{answer:?}");
        endpoint.fits(answer, file);
    }
    assert_eq!(endpoint.workshop.ledger().usage_files().unwrap().len(), 28);
    assert!(endpoint.workshop.ledger().usage_flags().unwrap().is_empty());
}

/// All of them at once, in one task.
pub(crate) async fn join<F: Future + Unpin>(mut futures: Vec<F>) -> Vec<F::Output> {
    let mut answers: Vec<Option<F::Output>> = futures.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        for (future, answer) in futures.iter_mut().zip(&mut answers) {
            if answer.is_none()
                && let std::task::Poll::Ready(ready) = std::pin::Pin::new(future).poll(context)
            {
                *answer = Some(ready);
            }
        }
        if answers.iter().all(Option::is_some) { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    answers.into_iter().flatten().collect()
}

#[tokio::test]
async fn http_2_is_spoken_and_plain_http_is_not() {
    let endpoint = endpoint().await;
    let client = &endpoint.client;
    let mut stream = client.connect(&["h2", "http/1.1"]).await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let mut frame = [0; 9];
    stream.read_exact(&mut frame).await.unwrap();
    assert_eq!(frame[3], 4, "the first frame is SETTINGS");

    let mut plain = TcpStream::connect(endpoint.client.address).await.unwrap();
    plain.write_all(b"GET /v1/health HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP/"), "{answer:?}");
}

#[tokio::test]
async fn a_stop_lets_what_is_under_way_end() {
    let endpoint = endpoint().await;
    let file = endpoint.server().day(2, &john_smith());
    let address = endpoint.client.address;
    let mut stream = endpoint.client.connect(&["http/1.1"]).await;
    let head = format!(
        "PUT /v1/usage/{} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\nExpect: 100-continue\r\n\r\n",
        file.name,
        file.bytes.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    // It is under way once the server asks for the body.
    let mut go_on = [0; 25];
    stream.read_exact(&mut go_on).await.unwrap();
    assert!(go_on.starts_with(b"HTTP/1.1 100 Continue"), "{go_on:?}");
    let stopping = tokio::spawn(endpoint.serving.stop());
    // No new connection is taken from here on.
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    stream.write_all(&file.bytes).await.unwrap();
    let sent = answer(stream).await;
    assert_eq!(sent.status, 201, "{sent:?}");
    stopping.await.unwrap().unwrap();
    assert_eq!(endpoint.workshop.ledger().usage_files().unwrap().len(), 1);
}

#[tokio::test]
async fn the_program_serves_until_it_is_told_to_stop() {
    let desk = Desk::furnished();
    let issued = desk.issue(&["--grant", "I3_SESSION_CALL=2", "--json"]).json();
    let license = LicenseId(issued["license-id"].as_str().unwrap().parse().unwrap());
    let trust = Trust::anchored(&desk.read("acme/root.i3root")).unwrap();
    let CertifiedKey { cert, signing_key } = certificate();
    desk.write("cert.pem", &cert.pem());
    desk.write("key.pem", &signing_key.serialize_pem());
    std::fs::create_dir(desk.path("state")).unwrap();
    let serve = ["serve", "--listen", "127.0.0.1:0", "--certificate", "cert.pem", "--key", "key.pem"];
    desk.run(&[&serve[..], &["--state", "nowhere"]].concat()).refuses(5, &["nowhere is no folder"]);
    desk.run(&["serve", "--listen", "127.0.0.1:0", "--certificate", "key.pem", "--key", "key.pem"])
        .refuses(4, &["key.pem holds no certificate"]);
    desk.run(&["serve", "--listen", "127.0.0.1:0", "--certificate", "cert.pem", "--key", "cert.pem"])
        .refuses(4, &["cert.pem holds no private key"]);
    desk.write("other.pem", &certificate().signing_key.serialize_pem());
    desk.run(&["serve", "--listen", "127.0.0.1:0", "--certificate", "cert.pem", "--key", "other.pem"])
        .refuses(4, &["belong together"]);

    let mut child = Command::new(env!("CARGO_BIN_EXE_licensor"))
        .current_dir(desk.path(""))
        .args(serve)
        .args(["--state", "state", "--dir", "acme"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let (mut said, mut besides) = (String::new(), String::new());
    let mut out = BufReader::new(child.stdout.take().unwrap());
    out.read_line(&mut said).unwrap();
    out.read_line(&mut besides).unwrap();
    assert_eq!(besides, "Check-ins are answered.\n");
    let address = said.strip_prefix("Listening on https://").and_then(|rest| rest.split(';').next()).unwrap();
    let client = Client { address: address.parse().unwrap(), certificate: cert.der().clone() };
    let file = Writer::new(1, license, &trust).day(2, &john_smith());
    let sent = client.put(&file.name, &file.bytes).await;
    assert_eq!(sent.status, 201, "{sent:?}");
    // Other commands work beside it.
    let listed = desk.run(&["usage", "list"]);
    assert!(listed.out.contains("cic-01"), "{listed:?}");
    let billed = desk.run(&["usage", "bill", "--period", "2026-11", "--time-zone", "UTC", "state"]);
    assert!(billed.code == 0 && billed.out.contains("Recorder"), "{billed:?}");
    let told = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(told.success());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
