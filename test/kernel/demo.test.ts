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
    expect(stdout).not.toContain('\u001B');
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

/** The commands that a document has its reader type, in order. */
async function commandsOf(document: string): Promise<string[]> {
  const text = await readFile(document, 'utf8');
  return [...text.matchAll(/^```sh\n(.*?)^```$/gms)].map(([, commands = '']) => commands);
}

/** Runs commands as a person would in `script/sandbox bash`, but ends at the first that fails. */
async function runTyped(blocks: readonly string[]): Promise<{ printed: string; left: string }> {
  const look = "echo '== left'\nip -br link show\niptables-save\nip netns list\n";
  const { stdout } = await execa('script/sandbox', [
    'bash',
    '-c',
    ['set -euo pipefail', ...blocks, look].join('\n'),
  ]);
  const [printed = '', left = ''] = stdout.split('\n== left\n');
  return { printed, left };
}

const MADE = /veth|br00|NETNSD|blue|red|green|40265/;

test('the walkthrough of README.md works as it is written there', { timeout: TIMEOUT_MS }, async () => {
  const { printed, left } = await runTyped(await commandsOf('README.md'));

  expect(printed).toMatch(/"received":[123],[^\n]*\nicmp [^\n]*src=203\.0\.113\.10 dst=198\.51\.100\.2/);
  expect(printed).toContain('\nhello from inside\n');
  expect(left).toContain('uplink0');
  expect(left).not.toMatch(MADE);
});

test('the commands of docs/api.md work as they are written there', { timeout: TIMEOUT_MS }, async () => {
  const [start = ''] = await commandsOf('README.md');
  const { printed, left } = await runTyped([start, ...(await commandsOf('docs/api.md'))]);

  expect(printed).toContain('"commands":["ip -n red link set dev eth0 down"');
  expect(printed).toMatch(/^idempotent-replayed: true/m);
  expect(left).toContain('uplink0');
  expect(left).not.toMatch(MADE);
});
