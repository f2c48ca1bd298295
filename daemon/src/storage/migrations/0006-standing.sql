-- Check-ins and the stage that each license has come to (05). Kept when its activation file is gone.

CREATE TABLE standings (
  license_id        TEXT PRIMARY KEY,
  stage             INTEGER NOT NULL,   -- 1 to 6
  reached_at_ms     INTEGER NOT NULL,   -- since 1970
  stepped_down_ms   INTEGER,            -- lease time
  last_good_at_ms   INTEGER,            -- since 1970
  verdict           TEXT,               -- good, duplicate, revoked
  revoked_from_ms   INTEGER,            -- since 1970
  counter           INTEGER NOT NULL,   -- of the last request
  answered_at_ms    INTEGER,            -- since 1970: the last answer that counted, with the next two
  answered_counter  INTEGER,
  answer            TEXT,               -- SHA-256
  asked_nonce       BLOB,               -- of a request by file that has no answer yet, with the next three
  asked_request     TEXT,               -- SHA-256
  asked_counter     INTEGER,
  asked_at_ms       INTEGER,            -- since 1970
  message           TEXT NOT NULL       -- of the licensor, for the administrator
) STRICT;

CREATE VIEW standings_readable AS
SELECT license_id, stage, datetime(reached_at_ms / 1000, 'unixepoch') AS reached_utc,
       datetime(last_good_at_ms / 1000, 'unixepoch') AS last_good_utc, verdict,
       datetime(revoked_from_ms / 1000, 'unixepoch') AS revoked_from_utc,
       datetime(answered_at_ms / 1000, 'unixepoch') AS answered_utc, counter,
       datetime(asked_at_ms / 1000, 'unixepoch') AS asked_utc, message
  FROM standings;
