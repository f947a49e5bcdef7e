import type { Family } from '../schemas/address.ts';
import { ANSWERS, answersIn } from './answers.ts';
import type { Frame } from './firewall.ts';
import { makeChainRule } from './rule.ts';

/**
 * The chains of the firewalls of bridges. What forbids stands in the table `mangle`, which a packet passes before
 * `filter`: an ACCEPT there, which Docker, ufw or an administrator puts before ours, does not overrule it.
 *
 *     mangle FORWARD … -> NETNSD-BRIDGE -> NETNSD-INTERNAL  drops what goes out of an internal bridge, or into it
 *                                       -> NETNSD-REACH     accepts what comes to a bridge from those in its
 *                                                           `reachableFrom`, and by NETNSD-ANSWERS what it answers
 *                                       -> NETNSD-ISOLATE   sends what comes from an isolated bridge, or goes to it,
 *                                                           to NETNSD-TO and NETNSD-FROM, which drop it if it goes to
 *                                                           another bridge of ours, or comes from one
 *                                       -> NETNSD-OPEN      sends what goes to one that is not isolated to NETNSD-PEERS,
 *                                                           which accepts it if it comes from another bridge of ours
 *                                       -> NETNSD-INBOUND   drops what else comes in from outside, and between ports
 *     mangle PREROUTING … -> NETNSD-SOURCE  drops what begins a flow with a source address of a bridge's network and has
 *                                           not come from that bridge (RFC 2827): whoever could would have conntrack
 *                                           take his own next packet for the answer, and answers pass
 *     mangle INPUT …   -> NETNSD-HOST   -> NETNSD-INPUT     returns what every bridge may; drops the rest from those
 *                                                           without `hostAccess`
 *                                       -> NETNSD-GATEWAY   sends what comes to an address of a bridge by another way,
 *                                                           and is neither answer nor translated, to NETNSD-STRANGE,
 *                                                           which drops it if it comes from no bridge of ours
 *
 * Accepts that FORWARD's own policy may make necessary stand in `filter`, in NETNSD-IN and NETNSD-OUT.
 */
export const BRIDGE_CHAINS = {
  bridge: 'NETNSD-BRIDGE',
  internal: 'NETNSD-INTERNAL',
  reach: 'NETNSD-REACH',
  isolate: 'NETNSD-ISOLATE',
  to: 'NETNSD-TO',
  from: 'NETNSD-FROM',
  open: 'NETNSD-OPEN',
  peers: 'NETNSD-PEERS',
  inbound: 'NETNSD-INBOUND',
  host: 'NETNSD-HOST',
  input: 'NETNSD-INPUT',
  gateway: 'NETNSD-GATEWAY',
  strange: 'NETNSD-STRANGE',
  source: 'NETNSD-SOURCE',
} as const;

/** What bridges without access to the host may send it all the same, beside answers: ICMP, DHCP and DNS. */
const TO_HOST = {
  4: ['-p icmp', '-p udp -m udp --dport 67'],
  6: ['-p ipv6-icmp', '-p udp -m udp --dport 547'],
} as const;
const TO_HOST_OF_BOTH = ['-p udp -m udp --dport 53', '-p tcp -m tcp --dport 53'];

/**
 * RFC 4861: with br_netfilter on, neighbor solicitations and advertisements between ports pass FORWARD as well. These still
 * have the hop limit 255. What is routed has less, is none (section 7.1), and would be a way past every firewall.
 */
const NEIGHBOR_DISCOVERY = ['135', '136'].map(
  (type) => `-p ipv6-icmp -m icmp6 --icmpv6-type ${type} -m hl --hl-eq 255`,
);

/** Adds them with the jumps to them; chains stand before those that jump to them. */
export function addBridgeChains({ chain, jump }: Frame, family: Family): void {
  const { bridge, internal, reach, isolate, to, from, open, peers, inbound } = BRIDGE_CHAINS;
  const fixed = (name: string, matches: readonly string[], target: string): string[] =>
    matches.map((match) => makeChainRule('mangle', name, match, target).spec);
  chain('mangle', ANSWERS, answersIn('mangle'));
  for (const name of [internal, reach, to, from, peers, isolate, open, inbound]) chain('mangle', name);
  chain('mangle', bridge, [
    ...(family === 6 ? fixed(bridge, NEIGHBOR_DISCOVERY, 'RETURN') : []),
    ...[internal, reach, isolate, open, inbound].flatMap((name) => fixed(bridge, [''], name)),
  ]);
  const { host, input, gateway, strange, source } = BRIDGE_CHAINS;
  chain('mangle', input, fixed(input, [...TO_HOST[family], ...TO_HOST_OF_BOTH], 'RETURN'));
  chain('mangle', strange, [
    ...fixed(strange, ['-i lo'], 'RETURN'),
    ...fixed(strange, [''], peers),
    ...fixed(strange, [''], 'DROP'),
  ]);
  chain('mangle', gateway);
  // NETNSD-PEERS ends the way through `mangle`: what hostAccess forbids is dropped before.
  chain('mangle', host, [...fixed(host, [''], input), ...fixed(host, [''], gateway)]);
  // What the machine sends to itself begins its flow on the way out, and comes by lo.
  chain('mangle', source, fixed(source, ['-i lo'], 'RETURN'));
  chain('filter', peers);
  jump('mangle', 'FORWARD', '', bridge);
  jump('mangle', 'INPUT', '', host);
  jump('mangle', 'PREROUTING', '', source);
}
