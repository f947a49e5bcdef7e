import { createInterface } from 'node:readline';
import { execa } from 'execa';
import ipaddr from 'ipaddr.js';
import { onTestFinished } from 'vitest';
import { run } from './shell.ts';

/** Prints `FROM > TO PROTOCOL BYTE` of each packet that comes in: the number of the protocol, and the byte after the header. */
const SNIFF = `
import socket, sys
s = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))
s.bind((sys.argv[1], 3))
print('ready', flush=True)
while True:
    p, at = s.recvfrom(65535)
    if at[2] == 4 or at[1] not in (0x800, 0x86dd): continue
    if at[1] == 0x800: family, a, b, n, header = socket.AF_INET, p[12:16], p[16:20], p[9], (p[0] & 15) * 4
    else: family, a, b, n, header = socket.AF_INET6, p[8:24], p[24:40], p[6], 40
    print(socket.inet_ntop(family, a), '>', socket.inet_ntop(family, b), n, p[header], flush=True)
`;

/** What comes in by an interface from now on until the test is over, as it is on the wire. */
export async function sniff(namespace: string, device: string): Promise<readonly string[]> {
  const child = execa('nsenter', [`--net=/run/netns/${namespace}`, 'python3', '-c', SNIFF, device], {
    reject: false,
    buffer: false,
  });
  onTestFinished(async () => {
    child.kill('SIGKILL');
    await child;
  });
  const seen: string[] = [];
  await new Promise<void>((resolve, reject) => {
    const lines = createInterface({ input: child.stdout });
    lines.on('line', (line) => {
      if (line === 'ready') resolve();
      else seen.push(line);
    });
    lines.on('close', () => {
      reject(new Error('the sniffer has ended'));
    });
  });
  return seen;
}

const SEND = `
import socket, sys
to, protocol, body = sys.argv[1], int(sys.argv[2]), bytes.fromhex(sys.argv[3])
s = socket.socket(socket.AF_INET6 if ':' in to else socket.AF_INET, socket.SOCK_RAW, protocol)
s.sendto(body, (to, 0))
`;

/** Sends an IP packet with that body; the kernel adds the IP header, and to ICMPv6 its checksum. */
export async function send(
  from: string,
  to: string,
  protocol: number,
  body: readonly number[],
): Promise<void> {
  const hex = Buffer.from(body).toString('hex');
  await run('ip', 'netns', 'exec', from, 'python3', '-c', SEND, to, `${protocol}`, hex);
}

const FORGE = `
import socket, sys
by, packet = sys.argv[1], bytes.fromhex(sys.argv[2])
s = socket.socket(socket.AF_INET6 if ':' in by else socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
s.sendto(packet, (by, 0))
`;

/** A datagram by UDP, and who it says that it is from. */
export interface Datagram {
  source: string;
  sourcePort: number;
  to: string;
  port: number;
}

/** Hands a datagram to a neighbor, whatever source it bears and wherever it is to. */
export async function forge(from: string, by: string, datagram: Datagram): Promise<void> {
  const hex = packetOf(datagram).toString('hex');
  await run('ip', 'netns', 'exec', from, 'python3', '-c', FORGE, by, hex);
}

const UDP = 17;
const TTL = 64;

function packetOf({ source, sourcePort, to, port }: Datagram): Buffer {
  const udp = Buffer.alloc(9, '?');
  for (const [at, word] of [sourcePort, port, udp.length, 0].entries()) udp.writeUInt16BE(word, at * 2);
  const addresses = Buffer.concat([bytesOf(source), bytesOf(to)]);
  // RFC 768, RFC 8200 section 8.1: over the addresses, the protocol and the length as well.
  const sum = checksum(Buffer.concat([addresses, Buffer.from([0, UDP, 0, udp.length]), udp]));
  udp.writeUInt16BE(sum, 6);
  if (source.includes(':'))
    return Buffer.concat([Buffer.from([0x60, 0, 0, 0, 0, udp.length, UDP, TTL]), addresses, udp]);
  // The kernel fills in the length, the checksum and what is 0 besides (raw(7)).
  const header = Buffer.from([0x45, 0, 0, 0, 0, 0, 0, 0, TTL, UDP, 0, 0]);
  return Buffer.concat([header, addresses, udp]);
}

function bytesOf(address: string): Buffer {
  return Buffer.from(ipaddr.parse(address).toByteArray());
}

function checksum(bytes: Buffer): number {
  let sum = 0;
  for (const [at, byte] of bytes.entries()) sum += at % 2 === 0 ? byte << 8 : byte;
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}
