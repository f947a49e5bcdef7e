import { isDeepStrictEqual } from 'node:util';
import type { Stored, Tie } from '../db/resources.ts';
import { byGateways, firstGap, isIn, resolvedEnd, usableOf, usesAuto } from '../plan/ipam.ts';
import { familyOf, parsePrefix } from '../schemas/address.ts';
import { HOST, refText, type Ref } from '../schemas/common.ts';
import {
  AUTO,
  addressOfLease,
  leasePlace,
  leaseTie,
  type AddressPool,
  type EndAssigned,
  type Occupied,
  type SubnetAssigned,
} from '../schemas/ipam.ts';
import {
  endNames,
  type EndIntent,
  type EndName,
  type LinkAssigned,
  type LinkIntent,
} from '../schemas/link.ts';
import { addressOf, parseReserved, rangeOfNetwork, type Range } from '../schemas/range.ts';
import { refusingEnds } from './advertisement.ts';
import type { Draft } from './draft.ts';
import { SMALLEST_IPV6_MTU, addressTie, routeTie } from './interface.ts';
import { exhausted } from './exhausted.ts';
import { checkIpv6 } from './ipv6.ts';
import { linksOn } from './on-bridge.ts';
import { Problem } from './problem.ts';

/** What is needed to choose addresses and subnets. */
export interface Choosing {
  draft: Draft;
  pools: readonly AddressPool[];
  /** What the kernel has, where it was looked at. */
  survey: readonly Occupied[] | null;
  /** RFC 3339. */
  now: string;
}

/** The two ends of a veth pair, each with the bridge at the other one; a link of one end has no other. */
function pairedEnds(intent: LinkIntent): { name: EndName; end: EndIntent; bridge: string | null }[] {
  if (intent.type !== 'veth') return [];
  return [
    { name: 'own', end: intent, bridge: intent.peer.bridge },
    { name: 'peer', end: intent.peer, bridge: intent.bridge },
  ];
}

/**
 * Chooses what the ends of a link leave to netnsd; what was chosen before stays, as long as it can.
 *
 * @throws Problem if there is nothing to choose from
 */
export function assignEnds(
  intent: LinkIntent,
  before: Stored<'link'> | null,
  choosing: Choosing,
): Pick<LinkAssigned, 'ends'> {
  const link: Ref = { kind: 'link', name: intent.name };
  const ends: NonNullable<LinkAssigned['ends']> = {};
  for (const { name, end, bridge } of pairedEnds(intent)) {
    if (!usesAuto(end)) continue;
    const at = name === 'own' ? '' : '/peer';
    const had = before?.assigned.ends?.[name];
    ends[name] = new EndChoice({ at, link, end, had, ...choosing }).choose(bridge);
  }
  return Object.keys(ends).length === 0 ? {} : { ends };
}

interface EndToServe extends Choosing {
  /** Where the fields of the end are in the body. */
  at: string;
  link: Ref;
  end: EndIntent;
  had: EndAssigned | undefined;
}

class EndChoice {
  readonly #given: EndToServe;

  constructor(given: EndToServe) {
    this.#given = given;
  }

