//! A real S3-compatible server (moto) through a real forward proxy (tinyproxy), both with authentication, and scripted ones for
//! what real ones seldom say. The real ones are what `tests/delivery/install` installs; without it those tests say that they
//! were skipped, or fail where `LEASEHOLD_REQUIRE_DELIVERY` is set.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use object_store::{ObjectStoreExt as _, path::Path as Key};
use serde::Deserialize;
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    net::TcpListener,
    process::{Child, Command},
};

use super::{
    super::{
        FileState,
        attempt::{Before, Came, Peer},
    },
    faults::Bench,
    server::{Act, Authority, Flaw, Server, date, receipt},
    site::{CLOUD, DAY_MS, Home, MINUTE_MS},
};
use crate::way_out::{Network, Origin, Surroundings, Trouble, doctor::StepKind};

const BUCKET: &str = "acme-usage";

/// Where the install script puts things.
fn installed() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "../target".into(), PathBuf::from);
    target.join("delivery")
}

#[derive(Deserialize)]
struct Keys {
    id: String,
    secret: String,
}

#[derive(Deserialize)]
struct Said {
    port: u16,
    both: Keys,
    write: Keys,
}

/// The bucket's server and the proxy, which end with this.
struct Peers {
    _bucket: Child,
    _proxy: Child,
    dir: TempDir,
    said: Said,
    proxy_port: u16,
}

