import { describe, expect, test } from 'vitest';
import { sharedDaemon } from '../support/daemon.ts';

const daemon = sharedDaemon();

/** What each of these means to some tool stands in the hazards that the grammar of names is against. */
const never = [
  '',
  ' ',
  '.',
  '..',
  '-foo',
  '--help',
  '-',
  'a b',
  'a/b',
  '/etc/passwd',
  '../../etc/passwd',
  'a\nlink delete dev uplink0',
  'a\n',
  '\na',
  'a\r',
  'a\0b',
  'a\tb',
  '%d',
  'veth%d',
  'eth+',
  '!eth0',
  'a,b',
  'a:b',
  'a@b',
  'a;b',
  'a#b',
  'a"b',
  "a'b",
  'a\\b',
  '$(reboot)',
  '`reboot`',
  'a*',
  '[a]',
  'ä',
  'аdmin', // Cyrillic
  'a\u200b',
  '１',
];

describe('the name of a resource', () => {
  test.each([...never, '_a', '.a', 'a'.repeat(64), 'a'.repeat(5000)])('can’t be %j', async (name) => {
    for (const [path, rest] of [
      ['/namespaces', {}],
      ['/bridges', { interface: 'br00' }],
      ['/links', { type: 'veth', interface: 'veth00', peer: { interface: 'veth10' } }],
      ['/nat', { type: 'masquerade', source: '10.1.1.0/24' }],
    ] as const) {
      const { body } = await daemon()
        .request.post(path)
        .send({ name, ...rest })
        .expect(400);
      expect(body.errors).toEqual([
        { pointer: '/name', message: expect.stringContaining('1 to 63 characters') },
      ]);
      // `.` and `..` are resolved by clients themselves.
      if (/^\.{0,2}$/.test(name)) continue;
      await daemon()
        .request.put(`${path}/${encodeURIComponent(name)}`)
        .send(rest)
        .expect(400);
    }
  });

  test.each(['a', '1', '4026532598', 'A.b_c-d', 'a..b', '0-', 'all', 'default', 'lo', 'a'.repeat(63)])(
    'can be %s',
    async (name) => {
      const { body } = await daemon()
        .request.post('/nat?dryRun=true')
        .send({ name, type: 'masquerade', source: '10.1.1.0/24' })
        .expect(200);
      expect(body.changes).toEqual([{ action: 'create', kind: 'nat', name }]);
    },
  );

  test('can be as long as it may in the kernel as well', async () => {
    const name = 'n'.repeat(63);
    await daemon().request.post('/namespaces').send({ name }).expect(201);
    await daemon().request.post('/bridges').send({ name, interface: 'br00', namespace: name }).expect(201);
    await daemon()
      .request.post('/nat')
      .send({ name, type: 'masquerade', source: '10.1.1.0/24', namespace: name, inInterface: 'br00' })
      .expect(201);
    const { body } = await daemon().request.get(`/nat/${name}`).expect(200);
    expect(body.status.state).toBe('ready');
  });
});

describe('the name of an interface', () => {
  test.each([...never, '-a', '.a', 'lo', 'all', 'default', 'a'.repeat(16)])('can’t be %j', async (name) => {
    const refused = await Promise.all([
      daemon().request.post('/bridges').send({ name: 'br00', interface: name }).expect(400),
      daemon()
        .request.post('/links')
        .send({ name: 'v', type: 'veth', peer: { interface: name } })
        .expect(400),
      daemon()
        .request.post('/nat')
        .send({ name: 'n', type: 'masquerade', source: '10.1.1.0/24', outInterface: name })
        .expect(400),
    ]);
    expect(refused.map(({ body }) => body.errors[0].pointer)).toEqual([
      '/interface',
      '/peer/interface',
      '/outInterface',
    ]);
  });

  test.each(['_a', 'eth0.100', 'wg-0', '0', '1', 'a'.repeat(15), 'lo0', 'ALL'])('can be %s', async (name) => {
    const { body } = await daemon()
      .request.post('/bridges')
      .send({ name: 'br00', interface: name })
      .expect(201);
    expect(body).toMatchObject({ interface: name, status: { state: 'ready' } });
  });

  test.each(['lo', 'all', 'default', 'a'.repeat(16)])(
    'must be given where the name of the resource is none: %s',
    async (name) => {
      const { body } = await daemon().request.post('/bridges').send({ name }).expect(400);
      expect(body.errors).toEqual([{ pointer: '/interface', message: expect.stringContaining('is needed') }]);
    },
  );

  test('can be the same in two namespaces, at either end', async () => {
    const { request } = daemon();
    for (const name of ['blue', 'red']) await request.post('/namespaces').send({ name }).expect(201);
    for (const name of ['blue', 'red']) {
      const link = {
        name: `to-${name}`,
        type: 'veth',
        interface: `v-${name}`,
        peer: { interface: 'eth0', namespace: name },
      };
      await request.post('/links').send(link).expect(201);
    }
    const inner = {
      name: 'inner',
      type: 'veth',
      interface: 'eth1',
      namespace: 'blue',
      peer: { interface: 'eth1', namespace: 'red' },
    };
    const { body } = await request.post('/links').send(inner).expect(201);
    expect(body.status.state).toBe('ready');
  });
});

describe('a label', () => {
  test.each(['', '-a', '.a', '/a', 'a b', 'a=b', 'ä', 'a\n', 'a'.repeat(64), '$.x', '__proto'])(
    'can’t have the key %j',
    async (key) => {
      const { body } = await daemon()
        .request.post('/namespaces')
        .send({ name: 'blue', labels: { [key]: 'x' } })
        .expect(400);
      expect(body.errors[0].pointer).toBe(`/labels/${key.replaceAll('/', '~1')}`);
    },
  );

  test.each(['', 'x'.repeat(255), 'ü"\'\\\n\t\u0000', '🙂'.repeat(255)])(
    'can have the value %j',
    async (value) => {
      const { body } = await daemon()
        .request.post('/namespaces')
        .send({ name: 'blue', labels: { 'example.com/a-b_c': value } })
        .expect(201);
      expect(body.labels).toEqual({ 'example.com/a-b_c': value });
      const { body: read } = await daemon().request.get('/namespaces/blue').expect(200);
      expect(read.labels).toEqual(body.labels);
    },
  );

  test.each([['x'.repeat(256)], [1], [true], [null], [['x']], [{ a: 'b' }]])(
    'can’t have the value %j',
    async (value) => {
      const { body } = await daemon()
        .request.post('/namespaces')
        .send({ name: 'blue', labels: { a: value } })
        .expect(400);
      expect(body.errors[0].pointer).toBe('/labels/a');
    },
  );

  test('can be one of 64, and not of 65', async () => {
    const labels = (count: number) =>
      Object.fromEntries(Array.from({ length: count }, (_, n) => [`k${n}`, 'v']));
    await daemon()
      .request.post('/namespaces?dryRun=true')
      .send({ name: 'blue', labels: labels(64) })
      .expect(200);
    const { body } = await daemon()
      .request.post('/namespaces?dryRun=true')
      .send({ name: 'blue', labels: labels(65) })
      .expect(400);
    expect(body.errors[0].pointer).toBe('/labels');
  });
});
