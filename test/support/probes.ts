import { once } from 'node:events';
import { execa } from 'execa';
import { onTestFinished } from 'vitest';

/** How to run a command in a namespace; null is the sandbox itself. */
function within(namespace: string | null, command: readonly string[]): [string, string[]] {
  const [file = '', ...args] = command;
  return namespace === null ? [file, args] : ['ip', ['netns', 'exec', namespace, ...command]];
}

/** Answers on TCP and UDP, both families, until the test is over. */
export async function serve(namespace: string | null, ports: readonly number[]): Promise<void> {
  const script = `for (const p of ${JSON.stringify(ports)}) {
    require('node:net').createServer((s) => { s.on('error', () => {}); s.end('tcp'); }).listen(p, '::');
    const u = require('node:dgram').createSocket('udp6');
    u.on('message', (_, r) => u.send('udp', r.port, r.address));
    u.bind(p);
  }
  setTimeout(() => console.log('ready'), 100)`;
  const [file, args] = within(namespace, [process.execPath, '-e', script]);
  const child = execa(file, args, { reject: false });
  onTestFinished(async () => {
    child.kill('SIGKILL');
    await child;
  });
  await once(child.stdout, 'data');
}

/** The kernel sends again what was lost, and asks for a neighbor again, after a second. */
const PATIENCE_MS = 1500;
/** So long is waited for what is not to come: what is on its way is there by then. */
export const BRIEFLY_MS = 600;

/**
 * By which protocols a port of a host is reached: `tcp`, `udp` and, of the host itself, `icmp`. As soon as it is by all of
 * them, or when there has been time enough.
 */
export async function reached(
  from: string | null,
  host: string,
  port: number,
  patienceMs = PATIENCE_MS,
): Promise<string[]> {
  const family = host.includes(':') ? 6 : 4;
  const script = `
    const by = new Set();
    const end = () => { process.stdout.write([...by].join(' ')); process.exit(0); };
    const say = (d) => { by.add(String(d)); if (by.size === 2) end(); };
    const t = require('node:net').connect(${port}, '${host}'); t.on('data', say); t.on('error', () => {});
    const u = require('node:dgram').createSocket('udp${family}'); u.on('message', say); u.on('error', () => {});
    const ask = () => u.send('?', ${port}, '${host}');
    ask(); setInterval(ask, ${PATIENCE_MS / 5});
    setTimeout(end, ${patienceMs});`;
  const patiently = patienceMs < 1000 ? ['-W', String(patienceMs / 1000)] : ['-i', '0.25', '-w', '2'];
  const run = async (command: readonly string[]) => execa(...within(from, command), { reject: false });
  const [{ stdout }, ping] = await Promise.all([
    run([process.execPath, '-e', script]),
    run(['ping', '-n', '-c', '1', ...patiently, host]),
  ]);
  return [...(ping.exitCode === 0 ? ['icmp'] : []), ...stdout.split(' ').filter(Boolean)].toSorted();
}

/**
 * Opens a flow by UDP that stays open until the test is over, from one port; what is given sends once more and tells whether
 * an answer comes.
 */
export async function openFlow(
  from: string | null,
  host: string,
  port: number,
): Promise<() => Promise<boolean>> {
  const script = `
    const u = require('node:dgram').createSocket('udp${host.includes(':') ? 6 : 4}');
    let patience;
    const say = (d) => { if (patience) console.log(d); clearTimeout(patience); patience = undefined; };
    u.on('message', () => say('yes')); u.on('error', () => {});
    process.stdin.on('data', () => { u.send('?', ${port}, '${host}'); patience = setTimeout(say, ${PATIENCE_MS}, 'no'); });`;
  const [file, args] = within(from, [process.execPath, '-e', script]);
  const child = execa(file, args, { reject: false });
  onTestFinished(async () => {
    child.kill('SIGKILL');
    await child;
  });
  return async () => {
    child.stdin.write('\n');
    const [said] = (await once(child.stdout, 'data')) as [Buffer];
    return String(said).trim() === 'yes';
  };
}

/** Runs a command in the sandbox that changes it, and the one that takes that back when the test is over. */
export async function meanwhile(command: string, back: string): Promise<void> {
  await execa('sh', ['-c', command]);
  onTestFinished(async () => {
    await execa('sh', ['-c', back]);
  });
}
