import { isDeepStrictEqual } from 'node:util';
import type { Stored } from '../db/resources.ts';
import { chooseSubnet, gatewayIn, isIn, resolvedBridge, usableOf } from '../plan/ipam.ts';
import { parsePrefix } from '../schemas/address.ts';
import type { BridgeIntent } from '../schemas/bridge.ts';
import { HOST, refText, type Kind, type Ref } from '../schemas/common.ts';
import type { InterfaceIntent } from '../schemas/interface.ts';
import { endsOf } from '../schemas/link.ts';
import {
  AUTO,
  isAutoSubnet,
  isEverywhere,
  occupied,
  type Occupied,
  type SubnetAssigned,
  familyOfSubnet,
} from '../schemas/ipam.ts';
import { isWithin, overlap, parseReserved, rangeOfNetwork, type Range } from '../schemas/range.ts';
import type { Draft } from './draft.ts';
import { SMALLEST_IPV6_MTU } from './interface.ts';
import { holdersOf, networkOf } from './held.ts';
import { placesToAvoid, type Choosing } from './ipam.ts';
import { linksOn } from './on-bridge.ts';
import { isInTheWay } from './overlap.ts';
import { Problem, invalidField, taken as takenBy } from './problem.ts';

/** Throws for what the schema of a bridge could not say of its subnets. */
export function checkSubnets({ subnets, reserved, mtu }: BridgeIntent): void {
  const fixed = subnets.filter((subnet) => !isAutoSubnet(subnet));
  for (const [at, subnet] of subnets.entries()) {
    if (isAutoSubnet(subnet)) continue;
    const other = subnets.find(
      (each, index) =>
        index < at && !isAutoSubnet(each) && overlap(rangeOfNetwork(each), rangeOfNetwork(subnet)),
    );
    if (other !== undefined) throw invalidField(`/subnets/${at}`, `${subnet} overlaps ${other}`);
  }
  if (mtu < SMALLEST_IPV6_MTU && subnets.some((subnet) => familyOfSubnet(subnet) === 6))
    throw new Problem(
      'unprocessable',
      `/mtu is ${mtu}, and an IPv6 subnet needs ${SMALLEST_IPV6_MTU} or more; raise it or leave the subnet out`,
    );
  // In which subnet it is to lie is not known before that is chosen.
  if (fixed.length < subnets.length) return;
  for (const [at, range] of reserved.entries())
    if (!fixed.some((subnet) => isWithin(parseReserved(range), rangeOfNetwork(subnet))))
      throw invalidField(`/reserved/${at}`, `${range} lies in none of the \`subnets\``);
}

/** Chooses what a bridge leaves to netnsd. @throws Problem if what it asks for overlaps something. */
export function assignSubnets(
  intent: BridgeIntent,
  before: Stored<'bridge'> | null,
  choosing: Choosing,
): { subnets?: SubnetAssigned[] } {
  if (intent.subnets.length === 0) return {};
  const had = before?.assigned.subnets ?? [];
  const hasMoved = before !== null && before.intent.namespace !== intent.namespace;
  const subnets: SubnetAssigned[] = [];
  for (const [at, asked] of intent.subnets.entries()) {
    const last = had.find((each) => each.asked === asked)?.subnet;
    const subnet =
      last !== undefined && !hasMoved
        ? last
        : newSubnet(`/subnets/${at}`, asked, subnets, { intent, last, choosing });
    const gateway = gatewayIn(subnet, intent.addresses);
    const wasSo =
      had.some((each) => each.subnet === subnet && each.gateway === gateway) &&
      ownOf(before?.intent, gateway) === ownOf(intent, gateway);
    // What was so before an earlier version knew of it stays.
    if (hasMoved || !wasSo) checkGateway(intent, subnet, gateway, choosing.draft);
    subnets.push({ asked, subnet, gateway });
  }
  if (!isDeepStrictEqual([intent.reserved, subnets], [before?.intent.reserved, had]))
    checkReserved(intent.reserved, subnets);
  return { subnets };
}

