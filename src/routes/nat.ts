import type { FastifyInstance } from 'fastify';
import { ResourceName } from '../schemas/common.ts';
import { Nat, NatCreate, NatPut, natPatch } from '../schemas/nat.ts';
import type { ResourceService } from '../services/resources.ts';
import { registerCollection } from './collection.ts';
import { natExamples } from './examples.ts';

export function natRoutes(app: FastifyInstance, { resources }: { resources: ResourceService }): void {
  registerCollection(app, resources, {
    kind: 'nat',
    tag: 'nat',
    noun: 'an address translation',
    schemas: { resource: Nat, create: NatCreate, put: NatPut, patch: natPatch, name: ResourceName },
    filters: ['namespace'],
    examples: natExamples,
  });
}
