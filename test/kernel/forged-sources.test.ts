import { execa } from 'execa';
import { describe, expect, it } from 'vitest';
import { create } from '../support/create.ts';
import { startDaemon, type Daemon } from '../support/daemon.ts';
import { forge, sniff } from '../support/packets.ts';
import { meanwhile } from '../support/probes.ts';
import { pings, rulesOf, run } from '../support/shell.ts';

// Whoever has conntrack see a packet that seems to come from a victim can send what passes as its answer.

type Request = Daemon['request'];

interface Family {
  family: 4 | 6;
  /** Of `n` on the bridge of that number. */
  address: (bridge: number, n: number) => string;
  uplink: string;
  neighbor: string;
}

const families: Family[] = [
  {
    family: 4,
    address: (bridge, n) => `10.1.${bridge}.${n}`,
    uplink: '198.51.100.2',
    neighbor: '198.51.100.1',
  },
  {
    family: 6,
    address: (bridge, n) => `fd00:${bridge}::${n}`,
    uplink: '2001:db8:51::2',
    neighbor: '2001:db8:51::1',
  },
];

/** `victim` is .1 on br01, `attacker` .1 on br02; the gateways are .254, and everything is masqueraded. */
async function makeNetworks(request: Request, firewalls: readonly [object, object]): Promise<void> {
  for (const [at, name] of ['victim', 'attacker'].entries()) {
    const n = at + 1;
    const bridge = `br0${n}`;
    const addresses = [`10.1.${n}.254/24`, `fd00:${n}::254/64`];
    await create(request, '/bridges', { name: bridge, addresses, firewall: {} });
    await create(request, '/namespaces', { name });
    const routes = [`10.1.${n}.254`, `fd00:${n}::254`].map((via) => ({ to: 'default', via }));
    const peer = {
      interface: 'eth0',
      namespace: name,
      addresses: [`10.1.${n}.1/24`, `fd00:${n}::1/64`],
      routes,
    };
    await create(request, '/links', { name, type: 'veth', bridge, peer });
    await create(request, '/nat', { name: `out${n}`, type: 'masquerade', bridge });
    await create(request, '/nat', { name: `six${n}`, type: 'masquerade', bridge, family: 6 });
  }
  for (const [at, firewall] of firewalls.entries())
    await request
      .patch(`/bridges/br0${at + 1}`)
      .send({ firewall })
      .expect(200);
  for (const [bridge, name] of [
    [1, 'victim'],
    [2, 'attacker'],
  ] as const)
    await expect.poll(async () => pings(name, `fd00:${bridge}::254`)).toBe(true);
}

/** Sends a byte by UDP, from a port, from whatever address the kernel takes. */
async function sendUdp(from: string, sourcePort: number, to: string, port: number): Promise<void> {
  const script = `const s = require('node:dgram').createSocket('udp${to.includes(':') ? 6 : 4}');
    s.bind(${sourcePort}, () => s.send('?', ${port}, '${to}', () => s.close()))`;
  await run('ip', 'netns', 'exec', from, process.execPath, '-e', script);
}

const drops = async (family: 4 | 6): Promise<string[]> =>
  (await rulesOf(null, family)).filter(
    (rule) => rule.startsWith('-A NETNSD-SOURCE') && rule.endsWith('DROP'),
  );

