//! One connection to one server, from its dial to its loss. It does not try again.

use std::{future::Future, pin::Pin, time::Duration};

use leasehold_proto::v1::{self, attach_request::Message, attach_response, leasing_client::LeasingClient};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming, transport::Channel};

use crate::{
    clock::Moment,
    endpoint::{Endpoint, connect},
    refusal::{Obstacle, Refusal},
    session::Session,
};

/// How long a server may take to say welcome, the connection included.
const WELCOME_TIMEOUT: Duration = Duration::from_secs(8);
/// Messages between the keeper and the connection.
const IN_TRANSIT: usize = 256;
/// A welcome names every lease of the run, which may be hundreds of thousands.
const LARGEST_ANSWER_BYTES: usize = 16 * 1024 * 1024;

pub(crate) type Dial = Pin<Box<dyn Future<Output = Result<Welcomed, Obstacle>> + Send>>;

/// The two halves of an attached stream.
pub(crate) struct Wire {
    sender: mpsc::Sender<v1::AttachRequest>,
    answers: Streaming<v1::AttachResponse>,
}

/// A server that accepted this run.
pub(crate) struct Welcomed {
    pub(crate) server: Endpoint,
    pub(crate) channel: Channel,
    pub(crate) wire: Wire,
    pub(crate) welcome: v1::Welcome,
}

/// Where the connection stands.
pub(crate) enum Link {
    /// Nothing is tried until then.
    Resting(Moment),
    Dialing(Dial),
    Attached(Wire),
    /// Nothing more is sent; answers are awaited until then.
    Draining(Streaming<v1::AttachResponse>, Moment),
}

/// What a link brings.
pub(crate) enum News {
    Dialed(Result<Box<Welcomed>, Obstacle>),
    Answer(Box<v1::AttachResponse>),
    /// Messages went out.
    Sent,
    Lost(Obstacle),
}

/// Connects and introduces this run.
pub(crate) async fn attach(server: Endpoint, hello: v1::Hello) -> Result<Welcomed, Obstacle> {
    match tokio::time::timeout(WELCOME_TIMEOUT, introduce(server, hello)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(Obstacle::Silence),
    }
}

async fn introduce(server: Endpoint, hello: v1::Hello) -> Result<Welcomed, Obstacle> {
    let channel = connect(&server).await.map_err(Obstacle::Unreachable)?;
    let (sender, requests) = mpsc::channel(IN_TRANSIT);
    let hello = v1::AttachRequest { message: Some(Message::Hello(hello)), answers_received: 0 };
    // There is room, and the receiver is in the next line.
    let _ = sender.try_send(hello);
    let mut answers = LeasingClient::new(channel.clone())
        .max_decoding_message_size(LARGEST_ANSWER_BYTES)
        .attach(ReceiverStream::new(requests))
        .await
        .map_err(|status| obstacle(&status))?
        .into_inner();
    match answers.message().await {
        Ok(Some(v1::AttachResponse { message: Some(attach_response::Message::Welcome(welcome)), .. })) => {
            Ok(Welcomed { server, channel, wire: Wire { sender, answers }, welcome })
        }
        Ok(_) => Err(Obstacle::Broken("the server's first word was not a welcome".to_owned())),
        Err(status) => Err(obstacle(&status)),
    }
}

/// What a status says of the way to a server.
pub(crate) fn obstacle(status: &Status) -> Obstacle {
    match Refusal::from_status(status) {
        Some(refusal) => Obstacle::Refused(refusal),
        None => match status.code() {
            // These come of connections; the others are somebody's answer.
            Code::Unavailable | Code::Unknown | Code::Internal | Code::Cancelled | Code::DeadlineExceeded => {
                Obstacle::Broken(words(status))
            }
            code => Obstacle::Refused(Refusal {
                code,
                reason: format!("{code:?}").to_uppercase(),
                message: status.message().to_owned(),
                facts: std::collections::BTreeMap::new(),
                retry_after: None,
            }),
        },
    }
}

fn words(status: &Status) -> String {
    match std::error::Error::source(status) {
        Some(source) => crate::endpoint::innermost(source),
        None => status.message().to_owned(),
    }
}

impl Link {
    pub(crate) fn dial(server: Endpoint, hello: v1::Hello) -> Self {
        Self::Dialing(Box::pin(attach(server, hello)))
    }

    /// When the link itself wants to be looked at.
    pub(crate) fn wake_at(&self) -> Option<Moment> {
        match self {
            Self::Resting(until) | Self::Draining(_, until) => Some(*until),
            Self::Dialing(_) | Self::Attached(_) => None,
        }
    }

    /// The next thing that happens. May be dropped while it waits, without a loss.
    pub(crate) async fn next(&mut self, session: &mut Session) -> News {
        match self {
            Self::Resting(_) => std::future::pending().await,
            Self::Dialing(dial) => News::Dialed(dial.await.map(Box::new)),
            Self::Draining(answers, _) => read(answers).await,
            Self::Attached(wire) => {
                tokio::select! {
                    room = wire.sender.reserve(), if session.has_messages() => {
                        let Ok(room) = room else {
                            // The connection took its end away; the other half says why.
                            return read(&mut wire.answers).await;
                        };
                        let mut room = Some(room);
                        while let Some(place) = room {
                            let Some(message) = session.next_message() else { break };
                            place.send(message);
                            room = wire.sender.try_reserve().ok();
                        }
                        News::Sent
                    }
                    news = read(&mut wire.answers) => news,
                }
            }
        }
    }

    /// Says that nothing more comes, and waits for answers until then.
    pub(crate) fn drain(self, until: Moment) -> Self {
        match self {
            Self::Attached(Wire { sender, answers }) => {
                drop(sender);
                Self::Draining(answers, until)
            }
            other => other,
        }
    }
}

async fn read(answers: &mut Streaming<v1::AttachResponse>) -> News {
    match answers.message().await {
        Ok(Some(answer)) => News::Answer(Box::new(answer)),
        Ok(None) => News::Lost(Obstacle::Broken("the server ended the stream".to_owned())),
        Err(status) => News::Lost(obstacle(&status)),
    }
}
