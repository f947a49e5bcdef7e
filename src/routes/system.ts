import type { FastifyInstance } from 'fastify';
import { Health, System } from '../schemas/inspect.ts';
import { ref, strictObject } from '../schemas/object.ts';
import type { SystemService } from '../services/system.ts';
import { answer, problemAnswers } from './answers.ts';

/** The machine and the daemon, and whether all is well. */
export function systemRoutes(app: FastifyInstance, { system }: { system: SystemService }): void {
  registerSystem(app, system);
  registerHealth(app);
  registerReadiness(app, system);
}

function registerSystem(app: FastifyInstance, system: SystemService): void {
  app.get(
    '/system',
    {
      schema: {
        operationId: 'getSystem',
        summary: 'Read what the machine has, and what of it is used',
        description:
          'Versions, tools, features of the kernel, limits and use, and warnings of what may stand in the way.',
        tags: ['system'],
        querystring: strictObject({}),
        response: {
          200: answer(ref(System), 'the machine and the daemon', systemExample),
          ...problemAnswers('invalid-request', 'store-unavailable'),
        },
      },
    },
    async () => system.system(),
  );
}

/** Answers as long as the event loop turns: a supervisor restarts what does not. */
function registerHealth(app: FastifyInstance): void {
  app.get(
    '/healthz',
    {
      config: { isPublic: true },
      schema: {
        operationId: 'getHealth',
        summary: 'Ask whether the daemon is alive',
        tags: ['system'],
        security: [],
        querystring: strictObject({}),
        response: {
          200: answer(ref(Health), 'it is', { status: 'ok', reason: null }),
          ...problemAnswers('invalid-request'),
        },
      },
    },
    async (): Promise<Health> => ({ status: 'ok', reason: null }),
  );
}

function registerReadiness(app: FastifyInstance, system: SystemService): void {
  app.get(
    '/readyz',
    {
      config: { isPublic: true },
      schema: {
        operationId: 'getReadiness',
        summary: 'Ask whether changes can succeed',
        description:
          'Whether the tools and capabilities are there, the store answers and /run/netns can be written.',
        tags: ['system'],
        security: [],
        querystring: strictObject({}),
        response: {
          200: answer(ref(Health), 'they can', { status: 'ok', reason: null }),
          ...problemAnswers('invalid-request'),
          503: answer(ref(Health), 'they can’t, and why', {
            status: 'unavailable',
            reason: 'netnsd lacks CAP_NET_ADMIN: run it as root, in a container with --cap-add NET_ADMIN',
          }),
        },
      },
    },
    async (_request, reply) => {
      const { ready, reason } = await system.readiness();
      const health: Health = { status: ready ? 'ok' : 'unavailable', reason };
      return reply.code(ready ? 200 : 503).send(health);
    },
  );
}

const systemExample = {
  version: '0.1.0',
  kernel: { release: '6.1.0-38-amd64', architecture: 'x86_64' },
  tools: {
    ip: { version: '6.1.0', variant: null },
    iptables: { version: '1.8.9', variant: 'nf_tables' },
    ip6tables: { version: '1.8.9', variant: 'nf_tables' },
    nsenter: { version: '2.38.1', variant: null },
    conntrack: { version: '1.4.7', variant: null },
    ping: { version: '20221126', variant: null },
    ss: { version: '6.1.0', variant: null },
    tc: { version: '6.1.0', variant: null },
    ethtool: { version: '6.1', variant: null },
  },
  features: {
    bridge: true,
    veth: true,
    vxlan: true,
    macvlan: true,
    tun: true,
    ipv6: true,
    nftables: true,
    iptablesLegacy: true,
    bridgeNetfilter: true,
    conntrack: true,
    policing: true,
  },
  limits: { netNamespaces: 96365, portsPerBridge: 1000, conntrackEntries: 262144 },
  use: {
    boundNamespaces: 2,
    conntrackEntries: 3,
    recorded: { namespaces: 1, links: 1, bridges: 1, nat: 1 },
  },
  reconcile: {
    mode: 'repair',
    intervalSeconds: 60,
    settled: true,
    events: 'watching',
    firewallEvents: true,
    lastSweep: {
      startedAt: '2026-01-02T03:04:05.678Z',
      durationMs: 9.25,
      processes: 3,
      resources: 4,
      drifted: 0,
    },
  },
  warnings: [],
} satisfies System;
