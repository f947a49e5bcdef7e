-- What a published port leads to stands in needs, so that a link knows whether one leads behind its port.
INSERT OR IGNORE INTO need (namespace, what, kind, name)
  SELECT json_extract(intent, '$.namespace'),
         'target ' || coalesce(json_extract(intent, '$.to.address'), json_extract(assigned, '$.address')), kind, name
  FROM resource
  WHERE kind = 'nat' AND json_extract(intent, '$.type') = 'dnat'
    AND coalesce(json_extract(intent, '$.to.address'), json_extract(assigned, '$.address')) IS NOT NULL;
