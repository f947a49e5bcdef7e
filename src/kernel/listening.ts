import { readFileSync, readdirSync, readlinkSync } from 'node:fs';
import { addressOf } from '../schemas/range.ts';

/** A socket of the daemon's own namespace that takes what is sent to a port. */
export interface Listening {
  protocol: 'tcp' | 'udp' | 'sctp';
  address: string;
  port: number;
  inode: string;
}

/** In proc(5), net/tcp: TCP_LISTEN; and TCP_CLOSE, which a UDP socket is in that is bound and not connected. */
const TAKING = { tcp: '0A', udp: '07' } as const;

/** SCTP_SS_LISTENING, in decimal. */
const SCTP_TAKING = '10';

/** The sockets that listen, out of /proc/net: no process is started. What can't be read has none. */
export function listeningSockets(protocol: Listening['protocol']): Listening[] {
  if (protocol === 'sctp') return readTable('/proc/self/net/sctp/eps').flatMap(parseEndpoint);
  return [protocol, `${protocol}6`].flatMap((table) =>
    readTable(`/proc/self/net/${table}`).flatMap((row) => parseSocket(protocol, row)),
  );
}

/** A row of /proc/net/tcp, udp, tcp6 or udp6. */
export function parseSocket(protocol: 'tcp' | 'udp', row: string): Listening[] {
  const [, local = '', , state, , , , , , inode = ''] = row.trim().split(/\s+/);
  const [address = '', port = ''] = local.split(':');
  if (state !== TAKING[protocol]) return [];
  return [{ protocol, address: canonicalText(bytesOf(address)), port: Number.parseInt(port, 16), inode }];
}

/** A row of /proc/net/sctp/eps (net/sctp/proc.c): ENDPT SOCK STY SST HBKT LPORT UID INODE LADDRS, an endpoint with its addresses. */
export function parseEndpoint(row: string): Listening[] {
  const [, , , state, , port, , inode = '', ...addresses] = row.trim().split(/\s+/);
  if (state !== SCTP_TAKING) return [];
  return addresses.map((text) => ({
    protocol: 'sctp',
    // The one that it sends from first has a star; IPv6 is printed in full.
    address: text.includes(':') ? canonicalText(text.match(/[0-9a-f]{2}/gi) ?? []) : text.replace('*', ''),
    port: Number(port),
    inode,
  }));
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
function bytesOf(hex: string): string[] {
  return (hex.match(/.{8}/g) ?? []).flatMap((word) => (word.match(/../g) ?? []).toReversed());
}

/** A socket of IPv6 at `::ffff:A.B.C.D` is one of IPv4 (RFC 4291, section 2.5.5.2). */
function canonicalText(bytes: readonly string[]): string {
  const isMapped = bytes.slice(0, 12).join('').toLowerCase() === '00000000000000000000ffff';
  return bytes.length === 4 || isMapped
    ? addressOf(4, BigInt(`0x${bytes.slice(-4).join('')}`))
    : addressOf(6, BigInt(`0x${bytes.join('')}`));
}

/** A process that has the socket open; null if none is found. */
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
