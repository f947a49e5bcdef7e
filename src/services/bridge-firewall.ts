import { isOf, type ResourceRepository, type Stored, type Tie, type Ties } from '../db/resources.ts';
import type { Processes } from '../kernel/processes.ts';
import { parseFirewallOf, type SavedFirewall } from '../kernel/firewall.ts';
import type { Snapshot } from '../kernel/snapshot.ts';
import { firewallKey, type Rule } from '../kernel/state.ts';
import {
  chainMarksOfBridge,
  differencesOfFirewall,
  families,
  isolatesPorts,
  routedFamilies,
  rulesOfBridge,
} from '../plan/bridge-firewall.ts';
import { resolvedBridge } from '../plan/ipam.ts';
import type { Family } from '../schemas/address.ts';
import type {
  BridgeFirewall,
  BridgeFirewallSpec,
  ObservedBridgeFirewall,
  ObservedRules,
} from '../schemas/bridge-firewall.ts';
import type { BridgeIntent } from '../schemas/bridge.ts';
import type { Difference, Ref } from '../schemas/common.ts';
import type { LinkIntent } from '../schemas/link.ts';
import { forwardingKey } from '../schemas/nat.ts';
import type { Draft, Touched } from './draft.ts';
import { checkForwarding, forwardingTie } from './forwarding.ts';
import { checkReference } from './interface.ts';
import { firewallTie } from './nat-ties.ts';
import { readForwarding, saveIfThere } from './nat.ts';
import { Problem, invalidField } from './problem.ts';

/** How the firewall of any bridge stands in needs, beside `firewallTie`: nat rules need no list of bridges. */
export const BRIDGE_FIREWALL_TIE = 'firewall of a bridge';

const DEFAULTS: BridgeFirewall = {
  isolated: true,
  reachableFrom: [],
  intercom: true,
  internal: false,
  inbound: 'published',
  hostAccess: true,
};

/** What a bridge has where nothing is said of its firewall. */
function defaultFirewall(hasSubnets: boolean): BridgeFirewall | null {
  return hasSubnets ? DEFAULTS : null;
}

/** Fills the defaults in, and refuses what contradicts itself. */
export function completeFirewall(
  name: string,
  spec: BridgeFirewallSpec | null | undefined,
  hasSubnets: boolean,
): BridgeFirewall | null {
  if (spec === null || spec === undefined) return spec === null ? null : defaultFirewall(hasSubnets);
  const firewall = { ...DEFAULTS, ...spec };
  if (firewall.reachableFrom.includes(name))
    throw invalidField('/firewall/reachableFrom', `${name} is the bridge itself; \`intercom\` is about that`);
  if (firewall.internal && firewall.reachableFrom.length > 0)
    throw new Problem(
      'unprocessable',
      '/firewall/reachableFrom: a bridge that is internal is reached from the host alone; leave one of the two out',
    );
  if (firewall.internal && firewall.inbound === 'any')
    throw new Problem(
      'unprocessable',
      '/firewall/inbound: nothing comes in to a bridge that is internal; leave one of the two out',
    );
  return firewall;
}

/** Throws a problem if the firewall can't be beside all that is recorded. */
export function checkFirewall(intent: BridgeIntent, draft: Draft): void {
  for (const name of intent.firewall?.reachableFrom ?? []) {
    checkReference('/firewall/reachableFrom', 'bridge', name, draft);
    const namespace = draft.get('bridge', name)?.intent.namespace;
    if (namespace !== intent.namespace)
      throw new Problem(
        'unprocessable',
        `/firewall/reachableFrom: ${name} is in the namespace ${String(namespace)}, and this bridge is in ${intent.namespace}; name bridges of the same`,
        { references: [{ kind: 'bridge', name }] },
      );
  }
  for (const family of routedFamilies(intent))
    checkForwarding('/firewall/inbound: `any`', intent.namespace, family, draft);
}

export function tiesOfFirewall(intent: BridgeIntent): Pick<Ties, 'references' | 'needs'> {
  const { namespace, firewall } = intent;
  if (firewall === null) return { references: [], needs: [] };
  const whats = [
    BRIDGE_FIREWALL_TIE,
    ...families.map(firewallTie),
    ...routedFamilies(intent).map(forwardingTie),
  ];
  return {
    references: firewall.reachableFrom.map((name): Ref => ({ kind: 'bridge', name })),
    needs: whats.map((what) => ({ namespace, what })),
  };
}

/** All that a bridge is to have of rules of a family, beside all that is in the draft. */
export function rulesIn(
  { intent: given, assigned }: Pick<Stored<'bridge'>, 'intent' | 'assigned'>,
  family: Family,
  draft: Pick<Draft, 'get'> & { needing: (need: Tie) => Ref[] },
): Rule[] {
  const intent = resolvedBridge(given, assigned);
  const isGuarded =
    intent.firewall !== null ||
    draft.needing({ namespace: intent.namespace, what: BRIDGE_FIREWALL_TIE }).length > 0;
  if (!isGuarded) return [];
  return rulesOfBridge(intent, family, (name) => draft.get('bridge', name)?.intent.interface ?? name);
}

