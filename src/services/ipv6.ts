import { familyOf } from '../schemas/address.ts';
import { HOST, type Ref } from '../schemas/common.ts';
import { sysctlOfInterface, type EndOptions } from '../schemas/end.ts';
import type { InterfaceIntent } from '../schemas/interface.ts';
import { AUTO, AUTO_IPV6 } from '../schemas/ipam.ts';
import { namedEnds } from '../schemas/link.ts';
import type { NamespaceIntent } from '../schemas/namespace.ts';
import { familyOfRoute } from '../schemas/route.ts';
import { isSameValue } from '../schemas/sysctl.ts';
import { resolvedLink } from '../plan/ipam.ts';
import type { Draft } from './draft.ts';
import { Problem } from './problem.ts';

/** Without IPv6 the kernel takes no address and no route of it, and takes away what there is (ip-sysctl.rst). */
const DISABLE = 'ipv6.conf.disable_ipv6';

/** Those of a namespace that are for interfaces which say nothing themselves; `all` sets `default` as well. */
const FOR_ALL = ['net.ipv6.conf.all.disable_ipv6', 'net.ipv6.conf.default.disable_ipv6'];

/** An interface in its namespace, with its own sysctls as an end of a link has them. */
type Placed = Pick<InterfaceIntent, 'addresses' | 'routes'> &
  Pick<EndOptions, 'sysctls'> & {
    interface: string;
    namespace: string;
    /** Of a bridge. */ subnets?: string[];
  };

/**
 * Throws if an interface has IPv6 addresses or routes, and its sysctls or those of its namespace turn IPv6 off. `at` is
 * where its fields are in the body.
 */
export function checkIpv6(at: string, placed: Placed, draft: Draft): void {
  const { namespace } = placed;
  const ofNamespace = namespace === HOST ? {} : (draft.get('namespace', namespace)?.intent.sysctls ?? {});
  const found = contradiction(placed, ofNamespace);
  if (found === null) return;
  const { field, key, isOwn } = found;
  if (isOwn)
    throw new Problem(
      'unprocessable',
      `${at}/sysctls/${DISABLE} turns IPv6 off, and ${at}/${field} has some; leave one of the two out`,
    );
  throw new Problem(
    'unprocessable',
    `${at}/${field}: the namespace ${namespace} turns IPv6 off (${key}); change that first, or leave IPv6 out`,
    { references: [{ kind: 'namespace', name: namespace }] },
  );
}

/** The same from the side of a namespace. */
export function checkIpv6OfNamespace({ name, sysctls }: NamespaceIntent, draft: Draft): void {
  if (!Object.keys(sysctls).some((key) => key.endsWith('.disable_ipv6'))) return;
  for (const ref of draft.referrers({ kind: 'namespace', name }))
    for (const placed of interfacesOf(ref, draft)) {
      const found = placed.namespace === name ? contradiction(placed, sysctls) : null;
      if (found === null || found.isOwn) continue;
      throw new Problem(
        'unprocessable',
        `/sysctls/${found.key} turns IPv6 off, and ${ref.kind}/${ref.name} has some in ${name}; take that away first`,
        { references: [ref] },
      );
    }
}

type Field = 'addresses' | 'routes' | 'subnets';

interface Contradiction {
  /** What has IPv6. */
  field: Field;
  /** What turns it off, as sysctl(8) names it. */
  key: string;
  /** Whether that is the interface's own. */
  isOwn: boolean;
}

function contradiction(placed: Placed, ofNamespace: Readonly<Record<string, string>>): Contradiction | null {
  const field = fieldWithIpv6(placed);
  if (field === null) return null;
  const key = sysctlOfInterface(placed.interface, DISABLE);
  const own = placed.sysctls?.[DISABLE];
  // What is said of the interface itself is written last.
  const said = own ?? ofNamespace[key];
  if (said !== undefined) return isOn(said) ? { field, key, isOwn: own !== undefined } : null;
  const forAll = FOR_ALL.find((each) => isOn(ofNamespace[each] ?? '0'));
  return forAll === undefined ? null : { field, key: forAll, isOwn: false };
}

function isOn(value: string): boolean {
  return !isSameValue(value, '0');
}

function fieldWithIpv6({ addresses, routes, subnets = [] }: Placed): Field | null {
  if (subnets.some((subnet) => subnet === AUTO_IPV6 || familyOf(subnet) === 6)) return 'subnets';
  if (addresses.some((address) => address !== AUTO && familyOf(address) === 6)) return 'addresses';
  const fixed = routes.filter(({ via }) => via !== AUTO);
  return fixed.some((route) => familyOfRoute(route) === 6) ? 'routes' : null;
}

function interfacesOf({ kind, name }: Ref, draft: Draft): Placed[] {
  if (kind === 'bridge') {
    const bridge = draft.get(kind, name);
    return bridge === null ? [] : [bridge.intent];
  }
  const link = kind === 'link' ? draft.get(kind, name) : null;
  return link === null ? [] : namedEnds(resolvedLink(link.intent, link.assigned)).map(({ end }) => end);
}
