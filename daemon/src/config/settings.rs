//! Every setting: its path, how its value is read, what is allowed, and whether SIGHUP takes it over.

use std::{net::SocketAddr, ops::RangeInclusive, path::PathBuf};

use config::{Value, ValueKind};
use leasehold_keys::{refusal::Refusal, usage::UsagePublicKey};
use tracing_subscriber::EnvFilter;

use super::{Config, LogFormat};
use crate::{
    check_in::Endpoint,
    delivery::{Destination, Zone, bucket_endpoint},
    usage::NamesSetting,
    way_out::{Origin, Proxy},
};

/// One setting.
pub(super) struct Setting {
    /// Its dotted path.
    pub(super) path: &'static str,
    /// Puts the value in its place, or says what was found instead.
    pub(super) read: fn(&mut Config, &Value) -> Result<(), String>,
    /// What is allowed, as the end of a sentence.
    pub(super) allowed: &'static str,
    /// True where two configurations differ in it.
    pub(super) differs: fn(&Config, &Config) -> bool,
    /// True where a running daemon takes it over.
    pub(super) reloads: bool,
}

/// The settings, in the order of the shipped file.
macro_rules! settings {
    ($($path:literal => $($field:ident).+ , $read:expr, $allowed:literal $(, $reloads:ident)?;)*) => {
        pub(super) const SETTINGS: &[Setting] = &[$(Setting {
            path: $path,
            read: |config, value| { config.$($field).+ = $read(value)?; Ok(()) },
            allowed: $allowed,
            differs: |a, b| a.$($field).+ != b.$($field).+,
            reloads: settings!(@ $($reloads)?),
        }),*];
    };
    (@) => { false };
    (@ reloads) => { true };
}

settings! {
    "state_dir" => state_dir, path, "it must be an absolute path";
    "folder" => folder, path, "it must be an absolute path";
    "root" => root, maybe_path, "it must be an absolute path, or \"\" for none";
    "host_facts" => host_facts, maybe_path, "it must be an absolute path, or \"\" for none";
    "administrators" => administrators, user_ids, "it must be a list of user IDs such as [0, 990]", reloads;
    "site.time_zone" => time_zone, zone, "it must be the name of a time zone such as \"Europe/Berlin\" or \"UTC\", or \"\" for this machine's";
    "listen.tcp" => listen.tcp, loopback, "it must be a loopback address with a port such as \"127.0.0.1:7127\", or a list of them; plaintext does not leave the machine";
    "listen.unix" => listen.unix, maybe_path, "it must be an absolute path, or \"\" for no socket";
    "listen.unix_mode" => listen.unix_mode, mode, "it must be an octal file mode in quotes such as \"0660\"";
    "listen.unix_group" => listen.unix_group, group, "it must be the name or number of a group, or \"\" for the daemon's own";
    "log.format" => log.format, log_format, "it must be \"text\", \"json\" or \"journald\"";
    "log.filter" => log.filter, log_filter, "it must be a filter such as \"info\" or \"info,leaseholdd::core=debug\"", reloads;
    "usage.names" => usage.names, names, "it must be \"plain\" or \"pseudonym\"";
    "usage.reader" => usage.reader, usage_key, "it must be an X25519 public key, 32 bytes in base64, or \"\" for none";
    "usage.destination" => delivery.destination, destination, "it must be s3://BUCKET/PREFIX or https://HOST, or \"\" for what the activation file names";
    "usage.keep_days" => delivery.keep_days, |value: &Value| number(value, 1..=36_500), "it must be 1 to 36,500 days";
    "usage.s3.endpoint" => delivery.s3.endpoint, endpoint, "it must be https://HOST or https://HOST:PORT, or \"\" for Amazon's";
    "usage.s3.region" => delivery.s3.region, region, "it must be the name of a region such as \"us-east-2\"";
    "usage.s3.credentials" => delivery.s3.credentials, maybe_path, "it must be an absolute path, or \"\" for none";
    "check_in.endpoint" => check_in.endpoint, check_in, "it must be https://HOST or https://HOST/PATH, or \"\" for what each activation file names";
    "network.proxy" => network.proxy, proxy, "it must be http://HOST:PORT or http://NAME:PASSWORD@HOST:PORT, or \"\" for none";
    "network.proxy_password_file" => network.proxy_password_file, maybe_path, "it must be an absolute path, or \"\" for none";
    "network.ca" => network.ca, maybe_path, "it must be an absolute path, or \"\" for none";
    "limits.queue" => limits.queue, |value: &Value| number(value, 1_024..=1_048_576), "it must be 1,024 to 1,048,576 commands";
    "limits.events_per_stream" => limits.events_per_stream, |value: &Value| number(value, 64..=1_000_000), "it must be 64 to 1,000,000 leases";
    "limits.answers_per_identity" => limits.answers_per_identity, |value: &Value| number(value, 1_000..=10_000_000), "it must be 1,000 to 10,000,000 answers";
    "limits.waiting_per_pool" => limits.waiting_per_pool, |value: &Value| number(value, 1..=10_000), "it must be 1 to 10,000 requests";
    "limits.connections" => limits.connections, |value: &Value| number(value, 16..=65_536), "it must be 16 to 65,536 connections";
    "limits.connections_per_address" => limits.connections_per_address, |value: &Value| number(value, 1..=65_536), "it must be 1 to 65,536 connections";
    "limits.streams_per_connection" => limits.streams_per_connection, |value: &Value| number(value, 1..=65_536), "it must be 1 to 65,536 requests";
    "limits.header_bytes" => limits.header_bytes, |value: &Value| number(value, 1_024..=65_536), "it must be 1,024 to 65,536 bytes";
    "limits.first_request_ms" => limits.first_request_ms, |value: &Value| number(value, 1_000..=60_000), "it must be 1,000 to 60,000 ms";
    "limits.idle_ms" => limits.idle_ms, |value: &Value| number(value, 60_000..=86_400_000), "it must be 60,000 to 86,400,000 ms";
    "limits.keepalive_ms" => limits.keepalive_ms, |value: &Value| number(value, 5_000..=300_000), "it must be 5,000 to 300,000 ms";
}

