//! Bills of days that a person can follow.

use leasehold_keys::{
    activation::LicenseId,
    installation::{InstallationId, InstallationKey},
    name::{KeyName, Label},
    time::{HOUR_MS, SECOND_MS, WallTime},
    usage::{Item, KeySet, Names, PseudonymKeyId, Remark, RemarkCode, User},
};

use super::*;
use crate::catalog::Catalog;

pub(super) const CLIENT: &str = "I3_CLIENT_ACCESS";
pub(super) const MEDIA_1: &str = "I3_ACCESS_ACD_MEDIA_1";
pub(super) const MINUTE_MS: i64 = 60 * SECOND_MS;

pub(super) fn time(text: &str) -> WallTime {
    text.parse().unwrap()
}

pub(super) fn keys(names: &[&str]) -> KeySet {
    names.iter().map(|name| name.parse::<KeyName>().unwrap()).collect()
}

pub(super) fn user(name: &str) -> User {
    User::Plain(name.parse().unwrap())
}

pub(super) fn installation(seed: u8) -> InstallationId {
    InstallationKey::from_seed([seed; 32]).unwrap().id()
}

pub(super) fn tariff() -> Tariff {
    let catalog = Catalog::pureconnect();
    Tariff::new(catalog.keys())
}

pub(super) fn add_on(name: &str) -> Category {
    Category::AddOn(name.parse::<Label>().unwrap())
}

fn logon(at: &str, who: &str, counter: u32, applied: &[&str]) -> Item {
    Item::Logon { at: time(at), user: user(who), counter, keys: keys(applied) }
}

fn logoff(at: &str, who: &str, counter: u32, applied: &[&str]) -> Item {
    Item::Logoff { at: time(at), user: user(who), counter, keys: keys(applied) }
}

fn present(since: &str, who: &str, counter: u32, applied: &[&str]) -> Item {
    Item::Present { since: time(since), user: user(who), counter, keys: keys(applied) }
}

/// November 2026 in UTC.
fn november() -> Billing {
    billing("2026-11", "UTC")
}

fn billing(period: &str, zone: &str) -> Billing {
    let zone = jiff::tz::TimeZone::get(zone).unwrap();
    Billing::new(LicenseId(uuid::Uuid::from_u128(7)), period.parse().unwrap(), &zone, tariff())
}

/// A file of one installation.
struct File<'a> {
    of: u8,
    segment: u32,
    continues: bool,
    start: &'a str,
    /// None: damaged.
    end: Option<&'a str>,
}

impl<'a> File<'a> {
    fn day(segment: u32, start: &'a str, end: &'a str) -> Self {
        Self { of: 1, segment, continues: segment > 1, start, end: Some(end) }
    }

    fn take(self, billing: &mut Billing, items: &[Item]) {
        let mut file = billing.open(Opening {
            installation: installation(self.of),
            segment: self.segment,
            continues: self.continues,
            start: time(self.start),
            names: Names::Plain,
        });
        file.take(items);
        file.close(self.end.map(time), self.end.is_none());
    }
}

/// The bill of one whole day's items.
fn day(items: &[Item]) -> Bill {
    let mut billing = november();
    File::day(1, "2026-11-02T00:00:00Z", "2026-11-03T00:00:00Z").take(&mut billing, items);
    billing.finish(time("2026-11-03T00:00:00Z"))
}

fn used(bill: &Bill) -> Vec<(String, u64, u64, u64)> {
    let rows = bill.counts.categories.iter().filter(|(_, count)| count.users > 0 || count.user_ms > 0);
    rows.map(|(category, count)| {
        (category.to_string(), count.users, count.peak, count.user_ms / MINUTE_MS.unsigned_abs())
    })
    .collect()
}

/// Category, distinct users, peak, minutes.
fn rows(expected: &[(&str, u64, u64, u64)]) -> Vec<(String, u64, u64, u64)> {
    expected.iter().map(|(category, users, peak, minutes)| ((*category).to_owned(), *users, *peak, *minutes)).collect()
}

