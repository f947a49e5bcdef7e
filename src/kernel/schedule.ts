import type { Family } from '../schemas/address.ts';
import { HOST, refText } from '../schemas/common.ts';
import { render, type Rendered } from './render.ts';
import type { DeviceRef } from './state.ts';
import { interfaceOfSysctl } from '../schemas/nat.ts';
import type { Step, StepName, StepOf } from './step.ts';

/** Steps that one process carries out, in order. */
export interface Invocation {
  target: string;
  steps: { step: Step; rendered: Rendered }[];
}

/** Invocations that may run side by side. */
type Stage = Invocation[];

/**
 * Splits a plan into stages. The order of the plan is kept between steps that have to do with one another:
 * those of one process, and those of which one changes what the other needs. All others may run side by side,
 * so that a plan takes as few processes, and as few turns, as it can.
 */
export function schedule(steps: readonly Step[]): Stage[] {
  const stages: Map<string, Invocation>[] = [];
  const lastOfTarget = new Map<string, number>();
  const changes = new Map<string, Touch>();
  const needs = new Map<string, Touch[]>();

  for (const step of steps) {
    const rendered = render(step);
    const target = targetOf(rendered);
    const touched = touchedBy(step);
    const earlier = [
      ...[...touched.needs, ...touched.changes].flatMap((key) => changes.get(key) ?? []),
      ...touched.changes.flatMap((key) => needs.get(key) ?? []),
    ];
    const number = earlier.reduce(
      (latest, touch) => Math.max(latest, touch.stage + (touch.target === target ? 0 : 1)),
      isMaking(step) ? 0 : (lastOfTarget.get(target) ?? 0),
    );
    const stage = (stages[number] ??= new Map<string, Invocation>());
    const invocation = stage.get(target) ?? { target, steps: [] };
    invocation.steps.splice(placeIn(invocation, step, touched), 0, { step, rendered });
    stage.set(target, invocation);
    lastOfTarget.set(target, Math.max(number, lastOfTarget.get(target) ?? 0));
    const touch = { stage: number, target };
    for (const key of touched.needs) needs.set(key, [...(needs.get(key) ?? []), touch]);
    for (const key of touched.changes) {
      changes.set(key, touch);
      needs.delete(key);
    }
  }
  return stages.map((stage) => [...stage.values()]);
}

/**
 * What these have to do with others is known in full, while the order of addresses and routes counts between devices too.
 * So many devices are made at once, and what is written to `/proc` of each then, before any comes up, is too.
 */
function isMaking({ step }: Step): boolean {
  return step === 'veth.add' || step === 'bridge.add';
}

/**
 * Where a step comes in an invocation: last. But to write sysctls takes a process of its own, so those of interfaces come
 * together with others, as early as what they need allows.
 */
function placeIn({ steps }: Invocation, step: Step, { needs }: Touched): number {
  if (step.step !== 'sysctl.set' || interfaceOfSysctl(step.key) === null) return steps.length;
  return (
    steps.findLastIndex((other) => {
      if (other.rendered.tool === 'sysctl') return true;
      return touchedBy(other.step).changes.some((key) => needs.includes(key));
    }) + 1
  );
}

interface Touch {
  stage: number;
  target: string;
}

/** One process a namespace for `ip`, and with it for sysctls inside it, one for `tc`; one a namespace and family for rules. */
function targetOf(rendered: Rendered): string {
  switch (rendered.tool) {
    case 'ip':
      return `ip ${rendered.namespace}`;
    case 'iptables':
      return `iptables ${rendered.namespace} ${rendered.family}`;
    case 'tc':
    case 'ethtool':
      return `${rendered.tool} ${rendered.namespace}`;
    case 'conntrack':
      return `conntrack ${rendered.namespace}`;
    case 'sysctl':
      return rendered.namespace === HOST ? 'proc' : `ip ${rendered.namespace}`;
  }
}

interface Touched {
  needs: string[];
  changes: string[];
}

function touchedBy(step: Step): Touched {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the table is complete by its type
  const toucher = touchers[step.step] as (step: Step) => Touched;
  return toucher(step);
}

const ofNamespace = (step: { namespace: string }): Touched => ({
  needs: [],
  changes: [namespace(step.namespace)],
});

const ofDevice = (step: { device: DeviceRef }): Touched => ({
  needs: surroundings(step.device),
  changes: [device(step.device)],
});

const ofFirewall = (step: { namespace: string; family: Family }): Touched => ({
  needs: [namespace(step.namespace), `sysctl ${step.namespace}`],
  changes: [firewall(step.namespace, step.family)],
});

