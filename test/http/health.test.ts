import { expect, test } from 'vitest';
import { sharedDaemon } from '../support/daemon.ts';

const daemon = sharedDaemon();

test('/healthz says that the daemon is alive', async () => {
  const { body } = await daemon().request.get('/healthz').expect(200);
  expect(body).toEqual({ status: 'ok', reason: null });
});

test('/readyz says that changes can succeed', async () => {
  // Right after the start, what is recorded is still being put in order.
  await expect.poll(async () => (await daemon().request.get('/readyz')).status).toBe(200);
  const { body } = await daemon().request.get('/readyz').expect(200);
  expect(body).toEqual({ status: 'ok', reason: null });
});

test('/system says what the machine has, and counts what is recorded', async () => {
  await daemon().request.post('/bridges').send({ name: 'br00' }).expect(201);
  const { body } = await daemon().request.get('/system').expect(200);
  expect(body).toMatchObject({
    version: '0.0.0-test',
    limits: { portsPerBridge: 1000 },
    use: { recorded: { bridges: 1, namespaces: 0, links: 0, nat: 0 } },
  });
  expect(body.tools.ip.version).toMatch(/^\d+\.\d+/);
});

test.each(['/healthz', '/readyz', '/system'])('%s takes no query', async (path) => {
  const { body } = await daemon().request.get(`${path}?verbose`).expect(400);
  expect(body.errors).toEqual([expect.objectContaining({ pointer: 'verbose' })]);
});

test('/openapi.json is the document that is served by Swagger UI', async () => {
  const { body } = await daemon().request.get('/openapi.json').expect(200);
  const { body: ofPage } = await daemon().request.get('/docs/json').expect(200);
  expect(body.openapi).toMatch(/^3\.1\./);
  expect(ofPage).toEqual(body);
});
