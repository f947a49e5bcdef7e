import { HOST, refText } from '../schemas/common.ts';
import { render, type Rendered } from './render.ts';
import type { DeviceRef } from './state.ts';
import type { Step } from './step.ts';

/** Steps that one process carries out, in order. */
export interface Invocation {
  target: string;
  steps: { step: Step; rendered: Rendered }[];
}

/** Invocations that may run side by side. */
export type Stage = Invocation[];

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
      lastOfTarget.get(target) ?? 0,
    );
    const stage = (stages[number] ??= new Map<string, Invocation>());
    const invocation = stage.get(target) ?? { target, steps: [] };
    invocation.steps.push({ step, rendered });
    stage.set(target, invocation);
    lastOfTarget.set(target, number);
    const touch = { stage: number, target };
    for (const key of touched.needs) needs.set(key, [...(needs.get(key) ?? []), touch]);
    for (const key of touched.changes) {
      changes.set(key, touch);
      needs.delete(key);
    }
  }
  return stages.map((stage) => [...stage.values()]);
}

interface Touch {
  stage: number;
  target: string;
}

/** One process a namespace for `ip`, and with it for sysctls inside it; one a namespace and family for rules. */
function targetOf(rendered: Rendered): string {
  switch (rendered.tool) {
    case 'ip':
      return `ip ${rendered.namespace}`;
    case 'iptables':
      return `iptables ${rendered.namespace} ${rendered.family}`;
    case 'sysctl':
      return rendered.namespace === HOST ? 'proc' : `ip ${rendered.namespace}`;
  }
}

function touchedBy(step: Step): { needs: string[]; changes: string[] } {
  switch (step.step) {
    case 'namespace.add':
    case 'namespace.delete':
      return { needs: [], changes: [namespace(step.namespace)] };
    case 'loopback.up':
      return { needs: [namespace(step.namespace)], changes: [] };
    case 'sysctl.set':
      // Forwarding is turned on when the rules that guard it are there, and off before they go.
      return {
        needs: [namespace(step.namespace), firewall(step.namespace, 4), firewall(step.namespace, 6)],
        changes: [`sysctl ${step.namespace}`],
      };
    case 'chain.set':
    case 'chain.delete':
    case 'rule.add':
    case 'rule.delete':
      return {
        needs: [namespace(step.namespace), `sysctl ${step.namespace}`],
        changes: [firewall(step.namespace, step.family)],
      };
    case 'veth.add':
      return {
        needs: [...surroundings(step.device), ...surroundings(step.peer), ...masterOf(step.device, step.master)],
        changes: [device(step.device), device(step.peer), owner(step)],
      };
    case 'device.delete':
      return {
        needs: [...surroundings(step.device), ...(step.peer === null ? [] : surroundings(step.peer))],
        changes: [device(step.device), owner(step), ...(step.peer === null ? [] : [device(step.peer)])],
      };
    case 'device.move':
      return {
        needs: [...surroundings(step.device), ...surroundings(step.to)],
        changes: [device(step.device), device(step.to)],
      };
    case 'device.rename':
      return {
        needs: surroundings(step.device),
        changes: [device(step.device), device({ ...step.device, name: step.name })],
      };
    case 'port.attach':
      return {
        needs: [...surroundings(step.device), ...masterOf(step.device, step.master)],
        changes: [device(step.device)],
      };
    case 'bridge.add':
      return { needs: surroundings(step.device), changes: [device(step.device), owner(step)] };
    case 'bridge.set':
    case 'device.up':
    case 'device.down':
    case 'device.mtu':
    case 'device.mac':
    case 'port.detach':
    case 'address.add':
    case 'address.delete':
    case 'route.add':
    case 'route.delete':
      return { needs: surroundings(step.device), changes: [device(step.device)] };
  }
}

/** A device needs its namespace; and rules that guard it are there before it, and go after it. */
function surroundings({ namespace: name }: DeviceRef): string[] {
  return [namespace(name), firewall(name, 4), firewall(name, 6)];
}

function masterOf({ namespace: name }: DeviceRef, master: string | null): string[] {
  return master === null ? [] : [device({ namespace: name, name: master })];
}

function namespace(name: string): string {
  return `namespace ${name}`;
}

function device(ref: DeviceRef): string {
  return `device ${ref.namespace} ${ref.name}`;
}

/** The old devices of a resource go before its new ones come, wherever each is. */
function owner({ serves }: Step): string {
  return refText(serves);
}

function firewall(name: string, family: number): string {
  return `firewall ${name} ${family}`;
}
