import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { refText, type Ref } from '../../src/schemas/common.ts';
import {
  firewallOf,
  four,
  makeBridge,
  masquerade,
  neighborKnowsTheWay,
  six,
} from '../support/bridge-networks.ts';
import { startDaemon } from '../support/daemon.ts';
import { BRIEFLY_MS, meanwhile, reached, serve } from '../support/probes.ts';
import { ipJson, pings, rulesOf, run } from '../support/shell.ts';

const ALL = ['icmp', 'tcp', 'udp'];
const NONE: string[] = [];

/** What a port of one bridge reaches of a port of another, by both families, which must agree. */
async function between(from: string, n: number, host: number, patienceMs?: number): Promise<string[]> {
  const [by4 = [], by6 = []] = await Promise.all(
    [four(n, host), six(n, host)].map(async (address) => reached(from, address, 80, patienceMs)),
  );
  expect({ from, n, by: by6 }).toEqual({ from, n, by: by4 });
  return by4;
}

/**
 * What is to be reached may be some time after a change: a neighbor that could not be found before is asked for again only
 * after a while. What is not to be reached is not at any time.
 */
async function expectBetween(from: string, n: number, by: string[], host = 1): Promise<void> {
  if (by === NONE) expect({ from, n, by: await between(from, n, host, BRIEFLY_MS) }).toEqual({ from, n, by });
  else
    await expect.poll(async () => ({ from, n, by: await between(from, n, host) })).toEqual({ from, n, by });
}

async function policyDrop(): Promise<void> {
  await meanwhile(
    'iptables -P FORWARD DROP; ip6tables -P FORWARD DROP',
    'iptables -P FORWARD ACCEPT; ip6tables -P FORWARD ACCEPT',
  );
}

describe('isolated', () => {
  it('keeps other bridges of ours from it, and it from them, whoever has said so', async () => {
    const { request } = await startDaemon();
    await makeBridge(request, 2, null);
    await masquerade(request, 2, 'none');
    await makeBridge(request, 1, {});
    await expectBetween('n21', 1, NONE);
    await expectBetween('n11', 2, NONE);
    await firewallOf(request, 1, { isolated: false });
    await expectBetween('n21', 1, ALL);
    await expectBetween('n11', 2, ALL);
    await firewallOf(request, 1, { isolated: true, inbound: 'any' });
    await expectBetween('n21', 1, NONE);
    await expectBetween('n11', 2, NONE);
    await firewallOf(request, 1, { inbound: 'published', reachableFrom: ['br02'] });
    await expectBetween('n21', 1, ALL);
    await expectBetween('n11', 2, NONE);
    await firewallOf(request, 1, null);
    await expectBetween('n21', 1, ALL);
    await expectBetween('n11', 2, ALL);
  });

  it('means the same where others let nothing be forwarded, or let everything before us', async () => {
    const { request } = await startDaemon();
    await policyDrop();
    await makeBridge(request, 1, { isolated: false });
    await makeBridge(request, 2, { isolated: false });
    await masquerade(request, 2, 'established');
    await expectBetween('n21', 1, ALL);
    await expectBetween('n11', 2, ALL);
    await firewallOf(request, 2, { isolated: true, reachableFrom: ['br01'] });
    await expectBetween('n21', 1, NONE);
    await expectBetween('n11', 2, ALL);
    await meanwhile(
      'iptables -I FORWARD -j ACCEPT; ip6tables -I FORWARD -j ACCEPT',
      'iptables -D FORWARD -j ACCEPT; ip6tables -D FORWARD -j ACCEPT',
    );
    await firewallOf(request, 2, { reachableFrom: [] });
    await expectBetween('n21', 1, NONE);
    await expectBetween('n11', 2, NONE);
  });

  it('leaves what was published reachable by the address of the host, as Docker 28 does', async () => {
    const { request } = await startDaemon();
    await makeBridge(request, 1, {});
    await makeBridge(request, 2, {});
    await masquerade(request, 2, 'established');
    for (const [name, to] of [
      ['web', four(1, 1)],
      ['web6', six(1, 1)],
    ])
      await request
        .post('/nat')
        .send({ name, type: 'dnat', protocol: 'tcp', port: '8080', to: { address: to, port: '80' } })
        .expect(201);
    for (const host of ['198.51.100.2', '2001:db8:51::2'])
      await expect.poll(async () => reached('n21', host, 8080)).toEqual(['icmp', 'tcp']);
    await expectBetween('n21', 1, NONE);
  });

  it('holds for a bridge that comes later, without a firewall, and goes by the new name of one', async () => {
    const { request } = await startDaemon();
    await makeBridge(request, 1, {});
    await makeBridge(request, 2, null);
    await makeBridge(request, 3, {});
    await masquerade(request, 2, 'none');
    await expectBetween('n21', 1, NONE);
    await expectBetween('n11', 2, NONE);
    await firewallOf(request, 1, { reachableFrom: ['br02'] });
    await request.patch('/bridges/br02').send({ interface: 'lan2' }).expect(200);
    await expectBetween('n21', 1, ALL);
    await expectBetween('n11', 2, NONE);
    for (const name of ['br01', 'br02', 'br03'])
      expect((await request.get(`/bridges/${name}`)).body.status).toMatchObject({ state: 'ready' });
    const { items } = (await request.get('/bridges')).body as { items: { status: { state: string } }[] };
    expect(items.map(({ status }) => status.state)).toEqual(['ready', 'ready', 'ready']);
    expect((await request.get('/drift')).body).toMatchObject({ items: [], unrecorded: [] });
  });
});

