//! Nanoseconds of the engine's hot path, without storage and wire, and the memory of a live lease. It proves nothing: run it
//! with `cargo run --release -p leasehold-engine --example hot_path` before and after a change that may cost time.

#[path = "../tests/support/mod.rs"]
mod support;

use leasehold_engine::{
    command::{Command, Origin, Release},
    ids::LeaseId,
};
use leasehold_keys::name::Method;
use support::{Site, caller, logon, units, user};

/// Acquires and releases that are timed.
const ROUNDS: usize = 200_000;

/// The process's resident memory, in bytes; 0 where the system does not tell it this way.
fn resident_bytes() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm")
        .ok()
        .and_then(|text| text.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok()));
    pages.unwrap_or(0) * 4_096
}

/// Nanoseconds that this process has had a processor: what others do on the machine does not count. 0 where the system does
/// not tell it this way.
fn processor_ns() -> u64 {
    let told = std::fs::read_to_string("/proc/self/schedstat").ok();
    told.and_then(|text| text.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// A step of the core loop: one command, then what it asks for next.
fn run(site: &mut Site, command: Command) {
    let now = site.now();
    let (reply, outcome) = site.engine.apply(now, command);
    reply.expect("the hot path has room");
    std::hint::black_box(outcome);
}

fn acquire(site: &mut Site, from: &Origin, ask: leasehold_engine::command::Ask) -> LeaseId {
    let mut acquire = site.acquire_command(from.clone(), ask);
    acquire.ttl_ms = 86_400_000;
    let now = site.now();
    let (reply, outcome) = site.engine.apply(now, Command::Acquire(Box::new(acquire)));
    reply.expect("the hot path has room");
    match outcome.answers.first() {
        Some((_, Ok(view))) => view.id,
        other => panic!("not granted: {other:?}"),
    }
}

fn received(site: &mut Site, from: &Origin) {
    let Origin::Stream(holder) = from else { return };
    // Streams acknowledge in batches; the answer of a released lease is forgotten with it.
    let request = leasehold_engine::ids::RequestId(site.last_request().to_be_bytes());
    run(site, Command::AnswersReceived { holder: *holder, requests: vec![request] });
}

fn release(site: &mut Site, from: &Origin, lease: LeaseId) {
    run(
        site,
        Command::Release(Release { from: from.clone(), request: None, leases: vec![lease], acquired_by: vec![] }),
    );
}

fn per_round(what: &str, live: usize, site: &mut Site, mut round: impl FnMut(&mut Site, usize)) {
    let start = processor_ns();
    for number in 0..ROUNDS {
        round(site, number);
    }
    let ns = (processor_ns() - start) / ROUNDS as u64;
    println!("{live:>9} live  {what:<44} {ns:>7} ns");
}

fn main() {
    println!("           a lease's row takes {} bytes", size_of::<leasehold_engine::row::LeaseRow>());
    for live in [1_000_usize, 1_000_000] {
        let mut site = Site::with(&["SESSION 2000000", "CLIENT_CONCURRENT 10000", "TRACKER_CONCURRENT 10000"]);
        let from = Origin::Stream(site.attach(caller("acd"), 1));
        for number in 0..1_000 {
            let name = format!("agent-{number}");
            site.add_user(&name, Method::Concurrent);
            site.assign(true, user(&name), &["CLIENT", "TRACKER"]).expect("keys are given");
        }
        site.changes = Vec::new();
        let before = resident_bytes();
        for _ in 0..live {
            acquire(&mut site, &from, units("SESSION", 1));
            received(&mut site, &from);
        }
        let bytes = resident_bytes().saturating_sub(before) / live as u64;
        println!("{live:>9} live  bytes per lease of one unit, acknowledged  {bytes:>9}");

        per_round("acquire + release of one unit", live, &mut site, |site, _| {
            let lease = acquire(site, &from, units("SESSION", 1));
            received(site, &from);
            release(site, &from, lease);
        });
        per_round("the same, with the next wake-up asked for", live, &mut site, |site, _| {
            let lease = acquire(site, &from, units("SESSION", 1));
            received(site, &from);
            release(site, &from, lease);
            std::hint::black_box(site.engine.next_wakeup(site.now()));
        });
        let names: Vec<String> = (0..1_000).map(|number| format!("agent-{number}")).collect();
        per_round("a concurrent user's logon + logoff", live, &mut site, |site, number| {
            let lease = acquire(site, &from, logon(&names[number % names.len()], &["CLIENT"]));
            received(site, &from);
            release(site, &from, lease);
        });
        per_round("a beat of all leases", live, &mut site, |site, _| {
            let Origin::Stream(holder) = &from else { return };
            run(site, Command::Beat(*holder));
        });
    }
}
