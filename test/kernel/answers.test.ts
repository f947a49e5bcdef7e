import { describe, expect, it } from 'vitest';
import {
  firewallOf,
  four,
  makeBridge,
  masquerade,
  neighborKnowsTheWay,
  six,
} from '../support/bridge-networks.ts';
import { startDaemon } from '../support/daemon.ts';
import { send, sniff } from '../support/packets.ts';
import { openFlow, serve } from '../support/probes.ts';

describe('only answers pass, and not what goes on of a flow', () => {
  it('that a port has opened to the host, after hostAccess became false', async () => {
    const { request } = await startDaemon();
    await serve(null, [9000]);
    await makeBridge(request, 1, {});
    for (const own of [four, six]) {
      await firewallOf(request, 1, { hostAccess: true });
      const fromPort = await openFlow('n11', own(1, 254), 9000);
      const fromHost = await openFlow(null, own(1, 1), 80);
      await expect.poll(async () => [await fromPort(), await fromHost()]).toEqual([true, true]);
      await firewallOf(request, 1, { hostAccess: false });
      expect([await fromPort(), await fromHost()]).toEqual([false, true]);
    }
  });

  it('that a neighbor has opened, after inbound became published, or the way was translated', async () => {
    const { request } = await startDaemon();
    await neighborKnowsTheWay(1);
    await serve('internet', [7000]);
    await makeBridge(request, 1, { inbound: 'any' });
    for (const [own, neighbor] of [
      [four, '198.51.100.1'],
      [six, '2001:db8:51::1'],
    ] as const) {
      await firewallOf(request, 1, { inbound: 'any' });
      const inward = await openFlow('internet', own(1, 1), 80);
      const outward = await openFlow('n11', neighbor, 7000);
      await expect.poll(async () => [await inward(), await outward()]).toEqual([true, true]);
      await masquerade(request, 1, 'none');
      await firewallOf(request, 1, { inbound: 'published' });
      expect([await inward(), await outward()]).toEqual([false, true]);
      await firewallOf(request, 1, { inbound: 'any' });
      expect(await inward()).toBe(true);
      // Without a firewall the guard of the networks says the same.
      await firewallOf(request, 1, null);
      expect([await inward(), await outward()]).toEqual([true, true]);
      for (const name of ['out1', 'outsix1'])
        await request.patch(`/nat/${name}`).send({ forward: 'established' }).expect(200);
      expect([await inward(), await outward()]).toEqual([false, true]);
      for (const name of ['out1', 'outsix1']) await request.delete(`/nat/${name}`).expect(204);
    }
  });

  it('that a bridge has opened to one that may reach it, after it was isolated', async () => {
    const { request } = await startDaemon();
    await makeBridge(request, 2, { isolated: false });
    await masquerade(request, 2, 'none');
    await makeBridge(request, 1, { isolated: false });
    for (const own of [four, six]) {
      await firewallOf(request, 1, { isolated: false, reachableFrom: [] });
      const there = await openFlow('n11', own(2, 1), 80);
      const back = await openFlow('n21', own(1, 1), 80);
      await expect.poll(async () => [await there(), await back()]).toEqual([true, true]);
      await firewallOf(request, 1, { isolated: true, reachableFrom: ['br02'] });
      expect([await there(), await back()]).toEqual([false, true]);
    }
  });

  it('nor what no flow is known of', async () => {
    const { request } = await startDaemon();
    await neighborKnowsTheWay(1);
    await makeBridge(request, 1, {});
    await masquerade(request, 1, 'none');
    const seen = await sniff('n11', 'eth0');
    const reset = [0x99, 0x99, 0, 80, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x14, 0, 0, 0, 0, 0, 0];
    await send('internet', four(1, 1), 6, reset);
    await firewallOf(request, 1, { inbound: 'any' });
    await send('internet', four(1, 1), 6, [0x77, ...reset.slice(1)]);
    await expect.poll(() => seen).toContain('198.51.100.1 > 10.1.1.1 6 119');
    expect(seen.filter((line) => line.startsWith('198.51.100.1 '))).toHaveLength(1);
  });
});
