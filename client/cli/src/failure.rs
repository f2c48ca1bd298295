//! What went wrong, as a person and a program are told: the sentence, the hint apart from it, the reason and facts of
//! the daemon's refusal, and the exit code.

use std::{collections::BTreeMap, error::Error as _, io};

use leasehold_proto::{ERROR_DOMAIN, v1};
use serde::Serialize;
use tonic::Code;
use tonic_types::StatusExt;

use crate::{exit::ExitCode, reason::Reason};

/// A command that did not succeed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The exit code.
    pub exit: ExitCode,
    /// The daemon's reason in capitals, where it gave one.
    pub reason: Option<String>,
    /// One sentence: what was refused or failed, and why.
    pub message: String,
    /// The facts of the refusal.
    pub facts: BTreeMap<String, String>,
    /// What to do next.
    pub hint: Option<String>,
    /// When the daemon advises to try again, in milliseconds.
    pub retry_after_ms: Option<u64>,
}

impl Failure {
    /// A failure that this program found itself.
    #[must_use]
    pub fn new(exit: ExitCode, message: impl Into<String>) -> Self {
        Self { exit, reason: None, message: message.into(), facts: BTreeMap::new(), hint: None, retry_after_ms: None }
    }

    /// The same with a hint.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The answer lacks what the contract promises.
    #[must_use]
    pub fn incomplete_answer(what: &str) -> Self {
        Self::new(ExitCode::Unexpected, format!("the daemon's answer lacks {what}"))
            .with_hint("`leasehold status` shows its version: is it that of this program?")
    }

    /// A local file that cannot be read or written.
    #[must_use]
    pub fn file(what: &str, path: &std::path::Path, error: &io::Error) -> Self {
        let exit = match error.kind() {
            io::ErrorKind::NotFound => ExitCode::NotFound,
            io::ErrorKind::PermissionDenied => ExitCode::Permission,
            _ => ExitCode::Unexpected,
        };
        Self::new(exit, format!("cannot {what} {}: {}", path.display(), words(error)))
    }

    /// The daemon cannot be reached. `cause` is the system's words.
    #[must_use]
    pub fn unreachable(server: &str, cause: &str) -> Self {
        let cause = without_number(cause);
        match cause.to_lowercase().as_str() {
            "permission denied" => Self::new(ExitCode::Permission, format!("this account may not connect to {server}"))
                .with_hint(
                    "run it as root, or as a member of the group that the socket belongs to (`ls -l` shows which)",
                ),
            "no such file or directory" => {
                Self::new(ExitCode::Unreachable, format!("no daemon listens at {server}: there is no such socket"))
                    .with_hint(START_HINT)
            }
            "connection refused" => {
                Self::new(ExitCode::Unreachable, format!("no daemon listens at {server}: the connection was refused"))
                    .with_hint(START_HINT)
            }
            _ => Self::new(ExitCode::Unreachable, format!("cannot reach the daemon at {server}: {cause}"))
                .with_hint(START_HINT),
        }
    }

    /// A refusal by the status of a call.
    #[must_use]
    pub fn from_status(status: &tonic::Status, server: &str) -> Self {
        let details = status.get_error_details();
        let info = details.error_info().filter(|info| info.domain == ERROR_DOMAIN);
        let (reason, facts) = match info {
            Some(info) => {
                (Some(info.reason.clone()), info.metadata.iter().map(|(k, v)| (k.clone(), v.clone())).collect())
            }
            None => (None, BTreeMap::new()),
        };
        if reason.is_none() && matches!(status.code(), Code::Unavailable | Code::Unknown) && status.source().is_some() {
            return Self::unreachable(server, &innermost(status));
        }
        let retry_after_ms = details
            .retry_info()
            .and_then(|info| info.retry_delay)
            .map(|delay| u64::try_from(delay.as_millis()).unwrap_or(u64::MAX));
        Self::from_parts(status.code(), reason, status.message().to_owned(), facts, retry_after_ms)
    }

