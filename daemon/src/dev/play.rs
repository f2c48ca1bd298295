//! `leaseholdd dev --days-per-second N` (05): a site that loses contact with its licensor walks through all six stages before
//! one's eyes, with a call that is held throughout, and comes back. The daemon is the real one; its clock is moved.

mod cast;
pub(super) mod pace;
mod words;

use std::{io::Write, time::Duration};

use leasehold_engine::{
    standing::{SiteStanding, Stage},
    time::{DAY_MS, HOUR_MS, Now, WallTime},
};

use super::{DevFault, Site, sample::CALLS, vendor};
use crate::{clock::stopwatch_us, core::Core};
use cast::Cast;
use pace::Pace;
use words::{Scene, wrapped};

/// The hands are moved so often …
const TICK: Duration = Duration::from_millis(10);
/// … and by no more at once: leases live for a day without a beat.
const STEP_MAX_MS: u64 = 4 * HOUR_MS.unsigned_abs();
/// Once the licensor answers again, so many milliseconds go by in a second: the daemon asks within the hour, and its answer
/// counts for five minutes.
const RETURN_MS_PER_SECOND: u64 = 10 * 60_000;
/// What takes no days is done by then.
const SOON: Duration = Duration::from_secs(60);
/// What takes days may take so much longer than it ought to, on a machine that has much else to do.
const WALK_MAX: Duration = Duration::from_secs(300);

/// What the site looked like when it came to a stage.
struct Milestone {
    day: i64,
    at: WallTime,
    stage: Stage,
    calls: String,
}

/// The play.
struct Play<'s> {
    site: &'s mut Site,
    core: Core,
    pace: Pace,
    /// Milliseconds of the play in a second, as it walks.
    speed: u64,
    began: WallTime,
    cast: Cast,
    milestones: Vec<Milestone>,
    out: Out<'s>,
}

/// Where it is told.
pub(super) type Out<'s> = &'s mut (dyn Write + Send);

/// Plays it through, and says what happens. Ends by itself.
pub(super) async fn play(site: &mut Site, pace: Pace, days_per_second: u8, out: Out<'_>) -> Result<(), DevFault> {
    let Some(core) = site.running.as_ref().map(|running| running.core().clone()) else {
        return Err(DevFault::Play("the daemon does not run".to_owned()));
    };
    say(out, &words::opening(days_per_second, &site.socket(), super::Run::of_this_program()));
    let cast = Cast::enter(&core).await?;
    let now = core.read(|_, now| now).await?;
    let speed = u64::from(days_per_second) * DAY_MS.unsigned_abs();
    let mut play = Play { site, core, pace, speed, began: now.wall, cast, milestones: Vec::new(), out };
    play.in_good_standing("the first check-in").await?;
    play.scene().await?;
    play.lose_contact().await?;
    for stage in Stage::ALL.into_iter().skip(1) {
        play.walk("the next stage", |standing| standing.stage >= stage, play.speed, WALK_MAX).await?;
        play.scene().await?;
    }
    play.last_hours().await?;
    play.regain_contact().await?;
    play.scene().await?;
    play.summary().await
}

