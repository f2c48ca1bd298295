-- The first schema. Times ending in _ms are lease time in milliseconds (time that the daemon was up) unless they end in
-- _at_ms: those are milliseconds since 1970, UTC. Look at a copy (leasehold db snapshot), not at the live file; the
-- views at the end have names and dates.

CREATE TABLE meta (
  id            INTEGER PRIMARY KEY CHECK (id = 1),
  lease_time_ms INTEGER NOT NULL  -- the mark from which lease time goes on at the next start
) STRICT;

CREATE TABLE site (
  id              INTEGER PRIMARY KEY CHECK (id = 1),
  last_lease      INTEGER NOT NULL,
  last_assignment INTEGER NOT NULL,
  last_entity     INTEGER NOT NULL,
  last_denial     INTEGER NOT NULL,
  last_audit      INTEGER NOT NULL,
  promoted        INTEGER NOT NULL,
  compliance_day  INTEGER NOT NULL
) STRICT;

CREATE TABLE keys (
  id   INTEGER PRIMARY KEY,
  name TEXT NOT NULL
) STRICT;

CREATE TABLE organizations (
  id     INTEGER PRIMARY KEY,
  name   TEXT NOT NULL,
  parent INTEGER            -- organizations.id
) STRICT;

CREATE TABLE workgroups (
  id         INTEGER PRIMARY KEY,
  name       TEXT NOT NULL,
  service_id TEXT,
  types      TEXT NOT NULL  -- JSON array of interaction types
) STRICT;

CREATE TABLE users (
  id           INTEGER PRIMARY KEY,
  name         TEXT NOT NULL,
  display_name TEXT,
  method       TEXT NOT NULL,  -- assignable, concurrent
  organization INTEGER,        -- organizations.id
  workgroups   TEXT NOT NULL,  -- JSON array of workgroups.id
  types        TEXT NOT NULL   -- JSON array of interaction types
) STRICT;

CREATE TABLE stations (
  id           INTEGER PRIMARY KEY,
  name         TEXT NOT NULL,
  kind         TEXT NOT NULL,
  enabled      INTEGER NOT NULL,
  organization INTEGER,        -- organizations.id
  owner        INTEGER         -- users.id
) STRICT;

CREATE TABLE assignments (
  id          INTEGER PRIMARY KEY,
  user        INTEGER,         -- users.id, or
  station     INTEGER,         -- stations.id
  key         INTEGER NOT NULL,  -- keys.id
  method      TEXT NOT NULL,
  since_at_ms INTEGER NOT NULL,
  until_at_ms INTEGER
) STRICT;

-- A pool's number is twice its key's, plus 1 for the concurrent pool.
CREATE TABLE shares (
  pool         INTEGER NOT NULL,
  organization INTEGER NOT NULL,  -- organizations.id; 0: none
  application  TEXT NOT NULL,     -- or an application; '': none
  reserve      INTEGER NOT NULL,
  most         INTEGER,           -- NULL: no limit
  PRIMARY KEY (pool, organization, application)
) STRICT, WITHOUT ROWID;

CREATE TABLE pool_rules (
  pool        INTEGER PRIMARY KEY,
  idle_ms     INTEGER NOT NULL,   -- a length of time
  idle_always INTEGER NOT NULL
) STRICT;

CREATE TABLE pool_states (
  pool          INTEGER PRIMARY KEY,
  over_since_ms INTEGER,
  closes_ms     INTEGER
) STRICT;

CREATE TABLE holders (
  id          INTEGER PRIMARY KEY,
  identity    TEXT NOT NULL,
  instance    TEXT NOT NULL,
  run         BLOB,               -- NULL: unary calls
  application TEXT NOT NULL,
  version     TEXT,
  host        TEXT NOT NULL,
  contact_ms  INTEGER NOT NULL,
  graced_ms   INTEGER NOT NULL
) STRICT;

CREATE TABLE leases (
  id             INTEGER PRIMARY KEY,  -- rises for ever: the fencing number
  holder         INTEGER NOT NULL,     -- holders.id
  user           INTEGER,              -- users.id: a logon
  station        INTEGER,              -- stations.id: where; without a user, the station's own use
  remote_number  TEXT,
  computer       TEXT,
  application    TEXT NOT NULL,
  terms          TEXT NOT NULL,        -- JSON: keys, seats, what is missing, warnings, interaction types
  ttl_ms         INTEGER NOT NULL,     -- a length of time
  granted_at_ms  INTEGER NOT NULL,
  granted_ms     INTEGER NOT NULL,
  idle_since_ms  INTEGER,
  ends_ms        INTEGER,
  ends_reason    TEXT,
  request        BLOB,                 -- the request that it answered, while that is remembered
  request_hash   INTEGER,
  ended_ms       INTEGER,              -- set: it has ended, and its answer is remembered
  ended_reason   TEXT
) STRICT;

