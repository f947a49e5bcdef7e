import { beforeEach, describe, expect, test } from 'vitest';
import { sharedDaemon } from '../support/daemon.ts';

const daemon = sharedDaemon();

beforeEach(async () => {
  await daemon().request.post('/bridges').send({ name: 'br00' }).expect(201);
  await daemon().request.patch('/bridges/br00').send({ mtu: 1400 }).expect(200);
});

const changes = [
  ['PUT', 'put', { mtu: 1300 }, 200],
  ['PATCH', 'patch', { mtu: 1300 }, 200],
  ['DELETE', 'delete', undefined, 204],
] as const;

describe.each(changes)('If-Match with %s', (_name, method, body, success) => {
  test.each(['"2"', '*', '"7", "2"'])('lets the change be made for %s', async (tag) => {
    const { status } = await daemon().request[method]('/bridges/br00').set('if-match', tag).send(body);
    expect(status).toBe(success);
  });

  // Weak tags never match where bytes count (RFC 9110, section 13.1.1).
  test.each(['"1"', '"3"', 'W/"2"', '"1", "3"'])(
    'answers 412 for %s, and nothing is changed',
    async (tag) => {
      const { body: problem, headers } = await daemon()
        .request[method]('/bridges/br00')
        .set('if-match', tag)
        .send(body)
        .expect(412);
      expect(problem).toMatchObject({
        type: '/problems/revision-mismatch',
        detail: expect.stringContaining('"2"'),
      });
      expect(headers['operation']).toMatch(/^\/operations\//);
      const { body: read } = await daemon().request.get('/bridges/br00').expect(200);
      expect(read).toMatchObject({ revision: 2, mtu: 1400, status: { state: 'ready' } });
    },
  );

  test.each(['2', '"2', 'W/2', '', '"2"; "3"', '"2",,"3"'])(
    'answers 400 for %j, which is no entity tag',
    async (tag) => {
      const { body: problem } = await daemon()
        .request[method]('/bridges/br00')
        .set('if-match', tag)
        .send(body)
        .expect(400);
      expect(problem.errors).toEqual([expect.objectContaining({ pointer: 'if-match' })]);
    },
  );
});

describe('If-Match where there is no resource', () => {
  test.each(['"1"', '*'])('answers 412 to a PUT that would have created it: %s', async (tag) => {
    const { body } = await daemon().request.put('/bridges/br01').set('if-match', tag).send({}).expect(412);
    expect(body.type).toBe('/problems/revision-mismatch');
    await daemon().request.get('/bridges/br01').expect(404);
  });

  test('answers 412 to a POST', async () => {
    const { body } = await daemon()
      .request.post('/bridges')
      .set('if-match', '"1"')
      .send({ name: 'br01' })
      .expect(412);
    expect(body.type).toBe('/problems/revision-mismatch');
  });

  // RFC 9110, section 13.2.1: a condition counts only where the answer would be a success without it.
  test.each(['patch', 'delete'] as const)('answers 404 to %s, as without it', async (method) => {
    const { body } = await daemon()
      .request[method]('/bridges/br01')
      .set('if-match', '"1"')
      .send(method === 'patch' ? {} : undefined)
      .expect(404);
    expect(body.type).toBe('/problems/not-found');
  });
});

test('of two that change the same revision at once, one has its way', async () => {
  const send = async (mtu: number) =>
    daemon().request.patch('/bridges/br00').set('if-match', '"2"').send({ mtu });
  const answers = await Promise.all([send(1300), send(1301), send(1302)]);
  expect(answers.map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([200, 412, 412]);
  const { body } = await daemon().request.get('/bridges/br00').expect(200);
  expect(body.revision).toBe(3);
  expect(body.status.mtu).toBe(body.mtu);
});
