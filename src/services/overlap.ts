import { parsePrefix } from '../schemas/address.ts';
import type { BridgeIntent } from '../schemas/bridge.ts';
import { HOST } from '../schemas/common.ts';
import type { InterfaceIntent } from '../schemas/interface.ts';
import { AUTO, SUBNETS_PLACE, isAutoSubnet, isEverywhere, subnetOfTie } from '../schemas/ipam.ts';
import { namedEnds, type LinkAssigned, type LinkIntent } from '../schemas/link.ts';
import { overlap, rangeOfNetwork } from '../schemas/range.ts';
import type { Draft } from './draft.ts';
import { bridgesOf } from './on-bridge.ts';
import { Problem } from './problem.ts';

/*
 * A subnet is compared with all that is there when a bridge gets it (`subnets.ts`). Here is the other half: what comes
 * later is compared with the subnets that are recorded, so that the order makes no difference.
 */

/** What a resource has or is to have in the namespaces that it is in. */
interface Laid {
  networks: LaidNetwork[];
  /** What lies in the subnets of these by right. */
  bridges: ReadonlySet<string>;
  /** What to do where it overlaps; left out if that is to choose another. */
  remedy?: string;
}

interface LaidNetwork {
  /** The field of the body. */
  pointer: string;
  namespace: string;
  network: string;
  isRoute: boolean;
}

export function laidByBridge(intent: BridgeIntent): Laid {
  // Those that are left to netnsd are chosen beside all others.
  const subnets = intent.subnets.flatMap((network, at) =>
    isAutoSubnet(network)
      ? []
      : [{ pointer: `/subnets/${at}`, namespace: intent.namespace, network, isRoute: false }],
  );
  return { networks: [...subnets, ...laidBy('', intent)], bridges: new Set([intent.name]) };
}

export function laidByLink(intent: LinkIntent, draft: Draft): Laid {
  const networks = namedEnds(intent).flatMap(({ name, end }) => laidBy(name === 'own' ? '' : '/peer', end));
  return { networks, bridges: new Set(networks.length === 0 ? [] : bridgesOf(intent, draft)) };
}

/** What was chosen for a link: where an end is in another namespace than its bridge, that may be in the way of others. */
export function laidByLeases(intent: LinkIntent, { ends }: Pick<LinkAssigned, 'ends'>, draft: Draft): Laid {
  const networks = namedEnds(intent).flatMap(({ name, end: { namespace } }) =>
    (ends?.[name]?.leases ?? []).map(({ address, subnet }) => ({
      pointer: `${name === 'own' ? '' : '/peer'}/addresses`,
      namespace,
      network: `${address}/${parsePrefix(subnet).prefixLength}`,
      isRoute: false,
    })),
  );
  return {
    networks,
    bridges: new Set(networks.length === 0 ? [] : bridgesOf(intent, draft)),
    remedy: 'give one of the two bridges another, or have this end in another namespace',
  };
}

/** What is not chosen, and is anywhere at all. */
function laidBy(
  at: string,
  { namespace, addresses, routes }: InterfaceIntent & { namespace: string },
): LaidNetwork[] {
  return [
    ...addresses.map((network, index) => ({
      pointer: `${at}/addresses/${index}`,
      namespace,
      network,
      isRoute: false,
    })),
    ...routes.map(({ to }, index) => ({
      pointer: `${at}/routes/${index}/to`,
      namespace,
      network: to === 'default' ? AUTO : to,
      isRoute: true,
    })),
  ].filter(({ network }) => network !== AUTO && !isEverywhere(network));
}

/**
 * Whether something in one namespace counts where a bridge is in another: of what is in the daemon's own namespace, routes
 * do not, since they may be the way to that bridge.
 */
export function isInTheWay(
  { namespace, isRoute }: Pick<LaidNetwork, 'namespace' | 'isRoute'>,
  namespaceOfBridge: string,
): boolean {
  return namespace === namespaceOfBridge || (namespace === HOST && !isRoute);
}

/**
 * Throws if something that a change brings in overlaps the subnet of a bridge. What overlapped before may stay: it may have
 * been there first.
 */
export function checkBesideSubnets(after: Laid, before: Laid | null, draft: Draft): void {
  if (after.networks.length === 0) return;
  const had = new Set(before === null ? [] : overlapsOf(before, draft).map(keyOf));
  const found = overlapsOf(after, draft).find((each) => !had.has(keyOf(each)));
  if (found === undefined) return;
  const { pointer, network, bridge, subnet, namespaceOfBridge } = found;
  throw new Problem(
    'unprocessable',
    `${pointer}: ${network} overlaps the subnet ${subnet} of bridge/${bridge} in ${namespaceOfBridge}; ${after.remedy ?? 'choose another'}`,
    { references: [{ kind: 'bridge', name: bridge }] },
  );
}

interface Overlap extends LaidNetwork {
  bridge: string;
  subnet: string;
  namespaceOfBridge: string;
}

function overlapsOf({ networks, bridges }: Laid, draft: Draft): Overlap[] {
  const recorded = draft.tiesAt(SUBNETS_PLACE).filter(({ name }) => !bridges.has(name));
  return recorded.flatMap(({ name: bridge, what }) => {
    const { namespace: namespaceOfBridge, subnet } = subnetOfTie(what);
    const range = rangeOfNetwork(subnet);
    return networks
      .filter((each) => isInTheWay(each, namespaceOfBridge) && overlap(rangeOfNetwork(each.network), range))
      .map((each) => ({ ...each, bridge, subnet, namespaceOfBridge }));
  });
}

function keyOf({ namespace, network, isRoute, bridge, subnet }: Overlap): string {
  return [namespace, network, isRoute, bridge, subnet].join(' ');
}
