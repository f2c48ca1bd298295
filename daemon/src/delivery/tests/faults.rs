//! One attempt with one file against a scripted endpoint: each fault has its state and its remedy.

use std::{path::PathBuf, time::Duration};

use leasehold_engine::{row::UsageSegmentRow, time::WallTime};
use leasehold_keys::digest::Sha256;
use tempfile::TempDir;
use tokio::net::TcpListener;

use super::{
    super::{
        Settings,
        attempt::{self, Before, Came, Peer},
    },
    server::{Act, Authority, Flaw, Server, date, problem},
    site::{WALL_MS, row},
};
use crate::way_out::{self, Doing, Network, Origin, Patience, Surroundings, Trouble, Unverified};

/// A file and a way to send it.
pub(super) struct Bench {
    pub(super) dir: TempDir,
    pub(super) authority: Authority,
    pub(super) settings: Settings,
    pub(super) network: Network,
    pub(super) row: UsageSegmentRow,
}

impl Bench {
    pub(super) fn new() -> Self {
        let (dir, authority) = (tempfile::tempdir().unwrap(), Authority::new());
        let ca = way_out::Settings { ca: Some(authority.file()), ..way_out::Settings::default() };
        let patience =
            Patience { step: Duration::from_secs(30), idle: Duration::from_secs(30), whole: Duration::from_secs(120) };
        let network = Network { settings: ca, surroundings: Surroundings::default(), patience };
        let mut bench = Self { dir, authority, settings: Settings::default(), network, row: row(1) };
        bench.put(b"sealed");
        bench
    }

    pub(super) fn file(&self) -> PathBuf {
        self.dir.path().join(&self.row.file)
    }

    pub(super) fn put(&mut self, bytes: &[u8]) {
        std::fs::write(self.file(), bytes).unwrap();
        self.row.bytes = bytes.len() as u64;
        self.row.sha256 = Some(Sha256::of(bytes));
    }

    pub(super) async fn server(&mut self, flaw: Flaw, script: Vec<Act>) -> Server {
        let server = Server::start(&self.authority, flaw, script).await;
        self.settings.destination = Some(server.url().parse().unwrap());
        server
    }

    pub(super) fn peer(&self) -> Result<Peer, Trouble> {
        let destination = attempt::destination(&self.settings, None)?;
        let way = attempt::way(&destination, &self.settings, &self.network)?;
        Peer::new(&destination, &self.settings, &self.network.surroundings, way)
    }

    pub(super) async fn attempt(&self, before: Before) -> Result<Came, Trouble> {
        self.peer()?.attempt(&self.row, &self.file(), before, WallTime::from_ms(WALL_MS)).await
    }

    pub(super) async fn fails(&self) -> Trouble {
        self.attempt(Before::Never).await.unwrap_err()
    }
}

/// What one act of the server comes to.
async fn act(act: Act) -> Trouble {
    let mut bench = Bench::new();
    let _server = bench.server(Flaw::None, vec![act]).await;
    bench.fails().await
}

#[track_caller]
fn says(trouble: &Trouble, code: &str, words: &str, remedy: &str) {
    assert_eq!(trouble.code(), code, "{trouble:?}");
    assert!(trouble.to_string().contains(words), "{trouble}");
    assert!(trouble.remedy().contains(remedy), "{}", trouble.remedy());
}

#[tokio::test]
async fn a_file_is_sent_whole_and_its_receipt_comes_back() {
    let mut bench = Bench::new();
    // More than one piece, and no round number of them.
    let bytes: Vec<u8> = (0..300_001_u32).map(|at| (at % 251) as u8).collect();
    bench.put(&bytes);
    let server = bench.server(Flaw::None, Vec::new()).await;
    let Came::Receipt(receipt) = bench.attempt(Before::Never).await.unwrap() else { panic!() };
    assert!(receipt.starts_with(b"format = \"leasehold/usage-receipt/1\""));
    assert_eq!(server.asked(), [format!("PUT /v1/usage/{}?final=true", bench.row.file)]);
    server.with_asked(|asked| {
        assert_eq!(asked[0].body, 300_001);
        assert!(asked[0].head.contains(&format!("host: localhost:{}", server.port())), "{}", asked[0].head);
    });
}

