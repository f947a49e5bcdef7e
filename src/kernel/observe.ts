import type { ForeignMarks } from '../schemas/adoption.ts';
import type { Route } from '../schemas/interface.ts';
import { routeKey } from '../schemas/route.ts';
import { HOST, refText } from '../schemas/common.ts';
import { marksOf, parseRoutesTo } from './adoption.ts';
import { CHAIN_MARK, ownFirewall, type SavedFirewall } from './firewall.ts';
import { parseInterfaces, parseOwnRoutes, type KernelInterface } from './interface.ts';
import { boundInode, isNameTaken } from './namespace.ts';
import type { Processes } from './processes.ts';
import { takeSnapshot, type Inside, type Snapshot, type SnapshotRequest } from './snapshot.ts';
import {
  emptyState,
  firewallKey,
  type Device,
  type Firewall,
  type KernelState,
  type NamespaceState,
} from './state.ts';

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
  return {
    namespaces,
    firewalls: [...firewalls.values()].filter(({ namespace }) => isPresent(namespace)),
    routes,
  };
}

function namespacesSpokenOf({ namespaces, devices, sysctls, firewalls }: KernelState): string[] {
  const places = [...devices.values(), ...sysctls.values(), ...firewalls.values()];
  return [...namespaces.keys(), ...places.map(({ namespace }) => namespace)];
}

/** Reads a state out of a snapshot of all that `requestFor` asks for. */
export function stateIn(snapshot: Snapshot, recognition: Recognition): KernelState {
  const state = emptyState();
  const { candidates, identities } = recognition;
  for (const { namespaces } of candidates)
    for (const namespace of namespaces.values())
      findNamespace(state, namespace, identities.get(namespace.name), snapshot);
  const isPresent = (name: string): boolean =>
    name === HOST || ['made', 'adopted'].includes(state.namespaces.get(name)?.origin.type ?? '');
  for (const [namespace, inside] of snapshot.inside)
    if (isPresent(namespace)) findInside(state, namespace, inside, recognition);
  for (const { namespace, family } of candidates.flatMap(({ firewalls }) => [...firewalls.values()])) {
    const key = firewallKey(namespace, family);
    const saved = snapshot.firewalls.get(key);
    if (saved === undefined || !isPresent(namespace)) continue;
    const found = firewallIn(saved, { namespace, family }, recognition);
    if (found !== null) state.firewalls.set(key, found);
  }
  return state;
}

function findNamespace(
  state: KernelState,
  candidate: NamespaceState,
  identity: NamespaceIdentity | undefined,
  { inside }: Snapshot,
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
  if ('attempted' in identity && !isOfAttempt(origin, inode, inside.get(name))) return;
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
]);

function isOfAttempt(origin: NamespaceState['origin'], inode: number, inside: Inside | undefined): boolean {
  if (origin.type === 'adopted') return origin.inode === inode;
  const interfaces = parseInterfaces([...(inside?.interfaces.values() ?? [])]);
  // With some modules the kernel puts a tunnel into every namespace that it makes: sit0, tunl0, ip6tnl0, gre0, …
  return interfaces.every(
    ({ ours, name, type }) => ours || name === 'lo' || (name.endsWith('0') && !NOT_BY_ITSELF.has(type)),
  );
}

function findInside(
  state: KernelState,
  namespace: string,
  inside: Inside,
  { candidates, isClaimed }: Recognition,
): void {
  for (const { sysctls } of candidates)
    for (const [id, entry] of sysctls)
      if (entry.namespace === namespace)
        state.sysctls.set(id, { ...entry, value: inside.sysctls[entry.key] ?? '' });
  const there = candidates.flatMap(({ devices }) =>
    [...devices.values()].filter((device) => device.namespace === namespace),
  );
  findAdopted(state, there, inside, candidates);
  const wanted = there.filter(({ key }) => foreignMarks(key, candidates) === undefined);
  const missing: Device[] = [];
  for (const device of wanted) {
    const [found] = parseInterfaces([inside.interfaces.get(device.name)]);
    if (found?.ours === true && found.type === device.kind.type)
      state.devices.set(device.key, observedDevice(device, found, inside, candidates));
    else missing.push(device);
  }
  const unfound = missing.filter(({ key }) => !state.devices.has(key));
  if (unfound.length === 0) return;
  // Somebody may have renamed it: of ours, of the same type, with the MAC address that netnsd gave it.
  const byMac = Map.groupBy(
    parseInterfaces([...inside.interfaces.values()]).filter(
      ({ ours, name }) => ours && !isClaimed(namespace, name),
    ),
    ({ mac, type }) => `${type} ${String(mac)}`,
  );
  for (const device of unfound) {
    const [found, another] = byMac.get(`${device.kind.type} ${device.mac}`) ?? [];
    if (found === undefined || another !== undefined) continue;
    state.devices.set(device.key, {
      ...observedDevice(device, found, inside, candidates),
      name: found.name,
    });
  }
}

/** What is being adopted is known by its index, marked or not, and by nothing else. */
function findAdopted(
  state: KernelState,
  devices: readonly Device[],
  inside: Inside,
  candidates: readonly KernelState[],
): void {
  for (const device of devices) {
    const marks = foreignMarks(device.key, candidates);
    const adopted = marks === undefined ? null : adoptedDevice(device, marks, inside, candidates);
    if (adopted !== null) state.devices.set(device.key, adopted);
  }
}

function foreignMarks(key: string, candidates: readonly KernelState[]): ForeignMarks | undefined {
  return candidates.map(({ devices }) => devices.get(key)?.foreign).find((foreign) => foreign !== undefined);
}

function adoptedDevice(
  device: Device,
  { index }: ForeignMarks,
  inside: Inside,
  candidates: readonly KernelState[],
): Device | null {
  const found = parseInterfaces([...inside.interfaces.values()]).find((entry) => entry.index === index);
  if (found?.type !== device.kind.type) return null;
  const wanted = candidates.flatMap(({ devices }) => devices.get(device.key)?.routes ?? []);
  const known = [...new Map(wanted.map((route) => [routeKey(route), route])).values()];
  const routes = parseRoutesTo(known, found.name, inside.routesTo);
  return {
    ...observedDevice(device, found, inside, candidates),
    name: found.name,
    routes: routes.map(({ route }) => route),
    foreign: marksOf(found, routes),
  };
}

function observedDevice(
  device: Device,
  found: KernelInterface,
  { ownRoutes }: Inside,
  candidates: readonly KernelState[],
): Device {
  const known = new Set(
    candidates.flatMap((candidate) => candidate.devices.get(device.key)?.addresses ?? []),
  );
  const routes: Route[] = parseOwnRoutes(ownRoutes.get(found.name) ?? []);
  return {
    ...device,
    mac: found.mac ?? device.mac,
    mtu: found.mtu,
    up: found.up,
    master: found.bridge,
    addresses: found.addresses.filter((address) => known.has(address)),
    routes,
    kind:
      device.kind.type === 'bridge'
        ? { type: 'bridge', stp: found.stp, ageingSeconds: found.ageingSeconds ?? device.kind.ageingSeconds }
        : device.kind,
  };
}

/** The rules of the candidates' resources, and the chains; the rules of other resources are not looked at. */
function firewallIn(
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
