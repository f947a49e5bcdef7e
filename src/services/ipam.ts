import { isDeepStrictEqual } from 'node:util';
import type { HeldTie, Stored } from '../db/resources.ts';
import { byGateways, firstGap, isIn, resolvedEnd, usableOf, usesAuto } from '../plan/ipam.ts';
import { familyOf, parsePrefix } from '../schemas/address.ts';
import { HOST, refText, type Ref } from '../schemas/common.ts';
import {
  AUTO,
  addressOfLease,
  leaseTie,
  type AddressPool,
  type EndAssigned,
  type Occupied,
  type SubnetAssigned,
} from '../schemas/ipam.ts';
import { endsOf, type EndIntent, type LinkAssigned, type LinkIntent } from '../schemas/link.ts';
import { addressOf, parseReserved, rangeOfNetwork, type Range } from '../schemas/range.ts';
import { refusingEnds } from './advertisement.ts';
import type { Draft } from './draft.ts';
import { SMALLEST_IPV6_MTU, addressTie, routeTie } from './interface.ts';
import { exhausted } from './exhausted.ts';
import { facingEnds, fixedOf, networkOf } from './held.ts';
import { checkIpv6 } from './ipv6.ts';
import { bridgesOf, linksOn } from './on-bridge.ts';
import { checkBesideSubnets, laidByLeases } from './overlap.ts';
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
  const ends: NonNullable<LinkAssigned['ends']> = {};
  for (const { name, end, bridge } of facingEnds(intent, choosing.draft)) {
    if (!usesAuto(end)) continue;
    const at = name === 'own' ? '' : '/peer';
    const had = before?.assigned.ends?.[name];
    const chosen = Object.values(ends).flatMap(({ leases }) => leases.map(({ address }) => address));
    ends[name] = new EndChoice({ at, intent, end, had, chosen, ...choosing }).choose(bridge);
  }
  if (Object.keys(ends).length === 0) return {};
  const { draft } = choosing;
  const had = before === null ? null : laidByLeases(before.intent, before.assigned, draft);
  checkBesideSubnets(laidByLeases(intent, { ends }, draft), had, draft);
  return { ends };
}

interface EndToServe extends Choosing {
  /** Where the fields of the end are in the body. */
  at: string;
  intent: LinkIntent;
  end: EndIntent;
  had: EndAssigned | undefined;
  /** What the other end of the link was just given. */
  chosen: readonly string[];
}

class EndChoice {
  readonly #given: EndToServe;

  constructor(given: EndToServe) {
    this.#given = given;
  }

  choose(bridge: Stored<'bridge'> | null): EndAssigned {
    const { at, end, intent } = this.#given;
    const field = `${at}/${end.addresses.includes(AUTO) ? 'addresses' : 'routes'}`;
    if (bridge === null) throw this.#refusal(`${field}: ${lackOfBridge(intent)}, or give it in full`);
    const { subnets = [] } = bridge.assigned;
    if (subnets.length === 0)
      throw this.#refusal(
        `${field}: \`auto\` needs a bridge with \`subnets\` ${intent.type === 'macvlan' ? 'as its parent' : 'at the other end'}, and ${bridge.name} has none; give it some, or give it in full`,
      );
    const leases = end.addresses.includes(AUTO) ? subnets.map((subnet) => this.#lease(bridge, subnet)) : [];
    const assigned = { bridge: bridge.name, leases, gateways: [] };
    const addresses = resolvedEnd(end, assigned).addresses.map((text) => parsePrefix(text).address);
    const reachable = subnets.filter(({ subnet }) =>
      addresses.some((address) => isIn(address, rangeOfNetwork(subnet))),
    );
    // A macvlan exchanges nothing with the very interface that it stands on (br_dev_xmit sends to ports only).
    const mayBeGateways = intent.type === 'macvlan' ? [] : reachable;
    const gateways = ([4, 6] as const).flatMap(
      (family) => mayBeGateways.find(({ gateway }) => familyOf(gateway) === family)?.gateway ?? [],
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
    const { draft, end, intent, chosen } = this.#given;
    const link: Ref = { kind: 'link', name: intent.name };
    const ofLink = [...endsOf(intent).flatMap(fixedOf), ...chosen];
    const held = [
      ...networkOf([bridge.name, ...bridgesOf(intent, draft)], draft, link).held,
      ...ofLink.map((address): HeldTie => ({ ...link, what: leaseTie(bridge.name, address).what })),
    ];
    const own = [rangeOfNetwork(gateway)];
    const reserved = bridge.intent.reserved.map(parseReserved);
    const taken = [...own, ...reserved, ...held.map(({ what }) => rangeOfNetwork(addressOfLease(what)))];
    for (;;) {
      const gap = firstGap(usable, taken);
      if (gap === null)
        throw exhausted(bridge.name, subnet, { usable, own, reserved, held, namespace: end.namespace });
      const address = addressOf(usable.family, gap);
      // Something else in that namespace may have it, by another bridge.
      const other = draft.claimant({ namespace: end.namespace, what: addressTie(address, end.interface) });
      if (other === null || refText(other) === refText(link)) return address;
      taken.push(rangeOfNetwork(address));
    }
  }

  #check(chosen: EndAssigned): void {
    const { at, end, intent } = this.#given;
    for (const [index, route] of end.routes.entries())
      if (route.via === AUTO && byGateways(route, chosen.gateways).length === 0)
        throw this.#refusal(
          intent.type === 'macvlan'
            ? `/routes/${index}/via: \`auto\` is ${chosen.bridge}, and a macvlan reaches all that is on the bridge that it stands on but not the bridge itself; give another gateway, or use a veth`
            : `${at}/routes/${index}/via: \`auto\` is the address of ${chosen.bridge} in a subnet that this end has an address in, and there is none of that family; add \`auto\` to \`addresses\`, or give the gateway`,
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

/** Why nothing is chosen for a link, and what to do. */
function lackOfBridge(intent: LinkIntent): string {
  return intent.type === 'macvlan'
    ? `\`auto\` is chosen by the bridge that is its parent, and ${intent.parent} in ${intent.parentNamespace} is no bridge of netnsd’s; name the interface of one with \`subnets\``
    : '`auto` is chosen by the bridge at the other end, and the other end is on none; put it on a bridge with `subnets`';
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
    const isGiven = facingEnds(link.intent, draft).some(
      (each) => each.bridge?.name === bridge && usesAuto(each.end),
    );
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
export function placesToAvoid(namespace: string): string[] {
  return [...new Set([HOST, namespace])];
}
