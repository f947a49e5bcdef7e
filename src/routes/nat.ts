import type { FastifyInstance } from 'fastify';
import { ResourceName } from '../schemas/common.ts';
import { Nat, NatCreate, NatPut, natPatch } from '../schemas/nat.ts';
import type { CollectionServices } from './collection-kind.ts';
import { registerCollection } from './collection.ts';
import { natExamples } from './examples.ts';

export function natRoutes(app: FastifyInstance, services: CollectionServices): void {
  registerCollection(app, services, {
    kind: 'nat',
    tag: 'nat',
    noun: 'an address translation',
    schemas: { resource: Nat, create: NatCreate, put: NatPut, patch: natPatch, name: ResourceName },
    isAdoptable: false,
    filters: ['namespace'],
    examples: natExamples,
  });
}
