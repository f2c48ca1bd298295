//! Bills against a naive oracle: it knows every session as it was, and looks at each minute by itself.

use std::collections::{BTreeMap, BTreeSet};

use leasehold_keys::{
    time::WallTime,
    usage::{Item, Names},
};
use proptest::prelude::*;

use super::{
    tests::{CLIENT, MEDIA_1, MINUTE_MS, add_on, installation, keys, tariff, user},
    *,
};

/// When minute 0 is: Berlin's period 2026-11 begins 3 hours later, and its clocks are put back before that.
const START: &str = "2026-10-27T20:00:00Z";
const PERIOD_BEGINS: i64 = 3 * 60;
const MINUTES: i64 = 12 * 60;
const HOLDINGS: [&[&str]; 5] =
    [&[CLIENT], &[CLIENT, MEDIA_1], &[CLIENT, "I3_ACCESS_RECORDER"], &[MEDIA_1], &["I3_LICENSE_BASIC_STATION"]];

/// A session as it was. Times in minutes.
#[derive(Clone, Debug)]
struct Session {
    server: u8,
    user: u8,
    held: usize,
    from: i64,
    /// Last renewal, or release.
    until: i64,
    /// When the daemon noticed the end.
    noticed: i64,
}

fn sessions() -> impl Strategy<Value = Vec<Session>> {
    let session = (0..2_u8, 0..4_u8, 0..HOLDINGS.len(), 0..MINUTES - 60, 1..300_i64, prop_oneof![Just(0), 1..90_i64])
        .prop_map(|(server, user, held, from, lasts, late)| Session {
            server,
            user,
            held,
            from,
            until: from + lasts,
            noticed: from + lasts + late,
        });
    prop::collection::vec(session, 1..24)
}

/// A file of a server: its minutes, and whether it got lost.
#[derive(Clone, Debug)]
struct File {
    from: i64,
    until: i64,
    lost: bool,
}

fn files() -> impl Strategy<Value = Vec<File>> {
    (prop::collection::btree_set(1..MINUTES, 0..6), prop::collection::vec(prop::bool::weighted(0.2), 7)).prop_map(
        |(cuts, lost)| {
            let edges: Vec<i64> = [0].into_iter().chain(cuts).chain([MINUTES]).collect();
            let files = edges.windows(2).zip(lost);
            files.map(|(edge, lost)| File { from: edge[0], until: edge[1], lost }).collect()
        },
    )
}

fn at(minute: i64) -> WallTime {
    START.parse::<WallTime>().unwrap().plus_ms(minute * MINUTE_MS)
}

/// What a daemon writes: events in the order in which it noticed them, after who is present.
fn items_of(server: u8, file: &File, sessions: &[Session]) -> Vec<(i64, Item)> {
    let own: Vec<&Session> = sessions.iter().filter(|session| session.server == server).collect();
    let mut live: Vec<&Session> = Vec::new();
    let mut items = Vec::new();
    let state = |live: &[&Session], who: u8| {
        let live: Vec<_> = live.iter().filter(|session| session.user == who).collect();
        let held: Vec<&str> = live.iter().flat_map(|session| HOLDINGS[session.held]).copied().collect();
        (u32::try_from(live.len()).unwrap(), held)
    };
    let mut opened = false;
    for minute in 0..=file.until {
        if minute == file.from {
            for who in 0..4 {
                let (counter, held) = state(&live, who);
                if counter > 0 {
                    let since = live.iter().filter(|session| session.user == who).map(|session| session.from).min();
                    items.push((
                        file.from,
                        Item::Present {
                            since: at(since.unwrap()),
                            user: user(&who.to_string()),
                            counter,
                            keys: keys(&held),
                        },
                    ));
                }
            }
            opened = true;
        }
        if minute == file.until {
            break;
        }
        for session in own.iter().filter(|session| session.noticed == minute) {
            let before = state(&live, session.user).1;
            live.retain(|other| !std::ptr::eq(*other, *session));
            let (counter, held) = state(&live, session.user);
            let held = if counter == 0 { before } else { held };
            let name = user(&session.user.to_string());
            if opened {
                items.push((
                    session.until,
                    Item::Logoff { at: at(session.until), user: name, counter, keys: keys(&held) },
                ));
            }
        }
        for session in own.iter().filter(|session| session.from == minute) {
            live.push(session);
            let (counter, held) = state(&live, session.user);
            let name = user(&session.user.to_string());
            if opened {
                items.push((minute, Item::Logon { at: at(minute), user: name, counter, keys: keys(&held) }));
            }
        }
    }
    items
}

/// Files in a row, none of them lost.
fn rows_of_files(files: &[File]) -> Vec<Vec<&File>> {
    files.split(|file| file.lost).filter(|row| !row.is_empty()).map(|row| row.iter().collect()).collect()
}

/// The keys that a user's items name for a minute. Items that change nothing left out: those of the last item told that
/// was, with all told before it in the same run, not later than the minute.
fn keys_told(items: &[(i64, Item)], who: u8, minute: i64) -> Option<BTreeSet<String>> {
    let mut runs: Vec<Vec<(i64, BTreeSet<String>)>> = vec![Vec::new()];
    for (told, item) in items.iter().filter(|(_, item)| item.user() == Some(&user(&who.to_string()))) {
        if item.counter() == Some(0) {
            runs.push(Vec::new());
            continue;
        }
        let run = runs.last_mut().unwrap();
        let keys: BTreeSet<String> = item.keys().unwrap().iter().map(ToString::to_string).collect();
        if run.last().is_some_and(|(_, last)| *last == keys) {
            continue;
        }
        let latest = run.iter().map(|(told, _)| *told).max().map_or(*told, |latest| latest.max(*told));
        run.push((latest, keys));
    }
    let begun = |run: &&Vec<(i64, BTreeSet<String>)>| run.first().is_some_and(|(told, _)| *told <= minute);
    let run = runs.iter().rfind(begun)?;
    run.iter().rfind(|(told, _)| *told <= minute).map(|(_, keys)| keys.clone())
}

