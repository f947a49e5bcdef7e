import { describe, expect, it } from 'vitest';
import { startDaemon } from '../support/daemon.ts';

const snat = { name: 's', type: 'snat', source: '10.1.1.0/24', toAddress: '198.51.100.7' };
const masquerade = { name: 'm', type: 'masquerade' };

describe('two rules for what leaves', () => {
  it('do not give the same traffic different addresses', async () => {
    const { request } = await startDaemon();
    await request.post('/bridges').send({ name: 'br00', addresses: ['10.1.1.3/24'] });
    await request.post('/bridges').send({ name: 'br02', addresses: ['10.2.1.3/24'] });
    await request
      .post('/nat')
      .send({ ...masquerade, bridge: 'br00' })
      .expect(201);
    for (const source of ['10.1.1.0/24', '10.1.1.0/28', '10.0.0.0/8'])
      for (const outInterface of [null, 'uplink0']) {
        const refused = await request
          .post('/nat')
          .send({ ...snat, source, outInterface })
          .expect(422);
        expect(refused.body.references).toMatchObject([{ kind: 'nat', name: 'm' }]);
      }
    // What the one leaves out, the other may have.
    await request
      .post('/nat')
      .send({ ...snat, outInterface: 'br00' })
      .expect(201);
    await request.delete('/nat/s').expect(204);
    await request
      .post('/nat')
      .send({ ...snat, source: '10.2.1.0/24' })
      .expect(201);
    const moved = await request
      .patch('/bridges/br00')
      .send({ addresses: ['10.2.1.4/24'] })
      .expect(422);
    expect(moved.body.references).toMatchObject([{ kind: 'nat', name: 's' }]);
    await request.patch('/nat/m').send({ outInterface: 'uplink0' }).expect(200);
    await request.patch('/nat/s').send({ source: '10.1.1.0/24', outInterface: 'uplink1' }).expect(200);
    await request.patch('/nat/s').send({ outInterface: 'uplink0' }).expect(422);
    await request.patch('/nat/s').send({ outInterface: null }).expect(422);
  });

  it('may both masquerade, or both translate to one address', async () => {
    const { request } = await startDaemon();
    const { source } = snat;
    for (const [at, outInterface] of ['uplink0', 'uplink1', null].entries())
      await request
        .post('/nat')
        .send({ ...masquerade, name: `m${at}`, source, outInterface })
        .expect(201);
    await request
      .post('/nat')
      .send({ ...snat, source: '10.2.0.0/16' })
      .expect(201);
    await request
      .post('/nat')
      .send({ ...snat, name: 't', source: '10.2.1.0/24' })
      .expect(201);
    const refused = await request.patch('/nat/t').send({ toAddress: '198.51.100.8' }).expect(422);
    expect(refused.body.references).toMatchObject([{ kind: 'nat', name: 's' }]);
  });
});
