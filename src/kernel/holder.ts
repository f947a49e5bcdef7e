import type { Processes } from './processes.ts';

/** Who listens on a TCP port of this machine or on a unix socket: `nginx (pid 12)`, or null if it can't be told. */
export async function holderOf(processes: Processes, where: { port: number } | { path: string }): Promise<string | null> {
  const filter = 'port' in where ? ['-t', `sport = :${where.port}`] : ['-x', `src ${where.path}`];
  const { stdout, exitCode } = await processes.run('ss', ['-H', '-l', '-n', '-p', ...filter]);
  const [, name, pid] = /users:\(\("([^"]*)",pid=(\d+)/.exec(exitCode === 0 ? stdout : '') ?? [];
  return name === undefined || pid === undefined ? null : `${name} (pid ${pid})`;
}