/// What each user counts as in a minute, over both servers.
fn minute_by_minute(sessions: &[Session], files: &[Vec<File>; 2], minute: i64) -> BTreeMap<u8, BTreeSet<Category>> {
    let mut held: BTreeMap<u8, BTreeSet<String>> = BTreeMap::new();
    for (server, files) in (0..).zip(files) {
        for row in rows_of_files(files) {
            let (from, until) = (row[0].from, row[row.len() - 1].until);
            if !(from..until).contains(&minute) {
                continue;
            }
            let items: Vec<(i64, Item)> = row.iter().flat_map(|file| items_of(server, file, sessions)).collect();
            for session in sessions.iter().filter(|session| session.server == server) {
                // An end that is told in another row of files is not known in this one.
                let ends = if session.noticed < until { session.until } else { until };
                let told_at_all = session.from < until && session.noticed >= from;
                if told_at_all && (session.from..ends).contains(&minute) {
                    held.entry(session.user).or_default().extend(keys_told(&items, session.user, minute).unwrap());
                }
            }
        }
    }
    held.into_iter()
        .map(|(who, keys)| {
            let holds = |name: &str| keys.contains(name);
            let mut categories = BTreeSet::new();
            if holds("I3_ACCESS_RECORDER") {
                categories.insert(add_on("Recorder"));
            }
            if holds(MEDIA_1) || holds("I3_ACCESS_RECORDER") {
                categories.insert(Category::Agent);
            } else if holds(CLIENT) {
                categories.insert(Category::BusinessUser);
            }
            (who, categories)
        })
        .collect()
}

fn bill_of(sessions: &[Session], files: &[Vec<File>; 2]) -> Bill {
    let zone = jiff::tz::TimeZone::get("Europe/Berlin").unwrap();
    let license = leasehold_keys::activation::LicenseId(uuid::Uuid::from_u128(7));
    let mut billing = Billing::new(license, "2026-11".parse().unwrap(), &zone, tariff());
    for (server, files) in (0..).zip(files) {
        let mut lost = false;
        for (segment, file) in (1..).zip(files) {
            if !file.lost {
                let mut open = billing.open(Opening {
                    installation: installation(server),
                    segment,
                    continues: segment > 1 && !lost,
                    start: at(file.from),
                    names: Names::Plain,
                });
                for (_, item) in items_of(server, file, sessions) {
                    open.take(&[item]);
                }
                open.close(Some(at(file.until)), false);
            }
            lost = file.lost;
        }
    }
    billing.finish(at(MINUTES))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn a_bill_is_what_each_minute_by_itself_says(sessions in sessions(), first in files(), second in files()) {
        let files = [first, second];
        let bill = bill_of(&sessions, &files);
        let minutes: Vec<_> =
            (PERIOD_BEGINS..MINUTES).map(|minute| (minute, minute_by_minute(&sessions, &files, minute))).collect();
        let all = [Category::BusinessUser, Category::Agent, add_on("Recorder")];
        let of = |who: &BTreeMap<u8, BTreeSet<Category>>, category: &Category| -> BTreeSet<u8> {
            who.iter().filter(|(_, categories)| categories.contains(category)).map(|(who, _)| *who).collect()
        };
        let distinct = |category: &Category| -> BTreeSet<u8> {
            minutes.iter().flat_map(|(_, who)| of(who, category)).collect()
        };
        for category in &all {
            let mut users = distinct(category);
            if *category == Category::BusinessUser {
                users = users.difference(&distinct(&Category::Agent)).copied().collect();
            }
            let at_once: Vec<(i64, usize)> = minutes.iter().map(|(minute, who)| (*minute, of(who, category).len())).collect();
            let peak = at_once.iter().map(|(_, users)| *users).max().unwrap();
            let peak_at = at_once.iter().find(|(_, users)| *users == peak && peak > 0).map(|(minute, _)| at(*minute));
            let total: usize = at_once.iter().map(|(_, users)| *users).sum();
            let expected = Count {
                users: users.len() as u64,
                peak: peak as u64,
                peak_at,
                user_ms: total as u64 * MINUTE_MS.unsigned_abs(),
            };
            prop_assert_eq!(bill.counts.categories.get(category).copied().unwrap_or_default(), expected, "{}", category);
        }
        let anyone: BTreeSet<u8> = minutes.iter().flat_map(|(_, who)| who.keys().copied()).collect();
        prop_assert_eq!(bill.counts.anyone.users, anyone.len() as u64);
    }

    #[test]
    fn how_files_are_cut_changes_no_bill(sessions in sessions(), first in files(), second in files()) {
        let whole = [vec![File { from: 0, until: MINUTES, lost: false }], vec![File { from: 0, until: MINUTES, lost: false }]];
        let cut = [first, second].map(|files| files.into_iter().map(|file| File { lost: false, ..file }).collect());
        prop_assert_eq!(bill_of(&sessions, &cut).counts, bill_of(&sessions, &whole).counts);
    }
}
