import type { TSchema } from 'typebox';
import { BridgePut } from './bridge.ts';
import type { Kind } from './common.ts';
import { LinkPut } from './link.ts';
import { NamespacePut } from './namespace.ts';
import { NatPut } from './nat.ts';

/** The schema of a whole resource of each kind, as a client writes it. */
export const putSchemas: Record<Kind, TSchema> = {
  namespace: NamespacePut,
  bridge: BridgePut,
  link: LinkPut,
  nat: NatPut,
};
