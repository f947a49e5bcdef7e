/** The rules of which test/golden/ has those that they make: by the name of the file. */
export type GoldenCases = Record<string, object>;

const outgoing = {
  4: {
    '': { source: '10.1.1.0/24', inInterface: 'br01' },
    source: { source: '10.1.1.0/24' },
    bridge: { bridge: 'br01' },
  },
  6: {
    '': { source: 'fd00:1::/64', inInterface: 'br01' },
    source: { source: 'fd00:1::/64' },
    bridge: { bridge: 'br01', family: 6 },
  },
} as const;
const toAddress = { 4: '198.51.100.2', 6: '2001:db8:51::2' } as const;

/** Each way to say what leaves, by each interface or one, with each `forward`; a word in the name for what is said. */
function outgoingCases(type: 'masquerade' | 'snat', family: 4 | 6): GoldenCases {
  return Object.fromEntries(
    Object.entries(outgoing[family]).flatMap(([by, source]) =>
      ['', 'uplink'].flatMap((out) =>
        ['', 'any', 'none'].map((forward) => {
          const said = [by, out, forward].filter((word) => word !== '');
          const nat = {
            type,
            ...source,
            ...(type === 'snat' ? { toAddress: toAddress[family] } : {}),
            ...(out === '' ? {} : { outInterface: 'uplink0' }),
            ...(forward === '' ? {} : { forward }),
          };
          const words = ['nat', type, ...(said.length === 0 ? ['established'] : said)];
          return [[...words, ...(family === 6 ? ['ipv6'] : [])].join('-'), nat];
        }),
      ),
    ),
  );
}

const web = { type: 'dnat', protocol: 'tcp', port: '8080', to: { address: '10.1.1.1', port: '80' } };
const web6 = { ...web, to: { address: 'fd00:1::1', port: '80' } };
const range = { ...web, port: '8000-8010', to: { address: '10.1.1.1', port: '80-90' } };
const range6 = { ...range, to: { address: 'fd00:1::1', port: '80-90' } };

/** One rule each, in a namespace with br01, br02, br03, and the links `to-blue` on br01 and `apart` on none. */
export const natCases: GoldenCases = {
  ...outgoingCases('masquerade', 4),
  ...outgoingCases('masquerade', 6),
  ...outgoingCases('snat', 4),
  ...outgoingCases('snat', 6),
  'nat-masquerade-bridge-networks': { type: 'masquerade', bridge: 'br03' },
  'nat-dnat-tcp': web,
  'nat-dnat-udp': { ...web, protocol: 'udp' },
  'nat-dnat-sctp': { ...web, protocol: 'sctp' },
  'nat-dnat-auto': { ...web, port: 'auto' },
  'nat-dnat-auto-udp': { ...web, protocol: 'udp', port: 'auto' },
  'nat-dnat-auto-ipv6': { ...web6, port: 'auto' },
  'nat-dnat-range': range,
  'nat-dnat-range-to-one': { ...web, port: '8000-8010' },
  'nat-dnat-range-address-in-interface': { ...range, address: '198.51.100.2', inInterface: 'uplink0' },
  'nat-dnat-address': { ...web, address: '198.51.100.2' },
  'nat-dnat-in-interface': { ...web, inInterface: 'uplink0' },
  'nat-dnat-in-interface-bridge': { ...web, inInterface: 'br01' },
  'nat-dnat-localhost': { ...web, address: '127.0.0.1' },
  'nat-dnat-localhost-udp-range': { ...range, protocol: 'udp', address: '127.0.0.1' },
  'nat-dnat-elsewhere': { ...web, to: { address: '10.9.9.9', port: '80' } },
  'nat-dnat-elsewhere-ipv6': { ...web, to: { address: 'fd00:9::9', port: '80' } },
  'nat-dnat-link': { ...web, to: { link: 'to-blue', port: '80' } },
  'nat-dnat-link-range': { ...range, to: { link: 'to-blue', port: '80-90' } },
  'nat-dnat-link-apart': { ...web, to: { link: 'apart', port: '80' } },
  'nat-dnat-link-localhost': { ...web, address: '127.0.0.1', to: { link: 'to-blue', port: '80' } },
  'nat-dnat-link-ipv6': { ...web, to: { link: 'to-blue', family: 6, port: '80' } },
  'nat-dnat-ipv6': web6,
  'nat-dnat-ipv6-address': { ...web6, address: '2001:db8:51::2' },
  'nat-dnat-ipv6-in-interface': { ...web6, inInterface: 'uplink0' },
  'nat-dnat-ipv6-sctp': { ...web6, protocol: 'sctp' },
  'nat-dnat-ipv6-udp-range': { ...range6, protocol: 'udp' },
};

