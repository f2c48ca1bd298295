-- Jumps of the wall clock that were found at different starts are confirmed one after the other.

-- The part of unconfirmed_ahead_ms that is confirmed first; NULL: all of it was found at one start.
ALTER TABLE clock_evidence ADD COLUMN older_ahead_ms INTEGER;  -- a length of time
ALTER TABLE clock_evidence ADD COLUMN older_since_ms INTEGER;
