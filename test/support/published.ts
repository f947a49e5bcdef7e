import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { execa } from 'execa';
import { expect, onTestFinished } from 'vitest';
import type { Daemon } from './daemon.ts';
import { run } from './shell.ts';

/** The addresses of the sandbox at its uplink. */
export const HOST_ADDRESS = '198.51.100.2';
export const HOST_ADDRESS6 = '2001:db8:51::2';

/** Processes that set hairpin mode: none where the kernel does not filter bridges. */
export const hairpins = existsSync('/proc/sys/net/bridge') ? 1 : 0;

/** `blue` (.1) and `red` (.2) behind br00, with both families and default routes. */
export async function makeNetwork({ request }: Daemon): Promise<void> {
  await request.post('/bridges').send({ name: 'br00', addresses: ['10.1.1.3/24', 'fd00:1::3/64'] });
  for (const [at, name] of ['blue', 'red'].entries()) {
    await request.post('/namespaces').send({ name });
    const routes = [
      { to: 'default', via: '10.1.1.3' },
      { to: 'default', via: 'fd00:1::3' },
    ];
    const addresses = [`10.1.1.${at + 1}/24`, `fd00:1::${at + 1}/64`];
    const peer = { interface: 'eth0', namespace: name, addresses, routes };
    const link = { name: `to-${name}`, type: 'veth', bridge: 'br00', peer };
    expect((await request.post('/links').send(link)).status).toBe(201);
  }
}

function inside(namespace: string | null, ...args: string[]): [string, string[]] {
  const [file = '', ...rest] = args;
  return namespace === null ? [file, rest] : ['ip', ['netns', 'exec', namespace, ...args]];
}

/** Gives the id of the process, not the process, which is a promise of its end. */
export async function background(namespace: string | null, script: string): Promise<number | undefined> {
  const child = execa(...inside(namespace, process.execPath, '-e', script), { reject: false });
  onTestFinished(async () => {
    child.kill('SIGKILL');
    await child;
  });
  await once(child.stdout, 'data');
  return child.pid;
}

/** Listens on a port, and answers with its own name and the client's address. */
export async function listen(namespace: string | null, protocol: 'tcp' | 'udp', port: number, at = '::') {
  const name = namespace ?? 'host';
  const tcp = `require('node:net').createServer((s) => s.end('${name} to ' + s.remoteAddress.replace('::ffff:', ''))).listen(${port}, '${at}', () => console.log('ready'))`;
  const udp = `const s = require('node:dgram').createSocket('udp6'); s.on('message', (_, r) => s.send('${name}', r.port, r.address)); s.bind(${port}, () => console.log('ready'))`;
  return background(namespace, protocol === 'tcp' ? tcp : udp);
}

/** What an address and port answer within two seconds, or nothing: what was lost is sent again after one. */
export async function ask(
  from: string | null,
  host: string,
  port: number,
  protocol: 'tcp' | 'udp' = 'tcp',
  source = '',
): Promise<string> {
  const tcp = `const s = require('node:net').connect({ port: ${port}, host: '${host}', localAddress: '${source}' || undefined }); s.on('data', (d) => process.stdout.write(d)); s.on('error', () => process.exit(1)); s.setTimeout(2000, () => process.exit(1))`;
  const udp = `const s = require('node:dgram').createSocket('udp${host.includes(':') ? 6 : 4}'); s.on('message', (d) => { process.stdout.write(d); process.exit(0) }); const ask = () => s.send('?', ${port}, '${host}'); ask(); setInterval(ask, 400); setTimeout(() => process.exit(1), 2000)`;
  const { stdout } = await execa(...inside(from, process.execPath, '-e', protocol === 'tcp' ? tcp : udp), {
    reject: false,
    timeout: 20_000,
  });
  return stdout;
}

/** Port 8080 of the host, to port 80 of `blue`. */
export const web = {
  name: 'web',
  type: 'dnat',
  protocol: 'tcp',
  port: '8080',
  to: { address: '10.1.1.1', port: '80' },
};

/** `route_localnet` of an interface of the host. */
export async function localnet(device = 'br00'): Promise<string> {
  return (await run('cat', `/proc/sys/net/ipv4/conf/${device}/route_localnet`)).trim();
}

/** How many processes the latest change took. */
export async function processesOf({ request }: Daemon): Promise<number> {
  const { body } = await request.get('/operations?limit=1');
  return body.items[0].processes;
}

/** A UDP sender that never pauses, from one port all the while; gives what was last answered, and '' for nothing since asked. */
export function neverPausing(from: string | null, host: string, port: number): () => Promise<string> {
  const script = `const s = require('node:dgram').createSocket('udp${host.includes(':') ? 6 : 4}'); s.on('message', (d) => console.log(String(d))); setInterval(() => s.send('?', ${port}, '${host}'), 50); s.on('error', () => {})`;
  const sender = execa(...inside(from, process.execPath, '-e', script), { reject: false, buffer: false });
  let last = '';
  sender.stdout.on('data', (said) => (last = String(said).trim().split('\n').at(-1) ?? ''));
  onTestFinished(async () => {
    sender.kill('SIGKILL');
    await sender;
  });
  return async () => {
    last = '';
    await new Promise((resolve) => {
      setTimeout(resolve, 300);
    });
    return last;
  };
}
