import { execa } from 'execa';
import { expect, it } from 'vitest';
import { startDaemon } from '../support/daemon.ts';
import { kernelDifferences, kernelState } from '../support/kernel-state.ts';
import { run, rulesOf } from '../support/shell.ts';

const published = {
  name: 'www',
  type: 'dnat',
  protocol: 'tcp',
  port: '8080',
  to: { address: '10.1.1.1', port: '80' },
};

/**
 * Exchanges a rule of netnsd for one that reads the same and is of another revision, as one that was made with another
 * release of iptables may be: without an answer of the kernel, iptables takes the oldest revision that it knows.
 */
async function makeOfOldRevision(rule: string): Promise<void> {
  const [, chain, ...spec] = rule.split(' ');
  const args = [chain, ...spec.map((word) => word.replaceAll('"', ''))].filter((word) => word !== undefined);
  for (let answer = 1; answer <= 20; answer++) {
    await run('iptables', '-w', '-D', ...args);
    const inject = `inject=recvmsg,getsockopt:error=EIO:when=${answer}`;
    await execa('strace', ['-qq', '-o', '/dev/null', '-e', inject, 'iptables', '-w', '-A', ...args], {
      reject: false,
    });
    if (!(await rulesOf(null)).includes(rule)) await run('iptables', '-w', '-A', ...args);
    else if ((await execa('iptables', ['-w', '-C', ...args], { reject: false })).exitCode !== 0) return;
  }
  throw new Error('no answer changes the revision');
}

it.each(['delete', 'patch'] as const)('a rule of another revision is no obstacle: %s', async (method) => {
  const before = await kernelState();
  const { request } = await startDaemon();
  await request.post('/nat').send(published).expect(201);
  const rule = (await rulesOf(null)).find((line) => line.includes('--ctstate DNAT')) ?? '';
  await makeOfOldRevision(rule);
  if (method === 'patch') {
    await request
      .patch('/nat/www')
      .send({ to: { address: '10.1.1.2' } })
      .expect(200);
    expect(await rulesOf(null)).not.toContain(rule);
    expect((await request.get('/drift')).body.items).toEqual([]);
  }
  await request.delete('/nat/www').expect(204);
  expect(kernelDifferences(before, await kernelState())).toEqual([]);
});
