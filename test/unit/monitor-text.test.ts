import { describe, expect, it } from 'vitest';
import { parseFirewallLine } from '../../src/kernel/firewall-monitor-text.ts';
import { LineSplitter } from '../../src/kernel/lines.ts';
import { parseMonitorLine } from '../../src/kernel/monitor-text.ts';

// As iproute2 6.1 and iptables 1.8.9 print them.
const ETHER = 'brd ff:ff:ff:ff:ff:ff promiscuity 0  allmulti 0 minmtu 68 maxmtu 65535';
const BRIDGE =
  'bridge forward_delay 1500 hello_time 200 max_age 2000 ageing_time 30000 stp_state 0 priority 32768 vlan_filtering 0 bridge_id 8000.2:0:0:0:0:1';
const SLAVE =
  'bridge_slave state forwarding priority 32 cost 2 hairpin off guard off port_no 0x1 designated_port 32769 designated_cost 0 designated_bridge 8000.2:0:0:0:0:1 designated_root 8000.2:0:0:0:0:1';

const bridge = {
  type: 'link',
  nsid: null,
  index: 3,
  name: 'br0',
  deleted: false,
  up: true,
  mtu: 1500,
  mac: '02:00:00:00:00:01',
  isPort: false,
  bridgeMac: null,
  group: '20851',
  stp: false,
  ageingSeconds: 300,
};
const veth = {
  ...bridge,
  index: 4,
  name: 'veth00',
  mac: '02:00:00:00:00:02',
  stp: null,
  ageingSeconds: null,
};

describe('a line of ip monitor', () => {
  it('tells of a bridge all that is asked of one', () => {
    const line = `[nsid current]3: br0: <NO-CARRIER,BROADCAST,MULTICAST,UP> mtu 1500 qdisc noqueue state DOWN group 20851 event FEATURE CHANGE \\    link/[1] 02:00:00:00:00:01 ${ETHER} \\    ${BRIDGE} `;
    expect(parseMonitorLine(line)).toEqual(bridge);
    const deleted = line.replace(']', ']Deleted ').replace(',UP>', '>').replace('stp_state 0', 'stp_state 1');
    expect(parseMonitorLine(deleted)).toEqual({ ...bridge, deleted: true, up: false, stp: true });
  });

  it('tells of a port which bridge it is in, whatever name is printed', () => {
    const line = `[nsid 12]4: veth00@if2: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc noqueue master br0 state UP group 20851 \\    link/[1] 02:00:00:00:00:02 ${ETHER} \\    veth \\    ${SLAVE} `;
    expect(parseMonitorLine(line)).toEqual({
      ...veth,
      nsid: 12,
      isPort: true,
      bridgeMac: '02:00:00:00:00:01',
    });
    const unused = line.replace('designated_bridge 8000.2:0:0:0:0:1', 'designated_bridge 8000.0:0:0:0:0:0');
    expect(parseMonitorLine(unused)).toMatchObject({ isPort: true, bridgeMac: null });
  });

  it('is no event of a device if it is the bridge’s about its port', () => {
    const left = `[nsid current]Deleted 4: veth00@uplink0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 master br0 state UP \\    link/[1] 02:00:00:00:00:02`;
    expect(parseMonitorLine(left)).toBeNull();
  });

  it('tells of addresses by index', () => {
    const line =
      '[nsid 1]2: uplink0    inet 10.1.1.1/24 scope 0 eth0\\       valid_lft forever preferred_lft forever';
    expect(parseMonitorLine(line)).toEqual({
      type: 'address',
      nsid: 1,
      index: 2,
      deleted: false,
      address: '10.1.1.1/24',
    });
    const gone =
      '[nsid current]Deleted 3: br0    inet6 fd00::1/64 scope 0 nodad \\       valid_lft forever preferred_lft forever';
    expect(parseMonitorLine(gone)).toMatchObject({ nsid: null, deleted: true, address: 'fd00::1/64' });
  });

  it('tells of routes all that makes two of them different', () => {
    const route = { to: 'default', via: '10.1.1.3', metric: null, src: null, table: 254 };
    const event = { type: 'route', nsid: 1, deleted: false, family: 4, protocol: '115', route };
    expect(parseMonitorLine('[nsid 1]1 default via 10.1.1.3 dev if2 table 254 proto 115 scope 0 ')).toEqual(
      event,
    );
    expect(
      parseMonitorLine(
        '[nsid 1]Deleted 1 10.9.0.1 via 10.1.1.3 dev eth0 table 100 proto 115 scope 0 src 10.1.1.1 metric 5 linkdown ',
      ),
    ).toEqual({
      ...event,
      deleted: true,
      route: { to: '10.9.0.1/32', via: '10.1.1.3', metric: 5, src: '10.1.1.1', table: 100 },
    });
    expect(
      parseMonitorLine('[nsid 1]1 default dev eth0 table 254 proto 115 scope 0 metric 1024 pref medium'),
    ).toEqual({ ...event, family: 6, route: { ...route, via: null, metric: 1024 } });
    expect(
      parseMonitorLine('[nsid current]5 ff00::/8 dev br0 table 255 proto 2 scope 0 metric 256 pref medium'),
    ).toBeNull();
  });

  it('tells of sysctls by their names', () => {
    expect(parseMonitorLine('[nsid current]inet all forwarding on ')).toEqual({
      type: 'netconf',
      nsid: null,
      family: 4,
      what: 'all',
      fields: { forwarding: '1' },
    });
    expect(
      parseMonitorLine('[nsid 1]inet6 if4 forwarding off mc_forwarding off proxy_neigh on '),
    ).toMatchObject({ family: 6, what: 'if4', fields: { forwarding: '0', proxy_ndp: '1' } });
    expect(parseMonitorLine('[nsid 1]inet default rp_filter loose ')).toMatchObject({
      fields: { rp_filter: '2' },
    });
    expect(parseMonitorLine('[nsid 1]Deleted inet uplink0 ')).toBeNull();
  });

  it('tells of ids in the daemon’s own namespace alone', () => {
    const given = { type: 'nsid', nsid: 1, deleted: false, name: 'blue' };
    expect(parseMonitorLine('[nsid current]nsid 1 (iproute2 netns name: blue)')).toEqual(given);
    expect(parseMonitorLine('[nsid current]Deleted nsid 1 ')).toEqual({
      ...given,
      deleted: true,
      name: null,
    });
    expect(parseMonitorLine('[nsid current]nsid 1')).toEqual({ ...given, name: null });
    expect(parseMonitorLine('[nsid 1]nsid 0 (iproute2 netns name: internet)')).toBeNull();
  });

  it.each([
    '',
    'x',
    '[nsid ',
    '[nsid 3]4: evil',
    '[nsid current]3: br0: <UP> mtu',
    '[nsid current]Unknown message: type=0x00000047(71) flags=0x00000000(0) len=0x0000002c(44)',
    '[nsid current]2: [1] inet 999',
    `[nsid 3]${'('.repeat(10_000)}`,
    `[nsid 3]4: ${'a '.repeat(10_000)}`,
  ])('is passed over if it can’t be read: %#', (line) => {
    expect(parseMonitorLine(line)).toBeNull();
  });

  it('reads odd names as they are, or shorter, never longer', () => {
    const named = (name: string): unknown =>
      parseMonitorLine(
        `[nsid current]7: ${name}: <BROADCAST,MULTICAST> mtu 1500 qdisc noop state DOWN group 0 \\    link/[1] 02:00:00:00:00:02 ${ETHER} \\    veth `,
      );
    expect(named('[nsid')).toMatchObject({ name: '[nsid' });
    expect(named('a"b\\c@NONE')).toMatchObject({ name: 'a"b\\c' });
    expect(named('@a@b')).toMatchObject({ name: '@a' });
    expect(named('ü\u{2028}')).toBeNull();
  });
});

