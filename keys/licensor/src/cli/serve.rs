//! `licensor serve`: the endpoint, until it is told to stop.

use std::{io::IsTerminal as _, path::Path, sync::Arc};

use leasehold_keys::time::WallTime;
use licensor::{
    serve::{self, Desks, tls},
    workshop::Workshop,
};
use tokio::net::TcpListener;
use tracing_subscriber::EnvFilter;

use super::{
    args::Serve,
    exit::{Exit, Fault},
    passphrase,
};

pub(super) fn run(
    arguments: &Serve,
    dir: &Path,
    passphrase_file: Option<&Path>,
    clock: fn() -> WallTime,
) -> Result<(), Fault> {
    let tls = tls::from_files(&arguments.certificate, &arguments.key)
        .map_err(|fault| Fault::new(Exit::Locked, fault.to_string()))?;
    let mut workshop = Workshop::open(dir, None)?;
    passphrase::unlock_receipts(&mut workshop, passphrase_file)?;
    let state = arguments.state.as_deref().unwrap_or(dir);
    if !state.is_dir() {
        return Err(Fault::new(Exit::NotFound, format!("--state: {} is no folder; make it first", state.display())));
    }
    let mut desks = Desks::new(workshop.intake(state, clock())?);
    let check_ins = match passphrase::unlock_check_ins(&mut workshop, passphrase_file) {
        // Without its key this endpoint is for usage files alone.
        Err(Fault { exit: Exit::Locked, message }) => Err(message),
        unlocked => match unlocked.and_then(|()| Ok(workshop.check_ins(clock())?)) {
            Ok(check_ins) => {
                desks = desks.with_check_ins(check_ins);
                Ok(())
            }
            Err(Fault { exit: Exit::Locked, message }) => Err(message),
            Err(fault) => return Err(fault),
        },
    };
    // From here on only the receipt and check-in keys are in memory.
    drop(workshop);
    let filter = EnvFilter::try_from_env("LICENSOR_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    let failed = |what: &str, fault: std::io::Error| Fault::new(Exit::Failed, format!("{what}: {fault}"));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|fault| failed("the program cannot run", fault))?;
    runtime.block_on(async {
        let listen = format!("--listen {}", arguments.listen);
        // Before anyone is told that it runs: what comes after that is not lost.
        let ends = end().map_err(|fault| failed("signals", fault))?;
        let listener = TcpListener::bind(arguments.listen).await.map_err(|fault| failed(&listen, fault))?;
        let serving = serve::start(listener, tls, desks, Arc::new(clock)).map_err(|fault| failed(&listen, fault))?;
        say!("Listening on https://{}; usage files go below {}.", serving.address(), state.display());
        match &check_ins {
            Ok(()) => say!("Check-ins are answered."),
            Err(why) => say!("Check-ins are NOT answered here: {why}."),
        }
        ends.await;
        tracing::info!("stopping");
        serving.stop().await.map_err(|fault| Fault::new(Exit::Failed, format!("the endpoint failed: {fault}")))
    })
}

/// Comes with SIGINT or SIGTERM.
#[cfg(unix)]
fn end() -> std::io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// Comes with Ctrl-C.
#[cfg(not(unix))]
fn end() -> std::io::Result<impl Future<Output = ()>> {
    Ok(async {
        let _ = tokio::signal::ctrl_c().await;
    })
}
