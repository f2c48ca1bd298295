//! The way to the endpoint: each way to fail has its state and its remedy, in the view and in the doctor alike.

use std::time::Duration;

use super::{
    super::{Endpoint, NotAnEndpoint, Trouble},
    site::{Home, House},
};
use crate::{
    delivery::tests::server::{Act, Authority, Flaw, Proxied, ProxyServer, Server, problem},
    way_out::{Named, Origin, Proxy, doctor::StepKind},
};

/// What an attempt comes to at a site that was prepared so, and where the doctor finds it.
async fn fails(house: &House, prepare: impl FnOnce(&mut Home), doctor: Option<StepKind>) -> Trouble {
    let mut home = house.home();
    prepare(&mut home);
    let site = home.start().await;
    site.asked().await;
    let failure = site.check_ins.view(house.license).failure.expect("it fails");
    let again = site.check_ins.view(house.license).next.unwrap();
    assert!((60_000..=3_600_000).contains(&(again.as_ms() - failure.at.as_ms())), "{again}");
    let reports = site.check_ins.doctor().await.unwrap();
    assert_eq!(reports.len(), 1);
    let found = reports[0].first_failure().map(|(kind, trouble)| (kind, trouble.code().to_owned()));
    if let Some(kind) = doctor {
        assert_eq!(found, Some((kind, failure.trouble.code().to_owned())), "{reports:#?}");
    }
    let row = site.row().await;
    assert_eq!((row.answer, row.last_good), (None, None));
    site.stop().await;
    failure.trouble
}

#[track_caller]
fn says(trouble: &Trouble, code: &str, words: &str, remedy: &str) {
    assert_eq!(trouble.code(), code, "{trouble:?}");
    assert!(trouble.to_string().contains(words), "{trouble}");
    assert!(trouble.remedy().contains(remedy), "{}", trouble.remedy());
    assert!(!format!("{trouble:?}").contains("geheim"));
}

