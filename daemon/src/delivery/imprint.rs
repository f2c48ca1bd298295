//! What attempts are made with, as a digest that is remembered: with other settings, or with other files behind them, what
//! failed before says nothing. No secret is in it in clear.

use std::path::Path;

use leasehold_keys::digest::Sha256;

use super::settings::Settings;
use crate::{
    files,
    way_out::{Network, Origin},
};

/// The most bytes of a file that counts: a file of certificate authorities.
const FILE_MAX_BYTES: u64 = 4 * 1_024 * 1_024;

/// The digest of all settings of the way out and of the files that they name. `installation`: two servers with the same
/// settings have different ones. Reads files: not for the threads of others.
pub(super) fn of(settings: &Settings, network: &Network, installation: &str) -> String {
    let mut parts = Parts(Vec::new());
    parts.add("installation", Some(installation.as_bytes()));
    let origin = |origin: &Origin| origin.to_string().into_bytes();
    let destination = settings.destination.as_ref().map(ToString::to_string);
    parts.add("destination", destination.as_deref().map(str::as_bytes));
    parts.add("endpoint", settings.s3.endpoint.as_ref().map(origin).as_deref());
    parts.add("region", Some(settings.s3.region.as_bytes()));
    parts.file("credentials", settings.s3.credentials.as_deref());
    let proxy = network.settings.proxy.as_ref();
    parts.add("proxy", proxy.map(|proxy| origin(&proxy.origin)).as_deref());
    parts.add("proxy user", proxy.and_then(|proxy| proxy.user.as_deref()).map(str::as_bytes));
    parts.add("proxy password", proxy.and_then(|proxy| proxy.password.as_ref()).map(|it| it.expose().as_bytes()));
    parts.file("proxy password file", network.settings.proxy_password_file.as_deref());
    parts.file("authorities", network.settings.ca.as_deref());
    for name in ["usage-s3", "proxy-password"] {
        parts.file(name, network.surroundings.credential(name).as_deref());
    }
    for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"] {
        parts.add(name, network.surroundings.variable(name).as_ref().map(|value| value.expose().as_bytes()));
    }
    Sha256::of(&parts.0).to_string()
}

/// Digests of parts, each under its name.
struct Parts(Vec<u8>);

impl Parts {
    fn add(&mut self, name: &str, value: Option<&[u8]>) {
        let value = value.map_or_else(|| "none".to_owned(), |value| Sha256::of(value).to_string());
        self.0.extend_from_slice(format!("{name}={value}\n").as_bytes());
    }

    /// A file by where it is and what is in it, or by why it cannot be read.
    fn file(&mut self, name: &str, path: Option<&Path>) {
        let Some(path) = path else { return self.add(name, None) };
        let content = match files::read(path, FILE_MAX_BYTES) {
            Ok(bytes) => Sha256::of(&bytes).to_string(),
            Err(fault) => fault.to_string(),
        };
        self.add(name, Some(format!("{}\n{content}", path.display()).as_bytes()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::way_out::Surroundings;

    #[test]
    fn whatever_an_attempt_is_made_with_counts() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let (mut settings, mut network) = (Settings::default(), Network::default());
        let mut seen = std::collections::BTreeSet::new();
        let mut look = |settings: &Settings, network: &Network, installation: &str| {
            let imprint = of(settings, network, installation);
            assert_eq!(imprint, of(settings, network, installation));
            assert!(seen.insert(imprint), "{settings:?}");
        };
        look(&settings, &network, "a");
        look(&settings, &network, "b");
        settings.destination = Some("https://acme.example".parse().unwrap());
        look(&settings, &network, "a");
        settings.s3.region = "eu-1".to_owned();
        look(&settings, &network, "a");
        settings.s3.endpoint = Some(crate::delivery::bucket_endpoint("https://minio:9000").unwrap());
        look(&settings, &network, "a");
        settings.s3.credentials = Some(file("keys", "one"));
        look(&settings, &network, "a");
        file("keys", "two");
        look(&settings, &network, "a");
        network.settings.ca = Some(folder.path().join("ca.pem"));
        look(&settings, &network, "a");
        file("ca.pem", "an authority");
        look(&settings, &network, "a");
        for proxy in
            ["http://proxy:3128", "http://acd@proxy:3128", "http://acd:one@proxy:3128", "http://acd:two@proxy:3128"]
        {
            network.settings.proxy = Some(proxy.parse().unwrap());
            look(&settings, &network, "a");
        }
        network.settings.proxy_password_file = Some(file("password", "one"));
        look(&settings, &network, "a");
        network.surroundings = Surroundings::new(None, &[("AWS_ACCESS_KEY_ID", "id")]);
        look(&settings, &network, "a");
        file("usage-s3", "keys");
        network.surroundings = Surroundings::new(Some(folder.path().into()), &[("AWS_ACCESS_KEY_ID", "id")]);
        look(&settings, &network, "a");
    }
}
