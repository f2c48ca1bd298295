//! The real daemon as a process: started, heard, stopped, killed and started again.

use std::{
    fs::File,
    io::{BufRead as _, BufReader},
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
};

use leasehold_client::Endpoint;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::{
    net::UnixDatagram,
    process::{Child, Command},
    sync::watch,
};
use tonic::transport::Channel;

use crate::{Admin, App, Site, patience::within, programs::program};

/// What the daemon has logged, line by line.
#[derive(Clone)]
struct Log {
    lines: Arc<Mutex<Vec<String>>>,
    count: watch::Receiver<usize>,
}

impl Log {
    /// Reads on a thread of its own, so that a story that blocks never blocks the daemon.
    fn read(from: File) -> Self {
        let lines: Arc<Mutex<Vec<String>>> = Arc::default();
        let (say, count) = watch::channel(0);
        let into = lines.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(from).lines() {
                let Ok(line) = line else { return };
                let mut lines = into.lock().unwrap_or_else(PoisonError::into_inner);
                lines.push(line);
                say.send_replace(lines.len());
            }
        });
        Self { lines, count }
    }

    fn text(&self) -> String {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).join("\n")
    }

    /// The first line from `from` on of which `is` holds; nothing where the log ends before.
    async fn find<T>(&self, from: usize, mut is: impl FnMut(&str) -> Option<T>) -> Option<T> {
        let mut count = self.count.clone();
        let mut seen = from;
        loop {
            count.borrow_and_update();
            {
                let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
                while let Some(line) = lines.get(seen) {
                    seen += 1;
                    if let Some(found) = is(line) {
                        return Some(found);
                    }
                }
            }
            if count.changed().await.is_err() {
                // The last line may have come with the end.
                let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
                return lines.iter().skip(seen).find_map(|line| is(line));
            }
        }
    }
}

/// How a daemon ended.
#[derive(Debug)]
pub struct Stopped {
    /// Its exit code; nothing where a signal ended it.
    pub code: Option<i32>,
    /// Its whole log.
    pub log: String,
}

/// A daemon that runs. It is killed where a story forgets it.
pub struct Daemon {
    child: Child,
    log: Log,
    socket: Endpoint,
    tcp: Endpoint,
}

impl Daemon {
    /// Starts `leaseholdd run` and waits until it says that leases can be granted.
    ///
    /// # Panics
    /// Where it does not come up; the message holds its log.
    pub async fn start(site: &Site) -> Self {
        let notified = site.dir().join("notify.sock");
        let _ = std::fs::remove_file(&notified);
        let heard = UnixDatagram::bind(&notified).expect("a socket for the service manager");
        let (mut child, log) = spawn(site);
        let ready = async {
            let mut buffer = [0; 4_096];
            loop {
                let size = heard.recv(&mut buffer).await.expect("a datagram");
                let said = String::from_utf8_lossy(&buffer[..size]).into_owned();
                if said.lines().any(|line| line == "READY=1") {
                    return;
                }
            }
        };
        within("READY", async {
            tokio::select! {
                () = ready => {}
                ended = child.wait() => {
                    log.find(0, |_| None::<()>).await;
                    panic!("the daemon did not start: {ended:?}\n{}", log.text());
                }
            }
        })
        .await;
        let addresses = log.find(0, |line| Some(field(line, "addresses")?.as_str()?.to_owned()));
        let addresses = within("addresses", addresses).await.expect("it says where it listens");
        let tcp: Endpoint = addresses
            .split(", ")
            .find(|address| address.starts_with("http://"))
            .and_then(|address| address.parse().ok())
            .expect("an address of loopback");
        let port = tcp.to_string().rsplit(':').next().and_then(|port| port.parse().ok());
        site.port.set(port.expect("a port"));
        Self { child, log, socket: Endpoint::unix(site.socket()).expect("a socket"), tcp }
    }

    /// Starts `leaseholdd run` where it must not come up, and waits until it has ended.
    pub async fn fails(site: &Site) -> Stopped {
        let (mut child, log) = spawn(site);
        ended(&mut child, &log).await
    }

    /// The Unix socket.
    pub fn socket(&self) -> &Endpoint {
        &self.socket
    }