describe('intercom', () => {
  it('false keeps the ports of the bridge apart, by the bridge itself, but not from the gateway', async () => {
    const { request } = await startDaemon();
    await makeBridge(request, 1, { intercom: false }, 2);
    await masquerade(request, 1, 'established');
    await expectBetween('n11', 1, NONE, 2);
    expect([await pings('n11', four(1, 254)), await pings('n11', six(1, 254))]).toEqual([true, true]);
    expect([await pings('n11', '203.0.113.10'), await pings('n11', '2001:db8:113::10')]).toEqual([
      true,
      true,
    ]);
    const flags = async () =>
      (await ipJson('link', 'show', 'master', 'br01')).map((port) =>
        JSON.stringify(port).includes('"isolated":true'),
      );
    expect(await flags()).toEqual([true, true]);
    expect((await request.get('/links/v12')).body).toMatchObject({
      isolatedPort: false,
      status: { state: 'ready' },
    });
    await run('ip', 'link', 'set', 'v12', 'type', 'bridge_slave', 'isolated', 'off');
    expect((await request.get('/links/v12')).body).toMatchObject({ status: { state: 'drifted' } });
    await request.patch('/links/v11').send({ isolatedPort: true }).expect(200);
    await firewallOf(request, 1, { intercom: true });
    expect(await flags()).toEqual([true, false]);
    await expectBetween('n11', 1, ALL, 2);
    await request.patch('/links/v11').send({ isolatedPort: false }).expect(200);
    await firewallOf(request, 1, { intercom: false });
    const { items } = (await request.get('/links')).body as { items: { status: { state: string } }[] };
    expect(items.map(({ status }) => status.state)).toEqual(['ready', 'ready']);
  });

  it('true lets them through whatever others say of what is forwarded, with br_netfilter as well', async () => {
    const { request } = await startDaemon();
    const nf = '/proc/sys/net/bridge/bridge-nf-call-ip';
    const before = readFileSync(`${nf}tables`, 'utf8').trim();
    await meanwhile(
      `for f in ${nf}tables ${nf}6tables; do echo 1 >$f; done`,
      `for f in ${nf}tables ${nf}6tables; do echo ${before} >$f; done`,
    );
    await policyDrop();
    await makeBridge(request, 1, {}, 2);
    await expectBetween('n11', 1, ALL, 2);
    await firewallOf(request, 1, { intercom: false });
    // Somebody lets the ports reach each other again: the rules stand.
    for (const port of ['v11', 'v12'])
      await run('ip', 'link', 'set', port, 'type', 'bridge_slave', 'isolated', 'off');
    await expectBetween('n11', 1, NONE, 2);
    await firewallOf(request, 1, null);
    await expectBetween('n11', 1, NONE, 2);
  });
});