fn at(url: &str) -> Option<Endpoint> {
    Some(url.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_name_is_not_found() {
    let house = House::open().await;
    let nowhere = |home: &mut Home| {
        // A part longer than names have: no resolver is asked for it.
        let origin = Origin { host: format!("{}.example", "x".repeat(64)), port: 443 };
        home.settings.endpoint = Some(Endpoint { origin, path: String::new() });
    };
    let trouble = fails(&house, nowhere, Some(StepKind::Name)).await;
    says(&trouble, "name-not-found", "is not found", "`network.proxy`");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_listens_there() {
    let house = House::open().await;
    let port = {
        let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        taken.local_addr().unwrap().port()
    };
    let trouble = fails(
        &house,
        |home| home.settings.endpoint = at(&format!("https://127.0.0.1:{port}")),
        Some(StepKind::Connection),
    )
    .await;
    says(&trouble, "refused", "refuses connections", "let connections out");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_proxy() {
    let house = House::open().await;
    let answer = "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=x\r\n\r\n";
    for (does, code, remedy) in [
        (Proxied::Say(answer), "proxy-authentication", "its password"),
        (Proxied::Say("HTTP/1.0 403 Filtered\r\n\r\n"), "proxy-refused", "let this server out"),
        (Proxied::Say("SSH-2.0\r\n"), "proxy-garbage", "which takes CONNECT"),
        (Proxied::HangUp, "proxy-unreachable", "check `network.proxy`"),
    ] {
        let proxy = ProxyServer::start(does).await;
        let address = proxy.address;
        let through = move |home: &mut Home| {
            home.network.settings.proxy = Some(format!("http://acd:geheim@{address}").parse().unwrap());
        };
        let trouble = fails(&house, through, Some(StepKind::Proxy)).await;
        says(&trouble, code, "proxy", remedy);
    }
    let nowhere = |home: &mut Home| {
        let origin = Origin { host: "x".repeat(64), port: 3128 };
        home.network.settings.proxy = Some(Proxy { origin, user: None, password: None });
    };
    says(&fails(&house, nowhere, Some(StepKind::Name)).await, "proxy-unreachable", "its name is not found", "check");
    // And one that lets through.
    let proxy = ProxyServer::start(Proxied::Through).await;
    let mut home = house.home();
    home.network.settings.proxy = Some(format!("http://acd:geheim@{}", proxy.address).parse().unwrap());
    let site = home.start().await;
    site.asked().await;
    assert!(site.row().await.last_good.is_some());
    assert!(proxy.heads()[0].contains("Proxy-Authorization: Basic YWNkOmdlaGVpbQ=="), "{:?}", proxy.heads());
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls() {
    let house = House::open().await;
    let stranger = Authority::new();
    let trouble = fails(&house, |home| home.network.settings.ca = Some(stranger.file()), Some(StepKind::Tls)).await;
    says(&trouble, "tls-unverified", "no certificate authority that is trusted here", "`network.ca`");
    for (flaw, words) in [
        (Flaw::OtherName, "it is for another name"),
        (Flaw::Expired, "it has expired"),
        (Flaw::NotYet, "it is not valid yet"),
    ] {
        let server = Server::start(&house.authority, flaw, Vec::new()).await;
        let trouble = fails(&house, |home| home.settings.endpoint = at(&server.url()), Some(StepKind::Tls)).await;
        says(&trouble, "tls-unverified", words, "");
        assert!(server.asked().is_empty(), "nothing is said to it");
    }
    let server = Server::start(&house.authority, Flaw::None, vec![Act::HangUp, Act::HangUp]).await;
    let trouble = fails(&house, |home| home.settings.endpoint = at(&server.url()), Some(StepKind::Tls)).await;
    says(&trouble, "tls-failed", "there is no TLS", "check host and port");
    let gone = house.authority.file().with_file_name("gone.pem");
    let trouble = fails(&house, |home| home.network.settings.ca = Some(gone), Some(StepKind::Configuration)).await;
    says(&trouble, "setting", "No such file", "`network.ca`");
}

/// What one act of a server that is not the licensor's comes to.
async fn act(house: &House, act: Act, prepare: impl FnOnce(&mut Home)) -> Trouble {
    let server = Server::start(&house.authority, Flaw::None, vec![act]).await;
    fails(
        house,
        |home| {
            home.settings.endpoint = at(&server.url());
            prepare(home);
        },
        None,
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_answers_is_in_trouble_or_is_somebody_else() {
    let house = House::open().await;
    let say = |status, body: &str| Act::Say(status, Vec::new(), body.as_bytes().to_vec());
    let quick = |home: &mut Home| home.network.patience.idle = Duration::from_millis(300);
    for (does, code, words, remedy) in [
        (problem(503, "busy", "too many at once"), "server-error", "too many at once (busy)", "it is tried again"),
        (say(500, "oops"), "server-error", "Internal Server Error", "tell the licensor"),
        (problem(409, "stale-request", "it is old"), "server-refused", "it is old (stale-request)", "do what it says"),
        (problem(404, "no-such-path", "nothing here"), "not-there", "/v1/check-in", "`check_in.endpoint`"),
        (
            Act::Say(301, vec![("location", "https://elsewhere.example/".into())], Vec::new()),
            "redirected",
            "https://elsewhere.example/",
            "`check_in.endpoint`",
        ),
        (say(204, ""), "garbage", "its status is 204", "portal"),
        (say(200, "<html>Welcome</html>"), "not-a-reply", "<html>Welcome</html>", "no proxy answers"),
        (say(200, ""), "not-a-reply", "no reply", "no proxy answers"),
        (say(200, "{\"answer\": \"x\"}"), "no-blank-line", "no answer that counts", ""),
        (Act::Raw(b"SSH-2.0-OpenSSH_9.6\r\n".to_vec()), "garbage", "it is no HTTP", "portal"),
        (Act::CutOff, "cut-off", "ended in the middle", "see what breaks connections"),
        (Act::CutAnswer, "cut-off", "ended in the middle", "see what breaks connections"),
    ] {
        let trouble = act(&house, does, |_| {}).await;
        says(&trouble, code, words, remedy);
    }
    says(&act(&house, Act::Stall, quick).await, "timed-out", "after the connection was there", "passes by itself");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_passes_every_step_but_the_clock_which_stands_still_here() {
    let house = House::open().await;
    let site_home = house.home();
    let site = site_home.start().await;
    site.asked().await;
    let reports = site.check_ins.doctor().await.unwrap();
    let (kind, trouble) = reports[0].first_failure().expect("the test's clock stands still in 2030");
    assert_eq!((kind, trouble.code()), (StepKind::Clock, "clock-off"));
    assert_eq!(reports[0].destination, Some(format!("https://localhost:{}", house.port)));
    assert_eq!(house.script.answered(), 1, "nothing was asked that the licensor would remember");
    site.stop().await;
}

#[test]
fn endpoints_are_read_strictly() {
    for (text, shown) in [
        ("https://acme.example", "https://acme.example"),
        ("https://ACME.example:443/", "https://acme.example"),
        ("https://acme.example:8443/lic/", "https://acme.example:8443/lic"),
        ("https://acme.example/lic/v1/check-in", "https://acme.example/lic"),
        ("https://[::1]:8443", "https://[::1]:8443"),
    ] {
        assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), shown);
    }
    for text in [
        "",
        "http://acme.example",
        "https://",
        "https://a b",
        "https://acme.example?x",
        "https://acme.example/a?b=c",
        "https://acme.example/../x",
        "https://name:word@acme.example",
        "https://acme.example:0",
        "https://acme.example:",
    ] {
        assert!(text.parse::<Endpoint>().is_err(), "{text}");
    }
    let said = Endpoint::of(None, Some("ftp://acme.example")).unwrap_err();
    says(&said, "bad-endpoint", "does not begin with https://", "`check_in.endpoint`");
    says(&Endpoint::of(None, None).unwrap_err(), "no-endpoint", "nothing says where", "`check_in.endpoint`");
    let configured: Endpoint = "https://b.example".parse().unwrap();
    assert_eq!(Endpoint::of(Some(&configured), Some("https://a.example")).unwrap(), configured);
    assert_eq!(NotAnEndpoint("x").to_string(), "x");
}
