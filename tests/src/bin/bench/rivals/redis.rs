//! Redis: a sorted set for each pool, whose scores are deadlines; overdue claims go before seats are counted. Every write is
//! synced before it is answered, many in one go where many wait.

use std::{path::Path, process::Command};

use redis::{Script, aio::MultiplexedConnection};

use super::{Claims, seats};
use crate::load::Fault;

/// Deadline, capacity and claimant; 1 where the seat was taken.
const ACQUIRE: &str = "local t = redis.call('TIME') \
                       local now = t[1] * 1000 + math.floor(t[2] / 1000) \
                       redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now) \
                       if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[2]) then return 0 end \
                       redis.call('ZADD', KEYS[1], now + ARGV[1], ARGV[3]) \
                       return 1";
const TTL_MS: u64 = 60_000;

pub(super) fn command(data: &Path, port: u16) -> Result<Command, String> {
    let program = super::program("redis-server", "/usr/bin").ok_or("redis-server is not installed")?;
    let mut command = Command::new(program);
    command.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--dir"]).arg(data);
    command.args(["--appendonly", "yes", "--appendfsync", "always", "--save", "", "--daemonize", "no"]);
    Ok(command)
}

#[derive(Clone)]
pub(super) struct Semaphore {
    connection: MultiplexedConnection,
    script: Script,
}

pub(super) async fn connect(port: u16, count: usize) -> Result<Vec<Semaphore>, Fault> {
    let client = redis::Client::open(("127.0.0.1", port))
        .or_else(|_| redis::Client::open(format!("redis://127.0.0.1:{port}")))?;
    let mut all = Vec::new();
    for _ in 0..count {
        let connection = client.get_multiplexed_async_connection().await?;
        all.push(Semaphore { connection, script: Script::new(ACQUIRE) });
    }
    Ok(all)
}

impl Claims for Semaphore {
    async fn acquire(&mut self, pool: usize) -> Result<u64, Fault> {
        let claimant = uuid::Uuid::new_v4().as_u64_pair().0;
        let mut call = self.script.key(format!("pool:{pool}"));
        call.arg(TTL_MS).arg(seats(pool)).arg(claimant);
        let taken: u32 = call.invoke_async(&mut self.connection).await?;
        if taken == 1 { Ok(claimant) } else { Err("redis refused a seat".into()) }
    }

    async fn release(&mut self, pool: usize, seat: u64) -> Result<(), Fault> {
        let gone: u32 =
            redis::cmd("ZREM").arg(format!("pool:{pool}")).arg(seat).query_async(&mut self.connection).await?;
        if gone == 1 { Ok(()) } else { Err("redis knows no such claim".into()) }
    }
}
