//! Credentials of the bucket, which lie outside the configuration. Read anew for each attempt, so that what is exchanged counts
//! without a restart. Never logged.

use std::collections::BTreeMap;

use super::settings::Settings;
use crate::way_out::{
    Secret, Surroundings, Trouble,
    secrets::{SECRET_MAX_BYTES, read},
};

/// The systemd credential with the bucket's keys.
const S3_CREDENTIAL: &str = "usage-s3";
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
    let variable = |name: &str| surroundings.variable(name);
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

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

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
}
