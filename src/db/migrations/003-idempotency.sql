-- First answers to requests with an Idempotency-Key, by key. That of a change is written in the transaction that
-- acknowledges the change. No foreign key: an answer stays what it was, whatever becomes of the resource.
-- Times are milliseconds since 1970. The numbers grow, so that the lowest is the oldest.
CREATE TABLE idempotency (
  id          INTEGER PRIMARY KEY AUTOINCREMENT,
  key         TEXT    NOT NULL UNIQUE,
  fingerprint TEXT    NOT NULL,
  status      INTEGER NOT NULL,
  headers     TEXT    NOT NULL CHECK (json_valid(headers)),
  body        TEXT             CHECK (body IS NULL OR json_valid(body)),
  kept_at_ms  INTEGER NOT NULL
) STRICT;
CREATE INDEX idempotency_kept_at ON idempotency (kept_at_ms);
