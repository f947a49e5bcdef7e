import { isOf, type Stored, type Tie } from '../db/resources.ts';
import type { SysctlRepository } from '../db/sysctls.ts';
import { printCommand, render } from '../kernel/render.ts';
import { firewallKey, type KernelState } from '../kernel/state.ts';
import type { Step } from '../kernel/step.ts';
import { families, isolatesPorts } from '../plan/bridge-firewall.ts';
import type { Intent } from '../plan/intent.ts';
import { withForeign } from '../plan/marks.ts';
import { reboundNames } from '../plan/namespace.ts';
import { compile, plan } from '../plan/plan.ts';
import { refText, type Kind, type Ref } from '../schemas/common.ts';
import { BRIDGE_FIREWALL_TIE, bridgeIntent } from './bridge-firewall.ts';
import type { Draft, Touched } from './draft.ts';
import { forwardingTie } from './forwarding.ts';
import { tiesOf } from './kinds.ts';
import { firewallTie, localnetTie } from './nat-ties.ts';
import { intentsOfLinks, linksLedTo, reflectingEnds } from './reflecting.ts';
import { placed } from './scope.ts';

/** A change as the engine sees it: what the kernel is taken to have, what it is to have, and the steps between. */
export interface PlannedChange {
  have: KernelState;
  want: KernelState;
  steps: Step[];
}

/** Plans what a draft asks for. Starts no process: what was last applied is taken to be there. */
export function planChange(draft: Draft, sysctls: SysctlRepository): PlannedChange {
  const scope = changedWithReferences(draft);
  const shared = {
    ...outside(draft, scope),
    otherLocalnets: otherLocalnets(draft, scope),
    sysctlsBefore: new Map(
      [...scope.values()].flatMap(({ ref }) =>
        ref.kind === 'namespace' ? [...sysctls.before(ref.name)] : [],
      ),
    ),
  };
  const side = (which: 'before' | 'after'): Intent => {
    const resources = [...scope.values()].flatMap((entry) => entry[which] ?? []);
    const isTarget = (tie: Tie): boolean =>
      (which === 'before' ? draft.recordedNeeding(tie) : draft.needing(tie)).length > 0;
    return {
      ...shared,
      reflecting: reflectingEnds(intentsOfLinks(resources), isTarget),
      resources: new Map(resources.map((stored) => [refText(stored), placed(stored)])),
    };
  };
  const adoptions = draft.touched.flatMap(({ adoption }) => adoption ?? []);
  const have = withForeign(compile(side('before')), adoptions);
  const want = compile(side('after'));
  // What stood in the sysctls of another namespace says nothing of this one.
  const rebound = reboundNames(have, want);
  for (const sysctl of want.sysctls.values()) if (rebound.has(sysctl.namespace)) sysctl.before = null;
  return { have, want, steps: plan(have, want) };
}

/** The steps as a person would type them. */
export function commandsOf(steps: readonly Step[]): string[] {
  return steps.flatMap((step) => printCommand(render(step)));
}

interface Scoped {
  ref: Ref;
  before: Stored | null;
  after: Stored | null;
}

/** What changes, and everything that it refers to, which stays. */
function changedWithReferences(draft: Draft): Map<string, Scoped> {
  const scope = new Map<string, Scoped>(
    draft.touched.map(({ ref, before, after, adoption }) => [
      refText(ref),
      // What is adopted is there as it is to be, but for its marks.
      { ref, before: adoption === null ? before : asFound(after), after },
    ]),
  );
  const open = [...scope.values()];
  for (const ref of [...draft.touched.flatMap((entry) => alongside(entry, draft)), ...listed(draft)]) {
    if (scope.has(refText(ref))) continue;
    const resource = draft.get(ref.kind, ref.name);
    const entry = { ref, before: resource, after: resource };
    scope.set(refText(ref), entry);
    open.push(entry);
  }
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const references = [next.before, next.after].flatMap((side) =>
      side === null ? [] : tiesOf(side).references.filter(({ kind }) => isNeeded(side, kind)),
    );
    for (const ref of references) {
      if (scope.has(refText(ref))) continue;
      const resource = draft.get(ref.kind, ref.name);
      const entry = { ref, before: resource, after: resource };
      scope.set(refText(ref), entry);
      open.push(entry);
    }
  }
  return scope;
}

/** What is behind the names in a rule is with the rule itself: `assigned`. */
function isNeeded(by: Stored, kind: Ref['kind']): boolean {
  return by.kind !== 'nat' || kind === 'namespace';
}

