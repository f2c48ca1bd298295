//! What `leaseholdd dev` prints: what was made, where it lies, and commands to try.

use std::{fmt::Write as _, path::Path};

use leasehold_engine::view::PoolView;

use super::sample::{AGENTS, MANAGERS, SUPERVISORS, TRACKERS, WORKSTATIONS};

/// What there is to tell.
pub(super) struct Story<'a> {
    /// The folder of everything.
    pub(super) dir: &'a Path,
    /// True where it is removed at the end.
    pub(super) passing: bool,
    pub(super) socket: &'a Path,
    pub(super) folder: &'a Path,
    pub(super) licensor: &'a Path,
    pub(super) request: &'a Path,
    /// Where usage files go.
    pub(super) endpoint: &'a str,
    /// Where they lie.
    pub(super) usage: &'a Path,
    /// Where application servers connect.
    pub(super) tcp: &'a str,
    /// Set where another port was wanted and was taken.
    pub(super) port_taken: Option<u16>,
    /// Set where the machine shows too few facts to bind a file to.
    pub(super) invented: bool,
    /// One sentence on the sample file.
    pub(super) license: &'a str,
    pub(super) pools: &'a [PoolView],
    /// How this program's companions are started.
    pub(super) run: Run,
}

/// How people start the other programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Run {
    /// From the sources: `cargo run --bin NAME --`.
    Cargo {
        /// Built with optimisation, as this program was.
        release: bool,
    },
    /// They are installed beside this program.
    Installed,
}

impl Run {
    /// As this very program was started.
    pub(super) fn of_this_program() -> Self {
        let program = std::env::current_exe().unwrap_or_default();
        // CARGO is set by `cargo run`, and by nothing else that starts a program.
        if std::env::var_os("CARGO").is_none() {
            return Run::Installed;
        }
        Run::Cargo { release: program.components().any(|part| part.as_os_str() == "release") }
    }

    pub(super) fn program(self, name: &str) -> String {
        match self {
            Run::Cargo { release } => {
                format!("cargo run -q{} --bin {name} --", if release { " --release" } else { "" })
            }
            Run::Installed => name.to_owned(),
        }
    }

    fn example(self) -> Option<String> {
        match self {
            Run::Cargo { release } => {
                let release = if release { " --release" } else { "" };
                Some(format!("cargo run -q{release} -p leasehold-client --example contact_center"))
            }
            Run::Installed => None,
        }
    }
}

