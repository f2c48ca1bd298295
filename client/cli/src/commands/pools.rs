//! Pools, their rules, and shares of them.

use leasehold_proto::v1;

use super::{Outcome, text};
use crate::{
    args::{PoolCommand, PoolsArgs, ShareCommand, ShareHolder, values::Name},
    exit::ExitCode,
    failure::Failure,
    output::Output,
    render::pools::{PoolRuleDocument, PoolsDocument, ShareChangeDocument, ShareDocument, SharesDocument},
    session::Session,
};

/// `leasehold pools`.
pub(super) async fn list(args: PoolsArgs, session: &Session, output: &mut Output) -> Outcome {
    let request = session
        .request(v1::ListPoolsRequest { key: text(args.key.as_ref()), organization: text(args.organization.as_ref()) });
    let answer = session.answer(session.administration().list_pools(request).await)?;
    if let (Some(key), true) = (&args.key, answer.pools.is_empty()) {
        return Err(Failure::new(ExitCode::NotFound, format!("no pool has units of {key}"))
            .with_hint("`leasehold pools` lists the keys and their pools")
            .into());
    }
    output.show(&PoolsDocument { pools: answer.pools.into_iter().map(Into::into).collect() })?;
    Ok(ExitCode::Done)
}

/// `leasehold pool set`.
pub(super) async fn rule(command: PoolCommand, session: &Session, output: &mut Output) -> Outcome {
    let PoolCommand::Set { pool, idle, always } = command;
    if always && idle.ms() == 0 {
        return Err(Failure::new(ExitCode::Usage, "--always needs an idle time, not none").into());
    }
    let request =
        session.request(v1::SetPoolRuleRequest { pool: pool.to_string(), idle_ms: idle.ms(), idle_always: always });
    let answer = session.answer(session.administration().set_pool_rule(request).await)?;
    let pool = answer.pool.ok_or_else(|| Failure::incomplete_answer("the pool"))?;
    output.show(&PoolRuleDocument { pool: pool.into() })?;
    Ok(ExitCode::Done)
}

/// `leasehold share …`.
pub(super) async fn share(command: ShareCommand, session: &Session, output: &mut Output) -> Outcome {
    match command {
        ShareCommand::Set { pool, holder, reserve, limit } => {
            let holder = wire_holder(holder);
            // The call replaces both values: the one that was not given is kept by sending it back.
            let current = match (reserve, limit) {
                (Some(_), Some(_)) => None,
                _ => find_share(&pool, &holder, session).await?,
            };
            let share = v1::Share {
                pool: pool.to_string(),
                reserve: reserve.or(current.as_ref().map(|share| share.reserve)).unwrap_or(0),
                limit: limit.map_or_else(|| current.as_ref().and_then(|share| share.limit), |limit| limit.seats()),
                holder: Some(holder),
                in_use: 0,
            };
            change_share(share, false, session, output).await
        }
        ShareCommand::Rm { pool, holder } => {
            let share = v1::Share { pool: pool.to_string(), holder: Some(wire_holder(holder)), ..Default::default() };
            change_share(share, true, session, output).await
        }
        ShareCommand::List { pool } => {
            let shares = list_shares(pool.as_ref(), session).await?;
            output
                .show(&SharesDocument { shares: shares.into_iter().filter_map(ShareDocument::from_wire).collect() })?;
            Ok(ExitCode::Done)
        }
    }
}

fn wire_holder(holder: ShareHolder) -> v1::share::Holder {
    match (holder.organization, holder.application) {
        (Some(organization), _) => v1::share::Holder::Organization(organization.to_string()),
        (None, application) => v1::share::Holder::Application(text(application.as_ref())),
    }
}

async fn list_shares(pool: Option<&Name>, session: &Session) -> Result<Vec<v1::Share>, Failure> {
    let request = session.request(v1::ListSharesRequest { pool: text(pool) });
    Ok(session.answer(session.administration().list_shares(request).await)?.shares)
}

async fn find_share(pool: &Name, holder: &v1::share::Holder, session: &Session) -> Result<Option<v1::Share>, Failure> {
    let shares = list_shares(Some(pool), session).await?;
    Ok(shares.into_iter().find(|share| share.holder.as_ref() == Some(holder)))
}

async fn change_share(share: v1::Share, remove: bool, session: &Session, output: &mut Output) -> Outcome {
    let request = session.request(v1::SetShareRequest { share: Some(share.clone()), remove });
    let answer = session.answer(session.administration().set_share(request).await)?;
    let share = ShareDocument::from_wire(answer.share.unwrap_or(share))
        .ok_or_else(|| Failure::incomplete_answer("the holder of the share"))?;
    output.show(&ShareChangeDocument { share, removed: remove })?;
    Ok(ExitCode::Done)
}
