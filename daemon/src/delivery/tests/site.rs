//! A server with the real core, the real usage room and delivery, on a clock that a test moves.

use std::{fs, path::PathBuf, sync::Arc, time::Duration};

use leasehold_engine::{
    Limits,
    command::{Command, FolderFile, HostFinding},
    decision::Reply,
    row::UsageSegmentRow,
    time::WallTime,
};
use leasehold_keys::{
    activation::{Activation, LicenseId},
    digest::Sha256,
    trust::{Trust, Verified},
};
use tempfile::TempDir;
use tokio::sync::watch;
use uuid::Uuid;

use super::{
    super::{Delivery, FileView, Ground, Settings, State, Zone},
    server::{Authority, Server},
};
use crate::{
    clock::Clock,
    core::{Bounds, Core, Ended, Phase, Restored, restore, tests::licensor_granting},
    identity::{Identity, tests::facts},
    storage::StateDir,
    usage::{self, NamesSetting, Usage},
    way_out::{self, Network, Patience, Surroundings},
};

/// 2030-03-17T12:00:00Z.
pub(super) const WALL_MS: i64 = 1_899_979_200_000;
pub(super) const MINUTE_MS: i64 = 60_000;
pub(super) const HOUR_MS: i64 = 3_600_000;
pub(super) const DAY_MS: i64 = 24 * HOUR_MS;

/// Usage is uploaded.
pub(super) const CLOUD: &[(&str, u32)] = &[("I3_ACCESS_CLIENT_CONCURRENT", 100), ("I3_FEATURE_VIRTUAL_CLOUD", 1)];
/// Usage is kept here.
pub(super) const LOCAL: &[(&str, u32)] =
    &[("I3_ACCESS_CLIENT_CONCURRENT", 100), ("I3_FEATURE_USAGE_TRACKING_LOCAL", 1)];

/// A segment that was closed an hour ago.
pub(super) fn row(number: u32) -> UsageSegmentRow {
    let began = WallTime::from_ms(WALL_MS - 2 * HOUR_MS);
    UsageSegmentRow {
        number,
        file: format!("0123456789abcdef0123456789abcdef-{number:08}-20300317.usg"),
        license: LicenseId(Uuid::from_u128(0x1b2c_3d4e)),
        began,
        because: "midnight".to_owned(),
        records: 3,
        records_before: 0,
        events: 2,
        bytes: 6,
        head: Sha256([0; 32]),
        closed: Some(began.plus_ms(HOUR_MS)),
        sha256: Some(Sha256::of(b"sealed")),
        uploaded: None,
        acknowledged: None,
        stored: true,
    }
}

/// A machine with a disk and a clock.
pub(super) struct Home {
    pub(super) dir: TempDir,
    pub(super) authority: Authority,
    pub(super) settings: Settings,
    pub(super) network: Network,
    /// Who is trusted, and the file in effect.
    pub(super) trust: Trust,
    pub(super) file: Arc<Verified<Activation>>,
}

/// What runs there.
pub(super) struct Site {
    pub(super) core: Core,
    ended: Ended,
    pub(super) usage: Usage,
    pub(super) delivery: Delivery,
    pub(super) state: watch::Receiver<State>,
    room: watch::Receiver<usage::State>,
    _state_dir: StateDir,
}

impl Home {
    pub(super) fn new(grants: &[(&str, u32)]) -> Self {
        let (licensor, file) = licensor_granting(1, grants);
        Self::of(licensor.trust().unwrap(), file)
    }

    pub(super) fn of(trust: Trust, file: Verified<Activation>) -> Self {
        let authority = Authority::new();
        let settings = Settings::default();
        let patience =
            Patience { step: Duration::from_secs(30), idle: Duration::from_secs(30), whole: Duration::from_secs(120) };
        let home = Self {
            dir: tempfile::tempdir().unwrap(),
            settings,
            network: Network {
                settings: way_out::Settings { ca: Some(authority.file()), ..way_out::Settings::default() },
                surroundings: Surroundings::default(),
                patience,
            },
            authority,
            trust,
            file: Arc::new(file),
        };
        home.set_time(0);
        home
    }