impl Story<'_> {
    /// The whole text.
    pub(super) fn tell(&self) -> String {
        let mut text = String::new();
        // Writing into a text does not fail.
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        let show = |path: &Path| path.display().to_string();
        writeln!(out, "\nLeasehold is running, with a sample license and a sample site.\n")?;
        writeln!(out, "  License    {}", self.license)?;
        for line in pool_lines(self.pools) {
            writeln!(out, "             {line}")?;
        }
        writeln!(
            out,
            "  Users      agent-001 to agent-{AGENTS:03}, who share the concurrent seats; the first {TRACKERS} with the tracker"
        )?;
        writeln!(
            out,
            "             manager-01 to manager-{MANAGERS:02}, each with a seat of their own; the first {SUPERVISORS} with the supervisor"
        )?;
        writeln!(out, "  Stations   station-001 to station-{WORKSTATIONS:03}, remote-01")?;
        writeln!(out, "  Besides    workgroup sales (calls); organizations example, north, south\n")?;
        writeln!(out, "  Listening  unix://{}   for administrators", show(self.socket))?;
        writeln!(out, "             {}   for application servers on this machine", self.tcp)?;
        if let Some(taken) = self.port_taken {
            writeln!(out, "             (port {taken} is taken)")?;
        }
        writeln!(out, "  Folder     {}   drop .i3lic files here", show(self.folder))?;
        writeln!(out, "  Licensor   {}   its keys have no passphrase: for trying only", show(self.licensor))?;
        writeln!(out, "  Endpoint   {}   the licensor's, for usage files and check-ins", self.endpoint)?;
        if self.invented {
            writeln!(
                out,
                "  Host       this machine shows neither a platform nor a network address to bind to, so one was made up for it"
            )?;
        }
        let leasehold = self.run.program("leasehold");
        writeln!(out, "\nIn another terminal:\n")?;
        writeln!(out, "  export LEASEHOLD_SERVER=unix://{}", show(self.socket))?;
        for command in ["status", "licenses", "pools", "explain agent-001 --station station-001", "leases", "denials"] {
            writeln!(out, "  {leasehold} {command}")?;
        }
        if let Some(example) = self.run.example() {
            writeln!(out, "\nA contact center at work, with seats moving:\n")?;
            writeln!(out, "  {example} -- --server {} --admin unix://{}", self.tcp, show(self.socket))?;
        }
        writeln!(
            out,
            "\nWho was logged on and with which keys, sealed to the licensor. Today's file is open until midnight; one was"
        )?;
        writeln!(out, "sent already, and its receipt is here:\n")?;
        for command in ["usage seal", "usage list", "usage verify", "doctor"] {
            writeln!(out, "  {leasehold} {command}")?;
        }
        let licensor = self.run.program("licensor");
        writeln!(out, "  {licensor} --dir {} usage open {}", show(self.licensor), show(self.usage))?;
        writeln!(
            out,
            "\nThe site has checked in with its licensor. What comes if it cannot, with dates; and all of it before your eyes:\n"
        )?;
        for command in ["standing", "standing --offline 20d", "check-in"] {
            writeln!(out, "  {leasehold} {command}")?;
        }
        writeln!(out, "  {} dev --days-per-second 2", self.run.program("leaseholdd"))?;
        writeln!(out, "\nTen more tracker seats, as an add-on file; watch `pools` before and after:\n")?;
        writeln!(
            out,
            "  {} --dir {} issue --account \"{}\" --site {} --kind add-on --grant I3_ACCESS_TRACKER_CONCURRENT=10 --request {} --out {}",
            licensor,
            show(self.licensor),
            super::vendor::ACCOUNT,
            super::vendor::SITE,
            show(self.request),
            show(&self.folder.join("more.i3lic")),
        )?;
        let end = if self.passing { "everything is removed" } else { "all of it stays" };
        writeln!(out, "\nCtrl-C stops it; {end} ({}).\n", show(self.dir))
    }
}

/// Pools of seats and units, by name, in columns; keys that the site holds as a whole are told in one line.
fn pool_lines(pools: &[PoolView]) -> Vec<String> {
    let (site, counted): (Vec<&PoolView>, Vec<&PoolView>) = pools.iter().partition(|pool| pool.kind.is_site_wide());
    let shown: Vec<(String, String)> =
        counted.iter().map(|pool| (pool.name.to_string(), pool.capacity.to_string())).collect();
    let wide = shown.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let mut lines: Vec<String> = shown.iter().map(|(name, units)| format!("{name:wide$} {units:>5}")).collect();
    if !site.is_empty() {
        lines.push(format!("and {} server and feature keys", site.len()));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_story_names_everything_that_it_made() {
        let story = Story {
            dir: Path::new("/d"),
            passing: true,
            socket: Path::new("/d/leasehold.sock"),
            folder: Path::new("/d/licenses"),
            licensor: Path::new("/d/licensor"),
            request: Path::new("/d/host.request"),
            endpoint: "https://127.0.0.1:8443",
            usage: Path::new("/d/state/usage"),
            tcp: "http://127.0.0.1:7127",
            port_taken: None,
            invented: false,
            license: "sample",
            pools: &[],
            run: Run::Cargo { release: true },
        };
        let text = story.tell();
        for part in [
            "export LEASEHOLD_SERVER=unix:///d/leasehold.sock",
            "cargo run -q --release --bin leasehold -- status",
            "--example contact_center -- --server http://127.0.0.1:7127 --admin unix:///d/leasehold.sock",
            "--request /d/host.request --out /d/licenses/more.i3lic",
            "agent-001 to agent-060",
            "cargo run -q --release --bin leasehold -- usage list",
            "--bin licensor -- --dir /d/licensor usage open /d/state/usage",
            "cargo run -q --release --bin leasehold -- standing --offline 20d",
            "cargo run -q --release --bin leaseholdd -- dev --days-per-second 2",
            "everything is removed",
        ] {
            assert!(text.contains(part), "{part} is missing in {text}");
        }
        let installed = Story { run: Run::Installed, passing: false, ..story }.tell();
        assert!(installed.contains("\n  leasehold status\n") && !installed.contains("cargo"), "{installed}");
    }
}