describe('a packet with the source address of a namespace behind a bridge with a firewall', () => {
  it.each(families)(
    'opens no way in for a neighbor on the uplink, IPv$family',
    async ({ family, address, uplink, neighbor }) => {
      const { request } = await startDaemon();
      await makeNetworks(request, [{}, {}]);
      const victim = address(1, 1);
      const way = `${family === 4 ? '10.1.1.0/24' : 'fd00:1::/64'} via ${uplink}`;
      await meanwhile(`ip -n internet route add ${way}`, `ip -n internet route del ${way}`);
      const seen = await sniff('victim', 'eth0');
      await forge('internet', uplink, { source: victim, sourcePort: 80, to: neighbor, port: 4001 });
      await sendUdp('internet', 4001, victim, 80);
      // What the host sends after it comes after it.
      expect(await pings(null, victim)).toBe(true);
      expect(seen.filter((line) => line.startsWith(`${neighbor} `))).toEqual([]);
    },
  );

  it.each(families)(
    'opens no way from one isolated bridge to another by what is published there, IPv$family',
    async ({ address, uplink }) => {
      const { request } = await startDaemon();
      await makeNetworks(request, [{}, {}]);
      const [victim, attacker] = [address(1, 1), address(2, 1)];
      const to = { address: attacker, port: '7000' };
      await create(request, '/nat', { name: 'own', type: 'dnat', protocol: 'udp', port: '8080', to });
      const seen = await sniff('victim', 'eth0');
      await forge('attacker', address(2, 254), { source: victim, sourcePort: 80, to: uplink, port: 8080 });
      await sendUdp('attacker', 7000, victim, 80);
      expect(await pings(null, victim)).toBe(true);
      expect(seen.filter((line) => line.startsWith(`${attacker} `) || line.startsWith(`${uplink} `))).toEqual(
        [],
      );
    },
  );

  it.each(families)(
    'opens no way back to whom the bridge is reachable from, IPv$family',
    async ({ address }) => {
      const { request } = await startDaemon();
      await makeNetworks(request, [{}, { reachableFrom: ['br01'] }]);
      const [victim, attacker] = [address(1, 1), address(2, 1)];
      const seen = await sniff('victim', 'eth0');
      await forge('attacker', address(2, 254), { source: victim, sourcePort: 80, to: attacker, port: 7000 });
      await sendUdp('attacker', 7000, victim, 80);
      expect(await pings(null, victim)).toBe(true);
      expect(seen.filter((line) => line.startsWith(`${attacker} `))).toEqual([]);
      // Whom it is reachable from gets its answers all the same.
      expect(await pings('victim', attacker)).toBe(true);
    },
  );

  it('is known by all addresses of the bridge, those that were chosen included, as they change', async () => {
    const { request } = await startDaemon();
    const addresses = ['10.1.1.254/24', '10.2.0.1/16'];
    await create(request, '/bridges', { name: 'br01', addresses, subnets: ['auto'], firewall: {} });
    const { subnets } = (await request.get('/bridges/br01')).body.status as { subnets: { subnet: string }[] };
    const chosen = subnets.map(({ subnet }) => subnet);
    const networks = async (family: 4 | 6): Promise<(string | undefined)[]> =>
      (await drops(family)).map((rule) => /-s (\S+) ! -i br01 /.exec(rule)?.[1]);
    expect(await networks(4)).toEqual(['10.1.1.0/24', '10.2.0.0/16', ...chosen]);
    expect(await networks(6)).toEqual([]);
    await request
      .patch('/bridges/br01')
      .send({ addresses: ['fd00:1::1/64'] })
      .expect(200);
    expect([await networks(4), await networks(6)]).toEqual([chosen, ['fd00:1::/64']]);
    expect((await request.get('/bridges/br01')).body.status.state).toBe('ready');
    await execa('iptables', ['-t', 'mangle', '-F', 'NETNSD-SOURCE']);
    expect((await request.get('/bridges/br01')).body.status.state).toBe('drifted');
    await request.post('/reconcile?wait=true').expect(200);
    expect(await networks(4)).toEqual(chosen);
  });

  it('passes where the machine sends to itself, and where who is on two bridges answers', async () => {
    const { request } = await startDaemon();
    await makeNetworks(request, [{}, {}]);
    for (const { address } of families) expect(await pings(null, address(1, 254))).toBe(true);
    // The victim is on br02 as well, and answers what comes by br01 by way of br02.
    const peer = { interface: 'eth1', namespace: 'victim', addresses: ['10.1.2.9/24'] };
    await create(request, '/links', { name: 'second', type: 'veth', bridge: 'br02', peer });
    await request
      .patch('/links/victim')
      .send({ peer: { routes: [] } })
      .expect(200);
    await run('ip', '-n', 'victim', 'route', 'add', 'default', 'via', '10.1.2.254');
    const to = { address: '10.1.1.1', port: '7000' };
    await create(request, '/nat', { name: 'web', type: 'dnat', protocol: 'udp', port: '8080', to });
    await run('ip', 'netns', 'exec', 'victim', 'sysctl', '-qw', 'net.ipv4.conf.all.rp_filter=0');
    const seen = await sniff('internet', 'eth0');
    const answers = `const s = require('node:dgram').createSocket('udp4');
      s.on('message', (_, { port, address }) => s.send('!', port, address, () => s.close()));
      s.bind(7000, '10.1.1.1', () => console.log('ready'))`;
    const server = execa('ip', ['netns', 'exec', 'victim', process.execPath, '-e', answers]);
    await new Promise((resolve) => server.stdout.once('data', resolve));
    await sendUdp('internet', 4001, '198.51.100.2', 8080);
    await server;
    await expect.poll(() => seen).toContain('198.51.100.2 > 198.51.100.1 17 31');
  });
});