    /// A refusal by a message inside an answer.
    #[must_use]
    pub fn from_refusal(refusal: v1::Refusal) -> Self {
        let reason = Some(refusal.reason).filter(|reason| !reason.is_empty());
        let retry_after_ms = Some(refusal.retry_after_ms).filter(|ms| *ms > 0);
        let facts = refusal.facts.into_iter().collect();
        Self::from_parts(Code::from_i32(refusal.code), reason, refusal.message, facts, retry_after_ms)
    }

    fn from_parts(
        code: Code,
        reason: Option<String>,
        message: String,
        facts: BTreeMap<String, String>,
        retry_after_ms: Option<u64>,
    ) -> Self {
        let known = reason.as_deref().and_then(Reason::parse);
        let exit = known.map_or_else(|| exit_of(code), Reason::exit);
        let hint = known.map_or_else(|| hint_of(code).map(str::to_owned), |known| Some(known.hint(&facts)));
        let hint = hint.filter(|hint| !says_already(&message, hint));
        let message = if message.is_empty() {
            format!("the daemon refused it: {}", reason.as_deref().unwrap_or(code.description()))
        } else {
            message
        };
        Self { exit, reason, message, facts, hint, retry_after_ms }
    }

    /// The JSON document for stderr.
    #[must_use]
    pub fn document(&self) -> FailureDocument<'_> {
        FailureDocument {
            error: ErrorDocument {
                exit_code: self.exit.number(),
                kind: self.exit.name(),
                reason: self.reason.as_deref(),
                message: &self.message,
                hint: self.hint.as_deref(),
                facts: &self.facts,
                retry_after_ms: self.retry_after_ms,
            },
        }
    }
}

const START_HINT: &str = "is leaseholdd running? `systemctl status leaseholdd` says; another address is given by --server \
                          or LEASEHOLD_SERVER";

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::new(ExitCode::Unexpected, format!("cannot write the output: {}", words(&error)))
    }
}

/// The JSON form of a [`Failure`], one document on stderr.
#[derive(Serialize)]
pub struct FailureDocument<'a> {
    /// The failure.
    pub error: ErrorDocument<'a>,
}

/// See [`Failure`] for the fields.
#[derive(Serialize)]
pub struct ErrorDocument<'a> {
    /// The exit code of the process.
    pub exit_code: u8,
    /// Its name, such as `not_found`.
    pub kind: &'a str,
    /// The daemon's reason in capitals, or null.
    pub reason: Option<&'a str>,
    /// One sentence.
    pub message: &'a str,
    /// What to do next, or null.
    pub hint: Option<&'a str>,
    /// The facts of the refusal.
    pub facts: &'a BTreeMap<String, String>,
    /// When to try again, or null.
    pub retry_after_ms: Option<u64>,
}

/// The exit code for a status that carries no reason known here.
fn exit_of(code: Code) -> ExitCode {
    match code {
        Code::Ok => ExitCode::Done,
        Code::InvalidArgument | Code::OutOfRange => ExitCode::Usage,
        Code::NotFound => ExitCode::NotFound,
        Code::AlreadyExists | Code::FailedPrecondition | Code::Aborted => ExitCode::Refused,
        Code::PermissionDenied | Code::Unauthenticated => ExitCode::Permission,
        Code::DeadlineExceeded | Code::Cancelled => ExitCode::Unreachable,
        Code::ResourceExhausted | Code::Unavailable => ExitCode::NotNow,
        Code::Unknown | Code::Internal | Code::DataLoss | Code::Unimplemented => ExitCode::Unexpected,
    }
}

fn hint_of(code: Code) -> Option<&'static str> {
    match code {
        Code::PermissionDenied | Code::Unauthenticated => Some(
            "administration is over the Unix socket only, by an account that the daemon's configuration allows: run it \
             as root, or with --server unix:///run/leasehold/leasehold.sock",
        ),
        Code::DeadlineExceeded | Code::Cancelled => {
            Some("the daemon may be busy: `leasehold status` tells; --timeout 5m waits longer")
        }
        Code::Unimplemented => Some("the daemon is of another version than this program"),
        Code::Unavailable | Code::ResourceExhausted => {
            Some("wait a moment and try again; `leasehold status` tells more")
        }
        Code::Internal | Code::Unknown | Code::DataLoss => {
            Some("the daemon's log tells more: `journalctl -u leaseholdd`")
        }
        Code::Ok
        | Code::InvalidArgument
        | Code::OutOfRange
        | Code::NotFound
        | Code::AlreadyExists
        | Code::FailedPrecondition
        | Code::Aborted => None,
    }
}

