//! The forward proxy: lets through, wants to know who asks, lets nobody through, is none.

use std::time::Duration;

use tokio::net::TcpListener;

use super::{
    super::attempt::{self, Before, Came},
    faults::Bench,
    server::{Flaw, Proxied, ProxyServer},
};
use crate::way_out::{Origin, Proxy, Trouble};

async fn through(does: Proxied, who: &str) -> (Result<Came, Trouble>, ProxyServer) {
    let mut bench = Bench::new();
    let _server = bench.server(Flaw::None, Vec::new()).await;
    let proxy = ProxyServer::start(does).await;
    bench.network.settings.proxy = Some(format!("http://{who}{}", proxy.address).parse().unwrap());
    (bench.attempt(Before::Never).await, proxy)
}

async fn fails(does: Proxied) -> Trouble {
    through(does, "acd:geheim@").await.0.unwrap_err()
}

/// A proxy whose name has a part longer than names have: no resolver is asked for it.
pub(super) fn nowhere() -> Proxy {
    Proxy { origin: Origin { host: "x".repeat(64), port: 3128 }, user: None, password: None }
}

#[track_caller]
fn says(trouble: &Trouble, code: &str, words: &str, remedy: &str) {
    assert_eq!(trouble.code(), code, "{trouble:?}");
    assert!(trouble.to_string().contains(words), "{trouble}");
    assert!(trouble.remedy().contains(remedy), "{}", trouble.remedy());
    assert!(!format!("{trouble:?}").contains("geheim"));
}

#[tokio::test]
async fn a_proxy_lets_through_and_hears_who_asks() {
    let (came, proxy) = through(Proxied::Through, "acd:geheim@").await;
    assert!(matches!(came, Ok(Came::Receipt(_))), "{came:?}");
    let head = proxy.heads().remove(0);
    assert!(
        head.starts_with("CONNECT localhost:") && head.contains("Proxy-Authorization: Basic YWNkOmdlaGVpbQ=="),
        "{head}"
    );
    let (came, proxy) = through(Proxied::Through, "").await;
    assert!(came.is_ok());
    assert!(!proxy.heads().remove(0).contains("Authorization"));
}

#[tokio::test]
async fn a_proxy_that_answers_407() {
    let answer = "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=x\r\n\r\n";
    says(&fails(Proxied::Say(answer)).await, "proxy-authentication", "does not take this name", "its password");
    let (came, _) = through(Proxied::Say(answer), "").await;
    says(&came.unwrap_err(), "proxy-authentication", "wants a name and a password", "`network.proxy_password_file`");
}

#[tokio::test]
async fn a_proxy_that_lets_nobody_through() {
    let trouble = fails(Proxied::Say("HTTP/1.0 403 Filtered\r\n\r\n")).await;
    assert!(matches!(trouble, Trouble::ProxyRefused { status: 403, .. }), "{trouble:?}");
    says(&trouble, "proxy-refused", "it answers 403", "have the proxy let this server out to localhost:");
    says(&fails(Proxied::Say("HTTP/1.1 502 Bad Gateway\r\n\r\n")).await, "proxy-refused", "502", "out to localhost:");
}

#[tokio::test]
async fn a_proxy_that_is_not_there() {
    let mut bench = Bench::new();
    let _server = bench.server(Flaw::None, Vec::new()).await;
    let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    bench.network.settings.proxy = Some(format!("http://{address}").parse().unwrap());
    let trouble = bench.attempt(Before::Never).await.unwrap_err();
    says(&trouble, "proxy-unreachable", "it refuses connections", "check `network.proxy`");
    bench.network.settings.proxy = Some(nowhere());
    let trouble = bench.attempt(Before::Never).await.unwrap_err();
    says(&trouble, "proxy-unreachable", "its name is not found", "check `network.proxy`");
}

#[tokio::test]
async fn what_is_no_proxy() {
    for answer in ["220 mail.example ESMTP\r\n\r\n", "HTTP/1.1 hello\r\n\r\n", "\u{15}\u{3}\u{1}\u{0}\u{2}\u{2}F"] {
        says(&fails(Proxied::Say(answer)).await, "proxy-garbage", "does not answer as a proxy", "which takes CONNECT");
    }
}

#[tokio::test]
async fn a_proxy_that_stalls_or_hangs_up() {
    let mut bench = Bench::new();
    let _server = bench.server(Flaw::None, Vec::new()).await;
    let proxy = ProxyServer::start(Proxied::Mute).await;
    bench.network.settings.proxy = Some(format!("http://acd:geheim@{}", proxy.address).parse().unwrap());
    let destination = attempt::destination(&bench.settings, None).unwrap();
    let mut way = attempt::way(&destination, &bench.settings, &bench.network).unwrap();
    // Only what is never answered is waited for briefly: the steps before it take what they take on a busy machine.
    let stream = way.connect(&way.resolve().await.unwrap()).await.unwrap();
    way.patience.step = Duration::from_millis(20);
    says(&way.tunnel(stream).await.unwrap_err(), "timed-out", "the proxy was asked for a tunnel", "`network.proxy`");
    says(&fails(Proxied::HangUp).await, "proxy-unreachable", "ended the connection", "check `network.proxy`");
}

#[test]
fn what_a_proxy_is_written_as() {
    let proxy: Proxy = "http://acd%20x:p%40ss@[::1]:3128/".parse().unwrap();
    assert_eq!((proxy.to_string(), proxy.user.as_deref()), ("http://acd x@[::1]:3128".into(), Some("acd x")));
    assert!(!format!("{proxy:?}").contains("p@ss"));
    for bad in [
        "proxy:3128",
        "https://proxy:3128",
        "http://proxy",
        "http://proxy:0",
        "http://proxy:",
        "http://proxy:99999",
        "http://:3128",
        "http://@proxy:3128",
        "http://:secret@proxy:3128",
        "http://a%ff@proxy:3128",
        "http://a%0a:b@proxy:3128",
        "http://proxy:3128/path",
    ] {
        let fault = bad.parse::<Proxy>().map(|proxy| proxy.to_string()).unwrap_err();
        assert!(!fault.to_string().contains("secret"), "{bad}");
    }
}
