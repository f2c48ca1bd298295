//! Finding the facts of a machine, in trees that look like `/`.

use std::{fs, os::unix::fs::symlink, path::Path};

use leasehold_keys::host::{HostFacts, collect_linux::collect};

/// A tree that holds these files and links.
fn tree(files: &[(&str, &str)], links: &[(&str, &str)]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let parent = |path: &str| fs::create_dir_all(root.path().join(path).parent().unwrap()).unwrap();
    for (path, text) in files {
        parent(path);
        fs::write(root.path().join(path), text).unwrap();
    }
    for (path, target) in links {
        parent(path);
        symlink(target, root.path().join(path)).unwrap();
    }
    root
}

fn found(files: &[(&str, &str)], links: &[(&str, &str)]) -> HostFacts {
    collect(tree(files, links).path())
}

const MOUNTS: &str = "21 1 0:20 / /proc rw - proc proc rw\n29 1 8:2 / / rw,relatime shared:1 - ext4 /dev/sda2 rw\n";

#[test]
fn a_server_has_all_its_facts() {
    let facts = found(
        &[
            ("sys/class/dmi/id/product_uuid", "4C4C4544-0051-3510-8052-B4C04F564433\n"),
            ("sys/class/dmi/id/sys_vendor", "Dell Inc.\n"),
            ("etc/machine-id", "0123456789abcdef0123456789abcdef\n"),
            ("proc/self/mountinfo", MOUNTS),
            ("sys/devices/pci/block/sda/sda2/partition", "2\n"),
            ("sys/devices/pci/block/sda/device/wwid", "naa.5000c500a1b2c3d4\n"),
            ("sys/class/net/eno1/type", "1\n"),
            ("sys/class/net/eno1/address", "d0:50:99:00:00:02\n"),
            ("sys/class/net/eno1/addr_assign_type", "0\n"),
            ("sys/class/net/eno1/device/vendor", "0x8086\n"),
        ],
        &[("sys/dev/block/8:2", "../../devices/pci/block/sda/sda2")],
    );
    assert_eq!(facts.platform.as_deref(), Some("4C4C4544-0051-3510-8052-B4C04F564433"));
    assert_eq!(facts.disk.as_deref(), Some("naa.5000c500a1b2c3d4"));
    assert_eq!(facts.network, ["d0:50:99:00:00:02"]);
    assert_eq!(facts.installation, None);
    // HMAC-SHA256 keyed with the machine ID over this application's ID, cut to 16 bytes, marked as a random UUID;
    // worked out by another implementation.
    assert_eq!(facts.system.as_deref(), Some("12a8b8dc9a4640a9a7e9df210b524e65"));
}

#[test]
fn a_machine_that_tells_nothing_has_no_facts() {
    assert_eq!(collect(tempfile::tempdir().unwrap().path()), HostFacts::default());
    assert_eq!(collect(Path::new("/nonexistent")), HostFacts::default());
    let empty = [
        ("sys/class/dmi/id/product_uuid", "\n"),
        ("etc/machine-id", "uninitialized\n"),
        ("proc/self/mountinfo", "29 1 0:41 / / rw - overlay overlay rw\n"),
    ];
    assert_eq!(found(&empty, &[]), HostFacts::default());
    assert_eq!(found(&[("etc/machine-id", "00000000000000000000000000000000\n")], &[]).system, None);
}

#[test]
fn the_disk_under_a_mapped_device_is_found() {
    let files = [
        ("proc/self/mountinfo", "29 1 253:0 / / rw - xfs /dev/mapper/root rw\n"),
        ("sys/devices/virtual/block/dm-0/dm/name", "root\n"),
        ("sys/devices/pci/nvme0n1/nvme0n1p3/partition", "3\n"),
        ("sys/devices/pci/nvme0n1/wwid", "eui.0025388b01234567\n"),
    ];
    let links = [
        ("sys/dev/block/253:0", "../../devices/virtual/block/dm-0"),
        ("sys/devices/virtual/block/dm-0/slaves/nvme0n1p3", "../../../../pci/nvme0n1/nvme0n1p3"),
    ];
    assert_eq!(found(&files, &links).disk.as_deref(), Some("eui.0025388b01234567"));
}

#[test]
fn without_a_serial_number_the_file_system_counts() {
    let files = [
        ("proc/self/mountinfo", "29 1 0:30 /sub / rw - btrfs /dev/vda1 rw\n"),
        ("sys/devices/virtio/vda/vda1/partition", "1\n"),
        ("sys/devices/virtio/vda/serial", "\n"),
    ];
    let links = [
        ("sys/class/block/vda1", "../../devices/virtio/vda/vda1"),
        ("dev/disk/by-uuid/11111111-2222-3333-4444-555555555555", "../../vdb1"),
        ("dev/disk/by-uuid/99999999-2222-3333-4444-555555555555", "../../vda1"),
    ];
    assert_eq!(found(&files, &links).disk.as_deref(), Some("99999999-2222-3333-4444-555555555555"));
    let emulated = [&files[..2], &[("sys/devices/virtio/vda/serial", "QM00001\n")]].concat();
    assert_eq!(found(&emulated, &links[..1]).disk, None);
}

#[test]
fn only_permanent_addresses_of_hardware_count() {
    let device = |name: &str, address: &str, assigned: &str, hardware: bool| {
        let mut files = vec![
            (format!("sys/class/net/{name}/type"), if name == "ib0" { "32" } else { "1" }.to_owned()),
            (format!("sys/class/net/{name}/address"), address.to_owned()),
            (format!("sys/class/net/{name}/addr_assign_type"), assigned.to_owned()),
        ];
        if hardware {
            files.push((format!("sys/class/net/{name}/device/uevent"), String::new()));
        }
        files
    };
    let mut files = [
        device("eth1", "52:54:00:00:00:02", "0", true),
        device("eth0", "52:54:00:00:00:01", "0", true),
        device("lo", "00:00:00:00:00:00", "0", false),
        device("docker0", "02:42:ac:11:00:01", "3", false),
        device("veth12ab", "5e:00:00:00:00:01", "0", false),
        device("wlan0", "aa:bb:cc:00:00:01", "3", true),
        device("ib0", "80:00:02:08:fe:80", "0", true),
        device("eth2", "52:54:00:00:00:99", "3", true),
    ]
    .concat();
    files.push(("sys/class/net/eth2/bonding_slave/perm_hwaddr".into(), "52:54:00:00:00:03\n".into()));
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    assert_eq!(found(&files, &[]).network, ["52:54:00:00:00:01", "52:54:00:00:00:02", "52:54:00:00:00:03"]);
}

#[test]
fn on_a_cloud_the_instance_takes_the_place_of_its_network_cards() {
    let card = [
        ("sys/class/net/eth0/type", "1"),
        ("sys/class/net/eth0/address", "02:00:00:00:00:01"),
        ("sys/class/net/eth0/addr_assign_type", "0"),
        ("sys/class/net/eth0/device/uevent", ""),
    ];
    let cloud = [
        ("sys/class/dmi/id/sys_vendor", "Amazon EC2\n"),
        ("sys/class/dmi/id/board_asset_tag", "i-0123456789abcdef0\n"),
    ];
    assert_eq!(found(&[&card[..], &cloud].concat(), &[]).network, ["instance i-0123456789abcdef0"]);
    let other =
        [("sys/class/dmi/id/sys_vendor", "QEMU\n"), ("sys/class/dmi/id/board_asset_tag", "i-0123456789abcdef0\n")];
    assert_eq!(found(&[&card[..], &other].concat(), &[]).network, ["02:00:00:00:00:01"]);
}
