import { execa } from 'execa';
import { describe, expect, it, onTestFinished } from 'vitest';
import { startDaemon } from '../support/daemon.ts';
import { run } from '../support/shell.ts';

/** A process in a network namespace of its own. */
async function startLonely(): Promise<{ pid: number; end: () => Promise<void> }> {
  const child = execa('unshare', ['--net', 'sleep', '60'], { reject: false });
  const end = async (): Promise<void> => {
    child.kill('SIGKILL');
    await child;
  };
  onTestFinished(end);
  const own = await run('readlink', '/proc/self/ns/net');
  await expect.poll(async () => run('readlink', `/proc/${String(child.pid)}/ns/net`)).not.toBe(own);
  return { pid: child.pid ?? 0, end };
}

async function sysctl(pid: number, key: string): Promise<string> {
  return run('nsenter', '-t', String(pid), '-n', 'sysctl', '-n', key);
}

const TTL = 'net.ipv4.ip_default_ttl';

describe('an adopted namespace', () => {
  it('keeps its sysctls when adopting it fails', async () => {
    const { request } = await startDaemon();
    const { pid } = await startLonely();
    const sysctls = { 'net.ipv4.ip_forward': '1', [TTL]: '9999' };
    const refused = await request.post('/namespaces').send({ name: 'ad', pid, sysctls });
    expect([refused.status, refused.body.type]).toEqual([422, '/problems/unprocessable']);
    expect(await sysctl(pid, 'net.ipv4.ip_forward')).toBe('0');
    expect(await run('ip', 'netns')).not.toContain('ad');
  });

  it('gets back what stood in its sysctls when it is let go, and goes on to be', async () => {
    const { request } = await startDaemon();
    const { pid } = await startLonely();
    await request.post('/namespaces').send({ name: 'ad', pid, sysctls: { [TTL]: '42' } });
    await request
      .post('/nat')
      .send({ name: 'out', namespace: 'ad', type: 'masquerade', source: '10.1.1.0/24' });
    expect([await sysctl(pid, TTL), await sysctl(pid, 'net.ipv4.ip_forward')]).toEqual(['42', '1']);
    expect((await request.delete('/namespaces/ad?cascade=true')).status).toBe(204);
    expect([await sysctl(pid, TTL), await sysctl(pid, 'net.ipv4.ip_forward')]).toEqual(['64', '0']);
    expect(await run('nsenter', '-t', String(pid), '-n', 'iptables-save')).not.toContain('NETNSD');
  });

  it('can be exchanged for another, which gets the sysctls; the one before gets its own back', async () => {
    const { request } = await startDaemon();
    const [first, second] = [await startLonely(), await startLonely()];
    await request.post('/namespaces').send({ name: 'ad', sysctls: { [TTL]: '42' } });
    for (const { pid } of [first, second]) {
      const changed = await request.patch('/namespaces/ad').send({ pid });
      expect(changed.body).toMatchObject({ pid, status: { state: 'ready' } });
      expect(await sysctl(pid, TTL)).toBe('42');
    }
    expect(await sysctl(first.pid, TTL)).toBe('64');
    await request.delete('/namespaces/ad');
    expect(await sysctl(second.pid, TTL)).toBe('64');
  });

  it('can be changed when the process is dead, and is not looked for under its number again', async () => {
    const { request } = await startDaemon();
    const { pid, end } = await startLonely();
    const { body } = await request.post('/namespaces').send({ name: 'ad', pid });
    await end();
    const changed = await request.patch('/namespaces/ad').send({ labels: { a: 'b' } });
    expect(changed.status).toBe(200);
    expect(changed.body).toMatchObject({
      labels: { a: 'b' },
      status: { state: 'ready', inode: body.status.inode },
    });
  });

  it('is not that of the daemon, nor one that is adopted already, nor of no process', async () => {
    const { request } = await startDaemon();
    const { pid } = await startLonely();
    await request.post('/namespaces').send({ name: 'ad', pid });
    for (const taken of [process.pid, pid, 4_000_000])
      expect((await request.post('/namespaces').send({ name: 'again', pid: taken })).status).toBe(422);
  });
});
