//! What is said after every answer: from enforcement stage 3 on, that the site is at it (05, Standing).

use leasehold_proto::v1;

use crate::{
    commands::{Outcome, Stop},
    exit::ExitCode,
    render::standing::StandingDocument,
    session::Session,
};

/// From this stage on it is said on every answer.
const FROM_STAGE: u32 = 3;

/// The site is at a stage of which every answer tells.
#[derive(Debug)]
pub(crate) struct Notice(StandingDocument);

impl Notice {
    /// The standing that it tells of.
    pub(crate) const fn standing(&self) -> &StandingDocument {
        &self.0
    }
}

/// Whether the daemon is worth asking once more after a command that ended so.
pub(crate) fn is_due(outcome: &Outcome) -> bool {
    match outcome {
        Ok(_) => true,
        Err(Stop::Failed(failure)) => !matches!(failure.exit, ExitCode::Unreachable | ExitCode::Permission),
        Err(Stop::Output(_)) => false,
    }
}

/// Asks by the connection that the command had. Older daemons cannot tell, and callers that administer nothing are not
/// told: neither is worth a word.
pub(crate) async fn ask(session: &Session) -> Option<Notice> {
    let request = session.brief_request(v1::GetStandingRequest { until: None });
    let answer = session.administration().get_standing(request).await.ok()?.into_inner();
    let standing = StandingDocument::from(answer.standing?);
    (standing.applies && standing.stage >= FROM_STAGE).then_some(Notice(standing))
}