CREATE TABLE files (
  license_id         TEXT PRIMARY KEY,
  sequence           INTEGER NOT NULL,
  name               TEXT NOT NULL,
  account            TEXT NOT NULL,
  product            TEXT NOT NULL,
  sha256             TEXT NOT NULL,
  accepted_at_ms     INTEGER NOT NULL,
  host_role          TEXT,
  absent_since_ms    INTEGER,
  host_lost_since_ms INTEGER,
  unloaded           INTEGER NOT NULL,
  earlier            TEXT NOT NULL,     -- JSON array: SHA-256 of lower sequences that were accepted before
  bytes              BLOB NOT NULL      -- the signed file itself; it is verified again at each start
) STRICT;

CREATE TABLE marks (
  license_id TEXT PRIMARY KEY,
  key_epoch  INTEGER NOT NULL,
  sequence   INTEGER NOT NULL,
  sha256     TEXT NOT NULL,
  key_sha256 TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE denials (
  id          INTEGER PRIMARY KEY,
  at_ms       INTEGER NOT NULL,    -- since 1970
  identity    TEXT NOT NULL,
  application TEXT NOT NULL,
  subject     TEXT NOT NULL,
  key         TEXT NOT NULL,
  reason      TEXT NOT NULL,
  message     TEXT NOT NULL,
  count       INTEGER NOT NULL,
  capacity    TEXT,
  held        INTEGER NOT NULL,
  holders     TEXT NOT NULL        -- JSON
) STRICT;

CREATE TABLE audit (
  id       INTEGER PRIMARY KEY,
  at_ms    INTEGER NOT NULL,       -- since 1970
  identity TEXT NOT NULL,
  action   TEXT NOT NULL,
  subject  TEXT NOT NULL,
  before   TEXT NOT NULL,
  after    TEXT NOT NULL,
  reason   TEXT NOT NULL
) STRICT;

-- One link for the audit entries of one commit: SHA-256 over the link before it and the entries.
CREATE TABLE audit_links (
  first  INTEGER PRIMARY KEY,      -- audit.id
  last   INTEGER NOT NULL,         -- audit.id
  sha256 TEXT NOT NULL
) STRICT;

CREATE VIEW pools_readable AS
SELECT k.id * 2 AS pool, k.name AS name FROM keys k
UNION ALL SELECT k.id * 2 + 1, k.name || '_CONCURRENT' FROM keys k;

CREATE VIEW leases_readable AS
SELECT l.id,
       CASE WHEN l.user IS NOT NULL THEN 'logon' WHEN l.station IS NOT NULL THEN 'station' ELSE 'units' END AS kind,
       u.name AS user, s.name AS station, l.remote_number, l.computer, l.application,
       h.identity AS holder, h.host AS holder_host,
       (SELECT group_concat(k.name, ', ') FROM json_each(l.terms, '$.keys') held
          JOIN keys k ON k.id = json_extract(held.value, '$.key')) AS keys,
       datetime(l.granted_at_ms / 1000, 'unixepoch') AS granted_utc,
       l.ttl_ms / 1000.0 AS ttl_s,
       CASE WHEN l.ended_ms IS NOT NULL THEN 'ended: ' || l.ended_reason
            WHEN l.idle_since_ms IS NOT NULL THEN 'idle' ELSE 'live' END AS state
  FROM leases l
  LEFT JOIN users u ON u.id = l.user
  LEFT JOIN stations s ON s.id = l.station
  LEFT JOIN holders h ON h.id = l.holder;

CREATE VIEW assignments_readable AS
SELECT a.id, u.name AS user, s.name AS station, k.name AS key, a.method,
       datetime(a.since_at_ms / 1000, 'unixepoch') AS since_utc,
       datetime(a.until_at_ms / 1000, 'unixepoch') AS until_utc
  FROM assignments a
  LEFT JOIN users u ON u.id = a.user
  LEFT JOIN stations s ON s.id = a.station
  LEFT JOIN keys k ON k.id = a.key;

CREATE VIEW shares_readable AS
SELECT p.name AS pool, o.name AS organization, nullif(s.application, '') AS application, s.reserve, s.most
  FROM shares s JOIN pools_readable p ON p.pool = s.pool LEFT JOIN organizations o ON o.id = s.organization;

CREATE VIEW denials_readable AS
SELECT id, datetime(at_ms / 1000, 'unixepoch') AS at_utc, identity, application, subject, key, reason, count, message FROM denials;

CREATE VIEW audit_readable AS
SELECT id, datetime(at_ms / 1000, 'unixepoch') AS at_utc, identity, action, subject, reason, before, after FROM audit;
