import type { Stored, Ties } from '../db/resources.ts';
import type { Kind } from '../schemas/common.ts';
import { bridgeKind } from './bridge.ts';
import type { KindService } from './kind.ts';
import { linkKind } from './link.ts';
import { namespaceKind } from './namespace.ts';
import { natKind } from './nat.ts';

const kinds: { [K in Kind]: KindService<K> } = {
  namespace: namespaceKind,
  bridge: bridgeKind,
  link: linkKind,
  nat: natKind,
};

export function kindOf<K extends Kind>(kind: K): KindService<K> {
  return kinds[kind];
}

/** What a recorded resource of any kind holds and needs. */
export function tiesOf(resource: Stored): Ties {
  return kindOf(resource.kind).ties(resource.intent, resource.assigned);
}
