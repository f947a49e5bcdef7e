import type { Family } from '../schemas/address.ts';
import { ownComment } from './firewall.ts';
import type { Ref } from '../schemas/common.ts';

/** A rule with our comment has come or gone. */
export interface RuleEvent {
  type: 'rule';
  family: Family;
  table: string;
  chain: string;
  deleted: boolean;
  comment: string;
  /** Null for a jump, or a rule that stands at a chain's start. */
  owner: Ref | null;
}

/** A chain has come or gone, or bears another name than before: the kernel tells only the new one. */
interface ChainEvent {
  type: 'chain';
  family: Family;
  table: string;
  chain: string;
  deleted: boolean;
}

/** A table went with all that was in it. */
interface TableEvent {
  type: 'table';
  family: Family;
  table: string;
}

export type FirewallEvent = RuleEvent | ChainEvent | TableEvent;

/** Reads one line of `xtables-monitor --event`; null for what says nothing of what netnsd makes. */
export function parseFirewallLine(line: string): FirewallEvent | null {
  return parseRuleOrChain(line) ?? parseTable(line);
}

function parseRuleOrChain(line: string): RuleEvent | ChainEvent | null {
  const [, version, table, action, chain, words = ''] =
    /^ EVENT: -([46]) -t (\S+) -([ADNX]) (\S+)(?: (.*))?$/.exec(line) ?? [];
  if (table === undefined || chain === undefined) return null;
  const place = { family: version === '6' ? 6 : 4, table, chain } as const;
  if (action === 'N' || action === 'X') return { type: 'chain', ...place, deleted: action === 'X' };
  const comment = /--comment (?:"((?:[^"\\]|\\.)*)"|(\S+))/.exec(words);
  const own = ownComment(comment?.[1] ?? comment?.[2] ?? null);
  if (own === null) return null;
  return { type: 'rule', ...place, deleted: action === 'D', ...own };
}

function parseTable(line: string): TableEvent | null {
  const [, table, version] = /^ EVENT: nft: DEL table: table (\S+) (ip6?) /.exec(line) ?? [];
  return table === undefined ? null : { type: 'table', family: version === 'ip6' ? 6 : 4, table };
}