#[tokio::test]
async fn a_receipt_that_was_lost_is_asked_for_before_the_file_is_sent_again() {
    let mut bench = Bench::new();
    let server = bench.server(Flaw::None, vec![Act::SignAndCut]).await;
    let trouble = bench.fails().await;
    says(&trouble, "cut-off", "ended in the middle", "nothing, where it passes");
    assert!(trouble.may_have_arrived());
    assert!(matches!(bench.attempt(Before::LongAgo).await, Ok(Came::Receipt(_))));
    let name = bench.row.file.clone();
    assert_eq!(server.asked(), [format!("PUT /v1/usage/{name}?final=true"), format!("GET /v1/usage/{name}/receipt")]);
    // Where the server has none, the file is sent.
    let server = bench.server(Flaw::None, Vec::new()).await;
    assert!(matches!(bench.attempt(Before::LongAgo).await, Ok(Came::Receipt(_))));
    assert_eq!(server.asked(), [format!("GET /v1/usage/{name}/receipt"), format!("PUT /v1/usage/{name}?final=true")]);
}

#[tokio::test]
async fn no_destination() {
    let bench = Bench::new();
    says(&bench.fails().await, "no-destination", "nothing says where", "`usage.destination`");
    let trouble = attempt::destination(&bench.settings, Some("ftp://acme.example/usage")).unwrap_err();
    says(&trouble, "bad-destination", "begins neither with s3://", "https://HOST");
}

#[tokio::test]
async fn a_name_that_is_not_found() {
    let mut bench = Bench::new();
    // A part longer than names have: no resolver is asked for it.
    let host = format!("{}.example", "x".repeat(64));
    bench.settings.destination = Some(super::super::Destination::Endpoint {
        origin: Origin { host: host.clone(), port: 443 },
        path: String::new(),
    });
    says(&bench.fails().await, "name-not-found", &host, "set `network.proxy`");
}

#[tokio::test]
async fn a_port_that_refuses() {
    let mut bench = Bench::new();
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    bench.settings.destination = Some(format!("https://localhost:{port}").parse().unwrap());
    says(&bench.fails().await, "refused", &format!("localhost:{port} refuses"), "let connections out to localhost");
}

#[tokio::test]
async fn a_server_that_is_mute_before_tls() {
    let mut bench = Bench::new();
    bench.network.patience.step = Duration::from_millis(300);
    let _server = bench.server(Flaw::None, vec![Act::Mute]).await;
    let trouble = bench.fails().await;
    assert!(matches!(trouble, Trouble::TimedOut { doing: Doing::Tls, .. }), "{trouble:?}");
    says(&trouble, "timed-out", "during the TLS handshake", "no firewall");
}

#[tokio::test]
async fn a_server_that_stalls_after_the_file() {
    let mut bench = Bench::new();
    bench.network.patience.idle = Duration::from_millis(300);
    let _server = bench.server(Flaw::None, vec![Act::Stall]).await;
    let trouble = bench.fails().await;
    assert!(matches!(trouble, Trouble::TimedOut { doing: Doing::Exchange, .. }) && trouble.may_have_arrived());
    says(&trouble, "timed-out", "after the connection was there", "ask the licensor");
}

#[tokio::test]
async fn a_server_that_hangs_up_before_tls() {
    says(&act(Act::HangUp).await, "tls-failed", "there is no TLS with localhost", "does not speak TLS");
}

#[tokio::test]
async fn a_server_that_cuts_off_in_the_file() {
    let mut bench = Bench::new();
    bench.put(&vec![7; 4 << 20]);
    let _server = bench.server(Flaw::None, vec![Act::CutOff]).await;
    says(&bench.fails().await, "cut-off", "ended in the middle", "breaks connections");
}

#[tokio::test]
async fn a_server_that_cuts_off_in_its_answer() {
    let trouble = act(Act::CutAnswer).await;
    says(&trouble, "cut-off", "ended in the middle", "breaks connections");
    assert!(trouble.may_have_arrived());
}

#[tokio::test]
async fn a_server_that_does_not_speak_http() {
    let trouble = act(Act::Raw(b"220 mail.example ESMTP\r\n\r\n".to_vec())).await;
    says(&trouble, "garbage", "it is no HTTP", "check that the destination is the licensor's");
}

#[tokio::test]
async fn an_answer_that_never_ends() {
    let mut raw = b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n".to_vec();
    raw.resize(400_000, b'x');
    says(&act(Act::Raw(raw)).await, "garbage", "longer than 262144 bytes", "portal that wants a logon");
    says(&act(Act::Say(200, Vec::new(), vec![b'x'; 200_000])).await, "garbage", "too long for a receipt", "portal");
}

#[tokio::test]
async fn a_yes_without_a_receipt() {
    let trouble = act(Act::Say(200, Vec::new(), Vec::new())).await;
    says(&trouble, "garbage", "gives no receipt", "the licensor's");
    says(&act(Act::Say(204, Vec::new(), Vec::new())).await, "garbage", "its status is 204", "the licensor's");
}

