import type { Device, KernelState } from '../kernel/state.ts';
import type { Step } from '../kernel/step.ts';
import { familyOf, networkOf, type Family } from '../schemas/address.ts';
import { refText } from '../schemas/common.ts';
import type { Route } from '../schemas/interface.ts';
import { familyOfRoute, routeKey } from '../schemas/route.ts';
import { optionsAfterMove, portChanges, queueChanges, toolChanges } from './end.ts';
import { isHost } from './intent.ts';
import {
  addSingle,
  baseOf,
  basesOf,
  canBecome,
  depthsOf,
  isSingle,
  optionChangesOfSingle,
  placeText,
} from './link-types.ts';
import { markChanges } from './marks.ts';

export interface DeviceSteps {
  deletes: Step[];
  /** Additions and changes, resource by resource. */
  rest: Step[];
  /** Those that stay where they are, by `Device.key`. */
  kept: Set<string>;
}

/** What is in a `gone` namespace goes with it. */
export function planDevices(have: KernelState, want: KernelState, gone: Set<string>): DeviceSteps {
  const steps: DeviceSteps = { deletes: [], rest: [], kept: new Set() };
  const had = groupByResource(have);
  const wanted = groupByResource(want);
  const going = goingOf(had, wanted, depthsOf(have), gone);
  for (const devices of going.values()) steps.deletes.push(...deleteOf(devices, gone, have));
  // Bridges before links: they are there, and bear their names, before something becomes their port. What stands on
  // others comes after them.
  const depths = depthsOf(want);
  const inOrder = [...wanted].toSorted(([, a], [, b]) => rank(a, depths) - rank(b, depths));
  for (const [owner, devices] of inOrder) {
    const before = had.get(owner) ?? [];
    // What is somebody else's is not made again either.
    const stays = (before.length > 0 && !going.has(owner)) || devices.some(isForeign);
    const current = stays
      ? new Map(before.map((device) => [device.key, device]))
      : addOf(devices, steps.rest);
    for (const device of devices) {
      const from = current.get(device.key);
      if (stays && from?.namespace === device.namespace) steps.kept.add(device.key);
      if (from !== undefined) steps.rest.push(...changesOf(from, device));
    }
  }
  return steps;
}

function groupByResource(state: KernelState): Map<string, Device[]> {
  return Map.groupBy(state.devices.values(), ({ serves }) => refText(serves));
}

function isForeign({ foreign }: Device): boolean {
  return foreign !== undefined;
}

function rank([first]: readonly Device[], depths: ReadonlyMap<string, number>): number {
  return first === undefined || first.kind.type === 'bridge' ? 0 : 1 + (depths.get(first.key) ?? 0);
}

/** The resources whose devices go, with all that stand on them: these go first, since the kernel takes them along. */
function goingOf(
  had: ReadonlyMap<string, Device[]>,
  wanted: ReadonlyMap<string, Device[]>,
  depths: ReadonlyMap<string, number>,
  gone: ReadonlySet<string>,
): Map<string, Device[]> {
  const depthOf = ([, [first]]: [string, Device[]]): number => depths.get(first?.key ?? '') ?? 0;
  const lost = new Set<string>();
  const going: [string, Device[]][] = [];
  for (const entry of [...had].toSorted((a, b) => depthOf(a) - depthOf(b))) {
    const [owner, devices] = entry;
    if (devices.some(isForeign)) continue;
    const bases = devices.flatMap((device) => baseOf(device) ?? []);
    const losesBase = bases.some((base) => lost.has(placeText(base)) || gone.has(base.namespace));
    if (!losesBase && canStay(devices, wanted.get(owner) ?? [])) continue;
    going.push(entry);
    for (const device of devices) lost.add(placeText(device));
  }
  return new Map(going.toSorted((a, b) => depthOf(b) - depthOf(a)));
}

/** Whether the devices can be changed into the wanted ones. A bridge can't change its namespace (ip-link(8)). */
function canStay(have: readonly Device[], want: readonly Device[]): boolean {
  if (have.length === 0 || have.length !== want.length) return false;
  return want.every((device) => {
    const other = have.find(({ key }) => key === device.key);
    if (other?.kind.type !== device.kind.type) return false;
    if (isSingle(device.kind)) return canBecome(other, device);
    return device.kind.type === 'veth' || other.namespace === device.namespace;
  });
}

