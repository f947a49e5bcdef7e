import type { Device, DeviceRef, KernelState, Sysctl } from '../kernel/state.ts';
import type { Step, StepOf } from '../kernel/step.ts';
import { interfaceOfSysctl } from '../schemas/nat.ts';
import { isSameValue } from '../schemas/sysctl.ts';
import { placeText } from './link-types.ts';
import type { NamespaceSteps } from './namespace.ts';

interface SysctlSteps {
  restores: Step[];
  sets: Step[];
  /** Those of one interface, which must be there first. */
  setsOfInterfaces: Step[];
}

/**
 * `kept` are the devices, by `Device.key`, that stay where they are: with any other the values of its sysctls go, and
 * nothing is to be put back.
 */
export function planSysctls(
  have: KernelState,
  want: KernelState,
  namespaces: NamespaceSteps,
  kept: ReadonlySet<string>,
): SysctlSteps {
  const steps: SysctlSteps = {
    restores: restoresOf(have, want, namespaces, kept),
    sets: [],
    setsOfInterfaces: [],
  };
  for (const [id, sysctl] of want.sysctls) {
    const { namespace, key, value, owner } = sysctl;
    const had = have.sysctls.get(id);
    const isSame = had !== undefined && isSameValue(had.value, value);
    // What is being adopted is as it is to be, but for what comes with a firewall.
    if (isSame && owner !== undefined && isForeign(owner.device, have, want)) continue;
    const turn = turnOf(sysctl, have, want);
    if (had !== undefined && turn === 'goes') continue;
    const stays = isSame && turn !== 'comes' && !namespaces.bound.has(namespace) && isThere(had, have, kept);
    if (stays && !(isSetByKernel(key) && isReset(sysctl, have, want))) continue;
    const list = interfaceOfSysctl(key) !== null ? steps.setsOfInterfaces : steps.sets;
    list.push(stepOf(sysctl, value));
  }
  return steps;
}

/** What stood there before stands there again, as far as what it is of stays. */
function restoresOf(
  have: KernelState,
  want: KernelState,
  { gone, bound }: NamespaceSteps,
  kept: ReadonlySet<string>,
): Step[] {
  const restores: Step[] = [];
  for (const [id, sysctl] of have.sysctls) {
    const { namespace, value, before } = sysctl;
    const isLetGo = (!want.sysctls.has(id) || bound.has(namespace)) && !gone.has(namespace);
    if (isLetGo && before !== null && !isSameValue(before, value) && isThere(sysctl, have, kept))
      restores.push(stepOf(sysctl, isSetByKernel(sysctl.key) ? wholeOf(sysctl, have, want) : before));
  }
  return restores;
}

/** What IPv6 uses of the MTU of an interface if nothing is said of that; if it is about to change, what it has in any case. */
function wholeOf(sysctl: Sysctl, have: KernelState, want: KernelState): string {
  const mtus = interfaceOf(sysctl, have, want).flatMap((device) => device?.mtu ?? []);
  return mtus.length === 0 ? (sysctl.before ?? '') : String(Math.min(...mtus));
}

/**
 * What goes, with what is put back: before it, since forwarding ends before what guards it goes; but of a device that goes
 * down after that, so that none lets in for a moment what it is not to let in by its new name either.
 */
export function withRestores(goings: readonly Step[], restores: readonly Step[]): Step[] {
  const steps = [...goings];
  const first: Step[] = [];
  for (const restore of restores) {
    const device = restore.step === 'sysctl.set' ? restore.device : undefined;
    const at = steps.findLastIndex(
      (step) =>
        step.step === 'device.down' && device !== undefined && placeText(step.device) === placeText(device),
    );
    if (at === -1) first.push(restore);
    else steps.splice(at + 1, 0, restore);
  }
  return [...first, ...steps];
}

/**
 * The steps that make and change devices, with the sysctls of those: as soon as a device is what and where it is to be,
 * since some count from when it comes up (`addr_gen_mode`), and others keep out what comes in from then on; and so that,
 * in another namespace than that from which it was made, one process does both. Those that the kernel sets itself when
 * a device comes up come after all.
 */
