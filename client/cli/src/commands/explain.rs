//! `leasehold explain`.

use leasehold_proto::v1::{self, acquire_request, user_logon};

use super::{Outcome, text};
use crate::{
    args::ExplainArgs, exit::ExitCode, failure::Failure, output::Output, render::explain::ExplainDocument,
    session::Session,
};

/// What the daemon takes this program for where it asks as an application would.
const CALLER_NAME: &str = "leasehold";

/// `leasehold explain`.
pub(super) async fn explain(args: ExplainArgs, session: &Session, output: &mut Output) -> Outcome {
    let needed_keys: Vec<String> = args.keys.iter().map(ToString::to_string).collect();
    let subject = match &args.for_station {
        Some(station) => {
            acquire_request::Subject::Station(v1::StationUse { station: station.to_string(), needed_keys })
        }
        None => acquire_request::Subject::Logon(v1::UserLogon {
            user: text(args.user.as_ref()),
            at: match (&args.station, &args.remote) {
                (Some(station), _) => Some(user_logon::At::Station(station.to_string())),
                (None, Some(number)) => Some(user_logon::At::DynamicRemoteNumber(number.to_string())),
                (None, None) => None,
            },
            computer: text(args.computer.as_ref()),
            needed_keys,
            application: text(args.application.as_ref()),
        }),
    };
    let application = args.application.as_ref().map_or_else(|| CALLER_NAME.to_owned(), ToString::to_string);
    let acquire = v1::AcquireRequest {
        request_id: uuid::Uuid::new_v4().into_bytes().to_vec(),
        caller: Some(v1::Caller {
            name: CALLER_NAME.to_owned(),
            application,
            version: text(args.application_version.as_ref()),
            ..Default::default()
        }),
        subject: Some(subject),
        ..Default::default()
    };
    let request = session.request(v1::ExplainRequest { acquire: Some(acquire) });
    let answer = session.answer(session.leasing().explain(request).await)?;
    let document = ExplainDocument::from_wire(answer).ok_or_else(|| Failure::incomplete_answer("the decision"))?;
    output.show(&document)?;
    Ok(if document.would_grant.is_some() { ExitCode::Done } else { ExitCode::Refused })
}
