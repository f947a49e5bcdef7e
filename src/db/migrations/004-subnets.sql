-- Bridges have subnets. And the fixed addresses of links stand beside the place that addresses are given from: what
-- is at the other end of a bridge. So whoever looks for a free one finds all that is taken in one place.
UPDATE resource SET intent = json_set(intent, '$.subnets', json('[]'), '$.reserved', json('[]')) WHERE kind = 'bridge';
INSERT OR IGNORE INTO need (namespace, what, kind, name)
  SELECT 'bridge/' || (intent ->> '$.peer.bridge'), 'lease ' || substr(value, 1, instr(value, '/') - 1), kind, name
  FROM resource, json_each(resource.intent, '$.addresses')
  WHERE kind = 'link' AND intent ->> '$.peer.bridge' IS NOT NULL;
INSERT OR IGNORE INTO need (namespace, what, kind, name)
  SELECT 'bridge/' || (intent ->> '$.bridge'), 'lease ' || substr(value, 1, instr(value, '/') - 1), kind, name
  FROM resource, json_each(resource.intent, '$.peer.addresses')
  WHERE kind = 'link' AND intent ->> '$.bridge' IS NOT NULL;
