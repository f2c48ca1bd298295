//! What is secret or trusted and lies outside the configuration: credentials of the bucket, the proxy's password, certificate
//! authorities. Read anew for each attempt, so that what is exchanged counts without a restart. Never logged.

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
    settings::{Proxy, Secret, Settings},
    trouble::Trouble,
};

/// The systemd credential with the bucket's keys.
const S3_CREDENTIAL: &str = "usage-s3";
/// The systemd credential with the proxy's password.
const PROXY_CREDENTIAL: &str = "usage-proxy-password";
/// The most bytes of a file with a secret.
const SECRET_MAX_BYTES: u64 = 16 * 1_024;
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
    pub(super) fn new(credentials_directory: Option<PathBuf>, variables: &[(&'static str, &str)]) -> Self {
        let variables = variables.iter().map(|(name, value)| (*name, Secret::new(*value))).collect();
        Self { credentials_directory, variables }
    }

    /// The path of a systemd credential, where it is there.
    fn credential(&self, name: &str) -> Option<PathBuf> {
        self.credentials_directory.as_ref().map(|folder| folder.join(name)).filter(|path| path.exists())
    }
}

/// The keys of a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BucketKeys {
    pub(super) id: Secret,
    pub(super) secret: Secret,
    pub(super) token: Option<Secret>,
    /// Where they come from, for people.
    pub(super) from: String,
}

/// The bucket's keys: of the configured file, else of systemd's credential, else of the environment.
pub(super) fn bucket_keys(settings: &Settings, surroundings: &Surroundings) -> Result<BucketKeys, Trouble> {
    let file = match (&settings.s3.credentials, surroundings.credential(S3_CREDENTIAL)) {
        (Some(path), _) => Some((path.clone(), "usage.s3.credentials", true)),
        (None, Some(path)) => Some((path, "systemd credential usage-s3", false)),
        (None, None) => None,
    };
    if let Some((path, setting, strict)) = file {
        let bytes = read(setting, &path, SECRET_MAX_BYTES, strict)?;
        let fault = |why: &str| Trouble::Setting { setting: setting.into(), path: path.clone(), why: why.into() };
        let text = std::str::from_utf8(&bytes).map_err(|_| fault("it is no text"))?;
        let mut keys = keys_of(text).map_err(fault)?;
        keys.from = format!("{} ({setting})", path.display());
        return Ok(keys);
    }
    let variable = |name: &str| surroundings.variables.get(name).cloned();
    match (variable("AWS_ACCESS_KEY_ID"), variable("AWS_SECRET_ACCESS_KEY")) {
        (Some(id), Some(secret)) => {
            Ok(BucketKeys { id, secret, token: variable("AWS_SESSION_TOKEN"), from: "the environment".into() })
        }
        _ => Err(Trouble::NoCredentials),
    }
}

/// Reads a file as Amazon's tools write it: `name = value` lines; of several sections `[default]`, else the first.
fn keys_of(text: &str) -> Result<BucketKeys, &'static str> {
    let mut sections: Vec<(&str, BTreeMap<&str, &str>)> = vec![("", BTreeMap::new())];
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with(['#', ';'])) {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            sections.push((name.trim(), BTreeMap::new()));
        } else if let (Some((name, value)), Some((_, section))) = (line.split_once('='), sections.last_mut()) {
            section.insert(name.trim(), value.trim());
        } else {
            return Err("it has a line that is neither NAME = VALUE nor [SECTION]");
        }
    }
    let named = sections.iter().find(|(name, _)| *name == "default");
    let section =
        named.or_else(|| sections.iter().find(|(_, section)| !section.is_empty())).map(|(_, section)| section);
    let value = |name: &str| {
        section.and_then(|section| section.get(name)).filter(|value| !value.is_empty()).map(|value| Secret::new(*value))
    };
    match (value("aws_access_key_id"), value("aws_secret_access_key")) {
        (Some(id), Some(secret)) => {
            Ok(BucketKeys { id, secret, token: value("aws_session_token"), from: String::new() })
        }
        _ => Err("it does not hold aws_access_key_id and aws_secret_access_key"),
    }
}

