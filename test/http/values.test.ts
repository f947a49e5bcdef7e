import { describe, expect, test } from 'vitest';
import { sharedDaemon } from '../support/daemon.ts';

const daemon = sharedDaemon();

interface Refusal {
  pointer: string;
  message: string;
}

/** What is wrong with a body, as the API says it. */
async function refusalsOf(path: string, body: object): Promise<Refusal[]> {
  const { body: problem } = await daemon().request.post(`${path}?dryRun=true`).send(body).expect(400);
  expect(problem.type).toBe('/problems/invalid-request');
  return problem.errors as Refusal[];
}

async function isTaken(path: string, body: object): Promise<boolean> {
  const { status } = await daemon().request.post(`${path}?dryRun=true`).send(body);
  return status === 200;
}

const notAddresses = [
  ['10.1.1.3', 'needs a prefix length'],
  ['10.1.1.3/', 'needs a prefix length'],
  ['10.1.1.3/024', 'needs a prefix length'],
  ['10.1.1.3/+24', 'needs a prefix length'],
  ['10.1.1.3/24/24', 'needs a prefix length'],
  ['10.1.1.3/255.255.255.0', 'needs a prefix length'],
  ['10.1.1.3/33', 'over 32'],
  ['fd00::1/129', 'over 128'],
  ['010.1.0.3/24', 'not written canonically; if 8.1.0.3 is meant'],
  ['0x0a.1.0.3/24', 'not an IPv4'],
  ['10.1.3/24', 'not'],
  ['167837955/24', 'not'],
  ['10.1.1.3 /24', 'not'],
  [' 10.1.1.3/24', 'not'],
  ['10.1.1.3/24\n', 'needs a prefix length'],
  ['10.1.1.3,10.1.1.4/24', 'not'],
  ['10.1.1.3/24,10.1.1.4/24', 'needs a prefix length'],
  ['localhost/32', 'not'],
  ['example.com/32', 'not'],
  ['any/0', 'not'],
  ['FD00::1/64', 'not written canonically; if fd00::1 is meant'],
  ['fd00:0::1/64', 'not written canonically'],
  ['::ffff:10.1.1.3/128', 'written as IPv6; write 10.1.1.3'],
  ['fe80::1%eth0/64', 'not an IPv4'],
  ['224.0.0.1/24', 'multicast'],
  ['ff02::1/64', 'multicast'],
  ['0.0.0.0/0', 'unspecified'],
  ['::/0', 'unspecified'],
  ['255.255.255.255/32', 'broadcast'],
  ['10.1.1.0/24', 'address of the network itself'],
  ['10.1.1.255/24', 'broadcast address'],
  ['10.1.1.0/30', 'address of the network itself'],
  ['', 'needs a prefix length'],
] as const;

describe('an address', () => {
  test.each(notAddresses)('can’t be %j: %s', async (address, reason) => {
    const [own] = await refusalsOf('/bridges', { name: 'br00', addresses: [address] });
    const [peer] = await refusalsOf('/links', {
      name: 'v',
      type: 'veth',
      peer: { interface: 'w', addresses: ['10.9.9.9/24', address] },
    });
    expect(own).toEqual({ pointer: '/addresses/0', message: expect.stringContaining(reason) });
    expect(peer?.pointer).toBe('/peer/addresses/1');
  });

  test.each([
    '10.1.1.3/24',
    '10.1.1.0/31',
    '10.1.1.1/31',
    '10.1.1.0/32',
    '10.1.1.255/32',
    '10.0.1.0/16',
    'fd00::/64',
    'fd00::1/128',
    '2001:db8::1/64',
    '169.254.1.1/16',
  ])('can be %s', async (address) => {
    expect(await isTaken('/bridges', { name: 'br00', addresses: [address] })).toBe(true);
  });

  test('can’t be there twice, with whatever prefix', async () => {
    const [refusal] = await refusalsOf('/bridges', {
      name: 'br00',
      addresses: ['10.1.1.3/24', '10.1.1.3/16'],
    });
    expect(refusal).toEqual({ pointer: '/addresses/1', message: '10.1.1.3 is there twice' });
  });

  test('can be one of 64, and not of 65', async () => {
    const addresses = (count: number) => Array.from({ length: count }, (_, n) => `10.1.1.${n + 1}/24`);
    expect(await isTaken('/bridges', { name: 'br00', addresses: addresses(64) })).toBe(true);
    expect(await refusalsOf('/bridges', { name: 'br00', addresses: addresses(65) })).toMatchObject([
      { pointer: '/addresses' },
    ]);
  });
});

