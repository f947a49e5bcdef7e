import type { FastifyInstance } from 'fastify';
import type { Kind } from '../schemas/common.ts';
import { registerChanges } from './collection-changes.ts';
import type { Collection, CollectionServices } from './collection-kind.ts';
import { registerReads } from './collection-reads.ts';

/** Registers list, create, read, put, patch and delete of one kind. */
export function registerCollection<K extends Kind>(
  app: FastifyInstance,
  services: CollectionServices,
  collection: Collection<K>,
): void {
  registerReads(app, services.resources, collection);
  registerChanges(app, services, collection);
}