/** Several together: firewalls of br01, br02 and br03 (in blue: of inner), and rules by their names. */
export interface Together {
  /** The host's if left out. */
  namespace?: 'blue';
  firewalls: Record<string, object>;
  nat: Record<string, object>;
}

const out = { type: 'masquerade', ...outgoing[4][''] };
const out6 = { type: 'masquerade', ...outgoing[6][''] };
const outSecond = { type: 'masquerade', bridge: 'br02' };
const inBlue = { namespace: 'blue' } as const;

export const togetherCases: Record<string, Together> = {
  together: { firewalls: { br01: {} }, nat: { out, web } },
  'together-ipv6': { firewalls: { br01: {} }, nat: { out: out6, web: web6 } },
  'together-apart-nohost': {
    firewalls: { br01: { intercom: false, hostAccess: false } },
    nat: { out, web },
  },
  'together-internal': { firewalls: { br01: { internal: true } }, nat: { web } },
  'together-apart-ipv6': { firewalls: { br01: { intercom: false } }, nat: { out: out6, web: web6 } },
  'together-internal-ipv6': { firewalls: { br01: { internal: true } }, nat: { web: web6 } },
  'together-any-ipv6': { firewalls: { br01: { inbound: 'any' } }, nat: { out: out6, web: web6 } },
  'together-snat': {
    firewalls: { br01: {} },
    nat: { out: { type: 'snat', bridge: 'br01', toAddress: toAddress[4] }, web },
  },
  'together-reached-masquerade': {
    firewalls: { br01: { reachableFrom: ['br02'] }, br02: {} },
    nat: { out, second: outSecond, web },
  },
  'together-open-masquerade': {
    firewalls: { br01: { isolated: false }, br02: { isolated: false } },
    nat: { out, second: outSecond, web },
  },
  'together-two-rules-one-target': {
    firewalls: { br01: {} },
    nat: { web, again: { ...web, port: '8081' } },
  },
  'together-namespace': {
    ...inBlue,
    firewalls: { inner: { hostAccess: false } },
    nat: {
      out: { ...inBlue, type: 'masquerade', bridge: 'inner' },
      web: { ...web, ...inBlue, to: { address: '10.1.5.1', port: '80' } },
    },
  },
  'together-any': { firewalls: { br01: { inbound: 'any' } }, nat: { out } },
  'two-isolated': { firewalls: { br01: {}, br02: {} }, nat: {} },
  'two-open': { firewalls: { br01: { isolated: false }, br02: { isolated: false } }, nat: {} },
  'two-open-and-isolated': { firewalls: { br01: { isolated: false }, br02: {} }, nat: {} },
  'two-reach-each-other': {
    firewalls: { br01: { reachableFrom: ['br02'] }, br02: { reachableFrom: ['br01'] } },
    nat: {},
  },
  'three-reached-from-two': {
    firewalls: { br01: { reachableFrom: ['br02', 'br03'] }, br02: {}, br03: {} },
    nat: {},
  },
  'two-reached-from-internal': {
    firewalls: { br01: { reachableFrom: ['br02'] }, br02: { internal: true } },
    nat: {},
  },
};
