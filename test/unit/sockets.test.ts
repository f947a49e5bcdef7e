import { describe, expect, test } from 'vitest';
import { parseSockets } from '../../src/kernel/sockets.ts';

// As `ss -H -n -p -O -a -e -A inet` of iproute2 6.1 prints it, but for spaces at the ends of lines.
const printed = String.raw`raw   UNCONN    0      0                0.0.0.0:1               0.0.0.0:*     users:(("ping",pid=63,fd=9))
raw   UNCONN    0      0                      *:58                    *:*     users:(("ping",pid=63,fd=11))
udp   UNCONN    0      0             0.0.0.0%v1:67              0.0.0.0:*     users:(("dhclient",pid=63,fd=8)) ino:60773 sk:2 cgroup:unreachable:1 <->
udp   ESTAB     0      0           [fe80::1]%v1:43130         [fe80::1]:99    users:(("app",pid=63,fd=7)) ino:60771 sk:3 cgroup:unreachable:1 <->
tcp   LISTEN    0      5               10.1.1.1:8080            0.0.0.0:*     users:(("nginx",pid=63,fd=3),("nginx",pid=62,fd=3),("nginx",pid=62,fd=4)) uid:33 ino:60766 sk:4 cgroup:/system.slice/nginx.service <->
tcp   SYN-SENT  0      1               10.1.1.1:58622         10.1.1.77:1     users:(("app",pid=20,fd=17)) timer:(on,632ms,1) ino:60786 sk:7 cgroup:unreachable:1 <->
tcp   TIME-WAIT 0      0               10.1.1.1:55766          10.1.1.1:8080  timer:(timewait,58sec,0) ino:0 sk:a
tcp   LISTEN    1      5                      *:80                    *:*     users:(("app",pid=20,fd=4)) ino:60767 sk:b cgroup:unreachable:1 v6only:0 <->
tcp   LISTEN    0      5           [fe80::1]%v1:81                 [::]:*     users:(("app",pid=20,fd=5)) ino:60769 sk:c cgroup:unreachable:1 v6only:1 <->
tcp   ESTAB     0      0      [::ffff:10.1.1.1]:80    [::ffff:10.1.1.1]:52088 ino:0 sk:e cgroup:unreachable:1 <->
mptcp LISTEN    0      1               10.1.1.1:5001            0.0.0.0:*     users:(("app",pid=20,fd=12)) ino:60777 sk:f cgroup:unreachable:1 <->
`;

const sockets = parseSockets(printed, 'blue', 4026532598);

function socketAt(port: number) {
  return sockets.find(({ local }) => local.port === port);
}

/** The processes of a socket whose `users` field is as given. */
function usersOf(users: string, rest = ' ino:60766 sk:4 cgroup:/a uid:7 ino:8 <->') {
  const line = `tcp   LISTEN 0      5      10.1.1.1:8080      0.0.0.0:*    users:(${users})${rest}`;
  const [socket, ...more] = parseSockets(`${line}\n`, 'blue', 1);
  expect(more).toEqual([]);
  return socket;
}

describe('parseSockets', () => {
  test('gives one socket a line, each with its namespace', () => {
    expect(sockets).toHaveLength(11);
    expect(new Set(sockets.map(({ namespace, namespaceInode }) => `${namespace} ${namespaceInode}`))).toEqual(
      new Set(['blue 4026532598']),
    );
  });

  test('gives a listening socket with its user and each process once', () => {
    expect(socketAt(8080)).toEqual({
      namespace: 'blue',
      namespaceInode: 4026532598,
      protocol: 'tcp',
      family: 'inet',
      state: 'listen',
      local: { address: '10.1.1.1', port: 8080 },
      peer: { address: '0.0.0.0', port: null },
      interface: null,
      inode: 60766,
      uid: 33,
      processes: [
        { pid: 63, name: 'nginx' },
        { pid: 62, name: 'nginx' },
      ],
    });
  });

  test('reads IPv6, mapped addresses, and the interface that a socket is bound to', () => {
    expect(socketAt(81)).toMatchObject({
      family: 'inet6',
      local: { address: 'fe80::1' },
      peer: { address: '::' },
      interface: 'v1',
    });
    expect(socketAt(43130)).toMatchObject({
      family: 'inet6',
      peer: { address: 'fe80::1', port: 99 },
      interface: 'v1',
    });
    expect(socketAt(67)).toMatchObject({ family: 'inet', local: { address: '0.0.0.0' }, interface: 'v1' });
    expect(sockets.find(({ peer }) => peer.port === 52088)).toMatchObject({
      family: 'inet6',
      local: { address: '::ffff:10.1.1.1' },
    });
    const inner = parseSockets('udp UNCONN 0 0 [fe80::2%eth0]:546 [::]:* uid:1 ino:5 sk:1 <->', 'blue', 1);
    expect(inner[0]).toMatchObject({ local: { address: 'fe80::2', port: 546 }, interface: 'eth0' });
  });

  test('takes the asterisk for any address of either family', () => {
    expect(socketAt(80)).toMatchObject({
      family: 'inet6',
      local: { address: '*', port: 80 },
      peer: { address: '*', port: null },
    });
  });

  test('knows that no uid is root’s, and that a socket without a process has none', () => {
    expect(socketAt(5001)).toMatchObject({ protocol: 'mptcp', inode: 60777, uid: 0 });
    expect(socketAt(55766)).toMatchObject({ state: 'time-wait', inode: null, uid: null, processes: [] });
    expect(socketAt(58)).toMatchObject({
      protocol: 'raw',
      inode: null,
      uid: null,
      processes: [{ pid: 63, name: 'ping' }],
    });
  });

  test.each([
    'a b) (c"d\'e\\f',
    '"',
    '',
    '\u001b[31mé',
    '\r x',
    '",pid=1,fd=3)',
    '",pid=1,fd=3),(',
    '",pid=1,fd=3)) ',
    ')) ino:1 uid:9 ',
    'tcp LISTEN 0 0',
  ])('is not misled by a process that calls itself %j', (name) => {
    const one = usersOf(`("${name}",pid=4242,fd=4)`);
    expect(one).toMatchObject({ inode: 60766, uid: 0, processes: [{ pid: 4242, name }] });
    const two = usersOf(
      `("${name}",pid=4242,fd=4),("${name}",pid=4243,fd=11)`,
      ' timer:(on,632ms,1) uid:5 ino:7 sk:7',
    );
    expect(two).toMatchObject({
      inode: 7,
      uid: 5,
      processes: [
        { pid: 4242, name },
        { pid: 4243, name },
      ],
    });
    const atTheEnd = usersOf(`("${name}",pid=4242,fd=4)`, '   ');
    expect(atTheEnd).toMatchObject({ inode: null, processes: [{ pid: 4242, name }] });
  });

  test('leaves out what is no socket', () => {
    expect(parseSockets('', 'blue', 1)).toEqual([]);
    expect(parseSockets('Cannot open netlink socket: Operation not permitted\n', 'blue', 1)).toEqual([]);
    expect(
      parseSockets(
        'p_raw UNCONN 20432  0      *:* * users:(("tcpdump",pid=63,fd=13)) ino:60780\n',
        'blue',
        1,
      ),
    ).toEqual([]);
  });
});