#[test]
fn john_smith_is_one_agent_with_recorder_from_8_to_half_past_four() {
    let held = [CLIENT, MEDIA_1, "I3_ACCESS_RECORDER"];
    let bill = day(&[
        logon("2026-11-02T08:00:00Z", "john.smith", 1, &held),
        logon("2026-11-02T08:30:00Z", "john.smith", 2, &held),
        logoff("2026-11-02T15:00:00Z", "john.smith", 1, &held),
        logon("2026-11-02T15:30:00Z", "john.smith", 2, &held),
        logoff("2026-11-02T16:00:00Z", "john.smith", 1, &held),
        logoff("2026-11-02T16:30:00Z", "john.smith", 0, &held),
    ]);
    assert_eq!(used(&bill), rows(&[("Agent", 1, 1, 510), ("Recorder", 1, 1, 510)]));
    assert_eq!((bill.counts.anyone.users, bill.counts.anyone.user_ms / 60_000), (1, 510));
    assert_eq!(bill.counts.anyone.peak_at, Some(time("2026-11-02T08:00:00Z")));
    assert!(bill.lacks.is_empty() && bill.so_far, "{bill:?}");
}

#[test]
fn tina_sam_and_jane_get_their_categories() {
    let jane = [CLIENT, MEDIA_1, "I3_ACCESS_ACD_MEDIA_3_PLUS", "I3_ACCESS_FEEDBACK"];
    let bill = day(&[
        logon("2026-11-02T08:00:00Z", "tina", 1, &[CLIENT]),
        logon("2026-11-02T09:00:00Z", "sam", 1, &[CLIENT, MEDIA_1]),
        logon("2026-11-02T10:00:00Z", "jane", 1, &jane),
        logoff("2026-11-02T11:00:00Z", "tina", 0, &[CLIENT]),
        logoff("2026-11-02T11:00:00Z", "sam", 0, &[CLIENT, MEDIA_1]),
        logoff("2026-11-02T11:00:00Z", "jane", 0, &jane),
    ]);
    let expected =
        [("Business User", 1, 1, 180), ("Agent", 2, 2, 180), ("Feedback", 1, 1, 60), ("Multi Channel", 1, 1, 60)];
    assert_eq!(used(&bill), rows(&expected));
    assert_eq!(bill.counts.categories[&Category::Agent].peak_at, Some(time("2026-11-02T10:00:00Z")));
    assert_eq!(bill.counts.anyone.peak, 3);
}

