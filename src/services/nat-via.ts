import { isOf, type Stored } from '../db/resources.ts';
import { resolvedBridge, resolvedLink } from '../plan/ipam.ts';
import { localnetOf } from '../plan/publish.ts';
import { familyOf, networkOf, parsePrefix } from '../schemas/address.ts';
import { refText, type Ref } from '../schemas/common.ts';
import { sysctlsOfEnd } from '../schemas/end.ts';
import { endsOf, type EndIntent } from '../schemas/link.ts';
import { localnetKey, type DnatIntent, type Via } from '../schemas/nat.ts';
import type { Draft } from './draft.ts';
import { isAddressTie } from './interface.ts';
import { Problem } from './problem.ts';

/** An interface of ours that has addresses in a namespace. */
interface Device {
  ref: Ref;
  interface: string;
  addresses: readonly string[];
  /** Of a link: what its owner asked for. */
  end: EndIntent | null;
}

/**
 * The interface of ours by which a target is reached in the namespace of a rule, as the kernel would choose it: of all
 * whose network it is in, that with the longest prefix. Null if there is none.
 */
export function viaOf(intent: DnatIntent, target: string, draft: Draft): Via | null {
  const ways = devicesIn(intent.namespace, draft).flatMap((device) => {
    const network = networkWith(device, target);
    return network === null ? [] : [{ device, network }];
  });
  const [way] = ways.toSorted((a, b) => lengthOf(b.network) - lengthOf(a.network));
  if (way === undefined) return null;
  const { device, network } = way;
  const own = device.addresses.filter((each) => familyOf(each) === familyOf(target)).map(networkOf);
  const others = [...new Set(own)].filter((each) => each !== network);
  const via = { interface: device.interface, network, ...(others.length === 0 ? {} : { others }) };
  const key = localnetKey(device.interface);
  if (device.end !== null && localnetOf(intent, { via }) !== null && sysctlsOfEnd(device.end).includes(key))
    throw settled(intent, device.ref, key);
  return via;
}

/** The namespaces in which the address of a link or bridge may be what a rule goes by, as it was or is. */
export function placesOf(stored: Stored): string[] {
  return [...new Set(devicesOf(stored).map(({ namespace }) => namespace))];
}

function devicesIn(namespace: string, draft: Draft): Device[] {
  const owners = draft.tiesAt(namespace).filter(({ what }) => isAddressTie(what));
  const byText = new Map(owners.map(({ kind, name }) => [refText({ kind, name }), { kind, name }]));
  return [...byText.values()].flatMap(({ kind, name }) => {
    const stored = draft.get(kind, name);
    return stored === null ? [] : devicesOf(stored).filter((device) => device.namespace === namespace);
  });
}

function devicesOf(stored: Stored): (Device & { namespace: string })[] {
  const ref: Ref = { kind: stored.kind, name: stored.name };
  if (isOf(stored, 'bridge')) {
    const bridge = resolvedBridge(stored.intent, stored.assigned);
    return [{ ...bridge, ref, end: null }];
  }
  if (!isOf(stored, 'link')) return [];
  return endsOf(resolvedLink(stored.intent, stored.assigned))
    .filter(({ bridge, addresses }) => bridge === null && addresses.length > 0)
    .map((end) => ({ ...end, ref, end }));
}

/** The narrowest network of an interface that an address is in; null if it is in none, or an end's own. */
function networkWith({ addresses, end }: Device, target: string): string | null {
  if (end !== null && addresses.some((each) => parsePrefix(each).address === target)) return null;
  const networks = addresses
    .filter((address) => familyOf(address) === familyOf(target))
    .map(networkOf)
    .filter((network) => networkOf(`${target}/${lengthOf(network)}`) === network);
  return networks.toSorted((a, b) => lengthOf(b) - lengthOf(a))[0] ?? null;
}

function lengthOf(network: string): number {
  return parsePrefix(network).prefixLength;
}

function settled({ name }: DnatIntent, ref: Ref, key: string): Problem {
  return new Problem(
    'unprocessable',
    `nat/${name} publishes at 127.0.0.1 through ${refText(ref)}, and sets ${key} itself; leave that out of the link's sysctls, or give the rule an \`address\``,
    { references: [{ kind: 'nat', name }, ref] },
  );
}
