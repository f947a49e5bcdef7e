import { createInterface } from 'node:readline';
import { execa } from 'execa';
import { onTestFinished } from 'vitest';

export type Protocol = 'tcp' | 'udp' | 'icmp';

export interface Probe {
  protocol: Protocol;
  host: string;
  port: number;
  /** The address to send from; the kernel's choice if left out. */
  source?: string;
  /** How many bytes to send, and to have sent back; 1 if left out. Not for ICMP. */
  bytes?: number;
}

/** Asks who answers: the name of a prober, `icmp` for a ping that comes back, null for nobody. Many at a time. */
export type Prober = (probe: Probe) => Promise<string | null>;

export interface Place {
  /** What it answers with. */
  name: string;
  /** The sandbox itself is null. */
  namespace: string | null;
  tcp: readonly number[];
  udp: readonly number[];
  /** Where it answers by UDP: from `::` an answer has the address that is nearest, not the one that was asked. */
  addresses?: readonly string[];
}

const PATIENCE_MS = 350;

/**
 * One process that stays in a namespace until the test is over: it answers at its TCP and UDP ports, both families, with its
 * name and as many bytes as it was sent, and probes others as it is told by lines on its standard input.
 */
export async function startProber({ name, namespace, tcp, udp, addresses = ['::'] }: Place): Promise<Prober> {
  const settings = [name, tcp, udp, PATIENCE_MS, addresses].map((each) => JSON.stringify(each));
  const inside = namespace === null ? [] : [`--net=/run/netns/${namespace}`];
  const child = execa('nsenter', [...inside, '--', process.execPath, '-e', SCRIPT, ...settings], {
    reject: false,
    buffer: false,
  });
  onTestFinished(async () => {
    child.kill('SIGKILL');
    await child;
  });
  const waiting = new Map<number, (answer: string | null) => void>();
  const lines = createInterface({ input: child.stdout });
  await new Promise<void>((resolve, reject) => {
    lines.on('line', (line) => {
      if (line === 'ready') {
        resolve();
        return;
      }
      const [id, answer] = JSON.parse(line) as [number, string | null];
      waiting.get(id)?.(answer);
      waiting.delete(id);
    });
    lines.on('close', () => {
      reject(new Error(`the prober of ${name} has ended`));
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

// A question ends with a newline, an answer too. By UDP what is big is sent again: the first is lost to learn its size.
const SCRIPT = `
const net = require('node:net'), dgram = require('node:dgram'), { spawn } = require('node:child_process');
const [name, tcp, udp, patience, addresses] = process.argv.slice(1).map((each) => JSON.parse(each));
process.on('uncaughtException', () => {});
const answer = (bytes) => name.padEnd(bytes - 1) + '\\n';
const serve = (s) => {
  let bytes = 0;
  s.on('error', () => {});
  s.on('data', (data) => { bytes += data.length; if (data.at(-1) === 10) s.end(answer(bytes)); });
};
const listening = [
  ...tcp.map((port) => new Promise((done) => net.createServer({ allowHalfOpen: true }, serve).listen(port, '::', done))),
  ...udp.flatMap((port) => addresses.map((address) => new Promise((done) => {
    const s = dgram.createSocket(address.includes(':') ? 'udp6' : 'udp4'); s.on('error', () => {});
    s.on('message', (data, from) => s.send(answer(data.length), from.port, from.address)); s.bind(port, address, done); }))),
];
const probes = {
  tcp: ({ host, port, source, question }, done) => {
    const s = net.connect({ host, port, localAddress: source });
    let text = '';
    s.on('connect', () => s.write(question));
    s.on('data', (data) => { text += data; if (text.endsWith('\\n') && text.length >= question.length) done(text.trim()); });
    s.on('error', () => done(null));
    return () => s.destroy();
  },
  udp: ({ host, port, source, question }, done) => {
    const s = dgram.createSocket(host.includes(':') ? 'udp6' : 'udp4');
    const send = () => s.send(question, port, host);
    s.on('message', (data) => done(String(data).trim())); s.on('error', () => done(null));
    const again = question.length > 1 ? setInterval(send, patience / 7) : undefined;
    s.bind({ address: source }, send);
    return () => { clearInterval(again); s.close(); };
  },
  icmp: ({ host, source }, done) => {
    const from = source === undefined ? [] : ['-I', source];
    const s = spawn('ping', ['-n', '-q', '-c', '1', '-W', String(patience / 1000), ...from, host], { stdio: 'ignore' });
    s.on('exit', (code) => done(code === 0 ? 'icmp' : null));
    return () => s.kill('SIGKILL');
  },
};
function probe({ id, protocol, bytes = 1, ...to }) {
  let stop = () => {}, timer, isOver = false;
  const done = (by) => {
    if (isOver) return;
    isOver = true;
    clearTimeout(timer);
    stop();
    process.stdout.write(JSON.stringify([id, by]) + '\\n');
  };
  timer = setTimeout(() => done(null), patience);
  stop = probes[protocol]({ ...to, question: '\\n'.padStart(bytes, '.') }, done);
}
require('node:readline').createInterface({ input: process.stdin })
  .on('line', (line) => probe(JSON.parse(line))).on('close', () => process.exit());
Promise.all(listening).then(() => console.log('ready'));
`;
