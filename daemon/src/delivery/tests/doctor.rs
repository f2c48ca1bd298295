//! The doctor: each step with its result, and the remedy for the first that fails.

use leasehold_engine::time::WallTime;
use tokio::net::TcpListener;

use super::{
    super::examine,
    faults::Bench,
    proxies::nowhere,
    server::{Act, Flaw, Proxied, ProxyServer, date, problem},
    site::WALL_MS,
};
use crate::way_out::doctor::{Outcome, Report, StepKind};

impl Bench {
    pub(super) async fn examine(&self) -> Report {
        let now = WallTime::from_ms(WALL_MS);
        examine::examine(&self.settings, &self.network, None, "0123.probe", now).await
    }
}

/// `configuration passed, …`, as far as it came.
fn told(report: &Report) -> String {
    let one = |outcome: &Outcome| match outcome {
        Outcome::Passed { .. } => "passed",
        Outcome::Failed(trouble) => trouble.code(),
        Outcome::NotNeeded(_) => "not needed",
        Outcome::NotReached => "not reached",
    };
    let steps = report.steps.iter().map(|step| format!("{} {}", step.kind.as_str(), one(&step.outcome)));
    let reached: Vec<String> = steps.take_while(|step| !step.ends_with("not reached")).collect();
    reached.join(", ")
}

#[tokio::test]
async fn an_endpoint_that_is_well() {
    let mut bench = Bench::new();
    let server = bench.server(Flaw::None, vec![Act::HangUp]).await;
    let report = bench.examine().await;
    assert_eq!(report.steps.len(), StepKind::ALL.len());
    assert_eq!(told(&report), "configuration passed, name passed, connection passed, proxy not needed, tls tls-failed");
    assert_eq!(report.first_failure().unwrap().0, StepKind::Tls);
    server.then(Act::Sign);
    let report = bench.examine().await;
    assert_eq!(
        told(&report),
        "configuration passed, name passed, connection passed, proxy not needed, tls passed, destination passed, \
         credentials not needed, clock passed"
    );
    assert!(report.is_well());
    assert_eq!((report.destination, report.proxy), (Some(server.url()), None));
    assert_eq!(server.asked(), ["GET /v1/health"]);
}

#[tokio::test]
async fn the_first_step_that_fails_is_named_with_its_remedy() {
    let report = Bench::new().examine().await;
    assert_eq!(told(&report), "configuration no-destination");
    assert!(report.first_failure().unwrap().1.remedy().contains("`usage.destination`"));
    assert_eq!(report.destination, None);

    let mut bench = Bench::new();
    bench.settings.destination = Some(format!("https://{}.example", "x".repeat(63)).parse().unwrap());
    bench.network.settings.proxy = Some(nowhere());
    assert_eq!(told(&bench.examine().await), "configuration passed, name proxy-unreachable");

    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    bench.network.settings.proxy = None;
    bench.settings.destination = Some(format!("https://localhost:{port}").parse().unwrap());
    assert_eq!(told(&bench.examine().await), "configuration passed, name passed, connection refused");

    let proxy = ProxyServer::start(Proxied::Say("HTTP/1.1 407 No\r\n\r\n")).await;
    bench.network.settings.proxy = Some(format!("http://acd:geheim@{}", proxy.address).parse().unwrap());
    let report = bench.examine().await;
    assert_eq!(told(&report), "configuration passed, name passed, connection passed, proxy proxy-authentication");
    assert_eq!(report.proxy, Some(format!("http://acd@{}", proxy.address)));
    assert!(!format!("{report:?}").contains("geheim"));
}

#[tokio::test]
async fn a_certificate_an_endpoint_and_a_clock() {
    let upto = "configuration passed, name passed, connection passed, proxy not needed, tls";
    let mut bench = Bench::new();
    let _stranger = bench.server(Flaw::Stranger, Vec::new()).await;
    assert_eq!(told(&bench.examine().await), format!("{upto} tls-unverified"));
    // One connection for TLS, one for the question.
    let _other = bench.server(Flaw::None, vec![Act::Sign, problem(404, "no-such-path", "nothing is served")]).await;
    assert_eq!(told(&bench.examine().await), format!("{upto} passed, destination not-there"));
    let _failing = bench.server(Flaw::None, vec![Act::Sign, problem(503, "failing", "")]).await;
    assert_eq!(told(&bench.examine().await), format!("{upto} passed, destination server-busy"));
    // Any web server answers 200 to anything.
    let page = Act::Say(200, date(0), b"<html>Welcome</html>".to_vec());
    let _portal = bench.server(Flaw::None, vec![Act::Sign, page]).await;
    assert_eq!(told(&bench.examine().await), format!("{upto} passed, destination garbage"));
    for (ahead_s, expected) in [(299, "passed"), (-299, "passed"), (301, "clock-off"), (-86_400, "clock-off")] {
        let script = vec![Act::Sign, Act::Say(200, date(ahead_s), b"{\"status\":\"ok\"}\n".to_vec())];
        let _server = bench.server(Flaw::None, script).await;
        let report = bench.examine().await;
        assert_eq!(
            told(&report),
            format!("{upto} passed, destination passed, credentials not needed, clock {expected}")
        );
        if let Some((_, trouble)) = report.first_failure() {
            assert!(trouble.to_string().contains(&ahead_s.abs().to_string()), "{trouble}");
            assert!(trouble.to_string().contains("behind") == (ahead_s > 0), "{trouble}");
        }
    }
    let _mute =
        bench.server(Flaw::None, vec![Act::Sign, Act::Say(200, Vec::new(), b"{\"status\":\"ok\"}".to_vec())]).await;
    assert!(told(&bench.examine().await).ends_with("clock not needed"));
}
