import type { KernelState } from '../kernel/state.ts';
import type { Step } from '../kernel/step.ts';
import type { Difference } from '../schemas/common.ts';
import type { NamespaceIntent, ObservedNamespace } from '../schemas/namespace.ts';
import type { Placed } from '../schemas/resource.ts';
import { isSameValue, oneName } from '../schemas/sysctl.ts';
import { isHost, namespaceRef, type Intent } from './intent.ts';

/** Adds what a namespace is to have to the state. */
export function compileNamespace(
  state: KernelState,
  { intent, assigned }: Placed<'namespace'>,
  context: Intent,
): void {
  if (isHost(intent.name)) return;
  const serves = namespaceRef(intent.name);
  state.namespaces.set(intent.name, {
    serves,
    name: intent.name,
    origin:
      intent.pid === null ? { type: 'made' } : { type: 'adopted', pid: intent.pid, inode: assigned.inode },
    loopbackUp: intent.pid === null ? true : null,
  });
  for (const [given, value] of Object.entries(intent.sysctls)) {
    const key = oneName(given);
    const id = `${intent.name} ${key}`;
    state.sysctls.set(id, {
      serves,
      namespace: intent.name,
      key,
      value,
      before: context.sysctlsBefore.get(id) ?? null,
    });
  }
}

export interface NamespaceSteps {
  /** Of names that are free afterwards: last, since devices may move out. */
  deletes: Step[];
  /** Of names that another namespace gets: first. */
  replaced: Step[];
  adds: Step[];
  loopbacks: Step[];
  /** Namespaces that cease to be, with all that is in them; an adopted one only loses its name. */
  gone: Set<string>;
  /** Namespaces of which nothing is left from before. */
  fresh: Set<string>;
  /** Names that are bound anew, to a fresh namespace or to that of a process. */
  bound: Set<string>;
}

export function planNamespaces(have: KernelState, want: KernelState): NamespaceSteps {
  const steps: NamespaceSteps = {
    deletes: [],
    replaced: [],
    adds: [],
    loopbacks: [],
    gone: new Set(),
    fresh: new Set(),
    bound: new Set(),
  };
  for (const [name, { serves, origin }] of have.namespaces) {
    if (isSameNamespace(origin, want.namespaces.get(name)?.origin)) continue;
    const list = want.namespaces.has(name) ? steps.replaced : steps.deletes;
    list.push({ step: 'namespace.delete', serves, namespace: name });
    if (origin.type === 'made') steps.gone.add(name);
  }
  for (const [name, { serves, origin, loopbackUp }] of want.namespaces) {
    const had = have.namespaces.get(name);
    if (isSameNamespace(origin, had?.origin)) {
      if (loopbackUp === true && had?.loopbackUp === false)
        steps.loopbacks.push({ step: 'loopback.up', serves, namespace: name });
      continue;
    }
    steps.bound.add(name);
    const pid = origin.type === 'adopted' ? origin.pid : null;
    steps.adds.push({ step: 'namespace.add', serves, namespace: name, pid });
    if (pid === null) {
      steps.adds.push({ step: 'namespace.identify', serves, namespace: name });
      steps.loopbacks.push({ step: 'loopback.up', serves, namespace: name });
      steps.fresh.add(name);
    }
  }
  return steps;
}

type Origin = NonNullable<ReturnType<KernelState['namespaces']['get']>>['origin'];

/** Two processes in one namespace are the same origin: the inode tells, not the pid. */
function isSameNamespace(a: Origin, b: Origin | undefined): boolean {
  if (b === undefined || a.type !== b.type || a.type === 'broken') return false;
  return a.type === 'made' || (b.type === 'adopted' && a.inode === b.inode);
}

/** Where the kernel differs from what was asked of a namespace; `inode` is what it is known by, null if by none. */
export function differencesOfNamespace(
  intent: NamespaceIntent,
  inode: number | null,
  observed: ObservedNamespace,
): Difference[] {
  if (inode === null || observed.inode !== inode)
    return [{ path: '', intended: inode, observed: observed.inode }];
  const differences: Difference[] = [];
  const loopback = observed.interfaces.find(({ type }) => type === 'loopback');
  if (intent.pid === null && loopback?.up !== true)
    differences.push({
      path: '/status/interfaces/lo',
      intended: 'up',
      observed: loopback === undefined ? null : 'down',
    });
  for (const [key, value] of Object.entries(intent.sysctls)) {
    const found = observed.sysctls[key];
    if (found === undefined || !isSameValue(found, value))
      differences.push({ path: `/sysctls/${key}`, intended: value, observed: found ?? null });
  }
  return differences;
}

/** Names that stand for another namespace in the one state than in the other. */
export function reboundNames(have: KernelState, want: KernelState): Set<string> {
  const isOther = ([name, { origin }]: [string, { origin: Origin }]): boolean => {
    const before = have.namespaces.get(name)?.origin;
    return before !== undefined && !isSameNamespace(origin, before);
  };
  return new Set([...want.namespaces].filter(isOther).map(([name]) => name));
}
