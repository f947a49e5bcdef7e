import type { FastifyInstance } from 'fastify';
import { Bridge, BridgeCreate, BridgePut, ForeignBridge, bridgePatch } from '../schemas/bridge.ts';
import { HOST, ResourceName } from '../schemas/common.ts';
import type { ForeignService } from '../services/foreign.ts';
import type { CollectionServices } from './collection-kind.ts';
import { registerCollection } from './collection.ts';
import { bridgeExamples } from './examples.ts';
import { leaseRoutes } from './leases.ts';

export function bridgeRoutes(
  app: FastifyInstance,
  { foreign, ...services }: CollectionServices & { foreign: ForeignService },
): void {
  registerCollection(app, services, {
    kind: 'bridge',
    tag: 'bridges',
    noun: 'a bridge',
    schemas: {
      resource: Bridge,
      create: BridgeCreate,
      put: BridgePut,
      patch: bridgePatch,
      name: ResourceName,
    },
    isAdoptable: true,
    filters: ['namespace'],
    examples: bridgeExamples,
    foreign: {
      schema: ForeignBridge,
      list: async (namespace) => foreign.bridges(namespace ?? HOST),
      get: async (name) => (await foreign.bridges(HOST)).find((bridge) => bridge.name === name) ?? null,
    },
  });
  leaseRoutes(app, services);
}
