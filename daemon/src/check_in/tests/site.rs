//! A licensor with its endpoint, and a server with the real core, the real watched folder and check-ins, each on a clock that a
//! test moves.

use std::{
    fs,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use leasehold_engine::{
    Limits,
    standing::{SiteStanding, StandingRow},
    time::WallTime,
};
use leasehold_keys::{
    activation::{Grant, LicenseId, Model, Units},
    key::SigningKey,
};
use licensor::{
    catalog::Catalog,
    order::IssueOrder,
    serve::{self, Desks, Serving, faults::Script},
    vault::{PrivateKey, Protection},
    workshop::{CreateOptions, Workshop},
};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use super::super::{CheckIns, Done, Ground, Settings, Trouble};
use crate::{
    clock::Clock,
    core::{Bounds, Core, Ended, Phase, Restored, restore},
    delivery::tests::server::{Authority, Flaw},
    folder::Folder,
    identity::{Identity, tests::facts},
    storage::StateDir,
    trust_store::TrustStore,
    way_out::{self, Network, Patience},
};

/// 2030-03-17T12:00:00Z.
pub(super) const WALL_MS: i64 = 1_899_979_200_000;
pub(super) const HOUR_MS: i64 = 3_600_000;
pub(super) const DAY_MS: i64 = 24 * HOUR_MS;

/// The licensor.
pub(super) struct House {
    _dir: TempDir,
    pub(super) workshop: Workshop,
    pub(super) license: LicenseId,
    order: IssueOrder,
    pub(super) script: Script,
    pub(super) authority: Authority,
    clock: Arc<AtomicI64>,
    pub(super) port: u16,
    _serving: Serving,
}

impl House {
    pub(super) async fn open() -> Self {
        let now = WallTime::from_ms(WALL_MS);
        let dir = tempfile::tempdir().unwrap();
        let mut workshop =
            Workshop::create(dir.path(), &CreateOptions::new("acme.example", Protection::None), now).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let label = |text: &str| text.parse().unwrap();
        let grant = |(pool, units): (&str, u32)| Grant { pool: pool.parse().unwrap(), units: Units::Count(units) };
        let order = IssueOrder {
            server: Some(label("basic")),
            model: Model::Subscription,
            grants: [("I3_ACCESS_CLIENT", 5), ("I3_FEATURE_VIRTUAL_CLOUD", 1)].map(grant).to_vec(),
            not_after: Some("2040-03-17T00:00:00Z".parse().unwrap()),
            ramp: Some("2030-03-01T00:00:00Z".parse().unwrap()),
            grace_days: Some(7),
            check_in_endpoint: Some(format!("https://localhost:{port}")),
            ..IssueOrder::new(label("Acme"), label("Indianapolis"), label("tests"))
        };
        let license = workshop.issue(&Catalog::pureconnect(), &order, now).unwrap().activation.license_id;
        let (authority, script) = (Authority::new(), Script::default());
        let (certificate, key) = authority.certificate(Flaw::None);
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let desks = Desks::new(workshop.intake(workshop.dir(), now).unwrap())
            .with_check_ins(workshop.check_ins(now).unwrap())
            .with_faults(script.clone());
        let clock = Arc::new(AtomicI64::new(WALL_MS));
        let told = clock.clone();
        let time = Arc::new(move || WallTime::from_ms(told.load(Ordering::Relaxed)));
        let tls = serve::tls::config(vec![certificate], key).unwrap();
        let serving = serve::start(listener, tls, desks, time).unwrap();
        Self { _dir: dir, workshop, license, order, script, authority, clock, port, _serving: serving }
    }

    pub(super) fn set_time(&self, ms: i64) {
        self.clock.store(WALL_MS + ms, Ordering::Relaxed);
    }

    pub(super) fn now(&self) -> WallTime {
        WallTime::from_ms(self.clock.load(Ordering::Relaxed))
    }

    /// The same license anew.
    pub(super) fn issue_again(&mut self) -> String {
        let order = IssueOrder { license_id: Some(self.license), ..self.order.clone() };
        self.workshop.issue(&Catalog::pureconnect(), &order, self.now()).unwrap().note
    }

    /// One of its private keys, by the name of its file.
    pub(super) fn key(&self, name: &str) -> Arc<SigningKey> {
        let path = self.workshop.dir().join("keys").join(name);
        Arc::new(PrivateKey::load(&path, None).unwrap().signing().unwrap())
    }

    /// A machine with its file in the watched folder.
    pub(super) fn home(&self) -> Home {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("watched")).unwrap();
        fs::write(dir.path().join("root.i3root"), self.workshop.root_note()).unwrap();
        let file = self.workshop.ledger().file(self.license, None).unwrap().unwrap();
        let patience =
            Patience { step: Duration::from_secs(30), idle: Duration::from_secs(30), whole: Duration::from_secs(120) };
        let settings = way_out::Settings { ca: Some(self.authority.file()), ..way_out::Settings::default() };
        let home = Home {
            dir,
            license: self.license,
            settings: Settings::default(),
            network: Network { settings, patience, ..Network::default() },
        };
        home.drop_file("base.i3lic", file.note.as_bytes());
        home.set_time(0);
        home
    }
}

