import { readFileSync } from 'node:fs';
import { execa } from 'execa';
import { describe, expect, it } from 'vitest';
import { create } from '../support/create.ts';
import { startDaemon, type Daemon } from '../support/daemon.ts';
import { send, sniff } from '../support/packets.ts';
import { meanwhile, reached, serve } from '../support/probes.ts';
import { pings, rulesOf, run } from '../support/shell.ts';

// What goes wrong in this field and is not shown elsewhere: docs/packet-path.md has the list.

const HOST = '198.51.100.2';
const FAR = '203.0.113.10';
const FAR6 = '2001:db8:113::10';
const UDP = 17;
const TCP = 6;
const ICMP = 1;
const ICMP6 = 58;
const SCTP = 132;

/**
 * RFC 9293, section 3.1, from the destination port on: RST, ACK of a connection that is long forgotten. conntrack calls it
 * INVALID, and translates nothing.
 */
const LATE_RESET = [0, 80, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x14, 0, 0, 0, 0, 0, 0];

type Request = Daemon['request'];

/** `blue` (10.1.1.1, fd00:1::1) behind br01 (.254), with default routes. */
async function makeNetwork(request: Request, firewall: object | null): Promise<void> {
  await create(request, '/bridges', {
    name: 'br01',
    addresses: ['10.1.1.254/24', 'fd00:1::254/64'],
    firewall,
  });
  await create(request, '/namespaces', { name: 'blue' });
  const routes = ['10.1.1.254', 'fd00:1::254'].map((via) => ({ to: 'default', via }));
  const addresses = ['10.1.1.1/24', 'fd00:1::1/64'];
  const peer = { interface: 'eth0', namespace: 'blue', addresses, routes };
  await create(request, '/links', { name: 'blue', type: 'veth', bridge: 'br01', peer });
}

async function masquerade(request: Request): Promise<void> {
  await create(request, '/nat', { name: 'out', type: 'masquerade', bridge: 'br01' });
  await create(request, '/nat', { name: 'out6', type: 'masquerade', bridge: 'br01', family: 6 });
}

async function publish(request: Request, protocol = 'tcp', address = '10.1.1.1'): Promise<void> {
  const to = { address, port: '80' };
  await create(request, '/nat', { name: 'web', type: 'dnat', protocol, port: '8080', to });
}

/** The kernel finds out first whether IPv6 addresses that have just come are its own. */
async function untilReachable(from: string, to: string): Promise<void> {
  await expect.poll(async () => pings(from, to)).toBe(true);
}

describe('neighbor discovery', () => {
  it.each([
    ['internal', { internal: true }],
    ['isolated', {}],
  ])('that is routed passes no firewall: it is a way out of none that is %s', async (_, firewall) => {
    const { request } = await startDaemon();
    await makeNetwork(request, firewall);
    await masquerade(request);
    await create(request, '/bridges', { name: 'br02', addresses: ['fd00:2::254/64'] });
    await create(request, '/namespaces', { name: 'red' });
    const routes = [{ to: 'default', via: 'fd00:2::254' }];
    const peer = { interface: 'eth0', namespace: 'red', addresses: ['fd00:2::1/64'], routes };
    await create(request, '/links', { name: 'red', type: 'veth', bridge: 'br02', peer });
    await create(request, '/nat', {
      name: 'red6',
      type: 'masquerade',
      bridge: 'br02',
      family: 6,
      forward: 'none',
    });
    await untilReachable('blue', 'fd00:1::254');
    await untilReachable('red', 'fd00:2::254');
    const there = [await sniff('red', 'eth0'), await sniff('internet', 'eth0')];
    // RFC 4861, section 4.3: a solicitation for ::, with something in it that is nobody's business.
    const solicitation = [135, 0, 0, 0, ...Array<number>(20).fill(0), ...Buffer.from('secret!!')];
    const targets = ['internal' in firewall ? FAR6 : 'fd00:2::1', 'fd00:2::1'];
    for (const to of targets) await send('blue', to, ICMP6, solicitation);
    // What comes later has come by then.
    await untilReachable('red', FAR6);
    const leaked = there.flatMap((seen) =>
      seen.filter((line) => line.endsWith(`> ${FAR6} 58 135`) || line.endsWith('> fd00:2::1 58 135')),
    );
    expect(leaked.filter((line) => !line.startsWith('fe80:') && !line.startsWith('fd00:2::254'))).toEqual([]);
  });
});

describe('ICMP errors of what is published', () => {
  it('come through in both directions where others let nothing be forwarded', async () => {
    const { request } = await startDaemon();
    await meanwhile('iptables -P FORWARD DROP', 'iptables -P FORWARD ACCEPT');
    await makeNetwork(request, null);
    await publish(request, 'udp');
    const atClient = await sniff('internet', 'eth0');
    const atBlue = await sniff('blue', 'eth0');
    // From port 9, to one where nobody is.
    const datagram = [0, 9, 0x1f, 0x90, 0, 8, 0, 0];
    await send('internet', HOST, UDP, datagram);
    await expect.poll(() => atBlue).toContain(`198.51.100.1 > 10.1.1.1 ${UDP} 0`);
    await expect.poll(() => atClient).toContain(`${HOST} > 198.51.100.1 ${ICMP} 3`);
    // An answer to where nobody is any more: what says so is for blue.
    await send('blue', '198.51.100.1', UDP, [0, 80, 0, 9, 0, 8, 0, 0]);
    await expect.poll(() => atBlue).toContain(`198.51.100.1 > 10.1.1.1 ${ICMP} 3`);
  });
});

