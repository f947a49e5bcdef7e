import { HOST } from '../schemas/common.ts';
import type { Socket } from '../schemas/inspect.ts';
import type { ListenAddress } from '../schemas/listen.ts';
import { CommandFailed } from './errors.ts';
import { runInside } from './inspect.ts';
import type { Processes } from './processes.ts';

/**
 * The Internet sockets of a namespace, with the processes that have them open.
 *
 * @param namespaceInode of that namespace, which each socket is listed with
 * @throws CommandFailed
 */
export async function readSockets(
  processes: Processes,
  namespace: string,
  namespaceInode: number,
): Promise<Socket[]> {
  const stdout = await listSockets(processes, namespace, ['-a', '-e', '-A', 'inet']);
  return parseSockets(stdout, namespace, namespaceInode);
}

/**
 * Who listens at an address, as `name (process 123)`; null if nobody does, or it can't be told.
 *
 * @throws CommandFailed
 */
export async function holderOf(processes: Processes, address: ListenAddress): Promise<string | null> {
  // Of one kind alone ss(8) would leave out the column that tells the kind.
  const query = ['-l', '-A', address.transport === 'unix' ? 'unix' : 'inet'];
  const stdout = await listSockets(processes, HOST, query);
  const line = stdout.split('\n').find((candidate) => isAt(address, candidate));
  const users = line === undefined ? undefined : parseUsers(line, line.indexOf('users:((')).processes[0];
  return users === undefined ? null : `${users.name} (process ${users.pid})`;
}

/**
 * Parses what `ss -H -n -a -e -p -O` of iproute2 6.1 prints, a socket a line: kind, state, two queues, the two ends,
 * and then what else is known, each with its key. What is no such line is left out.
 */
export function parseSockets(text: string, namespace: string, namespaceInode: number): Socket[] {
  // Only newlines end a line: the name of a process may hold anything else.
  return text.split('\n').flatMap((line) => {
    const socket = parseSocket(line);
    return socket === null ? [] : [{ namespace, namespaceInode, ...socket }];
  });
}

/** `-n`, or it would ask DNS for names. */
async function listSockets(
  processes: Processes,
  namespace: string,
  query: readonly string[],
): Promise<string> {
  const { stdout, stderr, exitCode, command } = await runInside(processes, namespace, [
    'ss',
    '-H',
    '-n',
    '-p',
    '-O',
    ...query,
  ]);
  if (exitCode !== 0) throw new CommandFailed(command, exitCode, stderr);
  return stdout;
}

const COLUMNS = /^\s*(?<protocol>\S+)\s+(?<state>\S+)\s+\d+\s+\d+\s+(?<local>\S+:\S+)\s+(?<peer>\S+:\S+)\s*/;

function parseSocket(line: string): Omit<Socket, 'namespace' | 'namespaceInode'> | null {
  const columns = COLUMNS.exec(line);
  const { protocol, state, local, peer } = columns?.groups ?? {};
  if (columns === null || protocol === undefined || state === undefined) return null;
  const localEnd = parseEnd(local ?? '');
  const peerEnd = parseEnd(peer ?? '');
  if (localEnd === null || peerEnd === null) return null;
  const users = parseUsers(line, columns[0].length);
  const { inode, uid } = parseDetails(line.slice(users.end));
  return {
    protocol,
    family: localEnd.family,
    state: state.toLowerCase(),
    local: { address: localEnd.address, port: localEnd.port },
    peer: { address: peerEnd.address, port: peerEnd.port },
    interface: localEnd.device ?? peerEnd.device,
    inode,
    uid,
    processes: users.processes,
  };
}

interface End {
  family: Socket['family'];
  address: string;
  port: number | null;
  device: string | null;
}

/** `10.1.1.1:80`, `0.0.0.0%eth0:67`, `[fe80::1]%eth0:546`, `[::]:*`, `*:53` (any address, of either family). */
function parseEnd(text: string): End | null {
  const end =
    /^(?:\[(?<six>[0-9a-fA-F:.]+)(?:%(?<inner>[^\]]+))?\]|(?<other>\*|[0-9.]+))(?:%(?<outer>.+))?:(?<port>\*|\d+)$/.exec(
      text,
    );
  const { six, inner, other, outer, port } = end?.groups ?? {};
  const address = six ?? other;
  if (address === undefined) return null;
  return {
    family: six === undefined && other !== '*' ? 'inet' : 'inet6',
    address,
    port: port === '*' ? null : Number(port),
    device: outer ?? inner ?? null,
  };
}

/**
 * One process of `users:(("nginx",pid=1,fd=3),("nginx",pid=2,fd=3))`. A process may call itself almost anything, this
 * very syntax included, but only in 15 bytes (TASK_COMM_LEN): so an entry ends only where another whole one, or
 * the field that follows, begins.
 */
const USER =
  /\("(?<name>.{0,15}?)",pid=(?<pid>\d+),fd=\d+\)(?=,\(".{0,15}?",pid=\d+,fd=\d+\)|\)(?:\s+[a-z_0-9]+:\S|\s*$))/suy;

/** The processes of the field that begins at `start`, each once, and where what follows begins. */
function parseUsers(line: string, start: number): { processes: Socket['processes']; end: number } {
  const prefix = 'users:(';
  const names = new Map<number, string>();
  if (!line.startsWith(prefix, start)) return { processes: [], end: start };
  let end = start + prefix.length;
  for (;;) {
    const user = new RegExp(USER);
    user.lastIndex = end;
    const { name, pid } = user.exec(line)?.groups ?? {};
    if (name === undefined) break;
    names.set(Number(pid), name);
    end = user.lastIndex + 1;
  }
  return { processes: [...names].map(([pid, name]) => ({ pid, name })), end };
}

/** `uid` is left out for root. `ino:0` is a socket that no process has: a connection that is closing, or new. */
function parseDetails(text: string): Pick<Socket, 'inode' | 'uid'> {
  // Together, and the first: the path of a control group, which comes later, may hold anything.
  const [, uid = '0', inode = '0'] = /(?:^|\s)(?:uid:(\d+) )?ino:(\d+)/.exec(text) ?? [];
  return inode === '0' ? { inode: null, uid: null } : { inode: Number(inode), uid: Number(uid) };
}

/** Whether a line of `ss -l` is of a socket that keeps others from listening at the address. */
function isAt(address: ListenAddress, line: string): boolean {
  // The path of a unix socket stands before its inode, as it is.
  if (address.transport === 'unix') return line.includes(` ${address.path} `);
  const { protocol, local = '' } = COLUMNS.exec(line)?.groups ?? {};
  const end = parseEnd(local);
  if (protocol !== 'tcp' || end === null || end.port !== address.port) return false;
  const isAny = ['*', '0.0.0.0', '::'].includes(end.address);
  return isAny || end.address === address.host || address.host === 'localhost';
}
