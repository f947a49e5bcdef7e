import { firewallKey, tables, type Device, type KernelState, type Rule } from '../../src/kernel/state.ts';
import { schedule, type Invocation } from '../../src/kernel/schedule.ts';
import type { Step } from '../../src/kernel/step.ts';
import { ACCEPT_RA, REFUSED } from '../../src/plan/advertisement.ts';
import { CHAINS } from '../../src/plan/firewall.ts';
import { sysctlOfInterface } from '../../src/schemas/end.ts';

/**
 * What passes at this moment of a change though neither the network before nor the one after would let it: a device that
 * is up has, by the name that it bears, all rules that forbid of the one or of the other, no rule that accepts of neither,
 * and refuses what both refuse.
 */
export function unguarded(state: KernelState, sides: readonly KernelState[]): string[] {
  const up = [...state.devices.values()].filter((device) => device.up);
  return [
    ...up.flatMap((device) => {
      const bearing = sides.filter((side) => isSamePlace(device, side.devices.get(device.key)));
      if (bearing.length === 0) return [];
      return [...rulesMissing(device, state, bearing), ...openTo(device, state, bearing)];
    }),
    ...localnetsUnguarded(state),
  ];
}

function isSamePlace(a: Device, b: Device | undefined): boolean {
  return b !== undefined && a.namespace === b.namespace && a.name === b.name;
}

function rulesMissing(device: Device, state: KernelState, bearing: readonly KernelState[]): string[] {
  if (device.kind.type !== 'bridge') return [];
  const { namespace, name } = device;
  const missing: string[] = [];
  for (const family of [4, 6] as const)
    for (const table of tables) {
      const key = firewallKey(namespace, family);
      const there = state.firewalls.get(key)?.rules ?? new Map<string, Rule>();
      const naming = ({ firewalls }: KernelState): [string, Rule][] =>
        [...(firewalls.get(key)?.rules ?? [])].filter(
          ([, rule]) => rule.table === table && names(rule, name),
        );
      const forbidding = bearing.map((side) => {
        const rules = naming(side).filter(([, rule]) => !accepts(rule));
        // They stand behind the jumps.
        return rules.length === 0 ? [] : [...rules, ...jumpsTo(side, key, table)];
      });
      if (!forbidding.some((rules) => rules.every(([id]) => there.has(id))))
        missing.push(`${name} in ${namespace} is up without its rules: ${family} ${table}`);
      const known = new Set(bearing.flatMap(naming).map(([id]) => id));
      for (const [id, rule] of naming(state))
        if (accepts(rule) && !known.has(id)) missing.push(`${name} in ${namespace} has a rule of another`);
    }
  return missing;
}

function names({ spec }: Rule, device: string): boolean {
  return ` ${spec} `.includes(` -i ${device} `) || ` ${spec} `.includes(` -o ${device} `);
}

function accepts({ spec }: Rule): boolean {
  return /-j (?:ACCEPT|MASQUERADE|SNAT|DNAT)/.test(spec) || spec.endsWith('-j NETNSD-PEERS');
}

function jumpsTo({ firewalls }: KernelState, key: string, table: string): [string, Rule][] {
  return [...(firewalls.get(key)?.rules ?? [])].filter(
    ([, rule]) => rule.table === table && !rule.chain.startsWith('NETNSD-'),
  );
}

/** What its sysctls are to refuse, and its flags as a port to keep from others, whichever network it is in. */
function openTo(device: Device, { sysctls }: KernelState, bearing: readonly KernelState[]): string[] {
  const { namespace, name, master, options } = device;
  const refusal = `${namespace} ${sysctlOfInterface(name, ACCEPT_RA)}`;
  const isRefused = (side: Pick<KernelState, 'sysctls'>): boolean =>
    side.sysctls.get(refusal)?.value === REFUSED;
  const ports = bearing
    .flatMap(({ devices }) => devices.get(device.key) ?? [])
    .filter((port) => master !== null && port.master === master);
  const isToBeIsolated = ports.length > 0 && ports.every((port) => port.options?.isolatedPort === true);
  return [
    ...(bearing.every(isRefused) && !isRefused({ sysctls })
      ? [`${name} in ${namespace} takes router advertisements`]
      : []),
    ...(isToBeIsolated && options?.isolatedPort !== true ? [`${name} in ${namespace} is not isolated`] : []),
  ];
}

/** CVE-2020-8558: the guard of 127.0.0.1 is there before it is needed, and goes after. */
function localnetsUnguarded({ sysctls, firewalls }: KernelState): string[] {
  return [...sysctls.values()].flatMap(({ namespace, key, value }) => {
    if (!key.endsWith('.route_localnet') || value !== '1') return [];
    const firewall = firewalls.get(firewallKey(namespace, 4));
    const isGuarded =
      firewall?.chains.has(`raw ${CHAINS.raw}`) === true &&
      [...firewall.rules.values()].some(
        ({ chain, spec }) => chain === 'PREROUTING' && spec.endsWith(CHAINS.raw),
      );
    return isGuarded ? [] : [`${key} in ${namespace}`];
  });
}

/**
 * A plan as it may come to pass: what each process does at once, one after another. Of the processes of a stage none
 * knows how far the others are; `pick` says whose turn it is.
 */
export function* moments(steps: readonly Step[], pick: (below: number) => number): Generator<Step[]> {
  for (const stage of schedule(steps)) {
    let open = stage.map(momentsOf).filter((left) => left.length > 0);
    while (open.length > 0) {
      const next = open[pick(open.length)]?.shift();
      if (next !== undefined) yield next;
      open = open.filter((left) => left.length > 0);
    }
  }
}

/** iptables-restore changes a table at once. */
function momentsOf({ steps }: Invocation): Step[][] {
  if (steps[0]?.rendered.tool !== 'iptables') return steps.map(({ step }) => [step]);
  return tables.map((table) =>
    steps.flatMap(({ step, rendered }) =>
      rendered.tool === 'iptables' && rendered.table === table ? [step] : [],
    ),
  );
}
