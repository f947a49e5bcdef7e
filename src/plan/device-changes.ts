import type { Device, DeviceRef } from '../kernel/state.ts';
import type { Step } from '../kernel/step.ts';
import { familyOf, networkOf, type Family } from '../schemas/address.ts';
import type { Route } from '../schemas/interface.ts';
import { familyOfRoute, routeKey } from '../schemas/route.ts';
import { optionsAfterMove, portChanges, queueChanges, toolChanges } from './end.ts';
import { optionChangesOfSingle } from './link-types.ts';
import { isForeign, markChanges } from './marks.ts';

/** The steps that turn one device into the other, in the order that the kernel needs. */
interface DeviceChanges {
  /**
   * What goes, before rules are exchanged: a device that gets another name is down from then on, and nothing passes it
   * while neither the rules by its old name nor those by its new one hold.
   */
  goings: Step[];
  rest: Step[];
}

export function changesOf(have: Device, want: Device): DeviceChanges {
  if (isForeign(have) || isForeign(want)) return { goings: [], rest: markChanges(have, want) };
  const { goings, at } = goingsOf(have, want);
  return { goings, rest: restOf(at, want) };
}

/** What goes, and what is left then. */
function goingsOf(have: Device, want: Device): { goings: Step[]; at: Device } {
  const at = { ...have, addresses: [...have.addresses], routes: [...have.routes] };
  const goings: Step[] = [];
  if (have.unmarked !== undefined)
    goings.push({ step: 'device.group', serves: want.serves, device: place(have), group: null });
  // On its way into another namespace it loses all that anyway.
  if (at.namespace !== want.namespace) return { goings, at };
  if (at.up && isToGoDown(at, want)) {
    // That takes the routes away, and IPv6 addresses too unless keep_addr_on_down says otherwise, so these are taken away
    // on purpose.
    const lost = at.addresses.filter((address) => familyOf(address) === 6);
    goings.push(...deleteAddresses(at, lost), {
      step: 'device.down',
      serves: want.serves,
      device: place(at),
    });
    const addresses = at.addresses.filter((address) => familyOf(address) === 4);
    Object.assign(at, { up: false, routes: [], addresses });
  }
  goings.push(...removals(at, want));
  return { goings, at };
}

/**
 * Older kernels rename only what is down. A port is made an isolated one when it is a port already, and would reach the
 * others until then.
 */
function isToGoDown(have: Device, want: Device): boolean {
  const becomesIsolatedPort = have.master !== want.master && want.options?.isolatedPort === true;
  return !want.up || have.name !== want.name || becomesIsolatedPort;
}

function restOf(at: Device, want: Device): Step[] {
  const steps: Step[] = [];
  const { serves } = want;
  if (at.namespace !== want.namespace) {
    // Into another namespace: the kernel takes addresses, routes, bridge and `up` away.
    steps.push({ step: 'device.move', serves, device: place(at), to: place(want) });
    Object.assign(at, { ...place(want), master: null, up: false, addresses: [], routes: [] });
    at.options = optionsAfterMove(at.options);
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
  steps.push(...masterChanges(at, want), ...portChanges(at, want), ...additions(at, want));
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
 * Routes and addresses that go; leaves in `at` what remains. Where an address goes, all routes of its family go first and
 * come again after, so that the kernel looks again whether their gateways can be reached: it does not on its own, and a
 * network that only exists for lack of a look can't be made again.
 */
function removals(at: Device, want: Device): Step[] {
  const removed = removedAddresses(at.addresses, want.addresses);
  const families = new Set<Family>(removed.map(familyOf));
  const wanted = new Set(want.routes.map(routeKey));
  const going = at.routes.filter(
    (route) => families.has(familyOfRoute(route)) || !wanted.has(routeKey(route)),
  );
  const routes: Step[] = inOrderOfNeed(going)
    .toReversed()
    .map((route) => ({ step: 'route.delete', serves: at.serves, device: place(at), route }));
  at.routes = at.routes.filter((route) => !going.includes(route));
  at.addresses = at.addresses.filter((address) => !removed.includes(address));
  return [...routes, ...deleteAddresses(at, removed)];
}

function additions(at: Device, want: Device): Step[] {
  const there = new Set(at.addresses);
  const missing = want.addresses.filter((address) => !there.has(address));
  return missing.map((address) => ({ step: 'address.add', serves: at.serves, device: place(at), address }));
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

/** Where a device is, and by which name. */
export function place({ namespace, name }: Device): DeviceRef {
  return { namespace, name };
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
