import { expect, test } from 'vitest';
import { sharedDaemon } from '../support/daemon.ts';

const daemon = sharedDaemon();

const collection = 'GET, HEAD, POST';
const item = 'DELETE, GET, HEAD, PATCH, PUT';
const readOnly = 'GET, HEAD';

test.each([
  ...['/namespaces', '/links', '/bridges', '/nat'].flatMap((path) => [
    [['put', 'patch', 'delete', 'options', 'trace'], path, collection],
    [['post', 'options', 'trace'], `${path}/blue`, item],
  ]),
  ...[
    '/operations',
    '/operations/1',
    '/problems/in-use',
    '/system',
    '/healthz',
    '/readyz',
    '/openapi.json',
  ].map((path) => [['post', 'put', 'patch', 'delete', 'options'], path, readOnly]),
  ...['interfaces', 'routes', 'neighbors', 'sockets', 'processes'].map((table) => [
    ['post', 'put', 'delete'],
    `/namespaces/host/${table}`,
    readOnly,
  ]),
  [['get', 'head', 'put', 'delete'], '/namespaces/host/ping', 'POST'],
] as [string[], string, string][])(
  '%s of %s is answered with 405, and Allow: %s',
  async (methods, path, allow) => {
    for (const method of methods) {
      const answer = await daemon().request[method as 'get'](path).send(undefined);
      expect({ method, status: answer.status, allow: answer.headers['allow'] }).toEqual({
        method,
        status: 405,
        allow,
      });
      if (method !== 'head')
        expect(answer.body).toMatchObject({ type: '/problems/method-not-allowed', instance: path });
    }
  },
);

test('a body that is no JSON does not come before the method', async () => {
  const { body } = await daemon().request.post('/bridges/br00').type('text/plain').send('x').expect(405);
  expect(body.type).toBe('/problems/method-not-allowed');
});
