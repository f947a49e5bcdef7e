import type { Family } from '../schemas/address.ts';
import { HOST, kindNames, refText, type Ref } from '../schemas/common.ts';
import { commandInside, type CommandLine } from './command-line.ts';
import { CommandFailed } from './errors.ts';
import { COMMENT_PREFIX } from './marks.ts';
import type { Processes } from './processes.ts';
import { tables, type Chain, type Firewall, type Rule, type Table } from './state.ts';

/** A rule as `iptables-save -c` prints it. */
interface SavedRule {
  table: string;
  chain: string;
  /** What follows `-A CHAIN`. */
  spec: string;
  comment: string | null;
  packets: number;
  bytes: number;
}

/** Everything that one `iptables-save` shows. */
export interface SavedFirewall {
  chains: { table: string; name: string }[];
  rules: SavedRule[];
}

/** The command line of a tool of iptables in a namespace. */
export function iptablesCommand(
  namespace: string,
  family: Family,
  tool: 'save' | 'restore',
  args: readonly string[],
): CommandLine {
  return commandInside(namespace, [`${family === 4 ? 'iptables' : 'ip6tables'}-${tool}`, ...args]);
}

/** Reads all rules of a namespace with their counters. */
export async function saveFirewall(
  processes: Processes,
  namespace: string,
  family: Family,
): Promise<SavedFirewall> {
  const [file, args] = iptablesCommand(namespace, family, 'save', ['-c']);
  const { stdout, stderr, exitCode, timedOut } = await processes.run(file, args);
  if (exitCode !== 0)
    throw new CommandFailed(
      [file, ...args].join(' '),
      exitCode,
      stderr,
      timedOut ? { cause: 'timeout' } : undefined,
    );
  return parseSave(stdout);
}

/** Parses what `iptables-save -c` prints. */
function parseSave(text: string): SavedFirewall {
  const saved: SavedFirewall = { chains: [], rules: [] };
  let table = '';
  for (const line of text.split('\n')) {
    if (line.startsWith('*')) table = line.slice(1).trim();
    const chain = /^:(\S+) /.exec(line)?.[1];
    if (chain !== undefined) saved.chains.push({ table, name: chain });
    const rule = /^\[(\d+):(\d+)\] -A (\S+) ?(.*)$/.exec(line);
    const [, packets, bytes, name = '', spec = ''] = rule ?? [];
    if (rule === null) continue;
    const comment = /--comment (?:"((?:[^"\\]|\\.)*)"|(\S+))/.exec(spec);
    saved.rules.push({
      table,
      chain: name,
      spec,
      comment: comment === null ? null : (comment[1] ?? comment[2] ?? null),
      packets: Number(packets),
      bytes: Number(bytes),
    });
  }
  return saved;
}

/**
 * The chains and rules of ours among all. In our chains, rules of others and rules that are there twice are counted as
 * strays of the chain; a jump to our chains that is there twice is listed twice, under keys of its own.
 */
export function ownFirewall(namespace: string, family: Family, saved: SavedFirewall): Firewall {
  const chains = new Map<string, Chain>();
  const rules = new Map<string, Rule>();
  const counts = new Map<string, number>();
  for (const { table, name } of saved.chains)
    if (isTable(table) && name.startsWith(CHAIN_PREFIX))
      chains.set(`${table} ${name}`, { table, name, fixed: [], strays: 0 });
  for (const { table, chain, spec, comment } of saved.rules) {
    if (!isTable(table)) continue;
    const within = chains.get(`${table} ${chain}`);
    const number = (counts.get(`${table} ${chain}`) ?? 0) + 1;
    counts.set(`${table} ${chain}`, number);
    const serves = ownerOf(comment);
    const key = `${table} ${chain} ${comment ?? ''}`;
    if (serves === null || comment === null) {
      if (within !== undefined) within.strays += 1;
    } else if (within !== undefined && serves.kind === 'chain') within.fixed.push(spec);
    else if (within !== undefined && rules.has(key)) within.strays += 1;
    else rules.set(freeKey(rules, key), { serves: serves.ref, table, chain, spec, comment, number });
  }
  return { namespace, family, chains, rules };
}

function freeKey(rules: ReadonlyMap<string, Rule>, key: string): string {
  return rules.has(key) ? freeKey(rules, `${key} again`) : key;
}

/** Rules in our chains that bear no mark of ours, as `iptables-save` prints them. */
function strayRules({ rules }: SavedFirewall): string[] {
  return rules
    .filter(
      ({ table, chain, comment }) =>
        isTable(table) && chain.startsWith(CHAIN_PREFIX) && ownerOf(comment) === null,
    )
    .map(({ chain, spec }) => `-A ${chain} ${spec}`);
}

/** The rules that carry the mark of a resource. */
export function rulesOf(owner: Ref, { rules }: SavedFirewall): SavedRule[] {
  const prefix = `${COMMENT_PREFIX}${refText(owner)}:`;
  return rules.filter(({ comment }) => comment?.startsWith(prefix) === true);
}

/** The rules that carry the mark of a resource, and what else has to be known to tell whether they have effect. */
export function parseFirewallOf(
  owner: Ref,
  saved: SavedFirewall,
): { rules: string[]; chainMarks: string[]; strays: string[] } {
  return {
    rules: rulesOf(owner, saved).map(({ chain, spec }) => `-A ${chain} ${spec}`),
    chainMarks: saved.rules.flatMap(({ comment }) =>
      comment?.startsWith(CHAIN_MARK) === true ? [comment] : [],
    ),
    strays: strayRules(saved),
  };
}

export const CHAIN_PREFIX = 'NETNSD-';

/** The comments of jumps and fixed rules begin so. */
export const CHAIN_MARK = `${COMMENT_PREFIX}chain/`;

/** The comment, if it is one of ours, and whose rule it marks: null for those that belong to a chain. */
export function ownComment(comment: string | null): { comment: string; owner: Ref | null } | null {
  const serves = ownerOf(comment);
  if (serves === null || comment === null) return null;
  return { comment, owner: serves.kind === 'chain' ? null : serves.ref };
}

/** Whose rule it is, by its comment; null for the rules of others. Jumps and fixed rules belong to the namespace. */
function ownerOf(comment: string | null): { kind: 'resource' | 'chain'; ref: Ref } | null {
  const [, kind, name] = /^netnsd:([a-z]+)\/([^:]+):[0-9a-f]+$/.exec(comment ?? '') ?? [];
  if (kind === undefined || name === undefined) return null;
  if (kind === 'chain') return { kind: 'chain', ref: { kind: 'namespace', name: HOST } };
  const known = kindNames.find((candidate) => candidate === kind);
  return known === undefined ? null : { kind: 'resource', ref: { kind: known, name } };
}

function isTable(table: string): table is Table {
  const known: readonly string[] = tables;
  return known.includes(table);
}
