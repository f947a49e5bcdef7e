import type { FastifyInstance } from 'fastify';
import { NewNamespaceName } from '../schemas/common.ts';
import {
  ForeignNamespace,
  Namespace,
  NamespaceCreate,
  NamespacePut,
  namespacePatch,
} from '../schemas/namespace.ts';
import type { ForeignService } from '../services/foreign.ts';
import type { CollectionServices } from './collection-kind.ts';
import { registerCollection } from './collection.ts';
import { namespaceExamples } from './examples.ts';

export function namespaceRoutes(
  app: FastifyInstance,
  { foreign, ...services }: CollectionServices & { foreign: ForeignService },
): void {
  registerCollection(app, services, {
    kind: 'namespace',
    tag: 'namespaces',
    noun: 'a namespace',
    schemas: {
      resource: Namespace,
      create: NamespaceCreate,
      put: NamespacePut,
      patch: namespacePatch,
      name: NewNamespaceName,
    },
    isAdoptable: true,
    filters: [],
    examples: namespaceExamples,
    foreign: {
      schema: ForeignNamespace,
      list: async () => foreign.namespaces(),
      get: async (name) => foreign.namespace(name),
    },
  });
}
