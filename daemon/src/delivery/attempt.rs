//! One attempt with one file: the destination as it is now, the way there, and what came of it. Nothing is remembered here.

use std::path::Path;

use bytes::Bytes;
use leasehold_engine::{row::UsageSegmentRow, time::WallTime};

use super::{
    bucket::{Asked, Bucket},
    endpoint::Endpoint,
    secrets,
    settings::{Destination, Settings},
};
use crate::way_out::{Network, Origin, Surroundings, Trouble, Way, steps::ahead_s};

/// The destination in effect: the configured one, else that of the activation file.
pub(super) fn destination(settings: &Settings, licensed: Option<&str>) -> Result<Destination, Trouble> {
    match (&settings.destination, licensed) {
        (Some(configured), _) => Ok(configured.clone()),
        (None, None) => Err(Trouble::NoDestination),
        (None, Some(said)) => said.parse().map_err(|why: super::settings::NotADestination| Trouble::BadDestination {
            said: said.chars().take(200).collect(),
            why: why.to_string(),
        }),
    }
}

/// The server that is asked for a destination.
pub(super) fn server(destination: &Destination, settings: &Settings) -> Origin {
    match destination {
        Destination::Endpoint { origin, .. } => origin.clone(),
        Destination::Bucket { .. } => settings
            .s3
            .endpoint
            .clone()
            .unwrap_or_else(|| Origin { host: format!("s3.{}.amazonaws.com", settings.s3.region), port: 443 }),
    }
}

/// Whoever is asked.
pub(super) enum Peer {
    Bucket(Bucket),
    Endpoint(Endpoint),
}

/// Whether a file was sent before, or may have been.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Before {
    Never,
    /// So lately that its receipt is only waited for.
    Lately,
    /// So long ago that it is sent again, where no receipt is there.
    LongAgo,
}

/// What came of an attempt.
#[derive(Debug)]
pub(super) enum Came {
    /// A receipt, unread.
    Receipt(Bytes),
    /// The file is in the bucket now.
    Sent,
    /// It is there since before, and its receipt is not.
    NotYet,
}

/// The way to a destination's server. Reads files: not for the threads of others.
pub(super) fn way(destination: &Destination, settings: &Settings, network: &Network) -> Result<Way, Trouble> {
    network.way(server(destination, settings))
}

impl Peer {
    /// Reads files, as [`way`].
    pub(super) fn new(
        destination: &Destination,
        settings: &Settings,
        surroundings: &Surroundings,
        way: Way,
    ) -> Result<Self, Trouble> {
        match destination {
            Destination::Endpoint { path, .. } => Ok(Peer::Endpoint(Endpoint { way, path: path.clone() })),
            Destination::Bucket { bucket, prefix } => {
                let keys = secrets::bucket_keys(settings, surroundings)?;
                Bucket::new(way, bucket, prefix, &settings.s3, &keys).map(Peer::Bucket)
            }
        }
    }

    /// One attempt.
    pub(super) async fn attempt(
        &self,
        row: &UsageSegmentRow,
        file: &Path,
        before: Before,
        now: WallTime,
    ) -> Result<Came, Trouble> {
        match self {
            Peer::Endpoint(endpoint) => {
                if before != Before::Never
                    && let Some(receipt) = endpoint.receipt(row).await?
                {
                    return Ok(Came::Receipt(receipt));
                }
                endpoint.send(row, file).await.map(Came::Receipt)
            }
            Peer::Bucket(bucket) => {
                let done = async {
                    if before != Before::Never {
                        match bucket.receipt(row).await? {
                            Asked::Receipt(receipt) => return Ok(Came::Receipt(receipt)),
                            Asked::None if before == Before::Lately => return Ok(Came::NotYet),
                            Asked::None => {}
                        }
                    }
                    bucket.send(row, file).await.map(|()| Came::Sent)
                };
                done.await.map_err(|trouble| self.timed(trouble, now))
            }
        }
    }

    /// Says how far the clocks are apart, where that is the trouble.
    pub(super) fn timed(&self, trouble: Trouble, now: WallTime) -> Trouble {
        match (trouble, self) {
            (Trouble::ClockOff { .. }, Peer::Bucket(bucket)) => {
                Trouble::ClockOff { ahead_s: ahead_s(&bucket.last_head(), now).unwrap_or(0) }
            }
            (trouble, _) => trouble,
        }
    }
}
