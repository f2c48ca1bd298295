//! Usage files through the real daemon and the real programs (04): who was logged on comes out at the licensor as it was,
//! whatever befalls the server in between; what is done to the files is found; nothing goes out that is to stay.

use std::{
    fs,
    io::Read as _,
    net::TcpListener,
    path::{Path, PathBuf},
    process::Command,
};

use leasehold_proto::v1;
use leasehold_tests::{
    App, Ask, Daemon, Site,
    programs::{Ran, leasehold, program},
};
use serde_json::Value;

const HOUR_MS: u64 = 3_600_000;
const MINUTE_MS: u64 = 60_000;
const DAY_MS: u64 = 24 * HOUR_MS;
const CLIENT: &str = "I3_ACCESS_CLIENT";
const MEDIA: &str = "I3_ACCESS_ACD_MEDIA_1";
const RECORDER: &str = "I3_ACCESS_RECORDER";
const LOCAL: &str = "I3_FEATURE_USAGE_TRACKING_LOCAL";
const UPLOAD: &str = "I3_FEATURE_USAGE_TRACKING_UPLOAD";

/// A shell on the machine of the server, and one at the licensor's.
struct Shell<'a>(&'a Site);

impl Shell<'_> {
    fn run(&self, line: &str) -> Ran {
        leasehold(&self.0.socket(), line.split_whitespace())
    }

    fn ok(&self, line: &str) -> String {
        let ran = self.run(line);
        assert_eq!(ran.code, 0, "{line}: {ran:?}");
        ran.out
    }

    fn json(&self, line: &str) -> Value {
        let ran = self.run(&format!("{line} --json"));
        assert_eq!(ran.code, 0, "{line}: {ran:?}");
        ran.json()
    }

    /// The states of the files, the oldest first.
    fn states(&self) -> Vec<String> {
        let list = self.json("usage list");
        list["files"].as_array().unwrap().iter().map(|file| file["state"].as_str().unwrap().to_owned()).collect()
    }

    /// The reasons of what is found in the files.
    fn findings(&self) -> Vec<String> {
        let ran = self.run("usage verify --json");
        let json = ran.json();
        let found: Vec<String> =
            json["findings"].as_array().unwrap().iter().map(|one| one["reason"].as_str().unwrap().to_owned()).collect();
        assert_eq!(ran.code, if found.is_empty() { 0 } else { 12 }, "{ran:?}");
        found
    }

    /// The vendor's program; its JSON.
    fn licensor(&self, arguments: &[&str]) -> Value {
        let output = Command::new(program("licensor"))
            .env_remove("LICENSOR_DIR")
            .arg("--dir")
            .arg(self.0.dir().join("licensor"))
            .args(arguments)
            .output()
            .expect("licensor runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(output.status.success(), "{arguments:?}: {}{}", text(&output.stdout), text(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap_or_else(|fault| panic!("{fault}: {}", text(&output.stdout)))
    }

    /// What the licensor reads in the usage files of this server: `(time, event, user, sessions)`.
    fn opened(&self, from: &Path) -> Vec<(String, String, String, u64)> {
        let files = self.licensor(&["usage", "open", "--format", "json", &from.display().to_string()]);
        let mut told = Vec::new();
        for file in files.as_array().unwrap() {
            assert_eq!(file["damage"], Value::Null, "{file}");
            for item in file["items"].as_array().unwrap() {
                let text = |name: &str| item[name].as_str().unwrap_or_default().to_owned();
                let time = text("at").replace(".000", "");
                told.push((time, text("event"), text("user"), item["sessions"].as_u64().unwrap_or(0)));
            }
        }
        told
    }
}

fn usage_folder(site: &Site) -> PathBuf {
    site.state().join("usage")
}

fn usage_files(site: &Site) -> Vec<PathBuf> {
    let entries = fs::read_dir(usage_folder(site)).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|end| end == "usg")).collect();
    files.sort();
    files
}

