//! Live leases: listing and revoking them.

use leasehold_proto::v1;

use super::{Outcome, mixed, text, told_refusals};
use crate::{
    args::{LeasesArgs, RevokeArgs},
    exit::ExitCode,
    failure::Failure,
    output::Output,
    render::leases::{HeldLeaseDocument, LeasesDocument, RevokeDocument, RevokeOutcomeDocument},
    session::{Session, every_page},
};

/// The most leases that one call revokes.
const REVOKE_LIMIT: usize = 10_000;

/// `leasehold leases`.
pub(super) async fn list(args: LeasesArgs, session: &Session, output: &mut Output) -> Outcome {
    let filter = v1::ListLeasesRequest {
        user: text(args.user.as_ref()),
        station: text(args.station.as_ref()),
        pool: text(args.pool.as_ref()),
        application: text(args.application.as_ref()),
        holder: text(args.holder.as_ref()),
        ..Default::default()
    };
    let leases = fetch_leases(filter, session).await?;
    output.show(&LeasesDocument { leases })?;
    Ok(ExitCode::Done)
}

/// All leases that the filter lets through.
pub(super) async fn fetch_leases(
    filter: v1::ListLeasesRequest,
    session: &Session,
) -> Result<Vec<HeldLeaseDocument>, Failure> {
    let leases = every_page(async |page_token| {
        let request = session.request(v1::ListLeasesRequest { page_token, ..filter.clone() });
        let page = session.answer(session.administration().list_leases(request).await)?;
        Ok((page.leases, page.next_page_token))
    })
    .await?;
    Ok(leases.into_iter().filter_map(HeldLeaseDocument::from_wire).collect())
}

/// `leasehold revoke`.
pub(super) async fn revoke(args: RevokeArgs, session: &Session, output: &mut Output) -> Outcome {
    let reason = args.reason.as_str().to_owned();
    let mut leases = args.leases;
    leases.sort_unstable();
    leases.dedup();
    if leases.len() > REVOKE_LIMIT {
        return Err(
            Failure::new(ExitCode::Usage, format!("at most {REVOKE_LIMIT} leases can be revoked at once")).into()
        );
    }
    let of = match (&args.user, &args.station) {
        (Some(user), _) => user.to_string(),
        (None, Some(station)) => format!("station {station}"),
        (None, None) => String::new(),
    };
    let request = session.request(v1::RevokeLeasesRequest {
        lease_ids: leases,
        user: text(args.user.as_ref()),
        station: text(args.station.as_ref()),
        reason: reason.clone(),
    });
    let answer = session.answer(session.administration().revoke_leases(request).await)?;
    let outcomes: Vec<RevokeOutcomeDocument> = answer
        .outcomes
        .into_iter()
        .map(|outcome| RevokeOutcomeDocument { lease_id: outcome.lease_id, refusal: outcome.refusal.map(Into::into) })
        .collect();
    let refusals: Vec<_> = outcomes.iter().filter_map(|outcome| outcome.refusal.clone()).collect();
    let asked = outcomes.len();
    let (revoked, refused) = ((asked - refusals.len()) as u64, refusals.len() as u64);
    if asked != 1 || refusals.is_empty() || output.is_json() {
        output.show(&RevokeDocument { reason, revoked, refused, outcomes, of })?;
    }
    if refusals.is_empty() {
        return Ok(ExitCode::Done);
    }
    let codes: Vec<u8> = refusals.iter().map(|refusal| refusal.exit_code).collect();
    let exit = mixed(revoked, &codes);
    Err(told_refusals(refusals, asked, false, exit).into())
}
