//! What the engine would say to one more file, asked of a second engine that holds the accepted files and nothing else:
//! so that a check and a load give one answer. Nothing that is live is touched.

use leasehold_engine::{
    Engine, Limits,
    command::{Command, FolderFile},
    decision::{Reply, Taken},
    refusal::FileRefusal,
    row::{FileRow, Row},
    time::{LeaseTime, Now},
    view::LicenseView,
};
use leasehold_keys::{digest::Sha256, marks::Mark, time::WallTime};

/// Longer than any grace: what was missed or lost so long ago has no effect any more.
const LONG_AGO_MS: u64 = 1_000 * 3_600_000;

/// The verdict on `file` beside the accepted files. `None` where the engine gives none, which it always does.
pub(super) fn forecast(
    accepted: &[LicenseView],
    revoked: Vec<(Sha256, WallTime)>,
    file: FolderFile,
    now: Now,
) -> Option<Result<Taken, FileRefusal>> {
    let mut engine = Engine::new(Limits::default());
    let long_ago = LeaseTime::from_ms(0);
    for view in accepted {
        engine.restore(Row::File(FileRow {
            terms: view.terms.clone(),
            name: view.file_name.clone(),
            accepted: now.wall,
            host_role: view.host_role,
            absent_since: (view.state == "missing").then_some(long_ago),
            host_lost_since: (view.state == "host lost").then_some(long_ago),
            unloaded: view.state == "unloaded",
            earlier: Vec::new(),
        }));
    }
    for view in accepted {
        engine.restore(Row::Mark(Mark::of(&view.terms)));
    }
    let now = Now { lease: LeaseTime::from_ms(LONG_AGO_MS), ..now };
    engine.recover(now);
    // It is never refused.
    let _ = engine.apply(now, Command::Revocations(revoked)).0;
    match engine.apply(now, Command::Folder(vec![file])).0 {
        Ok(Reply::Folder(verdicts)) => verdicts.into_iter().next().map(|verdict| verdict.verdict),
        _ => None,
    }
}