/// A server with seats for these users, whose license asks for usage.
async fn server(site: &Site, feature: &str, users: &[&str]) -> Daemon {
    let daemon = Daemon::start(site).await;
    let admin = daemon.admin().await;
    let grants = [(CLIENT, 50), (MEDIA, 50), (RECORDER, 50), (feature, 1)];
    admin.load("base.i3lic", &site.issue(&site.order_of(&grants)).note).await;
    for user in users {
        admin.user(user, "assignable").await;
    }
    admin.give(&[CLIENT, MEDIA, RECORDER], users).await;
    daemon
}

async fn log_on(app: &App, user: &str) -> u64 {
    app.acquire(Ask::logon(user).ttl_ms(DAY_MS)).await.expect("a seat").lease_id
}

/// Waits until the files are in these states.
async fn states_when(daemon: &Daemon, expected: &[&str]) {
    let admin = daemon.admin().await;
    leasehold_tests::within(&format!("{expected:?}"), async {
        loop {
            let list = admin.calls.clone().list_usage(v1::ListUsageRequest::default()).await.unwrap().into_inner();
            let states: Vec<&str> = list.files.iter().map(|file| file.state.as_str()).collect();
            if states == expected {
                return;
            }
        }
    })
    .await;
}

/// 004's table: counters 1 2 1 2 1 0, one active span from 8:00 to 16:30, one agent with a recorder (USAGE-3).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn john_smiths_day() {
    let site = Site::new();
    let daemon = server(&site, LOCAL, &["john.smith"]).await;
    let shell = Shell(&site);
    let app = |name: &'static str| {
        let daemon = &daemon;
        async move { daemon.app(name).await.application(name) }
    };
    let (icbm, connect, desktop) = (app("ICBM").await, app("Connect").await, app("Desktop").await);
    site.advance(8 * HOUR_MS);
    let first = log_on(&icbm, "john.smith").await;
    site.advance(30 * MINUTE_MS);
    let second = log_on(&connect, "john.smith").await;
    site.advance(6 * HOUR_MS + 30 * MINUTE_MS);
    icbm.release(first).await.unwrap();
    site.advance(30 * MINUTE_MS);
    let third = log_on(&desktop, "john.smith").await;
    site.advance(30 * MINUTE_MS);
    connect.release(second).await.unwrap();
    site.advance(30 * MINUTE_MS);
    desktop.release(third).await.unwrap();

    // Today's file holds it as soon as it is asked to, and is readable while it is open.
    shell.ok("usage seal");
    assert!(shell.ok("usage seal").contains("nothing waits"));
    let told: Vec<(String, String, u64)> =
        shell.opened(&usage_folder(&site)).into_iter().map(|(at, event, _, sessions)| (at, event, sessions)).collect();
    let row = |at: &str, event: &str, sessions| (format!("2030-01-01T{at}:00Z"), event.to_owned(), sessions);
    let expected = [
        row("08:00", "logon", 1),
        row("08:30", "logon", 2),
        row("15:00", "logoff", 1),
        row("15:30", "logon", 2),
        row("16:00", "logoff", 1),
        row("16:30", "logoff", 0),
    ];
    assert_eq!(told, expected);
    let list = shell.json("usage list");
    let today = &list["files"].as_array().unwrap()[list["files"].as_array().unwrap().len() - 1];
    assert_eq!((&today["day"], &today["events"], &today["state"]), (&"2030-01-01".into(), &6.into(), &"open".into()));
    assert_eq!(list["usage"]["backlog"], 0);
    assert_eq!(shell.findings(), Vec::<String>::new());

    // The licensor's bill: one user, one agent with a recorder, 8.5 hours.
    assert_eq!(daemon.stop().await.code, Some(0));
    let folder = usage_folder(&site).display().to_string();
    let bill = shell.licensor(&["--json", "usage", "bill", "--period", "2030-01", "--time-zone", "UTC", &folder]);
    let text = bill.to_string();
    assert!(text.contains("8.5") || text.contains("30600000"), "{bill}");
}

