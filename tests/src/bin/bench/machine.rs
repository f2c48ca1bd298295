//! What the figures were measured on: without it they say nothing.

use std::{
    fs,
    io::{self, Write as _},
    path::Path,
};

use leaseholdd::clock::stopwatch_us;
use serde::Serialize;

/// The machine.
#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    /// The processor's model.
    pub(crate) processor: String,
    /// Processors that this program may use.
    pub(crate) cores: usize,
    /// Memory in MiB.
    pub(crate) memory_mib: u64,
    /// The kernel.
    pub(crate) kernel: String,
    /// A 4 KiB append with its sync on the disk that holds the state: median and 99th percentile, in microseconds.
    pub sync_p50_us: u32,
    pub sync_p99_us: u32,
    /// How busy it was with other things: the load average of the last minute, at the start.
    pub(crate) load_before: String,
}

impl Machine {
    /// This machine, with the disk that `dir` is on.
    pub(crate) fn this(dir: &Path) -> io::Result<Self> {
        let field = |file: &str, name: &str| {
            let text = fs::read_to_string(file).unwrap_or_default();
            let line = text.lines().find(|line| line.starts_with(name))?.split_once(':')?.1.trim().to_owned();
            Some(line)
        };
        let memory = field("/proc/meminfo", "MemTotal").unwrap_or_default();
        let memory_kib: u64 = memory.trim_end_matches(" kB").parse().unwrap_or(0);
        let mut syncs = syncs(dir)?;
        Ok(Self {
            processor: field("/proc/cpuinfo", "model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_mib: memory_kib / 1_024,
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned(),
            sync_p50_us: super::measure::percentile(&mut syncs, 50),
            sync_p99_us: super::measure::percentile(&mut syncs, 99),
            load_before: fs::read_to_string("/proc/loadavg")
                .unwrap_or_default()
                .split(' ')
                .next()
                .unwrap_or_default()
                .to_owned(),
        })
    }
}

fn syncs(dir: &Path) -> io::Result<Vec<u32>> {
    const COUNT: usize = 500;
    let mut file = tempfile::tempfile_in(dir)?;
    let mut took = Vec::with_capacity(COUNT);
    for _ in 0..COUNT {
        let began = stopwatch_us();
        file.write_all(&[0x5a; 4_096])?;
        file.sync_data()?;
        took.push(u32::try_from(stopwatch_us() - began).unwrap_or(u32::MAX));
    }
    Ok(took)
}
