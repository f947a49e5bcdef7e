import { createHash } from 'node:crypto';
import { refText, type Ref } from '../schemas/common.ts';
import { ruleKey, type Firewall, type Rule, type Table } from '../kernel/state.ts';

const HASH_LENGTH = 12;

/**
 * A rule with its mark: `match` and `target` in the order and spelling in which iptables-save prints them. The
 * hash is over all that the rule says, so that a rule is as intended exactly if its comment is.
 */
export function makeRule(serves: Ref, table: Table, chain: string, match: string, target: string): Rule {
  const comment = markOf(refText(serves), `${table} ${chain} ${match} ${target}`);
  return { serves, table, chain, spec: withComment(match, comment, target), comment };
}

/** A rule that belongs to a chain rather than to a resource: a jump, or one that stands at a chain's start. */
export function makeChainRule(
  table: Table,
  chain: string,
  match: string,
  target: string,
): { spec: string; comment: string } {
  const comment = markOf(`chain/${chain}`, `${table} ${chain} ${match} ${target}`);
  return { spec: withComment(match, comment, target), comment };
}

export function addRule(firewall: Firewall, rule: Rule): void {
  firewall.rules.set(ruleKey(rule), rule);
}

function markOf(owner: string, says: string): string {
  const hash = createHash('sha256').update(says).digest('hex').slice(0, HASH_LENGTH);
  return `netnsd:${owner}:${hash}`;
}

function withComment(match: string, comment: string, target: string): string {
  return `${match === '' ? '' : `${match} `}-m comment --comment "${comment}" -j ${target}`;
}

/** The comments of all rules of a firewall, those that stand at the start of its chains included. */
export function marksOf({ chains, rules }: Firewall): string[] {
  const fixed = [...chains.values()].flatMap((chain) => chain.fixed);
  return [...[...rules.values()].map(({ comment }) => comment), ...fixed.map(markIn)];
}

/** The mark in a rule that one of the functions above has made. */
function markIn(spec: string): string {
  return /--comment "([^"]*)"/.exec(spec)?.[1] ?? '';
}
