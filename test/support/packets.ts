import { createInterface } from 'node:readline';
import { execa } from 'execa';
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
