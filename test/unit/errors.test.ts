import { describe, expect, it } from 'vitest';
import { CommandFailed } from '../../src/kernel/errors.ts';

const FILTER = 'filter add dev a ingress protocol all pref 5173 matchall action police rate 8kbit';

describe('what a tool says', () => {
  it.each([
    ['ip netns add a', 'Cannot create namespace file "/run/netns/a": File exists', 'foreign-object'],
    [
      'ip netns delete a',
      'Cannot remove namespace file "/run/netns/a": No such file or directory',
      'assumption',
    ],
    ['ip -n x link show', 'Cannot open network namespace "x": No such file or directory', 'assumption'],
    ['ip -n x link show', 'setting the network namespace "x" failed: Invalid argument', 'assumption'],
    ['ip netns delete a', 'Cannot remove namespace file "/run/netns/a": Device or resource busy', 'in-use'],
    [
      'ip netns add a',
      'Failed to create a new network namespace "a": No space left on device',
      'limit-reached',
    ],
    ['ip netns add a', 'mount --make-shared /run/netns failed: Operation not permitted', 'permission'],
    ['ip netns add a', 'Cannot create namespace file "/run/netns/a": Read-only file system', 'permission'],
    ['ip link add name a type bridge', 'RTNETLINK answers: File exists', 'foreign-object'],
    ['ip link add name a type none', 'Error: Unknown device type.', 'kernel-unsupported'],
    ['ip link set dev a up', 'Cannot find device "a"', 'assumption'],
    ['ip link delete dev a', 'RTNETLINK answers: No such device', 'assumption'],
    ['ip address show dev a', 'Device "a" does not exist.', 'assumption'],
    ['ip link set dev a master br', 'Error: argument "br" is wrong: Device does not exist', 'assumption'],
    [
      'ip link set dev a netns /run/netns/x',
      'Error: argument "/run/netns/x" is wrong: Invalid "netns" value',
      'assumption',
    ],
    [
      'ip link set dev a netns /run/netns/x',
      'Error: An interface with the same name exists in the target netns.',
      'foreign-object',
    ],
    [
      'ip link set dev a type bridge_slave hairpin off',
      'RTNETLINK answers: Operation not supported',
      'assumption',
    ],
    ['ip link set dev a master br', 'RTNETLINK answers: Exchange full', 'limit-reached'],
    ['ip link set dev a mtu 1', 'Error: mtu less than device minimum.', 'unprocessable'],
    ['ip link set dev a mtu 99999', 'Error: mtu greater than device maximum.', 'unprocessable'],
    ['ip link set dev a up', 'RTNETLINK answers: Operation not permitted', 'permission'],
    ['ip address add 10.0.0.1/24 dev a', 'Error: ipv4: Address already assigned.', 'assumption'],
    ['ip address add fd00::1/64 dev a', 'Error: ipv6: address already assigned.', 'assumption'],
    ['ip address delete 10.0.0.1/24 dev a', 'Error: ipv4: Address not found.', 'assumption'],
    [
      'ip address add fd00::1/64 dev a',
      'Error: ipv6: IPv6 is disabled on this device.',
      'kernel-unsupported',
    ],
    ['ip route add default via 10.0.0.9', 'RTNETLINK answers: File exists', 'foreign-object'],
    ['ip route add default via 10.0.0.9', 'Error: Nexthop has invalid gateway.', 'unprocessable'],
    ['ip route add default via 10.0.0.1 src 10.9.0.1', 'Error: Invalid prefsrc address.', 'unprocessable'],
    ['ip route add default via fd00::9', 'RTNETLINK answers: No route to host', 'unprocessable'],
    ['ip route delete default', 'RTNETLINK answers: No such process', 'assumption'],
    [
      'ip netns attach a 99',
      'Bind /proc/99/ns/net -> /run/netns/a failed: No such file or directory',
      'unprocessable',
    ],
    ['iptables -N X', 'iptables: Chain already exists.', 'assumption'],
    ['iptables -D X', 'iptables: Bad rule (does a matching rule exist in that chain?).', 'assumption'],
    ['iptables-restore', "iptables-restore v1.8.9 (nf_tables): Chain 'X' does not exist", 'assumption'],
    [
      'iptables -X X',
      'iptables v1.8.9 (nf_tables):  CHAIN_DEL failed (Device or resource busy): chain X',
      'in-use',
    ],
    [
      'iptables -L',
      'iptables v1.8.9 (nf_tables): Could not fetch rule set generation id: Permission denied (you must be root)',
      'permission',
    ],
    [
      'iptables -L',
      'Another app is currently holding the xtables lock. Stopped waiting after 1s.',
      'firewall-busy',
    ],
    ['iptables -L', 'modprobe: iptables who? (do you need to insmod?)', 'kernel-unsupported'],
    ['iptables -L', 'iptables: Failed to initialize nft: Protocol not supported', 'kernel-unsupported'],
    ['tc qdisc add dev a ingress', 'Error: Specified qdisc kind is unknown.', 'kernel-unsupported'],
    ['tc qdisc add dev a ingress', 'Error: Exclusivity flag on, cannot modify.', 'assumption'],
    ['tc qdisc del dev a ingress', 'Error: Invalid handle.', 'assumption'],
    ['tc qdisc del dev a ingress', 'Error: Invalid qdisc name: must match existing qdisc.', 'assumption'],
    [`tc -n b ${FILTER}`, 'Error: TC classifier not found.', 'kernel-unsupported'],
    [`tc ${FILTER}`, 'Error: Failed to load TC action module.', 'kernel-unsupported'],
    [`tc ${FILTER}`, "Error: Parent Qdisc doesn't exists.", 'assumption'],
    [`tc ${FILTER}`, 'Error: Filter already exists.', 'assumption'],
    [`tc ${FILTER}`, 'Error: Specified filter kind does not match existing one.', 'foreign-object'],
    [
      'tc filter del dev a ingress pref 5173',
      'Error: Filter with specified priority/protocol not found.',
      'assumption',
    ],
    ['tc filter del dev a ingress pref 5173', 'Error: Cannot find specified filter chain.', 'assumption'],
    ['ip link set dev a up', 'RTNETLINK answers: Connection timed out', 'kernel-error'],
  ])('%s: %s', (command, stderr, meaning) => {
    const { failure } = new CommandFailed(command, 1, stderr);
    expect(failure.cause === 'refusal' ? failure.refusal : failure.cause).toBe(meaning);
  });
});
