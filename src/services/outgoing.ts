import type { Stored } from '../db/resources.ts';
import { rangeOfNetwork, overlap } from '../schemas/range.ts';
import { natFamily, type MasqueradeIntent, type NatAssigned, type SnatIntent } from '../schemas/nat.ts';
import type { Draft } from './draft.ts';
import { firewallTie } from './nat-ties.ts';
import { Problem } from './problem.ts';

type Outgoing = MasqueradeIntent | SnatIntent;

/** A rule with what is behind its names. */
interface Resolved {
  intent: Outgoing;
  assigned: NatAssigned;
}

/**
 * Throws if a rule and one that is there would give one packet different addresses: which of them it got would be left to
 * the order in which they were made. Two that have done so before may go on.
 */
export function checkOverlap(
  { intent, assigned }: { intent: Outgoing; assigned: NatAssigned },
  before: Pick<Stored<'nat'>, 'intent' | 'assigned'> | null,
  draft: Draft,
): void {
  const now = { intent, assigned };
  const earlier = resolvedOf(before);
  const { namespace } = intent;
  for (const { kind, name } of draft.needing({ namespace, what: firewallTie(natFamily(intent)) })) {
    const other = kind !== 'nat' || name === intent.name ? null : resolvedOf(draft.get('nat', name));
    if (other === null || !isEither(now, other)) continue;
    const was = resolvedOf(draft.recorded('nat', name));
    if (earlier !== null && was !== null && isEither(earlier, was)) continue;
    throw new Problem(
      'unprocessable',
      `nat/${intent.name} and nat/${name} would give the same traffic different addresses; let them differ in source or outInterface, or change nat/${name} first`,
      { references: [{ kind: 'nat', name }] },
    );
  }
}

function resolvedOf(stored: Pick<Stored<'nat'>, 'intent' | 'assigned'> | null): Resolved | null {
  if (stored === null || stored.intent.type === 'dnat') return null;
  return { intent: stored.intent, assigned: stored.assigned };
}

/** Whether there may be packets that either could translate, each to another address. */
function isEither(a: Resolved, b: Resolved): boolean {
  return (
    a.intent.namespace === b.intent.namespace &&
    natFamily(a.intent) === natFamily(b.intent) &&
    targetOf(a.intent) !== targetOf(b.intent) &&
    leavesAsWell(a, b) &&
    leavesAsWell(b, a) &&
    sourcesOf(a).some((one) => sourcesOf(b).some((two) => overlap(rangeOfNetwork(one), rangeOfNetwork(two))))
  );
}

function targetOf(intent: Outgoing): string {
  return intent.type === 'snat' ? intent.toAddress : intent.type;
}

function sourcesOf({ intent, assigned }: Resolved): string[] {
  return intent.source === null ? (assigned.sources ?? []) : [intent.source];
}

/** Whether the one may leave where the other does: by its interface, or by any but where it comes from. */
function leavesAsWell(one: Resolved, { intent: { outInterface } }: Resolved): boolean {
  if (outInterface === null) return true;
  if (one.intent.outInterface !== null) return one.intent.outInterface === outInterface;
  return outInterface !== (one.intent.inInterface ?? one.assigned.inInterface ?? null);
}