#[test]
fn every_add_on_of_the_table_makes_an_agent_with_its_category() {
    // The printing's 13_ is read as I3_ in some rows and as an alias in others; both spellings count.
    let table: [(&str, &[&str]); 12] = [
        ("Analyzer", &["I3_ACCESS_ANALYZER"]),
        ("CX Insights", &["I3_ACCESS_ANALYTICS_CORE"]),
        ("Dialer", &["I3_ACCESS_DIALER_ADDON"]),
        ("Feedback", &["I3_ACCESS_FEEDBACK"]),
        ("Multi Channel", &["I3_ACCESS_ACD_MEDIA_3_PLUS"]),
        ("Quality Manager", &["I3_ACCESS_RECORDER_QUALITYMONITORING", "I3_ACCESS_RECORDER_QUALITYMONITORING_AGENT"]),
        ("Recorder", &["13_ACCESS_RECORDER", "I3_ACCESS_RECORDER"]),
        (
            "Salesforce Agent",
            &[
                "13_LICENSE_SALESFORCE",
                "13_LICENSE_SALESFORCE_BUSINESSUSER",
                "I3_LICENSE_SALESFORCE",
                "I3_LICENSE_SALESFORCE_BUSINESSUSER",
            ],
        ),
        ("Social Media ACD", &["I3_ACCESS_ACD_SOCIAL_MEDIA"]),
        (
            "Supervisor",
            &[
                "I3_ACCESS_WORKGROUP_SUPERVISOR_PLUGIN",
                "I3_ACCESS_DIALER_SUPERVISOR_PLUS",
                "I3_ACCESS_DIALER_SUPERVISOR_PLUGIN",
                "I3_ACCESS_HISTORICAL_REPORT_SUPERVISOR_PLUGIN",
                "I3_ACCESS_REPORT_ASSISTANT_SUPERVISOR_PLUGIN",
                "I3_ACCESS_SYSTEM_STATUS_SUPERVISOR_PLUGIN",
            ],
        ),
        ("Web Portal Agent", &["13_ACCESS_IWP_USER_AGENT", "I3_ACCESS_IWP_USER_AGENT"]),
        ("Web Portal Supervisor", &["I3_ACCESS_IWP_USER_ENTERPRISE"]),
    ];
    let tariff = tariff();
    for (category, names) in table {
        for name in names {
            let expected = [Category::Agent, add_on(category)].into();
            assert_eq!(tariff.categories(&keys(&[name])), expected, "{name}");
            assert_eq!(tariff.categories(&keys(&[CLIENT, name])), expected, "{name} with the client");
        }
    }
    // One user with one key of each: every category once, and no business user.
    let one_of_each: Vec<&str> = table.iter().map(|(_, names)| names[0]).chain([CLIENT]).collect();
    let bill = day(&[
        logon("2026-11-02T08:00:00Z", "all", 1, &one_of_each),
        logoff("2026-11-02T09:00:00Z", "all", 0, &one_of_each),
    ]);
    let mut expected = vec![("Business User", 0), ("Agent", 1)];
    expected.extend(table.iter().map(|(category, _)| (*category, 1)));
    let found: Vec<(String, u64)> =
        bill.counts.categories.iter().map(|(category, count)| (category.to_string(), count.users)).collect();
    let expected: Vec<(String, u64)> = expected.into_iter().map(|(name, count)| (name.to_owned(), count)).collect();
    assert_eq!(found, expected);
    // Keys that are no one's category, and keys that nobody knows.
    assert!(tariff.categories(&keys(&["I3_LICENSE_BASIC_STATION", "NOBODY_KNOWS"])).is_empty());
    assert_eq!(tariff.categories(&keys(&["I3_ACCESS_SUPERVISOR_IPAD"])), [Category::Agent].into());
}

#[test]
fn an_agent_at_any_moment_of_the_period_is_no_business_user_of_it() {
    let mut billing = billing("2026-11", "UTC");
    File::day(1, "2026-11-02T00:00:00Z", "2026-11-03T00:00:00Z").take(
        &mut billing,
        &[
            logon("2026-11-02T08:00:00Z", "tina", 1, &[CLIENT]),
            logon("2026-11-02T08:00:00Z", "sam", 1, &[CLIENT]),
            Item::KeysChanged {
                at: time("2026-11-02T09:00:00Z"),
                user: user("sam"),
                counter: 1,
                keys: keys(&[CLIENT, MEDIA_1]),
            },
            logoff("2026-11-02T09:01:00Z", "sam", 0, &[CLIENT, MEDIA_1]),
            logoff("2026-11-02T10:00:00Z", "tina", 0, &[CLIENT]),
        ],
    );
    let bill = billing.finish(time("2026-11-03T00:00:00Z"));
    // Until nine both were business users at that moment.
    assert_eq!(used(&bill), rows(&[("Business User", 1, 2, 180), ("Agent", 1, 1, 1)]));
}

#[test]
fn a_late_logoff_takes_back_what_was_told_after_it() {
    let both = [CLIENT, MEDIA_1];
    let bill = day(&[
        logon("2026-11-02T08:00:00Z", "a", 1, &[CLIENT]),
        Item::KeysChanged { at: time("2026-11-02T09:30:00Z"), user: user("a"), counter: 1, keys: keys(&both) },
        // Last renewed at nine, found out later.
        logoff("2026-11-02T09:00:00Z", "a", 0, &both),
        // A second session, begun after the first had gone silent.
        logon("2026-11-02T08:00:00Z", "b", 1, &[CLIENT]),
        logon("2026-11-02T09:30:00Z", "b", 2, &[CLIENT]),
        logoff("2026-11-02T09:40:00Z", "b", 1, &[CLIENT]),
        logoff("2026-11-02T09:00:00Z", "b", 0, &[CLIENT]),
        // Never renewed: it was there, if only just.
        logon("2026-11-02T12:00:00Z", "c", 1, &both),
        logoff("2026-11-02T12:00:00Z", "c", 0, &both),
    ]);
    assert_eq!(used(&bill), rows(&[("Business User", 2, 2, 60 + 60 + 10), ("Agent", 1, 1, 0)]));
    assert_eq!(bill.counts.categories[&Category::Agent].user_ms, 1);
}

