//! Host IDs: what a machine is known by, kept as five facts that cost something to read back (02, Host IDs). How the
//! facts are found on a machine is in [`collect_linux`]; whether a license binds is the daemon's matter.

pub mod collect_linux;
mod id;
mod verdicts;

pub use id::{BadHostId, Comparison, FactorState, HostId, NETWORK_MAX};
pub use verdicts::{HostVerdict, HostVerdicts, VERDICTS_MAX};

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::digest::Sha256;

/// The five factors, in the order in which they stand in a host ID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Factor {
    /// The SMBIOS UUID of the machine.
    Platform,
    /// The operating system's machine ID, hashed for this application.
    System,
    /// The system disk, or its filesystem.
    Disk,
    /// The installation's own public key.
    Installation,
    /// Permanent network addresses, or a cloud's instance ID.
    Network,
}

impl Factor {
    /// Every factor, in order.
    pub const ALL: [Factor; 5] =
        [Factor::Platform, Factor::System, Factor::Disk, Factor::Installation, Factor::Network];

    /// The name that is hashed with the value.
    pub const fn name(self) -> &'static str {
        match self {
            Factor::Platform => "platform",
            Factor::System => "system",
            Factor::Disk => "disk",
            Factor::Installation => "installation",
            Factor::Network => "network",
        }
    }
}

impl fmt::Display for Factor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What is known of a machine, in the clear. It is not printed, sent or stored beyond the pre-start step's own file.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct HostFacts {
    /// The SMBIOS UUID.
    pub platform: Option<String>,
    /// The machine ID, hashed for this application.
    pub system: Option<String>,
    /// The serial number or WWN of the system disk, or the UUID of its filesystem.
    pub disk: Option<String>,
    /// The installation's public key, as 64 hexadecimal digits.
    pub installation: Option<String>,
    /// Permanent network addresses, or a cloud's instance ID alone.
    #[serde(default)]
    pub network: Vec<String>,
}

impl HostFacts {
    /// The same facts in the one spelling that is hashed: lower case, no blanks at the ends, nothing that is empty or
    /// that vendors ship in every machine, network addresses sorted, each once, the first [`NETWORK_MAX`] of them.
    #[must_use]
    pub fn normal(&self) -> HostFacts {
        let one = |value: &Option<String>| value.as_deref().and_then(normal_value);
        let mut network: Vec<String> = self.network.iter().filter_map(|value| normal_address(value)).collect();
        network.sort();
        network.dedup();
        network.truncate(NETWORK_MAX);
        HostFacts {
            platform: one(&self.platform).filter(|uuid| names_a_machine(uuid)),
            system: one(&self.system),
            disk: one(&self.disk),
            installation: one(&self.installation),
            network,
        }
    }

    /// The same facts with the installation's public key among them.
    #[must_use]
    pub fn with_installation(mut self, key: &crate::installation::InstallationPublicKey) -> HostFacts {
        self.installation = Some(key.to_string());
        self
    }

    /// A digest of the normal facts, to know them again. It is no secret-keeper: who guesses the facts can check them.
    pub fn digest(&self) -> Sha256 {
        let normal = self.normal();
        let mut bytes = Vec::new();
        let singles = [&normal.platform, &normal.system, &normal.disk, &normal.installation];
        for value in
            singles.into_iter().map(Option::as_deref).chain(normal.network.iter().map(|value| Some(value.as_str())))
        {
            match value {
                Some(value) => prefixed(&mut bytes, value.as_bytes()),
                None => bytes.extend(u32::MAX.to_be_bytes()),
            }
        }
        Sha256::of(&bytes)
    }

    /// The values of a factor, in the normal facts.
    fn values(&self, factor: Factor) -> &[String] {
        match factor {
            Factor::Platform => self.platform.as_slice(),
            Factor::System => self.system.as_slice(),
            Factor::Disk => self.disk.as_slice(),
            Factor::Installation => self.installation.as_slice(),
            Factor::Network => &self.network,
        }
    }
}

/// Appends the length as four bytes, the highest first, then the bytes.
pub(crate) fn prefixed(into: &mut Vec<u8>, bytes: &[u8]) {
    into.extend(u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
    into.extend(bytes);
}

fn normal_value(value: &str) -> Option<String> {
    let value = value.trim().to_lowercase();
    (!value.is_empty()).then_some(value)
}

/// A network address in lower case; one of zeros or ones alone is none.
fn normal_address(value: &str) -> Option<String> {
    let value = normal_value(value)?;
    let digits: String = value.chars().filter(|c| !matches!(c, ':' | '-')).collect();
    (!digits.chars().all(|c| c == '0') && !digits.chars().all(|c| c == 'f')).then_some(value)
}

/// False for what is no UUID, and for UUIDs that firmware carries where nobody set one: those name a make of board, not
/// a machine.
fn names_a_machine(uuid: &str) -> bool {
    const DEFAULTS: [&str; 5] = [
        "03000200040005000006000700080009",
        "00020003000400050006000700080009",
        "000102030405060708090a0b0c0d0e0f",
        "fefefefefefefefefefefefefefefefe",
        "12345678123456781234567812345678",
    ];
    let digits: String = uuid.chars().filter(|c| *c != '-').collect();
    let is_uuid = digits.len() == 32 && digits.chars().all(|c| c.is_ascii_hexdigit());
    let one_digit = digits.chars().all(|c| digits.starts_with(c));
    is_uuid && !one_digit && !DEFAULTS.contains(&digits.as_str())
}
