import { describe, expect, it, test } from 'vitest';
import { sharedDaemon } from '../support/daemon.ts';

const daemon = sharedDaemon();

async function create(body: object) {
  return daemon()
    .request.post('/bridges')
    .send({ name: 'br00', ...body });
}

describe('the resolvers of a bridge', () => {
  it('are none unless they are given', async () => {
    const { body } = await create({ subnets: ['10.1.1.0/24'] });
    expect(body.dns).toEqual([]);
    const again = await daemon()
      .request.put('/bridges/br00')
      .send({ subnets: ['10.1.1.0/24'], dns: [] });
    expect([again.status, again.body.revision]).toEqual([200, 1]);
  });

  it('are kept as they were given, changed and taken away', async () => {
    const dns = ['10.1.1.1', '2001:db8::1'];
    expect((await create({ subnets: ['10.1.1.0/24'], dns })).body.dns).toEqual(dns);
    expect((await daemon().request.get('/bridges/br00')).body.dns).toEqual(dns);
    expect((await daemon().request.get('/bridges')).body.items[0].dns).toEqual(dns);
    const patched = await daemon()
      .request.patch('/bridges/br00')
      .send({ dns: ['127.0.0.1'] });
    expect([patched.body.dns, patched.body.revision]).toEqual([['127.0.0.1'], 2]);
    const without = await daemon().request.patch('/bridges/br00').send({ dns: null });
    expect([without.body.dns, without.body.revision]).toEqual([[], 3]);
  });

  test.each<[string, object, RegExp]>([
    ['no address', { dns: ['resolver.example'] }, /not an IPv4 or IPv6 address/],
    ['another line', { dns: ['10.1.1.1\noptions debug'] }, /not an IPv4 or IPv6 address/],
    ['an odd spelling', { dns: ['010.1.1.1'] }, /./],
    ['a multicast address', { dns: ['ff02::1'] }, /multicast/],
    ['a link-local address', { dns: ['fe80::1'] }, /link-local/],
    ['four', { dns: ['10.0.0.1', '10.0.0.2', '10.0.0.3', '10.0.0.4'] }, /3/],
    ['one twice', { dns: ['10.0.0.1', '10.0.0.1'] }, /./],
    ['no list', { dns: '10.0.0.1' }, /array/],
    ['no subnets', { dns: ['10.0.0.1'], subnets: [] }, /needs `subnets`/],
  ])('can’t be %s', async (_, body, message) => {
    const answer = await create({ subnets: ['10.1.1.0/24'], ...body });
    expect([answer.status, answer.body.detail]).toEqual([400, expect.stringMatching(message)]);
    expect((await daemon().request.get('/bridges')).body.items).toEqual([]);
  });
});
