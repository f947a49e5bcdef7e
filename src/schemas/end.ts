import { Type } from 'typebox';
import { ResourceName } from './common.ts';
import { Route, interfaceFields } from './interface.ts';
import { SysctlValue } from './namespace.ts';
import { nullable, ref, strictObject } from './object.ts';

/** What the kernel gives a veth (DEFAULT_TX_QUEUE_LEN in net/core/dev.c). */
export const DEFAULT_TX_QUEUE_LENGTH = 1000;

function kbit(description: string) {
  return Type.Optional(nullable(Type.Integer({ minimum: 1, maximum: 100_000_000, description })));
}

/** Further fields of an end. What is left out, or null, is not netnsd's to say, and is left alone. */
const endOptionFields = {
  txQueueLength: Type.Optional(
    nullable(
      Type.Integer({
        minimum: 0,
        maximum: 1_000_000,
        description: 'the length of the transmit queue, in packets; null leaves it to the kernel (1000)',
      }),
    ),
  ),
  isolatedPort: Type.Optional(
    Type.Boolean({
      default: false,
      description:
        'of a port of a bridge: it exchanges nothing with other isolated ports of that bridge (bridge(8), `isolated`)',
    }),
  ),
  hairpin: Type.Optional(
    Type.Boolean({
      default: false,
      description:
        'of a port of a bridge: what comes in by it may go out by it again (bridge(8), `hairpin`); it is on in any case where a published port is behind it and bridge-nf-call-iptables is on',
    }),
  ),
  sysctls: Type.Optional(
    Type.Record(Type.String({ pattern: '^ipv[46]\\.(?:conf|neigh)\\.[a-z0-9_]{1,63}$' }), SysctlValue, {
      additionalProperties: false,
      maxProperties: 64,
      default: {},
      description:
        'sysctls of this interface: `ipv4.conf.rp_filter` stands for `net.ipv4.conf.INTERFACE.rp_filter`; values as text',
    }),
  ),
  rate: Type.Optional(
    nullable(
      strictObject({
        egressKbit: kbit('at what the interface sends at most, in kbit/s (tc-tbf(8)); null is without limit'),
        ingressKbit: kbit(
          'at what it receives at most, in kbit/s: of a veth, the other end is held back (tc-tbf(8)); of other types, what comes faster is dropped (tc-police(8))',
        ),
      }),
    ),
  ),
  offload: Type.Optional(
    nullable(
      strictObject({
        checksum: Type.Boolean({
          description:
            'false: packets that the interface sends have whole checksums (`ethtool -K … tx off`), for those who look at them',
        }),
      }),
    ),
  ),
};

/** The fields of each end of a link of any type, but for what it is called. */
export const endFields = {
  namespace: Type.Optional(ResourceName),
  bridge: Type.Optional(
    nullable(
      Type.String({
        ...ResourceName,
        description: 'a bridge in the namespace of this end, by its resource name',
      }),
    ),
  ),
  ...interfaceFields,
  ...endOptionFields,
};

/** The same in an answer. */
export const endAnswerFields = {
  interface: Type.String(),
  namespace: Type.String(),
  bridge: nullable(Type.String()),
  addresses: Type.Array(Type.String()),
  routes: Type.Array(ref(Route)),
  mtu: Type.Integer(),
  mac: nullable(Type.String()),
  up: Type.Boolean(),
  txQueueLength: nullable(Type.Integer()),
  isolatedPort: Type.Boolean(),
  hairpin: Type.Boolean(),
  sysctls: Type.Record(Type.String(), Type.String()),
  rate: nullable(
    strictObject({ egressKbit: nullable(Type.Integer()), ingressKbit: nullable(Type.Integer()) }),
  ),
  offload: nullable(strictObject({ checksum: Type.Boolean() })),
};

/** The intent of `endOptionFields`. Only what was asked for is there, so that an older intent is one as well. */
export interface EndOptions {
  txQueueLength?: number;
  isolatedPort?: true;
  /** False only where netnsd itself says it. */
  hairpin?: boolean;
  /** By `FAMILY.conf.KEY` or `FAMILY.neigh.KEY`. */
  sysctls?: Record<string, string>;
  /** At least one of the two. */
  rate?: { egressKbit?: number; ingressKbit?: number };
  offload?: { checksum: boolean };
}

/** What the device at an end has of them itself; its rate is at what it sends, whichever end asks for it. */
export interface DeviceOptions extends Omit<EndOptions, 'rate' | 'sysctls'> {
  rate?: { egressKbit: number };
  policing?: Policing;
}

/** That what a device receives too fast is dropped. */
export interface Policing {
  /** Null where there is the queueing discipline for it and no filter in that: it was made by half. */
  ingressKbit: number | null;
  /** Others have put filters of their own beside it. */
  isShared?: true;
}

/** The name of an interface's sysctl as sysctl(8) has it: a dot in the name of the interface is a slash there. */
export function sysctlOfInterface(name: string, key: string): string {
  const [family = '', group = '', field = ''] = key.split('.');
  return `net.${family}.${group}.${name.replaceAll('.', '/')}.${field}`;
}

/** The sysctls of an end as sysctl(8) names them. */
export function sysctlsOfEnd({
  interface: name,
  sysctls = {},
}: EndOptions & { interface: string }): string[] {
  return Object.keys(sysctls).map((key) => sysctlOfInterface(name, key));
}

/** The options of an end as a client sees them: all of them. */
export function shownOptions(options: EndOptions): object {
  const { txQueueLength, isolatedPort, hairpin, sysctls, rate, offload } = options;
  return {
    txQueueLength: txQueueLength ?? null,
    isolatedPort: isolatedPort ?? false,
    hairpin: hairpin ?? false,
    sysctls: sysctls ?? {},
    rate:
      rate === undefined
        ? null
        : { egressKbit: rate.egressKbit ?? null, ingressKbit: rate.ingressKbit ?? null },
    offload: offload ?? null,
  };
}

/** What the kernel has of them. */
export interface ObservedOptions {
  txQueueLength: number;
  isolatedPort: boolean;
  hairpin: boolean;
  /** Those that were asked about, by the keys of the intent; empty text for what there is not. */
  sysctls: Record<string, string>;
  /** Of netnsd's own shaper; null if there is none, or it was not asked about. */
  egressKbit: number | null;
  /** The same of netnsd's own policing. */
  policing: Policing | null;
  /** Null if it was not asked about. */
  checksum: boolean | null;
}
