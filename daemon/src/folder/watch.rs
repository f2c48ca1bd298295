//! The task that sees the folder through: woken by events of the file system, by a look each second (events get lost, and
//! shares have none), and by requests. It judges nothing itself.

use std::{sync::Arc, time::Duration};

use leasehold_engine::{command::Command, decision::Reply};
use leasehold_keys::{digest::Sha256, time::WallTime};
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::{
    sync::{mpsc, oneshot, watch as channel},
    task::spawn_blocking,
    time::sleep,
};

use super::{Ask, accepted, entry::FolderView, inspector::Inspector, judge::Accepted, name::sort_of};
use crate::{
    clock::{Clock, stopwatch_us},
    core::{Core, Refused},
    files::Room,
    trust_store::TrustStore,
};

/// A look is made this long after an event, so that a burst of them makes one.
const DEBOUNCE: Duration = Duration::from_millis(40);
/// A look is made this often without an event. With the time that a file must rest this keeps the promise of two
/// seconds where the file system gives no events.
const EACH: Duration = Duration::from_secs(1);

/// Watches until nobody holds the other end of `asked`.
pub(super) async fn run(
    inspector: Inspector,
    core: Core,
    clock: Clock,
    mut asked: mpsc::Receiver<Ask>,
    view: channel::Sender<Arc<FolderView>>,
    trust: channel::Sender<Arc<TrustStore>>,
) {
    // One place is enough: an event says that something happened, no more.
    let (event, mut events) = mpsc::channel(1);
    let mut watching = Watching { event, of: None };
    let mut turn =
        Turn { inspector: Some(inspector), core, clock, accepted: Accepted::default(), revoked: None, view, trust };
    let mut next_us = stopwatch_us();
    loop {
        let mut heard: Vec<oneshot::Sender<()>> = Vec::new();
        tokio::select! {
            biased;
            ask = asked.recv() => {
                let Some(ask) = ask else { return };
                let mut ask = Some(ask);
                // Everyone who asks now is served by one look.
                while let Some(one) = ask {
                    match one {
                        Ask::Look(who) => heard.extend(who),
                        Ask::Placed(digest, who) => {
                            turn.with(|inspector| inspector.placed(digest));
                            heard.push(who);
                        }
                    }
                    ask = asked.try_recv().ok();
                }
                turn.with(Inspector::judge_anew);
            }
            _ = events.recv() => {
                next_us = next_us.min(after(DEBOUNCE));
                continue;
            }
            () = sleep(Duration::from_micros(next_us.saturating_sub(stopwatch_us()))) => {}
        }
        watching.keep_up(&mut turn).await;
        let again = turn.take().await;
        next_us = after(again.unwrap_or(EACH));
        for who in heard {
            // Who asked may be gone.
            let _ = who.send(());
        }
    }
}

/// The moment after a time, on the stopwatch.
fn after(time: Duration) -> u64 {
    stopwatch_us().saturating_add(u64::try_from(time.as_micros()).unwrap_or(u64::MAX))
}

/// The file system's events, of the folder that is there now.
struct Watching {
    event: mpsc::Sender<()>,
    /// The folder's device and inode, with its watcher where one could be had.
    of: Option<((u64, u64), Option<RecommendedWatcher>)>,
}

impl Watching {
    /// Watches the folder that stands under the path now: a mount, or a folder made anew, is another one.
    async fn keep_up(&mut self, turn: &mut Turn) {
        // A share that hangs holds up a thread of its own, not the daemon's.
        let seen = turn.on_thread(|inspector| {
            let path = inspector.folder().to_owned();
            let place = Room::open(&path).and_then(|room| room.place()).ok();
            (path, place)
        });
        let Some((path, place)) = seen.await else { return };
        if self.of.as_ref().map(|(place, _)| *place) == place {
            return;
        }
        self.of = None;
        let Some(place) = place else { return };
        let event = self.event.clone();
        let watched = path.clone();
        let watcher = turn.on_thread(move |_| {
            let mut watcher = notify::recommended_watcher(move |found: notify::Result<notify::Event>| {
                if found.map_or(true, |found| is_news(&found)) {
                    // Full: a look is coming.
                    let _ = event.try_send(());
                }
            })?;
            watcher.watch(&watched, RecursiveMode::NonRecursive)?;
            Ok::<_, notify::Error>(watcher)
        });
        let watcher = match watcher.await {
            Some(Ok(watcher)) => Some(watcher),
            Some(Err(fault)) => {
                tracing::warn!(
                    folder = %path.display(),
                    "No events of the watched folder: {fault}. It is looked at each second all the same"
                );
                None
            }
            None => None,
        };
        self.of = Some((place, watcher));
    }
}

