import type { Family } from '../schemas/address.ts';
import type { Ref } from '../schemas/common.ts';
import { forwardingKey } from '../schemas/nat.ts';
import type { NamespaceIntent } from '../schemas/namespace.ts';
import { IPV4_FORWARDING, isSameValue, oneName } from '../schemas/sysctl.ts';
import type { Draft } from './draft.ts';
import { firewallTie } from './nat-ties.ts';
import { Problem } from './problem.ts';

/** How forwarding stands in needs of those that are no nat rules. */
export function forwardingTie(family: Family): string {
  return `forwarding ${family}`;
}

/** Throws if a namespace is to be without the forwarding that something needs there; `who` begins the sentence. */
export function checkForwarding(who: string, namespace: string, family: Family, draft: Draft): void {
  const off = turnedOff(draft.get('namespace', namespace)?.intent.sysctls ?? {}, family);
  if (off === null) return;
  const [key, value] = off;
  throw new Problem(
    'unprocessable',
    `${who} needs forwarding, and ${namespace} asks for ${key} = ${value}; change that first`,
    { references: [{ kind: 'namespace', name: namespace }] },
  );
}

/** The same from the side of a namespace; and throws if that says two things of one. */
export function checkForwardingOfNamespace({ name, sysctls }: NamespaceIntent, draft: Draft): void {
  const { name: one, alias: other } = IPV4_FORWARDING;
  const [value, otherValue] = [sysctls[one], sysctls[other]];
  if (value !== undefined && otherValue !== undefined && !isSameValue(value, otherValue))
    throw new Problem(
      'unprocessable',
      `/sysctls: ${one} and ${other} are two names of one thing, and say ${value} and ${otherValue}; leave one of the two out`,
    );
  for (const family of [4, 6] as const) {
    const off = turnedOff(sysctls, family);
    if (off === null) continue;
    const references: Ref[] = [
      ...draft.needing({ namespace: name, what: firewallTie(family) }).filter(({ kind }) => kind === 'nat'),
      ...draft.needing({ namespace: name, what: forwardingTie(family) }),
    ];
    if (references.length === 0) continue;
    const needing = references.some(({ kind }) => kind === 'nat') ? 'nat rules need' : 'a bridge needs';
    throw new Problem('unprocessable', `/sysctls: ${off[0]} must stay 1 while ${needing} forwarding there`, {
      references,
    });
  }
}

/** The sysctl, by the name that it is given there, and the value by which a namespace turns forwarding off; or null. */
function turnedOff(sysctls: Readonly<Record<string, string>>, family: Family): [string, string] | null {
  const isOff = ([key, value]: [string, string]): boolean =>
    oneName(key) === forwardingKey(family) && !isSameValue(value, '1');
  return Object.entries(sysctls).find(isOff) ?? null;
}
