//! A seeded world round the real engine and the real core: storage, network, clocks, application servers and administrators
//! that fail, err and lie, and an oracle that judges all of it. One thread, no clock, no chance but the seed's: the same
//! seed and steps give the same world, on any machine.
//!
//! Not here: gRPC, the watched folder's reading of files, SQLite. They have their own tests.

mod apps;
mod asked;
mod books;
mod chance;
mod disk;
mod oracle;
pub(crate) mod tally;
mod vendor;
mod world;

use tally::Tally;
use world::World;

/// What came of one seed.
#[derive(Debug)]
pub(crate) struct Played {
    /// Its counts.
    pub(crate) tally: Tally,
    /// The law that was broken, and at which step.
    pub(crate) violation: Option<(u64, String)>,
    /// What happened, where it was to be told.
    pub(crate) story: Vec<String>,
}

/// Which steps of a seed are taken.
#[derive(Clone, Debug)]
pub(crate) enum Steps {
    /// The first so many.
    First(u64),
    /// These.
    These(Vec<u64>),
}

/// Plays one seed.
pub(crate) fn play(seed: u64, steps: &Steps, tell: bool) -> Played {
    let mut world = World::new(seed, tell);
    let mut last = 0;
    let mut take = |world: &mut World, step| {
        last = step;
        world.step(step);
        world.oracle.violation.is_none()
    };
    if world.oracle.violation.is_none() {
        let whole = match steps {
            Steps::First(count) => (0..*count).all(|step| take(&mut world, step)),
            Steps::These(these) => these.iter().all(|step| take(&mut world, *step)),
        };
        if whole {
            world.finish();
        }
    }
    let violation = world.oracle.violation.take().map(|how| (last, how));
    Played { tally: world.oracle.tally, violation, story: world.story.unwrap_or_default() }
}

/// Plays one seed; a panic is a violation, too.
pub(crate) fn play_safely(seed: u64, steps: &Steps, tell: bool) -> Played {
    let played = std::panic::catch_unwind(|| play(seed, steps, tell));
    played.unwrap_or_else(|panic| {
        let why = panic.downcast_ref::<String>().cloned();
        let why = why.or_else(|| panic.downcast_ref::<&str>().map(|why| (*why).to_owned()));
        let how = format!("panic: {}", why.unwrap_or_default());
        Played { tally: Tally::default(), violation: Some((0, how)), story: Vec::new() }
    })
}

/// Leaves out steps as long as the same law stays broken; returns those that are needed, and what they break.
pub(crate) fn shrink(seed: u64, broken_at: u64, violation: &str) -> (Vec<u64>, String) {
    let law = |violation: &str| violation.split(':').next().unwrap_or_default().to_owned();
    let wanted = law(violation);
    let mut kept: Vec<u64> = (0..=broken_at).collect();
    let mut how = violation.to_owned();
    let mut piece = kept.len().div_ceil(2).max(1);
    loop {
        let (mut at, mut less) = (0, false);
        while at < kept.len() {
            let end = (at + piece).min(kept.len());
            let fewer: Vec<u64> = kept[..at].iter().chain(&kept[end..]).copied().collect();
            let played = play_safely(seed, &Steps::These(fewer.clone()), false);
            match played.violation {
                Some((_, again)) if law(&again) == wanted => {
                    (kept, how, less) = (fewer, again, true);
                }
                _ => at = end,
            }
        }
        if piece == 1 && !less {
            return (kept, how);
        }
        piece = if less { piece } else { (piece / 2).max(1) };
    }
}
