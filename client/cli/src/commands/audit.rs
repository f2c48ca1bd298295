//! What happened: denials and the audit log; whether all is in order: compliance and the log's chain; copies to look at.

use leasehold_proto::v1;

use super::{Outcome, text};
use crate::{
    args::{AuditArgs, AuditCommand, DbCommand, DenialsArgs, values::Moment},
    exit::ExitCode,
    failure::Failure,
    output::Output,
    render::{
        At,
        audit::{AuditDocument, ComplianceDocument, SnapshotDocument, VerifyAuditDocument},
        denials::DenialsDocument,
    },
    session::{Session, every_page},
};

/// The moment from which on something is listed. What is listed is dated by the time that the server goes by, which may be
/// far from the clock of the machine on which this runs: so a distance back counts from that.
async fn resolve(since: Moment, session: &Session, output: &Output) -> Result<At, Failure> {
    let mut clock = output.clock().clone();
    if since.is_distance() {
        let request = session.request(v1::GetStatusRequest {});
        let status = session.answer(session.administration().get_status(request).await)?;
        // Older daemons do not tell.
        if let Some(trusted) = status.clock.and_then(|clock| At::from_wire(clock.trusted)) {
            clock = clock.at(trusted.0);
        }
    }
    since.resolve(&clock).map(At).map_err(|message| Failure::new(ExitCode::Usage, format!("--since: {message}")))
}

/// A moment as it goes on the wire.
pub(super) fn wire_time(at: At) -> prost_types::Timestamp {
    prost_types::Timestamp { seconds: at.0.as_second(), nanos: at.0.subsec_nanosecond() }
}

/// `leasehold denials`.
pub(super) async fn denials(args: DenialsArgs, session: &Session, output: &mut Output) -> Outcome {
    let since = resolve(args.since, session, output).await?;
    let denials = every_page(async |page_token| {
        let request = session.request(v1::ListDenialsRequest {
            since: Some(wire_time(since)),
            pool: text(args.pool.as_ref()),
            user: text(args.user.as_ref()),
            page_token,
            page_size: 0,
        });
        let page = session.answer(session.administration().list_denials(request).await)?;
        Ok((page.denials, page.next_page_token))
    })
    .await?;
    let of_pool = args.pool.is_some();
    output.show(&DenialsDocument { since, of_pool, denials: denials.into_iter().map(Into::into).collect() })?;
    Ok(ExitCode::Done)
}

/// `leasehold compliance`.
pub(super) async fn compliance(session: &Session, output: &mut Output) -> Outcome {
    let request = session.request(v1::CheckComplianceRequest {});
    let answer = session.answer(session.administration().check_compliance(request).await)?;
    let document = ComplianceDocument::from(answer);
    output.show(&document)?;
    Ok(if document.compliant { ExitCode::Done } else { ExitCode::ComplianceExceeded })
}

/// `leasehold audit` and `leasehold audit verify`.
pub(super) async fn audit(args: AuditArgs, session: &Session, output: &mut Output) -> Outcome {
    match args.command {
        Some(AuditCommand::Verify) => {
            let request = session.long_request(v1::VerifyAuditRequest {});
            let answer = session.answer(session.administration().verify_audit(request).await)?;
            let document = VerifyAuditDocument::from(answer);
            output.show(&document)?;
            Ok(if document.intact { ExitCode::Done } else { ExitCode::AuditDamaged })
        }
        None => {
            let since = resolve(args.since, session, output).await?;
            let entries = every_page(async |page_token| {
                let request =
                    session.request(v1::ListAuditRequest { since: Some(wire_time(since)), page_token, page_size: 0 });
                let page = session.answer(session.administration().list_audit(request).await)?;
                Ok((page.entries, page.next_page_token))
            })
            .await?;
            output.show(&AuditDocument { since, entries: entries.into_iter().map(Into::into).collect() })?;
            Ok(ExitCode::Done)
        }
    }
}

/// `leasehold db snapshot`.
pub(super) async fn database(command: DbCommand, session: &Session, output: &mut Output) -> Outcome {
    let DbCommand::Snapshot { name } = command;
    let request = session.long_request(v1::SnapshotDatabaseRequest { file_name: name.to_string() });
    let answer = session.answer(session.administration().snapshot_database(request).await)?;
    output.show(&SnapshotDocument { path: answer.path, bytes: answer.bytes })?;
    Ok(ExitCode::Done)
}
