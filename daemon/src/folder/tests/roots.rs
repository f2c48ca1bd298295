//! Newer roots in the folder, and what expiry and revocation mean for the files in it.

use leasehold_keys::{
    activation::HostRole,
    dev::DevLicensor,
    note,
    root::RevokedKey,
    time::{DAY_MS, WallTime},
};

use super::{Site, accepted, refused};
use crate::{identity::tests as identity, test_site::terms, trust_store::tests::Roots};

#[test]
fn roots_are_taken_in_their_order_whatever_their_names() {
    let acme = Roots::of_seed(1);
    let mut site = Site::trusting(&acme.root(1), DevLicensor::from_seed(&[7; 32]).unwrap());
    site.put("a.i3root", &acme.root(4));
    site.put("b.I3ROOT", &acme.root(2));
    site.put("c.i3root", &acme.root(3));
    site.put("d.i3root", &acme.root(6));
    // Signed under root 1's issuing key, and needs root 4.
    let mut needs = terms(1, &[("I3_ACCESS_CLIENT", 5)]);
    needs.hosts = vec![identity::line(HostRole::Primary, site.identity.host_id())];
    needs.root_version = 4;
    let file = note::sign(&needs.render(), &[&acme.issuing]).unwrap();
    site.put("needs.i3lic", file.as_bytes());
    site.settle();
    assert_eq!(site.fate("a.i3root"), accepted());
    assert_eq!((site.fate("b.I3ROOT").0, site.fate("c.i3root").0), ("superseded", "superseded"));
    assert_eq!(site.fate("d.i3root"), refused("root-skips-version"));
    assert_eq!(site.fate("needs.i3lic"), accepted());
    assert!(site.dir.path().join("state/roots/0004.root").exists());
}

#[test]
fn an_expired_root_blocks_new_files_and_no_others() {
    let acme = Roots::of_seed(1);
    let expires: WallTime = "2026-12-22T00:00:00Z".parse().unwrap();
    let mut site = Site::trusting(&acme.root_with(1, &[], expires), DevLicensor::from_seed(&[7; 32]).unwrap());
    let sign = |site: &Site, sequence| {
        let mut terms = terms(sequence, &[("I3_ACCESS_CLIENT", 5)]);
        terms.hosts = vec![identity::line(HostRole::Primary, site.identity.host_id())];
        note::sign(&terms.render(), &[&acme.issuing]).unwrap()
    };
    site.put("old.i3lic", sign(&site, 1).as_bytes());
    site.put("runs.i3lic", sign(&site, 2).as_bytes());
    site.settle();
    // As the engine has it: the highest sequence alone.
    site.accepted.0.retain(|file| file.rank.1 == 2);
    site.wall = expires.plus_ms(DAY_MS);
    site.put("new.i3lic", sign(&site, 3).as_bytes());
    site.inspector.judge_anew();
    site.settle();
    assert_eq!(site.fate("new.i3lic"), refused("root-expired"));
    assert_eq!((site.fate("old.i3lic"), site.fate("runs.i3lic")), (accepted(), accepted()));
}

#[test]
fn a_file_of_a_revoked_key_no_longer_counts_from_its_date() {
    let acme = Roots::of_seed(1);
    let mut site = Site::trusting(&acme.root(1), DevLicensor::from_seed(&[7; 32]).unwrap());
    let mut bound = terms(1, &[("I3_ACCESS_CLIENT", 5)]);
    bound.hosts = vec![identity::line(HostRole::Primary, site.identity.host_id())];
    site.put("acme.i3lic", note::sign(&bound.render(), &[&acme.issuing]).unwrap().as_bytes());
    site.settle();
    let from = "2026-11-23T00:00:00Z".parse().unwrap();
    let revoked = RevokedKey { sha256: acme.issuing.public().sha256(), from };
    site.put("two.i3root", &acme.root_with(2, &[revoked], WallTime::PERPETUAL_END));
    site.settle();
    assert_eq!(site.fate("acme.i3lic"), accepted());
    // What an unconfirmed clock says takes no file away that counts; a new one it does not let in.
    site.wall = from;
    site.unconfirmed_ms = 1;
    bound.sequence = 2;
    site.put("new.i3lic", note::sign(&bound.render(), &[&acme.issuing]).unwrap().as_bytes());
    site.later(61_000);
    site.later(61_000);
    assert_eq!(site.fate("acme.i3lic"), accepted());
    assert_eq!(site.fate("new.i3lic"), refused("key-revoked"));
    site.unconfirmed_ms = 0;
    site.later(61_000);
    assert_eq!(site.fate("acme.i3lic"), refused("key-revoked"));
}
