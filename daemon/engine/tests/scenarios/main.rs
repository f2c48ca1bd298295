//! The rules as stories.

#[path = "../support/mod.rs"]
mod support;

use leasehold_keys::name::Method;

#[test]
fn alloc_50_seat_scenario() {
    let mut site = support::Site::with(&["TRACKER 50"]);
    for n in 0..51 {
        site.add_user(&format!("agent-{n}"), Method::Assignable);
        let given = site.assign(true, support::user(&format!("agent-{n}")), &["I3_ACCESS_TRACKER"]);
        assert_eq!(given.is_ok(), n < 50, "{given:?}");
        site.check();
    }
}
