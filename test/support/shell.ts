import { execa } from 'execa';

/** Runs a command to its end; throws unless it succeeds. */
export async function run(command: string, ...args: string[]): Promise<string> {
  const { stdout } = await execa(command, args);
  return stdout;
}

/** `ip -j …`, parsed. */
export async function ipJson(...args: string[]): Promise<Record<string, unknown>[]> {
  const text = await run('ip', '-j', '-d', ...args);
  return text === '' ? [] : (JSON.parse(text) as Record<string, unknown>[]);
}

/**
 * Whether one of the pings from a namespace (null: the sandbox itself) gets an answer within two seconds. The first may be
 * lost: the kernel sends by a device a moment after it has come up, and asks for a neighbor again after a second.
 */
export async function pings(from: string | null, to: string): Promise<boolean> {
  const inside = from === null ? [] : ['netns', 'exec', from];
  const ping = ['ping', '-n', '-c', '1', '-i', '0.25', '-w', '2', to];
  const { exitCode } =
    from === null
      ? await execa('ping', ping.slice(1), { reject: false })
      : await execa('ip', [...inside, ...ping], { reject: false });
  return exitCode === 0;
}

/** All rules of a table, as iptables-save prints them, without counters and comments. */
export async function rulesOf(namespace: string | null, family: 4 | 6 = 4): Promise<string[]> {
  const file = family === 4 ? 'iptables-save' : 'ip6tables-save';
  const text = namespace === null ? await run(file) : await run('ip', 'netns', 'exec', namespace, file);
  return text.split('\n').filter((line) => line.startsWith('-A'));
}