/**
 * Both ends of a veth pair go at once. Where the other namespace goes too, the end outside it is deleted by name:
 * the kernel takes a namespace apart at its leisure, and until then the name would be taken (30 ms to 60 s).
 */
function deleteOf(devices: readonly Device[], gone: Set<string>, have: KernelState): Step[] {
  const staying = devices.filter((device) => !gone.has(device.namespace) || bindsParent(device, gone));
  const chosen = staying.find(({ namespace }) => isHost(namespace)) ?? staying[0];
  if (chosen === undefined) return [];
  const peer = devices.find(({ key }) => key !== chosen.key) ?? null;
  const bases = basesOf(chosen, have);
  return [
    {
      step: 'device.delete',
      serves: chosen.serves,
      device: place(chosen),
      peer: peer === null ? null : place(peer),
      ...(bases.length === 0 ? {} : { bases }),
    },
  ];
}

/** Until the kernel has taken its namespace apart, a parent that stays has it still, and with it its MAC address. */
function bindsParent({ kind }: Device, gone: ReadonlySet<string>): boolean {
  return kind.type === 'macvlan' && !gone.has(kind.parent.namespace);
}

/** Adds the steps that make the devices, and gives what is there then, by key. */
function addOf(devices: readonly Device[], adds: Step[]): Map<string, Device> {
  const [first, second] = devices;
  if (first === undefined) return new Map();
  if (first.kind.type === 'bridge') return new Map([[first.key, addBridge(first, first.kind, adds)]]);
  if (isSingle(first.kind)) return new Map([[first.key, addSingle(first, first.kind, adds)]]);
  if (second === undefined) return new Map();
  // Made from the daemon's own namespace if an end is there; each end where it belongs, since moving one costs
  // 19 ms of RCU waits.
  const [near, far] =
    !isHost(first.namespace) && isHost(second.namespace) ? [second, first] : [first, second];
  adds.push({
    step: 'veth.add',
    serves: near.serves,
    device: place(near),
    mac: near.mac,
    mtu: near.mtu,
    master: near.master,
    peer: { ...place(far), mac: far.mac, mtu: far.mtu },
  });
  return new Map([
    [near.key, bare(near, near.mtu, near.master)],
    [far.key, bare(far, far.mtu, null)],
  ]);
}

function addBridge(bridge: Device, options: { stp: boolean; ageingSeconds: number }, adds: Step[]): Device {
  // One off, so that `device.mtu` follows: only an MTU that was changed counts as the user's choice, and does not
  // follow that of the ports (br_change_mtu in net/bridge/br_device.c).
  const mtu = bridge.mtu > SMALLEST_MTU ? bridge.mtu - 1 : bridge.mtu + 1;
  const { stp, ageingSeconds } = options;
  adds.push({
    step: 'bridge.add',
    serves: bridge.serves,
    device: place(bridge),
    mac: bridge.mac,
    mtu,
    stp,
    ageingSeconds,
  });
  return bare(bridge, mtu, null);
}

const SMALLEST_MTU = 68;

/** A device as it is when it was just made. */
function bare(device: Device, mtu: number, master: string | null): Device {
  const { options: _options, ...rest } = device;
  return { ...rest, mtu, master, up: false, addresses: [], routes: [] };
}

function place({ namespace, name }: Device): { namespace: string; name: string } {
  return { namespace, name };
}

