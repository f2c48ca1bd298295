//! etcd: a slot for each seat, put by a transaction where it is not there, under the lease of the client's session, as its
//! own concurrency recipes do. The client guesses slots, which are nearly all free: the best case for it.
//!
//! The few messages that are needed are written by hand, after the field numbers of etcd's `rpc.proto`.

use std::{
    path::Path,
    process::Command,
    sync::atomic::{AtomicU64, Ordering},
};

use prost::Message;
use tonic::{
    Request,
    client::Grpc,
    codegen::http::uri::PathAndQuery,
    transport::{Channel, Endpoint},
};
use tonic_prost::ProstCodec;

use super::{Claims, seats};
use crate::load::Fault;

const TTL_S: i64 = 600;

#[derive(Clone, PartialEq, Message)]
struct Compare {
    /// 0: equal.
    #[prost(int32, tag = "1")]
    result: i32,
    /// 0: the version, which is 0 where the key is not there.
    #[prost(int32, tag = "2")]
    target: i32,
    #[prost(bytes = "vec", tag = "3")]
    key: Vec<u8>,
    #[prost(int64, optional, tag = "4")]
    version: Option<i64>,
}

#[derive(Clone, PartialEq, Message)]
struct Put {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
    #[prost(int64, tag = "3")]
    lease: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Operation {
    #[prost(message, optional, tag = "2")]
    put: Option<Put>,
}

#[derive(Clone, PartialEq, Message)]
struct Transaction {
    #[prost(message, repeated, tag = "1")]
    compare: Vec<Compare>,
    #[prost(message, repeated, tag = "2")]
    success: Vec<Operation>,
}

#[derive(Clone, PartialEq, Message)]
struct Transacted {
    #[prost(bool, tag = "2")]
    succeeded: bool,
}

#[derive(Clone, PartialEq, Message)]
struct Delete {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct Deleted {
    #[prost(int64, tag = "2")]
    deleted: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Grant {
    #[prost(int64, tag = "1")]
    ttl_s: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Granted {
    #[prost(int64, tag = "2")]
    id: i64,
}

pub(super) fn command(data: &Path, port: u16) -> Result<Command, String> {
    let program = super::program("etcd", "/usr/bin").ok_or("etcd is not installed")?;
    let peers = super::free_port().map_err(|fault| fault.to_string())?;
    let (clients, peers) = (format!("http://127.0.0.1:{port}"), format!("http://127.0.0.1:{peers}"));
    let mut command = Command::new(program);
    command.arg("--data-dir").arg(data.join("data"));
    command.args(["--name", "bench", "--listen-client-urls", &clients, "--advertise-client-urls", &clients]);
    command.args(["--listen-peer-urls", &peers, "--initial-advertise-peer-urls", &peers]);
    command.args(["--initial-cluster", &format!("bench={peers}"), "--log-level", "error"]);
    Ok(command)
}

/// Tells claims apart, and spreads the guesses.
static NEXT: AtomicU64 = AtomicU64::new(1);

#[derive(Clone)]
pub(super) struct Slots {
    channel: Channel,
    lease: i64,
}

async fn call<A, B>(channel: &Channel, path: &'static str, message: A) -> Result<B, Fault>
where
    A: Message + 'static,
    B: Message + Default + 'static,
{
    let mut grpc = Grpc::new(channel.clone());
    grpc.ready().await?;
    let codec: ProstCodec<A, B> = ProstCodec::default();
    Ok(grpc.unary(Request::new(message), PathAndQuery::from_static(path), codec).await?.into_inner())
}

pub(super) async fn connect(port: u16, count: usize) -> Result<Vec<Slots>, Fault> {
    let mut all = Vec::new();
    for _ in 0..count {
        let endpoint = Endpoint::from_shared(format!("http://127.0.0.1:{port}"))?.tcp_nodelay(true);
        let channel = endpoint.connect().await?;
        let granted: Granted = call(&channel, "/etcdserverpb.Lease/LeaseGrant", Grant { ttl_s: TTL_S }).await?;
        all.push(Slots { channel, lease: granted.id });
    }
    Ok(all)
}

fn slot(pool: usize, number: u64) -> Vec<u8> {
    format!("pool/{pool}/{number}").into_bytes()
}

impl Claims for Slots {
    async fn acquire(&mut self, pool: usize) -> Result<u64, Fault> {
        loop {
            // A prime apart, so that neighbours do not guess alike.
            let number = NEXT.fetch_add(1, Ordering::Relaxed).wrapping_mul(7_919) % u64::from(seats(pool));
            let key = slot(pool, number);
            let compare = vec![Compare { result: 0, target: 0, key: key.clone(), version: Some(0) }];
            let put = Put { key, value: b"bench".to_vec(), lease: self.lease };
            let transaction = Transaction { compare, success: vec![Operation { put: Some(put) }] };
            let done: Transacted = call(&self.channel, "/etcdserverpb.KV/Txn", transaction).await?;
            if done.succeeded {
                return Ok(number);
            }
        }
    }

    async fn release(&mut self, pool: usize, seat: u64) -> Result<(), Fault> {
        let gone: Deleted =
            call(&self.channel, "/etcdserverpb.KV/DeleteRange", Delete { key: slot(pool, seat) }).await?;
        if gone.deleted == 1 { Ok(()) } else { Err("etcd knows no such slot".into()) }
    }
}
