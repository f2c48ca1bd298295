//! The identity from one start to the next, and hosts compared with it.

use std::{fs, os::unix::fs::PermissionsExt as _};

use leasehold_keys::request::HostRequest;
use tempfile::TempDir;

use super::*;

pub(crate) fn facts(platform: &str) -> HostFacts {
    HostFacts {
        platform: Some(platform.to_owned()),
        system: Some("5e8d7f".to_owned()),
        disk: Some("wwn-0x5000".to_owned()),
        installation: None,
        network: vec!["02:42:ac:11:00:02".to_owned()],
    }
}

pub(crate) fn open(dir: &TempDir, facts: HostFacts) -> Identity {
    Identity::with_facts(dir.path(), facts, "acd-1".parse().unwrap()).unwrap()
}

pub(crate) fn line(role: HostRole, id: &HostId) -> HostLine {
    HostLine { role, id: id.clone(), need: 3, machine_name: None }
}

#[test]
fn what_is_lost_or_damaged_is_told() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(Identity::missing_key(dir.path()), Some(dir.path().join("installation.key")));
    open(&dir, facts("4c4c4544-0051-4810-8052-b4c04f4d3132"));
    assert_eq!(Identity::missing_key(dir.path()), None);
    let path = dir.path().join("host-id.json");
    fs::write(&path, "{").unwrap();
    let again = || Identity::with_facts(dir.path(), facts(""), "acd-1".parse().unwrap());
    let fault = again().unwrap_err();
    assert!(fault.to_string().contains("Move it away"), "{fault}");
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    let fault = again().unwrap_err();
    assert!(matches!(fault, IdentityFault::Damaged { .. }), "{fault}");
}

#[test]
fn key_and_host_id_are_made_once() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(&dir, facts("4c4c4544-0051-4810-8052-b4c04f4d3132"));
    let again = open(&dir, facts("4c4c4544-0051-4810-8052-b4c04f4d3132"));
    assert_eq!(first.installation_id(), again.installation_id());
    assert_eq!(first.host_id(), again.host_id());
    for file in ["installation.key", "host-id.json"] {
        let mode = fs::metadata(dir.path().join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
}

#[test]
fn a_changed_fact_changes_its_own_part_of_the_id_only() {
    let dir = tempfile::tempdir().unwrap();
    let before = open(&dir, facts("4c4c4544-0051-4810-8052-b4c04f4d3132")).host_id().clone();
    let after = open(&dir, facts("4c4c4544-0052-4810-8052-b4c04f4d3132"));
    assert_ne!(before, *after.host_id());
    assert_eq!(before.salt(), after.host_id().salt());
    assert_eq!(after.find(&[line(HostRole::Primary, &before)]), HostFinding::Primary);
    assert!(after.offers_rebaseline(&[line(HostRole::Primary, &before)]));
}

#[test]
fn hosts_are_found_by_role() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let own = open(&here, facts("4c4c4544-0051-4810-8052-b4c04f4d3132"));
    let strange = HostFacts {
        platform: Some("9999aaaa-0001-4810-8052-b4c04f4d3132".into()),
        disk: Some("wwn-0x6000".into()),
        network: vec!["02:42:ac:11:00:99".into()],
        ..facts("")
    };
    let other = open(&there, strange);
    assert_eq!(own.find(&[]), HostFinding::Unbound);
    let pair = [line(HostRole::Primary, other.host_id()), line(HostRole::Switchover, own.host_id())];
    assert_eq!(own.find(&pair), HostFinding::Switchover);
    assert_eq!(other.find(&pair), HostFinding::Primary);
    let HostFinding::Other(words) = own.find(&pair[..1]) else { panic!("another machine's file was taken") };
    for part in
        ["1 of 5 facts are the same here and 3 are needed", "platform changed", "system same", "network changed"]
    {
        assert!(words.contains(part), "{words}");
    }
}

#[test]
fn comparisons_are_kept_and_a_damaged_cache_is_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    let identity = open(&dir, facts("4c4c4544-0051-4810-8052-b4c04f4d3132"));
    let own = [line(HostRole::Primary, identity.host_id())];
    assert_eq!(identity.find(&own), HostFinding::Primary);
    let cache = dir.path().join("host-verdicts.json");
    let again = open(&dir, facts("4c4c4544-0051-4810-8052-b4c04f4d3132"));
    assert_eq!(again.verdicts.lock().unwrap().len(), 1);
    fs::write(&cache, b"{").unwrap();
    let third = open(&dir, facts("4c4c4544-0051-4810-8052-b4c04f4d3132"));
    assert_eq!(third.find(&own), HostFinding::Primary);
    assert!(fs::read(&cache).unwrap().len() > 1);
}