    /// Loopback TCP.
    pub fn tcp(&self) -> &Endpoint {
        &self.tcp
    }

    /// Its process ID.
    pub fn pid(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    /// A connection over the Unix socket.
    pub async fn over_socket(&self) -> Channel {
        leasehold_client::connect(&self.socket).await.expect("the socket is listened on")
    }

    /// A connection over loopback TCP.
    pub async fn over_tcp(&self) -> Channel {
        leasehold_client::connect(&self.tcp).await.expect("the port is listened on")
    }

    /// An application server of this name, over loopback TCP.
    pub async fn app(&self, name: &str) -> App {
        App::new(self.over_tcp().await, name)
    }

    /// An administrator, over the socket.
    pub async fn admin(&self) -> Admin {
        Admin::new(self.over_socket().await)
    }

    /// How many lines the log has; with [`Self::logged_after`] a story hears only what comes from now on.
    pub fn mark(&self) -> usize {
        *self.log.count.borrow()
    }

    /// Waits for a line of the log that holds all of these words, and gives its message.
    ///
    /// # Panics
    /// Where it does not come.
    pub async fn logged(&self, words: &[&str]) -> String {
        self.logged_after(0, words).await
    }

    /// The same, for lines after a [`Self::mark`].
    ///
    /// # Panics
    /// Where it does not come.
    pub async fn logged_after(&self, mark: usize, words: &[&str]) -> String {
        let line = self.log.find(mark, |line| words.iter().all(|word| line.contains(word)).then(|| line.to_owned()));
        let Ok(line) = tokio::time::timeout(crate::patience::PATIENCE, line).await else {
            panic!("no line with {words:?} in\n{}", self.log.text());
        };
        let line = line.unwrap_or_else(|| panic!("no line with {words:?} until the end of\n{}", self.log.text()));
        field(&line, "message").and_then(|message| Some(message.as_str()?.to_owned())).unwrap_or(line)
    }

    /// The log so far.
    pub fn log(&self) -> String {
        self.log.text()
    }

    /// SIGTERM, and the end that follows it.
    pub async fn stop(mut self) -> Stopped {
        self.signal(Signal::TERM);
        ended(&mut self.child, &self.log).await
    }

    /// SIGKILL: everything that was not on disk is gone.
    pub async fn kill(mut self) -> Stopped {
        self.signal(Signal::KILL);
        ended(&mut self.child, &self.log).await
    }

    /// SIGHUP: reload what can be reloaded.
    pub fn reload(&self) {
        self.signal(Signal::HUP);
    }

    fn signal(&self, signal: Signal) {
        let pid = self.child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        kill_process(pid.expect("it runs"), signal).expect("it is ours");
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let text = self.log.text();
            let tail: Vec<&str> = text.lines().rev().take(40).collect();
            eprintln!("the daemon's last words:\n{}", tail.into_iter().rev().collect::<Vec<_>>().join("\n"));
        }
    }
}

fn spawn(site: &Site) -> (Child, Log) {
    site.write_config();
    let mut child = Command::new(program("leaseholdd"))
        .env_clear()
        .env("NOTIFY_SOCKET", site.dir().join("notify.sock"))
        .env("RUST_BACKTRACE", "1")
        .arg("run")
        .arg("--config")
        .arg(site.config_file())
        .arg("--manual-clock")
        .arg(site.clock_file())
        .arg("--machine")
        .arg(site.machine())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("leaseholdd runs");
    let stderr = child.stderr.take().and_then(|stderr| stderr.into_owned_fd().ok()).expect("its log");
    // Blocking, as the thread that reads it wants it.
    rustix::io::ioctl_fionbio(&stderr, false).expect("a pipe");
    (child, Log::read(File::from(stderr)))
}

async fn ended(child: &mut Child, log: &Log) -> Stopped {
    let status = within("the end of the daemon", child.wait()).await.expect("it ends");
    // The reader sees the end of the pipe a moment later.
    within("the end of its log", log.find(0, |_| None::<()>)).await;
    Stopped { code: status.code(), log: log.text() }
}

/// A field of a line of the JSON log.
fn field(line: &str, name: &str) -> Option<Value> {
    let line: Value = serde_json::from_str(line).ok()?;
    line.get("fields")?.get(name).cloned()
}
