import type { FastifyInstance } from 'fastify';
import { Type } from 'typebox';
import { ResourceName } from '../schemas/common.ts';
import { Lease } from '../schemas/ipam.ts';
import { ref, strictObject } from '../schemas/object.ts';
import type { ResourceService } from '../services/resources.ts';
import { answer, problemAnswers } from './answers.ts';
import { nameParams, type NameParams } from './collection-kind.ts';
import { leasesExample } from './examples.ts';

export function leaseRoutes(app: FastifyInstance, { resources }: { resources: ResourceService }): void {
  app.get<{ Params: NameParams }>(
    '/bridges/:name/leases',
    {
      schema: {
        operationId: 'listLeases',
        summary: 'List the addresses that a bridge has given out',
        description:
          'Of all its subnets, in order of address: which end of which link has it, and since when. No process is started.',
        tags: ['bridges'],
        params: nameParams(ResourceName),
        querystring: strictObject({}),
        response: {
          200: answer(
            strictObject({ items: Type.Array(ref(Lease)) }),
            'all that was given and is not free again',
            leasesExample,
          ),
          ...problemAnswers('invalid-request', 'not-found'),
        },
      },
    },
    ({ params: { name } }) => ({ items: resources.leases(name) }),
  );
}
