-- What was asked for. One row a resource of any kind: `intent` is what the client wrote with the defaults
-- filled in, `assigned` what netnsd chose itself, `observed` what the kernel was last seen to have.
CREATE TABLE resource (
  kind       TEXT    NOT NULL,
  name       TEXT    NOT NULL,
  intent     TEXT    NOT NULL CHECK (json_valid(intent)),
  assigned   TEXT    NOT NULL CHECK (json_valid(assigned)),
  observed   TEXT             CHECK (observed IS NULL OR json_valid(observed)),
  failure    TEXT,
  revision   INTEGER NOT NULL CHECK (revision > 0),
  created_at TEXT    NOT NULL,
  updated_at TEXT    NOT NULL,
  PRIMARY KEY (kind, name)
) STRICT, WITHOUT ROWID;

-- A resource that names another can't be without it. Checked at the end of a transaction: a batch of changes
-- may take both away in any order.
CREATE TABLE reference (
  from_kind TEXT NOT NULL,
  from_name TEXT NOT NULL,
  to_kind   TEXT NOT NULL,
  to_name   TEXT NOT NULL,
  PRIMARY KEY (from_kind, from_name, to_kind, to_name),
  FOREIGN KEY (from_kind, from_name) REFERENCES resource (kind, name) ON DELETE CASCADE,
  FOREIGN KEY (to_kind, to_name)     REFERENCES resource (kind, name) DEFERRABLE INITIALLY DEFERRED
) STRICT, WITHOUT ROWID;
CREATE INDEX reference_to ON reference (to_kind, to_name);

-- What a resource has for itself in a namespace: an interface name, an address.
CREATE TABLE claim (
  namespace TEXT NOT NULL,
  what      TEXT NOT NULL,
  kind      TEXT NOT NULL,
  name      TEXT NOT NULL,
  PRIMARY KEY (namespace, what),
  FOREIGN KEY (kind, name) REFERENCES resource (kind, name) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE INDEX claim_of ON claim (kind, name);

-- What a resource needs there beside others: the firewall of a family, an interface that a rule names.
CREATE TABLE need (
  namespace TEXT NOT NULL,
  what      TEXT NOT NULL,
  kind      TEXT NOT NULL,
  name      TEXT NOT NULL,
  PRIMARY KEY (namespace, what, kind, name),
  FOREIGN KEY (kind, name) REFERENCES resource (kind, name) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE INDEX need_of ON need (kind, name);

-- What stood in a sysctl before netnsd first wrote it. No foreign key: a namespace may be adopted and let go.
CREATE TABLE sysctl_before (
  namespace TEXT NOT NULL,
  key       TEXT NOT NULL,
  value     TEXT NOT NULL,
  PRIMARY KEY (namespace, key)
) STRICT, WITHOUT ROWID;

-- The journal: every change that was asked for. `before` and `after` are the resources in question, so that
-- whoever finds an operation that is still `running` knows what to go back to.
CREATE TABLE operation (
  id          INTEGER PRIMARY KEY AUTOINCREMENT,
  request_id  TEXT    NOT NULL,
  actor       TEXT    NOT NULL,
  action      TEXT    NOT NULL,
  kind        TEXT    NOT NULL,
  name        TEXT    NOT NULL,
  state       TEXT    NOT NULL CHECK (state IN ('running', 'succeeded', 'unchanged', 'refused', 'failed')),
  before      TEXT    NOT NULL CHECK (json_valid(before)),
  after       TEXT    NOT NULL CHECK (json_valid(after)),
  commands    TEXT    NOT NULL CHECK (json_valid(commands)),
  problem     TEXT             CHECK (problem IS NULL OR json_valid(problem)),
  processes   INTEGER NOT NULL,
  started_at  TEXT    NOT NULL,
  duration_ms REAL
) STRICT;

-- The daemon's own namespace, which is nobody's to create or delete, and which others refer to.
INSERT INTO resource VALUES (
  'namespace', 'host', '{"name":"host","pid":null,"sysctls":{},"labels":{}}', '{"bootId":"","inode":0}',
  NULL, NULL, 1, '1970-01-01T00:00:00.000Z', '1970-01-01T00:00:00.000Z'
);
