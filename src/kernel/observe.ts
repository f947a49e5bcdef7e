import { HOST, refText } from '../schemas/common.ts';
import { extrasOf } from './end.ts';
import { CHAIN_MARK, ownFirewall, type SavedFirewall } from './firewall.ts';
import { parseInterfaces } from './interface.ts';
import { findKinds } from './link-types.ts';
import { boundInode, isNameTaken } from './namespace.ts';
import { findInside, makersOf } from './observe-inside.ts';
import type { Processes } from './processes.ts';
import { takeSnapshot, type Inside, type Snapshot, type SnapshotRequest } from './snapshot.ts';
import { emptyState, firewallKey, type Firewall, type KernelState, type NamespaceState } from './state.ts';

/**
 * How a bound name is known to be ours: by its inode; or because the name was free and netnsd's own attempt to bind
 * it ended without a word (`attempted`), so that what is there now may be half of it.
 */
export type NamespaceIdentity = { inode: number } | { attempted: true };

/** What has to be known to make a state of what was seen. */
export interface Recognition {
  /** States of before and after, say, one of which or something between is there. */
  candidates: readonly KernelState[];
  identities: ReadonlyMap<string, NamespaceIdentity>;
  /** Whether the name of a device in a namespace is a resource's; such a device is no other one renamed. */
  isClaimed: (namespace: string, name: string) => boolean;
  /** Whether the candidates speak of all that is recorded in the firewalls in question. */
  isWhole: boolean;
  /** The index by which a device of ours was last seen, by `Device.key`: it is ours still if its mark is gone. */
  indexes?: ReadonlyMap<string, number>;
}

/**
 * What the kernel has of all that the candidates speak of. What bears no mark of ours is not seen, and neither is
 * what others added to a device of ours.
 *
 * @throws CommandFailed if something can't be looked at
 */
export async function observe(processes: Processes, recognition: Recognition): Promise<KernelState> {
  const snapshot = await takeSnapshot(processes, requestFor(recognition));
  for (const failure of snapshot.failures.values()) throw failure;
  return stateIn(snapshot, recognition);
}

/** What to look at for all that the candidates speak of: what is in namespaces that are there. */
export function requestFor({ candidates, identities }: Recognition): SnapshotRequest {
  const isPresent = (name: string): boolean =>
    name === HOST || (identities.has(name) && boundInode(name) !== null);
  const namespaces = new Map<string, string[]>();
  for (const candidate of candidates) {
    for (const name of namespacesSpokenOf(candidate))
      if (isPresent(name) && !namespaces.has(name)) namespaces.set(name, []);
    for (const { namespace, key } of candidate.sysctls.values()) namespaces.get(namespace)?.push(key);
  }
  for (const [name, keys] of namespaces) namespaces.set(name, [...new Set(keys)]);
  const firewalls = new Map(candidates.flatMap(({ firewalls: each }) => [...each]));
  const adopted = candidates
    .flatMap(({ devices }) => [...devices.values()])
    .filter(({ foreign }) => foreign !== undefined);
  const routes = new Map(
    [...Map.groupBy(adopted, ({ namespace }) => namespace)].map(
      ([namespace, devices]) => [namespace, devices.flatMap((device) => device.routes)] as const,
    ),
  );
  const optional = candidates
    .flatMap(({ devices }) => [...devices.values()])
    .flatMap(({ namespace, options }) =>
      options === undefined
        ? []
        : [
            {
              namespace,
              isShaped: options.rate !== undefined,
              isPoliced: options.policing !== undefined,
              offload: options.offload,
            },
          ],
    );
  return {
    namespaces,
    extras: extrasOf(optional),
    firewalls: [...firewalls.values()].filter(({ namespace }) => isPresent(namespace)),
    routes,
  };
}

function namespacesSpokenOf({ namespaces, devices, sysctls, firewalls }: KernelState): string[] {
  const places = [...devices.values(), ...sysctls.values(), ...firewalls.values()];
  const parents = [...devices.values()].flatMap(({ kind }) =>
    kind.type === 'macvlan' ? [kind.parent.namespace] : [],
  );
  return [...namespaces.keys(), ...places.map(({ namespace }) => namespace), ...parents];
}

