import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { startServer, temporaryDirectory } from '../support/server.ts';

/** The processes that ran a program, by what strace saw of all that a netnsd started. */
function programsIn(trace: string): Map<string, string[]> {
  const programs = new Map<string, string[]>();
  for (const [, pid = '', file = ''] of readFileSync(trace, 'utf8').matchAll(
    // Two that begin at once: what is told of one may come in the middle of the other.
    /^(\d+) +execve\("([^"]+)".*(?:\) = 0|<unfinished \.\.\.>)$/gm,
  ))
    programs.set(pid, [...(programs.get(pid) ?? []), file.split('/').at(-1) ?? '']);
  return programs;
}

describe('the processes that netnsd says it started', () => {
  it('are all that the kernel has seen', async () => {
    const trace = join(temporaryDirectory(), 'trace');
    const { curl, end } = await startServer(['--reconcile', 'off'], {
      through: ['strace', '-D', '-f', '-qq', '-e', 'trace=execve', '-o', trace],
    });
    const counted: number[] = [];
    const change = async (path: string, method: string, body?: object): Promise<void> => {
      const before = programsIn(trace).size;
      const { status } = await curl(path, method, body);
      expect(status).toBeLessThan(300);
      counted.push(programsIn(trace).size - before);
    };
    await change('/namespaces', 'POST', { name: 'blue', sysctls: { 'net.ipv4.ip_forward': '1' } });
    await change('/bridges', 'POST', { name: 'br00', addresses: ['10.1.1.3/24'] });
    const peer = {
      interface: 'eth0',
      namespace: 'blue',
      addresses: ['10.1.1.1/24'],
      routes: [{ to: 'default', via: '10.1.1.3' }],
    };
    await change('/links', 'POST', { name: 'veth00', type: 'veth', bridge: 'br00', peer });
    await change('/nat', 'POST', {
      name: 'out',
      type: 'masquerade',
      source: '10.1.1.0/24',
      inInterface: 'br00',
    });
    const { body } = await curl('/operations');
    const said = (body['items'] as { processes: number }[]).map(({ processes }) => processes).toReversed();
    expect(said).toEqual([2, 1, 2, 1]);
    expect(counted).toEqual(said);
    await change('/bridges/br00?cascade=true', 'DELETE');
    await change('/namespaces/blue', 'DELETE');
    await end();
  });
});
