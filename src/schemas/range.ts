import ipaddr from 'ipaddr.js';
import { explainAddress, familyOf, parsePrefix, type Family } from './address.ts';

/** Addresses of one family from one to another, both counted in; as numbers, since a /64 has more than 2^53. */
export interface Range {
  family: Family;
  first: bigint;
  last: bigint;
}

const BITS = { 4: 32, 6: 128 } as const;

/** An address in canonical text as a number. */
export function numberOf(address: string): bigint {
  return ipaddr
    .parse(address)
    .toByteArray()
    .reduce((number, octet) => (number << 8n) | BigInt(octet), 0n);
}

/** The address of that number, canonically (RFC 5952 for IPv6). */
export function addressOf(family: Family, number: bigint): string {
  const octets = Array.from({ length: BITS[family] / 8 }, (_, at) =>
    Number((number >> BigInt(BITS[family] - 8 * (at + 1))) & 0xffn),
  );
  const address = ipaddr.fromByteArray(octets);
  return address instanceof ipaddr.IPv6 ? address.toRFC5952String() : address.toString();
}

/** All of the network that `ADDRESS/LENGTH` lies in, or an address alone. */
export function rangeOfNetwork(text: string): Range {
  const { family, address, prefixLength } = parsePrefix(text);
  const hostBits = BigInt(BITS[family] - prefixLength);
  const first = (numberOf(address) >> hostBits) << hostBits;
  return { family, first, last: first + (1n << hostBits) - 1n };
}

/** An entry of `reserved`: an address, or a range such as `10.1.1.200-10.1.1.255`. */
export function parseReserved(text: string): Range {
  const [first = '', last = first] = text.split('-');
  return { family: familyOf(first), first: numberOf(first), last: numberOf(last) };
}

/** Says what is wrong with an entry of `reserved`, or null if nothing is. */
export function explainReserved(text: string): string | null {
  const [first = '', last = first, ...more] = text.split('-');
  if (more.length > 0) return `${JSON.stringify(text.slice(0, 80))} is neither an address nor a range`;
  const wrong = explainEnd(first) ?? explainEnd(last);
  if (wrong !== null) return wrong;
  if (familyOf(first) !== familyOf(last)) return `the two ends of ${text} are of two families`;
  return numberOf(last) < numberOf(first)
    ? `the range ${text} must go from a lower address to a higher one`
    : null;
}

/** The last address of a network may end a range, though no interface can have it. */
function explainEnd(address: string): string | null {
  const wrong = explainAddress(address);
  return wrong === null ? null : `${wrong}; give an address, or a range such as 10.1.1.200-10.1.1.255`;
}

export function overlap(a: Range, b: Range): boolean {
  return a.family === b.family && a.first <= b.last && b.first <= a.last;
}

export function isWithin(inner: Range, outer: Range): boolean {
  return inner.family === outer.family && outer.first <= inner.first && inner.last <= outer.last;
}

/** By family, then by where they begin. */
export function compareRanges(a: Range, b: Range): number {
  if (a.family !== b.family) return a.family - b.family;
  return a.first < b.first ? -1 : a.first > b.first ? 1 : 0;
}
