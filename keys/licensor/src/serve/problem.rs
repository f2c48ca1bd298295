//! What an answer says that is neither receipt nor reply: RFC 9457, with a stable `code` and a `detail` in words.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::json;

use crate::{check_in::CheckInFault, intake::IntakeFault};

/// An answer that refuses.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) status: StatusCode,
    pub(super) code: &'static str,
    pub(super) detail: String,
}

impl Problem {
    pub(super) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, detail: detail.into() }
    }

    /// Too much at once: to be tried again.
    pub(super) fn busy(what: &str) -> Self {
        let detail = format!("too many {what} are on their way at once; send this one again later");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", detail)
    }
}

impl From<IntakeFault> for Problem {
    fn from(fault: IntakeFault) -> Self {
        let status = match &fault {
            IntakeFault::Name(_) => StatusCode::BAD_REQUEST,
            IntakeFault::Damaged(_)
            | IntakeFault::Misnamed(_)
            | IntakeFault::NotClosed(_)
            | IntakeFault::OtherRecipient => StatusCode::UNPROCESSABLE_ENTITY,
            IntakeFault::UnknownLicense(_) => StatusCode::FORBIDDEN,
            IntakeFault::Fork { .. } => StatusCode::CONFLICT,
            IntakeFault::Failed(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        let detail = match &fault {
            // Paths and keys of the licensor are nobody else's business.
            IntakeFault::Failed(_) => {
                "the licensor cannot take files at the moment; send this one again later".to_owned()
            }
            fault => fault.to_string(),
        };
        Self::new(status, fault.code(), detail)
    }
}

impl From<CheckInFault> for Problem {
    fn from(fault: CheckInFault) -> Self {
        let status = match &fault {
            CheckInFault::Refused(_) => StatusCode::UNPROCESSABLE_ENTITY,
            CheckInFault::UnknownLicense(_) | CheckInFault::UnknownFile { .. } | CheckInFault::Crowd(_) => {
                StatusCode::FORBIDDEN
            }
            CheckInFault::OnHold { .. } => StatusCode::PAYMENT_REQUIRED,
            CheckInFault::Stale { .. } => StatusCode::CONFLICT,
            CheckInFault::Failed(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        let detail = match &fault {
            CheckInFault::Failed(_) => {
                "the licensor cannot answer check-ins at the moment; check in again later".to_owned()
            }
            fault => fault.to_string(),
        };
        Self::new(status, fault.code(), detail)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = json!({
            "type": "about:blank", "title": self.status.canonical_reason(), "status": self.status.as_u16(),
            "code": self.code, "detail": self.detail,
        });
        let kind = [(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"))];
        let mut response = (self.status, kind, body.to_string()).into_response();
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("60"));
        }
        response
    }
}
