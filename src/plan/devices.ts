import type { Device, KernelState } from '../kernel/state.ts';
import type { Step } from '../kernel/step.ts';
import { refText } from '../schemas/common.ts';
import { changesOf, place } from './device-changes.ts';
import { isHost } from './intent.ts';
import { addSingle, baseOf, basesOf, canBecome, depthsOf, isSingle, placeText } from './link-types.ts';
import { isForeign } from './marks.ts';

interface DeviceSteps {
  /** What is taken from those that stay, before the rules are exchanged that are about them. */
  goings: Step[];
  deletes: Step[];
  /** Additions and changes, resource by resource. */
  rest: Step[];
  /** Those that stay where they are, by `Device.key`. */
  kept: Set<string>;
}

/** What is in a `gone` namespace goes with it. */
export function planDevices(have: KernelState, want: KernelState, gone: Set<string>): DeviceSteps {
  const steps: DeviceSteps = { goings: [], deletes: [], rest: [], kept: new Set() };
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
      if (from === undefined) continue;
      const { goings, rest } = changesOf(from, device);
      steps.goings.push(...goings);
      steps.rest.push(...rest);
    }
  }
  return steps;
}

function groupByResource(state: KernelState): Map<string, Device[]> {
  return Map.groupBy(state.devices.values(), ({ serves }) => refText(serves));
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