/// Whether an event can mean that a file came, went or changed. Our own reading, and our own notes, are no news: each
/// would cause the next look.
fn is_news(event: &notify::Event) -> bool {
    use notify::event::{AccessKind, AccessMode, EventKind};
    let read = matches!(event.kind, EventKind::Access(kind) if kind != AccessKind::Close(AccessMode::Write));
    let ours = |path: &std::path::PathBuf| path.file_name().is_some_and(|name| sort_of(name).is_none());
    event.need_rescan() || (!read && (event.paths.is_empty() || !event.paths.iter().all(ours)))
}

/// One look after another.
struct Turn {
    /// Taken while it works on a thread of its own.
    inspector: Option<Inspector>,
    core: Core,
    clock: Clock,
    accepted: Accepted,
    /// What the engine was last told of revoked keys.
    revoked: Option<Vec<(Sha256, WallTime)>>,
    view: channel::Sender<Arc<FolderView>>,
    trust: channel::Sender<Arc<TrustStore>>,
}

impl Turn {
    fn with<T>(&mut self, f: impl FnOnce(&mut Inspector) -> T) -> Option<T> {
        self.inspector.as_mut().map(f)
    }

    /// Gives the inspector to a thread that may block, and takes it back.
    async fn on_thread<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Inspector) -> T + Send + 'static,
    ) -> Option<T> {
        let mut inspector = self.inspector.take()?;
        let done = spawn_blocking(move || {
            let value = work(&mut inspector);
            (inspector, value)
        });
        match done.await {
            Ok((inspector, value)) => {
                self.inspector = Some(inspector);
                Some(value)
            }
            Err(fault) => {
                tracing::error!("The watched folder is no longer looked at: {fault}. Restart the daemon");
                None
            }
        }
    }

    /// One whole look. Gives the time to the next, where it must come sooner than usual.
    async fn take(&mut self) -> Option<Duration> {
        match self.look().await {
            Ok(again_ms) => again_ms.map(Duration::from_millis),
            Err(refused) => {
                // Nothing is lost: the set is as it was, and is judged whole the next time.
                tracing::debug!("The watched folder waits: {refused}");
                self.with(Inspector::judge_anew);
                let why = refused.to_string();
                self.view.send_if_modified(|view| {
                    let news = view.undecided.as_ref() != Some(&why);
                    if news {
                        *view = Arc::new(FolderView { undecided: Some(why), ..FolderView::clone(view) });
                    }
                    news
                });
                None
            }
        }
    }

    async fn look(&mut self) -> Result<Option<u64>, Refused> {
        if self.view.borrow().judged == 0 {
            self.accepted = accepted(&self.core).await?;
        }
        let (now_ms, known) = (stopwatch_us() / 1_000, self.accepted.clone());
        let look = match self.on_thread(move |inspector| inspector.look(now_ms, &known)).await {
            Some(Ok(look)) => look,
            Some(Err(again_ms)) => return Ok(again_ms),
            None => return Err(Refused::Draining),
        };
        self.accepted = accepted(&self.core).await?;
        let (now, known) = (self.clock.now(), self.accepted.clone());
        let judged = self.on_thread(move |inspector| inspector.judge(look, now, &known)).await;
        let inspection = judged.ok_or(Refused::Draining)?;
        // Before the files, so that a mark that a stolen key set does not stand in the way of a good one.
        let revoked = self.with(|inspector| inspector.trust.revocations()).ok_or(Refused::Draining)?;
        if self.revoked.as_ref() != Some(&revoked) {
            self.core.submit(Command::Revocations(revoked.clone())).await?;
            self.revoked = Some(revoked);
        }
        let verdicts = match self.core.submit(Command::Folder(inspection.files.clone())).await? {
            Reply::Folder(verdicts) => verdicts,
            // The engine answers a folder by verdicts on its files, and by nothing else.
            _ => return Err(Refused::Draining),
        };
        let concluded = self.on_thread(move |inspector| {
            let again_ms = inspector.conclude(inspection, &verdicts, now.wall);
            (again_ms, inspector.view(), Arc::new(inspector.trust.clone()))
        });
        let (again_ms, view, trust) = concluded.await.ok_or(Refused::Draining)?;
        self.accepted = accepted(&self.core).await?;
        self.trust.send_replace(trust);
        self.view.send_replace(view);
        Ok(again_ms)
    }
}
