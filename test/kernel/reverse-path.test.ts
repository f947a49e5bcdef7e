import { readFile } from 'node:fs/promises';
import { expect, it } from 'vitest';
import { startDaemon } from '../support/daemon.ts';
import { meanwhile } from '../support/probes.ts';
import { run } from '../support/shell.ts';
import { startProber } from '../support/prober.ts';

const rpFilter = async (name: string): Promise<string> =>
  (await readFile(`/proc/sys/net/ipv4/conf/${name}/rp_filter`, 'utf8')).trim();

/** Reverse path filtering as many distributions have it: strict for all, and for what comes. */
async function filterStrictly(): Promise<void> {
  for (const name of ['all', 'default']) {
    const file = `/proc/sys/net/ipv4/conf/${name}/rp_filter`;
    const before = await rpFilter(name);
    await meanwhile(`echo 1 >${file}`, `echo ${before} >${file}`);
  }
}

it('a namespace on two networks is reached by what it publishes on either, though the host filters strictly', async () => {
  await filterStrictly();
  const { request } = await startDaemon();
  for (const n of [1, 2])
    await request
      .post('/bridges')
      .send({ name: `br0${n}`, subnets: [`10.1.${n}.0/24`] })
      .expect(201);
  expect([await rpFilter('br01'), await rpFilter('br02')]).toEqual(['2', '2']);
  await request.post('/namespaces').send({ name: 'two' }).expect(201);
  for (const n of [1, 2]) {
    const routes = n === 2 ? [{ to: 'default', via: 'auto' }] : [];
    const peer = { interface: `eth${n}`, namespace: 'two', addresses: ['auto'], routes };
    await request
      .post('/links')
      .send({ name: `l${n}`, type: 'veth', bridge: `br0${n}`, peer })
      .expect(201);
    const to = { link: `l${n}`, port: '80' };
    await request
      .post('/nat')
      .send({ name: `web${n}`, type: 'dnat', protocol: 'tcp', port: `808${n}`, to })
      .expect(201);
  }
  await startProber({ name: 'two', namespace: 'two', tcp: [80], udp: [] });
  const ask = await startProber({ name: 'internet', namespace: 'internet', tcp: [], udp: [] });
  for (const port of [8082, 8081])
    await expect
      .poll(async () => [port, await ask({ protocol: 'tcp', host: '198.51.100.2', port })])
      .toEqual([port, 'two']);
  // Without it the answers of the first are dropped, since they come in by the second bridge.
  await run('sysctl', '-qw', 'net.ipv4.conf.br02.rp_filter=1');
  expect(await ask({ protocol: 'tcp', host: '198.51.100.2', port: 8081 })).toBeNull();
  expect((await request.get('/bridges/br02')).body.status).toMatchObject({
    state: 'drifted',
    differences: [{ intended: 'net.ipv4.conf.br02.rp_filter=2', observed: 'net.ipv4.conf.br02.rp_filter=1' }],
  });
  const { headers } = await request.post('/reconcile').expect(202);
  await expect
    .poll(async () => (await request.get(String(headers['location']))).body.state)
    .toBe('succeeded');
  await expect.poll(async () => ask({ protocol: 'tcp', host: '198.51.100.2', port: 8081 })).toBe('two');
});

it('a bridge checks source addresses loosely as long as it has a firewall and an IPv4 address', async () => {
  await filterStrictly();
  const { request } = await startDaemon();
  const addresses = ['10.1.1.1/24'];
  await request.post('/bridges').send({ name: 'br01', addresses, firewall: {} }).expect(201);
  await request
    .post('/bridges')
    .send({ name: 'br02', addresses: ['10.1.2.1/24'] })
    .expect(201);
  expect([await rpFilter('br01'), await rpFilter('br02')]).toEqual(['2', '1']);
  expect((await request.get('/drift')).body.items).toEqual([]);
  await request.patch('/bridges/br01').send({ firewall: null }).expect(200);
  expect(await rpFilter('br01')).toBe('1');
  await request.patch('/bridges/br01').send({ firewall: {}, interface: 'lan1' }).expect(200);
  expect(await rpFilter('lan1')).toBe('2');
  await request.patch('/bridges/br01').send({ addresses: [] }).expect(200);
  expect(await rpFilter('lan1')).toBe('1');
});
