import { createInterface } from 'node:readline';
import { execa } from 'execa';
import { onTestFinished } from 'vitest';

export const protocols = ['tcp', 'udp', 'icmp'] as const;
export type Protocol = (typeof protocols)[number];

export interface Probe {
  protocol: Protocol;
  host: string;
  port: number;
  /** The address to send from; the kernel's choice if left out. */
  source?: string;
}

/** Asks whether something answers; many at a time. */
export type Prober = (probe: Probe) => Promise<boolean>;

const PATIENCE_MS = 350;

/**
 * One process that stays in a namespace (null: the sandbox itself) until the test is over: it answers at its TCP and UDP
 * ports, both families, and probes others as it is told by lines on its standard input.
 *
 * @param addresses where it answers by UDP: from `::` an answer has the address that is nearest, not the one that was asked
 */
export async function startProber(
  namespace: string | null,
  ports: readonly number[],
  addresses: readonly string[] = ['::'],
): Promise<Prober> {
  const settings = [ports, PATIENCE_MS, addresses].map((each) => JSON.stringify(each));
  const command = [process.execPath, '-e', SCRIPT, ...settings];
  const child = execa(
    'nsenter',
    [...(namespace === null ? [] : [`--net=/run/netns/${namespace}`]), '--', ...command],
    {
      reject: false,
      buffer: false,
    },
  );
  onTestFinished(async () => {
    child.kill('SIGKILL');
    await child;
  });
  const waiting = new Map<number, (isReached: boolean) => void>();
  const lines = createInterface({ input: child.stdout });
  await new Promise<void>((resolve, reject) => {
    lines.on('line', (line) => {
      if (line === 'ready') {
        resolve();
        return;
      }
      const [id, isReached] = JSON.parse(line) as [number, boolean];
      waiting.get(id)?.(isReached);
      waiting.delete(id);
    });
    lines.on('close', () => {
      reject(new Error('the prober has ended'));
    });
  });
  let last = 0;
  return async (probe) =>
    new Promise((resolve) => {
      const id = (last += 1);
      waiting.set(id, resolve);
      child.stdin.write(`${JSON.stringify({ id, ...probe })}\n`);
    });
}

const SCRIPT = `
const net = require('node:net'), dgram = require('node:dgram'), { spawn } = require('node:child_process');
const [ports, patience, addresses] = process.argv.slice(1).map((each) => JSON.parse(each));
process.on('uncaughtException', () => {});
const listening = ports.flatMap((port) => [
  new Promise((done) => net.createServer((s) => { s.on('error', () => {}); s.end('tcp'); }).listen(port, '::', done)),
  ...addresses.map((address) => new Promise((done) => {
    const s = dgram.createSocket(address.includes(':') ? 'udp6' : 'udp4'); s.on('error', () => {});
    s.on('message', (_, from) => s.send('udp', from.port, from.address)); s.bind(port, address, done); })),
]);
const probes = {
  tcp: ({ host, port, source }, done) => {
    const s = net.connect({ host, port, localAddress: source });
    s.on('data', () => done(true)); s.on('error', () => done(false));
    return () => s.destroy();
  },
  udp: ({ host, port, source }, done) => {
    const s = dgram.createSocket(host.includes(':') ? 'udp6' : 'udp4');
    s.on('message', () => done(true)); s.on('error', () => done(false));
    s.bind({ address: source }, () => s.send('?', port, host));
    return () => s.close();
  },
  icmp: ({ host, source }, done) => {
    const from = source === undefined ? [] : ['-I', source];
    const s = spawn('ping', ['-n', '-q', '-c', '1', '-W', String(patience / 1000), ...from, host], { stdio: 'ignore' });
    s.on('exit', (code) => done(code === 0));
    return () => s.kill('SIGKILL');
  },
};
function probe({ id, protocol, ...to }) {
  let stop = () => {}, timer, isOver = false;
  const done = (isReached) => {
    if (isOver) return;
    isOver = true;
    clearTimeout(timer);
    stop();
    process.stdout.write(JSON.stringify([id, isReached]) + '\\n');
  };
  timer = setTimeout(() => done(false), patience);
  stop = probes[protocol](to, done);
}
require('node:readline').createInterface({ input: process.stdin })
  .on('line', (line) => probe(JSON.parse(line))).on('close', () => process.exit());
Promise.all(listening).then(() => console.log('ready'));
`;