describe('a route', () => {
  const withRoute = (route: unknown) => ({
    name: 'br00',
    addresses: ['10.1.1.3/24', 'fd00::3/64'],
    routes: [route],
  });

  test.each<[unknown, string]>([
    [{}, '/routes/0/to'],
    [{ to: '10.2.0.0' }, '/routes/0/to'],
    [{ to: '10.2.0.1/16' }, '/routes/0/to'],
    [{ to: '0.0.0.0/0', via: '10.1.1.1' }, '/routes/0/to'],
    [{ to: '::/0', via: 'fd00::1' }, '/routes/0/to'],
    [{ to: 'DEFAULT' }, '/routes/0/to'],
    [{ to: 'blackhole' }, '/routes/0/to'],
    [{ to: '10.2.0.0/16 via 1.1.1.1' }, '/routes/0/to'],
    [{ to: 'default', via: 'gateway' }, '/routes/0/via'],
    [{ to: 'default', via: '10.1.1.1/24' }, '/routes/0/via'],
    [{ to: 'default', via: 'inet6' }, '/routes/0/via'],
    [{ to: '10.2.0.0/16', via: 'fd00::1' }, '/routes/0/via'],
    [{ to: 'default', via: '10.1.1.1', src: 'fd00::3' }, '/routes/0/src'],
    [{ to: 'default', metric: -1 }, '/routes/0/metric'],
    [{ to: 'default', metric: 4_294_967_296 }, '/routes/0/metric'],
    [{ to: 'default', metric: '100' }, '/routes/0/metric'],
    [{ to: 'default', metric: 1.5 }, '/routes/0/metric'],
    [{ to: 'default', table: 'main' }, '/routes/0/table'],
    [{ to: 'default', table: 0 }, '/routes/0/table'],
    [{ to: 'default', dev: 'eth0' }, '/routes/0/dev'],
    ['default', '/routes/0'],
    [null, '/routes/0'],
  ])('can’t be %j', async (route, pointer) => {
    const refusals = await refusalsOf('/bridges', withRoute(route));
    expect(refusals.map((refusal) => refusal.pointer)).toContain(pointer);
  });

  test.each([
    { to: 'default' },
    { to: '0.0.0.1/32', via: '10.1.1.1' },
    { to: 'default', via: 'fd00::1' },
    { to: '10.2.0.0/16', via: null, metric: null, src: '10.1.1.3', table: 100 },
  ])('can be %j', async (route) => {
    expect(await isTaken('/bridges', withRoute(route))).toBe(true);
  });
});

describe('a MAC address', () => {
  test.each([
    '',
    '02:00:5e:10:00',
    '02-00-5e-10-00-01',
    '02:00:5E:10:00:01',
    '01:00:5e:10:00:01',
    '00:00:00:00:00:00',
    'ff:ff:ff:ff:ff:ff',
    '02:00:5e:10:00:01\n',
    'random',
  ])('can’t be %j', async (mac) => {
    expect(await refusalsOf('/bridges', { name: 'br00', mac })).toMatchObject([{ pointer: '/mac' }]);
  });

  test.each(['02:00:5e:10:00:01', '00:16:3e:00:00:01', null])('can be %j', async (mac) => {
    expect(await isTaken('/bridges', { name: 'br00', mac })).toBe(true);
  });
});

