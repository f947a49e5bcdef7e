import type { BridgeIntent, ObservedBridge } from '../schemas/bridge.ts';
import { observedInterface, parseInterfaces, parseOwnRoutes, showOwnRoutes } from './interface.ts';
import type { Answer, Read } from './sessions.ts';

/** What is read of a bridge: itself, its ports, the routes of ours that leave by it. */
export function readsOfBridge({ namespace, interface: name }: BridgeIntent): Read[] {
  return [
    {
      namespace,
      lines: [`address show dev ${name}`, `address show master ${name}`, showOwnRoutes(name)],
      sysctls: [],
    },
  ];
}

/** The bridge as the kernel has it; `null` stands for an answer that there was none. */
export function parseBridge([answer]: readonly (Answer | null)[]): ObservedBridge {
  const [addresses = [], ports = [], routes = []] = answer?.shown ?? [];
  const found = parseInterfaces(addresses)[0];
  return {
    ...observedInterface(found),
    bridgeId: found?.bridgeId ?? null,
    stp: found?.stp ?? false,
    ageingSeconds: found?.ageingSeconds ?? null,
    ports: parseInterfaces(ports)
      .map(({ name }) => name)
      .toSorted(),
    routes: parseOwnRoutes(routes),
  };
}
