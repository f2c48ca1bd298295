-- Usage (04): events wait here from the commit that made them until they are sealed; sealed records wait until their file
-- is acknowledged.

ALTER TABLE site ADD COLUMN last_usage_event INTEGER NOT NULL DEFAULT 0;
ALTER TABLE site ADD COLUMN usage_collecting INTEGER NOT NULL DEFAULT 0;
ALTER TABLE site ADD COLUMN usage_era INTEGER NOT NULL DEFAULT 0;  -- how often collecting has begun

-- The events of one commit.
CREATE TABLE usage_events (
  first  INTEGER PRIMARY KEY,      -- number of its first event
  last   INTEGER NOT NULL,         -- number of its last
  events TEXT NOT NULL             -- JSON: [[number, ms since 1970, what, user, sessions, era], [keys], since, [keys before]] of each
) STRICT;

CREATE TABLE usage_segments (
  number          INTEGER PRIMARY KEY,
  file            TEXT NOT NULL,
  license_id      TEXT NOT NULL,
  began_at_ms     INTEGER NOT NULL,  -- since 1970
  because         TEXT NOT NULL,
  records         INTEGER NOT NULL,
  records_before  INTEGER NOT NULL,
  events          INTEGER NOT NULL,
  bytes           INTEGER NOT NULL,
  head            TEXT NOT NULL,     -- SHA-256
  closed_at_ms    INTEGER,
  sha256          TEXT,
  uploaded_at_ms  INTEGER,
  acknowledged_at_ms INTEGER,
  stored          INTEGER NOT NULL   -- its records are in usage_records
) STRICT;

-- The very bytes of the file, in order; place 0 is the header.
CREATE TABLE usage_records (
  segment INTEGER NOT NULL,
  place   INTEGER NOT NULL,
  bytes   BLOB NOT NULL,
  PRIMARY KEY (segment, place)
) STRICT, WITHOUT ROWID;

CREATE VIEW usage_segments_readable AS
SELECT number, file, license_id, datetime(began_at_ms / 1000, 'unixepoch') AS began_utc, because, records, events, bytes,
       CASE WHEN acknowledged_at_ms IS NOT NULL THEN 'acknowledged' WHEN uploaded_at_ms IS NOT NULL THEN 'uploaded'
            WHEN closed_at_ms IS NOT NULL THEN 'closed' ELSE 'open' END AS state
  FROM usage_segments;
