import { run } from './shell.ts';

/** The fields of a bridge's firewall, in the order in which they name a golden file. */
export interface FirewallFields {
  isolated: boolean;
  intercom: boolean;
  internal: boolean;
  inbound: 'published' | 'any';
  hostAccess: boolean;
  reachableFrom: string[];
}

const both = [true, false];

/**
 * Every combination of the fields that is not refused (`internal` goes with neither `"inbound":"any"` nor
 * `reachableFrom`).
 *
 * @param other the bridge that `reachableFrom` names, where it names one
 */
export function firewallCombinations(other: string): FirewallFields[] {
  const all = both.flatMap((isolated) =>
    both.flatMap((intercom) =>
      both.flatMap((internal) =>
        (['published', 'any'] as const).flatMap((inbound) =>
          both.flatMap((hostAccess) =>
            [[], [other]].map((reachableFrom) => ({
              isolated,
              intercom,
              internal,
              inbound,
              hostAccess,
              reachableFrom,
            })),
          ),
        ),
      ),
    ),
  );
  return all.filter(
    ({ internal, inbound, reachableFrom }) =>
      !internal || (inbound === 'published' && reachableFrom.length === 0),
  );
}

/** `isolated-intercom-published-host`: one word a field, and two more where they are set. */
export function firewallName({
  isolated,
  intercom,
  internal,
  inbound,
  hostAccess,
  reachableFrom,
}: FirewallFields): string {
  return [
    isolated ? 'isolated' : 'open',
    intercom ? 'intercom' : 'apart',
    internal ? 'internal' : inbound,
    hostAccess ? 'host' : 'nohost',
    ...(reachableFrom.length > 0 ? ['reached'] : []),
  ].join('-');
}

/**
 * netnsd's chains and jumps in the sandbox, or one of its namespaces, as iptables-save and ip6tables-save print them, without counters, built-in
 * chains and empty tables; `title` says what made them.
 */
export async function goldenRules(title: string, namespace?: string): Promise<string> {
  const sections = await Promise.all(
    ['iptables-save', 'ip6tables-save'].map(async (tool) => {
      const inside = namespace === undefined ? [] : [`--net=/run/netns/${namespace}`];
      const tables = (await run('nsenter', ...inside, tool))
        .split(/^(?=\*)/m)
        .map(ownLines)
        .filter((lines) => lines.length > 1);
      return [`# ${tool}`, ...(tables.length === 0 ? ['# nothing'] : tables.flat())];
    }),
  );
  return [`# ${title}`, ...sections.flatMap((lines) => ['', ...lines]), ''].join('\n');
}

/** The name of the table first, whatever else is in it. */
function ownLines(table: string): string[] {
  return table
    .split('\n')
    .filter((line, at) => (at === 0 && line.startsWith('*')) || line.includes('NETNSD-'))
    .map((line) => line.replace(/ \[\d+:\d+\]/, ''));
}
