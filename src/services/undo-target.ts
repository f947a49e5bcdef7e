import { CommandFailed } from '../kernel/errors.ts';
import type { KernelState } from '../kernel/state.ts';

/**
 * What a change that failed is to leave behind: what was there before. Namespaces that it only refers to, and that
 * were missing already, stay missing, with all that was in them.
 */
export function withoutMissing(
  have: KernelState,
  observed: KernelState,
  changing: ReadonlySet<string>,
): KernelState {
  const isMissing = (name: string): boolean =>
    have.namespaces.has(name) && !observed.namespaces.has(name) && !changing.has(name);
  const lost = new Set(
    [...have.devices.values()].flatMap(({ namespace, key }) => (isMissing(namespace) ? [key] : [])),
  );
  const keep = <T extends { namespace: string }>(entries: ReadonlyMap<string, T>): Map<string, T> =>
    new Map([...entries].filter(([, { namespace }]) => !isMissing(namespace)));
  const devices = [...have.devices].filter(
    ([key, { kind }]) =>
      !lost.has(key) &&
      !(kind.type === 'veth' && lost.has(kind.peer)) &&
      !(kind.type === 'macvlan' && isMissing(kind.parent.namespace)),
  );
  return {
    namespaces: new Map([...have.namespaces].filter(([name]) => !isMissing(name))),
    devices: new Map(devices),
    sysctls: keep(have.sysctls),
    firewalls: keep(have.firewalls),
  };
}

/**
 * What was to be adopted and is not there any more, or is another, is not made in its place.
 *
 * @throws CommandFailed
 */
export function checkStillThere(have: KernelState, observed: KernelState): void {
  for (const { key, foreign, namespace, name } of have.devices.values())
    if (foreign !== undefined && !observed.devices.has(key))
      throw new CommandFailed(
        `ip address show dev ${name}`,
        null,
        `${name} in ${namespace} went away, or became another, while it was being adopted; try again`,
        { cause: 'refusal', refusal: 'foreign-object' },
      );
}
