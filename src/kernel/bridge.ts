import type { BridgeIntent, ObservedBridge } from '../schemas/bridge.ts';
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
      sysctls: [
        ...(subnets.some((subnet) => familyOfSubnet(subnet) === 6) ? [acceptRaOf(name)] : []),
        ...(subnets.some((subnet) => familyOfSubnet(subnet) === 4) ? [rpFilterOf(name)] : []),
      ],
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

/** What is not among the answers was not asked about. */
function seenOf(
  name: string,
  answer: Answer | null | undefined,
): Pick<ObservedBridge, 'acceptRa' | 'rpFilter'> {
  const acceptRa = answer?.sysctls[acceptRaOf(name)];
  const rpFilter = answer?.sysctls[rpFilterOf(name)];
  return { ...(acceptRa === undefined ? {} : { acceptRa }), ...(rpFilter === undefined ? {} : { rpFilter }) };
}

function rpFilterOf(name: string): string {
  return sysctlOfInterface(name, 'ipv4.conf.rp_filter');
}

function acceptRaOf(name: string): string {
  return sysctlOfInterface(name, 'ipv6.conf.accept_ra');
}