export function withSysctls(rest: readonly Step[], sets: readonly Step[]): Step[] {
  const after = sets.filter((set) => set.step !== 'sysctl.set' || isSetByKernel(set.key));
  const early = sets.filter((set) => !after.includes(set));
  const byPlace = Map.groupBy(early, (set) => (set.step === 'sysctl.set' ? lastShaping(rest, set) : -1));
  const at = (place: number): Step[] => byPlace.get(place) ?? [];
  return [...at(-1), ...rest.flatMap((step, place) => [step, ...at(place)]), ...after];
}

/** With an MTU that is changed, or coming up, an interface has IPv6 use the whole of it (addrconf_notify in net/ipv6). */
function isSetByKernel(key: string): boolean {
  return /^net\.ipv6\.conf\..+\.mtu$/.test(key);
}

/**
 * The place of the last step that gives the device its name, its namespace or its MTU, without which it has no IPv6; -1 if
 * it has them.
 */
function lastShaping(
  steps: readonly Step[],
  { namespace, key, device = { namespace, name: interfaceOfSysctl(key) ?? '' } }: StepOf<'sysctl.set'>,
): number {
  const isIt = (place: DeviceRef): boolean => placeText(place) === placeText(device);
  return steps.findLastIndex((step) => {
    switch (step.step) {
      case 'veth.add':
        return isIt(step.device) || isIt(step.peer);
      case 'bridge.add':
      case 'macvlan.add':
      case 'vxlan.add':
      case 'tap.name':
      case 'device.mtu':
        return isIt(step.device);
      case 'device.rename':
        return isIt({ ...step.device, name: step.name });
      case 'device.move':
        return isIt(step.to);
      default:
        return false;
    }
  });
}

function stepOf({ serves, namespace, key, owner }: Sysctl, value: string): Step {
  const device = owner === undefined ? {} : { device: { namespace, name: owner.name } };
  return { step: 'sysctl.set', serves, namespace, key, value, ...device };
}

/** Whether the interface that a sysctl of a namespace is of goes or comes with the plan: it may be that of any link or bridge. */
function turnOf(
  { serves, namespace, key }: Sysctl,
  have: KernelState,
  want: KernelState,
): 'goes' | 'comes' | null {
  const name = interfaceOfSysctl(key)?.replaceAll('/', '.');
  if (serves.kind !== 'namespace' || name === undefined) return null;
  const [from, to] = [have, want].map(
    ({ devices }) =>
      [...devices.values()].find((each) => each.namespace === namespace && each.name === name)?.key,
  );
  if (from === to) return null;
  return to === undefined ? 'goes' : 'comes';
}

/** Whether what it is of, if that is an interface, is there by that name and stays. */
function isThere(
  { namespace, key, value, owner }: Sysctl,
  have: KernelState,
  kept: ReadonlySet<string>,
): boolean {
  if (owner !== undefined) {
    const device = have.devices.get(owner.device);
    return kept.has(owner.device) && device?.name === owner.name;
  }
  const name = interfaceOfSysctl(key);
  if (name === null) return true;
  const device = [...have.devices.values()].find(
    (each) => each.namespace === namespace && each.name === name,
  );
  // It may be that of a resource which is not looked at: then what was read tells.
  return device === undefined ? value !== '' : kept.has(device.key);
}

/** Whether the interface that it is of gets another MTU, or comes up. */
function isReset(sysctl: Sysctl, have: KernelState, want: KernelState): boolean {
  const [from, to] = interfaceOf(sysctl, have, want);
  if (from === undefined || to === undefined) return false;
  return from.mtu !== to.mtu || (to.up && (!from.up || from.name !== to.name));
}

/** The device that a sysctl is of, as it is and as it is to be. */
function interfaceOf(
  { namespace, key, owner }: Sysctl,
  have: KernelState,
  want: KernelState,
): [Device | undefined, Device | undefined] {
  const name = owner?.name ?? interfaceOfSysctl(key);
  const found = [want, have]
    .flatMap(({ devices }) => [...devices.values()])
    .find((each) => each.namespace === namespace && each.name === name);
  return found === undefined ? [found, found] : [have.devices.get(found.key), want.devices.get(found.key)];
}

/** Whether it is being adopted, or given back. */
function isForeign(device: string, have: KernelState, want: KernelState): boolean {
  return [have, want].some(({ devices }) => devices.get(device)?.foreign !== undefined);
}
