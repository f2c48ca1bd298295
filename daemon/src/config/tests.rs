use std::path::PathBuf;

use super::*;

fn read(text: &str, environment: &[(&str, &str)]) -> Result<Config, String> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("leaseholdd.toml");
    std::fs::write(&file, text).unwrap();
    let environment = environment.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    Config::read(Some(&file), environment)
        .map_err(|faults| faults.to_string().replace(&format!("{}", file.display()), "FILE"))
}

#[test]
fn nothing_said_means_the_defaults() {
    assert_eq!(read("", &[]), Ok(Config::built_in()));
    assert_eq!(Config::read(None, BTreeMap::new()), Ok(Config::built_in()));
}

#[test]
fn the_file_goes_before_the_defaults_and_the_environment_before_the_file() {
    let text = "state_dir = \"/a\"\nfolder = \"/b\"\n[listen]\ntcp = [\"127.0.0.1:0\", \"[::1]:7\"]\nunix = \"\"\n[limits]\nqueue = 2000\n";
    let config = read(
        text,
        &[("LEASEHOLD_STATE_DIR", "/c"), ("LEASEHOLD_ADMINISTRATORS", "7, 8"), ("LEASEHOLD_LIMITS_QUEUE", "3000")],
    )
    .unwrap();
    assert_eq!(config.state_dir, PathBuf::from("/c"));
    assert_eq!(config.folder, PathBuf::from("/b"));
    assert_eq!(config.administrators, BTreeSet::from([7, 8]));
    assert_eq!(config.listen.tcp.len(), 2);
    assert_eq!(config.listen.unix, None);
    assert_eq!(config.limits.queue, 3_000);
    let config = read(
        "",
        &[("LEASEHOLD_LISTEN_TCP", "127.0.0.1:5"), ("LEASEHOLD_LISTEN_UNIX_MODE", "0666"), ("LEASEHOLD_SERVER", "x")],
    )
    .unwrap();
    assert_eq!((config.listen.tcp.len(), config.listen.unix_mode), (1, 0o666));
}

#[test]
fn all_faults_are_told_at_once_with_place_and_what_is_allowed() {
    let text = "\
state_dir = \"relative\"
folders = \"/b\"

[listen]
tcp = \"0.0.0.0:7127\"
unix_mode = 660

[limits]
queue = -1
waiting_per_pool = 20000
streams = 4

[log]
format = \"xml\"
filter = \"info,=\"
";
    let said = read(text, &[("LEASEHOLD_LIMITS_CONNECTIONS", "many"), ("LEASEHOLD_NONSENSE", "1")]).unwrap_err();
    let expected = [
        "the configuration has 11 faults:",
        "FILE line 1: `state_dir`: \"relative\" was found; it must be an absolute path",
        "FILE line 2: `folders`: there is no such setting; did you mean `folder`?",
        "FILE line 5: `listen.tcp`: \"0.0.0.0:7127\" was found; it must be a loopback address with a port",
        "FILE line 6: `listen.unix_mode`: 660 was found; it must be an octal file mode in quotes",
        "FILE line 9: `limits.queue`: -1 was found; it must be 1,024 to 1,048,576 commands",
        "FILE line 10: `limits.waiting_per_pool`: 20000 was found",
        "FILE line 11: `limits.streams`: there is no such setting",
        "FILE line 14: `log.format`: \"xml\" was found; it must be \"text\", \"json\" or \"journald\"",
        "FILE line 15: `log.filter`: \"info,=\" was found",
        "environment variable LEASEHOLD_LIMITS_CONNECTIONS: \"many\" was found; it must be 16 to 65,536 connections",
        "environment variable LEASEHOLD_NONSENSE: there is no such setting",
    ];
    for (line, expected) in said.lines().zip(expected) {
        assert!(line.trim().starts_with(expected), "{line}\n{expected}");
    }
    assert_eq!(said.lines().count(), expected.len(), "{said}");
}

#[test]
fn what_is_no_toml_is_told_with_its_line() {
    let said = read("state_dir = \"/a\"\nfolder = /b\n", &[]).unwrap_err();
    assert!(said.contains("FILE line 2: is not TOML"), "{said}");
    let missing = Config::read(Some(Path::new("/nowhere/at/all.toml")), BTreeMap::new()).unwrap_err();
    assert!(missing.to_string().contains("cannot be read"), "{missing}");
}

#[test]
fn there_must_be_somewhere_to_listen() {
    let said = read("[listen]\ntcp = []\nunix = \"\"\n", &[]).unwrap_err();
    assert!(said.contains("nothing to listen on"), "{said}");
}