/// What the proxy is shown: the value of `Proxy-Authorization`. `None` for a proxy without a user.
pub(super) fn proxy_authorization(
    proxy: &Proxy,
    settings: &Settings,
    surroundings: &Surroundings,
) -> Result<Option<Secret>, Trouble> {
    let Some(user) = &proxy.user else { return Ok(None) };
    let file = match (&settings.proxy_password_file, surroundings.credential(PROXY_CREDENTIAL)) {
        (Some(path), _) => Some((path.clone(), "usage.proxy_password_file", true)),
        (None, Some(path)) => Some((path, "systemd credential usage-proxy-password", false)),
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
pub(super) fn authorities(path: &Path) -> Result<Vec<u8>, Trouble> {
    read("usage.ca", path, CA_MAX_BYTES, false).map(|bytes| bytes.to_vec())
}

/// Reads a file that an administrator named. Links are followed: that is how such files are exchanged. `secret`: nobody else on
/// this machine may be able to read it.
fn read(setting: &str, path: &Path, most: u64, secret: bool) -> Result<Zeroizing<Vec<u8>>, Trouble> {
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
    fn credentials_come_from_the_file_then_from_systemd_then_from_the_environment() {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = Settings::default();
        let variables = [("AWS_ACCESS_KEY_ID", "env"), ("AWS_SECRET_ACCESS_KEY", "env-secret")];
        let none = Surroundings::default();
        assert_eq!(bucket_keys(&settings, &none), Err(Trouble::NoCredentials));
        let half = Surroundings::new(None, &variables[..1]);
        assert_eq!(bucket_keys(&settings, &half), Err(Trouble::NoCredentials));
        let environment = Surroundings::new(Some(folder.path().into()), &variables);
        assert_eq!(bucket_keys(&settings, &environment).unwrap().id.expose(), "env");
        file(folder.path(), "usage-s3", "aws_access_key_id=sys\naws_secret_access_key = s s =\n", 0o400);
        let keys = bucket_keys(&settings, &environment).unwrap();
        assert_eq!((keys.id.expose(), keys.secret.expose(), keys.token), ("sys", "s s =", None));
        let text = "# ours\n[other]\naws_access_key_id = no\naws_secret_access_key = no\n[default]\naws_access_key_id = id\n\
                    aws_secret_access_key = key\naws_session_token = t\n";
        let path = file(folder.path(), "keys", text, 0o640);
        settings.s3.credentials = Some(path.clone());
        let keys = bucket_keys(&settings, &environment).unwrap();
        assert_eq!((keys.id.expose(), keys.token.as_ref().unwrap().expose()), ("id", "t"));
        assert!(!format!("{keys:?}").contains("key\""), "{keys:?}");

        for (text, mode, why) in [
            (text, 0o644, "everybody on this machine"),
            ("aws_access_key_id = id\n", 0o600, "does not hold"),
            ("nonsense\n", 0o600, "neither NAME = VALUE"),
            ("", 0o600, "does not hold"),
        ] {
            file(folder.path(), "keys", text, mode);
            let trouble = bucket_keys(&settings, &environment).unwrap_err();
            assert_eq!(trouble.code(), "setting");
            assert!(
                trouble.to_string().contains(why) && trouble.remedy().contains("usage.s3.credentials"),
                "{trouble}"
            );
        }
        std::fs::remove_file(&path).unwrap();
        assert_eq!(
            bucket_keys(&settings, &environment).unwrap_err().code(),
            "setting",
            "what is named is not passed over"
        );
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
        file(folder.path(), "usage-proxy-password", "of systemd\n", 0o400);
        assert_eq!(shown("http://acd:x@proxy:3128", &settings).unwrap(), "acd:of systemd");
        settings.proxy_password_file = Some(file(folder.path(), "password", "of a file\r\n", 0o600));
        assert_eq!(shown("http://acd:x@proxy:3128", &settings).unwrap(), "acd:of a file");
        file(folder.path(), "password", "\n", 0o600);
        let trouble = proxy_authorization(&"http://acd@proxy:1".parse().unwrap(), &settings, &systemd).unwrap_err();
        assert!(trouble.to_string().contains("no password"), "{trouble}");
    }
}
