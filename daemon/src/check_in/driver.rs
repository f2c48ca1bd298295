//! The task that checks in, one license after the other, when it is due or asked for. It waits for the network and for disks,
//! and nobody waits for it but who asks it to.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use leasehold_engine::{
    Engine,
    time::{LeaseTime, Now},
    view::SiteState,
};
use leasehold_keys::{
    activation::LicenseId,
    check_in::{CheckInReply, CheckInStanding},
};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::timeout,
};

use super::{
    Done, Inner, NoRequest, Outcome, beside, blocking, done,
    endpoint::Endpoint,
    heart::{Next, Occasion},
    memory, presumed,
    trouble::Trouble,
};
use crate::{
    clock::evidence::Testimony,
    core::{Phase, Refused},
    way_out::Named,
};

/// The licenses are looked at so often where nothing says that they have changed.
const LOOK_EVERY_MS: u64 = 60_000;
/// How long ending waits for an attempt under way to be noted.
const END: Duration = Duration::from_millis(500);
/// Times in notes are whole seconds.
const SECOND_MS: i64 = 1_000;

/// What the task is asked.
pub(super) enum Ask {
    /// Look at what there is.
    Look,
    /// Check in this license, or all; and tell what came of it.
    Now(Option<LicenseId>, oneshot::Sender<Result<Vec<Outcome>, Refused>>),
}

/// Ends the task.
pub(super) struct Stop {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Stop {
    pub(super) async fn stop(self) {
        let _ = self.stop.send(());
        let abort = self.task.abort_handle();
        if timeout(END, self.task).await.is_err() {
            abort.abort();
        }
    }
}

/// The running task.
pub(super) struct Driver {
    inner: Arc<Inner>,
    asked: mpsc::Receiver<Ask>,
}

impl Driver {
    pub(super) fn start(inner: Arc<Inner>, asked: mpsc::Receiver<Ask>) -> Stop {
        let (stop, stopped) = oneshot::channel();
        let driver = Driver { inner, asked };
        let task = tokio::spawn(async move {
            tokio::select! {
                // Also where whoever could stop it is gone.
                _ = stopped => {}
                () = driver.run() => {}
            }
        });
        Stop { stop, task }
    }

    async fn run(mut self) {
        let mut phase = self.inner.core.phase();
        if phase.wait_for(|phase| *phase != Phase::Starting).await.is_err() {
            return;
        }
        let mut folder = self.inner.folder.watch();
        loop {
            let seen = folder.borrow_and_update().entries.clone();
            // Where the core refuses, as when it has too much to do, it is asked again.
            let _ = self.look().await;
            let now = self.inner.clock.now();
            let until = match self.inner.heart(|heart| heart.next(now)) {
                Next::Ask(license) => {
                    // What came of it is noted.
                    let _ = self.check_in(license).await;
                    continue;
                }
                Next::Wait(due) => {
                    let later = now.lease.plus_ms(LOOK_EVERY_MS);
                    due.map_or(later, |due: LeaseTime| due.min(later))
                }
            };
            loop {
                tokio::select! {
                    ask = self.asked.recv() => match ask {
                        None => return,
                        Some(Ask::Look) => break,
                        Some(Ask::Now(license, to)) => {
                            let outcomes = self.check_in_now(license).await;
                            // Who asked may be gone.
                            let _ = to.send(outcomes);
                            break;
                        }
                    },
                    changed = folder.changed() => match changed {
                        Err(_) => return,
                        Ok(()) if folder.borrow_and_update().entries != seen => break,
                        Ok(()) => {}
                    },
                    () = tokio::time::sleep(self.inner.clock.longest_sleep()) => {
                        if self.inner.clock.now().lease >= until {
                            break;
                        }
                    }
                }
            }
        }
    }

    /// Sees what there is.
    async fn look(&self) -> Result<(), Refused> {
        let read = |engine: &Engine, now: Now| Occasion {
            licenses: engine.standing(now).licenses.into_iter().map(|it| it.license).collect(),
            files: engine.licenses(now).into_iter().map(|view| (view.license, view.terms.sha256())).collect(),
            active: engine.status(now).state != SiteState::Standby,
        };
        let found = self.inner.core.read(read).await?;
        let now = self.inner.clock.now();
        self.inner.heart(|heart| heart.look(found, now));
        Ok(())
    }

    async fn check_in_now(&self, license: Option<LicenseId>) -> Result<Vec<Outcome>, Refused> {
        self.look().await?;
        let all: BTreeSet<LicenseId> = self.inner.heart(|heart| heart.licenses()).into_iter().collect();
        let mut outcomes = Vec::new();
        for license in all.into_iter().filter(|it| license.is_none_or(|license| license == *it)) {
            outcomes.push(Outcome { license, result: self.check_in(license).await });
        }
        Ok(outcomes)
    }