/** What is there after rules were written; each table is changed whole or not at all. */
export function writtenFirewall(stored: Stored<'bridge'>, draft: Draft): ObservedBridgeFirewall | null {
  const { intent } = stored;
  if (intent.firewall === null) return null;
  const serves: Ref = { kind: 'bridge', name: intent.name };
  const of = (family: Family): ObservedRules => ({
    rules: rulesIn(stored, family, draft).map(({ chain, spec }) => `-A ${chain} ${spec}`),
    chainMarks: chainMarksOfBridge(intent.namespace, family, serves),
    strays: [],
    forwarding: routedFamilies(intent).includes(family) ? '1' : null,
  });
  return { ipv4: of(4), ipv6: of(6) };
}

/** What the kernel has now: no process for a bridge without a firewall. */
export async function lookAtFirewall(
  intent: BridgeIntent,
  processes: Processes,
): Promise<ObservedBridgeFirewall | null> {
  const { firewall, namespace, name } = intent;
  if (firewall === null) return null;
  const routed = routedFamilies(intent);
  const look = async (family: Family): Promise<ObservedRules> => {
    const saved = await saveIfThere(processes, namespace, family);
    const forwarding = routed.includes(family) ? await readForwarding(processes, namespace, family) : null;
    return { ...parseFirewallOf({ kind: 'bridge', name }, saved), forwarding };
  };
  const [ipv4, ipv6] = await Promise.all([look(4), look(6)]);
  return { ipv4, ipv6 };
}

/** The same out of a snapshot; null where that has no rules of the namespace and none are to be there. */
export function seenFirewall(intent: BridgeIntent, snapshot: Snapshot): ObservedBridgeFirewall | null {
  const { namespace, name, firewall } = intent;
  const saved = (family: Family): SavedFirewall | undefined =>
    snapshot.firewalls.get(firewallKey(namespace, family));
  if (firewall === null && families.every((family) => saved(family) === undefined)) return null;
  const of = (family: Family): ObservedRules => ({
    ...parseFirewallOf({ kind: 'bridge', name }, saved(family) ?? { chains: [], rules: [] }),
    forwarding: snapshot.inside.get(namespace)?.sysctls[forwardingKey(family)] ?? null,
  });
  return { ipv4: of(4), ipv6: of(6) };
}

export function differencesIn(
  stored: Stored<'bridge'>,
  observed: ObservedBridgeFirewall | null | undefined,
  draft: Draft,
): Difference[] {
  if (observed === null || observed === undefined) return [];
  const rules = { 4: rulesIn(stored, 4, draft), 6: rulesIn(stored, 6, draft) };
  // Of a bridge without rules nothing is told that is not about it.
  return rules[4].length === 0
    ? []
    : differencesOfFirewall(stored.intent, (family) => rules[family], observed);
}

/**
 * Lists show what was last seen; what a change of a bridge has changed of its ports, and of the rules of bridges that
 * name it, its own change has just written. To be called within the transaction that writes the bridges.
 */
export function updateSeenBehind(resources: ResourceRepository, touched: readonly Touched[]): void {
  for (const { ref, before, after } of touched) {
    const [had, has] = [bridgeIntent(before), bridgeIntent(after)];
    if (had === null || has === null) continue;
    if (isolatesPorts(had) === isolatesPorts(has) && had.interface === has.interface) continue;
    for (const { kind, name } of resources.referrers(ref)) {
      const link = kind === 'link' ? resources.get(kind, name) : null;
      if (link !== null && link.observed !== null) {
        const { intent, observed } = link;
        const own = { ...observed, ...seenEnd(intent, observed, has) };
        const isPaired = intent.type === 'veth' && 'peer' in own;
        const peer = isPaired ? { peer: { ...own.peer, ...seenEnd(intent.peer, own.peer, has) } } : {};
        resources.putObserved(link, { ...own, ...peer });
      }
      const bridge = kind === 'bridge' ? resources.get(kind, name) : null;
      if (bridge !== null && bridge.observed !== null)
        resources.putObserved(bridge, { ...bridge.observed, firewall: null });
    }
  }
}

/** The links of a bridge whose ports another state of it would isolate, or would not: they change along with it. */
export function portsIsolatedBy(side: Stored, resources: ResourceRepository): Ref[] {
  const intent = bridgeIntent(side);
  const recorded = intent === null ? null : bridgeIntent(resources.get('bridge', intent.name));
  if (intent === null || recorded === null || isolatesPorts(intent) === isolatesPorts(recorded)) return [];
  return resources.referrers({ kind: 'bridge', name: intent.name }).filter(({ kind }) => kind === 'link');
}

interface Seen {
  options?: { isolatedPort: boolean } | null;
}

function seenEnd<S extends Seen>(
  { bridge, isolatedPort }: Pick<LinkIntent, 'bridge' | 'isolatedPort'>,
  { options }: S,
  intent: BridgeIntent,
): Pick<S, 'options'> | object {
  if (bridge !== intent.name || options === null || options === undefined) return {};
  return { options: { ...options, isolatedPort: isolatesPorts(intent) || isolatedPort === true } };
}

/** The intent, if it is a bridge's. */
export function bridgeIntent(resource: Stored | null): BridgeIntent | null {
  return resource !== null && isOf(resource, 'bridge') ? resource.intent : null;
}