  choose(bridge: string | null): EndAssigned {
    const { at, end, draft } = this.#given;
    const field = end.addresses.includes(AUTO) ? 'addresses' : 'routes';
    if (bridge === null)
      throw this.#refusal(
        `${at}/${field}: \`auto\` is chosen by the bridge at the other end, and the other end is on none; put it on a bridge with \`subnets\`, or give it in full`,
      );
    const stored = draft.get('bridge', bridge);
    const subnets = stored?.assigned.subnets ?? [];
    if (stored === null || subnets.length === 0)
      throw this.#refusal(
        `${at}/${field}: \`auto\` needs a bridge with \`subnets\` at the other end, and ${bridge} has none; give it some, or give it in full`,
      );
    const leases = end.addresses.includes(AUTO) ? subnets.map((subnet) => this.#lease(stored, subnet)) : [];
    const assigned = { bridge, leases, gateways: [] };
    const addresses = resolvedEnd(end, assigned).addresses.map((text) => parsePrefix(text).address);
    const reachable = subnets.filter(({ subnet }) =>
      addresses.some((address) => isIn(address, rangeOfNetwork(subnet))),
    );
    const gateways = ([4, 6] as const).flatMap(
      (family) => reachable.find(({ gateway }) => familyOf(gateway) === family)?.gateway ?? [],
    );
    const chosen = { ...assigned, gateways };
    this.#check(chosen);
    return chosen;
  }

  #lease(bridge: Stored<'bridge'>, { subnet, gateway }: SubnetAssigned): EndAssigned['leases'][number] {
    const { had, now } = this.#given;
    const usable = usableOf(subnet);
    const kept = had?.bridge === bridge.name ? had.leases : [];
    const still = kept.find(({ address }) => address !== gateway && isIn(address, usable));
    if (still !== undefined) return { ...still, subnet };
    const address = this.#free(bridge, { subnet, gateway }, usable);
    return { address, subnet, since: now };
  }

  /** The first address of the subnet that nobody has. */
  #free(
    bridge: Stored<'bridge'>,
    { subnet, gateway }: Pick<SubnetAssigned, 'subnet' | 'gateway'>,
    usable: Range,
  ): string {
    const { draft, end, link } = this.#given;
    const held = draft.tiesAt(leasePlace(bridge.name)).filter((tie) => refText(tie) !== refText(link));
    const reserved = bridge.intent.reserved.map(parseReserved);
    const others = held.map(({ what }) => addressOfLease(what));
    const taken = [...reserved, ...[gateway, ...others, ...fixedOf(end)].map(rangeOfNetwork)];
    for (;;) {
      const gap = firstGap(usable, taken);
      if (gap === null) throw exhausted(bridge.name, subnet, { held, gateway, reserved, usable });
      const address = addressOf(usable.family, gap);
      // Something else in that namespace may have it, by another bridge.
      const other = draft.claimant({ namespace: end.namespace, what: addressTie(address) });
      if (other === null || refText(other) === refText(link)) return address;
      taken.push(rangeOfNetwork(address));
    }
  }

  #check(chosen: EndAssigned): void {
    const { at, end } = this.#given;
    for (const [index, route] of end.routes.entries())
      if (route.via === AUTO && byGateways(route, chosen.gateways).length === 0)
        throw this.#refusal(
          `${at}/routes/${index}/via: \`auto\` is the address of ${chosen.bridge} in a subnet that this end has an address in, and there is none of that family; add \`auto\` to \`addresses\`, or give the gateway`,
        );
    const resolved = resolvedEnd(end, chosen);
    const { addresses, routes } = resolved;
    if (end.mtu < SMALLEST_IPV6_MTU && addresses.some((address) => familyOf(address) === 6))
      throw this.#refusal(
        `${at}/mtu is ${end.mtu}, and the IPv6 subnet of ${chosen.bridge} needs ${SMALLEST_IPV6_MTU} or more; raise it`,
      );
    checkIpv6(at, resolved, this.#given.draft);
    const places = routes.map((route) => routeTie(route));
    const repeated = places.findIndex((place, index) => places.indexOf(place) !== index);
    if (repeated !== -1)
      throw this.#refusal(
        `${at}/routes: two of them are the same once \`auto\` is ${chosen.gateways.join(' and ')}; leave one of them out`,
      );
  }

  #refusal(detail: string): Problem {
    return new Problem('unprocessable', detail);
  }
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
  const needs = pairedEnds(intent).flatMap(({ end, bridge }) =>
    bridge === null ? [] : fixedOf(end).map((address) => leaseTie(bridge, address)),
  );
  return { claims, needs };
}

function fixedOf({ addresses }: EndIntent): string[] {
  return addresses.flatMap((text) => (text === AUTO ? [] : [parsePrefix(text).address]));
}

/** Throws if a fixed address of a link was given to another one, or is the bridge's. */
export function checkFixed(intent: LinkIntent, draft: Draft): void {
  for (const { name, end, bridge } of pairedEnds(intent))
    for (const address of bridge === null ? [] : fixedOf(end)) {
      const other = draft.claimant(leaseTie(bridge ?? '', address));
      if (other !== null && refText(other) !== refText({ kind: 'link', name: intent.name }))
        throw new Problem(
          'unprocessable',
          `${name === 'own' ? '' : '/peer'}/addresses: ${address} is that of ${refText(other)} in a subnet of bridge/${String(bridge)}; choose another, or say \`auto\``,
          { references: [other] },
        );
    }
}

/**
 * After the subnets of a bridge have changed: what was chosen out of them is chosen again where it can't stay, and what is
 * on it refuses router advertisements or not. Tells for which links.
 *
 * @throws Problem if a link would be without
 */
export function reassign(before: Stored<'bridge'>, choosing: Choosing): Stored<'link'>[] {
  const { draft, now } = choosing;
  const bridge = before.name;
  const { subnets } = before.assigned;
  const links: Stored<'link'>[] = [];
  if (isDeepStrictEqual(subnets, draft.get('bridge', bridge)?.assigned.subnets)) return links;
  for (const link of linksOn(bridge, draft)) {
    const { refusing: _refusing, ...chosen } = link.assigned;
    const isGiven = pairedEnds(link.intent).some((each) => each.bridge === bridge && usesAuto(each.end));
    const assigned = {
      ...chosen,
      ...(isGiven ? chooseAgain(bridge, link, choosing) : {}),
      ...refusingEnds(link.intent, draft),
    };
    if (isDeepStrictEqual(assigned, link.assigned)) continue;
    const { revision } = link;
    const changed = {
      ...link,
      assigned,
      observed: null,
      failure: null,
      revision: revision + 1,
      updatedAt: now,
    };
    draft.put(changed);
    links.push(changed);
  }
  return links;
}

function chooseAgain(
  bridge: string,
  link: Stored<'link'>,
  choosing: Choosing,
): ReturnType<typeof assignEnds> {
  try {
    return assignEnds(link.intent, link, choosing);
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    const { slug, message, extras } = error;
    if (slug === 'limit-reached') throw error;
    throw new Problem(
      'in-use',
      `link/${link.name} has what it has from a subnet of bridge/${bridge}, and could not have it any more: ${message}`,
      { ...extras, references: [{ kind: 'link', name: link.name }] },
      { cause: error },
    );
  }
}

/** Where the addresses count that a bridge must not overlap: what is in another namespace is in nobody's way. */
export function placesOf(namespace: string): string[] {
  return [...new Set([HOST, namespace])];
}