/// What was found, for people.
fn found(value: &Value) -> String {
    match &value.kind {
        ValueKind::String(text) => format!("{:?} was found", text.chars().take(60).collect::<String>()),
        ValueKind::Array(_) => "a list was found".to_owned(),
        ValueKind::Table(_) => "a table was found".to_owned(),
        ValueKind::Nil => "nothing was found".to_owned(),
        other => format!("{other} was found"),
    }
}

fn text(value: &Value) -> Result<&str, String> {
    match &value.kind {
        ValueKind::String(text) => Ok(text),
        _ => Err(found(value)),
    }
}

fn path(value: &Value) -> Result<PathBuf, String> {
    let path = PathBuf::from(text(value)?);
    if path.is_absolute() { Ok(path) } else { Err(found(value)) }
}

fn maybe_path(value: &Value) -> Result<Option<PathBuf>, String> {
    if text(value)?.is_empty() { Ok(None) } else { path(value).map(Some) }
}

fn number<T: TryFrom<u64>>(value: &Value, allowed: RangeInclusive<u64>) -> Result<T, String> {
    let number = match &value.kind {
        ValueKind::I64(number) => u64::try_from(*number).ok(),
        ValueKind::U64(number) => Some(*number),
        ValueKind::String(text) => text.parse().ok(),
        _ => None,
    };
    number
        .filter(|number| allowed.contains(number))
        .and_then(|number| T::try_from(number).ok())
        .ok_or_else(|| found(value))
}

/// A list, or a text with commas as environment variables have it.
fn list(value: &Value) -> Result<Vec<Value>, String> {
    match &value.kind {
        ValueKind::Array(values) => Ok(values.clone()),
        ValueKind::String(text) => {
            let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
            Ok(parts.map(|part| Value::new(None, ValueKind::String(part.to_owned()))).collect())
        }
        ValueKind::I64(_) | ValueKind::U64(_) => Ok(vec![value.clone()]),
        _ => Err(found(value)),
    }
}

fn user_ids(value: &Value) -> Result<std::collections::BTreeSet<u32>, String> {
    each(list(value)?, |id| number(id, 0..=u64::from(u32::MAX - 1)))
}

