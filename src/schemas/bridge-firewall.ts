import { Type, type Static } from 'typebox';
import { ResourceName } from './common.ts';
import { strictObject } from './object.ts';

const inboundModes = ['published', 'any'] as const;

/** More would be another network than one that is isolated. */
const MOST_REACHABLE_FROM = 64;

/** What a client sends; what is left out has its default. */
export const BridgeFirewallSpec = strictObject(
  {
    isolated: Type.Optional(
      Type.Boolean({
        default: true,
        description: 'other bridges of netnsd can’t reach it, nor it them, but for `reachableFrom`',
      }),
    ),
    reachableFrom: Type.Optional(
      Type.Array(ResourceName, {
        uniqueItems: true,
        maxItems: MOST_REACHABLE_FROM,
        description: 'bridges of the same namespace that may open connections to it',
      }),
    ),
    intercom: Type.Optional(
      Type.Boolean({
        default: true,
        description: 'its ports reach one another; false stops that at layer 2 as well',
      }),
    ),
    internal: Type.Optional(
      Type.Boolean({ default: false, description: 'no way out or in but for the host itself' }),
    ),
    inbound: Type.Optional(
      Type.Enum([...inboundModes], {
        default: 'published',
        description:
          'what may come in from outside: `published` is what a dnat rule translates; `any` is the plain router, with forwarding on',
      }),
    ),
    hostAccess: Type.Optional(
      Type.Boolean({
        default: true,
        description:
          'its ports may reach services of the host itself; false leaves them ICMP, DHCP and DNS, and answers',
      }),
    ),
  },
  { $id: 'BridgeFirewallSpec' },
);
export type BridgeFirewallSpec = Static<typeof BridgeFirewallSpec>;

/** The same as it is recorded and shown, with defaults filled in. */
export const BridgeFirewall = strictObject(
  {
    isolated: Type.Boolean(),
    reachableFrom: Type.Array(Type.String()),
    intercom: Type.Boolean(),
    internal: Type.Boolean(),
    inbound: Type.Enum([...inboundModes]),
    hostAccess: Type.Boolean(),
  },
  { $id: 'BridgeFirewall', description: 'who may reach the ports of a bridge, and whom they may reach' },
);
export type BridgeFirewall = Static<typeof BridgeFirewall>;

/** What the kernel has of the firewall of a bridge, by family. */
export interface ObservedRules {
  rules: string[];
  /** The comments of the rules that lead to the chains. */
  chainMarks: string[];
  /** Rules in netnsd's own chains that are not netnsd's. */
  strays: string[];
  /** The sysctl; null where it was not read. */
  forwarding: string | null;
}

export interface ObservedBridgeFirewall {
  ipv4: ObservedRules;
  ipv6: ObservedRules;
}
