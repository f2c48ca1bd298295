-- Trusted time: how late it surely is, whatever somebody sets the wall clock to.

ALTER TABLE meta ADD COLUMN trusted_at_ms INTEGER;  -- the high-water mark; NULL: it was never stored

-- What the wall clock gave away. Never taken back; a new row takes the place of the old one.
CREATE TABLE clock_evidence (
  id                        INTEGER PRIMARY KEY CHECK (id = 1),
  unconfirmed_ahead_ms      INTEGER,           -- a length of time: so far the mark is ahead of what is confirmed; NULL: all is
  unconfirmed_since_ms      INTEGER,
  withdrawn                 INTEGER NOT NULL,  -- how often an unconfirmed jump was taken back
  roll_backs                INTEGER NOT NULL,  -- how often the wall clock fell behind the mark
  last_roll_back_at_ms      INTEGER,
  last_roll_back_by_ms      INTEGER,           -- a length of time: how far it was behind, at most
  last_roll_back_over_at_ms INTEGER            -- NULL: it still is behind
) STRICT;

CREATE VIEW clock_readable AS
SELECT datetime(m.trusted_at_ms / 1000, 'unixepoch') AS trusted_utc,
       datetime((m.trusted_at_ms - coalesce(c.unconfirmed_ahead_ms, 0)) / 1000, 'unixepoch') AS confirmed_utc,
       c.roll_backs, datetime(c.last_roll_back_at_ms / 1000, 'unixepoch') AS last_roll_back_utc,
       c.last_roll_back_by_ms / 1000.0 AS last_roll_back_by_s,
       datetime(c.last_roll_back_over_at_ms / 1000, 'unixepoch') AS last_roll_back_over_utc, c.withdrawn
  FROM meta m LEFT JOIN clock_evidence c ON c.id = 1;
