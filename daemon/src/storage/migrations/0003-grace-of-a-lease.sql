-- A lease of unary calls is renewed by itself, so whether it may get a grace after a restart is its own matter.

ALTER TABLE leases ADD COLUMN graced_ms INTEGER;  -- the grace that it got, until it is renewed; NULL: none since
