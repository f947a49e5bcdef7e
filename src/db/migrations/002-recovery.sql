-- The journal tells what whoever finds an open operation has to know: `notes` has what was true before anything was
-- done (the names that were free and were about to be bound, what stood in sysctls), `undone` is 0 while what a failed
-- operation has left behind is still to be taken away. An operation of netnsd's own may be about many resources.
CREATE TABLE operation_new (
  id          INTEGER PRIMARY KEY AUTOINCREMENT,
  request_id  TEXT    NOT NULL,
  actor       TEXT    NOT NULL,
  action      TEXT    NOT NULL,
  kind        TEXT,
  name        TEXT,
  state       TEXT    NOT NULL CHECK (state IN ('running', 'succeeded', 'unchanged', 'refused', 'failed')),
  undone      INTEGER NOT NULL DEFAULT 1 CHECK (undone IN (0, 1)),
  before      TEXT    NOT NULL CHECK (json_valid(before)),
  after       TEXT    NOT NULL CHECK (json_valid(after)),
  notes       TEXT    NOT NULL DEFAULT '{"host":"","attempts":[],"sysctls":[]}' CHECK (json_valid(notes)),
  commands    TEXT    NOT NULL CHECK (json_valid(commands)),
  problem     TEXT             CHECK (problem IS NULL OR json_valid(problem)),
  processes   INTEGER NOT NULL,
  started_at  TEXT    NOT NULL,
  duration_ms REAL
) STRICT;
INSERT INTO operation_new (id, request_id, actor, action, kind, name, state, before, after, commands, problem, processes, started_at, duration_ms)
  SELECT id, request_id, actor, action, kind, name, state, before, after, commands, problem, processes, started_at, duration_ms FROM operation;
-- The numbers of operations that were trimmed away are not given out again.
UPDATE sqlite_sequence SET seq = (SELECT seq FROM sqlite_sequence WHERE name = 'operation') WHERE name = 'operation_new';
DROP TABLE operation;
ALTER TABLE operation_new RENAME TO operation;
CREATE INDEX operation_open ON operation (id) WHERE state = 'running' OR undone = 0;
