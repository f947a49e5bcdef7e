import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { create } from '../support/create.ts';
import { sharedDaemon } from '../support/daemon.ts';
import { ipJson, run } from '../support/shell.ts';

/** Puts a text in the place of a file of the machine, until the test is over. */
async function covered(file: string, text: string): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'netnsd-names-'));
  const cover = join(directory, basename(file));
  writeFileSync(cover, text);
  await run('mount', '--bind', cover, file);
  onTestFinished(async () => {
    await run('umount', file);
    rmSync(directory, { recursive: true });
  });
}

const routes = [
  { to: '10.9.0.0/16', via: '10.7.0.9', table: 100 },
  { to: 'fd09::/64', via: 'fd07::9', table: 1000, metric: 7 },
  { to: '10.10.0.0/16', via: '10.7.0.9' },
];
const addresses = ['10.7.0.1/24', 'fd07::1/64'];

/** What `ip` without `-N` prints of the group of a device, and of the tables of its routes of netnsd's protocol. */
async function printed(device: string): Promise<unknown[]> {
  const [shown] = await ipJson('link', 'show', device);
  const own = await ipJson('route', 'show', 'table', 'all', 'proto', 'netnsd', 'dev', device);
  return [shown?.['group'], ...own.map(({ table }) => table)];
}

describe('on a machine that has names for routing tables, for the protocol of netnsd and for its group', () => {
  const daemon = sharedDaemon();

  beforeEach(async () => {
    await covered('/etc/iproute2/rt_tables', '254 first\n255 own\n100 isp1\n0x3e8 isp2\n');
    await covered('/etc/iproute2/rt_protos', '2 core\n3 up\n115 netnsd\n116 cloud\n');
    await covered('/etc/iproute2/group', '0 all\n20851 netnsd\n');
  });

  it('a link and a bridge with routes there are ready and no drift, are changed and mended, and go', async () => {
    const { request } = daemon();
    await create(request, '/namespaces', { name: 'blue' });
    const peer = { interface: 'eth0', namespace: 'blue', addresses, routes };
    await create(request, '/links', { name: 'v0', type: 'veth', peer });
    await create(request, '/bridges', {
      name: 'br00',
      addresses: ['10.8.0.1/24'],
      routes: [{ to: '10.11.0.0/16', via: '10.8.0.9', table: 100 }],
    });
    expect(await printed('br00')).toEqual(['netnsd', 'isp1']);
    expect((await request.get('/drift')).body).toMatchObject({ items: [], unrecorded: [] });
    await run('ip', '-n', 'blue', 'route', 'delete', '10.9.0.0/16', 'table', '100');
    const [difference] = (await request.get('/drift')).body.items[0].differences;
    expect(difference.path).toBe('/peer/routes');
    const tables = (difference.observed as { table: number }[]).map(({ table }) => table);
    expect(tables.toSorted((a, b) => a - b)).toEqual([254, 1000]);
    const { headers } = await request.post('/reconcile').expect(202);
    await expect
      .poll(async () => (await request.get(String(headers['location']))).body.state)
      .toBe('succeeded');
    expect((await request.get('/drift')).body.items).toEqual([]);
    const less = await request.patch('/links/v0').send({ peer: { routes: routes.slice(1) } });
    expect([less.status, less.body.status.state]).toEqual([200, 'ready']);
    expect(await run('ip', '-n', 'blue', 'route', 'show', 'table', '100')).toBe('');
    await request.delete('/links/v0').expect(204);
    await request.delete('/bridges/br00').expect(204);
    expect(await run('ip', '-br', 'link')).not.toMatch(/v0|br00/);
  });

  it('what others made is adopted with its routes, and is no drift', async () => {
    const { request } = daemon();
    await run('ip', 'link', 'add', 'br-old', 'type', 'bridge');
    onTestFinished(async () => void (await run('sh', '-c', 'ip link delete br-old 2>/dev/null || true')));
    await run('ip', 'link', 'set', 'br-old', 'up');
    for (const address of addresses)
      await run('ip', 'address', 'add', address, 'dev', 'br-old', ...nodad(address));
    await run('ip', 'route', 'add', '10.9.0.0/16', 'via', '10.7.0.9', 'table', '100', 'proto', '116');
    await run('ip', 'route', 'add', 'fd09::/64', 'via', 'fd07::9', 'table', 'isp2', 'metric', '7');
    await run('ip', 'route', 'add', '10.10.0.0/16', 'via', '10.7.0.9');
    const adopted = await request.put('/bridges/br-old?adopt=true').send({ addresses, routes });
    expect([adopted.status, adopted.body.status?.state]).toEqual([201, 'ready']);
    expect(await printed('br-old')).toEqual(['netnsd', 'isp1', 'first', 'isp2']);
    expect((await request.get('/drift')).body).toMatchObject({ items: [], unrecorded: [] });
  });

  it('the routing table has numbers of tables, and says of a protocol what the machine calls it', async () => {
    const { request } = daemon();
    await create(request, '/bridges', { name: 'br00', addresses, routes });
    await run('ip', 'route', 'add', '10.12.0.0/16', 'via', '10.7.0.9', 'proto', '116');
    const { body } = await request.get('/namespaces/host/routes');
    const items = body.items as { to: string }[];
    const at = (to: string): unknown => items.find((route) => route.to === to);
    expect(at('10.9.0.0/16')).toMatchObject({
      table: 100,
      protocol: '115',
      scope: 'global',
      type: 'unicast',
    });
    expect(at('fd09::/64')).toMatchObject({ table: 1000, protocol: '115' });
    expect(at('10.12.0.0/16')).toMatchObject({ table: 254, protocol: 'cloud' });
    expect(at('10.7.0.0/24')).toMatchObject({ table: 254, protocol: 'kernel', scope: 'link' });
    expect(at('10.7.0.1/32')).toMatchObject({ table: 255, type: 'local', scope: 'host' });
  });
});

function nodad(address: string): string[] {
  return address.includes(':') ? ['nodad'] : [];
}
