-- What bridges have themselves, and the ports on them, stands with what else has an address on their network. And two
-- bridges that a veth pair joins are one network.
INSERT OR IGNORE INTO need (namespace, what, kind, name)
  SELECT 'bridge/' || name, 'lease ' || substr(value, 1, instr(value, '/') - 1), kind, name
  FROM resource, json_each(resource.intent, '$.addresses')
  WHERE kind = 'bridge' AND NOT EXISTS (
    SELECT 1 FROM claim
    WHERE claim.namespace = 'bridge/' || resource.name
      AND claim.what = 'lease ' || substr(value, 1, instr(value, '/') - 1)
      AND claim.kind = resource.kind AND claim.name = resource.name
  );
INSERT OR IGNORE INTO need (namespace, what, kind, name)
  SELECT 'bridge/' || (intent ->> '$.bridge'), 'lease ' || substr(value, 1, instr(value, '/') - 1), kind, name
  FROM resource, json_each(resource.intent, '$.addresses')
  WHERE kind = 'link' AND intent ->> '$.bridge' IS NOT NULL AND value <> 'auto';
INSERT OR IGNORE INTO need (namespace, what, kind, name)
  SELECT 'bridge/' || (intent ->> '$.peer.bridge'), 'lease ' || substr(value, 1, instr(value, '/') - 1), kind, name
  FROM resource, json_each(resource.intent, '$.peer.addresses')
  WHERE kind = 'link' AND intent ->> '$.peer.bridge' IS NOT NULL AND value <> 'auto';
INSERT OR IGNORE INTO need (namespace, what, kind, name)
  SELECT 'bridge/' || (intent ->> '$.bridge'), 'joins ' || (intent ->> '$.peer.bridge'), kind, name
  FROM resource
  WHERE kind = 'link' AND intent ->> '$.bridge' IS NOT NULL AND intent ->> '$.peer.bridge' IS NOT NULL;
INSERT OR IGNORE INTO need (namespace, what, kind, name)
  SELECT 'bridge/' || (intent ->> '$.peer.bridge'), 'joins ' || (intent ->> '$.bridge'), kind, name
  FROM resource
  WHERE kind = 'link' AND intent ->> '$.bridge' IS NOT NULL AND intent ->> '$.peer.bridge' IS NOT NULL;
