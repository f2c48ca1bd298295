//! Standing and check-ins for administrators: what the engine and the check-in room know is put into words here.

use leasehold_engine::{
    standing::SiteStanding,
    time::{Now, WallTime},
};
use leasehold_keys::{note::NOTE_MAX_BYTES, note::NoteKind};
use leasehold_proto::v1;
use tonic::{Code, Status};

use super::{Administration, rule};
use crate::{
    check_in::{ByHand, NoRequest, ToCarry},
    delivery::Mode,
    grpc::{
        convert::{self, administration::standing as wire, timestamp},
        status,
    },
};

impl Administration {
    /// How the site stands, and what of that wants attention.
    pub(super) async fn standing(&self) -> Result<(v1::Standing, Vec<v1::Notice>), Status> {
        let seen = |engine: &leasehold_engine::Engine, now: Now| {
            let told =
                engine.status(now).notices.into_iter().find(|(reason, _)| matches!(*reason, "ENFORCED" | "STANDING"));
            (engine.standing(now), told.map(|(_, message)| message), now)
        };
        let (standing, told, now): (SiteStanding, Option<String>, Now) = self.read(seen).await?;
        let check_ins = &self.daemon.check_ins;
        let ways: Vec<_> = standing
            .licenses
            .iter()
            .map(|it| (check_ins.view(it.license), check_ins.endpoint(it.endpoint.as_deref())))
            .collect();
        let delivery = self.daemon.delivery.watch().borrow().clone();
        let usage_trouble = match (&delivery.failure, delivery.mode) {
            (Some(failure), _) => Some(failure.trouble.to_string()),
            (None, Mode::NotCollected) => Some("no usage is collected".to_owned()),
            (None, Mode::Automatic | Mode::Local) => None,
        };
        let seen = wire::Seen { standing: &standing, told, check_ins: &ways, usage_trouble, now };
        Ok((wire::site(&seen), wire::notices(&seen)))
    }

    pub(super) async fn standing_ahead(
        &self,
        request: &v1::GetStandingRequest,
    ) -> Result<v1::GetStandingResponse, Status> {
        let until = request.until.as_ref().map(|until| rule(convert::wall_time("until", until))).transpose()?;
        let until: WallTime = until.unwrap_or(wire::EVER);
        let (standing, _) = self.standing().await?;
        let ahead = self.read(move |engine, now| engine.standing_ahead(now, until)).await?;
        Ok(v1::GetStandingResponse { standing: Some(standing), ahead: ahead.iter().map(wire::ahead).collect() })
    }

    pub(super) async fn check_in_now(&self, request: &v1::CheckInRequest) -> Result<v1::CheckInResponse, Status> {
        let license = self.license_or_all(&request.license_id)?;
        let outcomes = self.daemon.check_ins.now(license).await.map_err(|refused| status::status(&refused))?;
        if outcomes.is_empty() {
            return Err(not_needed(license));
        }
        let (standing, _) = self.standing().await?;
        Ok(v1::CheckInResponse { outcomes: outcomes.iter().map(wire::outcome).collect(), standing: Some(standing) })
    }

    pub(super) async fn check_in_request(
        &self,
        request: &v1::MakeCheckInRequestRequest,
    ) -> Result<v1::MakeCheckInRequestResponse, Status> {
        let license = self.license_or_all(&request.license_id)?;
        let made = self.daemon.check_ins.make_request(license).await.map_err(|why| match why {
            NoRequest::Core(refused) => status::status(&refused),
            NoRequest::NotNeeded => not_needed(license),
            NoRequest::Several(_) => status::of_rule(convert::malformed("license_id", why.to_string())),
            NoRequest::Trouble(trouble) => status::failed(Code::Internal, "NOT_SIGNED", &format!("{trouble}.")),
        })?;
        let ToCarry { note, answer_by } = made;
        Ok(v1::MakeCheckInRequestResponse {
            suggested_name: format!("{}-{}.check-in", note.license_id, note.counter),
            note: note.bytes().to_vec(),
            answer_by: Some(timestamp(answer_by)),
        })
    }

    pub(super) async fn check_in_answer(&self, note: Vec<u8>) -> Result<v1::TakeCheckInAnswerResponse, Status> {
        if note.len() > NOTE_MAX_BYTES {
            let fault = format!("it has {} bytes; an answer has at most {NOTE_MAX_BYTES}", note.len());
            return Err(status::of_rule(convert::malformed("note", fault)));
        }
        let kind = if NoteKind::claimed(&note) == Some(NoteKind::Time) { "time-note" } else { "answer" };
        let (outcome, message) = match self.daemon.check_ins.take_by_hand(note).await {
            Ok(ByHand::Answer(license, done)) => (Some(wire::answered(license, &done)), "the answer counts".to_owned()),
            Ok(ByHand::Time(time)) => (None, format!("the licensor has signed that it was {time} or later")),
            Err(trouble) => (Some(wire::failed("", &trouble)), format!("nothing has changed: {trouble}")),
        };
        let (standing, _) = self.standing().await?;
        Ok(v1::TakeCheckInAnswerResponse { kind: kind.to_owned(), outcome, message, standing: Some(standing) })
    }

    fn license_or_all(&self, text: &str) -> Result<Option<leasehold_keys::activation::LicenseId>, Status> {
        match text {
            "" => Ok(None),
            text => rule(convert::license_id("license_id", text)).map(Some),
        }
    }
}

fn not_needed(license: Option<leasehold_keys::activation::LicenseId>) -> Status {
    let message = match license {
        Some(license) => format!("License {license} is not in effect here, or does not ask for check-ins."),
        None => "No license in effect asks for check-ins.".to_owned(),
    };
    status::failed(Code::FailedPrecondition, "NO_CHECK_INS", &message)
}
