import type { ForeignMarks } from '../schemas/adoption.ts';
import type { Route } from '../schemas/interface.ts';
import { interfaceOfSysctl } from '../schemas/nat.ts';
import { routeKey } from '../schemas/route.ts';
import { observedOptions, withExtras } from './end.ts';
import { marksOf, parseRoutesTo } from './adoption.ts';
import { parseInterfaces, parseOwnRoutes, type KernelInterface } from './interface.ts';
import type { Recognition } from './observe.ts';
import type { Inside } from './snapshot.ts';
import type { Device, KernelState, Sysctl } from './state.ts';

/** Adds what is found in one namespace of the devices and sysctls that the candidates speak of. */
export function findInside(
  state: KernelState,
  namespace: string,
  inside: Inside,
  recognition: Recognition,
): void {
  const { candidates } = recognition;
  for (const { sysctls } of candidates)
    for (const [id, entry] of sysctls)
      if (entry.namespace === namespace)
        state.sysctls.set(id, {
          ...entry,
          value: inside.sysctls[entry.key] ?? '',
          ...presence(entry, inside),
        });
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
  if (unfound.length > 0) findChanged(state, unfound, namespace, inside, recognition);
}

function presence({ key }: Sysctl, { interfaces }: Inside): Pick<Sysctl, 'isAbsent'> {
  const name = interfaceOfSysctl(key)?.replaceAll('/', '.');
  return name === undefined ? {} : { isAbsent: !interfaces.has(name) };
}

/** Devices that are not to be had by their names and marks. */
function findChanged(
  state: KernelState,
  unfound: readonly Device[],
  namespace: string,
  inside: Inside,
  { candidates, isClaimed, indexes }: Recognition,
): void {
  // Somebody may have renamed it: of ours, of the same type, with the MAC address that netnsd gave it.
  const byMac = Map.groupBy(
    parseInterfaces([...inside.interfaces.values()]).filter(
      ({ ours, name }) => ours && !isClaimed(namespace, name),
    ),
    ({ mac, type }) => `${type} ${String(mac)}`,
  );
  for (const device of unfound) {
    const [found, another] = byMac.get(`${device.kind.type} ${device.mac}`) ?? [];
    const begun = found === undefined ? begunDevice(device, inside) : undefined;
    const known = found === undefined ? unmarkedDevice(device, inside, indexes) : undefined;
    const entry = found ?? begun ?? known;
    const unmarked = begun?.ours === true ? undefined : (begun ?? known);
    if (entry === undefined || another !== undefined) continue;
    state.devices.set(device.key, {
      ...observedDevice(device, entry, inside, candidates),
      name: entry.name,
      ...(unmarked === undefined ? {} : { unmarked: { index: unmarked.index } }),
    });
  }
}

/** A tap that is being made, or was when somebody was killed: it bears the name that nobody else gives. */
function begunDevice({ kind }: Device, { interfaces }: Inside): KernelInterface | undefined {
  if (kind.type !== 'tun') return undefined;
  const [found] = parseInterfaces([interfaces.get(kind.maker)]);
  return found?.type === 'tun' ? found : undefined;
}

/** The names of taps that are being made. */
export function makersOf(candidates: readonly KernelState[]): Set<string> {
  const devices = candidates.flatMap((candidate) => [...candidate.devices.values()]);
  return new Set(devices.flatMap(({ kind }) => (kind.type === 'tun' ? [kind.maker] : [])));
}

/** A device whose group somebody has changed: of ours by its index, its type, and the MAC address that netnsd gave it. */
function unmarkedDevice(
  { key, kind, mac }: Device,
  inside: Inside,
  indexes: ReadonlyMap<string, number> = new Map(),
): KernelInterface | undefined {
  const index = indexes.get(key);
  if (index === undefined) return undefined;
  return parseInterfaces([...inside.interfaces.values()]).find(
    (entry) => entry.index === index && entry.type === kind.type && entry.mac === mac,
  );
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
  { ownRoutes, extras }: Inside,
  candidates: readonly KernelState[],
): Device {
  const known = new Set(
    candidates.flatMap((candidate) => candidate.devices.get(device.key)?.addresses ?? []),
  );
  const routes: Route[] = parseOwnRoutes(ownRoutes.get(found.name) ?? []);
  const { options: _options, ...rest } = device;
  return {
    ...rest,
    mac: found.mac ?? device.mac,
    mtu: found.mtu,
    up: found.up,
    master: found.bridge,
    addresses: found.addresses.filter((address) => known.has(address)),
    routes,
    ...observedOptions(device, withExtras(found.name, found.options, extras), candidates),
    kind:
      device.kind.type === 'bridge'
        ? { type: 'bridge', stp: found.stp, ageingSeconds: found.ageingSeconds ?? device.kind.ageingSeconds }
        : device.kind,
  };
}