describe('nothing is converted', () => {
  test.each<[string, object]>([
    ['/mtu', { mtu: '1500' }],
    ['/mtu', { mtu: 1500.5 }],
    ['/mtu', { mtu: 67 }],
    ['/mtu', { mtu: 65_536 }],
    ['/mtu', { mtu: null }],
    ['/mtu', { mtu: [1500] }],
    ['/mtu', { mtu: true }],
    ['/up', { up: 'true' }],
    ['/up', { up: 1 }],
    ['/up', { up: null }],
    ['/stp', { stp: 'false' }],
    ['/stp', { stp: 0 }],
    ['/ageingSeconds', { ageingSeconds: '300' }],
    ['/ageingSeconds', { ageingSeconds: -1 }],
    ['/addresses', { addresses: '10.1.1.3/24' }],
    ['/addresses', { addresses: { 0: '10.1.1.3/24' } }],
    ['/addresses', { addresses: null }],
    ['/addresses/0', { addresses: [10] }],
    ['/labels', { labels: [] }],
    ['/labels/n', { labels: { n: 1 } }],
    ['/namespace', { namespace: null }],
    ['/namespace', { namespace: ['host'] }],
    ['/name', { name: 1 }],
    ['/name', { name: ['br00'] }],
    ['/name', { name: null }],
  ])('%s is refused in %j', async (pointer, given) => {
    const refusals = await refusalsOf('/bridges', { name: 'br00', ...given });
    expect(refusals.map((refusal) => refusal.pointer)).toEqual([pointer]);
  });

  test.each([
    { pid: '1' },
    { pid: 0 },
    { pid: -1 },
    { pid: 1.5 },
    { pid: 4_194_305 },
    { pid: true },
    { pid: 'self' },
  ])('nor is a pid: %j', async (given) => {
    expect(await refusalsOf('/namespaces', { name: 'blue', ...given })).toMatchObject([{ pointer: '/pid' }]);
  });
});

describe('unknown fields are errors', () => {
  test.each<[string, object, string]>([
    ['/namespaces', { name: 'blue', Name: 'x' }, '/Name'],
    ['/bridges', { name: 'br00', vlan: 1 }, '/vlan'],
    ['/bridges', { name: 'br00', status: {} }, '/status'],
    ['/bridges', { name: 'br00', revision: 1 }, '/revision'],
    ['/bridges', { name: 'br00', 'a/b~c': 1 }, '/a~1b~0c'],
    ['/bridges', { name: 'br00', routes: [{ to: 'default', type: 'x' }] }, '/routes/0/type'],
    ['/links', { name: 'v', type: 'veth', peer: { interface: 'w', name: 'w' } }, '/peer/name'],
    ['/nat', { name: 'n', type: 'masquerade', source: '10.1.1.0/24', toAddress: '10.1.1.1' }, '/toAddress'],
    [
      '/nat',
      { name: 'n', type: 'dnat', protocol: 'tcp', port: '80', to: { address: '10.1.1.1', host: 'x' } },
      '/to/host',
    ],
  ])('in %s: %j', async (path, body, pointer) => {
    expect(await refusalsOf(path, body)).toEqual([
      { pointer, message: expect.stringContaining('unknown fields are errors') },
    ]);
  });
});

describe('a sysctl', () => {
  test.each([
    'all',
    'default',
    'net',
    'net.ipv4',
    'net.',
    'net..ip_forward',
    '.net.ipv4.ip_forward',
    'net.ipv4.ip_forward.',
    'net/ipv4/ip_forward',
    'net.ipv4/ip_forward',
    'net.ipv4.../x',
    '../net/ipv4/ip_forward',
    'net.../../../kernel/hostname',
    'net.ipv4.ip_forward\n',
    'net.ipv4.ip forward',
    'net.ipv4.*',
    'kernel.hostname',
    'kernel.net.ipv4.x',
    'vm.swappiness',
    'NET.ipv4.ip_forward',
    '',
  ])('can’t have the key %j', async (key) => {
    expect(await refusalsOf('/namespaces', { name: 'blue', sysctls: { [key]: '1' } })).toHaveLength(1);
  });

  test.each([[1], [true], [null], [''], ['1\n2'], ['1\0'], ['ü'], ['x'.repeat(256)]])(
    'can’t have the value %j',
    async (value) => {
      expect(
        await refusalsOf('/namespaces', { name: 'blue', sysctls: { 'net.ipv4.ip_forward': value } }),
      ).toMatchObject([{ pointer: '/sysctls/net.ipv4.ip_forward' }]);
    },
  );

  test('is written in its namespace only', async () => {
    const sysctls = {
      'net.ipv4.ip_forward': '1',
      'net.ipv4.conf.all.rp_filter': '2',
      'net.ipv4.ping_group_range': '0 100',
    };
    const { body } = await daemon().request.post('/namespaces').send({ name: 'blue', sysctls }).expect(201);
    expect(body).toMatchObject({ sysctls, status: { state: 'ready' } });
  });

  test.each([
    ['a key that is not there', { 'net.ipv4.no_such_thing': '1' }],
    ['a value that the kernel refuses', { 'net.ipv4.ip_forward': 'yes' }],
  ])('with %s is answered with 422, and no namespace is made', async (_what, sysctls) => {
    const { body } = await daemon().request.post('/namespaces').send({ name: 'blue', sysctls }).expect(422);
    expect(body).toMatchObject({
      type: '/problems/unprocessable',
      command: expect.stringContaining('sysctl -w net.ipv4.'),
    });
    await daemon().request.get('/namespaces/blue').expect(404);
  });
});