const ofFlows = (step: { namespace: string; family: Family }): Touched => ({
  needs: [namespace(step.namespace), firewall(step.namespace, step.family)],
  changes: [],
});

const touchers: { [K in StepName]: (step: StepOf<K>) => Touched } = {
  'namespace.add': ofNamespace,
  'namespace.delete': ofNamespace,
  'namespace.identify': ofNamespace,
  'loopback.up': (step) => ({ needs: [namespace(step.namespace)], changes: [] }),
  'flows.delete': ofFlows,
  'flows.deleteFrom': ofFlows,
  // Forwarding is turned on when the rules that guard it are there, and off before they go.
  'sysctl.set': (step) => ({
    needs: [
      namespace(step.namespace),
      firewall(step.namespace, 4),
      firewall(step.namespace, 6),
      ...(step.device === undefined ? deviceOf(step) : [device(step.device)]),
    ],
    changes: [`sysctl ${step.namespace}`],
  }),
  'chain.set': ofFirewall,
  'chain.delete': ofFirewall,
  'rule.add': ofFirewall,
  'rule.delete': ofFirewall,
  'bridge.add': (step) => ({
    needs: surroundings(step.device),
    changes: [device(step.device), owner(step)],
  }),
  'veth.add': (step) => ({
    needs: [...surroundings(step.device), ...surroundings(step.peer), ...masterOf(step.device, step.master)],
    changes: [device(step.device), device(step.peer), owner(step)],
  }),
  'macvlan.add': (step) => ({
    needs: [...surroundings(step.device), ...baseOf(step.parent)],
    changes: [device(step.device), owner(step)],
  }),
  'macvlan.set': ofDevice,
  'vxlan.add': (step) => ({
    needs: [...surroundings(step.device), ...masterOf(step.device, step.by)],
    changes: [device(step.device), owner(step)],
  }),
  'tap.add': (step) => ({ needs: surroundings(step.device), changes: [device(step.device), owner(step)] }),
  'tap.name': ofDevice,
  'device.delete': (step) => ({
    needs: [
      ...surroundings(step.device),
      ...(step.peer === null ? [] : surroundings(step.peer)),
      ...(step.bases ?? []).flatMap(baseOf),
    ],
    changes: [device(step.device), owner(step), ...(step.peer === null ? [] : [device(step.peer)])],
  }),
  'device.move': (step) => ({
    needs: [...surroundings(step.device), ...surroundings(step.to)],
    changes: [device(step.device), device(step.to)],
  }),
  'device.rename': (step) => ({
    needs: surroundings(step.device),
    changes: [device(step.device), device({ ...step.device, name: step.name })],
  }),
  'port.attach': (step) => ({
    needs: [...surroundings(step.device), ...masterOf(step.device, step.master)],
    changes: [device(step.device)],
  }),
  'port.detach': ofDevice,
  'bridge.set': ofDevice,
  'device.group': ofDevice,
  'device.up': ofDevice,
  'device.down': ofDevice,
  'device.mtu': ofDevice,
  'device.mac': ofDevice,
  'device.queue': ofDevice,
  'port.set': ofDevice,
  'rate.set': ofDevice,
  'rate.delete': ofDevice,
  'ingress.add': ofDevice,
  'ingress.delete': ofDevice,
  'police.add': ofDevice,
  'police.delete': ofDevice,
  'offload.set': ofDevice,
  'address.add': ofDevice,
  'address.delete': ofDevice,
  'route.add': ofDevice,
  'route.delete': ofDevice,
  'route.replace': ofDevice,
  'route.protocol': ofDevice,
};

/** A device needs its namespace; and rules that guard it are there before it, and go after it. */
function surroundings({ namespace: name }: DeviceRef): string[] {
  return [namespace(name), firewall(name, 4), firewall(name, 6)];
}

/** What stands on a device comes after it, and goes before it. */
function baseOf(base: DeviceRef): string[] {
  return [namespace(base.namespace), device(base)];
}

function masterOf({ namespace: name }: DeviceRef, master: string | null): string[] {
  return master === null ? [] : [device({ namespace: name, name: master })];
}

/** The interface that a sysctl is of. */
function deviceOf({ namespace: where, key }: StepOf<'sysctl.set'>): string[] {
  const name = interfaceOfSysctl(key);
  return name === null ? [] : [device({ namespace: where, name })];
}

function namespace(name: string): string {
  return `namespace ${name}`;
}

function device(ref: DeviceRef): string {
  return `device ${ref.namespace} ${ref.name}`;
}

/** The old devices of a resource go before its new ones come, wherever each is. */
function owner({ serves }: Pick<Step, 'serves'>): string {
  return refText(serves);
}

function firewall(name: string, family: number): string {
  return `firewall ${name} ${family}`;
}
