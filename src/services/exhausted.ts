import type { HeldTie } from '../db/resources.ts';
import { isIn } from '../plan/ipam.ts';
import { refText } from '../schemas/common.ts';
import { addressOfLease } from '../schemas/ipam.ts';
import { compareRanges, rangeOfNetwork, type Range } from '../schemas/range.ts';
import { Problem } from './problem.ts';

/** So many are named at most where a subnet is full. */
const MOST_NAMED = 20;

/** A subnet of a bridge has no address left. */
export function exhausted(
  bridge: string,
  subnet: string,
  {
    held,
    gateway,
    reserved,
    usable,
  }: { held: readonly HeldTie[]; gateway: string; reserved: readonly Range[]; usable: Range },
): Problem {
  const others = held
    .filter(({ what }) => addressOfLease(what) !== gateway && isIn(addressOfLease(what), usable))
    .toSorted((a, b) =>
      compareRanges(rangeOfNetwork(addressOfLease(a.what)), rangeOfNetwork(addressOfLease(b.what))),
    );
  const byLink = Map.groupBy(others, refText);
  const named = [...byLink]
    .slice(0, MOST_NAMED)
    .map(([link, ties]) => (ties.length === 1 ? link : `${link} (${ties.length})`));
  const more = byLink.size > MOST_NAMED ? ` and ${byLink.size - MOST_NAMED} more` : '';
  const by = named.length === 0 ? '' : ` by ${named.join(', ')}${more}`;
  const kept = countIn(usable, reserved);
  return new Problem(
    'limit-reached',
    `the subnet ${subnet} of bridge/${bridge} is used up: of ${usable.last - usable.first + 1n} addresses, the bridge has 1, ${kept} are reserved, and ${others.length} are used${by}; delete a link, or give the bridge another subnet. GET /bridges/${bridge}/leases lists them`,
    {
      references: [...byLink.values()]
        .slice(0, MOST_NAMED)
        .flatMap(([tie]) => (tie === undefined ? [] : [{ kind: tie.kind, name: tie.name }])),
    },
  );
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
