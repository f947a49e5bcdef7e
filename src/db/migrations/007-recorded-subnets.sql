-- The subnets of bridges stand in needs, all in one place, so that what comes later is compared with them.
INSERT OR IGNORE INTO need (namespace, what, kind, name)
  SELECT 'subnets/', (intent ->> '$.namespace') || ' ' || (value ->> '$.subnet'), kind, name
  FROM resource, json_each(resource.assigned, '$.subnets')
  WHERE kind = 'bridge';