/** What is reserved beside all subnets would be of no use; where `auto` is one, that is not known before. */
function checkReserved(reserved: readonly string[], subnets: readonly SubnetAssigned[]): void {
  const ranges = subnets.map(({ subnet }) => rangeOfNetwork(subnet));
  const at = reserved.findIndex((text) => !ranges.some((range) => isWithin(parseReserved(text), range)));
  if (at === -1) return;
  const all = subnets.map(({ subnet }) => subnet).join(', ');
  throw new Problem(
    'unprocessable',
    `/reserved/${at}: ${String(reserved[at])} lies in none of its subnets (${all}); leave it out, or give the subnet in full`,
  );
}

/** How a bridge says itself that it has an address. */
function ownOf(bridge: BridgeIntent | undefined, address: string): string | undefined {
  return bridge?.addresses.find((own) => parsePrefix(own).address === address);
}

function checkGateway(bridge: BridgeIntent, subnet: string, gateway: string, draft: Draft): void {
  const own = ownOf(bridge, gateway);
  const at = own === undefined ? -1 : bridge.addresses.indexOf(own);
  if (own !== undefined && parsePrefix(own).prefixLength !== parsePrefix(subnet).prefixLength)
    throw invalidField(
      `/addresses/${at}`,
      `${own} is in the subnet ${subnet}; give it the prefix length of that`,
    );
  if (!isIn(gateway, usableOf(subnet)))
    throw invalidField(`/addresses/${at}`, `${gateway} can't be the gateway of ${subnet}`);
  const network = networkOf([bridge.name], draft, { kind: 'bridge', name: bridge.name }, bridge);
  const [other] = holdersOf(network, gateway);
  if (other === undefined) return;
  const unasked = own === undefined ? ', as the first address there while `addresses` has none' : '';
  throw takenBy(`${gateway}, the gateway of ${subnet}${unasked},`, other);
}

function newSubnet(
  pointer: string,
  asked: string,
  others: readonly SubnetAssigned[],
  { intent, last, choosing }: { intent: BridgeIntent; last: string | undefined; choosing: Choosing },
): string {
  const { draft, pools, survey } = choosing;
  if (survey === null)
    throw new Problem(
      'in-use',
      `${pointer}: the bridge was changed by somebody else while this was asked for; nothing was changed, ask again`,
    );
  const own = ownDevices(intent, draft);
  const there = survey.filter(({ namespace, device }) => !own.has(`${namespace} ${String(device)}`));
  const intents = occupiedByIntents(intent.name, draft);
  if (!isAutoSubnet(asked)) {
    const near = intents.filter((each) => isInTheWay(each, intent.namespace));
    checkOverlap(pointer, asked, [...near, ...there]);
    return asked;
  }
  const fixed = intent.subnets.filter((each) => !isAutoSubnet(each));
  const taken = [
    ...[...others.map(({ subnet }) => subnet), ...fixed].map(rangeOfNetwork),
    ...[...intents, ...occupiedOn(intent, draft), ...there].map(({ range }) => range),
  ];
  if (last !== undefined && !taken.some((range) => overlap(range, rangeOfNetwork(last)))) return last;
  const family = familyOfSubnet(asked);
  // A rule for all that is in a pool says nothing of any one network there.
  const chosen =
    chooseSubnet(family, pools, [...taken, ...rangesOfNat(draft)]) ?? chooseSubnet(family, pools, taken);
  if (chosen !== null) return chosen;
  const of = pools.filter(({ network }) => network.includes(':') === (family === 6));
  const texts = of.map(({ network, prefixLength }) => `/${prefixLength} of ${network}`);
  throw new Problem(
    'limit-reached',
    `${pointer}: ${texts.length === 0 ? `there is no pool of IPv${family}` : `every ${texts.join(', and every ')} overlaps something`}; give the subnet in full, or start netnsd with another --address-pool`,
  );
}

function checkOverlap(pointer: string, subnet: string, found: readonly Occupied[]): void {
  const range = rangeOfNetwork(subnet);
  const other = found.find((each) => overlap(each.range, range));
  if (other === undefined) return;
  const { what, namespace, owner } = other;
  throw new Problem(
    'unprocessable',
    `${pointer}: ${subnet} overlaps ${what} in ${namespace}${owner === null ? '' : ` (${refText(owner)})`}; choose another, or say \`auto\``,
    owner === null ? {} : { references: [owner] },
  );
}

