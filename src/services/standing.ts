import { isOf, type Stored, type Tie, type Ties } from '../db/resources.ts';
import type { CommandFailed } from '../kernel/errors.ts';
import { isMadeAnew } from '../plan/link-types.ts';
import { familyOf } from '../schemas/address.ts';
import { refText, type Ref } from '../schemas/common.ts';
import { endsOf } from '../schemas/link.ts';
import type { SingleIntent, VxlanIntent } from '../schemas/link-types.ts';
import type { Draft } from './draft.ts';
import { DEFAULT_MTU, interfaceTie } from './interface.ts';
import { Problem, problemOfCommand } from './problem.ts';

/** What Ethernet, VXLAN, UDP and IP headers take of each packet (vxlan_headroom in the kernel's include/net/vxlan.h). */
const VXLAN_HEADERS = { 4: 50, 6: 70 } as const;

/** What fits into 1500 bytes with the headers of a vxlan around it. */
export function defaultVxlanMtu(far: Pick<VxlanIntent, 'remote' | 'group'>): number {
  return DEFAULT_MTU - VXLAN_HEADERS[familyOfVxlan(far)];
}

export function familyOfVxlan({ remote, group }: Pick<VxlanIntent, 'remote' | 'group'>): 4 | 6 {
  return familyOf(remote ?? group ?? '');
}

/** The interface that a link of one end stands on, which may be anybody's. */
function baseOf(intent: SingleIntent): { namespace: string; interface: string } | null {
  if (intent.type === 'macvlan') return { namespace: intent.parentNamespace, interface: intent.parent };
  if (intent.type !== 'vxlan' || intent.device === null) return null;
  return { namespace: intent.namespace, interface: intent.device };
}

/** How that stands in needs. */
export function baseTies(intent: SingleIntent): Tie[] {
  const base = baseOf(intent);
  return base === null ? [] : [{ namespace: base.namespace, what: interfaceTie(base.interface) }];
}

/** Throws a problem if what it stands on is a resource's and has too small an MTU for it. */
export function checkMtuOnBase(intent: SingleIntent, draft: Draft): void {
  for (const tie of baseTies(intent)) {
    const owner = draft.claimant(tie);
    const mtu = owner === null ? null : mtuOf(draft.get(owner.kind, owner.name), tie);
    if (owner === null || mtu === null || intent.mtu <= mostOn(mtu, intent)) continue;
    const headers = mtu - mostOn(mtu, intent);
    const takes = headers === 0 ? '' : `, of which the headers of a vxlan take ${headers}`;
    throw new Problem(
      'unprocessable',
      `/mtu is ${intent.mtu}, and ${baseText(intent)}, has ${mtu}${takes}; give ${mostOn(mtu, intent)} or less`,
      { references: [owner] },
    );
  }
}

/** Throws a problem if links stand on an interface that the change takes away, renames, makes anew or makes too small. */
export function checkNeeded(
  before: Stored | null,
  after: Stored,
  draft: Draft,
  claimsOf: (stored: Stored) => Ties,
): void {
  if (before === null) return;
  const kept = new Set(claimsOf(after).claims.map(({ namespace, what }) => `${namespace} ${what}`));
  const isAnew = isAnotherDevice(before, after);
  for (const claim of claimsOf(before).claims) {
    if (!claim.what.startsWith(interfaceTie(''))) continue;
    const standing = draft
      .needing(claim)
      .filter((ref) => ref.kind === 'link' && refText(ref) !== refText(before));
    if (standing.length === 0) continue;
    if (isAnew || !kept.has(`${claim.namespace} ${claim.what}`))
      throw new Problem(
        'in-use',
        `${claim.what} in ${claim.namespace} is what ${standing.map(refText).join(', ')} stands on, and would be lost by this; delete these first`,
        { references: standing },
      );
    checkRoom(claim, [mtuOf(before, claim), mtuOf(after, claim)], standing, draft);
  }
}

/** With the MTU of its parent a macvlan loses its own without a word, and a vxlan what it sends in full length. */
function checkRoom(
  { namespace, what }: Tie,
  [had, has]: readonly [number | null, number | null],
  standing: readonly Ref[],
  draft: Draft,
): void {
  if (had === null || has === null || has >= had) return;
  const references = standing.filter(({ name }) => {
    const link = draft.get('link', name)?.intent;
    return link !== undefined && link.type !== 'veth' && link.mtu > mostOn(has, link);
  });
  if (references.length > 0)
    throw new Problem(
      'in-use',
      `${what} in ${namespace} is what ${references.map(refText).join(', ')} stands on, with an MTU too large for one of ${has}; lower that first`,
      { references },
    );
}

/** The largest MTU of a link that stands on an interface (macvlan_change_mtu, vxlan_change_mtu). */
function mostOn(mtu: number, intent: SingleIntent): number {
  return intent.type === 'vxlan' ? mtu - VXLAN_HEADERS[familyOfVxlan(intent)] : mtu;
}

/** The MTU that a resource asks for of one of its interfaces. */
function mtuOf(stored: Stored | null, { namespace, what }: Tie): number | null {
  if (stored === null) return null;
  const ends = isOf(stored, 'link') ? endsOf(stored.intent) : isOf(stored, 'bridge') ? [stored.intent] : [];
  const end = ends.find((each) => each.namespace === namespace && interfaceTie(each.interface) === what);
  return end?.mtu ?? null;
}

function baseText(intent: SingleIntent): string {
  const base = baseOf(intent);
  return base === null ? '' : `${base.interface} in ${base.namespace}, which it stands on`;
}

function isAnotherDevice(before: Stored, after: Stored): boolean {
  if (!isOf(before, 'link') || !isOf(after, 'link')) return false;
  const [a, b] = [before.intent, after.intent];
  return a.type !== 'veth' && b.type !== 'veth' && isMadeAnew(a, b);
}

/** What refused a change, as whoever asked is to see it: of an MTU that does not fit, the kernel does not say into what. */
export function refusalOf(failure: CommandFailed, draft: Draft): Problem {
  return problemOfCommand(failure, baseOfRefused(failure, draft));
}

/** The interface that a link stands on whose MTU was refused; that of a resource's would have been known beforehand. */
function baseOfRefused({ command, stderr }: CommandFailed, draft: Draft): string | null {
  const [, name, mtu] = /link set dev (\S+) mtu (\d+)$/.exec(command) ?? [];
  if (!stderr.includes('Invalid argument')) return null;
  for (const { after } of draft.touched) {
    if (after === null || !isOf(after, 'link') || after.intent.type === 'veth') continue;
    const { intent } = after;
    if (intent.interface === name && `${intent.mtu}` === mtu && baseOf(intent) !== null)
      return baseText(intent);
  }
  return null;
}
