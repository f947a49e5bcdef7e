import { readFile } from 'node:fs/promises';
import { execa } from 'execa';
import { expect, test } from 'vitest';

// What is run here builds if that is due, and pings.
const TIMEOUT_MS = 120_000;

test(
  'script/demo shows the walkthrough to its end and ends with the ping to the outside',
  { timeout: TIMEOUT_MS },
  async () => {
    const { stdout, stderr } = await execa('script/demo');

    expect(stderr).toBe('');
    expect(stdout).not.toContain('\u001b');
    // The requests, the answers and the commands behind them.
    expect(stdout).toMatch(
      /^ {2}\$ curl --unix-socket \/run\/netnsd\/netnsd\.sock http:\/\/localhost\/namespaces \\$/m,
    );
    expect(stdout).toMatch(/^ {4}ip netns attach \d+ \d+$/m);
    expect(stdout).toMatch(/"bridgeId": "8000\.[0-9a-f]{12}", "stp": false, "ports": \["veth00"\]/);
    expect(stdout).toContain('"name": "docker0", "managed": false');
    expect(stdout).toContain('"type": "/problems/limit-reached", "status": 507');
    expect(stdout).toMatch(/"namespace": "\d+", "protocol": "tcp", "state": "listen"/);
    expect(stdout).toContain('\n  hello from inside\n');
    // Before there is translation nobody answers; then the uplink's address explains why somebody does.
    expect(stdout).toContain('{ "transmitted": 1, "received": 0, "lossPercent": 100, "rtt": null }');
    expect(stdout).toMatch(/src=10\.1\.1\.1 dst=203\.0\.113\.10 .* src=203\.0\.113\.10 dst=198\.51\.100\.2 /);
    expect(stdout).toContain('exactly as they were before');
    expect(stdout.split('\n').at(-1)).toMatch(/^ {2}ping 203\.0\.113\.10: 3 sent, [123] answered/);
  },
);

test('the walkthrough of README.md works as it is written there', { timeout: TIMEOUT_MS }, async () => {
  const readme = await readFile('README.md', 'utf8');
  const blocks = [...readme.matchAll(/^```sh\n(.*?)^```$/gms)].map(([, commands]) => commands);
  expect(blocks.length).toBeGreaterThan(5);

  // As a person would in `script/sandbox bash`, but ending at the first call that is refused.
  const script = `set -euo pipefail\n${blocks.join('\n')}\nip -br link show; iptables-save; ip netns list`;
  const { stdout } = await execa('script/sandbox', ['bash', '-c', script]);

  expect(stdout).toMatch(/"received":[123],.*\nicmp .*src=203\.0\.113\.10 dst=198\.51\.100\.2/);
  expect(stdout).toContain('\nhello from inside\n');
  const [, left] = stdout.split('\nhello from inside\n');
  expect(left).not.toMatch(/veth00|br00|NETNSD|4026/);
});
