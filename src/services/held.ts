import { isDeepStrictEqual } from 'node:util';
import type { HeldTie, Stored, Tie } from '../db/resources.ts';
import { isIn } from '../plan/ipam.ts';
import { parsePrefix } from '../schemas/address.ts';
import type { BridgeIntent } from '../schemas/bridge.ts';
import { refText, type Ref } from '../schemas/common.ts';
import { AUTO, addressOfLease, isLease, joinTie, joinedBy, leasePlace, leaseTie } from '../schemas/ipam.ts';
import {
  bridgeAcross,
  endNames,
  endsOf,
  namedEnds,
  type EndIntent,
  type EndName,
  type LinkAssigned,
  type LinkIntent,
} from '../schemas/link.ts';
import { rangeOfNetwork } from '../schemas/range.ts';
import type { Draft } from './draft.ts';
import { bridgeFaced, bridgesOf, macvlansOn } from './on-bridge.ts';
import { Problem, taken } from './problem.ts';

/* Who has which address on the network of a bridge: given out of a subnet, or fixed. */

interface FacingEnd {
  name: EndName;
  end: EndIntent;
  /** The bridge on whose network it is. */
  bridge: Stored<'bridge'> | null;
}

/** The ends of a link, each with the bridge that it can get addresses from. */
export function facingEnds(intent: LinkIntent, draft: Draft): FacingEnd[] {
  return namedEnds(intent).map(({ name, end }) => ({ name, end, bridge: bridgeFaced(intent, name, draft) }));
}

/** Bridges that are one network, since veth pairs join them, and who has which address on it. */
interface Network {
  bridges: ReadonlyMap<string, BridgeIntent>;
  /** But for what the resource has that is being changed. */
  held: HeldTie[];
}

/**
 * The network that bridges are on, or are to be on together.
 *
 * @param given a bridge that is being changed, as it is to be
 */
export function networkOf(
  names: readonly string[],
  draft: Draft,
  changing: Ref,
  given: BridgeIntent | null = null,
): Network {
  const bridges = new Map<string, BridgeIntent>();
  const held: HeldTie[] = [];
  const isOther = (ref: Ref): boolean => refText(ref) !== refText(changing);
  const open = [...names];
  for (let name = open.pop(); name !== undefined; name = open.pop()) {
    const bridge = given?.name === name ? given : draft.get('bridge', name)?.intent;
    if (bridge === undefined || bridges.has(name)) continue;
    bridges.set(name, bridge);
    const ties = draft.tiesAt(leasePlace(name)).filter(isOther);
    held.push(...ties.filter(({ what }) => isLease(what)), ...standingOn(bridge, draft).filter(isOther));
    open.push(...ties.flatMap(({ what }) => joinedBy(what) ?? []));
  }
  return { bridges, held };
}

/** Which bridge a macvlan stands on is not known without a look at who has its parent's name. */
function standingOn(bridge: BridgeIntent, draft: Draft): HeldTie[] {
  return macvlansOn(bridge, draft).flatMap(({ kind, name, intent }) =>
    fixedOf(intent).map((address) => ({ kind, name, what: leaseTie(bridge.name, address).what })),
  );
}

/** Who has the address on the network. */
export function holdersOf({ held }: Network, address: string): Ref[] {
  return held
    .filter(({ what }) => addressOfLease(what) === address)
    .map(({ kind, name }): Ref => ({ kind, name }));
}

/** Who was given the address there, or is its gateway. */
function givenTo({ bridges }: Network, address: string, changing: Ref, draft: Draft): Ref | null {
  const claimants = [...bridges.keys()].flatMap((name) => draft.claimant(leaseTie(name, address)) ?? []);
  return claimants.find((ref) => refText(ref) !== refText(changing)) ?? null;
}

/** Whether an address lies in a subnet of a bridge of the network. */
function isInSubnet({ bridges }: Network, address: string, draft: Draft): boolean {
  return [...bridges.keys()].some((name) =>
    draft.get('bridge', name)?.assigned.subnets?.some(({ subnet }) => isIn(address, rangeOfNetwork(subnet))),
  );
}

