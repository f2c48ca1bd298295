//! The way out of this server (04, 05): names, the forward proxy, TLS, one request and its answer. Usage files and check-ins go
//! the same way, by the same settings; what they carry, and when, is decided by their own rooms.

pub(crate) mod address;
pub mod doctor;
pub(crate) mod problem;
pub(crate) mod secrets;
pub(crate) mod steps;
mod tls;
mod trouble;
mod wait;
mod way;

use std::path::PathBuf;

pub use address::{NotAProxy, Origin, Proxy, Secret};
pub(crate) use address::{TLS_PORT, is_segment};
pub use secrets::Surroundings;
pub use trouble::{Doing, Named, Trouble, Unverified};
pub(crate) use wait::{WAIT_MAX_MS, WAIT_MIN_MS, next_wait_ms};
pub use way::Patience;
pub(crate) use way::{Answer, Via, Way};

/// What the configuration says of the way out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// The forward proxy.
    pub proxy: Option<Proxy>,
    /// Where its password is.
    pub proxy_password_file: Option<PathBuf>,
    /// Certificate authorities beside the system's.
    pub ca: Option<PathBuf>,
}

/// All that a way out is made of but where it leads.
#[derive(Clone, Default)]
pub struct Network {
    /// What is configured.
    pub settings: Settings,
    /// The environment.
    pub surroundings: Surroundings,
    /// How long servers are waited for.
    pub patience: Patience,
}

/// What of the files that settings name cannot be used as it is now, by setting. Reads them.
pub(crate) fn unusable(settings: &Settings) -> Vec<(&'static str, Trouble)> {
    let mut found = Vec::new();
    // That a system trusts nobody is a matter of the system's, which `doctor` tells.
    if let Some(trouble @ Trouble::Setting { .. }) = settings.ca.as_deref().and_then(|ca| tls::client(Some(ca)).err()) {
        found.push(("network.ca", trouble));
    }
    if let Some(proxy) = &settings.proxy
        && settings.proxy_password_file.is_some()
        && let Err(trouble) = secrets::proxy_authorization(proxy, settings, &Surroundings::default())
    {
        found.push(("network.proxy_password_file", trouble));
    }
    found
}

/// What is sent could not be read to its end.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct BodyFault(pub(crate) Trouble);

impl Network {
    /// The way to a server. Reads files: not for the threads of others.
    pub(crate) fn way(&self, to: Origin) -> Result<Way, Trouble> {
        let via = match &self.settings.proxy {
            None => None,
            Some(proxy) => {
                let authorization = secrets::proxy_authorization(proxy, &self.settings, &self.surroundings)?;
                Some(Via { origin: proxy.origin.clone(), authorization })
            }
        };
        Ok(Way::new(to, via, tls::client(self.settings.ca.as_deref())?, self.patience))
    }
}