describe('internal', () => {
  it('leaves no way out or in but for the host', async () => {
    const { request } = await startDaemon();
    await neighborKnowsTheWay(1);
    await makeBridge(request, 1, { internal: true }, 2);
    await makeBridge(request, 2, { isolated: false });
    await masquerade(request, 1, 'any');
    const web = { type: 'dnat', protocol: 'tcp', port: '8080', to: { address: four(1, 1), port: '80' } };
    await request
      .post('/nat')
      .send({ name: 'web', ...web })
      .expect(201);
    expect([await pings('n11', '203.0.113.10'), await pings('n11', '2001:db8:113::10')]).toEqual([
      false,
      false,
    ]);
    await expectBetween('internet', 1, NONE);
    await expectBetween('n21', 1, NONE);
    await expectBetween('n11', 2, NONE);
    expect(await reached('internet', '198.51.100.2', 8080)).toEqual(['icmp']);
    expect([await reached(null, four(1, 1), 80), await reached(null, six(1, 1), 80)]).toEqual([ALL, ALL]);
    await expectBetween('n11', 1, ALL, 2);
    await firewallOf(request, 1, { internal: false });
    expect([await pings('n11', '203.0.113.10'), await pings('n11', '2001:db8:113::10')]).toEqual([
      true,
      true,
    ]);
    expect(await reached('internet', '198.51.100.2', 8080)).toEqual(['icmp', 'tcp']);
  });
});

describe('inbound', () => {
  it('published keeps out a neighbor that knows the way, but from what a dnat rule translates', async () => {
    const { request } = await startDaemon();
    await neighborKnowsTheWay(1);
    await makeBridge(request, 1, {});
    await masquerade(request, 1, 'none');
    const web = { type: 'dnat', protocol: 'tcp', port: '8080', to: { address: four(1, 1), port: '80' } };
    await request
      .post('/nat')
      .send({ name: 'web', ...web })
      .expect(201);
    await meanwhile('iptables -I FORWARD -j ACCEPT', 'iptables -D FORWARD -j ACCEPT');
    await expectBetween('internet', 1, NONE);
    expect(await reached('internet', '198.51.100.2', 8080)).toEqual(['icmp', 'tcp']);
    expect([await pings('n11', '203.0.113.10'), await pings('n11', '2001:db8:113::10')]).toEqual([
      true,
      true,
    ]);
    await firewallOf(request, 1, null);
    await expectBetween('internet', 1, ALL);
  });

  it('any is the plain router, with forwarding on while it is asked for, whatever others say', async () => {
    const { request } = await startDaemon();
    const forwarding = (): string[] =>
      ['ipv4/ip_forward', 'ipv6/conf/all/forwarding'].map((key) =>
        readFileSync(`/proc/sys/net/${key}`, 'utf8').trim(),
      );
    await policyDrop();
    await neighborKnowsTheWay(1);
    await makeBridge(request, 1, {});
    expect(forwarding()).toEqual(['0', '0']);
    await firewallOf(request, 1, { inbound: 'any' });
    expect(forwarding()).toEqual(['1', '1']);
    await expectBetween('internet', 1, ALL);
    expect([await pings('n11', '198.51.100.1'), await pings('n11', '2001:db8:51::1')]).toEqual([true, true]);
    await run('sysctl', '-q', '-w', 'net.ipv4.ip_forward=0');
    expect((await request.get('/bridges/br01')).body).toMatchObject({
      status: { state: 'drifted', differences: [{ path: '/status/ipv4/forwarding' }] },
    });
    await request.post('/reconcile').expect(202);
    await expect.poll(async () => (await request.get('/bridges/br01')).body.status.state).toBe('ready');
    await firewallOf(request, 1, { inbound: 'published' });
    expect(forwarding()).toEqual(['0', '0']);
  });
});

describe('hostAccess', () => {
  it('false leaves the ports ICMP, DHCP and DNS of the host, and the host its ways to them', async () => {
    const { request } = await startDaemon();
    await meanwhile(
      'iptables -I INPUT -j ACCEPT; ip6tables -I INPUT -j ACCEPT',
      'iptables -D INPUT -j ACCEPT; ip6tables -D INPUT -j ACCEPT',
    );
    await serve(null, [53, 67, 547, 9000]);
    await makeBridge(request, 1, {});
    const to = async (port: number, from = 'n11'): Promise<string[][]> =>
      Promise.all([four(1, 254), six(1, 254), '198.51.100.2'].map(async (host) => reached(from, host, port)));
    expect(await to(9000)).toEqual([ALL, ALL, ALL]);
    await firewallOf(request, 1, { hostAccess: false });
    expect(await to(9000)).toEqual([['icmp'], ['icmp'], ['icmp']]);
    expect(await to(53)).toEqual([ALL, ALL, ALL]);
    expect(await to(67)).toEqual([['icmp', 'udp'], ['icmp'], ['icmp', 'udp']]);
    expect(await to(547)).toEqual([['icmp'], ['icmp', 'udp'], ['icmp']]);
    expect([await reached(null, four(1, 1), 80), await reached(null, six(1, 1), 80)]).toEqual([ALL, ALL]);
    expect(await reached('internet', '198.51.100.2', 9000)).toEqual(ALL);
  });
});

