//! Finding the facts of a Linux machine in `/sys`, `/proc` and `/etc`. Needs to run as root for the platform's UUID, and
//! for nothing else; what cannot be read is missing, never guessed.

use std::{
    fs,
    io::Read as _,
    path::{Path, PathBuf},
};

use ring::hmac;

use super::HostFacts;
use crate::digest::hex;

/// This application's ID for machine-id(5); `systemd-id128 -a c1f0a3e6b7d84c0f9a52e4d16b3f7788 machine-id` prints the
/// same hash.
const APPLICATION_ID: [u8; 16] =
    [0xc1, 0xf0, 0xa3, 0xe6, 0xb7, 0xd8, 0x4c, 0x0f, 0x9a, 0x52, 0xe4, 0xd1, 0x6b, 0x3f, 0x77, 0x88];

/// No fact is longer than this in the files that hold it.
const FILE_MAX_BYTES: u64 = 64 * 1_024;
/// Devices under a mapped device that are followed, one below the other.
const LAYERS_MAX: usize = 8;
/// ARPHRD_ETHER: network devices of other types have no such address.
const ETHERNET: &str = "1";
/// NET_ADDR_PERM: the address is the one that the hardware carries.
const PERMANENT: &str = "0";

/// The facts of the machine whose file system begins at `root`: `/` but in tests. The installation's key is not among
/// them: see [`HostFacts::with_installation`].
pub fn collect(root: &Path) -> HostFacts {
    let dmi = root.join("sys/class/dmi/id");
    HostFacts {
        platform: line(&dmi.join("product_uuid")),
        system: system(root),
        disk: disk(root),
        installation: None,
        network: instance(&dmi).map_or_else(|| addresses(root), |instance| vec![instance]),
    }
}

/// The machine ID, hashed for this application: the ID itself must not leave the machine.
fn system(root: &Path) -> Option<String> {
    let text = line(&root.join("etc/machine-id")).or_else(|| line(&root.join("var/lib/dbus/machine-id")))?;
    let id = data_encoding::HEXLOWER_PERMISSIVE
        .decode(text.as_bytes())
        .ok()
        .filter(|id| id.len() == 16 && id.iter().any(|byte| *byte != 0))?;
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &id), &APPLICATION_ID);
    let mut hashed = [0; 16];
    hashed.copy_from_slice(&tag.as_ref()[..16]);
    // The bits of a random UUID, as systemd sets them.
    hashed[6] = hashed[6] & 0x0f | 0x40;
    hashed[8] = hashed[8] & 0x3f | 0x80;
    Some(hex(&hashed))
}

/// The WWN or serial number of the disk that holds `/`, or the UUID of its file system.
fn disk(root: &Path) -> Option<String> {
    let mounts = bounded(&root.join("proc/self/mountinfo"))?;
    // ID, parent, major:minor, root, mount point, options, any number of tags, "-", type, source, super options.
    let mount = mounts.lines().rfind(|mount| mount.split(' ').nth(4) == Some("/"))?;
    let number = mount.split(' ').nth(2)?;
    let source = mount.split_once(" - ")?.1.split(' ').nth(1)?;
    let by_number = fs::canonicalize(root.join("sys/dev/block").join(number)).ok();
    // File systems with numbers of their own, such as btrfs, name their device as the source.
    let by_name = || fs::canonicalize(root.join("sys/class/block").join(source.strip_prefix("/dev/")?)).ok();
    let device = by_number.or_else(by_name)?;
    serial(whole_disk(device.clone())).or_else(|| file_system(root, &device))
}

/// The disk under a partition or a mapped device.
fn whole_disk(mut device: PathBuf) -> PathBuf {
    for _ in 0..LAYERS_MAX {
        let slave = entries(&device.join("slaves")).into_iter().next().and_then(|slave| fs::canonicalize(slave).ok());
        device = match (slave, device.parent()) {
            (Some(slave), _) => slave,
            (None, Some(parent)) if device.join("partition").exists() => parent.to_owned(),
            _ => break,
        };
    }
    device
}

fn serial(disk: PathBuf) -> Option<String> {
    let places = ["wwid", "device/wwid", "serial", "device/serial"];
    // Emulators give every machine's disk the same serial number.
    let emulated = |value: &String| value.to_ascii_uppercase().contains("QM0000");
    places.into_iter().find_map(|place| line(&disk.join(place)).filter(|value| !emulated(value)))
}

fn file_system(root: &Path, device: &Path) -> Option<String> {
    let name = device.file_name()?;
    entries(&root.join("dev/disk/by-uuid")).into_iter().find_map(|link| {
        let target = fs::read_link(&link).ok()?;
        (target.file_name()? == name).then(|| link.file_name()?.to_str().map(str::to_owned)).flatten()
    })
}

/// The instance ID that a cloud's firmware gives, where it gives one.
fn instance(dmi: &Path) -> Option<String> {
    let vendor = line(&dmi.join("sys_vendor"))?;
    let (place, prefix) = match vendor.as_str() {
        "Amazon EC2" => ("board_asset_tag", "i-"),
        "Google" => ("product_serial", "GoogleCloud-"),
        _ => return None,
    };
    line(&dmi.join(place)).filter(|id| id.starts_with(prefix)).map(|id| format!("instance {id}"))
}

/// Permanent addresses of the network devices that are hardware: bridges, tunnels and containers' ends have no
/// `device`.
fn addresses(root: &Path) -> Vec<String> {
    let mut addresses: Vec<String> = entries(&root.join("sys/class/net"))
        .into_iter()
        .filter(|device| device.join("device").exists() && line(&device.join("type")).as_deref() == Some(ETHERNET))
        .filter_map(|device| {
            let bonded = line(&device.join("bonding_slave/perm_hwaddr"));
            let own = || {
                line(&device.join("address"))
                    .filter(|_| line(&device.join("addr_assign_type")).as_deref() == Some(PERMANENT))
            };
            bonded.or_else(own)
        })
        .collect();
    addresses.sort();
    addresses.dedup();
    addresses
}

/// What a folder holds, in order; nothing where it cannot be read.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut entries: Vec<PathBuf> =
        fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    entries.sort();
    entries
}

/// The text of a file without its line end; none where it is empty or cannot be read.
fn line(path: &Path) -> Option<String> {
    let text = bounded(path)?;
    let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\0');
    (!text.is_empty()).then(|| text.to_owned())
}

fn bounded(path: &Path) -> Option<String> {
    let mut text = String::new();
    fs::File::open(path).ok()?.take(FILE_MAX_BYTES).read_to_string(&mut text).ok()?;
    Some(text)
}
