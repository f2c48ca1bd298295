//! PostgreSQL: a row for each seat, free where its time has passed, claimed under `FOR UPDATE SKIP LOCKED`. Settings are the
//! distribution's, with a write-ahead log that is long enough not to be in the way.

use std::{
    fs,
    os::unix::{fs::chown, process::CommandExt as _},
    path::Path,
    process::Command,
    sync::Arc,
};

use tokio_postgres::{Client, NoTls, Statement};

use super::{Claims, POOLS, program, run, seats};
use crate::load::Fault;

const FOLDER: &str = "/usr/lib/postgresql/15/bin";
const USER: &str = "postgres";

const CLAIM: &str = "UPDATE seats SET until = now() + interval '60 s', claimant = $2 WHERE id = (SELECT id FROM seats \
                     WHERE pool = $1 AND until < now() LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING id";
const RELEASE: &str = "UPDATE seats SET until = '-infinity' WHERE id = $1 AND claimant = $2";
const CLAIMANT: i64 = 7;

/// User and group of a name in `/etc/passwd`.
fn user(name: &str) -> Option<(u32, u32)> {
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let found = fields.next() == Some(name);
        let (user, group) = (fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?);
        found.then_some((user, group))
    })
}

pub(super) fn command(data: &Path, port: u16) -> Result<Command, String> {
    let (server, initdb) =
        program("postgres", FOLDER).zip(program("initdb", FOLDER)).ok_or("postgresql-15 is not installed")?;
    let cluster = data.join("cluster");
    fs::create_dir(&cluster).map_err(|fault| fault.to_string())?;
    // It does not run as root.
    let other = if rustix::process::geteuid().is_root() {
        let (user, group) = user(USER).ok_or("there is no user postgres to run it as")?;
        chown(&cluster, Some(user), Some(group)).map_err(|fault| fault.to_string())?;
        Some((user, group))
    } else {
        None
    };
    let as_other = |mut command: Command| {
        command.current_dir("/");
        if let Some((user, group)) = other {
            command.uid(user).gid(group);
        }
        command
    };
    let mut init = as_other(Command::new(initdb));
    run(init.arg("-D").arg(&cluster).args(["-U", USER, "-A", "trust", "-E", "UTF8", "--locale", "C"]))?;
    let mut command = as_other(Command::new(server));
    command.arg("-D").arg(&cluster).args(["-p", &port.to_string(), "-h", "127.0.0.1"]);
    for setting in ["unix_socket_directories=", "max_connections=300", "max_wal_size=8GB", "shared_buffers=512MB"] {
        command.args(["-c", setting]);
    }
    Ok(command)
}

async fn client(port: u16) -> Result<Client, Fault> {
    let settings = format!("host=127.0.0.1 port={port} user={USER} dbname={USER}");
    let (client, connection) = tokio_postgres::connect(&settings, NoTls).await?;
    tokio::spawn(async move {
        // Whoever waits for an answer is told.
        let _ = connection.await;
    });
    Ok(client)
}

/// The table and its free seats, where they are not there yet.
pub(super) async fn prepare(port: u16) -> Result<(), Fault> {
    let client = client(port).await?;
    let (one, many, pools) = (seats(0), seats(1), POOLS - 1);
    client
        .batch_execute(&format!(
            "CREATE TABLE seats (id bigserial PRIMARY KEY, pool int NOT NULL, until timestamptz NOT NULL, claimant bigint) \
               WITH (fillfactor = 50); \
             INSERT INTO seats (pool, until) SELECT 0, '-infinity' FROM generate_series(1, {one}); \
             INSERT INTO seats (pool, until) SELECT p, '-infinity' FROM generate_series(1, {pools}) p, generate_series(1, {many}); \
             CREATE INDEX free ON seats (pool, until);"
        ))
        .await?;
    client.batch_execute("VACUUM ANALYZE seats").await?;
    Ok(())
}

#[derive(Clone)]
pub(super) struct Rows {
    client: Arc<Client>,
    claim: Statement,
    release: Statement,
}

pub(super) async fn connect(port: u16, count: usize) -> Result<Vec<Rows>, Fault> {
    let mut all = Vec::new();
    for _ in 0..count {
        let client = client(port).await?;
        let (claim, release) = (client.prepare(CLAIM).await?, client.prepare(RELEASE).await?);
        all.push(Rows { client: Arc::new(client), claim, release });
    }
    Ok(all)
}

impl Claims for Rows {
    async fn acquire(&mut self, pool: usize) -> Result<u64, Fault> {
        let row = self.client.query_opt(&self.claim, &[&i32::try_from(pool)?, &CLAIMANT]).await?;
        let id: i64 = row.ok_or("postgres refused a seat")?.try_get(0)?;
        Ok(u64::try_from(id)?)
    }

    async fn release(&mut self, _pool: usize, seat: u64) -> Result<(), Fault> {
        let gone = self.client.execute(&self.release, &[&i64::try_from(seat)?, &CLAIMANT]).await?;
        if gone == 1 { Ok(()) } else { Err("postgres knows no such claim".into()) }
    }
}