describe('the addresses of the bridge', () => {
  it('are reached from outside with inbound any alone, but for what is published, and from the host and other bridges always', async () => {
    const { request } = await startDaemon();
    await neighborKnowsTheWay(1);
    await serve(null, [9000]);
    await makeBridge(request, 2, null);
    await makeBridge(request, 1, {});
    await masquerade(request, 1, 'none');
    for (const [name, address] of [
      ['web', four(1, 1)],
      ['web6', six(1, 1)],
    ])
      await request
        .post('/nat')
        .send({ name, type: 'dnat', protocol: 'tcp', port: '8080', to: { address, port: '80' } })
        .expect(201);
    const to = async (from: string | null, port = 9000): Promise<string[][]> =>
      Promise.all([four(1, 254), six(1, 254)].map(async (host) => reached(from, host, port)));
    // The kernel finds out first whether IPv6 addresses that have just come are its own.
    const ways = async (): Promise<unknown[]> => [
      await pings('n21', six(2, 254)),
      await reached('internet', '2001:db8:51::2', 8080),
    ];
    await expect.poll(ways).toEqual([true, ['icmp', 'tcp']]);
    const outside = async (): Promise<string[][][]> => [await to('internet'), await to('internet', 8080)];
    const everything = Array.from({ length: 3 }, () => [ALL, ALL]);
    const inside = async (): Promise<string[][][]> => [await to(null), await to('n11'), await to('n21')];
    expect(await outside()).toEqual([
      [NONE, NONE],
      [['tcp'], ['tcp']],
    ]);
    expect(await inside()).toEqual(everything);
    expect(await reached('internet', '198.51.100.2', 9000)).toEqual(ALL);
    // What the host has asked from them is answered.
    expect(await run('ping', '-n', '-c', '1', '-W', '1', '-I', four(1, 254), '198.51.100.1')).toMatch(/ 0%/);
    await firewallOf(request, 1, { internal: true });
    expect(await outside()).toEqual([
      [NONE, NONE],
      [NONE, NONE],
    ]);
    expect(await inside()).toEqual(everything);
    await firewallOf(request, 1, { internal: false, inbound: 'any' });
    expect(await to('internet')).toEqual([ALL, ALL]);
    // What may not reach the host does not reach it by an address of another bridge either.
    await firewallOf(request, 2, { hostAccess: false });
    await firewallOf(request, 1, { inbound: 'published' });
    expect(await inside()).toEqual([
      [ALL, ALL],
      [ALL, ALL],
      [['icmp'], ['icmp']],
    ]);
    await firewallOf(request, 1, null);
    expect(await to('internet')).toEqual([ALL, ALL]);
  });

  it('that netnsd chooses, and those that come later, are among them', async () => {
    const { request } = await startDaemon({ reconcileMode: 'observe' });
    await meanwhile(
      'ip -n internet route add 10.5.0.0/16 via 198.51.100.2; ip -n internet -6 route add fd00:5::/32 via 2001:db8:51::2',
      'ip -n internet route del 10.5.0.0/16; ip -n internet -6 route del fd00:5::/32',
    );
    await request
      .post('/bridges')
      .send({ name: 'br05', subnets: ['10.5.1.0/24', 'fd00:5:1::/64'] })
      .expect(201);
    const pinged = async (...hosts: string[]): Promise<boolean[]> =>
      Promise.all(hosts.map(async (host) => pings('internet', host)));
    expect(await pinged('10.5.1.1', 'fd00:5:1::1')).toEqual([false, false]);
    await request
      .patch('/bridges/br05')
      .send({ addresses: ['10.5.9.9/24'] })
      .expect(200);
    expect(await pinged('10.5.1.1', '10.5.9.9')).toEqual([false, false]);
    expect((await request.get('/bridges/br05')).body.status).toMatchObject({ state: 'ready' });
    expect((await request.get('/drift')).body).toMatchObject({ items: [], unrecorded: [] });
    await firewallOf(request, 5, { inbound: 'any' });
    expect(await pinged('10.5.1.1', 'fd00:5:1::1', '10.5.9.9')).toEqual([true, true, true]);
  });
});

