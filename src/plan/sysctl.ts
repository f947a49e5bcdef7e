import type { DeviceRef, KernelState, Sysctl } from '../kernel/state.ts';
import type { Step, StepOf } from '../kernel/step.ts';
import { interfaceOfSysctl } from '../schemas/nat.ts';
import { placeText } from './link-types.ts';
import { words, type NamespaceSteps } from './namespace.ts';

export interface SysctlSteps {
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
    if (owner !== undefined && isForeign(owner.device, have, want)) continue;
    const had = have.sysctls.get(id);
    const isSame = had !== undefined && words(had.value) === words(value);
    if (isSame && !namespaces.bound.has(namespace) && isThere(had, have, kept)) continue;
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
    if (isLetGo && before !== null && before !== value && isThere(sysctl, have, kept))
      restores.push(stepOf(sysctl, before));
  }
  return restores;
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
 * The steps that make and change devices, with the sysctls of those: after them all, but for those that count from when a
 * device comes up. These come as soon as it is what and where it is to be, so that, in another namespace than that from
 * which it was made, one process does both.
 */
export function withSysctls(rest: readonly Step[], sets: readonly Step[]): Step[] {
  const steps = [...rest];
  const after: Step[] = [];
  for (const set of sets) {
    const isEarly =
      set.serves.kind === 'bridge' || (set.step === 'sysctl.set' && set.key.endsWith('.accept_ra'));
    const at = set.step === 'sysctl.set' && isEarly ? placeOf(steps, set) : -1;
    if (at === -1) after.push(set);
    else steps.splice(at, 0, set);
  }
  return [...steps, ...after];
}

/** As soon as the device is what and where it is to be; -1 where nothing is done to it. */
function placeOf(steps: readonly Step[], set: StepOf<'sysctl.set'>): number {
  const shaping = lastShaping(steps, set);
  const { device } = set;
  if (shaping !== -1 || device === undefined) return shaping === -1 ? -1 : shaping + 1;
  return steps.findIndex(
    (step) => 'device' in step && step.device !== undefined && placeText(step.device) === placeText(device),
  );
}

/** The place of the last step that gives the device its name, its namespace or its MTU, without which it has no IPv6. */
function lastShaping(steps: readonly Step[], { device }: StepOf<'sysctl.set'>): number {
  if (device === undefined) return -1;
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

/** Whether what it is of, if that is an interface, is there by that name and stays. */
function isThere(
  { namespace, key, value, owner }: Sysctl,
  have: KernelState,
  kept: ReadonlySet<string>,
): boolean {
  if (owner !== undefined) {
    const device = have.devices.get(owner.device);
    return kept.has(owner.device) && device?.name === owner.name && device.foreign === undefined;
  }
  const name = interfaceOfSysctl(key);
  if (name === null) return true;
  const device = [...have.devices.values()].find(
    (each) => each.namespace === namespace && each.name === name,
  );
  // It may be that of a resource which is not looked at: then what was read tells.
  return device === undefined ? value !== '' : kept.has(device.key);
}

/** What is being adopted is as it is to be, or is left as it is. */
function isForeign(device: string, have: KernelState, want: KernelState): boolean {
  return [have, want].some(({ devices }) => devices.get(device)?.foreign !== undefined);
}
