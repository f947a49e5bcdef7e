import type { FastifyInstance } from 'fastify';
import { ResourceName } from '../schemas/common.ts';
import { Link, LinkCreate, LinkPut, linkPatch } from '../schemas/link.ts';
import type { CollectionServices } from './collection-kind.ts';
import { registerCollection } from './collection.ts';
import { linkExamples } from './link-examples.ts';

export function linkRoutes(app: FastifyInstance, services: CollectionServices): void {
  registerCollection(app, services, {
    kind: 'link',
    tag: 'links',
    noun: 'a link',
    schemas: { resource: Link, create: LinkCreate, put: LinkPut, patch: linkPatch, name: ResourceName },
    isAdoptable: true,
    filters: ['namespace', 'bridge'],
    examples: linkExamples,
  });
}