/** Reads a state out of a snapshot of all that `requestFor` asks for. */
function stateIn(snapshot: Snapshot, recognition: Recognition): KernelState {
  const state = emptyState();
  const { candidates, identities } = recognition;
  const makers = makersOf(candidates);
  for (const { namespaces } of candidates)
    for (const namespace of namespaces.values())
      findNamespace(state, namespace, identities.get(namespace.name), snapshot, makers);
  const isPresent = (name: string): boolean =>
    name === HOST || ['made', 'adopted'].includes(state.namespaces.get(name)?.origin.type ?? '');
  for (const [namespace, inside] of snapshot.inside)
    if (isPresent(namespace)) findInside(state, namespace, inside, recognition);
  findKinds(state, snapshot.inside);
  for (const { namespace, family } of candidates.flatMap(({ firewalls }) => [...firewalls.values()])) {
    const key = firewallKey(namespace, family);
    const saved = snapshot.firewalls.get(key);
    if (saved === undefined || !isPresent(namespace)) continue;
    const found = recognizedFirewall(saved, { namespace, family }, recognition);
    if (found !== null) state.firewalls.set(key, found);
  }
  return state;
}

function findNamespace(
  state: KernelState,
  candidate: NamespaceState,
  identity: NamespaceIdentity | undefined,
  { inside }: Snapshot,
  makers: ReadonlySet<string>,
): void {
  const { name } = candidate;
  const inode = boundInode(name);
  if (identity === undefined) return;
  if (inode === null) {
    if ('attempted' in identity && isNameTaken(name))
      state.namespaces.set(name, { ...candidate, origin: { type: 'broken' } });
    return;
  }
  if ('inode' in identity && identity.inode !== inode) return;
  const { origin } = candidate;
  // Somebody may have made one of that name since the attempt: what an attempt leaves has nothing of others in it.
  if ('attempted' in identity && !isOfAttempt(origin, inode, inside.get(name), makers)) return;
  const [loopback] = parseInterfaces([inside.get(name)?.interfaces.get('lo')]);
  state.namespaces.set(name, {
    ...candidate,
    origin: origin.type === 'adopted' ? { ...origin, inode } : origin,
    loopbackUp: loopback?.up ?? candidate.loopbackUp,
  });
}

/** Types of interface that the kernel does not put into a new namespace of its own accord. */
const NOT_BY_ITSELF: ReadonlySet<string> = new Set([
  'bridge',
  'veth',
  'ether',
  'dummy',
  'vlan',
  'vxlan',
  'macvlan',
  'tun',
]);

function isOfAttempt(
  origin: NamespaceState['origin'],
  inode: number,
  inside: Inside | undefined,
  makers: ReadonlySet<string>,
): boolean {
  if (origin.type === 'adopted') return origin.inode === inode;
  const interfaces = parseInterfaces([...(inside?.interfaces.values() ?? [])]);
  // With some modules the kernel puts a tunnel into every namespace that it makes: sit0, tunl0, ip6tnl0, gre0, …
  return interfaces.every(
    ({ ours, name, type }) =>
      ours || name === 'lo' || makers.has(name) || (name.endsWith('0') && !NOT_BY_ITSELF.has(type)),
  );
}

/** The rules of the candidates' resources, and the chains; the rules of other resources are not looked at. */
function recognizedFirewall(
  saved: SavedFirewall,
  { namespace, family }: Pick<Firewall, 'namespace' | 'family'>,
  { candidates, isWhole }: Recognition,
): Firewall | null {
  const owners = new Set(
    candidates.flatMap(({ firewalls }) =>
      [...firewalls.values()].flatMap(({ rules }) =>
        [...rules.values()].map(({ serves }) => refText(serves)),
      ),
    ),
  );
  const own = ownFirewall(namespace, family, saved);
  const rules = [...own.rules].filter(
    ([, { serves, comment }]) => owners.has(refText(serves)) || comment.startsWith(CHAIN_MARK),
  );
  if (own.chains.size === 0 && rules.length === 0) return null;
  // To write a chain anew, all of its rules must be known.
  const chains = isWhole
    ? own.chains
    : new Map([...own.chains].map(([key, chain]) => [key, { ...chain, strays: 0 }]));
  return { namespace, family, chains, rules: new Map(rules) };
}
