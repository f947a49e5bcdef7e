import { emptyState, firewallKey, type Device, type DeviceRef, type KernelState } from '../kernel/state.ts';
import type { Step } from '../kernel/step.ts';
import type { Family } from '../schemas/address.ts';
import type { Ref } from '../schemas/common.ts';
import { forwardingKey, natFamily } from '../schemas/nat.ts';
import { compileBridgeFirewall, families, guardedNamespaces, routedFamilies } from './bridge-firewall.ts';
import { compileBridge } from './bridge.ts';
import { planDevices } from './devices.ts';
import { planFlows } from './flows.ts';
import { firewallIn, planFirewalls } from './firewall.ts';
import { namespaceRef, type Intent } from './intent.ts';
import { compileLink } from './link.ts';
import { addGuard, addLocalnet } from './localnet.ts';
import { compileNamespace, planNamespaces } from './namespace.ts';
import { planSysctls, withRestores, withSysctls } from './sysctl.ts';
import { compileNat } from './nat.ts';

/** What the kernel is to have for an intent. Pure. */
export function compile(intent: Intent): KernelState {
  const state = emptyState();
  const guarded = guardedNamespaces(intent);
  const forwarding = new Map<string, Ref>();
  for (const resource of intent.resources.values()) {
    switch (resource.kind) {
      case 'namespace':
        compileNamespace(state, resource, intent);
        break;
      case 'bridge':
        compileBridge(state, resource, intent);
        compileBridgeFirewall(state, resource, intent, guarded);
        break;
      case 'link':
        compileLink(state, resource, intent);
        break;
      case 'nat': {
        const serves: Ref = { kind: 'nat', name: resource.name };
        const { namespace } = resource.intent;
        compileNat(state, resource);
        forwarding.set(firewallKey(namespace, natFamily(resource.intent)), serves);
        break;
      }
    }
  }
  for (const key of intent.otherFirewalls) {
    const { namespace, family } = placeOf(key);
    firewallIn(state, { namespace, family, part: 'nat' }, namespaceRef(namespace));
    if (!forwarding.has(key)) forwarding.set(key, namespaceRef(namespace));
  }
  for (const key of intent.otherLocalnets ?? []) compileOtherLocalnet(state, key);
  for (const namespace of guarded)
    for (const family of families)
      firewallIn(state, { namespace, family, part: 'bridge' }, namespaceRef(namespace));
  compileForwardings(state, intent, forwarding);
  return state;
}

/** What published ports of other resources need for 127.0.0.1. */
function compileOtherLocalnet(state: KernelState, key: string): void {
  const [namespace = '', device] = key.split(' ');
  const serves = namespaceRef(namespace);
  const firewall = firewallIn(state, { namespace, family: 4, part: 'nat' }, serves);
  if (device === undefined) addGuard(firewall, serves);
  else addLocalnet(state, firewall, device, serves);
}

/** @param forwarding who needs it, by `firewallKey`, beside the bridges */
function compileForwardings(state: KernelState, intent: Intent, forwarding: Map<string, Ref>): void {
  for (const resource of intent.resources.values())
    if (resource.kind === 'bridge')
      for (const family of routedFamilies(resource.intent))
        forwarding.set(firewallKey(resource.intent.namespace, family), resource);
  for (const key of intent.otherForwarding ?? [])
    if (!forwarding.has(key)) forwarding.set(key, namespaceRef(placeOf(key).namespace));
  for (const [key, serves] of forwarding) compileForwarding(state, placeOf(key), serves, intent);
}

function placeOf(key: string): { namespace: string; family: Family } {
  const [namespace = '', family] = key.split(' ');
  return { namespace, family: family === '6' ? 6 : 4 };
}

/** A namespace that translates addresses, or is a plain router for a bridge, forwards packets. */
function compileForwarding(
  state: KernelState,
  { namespace, family }: { namespace: string; family: Family },
  { kind, name }: Ref,
  intent: Intent,
): void {
  const key = forwardingKey(family);
  const id = `${namespace} ${key}`;
  if (state.sysctls.has(id)) return;
  const before = intent.sysctlsBefore.get(id) ?? null;
  state.sysctls.set(id, { serves: { kind, name }, namespace, key, value: '1', before });
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
  // for new ones at once, while those that get another name are down: no packet meets the rules of neither name.
  const guardsGoLater = devices.deletes.length > 0;
  return [
    ...withRestores(devices.goings, sysctls.restores),
    ...devices.deletes,
    ...(guardsGoLater ? firewalls.deletes : []),
    ...namespaces.replaced,
    ...namespaces.adds,
    ...firewalls.adds,
    ...(guardsGoLater ? [] : firewalls.deletes),
    ...sysctls.sets,
    ...namespaces.loopbacks,
    ...withSysctls(devices.rest, sysctls.setsOfInterfaces),
    ...planFlows(have, want, namespaces),
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
