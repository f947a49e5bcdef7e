import type { Table } from '../kernel/state.ts';
import { makeChainRule } from './rule.ts';

/**
 * Answers are what goes the other way than the first packet of its flow, what is related to a flow (ICMP errors, say), and
 * both directions of a flow that a helper of conntrack expects. Without the direction, a flow that was open before it was
 * forbidden would go on for as long as it likes.
 */
export const ANSWERS = 'NETNSD-ANSWERS';

/** The fixed rules of the chain of that name, which accepts them. */
export function answersIn(table: Table): string[] {
  const states = ['RELATED', 'ESTABLISHED --ctdir REPLY', 'ESTABLISHED --ctstatus EXPECTED'];
  return states.map(
    (state) => makeChainRule(table, ANSWERS, `-m conntrack --ctstate ${state}`, 'ACCEPT').spec,
  );
}

/**
 * All else, as one match. Of a packet that no flow is known of the kernel asks the state alone (it is INVALID), not status and
 * direction.
 */
export const NO_ANSWER = '-m conntrack ! --ctstate RELATED ! --ctstatus EXPECTED --ctdir ORIGINAL';

/** The same without what was translated. DNAT is a state of all packets of such a flow, in both directions. */
export const NEITHER_ANSWER_NOR_TRANSLATED =
  '-m conntrack ! --ctstate RELATED,DNAT ! --ctstatus EXPECTED --ctdir ORIGINAL';
