import { describe, expect, test } from 'vitest';
import { create } from '../support/create.ts';
import { sharedDaemon } from '../support/daemon.ts';

const daemon = sharedDaemon();

const make = async (path: string, ...bodies: object[]): Promise<void> =>
  create(daemon().request, path, ...bodies);

async function namesOf(path: string): Promise<string[]> {
  const { body } = await daemon().request.get(path).expect(200);
  return (body.items as { name: string }[]).map(({ name }) => name);
}

describe('GET of a collection', () => {
  test.each(['/namespaces', '/links', '/bridges', '/nat'])(
    'answers with no items if there are none: %s',
    async (path) => {
      const { body } = await daemon().request.get(path).expect(200);
      expect(body).toEqual({ items: [], next: null });
    },
  );

  test('answers in order of name, whatever the order of creation, with the status as last seen', async () => {
    await make('/namespaces', { name: 'b' }, { name: 'a' }, { name: 'B' }, { name: '10' }, { name: '9' });
    const { body } = await daemon().request.get('/namespaces').expect(200);
    expect(body.items.map(({ name }: { name: string }) => name)).toEqual(['10', '9', 'B', 'a', 'b']);
    expect(body.items[0].status).toMatchObject({
      state: 'ready',
      path: '/run/netns/10',
      inode: expect.any(Number),
    });
    expect(body.next).toBeNull();
  });

  test('answers in pages, whose cursors lead to the end', async () => {
    await make('/namespaces', ...['a', 'b', 'c', 'd', 'e'].map((name) => ({ name })));
    const pages: string[][] = [];
    let after: string | null = '';
    while (after !== null) {
      const { body } = await daemon()
        .request.get('/namespaces')
        .query({ limit: 2, ...(after === '' ? {} : { after }) })
        .expect(200);
      pages.push(body.items.map(({ name }: { name: string }) => name));
      after = body.next as string | null;
    }
    expect(pages).toEqual([['a', 'b'], ['c', 'd'], ['e']]);
  });

  test('has no next page after a last one that is full', async () => {
    await make('/namespaces', { name: 'a' }, { name: 'b' });
    const { body } = await daemon().request.get('/namespaces?limit=2').expect(200);
    expect(body.next).toBeNull();
  });

  test('goes on after a name that has gone', async () => {
    await make('/namespaces', { name: 'a' }, { name: 'c' });
    expect(await namesOf('/namespaces?after=b')).toEqual(['c']);
  });

  test.each(['0', '1001', '-1', '1.5', 'ten', '', '5&limit=6'])(
    'answers 400 for ?limit=%s',
    async (limit) => {
      const { body } = await daemon().request.get(`/namespaces?limit=${limit}`).expect(400);
      expect(body.errors).toEqual([expect.objectContaining({ pointer: 'limit' })]);
    },
  );

  test.each(['1', '1000'])('takes ?limit=%s', async (limit) => {
    expect(await namesOf(`/namespaces?limit=${limit}`)).toEqual([]);
  });

  test.each(['', '-a', 'a/b', 'a%00b'])('answers 400 for ?after=%s', async (after) => {
    const { body } = await daemon().request.get(`/namespaces?after=${after}`).expect(400);
    expect(body.type).toBe('/problems/invalid-request');
  });

  test('answers 400 for a parameter that it does not know', async () => {
    const { body } = await daemon().request.get('/links?sort=name').expect(400);
    expect(body.errors).toEqual([{ pointer: 'sort', message: expect.stringContaining('unknown') }]);
  });
});