    /// One attempt with one license, and its bookkeeping.
    async fn check_in(&self, license: LicenseId) -> Result<Done, Trouble> {
        let inner = &self.inner;
        let result = self.attempt(license).await;
        let (now, roll) = (inner.clock.now(), rand::random::<f64>());
        let (before, after) = inner.heart(|heart| {
            let before = heart.remembered();
            match &result {
                Ok(_) => heart.answered(license, now, roll),
                Err(trouble) => heart.failed(license, trouble.clone(), now, roll),
            }
            (before, heart.remembered())
        });
        match &result {
            Ok(Done { standing: standing @ CheckInStanding::Good, .. }) => {
                tracing::info!(%license, %standing, "checked in");
            }
            Ok(Done { standing, message, .. }) => {
                tracing::warn!(%license, %standing, message, "checked in; the licensor does not find this license in good standing");
            }
            Err(trouble) => tracing::warn!(
                %license,
                trouble = trouble.code(),
                "the check-in failed: {trouble}. Nothing changes by it, and it is tried again. To do: {}",
                trouble.remedy()
            ),
        }
        if let Ok(Done { taken, .. }) = &result {
            for why in &taken.left_out {
                tracing::warn!(%license, "{why}");
            }
        }
        if before != after {
            let folder = inner.state_directory.clone();
            if let Err(trouble) = blocking(move || memory::keep(&folder, &after)).await {
                tracing::warn!("how check-ins went cannot be kept over a restart: {trouble}");
            }
        }
        result
    }

    /// Asks, and takes the answer.
    async fn attempt(&self, license: LicenseId) -> Result<Done, Trouble> {
        let inner = &self.inner;
        let of_core = |refused: Refused| Trouble::NotNoted { why: refused.to_string() };
        let licensed = inner.core.read(move |engine, now| {
            engine.standing(now).licenses.into_iter().find(|it| it.license == license).map(|it| it.endpoint)
        });
        let Some(licensed) = licensed.await.map_err(of_core)? else {
            return Err(Trouble::NotNoted { why: "the license asks for check-ins no longer".to_owned() });
        };
        let endpoint = Endpoint::of(inner.settings.endpoint.as_ref(), licensed.as_deref())?;
        let (network, to) = (inner.network.clone(), endpoint.clone());
        let way = blocking(move || to.way(&network)).await?;
        let made = inner.request(license, &mut *inner.counters.lock().await).await;
        let (request, _) = made.map_err(|why| match why {
            NoRequest::Trouble(trouble) => trouble,
            other => Trouble::NotNoted { why: other.to_string() },
        })?;
        let asked_at = inner.clock.now();
        inner.heart(|heart| heart.asked(request.outstanding(), asked_at));

        let bytes = endpoint.ask(&way, request.bytes()).await?;
        let reply = CheckInReply::read(&bytes).map_err(|refusal| Trouble::heard(&refusal))?;
        let trust = inner.folder.trust();
        // A root that follows the one in force is believed wherever it comes from: it may list the key that signed.
        let (newer, refused) = reply.succeeded(trust.trust());
        for refusal in refused {
            tracing::warn!(%license, "a root that came with the answer does not count: {refusal}");
        }
        let now = inner.core.read(|_, now| now).await.map_err(of_core)?;
        let answer = newer.check_in_answer(reply.answer.as_bytes(), presumed(now));
        let answer = answer.map_err(|refusal| Trouble::heard(&refusal))?;
        let heard_at = inner.clock.now();
        let after_ms = inner.heart(|heart| heart.judge(license, &answer, heard_at))?;

        // First: what follows is decided by the time that it tells. It was signed between asking and now.
        let (earliest, most) = (answer.time, i64::try_from(after_ms).unwrap_or(i64::MAX).saturating_add(SECOND_MS));
        inner.clock.tell(Testimony { earliest, latest: Some(earliest.plus_ms(most)) });
        inner.note(&answer, request.previous_answer).await?;
        let (path, text) = (inner.folder.path().to_owned(), answer.clone());
        let taken = blocking(move || Ok(beside::place(&path, &reply, &text))).await?;
        if !taken.roots.is_empty() || !taken.files.is_empty() {
            tracing::info!(
                %license,
                roots = taken.roots.join(", "),
                files = taken.files.join(", "),
                "with the answer came newer files; they lie in the watched folder now"
            );
            inner.folder.look_soon();
        }
        Ok(done(&answer, taken))
    }
}

const _: () = assert!(LOOK_EVERY_MS <= crate::way_out::WAIT_MIN_MS);
