import type { HeldTie } from '../db/resources.ts';
import { isIn } from '../plan/ipam.ts';
import { refText } from '../schemas/common.ts';
import { addressOfLease } from '../schemas/ipam.ts';
import { compareRanges, rangeOfNetwork, type Range } from '../schemas/range.ts';
import { Problem } from './problem.ts';

/** So many are named at most where a subnet is full. */
const MOST_NAMED = 20;

interface Use {
  usable: Range;
  /** The addresses of the bridge itself. */
  own: readonly Range[];
  reserved: readonly Range[];
  /** What is given and fixed on the network. */
  held: readonly HeldTie[];
  /** The namespace that an address was to be for; all that is left is had there by other interfaces. */
  namespace: string;
}

/** A subnet of a bridge has no address left. Each of its addresses is counted once, for the first reason that there is. */
export function exhausted(bridge: string, subnet: string, use: Use): Problem {
  const { usable, own, reserved, namespace } = use;
  const kept = [...own, ...reserved];
  const others = othersIn(use, kept);
  const byLink = Map.groupBy(others, refText);
  const counts = {
    all: usable.last - usable.first + 1n,
    own: countIn(usable, own),
    kept: countIn(usable, kept),
    taken: countIn(usable, [...kept, ...others.map(({ what }) => rangeOfNetwork(addressOfLease(what)))]),
  };
  const elsewhere = counts.all - counts.taken;
  const parts = [
    `the bridge has ${counts.own}`,
    `${counts.kept - counts.own} are reserved`,
    `${counts.taken - counts.kept} are used${namesOf(byLink)}`,
    ...(elsewhere === 0n ? [] : [`other interfaces in ${namespace} have ${elsewhere}`]),
  ];
  return new Problem(
    'limit-reached',
    `the subnet ${subnet} of bridge/${bridge} is used up: of ${counts.all} addresses, ${parts.slice(0, -1).join(', ')}, and ${parts.at(-1) ?? ''}; delete a link, or give the bridge another subnet. GET /bridges/${bridge}/leases lists what netnsd has given`,
    {
      references: [...byLink.values()]
        .slice(0, MOST_NAMED)
        .flatMap(([tie]) => (tie === undefined ? [] : [{ kind: tie.kind, name: tie.name }])),
    },
  );
}

/** In order of address. */
function othersIn({ usable, held }: Use, kept: readonly Range[]): HeldTie[] {
  return held
    .map((tie) => ({ ...tie, address: addressOfLease(tie.what) }))
    .filter(({ address }) => isIn(address, usable) && !kept.some((range) => isIn(address, range)))
    .toSorted((a, b) => compareRanges(rangeOfNetwork(a.address), rangeOfNetwork(b.address)));
}

function namesOf(byLink: ReadonlyMap<string, readonly HeldTie[]>): string {
  if (byLink.size === 0) return '';
  const named = [...byLink]
    .slice(0, MOST_NAMED)
    .map(([link, ties]) => (ties.length === 1 ? link : `${link} (${ties.length})`));
  return ` by ${named.join(', ')}${byLink.size > MOST_NAMED ? ` and ${byLink.size - MOST_NAMED} more` : ''}`;
}

/** How many addresses of a range are in any of others. */
function countIn({ family, first, last }: Range, others: readonly Range[]): bigint {
  let from = first;
  let count = 0n;
  for (const other of others.filter((range) => range.family === family).toSorted(compareRanges)) {
    const start = other.first > from ? other.first : from;
    const end = other.last < last ? other.last : last;
    if (start > end) continue;
    count += end - start + 1n;
    from = end + 1n;
  }
  return count;
}