describe('what no flow is known of', () => {
  it('does not leave with an address that is to be translated', async () => {
    const { request } = await startDaemon();
    await makeNetwork(request, null);
    await masquerade(request);
    const seen = await sniff('internet', 'eth0');
    await send('blue', FAR, TCP, [0x99, 0x99, ...LATE_RESET]);
    await untilReachable('blue', FAR);
    await expect.poll(() => seen).toContain(`${HOST} > ${FAR} ${ICMP} 8`);
    expect(seen.filter((line) => line.startsWith('10.1.1.1 '))).toEqual([]);
  });

  it.each([
    ['tcp', TCP, [0, 80, ...LATE_RESET]],
    // RFC 9260: a COOKIE ACK of an association that nobody knows.
    ['sctp', SCTP, [0, 80, 0x99, 0x99, 0, 0, 0, 1, 0, 0, 0, 0, 11, 0, 0, 4]],
  ])(
    'does not leave what is published by %s with its own address, if that is published only',
    async (protocol, number, late) => {
      const { request } = await startDaemon();
      await makeNetwork(request, null);
      await publish(request, protocol);
      const seen = await sniff('internet', 'eth0');
      await send('blue', FAR, number, late);
      // From another port than that nothing is kept.
      await send('blue', FAR, TCP, [0, 81, ...LATE_RESET]);
      await expect.poll(() => seen).toContain(`10.1.1.1 > ${FAR} ${TCP} 0`);
      expect(seen.filter((line) => line.startsWith('10.1.1.1 '))).toEqual([`10.1.1.1 > ${FAR} ${TCP} 0`]);
    },
  );
});

describe('a client with a link-local address', () => {
  it('is led to no published port, which could not answer it, but to what listens on the host itself', async () => {
    const { request } = await startDaemon();
    await makeNetwork(request, null);
    await publish(request, 'tcp', 'fd00:1::1');
    await serve('blue', [80]);
    await untilReachable('blue', 'fd00:1::254');
    expect(await reached('internet', 'fe80::2%eth0', 8080)).toEqual(['icmp']);
    await expect.poll(async () => reached('internet', '2001:db8:51::2', 8080)).toEqual(['icmp', 'tcp']);
    await serve(null, [8080]);
    expect(await reached('internet', 'fe80::2%eth0', 8080)).toEqual(['icmp', 'tcp', 'udp']);
  });
});

describe('a DROP of others', () => {
  it.each([
    [
      'in another table',
      'iptables -t mangle -A FORWARD -o br01 -j DROP',
      'iptables -t mangle -D FORWARD -o br01 -j DROP',
    ],
    [
      'in FORWARD, before ours',
      'iptables -N THEIRS; iptables -A THEIRS -o br01 -j DROP; iptables -I FORWARD -j THEIRS',
      'iptables -D FORWARD -j THEIRS; iptables -F THEIRS; iptables -X THEIRS',
    ],
    [
      'in the tables of legacy iptables',
      'iptables-legacy -A FORWARD -o br01 -j DROP',
      'iptables-legacy -D FORWARD -o br01 -j DROP',
    ],
  ])('%s beats our ACCEPT, and is left alone', async (_, command, back) => {
    const { request } = await startDaemon({ reconcileMode: 'repair' });
    await makeNetwork(request, {});
    await publish(request);
    await serve('blue', [80]);
    const published = async (): Promise<string[]> =>
      (await reached('internet', HOST, 8080)).filter((by) => by === 'tcp');
    await expect.poll(published).toEqual(['tcp']);
    const before = await rulesOf(null);
    await meanwhile(command, `${back}; true`);
    expect(await published()).toEqual([]);
    await request.post('/reconcile').expect(202);
    expect((await request.get('/drift')).body).toMatchObject({ items: [], unrecorded: [] });
    expect((await rulesOf(null)).filter((rule) => rule.includes('netnsd:'))).toEqual(before);
    expect(await published()).toEqual([]);
    await execa('sh', ['-c', back]);
    await expect.poll(published).toEqual(['tcp']);
  });
});

describe('nft and legacy rules at once', () => {
  it('are told, and ours stay where they are', async () => {
    const { request } = await startDaemon();
    const warnings = async (): Promise<string> => (await request.get('/system')).body.warnings.join('\n');
    await meanwhile('iptables-legacy -t filter -S >/dev/null', 'true');
    expect(await warnings()).toMatch(/iptables-legacy are loaded \(.*filter.*\) beside those of nf_tables/);
    await makeNetwork(request, {});
    expect((await rulesOf(null)).join('\n')).toContain('NETNSD-BRIDGE');
    expect(await run('iptables-legacy-save')).not.toContain('NETNSD');
  });
});

