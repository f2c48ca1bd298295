//! Real files as seeds for the fuzz targets. They must be what the tests make, or the fuzzer would begin from refusals.

mod vendor;

use std::{fs, path::PathBuf};

use leasehold_keys::{
    activation::Activation,
    check_in::{CheckInReply, FileBeside, TimeNote},
    definition::{Application, Billing, Holder, KeyKind, MediaLevel, Role, Terms},
    digest::Sha256,
    host::HostId,
    installation::InstallationKey,
    note::Note,
    request::{self, HostRequest},
    root::Root,
    usage::{Names, UsageReceipt, plain_items, verify},
};
use vendor::{
    HOST_ID, activation, at,
    check_in::{asked, first_request, full as full_answer, good, installation, signed},
    definition, grant, host, hybrid_root, issuing, now, pq, root, sign, signed_root,
};

/// A file in which every field occurs.
fn full() -> Activation {
    let mut file = activation();
    let label = |text: &str| text.parse().ok();
    file.system_type = label("Media Server Based");
    file.companion_of = label("CIC");
    file.maintenance_end = Some(at("2027-06-30T00:00:00Z"));
    file.re_register = Some(at("2027-10-01T00:00:00Z"));
    file.ramp = Some(at("2027-01-01T00:00:00Z"));
    file.grace_days = Some(30);
    file.check_in_endpoint = Some("https://licenses.acme.example/check-in".into());
    file.usage_destination = Some("https://licenses.acme.example/usage".into());
    file.supersedes.insert(leasehold_keys::activation::Superseded { license_id: file.license_id, sequence: 11 });
    file.hosts[0].machine_name = label("srv-17");
    file.hosts.push(leasehold_keys::activation::HostLine {
        role: leasehold_keys::activation::HostRole::Switchover,
        ..host()
    });
    file.parts.push(leasehold_keys::activation::Part {
        number: "SW-001-4.0-AL04".parse().unwrap(),
        description: "A \"part\" with \\ and '".parse().unwrap(),
        assigned: 5,
        pooled: 25,
    });
    let mut key = definition("I3_ACCESS_ACD_MEDIA_1", KeyKind::Access, &[Holder::User, Holder::Station]);
    key.title = "ACD media, one type".parse().unwrap();
    let other = || ["I3_ACCESS_CLIENT".parse().unwrap()].into();
    (key.includes, key.requires, key.replaces) = (other(), other(), other());
    key.application = Some(Application { name: "CIC".parse().unwrap(), several: true });
    key.role = Some(Role::Client);
    key.group = label("users");
    key.terms = Terms::Timed;
    key.billing = Billing::AddOn("Speech".parse().unwrap());
    (key.supervisor, key.call_port) = (true, true);
    key.level = Some(MediaLevel::One);
    key.follows = Some("I3_ACCESS_CLIENT".parse().unwrap());
    key.aliases = ["13_ACCESS_ACD_MEDIA_1".parse().unwrap()].into();
    file.definitions.push(key);
    file.grants.push(grant("I3_ACCESS_ACD_MEDIA_1", 5));
    file
}

/// The plain content of the worked example in `FORMAT.md`, and one item of each further kind.
fn usage_content() -> Vec<u8> {
    let mut content = vec![0x01, 4];
    content.extend(b"john");
    content.extend([0x03, 1, b'K', 0x04, 1, 0, 0x10, 9, 0, 1, 0, 0x11, 0xc0, 0xa9, 0x07, 0, 1, 0]);
    content.extend([0x03, 1, b'L', 0x04, 2, 0, 1, 0x13, 2, 0, 1, 1, 0x14, 1, 1, 2, b'o', b'k', 0x12, 2, 0, 0, 1]);
    assert_eq!(plain_items(Names::Plain, now(), &[&content]).map(|items| items.len()), Ok(5));
    content
}

fn usage_receipt() -> String {
    let file = include_bytes!("usage-vectors/good-closed.usg");
    let name = verify(file).unwrap().name();
    let (sha256, size) = (Sha256::of(file), u32::try_from(file.len()).unwrap());
    let text = UsageReceipt { license_id: activation().license_id, name, sha256, size, received: now() }.render();
    assert!(UsageReceipt::parse(&text).is_ok());
    text
}

fn reply() -> Vec<u8> {
    let answer = String::from_utf8(signed(&good())).unwrap();
    let files = vec![FileBeside { name: "one.i3lic".to_owned(), note: "a file\n".to_owned() }];
    let reply =
        CheckInReply { answer, roots: vec![String::from_utf8(signed_root(&root(), &["a", "b"])).unwrap()], files };
    let bytes = reply.write().unwrap();
    assert_eq!(CheckInReply::read(&bytes), Ok(reply));
    bytes
}

#[test]
fn the_seeds_of_the_fuzz_targets_are_good_files() {
    let hybrid = sign(&full().render(), &[&issuing(), &pq("acme.example/issuing-2026")]);
    let request = request::make(
        &InstallationKey::from_seed([1; 32]).unwrap(),
        host().id,
        "srv-17".parse().unwrap(),
        "CIC".parse().ok(),
        now(),
    )
    .unwrap();
    assert_eq!(Activation::read_unverified(&hybrid), Ok(full()));
    assert!(HostRequest::verify(request.as_bytes()).is_ok());
    assert!(Root::parse(&hybrid_root().render()).is_ok());
    assert!(Note::parse(&hybrid).is_ok() && HOST_ID.parse::<HostId>().is_ok());
    let seeds = [
        ("note/activation", hybrid),
        ("note/root", signed_root(&root(), &["a", "b"])),
        ("activation/small", activation().render().into_bytes()),
        ("activation/full", full().render().into_bytes()),
        ("root/one", root().render().into_bytes()),
        ("root/hybrid", hybrid_root().render().into_bytes()),
        ("host_id/one", HOST_ID.trim().into()),
        ("request/one", request.into_bytes()),
        ("usage_file/closed", include_bytes!("usage-vectors/good-closed.usg").to_vec()),
        ("usage_file/torn", include_bytes!("usage-vectors/torn-tail.usg").to_vec()),
        ("usage_file/edited", include_bytes!("usage-vectors/record-edited.usg").to_vec()),
        ("usage_content/day", usage_content()),
        ("check_in_request/full", asked().bytes().to_vec()),
        ("check_in_request/first", first_request().sign(&installation()).unwrap().bytes().to_vec()),
        ("check_in_answer/good", good().render().into_bytes()),
        ("check_in_answer/full", full_answer().render().into_bytes()),
        ("check_in_answer/time", TimeNote { time: now() }.render().into_bytes()),
        ("check_in_reply/one", reply()),
        ("usage_receipt/one", usage_receipt().into_bytes()),
    ];
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds");
    for (name, bytes) in seeds {
        let path = folder.join(name);
        if std::env::var_os("LEASEHOLD_WRITE_VECTORS").is_some() {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, &bytes).unwrap();
        }
        assert!(fs::read(&path).unwrap() == bytes, "{name} differs from what the tests make");
    }
}