/// One file a day and one more after each start (USAGE-4), each opening with who is there (USAGE-5).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn midnight_and_a_restart() {
    let site = Site::new();
    let daemon = server(&site, LOCAL, &["ann"]).await;
    let shell = Shell(&site);
    site.advance(23 * HOUR_MS);
    let app = daemon.app("acd").await;
    let ann = log_on(&app, "ann").await;
    site.advance(2 * HOUR_MS);
    states_when(&daemon, &["closed", "open"]).await;
    app.renew_one(ann).await.unwrap();
    assert_eq!(daemon.stop().await.code, Some(0));

    let daemon = Daemon::start(&site).await;
    states_when(&daemon, &["closed", "closed", "open"]).await;
    daemon.app("acd").await.release(ann).await.unwrap();
    assert_eq!(daemon.stop().await.code, Some(0));
    let told = shell.opened(&usage_folder(&site));
    assert_eq!(of(&told, "ann"), [("logon", 1), ("logoff", 0)], "{told:?}");
    assert_eq!(present(&told, "ann"), 2, "each file after the first tells who is there: {told:?}");
    let names: Vec<String> =
        usage_files(&site).iter().map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect();
    let ends: Vec<&str> = names.iter().map(|name| &name[33..]).collect();
    assert_eq!(ends, ["00000001-20300101.usg", "00000002-20300102.usg", "00000003-20300102.usg"]);
}

/// kill -9 with an event that no file holds, while somebody is logged on, and a torn tail: nothing is lost, nothing doubled
/// (USAGE-6).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_and_a_torn_tail() {
    let site = Site::new();
    let daemon = server(&site, LOCAL, &["ann", "bob"]).await;
    let shell = Shell(&site);
    let app = daemon.app("acd").await;
    let (ann, bob) = (log_on(&app, "ann").await, log_on(&app, "bob").await);
    shell.ok("usage seal");
    app.release(bob).await.unwrap();
    // Its event is durable and in no file.
    assert_eq!(shell.json("status")["usage"]["backlog"], 1);
    daemon.kill().await;
    let torn = usage_files(&site).pop().unwrap();
    let bytes = fs::read(&torn).unwrap();
    fs::write(&torn, &bytes[..bytes.len() - 7]).unwrap();

    let daemon = Daemon::start(&site).await;
    states_when(&daemon, &["closed", "open"]).await;
    shell.ok("usage seal");
    assert_eq!(shell.findings(), Vec::<String>::new());
    assert_eq!(fs::read(&torn).unwrap()[..bytes.len()], bytes, "the tail is copied again");
    daemon.app("acd").await.release(ann).await.unwrap();
    assert_eq!(daemon.stop().await.code, Some(0));
    let told = shell.opened(&usage_folder(&site));
    for name in ["ann", "bob"] {
        assert_eq!(of(&told, name), [("logon", 1), ("logoff", 0)], "{name}: {told:?}");
    }
    assert_eq!(present(&told, "ann"), 1, "{told:?}");
}

/// What happened to a user, and the sessions after it.
fn of<'t>(told: &'t [(String, String, String, u64)], name: &str) -> Vec<(&'t str, u64)> {
    let own = told.iter().filter(|(_, event, user, _)| user == name && event != "present");
    own.map(|(_, event, _, sessions)| (event.as_str(), *sessions)).collect()
}

/// In how many files a user is there from the beginning.
fn present(told: &[(String, String, String, u64)], name: &str) -> usize {
    told.iter().filter(|(_, event, user, _)| event == "present" && user == name).count()
}

