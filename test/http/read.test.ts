import { beforeEach, describe, expect, test } from 'vitest';
import { sharedDaemon } from '../support/daemon.ts';

const daemon = sharedDaemon();

beforeEach(async () => {
  await daemon().request.post('/namespaces').send({ name: 'blue' }).expect(201);
});

describe('GET of one resource', () => {
  test('answers 200 with the revision as ETag', async () => {
    const { body, headers } = await daemon().request.get('/namespaces/blue').expect(200);
    expect(headers['etag']).toBe('"1"');
    expect(body).toMatchObject({ name: 'blue', revision: 1 });
  });

  test.each(['"1"', 'W/"1"', '"7", "1"', '*'])(
    'answers 304 without a body for If-None-Match: %s',
    async (tag) => {
      const { text, headers } = await daemon()
        .request.get('/namespaces/blue')
        .set('if-none-match', tag)
        .expect(304);
      expect(text).toBe('');
      expect(headers['etag']).toBe('"1"');
    },
  );

  test.each(['"2"', 'W/"2"', '"11"', '1'])(
    'answers 200 for If-None-Match: %s, which is not the revision',
    async (tag) => {
      const { body } = await daemon().request.get('/namespaces/blue').set('if-none-match', tag).expect(200);
      expect(body.name).toBe('blue');
    },
  );

  test('answers 404 for what is not recorded, whatever If-None-Match says', async () => {
    const { body } = await daemon().request.get('/links/blue').set('if-none-match', '*').expect(404);
    expect(body).toMatchObject({ type: '/problems/not-found', instance: '/links/blue' });
  });

  test('answers 404 for a path that is not there', async () => {
    const { body } = await daemon().request.get('/network?x=1').expect(404);
    expect(body).toMatchObject({ type: '/problems/not-found', instance: '/network' });
  });

  test('answers 404 for a path in other letters', async () => {
    const { body } = await daemon().request.get('/Namespaces').expect(404);
    expect(body.detail).toContain('/Namespaces');
  });

  test('answers 400 for an empty name', async () => {
    const { body } = await daemon().request.get('/namespaces/').expect(400);
    expect(body.errors).toEqual([expect.objectContaining({ pointer: 'name' })]);
  });

  test('answers 400 for a query: it takes none', async () => {
    const { body } = await daemon().request.get('/namespaces/blue?dryRun=true').expect(400);
    expect(body.errors).toEqual([expect.objectContaining({ pointer: 'dryRun' })]);
  });
});

describe('HEAD', () => {
  test.each(['/namespaces', '/namespaces/blue', '/operations', '/healthz'])(
    'of %s answers like GET, without a body',
    async (path) => {
      const { headers: ofGet } = await daemon().request.get(path).expect(200);
      const { headers, text } = await daemon().request.head(path).expect(200);
      expect(text ?? '').toBe('');
      expect(headers['content-type']).toBe(ofGet['content-type']);
      expect(headers['etag']).toBe(ofGet['etag']);
    },
  );

  test('answers 404 for what is not there, without a body', async () => {
    const { text } = await daemon().request.head('/links/none').expect(404);
    expect(text ?? '').toBe('');
  });
});