describe('?label=', () => {
  test('gives those that have all of the labels', async () => {
    await make(
      '/namespaces',
      { name: 'a', labels: { app: 'web', tier: 'front' } },
      { name: 'b', labels: { app: 'web' } },
      { name: 'c', labels: { app: 'db', tier: 'front' } },
    );
    expect(await namesOf('/namespaces?label=app=web')).toEqual(['a', 'b']);
    expect(await namesOf('/namespaces?label=app=web&label=tier=front')).toEqual(['a']);
    expect(await namesOf('/namespaces?label=app=web&label=app=db')).toEqual([]);
    expect(await namesOf('/namespaces?label=app=we')).toEqual([]);
  });

  test('compares values with any characters in them as they are', async () => {
    await make(
      '/namespaces',
      { name: 'a', labels: { 'example.com/x-y_z': 'a=b&c "d" \' % ü' } },
      { name: 'b', labels: { example: '' } },
    );
    const query = encodeURIComponent('example.com/x-y_z=a=b&c "d" \' % ü');
    expect(await namesOf(`/namespaces?label=${query}`)).toEqual(['a']);
    expect(await namesOf('/namespaces?label=example=')).toEqual(['b']);
  });

  test('takes a key of digits for a key, never for a place in a list', async () => {
    await make('/namespaces', { name: 'a', labels: { 0: 'y' } }, { name: 'b', labels: { x: 'y' } });
    expect(await namesOf('/namespaces?label=0=y')).toEqual(['a']);
  });

  // SQLite would read `$.x` as a path.
  test.each(['app', '=web', '=', '"x"=y', '$.x=y', "a'b=y", '[0]=y', ' x=y'])(
    'answers 400 for %s, which is no key=value',
    async (label) => {
      const { body } = await daemon()
        .request.get(`/namespaces?label=${encodeURIComponent(label)}`)
        .expect(400);
      expect(body.errors).toHaveLength(1);
    },
  );
});

describe('?namespace= and ?bridge=', () => {
  test('give the links with either end there', async () => {
    await make('/namespaces', { name: 'blue' }, { name: 'red' });
    await make('/bridges', { name: 'br00' }, { name: 'br01', namespace: 'red' });
    await make(
      '/links',
      { name: 'a', type: 'veth', bridge: 'br00', peer: { interface: 'eth0', namespace: 'blue' } },
      {
        name: 'b',
        type: 'veth',
        namespace: 'blue',
        interface: 'x',
        peer: { interface: 'y', namespace: 'red', bridge: 'br01' },
      },
      { name: 'c', type: 'veth', peer: { interface: 'd' } },
    );
    expect(await namesOf('/links?namespace=blue')).toEqual(['a', 'b']);
    expect(await namesOf('/links?namespace=host')).toEqual(['a', 'c']);
    expect(await namesOf('/links?namespace=nowhere')).toEqual([]);
    expect(await namesOf('/links?bridge=br00')).toEqual(['a']);
    expect(await namesOf('/links?bridge=br01&namespace=blue')).toEqual(['b']);
    expect(await namesOf('/bridges?namespace=red')).toEqual(['br01']);
    expect(await namesOf('/bridges?namespace=host')).toEqual(['br00']);
  });

  test('give the rules in that namespace', async () => {
    await make('/namespaces', { name: 'blue' });
    await make('/nat', { name: 'out', type: 'masquerade', source: '10.1.1.0/24', namespace: 'blue' });
    expect(await namesOf('/nat?namespace=blue')).toEqual(['out']);
    expect(await namesOf('/nat?namespace=host')).toEqual([]);
  });

  test.each(['/namespaces?namespace=blue', '/bridges?bridge=br00', '/nat?bridge=br00', '/links?all=true'])(
    'are errors where they make no sense: %s',
    async (path) => {
      const { body } = await daemon().request.get(path).expect(400);
      expect(body.type).toBe('/problems/invalid-request');
    },
  );
});

describe('?all=true', () => {
  test('adds the namespaces of others, at the end of the last page', async () => {
    await make('/namespaces', { name: 'a' }, { name: 'zz' });
    const { body: first } = await daemon().request.get('/namespaces?all=true&limit=1').expect(200);
    expect(first.items).toHaveLength(1);
    const { body } = await daemon().request.get(`/namespaces?all=true&after=${first.next}`).expect(200);
    expect(body.items[0]).toMatchObject({ name: 'zz', revision: 1 });
    const others = body.items.slice(1) as { name: string }[];
    expect(others).toContainEqual(
      expect.objectContaining({
        name: 'internet',
        managed: false,
        status: expect.objectContaining({ path: '/run/netns/internet' }),
      }),
    );
    expect(others.map(({ name }) => name)).not.toContain('a');
    for (const other of others) expect(other).not.toHaveProperty('revision');
  });

  test.each(['1', 'yes', 'TRUE', ''])('is written so: %s is refused', async (value) => {
    const { body } = await daemon().request.get(`/namespaces?all=${value}`).expect(400);
    expect(body.errors).toEqual([expect.objectContaining({ pointer: 'all' })]);
  });
});
