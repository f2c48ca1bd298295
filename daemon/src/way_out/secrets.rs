//! What is secret or trusted on the way out and lies outside the configuration: the proxy's password, certificate authorities.
//! Read anew for each attempt, so that what is exchanged counts without a restart. Never logged.

use std::{
    collections::BTreeMap,
    fs::OpenOptions,
    io::Read as _,
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rustix::fs::OFlags;
use zeroize::Zeroizing;

use super::{
    Settings,
    address::{Proxy, Secret},
    trouble::Trouble,
};

/// The systemd credential with the proxy's password.
const PROXY_CREDENTIAL: &str = "proxy-password";
/// The most bytes of a file with a secret.
pub(crate) const SECRET_MAX_BYTES: u64 = 16 * 1_024;
/// The most bytes of a file of certificate authorities.
const CA_MAX_BYTES: u64 = 4 * 1_024 * 1_024;

/// What the process was given: its environment, and the folder of systemd's credentials.
#[derive(Clone, Default)]
pub struct Surroundings {
    credentials_directory: Option<PathBuf>,
    variables: BTreeMap<&'static str, Secret>,
}

impl Surroundings {
    const VARIABLES: [&'static str; 3] = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"];

    /// As they are now.
    pub fn of_process() -> Self {
        let variables = Self::VARIABLES.into_iter().filter_map(|name| {
            let value = std::env::var(name).ok().filter(|value| !value.is_empty())?;
            Some((name, Secret::new(value)))
        });
        Self {
            credentials_directory: std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from),
            variables: variables.collect(),
        }
    }

    #[cfg(test)]
    pub(crate) fn new(credentials_directory: Option<PathBuf>, variables: &[(&'static str, &str)]) -> Self {
        let variables = variables.iter().map(|(name, value)| (*name, Secret::new(*value))).collect();
        Self { credentials_directory, variables }
    }

    /// A variable of the environment.
    pub(crate) fn variable(&self, name: &str) -> Option<Secret> {
        self.variables.get(name).cloned()
    }

    /// The path of a systemd credential, where it is there.
    pub(crate) fn credential(&self, name: &str) -> Option<PathBuf> {
        self.credentials_directory.as_ref().map(|folder| folder.join(name)).filter(|path| path.exists())
    }
}

/// What the proxy is shown: the value of `Proxy-Authorization`. `None` for a proxy without a user.
pub(crate) fn proxy_authorization(
    proxy: &Proxy,
    settings: &Settings,
    surroundings: &Surroundings,
) -> Result<Option<Secret>, Trouble> {
    let Some(user) = &proxy.user else { return Ok(None) };
    let file = match (&settings.proxy_password_file, surroundings.credential(PROXY_CREDENTIAL)) {
        (Some(path), _) => Some((path.clone(), "network.proxy_password_file", true)),
        (None, Some(path)) => Some((path, "systemd credential proxy-password", false)),
        (None, None) => None,
    };
    let password = match (file, &proxy.password) {
        (Some((path, setting, strict)), _) => {
            let bytes = read(setting, &path, SECRET_MAX_BYTES, strict)?;
            let fault = |why: &str| Trouble::Setting { setting: setting.into(), path: path.clone(), why: why.into() };
            let text = std::str::from_utf8(&bytes).map_err(|_| fault("it is no text"))?;
            let line = text.lines().next().unwrap_or_default();
            if line.is_empty() || line.chars().any(char::is_control) {
                return Err(fault("its first line is no password"));
            }
            Secret::new(line)
        }
        (None, Some(password)) => password.clone(),
        (None, None) => Secret::new(""),
    };
    let both = Zeroizing::new(format!("{user}:{}", password.expose()));
    Ok(Some(Secret::new(format!("Basic {}", STANDARD.encode(both.as_bytes())))))
}

/// The bytes of the file of certificate authorities.
pub(crate) fn authorities(path: &Path) -> Result<Vec<u8>, Trouble> {
    read("network.ca", path, CA_MAX_BYTES, false).map(|bytes| bytes.to_vec())
}

/// Reads a file that an administrator named. Links are followed: that is how such files are exchanged. `secret`: nobody else on
/// this machine may be able to read it.
pub(crate) fn read(setting: &str, path: &Path, most: u64, secret: bool) -> Result<Zeroizing<Vec<u8>>, Trouble> {
    let fault = |why: String| Trouble::Setting { setting: setting.to_owned(), path: path.to_owned(), why };
    let nonblocking = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or(0);
    let opened = OpenOptions::new().read(true).custom_flags(nonblocking).open(path);
    let mut file = opened.map_err(|why| fault(why.to_string()))?;
    let facts = file.metadata().map_err(|why| fault(why.to_string()))?;
    if !facts.is_file() {
        return Err(fault("it is no regular file".into()));
    }
    if facts.len() > most {
        return Err(fault(format!("it has more than {most} bytes")));
    }
    if secret && facts.mode() & 0o007 != 0 {
        return Err(fault("everybody on this machine may use it; take that away (chmod o-rwx)".into()));
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(facts.len()).unwrap_or(0) + 1));
    (&mut file).take(most).read_to_end(&mut bytes).map_err(|why| fault(why.to_string()))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(folder: &Path, name: &str, text: &str, mode: u32) -> PathBuf {
        use std::os::unix::fs::PermissionsExt as _;
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    #[test]
    fn the_proxys_password_comes_from_a_file_from_systemd_or_from_the_address() {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = Settings::default();
        let systemd = Surroundings::new(Some(folder.path().into()), &[]);
        let shown = |proxy: &str, settings: &Settings| {
            let authorization = proxy_authorization(&proxy.parse().unwrap(), settings, &systemd).unwrap();
            authorization.map(|value| {
                let encoded = value.expose().strip_prefix("Basic ").unwrap().to_owned();
                String::from_utf8(STANDARD.decode(encoded).unwrap()).unwrap()
            })
        };
        assert_eq!(shown("http://proxy:3128", &settings), None);
        assert_eq!(shown("http://acd@proxy:3128", &settings).unwrap(), "acd:");
        assert_eq!(shown("http://acd:p%40ss:w@proxy:3128/", &settings).unwrap(), "acd:p@ss:w");
        file(folder.path(), "proxy-password", "of systemd\n", 0o400);
        assert_eq!(shown("http://acd:x@proxy:3128", &settings).unwrap(), "acd:of systemd");
        settings.proxy_password_file = Some(file(folder.path(), "password", "of a file\r\n", 0o600));
        assert_eq!(shown("http://acd:x@proxy:3128", &settings).unwrap(), "acd:of a file");
        file(folder.path(), "password", "\n", 0o600);
        let trouble = proxy_authorization(&"http://acd@proxy:1".parse().unwrap(), &settings, &systemd).unwrap_err();
        assert!(trouble.to_string().contains("no password"), "{trouble}");
    }
}
