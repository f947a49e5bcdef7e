import { describe, expect, test } from 'vitest';
import { problemKinds, problemSlugs } from '../../src/schemas/problem.ts';
import { sharedDaemon } from '../support/daemon.ts';

const daemon = sharedDaemon();

/** The table of the contract; a slug that is not in it says of a fault of netnsd itself, or of its end. */
const contract = {
  'invalid-request': 400,
  unauthenticated: 401,
  forbidden: 403,
  'not-found': 404,
  'method-not-allowed': 405,
  'name-conflict': 409,
  'foreign-object': 409,
  'in-use': 409,
  'revision-mismatch': 412,
  'too-large': 413,
  'unsupported-media-type': 415,
  unprocessable: 422,
  'kernel-error': 500,
  'kernel-unsupported': 501,
  'firewall-busy': 503,
  'store-unavailable': 503,
  permission: 503,
  'limit-reached': 507,
};

test('every problem of the contract has its status', () => {
  const statuses = Object.fromEntries(
    Object.entries(problemKinds).map(([slug, { status }]) => [slug, status]),
  );
  expect(statuses).toMatchObject(contract);
});

describe('GET /problems/SLUG', () => {
  test.each(problemSlugs)('explains %s to a person, who needs no token', async (slug) => {
    const { origin, complaints } = daemon();
    const answer = await fetch(`${origin}/problems/${slug}`);
    const text = await answer.text();
    expect(
      complaints({
        method: 'GET',
        url: `/problems/${slug}`,
        status: answer.status,
        headers: Object.fromEntries(answer.headers),
        body: text,
      }),
    ).toEqual([]);
    expect(answer.headers.get('content-type')).toBe('text/plain; charset=utf-8');
    expect(text).toContain(problemKinds[slug].title);
    expect(text).toContain(String(problemKinds[slug].status));
    expect(text).toContain(problemKinds[slug].explanation);
  });

  test.each(['none', 'tostring', 'constructor'])('answers 404 for %s', async (slug) => {
    const { body } = await daemon().request.get(`/problems/${slug}`).expect(404);
    expect(body.detail).toContain('in-use');
  });

  test.each(['__proto__', 'In-Use', 'a/b', '1'])('answers 400 for %s', async (slug) => {
    const { body } = await daemon()
      .request.get(`/problems/${encodeURIComponent(slug)}`)
      .expect(400);
    expect(body.type).toBe('/problems/invalid-request');
  });
});

describe('a problem', () => {
  test('names its type, the request, and what was wrong with which value', async () => {
    const { body, headers } = await daemon()
      .request.post('/bridges?dryRun=true')
      .send({ name: 'br00', addresses: ['010.1.0.3/24'] })
      .expect(400);
    expect(headers['content-type']).toBe('application/problem+json; charset=utf-8');
    expect(body).toEqual({
      type: '/problems/invalid-request',
      title: 'The request does not fit',
      status: 400,
      detail:
        'the body: /addresses/0: "010.1.0.3" is not written canonically; if 8.1.0.3 is meant, write that',
      instance: '/bridges',
      requestId: expect.stringMatching(/^[0-9a-f-]{36}$/),
      errors: [
        {
          pointer: '/addresses/0',
          message: '"010.1.0.3" is not written canonically; if 8.1.0.3 is meant, write that',
        },
      ],
    });
  });

  test('has a request id of the daemon’s own, whatever the client says', async () => {
    const { body } = await daemon()
      .request.get('/none')
      .set('request-id', 'mine')
      .set('x-request-id', 'mine')
      .expect(404);
    expect(body.requestId).not.toBe('mine');
  });

  test('says what to do', async () => {
    const { body } = await daemon().request.get('/links/none').expect(404);
    expect(body.detail).toBe('no link "none" is recorded; GET the collection to see what there is');
  });
});
