import { once } from 'node:events';
import { execa } from 'execa';
import { onTestFinished } from 'vitest';

/**
 * The first two packets of an SCTP association (RFC 9260, sections 3.3.2 and 3.3.3), by raw sockets: kernels that
 * translate SCTP need have no sockets of it. conntrack looks at the checksum (CRC32c), so it is right.
 */
const SCTP = `
import socket, struct, sys
INIT, INIT_ACK = 1, 2
def crc32c(data):
    crc = 0xffffffff
    for byte in data:
        crc ^= byte
        for _ in range(8): crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
    return crc ^ 0xffffffff
def packet(source, to, verification, kind, more=b''):
    chunk = struct.pack('!BBHIIHHI', kind, 0, 20 + len(more), 0x51735173, 65535, 1, 1, 1) + more
    header = struct.pack('!HHI', source, to, verification)
    return header + struct.pack('<I', crc32c(header + bytes(4) + chunk)) + chunk
def raw(family):
    return socket.socket(family, socket.SOCK_RAW, 132)
def packets(s):
    while True:
        p, at = s.recvfrom(2048)
        body = p[(p[0] & 15) * 4:] if s.family == socket.AF_INET else p
        yield at, *struct.unpack('!HHI', body[:8]), body[12], body[16:20]
`;

const ANSWER = `${SCTP}
import threading
port = int(sys.argv[1])
def answer(s):
    for at, source, to, _, kind, tag in packets(s):
        if to == port and kind == INIT:
            cookie = struct.pack('!HHI', 7, 8, 0)
            s.sendto(packet(to, source, struct.unpack('!I', tag)[0], INIT_ACK, cookie), at[:2] + at[2:])
both = [raw(socket.AF_INET), raw(socket.AF_INET6)]
print('ready', flush=True)
for s in both: threading.Thread(target=answer, args=[s]).start()
`;

const ASK = `${SCTP}
host, port = sys.argv[1], int(sys.argv[2])
# Who asks by another address at the same time sees the same packets.
own = 5173 + sum(host.encode()) % 1000
s = raw(socket.AF_INET6 if ':' in host else socket.AF_INET)
s.settimeout(0.5)
for _ in range(4):
    s.sendto(packet(own, port, 0, INIT), (host, 0))
    try:
        for at, source, to, verification, kind, _ in packets(s):
            if (source, to, verification, kind) == (port, own, 0x51735173, INIT_ACK):
                print(at[0])
                sys.exit()
    except TimeoutError:
        pass
`;

/** Answers who begins an association with a port, in both families, until the test is over. */
export async function answerSctp(namespace: string, port: number): Promise<void> {
  const child = execa('ip', ['netns', 'exec', namespace, 'python3', '-c', ANSWER, `${port}`], {
    reject: false,
  });
  onTestFinished(async () => {
    child.kill('SIGKILL');
    await child;
  });
  await once(child.stdout, 'data');
}

/** The address that answers who begins an association, as the client sees it; empty if none does within two seconds. */
export async function askSctp(from: string | null, host: string, port: number): Promise<string> {
  const command = ['python3', '-c', ASK, host, `${port}`];
  const [file, args] =
    from === null ? ['python3', command.slice(1)] : ['ip', ['netns', 'exec', from, ...command]];
  const { stdout } = await execa(file, args);
  return stdout;
}
