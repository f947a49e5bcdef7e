import { describe, expect, test } from 'vitest';
import { createConformance, type Exchange } from '../support/conformance.ts';

const answerOf = (schema: object) => ({ description: '', content: { 'application/json': { schema } } });
const check = createConformance({
  components: {
    schemas: {
      Named: { type: 'object', required: ['name'], properties: { name: { type: 'string' } } },
      Problem: { type: 'object' },
    },
  },
  paths: {
    '/things': {
      post: {
        responses: {
          201: { ...answerOf({ $ref: '#/components/schemas/Named' }), headers: { Location: {} } },
        },
      },
    },
    '/things/{name}': {
      get: { responses: { 200: answerOf({ $ref: '#/components/schemas/Named' }), 304: { description: '' } } },
    },
  },
});

const exchange = (given: Partial<Exchange>): Exchange => ({
  method: 'GET',
  url: '/things/a',
  status: 200,
  headers: { 'content-type': 'application/json; charset=utf-8' },
  body: '{"name":"a"}',
  ...given,
});

const problem = (status: number, slug: string, title: string): Partial<Exchange> => ({
  status,
  headers: { 'content-type': 'application/problem+json; charset=utf-8' },
  body: JSON.stringify({ type: `/problems/${slug}`, title, status }),
});

describe('an answer conforms', () => {
  test.each<[string, Partial<Exchange>]>([
    ['if it is as documented', {}],
    ['without a body where none is documented', { status: 304, body: '' }],
    ['to HEAD without the body of GET', { method: 'HEAD', body: '' }],
    [
      'if a path that is not documented is not found',
      { url: '/other', ...problem(404, 'not-found', 'There is no such thing') },
    ],
    ['if it is a page for people', { url: '/docs/static/index.html', body: '<html>' }],
  ])('%s', (_when, given) => {
    expect(check(exchange(given))).toEqual([]);
  });
});

describe('an answer does not conform', () => {
  test.each<[string, Partial<Exchange>, string]>([
    ['if its body does not fit the schema', { body: '{"name":1}' }, 'must be string'],
    ['if its body is no JSON', { body: '{' }, 'notJson'],
    ['if its status is not documented', { status: 202 }, 'status 202 is not documented'],
    [
      'if its type is not documented',
      { headers: { 'content-type': 'text/plain' } },
      'undocumented type text/plain',
    ],
    ['if it has a body where none is documented', { status: 304 }, 'has a body'],
    [
      'if a documented header is missing',
      { method: 'POST', url: '/things', status: 201 },
      'lacks the header Location',
    ],
    ['if an error is no problem', { status: 404 }, 'is no problem'],
    [
      'if a problem has another status than its type',
      problem(404, 'in-use', 'Others refer to it'),
      'has the status 404',
    ],
    ['if a problem is of no known type', problem(404, 'other', 'x'), 'there is no problem'],
    ['if a method that is not documented succeeds', { method: 'PUT' }, 'PUT /things/a is not documented'],
  ])('%s', (_when, given, complaint) => {
    expect(check(exchange(given)).join('\n')).toContain(complaint);
  });
});
