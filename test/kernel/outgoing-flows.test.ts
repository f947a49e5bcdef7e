import { describe, expect, it, onTestFinished } from 'vitest';
import { create } from '../support/create.ts';
import { startDaemon } from '../support/daemon.ts';
import { background, makeNetwork, neverPausing, processesOf } from '../support/published.ts';
import { run } from '../support/shell.ts';

const OTHER = '198.51.100.3';
const OTHER6 = '2001:db8:51::3';

/** Answers with the address that it is asked from. */
async function sayWho(port: number): Promise<void> {
  await background(
    'internet',
    `const s = require('node:dgram').createSocket('udp6'); s.on('message', (_, r) => s.send(r.address.replace('::ffff:', ''), r.port, r.address)); s.bind(${port}, () => console.log('ready'))`,
  );
}

describe('a UDP flow on its way out that never pauses', () => {
  it('has the source that the rule gives once that changes, in either family', async () => {
    const daemon = await startDaemon();
    await makeNetwork(daemon);
    const { request } = daemon;
    await run('ip', 'address', 'add', `${OTHER}/24`, 'dev', 'uplink0');
    onTestFinished(async () => void (await run('ip', 'address', 'del', `${OTHER}/24`, 'dev', 'uplink0')));
    await run('ip', 'address', 'add', `${OTHER6}/64`, 'dev', 'uplink0', 'nodad', 'preferred_lft', '0');
    onTestFinished(async () => void (await run('ip', 'address', 'del', `${OTHER6}/64`, 'dev', 'uplink0')));
    await sayWho(5353);
    await create(
      request,
      '/nat',
      { name: 'out', type: 'masquerade', bridge: 'br00', outInterface: 'uplink0' },
      { name: 'six', type: 'masquerade', source: 'fd00:1::/64' },
    );
    const four = neverPausing('blue', '198.51.100.1', 5353);
    const six = neverPausing('blue', '2001:db8:51::1', 5353);
    await expect.poll(four).toBe('198.51.100.2');
    await expect.poll(six).toBe('2001:db8:51::2');

    const dry = await request
      .patch('/nat/out?dryRun=true')
      .send({ type: 'snat', toAddress: OTHER })
      .expect(200);
    expect(dry.body.commands).toContain('conntrack -D -f ipv4 -p udp --orig-src 10.1.1.0/24');
    await request.patch('/nat/out').send({ type: 'snat', toAddress: OTHER }).expect(200);
    expect(await processesOf(daemon)).toBe(2);
    await expect.poll(four).toBe(OTHER);
    await request.patch('/nat/six').send({ type: 'snat', toAddress: OTHER6 }).expect(200);
    await expect.poll(six).toBe(OTHER6);
    await request.patch('/nat/out').send({ toAddress: '198.51.100.2' }).expect(200);
    await expect.poll(four).toBe('198.51.100.2');

    // What lets other traffic pass, or is about the rule alone, forgets nothing.
    for (const change of [{ forward: 'any' }, { labels: { a: 'b' } }]) {
      const { body } = await request.patch('/nat/out?dryRun=true').send(change).expect(200);
      expect(JSON.stringify(body.commands)).not.toContain('conntrack -D');
    }
  });
});