/// A machine with a disk and a clock.
pub(super) struct Home {
    pub(super) dir: TempDir,
    pub(super) license: LicenseId,
    pub(super) settings: Settings,
    pub(super) network: Network,
}

impl Home {
    pub(super) fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    pub(super) fn watched(&self) -> PathBuf {
        self.dir.path().join("watched")
    }

    pub(super) fn drop_file(&self, name: &str, bytes: &[u8]) {
        fs::write(self.dir.path().join(name), bytes).unwrap();
        fs::rename(self.dir.path().join(name), self.watched().join(name)).unwrap();
    }

    /// So many milliseconds after the begin, by both clocks.
    pub(super) fn set_time(&self, ms: i64) {
        self.set_clocks(ms, ms);
    }

    /// The boot-time clock and the wall clock, each for itself.
    pub(super) fn set_clocks(&self, boot_ms: i64, wall_ms: i64) {
        let new = self.dir.path().join("clock.new");
        fs::write(&new, format!("{boot_ms} {}", WALL_MS + wall_ms)).unwrap();
        fs::rename(new, self.dir.path().join("clock")).unwrap();
    }

    pub(super) async fn start(&self) -> Site {
        let state = StateDir::open(&self.state()).unwrap();
        let trust = TrustStore::open(state.path(), Some(&self.dir.path().join("root.i3root"))).unwrap();
        let clock = Clock::manual(self.dir.path().join("clock"));
        let Restored { engine, store, .. } = restore(&state, trust.trust(), Limits::default(), &clock).unwrap();
        let (core, ended) = Core::start(engine, store, clock.clone(), Bounds::default()).unwrap();
        let identity =
            Arc::new(Identity::with_facts(&self.state(), facts("4c4c4544"), "acd-1".parse().unwrap()).unwrap());
        let (folder, _watching) =
            Folder::start(self.watched(), state.path(), core.clone(), clock.clone(), trust, identity);
        folder.judged().await;
        let ground = Ground {
            state_directory: self.state(),
            core: core.clone(),
            clock: clock.clone(),
            folder,
            network: self.network.clone(),
        };
        let check_ins = CheckIns::start(self.settings.clone(), ground);
        let site = Site { license: self.license, core, clock, check_ins, ended, _state: state };
        site.core.set_phase(Phase::Serving);
        site
    }
}

/// What runs there.
pub(super) struct Site {
    license: LicenseId,
    pub(super) core: Core,
    pub(super) clock: Clock,
    pub(super) check_ins: CheckIns,
    ended: Ended,
    _state: StateDir,
}

impl Site {
    pub(super) async fn standing(&self) -> SiteStanding {
        self.core.read(|engine, now| engine.standing(now)).await.unwrap()
    }

    /// What is stored of the license.
    pub(super) async fn row(&self) -> StandingRow {
        let license = self.license;
        self.core.read(move |engine, _| engine.standing_row(license).cloned()).await.unwrap().expect("a row")
    }

    /// Checks in now.
    pub(super) async fn check_in(&self) -> Result<Done, Trouble> {
        let mut outcomes = self.check_ins.now(None).await.unwrap();
        assert_eq!(outcomes.len(), 1);
        outcomes.remove(0).result
    }

    /// Waits until something is so.
    pub(super) async fn until(&self, what: impl AsyncFn(&Self) -> bool) {
        let wait = async {
            while !what(self).await {
                // Goes round with the core.
                self.core.read(|_, _| ()).await.unwrap();
            }
        };
        tokio::time::timeout(Duration::from_secs(60), wait).await.expect("within a minute");
    }

    /// Waits until the check-in of the start is answered, or has failed.
    pub(super) async fn asked(&self) {
        let license = self.license;
        self.until(async |site| {
            site.check_ins.view(license).failure.is_some()
                || site
                    .core
                    .read(move |it, _| it.standing_row(license).is_some_and(|row| row.answer.is_some()))
                    .await
                    .unwrap()
        })
        .await;
    }

    pub(super) async fn stop(self) {
        self.check_ins.stop().await;
        self.core.stop();
        tokio::task::spawn_blocking(move || self.ended.wait()).await.unwrap();
    }
}