impl Play<'_> {
    async fn look(&self) -> Result<(SiteStanding, Now), DevFault> {
        Ok(self.core.read(|engine, now| (engine.standing(now), now)).await?)
    }

    /// Time goes as it does, and a good check-in is waited for.
    async fn in_good_standing(&mut self, what: &str) -> Result<(), DevFault> {
        let good = |standing: &SiteStanding| {
            standing.stage == Stage::Functional && standing.licenses.iter().all(|license| license.last_good.is_some())
        };
        self.walk(what, good, 1_000, SOON).await
    }

    /// Time goes by at some speed, with a beat at each step, until the site is as it is waited for. No step passes the moment
    /// of a change.
    async fn walk(
        &mut self,
        what: &str,
        done: impl Fn(&SiteStanding) -> bool,
        speed: u64,
        within: Duration,
    ) -> Result<(), DevFault> {
        let walking = async {
            self.pace.hold(true);
            let mut before_us = stopwatch_us();
            loop {
                let (standing, now) = self.look().await?;
                if done(&standing) {
                    return Ok(());
                }
                let now_us = stopwatch_us();
                let gone = now_us.saturating_sub(before_us).saturating_mul(speed) / 1_000_000;
                before_us = now_us;
                self.pace.advance(gone.min(STEP_MAX_MS).min(until_change(&standing, now)));
                self.cast.beat().await?;
                tokio::time::sleep(TICK).await;
            }
        };
        match tokio::time::timeout(within, walking).await {
            Ok(walked) => {
                self.pace.hold(false);
                walked
            }
            Err(_) => Err(DevFault::Play(format!("{what} did not come within {} seconds", within.as_secs()))),
        }
    }

    /// Tells how the site is now. Time goes as fast as it does meanwhile.
    async fn scene(&mut self) -> Result<(), DevFault> {
        let (standing, now) = self.look().await?;
        let told = self.told_of_it(&standing).await?;
        let tries = self.cast.tries().await?;
        let [calls, seat] = self.cast.leases().await?;
        let Some(calls) = calls else {
            return Err(DevFault::Play("the calls were ended, which no stage may".to_owned()));
        };
        let ports = self.ports().await?;
        let day = self.day(now);
        let asking = self.asking(&standing);
        let told = told.iter().map(|told| words::brief(told, self.milestones.len() > 1)).collect();
        let scene = Scene { day, at: now.wall, stage: standing.stage, asking, told, tries, calls, ports, seat };
        say(self.out, &scene.tell());
        self.milestones.push(Milestone { day, at: now.wall, stage: standing.stage, calls: scene.ports });
        Ok(())
    }

    /// What the application server was told; a change of stage is told to it by and by.
    async fn told_of_it(&mut self, standing: &SiteStanding) -> Result<Vec<String>, DevFault> {
        let is_awaited = self.milestones.last().is_some_and(|last| last.stage != standing.stage);
        let mut told = self.cast.told()?;
        let waiting = async {
            while is_awaited && told.is_empty() {
                tokio::time::sleep(TICK).await;
                told.extend(self.cast.told()?);
            }
            // Keys that leave and come back are told in the turns after it.
            for _ in 0..5 {
                tokio::time::sleep(TICK).await;
                self.core.read(|_, _| ()).await?;
                told.extend(self.cast.told()?);
            }
            Ok(())
        };
        match tokio::time::timeout(SOON, waiting).await {
            Ok(waited) => waited.map(|()| told),
            Err(_) => Err(DevFault::Play(format!("{} was told nothing", cast::NAME))),
        }
    }

    /// Why the daemon's check-ins fail, and how often they did.
    fn asking(&self, standing: &SiteStanding) -> Option<String> {
        let check_ins = self.site.running.as_ref()?.check_ins();
        let failure = check_ins.view(standing.licenses.first()?.license).failure?;
        Some(format!("its check-ins fail, {} in a row: {}", failure.attempts, failure.trouble))
    }

    /// `3 of 20`: call ports in use and what counts of them.
    async fn ports(&self) -> Result<String, DevFault> {
        let pools = self.core.read(|engine, now| engine.pools(now, None, None)).await?.unwrap_or_default();
        let pool = pools.iter().find(|pool| pool.name.to_string() == CALLS);
        Ok(pool.map_or_else(String::new, |pool| format!("{} of {}", pool.in_use, pool.capacity)))
    }

    fn day(&self, now: Now) -> i64 {
        // Counted from about the last check-in.
        (now.wall.as_ms().saturating_sub(self.began.as_ms()) + HOUR_MS) / DAY_MS
    }

    async fn lose_contact(&mut self) -> Result<(), DevFault> {
        self.site.endpoint.close().await;
        let text =
            "The licensor's endpoint goes away. The daemon asks on and on, and nobody answers; the days begin to fly.";
        say(self.out, &format!("\n{}", wrapped("", text)));
        Ok(())
    }

    /// Stage 6 leaves other leases 12 hours.
    async fn last_hours(&mut self) -> Result<(), DevFault> {
        let over = |standing: &SiteStanding| standing.leases_end_in_ms == Some(0);
        // Slowly enough to be seen.
        self.walk("the end of the 12 hours", over, self.speed.min(12 * HOUR_MS.unsigned_abs()), WALK_MAX).await?;
        let ended = async {
            let mut told = Vec::new();
            while self.cast.leases().await?[1].is_some() || told.is_empty() {
                tokio::time::sleep(TICK).await;
                told.extend(self.cast.told()?);
            }
            Ok::<_, DevFault>(told)
        };
        let told = tokio::time::timeout(SOON, ended).await;
        let told = told.map_err(|_| DevFault::Play("the manager's lease did not end".to_owned()))??;
        let (_, now) = self.look().await?;
        let text = words::later(now.wall, self.day(now), &told);
        say(self.out, &text);
        Ok(())
    }

    async fn regain_contact(&mut self) -> Result<(), DevFault> {
        let text = "The licensor's endpoint is back. Nobody types anything: the daemon asks again within the hour, and a good \
                    answer restores everything at once.";
        say(self.out, &wrapped("", text));
        let clock = self.pace.clock();
        let workshop = vendor::workshop(&self.site.place.licensor(), clock.trusted())?;
        self.site.endpoint.open(&workshop, &clock).await?;
        drop(workshop);
        let good = |standing: &SiteStanding| standing.stage == Stage::Functional;
        self.walk("the check-in that is answered again", good, RETURN_MS_PER_SECOND, WALK_MAX).await
    }

    async fn summary(&mut self) -> Result<(), DevFault> {
        let (_, now) = self.look().await?;
        let mut text = format!("\nThe play is over: {} days went by.\n\n", self.day(now));
        for Milestone { day, at, stage, calls } in &self.milestones {
            let (at, title) = (words::moment(*at), stage.title());
            text.push_str(&format!("  day {day:>2}  {at}  stage {}  {title:<20} call ports {calls}\n", stage.number()));
        }
        text.push_str(&words::closing(self.cast.beats));
        say(self.out, &text);
        Ok(())
    }
}

/// How long it is until something changes by itself; at least a moment.
fn until_change(standing: &SiteStanding, now: Now) -> u64 {
    let ms = |at: WallTime| u64::try_from(at.as_ms().saturating_sub(now.confirmed().as_ms())).unwrap_or(0);
    let stages = standing.licenses.iter().filter_map(|license| license.next).map(|next| ms(next.at));
    stages.chain(standing.leases_end_in_ms).filter(|ms| *ms > 0).min().unwrap_or(u64::MAX)
}

/// Nobody may be reading, and the play goes on all the same.
fn say(out: &mut (dyn Write + Send), text: &str) {
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
