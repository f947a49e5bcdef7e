import { readFileSync, readdirSync, readlinkSync } from 'node:fs';

/** A socket of the daemon's own namespace that takes what is sent to a port. */
export interface Listening {
  protocol: 'tcp' | 'udp';
  address: string;
  port: number;
  inode: string;
}

/** In proc(5), net/tcp: TCP_LISTEN; and TCP_CLOSE, which a UDP socket is in that is bound and not connected. */
const TAKING = { tcp: '0A', udp: '07' } as const;

/** The sockets that listen, out of /proc/net: no process is started. What can't be read has none. */
export function listeningSockets(protocol: 'tcp' | 'udp'): Listening[] {
  return [protocol, `${protocol}6`].flatMap((table) => {
    const rows = readTable(`/proc/self/net/${table}`);
    return rows.flatMap((row): Listening[] => {
      const [, local = '', , state, , , , , , inode = ''] = row.trim().split(/\s+/);
      const [address = '', port = ''] = local.split(':');
      if (state !== TAKING[protocol]) return [];
      return [{ protocol, address: parseAddress(address), port: Number.parseInt(port, 16), inode }];
    });
  });
}

function readTable(path: string): string[] {
  try {
    return readFileSync(path, 'utf8').split('\n').slice(1);
  } catch {
    // Without IPv6 there is no such table.
    return [];
  }
}

/** The kernel prints 32-bit words in the order of the host's bytes, which is the little-endian one on all that Node has. */
function parseAddress(hex: string): string {
  const bytes = (hex.match(/.{8}/g) ?? []).flatMap((word) => (word.match(/../g) ?? []).toReversed());
  const isMapped = bytes.slice(0, 12).join('') === '00000000000000000000ffff';
  if (bytes.length === 4 || isMapped)
    return bytes
      .slice(-4)
      .map((byte) => Number.parseInt(byte, 16))
      .join('.');
  const groups = Array.from({ length: 8 }, (_, at) =>
    Number.parseInt(bytes.slice(2 * at, 2 * at + 2).join(''), 16).toString(16),
  );
  const text = groups.join(':');
  return text === '0:0:0:0:0:0:0:0' ? '::' : text;
}

/** Who has the socket open, as `name (process 123)`; null if nobody is found. */
export function processOfSocket(inode: string): { pid: number; name: string } | null {
  for (const pid of ['self', ...readdirSync('/proc').filter((each) => /^\d+$/.test(each))])
    if (hasOpen(pid, inode)) {
      const name = readTextOrNothing(`/proc/${pid}/comm`);
      return { pid: pid === 'self' ? process.pid : Number(pid), name };
    }
  return null;
}

function hasOpen(pid: string, inode: string): boolean {
  const directory = `/proc/${pid}/fd`;
  try {
    return readdirSync(directory).some((fd) => linkOf(`${directory}/${fd}`) === `socket:[${inode}]`);
  } catch {
    // It has ended meanwhile, or is not ours to look into.
    return false;
  }
}

function linkOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    // It was closed meanwhile.
    return '';
  }
}

function readTextOrNothing(path: string): string {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch {
    // It has ended meanwhile.
    return '';
  }
}