/** What of the place of a bridge's addresses a link has: those that it was given, and beside them its fixed ones. */
export function leaseTiesOf(
  intent: LinkIntent,
  { ends }: Pick<LinkAssigned, 'ends'>,
): { claims: Tie[]; needs: Tie[] } {
  const claims = endNames.flatMap((name) => {
    const { bridge, leases } = ends?.[name] ?? { bridge: '', leases: [] };
    return leases.map(({ address }) => leaseTie(bridge, address));
  });
  // Which bridge a macvlan stands on is not known without a look at who has its parent's name: see `macvlansOn`.
  const needs = namedEnds(intent).flatMap(({ name, end }) =>
    [end.bridge, bridgeAcross(intent, name)].flatMap((bridge) =>
      bridge === null ? [] : fixedOf(end).map((address) => leaseTie(bridge, address)),
    ),
  );
  return { claims, needs: [...needs, ...joinsOf(intent)] };
}

function joinsOf(intent: LinkIntent): Tie[] {
  if (intent.type !== 'veth' || intent.bridge === null || intent.peer.bridge === null) return [];
  return [joinTie(intent.bridge, intent.peer.bridge), joinTie(intent.peer.bridge, intent.bridge)];
}

/** The addresses that an end does not leave to netnsd, without length. */
export function fixedOf({ addresses }: Pick<EndIntent, 'addresses'>): string[] {
  return addresses.flatMap((text) => (text === AUTO ? [] : [parsePrefix(text).address]));
}

/**
 * Throws if a fixed address that a change brings to a network was given to another link there, or is a bridge's; or if the
 * change joins two networks that both have an address that was given.
 */
export function checkFixed(intent: LinkIntent, before: LinkIntent | null, draft: Draft): void {
  const link: Ref = { kind: 'link', name: intent.name };
  const bridges = bridgesOf(intent, draft);
  const isWhereItWas = before !== null && isDeepStrictEqual(bridgesOf(before, draft), bridges);
  const had = new Set(isWhereItWas ? endsOf(before).flatMap(fixedOf) : []);
  const brought = namedEnds(intent).flatMap(({ name, end }) =>
    fixedOf(end)
      .filter((address) => !had.has(address))
      .map((address) => ({ at: name === 'own' ? '' : '/peer', address })),
  );
  if (bridges.length === 0) return;
  if (!isWhereItWas) checkJoint(bridges, draft, link);
  if (brought.length === 0) return;
  const network = networkOf(bridges, draft, link);
  for (const { at, address } of brought) {
    const other = givenTo(network, address, link, draft) ?? ownedBy(network, address, draft);
    if (other === null) continue;
    throw new Problem(
      'unprocessable',
      `${at}/addresses: ${address} is that of ${refText(other)} on the network of bridge/${bridges.join(' and bridge/')}; choose another, or say \`auto\``,
      { references: [other] },
    );
  }
}

/** The bridge that has an address out of a subnet as a further one of its own. */
function ownedBy(network: Network, address: string, draft: Draft): Ref | null {
  const bridge = holdersOf(network, address).find(({ kind }) => kind === 'bridge');
  return bridge !== undefined && isInSubnet(network, address, draft) ? bridge : null;
}

function checkJoint([first, second]: readonly string[], draft: Draft, link: Ref): void {
  if (first === undefined || second === undefined) return;
  const [one, other] = [networkOf([first], draft, link), networkOf([second], draft, link)];
  if (one.bridges.has(second)) return;
  const addresses = new Set(one.held.map(({ what }) => addressOfLease(what)));
  const both = other.held.map(({ what }) => addressOfLease(what)).filter((address) => addresses.has(address));
  for (const address of both) {
    if ((givenTo(one, address, link, draft) ?? givenTo(other, address, link, draft)) === null) continue;
    const references = [...holdersOf(one, address), ...holdersOf(other, address)];
    throw new Problem(
      'unprocessable',
      `/bridge: this would join bridge/${first} and bridge/${second}, and ${address} is that of ${references.map(refText).join(' and ')}; change one of these first`,
      { references },
    );
  }
}

/** Throws if an address that a change brings to a bridge was given to something on its network, or is fixed there in a subnet. */
export function checkOwn(intent: BridgeIntent, before: BridgeIntent | null, draft: Draft): void {
  const bridge: Ref = { kind: 'bridge', name: intent.name };
  const had = new Set(before === null ? [] : fixedOf(before));
  const brought = fixedOf(intent).filter((address) => !had.has(address));
  if (brought.length === 0) return;
  const network = networkOf([intent.name], draft, bridge, intent);
  for (const address of brought) {
    const isFixed = isInSubnet(network, address, draft);
    const other =
      givenTo(network, address, bridge, draft) ?? (isFixed ? holdersOf(network, address)[0] : null);
    if (other !== null && other !== undefined)
      throw taken(`/addresses: ${address} on the network of bridge/${intent.name}`, other);
  }
}
