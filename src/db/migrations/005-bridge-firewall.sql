-- Bridges have a firewall, or none. Those that were recorded before have none; and so have those of changes that are still
-- to be undone.
UPDATE resource SET intent = json_set(intent, '$.firewall', json('null'))
  WHERE kind = 'bridge' AND json_type(intent, '$.firewall') IS NULL;
UPDATE operation SET
  before = (SELECT json_group_array(CASE
      WHEN json_extract(value, '$.kind') = 'bridge' AND json_type(value, '$.intent.firewall') IS NULL
      THEN json_set(value, '$.intent.firewall', json('null')) ELSE json(value) END) FROM json_each(operation.before)),
  after = (SELECT json_group_array(CASE
      WHEN json_extract(value, '$.kind') = 'bridge' AND json_type(value, '$.intent.firewall') IS NULL
      THEN json_set(value, '$.intent.firewall', json('null')) ELSE json(value) END) FROM json_each(operation.after))
  WHERE (state = 'running' OR undone = 0) AND json_type(before) = 'array' AND json_type(after) = 'array';
