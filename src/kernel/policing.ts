import type { Policing } from '../schemas/end.ts';
import { asObject, text } from './json-fields.ts';
import { POLICE_PREF } from './marks.ts';

/** The devices, of those that `tc -j qdisc show` tells of, at which something may be netnsd's policing. */
export function devicesWithIngress(qdiscs: readonly unknown[]): string[] {
  return qdiscs.flatMap((entry) => {
    const qdisc = asObject(entry);
    const name = text(qdisc?.['dev']);
    // In a block of its own, filters are not of the device alone: netnsd makes none.
    const mayBeOurs = qdisc?.['kind'] === 'ingress' && qdisc['ingress_block'] === undefined;
    return mayBeOurs && name !== null && SAFE_NAME.test(name) ? [name] : [];
  });
}

/** Those of netnsd are; a name of others' could be read as more than that. */
const SAFE_NAME = /^[A-Za-z0-9_.:]+$/;

/** Lines for one `tc -force -batch -`: what is at each device, and the filters in that. */
export function showFilters(names: readonly string[]): string {
  return names.map((name) => `qdisc show dev ${name}\nfilter show dev ${name} ingress\n`).join('');
}

/**
 * What netnsd has at each of the devices, as the answer tells; those at which something is somebody else's are left out.
 * Null if the answer does not fit the devices: one of them, or what was there, has gone meanwhile.
 *
 * Not as JSON: there `tc` leaves the rate out of a `police` (iproute2 6.1).
 */
export function parseFilters(answer: string, names: readonly string[]): Map<string, Policing> | null {
  // Of each device, what it receives by comes last of its queueing disciplines, and then the filters in that.
  const [, ...parts] = answer.split(/^qdisc (?=ingress )/m);
  if (parts.length !== names.length) return null;
  return new Map(
    names.flatMap((name, at): [string, Policing][] => {
      const policing = policingIn(parts[at] ?? '');
      return policing === null ? [] : [[name, policing]];
    }),
  );
}

function policingIn(part: string): Policing | null {
  const filters = part.split(/^(?=filter )/m).filter((each) => each.startsWith('filter '));
  if (filters.length === 0) return { ingressKbit: null };
  const own = filters.filter((each) => OWN.test(each));
  const rates = own.flatMap((each) => rateOf(each) ?? []);
  const [ingressKbit] = rates;
  if (ingressKbit === undefined) return null;
  return { ingressKbit, ...(own.length === filters.length ? {} : { isShared: true }) };
}

/** Of each filter there is a line without a handle first, and one with it then. */
const OWN = new RegExp(`^filter (?:\\S+ )*?protocol all pref ${POLICE_PREF} matchall `);

function rateOf(filter: string): number | null {
  const printed = /\bpolice 0x[0-9a-f]+ rate (\d+)([KMGT]?)bit /.exec(filter);
  if (printed === null) return null;
  const [, digits = '', unit = ''] = printed;
  const marked = Number(/\bhandle (0x[0-9a-f]+)/.exec(filter)?.[1] ?? 0);
  // If the rate is what `tc` makes of the handle, it is that.
  if (asPrinted(marked * 1000) === `${digits}${unit}`) return marked;
  return (Number(digits) * 1000 ** UNITS.indexOf(unit)) / 1000;
}

const UNITS = ['', 'K', 'M', 'G', 'T'];

/** A rate in bit/s as `tc` prints it (print_rate in iproute2): in the largest unit that leaves three digits, or loses nothing. */
function asPrinted(bits: number): string {
  let rate = bits;
  for (const unit of UNITS) {
    if (rate < 1000 || (rate % 1000 !== 0 && rate < 1_000_000)) return `${rate}${unit}`;
    rate = Math.floor(rate / 1000);
  }
  return '';
}
