import { availableParallelism } from 'node:os';
import pLimit from 'p-limit';
import type { Family } from '../schemas/address.ts';
import type { Route } from '../schemas/interface.ts';
import { byAllNames } from '../schemas/sysctl.ts';
import { showRoutesTo } from './adoption.ts';
import { CommandFailed } from './errors.ts';
import { saveFirewall, type SavedFirewall } from './firewall.ts';
import { SHOW_OWN_ROUTES, showOwnRoutes } from './interface.ts';
import { asObject, text } from './json-fields.ts';
import { STEP_ALLOWANCE_MS, type Processes } from './processes.ts';
import { run } from './run.ts';
import type { Answer, Read } from './sessions.ts';
import { firewallKey } from './state.ts';
import { readExtras, type Extras, type ExtrasRequest } from './tools.ts';

/** What to look at: namespaces, each with the sysctls in question, and firewalls. */
export interface SnapshotRequest {
  namespaces: ReadonlyMap<string, readonly string[]>;
  firewalls: readonly { namespace: string; family: Family }[];
  /** Routes that are looked for whatever their protocol, by namespace; none where left out. */
  routes?: ReadonlyMap<string, readonly Route[]>;
  /** What is asked of other tools than `ip`, by namespace; nothing where left out. */
  extras?: ReadonlyMap<string, ExtrasRequest>;
}

/** Everything that is in one namespace. */
export interface Inside {
  /** As `address show` prints them, by name. */
  interfaces: ReadonlyMap<string, unknown>;
  /** By the name of the bridge, or whatever else they are ports of. */
  ports: ReadonlyMap<string, unknown[]>;
  /** The routes of ours, by the name of the interface that they leave by. */
  ownRoutes: ReadonlyMap<string, unknown[]>;
  /** The answers to `showRoutesTo`. */
  routesTo: readonly unknown[];
  sysctls: Record<string, string>;
  extras: Extras | undefined;
}

/** What the kernel had of many things at about one time: read in one process a namespace, and one a firewall. */
export interface Snapshot {
  inside: ReadonlyMap<string, Inside>;
  /** By `firewallKey`. */
  firewalls: ReadonlyMap<string, SavedFirewall>;
  /** What could not be looked into, by namespace. */
  failures: ReadonlyMap<string, CommandFailed>;
}

/** Looks at all that is asked for, side by side as far as there are cores. */
export async function takeSnapshot(processes: Processes, request: SnapshotRequest): Promise<Snapshot> {
  const inside = new Map<string, Inside>();
  const firewalls = new Map<string, SavedFirewall>();
  const failures = new Map<string, CommandFailed>();
  const turns = pLimit(availableParallelism() + 1);
  // All together: tools that hang in many namespaces must not keep whoever waits for many times their time.
  const bounded = processes.within(processes.timeoutMs + request.namespaces.size * STEP_ALLOWANCE_MS);
  const lookInside = async (namespace: string, keys: readonly string[]): Promise<void> => {
    const lines = ['address show', SHOW_OWN_ROUTES, ...showRoutesTo(request.routes?.get(namespace) ?? [])];
    const read: Read = { namespace, lines, sysctls: [...keys] };
    const { answers, failure } = await run(bounded, { steps: [], expected: [], reads: [read] });
    if (failure !== null) failures.set(namespace, failure);
    else if (answers[0] !== undefined) await lookFurther(namespace, answers[0]);
  };
  const lookFurther = async (namespace: string, answer: Answer): Promise<void> => {
    const wanted = request.extras?.get(namespace);
    try {
      const extras = wanted === undefined ? undefined : await readExtras(bounded, namespace, wanted);
      inside.set(namespace, insideOf(answer, extras));
    } catch (error) {
      if (!(error instanceof CommandFailed)) throw error;
      failures.set(namespace, error);
    }
  };
  const lookAtFirewall = async (namespace: string, family: Family): Promise<void> => {
    try {
      firewalls.set(firewallKey(namespace, family), await saveFirewall(bounded, namespace, family));
    } catch (error) {
      if (!(error instanceof CommandFailed)) throw error;
      failures.set(namespace, error);
    }
  };
  await Promise.all([
    ...[...request.namespaces].map(([namespace, keys]) => turns(lookInside, namespace, keys)),
    ...request.firewalls.map(({ namespace, family }) => turns(lookAtFirewall, namespace, family)),
  ]);
  return { inside, firewalls, failures };
}

function insideOf({ shown, sysctls }: Answer, extras: Extras | undefined): Inside {
  const [interfaces = [], routes = [], ...routesTo] = shown;
  return {
    interfaces: new Map(interfaces.map((entry) => [textOf(entry, 'ifname'), entry])),
    ports: Map.groupBy(interfaces, (entry) => textOf(entry, 'master')),
    ownRoutes: Map.groupBy(routes, (entry) => textOf(entry, 'dev')),
    routesTo: routesTo.flat(),
    sysctls: byAllNames(sysctls),
    extras,
  };
}

function textOf(entry: unknown, field: string): string {
  return text(asObject(entry)?.[field]) ?? '';
}

/** What a read of its own would have been answered; null if its namespace is not there or could not be entered. */
export function answerFrom({ inside }: Snapshot, { namespace, lines, sysctls }: Read): Answer | null {
  const found = inside.get(namespace);
  if (found === undefined) return null;
  return {
    shown: lines.map((line) => shownIn(found, line)),
    sysctls: Object.fromEntries(sysctls.map((key) => [key, found.sysctls[key] ?? ''])),
  };
}

function shownIn({ interfaces, ports, ownRoutes }: Inside, line: string): unknown[] {
  if (line === 'address show') return [...interfaces.values()];
  const [, by, name = ''] = /^address show (dev|master) (\S+)$/.exec(line) ?? [];
  if (by === 'dev') return interfaces.has(name) ? [interfaces.get(name)] : [];
  if (by === 'master') return ports.get(name) ?? [];
  const device = line.slice(line.lastIndexOf(' ') + 1);
  if (line === showOwnRoutes(device)) return ownRoutes.get(device) ?? [];
  throw new Error(`a snapshot has no answer to: ${line}`);
}
