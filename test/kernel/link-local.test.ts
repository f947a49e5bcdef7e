import { describe, expect, it } from 'vitest';
import { four, makeBridge, six } from '../support/bridge-networks.ts';
import { startDaemon } from '../support/daemon.ts';
import { meanwhile } from '../support/probes.ts';
import { pings, rulesOf } from '../support/shell.ts';

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
});