/** The steps that turn one device into the other, in the order that the kernel needs. */
function changesOf(have: Device, want: Device): Step[] {
  if (isForeign(have) || isForeign(want)) return markChanges(have, want);
  const steps: Step[] = [];
  const at = { ...have, addresses: [...have.addresses], routes: [...have.routes] };
  const { serves } = want;

  if (have.unmarked !== undefined)
    steps.push({ step: 'device.group', serves, device: place(have), group: null });
  if (at.namespace !== want.namespace) {
    // Into another namespace: the kernel takes addresses, routes, bridge and `up` away.
    steps.push({ step: 'device.move', serves, device: place(at), to: place(want) });
    Object.assign(at, { ...place(want), master: null, up: false, addresses: [], routes: [] });
    at.options = optionsAfterMove(at.options);
  }
  if (at.up && (!want.up || at.name !== want.name)) {
    // Older kernels rename only what is down; that takes the routes away, and IPv6 addresses too unless
    // keep_addr_on_down says otherwise, so these are taken away on purpose.
    steps.push(
      ...deleteAddresses(
        at,
        at.addresses.filter((address) => familyOf(address) === 6),
      ),
    );
    steps.push({ step: 'device.down', serves, device: place(at) });
    Object.assign(at, {
      up: false,
      routes: [],
      addresses: at.addresses.filter((address) => familyOf(address) === 4),
    });
  }
  if (at.name !== want.name) {
    steps.push({ step: 'device.rename', serves, device: place(at), name: want.name });
    at.name = want.name;
  }
  const device = place(at);
  if (at.mac !== want.mac && want.mac !== '')
    steps.push({ step: 'device.mac', serves, device, mac: want.mac });
  if (at.mtu !== want.mtu) steps.push({ step: 'device.mtu', serves, device, mtu: want.mtu });
  steps.push(...optionChanges(at, want), ...queueChanges(at, want));
  steps.push(...masterChanges(at, want), ...portChanges(at, want), ...addressChanges(at, want));
  if (want.up && !at.up) steps.push({ step: 'device.up', serves, device });
  const there = new Set(at.routes.map(routeKey));
  const missing = want.routes.filter((route) => !there.has(routeKey(route)));
  for (const route of inOrderOfNeed(missing)) steps.push({ step: 'route.add', serves, device, route });
  return [...steps, ...toolChanges(at, want)];
}

function optionChanges(have: Device, want: Device): Step[] {
  if (have.kind.type !== 'bridge' || want.kind.type !== 'bridge') return optionChangesOfSingle(have, want);
  const { stp, ageingSeconds } = want.kind;
  if (have.kind.stp === stp && have.kind.ageingSeconds === ageingSeconds) return [];
  return [{ step: 'bridge.set', serves: want.serves, device: place(want), stp, ageingSeconds }];
}

function masterChanges(have: Device, want: Device): Step[] {
  if (have.master === want.master) return [];
  const device = place(want);
  if (want.master === null) return [{ step: 'port.detach', serves: want.serves, device }];
  return [{ step: 'port.attach', serves: want.serves, device, master: want.master }];
}

/**
 * Routes and addresses that go, then addresses that come; leaves in `at` what remains. Where an address goes,
 * all routes of its family go first and come again after, so that the kernel looks again whether their gateways
 * can be reached: it does not on its own, and a network that only exists for lack of a look can't be made again.
 */
function addressChanges(at: Device, want: Device): Step[] {
  const removed = removedAddresses(at.addresses, want.addresses);
  const families = new Set<Family>(removed.map(familyOf));
  const wanted = new Set(want.routes.map(routeKey));
  const going = at.routes.filter(
    (route) => families.has(familyOfRoute(route)) || !wanted.has(routeKey(route)),
  );
  const steps: Step[] = inOrderOfNeed(going)
    .toReversed()
    .map((route) => ({ step: 'route.delete', serves: at.serves, device: place(at), route }));
  at.routes = at.routes.filter((route) => !going.includes(route));
  steps.push(...deleteAddresses(at, removed));
  at.addresses = at.addresses.filter((address) => !removed.includes(address));
  const there = new Set(at.addresses);
  for (const address of want.addresses)
    if (!there.has(address))
      steps.push({ step: 'address.add', serves: at.serves, device: place(at), address });
  return steps;
}

/**
 * With the first IPv4 address of a network, the kernel takes away the others of that network as well, or not
 * (promote_secondaries): all of them go, the later ones first, and those that are wanted come again.
 */
function removedAddresses(have: readonly string[], want: readonly string[]): string[] {
  const wanted = new Set(want);
  const unwanted = have.filter((address) => !wanted.has(address));
  const networks = new Set(unwanted.filter((address) => familyOf(address) === 4).map(networkOf));
  return have
    .filter(
      (address) => !wanted.has(address) || (familyOf(address) === 4 && networks.has(networkOf(address))),
    )
    .toReversed();
}

function deleteAddresses(device: Device, addresses: readonly string[]): Step[] {
  return addresses.map((address) => ({
    step: 'address.delete',
    serves: device.serves,
    device: place(device),
    address,
  }));
}

/** What is on the link itself first: a gateway is reached by it. */
function inOrderOfNeed(routes: readonly Route[]): Route[] {
  return routes.toSorted((a, b) => Number(a.via !== null) - Number(b.via !== null));
}
