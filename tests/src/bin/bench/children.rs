//! Processes: this same program as the daemon, the echo or whoever renews, and others. Started, asked for their processor
//! time, killed.

use std::{
    ffi::OsString,
    fs,
    io::{self, BufRead as _, BufReader, Lines},
    path::Path,
    process::{Child, ChildStdout, Command, ExitCode, Stdio},
};

use leaseholdd::{clock::Clock, config::Config, log, run};
use tokio::runtime::Runtime;

/// Clock ticks in a second, as `/proc/PID/stat` counts them: the same on every architecture that matters here.
const TICKS: f64 = 100.0;

/// The daemon, as `leaseholdd run` would run it.
pub(crate) fn daemon(runtime: &Runtime, config: &Path) -> ExitCode {
    let config = match Config::load(Some(config)) {
        Ok(config) => config,
        Err(faults) => {
            eprintln!("{faults}");
            return ExitCode::FAILURE;
        }
    };
    match log::start(&config.log) {
        Ok(filter) => runtime.block_on(run::run(config, None, Clock::system(), Path::new("/"), filter)).into(),
        Err(fault) => {
            eprintln!("{fault}");
            ExitCode::FAILURE
        }
    }
}

/// A child that is killed when it is dropped.
pub(crate) struct Process(Child);

impl Process {
    /// Starts the daemon; what it logs goes to a file.
    pub(crate) fn daemon(config: &Path, log: &Path) -> io::Result<Self> {
        let log = fs::OpenOptions::new().create(true).append(true).open(log)?;
        let mut command = Command::new(std::env::current_exe()?);
        // The configuration is the file's alone.
        let ours = std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("LEASEHOLD_"));
        for (name, _) in ours {
            command.env_remove(name);
        }
        let command = command.arg("daemon").arg(config).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        Ok(Self(command.spawn()?))
    }

    /// Starts another program; what it says goes to a file.
    pub(crate) fn of(mut command: Command, log: &Path) -> io::Result<Self> {
        let log = fs::OpenOptions::new().create(true).append(true).open(log)?;
        let other = log.try_clone()?;
        Ok(Self(command.stdin(Stdio::null()).stdout(log).stderr(other).spawn()?))
    }

    /// Starts this program as an echo, and gives the address that it says first. Where it keeps a journal, that is under
    /// `journal`.
    pub(crate) fn echo(journal: Option<&Path>) -> io::Result<(Self, String)> {
        let mut arguments = vec![OsString::from("echo")];
        if let Some(journal) = journal {
            arguments.extend(["--journal".into(), journal.into()]);
        }
        let (process, mut lines) = Self::that_says(arguments)?;
        Ok((process, lines.next().transpose()?.unwrap_or_default()))
    }

    /// Starts this program with these arguments, to read what it says.
    pub(crate) fn that_says(arguments: Vec<OsString>) -> io::Result<(Self, Lines<BufReader<ChildStdout>>)> {
        let mut command = Command::new(std::env::current_exe()?);
        let mut child = command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let stdout = child.stdout.take().ok_or_else(|| io::Error::other("a child has no standard output"))?;
        Ok((Self(child), BufReader::new(stdout).lines()))
    }

    /// SIGKILL, and the end that follows.
    pub(crate) fn kill(mut self) -> io::Result<()> {
        self.0.kill()?;
        self.0.wait().map(drop)
    }

    /// Its exit, where it has ended.
    pub(crate) fn ended(&mut self) -> Option<String> {
        self.0.try_wait().ok().flatten().map(|status| status.to_string())
    }

    /// Processor time that it and its children have used, in seconds.
    pub(crate) fn processor_s(&self) -> f64 {
        let id = self.0.id();
        let others = fs::read_dir("/proc").into_iter().flatten().flatten();
        let others = others.filter_map(|entry| entry.file_name().into_string().ok());
        let children = others.filter(|name| stat(name).and_then(|fields| fields.get(1)?.parse().ok()) == Some(id));
        processor_s(&id.to_string()) + children.map(|child| processor_s(&child)).sum::<f64>()
    }

    /// Bytes that it has made the disk write so far.
    pub(crate) fn written_bytes(&self) -> u64 {
        let io = fs::read_to_string(format!("/proc/{}/io", self.0.id())).unwrap_or_default();
        let line = io.lines().find_map(|line| line.strip_prefix("write_bytes:"));
        line.and_then(|line| line.trim().parse().ok()).unwrap_or(0)
    }

    /// Resident memory in KiB.
    pub(crate) fn resident_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Processor time of this process, the load generator, in seconds.
pub(crate) fn own_processor_s() -> f64 {
    processor_s("self")
}

/// The fields of `/proc/PID/stat` after the program's name, which stands in parentheses and may hold blanks: the state, the
/// parent, …
fn stat(process: &str) -> Option<Vec<String>> {
    if !process.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return None;
    }
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    Some(stat.rsplit_once(')')?.1.split_whitespace().map(str::to_owned).collect())
}

fn processor_s(process: &str) -> f64 {
    // User and system time are the 12th and 13th.
    let ticks: f64 =
        stat(process).iter().flatten().skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum();
    ticks / TICKS
}
