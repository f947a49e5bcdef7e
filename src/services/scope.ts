import { isOf, type Stored, type Tie } from '../db/resources.ts';
import type { Store } from '../db/store.ts';
import { boundAs, inodeOfProcess, isNameTaken, liveInode } from '../kernel/namespace.ts';
import type { KernelState } from '../kernel/state.ts';
import { resolvedBridge, resolvedLink } from '../plan/ipam.ts';
import { endKey } from '../plan/end.ts';
import { compile } from '../plan/plan.ts';
import { HOST, kindNames, refText, type Ref } from '../schemas/common.ts';
import type { AnyPlaced } from '../schemas/resource.ts';
import { BRIDGE_FIREWALL_TIE, bridgeIntent } from './bridge-firewall.ts';
import { tiesOf } from './kinds.ts';
import { firewallTie } from './nat-ties.ts';
import { intentsOfLinks, reflectingEnds } from './reflecting.ts';

/** A part of what is recorded that can be put in order by itself: whatever it needs is in it. */
export interface Scope {
  /** By `refText`. */
  resources: ReadonlyMap<string, Stored>;
  /** Why a resource can't be put in order now, by `refText`; such a resource is not among the others. */
  obstacles: ReadonlyMap<string, string>;
  /** As plans are told of it. */
  reflecting: ReadonlyMap<string, boolean>;
}

/** Everything that is recorded. */
export function allRefs({ resources }: Store): Ref[] {
  return kindNames
    .flatMap((kind) => resources.refs(kind))
    .filter(({ name, kind }) => !isHostItself(kind, name));
}

function isHostItself(kind: Ref['kind'], name: string): boolean {
  return kind === 'namespace' && name === HOST;
}

/**
 * The resources with all that they refer to and that links stand on, and with all that has rules where they have rules: a firewall is put in
 * order as a whole.
 */
export function scopeOf(store: Store, refs: readonly Ref[], attempts: ReadonlySet<string>): Scope {
  const found = new Map<string, Stored>();
  const open = [...refs];
  const firewalls = new Set<string>();
  for (let ref = open.pop(); ref !== undefined; ref = open.pop()) {
    if (found.has(refText(ref))) continue;
    const stored = store.resources.get(ref.kind, ref.name);
    if (stored === null) continue;
    found.set(refText(ref), stored);
    const { references, needs } = tiesOf(stored);
    open.push(...references, ...bridgesBeside(store, stored));
    if (ref.kind === 'link') open.push(...needs.flatMap((need) => store.resources.claimant(need) ?? []));
    for (const need of needs) {
      const key = `${need.namespace} ${need.what}`;
      if (!FIREWALLS.has(need.what) || firewalls.has(key)) continue;
      firewalls.add(key);
      open.push(...store.resources.needing(need));
    }
  }
  const obstacles = obstaclesIn(found, attempts);
  for (const key of obstacles.keys()) found.delete(key);
  const isTarget = (tie: Tie): boolean => store.resources.needing(tie).length > 0;
  return {
    resources: found,
    obstacles,
    reflecting: reflectingEnds(intentsOfLinks(found.values()), isTarget),
  };
}

/** Where a bridge has a firewall, all bridges of its namespace are listed. */
function bridgesBeside({ resources }: Store, stored: Stored): Ref[] {
  const bridge = bridgeIntent(stored);
  if (bridge === null) return [];
  const { namespace, firewall } = bridge;
  if (firewall === null) return resources.needing({ namespace, what: BRIDGE_FIREWALL_TIE }).slice(0, 1);
  return resources.referrers({ kind: 'namespace', name: namespace }).filter(({ kind }) => kind === 'bridge');
}

const FIREWALLS: ReadonlySet<string> = new Set([firewallTie(4), firewallTie(6)]);

/** What the kernel is to have for the scope. */
export function compileScope(
  { resources, reflecting }: Scope,
  sysctlsBefore: ReadonlyMap<string, string>,
): KernelState {
  return compile({
    reflecting,
    resources: new Map([...resources].map(([key, stored]) => [key, placed(stored)])),
    otherFirewalls: new Set(),
    sysctlsBefore,
  });
}

/** What stood in the sysctls of the namespaces in question before netnsd first wrote them. */
export function sysctlsBeforeOf(store: Store, { resources }: Scope): Map<string, string> {
  const names = [...resources.values()].flatMap(({ kind, name }) => (kind === 'namespace' ? [name] : []));
  return new Map(names.flatMap((name) => [...store.sysctls.before(name)]));
}

/** By which index each device of a scope was last seen, by `Device.key`. */
export function indexesOf({ resources }: Scope): Map<string, number> {
  const entries = [...resources.values()].flatMap((stored): [string, number | undefined][] => {
    if (isOf(stored, 'bridge')) return [[refText(stored), stored.assigned.index]];
    if (!isOf(stored, 'link')) return [];
    return [
      [endKey(stored, 'own'), stored.assigned.index],
      [endKey(stored, 'peer'), stored.assigned.peerIndex],
    ];
  });
  return new Map(entries.flatMap(([key, index]) => (index === undefined ? [] : [[key, index]])));
}

/** As plans see it: with what was chosen in place of `auto`. */
export function placed({ kind, name, intent, assigned }: Stored): AnyPlaced {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the kind tells the types of the other fields
  const resource = { kind, name, intent, assigned } as AnyPlaced;
  if (resource.kind === 'bridge')
    return { ...resource, intent: resolvedBridge(resource.intent, resource.assigned) };
  if (resource.kind !== 'link') return resource;
  return { ...resource, intent: resolvedLink(resource.intent, resource.assigned) };
}

/**
 * Namespaces that can't be there again, and all that depends on them: an adopted one whose process is gone, and one
 * whose name somebody else's bears now.
 */
function obstaclesIn(
  resources: ReadonlyMap<string, Stored>,
  attempts: ReadonlySet<string>,
): Map<string, string> {
  const obstacles = new Map<string, string>();
  for (const [key, stored] of resources) {
    const reason = isNamespace(stored) ? obstacleOf(stored, attempts) : null;
    if (reason !== null) obstacles.set(key, reason);
  }
  if (obstacles.size === 0) return obstacles;
  const dependsOn = (stored: Stored): string | undefined =>
    tiesOf(stored)
      .references.map(refText)
      .find((reference) => obstacles.has(reference));
  // Each depends on kinds before its own, or on bridges of the same namespace: as many rounds as kinds reach everything.
  for (let round = 0; round < kindNames.length; round++)
    for (const [key, stored] of resources) {
      const cause = obstacles.has(key) ? undefined : dependsOn(stored);
      if (cause !== undefined)
        obstacles.set(
          key,
          `it depends on ${cause}: ${String(obstacles.get(cause)).replace(/^it depends on \S+ /, '')}`,
        );
    }
  return obstacles;
}

function isNamespace(stored: Stored): stored is Stored<'namespace'> {
  return isOf(stored, 'namespace') && stored.name !== HOST;
}

function obstacleOf(
  { name, intent, assigned }: Stored<'namespace'>,
  attempts: ReadonlySet<string>,
): string | null {
  if (boundAs(name, assigned) !== null) return null;
  const inode = liveInode(assigned);
  if (intent.pid !== null && (inode === null || inodeOfProcess(intent.pid) !== inode))
    return `process ${intent.pid}, whose namespace it was, is gone, and the namespace with it; PUT /namespaces/${name} with a new pid`;
  if (isNameTaken(name) && !attempts.has(name))
    return `another namespace, which netnsd has not made, bears the name ${name} now; it was left alone`;
  return null;
}