fn loopback(value: &Value) -> Result<Vec<SocketAddr>, String> {
    let one = |value: &Value| {
        let address: SocketAddr = text(value)?.parse().map_err(|_| found(value))?;
        if address.ip().to_canonical().is_loopback() { Ok(address) } else { Err(found(value)) }
    };
    each(list(value)?, one)
}

/// Reads every part of a list, or tells every part that is wrong.
fn each<T, C: FromIterator<T>>(values: Vec<Value>, one: impl Fn(&Value) -> Result<T, String>) -> Result<C, String> {
    let (good, bad): (Vec<_>, Vec<_>) = values.iter().map(one).partition(Result::is_ok);
    let bad: Vec<String> = bad.into_iter().filter_map(Result::err).collect();
    if bad.is_empty() { Ok(good.into_iter().flatten().collect()) } else { Err(bad.join(", ")) }
}

fn mode(value: &Value) -> Result<u32, String> {
    let mode = u32::from_str_radix(text(value)?, 8).map_err(|_| found(value))?;
    // The daemon itself must be able to connect, to see that nobody else listens there.
    if mode <= 0o777 && mode & 0o600 == 0o600 { Ok(mode) } else { Err(found(value)) }
}

fn group(value: &Value) -> Result<Option<String>, String> {
    match &value.kind {
        ValueKind::I64(number) if u32::try_from(*number).is_ok() => Ok(Some(number.to_string())),
        _ => {
            let name = text(value)?;
            if name.contains(|c: char| c == ':' || c.is_whitespace() || c.is_control()) {
                return Err(found(value));
            }
            Ok((!name.is_empty()).then(|| name.to_owned()))
        }
    }
}

fn names(value: &Value) -> Result<NamesSetting, String> {
    match text(value)? {
        "plain" => Ok(NamesSetting::Plain),
        "pseudonym" => Ok(NamesSetting::Pseudonym),
        _ => Err(found(value)),
    }
}

fn usage_key(value: &Value) -> Result<Option<UsagePublicKey>, String> {
    match text(value)? {
        "" => Ok(None),
        key => key.parse().map(Some).map_err(|refusal: Refusal| format!("{} ({})", found(value), refusal.what())),
    }
}

fn zone(value: &Value) -> Result<Zone, String> {
    Zone::named(text(value)?).map_err(|_| found(value))
}

fn destination(value: &Value) -> Result<Option<Destination>, String> {
    match text(value)? {
        "" => Ok(None),
        said => said.parse().map(Some).map_err(|fault| format!("{} ({fault})", found(value))),
    }
}

/// What was found is not shown: it may hold a password.
fn proxy(value: &Value) -> Result<Option<Proxy>, String> {
    match text(value).map_err(|_| "something else than a text was found".to_owned())? {
        "" => Ok(None),
        said => said.parse::<Proxy>().map(Some).map_err(|fault| format!("{fault}")),
    }
}

fn check_in(value: &Value) -> Result<Option<Endpoint>, String> {
    match text(value)? {
        "" => Ok(None),
        said => said.parse().map(Some).map_err(|fault| format!("{} ({fault})", found(value))),
    }
}

fn endpoint(value: &Value) -> Result<Option<Origin>, String> {
    match text(value)? {
        "" => Ok(None),
        said => bucket_endpoint(said).map(Some).map_err(|fault| format!("{} ({fault})", found(value))),
    }
}

fn region(value: &Value) -> Result<String, String> {
    let region = text(value)?;
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let good = (1..=64).contains(&region.len()) && region.bytes().all(plain);
    if good { Ok(region.to_owned()) } else { Err(found(value)) }
}

fn log_format(value: &Value) -> Result<LogFormat, String> {
    match text(value)? {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        "journald" => Ok(LogFormat::Journald),
        _ => Err(found(value)),
    }
}

fn log_filter(value: &Value) -> Result<String, String> {
    let filter = text(value)?;
    match EnvFilter::try_new(filter) {
        Ok(_) => Ok(filter.to_owned()),
        Err(fault) => Err(format!("{} ({fault})", found(value))),
    }
}
