import type { FastifyInstance } from 'fastify';
import type { Kind } from '../schemas/common.ts';
import type { ResourceService } from '../services/resources.ts';
import { registerChanges } from './collection-changes.ts';
import type { Collection } from './collection-kind.ts';
import { registerReads } from './collection-reads.ts';

/** Registers list, create, read, put, patch and delete of one kind. */
export function registerCollection<K extends Kind>(
  app: FastifyInstance,
  resources: ResourceService,
  collection: Collection<K>,
): void {
  registerReads(app, resources, collection);
  registerChanges(app, resources, collection);
}