#[test]
fn no_interval_is_negative_where_the_clock_was_set_back() {
    let bill = day(&[
        logon("2026-11-02T08:00:00Z", "a", 1, &[CLIENT]),
        Item::Remark(Remark { at: time("2026-11-02T07:00:00Z"), code: RemarkCode::CLOCK_SET, text: "set".into() }),
        logoff("2026-11-02T07:00:00Z", "a", 0, &[CLIENT]),
        logon("2026-11-02T07:10:00Z", "a", 1, &[CLIENT]),
        logoff("2026-11-02T07:20:00Z", "a", 0, &[CLIENT]),
    ]);
    assert_eq!(used(&bill), rows(&[("Business User", 1, 1, 10)]));
    assert_eq!(bill.remarks.len(), 1);
}

#[test]
fn a_file_that_continues_restates_and_one_after_a_gap_begins_anew() {
    let mut billing = november();
    File::day(1, "2026-11-01T00:00:00Z", "2026-11-02T00:00:00Z")
        .take(&mut billing, &[logon("2026-11-01T23:00:00Z", "a", 1, &[CLIENT])]);
    File::day(2, "2026-11-02T00:00:00Z", "2026-11-03T00:00:00Z").take(
        &mut billing,
        &[
            present("2026-11-01T23:00:00Z", "a", 1, &[CLIENT]),
            // Expired: last renewed the day before.
            logoff("2026-11-01T23:30:00Z", "a", 0, &[CLIENT]),
            logon("2026-11-02T23:00:00Z", "b", 1, &[CLIENT]),
        ],
    );
    // File 3 is missing.
    File { continues: false, ..File::day(4, "2026-11-04T00:00:00Z", "2026-11-05T00:00:00Z") }.take(
        &mut billing,
        &[present("2026-11-02T23:00:00Z", "b", 1, &[CLIENT]), logoff("2026-11-04T01:00:00Z", "b", 0, &[CLIENT])],
    );
    let bill = billing.finish(time("2026-11-05T00:00:00Z"));
    assert_eq!(used(&bill), rows(&[("Business User", 2, 1, 30 + 60 + 60)]));
    let lack = &bill.lacks[0];
    assert_eq!(bill.lacks.len(), 1, "{:?}", bill.lacks);
    assert_eq!((lack.kind, lack.segments), (LackKind::Missing, Some((3, 3))));
    assert_eq!((lack.first_day.to_string(), lack.last_day.to_string()), ("2026-11-03".into(), "2026-11-03".into()));
    assert_eq!(bill.installations[0].segments, (1, 4));
    assert_eq!(bill.installations[0].files, 3);
}

#[test]
fn who_is_not_restated_is_gone_and_a_damaged_file_counts_up_to_its_damage() {
    let mut billing = november();
    File::day(1, "2026-11-01T00:00:00Z", "2026-11-02T00:00:00Z")
        .take(&mut billing, &[logon("2026-11-01T23:00:00Z", "a", 1, &[CLIENT])]);
    let mut damaged = File::day(2, "2026-11-02T00:00:00Z", "2026-11-03T00:00:00Z");
    damaged.end = None;
    damaged.take(
        &mut billing,
        &[logon("2026-11-02T08:00:00Z", "b", 1, &[CLIENT]), logon("2026-11-02T09:00:00Z", "c", 1, &[CLIENT])],
    );
    File::day(3, "2026-11-03T00:00:00Z", "2026-11-04T00:00:00Z").take(&mut billing, &[]);
    let bill = billing.finish(time("2026-11-04T00:00:00Z"));
    // c was there at nine, and that is all that is known of c.
    assert_eq!(used(&bill), rows(&[("Business User", 3, 1, 60 + 60)]));
    assert_eq!(bill.lacks.len(), 1, "{:?}", bill.lacks);
    assert_eq!((bill.lacks[0].kind, bill.lacks[0].segments), (LackKind::Damaged, Some((2, 2))));
    assert_eq!(bill.days(LackKind::Damaged).len(), 1);
}

