//! The licensor's endpoint for check-ins (07): `POST /v1/check-in` with the request note; back comes the answer with what is
//! newer. What an answer is worth is judged elsewhere.

use std::{fmt, str::FromStr};

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{Empty, Full};
use leasehold_keys::check_in::REPLY_MAX_BYTES;

use super::trouble::Trouble;
use crate::way_out::{
    self, Answer, Network, Origin, TLS_PORT, Way, is_segment,
    problem::{header_of, said},
};

/// Where a server checks in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The host.
    pub origin: Origin,
    /// The path, without `/v1/check-in` and without a slash at its end; mostly empty.
    pub path: String,
}

/// Why a text is no endpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotAnEndpoint(pub &'static str);

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "https://{}{}", self.origin.authority(), self.path)
    }
}

impl FromStr for Endpoint {
    type Err = NotAnEndpoint;

    fn from_str(text: &str) -> Result<Self, NotAnEndpoint> {
        let rest = text.strip_prefix("https://").ok_or(NotAnEndpoint("it does not begin with https://"))?;
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let origin = Origin::read(authority, Some(TLS_PORT)).map_err(NotAnEndpoint)?;
        let path = path.strip_suffix('/').unwrap_or(path);
        let path = path.strip_suffix("/v1/check-in").unwrap_or(path);
        if !path.is_empty() && !path.strip_prefix('/').is_some_and(|path| path.split('/').all(is_segment)) {
            return Err(NotAnEndpoint("its path is made of letters, digits and - _ . = +, without a query"));
        }
        Ok(Self { origin, path: path.to_owned() })
    }
}

impl Endpoint {
    /// The endpoint in effect: the configured one, else that of the activation file.
    pub(super) fn of(configured: Option<&Endpoint>, licensed: Option<&str>) -> Result<Self, Trouble> {
        match (configured, licensed) {
            (Some(configured), _) => Ok(configured.clone()),
            (None, None) => Err(Trouble::NoEndpoint),
            (None, Some(said)) => said.parse().map_err(|why: NotAnEndpoint| Trouble::BadEndpoint {
                said: said.chars().take(200).collect(),
                why: why.to_string(),
            }),
        }
    }

    /// The way there. Reads files: not for the threads of others.
    pub(super) fn way(&self, network: &Network) -> Result<Way, Trouble> {
        let way = network.way(self.origin.clone())?;
        Ok(Way { answer_max_bytes: REPLY_MAX_BYTES, ..way })
    }

    /// Asks; the reply, unread.
    pub(super) async fn ask(&self, way: &Way, request: &[u8]) -> Result<Bytes, Trouble> {
        let target = format!("{}/v1/check-in", self.path);
        let asked = Request::builder()
            .method(Method::POST)
            .uri(&target)
            .header(header::CONTENT_TYPE, "text/plain; charset=utf-8")
            .header(header::CONTENT_LENGTH, request.len())
            .body(Full::new(Bytes::copy_from_slice(request)));
        let answer = way.ask(self.built(asked)?).await?;
        match answer.status {
            StatusCode::OK => Ok(answer.body),
            _ => Err(self.refused(&answer, &target)),
        }
    }

    /// Whether the endpoint answers check-ins now; with the head of its answer.
    pub(super) async fn health(&self, way: &Way) -> Result<Answer, Trouble> {
        let target = format!("{}/v1/health", self.path);
        let asked = Request::builder().uri(&target).body(Empty::<Bytes>::new());
        let answer = way.ask(self.built(asked)?).await?;
        match answer.status {
            StatusCode::OK if answer.says_ok() => Ok(answer),
            StatusCode::OK => {
                let why = "what it says of its health is not what a licensor's endpoint says".to_owned();
                Err(way_out::Trouble::Garbage { at: self.origin.to_string(), why }.into())
            }
            _ => Err(self.refused(&answer, &target)),
        }
    }

    fn built<B>(&self, request: http::Result<Request<B>>) -> Result<Request<B>, Trouble> {
        request.map_err(|why| Trouble::BadEndpoint { said: self.to_string(), why: why.to_string() })
    }

    fn refused(&self, answer: &Answer, target: &str) -> Trouble {
        let status = answer.status.as_u16();
        let said = said(answer);
        match status {
            300..=399 => Trouble::Redirected { to: header_of(answer, header::LOCATION) },
            404 | 405 => Trouble::NotThere { what: format!("https://{}{target}", self.origin.authority()), said },
            408 | 425 | 429 | 500.. => {
                let retry_after_s = header_of(answer, header::RETRY_AFTER).parse().ok();
                Trouble::ServerError { status, said, retry_after_s }
            }
            400..=499 => Trouble::ServerRefused { status, said },
            _ => {
                way_out::Trouble::Garbage { at: self.origin.to_string(), why: format!("its status is {status}") }.into()
            }
        }
    }
}
