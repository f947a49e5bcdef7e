import { request as httpRequest } from 'node:http';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { expect, test } from 'vitest';
import { startDaemon } from '../support/daemon.ts';

test('no token is needed without authentication, but the headers of an attacking page are still refused', async () => {
  const { origin, complaints } = await startDaemon({ needsToken: false });
  const statusWith = async (headers: Record<string, string>): Promise<number | undefined> => {
    const request = httpRequest({ host: '127.0.0.1', port: new URL(origin).port, path: '/links', headers });
    request.end();
    const [response] = await once(request, 'response');
    const { statusCode: status } = response;
    const answer = { method: 'GET', url: '/links', status, headers: response.headers };
    expect(complaints({ ...answer, body: await text(response) })).toEqual([]);
    return status;
  };
  expect(await statusWith({})).toBe(200);
  expect(await statusWith({ authorization: 'Bearer wrong' })).toBe(200);
  expect(await statusWith({ host: 'evil.example' })).toBe(403);
  expect(await statusWith({ origin: 'http://evil.example' })).toBe(403);
});