describe('a rule', () => {
  const masquerade = { name: 'n', type: 'masquerade', source: '10.1.1.0/24' };
  const dnat = { name: 'n', type: 'dnat', protocol: 'tcp', port: '8080', to: { address: '10.1.1.1' } };

  test.each<[object, string]>([
    [{ ...masquerade, source: '10.1.1.1/24' }, '/source'],
    [{ ...masquerade, source: '10.1.1.0' }, '/source'],
    [{ ...masquerade, source: '!10.1.1.0/24' }, '/source'],
    [{ ...masquerade, source: '10.1.1.0/24,10.2.0.0/16' }, '/source'],
    [{ ...masquerade, source: 'example.com' }, '/source'],
    [{ ...masquerade, source: '0.0.0.0/0' }, '/source'],
    [{ ...masquerade, source: '0.0.0.0/0', forward: 'any' }, '/outInterface'],
    [{ ...masquerade, source: '::/0', forward: 'none' }, '/outInterface'],
    [{ ...masquerade, source: 'fe80::/64' }, '/source'],
    [{ ...masquerade, source: '127.0.0.0/8' }, '/source'],
    [{ ...masquerade, source: undefined }, '/source'],
    [{ ...masquerade, inInterface: 'br+' }, '/inInterface'],
    [{ ...masquerade, inInterface: 'a', outInterface: 'a' }, '/outInterface'],
    [{ ...masquerade, forward: 'all' }, '/forward'],
    [{ ...masquerade, type: 'snat' }, '/toAddress'],
    [{ ...masquerade, type: 'snat', toAddress: '198.51.100.2-198.51.100.9' }, '/toAddress'],
    [{ ...masquerade, type: 'snat', toAddress: 'fd00::1' }, '/toAddress'],
    [{ ...dnat, protocol: 'icmp' }, '/protocol'],
    [{ ...dnat, protocol: 'TCP' }, '/protocol'],
    [{ ...dnat, port: 8080 }, '/port'],
    [{ ...dnat, port: 'http' }, '/port'],
    [{ ...dnat, port: '0' }, '/port'],
    [{ ...dnat, port: '65536' }, '/port'],
    [{ ...dnat, port: '080' }, '/port'],
    [{ ...dnat, port: '80,443' }, '/port'],
    [{ ...dnat, port: '80:90' }, '/port'],
    [{ ...dnat, port: '90-80' }, '/port'],
    [{ ...dnat, port: '80-80' }, '/port'],
    [{ ...dnat, to: { address: 'web', port: '80' } }, '/to/address'],
    [{ ...dnat, to: { address: '10.1.1.1', port: '80-81' } }, '/to/port'],
    [{ ...dnat, to: {} }, '/to/address'],
    [{ ...dnat, to: '10.1.1.1:80' }, '/to'],
    [{ ...dnat, address: 'fd00::1' }, '/address'],
    [{ ...dnat, address: '198.51.100.2/32' }, '/address'],
  ])('can’t be %j', async (rule, pointer) => {
    expect(await refusalsOf('/nat', rule)).toMatchObject([{ pointer }]);
  });

  test.each([
    [{ name: 'n' }],
    [{ name: 'n', type: 'redirect' }],
    [{ name: 'n', type: null }],
    [{ ...masquerade, type: ['masquerade'] }],
  ])('can’t be of no type: %j', async (rule) => {
    const refusals = await refusalsOf('/nat', rule);
    expect(refusals).not.toEqual([]);
  });
});
