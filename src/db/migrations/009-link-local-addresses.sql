-- A link-local address of IPv6 is that of its link only, and stands in claims with the interface.
DELETE FROM claim WHERE what GLOB 'address fe[89ab][0-9a-f]:*';
INSERT OR IGNORE INTO claim (namespace, what, kind, name)
  SELECT intent ->> '$.namespace',
    'address ' || substr(value, 1, instr(value, '/') - 1) || '%' || (intent ->> '$.interface'), kind, name
  FROM resource, json_each(resource.intent, '$.addresses')
  WHERE kind IN ('bridge', 'link') AND value GLOB 'fe[89ab][0-9a-f]:*';
INSERT OR IGNORE INTO claim (namespace, what, kind, name)
  SELECT intent ->> '$.peer.namespace',
    'address ' || substr(value, 1, instr(value, '/') - 1) || '%' || (intent ->> '$.peer.interface'), kind, name
  FROM resource, json_each(resource.intent, '$.peer.addresses')
  WHERE kind = 'link' AND value GLOB 'fe[89ab][0-9a-f]:*';
