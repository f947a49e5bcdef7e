import { hasIpv6 } from '../kernel/sysctl.ts';
import { refusesAdvertisements } from '../plan/advertisement.ts';
import type { BridgeAssigned, BridgeIntent } from '../schemas/bridge.ts';
import { HOST } from '../schemas/common.ts';
import { sysctlOfInterface } from '../schemas/end.ts';
import { namedEnds, type EndIntent, type LinkAssigned, type LinkIntent } from '../schemas/link.ts';
import type { Draft } from './draft.ts';
import { SMALLEST_IPV6_MTU } from './interface.ts';
import { bridgeFaced } from './on-bridge.ts';

/** Which ends of a link refuse router advertisements; see `plan/advertisement.ts`. */
export function refusingEnds(intent: LinkIntent, draft: Draft): Pick<LinkAssigned, 'refusing'> {
  const refusing = namedEnds(intent)
    // With a smaller MTU an interface has no IPv6, and none of its sysctls.
    .filter(({ end }) => end.mtu >= SMALLEST_IPV6_MTU)
    .filter(
      ({ name, end }) =>
        leadsToHost(intent, end) || refusesAdvertisements(bridgeFaced(intent, name, draft)?.assigned.subnets),
    )
    .map(({ name }) => name);
  return refusing.length === 0 ? {} : { refusing };
}

/** A bridge of the daemon's own namespace with subnets or a firewall is for others to be on, whatever its family. */
export function refusingBridge({
  namespace,
  subnets,
  firewall,
  mtu,
}: BridgeIntent): Pick<BridgeAssigned, 'refusing'> {
  const isForOthers = subnets.length > 0 || firewall !== null;
  const mayBeTold = namespace === HOST && isForOthers && mtu >= SMALLEST_IPV6_MTU && hasIpv6();
  return mayBeTold ? { refusing: true } : {};
}

/**
 * Whether an end is where the daemon's own namespace takes what a namespace or a virtual machine sends. At the other end of
 * a macvlan or vxlan is a network, which may well have a router.
 */
function leadsToHost({ type }: LinkIntent, { namespace, bridge }: EndIntent): boolean {
  return (type === 'veth' || type === 'tap') && namespace === HOST && bridge === null && hasIpv6();
}

/** A link without what the namespaces of its ends say of its sysctls: that counts more than what netnsd does by itself. */
export function withoutThoseOfNamespaces(intent: LinkIntent, draft: Draft): LinkIntent {
  const left = <E extends EndIntent>(end: E): E => {
    if (end.sysctls === undefined) return end;
    const own = draft.get('namespace', end.namespace)?.intent.sysctls ?? {};
    const sysctls = Object.entries(end.sysctls).filter(
      ([key]) => own[sysctlOfInterface(end.interface, key)] === undefined,
    );
    return { ...end, sysctls: Object.fromEntries(sysctls) };
  };
  return intent.type === 'veth' ? { ...left(intent), peer: left(intent.peer) } : left(intent);
}

/** The same of the bridge itself. */
export function isSetByNamespace(key: string, namespace: string, draft: Draft): boolean {
  return draft.get('namespace', namespace)?.intent.sysctls[key] !== undefined;
}
