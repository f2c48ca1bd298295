-- Witness (03): epochs of this state, and evidence that it was behind what its installation had signed.

CREATE TABLE epochs (
  number      INTEGER PRIMARY KEY,
  id          INTEGER NOT NULL,    -- 64 random bits
  began_at_ms INTEGER NOT NULL,    -- since 1970
  after       INTEGER NOT NULL,    -- highest fencing number before it
  last        INTEGER              -- highest in it; NULL: it is the present one
) STRICT;

CREATE TABLE witnesses (
  number      INTEGER PRIMARY KEY,
  kind        TEXT NOT NULL,       -- behind, forked
  epoch       INTEGER NOT NULL,    -- what was shown
  epoch_id    INTEGER NOT NULL,
  fencing     INTEGER NOT NULL,
  own_epoch   INTEGER NOT NULL,    -- what this state knew then
  own_fencing INTEGER NOT NULL,
  by          TEXT NOT NULL,       -- identity of the application server
  host        TEXT NOT NULL,
  first_at_ms INTEGER NOT NULL,    -- since 1970
  first_ms    INTEGER NOT NULL,    -- lease time
  last_at_ms  INTEGER NOT NULL     -- since 1970
) STRICT;
