import { gatewayFamilies, type BridgeIntent, type ObservedBridge } from '../schemas/bridge.ts';
import { HOST } from '../schemas/common.ts';
import { sysctlOfInterface } from '../schemas/end.ts';
import {
  ownInterface,
  observedInterface,
  parseInterfaces,
  parseOwnRoutes,
  showOwnRoutes,
} from './interface.ts';
import type { Answer, Read } from './sessions.ts';

/** What is read of a bridge: itself, its ports, the routes of ours that leave by it. */
export function readsOfBridge(intent: BridgeIntent): Read[] {
  const { namespace, interface: name } = intent;
  return [
    {
      namespace,
      lines: [`address show dev ${name}`, `address show master ${name}`, showOwnRoutes(name)],
      sysctls: fieldsAskedOf(intent).map((field) => sysctlOfInterface(name, field)),
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

/** What is netnsd's own to say of a bridge that is a gateway. */
const FIELDS = ['ipv6.conf.accept_ra', 'ipv4.conf.rp_filter'] as const;

function fieldsAskedOf(intent: BridgeIntent): string[] {
  const { namespace, subnets, firewall } = intent;
  const gateway = gatewayFamilies(intent);
  const isForOthers = subnets.length > 0 || firewall !== null;
  const isAsked = {
    [FIELDS[0]]: gateway.has(6) || (namespace === HOST && isForOthers),
    [FIELDS[1]]: gateway.has(4),
  };
  return FIELDS.filter((field) => isAsked[field]);
}

/** What is not among the answers was not asked about. */
function seenOf(name: string, answer: Answer | null | undefined): Pick<ObservedBridge, 'sysctls'> {
  const seen = FIELDS.flatMap((field) => {
    const value = answer?.sysctls[sysctlOfInterface(name, field)];
    return value === undefined ? [] : [[field, value] as const];
  });
  return seen.length === 0 ? {} : { sysctls: Object.fromEntries(seen) };
}