#[test]
fn a_damaged_host_id_or_a_key_that_others_read_stops_the_start() {
    let dir = tempfile::tempdir().unwrap();
    open(&dir, facts("4c4c4544-0051-4810-8052-b4c04f4d3132"));
    let key = dir.path().join("installation.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let again =
        || Identity::with_facts(dir.path(), facts("4c4c4544-0051-4810-8052-b4c04f4d3132"), "acd-1".parse().unwrap());
    assert!(matches!(again(), Err(IdentityFault::Key(KeyFileFault::Mode { .. }))));
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(dir.path().join("host-id.json"), b"?").unwrap();
    assert!(matches!(again(), Err(IdentityFault::Damaged { .. })));
}

#[test]
fn missing_facts_are_told_and_never_shown() {
    let dir = tempfile::tempdir().unwrap();
    let identity = open(&dir, HostFacts { platform: None, ..facts("") });
    let factors = identity.factors();
    assert_eq!(factors.iter().filter(|factor| factor.present).count(), 4);
    let platform = &factors[0];
    assert!(
        platform.factor == Factor::Platform && !platform.present && platform.message.contains("collect-host-facts")
    );
}

#[test]
fn a_new_baseline_is_offered_only_where_it_would_differ() {
    let dir = tempfile::tempdir().unwrap();
    let bare = HostFacts { platform: None, ..facts("") };
    let before = open(&dir, bare.clone());
    let bound = [line(HostRole::Primary, before.host_id())];
    assert_eq!((before.find(&bound), before.offers_rebaseline(&bound)), (HostFinding::Primary, false));
    let after = open(&dir, facts("4c4c4544-0051-4810-8052-b4c04f4d3132"));
    assert_eq!((after.find(&bound), after.offers_rebaseline(&bound)), (HostFinding::Primary, true));
}

#[test]
fn a_request_note_is_signed_by_the_installation() {
    let dir = tempfile::tempdir().unwrap();
    let identity = open(&dir, facts("4c4c4544-0051-4810-8052-b4c04f4d3132"));
    let now = "2026-11-22T04:19:00Z".parse().unwrap();
    let note = identity.request_note(Some("CIC".parse().unwrap()), None, now).unwrap();
    let request = HostRequest::verify(note.as_bytes()).unwrap();
    assert_eq!(request.installation_id(), identity.installation_id());
    assert_eq!((&request.host_id, request.machine_name.as_str()), (identity.host_id(), "acd-1"));
}

mod the_facts_file {
    use super::super::facts_file::{self, FactsFileFault, fill_in};
    use super::*;

    #[test]
    fn is_written_for_one_reader_and_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("host-facts.json");
        let written = facts_file::collect_to(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(facts_file::read(&path).unwrap(), written);
    }

    #[test]
    fn replaces_a_link_and_leaves_its_target_alone() {
        let dir = tempfile::tempdir().unwrap();
        let (target, path) = (dir.path().join("target"), dir.path().join("host-facts.json"));
        fs::write(&target, b"precious").unwrap();
        std::os::unix::fs::symlink(&target, &path).unwrap();
        assert!(matches!(facts_file::read(&path), Err(FactsFileFault::Unreadable(_))));
        facts_file::collect_to(&path).unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"precious");
        assert!(fs::symlink_metadata(&path).unwrap().is_file());
    }

    #[test]
    fn is_not_believed_where_others_may_write_it_or_it_is_something_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("host-facts.json");
        facts_file::collect_to(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o622)).unwrap();
        assert!(matches!(facts_file::read(&path), Err(FactsFileFault::NotTrusted { mode: 0o622, .. })));
        for wrong in [&b"{}x"[..], b"{\"platfrom\": \"x\"}", b""] {
            fs::write(&path, wrong).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            assert!(matches!(facts_file::read(&path), Err(FactsFileFault::Malformed(_))), "{wrong:?}");
        }
        assert!(matches!(facts_file::read(&dir.path().join("gone")), Err(FactsFileFault::Unreadable(_))));
    }

    /// 02, Host IDs: the privileged step tells what the daemon cannot read, and nothing else.
    #[test]
    fn fills_in_what_the_daemon_cannot_read_itself() {
        let dir = tempfile::tempdir().unwrap();
        let collected = HostFacts {
            platform: Some("9999aaaa-0001-4810-8052-b4c04f4d3132".into()),
            system: Some("another machine".into()),
            disk: Some("another disk".into()),
            installation: None,
            network: vec!["02:42:ac:11:00:99".into()],
        };
        let seen = HostFacts { platform: None, ..facts("") };
        let both = fill_in(seen.clone(), collected.clone(), dir.path());
        assert_eq!(both, HostFacts { platform: collected.platform.clone(), ..seen.clone() });
        assert_eq!(fill_in(HostFacts::default(), collected.clone(), dir.path()), collected);
        assert_eq!(fill_in(facts("4c4c4544"), collected, dir.path()), facts("4c4c4544"));
    }

    /// 02, Host IDs: on a cloud the network fact is the instance ID, which one cloud shows to root alone.
    #[test]
    fn tells_the_instance_that_a_cloud_shows_to_root_alone() {
        let dir = tempfile::tempdir().unwrap();
        let dmi = dir.path().join("sys/class/dmi/id");
        fs::create_dir_all(&dmi).unwrap();
        fs::write(dmi.join("sys_vendor"), "Google\n").unwrap();
        let instance = vec!["instance GoogleCloud-1".to_owned()];
        let collected = HostFacts { network: instance.clone(), ..HostFacts::default() };
        assert_eq!(fill_in(facts(""), collected.clone(), dir.path()).network, instance);
        fs::write(dmi.join("product_serial"), "GoogleCloud-2\n").unwrap();
        assert_eq!(fill_in(facts(""), collected, dir.path()).network, facts("").network);
    }
}