impl Peers {
    /// `None` where they are not installed.
    async fn start(authority: &Authority) -> Option<Self> {
        let installed = installed();
        let (python, tinyproxy) = (installed.join("python/bin/python"), installed.join("tinyproxy"));
        if !(installed.join("installed").is_file() && python.exists() && tinyproxy.exists()) {
            let message = "needs moto and tinyproxy (run tests/delivery/install)";
            assert!(std::env::var_os("LEASEHOLD_REQUIRE_DELIVERY").is_none(), "{message}");
            eprintln!("skipped: {message}");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let (certificate, key) = authority.certificate(Flaw::None);
        let (certificate_path, key_path) = (dir.path().join("certificate.pem"), dir.path().join("key.pem"));
        std::fs::write(&certificate_path, pem(certificate.as_ref())).unwrap();
        std::fs::write(&key_path, key.serialize_pem()).unwrap();
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/delivery/bucket.py");
        let mut bucket = Command::new(python)
            .arg(program)
            .args([&certificate_path, &key_path])
            .arg(BUCKET)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(bucket.stdout.take().unwrap()).lines();
        let line = tokio::time::timeout(Duration::from_secs(120), lines.next_line()).await.unwrap().unwrap();
        let said = serde_json::from_str(&line.expect("the bucket's server says its port")).unwrap();
        let (proxy, proxy_port) = proxy(&tinyproxy, dir.path()).await;
        Some(Self { _bucket: bucket, _proxy: proxy, dir, said, proxy_port })
    }

    /// A file of credentials, as `usage.s3.credentials` names it.
    fn credentials(&self, id: &str, secret: &str) -> PathBuf {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.dir.path().join("credentials");
        std::fs::write(&path, format!("[default]\naws_access_key_id = {id}\naws_secret_access_key = {secret}\n"))
            .unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    fn set(&self, settings: &mut super::super::Settings, network: &mut Network) {
        settings.destination = Some(format!("s3://{BUCKET}/site-7").parse().unwrap());
        settings.s3.endpoint = Some(Origin { host: "localhost".into(), port: self.said.port });
        settings.s3.credentials = Some(self.credentials(&self.said.both.id, &self.said.both.secret));
        network.settings.proxy = Some(format!("http://acd:geheim@127.0.0.1:{}", self.proxy_port).parse().unwrap());
    }
}

/// Starts the proxy on a port that was free a moment ago; where somebody else took it meanwhile, on another.
async fn proxy(program: &Path, dir: &Path) -> (Child, u16) {
    for _ in 0..10 {
        let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        let config = format!(
            "Port {port}\nListen 127.0.0.1\nTimeout 60\nMaxClients 50\nAllow 127.0.0.1\nBasicAuth acd geheim\nLogLevel Info\n"
        );
        std::fs::write(dir.join("tinyproxy.conf"), config).unwrap();
        let mut child = Command::new(program)
            .arg("-d")
            .arg("-c")
            .arg(dir.join("tinyproxy.conf"))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let ready = async {
            while let Ok(Some(line)) = lines.next_line().await {
                if line.contains("Accepting connections") {
                    return true;
                }
            }
            false
        };
        if tokio::time::timeout(Duration::from_secs(60), ready).await.unwrap() {
            // What it says further is taken, so that it never waits for us.
            tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
            return (child, port);
        }
    }
    panic!("the proxy does not start");
}

fn pem(der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<&str> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}

#[track_caller]
fn says(trouble: &Trouble, code: &str, words: &str, remedy: &str) {
    assert_eq!(trouble.code(), code, "{trouble:?}");
    assert!(trouble.to_string().contains(words), "{trouble}");
    assert!(trouble.remedy().contains(remedy), "{}", trouble.remedy());
}

async fn object(peer: &Peer, name: &str) -> Vec<u8> {
    let Peer::Bucket(bucket) = peer else { panic!() };
    let (store, key) = (bucket.store(), Key::from(name));
    let (size, mut bytes) = (store.head(&key).await.unwrap().size, Vec::new());
    // Answers are bounded to what receipts need.
    while (bytes.len() as u64) < size {
        let from = bytes.len() as u64;
        bytes.extend_from_slice(&store.get_range(&key, from..size.min(from + 200_000)).await.unwrap());
    }
    bytes
}

async fn put(peer: &Peer, name: &str, bytes: Vec<u8>) {
    let Peer::Bucket(bucket) = peer else { panic!() };
    bucket.store().put(&Key::from(name), bytes.into()).await.unwrap();
}

#[tokio::test]
async fn a_real_bucket_through_a_real_proxy_takes_files_and_gives_receipts() {
    let mut bench = Bench::new();
    let Some(peers) = Peers::start(&bench.authority).await else { return };
    peers.set(&mut bench.settings, &mut bench.network);
    let name = bench.row.file.clone();
    assert!(matches!(bench.attempt(Before::Never).await, Ok(Came::Sent)));
    assert!(matches!(bench.attempt(Before::Lately).await, Ok(Came::NotYet)));
    assert!(matches!(bench.attempt(Before::LongAgo).await, Ok(Came::Sent)), "again, which does no harm");
    let peer = bench.peer().unwrap();
    assert_eq!(object(&peer, &format!("site-7/{name}")).await, b"sealed");
    // The licensor puts the receipt beside it.
    put(&peer, &format!("site-7/{name}.receipt"), b"a receipt".to_vec()).await;
    for before in [Before::Lately, Before::LongAgo] {
        let Ok(Came::Receipt(receipt)) = bench.attempt(before).await else { panic!() };
        assert_eq!(&receipt[..], b"a receipt");
    }
    // The largest that there are go in parts.
    let large: Vec<u8> = (0..(11_u32 << 20) + 4_321).map(|at| (at % 253) as u8).collect();
    bench.put(&large);
    assert!(matches!(bench.attempt(Before::Never).await, Ok(Came::Sent)));
    assert!(object(&bench.peer().unwrap(), &format!("site-7/{name}")).await == large);

    let report = bench.examine().await;
    // All is well there but the time: ours stands still in 2030.
    assert_eq!(report.first_failure().map(|(kind, _)| kind), Some(StepKind::Clock), "{report:#?}");
    assert_eq!(report.proxy, Some(format!("http://acd@127.0.0.1:{}", peers.proxy_port)));
}

#[tokio::test]
async fn a_real_bucket_and_proxy_say_what_is_wrong() {
    let mut bench = Bench::new();
    let Some(peers) = Peers::start(&bench.authority).await else { return };
    peers.set(&mut bench.settings, &mut bench.network);
    let well = (bench.settings.clone(), bench.network.clone());
    let failed_at = async |bench: &Bench| bench.examine().await.first_failure().map(|(kind, _)| kind);

    bench.settings.s3.credentials = Some(peers.credentials(&peers.said.both.id, "not the secret"));
    says(&bench.fails().await, "wrong-credentials", "SignatureDoesNotMatch", "credentials that may write");
    assert_eq!(failed_at(&bench).await, Some(StepKind::Credentials));
    bench.settings.s3.credentials = Some(peers.credentials("AKIANOBODY0000000000", "secret"));
    says(&bench.fails().await, "wrong-credentials", "InvalidAccessKeyId", "count from the next attempt");
    let text = format!("{:?}", bench.fails().await);
    assert!(!text.contains("not the secret") && !text.contains(&peers.said.both.secret), "{text}");

    (bench.settings, bench.network) = well.clone();
    bench.settings.s3.credentials = Some(peers.credentials(&peers.said.both.id, &peers.said.both.secret));
    bench.settings.destination = Some("s3://acme-other/site-7".parse().unwrap());
    let trouble = bench.fails().await;
    assert!(["not-there", "wrong-credentials"].contains(&trouble.code()), "{trouble:?}");

    // Who may write and not look is told so once the file is there.
    (bench.settings, bench.network) = well.clone();
    bench.settings.s3.credentials = Some(peers.credentials(&peers.said.write.id, &peers.said.write.secret));
    assert!(matches!(bench.attempt(Before::Never).await, Ok(Came::Sent)));
    let trouble = bench.attempt(Before::Lately).await.unwrap_err();
    says(&trouble, "receipt-forbidden", "AccessDenied", "s3:ListBucket");
    assert!(!trouble.is_of_the_way());

    (bench.settings, bench.network) = well.clone();
    bench.network.settings.proxy = Some(format!("http://acd:falsch@127.0.0.1:{}", peers.proxy_port).parse().unwrap());
    says(&bench.fails().await, "proxy-authentication", "does not take this name and password", "its password");
    assert_eq!(failed_at(&bench).await, Some(StepKind::Proxy));
    bench.network.settings.proxy = Some(format!("http://127.0.0.1:{}", peers.proxy_port).parse().unwrap());
    says(&bench.fails().await, "proxy-authentication", "wants a name and a password", "network.proxy_password_file");

    (bench.settings, bench.network) = well.clone();
    bench.network.settings.ca = Some(Authority::new().file());
    assert_eq!(bench.fails().await.code(), "setting", "an authority that is gone");
    let stranger = Authority::new();
    bench.network.settings.ca = Some(stranger.file());
    says(&bench.fails().await, "tls-unverified", "is not believed", "`network.ca`");
    assert_eq!(failed_at(&bench).await, Some(StepKind::Tls));

    (bench.settings, bench.network) = well;
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    bench.settings.s3.endpoint = Some(Origin { host: "localhost".into(), port });
    says(&bench.fails().await, "proxy-refused", "makes no connection to localhost", "have the proxy let");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_goes_to_a_real_bucket_and_is_receipted_there() {
    let mut home = Home::new(CLOUD);
    let Some(peers) = Peers::start(&home.authority).await else { return };
    peers.set(&mut home.settings, &mut home.network);
    let mut site = home.start().await;
    home.set_time(DAY_MS);
    let files = site.files(|files| files.len() == 2 && files[0].state == FileState::Uploaded).await;
    assert!(files[0].row.uploaded.is_some() && files[0].row.stored, "its records stay until there is a receipt");
    assert_eq!(files[0].failure, None);
    site.stop().await;

    let mut bench = Bench::new();
    (bench.settings, bench.network) = (home.settings.clone(), home.network.clone());
    let (peer, name) = (bench.peer().unwrap(), files[0].row.file.clone());
    let sent = object(&peer, &format!("site-7/{name}")).await;
    assert_eq!(sent, std::fs::read(&files[0].path).unwrap());
    // A restart sends nothing again, and looks for the receipt when it is time.
    put(&peer, &format!("site-7/{name}.receipt"), receipt(&name, &sent, 7)).await;
    let mut site = home.start().await;
    home.set_time(DAY_MS + 2 * MINUTE_MS);
    let files = site.files(|files| files[0].row.acknowledged.is_some()).await;
    assert_eq!(files[0].state, FileState::Acknowledged);
    site.stop().await;
}

/// A bench whose bucket is a scripted server.
async fn scripted(script: Vec<Act>) -> (Bench, Server) {
    let mut bench = Bench::new();
    let server = Server::start(&bench.authority, Flaw::None, script).await;
    bench.settings.destination = Some("s3://acme-usage/site-7".parse().unwrap());
    bench.settings.s3.endpoint = Some(Origin { host: "localhost".into(), port: server.port() });
    bench.network.surroundings =
        Surroundings::new(None, &[("AWS_ACCESS_KEY_ID", "id"), ("AWS_SECRET_ACCESS_KEY", "secret")]);
    (bench, server)
}

fn xml(status: u16, code: &str, message: &str) -> Act {
    let body = format!("<?xml version=\"1.0\"?>\n<Error><Code>{code}</Code><Message>{message}</Message></Error>");
    Act::Say(status, vec![("content-type", "application/xml".into())], body.into_bytes())
}

#[tokio::test]
async fn each_refusal_of_a_bucket_has_its_name() {
    for (act, code, words, remedy) in [
        (xml(403, "AccessDenied", "Access Denied"), "wrong-credentials", "Access Denied (AccessDenied)", "may write"),
        (xml(401, "", ""), "wrong-credentials", "401", "may write"),
        (
            xml(404, "NoSuchBucket", "The specified bucket does not exist"),
            "not-there",
            "the bucket acme-usage",
            "usage.s3",
        ),
        (xml(500, "InternalError", "We encountered an internal error"), "server-busy", "internal error", "tried again"),
        (xml(503, "SlowDown", "Reduce your request rate"), "server-busy", "Reduce", "tried again"),
        (xml(400, "EntityTooLarge", "Your upload is too large"), "server-refused", "(400)", "show it to the licensor"),
        (Act::Say(200, Vec::new(), b"<html>welcome</html>".to_vec()), "garbage", "an answer that is none", "a portal"),
        (Act::Raw(b"220 mail.example\r\n\r\n".to_vec()), "garbage", "no HTTP", "another server"),
        (Act::CutAnswer, "cut-off", "ended in the middle", "breaks connections"),
        (Act::SignAndCut, "cut-off", "ended in the middle", "breaks connections"),
        (Act::HangUp, "tls-failed", "no TLS with localhost", "does not speak TLS"),
    ] {
        let (bench, _server) = scripted(vec![act.clone()]).await;
        let trouble = bench.fails().await;
        assert_eq!(trouble.code(), code, "{act:?} {trouble:?}");
        assert!(trouble.to_string().contains(words), "{act:?} {trouble}");
        assert!(trouble.remedy().contains(remedy), "{act:?} {}", trouble.remedy());
    }
}

#[tokio::test]
async fn a_bucket_that_is_elsewhere_or_in_another_time() {
    let elsewhere = Act::Say(
        301,
        vec![("x-amz-bucket-region", "us-east-2".into())],
        b"<Error><Code>PermanentRedirect</Code></Error>".to_vec(),
    );
    let (bench, _server) = scripted(vec![elsewhere]).await;
    says(&bench.fails().await, "redirected", "us-east-2", "`usage.s3.region`");
    let skewed = b"<Error><Code>RequestTimeTooSkewed</Code></Error>".to_vec();
    let (bench, _server) = scripted(vec![Act::Say(403, date(-3_600), skewed)]).await;
    says(&bench.fails().await, "clock-off", "3600 s ahead", "set this server's clock");
}

#[tokio::test]
async fn a_bucket_without_credentials_is_not_asked() {
    let (mut bench, server) = scripted(Vec::new()).await;
    bench.network.surroundings = Surroundings::default();
    says(&bench.fails().await, "no-credentials", "no credentials", "`usage-s3`");
    let report = bench.examine().await;
    assert_eq!(report.first_failure().unwrap().0, StepKind::Configuration);
    assert!(server.asked().is_empty());
}

#[tokio::test]
async fn a_bucket_that_stalls_is_left_after_a_while() {
    let (mut bench, server) = scripted(vec![Act::Stall]).await;
    bench.network.patience.idle = Duration::from_millis(300);
    says(&bench.fails().await, "timed-out", "after the connection was there", "ask the licensor");
    server.with_asked(|asked| {
        let head = &asked[0].head;
        assert!(head.contains("authorization: AWS4-HMAC-SHA256 Credential=id/") && !head.contains("secret"), "{head}");
        assert_eq!(asked[0].path, format!("/acme-usage/site-7/{}", bench.row.file));
    });
}

#[tokio::test]
async fn amazons_own_server_is_meant_where_none_is_named() {
    let mut bench = Bench::new();
    bench.settings.destination = Some("s3://acme-usage".parse().unwrap());
    bench.settings.s3.region = "us-east-2".to_owned();
    let destination = bench.settings.destination.clone().unwrap();
    let server = super::super::attempt::server(&destination, &bench.settings);
    assert_eq!(server.to_string(), "s3.us-east-2.amazonaws.com:443");
}