#[test]
fn one_user_at_two_servers_is_one_user_with_the_keys_of_both() {
    let mut billing = november();
    File::day(1, "2026-11-02T00:00:00Z", "2026-11-03T00:00:00Z").take(
        &mut billing,
        &[logon("2026-11-02T08:00:00Z", "a", 1, &[CLIENT]), logoff("2026-11-02T10:00:00Z", "a", 0, &[CLIENT])],
    );
    File { of: 2, ..File::day(1, "2026-11-02T08:30:00Z", "2026-11-03T00:00:00Z") }.take(
        &mut billing,
        &[
            logon("2026-11-02T09:00:00Z", "a", 1, &[CLIENT, MEDIA_1]),
            logoff("2026-11-02T11:00:00Z", "a", 0, &[CLIENT, MEDIA_1]),
        ],
    );
    let bill = billing.finish(time("2026-11-03T00:00:00Z"));
    assert_eq!(used(&bill), rows(&[("Business User", 0, 1, 60), ("Agent", 1, 1, 120)]));
    assert_eq!((bill.counts.anyone.users, bill.counts.anyone.peak), (1, 1));
    assert_eq!(bill.installations.len(), 2);
    assert!(bill.lacks.is_empty());
}

#[test]
fn users_of_two_pseudonym_keys_are_told() {
    let mut billing = november();
    for (segment, key) in [(1, 1), (2, 2)] {
        let mut file = billing.open(Opening {
            installation: installation(1),
            segment,
            continues: segment > 1,
            start: time("2026-11-02T00:00:00Z"),
            names: Names::Pseudonyms(PseudonymKeyId([key; 8])),
        });
        file.take(&[logon("2026-11-02T08:00:00Z", "a", 1, &[CLIENT])]);
        file.close(Some(time("2026-11-02T12:00:00Z")), false);
    }
    assert_eq!(billing.finish(time("2026-11-03T00:00:00Z")).names.len(), 2);
}

