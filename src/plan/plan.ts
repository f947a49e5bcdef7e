import { emptyState, type Device, type DeviceRef, type Firewall, type KernelState } from '../kernel/state.ts';
import type { Step } from '../kernel/step.ts';
import type { Ref } from '../schemas/common.ts';
import { forwardingKey, natFamily } from '../schemas/nat.ts';
import { compileBridge } from './bridge.ts';
import { planDevices } from './devices.ts';
import { firewallIn, planFirewalls } from './firewall.ts';
import { namespaceRef, type Intent } from './intent.ts';
import { compileLink } from './link.ts';
import { compileNamespace, planNamespaces } from './namespace.ts';
import { planSysctls, withSysctls } from './sysctl.ts';
import { compileNat } from './nat.ts';

/** What the kernel is to have for an intent. Pure. */
export function compile(intent: Intent): KernelState {
  const state = emptyState();
  for (const resource of intent.resources.values()) {
    switch (resource.kind) {
      case 'namespace':
        compileNamespace(state, resource, intent);
        break;
      case 'bridge':
        compileBridge(state, resource, intent);
        break;
      case 'link':
        compileLink(state, resource, intent);
        break;
      case 'nat': {
        const serves: Ref = { kind: 'nat', name: resource.name };
        compileNat(
          firewallIn(state, resource.intent.namespace, natFamily(resource.intent), serves),
          resource.intent,
        );
        break;
      }
    }
  }
  for (const key of intent.otherFirewalls) {
    const [namespace = '', family] = key.split(' ');
    firewallIn(state, namespace, family === '6' ? 6 : 4, namespaceRef(namespace));
  }
  for (const firewall of state.firewalls.values()) compileForwarding(state, firewall, intent);
  return state;
}

/** A namespace that translates addresses forwards packets. */
function compileForwarding(state: KernelState, { namespace, family, rules }: Firewall, intent: Intent): void {
  const key = forwardingKey(family);
  const id = `${namespace} ${key}`;
  if (state.sysctls.has(id)) return;
  const serves = [...rules.values()].at(-1)?.serves ?? namespaceRef(namespace);
  state.sysctls.set(id, { serves, namespace, key, value: '1', before: intent.sysctlsBefore.get(id) ?? null });
}

/**
 * The steps that turn what is there into what is to be there, in order. Create, change, delete, undo, repair
 * and dry run are this one function with different arguments. Pure; `plan(x, x)` is empty.
 */
export function plan(have: KernelState, want: KernelState): Step[] {
  const namespaces = planNamespaces(have, want);
  const firewalls = planFirewalls(have, want, namespaces.gone, namespaces.fresh);
  const devices = planDevices(have, want, namespaces.gone);
  const sysctls = planSysctls(have, want, namespaces, devices.kept);
  // What guards a network is there before it, and goes after it. Where no device goes, old rules are exchanged
  // for new ones at once.
  const guardsGoLater = devices.deletes.length > 0;
  return [
    ...sysctls.restores,
    ...devices.deletes,
    ...(guardsGoLater ? firewalls.deletes : []),
    ...namespaces.replaced,
    ...namespaces.adds,
    ...firewalls.adds,
    ...(guardsGoLater ? [] : firewalls.deletes),
    ...sysctls.sets,
    ...namespaces.loopbacks,
    ...withSysctls(devices.rest, sysctls.setsOfInterfaces),
    ...namespaces.deletes,
  ];
}

/**
 * The devices that a plan changes and does not make: whoever carries it out makes sure first that each still
 * is ours.
 */
export function devicesExpected(have: KernelState, steps: readonly Step[]): Device[] {
  const touched = new Set(steps.flatMap(devicesOf).map(({ namespace, name }) => `${namespace} ${name}`));
  return [...have.devices.values()].filter(({ namespace, name }) => touched.has(`${namespace} ${name}`));
}

function devicesOf(step: Step): DeviceRef[] {
  if (!('device' in step) || step.device === undefined) return [];
  const master =
    'master' in step && step.master !== null ? [{ namespace: step.device.namespace, name: step.master }] : [];
  return [step.device, ...master];
}
