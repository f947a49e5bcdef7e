import type { FastifyInstance } from 'fastify';
import { Type, type TSchema } from 'typebox';
import {
  Neighbor,
  NamespaceProcess,
  PingAnswer,
  PingRequest,
  ReadableNamespaceName,
  RouteEntry,
  Socket,
} from '../schemas/inspect.ts';
import { Interface } from '../schemas/interface.ts';
import { ref, strictObject } from '../schemas/object.ts';
import type { InspectService } from '../services/inspect.ts';
import { READ_PROBLEMS, answer, problemAnswers } from './answers.ts';

interface NamespaceParams {
  ns: string;
}

const NamespaceParams = strictObject({ ns: ReadableNamespaceName });

/** What a namespace has now, whoever made it. */
export function namespaceInspectRoutes(app: FastifyInstance, { inspect }: { inspect: InspectService }): void {
  for (const table of tables) registerTable(app, inspect, table);
  registerPing(app, inspect);
}

interface Table {
  /** The last part of the path, and the method of the service. */
  name: 'interfaces' | 'routes' | 'neighbors' | 'sockets' | 'processes';
  summary: string;
  description: string;
  item: TSchema;
  example: object;
}

const tables: readonly Table[] = [
  {
    name: 'interfaces',
    summary: 'List the interfaces of a namespace',
    description: 'By index and name, as `ip address show` has them. `lo` is always the first.',
    item: ref(Interface),
    example: {
      index: 2,
      name: 'veth10',
      type: 'veth',
      mac: 'ee:41:0b:c9:93:5a',
      mtu: 1500,
      up: true,
      operstate: 'up',
      addresses: ['10.1.1.1/24'],
      bridge: null,
      statistics: {
        rxBytes: 1006,
        rxPackets: 11,
        rxErrors: 0,
        rxDropped: 0,
        txBytes: 1216,
        txPackets: 14,
        txErrors: 0,
        txDropped: 0,
      },
    },
  },
  {
    name: 'routes',
    summary: 'List the routes of a namespace',
    description:
      'All routing tables, IPv4 and then IPv6, as `ip route show table all` has them; table 254 is what `route` shows.',
    item: ref(RouteEntry),
    example: {
      to: 'default',
      via: '10.1.1.3',
      dev: 'veth10',
      metric: null,
      src: null,
      table: 254,
      protocol: '115',
      scope: 'global',
      type: 'unicast',
      family: 'inet',
      nexthops: [],
    },
  },
  {
    name: 'neighbors',
    summary: 'List the neighbors of a namespace',
    description: 'The ARP and NDP tables, as `ip neighbour show` has them.',
    item: ref(Neighbor),
    example: {
      address: '10.1.1.3',
      interface: 'veth10',
      mac: '6e:8e:92:90:53:3f',
      state: 'reachable',
      router: false,
    },
  },
  {
    name: 'sockets',
    summary: 'List the sockets of a namespace',
    description:
      'The Internet sockets with the processes that have them open, as `ss` has them. A socket stays in the namespace that it was made in, even if its process moves to another.',
    item: ref(Socket),
    example: {
      namespace: 'blue',
      namespaceInode: 4026532598,
      protocol: 'tcp',
      family: 'inet',
      state: 'listen',
      local: { address: '10.1.1.1', port: 80 },
      peer: { address: '0.0.0.0', port: null },
      interface: null,
      inode: 60766,
      uid: 0,
      processes: [{ pid: 6700, name: 'nginx' }],
    },
  },
  {
    name: 'processes',
    summary: 'List the processes in a namespace',
    description:
      'Those whose /proc/PID/ns/net is this namespace. What the daemon’s own process namespace hides is not listed.',
    item: ref(NamespaceProcess),
    example: {
      pid: 6700,
      name: 'nginx',
      command: ['nginx', '-g', 'daemon off;'],
      uid: 0,
      startedAt: '2026-01-02T03:04:05.670Z',
    },
  },
];

function registerTable(
  app: FastifyInstance,
  inspect: InspectService,
  { name, summary, description, item, example }: Table,
): void {
  app.get<{ Params: NamespaceParams }>(
    `/namespaces/:ns/${name}`,
    {
      schema: {
        operationId: `listNamespace${name.charAt(0).toUpperCase()}${name.slice(1)}`,
        summary,
        description,
        tags: ['namespaces'],
        params: NamespaceParams,
        querystring: strictObject({}),
        response: {
          200: answer(strictObject({ items: Type.Array(item) }), 'what the kernel has there now', {
            items: [example],
          }),
          ...problemAnswers(...READ_PROBLEMS, 'kernel-unsupported'),
        },
      },
    },
    async ({ params }) => ({ items: await inspect[name](params.ns) }),
  );
}

function registerPing(app: FastifyInstance, inspect: InspectService): void {
  app.post<{ Params: NamespaceParams; Body: PingRequest }>(
    '/namespaces/:ns/ping',
    {
      schema: {
        operationId: 'pingFromNamespace',
        summary: 'Ping an address from inside a namespace',
        description:
          'Sends ICMP echo requests, five a second, and waits for the answers. That none comes is an answer too.',
        tags: ['namespaces'],
        params: NamespaceParams,
        querystring: strictObject({}),
        body: ref(PingRequest),
        'x-body-examples': { example: { to: '10.1.1.2', count: 3, timeoutMs: 1000 } },
        response: {
          200: answer(ref(PingAnswer), 'what came of it', {
            transmitted: 3,
            received: 3,
            lossPercent: 0,
            rtt: { min: 0.052, avg: 0.109, max: 0.216, mdev: 0.075 },
          }),
          ...problemAnswers(
            ...READ_PROBLEMS,
            'unprocessable',
            'kernel-unsupported',
            'too-large',
            'unsupported-media-type',
          ),
        },
      },
    },
    async ({ params, body }) => inspect.ping(params.ns, body),
  );
}
