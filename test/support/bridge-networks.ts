import { expect } from 'vitest';
import type { Daemon } from './daemon.ts';
import { meanwhile, serve } from './probes.ts';

export type Request = Daemon['request'];

export const four = (bridge: number, host: number): string => `10.1.${bridge}.${host}`;
export const six = (bridge: number, host: number): string => `fd00:${bridge}::${host}`;

/** `br0N` with ports `nN1` (and `nN2`, …), each in a namespace of its own that answers on port 80. */
export async function makeBridge(
  request: Request,
  n: number,
  firewall: object | null,
  ports = 1,
): Promise<void> {
  const addresses = [`${four(n, 254)}/24`, `${six(n, 254)}/64`];
  const { body, status } = await request.post('/bridges').send({ name: `br0${n}`, addresses, firewall });
  expect({ status, body }).toMatchObject({ status: 201 });
  for (let port = 1; port <= ports; port++) {
    const namespace = `n${n}${port}`;
    expect((await request.post('/namespaces').send({ name: namespace })).status).toBe(201);
    const peer = {
      interface: 'eth0',
      namespace,
      addresses: [`${four(n, port)}/24`, `${six(n, port)}/64`],
      routes: [
        { to: 'default', via: four(n, 254) },
        { to: 'default', via: six(n, 254) },
      ],
    };
    const link = { name: `v${n}${port}`, type: 'veth', bridge: `br0${n}`, peer };
    expect((await request.post('/links').send(link)).status).toBe(201);
    await serve(namespace, [80]);
  }
}

/** Translates what leaves a bridge, and has both families forwarded. */
export async function masquerade(request: Request, n: number, forward: string): Promise<void> {
  for (const [name, source] of [
    [`out${n}`, `10.1.${n}.0/24`],
    [`outsix${n}`, `fd00:${n}::/64`],
  ])
    expect(
      (await request.post('/nat').send({ name, type: 'masquerade', source, inInterface: `br0${n}`, forward }))
        .status,
    ).toBe(201);
}

export async function firewallOf(request: Request, n: number, firewall: object | null): Promise<void> {
  const { body, status } = await request.patch(`/bridges/br0${n}`).send({ firewall });
  expect({ status, body }).toMatchObject({ status: 200 });
  expect(body.status.state).toBe('ready');
}

/** The host next to us on the uplink sends straight to our networks. */
export async function neighborKnowsTheWay(n: number): Promise<void> {
  const way = `10.1.${n}.0/24 via 198.51.100.2`;
  const way6 = `fd00:${n}::/64 via 2001:db8:51::2`;
  await meanwhile(
    `ip -n internet route add ${way}; ip -n internet -6 route add ${way6}`,
    `ip -n internet route del ${way}; ip -n internet -6 route del ${way6}`,
  );
}