#[test]
fn what_is_lacking_is_told_by_day() {
    // Files from the first of all, on 5 November: nothing is lacking before; the days after the last file are.
    let mut billing = november();
    File::day(1, "2026-11-05T08:00:00Z", "2026-11-06T00:00:00Z").take(&mut billing, &[]);
    let bill = billing.clone().finish(time("2026-11-08T12:00:00Z"));
    let days = |bill: &Bill| bill.days(LackKind::Missing).iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(days(&bill), ["2026-11-06", "2026-11-07", "2026-11-08"]);
    let in_part = |bill: &Bill| {
        let days = bill.days_in_part(LackKind::Missing);
        days.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    // Whole days, as far as they have come.
    let lack = &bill.lacks[0];
    assert_eq!((lack.is_in_part(), lack.from.to_string(), lack.until), (false, "2026-11-06T00:00:00Z".into(), None));
    assert_eq!(in_part(&bill), [""; 0]);
    // Of today the morning is known; and of another day all but an hour.
    let mut today = november();
    File::day(1, "2026-11-01T00:00:00Z", "2026-11-06T09:30:00Z").take(&mut today, &[]);
    File { continues: false, ..File::day(3, "2026-11-06T10:30:00Z", "2026-11-08T12:05:00Z") }.take(&mut today, &[]);
    let bill = today.finish(time("2026-11-08T18:00:00Z"));
    assert_eq!(days(&bill), ["2026-11-06", "2026-11-08"]);
    assert_eq!(in_part(&bill), days(&bill));
    let told: Vec<_> = bill.lacks.iter().map(|lack| (lack.from, lack.until, lack.segments)).collect();
    let hour = (time("2026-11-06T09:30:00Z"), Some(time("2026-11-06T10:30:00Z")), Some((2, 2)));
    assert_eq!(told, [hour, (time("2026-11-08T12:05:00Z"), None, None)]);
    // Another server took over.
    File { of: 2, ..File::day(1, "2026-11-06T00:00:00Z", "2026-11-28T00:00:00Z") }.take(&mut billing, &[]);
    let bill = billing.finish(time("2026-12-01T00:00:00Z"));
    assert_eq!(days(&bill), [""; 0]);
    assert!(!bill.so_far);

    // Earlier files were there once; and one whose header does not quote the end of the file before.
    let mut billing = november();
    File { continues: false, ..File::day(7, "2026-10-30T00:00:00Z", "2026-10-31T00:00:00Z") }.take(&mut billing, &[]);
    File { continues: false, ..File::day(8, "2026-10-31T00:00:00Z", "2026-11-28T00:00:00Z") }.take(&mut billing, &[]);
    let bill = billing.finish(time("2026-12-01T00:00:00Z"));
    assert_eq!(days(&bill), ["2026-10-28", "2026-10-29"]);
    assert_eq!(bill.lacks[0].segments, Some((1, 6)));
    assert_eq!(bill.days(LackKind::Damaged).iter().map(ToString::to_string).collect::<Vec<_>>(), ["2026-10-31"]);

    // No file at all.
    let bill = november().finish(time("2026-12-01T00:00:00Z"));
    assert_eq!(bill.days(LackKind::Missing).len(), 31);
    assert_eq!(november().finish(time("2026-10-01T00:00:00Z")).lacks, []);
}

#[test]
fn usage_is_split_where_a_period_ends_in_the_sites_zone() {
    // From 22:00 to 02:00 in Berlin over the end of each of these periods: two hours in each of the two, whatever the
    // clocks do; agents in the first, business users in the second.
    let ends = [
        ("2026-03", "2026-04", "2026-03-27T21:00:00Z", "2026-03-27T23:00:00Z", "2026-03-28T01:00:00Z"),
        ("2026-10", "2026-11", "2026-10-27T21:00:00Z", "2026-10-27T23:00:00Z", "2026-10-28T01:00:00Z"),
        ("2026-07", "2026-08", "2026-07-27T20:00:00Z", "2026-07-27T22:00:00Z", "2026-07-28T00:00:00Z"),
        ("2028-02", "2028-03", "2028-02-27T21:00:00Z", "2028-02-27T23:00:00Z", "2028-02-28T01:00:00Z"),
    ];
    for (first, second, logs_on, changes, logs_off) in ends {
        let of = |period| {
            let mut billing = billing(period, "Europe/Berlin");
            File::day(1, logs_on, logs_off).take(
                &mut billing,
                &[
                    logon(logs_on, "a", 1, &[CLIENT, MEDIA_1]),
                    Item::KeysChanged { at: time(changes), user: user("a"), counter: 1, keys: keys(&[CLIENT]) },
                    logoff(logs_off, "a", 0, &[CLIENT]),
                ],
            );
            used(&billing.finish(time(logs_off)))
        };
        assert_eq!(of(first), rows(&[("Agent", 1, 1, 120)]), "{first}");
        assert_eq!(of(second), rows(&[("Business User", 1, 1, 120)]), "{second}");
    }
}

#[test]
fn a_whole_period_on_line_has_the_hours_of_the_zone() {
    // Logged on throughout: an hour more or less where the clocks change, a day more in a leap year.
    for (period, zone, hours) in [
        ("2026-04", "Europe/Berlin", 31 * 24 - 1),
        ("2026-11", "America/New_York", 31 * 24 + 1),
        ("2026-10", "Europe/Berlin", 30 * 24 + 1),
        ("2026-03", "UTC", 28 * 24),
        ("2028-03", "UTC", 29 * 24),
    ] {
        let mut billing = billing(period, zone);
        File::day(1, "2026-01-01T00:00:00Z", "2029-01-01T00:00:00Z")
            .take(&mut billing, &[logon("2026-01-01T00:00:00Z", "a", 1, &[CLIENT])]);
        let bill = billing.finish(time("2029-01-01T00:00:00Z"));
        assert_eq!(bill.counts.anyone.user_ms, (i64::from(hours) * HOUR_MS).unsigned_abs(), "{period} {zone}");
    }
}
