import type { HeldTie, Stored, Tie } from '../db/resources.ts';
import { parsePrefix } from '../schemas/address.ts';
import type { BridgeIntent } from '../schemas/bridge.ts';
import { refText, type Ref } from '../schemas/common.ts';
import { AUTO, leasePlace, leaseTie } from '../schemas/ipam.ts';
import {
  bridgeAcross,
  endNames,
  namedEnds,
  type EndIntent,
  type EndName,
  type LinkAssigned,
  type LinkIntent,
} from '../schemas/link.ts';
import type { Draft } from './draft.ts';
import { bridgeFaced, macvlansOn } from './on-bridge.ts';
import { Problem } from './problem.ts';

/* Who has which address on the network of a bridge: given out of a subnet, or fixed. */

export interface FacingEnd {
  name: EndName;
  end: EndIntent;
  /** The bridge on whose network it is. */
  bridge: Stored<'bridge'> | null;
}

/** The ends of a link, each with the bridge that it can get addresses from. */
export function facingEnds(intent: LinkIntent, draft: Draft): FacingEnd[] {
  return namedEnds(intent).map(({ name, end }) => ({ name, end, bridge: bridgeFaced(intent, name, draft) }));
}

/** The addresses that are given and fixed on the network of a bridge, and by whom. */
export function heldOn({ name: bridge, intent }: Stored<'bridge'>, draft: Draft): HeldTie[] {
  const standing = macvlansOn(intent, draft).flatMap(({ kind, name, intent: { addresses } }) =>
    fixedOf({ addresses }).map((address) => ({ kind, name, what: leaseTie(bridge, address).what })),
  );
  return [...draft.tiesAt(leasePlace(bridge)), ...standing];
}

/** Who has an address as a fixed one on the network of a bridge. */
export function fixedOn(bridge: BridgeIntent, address: string, draft: Draft): Ref[] {
  const standing = macvlansOn(bridge, draft).filter(({ intent }) => fixedOf(intent).includes(address));
  return [
    ...draft.needing(leaseTie(bridge.name, address)),
    ...standing.map(({ kind, name }) => ({ kind, name })),
  ];
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
  const needs = namedEnds(intent).flatMap(({ name, end }) => {
    const bridge = bridgeAcross(intent, name);
    return bridge === null ? [] : fixedOf(end).map((address) => leaseTie(bridge, address));
  });
  return { claims, needs };
}

/** The addresses that an end does not leave to netnsd, without length. */
export function fixedOf({ addresses }: Pick<EndIntent, 'addresses'>): string[] {
  return addresses.flatMap((text) => (text === AUTO ? [] : [parsePrefix(text).address]));
}

/** Throws if a fixed address of a link was given to another one, or is the bridge's. */
export function checkFixed(intent: LinkIntent, draft: Draft): void {
  for (const { name, end, bridge } of facingEnds(intent, draft)) {
    if (bridge === null) continue;
    for (const address of fixedOf(end)) {
      const other = draft.claimant(leaseTie(bridge.name, address));
      if (other !== null && refText(other) !== refText({ kind: 'link', name: intent.name }))
        throw new Problem(
          'unprocessable',
          `${name === 'own' ? '' : '/peer'}/addresses: ${address} is that of ${refText(other)} in a subnet of bridge/${bridge.name}; choose another, or say \`auto\``,
          { references: [other] },
        );
    }
  }
}
