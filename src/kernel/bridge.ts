import type { BridgeIntent, ObservedBridge } from '../schemas/bridge.ts';
import { HOST } from '../schemas/common.ts';
import { sysctlOfInterface } from '../schemas/end.ts';
import { familyOfSubnet } from '../schemas/ipam.ts';
import {
  ownInterface,
  observedInterface,
  parseInterfaces,
  parseOwnRoutes,
  showOwnRoutes,
} from './interface.ts';
import type { Answer, Read } from './sessions.ts';

/** What is read of a bridge: itself, its ports, the routes of ours that leave by it. */
export function readsOfBridge({ namespace, interface: name, subnets }: BridgeIntent): Read[] {
  return [
    {
      namespace,
      lines: [`address show dev ${name}`, `address show master ${name}`, showOwnRoutes(name)],
      sysctls: fieldsAskedOf(namespace, subnets).map((field) => sysctlOfInterface(name, field)),
    },
  ];
}

/** The bridge as the kernel has it; `null` stands for an answer that there was none. */
export function parseBridge(
  { interface: name }: BridgeIntent,
  [answer]: readonly (Answer | null)[],
): ObservedBridge {
  const found = ownInterface(name, answer?.shown[0] ?? []);
  const [, ports = [], routes = []] = found === undefined ? [] : (answer?.shown ?? []);
  return {
    ...observedInterface(found),
    bridgeId: found?.bridgeId ?? null,
    stp: found?.stp ?? false,
    ageingSeconds: found?.ageingSeconds ?? null,
    ports: parseInterfaces(ports)
      .map((port) => port.name)
      .toSorted(),
    routes: parseOwnRoutes(routes),
    ...seenOf(name, answer),
  };
}

/** What is netnsd's own to say of a bridge with subnets; in other namespaces than the daemon's it takes a process. */
const FIELDS = ['ipv6.conf.accept_ra', 'ipv4.conf.rp_filter'] as const;

function fieldsAskedOf(namespace: string, subnets: readonly string[]): readonly string[] {
  if (namespace === HOST) return subnets.length === 0 ? [] : FIELDS;
  return subnets.some((subnet) => familyOfSubnet(subnet) === 6) ? FIELDS.slice(0, 1) : [];
}

/** What is not among the answers was not asked about. */
function seenOf(name: string, answer: Answer | null | undefined): Pick<ObservedBridge, 'sysctls'> {
  const seen = FIELDS.flatMap((field) => {
    const value = answer?.sysctls[sysctlOfInterface(name, field)];
    return value === undefined ? [] : [[field, value] as const];
  });
  return seen.length === 0 ? {} : { sysctls: Object.fromEntries(seen) };
}
