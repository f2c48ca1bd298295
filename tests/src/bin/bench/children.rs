//! Processes of this same program: the daemon and the echo. Started, asked for their processor time, killed.

use std::{
    fs,
    io::{self, BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, ExitCode, Stdio},
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

    /// Starts the echo, and gives the address that it says first.
    pub(crate) fn echo() -> io::Result<(Self, String)> {
        let mut command = Command::new(std::env::current_exe()?);
        let mut child = command.arg("echo").stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let stdout = child.stdout.take().ok_or_else(|| io::Error::other("the echo has no standard output"))?;
        let process = Self(child);
        let mut address = String::new();
        BufReader::new(stdout).read_line(&mut address)?;
        Ok((process, address.trim().to_owned()))
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

    /// Processor time that it has used, in seconds.
    pub(crate) fn processor_s(&self) -> f64 {
        processor_s(&self.0.id().to_string())
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

fn processor_s(process: &str) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // The name of the program, in parentheses, may hold blanks; user and system time are the 12th and 13th after it.
    let after = stat.rsplit_once(')').map_or("", |(_, after)| after);
    let ticks: f64 = after.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum();
    ticks / TICKS
}
