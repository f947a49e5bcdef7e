import ipaddr from 'ipaddr.js';

export type Family = 4 | 6;

/** An IP address with its prefix length, as it stands on an interface or names a network. */
interface Prefix {
  family: Family;
  address: string;
  prefixLength: number;
}

const MAX_PREFIX_LENGTH = { 4: 32, 6: 128 } as const;

/**
 * Family of an address, a prefix or a route's destination in canonical text.
 * `default` has no family of its own: the caller decides.
 */
export function familyOf(text: string): Family {
  return text.includes(':') ? 6 : 4;
}

/** Splits canonical `ADDRESS/LENGTH` text; an address without a length stands for itself alone. */
export function parsePrefix(text: string): Prefix {
  const family = familyOf(text);
  const [address = '', length] = text.split('/');
  return { family, address, prefixLength: length === undefined ? MAX_PREFIX_LENGTH[family] : Number(length) };
}

/** An address as the network that it alone is in, as iptables-save prints it. */
export function alone(address: string): string {
  return `${address}/${MAX_PREFIX_LENGTH[familyOf(address)]}`;
}

/** The network that an interface address lies in, canonically: `10.1.1.3/24` gives `10.1.1.0/24`. */
export function networkOf(text: string): string {
  const { family, prefixLength } = parsePrefix(text);
  const network =
    family === 4 ? ipaddr.IPv4.networkAddressFromCIDR(text) : ipaddr.IPv6.networkAddressFromCIDR(text);
  return `${canonical(network)}/${prefixLength}`;
}

/** Says what is wrong with a plain address (`10.1.1.3`, `fd00::1`), or null if nothing is. */
export function explainAddress(text: string): string | null {
  const parsed = parseStrictly(text);
  if (typeof parsed === 'string') return parsed;
  return explainUnusable(parsed, text);
}

/**
 * Says why nothing from elsewhere is led to an address, or null if it can be: it is a machine's for itself, or (RFC 4291,
 * section 2.5.6) good on one link only. 169.254.0.0/16 is forwarded like any other network.
 */
export function explainUnroutable(address: string): string | null {
  const isLoopback = ipaddr.parse(address).range() === 'loopback';
  if (isLoopback) return `${address} is an address of the loopback interface`;
  return isLinkLocal(address) ? `${address} is a link-local address` : null;
}

/** Whether an address is that of one link only: fe80::/10 (RFC 4291, section 2.5.6). */
export function isLinkLocal(address: string): boolean {
  return familyOf(address) === 6 && ipaddr.parse(address).range() === 'linkLocal';
}

/** Says what is wrong with a multicast address (`239.1.1.1`, `ff05::100`), or null if nothing is. */
export function explainMulticast(text: string): string | null {
  const parsed = parseStrictly(text);
  if (typeof parsed === 'string') return parsed;
  return parsed.range() === 'multicast' ? null : `${text} is no multicast address, such as 239.1.1.1`;
}

/** Says what is wrong with an interface address (`10.1.1.3/24`), or null if nothing is. */
export function explainInterfaceAddress(text: string): string | null {
  const parts = parsePrefixStrictly(text);
  if (typeof parts === 'string') return parts;
  const { address, family, prefixLength, parsed } = parts;
  const unusable = explainUnusable(parsed, address);
  if (unusable !== null) return unusable;
  // RFC 3021: the two addresses of a /31 are both hosts; a /32 is a host alone.
  if (family === 4 && prefixLength < 31) {
    const network = ipaddr.IPv4.networkAddressFromCIDR(text).toString();
    const broadcast = ipaddr.IPv4.broadcastAddressFromCIDR(text).toString();
    if (address === network) return `${text} is the address of the network itself; give one of its hosts`;
    if (address === broadcast)
      return `${text} is the broadcast address of its network; give one of its hosts`;
  }
  return null;
}

/** Says what is wrong with a network (`10.1.1.0/24`; no bits beyond the prefix), or null if nothing is. */
export function explainNetwork(text: string): string | null {
  const parts = parsePrefixStrictly(text);
  if (typeof parts === 'string') return parts;
  const network = networkOf(text);
  if (network !== text) return `${text} has bits set beyond its prefix length; the network is ${network}`;
  return null;
}

/** Says what is wrong with the destination of a route: `default` or a network. */
export function explainDestination(text: string): string | null {
  if (text === 'default') return null;
  const problem = explainNetwork(text);
  if (problem === null && parsePrefix(text).prefixLength === 0)
    return `${text} is every address: write \`default\``;
  return problem;
}

function parsePrefixStrictly(text: string) {
  const match = /^([^/]+)\/(0|[1-9][0-9]{0,2})$/.exec(text);
  const [, address, length] = match ?? [];
  if (address === undefined) return `${quote(text)} needs a prefix length, such as 10.1.1.3/24 or fd00::3/64`;
  const parsed = parseStrictly(address);
  if (typeof parsed === 'string') return parsed;
  const family: Family = parsed.kind() === 'ipv4' ? 4 : 6;
  const prefixLength = Number(length);
  if (prefixLength > MAX_PREFIX_LENGTH[family])
    return `the prefix length of ${text} is over ${MAX_PREFIX_LENGTH[family]}`;
  return { address, family, prefixLength, parsed };
}

/**
 * Only canonical text is taken (RFC 5952 for IPv6): `010.1.0.3` means 8.1.0.3 to some tools and 10.1.0.3 to
 * others, and two spellings of one address would be two addresses to whoever compares text.
 */
function parseStrictly(text: string): ipaddr.IPv4 | ipaddr.IPv6 | string {
  if (!ipaddr.isValid(text) || /[^0-9a-fA-F.:]/.test(text))
    return `${quote(text)} is not an IPv4 or IPv6 address`;
  const parsed = ipaddr.parse(text);
  if (parsed instanceof ipaddr.IPv6 && parsed.isIPv4MappedAddress())
    return `${text} is an IPv4 address written as IPv6; write ${parsed.toIPv4Address().toString()}`;
  const canonicalText = canonical(parsed);
  if (canonicalText !== text)
    return `${quote(text)} is not written canonically; if ${canonicalText} is meant, write that`;
  return parsed;
}

function explainUnusable(parsed: ipaddr.IPv4 | ipaddr.IPv6, text: string): string | null {
  const range = parsed.range();
  if (range === 'multicast') return `${text} is a multicast address; an interface needs a unicast one`;
  if (range === 'unspecified') return `${text} is the unspecified address; an interface needs one of its own`;
  if (range === 'broadcast') return `${text} is the broadcast address; an interface needs one of its own`;
  return null;
}

function canonical(address: ipaddr.IPv4 | ipaddr.IPv6): string {
  return address instanceof ipaddr.IPv6 ? address.toRFC5952String() : address.toString();
}

function quote(text: string): string {
  return JSON.stringify(text.slice(0, 80));
}