/** The interfaces, as `NAMESPACE NAME`, of the bridge and of all that is on it: that lies in its subnets by right. */
function ownDevices({ name, namespace, interface: device }: BridgeIntent, draft: Draft): Set<string> {
  const recorded = draft.get('bridge', name)?.intent;
  const ends = linksOn(name, draft).flatMap(({ intent }) => endsOf(intent));
  return new Set(
    [{ namespace, interface: device }, ...(recorded === undefined ? [] : [recorded]), ...ends].map(
      (end) => `${end.namespace} ${end.interface}`,
    ),
  );
}

/** The addresses, routes and subnets of all that is recorded, but for the bridge and what is on it. */
function occupiedByIntents(bridge: string, draft: Draft): Occupied[] {
  const bridges = draft.all('bridge').filter(({ name }) => name !== bridge);
  const near = new Set(linksOn(bridge, draft).map(({ name }) => name));
  const links = draft.all('link').filter(({ name }) => !near.has(name));
  return [
    ...bridges.flatMap(({ kind, name, intent, assigned }) => [
      ...(assigned.subnets ?? []).flatMap(({ subnet }) =>
        occupied(intent.namespace, subnet, `the subnet ${subnet} of bridge/${name}`, nobodyBut(kind, name)),
      ),
      ...occupiedBy({ kind, name }, resolvedBridge(intent, assigned)),
    ]),
    ...links.flatMap(({ kind, name, intent }) =>
      endsOf(intent).flatMap((end) => occupiedBy({ kind, name }, end)),
    ),
  ];
}

/** What the bridge and the links on it are to have beside its subnets. */
function occupiedOn(intent: BridgeIntent, draft: Draft): Occupied[] {
  const { name } = intent;
  return [
    ...occupiedBy({ kind: 'bridge', name }, intent),
    ...linksOn(name, draft).flatMap((link) => endsOf(link.intent).flatMap((end) => occupiedBy(link, end))),
  ];
}

/** What the nat rules translate, and to what. */
function rangesOfNat(draft: Draft): Range[] {
  return draft
    .all('nat')
    .flatMap(({ intent }) => {
      if (intent.type === 'dnat') return [intent.address, intent.to.address];
      return [intent.source, intent.type === 'snat' ? intent.toAddress : null];
    })
    .flatMap((network) =>
      network === null || network === undefined || isEverywhere(network) ? [] : [rangeOfNetwork(network)],
    );
}

function nobodyBut(kind: Kind, name: string): Pick<Occupied, 'device' | 'owner' | 'isRoute'> {
  return { device: null, owner: { kind, name }, isRoute: false };
}

function occupiedBy(
  { kind, name }: Ref,
  {
    namespace,
    interface: device,
    addresses,
    routes,
  }: InterfaceIntent & { namespace: string; interface: string },
): Occupied[] {
  const by = nobodyBut(kind, name);
  return [
    ...addresses.flatMap((address) =>
      address === AUTO ? [] : occupied(namespace, address, `the address ${address} of ${device}`, by),
    ),
    ...routes.flatMap(({ to }) =>
      to === 'default'
        ? []
        : occupied(namespace, to, `the route to ${to} by ${device}`, { ...by, isRoute: true }),
    ),
  ];
}

/**
 * Which namespaces have to be looked at before a bridge is made or changed to be as given: none, unless its subnets
 * change.
 *
 * @param body the bridge as it is to be; not checked yet, if it was put together from a patch
 */
export function namespacesToSurvey(body: object, recorded: BridgeIntent | undefined): string[] {
  const fields = new Map<string, unknown>(Object.entries(body));
  const subnets: unknown = fields.get('subnets');
  const namespace = fields.get('namespace');
  if (!Array.isArray(subnets) || subnets.length === 0) return [];
  const place = typeof namespace === 'string' ? namespace : HOST;
  const had = new Set<unknown>(recorded?.namespace === place ? recorded.subnets : []);
  return subnets.every((subnet: unknown) => had.has(subnet)) ? [] : placesToAvoid(place);
}