/** What resources outside the scope need of the namespaces in question. */
function outside(
  draft: Draft,
  scope: ReadonlyMap<string, Scoped>,
): Pick<Intent, 'otherFirewalls' | 'otherBridgeFirewalls' | 'otherForwarding'> {
  const found = {
    otherFirewalls: new Set<string>(),
    otherBridgeFirewalls: new Set<string>(),
    otherForwarding: new Set<string>(),
  };
  const others = (namespace: string, what: string): Ref[] =>
    draft.needing({ namespace, what }).filter((other) => !scope.has(refText(other)));
  for (const { ref } of scope.values()) {
    if (ref.kind !== 'namespace') continue;
    if (others(ref.name, BRIDGE_FIREWALL_TIE).length > 0) found.otherBridgeFirewalls.add(ref.name);
    for (const family of families) {
      const key = firewallKey(ref.name, family);
      if (others(ref.name, firewallTie(family)).some(({ kind }) => kind === 'nat'))
        found.otherFirewalls.add(key);
      if (others(ref.name, forwardingTie(family)).length > 0) found.otherForwarding.add(key);
    }
  }
  return found;
}

/** What is adopted has no rules yet, nor the sysctls that netnsd itself sets. */
function asFound(resource: Stored | null): Stored | null {
  if (resource === null) return null;
  if (isOf(resource, 'link')) {
    const { refusing: _refusing, ...assigned } = resource.assigned;
    return { ...resource, assigned };
  }
  if (!isOf(resource, 'bridge')) return resource;
  const { refusing: _refusing, ...assigned } = resource.assigned;
  return { ...resource, intent: { ...resource.intent, firewall: null }, assigned };
}

/**
 * Those that change with a bridge though they only name it: its ports, and bridges that are reached from it; and with a
 * rule, the ports behind which it leads.
 */
function alongside({ ref, before, after }: Touched, draft: Draft): Ref[] {
  if (ref.kind === 'nat')
    return [before, after].flatMap((rule) => (rule === null ? [] : linksLedTo(rule, draft)));
  const [had, has] = [bridgeIntent(before), bridgeIntent(after)];
  if (had === null || has === null) return [];
  const kinds = new Set<Kind>();
  if (isolatesPorts(had) !== isolatesPorts(has)) kinds.add('link');
  if (had.interface !== has.interface) kinds.add('bridge');
  return kinds.size === 0 ? [] : draft.referrers(ref).filter(({ kind }) => kinds.has(kind));
}

/** All bridges of a namespace in which one is the first to have a firewall, or the last: each is listed there. */
function listed(draft: Draft): Ref[] {
  const bridges = draft.touched.flatMap(({ before, after }) => [bridgeIntent(before), bridgeIntent(after)]);
  const namespaces = new Set(
    bridges.flatMap((bridge) => (bridge === null || bridge.firewall === null ? [] : [bridge.namespace])),
  );
  const touched = new Set(draft.touched.map(({ ref }) => refText(ref)));
  return [...namespaces].flatMap((namespace) => {
    const others = draft.needing({ namespace, what: BRIDGE_FIREWALL_TIE });
    if (others.some((ref) => !touched.has(refText(ref)))) return [];
    return draft.referrers({ kind: 'namespace', name: namespace }).filter(({ kind }) => kind === 'bridge');
  });
}

/**
 * Where published ports outside the scope need 127.0.0.1: the namespaces in question, and the interfaces for which ports
 * within the scope need it too.
 */
function otherLocalnets(draft: Draft, scope: ReadonlyMap<string, Scoped>): Set<string> {
  const sides = [...scope.values()].flatMap(({ before, after }) => [before, after]);
  const guards = [...scope.values()].flatMap(({ ref }) =>
    ref.kind === 'namespace' ? [{ namespace: ref.name, what: localnetTie() }] : [],
  );
  const devices = sides.flatMap((side) => (side?.kind === 'nat' ? tiesOf(side).needs : []));
  const keys = new Set<string>();
  for (const { namespace, what } of [...guards, ...devices]) {
    if (!what.startsWith(localnetTie())) continue;
    const device = what.slice(localnetTie().length).trim();
    const isElsewhere = draft.needing({ namespace, what }).some((other) => !scope.has(refText(other)));
    if (isElsewhere) keys.add(`${namespace} ${device}`.trim());
  }
  return keys;
}