    /// As [`Home::new`], with files going to this server.
    pub(super) fn sending_to(grants: &[(&str, u32)], authority: Authority, server: &Server) -> Self {
        let mut home = Self::new(grants);
        home.authority = authority;
        home.network.settings.ca = Some(home.authority.file());
        home.settings.destination = Some(server.url().parse().unwrap());
        home
    }

    pub(super) fn path(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    /// So many milliseconds after the begin, by both clocks.
    pub(super) fn set_time(&self, ms: i64) {
        let new = self.dir.path().join("clock.new");
        fs::write(&new, format!("{ms} {}", WALL_MS + ms)).unwrap();
        fs::rename(new, self.dir.path().join("clock")).unwrap();
    }

    pub(super) async fn start(&self) -> Site {
        let state = StateDir::open(&self.path()).unwrap();
        let clock = Clock::manual(self.dir.path().join("clock"));
        let Restored { engine, store, .. } = restore(&state, &self.trust, Limits::default(), &clock).unwrap();
        let reader = store.reader();
        let (core, ended) = Core::start(engine, store, clock.clone(), Bounds::default()).unwrap();
        core.set_phase(Phase::Serving);
        let identity = Identity::with_facts(&self.path(), facts("4c4c4544"), "acd-1".parse().unwrap()).unwrap();
        let installation = identity.installation_id().to_string();
        let trust = self.trust.clone();
        let ground = usage::Ground {
            state_directory: self.path(),
            core: core.clone(),
            clock: clock.clone(),
            reader,
            identity: Arc::new(identity),
            licensor: Box::new(move || trust.root().usage_key),
        };
        let settings = usage::Settings { names: NamesSetting::Plain, reader: None };
        let usage = Usage::start(settings, ground).unwrap();
        let trust = self.trust.clone();
        let ground = Ground {
            state_directory: self.path(),
            core: core.clone(),
            clock,
            usage: usage.clone(),
            trust: Box::new(move || trust.clone()),
            installation,
            zone: Zone::named("Europe/Berlin").unwrap(),
            network: self.network.clone(),
        };
        let delivery = Delivery::start(self.settings.clone(), ground);
        let (shown, room) = (delivery.watch(), usage.watch());
        let mut site = Site { core, ended, usage, delivery, state: shown, room, _state_dir: state };
        site.license(self.file.clone()).await;
        site.files(|files| files.iter().any(|file| file.row.closed.is_none())).await;
        site
    }
}

impl Site {
    pub(super) async fn license(&self, terms: Arc<Verified<Activation>>) {
        let file = FolderFile { name: "acme.i3lic".to_owned(), terms, host: HostFinding::Unbound };
        let reply = self.core.submit(Command::Folder(vec![file])).await.unwrap();
        assert!(matches!(reply, Reply::Folder(_)), "{reply:?}");
    }

    /// Waits until delivery is so.
    pub(super) async fn until(&mut self, what: impl FnMut(&State) -> bool) -> State {
        let waited = tokio::time::timeout(Duration::from_secs(60), self.state.wait_for(what)).await;
        waited.expect("within a minute").unwrap().clone()
    }

    /// Waits until the files are so.
    pub(super) async fn files(&mut self, what: impl Fn(&[FileView]) -> bool) -> Vec<FileView> {
        loop {
            self.room.borrow_and_update();
            self.state.borrow_and_update();
            let files = self.delivery.files().await.unwrap();
            if what(&files) {
                return files;
            }
            let changed = async {
                tokio::select! {
                    changed = self.room.changed() => changed.unwrap(),
                    changed = self.state.changed() => changed.unwrap(),
                }
            };
            let waited = tokio::time::timeout(Duration::from_secs(60), changed).await;
            assert!(waited.is_ok(), "within a minute; it is {files:#?}");
        }
    }

    /// Waits until so many files are whole.
    pub(super) async fn closed(&mut self, count: usize) -> Vec<FileView> {
        self.files(|files| files.iter().filter(|file| file.row.closed.is_some()).count() >= count).await
    }

    pub(super) async fn stop(self) {
        self.delivery.stop().await;
        self.usage.stop().await;
        self.core.stop();
        tokio::task::spawn_blocking(move || self.ended.wait()).await.unwrap();
    }
}