describe('the firewall of a bridge', () => {
  it('has rules in both families, which are shown, and chains only while a bridge needs them', async () => {
    const { request } = await startDaemon();
    await makeBridge(request, 2, null);
    expect([...(await rulesOf(null)), ...(await rulesOf(null, 6))]).toEqual([]);
    await makeBridge(request, 1, {});
    const { body } = await request.get('/bridges/br01').expect(200);
    expect(body.firewall).toEqual({
      isolated: true,
      reachableFrom: [],
      intercom: true,
      internal: false,
      inbound: 'published',
      hostAccess: true,
    });
    const saved = await Promise.all([rulesOf(null), rulesOf(null, 6)]);
    const own = saved.flat().filter((rule) => rule.includes('netnsd:bridge/br01:'));
    expect(body.status.rules.toSorted()).toEqual(own.toSorted());
    expect((await request.get('/bridges/br02')).body.status).not.toHaveProperty('rules');
    await firewallOf(request, 1, null);
    expect([...(await rulesOf(null)), ...(await rulesOf(null, 6))]).toEqual([]);
  });

  it('costs a process a family, and a bridge without one none', async () => {
    const { request } = await startDaemon();
    const processes = async (): Promise<number> =>
      (await request.get('/operations?limit=1')).body.items[0].processes;
    await request.post('/bridges').send({ name: 'br02' }).expect(201);
    expect(await processes()).toBe(1);
    await request.post('/bridges').send({ name: 'br01', firewall: {} }).expect(201);
    expect(await processes()).toBe(3);
    // And one that reads.
    await firewallOf(request, 1, { isolated: false });
    expect(await processes()).toBe(3);
    await request.patch('/bridges/br01').send({ stp: true }).expect(200);
    expect(await processes()).toBe(1);
    await request.delete('/bridges/br01').expect(204);
    expect(await processes()).toBe(3);
    await request.delete('/bridges/br02').expect(204);
    expect(await processes()).toBe(1);
  });

  it.each([
    ['a rule', 'iptables -t mangle -F NETNSD-INBOUND', ['bridge/br01']],
    [
      'what lists a bridge without a firewall',
      'ip6tables -t mangle -F NETNSD-TO',
      ['bridge/br01', 'bridge/br02'],
    ],
    ['the jump', 'iptables -t mangle -F FORWARD', ['bridge/br01']],
    [
      'all of a table',
      'nft delete table ip mangle 2>/dev/null || { iptables -t mangle -F; iptables -t mangle -X; }',
      ['bridge/br01', 'bridge/br02'],
    ],
    ['a chain that is filled by others', 'iptables -t mangle -I NETNSD-BRIDGE -j ACCEPT', ['bridge/br01']],
  ])('is found to have lost %s, and mended', async (_what, command, drifted) => {
    const { request } = await startDaemon();
    await makeBridge(request, 2, null);
    await makeBridge(request, 1, { hostAccess: false, intercom: false });
    const before = [await rulesOf(null), await rulesOf(null, 6)].map((rules) => rules.toSorted());
    await run('sh', '-c', command);
    expect((await request.get('/bridges/br01')).body.status.state).toBe('drifted');
    const found = (await request.get('/drift')).body.items as { resource: Ref }[];
    expect(found.map(({ resource }) => refText(resource))).toEqual(expect.arrayContaining(drifted));
    const { headers } = await request.post('/reconcile').expect(202);
    await expect
      .poll(async () => (await request.get(headers['location'] ?? headers['operation'] ?? '')).body.state)
      .toBe('succeeded');
    expect((await request.get('/drift')).body).toMatchObject({ items: [], unrecorded: [] });
    expect([await rulesOf(null), await rulesOf(null, 6)].map((rules) => rules.toSorted())).toEqual(before);
  });

  it('is mended as soon as others have changed it', async () => {
    const { request } = await startDaemon({ reconcileMode: 'repair' });
    await makeBridge(request, 2, null);
    await makeBridge(request, 1, {});
    const before = (await rulesOf(null)).toSorted();
    await expect.poll(async () => (await request.get('/system')).body.reconcile.firewallEvents).toBe(true);
    for (const command of ['-F NETNSD-INBOUND', '-D NETNSD-TO -o br02', '-F FORWARD']) {
      const rule = command.startsWith('-D')
        ? (await run('iptables-save', '-t', 'mangle'))
            .split('\n')
            .find((line) => line.includes('NETNSD-TO -o br02'))
        : undefined;
      await run('sh', '-c', `iptables -t mangle ${rule?.replace('-A', '-D') ?? command}`);
      await expect.poll(async () => (await rulesOf(null)).toSorted()).toEqual(before);
    }
  });

  it('is refused where it contradicts itself or what is there, and changes nothing', async () => {
    const { request } = await startDaemon();
    await request
      .post('/namespaces')
      .send({ name: 'blue', sysctls: { 'net.ipv4.ip_forward': '0' } })
      .expect(201);
    await request.post('/bridges').send({ name: 'inside', namespace: 'blue' }).expect(201);
    const refused = async (fields: object, status: number, says: RegExp): Promise<void> => {
      const { body } = await request
        .post('/bridges')
        .send({ name: 'br01', ...fields })
        .expect(status);
      expect(body.detail).toMatch(says);
    };
    await refused({ firewall: { reachableFrom: ['br01'] } }, 400, /is the bridge itself/);
    await refused({ firewall: { reachableFrom: ['nosuch'] } }, 422, /nosuch/);
    await refused({ firewall: { reachableFrom: ['inside'] } }, 422, /is in the namespace blue/);
    await refused({ firewall: { internal: true, inbound: 'any' } }, 422, /internal/);
    await refused({ firewall: { internal: true, reachableFrom: ['inside'] } }, 422, /internal/);
    await refused({ firewall: { isolate: true } }, 400, /isolate/);
    const router = { namespace: 'blue', addresses: ['10.1.1.1/24'], firewall: { inbound: 'any' } };
    await refused(router, 422, /ip_forward = 0/);
    await request
      .patch('/namespaces/blue')
      .send({ sysctls: { 'net.ipv4.ip_forward': null } })
      .expect(200);
    await request
      .post('/bridges')
      .send({ name: 'br01', ...router })
      .expect(201);
    const { body } = await request
      .patch('/namespaces/blue')
      .send({ sysctls: { 'net.ipv4.ip_forward': '0' } })
      .expect(422);
    expect(body.detail).toMatch(/a bridge needs forwarding/);
    // What is not of this family is not in the way.
    await request
      .patch('/namespaces/blue')
      .send({ sysctls: { 'net.ipv6.conf.all.forwarding': '0' } })
      .expect(200);
  });

  it('names bridges, which stay until it does not, or go with it, even if they name each other', async () => {
    const { request } = await startDaemon();
    await request.post('/bridges').send({ name: 'br02', firewall: {} }).expect(201);
    await request
      .post('/bridges')
      .send({ name: 'br01', firewall: { reachableFrom: ['br02'] } })
      .expect(201);
    await firewallOf(request, 2, { reachableFrom: ['br01'] });
    const { body } = await request.delete('/bridges/br02').expect(409);
    expect(body.references).toMatchObject([{ kind: 'bridge', name: 'br01' }]);
    await request.delete('/bridges/br02?cascade=true').expect(204);
    await request.get('/bridges/br01').expect(404);
  });

  it('comes with a bridge that is adopted', async () => {
    const { request } = await startDaemon();
    await run('ip', 'link', 'add', 'br01', 'type', 'bridge');
    await run('ip', 'link', 'set', 'br01', 'up');
    await request
      .put('/bridges/br01?adopt=true')
      .send({ firewall: { hostAccess: false } })
      .expect(201);
    expect((await request.get('/bridges/br01')).body.status.state).toBe('ready');
    expect((await rulesOf(null)).join('\n')).toMatch(/-A NETNSD-INPUT -i br01 .*-j DROP/);
  });

  it('works in a namespace as in the host’s, and is there again when that is', async () => {
    const { request } = await startDaemon();
    await request.post('/namespaces').send({ name: 'blue' }).expect(201);
    await request
      .post('/bridges')
      .send({ name: 'br01', namespace: 'blue', firewall: { internal: true } })
      .expect(201);
    const before = (await rulesOf('blue')).toSorted();
    expect(before.join('\n')).toMatch(/-A NETNSD-INTERNAL -i br01 ! -o br01/);
    await run('ip', 'netns', 'delete', 'blue');
    const { headers } = await request.post('/reconcile').expect(202);
    await expect
      .poll(async () => (await request.get(headers['location'] ?? headers['operation'] ?? '')).body.state)
      .toBe('succeeded');
    expect((await rulesOf('blue')).toSorted()).toEqual(before);
  });
});