describe('a reload of a firewall', () => {
  // CVE-2025-54388 and CVE-2025-54410: firewalld flushed some classes of rules, and what was to bring them back forgot some.
  it.each(['raw', 'mangle', 'nat', 'filter'])(
    'that flushes the table %s, or its built-in chains, has all rules put back, and packets go their way again',
    async (table) => {
      const { request } = await startDaemon({ reconcileMode: 'repair' });
      await makeNetwork(request, { hostAccess: false });
      await masquerade(request);
      await publish(request);
      await serve('blue', [80]);
      const rules = async (): Promise<string[]> =>
        [...(await rulesOf(null)), ...(await rulesOf(null, 6))].toSorted();
      const before = await rules();
      await expect.poll(async () => (await request.get('/system')).body.reconcile.firewallEvents).toBe(true);
      const newest = async (): Promise<number> =>
        Number((await request.get('/operations?limit=1')).body.items[0].id);
      const chains = 'PREROUTING INPUT FORWARD OUTPUT POSTROUTING';
      for (const flush of ['$t -t $0 -F', `for c in ${chains}; do $t -t $0 -F $c; done`]) {
        const repaired = await newest();
        await run('sh', '-c', `for t in iptables ip6tables; do ${flush}; done 2>/dev/null; true`, table);
        await expect.poll(newest).toBeGreaterThan(repaired);
        await expect.poll(rules).toEqual(before);
      }
      expect((await request.get('/drift')).body).toMatchObject({ items: [], unrecorded: [] });
      expect(await reached('internet', HOST, 8080)).toEqual(['icmp', 'tcp']);
      expect(await pings('blue', FAR)).toBe(true);
    },
  );
});

describe('the API', () => {
  it('is reached by no namespace, neither at an address of the bridge nor as 127.0.0.1 by the gateway', async () => {
    const { request, origin } = await startDaemon();
    await makeNetwork(request, null);
    await publish(request);
    expect(readFileSync('/proc/sys/net/ipv4/conf/br01/route_localnet', 'utf8').trim()).toBe('1');
    const port = new URL(origin).port;
    const asked = async (host: string): Promise<string> => {
      const { stdout } = await execa(
        'ip',
        [
          'netns',
          'exec',
          'blue',
          'curl',
          '-sS',
          '-m',
          '1',
          '-o',
          '/dev/null',
          '-w',
          '%{http_code}',
          `http://${host}:${port}/healthz`,
        ],
        { reject: false },
      );
      return stdout;
    };
    expect(
      (await execa('curl', ['-sS', '-o', '/dev/null', '-w', '%{http_code}', `${origin}/healthz`])).stdout,
    ).toBe('200');
    // As CVE-2020-8558 had it: what is to 127.0.0.1 goes to the gateway.
    await run('ip', '-n', 'blue', 'link', 'set', 'lo', 'down');
    await run('ip', 'netns', 'exec', 'blue', 'sysctl', '-qw', 'net.ipv4.conf.eth0.route_localnet=1');
    await run('ip', '-n', 'blue', 'route', 'add', '127.0.0.1', 'via', '10.1.1.254', 'src', '10.1.1.1');
    for (const host of ['10.1.1.254', HOST, '127.0.0.1', '[fd00:1::254]'])
      expect([host, await asked(host)]).toEqual([host, '000']);
  });
});

describe('a machine that checks source addresses strictly', () => {
  it('has what is published answered by whichever bridge the target sends by', async () => {
    const { request } = await startDaemon();
    const strict = (to: string): string =>
      ['all', 'default'].map((of) => `echo ${to} >/proc/sys/net/ipv4/conf/${of}/rp_filter`).join(';');
    const before = await run('cat', '/proc/sys/net/ipv4/conf/all/rp_filter');
    await meanwhile(strict('1'), strict(before));
    await create(request, '/namespaces', { name: 'blue', sysctls: { 'net.ipv4.conf.all.rp_filter': '2' } });
    for (const n of [1, 2]) {
      await create(request, '/bridges', { name: `br0${n}`, subnets: [`10.1.${n}.0/24`] });
      const routes = n === 1 ? [{ to: 'default', via: 'auto' }] : [];
      const peer = { interface: `eth${n}`, namespace: 'blue', addresses: [`10.1.${n}.9/24`], routes };
      await create(request, '/links', { name: `v${n}`, type: 'veth', bridge: `br0${n}`, peer });
    }
    const to = { address: '10.1.2.9', port: '80' };
    await create(request, '/nat', { name: 'web', type: 'dnat', protocol: 'tcp', port: '8080', to });
    await serve('blue', [80]);
    expect(await reached('internet', HOST, 8080)).toEqual(['icmp', 'tcp']);
    await run('sh', '-c', 'echo 1 >/proc/sys/net/ipv4/conf/br01/rp_filter');
    expect(await reached('internet', HOST, 8080)).toEqual(['icmp']);
    expect((await request.get('/bridges/br01')).body.status).toMatchObject({ state: 'drifted' });
    await request.post('/reconcile?wait=true').expect(200);
    expect(await reached('internet', HOST, 8080)).toEqual(['icmp', 'tcp']);
  });
});
