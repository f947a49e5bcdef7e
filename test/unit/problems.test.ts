import Fastify from 'fastify';
import { describe, expect, test } from 'vitest';
import { StoreError } from '../../src/db/errors.ts';
import { problems } from '../../src/plugins/problems.ts';
import { problemKinds, problemSlugs } from '../../src/schemas/problem.ts';
import { ChangeRefused } from '../../src/services/change.ts';
import { Problem } from '../../src/services/problem.ts';

/** What a client gets when a route throws. */
async function answerTo(thrown: unknown) {
  const app = Fastify();
  problems(app);
  app.get('/links/:name', async () => {
    throw thrown;
  });
  const { statusCode, headers, body } = await app.inject('/links/veth00?x=1');
  await app.close();
  return { status: statusCode, headers, document: JSON.parse(body) as Record<string, unknown> };
}

describe.each(problemSlugs)('the problem %s', (slug) => {
  test('has its status, title and type', async () => {
    const { status, headers, document } = await answerTo(new Problem(slug, 'what was wrong'));
    expect(status).toBe(problemKinds[slug].status);
    expect(headers['content-type']).toBe('application/problem+json; charset=utf-8');
    const { title } = problemKinds[slug];
    expect(document).toMatchObject({
      type: `/problems/${slug}`,
      title,
      status,
      detail: 'what was wrong',
      instance: '/links/veth00',
    });
  });
});

describe('Retry-After', () => {
  test.each(['request-in-flight', 'firewall-busy', 'timeout', 'shutting-down'] as const)(
    'says in how many seconds waiting may have helped: %s',
    async (slug) => {
      const { headers } = await answerTo(new Problem(slug, ''));
      expect(headers['retry-after']).toMatch(/^[1-9]\d*$/);
    },
  );

  test.each(['permission', 'store-unavailable', 'limit-reached', 'kernel-error', 'unprocessable'] as const)(
    'is not there where waiting does not help: %s',
    async (slug) => {
      const { headers } = await answerTo(new Problem(slug, ''));
      expect(headers).not.toHaveProperty('retry-after');
    },
  );
});

describe('what is thrown', () => {
  test('by a change that was refused tells its operation', async () => {
    const { headers } = await answerTo(new ChangeRefused(42, new Problem('in-use', '')));
    expect(headers['operation']).toBe('/operations/42');
  });

  test('by a change that could not be noted tells none', async () => {
    const { status, headers } = await answerTo(new ChangeRefused(null, new Problem('shutting-down', '')));
    expect(status).toBe(503);
    expect(headers).not.toHaveProperty('operation');
  });

  test('by the store is 507 when it is full, and 503 otherwise', async () => {
    expect((await answerTo(new StoreError('full', 'the disk is full'))).document).toMatchObject({
      type: '/problems/limit-reached',
      status: 507,
    });
    expect((await answerTo(new StoreError('corrupt', 'it is damaged'))).document).toMatchObject({
      type: '/problems/store-unavailable',
      status: 503,
    });
  });

  test.each([
    new Error('secret'),
    new RangeError('secret'),
    'secret',
    null,
    Object.assign(new Error('secret'), { code: 'ENOENT', statusCode: 500 }),
  ])('by a fault of ours tells nothing of its inside: %s', async (thrown) => {
    const { status, document } = await answerTo(thrown);
    expect(status).toBe(500);
    expect(document['type']).toBe('/problems/internal-error');
    expect(JSON.stringify(document)).not.toContain('secret');
  });

  test('names what is in the way by its path', async () => {
    const { document } = await answerTo(
      new Problem('in-use', '', { references: [{ kind: 'nat', name: 'a.b' }] }),
    );
    expect(document['references']).toEqual([{ kind: 'nat', name: 'a.b', href: '/nat/a.b' }]);
  });
});