/// Whether the daemon's sentence names every command of the hint, so that the hint would only repeat it.
fn says_already(message: &str, hint: &str) -> bool {
    // Every second part between backquotes is a command.
    let mut commands = hint.split('`').skip(1).step_by(2).peekable();
    commands.peek().is_some() && commands.all(|command| message.contains(&format!("`{command}`")))
}

/// An operating system's words without Rust's `(os error 2)`.
fn without_number(text: &str) -> &str {
    text.find(" (os error").map_or(text, |end| &text[..end])
}

fn words(error: &io::Error) -> String {
    without_number(&error.to_string()).to_lowercase()
}

fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use tonic::{Code, Status};
    use tonic_types::{ErrorDetails, StatusExt};

    use super::Failure;
    use crate::exit::ExitCode;

    const SERVER: &str = "unix:///tmp/leasehold.sock";

    #[test]
    fn a_refusal_keeps_reason_and_facts_and_gets_a_hint() {
        let facts = HashMap::from([("pool".to_owned(), "A_CONCURRENT".to_owned())]);
        let details = ErrorDetails::with_error_info("POOL_EXHAUSTED", "leasehold", facts);
        let status = Status::with_error_details(Code::ResourceExhausted, "all 2 seats are taken", details);
        let failure = Failure::from_status(&status, SERVER);
        assert_eq!(failure.exit, ExitCode::Refused);
        assert_eq!(failure.reason.as_deref(), Some("POOL_EXHAUSTED"));
        assert!(failure.hint.unwrap().contains("leasehold revoke LEASE"));
    }

    #[test]
    fn a_hint_does_not_repeat_the_sentence() {
        let status = |message: &str| {
            let details = ErrorDetails::with_error_info("LICENSE_UNKNOWN", "leasehold", HashMap::new());
            Failure::from_status(&Status::with_error_details(Code::NotFound, message, details), SERVER)
        };
        assert_eq!(status("No such license. `leasehold licenses --all` lists them.").hint, None);
        assert!(status("No such license.").hint.is_some());
    }

    #[test]
    fn codes_without_a_reason_have_exit_codes_too() {
        for (code, exit) in [
            (Code::InvalidArgument, ExitCode::Usage),
            (Code::NotFound, ExitCode::NotFound),
            (Code::AlreadyExists, ExitCode::Refused),
            (Code::PermissionDenied, ExitCode::Permission),
            (Code::DeadlineExceeded, ExitCode::Unreachable),
            (Code::Unavailable, ExitCode::NotNow),
            (Code::Internal, ExitCode::Unexpected),
        ] {
            assert_eq!(Failure::from_status(&Status::new(code, "x"), SERVER).exit, exit, "{code:?}");
        }
    }

    #[test]
    fn reasons_of_other_domains_are_not_ours() {
        let details = ErrorDetails::with_error_info("POOL_EXHAUSTED", "proxy.example", HashMap::new());
        let status = Status::with_error_details(Code::Unavailable, "away", details);
        let failure = Failure::from_status(&status, SERVER);
        assert_eq!((failure.exit, failure.reason), (ExitCode::NotNow, None));
    }

    #[test]
    fn causes_of_a_missing_daemon_are_told_apart() {
        for (cause, exit) in [
            ("No such file or directory (os error 2)", ExitCode::Unreachable),
            ("Connection refused (os error 111)", ExitCode::Unreachable),
            ("Permission denied (os error 13)", ExitCode::Permission),
            ("no connection within 3 s", ExitCode::Unreachable),
        ] {
            let failure = Failure::unreachable(SERVER, cause);
            assert!(!failure.message.contains("os error"), "{}", failure.message);
            assert_eq!(failure.exit, exit, "{cause}");
            assert!(failure.message.contains(SERVER) && failure.hint.is_some());
        }
    }
}
