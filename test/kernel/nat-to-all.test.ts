import { expect, it } from 'vitest';
import { makeBridge } from '../support/bridge-networks.ts';
import { startDaemon } from '../support/daemon.ts';
import { sniff } from '../support/packets.ts';
import { pings, run } from '../support/shell.ts';

// mDNS, WS-Discovery and the like: whoever hears a port of a bridge is to know who it is.

const SEND = `
import socket, sys
source, *targets = sys.argv[1:]
s = socket.socket(socket.AF_INET6 if ':' in source else socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b'eth0')
s.bind((source, 5353))
for target in targets: s.sendto(b'?', (target, 5353))
`;

it.each(['masquerade', 'snat'] as const)(
  'what is sent to all on a bridge keeps its source with %s by source alone',
  async (type) => {
    const { request } = await startDaemon();
    await makeBridge(request, 1, null, 2);
    for (const [name, source, toAddress] of [
      ['out', '10.1.1.0/24', '198.51.100.2'],
      ['out6', 'fd00:1::/64', '2001:db8:51::2'],
    ]) {
      const rule = { name, type, source, ...(type === 'snat' ? { toAddress } : {}) };
      await request.post('/nat').send(rule).expect(201);
    }
    await expect.poll(async () => pings('n11', 'fd00:1::2'), { timeout: 10_000 }).toBe(true);
    expect(await pings('n11', '203.0.113.10')).toBe(true);
    const seen = await sniff('n12', 'eth0');
    const inside = ['netns', 'exec', 'n11', 'python3', '-c', SEND];
    await run('ip', ...inside, '10.1.1.1', '224.0.0.251', '255.255.255.255', '10.1.1.255');
    await run('ip', ...inside, 'fd00:1::1', 'ff02::fb');
    const toAll = (): string[] => seen.filter((line) => line.endsWith(' 17 20')).toSorted();
    await expect.poll(() => toAll().length).toBe(4);
    expect(toAll()).toEqual([
      '10.1.1.1 > 10.1.1.255 17 20',
      '10.1.1.1 > 224.0.0.251 17 20',
      '10.1.1.1 > 255.255.255.255 17 20',
      'fd00:1::1 > ff02::fb 17 20',
    ]);
  },
);
