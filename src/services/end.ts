import { HOST, type Ref } from '../schemas/common.ts';
import { interfaceOfSysctl } from '../schemas/nat.ts';
import { sysctlsOfEnd, type EndOptions } from '../schemas/end.ts';
import { endsOf, namedEnds, shapingOf, type EndIntent, type LinkIntent } from '../schemas/link.ts';
import type { NamespaceIntent } from '../schemas/namespace.ts';
import type { Draft } from './draft.ts';
import { SMALLEST_IPV6_MTU } from './interface.ts';
import { Problem } from './problem.ts';

/** What a client sends of the further fields of an end. */
interface EndOptionsSpec {
  txQueueLength?: number | null;
  isolatedPort?: boolean;
  hairpin?: boolean;
  sysctls?: Record<string, string>;
  rate?: { egressKbit?: number | null; ingressKbit?: number | null } | null;
  offload?: { checksum: boolean } | null;
}

/** What else of the end they depend on. */
interface Context {
  bridge: string | null;
  mtu: number;
}

/** What was asked for of an end's further fields, and nothing else; `at` is where they are in the body. */
export function completeOptions(at: string, spec: EndOptionsSpec, context: Context): EndOptions {
  checkOptions(at, spec, context);
  const { txQueueLength = null, sysctls = {}, offload = null } = spec;
  const { egressKbit = null, ingressKbit = null } = spec.rate ?? {};
  const rate = {
    ...(egressKbit === null ? {} : { egressKbit }),
    ...(ingressKbit === null ? {} : { ingressKbit }),
  };
  return {
    ...(txQueueLength === null ? {} : { txQueueLength }),
    ...(spec.isolatedPort === true ? { isolatedPort: true } : {}),
    ...(spec.hairpin === true ? { hairpin: true } : {}),
    ...(Object.keys(sysctls).length === 0 ? {} : { sysctls }),
    ...(Object.keys(rate).length === 0 ? {} : { rate }),
    ...(offload === null ? {} : { offload }),
  };
}

const IPV6_MTU = 'ipv6.conf.mtu';

function checkOptions(
  at: string,
  { isolatedPort = false, hairpin = false, sysctls = {} }: EndOptionsSpec,
  { bridge, mtu }: Context,
): void {
  for (const [field, isOn] of Object.entries({ isolatedPort, hairpin }))
    if (isOn && bridge === null)
      throw new Problem(
        'unprocessable',
        `${at}/${field} is of a port of a bridge, and this end is none; name its \`bridge\`, or set ${field} to false`,
      );
  const six = Object.keys(sysctls).find((key) => key.startsWith('ipv6.'));
  if (six !== undefined && mtu < SMALLEST_IPV6_MTU)
    throw new Problem(
      'unprocessable',
      `${at}/sysctls/${six}: an interface with an MTU below ${SMALLEST_IPV6_MTU} has no IPv6; raise it or leave this out`,
    );
  // When the MTU goes down the kernel takes this down with it, without a word.
  if (Number(sysctls[IPV6_MTU] ?? 0) > mtu)
    throw new Problem(
      'unprocessable',
      `${at}/sysctls/${IPV6_MTU} is more than the MTU of the interface, ${mtu}; raise that or lower this`,
    );
}

/** Throws unless what is to send at a rate has a queue. */
export function checkQueues(link: LinkIntent): void {
  for (const { name, end } of namedEnds(link)) {
    const shaping = shapingOf(link, name);
    // The kernel takes it for an oversight and sets the length to its default (qdisc_create in net/sched/sch_api.c).
    if (shaping !== null && end.txQueueLength === 0)
      throw new Problem(
        'unprocessable',
        `${name === 'own' ? '' : '/peer'}/txQueueLength is 0, and what comes by there is held back by ${shaping.field} in a queue; leave one of the two out`,
      );
  }
}

/** Throws if the namespace of an end sets one of its sysctls as well; `at` is where the fields of the end are. */
export function checkSysctlsOfEnd(at: string, end: EndIntent, draft: Draft): void {
  const { sysctls = {} } = draft.get('namespace', end.namespace)?.intent ?? {};
  const both =
    end.namespace === HOST ? undefined : sysctlsOfEnd(end).find((key) => sysctls[key] !== undefined);
  if (both !== undefined)
    throw new Problem(
      'unprocessable',
      `${at}/sysctls: ${both} is among the sysctls of the namespace ${end.namespace} as well; leave it out at one of the two`,
      { references: [{ kind: 'namespace', name: end.namespace }] },
    );
}

/** The same from the other side. */
export function checkSysctlsOfNamespace({ name, sysctls }: NamespaceIntent, draft: Draft): void {
  if (!Object.keys(sysctls).some((key) => interfaceOfSysctl(key) !== null)) return;
  for (const ref of draft.referrers({ kind: 'namespace', name })) {
    const link = ref.kind === 'link' ? draft.get('link', ref.name)?.intent : undefined;
    const ends = link === undefined ? [] : endsOf(link).filter(({ namespace }) => namespace === name);
    const both = ends.flatMap(sysctlsOfEnd).find((key) => sysctls[key] !== undefined);
    if (both !== undefined) throw takenSysctl(both, ref);
  }
}

function takenSysctl(key: string, owner: Ref): Problem {
  return new Problem(
    'unprocessable',
    `/sysctls: ${key} is among the sysctls of ${owner.kind}/${owner.name} as well; leave it out at one of the two`,
    { references: [owner] },
  );
}
