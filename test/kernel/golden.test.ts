import { describe, expect, it } from 'vitest';
import { startDaemon, type Daemon } from '../support/daemon.ts';
import { firewallCombinations, firewallName, goldenRules } from '../support/golden.ts';

// Files in test/golden/ are made anew by `-u` of vitest. Each case begins without rules, so that a file is the same
// whatever ran before.

async function done(answer: PromiseLike<{ status: number; body: unknown }>): Promise<void> {
  const { status, body } = await answer;
  expect({ status, body }).toMatchObject({ status: expect.toSatisfy((code: number) => code < 300) });
}

async function isAsIn(name: string, title: string): Promise<void> {
  await expect(await goldenRules(title)).toMatchFileSnapshot(`../golden/${name}.rules`);
}

async function makeBridges({ request }: Daemon): Promise<void> {
  for (const n of [1, 2]) {
    const addresses = [`10.1.${n}.254/24`, `fd00:${n}::254/64`];
    await done(request.post('/bridges').send({ name: `br0${n}`, addresses }));
  }
}

describe('the rules of a bridge with a firewall, beside one without', () => {
  it('are those in test/golden for every combination of its fields', async () => {
    const daemon = await startDaemon();
    await makeBridges(daemon);
    for (const firewall of firewallCombinations('br02')) {
      await done(daemon.request.patch('/bridges/br01').send({ firewall }));
      await isAsIn(`bridge-${firewallName(firewall)}`, `br01: ${JSON.stringify(firewall)}; br02: null`);
      await done(daemon.request.patch('/bridges/br01').send({ firewall: null }));
    }
  });
});

const source = { source: '10.1.1.0/24', inInterface: 'br01' };
const out = { type: 'masquerade', ...source };
const snat = { type: 'snat', ...source, toAddress: '198.51.100.2' };
const web = { type: 'dnat', protocol: 'tcp', port: '8080', to: { address: '10.1.1.1', port: '80' } };
const web6 = { ...web, to: { address: 'fd00:1::1', port: '80' } };

const natCases: Record<string, object> = {
  'masquerade-bridge': { type: 'masquerade', bridge: 'br01' },
  'masquerade-bridge-ipv6': { type: 'masquerade', bridge: 'br01', family: 6 },
  'masquerade-established': { ...out, forward: 'established' },
  'masquerade-any': { ...out, forward: 'any' },
  'masquerade-none': { ...out, forward: 'none' },
  'masquerade-uplink': { ...out, outInterface: 'uplink0' },
  'masquerade-source': { type: 'masquerade', source: '10.1.1.0/24' },
  'masquerade-ipv6': { type: 'masquerade', source: 'fd00:1::/64', inInterface: 'br01' },
  snat,
  'snat-bridge': { type: 'snat', bridge: 'br01', toAddress: '198.51.100.2' },
  'dnat-tcp': web,
  'dnat-udp': { ...web, protocol: 'udp' },
  'dnat-range': { ...web, port: '8000-8010', to: { address: '10.1.1.1', port: '80-90' } },
  'dnat-range-to-one': { ...web, port: '8000-8010' },
  'dnat-address': { ...web, address: '198.51.100.2' },
  'dnat-in-interface': { ...web, inInterface: 'uplink0' },
  'dnat-localhost': { ...web, address: '127.0.0.1' },
  'dnat-elsewhere': { ...web, to: { address: '10.9.9.9', port: '80' } },
  'dnat-link': { ...web, to: { link: 'to-blue', port: '80' } },
  'dnat-ipv6': web6,
  'dnat-ipv6-udp-range': {
    ...web6,
    protocol: 'udp',
    port: '8000-8010',
    to: { address: 'fd00:1::1', port: '80-90' },
  },
};

describe('the rules of an address translation', () => {
  it('are those in test/golden for every kind of it', async () => {
    const daemon = await startDaemon();
    const { request } = daemon;
    await makeBridges(daemon);
    await done(request.post('/namespaces').send({ name: 'blue' }));
    const peer = { interface: 'eth0', namespace: 'blue', addresses: ['10.1.1.1/24', 'fd00:1::1/64'] };
    await done(request.post('/links').send({ name: 'to-blue', type: 'veth', bridge: 'br01', peer }));
    for (const [name, nat] of Object.entries(natCases)) {
      await done(request.post('/nat').send({ name: 'it', ...nat }));
      await isAsIn(`nat-${name}`, `it: ${JSON.stringify(nat)}`);
      await done(request.delete('/nat/it'));
    }
  });

  it('and of a firewall stand beside each other', async () => {
    const daemon = await startDaemon();
    const { request } = daemon;
    await makeBridges(daemon);
    await done(request.patch('/bridges/br01').send({ firewall: {} }));
    await done(request.post('/nat').send({ name: 'out', ...out }));
    await done(request.post('/nat').send({ name: 'web', ...web }));
    await isAsIn('together', `br01: firewall {}; out: ${JSON.stringify(out)}; web: ${JSON.stringify(web)}`);
  });
});
