import { readdirSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { startDaemon, type Daemon } from '../support/daemon.ts';
import { firewallCombinations, firewallName, goldenRules } from '../support/golden.ts';
import { natCases, togetherCases } from '../support/golden-nat.ts';

// Files in test/golden/ are made, and made anew, by `-u` of vitest alone. Each case begins without rules, so that a file is the same
// whatever ran before.

async function done(answer: PromiseLike<{ status: number; body: unknown }>): Promise<void> {
  const { status, body } = await answer;
  expect({ status, body }).toMatchObject({ status: expect.toSatisfy((code: number) => code < 300) });
}

async function isAsIn(name: string, title: string, namespace?: string): Promise<void> {
  await expect(await goldenRules(title, namespace)).toMatchFileSnapshot(`../golden/${name}.rules`);
}

async function makeBridges({ request }: Daemon): Promise<void> {
  for (const n of [1, 2]) {
    const addresses = [`10.1.${n}.254/24`, `fd00:${n}::254/64`];
    await done(request.post('/bridges').send({ name: `br0${n}`, addresses }));
  }
}

/** A bridge with two networks, `blue` behind br01, with a link of its own besides, and a bridge within `blue`. */
async function makeMore({ request }: Daemon): Promise<void> {
  const addresses = ['10.1.3.254/24', '10.1.4.254/24', 'fd00:3::254/64'];
  await done(request.post('/bridges').send({ name: 'br03', addresses }));
  await done(request.post('/namespaces').send({ name: 'blue' }));
  const peer = { interface: 'eth0', namespace: 'blue', addresses: ['10.1.1.1/24', 'fd00:1::1/64'] };
  await done(request.post('/links').send({ name: 'to-blue', type: 'veth', bridge: 'br01', peer }));
  const apart = { name: 'apart', type: 'veth', addresses: ['10.1.6.254/24'] };
  const other = { interface: 'eth1', namespace: 'blue', addresses: ['10.1.6.1/24'] };
  await done(request.post('/links').send({ ...apart, peer: other }));
  const inner = { name: 'inner', namespace: 'blue', addresses: ['10.1.5.254/24', 'fd00:5::254/64'] };
  await done(request.post('/bridges').send(inner));
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

describe('the rules of an address translation', () => {
  it('are those in test/golden for every kind of it', async () => {
    const daemon = await startDaemon();
    const { request } = daemon;
    await makeBridges(daemon);
    await makeMore(daemon);
    for (const [name, nat] of Object.entries(natCases)) {
      await done(request.post('/nat').send({ name: 'it', ...nat }));
      await isAsIn(name, `it: ${JSON.stringify(nat)}`);
      await done(request.delete('/nat/it'));
    }
  });

  it('and firewalls stand beside each other', async () => {
    const daemon = await startDaemon();
    const { request } = daemon;
    await makeBridges(daemon);
    await makeMore(daemon);
    for (const [file, { namespace, firewalls, nat }] of Object.entries(togetherCases)) {
      for (const [bridge, firewall] of Object.entries(firewalls))
        await done(request.patch(`/bridges/${bridge}`).send({ firewall }));
      for (const [name, rule] of Object.entries(nat))
        await done(request.post('/nat').send({ name, ...rule }));
      const title = [
        ...Object.entries(firewalls).map(
          ([name, firewall]) => `${name}: firewall ${JSON.stringify(firewall)}`,
        ),
        ...Object.entries(nat).map(([name, rule]) => `${name}: ${JSON.stringify(rule)}`),
      ];
      await isAsIn(file, title.join('; '), namespace);
      for (const name of Object.keys(nat)) await done(request.delete(`/nat/${name}`));
      for (const bridge of Object.keys(firewalls))
        await done(request.patch(`/bridges/${bridge}`).send({ firewall: null }));
    }
  });
});

describe('a file in test/golden', () => {
  // One that is missing fails the test that makes its combination.
  it('is of a combination that is made here', () => {
    const names = [
      ...firewallCombinations('br02').map((firewall) => `bridge-${firewallName(firewall)}`),
      ...Object.keys(natCases),
      ...Object.keys(togetherCases),
    ].map((name) => `${name}.rules`);
    const files = readdirSync(new URL('../golden/', import.meta.url));
    expect(files.filter((file) => !names.includes(file))).toEqual([]);
  });
});
