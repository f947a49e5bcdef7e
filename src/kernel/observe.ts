import { HOST, refText } from '../schemas/common.ts';
import { CHAIN_MARK, ownFirewall, saveFirewall } from './firewall.ts';
import {
  parseInterfaces,
  parseOwnRoutesByDevice,
  SHOW_OWN_ROUTES,
  type KernelInterface,
} from './interface.ts';
import { DEVICE_GROUP } from './marks.ts';
import { boundInode, isNameTaken } from './namespace.ts';
import type { Processes } from './processes.ts';
import { run } from './run.ts';
import type { Answer } from './sessions.ts';
import { emptyState, type Device, type Firewall, type KernelState, type NamespaceState } from './state.ts';
import type { Route } from '../schemas/interface.ts';

/**
 * How a bound name is known to be ours: by its inode; or because the name was free and netnsd's own attempt to bind
 * it ended without a word (`attempted`), so that what is there now may be half of it.
 */
export type NamespaceIdentity = { inode: number } | { attempted: true };

/**
 * What the kernel has of all that the candidates speak of: states of before and after, say, one of which or
 * something between is there. What bears no mark of ours is not seen, and neither is what others added to a
 * device of ours.
 */
export async function observe(
  processes: Processes,
  candidates: readonly KernelState[],
  identities: ReadonlyMap<string, NamespaceIdentity>,
): Promise<KernelState> {
  const state = emptyState();
  for (const { namespaces } of candidates)
    for (const namespace of namespaces.values())
      observeNamespace(state, namespace, identities.get(namespace.name));
  const present = (namespace: string): boolean =>
    namespace === HOST || ['made', 'adopted'].includes(state.namespaces.get(namespace)?.origin.type ?? '');
  const names = new Set(candidates.flatMap(namespacesSpokenOf).filter(present));
  await Promise.all([...names].map((namespace) => observeInside(processes, namespace, candidates, state)));
  const firewalls = new Map(candidates.flatMap(({ firewalls: each }) => [...each]));
  await Promise.all(
    [...firewalls]
      .filter(([, { namespace }]) => present(namespace))
      .map(async ([key, firewall]) => {
        const found = await observeFirewall(processes, firewall, candidates);
        if (found !== null) state.firewalls.set(key, found);
      }),
  );
  return state;
}

function observeNamespace(
  state: KernelState,
  candidate: NamespaceState,
  identity: NamespaceIdentity | undefined,
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
  state.namespaces.set(name, {
    ...candidate,
    origin: origin.type === 'adopted' ? { ...origin, inode } : origin,
  });
}

function namespacesSpokenOf({ devices, sysctls, firewalls }: KernelState): string[] {
  return [...devices.values(), ...sysctls.values(), ...firewalls.values()].map(({ namespace }) => namespace);
}

async function observeInside(
  processes: Processes,
  namespace: string,
  candidates: readonly KernelState[],
  state: KernelState,
): Promise<void> {
  const sysctls = candidates.flatMap((candidate) =>
    [...candidate.sysctls].filter(([, entry]) => entry.namespace === namespace),
  );
  const keys = [...new Set(sysctls.map(([, { key }]) => key))];
  const lines = [`address show group ${DEVICE_GROUP}`, SHOW_OWN_ROUTES];
  const { answers, failure } = await run(processes, {
    steps: [],
    expected: [],
    reads: [{ namespace, lines, sysctls: keys }],
  });
  if (failure !== null) throw failure;
  const answer: Answer = answers[0] ?? { shown: [], sysctls: {} };
  for (const [id, entry] of sysctls)
    state.sysctls.set(id, { ...entry, value: answer.sysctls[entry.key] ?? '' });
  const [addresses = [], routes = []] = answer.shown;
  const interfaces = new Map(parseInterfaces(addresses).map((entry) => [entry.name, entry]));
  const routesOf = parseOwnRoutesByDevice(routes);
  for (const { devices } of candidates)
    for (const device of devices.values()) {
      const found = interfaces.get(device.name);
      if (device.namespace !== namespace || found?.ours !== true || found.type !== device.kind.type) continue;
      const known = new Set(
        candidates.flatMap((candidate) => candidate.devices.get(device.key)?.addresses ?? []),
      );
      state.devices.set(device.key, observedDevice(device, found, known, routesOf.get(device.name) ?? []));
    }
}

function observedDevice(device: Device, found: KernelInterface, known: Set<string>, routes: Route[]): Device {
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
async function observeFirewall(
  processes: Processes,
  { namespace, family }: Firewall,
  candidates: readonly KernelState[],
): Promise<Firewall | null> {
  const owners = new Set(
    candidates.flatMap(({ firewalls }) =>
      [...firewalls.values()].flatMap(({ rules }) =>
        [...rules.values()].map(({ serves }) => refText(serves)),
      ),
    ),
  );
  const own = ownFirewall(namespace, family, await saveFirewall(processes, namespace, family));
  const rules = [...own.rules].filter(
    ([, { serves, comment }]) => owners.has(refText(serves)) || comment.startsWith(CHAIN_MARK),
  );
  if (own.chains.size === 0 && rules.length === 0) return null;
  return { ...own, rules: new Map(rules) };
}
