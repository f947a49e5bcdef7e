import ipaddr from 'ipaddr.js';
import { Type, type Static } from 'typebox';
import {
  explainAddress,
  explainInterfaceAddress,
  explainNetwork,
  parsePrefix,
  type Family,
} from './address.ts';
import { refText, type Ref } from './common.ts';
import { ref, strictObject } from './object.ts';
import { rangeOfNetwork, type Range } from './range.ts';

/** In place of an address, a gateway or a subnet: netnsd is to choose. */
export const AUTO = 'auto';
export const AUTO_IPV6 = 'auto-ipv6';

/** Whether the subnet is left to netnsd. */
export function isAutoSubnet(asked: string): boolean {
  return asked === AUTO || asked === AUTO_IPV6;
}

/** The family of a subnet as it was asked for. */
export function familyOfSubnet(asked: string): Family {
  return asked === AUTO_IPV6 || asked.includes(':') ? 6 : 4;
}

/** What subnets are chosen from: blocks of a length out of a network. */
export interface AddressPool {
  network: string;
  prefixLength: number;
}

/** RFC 1918 and RFC 4193: both for private use; these are not what routers at home or Docker have by default. */
export const DEFAULT_POOLS: readonly AddressPool[] = [
  { network: '10.192.0.0/12', prefixLength: 24 },
  { network: 'fd6e:6574:6e73::/48', prefixLength: 64 },
];

/** A subnet of a bridge: as it was asked for, as it is, and the address of the bridge in it. */
export interface SubnetAssigned {
  asked: string;
  subnet: string;
  gateway: string;
}

/** What was chosen for one end of a link: an address out of each subnet of the bridge at the other end. */
export interface EndAssigned {
  bridge: string;
  leases: { address: string; subnet: string; /** When it was given. */ since: string }[];
  /** The address of the bridge, of each family at most once. */
  gateways: string[];
}

/** The smallest prefix length that still is one network at a place, rather than a part of the internet. */
const SHORTEST = { 4: 8, 6: 32 } as const;
/** RFC 3021 and RFC 6164: two hosts, of which the bridge is one. */
const LONGEST = { 4: 31, 6: 127 } as const;
const UNUSABLE: readonly string[] = ['unspecified', 'broadcast', 'multicast', 'loopback', 'linkLocal'];

/** Says what is wrong with an entry of `subnets`, or null if nothing is. */
export function explainSubnet(text: string): string | null {
  if (isAutoSubnet(text)) return null;
  const wrong = explainNetwork(text);
  if (wrong !== null) return `${wrong}; give a network such as 10.1.1.0/24, or \`auto\` or \`auto-ipv6\``;
  const { family, address, prefixLength } = parsePrefix(text);
  if (prefixLength < SHORTEST[family] || prefixLength > LONGEST[family])
    return `the prefix length of ${text} must be from ${SHORTEST[family]} to ${LONGEST[family]}`;
  const kind = ipaddr.parse(address).range();
  return UNUSABLE.includes(kind) ? `${text} can't be a subnet: its addresses are ${kind}` : null;
}

/** Says what is wrong with an address of an interface that may be left to netnsd, or null. */
export function explainAddressOrAuto(text: string): string | null {
  return text === AUTO ? null : explainInterfaceAddress(text);
}

/** Says what is wrong with a gateway that may be left to netnsd, or null. */
export function explainGateway(text: string): string | null {
  return text === AUTO ? null : explainAddress(text);
}

/** Reads `10.192.0.0/12:24`: blocks of /24 out of 10.192.0.0/12. Gives a sentence if it can't be. */
export function parsePool(text: string): AddressPool | string {
  const [, network = '', length = ''] = /^(.+):(\d{1,3})$/.exec(text) ?? [];
  const prefixLength = Number(length);
  const wrong = network === '' ? 'it needs a length' : explainNetwork(network);
  if (wrong !== null)
    return `${JSON.stringify(text)} is no pool: ${wrong}; write NETWORK:LENGTH such as 10.192.0.0/12:24`;
  const wrongBlock = explainSubnet(`${parsePrefix(network).address}/${prefixLength}`);
  if (wrongBlock !== null) return `${JSON.stringify(text)} is no pool: ${wrongBlock}`;
  if (prefixLength < parsePrefix(network).prefixLength)
    return `${JSON.stringify(text)} is no pool: blocks of /${prefixLength} do not fit into ${network}`;
  return { network, prefixLength };
}

/** Where the leases of a bridge stand in the store. No namespace has such a name. */
export function leasePlace(bridge: string): string {
  return refText({ kind: 'bridge', name: bridge });
}

export function leaseTie(bridge: string, address: string): { namespace: string; what: string } {
  return { namespace: leasePlace(bridge), what: `${LEASE}${address}` };
}

const LEASE = 'lease ';

/** The address that a claim or a need in a `leasePlace` is about. */
export function addressOfLease(what: string): string {
  return what.slice(LEASE.length);
}

/** Something that has addresses, which no subnet may overlap. */
export interface Occupied {
  namespace: string;
  range: Range;
  /** For a person: `the address 10.1.1.5/24 of ens33`. */
  what: string;
  /** The interface that has it, in the kernel; the resource, if it is an intent. */
  device: string | null;
  owner: Ref | null;
}

/** No addresses of anybody's: default routes, in two halves as well, and what is on every link. */
export function isEverywhere(network: string): boolean {
  const { address, prefixLength } = parsePrefix(network);
  if (prefixLength <= 1) return true;
  return ['multicast', 'linkLocal'].includes(ipaddr.parse(address).range());
}

export function occupied(
  namespace: string,
  network: string,
  what: string,
  by: Pick<Occupied, 'device' | 'owner'>,
): Occupied[] {
  return isEverywhere(network) ? [] : [{ namespace, range: rangeOfNetwork(network), what, ...by }];
}

export const Subnet = strictObject(
  { subnet: Type.String(), gateway: Type.String({ description: 'the address of the bridge itself' }) },
  { $id: 'Subnet', description: 'a subnet of a bridge, as it was asked for or chosen' },
);

export const EndLease = strictObject(
  { address: Type.String(), subnet: Type.String(), since: Type.String({ format: 'date-time' }) },
  { $id: 'EndLease', description: 'an address that was chosen out of a subnet' },
);

/** What the status of an end has beside what the kernel has, if it says `auto`. */
export const autoStatusFields = {
  leases: Type.Optional(
    Type.Array(ref(EndLease), { description: 'what was chosen for `auto`; left out if nothing was' }),
  ),
  gateways: Type.Optional(
    Type.Array(Type.String(), { description: 'what `via: auto` means; left out with `leases`' }),
  ),
};

export const Lease = strictObject(
  {
    address: Type.String(),
    subnet: Type.String(),
    link: Type.String(),
    end: Type.Enum(['own', 'peer'], { description: 'which end of the link has it' }),
    interface: Type.String(),
    namespace: Type.String(),
    since: Type.String({ format: 'date-time', description: 'when it was given' }),
  },
  { $id: 'Lease', description: 'who has an address that was chosen out of a subnet of a bridge' },
);
export type Lease = Static<typeof Lease>;