describe('a line of xtables-monitor', () => {
  const rule = {
    type: 'rule',
    family: 4,
    table: 'nat',
    chain: 'NETNSD-DNAT',
    deleted: false,
    comment: 'netnsd:nat/web:0123456789ab',
    owner: { kind: 'nat', name: 'web' },
  };

  it('tells whose rule has come or gone', () => {
    const line =
      ' EVENT: -4 -t nat -A NETNSD-DNAT -p tcp -m tcp --dport 80 -m comment --comment "netnsd:nat/web:0123456789ab" -j DNAT --to-destination 10.1.1.1:80';
    expect(parseFirewallLine(line)).toEqual(rule);
    expect(parseFirewallLine(line.replace('-A', '-D').replace('-4', '-6'))).toEqual({
      ...rule,
      deleted: true,
      family: 6,
    });
    expect(
      parseFirewallLine(
        ' EVENT: -4 -t nat -D POSTROUTING -m comment --comment "netnsd:chain/POSTROUTING:0123456789ab" -j NETNSD-SNAT',
      ),
    ).toMatchObject({ owner: null, deleted: true });
  });

  it('tells of chains and tables', () => {
    expect(parseFirewallLine(' EVENT: -4 -t nat -X NETNSD-DNAT')).toEqual({
      type: 'chain',
      family: 4,
      table: 'nat',
      chain: 'NETNSD-DNAT',
      deleted: true,
    });
    expect(parseFirewallLine(' EVENT: nft: DEL table: table nat ip6 flags 0 use 0 handle 1')).toEqual({
      type: 'table',
      family: 6,
      table: 'nat',
    });
  });

  it.each([
    '',
    'NEWGEN: GENID=2 PID=11754 NAME=iptables',
    ' EVENT: nft: NEW table: table nat ip flags 0 use 1 handle 1',
    ' EVENT: # nft: ip nat PREROUTING use 0 type nat hook prerouting prio -100 policy accept packets 0 bytes 0 flags 1',
    ' EVENT: -4 -t filter -A FORWARD -s 10.0.0.0/8 -j ACCEPT',
    ' EVENT: -4 -t filter -D FORWARD -m comment --comment "netnsd:nat/web" -j ACCEPT',
    ' EVENT: -4 -t filter -D FORWARD -m comment --comment "says \\"netnsd:nat/web:0123456789ab\\"" -j ACCEPT',
    'newline" -m comment --comment "netnsd:nat/web:0123456789ab" -j ACCEPT',
  ])('is passed over if it is nothing to netnsd: %#', (line) => {
    expect(parseFirewallLine(line)).toBeNull();
  });
});

describe('lines', () => {
  it('end with LF alone, wherever the pieces are cut', () => {
    const text = Buffer.from('one\u2028two\rthree\n\nvier ü\nrest');
    for (let at = 0; at <= text.length; at++) {
      const lines: string[] = [];
      const splitter = new LineSplitter((line) => lines.push(line));
      splitter.push(text.subarray(0, at));
      splitter.push(text.subarray(at));
      expect(lines).toEqual(['one\u2028two\rthree', '', 'vier ü']);
    }
  });

  it('that never end do not fill the memory', () => {
    const lines: string[] = [];
    const splitter = new LineSplitter((line) => lines.push(line));
    for (let n = 0; n < 64; n++) splitter.push(Buffer.alloc(65_536, 'x'));
    splitter.push(Buffer.from('\nnext\n'));
    expect(lines.at(-1)).toBe('next');
    expect(lines[0]?.length ?? 0).toBeLessThan(1_200_000);
  });
});