#[tokio::test]
async fn a_certificate_of_an_unknown_authority() {
    let mut bench = Bench::new();
    let server = bench.server(Flaw::Stranger, Vec::new()).await;
    let trouble = bench.fails().await;
    assert!(matches!(&trouble, Trouble::TlsUnverified { why: Unverified::UnknownAuthority, .. }), "{trouble:?}");
    says(&trouble, "tls-unverified", "no certificate authority that is trusted here", "`network.ca`");
    assert!(server.asked().is_empty(), "not a byte of a request went there");
}

#[tokio::test]
async fn a_certificate_for_another_name_expired_or_not_yet_valid() {
    for (flaw, why, words, remedy) in [
        (Flaw::OtherName, Unverified::OtherName, "for another name", "check the host in the destination"),
        (Flaw::Expired, Unverified::Expired, "has expired", "check this server's clock"),
        (Flaw::NotYet, Unverified::NotYetValid, "not valid yet", "check this server's clock"),
    ] {
        let mut bench = Bench::new();
        let _server = bench.server(flaw, Vec::new()).await;
        let trouble = bench.fails().await;
        assert!(matches!(&trouble, Trouble::TlsUnverified { why: said, .. } if *said == why), "{trouble:?}");
        says(&trouble, "tls-unverified", words, remedy);
    }
}

#[tokio::test]
async fn authorities_that_cannot_be_read() {
    let mut bench = Bench::new();
    let _server = bench.server(Flaw::None, Vec::new()).await;
    let path = bench.dir.path().join("ca.pem");
    bench.network.settings.ca = Some(path.clone());
    says(&bench.fails().await, "setting", "No such file", "`network.ca`");
    std::fs::write(&path, "hello").unwrap();
    says(&bench.fails().await, "setting", "holds no certificate", "`network.ca`");
    std::fs::write(&path, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
    says(&bench.fails().await, "setting", "a certificate that is none", "`network.ca`");
}

#[tokio::test]
async fn a_server_that_refuses_in_its_own_words() {
    let fork = problem(409, "fork", "another file of segment 1\n was received;\tit is set aside");
    let trouble = act(fork).await;
    says(
        &trouble,
        "server-refused",
        "(409): another file of segment 1 was received; it is set aside (fork)",
        "show it to",
    );
    assert!(!trouble.is_of_the_way(), "other files may go");
    let trouble = act(problem(403, "unknown-license", "license X was not issued by this licensor")).await;
    says(&trouble, "server-refused", "was not issued by this licensor (unknown-license)", "the file stays here");
    says(&act(Act::Say(403, Vec::new(), b"<html>".to_vec())).await, "server-refused", "(403): Forbidden", "stays here");
    let long = act(problem(422, "x", &"word ".repeat(1_000))).await;
    assert!(long.to_string().len() < 400, "{long}");
}

#[tokio::test]
async fn a_path_that_is_not_there() {
    let trouble = act(problem(404, "no-such-path", "nothing is served under this path")).await;
    says(&trouble, "not-there", "/v1/usage/", "compare the destination");
    assert!(trouble.is_of_the_way());
}

#[tokio::test]
async fn a_server_that_is_busy_says_when_to_come_again() {
    let busy =
        Act::Say(503, vec![("retry-after", "120".into())], b"{\"code\":\"busy\",\"detail\":\"too many\"}".to_vec());
    let trouble = act(busy).await;
    assert!(matches!(&trouble, Trouble::ServerBusy { status: 503, retry_after_s: Some(120), .. }), "{trouble:?}");
    says(&trouble, "server-busy", "too many (busy)", "tried again");
    assert_eq!(act(Act::Say(429, Vec::new(), Vec::new())).await.code(), "server-busy");
}

#[tokio::test]
async fn a_server_that_sends_elsewhere_is_not_followed() {
    let mut headers = date(0);
    headers.push(("location", "https://elsewhere.example/".into()));
    let trouble = act(Act::Say(308, headers, Vec::new())).await;
    says(&trouble, "redirected", "https://elsewhere.example/", "`usage.destination`");
}

#[tokio::test]
async fn a_file_that_is_not_what_was_written_does_not_go() {
    let mut bench = Bench::new();
    let server = bench.server(Flaw::None, Vec::new()).await;
    for wrong in [&b"Sealed"[..], b"sealed and more", b""] {
        std::fs::write(bench.file(), wrong).unwrap();
        says(&bench.fails().await, "file-damaged", "not what was written", "from a backup");
    }
    std::fs::remove_file(bench.file()).unwrap();
    says(&bench.fails().await, "file-damaged", "gone", "from a backup");
    std::fs::create_dir(bench.file()).unwrap();
    assert_eq!(bench.fails().await.code(), "file-damaged");
    assert!(server.asked().is_empty());
}