/// No byte of a name is in `usage/`; with pseudonyms, none is in what the licensor opens, and who is who still counts
/// (USAGE-8).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_name_is_readable_and_pseudonyms_stay_pseudonyms() {
    const NAMES: [&str; 2] = ["zoltan.kovacs@acme.example", "veronique.leblanc@acme.example"];
    for pseudonyms in [false, true] {
        let site = Site::new();
        if pseudonyms {
            site.configure("[usage]\nnames = \"pseudonym\"\n");
        }
        let daemon = server(&site, LOCAL, &NAMES).await;
        let app = daemon.app("acd").await;
        for name in NAMES {
            let lease = log_on(&app, name).await;
            app.release(lease).await.unwrap();
            log_on(&app, name).await;
        }
        assert_eq!(daemon.stop().await.code, Some(0));
        for file in usage_files(&site) {
            let bytes = fs::read(&file).unwrap();
            for part in ["zoltan", "kovacs", "veronique", "leblanc", "acme.example"] {
                let found = bytes.windows(part.len()).any(|window| window == part.as_bytes());
                assert!(!found, "{part} stands in {}", file.display());
            }
        }
        let told = Shell(&site).opened(&usage_folder(&site));
        let mut users: Vec<&str> = told.iter().map(|(_, _, user, _)| user.as_str()).collect();
        users.sort_unstable();
        users.dedup();
        assert_eq!(users.len(), 2, "{told:?}");
        assert_eq!(told.len(), 6, "{told:?}");
        for name in NAMES {
            assert_eq!(users.contains(&name), !pseudonyms, "{users:?}");
        }
    }
}

/// Three days in three closed files, and today's.
async fn three_days(site: &Site) -> Daemon {
    let daemon = server(site, LOCAL, &["ann"]).await;
    let app = daemon.app("acd").await;
    for day in 0..3 {
        let lease = log_on(&app, "ann").await;
        app.release(lease).await.unwrap();
        Shell(site).ok("usage seal");
        site.advance(DAY_MS);
        let states: Vec<&str> = std::iter::repeat_n("closed", day + 1).chain(["open"]).collect();
        states_when(&daemon, &states).await;
    }
    daemon
}