/// Every setting stands in the shipped file, commented out with its default: the file is the manual.
#[test]
fn the_shipped_file_is_the_manual() {
    let shipped = include_str!("../../../packaging/leaseholdd.toml");
    assert!(read(shipped, &[]).is_ok(), "{:?}", read(shipped, &[]));
    let uncommented: String = shipped
        .lines()
        .map(|line| match line.strip_prefix("#") {
            Some(setting) if setting.starts_with(|c: char| c.is_ascii_lowercase()) => format!("{setting}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    let config = read(&uncommented, &[]).unwrap();
    let table = DeTable::parse(&uncommented).unwrap();
    let mut lines = BTreeMap::new();
    lines_of(table.get_ref(), &uncommented, "", &mut lines);
    for setting in SETTINGS {
        assert!(lines.contains_key(setting.path), "{} is not in the shipped file", setting.path);
        // Whose IDs administer depends on who runs it; the service's own settings differ from the built-in ones.
        if !["administrators", "host_facts", "log.format"].contains(&setting.path) {
            assert!(!(setting.differs)(&config, &Config::built_in()), "{} has another default", setting.path);
        }
    }
}

#[test]
fn every_bad_part_of_a_list_is_told() {
    let said = read("[listen]\ntcp = [\"0.0.0.0:1\", \"127.0.0.1:2\", \"nonsense\"]\n", &[]).unwrap_err();
    assert!(said.contains("\"0.0.0.0:1\" was found, \"nonsense\" was found; it must be a loopback"), "{said}");
}

#[test]
fn a_check_finds_what_a_start_would_fail_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = Config::built_in();
    config.state_dir = dir.path().join("state");
    config.listen.unix_group = Some("no such group here".to_owned());
    let said = config.check_machine().unwrap_err().to_string();
    assert!(said.contains("there is no group `no such group here`"), "{said}");
    if !crate::trust_store::is_built_in() {
        assert!(said.contains("2 faults") && said.contains("the configuration names none"), "{said}");
        config.root = Some(dir.path().join("gone.i3root"));
        let said = config.check_machine().unwrap_err().to_string();
        assert!(said.contains("gone.i3root cannot be read"), "{said}");
        let licensor = leasehold_keys::dev::DevLicensor::from_seed(&[7; 32]).unwrap();
        std::fs::write(dir.path().join("gone.i3root"), licensor.root()).unwrap();
    }
    config.listen.unix_group = Some("0".to_owned());
    assert_eq!(config.check_machine(), Ok(()));
    // What the way out is made of.
    let named = dir.path().join("named.pem");
    config.network.ca = Some(named.clone());
    config.delivery.s3.credentials = Some(named.clone());
    let said = config.check_machine().unwrap_err().to_string();
    for setting in ["`network.ca`", "`usage.s3.credentials`"] {
        assert!(said.contains(setting) && said.contains("named.pem"), "{said}");
    }
    std::fs::write(&named, "no certificate\n").unwrap();
    assert!(config.check_machine().unwrap_err().to_string().contains("no certificate in PEM form"));
}

#[test]
fn what_a_reload_cannot_take_over_is_named() {
    let mut newer = Config::built_in();
    newer.log.filter = "debug".to_owned();
    newer.administrators.insert(4_711);
    newer.limits.queue = 2_048;
    newer.listen.tcp.clear();
    assert_eq!(Config::built_in().needs_restart(&newer), ["listen.tcp", "limits.queue"]);
}

#[test]
fn where_usage_files_go_is_checked_and_a_proxys_password_never_shown() {
    let text = "\
[site]
time_zone = \"Europe/Berlin\"
[usage]
destination = \"s3://acme-usage/site-7/\"
keep_days = 30
[network]
proxy = \"http://acd:geheim@proxy.acme.example:3128\"
[check_in]
endpoint = \"https://licensor.acme.example/site-7/\"
[usage.s3]
endpoint = \"https://minio.acme.example:9000\"
region = \"us-east-2\"
credentials = \"/etc/leasehold/s3\"
";
    let config = read(text, &[("LEASEHOLD_NETWORK_CA", "/etc/ca.pem")]).unwrap();
    let delivery = &config.delivery;
    assert_eq!(delivery.destination.as_ref().unwrap().to_string(), "s3://acme-usage/site-7");
    assert_eq!(config.network.proxy.as_ref().unwrap().to_string(), "http://acd@proxy.acme.example:3128");
    assert_eq!((delivery.keep_days, config.network.ca.as_deref()), (30, Some(Path::new("/etc/ca.pem"))));
    assert_eq!(config.check_in.endpoint.as_ref().unwrap().to_string(), "https://licensor.acme.example/site-7");
    assert_eq!(delivery.s3.endpoint.as_ref().unwrap().to_string(), "minio.acme.example:9000");
    assert!(!format!("{config:?}").contains("geheim"));

    let text = "\
[site]
time_zone = \"Europe/Atlantis\"
[usage]
destination = \"http://acme.example\"
keep_days = 0
proxy = \"http://proxy:3128\"
[network]
proxy = \"https://acd:geheim@proxy:3128\"
[usage.s3]
endpoint = \"https://minio.acme.example/path\"
region = \"\"
[check_in]
endpoint = \"http://acme.example\"
";
    let said = read(text, &[]).unwrap_err();
    let expected = [
        "the configuration has 8 faults:",
        "FILE line 2: `site.time_zone`: \"Europe/Atlantis\" was found; it must be the name of a time zone",
        "FILE line 4: `usage.destination`: \"http://acme.example\" was found (it begins neither with s3:// nor with https://)",
        "FILE line 5: `usage.keep_days`: 0 was found",
        "FILE line 6: `usage.proxy`: there is no such setting; did you mean `network.proxy`?",
        "FILE line 8: `network.proxy`: it does not begin with http://; it must be http://HOST:PORT or",
        "FILE line 10: `usage.s3.endpoint`: \"https://minio.acme.example/path\" was found (it names no host)",
        "FILE line 11: `usage.s3.region`: \"\" was found",
        "FILE line 13: `check_in.endpoint`: \"http://acme.example\" was found (it does not begin with https://)",
    ];
    for (line, expected) in said.lines().zip(expected) {
        assert!(line.trim().starts_with(expected), "{line}\n{expected}");
    }
    assert_eq!(said.lines().count(), expected.len(), "{said}");
    assert!(!said.contains("geheim"), "{said}");
}
