import { describe, expect, it } from 'vitest';
import { four, makeBridge, six } from '../support/bridge-networks.ts';
import { create } from '../support/create.ts';
import { startDaemon } from '../support/daemon.ts';
import { meanwhile } from '../support/probes.ts';
import { pings, rulesOf, run } from '../support/shell.ts';

describe('the link-local addresses of a bridge', () => {
  it('guard nothing: each other link has its own, of the same network', async () => {
    const { request } = await startDaemon();
    await meanwhile(
      'ip address add fe80::51/64 dev uplink0 nodad',
      'ip address delete fe80::51/64 dev uplink0',
    );
    for (const n of [1, 2]) {
      await makeBridge(request, n, {});
      const changed = await request
        .patch(`/bridges/br0${n}`)
        .send({ addresses: [`${four(n, 254)}/24`, `${six(n, 254)}/64`, `fe80::${n}:1/64`] });
      expect(changed.body).toMatchObject({ status: { state: 'ready' } });
      await request
        .post('/nat')
        .send({ name: `six${n}`, type: 'masquerade', bridge: `br0${n}`, family: 6 })
        .expect(201);
    }
    const all = async (): Promise<boolean[]> => [
      await pings('n11', 'fe80::1:1%eth0'),
      await pings('n21', 'fe80::2:1%eth0'),
      await pings('internet', 'fe80::51%eth0'),
    ];
    await expect.poll(all, { timeout: 10_000 }).toEqual([true, true, true]);
    expect((await rulesOf(null, 6)).filter((rule) => rule.includes('fe80::'))).toEqual([
      expect.stringMatching(/^-A NETNSD-DNAT -s fe80::\/10 .*RETURN$/),
    ]);
    // Of these alone nothing can be translated.
    await request
      .post('/bridges')
      .send({ name: 'br03', addresses: ['fe80::1/64'] })
      .expect(201);
    const six3 = { name: 'six3', type: 'masquerade', bridge: 'br03', family: 6 };
    expect((await request.post('/nat').send(six3).expect(422)).body.references).toContainEqual(
      expect.objectContaining({ kind: 'bridge', name: 'br03' }),
    );
  });

  it('are its own: each bridge may have the same, which is put back where it was taken away', async () => {
    const { request } = await startDaemon({ reconcileMode: 'repair', reconcileIntervalMs: 3_600_000 });
    const addresses = ['fe80::1/64'];
    await create(request, '/bridges', { name: 'br01', addresses }, { name: 'br02', addresses });
    const has = async (device: string): Promise<boolean> =>
      (await run('ip', '-6', 'address', 'show', 'dev', device)).includes('inet6 fe80::1/64');
    await request.patch('/bridges/br02').send({ mtu: 1400 }).expect(200);
    await run('ip', 'address', 'delete', 'fe80::1/64', 'dev', 'br02');
    await expect.poll(async () => has('br02')).toBe(true);
    expect(await has('br01')).toBe(true);
    const { items } = (await request.get('/operations?limit=1000')).body as { items: { action: string }[] };
    expect(items.filter(({ action }) => action === 'repair')).toHaveLength(1);
    const twice = { name: 'br03', addresses: ['fe80::1/64', 'fe80::1/128'] };
    expect((await request.post('/bridges').send(twice)).status).toBeGreaterThanOrEqual(400);
    await request.delete('/bridges/br01').expect(204);
    expect(await has('br02')).toBe(true);
  });
});
