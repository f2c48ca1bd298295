//! What requests give away besides: it makes no duplicate by itself, and is there to be looked into.

use leasehold_keys::{
    activation::Activation,
    check_in::{CheckInRequest, WitnessKind},
    host::Factor,
    time::{DAY_MS, WallTime},
    usage::Head,
};

use super::CheckInFault;
use crate::ledger::{CheckInDesk, Installed, IssuedFile};

/// A site that reports by usage files and has been silent for longer is told so: more than a period and the days to its due date.
const USAGE_OVERDUE_MS: i64 = 38 * DAY_MS;

/// Records what there is to look into. `before`: what was known before this request.
pub(super) fn remark(
    desk: &CheckInDesk<'_>,
    row: &Installed,
    before: Option<&Installed>,
    request: &CheckInRequest,
    newest: &IssuedFile,
    now: WallTime,
) -> Result<(), CheckInFault> {
    let last = before.and_then(|before| {
        let (text, _) = before.request.rsplit_once("\n\n")?;
        CheckInRequest::parse(&format!("{text}\n")).ok()
    });
    if let Some(detail) = usage(desk, request, last.as_ref())? {
        desk.remark(row, "usage", &detail, now)?;
    }
    for witness in &request.witness {
        // What was told before is told in each later request.
        let known = last.iter().flat_map(|last| &last.witness).any(|other| other == witness);
        if !known {
            let what = match witness.kind {
                WitnessKind::Forked => {
                    "grants that this server did not make in a start of its own: it was cloned, or restored from an older copy"
                }
                WitnessKind::Behind => "grants of a later state than its own: it was restored from a copy, or cloned",
            };
            let detail =
                format!("application servers remember {what} ({} times, last at {})", witness.count, witness.newest);
            desk.remark(row, "witness", &detail, now)?;
        }
    }
    let told = |request: &CheckInRequest| (request.clock.roll_backs, request.clock.withdrawn);
    if told(request) != last.as_ref().map_or((0, 0), told) {
        let detail = format!(
            "its machine's clock fell back {} times, last by {} s, and {} jumps ahead were taken back",
            request.clock.roll_backs,
            request.clock.last_roll_back_ms / 1_000,
            request.clock.withdrawn
        );
        desk.remark(row, "clock", &detail, now)?;
    }
    let changed = last.and_then(|last| request.host_id.differs_in(&last.host_id)).unwrap_or_default();
    if !changed.is_empty() {
        let changed: Vec<&str> = changed.into_iter().map(Factor::name).collect();
        desk.remark(row, "host", &format!("its machine changed in: {}", changed.join(", ")), now)?;
    }
    if newest.closes && request.sequence < newest.sequence && newest.issued < request.created {
        let detail = format!("file {} is in use after file {} closed the license", request.sequence, newest.sequence);
        desk.remark(row, "closed", &detail, now)?;
    }
    Ok(())
}

/// How the usage chain contradicts what was seen of it: by usage files, and by the request before.
fn usage(
    desk: &CheckInDesk<'_>,
    request: &CheckInRequest,
    last: Option<&CheckInRequest>,
) -> Result<Option<String>, CheckInFault> {
    let Some(head) = request.usage_head else {
        return Ok(None);
    };
    let installation = request.installation.id();
    if let Some(file) = desk.usage_file(installation, head.segment)?
        && (head.records > file.records || (head.records == file.records && head.chain != file.end_chain))
    {
        return Ok(Some(format!(
            "its usage chain is at {head}, and the file of segment {} that was received ends after {} records with the chain value {}",
            head.segment, file.records, file.end_chain
        )));
    }
    if let Some(segment) = desk.last_segment(installation, request.created)?.filter(|segment| *segment > head.segment) {
        return Ok(Some(format!("its usage chain is at {head}, and a file of segment {segment} was received before")));
    }
    let earlier: Option<Head> = last.filter(|last| last.created <= request.created).and_then(|last| last.usage_head);
    let back = earlier.filter(|earlier| {
        let (then, now) = ((earlier.segment, earlier.records), (head.segment, head.records));
        now < then || (now == then && head.chain != earlier.chain)
    });
    Ok(back.map(|earlier| format!("its usage chain is at {head}, and was at {earlier} in the request before")))
}

/// Words for a site whose usage files do not come, though its license says where to send them.
pub(super) fn usage_overdue(
    desk: &CheckInDesk<'_>,
    row: &Installed,
    newest: &IssuedFile,
    now: WallTime,
) -> Result<Option<String>, CheckInFault> {
    if Activation::read_unverified(newest.note.as_bytes())?.usage_destination.is_none() {
        return Ok(None);
    }
    let since = desk.usage_until(row.license_id)?.map_or(row.first, |until| until.max(row.first));
    let overdue = now.as_ms().saturating_sub(since.as_ms()) > USAGE_OVERDUE_MS;
    Ok(overdue
        .then(|| format!("No usage file of this license has come in since {since}. Check the delivery of usage files")))
}