/// A file that was deleted, edited or put in another's place is found without a key, by the daemon and by whoever has copies.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_done_to_the_files_is_found() {
    let site = Site::new();
    let daemon = three_days(&site).await;
    let shell = Shell(&site);
    assert_eq!(shell.findings(), Vec::<String>::new());
    let files = usage_files(&site);
    assert_eq!(files.len(), 4);
    let copies = site.dir().join("copies");
    let local = |whole: bool| {
        let mut arguments = vec!["usage", "verify", "--json"];
        let copies = copies.display().to_string();
        arguments.push(&copies);
        if whole {
            arguments.push("--whole");
        }
        let ran = leasehold(Path::new("/nowhere/leasehold.sock"), arguments);
        let json = ran.json();
        let found = json["findings"].as_array().unwrap().iter();
        let found: Vec<String> = found.map(|one| one["reason"].as_str().unwrap().to_owned()).collect();
        assert_eq!(ran.code, if found.is_empty() { 0 } else { 12 }, "{ran:?}");
        found
    };
    let fresh = || {
        let _ = fs::remove_dir_all(&copies);
        fs::create_dir(&copies).unwrap();
        for file in &files {
            fs::copy(file, copies.join(file.file_name().unwrap())).unwrap();
        }
    };
    let copy = |number: usize| copies.join(files[number].file_name().unwrap());

    fresh();
    assert_eq!(local(true), Vec::<String>::new());
    fs::remove_file(copy(1)).unwrap();
    assert_eq!(local(false), ["missing-segments"]);
    fresh();
    fs::remove_file(copy(0)).unwrap();
    assert_eq!(local(true), ["missing-segments"]);
    fresh();
    let mut edited = fs::read(copy(1)).unwrap();
    let middle = edited.len() - 200;
    edited[middle] ^= 1;
    fs::write(copy(1), edited).unwrap();
    assert_eq!(local(false), ["damaged"]);
    fresh();
    let (one, two) = (fs::read(copy(0)).unwrap(), fs::read(copy(1)).unwrap());
    fs::write(copy(0), two).unwrap();
    fs::write(copy(1), one).unwrap();
    assert!(local(false).iter().all(|reason| reason == "misnamed") && !local(false).is_empty());

    // The daemon knows of the newest, too; what it still has in its database it writes again.
    let newest = files.last().unwrap();
    let bytes = fs::read(newest).unwrap();
    fs::remove_file(newest).unwrap();
    assert_eq!(shell.findings(), ["missing-segments"]);
    leasehold_tests::within("the file is back", async {
        while !fs::read(newest).is_ok_and(|back| back.starts_with(&bytes)) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    leasehold_tests::within("it is whole", async {
        while !shell.findings().is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    drop(daemon);
}

/// The licensor answers for files in a folder: a receipt beside each. Its own program would go by the real clock.
fn receipts_for(site: &Site, folder: &Path, names: &[String]) {
    let mut intake = site.licensor(|workshop| workshop.intake(workshop.dir(), site.now())).expect("an intake");
    for name in names {
        let bytes = fs::read(folder.join(name)).unwrap();
        let taken = intake
            .take(name, &bytes, licensor::intake::Sent::Final, site.now())
            .unwrap_or_else(|fault| panic!("{name}: {fault}"));
        fs::write(folder.join(format!("{name}.receipt")), taken.file.receipt).unwrap();
    }
}

/// By hand, as `…_LOCAL` has it (004): a period is bundled, the licensor answers file by file, and only its answer for the very
/// file is taken.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_period_is_bundled_and_receipted_by_hand() {
    let site = Site::new();
    site.configure("[site]\ntime_zone = \"Europe/Berlin\"\n");
    let daemon = three_days(&site).await;
    let shell = Shell(&site);
    let bundle = site.dir().join("january.tar");
    // 1 January 2030 lies in the period that ends in January, which goes on.
    let ran = shell.run(&format!("usage export --period 2030-01 -o {} --json", bundle.display()));
    assert_eq!(ran.code, 10, "{ran:?}");
    let manifest = ran.json();
    let gaps: Vec<&str> =
        manifest["gaps"].as_array().unwrap().iter().map(|gap| gap["kind"].as_str().unwrap()).collect();
    assert_eq!(gaps, ["period-not-over", "open"]);
    assert_eq!((&manifest["due_day"], &manifest["time_zone"]), (&"2030-02-04".into(), &"Europe/Berlin".into()));
    assert_eq!(manifest["from"], "2029-12-27T23:00:00Z");
    assert_eq!(shell.run("usage export --period 2030-02 --check").code, 3, "it has not begun");
    assert_eq!(shell.run("usage export --period 2029-11 --check").code, 4, "nothing was used then");
    site.advance(27 * DAY_MS);
    states_when(&daemon, &["closed", "closed", "closed", "closed", "open"]).await;
    let ran = shell.run(&format!("usage export --period 2030-01 --force -o {} --json", bundle.display()));
    assert_eq!((ran.code, &ran.json()["complete"]), (0, &true.into()), "{ran:?}");

    // At the licensor's desk: unpacked by any tool, answered for by its program.
    let desk = site.dir().join("desk");
    fs::create_dir(&desk).unwrap();
    let unpacked = Command::new("tar").arg("-xf").arg(&bundle).arg("-C").arg(&desk).status().unwrap();
    assert!(unpacked.success());
    let mut names: Vec<String> =
        fs::read_dir(&desk).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names.len(), 5, "four files and the manifest: {names:?}");
    assert_eq!(names.pop().as_deref(), Some("manifest.json"));
    receipts_for(&site, &desk, &names);
    let receipt = |name: &str| desk.join(format!("{name}.receipt"));

    let ran = shell.run(&format!("usage receipt {} --json", desk.join("manifest.json").display()));
    assert_eq!((ran.code, ran.json()["receipts"][0]["refusal"]["reason"].as_str()), (9, Some("RECEIPT_UNREADABLE")));
    let forged = desk.join("forged.receipt");
    let text = fs::read_to_string(receipt(&names[0])).unwrap();
    fs::write(&forged, text.replace(&names[0], &names[1])).unwrap();
    let ran = shell.run(&format!("usage receipt {}", forged.display()));
    assert_eq!(ran.code, 9, "{ran:?}");
    assert_eq!(shell.states(), ["closed", "closed", "closed", "closed", "open"], "nothing was taken");
    // Another site's receipt is true, and not for a file of this one.
    let other = Site::new();
    let _other = three_days(&other).await;
    let theirs = other.dir().join("theirs");
    fs::create_dir(&theirs).unwrap();
    fs::copy(&usage_files(&other)[0], theirs.join(usage_files(&other)[0].file_name().unwrap())).unwrap();
    let name = usage_files(&other)[0].file_name().unwrap().to_string_lossy().into_owned();
    receipts_for(&other, &theirs, std::slice::from_ref(&name));
    let answer = theirs.join(format!("{name}.receipt"));
    let ran = shell.run(&format!("usage receipt {} --json", answer.display()));
    assert_eq!(ran.code, 9, "{ran:?}");
    let reason = ran.json()["receipts"][0]["refusal"]["reason"].as_str().unwrap_or_default().to_owned();
    assert!(["RECEIPT_FOR_OTHER", "RECEIPT_NOT_SIGNED"].contains(&reason.as_str()), "{ran:?}");

    let receipts: Vec<String> = names.iter().map(|name| receipt(name).display().to_string()).collect();
    shell.ok(&format!("usage receipt {}", receipts.join(" ")));
    assert_eq!(shell.states(), ["acknowledged", "acknowledged", "acknowledged", "acknowledged", "open"]);
    assert!(shell.ok("audit").contains("usage receipt"));
    // An acknowledged file may go, and is no damage then.
    fs::remove_file(&usage_files(&site)[1]).unwrap();
    assert_eq!(shell.findings(), Vec::<String>::new());
}

/// Usage that the license keeps here goes nowhere, whatever the configuration names; the same files go out by themselves
/// where it does not (USAGE-2).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn local_usage_sends_nothing() {
    let heard = TcpListener::bind("127.0.0.1:0").unwrap();
    heard.set_nonblocking(true).unwrap();
    let port = heard.local_addr().unwrap().port();
    let settings = format!("[usage]\ndestination = \"https://127.0.0.1:{port}\"\n");

    let site = Site::new();
    site.configure(&settings);
    let daemon = three_days(&site).await;
    let shell = Shell(&site);
    site.advance(40 * DAY_MS);
    states_when(&daemon, &["overdue", "overdue", "overdue", "overdue", "open"]).await;
    assert!(heard.accept().is_err(), "nobody was called");
    let status = shell.json("status");
    assert_eq!(status["usage"]["mode"], "local");
    let notices = status["notices"].to_string();
    assert!(notices.contains("USAGE_OVERDUE") && notices.contains("usage export --period 2030-01"), "{notices}");
    assert_eq!(daemon.stop().await.code, Some(0));

    let site = Site::new();
    site.configure(&settings);
    let daemon = server(&site, UPLOAD, &["ann"]).await;
    site.advance(DAY_MS);
    states_when(&daemon, &["uploading", "open"]).await;
    let (mut called, _) = leasehold_tests::within("a call", async {
        loop {
            match heard.accept() {
                Ok(called) => return called,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    })
    .await;
    called.set_nonblocking(false).unwrap();
    let mut first = [0; 1];
    called.read_exact(&mut first).unwrap();
    assert_eq!(first[0], 0x16, "a TLS handshake, and nothing in plain");
    // And what answers there is told of with a remedy.
    drop(called);
    drop(heard);
    let status = daemon
        .admin()
        .await
        .status_when("a failure", |status| status.usage.as_ref().is_some_and(|usage| usage.failure.is_some()))
        .await;
    let failure = status.usage.unwrap().failure.unwrap();
    assert!(!failure.code.is_empty() && !failure.remedy.is_empty(), "{failure:?}");
    let shell = Shell(&site);
    let ran = shell.run("doctor --json");
    assert_eq!((ran.code, &ran.json()["well"]), (13, &false.into()), "{ran:?}");
    assert_eq!(shell.run("usage list").code, 0);
}
