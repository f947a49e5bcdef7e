import ipaddr from 'ipaddr.js';

/** Two names of one thing (ip-sysctl.rst): whether the namespace forwards IPv4. */
export const IPV4_FORWARDING = {
  name: 'net.ipv4.ip_forward',
  alias: 'net.ipv4.conf.all.forwarding',
} as const;

/** The one name of what has two. By it alone it is written, and what was there before is kept. */
export function oneName(key: string): string {
  return key === IPV4_FORWARDING.alias ? IPV4_FORWARDING.name : key;
}

/** What was read, by all names that it has. */
export function byAllNames(values: Readonly<Record<string, string>>): Record<string, string> {
  const { name, alias } = IPV4_FORWARDING;
  return values[name] === undefined ? { ...values } : { ...values, [alias]: values[name] };
}

/** The value of a sysctl as one line: the kernel prints tabs between the numbers of one that has several. */
function words(value: string): string {
  return value.trim().split(/\s+/).join(' ');
}

/**
 * Whether two values of a sysctl are the same, word by word: numbers and IPv6 addresses in whatever way they are written,
 * since the kernel prints `1` for `01` and `0x1`, and addresses in full. A 0 in front is no sign of octal here, although
 * it is one to the kernel: `010` and the 8 that it makes of that differ.
 */
export function isSameValue(a: string, b: string): boolean {
  if (a === b) return true;
  const [left, right] = [words(a).split(' '), words(b).split(' ')];
  return left.length === right.length && left.every((word, at) => plainly(word) === plainly(right[at] ?? ''));
}

/** A number or an IPv6 address in the one way; any other word as it is. */
function plainly(word: string): string {
  if (word.includes(':') && ipaddr.IPv6.isValid(word)) return ipaddr.IPv6.parse(word).toString();
  const [, sign = '', digits] = /^([+-]?)(0x[0-9a-f]+|\d+)$/i.exec(word) ?? [];
  if (digits === undefined) return word;
  const amount = BigInt(digits);
  return String(sign === '-' ? -amount : amount);
}
